//! Reading the log in PostgreSQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::port::{
    AggregateType, EventFilter, LogError, LogPage, Metadata, Position, StoredEvent, StreamId,
};
use domain::primitives::Actor;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::super::error::unavailable;
use super::super::reading::{self, Window, signed, unsigned};

const COLUMNS: &str = "e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, \
                       e.payload::text AS payload, e.metadata::text AS metadata, e.position, e.event_id, \
                       e.workspace_id, e.account_id, e.occurred_at, e.recorded_at";

pub(super) async fn head(pool: &PgPool) -> Result<Position, LogError> {
    let head: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM events")
        .fetch_one(pool)
        .await
        .map_err(unavailable)?;
    Ok(Position(head.and_then(unsigned).unwrap_or(0)))
}

pub(super) async fn streams(
    pool: &PgPool,
    streams: &[StreamId],
) -> Result<Vec<StoredEvent>, LogError> {
    let types: Vec<&str> = streams.iter().map(|stream| stream.aggregate_type.as_str()).collect();
    let ids: Vec<String> = streams.iter().map(|stream| stream.id.to_string()).collect();
    // OFFSET 0 keeps the planner from turning this inside out: one look-up by key for each stream, at any size.
    let sql = format!(
        "SELECT {COLUMNS} FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (type, id, n)
         CROSS JOIN LATERAL (
             SELECT * FROM events WHERE aggregate_type = wanted.type AND aggregate_id = wanted.id
             ORDER BY sequence OFFSET 0) e
         ORDER BY wanted.n, e.sequence"
    );
    let rows =
        sqlx::query(&sql).bind(types).bind(ids).fetch_all(pool).await.map_err(unavailable)?;
    rows.iter().map(event).collect()
}

pub(super) async fn stream_page(
    pool: &PgPool,
    stream: StreamId,
    after_sequence: u64,
    limit: usize,
) -> Result<Vec<StoredEvent>, LogError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events e
         WHERE e.aggregate_type = $1 AND e.aggregate_id = $2 AND e.sequence > $3 ORDER BY e.sequence LIMIT $4"
    );
    let rows = sqlx::query(&sql)
        .bind(stream.aggregate_type.as_str())
        .bind(stream.id.to_string())
        .bind(signed(after_sequence))
        .bind(signed(limit as u64))
        .fetch_all(pool)
        .await
        .map_err(unavailable)?;
    rows.iter().map(event).collect()
}

pub(super) async fn all(
    pool: &PgPool,
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
    let rows = select(filter, window, limit).build().fetch_all(pool).await.map_err(unavailable)?;
    // The head of the same moment comes with every row, and with a row of nothing else where no event matched.
    let head: i64 = match rows.first() {
        Some(row) => row.try_get("head").map_err(unavailable)?,
        None => 0,
    };
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.try_get::<Option<i64>, _>("position").map_err(unavailable)?.is_some() {
            events.push(event(row)?);
        }
    }
    Ok(reading::page(events, limit, after, window, unsigned(head).unwrap_or(0)))
}

