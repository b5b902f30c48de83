//! People: what they write, tap and send, told to the sandbox by its controls or made up for `replyRate`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::digest;
use serde_json::{Map, Value, json};

use super::address::{self, Address};
use super::behaviour::nearest;
use super::control::ControlError;
use super::entry::{Entry, Field, Media, Sent};
use super::fate::{Fate, hash};
use super::notify::{contact, messaging};
use super::outbox::Frame;
use super::state::State;
use crate::cloud_api::wire::lenient::UnixTime;
use crate::cloud_api::wire::webhook::{Message, UserPreference};

/// Bytes of a medium that a person may send here; WhatsApp itself takes 100 MB.
const MEDIA_BYTES_MAX: usize = 100 * 1024 * 1024;

const KEYS: &[&str] = &[
    "phoneNumberId",
    "from",
    "userId",
    "parentUserId",
    "type",
    "text",
    "name",
    "username",
    "messageId",
    "timestamp",
    "context",
    "referral",
    "errors",
    "data",
    "mimeType",
    "value",
    "detail",
];

/// Kinds whose content stands under their own name and must be there.
const WITH_CONTENT: &[&str] = &[
    "button",
    "interactive",
    "location",
    "contacts",
    "order",
    "reaction",
    "system",
    "edit",
    "revoke",
];

/// Kinds that do not open a service window.
const SILENT: &[&str] = &[
    "reaction",
    "edit",
    "revoke",
    "unsupported",
    "unknown",
    "system",
    "request_welcome",
    "user_preferences",
];

const ANSWERS: &[&str] = &[
    "Thanks!",
    "Okay, got it 👍",
    "Can you call me?",
    "Danke schön",
    "¿A qué hora?",
    "Not now, please",
];

/// One thing that a person did.
#[derive(Clone)]
pub(crate) struct Said {
    number: String,
    from: Option<String>,
    user_id: Option<String>,
    parent_user_id: Option<String>,
    kind: String,
    /// Goes under the name of the kind.
    content: Option<Value>,
    name: Option<String>,
    username: Option<String>,
    wamid: Option<String>,
    at: Option<i64>,
    context: Option<Value>,
    referral: Option<Value>,
    errors: Option<Value>,
    medium: Option<Medium>,
}

#[derive(Clone)]
struct Medium {
    bytes: Bytes,
    mime_type: String,
}

impl Said {
    /// An answer to a message, the same for the same message. `quoted_rate`: the share of those that name it.
    pub(crate) fn answer(seed: u64, sent: &Sent, quoted_rate: f64) -> Self {
        let mut fate = Fate::new(seed, &[b"answer", sent.wamid.as_bytes()]);
        let is_quoted = Fate::new(seed, &[b"quotes", sent.wamid.as_bytes()]).happens(quoted_rate);
        let place = usize::try_from(fate.between(0, ANSWERS.len() as u64 - 1)).unwrap_or(0);
        Self {
            number: sent.number.clone(),
            from: sent.wa_id.clone(),
            user_id: Some(sent.user_id.clone()),
            parent_user_id: None,
            kind: "text".to_owned(),
            content: Some(json!({"body": ANSWERS[place]})),
            name: None,
            username: None,
            wamid: None,
            at: None,
            context: is_quoted.then(|| json!({"id": sent.wamid})),
            referral: None,
            errors: None,
            medium: None,
        }
    }

