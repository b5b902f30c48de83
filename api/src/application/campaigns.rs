//! Campaigns: planned, launched, watched, paused, ended.

mod anew;
mod audience;
mod cancellation;
mod forecast;
mod plan;
mod progress;
mod retry;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use domain::GatewayAggregate;
use domain::account::{Account, QuietHours};
use domain::api_key::Scope;
use domain::campaign::{
    Allowance, Campaign, CampaignCommand, CampaignPlan, CampaignStatus, Hold, WhenPast,
};
use domain::port::Position;
use domain::pricing::Amount;
use domain::primitives::CampaignId;
use domain::template::{Template, TemplateStatus};
use domain::workspace::Workspace;
use projections::names;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::caller::Caller;
use super::command::{self, Once};
use super::error::{AppError, AppResult};
use super::page::{Page, PageArgs, Total};
use super::view::{CampaignView, Written};
use super::{check, read};
use crate::app::Gateway;

use audience::PEOPLE_MAX;
pub use audience::preview as preview_audience;
pub use cancellation::{Cancellation, cancellation};
pub(crate) use forecast::Forecasts;
pub use forecast::{CampaignForecast, ForecastMessage, forecast, sample};
pub use plan::create;
pub(crate) use plan::{check_account, normalised, values};
pub use progress::{CampaignProgress, FailureCount, curve, progress, progress_as_of};
pub use retry::{RetryScope, retry, test};
pub use waiting::waiting_for;

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

/// Whom a campaign is for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AudienceInput {
    pub all: bool,
    pub segment_ids: Vec<String>,
    pub contact_ids: Vec<String>,
    pub tags: Vec<String>,
    pub exclude: Option<Box<AudienceInput>>,
}

/// When a campaign starts.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduleInput {
    pub start_at: NaiveDateTime,
    pub time_zone: String,
    pub recipient_local: bool,
    pub send_window: Option<QuietHours>,
    pub when_past: WhenPast,
    pub recurrence: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct FrequencyCapInput {
    pub messages: i32,
    pub hours: i32,
}

/// A campaign to plan.
#[derive(Clone, Debug, Serialize)]
pub struct CreateCampaign {
    pub account_id: String,
    pub external_id: Option<String>,
    pub metadata: Option<Value>,
    pub name: String,
    pub template_id: String,
    /// Template parameter → literal, or text with placeholders.
    pub parameters: Option<Value>,
    pub audience: AudienceInput,
    pub schedule: Option<ScheduleInput>,
    pub messages_per_second: Option<i32>,
    pub frequency_cap: Option<FrequencyCapInput>,
    /// Seconds.
    pub time_to_live: Option<i32>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// Changes to a plan. `None`: left as it is; `Some(None)`: cleared.
#[derive(Clone, Debug, Default)]
pub struct UpdateCampaign {
    pub id: String,
    pub name: Option<String>,
    pub template_id: Option<String>,
    pub parameters: Option<Option<Value>>,
    pub audience: Option<AudienceInput>,
    pub schedule: Option<Option<ScheduleInput>>,
    pub messages_per_second: Option<Option<i32>>,
    pub frequency_cap: Option<Option<FrequencyCapInput>>,
    pub time_to_live: Option<Option<i32>>,
    pub expected_sequence: Option<i32>,
}

/// The order to begin.
#[derive(Clone, Debug, Serialize)]
pub struct Launch {
    pub id: String,
    /// More people than that is CONFLICT, and nobody is written to.
    pub max_recipients: Option<i32>,
    /// More than that by the forecast of this moment, or nobody knows how much, is CONFLICT, and nobody is written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<Amount>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct CampaignFilter {
    pub account_ids: Vec<String>,
    pub status: Vec<CampaignStatus>,
    pub search: Option<String>,
}

/// Changes a plan that has not started. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the campaign or what it names; VALIDATION_FAILED; CONFLICT once it runs, or where
/// `expectedSequence` is stale.
pub async fn update(
    gateway: &Gateway,
    caller: &Caller,
    input: UpdateCampaign,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Manage)?;
    let (id, loaded) = living(gateway, caller, &input.id).await?;
    command::check_sequence(input.expected_sequence, loaded.sequence)?;
    let account_id = loaded.aggregate.account_id.ok_or_else(|| AppError::not_found("campaign"))?;
    let plan = plan::changed(gateway, caller, account_id, &loaded.aggregate, input).await?;
    check_scheduled(gateway, &loaded.aggregate, &plan).await?;
    let context = command::context(gateway, caller);
    let command = CampaignCommand::Update { plan: Box::new(plan), at: gateway.clock.now() };
    // The new plan was made from this one, so nobody else's change may come in between.
    let committed = gateway
        .bus
        .execute_expecting::<Campaign>(id.0, Some(loaded.sequence), command, &context)
        .await;
    let committed = committed.map_err(|error| command::refused(error, "input"))?;
    view(caller, id, &committed.aggregate, committed.position)
}

