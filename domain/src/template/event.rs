//! Facts about one template.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::primitives::{AccountId, WorkspaceId};

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TemplateCategory {
    Marketing,
    Utility,
    Authentication,
}

impl TemplateCategory {
    pub const ALL: [Self; 3] = [Self::Marketing, Self::Utility, Self::Authentication];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "MARKETING",
            Self::Utility => "UTILITY",
            Self::Authentication => "AUTHENTICATION",
        }
    }

    /// Any case, as WhatsApp writes it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str().eq_ignore_ascii_case(text))
    }
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TemplateStatus {
    #[default]
    Draft,
    Pending,
    Approved,
    Rejected,
    Paused,
    Disabled,
    Deleted,
}

impl TemplateStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
            Self::Paused => "PAUSED",
            Self::Disabled => "DISABLED",
            Self::Deleted => "DELETED",
        }
    }
}

/// WhatsApp's quality score of a template or number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Quality {
    Green,
    Yellow,
    Red,
    #[default]
    Unknown,
}

impl Quality {
    /// `NA` and everything unheard of is unknown.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_uppercase().as_str() {
            "GREEN" => Self::Green,
            "YELLOW" => Self::Yellow,
            "RED" => Self::Red,
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum TemplateEvent {
    #[serde(rename = "template.drafted")]
    Drafted {
        workspace_id: WorkspaceId,
        account_id: AccountId,
        name: String,
        language: String,
        category: TemplateCategory,
        /// WhatsApp's own components array.
        components: Value,
        /// It came from WhatsApp, with this id, instead of from a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        whatsapp_id: Option<String>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "template.updated")]
    Updated { category: TemplateCategory, components: Value, at: DateTime<Utc> },
    /// Handed to WhatsApp for review.
    #[serde(rename = "template.submitted")]
    Submitted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        whatsapp_id: Option<String>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "template.approved")]
    Approved { at: DateTime<Utc> },
    #[serde(rename = "template.rejected")]
    Rejected { reason: String, at: DateTime<Utc> },
    #[serde(rename = "template.paused")]
    Paused { reason: String, at: DateTime<Utc> },
    #[serde(rename = "template.disabled")]
    Disabled { reason: String, at: DateTime<Utc> },
    #[serde(rename = "template.category_changed")]
    CategoryChanged { category: TemplateCategory, at: DateTime<Utc> },
    #[serde(rename = "template.quality_changed")]
    QualityChanged { quality: Quality, at: DateTime<Utc> },
    #[serde(rename = "template.deleted")]
    Deleted { at: DateTime<Utc> },
}

crate::events!(TemplateEvent {
    Drafted => "template.drafted" v 1,
    Updated => "template.updated" v 1,
    Submitted => "template.submitted" v 1,
    Approved => "template.approved" v 1,
    Rejected => "template.rejected" v 1,
    Paused => "template.paused" v 1,
    Disabled => "template.disabled" v 1,
    CategoryChanged => "template.category_changed" v 1,
    QualityChanged => "template.quality_changed" v 1,
    Deleted => "template.deleted" v 1,
});
