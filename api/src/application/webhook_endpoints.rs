//! Webhook endpoints: URLs that events are sent to, how far each has heard, and what it answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use domain::port::{AggregateType, EventFeed, EventFilter, Position, RecordedEvent};
use domain::primitives::{AccountId, WebhookEndpointId, WorkspaceId};
use domain::webhook_endpoint::{
    CreateWebhookEndpoint as Create, EndpointChange, EndpointStatus, PauseReason, Replay,
    WebhookEndpoint, WebhookEndpointCommand,
};
use infrastructure::crypto::SubjectKey;
use infrastructure::crypto::secret::Secret;
use infrastructure::outbound::client::PostError;
use infrastructure::outbound::signature;
use infrastructure::outbound::store::{Attempt, AttemptsAsked, COUNTED_MAX};
use serde::Serialize;
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

use super::caller::Caller;
use super::command::{self, Once};
use super::error::{AppError, AppResult, ErrorCode};
use super::events::check_types;
use super::page::{self, Edge, Page, PageArgs, Total};
use super::read;
use crate::app::Gateway;
use crate::worker::endpoints::resend;

/// Endpoints of one workspace.
const ENDPOINTS_MAX: usize = 50;
/// Types or accounts of one endpoint.
const FILTER_MAX: usize = 200;
/// Events of one request to an endpoint that takes batches.
pub(crate) const BATCH_EVENTS: usize = 100;
/// Events that a preview of a replay counts.
const PREVIEWED: u64 = 20_000;
const PREVIEW_PAGE: usize = 1_000;

/// An endpoint to make.
#[derive(Clone, Debug, Serialize)]
pub struct CreateWebhookEndpoint {
    pub workspace_id: Option<String>,
    pub include_personal: bool,
    pub url: String,
    pub types: Vec<String>,
    pub account_ids: Vec<String>,
    /// `None`: from now on.
    pub after: Option<Position>,
    pub batch: bool,
    pub events_per_second: Option<i32>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// What is to be different; `None`: unchanged.
#[derive(Clone, Debug, Default)]
pub struct UpdateWebhookEndpoint {
    pub url: Option<String>,
    pub types: Option<Vec<String>>,
    pub account_ids: Option<Vec<String>>,
    pub enabled: Option<bool>,
    pub batch: Option<bool>,
    pub events_per_second: Option<Option<i32>>,
}

/// What is to be delivered once more.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    pub after: Position,
    /// `None`: up to where the log ends now.
    pub until: Option<Position>,
    pub recorded_from: Option<DateTime<Utc>>,
    /// Empty: what the endpoint wants.
    pub types: Vec<String>,
    /// `None`: as for what is new.
    pub events_per_second: Option<i32>,
}

/// What a replay would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayPreview {
    pub events: u64,
    /// `false`: estimated from the first of them.
    pub exact: bool,
    /// Fewer than the events where they go in batches.
    pub requests: u64,
    /// Where its rate is bounded: how long it takes at least.
    pub seconds_at_least: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct WebhookEndpointView {
    pub id: WebhookEndpointId,
    pub workspace_id: WorkspaceId,
    pub include_personal: bool,
    pub url: String,
    pub types: Vec<String>,
    pub account_ids: Vec<AccountId>,
    pub batch: bool,
    pub events_per_second: Option<u32>,
    pub status: EndpointStatus,
    pub pause_reason: Option<PauseReason>,
    /// Where it began to hear.
    pub after: Position,
    pub replay: Option<Replay>,
    pub previous_secret_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

/// What became of an endpoint, with its new secret where it has one.
#[derive(Clone, Debug)]
pub struct WrittenEndpoint {
    pub endpoint: WebhookEndpointView,
    /// In this answer and nowhere else.
    pub secret: Option<Secret>,
    pub position: Position,
}

/// How far an endpoint has come.
#[derive(Clone, Copy, Debug)]
pub struct StandingView {
    /// Everything up to here was taken. `None`: nobody has worked it yet.
    pub taken_to: Option<Position>,
    /// Where something waits to be tried again.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Where the log ends.
    pub head: Position,
}

impl WebhookEndpointView {
    /// Up to where everything was taken.
    pub fn taken_to(&self, standing: StandingView) -> Position {
        standing.taken_to.unwrap_or(self.after)
    }
}

/// The last attempt that failed.
#[derive(Clone, Debug)]
pub struct FailureView {
    pub at: DateTime<Utc>,
    pub status: Option<u16>,
    pub error: String,
    /// Where something waits to be tried again.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// One request to an endpoint.
#[derive(Clone)]
pub struct DeliveryView {
    pub id: Uuid,
    pub event_position: Position,
    pub event_id: Uuid,
    pub events: u32,
    pub attempt: u32,
    pub is_replay: bool,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub latency_ms: u32,
    pub at: DateTime<Utc>,
    /// The beginning of the answer, where the caller may see it.
    pub response: Option<String>,
}

impl std::fmt::Debug for DeliveryView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryView").field("id", &self.id).finish_non_exhaustive()
    }
}

