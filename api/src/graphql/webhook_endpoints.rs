//! Webhook endpoints.

use async_graphql::{
    ComplexObject, Context, ID, InputObject, MaybeUndefined, Object, SimpleObject,
};
use domain::port::Position;

use super::connection::{Counted, WebhookDeliveryConnection, WebhookEndpointConnection, page_args};
use super::enums::{WebhookEndpointStatus, WebhookPauseReason};
use super::scalars::{Instant, Place};
use super::session::{Answer, asked, change, int, load, replace, session, texts};
use crate::application::AppError;
use crate::application::webhook_endpoints::{
    self, CreateWebhookEndpoint, DeliveryView, FailureView, ReplayRequest, StandingView,
    UpdateWebhookEndpoint, WebhookEndpointView, WrittenEndpoint,
};

/// A URL that events are sent to, signed as Standard Webhooks has it: each event at least once, and in order for each
/// subject.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct WebhookEndpoint {
    #[graphql(skip)]
    view: WebhookEndpointView,
    /// Its id.
    id: ID,
    /// The workspace it belongs to.
    workspace_id: ID,
    /// Whether personal data leaves in the clear; masked otherwise.
    include_personal: bool,
    /// Where events are posted to.
    url: String,
    /// The types it is sent; empty: all.
    types: Vec<String>,
    /// The accounts whose events it is sent; null: all of the workspace, and what belongs to none.
    account_ids: Option<Vec<ID>>,
    /// Whether up to 100 events come in one request, as a CloudEvents batch.
    batch: bool,
    /// Events in a second, at most; null: as many as it takes.
    events_per_second: Option<i32>,
    /// Whether events are sent to it now.
    enabled: bool,
    /// The same, with why not.
    status: WebhookEndpointStatus,
    /// Why it is paused.
    pause_reason: Option<WebhookPauseReason>,
    /// A replay that is under way.
    replay: Option<WebhookReplay>,
    /// Until then the secret before the last one signs too.
    previous_secret_until: Option<Instant>,
    /// When it was made.
    created_at: Instant,
}

/// What is delivered once more.
#[derive(Clone, Debug, SimpleObject)]
pub struct WebhookReplay {
    /// It began behind this position.
    after: Place,
    /// Its last position.
    until: Place,
    /// Only what was recorded from then on.
    recorded_from: Option<Instant>,
    /// Only these types; empty: those that the endpoint wants.
    types: Vec<String>,
    /// Events in a second, at most; null: as for what is new.
    events_per_second: Option<i32>,
}

/// What a replay would send.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct ReplayPreview {
    /// Events of it.
    events: i32,
    /// Whether they were counted; from 20,000 on they are estimated.
    exact: bool,
    /// Requests of it: fewer than events where they go in batches.
    requests: i32,
    /// How long it takes at least, where a rate bounds it.
    seconds_at_least: Option<i32>,
}

/// The last attempt that failed.
#[derive(Clone, Debug, SimpleObject)]
pub struct WebhookFailure {
    /// When it began.
    at: Instant,
    /// What was answered; null: nothing.
    status: Option<i32>,
    /// Why it counts as failed.
    error: String,
    /// When the next of what waits is tried again.
    next_attempt_at: Option<Instant>,
}

/// One request to an endpoint.
#[derive(Clone, Debug, SimpleObject)]
pub struct WebhookDelivery {
    /// Its id.
    id: ID,
    /// The position of its event; of a batch, the first one's.
    event_position: Place,
    /// The id of its event; of a batch, the first one's.
    event_id: ID,
    /// How many events it carried.
    events: i32,
    /// The how manyth attempt at this event.
    attempt: i32,
    /// Whether it belongs to a replay.
    is_replay: bool,
    /// What was answered; null: nothing.
    status: Option<i32>,
    /// Why it failed; null: it did not.
    error: Option<String>,
    /// How long it took.
    latency_ms: i32,
    /// When it began.
    at: Instant,
    /// The first 4 kB of the answer. Null where there was none, where the endpoint is sent personal data and the key does not
    /// have the scope PERSONAL, and once the person was erased.
    response: Option<String>,
}