/// Begins now, or at the campaign's own schedule. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT for a status that cannot be launched, a template that is not approved, an account that
/// is disconnected, more people than `max_recipients`, or more or an unknown cost where there is `max_cost`: then nobody is
/// written to; VALIDATION_FAILED where the schedule has passed, or where nobody would be sent to: nobody is in the audience
/// of a campaign that comes once, or nobody in it has what a parameter asks for; STALE; UNAVAILABLE while what it costs is
/// still being added up. A campaign to more people than the workspace lets one key launch is no error: it waits for an
/// approval.
pub async fn launch(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    input: Launch,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Send)?;
    let (id, loaded) = living(gateway, caller, &input.id).await?;
    let key = input.idempotency_key.as_deref();
    let once =
        command::once::<Uuid>(gateway, caller, "launchCampaign", key, &input, "idempotencyKey")
            .await?;
    let idempotency = match once {
        Once::Done(id, position) => {
            return written(gateway, caller, CampaignId(id), position).await;
        }
        Once::Now(idempotency) => idempotency,
    };
    let campaign = loaded.aggregate;
    let is_underway =
        matches!(campaign.status, CampaignStatus::Scheduled | CampaignStatus::Running);
    let now = gateway.clock.now();
    let mut allowance = Allowance { by: Some(name_of(caller)), ..Allowance::default() };
    let mut command = CampaignCommand::Launch { allowance: allowance.clone(), at: now };
    let mut expected = None;
    if !is_underway {
        check_launch(gateway, &campaign).await?;
        let max = input.max_recipients.map(|max| {
            u64::try_from(max).map_err(|_| AppError::invalid("maxRecipients", "use 0 or more"))
        });
        let max = max.transpose()?;
        let threshold = threshold(gateway, &campaign).await?;
        let most = match (threshold, max) {
            (Some(_), _) => PEOPLE_MAX,
            (None, Some(max)) => max.saturating_add(1),
            (None, None) => 1,
        };
        let is_counted = threshold.is_some() || max.is_some();
        let counted = audience::check(gateway, &campaign, most, is_counted).await?;
        let mut recipients = is_counted.then_some(counted);
        if let Some(max) = max {
            check_size(counted, max)?;
        }
        if let Some(max) = input.max_cost {
            let priced = forecast::check_cost(gateway, id, loaded.sequence, max).await?;
            recipients = recipients.or(Some(priced));
        }
        // What was counted and priced is what is launched.
        expected = recipients.map(|_| loaded.sequence);
        allowance =
            Allowance { recipients, max_recipients: max, max_cost: input.max_cost, ..allowance };
        command = match threshold.filter(|threshold| counted > u64::from(*threshold)) {
            Some(threshold) => CampaignCommand::RequestApproval {
                by: name_of(caller),
                recipients: counted,
                threshold,
                max_recipients: max,
                max_cost: input.max_cost,
                at: now,
            },
            None => CampaignCommand::Launch { allowance, at: now },
        };
    }
    run(gateway, caller, id, (command, expected), idempotency.as_ref()).await
}

