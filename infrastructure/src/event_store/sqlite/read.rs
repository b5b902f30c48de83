//! Reading the log in a SQLite file. Lists are bound as JSON, so that a statement's text, and with it its prepared form,
//! depends on which filters are used and not on how many values they have.

use chrono::{DateTime, Utc};
use domain::port::{EventFilter, LogError, LogPage, Metadata, Position, StoredEvent, StreamId};
use rusqlite::types::{Type, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Rows, params, params_from_iter};
use uuid::Uuid;

pub(super) use super::super::reading::number_of_type;
use super::super::reading::{self, signed, unsigned};
use super::kinds::{self, Kinds};

/// Causes further back are written as ids: two bytes hold the distance to the others, most of which a reader has just
/// read.
pub(super) const BACK_MAX: i64 = 32_767;

const COLUMNS: &str = "l.position, l.kind, s.aggregate_id, l.sequence, l.payload, \
                       coalesce(l.correlation_id, s.correlation_id), l.causation, l.subject, l.event_id, l.lag, \
                       l.recorded_at";

type Read<T> = rusqlite::Result<Result<T, LogError>>;

pub(super) fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let head: Option<i64> = connection
        .prepare_cached("SELECT max(position) FROM log")?
        .query_row([], |row| row.get(0))?;
    Ok(head.and_then(unsigned).unwrap_or(0))
}

pub(super) fn streams(
    connection: &Connection,
    kinds: &Kinds,
    streams: &[StreamId],
) -> Read<Vec<StoredEvent>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM streams AS s CROSS JOIN log AS l ON l.stream = s.id
         WHERE s.aggregate_id = ?1 AND s.aggregate_type = ?2 ORDER BY l.sequence"
    ))?;
    let mut decoder = Decoder::new(connection, kinds);
    for stream in streams {
        let rows = statement
            .query(params![stream.id.as_bytes(), number_of_type(stream.aggregate_type)])?;
        if let Err(error) = decoder.take(rows)? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(decoder.events))
}

pub(super) fn stream_page(
    connection: &Connection,
    kinds: &Kinds,
    stream: StreamId,
    after_sequence: u64,
    limit: usize,
) -> Read<Vec<StoredEvent>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM streams AS s CROSS JOIN log AS l ON l.stream = s.id
         WHERE s.aggregate_id = ?1 AND s.aggregate_type = ?2 AND l.sequence > ?3 ORDER BY l.sequence LIMIT ?4"
    ))?;
    let rows = statement.query(params![
        stream.id.as_bytes(),
        number_of_type(stream.aggregate_type),
        signed(after_sequence),
        signed(limit as u64)
    ])?;
    let mut decoder = Decoder::new(connection, kinds);
    Ok(decoder.take(rows)?.map(|()| decoder.events))
}

pub(super) fn all(
    connection: &Connection,
    kinds: &Kinds,
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
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query(params_from_iter(values))?;
    let mut decoder = Decoder::new(connection, kinds);
    Ok(decoder.take(rows)?.map(|()| reading::page(decoder.events, limit, after, window, head)))
}

/// CROSS JOIN keeps the order of the tables: the streams first where they are known, else the log by position, a look-up
/// by key in the others for each row.
fn select(filter: &EventFilter, window: reading::Window, limit: usize) -> (String, Vec<Value>) {
    let by_key = reading::reads_by_key(filter);
    // The plus keeps SQLite from walking the positions where the streams are known.
    let position = if by_key { "+l.position" } else { "l.position" };
    let by_kind = !(filter.event_types.is_empty()
        && filter.workspace_ids.is_empty()
        && filter.account_ids.is_empty()
        && (by_key || filter.aggregate_types.is_empty()));
    let kinds = if by_kind { " CROSS JOIN kinds AS k ON k.id = l.kind" } else { "" };
    let tables = if by_key {
        format!("streams AS s CROSS JOIN log AS l ON l.stream = s.id{kinds}")
    } else {
        format!("log AS l{kinds} CROSS JOIN streams AS s ON s.id = l.stream")
    };
    let mut sql =
        format!("SELECT {COLUMNS} FROM {tables} WHERE {position} > ?1 AND {position} <= ?2");
    let mut values = vec![Value::Integer(signed(window.after)), Value::Integer(signed(window.to))];
    let mut one_of = |column: &str, value: &str, list: String| {
        values.push(Value::Text(list));
        let n = values.len();
        sql.push_str(&format!(" AND {column} IN (SELECT {value} FROM json_each(?{n}))"));
    };
    if by_key {
        let types: Vec<i64> = filter.aggregate_types.iter().map(|of| number_of_type(*of)).collect();
        if !types.is_empty() {
            one_of("s.aggregate_type", "value", json(&types));
        }
    } else if !filter.aggregate_types.is_empty() {
        one_of("k.aggregate_type", "value", json(&reading::aggregate_types(filter)));
    }
    for (column, ids) in [
        ("s.aggregate_id", &filter.aggregate_ids),
        ("k.workspace_id", &filter.workspace_ids),
        ("k.account_id", &filter.account_ids),
    ] {
        if !ids.is_empty() {
            one_of(column, "unhex(value, '-')", json(ids));
        }
    }
    if !filter.event_types.is_empty() {
        one_of("k.event_type", "value", json(&filter.event_types));
    }
    let mut compare = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {condition} ?{}", values.len()));
    };
    if let Some(from) = filter.recorded_from {
        compare("l.recorded_at >=", Value::Integer(from.timestamp_millis()));
    }
    if let Some(to) = filter.recorded_to {
        compare("l.recorded_at <", Value::Integer(to.timestamp_millis()));
    }
    if let Some(correlation_id) = filter.correlation_id {
        let id = Value::Blob(correlation_id.as_bytes().to_vec());
        compare("coalesce(l.correlation_id, s.correlation_id) =", id);
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
        "SELECT position, recorded_at FROM log WHERE position >= ?1 ORDER BY position LIMIT 1",
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

/// Rows of [`COLUMNS`] as events.
struct Decoder<'a> {
    connection: &'a Connection,
    kinds: kinds::Reader<'a>,
    events: Vec<StoredEvent>,
}

