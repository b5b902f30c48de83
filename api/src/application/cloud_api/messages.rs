//! `POST /{version}/{phone number id}/messages`: a message, or a read receipt.

use std::sync::Arc;
use std::time::Duration;

use domain::GatewayAggregate;
use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::conversation::ReceiptFailure;
use domain::message::{MediaKind, Message, MessageEvent, MessageStatus};
use domain::port::{EventFeed, EventFilter, FeedError, Position, StreamId};
use domain::primitives::{MessageId, Personal, Wamid};
use domain::template::{Template, TemplateStatus};
use infrastructure::cloud_api::validate::read_messages_call;
use infrastructure::cloud_api::wire::send::{
    Content, MarkRead, Media, MessagesCall, RecipientType, SendRequest,
};
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::{Answered, Refusal, Told, account_of_number};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command;
use crate::application::error::ErrorCode;
use crate::application::following::SharedLog;
use crate::application::media::no_access;
use crate::application::messages::{MediaInput, SendMessage, TemplateMessage, send};

/// How long an answer waits for WhatsApp to take the message, where the caller does not want it sooner.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Where the caller's own `biz_opaque_callback_data` is kept: in the message's metadata, which every event shows.
pub const CALLBACK_DATA: &str = "biz_opaque_callback_data";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Call {
    pub phone_number_id: String,
    pub body: Value,
    pub idempotency_key: Option<String>,
    /// See [`PATIENCE`].
    pub patience: Duration,
}

/// What is answered with 200.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub body: Value,
    /// `None` for a read receipt.
    pub message_id: Option<MessageId>,
}

/// Sends a message and waits until WhatsApp has taken or refused it, or passes a read receipt on. Scope SEND; PERSONAL as
/// well for a message to a user id, since the wamid holds the person's number.
///
/// # Errors
/// [`Refusal`]; one with [`Told`] is about a message that is on record.
pub async fn call(gateway: &Arc<Gateway>, caller: &Caller, call: Call) -> Answered<Done> {
    caller.require(Scope::Send).map_err(|error| Refusal::of(&error))?;
    let (account_id, account) =
        account_of_number(gateway, caller, "POST", &call.phone_number_id).await?;
    let read = read_messages_call(&call.body).map_err(|found| Refusal::violation(&found))?;
    let _place = gateway.local.calls.enter(caller.principal())?;
    let request = match read {
        MessagesCall::Send(request) => request,
        MessagesCall::MarkRead(receipt) => {
            mark_read(gateway, &account, &receipt).await?;
            return Ok(Done { body: json!({ "success": true }), message_id: None });
        }
    };
    if request.to.is_none() {
        caller.require(Scope::Personal).map_err(|error| Refusal::of(&error))?;
    }
    let has_key = call.idempotency_key.is_some();
    let mut input = input_of(&request, &call.body)?;
    input.account_id = account_id.to_string();
    input.idempotency_key = call.idempotency_key;
    let sent = send(gateway, caller, input).await.map_err(|error| match &request.content {
        Content::Template { template } if error.code == ErrorCode::NotFound => {
            Refusal::no_such_template(&template.name, &template.language.code)
        }
        // It may be on record all the same: without a key a repetition could send it twice.
        _ if !has_key => Refusal::of(&error).lasting(),
        _ => Refusal::of(&error),
    })?;
    // From here on it is on record, so that whatever goes wrong must not be answered as if it were not.
    let id = sent.value.id;
    let told = |status, reason| Told { message_id: id, status, reason };
    let Seen { message, held } = match outcome(gateway, id, call.patience).await {
        Ok(seen) => seen,
        Err(error) => {
            warn!(message.id = %id, %error, "a message that somebody waits for could not be looked at");
            return Err(Refusal::still_going(told(sent.value.status, None), has_key));
        }
    };
    let status = message.status();
    match message.wamid() {
        Some(Personal::Known(wamid)) => {
            let is_held = held.as_ref() == Some(wamid);
            let body = accepted(caller, &request, &message, wamid, is_held);
            return Ok(Done { body, message_id: Some(id) });
        }
        Some(Personal::Erased) => return Err(Refusal::erased().about(told(status, None))),
        None => {}
    }
    Err(match (status, message.skip) {
        (MessageStatus::Skipped, Some(reason)) => {
            let template = template_status(gateway, &message).await;
            let detail = message.status_reason.as_deref();
            Refusal::skipped(reason, detail, template).about(told(status, Some(reason.as_str())))
        }
        (MessageStatus::Failed, _) => Refusal::failed(message.failure()).about(told(status, None)),
        (MessageStatus::Cancelled, _) => Refusal::cancelled().about(told(status, None)),
        (MessageStatus::Expired, _) => Refusal::expired().about(told(status, None)),
        _ => Refusal::still_going(told(status, None), has_key),
    })
}

