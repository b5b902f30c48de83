//! Group commit: posts that wait together share a transaction.

use std::sync::{Arc, Weak};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::store::{JournalStore, NewRow};
use super::{BATCH_BYTES_MAX, BATCH_POSTS_MAX, JournalError, JournalId, Source};

/// A post that waits for its transaction.
pub(super) struct Post {
    pub row: NewRow,
    pub answer: oneshot::Sender<Result<JournalId, JournalError>>,
    /// Its place in the queue, given up with the post.
    #[expect(dead_code, reason = "held, not read")]
    pub room: OwnedSemaphorePermit,
}

/// Whatever waits while a transaction is being written goes into the next one. There is no timer: a lone post is
/// written at once.
pub(super) async fn write_batches(
    store: Weak<dyn JournalStore>,
    mut waiting: mpsc::UnboundedReceiver<Post>,
    appended: Arc<watch::Sender<u64>>,
) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(post) => post,
            None => {
                let Some(post) = waiting.recv().await else { return };
                // Whoever is about to post gets the chance to share this transaction.
                tokio::task::yield_now().await;
                post
            }
        };
        let mut bytes = first.row.sealed.len();
        let mut batch = vec![first];
        while batch.len() < BATCH_POSTS_MAX {
            let Ok(post) = waiting.try_recv() else { break };
            bytes += post.row.sealed.len();
            if bytes > BATCH_BYTES_MAX {
                next = Some(post);
                break;
            }
            batch.push(post);
        }
        // Gone only when nobody waits for an answer any more.
        let Some(store) = store.upgrade() else { return };
        let rows = batch.iter_mut().map(|post| NewRow {
            sealed: std::mem::take(&mut post.row.sealed),
            ..post.row.clone()
        });
        match store.append(rows.collect()).await {
            Ok(ids) if ids.len() == batch.len() => {
                let last = ids.last().map_or(0, |id| JournalId::of(*id).0);
                appended.send_modify(|appended| *appended = last.max(*appended));
                for (post, id) in batch.into_iter().zip(ids) {
                    // Whoever stopped waiting is not told; the post is kept all the same.
                    let _ = post.answer.send(Ok(JournalId::of(id)));
                }
            }
            Ok(_) => fail(batch, "the store answered with another number of ids".into()),
            Err(source) => fail(batch, source),
        }
    }
}

fn fail(batch: Vec<Post>, source: Source) {
    let shared = Shared(Arc::from(source));
    for post in batch {
        let _ = post.answer.send(Err(JournalError::unavailable(shared.clone())));
    }
}

/// One failure, told to everybody who shared the transaction.
#[derive(Clone, Debug)]
struct Shared(Arc<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
