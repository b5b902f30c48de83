//! What Meta posts to a callback URL (reference: section 4).
//!
//! The envelope keeps its arrays as raw JSON and reads each element by itself, so that one entry, change, status or
//! message that cannot be read never costs its neighbours. [`Change::value`] gives the typed value of the fields known
//! here and [`ChangeValue::Other`] for those that are not; both are to be answered with 200.

mod account;
mod history;
mod message;
mod status;
mod templates;

pub use account::{
    AccountAlert, AccountEvent, AccountReview, AccountUpdate, AlertInfo, BanInfo,
    BusinessCapability, BusinessUsername, PhoneNumberName, PhoneNumberQuality, Restriction,
    Security, WabaInfo,
};
pub use history::{HistoryChunk, HistoryMetadata, HistoryThread, StateSync, SyncedContact};
pub use message::{
    ButtonTap, Edit, EditedMessage, FlowReply, InboundContact, InboundLocation, InboundMedia,
    InboundText, Message, MessageContent, MessageContext, Order, OrderItem, Pick, Reaction,
    Referral, Revoke, Sender, SystemKind, SystemNotice,
};
pub use status::{Conversation, Cost, Pricing, Status, StatusKind, WebhookError};
pub use templates::{
    TemplateCategoryUpdate, TemplateComponentsUpdate, TemplateEvent, TemplateInfo,
    TemplateQualityUpdate, TemplateStatusUpdate,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Extra, ItemError, lenient, masked_debug, read_item, read_items, shape_of};

/// The value of `object` in every WhatsApp webhook.
pub const OBJECT: &str = "whatsapp_business_account";

/// One POST.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub object: Option<String>,
    #[serde(default, deserialize_with = "lenient::items")]
    pub entry: Vec<Value>,
}

impl Webhook {
    /// Reads the envelope; its entries are read one by one.
    ///
    /// # Errors
    /// [`ItemError`] where the body is no JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, ItemError> {
        serde_json::from_slice(body).map_err(|error| ItemError {
            item: "webhook",
            index: 0,
            reason: shape_of(&error),
        })
    }

    /// A webhook of one change.
    pub fn of(waba_id: &str, field: &str, value: Value) -> Self {
        let change = serde_json::json!({ "field": field, "value": value });
        let entry = serde_json::json!({ "id": waba_id, "changes": [change] });
        Self { object: Some(OBJECT.to_owned()), entry: vec![entry] }
    }

    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, ItemError>> {
        read_items("entry", &self.entry)
    }
}

/// What happened at one account.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The WABA's id; for some `account_update` events a business portfolio's: see [`AccountUpdate::waba_info`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
    /// On account-level fields only.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none",
        serialize_with = "lenient::as_number"
    )]
    pub time: Option<lenient::UnixTime>,
    #[serde(default, deserialize_with = "lenient::items")]
    pub changes: Vec<Value>,
    /// Printed here, a level too high, in one of Meta's samples.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub field: Option<String>,
}

impl Entry {
    pub fn changes(&self) -> impl Iterator<Item = Result<Change, ItemError>> {
        read_items::<Change>("change", &self.changes).map(|change| {
            let mut change = change?;
            if change.field.is_none() {
                change.field.clone_from(&self.field);
            }
            Ok(change)
        })
    }
}

/// One change of one field.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub field: Option<String>,
    /// As it came.
    #[serde(default)]
    pub value: Value,
}

