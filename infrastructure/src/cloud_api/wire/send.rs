//! Bodies of `POST /{phone-number-id}/messages` and `/marketing_messages` (reference: sections 2 and 3).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Extra, lenient, masked_debug, open_enum};

/// The longest `biz_opaque_callback_data` that Meta takes, in characters.
pub const CALLBACK_DATA_CHARS_MAX: usize = 512;

/// `"whatsapp"`, the only product there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessagingProduct;

impl Serialize for MessagingProduct {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("whatsapp")
    }
}

impl<'de> Deserialize<'de> for MessagingProduct {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "whatsapp" => Ok(Self),
            _ => Err(serde::de::Error::custom("another product, expected \"whatsapp\"")),
        }
    }
}

open_enum! {
    /// Whom a message is for.
    pub enum RecipientType {
        Individual = "individual",
        Group = "group",
    }
}

/// One message to send. `to` is a phone number with plus (or a group id), `recipient` a business-scoped user id; if both
/// are there Meta goes by `to`, so a gateway sets one.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SendRequest {
    pub messaging_product: MessagingProduct,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient_type: Option<RecipientType>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub recipient: Option<String>,
    /// `type` and the property of the same name.
    #[serde(flatten)]
    pub content: Content,
    /// What this quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Echoed in every status of this message, to every app on the WABA: no personal data in here. At most
    /// [`CALLBACK_DATA_CHARS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biz_opaque_callback_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient_identity_key_hash: Option<String>,
    /// `/marketing_messages` only: `CLOUD_API_FALLBACK` or `STRICT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_policy: Option<String>,
    /// `/marketing_messages` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_activity_sharing: Option<bool>,
}

impl SendRequest {
    /// To a phone number, which is written with its plus: without, Meta may prepend the sender's country.
    pub fn to_number(number: &domain::primitives::PhoneNumber, content: Content) -> Self {
        Self { to: Some(number.as_str().to_owned()), ..Self::to_nobody(content) }
    }

    /// To a business-scoped user id. Authentication templates cannot go there (131062).
    pub fn to_user(user: &domain::primitives::UserId, content: Content) -> Self {
        Self { recipient: Some(user.as_str().to_owned()), ..Self::to_nobody(content) }
    }

    fn to_nobody(content: Content) -> Self {
        Self {
            messaging_product: MessagingProduct,
            recipient_type: Some(RecipientType::Individual),
            to: None,
            recipient: None,
            content,
            context: None,
            biz_opaque_callback_data: None,
            recipient_identity_key_hash: None,
            product_policy: None,
            message_activity_sharing: None,
        }
    }
}

/// A quoted message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    pub message_id: String,
}

/// What a message says. The JSON is `"type": "text", "text": {…}` beside the envelope's fields.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    Text { text: Text },
    Image { image: Media },
    Video { video: Media },
    Audio { audio: Media },
    Document { document: Media },
    Sticker { sticker: Media },
    Location { location: Location },
    Contacts { contacts: Vec<Contact> },
    Reaction { reaction: Reaction },
    Interactive { interactive: Box<Interactive> },
    Template { template: Template },
}

impl Content {
    /// The words `type` may have here.
    pub const KINDS: [&'static str; 11] = [
        "text",
        "image",
        "video",
        "audio",
        "document",
        "sticker",
        "location",
        "contacts",
        "reaction",
        "interactive",
        "template",
    ];

    /// The word in `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image { .. } => "image",
            Self::Video { .. } => "video",
            Self::Audio { .. } => "audio",
            Self::Document { .. } => "document",
            Self::Sticker { .. } => "sticker",
            Self::Location { .. } => "location",
            Self::Contacts { .. } => "contacts",
            Self::Reaction { .. } => "reaction",
            Self::Interactive { .. } => "interactive",
            Self::Template { .. } => "template",
        }
    }

    /// The media object, where this is one.
    pub fn media(&self) -> Option<&Media> {
        match self {
            Self::Image { image: media }
            | Self::Video { video: media }
            | Self::Audio { audio: media }
            | Self::Document { document: media }
            | Self::Sticker { sticker: media } => Some(media),
            _ => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    pub body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_url: Option<bool>,
}

/// Media by uploaded id or by public https link: exactly one of the two.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub link: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Documents only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Audio only: a voice note (ogg/opus).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<bool>,
}

impl Media {
    pub fn by_id(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }

    pub fn by_link(link: impl Into<String>) -> Self {
        Self { link: Some(link.into()), ..Self::default() }
    }
}

