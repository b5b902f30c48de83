//! Rows and frames in PostgreSQL.

use async_trait::async_trait;
use chrono::DateTime;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use super::store::{Frame, Frames, Source, Store, Stored};
use super::{Known, Wanted};
use crate::crypto::SealedFrame;

pub(super) struct Rows {
    pub pool: PgPool,
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[async_trait]
impl Store for Rows {
    async fn want(&self, wanted: Wanted) -> Result<(), Source> {
        sqlx::query(
            "INSERT INTO media (message_id, account_id, contact_id, wanted_at, due_at)
             VALUES ($1, $2, $3, $4, $4) ON CONFLICT DO NOTHING",
        )
        .bind(wanted.message_id)
        .bind(wanted.account_id)
        .bind(wanted.contact_id)
        .bind(wanted.wanted_at.timestamp_millis())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn due(&self, now: i64, limit: i64) -> Result<Vec<Wanted>, Source> {
        let rows = sqlx::query(
            "SELECT message_id, account_id, contact_id, wanted_at, attempts FROM media
             WHERE due_at <= $1 ORDER BY due_at LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let read = rows.iter().map(|row| {
            Ok(Wanted {
                message_id: row.try_get(0)?,
                account_id: row.try_get(1)?,
                contact_id: row.try_get(2)?,
                wanted_at: DateTime::from_timestamp_millis(row.try_get(3)?).unwrap_or_default(),
                attempts: u32::try_from(row.try_get::<i64, _>(4)?).unwrap_or(u32::MAX),
            })
        });
        Ok(read.collect::<Result<_, sqlx::Error>>()?)
    }

    async fn postpone(&self, message_id: Uuid, due_at: Option<i64>) -> Result<(), Source> {
        sqlx::query(
            "UPDATE media SET due_at = $2, attempts = attempts + 1
             WHERE message_id = $1 AND stored_at IS NULL",
        )
        .bind(message_id)
        .bind(due_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn find(&self, message_id: Uuid) -> Result<Option<Known>, Source> {
        let row: Option<(Option<i64>, Option<i64>, i64, Option<String>)> = sqlx::query_as(
            "SELECT stored_at, due_at, bytes, mime_type FROM media WHERE message_id = $1",
        )
        .bind(message_id)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(stored_at, due_at, bytes, mime_type)| match (stored_at, mime_type) {
            (Some(_), Some(mime_type)) => Known::Stored { bytes: unsigned(bytes), mime_type },
            _ if due_at.is_some() => Known::Wanted,
            _ => Known::Lost,
        }))
    }

    async fn stored(&self, stored: Stored) -> Result<bool, Source> {
        let done = sqlx::query(
            "UPDATE media SET stored_at = $2, due_at = NULL, bytes = $3, mime_type = $4
             WHERE message_id = $1 AND stored_at IS NULL
               AND (SELECT count(*) FROM media_frames f WHERE f.message_id = $1) = $5",
        )
        .bind(stored.message_id)
        .bind(stored.stored_at)
        .bind(stored.bytes)
        .bind(stored.mime_type)
        .bind(stored.frames)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// What is whole stays, where another node was faster; it goes with its row.
    async fn clear(&self, message_id: Uuid) -> Result<(), Source> {
        sqlx::query(
            "DELETE FROM media_frames f WHERE f.message_id = $1
               AND EXISTS (SELECT 1 FROM media m WHERE m.message_id = $1 AND m.stored_at IS NULL)",
        )
        .bind(message_id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn writer(&self, message_id: Uuid) -> Result<Box<dyn Frames>, Source> {
        Ok(Box::new(RowFrames { pool: self.pool.clone(), message_id }))
    }

    async fn frame(&self, message_id: Uuid, n: u64, _: u64) -> Result<Option<Frame>, Source> {
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT sealed FROM media_frames WHERE message_id = $1 AND n = $2")
                .bind(message_id)
                .bind(i64::try_from(n)?)
                .fetch_optional(&self.pool)
                .await?;
        Ok(sealed.map(|sealed| Frame { sealed, is_last: None, next_offset: 0 }))
    }

    async fn of_contact(&self, contact_id: Uuid, limit: i64) -> Result<Vec<Uuid>, Source> {
        let ids = sqlx::query_scalar("SELECT message_id FROM media WHERE contact_id = $1 LIMIT $2")
            .bind(contact_id)
            .bind(limit);
        Ok(ids.fetch_all(&self.pool).await?)
    }

    async fn older_than(&self, before: i64, limit: i64) -> Result<Vec<Uuid>, Source> {
        Ok(sqlx::query_scalar(
            "SELECT message_id FROM media
             WHERE stored_at < $1 OR (stored_at IS NULL AND due_at IS NULL AND wanted_at < $1) LIMIT $2",
        )
        .bind(before)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }

    async fn total(&self) -> Result<u64, Source> {
        let total: i64 = sqlx::query_scalar("SELECT coalesce(sum(bytes), 0)::bigint FROM media")
            .fetch_one(&self.pool)
            .await?;
        Ok(unsigned(total))
    }

    async fn oldest(&self, limit: i64) -> Result<Vec<(Uuid, u64)>, Source> {
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT message_id, bytes FROM media WHERE stored_at IS NOT NULL ORDER BY stored_at LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|(id, bytes)| (id, unsigned(bytes))).collect())
    }

    /// Their frames go with them.
    async fn delete(&self, ids: Vec<Uuid>) -> Result<(), Source> {
        let delete = sqlx::query("DELETE FROM media WHERE message_id = ANY($1)").bind(ids);
        delete.execute(&self.pool).await?;
        Ok(())
    }

    /// A new attempt clears what another left; nothing else is left behind.
    async fn sweep(&self) -> Result<(), Source> {
        Ok(())
    }
}

struct RowFrames {
    pool: PgPool,
    message_id: Uuid,
}

#[async_trait]
impl Frames for RowFrames {
    /// Two nodes that store the same medium store the same frames.
    async fn push(&mut self, frame: SealedFrame) -> Result<(), Source> {
        sqlx::query(
            "INSERT INTO media_frames (message_id, n, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(self.message_id)
        .bind(i64::try_from(frame.n)?)
        .bind(frame.sealed)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Source> {
        Ok(())
    }
}
