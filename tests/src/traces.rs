//! Looking for marked values where they must not be: in files, and in every column of a database's tables.

use std::path::{Path, PathBuf};

use gateway_sqlite::{Options, Sqlite};
use sqlx::{Connection, Row};

use crate::store::{Store, StoreKind};

/// The log's tables on PostgreSQL. The others are read models, which hold people in the clear so that they can be found.
const LOG_TABLES: [&str; 15] = [
    "data_keys",
    "event_kinds",
    "foreign_metadata",
    "idempotency",
    "identities",
    "leases",
    "log",
    "media",
    "media_frames",
    "meta",
    "secrets",
    "webhook_cursor",
    "webhook_foreign",
    "webhook_journal",
    "webhook_parked",
];

/// What is found of the marks in a text: their names only, so that a failing test shows which.
pub fn found_in<'a>(bytes: &[u8], marks: &[&'a str]) -> Vec<&'a str> {
    let stands = |mark: &str| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
    marks.iter().copied().filter(|mark| stands(mark)).collect()
}

/// Every file under a directory.
///
/// # Panics
/// Where the directory cannot be read.
pub fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

impl Store {
    /// Where the marks stand, in the files of its directory that `which` chooses: `file: mark`.
    pub fn marks_in_files(&self, marks: &[&str], which: impl Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for file in files_under(self.dir.path()) {
            let name = file.strip_prefix(self.dir.path()).unwrap_or(&file).display().to_string();
            // A socket cannot be read, and a file that went meanwhile holds nothing.
            if which(&name)
                && let Ok(bytes) = std::fs::read(&file)
            {
                found.extend(found_in(&bytes, marks).iter().map(|mark| format!("{name}: {mark}")));
            }
        }
        found
    }

    /// Where the marks stand in the log: raw bytes of its files on SQLite, every column of its tables on PostgreSQL.
    pub async fn marks_in_log(&self, marks: &[&str]) -> Vec<String> {
        match self.kind {
            StoreKind::Sqlite => {
                let is_log =
                    |name: &str| ["gateway.db", "gateway.db-wal", "gateway.db-shm"].contains(&name);
                self.marks_in_files(marks, is_log)
            }
            StoreKind::Postgres => self.marks_in_tables(marks, |t| LOG_TABLES.contains(&t)).await,
            StoreKind::KurrentDb => self.marks_in_records(marks),
        }
    }

    /// Where the marks stand in anything that the gateway keeps, documents of read models unpacked.
    pub async fn marks_anywhere(&self, marks: &[&str]) -> Vec<String> {
        let mut found = self.marks_in_files(marks, |_| true);
        if self.kind == StoreKind::Postgres {
            found.extend(self.marks_in_tables(marks, |_| true).await);
        }
        found.extend(self.marks_in_records(marks));
        for doc in self.packed_docs().await {
            let doc = gateway_pack::unpack(&doc).expect("a document");
            found.extend(found_in(&doc, marks).iter().map(|mark| format!("a document: {mark}")));
        }
        found
    }

    fn marks_in_records(&self, marks: &[&str]) -> Vec<String> {
        let records = self.kurrentdb.iter().flat_map(kurrentdb_double::Double::records);
        let parts = records.flat_map(|record| {
            let name = record.stream;
            [record.data, record.metadata].map(|bytes| (name.clone(), bytes))
        });
        let found = parts.flat_map(|(name, bytes)| {
            let marks = found_in(&bytes, marks);
            marks.iter().map(|mark| format!("{name}: {mark}")).collect::<Vec<_>>()
        });
        found.collect()
    }

    /// # Panics
    /// Where the read models cannot be read.
    async fn packed_docs(&self) -> Vec<Vec<u8>> {
        match self.kind {
            StoreKind::Sqlite | StoreKind::KurrentDb => {
                let path = self.dir.path().join("gateway.read.db");
                let file = Sqlite::open(path, Options::read_only()).expect("the read models");
                let docs = file.read(|connection| {
                    let names = "SELECT DISTINCT t.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
                                 WHERE t.type = 'table' AND c.name = 'doc' AND c.type = 'BLOB'";
                    let mut names = connection.prepare(names)?;
                    let names = names.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
                    let mut docs = vec![];
                    for name in names {
                        let mut rows = connection.prepare(&format!("SELECT doc FROM {name}"))?;
                        for doc in rows.query_map([], |row| row.get(0))? {
                            docs.push(doc?);
                        }
                    }
                    Ok(docs)
                });
                docs.await.expect("documents")
            }
            StoreKind::Postgres => {
                let mut connection =
                    sqlx::PgConnection::connect(&self.url).await.expect("PostgreSQL");
                let names = "SELECT table_name::text FROM information_schema.columns
                             WHERE column_name = 'doc' AND data_type = 'bytea'";
                let names = sqlx::query(names).fetch_all(&mut connection).await.expect("tables");
                let mut docs = vec![];
                for name in names.iter().map(|row| row.get::<String, _>(0)) {
                    let rows = format!("SELECT doc FROM {name}");
                    let rows = sqlx::query(&rows).fetch_all(&mut connection).await.expect("rows");
                    docs.extend(rows.iter().map(|row| row.get::<Vec<u8>, _>(0)));
                }
                docs
            }
        }
    }

    /// # Panics
    /// Where the database does not answer.
    async fn marks_in_tables(&self, marks: &[&str], which: impl Fn(&str) -> bool) -> Vec<String> {
        let mut connection = sqlx::PgConnection::connect(&self.url).await.expect("PostgreSQL");
        let names = "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
        let tables = sqlx::query(names).fetch_all(&mut connection).await.expect("tables");
        let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
        assert!(LOG_TABLES.iter().all(|table| tables.iter().any(|t| t == table)), "{tables:?}");
        let mut found = Vec::new();
        for table in tables.iter().filter(|table| which(table)) {
            let rows = format!("SELECT t::text FROM {table} AS t");
            for row in sqlx::query(&rows).fetch_all(&mut connection).await.expect("rows") {
                let text: String = row.get(0);
                for mark in marks {
                    // Columns of bytes show as hex.
                    if text.contains(mark) || text.contains(&hex::encode(mark)) {
                        found.push(format!("{table}: {mark}"));
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
