//! The webhook journal: what WhatsApp posted, on disk before it is answered, in the order in which it will be
//! interpreted, for as long as retention says. Bodies are sealed with a key per day; nothing of them is in the clear.
//!
//! Promises: what [`WebhookJournal::append`] returned for survives a power cut; a reader that has seen an id never sees a
//! lower one appear; ids are never given twice; an erasure leaves every other item where it was. Concurrent posts share a
//! transaction, so a burst costs few disk syncs.
//!
//! Reading again is always safe: whoever applies items must take repetition, since WhatsApp repeats itself too.

mod batch;
mod key_ring;
mod keys;
mod postgres;
mod redact;
mod sqlite;
mod store;
#[cfg(test)]
mod tests;

pub use keys::{DayKeyError, DayKeys};
pub use redact::{Person, Redaction, redact};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::primitives::AccountId;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::event_store::{Database, OpenError};
use batch::Post;
use store::{JournalStore, NewRow, Parked, Row};

/// The largest body that is kept: Meta sends up to 3 MB.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Posts that one transaction takes, and their bytes; a larger one goes alone.
pub const BATCH_POSTS_MAX: usize = 500;
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Entries and bytes of one page; the first entry of a page always fits.
pub const PAGE_ENTRIES_MAX: usize = 500;
pub const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of posts that wait for the disk; further ones wait outside.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Rows that one transaction deletes.
const PRUNE_ROWS_MAX: i64 = 1_000;
/// Hashes that one look-up takes.
const HASHES_PER_LOOKUP: usize = 500;
/// How often appends that were not made through this handle are looked for, while somebody waits for them.
const POLL: Duration = Duration::from_millis(250);
/// How often an erasure tries an entry that somebody else rewrites at the same time.
const REWRITES_MAX: usize = 10;

/// The table that names the migrations applied.
pub const MIGRATIONS_TABLE: &str = "webhook_migrations";

macro_rules! migrations {
    ($store:literal) => {
        &[
            migrations!($store, "20261123120000_create_webhook_journal"),
            migrations!($store, "20261123120100_create_webhook_cursor"),
            migrations!($store, "20261123120200_create_webhook_parked"),
        ]
    };
    ($store:literal, $name:literal) => {
        ($name, include_str!(concat!("../../../migrations/", $store, "/", $name, ".sql")))
    };
}

/// The journal's tables on SQLite.
pub const SQLITE_MIGRATIONS: &[(&str, &str)] = migrations!("sqlite");
/// The journal's tables on PostgreSQL.
pub const POSTGRES_MIGRATIONS: &[(&str, &str)] = migrations!("postgres");

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A place in the journal; 0 is before the first entry. Grows, with gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JournalId(pub u64);

impl std::fmt::Display for JournalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl JournalId {
    fn of(id: i64) -> Self {
        Self(u64::try_from(id).unwrap_or(0))
    }

    fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

/// One notification.
#[derive(Clone, PartialEq, Eq)]
pub struct JournalEntry {
    pub id: JournalId,
    /// Whose callback it came to.
    pub account_id: AccountId,
    pub received_at: DateTime<Utc>,
    pub body: EntryBody,
    /// How often an erasure took something out.
    pub rewrites: u32,
}

impl std::fmt::Debug for JournalEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JournalEntry({} of {})", self.id, self.account_id)
    }
}

/// What is left of a body.
#[derive(Clone, PartialEq, Eq)]
pub enum EntryBody {
    /// The bytes as they came; after an erasure, the JSON without what was taken out.
    Readable(Vec<u8>),
    /// Its day's key is gone.
    Destroyed,
    /// The database does not hold what was written. Said once in the log; the others are unharmed.
    Corrupt,
}

impl EntryBody {
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Readable(bytes) => Some(bytes),
            Self::Destroyed | Self::Corrupt => None,
        }
    }
}

/// A status whose message nobody knows yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedItem {
    /// 0 until it is parked.
    pub id: u64,
    pub account_id: AccountId,
    /// Keyed hash of the wamid: the wamid itself holds a number.
    pub wamid_hash: Vec<u8>,
    pub journal_id: JournalId,
    /// As [`crate::webhook::interpret::Interpreted::path`].
    pub item_path: String,
    pub received_at: DateTime<Utc>,
}