/// Says yes to what another key has launched and may not launch alone: it starts, or is scheduled, with this. Of one that
/// has grown beyond that by the time it starts, the occurrence that is held goes on. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT where nobody asked, where the caller did, where the audience has grown by more than a tenth
/// since, and as [`launch`].
pub async fn approve(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    id: &str,
    idempotency_key: Option<String>,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Send)?;
    let (id, loaded) = living(gateway, caller, id).await?;
    let input = serde_json::json!({ "id": id });
    let key = idempotency_key.as_deref();
    let once =
        command::once::<Uuid>(gateway, caller, "approveCampaign", key, &input, "idempotencyKey")
            .await?;
    let idempotency = match once {
        Once::Done(id, position) => {
            return written(gateway, caller, CampaignId(id), position).await;
        }
        Once::Now(idempotency) => idempotency,
    };
    let campaign = loaded.aggregate;
    let (by, at) = (name_of(caller), gateway.clock.now());
    let mut command = CampaignCommand::Approve { by: by.clone(), recipients: None, at };
    if campaign.awaits_approval() {
        // Whoever may not approve it at all hears that before anything else.
        campaign.decide(command.clone()).map_err(|error| AppError::domain(error, ""))?;
    }
    if campaign.awaits_approval() && campaign.status == CampaignStatus::Draft {
        check_launch(gateway, &campaign).await?;
        let counted = audience::check(gateway, &campaign, PEOPLE_MAX, true).await?;
        command = CampaignCommand::Approve { by, recipients: Some(counted), at };
        if let Some(max) = campaign.approval.as_ref().and_then(|asked| asked.max_recipients) {
            check_size(counted, max)?;
        }
        if let Some(max) = campaign.approval.as_ref().and_then(|asked| asked.max_cost) {
            forecast::check_cost(gateway, id, loaded.sequence, max).await?;
        }
    }
    let expected = campaign.awaits_approval().then_some(loaded.sequence);
    run(gateway, caller, id, (command, expected), idempotency.as_ref()).await
}

async fn run(
    gateway: &Gateway,
    caller: &Caller,
    id: CampaignId,
    command: (CampaignCommand, Option<u64>),
    idempotency: Option<&infrastructure::ledger::Idempotency>,
) -> AppResult<Written<CampaignView>> {
    let context = command::context(gateway, caller);
    let command = &command;
    let (_, position) = command::transact(gateway, &context, idempotency, &|tx| {
        Box::pin(async move {
            let (command, expected) = command.clone();
            tx.execute_expecting::<Campaign>(id.0, expected, command)
                .await
                .map_err(|error| command::refused(error, ""))?;
            Ok(id.0)
        })
    })
    .await?;
    written(gateway, caller, id, position).await
}

/// Who acts, as campaigns remember it.
fn name_of(caller: &Caller) -> String {
    format!("{}:{}", caller.actor.kind.as_str(), caller.actor.id)
}

/// Whether everything is there that a launch needs.
async fn check_launch(gateway: &Gateway, campaign: &Campaign) -> AppResult<()> {
    let plan = campaign.plan.as_ref().ok_or_else(|| AppError::not_found("campaign"))?;
    let account_id = campaign.account_id.ok_or_else(|| AppError::not_found("campaign"))?;
    let account = command::folded::<Account>(gateway, account_id.0, "account").await?;
    plan::check_account(&account)?;
    plan::check_segments(gateway, &plan.audience).await?;
    let template = command::folded::<Template>(gateway, plan.template_id.0, "template").await?;
    if template.status != TemplateStatus::Approved {
        return Err(AppError::conflict(format!(
            "the template is in status {}; only an approved one can be sent",
            template.status.as_str()
        )));
    }
    plan::check_hours(plan, &account, &template, "schedule")
}