impl WebhookEndpointView {
    fn new(id: WebhookEndpointId, endpoint: &WebhookEndpoint) -> Option<Self> {
        Some(Self {
            id,
            workspace_id: endpoint.workspace_id?,
            include_personal: endpoint.include_personal,
            url: endpoint.url.clone(),
            types: endpoint.types.clone(),
            account_ids: endpoint.account_ids.clone(),
            batch: endpoint.batch,
            events_per_second: endpoint.events_per_second,
            status: endpoint.status,
            pause_reason: endpoint.pause_reason,
            after: endpoint.after,
            replay: endpoint.replay.clone(),
            previous_secret_until: endpoint.previous_secret_until,
            created_at: endpoint.created_at?,
        })
    }
}

/// Where the key ring keeps an endpoint's secrets.
pub(crate) fn secret_name(id: Uuid, number: u32) -> String {
    format!("webhook_endpoint/{id}/{number}")
}

/// Sends events to a URL from now on, or from a position. Scope MANAGE, and PERSONAL where personal data is to leave.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace or an account; VALIDATION_FAILED; CONFLICT where the workspace has too many.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    input: CreateWebhookEndpoint,
) -> AppResult<WrittenEndpoint> {
    caller.require(Scope::Manage)?;
    if input.include_personal {
        caller.require(Scope::Personal)?;
    }
    let workspace =
        command::workspace(gateway, caller, input.workspace_id.as_deref(), "input.workspaceId")
            .await?;
    let account_ids = accounts(gateway, caller, workspace, &input.account_ids).await?;
    check_wanted(&input.types, "input.types")?;
    let url = check_url(gateway, &input.url).await?;
    let events_per_second = command::positive(input.events_per_second, "input.eventsPerSecond")?;
    let head = gateway.ledger.head().await?;
    if let Some(after) = input.after.filter(|after| *after > head) {
        let problem = format!("the log has not reached {after}, it ends at {head}");
        return Err(AppError::invalid("input.after", problem));
    }
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    let operation = "createWebhookEndpoint";
    let (id, secret, position) = match command::once::<Uuid>(
        gateway, caller, operation, key, &input, field,
    )
    .await?
    {
        Once::Done(id, position) => (id, None, position),
        Once::Now(idempotency) => {
            let everything = projections::Scope {
                workspaces: Some(vec![workspace.0]),
                ..projections::Scope::everything()
            };
            let known = read::queries(gateway).all_webhook_endpoints(&everything).await?.len();
            if known >= ENDPOINTS_MAX {
                return Err(AppError::conflict(format!(
                    "the workspace has {ENDPOINTS_MAX} webhook endpoints already; delete one first"
                )));
            }
            let now = gateway.clock.now();
            let new_id = gateway.ids.next_id(now);
            let secret = signature::new_secret();
            let create = Create {
                workspace_id: workspace,
                url: url.to_string(),
                types: input.types.clone(),
                account_ids,
                include_personal: input.include_personal,
                batch: input.batch,
                events_per_second,
                after: input.after.unwrap_or(head),
                at: now,
            };
            let context = command::context(gateway, caller);
            let (create, made) = (&create, &secret);
            let (id, position) =
                command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                    Box::pin(async move {
                        let command = WebhookEndpointCommand::Create(Box::new(create.clone()));
                        tx.execute::<WebhookEndpoint>(new_id, command)
                            .await
                            .map_err(|error| command::refused(error, "input"))?;
                        tx.put_secret(&secret_name(new_id, 1), Some(made));
                        Ok(new_id)
                    })
                })
                .await?;
            // Another request under the same idempotency key may have been faster: its secret is not ours.
            (id, Some(secret).filter(|_| id == new_id), position)
        }
    };
    let endpoint = command::folded::<WebhookEndpoint>(gateway, id, "webhook endpoint").await?;
    written(WebhookEndpointId(id), &endpoint, secret, position)
}

