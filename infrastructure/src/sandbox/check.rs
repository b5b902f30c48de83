//! What a send must look like. Bodies are judged as they came, not through the client's types, so that what the client
//! gets wrong is refused here as Meta refuses it. Lengths are in characters.

use serde_json::{Map, Value};

use super::address::{self, Address};
use super::error::GraphError;
use super::interactive;

type Checked<T> = Result<T, GraphError>;

/// Longest text, caption, callback datum.
const TEXT_CHARS_MAX: usize = 4096;
const CAPTION_CHARS_MAX: usize = 1024;
const CALLBACK_CHARS_MAX: usize = 512;
/// Meta's page says 257, its OpenAPI file 5; the page is what clients live by.
const CONTACTS_MAX: usize = 257;

const TOP_LEVEL: &[&str] = &[
    "messaging_product",
    "recipient_type",
    "to",
    "recipient",
    "type",
    "context",
    "biz_opaque_callback_data",
    "recipient_identity_key_hash",
    "status",
    "message_id",
    "typing_indicator",
    "product_policy",
    "message_activity_sharing",
    "preview_url",
];

const TYPES: &[&str] = &[
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "template",
    "reaction",
];

/// A body of `POST /{phone-number-id}/messages` that is well formed.
#[derive(Debug)]
pub(crate) enum Call {
    /// Mark as read, with or without the typing bubble.
    Read {
        message_id: String,
    },
    Send(Box<Send>),
}

/// A message that is well formed; whether it may go is decided by the engine.
#[derive(Debug)]
pub(crate) struct Send {
    /// As the call wrote it, echoed in the answer.
    pub input: String,
    pub address: Address,
    pub kind: &'static str,
    pub callback: Option<String>,
    pub quotes: Option<String>,
    /// Uploaded media that the message refers to, with the kind it is used as.
    pub media: Vec<(String, &'static str)>,
    /// The wamid that a reaction is for.
    pub reacts_to: Option<String>,
    /// The `template` object, judged against the template later.
    pub template: Option<Map<String, Value>>,
}

impl Send {
    pub(crate) fn is_template(&self) -> bool {
        self.template.is_some()
    }
}

/// Reads a body. What can be said without knowing the number, its templates and its media is said here.
pub(crate) fn body(bytes: &[u8]) -> Checked<Call> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|_| GraphError::platform(100, "Invalid parameter: the body is not JSON"))?;
    let Value::Object(top) = value else {
        return Err(GraphError::platform(100, "Invalid parameter: the body is not a JSON object"));
    };
    if top.get("messaging_product").and_then(Value::as_str) != Some("whatsapp") {
        return Err(GraphError::platform(
            100,
            "The parameter messaging_product is required, and is \"whatsapp\".",
        ));
    }
    if let Some(odd) =
        top.keys().find(|key| !TOP_LEVEL.contains(&key.as_str()) && !TYPES.contains(&key.as_str()))
    {
        return Err(GraphError::platform(
            100,
            format!("Invalid parameter: Unexpected key \"{odd}\" on param \"$\"."),
        ));
    }
    if top.contains_key("status") {
        return read(&top);
    }
    send(top).map(|send| Call::Send(Box::new(send)))
}

fn read(top: &Map<String, Value>) -> Checked<Call> {
    if top.get("status").and_then(Value::as_str) != Some("read") {
        return Err(GraphError::platform(100, "Invalid parameter: status must be \"read\"."));
    }
    if let Some(typing) = top.get("typing_indicator")
        && typing.get("type").and_then(Value::as_str) != Some("text")
    {
        return Err(GraphError::platform(
            100,
            "Invalid parameter: typing_indicator.type must be \"text\".",
        ));
    }
    Ok(Call::Read { message_id: string(top, "message_id", "$", 1024)?.to_owned() })
}

