//! Conversations: what a number and a person have to say to each other, for the people who answer.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::account::Account;
use domain::api_key::Scope;
use domain::contact::{Contact, HALVES_MAX};
use domain::conversation::{
    Conversation, ConversationCommand, Handling, Inbound, Opening, ReadMark, ReceiptFailure,
};
use domain::delivery::{is_window_open, window_until};
use domain::message::Message;
use domain::port::Position;
use domain::primitives::{
    AccountId, Actor, ConsoleUserId, ContactId, ConversationId, MessageId, Personal, WorkspaceId,
    conversation_id,
};
use domain::user::User;
use infrastructure::ledger::{Committed, Context, Loaded};
use projections::{ConversationRow, Place, names};
use tracing::warn;
use uuid::Uuid;

use super::caller::Caller;
use super::cloud_api;
use super::command;
use super::error::{AppError, AppResult, ErrorCode};
use super::messages::{self, MediaInput, SendMessage, TemplateMessage};
use super::page::{Page, PageArgs, Total};
use super::view::{ContactView, ConversationView, MessageView, Written};
use super::{check, contacts, read};
use crate::app::Gateway;
use crate::worker::people::{People, windows};

/// Ids in one list of a filter.
const FILTER_MAX: usize = 200;

#[derive(Clone, Debug, Default)]
pub struct ConversationFilter {
    pub workspace_id: Option<String>,
    pub account_ids: Vec<String>,
    pub handling: Vec<Handling>,
    /// Whether there is something that nobody has read.
    pub unread: Option<bool>,
    pub assigned_to: Option<String>,
    /// In the person's name, number, external id or username.
    pub search: Option<String>,
}

/// An answer to a person: exactly one of text, media and template.
#[derive(Clone, Default)]
pub struct Reply {
    pub conversation_id: String,
    pub text: Option<String>,
    pub media: Option<MediaInput>,
    pub template: Option<TemplateMessage>,
    /// The wamid this answers.
    pub reply_to: Option<String>,
    pub idempotency_key: Option<String>,
}

/// One conversation. One whose contact was merged into another is that one's. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE where the read models do not reach `min_position`.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    min_position: Option<Position>,
) -> AppResult<ConversationView> {
    caller.require(Scope::Read)?;
    read::wait_all(gateway, min_position).await?;
    let id = command::id::<ConversationId>(id, "conversation")?;
    match row(gateway, caller, id).await? {
        // What was done about it a moment ago shows in its own stream.
        Some(row) => {
            let loaded = gateway.bus.load::<Conversation>(id.0).await?;
            Ok(ConversationView::new(row, loaded.as_ref().map(|loaded| &loaded.aggregate)))
        }
        None => {
            let (id, loaded) = known(gateway, caller, &id.to_string()).await?;
            view(gateway, caller, id, &loaded.aggregate).await
        }
    }
}

async fn row(
    gateway: &Gateway,
    caller: &Caller,
    id: ConversationId,
) -> AppResult<Option<ConversationRow>> {
    let found = read::queries(gateway).conversations_by_id(&read::scope(caller), &[id.0]).await?;
    Ok(found.into_values().next())
}

async fn view(
    gateway: &Gateway,
    caller: &Caller,
    id: ConversationId,
    conversation: &Conversation,
) -> AppResult<ConversationView> {
    let row = row(gateway, caller, id).await?;
    let row = row.or_else(|| unlisted(id, conversation));
    let row = row.ok_or_else(|| AppError::not_found("conversation"))?;
    Ok(ConversationView::new(row, Some(conversation)))
}

/// As lists will have it once they know it.
fn unlisted(id: ConversationId, conversation: &Conversation) -> Option<ConversationRow> {
    let opened_at = conversation.opened_at?;
    let opened = Place::new(opened_at, Uuid::nil());
    let window = conversation.window_expires_at;
    Some(ConversationRow {
        id: id.0,
        workspace_id: conversation.workspace_id?.0,
        account_id: conversation.account_id?.0,
        contact_id: conversation.contact_id?.0,
        opened_at: Some(opened_at),
        first: opened,
        last: opened,
        last_inbound: opened,
        window_at: window.map(|until| until - domain::delivery::SERVICE_WINDOW),
        read: conversation.read.map(Place::from),
        handling: conversation.handling,
        assigned_to: conversation.assigned_to.map(|id| id.0),
        continues: None,
    })
}

