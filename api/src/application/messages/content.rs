//! What a message says: one content, checked as WhatsApp would check it.

use std::collections::BTreeMap;

use domain::Identity;
use domain::message::{Content, MediaKind, MediaSource, ParameterValue};
use domain::primitives::{AccountId, PhoneNumber, TemplateId, Wamid};
use domain::template::{Misfit, Template, TemplateComponents, TemplateStatus};
use infrastructure::cloud_api::validate::{Violation, check_send};
use infrastructure::cloud_api::wire::send::{Context, SendRequest};
use serde_json::Value;

use super::{MediaInput, SendMessage, TemplateMessage};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::error::{AppError, AppResult};
use crate::application::{campaigns, check, command};
use crate::worker::dispatch::wire_content;

/// The reason of a refusal where a template needs more values, or fewer.
pub(crate) const PARAMETER_COUNT: &str = "TEMPLATE_PARAMETER_COUNT";
/// The reason of a refusal where a template has no such place, or takes other values there.
pub(crate) const PARAMETER_FORMAT: &str = "TEMPLATE_PARAMETER_FORMAT";
/// Bytes of an interactive object, a location or contacts as JSON.
const OBJECT_BYTES_MAX: usize = 64 * 1024;
/// More than any limit of WhatsApp's, so that what is checked is never large.
const TEXT_CHARS_MAX: usize = 100_000;
/// The longest link, in characters.
const LINK_CHARS_MAX: usize = 2_048;
/// The longest id of an upload, in characters; WhatsApp's have some sixteen.
const MEDIA_ID_CHARS_MAX: usize = 128;
/// The longest name of a document, in characters: as much as a file system takes.
const FILE_NAME_CHARS_MAX: usize = 255;

/// A content with the template it is of.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub content: Content,
    pub template: Option<(TemplateId, Template)>,
}

/// The one content of an input.
///
/// # Errors
/// NOT_FOUND for a template; VALIDATION_FAILED with the path of what WhatsApp would refuse.
pub(super) async fn prepare(
    gateway: &Gateway,
    caller: &Caller,
    account_id: AccountId,
    input: &SendMessage,
    reply_to: Option<&Wamid>,
) -> AppResult<Prepared> {
    let given = [
        ("template", input.template.is_some()),
        ("text", input.text.is_some()),
        ("media", input.media.is_some()),
        ("interactive", input.interactive.is_some()),
        ("location", input.location.is_some()),
        ("contacts", input.contacts.is_some()),
        ("reaction", input.reaction.is_some()),
    ];
    let mut given = given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name);
    let names =
        "give exactly one of template, text, media, interactive, location, contacts and reaction";
    let field = match (given.next(), given.next()) {
        (None, _) => return Err(AppError::invalid("input.text", names)),
        (Some(_), Some(second)) => return Err(AppError::invalid(format!("input.{second}"), names)),
        (Some(only), None) => only,
    };
    if let Some(template) = &input.template {
        let (id, template, components) = template_of(gateway, caller, account_id, template).await?;
        let asked = input.template.as_ref();
        let given = match asked.and_then(|template| template.components.as_ref()) {
            Some(wire) => in_wire(&components, wire)?,
            None => {
                let given = asked.and_then(|template| template.parameters.clone());
                campaigns::values(given, "input.template.parameters")?
            }
        };
        let parameters = campaigns::normalised(&components, &given, "input.template")?;
        let content = of_template(&components, parameters)?;
        check_wire(&content, Some((&template, &components)), reply_to)?;
        return Ok(Prepared { content, template: Some((id, template)) });
    }
    let content = free_form(input, field)?;
    check_wire(&content, None, reply_to)?;
    Ok(Prepared { content, template: None })
}

