//! The only place that wires: opens the stores, makes the parts and starts the process managers.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::account::{Account, AccountProvider, Credential};
use domain::port::{Clock, IdSource};
use futures::FutureExt;
use infrastructure::cloud_api::client::{Access, CloudApi, CloudApiConfig, Endpoint, SendOutcome};
use infrastructure::cloud_api::wire::send::SendRequest;
use infrastructure::crypto::secret::Secret;
use infrastructure::crypto::{KeyRing, KeyRingError, MasterKey};
use infrastructure::event_store::{self, Database, OpenStore, Seals};
use infrastructure::ledger::{CommandBus, Ledger, Upcasters};
use infrastructure::media::MediaStore;
use infrastructure::outbound::address::Addresses;
use infrastructure::outbound::client::{Outbound, SystemLookup};
use infrastructure::outbound::store::LaneStore;
use infrastructure::sandbox;
use infrastructure::webhook::journal::WebhookJournal;
use projections::{Projections, names};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use url::Url;

use crate::application::Local;
use crate::config::{Config, ConfigError, ReadModels, read_path};
use crate::worker;

/// How long a call under way is waited for when the gateway stops.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(40);
/// How long a process manager that panicked rests before it is started again.
const AFTER_PANIC: chrono::Duration = chrono::Duration::seconds(5);

/// How old may be what another node changed, for who asks many times a second.
pub const RECENT: Duration = Duration::from_millis(500);

/// Everything a use case or a process manager needs.
pub struct Gateway {
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// This process, among the nodes that share a store.
    pub node: String,
    pub store: OpenStore,
    pub keys: KeyRing,
    pub ledger: Ledger,
    pub bus: CommandBus,
    pub read: Projections,
    pub journal: WebhookJournal,
    /// What people sent.
    pub media: MediaStore,
    /// How far webhook endpoints have heard, and what they answered.
    pub lanes: LaneStore,
    /// Reaches webhook endpoints, and nothing that they should not lead to.
    pub outbound: Outbound,
    /// What this process alone remembers.
    pub local: Local,
    /// What WhatsApp is for SANDBOX accounts.
    pub sandbox: SandboxHost,
    cloud_api: CloudApi,
    sandbox_api: CloudApi,
    /// Where our own listener is, once it listens.
    listening: OnceLock<SocketAddr>,
}

/// The sandbox inside this process, with a listener of its own on loopback.
pub struct SandboxHost {
    pub sandbox: sandbox::Sandbox,
    pub base_url: Url,
    server: tokio::sync::Mutex<Option<sandbox::Server>>,
}

/// A Cloud API client bound to one number and its token.
#[derive(Clone)]
pub struct Sender {
    api: CloudApi,
    access: Access,
    phone_number_id: String,
}

impl Sender {
    /// Hands one message to WhatsApp, once; `may_write` is asked immediately before the first byte is written.
    pub async fn send(
        &self,
        message: &SendRequest,
        may_write: impl FnOnce() -> bool + Send + 'static,
    ) -> SendOutcome {
        self.api
            .send(&self.access, &self.phone_number_id, Endpoint::Messages, message, may_write)
            .await
    }
}

impl Gateway {
    /// More has come in than could be dealt with so far: webhooks that nobody has read yet, or events that do not show
    /// yet. Campaigns wait until it is through, rather than send into the dark; single messages do not.
    pub fn is_behind(&self) -> bool {
        self.local.has_webhooks_waiting.load(Ordering::Relaxed)
            || self.read.is_behind(names::MESSAGES)
    }

