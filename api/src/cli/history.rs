//! `history`: what happened to one thing, in order, with who and why; and what was known of it at a moment.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use domain::GatewayAggregate;
use domain::port::{AggregateType, EventFeed, RecordedEvent, StreamId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Global, Usage};
use crate::app::Reader;
use crate::application::events::{cloud_events, shown_data};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    Message,
    Campaign,
    Contact,
    Account,
    Template,
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
    /// Mask personal data
    #[arg(long)]
    mask: bool,
}

pub async fn run(global: Global, args: HistoryArgs) -> anyhow::Result<()> {
    let id = Uuid::try_parse(&args.id).map_err(|_| Usage(format!("{} is no id", args.id)))?;
    let reader = Reader::open(&global.load(&[])?).await?;
    let aggregate_type = match args.kind {
        Kind::Message => AggregateType::Message,
        Kind::Campaign => AggregateType::Campaign,
        Kind::Contact => AggregateType::Contact,
        Kind::Account => AggregateType::Account,
        Kind::Template => AggregateType::Template,
    };
    let mut events = reader.ledger.read_streams(&[StreamId::new(aggregate_type, id)]).await?;
    if events.is_empty() {
        anyhow::bail!("there is no {} {id} in this log", aggregate_type.as_str());
    }
    if let Some(at) = args.as_of {
        events.retain(|event| event.recorded_at <= at);
    }
    let personal = !args.mask;
    let state = match args.kind {
        Kind::Message => fold::<domain::message::Message>(&events)?,
        Kind::Campaign => fold::<domain::campaign::Campaign>(&events)?,
        Kind::Contact => fold::<domain::contact::Contact>(&events)?,
        Kind::Account => fold::<domain::account::Account>(&events)?,
        Kind::Template => fold::<domain::template::Template>(&events)?,
    };
    let state = shown_data(&state, personal);
    if args.json {
        let events = cloud_events(&reader.ledger, events, &reader.public_url, personal).await?;
        println!("{}", json!({ "state": state, "events": events }));
        return Ok(());
    }
    println!("{} {id}", aggregate_type.as_str());
    for event in &events {
        println!("{}", line(event, personal));
    }
    if args.as_of.is_some() {
        println!("\nas known then:\n{}", serde_json::to_string_pretty(&state)?);
    }
    Ok(())
}

/// One event for people: when, what, who, and its facts.
pub fn line(event: &RecordedEvent, personal: bool) -> String {
    let mut facts = shown_data(&event.data, personal);
    if let Some(object) = facts.as_object_mut() {
        for known in ["type", "at", "workspace_id", "account_id", "contact_id", "campaign_id"] {
            object.remove(known);
        }
    }
    format!(
        "{}  #{:<8} {:<28} {:<28} {facts}",
        event.recorded_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        event.position,
        event.event_type,
        event.metadata.actor.to_string(),
    )
}

fn fold<A: GatewayAggregate>(events: &[RecordedEvent]) -> anyhow::Result<Value> {
    let mut aggregate = A::default();
    for event in events {
        aggregate.apply(event.decode()?);
    }
    Ok(serde_json::to_value(aggregate)?)
}
