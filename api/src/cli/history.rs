//! `history`: what happened to one thing, in order, with who and why; what was known of it at a moment; and what changed
//! between two.

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use domain::port::{AggregateType, EventFeed, Position, RecordedEvent, StreamId};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::remote::Remote;
use super::{Global, Usage};
use crate::app::Reader;
use crate::application::events::{event_json, shown_data, shown_events};
use crate::application::trail;
use crate::application::view::EventView;

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// message, campaign, contact, account, template, workspace, segment, import, webhook_endpoint, user or api_key
    #[arg(value_parser = kind)]
    kind: AggregateType,
    id: String,
    /// What was known at this instant (RFC 3339), and the events up to it
    #[arg(long, value_name = "TIME")]
    as_of: Option<DateTime<Utc>>,
    /// What changed after this instant, and the events that did it
    #[arg(long, value_name = "TIME", conflicts_with = "as_of")]
    from: Option<DateTime<Utc>>,
    /// Up to this instant; now where left out
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<DateTime<Utc>>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Mask personal data; with --url, a key without the scope PERSONAL does
    #[arg(long)]
    mask: bool,
}

fn kind(text: &str) -> Result<AggregateType, String> {
    AggregateType::parse(&text.replace('-', "_")).ok_or_else(|| {
        let known: Vec<&str> = AggregateType::ALL.into_iter().map(AggregateType::as_str).collect();
        format!("use one of {}", known.join(", "))
    })
}

/// What is known of one thing.
struct Trail {
    /// From the store as the aggregate itself, from a gateway elsewhere as its API shows it.
    state: Value,
    events: Vec<EventView>,
    public_url: Url,
}

/// What became another between two instants.
struct Difference {
    changes: Vec<Changed>,
    /// Everything that was recorded between them.
    events: Vec<EventView>,
    public_url: Url,
}

/// A field that differs.
pub struct Changed {
    pub field: String,
    pub before: Value,
    pub after: Value,
    /// Of the events that changed it.
    pub positions: Vec<Position>,
}

pub async fn run(global: Global, args: HistoryArgs) -> anyhow::Result<()> {
    let id = Uuid::try_parse(&args.id).map_err(|_| Usage(format!("{} is no id", args.id)))?;
    let stream = StreamId::new(args.kind, id);
    let remote = Remote::connect(&global).await?;
    if args.mask && remote.is_some() {
        bail!(Usage(
            "--mask is for the store; with --url, a key without the scope PERSONAL sees masks"
                .to_owned()
        ));
    }
    if let Some(from) = args.from {
        let to = args.to.unwrap_or_else(Utc::now);
        if from > to {
            bail!(Usage("--from is later than --to".to_owned()));
        }
        let difference = match remote {
            Some(remote) => between_by_gateway(&remote, stream, from, to).await?,
            None => between_in_store(&global, &args, stream, from, to).await?,
        };
        return difference.print(&args, stream, from, to);
    }
    let trail = match remote {
        Some(remote) => from_gateway(&remote, &args, stream).await?,
        None => from_store(&global, &args, stream).await?,
    };
    if args.json {
        let events = events_json(&trail.events, &trail.public_url);
        println!("{}", json!({ "state": trail.state, "events": events }));
        return Ok(());
    }
    println!("{} {id}", args.kind.as_str());
    for event in trail.events {
        println!("{}", line(event));
    }
    if args.as_of.is_some() {
        println!("\nas known then:\n{}", serde_json::to_string_pretty(&trail.state)?);
    }
    Ok(())
}

fn events_json(events: &[EventView], public_url: &Url) -> Vec<Value> {
    events.iter().map(|event| event_json(event, public_url)).collect()
}

impl Difference {
    fn print(
        self,
        args: &HistoryArgs,
        stream: StreamId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        if args.json {
            let changes = self.changes.iter().map(|change| {
                let events: Vec<String> = change.positions.iter().map(Position::to_string).collect();
                json!({ "field": change.field, "before": change.before, "after": change.after, "events": events })
            });
            let changes: Vec<Value> = changes.collect();
            let events = events_json(&self.events, &self.public_url);
            let shown = json!({ "from": instant(from), "to": instant(to), "changes": changes, "events": events });
            println!("{shown}");
            return Ok(());
        }
        println!(
            "{} {} from {} to {}",
            stream.aggregate_type.as_str(),
            stream.id,
            instant(from),
            instant(to)
        );
        for event in self.events {
            println!("{}", line(event));
        }
        if self.changes.is_empty() {
            println!("\nnothing is another than it was");
            return Ok(());
        }
        println!("\nwhat is another than it was:");
        for change in self.changes {
            let positions: Vec<String> =
                change.positions.iter().map(|position| format!("#{position}")).collect();
            println!(
                "{}: {} → {}  {}",
                change.field,
                change.before,
                change.after,
                positions.join(" ")
            );
        }
        Ok(())
    }
}

