//! One SQLite file, owned by one process: a thread that writes and checkpoints, a few that read, none of it on the async
//! executor.
//!
//! Only the writing thread ever writes or checkpoints, which keeps clear of SQLite's WAL-reset bug (versions before
//! 3.51.3 need two writing or checkpointing connections for it); a lock on a file beside the database keeps other
//! processes from becoming a second writer. Readers, in this process or another, only ever open the file read-only.
//!
//! What was answered by [`Sqlite::write`] under [`Synchronous::Full`] survives a power cut. A panic in a closure becomes
//! an error for its caller and leaves nothing of its transaction behind.

mod lock;
mod migrate;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rusqlite::{Connection, Transaction};

pub use migrate::Migration;
use worker::Workers;

/// How long a statement waits for another process's lock before it fails.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Writes, and reads, that may wait for their thread; more wait for a place in the queue.
pub const QUEUE_MAX: usize = 1_024;
/// Reader threads at most, whatever the options say.
pub const READERS_MAX: usize = 64;

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// The disk: a committed transaction survives a power cut.
    #[default]
    Full,
    /// The operating system: a committed transaction survives a kill of the process; a power cut may take the last
    /// ones back, never half of one. For what can be rebuilt.
    Normal,
}

/// How to open a file.
#[derive(Clone, Debug)]
pub struct Options {
    pub synchronous: Synchronous,
    /// Reading threads, each with a connection of its own; from 1 to [`READERS_MAX`].
    pub readers: usize,
    /// For programs beside the process that owns the file: takes no lock, never writes, changes no setting.
    pub read_only: bool,
    /// Refuse to open a file that is there already.
    pub create_new: bool,
    /// Refuse to open where another holds the file (a lock on `<path>.lock`, which dies with its process).
    pub exclusive_lock: bool,
    /// Overwrite what is deleted with zeros.
    pub secure_delete: bool,
    /// Prepared statements that each connection keeps.
    pub statements: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            readers: 4,
            read_only: false,
            create_new: false,
            exclusive_lock: true,
            secure_delete: true,
            statements: 128,
        }
    }
}

impl Options {
    /// For a look beside the process that owns the file.
    pub fn read_only() -> Self {
        Self { read_only: true, exclusive_lock: false, readers: 1, ..Self::default() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    #[error("could not open {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `holder` is what the owner wrote into the lock file.
    #[error(
        "{path} is in use by {holder}; stop it first, or work beside it with a command that only reads"
    )]
    InUse { path: PathBuf, holder: String },
    #[error("a statement on {path} failed")]
    Statement {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("{path} was opened for reading only")]
    ReadOnly { path: PathBuf },
    /// A closure panicked; its transaction was rolled back.
    #[error("work on the database panicked: {0}")]
    Panicked(String),
    #[error("{path} was closed")]
    Closed { path: PathBuf },
    #[error("migration {name}: {reason}")]
    Migration { name: String, reason: String },
}

impl SqliteError {
    /// Whether a unique or primary key stood against the write.
    pub fn is_unique_violation(&self) -> bool {
        let Self::Statement { source: rusqlite::Error::SqliteFailure(failure, _), .. } = self
        else {
            return false;
        };
        matches!(
            failure.extended_code,
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        )
    }
}

/// A handle; clones share the threads. When the last one goes, the queued work is done, the log is folded into the
/// database file, and the threads are joined: that blocks, for as long as the running closures take.
#[derive(Clone)]
pub struct Sqlite {
    workers: Arc<Workers>,
}

/// A handle that does not keep the file open: for background tasks, which must not outlive their owner.
#[derive(Clone)]
pub struct WeakSqlite {
    workers: Weak<Workers>,
}

impl WeakSqlite {
    /// `None` where the last real handle is gone.
    pub fn upgrade(&self) -> Option<Sqlite> {
        self.workers.upgrade().map(|workers| Sqlite { workers })
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the file, and makes it (mode 0600) and its directory where there is none and `options` allow writing.
    /// Blocks for a few milliseconds, longer where the last owner was killed and its log must be replayed.
    ///
    /// # Errors
    /// [`SqliteError::InUse`] where another process, or another handle in this one, owns the file;
    /// [`SqliteError::Open`] where it cannot be opened or is no database.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, SqliteError> {
        Ok(Self { workers: Arc::new(Workers::start(path.as_ref(), &options)?) })
    }

    pub fn downgrade(&self) -> WeakSqlite {
        WeakSqlite { workers: Arc::downgrade(&self.workers) }
    }

    pub fn path(&self) -> &Path {
        self.workers.path()
    }

    /// Whether it was opened with [`Options::read_only`]: then every write is an error.
    pub fn is_read_only(&self) -> bool {
        self.workers.is_read_only()
    }

    /// Runs `work` in an immediate transaction of its own and commits when it returns `Ok`. It runs even when the
    /// caller stops waiting.
    ///
    /// # Errors
    /// [`SqliteError::Statement`] where a statement or the commit failed: then nothing was written.
    pub async fn write<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<T, rusqlite::Error> + Send + 'static,
        T: Send + 'static,
    {
        self.workers.write(work).await
    }

    /// Runs `work` on a reading connection. All its statements see one moment of the database. Skipped where the caller
    /// stopped waiting before its turn came.
    ///
    /// # Errors
    /// [`SqliteError::Statement`] where a statement failed, also because it tried to write.
    pub async fn read<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        F: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
        T: Send + 'static,
    {
        self.workers.read(work).await
    }

    /// Folds the write-ahead log into the database file and empties it, so that nothing deleted is left in either.
    /// `false` where a reader was still looking at an older moment: try again.
    ///
    /// # Errors
    /// [`SqliteError::Statement`] where the disk refused.
    pub async fn checkpoint_truncate(&self) -> Result<bool, SqliteError> {
        self.workers.on_writer(worker::checkpoint_truncate).await
    }

    /// Rebuilds the file without its free pages. Needs as much free disk as the database is large; writers wait.
    ///
    /// # Errors
    /// [`SqliteError::Statement`] where the disk refused.
    pub async fn vacuum(&self) -> Result<(), SqliteError> {
        self.workers.on_writer(|connection| connection.execute_batch("VACUUM")).await
    }

    /// Applies those of `migrations` that `table` does not name yet, in the order given, each in a transaction of its
    /// own. Returns the names of those it applied.
    ///
    /// # Errors
    /// [`SqliteError::Migration`] where one fails, was changed after it had been applied, or where the file has one that
    /// this program does not know (it was written by a newer version).
    pub async fn migrate(
        &self,
        table: &'static str,
        migrations: &[Migration<'_>],
    ) -> Result<Vec<String>, SqliteError> {
        migrate::run(self, table, migrations).await
    }
}

#[cfg(test)]
mod tests;
