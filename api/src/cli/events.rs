//! `events`: the log as NDJSON, one CloudEvent a line, read beside a running gateway or through one elsewhere.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use domain::port::{EventFeed, EventFilter, Position};
use infrastructure::ledger::catalogue;
use serde::Deserialize;

use super::client::{Client, Refused};
use super::{Global, Usage};
use crate::app::Reader;
use crate::application::events::{event_json, shown_events};

/// Events read at once.
const PAGE: usize = 500;
/// How often a followed log is looked at where this process reads the store, which another one appends to.
const POLL: Duration = Duration::from_millis(200);
/// A gateway that is followed says something at least every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Between two tries to reach a gateway that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest line: an event with all that WhatsApp takes for a message.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Begin after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Only this type, such as message.delivered, or all of a kind, such as message.*; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Go on with what is recorded from now on
    #[arg(long)]
    follow: bool,
    /// Show personal data instead of masking it; with --url, the key's scope PERSONAL decides
    #[arg(long)]
    personal: bool,
}

pub async fn run(global: Global, args: EventsArgs) -> anyhow::Result<()> {
    let types = event_types(&args.types)?;
    let after = Position(args.after);
    if global.url.is_none() {
        let reader = Reader::open(&global.load(&[])?).await?;
        return read_store(&reader, types, after, &args).await;
    }
    let stream =
        Stream { client: Client::connect(&global).await?, types, is_followed: args.follow };
    stream.read(after).await
}

/// From the store itself: whoever may read its files may see everything.
async fn read_store(
    reader: &Reader,
    event_types: Vec<String>,
    mut after: Position,
    args: &EventsArgs,
) -> anyhow::Result<()> {
    let filter = EventFilter { event_types, ..EventFilter::default() };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    loop {
        let page = reader.ledger.read_after(after, &filter, PAGE).await?;
        for event in &shown_events(&reader.ledger, page.events, args.personal).await? {
            serde_json::to_writer(&mut out, &event_json(event, &reader.public_url))?;
            out.write_all(b"\n")?;
        }
        after = page.scanned_to.max(after);
        if page.at_head {
            out.flush()?;
            if !args.follow {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// `GET /events` of a gateway elsewhere, over cuts and restarts.
struct Stream {
    client: Client,
    types: Vec<String>,
    is_followed: bool,
}

impl Stream {
    async fn read(&self, mut after: Position) -> anyhow::Result<()> {
        let mut was_reached = false;
        loop {
            let cut = match self.copy(&mut after, &mut was_reached).await {
                Ok(()) if !self.is_followed => return Ok(()),
                Ok(()) => anyhow::anyhow!("the gateway ended the stream"),
                Err(error) => error,
            };
            if !self.is_followed || !was_reached || cut.is::<Refused>() {
                return Err(cut);
            }
            eprintln!("{cut:#}; going on after position {after}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Writes what comes after a position until the stream ends, and moves the position with it.
    async fn copy(&self, after: &mut Position, was_reached: &mut bool) -> anyhow::Result<()> {
        let mut query =
            vec![("after", after.to_string()), ("follow", self.is_followed.to_string())];
        query.extend(self.types.iter().map(|name| ("type", name.clone())));
        let mut response = self.client.get("/events", &query, "application/x-ndjson").await?;
        *was_reached = true;
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let mut begun = Vec::new();
        loop {
            let chunk = tokio::time::timeout(SILENCE_MAX, response.chunk()).await;
            let Some(chunk) = chunk.context("the gateway fell silent")?? else { return Ok(()) };
            begun.extend_from_slice(&chunk);
            let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') else {
                if begun.len() > LINE_BYTES_MAX {
                    bail!("the gateway sent a line of more than {LINE_BYTES_MAX} bytes");
                }
                continue;
            };
            let whole = begun.drain(..=end).collect::<Vec<u8>>();
            for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                #[derive(Deserialize)]
                struct Placed {
                    position: String,
                }
                let placed: Placed = serde_json::from_slice(line)
                    .context("the gateway sent a line that is no event")?;
                out.write_all(line)?;
                out.write_all(b"\n")?;
                *after =
                    placed.position.parse().map(Position).context("an event has no position")?;
            }
            out.flush()?;
        }
    }
}

/// The types that were asked for by name or, as `message.*`, by kind. A name that is none is a slip of the keyboard, and
/// an empty answer would hide it.
pub(super) fn event_types(wanted: &[String]) -> Result<Vec<String>, Usage> {
    let mut types = BTreeSet::new();
    for name in wanted {
        let matching: Vec<&str> = match name.strip_suffix(".*") {
            Some(kind) => known_types().filter(|known| kind_of(known) == kind).collect(),
            None => known_types().filter(|known| known == name).collect(),
        };
        if matching.is_empty() {
            return Err(unknown_type(name));
        }
        types.extend(matching.into_iter().map(str::to_owned));
    }
    Ok(types.into_iter().collect())
}

fn known_types() -> impl Iterator<Item = &'static str> {
    catalogue::events().map(|(name, _)| name)
}

/// `message` of `message.delivered`.
fn kind_of(event_type: &str) -> &str {
    event_type.split_once('.').map_or(event_type, |(kind, _)| kind)
}

fn unknown_type(name: &str) -> Usage {
    let kinds: BTreeSet<String> =
        known_types().map(|known| format!("{}.*", kind_of(known))).collect();
    let nearest = known_types()
        .map(str::to_owned)
        .chain(kinds)
        .map(|candidate| (strsim::jaro_winkler(&candidate, name), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
        .unwrap_or_default();
    Usage(format!(
        "there is no event type {name:?}; the nearest is {nearest}, docs/events.md lists all"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(wanted: &[&str]) -> Result<Vec<String>, String> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        event_types(&wanted).map_err(|Usage(text)| text)
    }

    #[test]
    fn types_go_by_name_and_by_kind() {
        assert_eq!(types(&[]), Ok(vec![]));
        let twice = types(&["message.read", "message.read"]);
        assert_eq!(twice, Ok(vec!["message.read".to_owned()]));
        let all = types(&["message.*", "message.read"]).unwrap();
        let known = known_types().filter(|known| known.starts_with("message.")).count();
        assert!(known > 10 && all.len() == known, "{all:?}");
        assert!(types(&["api_key.*"]).unwrap().contains(&"api_key.created".to_owned()));
    }

    #[test]
    fn a_type_that_is_none_names_the_nearest() {
        for (wrong, nearest) in [
            ("message.delivred", "message.delivered"),
            ("mesage.*", "message.*"),
            ("campaign.start", "campaign.started"),
        ] {
            let refused = types(&["message.read", wrong]).unwrap_err();
            assert!(refused.contains(&format!("the nearest is {nearest},")), "{refused}");
        }
        for none in ["", "*", ".*", "message", "MESSAGE.READ"] {
            assert!(types(&[none]).is_err(), "{none:?}");
        }
    }
}
