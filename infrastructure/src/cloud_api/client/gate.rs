//! The last check before a message leaves, and the proof whether it left.
//!
//! A request's body is asked for its bytes only once there is a connection, after resolving, connecting and shaking
//! hands, which may take seconds (or a night, where the machine was suspended). So the deadline is asked there, and not
//! before the call; and a body that was never asked for its bytes was never sent, whatever the error says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use futures::stream::{Stream, once};

const WAITING: u8 = 0;
/// The bytes were handed to the connection.
const WRITTEN: u8 = 1;
/// The caller gave up first; the bytes will not be handed over.
const CLOSED: u8 = 2;
/// The deadline had passed; the bytes will not be handed over.
const EXPIRED: u8 = 3;

/// How far a body got. Closes when dropped, so that a send that is cancelled before its body left never leaves.
#[derive(Debug)]
pub(super) struct Gate(Arc<AtomicU8>);

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// Not one byte of it was handed to a connection, nor will be.
    Kept,
    /// As kept, because `may_write` said no.
    Expired,
    /// It may have been sent, whole or in part.
    Written,
}

impl Gate {
    /// A gate and the body behind it. `may_write` is asked once, immediately before the bytes are handed over.
    pub(super) fn new<G>(
        bytes: Bytes,
        may_write: G,
    ) -> (Self, impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static)
    where
        G: FnOnce() -> bool + Send + 'static,
    {
        let state = Arc::new(AtomicU8::new(WAITING));
        let gate = Self(Arc::clone(&state));
        let body = once(async move {
            let next = if may_write() { WRITTEN } else { EXPIRED };
            match state.compare_exchange(WAITING, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if next == WRITTEN => Ok(bytes),
                _ => Err(io::Error::other("the message is not sent any more")),
            }
        });
        (gate, body)
    }

    /// Lets nothing through from now on and says what did.
    pub(super) fn close(&self) -> Passage {
        match self.0.compare_exchange(WAITING, CLOSED, Ordering::AcqRel, Ordering::Acquire) {
            Err(WRITTEN) => Passage::Written,
            Err(EXPIRED) => Passage::Expired,
            Ok(_) | Err(_) => Passage::Kept,
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    fn first<S: Stream<Item = Result<Bytes, io::Error>>>(body: S) -> Option<Bytes> {
        Box::pin(body).next().now_or_never().flatten().and_then(Result::ok)
    }

    #[test]
    fn a_body_passes_once_and_is_known_to_have_passed() {
        let (gate, body) = Gate::new(Bytes::from_static(b"x"), || true);
        assert_eq!(first(body), Some(Bytes::from_static(b"x")));
        assert_eq!(gate.close(), Passage::Written);
    }

    #[test]
    fn an_expired_body_does_not_pass() {
        let (gate, body) = Gate::new(Bytes::from_static(b"x"), || false);
        assert_eq!(first(body), None);
        assert_eq!(gate.close(), Passage::Expired);
    }

    #[test]
    fn a_body_whose_caller_gave_up_or_went_away_does_not_pass() {
        let (gate, body) = Gate::new(Bytes::from_static(b"x"), || true);
        assert_eq!(gate.close(), Passage::Kept);
        assert_eq!(first(body), None);
        let (gate, body) = Gate::new(Bytes::from_static(b"x"), || true);
        drop(gate);
        assert_eq!(first(body), None);
    }
}