impl From<WebhookEndpointView> for WebhookEndpoint {
    fn from(view: WebhookEndpointView) -> Self {
        let accounts = view.account_ids.iter().map(|id| id.0.into()).collect::<Vec<ID>>();
        Self {
            id: view.id.0.into(),
            workspace_id: view.workspace_id.0.into(),
            include_personal: view.include_personal,
            url: view.url.clone(),
            types: view.types.clone(),
            account_ids: Some(accounts).filter(|accounts| !accounts.is_empty()),
            batch: view.batch,
            events_per_second: view.events_per_second.map(int),
            enabled: view.status == domain::webhook_endpoint::EndpointStatus::Active,
            status: view.status.into(),
            pause_reason: view.pause_reason.map(WebhookPauseReason::from),
            replay: view.replay.clone().map(|replay| WebhookReplay {
                after: Place(replay.after),
                until: Place(replay.until),
                recorded_from: replay.recorded_from.map(Instant),
                types: replay.types,
                events_per_second: replay.events_per_second.map(int),
            }),
            previous_secret_until: view.previous_secret_until.map(Instant),
            created_at: Instant(view.created_at),
            view,
        }
    }
}

impl From<FailureView> for WebhookFailure {
    fn from(view: FailureView) -> Self {
        Self {
            at: Instant(view.at),
            status: view.status.map(i32::from),
            error: view.error,
            next_attempt_at: view.next_attempt_at.map(Instant),
        }
    }
}

impl From<DeliveryView> for WebhookDelivery {
    fn from(view: DeliveryView) -> Self {
        Self {
            id: view.id.into(),
            event_position: Place(view.event_position),
            event_id: view.event_id.into(),
            events: int(view.events),
            attempt: int(view.attempt),
            is_replay: view.is_replay,
            status: view.status.map(i32::from),
            error: view.error,
            latency_ms: int(view.latency_ms),
            at: Instant(view.at),
            response: view.response,
        }
    }
}

impl WebhookEndpoint {
    async fn standing(&self, ctx: &Context<'_>) -> Answer<StandingView> {
        let found = load(&session(ctx).standings, self.view.id).await?;
        Ok(found.ok_or_else(|| AppError::not_found("webhook endpoint"))?)
    }
}

#[ComplexObject]
impl WebhookEndpoint {
    /// Everything up to here was answered 2xx.
    async fn delivered_position(&self, ctx: &Context<'_>) -> Answer<Place> {
        Ok(Place(self.view.taken_to(self.standing(ctx).await?)))
    }

    /// What `replayWebhook` with the same arguments would send, without sending it.
    async fn replay_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Left out: from the log's beginning.")] after: Option<Place>,
        until: Option<Place>,
        recorded_from: Option<Instant>,
        types: Option<Vec<String>>,
        events_per_second: Option<i32>,
    ) -> Answer<ReplayPreview> {
        let (gateway, caller) = asked(ctx);
        let request = ReplayRequest {
            after: after.map_or(Position(0), |place| place.0),
            until: until.map(|place| place.0),
            recorded_from: recorded_from.map(|at| at.0),
            types: types.unwrap_or_default(),
            events_per_second,
        };
        let found = webhook_endpoints::preview_replay(gateway, caller, &self.id, request).await?;
        Ok(ReplayPreview {
            events: int(found.events),
            exact: found.exact,
            requests: int(found.requests),
            seconds_at_least: found.seconds_at_least.map(int),
        })
    }

    /// How many positions of the log lie behind that.
    async fn lag(&self, ctx: &Context<'_>) -> Answer<i32> {
        let standing = self.standing(ctx).await?;
        Ok(int(standing.head.0.saturating_sub(self.view.taken_to(standing).0)))
    }

    /// The last attempt that failed, of the last 30 days.
    async fn last_failure(&self, ctx: &Context<'_>) -> Answer<Option<WebhookFailure>> {
        let (gateway, _) = asked(ctx);
        let next_attempt_at = self.standing(ctx).await?.next_attempt_at;
        let failure =
            webhook_endpoints::last_failure(gateway, self.view.id, next_attempt_at).await?;
        Ok(failure.map(WebhookFailure::from))
    }

    /// Attempts of the last 30 days, newest first.
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those that failed.")] failed_only: Option<bool>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<WebhookDeliveryConnection> {
        let (gateway, caller) = asked(ctx);
        let failed_only = failed_only.unwrap_or(false);
        let page =
            webhook_endpoints::deliveries(gateway, caller, &self.view, failed_only, first, after)
                .await?;
        Ok(WebhookDeliveryConnection::new(page, Counted::Deliveries(self.view.id, failed_only)))
    }
}

