//! Why an item of a webhook was not applied, by what happens next.

use domain::port::FeedError;
use infrastructure::ledger::{CommandError, TransactError};
use infrastructure::webhook::journal::JournalError;
use projections::QueryError;

/// Why an item was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// A store is away, or too busy: the page is read again, and nothing of it is passed over.
    #[error("a store could not be reached")]
    StoreAway(#[source] anyhow::Error),
    /// The item itself cannot be applied: it stays in the journal, and costs no other.
    #[error("the item was refused")]
    Refused(#[source] anyhow::Error),
}

impl ItemError {
    pub fn refused(reason: &'static str) -> Self {
        Self::Refused(anyhow::Error::msg(reason))
    }
}

/// What cannot be read today, or was put away, is so tomorrow too.
fn is_for_good(cause: &FeedError) -> bool {
    matches!(cause, FeedError::Corrupt(_) | FeedError::Detached(_))
}

impl<E> From<CommandError<E>> for ItemError
where
    E: std::error::Error + Send + Sync + 'static,
{
    fn from(error: CommandError<E>) -> Self {
        let is_refusal = match &error {
            CommandError::Domain(_)
            | CommandError::IdentityTaken { .. }
            | CommandError::Conflict { .. } => true,
            CommandError::Unavailable(cause) => is_for_good(cause),
            CommandError::TooBusy | CommandError::Fenced => false,
        };
        if is_refusal { Self::Refused(error.into()) } else { Self::StoreAway(error.into()) }
    }
}

impl<E> From<TransactError<CommandError<E>>> for ItemError
where
    E: std::error::Error + Send + Sync + 'static,
{
    fn from(error: TransactError<CommandError<E>>) -> Self {
        let is_refusal = match error {
            TransactError::Command(error) => return error.into(),
            TransactError::IdentityTaken { .. }
            | TransactError::IdempotencyReused
            | TransactError::Replayed { .. } => true,
            TransactError::Unavailable(ref cause) => is_for_good(cause),
            TransactError::TooBusy | TransactError::Fenced => false,
        };
        if is_refusal { Self::Refused(error.into()) } else { Self::StoreAway(error.into()) }
    }
}

impl From<FeedError> for ItemError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Corrupt(_) | FeedError::Detached(_) => Self::Refused(error.into()),
            FeedError::Unavailable(_) => Self::StoreAway(error.into()),
        }
    }
}

impl From<QueryError> for ItemError {
    fn from(error: QueryError) -> Self {
        Self::StoreAway(error.into())
    }
}

impl From<JournalError> for ItemError {
    fn from(error: JournalError) -> Self {
        Self::StoreAway(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::contact::ContactError;

    use super::*;

    #[test]
    fn what_may_be_over_in_a_moment_costs_no_item() {
        type Error = CommandError<ContactError>;
        let away = || FeedError::Unavailable("the connection was closed".into());
        let corrupt = || FeedError::Corrupt("no JSON".to_owned());
        for passing in [Error::Unavailable(Arc::new(away())), Error::TooBusy, Error::Fenced] {
            assert!(matches!(ItemError::from(passing), ItemError::StoreAway(_)));
        }
        assert!(matches!(ItemError::from(away()), ItemError::StoreAway(_)));
        let transactions = [
            TransactError::Command(Error::from(away())),
            TransactError::from(away()),
            TransactError::TooBusy,
        ];
        for passing in transactions {
            assert!(matches!(ItemError::from(passing), ItemError::StoreAway(_)));
        }
        let refused = TransactError::Command(Error::Domain(ContactError::Erased));
        assert!(matches!(ItemError::from(refused), ItemError::Refused(_)));
        for lasting in
            [Error::Unavailable(Arc::new(corrupt())), Error::Domain(ContactError::Erased)]
        {
            assert!(matches!(ItemError::from(lasting), ItemError::Refused(_)));
        }
        assert!(matches!(ItemError::from(corrupt()), ItemError::Refused(_)));
    }
}
