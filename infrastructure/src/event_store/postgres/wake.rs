//! Telling other nodes that the log has grown, and hearing of it. Only a wake-up: whoever misses it finds out by asking.
//!
//! NOTIFY takes a database-wide lock at commit, so it never rides on an append: it comes after, from a connection of its
//! own, at most every [`ANNOUNCE_EVERY`] however many appends there were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use super::super::wake::Head;

const CHANNEL: &str = "gateway_log";
const ANNOUNCE_EVERY: Duration = Duration::from_millis(10);
/// After a failure; asking (see [`Head::poll`]) covers for the time between.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Announcer {
    head: AtomicU64,
    news: Notify,
}

impl Announcer {
    pub fn announce(&self, head: u64) {
        self.head.fetch_max(head, Ordering::Relaxed);
        self.news.notify_one();
    }
}

pub(super) async fn announce(pool: &PgPool, announcer: &Announcer) {
    loop {
        announcer.news.notified().await;
        let head = announcer.head.load(Ordering::Relaxed).to_string();
        let sent =
            sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(head).execute(pool).await;
        let pause = match sent {
            Ok(_) => ANNOUNCE_EVERY,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "could not announce the log's head"
                );
                RETRY_AFTER
            }
        };
        tokio::time::sleep(pause).await;
    }
}

pub(super) async fn listen(pool: &PgPool, head: &Head) {
    loop {
        if let Err(error) = listen_once(pool, head).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "lost the connection that listens for appends"
            );
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

async fn listen_once(pool: &PgPool, head: &Head) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        if let Ok(at) = notification.payload().parse() {
            head.advance(at);
        }
    }
}