/// Changes what an endpoint wants to hear, or where; pauses or resumes it. Scope MANAGE, and PERSONAL where personal data
/// is to leave to another URL.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED.
pub async fn update(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    input: UpdateWebhookEndpoint,
) -> AppResult<WrittenEndpoint> {
    caller.require(Scope::Manage)?;
    let (id, endpoint) = living(gateway, caller, id).await?;
    if endpoint.include_personal && input.url.is_some() {
        caller.require(Scope::Personal)?;
    }
    let workspace = endpoint.workspace_id.ok_or_else(|| AppError::not_found("webhook endpoint"))?;
    let account_ids = match &input.account_ids {
        Some(ids) => Some(accounts(gateway, caller, workspace, ids).await?),
        None => None,
    };
    if let Some(types) = &input.types {
        check_wanted(types, "input.types")?;
    }
    let url = match &input.url {
        Some(url) => Some(check_url(gateway, url).await?.to_string()),
        None => None,
    };
    let field = "input.eventsPerSecond";
    let events_per_second =
        input.events_per_second.map(|rate| command::positive(rate, field)).transpose()?;
    let change = EndpointChange {
        url,
        types: input.types.clone(),
        account_ids,
        batch: input.batch,
        events_per_second,
    };
    let at = gateway.clock.now();
    let switch = input.enabled.map(|enabled| match enabled {
        true => WebhookEndpointCommand::Resume { at },
        false => WebhookEndpointCommand::Pause { reason: PauseReason::Requested, at },
    });
    let (change, switch) = (&change, &switch);
    execute(gateway, caller, id, &|| {
        let update = WebhookEndpointCommand::Update { change: change.clone(), at };
        std::iter::once(update).chain(switch.clone()).collect()
    })
    .await
}

/// Makes a new secret. For a day the one before signs beside it. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn rotate_secret(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<WrittenEndpoint> {
    caller.require(Scope::Manage)?;
    let (id, _) = living(gateway, caller, id).await?;
    let secret = signature::new_secret();
    let (at, made) = (gateway.clock.now(), &secret);
    let context = command::context(gateway, caller);
    let (number, position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            let rotate = WebhookEndpointCommand::RotateSecret { at };
            let endpoint = tx
                .execute::<WebhookEndpoint>(id.0, rotate)
                .await
                .map_err(|error| command::refused(error, ""))?;
            let number = endpoint.secret;
            tx.put_secret(&secret_name(id.0, number), Some(made));
            if let Some(old) = number.checked_sub(2).filter(|old| *old > 0) {
                tx.put_secret(&secret_name(id.0, old), None);
            }
            Ok(number)
        })
    })
    .await?;
    gateway.keys.forget_secret(&secret_name(id.0, number));
    let endpoint = command::folded::<WebhookEndpoint>(gateway, id.0, "webhook endpoint").await?;
    written(id, &endpoint, Some(secret), position)
}

/// Delivers again what was recorded after a position, in order, beside what is new. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED, also where nothing was recorded there.
pub async fn replay(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    request: ReplayRequest,
) -> AppResult<WrittenEndpoint> {
    caller.require(Scope::Manage)?;
    let (id, _) = living(gateway, caller, id).await?;
    let at = gateway.clock.now();
    let replay = &planned(gateway, request, at).await?;
    execute(gateway, caller, id, &|| {
        vec![WebhookEndpointCommand::Replay { replay: replay.clone(), at }]
    })
    .await
}

