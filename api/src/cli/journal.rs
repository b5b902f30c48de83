//! `journal`: the notifications of WhatsApp as they came.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::Global;
use super::client::Client;

#[derive(Debug, Subcommand)]
pub enum What {
    /// Interprets notifications again, as far back as `journal.retention` reaches; what is on record stays as it is
    #[command(after_help = "Example: whatsapp-gateway journal replay --since 2026-11-23T09:00:00Z")]
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ReplayArgs {
    /// What came after this place in the journal; 0 is its beginning
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// What was received at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
}

pub async fn run(global: Global, what: What) -> anyhow::Result<()> {
    let What::Replay(args) = what;
    let client = Client::connect(&global).await?;
    let result = replay(&client, args).await;
    client.close().await;
    result
}

async fn replay(client: &Client, args: ReplayArgs) -> anyhow::Result<()> {
    let after = args.after.map(|place| ("after", place.to_string()));
    let since = args.since.map(|at| ("since", at.to_rfc3339()));
    let query: Vec<_> = after.into_iter().chain(since).collect();
    let answer = client.post("/journal/replay", &query, reqwest::Body::default()).await?;
    let replay = &answer["replay"];
    match (replay["after"].as_str(), replay["upTo"].as_str()) {
        (Some(after), Some(up_to)) => println!(
            "notifications after {after} up to {up_to} are interpreted again, as far as they are still kept"
        ),
        _ => println!("nothing to interpret again: nothing after that has been interpreted yet"),
    }
    Ok(())
}
