//! The event log on SQLite, on PostgreSQL and in KurrentDB, and what stands beside it: the key ring, identities, idempotency
//! records, leases and a few facts about the store itself; in the same database, with KurrentDB in a SQLite file.
//!
//! The stores gather what is waiting into one transaction (group commit), and pass the same [`contract`]; those in SQL keep
//! one form of row. Nothing here unseals an event, decides anything or knows an aggregate.

mod appender;
mod beside;
pub mod contract;
mod error;
mod gather;
mod kinds;
#[cfg(feature = "kurrentdb")]
mod kurrent;
mod migrations;
pub mod postgres;
mod reading;
pub mod sqlite;
pub mod testing;
mod url;
mod wake;

use std::sync::Arc;

use domain::port::{Clock, EventLog};
use gateway_sqlite::Sqlite;
use sqlx::PgPool;

pub use appender::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
pub use beside::{
    DataKeyRow, Idempotency, Identities, IdentityKey, Lease, LeaseRow, Leases, Meta, Rewrap,
    SealRow, Seals, Vault,
};
pub use error::OpenError;
pub use postgres::PostgresEventLog;
pub use reading::{PAGE_EVENTS_MAX, SCAN_POSITIONS_MAX};
pub use sqlite::SqliteEventLog;
pub use url::{StoreUrl, StoreUrlError};

/// How much of the machine a store may take.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Connections for reading and for the other tables; appending, leases and waking have four of their own beside.
    pub postgres_connections: u32,
    /// Reading threads.
    pub sqlite_readers: usize,
    /// Of the events that this process appended, how many of the last it keeps in memory for whoever follows the log.
    pub sqlite_tail_events: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { postgres_connections: 16, sqlite_readers: 4, sqlite_tail_events: 4_000 }
    }
}

/// A store, opened: clones share it. On SQLite, the file is let go when the last clone and the last handle are.
#[derive(Clone)]
pub struct OpenStore {
    pub log: Arc<dyn EventLog>,
    pub vault: Arc<dyn Vault>,
    pub identities: Arc<dyn Identities>,
    pub idempotency: Arc<dyn Idempotency>,
    pub leases: Arc<dyn Leases>,
    pub meta: Arc<dyn Meta>,
    pub seals: Arc<dyn Seals>,
    /// For tables of others in the same database: the webhook journal.
    pub database: Database,
}

impl std::fmt::Debug for OpenStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenStore").field("database", &self.database).finish_non_exhaustive()
    }
}

/// The database under a store, or beside it.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite(Sqlite),
    Postgres(PgPool),
}

impl Database {
    /// Applies those of this store's migrations that `table` does not name yet, each in a transaction of its own. Several
    /// nodes may start at once.
    ///
    /// # Errors
    /// [`OpenError::Migration`] where one fails or was changed after it had been applied.
    pub async fn migrate(
        &self,
        table: &'static str,
        sqlite: &[(&str, &str)],
        postgres: &[(&str, &str)],
    ) -> Result<(), OpenError> {
        match self {
            Self::Sqlite(db) => migrations::sqlite(db, table, sqlite).await,
            Self::Postgres(pool) => migrations::postgres(pool, table, postgres).await,
        }
    }
}

/// Opens the store at `url`, making and migrating what is missing. `clock` draws every `recorded_at`.
///
/// # Errors
/// [`OpenError`]; where another process owns a SQLite file, its text names that process.
pub async fn open(url: &StoreUrl, clock: Arc<dyn Clock>) -> Result<OpenStore, OpenError> {
    open_with(url, clock, StoreOptions::default()).await
}

