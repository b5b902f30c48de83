//! `import contacts`: what the API's import does, from a shell.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::Global;
use super::client::Client;
use crate::app::Managers;

const POLL: Duration = Duration::from_millis(300);
const CHUNK_BYTES: usize = 64 * 1024;
const ERRORS_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub enum What {
    /// Contacts from a CSV file with a header row; - reads standard input
    #[command(
        after_help = "Example: whatsapp-gateway import contacts customers.csv --consent OPTED_IN --consent-source shop"
    )]
    Contacts(ContactsArgs),
    /// Takes back what an import added or changed, as far as nothing newer stands on it
    #[command(after_help = "Example: whatsapp-gateway import undo 0190…")]
    Undo { id: String },
}

#[derive(Debug, Args)]
pub struct ContactsArgs {
    file: PathBuf,
    /// Says what would happen, and does nothing
    #[arg(long)]
    dry_run: bool,
    /// Region of numbers in national form, such as DE
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// A tag for everybody in the file; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Consent of everybody in the file: OPTED_IN, OPTED_OUT or UNKNOWN. A consent column goes before it
    #[arg(long, value_name = "STATUS")]
    consent: Option<String>,
    /// Where that consent was given
    #[arg(long, value_name = "TEXT")]
    consent_source: Option<String>,
    /// JSON object: header → field
    #[arg(long, value_name = "JSON")]
    mapping: Option<String>,
    /// The workspace's id, where there are several
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// Prints the result as one JSON object
    #[arg(long)]
    json: bool,
}

const IMPORT: &str = "query($id: ID!) { import(id: $id) { id status reason rows added updated rejected \
                      errors(first: 500) { row column message } } }";

pub async fn run(global: Global, what: What) -> anyhow::Result<()> {
    let client = Client::connect_or_run(&global, Managers::Imports).await?;
    let result = match what {
        What::Contacts(args) => contacts(&client, args).await,
        What::Undo { id } => undo(&client, &id).await,
    };
    client.close().await;
    result
}

async fn contacts(client: &Client, args: ContactsArgs) -> anyhow::Result<()> {
    let mut query: Vec<(&str, String)> = vec![("dryRun", args.dry_run.to_string())];
    query.extend(args.region.map(|region| ("defaultRegion", region)));
    query.extend(args.tags.into_iter().map(|tag| ("tags", tag)));
    query.extend(args.consent.map(|consent| ("consent", consent)));
    query.extend(args.consent_source.map(|source| ("consentSource", source)));
    query.extend(args.mapping.map(|mapping| ("mapping", mapping)));
    query.extend(args.workspace.map(|workspace| ("workspaceId", workspace)));
    let body = if args.file.as_os_str() == "-" {
        reqwest::Body::wrap_stream(chunks(tokio::io::stdin()))
    } else {
        let file = tokio::fs::File::open(&args.file)
            .await
            .with_context(|| format!("could not read {}", args.file.display()))?;
        query.extend(
            args.file.file_name().map(|name| ("fileName", name.to_string_lossy().into_owned())),
        );
        reqwest::Body::wrap_stream(chunks(file))
    };
    let started = client.post("/imports", &query, body).await?;
    let id = started["import"]["id"].as_str().context("the gateway named no import")?.to_owned();
    let import = follow(client, &id).await?;
    if args.json {
        println!("{import}");
    } else {
        print(&import);
    }
    if import["status"] == "FAILED" {
        bail!("the import failed: {}", import["reason"].as_str().unwrap_or("no reason is known"));
    }
    Ok(())
}

/// A reader as a stream of chunks, so that a file of any size takes little memory.
fn chunks(
    reader: impl tokio::io::AsyncRead + Unpin + Send + 'static,
) -> impl futures::Stream<Item = std::io::Result<Vec<u8>>> + Send {
    futures::stream::try_unfold(reader, |mut reader| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = reader.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok((read > 0).then_some((chunk, reader)))
    })
}

/// Shows progress until the import has ended.
async fn follow(client: &Client, id: &str) -> anyhow::Result<Value> {
    let terminal = std::io::stderr().is_terminal();
    loop {
        let mut data = client.graphql(IMPORT, json!({ "id": id })).await?;
        let import = data["import"].take();
        let line = format!(
            "{} rows: {} added, {} updated, {} rejected",
            import["rows"], import["added"], import["updated"], import["rejected"]
        );
        let running = import["status"] == "RUNNING";
        match (terminal, running) {
            (true, true) => eprint!("\r{line} "),
            (true, false) => eprintln!("\r{line} "),
            (false, true) => {}
            (false, false) => eprintln!("{line}"),
        }
        if !running {
            return Ok(import);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn print(import: &Value) {
    println!(
        "import {} {}",
        import["id"].as_str().unwrap_or_default(),
        import["status"].as_str().unwrap_or_default()
    );
    let errors = import["errors"].as_array().map_or(&[][..], Vec::as_slice);
    for error in errors.iter().take(ERRORS_SHOWN) {
        let column =
            error["column"].as_str().map(|column| format!(", column {column}")).unwrap_or_default();
        println!("row {}{column}: {}", error["row"], error["message"].as_str().unwrap_or_default());
    }
    let shown = errors.len().min(ERRORS_SHOWN) as u64;
    let rejected = import["rejected"].as_u64().unwrap_or_default();
    if shown > 0 && rejected > shown {
        println!("… and {} more rejected rows", rejected - shown);
    }
}

async fn undo(client: &Client, id: &str) -> anyhow::Result<()> {
    let mutation = "mutation($id: ID!) { undoImport(id: $id) { import { id status rows added updated rejected } } }";
    let mut data = client.graphql(mutation, json!({ "id": id })).await?;
    print(&data["undoImport"]["import"].take());
    Ok(())
}