    /// Opens the store, checks the master key, and builds everything. Nothing runs yet.
    ///
    /// # Errors
    /// Where a store cannot be opened (its text names the process that owns a SQLite file), or the master key is not the
    /// one that the log was written with.
    pub async fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> anyhow::Result<Arc<Self>> {
        // One provider for the whole process; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = config.store_url().context("store.url")?;
        std::fs::create_dir_all(config.data_dir()).with_context(|| {
            format!("could not make the directory {}", config.data_dir().display())
        })?;
        let master = master_key(&config)?;
        let store =
            event_store::open(&url, clock.clone()).await.context("could not open the event log")?;
        let head = store.log.head().await?;
        let keys =
            KeyRing::open(&master, store.vault.clone(), store.meta.as_ref(), head.0 == 0).await?;
        let ledger = Ledger::new(store.log.clone(), keys.clone(), Upcasters::current());
        let bus = CommandBus::new(
            ledger.clone(),
            store.identities.clone(),
            store.idempotency.clone(),
            clock.clone(),
            ids.clone(),
        );
        let read = open_read_models(&config, &store, ledger.clone()).await?;
        let journal = WebhookJournal::open(&store.database, Arc::new(keys.clone())).await?;
        let media = MediaStore::open(&store.database, &config.data_dir().join("media")).await?;
        let lanes = LaneStore::open(&store.database).await?;
        let addresses = Addresses::new(config.webhooks.allowed_networks.clone());
        let outbound = Outbound::new(addresses, Arc::new(SystemLookup))?;
        let sandbox = SandboxHost::start(&config, clock.clone()).await?;
        let cloud_api = api_client(config.graph.base_url.clone(), &config)?;
        let sandbox_api = api_client(sandbox.base_url.clone(), &config)?;
        let node = format!("{}/{}", std::process::id(), ids.next_id(clock.now()));
        Ok(Arc::new(Self {
            config,
            clock,
            ids,
            node,
            store,
            keys,
            ledger,
            bus,
            read,
            journal,
            media,
            lanes,
            outbound,
            local: Local::default(),
            sandbox,
            cloud_api,
            sandbox_api,
            listening: OnceLock::new(),
        }))
    }

    /// Tells where our own listener is; port 0 becomes a real one here.
    pub fn set_listening(&self, address: SocketAddr) {
        // The first listener counts; there is one.
        let _ = self.listening.set(address);
    }

    /// What Meta and the console are told.
    pub fn public_url(&self) -> Url {
        self.config.public_url.clone().unwrap_or_else(|| self.local_url())
    }

    /// Our own listener, as this machine reaches it.
    pub fn local_url(&self) -> Url {
        let mut address = self.listening.get().copied().unwrap_or(self.config.listen);
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let scheme = if self.config.tls.cert.is_some() { "https" } else { "http" };
        Url::parse(&format!("{scheme}://{address}")).expect("a socket address makes a URL")
    }

    /// The Cloud API as this account reaches it.
    pub fn api_of(&self, provider: AccountProvider) -> &CloudApi {
        match provider {
            AccountProvider::CloudApi => &self.cloud_api,
            AccountProvider::Sandbox => &self.sandbox_api,
        }
    }

    /// One of an account's credentials, from the key ring.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn credential(
        &self,
        account: &Account,
        kind: Credential,
    ) -> Result<Secret, AccessError> {
        let reference = account.credentials.get(&kind).ok_or(AccessError::Missing { kind })?;
        match self.keys.secret(&reference.name).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(AccessError::Missing { kind }),
            Err(error @ KeyRingError::Unavailable(_)) => Err(AccessError::Unavailable(error)),
            Err(source) => Err(AccessError::Unreadable { kind, source }),
        }
    }

    /// What an account calls WhatsApp with.
    ///
    /// # Errors
    /// [`AccessError`] where its token cannot be had.
    pub async fn access(&self, account: &Account) -> Result<Access, AccessError> {
        let token = self.credential(account, Credential::AccessToken).await?;
        // Apps may demand a proof that the caller knows their secret.
        let proof_secret = self.credential(account, Credential::AppSecret).await.ok();
        Ok(Access { token, proof_secret })
    }

    /// A client bound to an account.
    ///
    /// # Errors
    /// [`AccessError`] where its token cannot be had.
    pub async fn sender(&self, account: &Account) -> Result<Sender, AccessError> {
        let access = self.access(account).await?;
        let provider =
            account.provider.ok_or(AccessError::Missing { kind: Credential::AccessToken })?;
        Ok(Sender {
            api: self.api_of(provider).clone(),
            access,
            phone_number_id: account.phone_number_id.clone(),
        })
    }
}

/// Why a credential cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("the key ring does not hold the account's {}", kind.as_str())]
    Missing { kind: Credential },
    #[error("the account's {} cannot be read from the key ring", kind.as_str())]
    Unreadable {
        kind: Credential,
        #[source]
        source: KeyRingError,
    },
    /// Says nothing of the credential: asking again may do.
    #[error("the key ring could not be asked")]
    Unavailable(#[source] KeyRingError),
}

impl AccessError {
    /// Only a new credential helps.
    pub fn needs_rotation(&self) -> bool {
        !matches!(self, Self::Unavailable(_))
    }
}

/// The log as a process beside the gateway reads it: no lock, no write.
pub struct Reader {
    pub ledger: Ledger,
    pub seals: Arc<dyn Seals>,
    pub public_url: Url,
}

