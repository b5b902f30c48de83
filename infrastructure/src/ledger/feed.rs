//! The log, unsealed and in its newest shapes.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::port::{
    EventFeed, EventFilter, EventLog, FeedError, FeedPage, LogError, Position, RecordedEvent,
    StoredEvent, StreamId,
};
use uuid::Uuid;

use super::codec;
use super::draft::ERASED;
use super::upcasters::Upcasters;
use crate::crypto::{KeyRing, SubjectKey};

/// Reads the log of a store with its key ring. Clones share both.
#[derive(Clone)]
pub struct Ledger {
    log: Arc<dyn EventLog>,
    keys: KeyRing,
    upcasters: Arc<Upcasters>,
}

impl Ledger {
    pub fn new(log: Arc<dyn EventLog>, keys: KeyRing, upcasters: Upcasters) -> Self {
        Self { log, keys, upcasters: Arc::new(upcasters) }
    }

    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The log below, for who passes sealed events on or checks them.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// Unseals and lifts events of this log, in the order given.
    ///
    /// # Errors
    /// [`FeedError::Corrupt`] where one is not as it was written, or was written by a newer gateway;
    /// [`FeedError::Unavailable`] where keys could not be read.
    pub async fn open_events(
        &self,
        stored: Vec<StoredEvent>,
    ) -> Result<Vec<RecordedEvent>, FeedError> {
        let mut subjects = Vec::new();
        for event in &stored {
            if event.event_type == ERASED {
                // Also where another node erased the contact: whoever reads of it lets go of the key.
                self.keys.mark_destroyed(event.stream.id);
            }
            if codec::is_sealed(&event.payload) {
                subjects.extend(event.metadata.subject);
            }
        }
        subjects.sort_unstable();
        subjects.dedup();
        let keys = if subjects.is_empty() {
            HashMap::new()
        } else {
            self.keys.subject_keys(&subjects).await.map_err(|error| from_log(error.into()))?
        };
        stored.into_iter().map(|event| self.open_event(event, &keys)).collect()
    }

    fn open_event(
        &self,
        event: StoredEvent,
        keys: &HashMap<Uuid, SubjectKey>,
    ) -> Result<RecordedEvent, FeedError> {
        let key = event.metadata.subject.and_then(|subject| keys.get(&subject));
        let data = codec::open_event(&event.payload, event.event_id, key)
            .map_err(|error| corrupt(&event, &error.to_string()))?;
        let (data, event_version) = self
            .upcasters
            .lift(&event.event_type, event.event_version, data)
            .map_err(|error| corrupt(&event, &error.to_string()))?;
        Ok(RecordedEvent {
            position: event.position,
            event_id: event.event_id,
            stream: event.stream,
            sequence: event.sequence,
            event_type: event.event_type,
            event_version,
            data,
            metadata: event.metadata,
            workspace_id: event.workspace_id,
            account_id: event.account_id,
            occurred_at: event.occurred_at,
            recorded_at: event.recorded_at,
        })
    }
}

#[async_trait]
impl EventFeed for Ledger {
    async fn read_after(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<FeedPage, FeedError> {
        let page = self.log.read_all(after, filter, limit).await.map_err(from_log)?;
        let events = self.open_events(page.events).await?;
        Ok(FeedPage { events, scanned_to: page.scanned_to, at_head: page.at_head })
    }

    async fn read_streams(&self, streams: &[StreamId]) -> Result<Vec<RecordedEvent>, FeedError> {
        if streams.is_empty() {
            return Ok(vec![]);
        }
        self.open_events(self.log.read_streams(streams).await.map_err(from_log)?).await
    }

    async fn read_stream_page(
        &self,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, FeedError> {
        let page = self.log.read_stream_page(stream, after_sequence, limit).await;
        self.open_events(page.map_err(from_log)?).await
    }

    async fn head(&self) -> Result<Position, FeedError> {
        self.log.head().await.map_err(from_log)
    }

    async fn changed(&self, after: Position) {
        self.log.changed(after).await;
    }
}

pub(super) fn from_log(error: LogError) -> FeedError {
    match error {
        LogError::Unavailable(source) => FeedError::Unavailable(source),
        LogError::Corrupt(what) => FeedError::Corrupt(what),
        LogError::Detached(stream) => FeedError::Detached(stream),
    }
}

fn corrupt(event: &StoredEvent, problem: &str) -> FeedError {
    FeedError::Corrupt(format!("{} at position {}: {problem}", event.event_type, event.position))
}
