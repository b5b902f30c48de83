//! `events`: the log as NDJSON, one CloudEvent a line, read beside a running gateway or through one elsewhere.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use domain::port::{EventFeed, EventFilter, Position};
use infrastructure::ledger::catalogue;
use url::Url;

use super::remote::Remote;
use super::{Global, Usage};
use crate::app::Reader;
use crate::application::events::{event_json, shown_events};
use crate::application::view::EventView;

/// Events read at once.
const PAGE: usize = 500;
/// How often a followed log is looked at; this process is not the one that appends.
const POLL: Duration = Duration::from_millis(200);

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

/// Where the events come from.
enum Source {
    /// The store itself: whoever may read its files may see everything.
    Store {
        reader: Reader,
        filter: EventFilter,
        personal: bool,
    },
    Remote {
        remote: Remote,
        types: Vec<String>,
    },
}

struct Page {
    events: Vec<EventView>,
    scanned_to: Position,
    at_head: bool,
}

impl Source {
    async fn open(global: &Global, args: &EventsArgs) -> anyhow::Result<Self> {
        let types = event_types(&args.types)?;
        if let Some(remote) = Remote::connect(global).await? {
            return Ok(Self::Remote { remote, types });
        }
        let reader = Reader::open(&global.load(&[])?).await?;
        let filter = EventFilter { event_types: types, ..EventFilter::default() };
        Ok(Self::Store { reader, filter, personal: args.personal })
    }

    fn public_url(&self) -> &Url {
        match self {
            Self::Store { reader, .. } => &reader.public_url,
            Self::Remote { remote, .. } => remote.base(),
        }
    }

    async fn read_after(&self, after: Position) -> anyhow::Result<Page> {
        match self {
            Self::Store { reader, filter, personal } => {
                let page = reader.ledger.read_after(after, filter, PAGE).await?;
                let events = shown_events(&reader.ledger, page.events, *personal).await?;
                Ok(Page { events, scanned_to: page.scanned_to, at_head: page.at_head })
            }
            Self::Remote { remote, types } => {
                let (events, scanned_to, at_head) = remote.events(after, types, PAGE).await?;
                Ok(Page { events, scanned_to, at_head })
            }
        }
    }
}

pub async fn run(global: Global, args: EventsArgs) -> anyhow::Result<()> {
    let source = Source::open(&global, &args).await?;
    let mut after = Position(args.after);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    loop {
        let page = source.read_after(after).await?;
        for event in &page.events {
            serde_json::to_writer(&mut out, &event_json(event, source.public_url()))?;
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

/// The types that were asked for by name or, as `message.*`, by kind. A name that is none is a slip of the keyboard, and
/// an empty answer would hide it.
fn event_types(wanted: &[String]) -> Result<Vec<String>, Usage> {
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
