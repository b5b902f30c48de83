//! `history`: what happened to one thing, in order, with who and why; and what was known of it at a moment.

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use domain::GatewayAggregate;
use domain::port::{AggregateType, EventFeed, RecordedEvent, StreamId};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::remote::Remote;
use super::{Global, Usage};
use crate::app::Reader;
use crate::application::events::{event_json, shown_data, shown_events};
use crate::application::view::EventView;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Message,
    Campaign,
    Contact,
    Account,
    Template,
}

impl Kind {
    fn aggregate_type(self) -> AggregateType {
        match self {
            Self::Message => AggregateType::Message,
            Self::Campaign => AggregateType::Campaign,
            Self::Contact => AggregateType::Contact,
            Self::Account => AggregateType::Account,
            Self::Template => AggregateType::Template,
        }
    }
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    kind: Kind,
    id: String,
    /// What was known at this instant (RFC 3339), and the events up to it
    #[arg(long, value_name = "TIME")]
    as_of: Option<DateTime<Utc>>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Mask personal data; with --url, a key without the scope PERSONAL does
    #[arg(long)]
    mask: bool,
}

/// What is known of one thing.
struct Trail {
    /// From the store as the aggregate itself, from a gateway elsewhere as its API shows it.
    state: Value,
    events: Vec<EventView>,
    public_url: Url,
}

pub async fn run(global: Global, args: HistoryArgs) -> anyhow::Result<()> {
    let id = Uuid::try_parse(&args.id).map_err(|_| Usage(format!("{} is no id", args.id)))?;
    let trail = match Remote::connect(&global).await? {
        Some(remote) => from_gateway(&remote, &args, id).await?,
        None => from_store(&global, &args, id).await?,
    };
    if args.json {
        let events: Vec<Value> =
            trail.events.iter().map(|event| event_json(event, &trail.public_url)).collect();
        println!("{}", json!({ "state": trail.state, "events": events }));
        return Ok(());
    }
    println!("{} {id}", args.kind.aggregate_type().as_str());
    for event in trail.events {
        println!("{}", line(event));
    }
    if args.as_of.is_some() {
        println!("\nas known then:\n{}", serde_json::to_string_pretty(&trail.state)?);
    }
    Ok(())
}

async fn from_store(global: &Global, args: &HistoryArgs, id: Uuid) -> anyhow::Result<Trail> {
    let reader = Reader::open(&global.load(&[])?).await?;
    let aggregate_type = args.kind.aggregate_type();
    let mut events = reader.ledger.read_streams(&[StreamId::new(aggregate_type, id)]).await?;
    if events.is_empty() {
        bail!("there is no {} {id} in this log", aggregate_type.as_str());
    }
    let is_erased = events.iter().any(|event| event.event_type == "contact.erased");
    if let Some(at) = args.as_of {
        events.retain(|event| event.recorded_at <= at);
        if events.is_empty() {
            bail!("the {} {id} was not known then", aggregate_type.as_str());
        }
    }
    let mut state = match args.kind {
        Kind::Message => fold::<domain::message::Message>(&events)?,
        Kind::Campaign => fold::<domain::campaign::Campaign>(&events)?,
        Kind::Contact => fold::<domain::contact::Contact>(&events)?,
        Kind::Account => fold::<domain::account::Account>(&events)?,
        Kind::Template => fold::<domain::template::Template>(&events)?,
    };
    // Their data is gone at every instant, and so has to be the reason.
    if is_erased && let Some(state) = state.as_object_mut() {
        state.insert("erased".to_owned(), Value::Bool(true));
    }
    let personal = !args.mask;
    Ok(Trail {
        state: shown_data(&state, personal),
        events: shown_events(&reader.ledger, events, personal).await?,
        public_url: reader.public_url,
    })
}

async fn from_gateway(remote: &Remote, args: &HistoryArgs, id: Uuid) -> anyhow::Result<Trail> {
    if args.mask {
        bail!(Usage(
            "--mask is for the store; with --url, a key without the scope PERSONAL sees masks"
                .to_owned()
        ));
    }
    if args.kind == Kind::Template && args.as_of.is_some() {
        bail!(Usage("through --url, a template is shown only as it is now".to_owned()));
    }
    let name = args.kind.aggregate_type().as_str();
    let state = remote.state(name, id, args.as_of).await?;
    let mut events = remote.history(name, id).await?;
    if let Some(at) = args.as_of {
        events.retain(|event| event.recorded_at <= at);
    }
    Ok(Trail { state, events, public_url: remote.base().clone() })
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

fn fold<A: GatewayAggregate>(events: &[RecordedEvent]) -> anyhow::Result<Value> {
    let mut aggregate = A::default();
    for event in events {
        aggregate.apply(event.decode()?);
    }
    Ok(serde_json::to_value(aggregate)?)
}
