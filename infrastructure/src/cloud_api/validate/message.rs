//! The envelope of a message, and every content but interactive and template.

use domain::primitives::{PhoneNumber, UserId};

use super::{
    CODE_INVALID, CODE_MISSING, CODE_PARAMETER, Check, Violation, interactive, limits, template,
};
use crate::cloud_api::wire::send::{
    CALLBACK_DATA_CHARS_MAX, Contact, Content, Location, MarkRead, Media, RecipientType,
    SendRequest,
};

/// The two policies of `/marketing_messages`.
const PRODUCT_POLICIES: [&str; 2] = ["CLOUD_API_FALLBACK", "STRICT"];

/// Everything that WhatsApp would refuse about a message by its form.
pub fn check_send(send: &SendRequest) -> Vec<Violation> {
    let mut check = Check::default();
    address(&mut check, send);
    if let Some(data) = &send.biz_opaque_callback_data {
        check.length("biz_opaque_callback_data", data, CALLBACK_DATA_CHARS_MAX);
    }
    if let Some(context) = &send.context {
        check.required("context.message_id", Some(&context.message_id));
        if matches!(send.content, Content::Reaction { .. }) {
            check.add(
                "context",
                CODE_INVALID,
                "A reaction names its message itself and quotes none.",
            );
        }
    }
    let marketing_only = send.product_policy.is_some() || send.message_activity_sharing.is_some();
    if marketing_only && !matches!(send.content, Content::Template { .. }) {
        check.add("product_policy", CODE_PARAMETER, "It goes with marketing templates only.");
    }
    if send.product_policy.as_deref().is_some_and(|policy| !PRODUCT_POLICIES.contains(&policy)) {
        check.add("product_policy", CODE_INVALID, "It must be CLOUD_API_FALLBACK or STRICT.");
    }
    content(&mut check, &send.content);
    check.violations
}

/// Everything that WhatsApp would refuse about a read receipt by its form.
pub fn check_mark_read(read: &MarkRead) -> Vec<Violation> {
    let mut check = Check::default();
    check.required("message_id", Some(&read.message_id));
    check.violations
}

fn address(check: &mut Check, send: &SendRequest) {
    let to_group = send.recipient_type == Some(RecipientType::Group);
    match (&send.to, &send.recipient) {
        (None, None) => check.add(
            "to",
            CODE_MISSING,
            "Either to (a phone number) or recipient (a user id) is required.",
        ),
        (Some(to), _) if !to_group && UserId::parse(to).is_ok() => {
            check.add("to", CODE_INVALID, "A user id goes into recipient.");
        }
        (Some(to), _) if !to_group && PhoneNumber::parse(to).is_err() => {
            check.add(
                "to",
                CODE_INVALID,
                "It must be a phone number in international form, like +4915112345678.",
            );
        }
        _ => {}
    }
    if send.recipient.as_deref().is_some_and(|recipient| UserId::parse(recipient).is_err()) {
        check.add("recipient", CODE_INVALID, "It must be a user id, like GB.7204418839015526601.");
    }
    if matches!(send.recipient_type, Some(RecipientType::Other(_))) {
        check.add("recipient_type", CODE_INVALID, "It must be individual or group.");
    }
}

fn content(check: &mut Check, content: &Content) {
    match content {
        Content::Text { text } => check.text("text.body", &text.body, limits::TEXT_CHARS_MAX),
        Content::Image { image } => media(check, "image", image),
        Content::Video { video } => media(check, "video", video),
        Content::Audio { audio } => media(check, "audio", audio),
        Content::Document { document } => media(check, "document", document),
        Content::Sticker { sticker } => media(check, "sticker", sticker),
        Content::Location { location: place } => location(check, "location", place),
        Content::Contacts { contacts: cards } => contacts(check, cards),
        Content::Reaction { reaction } => {
            check.required("reaction.message_id", Some(&reaction.message_id));
        }
        Content::Interactive { interactive } => interactive::check(check, interactive),
        Content::Template { template } => template::check(check, template),
    }
}

/// A medium of a message; what may stand beside it depends on its kind.
fn media(check: &mut Check, kind: &str, media: &Media) {
    media_source(check, kind, media);
    match (&media.caption, kind) {
        (Some(caption), "image" | "video" | "document") => {
            check.length(&format!("{kind}.caption"), caption, limits::CAPTION_CHARS_MAX);
        }
        (Some(_), _) => check.add(
            &format!("{kind}.caption"),
            CODE_PARAMETER,
            "Only images, videos and documents have one.",
        ),
        (None, _) => {}
    }
    if media.filename.is_some() && kind != "document" {
        check.add(&format!("{kind}.filename"), CODE_PARAMETER, "Only documents have one.");
    }
    if media.voice.is_some() && kind != "audio" {
        check.add(&format!("{kind}.voice"), CODE_PARAMETER, "Only audio can be a voice note.");
    }
}

/// Exactly one of id and link.
pub(super) fn media_source(check: &mut Check, path: &str, media: &Media) {
    match (&media.id, &media.link) {
        (Some(_), None) => {}
        (None, Some(link))
            if url::Url::parse(link).is_ok_and(|url| url.scheme() == "https" && url.has_host()) => {
        }
        (None, Some(_)) => {
            check.add(
                &format!("{path}.link"),
                CODE_INVALID,
                "It must be a public address that begins with https://.",
            );
        }
        (None, None) => check.add(path, CODE_MISSING, "Either id or link is required."),
        (Some(_), Some(_)) => check.add(path, CODE_INVALID, "Only one of id and link is allowed."),
    }
}

pub(super) fn location(check: &mut Check, path: &str, location: &Location) {
    if !(-90.0..=90.0).contains(&location.latitude) {
        check.add(&format!("{path}.latitude"), CODE_INVALID, "It must be between -90 and 90.");
    }
    if !(-180.0..=180.0).contains(&location.longitude) {
        check.add(&format!("{path}.longitude"), CODE_INVALID, "It must be between -180 and 180.");
    }
}

fn contacts(check: &mut Check, cards: &[Contact]) {
    check.count("contacts", cards.len(), 1, limits::CONTACTS_MAX, "contacts");
    for (index, card) in cards.iter().enumerate() {
        let name = card.name.as_ref().and_then(|name| name.formatted_name.as_deref());
        check.required(&format!("contacts[{index}].name.formatted_name"), name);
    }
}
