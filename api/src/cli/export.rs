//! `export`: events, messages and campaigns as files for DuckDB, pandas and spreadsheets, read beside a running gateway or
//! made by one elsewhere.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, ValueEnum};
use domain::port::Position;
use domain::primitives::Actor;
use ring::digest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::Client;
use super::events::event_types;
use super::{Global, Usage};
use crate::app::Reader;
use crate::application::exports::{
    Bounds, Dataset, ExportError, ExportFilter, ExportRequest, Format, Job, Manifest, Place,
    Progress, ROWS_PER_FILE, export,
};
use crate::application::{Caller, ErrorCode};

const POLL: Duration = Duration::from_millis(300);
/// Between two lines about progress where there is no terminal, in hundredths of the whole.
const TOLD_EVERY: u64 = 10;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The event log
    Events,
    /// A row for each message, with what became of it
    Messages,
    /// A row for each campaign, with its counts
    Campaigns,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum As {
    /// Typed and compressed, in a directory for each day
    Parquet,
    /// With a header row; cells that spreadsheets would run are made safe
    Csv,
    /// A JSON object a line; events as CloudEvents
    Ndjson,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    what: What,
    #[arg(long, value_enum)]
    format: As,
    /// Where to: with CSV and NDJSON a path with an extension is the file itself, any other a directory. An export that was
    /// cut short here is gone on with
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Only what was recorded after this position, such as the range.to of an earlier manifest
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Only what was recorded at or after this instant (RFC 3339) or day (UTC); of messages and campaigns their first event
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// Only what was recorded before this instant or day
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Option<DateTime<Utc>>,
    /// Only events of this type, such as message.delivered, or all of a kind, such as message.*; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only of this account; may be repeated
    #[arg(long = "account", value_name = "ID")]
    accounts: Vec<Uuid>,
    /// Only of this workspace; may be repeated
    #[arg(long = "workspace", value_name = "ID")]
    workspaces: Vec<Uuid>,
    /// Only of this campaign, and its messages; may be repeated
    #[arg(long = "campaign", value_name = "ID")]
    campaigns: Vec<Uuid>,
    /// With personal data (numbers, texts, user ids); with --url, this needs the key's scope PERSONAL
    #[arg(long)]
    personal: bool,
    /// Leave cells of CSV as they are, also where a spreadsheet would run them
    #[arg(long)]
    raw: bool,
    /// Rows of a Parquet file at most
    #[arg(long, value_name = "ROWS", default_value_t = ROWS_PER_FILE,
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rows_per_file: u64,
    /// Prints the manifest instead of the path
    #[arg(long)]
    json: bool,
}

/// An instant in RFC 3339, or the beginning of a day in UTC.
fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let at = DateTime::parse_from_rfc3339(text);
    at.map(|at| at.to_utc()).map_err(|_| {
        "use an instant such as 2026-11-23T09:00:00Z, or a day such as 2026-11-23".to_owned()
    })
}

pub async fn run(global: Global, args: ExportArgs) -> anyhow::Result<()> {
    let request = ExportRequest {
        dataset: match args.what {
            What::Events => Dataset::Events,
            What::Messages => Dataset::Messages,
            What::Campaigns => Dataset::Campaigns,
        },
        format: match args.format {
            As::Parquet => Format::Parquet,
            As::Csv => Format::Csv,
            As::Ndjson => Format::Ndjson,
        },
        filter: ExportFilter {
            after: Position(args.after),
            from: args.from,
            to: args.to,
            types: event_types(&args.types)?,
            workspace_ids: args.workspaces,
            account_ids: args.accounts,
            campaign_ids: args.campaigns,
        },
        personal: args.personal,
        raw: args.raw,
    };
    let place = Place::of(&args.out, &request);
    let manifest = match global.url {
        Some(_) => from_gateway(&Client::connect(&global).await?, &request, &place).await?,
        None => {
            if request.personal {
                note(&global, &request).await?;
            }
            from_store(&global, &request, &place, args.rows_per_file).await?
        }
    };
    eprintln!(
        "{} rows in {} files, positions {} to {}",
        manifest.rows,
        manifest.files.len(),
        manifest.range.after.0.saturating_add(1),
        manifest.range.to
    );
    if manifest.request.personal {
        eprintln!("It holds personal data in the clear. Erasures later on do not reach it.");
    }
    match args.json {
        true => println!("{}", serde_json::to_string(&manifest)?),
        false => println!("{}", place.result().display()),
    }
    Ok(())
}

/// That personal data is exported is a fact of its own, which the gateway that owns the log writes down before.
async fn note(global: &Global, request: &ExportRequest) -> anyhow::Result<()> {
    let client = Client::connect(global).await?;
    let noted = client.post_json("/exports/beside", &body_of(request)).await;
    client.close().await;
    noted.map(|_| ()).context("the log could not take down that personal data is exported")
}

/// What a gateway is asked for over HTTP.
fn body_of(request: &ExportRequest) -> Value {
    let filter = &request.filter;
    json!({
        "dataset": request.dataset, "format": request.format, "personal": request.personal, "raw": request.raw,
        "filter": {
            "after": filter.after.to_string(), "from": filter.from, "to": filter.to, "types": filter.types,
            "workspaceIds": filter.workspace_ids, "accountIds": filter.account_ids, "campaignIds": filter.campaign_ids,
        },
    })
}

