//! The log as stores implement it: sealed events in, sealed events out, in an order that never changes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Metadata;

/// A place in the log. Totally ordered; a reader that has seen p never sees anything new at or below p. 0 is before
/// the first event.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The kinds of streams. A stream's name is `<type>-<uuid>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateType {
    Workspace,
    Account,
    Template,
    Contact,
    Segment,
    Import,
    Campaign,
    Message,
    ApiKey,
    WebhookEndpoint,
    User,
    Conversation,
}

impl AggregateType {
    pub const ALL: [Self; 12] = [
        Self::Workspace,
        Self::Account,
        Self::Template,
        Self::Contact,
        Self::Segment,
        Self::Import,
        Self::Campaign,
        Self::Message,
        Self::ApiKey,
        Self::WebhookEndpoint,
        Self::User,
        Self::Conversation,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Account => "account",
            Self::Template => "template",
            Self::Contact => "contact",
            Self::Segment => "segment",
            Self::Import => "import",
            Self::Campaign => "campaign",
            Self::Message => "message",
            Self::ApiKey => "api_key",
            Self::WebhookEndpoint => "webhook_endpoint",
            Self::User => "user",
            Self::Conversation => "conversation",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub aggregate_type: AggregateType,
    pub id: Uuid,
}

impl StreamId {
    pub fn new(aggregate_type: AggregateType, id: impl Into<Uuid>) -> Self {
        Self { aggregate_type, id: id.into() }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.aggregate_type.as_str(), self.id)
    }
}

/// An event on its way into the log: already sealed, its place not yet known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub event_id: Uuid,
    pub event_type: String,
    pub event_version: u32,
    /// JSON, personal data sealed.
    pub payload: String,
    pub metadata: Metadata,
    pub occurred_at: DateTime<Utc>,
}

/// Events for one stream, to be taken only if its last sequence is `expected` (0: the stream does not exist yet).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAppend {
    pub stream: StreamId,
    pub expected: u64,
    pub workspace_id: Option<Uuid>,
    pub account_id: Option<Uuid>,
    pub events: Vec<NewEvent>,
}

/// What one command writes: taken as a whole or turned away as a whole, with everything beside the events in the same
/// transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendUnit {
    pub streams: Vec<StreamAppend>,
    pub identities: Vec<IdentityChange>,
    pub idempotency: Option<IdempotencyRecord>,
    /// Keys that the sealed events of this unit need. A key that is on record already, with these very bytes, is left as
    /// it is; where another is, or the subject's was destroyed, the unit is `Stale` (all its streams): what it sealed
    /// could never be read. Look the key up again, then seal and try again.
    pub new_keys: Vec<NewDataKey>,
    /// Subjects whose key is destroyed, for good.
    pub destroy_keys: Vec<Uuid>,
    pub secrets: Vec<SecretChange>,
    /// Refused where the lease has moved on since.
    pub fence: Option<Fence>,
}

/// Uniqueness across streams: one holder per (workspace, kind, keyed hash). Releases of a unit are done before its
/// claims. A claim that its holder already has is no conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityChange {
    Claim {
        workspace_id: Uuid,
        kind: String,
        hash: Vec<u8>,
        holder: Uuid,
    },
    /// Does nothing where another holds it.
    Release {
        workspace_id: Uuid,
        kind: String,
        hash: Vec<u8>,
        holder: Uuid,
    },
}

/// The result of a mutation under its caller's idempotency key, written with its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// Keyed hash over the API key's id and the caller's key.
    pub key_hash: Vec<u8>,
    /// Keyed hash of the input: the same key with another input is an error.
    pub input_hash: Vec<u8>,
    /// JSON: what to answer again. Ids only.
    pub result: String,
    pub recorded_at: DateTime<Utc>,
    /// The position answered first; filled in by the log.
    pub position: Position,
}

/// A subject's data key, wrapped by the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDataKey {
    pub subject: Uuid,
    pub wrapped: Vec<u8>,
}

/// A credential in the key ring: replaced or removed, never in an event. `sealed: None` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretChange {
    pub name: String,
    pub sealed: Option<Vec<u8>>,
}

/// Says that the writer believes to hold this lease in this epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub lease: String,
    pub epoch: i64,
}

