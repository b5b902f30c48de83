//! Which events wait for which endpoint, kept in order by subject: while one of a subject's events is under way or was not
//! taken, the later ones of that subject wait, and nobody else's. Pure: reads no clock and sends nothing.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::port::{Position, StreamId};
use infrastructure::outbound::store::{LaneState, Parked};
use uuid::Uuid;

/// Events in memory.
const WINDOW: usize = 1_000;
/// Their bytes.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// Subjects that wait to be tried again. Beyond that no other is begun: the endpoint takes hardly anything.
pub const PARKED_MAX: usize = 1_000;

/// An event as it leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub position: Position,
    pub sequence: u64,
    pub event_id: Uuid,
    /// Whose personal data it may hold.
    pub subject: Option<Uuid>,
    pub body: Bytes,
    pub read_at: DateTime<Utc>,
}

/// What is to be sent of a subject next.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    pub stream: StreamId,
    /// The sequence of the last event that was taken or not wanted.
    pub after_sequence: u64,
    /// Empty for one that is parked: to be read from its stream, up to `up_to`.
    pub items: Vec<Item>,
    pub up_to: Position,
    /// Attempts at the first of them that failed.
    pub attempts: u32,
}

#[derive(Debug, Default)]
struct Fresh {
    queue: VecDeque<Item>,
    is_under_way: bool,
}

#[derive(Debug)]
struct Waiting {
    parked: Parked,
    is_under_way: bool,
    /// More of it was read while it was under way.
    has_more: bool,
}

#[derive(Debug)]
pub struct Book {
    read_to: Position,
    /// Read, wanted, not taken and not parked.
    outstanding: BTreeSet<Position>,
    bytes: usize,
    fresh: HashMap<StreamId, Fresh>,
    ready: VecDeque<StreamId>,
    parked: HashMap<StreamId, Waiting>,
    due: BTreeSet<(DateTime<Utc>, StreamId)>,
    /// Parked, or parked no more, since it was last asked.
    changed: HashSet<StreamId>,
}

impl Book {
    pub fn new(state: LaneState) -> Self {
        let due = state.parked.iter().map(|parked| (parked.due_at, parked.stream)).collect();
        let waiting = |parked: Parked| {
            (parked.stream, Waiting { parked, is_under_way: false, has_more: false })
        };
        Self {
            read_to: state.position,
            outstanding: BTreeSet::new(),
            bytes: 0,
            fresh: HashMap::new(),
            ready: VecDeque::new(),
            parked: state.parked.into_iter().map(waiting).collect(),
            due,
            changed: HashSet::new(),
        }
    }

    /// Where to read on.
    pub fn read_to(&self) -> Position {
        self.read_to
    }

    pub fn has_room(&self) -> bool {
        self.outstanding.len() < WINDOW && self.bytes < WINDOW_BYTES
    }

    /// Everything up to here was taken, but for what is parked.
    pub fn position(&self) -> Position {
        match self.outstanding.first() {
            Some(first) => Position(first.0.saturating_sub(1)),
            None => self.read_to,
        }
    }

