//! Answers of the Graph API (reference: sections 1, 2, 8, 9).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Extra, ItemError, lenient, masked_debug, open_enum, read_items};

/// HTTP 200 of a send: accepted, which is neither sent nor delivered.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SendResponse {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub messaging_product: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub contacts: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub messages: Vec<Value>,
}

impl SendResponse {
    pub fn first_message(&self) -> Option<SentMessage> {
        read_items("message", &self.messages).next()?.ok()
    }

    pub fn first_contact(&self) -> Option<SentContact> {
        read_items("contact", &self.contacts).next()?.ok()
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// The wamid.
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    /// Templates only, and not always: absence means accepted.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub message_status: Option<MessageStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub group_id: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentContact {
    /// What was asked for, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub input: Option<String>,
    /// Only for sends to a number, and it may differ from it (Brazil, Mexico, Argentina).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub wa_id: Option<String>,
    /// Only for sends to a business-scoped user id.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub user_id: Option<String>,
}

open_enum! {
    /// What became of a template message at once.
    pub enum MessageStatus {
        Accepted = "accepted",
        /// Paced: sent or dropped (132015) later.
        Held = "held_for_quality_assessment",
        Paused = "paused",
    }
}

/// `{"success": true}`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    pub success: bool,
}

/// `{"error": {…}}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorEnvelope {
    pub error: ErrorBody,
}

/// What went wrong. `code` is the only thing to branch on; texts change without notice and may quote what was sent, so
/// they are for people and never for logs.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message: Option<String>,
    #[serde(
        default,
        rename = "type",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::text"
    )]
    pub kind: Option<String>,
    #[serde(deserialize_with = "lenient::whole_required")]
    pub code: i64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub error_subcode: Option<i64>,
    /// An object with `details` on messaging edges, a bare string on some others: see [`Self::details`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_data: Option<Value>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub is_transient: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub error_user_title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub error_user_msg: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub fbtrace_id: Option<String>,
}

impl ErrorBody {
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            kind: Some("OAuthException".to_owned()),
            code,
            error_subcode: None,
            error_data: None,
            is_transient: None,
            error_user_title: None,
            error_user_msg: None,
            fbtrace_id: None,
        }
    }

    /// The text that says most: what Meta wrote for people, else the details, else the title.
    pub fn details(&self) -> Option<&str> {
        let data = match &self.error_data {
            Some(Value::String(text)) => Some(text.as_str()),
            Some(Value::Object(data)) => data.get("details").and_then(Value::as_str),
            _ => None,
        };
        let texts = [
            self.error_user_msg.as_deref(),
            data,
            self.error_user_title.as_deref(),
            self.message.as_deref(),
        ];
        texts.into_iter().flatten().find(|text| !text.trim().is_empty())
    }
}

/// The codes only: texts may quote a number or a body.
impl std::fmt::Debug for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErrorBody")
            .field("code", &self.code)
            .field("error_subcode", &self.error_subcode)
            .field("fbtrace_id", &self.fbtrace_id)
            .finish_non_exhaustive()
    }
}

/// One page of a list. The end is the absence of `paging.next`; a page may be short or empty before that.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    #[serde(default, deserialize_with = "lenient::items")]
    pub data: Vec<Value>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub paging: Option<Paging>,
}

impl Page {
    /// The items, each read by itself.
    pub fn items<'a, T: Deserialize<'a> + 'a>(
        &'a self,
        item: &'static str,
    ) -> impl Iterator<Item = Result<T, ItemError>> + 'a {
        read_items(item, &self.data)
    }

    /// The cursor of the next page, where there is one. `next` itself is never followed: it names a host.
    pub fn next_cursor(&self) -> Option<String> {
        let paging = self.paging.as_ref()?;
        let next = paging.next.as_ref()?;
        let cursor = paging.cursors.as_ref().and_then(|cursors| cursors.after.clone());
        cursor.or_else(|| {
            let next = url::Url::parse(next).ok()?;
            next.query_pairs()
                .find(|(key, _)| key == "after")
                .map(|(_, cursor)| cursor.into_owned())
        })
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paging {
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub cursors: Option<Cursors>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub next: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub previous: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursors {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub after: Option<String>,
}

/// A business phone number. Everything but the id may be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhoneNumber {
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    /// Formatted, `+1 555-010-0199`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_phone_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub verified_name: Option<String>,
    /// `CONNECTED` is needed to send.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub status: Option<String>,
    /// `GREEN`, `YELLOW`, `RED`, `NA`, `UNKNOWN`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub quality_rating: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub code_verification_status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name_status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub platform_type: Option<String>,
    /// `LIVE` or `SANDBOX`: Meta's own word for test numbers.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub account_mode: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub throughput: Option<Throughput>,
    /// `TIER_250` … `TIER_UNLIMITED`; per portfolio.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub whatsapp_business_manager_messaging_limit: Option<String>,
    /// Also used in the WhatsApp Business app: 20 messages a second, cannot be deregistered.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub is_on_biz_app: Option<bool>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub webhook_configuration: Option<WebhookConfiguration>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub health_status: Option<HealthStatus>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throughput {
    pub level: ThroughputLevel,
}

open_enum! {
    /// Messages a second of a number: 80, 1000, or unknown.
    pub enum ThroughputLevel {
        Standard = "STANDARD",
        High = "HIGH",
        NotApplicable = "NOT_APPLICABLE",
    }
}

/// Where webhooks of a number go, by precedence: number, account, app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookConfiguration {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub phone_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub whatsapp_business_account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub application: Option<String>,
}