/// A conversation that the caller may see, with what its stream says. One that should be open and is not yet is opened: of
/// messages from before conversations were written down, or of a contact who has just taken another's place.
async fn known(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<(ConversationId, Loaded<Conversation>)> {
    let id = command::id::<ConversationId>(id, "conversation")?;
    let (id, loaded) = match loaded(gateway, caller, id).await? {
        Some(loaded) => (id, loaded),
        None => return Err(AppError::not_found("conversation")),
    };
    let (Some(account), Some(contact)) = (loaded.aggregate.account_id, loaded.aggregate.contact_id)
    else {
        return Err(AppError::not_found("conversation"));
    };
    let kept = kept(gateway, contact).await?;
    if kept == contact {
        return Ok((id, loaded));
    }
    let id = conversation_id(account, kept);
    let found = self::loaded(gateway, caller, id).await?;
    Ok((id, found.ok_or_else(|| AppError::not_found("conversation"))?))
}

async fn loaded(
    gateway: &Gateway,
    caller: &Caller,
    id: ConversationId,
) -> AppResult<Option<Loaded<Conversation>>> {
    let known = async || command::known::<Conversation>(gateway, caller, &id.to_string(), "").await;
    match known().await {
        Ok((_, loaded)) => return Ok(Some(loaded)),
        Err(error) if error.code == ErrorCode::NotFound => {}
        Err(error) => return Err(error),
    }
    match row(gateway, caller, id).await? {
        Some(row) if row.opened_at.is_none() => {
            open(gateway, &row).await?;
            Ok(Some(known().await?.1))
        }
        _ => Ok(None),
    }
}

/// Who speaks for the person, in the end.
async fn kept(gateway: &Gateway, mut contact: ContactId) -> AppResult<ContactId> {
    // One after the other, at worst.
    for _ in 0..=HALVES_MAX {
        let loaded = gateway.bus.load::<Contact>(contact.0).await?;
        match loaded.and_then(|loaded| loaded.aggregate.merged_into) {
            Some(into) => contact = into,
            None => break,
        }
    }
    Ok(contact)
}

/// Writes down that a conversation is open which lists know already.
///
/// # Errors
/// UNAVAILABLE; CONFLICT where its stream is another's.
pub(crate) async fn open(
    gateway: &Gateway,
    row: &ConversationRow,
) -> AppResult<Committed<Conversation>> {
    let opening = Opening {
        first: Inbound {
            workspace_id: WorkspaceId(row.workspace_id),
            account_id: AccountId(row.account_id),
            contact_id: ContactId(row.contact_id),
            message_id: MessageId(row.first.id),
            opens_window: row.window_at.is_some(),
            at: row.first.at(),
        },
        last_window_at: row.window_at,
        handling: row.handling,
        assigned_to: row.assigned_to.map(ConsoleUserId),
        read: row.read.map(Place::mark),
        continues: row.continues.map(ConversationId),
    };
    let now = gateway.clock.now();
    let context = Context::new(Actor::process("conversations"), gateway.ids.next_id(now));
    let command = ConversationCommand::Open(Box::new(opening));
    let committed = gateway.bus.execute::<Conversation>(row.id, command, &context).await;
    committed.map_err(|error| command::refused(error, ""))
}

async fn filter_of(
    gateway: &Gateway,
    caller: &Caller,
    filter: &ConversationFilter,
) -> AppResult<projections::ConversationFilter> {
    if filter.search.as_ref().is_some_and(|text| !text.trim().is_empty()) {
        // Otherwise a mask could be lifted by guessing.
        caller.require(Scope::Personal)?;
    }
    check::at_most(&filter.account_ids, FILTER_MAX, "filter.accountIds")?;
    check::search(filter.search.as_ref())?;
    let workspace_id = match filter.workspace_id.as_deref() {
        Some(id) => {
            Some(command::workspace(gateway, caller, Some(id), "filter.workspaceId").await?.0)
        }
        None => None,
    };
    let accounts = command::accounts(gateway, caller, &filter.account_ids).await?;
    let assigned_to = filter.assigned_to.as_deref();
    let assigned_to = assigned_to.map(|id| command::id::<ConsoleUserId>(id, "user")).transpose()?;
    Ok(projections::ConversationFilter {
        workspace_id,
        account_ids: read::asked(accounts.into_iter().map(|id| id.0).collect()),
        handling: read::asked(filter.handling.clone()),
        unread: filter.unread,
        assigned_to: assigned_to.map(|id| id.0),
        search: filter.search.clone(),
    })
}

/// Conversations, the newest activity first. Scope READ; searching for somebody needs PERSONAL too.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an id in the filter; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    filter: ConversationFilter,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<ConversationView>> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, &filter).await?;
    let page = read::page_request(page)?;
    // Its people are shown with it.
    read::wait_all(gateway, min_position).await?;
    let found = read::queries(gateway).conversations(&read::scope(caller), &filter, &page).await?;
    Ok(read::page(found, |row| Some(ConversationView::new(row, None))))
}