impl Change {
    /// The value, by its field.
    ///
    /// # Errors
    /// [`ItemError`] where the value of a known field lacks what it cannot be without. The raw value stays in
    /// [`Self::value`].
    pub fn value(&self) -> Result<ChangeValue, ItemError> {
        let value = &self.value;
        let field = self.field.as_deref().unwrap_or_default();
        Ok(match field {
            // A sample of Meta's prints a quality update under the name of the status field.
            "message_template_status_update" | "message_template_quality_update"
                if value.get("new_quality_score").is_some() =>
            {
                ChangeValue::TemplateQuality(read_item("template quality update", 0, value)?)
            }
            "messages" => ChangeValue::Messages(read_item("messages value", 0, value)?),
            "standby" => ChangeValue::Standby(read_item("standby value", 0, value)?),
            "smb_message_echoes" | "message_echoes" => {
                ChangeValue::Echoes(read_item("echoes value", 0, value)?)
            }
            "user_preferences" => {
                ChangeValue::UserPreferences(read_item("user preferences value", 0, value)?)
            }
            "user_id_update" => {
                ChangeValue::UserIdUpdate(read_item("user id update value", 0, value)?)
            }
            "history" => ChangeValue::History(read_item("history value", 0, value)?),
            "smb_app_state_sync" => {
                ChangeValue::StateSync(read_item("state sync value", 0, value)?)
            }
            "message_template_status_update" => {
                ChangeValue::TemplateStatus(read_item("template status update", 0, value)?)
            }
            "message_template_quality_update" => {
                ChangeValue::TemplateQuality(read_item("template quality update", 0, value)?)
            }
            "template_category_update" => {
                ChangeValue::TemplateCategory(read_item("template category update", 0, value)?)
            }
            "message_template_components_update" => {
                ChangeValue::TemplateComponents(read_item("template components update", 0, value)?)
            }
            "phone_number_quality_update" => {
                ChangeValue::PhoneNumberQuality(read_item("phone number quality update", 0, value)?)
            }
            "phone_number_name_update" => {
                ChangeValue::PhoneNumberName(read_item("phone number name update", 0, value)?)
            }
            "account_alerts" => ChangeValue::AccountAlert(read_item("account alert", 0, value)?),
            "account_review_update" => {
                ChangeValue::AccountReview(read_item("account review update", 0, value)?)
            }
            "account_update" => ChangeValue::AccountUpdate(Box::new(read_item::<AccountUpdate>(
                "account update",
                0,
                value,
            )?)),
            "business_capability_update" => {
                ChangeValue::BusinessCapability(read_item("business capability update", 0, value)?)
            }
            "security" => ChangeValue::Security(read_item("security update", 0, value)?),
            "business_username_updates"
            | "business_username_update"
            | "phone_number_username_update" => {
                ChangeValue::BusinessUsername(read_item("business username update", 0, value)?)
            }
            _ => ChangeValue::Other,
        })
    }
}

/// A change's value, typed by its field.
#[derive(Clone, PartialEq)]
pub enum ChangeValue {
    /// Statuses, inbound messages, value-level errors.
    Messages(MessagingValue),
    /// As `Messages`, while another app answers the conversation: for context, never to be replied to.
    Standby(MessagingValue),
    /// Sent from the WhatsApp Business app: outbound, `message_echoes`.
    Echoes(MessagingValue),
    UserPreferences(MessagingValue),
    UserIdUpdate(MessagingValue),
    /// Backfill after coexistence onboarding: never to start anything.
    History(MessagingValue),
    StateSync(MessagingValue),
    TemplateStatus(TemplateStatusUpdate),
    TemplateQuality(TemplateQualityUpdate),
    TemplateCategory(TemplateCategoryUpdate),
    TemplateComponents(TemplateComponentsUpdate),
    PhoneNumberQuality(PhoneNumberQuality),
    PhoneNumberName(PhoneNumberName),
    AccountAlert(AccountAlert),
    AccountReview(AccountReview),
    AccountUpdate(Box<AccountUpdate>),
    BusinessCapability(BusinessCapability),
    Security(Security),
    BusinessUsername(BusinessUsername),
    /// A field this version does not interpret. Its raw value is in [`Change::value`].
    Other,
}

impl ChangeValue {
    /// The value with `metadata`, of the fields that have one.
    pub fn messaging(&self) -> Option<&MessagingValue> {
        match self {
            Self::Messages(value)
            | Self::Standby(value)
            | Self::Echoes(value)
            | Self::UserPreferences(value)
            | Self::UserIdUpdate(value)
            | Self::History(value)
            | Self::StateSync(value) => Some(value),
            _ => None,
        }
    }
}

