//! The key ring, identities, idempotency records, leases and meta in PostgreSQL.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::port::{Clock, IdempotencyRecord, LogError, NewDataKey, Position};
use sqlx::PgPool;
use uuid::Uuid;

use super::super::beside::{
    DataKeyRow, Idempotency, Identities, IdentityKey, Lease, LeaseRow, Leases, Meta, Rewrap,
    SealRow, Seals, Vault,
};
use super::super::error::unavailable;
use super::super::reading::{signed, unsigned};

#[derive(Clone)]
pub struct PostgresBeside {
    pool: PgPool,
    /// Shared with the appender, so that renewing a lease never waits behind readers.
    lease_pool: PgPool,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for PostgresBeside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresBeside").finish_non_exhaustive()
    }
}

impl PostgresBeside {
    pub(super) fn new(pool: PgPool, lease_pool: PgPool, clock: Arc<dyn Clock>) -> Self {
        Self { pool, lease_pool, clock }
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }
}

fn row(wrapped: Option<Vec<u8>>) -> DataKeyRow {
    wrapped.map_or(DataKeyRow::Destroyed, DataKeyRow::Wrapped)
}

/// Milliseconds since 1970, as all times beside the log are stored.
fn time_of(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

#[async_trait]
impl Vault for PostgresBeside {
    async fn data_keys(&self, subjects: &[Uuid]) -> Result<HashMap<Uuid, DataKeyRow>, LogError> {
        let rows: Vec<(Uuid, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT subject, wrapped FROM data_keys WHERE subject = ANY($1)")
                .bind(subjects)
                .fetch_all(&self.pool)
                .await
                .map_err(unavailable)?;
        Ok(rows.into_iter().map(|(subject, wrapped)| (subject, row(wrapped))).collect())
    }

    async fn put_data_key(&self, key: &NewDataKey) -> Result<DataKeyRow, LogError> {
        // Two statements: the second sees what another node may have written while the first waited for it.
        sqlx::query(
            "INSERT INTO data_keys (subject, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(key.subject)
        .bind(&key.wrapped)
        .execute(&self.pool)
        .await
        .map_err(unavailable)?;
        let wrapped: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT wrapped FROM data_keys WHERE subject = $1")
                .bind(key.subject)
                .fetch_one(&self.pool)
                .await
                .map_err(unavailable)?;
        Ok(row(wrapped))
    }

    async fn destroy_data_keys(&self, subjects: &[Uuid]) -> Result<(), LogError> {
        sqlx::query(
            "INSERT INTO data_keys (subject, destroyed_at)
             SELECT DISTINCT subject, $2::bigint FROM unnest($1::uuid[]) AS d (subject) ORDER BY subject
             ON CONFLICT (subject) DO UPDATE SET wrapped = NULL, destroyed_at = excluded.destroyed_at
                 WHERE data_keys.destroyed_at IS NULL",
        )
        .bind(subjects)
        .bind(self.now_ms())
        .execute(&self.pool)
        .await
        .map_err(unavailable)
        .map(drop)
    }

    async fn destroyed_since(
        &self,
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, LogError> {
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT subject, destroyed_at FROM data_keys WHERE destroyed_at IS NOT NULL AND destroyed_at >= $1
             ORDER BY destroyed_at, subject LIMIT $2",
        )
        .bind(since.timestamp_millis())
        .bind(signed(limit as u64))
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        Ok(rows.into_iter().map(|(subject, at)| (subject, time_of(at))).collect())
    }

    async fn data_keys_after(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<(Uuid, Vec<u8>)>, LogError> {
        sqlx::query_as(
            "SELECT subject, wrapped FROM data_keys WHERE subject > $1 AND wrapped IS NOT NULL
             ORDER BY subject LIMIT $2",
        )
        .bind(after.unwrap_or_default())
        .bind(signed(limit as u64))
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)
    }

    async fn rewrap(&self, keys: &[Rewrap]) -> Result<usize, LogError> {
        let subjects: Vec<Uuid> = keys.iter().map(|key| key.subject).collect();
        let from: Vec<&[u8]> = keys.iter().map(|key| key.from.as_slice()).collect();
        let to: Vec<&[u8]> = keys.iter().map(|key| key.to.as_slice()).collect();
        let done = sqlx::query(
            "UPDATE data_keys k SET wrapped = r.to_key
             FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS r (subject, from_key, to_key)
             WHERE k.subject = r.subject AND k.wrapped = r.from_key",
        )
        .bind(subjects)
        .bind(from)
        .bind(to)
        .execute(&self.pool)
        .await
        .map_err(unavailable)?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        sqlx::query_scalar("SELECT sealed FROM secrets WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(unavailable)
    }

    async fn secrets(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, LogError> {
        sqlx::query_as("SELECT name, sealed FROM secrets WHERE name >= $1 AND starts_with(name, $1) ORDER BY name")
            .bind(prefix)
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)
    }

    async fn swap_secret(
        &self,
        name: &str,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<bool, LogError> {
        let query = match to {
            Some(to) => sqlx::query(
                "UPDATE secrets SET sealed = $3, updated_at = $4 WHERE name = $1 AND sealed = $2",
            )
            .bind(name)
            .bind(from)
            .bind(to)
            .bind(self.now_ms()),
            None => sqlx::query("DELETE FROM secrets WHERE name = $1 AND sealed = $2")
                .bind(name)
                .bind(from),
        };
        Ok(query.execute(&self.pool).await.map_err(unavailable)?.rows_affected() > 0)
    }

    async fn put_secret(&self, name: &str, sealed: Option<&[u8]>) -> Result<(), LogError> {
        let query = match sealed {
            Some(sealed) => sqlx::query(
                "INSERT INTO secrets (name, sealed, updated_at) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at",
            )
            .bind(name)
            .bind(sealed)
            .bind(self.now_ms()),
            None => sqlx::query("DELETE FROM secrets WHERE name = $1").bind(name),
        };
        query.execute(&self.pool).await.map_err(unavailable).map(drop)
    }
}

#[async_trait]
impl Identities for PostgresBeside {
    async fn lookup(&self, keys: &[IdentityKey]) -> Result<Vec<Option<Uuid>>, LogError> {
        let workspaces: Vec<Uuid> = keys.iter().map(|key| key.workspace_id).collect();
        let kinds: Vec<&str> = keys.iter().map(|key| key.kind.as_str()).collect();
        let hashes: Vec<&[u8]> = keys.iter().map(|key| key.hash.as_slice()).collect();
        sqlx::query_scalar(
            "SELECT (SELECT holder FROM identities i
                     WHERE i.workspace_id = k.workspace_id AND i.kind = k.kind AND i.hash = k.hash)
             FROM unnest($1::uuid[], $2::text[], $3::bytea[]) WITH ORDINALITY AS k (workspace_id, kind, hash, n)
             ORDER BY k.n",
        )
        .bind(workspaces)
        .bind(kinds)
        .bind(hashes)
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)
    }
}

#[async_trait]
impl Idempotency for PostgresBeside {
    async fn find(&self, key_hash: &[u8]) -> Result<Option<IdempotencyRecord>, LogError> {
        let found: Option<(Vec<u8>, String, i64, i64)> = sqlx::query_as(
            "SELECT input_hash, result, position, recorded_at FROM idempotency WHERE key_hash = $1",
        )
        .bind(key_hash)
        .fetch_optional(&self.pool)
        .await
        .map_err(unavailable)?;
        Ok(found.map(|(input_hash, result, position, recorded_at)| IdempotencyRecord {
            key_hash: key_hash.to_vec(),
            input_hash,
            result,
            recorded_at: time_of(recorded_at),
            position: Position(unsigned(position).unwrap_or(0)),
        }))
    }

    async fn prune(&self, before: DateTime<Utc>, limit: usize) -> Result<usize, LogError> {
        let done = sqlx::query(
            "DELETE FROM idempotency WHERE key_hash IN (
               SELECT key_hash FROM idempotency WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2)",
        )
        .bind(before.timestamp_millis())
        .bind(signed(limit as u64))
        .execute(&self.pool)
        .await
        .map_err(unavailable)?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }
}

fn ms(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 2).min(i64::MAX / 2)
}

#[async_trait]
impl Leases for PostgresBeside {
    async fn acquire(
        &self,
        name: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, LogError> {
        let epoch: Option<i64> = sqlx::query_scalar("SELECT acquire_lease($1, $2, $3)")
            .bind(name)
            .bind(owner)
            .bind(ms(ttl))
            .fetch_one(&self.lease_pool)
            .await
            .map_err(unavailable)?;
        Ok(epoch.map(|epoch| Lease { name: name.to_owned(), owner: owner.to_owned(), epoch }))
    }

    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<bool>, LogError> {
        let names: Vec<&str> = leases.iter().map(|lease| lease.name.as_str()).collect();
        let owners: Vec<&str> = leases.iter().map(|lease| lease.owner.as_str()).collect();
        let epochs: Vec<i64> = leases.iter().map(|lease| lease.epoch).collect();
        let held: Vec<(String, String, i64)> = sqlx::query_as(
            "UPDATE leases l SET expires_at = now_ms() + $4
             FROM unnest($1::text[], $2::text[], $3::bigint[]) AS r (name, owner, epoch)
             WHERE l.name = r.name AND l.owner = r.owner AND l.epoch = r.epoch AND l.expires_at > now_ms()
             RETURNING l.name, l.owner, l.epoch",
        )
        .bind(names)
        .bind(owners)
        .bind(epochs)
        .bind(ms(ttl))
        .fetch_all(&self.lease_pool)
        .await
        .map_err(unavailable)?;
        let held: HashSet<_> =
            held.iter().map(|(name, owner, epoch)| (name, owner, *epoch)).collect();
        Ok(leases
            .iter()
            .map(|lease| held.contains(&(&lease.name, &lease.owner, lease.epoch)))
            .collect())
    }

    async fn release(&self, lease: &Lease) -> Result<(), LogError> {
        sqlx::query(
            "UPDATE leases SET expires_at = 0 WHERE name = $1 AND owner = $2 AND epoch = $3",
        )
        .bind(&lease.name)
        .bind(&lease.owner)
        .bind(lease.epoch)
        .execute(&self.lease_pool)
        .await
        .map_err(unavailable)
        .map(drop)
    }

    async fn held(&self, prefix: &str) -> Result<Vec<Lease>, LogError> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT name, owner, epoch FROM leases
             WHERE name >= $1 AND starts_with(name, $1) AND expires_at > now_ms() ORDER BY name",
        )
        .bind(prefix)
        .fetch_all(&self.lease_pool)
        .await
        .map_err(unavailable)?;
        Ok(rows.into_iter().map(|(name, owner, epoch)| Lease { name, owner, epoch }).collect())
    }

    async fn forget_lapsed(&self, prefix: &str, ago: Duration) -> Result<usize, LogError> {
        let done = sqlx::query(
            "DELETE FROM leases
             WHERE name >= $1 AND starts_with(name, $1) AND expires_at <= now_ms() - $2",
        )
        .bind(prefix)
        .bind(ms(ago))
        .execute(&self.lease_pool)
        .await
        .map_err(unavailable)?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<LeaseRow>, LogError> {
        let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
            "SELECT name, owner, epoch, expires_at FROM leases
             WHERE name >= $1 AND starts_with(name, $1) ORDER BY name",
        )
        .bind(prefix)
        .fetch_all(&self.lease_pool)
        .await
        .map_err(unavailable)?;
        Ok(rows
            .into_iter()
            .map(|(name, owner, epoch, expires_at)| LeaseRow {
                lease: Lease { name, owner, epoch },
                expires_at: time_of(expires_at),
            })
            .collect())
    }
}