/// A replay as it would be begun now.
async fn planned(
    gateway: &Gateway,
    request: ReplayRequest,
    at: DateTime<Utc>,
) -> AppResult<Replay> {
    check_wanted(&request.types, "types")?;
    let events_per_second = command::positive(request.events_per_second, "eventsPerSecond")?;
    let head = gateway.ledger.head().await?;
    for (position, field) in [(Some(request.after), "after"), (request.until, "until")] {
        if let Some(position) = position.filter(|position| *position > head) {
            let problem = format!("the log has not reached {position}, it ends at {head}");
            return Err(AppError::invalid(field, problem));
        }
    }
    Ok(Replay {
        id: gateway.ids.next_id(at),
        after: request.after,
        until: request.until.unwrap_or(head),
        recorded_from: request.recorded_from.map(infrastructure::clock::truncate_to_ms),
        types: request.types,
        events_per_second,
    })
}

/// What [`replay`] would send, counted in the log and from 20,000 events on estimated. Scope READ.
///
/// # Errors
/// As [`replay`].
pub async fn preview_replay(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    request: ReplayRequest,
) -> AppResult<ReplayPreview> {
    caller.require(Scope::Read)?;
    let (_, endpoint) = living(gateway, caller, id).await?;
    let replay = planned(gateway, request, gateway.clock.now()).await?;
    let filter = filter_of(&endpoint, Some(&replay));
    let (mut place, mut counted, mut is_whole) = (replay.after, 0, false);
    while counted < PREVIEWED && !is_whole {
        let page = gateway.ledger.read_after(place, &filter, PREVIEW_PAGE).await?;
        let wanted = page.events.iter().filter(|event| {
            event.position <= replay.until && wants(&endpoint, &replay.types, event)
        });
        counted += wanted.count() as u64;
        place = page.scanned_to.min(replay.until);
        is_whole = page.at_head || place >= replay.until;
    }
    let looked_at = place.0.saturating_sub(replay.after.0);
    let whole = replay.until.0.saturating_sub(replay.after.0);
    let events = match is_whole {
        true => counted,
        false => (counted as f64 / looked_at.max(1) as f64 * whole as f64) as u64,
    };
    let rate = replay.events_per_second.or(endpoint.events_per_second);
    Ok(ReplayPreview {
        events,
        exact: is_whole,
        requests: if endpoint.batch { events.div_ceil(BATCH_EVENTS as u64) } else { events },
        seconds_at_least: rate.map(|rate| events.div_ceil(u64::from(rate.max(1)))),
    })
}

/// What a lane of this endpoint reads; [`wants`] says which of it is sent.
pub(crate) fn filter_of(
    endpoint: &WebhookEndpoint,
    replay: Option<&Replay>,
) -> domain::port::EventFilter {
    let types = replay.map(|replay| &replay.types).filter(|types| !types.is_empty());
    domain::port::EventFilter {
        aggregate_types: AggregateType::ALL
            .into_iter()
            .filter(|it| !matches!(it, AggregateType::ApiKey | AggregateType::User))
            .collect(),
        event_types: types.unwrap_or(&endpoint.types).clone(),
        workspace_ids: endpoint.workspace_id.iter().map(|id| id.0).collect(),
        recorded_from: replay.and_then(|replay| replay.recorded_from),
        ..domain::port::EventFilter::default()
    }
}

/// How long the answer waits for the endpoint's. It is sent all the same.
const RESEND_PATIENCE: StdDuration = StdDuration::from_secs(5);
/// Events that are sent once more at the same time.
static RESENDS: Semaphore = Semaphore::const_new(16);