/// How many people one key may launch a campaign to; `None`: however many.
async fn threshold(gateway: &Gateway, campaign: &Campaign) -> AppResult<Option<u32>> {
    let workspace = campaign.workspace_id.ok_or_else(|| AppError::not_found("campaign"))?;
    let workspace = command::folded::<Workspace>(gateway, workspace.0, "workspace").await?;
    Ok(workspace.approval_threshold)
}

/// What is scheduled already must not grow beyond what one may launch, or what its launch allowed. It would be held when it
/// starts; whoever changes it hears that at once.
async fn check_scheduled(
    gateway: &Gateway,
    campaign: &Campaign,
    plan: &CampaignPlan,
) -> AppResult<()> {
    let is_same = campaign.plan.as_ref().is_some_and(|known| known.audience == plan.audience);
    if campaign.status != CampaignStatus::Scheduled || is_same {
        return Ok(());
    }
    let threshold = threshold(gateway, campaign).await?;
    if !campaign.is_size_limited(threshold) {
        return Ok(());
    }
    let changed = Campaign { plan: Some(plan.clone()), ..campaign.clone() };
    let limit = campaign.allowed().max_recipients;
    let most = [threshold.map(u64::from), limit].into_iter().flatten().max().unwrap_or_default();
    let counted = audience::size(gateway, &changed, most.saturating_add(1)).await?;
    if let Some(limit) = limit.filter(|limit| counted > *limit) {
        return Err(AppError::conflict(format!(
            "the new audience has more than {limit} people, the limit given at launch, and the campaign is scheduled already; \
             cancel it, clone it, change the clone and launch that"
        )));
    }
    match campaign.held_for_size(counted, threshold) {
        None => Ok(()),
        Some(_) => Err(AppError::conflict(format!(
            "the new audience has more than {} people, which needs another key's approval, and the campaign is \
             scheduled already; cancel it, clone it, change the clone and launch that",
            threshold.unwrap_or_default()
        ))),
    }
}

fn check_size(counted: u64, max: u64) -> AppResult<()> {
    if counted > max {
        return Err(AppError::conflict(format!(
            "the audience has more than {max} people, so nothing was sent; raise maxRecipients or narrow the audience"
        )));
    }
    Ok(())
}

/// Whether an occurrence that has just started is more than its launch allowed, and why in words. `query` is its audience as
/// it was frozen, `started` where it started, `sequence` the campaign's last event.
///
/// # Errors
/// UNAVAILABLE while what it costs is still being added up: ask again; STALE.
pub(crate) async fn held(
    gateway: &Arc<Gateway>,
    (id, campaign, sequence): (CampaignId, &Campaign, u64),
    query: &projections::AudienceQuery,
    started: Position,
) -> AppResult<Option<(Hold, String)>> {
    // The cost comes first: while it is added up, nobody is counted again and again. A yes covers what the reason names, so
    // both are asked before anybody is.
    let cost = match campaign.cost_limit() {
        Some(max) => forecast::held_for_cost(gateway, id, (sequence, started), max).await?,
        None => None,
    };
    let threshold = threshold(gateway, campaign).await?;
    let size = if campaign.is_size_limited(threshold) {
        let people = read::queries(gateway).audience_count(query, PEOPLE_MAX).await?;
        campaign.held_for_size(people, threshold)
    } else {
        None
    };
    Ok(match (cost, size) {
        (Some((_, cost)), Some((hold, size))) => Some((hold, format!("{cost}; and {size}"))),
        (Some((recipients, cost)), None) => {
            let reason = format!(
                "{cost}. Nobody of it was sent to: resumeCampaign lets it go on to all of them, cancelCampaign ends it"
            );
            Some((Hold { recipients, needs_approval: false }, reason))
        }
        (None, size) => size,
    })
}

