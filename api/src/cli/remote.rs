//! The log of a gateway elsewhere, by `--url` and `--key`, through its GraphQL API: what the key may not see is left out
//! or masked there, not here.

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use domain::port::{AggregateType, Position, StreamId};
use domain::primitives::{AccountId, Actor, ActorKind, WorkspaceId};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::Global;
use super::client::Client;
use super::history::Changed;
use crate::application::view::EventView;

const EVENT: &str = "position id type version aggregateType aggregateId sequence workspaceId accountId externalId \
                     occurredAt recordedAt actor { kind id name } correlationId causationId data";
/// Events of a stream in one answer, the most there may be.
const PAGE: usize = 500;

const MESSAGE: &str = "id workspaceId accountId externalId metadata campaignId isTest contactId templateId direction to from \
                       status statusReason wamid content preview attempts failure { code title details retryable } skipReason \
                       pricing dueAt createdAt acceptedAt sentAt deliveredAt readAt failedAt";
const CAMPAIGN: &str = "id workspaceId externalId metadata accountId name status statusReason parameters \
                        audience { all segmentIds contactIds tags exclude { all segmentIds contactIds tags } } \
                        schedule { startAt timeZone } messagesPerSecond timeToLive startAt createdAt startedAt completedAt \
                        template { id } progress { recipients pending accepted sent delivered read failed cancelled skipped \
                        inDoubt skips { reason count } failures { code title count } }";
const CONTACT: &str = "id workspaceId phoneNumber userId identities { portfolioId userId } username externalId name language \
                       timeZone attributes tags consent { status source recordedAt categories { category status source evidence \
                       recordedAt } } erased mergedIntoId createdAt";
const ACCOUNT: &str = "id workspaceId name provider status statusReason pausedUntil phoneNumber phoneNumberId wabaId portfolioId \
                       verifiedName timeZone defaultRegion quietHours { from to } messagesPerSecond qualityRating \
                       inDoubtPolicy { marketing utility authentication service graceSeconds } \
                       webhookPath connectedAt";

pub struct Remote {
    client: Client,
    base: Url,
}

impl Remote {
    /// The gateway at `--url`; none where the store itself is to be read.
    ///
    /// # Errors
    /// Where `--url` has no key.
    pub async fn connect(global: &Global) -> anyhow::Result<Option<Self>> {
        let Some(base) = &global.url else { return Ok(None) };
        Ok(Some(Self { client: Client::connect(global).await?, base: base.clone() }))
    }

