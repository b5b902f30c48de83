//! A read model of your own, as docs/custom-read-models.md explains it: how many messages of each template were accepted,
//! delivered and read in each hour. It follows the gateway's events into a SQLite file of its own and may be killed at any
//! moment.
//!
//!     export GATEWAY_URL=http://127.0.0.1:8080 GATEWAY_KEY=wgk_…     # a key with the scope READ
//!     cargo run --example messages_by_hour -- by-hour.db             # goes on until it is stopped
//!     cargo run --example messages_by_hour -- by-hour.db --once      # ends with the log
//!     sqlite3 by-hour.db 'SELECT * FROM messages_by_hour'

use std::time::Duration;

use anyhow::{Context, bail};
use futures::StreamExt;
use reqwest::{Client, StatusCode};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Deserialize;

/// Raise it whenever what is written changes: what an older version wrote is then thrown away and built anew.
const VERSION: i64 = 1;
/// Only these are sent to us.
const TYPES: [&str; 5] = [
    "message.scheduled",
    "message.queued",
    "message.accepted",
    "message.delivered",
    "message.read",
];
/// How long to wait for a gateway that is away.
const RETRY: Duration = Duration::from_secs(2);
/// The gateway sends a line every 15 s, if an empty one; a connection that is silent for longer is none.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// What is used of a CloudEvent.
#[derive(Deserialize)]
struct Event {
    position: String,
    #[serde(rename = "type")]
    kind: String,
    /// `message/<id>`
    subject: String,
    /// When it happened, in UTC: `2026-11-27T09:00:00.000Z`.
    time: String,
    data: serde_json::Value,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, is_once) = match arguments.as_slice() {
        [path] => (path, false),
        [path, once] if once == "--once" => (path, true),
        _ => bail!("usage: messages_by_hour FILE [--once]"),
    };
    let url = std::env::var("GATEWAY_URL").context("set GATEWAY_URL")?;
    let key = std::env::var("GATEWAY_KEY").context("set GATEWAY_KEY")?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().read_timeout(SILENCE_MAX).build()?;
    let mut db = open(path)?;
    loop {
        match follow(&client, &url, &key, is_once, &mut db).await? {
            Ended::WithTheLog => return Ok(()),
            Ended::ByACut(why) => eprintln!("cut off, trying again: {why}"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn open(path: &str) -> anyhow::Result<Connection> {
    let mut db = Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = db.transaction()?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        transaction.execute_batch(
            "DROP TABLE IF EXISTS position;
             DROP TABLE IF EXISTS planned;
             DROP TABLE IF EXISTS messages_by_hour;
             CREATE TABLE position (position INTEGER NOT NULL);
             INSERT INTO position VALUES (0);
             CREATE TABLE planned (message TEXT PRIMARY KEY, template TEXT NOT NULL) WITHOUT ROWID;
             CREATE TABLE messages_by_hour (
               hour TEXT NOT NULL, template TEXT NOT NULL,
               accepted INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0,
               read INTEGER NOT NULL DEFAULT 0,
               PRIMARY KEY (hour, template)
             ) WITHOUT ROWID;",
        )?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(db)
}

enum Ended {
    WithTheLog,
    ByACut(String),
}

/// Reads on from where the file is.
async fn follow(
    client: &Client,
    url: &str,
    key: &str,
    is_once: bool,
    db: &mut Connection,
) -> anyhow::Result<Ended> {
    let position: i64 = db.query_row("SELECT position FROM position", [], |row| row.get(0))?;
    let mut query = vec![("after", position.to_string()), ("follow", (!is_once).to_string())];
    query.extend(TYPES.map(|name| ("type", name.to_owned())));
    let request = client.get(format!("{url}/events")).query(&query).bearer_auth(key);
    let response = match request.header("Accept", "application/x-ndjson").send().await {
        Ok(response) => response,
        Err(error) => return Ok(Ended::ByACut(error.to_string())),
    };
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(Ended::ByACut(format!("the gateway answers {status}")));
    }
    if !status.is_success() {
        // Among others, the log may have been restored to before what is in the file: then the file has to go.
        bail!("the gateway answers {status}: {}", response.text().await.unwrap_or_default());
    }
    let mut body = response.bytes_stream();
    let mut rest = Vec::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => rest.extend_from_slice(&piece),
            Err(error) => return Ok(Ended::ByACut(error.to_string())),
        }
        // Lines may be cut in two by the network.
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        write(db, &lines)?;
    }
    Ok(if is_once { Ended::WithTheLog } else { Ended::ByACut("the stream ended".to_owned()) })
}

/// Counts these events and moves the position, both or neither.
fn write(db: &mut Connection, lines: &[u8]) -> anyhow::Result<()> {
    let transaction = db.transaction()?;
    let mut position = None;
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Event = serde_json::from_slice(line).context("a line is no event")?;
        count(&transaction, &event)?;
        position = Some(event.position.parse::<i64>().context("a position is no number")?);
    }
    if let Some(position) = position {
        transaction.execute("UPDATE position SET position = ?1", [position])?;
    }
    transaction.commit()?;
    Ok(())
}

fn count(transaction: &Transaction<'_>, event: &Event) -> anyhow::Result<()> {
    let message = event.subject.as_str();
    let column = match event.kind.as_str() {
        // Only here does an event say what is sent; the others say what became of it.
        "message.scheduled" | "message.queued" => {
            let template = event.data["template"]["name"].as_str().unwrap_or("(none)");
            transaction.execute(
                "INSERT OR REPLACE INTO planned VALUES (?1, ?2)",
                params![message, template],
            )?;
            return Ok(());
        }
        "message.accepted" => "accepted",
        "message.delivered" => "delivered",
        "message.read" => "read",
        _ => return Ok(()),
    };
    let template: Option<String> = transaction
        .query_row("SELECT template FROM planned WHERE message = ?1", [message], |row| row.get(0))
        .optional()?;
    let Some(template) = template else { return Ok(()) };
    let hour = event.time.get(..13).context("an event has no time")?;
    transaction.execute(
        &format!(
            "INSERT INTO messages_by_hour (hour, template, {column}) VALUES (?1, ?2, 1)
             ON CONFLICT DO UPDATE SET {column} = {column} + 1"
        ),
        params![hour, template],
    )?;
    Ok(())
}
