//! The log as projectors and process managers read it: unsealed, upcast to the newest shape, in order.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AggregateType, EventFilter, EventTraits, Position, StreamId};
use crate::primitives::Actor;

/// What is recorded beside an event's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub actor: Actor,
    pub correlation_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// Whose key seals the event's personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Uuid>,
}

/// One fact, as recorded. `data` holds personal data in the clear, marked (see
/// [`crate::primitives::Personal`]); mask it before it leaves for someone who may not see it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedEvent {
    pub position: Position,
    pub event_id: Uuid,
    pub stream: StreamId,
    pub sequence: u64,
    /// `aggregate.fact`, like `message.delivered`.
    pub event_type: String,
    pub event_version: u32,
    pub data: serde_json::Value,
    pub metadata: Metadata,
    pub workspace_id: Option<Uuid>,
    pub account_id: Option<Uuid>,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
}

impl RecordedEvent {
    /// The data as its aggregate's event type.
    ///
    /// # Errors
    /// [`FeedError::Corrupt`] where the shape is none this version knows.
    pub fn decode<E: serde::de::DeserializeOwned>(&self) -> Result<E, FeedError> {
        E::deserialize(&self.data).map_err(|error| {
            FeedError::Corrupt(format!("{} at {}: {error}", self.event_type, self.position))
        })
    }

    /// Whether a reader with this filter wants it.
    pub fn is_wanted_by(&self, filter: &EventFilter) -> bool {
        filter.wants(EventTraits {
            stream: self.stream,
            event_type: &self.event_type,
            workspace_id: self.workspace_id,
            account_id: self.account_id,
            correlation_id: self.metadata.correlation_id,
            recorded_at: self.recorded_at,
        })
    }

    pub fn is(&self, aggregate_type: AggregateType) -> bool {
        self.stream.aggregate_type == aggregate_type
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedPage {
    pub events: Vec<RecordedEvent>,
    pub scanned_to: Position,
    pub at_head: bool,
}

/// Reads the log.
#[async_trait]
pub trait EventFeed: Send + Sync + 'static {
    async fn read_after(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<FeedPage, FeedError>;

    /// All events of these streams, each stream's together and in order.
    async fn read_streams(&self, streams: &[StreamId]) -> Result<Vec<RecordedEvent>, FeedError>;

    /// A page of one stream, from the event after `after_sequence`.
    async fn read_stream_page(
        &self,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, FeedError>;

    async fn head(&self) -> Result<Position, FeedError>;

    /// Returns once the head may be beyond `after`; may return early.
    async fn changed(&self, after: Position);
}

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("the event log is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the event log holds something this version cannot read: {0}")]
    Corrupt(String),
    /// See [`super::LogError::Detached`].
    #[error("{0} is of a month that was taken out of the log")]
    Detached(StreamId),
}
