//! Reading the log in PostgreSQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::port::{EventFilter, LogError, LogPage, Metadata, Position, StoredEvent, StreamId};
use domain::primitives::Actor;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::super::error::unavailable;
use super::super::kinds::Kinds;
use super::super::reading::{self, Window, signed, unsigned};
use super::kinds::{self, Found};

/// In the order of [`Raw`].
const COLUMNS: &str = "l.position, l.kind, l.aggregate_id, l.sequence, l.event_id, l.correlation_id, l.causation_id, \
                       l.subject, l.occurred_at, l.recorded_at, l.payload";

pub(super) async fn head(pool: &PgPool) -> Result<Position, LogError> {
    let head: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM log")
        .fetch_one(pool)
        .await
        .map_err(unavailable)?;
    Ok(Position(head.and_then(unsigned).unwrap_or(0)))
}

pub(super) async fn streams(
    pool: &PgPool,
    kinds: &Kinds,
    streams: &[StreamId],
) -> Result<Vec<StoredEvent>, LogError> {
    let types: Vec<i16> =
        streams.iter().map(|stream| kinds::number_of_type(stream.aggregate_type)).collect();
    let ids: Vec<Uuid> = streams.iter().map(|stream| stream.id).collect();
    // OFFSET 0 keeps the planner from turning this inside out: one look-up by key for each stream, at any size.
    let sql = format!(
        "SELECT {COLUMNS} FROM unnest($1::smallint[], $2::uuid[]) WITH ORDINALITY AS wanted (type, id, n)
         CROSS JOIN LATERAL (
             SELECT * FROM log WHERE aggregate_type = wanted.type AND aggregate_id = wanted.id
             ORDER BY sequence OFFSET 0) l
         ORDER BY wanted.n, l.sequence"
    );
    let rows =
        sqlx::query(&sql).bind(types).bind(ids).fetch_all(pool).await.map_err(unavailable)?;
    events(pool, kinds, &rows).await
}

pub(super) async fn stream_page(
    pool: &PgPool,
    kinds: &Kinds,
    stream: StreamId,
    after_sequence: u64,
    limit: usize,
) -> Result<Vec<StoredEvent>, LogError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM log l
         WHERE l.aggregate_type = $1 AND l.aggregate_id = $2 AND l.sequence > $3 ORDER BY l.sequence LIMIT $4"
    );
    let rows = sqlx::query(&sql)
        .bind(kinds::number_of_type(stream.aggregate_type))
        .bind(stream.id)
        .bind(signed(after_sequence))
        .bind(signed(limit as u64))
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    if rows.is_empty() && is_detached(pool, stream).await? {
        return Err(LogError::Detached(stream));
    }
    events(pool, kinds, &rows).await
}

/// Whether the stream would be in a month of messages that was taken out of the log.
async fn is_detached(pool: &PgPool, stream: StreamId) -> Result<bool, LogError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM detached_months
         WHERE $1 = aggregate_number('message') AND $2 >= first_id AND $2 < end_id)",
    )
    .bind(kinds::number_of_type(stream.aggregate_type))
    .bind(stream.id)
    .fetch_one(pool)
    .await
    .map_err(unavailable)
}

pub(super) async fn all(
    pool: &PgPool,
    kinds: &Kinds,
    after: Position,
    filter: &EventFilter,
    limit: usize,
) -> Result<LogPage, LogError> {
    let (from, to, head) = if filter.recorded_from.is_some() || filter.recorded_to.is_some() {
        bounds(pool, filter.recorded_from, filter.recorded_to).await?
    } else {
        (None, None, 0)
    };
    let window = reading::window(after, filter, head, from, to);
    let mut rows =
        select(filter, window, limit).build().fetch_all(pool).await.map_err(unavailable)?;
    // The head of the same moment comes with every row, and with a row of nothing else where no event matched.
    let head: i64 = match rows.first() {
        Some(row) => row.try_get("head").map_err(unavailable)?,
        None => 0,
    };
    if let [row] = rows.as_slice()
        && row.try_get::<Option<i64>, _>(0).map_err(unavailable)?.is_none()
    {
        rows.clear();
    }
    let mut events = events(pool, kinds, &rows).await?;
    // They come in order already; nothing promises it.
    events.sort_by_key(|event| event.position);
    Ok(reading::page(events, limit, after, window, unsigned(head).unwrap_or(0)))
}

