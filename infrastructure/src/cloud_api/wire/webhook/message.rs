//! Inbound messages of every type, and echoes of what was sent from the WhatsApp Business app (reference: 4.9, 4.13).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::status::WebhookError;
use crate::cloud_api::wire::lenient::{self, UnixTime};
use crate::cloud_api::wire::{
    Extra, ItemError, masked_debug, open_enum, read_item, read_items, send,
};

/// A message. What it says is under the property named like its `type`: [`Self::content`] reads it.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Digits without plus. Absent (or empty) for people with a username, and seen with a user id inside: ask
    /// [`Self::sender`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub from_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub from_parent_user_id: Option<String>,
    /// Echoes and history: the customer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub to_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub to_parent_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub group_id: Option<String>,
    /// The wamid.
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub timestamp: Option<UnixTime>,
    #[serde(rename = "type", deserialize_with = "lenient::id")]
    pub kind: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub context: Option<MessageContext>,
    /// The advertisement or post this came from.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub referral: Option<Referral>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub errors: Vec<Value>,
    /// History only: `{"status": "READ"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_context: Option<Value>,
    /// The content under its own name, and whatever else came.
    #[serde(flatten)]
    pub rest: Extra,
}

impl Message {
    pub fn errors(&self) -> impl Iterator<Item = Result<WebhookError, ItemError>> {
        read_items("error", &self.errors)
    }

    /// Who wrote it, each id where it belongs.
    pub fn sender(&self) -> Sender<'_> {
        let from = self.from.as_deref();
        let from_is_user_id =
            from.is_some_and(|from| domain::primitives::UserId::parse(from).is_ok());
        Sender {
            wa_id: from.filter(|_| !from_is_user_id),
            user_id: self.from_user_id.as_deref().or_else(|| from.filter(|_| from_is_user_id)),
            parent_user_id: self.from_parent_user_id.as_deref(),
        }
    }

    /// What it says. A known type whose content cannot be read is [`MessageContent::Unreadable`]: the message was
    /// received all the same.
    pub fn content(&self) -> MessageContent {
        content(&self.kind, &self.rest)
    }
}

/// The ids of who wrote a message: at least one is there in what Meta documents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sender<'a> {
    pub wa_id: Option<&'a str>,
    pub user_id: Option<&'a str>,
    pub parent_user_id: Option<&'a str>,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageContext {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub from_user_id: Option<String>,
    /// The wamid replied to; may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub forwarded: Option<bool>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub frequently_forwarded: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referred_product: Option<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// A click-to-WhatsApp advertisement or post.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Referral {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub source_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub source_id: Option<String>,
    /// `ad` or `post`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub source_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub headline: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub ctwa_clid: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a message says, by type.
#[derive(Clone, PartialEq)]
pub enum MessageContent {
    Text(InboundText),
    Image(InboundMedia),
    Video(InboundMedia),
    /// Also the `voice` of older payloads.
    Audio(InboundMedia),
    Document(InboundMedia),
    Sticker(InboundMedia),
    Location(InboundLocation),
    Contacts(Vec<InboundContact>),
    /// A tap on a quick reply of a template.
    Button(ButtonTap),
    /// A tap on a reply button.
    ButtonReply(Pick),
    /// A choice from a list.
    ListReply(Pick),
    FlowReply(FlowReply),
    /// An interactive answer of another kind: its type and its JSON.
    InteractiveOther(String, Value),
    Order(Order),
    Reaction(Reaction),
    /// Number or id changed, identity changed. Not written by the person.
    System(SystemNotice),
    Edit(Edit),
    Revoke(Revoke),
    /// The app shows something that the API cannot: what kind, where it says so.
    Unsupported(Option<String>),
    /// Deprecated: the chat was opened for the first time.
    RequestWelcome,
    /// History only.
    MediaPlaceholder,
    /// A known type whose content cannot be read: why, without its values.
    Unreadable(String),
    /// A type that this version does not know, with the property of its name.
    Other(Option<Value>),
}

impl MessageContent {
    /// The media object, where this is one.
    pub fn media(&self) -> Option<&InboundMedia> {
        match self {
            Self::Image(media)
            | Self::Video(media)
            | Self::Audio(media)
            | Self::Document(media)
            | Self::Sticker(media) => Some(media),
            _ => None,
        }
    }

    /// Whether the person wrote or tapped something that opens or refreshes the service window. Reactions, edits,
    /// revocations, notices and what the API cannot show do not count: Meta does not say that they do.
    pub fn opens_window(&self) -> bool {
        !matches!(
            self,
            Self::Reaction(_)
                | Self::System(_)
                | Self::Edit(_)
                | Self::Revoke(_)
                | Self::Unsupported(_)
                | Self::MediaPlaceholder
        )
    }
}

fn content(kind: &str, rest: &Extra) -> MessageContent {
    match read_content(kind, rest) {
        Ok(content) => content,
        Err(error) => MessageContent::Unreadable(error.reason),
    }
}