/// The first positions recorded at or after these moments, and the head as of the same moment.
async fn bounds(
    pool: &PgPool,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<(Option<u64>, Option<u64>, u64), LogError> {
    let (from, to, head): (Option<i64>, Option<i64>, i64) = sqlx::query_as(
        "SELECT first_position_at($1), first_position_at($2), (SELECT coalesce(max(position), 0) FROM events)",
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
        "SELECT h.head, p.* FROM (SELECT coalesce(max(position), 0) AS head FROM events) h LEFT JOIN (SELECT ",
    );
    sql.push(COLUMNS);
    if reading::reads_by_key(filter) {
        sql.push(" FROM unnest(").push_bind(reading::aggregate_types(filter));
        let ids: Vec<String> = filter.aggregate_ids.iter().map(ToString::to_string).collect();
        sql.push("::text[]) AS wanted_type CROSS JOIN unnest(").push_bind(ids);
        sql.push(
            "::text[]) AS wanted_id CROSS JOIN LATERAL (SELECT * FROM events
             WHERE aggregate_type = wanted_type AND aggregate_id = wanted_id OFFSET 0) e WHERE e.position > ",
        );
        sql.push_bind(signed(window.after))
            .push(" AND e.position <= ")
            .push_bind(signed(window.to));
    } else {
        // OFFSET 0: walk the positions of the window and stop at the limit, whatever the filters promise.
        sql.push(" FROM (SELECT * FROM events WHERE position > ").push_bind(signed(window.after));
        sql.push(" AND position <= ").push_bind(signed(window.to));
        sql.push(" ORDER BY position OFFSET 0) e WHERE true");
        if !filter.aggregate_types.is_empty() {
            sql.push(" AND e.aggregate_type = ANY(")
                .push_bind(reading::aggregate_types(filter))
                .push(")");
        }
        if !filter.aggregate_ids.is_empty() {
            let ids: Vec<String> = filter.aggregate_ids.iter().map(ToString::to_string).collect();
            sql.push(" AND e.aggregate_id = ANY(").push_bind(ids).push(")");
        }
    }
    if !filter.event_types.is_empty() {
        sql.push(" AND e.event_type = ANY(").push_bind(filter.event_types.as_slice()).push(")");
    }
    if !filter.workspace_ids.is_empty() {
        sql.push(" AND e.workspace_id = ANY(").push_bind(filter.workspace_ids.as_slice()).push(")");
    }
    if !filter.account_ids.is_empty() {
        sql.push(" AND e.account_id = ANY(").push_bind(filter.account_ids.as_slice()).push(")");
    }
    if let Some(from) = filter.recorded_from {
        sql.push(" AND e.recorded_at >= ").push_bind(from);
    }
    if let Some(to) = filter.recorded_to {
        sql.push(" AND e.recorded_at < ").push_bind(to);
    }
    if let Some(correlation_id) = filter.correlation_id {
        sql.push(" AND e.metadata ->> 'correlation_id' = ").push_bind(correlation_id.to_string());
    }
    sql.push(" ORDER BY e.position LIMIT ").push_bind(signed(limit as u64));
    sql.push(") p ON true ORDER BY p.position");
    sql
}

fn event(row: &PgRow) -> Result<StoredEvent, LogError> {
    fields(row).map_err(unavailable)?.decode()
}

fn fields(row: &PgRow) -> Result<Fields, sqlx::Error> {
    Ok(Fields {
        aggregate_type: row.try_get("aggregate_type")?,
        aggregate_id: row.try_get("aggregate_id")?,
        sequence: row.try_get("sequence")?,
        event_type: row.try_get("event_type")?,
        event_version: row.try_get("event_version")?,
        payload: row.try_get("payload")?,
        metadata: row.try_get("metadata")?,
        position: row.try_get("position")?,
        event_id: row.try_get("event_id")?,
        workspace_id: row.try_get("workspace_id")?,
        account_id: row.try_get("account_id")?,
        occurred_at: row.try_get("occurred_at")?,
        recorded_at: row.try_get("recorded_at")?,
    })
}

/// A row as it stands in the table.
struct Fields {
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: String,
    metadata: String,
    position: i64,
    event_id: Uuid,
    workspace_id: Option<Uuid>,
    account_id: Option<Uuid>,
    occurred_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
}

impl Fields {
    fn decode(self) -> Result<StoredEvent, LogError> {
        let position = self.position;
        let corrupt = |what: &str| LogError::Corrupt(format!("{what} at position {position}"));
        let aggregate_type = AggregateType::parse(&self.aggregate_type)
            .ok_or_else(|| corrupt(&format!("aggregate type {}", self.aggregate_type)))?;
        let id = Uuid::try_parse(&self.aggregate_id)
            .map_err(|_| corrupt("an aggregate id that is no UUID"))?;
        // Stock cqrs-es also writes versions like 1.0.
        let version = self.event_version.split('.').next().unwrap_or_default();
        Ok(StoredEvent {
            position: Position(
                unsigned(self.position).ok_or_else(|| corrupt("a negative position"))?,
            ),
            event_id: self.event_id,
            stream: StreamId { aggregate_type, id },
            sequence: unsigned(self.sequence).ok_or_else(|| corrupt("a negative sequence"))?,
            event_type: self.event_type,
            event_version: version
                .parse()
                .map_err(|_| corrupt(&format!("event version {}", self.event_version)))?,
            payload: self.payload,
            metadata: metadata(&self.metadata, self.event_id)
                .ok_or_else(|| corrupt("metadata that this version cannot read"))?,
            workspace_id: self.workspace_id,
            account_id: self.account_id,
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
