//! Coexistence: what a number that is also used in the WhatsApp Business app brings along (reference: section 4.13).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::message::Message;
use super::status::WebhookError;
use crate::cloud_api::wire::lenient::{self, UnixTime};
use crate::cloud_api::wire::{Extra, ItemError, masked_debug, read_items};

/// A piece of the past; pieces come shuffled. With errors instead of threads where sharing was declined (2593109).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryChunk {
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub metadata: Option<HistoryMetadata>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub threads: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub errors: Vec<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl HistoryChunk {
    pub fn threads(&self) -> impl Iterator<Item = Result<HistoryThread, ItemError>> {
        read_items("history thread", &self.threads)
    }

    pub fn errors(&self) -> impl Iterator<Item = Result<WebhookError, ItemError>> {
        read_items("error", &self.errors)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryMetadata {
    /// 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub phase: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub chunk_order: Option<i64>,
    /// 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub progress: Option<i64>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryThread {
    /// The customer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub messages: Vec<Value>,
}

impl HistoryThread {
    pub fn messages(&self) -> impl Iterator<Item = Result<Message, ItemError>> {
        read_items("message", &self.messages)
    }
}

/// A change in the address book of the business's phone.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct StateSync {
    #[serde(rename = "type", deserialize_with = "lenient::id")]
    pub kind: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub contact: Option<SyncedContact>,
    /// `add` or `remove`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub action: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub metadata: Option<SyncMetadata>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncedContact {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub full_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub phone_number: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncMetadata {
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub timestamp: Option<UnixTime>,
}

masked_debug!(HistoryChunk, HistoryThread, StateSync, SyncedContact);
