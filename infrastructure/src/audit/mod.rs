//! Shows that a log is what it was: a [`Sealer`] follows it and writes chained seals, and a [`Verifier`] checks the log
//! against them, beside the order of every stream and whether it still folds. What a seal is, and how a stranger checks one,
//! is in `docs/seals.md`.
//!
//! Seals cover events as they are stored, personal data sealed: erasing somebody destroys a key and changes no event.

mod chain;
mod fold;
mod merkle;
mod seal;
mod sealer;
mod verifier;

pub use merkle::Digest;
pub use seal::BLOCK_EVENTS;
pub use sealer::{Progress, Sealer};
pub use verifier::{FINDINGS_MAX, Finding, Report, Verifier};
