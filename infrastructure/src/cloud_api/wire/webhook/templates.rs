//! What Meta reports about templates (reference: section 4.11). Ids come as numbers, languages as `en-GB`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cloud_api::wire::lenient::{self, UnixTime};
use crate::cloud_api::wire::template::language_code;
use crate::cloud_api::wire::{Extra, open_enum};

/// Which template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateInfo {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message_template_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message_template_name: Option<String>,
    /// As printed; [`Self::language`] is the form of REST.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message_template_language: Option<String>,
}

impl TemplateInfo {
    /// The language as REST writes it, `en_GB`.
    pub fn language(&self) -> Option<String> {
        self.message_template_language.as_deref().map(language_code)
    }
}

open_enum! {
    /// What happened to a template.
    pub enum TemplateEvent {
        Approved = "APPROVED",
        Rejected = "REJECTED",
        Pending = "PENDING",
        Paused = "PAUSED",
        Disabled = "DISABLED",
        Deleted = "DELETED",
        PendingDeletion = "PENDING_DELETION",
        Flagged = "FLAGGED",
        InAppeal = "IN_APPEAL",
        Reinstated = "REINSTATED",
        LimitExceeded = "LIMIT_EXCEEDED",
        Locked = "LOCKED",
        Archived = "ARCHIVED",
        Unarchived = "UNARCHIVED",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateStatusUpdate {
    pub event: TemplateEvent,
    #[serde(flatten)]
    pub template: TemplateInfo,
    /// `NONE` and `null` both mean none; see [`Self::reason`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message_template_category: Option<String>,
    /// `{disable_date}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_info: Option<Value>,
    /// `{title, description}`; the title tells a pause's stage (`FIRST_PAUSE` …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_info: Option<Value>,
    /// `{reason, recommendation}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection_info: Option<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl TemplateStatusUpdate {
    /// Why, in Meta's word, where there is a reason.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref().filter(|reason| !reason.eq_ignore_ascii_case("none"))
    }

    /// What people should read: Meta's explanation of a rejection, a pause's description.
    pub fn explanation(&self) -> Option<String> {
        let text = |info: &Option<Value>, key: &str| {
            info.as_ref().and_then(|info| info.get(key)).and_then(Value::as_str).map(str::to_owned)
        };
        let rejection =
            [text(&self.rejection_info, "reason"), text(&self.rejection_info, "recommendation")];
        let rejection: Vec<String> = rejection.into_iter().flatten().collect();
        if rejection.is_empty() {
            text(&self.other_info, "description")
        } else {
            Some(rejection.join(": "))
        }
    }

    /// The stage of a pause: `FIRST_PAUSE`, `SECOND_PAUSE`, `RATE_LIMITING_PAUSE`, `UNPAUSE`, `DISABLED`.
    pub fn pause_stage(&self) -> Option<&str> {
        self.other_info.as_ref()?.get("title")?.as_str()
    }
}

/// `GREEN`, `YELLOW`, `RED`, `UNKNOWN`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateQualityUpdate {
    #[serde(flatten)]
    pub template: TemplateInfo,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub previous_quality_score: Option<String>,
    #[serde(deserialize_with = "lenient::id")]
    pub new_quality_score: String,
    #[serde(flatten)]
    pub extra: Extra,
}

/// Either an announcement about a day ahead (then `new_category` is the current one and `correct_category` the one to
/// come) or the change itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateCategoryUpdate {
    #[serde(flatten)]
    pub template: TemplateInfo,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub previous_category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub new_category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub correct_category: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none",
        serialize_with = "lenient::as_number"
    )]
    pub category_update_timestamp: Option<UnixTime>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl TemplateCategoryUpdate {
    /// Whether the change is still to come.
    pub fn is_announcement(&self) -> bool {
        self.correct_category.is_some()
    }
}

/// The content of a template changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateComponentsUpdate {
    #[serde(flatten)]
    pub template: TemplateInfo,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message_template_element: Option<String>,
    /// The header.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message_template_title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub message_template_footer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub message_template_buttons: Vec<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}