impl<'a> Decoder<'a> {
    fn new(connection: &'a Connection, kinds: &'a Kinds) -> Self {
        let kinds = kinds::Reader::new(connection, kinds);
        Self { connection, kinds, events: Vec::new() }
    }

    fn take(&mut self, mut rows: Rows<'_>) -> Read<()> {
        while let Some(row) = rows.next()? {
            match self.event(row)? {
                Ok(event) => self.events.push(event),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    fn event(&mut self, row: &rusqlite::Row<'_>) -> Read<StoredEvent> {
        let position: i64 = row.get(0)?;
        let corrupt =
            |what: &str| Ok(Err(LogError::Corrupt(format!("{what} at position {position}"))));
        let kind = match self.kinds.kind(row.get(1)?)? {
            Ok(kind) => kind,
            Err(error) => return Ok(Err(error)),
        };
        let (Some(place), Some(sequence)) = (unsigned(position), unsigned(row.get(3)?)) else {
            return corrupt("a negative position or sequence");
        };
        let causation_id = match row.get_ref(6)? {
            ValueRef::Null => None,
            ValueRef::Integer(back) => match self.event_id_at(position.saturating_sub(back))? {
                Some(event_id) => Some(event_id),
                None => return corrupt("a cause that is not in the log"),
            },
            _ => Some(uuid(row, 6)?),
        };
        let recorded_at: i64 = row.get(10)?;
        Ok(Ok(StoredEvent {
            position: Position(place),
            event_id: uuid(row, 8)?,
            stream: StreamId { aggregate_type: kind.aggregate_type, id: uuid(row, 2)? },
            sequence,
            event_type: kind.event_type.clone(),
            event_version: kind.event_version,
            payload: row.get(4)?,
            metadata: Metadata {
                actor: kind.actor.clone(),
                correlation_id: uuid(row, 5)?,
                causation_id,
                subject: row.get::<_, Option<[u8; 16]>>(7)?.map(Uuid::from_bytes),
            },
            workspace_id: kind.workspace_id,
            account_id: kind.account_id,
            occurred_at: time_of(recorded_at.saturating_sub(row.get(9)?)),
            recorded_at: time_of(recorded_at),
        }))
    }

    /// A cause is most often the row before in its stream, or a little earlier in the page.
    fn event_id_at(&self, position: i64) -> rusqlite::Result<Option<Uuid>> {
        let place = Position(unsigned(position).unwrap_or(0));
        let last = self.events.last().filter(|last| last.position == place);
        let read = last.or_else(|| {
            // Only pages of the log are in order; elsewhere this may miss, and never errs.
            let found = self.events.binary_search_by_key(&place, |event| event.position).ok()?;
            self.events.get(found)
        });
        if let Some(event) = read {
            return Ok(Some(event.event_id));
        }
        self.connection
            .prepare_cached("SELECT event_id FROM log WHERE position = ?1")?
            .query_row([position], |row| uuid(row, 0))
            .optional()
    }
}

pub(super) fn uuid(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Uuid::from_slice(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
    })
}

/// Milliseconds since 1970, as all times are stored here.
pub(super) fn time_of(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

fn json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).expect("a list of texts or numbers is JSON")
}
