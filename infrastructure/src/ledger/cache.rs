//! Aggregates that were just written, so that the next command on them need not read. Only ever a guess: an append
//! checks its sequence, and a decision that would write nothing is made again on what the store says.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::port::{Position, StreamId};
use lru::LruCache;
use uuid::Uuid;

use super::context::Thread;
use super::draft::{BusAggregate, State};
use crate::crypto::KeyRing;

/// Aggregates held in memory; a message is one to two kB.
const AGGREGATES_MAX: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();

pub(super) struct AggregateCache(Mutex<LruCache<StreamId, Cached>>);

pub(super) struct Cached {
    pub aggregate: Arc<dyn Any + Send + Sync>,
    pub sequence: u64,
    pub position: Position,
    pub thread: Option<Thread>,
    /// Whose personal data it holds in the clear.
    pub subject: Option<Uuid>,
}

impl AggregateCache {
    pub fn new() -> Self {
        Self(Mutex::new(LruCache::new(AGGREGATES_MAX)))
    }

    /// Nothing of a subject whose key is not at hand: it may have been destroyed.
    pub fn get<A: BusAggregate>(&self, stream: StreamId, keys: &KeyRing) -> Option<State<A>> {
        let (aggregate, sequence, position, thread) = {
            let mut cache = self.lock();
            let cached = cache.get(&stream)?;
            if cached.subject.is_some_and(|subject| !keys.holds(subject)) {
                cache.pop(&stream);
                return None;
            }
            (cached.aggregate.clone(), cached.sequence, cached.position, cached.thread)
        };
        let aggregate = aggregate.downcast_ref::<A>()?.clone();
        Some(State { aggregate, sequence, position, thread, is_cached: true })
    }

    /// Nothing of a subject without a key: what was erased is not kept either.
    pub fn put(&self, stream: StreamId, cached: Cached, keys: &KeyRing) {
        let mut cache = self.lock();
        if cached.subject.is_some_and(|subject| !keys.holds(subject)) {
            cache.pop(&stream);
            return;
        }
        if cache.peek(&stream).is_none_or(|older| older.sequence < cached.sequence) {
            cache.put(stream, cached);
        }
    }

    pub fn evict(&self, stream: StreamId) {
        self.lock().pop(&stream);
    }

    pub fn evict_subject(&self, subject: Uuid) {
        let mut cache = self.lock();
        let streams: Vec<StreamId> = cache
            .iter()
            .filter(|(_, cached)| cached.subject == Some(subject))
            .map(|(stream, _)| *stream)
            .collect();
        for stream in streams {
            cache.pop(&stream);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<StreamId, Cached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