impl Reader {
    /// # Errors
    /// Where there is no log yet, or the master key is not its own.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(infrastructure::clock::SystemClock);
        let url = config.store_url().context("store.url")?;
        let store = event_store::open_read_only(&url, clock)
            .await
            .context("could not open the event log")?;
        let keys =
            KeyRing::open(&master_key(config)?, store.vault.clone(), store.meta.as_ref(), false)
                .await?;
        let scheme = if config.tls.cert.is_some() { "https" } else { "http" };
        let public_url = match &config.public_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("{scheme}://{}", config.listen))?,
        };
        Ok(Self {
            ledger: Ledger::new(store.log.clone(), keys, Upcasters::current()),
            seals: store.seals.clone(),
            public_url,
        })
    }
}

/// Wraps every data key and credential by the next master key. Answers how many.
///
/// # Errors
/// Where a gateway is running on the store, or the master key in force is not the log's.
pub async fn rotate_master_key(config: &Config, next: MasterKey) -> anyhow::Result<u64> {
    let clock: Arc<dyn Clock> = Arc::new(infrastructure::clock::SystemClock);
    let url = config.store_url().context("store.url")?;
    let now = clock.now();
    let store = event_store::open(&url, clock).await.context("could not open the event log")?;
    // A node that goes on would wrap new keys with the old master key.
    let leases = store.leases.list("").await?;
    let is_of_a_node = |name: &str| !name.starts_with(crate::application::imports::FILE_LEASES);
    let held = leases.iter().find(|held| held.expires_at > now && is_of_a_node(&held.lease.name));
    if let Some(held) = held {
        bail!(
            "a gateway is running on this store (it holds the lease {}); stop every node, and try again once their leases have run out, within a minute",
            held.lease.name
        );
    }
    let (vault, meta) = (store.vault.as_ref(), store.meta.as_ref());
    let rotation =
        infrastructure::crypto::rotate_master(vault, meta, &master_key(config)?, &next).await?;
    Ok((rotation.data_keys + rotation.secrets) as u64)
}

fn api_client(base_url: Url, config: &Config) -> anyhow::Result<CloudApi> {
    let mut api = CloudApiConfig::new(base_url, config.graph.version.clone());
    api.call_timeout = Duration::from_secs(config.graph.timeout_s);
    Ok(CloudApi::new(api)?)
}

async fn open_read_models(
    config: &Config,
    store: &OpenStore,
    ledger: Ledger,
) -> anyhow::Result<Projections> {
    let db = match (config.read_models(), &store.database) {
        (ReadModels::File(path), _) => projections::ReadDb::open_sqlite(path).await,
        (ReadModels::WithTheLog, Database::Postgres(pool)) => {
            projections::ReadDb::open_postgres(pool.clone()).await
        }
        (ReadModels::WithTheLog, Database::Sqlite(log)) => {
            projections::ReadDb::open_sqlite(read_path(log.path())).await
        }
        (ReadModels::Server(url), _) => {
            let pool = sqlx::PgPool::connect(url).await.context("read_model.url")?;
            projections::ReadDb::open_postgres(pool).await
        }
    };
    Ok(Projections::open(db.context("could not open the read models")?, Arc::new(ledger)).await?)
}

/// The master key from the configuration; on SQLite made at the first start, outside of the data directory.
fn master_key(config: &Config) -> anyhow::Result<MasterKey> {
    if let Some(key) = &config.secrets.master_key {
        return MasterKey::parse(key.expose()).context("secrets.master_key");
    }
    if let Some(path) = &config.secrets.master_key_file {
        return MasterKey::read_file(path).context("secrets.master_key_file");
    }
    let url = config.store.url.expose();
    let Some(path) = url.strip_prefix("sqlite://") else {
        return Err(ConfigError::Invalid {
            key: "secrets.master_key",
            problem: "this or secrets.master_key_file is required with PostgreSQL and KurrentDB, so that whoever starts the gateway has the same; \
                      `openssl rand -hex 32` makes one"
                .to_owned(),
        }
        .into());
    };
    let path = default_master_key_path(Path::new(path))?;
    let (key, is_new) = MasterKey::read_or_generate_file(&path).context("the master key")?;
    if is_new {
        warn!(path = %path.display(), "made a master key; back it up: without it, what the log holds of people cannot be read");
    }
    Ok(key)
}

/// In the user's configuration directory, one per database: a backup of the data directory must not hold the key.
fn default_master_key_path(database: &Path) -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")))
        .context("neither XDG_CONFIG_HOME nor HOME is set; set secrets.master_key_file")?;
    let absolute = std::path::absolute(database)?;
    let name: String = absolute
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' })
        .collect();
    Ok(base.join("whatsapp-gateway").join(format!("{}.key", name.trim_start_matches('_'))))
}

