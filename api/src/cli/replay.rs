//! `replay`: builds read models anew from the log, beside the ones that answer, then swaps; or into a file of its own, for
//! an analyst.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use domain::port::EventFeed;
use projections::{ProjectError, Projections, ReadDb, names};
use serde_json::{Value, json};

use super::client::Client;
use super::{Global, Usage};
use crate::app::Reader;

const POLL: Duration = Duration::from_millis(300);
/// A read model that failed tries again for itself, at the latest after 10 s; one that stands still for longer does not
/// get over it.
const PATIENCE: Duration = Duration::from_secs(25);
/// The file in the analyst's directory.
const FILE: &str = "read-models.db";

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Only this read model (directory, contacts or messages); all of them without it
    #[arg(long, value_name = "NAME")]
    projection: Option<String>,
    /// With --into: only what was recorded at or before this instant (RFC 3339)
    #[arg(long, value_name = "TIME", requires = "into")]
    until: Option<DateTime<Utc>>,
    /// Into a SQLite file of its own in this directory, with personal data in the clear, instead of the live ones
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

const PROJECTIONS: &str = "{ projections { name position lag status rebuildProgress } }";

pub async fn run(global: Global, args: ReplayArgs) -> anyhow::Result<()> {
    if let Some(name) = &args.projection
        && !names::ALL.contains(&name.as_str())
    {
        bail!(Usage(format!("there is no read model {name}; there are {}", names::ALL.join(", "))));
    }
    if let Some(directory) = &args.into {
        if global.url.is_some() {
            bail!(Usage("--into reads the store itself; leave --url out".to_owned()));
        }
        return into_file(&global, args.projection.as_deref(), args.until, directory).await;
    }
    let client = Client::connect(&global).await?;
    let result = replay(&client, args.projection).await;
    client.close().await;
    result
}

async fn replay(client: &Client, projection: Option<String>) -> anyhow::Result<()> {
    let wanted = match projection {
        Some(name) => vec![name],
        None => names::ALL.map(str::to_owned).to_vec(),
    };
    for name in &wanted {
        let mutation =
            "mutation($name: String!) { rebuildProjection(name: $name) { projection { name } } }";
        client.graphql(mutation, json!({ "name": name })).await?;
    }
    let mut progress = Standstill::default();
    loop {
        let projections = client.graphql(PROJECTIONS, json!({})).await?;
        let under_way: Vec<&Value> = projections["projections"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| wanted.iter().any(|name| p["name"] == name.as_str()))
            .filter(|p| p["status"] != "LIVE")
            .collect();
        if under_way.is_empty() {
            for name in &wanted {
                println!("{name} rebuilt");
            }
            return Ok(());
        }
        // One that failed before may be well again once it is built anew, so failing alone is no end.
        let failed = under_way.iter().filter(|p| p["status"] == "FAILED");
        let stuck: Vec<&str> = failed
            .filter(|p| progress.stands_still(p))
            .filter_map(|p| p["name"].as_str())
            .collect();
        if !stuck.is_empty() {
            bail!(
                "the read model {} could not be built anew; the gateway's log says why, and the old one answers meanwhile",
                stuck.join(" and ")
            );
        }
        let parts = under_way.iter().map(|p| {
            let share = p["rebuildProgress"].as_f64().unwrap_or_default();
            (p["name"].as_str().unwrap_or_default(), share)
        });
        show_progress(parts);
        tokio::time::sleep(POLL).await;
    }
}

/// Since when each read model has been where it is.
#[derive(Default)]
struct Standstill {
    since: HashMap<String, (Value, Instant)>,
}

impl Standstill {
    fn stands_still(&mut self, projection: &Value) -> bool {
        let name = projection["name"].as_str().unwrap_or_default().to_owned();
        let place = projection["rebuildProgress"].clone();
        match self.since.get(&name) {
            Some((known, since)) if *known == place => since.elapsed() > PATIENCE,
            _ => {
                self.since.insert(name, (place, Instant::now()));
                false
            }
        }
    }
}

fn show_progress<'a>(parts: impl Iterator<Item = (&'a str, f64)>) {
    if std::io::stderr().is_terminal() {
        let parts: Vec<String> =
            parts.map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
        eprint!("\r{}   ", parts.join(", "));
    }
}

/// The log is only read, beside the gateway that runs on it.
async fn into_file(
    global: &Global,
    projection: Option<&str>,
    until: Option<DateTime<Utc>>,
    directory: &Path,
) -> anyhow::Result<()> {
    let path = directory.join(FILE);
    // Under another name until it is whole, so that nobody takes half of it for everything.
    let unfinished = directory.join(format!("{FILE}.part"));
    for (taken, remedy) in [
        (&path, "give another directory, or remove it first"),
        (&unfinished, "another replay works on it, or was cut short; then remove it first"),
    ] {
        if taken.exists() {
            bail!("{} is there already: {remedy}", taken.display());
        }
    }
    let reader = Reader::open(&global.load(&[])?).await?;
    make_private_directory(directory)?;
    let db = ReadDb::create_sqlite(&unfinished).await.context("could not make the file")?;
    let began = Instant::now();
    let named = build(db, &reader, projection, until).await.and_then(|()| {
        std::fs::rename(&unfinished, &path)
            .with_context(|| format!("could not make {}", path.display()))
    });
    // What was built is in the one file; half a read model of people is nothing to leave about.
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.join(format!("{FILE}.part{end}")));
    }
    named?;
    let (seconds, events) = (began.elapsed().as_secs_f64(), reader.ledger.head().await?.0);
    eprintln!(
        "Built in {seconds:.1} s from a log of {events} events, {:.0} each second.",
        events as f64 / seconds.max(0.001)
    );
    eprintln!(
        "It holds personal data in the clear; its mode is 0600. Erasures later on do not reach it."
    );
    println!("{}", path.display());
    Ok(())
}

/// Lets the file go when it answers.
async fn build(
    db: ReadDb,
    reader: &Reader,
    projection: Option<&str>,
    until: Option<DateTime<Utc>>,
) -> anyhow::Result<()> {
    let read = Projections::open(db.clone(), Arc::new(reader.ledger.clone())).await?;
    let filling = fill(&read, projection, until);
    tokio::pin!(filling);
    loop {
        tokio::select! {
            filled = &mut filling => break filled?,
            () = tokio::time::sleep(POLL) => {
                let known = read.status().await?;
                let chosen = known.iter().filter(|p| projection.is_none_or(|name| name == p.name));
                show_progress(chosen.map(|p| {
                    let end = p.position.0 + p.lag;
                    (p.name, if end == 0 { 1.0 } else { p.position.0 as f64 / end as f64 })
                }));
            }
        }
    }
    read.name_tables().await?;
    // Into the one file that is handed on.
    if !db.scrub(&[]).await? {
        bail!("another process reads the file; try again");
    }
    Ok(())
}

async fn fill(
    read: &Projections,
    projection: Option<&str>,
    until: Option<DateTime<Utc>>,
) -> Result<(), ProjectError> {
    // The log's time has milliseconds, and its filter leaves the end out.
    let until = until.map(|at| {
        let ms = at.timestamp_millis().saturating_add(1);
        DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
    });
    match projection {
        Some(name) => read.catch_up_one(name, until).await,
        None => read.catch_up(until).await,
    }
}

fn make_private_directory(directory: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder
        .create(directory)
        .with_context(|| format!("could not make the directory {}", directory.display()))
}
