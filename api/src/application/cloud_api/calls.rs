//! How many calls are answered at a time: each may wait for WhatsApp, and none may keep others from being answered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{Answered, Refusal};

/// Calls to `messages` of everybody at a time.
const CALLS_MAX: usize = 2_000;
/// Of them, those of one API key.
const CALLS_OF_KEY_MAX: usize = 500;

/// Calls under way, by key.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<HashMap<Option<Uuid>, usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    calls: &'a Calls,
    key: Option<Uuid>,
}

impl Calls {
    pub(super) fn enter(&self, key: Option<Uuid>) -> Answered<Place<'_>> {
        let mut calls = self.under_way();
        let of_key = calls.get(&key).copied().unwrap_or_default();
        if of_key >= CALLS_OF_KEY_MAX {
            return Err(Refusal::too_many_calls(CALLS_OF_KEY_MAX, "this key"));
        }
        if calls.values().sum::<usize>() >= CALLS_MAX {
            return Err(Refusal::too_many_calls(CALLS_MAX, "this gateway"));
        }
        calls.insert(key, of_key + 1);
        Ok(Place { calls: self, key })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Option<Uuid>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut calls = self.calls.under_way();
        let left = calls.remove(&self.key).unwrap_or_default().saturating_sub(1);
        if left > 0 {
            calls.insert(self.key, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Option<Uuid> {
        Some(Uuid::from_u128(number as u128))
    }

    #[test]
    fn a_key_has_its_share_and_all_keys_have_theirs() {
        let calls = Calls::default();
        let mut places: Vec<_> =
            (0..CALLS_OF_KEY_MAX).map(|_| calls.enter(key(0)).unwrap()).collect();
        let refusal = calls.enter(key(0)).unwrap_err();
        assert_eq!((refusal.http, refusal.code), (429, 4));
        for number in CALLS_OF_KEY_MAX..CALLS_MAX {
            places.push(calls.enter(key(number)).unwrap());
        }
        assert_eq!(calls.enter(key(CALLS_MAX)).unwrap_err().code, 4);
        drop(places.swap_remove(0));
        drop(calls.enter(key(0)).unwrap());
        drop(places);
        assert!(calls.under_way().is_empty());
    }
}
