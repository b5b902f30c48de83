//! `sandbox`: the Cloud API look-alike by itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use infrastructure::clock::SystemClock;
use infrastructure::sandbox::{Behaviour, Options, Sandbox, Server};

use super::serve::wait_for_signal;
use super::{Global, Usage};
use crate::config::{LogConfig, LogFormat};
use crate::telemetry;

#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Loopback address to listen on
    #[arg(long, default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// The same seed and the same calls meet the same fates
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What goes wrong and how often, in TOML
    #[arg(long, value_name = "FILE.toml")]
    behaviour: Option<PathBuf>,
    /// Keeps its state in this file, so that it survives a kill
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

pub async fn run(_global: Global, args: SandboxArgs) -> anyhow::Result<()> {
    telemetry::init_logs(&LogConfig { format: LogFormat::Auto, ..LogConfig::default() })?;
    // One provider for the whole process; a second installation is refused and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let behaviour = match &args.behaviour {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("could not read {}", path.display()))?;
            Behaviour::from_toml(&text)
                .map_err(|error| Usage(format!("{}: {error}", path.display())))?
        }
        None => Behaviour::default(),
    };
    let options = Options {
        seed: args.seed,
        behaviour,
        state: args.state,
        ..Options::new(Arc::new(SystemClock))
    };
    let sandbox = Sandbox::open(options)?;
    let server = Server::start(args.listen, sandbox.clone()).await?;
    println!("{}", server.url());
    eprintln!(
        "The sandbox speaks the Cloud API at {}/v26.0/…; its controls are at {0}/_sandbox/…",
        server.url()
    );
    wait_for_signal().await?;
    server.stop(&sandbox).await;
    Ok(())
}
