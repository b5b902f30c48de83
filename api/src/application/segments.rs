//! Segments: named rules over contacts, evaluated when they are used.

use domain::api_key::Scope;
use domain::port::Position;
use domain::primitives::{CampaignId, ContactId, SegmentId};
use domain::segment::{Rule, Segment, SegmentCommand};
use projections::names;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::caller::Caller;
use super::command::{self, Once};
use super::error::{AppError, AppResult};
use super::page::{self, Page, PageArgs, Total};
use super::view::{ContactView, SegmentView, Written};
use super::{check, read};
use crate::app::Gateway;

/// Bytes of a rule as JSON.
const RULE_BYTES_MAX: usize = 64 * 1024;

/// A segment to make.
#[derive(Clone, Debug, Serialize)]
pub struct CreateSegment {
    pub workspace_id: Option<String>,
    pub name: String,
    pub rule: Value,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// Whom a rule holds for now.
#[derive(Clone, Debug)]
pub struct SegmentPreview {
    pub count: u64,
    pub sample: Vec<ContactView>,
}

/// Makes a segment. Scope MANAGE, and PERSONAL where its rule asks for attributes.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace or a campaign that the rule names; VALIDATION_FAILED with the path in the rule;
/// CONFLICT where the workspace has one of this name.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    input: CreateSegment,
) -> AppResult<Written<SegmentView>> {
    caller.require(Scope::Manage)?;
    let workspace =
        command::workspace(gateway, caller, input.workspace_id.as_deref(), "input.workspaceId")
            .await?;
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    let (id, position) =
        match command::once::<Uuid>(gateway, caller, "createSegment", key, &input, field).await? {
            Once::Done(id, position) => (id, position),
            Once::Now(idempotency) => {
                let rule = check_rule(gateway, caller, &input.rule, "input").await?;
                may_ask(caller, &rule)?;
                let now = gateway.clock.now();
                let id = gateway.ids.next_id(now);
                let context = command::context(gateway, caller);
                let input = &input;
                command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                    Box::pin(async move {
                        let command = SegmentCommand::Create {
                            workspace_id: workspace,
                            name: input.name.clone(),
                            rule: input.rule.clone(),
                            at: now,
                        };
                        tx.execute::<Segment>(id, command)
                            .await
                            .map_err(|error| command::refused(error, "input"))?;
                        Ok(id)
                    })
                })
                .await?
            }
        };
    let segment = command::folded::<Segment>(gateway, id, "segment").await?;
    view(caller, SegmentId(id), &segment, position)
}

/// Renames a segment or gives it another rule; what is left out stays. Scope MANAGE, and PERSONAL for a rule that asks for
/// attributes.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where the workspace has another of this name.
pub async fn update(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    name: Option<String>,
    rule: Option<Value>,
) -> AppResult<Written<SegmentView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = living(gateway, caller, id).await?;
    if let Some(rule) = &rule {
        let rule = check_rule(gateway, caller, rule, "").await?;
        may_ask(caller, &rule)?;
    }
    execute(gateway, caller, id, SegmentCommand::Update { name, rule, at: gateway.clock.now() })
        .await
}

/// Deletes a segment. Campaigns that name it and have not started yet will not start without it. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn delete(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<SegmentView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = command::known::<Segment>(gateway, caller, id, "segment").await?;
    execute(gateway, caller, SegmentId(id), SegmentCommand::Delete { at: gateway.clock.now() })
        .await
}

async fn execute(
    gateway: &Gateway,
    caller: &Caller,
    id: SegmentId,
    command: SegmentCommand,
) -> AppResult<Written<SegmentView>> {
    let context = command::context(gateway, caller);
    let committed = gateway.bus.execute::<Segment>(id.0, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, ""))?;
    view(caller, id, &committed.aggregate, committed.position)
}

fn view(
    caller: &Caller,
    id: SegmentId,
    segment: &Segment,
    position: Position,
) -> AppResult<Written<SegmentView>> {
    let value =
        SegmentView::new(id, segment, caller).ok_or_else(|| AppError::not_found("segment"))?;
    Ok(Written { value, position })
}

async fn living(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<(SegmentId, Segment)> {
    let (id, loaded) = command::known::<Segment>(gateway, caller, id, "segment").await?;
    if loaded.aggregate.deleted {
        return Err(AppError::not_found("segment"));
    }
    Ok((SegmentId(id), loaded.aggregate))
}

/// [`living`] for whoever may learn whom it holds, once the lists go by its rule as it is now: a new one would hold nobody, a
/// changed one whom it held before.
async fn known_to_lists(gateway: &Gateway, caller: &Caller, id: SegmentId) -> AppResult<()> {
    may_be_asked(caller, &living(gateway, caller, &id.to_string()).await?.1)?;
    let loaded = gateway.bus.load::<Segment>(id.0).await?;
    read::wait_directory(gateway, loaded.map(|loaded| loaded.position)).await
}

/// A rule is one, and names only what the caller may see.
async fn check_rule(
    gateway: &Gateway,
    caller: &Caller,
    rule: &Value,
    prefix: &str,
) -> AppResult<Rule> {
    let under = |field: String| if prefix.is_empty() { field } else { format!("{prefix}.{field}") };
    check::json(rule, &under("rule".to_owned()), RULE_BYTES_MAX)?;
    let parsed =
        Rule::parse(rule).map_err(|error| AppError::invalid(under(error.field), error.problem))?;
    let mut campaigns = vec![];
    campaigns_of(&parsed, &mut campaigns);
    for campaign in campaigns {
        let id = campaign.to_string();
        command::known::<domain::campaign::Campaign>(gateway, caller, &id, "campaign").await?;
    }
    Ok(parsed)
}

fn campaigns_of(rule: &Rule, found: &mut Vec<CampaignId>) {
    match rule {
        Rule::All(rules) | Rule::Any(rules) | Rule::Not(rules) => {
            rules.iter().for_each(|rule| campaigns_of(rule, found));
        }
        Rule::Campaign { id, .. } => found.push(*id),
        _ => {}
    }
}

/// One segment. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    min_position: Option<Position>,
) -> AppResult<SegmentView> {
    caller.require(Scope::Read)?;
    // Folded from the log, which is never behind; whom it holds is not.
    read::wait_all(gateway, min_position).await?;
    let (id, segment) = living(gateway, caller, id).await?;
    SegmentView::new(id, &segment, caller).ok_or_else(|| AppError::not_found("segment"))
}

