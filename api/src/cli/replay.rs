//! `replay`: builds read models anew, beside the old ones, then swaps.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::Global;
use super::client::Client;

const POLL: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Only this read model; all of them without it
    #[arg(long, value_name = "NAME")]
    projection: Option<String>,
}

const PROJECTIONS: &str = "{ projections { name position lag status rebuildProgress } }";

pub async fn run(global: Global, args: ReplayArgs) -> anyhow::Result<()> {
    let client = Client::connect(&global).await?;
    let result = replay(&client, args).await;
    client.close().await;
    result
}

async fn replay(client: &Client, args: ReplayArgs) -> anyhow::Result<()> {
    let projections = client.graphql(PROJECTIONS, json!({})).await?;
    let known: Vec<String> = names(&projections);
    let wanted: Vec<String> = match args.projection {
        Some(name) if known.contains(&name) => vec![name],
        Some(name) => bail!("there is no read model {name}; there are {}", known.join(", ")),
        None => known,
    };
    for name in &wanted {
        let mutation =
            "mutation($name: String!) { rebuildProjection(name: $name) { projection { name } } }";
        client.graphql(mutation, json!({ "name": name })).await?;
    }
    let terminal = std::io::stderr().is_terminal();
    loop {
        let projections = client.graphql(PROJECTIONS, json!({})).await?;
        let rebuilding: Vec<&Value> = projections["projections"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| wanted.iter().any(|name| p["name"] == name.as_str()))
            .inspect(|p| {
                if p["status"] == "FAILED" {
                    eprintln!(
                        "{} failed; see the gateway's log",
                        p["name"].as_str().unwrap_or_default()
                    );
                }
            })
            .filter(|p| p["status"] == "REBUILDING")
            .collect();
        if rebuilding.is_empty() {
            for name in &wanted {
                println!("{name} rebuilt");
            }
            return Ok(());
        }
        if terminal {
            let parts: Vec<String> = rebuilding
                .iter()
                .map(|p| {
                    let percent = p["rebuildProgress"].as_f64().unwrap_or_default() * 100.0;
                    format!("{} {percent:.0} %", p["name"].as_str().unwrap_or_default())
                })
                .collect();
            eprint!("\r{}   ", parts.join(", "));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn names(projections: &Value) -> Vec<String> {
    projections["projections"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| p["name"].as_str().map(str::to_owned))
        .collect()
}