/// An endpoint to make.
#[derive(Debug, InputObject)]
pub struct CreateWebhookEndpointInput {
    /// May be left out where the key has only one.
    workspace_id: Option<ID>,
    /// Whether personal data leaves in the clear. Scope PERSONAL.
    #[graphql(default_with = "Some(false)")]
    include_personal: Option<bool>,
    /// Where events are posted to: https, and no private address. Put no credentials in it; the signature says who sends.
    url: String,
    /// Types such as message.delivered; none: all.
    types: Option<Vec<String>>,
    /// The accounts whose events it is sent; none: all, and what belongs to none.
    account_ids: Option<Vec<ID>>,
    /// Begins behind this position; left out: with what is recorded from now on.
    after: Option<Place>,
    /// Whether up to 100 events come in one request, as a CloudEvents batch.
    batch: Option<bool>,
    /// Events in a second, at most.
    events_per_second: Option<i32>,
    /// The same key with the same input answers the first result again, without the secret.
    idempotency_key: Option<String>,
}

/// What is to be different. Left out: stays.
#[derive(Debug, InputObject)]
pub struct UpdateWebhookEndpointInput {
    /// Which endpoint.
    id: ID,
    /// Where events are posted to. Scope PERSONAL where the endpoint is sent personal data.
    url: MaybeUndefined<String>,
    /// Types such as message.delivered; null or none: all.
    types: MaybeUndefined<Vec<String>>,
    /// The accounts whose events it is sent; null or none: all.
    account_ids: MaybeUndefined<Vec<ID>>,
    /// False pauses it, true resumes it where it stood.
    enabled: MaybeUndefined<bool>,
    /// Whether up to 100 events come in one request, as a CloudEvents batch.
    batch: MaybeUndefined<bool>,
    /// Events in a second, at most; null: as many as it takes.
    events_per_second: MaybeUndefined<i32>,
}

/// What became of an endpoint.
#[derive(SimpleObject)]
pub struct WebhookEndpointPayload {
    /// The endpoint as it is now.
    endpoint: WebhookEndpoint,
    /// `whsec_…`, as Standard Webhooks has it: shown on create and rotate only, and nowhere else, ever.
    secret: Option<String>,
    /// The position of the last event of this command.
    position: Place,
}

impl From<WrittenEndpoint> for WebhookEndpointPayload {
    fn from(written: WrittenEndpoint) -> Self {
        Self {
            endpoint: written.endpoint.into(),
            secret: written.secret.map(|secret| secret.expose().to_owned()),
            position: Place(written.position),
        }
    }
}

#[derive(Default)]
pub(super) struct WebhookEndpointQuery;

#[Object]
impl WebhookEndpointQuery {
    /// One endpoint. Scope READ.
    async fn webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<WebhookEndpoint>> {
        let (gateway, caller) = asked(ctx);
        let min_position = min_position.map(|place| place.0);
        Ok(Some(webhook_endpoints::get(gateway, caller, &id, min_position).await?.into()))
    }