    /// The gateway that runs on the store, where one does and can be asked from here.
    ///
    /// # Errors
    /// Where the configuration cannot be read.
    pub async fn beside(global: &Global) -> anyhow::Result<Option<Self>> {
        let Some(client) = Client::beside(global).await? else { return Ok(None) };
        let base = client.base().clone();
        Ok(Some(Self { client, base }))
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Everything that happened to one thing.
    ///
    /// # Errors
    /// The gateway's message.
    pub async fn history(&self, stream: StreamId) -> anyhow::Result<Vec<EventView>> {
        let query = format!(
            "query($kind: String!, $id: ID!, $first: Int, $after: String) {{ trail(aggregateType: $kind, id: $id) \
             {{ history(first: $first, after: $after) {{ nodes {{ {EVENT} }} pageInfo {{ endCursor hasNextPage }} }} }} }}"
        );
        let kind = stream.aggregate_type.as_str();
        let mut events = vec![];
        let mut after = None;
        loop {
            let variables = json!({ "kind": kind, "id": stream.id, "first": PAGE, "after": after });
            let mut data = self.client.graphql(&query, variables).await?;
            let page = read_page(data["trail"]["history"].take())?;
            events.extend(page.events);
            if !page.has_next_page {
                return Ok(events);
            }
            if page.end_cursor == after {
                bail!("the gateway gave the same page twice");
            }
            after = page.end_cursor;
        }
    }

    /// One thing as the API shows it: as it is, or as it was known at an instant.
    ///
    /// # Errors
    /// The gateway's message, such as for an id that is unknown or was not known then.
    pub async fn state(
        &self,
        stream: StreamId,
        as_of: Option<DateTime<Utc>>,
    ) -> anyhow::Result<Value> {
        let fields = match stream.aggregate_type {
            AggregateType::Message => MESSAGE,
            AggregateType::Campaign => CAMPAIGN,
            AggregateType::Contact => CONTACT,
            AggregateType::Account => ACCOUNT,
            _ => return self.trail(stream, as_of).await,
        };
        let (name, id) = (stream.aggregate_type.as_str(), stream.id);
        let (declared, given) = match as_of {
            Some(_) => (", $asOf: DateTime", ", asOf: $asOf"),
            None => ("", ""),
        };
        let query =
            format!("query($id: ID!{declared}) {{ {name}(id: $id{given}) {{ {fields} }} }}");
        let as_of = as_of.map(instant);
        let mut data = self.client.graphql(&query, json!({ "id": id, "asOf": as_of })).await?;
        Ok(data[name].take())
    }

    /// One thing of any kind as the log has it.
    ///
    /// # Errors
    /// The gateway's message.
    pub async fn trail(
        &self,
        stream: StreamId,
        as_of: Option<DateTime<Utc>>,
    ) -> anyhow::Result<Value> {
        let query = "query($kind: String!, $id: ID!, $asOf: DateTime) { trail(aggregateType: $kind, id: $id, asOf: $asOf) { state } }";
        let kind = stream.aggregate_type.as_str();
        let variables = json!({ "kind": kind, "id": stream.id, "asOf": as_of.map(instant) });
        let mut data = self.client.graphql(query, variables).await?;
        Ok(data["trail"]["state"].take())
    }

    /// What changed between two instants.
    ///
    /// # Errors
    /// The gateway's message.
    pub async fn changes(
        &self,
        stream: StreamId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> anyhow::Result<Vec<Changed>> {
        let query = "query($kind: String!, $id: ID!, $from: DateTime!, $to: DateTime) { trail(aggregateType: $kind, id: $id, asOf: $to) \
                     { changes(from: $from) { field before after events { position } } } }";
        let kind = stream.aggregate_type.as_str();
        let (from, to) = (instant(from), instant(to));
        let variables = json!({ "kind": kind, "id": stream.id, "from": from, "to": to });
        let mut data = self.client.graphql(query, variables).await?;
        let changes: Vec<WireChange> = serde_json::from_value(data["trail"]["changes"].take())
            .context("the gateway answered changes in a form that this version does not know")?;
        changes.into_iter().map(read_change).collect()
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[derive(Deserialize)]
struct WireChange {
    field: String,
    before: Value,
    after: Value,
    events: Vec<WirePosition>,
}

#[derive(Deserialize)]
struct WirePosition {
    position: String,
}

fn read_change(change: WireChange) -> anyhow::Result<Changed> {
    let position = |event: WirePosition| {
        event.position.parse().map(Position).context("the gateway gave no position")
    };
    Ok(Changed {
        field: change.field,
        before: change.before,
        after: change.after,
        positions: change.events.into_iter().map(position).collect::<anyhow::Result<_>>()?,
    })
}

struct Page {
    events: Vec<EventView>,
    end_cursor: Option<String>,
    has_next_page: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePage {
    nodes: Vec<WireEvent>,
    page_info: WirePageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePageInfo {
    end_cursor: Option<String>,
    has_next_page: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEvent {
    position: String,
    id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    version: u32,
    aggregate_type: String,
    aggregate_id: Uuid,
    sequence: u64,
    workspace_id: Option<Uuid>,
    account_id: Option<Uuid>,
    external_id: Option<String>,
    occurred_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
    actor: WireActor,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    data: Value,
}

#[derive(Deserialize)]
struct WireActor {
    kind: String,
    id: String,
    name: Option<String>,
}

fn read_page(page: Value) -> anyhow::Result<Page> {
    let page: WirePage = serde_json::from_value(page)
        .context("the gateway answered events in a form that this version does not know")?;
    Ok(Page {
        events: page.nodes.into_iter().map(read_event).collect::<anyhow::Result<_>>()?,
        end_cursor: page.page_info.end_cursor,
        has_next_page: page.page_info.has_next_page,
    })
}

fn read_event(event: WireEvent) -> anyhow::Result<EventView> {
    let aggregate_type = AggregateType::parse(&event.aggregate_type)
        .with_context(|| format!("this version knows no {}", event.aggregate_type))?;
    // The API names kinds of actors in capitals, events in small letters.
    let kind: ActorKind = serde_json::from_value(event.actor.kind.to_lowercase().into())
        .with_context(|| format!("this version knows no actor {}", event.actor.kind))?;
    Ok(EventView {
        position: Position(event.position.parse().context("the gateway gave no position")?),
        id: event.id,
        event_type: event.event_type,
        version: event.version,
        aggregate_type: aggregate_type.as_str(),
        aggregate_id: event.aggregate_id,
        sequence: event.sequence,
        workspace_id: event.workspace_id.map(WorkspaceId),
        account_id: event.account_id.map(AccountId),
        external_id: event.external_id,
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
        actor: Actor { kind, id: event.actor.id, name: event.actor.name },
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        data: event.data,
    })
}
