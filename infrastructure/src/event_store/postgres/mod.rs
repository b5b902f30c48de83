//! The log in PostgreSQL, shared by any number of nodes.
//!
//! Each node gathers what is waiting into one call of `append_units` (see its migration): one statement, one round trip,
//! under one advisory lock that orders all appends, also those of stock postgres-es. `recorded_at` is this node's clock,
//! never before the last event's: where nodes' clocks differ, the latest rules.
//!
//! Rows are compact and lie in partitions, messages by month: see `compact_events`. Whoever reads beside the gateway reads the
//! view `events`.

mod append;
mod beside;
mod kinds;
mod months;
mod read;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::port::{
    AppendOutcome, AppendUnit, Clock, EventFilter, EventLog, LogError, LogPage, Position,
    StoredEvent, StreamId,
};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

pub use beside::PostgresBeside;

use super::appender::{Appender, WriteBatch, WriteError};
use super::error::OpenError;
use super::gather::{Gathered, ReadStreams};
use super::kinds::Kinds;
use super::migrations;
use super::reading;
use super::wake::{Background, Head};
use wake::Announcer;

/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// What each connection is told. A client that was stopped in the middle of a transaction, as stock postgres-es may be,
/// must not hold the log's lock for long. Statements here are short: compiling one takes longer than running it.
const SESSION: &str = "SET application_name = 'whatsapp-gateway'; SET TimeZone = 'UTC'; SET jit = off; \
                       SET idle_in_transaction_session_timeout = '5s'; SET lock_timeout = '5s'; \
                       SET statement_timeout = '30s'";
/// Appends never wait behind readers for a connection; neither do leases.
const APPEND_CONNECTIONS: u32 = 2;
/// One listens, one announces.
const WAKE_CONNECTIONS: u32 = 2;

pub struct PostgresEventLog {
    pool: PgPool,
    append_pool: PgPool,
    appender: Appender,
    streams: Gathered,
    head: Arc<Head>,
    clock: Arc<dyn Clock>,
    kinds: Arc<Kinds>,
    _background: Vec<Background>,
}

impl std::fmt::Debug for PostgresEventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresEventLog").field("head", &self.head).finish_non_exhaustive()
    }
}

impl PostgresEventLog {
    /// Connects, makes and migrates the tables.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(
        options: PgConnectOptions,
        clock: Arc<dyn Clock>,
        connections: u32,
    ) -> Result<Self, OpenError> {
        let pool = connect(options.clone(), connections, SESSION).await?;
        migrations::postgres(&pool, migrations::TABLE, migrations::POSTGRES).await?;
        months::make(&pool, clock.now()).await;
        let mut log = Self::start(pool.clone(), options, clock.clone()).await?;
        log._background.push(Background::spawn(async move { months::keep(&pool, &*clock).await }));
        Ok(log)
    }

    /// Connects to tables that are there already.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open_unmigrated(
        options: PgConnectOptions,
        clock: Arc<dyn Clock>,
        connections: u32,
    ) -> Result<Self, OpenError> {
        let pool = connect(options.clone(), connections, SESSION).await?;
        Self::start(pool, options, clock).await
    }

    async fn start(
        pool: PgPool,
        options: PgConnectOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let at = read::head(&pool).await.map_err(OpenError::unavailable)?;
        let head = Head::new(at.0);
        let append_pool = lazily(options.clone(), APPEND_CONNECTIONS, SESSION);
        // Announcing needs no disk.
        let wake_pool = lazily(options, WAKE_CONNECTIONS, "SET synchronous_commit = off");

        let kinds = Arc::new(Kinds::default());
        let announcer = Arc::new(Announcer::default());
        let writer = Writer {
            pool: append_pool.clone(),
            clock: clock.clone(),
            kinds: kinds.clone(),
            head: head.clone(),
            announcer: announcer.clone(),
        };
        let appender = Appender::start(Arc::new(writer));
        let streams =
            Gathered::start(Arc::new(Reader { pool: pool.clone(), kinds: kinds.clone() }));
        let (listen_head, poll_head, poll_pool) = (head.clone(), head.clone(), pool.clone());
        let listen_pool = wake_pool.clone();
        let background = vec![
            Background::spawn(async move { wake::listen(&listen_pool, &listen_head).await }),
            Background::spawn(async move { wake::announce(&wake_pool, &announcer).await }),
            Background::spawn(async move { poll_head.poll(|| read::head(&poll_pool)).await }),
        ];
        Ok(Self {
            pool,
            append_pool,
            appender,
            streams,
            head,
            clock,
            kinds,
            _background: background,
        })
    }

    /// For the tables of others in this database.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The key ring and the rest, on this log's connections.
    pub fn beside(&self) -> PostgresBeside {
        PostgresBeside::new(self.pool.clone(), self.append_pool.clone(), self.clock.clone())
    }
}

async fn connect(
    options: PgConnectOptions,
    connections: u32,
    session: &'static str,
) -> Result<PgPool, OpenError> {
    let pool = lazily(options, connections, session);
    drop(pool.acquire().await.map_err(OpenError::unavailable)?);
    Ok(pool)
}

fn lazily(options: PgConnectOptions, connections: u32, session: &'static str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move { sqlx::Executor::execute(connection, session).await.map(drop) })
        })
        .connect_lazy_with(options)
}

#[async_trait]
impl EventLog for PostgresEventLog {
    async fn append(&self, units: Vec<AppendUnit>) -> Result<Vec<AppendOutcome>, LogError> {
        self.appender.append(units).await
    }

    async fn read_streams(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError> {
        self.streams.read(streams).await
    }

    async fn read_stream_page(
        &self,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, LogError> {
        let limit = reading::page_limit(limit);
        read::stream_page(&self.pool, &self.kinds, stream, after_sequence, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogPage, LogError> {
        read::all(&self.pool, &self.kinds, after, filter, reading::page_limit(limit)).await
    }

    async fn head(&self) -> Result<Position, LogError> {
        read::head(&self.pool).await
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    async fn changed(&self, after: Position) {
        self.head.beyond(after).await;
    }
}

struct Reader {
    pool: PgPool,
    kinds: Arc<Kinds>,
}

#[async_trait]
impl ReadStreams for Reader {
    async fn read(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError> {
        read::streams(&self.pool, &self.kinds, streams).await
    }
}

struct Writer {
    pool: PgPool,
    clock: Arc<dyn Clock>,
    kinds: Arc<Kinds>,
    head: Arc<Head>,
    announcer: Arc<Announcer>,
}

#[async_trait]
impl WriteBatch for Writer {
    async fn write(&self, units: Arc<Vec<AppendUnit>>) -> Result<Vec<AppendOutcome>, WriteError> {
        let outcomes = append::units(&self.pool, &units, self.clock.now(), &self.kinds).await?;
        let last = outcomes.iter().filter_map(|outcome| match outcome {
            AppendOutcome::Appended { last, .. } => Some(last.0),
            _ => None,
        });
        if let Some(head) = last.max()
            && self.head.advance(head)
        {
            self.announcer.announce(head);
        }
        Ok(outcomes)
    }
}