/// Delivers one event again, at once and beside the endpoint's order, a single time, under the same id and marked as a
/// replay is. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `eventPosition` where nothing that is the workspace's lies there, or what
/// the endpoint is not sent; CONFLICT where the endpoint is paused or disabled; RATE_LIMITED.
pub async fn resend(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    id: &str,
    position: Position,
) -> AppResult<WrittenEndpoint> {
    caller.require(Scope::Manage)?;
    let (id, endpoint) = living(gateway, caller, id).await?;
    let event = event_at(gateway, &endpoint, position).await?;
    let at = gateway.clock.now();
    let permit = RESENDS.try_acquire().map_err(|_| {
        AppError::new(
            ErrorCode::RateLimited,
            "too many events are being sent again right now; try again in a moment",
        )
    })?;
    let ready = resend::prepare(gateway, id.0, Arc::new(endpoint), event).await?;
    let written =
        execute(gateway, caller, id, &|| vec![WebhookEndpointCommand::Resend { position, at }])
            .await?;
    let sender = gateway.clone();
    // Goes on where this caller stops waiting.
    let sending = tokio::spawn(async move {
        ready.send(sender).await;
        drop(permit);
    });
    if let Ok(Err(error)) = tokio::time::timeout(RESEND_PATIENCE, sending).await {
        return Err(AppError::internal(error));
    }
    Ok(written)
}

/// The event of the endpoint's workspace at a position, where the endpoint is sent it. What is another workspace's is as if
/// nothing were there.
async fn event_at(
    gateway: &Gateway,
    endpoint: &WebhookEndpoint,
    position: Position,
) -> AppResult<RecordedEvent> {
    let refused = |problem: String| Err(AppError::invalid("eventPosition", problem));
    let head = gateway.ledger.head().await?;
    if position > head {
        return refused(format!("the log has not reached {position}, it ends at {head}"));
    }
    let filter = EventFilter {
        workspace_ids: endpoint.workspace_id.iter().map(|id| id.0).collect(),
        ..EventFilter::default()
    };
    let before = Position(position.0.saturating_sub(1));
    let page = gateway.ledger.read_after(before, &filter, 1).await?;
    let Some(event) = page.events.into_iter().find(|event| event.position == position) else {
        return refused(format!(
            "no event of the endpoint's workspace is at {position}; use the eventPosition of a delivery, or the position of \
             an event"
        ));
    };
    if !wants(endpoint, &[], &event) {
        return refused(format!(
            "the endpoint is not sent this event ({}): it asks for other types or accounts, or nobody outside is sent it",
            event.event_type
        ));
    }
    Ok(event)
}

/// Sends an endpoint nothing any more, for good. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn delete(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<WrittenEndpoint> {
    caller.require(Scope::Manage)?;
    let (id, _) = known(gateway, caller, id).await?;
    let at = gateway.clock.now();
    let context = command::context(gateway, caller);
    let ((), position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            let delete = WebhookEndpointCommand::Delete { at };
            let endpoint = tx
                .execute::<WebhookEndpoint>(id.0, delete)
                .await
                .map_err(|error| command::refused(error, ""))?;
            let newest = endpoint.secret;
            for number in newest.saturating_sub(1)..=newest {
                tx.put_secret(&secret_name(id.0, number), None);
            }
            Ok(())
        })
    })
    .await?;
    gateway.lanes.forget(id.0).await.map_err(AppError::unavailable)?;
    let endpoint = command::folded::<WebhookEndpoint>(gateway, id.0, "webhook endpoint").await?;
    written(id, &endpoint, None, position)
}

async fn execute(
    gateway: &Gateway,
    caller: &Caller,
    id: WebhookEndpointId,
    commands: &(impl Fn() -> Vec<WebhookEndpointCommand> + Sync),
) -> AppResult<WrittenEndpoint> {
    let context = command::context(gateway, caller);
    let ((), position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            for command in commands() {
                let prefix = match command {
                    WebhookEndpointCommand::Replay { .. }
                    | WebhookEndpointCommand::Resend { .. } => "",
                    _ => "input",
                };
                tx.execute::<WebhookEndpoint>(id.0, command)
                    .await
                    .map_err(|error| command::refused(error, prefix))?;
            }
            Ok(())
        })
    })
    .await?;
    let endpoint = command::folded::<WebhookEndpoint>(gateway, id.0, "webhook endpoint").await?;
    written(id, &endpoint, None, position)
}