    /// Reads the body of `POST /_sandbox/inbound`.
    pub(crate) fn read(body: &Value) -> Result<Self, ControlError> {
        let object =
            body.as_object().ok_or_else(|| ControlError::invalid("body", "a JSON object"))?;
        let text = |key: &'static str| match object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(ControlError::invalid(key, "a string that is not empty")),
        };
        let required =
            |key: &'static str| text(key)?.ok_or_else(|| ControlError::invalid(key, "a string"));
        let kind = required("type")?;
        let number = required("phoneNumberId")?;
        if let Some(odd) = object.keys().find(|key| !KEYS.contains(&key.as_str()) && **key != kind)
        {
            return Err(ControlError::unknown_key(odd, nearest(odd, KEYS.iter().copied())));
        }
        let from = match text("from")? {
            None => None,
            Some(from) => Some(
                address::number(&from)
                    .ok_or_else(|| ControlError::invalid("from", "+ and 7 to 15 digits"))?,
            ),
        };
        let user_id = text("userId")?;
        if user_id.as_ref().is_some_and(|id| !address::is_user_id(id)) {
            return Err(ControlError::invalid(
                "userId",
                "a business-scoped user id such as GB.7204418839015526601",
            ));
        }
        if from.is_none() && user_id.is_none() {
            return Err(ControlError::invalid("from", "from, userId, or both"));
        }
        let at = match object.get("timestamp") {
            None | Some(Value::Null) => None,
            Some(Value::Number(seconds)) => {
                seconds.as_i64().and_then(|seconds| seconds.checked_mul(1000))
            }
            Some(_) => return Err(ControlError::invalid("timestamp", "Unix seconds")),
        };
        let context = match object.get("context") {
            None | Some(Value::Null) => None,
            Some(Value::String(wamid)) => Some(json!({"id": wamid})),
            Some(context @ Value::Object(_)) => Some(context.clone()),
            Some(_) => {
                return Err(ControlError::invalid("context", "a wamid, or an object with id"));
            }
        };
        let (content, medium) = content(&kind, object)?;
        Ok(Self {
            number,
            from,
            user_id,
            parent_user_id: text("parentUserId")?,
            kind,
            content,
            name: text("name")?,
            username: text("username")?,
            wamid: text("messageId")?,
            at,
            context,
            referral: object.get("referral").cloned(),
            errors: object.get("errors").cloned(),
            medium,
        })
    }

    pub(crate) fn number(&self) -> &str {
        &self.number
    }
}

fn content(
    kind: &str,
    object: &Map<String, Value>,
) -> Result<(Option<Value>, Option<Medium>), ControlError> {
    let given = object.get(kind).cloned();
    let content = match kind {
        "text" => match given {
            Some(Value::String(body)) if !body.is_empty() => json!({"body": body}),
            Some(text) if text.get("body").is_some_and(Value::is_string) => text,
            _ => return Err(ControlError::invalid("text", "a string, or an object with body")),
        },
        "image" | "video" | "audio" | "document" | "sticker" => {
            let content = given.unwrap_or_else(|| json!({}));
            if !content.is_object() {
                return Err(ControlError::invalid("type", "an object under the name of the type"));
            }
            let has_id = content.get("id").is_some();
            let medium = if has_id { None } else { Some(medium(kind, object)?) };
            return Ok((Some(content), medium));
        }
        "user_preferences" => {
            let value = object.get("value").and_then(Value::as_str).unwrap_or_default();
            if !["stop", "resume"].contains(&value) {
                return Err(ControlError::invalid("value", "stop or resume"));
            }
            json!({"value": value, "detail": object.get("detail").cloned().unwrap_or(json!("User requested it"))})
        }
        kind if WITH_CONTENT.contains(&kind) => given
            .filter(|content| content.is_object() || content.is_array())
            .ok_or_else(|| ControlError::invalid("type", "an object under the name of the type"))?,
        // Unsupported, and types that nobody knows yet.
        _ => return Ok((given, None)),
    };
    Ok((Some(content), None))
}

fn medium(kind: &str, object: &Map<String, Value>) -> Result<Medium, ControlError> {
    let mime_type = object.get("mimeType").and_then(Value::as_str);
    let (sample_type, sample): (&str, &'static [u8]) = match kind {
        "image" => ("image/png", PNG),
        "video" => ("video/mp4", b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2"),
        "audio" => ("audio/ogg; codecs=opus", b"OggS\0\x02\0\0\0\0\0\0\0\0"),
        "document" => ("application/pdf", b"%PDF-1.4\n%%EOF\n"),
        _ => (
            "image/webp",
            b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0",
        ),
    };
    let bytes = match object.get("data") {
        None | Some(Value::Null) => Bytes::from_static(sample),
        Some(Value::String(text)) => STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|_| ControlError::invalid("data", "the medium's bytes in base64"))?,
        Some(_) => return Err(ControlError::invalid("data", "the medium's bytes in base64")),
    };
    if bytes.is_empty() || bytes.len() > MEDIA_BYTES_MAX {
        return Err(ControlError::invalid("data", "1 byte to 100 MB"));
    }
    Ok(Medium { bytes, mime_type: mime_type.unwrap_or(sample_type).to_owned() })
}