/// The log as it is on disk, and all events of one stream: one at least.
async fn read(global: &Global, stream: StreamId) -> anyhow::Result<(Reader, Vec<RecordedEvent>)> {
    let reader = Reader::open(&global.load(&[])?).await?;
    let events = reader.ledger.read_streams(&[stream]).await?;
    if events.is_empty() {
        bail!("there is no {} {} in this log", stream.aggregate_type.as_str(), stream.id);
    }
    Ok((reader, events))
}

async fn from_store(
    global: &Global,
    args: &HistoryArgs,
    stream: StreamId,
) -> anyhow::Result<Trail> {
    let (reader, mut events) = read(global, stream).await?;
    let at = args.as_of.unwrap_or_else(Utc::now);
    let state = trail::state_at(stream, &events, args.as_of.unwrap_or(DateTime::<Utc>::MAX_UTC))?;
    let Some(mut state) = state else {
        bail!("the {} {} was not known then", stream.aggregate_type.as_str(), stream.id)
    };
    if let [Some(counts)] = counts(global, &events[0], [at]).await?
        && let Some(state) = state.as_object_mut()
    {
        state.insert(trail::PROGRESS.to_owned(), counts);
    }
    events.retain(|event| args.as_of.is_none_or(|at| event.recorded_at <= at));
    let personal = !args.mask;
    Ok(Trail {
        state: shown_data(&state, personal),
        events: shown_events(&reader.ledger, events, personal).await?,
        public_url: reader.public_url,
    })
}

async fn between_in_store(
    global: &Global,
    args: &HistoryArgs,
    stream: StreamId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> anyhow::Result<Difference> {
    let (reader, mut events) = read(global, stream).await?;
    if to < events[0].recorded_at {
        bail!("the {} {} was not known then", stream.aggregate_type.as_str(), stream.id);
    }
    let mut changes = trail::between(stream, &events, from, to)?;
    let [before, after] = counts(global, &events[0], [from, to]).await?;
    changes.extend(trail::count_changes(before, after));
    let personal = !args.mask;
    let changes = changes.into_iter().map(|change| Changed {
        before: change.before.shown_to_owner(personal),
        after: change.after.shown_to_owner(personal),
        positions: change.causes,
        field: change.field,
    });
    events.retain(|event| from < event.recorded_at && event.recorded_at <= to);
    Ok(Difference {
        changes: changes.collect(),
        events: shown_events(&reader.ledger, events, personal).await?,
        public_url: reader.public_url,
    })
}

/// A campaign's counts, which are in the read models: the gateway that runs on the store is asked for them.
async fn counts<const N: usize>(
    global: &Global,
    first: &RecordedEvent,
    at: [DateTime<Utc>; N],
) -> anyhow::Result<[Option<Value>; N]> {
    let mut counts = [const { None }; N];
    if !first.is(AggregateType::Campaign) {
        return Ok(counts);
    }
    let Some(remote) = Remote::beside(global).await? else {
        eprintln!(
            "A campaign's counts are told by its gateway, and none runs here: start it, or ask one by --url."
        );
        return Ok(counts);
    };
    for (counts, at) in counts.iter_mut().zip(at) {
        // Before its time it has none.
        if first.recorded_at <= at {
            let mut state = remote.trail(first.stream, Some(at)).await?;
            *counts = Some(state[trail::PROGRESS].take());
        }
    }
    Ok(counts)
}

async fn from_gateway(
    remote: &Remote,
    args: &HistoryArgs,
    stream: StreamId,
) -> anyhow::Result<Trail> {
    let state = remote.state(stream, args.as_of).await?;
    let mut events = remote.history(stream).await?;
    events.retain(|event| args.as_of.is_none_or(|at| event.recorded_at <= at));
    Ok(Trail { state, events, public_url: remote.base().clone() })
}

async fn between_by_gateway(
    remote: &Remote,
    stream: StreamId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> anyhow::Result<Difference> {
    let changes = remote.changes(stream, from, to).await?;
    let mut events = remote.history(stream).await?;
    events.retain(|event| from < event.recorded_at && event.recorded_at <= to);
    Ok(Difference { changes, events, public_url: remote.base().clone() })
}

/// One event for people: when, what, who, and its facts.
pub fn line(event: EventView) -> String {
    let mut facts = event.data;
    if let Some(object) = facts.as_object_mut() {
        for known in ["at", "workspace_id", "account_id", "contact_id", "campaign_id"] {
            object.remove(known);
        }
    }
    format!(
        "{}  #{:<8} {:<28} {:<28} {facts}",
        event.recorded_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        event.position,
        event.event_type,
        event.actor.to_string(),
    )
}