/// A template's values in WhatsApp's own form.
fn in_wire(
    components: &TemplateComponents,
    wire: &Value,
) -> AppResult<BTreeMap<String, ParameterValue>> {
    check::json(wire, "input.template.components", OBJECT_BYTES_MAX)?;
    let wire = wire.as_array().ok_or_else(|| {
        AppError::invalid("input.template.components", "use an array of components")
    })?;
    components.read_wire(wire).map_err(|misfit| AppError {
        reason: Some(match misfit {
            Misfit::Count { .. } => PARAMETER_COUNT,
            Misfit::Place { .. } | Misfit::Name { .. } => PARAMETER_FORMAT,
        }),
        ..AppError::invalid("input.template.components", misfit.to_string())
    })
}

/// Filled slots as a content, with the text a person sees.
pub(super) fn of_template(
    components: &TemplateComponents,
    parameters: BTreeMap<String, ParameterValue>,
) -> AppResult<Content> {
    components
        .check_values(&parameters)
        .map_err(|problem| AppError::invalid("input.template.parameters", problem.to_string()))?;
    let preview = components.preview(&parameters);
    Ok(Content::Template { parameters, preview })
}

async fn template_of(
    gateway: &Gateway,
    caller: &Caller,
    account_id: AccountId,
    input: &TemplateMessage,
) -> AppResult<(TemplateId, Template, TemplateComponents)> {
    let id = match (&input.template_id, &input.name) {
        (Some(_), Some(_)) => {
            return Err(AppError::invalid(
                "input.template.name",
                "give either the templateId or name and language",
            ));
        }
        (Some(id), None) => id.clone(),
        (None, Some(name)) => {
            let Some(language) = &input.language else {
                return Err(AppError::invalid(
                    "input.template.language",
                    "a template by name needs its language, like en_US",
                ));
            };
            by_name(gateway, account_id, name, language).await?
        }
        (None, None) => {
            return Err(AppError::invalid(
                "input.template.templateId",
                "give the templateId, or name and language",
            ));
        }
    };
    let (id, loaded) = command::known::<Template>(gateway, caller, &id, "template").await?;
    let template = loaded.aggregate;
    if template.account_id != Some(account_id) {
        return Err(AppError::invalid(
            "input.template.templateId",
            "use a template of the sending account",
        ));
    }
    if template.status == TemplateStatus::Deleted {
        return Err(AppError::not_found("template"));
    }
    let components = template.parsed().map_err(AppError::internal)?;
    Ok((TemplateId(id), template, components))
}

/// By the store's own uniqueness, which is never behind.
async fn by_name(
    gateway: &Gateway,
    account_id: AccountId,
    name: &str,
    language: &str,
) -> AppResult<String> {
    let account =
        command::folded::<domain::account::Account>(gateway, account_id.0, "account").await?;
    let workspace = account.workspace_id.ok_or_else(|| AppError::not_found("account"))?;
    let identity =
        Identity::new(workspace.0, Identity::TEMPLATE, format!("{account_id}/{name}/{language}"));
    let holder = gateway.bus.resolve_identities(&[identity]).await?.into_iter().next().flatten();
    holder.map(|id| id.to_string()).ok_or_else(|| AppError::not_found("template"))
}

fn free_form(input: &SendMessage, field: &str) -> AppResult<Content> {
    let object = |value: &Value| -> AppResult<Value> {
        check::json(value, &format!("input.{field}"), OBJECT_BYTES_MAX)?;
        Ok(value.clone())
    };
    if let Some(text) = &input.text {
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(AppError::invalid("input.text", "use at most 4096 characters"));
        }
        let has_link = || text.contains("https://") || text.contains("http://");
        let preview_url = input.preview_url.unwrap_or_else(has_link);
        return Ok(Content::Text { body: text.clone(), preview_url });
    }
    if let Some(media) = &input.media {
        return of_media(media);
    }
    if let Some(interactive) = &input.interactive {
        return Ok(Content::Interactive { interactive: object(interactive)? });
    }
    if let Some(location) = &input.location {
        return Ok(Content::Location { location: object(location)? });
    }
    if let Some(contacts) = &input.contacts {
        return Ok(Content::Contacts { contacts: object(contacts)? });
    }
    of_reaction(input.reaction.as_ref())
}

