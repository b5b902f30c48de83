//! Messages: sent singly and in batches, moved, cancelled, settled, looked up.

mod content;
mod launched;
mod send;

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use domain::api_key::Scope;
use domain::campaign::Campaign;
use domain::contact::Contact;
use domain::message::{
    Direction, InDoubtResolution, MediaKind, Message, MessageCommand, MessageError, MessageStatus,
};
use domain::port::Position;
use domain::primitives::{CampaignId, MessageId, Wamid};
use serde::Serialize;
use serde_json::Value;

use super::caller::Caller;
use super::command;
use super::error::{AppError, AppResult};
use super::page::{Page, PageArgs, Total};
use super::view::{MessageView, Written};
use super::{check, read};
use crate::app::Gateway;

pub(crate) use content::{PARAMETER_COUNT, PARAMETER_FORMAT};
pub use launched::launched_by;
pub(crate) use send::{Reply, TestSend, holder_of_number, reply, send_test};
pub use send::{send, send_many};

/// Messages of one `sendMessages`.
pub const BATCH_MAX: usize = 500;
/// Ids in one list of a filter.
const FILTER_MAX: usize = 200;
/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;
/// Clocks differ and forms stay open: what was due this recently goes now.
const LATE: Duration = Duration::minutes(5);
/// Further ahead is a slip of the pen.
const AHEAD: chrono::Duration = chrono::Duration::days(36_525);

/// A template, by id or by name and language.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TemplateMessage {
    pub template_id: Option<String>,
    pub name: Option<String>,
    pub language: Option<String>,
    /// Slot → value.
    pub parameters: Option<Value>,
    /// WhatsApp's own `components` of a send, in place of parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<Value>,
}

/// Uploaded media, or a link that WhatsApp fetches.
#[derive(Clone, Debug, Serialize)]
pub struct MediaInput {
    pub kind: MediaKind,
    pub link: Option<String>,
    pub media_id: Option<String>,
    pub caption: Option<String>,
    pub filename: Option<String>,
    /// Audio as a voice message.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub voice: bool,
}

/// A message to send: exactly one recipient and exactly one content.
#[derive(Clone, Default, Serialize)]
pub struct SendMessage {
    pub account_id: String,
    pub external_id: Option<String>,
    pub metadata: Option<Value>,
    /// E.164, or national in the account's region.
    pub to: Option<String>,
    pub user_id: Option<String>,
    pub contact_id: Option<String>,
    pub template: Option<TemplateMessage>,
    pub text: Option<String>,
    /// Whether the phone shows what the text links to; `None`: where it has a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_url: Option<bool>,
    pub media: Option<MediaInput>,
    pub interactive: Option<Value>,
    pub location: Option<Value>,
    pub contacts: Option<Value>,
    /// `{messageId, emoji}`; an empty emoji takes the reaction back.
    pub reaction: Option<Value>,
    /// The wamid this answers.
    pub reply_to: Option<String>,
    pub send_at: Option<DateTime<Utc>>,
    /// Seconds.
    pub time_to_live: Option<i32>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

impl std::fmt::Debug for SendMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendMessage").field("account_id", &self.account_id).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    pub workspace_id: Option<String>,
    pub external_ids: Vec<String>,
    pub account_ids: Vec<String>,
    pub campaign_ids: Vec<String>,
    /// Of this campaign alone, which the caller has been shown: `campaign_ids` only narrow that.
    pub within: Option<CampaignId>,
    pub contact_ids: Vec<String>,
    pub status: Vec<MessageStatus>,
    pub direction: Option<Direction>,
    pub created_from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub created_to: Option<DateTime<Utc>>,
}

/// Moves a message that has not left yet. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED for a time more than 5 min past; CONFLICT once it has left or ended.
pub async fn reschedule(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    send_at: DateTime<Utc>,
) -> AppResult<Written<MessageView>> {
    caller.require(Scope::Send)?;
    let (id, _) = command::known::<Message>(gateway, caller, id, "message").await?;
    let now = gateway.clock.now();
    let due_at = due_at(Some(send_at), now, "sendAt")?;
    execute(gateway, caller, MessageId(id), MessageCommand::Reschedule { due_at, at: now }).await
}

