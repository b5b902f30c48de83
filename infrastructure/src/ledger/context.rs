//! What comes with a command: who, because of what, and under which key it may be repeated.

use chrono::{DateTime, Utc};
use domain::port::{Fence, IdempotencyRecord, Position, RecordedEvent};
use domain::primitives::Actor;
use uuid::Uuid;

use crate::crypto::KeyRing;

/// Who acts, and because of what. Recorded beside every event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub actor: Actor,
    /// Shared by everything that one cause led to.
    pub correlation_id: Uuid,
    /// The event that this is the answer to.
    pub causation_id: Option<Uuid>,
    /// Refuse where this lease has moved on.
    pub fence: Option<Fence>,
    /// A stream that exists goes on as what it is; see [`Self::following`].
    follows: bool,
}

/// By what a stream is joined to what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Of the stream's first event.
    pub correlation_id: Uuid,
    /// The stream's last event.
    pub event_id: Uuid,
}

impl Context {
    pub fn new(actor: Actor, correlation_id: Uuid) -> Self {
        Self { actor, correlation_id, causation_id: None, fence: None, follows: false }
    }

    #[must_use]
    pub fn caused_by(mut self, event_id: Uuid) -> Self {
        self.causation_id = Some(event_id);
        self
    }

    /// The answer to an event, and part of what that is part of.
    #[must_use]
    pub fn answering(self, event: &RecordedEvent) -> Self {
        let RecordedEvent { event_id, metadata, .. } = event;
        self.because_of(Thread { correlation_id: metadata.correlation_id, event_id: *event_id })
    }

    /// The answer to the last event of another stream, and part of what that one is part of.
    #[must_use]
    pub fn because_of(mut self, thread: Thread) -> Self {
        self.correlation_id = thread.correlation_id;
        self.causation_id = Some(thread.event_id);
        self.follows = false;
        self
    }

    /// What is written to a stream that exists keeps the correlation id that the stream began with, whatever was commanded
    /// in between, and is caused by the stream's last event where no other cause is named. A stream that begins here gets
    /// what this context says. For those who carry on what somebody began: process managers, and WhatsApp's word.
    #[must_use]
    pub fn following(mut self) -> Self {
        self.follows = true;
        self
    }

    /// What the events of one decision are recorded with: their correlation id and their cause.
    pub(super) fn provenance(&self, thread: Option<Thread>) -> (Uuid, Option<Uuid>) {
        match thread.filter(|_| self.follows) {
            Some(thread) => (thread.correlation_id, self.causation_id.or(Some(thread.event_id))),
            None => (self.correlation_id, self.causation_id),
        }
    }

    #[must_use]
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }
}

/// A mutation that its caller may repeat: the same key with the same input gives the first answer.
#[derive(Clone)]
pub struct Idempotency {
    /// Keys of one caller are nobody else's.
    pub api_key_id: Uuid,
    pub key: String,
    /// The whole input, with sorted names. Only its keyed hash is kept.
    pub input_json_canonical: String,
}

impl std::fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idempotency").field("api_key_id", &self.api_key_id).finish_non_exhaustive()
    }
}

/// What was answered first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// JSON, ids only.
    pub result: String,
    pub position: Position,
}

pub(super) struct IdempotencyHashes {
    pub key: Vec<u8>,
    input: Vec<u8>,
}

impl IdempotencyHashes {
    pub fn new(idempotency: &Idempotency, keys: &KeyRing) -> Self {
        let caller = idempotency.api_key_id.as_bytes();
        let key = keys.keyed_hash("idempotency key", &[caller, idempotency.key.as_bytes()]);
        let input = idempotency.input_json_canonical.as_bytes();
        let input = keys.keyed_hash("idempotency input", &[caller, input]);
        Self { key: key.to_vec(), input: input.to_vec() }
    }

    pub fn record(&self, result: String, recorded_at: DateTime<Utc>) -> IdempotencyRecord {
        IdempotencyRecord {
            key_hash: self.key.clone(),
            input_hash: self.input.clone(),
            result,
            recorded_at,
            position: Position::default(),
        }
    }

    /// `None` where the key was used with another input.
    pub fn replay(&self, record: IdempotencyRecord) -> Option<Replay> {
        let is_same = record.input_hash == self.input;
        is_same.then_some(Replay { result: record.result, position: record.position })
    }
}
