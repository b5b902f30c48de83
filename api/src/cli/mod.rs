//! The command line. Results go to standard output, everything else to standard error; 0 is success, 1 failure, 2 wrong
//! usage. Reading subcommands open the store beside a running gateway; writing ones go through the gateway that owns it.

mod bench;
mod client;
mod config;
mod demo;
mod events;
mod export;
mod history;
mod import;
mod journal;
mod keys;
mod remote;
mod replay;
mod sandbox;
mod scene;
mod serve;
mod users;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};

#[derive(Debug, Parser)]
#[command(
    name = "whatsapp-gateway",
    version,
    about = "Self-hosted WhatsApp Gateway: campaigns, messages and their full history"
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Configuration file (default: whatsapp-gateway.toml, if there)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One configuration key, before file and environment: --set listen=127.0.0.1:9000
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
    /// Where the log is: sqlite://path or postgres://… (the key store.url)
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    /// A gateway elsewhere, instead of the one that owns the store
    #[arg(long, global = true, value_name = "URL")]
    url: Option<url::Url>,
    /// The API key for --url
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "WHATSAPP_GATEWAY_KEY",
        hide_env_values = true
    )]
    key: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The gateway: API, dispatch, projections, webhooks
    #[command(after_help = "Example: whatsapp-gateway serve --store sqlite://data/gateway.db")]
    Serve(serve::ServeArgs),
    /// The main job end to end: sandbox, contacts, a campaign, shown live
    #[command(after_help = "Example: whatsapp-gateway demo --recipients 1000 --exit")]
    Demo(demo::DemoArgs),
    /// A stand-alone WhatsApp Cloud API look-alike, for anyone's tests
    #[command(after_help = "Example: whatsapp-gateway sandbox --listen 127.0.0.1:9090 --seed 7")]
    Sandbox(sandbox::SandboxArgs),
    /// Brings contacts in
    #[command(
        after_help = "Example: whatsapp-gateway import contacts customers.csv --tag newsletter --region DE"
    )]
    Import {
        #[command(subcommand)]
        what: import::What,
    },
    /// The event log as NDJSON (CloudEvents)
    #[command(after_help = "Example: whatsapp-gateway events --type message.delivered --follow")]
    Events(events::EventsArgs),
    /// Events, messages and campaigns as files for DuckDB, pandas and spreadsheets
    #[command(
        after_help = "Example: whatsapp-gateway export messages --format parquet --out messages --from 2026-11-01\nExample: whatsapp-gateway export campaigns --format csv --out campaigns.csv"
    )]
    Export(export::ExportArgs),
    /// The audit trail of a message, campaign, contact, account or anything else; what was known when, and what changed
    #[command(
        after_help = "Example: whatsapp-gateway history message 0190… --as-of 2026-11-23T09:00:00Z\nExample: whatsapp-gateway history contact 0190… --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z"
    )]
    History(history::HistoryArgs),
    /// Builds read models anew from the log: beside the old ones, then swaps; or into a file of its own
    #[command(
        after_help = "Example: whatsapp-gateway replay --projection messages\nExample: whatsapp-gateway replay --into analysis --until 2026-11-23T09:00:00Z"
    )]
    Replay(replay::ReplayArgs),
    /// Checks the log: no gap in any sequence, every stream folds, the seals hold
    #[command(after_help = "Example: whatsapp-gateway verify --seal 812:9f2c…")]
    Verify(verify::VerifyArgs),
    /// The notifications of WhatsApp as they came
    #[command(after_help = "Example: whatsapp-gateway journal replay --since 2026-11-23T09:00:00Z")]
    Journal {
        #[command(subcommand)]
        what: journal::What,
    },
    /// API keys, and the master key
    #[command(
        after_help = "Example: whatsapp-gateway keys create --name shop --scope READ --scope SEND"
    )]
    Keys {
        #[command(subcommand)]
        what: keys::What,
    },
    /// The people of the console
    #[command(
        after_help = "Example: whatsapp-gateway users invite --email ana@shop.example --name Ana --role MANAGER"
    )]
    Users {
        #[command(subcommand)]
        what: users::What,
    },
    /// Prints the GraphQL schema
    #[command(after_help = "Example: whatsapp-gateway schema > schema.graphql")]
    Schema,
    /// Load measurements, on a store made for them: campaigns as fast as this machine can
    #[command(after_help = "Example: whatsapp-gateway bench --recipients 100000 --runs 5")]
    Bench(bench::BenchArgs),
    /// The configuration
    #[command(after_help = "Example: whatsapp-gateway config check --defaults")]
    Config {
        #[command(subcommand)]
        what: config::What,
    },
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| "use KEY=VALUE, such as listen=127.0.0.1:9000".to_owned())
}

impl Global {
    fn load(&self, more: &[(&str, String)]) -> Result<Config, ConfigError> {
        let mut flags = self.set.clone();
        flags.extend(self.store.clone().map(|url| ("store.url".to_owned(), url)));
        flags.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        // The command line's own variable is no configuration key.
        let environment = std::env::vars().filter(|(name, _)| name != "WHATSAPP_GATEWAY_KEY");
        Config::load(self.config.as_deref(), environment, &flags)
    }
}

/// Wrong usage that clap cannot see: exits 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Runs a subcommand to its end.
pub fn run(cli: Cli) -> ExitCode {
    let result = dispatch(cli);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that closed the pipe has seen enough.
            let is_pipe = error
                .chain()
                .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
                .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe);
            if is_pipe {
                return ExitCode::SUCCESS;
            }
            eprintln!("error: {error:#}");
            let is_usage =
                error.chain().any(|cause| cause.is::<Usage>() || cause.is::<ConfigError>());
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let global = cli.global;
    match cli.command {
        Command::Schema => {
            print!("{}", crate::graphql::sdl());
            Ok(())
        }
        Command::Config { what } => config::run(&global, &what),
        Command::Serve(args) => block_on(serve::run(global, args)),
        Command::Demo(args) => block_on(demo::run(global, args)),
        Command::Sandbox(args) => block_on(sandbox::run(global, args)),
        Command::Bench(args) => block_on(bench::run(args)),
        Command::Import { what } => block_on(import::run(global, what)),
        Command::Events(args) => block_on(events::run(global, args)),
        Command::Export(args) => block_on(export::run(global, args)),
        Command::History(args) => block_on(history::run(global, args)),
        Command::Replay(args) => block_on(replay::run(global, args)),
        Command::Verify(args) => block_on(verify::run(global, args)),
        Command::Journal { what } => block_on(journal::run(global, what)),
        Command::Keys { what } => block_on(keys::run(global, what)),
        Command::Users { what } => block_on(users::run(global, what)),
    }
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    // What is still blocked (a read from a terminal) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}
