//! Media of messages that came in: what is still to be fetched from WhatsApp, and what is here. Everything is sealed frame by
//! frame with the contact's key, so an erasure that destroys the key makes it unreadable at once. With SQLite the sealed
//! files lie beside the database; with PostgreSQL their frames are rows, since nodes share nothing else.

mod postgres;
mod sniff;
mod sqlite;
mod store;
#[cfg(test)]
mod tests;

pub use sniff::{HEAD_BYTES, MediaType, sniff};

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::crypto::{DataKey, FrameOpener, FrameSealer, FrameStream};
use crate::event_store::{Database, OpenError};
use store::{Frames, Source, Store};

/// What one frame seals, at most.
const FRAME_BYTES: usize = 256 * 1024;
/// Rows that one pass takes.
const BATCH: i64 = 500;

/// The table that names the migrations applied.
pub const MIGRATIONS_TABLE: &str = "media_migrations";
/// The tables on SQLite.
pub const SQLITE_MIGRATIONS: &[(&str, &str)] = &[(
    "20261127090000_create_media",
    include_str!("../../migrations/sqlite/20261127090000_create_media.sql"),
)];
/// The tables on PostgreSQL.
pub const POSTGRES_MIGRATIONS: &[(&str, &str)] = &[(
    "20261127090000_create_media",
    include_str!("../../migrations/postgres/20261127090000_create_media.sql"),
)];

/// A medium that is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose medium it is: a message has one at most.
    pub message_id: Uuid,
    pub account_id: Uuid,
    pub contact_id: Uuid,
    /// When the message arrived here: WhatsApp keeps a medium for a time from then on.
    pub wanted_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: u32,
}

/// What is known of a message's medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is here.
    Stored { bytes: u64, mime_type: String },
    /// It is still being fetched.
    Wanted,
    /// WhatsApp did not give it in time.
    Lost,
}

#[derive(Debug, thiserror::Error)]
pub enum MediaStoreError {
    #[error("the media cannot be stored or read right now")]
    Unavailable(#[source] Source),
    /// Cut short, changed, or its key is gone.
    #[error("the medium cannot be read any more")]
    Unreadable,
    /// Erased or given up while it was being stored; nothing of it is left.
    #[error("the medium is not wanted any more")]
    NotWanted,
}

impl MediaStoreError {
    fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }
}

type Result<T> = std::result::Result<T, MediaStoreError>;

/// The media of one gateway; clones share them.
#[derive(Clone)]
pub struct MediaStore {
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for MediaStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MediaStore")
    }
}

impl MediaStore {
    /// The media in `database`, its tables made where they are missing; with SQLite the files are in `folder`.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(database: &Database, folder: &Path) -> std::result::Result<Self, OpenError> {
        database.migrate(MIGRATIONS_TABLE, SQLITE_MIGRATIONS, POSTGRES_MIGRATIONS).await?;
        let store: Arc<dyn Store> = match database {
            Database::Sqlite(db) => {
                Arc::new(sqlite::Files { db: db.clone(), folder: folder.to_owned() })
            }
            Database::Postgres(pool) => Arc::new(postgres::Rows { pool: pool.clone() }),
        };
        Ok(Self { store })
    }

    /// Notes that a message's medium is to be fetched, from `now` on. Told again, nothing changes.
    ///
    /// # Errors
    /// [`MediaStoreError::Unavailable`]
    pub async fn want(
        &self,
        message_id: Uuid,
        account_id: Uuid,
        contact_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let wanted = Wanted { message_id, account_id, contact_id, wanted_at: now, attempts: 0 };
        self.store.want(wanted).await.map_err(MediaStoreError::unavailable)
    }

    /// What is to be tried by `now`, longest due first.
    ///
    /// # Errors
    /// [`MediaStoreError::Unavailable`]
    pub async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Wanted>> {
        let limit = i64::try_from(limit).unwrap_or(BATCH).min(BATCH);
        self.store.due(now.timestamp_millis(), limit).await.map_err(MediaStoreError::unavailable)
    }

    /// Tries a medium again at `due_at`; `None`: never.
    ///
    /// # Errors
    /// [`MediaStoreError::Unavailable`]
    pub async fn postpone(&self, message_id: Uuid, due_at: Option<DateTime<Utc>>) -> Result<()> {
        let due_at = due_at.map(|at| at.timestamp_millis());
        self.store.postpone(message_id, due_at).await.map_err(MediaStoreError::unavailable)
    }

    /// What is known of a message's medium; `None`: nothing, it has none or was forgotten.
    ///
    /// # Errors
    /// [`MediaStoreError::Unavailable`]
    pub async fn find(&self, message_id: Uuid) -> Result<Option<Known>> {
        self.store.find(message_id).await.map_err(MediaStoreError::unavailable)
    }

    /// Begins to store a medium; what was begun before is thrown away.
    ///
    /// # Errors
    /// [`MediaStoreError::Unavailable`]
    pub async fn begin(&self, message_id: Uuid, key: DataKey) -> Result<MediaWriter> {
        self.store.clear(message_id).await.map_err(MediaStoreError::unavailable)?;
        let frames = self.store.writer(message_id).await.map_err(MediaStoreError::unavailable)?;
        Ok(MediaWriter {
            store: self.store.clone(),
            message_id,
            sealer: FrameSealer::new(key, stream(message_id), FRAME_BYTES),
            frames,
            bytes: 0,
            head: Vec::new(),
        })
    }

    /// Reads a medium that is here, from its beginning.
    pub fn read(&self, message_id: Uuid, key: DataKey) -> MediaReader {
        MediaReader {
            store: self.store.clone(),
            message_id,
            opener: FrameOpener::new(key, stream(message_id)),
            offset: 0,
        }
    }

    /// Forgets all media of these contacts, those that are still to be fetched too.
    ///
    /// # Errors
    /// [`MediaStoreError::Unavailable`]: repeat it.
    pub async fn erase(&self, contacts: &[Uuid]) -> Result<()> {
        for contact in contacts {
            loop {
                let ids = self.store.of_contact(*contact, BATCH).await;
                let ids = ids.map_err(MediaStoreError::unavailable)?;
                if ids.is_empty() {
                    break;
                }
                self.forget(&ids).await?;
            }
        }
        Ok(())
    }

    /// Forgets what was stored before `before` or given up by then, and the oldest of what goes beyond `bytes_max`. How many.
    ///
    /// # Errors
    /// [`MediaStoreError::Unavailable`]
    pub async fn prune(&self, before: DateTime<Utc>, bytes_max: u64) -> Result<usize> {
        let mut pruned = 0;
        let before = before.timestamp_millis();
        loop {
            let ids = self.store.older_than(before, BATCH).await;
            let ids = ids.map_err(MediaStoreError::unavailable)?;
            if ids.is_empty() {
                break;
            }
            pruned += ids.len();
            self.forget(&ids).await?;
        }
        loop {
            let total = self.store.total().await.map_err(MediaStoreError::unavailable)?;
            if total <= bytes_max {
                return Ok(pruned);
            }
            let oldest = self.store.oldest(BATCH).await.map_err(MediaStoreError::unavailable)?;
            let (mut over, mut ids) = (total - bytes_max, vec![]);
            for (id, bytes) in oldest {
                if over == 0 {
                    break;
                }
                ids.push(id);
                over = over.saturating_sub(bytes);
            }
            if ids.is_empty() {
                return Ok(pruned);
            }
            pruned += ids.len();
            self.forget(&ids).await?;
        }
    }

    /// Removes what a process that was killed left half stored.
    ///
    /// # Errors
    /// [`MediaStoreError::Unavailable`]
    pub async fn sweep(&self) -> Result<()> {
        self.store.sweep().await.map_err(MediaStoreError::unavailable)
    }

    /// The bytes first, then the row that names them: cut short in between, it is done again.
    async fn forget(&self, ids: &[Uuid]) -> Result<()> {
        for id in ids {
            self.store.clear(*id).await.map_err(MediaStoreError::unavailable)?;
        }
        self.store.delete(ids.to_vec()).await.map_err(MediaStoreError::unavailable)
    }
}