impl From<Parked> for ParkedItem {
    fn from(row: Parked) -> Self {
        Self {
            id: u64::try_from(row.id).unwrap_or(0),
            account_id: AccountId(row.account_id),
            wamid_hash: row.wamid_hash,
            journal_id: JournalId::of(row.journal_id),
            item_path: row.item_path,
            received_at: DateTime::from_timestamp_millis(row.received_at).unwrap_or_default(),
        }
    }
}

/// What an erasure did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    pub entries: u64,
    pub items: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nothing is known of what was being written; repeating it is safe.
    #[error("the webhook journal is unavailable")]
    Unavailable(#[source] Source),
    #[error("a notification of {bytes} bytes is larger than the {BODY_BYTES_MAX} that are kept")]
    TooLarge { bytes: usize },
}

impl JournalError {
    fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// The journal; clones share it.
#[derive(Clone)]
pub struct WebhookJournal {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn JournalStore>,
    keys: Arc<dyn DayKeys>,
    posts: mpsc::UnboundedSender<Post>,
    room: Arc<Semaphore>,
    /// The highest id that was appended through here.
    appended: Arc<watch::Sender<u64>>,
}

impl std::fmt::Debug for WebhookJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookJournal")
    }
}

impl WebhookJournal {
    /// The journal in `database`, its tables made where they are missing. Needs a Tokio runtime, which goes on writing
    /// what was queued until it is shut down.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(database: &Database, keys: Arc<dyn DayKeys>) -> Result<Self, OpenError> {
        database.migrate(MIGRATIONS_TABLE, SQLITE_MIGRATIONS, POSTGRES_MIGRATIONS).await?;
        Ok(Self::open_unmigrated(database, keys))
    }

    /// The journal in a database whose tables are there, for looking at it beside the gateway.
    pub fn open_unmigrated(database: &Database, keys: Arc<dyn DayKeys>) -> Self {
        let store: Arc<dyn JournalStore> = match database {
            Database::Sqlite(db) => Arc::new(sqlite::SqliteJournal { db: db.clone() }),
            Database::Postgres(pool) => Arc::new(postgres::PostgresJournal { pool: pool.clone() }),
        };
        let (posts, waiting) = mpsc::unbounded_channel();
        // The task does not keep the file open: it ends with the last handle.
        let appended = Arc::new(watch::Sender::new(0));
        tokio::spawn(batch::write_batches(Arc::downgrade(&store), waiting, appended.clone()));
        let inner =
            Inner { store, keys, posts, room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)), appended };
        Self { inner: Arc::new(inner) }
    }

    /// Keeps a notification: it is on disk when this returns, and will be even where the caller stops waiting. Its
    /// signature has been checked by then.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`]: nothing was written. [`JournalError::Unavailable`]: answer with a failure, and Meta
    /// sends it again.
    pub async fn append(
        &self,
        account_id: AccountId,
        received_at: DateTime<Utc>,
        body: &[u8],
    ) -> Result<JournalId, JournalError> {
        let started = Instant::now();
        if body.len() > BODY_BYTES_MAX {
            return Err(JournalError::TooLarge { bytes: body.len() });
        }
        let closed = || JournalError::unavailable("the webhook journal was closed");
        let bytes = u32::try_from(body.len().max(1)).unwrap_or(u32::MAX);
        let room = self.inner.room.clone().acquire_many_owned(bytes).await.map_err(|_| closed())?;
        let (day, aad) = (received_at.date_naive(), aad(account_id, received_at));
        let sealed = self
            .inner
            .keys
            .seal(day, &aad, &gateway_pack::pack(body))
            .await
            .map_err(JournalError::unavailable)?;
        let row = NewRow {
            account_id: account_id.0,
            received_at: received_at.timestamp_millis(),
            key_day: day_number(day),
            sealed,
            body_bytes: i64::from(bytes),
        };
        let (answer, answered) = oneshot::channel();
        self.inner.posts.send(Post { row, answer, room }).map_err(|_| closed())?;
        let id = answered.await.map_err(|_| closed())??;
        metrics::histogram!("gateway_webhook_append_seconds").record(started.elapsed());
        Ok(id)
    }

    /// The entries after `after`, by id: at most `limit` of them and [`PAGE_ENTRIES_MAX`], and not more than
    /// [`PAGE_BYTES_MAX`] together. Empty: there are no more yet.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn read_after(
        &self,
        after: JournalId,
        limit: usize,
    ) -> Result<Vec<JournalEntry>, JournalError> {
        let limit = i64::try_from(limit.clamp(1, PAGE_ENTRIES_MAX)).unwrap_or(1);
        let store = &self.inner.store;
        let sizes =
            store.sizes_after(after.signed(), limit).await.map_err(JournalError::unavailable)?;
        let mut to = after.signed();
        let mut bytes = 0_usize;
        for (index, (id, size)) in sizes.into_iter().enumerate() {
            bytes = bytes.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            if index > 0 && bytes > PAGE_BYTES_MAX {
                break;
            }
            to = id;
        }
        self.read_between(after.signed(), to).await
    }

    /// One entry; `None` where there is none, or no more.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn read(&self, id: JournalId) -> Result<Option<JournalEntry>, JournalError> {
        if id.0 == 0 {
            return Ok(None);
        }
        Ok(self.read_between(id.signed() - 1, id.signed()).await?.pop())
    }

    async fn read_between(&self, after: i64, to: i64) -> Result<Vec<JournalEntry>, JournalError> {
        if to <= after {
            return Ok(Vec::new());
        }
        let rows = self.inner.store.rows(after, to).await.map_err(JournalError::unavailable)?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            entries.push(self.unsealed(row).await?);
        }
        Ok(entries)
    }

    async fn unsealed(&self, row: Row) -> Result<JournalEntry, JournalError> {
        let account_id = AccountId(row.account_id);
        let received_at = DateTime::from_timestamp_millis(row.received_at).unwrap_or_default();
        let aad = aad(account_id, received_at);
        let opened = self.inner.keys.open(day_of(row.key_day), &aad, &row.sealed).await;
        let unpacked = opened.and_then(|packed| {
            let plain = packed.map(|packed| gateway_pack::unpack(&packed)).transpose();
            plain.map_err(|_| DayKeyError::Corrupt)
        });
        let body = match unpacked {
            Ok(Some(bytes)) => EntryBody::Readable(bytes),
            Ok(None) => EntryBody::Destroyed,
            Err(DayKeyError::Corrupt) => {
                tracing::error!(
                    journal.id = row.id,
                    "a notification in the journal is not what was written"
                );
                EntryBody::Corrupt
            }
            Err(error @ DayKeyError::Unavailable(_)) => {
                return Err(JournalError::unavailable(error));
            }
        };
        Ok(JournalEntry {
            id: JournalId::of(row.id),
            account_id,
            received_at,
            body,
            rewrites: u32::try_from(row.rewrites).unwrap_or(u32::MAX),
        })
    }

    /// The last entry's id; 0 where there is none, also because all were pruned.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn head(&self) -> Result<JournalId, JournalError> {
        self.inner.store.head().await.map(JournalId::of).map_err(JournalError::unavailable)
    }

    /// The place before the first entry that was received at `at` or later; the head where there is none.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn before(&self, at: DateTime<Utc>) -> Result<JournalId, JournalError> {
        let day = day_number(at.date_naive());
        let first = self.inner.store.first_since(day, at.timestamp_millis()).await;
        match first.map_err(JournalError::unavailable)? {
            Some(first) => Ok(JournalId::of(first.saturating_sub(1))),
            None => self.head().await,
        }
    }

    /// Returns once there is something after `after`: a wake-up, never the data. May return early.
    pub async fn changed(&self, after: JournalId) {
        let mut appended = self.inner.appended.subscribe();
        loop {
            // An error is the reader's to meet, with its own patience.
            let is_there = match self.head().await {
                Ok(head) => head > after,
                Err(_) => {
                    tokio::time::sleep(POLL).await;
                    true
                }
            };
            if is_there {
                return;
            }
            // Other nodes append too, and say nothing.
            let news = appended.wait_for(|last| *last > after.0);
            if tokio::time::timeout(POLL, news).await.is_ok() {
                return;
            }
        }
    }

    /// How far the reader `name` has come; 0 before it ever moved.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn cursor(&self, name: &str) -> Result<JournalId, JournalError> {
        self.inner.store.cursor(name).await.map(JournalId::of).map_err(JournalError::unavailable)
    }

    /// Moves a reader's cursor from `from` to `to`, on disk when this returns. `false`: it was not at `from`, because
    /// another node reads too; nothing was changed. Moving it back interprets the entries again.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn move_cursor(
        &self,
        name: &str,
        from: JournalId,
        to: JournalId,
    ) -> Result<bool, JournalError> {
        self.inner
            .store
            .move_cursor(name, from.signed(), to.signed())
            .await
            .map_err(JournalError::unavailable)
    }

    /// Says how many of an entry's items were for accounts of somebody else. Saying it again counts nothing twice.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn mark_foreign(&self, id: JournalId, items: u32) -> Result<(), JournalError> {
        let store = &self.inner.store;
        store.mark_foreign(id.signed(), items.into()).await.map_err(JournalError::unavailable)
    }

    /// All foreign items that ever came to this account's callback.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn foreign_items(&self, account_id: AccountId) -> Result<u64, JournalError> {
        let items = self.inner.store.foreign_items(account_id.0).await;
        items.map(|items| u64::try_from(items).unwrap_or(0)).map_err(JournalError::unavailable)
    }

    /// Remembers statuses whose message nobody knows yet. What is parked already stays as it is.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn park(&self, items: &[ParkedItem]) -> Result<(), JournalError> {
        let items: Vec<Parked> = items
            .iter()
            .map(|item| Parked {
                id: 0,
                account_id: item.account_id.0,
                wamid_hash: item.wamid_hash.clone(),
                journal_id: item.journal_id.signed(),
                item_path: item.item_path.clone(),
                received_at: item.received_at.timestamp_millis(),
            })
            .collect();
        if items.is_empty() {
            return Ok(());
        }
        self.inner.store.park(items).await.map_err(JournalError::unavailable)
    }

    /// What is parked under these hashes, oldest first. It stays until [`Self::unpark`].
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn find_parked(
        &self,
        wamid_hashes: &[Vec<u8>],
    ) -> Result<Vec<ParkedItem>, JournalError> {
        let mut found = BTreeMap::new();
        for hashes in wamid_hashes.chunks(HASHES_PER_LOOKUP) {
            let parked = self.inner.store.find_parked(hashes.to_vec()).await;
            for item in parked.map_err(JournalError::unavailable)? {
                found.insert(item.id, item);
            }
        }
        Ok(found.into_values().map(ParkedItem::from).collect())
    }

    /// At most `limit` (and [`PAGE_ENTRIES_MAX`]) parked items after the one of id `after`, oldest first: a walk over
    /// all of them.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn parked_after(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ParkedItem>, JournalError> {
        let limit = i64::try_from(limit.clamp(1, PAGE_ENTRIES_MAX)).unwrap_or(1);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let parked = self.inner.store.parked_after(after, limit).await;
        let parked = parked.map_err(JournalError::unavailable)?;
        Ok(parked.into_iter().map(ParkedItem::from).collect())
    }

    /// Forgets parked items, by [`ParkedItem::id`]: they are settled.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]
    pub async fn unpark(&self, ids: &[u64]) -> Result<(), JournalError> {
        let ids: Vec<i64> = ids.iter().filter_map(|id| i64::try_from(*id).ok()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        self.inner.store.unpark(ids).await.map_err(JournalError::unavailable)
    }

    /// Forgets what has been parked since before `before`: nobody will claim it any more. How many items.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]: some may be gone.
    pub async fn prune_parked(&self, before: DateTime<Utc>) -> Result<u64, JournalError> {
        let before = before.timestamp_millis();
        let mut pruned = 0;
        loop {
            let deleted = self
                .inner
                .store
                .prune_parked(before, PRUNE_ROWS_MAX)
                .await
                .map_err(JournalError::unavailable)?;
            pruned += deleted;
            if deleted < PRUNE_ROWS_MAX.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }

    /// Ends the retention of everything received more than `retention_days` days before `now`'s day: first the days'
    /// keys, so that no copy of a row can be read any more, then the rows and what is parked in them. How many entries.
    /// Looks at no cursor: a caller whose reader lags behind gives an earlier `now`.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]: some may be gone; repeating it is safe.
    pub async fn prune(
        &self,
        now: DateTime<Utc>,
        retention_days: u32,
    ) -> Result<u64, JournalError> {
        let today = now.date_naive();
        let day = today.checked_sub_days(Days::new(retention_days.into())).unwrap_or(today);
        let days = self.inner.store.days_before(day_number(day)).await;
        let days: Vec<NaiveDate> =
            days.map_err(JournalError::unavailable)?.into_iter().map(day_of).collect();
        self.inner.keys.destroy(&days).await.map_err(JournalError::unavailable)?;
        let mut pruned = 0;
        loop {
            let deleted = self
                .inner
                .store
                .delete_before(day_number(day), PRUNE_ROWS_MAX)
                .await
                .map_err(JournalError::unavailable)?;
            pruned += deleted;
            if deleted < PRUNE_ROWS_MAX.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }

    /// Takes a person out of every entry up to the head at the time of the call. Reads all of the journal; may be
    /// repeated. Afterwards nothing that the rows hold names them; the caller makes the database forget the old rows
    /// (SQLite: truncate its write-ahead log; PostgreSQL: vacuum `webhook_journal` and `webhook_parked`).
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]: it is not done; repeat it.
    pub async fn erase(&self, person: &Person) -> Result<Erased, JournalError> {
        let mut erased = Erased::default();
        if person.is_nobody() {
            return Ok(erased);
        }
        let head = self.head().await?;
        let mut after = JournalId::default();
        while after < head {
            let page = self.read_after(after, PAGE_ENTRIES_MAX).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for entry in page {
                let items = self.erase_in(entry, person).await?;
                erased.entries += u64::from(items > 0);
                erased.items += items;
            }
        }
        Ok(erased)
    }

    async fn erase_in(
        &self,
        mut entry: JournalEntry,
        person: &Person,
    ) -> Result<u64, JournalError> {
        for _ in 0..REWRITES_MAX {
            let Some(redaction) = entry.body.bytes().and_then(|body| redact(body, person)) else {
                return Ok(0);
            };
            let (day, aad) =
                (entry.received_at.date_naive(), aad(entry.account_id, entry.received_at));
            let sealed = self
                .inner
                .keys
                .seal(day, &aad, &gateway_pack::pack(&redaction.body))
                .await
                .map_err(JournalError::unavailable)?;
            let items = redaction.paths.len() as u64;
            let replaced = self
                .inner
                .store
                .replace(
                    entry.id.signed(),
                    entry.rewrites.into(),
                    sealed,
                    i64::try_from(redaction.body.len()).unwrap_or(i64::MAX),
                    redaction.paths,
                )
                .await
                .map_err(JournalError::unavailable)?;
            if replaced {
                return Ok(items);
            }
            // Another erasure was faster, or retention: look again.
            match self.read(entry.id).await? {
                Some(again) => entry = again,
                None => return Ok(0),
            }
        }
        Err(JournalError::unavailable("an entry was rewritten over and over by others"))
    }
}

/// Binds a body to its account and time: a row that is moved to another account cannot be opened.
fn aad(account_id: AccountId, received_at: DateTime<Utc>) -> Vec<u8> {
    let mut aad = b"webhook_journal".to_vec();
    aad.extend(account_id.0.as_bytes());
    aad.extend(received_at.timestamp_millis().to_be_bytes());
    aad
}

fn day_number(day: NaiveDate) -> i64 {
    (day - NaiveDate::default()).num_days()
}

fn day_of(number: i64) -> NaiveDate {
    chrono::Duration::try_days(number)
        .and_then(|days| NaiveDate::default().checked_add_signed(days))
        .unwrap_or_default()
}