/// Decimal degrees.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    #[serde(deserialize_with = "lenient::decimal")]
    pub latitude: f64,
    #[serde(deserialize_with = "lenient::decimal")]
    pub longitude: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A contact card. Inbound ones may lack every part; outbound ones need `name.formatted_name`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ContactName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phones: Vec<ContactPhone>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<Extra>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Extra>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<Extra>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<Extra>,
    /// `YYYY-MM-DD`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birthday: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactName {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formatted_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub middle_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactPhone {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub phone: Option<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub wa_id: Option<String>,
}

/// An empty `emoji` takes the reaction away.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    pub message_id: String,
    #[serde(default)]
    pub emoji: String,
}

open_enum! {
    /// The kinds of interactive message.
    pub enum InteractiveKind {
        Button = "button",
        List = "list",
        CtaUrl = "cta_url",
        Flow = "flow",
        LocationRequest = "location_request_message",
        Product = "product",
        ProductList = "product_list",
        CatalogMessage = "catalog_message",
        Carousel = "carousel",
        AddressMessage = "address_message",
        ContactRequest = "contact_request",
        CallPermissionRequest = "call_permission_request",
        VoiceCall = "voice_call",
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Interactive {
    #[serde(rename = "type")]
    pub kind: InteractiveKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Paragraph>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<Paragraph>,
    pub action: Action,
}

/// `{"text": "…"}`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paragraph {
    pub text: String,
}

/// A text header, or one of media.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Header {
    Text { text: String },
    Image { image: Media },
    Video { video: Media },
    Document { document: Media },
}

/// What can be done with an interactive message; which parts are there depends on its kind. Parameters of flows, carousel
/// cards and the like stay JSON and are checked by `validate`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Action {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Reply buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<ReplyButton>,
    /// A list's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub button: Option<String>,
    /// Of a list or a product list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_retailer_id: Option<String>,
    /// Of a carousel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReplyButton {
    Reply { reply: Choice },
}

impl ReplyButton {
    pub fn reply(&self) -> &Choice {
        let Self::Reply { reply } = self;
        reply
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub id: String,
    pub title: String,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Section {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Row>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub product_items: Vec<ProductItem>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub id: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductItem {
    pub product_retailer_id: String,
}

/// A template and what fills it. Components are left out for a template without variables.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    pub name: String,
    pub language: Language,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
}

/// Must match the template's exactly: `en` and `en_US` are two templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Language {
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl Language {
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), policy: None }
    }
}

open_enum! {
    /// Where in a template parameters go.
    pub enum ComponentKind {
        Header = "header",
        Body = "body",
        Button = "button",
        Carousel = "carousel",
        LimitedTimeOffer = "limited_time_offer",
        TapTargetConfiguration = "tap_target_configuration",
    }
}

open_enum! {
    /// What a template's button takes as its parameter.
    pub enum ButtonKind {
        QuickReply = "quick_reply",
        Url = "url",
        CopyCode = "copy_code",
        Flow = "flow",
        Catalog = "catalog",
        Mpm = "mpm",
        OrderDetails = "order_details",
        OrderStatus = "order_status",
        VoiceCall = "voice_call",
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    #[serde(rename = "type")]
    pub kind: ComponentKind,
    /// Buttons only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_type: Option<ButtonKind>,
    /// Buttons only: the position among the template's buttons, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<ButtonIndex>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// Carousels only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
    /// As a component of its own; Meta prints it as a parameter as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_time_offer: Option<LimitedTimeOffer>,
}

impl Component {
    pub fn new(kind: ComponentKind, parameters: Vec<Parameter>) -> Self {
        Self {
            kind,
            sub_type: None,
            index: None,
            parameters,
            cards: Vec::new(),
            limited_time_offer: None,
        }
    }

    pub fn button(sub_type: ButtonKind, index: u32, parameter: Parameter) -> Self {
        Self {
            sub_type: Some(sub_type),
            index: Some(ButtonIndex(index)),
            ..Self::new(ComponentKind::Button, vec![parameter])
        }
    }

    pub fn carousel(cards: Vec<Card>) -> Self {
        Self { cards, ..Self::new(ComponentKind::Carousel, Vec::new()) }
    }
}

/// Read as string or number, written as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ButtonIndex(pub u32);

impl Serialize for ButtonIndex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ButtonIndex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = lenient::whole_required(deserializer)?;
        u32::try_from(number)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("out of range, expected 0 or more"))
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub card_index: u32,
    pub components: Vec<Component>,
}