#[async_trait]
impl Meta for PostgresBeside {
    async fn get(&self, name: &str) -> Result<Option<String>, LogError> {
        sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(unavailable)
    }

    async fn set(&self, name: &str, value: &str) -> Result<(), LogError> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&self.pool)
        .await
        .map_err(unavailable)
        .map(drop)
    }

    async fn compare_and_set(
        &self,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<bool, LogError> {
        let query = match expected {
            None => {
                sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(name)
                    .bind(value)
            }
            Some(expected) => {
                sqlx::query("UPDATE meta SET value = $3 WHERE name = $1 AND value = $2")
                    .bind(name)
                    .bind(expected)
                    .bind(value)
            }
        };
        Ok(query.execute(&self.pool).await.map_err(unavailable)?.rows_affected() == 1)
    }
}

type Seal = (i64, i64, i64, String, Vec<u8>, Vec<u8>);

fn seal((number, first, last, parts, locators, hash): Seal) -> SealRow {
    let positive = |number| unsigned(number).unwrap_or(0);
    let (first, last) = (Position(positive(first)), Position(positive(last)));
    SealRow { number: positive(number), first, last, parts, locators, hash }
}

const SEAL: &str = "number, first_position, last_position, parts, locators, hash";

#[async_trait]
impl Seals for PostgresBeside {
    async fn last(&self) -> Result<Option<SealRow>, LogError> {
        let sql = format!("SELECT {SEAL} FROM audit_seals ORDER BY number DESC LIMIT 1");
        let found = sqlx::query_as(&sql).fetch_optional(&self.pool).await.map_err(unavailable)?;
        Ok(found.map(seal))
    }

