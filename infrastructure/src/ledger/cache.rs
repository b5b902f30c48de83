//! Aggregates that were just written or read, so that the next look at them need not read. On a log that this process
//! alone appends to, what is here is what the log has. On a shared one it is a guess, of an age that is known: an append
//! checks its sequence, and a decision that would write nothing is made again on what the store says.

use std::any::Any;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::port::{AggregateType, Position, StreamId};
use lru::LruCache;
use uuid::Uuid;

use super::context::Thread;
use super::draft::{BusAggregate, State};
use crate::crypto::KeyRing;

/// Aggregates held in memory; a message is one to two kB.
const AGGREGATES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Whether reading one is a reason to keep it. People, messages and conversations are many, and each is read once in a while.
pub(super) fn is_kept_when_read(aggregate_type: AggregateType) -> bool {
    !matches!(
        aggregate_type,
        AggregateType::Contact | AggregateType::Message | AggregateType::Conversation
    )
}

pub(super) struct AggregateCache(Mutex<Entries>);

struct Entries {
    streams: LruCache<StreamId, Entry>,
    /// Streams that are being read from the store right now.
    reading: HashMap<StreamId, Reading>,
}

enum Entry {
    Known(Cached),
    /// The log goes at least up to this sequence: what is older is not the last word.
    Moved(u64),
}

impl Entry {
    fn sequence(&self) -> u64 {
        match self {
            Self::Known(cached) => cached.sequence,
            Self::Moved(sequence) => *sequence,
        }
    }
}

/// How many are at it, and whether the stream has moved since the first began.
struct Reading {
    readers: usize,
    has_moved: bool,
}

pub(super) struct Cached {
    pub aggregate: Arc<dyn Any + Send + Sync>,
    pub sequence: u64,
    pub position: Position,
    pub thread: Option<Thread>,
    /// Whose personal data it holds in the clear.
    pub subject: Option<Uuid>,
    /// When it was known to be true, by a clock that counts suspension.
    pub as_of: Duration,
}

impl Cached {
    pub fn of<A: BusAggregate>(state: State<A>, subject: Option<Uuid>, as_of: Duration) -> Self {
        let State { aggregate, sequence, position, thread, .. } = state;
        Self { aggregate: Arc::new(aggregate), sequence, position, thread, subject, as_of }
    }
}

impl AggregateCache {
    pub fn new() -> Self {
        let streams = LruCache::new(AGGREGATES_MAX);
        Self(Mutex::new(Entries { streams, reading: HashMap::new() }))
    }

    /// What was true at `since` or later. Nothing of a subject whose key is not at hand: it may have been destroyed.
    pub fn get<A: BusAggregate>(
        &self,
        stream: StreamId,
        since: Duration,
        keys: &KeyRing,
    ) -> Option<State<A>> {
        let (aggregate, sequence, position, thread) = {
            let mut entries = self.lock();
            let Entry::Known(cached) = entries.streams.get(&stream)? else { return None };
            if cached.as_of < since {
                return None;
            }
            if cached.subject.is_some_and(|subject| !keys.holds(subject)) {
                entries.streams.pop(&stream);
                return None;
            }
            (cached.aggregate.clone(), cached.sequence, cached.position, cached.thread)
        };
        let aggregate = aggregate.downcast_ref::<A>()?.clone();
        Some(State { aggregate, sequence, position, thread, is_cached: true })
    }

    /// Takes in what was written. Nothing of a subject without a key: what was erased is not kept either.
    pub fn put(&self, stream: StreamId, cached: Cached, keys: &KeyRing) {
        self.lock().put(stream, cached, keys);
    }

    pub fn evict(&self, stream: StreamId) {
        self.lock().forget(stream);
    }

    /// The log goes, or may go, up to this sequence: nothing older is answered from here any more.
    pub fn note_move(&self, stream: StreamId, sequence: u64) {
        let mut entries = self.lock();
        entries.note_move(stream);
        if entries.streams.peek(&stream).is_none_or(|entry| entry.sequence() < sequence) {
            entries.streams.put(stream, Entry::Moved(sequence));
        }
    }

    pub fn evict_subject(&self, subject: Uuid) {
        let mut entries = self.lock();
        let is_theirs =
            |entry: &Entry| matches!(entry, Entry::Known(it) if it.subject == Some(subject));
        let theirs = entries.streams.iter().filter(|(_, entry)| is_theirs(entry));
        let streams: Vec<StreamId> = theirs.map(|(stream, _)| *stream).collect();
        for stream in streams {
            entries.forget(stream);
        }
    }

    /// To be begun before streams are read from the store, and ended with what was read.
    pub fn begin_reading(&self, streams: Vec<StreamId>) -> ReadingStreams<'_> {
        let mut entries = self.lock();
        for stream in &streams {
            let reading = entries.reading.entry(*stream);
            reading.or_insert(Reading { readers: 0, has_moved: false }).readers += 1;
        }
        ReadingStreams { cache: self, streams }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn put(&mut self, stream: StreamId, cached: Cached, keys: &KeyRing) {
        if cached.subject.is_some_and(|subject| !keys.holds(subject)) {
            self.forget(stream);
            return;
        }
        self.note_move(stream);
        self.keep(stream, cached);
    }

    fn keep(&mut self, stream: StreamId, cached: Cached) {
        let known = self.streams.peek(&stream);
        if known.is_none_or(|known| known.sequence() <= cached.sequence) {
            self.streams.put(stream, Entry::Known(cached));
        }
    }

    fn forget(&mut self, stream: StreamId) {
        self.note_move(stream);
        self.streams.pop(&stream);
    }

    fn note_move(&mut self, stream: StreamId) {
        if let Some(reading) = self.reading.get_mut(&stream) {
            reading.has_moved = true;
        }
    }
}

/// Streams that are being read; what moves meanwhile is not taken in.
pub(super) struct ReadingStreams<'a> {
    cache: &'a AggregateCache,
    streams: Vec<StreamId>,
}

impl ReadingStreams<'_> {
    /// Takes in what was read of one of them.
    pub fn take(&self, stream: StreamId, cached: Cached, keys: &KeyRing) {
        let mut entries = self.cache.lock();
        let has_moved = entries.reading.get(&stream).is_none_or(|reading| reading.has_moved);
        if has_moved || cached.subject.is_some_and(|subject| !keys.holds(subject)) {
            return;
        }
        entries.keep(stream, cached);
    }
}

impl Drop for ReadingStreams<'_> {
    fn drop(&mut self) {
        let mut entries = self.cache.lock();
        for stream in &self.streams {
            if let Some(reading) = entries.reading.get_mut(stream) {
                reading.readers -= 1;
                if reading.readers == 0 {
                    entries.reading.remove(stream);
                }
            }
        }
    }
}