/// Segments, oldest first. Scope READ.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<SegmentView>> {
    caller.require(Scope::Read)?;
    let page = read::page_request(page)?;
    read::wait_all(gateway, min_position).await?;
    let found = read::queries(gateway).segments(&read::scope(caller), &page).await?;
    Ok(read::page(found, |stored| SegmentView::new(SegmentId(stored.id), &stored.state, caller)))
}

/// How many [`list`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn total(gateway: &Gateway, caller: &Caller) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    Ok(read::total(read::queries(gateway).count_segments(&read::scope(caller)).await?))
}

/// How many people are in a segment now. Scope READ, and PERSONAL where its rule asks for attributes.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE.
pub async fn size(
    gateway: &Gateway,
    caller: &Caller,
    id: SegmentId,
    min_position: Option<Position>,
) -> AppResult<u64> {
    caller.require(Scope::Read)?;
    let (_, segment) = living(gateway, caller, &id.to_string()).await?;
    let rule = segment.parsed().map_err(AppError::internal)?;
    may_ask(caller, &rule)?;
    let workspace = segment.workspace_id.ok_or_else(|| AppError::not_found("segment"))?;
    read::wait(gateway, names::CONTACTS, min_position).await?;
    read::wait(gateway, names::MESSAGES, min_position).await?;
    Ok(read::queries(gateway).count_rule(workspace.0, &rule).await?)
}

/// The people of a segment. Scope READ, and PERSONAL where its rule asks for attributes.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED for a page that is none.
pub async fn contacts(
    gateway: &Gateway,
    caller: &Caller,
    id: SegmentId,
    page: PageArgs,
) -> AppResult<Page<ContactView>> {
    caller.require(Scope::Read)?;
    known_to_lists(gateway, caller, id).await?;
    let page = read::page_request(page)?;
    let found =
        read::queries(gateway).contacts(&read::scope(caller), &of_segment(id), &page).await?;
    Ok(read::page(found, |stored| ContactView::new(ContactId(stored.id), &stored.state, caller)))
}

/// How many [`contacts`] would go through. Scopes as there.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn contacts_total(gateway: &Gateway, caller: &Caller, id: SegmentId) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    known_to_lists(gateway, caller, id).await?;
    Ok(read::total(
        read::queries(gateway).count_contacts(&read::scope(caller), &of_segment(id)).await?,
    ))
}

fn of_segment(id: SegmentId) -> projections::ContactFilter {
    projections::ContactFilter { segment_id: Some(id.0), ..projections::ContactFilter::default() }
}

/// Whom a rule that is not saved yet would hold for. Scope READ, and PERSONAL where it asks for attributes: otherwise a
/// mask could be lifted by guessing.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace; VALIDATION_FAILED with the path in the rule.
pub async fn preview(
    gateway: &Gateway,
    caller: &Caller,
    rule: Value,
    workspace_id: Option<&str>,
    first: Option<i32>,
) -> AppResult<SegmentPreview> {
    caller.require(Scope::Read)?;
    let workspace = command::workspace(gateway, caller, workspace_id, "workspaceId").await?;
    let first = page::limit(first, "first")?;
    let rule = check_rule(gateway, caller, &rule, "").await?;
    may_ask(caller, &rule)?;
    let queries = read::queries(gateway);
    let count = queries.count_rule(workspace.0, &rule).await?;
    let sample = queries.sample_rule(workspace.0, &rule, first).await?;
    let sample = sample
        .iter()
        .filter_map(|stored| ContactView::new(ContactId(stored.id), &stored.state, caller));
    Ok(SegmentPreview { count, sample: sample.collect() })
}

/// Whether the caller may learn whom a rule holds for. Attributes are masked, and asking for one value after the other would
/// tell what they hold.
///
/// # Errors
/// FORBIDDEN.
fn may_ask(caller: &Caller, rule: &Rule) -> AppResult<()> {
    if asks_for_attributes(rule) { caller.require(Scope::Personal) } else { Ok(()) }
}

/// The same of a segment's rule. A campaign may have it as its audience all the same: who made the rule may see what it asks
/// for, and that a person got a message is no secret from whoever sends.
///
/// # Errors
/// FORBIDDEN.
pub(super) fn may_be_asked(caller: &Caller, segment: &Segment) -> AppResult<()> {
    may_ask(caller, &segment.parsed().map_err(AppError::internal)?)
}

fn asks_for_attributes(rule: &Rule) -> bool {
    match rule {
        Rule::All(rules) | Rule::Any(rules) | Rule::Not(rules) => {
            rules.iter().any(asks_for_attributes)
        }
        Rule::Attribute { .. } => true,
        _ => false,
    }
}
