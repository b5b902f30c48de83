//! `serve`: the gateway until it is told to stop.

use std::sync::Arc;

use clap::Args;
use domain::port::IdSource;
use infrastructure::clock::{SystemClock, SystemIds};
use infrastructure::crypto::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::Global;
use super::client::socket_path;
use crate::app::{Gateway, Managers, Workers};
use crate::application::{api_keys, users, workspaces};
use crate::config::Config;
use crate::{http, telemetry};

/// Open files and connections, where the system allows it.
const FILES_MAX: u64 = 65_536;

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address to listen on (the key `listen`)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

/// A gateway that is up: listening, its process managers running.
pub struct Running {
    pub gateway: Arc<Gateway>,
    /// The first API key's secret or where it lies, for whoever starts the gateway by hand.
    pub bootstrap: api_keys::Bootstrap,
    /// By which the first owner of the console makes themselves known.
    pub setup_link: Option<Secret>,
    server: http::Server,
    socket: Option<http::Server>,
    workers: Workers,
}

impl Running {
    /// Starts everything.
    ///
    /// # Errors
    /// Where a store, an address or the master key stands in the way.
    pub async fn start(config: Config, managers: Managers) -> anyhow::Result<Self> {
        Self::start_with(config, Arc::new(SystemClock), Arc::new(SystemIds::new()), managers).await
    }

    /// [`Self::start`] on another clock.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        config: Config,
        clock: Arc<dyn domain::port::Clock>,
        ids: Arc<dyn IdSource>,
        managers: Managers,
    ) -> anyhow::Result<Self> {
        let metrics = telemetry::init_metrics()?;
        let gateway = Gateway::open(config, clock, ids).await?;
        workspaces::ensure_default_workspace(&gateway).await?;
        let mut workers = Workers::project(gateway.clone());
        let bootstrap = api_keys::ensure_bootstrap_key(&gateway).await?;
        let server = http::Server::start(gateway.clone(), metrics.clone())?;
        gateway.set_listening(server.address);
        let setup_link = users::ensure_setup_link(&gateway).await?;
        let path = socket_path(&gateway.config);
        // Several nodes on one PostgreSQL may share a directory: the first one answers the command line.
        let socket = match tokio::net::UnixStream::connect(&path).await {
            Ok(_) => None,
            Err(_) => Some(http::Server::start_on_socket(gateway.clone(), &path, metrics)?),
        };
        workers.manage(managers);
        Ok(Self { gateway, bootstrap, setup_link, server, socket, workers })
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    /// Stops listening, lets calls under way end, and records them.
    pub async fn stop(self) {
        self.gateway.local.streams.close();
        if let Some(socket) = self.socket {
            socket.stop().await;
        }
        self.server.stop().await;
        self.workers.stop().await;
    }
}

pub async fn run(global: Global, args: ServeArgs) -> anyhow::Result<()> {
    let more: Vec<_> = args.listen.map(|listen| ("listen", listen)).into_iter().collect();
    let config = global.load(&more)?;
    telemetry::init_logs(&config.log)?;
    // A thousand files, which is what many systems begin with, are fewer than connections of a busy day.
    if let Err(error) = rlimit::increase_nofile_limit(FILES_MAX) {
        warn!(%error, "the limit of open files could not be raised; see ulimit -n");
    }
    let running = Running::start(config, Managers::All).await?;
    info!(address = %running.address(), node = %running.gateway.node, "the gateway is listening");
    eprintln!("The gateway is at {}", running.gateway.public_url());
    eprintln!("{}", key_hint(&running.bootstrap));
    if let Some(link) = &running.setup_link {
        eprintln!("Set up the console, once: {}", link.expose());
    }
    wait_for_signal().await?;
    info!("stopping; calls under way are waited for");
    running.stop().await;
    Ok(())
}

/// Where the first API key is, for whoever starts the gateway by hand.
pub fn key_hint(bootstrap: &api_keys::Bootstrap) -> String {
    match bootstrap {
        api_keys::Bootstrap::NotNeeded => {
            "API keys exist; `whatsapp-gateway keys create` makes another".to_owned()
        }
        api_keys::Bootstrap::Configured => {
            "the API key is the one in admin.bootstrap_key".to_owned()
        }
        api_keys::Bootstrap::Written(path) => format!("the first API key is in {}", path.display()),
    }
}

/// Returns on SIGINT or SIGTERM.
pub async fn wait_for_signal() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