/// One value of a template. Named templates carry `parameter_name` on each, positional ones on none.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_name: Option<String>,
    #[serde(flatten)]
    pub value: ParameterValue,
}

impl Parameter {
    pub fn text(text: impl Into<String>) -> Self {
        ParameterValue::Text { text: text.into() }.into()
    }

    pub fn named(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            parameter_name: Some(name.into()),
            value: ParameterValue::Text { text: text.into() },
        }
    }
}

impl From<ParameterValue> for Parameter {
    fn from(value: ParameterValue) -> Self {
        Self { parameter_name: None, value }
    }
}

/// Of header and body: text, currency, date_time and (headers) media or location; of buttons: payload, text, coupon_code,
/// action. A `type` that is none of these is refused on reading.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ParameterValue {
    Text {
        text: String,
    },
    Currency {
        currency: Currency,
    },
    DateTime {
        date_time: FallbackValue,
    },
    Image {
        image: Media,
    },
    Video {
        video: Media,
    },
    Document {
        document: Media,
    },
    Location {
        location: Location,
    },
    /// Comes back in the webhook when the button is tapped.
    Payload {
        payload: String,
    },
    CouponCode {
        coupon_code: String,
    },
    /// Of flow, catalog and multi-product buttons.
    Action {
        action: ButtonAction,
    },
    LimitedTimeOffer {
        limited_time_offer: LimitedTimeOffer,
    },
    TapTargetConfiguration {
        tap_target_configuration: Vec<Extra>,
    },
    Product {
        product: Extra,
    },
    OrderStatus {
        order_status: Extra,
    },
}

impl ParameterValue {
    /// The word in `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Currency { .. } => "currency",
            Self::DateTime { .. } => "date_time",
            Self::Image { .. } => "image",
            Self::Video { .. } => "video",
            Self::Document { .. } => "document",
            Self::Location { .. } => "location",
            Self::Payload { .. } => "payload",
            Self::CouponCode { .. } => "coupon_code",
            Self::Action { .. } => "action",
            Self::LimitedTimeOffer { .. } => "limited_time_offer",
            Self::TapTargetConfiguration { .. } => "tap_target_configuration",
            Self::Product { .. } => "product",
            Self::OrderStatus { .. } => "order_status",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Currency {
    pub fallback_value: String,
    /// ISO 4217.
    pub code: String,
    /// The amount times 1000.
    pub amount_1000: i64,
}

/// Always shown as given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackValue {
    pub fallback_value: String,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ButtonAction {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_action_data: Option<Extra>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail_product_retailer_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitedTimeOffer {
    /// Unix time in milliseconds.
    pub expiration_time_ms: i64,
}

/// A read receipt, with or without the typing bubble. The same endpoint as a send.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRead {
    pub messaging_product: MessagingProduct,
    pub status: ReadStatus,
    pub message_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typing_indicator: Option<TypingIndicator>,
}

impl MarkRead {
    pub fn new(wamid: impl Into<String>, typing: bool) -> Self {
        Self {
            messaging_product: MessagingProduct,
            status: ReadStatus::Read,
            message_id: wamid.into(),
            typing_indicator: typing.then_some(TypingIndicator::Text),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadStatus {
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TypingIndicator {
    Text,
}

/// What a body posted to `/messages` is.
#[derive(Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MessagesCall {
    Send(Box<SendRequest>),
    MarkRead(MarkRead),
}

impl MessagesCall {
    /// A body with `status` is a read receipt, any other a message.
    ///
    /// # Errors
    /// [`super::ItemError`] naming what is missing, never a value.
    pub fn read(body: &Value) -> Result<Self, super::ItemError> {
        if body.get("status").is_some() {
            super::read_item("read receipt", 0, body).map(Self::MarkRead)
        } else {
            super::read_item("message", 0, body).map(|send| Self::Send(Box::new(send)))
        }
    }
}

masked_debug!(
    SendRequest,
    Context,
    Content,
    Text,
    Media,
    Location,
    Contact,
    ContactName,
    ContactPhone,
    Reaction,
    Interactive,
    Paragraph,
    Header,
    Action,
    ReplyButton,
    Choice,
    Section,
    Row,
    ProductItem,
    Template,
    Component,
    Card,
    Parameter,
    ParameterValue,
    Currency,
    FallbackValue,
    ButtonAction,
    MarkRead,
    MessagesCall,
);