    async fn after(&self, number: u64, limit: usize) -> Result<Vec<SealRow>, LogError> {
        let sql =
            format!("SELECT {SEAL} FROM audit_seals WHERE number > $1 ORDER BY number LIMIT $2");
        let found: Vec<Seal> = sqlx::query_as(&sql)
            .bind(signed(number))
            .bind(signed(limit as u64))
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        Ok(found.into_iter().map(seal).collect())
    }

    async fn put(&self, seal: &SealRow) -> Result<bool, LogError> {
        let sql = format!(
            "INSERT INTO audit_seals ({SEAL}) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
        );
        let written = sqlx::query(&sql)
            .bind(signed(seal.number))
            .bind(signed(seal.first.0))
            .bind(signed(seal.last.0))
            .bind(&seal.parts)
            .bind(&seal.locators)
            .bind(&seal.hash)
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
        Ok(written.rows_affected() == 1)
    }

    async fn months_out(&self) -> Result<Vec<u32>, LogError> {
        let sql = "SELECT to_char(month, 'YYYYMM')::int FROM detached_months ORDER BY month";
        let months: Vec<i32> =
            sqlx::query_scalar(sql).fetch_all(&self.pool).await.map_err(unavailable)?;
        Ok(months.into_iter().filter_map(|month| u32::try_from(month).ok()).collect())
    }
}
