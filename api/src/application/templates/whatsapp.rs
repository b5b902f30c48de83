//! Templates at WhatsApp: handed in for review, listed, deleted. Every call comes before the event that records it; a
//! crash in between is put right by the next submission or sync, which find the template by its name there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::port::Position;
use domain::primitives::{AccountId, TemplateId};
use domain::template::{
    Quality, SlotKind, Template, TemplateCategory, TemplateCommand, TemplateStatus,
    WhatsappTemplate,
};
use infrastructure::cloud_api::client::{CallError, Sample, TemplateFilter};
use infrastructure::cloud_api::wire;
use serde_json::Value;
use tracing::warn;
use uuid::Uuid;

use super::written;
use crate::app::Gateway;
use crate::application::accounts::{has_to_be_mended, unreachable};
use crate::application::caller::Caller;
use crate::application::check;
use crate::application::command;
use crate::application::error::{AppError, AppResult};
use crate::application::media::no_access;
use crate::application::read;
use crate::application::view::{TemplateView, Written};

/// What a sync did.
#[derive(Clone, Copy, Debug)]
pub struct SyncResult {
    pub added: u64,
    pub changed: u64,
    pub removed: u64,
    pub position: Position,
}

/// Hands a template to WhatsApp for review: a new one, or the change of one it knows. The verdict arrives by webhook.
/// Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT for a status that cannot be submitted, and where the token or the account has to be put
/// right first; VALIDATION_FAILED on `components` with WhatsApp's own words where it refuses; UNAVAILABLE where it could not
/// be asked.
pub async fn submit(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<TemplateView>> {
    caller.require(Scope::Manage)?;
    let (id, loaded) = command::known::<Template>(gateway, caller, id, "template").await?;
    let template = loaded.aggregate;
    // Judged before the call: what cannot be recorded is not to be asked for.
    let at = gateway.clock.now();
    if template.status == TemplateStatus::Pending {
        return written(gateway, TemplateId(id), loaded.position).await;
    }
    let rehearsal =
        TemplateCommand::RecordSubmitted { whatsapp_id: template.whatsapp_id.clone(), at };
    domain::GatewayAggregate::decide(&template, rehearsal)
        .map_err(|error| AppError::domain(error, ""))?;
    let account = account_of(gateway, &template).await?;
    let (api, access) = (gateway.api_of(provider(&account)?), access(gateway, &account).await?);
    let definition = definition(&template)?;
    let mut verdict = None;
    let whatsapp_id = match &template.whatsapp_id {
        Some(whatsapp_id) => {
            let edit = wire::template::EditTemplate {
                category: (template.status != TemplateStatus::Approved)
                    .then(|| definition.category.clone()),
                components: Some(definition.components),
                message_send_ttl_seconds: None,
            };
            api.edit_template(&access, whatsapp_id, &edit).await.map_err(refusal)?;
            whatsapp_id.clone()
        }
        None => match api.create_template(&access, &account.waba_id, &definition).await {
            Ok(created) => {
                verdict = created.status.map(status_of);
                created.id
            }
            Err(error) => match found_by_name(gateway, &account, &template).await {
                // Handed in before, by a call whose answer never came.
                Some(known) => {
                    verdict = Some(status_of(known.status));
                    known.id
                }
                None => return Err(refusal(error)),
            },
        },
    };
    let context = command::context(gateway, caller);
    let at = gateway.clock.now();
    let (template, whatsapp_id) = (&template, &whatsapp_id);
    let (_, position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            let current = command::loaded::<Template>(tx, id, "template").await?.aggregate;
            // Its webhook may have been faster than this answer.
            if current.status == template.status {
                let command =
                    TemplateCommand::RecordSubmitted { whatsapp_id: Some(whatsapp_id.clone()), at };
                tx.execute::<Template>(id, command)
                    .await
                    .map_err(|error| command::refused(error, ""))?;
                if verdict == Some(TemplateStatus::Approved) {
                    let command = TemplateCommand::RecordVerdict {
                        status: TemplateStatus::Approved,
                        reason: None,
                        at,
                    };
                    tx.execute::<Template>(id, command)
                        .await
                        .map_err(|error| command::refused(error, ""))?;
                }
            }
            Ok(())
        })
    })
    .await?;
    written(gateway, TemplateId(id), position).await
}

