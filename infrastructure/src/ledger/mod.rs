//! The log as the rest of the gateway sees it: events in the clear, commands in, nothing personal on disk unsealed.
//!
//! [`Ledger`] reads (an [`domain::port::EventFeed`]): it unseals with the key ring and lifts old shapes. [`CommandBus`]
//! writes: load, decide, seal, append, and again where another was faster. What a command changes beside its events
//! (identities, keys, credentials, the idempotency record) is written in the same transaction.

mod any;
mod bus;
mod cache;
pub mod catalogue;
pub mod codec;
mod context;
mod draft;
mod erase;
mod error;
mod feed;
mod run;
mod transaction;
pub mod upcasters;

pub use any::AnyAggregate;
pub use bus::{CommandBus, Committed, Loaded, MAX_CONFLICT_RETRIES};
pub use context::{Context, Idempotency, Replay, Thread};
pub use draft::BusAggregate;
pub use erase::{Erasure, erase_contact, erase_contact_in};
pub use error::{CommandError, Refusal, TransactError};
pub use feed::Ledger;
pub use transaction::Transaction;
pub use upcasters::Upcasters;
