//! A message in WhatsApp's own words.

use domain::message::{Content, MediaSource, Message, Recipient};
use domain::primitives::{MessageId, Personal, Wamid};
use domain::template::TemplateComponents;
use infrastructure::cloud_api::wire;
use serde_json::{Value, json};

/// Why a message cannot be put into WhatsApp's words. Its texts name slots and kinds, never anybody's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the content was erased")]
    Erased,
    #[error("the content is none that can be sent: {0}")]
    NotSendable(&'static str),
    #[error("the template's components cannot be read")]
    Template,
}

/// What WhatsApp gives back with every status of this attempt: opaque, and nobody's personal data, since every app on
/// the WABA sees it.
pub fn callback_data(message_id: MessageId, attempt: u32) -> String {
    format!("wg1.{message_id}.{attempt}")
}

/// The send call's body.
///
/// # Errors
/// [`WireError`] where the message holds nothing that can be sent.
pub fn send_request(
    message_id: MessageId,
    attempt: u32,
    message: &Message,
    recipient: &Recipient,
    components: Option<&TemplateComponents>,
) -> Result<wire::send::SendRequest, WireError> {
    let header = message.header.as_ref().ok_or(WireError::NotSendable("it was never planned"))?;
    let content = message.content.as_ref().and_then(Personal::known).ok_or(WireError::Erased)?;
    let template = header
        .template
        .as_ref()
        .map(|template| (template.name.as_str(), template.language.as_str()));
    let content = wire_content(content, template, components)?;
    let mut request = match (&recipient.phone, &recipient.user_id) {
        (Some(phone), _) => wire::send::SendRequest::to_number(phone, content),
        (None, Some(user_id)) => wire::send::SendRequest::to_user(user_id, content),
        (None, None) => return Err(WireError::NotSendable("there is nobody to send it to")),
    };
    request.biz_opaque_callback_data = Some(callback_data(message_id, attempt));
    let quoted = header.reply_to.as_ref().and_then(Personal::known).map(Wamid::as_str);
    request.context = quoted.map(|id| wire::send::Context { message_id: id.to_owned() });
    Ok(request)
}

/// Content in WhatsApp's words; `template` is the name and language.
///
/// # Errors
/// [`WireError`], as above.
pub fn wire_content(
    content: &Content,
    template: Option<(&str, &str)>,
    components: Option<&TemplateComponents>,
) -> Result<wire::send::Content, WireError> {
    let (kind, body) = match content {
        Content::Template { parameters, .. } => {
            let (name, language) = template.ok_or(WireError::Template)?;
            let components = components.ok_or(WireError::Template)?.wire(parameters);
            let mut body = json!({ "name": name, "language": { "code": language } });
            if components.as_array().is_some_and(|array| !array.is_empty()) {
                body["components"] = components;
            }
            ("template", body)
        }
        Content::Text { body, preview_url } => {
            let mut text = json!({ "body": body });
            if *preview_url {
                text["preview_url"] = Value::Bool(true);
            }
            ("text", text)
        }
        Content::Media { media, source, caption, filename, voice } => {
            let mut body = match source {
                MediaSource::Id(id) => json!({ "id": id }),
                MediaSource::Link(link) => json!({ "link": link }),
            };
            if let Some(caption) = caption {
                body["caption"] = json!(caption);
            }
            if let Some(filename) = filename {
                body["filename"] = json!(filename);
            }
            if *voice {
                body["voice"] = Value::Bool(true);
            }
            (media.as_str(), body)
        }
        Content::Interactive { interactive } => ("interactive", interactive.clone()),
        Content::Location { location } => ("location", location.clone()),
        Content::Contacts { contacts } => ("contacts", contacts.clone()),
        Content::Reaction { message_id, emoji } => {
            ("reaction", json!({ "message_id": message_id.as_str(), "emoji": emoji }))
        }
        Content::Inbound { .. } => return Err(WireError::NotSendable("it was received")),
    };
    // The parser's text may quote values, so only the kind is told.
    serde_json::from_value(json!({ "type": kind, kind: body }))
        .map_err(|_| WireError::NotSendable(kind_name(content)))
}

fn kind_name(content: &Content) -> &'static str {
    match content {
        Content::Template { .. } => "template",
        Content::Text { .. } => "text",
        Content::Media { media, .. } => media.as_str(),
        Content::Interactive { .. } => "interactive",
        Content::Location { .. } => "location",
        Content::Contacts { .. } => "contacts",
        Content::Reaction { .. } => "reaction",
        Content::Inbound { .. } => "inbound",
    }
}
