//! Why a command did not happen. Each variant is something the caller acts on.

use std::sync::Arc;

use domain::DomainError;
use domain::port::{FeedError, Position};
use uuid::Uuid;

use super::context::Replay;

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E> {
    /// The aggregate refused.
    #[error(transparent)]
    Domain(E),
    /// Another stream holds what must be unique; `kind` is one of [`domain::Identity`]'s.
    #[error("{kind} is taken by {holder}")]
    IdentityTaken { kind: String, holder: Uuid },
    /// The stream is not where the caller thought it to be.
    #[error("the stream is at sequence {actual}, not {expected}")]
    Conflict { expected: u64, actual: u64 },
    /// Others were faster, time and again. Nothing was written; repeating it is safe.
    #[error("too many others write to the same streams")]
    TooBusy,
    /// The lease is another's by now. Nothing was written.
    #[error("the lease that this was done under has moved on")]
    Fenced,
    /// The outcome is unknown, and repeating the command is safe: what was taken is no news then.
    #[error("the command could not be carried out")]
    Unavailable(#[source] Arc<FeedError>),
}

impl<E> From<FeedError> for CommandError<E> {
    fn from(error: FeedError) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

/// Why a transaction was not taken. `E` is what its closure fails with.
#[derive(Debug, thiserror::Error)]
pub enum TransactError<E> {
    /// The closure's own error.
    #[error(transparent)]
    Command(E),
    /// Another stream holds what must be unique; `kind` is one of [`domain::Identity`]'s.
    #[error("{kind} is taken by {holder}")]
    IdentityTaken { kind: String, holder: Uuid },
    /// Others were faster, time and again. Nothing was written; repeating it is safe.
    #[error("too many others write to the same streams")]
    TooBusy,
    /// The idempotency key was used before with another input.
    #[error("the idempotency key was used before, with another input")]
    IdempotencyReused,
    /// The same was done before under this idempotency key: answer with this again.
    #[error("this was done before, up to position {position}")]
    Replayed { result: String, position: Position },
    /// The lease is another's by now. Nothing was written.
    #[error("the lease that this was done under has moved on")]
    Fenced,
    /// The outcome is unknown; repeating it under the same idempotency key is safe.
    #[error("the transaction could not be carried out")]
    Unavailable(#[source] Arc<FeedError>),
}

impl<E> From<FeedError> for TransactError<E> {
    fn from(error: FeedError) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

impl<E> From<Replay> for TransactError<E> {
    fn from(replay: Replay) -> Self {
        Self::Replayed { result: replay.result, position: replay.position }
    }
}

/// Any aggregate's refusal, for a transaction over several: `CommandError<Refusal>` takes every aggregate's error by `?`.
pub struct Refusal(Box<dyn DomainError>);

impl Refusal {
    pub fn error(&self) -> &dyn DomainError {
        self.0.as_ref()
    }

    pub fn downcast_ref<E: DomainError>(&self) -> Option<&E> {
        let error: &(dyn std::error::Error + 'static) = self.0.as_ref();
        error.downcast_ref()
    }
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.0, f)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl<E: DomainError> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl<E: DomainError> From<CommandError<E>> for CommandError<Refusal> {
    fn from(error: CommandError<E>) -> Self {
        match error {
            CommandError::Domain(error) => Self::Domain(error.into()),
            CommandError::IdentityTaken { kind, holder } => Self::IdentityTaken { kind, holder },
            CommandError::Conflict { expected, actual } => Self::Conflict { expected, actual },
            CommandError::TooBusy => Self::TooBusy,
            CommandError::Fenced => Self::Fenced,
            CommandError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}
