//! Errors of opening, and how a store's errors become the port's.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use domain::port::{LogError, StreamId};
use gateway_sqlite::SqliteError;

pub(crate) type Source = Box<dyn Error + Send + Sync>;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by {holder}; stop it first, or work beside it with a command that only reads", path.display())]
    InUse { path: PathBuf, holder: String },
    /// Reached, and not to be used as it is.
    #[error("{reason}")]
    Foreign { reason: String },
    #[error("the event store could not be opened")]
    Unavailable(#[source] Source),
    #[error("migration {name} of the event store: {reason}")]
    Migration { name: String, reason: String },
}

impl OpenError {
    pub(crate) fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    pub(crate) fn from_sqlite(error: SqliteError) -> Self {
        match error {
            SqliteError::InUse { path, holder } => Self::InUse { path, holder },
            SqliteError::Migration { name, reason } => Self::Migration { name, reason },
            other => Self::unavailable(other),
        }
    }
}

pub(crate) fn unavailable(source: impl Into<Source>) -> LogError {
    LogError::Unavailable(source.into())
}

/// One failure, told to each of many callers.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<dyn Error + Send + Sync>);

impl Shared {
    pub(crate) fn new(source: Source) -> Self {
        Self(Arc::from(source))
    }

    pub(crate) fn to_log_error(&self) -> LogError {
        match self.0.downcast_ref::<Detached>() {
            Some(Detached(stream)) => LogError::Detached(*stream),
            None => unavailable(self.clone()),
        }
    }
}

/// Why a unit was refused: see [`LogError::Detached`].
#[derive(Debug, thiserror::Error)]
#[error("{0} is of a month that was taken out of the log")]
pub(crate) struct Detached(pub StreamId);

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