/// The first positions recorded at or after these moments, and the head as of the same moment.
async fn bounds(
    pool: &PgPool,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<(Option<u64>, Option<u64>, u64), LogError> {
    let (from, to, head): (Option<i64>, Option<i64>, i64) = sqlx::query_as(
        "SELECT first_position_at($1), first_position_at($2), (SELECT coalesce(max(position), 0) FROM log)",
    )
    .bind(from)
    .bind(to)
    .fetch_one(pool)
    .await
    .map_err(unavailable)?;
    Ok((from.and_then(unsigned), to.and_then(unsigned), unsigned(head).unwrap_or(0)))
}

fn select(filter: &EventFilter, window: Window, limit: usize) -> QueryBuilder<'_, Postgres> {
    let mut sql = QueryBuilder::new(
        "SELECT p.*, h.head FROM (SELECT coalesce(max(position), 0) AS head FROM log) h LEFT JOIN (SELECT ",
    );
    sql.push(COLUMNS);
    if reading::reads_by_key(filter) {
        let types: Vec<i16> =
            reading::wanted_types(filter).iter().map(|of| kinds::number_of_type(*of)).collect();
        sql.push(" FROM unnest(").push_bind(types);
        sql.push("::smallint[]) AS wanted_type CROSS JOIN unnest(")
            .push_bind(filter.aggregate_ids.as_slice());
        sql.push(
            "::uuid[]) AS wanted_id CROSS JOIN LATERAL (SELECT * FROM log
             WHERE aggregate_type = wanted_type AND aggregate_id = wanted_id OFFSET 0) l WHERE true",
        );
    } else {
        sql.push(" FROM log l WHERE true");
        if !filter.aggregate_types.is_empty() {
            // In the text, where the planner sees which tables need not be looked at. There are few such lists.
            let types: Vec<String> = filter
                .aggregate_types
                .iter()
                .map(|of| kinds::number_of_type(*of).to_string())
                .collect();
            sql.push(format!(" AND l.aggregate_type IN ({})", types.join(", ")));
        }
        if !filter.aggregate_ids.is_empty() {
            sql.push(" AND l.aggregate_id = ANY(")
                .push_bind(filter.aggregate_ids.as_slice())
                .push(")");
        }
    }
    sql.push(" AND l.position > ").push_bind(signed(window.after));
    sql.push(" AND l.position <= ").push_bind(signed(window.to));
    if !(filter.event_types.is_empty()
        && filter.workspace_ids.is_empty()
        && filter.account_ids.is_empty())
    {
        sql.push(" AND l.kind = ANY(ARRAY(SELECT k.id FROM event_kinds k WHERE true");
        if !filter.event_types.is_empty() {
            sql.push(" AND k.event_type = ANY(").push_bind(filter.event_types.as_slice()).push(")");
        }
        for (column, ids) in
            [("workspace_id", &filter.workspace_ids), ("account_id", &filter.account_ids)]
        {
            if !ids.is_empty() {
                sql.push(format!(" AND k.{column} = ANY(")).push_bind(ids.as_slice()).push(")");
            }
        }
        sql.push("))");
    }
    if let Some(from) = filter.recorded_from {
        sql.push(" AND l.recorded_at >= ").push_bind(from);
    }
    if let Some(to) = filter.recorded_to {
        sql.push(" AND l.recorded_at < ").push_bind(to);
    }
    if let Some(correlation_id) = filter.correlation_id {
        sql.push(" AND l.correlation_id = ").push_bind(correlation_id);
    }
    sql.push(" ORDER BY l.position LIMIT ").push_bind(signed(limit as u64)).push(") p ON true");
    sql
}

/// Rows that begin with [`COLUMNS`].
async fn events(
    pool: &PgPool,
    kinds: &Kinds,
    rows: &[PgRow],
) -> Result<Vec<StoredEvent>, LogError> {
    let rows: Vec<Raw> = rows.iter().map(raw).collect::<Result<_, _>>().map_err(unavailable)?;
    let found = kinds::find(pool, kinds, rows.iter().map(|row| row.kind)).await?;
    let is_foreign = |row: &&Raw| matches!(found.get(&row.kind), Some(Found::Foreign(_)));
    let foreign: Vec<i64> = rows.iter().filter(is_foreign).map(|row| row.position).collect();
    let metadata =
        if foreign.is_empty() { HashMap::new() } else { foreign_metadata(pool, &foreign).await? };
    rows.into_iter().map(|row| row.decode(&found, &metadata)).collect()
}

