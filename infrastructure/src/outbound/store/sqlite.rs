//! Lanes and attempts in the log's file.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::port::{AggregateType, Position, StreamId};
use gateway_sqlite::Sqlite;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::{
    Attempt, AttemptsAsked, LaneState, Parked, Progress, Source, Standing, Store, instant, signed,
    unsigned,
};

pub(super) struct Rows {
    pub db: Sqlite,
}

fn uuid_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let bytes: Vec<u8> = row.get(column)?;
    Uuid::from_slice(&bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
    })
}

fn type_at(row: &Row<'_>, column: usize) -> rusqlite::Result<AggregateType> {
    let name: String = row.get(column)?;
    AggregateType::parse(&name).ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(column, "aggregate_type".to_owned(), Type::Text)
    })
}

fn insert(tx: &rusqlite::Transaction<'_>, attempts: &[Attempt]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO endpoint_attempts
         (id, endpoint_id, at, position, event_id, events, number, is_replay, status, error, latency_ms,
          answer, subject, failed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    for it in attempts {
        insert.execute(params![
            it.id.into_bytes(),
            it.endpoint_id.into_bytes(),
            it.at.timestamp_millis(),
            signed(it.position.0),
            it.event_id.into_bytes(),
            it.events,
            it.number,
            it.is_replay,
            it.status,
            it.error,
            it.latency_ms,
            it.answer,
            it.subject.map(Uuid::into_bytes),
            it.error.is_some()
        ])?;
    }
    Ok(())
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        id: uuid_at(row, 0)?,
        endpoint_id: uuid_at(row, 1)?,
        at: instant(row.get(2)?),
        position: Position(unsigned(row.get(3)?)),
        event_id: uuid_at(row, 4)?,
        events: row.get(5)?,
        number: row.get(6)?,
        is_replay: row.get(7)?,
        status: row.get(8)?,
        error: row.get(9)?,
        latency_ms: row.get(10)?,
        answer: row.get(11)?,
        subject: row.get::<_, Option<Vec<u8>>>(12)?.and_then(|bytes| Uuid::from_slice(&bytes).ok()),
    })
}

#[async_trait]
impl Store for Rows {
    async fn claim(
        &self,
        endpoint: Uuid,
        lane: Uuid,
        epoch: i64,
        start: Position,
    ) -> Result<Option<LaneState>, Source> {
        let claim = move |tx: &mut rusqlite::Transaction<'_>| {
            let lane = lane.into_bytes();
            let claimed = tx.execute(
                "INSERT INTO endpoint_lanes (lane_id, endpoint_id, epoch, position) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (lane_id) DO UPDATE SET epoch = excluded.epoch WHERE epoch <= excluded.epoch",
                params![lane, endpoint.into_bytes(), epoch, signed(start.0)],
            )?;
            if claimed == 0 {
                return Ok(None);
            }
            let (position, failing_since): (i64, Option<i64>) = tx.query_row(
                "SELECT position, failing_since FROM endpoint_lanes WHERE lane_id = ?1",
                [lane],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let mut parked = tx.prepare_cached(
                "SELECT aggregate_type, aggregate_id, after_sequence, position, attempts, due_at
                 FROM endpoint_parked WHERE lane_id = ?1",
            )?;
            let parked = parked.query_map([lane], |row| {
                Ok(Parked {
                    stream: StreamId::new(type_at(row, 0)?, uuid_at(row, 1)?),
                    after_sequence: unsigned(row.get(2)?),
                    position: Position(unsigned(row.get(3)?)),
                    attempts: row.get(4)?,
                    due_at: instant(row.get(5)?),
                })
            })?;
            Ok(Some(LaneState {
                position: Position(unsigned(position)),
                failing_since: failing_since.map(instant),
                parked: parked.collect::<Result<_, _>>()?,
            }))
        };
        Ok(self.db.write(claim).await?)
    }

