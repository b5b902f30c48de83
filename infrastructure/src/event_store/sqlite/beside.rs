//! The key ring, identities, idempotency records, leases and meta in a SQLite file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::port::{Clock, IdempotencyRecord, LogError, NewDataKey, Position};
use gateway_sqlite::Sqlite;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::super::beside::{
    DataKeyRow, Idempotency, Identities, IdentityKey, Lease, LeaseRow, Leases, Meta, Rewrap,
    SealRow, Seals, Vault,
};
use super::super::error::unavailable;
use super::super::reading::{signed, unsigned};
use super::append::{destroy_key, find_idempotency, find_identity, put_secret};
use super::read::{time_of, uuid};

#[derive(Clone)]
pub struct SqliteBeside {
    db: Sqlite,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for SqliteBeside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteBeside").field("db", &self.db).finish_non_exhaustive()
    }
}

impl SqliteBeside {
    pub fn new(db: Sqlite, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock }
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    async fn read<T, F>(&self, work: F) -> Result<T, LogError>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.db.read(work).await.map_err(unavailable)
    }

    async fn write<T, F>(&self, work: F) -> Result<T, LogError>
    where
        F: FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.db.write(work).await.map_err(unavailable)
    }
}

fn data_key(connection: &Connection, subject: Uuid) -> rusqlite::Result<Option<DataKeyRow>> {
    connection
        .prepare_cached("SELECT wrapped FROM data_keys WHERE subject = ?1")?
        .query_row([subject.as_bytes()], |row| row.get::<_, Option<Vec<u8>>>(0))
        .optional()
        .map(|found| {
            found.map(|wrapped| wrapped.map_or(DataKeyRow::Destroyed, DataKeyRow::Wrapped))
        })
}

#[async_trait]
impl Vault for SqliteBeside {
    async fn data_keys(&self, subjects: &[Uuid]) -> Result<HashMap<Uuid, DataKeyRow>, LogError> {
        let subjects = subjects.to_vec();
        self.read(move |connection| {
            let mut found = HashMap::with_capacity(subjects.len());
            for subject in subjects {
                if let Some(key) = data_key(connection, subject)? {
                    found.insert(subject, key);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn put_data_key(&self, key: &NewDataKey) -> Result<DataKeyRow, LogError> {
        let key = key.clone();
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO data_keys (subject, wrapped) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![key.subject.as_bytes(), key.wrapped])?;
            Ok(data_key(tx, key.subject)?.unwrap_or(DataKeyRow::Destroyed))
        })
        .await
    }

    async fn destroy_data_keys(&self, subjects: &[Uuid]) -> Result<(), LogError> {
        let (subjects, now) = (subjects.to_vec(), self.now_ms());
        self.write(move |tx| subjects.iter().try_for_each(|subject| destroy_key(tx, *subject, now)))
            .await
    }

    async fn destroyed_since(
        &self,
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, LogError> {
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT subject, destroyed_at FROM data_keys WHERE destroyed_at IS NOT NULL AND destroyed_at >= ?1
                     ORDER BY destroyed_at, subject LIMIT ?2",
                )?
                .query_map(params![since.timestamp_millis(), signed(limit as u64)], |row| {
                    Ok((uuid(row, 0)?, time_of(row.get(1)?)))
                })?
                .collect()
        })
        .await
    }

