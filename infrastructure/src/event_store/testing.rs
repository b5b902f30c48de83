//! Databases of their own for tests.

use std::str::FromStr;

use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use uuid::Uuid;

use super::StoreUrl;

/// The variable that names a PostgreSQL on which tests may make and drop databases; `.ci/postgres.sh start DIR` prints
/// one.
pub const DATABASE_URL: &str = "TEST_DATABASE_URL";

/// An empty PostgreSQL database, dropped with this value, also when the test panics.
#[derive(Debug)]
pub struct TestDatabase {
    server: ::url::Url,
    name: String,
}

impl TestDatabase {
    /// `None`, said on standard error, where no PostgreSQL is given: then the test leaves itself out.
    ///
    /// # Panics
    /// Where one is given and does not work: that is a broken set-up, not a reason to pass.
    pub async fn create() -> Option<Self> {
        let Ok(server) = std::env::var(DATABASE_URL) else {
            eprintln!(
                "LEFT OUT: this test needs PostgreSQL; set {DATABASE_URL} (.ci/postgres.sh start DIR prints one)"
            );
            return None;
        };
        let server = ::url::Url::from_str(&server)
            .unwrap_or_else(|error| panic!("{DATABASE_URL} is no URL: {error}"));
        let name = format!("gateway_test_{}", Uuid::now_v7().simple());
        run(&server, &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        Some(Self { server, name })
    }

    /// Holds the server's password.
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.to_string()
    }

    pub fn store_url(&self) -> StoreUrl {
        StoreUrl::from_str(&self.url()).expect("the server's URL with another name is one")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, drop) =
            (self.server.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // A thread of its own, because the test's runtime may be on its way out.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(&server, &drop));
            std::io::Result::Ok(())
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("could not drop the test database {}", self.name);
        }
    }
}

async fn run(server: &::url::Url, sql: &str) {
    let options = sqlx::postgres::PgConnectOptions::from_url(server)
        .unwrap_or_else(|error| panic!("{DATABASE_URL} is no PostgreSQL URL: {error}"));
    let mut connection = PgConnection::connect_with(&options.disable_statement_logging())
        .await
        .unwrap_or_else(|error| panic!("could not connect to {DATABASE_URL}: {error}"));
    connection.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let _ = connection.close().await;
}