fn written(
    id: WebhookEndpointId,
    endpoint: &WebhookEndpoint,
    secret: Option<Secret>,
    position: Position,
) -> AppResult<WrittenEndpoint> {
    let endpoint = WebhookEndpointView::new(id, endpoint)
        .ok_or_else(|| AppError::not_found("webhook endpoint"))?;
    Ok(WrittenEndpoint { endpoint, secret, position })
}

/// An endpoint that hears nothing which the caller could not.
pub(crate) async fn known(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<(WebhookEndpointId, WebhookEndpoint)> {
    let (id, loaded) =
        command::known::<WebhookEndpoint>(gateway, caller, id, "webhook endpoint").await?;
    let endpoint = loaded.aggregate;
    let is_within = caller.accounts.as_ref().is_none_or(|own| {
        !endpoint.account_ids.is_empty() && endpoint.account_ids.iter().all(|id| own.contains(id))
    });
    if !is_within {
        return Err(AppError::not_found("webhook endpoint"));
    }
    Ok((WebhookEndpointId(id), endpoint))
}

async fn living(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<(WebhookEndpointId, WebhookEndpoint)> {
    let found = known(gateway, caller, id).await?;
    if found.1.status == EndpointStatus::Deleted {
        return Err(AppError::not_found("webhook endpoint"));
    }
    Ok(found)
}

/// The accounts that an endpoint is limited to. A key that is limited to some accounts makes endpoints that are too.
async fn accounts(
    gateway: &Gateway,
    caller: &Caller,
    workspace: WorkspaceId,
    ids: &[String],
) -> AppResult<Vec<AccountId>> {
    if ids.len() > FILTER_MAX {
        return Err(AppError::invalid("input.accountIds", format!("give at most {FILTER_MAX}")));
    }
    if ids.is_empty() {
        return Ok(caller.accounts.iter().flatten().copied().collect());
    }
    let known = command::accounts(gateway, caller, ids).await?;
    for id in &known {
        let account = command::folded::<domain::account::Account>(gateway, id.0, "account").await?;
        if account.workspace_id != Some(workspace) {
            return Err(AppError::invalid(
                "input.accountIds",
                "name accounts of the endpoint's workspace",
            ));
        }
    }
    Ok(known)
}

fn check_wanted(types: &[String], field: &str) -> AppResult<()> {
    if types.len() > FILTER_MAX {
        return Err(AppError::invalid(field, format!("give at most {FILTER_MAX}")));
    }
    check_types(types, field)?;
    let of_keys = format!("{}.", AggregateType::ApiKey.as_str());
    if types.iter().any(|name| name.starts_with(&of_keys)) {
        return Err(AppError::invalid(
            field,
            "what happens to API keys is not sent to webhook endpoints; read it from events",
        ));
    }
    Ok(())
}

/// A URL that may be posted to. One whose name does not resolve yet may do so later.
async fn check_url(gateway: &Gateway, text: &str) -> AppResult<Url> {
    let field = "input.url";
    let url = Url::parse(text.trim()).map_err(|_| {
        AppError::invalid(field, "use an address such as https://shop.example/whatsapp")
    })?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(AppError::invalid(field, "use an address that begins with https://"));
    }
    if url.scheme() == "http" && !gateway.outbound.may_be_plain() {
        return Err(AppError::invalid(
            field,
            "use https; http may only be spoken to webhooks.allowed_networks",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AppError::invalid(
            field,
            "leave out the user and the password; the signature says who sends",
        ));
    }
    if url.fragment().is_some() {
        return Err(AppError::invalid(field, "leave out what follows #; it is never sent"));
    }
    match gateway.outbound.check(&url).await {
        Ok(()) | Err(PostError::Unresolved) => Ok(url),
        Err(PostError::Forbidden(why)) => Err(AppError::invalid(field, why.to_string())),
        Err(error) => Err(AppError::invalid(field, error.to_string())),
    }
}

/// One endpoint that hears nothing which the caller could not. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND, also for one that was deleted; STALE.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    min_position: Option<Position>,
) -> AppResult<WebhookEndpointView> {
    caller.require(Scope::Read)?;
    // Folded from the log, which is never behind.
    read::wait_directory(gateway, min_position).await?;
    let (id, endpoint) = living(gateway, caller, id).await?;
    WebhookEndpointView::new(id, &endpoint).ok_or_else(|| AppError::not_found("webhook endpoint"))
}

/// Endpoints, oldest first, those that hear nothing which the caller could not. Scope READ.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<WebhookEndpointView>> {
    caller.require(Scope::Read)?;
    let page = read::page_request(page)?;
    read::wait_directory(gateway, min_position).await?;
    let found = read::queries(gateway).webhook_endpoints(&read::scope(caller), &page).await?;
    Ok(read::page(found, |stored| {
        WebhookEndpointView::new(WebhookEndpointId(stored.id), &stored.state)
    }))
}