    /// Nothing waits any more.
    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty() && self.parked.is_empty()
    }

    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The log was read up to `scanned_to`; of it, these are wanted, in order.
    pub fn take_in(&mut self, scanned_to: Position, items: Vec<(StreamId, Item)>) {
        for (stream, item) in items {
            // What its stream holds up to `read_to` is read from there when its time comes.
            if let Some(waiting) = self.parked.get_mut(&stream) {
                waiting.has_more = true;
                continue;
            }
            self.outstanding.insert(item.position);
            self.bytes += item.body.len();
            let fresh = self.fresh.entry(stream).or_default();
            if fresh.queue.is_empty() && !fresh.is_under_way {
                self.ready.push_back(stream);
            }
            fresh.queue.push_back(item);
        }
        self.read_to = self.read_to.max(scanned_to);
    }

    /// What to send next: of what was tried before, the longest due, then the first of what is new; the other way round
    /// where `new_first`. `anything`: whether it is due or not. At most `items` of `bytes`, but always one.
    pub fn next(
        &mut self,
        now: DateTime<Utc>,
        anything: bool,
        new_first: bool,
        items: usize,
        bytes: usize,
    ) -> Option<Pick> {
        match new_first {
            true => self.next_new(items, bytes).or_else(|| self.next_parked(now, anything)),
            false => self.next_parked(now, anything).or_else(|| self.next_new(items, bytes)),
        }
    }

    fn next_parked(&mut self, now: DateTime<Utc>, anything: bool) -> Option<Pick> {
        let (at, stream) = *self.due.first()?;
        if at > now && !anything {
            return None;
        }
        self.due.pop_first();
        let up_to = self.read_to;
        let waiting = self.parked.get_mut(&stream)?;
        (waiting.is_under_way, waiting.has_more) = (true, false);
        let Parked { after_sequence, attempts, .. } = waiting.parked;
        Some(Pick { stream, after_sequence, items: vec![], up_to, attempts })
    }

    fn next_new(&mut self, items: usize, bytes: usize) -> Option<Pick> {
        if self.parked.len() >= PARKED_MAX {
            return None;
        }
        let stream = self.ready.pop_front()?;
        let fresh = self.fresh.get_mut(&stream)?;
        fresh.is_under_way = true;
        let mut room = bytes;
        let fits = |item: &&Item| {
            let fits = item.body.len() <= room;
            room = room.saturating_sub(item.body.len());
            fits
        };
        let mut taken: Vec<Item> =
            fresh.queue.iter().take(items.max(1)).take_while(fits).cloned().collect();
        if taken.is_empty() {
            taken.extend(fresh.queue.front().cloned());
        }
        let after_sequence = taken.first()?.sequence.saturating_sub(1);
        Some(Pick { stream, after_sequence, items: taken, up_to: self.read_to, attempts: 0 })
    }

    /// It was not sent after all.
    pub fn put_back(&mut self, stream: StreamId, now: DateTime<Utc>) {
        if let Some(fresh) = self.fresh.get_mut(&stream) {
            fresh.is_under_way = false;
            self.ready.push_front(stream);
        } else if let Some(waiting) = self.parked.get_mut(&stream) {
            waiting.is_under_way = false;
            waiting.has_more = true;
            waiting.parked.due_at = now;
            self.due.insert((now, stream));
        }
    }

    /// What was under way of this subject was taken, up to its event at `position`.
    pub fn taken(
        &mut self,
        stream: StreamId,
        position: Position,
        sequence: u64,
        now: DateTime<Utc>,
    ) {
        if let Some(fresh) = self.fresh.get_mut(&stream) {
            fresh.is_under_way = false;
            let is_taken = |item: &&Item| item.sequence <= sequence;
            let count = fresh.queue.iter().take_while(is_taken).count();
            for item in fresh.queue.drain(..count) {
                self.outstanding.remove(&item.position);
                self.bytes -= item.body.len();
            }
            if fresh.queue.is_empty() {
                self.fresh.remove(&stream);
            } else {
                self.ready.push_back(stream);
            }
        } else if let Some(waiting) = self.parked.get_mut(&stream) {
            waiting.is_under_way = false;
            waiting.parked = Parked {
                stream,
                after_sequence: sequence,
                position: Position(position.0 + 1),
                attempts: 0,
                due_at: now,
            };
            self.due.insert((now, stream));
            self.changed.insert(stream);
        }
    }

    /// Nothing of this subject is wanted any more, up to where the log was read when it was picked.
    pub fn nothing_left(&mut self, stream: StreamId, now: DateTime<Utc>) {
        if let Some(fresh) = self.fresh.remove(&stream) {
            self.drop_queue(&fresh);
            // More may have been read since; its stream tells.
            if let Some(first) = fresh.queue.front() {
                self.park(stream, first.position, first.sequence, 0, now);
            }
        } else if let Some(waiting) = self.parked.get_mut(&stream) {
            if waiting.has_more {
                waiting.is_under_way = false;
                waiting.parked.due_at = now;
                self.due.insert((now, stream));
            } else {
                self.parked.remove(&stream);
            }
            self.changed.insert(stream);
        }
    }

    /// What was under way of this subject was not taken; its first event is the one at `position`. It is tried again at
    /// `due_at`, as after so many failed attempts.
    pub fn refused(
        &mut self,
        stream: StreamId,
        position: Position,
        sequence: u64,
        attempts: u32,
        due_at: DateTime<Utc>,
    ) {
        if let Some(fresh) = self.fresh.remove(&stream) {
            self.drop_queue(&fresh);
        }
        self.park(stream, position, sequence, attempts, due_at);
    }

    fn park(
        &mut self,
        stream: StreamId,
        position: Position,
        sequence: u64,
        attempts: u32,
        due_at: DateTime<Utc>,
    ) {
        let after_sequence = sequence.saturating_sub(1);
        let parked = Parked { stream, after_sequence, position, attempts, due_at };
        // More may have been read meanwhile, and its own queue is gone.
        let waiting = Waiting { parked, is_under_way: false, has_more: true };
        self.parked.insert(stream, waiting);
        self.due.insert((due_at, stream));
        self.changed.insert(stream);
    }

    fn drop_queue(&mut self, fresh: &Fresh) {
        for item in &fresh.queue {
            self.outstanding.remove(&item.position);
            self.bytes -= item.body.len();
        }
    }

    /// Everything that waits is tried again now: the endpoint is up again.
    pub fn release_all(&mut self, now: DateTime<Utc>) {
        self.due.clear();
        for (stream, waiting) in &mut self.parked {
            if !waiting.is_under_way {
                if waiting.parked.due_at > now {
                    waiting.parked.due_at = now;
                    self.changed.insert(*stream);
                }
                self.due.insert((waiting.parked.due_at, *stream));
            }
        }
    }

    /// What is to be put and what is parked no more, since this was last asked.
    pub fn changes(&mut self) -> (Vec<Parked>, Vec<StreamId>) {
        let (mut put, mut freed) = (vec![], vec![]);
        for stream in self.changed.drain() {
            match self.parked.get(&stream) {
                Some(waiting) => put.push(waiting.parked),
                None => freed.push(stream),
            }
        }
        (put, freed)
    }

    /// These changes were not kept.
    pub fn unsaved(&mut self, streams: impl IntoIterator<Item = StreamId>) {
        self.changed.extend(streams);
    }
}

