//! The end of the log, in memory: many follow it, and each event is fetched once for all of them.

use std::collections::VecDeque;

use domain::port::{AggregateType, LogError, StoredEvent};
use tokio::sync::Mutex;

use super::connection::Connection;
use super::read::{self, FETCH_EVENTS, Part};

const EVENTS_MAX: usize = 4_000;
/// What the payloads of all that is held may take.
const PAYLOADS_MAX: usize = 4 * 1024 * 1024;

pub(super) struct Tail(Mutex<Held>);

struct Held {
    /// Everything after this, up to `to`, is held.
    from: u64,
    to: u64,
    events: VecDeque<StoredEvent>,
    payloads: usize,
}

impl Tail {
    pub fn new(from: u64) -> Self {
        Self(Mutex::new(Held { from, to: from, events: VecDeque::new(), payloads: 0 }))
    }

    /// What lies after `after`; `None`, where that begins before what is held. `head` is the log's, at least.
    pub async fn part(
        &self,
        connection: &Connection,
        after: u64,
        head: u64,
    ) -> Result<Option<Part>, LogError> {
        let mut held = self.0.lock().await;
        if after < held.from {
            return Ok(None);
        }
        // Others wait meanwhile: what is fetched now is theirs as well.
        if after >= held.to && held.to < head {
            let to = held.to;
            let fetched =
                read::part(connection, to, &AggregateType::ALL, FETCH_EVENTS, head).await?;
            held.extend(fetched);
        }
        if after < held.from {
            return Ok(None);
        }
        let skipped = held.events.partition_point(|event| event.position.0 <= after);
        let events = held.events.iter().skip(skipped).cloned().collect();
        let scanned_to = held.to.max(after);
        Ok(Some(Part { events, scanned_to, is_last: scanned_to >= head }))
    }
}

impl Held {
    fn extend(&mut self, part: Part) {
        self.payloads += part.events.iter().map(|event| event.payload.len()).sum::<usize>();
        self.events.extend(part.events);
        self.to = part.scanned_to;
        while (self.events.len() > EVENTS_MAX || self.payloads > PAYLOADS_MAX)
            && let Some(event) = self.events.pop_front()
        {
            self.payloads -= event.payload.len();
            self.from = event.position.0;
        }
    }
}
