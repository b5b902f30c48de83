//! What a message says and to whom. All of it is personal data once it stands in an event.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::primitives::{PhoneNumber, UserId, Wamid};

/// Whom a message is for or from: a number, a business-scoped user id, or both. WhatsApp prefers the number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recipient {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<PhoneNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

impl Recipient {
    /// What identifies the pair with a number for WhatsApp's pair limit.
    pub fn key(&self) -> &str {
        match (&self.phone, &self.user_id) {
            (Some(phone), _) => phone.as_str(),
            (None, Some(user_id)) => user_id.as_str(),
            (None, None) => "",
        }
    }

    /// Whether both are one other side for WhatsApp: by number, which goes first, and by user id where one of them has no
    /// number. A person of several numbers may have the user id that belongs to another of them.
    pub fn is_also(&self, other: &Self) -> bool {
        match (&self.phone, &other.phone) {
            (Some(one), Some(other)) => one.canonical() == other.canonical(),
            _ => self.user_id.is_some() && self.user_id == other.user_id,
        }
    }
}

/// What a message says, in the gateway's own form; the Cloud API's JSON is made from it at the edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// The template itself is in the message's header, since it is nobody's personal data.
    Template {
        /// Slot → value, as the template's `parameters` name them: `body.1`, `header.image`, `button.0.url`.
        parameters: BTreeMap<String, ParameterValue>,
        /// The text a person sees on the phone.
        preview: String,
    },
    Text {
        body: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        preview_url: bool,
    },
    Media {
        media: MediaKind,
        source: MediaSource,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
        /// Audio that the phone shows as a voice message.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        voice: bool,
    },
    /// WhatsApp's own `interactive` object, checked when it came in.
    Interactive {
        interactive: Value,
    },
    Location {
        location: Value,
    },
    Contacts {
        contacts: Value,
    },
    Reaction {
        message_id: Wamid,
        emoji: String,
    },
    /// What a person wrote, in WhatsApp's own form: the object under the message's type.
    Inbound {
        /// WhatsApp's `type`: text, image, button, interactive, unsupported …
        #[serde(rename = "type")]
        message_type: String,
        body: Value,
        preview: String,
    },
}

impl Content {
    pub fn kind(&self) -> ContentKind {
        match self {
            Self::Template { .. } => ContentKind::Template,
            Self::Text { .. } => ContentKind::Text,
            Self::Media { .. } => ContentKind::Media,
            Self::Interactive { .. } => ContentKind::Interactive,
            Self::Location { .. } => ContentKind::Location,
            Self::Contacts { .. } => ContentKind::Contacts,
            Self::Reaction { .. } => ContentKind::Reaction,
            Self::Inbound { .. } => ContentKind::Inbound,
        }
    }

    /// The text a person would see on the phone.
    pub fn preview(&self) -> String {
        match self {
            Self::Template { preview, .. } | Self::Inbound { preview, .. } => preview.clone(),
            Self::Text { body, .. } => body.clone(),
            Self::Media { media, caption, filename, .. } => {
                let label = caption.as_deref().or(filename.as_deref()).unwrap_or_default();
                format!("[{}] {label}", media.as_str()).trim_end().to_owned()
            }
            Self::Interactive { interactive } => interactive
                .pointer("/body/text")
                .and_then(Value::as_str)
                .unwrap_or("[interactive]")
                .to_owned(),
            Self::Location { location } => match location.get("name").and_then(Value::as_str) {
                Some(name) => format!("[location] {name}"),
                None => "[location]".to_owned(),
            },
            Self::Contacts { .. } => "[contacts]".to_owned(),
            Self::Reaction { emoji, .. } => emoji.clone(),
        }
    }
}

/// What kind of content a message has; stays known when the content is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    Template,
    Text,
    Media,
    Interactive,
    Location,
    Contacts,
    Reaction,
    Inbound,
}

/// A value for one slot of a template: text, or WhatsApp's object for media, currency, dates and the like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ParameterValue {
    Text(String),
    Object(serde_json::Map<String, Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    Document,
    Sticker,
}

impl MediaKind {
    /// As WhatsApp's `type` and the property beside it are called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }
}

/// Uploaded media, or a public https URL that WhatsApp fetches. The gateway never fetches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    Id(String),
    Link(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_side_is_the_same_by_number_in_either_form_and_else_by_user_id() {
        let side = |phone: Option<&str>, user_id: Option<&str>| Recipient {
            phone: phone.map(|phone| PhoneNumber::parse(phone).unwrap()),
            user_id: user_id.map(|user_id| UserId::parse(user_id).unwrap()),
        };
        let (old, new) = (Some("+555198765432"), Some("+5551998765432"));
        let (ana, ben) = (Some("BR.1"), Some("BR.2"));
        assert!(side(old, None).is_also(&side(new, None)));
        assert!(side(None, ana).is_also(&side(new, ana)));
        assert!(
            !side(old, ana).is_also(&side(Some("+4915112345678"), ana)),
            "the number goes first"
        );
        assert!(!side(old, None).is_also(&side(None, ana)));
        assert!(!side(None, ana).is_also(&side(None, ben)));
        assert!(!side(old, None).is_also(&side(Some("+4915112345678"), None)));
        assert!(!side(None, None).is_also(&side(None, None)), "nobody is nobody");
    }
}
