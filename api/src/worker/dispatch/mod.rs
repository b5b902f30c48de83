//! The dispatch process manager: one lane per number, leased per portfolio (per account where it has none), because
//! pace and reach are counted by whoever owns them.

mod effects;
mod lane;
mod marketing;
mod outcome;
mod people;
mod queues;
mod reach;
mod shares;
mod steady;
mod supervisor;
mod wire;

pub use effects::{EffectTarget, Recorded, Word, apply as apply_effects, record as record_words};
pub use marketing::takes_no_marketing;
pub use outcome::{
    AttemptFacts, Effect, effects as effects_of, failure as failure_of, retry_at as retry_after,
};
pub use reach::reached;
pub use supervisor::{NODES, run};
pub use wire::{WireError, callback_data, wire_content};
