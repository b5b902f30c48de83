//! The log in KurrentDB, appended to by one gateway, with a SQLite file beside it for all that KurrentDB has no place for.
//!
//! Streams have their aggregates' names (`message-<uuid>`, after a prefix where the URL names one), positions are KurrentDB's commit positions, and the log in order
//! is `$all`, read by prefixes of streams' names. See [`append`] for what a unit over several streams is.

mod address;
mod append;
mod connection;
mod read;
mod record;
mod tail;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::port::{
    AppendOutcome, AppendUnit, Clock, EventFilter, EventLog, LogError, LogPage, Position,
    StoredEvent, StreamId,
};
use gateway_sqlite::Sqlite;
use kurrentdb::{AppendToStreamOptions, Error, EventData, StreamState};
use uuid::Uuid;

pub(super) use address::{Address, SCHEMES};

use super::appender::Appender;
use super::beside::Meta;
use super::error::{OpenError, unavailable};
use super::reading;
use super::sqlite::SqliteBeside;
use super::wake::{Background, Head};
use append::Writer;
use connection::{CallError, Connection};
use read::{FETCH_EVENTS, FETCH_EVENTS_MIN};
use tail::Tail;

/// Tells which file beside is this log's.
const LOG_STREAM: &str = "gateway-log";
const LOG_CREATED: &str = "gateway.log_created";
const LOG_ID: &str = "kurrentdb_log";

pub(super) const MIGRATIONS: &[(&str, &str)] = &[(
    "20261127160000_create_pending_units",
    include_str!("../../../migrations/sqlite/20261127160000_create_pending_units.sql"),
)];
pub(super) const MIGRATIONS_TABLE: &str = "kurrentdb_migrations";

pub struct KurrentEventLog {
    connection: Arc<Connection>,
    /// `None`: opened for reading beside the gateway that appends.
    appender: Option<Appender>,
    head: Arc<Head>,
    tail: Tail,
    _poll: Option<Background>,
}

impl std::fmt::Debug for KurrentEventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KurrentEventLog")
            .field("at", &self.connection.address().to_string())
            .finish()
    }
}

impl KurrentEventLog {
    /// The log at `address`, with the file beside it, whose tables must be there. Appends what was left on the way.
    ///
    /// # Errors
    /// [`OpenError`], also where the file is another log's.
    pub(super) async fn open(
        address: Address,
        beside: &Sqlite,
        meta: &SqliteBeside,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let connection = Arc::new(Connection::new(address).map_err(OpenError::unavailable)?);
        let last = read_last(&connection).await?;
        let (head, recorded_last) = last
            .map_or((0, chrono::DateTime::UNIX_EPOCH), |last| (last.position.0, last.recorded_at));
        identify(&connection, beside.path(), meta, head == 0).await?;
        let known = Head::new(head);
        let writer = Writer::open(connection.clone(), beside, clock, known.clone(), recorded_last)
            .await
            .map_err(OpenError::unavailable)?;
        // With what was just appended.
        let head = read_last(&connection).await?.map_or(0, |last| last.position.0);
        known.advance(head);
        let appender = Some(Appender::start(Arc::new(writer)));
        Ok(Self { connection, appender, head: known, tail: Tail::new(head), _poll: None })
    }

    /// The log as a process beside the gateway reads it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) async fn open_read_only(address: Address) -> Result<Self, OpenError> {
        let connection = Arc::new(Connection::new(address).map_err(OpenError::unavailable)?);
        let at = read_last(&connection).await?.map_or(0, |last| last.position.0);
        let head = Head::new(at);
        let poll = {
            let (connection, head) = (connection.clone(), head.clone());
            Background::spawn(async move {
                let ask = || async {
                    Ok(read::last(&connection).await?.map_or(Position(0), |last| last.position))
                };
                head.poll(ask).await;
            })
        };
        Ok(Self { connection, appender: None, head, tail: Tail::new(at), _poll: Some(poll) })
    }
}

async fn read_last(connection: &Connection) -> Result<Option<StoredEvent>, OpenError> {
    read::last(connection).await.map_err(|error| match error {
        LogError::Unavailable(source) => match source.downcast_ref::<CallError>() {
            Some(CallError::Refused(Error::AccessDenied)) => OpenError::Foreign {
                reason: format!(
                    "{} denies access: store.url needs the name and password of a user who may read $all and append",
                    connection.address()
                ),
            },
            _ => OpenError::unavailable(source),
        },
        other => OpenError::unavailable(other),
    })
}