fn stream(message_id: Uuid) -> FrameStream {
    FrameStream { kind: "medium", id: message_id }
}

/// A medium on its way in.
pub struct MediaWriter {
    store: Arc<dyn Store>,
    message_id: Uuid,
    sealer: FrameSealer,
    frames: Box<dyn Frames>,
    bytes: u64,
    head: Vec<u8>,
}

impl MediaWriter {
    /// # Errors
    /// [`MediaStoreError::Unavailable`]
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        let missing = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        while !bytes.is_empty() {
            if let Some(frame) = self.sealer.take(&mut bytes) {
                self.frames.push(frame).await.map_err(MediaStoreError::unavailable)?;
            }
        }
        Ok(())
    }

    /// The medium is whole, and as the type that its bytes say it is. On disk when this returns.
    ///
    /// # Errors
    /// [`MediaStoreError::NotWanted`]; [`MediaStoreError::Unavailable`]
    pub async fn finish(mut self, said: Option<&str>, now: DateTime<Utc>) -> Result<MediaType> {
        let last = self.sealer.finish();
        let frames = last.n + 1;
        self.frames.push(last).await.map_err(MediaStoreError::unavailable)?;
        let media_type = sniff(&self.head, said).unwrap_or(UNKNOWN);
        self.frames.finish().await.map_err(MediaStoreError::unavailable)?;
        let stored = store::Stored {
            message_id: self.message_id,
            stored_at: now.timestamp_millis(),
            bytes: i64::try_from(self.bytes).unwrap_or(i64::MAX),
            frames: i64::try_from(frames).unwrap_or(i64::MAX),
            mime_type: media_type.mime_type,
        };
        if self.store.stored(stored).await.map_err(MediaStoreError::unavailable)? {
            return Ok(media_type);
        }
        self.store.clear(self.message_id).await.map_err(MediaStoreError::unavailable)?;
        Err(MediaStoreError::NotWanted)
    }
}

/// What is no type that WhatsApp carries is given to nobody as one.
const UNKNOWN: MediaType =
    MediaType { mime_type: "application/octet-stream", kind: "document", bytes_max: 0 };

/// A medium on its way out.
pub struct MediaReader {
    store: Arc<dyn Store>,
    message_id: Uuid,
    opener: FrameOpener,
    offset: u64,
}

impl MediaReader {
    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// [`MediaStoreError::Unreadable`]; [`MediaStoreError::Unavailable`]
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(n) = self.opener.next() else { return Ok(None) };
        let frame = self.store.frame(self.message_id, n, self.offset).await;
        let frame = frame.map_err(MediaStoreError::unavailable)?;
        let frame = frame.ok_or(MediaStoreError::Unreadable)?;
        // On PostgreSQL the row does not say; a frame opens as what it is only.
        let lasts: &[bool] = match frame.is_last {
            Some(true) => &[true],
            Some(false) => &[false],
            None => &[false, true],
        };
        for is_last in lasts {
            if let Ok(plain) = self.opener.open(*is_last, &frame.sealed) {
                self.offset = frame.next_offset;
                return Ok(Some(Bytes::copy_from_slice(&plain)));
            }
        }
        Err(MediaStoreError::Unreadable)
    }
}