fn read_content(kind: &str, rest: &Extra) -> Result<MessageContent, ItemError> {
    fn part<T: DeserializeOwned>(rest: &Extra, kind: &str) -> Result<T, ItemError> {
        read_item("content", 0, rest.get(kind).unwrap_or(&Value::Null))
    }
    Ok(match kind {
        "text" => MessageContent::Text(part(rest, kind)?),
        "image" => MessageContent::Image(part(rest, kind)?),
        "video" => MessageContent::Video(part(rest, kind)?),
        "audio" => MessageContent::Audio(part(rest, kind)?),
        "voice" => {
            let name = if rest.contains_key("voice") { "voice" } else { "audio" };
            MessageContent::Audio(InboundMedia { voice: Some(true), ..part(rest, name)? })
        }
        "document" => MessageContent::Document(part(rest, kind)?),
        "sticker" => MessageContent::Sticker(part(rest, kind)?),
        "location" => MessageContent::Location(part(rest, kind)?),
        "contacts" => MessageContent::Contacts(part(rest, kind)?),
        "button" => MessageContent::Button(part(rest, kind)?),
        "interactive" => interactive(rest.get(kind).unwrap_or(&Value::Null))?,
        "order" => MessageContent::Order(part(rest, kind)?),
        "reaction" => MessageContent::Reaction(part(rest, kind)?),
        "system" => {
            let identity = rest.get("identity").cloned();
            MessageContent::System(SystemNotice { identity, ..part(rest, kind)? })
        }
        "edit" => MessageContent::Edit(part(rest, kind)?),
        "revoke" => MessageContent::Revoke(part(rest, kind)?),
        "unsupported" | "unknown" => {
            let what =
                rest.get("unsupported").and_then(|it| it.get("type")).and_then(Value::as_str);
            MessageContent::Unsupported(what.map(str::to_owned))
        }
        "request_welcome" => MessageContent::RequestWelcome,
        "media_placeholder" => MessageContent::MediaPlaceholder,
        _ => MessageContent::Other(rest.get(kind).cloned()),
    })
}

fn interactive(value: &Value) -> Result<MessageContent, ItemError> {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    let part = value.get(kind).unwrap_or(&Value::Null);
    Ok(match kind {
        "button_reply" => MessageContent::ButtonReply(read_item("button reply", 0, part)?),
        "list_reply" => MessageContent::ListReply(read_item("list reply", 0, part)?),
        "nfm_reply" => MessageContent::FlowReply(read_item("flow reply", 0, part)?),
        "" => {
            return Err(ItemError {
                item: "interactive",
                index: 0,
                reason: "missing field `type`".to_owned(),
            });
        }
        _ => MessageContent::InteractiveOther(kind.to_owned(), part.clone()),
    })
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundText {
    pub body: String,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InboundMedia {
    /// Can be fetched for seven days; best at once.
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub mime_type: Option<String>,
    /// Base64 here, hex when resolved.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub caption: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub filename: Option<String>,
    /// A voice note rather than a sound file.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub voice: Option<bool>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub animated: Option<bool>,
    /// Valid for five minutes, with the token; not everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub url: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct InboundLocation {
    #[serde(deserialize_with = "lenient::decimal")]
    pub latitude: f64,
    #[serde(deserialize_with = "lenient::decimal")]
    pub longitude: f64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub url: Option<String>,
}

/// A shared contact; `origin` `contact_request` is the answer to a request for the number.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InboundContact {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub vcard: Option<String>,
    #[serde(flatten)]
    pub card: send::Contact,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ButtonTap {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub text: Option<String>,
    /// The label where the send gave none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub payload: Option<String>,
}

/// A reply button or list row that was picked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub description: Option<String>,
}

/// The answers of a flow (or another native form, by `name`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowReply {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub body: Option<String>,
    /// JSON in a string, not necessarily an object.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub response_json: Option<String>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub catalog_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub text: Option<String>,
    #[serde(default)]
    pub product_items: Vec<OrderItem>,
}

/// Numbers as printed: Meta uses numbers and strings.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderItem {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub product_retailer_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub quantity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub item_price: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub currency: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    #[serde(deserialize_with = "lenient::id")]
    pub message_id: String,
    /// Absent: the reaction was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub emoji: Option<String>,
}

open_enum! {
    /// What a system message reports.
    pub enum SystemKind {
        UserChangedNumber = "user_changed_number",
        /// The older name of the same.
        CustomerChangedNumber = "customer_changed_number",
        UserChangedUserId = "user_changed_user_id",
        CustomerIdentityChanged = "customer_identity_changed",
    }
}

/// The former identity is the message's sender; the new one is here.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemNotice {
    #[serde(
        default,
        rename = "type",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub kind: Option<SystemKind>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub wa_id: Option<String>,
    /// The older name of `wa_id`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub new_wa_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub parent_user_id: Option<String>,
    /// `{acknowledged, created_timestamp, hash}`, of an identity change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// The person changed a message, within 15 minutes of sending it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    #[serde(deserialize_with = "lenient::id")]
    pub original_message_id: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub message: Option<EditedMessage>,
}

/// The new content.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct EditedMessage {
    #[serde(rename = "type", deserialize_with = "lenient::id")]
    pub kind: String,
    #[serde(flatten)]
    pub rest: Extra,
}

impl EditedMessage {
    pub fn content(&self) -> MessageContent {
        content(&self.kind, &self.rest)
    }
}

/// The person took a message back: what it said should be hidden.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    #[serde(deserialize_with = "lenient::id")]
    pub original_message_id: String,
}

masked_debug!(
    Message,
    Sender<'_>,
    MessageContext,
    Referral,
    MessageContent,
    InboundText,
    InboundMedia,
    InboundLocation,
    InboundContact,
    ButtonTap,
    Pick,
    FlowReply,
    Order,
    OrderItem,
    Reaction,
    SystemNotice,
    Edit,
    EditedMessage,
    Revoke,
);