    /// The endpoints, oldest first. Scope READ.
    async fn webhook_endpoints(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<WebhookEndpointConnection> {
        let (gateway, caller) = asked(ctx);
        let page = page_args(first, after, last, before);
        let min_position = min_position.map(|place| place.0);
        let page = webhook_endpoints::list(gateway, caller, page, min_position).await?;
        Ok(WebhookEndpointConnection::new(page, Counted::WebhookEndpoints))
    }
}

#[derive(Default)]
pub(super) struct WebhookEndpointMutation;

#[Object]
#[expect(clippy::too_many_arguments, reason = "a replay takes these")]
impl WebhookEndpointMutation {
    /// Sends events to a URL. Scope MANAGE; with personal data, PERSONAL too.
    async fn create_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        input: CreateWebhookEndpointInput,
    ) -> Answer<WebhookEndpointPayload> {
        let (gateway, caller) = asked(ctx);
        let input = CreateWebhookEndpoint {
            workspace_id: input.workspace_id.map(|id| id.0),
            include_personal: input.include_personal.unwrap_or(false),
            url: input.url,
            types: input.types.unwrap_or_default(),
            account_ids: texts(input.account_ids),
            after: input.after.map(|place| place.0),
            batch: input.batch.unwrap_or(false),
            events_per_second: input.events_per_second,
            idempotency_key: input.idempotency_key,
        };
        Ok(webhook_endpoints::create(gateway, caller, input).await?.into())
    }

    /// Changes, pauses or resumes an endpoint. Scope MANAGE; for the URL of one that is sent
    /// personal data, PERSONAL too.
    async fn update_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        input: UpdateWebhookEndpointInput,
    ) -> Answer<WebhookEndpointPayload> {
        let (gateway, caller) = asked(ctx);
        let update = UpdateWebhookEndpoint {
            url: replace(input.url, "input.url")?,
            types: change(input.types, |types| types).map(Option::unwrap_or_default),
            account_ids: change(input.account_ids, |ids| texts(Some(ids)))
                .map(Option::unwrap_or_default),
            enabled: replace(input.enabled, "input.enabled")?,
            batch: replace(input.batch, "input.batch")?,
            events_per_second: change(input.events_per_second, |rate| rate),
        };
        Ok(webhook_endpoints::update(gateway, caller, &input.id, update).await?.into())
    }

    /// Makes a new secret. For a day the one before signs beside it. Scope MANAGE.
    async fn rotate_webhook_secret(
        &self,
        ctx: &Context<'_>,
        id: ID,
    ) -> Answer<WebhookEndpointPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(webhook_endpoints::rotate_secret(gateway, caller, &id).await?.into())
    }

    /// Delivers again everything after a position, in order, beside what is new, with the header `webhook-replay: 1`. One
    /// that is under way ends. Scope MANAGE.
    async fn replay_webhook(
        &self,
        ctx: &Context<'_>,
        id: ID,
        after: Place,
        #[graphql(desc = "Its last position; left out: where the log ends now.")] until: Option<
            Place,
        >,
        #[graphql(desc = "Only what was recorded from then on.")] recorded_from: Option<Instant>,
        #[graphql(desc = "Only these types; none: those that the endpoint wants.")] types: Option<
            Vec<String>,
        >,
        #[graphql(desc = "Events in a second, at most; left out: as for what is new.")]
        events_per_second: Option<i32>,
    ) -> Answer<WebhookEndpointPayload> {
        let (gateway, caller) = asked(ctx);
        let request = ReplayRequest {
            after: after.0,
            until: until.map(|place| place.0),
            recorded_from: recorded_from.map(|at| at.0),
            types: types.unwrap_or_default(),
            events_per_second,
        };
        Ok(webhook_endpoints::replay(gateway, caller, &id, request).await?.into())
    }

    /// One delivery again, at once and beside the endpoint's order, marked as such: with the header `webhook-replay: 1` and the
    /// same id. It is tried a single time; `deliveries` tells what became of it. Scope MANAGE.
    async fn resend_webhook(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "The position of an event that the endpoint is sent.")]
        event_position: Place,
    ) -> Answer<WebhookEndpointPayload> {
        let session = session(ctx);
        let (gateway, caller) = (&session.gateway, &session.caller);
        Ok(webhook_endpoints::resend(gateway, caller, &id, event_position.0).await?.into())
    }

    /// Sends an endpoint nothing any more, for good. Scope MANAGE.
    async fn delete_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        id: ID,
    ) -> Answer<WebhookEndpointPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(webhook_endpoints::delete(gateway, caller, &id).await?.into())
    }
}
