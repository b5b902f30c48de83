//! Lanes and attempts in PostgreSQL.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::port::{AggregateType, Position, StreamId};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use super::{
    Attempt, AttemptsAsked, LaneState, Parked, Progress, Source, Standing, Store, instant, signed,
    unsigned,
};

pub(super) struct Rows {
    pub pool: PgPool,
}

fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn parked(row: &PgRow) -> Result<Parked, Source> {
    let name: String = row.try_get(0)?;
    let aggregate_type =
        AggregateType::parse(&name).ok_or("an unknown kind of stream is parked")?;
    Ok(Parked {
        stream: StreamId::new(aggregate_type, row.try_get::<Uuid, _>(1)?),
        after_sequence: unsigned(row.try_get(2)?),
        position: Position(unsigned(row.try_get(3)?)),
        attempts: small(row.try_get(4)?),
        due_at: instant(row.try_get(5)?),
    })
}

fn attempt(row: &PgRow) -> Result<Attempt, sqlx::Error> {
    Ok(Attempt {
        id: row.try_get(0)?,
        endpoint_id: row.try_get(1)?,
        at: instant(row.try_get(2)?),
        position: Position(unsigned(row.try_get(3)?)),
        event_id: row.try_get(4)?,
        events: small(row.try_get(5)?),
        number: small(row.try_get(6)?),
        is_replay: row.try_get::<i64, _>(7)? == 1,
        status: row.try_get::<Option<i64>, _>(8)?.and_then(|status| u16::try_from(status).ok()),
        error: row.try_get(9)?,
        latency_ms: small(row.try_get(10)?),
        answer: row.try_get(11)?,
        subject: row.try_get(12)?,
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
        let mut tx = self.pool.begin().await?;
        let row: Option<(i64, Option<i64>)> = sqlx::query_as(
            "INSERT INTO endpoint_lanes AS l (lane_id, endpoint_id, epoch, position) VALUES ($1, $2, $3, $4)
             ON CONFLICT (lane_id) DO UPDATE SET epoch = excluded.epoch WHERE l.epoch <= excluded.epoch
             RETURNING position, failing_since",
        )
        .bind(lane)
        .bind(endpoint)
        .bind(epoch)
        .bind(signed(start.0))
        .fetch_optional(&mut *tx)
        .await?;
        let Some((position, failing_since)) = row else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT aggregate_type, aggregate_id, after_sequence, position, attempts, due_at
             FROM endpoint_parked WHERE lane_id = $1",
        )
        .bind(lane)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(LaneState {
            position: Position(unsigned(position)),
            failing_since: failing_since.map(instant),
            parked: rows.iter().map(parked).collect::<Result<_, _>>()?,
        }))
    }

    async fn save(&self, lane: Uuid, epoch: i64, progress: Progress) -> Result<bool, Source> {
        let mut tx = self.pool.begin().await?;
        let saved = sqlx::query(
            "UPDATE endpoint_lanes SET position = $3, failing_since = $4, epoch = $2
             WHERE lane_id = $1 AND epoch <= $2",
        )
        .bind(lane)
        .bind(epoch)
        .bind(signed(progress.position.0))
        .bind(progress.failing_since.map(|at| at.timestamp_millis()))
        .execute(&mut *tx)
        .await?;
        if saved.rows_affected() == 0 {
            return Ok(false);
        }
        if !progress.freed.is_empty() {
            let types: Vec<&str> =
                progress.freed.iter().map(|it| it.aggregate_type.as_str()).collect();
            let ids: Vec<Uuid> = progress.freed.iter().map(|it| it.id).collect();
            sqlx::query(
                "DELETE FROM endpoint_parked AS p USING unnest($2::text[], $3::uuid[]) AS f (t, id)
                 WHERE p.lane_id = $1 AND p.aggregate_type = f.t AND p.aggregate_id = f.id",
            )
            .bind(lane)
            .bind(types)
            .bind(ids)
            .execute(&mut *tx)
            .await?;
        }
        if !progress.parked.is_empty() {
            let all = &progress.parked;
            let types: Vec<&str> = all.iter().map(|it| it.stream.aggregate_type.as_str()).collect();
            let ids: Vec<Uuid> = all.iter().map(|it| it.stream.id).collect();
            let numbers = |of: fn(&Parked) -> i64| all.iter().map(of).collect::<Vec<i64>>();
            sqlx::query(
                "INSERT INTO endpoint_parked
                 (lane_id, aggregate_type, aggregate_id, after_sequence, position, attempts, due_at)
                 SELECT $1::uuid, * FROM unnest($2::text[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
                 ON CONFLICT (lane_id, aggregate_type, aggregate_id) DO UPDATE SET
                    after_sequence = excluded.after_sequence, position = excluded.position,
                    attempts = excluded.attempts, due_at = excluded.due_at",
            )
            .bind(lane)
            .bind(types)
            .bind(ids)
            .bind(numbers(|it| signed(it.after_sequence)))
            .bind(numbers(|it| signed(it.position.0)))
            .bind(numbers(|it| it.attempts.into()))
            .bind(numbers(|it| it.due_at.timestamp_millis()))
            .execute(&mut *tx)
            .await?;
        }
        if !progress.attempts.is_empty() {
            insert(&mut tx, &progress.attempts).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn record(&self, attempt: Attempt) -> Result<(), Source> {
        let mut tx = self.pool.begin().await?;
        insert(&mut tx, &[attempt]).await?;
        Ok(tx.commit().await?)
    }

    async fn end(&self, lane: Uuid) -> Result<(), Source> {
        let mut tx = self.pool.begin().await?;
        for table in ["endpoint_parked", "endpoint_lanes"] {
            sqlx::query(&format!("DELETE FROM {table} WHERE lane_id = $1"))
                .bind(lane)
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    async fn forget(&self, endpoint: Uuid) -> Result<(), Source> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "DELETE FROM endpoint_parked WHERE lane_id IN
             (SELECT lane_id FROM endpoint_lanes WHERE endpoint_id = $1)",
        )
        .bind(endpoint)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM endpoint_lanes WHERE endpoint_id = $1")
            .bind(endpoint)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn standing(&self, endpoints: &[Uuid]) -> Result<HashMap<Uuid, Standing>, Source> {
        let rows: Vec<(Uuid, i64, Option<i64>, Option<i64>)> = sqlx::query_as(
            "SELECT l.lane_id, l.position, min(p.position), min(p.due_at) FROM endpoint_lanes AS l
             LEFT JOIN endpoint_parked AS p ON p.lane_id = l.lane_id
             WHERE l.lane_id = ANY($1) GROUP BY l.lane_id, l.position",
        )
        .bind(endpoints)
        .fetch_all(&self.pool)
        .await?;
        let found = rows.into_iter().map(|(lane, position, parked, due_at)| {
            (lane, super::standing_of(position, parked, due_at))
        });
        Ok(found.collect())
    }

    async fn attempts(&self, asked: AttemptsAsked) -> Result<Vec<Attempt>, Source> {
        let failed = if asked.failed_only { " AND failed = 1" } else { "" };
        let rows = sqlx::query(&format!(
            "SELECT id, endpoint_id, at, position, event_id, events, number, is_replay, status, error,
                    latency_ms, answer, subject
             FROM endpoint_attempts WHERE endpoint_id = $1 AND id < $2{failed} ORDER BY id DESC LIMIT $3"
        ))
        .bind(asked.endpoint_id)
        .bind(asked.before.unwrap_or(Uuid::max()))
        .bind(signed(asked.limit as u64))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(attempt).collect::<Result<_, _>>()?)
    }

    async fn count(&self, endpoint: Uuid, failed_only: bool, limit: i64) -> Result<u64, Source> {
        let failed = if failed_only { " AND failed = 1" } else { "" };
        let count: i64 = sqlx::query_scalar(&format!(
            "SELECT count(*) FROM
             (SELECT 1 FROM endpoint_attempts WHERE endpoint_id = $1{failed} LIMIT $2) AS found"
        ))
        .bind(endpoint)
        .bind(limit)
        .fetch_one(&self.pool)
        .await?;
        Ok(unsigned(count))
    }

    async fn prune(&self, before: i64, limit: i64) -> Result<u64, Source> {
        let pruned = sqlx::query(
            "DELETE FROM endpoint_attempts WHERE id IN
             (SELECT id FROM endpoint_attempts WHERE at < $1 LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .execute(&self.pool)
        .await?;
        Ok(pruned.rows_affected())
    }
}

async fn insert(
    tx: &mut sqlx::Transaction<'_, sqlx::Postgres>,
    attempts: &[Attempt],
) -> Result<(), Source> {
    fn of<T>(attempts: &[Attempt], of: impl Fn(&Attempt) -> T) -> Vec<T> {
        attempts.iter().map(of).collect()
    }
    sqlx::query(
        "INSERT INTO endpoint_attempts
         (id, endpoint_id, at, position, event_id, events, number, is_replay, status, error, latency_ms, answer,
          subject, failed)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::uuid[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::bigint[], $12::bytea[], $13::uuid[],
            $14::bigint[])
         ON CONFLICT DO NOTHING",
    )
    .bind(of(attempts, |it| it.id))
    .bind(of(attempts, |it| it.endpoint_id))
    .bind(of(attempts, |it| it.at.timestamp_millis()))
    .bind(of(attempts, |it| signed(it.position.0)))
    .bind(of(attempts, |it| it.event_id))
    .bind(of(attempts, |it| i64::from(it.events)))
    .bind(of(attempts, |it| i64::from(it.number)))
    .bind(of(attempts, |it| i64::from(it.is_replay)))
    .bind(of(attempts, |it| it.status.map(i64::from)))
    .bind(of(attempts, |it| it.error.clone()))
    .bind(of(attempts, |it| i64::from(it.latency_ms)))
    .bind(of(attempts, |it| it.answer.clone()))
    .bind(of(attempts, |it| it.subject))
    .bind(of(attempts, |it| i64::from(it.error.is_some())))
    .execute(&mut **tx)
    .await?;
    Ok(())
}