/// When a message falls due.
fn due_at(
    send_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    field: &str,
) -> AppResult<DateTime<Utc>> {
    let Some(send_at) = send_at else { return Ok(now) };
    if now - send_at > LATE {
        return Err(AppError::invalid(
            field,
            "lies more than 5 minutes in the past; use a later time, or leave it out",
        ));
    }
    if send_at - now > AHEAD {
        return Err(AppError::invalid(
            field,
            "lies more than a hundred years ahead; use an earlier time",
        ));
    }
    Ok(infrastructure::clock::truncate_to_ms(send_at).max(now))
}

/// Takes a message back that has not left yet. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `reason`; CONFLICT once it has left or ended.
pub async fn cancel(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    reason: Option<String>,
) -> AppResult<Written<MessageView>> {
    caller.require(Scope::Send)?;
    let (id, _) = command::known::<Message>(gateway, caller, id, "message").await?;
    if let Some(reason) = &reason {
        check::text(reason, "reason", REASON_CHARS_MAX)?;
    }
    let command = MessageCommand::Cancel { reason, at: gateway.clock.now() };
    execute(gateway, caller, MessageId(id), command).await
}

/// Settles a message whose outcome WhatsApp never told. SEND_AGAIN accepts a possible duplicate. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT for a message that is not in doubt.
pub async fn resolve_in_doubt(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    resolution: InDoubtResolution,
) -> AppResult<Written<MessageView>> {
    caller.require(Scope::Send)?;
    let (id, loaded) = command::known::<Message>(gateway, caller, id, "message").await?;
    if loaded.aggregate.attempt_count() == 0 {
        let status = loaded.aggregate.status();
        let error = MessageError::NotAllowed { action: "settled", status };
        return Err(AppError::domain(error, ""));
    }
    let now = gateway.clock.now();
    execute(
        gateway,
        caller,
        MessageId(id),
        MessageCommand::Resolve { resolution, due_at: now, at: now },
    )
    .await
}

async fn execute(
    gateway: &Gateway,
    caller: &Caller,
    id: MessageId,
    command: MessageCommand,
) -> AppResult<Written<MessageView>> {
    let context = command::context(gateway, caller);
    let committed = gateway.bus.execute::<Message>(id.0, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, ""))?;
    view(caller, id, &committed.aggregate, committed.position)
}

fn view(
    caller: &Caller,
    id: MessageId,
    message: &Message,
    position: Position,
) -> AppResult<Written<MessageView>> {
    let value =
        MessageView::new(id, message, caller).ok_or_else(|| AppError::not_found("message"))?;
    Ok(Written { value, position })
}

async fn written(
    gateway: &Gateway,
    caller: &Caller,
    id: MessageId,
    position: Position,
) -> AppResult<Written<MessageView>> {
    let message = command::folded::<Message>(gateway, id.0, "message").await?;
    view(caller, id, &message, position)
}

/// One message, now or as it was known at an instant. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE where the read models, which its account and campaign are read from, do not reach
/// `min_position`.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    as_of: Option<DateTime<Utc>>,
    min_position: Option<Position>,
) -> AppResult<MessageView> {
    caller.require(Scope::Read)?;
    read::wait_all(gateway, min_position).await?;
    // Folded from the log, which is never behind.
    let (id, message) = match as_of {
        Some(at) => command::known_at::<Message>(gateway, caller, id, at, "message").await?,
        None => {
            let (id, loaded) = command::known::<Message>(gateway, caller, id, "message").await?;
            (id, loaded.aggregate)
        }
    };
    MessageView::new(MessageId(id), &message, caller).ok_or_else(|| AppError::not_found("message"))
}

/// The message that WhatsApp knows by this id. Scopes READ and PERSONAL: the id holds the number.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for what is no id of WhatsApp's.
pub async fn by_wamid(
    gateway: &Gateway,
    caller: &Caller,
    wamid: &str,
) -> AppResult<Option<MessageView>> {
    caller.require(Scope::Read)?;
    caller.require(Scope::Personal)?;
    let wamid =
        Wamid::parse(wamid).map_err(|error| AppError::invalid("wamid", error.to_string()))?;
    let found = read::queries(gateway).message_by_wamid(&read::scope(caller), &wamid).await?;
    Ok(found.and_then(|stored| MessageView::new(MessageId(stored.id), &stored.state, caller)))
}

