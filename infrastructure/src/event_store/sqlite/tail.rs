//! The end of the log, in memory: whoever follows the log reads what was just appended without a look into the file.
//! Events are held as the file has them, sealed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::port::{
    AppendOutcome, AppendUnit, EventFilter, EventTraits, LogPage, Position, StoredEvent,
};

use super::super::reading;

/// What the payloads of all that is held may take.
const PAYLOADS_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Tail {
    events_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Without a gap, up to the head.
    events: VecDeque<StoredEvent>,
    payloads: usize,
}

impl Tail {
    pub fn new(events_max: usize) -> Self {
        Self { events_max, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what was just written, before anybody is told of it.
    pub fn extend(&self, units: &[AppendUnit], outcomes: &[AppendOutcome]) {
        if self.events_max == 0 {
            return;
        }
        let mut held = self.held();
        for (unit, outcome) in units.iter().zip(outcomes) {
            let AppendOutcome::Appended { first, recorded_at, .. } = outcome else { continue };
            let mut position = first.0;
            for append in &unit.streams {
                for (sequence, event) in (append.expected + 1..).zip(&append.events) {
                    held.push(StoredEvent {
                        position: Position(position),
                        event_id: event.event_id,
                        stream: append.stream,
                        sequence,
                        event_type: event.event_type.clone(),
                        event_version: event.event_version,
                        payload: event.payload.clone(),
                        metadata: event.metadata.clone(),
                        workspace_id: append.workspace_id,
                        account_id: append.account_id,
                        occurred_at: event.occurred_at,
                        recorded_at: *recorded_at,
                    });
                    position += 1;
                }
            }
        }
        while held.events.len() > self.events_max || held.payloads > PAYLOADS_MAX {
            held.drop_first();
        }
    }

    /// Lets go of everything: the log may be other than is known here.
    pub fn clear(&self) {
        *self.held() = Held::default();
    }

    /// `None`: what was asked for begins before what is held.
    pub fn read(&self, after: Position, filter: &EventFilter, limit: usize) -> Option<LogPage> {
        let by_time = filter.recorded_from.is_some() || filter.recorded_to.is_some();
        let held = self.held();
        let (first, head) = (held.events.front()?.position.0, held.events.back()?.position.0);
        if by_time || after.0 < first - 1 {
            return None;
        }
        let skipped = usize::try_from(after.0.saturating_add(1) - first).unwrap_or(usize::MAX);
        let wanted = held.events.iter().skip(skipped).filter(|event| is_wanted(filter, event));
        let events = wanted.take(limit).cloned().collect();
        let window = reading::window(after, filter, head, None, None);
        Some(reading::page(events, limit, after, window, head))
    }
}

impl Held {
    fn push(&mut self, event: StoredEvent) {
        // What lies in between is not known.
        if self.events.back().is_some_and(|last| last.position.0 + 1 != event.position.0) {
            *self = Self::default();
        }
        self.payloads += event.payload.len();
        self.events.push_back(event);
    }

    fn drop_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.payloads -= event.payload.len();
        }
    }
}

fn is_wanted(filter: &EventFilter, event: &StoredEvent) -> bool {
    filter.wants(EventTraits {
        stream: event.stream,
        event_type: &event.event_type,
        workspace_id: event.workspace_id,
        account_id: event.account_id,
        correlation_id: event.metadata.correlation_id,
        recorded_at: event.recorded_at,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::contract::{append, at, message, unit};
    use super::*;

    /// A unit of so many events that was taken from `first` on.
    fn take(tail: &Tail, first: u64, events: usize) {
        let outcome = AppendOutcome::Appended {
            first: Position(first),
            last: Position(first + events as u64 - 1),
            recorded_at: at(0),
        };
        tail.extend(&[unit([append(message(), 0, events)])], &[outcome]);
    }

    fn positions(tail: &Tail, after: u64) -> Option<Vec<u64>> {
        let page = tail.read(Position(after), &EventFilter::default(), 100)?;
        assert!(page.at_head);
        Some(page.events.iter().map(|event| event.position.0).collect())
    }

    #[test]
    fn it_holds_the_last_ones_only_and_says_where_it_begins() {
        let tail = Tail::new(5);
        assert_eq!(positions(&tail, 0), None, "it knows nothing yet");
        take(&tail, 1, 3);
        assert_eq!(positions(&tail, 0), Some(vec![1, 2, 3]));
        take(&tail, 4, 4);
        assert_eq!(positions(&tail, 1), None);
        assert_eq!(positions(&tail, 2), Some(vec![3, 4, 5, 6, 7]));
        assert_eq!(positions(&tail, 7), Some(vec![]));
        assert_eq!(positions(&tail, 9), Some(vec![]));
    }

    #[test]
    fn what_lies_before_a_gap_or_a_failure_is_let_go() {
        let tail = Tail::new(10);
        take(&tail, 1, 2);
        take(&tail, 5, 2);
        assert_eq!(positions(&tail, 2), None);
        assert_eq!(positions(&tail, 4), Some(vec![5, 6]));
        tail.clear();
        assert_eq!(positions(&tail, 4), None);
    }

    #[test]
    fn large_payloads_make_it_shorter() {
        let tail = Tail::new(1_000);
        let mut large = unit([append(message(), 0, 5)]);
        for event in &mut large.streams[0].events {
            event.payload = "x".repeat(PAYLOADS_MAX / 3);
        }
        let outcome =
            AppendOutcome::Appended { first: Position(1), last: Position(5), recorded_at: at(0) };
        tail.extend(&[large], &[outcome]);
        assert_eq!(positions(&tail, 2), Some(vec![3, 4, 5]));
        assert_eq!(positions(&tail, 1), None);
    }
}
