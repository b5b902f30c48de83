//! Rows in the log's file, frames in files beside it: large ones would hold up the one thread that writes.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use chrono::DateTime;
use gateway_sqlite::Sqlite;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, params};
use tokio::fs::{self, File};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use uuid::Uuid;

use super::store::{Frame, Frames, Source, Store, Stored};
use super::{FRAME_BYTES, Known, Wanted};
use crate::crypto::{SealedFrame, read_frame};

/// More than a sealed frame ever takes: what claims to be longer is none.
const SEALED_BYTES_MAX: u32 = FRAME_BYTES as u32 + 1_024;
const SUFFIX: &str = "sealed";
/// Still being written.
const PART_SUFFIX: &str = "part";

pub(super) struct Files {
    pub db: Sqlite,
    pub folder: PathBuf,
}

impl Files {
    fn path(&self, message_id: Uuid) -> PathBuf {
        self.folder.join(format!("{message_id}.{SUFFIX}"))
    }
}

fn uuid_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let text: String = row.get(column)?;
    Uuid::try_parse(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

async fn remove(path: PathBuf) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[async_trait]
impl Store for Files {
    async fn want(&self, wanted: Wanted) -> Result<(), Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            tx.prepare_cached(
                "INSERT INTO media (message_id, account_id, contact_id, wanted_at, due_at)
                 VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                wanted.message_id.to_string(),
                wanted.account_id.to_string(),
                wanted.contact_id.to_string(),
                wanted.wanted_at.timestamp_millis()
            ])
        };
        self.db.write(write).await?;
        Ok(())
    }

    async fn due(&self, now: i64, limit: i64) -> Result<Vec<Wanted>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached(
                "SELECT message_id, account_id, contact_id, wanted_at, attempts FROM media
                 WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2",
            )?
            .query_map([now, limit], |row| {
                Ok(Wanted {
                    message_id: uuid_at(row, 0)?,
                    account_id: uuid_at(row, 1)?,
                    contact_id: uuid_at(row, 2)?,
                    wanted_at: DateTime::from_timestamp_millis(row.get(3)?).unwrap_or_default(),
                    attempts: row.get(4)?,
                })
            })?
            .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn postpone(&self, message_id: Uuid, due_at: Option<i64>) -> Result<(), Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            tx.prepare_cached(
                "UPDATE media SET due_at = ?2, attempts = attempts + 1
                 WHERE message_id = ?1 AND stored_at IS NULL",
            )?
            .execute(params![message_id.to_string(), due_at])
        };
        self.db.write(write).await?;
        Ok(())
    }

    async fn find(&self, message_id: Uuid) -> Result<Option<Known>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached(
                "SELECT stored_at, due_at, bytes, mime_type FROM media WHERE message_id = ?1",
            )?
            .query_row([message_id.to_string()], |row| {
                let (stored_at, due_at): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
                Ok(match (stored_at, row.get::<_, Option<String>>(3)?) {
                    (Some(_), Some(mime_type)) => {
                        Known::Stored { bytes: unsigned(row.get(2)?), mime_type }
                    }
                    _ if due_at.is_some() => Known::Wanted,
                    _ => Known::Lost,
                })
            })
            .optional()
        };
        Ok(self.db.read(read).await?)
    }

    async fn stored(&self, stored: Stored) -> Result<bool, Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            tx.prepare_cached(
                "UPDATE media SET stored_at = ?2, due_at = NULL, bytes = ?3, mime_type = ?4
                 WHERE message_id = ?1 AND stored_at IS NULL",
            )?
            .execute(params![
                stored.message_id.to_string(),
                stored.stored_at,
                stored.bytes,
                stored.mime_type
            ])
        };
        Ok(self.db.write(write).await? == 1)
    }

    async fn clear(&self, message_id: Uuid) -> Result<(), Source> {
        let path = self.path(message_id);
        remove(path.with_extension(PART_SUFFIX)).await?;
        Ok(remove(path).await?)
    }

    async fn writer(&self, message_id: Uuid) -> Result<Box<dyn Frames>, Source> {
        fs::create_dir_all(&self.folder).await?;
        let path = self.path(message_id);
        let part = path.with_extension(PART_SUFFIX);
        let file = File::create(&part).await?;
        Ok(Box::new(FileFrames { file, part, path }))
    }

    async fn frame(&self, message_id: Uuid, _: u64, offset: u64) -> Result<Option<Frame>, Source> {
        let mut file = match File::open(self.path(message_id)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        file.seek(io::SeekFrom::Start(offset)).await?;
        let frame = read_frame(&mut file, SEALED_BYTES_MAX).await?;
        Ok(frame.map(|(is_last, sealed)| Frame {
            next_offset: offset + 4 + sealed.len() as u64,
            is_last: Some(is_last),
            sealed,
        }))
    }

    async fn of_contact(&self, contact_id: Uuid, limit: i64) -> Result<Vec<Uuid>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached("SELECT message_id FROM media WHERE contact_id = ?1 LIMIT ?2")?
                .query_map(params![contact_id.to_string(), limit], |row| uuid_at(row, 0))?
                .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn older_than(&self, before: i64, limit: i64) -> Result<Vec<Uuid>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached(
                "SELECT message_id FROM media
                 WHERE stored_at < ?1 OR (stored_at IS NULL AND due_at IS NULL AND wanted_at < ?1) LIMIT ?2",
            )?
            .query_map([before, limit], |row| uuid_at(row, 0))?
            .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn total(&self) -> Result<u64, Source> {
        let read = |db: &rusqlite::Connection| {
            db.prepare_cached("SELECT coalesce(sum(bytes), 0) FROM media")?
                .query_row([], |row| row.get(0))
        };
        Ok(unsigned(self.db.read(read).await?))
    }

    async fn oldest(&self, limit: i64) -> Result<Vec<(Uuid, u64)>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached(
                "SELECT message_id, bytes FROM media WHERE stored_at IS NOT NULL ORDER BY stored_at LIMIT ?1",
            )?
            .query_map([limit], |row| Ok((uuid_at(row, 0)?, unsigned(row.get(1)?))))?
            .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn delete(&self, ids: Vec<Uuid>) -> Result<(), Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            let mut delete = tx.prepare_cached("DELETE FROM media WHERE message_id = ?1")?;
            for id in &ids {
                delete.execute([id.to_string()])?;
            }
            Ok(())
        };
        Ok(self.db.write(write).await?)
    }

    /// Nothing is being stored when this is called.
    async fn sweep(&self) -> Result<(), Source> {
        let mut entries = match fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(id) = stem.and_then(|stem| Uuid::try_parse(stem).ok()) else { continue };
            let is = |suffix: &str| path.extension().is_some_and(|extension| extension == suffix);
            let is_needed =
                is(SUFFIX) && matches!(self.find(id).await?, Some(Known::Stored { .. }));
            if !is_needed && (is(SUFFIX) || is(PART_SUFFIX)) {
                remove(path).await?;
            }
        }
        Ok(())
    }
}

struct FileFrames {
    file: File,
    part: PathBuf,
    path: PathBuf,
}

#[async_trait]
impl Frames for FileFrames {
    async fn push(&mut self, frame: SealedFrame) -> Result<(), Source> {
        Ok(frame.write_to(&mut self.file).await?)
    }

    async fn finish(&mut self) -> Result<(), Source> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        fs::rename(&self.part, &self.path).await?;
        if let Some(folder) = self.path.parent() {
            File::open(folder).await?.sync_all().await?;
        }
        Ok(())
    }
}
