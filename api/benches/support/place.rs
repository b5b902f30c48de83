//! A whole gateway in this process, on a store of its own. Nothing is sent: no process manager runs, only the projections.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::app::{Gateway, Workers};
use api::application::{api_keys, workspaces};
use api::config::{Config, Sensitive};
use api::http::Server;
use domain::primitives::{AccountId, WorkspaceId};
use infrastructure::clock::{SystemClock, SystemIds};
use infrastructure::event_store::testing::TestDatabase;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use super::client::{Call, Connection};

pub const KEY: &str = "wgk_benchBenchBenchBenchBenchBenchBenchBenchBen";
pub const MASTER_KEY: &str = "4242424242424242424242424242424242424242424242424242424242424242";
pub const APP_SECRET: &str = "bench-secret";
/// Until the read models have caught up with what was filled in.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Goes with its data.
pub struct Place {
    pub running: Running,
    /// What the data is in, as people call it.
    pub store: &'static str,
    pub url: String,
    _database: Option<TestDatabase>,
    _directory: Option<TempDir>,
}

/// As `serve` starts it, less the process managers.
pub struct Running {
    pub gateway: Arc<Gateway>,
    server: Server,
    workers: Workers,
}

/// An account that could send, and a template that it could send.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: AccountId,
    pub workspace_id: WorkspaceId,
    pub webhook_path: String,
}

impl Place {
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let running = start(directory.path(), &sqlite_url(directory.path())).await;
        let url = sqlite_url(directory.path());
        Self { running, store: "SQLite", url, _database: None, _directory: Some(directory) }
    }

    /// In a directory that stays.
    pub async fn sqlite_in(directory: &Path) -> Self {
        let url = sqlite_url(directory);
        let running = start(directory, &url).await;
        Self { running, store: "SQLite", url, _database: None, _directory: None }
    }

    /// `None`, said on standard error, where TEST_DATABASE_URL names no server.
    pub async fn postgres() -> Option<Self> {
        let database = TestDatabase::create().await?;
        let directory = tempfile::tempdir().expect("a directory can be made");
        let running = start(directory.path(), &database.url()).await;
        let url = database.url();
        Some(Self {
            running,
            store: "PostgreSQL",
            url,
            _database: Some(database),
            _directory: Some(directory),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.running.server.address
    }

    pub async fn connection(&self) -> Connection {
        Connection::open(self.address()).await.expect("the gateway listens")
    }

    /// What the gateway answers.
    pub async fn ask(&self, query: &str, variables: Value) -> Value {
        self.connection().await.data(&Call::graphql(KEY, query, &variables)).await
    }

    pub async fn connect_account(&self) -> Account {
        let mutation = "mutation($input: ConnectAccountInput!) { connectAccount(input: $input) \
                        { account { id workspaceId webhookPath } } }";
        let input = json!({
            "name": "Bench", "provider": "CLOUD_API", "phoneNumberId": "402000000000009",
            "wabaId": "301000000000009", "accessToken": "bench-token", "appSecret": APP_SECRET,
            "timeZone": "Europe/Berlin", "defaultRegion": "GB",
        });
        let mut data = self.ask(mutation, json!({ "input": input })).await;
        let account = data["connectAccount"]["account"].take();
        let id = |name: &str| uuid(&account[name]);
        Account {
            id: AccountId(id("id")),
            workspace_id: WorkspaceId(id("workspaceId")),
            webhook_path: account["webhookPath"].as_str().expect("it has a path").to_owned(),
        }
    }

    /// Waits until everything in the log shows.
    pub async fn caught_up(&self) {
        let gateway = &self.running.gateway;
        let head = gateway.store.log.head().await.expect("the log answers");
        gateway.read.wait_for_all(head, PATIENCE).await.expect("the read models catch up");
    }

    pub async fn end(self) {
        self.running.server.stop().await;
        self.running.workers.stop().await;
    }
}

pub fn uuid(value: &Value) -> Uuid {
    value.as_str().and_then(|text| Uuid::try_parse(text).ok()).expect("an id")
}

pub fn sqlite_url(directory: &Path) -> String {
    format!("sqlite://{}", directory.join("gateway.db").display())
}

async fn start(directory: &Path, url: &str) -> Running {
    let mut config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: Some(directory.to_owned()),
        ..Config::default()
    };
    config.store.url = Sensitive::from(url.to_owned());
    config.secrets.master_key = Some(Sensitive::from(MASTER_KEY.to_owned()));
    config.admin.bootstrap_key = Some(Sensitive::from(KEY.to_owned()));
    config.graph.base_url = Url::parse("http://127.0.0.1:9").expect("a literal URL");
    config.graphql.requests_per_second = 0;
    // The second place of a process has none of its own.
    let metrics = api::telemetry::init_metrics().expect("metrics are set up");
    let gateway = Gateway::open(config, Arc::new(SystemClock), Arc::new(SystemIds::new())).await;
    let gateway = gateway.expect("the stores open");
    workspaces::ensure_default_workspace(&gateway).await.expect("the log takes events");
    let workers = Workers::project(gateway.clone());
    api_keys::ensure_bootstrap_key(&gateway).await.expect("the key is taken");
    let server = Server::start(gateway.clone(), metrics).expect("loopback has a free port");
    gateway.set_listening(server.address);
    Running { gateway, server, workers }
}
