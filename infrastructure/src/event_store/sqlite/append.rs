//! One batch of units, in one transaction. Each unit is checked as a whole before any of it is written, and no two touch
//! the same thing, so a unit that is turned away leaves nothing behind and its neighbours alone.

use chrono::{DateTime, Utc};
use domain::port::{
    AppendOutcome, AppendUnit, Fence, IdempotencyRecord, IdentityChange, NewDataKey, NewEvent,
    Position, StreamAppend,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::super::reading::{signed, unsigned};
use super::kinds::{self, KindOf, Kinds, Numbered};
use super::read::{BACK_MAX, number_of_type, time_of, uuid};

/// What came of a batch. Nothing of it holds before the transaction is committed.
pub(super) struct Written {
    /// In the order of the units.
    pub outcomes: Vec<AppendOutcome>,
    pub head: u64,
    /// To be learnt.
    pub kinds: Vec<Numbered>,
}

pub(super) fn units(
    tx: &Transaction<'_>,
    units: &[AppendUnit],
    now: DateTime<Utc>,
    kinds: &Kinds,
) -> rusqlite::Result<Written> {
    let last: Option<(i64, i64)> = tx
        .prepare_cached("SELECT position, recorded_at FROM log ORDER BY position DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (head, recorded_last) = last.unwrap_or((0, i64::MIN));
    let mut batch = Batch {
        tx,
        head,
        recorded_at: now.timestamp_millis().max(recorded_last),
        kinds: kinds::Writer::new(tx, kinds)?,
        // The last event with it: an index each, and the rows they point to.
        find_stream: tx.prepare_cached(
            "SELECT s.id, s.correlation_id, l.sequence, l.position, l.event_id
             FROM streams AS s CROSS JOIN log AS l ON l.stream = s.id
             WHERE s.aggregate_id = ?1 AND s.aggregate_type = ?2 ORDER BY l.sequence DESC LIMIT 1",
        )?,
        insert_stream: tx.prepare_cached(
            "INSERT INTO streams (aggregate_id, aggregate_type, correlation_id) VALUES (?1, ?2, ?3)",
        )?,
        insert_event: tx.prepare_cached(
            "INSERT INTO log (position, stream, sequence, kind, event_id, correlation_id, causation, subject, lag,
                              recorded_at, payload)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?,
    };
    let outcomes = units
        .iter()
        .map(|unit| match batch.check(unit)? {
            Err(refusal) => Ok(refusal),
            Ok(streams) => batch.take(unit, streams),
        })
        .collect::<rusqlite::Result<_>>()?;
    Ok(Written {
        outcomes,
        head: unsigned(batch.head).unwrap_or(0),
        kinds: batch.kinds.into_fresh(),
    })
}

struct Batch<'a> {
    tx: &'a Transaction<'a>,
    head: i64,
    /// Milliseconds.
    recorded_at: i64,
    kinds: kinds::Writer<'a>,
    find_stream: CachedStatement<'a>,
    insert_stream: CachedStatement<'a>,
    insert_event: CachedStatement<'a>,
}

/// A stream as it is in the file.
struct Stream {
    number: i64,
    /// Of its first event.
    correlation_id: Uuid,
    sequence: i64,
    last: Place,
}

/// Where an event stands.
#[derive(Clone, Copy)]
struct Place {
    position: i64,
    event_id: Uuid,
}

impl Batch<'_> {
    /// Why the unit is turned away, or its streams as they are, in order; `None`: not there yet.
    ///
    /// The order is part of the contract: a replay is told even where everything else has moved on.
    fn check(
        &mut self,
        unit: &AppendUnit,
    ) -> rusqlite::Result<Result<Vec<Option<Stream>>, AppendOutcome>> {
        if let Some(refusal) = turned_away_at_once(self.tx, unit)? {
            return Ok(Err(refusal));
        }
        let mut streams = Vec::with_capacity(unit.streams.len());
        let mut stale = Vec::new();
        for append in &unit.streams {
            let stream = self.find_stream(append)?;
            if stream.as_ref().map_or(0, |stream| stream.sequence) != signed(append.expected) {
                stale.push(append.stream);
            }
            streams.push(stream);
        }
        if !stale.is_empty() {
            return Ok(Err(AppendOutcome::Stale { streams: stale }));
        }
        Ok(match turned_away_beside(self.tx, unit)? {
            Some(refusal) => Err(refusal),
            None => Ok(streams),
        })
    }

    fn find_stream(&mut self, append: &StreamAppend) -> rusqlite::Result<Option<Stream>> {
        self.find_stream
            .query_row(
                params![append.stream.id.as_bytes(), number_of_type(append.stream.aggregate_type)],
                |row| {
                    Ok(Stream {
                        number: row.get(0)?,
                        correlation_id: uuid(row, 1)?,
                        sequence: row.get(2)?,
                        last: Place { position: row.get(3)?, event_id: uuid(row, 4)? },
                    })
                },
            )
            .optional()
    }

    fn take(
        &mut self,
        unit: &AppendUnit,
        streams: Vec<Option<Stream>>,
    ) -> rusqlite::Result<AppendOutcome> {
        let before = self.head;
        for (append, stream) in unit.streams.iter().zip(streams) {
            self.insert_events(append, stream)?;
        }
        write_beside(self.tx, unit, self.recorded_at, self.head)?;
        let position = |at: i64| Position(unsigned(at).unwrap_or(0));
        let first = if self.head > before { before + 1 } else { self.head };
        Ok(AppendOutcome::Appended {
            first: position(first),
            last: position(self.head),
            recorded_at: time_of(self.recorded_at),
        })
    }

    fn insert_events(
        &mut self,
        append: &StreamAppend,
        stream: Option<Stream>,
    ) -> rusqlite::Result<()> {
        let Some(first) = append.events.first() else { return Ok(()) };
        let (stream, correlation_id, mut last) = match stream {
            Some(stream) => (stream.number, stream.correlation_id, Some(stream.last)),
            None => {
                let correlation_id = first.metadata.correlation_id;
                self.insert_stream.execute(params![
                    append.stream.id.as_bytes(),
                    number_of_type(append.stream.aggregate_type),
                    correlation_id.as_bytes()
                ])?;
                (self.tx.last_insert_rowid(), correlation_id, None)
            }
        };
        let mut sequence = signed(append.expected);
        for event in &append.events {
            self.head += 1;
            sequence += 1;
            let kind = KindOf {
                aggregate_type: append.stream.aggregate_type,
                event_type: &event.event_type,
                event_version: event.event_version,
                actor: &event.metadata.actor,
                workspace_id: append.workspace_id,
                account_id: append.account_id,
            };
            let kind = self.kinds.number(self.tx, kind)?;
            let own_correlation =
                Some(&event.metadata.correlation_id).filter(|id| **id != correlation_id);
            let insert = &mut self.insert_event;
            insert.raw_bind_parameter(1, self.head)?;
            insert.raw_bind_parameter(2, stream)?;
            insert.raw_bind_parameter(3, sequence)?;
            insert.raw_bind_parameter(4, kind)?;
            insert.raw_bind_parameter(5, event.event_id.as_bytes())?;
            insert.raw_bind_parameter(6, own_correlation.map(Uuid::as_bytes))?;
            match back(event, last, self.head) {
                Some(back) => insert.raw_bind_parameter(7, back)?,
                None => insert.raw_bind_parameter(
                    7,
                    event.metadata.causation_id.as_ref().map(Uuid::as_bytes),
                )?,
            }
            insert.raw_bind_parameter(8, event.metadata.subject.as_ref().map(Uuid::as_bytes))?;
            insert
                .raw_bind_parameter(9, self.recorded_at - event.occurred_at.timestamp_millis())?;
            insert.raw_bind_parameter(10, self.recorded_at)?;
            insert.raw_bind_parameter(11, event.payload.as_str())?;
            insert.raw_execute()?;
            last = Some(Place { position: self.head, event_id: event.event_id });
        }
        Ok(())
    }
}

