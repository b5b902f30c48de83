//! Statuses of sent messages, and errors as webhooks print them (reference: sections 4.7 and 4.8).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cloud_api::wire::lenient::{self, UnixTime};
use crate::cloud_api::wire::{Extra, ItemError, masked_debug, open_enum, read_items};

open_enum! {
    /// How far a message got. `read` implies `delivered`, which may never come.
    pub enum StatusKind {
        Sent = "sent",
        Delivered = "delivered",
        Read = "read",
        /// A voice note was first played.
        Played = "played",
        Failed = "failed",
    }
}

/// One status of one message (of one participant, in groups).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The wamid.
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    pub status: StatusKind,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub timestamp: Option<UnixTime>,
    /// Digits without plus, or a group id; absent where the number may not be shared.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub recipient_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub recipient_user_id: Option<String>,
    /// One of two spellings; see [`Self::parent_user_id`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub recipient_parent_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub parent_recipient_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub recipient_identity_key_hash: Option<String>,
    /// `group`, in groups.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub recipient_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub recipient_participant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub recipient_participant_user_id: Option<String>,
    /// What the send carried.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub biz_opaque_callback_data: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub conversation: Option<Conversation>,
    /// On `sent`, and on one of `delivered` and `read`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub pricing: Option<Pricing>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub errors: Vec<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl Status {
    /// A status without anything optional.
    pub fn new(wamid: impl Into<String>, status: StatusKind, at: UnixTime) -> Self {
        Self {
            id: wamid.into(),
            status,
            timestamp: Some(at),
            recipient_id: None,
            recipient_user_id: None,
            recipient_parent_user_id: None,
            parent_recipient_user_id: None,
            recipient_identity_key_hash: None,
            recipient_type: None,
            recipient_participant_id: None,
            recipient_participant_user_id: None,
            biz_opaque_callback_data: None,
            conversation: None,
            pricing: None,
            errors: Vec::new(),
            extra: Extra::new(),
        }
    }

    pub fn parent_user_id(&self) -> Option<&str> {
        self.recipient_parent_user_id.as_deref().or(self.parent_recipient_user_id.as_deref())
    }

    pub fn errors(&self) -> impl Iterator<Item = Result<WebhookError, ItemError>> {
        read_items("error", &self.errors)
    }

    /// The first readable error: usually the only one.
    pub fn first_error(&self) -> Option<WebhookError> {
        self.errors().find_map(Result::ok)
    }
}

/// Since webhook version 24 only for free-entry-point windows; before, per message or (until July 2025) per 24 hours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub expiration_timestamp: Option<UnixTime>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub origin: Option<Origin>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    #[serde(
        default,
        rename = "type",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::text"
    )]
    pub kind: Option<String>,
}

/// What Meta charges. Kept as received: what is free changes with Meta's price list, and cost is never inferred from the
/// kind of message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pricing {
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub billable: Option<bool>,
    /// `PMP` per message, `CBP` per conversation (older).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub pricing_model: Option<String>,
    /// `regular`, `free_customer_service`, `free_entry_point` …
    #[serde(
        default,
        rename = "type",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::text"
    )]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub category: Option<String>,
    /// Max-price marketing only; an estimate.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub cost: Option<Cost>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// As printed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub amount: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub currency: Option<String>,
}

/// An error in a webhook: of a failed status, an inbound message, or a number as a whole.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct WebhookError {
    #[serde(deserialize_with = "lenient::whole_required")]
    pub code: i64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub href: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl WebhookError {
    pub fn new(code: i64, title: impl Into<String>) -> Self {
        let title = title.into();
        Self {
            code,
            message: Some(title.clone()),
            title: Some(title),
            error_data: None,
            href: None,
            extra: Extra::new(),
        }
    }

    /// The details, else the title.
    pub fn details(&self) -> Option<&str> {
        let details = match &self.error_data {
            Some(Value::String(text)) => Some(text.as_str()),
            Some(Value::Object(data)) => data.get("details").and_then(Value::as_str),
            _ => None,
        };
        details.or(self.title.as_deref()).or(self.message.as_deref())
    }
}

/// The code only: texts may quote a number.
impl std::fmt::Debug for WebhookError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookError").field("code", &self.code).finish_non_exhaustive()
    }
}

masked_debug!(Status);