fn of_media(media: &MediaInput) -> AppResult<Content> {
    let source = match (&media.link, &media.media_id) {
        (Some(link), None) => MediaSource::Link(link.clone()),
        (None, Some(id)) => MediaSource::Id(id.clone()),
        _ => {
            return Err(AppError::invalid(
                "input.media.link",
                "give either a link or the mediaId of an upload",
            ));
        }
    };
    let texts = [
        (&media.link, "link", LINK_CHARS_MAX),
        (&media.media_id, "mediaId", MEDIA_ID_CHARS_MAX),
        (&media.caption, "caption", TEXT_CHARS_MAX),
        (&media.filename, "filename", FILE_NAME_CHARS_MAX),
    ];
    for (text, name, max) in texts {
        let chars =
            text.as_ref().map(|text| if text.trim().is_empty() { 0 } else { text.chars().count() });
        if chars.is_some_and(|chars| chars == 0 || chars > max) {
            return Err(AppError::invalid(
                format!("input.media.{name}"),
                format!("use 1 to {max} characters, or leave it out"),
            ));
        }
    }
    let has_caption = !matches!(media.kind, MediaKind::Audio | MediaKind::Sticker);
    if media.caption.is_some() && !has_caption {
        return Err(AppError::invalid(
            "input.media.caption",
            "leave it out; audio and stickers have none",
        ));
    }
    if media.voice && media.kind != MediaKind::Audio {
        return Err(AppError::invalid("input.media.voice", "leave it out; only audio has it"));
    }
    if media.filename.is_some() && media.kind != MediaKind::Document {
        return Err(AppError::invalid(
            "input.media.filename",
            "leave it out; only documents have one",
        ));
    }
    Ok(Content::Media {
        media: media.kind,
        source,
        caption: media.caption.clone(),
        filename: media.filename.clone(),
        voice: media.voice,
    })
}

fn of_reaction(reaction: Option<&Value>) -> AppResult<Content> {
    let object = reaction.and_then(Value::as_object);
    let object = object.ok_or_else(|| {
        AppError::invalid("input.reaction", "use {\"messageId\": \"wamid.…\", \"emoji\": \"👍\"}")
    })?;
    let message_id =
        object.get("messageId").or_else(|| object.get("message_id")).and_then(Value::as_str);
    let message_id = message_id.and_then(|id| Wamid::parse(id).ok());
    let message_id = message_id.ok_or_else(|| {
        AppError::invalid(
            "input.reaction.messageId",
            "use the wamid of the message that is reacted to",
        )
    })?;
    let emoji = object.get("emoji").and_then(Value::as_str).unwrap_or_default();
    if emoji.chars().count() > 16 {
        return Err(AppError::invalid(
            "input.reaction.emoji",
            "use one emoji, or none to take the reaction back",
        ));
    }
    Ok(Content::Reaction { message_id, emoji: emoji.to_owned() })
}

/// What WhatsApp would refuse by its form, refused here.
fn check_wire(
    content: &Content,
    template: Option<(&Template, &TemplateComponents)>,
    reply_to: Option<&Wamid>,
) -> AppResult<()> {
    let name = template.map(|(template, _)| (template.name.as_str(), template.language.as_str()));
    let wire = wire_content(content, name, template.map(|(_, components)| components));
    let wire = wire.map_err(|error| AppError::invalid(field_of(content, ""), error.to_string()))?;
    // Anybody's number: only the content is looked at.
    let anybody = PhoneNumber::parse("+15550000000").map_err(AppError::internal)?;
    let mut request = SendRequest::to_number(&anybody, wire);
    request.context = reply_to.map(|wamid| Context { message_id: wamid.as_str().to_owned() });
    match check_send(&request).into_iter().next() {
        None => Ok(()),
        Some(Violation { path, problem, .. }) => {
            // WhatsApp's sentences are whole ones; ours go on after the field.
            let problem =
                problem.strip_prefix("It ").unwrap_or(&problem).trim_end_matches('.').to_owned();
            Err(AppError::invalid(field_of(content, &path), problem))
        }
    }
}

