//! Events as they stand in KurrentDB: the payload as it is, and beside it what the log knows of it. Cause and correlation
//! have the names that KurrentDB's own projections look for.

use chrono::{DateTime, Utc};
use domain::port::{LogError, Metadata, NewEvent, Position, StoredEvent, StreamAppend, StreamId};
use domain::primitives::Actor;
use kurrentdb::{EventData, RecordedEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::error::Source;

/// What one append may hold, in bytes: the server takes 1 MiB where nobody told it otherwise.
pub(super) const APPEND_BYTES_MAX: usize = 900 * 1024;
/// What an event takes beside its payload and metadata, at most.
const EVENT_OVERHEAD_BYTES: usize = 200;

/// Events for one stream, in one append.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StreamWrite {
    pub stream: String,
    /// The stream's last sequence before.
    pub expected: u64,
    pub events: Vec<EventWrite>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EventWrite {
    pub id: Uuid,
    pub event_type: String,
    pub data: Box<RawValue>,
    pub metadata: Box<RawValue>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredMetadata {
    #[serde(rename = "$correlationId")]
    correlation_id: Uuid,
    #[serde(rename = "$causationId", default, skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
    actor: Actor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Uuid>,
    event_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account_id: Option<Uuid>,
    occurred_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
}

/// The appends to `stream` that make up this one, in order: more than one where the server would not take it whole.
///
/// # Errors
/// Where one event is more than the server takes.
pub(super) fn writes(
    stream: String,
    append: &StreamAppend,
    recorded_at: DateTime<Utc>,
) -> Result<Vec<StreamWrite>, Source> {
    let mut writes: Vec<StreamWrite> = Vec::new();
    let mut bytes = 0;
    for (event, before) in append.events.iter().zip(0_u64..) {
        // Beyond the last number there is no stream, and the append is stale whatever it says here.
        let before = append.expected.saturating_add(before);
        let event = event_write(append, event, recorded_at)?;
        let size = event.data.get().len() + event.metadata.get().len() + EVENT_OVERHEAD_BYTES;
        if size > APPEND_BYTES_MAX {
            return Err(format!("an event of {size} bytes is more than KurrentDB takes").into());
        }
        match writes.last_mut().filter(|_| bytes + size <= APPEND_BYTES_MAX) {
            Some(write) => {
                bytes += size;
                write.events.push(event);
            }
            None => {
                bytes = size;
                writes.push(StreamWrite {
                    stream: stream.clone(),
                    expected: before,
                    events: vec![event],
                });
            }
        }
    }
    Ok(writes)
}

fn event_write(
    append: &StreamAppend,
    event: &NewEvent,
    recorded_at: DateTime<Utc>,
) -> Result<EventWrite, Source> {
    let metadata = StoredMetadata {
        correlation_id: event.metadata.correlation_id,
        causation_id: event.metadata.causation_id,
        actor: event.metadata.actor.clone(),
        subject: event.metadata.subject,
        event_version: event.event_version,
        workspace_id: append.workspace_id,
        account_id: append.account_id,
        occurred_at: event.occurred_at,
        recorded_at,
    };
    Ok(EventWrite {
        id: event.event_id,
        event_type: event.event_type.clone(),
        data: RawValue::from_string(event.payload.clone())?,
        metadata: serde_json::value::to_raw_value(&metadata)?,
    })
}

impl EventWrite {
    pub fn to_event_data(&self) -> EventData {
        let data = EventData::json(&self.event_type, &self.data)
            .expect("raw JSON is written as it stands");
        data.id(self.id).metadata(self.metadata.get().to_owned().into())
    }
}

/// # Errors
/// [`LogError::Corrupt`] where somebody else wrote into a stream of ours, or a newer version did.
pub(super) fn stored(stream: StreamId, event: &RecordedEvent) -> Result<StoredEvent, LogError> {
    let corrupt = |what: &str| {
        LogError::Corrupt(format!(
            "{what} in stream {stream} of KurrentDB, revision {}",
            event.revision
        ))
    };
    let metadata: StoredMetadata = serde_json::from_slice(&event.custom_metadata)
        .map_err(|_| corrupt("an event that this gateway did not write"))?;
    let payload =
        String::from_utf8(event.data.to_vec()).map_err(|_| corrupt("a payload that is no text"))?;
    Ok(StoredEvent {
        position: Position(event.position.commit),
        event_id: event.id,
        stream,
        sequence: event.revision + 1,
        event_type: event.event_type.clone(),
        event_version: metadata.event_version,
        payload,
        metadata: Metadata {
            actor: metadata.actor,
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id,
            subject: metadata.subject,
        },
        workspace_id: metadata.workspace_id,
        account_id: metadata.account_id,
        occurred_at: metadata.occurred_at,
        recorded_at: metadata.recorded_at,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::contract::{append, at, message};
    use super::*;

    #[test]
    fn a_large_append_is_cut_and_an_event_that_is_too_large_is_refused() {
        let mut large = append(message(), 3, 5);
        for event in &mut large.events {
            event.payload = format!("\"{}\"", "x".repeat(APPEND_BYTES_MAX / 3));
        }
        let cut = writes("message-1".to_owned(), &large, at(0)).unwrap();
        let shape: Vec<_> = cut.iter().map(|write| (write.expected, write.events.len())).collect();
        assert_eq!(shape, [(3, 2), (5, 2), (7, 1)]);
        large.events[4].payload = format!("\"{}\"", "x".repeat(APPEND_BYTES_MAX));
        writes("message-1".to_owned(), &large, at(0)).unwrap_err();
    }
}