/// Deletes a template, at WhatsApp too where it knows it. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT where WhatsApp refuses; UNAVAILABLE where it could not be asked.
pub async fn delete(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<TemplateView>> {
    caller.require(Scope::Manage)?;
    let (id, loaded) = command::known::<Template>(gateway, caller, id, "template").await?;
    let template = loaded.aggregate;
    if template.status == TemplateStatus::Deleted {
        return written(gateway, TemplateId(id), loaded.position).await;
    }
    let account = account_of(gateway, &template).await?;
    if let Some(whatsapp_id) = &template.whatsapp_id
        && account.status != AccountStatus::Disconnected
    {
        let (api, access) = (gateway.api_of(provider(&account)?), access(gateway, &account).await?);
        let deleted =
            api.delete_template(&access, &account.waba_id, whatsapp_id, &template.name).await;
        if let Err(error) = deleted {
            // Gone there already is what was wanted.
            let still_there = match found_by_id(gateway, &account, whatsapp_id).await {
                Ok(found) => found,
                Err(_) => return Err(unreachable(error)),
            };
            if still_there {
                return Err(match error.refusal() {
                    Some(refused) if has_to_be_mended(&refused.consequence) => {
                        AppError::conflict(said(&error))
                    }
                    Some(_) | None => unreachable(error),
                });
            }
        }
    }
    let context = command::context(gateway, caller);
    let command = TemplateCommand::Delete { at: gateway.clock.now() };
    let committed = gateway.bus.execute::<Template>(id, command, &context).await;
    let position = committed.map_err(|error| command::refused(error, ""))?.position;
    written(gateway, TemplateId(id), position).await
}

/// Brings in the templates that exist at WhatsApp, and takes note of what changed or is gone there. Drafts stay. Scope
/// MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT where the account is disconnected, or it or its token has to be put right first;
/// UNAVAILABLE where WhatsApp could not be asked.
pub async fn sync(gateway: &Gateway, caller: &Caller, account_id: &str) -> AppResult<SyncResult> {
    caller.require(Scope::Manage)?;
    let (account_id, loaded) =
        command::known::<Account>(gateway, caller, account_id, "account").await?;
    let account = loaded.aggregate;
    if account.status == AccountStatus::Disconnected {
        return Err(AppError::conflict("the account is disconnected; connect it again"));
    }
    let workspace_id = account.workspace_id.ok_or_else(|| AppError::not_found("account"))?;
    let (api, access) = (gateway.api_of(provider(&account)?), access(gateway, &account).await?);
    let listing = api
        .templates(&access, &account.waba_id, &TemplateFilter::default())
        .await
        .map_err(unreachable)?;
    for problem in &listing.unreadable {
        warn!(account.id = %account_id, %problem, "a template of WhatsApp's list could not be read");
    }
    let is_whole = listing.unreadable.is_empty();
    let known = known_templates(gateway, AccountId(account_id)).await?;
    let mut result = SyncResult { added: 0, changed: 0, removed: 0, position: loaded.position };
    let context = command::context(gateway, caller);
    let mut seen = vec![];
    for listed in listing.items {
        let Some(listed) = translated(listed) else { continue };
        let same = known.iter().find(|(_, template)| {
            template.whatsapp_id.as_ref() == Some(&listed.whatsapp_id)
                || (template.name == listed.name && template.language == listed.language)
        });
        let id = match same {
            Some((id, _)) => *id,
            None => gateway.ids.next_id(gateway.clock.now()),
        };
        seen.push(id);
        let command = TemplateCommand::Sync {
            workspace_id,
            account_id: AccountId(account_id),
            template: Box::new(listed),
            at: gateway.clock.now(),
        };
        let committed = gateway.bus.execute::<Template>(id, command, &context).await;
        let committed = match committed {
            Ok(committed) => committed,
            // Brought in meanwhile by somebody else's sync.
            Err(infrastructure::ledger::CommandError::IdentityTaken { .. }) => continue,
            Err(error) => return Err(command::refused(error, "")),
        };
        if committed.events > 0 {
            result.position = result.position.max(committed.position);
            if same.is_some() { result.changed += 1 } else { result.added += 1 }
        }
    }
    // What could not be read may be any of those missing, so then nothing counts as gone.
    for (id, template) in known.iter().filter(|_| is_whole) {
        if template.whatsapp_id.is_none() || seen.contains(id) {
            continue;
        }
        let command = TemplateCommand::Delete { at: gateway.clock.now() };
        let committed = gateway.bus.execute::<Template>(*id, command, &context).await;
        let committed = committed.map_err(|error| command::refused(error, ""))?;
        if committed.events > 0 {
            result.removed += 1;
            result.position = result.position.max(committed.position);
        }
    }
    Ok(result)
}

/// Templates of an account that are not deleted, read to the end.
async fn known_templates(
    gateway: &Gateway,
    account_id: AccountId,
) -> AppResult<Vec<(Uuid, Template)>> {
    // The last thing that happened may be a template that was drafted just now.
    let head = domain::port::EventFeed::head(&gateway.ledger).await?;
    read::wait_directory(gateway, Some(head)).await?;
    let filter = projections::TemplateFilter {
        account_ids: Some(vec![account_id.0]),
        ..projections::TemplateFilter::default()
    };
    let mut all = vec![];
    let mut after = None;
    loop {
        let request = projections::PageRequest::after(projections::PAGE_MAX, after);
        let page = read::queries(gateway)
            .templates(&projections::Scope::everything(), &filter, &request)
            .await?;
        after = page.end;
        let has_next = page.has_next;
        all.extend(page.into_items().into_iter().map(|stored| (stored.id, stored.into_state())));
        if !has_next {
            return Ok(all);
        }
    }
}

async fn account_of(gateway: &Gateway, template: &Template) -> AppResult<Account> {
    let id = template.account_id.ok_or_else(|| AppError::not_found("account"))?;
    command::folded::<Account>(gateway, id.0, "account").await
}

fn provider(account: &Account) -> AppResult<domain::account::AccountProvider> {
    if account.status == AccountStatus::Disconnected {
        return Err(AppError::conflict("the account is disconnected; connect it again"));
    }
    account.provider.ok_or_else(|| AppError::not_found("account"))
}

/// A file for the sample of a template's media header.
#[derive(Clone)]
pub struct TemplateSample {
    pub account_id: String,
    pub file_name: String,
    pub mime_type: String,
    /// base64, as RFC 4648 has it.
    pub data: String,
}

impl std::fmt::Debug for TemplateSample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemplateSample").field("mime_type", &self.mime_type).finish_non_exhaustive()
    }
}