/// How many [`list`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn total(gateway: &Gateway, caller: &Caller) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let all = read::queries(gateway).all_webhook_endpoints(&read::scope(caller)).await?;
    Ok(Total { count: all.len() as u64, exact: true })
}

/// How far endpoints that the caller was shown have come. Scope READ.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn standings(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[WebhookEndpointId],
) -> AppResult<HashMap<WebhookEndpointId, StandingView>> {
    caller.require(Scope::Read)?;
    let asked: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let found = gateway.lanes.standing(&asked).await.map_err(AppError::unavailable)?;
    let head = gateway.ledger.head().await?;
    let view = |id: &WebhookEndpointId| {
        let standing = found.get(&id.0);
        let view = StandingView {
            taken_to: standing.map(|standing| standing.position),
            next_attempt_at: standing.and_then(|standing| standing.next_attempt_at),
            head,
        };
        (*id, view)
    };
    Ok(ids.iter().map(view).collect())
}

/// The last attempt that failed, of the last thirty days, at an endpoint that the caller was shown.
///
/// # Errors
/// UNAVAILABLE.
pub async fn last_failure(
    gateway: &Gateway,
    id: WebhookEndpointId,
    next_attempt_at: Option<DateTime<Utc>>,
) -> AppResult<Option<FailureView>> {
    let asked = AttemptsAsked { endpoint_id: id.0, failed_only: true, before: None, limit: 1 };
    let found = gateway.lanes.attempts(asked).await.map_err(AppError::unavailable)?;
    let Some(attempt) = found.into_iter().next() else { return Ok(None) };
    let error = attempt.error.unwrap_or_default();
    Ok(Some(FailureView { at: attempt.at, status: attempt.status, error, next_attempt_at }))
}

/// Attempts of the last thirty days, newest first. Scope READ; what was answered to personal data needs PERSONAL.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for a page that is none; UNAVAILABLE.
pub async fn deliveries(
    gateway: &Gateway,
    caller: &Caller,
    endpoint: &WebhookEndpointView,
    failed_only: bool,
    first: Option<i32>,
    after: Option<String>,
) -> AppResult<Page<DeliveryView>> {
    caller.require(Scope::Read)?;
    let limit = page::limit(first, "first")?;
    let before = after.as_deref().map(Uuid::try_parse).transpose();
    let before =
        before.map_err(|_| AppError::invalid("after", "use a cursor that an earlier page gave"))?;
    let asked = AttemptsAsked { endpoint_id: endpoint.id.0, failed_only, before, limit: limit + 1 };
    let mut found = gateway.lanes.attempts(asked).await.map_err(AppError::unavailable)?;
    let has_next_page = found.len() > limit;
    found.truncate(limit);
    let may_see = !endpoint.include_personal || caller.has(Scope::Personal);
    let mut edges = Vec::with_capacity(found.len());
    for attempt in found {
        let node = delivery(gateway, attempt, may_see).await?;
        edges.push(Edge { cursor: node.id.to_string(), node });
    }
    Ok(Page {
        has_next_page,
        has_previous_page: before.is_some(),
        start_cursor: edges.first().map(|edge| edge.cursor.clone()),
        end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        edges,
    })
}