/// WhatsApp's path in the caller's own words.
fn field_of(content: &Content, path: &str) -> String {
    if path == "context" || path.starts_with("context.") {
        return "input.replyTo".to_owned();
    }
    let rest = path.split_once(['.', '[']).map(|(head, _)| &path[head.len()..]).unwrap_or_default();
    match content {
        Content::Template { .. } => "input.template.parameters".to_owned(),
        Content::Text { .. } => "input.text".to_owned(),
        Content::Media { .. } => match rest {
            ".id" => "input.media.mediaId".to_owned(),
            "" => "input.media".to_owned(),
            rest => format!("input.media{rest}"),
        },
        Content::Interactive { .. } => format!("input.interactive{rest}"),
        Content::Location { .. } => format!("input.location{rest}"),
        Content::Contacts { .. } => format!("input.contacts{rest}"),
        Content::Reaction { .. } => match rest {
            ".message_id" => "input.reaction.messageId".to_owned(),
            rest => format!("input.reaction{rest}"),
        },
        Content::Inbound { .. } => "input".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(input: SendMessage, field: &str) -> String {
        let content = free_form(&input, field);
        let checked = content.and_then(|content| check_wire(&content, None, None));
        checked.unwrap_err().field.unwrap()
    }

    #[test]
    fn what_whatsapp_would_refuse_is_refused_with_the_callers_own_path() {
        let text = |text: String| SendMessage { text: Some(text), ..SendMessage::default() };
        assert_eq!(refused(text("x".repeat(4_097)), "text"), "input.text");
        assert_eq!(refused(text(" ".to_owned()), "text"), "input.text");
        let interactive = json!({ "type": "button", "body": { "text": "" }, "action": { "buttons": [
            { "type": "reply", "reply": { "id": "1", "title": "Yes" } },
        ] } });
        let input = SendMessage { interactive: Some(interactive), ..SendMessage::default() };
        assert_eq!(refused(input, "interactive"), "input.interactive.body.text");
        let input = SendMessage {
            location: Some(json!({ "latitude": "north" })),
            ..SendMessage::default()
        };
        assert_eq!(refused(input, "location"), "input.location");
    }

    #[test]
    fn media_has_one_source_and_fitting_texts() {
        let media =
            |kind, link: Option<&str>, media_id: Option<&str>, caption: Option<&str>| SendMessage {
                media: Some(MediaInput {
                    kind,
                    link: link.map(str::to_owned),
                    media_id: media_id.map(str::to_owned),
                    caption: caption.map(str::to_owned),
                    filename: None,
                    voice: false,
                }),
                ..SendMessage::default()
            };
        assert_eq!(refused(media(MediaKind::Image, None, None, None), "media"), "input.media.link");
        assert_eq!(
            refused(media(MediaKind::Image, Some("https://x.org/a.png"), Some("1"), None), "media"),
            "input.media.link"
        );
        assert_eq!(
            refused(media(MediaKind::Audio, None, Some("1"), Some("hi")), "media"),
            "input.media.caption"
        );
        let good = media(MediaKind::Image, Some("https://x.org/a.png"), None, Some("hi"));
        assert!(
            free_form(&good, "media").and_then(|content| check_wire(&content, None, None)).is_ok()
        );
    }

    #[test]
    fn a_reaction_names_its_message_in_either_spelling() {
        for key in ["messageId", "message_id"] {
            let reaction = json!({ key: "wamid.abc", "emoji": "👍" });
            assert!(of_reaction(Some(&reaction)).is_ok());
        }
        assert_eq!(
            of_reaction(Some(&json!({ "emoji": "👍" }))).unwrap_err().field.as_deref(),
            Some("input.reaction.messageId")
        );
    }
}