/// The largest sample, in bytes: what fits into a request in base64.
pub const SAMPLE_BYTES_MAX: usize = 3_000_000;
/// The longest name of a file, in characters.
const FILE_NAME_CHARS_MAX: usize = 200;
/// What Meta's resumable upload takes for headers.
const SAMPLE_TYPES: [&str; 5] =
    ["image/jpeg", "image/jpg", "image/png", "video/mp4", "application/pdf"];

/// Uploads a sample for the image, video or document header of a template and answers the handle that names it: what goes
/// into `example.header_handle`. Records nothing. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where the account is disconnected or its token does not work;
/// UNAVAILABLE where WhatsApp could not be asked.
pub async fn upload_sample(
    gateway: &Gateway,
    caller: &Caller,
    sample: TemplateSample,
) -> AppResult<String> {
    caller.require(Scope::Manage)?;
    let (_, loaded) =
        command::known::<Account>(gateway, caller, &sample.account_id, "account").await?;
    let account = loaded.aggregate;
    check::text(&sample.file_name, "fileName", FILE_NAME_CHARS_MAX)?;
    if !SAMPLE_TYPES.contains(&sample.mime_type.as_str()) {
        let problem = format!("WhatsApp takes {} as samples", SAMPLE_TYPES.join(", "));
        return Err(AppError::invalid("mimeType", problem));
    }
    let content = STANDARD
        .decode(sample.data.as_bytes())
        .map_err(|_| AppError::invalid("data", "use the file's bytes in base64"))?;
    if content.is_empty() || content.len() > SAMPLE_BYTES_MAX {
        let problem = format!("use a file of 1 to {SAMPLE_BYTES_MAX} bytes");
        return Err(AppError::invalid("data", problem));
    }
    if account.status == AccountStatus::Disconnected {
        return Err(AppError::conflict("the account is disconnected; connect it again"));
    }
    let (api, access) = (gateway.api_of(provider(&account)?), access(gateway, &account).await?);
    let app_id = api.app_id(&access).await.map_err(unreachable)?.ok_or_else(|| {
        AppError::conflict(
            "WhatsApp does not say which app the account's token is of; give it a token of a system user with \
             rotateAccountCredentials",
        )
    })?;
    let sample = Sample {
        mime_type: sample.mime_type,
        file_name: sample.file_name,
        content: Bytes::from(content),
    };
    api.upload_sample(&access, &app_id, &sample).await.map_err(unreachable)
}