#[cfg(test)]
mod tests {
    use domain::port::AggregateType;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    fn stream(n: u128) -> StreamId {
        StreamId::new(AggregateType::Message, Uuid::from_u128(n))
    }

    fn item(position: u64, sequence: u64) -> Item {
        Item {
            position: Position(position),
            sequence,
            event_id: Uuid::from_u128(position.into()),
            subject: None,
            body: Bytes::from_static(b"0123456789"),
            read_at: at(0),
        }
    }

    /// Of each subject, events at these positions; the log was read up to 100.
    fn book(events: &[(u128, u64, u64)]) -> Book {
        let mut book =
            Book::new(LaneState { position: Position(0), failing_since: None, parked: vec![] });
        let items = events.iter().map(|(n, position, seq)| (stream(*n), item(*position, *seq)));
        book.take_in(Position(100), items.collect());
        book
    }

    fn next(book: &mut Book, now: i64) -> Option<(u128, Vec<u64>)> {
        let pick = book.next(at(now), false, false, 1, usize::MAX)?;
        let positions = pick.items.iter().map(|item| item.position.0).collect();
        Some((pick.stream.id.as_u128(), positions))
    }

    #[test]
    fn a_subject_is_in_order_and_others_do_not_wait_for_it() {
        let mut book = book(&[(1, 10, 1), (1, 11, 2), (2, 12, 1)]);
        assert_eq!(next(&mut book, 0), Some((1, vec![10])));
        assert_eq!(next(&mut book, 0), Some((2, vec![12])));
        assert_eq!(next(&mut book, 0), None, "the second of 1 waits for the first");
        assert_eq!(book.position(), Position(9));
        book.taken(stream(2), Position(12), 1, at(0));
        assert_eq!(book.position(), Position(9));
        book.taken(stream(1), Position(10), 1, at(0));
        assert_eq!(book.position(), Position(10));
        assert_eq!(next(&mut book, 0), Some((1, vec![11])));
        book.taken(stream(1), Position(11), 2, at(0));
        assert_eq!(book.position(), Position(100));
        assert!(book.is_empty() && book.bytes == 0 && book.fresh.is_empty());
    }

    #[test]
    fn what_was_not_taken_is_passed_by_and_comes_again_in_its_time() {
        let mut book = book(&[(1, 10, 1), (1, 11, 2), (2, 12, 1)]);
        next(&mut book, 0);
        book.refused(stream(1), Position(10), 1, 1, at(5));
        assert_eq!(book.position(), Position(11), "all of 1 is parked, 2 is still to come");
        assert_eq!(next(&mut book, 0), Some((2, vec![12])));
        let (put, freed) = book.changes();
        assert_eq!((put[0].after_sequence, put[0].position, put[0].attempts), (0, Position(10), 1));
        assert_eq!((put.len(), freed.len(), book.next_due()), (1, 0, Some(at(5))));
        assert_eq!(next(&mut book, 4), None);
        // The next of it is read from its stream.
        assert_eq!(next(&mut book, 5), Some((1, vec![])));
        assert_eq!(next(&mut book, 5), None, "one at a time");
        book.taken(stream(1), Position(10), 1, at(6));
        let pick = book.next(at(6), false, false, 1, usize::MAX).unwrap();
        assert_eq!((pick.after_sequence, pick.attempts), (1, 0));
        book.taken(stream(1), Position(11), 2, at(7));
        next(&mut book, 7);
        book.nothing_left(stream(1), at(7));
        book.taken(stream(2), Position(12), 1, at(7));
        assert_eq!(book.changes(), (vec![], vec![stream(1)]));
        assert!(book.is_empty());
    }