/// What is said of a unit before anybody looks at its streams: a replay is told even where everything else has moved on.
pub(in super::super) fn turned_away_at_once(
    connection: &Connection,
    unit: &AppendUnit,
) -> rusqlite::Result<Option<AppendOutcome>> {
    if let Some(wanted) = &unit.idempotency
        && let Some(record) = find_idempotency(connection, &wanted.key_hash)?
    {
        return Ok(Some(AppendOutcome::Replayed { record }));
    }
    if let Some(fence) = &unit.fence
        && !holds(connection, fence)?
    {
        return Ok(Some(AppendOutcome::Fenced));
    }
    Ok(None)
}

/// What is said of a unit whose streams are as it expects.
pub(in super::super) fn turned_away_beside(
    connection: &Connection,
    unit: &AppendUnit,
) -> rusqlite::Result<Option<AppendOutcome>> {
    // Events sealed with a key that lost against another could never be read.
    for key in &unit.new_keys {
        if has_another_key(connection, key)? {
            let streams = unit.streams.iter().map(|append| append.stream).collect();
            return Ok(Some(AppendOutcome::Stale { streams }));
        }
    }
    taken_identity(connection, &unit.identities)
}

/// Writes what a unit that was taken holds beside its events. `position` is of the last of them.
pub(in super::super) fn write_beside(
    connection: &Connection,
    unit: &AppendUnit,
    at_ms: i64,
    position: i64,
) -> rusqlite::Result<()> {
    change_identities(connection, &unit.identities)?;
    for key in &unit.new_keys {
        connection
            .prepare_cached(
                "INSERT INTO data_keys (subject, wrapped) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![key.subject.as_bytes(), key.wrapped])?;
    }
    for subject in &unit.destroy_keys {
        destroy_key(connection, *subject, at_ms)?;
    }
    for secret in &unit.secrets {
        put_secret(connection, &secret.name, secret.sealed.as_deref(), at_ms)?;
    }
    if let Some(record) = &unit.idempotency {
        connection
            .prepare_cached(
                "INSERT INTO idempotency (key_hash, input_hash, result, position, recorded_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                record.key_hash,
                record.input_hash,
                record.result,
                position,
                record.recorded_at.timestamp_millis()
            ])?;
    }
    Ok(())
}

