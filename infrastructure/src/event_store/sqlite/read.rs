//! Reading the log in a SQLite file. Lists are bound as JSON, so that a statement's text, and with it its prepared form,
//! depends on which filters are used and not on how many values they have.

use chrono::{DateTime, Utc};
use domain::port::{EventFilter, LogError, LogPage, Position, StoredEvent, StreamId};
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use super::super::reading::{self, Row, signed, unsigned};

const COLUMNS: &str = "aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position, \
                       event_id, workspace_id, account_id, occurred_at, recorded_at";

type Read<T> = rusqlite::Result<Result<T, LogError>>;

pub(super) fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let head: Option<i64> = connection
        .prepare_cached("SELECT max(position) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(head.and_then(unsigned).unwrap_or(0))
}

pub(super) fn streams(connection: &Connection, streams: &[StreamId]) -> Read<Vec<StoredEvent>> {
    let wanted: Vec<(&str, String)> = streams
        .iter()
        .map(|stream| (stream.aggregate_type.as_str(), stream.id.to_string()))
        .collect();
    // CROSS JOIN keeps the list outside: one look-up by key for each stream.
    let sql = format!(
        "SELECT {COLUMNS} FROM json_each(?1) AS wanted CROSS JOIN events
         ON aggregate_type = wanted.value ->> 0 AND aggregate_id = wanted.value ->> 1
         ORDER BY wanted.key, sequence"
    );
    events(connection, &sql, [Value::Text(json(&wanted))])
}

pub(super) fn stream_page(
    connection: &Connection,
    stream: StreamId,
    after_sequence: u64,
    limit: usize,
) -> Read<Vec<StoredEvent>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE aggregate_type = ?1 AND aggregate_id = ?2 AND sequence > ?3
         ORDER BY sequence LIMIT ?4"
    );
    let values = [
        Value::Text(stream.aggregate_type.as_str().to_owned()),
        Value::Text(stream.id.to_string()),
        Value::Integer(signed(after_sequence)),
        Value::Integer(signed(limit as u64)),
    ];
    events(connection, &sql, values)
}

pub(super) fn all(
    connection: &Connection,
    after: Position,
    filter: &EventFilter,
    limit: usize,
) -> Read<LogPage> {
    let head = head(connection)?;
    let first_at = |at: Option<DateTime<Utc>>| {
        at.map(|at| first_position_at(connection, at, head)).transpose()
    };
    let (from, to) =
        (first_at(filter.recorded_from)?.flatten(), first_at(filter.recorded_to)?.flatten());
    let window = reading::window(after, filter, head, from, to);

    let (sql, values) = select(filter, window, limit);
    Ok(events(connection, &sql, values)?
        .map(|events| reading::page(events, limit, after, window, head)))
}

fn select(filter: &EventFilter, window: reading::Window, limit: usize) -> (String, Vec<Value>) {
    let by_key = reading::reads_by_key(filter);
    // The plus keeps SQLite from walking the positions where the streams are known.
    let position = if by_key { "+position" } else { "position" };
    let mut sql =
        format!("SELECT {COLUMNS} FROM events WHERE {position} > ?1 AND {position} <= ?2");
    let mut values = vec![Value::Integer(signed(window.after)), Value::Integer(signed(window.to))];
    let mut one_of = |column: &str, list: String| {
        values.push(Value::Text(list));
        sql.push_str(&format!(" AND {column} IN (SELECT value FROM json_each(?{}))", values.len()));
    };
    if by_key || !filter.aggregate_types.is_empty() {
        one_of("aggregate_type", json(&reading::aggregate_types(filter)));
    }
    for (column, ids) in [
        ("aggregate_id", &filter.aggregate_ids),
        ("workspace_id", &filter.workspace_ids),
        ("account_id", &filter.account_ids),
    ] {
        if !ids.is_empty() {
            one_of(column, json(ids));
        }
    }
    if !filter.event_types.is_empty() {
        one_of("event_type", json(&filter.event_types));
    }
    let mut compare = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {condition} ?{}", values.len()));
    };
    if let Some(from) = filter.recorded_from {
        compare("recorded_at >=", Value::Integer(from.timestamp_millis()));
    }
    if let Some(to) = filter.recorded_to {
        compare("recorded_at <", Value::Integer(to.timestamp_millis()));
    }
    if let Some(correlation_id) = filter.correlation_id {
        compare("metadata ->> '$.correlation_id' =", Value::Text(correlation_id.to_string()));
    }
    values.push(Value::Integer(signed(limit as u64)));
    sql.push_str(&format!(" ORDER BY {position} LIMIT ?{}", values.len()));
    (sql, values)
}

/// The first position recorded at or after `at`, by halving: `recorded_at` never decreases.
fn first_position_at(
    connection: &Connection,
    at: DateTime<Utc>,
    head: u64,
) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached(
        "SELECT position, recorded_at FROM events WHERE position >= ?1 ORDER BY position LIMIT 1",
    )?;
    let (mut low, mut high) = (1, head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = statement
            .query_row([signed(middle)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((position, recorded_at)) if recorded_at < at.timestamp_millis() => {
                low = unsigned(position).unwrap_or(0) + 1;
            }
            _ => high = middle,
        }
    }
    let first: Option<i64> =
        statement.query_row(params![signed(low)], |row| row.get(0)).optional()?;
    Ok(first.and_then(unsigned))
}

fn events(
    connection: &Connection,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Read<Vec<StoredEvent>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let row = Row {
            aggregate_type: row.get(0)?,
            aggregate_id: row.get(1)?,
            sequence: row.get(2)?,
            event_type: row.get(3)?,
            event_version: row.get(4)?,
            payload: row.get(5)?,
            metadata: row.get(6)?,
            position: row.get(7)?,
            event_id: parse_uuid(row, 8)?,
            workspace_id: parse_optional_uuid(row, 9)?,
            account_id: parse_optional_uuid(row, 10)?,
            occurred_at: time_of(row.get(11)?),
            recorded_at: time_of(row.get(12)?),
        };
        match row.decode() {
            Ok(event) => events.push(event),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(events))
}

pub(super) fn parse_uuid(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let text = row.get_ref(column)?.as_str()?;
    Uuid::try_parse(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

fn parse_optional_uuid(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => parse_uuid(row, column).map(Some),
    }
}

/// Milliseconds since 1970, as all times are stored here.
pub(super) fn time_of(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

fn json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).expect("a list of texts is JSON")
}