/// The log is only read, beside the gateway that runs on it.
async fn from_store(
    global: &Global,
    request: &ExportRequest,
    place: &Place,
    rows_per_file: u64,
) -> anyhow::Result<Manifest> {
    let reader = Reader::open(&global.load(&[])?).await?;
    // Whoever may read the log's files may see everything.
    let caller = Caller::everything(Actor::system("cli"));
    let shown = Shown::default();
    let job = Job {
        ledger: &reader.ledger,
        public_url: &reader.public_url,
        caller: &caller,
        request,
        place,
        bounds: Bounds { rows_per_file, bytes: u64::MAX },
        is_to_stop: &|| false,
        on_progress: &|progress| shown.tell(progress),
    };
    let exported = export(&job).await;
    shown.end();
    exported.map_err(|error| match error {
        ExportError::Refused(error) if error.code == ErrorCode::ValidationFailed => {
            Usage(error.message).into()
        }
        error => error.into(),
    })
}

/// Progress, on a terminal all the time, else now and then.
#[derive(Default)]
struct Shown {
    told: AtomicU64,
}

impl Shown {
    fn tell(&self, progress: Progress) {
        let Progress { range, position, rows } = progress;
        let whole = range.to.0.saturating_sub(range.after.0).max(1);
        let done = position.0.saturating_sub(range.after.0);
        let hundredths = done as f64 / whole as f64 * 100.0;
        if std::io::stderr().is_terminal() {
            eprint!("\r{hundredths:.0} %, {rows} rows ");
            let _ = std::io::stderr().flush();
            return;
        }
        let step = hundredths as u64 / TOLD_EVERY;
        if self.told.swap(step, Ordering::Relaxed) < step {
            eprintln!("{hundredths:.0} %, {rows} rows");
        }
    }

    fn end(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r");
        }
    }
}

/// Made by a gateway elsewhere, then fetched file by file.
async fn from_gateway(
    client: &Client,
    request: &ExportRequest,
    place: &Place,
) -> anyhow::Result<Manifest> {
    for path in [place.manifest(), place.result()] {
        if path.exists() && path != place.folder() {
            bail!("{} is there already; give another place, or remove it first", path.display());
        }
    }
    let started = client.post_json("/exports", &body_of(request)).await?;
    let id = started["export"]["id"].as_str().context("the gateway named no export")?.to_owned();
    let path = format!("/exports/{id}");
    let manifest: Manifest = loop {
        let answer = client.get(&path, &[], "application/json").await?;
        let mut status: Value = answer.json().await.context("the gateway answered no JSON")?;
        let export = &mut status["export"];
        match export["status"].as_str() {
            Some("COMPLETED") => {
                break serde_json::from_value(export["manifest"].take())
                    .context("the gateway wrote a manifest that this version does not know")?;
            }
            Some("FAILED") => {
                let reason = export["error"]["message"].as_str().unwrap_or("no reason is known");
                bail!("the export failed: {reason}");
            }
            _ => {
                if std::io::stderr().is_terminal() {
                    let done = export["progress"].as_f64().unwrap_or_default() * 100.0;
                    eprint!("\r{done:.0} % ");
                }
                tokio::time::sleep(POLL).await;
            }
        }
    };
    std::fs::create_dir_all(place.folder())
        .with_context(|| format!("could not make {}", place.folder().display()))?;
    let is_single = place.result() != place.folder();
    for file in &manifest.files {
        let to = match is_single {
            true => place.result(),
            // What a gateway names is no path out of the directory.
            false => place.folder().join(safe(&file.path).context("the gateway named no file")?),
        };
        let query = [("file", file.path.clone())];
        let mut answer = client.get(&path, &query, "*/*").await?;
        let hash = save(&mut answer, &to, request.personal).await?;
        if hash != file.sha256 {
            bail!("{} came damaged; try again", to.display());
        }
        std::fs::rename(unfinished(&to), &to)
            .with_context(|| format!("could not make {}", to.display()))?;
    }
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    std::fs::write(unfinished(&place.manifest()), text)?;
    std::fs::rename(unfinished(&place.manifest()), place.manifest())?;
    Ok(manifest)
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// A path of plain names.
fn safe(path: &str) -> Option<&Path> {
    let path = Path::new(path);
    let is_plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    is_plain.then_some(path)
}

/// Under another name until it is whole. Answers its SHA-256.
async fn save(answer: &mut reqwest::Response, to: &Path, personal: bool) -> anyhow::Result<String> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
    }
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true);
    if personal {
        options.mode(0o600);
    }
    let path = unfinished(to);
    let written = || format!("could not write {}", path.display());
    let mut file = options.open(&path).with_context(written)?;
    let mut hash = digest::Context::new(&digest::SHA256);
    while let Some(chunk) = answer.chunk().await.context("the download broke off")? {
        hash.update(&chunk);
        file.write_all(&chunk).with_context(written)?;
    }
    file.sync_data().with_context(written)?;
    Ok(hex::encode(hash.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_instant_or_the_beginning_of_a_day() {
        let day = instant("2026-11-23").unwrap();
        assert_eq!(day, instant("2026-11-23T00:00:00Z").unwrap());
        assert_eq!(day, instant("2026-11-23T01:00:00+01:00").unwrap());
        assert!(instant("yesterday").is_err() && instant("2026-11-23T00:00:00").is_err());
    }

    #[test]
    fn a_gateway_names_no_file_outside() {
        assert!(safe("day=2026-11-23/part-00001.parquet").is_some());
        for path in ["../x", "/etc/x", "day=1/../../x"] {
            assert!(safe(path).is_none(), "{path}");
        }
    }
}