fn holds(connection: &Connection, fence: &Fence) -> rusqlite::Result<bool> {
    let epoch: Option<i64> = connection
        .prepare_cached("SELECT epoch FROM leases WHERE name = ?1")?
        .query_row([&fence.lease], |row| row.get(0))
        .optional()?;
    Ok(epoch == Some(fence.epoch))
}

fn has_another_key(connection: &Connection, key: &NewDataKey) -> rusqlite::Result<bool> {
    let wrapped: Option<Option<Vec<u8>>> = connection
        .prepare_cached("SELECT wrapped FROM data_keys WHERE subject = ?1")?
        .query_row([key.subject.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(wrapped.is_some_and(|wrapped| wrapped.as_ref() != Some(&key.wrapped)))
}

fn taken_identity(
    connection: &Connection,
    changes: &[IdentityChange],
) -> rusqlite::Result<Option<AppendOutcome>> {
    for (index, change) in changes.iter().enumerate() {
        let IdentityChange::Claim { workspace_id, kind, hash, holder } = change else {
            continue;
        };
        let Some(existing) = find_identity(connection, *workspace_id, kind, hash)? else {
            continue;
        };
        let released = IdentityChange::Release {
            workspace_id: *workspace_id,
            kind: kind.clone(),
            hash: hash.clone(),
            holder: existing,
        };
        if existing != *holder && !changes.contains(&released) {
            return Ok(Some(AppendOutcome::IdentityTaken { index, holder: existing }));
        }
    }
    Ok(None)
}

fn change_identities(connection: &Connection, changes: &[IdentityChange]) -> rusqlite::Result<()> {
    for change in changes {
        if let IdentityChange::Release { workspace_id, kind, hash, holder } = change {
            connection
                .prepare_cached(
                    "DELETE FROM identities
                     WHERE workspace_id = ?1 AND kind = ?2 AND hash = ?3 AND holder = ?4",
                )?
                .execute(params![workspace_id.as_bytes(), kind, hash, holder.as_bytes()])?;
        }
    }
    for change in changes {
        if let IdentityChange::Claim { workspace_id, kind, hash, holder } = change {
            connection
                .prepare_cached(
                    "INSERT INTO identities (workspace_id, kind, hash, holder) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    workspace_id.as_bytes(),
                    kind,
                    hash,
                    holder.as_bytes()
                ])?;
        }
    }
    Ok(())
}

/// How far back the event stands that caused this one, where that is the stream's last and near.
fn back(event: &NewEvent, last: Option<Place>, position: i64) -> Option<i64> {
    let last = last.filter(|last| event.metadata.causation_id == Some(last.event_id))?;
    Some(position - last.position).filter(|back| *back <= BACK_MAX)
}

pub(super) fn find_idempotency(
    connection: &Connection,
    key_hash: &[u8],
) -> rusqlite::Result<Option<IdempotencyRecord>> {
    connection
        .prepare_cached(
            "SELECT input_hash, result, position, recorded_at FROM idempotency WHERE key_hash = ?1",
        )?
        .query_row([key_hash], |row| {
            Ok(IdempotencyRecord {
                key_hash: key_hash.to_vec(),
                input_hash: row.get(0)?,
                result: row.get(1)?,
                position: Position(unsigned(row.get(2)?).unwrap_or(0)),
                recorded_at: time_of(row.get(3)?),
            })
        })
        .optional()
}

pub(super) fn find_identity(
    connection: &Connection,
    workspace_id: Uuid,
    kind: &str,
    hash: &[u8],
) -> rusqlite::Result<Option<Uuid>> {
    connection
        .prepare_cached(
            "SELECT holder FROM identities WHERE workspace_id = ?1 AND kind = ?2 AND hash = ?3",
        )?
        .query_row(params![workspace_id.as_bytes(), kind, hash], |row| uuid(row, 0))
        .optional()
}

pub(super) fn destroy_key(
    connection: &Connection,
    subject: Uuid,
    at_ms: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO data_keys (subject, destroyed_at) VALUES (?1, ?2)
             ON CONFLICT (subject) DO UPDATE SET wrapped = NULL, destroyed_at = excluded.destroyed_at
                 WHERE data_keys.destroyed_at IS NULL",
        )?
        .execute(params![subject.as_bytes(), at_ms])
        .map(drop)
}

pub(super) fn put_secret(
    connection: &Connection,
    name: &str,
    sealed: Option<&[u8]>,
    at_ms: i64,
) -> rusqlite::Result<()> {
    match sealed {
        Some(sealed) => connection
            .prepare_cached(
                "INSERT INTO secrets (name, sealed, updated_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at",
            )?
            .execute(params![name, sealed, at_ms]),
        None => connection.prepare_cached("DELETE FROM secrets WHERE name = ?1")?.execute([name]),
    }
    .map(drop)
}
