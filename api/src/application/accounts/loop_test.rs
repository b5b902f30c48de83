//! The loop test of a number: the whole way of a message, there and back, with one's own phone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Duration, Utc};
use domain::account::{Account, AccountCommand, AccountProvider, AccountStatus, LoopTest};
use domain::api_key::Scope;
use domain::contact::{ContactChanges, ContactOrigin};
use domain::message::Message;
use domain::primitives::{AccountId, Actor, ContactId, MessageId, Wamid};
use infrastructure::ledger::Context;
use serde_json::json;
use tracing::warn;

use super::{AccountView, written};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command;
use crate::application::contacts::{self, Home};
use crate::application::error::{AppError, AppResult, ErrorCode};
use crate::application::messages;
use crate::application::view::{LoopTestView, MessageView, Written};

/// In whose name the answer goes out.
pub(crate) const PROCESS: &str = "loop-test";
/// What the gateway answers.
const ANSWER: &str = "Loop test: your message has arrived, and this is the answer.";
/// What the sandbox's phone writes.
const SANDBOX_TEXT: &str = "Loop test";
/// How long after it was written a message opens the service window (Meta: 24 h).
const WINDOW: Duration = Duration::hours(24);
/// How often a start that met another one with the same new number is tried again.
const TRIES: usize = 4;