async fn delivery(gateway: &Gateway, attempt: Attempt, may_see: bool) -> AppResult<DeliveryView> {
    let answer = match attempt.subject {
        _ if !may_see || attempt.status.is_none() => None,
        None => Some(attempt.answer),
        Some(subject) => {
            let key = gateway.keys.subject_key(subject).await.map_err(AppError::unavailable)?;
            match key {
                // Erased, and with it what was answered about the person.
                SubjectKey::Destroyed | SubjectKey::Missing => None,
                SubjectKey::Live(key) => key
                    .open(attempt.id.as_bytes(), &attempt.answer)
                    .ok()
                    .map(|plain| plain.to_vec()),
            }
        }
    };
    Ok(DeliveryView {
        id: attempt.id,
        event_position: attempt.position,
        event_id: attempt.event_id,
        events: attempt.events,
        attempt: attempt.number,
        is_replay: attempt.is_replay,
        status: attempt.status,
        error: attempt.error,
        latency_ms: attempt.latency_ms,
        at: attempt.at,
        response: answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// How many [`deliveries`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn deliveries_total(
    gateway: &Gateway,
    caller: &Caller,
    id: WebhookEndpointId,
    failed_only: bool,
) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let count = gateway.lanes.count(id.0, failed_only).await.map_err(AppError::unavailable)?;
    Ok(Total { count, exact: count <= COUNTED_MAX })
}

/// Whether an endpoint is sent this event. `types`: a replay's, where it has any.
pub(crate) fn wants(endpoint: &WebhookEndpoint, types: &[String], event: &RecordedEvent) -> bool {
    let types = if types.is_empty() { &endpoint.types[..] } else { types };
    let account = match event.stream.aggregate_type {
        // Who may do what is nobody's business outside.
        AggregateType::ApiKey | AggregateType::User => return false,
        AggregateType::Account => Some(event.stream.id),
        _ => event.account_id,
    };
    event.workspace_id == endpoint.workspace_id.map(|id| id.0)
        && (types.is_empty() || types.contains(&event.event_type))
        && (endpoint.account_ids.is_empty()
            || account.is_some_and(|id| endpoint.account_ids.contains(&AccountId(id))))
}

#[cfg(test)]
mod tests {
    use domain::port::{Metadata, StreamId};
    use domain::primitives::Actor;

    use super::*;

    fn event(
        aggregate_type: AggregateType,
        workspace: u128,
        account: Option<u128>,
    ) -> RecordedEvent {
        RecordedEvent {
            position: Position(7),
            event_id: Uuid::from_u128(1),
            stream: StreamId::new(aggregate_type, Uuid::from_u128(9)),
            sequence: 3,
            event_type: "message.read".to_owned(),
            event_version: 1,
            data: serde_json::Value::Null,
            metadata: Metadata {
                actor: Actor::process("dispatch"),
                correlation_id: Uuid::from_u128(4),
                causation_id: None,
                subject: None,
            },
            workspace_id: Some(Uuid::from_u128(workspace)),
            account_id: account.map(Uuid::from_u128),
            occurred_at: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_endpoint_hears_its_workspace_its_accounts_its_types_and_nothing_of_keys() {
        use AggregateType::{Account, ApiKey, Contact, Message};
        let workspace_id = Some(WorkspaceId(Uuid::from_u128(5)));
        let all = WebhookEndpoint { workspace_id, ..WebhookEndpoint::default() };
        assert!(wants(&all, &[], &event(Message, 5, Some(6))));
        assert!(wants(&all, &[], &event(Contact, 5, None)));
        assert!(!wants(&all, &[], &event(Message, 6, Some(6))));
        assert!(!wants(&all, &[], &event(ApiKey, 5, None)));
        let account_ids = vec![AccountId(Uuid::from_u128(9))];
        let some = WebhookEndpoint { account_ids, ..all.clone() };
        assert!(wants(&some, &[], &event(Message, 5, Some(9))));
        assert!(wants(&some, &[], &event(Account, 5, None)), "the account itself");
        assert!(!wants(&some, &[], &event(Message, 5, Some(6))));
        assert!(!wants(&some, &[], &event(Contact, 5, None)));
        let types = vec!["message.sent".to_owned()];
        let typed = WebhookEndpoint { types, ..all };
        assert!(!wants(&typed, &[], &event(Message, 5, None)));
        assert!(wants(&typed, &["message.read".to_owned()], &event(Message, 5, None)));
    }
}
