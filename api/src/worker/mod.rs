//! Process managers: each reacts to events, keeps no state that is not in the log or in a projection it can rebuild, and
//! acts only through commands.

pub mod campaign;
pub mod conversations;
pub mod dispatch;
pub mod endpoints;
pub mod exports;
pub mod import;
pub mod leave_out;
pub mod media;
pub mod merges;
pub mod onboarding;
pub(crate) mod people;
pub mod retime;
pub mod seals;
pub mod upkeep;
pub mod webhook;

use domain::account::Account;
use domain::port::{EventFeed, EventFilter, Position, RecordedEvent, StreamId};
use domain::primitives::AccountId;
use projections::{AccountFilter, PAGE_MAX, PageRequest, QueryError, Scope};

use crate::app::Gateway;

/// What a stream last said of this type; `None`: nothing.
pub(crate) async fn latest(
    gateway: &Gateway,
    stream: StreamId,
    event_type: &str,
) -> anyhow::Result<Option<RecordedEvent>> {
    let filter = EventFilter {
        aggregate_types: vec![stream.aggregate_type],
        aggregate_ids: vec![stream.id],
        event_types: vec![event_type.to_owned()],
        ..EventFilter::default()
    };
    let (mut found, mut after) = (None, Position::default());
    loop {
        let page = gateway.ledger.read_after(after, &filter, PAGE_MAX).await?;
        found = page.events.into_iter().next_back().or(found);
        if page.at_head {
            return Ok(found);
        }
        after = page.scanned_to;
    }
}

/// Every account there is, disconnected ones too.
pub(crate) async fn all_accounts(
    gateway: &Gateway,
) -> Result<Vec<(AccountId, Account)>, QueryError> {
    let mut accounts = vec![];
    let mut after = None;
    loop {
        let request = PageRequest::after(PAGE_MAX, after);
        let page = gateway
            .read
            .queries()
            .accounts(&Scope::everything(), &AccountFilter::default(), &request)
            .await?;
        let (has_next, end) = (page.has_next, page.end);
        accounts.extend(
            page.into_items().into_iter().map(|stored| (AccountId(stored.id), stored.into_state())),
        );
        match end.filter(|_| has_next) {
            Some(end) => after = Some(end),
            None => return Ok(accounts),
        }
    }
}