/// One transparent pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\x0dIDATx\x9cc\xf8\xff\xff?\0\x05\xfe\x02\xfe\xa75\x81\x84\0\0\0\0IEND\xaeB`\x82";

impl State {
    /// Lets a person write to a number. Gives back the wamid, or the empty string for what has none. `first` is
    /// committed with it.
    pub(crate) fn say(
        &mut self,
        said: &Said,
        now: i64,
        first: Vec<Entry>,
    ) -> std::io::Result<String> {
        let mut entries = first;
        let Some(number) = self.numbers.get(&said.number) else {
            self.commit(entries)?;
            return Ok(String::new());
        };
        let spec = number.spec();
        let frame = Frame {
            waba_id: spec.waba_id.clone(),
            phone_number_id: said.number.clone(),
            display: address::digits_of(&spec.display_phone_number),
        };
        let at = said.at.unwrap_or(now);
        let address = match (&said.from, &said.user_id) {
            (Some(digits), _) => Address::Number(digits.clone()),
            (None, user_id) => Address::UserId(user_id.clone().unwrap_or_default()),
        };
        let mut who = self.who(&frame.waba_id, &address);
        if let (Some(wa_id), Some(user_id)) = (&said.from, &said.user_id)
            && who.user_id != *user_id
        {
            let wa_id = address::rewritten(wa_id);
            entries.push(Entry::Alias {
                waba_id: frame.waba_id.clone(),
                wa_id,
                user_id: user_id.clone(),
            });
            who.user_id.clone_from(user_id);
            who.person = address::person(user_id);
        }
        // Whoever writes by user id alone hides the number, also where the sandbox could know it.
        let wa_id = said.from.as_ref().map(|digits| {
            if self.behaviour_of(&said.number).rewrite_wa_ids {
                address::rewritten(digits)
            } else {
                digits.clone()
            }
        });
        let mut about = contact(wa_id.as_deref(), &who.user_id, said.name.as_deref());
        about.parent_user_id.clone_from(&said.parent_user_id);
        if let Some(profile) = &mut about.profile {
            profile.username.clone_from(&said.username);
        }
        let mut value = messaging(&frame);
        let seq = self.take_seq();
        let field = |value: Value, field: &str| Field {
            number: said.number.clone(),
            field: field.to_owned(),
            value,
            account: false,
            person: who.person,
        };
        if said.kind == "user_preferences" {
            let content = said.content.clone().unwrap_or_default();
            let chosen = content.get("value").and_then(Value::as_str).unwrap_or("stop").to_owned();
            let preference = UserPreference {
                wa_id,
                user_id: Some(who.user_id.clone()),
                detail: content.get("detail").and_then(Value::as_str).map(str::to_owned),
                category: Some("marketing_messages".to_owned()),
                value: chosen.as_str().into(),
                timestamp: Some(time(at)),
                signup_id: None,
                extra: Map::new(),
            };
            value.contacts.push(serde_json::to_value(about)?);
            value.user_preferences.push(serde_json::to_value(preference)?);
            let stopped = chosen == "stop";
            entries.push(Entry::Preference {
                number: said.number.clone(),
                person: who.person,
                stopped,
            });
            let field = field(serde_json::to_value(value)?, "user_preferences");
            entries.push(Entry::Field { seq, at, due: now, field: Box::new(field) });
            self.commit(entries)?;
            return Ok(String::new());
        }
        let wamid = said.wamid.clone().unwrap_or_else(|| {
            let unique =
                hash(&[&self.seed.to_le_bytes(), said.number.as_bytes(), &seq.to_le_bytes()]);
            wamid(who.wa_id.as_deref().unwrap_or(&who.user_id), "in", unique, seq)
        });
        let mut message = Message {
            from: wa_id,
            from_user_id: Some(who.user_id.clone()),
            from_parent_user_id: said.parent_user_id.clone(),
            id: wamid.clone(),
            timestamp: Some(time(at)),
            kind: said.kind.clone(),
            ..Message::default()
        };
        if let Some(content) = self.content_of(said, who.person, at, &mut entries)? {
            message.rest.insert(said.kind.clone(), content);
        }
        if let Some(mut context) = said.context.clone() {
            if context.get("id").is_some() && context.get("from").is_none() {
                context["from"] = json!(frame.display);
            }
            message.rest.insert("context".to_owned(), context);
        }
        if let Some(referral) = &said.referral {
            message.rest.insert("referral".to_owned(), referral.clone());
        }
        message.errors = match (&said.errors, said.kind.as_str()) {
            (Some(Value::Array(errors)), _) => errors.clone(),
            (_, "unsupported" | "unknown") => {
                vec![json!({"code": 131051, "title": "Message type unknown",
                "message": "Message type unknown", "error_data": {"details": "Message type is currently not supported."}})]
            }
            _ => Vec::new(),
        };
        if said.kind != "system" {
            value.contacts.push(serde_json::to_value(about)?);
        }
        value.messages.push(serde_json::to_value(message)?);
        entries.push(Entry::Heard {
            number: said.number.clone(),
            person: who.person,
            at,
            wamid: hash(&[wamid.as_bytes()]),
            opens_window: !SILENT.contains(&said.kind.as_str()),
        });
        let field = field(serde_json::to_value(value)?, "messages");
        entries.push(Entry::Field { seq, at, due: now, field: Box::new(field) });
        self.commit(entries)?;
        Ok(wamid)
    }

