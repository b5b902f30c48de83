//! What comes with a command: who, because of what, and under which key it may be repeated.

use chrono::{DateTime, Utc};
use domain::port::{Fence, IdempotencyRecord, Position};
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
}

impl Context {
    pub fn new(actor: Actor, correlation_id: Uuid) -> Self {
        Self { actor, correlation_id, causation_id: None, fence: None }
    }

    #[must_use]
    pub fn caused_by(mut self, event_id: Uuid) -> Self {
        self.causation_id = Some(event_id);
        self
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