    async fn data_keys_after(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<(Uuid, Vec<u8>)>, LogError> {
        let after = after.map(|subject| subject.as_bytes().to_vec()).unwrap_or_default();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT subject, wrapped FROM data_keys WHERE subject > ?1 AND wrapped IS NOT NULL
                     ORDER BY subject LIMIT ?2",
                )?
                .query_map(params![after, signed(limit as u64)], |row| Ok((uuid(row, 0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    async fn rewrap(&self, keys: &[Rewrap]) -> Result<usize, LogError> {
        let keys = keys.to_vec();
        self.write(move |tx| {
            let mut statement = tx.prepare_cached(
                "UPDATE data_keys SET wrapped = ?3 WHERE subject = ?1 AND wrapped = ?2",
            )?;
            keys.iter()
                .map(|key| statement.execute(params![key.subject.as_bytes(), key.from, key.to]))
                .sum()
        })
        .await
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        let name = name.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT sealed FROM secrets WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        })
        .await
    }

    async fn secrets(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, LogError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT name, sealed FROM secrets WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1
                     ORDER BY name",
                )?
                .query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    async fn swap_secret(
        &self,
        name: &str,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<bool, LogError> {
        let (name, from, to) = (name.to_owned(), from.to_vec(), to.map(<[u8]>::to_vec));
        let now = self.now_ms();
        self.write(move |tx| {
            let changed = match to {
                Some(to) => tx.execute(
                    "UPDATE secrets SET sealed = ?3, updated_at = ?4 WHERE name = ?1 AND sealed = ?2",
                    rusqlite::params![name, from, to, now],
                )?,
                None => tx.execute(
                    "DELETE FROM secrets WHERE name = ?1 AND sealed = ?2",
                    rusqlite::params![name, from],
                )?,
            };
            Ok(changed > 0)
        })
        .await
    }

    async fn put_secret(&self, name: &str, sealed: Option<&[u8]>) -> Result<(), LogError> {
        let (name, sealed, now) = (name.to_owned(), sealed.map(<[u8]>::to_vec), self.now_ms());
        self.write(move |tx| put_secret(tx, &name, sealed.as_deref(), now)).await
    }
}

#[async_trait]
impl Identities for SqliteBeside {
    async fn lookup(&self, keys: &[IdentityKey]) -> Result<Vec<Option<Uuid>>, LogError> {
        let keys = keys.to_vec();
        self.read(move |connection| {
            keys.iter()
                .map(|key| find_identity(connection, key.workspace_id, &key.kind, &key.hash))
                .collect()
        })
        .await
    }
}

#[async_trait]
impl Idempotency for SqliteBeside {
    async fn find(&self, key_hash: &[u8]) -> Result<Option<IdempotencyRecord>, LogError> {
        let key_hash = key_hash.to_vec();
        self.read(move |connection| find_idempotency(connection, &key_hash)).await
    }

    async fn prune(&self, before: DateTime<Utc>, limit: usize) -> Result<usize, LogError> {
        self.write(move |tx| {
            tx.prepare_cached(
                "DELETE FROM idempotency WHERE key_hash IN (
                   SELECT key_hash FROM idempotency WHERE recorded_at < ?1 ORDER BY recorded_at LIMIT ?2)",
            )?
            .execute(params![before.timestamp_millis(), signed(limit as u64)])
        })
        .await
    }
}

fn ms(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 2)
}

#[async_trait]
impl Leases for SqliteBeside {
    async fn acquire(
        &self,
        name: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, LogError> {
        let (name, owner, now) = (name.to_owned(), owner.to_owned(), self.now_ms());
        self.write(move |tx| {
            let epoch = tx
                .prepare_cached(
                    "INSERT INTO leases AS l (name, owner, epoch, expires_at) VALUES (?1, ?2, 1, ?4)
                     ON CONFLICT (name) DO UPDATE SET
                         epoch = l.epoch + (l.owner <> excluded.owner OR l.expires_at <= ?3),
                         owner = excluded.owner, expires_at = excluded.expires_at
                     RETURNING epoch",
                )?
                .query_row(params![name, owner, now, now.saturating_add(ms(ttl))], |row| row.get(0))?;
            Ok(Some(Lease { name, owner, epoch }))
        })
        .await
    }

    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<bool>, LogError> {
        let (leases, now) = (leases.to_vec(), self.now_ms());
        self.write(move |tx| {
            let mut statement = tx.prepare_cached(
                "UPDATE leases SET expires_at = ?4 WHERE name = ?1 AND owner = ?2 AND epoch = ?3 AND expires_at > ?5",
            )?;
            leases
                .iter()
                .map(|lease| {
                    let until = now.saturating_add(ms(ttl));
                    Ok(statement.execute(params![lease.name, lease.owner, lease.epoch, until, now])? == 1)
                })
                .collect()
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), LogError> {
        let lease = lease.clone();
        self.write(move |tx| {
            tx.prepare_cached(
                "UPDATE leases SET expires_at = 0 WHERE name = ?1 AND owner = ?2 AND epoch = ?3",
            )?
            .execute(params![lease.name, lease.owner, lease.epoch])
            .map(drop)
        })
        .await
    }

    async fn held(&self, prefix: &str) -> Result<Vec<Lease>, LogError> {
        let now = time_of(self.now_ms());
        let rows = self.list(prefix).await?;
        Ok(rows.into_iter().filter(|row| row.expires_at > now).map(|row| row.lease).collect())
    }

    async fn forget_lapsed(&self, prefix: &str, ago: Duration) -> Result<usize, LogError> {
        let (prefix, before) = (prefix.to_owned(), self.now_ms().saturating_sub(ms(ago)));
        self.write(move |tx| {
            tx.prepare_cached(
                "DELETE FROM leases
                 WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 AND expires_at <= ?2",
            )?
            .execute(params![prefix, before])
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<LeaseRow>, LogError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT name, owner, epoch, expires_at FROM leases
                     WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 ORDER BY name",
                )?
                .query_map([prefix], |row| {
                    let lease = Lease { name: row.get(0)?, owner: row.get(1)?, epoch: row.get(2)? };
                    Ok(LeaseRow { lease, expires_at: time_of(row.get(3)?) })
                })?
                .collect()
        })
        .await
    }
}

#[async_trait]
impl Meta for SqliteBeside {
    async fn get(&self, name: &str) -> Result<Option<String>, LogError> {
        let name = name.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        })
        .await
    }

    async fn set(&self, name: &str, value: &str) -> Result<(), LogError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute([name, value])
            .map(drop)
        })
        .await
    }

    async fn compare_and_set(
        &self,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<bool, LogError> {
        let (name, expected, value) =
            (name.to_owned(), expected.map(str::to_owned), value.to_owned());
        self.write(move |tx| {
            let changed = match expected {
                None => tx
                    .prepare_cached(
                        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    )?
                    .execute([name, value])?,
                Some(expected) => tx
                    .prepare_cached("UPDATE meta SET value = ?3 WHERE name = ?1 AND value = ?2")?
                    .execute([name, expected, value])?,
            };
            Ok(changed == 1)
        })
        .await
    }
}

