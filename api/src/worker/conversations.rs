//! Conversations that should be open and are not: of messages from before conversations were written down, and of contacts who
//! took another's place. Every other one is opened with the message that begins it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use projections::names;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::app::Gateway;
use crate::application::{ErrorCode, conversations};

/// Conversations looked at together.
const PAGE: usize = 500;
/// Of them, opened at the same time: they share the log's group commit.
const AT_ONCE: usize = 32;
const CATCH_UP: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(2);

/// Runs until `stop`. Repeating it is harmless, on several nodes at once too: a conversation is opened once.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut messages = gateway.read.watch(names::MESSAGES);
    while !*stop.borrow() {
        messages.mark_unchanged();
        let done = open_all(&gateway).await;
        if let Err(error) = &done {
            info!(error = %format!("{error:#}"), "conversations cannot be opened yet; trying again");
        }
        tokio::select! {
            // Projectors that are gone move nothing: the clock goes on.
            Ok(()) = messages.changed(), if done.is_ok() => {}
            () = gateway.clock.sleep_for(AGAIN) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Opens all that the read model knows and their own streams do not say.
///
/// # Errors
/// Where a store or the read model is away, or the read model is behind.
pub(crate) async fn open_all(gateway: &Gateway) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let rows = gateway.read.queries().unopened_conversations(after, PAGE).await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(()) };
        let opened: Vec<_> = futures::stream::iter(rows)
            .map(|row| async move { (row.id, conversations::open(gateway, &row).await) })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut position = None;
        for (id, opened) in opened {
            match opened {
                Ok(committed) => position = position.max(Some(committed.position)),
                Err(error) if error.code == ErrorCode::Unavailable => return Err(error.into()),
                // It stands in no other's way.
                Err(error) => {
                    warn!(conversation.id = %id, %error, "a conversation cannot be opened")
                }
            }
        }
        // What was written is not to be looked at again as if it were not.
        if let Some(position) = position {
            gateway.read.wait_for(names::MESSAGES, position, CATCH_UP).await?;
        }
        after = Some(last);
    }
}
