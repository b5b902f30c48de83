//! The process managers' decisions as pure functions: whom a campaign's chunk turns into which messages, whether a
//! message that fell due may go now, how fast a number may send, and what follows from WhatsApp's answer.

mod judge;
mod pace;
mod plan;
mod retry;

pub use judge::{DeliveryFacts, UNREACHABLE_S, Verdict, judge};
pub use pace::{Pace, PairLimit};
pub use plan::{
    Personalised, PlannedRecipient, TimeToLive, personalise, plan_recipient, recipient_of,
};
pub use retry::{MAX_ATTEMPTS, backoff};