/// Drafts the same campaign anew with everything its owner set, under the integrator's metadata but not under its external
/// id. A schedule whose last time has passed is left out rather than refused at launch: the copy then starts when it is
/// launched, and says so by having none; one that comes back goes on with its next time. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED for a name that is none.
pub async fn clone(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    name: Option<String>,
    idempotency_key: Option<String>,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Manage)?;
    let (id, loaded) = living(gateway, caller, id).await?;
    let input = serde_json::json!({ "id": id, "name": name });
    let key = idempotency_key.as_deref();
    let once =
        command::once::<Uuid>(gateway, caller, "cloneCampaign", key, &input, "idempotencyKey")
            .await?;
    let (id, position) = match once {
        Once::Done(id, position) => (id, position),
        Once::Now(idempotency) => {
            let campaign = loaded.aggregate;
            let not_found = || AppError::not_found("campaign");
            let mut plan = campaign.plan.clone().ok_or_else(not_found)?;
            plan.name = name.unwrap_or_else(|| plan::copy_name(&plan.name));
            let now = gateway.clock.now();
            let has_passed = plan.schedule.as_ref().is_some_and(|schedule| {
                !matches!(schedule.next_occurrence(None, now), Ok(Some(_)))
            });
            if has_passed {
                plan.schedule = None;
            }
            let new_id = gateway.ids.next_id(now);
            let command = CampaignCommand::Draft {
                workspace_id: campaign.workspace_id.ok_or_else(not_found)?,
                campaign_id: CampaignId(new_id),
                account_id: campaign.account_id.ok_or_else(not_found)?,
                // The integrator's id is of the first one.
                external_id: None,
                metadata: campaign.metadata.and_then(domain::primitives::Personal::into_known),
                plan: Box::new(plan),
                at: now,
            };
            let context = command::context(gateway, caller);
            let command = &command;
            command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                Box::pin(async move {
                    let drafted = tx.execute::<Campaign>(new_id, command.clone()).await;
                    drafted.map_err(|error| command::refused(error, ""))?;
                    Ok(new_id)
                })
            })
            .await?
        }
    };
    written(gateway, caller, CampaignId(id), position).await
}

/// Deletes a draft. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT for what is no draft any more.
pub async fn delete(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = command::known::<Campaign>(gateway, caller, id, "campaign").await?;
    execute(gateway, caller, CampaignId(id), CampaignCommand::Delete { at: gateway.clock.now() })
        .await
}

/// Holds a campaign: nothing more leaves until it is resumed. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `reason`; CONFLICT for a status that cannot be paused.
pub async fn pause(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    reason: Option<String>,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Send)?;
    let (id, _) = living(gateway, caller, id).await?;
    let reason = check_reason(reason)?;
    let pause = CampaignCommand::Pause { reason, hold: None, at: gateway.clock.now() };
    execute(gateway, caller, id, pause).await
}

/// Goes on, also with an occurrence that is held because it is more than its launch allowed. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT for a status that cannot be resumed, and where another key has to approve it.
pub async fn resume(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Send)?;
    let (id, _) = living(gateway, caller, id).await?;
    execute(gateway, caller, id, CampaignCommand::Resume { at: gateway.clock.now() }).await
}

/// Ends a campaign: what has not left yet does not leave any more. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `reason`; CONFLICT for a status that cannot be cancelled.
pub async fn cancel(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    reason: Option<String>,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Send)?;
    let (id, _) = living(gateway, caller, id).await?;
    let reason = check_reason(reason)?;
    execute(gateway, caller, id, CampaignCommand::Cancel { reason, at: gateway.clock.now() }).await
}

fn check_reason(reason: Option<String>) -> AppResult<Option<String>> {
    if let Some(reason) = &reason {
        check::text(reason, "reason", REASON_CHARS_MAX)?;
    }
    Ok(reason)
}

