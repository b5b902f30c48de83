//! One WhatsApp business phone number: what it may do and in which state it is. Credentials are references here;
//! themselves they live in the key ring.

mod aggregate;
mod event;
mod loop_test;

pub use aggregate::{Account, AccountCommand, AccountError, AccountSettings, ConnectAccount};
pub use event::{
    AccountEvent, AccountProvider, AccountStatus, Credential, CredentialRef, InDoubtAction,
    InDoubtPolicy, MessagingLimit, PauseCause, RestrictedSends, Restriction,
};
pub use loop_test::{LOOP_TEST_MINUTES, LoopTest, LoopTestReceipt, LoopTestState};

/// When marketing waits, by the recipient's clock, else by the account's.
pub use crate::primitives::DailyHours as QuietHours;