    #[test]
    fn what_comes_while_a_parked_subject_is_looked_at_is_not_forgotten() {
        let mut book = book(&[(1, 10, 1)]);
        next(&mut book, 0);
        book.refused(stream(1), Position(10), 1, 1, at(5));
        next(&mut book, 5);
        book.taken(stream(1), Position(10), 1, at(5));
        assert_eq!(next(&mut book, 5), Some((1, vec![])));
        book.take_in(Position(120), vec![(stream(1), item(110, 2))]);
        book.nothing_left(stream(1), at(6));
        let pick = book.next(at(6), false, false, 1, usize::MAX).unwrap();
        assert_eq!((pick.stream, pick.up_to), (stream(1), Position(120)));
        assert!(!book.is_empty());
    }

    #[test]
    fn what_is_no_longer_wanted_goes_and_what_came_since_stays() {
        let mut book = book(&[(1, 10, 1)]);
        next(&mut book, 0);
        book.take_in(Position(120), vec![(stream(1), item(110, 2))]);
        book.nothing_left(stream(1), at(1));
        let pick = book.next(at(1), false, false, 1, usize::MAX).unwrap();
        assert_eq!((pick.after_sequence, pick.up_to, pick.items.len()), (0, Position(120), 0));
        book.nothing_left(stream(1), at(1));
        assert!(book.is_empty());
        assert_eq!((book.position(), book.bytes), (Position(120), 0));
    }

    #[test]
    fn up_again_everything_is_due_but_what_is_under_way() {
        let mut book = book(&[(1, 10, 1), (2, 11, 1)]);
        next(&mut book, 0);
        next(&mut book, 0);
        book.refused(stream(1), Position(10), 1, 9, at(5_000));
        book.refused(stream(2), Position(11), 1, 9, at(6_000));
        let probe = book.next(at(1), true, false, 1, usize::MAX).unwrap();
        assert_eq!(probe.stream, stream(1));
        book.release_all(at(2));
        assert_eq!(next(&mut book, 2), Some((2, vec![])));
        assert_eq!(next(&mut book, 2), None);
    }

    #[test]
    fn a_subject_gives_what_fits_and_always_one() {
        let mut book = book(&[(1, 10, 1), (1, 11, 2), (1, 12, 3), (2, 13, 1)]);
        let mut sizes = |items, bytes| {
            let pick = book.next(at(0), false, true, items, bytes).unwrap();
            book.put_back(pick.stream, at(0));
            pick.items.len()
        };
        assert_eq!([sizes(10, 1_000), sizes(2, 1_000), sizes(10, 25), sizes(10, 3)], [3, 2, 2, 1]);
    }

    #[test]
    fn the_window_has_a_bound_and_so_has_what_is_parked() {
        let events: Vec<_> = (1..=1_100_u64).map(|n| (u128::from(n), n, 1)).collect();
        let mut book = book(&events);
        assert!(!book.has_room());
        for n in 1..=PARKED_MAX as u64 {
            next(&mut book, 0).unwrap();
            book.refused(stream(n.into()), Position(n), 1, 1, at(60));
        }
        assert!(book.has_room());
        assert_eq!(next(&mut book, 0), None, "nothing new is begun");
        assert_eq!(next(&mut book, 60).map(|(_, items)| items.len()), Some(0));
    }

    #[test]
    fn a_restart_goes_on_where_it_was_left() {
        let parked = Parked {
            stream: stream(1),
            after_sequence: 4,
            position: Position(30),
            attempts: 2,
            due_at: at(9),
        };
        let state = LaneState { position: Position(50), failing_since: None, parked: vec![parked] };
        let mut book = Book::new(state);
        assert_eq!((book.read_to(), book.position()), (Position(50), Position(50)));
        let pick = book.next(at(9), false, false, 1, usize::MAX).unwrap();
        assert_eq!((pick.after_sequence, pick.attempts), (4, 2));
        book.put_back(stream(1), at(10));
        assert_eq!(book.next_due(), Some(at(10)));
    }
}
