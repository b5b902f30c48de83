//! The log in one SQLite file, owned by one process.
//!
//! Appends are ordered by nature: one thread writes. `recorded_at` is drawn from the given clock when a batch is written,
//! never before the last event's, whatever the clock does.
//!
//! Rows are compact: what events have in common and what follows from another row is not written again, and ids are bytes.
//! The view `events` shows the log in the form that both stores have in common.

pub(super) mod append;
mod beside;
mod kinds;
mod read;
mod tail;

use std::sync::Arc;

use async_trait::async_trait;
use domain::port::{
    AppendOutcome, AppendUnit, Clock, EventFilter, EventLog, LogError, LogPage, Position,
    StoredEvent, StreamId,
};
use gateway_sqlite::{Sqlite, SqliteError, WeakSqlite};
use rusqlite::Connection;

pub use beside::SqliteBeside;

use kinds::Kinds;
use tail::Tail;

use super::appender::{Appender, WriteBatch, WriteError};
use super::error::unavailable;
use super::reading::{self, STREAMS_PER_STATEMENT};
use super::wake::{Background, Head};

#[derive(Debug)]
pub struct SqliteEventLog {
    db: Sqlite,
    kinds: Arc<Kinds>,
    tail: Arc<Tail>,
    appender: Appender,
    head: Arc<Head>,
    /// Where the file was opened for reading beside another process, nobody here hears of its appends.
    _poll: Option<Background>,
}

impl SqliteEventLog {
    /// The log in this file, whose tables must be there (see [`super::open`]). It keeps at most `tail_events` of those
    /// that it appends in memory, for whoever follows it.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] where the file cannot be read or has no log.
    pub async fn open(
        db: Sqlite,
        clock: Arc<dyn Clock>,
        tail_events: usize,
    ) -> Result<Self, LogError> {
        let head = Head::new(read_head(&db).await?.0);
        let kinds = Arc::new(Kinds::default());
        let tail = Arc::new(Tail::new(tail_events));
        let appender = Appender::start(Arc::new(Writer {
            db: db.downgrade(),
            clock,
            kinds: kinds.clone(),
            tail: tail.clone(),
            head: head.clone(),
        }));
        let poll = db.is_read_only().then(|| {
            let (db, head) = (db.downgrade(), head.clone());
            Background::spawn(async move {
                head.poll(|| async { read_head(&db.upgrade().ok_or_else(closed)?).await }).await;
            })
        });
        Ok(Self { db, kinds, tail, appender, head, _poll: poll })
    }
}

#[async_trait]
impl EventLog for SqliteEventLog {
    async fn append(&self, units: Vec<AppendUnit>) -> Result<Vec<AppendOutcome>, LogError> {
        self.appender.append(units).await
    }

    async fn read_streams(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError> {
        let mut events = Vec::new();
        for part in streams.chunks(STREAMS_PER_STATEMENT) {
            let (part, kinds) = (part.to_vec(), self.kinds.clone());
            let part = query(&self.db, move |connection| read::streams(connection, &kinds, &part));
            events.extend(part.await?);
        }
        Ok(events)
    }

    async fn read_stream_page(
        &self,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, LogError> {
        let (limit, kinds) = (reading::page_limit(limit), self.kinds.clone());
        query(&self.db, move |connection| {
            read::stream_page(connection, &kinds, stream, after_sequence, limit)
        })
        .await
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogPage, LogError> {
        let limit = reading::page_limit(limit);
        if let Some(page) = self.tail.read(after, filter, limit) {
            // Memory never waits, so whoever follows the log by it in a loop would keep a thread, and what was to run on it.
            tokio::task::coop::consume_budget().await;
            return Ok(page);
        }
        let (filter, kinds) = (filter.clone(), self.kinds.clone());
        query(&self.db, move |connection| read::all(connection, &kinds, after, &filter, limit))
            .await
    }

    async fn head(&self) -> Result<Position, LogError> {
        // Not from memory: who asks for the head may want to know whether the file answers.
        read_head(&self.db).await
    }

    fn is_exclusive(&self) -> bool {
        !self.db.is_read_only()
    }

    async fn changed(&self, after: Position) {
        self.head.beyond(after).await;
    }
}

/// Holds the file only while it writes, so that dropping the log closes it at once.
struct Writer {
    db: WeakSqlite,
    clock: Arc<dyn Clock>,
    kinds: Arc<Kinds>,
    tail: Arc<Tail>,
    head: Arc<Head>,
}

#[async_trait]
impl WriteBatch for Writer {
    async fn write(&self, units: Arc<Vec<AppendUnit>>) -> Result<Vec<AppendOutcome>, WriteError> {
        let db = self.db.upgrade().ok_or_else(|| WriteError::Unavailable(CLOSED.into()))?;
        let (now, kinds, batch) = (self.clock.now(), self.kinds.clone(), units.clone());
        let write = db.write(move |tx| append::units(tx, &batch, now, &kinds));
        // What a failed write left behind, the file says.
        let written =
            write.await.inspect_err(|_| self.tail.clear()).map_err(|error| match error {
                // Twice the same event id, for one.
                SqliteError::Statement {
                    source: rusqlite::Error::SqliteFailure(failure, _),
                    ..
                } if failure.code == rusqlite::ErrorCode::ConstraintViolation => {
                    WriteError::Refused(Box::new(error))
                }
                SqliteError::Panicked(_) => WriteError::Refused(Box::new(error)),
                other => WriteError::Unavailable(Box::new(other)),
            })?;
        self.kinds.learn(written.kinds);
        self.tail.extend(&units, &written.outcomes);
        self.head.advance(written.head);
        Ok(written.outcomes)
    }
}

const CLOSED: &str = "the log was closed";

fn closed() -> LogError {
    unavailable(CLOSED)
}

async fn read_head(db: &Sqlite) -> Result<Position, LogError> {
    query(db, |connection| Ok(Ok(Position(read::head(connection)?)))).await
}

/// Keeps what the database says (outside) apart from what its rows say (inside).
pub(super) async fn query<T, F>(db: &Sqlite, work: F) -> Result<T, LogError>
where
    F: FnOnce(&Connection) -> rusqlite::Result<Result<T, LogError>> + Send + 'static,
    T: Send + 'static,
{
    db.read(work).await.map_err(unavailable)?
}
