//! Messages on their way, as the tables have them: what was written a moment ago and will be written again a moment later
//! need not be read and unpacked in between.

use domain::message::{Message, MessageStatus};
use lru::LruCache;
use uuid::Uuid;

/// What the documents of all that is held take, packed; in memory it is a few times that.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Belongs to one generation of the tables and one checkpoint in them. Whoever is not sure that all that was put in was
/// also written, and by nobody else since, begins with an empty one.
#[derive(Debug)]
pub(crate) struct Recent {
    messages: LruCache<Uuid, Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    sequence: u64,
    message: Message,
    bytes: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { messages: LruCache::unbounded(), bytes: 0 }
    }
}

impl Recent {
    /// The message, with the sequence of its last event. It is not held any more: it is about to change.
    pub fn take(&mut self, id: Uuid) -> Option<(u64, Message)> {
        let held = self.messages.pop(&id)?;
        self.bytes -= held.bytes;
        Some((held.sequence, held.message))
    }

    /// A message as it is now written, its document in so many bytes.
    pub fn put(&mut self, id: Uuid, sequence: u64, message: Message, bytes: usize) {
        self.take(id);
        if !is_on_its_way(message.status()) {
            return;
        }
        self.bytes += bytes;
        self.messages.push(id, Held { sequence, message, bytes });
        while self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.messages.pop_lru() else { break };
            self.bytes -= oldest.bytes;
        }
    }
}

/// Those that wait may wait for long, and to those that are through nothing more happens.
fn is_on_its_way(status: MessageStatus) -> bool {
    matches!(
        status,
        MessageStatus::Sending
            | MessageStatus::Accepted
            | MessageStatus::Sent
            | MessageStatus::Delivered
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use domain::message::Waiting;

    fn message(waiting: Waiting) -> Message {
        Message { waiting: Some(waiting), ..Message::default() }
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn what_is_on_its_way_is_held_once_and_given_once() {
        let mut recent = Recent::default();
        recent.put(id(1), 1, message(Waiting::Queued), 10);
        assert_eq!(recent.take(id(1)), None);
        recent.put(id(1), 3, message(Waiting::Echoed), 10);
        recent.put(id(1), 4, message(Waiting::Echoed), 20);
        assert_eq!(recent.bytes, 20);
        assert_eq!(recent.take(id(1)), Some((4, message(Waiting::Echoed))));
        assert_eq!((recent.take(id(1)), recent.bytes), (None, 0));
    }

    #[test]
    fn what_comes_to_rest_is_let_go() {
        let mut recent = Recent::default();
        recent.put(id(1), 3, message(Waiting::Echoed), 10);
        recent.put(id(1), 4, message(Waiting::Cancelled), 10);
        assert_eq!((recent.take(id(1)), recent.bytes), (None, 0));
    }

    #[test]
    fn what_was_written_longest_ago_makes_room() {
        let mut recent = Recent::default();
        recent.put(id(1), 1, message(Waiting::Echoed), BYTES_MAX / 2);
        recent.put(id(2), 1, message(Waiting::Echoed), BYTES_MAX / 2);
        recent.put(id(3), 1, message(Waiting::Echoed), 1);
        assert_eq!(recent.take(id(1)), None);
        assert!(recent.take(id(2)).is_some() && recent.take(id(3)).is_some());
        recent.put(id(4), 1, message(Waiting::Echoed), BYTES_MAX + 1);
        assert_eq!((recent.take(id(4)), recent.bytes), (None, 0));
    }
}
