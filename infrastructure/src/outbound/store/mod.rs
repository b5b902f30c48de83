//! How far each endpoint has heard, what waits to be tried again, and every attempt of the last thirty days. Beside the log
//! in its database, and no part of it: a delivery that was an event would lead to another delivery.
//!
//! A lane is one way through the log: an endpoint's own, or one of a replay. Whoever works a lane says in which epoch of its
//! lease, and an older epoch changes nothing any more.

mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::port::{Position, StreamId};
use uuid::Uuid;

use crate::event_store::{Database, OpenError};

/// The table that names the migrations applied.
pub const MIGRATIONS_TABLE: &str = "webhook_endpoint_migrations";
/// The tables on SQLite.
pub const SQLITE_MIGRATIONS: &[(&str, &str)] = &[(
    "20261127150100_create_endpoint_lanes",
    include_str!("../../../migrations/sqlite/20261127150100_create_endpoint_lanes.sql"),
)];
/// The tables on PostgreSQL.
pub const POSTGRES_MIGRATIONS: &[(&str, &str)] = &[(
    "20261127150100_create_endpoint_lanes",
    include_str!("../../../migrations/postgres/20261127150100_create_endpoint_lanes.sql"),
)];

/// Attempts counted; beyond that there are more.
pub const COUNTED_MAX: u64 = 10_000;
/// Attempts deleted in one go.
const PRUNE_BATCH: i64 = 5_000;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The tables cannot be written or read right now. Repeating is safe.
#[derive(Debug, thiserror::Error)]
#[error("what webhook endpoints have heard cannot be stored or read right now")]
pub struct Unavailable(#[source] Source);

/// A thing whose next event was not taken; its later ones wait behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    pub stream: StreamId,
    /// The sequence of its last event that was taken or not wanted.
    pub after_sequence: u64,
    /// Everything of it before this position was taken.
    pub position: Position,
    pub attempts: u32,
    pub due_at: DateTime<Utc>,
}

/// Where a lane stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// Everything up to here was taken, but for what is parked.
    pub position: Position,
    pub failing_since: Option<DateTime<Utc>>,
    pub parked: Vec<Parked>,
}

/// One request, and what became of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Grows with time.
    pub id: Uuid,
    pub endpoint_id: Uuid,
    /// When it began.
    pub at: DateTime<Utc>,
    /// Of the event, the first one of a batch.
    pub position: Position,
    pub event_id: Uuid,
    /// How many events it carried.
    pub events: u32,
    /// The how manyth for this event, from 1.
    pub number: u32,
    pub is_replay: bool,
    /// What was answered; `None`: nothing.
    pub status: Option<u16>,
    /// Why it failed, where it did.
    pub error: Option<String>,
    pub latency_ms: u32,
    /// The beginning of the answer, sealed where `subject` is set.
    pub answer: Vec<u8>,
    /// Whose key seals the answer.
    pub subject: Option<Uuid>,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("position", &self.position)
            .field("status", &self.status)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// What a lane has done since it was last saved.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub position: Position,
    pub failing_since: Option<DateTime<Utc>>,
    /// To be put, or changed.
    pub parked: Vec<Parked>,
    /// Parked no more.
    pub freed: Vec<StreamId>,
    pub attempts: Vec<Attempt>,
}

/// An endpoint's own lane, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to here was taken.
    pub position: Position,
    /// When the next of what is parked is tried again.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// Which attempts of an endpoint, newest first.
#[derive(Clone, Copy, Debug)]
pub struct AttemptsAsked {
    pub endpoint_id: Uuid,
    pub failed_only: bool,
    /// Only older ones than this.
    pub before: Option<Uuid>,
    pub limit: usize,
}

