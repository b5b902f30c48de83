//! One batch of units, in one transaction. Each unit is checked as a whole before any of it is written, and no two touch
//! the same thing, so a unit that is turned away leaves nothing behind and its neighbours alone.

use chrono::{DateTime, Utc};
use domain::port::{
    AppendOutcome, AppendUnit, Fence, IdempotencyRecord, IdentityChange, NewDataKey, Position,
    StreamAppend, StreamId,
};
use rusqlite::{OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::super::reading::{signed, unsigned};
use super::read::{parse_uuid, time_of};

/// Outcomes in the order of `units`, and where the head is afterwards.
pub(super) fn units(
    tx: &Transaction<'_>,
    units: &[AppendUnit],
    now: DateTime<Utc>,
) -> rusqlite::Result<(Vec<AppendOutcome>, u64)> {
    let last: Option<(i64, i64)> = tx
        .prepare_cached("SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (head, recorded_last) = last.unwrap_or((0, i64::MIN));
    let mut batch = Batch { tx, head, recorded_at: now.timestamp_millis().max(recorded_last) };
    let outcomes = units
        .iter()
        .map(|unit| match batch.refusal(unit)? {
            Some(refusal) => Ok(refusal),
            None => batch.take(unit),
        })
        .collect::<rusqlite::Result<_>>()?;
    Ok((outcomes, unsigned(batch.head).unwrap_or(0)))
}

struct Batch<'a> {
    tx: &'a Transaction<'a>,
    head: i64,
    /// Milliseconds.
    recorded_at: i64,
}

impl Batch<'_> {
    /// The order is part of the contract: a replay is told even where everything else has moved on.
    fn refusal(&self, unit: &AppendUnit) -> rusqlite::Result<Option<AppendOutcome>> {
        if let Some(wanted) = &unit.idempotency
            && let Some(record) = find_idempotency(self.tx, &wanted.key_hash)?
        {
            return Ok(Some(AppendOutcome::Replayed { record }));
        }
        if let Some(fence) = &unit.fence
            && !self.holds(fence)?
        {
            return Ok(Some(AppendOutcome::Fenced));
        }
        let streams = self.stale(&unit.streams)?;
        if !streams.is_empty() {
            return Ok(Some(AppendOutcome::Stale { streams }));
        }
        // Events sealed with a key that lost against another could never be read.
        for key in &unit.new_keys {
            if self.has_another_key(key)? {
                let streams = unit.streams.iter().map(|append| append.stream).collect();
                return Ok(Some(AppendOutcome::Stale { streams }));
            }
        }
        self.taken_identity(&unit.identities)
    }

    fn holds(&self, fence: &Fence) -> rusqlite::Result<bool> {
        let epoch: Option<i64> = self
            .tx
            .prepare_cached("SELECT epoch FROM leases WHERE name = ?1")?
            .query_row([&fence.lease], |row| row.get(0))
            .optional()?;
        Ok(epoch == Some(fence.epoch))
    }

    fn stale(&self, appends: &[StreamAppend]) -> rusqlite::Result<Vec<StreamId>> {
        let mut statement = self.tx.prepare_cached(
            "SELECT sequence FROM events WHERE aggregate_type = ?1 AND aggregate_id = ?2
             ORDER BY sequence DESC LIMIT 1",
        )?;
        let mut stale = Vec::new();
        for append in appends {
            let id = append.stream.id.to_string();
            let last: Option<i64> = statement
                .query_row(params![append.stream.aggregate_type.as_str(), id], |row| row.get(0))
                .optional()?;
            if last.unwrap_or(0) != signed(append.expected) {
                stale.push(append.stream);
            }
        }
        Ok(stale)
    }

    fn has_another_key(&self, key: &NewDataKey) -> rusqlite::Result<bool> {
        let wrapped: Option<Option<Vec<u8>>> = self
            .tx
            .prepare_cached("SELECT wrapped FROM data_keys WHERE subject = ?1")?
            .query_row([key.subject.to_string()], |row| row.get(0))
            .optional()?;
        Ok(wrapped.is_some_and(|wrapped| wrapped.as_ref() != Some(&key.wrapped)))
    }

    fn taken_identity(
        &self,
        changes: &[IdentityChange],
    ) -> rusqlite::Result<Option<AppendOutcome>> {
        for (index, change) in changes.iter().enumerate() {
            let IdentityChange::Claim { workspace_id, kind, hash, holder } = change else {
                continue;
            };
            let Some(existing) = find_identity(self.tx, *workspace_id, kind, hash)? else {
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

    fn take(&mut self, unit: &AppendUnit) -> rusqlite::Result<AppendOutcome> {
        let before = self.head;
        for append in &unit.streams {
            self.insert_events(append)?;
        }
        self.change_identities(&unit.identities)?;
        for key in &unit.new_keys {
            self.tx
                .prepare_cached("INSERT INTO data_keys (subject, wrapped) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![key.subject.to_string(), key.wrapped])?;
        }
        for subject in &unit.destroy_keys {
            destroy_key(self.tx, *subject, self.recorded_at)?;
        }
        for secret in &unit.secrets {
            put_secret(self.tx, &secret.name, secret.sealed.as_deref(), self.recorded_at)?;
        }
        if let Some(record) = &unit.idempotency {
            self.tx
                .prepare_cached(
                    "INSERT INTO idempotency (key_hash, input_hash, result, position, recorded_at)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    record.key_hash,
                    record.input_hash,
                    record.result,
                    self.head,
                    record.recorded_at.timestamp_millis()
                ])?;
        }
        let position = |at: i64| Position(unsigned(at).unwrap_or(0));
        let first = if self.head > before { before + 1 } else { self.head };
        Ok(AppendOutcome::Appended {
            first: position(first),
            last: position(self.head),
            recorded_at: time_of(self.recorded_at),
        })
    }

    fn insert_events(&mut self, append: &StreamAppend) -> rusqlite::Result<()> {
        let mut statement = self.tx.prepare_cached(
            "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                                 position, event_id, workspace_id, account_id, occurred_at, recorded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        let id = append.stream.id.to_string();
        let workspace_id = append.workspace_id.map(|id| id.to_string());
        let account_id = append.account_id.map(|id| id.to_string());
        let mut sequence = signed(append.expected);
        for event in &append.events {
            self.head += 1;
            sequence += 1;
            statement.execute(params![
                append.stream.aggregate_type.as_str(),
                id,
                sequence,
                event.event_type,
                event.event_version.to_string(),
                event.payload,
                event.metadata,
                self.head,
                event.event_id.to_string(),
                workspace_id,
                account_id,
                event.occurred_at.timestamp_millis(),
                self.recorded_at,
            ])?;
        }
        Ok(())
    }

    fn change_identities(&self, changes: &[IdentityChange]) -> rusqlite::Result<()> {
        for change in changes {
            if let IdentityChange::Release { workspace_id, kind, hash, holder } = change {
                self.tx
                    .prepare_cached(
                        "DELETE FROM identities
                         WHERE workspace_id = ?1 AND kind = ?2 AND hash = ?3 AND holder = ?4",
                    )?
                    .execute(params![workspace_id.to_string(), kind, hash, holder.to_string()])?;
            }
        }
        for change in changes {
            if let IdentityChange::Claim { workspace_id, kind, hash, holder } = change {
                self.tx
                    .prepare_cached(
                        "INSERT INTO identities (workspace_id, kind, hash, holder) VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![workspace_id.to_string(), kind, hash, holder.to_string()])?;
            }
        }
        Ok(())
    }
}

pub(super) fn find_idempotency(
    connection: &rusqlite::Connection,
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
    connection: &rusqlite::Connection,
    workspace_id: Uuid,
    kind: &str,
    hash: &[u8],
) -> rusqlite::Result<Option<Uuid>> {
    connection
        .prepare_cached(
            "SELECT holder FROM identities WHERE workspace_id = ?1 AND kind = ?2 AND hash = ?3",
        )?
        .query_row(params![workspace_id.to_string(), kind, hash], |row| parse_uuid(row, 0))
        .optional()
}

pub(super) fn destroy_key(
    connection: &rusqlite::Connection,
    subject: Uuid,
    at_ms: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO data_keys (subject, destroyed_at) VALUES (?1, ?2)
             ON CONFLICT (subject) DO UPDATE SET wrapped = NULL, destroyed_at = excluded.destroyed_at
                 WHERE data_keys.destroyed_at IS NULL",
        )?
        .execute(params![subject.to_string(), at_ms])
        .map(drop)
}

pub(super) fn put_secret(
    connection: &rusqlite::Connection,
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