async fn execute(
    gateway: &Gateway,
    caller: &Caller,
    id: CampaignId,
    command: CampaignCommand,
) -> AppResult<Written<CampaignView>> {
    let context = command::context(gateway, caller);
    let committed = gateway.bus.execute::<Campaign>(id.0, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, ""))?;
    view(caller, id, &committed.aggregate, committed.position)
}

/// A campaign that was not deleted.
async fn living(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<(CampaignId, infrastructure::ledger::Loaded<Campaign>)> {
    let (id, loaded) = command::known::<Campaign>(gateway, caller, id, "campaign").await?;
    if loaded.aggregate.deleted {
        return Err(AppError::not_found("campaign"));
    }
    Ok((CampaignId(id), loaded))
}

fn view(
    caller: &Caller,
    id: CampaignId,
    campaign: &Campaign,
    position: Position,
) -> AppResult<Written<CampaignView>> {
    let value =
        CampaignView::new(id, campaign, caller).ok_or_else(|| AppError::not_found("campaign"))?;
    Ok(Written { value, position })
}

async fn written(
    gateway: &Gateway,
    caller: &Caller,
    id: CampaignId,
    position: Position,
) -> AppResult<Written<CampaignView>> {
    let campaign = command::folded::<Campaign>(gateway, id.0, "campaign").await?;
    view(caller, id, &campaign, position)
}

/// One campaign, now or as it was known at an instant. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE: its progress comes from the read model.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    as_of: Option<DateTime<Utc>>,
    min_position: Option<Position>,
) -> AppResult<CampaignView> {
    caller.require(Scope::Read)?;
    let (id, loaded) = living(gateway, caller, id).await?;
    let campaign = match as_of {
        Some(at) => {
            command::known_at::<Campaign>(gateway, caller, &id.to_string(), at, "campaign").await?.1
        }
        None => loaded.aggregate,
    };
    read::wait(gateway, names::MESSAGES, min_position).await?;
    CampaignView::new(id, &campaign, caller).ok_or_else(|| AppError::not_found("campaign"))
}

async fn filter_of(
    gateway: &Gateway,
    caller: &Caller,
    filter: &CampaignFilter,
) -> AppResult<projections::CampaignFilter> {
    check::search(filter.search.as_ref())?;
    let accounts = command::accounts(gateway, caller, &filter.account_ids).await?;
    Ok(projections::CampaignFilter {
        account_ids: read::asked(accounts.into_iter().map(|id| id.0).collect()),
        status: read::asked(filter.status.clone()),
        search: filter.search.clone(),
    })
}

/// Campaigns, newest first, without deleted drafts. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an account; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    filter: CampaignFilter,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<CampaignView>> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, &filter).await?;
    let page = read::page_request(page)?;
    read::wait_directory(gateway, min_position).await?;
    read::wait(gateway, names::MESSAGES, min_position).await?;
    let found = read::queries(gateway).campaigns(&read::scope(caller), &filter, &page).await?;
    Ok(read::page(found, |stored| CampaignView::new(CampaignId(stored.id), &stored.state, caller)))
}

/// How many [`list`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an account.
pub async fn total(
    gateway: &Gateway,
    caller: &Caller,
    filter: &CampaignFilter,
) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, filter).await?;
    Ok(read::total(read::queries(gateway).count_campaigns(&read::scope(caller), &filter).await?))
}

/// Those of these campaigns that the caller may see. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn by_ids(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[CampaignId],
) -> AppResult<HashMap<CampaignId, CampaignView>> {
    caller.require(Scope::Read)?;
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let found = gateway.bus.load_many::<Campaign>(&ids).await?;
    let visible = found.into_iter().filter_map(|(id, loaded)| {
        let campaign = &loaded.aggregate;
        let is_visible = caller.may_see(campaign.workspace_id, campaign.account_id);
        Some((
            CampaignId(id),
            CampaignView::new(CampaignId(id), campaign, caller).filter(|_| is_visible)?,
        ))
    });
    Ok(visible.collect())
}
