//! Where the head is, as far as this process knows, and who waits for it to move.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain::port::{LogError, Position};
use tokio::sync::{Notify, watch};

/// How often a store is asked for its head while somebody waits and nobody else tells: at first after news that only
/// asking brought, and at most.
const POLL_MIN: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Head {
    seen: watch::Sender<u64>,
    waiting: Notify,
}

impl Head {
    pub fn new(at: u64) -> Arc<Self> {
        Arc::new(Self { seen: watch::Sender::new(at), waiting: Notify::new() })
    }

    #[cfg(feature = "kurrentdb")]
    pub fn at(&self) -> u64 {
        *self.seen.borrow()
    }

    /// `true` where that was news.
    pub fn advance(&self, to: u64) -> bool {
        self.seen.send_if_modified(|head| {
            let is_news = to > *head;
            *head = to.max(*head);
            is_news
        })
    }

    pub async fn beyond(&self, after: Position) {
        let mut seen = self.seen.subscribe();
        self.waiting.notify_one();
        // The sender is `self`, so this cannot fail.
        let _ = seen.wait_for(|head| *head > after.0).await;
    }

    /// Asks `ask` for the head while somebody waits: the only way to hear of other processes' appends where nothing
    /// announces them, and the fallback where announcements are lost.
    pub async fn poll<F, R>(&self, ask: F)
    where
        F: Fn() -> R + Send,
        R: Future<Output = Result<Position, LogError>> + Send,
    {
        let mut pause = POLL_MIN;
        loop {
            if self.seen.receiver_count() == 0 {
                self.waiting.notified().await;
            }
            let is_news = match ask().await {
                Ok(head) => self.advance(head.0),
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "could not ask the log for its head"
                    );
                    false
                }
            };
            pause = if is_news { POLL_MIN } else { (pause * 2).min(POLL_MAX) };
            tokio::time::sleep(pause).await;
        }
    }
}

/// A task that ends with whoever holds this.
#[derive(Debug)]
pub(crate) struct Background(tokio::task::JoinHandle<()>);

impl Background {
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}