    /// The content as the webhook shows it; the bytes of a medium are kept first.
    fn content_of(
        &mut self,
        said: &Said,
        person: u64,
        at: i64,
        entries: &mut Vec<Entry>,
    ) -> std::io::Result<Option<Value>> {
        let (Some(Value::Object(content)), Some(medium)) = (&said.content, &said.medium) else {
            return Ok(said.content.clone());
        };
        let id = self.take_id().to_string();
        let digest = digest::digest(&digest::SHA256, &medium.bytes);
        self.keep_blob(&id, medium.bytes.clone())?;
        let waba_id = self.numbers.get(&said.number).map(|number| number.spec().waba_id.clone());
        entries.push(Entry::Media {
            media: Media {
                id: id.clone(),
                number: said.number.clone(),
                waba_id: waba_id.unwrap_or_default(),
                mime_type: medium.mime_type.clone(),
                sha256: hex::encode(digest),
                size: medium.bytes.len() as u64,
                at,
                inbound: true,
                person: Some(person),
            },
        });
        let mut content = content.clone();
        content.insert("id".to_owned(), json!(id));
        content.insert("mime_type".to_owned(), json!(medium.mime_type));
        // Base64 in webhooks, hex in answers.
        content.insert("sha256".to_owned(), json!(STANDARD.encode(digest)));
        Ok(Some(Value::Object(content)))
    }
}

fn time(at: i64) -> UnixTime {
    UnixTime::from(chrono::DateTime::from_timestamp_millis(at).unwrap_or_default())
}

/// A wamid: opaque to everybody, and like Meta's it holds the counterpart's address.
pub(crate) fn wamid(address: &str, direction: &str, unique: u64, count: u64) -> String {
    let mut bytes = vec![0x1d, 0x18];
    bytes.push(u8::try_from(address.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(address.as_bytes());
    bytes.extend_from_slice(direction.as_bytes());
    bytes.extend_from_slice(format!("{unique:016X}{count:X}").as_bytes());
    format!("wamid.{}", STANDARD.encode(bytes))
}