/// What became of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// On disk. `last` is the position of the unit's last event (the head, where it had none), and none of its events lies
    /// before `first`. Where the store has holes in between, others' events may lie there too.
    Appended { first: Position, last: Position, recorded_at: DateTime<Utc> },
    /// These streams are not where the writer thought: read, decide and try again. Nothing of the unit was taken.
    Stale { streams: Vec<StreamId> },
    /// The unit's `index`-th identity change claims what `holder` holds. Nothing of the unit was taken.
    IdentityTaken { index: usize, holder: Uuid },
    /// This idempotency key was used before: here is its record. Nothing of the unit was taken.
    Replayed { record: IdempotencyRecord },
    /// The lease has another owner by now. Nothing of the unit was taken.
    Fenced,
}

/// An event as the log holds it, still sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub position: Position,
    pub event_id: Uuid,
    pub stream: StreamId,
    /// From 1, without a gap.
    pub sequence: u64,
    pub event_type: String,
    pub event_version: u32,
    pub payload: String,
    pub metadata: Metadata,
    pub workspace_id: Option<Uuid>,
    pub account_id: Option<Uuid>,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
}

/// Which events a reader wants. Empty lists mean all; the parts hold together (and), each list is one of (or).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub aggregate_types: Vec<AggregateType>,
    pub aggregate_ids: Vec<Uuid>,
    pub event_types: Vec<String>,
    pub workspace_ids: Vec<Uuid>,
    pub account_ids: Vec<Uuid>,
    pub recorded_from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub recorded_to: Option<DateTime<Utc>>,
    pub correlation_id: Option<Uuid>,
}

/// What an [`EventFilter`] looks at, whether the event is sealed or open.
#[derive(Clone, Copy, Debug)]
pub struct EventTraits<'a> {
    pub stream: StreamId,
    pub event_type: &'a str,
    pub workspace_id: Option<Uuid>,
    pub account_id: Option<Uuid>,
    pub correlation_id: Uuid,
    pub recorded_at: DateTime<Utc>,
}

impl EventFilter {
    /// Whether the reader wants it: what stores decide in SQL, for events in memory.
    pub fn wants(&self, event: EventTraits<'_>) -> bool {
        fn is_one<T: PartialEq>(list: &[T], value: Option<T>) -> bool {
            list.is_empty() || value.is_some_and(|value| list.contains(&value))
        }
        is_one(&self.aggregate_types, Some(event.stream.aggregate_type))
            && is_one(&self.aggregate_ids, Some(event.stream.id))
            && (self.event_types.is_empty()
                || self.event_types.iter().any(|name| name == event.event_type))
            && is_one(&self.workspace_ids, event.workspace_id)
            && is_one(&self.account_ids, event.account_id)
            && self.recorded_from.is_none_or(|from| event.recorded_at >= from)
            && self.recorded_to.is_none_or(|to| event.recorded_at < to)
            && self.correlation_id.is_none_or(|id| id == event.correlation_id)
    }
}

/// A page of the log in order of position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    pub events: Vec<StoredEvent>,
    /// Everything up to here was looked at: where to go on, also when no event matched.
    pub scanned_to: Position,
    /// Nothing lay beyond `scanned_to` when this was read.
    pub at_head: bool,
}

/// An append-only log of streams.
///
/// `append` takes many units and answers for each alone: a stale one never fails its neighbours. What was answered
/// with `Appended` is on disk. Callers wait in the same group commit, so appending one unit at a time from many tasks
/// is as cheap as appending many from one.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// # Errors
    /// [`LogError`] where the store could not be reached or refused: then the outcome of all units is unknown, and
    /// repeating them is safe (what was taken answers `Stale`, or `Replayed` under its idempotency key).
    async fn append(&self, units: Vec<AppendUnit>) -> Result<Vec<AppendOutcome>, LogError>;

    /// All events of these streams, each stream's together and in order; streams that do not exist are left out.
    async fn read_streams(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError>;

    /// A page of one stream, from the event after `after_sequence`.
    ///
    /// # Errors
    /// [`LogError::Detached`] where the stream may have been, but is not here any more; elsewhere it is as one that never
    /// was, and an append to it fails.
    async fn read_stream_page(
        &self,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, LogError>;

    /// At most `limit` matching events after `after`.
    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogPage, LogError>;

    async fn head(&self) -> Result<Position, LogError>;

    /// Nobody but the holder of this log appends to it.
    fn is_exclusive(&self) -> bool;

    /// Returns once the head may be beyond `after`: a wake-up, never the data. May return early.
    async fn changed(&self, after: Position);
}

/// The store failed. Its chain is for operators; users see UNAVAILABLE.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the event log is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the event log holds something this version cannot read: {0}")]
    Corrupt(String),
    /// Where it would be was put away, as a whole.
    #[error("{0} is of a month that was taken out of the log")]
    Detached(StreamId),
}
