//! Messages in either direction, and the notices that come in the form of one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use domain::primitives::{PhoneNumber, UserId, Wamid};
use serde_json::{Map, Value};

use super::item::{
    HistoryItem, HistoryMessage, IdentityChange, IdentityMove, Item, MediaRef, MessageItem,
    OptOutText,
};
use super::status::reported;
use super::text;
use super::{present, recipient};
use crate::cloud_api::wire::webhook::{
    Contact, HistoryChunk, InboundMedia, Message, MessageContent, SystemKind, SystemNotice,
};

/// WhatsApp's own bound for a text.
const PREVIEW_CHARS_MAX: usize = 4096;

/// Which side of a message the person is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Inbound,
    Outbound,
}

/// An element of `messages`; `raw` is it as it came.
pub(super) fn inbound(
    message: &Message,
    raw: &Value,
    contacts: &[Contact],
) -> Result<Item, String> {
    if let MessageContent::System(notice) = message.content() {
        return system(message, &notice);
    }
    let item = read(message, raw, contacts, Direction::Inbound)?;
    Ok(Item::Inbound(Box::new(item)))
}

/// A message of whoever is on the other side.
pub(super) fn read(
    message: &Message,
    raw: &Value,
    contacts: &[Contact],
    direction: Direction,
) -> Result<MessageItem, String> {
    let wamid = Wamid::parse(&message.id).map_err(|error| error.to_string())?;
    let (id, user_id, parent) = match direction {
        Direction::Inbound => (&message.from, &message.from_user_id, &message.from_parent_user_id),
        Direction::Outbound => (&message.to, &message.to_user_id, &message.to_parent_user_id),
    };
    let mut counterpart = recipient(present(id), present(user_id));
    let contact = contact_of(contacts, &counterpart);
    let wa_id = contact.and_then(|it| it.wa_id.as_deref()).and_then(phone);
    if let Some(contact) = contact {
        counterpart.phone = counterpart.phone.or_else(|| wa_id.clone());
        counterpart.user_id = counterpart
            .user_id
            .or_else(|| recipient(contact.wa_id.as_deref(), contact.user_id.as_deref()).user_id);
    }
    if counterpart.phone.is_none() && counterpart.user_id.is_none() {
        return Err(match direction {
            Direction::Inbound => "neither `from` nor `from_user_id` names a person".to_owned(),
            Direction::Outbound => "neither `to` nor `to_user_id` names a person".to_owned(),
        });
    }
    let parent = parent.as_deref().or_else(|| contact?.parent_user_id.as_deref());
    let profile = contact.and_then(|contact| contact.profile.as_ref());
    let content = message.content();
    Ok(MessageItem {
        wamid,
        counterpart,
        parent_user_id: parent.and_then(|id| UserId::parse(id).ok()),
        wa_id,
        profile_name: profile.and_then(|profile| profile.name.clone()),
        username: profile
            .and_then(|profile| profile.username.as_deref())
            .map(|name| name.trim_start_matches('@').to_owned()),
        group_id: message.group_id.clone(),
        message_type: text::word(&message.kind),
        body: body(message, raw),
        preview: text::cut(&preview(&content, &message.kind, true), PREVIEW_CHARS_MAX),
        context_wamid: message.context.as_ref().and_then(|it| it.id.as_deref()).and_then(wamid_of),
        target_wamid: match &content {
            MessageContent::Reaction(reaction) => wamid_of(&reaction.message_id),
            MessageContent::Edit(edit) => wamid_of(&edit.original_message_id),
            MessageContent::Revoke(revoke) => wamid_of(&revoke.original_message_id),
            _ => None,
        },
        opens_window: direction == Direction::Inbound
            && message.group_id.is_none()
            && content.opens_window()
            // The wire counts what it does not know. Sending on the strength of that would be sending to see whether
            // it fails.
            && !matches!(content, MessageContent::Other(_) | MessageContent::RequestWelcome),
        opt_out: (direction == Direction::Inbound).then(|| opt_out(&content)).flatten(),
        media: content.media().map(media),
        errors: reported(message.errors()),
        has_referral: message.referral.is_some(),
    })
}