/// Two gateways on one log, or one with another's keys, must not be: the log has an id, and so has the file beside it.
async fn identify(
    connection: &Connection,
    file: &Path,
    meta: &SqliteBeside,
    is_empty: bool,
) -> Result<(), OpenError> {
    let foreign = |what: &str| OpenError::Foreign {
        reason: format!("{} {what} {}", connection.address(), file.display()),
    };
    let failed = |error: CallError| OpenError::unavailable(error);
    let stream = connection.address().name_of(LOG_STREAM);
    let mut there = id_in(connection, &stream).await?;
    let known: Option<Uuid> = match meta.get(LOG_ID).await.map_err(OpenError::unavailable)? {
        Some(text) => Some(text.parse().map_err(|_| foreign("is not the log of"))?),
        None => None,
    };
    match (there, known) {
        (Some(there), Some(known)) if there == known => return Ok(()),
        (Some(_), Some(_)) => return Err(foreign("holds another log than that of")),
        (None, Some(_)) => return Err(foreign("does not hold the log of")),
        (Some(_), None) if !is_empty => {
            return Err(foreign(
                "holds a log whose keys, and all else that stands beside it, are not in",
            ));
        }
        _ => {}
    }
    if there.is_none() {
        create(connection, &stream).await.map_err(failed)?;
        // Whoever was first.
        there = id_in(connection, &stream).await?;
    }
    let id = there.ok_or_else(|| foreign("did not keep the id of the log of"))?.to_string();
    match meta.compare_and_set(LOG_ID, None, &id).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(foreign("was taken by another gateway, though not with")),
        Err(error) => Err(OpenError::unavailable(error)),
    }
}

async fn id_in(connection: &Connection, stream: &str) -> Result<Option<Uuid>, OpenError> {
    let first = read::first_of(connection, stream).await.map_err(OpenError::unavailable)?;
    if first.as_ref().is_some_and(|event| event.position.commit == u64::MAX) {
        return Err(OpenError::Foreign {
            reason: format!(
                "{} does not say where the events of a stream stand in the log: its version is too old",
                connection.address()
            ),
        });
    }
    Ok(first.map(|event| event.id))
}

async fn create(connection: &Connection, stream: &str) -> Result<(), CallError> {
    let mut options =
        AppendToStreamOptions::default().stream_state(StreamState::NoStream).requires_leader(true);
    if let Some(credentials) = &connection.address().credentials {
        options = options.authenticated(credentials.clone());
    }
    let id = Uuid::now_v7();
    let created = connection.call(|client| {
        let options = options.clone();
        async move {
            let event = EventData::json(LOG_CREATED, &serde_json::json!({ "id": id }))
                .map_err(|error| Error::InternalParsingError(error.to_string()))?;
            client.append_to_stream(stream, &options, event.id(id)).await
        }
    });
    match created.await {
        Ok(_) | Err(CallError::Refused(Error::WrongExpectedVersion { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl EventLog for KurrentEventLog {
    async fn append(&self, units: Vec<AppendUnit>) -> Result<Vec<AppendOutcome>, LogError> {
        match &self.appender {
            Some(appender) => appender.append(units).await,
            None => Err(unavailable("the log was opened for reading")),
        }
    }

    async fn read_streams(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError> {
        read::streams(&self.connection, streams.to_vec()).await
    }

    async fn read_stream_page(
        &self,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, LogError> {
        let limit = reading::page_limit(limit);
        read::stream_page(&self.connection, stream, after_sequence, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogPage, LogError> {
        let (limit, head) = (reading::page_limit(limit), self.head.at());
        if after.0 >= head {
            tokio::task::coop::consume_budget().await;
            return Ok(LogPage { events: Vec::new(), scanned_to: after, at_head: true });
        }
        if reading::reads_by_key(filter) {
            return read::page_by_key(&self.connection, after, filter, limit, head).await;
        }
        let types = reading::wanted_types(filter);
        read::page_by_parts(after, filter, limit, head, |at| async move {
            match self.tail.part(&self.connection, at, head).await? {
                Some(part) => Ok(part),
                None => {
                    read::part(
                        &self.connection,
                        at,
                        types,
                        FETCH_EVENTS.min(limit.max(FETCH_EVENTS_MIN)),
                        head,
                    )
                    .await
                }
            }
        })
        .await
    }

    async fn head(&self) -> Result<Position, LogError> {
        // Not from memory: who asks for the head may want to know whether the store answers.
        let last = read::last(&self.connection).await?.map_or(0, |last| last.position.0);
        self.head.advance(last);
        Ok(Position(self.head.at()))
    }

    fn is_exclusive(&self) -> bool {
        self.appender.is_some()
    }

    async fn changed(&self, after: Position) {
        self.head.beyond(after).await;
    }
}