#[async_trait]
trait Store: Send + Sync {
    async fn claim(
        &self,
        endpoint: Uuid,
        lane: Uuid,
        epoch: i64,
        start: Position,
    ) -> Result<Option<LaneState>, Source>;
    async fn save(&self, lane: Uuid, epoch: i64, progress: Progress) -> Result<bool, Source>;
    async fn record(&self, attempt: Attempt) -> Result<(), Source>;
    async fn end(&self, lane: Uuid) -> Result<(), Source>;
    async fn forget(&self, endpoint: Uuid) -> Result<(), Source>;
    async fn standing(&self, endpoints: &[Uuid]) -> Result<HashMap<Uuid, Standing>, Source>;
    async fn attempts(&self, asked: AttemptsAsked) -> Result<Vec<Attempt>, Source>;
    async fn count(&self, endpoint: Uuid, failed_only: bool, limit: i64) -> Result<u64, Source>;
    async fn prune(&self, before: i64, limit: i64) -> Result<u64, Source>;
}

/// Clones share it.
#[derive(Clone)]
pub struct LaneStore {
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for LaneStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LaneStore")
    }
}

impl LaneStore {
    /// The lanes in `database`, its tables made where they are missing.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(database: &Database) -> Result<Self, OpenError> {
        database.migrate(MIGRATIONS_TABLE, SQLITE_MIGRATIONS, POSTGRES_MIGRATIONS).await?;
        let store: Arc<dyn Store> = match database {
            Database::Sqlite(db) => Arc::new(sqlite::Rows { db: db.clone() }),
            Database::Postgres(pool) => Arc::new(postgres::Rows { pool: pool.clone() }),
        };
        Ok(Self { store })
    }

    /// Takes a lane over and says where it stands; one that is new begins after `start`. `None`: it was taken over in a later
    /// epoch.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn claim(
        &self,
        endpoint: Uuid,
        lane: Uuid,
        epoch: i64,
        start: Position,
    ) -> Result<Option<LaneState>, Unavailable> {
        self.store.claim(endpoint, lane, epoch, start).await.map_err(Unavailable)
    }

    /// All of it or nothing. `false`: the lane was taken over, or is no more.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn save(
        &self,
        lane: Uuid,
        epoch: i64,
        progress: Progress,
    ) -> Result<bool, Unavailable> {
        self.store.save(lane, epoch, progress).await.map_err(Unavailable)
    }

    /// Keeps an attempt that was made beside the lanes.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn record(&self, attempt: Attempt) -> Result<(), Unavailable> {
        self.store.record(attempt).await.map_err(Unavailable)
    }

    /// Forgets a lane that is through.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn end(&self, lane: Uuid) -> Result<(), Unavailable> {
        self.store.end(lane).await.map_err(Unavailable)
    }

    /// Forgets all lanes of an endpoint. Its attempts stay for their time.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn forget(&self, endpoint: Uuid) -> Result<(), Unavailable> {
        self.store.forget(endpoint).await.map_err(Unavailable)
    }

    /// Where endpoints' own lanes stand; those that nobody has worked yet are left out.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn standing(
        &self,
        endpoints: &[Uuid],
    ) -> Result<HashMap<Uuid, Standing>, Unavailable> {
        self.store.standing(endpoints).await.map_err(Unavailable)
    }

    /// # Errors
    /// [`Unavailable`]
    pub async fn attempts(&self, asked: AttemptsAsked) -> Result<Vec<Attempt>, Unavailable> {
        self.store.attempts(asked).await.map_err(Unavailable)
    }

    /// How many attempts there are, up to [`COUNTED_MAX`] and one more.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn count(&self, endpoint: Uuid, failed_only: bool) -> Result<u64, Unavailable> {
        let limit = i64::try_from(COUNTED_MAX + 1).unwrap_or(i64::MAX);
        self.store.count(endpoint, failed_only, limit).await.map_err(Unavailable)
    }

    /// Forgets attempts from before `before`. How many.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn prune(&self, before: DateTime<Utc>) -> Result<u64, Unavailable> {
        let mut pruned = 0;
        loop {
            let batch = self.store.prune(before.timestamp_millis(), PRUNE_BATCH).await;
            let batch = batch.map_err(Unavailable)?;
            pruned += batch;
            if batch < PRUNE_BATCH.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

fn standing_of(position: i64, parked: Option<i64>, due_at: Option<i64>) -> Standing {
    let position = unsigned(position);
    let taken = parked.map_or(position, |parked| position.min(unsigned(parked).saturating_sub(1)));
    Standing { position: Position(taken), next_attempt_at: due_at.map(instant) }
}