/// The value of the fields about conversations. Which arrays are filled depends on the field, and Meta mixes them: look
/// at each.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MessagingValue {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub messaging_product: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub metadata: Option<Metadata>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub contacts: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub statuses: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub messages: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub errors: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub message_echoes: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub user_preferences: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub user_id_update: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub user_actions: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub history: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub state_sync: Vec<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl MessagingValue {
    /// The number this is about, where it says so.
    pub fn phone_number_id(&self) -> Option<&str> {
        self.metadata.as_ref()?.phone_number_id.as_deref()
    }

    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact, ItemError>> {
        read_items("contact", &self.contacts)
    }

    pub fn statuses(&self) -> impl Iterator<Item = Result<Status, ItemError>> {
        read_items("status", &self.statuses)
    }

    pub fn messages(&self) -> impl Iterator<Item = Result<Message, ItemError>> {
        read_items("message", &self.messages)
    }

    /// Trouble of the number, account or app; not of a message.
    pub fn errors(&self) -> impl Iterator<Item = Result<WebhookError, ItemError>> {
        read_items("error", &self.errors)
    }

    pub fn echoes(&self) -> impl Iterator<Item = Result<Message, ItemError>> {
        read_items("echo", &self.message_echoes)
    }

    pub fn user_preferences(&self) -> impl Iterator<Item = Result<UserPreference, ItemError>> {
        read_items("user preference", &self.user_preferences)
    }

    pub fn user_id_updates(&self) -> impl Iterator<Item = Result<UserIdUpdate, ItemError>> {
        read_items("user id update", &self.user_id_update)
    }

    pub fn user_actions(&self) -> impl Iterator<Item = Result<UserAction, ItemError>> {
        read_items("user action", &self.user_actions)
    }

    pub fn history(&self) -> impl Iterator<Item = Result<HistoryChunk, ItemError>> {
        read_items("history chunk", &self.history)
    }

    pub fn state_sync(&self) -> impl Iterator<Item = Result<StateSync, ItemError>> {
        read_items("synced contact", &self.state_sync)
    }
}

/// The business number a value is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_phone_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub phone_number_id: Option<String>,
}

/// The person a status or message is about. A person with a username may have no `wa_id`; one of the ids is there.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub profile: Option<Profile>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub wa_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub parent_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub identity_key_hash: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// Chosen by the person; any Unicode.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// With `@` in Meta's samples; display only.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub username: Option<String>,
}

/// A person stopped or resumed marketing messages of this business.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct UserPreference {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub wa_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub detail: Option<String>,
    /// `marketing_messages`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub category: Option<String>,
    pub value: Preference,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none",
        serialize_with = "lenient::as_number"
    )]
    pub timestamp: Option<lenient::UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub signup_id: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

super::open_enum! {
    /// What a person chose about marketing messages.
    pub enum Preference {
        Stop = "stop",
        Resume = "resume",
        Signup = "signup",
    }
}

/// A person changed number and so got a new business-scoped id: one person under two ids.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct UserIdUpdate {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub wa_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub detail: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub user_id: Option<IdChange>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub parent_user_id: Option<IdChange>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub timestamp: Option<lenient::UnixTime>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdChange {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub previous: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub current: Option<String>,
}

/// A tap on a link of a marketing message.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct UserAction {
    #[serde(deserialize_with = "lenient::id")]
    pub action_type: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub timestamp: Option<lenient::UnixTime>,
    #[serde(flatten)]
    pub extra: Extra,
}

masked_debug!(
    Webhook,
    Entry,
    Change,
    ChangeValue,
    MessagingValue,
    Contact,
    Profile,
    UserPreference,
    UserIdUpdate,
    IdChange,
    UserAction
);