async fn foreign_metadata(
    pool: &PgPool,
    positions: &[i64],
) -> Result<HashMap<i64, String>, LogError> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT position, metadata::text FROM foreign_metadata WHERE position = ANY($1)",
    )
    .bind(positions)
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    Ok(rows.into_iter().collect())
}

/// A row as it stands in the table.
struct Raw {
    position: i64,
    kind: i32,
    aggregate_id: Uuid,
    sequence: i32,
    event_id: Uuid,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    subject: Option<Uuid>,
    occurred_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
    payload: String,
}

fn raw(row: &PgRow) -> Result<Raw, sqlx::Error> {
    Ok(Raw {
        position: row.try_get(0)?,
        kind: row.try_get(1)?,
        aggregate_id: row.try_get(2)?,
        sequence: row.try_get(3)?,
        event_id: row.try_get(4)?,
        correlation_id: row.try_get(5)?,
        causation_id: row.try_get(6)?,
        subject: row.try_get(7)?,
        occurred_at: row.try_get(8)?,
        recorded_at: row.try_get(9)?,
        payload: row.try_get(10)?,
    })
}

impl Raw {
    fn decode(
        self,
        kinds: &HashMap<i32, Found>,
        foreign: &HashMap<i64, String>,
    ) -> Result<StoredEvent, LogError> {
        let position = self.position;
        let corrupt = |what: &str| LogError::Corrupt(format!("{what} at position {position}"));
        let (kind, metadata) = match kinds.get(&self.kind) {
            Some(Found::Own(kind)) => {
                let metadata = Metadata {
                    actor: kind.actor.clone(),
                    correlation_id: self.correlation_id,
                    causation_id: self.causation_id,
                    subject: self.subject,
                };
                (kind, metadata)
            }
            Some(Found::Foreign(kind)) => {
                let metadata =
                    foreign.get(&position).and_then(|json| metadata(json, self.event_id));
                (kind, metadata.ok_or_else(|| corrupt("metadata that this version cannot read"))?)
            }
            None => return Err(corrupt("a kind of event that is not there")),
        };
        Ok(StoredEvent {
            position: Position(unsigned(position).ok_or_else(|| corrupt("a negative position"))?),
            event_id: self.event_id,
            stream: StreamId { aggregate_type: kind.aggregate_type, id: self.aggregate_id },
            sequence: u64::try_from(self.sequence).map_err(|_| corrupt("a negative sequence"))?,
            event_type: kind.event_type.clone(),
            event_version: kind.event_version,
            payload: self.payload,
            metadata,
            workspace_id: kind.workspace_id,
            account_id: kind.account_id,
            occurred_at: self.occurred_at,
            recorded_at: self.recorded_at,
        })
    }
}

/// Who and why, as this gateway writes it. Stock cqrs-es writes texts by name and knows of neither: such an event begins a
/// thread of its own.
fn metadata(json: &str, event_id: Uuid) -> Option<Metadata> {
    if let Ok(metadata) = serde_json::from_str(json) {
        return Some(metadata);
    }
    let texts: HashMap<String, String> = serde_json::from_str(json).ok()?;
    let is_ours = texts.contains_key("actor") || texts.contains_key("correlation_id");
    (!is_ours).then(|| Metadata {
        actor: Actor::system("cqrs-es"),
        correlation_id: event_id,
        causation_id: None,
        subject: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_ours_or_that_of_stock_cqrs_es_or_corrupt() {
        let id = Uuid::from_u128(7);
        let ours = Metadata {
            actor: Actor::whatsapp(),
            correlation_id: Uuid::from_u128(1),
            causation_id: None,
            subject: Some(id),
        };
        let json = serde_json::to_string(&ours).unwrap();
        assert_eq!(metadata(&json, id), Some(ours));
        for stock in ["{}", r#"{"user":"ann"}"#] {
            let found = metadata(stock, id).unwrap();
            assert_eq!((found.actor, found.correlation_id), (Actor::system("cqrs-es"), id));
        }
        let broken =
            ["", "[]", "null", r#"{"user":7}"#, r#"{"actor":"x"}"#, r#"{"correlation_id":"x"}"#];
        assert!(broken.iter().all(|json| metadata(json, id).is_none()));
    }
}