/// Tells WhatsApp that a message of a person was read, and all before it, so that the person sees it.
///
/// # Errors
/// Why that is not known to have worked, in words that are nobody's data.
pub(in crate::application) async fn tell_read(
    gateway: &Gateway,
    caller: &Caller,
    account: Uuid,
    wamid: &Wamid,
) -> Result<(), ReceiptFailure> {
    let failed = |refusal: Refusal| ReceiptFailure {
        reason: match refusal.http {
            429 => "too many calls",
            500.. => "no answer",
            _ => "refused",
        }
        .to_owned(),
        code: (refusal.http < 500).then_some(refusal.code),
    };
    let account = command::folded::<Account>(gateway, account, "account").await;
    let account = account.map_err(|error| failed(Refusal::of(&error)))?;
    if account.status == AccountStatus::Disconnected {
        return Err(ReceiptFailure { reason: "account disconnected".to_owned(), code: None });
    }
    let _place = gateway.local.calls.enter(caller.principal()).map_err(failed)?;
    let receipt = MarkRead::new(wamid.as_str(), false);
    mark_read(gateway, &account, &receipt).await.map_err(failed)
}

async fn mark_read(gateway: &Gateway, account: &Account, receipt: &MarkRead) -> Answered<()> {
    let access = gateway.access(account).await;
    let access = access.map_err(|error| Refusal::of(&no_access(error)))?;
    let Some(provider) = account.provider else {
        return Err(Refusal::no_such_object("POST", &account.phone_number_id));
    };
    let is_typing = receipt.typing_indicator.is_some();
    let api = gateway.api_of(provider);
    let marked =
        api.mark_read(&access, &account.phone_number_id, &receipt.message_id, is_typing).await;
    marked.map_err(|error| Refusal::of_call(&error))
}

/// The gateway's own input. What stays JSON there is taken as it was written.
fn input_of(request: &SendRequest, body: &Value) -> Answered<SendMessage> {
    if request.recipient_type == Some(RecipientType::Group) {
        return Err(Refusal::parameter("recipient_type: the gateway sends to individuals only"));
    }
    if request.recipient_identity_key_hash.is_some() {
        return Err(Refusal::parameter(
            "recipient_identity_key_hash: leave it out; the gateway does not check identity keys",
        ));
    }
    let raw = |name: &str| body.get(name).cloned();
    let mut input = SendMessage {
        // Where both are given, WhatsApp goes by the number.
        user_id: request.to.is_none().then(|| request.recipient.clone()).flatten(),
        to: request.to.as_deref().map(international),
        reply_to: request.context.as_ref().map(|context| context.message_id.clone()),
        metadata: request
            .biz_opaque_callback_data
            .as_ref()
            .map(|data| json!({ CALLBACK_DATA: data })),
        ..SendMessage::default()
    };
    match &request.content {
        Content::Text { text } => {
            input.text = Some(text.body.clone());
            input.preview_url = Some(text.preview_url.unwrap_or_default());
        }
        Content::Image { image } => input.media = Some(medium(MediaKind::Image, image)),
        Content::Video { video } => input.media = Some(medium(MediaKind::Video, video)),
        Content::Audio { audio } => input.media = Some(medium(MediaKind::Audio, audio)),
        Content::Document { document } => {
            input.media = Some(medium(MediaKind::Document, document));
        }
        Content::Sticker { sticker } => input.media = Some(medium(MediaKind::Sticker, sticker)),
        Content::Location { .. } => input.location = raw("location"),
        Content::Contacts { .. } => input.contacts = raw("contacts"),
        Content::Reaction { .. } => input.reaction = raw("reaction"),
        Content::Interactive { .. } => input.interactive = raw("interactive"),
        Content::Template { template } => {
            let components = body.pointer("/template/components").cloned();
            input.template = Some(TemplateMessage {
                name: Some(template.name.clone()),
                language: Some(template.language.code.clone()),
                components: Some(components.unwrap_or_else(|| json!([]))),
                ..TemplateMessage::default()
            });
        }
    }
    Ok(input)
}