/// A WABA. Everything but the id may be missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waba {
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub timezone_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub account_review_status: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub health_status: Option<HealthStatus>,
    /// The portfolio that owns it, where asked for.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub owner_business_info: Option<ObjectRef>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// `{"id": "…", "name": "…"}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub name: Option<String>,
}

/// `?fields=health_status` of a number, WABA or template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthResponse {
    pub health_status: HealthStatus,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
}

/// The whole is as well as its worst entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthStatus {
    pub can_send_message: CanSend,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub entities: Vec<Value>,
}

impl HealthStatus {
    pub fn entities(&self) -> impl Iterator<Item = Result<HealthEntity, ItemError>> {
        read_items("health entity", &self.entities)
    }
}

open_enum! {
    /// Whether messages can be sent.
    pub enum CanSend {
        Available = "AVAILABLE",
        Limited = "LIMITED",
        Blocked = "BLOCKED",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthEntity {
    /// `PHONE_NUMBER`, `WABA`, `BUSINESS`, `APP`, `MESSAGE_TEMPLATE`
    #[serde(deserialize_with = "lenient::id")]
    pub entity_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
    pub can_send_message: CanSend,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::texts")]
    pub additional_info: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub errors: Vec<Value>,
}

impl HealthEntity {
    pub fn errors(&self) -> impl Iterator<Item = Result<HealthError, ItemError>> {
        read_items("health error", &self.errors)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthError {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub error_code: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub error_description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub possible_solution: Option<String>,
}

/// `{"id": "…"}`: an uploaded medium, an upload session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
}

/// Where a medium can be fetched, for five minutes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaUrl {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub messaging_product: Option<String>,
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub mime_type: Option<String>,
    /// Hex here, base64 in webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub file_size: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub id: Option<String>,
}

/// `{"h": "4::…"}`: the handle a template's header sample is named by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadHandle {
    pub h: String,
}

/// How far an upload session got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadProgress {
    #[serde(deserialize_with = "lenient::whole_required")]
    pub file_offset: i64,
}

/// `GET /debug_token`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DebugToken {
    pub data: TokenInfo,
}

/// What a token may do. Times are Unix seconds, 0 for never.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenInfo {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub app_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub application: Option<String>,
    #[serde(
        default,
        rename = "type",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::text"
    )]
    pub kind: Option<String>,
    #[serde(default)]
    pub is_valid: bool,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub data_access_expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::texts")]
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub granular_scopes: Vec<Value>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub error: Option<ErrorBody>,
}

/// A permission and the objects it holds for; no ids means all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GranularScope {
    pub scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::texts")]
    pub target_ids: Vec<String>,
}

/// An app that gets the webhooks of a WABA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubscribedApp {
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub whatsapp_business_api_data: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub override_callback_uri: Option<String>,
}

masked_debug!(SendResponse, SentMessage, SentContact, Page, Paging, MediaUrl);

/// `POST|DELETE /{phone-number-id}/block_users`: partial failure is HTTP 400 with both parts filled.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockUsersResponse {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub messaging_product: Option<String>,
    pub block_users: BlockedUsers,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub error: Option<ErrorBody>,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockedUsers {
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub added_users: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub removed_users: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub failed_users: Vec<Value>,
}

masked_debug!(BlockUsersResponse, BlockedUsers);