/// A chunk of the past. Messages in it that cannot be read are left out and named by their pointers below the chunk.
pub(super) fn history(
    chunk: &HistoryChunk,
    business_digits: Option<&str>,
    received_at: DateTime<Utc>,
) -> (HistoryItem, Vec<(String, String)>) {
    let metadata = chunk.metadata.as_ref();
    let mut unreadable = Vec::new();
    let mut messages = Vec::new();
    for (index, thread) in chunk.threads().enumerate() {
        let path = format!("/threads/{index}");
        if super::is_redacted(&chunk.threads[index]) {
            continue;
        }
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => {
                unreadable.push((path, error.reason));
                continue;
            }
        };
        for (index, message) in thread.messages().enumerate() {
            let path = format!("{path}/messages/{index}");
            let raw = &thread.messages[index];
            if super::is_redacted(raw) {
                continue;
            }
            let read = message.map_err(|error| error.reason).and_then(|message| {
                past(message, raw, thread.id.as_deref(), business_digits, received_at)
            });
            match read {
                Ok(message) => messages.push(message),
                Err(problem) => unreadable.push((path, problem)),
            }
        }
    }
    let item = HistoryItem {
        phase: metadata.and_then(|it| it.phase),
        chunk_order: metadata.and_then(|it| it.chunk_order),
        progress: metadata.and_then(|it| it.progress),
        messages,
        errors: reported(chunk.errors()),
    };
    (item, unreadable)
}

/// A message of the past. The thread is the customer's, so the side of `from` tells the direction.
pub(super) fn past(
    mut message: Message,
    raw: &Value,
    customer: Option<&str>,
    business_digits: Option<&str>,
    received_at: DateTime<Utc>,
) -> Result<HistoryMessage, String> {
    let from = message.from.as_deref().map(digits);
    let is_outbound = message.to.is_some()
        || message.to_user_id.is_some()
        || from.is_some() && from.as_deref() == business_digits;
    let (direction, side) = if is_outbound {
        (Direction::Outbound, &mut message.to)
    } else {
        (Direction::Inbound, &mut message.from)
    };
    if side.is_none() {
        *side = customer.map(str::to_owned);
    }
    let status = message.history_context.as_ref().and_then(|it| it.get("status")?.as_str());
    Ok(HistoryMessage {
        at: message.timestamp.map_or(received_at, |time| time.at()),
        is_outbound,
        status: status.map(text::word),
        message: MessageItem {
            opens_window: false,
            opt_out: None,
            ..read(&message, raw, &[], direction)?
        },
    })
}

/// The contact that a message's sender is listed as. Ids tell; a lone one without an id that says otherwise is theirs.
fn contact_of<'a>(
    contacts: &'a [Contact],
    counterpart: &domain::message::Recipient,
) -> Option<&'a Contact> {
    let ids = |contact: &Contact| recipient(contact.wa_id.as_deref(), contact.user_id.as_deref());
    let same = |contact: &&Contact| {
        let ids = ids(contact);
        ids.user_id.is_some() && ids.user_id == counterpart.user_id
            || ids.phone.is_some() && ids.phone == counterpart.phone
    };
    contacts.iter().find(same).or_else(|| match contacts {
        [only] => {
            let theirs = ids(only).user_id;
            let contradicts =
                theirs.is_some() && counterpart.user_id.is_some() && theirs != counterpart.user_id;
            (!contradicts).then_some(only)
        }
        _ => None,
    })
}

/// Notices of WhatsApp, written by nobody.
fn system(message: &Message, notice: &SystemNotice) -> Result<Item, String> {
    let wamid = Wamid::parse(&message.id).map_err(|error| error.to_string())?;
    let mut old = recipient(present(&message.from), present(&message.from_user_id));
    if old.phone.is_none() {
        // Older payloads.
        old.phone = notice.extra.get("customer").and_then(Value::as_str).and_then(phone);
    }
    let new_phone = notice.wa_id.as_deref().or(notice.new_wa_id.as_deref()).and_then(phone);
    let user_id = |id: &Option<String>| present(id).and_then(|id| UserId::parse(id).ok());
    let moved = || {
        Box::new(IdentityMove {
            wamid: wamid.clone(),
            old: old.clone(),
            new_phone: new_phone.clone(),
            new_user_id: user_id(&notice.user_id),
            new_parent_user_id: user_id(&notice.parent_user_id),
        })
    };
    Ok(match &notice.kind {
        Some(SystemKind::UserChangedNumber | SystemKind::CustomerChangedNumber) => {
            Item::NumberChanged(moved())
        }
        Some(SystemKind::UserChangedUserId) => Item::UserIdChanged(moved()),
        Some(SystemKind::CustomerIdentityChanged) => Item::IdentityChanged(IdentityChange {
            wamid,
            who: old,
            acknowledged: notice.identity.as_ref().and_then(|it| it.get("acknowledged")?.as_bool()),
        }),
        Some(SystemKind::Other(kind)) => {
            Item::Unknown { field: format!("messages.system.{}", text::word(kind)) }
        }
        None if new_phone.is_some() => Item::NumberChanged(moved()),
        None => Item::Unknown { field: "messages.system".to_owned() },
    })
}

