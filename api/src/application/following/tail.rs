//! The log's latest events, opened once for everybody who follows it: thousands may wait for the next one, and each of
//! them reading the log whenever it grows would cost more than all that is written.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::port::{EventFeed, EventFilter, FeedError, FeedPage, Position, RecordedEvent};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::warn;

use crate::app::Gateway;

/// Events held; whoever is further behind reads the log itself.
const EVENTS_MAX: usize = 2_000;
/// Events read at once.
const PAGE: usize = 500;
/// How long a log that cannot be read is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// With it, whatever was opened before holds what is to be unreadable.
const ERASED: [&str; 2] = ["contact.erased", "user.removed"];

pub(in crate::application) struct Tail {
    held: Mutex<Held>,
    /// How far it has been read.
    moved: watch::Sender<Position>,
    readers: Mutex<Readers>,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            moved: watch::Sender::new(Position(0)),
            readers: Mutex::default(),
        }
    }
}

/// Everything of the log after `after` and up to `until`.
#[derive(Default)]
struct Held {
    after: Position,
    until: Position,
    events: VecDeque<Arc<RecordedEvent>>,
}

#[derive(Default)]
struct Readers {
    count: usize,
    task: Option<AbortHandle>,
}

/// The log as those who follow it read it: its end from memory, what lies before from the store.
pub struct SharedLog(Arc<Gateway>);

impl SharedLog {
    /// Keeps the end being read while this is there. `head` is where the log ends.
    pub fn open(gateway: &Arc<Gateway>, head: Position) -> Self {
        let mut readers = gateway.local.tail.readers();
        readers.count += 1;
        if readers.task.is_none() {
            gateway.local.tail.held().restart(head);
            let task = tokio::spawn(run(gateway.clone(), head));
            readers.task = Some(task.abort_handle());
        }
        Self(gateway.clone())
    }

    /// As [`EventFeed::read_after`]; at the head is whoever has all that was read so far.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn read_after(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<FeedPage, FeedError> {
        match self.0.local.tail.after(after, filter, limit) {
            Some(page) => Ok(page),
            None => self.0.ledger.read_after(after, filter, limit).await,
        }
    }

    /// Returns once something after `position` was read.
    pub async fn moved_beyond(&self, position: Position) {
        let mut moved = self.0.local.tail.moved.subscribe();
        // The sender lives as long as the gateway.
        let _ = moved.wait_for(|until| *until > position).await;
    }
}

impl Tail {
    /// Events after a position that a reader wants, at most `limit`. `None`: it begins before what is held.
    fn after(&self, position: Position, filter: &EventFilter, limit: usize) -> Option<FeedPage> {
        let held = self.held();
        if position < held.after {
            return None;
        }
        let first = held.events.partition_point(|event| event.position <= position);
        let wanted = held.events.iter().skip(first).filter(|event| event.is_wanted_by(filter));
        let events: Vec<_> = wanted.take(limit).map(|event| RecordedEvent::clone(event)).collect();
        let last = events.last().filter(|_| events.len() == limit).map(|event| event.position);
        let scanned_to = last.unwrap_or(held.until.max(position));
        Some(FeedPage { events, scanned_to, at_head: last.is_none() })
    }

    /// Lets go of what is held: somebody's data is to be gone.
    pub(in crate::application) fn forget(&self) {
        let mut held = self.held();
        let until = held.until;
        held.restart(until);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was read after `from`, and answers where to read on. Nothing is taken that does not follow on what is
    /// held: whoever read it was told to end, and another has begun since.
    fn extend(&self, from: Position, events: Vec<RecordedEvent>, until: Position) -> Position {
        let mut held = self.held();
        if from == held.until {
            held.extend(events, until);
            self.moved.send_replace(until);
        }
        held.until
    }
}

impl Held {
    fn restart(&mut self, at: Position) {
        *self = Self { after: at, until: at, events: VecDeque::new() };
    }

