//! What stands beside the log in the same database, as the rest of the gateway asks for it. Writes that belong to a
//! command go through [`domain::port::AppendUnit`] instead, in the transaction of its events.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::port::{IdempotencyRecord, LogError, NewDataKey, Position};
use uuid::Uuid;

/// A subject's data key as it is on record.
#[derive(Clone, PartialEq, Eq)]
pub enum DataKeyRow {
    /// Wrapped by the master key.
    Wrapped(Vec<u8>),
    /// What it sealed can never be read again.
    Destroyed,
}

impl std::fmt::Debug for DataKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wrapped(_) => "Wrapped(…)",
            Self::Destroyed => "Destroyed",
        })
    }
}

/// A key wrapped anew, by the next master key.
#[derive(Clone, PartialEq, Eq)]
pub struct Rewrap {
    pub subject: Uuid,
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

/// Data keys and credentials, all of them wrapped or sealed: what is in here is of no use without the master key.
#[async_trait]
pub trait Vault: Send + Sync + 'static {
    /// The keys on record of these subjects; one that never had any is left out.
    async fn data_keys(&self, subjects: &[Uuid]) -> Result<HashMap<Uuid, DataKeyRow>, LogError>;

    /// Records a key outside of an append, for what is sealed elsewhere than in the log. Where the subject already has
    /// one, or had, that stays. Returns what stands now.
    async fn put_data_key(&self, key: &NewDataKey) -> Result<DataKeyRow, LogError>;

    /// Destroys keys outside of an append, for good: also ones that were never made.
    async fn destroy_data_keys(&self, subjects: &[Uuid]) -> Result<(), LogError>;

    /// Subjects whose key was destroyed at or after `since`, the earliest first: what a cache must forget. Ask again
    /// from the last one's time; those at exactly that time come again.
    async fn destroyed_since(
        &self,
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, LogError>;

    /// Keys that are not destroyed, by subject, after `after`: a walk over all of them.
    async fn data_keys_after(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<(Uuid, Vec<u8>)>, LogError>;

    /// Replaces keys by the same keys wrapped anew, all or none in one transaction; one that is no longer `from` is
    /// left as it is. Returns how many were replaced.
    async fn rewrap(&self, keys: &[Rewrap]) -> Result<usize, LogError>;

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, LogError>;

    /// All secrets whose name begins with `prefix`, by name.
    async fn secrets(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, LogError>;

    /// Replaces a secret, or removes it (`None`), if it is still `from`. Whether it was.
    async fn swap_secret(
        &self,
        name: &str,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<bool, LogError>;

    /// Replaces a secret, or removes it (`None`), outside of an append.
    async fn put_secret(&self, name: &str, sealed: Option<&[u8]>) -> Result<(), LogError>;
}

/// What [`Identities`] are looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityKey {
    pub workspace_id: Uuid,
    pub kind: String,
    /// Keyed hash.
    pub hash: Vec<u8>,
}

/// Who holds what is unique across streams.
#[async_trait]
pub trait Identities: Send + Sync + 'static {
    /// The holder of each, in the order asked for.
    async fn lookup(&self, keys: &[IdentityKey]) -> Result<Vec<Option<Uuid>>, LogError>;
}

/// What was answered under callers' idempotency keys.
#[async_trait]
pub trait Idempotency: Send + Sync + 'static {
    async fn find(&self, key_hash: &[u8]) -> Result<Option<IdempotencyRecord>, LogError>;

    /// Forgets at most `limit` records from before `before`. Returns how many; ask again while it is `limit`.
    async fn prune(&self, before: DateTime<Utc>, limit: usize) -> Result<usize, LogError>;
}

/// A lease that `owner` holds, or believes to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub owner: String,
    pub epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    pub lease: Lease,
    /// In the past: nobody holds it.
    pub expires_at: DateTime<Utc>,
}

/// Who does what. Correctness never rests on a lease alone: the stream's version does, and a fence in the append.
///
/// PostgreSQL judges expiry by its own clock, so that nodes need not agree on the time. On SQLite there is one process:
/// a lease is granted to whoever asks, and taken from whoever had it.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// The lease for `ttl` from now, or `None` where another holds it. The epoch stays when `owner` holds it already and
    /// grows with every change of owner and after every lapse.
    async fn acquire(
        &self,
        name: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, LogError>;

    /// Extends leases to `ttl` from now: for each, whether it was still held in that epoch.
    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<bool>, LogError>;

    /// Gives a lease up, so that others need not wait. Does nothing where it has moved on.
    async fn release(&self, lease: &Lease) -> Result<(), LogError>;

    /// Those that somebody holds now, of the names that begin with `prefix`; by name.
    async fn held(&self, prefix: &str) -> Result<Vec<Lease>, LogError>;

    /// Forgets what lapsed at least `ago` ago or was given up, of the names that begin with `prefix`, and answers how many
    /// those were. Epochs begin anew then, so only for names that fence nothing.
    async fn forget_lapsed(&self, prefix: &str, ago: Duration) -> Result<usize, LogError>;

    /// All leases whose name begins with `prefix`, lapsed ones too, by name.
    async fn list(&self, prefix: &str) -> Result<Vec<LeaseRow>, LogError>;
}

/// Facts about this store itself.
#[async_trait]
pub trait Meta: Send + Sync + 'static {
    async fn get(&self, name: &str) -> Result<Option<String>, LogError>;

    async fn set(&self, name: &str, value: &str) -> Result<(), LogError>;

    /// Sets the value if it is `expected` (`None`: not there yet). Whether it was.
    async fn compare_and_set(
        &self,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<bool, LogError>;
}

/// A seal as the store holds it: see [`crate::audit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealRow {
    /// From 1, without a gap.
    pub number: u64,
    pub first: Position,
    pub last: Position,
    pub parts: String,
    pub locators: Vec<u8>,
    pub hash: Vec<u8>,
}

/// The seals of the log.
#[async_trait]
pub trait Seals: Send + Sync + 'static {
    async fn last(&self) -> Result<Option<SealRow>, LogError>;

    /// At most `limit` seals after this number, in order.
    async fn after(&self, number: u64, limit: usize) -> Result<Vec<SealRow>, LogError>;

    /// Writes a seal unless there is one of its number already: whether it did.
    async fn put(&self, seal: &SealRow) -> Result<bool, LogError>;

    /// The months whose messages were taken out of the log, each as year × 100 + month.
    async fn months_out(&self) -> Result<Vec<u32>, LogError>;
}