/// [`open`], with a say in how much it may take.
///
/// # Errors
/// As [`open`].
pub async fn open_with(
    url: &StoreUrl,
    clock: Arc<dyn Clock>,
    options: StoreOptions,
) -> Result<OpenStore, OpenError> {
    match url.target() {
        url::Target::Sqlite(path) => {
            let file =
                gateway_sqlite::Options { readers: options.sqlite_readers, ..Default::default() };
            let db = Sqlite::open(path, file).map_err(OpenError::from_sqlite)?;
            migrations::sqlite(&db, migrations::TABLE, migrations::SQLITE).await?;
            sqlite_store(db, clock, options.sqlite_tail_events).await
        }
        url::Target::Postgres(connect) => {
            let log = PostgresEventLog::open(
                connect.as_ref().clone(),
                clock,
                options.postgres_connections,
            )
            .await?;
            Ok(postgres_store(log))
        }
        #[cfg(feature = "kurrentdb")]
        url::Target::KurrentDb { address, beside } => {
            let file =
                gateway_sqlite::Options { readers: options.sqlite_readers, ..Default::default() };
            let db = Sqlite::open(beside_of(beside)?, file).map_err(OpenError::from_sqlite)?;
            migrations::sqlite(&db, migrations::TABLE, migrations::SQLITE).await?;
            migrations::sqlite(&db, kurrent::MIGRATIONS_TABLE, kurrent::MIGRATIONS).await?;
            let beside = sqlite::SqliteBeside::new(db.clone(), clock.clone());
            let address = address.as_ref().clone();
            let log = kurrent::KurrentEventLog::open(address, &db, &beside, clock).await?;
            Ok(store_beside(Arc::new(log), beside, db))
        }
    }
}

#[cfg(feature = "kurrentdb")]
fn beside_of(path: &Option<std::path::PathBuf>) -> Result<&std::path::Path, OpenError> {
    path.as_deref().ok_or_else(|| OpenError::Foreign {
        reason: "KurrentDB needs a file beside it, and none was named".to_owned(),
    })
}

/// Opens the store at `url` for reading beside the gateway that owns it: takes no lock, migrates nothing. On SQLite an
/// append, and every other write, is an error.
///
/// # Errors
/// [`OpenError`], also where the store was never opened by a gateway.
pub async fn open_read_only(url: &StoreUrl, clock: Arc<dyn Clock>) -> Result<OpenStore, OpenError> {
    match url.target() {
        url::Target::Sqlite(path) => {
            let db = Sqlite::open(path, gateway_sqlite::Options::read_only())
                .map_err(OpenError::from_sqlite)?;
            sqlite_store(db, clock, 0).await
        }
        url::Target::Postgres(connect) => Ok(postgres_store(
            PostgresEventLog::open_unmigrated(connect.as_ref().clone(), clock, 2).await?,
        )),
        #[cfg(feature = "kurrentdb")]
        url::Target::KurrentDb { address, beside } => {
            let db = Sqlite::open(beside_of(beside)?, gateway_sqlite::Options::read_only())
                .map_err(OpenError::from_sqlite)?;
            let beside = sqlite::SqliteBeside::new(db.clone(), clock);
            let log = kurrent::KurrentEventLog::open_read_only(address.as_ref().clone()).await?;
            Ok(store_beside(Arc::new(log), beside, db))
        }
    }
}

async fn sqlite_store(
    db: Sqlite,
    clock: Arc<dyn Clock>,
    tail_events: usize,
) -> Result<OpenStore, OpenError> {
    let beside = sqlite::SqliteBeside::new(db.clone(), clock.clone());
    let log = SqliteEventLog::open(db.clone(), clock, tail_events).await;
    Ok(store_beside(Arc::new(log.map_err(OpenError::unavailable)?), beside, db))
}

fn store_beside(log: Arc<dyn EventLog>, beside: sqlite::SqliteBeside, db: Sqlite) -> OpenStore {
    let beside = Arc::new(beside);
    OpenStore {
        log,
        vault: beside.clone(),
        identities: beside.clone(),
        idempotency: beside.clone(),
        leases: beside.clone(),
        meta: beside.clone(),
        seals: beside,
        database: Database::Sqlite(db),
    }
}

fn postgres_store(log: PostgresEventLog) -> OpenStore {
    let beside = Arc::new(log.beside());
    let database = Database::Postgres(log.pool().clone());
    OpenStore {
        log: Arc::new(log),
        vault: beside.clone(),
        identities: beside.clone(),
        idempotency: beside.clone(),
        leases: beside.clone(),
        meta: beside.clone(),
        seals: beside,
        database,
    }
}