/// The object under the type, with what stands beside it in the message and belongs to what was said.
fn body(message: &Message, raw: &Value) -> Value {
    let part = message.rest.get(&message.kind).or_else(|| {
        // Older payloads name the type `voice` and the object `audio`.
        (message.kind == "voice").then(|| message.rest.get("audio")).flatten()
    });
    let mut body = match part {
        Some(Value::Object(part)) => part.clone(),
        Some(Value::Null) | None => Map::new(),
        Some(other) => Map::from_iter([(message.kind.clone(), other.clone())]),
    };
    for name in ["context", "referral", "errors"] {
        if let Some(beside) = raw.get(name).filter(|beside| !beside.is_null()) {
            body.entry(name).or_insert_with(|| beside.clone());
        }
    }
    Value::Object(body)
}

/// What a person would see on the phone, as far as text can show it.
fn preview(content: &MessageContent, kind: &str, look_inside: bool) -> String {
    let labelled = |label: &str, text: Option<&str>| match text {
        Some(text) => format!("[{label}] {text}"),
        None => format!("[{label}]"),
    };
    match content {
        MessageContent::Text(text) => text.body.clone(),
        MessageContent::Image(media) | MessageContent::Video(media) => {
            labelled(kind, media.caption.as_deref())
        }
        MessageContent::Document(media) => {
            labelled(kind, media.caption.as_deref().or(media.filename.as_deref()))
        }
        MessageContent::Audio(media) => {
            labelled(if media.voice == Some(true) { "voice" } else { "audio" }, None)
        }
        MessageContent::Location(location) => {
            labelled("location", location.name.as_deref().or(location.address.as_deref()))
        }
        MessageContent::Button(tap) => {
            tap.text.clone().or_else(|| tap.payload.clone()).unwrap_or_else(|| labelled(kind, None))
        }
        MessageContent::ButtonReply(pick) | MessageContent::ListReply(pick) => {
            pick.title.clone().unwrap_or_else(|| pick.id.clone())
        }
        MessageContent::FlowReply(reply) => {
            labelled(reply.name.as_deref().unwrap_or("form"), reply.body.as_deref())
        }
        MessageContent::InteractiveOther(kind, _) => labelled(&text::word(kind), None),
        MessageContent::Order(order) => labelled("order", order.text.as_deref()),
        MessageContent::Reaction(reaction) => {
            reaction.emoji.clone().unwrap_or_else(|| labelled("reaction removed", None))
        }
        MessageContent::Edit(edit) => match &edit.message {
            // An edit of an edit is no message of WhatsApp's.
            Some(message) if look_inside => preview(&message.content(), &message.kind, false),
            _ => labelled(kind, None),
        },
        MessageContent::Revoke(_) => labelled("deleted", None),
        MessageContent::Unsupported(what) => match what {
            Some(what) => format!("[unsupported: {}]", text::word(what)),
            None => labelled("unsupported", None),
        },
        MessageContent::Sticker(_)
        | MessageContent::Contacts(_)
        | MessageContent::System(_)
        | MessageContent::RequestWelcome
        | MessageContent::MediaPlaceholder
        | MessageContent::Unreadable(_)
        | MessageContent::Other(_) => labelled(&text::word(kind), None),
    }
}

fn opt_out(content: &MessageContent) -> Option<OptOutText> {
    Some(match content {
        MessageContent::Text(text) => OptOutText::Text(text.body.clone()),
        MessageContent::Button(tap) => {
            OptOutText::Button { payload: tap.payload.clone(), label: tap.text.clone() }
        }
        MessageContent::ButtonReply(pick) | MessageContent::ListReply(pick) => {
            OptOutText::Button { payload: Some(pick.id.clone()), label: pick.title.clone() }
        }
        _ => return None,
    })
}

fn media(media: &InboundMedia) -> MediaRef {
    MediaRef {
        id: media.id.clone(),
        mime_type: media.mime_type.clone(),
        sha256: media.sha256.as_deref().and_then(hex_of),
        filename: media.filename.clone(),
    }
}

/// Base64 in webhooks, hexadecimal where media are resolved.
fn hex_of(printed: &str) -> Option<String> {
    let bytes = match hex::decode(printed) {
        Ok(bytes) => bytes,
        Err(_) => STANDARD.decode(printed).ok()?,
    };
    (bytes.len() == 32).then(|| hex::encode(bytes))
}

fn wamid_of(text: &str) -> Option<Wamid> {
    Wamid::parse(text).ok()
}

fn phone(text: &str) -> Option<PhoneNumber> {
    PhoneNumber::parse(text).ok()
}

pub(super) fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}