async fn filter_of(
    gateway: &Gateway,
    caller: &Caller,
    filter: &MessageFilter,
) -> AppResult<projections::MessageFilter> {
    let lists = [
        (filter.external_ids.len(), "filter.externalIds"),
        (filter.account_ids.len(), "filter.accountIds"),
        (filter.campaign_ids.len(), "filter.campaignIds"),
        (filter.contact_ids.len(), "filter.contactIds"),
    ];
    if let Some((_, field)) = lists.into_iter().find(|(len, _)| *len > FILTER_MAX) {
        return Err(AppError::invalid(field, format!("give at most {FILTER_MAX}")));
    }
    let workspace_id = match filter.workspace_id.as_deref() {
        Some(id) => {
            Some(command::workspace(gateway, caller, Some(id), "filter.workspaceId").await?.0)
        }
        None => None,
    };
    let accounts = command::accounts(gateway, caller, &filter.account_ids).await?;
    let mut campaigns = vec![];
    for id in &filter.campaign_ids {
        campaigns.push(command::known::<Campaign>(gateway, caller, id, "campaign").await?.0);
    }
    let campaigns = match filter.within {
        Some(CampaignId(within)) if campaigns.is_empty() => Some(vec![within]),
        Some(CampaignId(within)) => {
            Some(campaigns.into_iter().filter(|id| *id == within).collect())
        }
        None => read::asked(campaigns),
    };
    let mut contacts = vec![];
    for id in &filter.contact_ids {
        contacts.push(command::known::<Contact>(gateway, caller, id, "contact").await?.0);
    }
    Ok(projections::MessageFilter {
        workspace_id,
        external_ids: read::asked(filter.external_ids.clone()),
        account_ids: read::asked(accounts.into_iter().map(|id| id.0).collect()),
        campaign_ids: campaigns,
        contact_ids: read::asked(contacts),
        status: read::asked(filter.status.clone()),
        direction: filter.direction,
        created_from: filter.created_from,
        created_to: filter.created_to,
    })
}

/// Messages, newest first. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an id in the filter; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    filter: MessageFilter,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<MessageView>> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, &filter).await?;
    let page = read::page_request(page)?;
    // Its people are shown with it.
    read::wait_all(gateway, min_position).await?;
    let found = read::queries(gateway).messages(&read::scope(caller), &filter, &page).await?;
    Ok(read::page(found, |stored| MessageView::new(MessageId(stored.id), &stored.state, caller)))
}

/// How many [`list`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an id in the filter.
pub async fn total(gateway: &Gateway, caller: &Caller, filter: &MessageFilter) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, filter).await?;
    Ok(read::total(read::queries(gateway).count_messages(&read::scope(caller), &filter).await?))
}

/// Those of these messages that the caller may see. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn by_ids(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[MessageId],
) -> AppResult<HashMap<MessageId, MessageView>> {
    caller.require(Scope::Read)?;
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let found = read::queries(gateway).messages_by_id(&read::scope(caller), &ids).await?;
    let views = found.into_iter().filter_map(|(id, stored)| {
        Some((MessageId(id), MessageView::new(MessageId(id), &stored.state, caller)?))
    });
    Ok(views.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_due_now_or_later_and_never_long_ago() {
        let now: DateTime<Utc> = "2026-11-23T09:00:00Z".parse().unwrap();
        let minutes = |n| now + Duration::minutes(n);
        assert_eq!(due_at(None, now, "f").unwrap(), now);
        assert_eq!(due_at(Some(minutes(7)), now, "f").unwrap(), minutes(7));
        assert_eq!(due_at(Some(minutes(-5)), now, "f").unwrap(), now);
        let late = due_at(Some(minutes(-6)), now, "input.sendAt").unwrap_err();
        assert_eq!(late.field.as_deref(), Some("input.sendAt"));
    }
}