fn medium(kind: MediaKind, media: &Media) -> MediaInput {
    MediaInput {
        kind,
        link: media.link.clone(),
        media_id: media.id.clone(),
        caption: media.caption.clone(),
        filename: media.filename.clone(),
        voice: media.voice.unwrap_or_default(),
    }
}

/// A number as programs write it for WhatsApp, with its country and with or without the plus.
fn international(to: &str) -> String {
    let to = to.trim();
    if to.starts_with('+') { to.to_owned() } else { format!("+{to}") }
}

/// A message as it stands in the log.
#[derive(Default)]
struct Seen {
    message: Message,
    /// What WhatsApp took and holds back while it looks at the template.
    held: Option<Wamid>,
}

/// The message once its outcome is known, else as it is after `patience` or when the gateway stops.
async fn outcome(
    gateway: &Arc<Gateway>,
    id: MessageId,
    patience: Duration,
) -> Result<Seen, FeedError> {
    let mut after = gateway.ledger.head().await?;
    let mut seen = look(gateway, id).await?;
    let log = SharedLog::open(gateway, after);
    let is_over = async {
        tokio::select! {
            () = gateway.clock.sleep_for(patience) => {}
            () = gateway.local.streams.closed() => {}
        }
    };
    tokio::pin!(is_over);
    while !is_settled(&seen.message) {
        tokio::select! {
            biased;
            news = next_event(&log, id, after) => after = news?,
            () = &mut is_over => break,
        }
        seen = look(gateway, id).await?;
    }
    Ok(seen)
}

async fn look(gateway: &Gateway, id: MessageId) -> Result<Seen, FeedError> {
    let mut seen = Seen::default();
    let stream = StreamId::new(Message::AGGREGATE_TYPE, id.0);
    for event in gateway.ledger.read_streams(&[stream]).await? {
        let event: MessageEvent = event.decode()?;
        if let MessageEvent::Accepted { wamid: Personal::Known(wamid), held: true, .. } = &event {
            seen.held = Some(wamid.clone());
        }
        seen.message.fold(event);
    }
    Ok(seen)
}

/// Where the message's next event after `after` stands, once there is one.
async fn next_event(
    log: &SharedLog,
    id: MessageId,
    mut after: Position,
) -> Result<Position, FeedError> {
    let filter = EventFilter {
        aggregate_types: vec![Message::AGGREGATE_TYPE],
        aggregate_ids: vec![id.0],
        ..EventFilter::default()
    };
    loop {
        let page = log.read_after(after, &filter, 1).await?;
        if let Some(event) = page.events.first() {
            return Ok(event.position);
        }
        after = page.scanned_to;
        if page.at_head {
            log.moved_beyond(after).await;
        }
    }
}

fn is_settled(message: &Message) -> bool {
    let is_over = matches!(
        message.status(),
        MessageStatus::Skipped
            | MessageStatus::Failed
            | MessageStatus::Cancelled
            | MessageStatus::Expired
    );
    is_over || message.wamid().is_some()
}

/// The number that WhatsApp was given is told to whom may see it, and to others what they wrote themselves.
fn accepted(
    caller: &Caller,
    request: &SendRequest,
    message: &Message,
    wamid: &Wamid,
    is_held: bool,
) -> Value {
    let written = request.to.as_deref().or(request.recipient.as_deref()).unwrap_or_default();
    let mut contact = json!({ "input": written });
    if request.to.is_some() {
        let known = message.counterpart.as_ref().and_then(Personal::known);
        let used = known.and_then(|known| known.phone.as_ref()).map(|phone| phone.as_str());
        let number = used.filter(|_| caller.has(Scope::Personal)).unwrap_or(written);
        contact["wa_id"] = number.chars().filter(char::is_ascii_digit).collect::<String>().into();
    } else {
        contact["user_id"] = written.into();
    }
    let mut sent = json!({ "id": wamid.as_str() });
    if matches!(request.content, Content::Template { .. }) {
        sent["message_status"] =
            if is_held { "held_for_quality_assessment" } else { "accepted" }.into();
    }
    json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [sent] })
}

/// What the template is by now; it only makes the code finer.
async fn template_status(gateway: &Gateway, message: &Message) -> Option<TemplateStatus> {
    let template = message.header.as_ref()?.template.as_ref()?;
    let template = command::folded::<Template>(gateway, template.id.0, "template").await;
    Some(template.ok()?.status)
}
