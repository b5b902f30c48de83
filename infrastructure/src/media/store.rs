//! What keeps the rows and the sealed frames: what both stores do.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Known, Wanted};
use crate::crypto::SealedFrame;

pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A medium that is whole.
pub(super) struct Stored {
    pub message_id: Uuid,
    pub stored_at: i64,
    pub bytes: i64,
    pub frames: i64,
    pub mime_type: &'static str,
}

/// A sealed frame, and where the next one begins.
pub(super) struct Frame {
    pub sealed: Vec<u8>,
    /// `None`: not said.
    pub is_last: Option<bool>,
    pub next_offset: u64,
}

#[async_trait]
pub(super) trait Store: Send + Sync {
    /// Where the row is there already, nothing changes.
    async fn want(&self, wanted: Wanted) -> Result<(), Source>;

    async fn due(&self, now: i64, limit: i64) -> Result<Vec<Wanted>, Source>;

    /// Counts an attempt.
    async fn postpone(&self, message_id: Uuid, due_at: Option<i64>) -> Result<(), Source>;

    async fn find(&self, message_id: Uuid) -> Result<Option<Known>, Source>;

    /// Marks a medium as here, where it is still wanted and all of its frames are. Whether it was.
    async fn stored(&self, stored: Stored) -> Result<bool, Source>;

    /// Removes a medium's frames. Repeating it is harmless.
    async fn clear(&self, message_id: Uuid) -> Result<(), Source>;

    async fn writer(&self, message_id: Uuid) -> Result<Box<dyn Frames>, Source>;

    /// Frame `n`, which begins at `offset` where that means something.
    async fn frame(&self, message_id: Uuid, n: u64, offset: u64) -> Result<Option<Frame>, Source>;

    async fn of_contact(&self, contact_id: Uuid, limit: i64) -> Result<Vec<Uuid>, Source>;

    /// Stored before, or given up and wanted before.
    async fn older_than(&self, before: i64, limit: i64) -> Result<Vec<Uuid>, Source>;

    /// The bytes of all that is here.
    async fn total(&self) -> Result<u64, Source>;

    /// What was stored first, with its bytes.
    async fn oldest(&self, limit: i64) -> Result<Vec<(Uuid, u64)>, Source>;

    /// Deletes rows.
    async fn delete(&self, ids: Vec<Uuid>) -> Result<(), Source>;

    async fn sweep(&self) -> Result<(), Source>;
}

/// Takes sealed frames, in order.
#[async_trait]
pub(super) trait Frames: Send {
    async fn push(&mut self, frame: SealedFrame) -> Result<(), Source>;

    /// All of them outlive a crash of the machine when this returns.
    async fn finish(&mut self) -> Result<(), Source>;
}