const SEAL: &str = "number, first_position, last_position, parts, locators, hash";

fn seal(row: &rusqlite::Row<'_>) -> rusqlite::Result<SealRow> {
    let number = |column| Ok::<_, rusqlite::Error>(unsigned(row.get(column)?).unwrap_or(0));
    Ok(SealRow {
        number: number(0)?,
        first: Position(number(1)?),
        last: Position(number(2)?),
        parts: row.get(3)?,
        locators: row.get(4)?,
        hash: row.get(5)?,
    })
}

#[async_trait]
impl Seals for SqliteBeside {
    async fn last(&self) -> Result<Option<SealRow>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {SEAL} FROM audit_seals ORDER BY number DESC LIMIT 1"
                ))?
                .query_row([], seal)
                .optional()
        })
        .await
    }

    async fn after(&self, number: u64, limit: usize) -> Result<Vec<SealRow>, LogError> {
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {SEAL} FROM audit_seals WHERE number > ?1 ORDER BY number LIMIT ?2"
                ))?
                .query_map([signed(number), signed(limit as u64)], seal)?
                .collect()
        })
        .await
    }

    async fn put(&self, seal: &SealRow) -> Result<bool, LogError> {
        let seal = seal.clone();
        self.write(move |tx| {
            let written = tx
                .prepare_cached(&format!(
                    "INSERT INTO audit_seals ({SEAL}) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING"
                ))?
                .execute(params![
                    signed(seal.number),
                    signed(seal.first.0),
                    signed(seal.last.0),
                    seal.parts,
                    seal.locators,
                    seal.hash
                ])?;
            Ok(written == 1)
        })
        .await
    }

    async fn months_out(&self) -> Result<Vec<u32>, LogError> {
        Ok(Vec::new())
    }
}