    fn extend(&mut self, events: Vec<RecordedEvent>, until: Position) {
        for event in events {
            if ERASED.contains(&event.event_type.as_str()) {
                self.restart(Position(event.position.0.saturating_sub(1)));
            }
            self.events.push_back(Arc::new(event));
        }
        self.until = until;
        while self.events.len() > EVENTS_MAX
            && let Some(oldest) = self.events.pop_front()
        {
            self.after = oldest.position;
        }
    }
}

impl Drop for SharedLog {
    fn drop(&mut self) {
        let mut readers = self.0.local.tail.readers();
        readers.count -= 1;
        if readers.count == 0
            && let Some(task) = readers.task.take()
        {
            task.abort();
            self.0.local.tail.held().restart(Position(0));
        }
    }
}

async fn run(gateway: Arc<Gateway>, head: Position) {
    let mut place = head;
    loop {
        match gateway.ledger.read_after(place, &EventFilter::default(), PAGE).await {
            Ok(page) => {
                place = gateway.local.tail.extend(place, page.events, page.scanned_to);
                if page.at_head {
                    gateway.ledger.changed(place).await;
                }
            }
            Err(error) => {
                warn!(%error, "the log cannot be read for those who follow it");
                gateway.clock.sleep_for(AFTER_FAILURE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::port::{AggregateType, Metadata, StreamId};
    use domain::primitives::Actor;
    use uuid::Uuid;

    use super::*;

    fn event(position: u64, event_type: &str) -> RecordedEvent {
        let at = DateTime::UNIX_EPOCH;
        RecordedEvent {
            position: Position(position),
            event_id: Uuid::from_u128(position.into()),
            stream: StreamId::new(AggregateType::Message, Uuid::from_u128(1)),
            sequence: position,
            event_type: event_type.to_owned(),
            event_version: 1,
            data: serde_json::Value::Null,
            metadata: Metadata {
                actor: Actor::system("test"),
                correlation_id: Uuid::nil(),
                causation_id: None,
                subject: None,
            },
            workspace_id: None,
            account_id: None,
            occurred_at: at,
            recorded_at: at,
        }
    }

    /// Read from position 10 to `until`, all of it one kind of event.
    fn tail(until: u64) -> Tail {
        let tail = Tail::default();
        tail.held().restart(Position(10));
        extend(&tail, 10, (11..=until).map(|at| event(at, "message.read")).collect());
        tail
    }

    fn extend(tail: &Tail, from: u64, events: Vec<RecordedEvent>) -> u64 {
        let until = events.last().expect("some").position;
        tail.extend(Position(from), events, until).0
    }

    fn positions(tail: &Tail, after: u64, filter: &EventFilter) -> Option<(Vec<u64>, u64, bool)> {
        let latest = tail.after(Position(after), filter, 3)?;
        let events = latest.events.iter().map(|event| event.position.0).collect();
        Some((events, latest.scanned_to.0, latest.at_head))
    }

    #[test]
    fn what_is_held_is_answered_in_pages_and_nothing_before_it() {
        let (tail, all) = (tail(15), EventFilter::default());
        assert_eq!(positions(&tail, 9, &all), None);
        assert_eq!(positions(&tail, 10, &all), Some((vec![11, 12, 13], 13, false)));
        assert_eq!(positions(&tail, 13, &all), Some((vec![14, 15], 15, true)));
        assert_eq!(positions(&tail, 15, &all), Some((vec![], 15, true)));
        // Whoever read the log itself may be ahead.
        assert_eq!(positions(&tail, 20, &all), Some((vec![], 20, true)));
        let none = EventFilter { event_types: vec!["message.sent".to_owned()], ..all };
        assert_eq!(positions(&tail, 11, &none), Some((vec![], 15, true)));
    }

    #[test]
    fn it_holds_so_many_and_no_more() {
        let (tail, all) = (tail(15), EventFilter::default());
        let more = (16..16 + EVENTS_MAX as u64).map(|at| event(at, "message.read")).collect();
        extend(&tail, 15, more);
        assert_eq!(tail.held().events.len(), EVENTS_MAX);
        assert_eq!(positions(&tail, 14, &all), None);
        assert_eq!(positions(&tail, 15, &all), Some((vec![16, 17, 18], 18, false)));
    }

    #[test]
    fn whoever_was_told_to_end_adds_nothing_to_what_another_reads() {
        let (tail, all) = (tail(15), EventFilter::default());
        let late =
            vec![event(14, "message.read"), event(15, "message.read"), event(16, "message.read")];
        assert_eq!(extend(&tail, 13, late), 15);
        assert_eq!(positions(&tail, 13, &all), Some((vec![14, 15], 15, true)));
        assert_eq!(extend(&tail, 15, vec![event(16, "message.read")]), 16);
        assert_eq!(positions(&tail, 13, &all), Some((vec![14, 15, 16], 16, false)));
    }

    #[test]
    fn nothing_from_before_an_erasure_is_held() {
        let (tail, all) = (tail(15), EventFilter::default());
        extend(&tail, 15, vec![event(16, "message.sent"), event(17, ERASED[0])]);
        assert_eq!(positions(&tail, 15, &all), None);
        assert_eq!(positions(&tail, 16, &all), Some((vec![17], 17, true)));
        tail.forget();
        assert_eq!(positions(&tail, 16, &all), None);
        assert_eq!(positions(&tail, 17, &all), Some((vec![], 17, true)));
    }
}