/// Starts a loop test: what this phone writes to the number within ten minutes is answered once. It takes the place of one
/// that is under way. Whoever has the phone is a contact from now on, as if they had written. On a SANDBOX account the
/// sandbox's phone writes by itself. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `phone`; CONFLICT where the account is disconnected.
pub async fn start_loop_test(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    phone: &str,
) -> AppResult<Written<AccountView>> {
    caller.require(Scope::Manage)?;
    let (id, loaded) = command::known::<Account>(gateway, caller, id, "account").await?;
    let phone = Home::of(&loaded.aggregate).phone(phone, "phone")?;
    let workspace = loaded.aggregate.workspace_id.ok_or_else(|| AppError::not_found("account"))?;
    let now = gateway.clock.now();
    let context = command::context(gateway, caller);
    let new_contact = ContactId(gateway.ids.next_id(now));
    let phone = &phone;
    for _ in 0..TRIES {
        let known = messages::holder_of_number(gateway, workspace, phone).await?;
        let started = command::transact(gateway, &context, None, &|tx| {
            Box::pin(async move {
                let contact_id = known.unwrap_or(new_contact);
                // First: a number that is given up meets nobody.
                let start =
                    AccountCommand::StartLoopTest { contact_id, phone: phone.clone(), at: now };
                let started = tx.execute::<Account>(id, start).await;
                started.map_err(|error| command::refused(error, ""))?;
                if known.is_none() {
                    let changes = ContactChanges {
                        phone: Some(Some(phone.clone())),
                        ..ContactChanges::default()
                    };
                    let origin = ContactOrigin::Send;
                    contacts::introduce(tx, workspace, contact_id, changes, origin, now).await?;
                }
                Ok(())
            })
        })
        .await;
        match started {
            Ok((_, position)) => {
                write_in_sandbox(gateway, AccountId(id)).await;
                return written(gateway, AccountId(id), position).await;
            }
            // Somebody else introduced them just now: the next round finds them.
            Err(error) if error.code == ErrorCode::Conflict && known.is_none() => {
                let account = command::folded::<Account>(gateway, id, "account").await?;
                if account.status == AccountStatus::Disconnected {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(AppError::new(
        ErrorCode::Unavailable,
        "too many others write to this number right now; try again in a moment",
    ))
}

/// What the last loop test has come to, by the facts of the account and of the answer. Scope READ.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn loop_test(
    gateway: &Gateway,
    caller: &Caller,
    account: &AccountView,
) -> AppResult<Option<LoopTestView>> {
    caller.require(Scope::Read)?;
    let Some(test) = &account.loop_test else { return Ok(None) };
    let answer = match &test.received {
        Some(received) => answer_as_of(gateway, caller, received.answer_id, account.as_of).await?,
        None => None,
    };
    let now = account.as_of.unwrap_or_else(|| gateway.clock.now());
    let message = answer.as_ref();
    Ok(Some(LoopTestView {
        started_at: test.started_at,
        expires_at: test.expires_at,
        state: test.state(account.status, message, now),
        inbound_at: test.received.map(|received| received.written_at),
        accepted_at: message.and_then(LoopTest::accepted_at),
        delivered_at: message.and_then(LoopTest::delivered_at),
        message: message
            .zip(test.received)
            .and_then(|(answer, received)| MessageView::new(received.answer_id, answer, caller)),
    }))
}

async fn answer_as_of(
    gateway: &Gateway,
    caller: &Caller,
    id: MessageId,
    as_of: Option<DateTime<Utc>>,
) -> AppResult<Option<Message>> {
    let Some(at) = as_of else {
        return Ok(gateway.bus.load::<Message>(id.0).await?.map(|loaded| loaded.aggregate));
    };
    match command::known_at::<Message>(gateway, caller, &id.to_string(), at, "message").await {
        Ok((_, message)) => Ok(Some(message)),
        Err(error) if error.code == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers what a person wrote, where it is what the account's loop test waited for and nothing has answered it yet. Called
/// once the message is on record, and again whenever WhatsApp tells of it again: a crash in between loses nothing.
///
/// # Errors
/// UNAVAILABLE where a store is away: repeat it.
pub(crate) async fn answer(
    gateway: &Gateway,
    account_id: AccountId,
    message_id: MessageId,
    wamid: &Wamid,
) -> AppResult<()> {
    let Some(loaded) = gateway.bus.load::<Account>(account_id.0).await? else { return Ok(()) };
    let account = loaded.aggregate;
    let Some(test) = account.loop_test.clone() else { return Ok(()) };
    let Some(received) = test.received.filter(|it| it.message_id == message_id) else {
        return Ok(());
    };
    let now = gateway.clock.now();
    let left = (test.expires_at - now).num_seconds();
    if left < 1 || gateway.bus.load::<Message>(received.answer_id.0).await?.is_some() {
        return Ok(());
    }
    let Some(inbound) = gateway.bus.load::<Message>(message_id.0).await? else { return Ok(()) };
    let Some(header) = &inbound.aggregate.header else { return Ok(()) };
    let actor = Actor::process(PROCESS);
    let mut context = Context::new(actor, gateway.ids.next_id(now));
    if let Some(thread) = inbound.thread {
        context = context.because_of(thread);
    }
    let reply = messages::Reply {
        message_id: received.answer_id,
        account_id,
        account,
        contact_id: header.contact_id,
        reply_to: wamid.clone(),
        text: ANSWER.to_owned(),
        // It has just been written, whether or not the read models know that yet.
        window_until: inbound.aggregate.opens_window.then_some(received.written_at + WINDOW),
        time_to_live_s: u32::try_from(left).unwrap_or(1),
        now,
    };
    messages::reply(gateway, &context, reply).await
}

/// Lets the phone in the built-in sandbox write, where a SANDBOX account's loop test waits for it. Doing it again is told
/// under the same id, so that it counts once.
pub(crate) async fn write_in_sandbox(gateway: &Gateway, id: AccountId) {
    let account = match gateway.bus.load::<Account>(id.0).await {
        Ok(Some(loaded)) if loaded.aggregate.provider == Some(AccountProvider::Sandbox) => {
            loaded.aggregate
        }
        Ok(_) => return,
        Err(error) => {
            warn!(account.id = %id, %error, "the sandbox's phone could not write yet");
            return;
        }
    };
    let Some(test) = account.loop_test.filter(|test| test.received.is_none()) else { return };
    let Some(phone) = test.phone.as_ref().and_then(|phone| phone.known()) else { return };
    if gateway.clock.now() >= test.expires_at {
        return;
    }
    let said = json!({
        "phoneNumberId": account.phone_number_id,
        "from": phone.as_str(),
        "type": "text",
        "text": { "body": SANDBOX_TEXT },
        "messageId": sandbox_wamid(gateway, id, &test),
        "timestamp": test.started_at.timestamp(),
    });
    if let Err(error) = gateway.sandbox.sandbox.inbound(&said) {
        warn!(account.id = %id, %error, "the sandbox's phone could not write yet");
    }
}

/// The same for the same test.
fn sandbox_wamid(gateway: &Gateway, id: AccountId, test: &LoopTest) -> String {
    let start = test.started_at.timestamp_micros().to_string();
    format!("wamid.{}", STANDARD.encode(gateway.keys.lookup_hash(id.0, "loop-test", &start)))
}
