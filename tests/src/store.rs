//! A store of its own for each test.

use std::sync::atomic::{AtomicU32, Ordering};

use kurrentdb_double::Double;
use sqlx::{Connection, Executor};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Sqlite,
    Postgres,
    /// A double of its protocol, in the test's process.
    KurrentDb,
}

/// A fresh store: a directory that goes with it, and on PostgreSQL a database that goes with it.
#[derive(Debug)]
pub struct Store {
    pub kind: StoreKind,
    pub dir: TempDir,
    pub url: String,
    /// Required on PostgreSQL and KurrentDB, and used on all, so that nothing is written to the user's home.
    pub master_key: String,
    pub kurrentdb: Option<Double>,
}

/// The stores a test runs on: SQLite always, PostgreSQL where TEST_DATABASE_URL is set. KurrentDB has beside it what SQLite
/// has, so that only those tests run on it which ask the log much.
pub fn stores() -> Vec<StoreKind> {
    let mut kinds = vec![StoreKind::Sqlite];
    if std::env::var_os("TEST_DATABASE_URL").is_some() {
        kinds.push(StoreKind::Postgres);
    } else {
        eprintln!("TEST_DATABASE_URL is not set: PostgreSQL is left out");
    }
    kinds
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Store {
    /// # Panics
    /// Where the directory or the database cannot be made.
    pub async fn fresh(kind: StoreKind) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let kurrentdb = (kind == StoreKind::KurrentDb).then(Double::start);
        let url = match kind {
            StoreKind::KurrentDb => kurrentdb.as_ref().map(Double::url).unwrap_or_default(),
            StoreKind::Sqlite => format!("sqlite://{}", dir.path().join("gateway.db").display()),
            StoreKind::Postgres => {
                let base = std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL");
                let name = format!(
                    "e2e_{}_{}",
                    std::process::id(),
                    COUNTER.fetch_add(1, Ordering::Relaxed)
                );
                let mut connection = sqlx::PgConnection::connect(&base).await.expect("PostgreSQL");
                connection
                    .execute(format!("CREATE DATABASE {name}").as_str())
                    .await
                    .expect("a database");
                let mut url = url::Url::parse(&base).expect("a URL");
                url.set_path(&name);
                url.to_string()
            }
        };
        let master_key = "42".repeat(32);
        Self { kind, dir, url, master_key, kurrentdb }
    }

    /// Configuration that every gateway on this store needs, as `key=value`.
    pub fn settings(&self) -> Vec<(String, String)> {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut settings = vec![
            pair("store.url", &self.url),
            pair("secrets.master_key", &self.master_key),
            pair("admin.bootstrap_key", BOOTSTRAP_KEY),
            pair("sandbox.controls", "true"),
        ];
        if self.kind == StoreKind::KurrentDb {
            settings.push(pair("data_dir", &self.dir.path().display().to_string()));
        }
        settings
    }
}

/// The first ADMIN key of every gateway under test.
pub const BOOTSTRAP_KEY: &str = "wgk_e2eE2eE2eE2eE2eE2eE2eE2eE2eE2eE2eE2eE2eE2eE";