/// How many [`list`] would go through. Scope as there.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an id in the filter.
pub async fn total(
    gateway: &Gateway,
    caller: &Caller,
    filter: &ConversationFilter,
) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, filter).await?;
    let queries = read::queries(gateway);
    Ok(read::total(queries.count_conversations(&read::scope(caller), &filter).await?))
}

/// Everyone whom the person is.
async fn people(gateway: &Gateway, of: &ConversationView) -> AppResult<Vec<Uuid>> {
    let contact = of.row.contact_id;
    let mut people = read::queries(gateway).halves_of(&[contact]).await?;
    Ok(people.remove(&contact).unwrap_or_else(|| vec![contact]))
}

/// The person. Scope READ.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn contact(
    gateway: &Gateway,
    caller: &Caller,
    of: &ConversationView,
) -> AppResult<ContactView> {
    contacts::get(gateway, caller, &of.row.contact_id.to_string(), None, None).await
}

/// How many messages of the person nobody has read, up to [`projections::UNREAD_MAX`]. Scope READ.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn unread(gateway: &Gateway, caller: &Caller, of: &ConversationView) -> AppResult<u64> {
    caller.require(Scope::Read)?;
    if !of.row.is_unread() {
        return Ok(0);
    }
    let people = people(gateway, of).await?;
    Ok(read::queries(gateway).unread(&of.row, &people, of.row.read).await?)
}

/// Until when WhatsApp lets a free-form message through to the person, as sending judges it; `None`: only a template. Scope
/// READ.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn window_expires_at(
    gateway: &Gateway,
    caller: &Caller,
    of: &ConversationView,
) -> AppResult<Option<DateTime<Utc>>> {
    caller.require(Scope::Read)?;
    let now = gateway.clock.now();
    let open = |until: &DateTime<Utc>| is_window_open(*until, now);
    let Some(until) = of.row.window_at.map(window_until).filter(open) else { return Ok(None) };
    let people = People::load(gateway, &[of.row.contact_id]).await;
    let people = people.map_err(|error| AppError::unavailable(std::io::Error::other(error)))?;
    let Some(person) = people.get(of.row.contact_id) else { return Ok(None) };
    if person.is_one_contact() {
        return Ok(Some(until));
    }
    // A window is of two addresses: what was written from another number of the person opens none for this one.
    let account = command::folded::<Account>(gateway, of.row.account_id, "account").await?;
    let windows = windows(
        &read::queries(gateway),
        AccountId(of.row.account_id),
        &people.addressed(&account),
        now,
    )
    .await?;
    Ok(windows.get(&of.row.contact_id).copied().filter(open))
}

/// What went between the number and the person, the oldest first. Scope READ.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for a page that is none.
pub async fn messages(
    gateway: &Gateway,
    caller: &Caller,
    of: &ConversationView,
    page: PageArgs,
) -> AppResult<Page<MessageView>> {
    caller.require(Scope::Read)?;
    let page = read::page_request(page)?;
    let people = people(gateway, of).await?;
    let found = read::queries(gateway).conversation_messages(&of.row, &people, &page).await?;
    Ok(read::page(found, |stored| MessageView::new(MessageId(stored.id), &stored.state, caller)))
}

/// How many [`messages()`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn messages_total(
    gateway: &Gateway,
    caller: &Caller,
    of: &ConversationView,
) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let people = people(gateway, of).await?;
    let queries = read::queries(gateway);
    Ok(read::total(queries.count_conversation_messages(&of.row, &people).await?))
}

/// The conversations that messages between these numbers and contacts belong to, where there are any. Scope READ; only of
/// messages that the caller was shown.
///
/// # Errors
/// FORBIDDEN.
pub async fn between(
    gateway: &Gateway,
    caller: &Caller,
    pairs: &[(AccountId, ContactId)],
) -> AppResult<HashMap<(AccountId, ContactId), ConversationId>> {
    caller.require(Scope::Read)?;
    let pairs: Vec<(Uuid, Uuid)> =
        pairs.iter().map(|(account, contact)| (account.0, contact.0)).collect();
    let found = read::queries(gateway).conversations_between(&pairs).await?;
    let typed = found.into_iter().map(|((account, contact), id)| {
        ((AccountId(account), ContactId(contact)), ConversationId(id))
    });
    Ok(typed.collect())
}

