//! The threads behind a handle, and when the write-ahead log is folded into the database file.
//!
//! Three moments: SQLite's own check at commit once the log has [`CHECKPOINT_PAGES`], which bounds it under load; a
//! truncating one when nothing was written for [`IDLE`], which no caller waits for; and a truncating one that waits for
//! readers once the file has grown by [`WAL_GROWTH_BYTES`], since readers that follow one another without a break can
//! keep the log from being started anew.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::lock::{self, Lock};
use crate::{BUSY_TIMEOUT, Options, QUEUE_MAX, READERS_MAX, SqliteError, Synchronous};

/// Pages of the log at which a commit folds it in (4 KiB each).
const CHECKPOINT_PAGES: u32 = 2_000;
/// Without a write for this long, the log is folded in and emptied.
const IDLE: Duration = Duration::from_millis(500);
/// Growth of the log's file after which the writer waits for readers, to start it anew.
const WAL_GROWTH_BYTES: u64 = 64 * 1024 * 1024;
/// How long it waits for them.
const WAL_READERS_TIMEOUT: Duration = Duration::from_millis(500);
/// Memory the writing connection may use for pages, in KiB. What is not there is in the operating system's memory.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
/// And each reading one, which lets go of all of them whenever something was written.
const READER_CACHE_KIB: i64 = 1024;

struct Job {
    work: Box<dyn FnOnce(&mut Connection) + Send>,
    _place: OwnedSemaphorePermit,
}

/// A queue to one or more threads: bounded by permits, so that the receiving side can wait with a timeout.
struct Queue {
    sender: Option<Sender<Job>>,
    places: Arc<Semaphore>,
}

pub(crate) struct Workers {
    path: PathBuf,
    writer: Option<Queue>,
    readers: Queue,
    reading: Vec<JoinHandle<()>>,
    writing: Option<JoinHandle<()>>,
}

impl Workers {
    pub fn start(path: &Path, options: &Options) -> Result<Self, SqliteError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| SqliteError::Open {
            path: path.to_owned(),
            source,
        };
        let (writer, writing) = if options.read_only {
            (None, None)
        } else {
            if let Some(directory) =
                path.parent().filter(|directory| !directory.as_os_str().is_empty())
            {
                std::fs::create_dir_all(directory).map_err(|error| failed(error.into()))?;
            }
            let lock = options.exclusive_lock.then(|| lock::acquire(path)).transpose()?;
            let connection = open_writer(path, options).map_err(failed)?;
            let (queue, receiver) = Queue::new();
            let wal = wal_path(path);
            let thread = std::thread::Builder::new()
                .name("sqlite-writer".to_owned())
                .spawn(move || write_loop(connection, &receiver, &wal, lock))
                .map_err(|error| failed(error.into()))?;
            (Some(queue), Some(thread))
        };

        let (readers, receiver) = Queue::new();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut workers =
            Self { path: path.to_owned(), writer, readers, reading: Vec::new(), writing };
        for n in 0..options.readers.clamp(1, READERS_MAX) {
            // On an error `workers` is dropped, which ends the threads started so far.
            let connection = open_reader(path, options).map_err(|error| failed(error.into()))?;
            let receiver = receiver.clone();
            let thread = std::thread::Builder::new()
                .name(format!("sqlite-reader-{n}"))
                .spawn(move || read_loop(connection, &receiver))
                .map_err(|error| failed(error.into()))?;
            workers.reading.push(thread);
        }
        Ok(workers)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_read_only(&self) -> bool {
        self.writer.is_none()
    }

    pub async fn write<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<T, rusqlite::Error> + Send + 'static,
        T: Send + 'static,
    {
        self.on_writer(move |connection| {
            let mut transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&mut transaction)?;
            transaction.commit()?;
            Ok(value)
        })
        .await
    }

    pub async fn on_writer<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        F: FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
        T: Send + 'static,
    {
        let Some(queue) = &self.writer else {
            return Err(SqliteError::ReadOnly { path: self.path.clone() });
        };
        let (answer, answered) = oneshot::channel();
        let accepted = queue
            .push(Box::new(move |connection| {
                // Whoever stopped waiting is not told; the work is done all the same.
                let _ = answer.send(caught(connection, work));
            }))
            .await;
        self.answer(accepted, answered).await
    }

    pub async fn read<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        F: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let accepted = self
            .readers
            .push(Box::new(move |connection| {
                if answer.is_closed() {
                    return;
                }
                let result = caught(connection, |connection| {
                    let snapshot = connection.transaction()?;
                    work(&snapshot)
                });
                let _ = answer.send(result);
            }))
            .await;
        self.answer(accepted, answered).await
    }

    async fn answer<T>(
        &self,
        accepted: bool,
        answered: oneshot::Receiver<Result<T, Failure>>,
    ) -> Result<T, SqliteError> {
        let closed = || SqliteError::Closed { path: self.path.clone() };
        if !accepted {
            return Err(closed());
        }
        match answered.await.map_err(|_| closed())? {
            Ok(value) => Ok(value),
            Err(Failure::Statement(source)) => {
                Err(SqliteError::Statement { path: self.path.clone(), source })
            }
            Err(Failure::Panicked(text)) => Err(SqliteError::Panicked(text)),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Readers first: the writer can only fold the log in and remove it once they are gone.
        self.readers.sender = None;
        join(self.reading.drain(..));
        self.writer = None;
        join(self.writing.take());
    }
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    let here = std::thread::current().id();
    for thread in threads {
        // The last handle may have been dropped inside a closure, on one of these very threads.
        if thread.thread().id() != here && thread.join().is_err() {
            tracing::error!("a database thread panicked");
        }
    }
}

