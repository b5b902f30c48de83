//! What events have in common, kept once per combination: an event names its kind by number, and whoever knows the number
//! parses nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use domain::port::AggregateType;
use domain::primitives::Actor;
use uuid::Uuid;

/// Kinds in memory. Beyond, all are forgotten and asked for again: there are a few for each account and key.
const KINDS_MAX: usize = 10_000;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub aggregate_type: AggregateType,
    pub event_type: String,
    pub event_version: u32,
    pub actor: Actor,
    pub workspace_id: Option<Uuid>,
    pub account_id: Option<Uuid>,
}

/// A kind as an event on its way into the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KindOf<'a> {
    pub aggregate_type: AggregateType,
    pub event_type: &'a str,
    pub event_version: u32,
    pub actor: &'a Actor,
    pub workspace_id: Option<Uuid>,
    pub account_id: Option<Uuid>,
}

impl Kind {
    pub fn borrowed(&self) -> KindOf<'_> {
        KindOf {
            aggregate_type: self.aggregate_type,
            event_type: &self.event_type,
            event_version: self.event_version,
            actor: &self.actor,
            workspace_id: self.workspace_id,
            account_id: self.account_id,
        }
    }
}

impl KindOf<'_> {
    pub fn to_owned(self) -> Kind {
        Kind {
            aggregate_type: self.aggregate_type,
            event_type: self.event_type.to_owned(),
            event_version: self.event_version,
            actor: self.actor.clone(),
            workspace_id: self.workspace_id,
            account_id: self.account_id,
        }
    }
}

/// A kind with its number.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    pub number: i64,
    pub kind: Arc<Kind>,
}

/// The kinds that are known to be in the store, for readers and the writer. What is in here was committed: in a file, a
/// number whose transaction was rolled back is given to another kind.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    hasher: RandomState,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_number: HashMap<i64, Arc<Kind>>,
    /// Of two kinds with one hash the later stays; the other is asked for each time.
    by_hash: HashMap<u64, Numbered>,
}

impl Kinds {
    pub fn hash(&self, kind: KindOf<'_>) -> u64 {
        self.hasher.hash_one(kind)
    }

    pub fn of_number(&self, number: i64) -> Option<Arc<Kind>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_number.get(&number).cloned()
    }

    pub fn of_hash(&self, hash: u64, kind: KindOf<'_>) -> Option<Numbered> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_hash.get(&hash).filter(|found| found.kind.borrowed() == kind).cloned()
    }

    /// Only for what is committed.
    pub fn learn(&self, kinds: impl IntoIterator<Item = Numbered>) {
        let mut kinds = kinds.into_iter().peekable();
        if kinds.peek().is_none() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for numbered in kinds {
            if known.by_number.len() >= KINDS_MAX {
                *known = Known::default();
            }
            known.by_number.insert(numbered.number, numbered.kind.clone());
            known.by_hash.insert(self.hash(numbered.kind.borrowed()), numbered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_bound() {
        let kinds = Kinds::default();
        let numbered = |number: i64| {
            let kind = Kind {
                aggregate_type: AggregateType::Message,
                event_type: format!("message.{number}"),
                event_version: 1,
                actor: Actor::whatsapp(),
                workspace_id: Some(Uuid::from_u128(7)),
                account_id: None,
            };
            Numbered { number, kind: Arc::new(kind) }
        };
        kinds.learn((0..2 * KINDS_MAX as i64 + 5).map(numbered));
        assert_eq!(kinds.known.read().unwrap().by_number.len(), 5);
        assert_eq!(kinds.known.read().unwrap().by_hash.len(), 5);
    }
}
