//! The event log, and who caused what is in it.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use domain::port::{AggregateType, Position, StreamId};
use uuid::Uuid;

use super::connection::EventConnection;
use super::enums::ActorKind;
use super::scalars::{Instant, Json, Place};
use super::session::{Answer, asked, int, load, session, texts};
use crate::application::AppError;
use crate::application::events::{self, HistoryRequest};
use crate::application::view::EventView;

/// Who or what caused an event.
#[derive(Clone, Debug, SimpleObject)]
pub struct Actor {
    /// What kind of actor it is.
    kind: ActorKind,
    /// The key's or user's id, the process manager's name, or who ran a command line (`cli:<uid>`).
    id: String,
    /// The key's or user's name.
    name: Option<String>,
}

impl From<domain::primitives::Actor> for Actor {
    fn from(actor: domain::primitives::Actor) -> Self {
        Self { kind: actor.kind.into(), id: actor.id, name: actor.name }
    }
}

/// One fact, as recorded. As a CloudEvent: id, type, subject, time, data keep these names.
#[derive(Clone, Debug, SimpleObject)]
pub struct Event {
    /// Where it stands in the log.
    position: Place,
    /// The event's own id.
    id: ID,
    /// aggregate.fact, such as message.delivered; the catalogue is docs/events.md.
    #[graphql(name = "type")]
    event_type: String,
    /// Version of the data's shape, from 1.
    version: i32,
    /// What kind of thing it happened to.
    aggregate_type: String,
    /// The id of what it happened to.
    aggregate_id: ID,
    /// Its number in that thing's history, from 1.
    sequence: i32,
    /// The workspace it belongs to.
    workspace_id: Option<ID>,
    /// The account it belongs to.
    account_id: Option<ID>,
    /// The integrator's own id of the message or campaign.
    external_id: Option<String>,
    /// When it happened (WhatsApp's timestamp for delivery statuses).
    occurred_at: Instant,
    /// When the log took it.
    recorded_at: Instant,
    /// Who or what caused it.
    actor: Actor,
    /// Shared by everything that one request set off.
    correlation_id: ID,
    /// The event that this one followed from.
    causation_id: Option<ID>,
    /// The fact itself, with the message's `metadata`. Personal data is masked without the scope PERSONAL, and null once
    /// erased.
    data: Json,
}

impl From<EventView> for Event {
    fn from(view: EventView) -> Self {
        Self {
            position: Place(view.position),
            id: view.id.into(),
            event_type: view.event_type,
            version: int(view.version),
            aggregate_type: view.aggregate_type.to_owned(),
            aggregate_id: view.aggregate_id.into(),
            sequence: int(view.sequence),
            workspace_id: view.workspace_id.map(|id| id.0.into()),
            account_id: view.account_id.map(|id| id.0.into()),
            external_id: view.external_id,
            occurred_at: Instant(view.occurred_at),
            recorded_at: Instant(view.recorded_at),
            actor: view.actor.into(),
            correlation_id: view.correlation_id.into(),
            causation_id: view.causation_id.map(ID::from),
            data: Json(view.data),
        }
    }
}

/// Which events; what is left out does not narrow.
#[derive(Debug, Default, InputObject)]
pub struct EventFilter {
    /// Types such as message.delivered.
    types: Option<Vec<String>>,
    /// What kind of thing they happened to, such as message.
    aggregate_type: Option<String>,
    /// The things they happened to.
    aggregate_ids: Option<Vec<ID>>,
    /// The accounts they belong to.
    account_ids: Option<Vec<ID>>,
    /// Recorded at or after this instant.
    recorded_from: Option<Instant>,
    /// Recorded before this instant.
    recorded_to: Option<Instant>,
    /// Everything that one request set off.
    correlation_id: Option<ID>,
}

impl From<EventFilter> for events::EventFilter {
    fn from(filter: EventFilter) -> Self {
        Self {
            types: filter.types.unwrap_or_default(),
            aggregate_type: filter.aggregate_type,
            aggregate_ids: texts(filter.aggregate_ids),
            account_ids: texts(filter.account_ids),
            recorded_from: filter.recorded_from.map(|at| at.0),
            recorded_to: filter.recorded_to.map(|at| at.0),
            correlation_id: filter.correlation_id.map(|id| id.0),
        }
    }
}

/// A page of one thing's history.
pub(super) async fn history(
    ctx: &Context<'_>,
    aggregate_type: AggregateType,
    id: Uuid,
    first: Option<i32>,
    after: Option<String>,
) -> Answer<EventConnection> {
    let stream = StreamId::new(aggregate_type, id);
    let request = HistoryRequest::new(stream, first, after.as_deref())?;
    let page = load(&session(ctx).histories, request).await?;
    let page = page.ok_or_else(|| AppError::not_found(aggregate_type.as_str()))?;
    Ok(EventConnection::new(page))
}

#[derive(Default)]
pub(super) struct EventQuery;

#[Object]
impl EventQuery {
    /// The event log itself, in order. The same envelope as /events, webhooks and the subscription. Scope READ.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only what comes after this position.")] after: Option<Place>,
        #[graphql(desc = "Which events.")] filter: Option<EventFilter>,
        #[graphql(desc = "How many, at most 500; 50 where left out.")] first: Option<i32>,
    ) -> Answer<EventConnection> {
        let (gateway, caller) = asked(ctx);
        let after = after.map_or(Position(0), |place| place.0);
        let page =
            events::list(gateway, caller, after, filter.unwrap_or_default().into(), first).await?;
        Ok(EventConnection::new(page))
    }
}
