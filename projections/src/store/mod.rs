//! Where the read models live: a SQLite file of their own, or PostgreSQL. One hand-written SQL runs on both; what differs
//! (numbered marks, lists, multi-row upserts) is settled here and nowhere else.
//!
//! Every table carries its generation in its name (`messages_g2`). Statements name tables without it (`{messages}`), so
//! a rebuild can fill the next generation with the same code while the current one answers.

mod memo;
mod postgres;
mod sql;
mod sqlite;
mod table;
mod value;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use gateway_sqlite::{Options, Sqlite, SqliteError, Synchronous};
use serde::de::DeserializeOwned;
use sqlx::postgres::PgPool;

use memo::Memo;
pub(crate) use postgres::storable;
pub use sql::{Dialect, LIST_MAX, Sql};
pub use table::{
    Changed, Column, Generations, Schema, Table, Write, add, keep, max, set, table_name,
};
pub use value::{Kind, Row, Value};

const MIGRATIONS: &[gateway_sqlite::Migration<'static>] = &[
    (
        "20260914090000_create_projections",
        include_str!("../../migrations/20260914090000_create_projections.sql"),
    ),
    (
        "20261127000000_add_building_to_projections",
        include_str!("../../migrations/20261127000000_add_building_to_projections.sql"),
    ),
];
const MIGRATIONS_TABLE: &str = "read_model_migrations";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the read models' database failed")]
    Sqlite(#[from] SqliteError),
    #[error("the read models' database failed")]
    Postgres(#[from] sqlx::Error),
    #[error("a row has no {expected} in column {column}")]
    Shape { column: usize, expected: &'static str },
    #[error("a row's document is of no shape this version knows (line {line}, column {column})")]
    Doc { line: usize, column: usize },
    /// Its tables hold a part of the log only, and would answer as if the rest had never been.
    #[error("the read model {name} is being built and has not caught up with the log yet")]
    Building { name: &'static str },
    #[error("the background work of a read model was stopped")]
    Stopped,
    #[error("the read models were written by a newer version (migration {name})")]
    FromTheFuture { name: String },
}

impl StoreError {
    /// A generation that was swapped away meanwhile.
    fn is_missing_table(&self) -> bool {
        match self {
            Self::Sqlite(SqliteError::Statement { source, .. }) => {
                source.to_string().contains("no such table")
            }
            // Dropped before it was planned, or between that and its being run.
            Self::Postgres(sqlx::Error::Database(error)) => {
                error.code().as_deref() == Some("42P01")
                    || error.message().starts_with("could not open relation")
            }
            _ => false,
        }
    }
}

#[derive(Clone)]
enum Backend {
    Sqlite(Sqlite),
    Postgres(PgPool),
}

/// A handle on the read models' database; clones share it.
#[derive(Clone)]
pub struct ReadDb {
    backend: Backend,
    /// Those that answer, as last heard.
    live: Arc<RwLock<Arc<Generations>>>,
    /// Documents are written as JSON, for whatever tool reads them.
    is_plain: bool,
    memo: Arc<Memo>,
}

impl std::fmt::Debug for ReadDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadDb").field("dialect", &self.dialect()).finish_non_exhaustive()
    }
}

/// The tables as one reader or writer sees them.
#[derive(Clone, Debug)]
pub struct View {
    db: ReadDb,
    generations: Arc<Generations>,
}

impl ReadDb {
    /// Opens the file beside the log, and makes it where there is none. What is in it can be rebuilt, so a power cut may
    /// take the last moments back; what is deleted is overwritten.
    ///
    /// # Errors
    /// [`StoreError`] where the file cannot be opened, is in use, or comes from a newer version.
    pub async fn open_sqlite(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let options = Options { synchronous: Synchronous::Normal, ..Options::default() };
        let db = Self::new(Backend::Sqlite(Sqlite::open(path, options)?));
        db.migrate().await?;
        Ok(db)
    }

    /// A new file (mode 0600) with no lock beside it and documents as JSON, for whoever takes it elsewhere.
    ///
    /// # Errors
    /// [`StoreError`] where there is one already, or none can be made.
    pub async fn create_sqlite(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let options = Options {
            synchronous: Synchronous::Normal,
            exclusive_lock: false,
            create_new: true,
            ..Options::default()
        };
        let db =
            Self { is_plain: true, ..Self::new(Backend::Sqlite(Sqlite::open(path, options)?)) };
        db.migrate().await?;
        Ok(db)
    }

    /// For a look beside the process that owns the file: never writes.
    ///
    /// # Errors
    /// [`StoreError`] where there is no such file.
    pub fn open_sqlite_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Ok(Self::new(Backend::Sqlite(Sqlite::open(path, Options::read_only())?)))
    }

    /// Uses the first schema of the pool's search path.
    ///
    /// # Errors
    /// [`StoreError`] where the server cannot be reached or what it holds comes from a newer version.
    pub async fn open_postgres(pool: PgPool) -> Result<Self, StoreError> {
        let db = Self::new(Backend::Postgres(pool));
        db.migrate().await?;
        Ok(db)
    }

    fn new(backend: Backend) -> Self {
        Self { backend, live: Arc::default(), is_plain: false, memo: Arc::default() }
    }

    pub fn dialect(&self) -> Dialect {
        match self.backend {
            Backend::Sqlite(_) => Dialect::Sqlite,
            Backend::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Other processes may write to it too.
    pub fn is_shared(&self) -> bool {
        self.dialect() == Dialect::Postgres
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => {
                db.migrate(MIGRATIONS_TABLE, MIGRATIONS).await?;
            }
            Backend::Postgres(pool) => {
                postgres::batch(
                    pool,
                    &format!(
                        "CREATE TABLE IF NOT EXISTS {MIGRATIONS_TABLE} \
                         (name TEXT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)"
                    ),
                )
                .await?;
                let known = self
                    .query_raw(&Sql::new(&format!("SELECT name FROM {MIGRATIONS_TABLE}")))
                    .await?;
                for row in &known {
                    let name = row.text(0)?;
                    if !MIGRATIONS.iter().any(|(ours, _)| *ours == name) {
                        return Err(StoreError::FromTheFuture { name: name.to_owned() });
                    }
                }
                for (name, sql) in MIGRATIONS {
                    // Checked again inside the transaction: two nodes may start at once.
                    let guarded = format!(
                        "DO $migration$ BEGIN IF NOT EXISTS \
                         (SELECT 1 FROM {MIGRATIONS_TABLE} WHERE name = '{name}') THEN {sql} \
                         INSERT INTO {MIGRATIONS_TABLE} (name, applied_at) \
                         VALUES ('{name}', (extract(epoch FROM clock_timestamp()) * 1000)::bigint); \
                         END IF; END $migration$"
                    );
                    postgres::batch(pool, &guarded).await?;
                }
            }
        }
        Ok(())
    }

    /// The generations that answer now.
    pub fn live(&self) -> View {
        let generations = self.live.read().unwrap_or_else(PoisonError::into_inner).clone();
        View { db: self.clone(), generations }
    }

    /// The live generations, but `generation` of one projection.
    pub fn at_generation(&self, schema: &'static Schema, generation: i64) -> View {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut generations = (*live).clone();
        generations.set(schema, generation);
        View { db: self.clone(), generations: Arc::new(generations) }
    }

    /// `is_building`: they have not caught up for the first time yet, and answer nothing until then.
    pub(crate) fn set_live(&self, schema: &'static Schema, generation: i64, is_building: bool) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = live.by_projection.get(schema.name) == Some(&generation);
        if !is_known || live.is_building(schema) != is_building {
            let mut generations = (**live).clone();
            generations.set(schema, generation);
            generations.set_building(schema, is_building);
            *live = Arc::new(generations);
        }
    }

    async fn query_in(&self, sql: &Sql, generations: &Generations) -> Result<Vec<Row>, StoreError> {
        let statement = sql.render(self.dialect(), generations);
        match &self.backend {
            Backend::Sqlite(db) => Ok(sqlite::query(db, statement).await?),
            Backend::Postgres(pool) => postgres::query(pool, statement).await,
        }
    }

    /// A query over tables without generations.
    pub(crate) async fn query_raw(&self, sql: &Sql) -> Result<Vec<Row>, StoreError> {
        self.query_in(sql, &Generations::default()).await
    }

    /// A query over the live tables.
    ///
    /// # Errors
    /// [`StoreError`] where the database failed, or tables that are asked are being built for the first time.
    pub async fn query(&self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        let mut view = self.live();
        if sql.building(&view.generations).is_some() && self.is_shared() {
            // Another node may have built them meanwhile.
            crate::registry::refresh(self).await?;
            view = self.live();
        }
        if let Some(name) = sql.building(&view.generations) {
            return Err(StoreError::Building { name });
        }
        match view.query(sql.clone()).await {
            // Swapped away since: the registry says what answers now.
            Err(error) if error.is_missing_table() => {
                crate::registry::refresh(self).await?;
                self.live().query(sql).await
            }
            result => result,
        }
    }

    /// The folded state in a `doc` column, for what is read again and again.
    ///
    /// # Errors
    /// [`StoreError`] where the column holds none that this version knows.
    pub(crate) fn doc<T>(&self, row: &Row, column: usize) -> Result<Arc<T>, StoreError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        match row.packed(column) {
            Some(packed) => self.memo.get(packed, || row.doc(column)),
            None => row.doc(column).map(Arc::new),
        }
    }

    /// `View::query_chunked` over the live tables.
    ///
    /// # Errors
    /// [`StoreError`] where the database failed.
    pub async fn query_chunked<T: Into<Value>>(
        &self,
        keys: impl IntoIterator<Item = T>,
        sql: impl Fn(Vec<Value>) -> Sql,
    ) -> Result<Vec<Row>, StoreError> {
        let keys: Vec<Value> = keys.into_iter().map(Into::into).collect();
        let mut found = Vec::new();
        for chunk in keys.chunks(LIST_MAX) {
            found.extend(self.query(sql(chunk.to_vec())).await?);
        }
        Ok(found)
    }

    /// Makes `writes` in one transaction, only where `guard` changes a row. `false`: it changed none, and nothing was
    /// written.
    pub(crate) async fn commit(
        &self,
        view: &View,
        guard: &Sql,
        writes: Vec<Write>,
    ) -> Result<bool, StoreError> {
        let generations = &view.generations;
        let guard = guard.render(self.dialect(), generations);
        let writes = writes.into_iter().filter(|write| !write.is_empty());
        match &self.backend {
            Backend::Sqlite(db) => {
                let mut prepared = Vec::new();
                for write in writes {
                    match write {
                        Write::Upsert { table, rows } => {
                            let sql = sqlite::upsert_sql(table, generations);
                            prepared.push(sqlite::Prepared { sql, rows });
                        }
                        Write::Change { table, rows } => {
                            prepared.extend(sqlite::updates(table, generations, rows));
                        }
                        Write::Delete { table, keys } => {
                            let sql = sqlite::delete_sql(table, generations);
                            prepared.push(sqlite::Prepared { sql, rows: keys });
                        }
                    }
                }
                if self.is_plain {
                    let rows = prepared.iter_mut().flat_map(|write| &mut write.rows);
                    rows.flatten().for_each(Value::unpack);
                }
                sqlite::commit(db, guard, prepared).await
            }
            Backend::Postgres(pool) => {
                let kinds = |columns: &[Column]| columns.iter().map(|column| column.kind).collect();
                let upsert = |table: &'static Table, rows| postgres::Prepared {
                    sql: postgres::upsert_sql(table, generations),
                    kinds: kinds(table.columns),
                    rows,
                };
                let prepared = writes.map(|write| match write {
                    Write::Upsert { table, rows } => upsert(table, rows),
                    // PostgreSQL compares what an index holds by itself.
                    Write::Change { table, rows } => {
                        upsert(table, rows.into_iter().map(|row| row.after).collect())
                    }
                    Write::Delete { table, keys } => postgres::Prepared {
                        sql: postgres::delete_sql(table, generations),
                        kinds: kinds(table.key_columns()),
                        rows: keys,
                    },
                });
                postgres::commit(pool, guard, prepared.collect()).await
            }
        }
    }

    pub(crate) async fn batch(&self, sql: String) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(db) => Ok(sqlite::batch(db, sql).await?),
            Backend::Postgres(pool) => postgres::batch(pool, &sql).await,
        }
    }

    /// Names of all tables of this database's schema.
    pub(crate) async fn tables(&self) -> Result<Vec<String>, StoreError> {
        let sql = Sql::new(match self.dialect() {
            Dialect::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table'",
            Dialect::Postgres => {
                "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
            }
        });
        let rows = self.query_raw(&sql).await?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    /// Removes what deleted and overwritten rows have left behind: after an erasure that the read models have seen. On
    /// SQLite the write-ahead log is folded in and emptied (deleted cells are zeroed anyway); on PostgreSQL the tables of
    /// `names` are vacuumed. `false` where a reader was in the way: try again.
    ///
    /// # Errors
    /// [`StoreError`] where the database failed.
    pub async fn scrub(&self, names: &[&str]) -> Result<bool, StoreError> {
        self.memo.clear();
        match &self.backend {
            Backend::Sqlite(db) => Ok(db.checkpoint_truncate().await?),
            Backend::Postgres(pool) => {
                let view = self.live();
                for name in names {
                    let table = view.generations.table(name);
                    postgres::outside_transaction(pool, &format!("VACUUM {table}")).await?;
                }
                Ok(true)
            }
        }
    }
}

impl View {
    /// The table's name in the database.
    pub(crate) fn table(&self, name: &str) -> String {
        self.generations.table(name)
    }

    /// # Errors
    /// [`StoreError`] where the database failed.
    pub async fn query(&self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        self.db.query_in(&sql, &self.generations).await
    }

    /// Rows for any number of keys: `sql` makes the statement for each chunk.
    ///
    /// # Errors
    /// [`StoreError`] where the database failed.
    pub async fn query_chunked<T>(
        &self,
        keys: impl IntoIterator<Item = T>,
        sql: impl Fn(Vec<Value>) -> Sql,
    ) -> Result<Vec<Row>, StoreError>
    where
        T: Into<Value>,
    {
        let keys: Vec<Value> = keys.into_iter().map(Into::into).collect();
        let mut found = Vec::new();
        for chunk in keys.chunks(LIST_MAX) {
            found.extend(self.query(sql(chunk.to_vec())).await?);
        }
        Ok(found)
    }
}