    async fn save(&self, lane: Uuid, epoch: i64, progress: Progress) -> Result<bool, Source> {
        let save = move |tx: &mut rusqlite::Transaction<'_>| {
            let lane = lane.into_bytes();
            let saved = tx
                .prepare_cached(
                    "UPDATE endpoint_lanes SET position = ?3, failing_since = ?4, epoch = ?2
                     WHERE lane_id = ?1 AND epoch <= ?2",
                )?
                .execute(params![
                    lane,
                    epoch,
                    signed(progress.position.0),
                    progress.failing_since.map(|at| at.timestamp_millis())
                ])?;
            if saved == 0 {
                return Ok(false);
            }
            let mut free = tx.prepare_cached(
                "DELETE FROM endpoint_parked WHERE lane_id = ?1 AND aggregate_type = ?2 AND aggregate_id = ?3",
            )?;
            for stream in &progress.freed {
                free.execute(params![
                    lane,
                    stream.aggregate_type.as_str(),
                    stream.id.into_bytes()
                ])?;
            }
            let mut park = tx.prepare_cached(
                "INSERT OR REPLACE INTO endpoint_parked
                 (lane_id, aggregate_type, aggregate_id, after_sequence, position, attempts, due_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for it in &progress.parked {
                park.execute(params![
                    lane,
                    it.stream.aggregate_type.as_str(),
                    it.stream.id.into_bytes(),
                    signed(it.after_sequence),
                    signed(it.position.0),
                    it.attempts,
                    it.due_at.timestamp_millis()
                ])?;
            }
            insert(tx, &progress.attempts)?;
            Ok(true)
        };
        Ok(self.db.write(save).await?)
    }

    async fn record(&self, attempt: Attempt) -> Result<(), Source> {
        let record = move |tx: &mut rusqlite::Transaction<'_>| insert(tx, &[attempt]);
        Ok(self.db.write(record).await?)
    }

    async fn end(&self, lane: Uuid) -> Result<(), Source> {
        let end = move |tx: &mut rusqlite::Transaction<'_>| {
            tx.execute("DELETE FROM endpoint_parked WHERE lane_id = ?1", [lane.into_bytes()])?;
            tx.execute("DELETE FROM endpoint_lanes WHERE lane_id = ?1", [lane.into_bytes()])?;
            Ok(())
        };
        Ok(self.db.write(end).await?)
    }

    async fn forget(&self, endpoint: Uuid) -> Result<(), Source> {
        let forget = move |tx: &mut rusqlite::Transaction<'_>| {
            let endpoint = [endpoint.into_bytes()];
            tx.execute(
                "DELETE FROM endpoint_parked WHERE lane_id IN
                 (SELECT lane_id FROM endpoint_lanes WHERE endpoint_id = ?1)",
                endpoint,
            )?;
            tx.execute("DELETE FROM endpoint_lanes WHERE endpoint_id = ?1", endpoint)?;
            Ok(())
        };
        Ok(self.db.write(forget).await?)
    }

    async fn standing(&self, endpoints: &[Uuid]) -> Result<HashMap<Uuid, Standing>, Source> {
        let endpoints = endpoints.to_vec();
        let read = move |db: &rusqlite::Connection| {
            let mut lane = db.prepare_cached(
                "SELECT l.position, min(p.position), min(p.due_at) FROM endpoint_lanes AS l
                 LEFT JOIN endpoint_parked AS p ON p.lane_id = l.lane_id
                 WHERE l.lane_id = ?1 GROUP BY l.position",
            )?;
            let mut found = HashMap::new();
            for endpoint in endpoints {
                let row = lane.query_row([endpoint.into_bytes()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                });
                if let Some((position, parked, due_at)) = row.optional()? {
                    found.insert(endpoint, super::standing_of(position, parked, due_at));
                }
            }
            Ok(found)
        };
        Ok(self.db.read(read).await?)
    }

    async fn attempts(&self, asked: AttemptsAsked) -> Result<Vec<Attempt>, Source> {
        let read = move |db: &rusqlite::Connection| {
            let failed = if asked.failed_only { " AND failed = 1" } else { "" };
            db.prepare_cached(&format!(
                "SELECT id, endpoint_id, at, position, event_id, events, number, is_replay, status, error,
                        latency_ms, answer, subject
                 FROM endpoint_attempts WHERE endpoint_id = ?1 AND id < ?2{failed} ORDER BY id DESC LIMIT ?3"
            ))?
            .query_map(
                params![
                    asked.endpoint_id.into_bytes(),
                    asked.before.unwrap_or(Uuid::max()).into_bytes(),
                    signed(asked.limit as u64)
                ],
                attempt,
            )?
            .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn count(&self, endpoint: Uuid, failed_only: bool, limit: i64) -> Result<u64, Source> {
        let read = move |db: &rusqlite::Connection| {
            let failed = if failed_only { " AND failed = 1" } else { "" };
            db.prepare_cached(&format!(
                "SELECT count(*) FROM (SELECT 1 FROM endpoint_attempts WHERE endpoint_id = ?1{failed} LIMIT ?2)"
            ))?
            .query_row(params![endpoint.into_bytes(), limit], |row| row.get(0))
        };
        Ok(unsigned(self.db.read(read).await?))
    }

    async fn prune(&self, before: i64, limit: i64) -> Result<u64, Source> {
        let prune = move |tx: &mut rusqlite::Transaction<'_>| {
            tx.execute(
                "DELETE FROM endpoint_attempts WHERE id IN
                 (SELECT id FROM endpoint_attempts WHERE at < ?1 LIMIT ?2)",
                [before, limit],
            )
        };
        Ok(self.db.write(prune).await? as u64)
    }
}