fn send(mut top: Map<String, Value>) -> Checked<Send> {
    match top.get("recipient_type").map(Value::as_str) {
        None | Some(Some("individual")) => {}
        Some(Some("group")) => return Err(GraphError::new(131041, "the sandbox knows no groups")),
        Some(_) => {
            return Err(GraphError::platform(
                100,
                "Param recipient_type must be one of {INDIVIDUAL, GROUP}.",
            ));
        }
    }
    let text = |key: &str| top.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let address = address::recipient(text("to"), text("recipient"))?;
    let input = text("to").or(text("recipient")).unwrap_or_default().to_owned();
    let kind = match top.get("type") {
        // Meta takes a body without `type` for a text.
        None => "text",
        Some(Value::String(name)) => {
            TYPES.iter().find(|kind| kind.eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
                GraphError::platform(
                    100,
                    format!("Param type must be one of {{{}}}.", TYPES.join(", ").to_uppercase()),
                )
            })?
        }
        Some(_) => return Err(GraphError::platform(100, "Param type must be a string.")),
    };
    let mut send = Send {
        input,
        address,
        kind,
        callback: optional(&top, "biz_opaque_callback_data", "$", CALLBACK_CHARS_MAX)?
            .map(str::to_owned),
        quotes: None,
        media: Vec::new(),
        reacts_to: None,
        template: None,
    };
    optional(&top, "recipient_identity_key_hash", "$", 256)?;
    if let Some(context) = top.get("context") {
        let context = context.as_object().ok_or_else(|| {
            GraphError::platform(100, "Invalid parameter: context must be an object.")
        })?;
        send.quotes = Some(string(context, "message_id", "context", 1024)?.to_owned());
    }
    let content = top
        .remove(kind)
        .ok_or_else(|| GraphError::platform(100, format!("The parameter {kind} is required.")))?;
    if kind == "contacts" {
        contacts(&content)?;
        return Ok(send);
    }
    let Value::Object(content) = content else {
        return Err(GraphError::platform(
            100,
            format!("Invalid parameter: {kind} must be an object."),
        ));
    };
    match kind {
        "text" => {
            only(&content, kind, &["body", "preview_url"])?;
            string(&content, "body", kind, TEXT_CHARS_MAX)?;
            if content.get("preview_url").is_some_and(|value| !value.is_boolean()) {
                return Err(GraphError::platform(
                    100,
                    "Param text['preview_url'] must be a boolean.",
                ));
            }
        }
        "image" | "video" | "audio" | "document" | "sticker" => {
            send.media.extend(media(&content, kind)?)
        }
        "location" => {
            coordinate(&content, "latitude", 90.0)?;
            coordinate(&content, "longitude", 180.0)?;
            optional(&content, "name", kind, 1000)?;
            optional(&content, "address", kind, 1000)?;
        }
        "reaction" => {
            if send.quotes.is_some() {
                return Err(GraphError::platform(
                    100,
                    "Invalid parameter: a reaction may not have a context.",
                ));
            }
            send.reacts_to = Some(string(&content, "message_id", kind, 1024)?.to_owned());
            // Empty removes the reaction, so only its presence is asked for.
            if !content.get("emoji").is_some_and(Value::is_string) {
                return Err(GraphError::new(
                    131008,
                    "reaction.emoji is missing, expected an emoji or an empty string",
                ));
            }
        }
        "interactive" => interactive::check(&content, &mut send.media)?,
        _ => {
            string(&content, "name", kind, 512)?;
            let language = content.get("language").and_then(Value::as_object);
            string(language.unwrap_or(&Map::new()), "code", "template['language']", 32)?;
            send.template = Some(content);
        }
    }
    Ok(send)
}

fn contacts(content: &Value) -> Checked<()> {
    let list = content
        .as_array()
        .filter(|list| (1..=CONTACTS_MAX).contains(&list.len()))
        .ok_or_else(|| {
            GraphError::platform(
                100,
                format!("Param contacts must be a list of 1 to {CONTACTS_MAX}."),
            )
        })?;
    for contact in list {
        let name = contact.get("name").and_then(Value::as_object);
        string(name.unwrap_or(&Map::new()), "formatted_name", "contacts['name']", 1024)?;
    }
    Ok(())
}

fn coordinate(content: &Map<String, Value>, key: &str, max: f64) -> Checked<()> {
    let found = match content.get(key) {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
        None => {
            return Err(GraphError::new(
                131008,
                format!("location.{key} is missing, expected decimal degrees"),
            ));
        }
    };
    match found {
        Some(degrees) if degrees.abs() <= max => Ok(()),
        _ => Err(GraphError::new(
            131009,
            format!("location.{key} must be decimal degrees from -{max} to {max}"),
        )),
    }
}

/// Reads a media object: exactly one of `id` and `link`. Gives back the id, with the kind it is used as.
pub(crate) fn media(
    content: &Map<String, Value>,
    kind: &'static str,
) -> Checked<Option<(String, &'static str)>> {
    if content.contains_key("caption") && ["audio", "sticker"].contains(&kind) {
        return Err(GraphError::platform(
            100,
            format!("Invalid parameter: {kind} may not have a caption."),
        ));
    }
    optional(content, "caption", kind, CAPTION_CHARS_MAX)?;
    optional(content, "filename", kind, 1024)?;
    match (optional(content, "id", kind, 256)?, optional(content, "link", kind, 4096)?) {
        (Some(id), None) => Ok(Some((id.to_owned(), kind))),
        (None, Some(link)) => {
            let is_web =
                url::Url::parse(link).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
            let error =
                || GraphError::platform(100, format!("Param {kind}['link'] is not a valid URL."));
            is_web.then_some(None).ok_or_else(error)
        }
        _ => Err(GraphError::platform(
            100,
            format!("Exactly one of {kind}['id'] and {kind}['link'] is required."),
        )),
    }
}

