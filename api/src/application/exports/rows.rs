//! What the log tells, as rows, up to the position where it ended when the export began: whatever is recorded meanwhile
//! changes none of them. A page of the log is in memory at a time.

mod campaigns;
mod events;
mod messages;

use std::collections::{HashMap, HashSet};

use domain::GatewayAggregate;
use domain::api_key::Scope;
use domain::port::{AggregateType, EventFeed, EventFilter, Position, RecordedEvent, StreamId};
use domain::pricing::RateCard;
use domain::primitives::WorkspaceId;
use domain::workspace::Workspace;
use infrastructure::crypto::SubjectKey;
use infrastructure::ledger::Ledger;
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

use super::table::{Column, Row};
use super::{Dataset, ExportRequest, Format};
use crate::application::caller::Caller;
use crate::application::error::AppResult;
use crate::application::{events as shown, read};

/// Events of the log read at once.
const PAGE: usize = 500;
/// Streams read at once.
const STREAMS_AT_ONCE: usize = 100;

/// Rows from a stretch of the log.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub rows: Vec<Row>,
    /// Everything up to here is in this batch or in one before it.
    pub scanned_to: Position,
    pub is_last: bool,
}

/// The columns of a table, in order; those of personal data where it is asked for.
pub(super) fn columns(dataset: Dataset, personal: bool) -> Vec<Column> {
    all_columns(dataset).iter().filter(|column| personal || !column.personal).copied().collect()
}

pub fn all_columns(dataset: Dataset) -> &'static [Column] {
    match dataset {
        Dataset::Events => &events::COLUMNS,
        Dataset::Messages => &messages::COLUMNS,
        Dataset::Campaigns => &campaigns::COLUMNS,
    }
}

/// Where rows come from.
pub(super) struct Rows<'a> {
    log: Log<'a>,
    dataset: Dataset,
    after: Position,
    events: events::Events,
    campaigns: campaigns::Campaigns,
}

impl<'a> Rows<'a> {
    /// Of what was recorded after `after`, up to `until`.
    pub(super) fn new(
        ledger: &'a Ledger,
        public_url: &'a Url,
        caller: &'a Caller,
        request: &'a ExportRequest,
        (after, until): (Position, Position),
    ) -> Self {
        let log = Log { ledger, public_url, caller, request, until, cards: HashMap::new() };
        let as_lines = request.format == Format::Ndjson;
        Self {
            log,
            dataset: request.dataset,
            after,
            events: events::Events::new(as_lines),
            campaigns: campaigns::Campaigns::default(),
        }
    }

    /// The next rows; there is always at least one batch.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(super) async fn next(&mut self) -> AppResult<Batch> {
        let batch = match self.dataset {
            Dataset::Events => self.events.next(&self.log, self.after).await,
            Dataset::Messages => messages::next(&mut self.log, self.after).await,
            Dataset::Campaigns => self.campaigns.next(&mut self.log, self.after).await,
        }?;
        self.after = batch.scanned_to;
        Ok(batch)
    }
}

/// The log as far as the request and its caller go.
struct Log<'a> {
    ledger: &'a Ledger,
    public_url: &'a Url,
    caller: &'a Caller,
    request: &'a ExportRequest,
    until: Position,
    /// As they were at the end of what is exported.
    cards: HashMap<WorkspaceId, RateCard>,
}

impl Log<'_> {
    /// What the request's filter asks of events of these types; all types where there are none.
    fn filter(&self, event_types: &[&str], with_times: bool) -> EventFilter {
        let asked = &self.request.filter;
        let workspace_ids = match asked.workspace_ids.is_empty() {
            true => read::scope(self.caller).workspaces.unwrap_or_default(),
            false => asked.workspace_ids.clone(),
        };
        EventFilter {
            event_types: event_types.iter().map(|name| (*name).to_owned()).collect(),
            workspace_ids,
            account_ids: asked.account_ids.clone(),
            recorded_from: asked.from.filter(|_| with_times),
            recorded_to: asked.to.filter(|_| with_times),
            ..EventFilter::default()
        }
    }

    /// Events that the caller may see, with where the log was read to, and whether that is the end.
    async fn read(
        &self,
        after: Position,
        filter: &EventFilter,
    ) -> AppResult<(Vec<RecordedEvent>, Position, bool)> {
        let page = self.ledger.read_after(after, filter, PAGE).await?;
        let mut events = page.events;
        events.retain(|event| event.position <= self.until && shown::may_see(self.caller, event));
        let is_last = page.at_head || page.scanned_to >= self.until;
        let scanned_to = if is_last { self.until } else { page.scanned_to };
        Ok((events, scanned_to, is_last))
    }

    /// What these streams had come to, and their first events' order kept. A stream without the events of its type that fold
    /// is left out.
    async fn fold<A>(&self, streams: &[StreamId]) -> AppResult<HashMap<Uuid, A>>
    where
        A: GatewayAggregate,
        A::Event: DeserializeOwned,
    {
        let mut folded: HashMap<Uuid, A> = HashMap::new();
        for streams in streams.chunks(STREAMS_AT_ONCE) {
            for event in self.ledger.read_streams(streams).await? {
                if event.position <= self.until {
                    folded.entry(event.stream.id).or_default().apply(event.decode()?);
                }
            }
        }
        Ok(folded)
    }

    /// Reads the rate cards of these workspaces, unless they are known.
    async fn learn_cards(&mut self, ids: impl Iterator<Item = WorkspaceId>) -> AppResult<()> {
        let unknown: HashSet<WorkspaceId> = ids.filter(|id| !self.cards.contains_key(id)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let streams: Vec<StreamId> =
            unknown.iter().map(|id| StreamId::new(AggregateType::Workspace, id.0)).collect();
        let mut found = self.fold::<Workspace>(&streams).await?;
        for id in unknown {
            let card = found.remove(&id.0).map(|workspace| workspace.rate_card);
            self.cards.insert(id, card.unwrap_or_default());
        }
        Ok(())
    }

    /// What stands for these people, the same in every export of this log. Those who were erased have nothing that does.
    async fn pseudonyms(
        &self,
        contacts: impl Iterator<Item = Uuid>,
    ) -> AppResult<HashMap<Uuid, Option<String>>> {
        let contacts: Vec<Uuid> = contacts.collect::<HashSet<_>>().into_iter().collect();
        let keys = self.ledger.keys();
        let found = keys.subject_keys(&contacts).await.map_err(super::unavailable)?;
        let named = found.into_iter().map(|(id, key)| {
            let is_erased = matches!(key, SubjectKey::Destroyed);
            (id, (!is_erased).then(|| super::pseudonym(keys, id)))
        });
        Ok(named.collect())
    }

    fn is_personal(&self) -> bool {
        self.request.personal && self.caller.has(Scope::Personal)
    }
}

/// The value of an enum as it is stored and shown.
fn word<T: serde::Serialize>(value: &T) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}