impl Queue {
    fn new() -> (Self, Receiver<Job>) {
        let (sender, receiver) = channel();
        (Self { sender: Some(sender), places: Arc::new(Semaphore::new(QUEUE_MAX)) }, receiver)
    }

    async fn push(&self, work: Box<dyn FnOnce(&mut Connection) + Send>) -> bool {
        let Ok(place) = self.places.clone().acquire_owned().await else { return false };
        self.sender.as_ref().is_some_and(|sender| sender.send(Job { work, _place: place }).is_ok())
    }
}

enum Failure {
    Statement(rusqlite::Error),
    Panicked(String),
}

fn caught<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error>,
) -> Result<T, Failure> {
    // A transaction that unwinds is rolled back by its own drop, so the connection is sound afterwards.
    match catch_unwind(AssertUnwindSafe(|| work(connection))) {
        Ok(result) => result.map_err(Failure::Statement),
        Err(panic) => Err(Failure::Panicked(panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// `lock` is let go after the connection is closed.
fn write_loop(mut connection: Connection, jobs: &Receiver<Job>, wal: &Path, lock: Option<Lock>) {
    let mut dirty = false;
    let mut truncate_at = WAL_GROWTH_BYTES;
    loop {
        let job = if dirty {
            match jobs.recv_timeout(IDLE) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    truncate_within(&connection, Duration::ZERO);
                    dirty = false;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        } else {
            match jobs.recv() {
                Ok(job) => job,
                Err(_) => break,
            }
        };
        (job.work)(&mut connection);
        dirty = true;
        let wal_bytes = std::fs::metadata(wal).map_or(0, |file| file.len());
        if wal_bytes > truncate_at {
            let emptied = truncate_within(&connection, WAL_READERS_TIMEOUT);
            truncate_at = if emptied { WAL_GROWTH_BYTES } else { wal_bytes + WAL_GROWTH_BYTES };
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the database did not close cleanly"
        );
    }
    drop(lock);
}

fn read_loop(mut connection: Connection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        (job.work)(&mut connection);
    }
}

fn truncate_within(connection: &Connection, timeout: Duration) -> bool {
    let emptied = connection.busy_timeout(timeout).and_then(|()| {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
    });
    let restored = connection.busy_timeout(BUSY_TIMEOUT);
    match (emptied, restored) {
        (Ok(busy), Ok(())) => busy == 0,
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not fold the write-ahead log in"
            );
            false
        }
    }
}

pub(crate) fn checkpoint_truncate(connection: &mut Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row(
        "PRAGMA wal_checkpoint(TRUNCATE)",
        [],
        |row| Ok(row.get::<_, i64>(0)? == 0),
    )
}

fn open_writer(
    path: &Path,
    options: &Options,
) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    // Made here for its mode, which SQLite gives to the log beside it too. Never opened when it exists: closing it
    // again would drop the locks that SQLite holds on it elsewhere in this process.
    match lock::private_options().create_new(true).write(true).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && !options.create_new => {}
        Err(error) => return Err(error.into()),
    }
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(format!(
            "its file system allows no write-ahead log (journal mode is {mode}); use a local disk"
        )
        .into());
    }
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "secure_delete", options.secure_delete)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    settle(&connection, options, WRITER_CACHE_KIB)?;
    Ok(connection)
}

fn open_reader(path: &Path, options: &Options) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    settle(&connection, options, READER_CACHE_KIB)?;
    Ok(connection)
}

fn settle(
    connection: &Connection,
    options: &Options,
    cache_kib: i64,
) -> Result<(), rusqlite::Error> {
    connection.set_prepared_statement_cache_capacity(options.statements);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    // Sorting spills would put personal data into files of their own.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The first statement that touches the file says whether it is a database.
    connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
        .map(drop)
}

fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}
