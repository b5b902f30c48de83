//! A person who is in an audience twice, because two contacts of it became one since: they get one message.

use super::marketing::counts_towards_cap;
use crate::message::MessageStatus;

/// One of a campaign's messages, of one occurrence, to a person of several contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneOfSeveral {
    pub status: MessageStatus,
    /// It is for the contact that the others went into.
    pub is_for_kept: bool,
}

/// Whether a message that waits, or is about to, is left out because its person has another: one that has left or may
/// have, or, of those that wait, the one for the contact that stayed.
pub fn is_there_twice(is_for_kept: bool, others: impl IntoIterator<Item = OneOfSeveral>) -> bool {
    others.into_iter().any(|other| {
        let goes_first = other.status.is_waiting() && other.is_for_kept && !is_for_kept;
        counts_towards_cap(other.status) || goes_first
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_messages_to_a_person_one_goes() {
        use MessageStatus as S;
        let twice = |is_for_kept, status, other_is_for_kept| {
            let other = OneOfSeveral { status, is_for_kept: other_is_for_kept };
            is_there_twice(is_for_kept, [other])
        };
        // What has left, or may have, was the one, whichever contact it was for.
        for status in [S::Sending, S::InDoubt, S::Accepted, S::Sent, S::Delivered, S::Read] {
            assert!(twice(true, status, false) && twice(false, status, true), "{status:?}");
            assert!(twice(false, status, false), "{status:?}");
        }
        // Of two that wait the one for who stayed goes.
        for status in [S::Scheduled, S::Queued] {
            assert!(twice(false, status, true) && !twice(true, status, false), "{status:?}");
            assert!(!twice(false, status, false), "{status:?}");
        }
        // What came to nothing stands in nobody's way.
        for status in [S::Skipped, S::Failed, S::Cancelled, S::Expired] {
            assert!(!twice(true, status, false) && !twice(false, status, true), "{status:?}");
        }
        assert!(!is_there_twice(false, []));
    }
}
