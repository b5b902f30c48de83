//! Documents that were read lately, as they came out of their rows.

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

/// Packed bytes of the documents that are kept; what is made of them takes some ten times as much.
const PACKED_BYTES_MAX: usize = 1024 * 1024;
/// Parts with a lock of their own, so that readers seldom wait for each other.
const PARTS: usize = 8;

type State = Arc<dyn Any + Send + Sync>;

/// Remembers what packed documents hold. Their bytes are the key, so it is right whatever happens to the rows: a changed
/// document is another one.
pub(super) struct Memo {
    hashing: RandomState,
    parts: [Mutex<Part>; PARTS],
}

struct Part {
    states: LruCache<Box<[u8]>, State>,
    packed_bytes: usize,
}

impl Default for Memo {
    fn default() -> Self {
        let part = |_| Mutex::new(Part { states: LruCache::unbounded(), packed_bytes: 0 });
        Self { hashing: RandomState::new(), parts: std::array::from_fn(part) }
    }
}

impl Memo {
    fn part(&self, packed: &[u8]) -> &Mutex<Part> {
        let place = self.hashing.hash_one(packed) % PARTS as u64;
        &self.parts[usize::try_from(place).unwrap_or_default()]
    }

    /// What `packed` holds: as it was read before, else by `read`.
    ///
    /// # Errors
    /// `read`'s.
    pub fn get<T, E>(&self, packed: &[u8], read: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E>
    where
        T: Any + Send + Sync,
    {
        let part = self.part(packed);
        let known = part.lock().unwrap_or_else(PoisonError::into_inner).states.get(packed).cloned();
        if let Some(state) = known.and_then(|state| state.downcast().ok()) {
            return Ok(state);
        }
        let state = Arc::new(read()?);
        part.lock().unwrap_or_else(PoisonError::into_inner).keep(packed, state.clone());
        Ok(state)
    }

    /// Forgets all of it: somebody's data is to be gone.
    pub fn clear(&self) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.states.clear();
            part.packed_bytes = 0;
        }
    }
}

impl Part {
    fn keep(&mut self, packed: &[u8], state: State) {
        if self.states.put(packed.into(), state).is_none() {
            self.packed_bytes += packed.len();
        }
        while self.packed_bytes > PACKED_BYTES_MAX / PARTS
            && let Some((oldest, _)) = self.states.pop_lru()
        {
            self.packed_bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, ()> {
        Ok(value.to_owned())
    }

    #[test]
    fn a_document_is_read_once_until_it_is_forgotten() {
        let memo = Memo::default();
        assert_eq!(*memo.get(b"a", || read("first")).unwrap(), "first");
        assert_eq!(*memo.get(b"a", || read("again")).unwrap(), "first");
        assert_eq!(*memo.get(b"b", || read("other")).unwrap(), "other");
        memo.clear();
        assert_eq!(*memo.get(b"a", || read("again")).unwrap(), "again");
    }

    #[test]
    fn what_cannot_be_read_is_not_kept() {
        let memo = Memo::default();
        assert_eq!(memo.get(b"a", || Err::<String, _>("torn")), Err("torn"));
        assert_eq!(*memo.get(b"a", || read("whole")).unwrap(), "whole");
    }

    #[test]
    fn the_same_bytes_can_hold_two_kinds_of_things() {
        let memo = Memo::default();
        assert_eq!(*memo.get(b"7", || read("7")).unwrap(), "7");
        assert_eq!(*memo.get(b"7", || Ok::<_, ()>(7)).unwrap(), 7);
    }

    #[test]
    fn there_is_a_bound() {
        let memo = Memo::default();
        for number in 0..10_000_u32 {
            let packed = number.to_be_bytes().repeat(250);
            memo.get(&packed, || Ok::<_, ()>(number)).unwrap();
        }
        let kept: usize = memo.parts.iter().map(|part| part.lock().unwrap().packed_bytes).sum();
        assert!(kept <= PACKED_BYTES_MAX && kept > PACKED_BYTES_MAX / 2, "{kept}");
        let last = 9_999_u32.to_be_bytes().repeat(250);
        assert_eq!(*memo.get(&last, || Ok::<_, ()>(0_u32)).unwrap(), 9_999);
    }
}
