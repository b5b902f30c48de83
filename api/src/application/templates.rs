//! Templates: drafted here, reviewed by WhatsApp, kept in step with what exists there.

mod whatsapp;

use std::collections::HashMap;

use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::port::Position;
use domain::primitives::{AccountId, TemplateId};
use domain::template::{Template, TemplateCategory, TemplateCommand, TemplateStatus};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::caller::Caller;
use super::command::{self, Once};
use super::error::{AppError, AppResult};
use super::page::{Page, PageArgs, Total};
use super::view::{TemplateView, Written};
use super::{check, read};
use crate::app::Gateway;

pub use whatsapp::{SyncResult, TemplateSample, delete, submit, sync, upload_sample};

/// Bytes of a template's components as JSON: a carousel of ten cards has about 20 kB.
const COMPONENTS_BYTES_MAX: usize = 128 * 1024;

/// A draft.
#[derive(Clone, Debug, Serialize)]
pub struct CreateTemplate {
    pub account_id: String,
    pub name: String,
    pub language: String,
    pub category: TemplateCategory,
    /// WhatsApp's own components array.
    pub components: Value,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// Changes to a template; what is left out stays.
#[derive(Clone, Debug, Default)]
pub struct UpdateTemplate {
    pub id: String,
    pub category: Option<TemplateCategory>,
    pub components: Option<Value>,
    pub expected_sequence: Option<i32>,
}

#[derive(Clone, Debug, Default)]
pub struct TemplateFilter {
    pub account_ids: Vec<String>,
    pub status: Vec<TemplateStatus>,
    pub category: Vec<TemplateCategory>,
    pub search: Option<String>,
}

/// Drafts a template. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the account; VALIDATION_FAILED with the path of what WhatsApp would refuse; CONFLICT where the
/// account has one of this name and language, or is disconnected.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    input: CreateTemplate,
) -> AppResult<Written<TemplateView>> {
    caller.require(Scope::Manage)?;
    let (account_id, account) =
        command::known::<Account>(gateway, caller, &input.account_id, "account").await?;
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    let (id, position) =
        match command::once::<Uuid>(gateway, caller, "createTemplate", key, &input, field).await? {
            Once::Done(id, position) => (id, position),
            Once::Now(idempotency) => {
                let account = account.aggregate;
                if account.status == AccountStatus::Disconnected {
                    return Err(AppError::conflict(
                        "the account is disconnected; connect it again",
                    ));
                }
                check::json(&input.components, "input.components", COMPONENTS_BYTES_MAX)?;
                let workspace_id =
                    account.workspace_id.ok_or_else(|| AppError::not_found("account"))?;
                let now = gateway.clock.now();
                let id = gateway.ids.next_id(now);
                let context = command::context(gateway, caller);
                let input = &input;
                command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                    Box::pin(async move {
                        let command = TemplateCommand::Draft {
                            workspace_id,
                            account_id: AccountId(account_id),
                            name: input.name.clone(),
                            language: input.language.clone(),
                            category: input.category,
                            components: input.components.clone(),
                            at: now,
                        };
                        tx.execute::<Template>(id, command)
                            .await
                            .map_err(|error| command::refused(error, "input"))?;
                        Ok(id)
                    })
                })
                .await?
            }
        };
    written(gateway, TemplateId(id), position).await
}

/// Changes a template. What was submitted before is submitted again for the change to reach WhatsApp. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT for a status that WhatsApp lets nobody edit in.
pub async fn update(
    gateway: &Gateway,
    caller: &Caller,
    input: UpdateTemplate,
) -> AppResult<Written<TemplateView>> {
    caller.require(Scope::Manage)?;
    let (id, loaded) = command::known::<Template>(gateway, caller, &input.id, "template").await?;
    command::check_sequence(input.expected_sequence, loaded.sequence)?;
    if let Some(components) = &input.components {
        check::json(components, "input.components", COMPONENTS_BYTES_MAX)?;
    }
    let expected = input.expected_sequence.map(|_| loaded.sequence);
    let command = TemplateCommand::Update {
        category: input.category,
        components: input.components,
        at: gateway.clock.now(),
    };
    let context = command::context(gateway, caller);
    let committed =
        gateway.bus.execute_expecting::<Template>(id, expected, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, "input"))?;
    let value = TemplateView::new(TemplateId(id), &committed.aggregate);
    let value = value.ok_or_else(|| AppError::not_found("template"))?;
    Ok(Written { value, position: committed.position })
}

async fn written(
    gateway: &Gateway,
    id: TemplateId,
    position: Position,
) -> AppResult<Written<TemplateView>> {
    let template = command::folded::<Template>(gateway, id.0, "template").await?;
    let value = TemplateView::new(id, &template).ok_or_else(|| AppError::not_found("template"))?;
    Ok(Written { value, position })
}

/// One template. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    min_position: Option<Position>,
) -> AppResult<TemplateView> {
    caller.require(Scope::Read)?;
    // Folded from the log, which is never behind; what is shown within it is not.
    read::wait_all(gateway, min_position).await?;
    let (id, loaded) = command::known::<Template>(gateway, caller, id, "template").await?;
    TemplateView::new(TemplateId(id), &loaded.aggregate)
        .ok_or_else(|| AppError::not_found("template"))
}

async fn filter_of(
    gateway: &Gateway,
    caller: &Caller,
    filter: &TemplateFilter,
) -> AppResult<projections::TemplateFilter> {
    check::search(filter.search.as_ref())?;
    let accounts = command::accounts(gateway, caller, &filter.account_ids).await?;
    Ok(projections::TemplateFilter {
        account_ids: read::asked(accounts.into_iter().map(|id| id.0).collect()),
        status: read::asked(filter.status.clone()),
        category: read::asked(filter.category.clone()),
        search: filter.search.clone(),
        ..projections::TemplateFilter::default()
    })
}

/// Templates, oldest first; deleted ones only where their status is asked for. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an account; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    filter: TemplateFilter,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<TemplateView>> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, &filter).await?;
    let page = read::page_request(page)?;
    read::wait_directory(gateway, min_position).await?;
    let found = read::queries(gateway).templates(&read::scope(caller), &filter, &page).await?;
    Ok(read::page(found, |stored| TemplateView::new(TemplateId(stored.id), &stored.state)))
}

/// How many [`list`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an account.
pub async fn total(
    gateway: &Gateway,
    caller: &Caller,
    filter: &TemplateFilter,
) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, filter).await?;
    Ok(read::total(read::queries(gateway).count_templates(&read::scope(caller), &filter).await?))
}

/// Those of these templates that the caller may see. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn by_ids(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[TemplateId],
) -> AppResult<HashMap<TemplateId, TemplateView>> {
    caller.require(Scope::Read)?;
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    // From the log: a payload may show a template that no read model knows yet.
    let found = gateway.bus.load_many::<Template>(&ids).await?;
    let visible = found.into_iter().filter_map(|(id, loaded)| {
        let template = &loaded.aggregate;
        let is_visible = caller.may_see(template.workspace_id, template.account_id);
        Some((TemplateId(id), TemplateView::new(TemplateId(id), template).filter(|_| is_visible)?))
    });
    Ok(visible.collect())
}
