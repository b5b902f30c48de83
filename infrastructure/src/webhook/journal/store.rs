//! The journal's rows as a database keeps them: sealed, and known only by account, time and size. What both stores do.

use async_trait::async_trait;

use super::Source;

/// A row on its way in.
#[derive(Clone)]
pub(super) struct NewRow {
    pub account_id: uuid::Uuid,
    /// Milliseconds since 1970.
    pub received_at: i64,
    /// Days since 1970.
    pub key_day: i64,
    pub sealed: Vec<u8>,
    /// Of the body, before it was sealed.
    pub body_bytes: i64,
}

pub(super) struct Row {
    pub id: i64,
    pub account_id: uuid::Uuid,
    pub received_at: i64,
    pub key_day: i64,
    pub sealed: Vec<u8>,
    pub rewrites: i64,
}

pub(super) struct Parked {
    pub id: i64,
    pub account_id: uuid::Uuid,
    pub wamid_hash: Vec<u8>,
    pub journal_id: i64,
    pub item_path: String,
    pub received_at: i64,
}

#[async_trait]
pub(super) trait JournalStore: Send + Sync + 'static {
    /// All of them in one transaction, on disk when this returns. Their ids, in the order of `rows`.
    async fn append(&self, rows: Vec<NewRow>) -> Result<Vec<i64>, Source>;

    /// Id and size of at most `limit` rows after `after`, by id.
    async fn sizes_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, i64)>, Source>;

    /// The rows after `after` up to and with `to`, by id.
    async fn rows(&self, after: i64, to: i64) -> Result<Vec<Row>, Source>;

    /// The first row of this day or a later one that was received at this time or later. `None`: there is none.
    async fn first_since(&self, day: i64, received_at: i64) -> Result<Option<i64>, Source>;

    /// 0 where there is no row.
    async fn head(&self) -> Result<i64, Source>;

    async fn cursor(&self, name: &str) -> Result<i64, Source>;

    /// Moves the cursor to `to` where it is at `from`. Whether it was.
    async fn move_cursor(&self, name: &str, from: i64, to: i64) -> Result<bool, Source>;

    /// Replaces a row's body where it was rewritten exactly `rewrites` times, and forgets what was parked at these
    /// paths in it. Whether it was.
    async fn replace(
        &self,
        id: i64,
        rewrites: i64,
        sealed: Vec<u8>,
        body_bytes: i64,
        unpark: Vec<String>,
    ) -> Result<bool, Source>;

    /// The days before `day` that there are rows of.
    async fn days_before(&self, day: i64) -> Result<Vec<i64>, Source>;

    /// Deletes at most `limit` rows of days before `day`, and what is parked in them. How many rows.
    async fn delete_before(&self, day: i64, limit: i64) -> Result<u64, Source>;

    /// Says how many of a row's items were foreign, and counts those that had not been said before.
    async fn mark_foreign(&self, id: i64, items: i64) -> Result<(), Source>;

    async fn foreign_items(&self, account_id: uuid::Uuid) -> Result<i64, Source>;

    /// Those that are parked already are left as they are. `id` is not looked at.
    async fn park(&self, items: Vec<Parked>) -> Result<(), Source>;

    /// What is parked under any of these hashes, oldest first.
    async fn find_parked(&self, hashes: Vec<Vec<u8>>) -> Result<Vec<Parked>, Source>;

    /// At most `limit` parked items after the one of id `after`, oldest first.
    async fn parked_after(&self, after: i64, limit: i64) -> Result<Vec<Parked>, Source>;

    async fn unpark(&self, ids: Vec<i64>) -> Result<(), Source>;

    /// Deletes at most `limit` items received before `before`. How many.
    async fn prune_parked(&self, before: i64, limit: i64) -> Result<u64, Source>;
}