impl SandboxHost {
    async fn start(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let state = config.data_dir().join("sandbox.ndjson");
        let options = |state| sandbox::Options {
            seed: config.sandbox.seed,
            state,
            any_certificate: config.tls.cert.is_some(),
            ..sandbox::Options::new(clock.clone())
        };
        let sandbox = match sandbox::Sandbox::open(options(Some(state.clone()))) {
            // Another node on this PostgreSQL shares the directory.
            Err(sandbox::SandboxError::State(error))
                if error.kind() == std::io::ErrorKind::WouldBlock && !config.is_single_node() =>
            {
                warn!(path = %state.display(), "another gateway keeps its sandbox's state here; this one keeps its own in memory. Give each node a data_dir of its own");
                sandbox::Sandbox::open(options(None))
            }
            opened => opened,
        }
        .context("could not open the sandbox's state")?;
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let server = sandbox::Server::start(listen, sandbox.clone())
            .await
            .context("could not start the sandbox")?;
        let base_url = Url::parse(&format!("http://{}", server.address()))?;
        Ok(Self { sandbox, base_url, server: tokio::sync::Mutex::new(Some(server)) })
    }

    async fn stop(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.stop(&self.sandbox).await;
        }
    }
}

/// Which process managers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managers {
    /// A gateway that serves.
    All,
    /// For a subcommand that brings contacts in while no gateway runs: nothing is sent.
    Imports,
    /// For a subcommand that only asks or decides while no gateway runs: nothing is sent.
    None,
}

/// The process managers of a running gateway.
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    gateway: Arc<Gateway>,
}

impl Workers {
    /// Starts the projections: what comes next may have to read what the log holds.
    pub fn project(gateway: Arc<Gateway>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let read = gateway.read.clone();
        let projections = tokio::spawn(async move {
            // A batch is written whole or not at all, so it may be dropped at any moment.
            tokio::select! {
                () = read.run() => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
        Self { stop, tasks: vec![("projections", projections)], gateway }
    }

    /// Starts the process managers; by now the gateway listens.
    pub fn manage(&mut self, managers: Managers) {
        if managers == Managers::None {
            return;
        }
        self.supervise("imports", worker::import::run);
        if managers == Managers::Imports {
            return;
        }
        self.supervise("webhooks", worker::webhook::run);
        self.supervise("media", worker::media::run);
        self.supervise("onboarding", worker::onboarding::run);
        self.supervise("campaigns", worker::campaign::run);
        self.supervise("retiming", worker::retime::run);
        self.supervise("dispatch", worker::dispatch::run);
        self.supervise("exports", worker::exports::run);
        self.supervise("upkeep", worker::upkeep::run);
        self.supervise("erasures", worker::upkeep::finish_erasures);
        self.supervise("merges", worker::merges::run);
        self.supervise("conversations", worker::conversations::run);
        self.supervise("endpoints", worker::endpoints::run);
        self.supervise("seals", worker::seals::run);
    }

    /// Starts a process manager, and starts it again where it panics: everything it knows, it reads anew.
    fn supervise<F>(
        &mut self,
        name: &'static str,
        run: impl Fn(Arc<Gateway>, watch::Receiver<bool>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (gateway, stopped) = (self.gateway.clone(), self.stop.subscribe());
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                let ended = AssertUnwindSafe(run(gateway.clone(), stopped.clone())).catch_unwind();
                if ended.await.is_ok() {
                    return;
                }
                metrics::counter!("gateway_worker_panics_total", "worker" => name).increment(1);
                error!(worker = name, "panicked; it is started again in a moment");
                gateway.clock.sleep_until(gateway.clock.now() + AFTER_PANIC).await;
            }
        });
        self.tasks.push((name, task));
    }

    /// Stops them: nothing new is begun, calls under way are waited for and recorded, leases are given back.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // Longer than any call may take, so that its outcome is recorded.
        let call = Duration::from_secs(self.gateway.config.graph.timeout_s);
        let patience = SHUTDOWN_PATIENCE.max(call + Duration::from_secs(10));
        for (name, mut task) in self.tasks.into_iter().rev() {
            if tokio::time::timeout(patience, &mut task).await.is_err() {
                warn!(
                    worker = name,
                    "did not stop in time; what it was doing goes on after the next start"
                );
                task.abort();
            }
        }
        self.gateway.sandbox.stop().await;
        info!("stopped");
    }
}