/// Answers a person, as [`messages::send`] sends: what policy forbids, text and media outside of the customer service window
/// most of all, is SKIPPED with its reason. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where the account is disconnected.
pub async fn reply(
    gateway: &Gateway,
    caller: &Caller,
    input: Reply,
) -> AppResult<Written<MessageView>> {
    caller.require(Scope::Send)?;
    let (_, loaded) = known(gateway, caller, &input.conversation_id).await?;
    let given = [input.text.is_some(), input.media.is_some(), input.template.is_some()];
    if given.into_iter().filter(|is_given| *is_given).count() != 1 {
        return Err(AppError::invalid("input", "give exactly one of text, media and template"));
    }
    let (Some(account), Some(contact)) = (loaded.aggregate.account_id, loaded.aggregate.contact_id)
    else {
        return Err(AppError::not_found("conversation"));
    };
    let message = SendMessage {
        account_id: account.to_string(),
        contact_id: Some(contact.to_string()),
        text: input.text,
        media: input.media,
        template: input.template,
        reply_to: input.reply_to,
        idempotency_key: input.idempotency_key,
        ..SendMessage::default()
    };
    messages::send(gateway, caller, message).await
}

/// Who answers from now on. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED for the assistant, while there is none.
pub async fn set_handling(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    handling: Handling,
) -> AppResult<Written<ConversationView>> {
    caller.require(Scope::Send)?;
    let (id, _) = known(gateway, caller, id).await?;
    if handling == Handling::Assistant {
        return Err(AppError::invalid(
            "handling",
            "this gateway has no assistant, so nobody would answer; use PEOPLE or NONE",
        ));
    }
    let command = ConversationCommand::HandOver { to: handling, at: gateway.clock.now() };
    Ok(execute(gateway, caller, id, command).await?.0)
}

/// Whose it is from now on; `None`: nobody's. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND, also for a user who may not see the conversation's account; VALIDATION_FAILED for a user who cannot
/// sign in.
pub async fn assign(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    user_id: Option<&str>,
) -> AppResult<Written<ConversationView>> {
    caller.require(Scope::Send)?;
    let (id, loaded) = known(gateway, caller, id).await?;
    let user_id = match user_id {
        Some(user_id) => Some(answerer(gateway, &loaded.aggregate, user_id).await?),
        None => None,
    };
    let command = ConversationCommand::Assign { user_id, at: gateway.clock.now() };
    Ok(execute(gateway, caller, id, command).await?.0)
}

/// Somebody who can take care of a conversation.
async fn answerer(
    gateway: &Gateway,
    conversation: &Conversation,
    user_id: &str,
) -> AppResult<ConsoleUserId> {
    let user_id = command::id::<ConsoleUserId>(user_id, "user")?;
    let user = command::folded::<User>(gateway, user_id.0, "user").await?;
    let sees_workspace = user.workspace_ids.as_ref().is_none_or(|ids| {
        conversation.workspace_id.is_some_and(|workspace| ids.contains(&workspace))
    });
    let sees_account = user
        .account_ids
        .as_ref()
        .is_none_or(|ids| conversation.account_id.is_some_and(|account| ids.contains(&account)));
    if user.removed_at.is_some() || !sees_workspace || !sees_account {
        return Err(AppError::not_found("user"));
    }
    if !user.is_active() {
        return Err(AppError::invalid(
            "userId",
            "this user cannot sign in now; name one who has joined and is not suspended",
        ));
    }
    Ok(user_id)
}