/// A required string that is not empty.
pub(crate) fn string<'a>(
    object: &'a Map<String, Value>,
    key: &str,
    of: &str,
    chars_max: usize,
) -> Checked<&'a str> {
    optional(object, key, of, chars_max)?.filter(|text| !text.is_empty()).ok_or_else(|| {
        GraphError::platform(100, format!("The parameter {of}['{key}'] is required."))
    })
}

pub(crate) fn optional<'a>(
    object: &'a Map<String, Value>,
    key: &str,
    of: &str,
    chars_max: usize,
) -> Checked<Option<&'a str>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= chars_max => Ok(Some(text)),
        Some(Value::String(_)) => Err(GraphError::platform(
            100,
            format!("Param {of}['{key}'] must be at most {chars_max} characters long."),
        )),
        Some(_) => Err(GraphError::platform(100, format!("Param {of}['{key}'] must be a string."))),
    }
}

fn only(object: &Map<String, Value>, of: &str, known: &[&str]) -> Checked<()> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(odd) => Err(GraphError::platform(
            100,
            format!("Invalid parameter: Unexpected key \"{odd}\" on param \"{of}\"."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(mut value: Value) -> u32 {
        if let Value::Object(top) = &mut value {
            top.entry("messaging_product").or_insert(json!("whatsapp"));
            top.entry("to").or_insert(json!("+447700900123"));
        }
        match body(value.to_string().as_bytes()) {
            Ok(_) => 0,
            Err(error) => error.code,
        }
    }

    #[test]
    fn each_type_is_accepted_in_its_documented_form() {
        for value in [
            json!({"type":"text","text":{"body":"Hello","preview_url":true}}),
            json!({"text":{"body":"no type is a text"}}),
            json!({"type":"image","image":{"id":"604000000000004","caption":"x"}}),
            json!({"type":"document","document":{"link":"https://example.org/a.pdf","filename":"a.pdf"}}),
            json!({"type":"location","location":{"latitude":"51.5","longitude":-0.1}}),
            json!({"type":"contacts","contacts":[{"name":{"formatted_name":"Ada"}}]}),
            json!({"type":"reaction","reaction":{"message_id":"wamid.x","emoji":""}}),
            json!({"type":"template","template":{"name":"a","language":{"code":"en"}}}),
            json!({"type":"text","text":{"body":"r"},"context":{"message_id":"wamid.x"},
                "biz_opaque_callback_data":"x".repeat(512)}),
            json!({"status":"read","message_id":"wamid.x","typing_indicator":{"type":"text"}}),
        ] {
            assert_eq!(code(value.clone()), 0, "{value}");
        }
    }

    #[test]
    fn malformed_bodies_are_refused_with_metas_codes() {
        for (expected, value) in [
            (100, json!({"messaging_product":"sms","type":"text","text":{"body":"x"}})),
            (100, json!({"type":"text"})),
            (100, json!({"type":"text","text":{"body":""}})),
            (100, json!({"type":"text","text":{"body":"x".repeat(4097)}})),
            (100, json!({"type":"poll","poll":{}})),
            (100, json!({"type":"image","image":{"id":"1","link":"https://example.org"}})),
            (100, json!({"type":"image","image":{"link":"ftp://example.org"}})),
            (100, json!({"type":"audio","audio":{"id":"1","caption":"no"}})),
            (131009, json!({"type":"location","location":{"latitude":91,"longitude":0}})),
            (131008, json!({"type":"location","location":{"latitude":1}})),
            (131009, json!({"to":"GB.7204418839015526601","type":"text","text":{"body":"x"}})),
            (
                100,
                json!({"type":"text","text":{"body":"x"},"biz_opaque_callback_data":"x".repeat(513)}),
            ),
            (100, json!({"type":"text","text":{"body":"x"},"colour":"red"})),
            (100, json!({"status":"delivered","message_id":"wamid.x"})),
            (131041, json!({"recipient_type":"group","type":"text","text":{"body":"x"}})),
        ] {
            assert_eq!(code(value.clone()), expected, "{value}");
        }
        assert_eq!(body(b"not json").map(|_| ()).map_err(|e| e.code), Err(100));
    }
}
