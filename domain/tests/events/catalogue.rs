//! The twelve aggregates, with what the tests ask of each without knowing its types.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, DomainEvent};
use domain::{GatewayAggregate, GatewayEvent};
use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An event after a journey through its type.
pub struct ReadEvent {
    pub event_type: String,
    pub event_version: String,
    pub occurred_at: DateTime<Utc>,
    pub written: Value,
    pub debug: String,
}

/// One kind of aggregate.
pub struct Kind {
    pub name: &'static str,
    pub title: &'static str,
    pub catalogue: &'static [(&'static str, u32)],
    /// Of all its events, as they are stored.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    pub read: fn(&Value) -> Result<ReadEvent, String>,
    /// Folds these payloads, in order, into a new aggregate.
    pub fold: fn(&[Value]),
}

macro_rules! kind {
    ($title:literal, $aggregate:ty, $event:ty) => {
        Kind {
            name: <$aggregate as Aggregate>::TYPE,
            title: $title,
            catalogue: <$event>::CATALOGUE,
            schema: |generator| generator.root_schema_for::<$event>(),
            read: read::<$event>,
            fold: fold::<$aggregate>,
        }
    };
}

pub const AGGREGATES: &[Kind] = &[
    kind!("Workspace", domain::workspace::Workspace, domain::workspace::WorkspaceEvent),
    kind!("Account", domain::account::Account, domain::account::AccountEvent),
    kind!("Template", domain::template::Template, domain::template::TemplateEvent),
    kind!("Contact", domain::contact::Contact, domain::contact::ContactEvent),
    kind!("Segment", domain::segment::Segment, domain::segment::SegmentEvent),
    kind!("Import", domain::import::Import, domain::import::ImportEvent),
    kind!("Campaign", domain::campaign::Campaign, domain::campaign::CampaignEvent),
    kind!("Message", domain::message::Message, domain::message::MessageEvent),
    kind!("API key", domain::api_key::ApiKey, domain::api_key::ApiKeyEvent),
    kind!(
        "Webhook endpoint",
        domain::webhook_endpoint::WebhookEndpoint,
        domain::webhook_endpoint::WebhookEndpointEvent
    ),
    kind!("User", domain::user::User, domain::user::UserEvent),
    kind!(
        "Conversation",
        domain::conversation::Conversation,
        domain::conversation::ConversationEvent
    ),
];

/// Every event's name and newest version.
pub fn entries() -> impl Iterator<Item = (&'static str, u32)> {
    AGGREGATES.iter().flat_map(|kind| kind.catalogue.iter().copied())
}

/// The aggregate that an event's name belongs to.
pub fn kind_of(event_type: &str) -> &'static Kind {
    AGGREGATES
        .iter()
        .find(|kind| kind.catalogue.iter().any(|(name, _)| *name == event_type))
        .unwrap_or_else(|| panic!("no catalogue names {event_type}"))
}

fn read<E>(payload: &Value) -> Result<ReadEvent, String>
where
    E: DomainEvent + GatewayEvent + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let event = E::deserialize(payload).map_err(|error| error.to_string())?;
    Ok(ReadEvent {
        event_type: event.event_type(),
        event_version: event.event_version(),
        occurred_at: event.occurred_at(),
        written: serde_json::to_value(&event).map_err(|error| error.to_string())?,
        debug: format!("{event:?}"),
    })
}

fn fold<A: GatewayAggregate>(payloads: &[Value]) {
    let mut aggregate = A::default();
    for payload in payloads {
        let event = serde_json::from_value(payload.clone()).expect("a stored event reads");
        aggregate.apply(event);
        // What a state says about itself must hold for every state there is.
        let _ = (aggregate.workspace_id(), aggregate.account_id(), aggregate.subject());
        let _ = aggregate.identities();
        serde_json::to_value(&aggregate).expect("a state is written");
    }
}