/// Counts what the person wrote as read by people, up to a message (`None`: the newest that lists know). With `show_receipt`
/// WhatsApp shows the person that it was read: it is told once of each message, behind this answer, and what became of that
/// is in the conversation's history. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED for a message of another conversation; STALE where the read model does not show
/// the message within 5 s.
pub async fn mark_read(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    id: &str,
    up_to: Option<&str>,
    show_receipt: bool,
) -> AppResult<Written<ConversationView>> {
    caller.require(Scope::Send)?;
    let (id, loaded) = known(gateway, caller, id).await?;
    let named = match up_to {
        Some(up_to) => Some(command::known::<Message>(gateway, caller, up_to, "message").await?),
        None => None,
    };
    let seen = named.as_ref().map_or(loaded.position, |(_, message)| message.position);
    read::wait(gateway, names::MESSAGES, Some(seen.max(loaded.position))).await?;
    let shown = view(gateway, caller, id, &loaded.aggregate).await?;
    let people = people(gateway, &shown).await?;
    let up_to = match named {
        None => shown.row.last_inbound,
        Some((message_id, Loaded { aggregate: message, .. })) => {
            let header = message.header.as_ref();
            let is_ours = header.is_some_and(|header| {
                header.account_id.0 == shown.row.account_id && people.contains(&header.contact_id.0)
            });
            if !is_ours {
                return Err(AppError::invalid("upTo", "name a message of this conversation"));
            }
            Place::new(message.created_at.unwrap_or_default(), message_id)
        }
    };
    let written = read::queries(gateway).last_written(&shown.row, &people, up_to).await?;
    let Some(written) = written else {
        // Up to there the person wrote nothing.
        return Ok(Written { value: shown, position: loaded.position });
    };
    let mark = ReadMark {
        written_at: written.state.created_at.unwrap_or_default(),
        message_id: MessageId(written.id),
    };
    let wamid = written.state.wamid().and_then(Personal::known).cloned();
    // There is nothing to tell of what was erased.
    let show_receipt = show_receipt && wamid.is_some();
    let at = gateway.clock.now();
    let command = ConversationCommand::MarkRead { up_to: mark, show_receipt, at };
    let (answer, committed) = execute(gateway, caller, id, command).await?;
    // Whoever wrote the fact down tells WhatsApp, and nobody else ever does.
    let is_ours = committed.events > 0 && committed.aggregate.receipt == Some(mark);
    if let Some(wamid) = wamid.filter(|_| show_receipt && is_ours) {
        let gateway = gateway.clone();
        let caller = caller.clone();
        tokio::spawn(async move {
            let account = shown.row.account_id;
            let told = cloud_api::messages::tell_read(&gateway, &caller, account, &wamid).await;
            record_receipt(&gateway, id, mark.message_id, told.err(), &committed).await;
        });
    }
    Ok(answer)
}

async fn record_receipt(
    gateway: &Gateway,
    id: ConversationId,
    message_id: MessageId,
    failure: Option<ReceiptFailure>,
    read: &Committed<Conversation>,
) {
    let now = gateway.clock.now();
    let mut context = Context::new(Actor::process("receipts"), gateway.ids.next_id(now));
    if let Some(thread) = read.thread {
        context = context.because_of(thread);
    }
    let command = ConversationCommand::RecordReceipt { message_id, failure, at: now };
    if let Err(error) = gateway.bus.execute::<Conversation>(id.0, command, &context).await {
        warn!(conversation.id = %id, %error, "what became of a read receipt could not be recorded");
    }
}

async fn execute(
    gateway: &Gateway,
    caller: &Caller,
    id: ConversationId,
    command: ConversationCommand,
) -> AppResult<(Written<ConversationView>, Committed<Conversation>)> {
    let context = command::context(gateway, caller);
    let committed = gateway.bus.execute::<Conversation>(id.0, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, ""))?;
    let value = view(gateway, caller, id, &committed.aggregate).await?;
    Ok((Written { value, position: committed.position }, committed))
}

/// Those of these messages that belong to conversations, as they are now, in this order: what those who follow conversations
/// are shown. A status does not say whom a message is with, so they are read before they are told apart.
pub(super) async fn of_conversations(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[MessageId],
) -> AppResult<Vec<MessageView>> {
    let mut found = messages::by_ids(gateway, caller, ids).await?;
    let pairs: Vec<(AccountId, ContactId)> =
        found.values().map(|message| (message.account_id, message.contact_id)).collect();
    let known = between(gateway, caller, &pairs).await?;
    found.retain(|_, message| known.contains_key(&(message.account_id, message.contact_id)));
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// Nothing of a person is in it.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { conversation_id, .. } = self;
        f.debug_struct("Reply").field("conversation_id", conversation_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_that_lists_do_not_know_yet_is_shown_by_its_own_stream() {
        let id = ConversationId(Uuid::from_u128(1));
        assert_eq!(unlisted(id, &Conversation::default()), None);
        let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let conversation = Conversation {
            workspace_id: Some(WorkspaceId(Uuid::from_u128(2))),
            account_id: Some(AccountId(Uuid::from_u128(3))),
            contact_id: Some(ContactId(Uuid::from_u128(4))),
            opened_at: Some(at),
            window_expires_at: Some(window_until(at)),
            ..Conversation::default()
        };
        let row = unlisted(id, &conversation).unwrap();
        assert_eq!((row.window_at, row.last.at()), (Some(at), at));
        assert!(row.is_unread());
        let shown = ConversationView::new(row, Some(&conversation));
        assert_eq!(shown.last_message_id(), None);
    }
}
