//! Templates as they are defined (reference: section 7): the body that creates or edits one, and the object Meta lists.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::response::HealthStatus;
use super::{Extra, ItemError, lenient, open_enum, read_items};

open_enum! {
    /// What a template is for; decides its price and the rules it is under.
    pub enum Category {
        Marketing = "MARKETING",
        Utility = "UTILITY",
        Authentication = "AUTHENTICATION",
    }
}

open_enum! {
    /// Where a template stands. Only approved ones can be sent.
    pub enum TemplateStatus {
        Approved = "APPROVED",
        Pending = "PENDING",
        Rejected = "REJECTED",
        Paused = "PAUSED",
        Disabled = "DISABLED",
        InAppeal = "IN_APPEAL",
        LimitExceeded = "LIMIT_EXCEEDED",
        Locked = "LOCKED",
        Archived = "ARCHIVED",
        Deleted = "DELETED",
        PendingDeletion = "PENDING_DELETION",
    }
}

open_enum! {
    /// `{{1}}` or `{{name}}`.
    pub enum ParameterFormat {
        Positional = "POSITIONAL",
        Named = "NAMED",
    }
}

/// The body of `POST /{waba-id}/message_templates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateTemplate {
    pub name: String,
    pub language: String,
    pub category: Category,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_format: Option<ParameterFormat>,
    /// Authentication 30–900, utility 30–43200, −1 for 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub message_send_ttl_seconds: Option<i64>,
    pub components: Vec<TemplateComponent>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// The body of `POST /{template-id}`: what is given replaces what was there, components as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EditTemplate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Vec<TemplateComponent>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub message_send_ttl_seconds: Option<i64>,
}

/// A part of a template's definition. Words are upper case here and lower case in sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateComponent {
    /// `HEADER`, `BODY`, `FOOTER`, `BUTTONS`, `CAROUSEL`, `LIMITED_TIME_OFFER`; see [`Self::is`].
    #[serde(rename = "type", deserialize_with = "lenient::id")]
    pub kind: String,
    /// Headers: `TEXT`, `IMAGE`, `VIDEO`, `DOCUMENT`, `GIF`, `LOCATION`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<TemplateButton>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_security_recommendation: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub code_expiration_minutes: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<TemplateCard>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl TemplateComponent {
    /// Whether this is the component of that name, in whatever case.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateButton {
    /// `QUICK_REPLY`, `URL`, `PHONE_NUMBER`, `COPY_CODE`, `OTP`, `FLOW`, `CATALOG`, `MPM` …; see [`Self::is`].
    #[serde(rename = "type", deserialize_with = "lenient::id")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub phone_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub otp_type: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl TemplateButton {
    /// Whether this is a button of that type, in whatever case.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateCard {
    #[serde(default)]
    pub components: Vec<TemplateComponent>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// What creating a template answers. `category` may differ from the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTemplate {
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub status: Option<TemplateStatus>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub category: Option<Category>,
}

/// A template as Meta lists it. Identity within the WABA is (name, language); the id is global.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    #[serde(deserialize_with = "lenient::id")]
    pub id: String,
    pub name: String,
    pub language: String,
    pub status: TemplateStatus,
    pub category: Category,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub sub_category: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub parameter_format: Option<ParameterFormat>,
    /// As they came; [`Self::components`] reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub components: Vec<Value>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub quality_score: Option<QualityScore>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub rejected_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub previous_category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub correct_category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub message_send_ttl_seconds: Option<i64>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub health_status: Option<HealthStatus>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl Template {
    /// The components, each read by itself.
    pub fn components(&self) -> impl Iterator<Item = Result<TemplateComponent, ItemError>> {
        read_items("template component", &self.components)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityScore {
    /// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub score: Option<String>,
    /// Unix time in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub date: Option<i64>,
}

/// `en-US` (webhooks) and `en_US` (REST) are one language; this is the second form.
pub fn language_code(printed: &str) -> String {
    printed.replace('-', "_")
}