async fn access(
    gateway: &Gateway,
    account: &Account,
) -> AppResult<infrastructure::cloud_api::client::Access> {
    gateway.access(account).await.map_err(no_access)
}

fn definition(template: &Template) -> AppResult<wire::template::CreateTemplate> {
    let category = template.category.ok_or_else(|| AppError::not_found("template"))?;
    let components =
        template.parsed().map_err(|error| AppError::invalid(error.field, error.problem))?;
    // WhatsApp's `parameter_format` holds for the whole template.
    let is_named = components.slots().iter().any(|slot| {
        let variable = slot.name.rsplit('.').next().unwrap_or_default();
        slot.kind == SlotKind::Text && !variable.bytes().all(|b| b.is_ascii_digit())
    });
    let wire_components = serde_json::from_value(template.components.clone());
    let wire_components = wire_components
        .map_err(|_| AppError::invalid("components", "use WhatsApp's own components array"))?;
    Ok(wire::template::CreateTemplate {
        name: template.name.clone(),
        language: template.language.clone(),
        category: match category {
            TemplateCategory::Marketing => wire::template::Category::Marketing,
            TemplateCategory::Utility => wire::template::Category::Utility,
            TemplateCategory::Authentication => wire::template::Category::Authentication,
        },
        parameter_format: is_named.then_some(wire::template::ParameterFormat::Named),
        message_send_ttl_seconds: None,
        components: wire_components,
        extra: Default::default(),
    })
}

/// What WhatsApp tells the author.
fn said(error: &CallError) -> String {
    match error.refusal() {
        Some(refusal) => {
            let own = [
                refusal.user_title.as_deref(),
                refusal.details.as_deref().or(refusal.message.as_deref()),
            ];
            let own: Vec<&str> = own.into_iter().flatten().collect();
            if own.is_empty() {
                format!("WhatsApp refused: {}", refusal.consequence.explanation())
            } else {
                format!("WhatsApp refused: {}", own.join(": "))
            }
        }
        None => error.to_string(),
    }
}

fn refusal(error: CallError) -> AppError {
    match error.refusal() {
        // A token that does not work or too many calls are no fault of the template's.
        Some(refused) if refused.consequence.account_stop || refused.consequence.is_retryable() => {
            unreachable(error)
        }
        Some(_) => AppError::invalid("components", said(&error)),
        None => unreachable(error),
    }
}

async fn found_by_name(
    gateway: &Gateway,
    account: &Account,
    template: &Template,
) -> Option<wire::template::Template> {
    let filter = TemplateFilter {
        name: Some(template.name.clone()),
        language: Some(template.language.clone()),
        status: None,
    };
    let api = gateway.api_of(provider(account).ok()?);
    let access = gateway.access(account).await.ok()?;
    let listing = api.templates(&access, &account.waba_id, &filter).await.ok()?;
    let is_ours = |listed: &wire::template::Template| {
        listed.name == template.name
            && listed.language == template.language
            && Value::Array(listed.components.clone()) == template.components
    };
    listing.items.into_iter().find(is_ours)
}

async fn found_by_id(gateway: &Gateway, account: &Account, whatsapp_id: &str) -> AppResult<bool> {
    let (api, access) = (gateway.api_of(provider(account)?), access(gateway, account).await?);
    match api.template(&access, whatsapp_id).await {
        Ok(template) => Ok(!matches!(
            template.status,
            wire::template::TemplateStatus::Deleted
                | wire::template::TemplateStatus::PendingDeletion
        )),
        // "Object does not exist" (100/33) is how Meta says that it is gone.
        Err(error) if error.refusal().is_some_and(|refusal| refusal.code == Some(100)) => Ok(false),
        Err(error) => Err(unreachable(error)),
    }
}

/// A listed template in the domain's words. `None`: a category or a status that cannot be sent with and has no word here.
fn translated(listed: wire::template::Template) -> Option<WhatsappTemplate> {
    let status = status_of(listed.status);
    if status == TemplateStatus::Deleted {
        return None;
    }
    let score = listed.quality_score.and_then(|quality| quality.score);
    let reason = listed.rejected_reason.filter(|reason| !reason.is_empty() && reason != "NONE");
    Some(WhatsappTemplate {
        whatsapp_id: listed.id,
        name: listed.name,
        language: listed.language,
        category: TemplateCategory::parse(listed.category.as_str())?,
        status,
        status_reason: reason
            .filter(|_| status != TemplateStatus::Approved && status != TemplateStatus::Pending),
        components: Value::Array(listed.components),
        quality: score.as_deref().map(Quality::parse).unwrap_or_default(),
    })
}

/// WhatsApp has more words than there are differences for a sender.
fn status_of(status: wire::template::TemplateStatus) -> TemplateStatus {
    use wire::template::TemplateStatus as Theirs;
    match status {
        Theirs::Approved => TemplateStatus::Approved,
        Theirs::Pending | Theirs::InAppeal => TemplateStatus::Pending,
        Theirs::Rejected => TemplateStatus::Rejected,
        Theirs::Paused => TemplateStatus::Paused,
        Theirs::Deleted | Theirs::PendingDeletion => TemplateStatus::Deleted,
        Theirs::Disabled
        | Theirs::LimitExceeded
        | Theirs::Locked
        | Theirs::Archived
        | Theirs::Other(_) => TemplateStatus::Disabled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(status: &str, category: &str) -> wire::template::Template {
        serde_json::from_value(serde_json::json!({
            "id": "1", "name": "hello", "language": "en_US", "status": status, "category": category,
            "components": [{ "type": "BODY", "text": "Hi" }], "rejected_reason": "NONE",
            "quality_score": { "score": "GREEN" },
        }))
        .unwrap()
    }

    #[test]
    fn a_listed_template_is_translated_and_a_deleted_one_is_not() {
        let template = translated(listed("APPROVED", "MARKETING")).unwrap();
        assert_eq!(template.status, TemplateStatus::Approved);
        assert_eq!(template.quality, Quality::Green);
        assert_eq!(template.status_reason, None);
        assert!(translated(listed("DELETED", "MARKETING")).is_none());
        assert_eq!(
            translated(listed("SOMETHING_NEW", "UTILITY")).unwrap().status,
            TemplateStatus::Disabled
        );
        assert!(translated(listed("APPROVED", "SOMETHING_NEW")).is_none());
    }
}
