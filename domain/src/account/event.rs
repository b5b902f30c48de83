//! Facts about one account.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::primitives::{ContactId, DailyHours, MessageId, Personal, PhoneNumber, WorkspaceId};
use crate::template::{Quality, TemplateCategory};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountProvider {
    CloudApi,
    Sandbox,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountStatus {
    #[default]
    Connected,
    Paused,
    Disconnected,
}

impl AccountStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "CONNECTED",
            Self::Paused => "PAUSED",
            Self::Disconnected => "DISCONNECTED",
        }
    }
}

/// For what the gateway itself has stopped an account, and with that, what lets it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PauseCause {
    /// WhatsApp restricted it, disabled it or took the gateway's access away; it may say that this is over.
    Whatsapp,
    /// There is no credential that WhatsApp takes; a new one ends it.
    Credentials,
}

/// A kind of sends that WhatsApp forbids for a while, and nothing else.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RestrictedSends {
    /// Templates of every category (Meta: RESTRICTED_BIZ_INITIATED_MESSAGING).
    Templates,
    /// Free-form content, which answers people inside their service window (RESTRICTED_CUSTOMER_INITIATED_MESSAGING).
    Replies,
    /// Templates of the category UTILITY (RESTRICTED_UTILITY_TEMPLATES).
    UtilityTemplates,
}

impl RestrictedSends {
    /// Whether content of this category (`None`: free-form) is of the kind.
    pub fn covers(self, category: Option<TemplateCategory>) -> bool {
        match self {
            Self::Templates => category.is_some(),
            Self::Replies => category.is_none(),
            Self::UtilityTemplates => category == Some(TemplateCategory::Utility),
        }
    }

    /// In words, as in "WhatsApp takes no … ".
    pub fn as_words(self) -> &'static str {
        match self {
            Self::Templates => "templates",
            Self::Replies => "replies",
            Self::UtilityTemplates => "utility templates",
        }
    }
}

/// One kind of sends, and when WhatsApp takes them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restriction {
    pub sends: RestrictedSends,
    /// `None`: when WhatsApp says so, or a person resumes the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl Restriction {
    pub fn holds_at(&self, at: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

/// The kinds of credentials an account has.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    AccessToken,
    AppSecret,
    VerifyToken,
    Pin,
}

impl Credential {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::AppSecret => "app_secret",
            Self::VerifyToken => "verify_token",
            Self::Pin => "pin",
        }
    }
}

/// Where a credential lives and how to recognise it: a keyed fingerprint that tells equal ones, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialRef {
    pub name: String,
    pub fingerprint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InDoubtAction {
    Hold,
    /// Accepts a possible duplicate, and says so.
    SendAgain,
}

/// What happens to a message whose outcome WhatsApp never told, after the grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InDoubtPolicy {
    pub marketing: InDoubtAction,
    pub utility: InDoubtAction,
    pub authentication: InDoubtAction,
    pub service: InDoubtAction,
    pub grace_seconds: u32,
}

impl Default for InDoubtPolicy {
    fn default() -> Self {
        Self {
            marketing: InDoubtAction::Hold,
            utility: InDoubtAction::Hold,
            authentication: InDoubtAction::SendAgain,
            service: InDoubtAction::Hold,
            grace_seconds: 600,
        }
    }
}

impl InDoubtPolicy {
    /// `None` is a service (non-template) message.
    pub fn action(&self, category: Option<TemplateCategory>) -> InDoubtAction {
        match category {
            Some(TemplateCategory::Marketing) => self.marketing,
            Some(TemplateCategory::Utility) => self.utility,
            Some(TemplateCategory::Authentication) => self.authentication,
            None => self.service,
        }
    }
}

/// How many people a portfolio may reach in a moving 24 h outside service windows. No number: unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessagingLimit {
    pub people_per_day: Option<u32>,
}

impl MessagingLimit {
    /// `TIER_250`, `TIER_1K`, `TIER_UNLIMITED`, or a number as text (-1: unlimited); `None` where it says nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        let tier = text.strip_prefix("TIER_").unwrap_or(&text);
        let people_per_day = match tier {
            "UNLIMITED" | "-1" => None,
            "NOT_SET" | "" => return None,
            _ => {
                let (number, unit) =
                    tier.strip_suffix('K').map_or((tier, 1), |number| (number, 1_000));
                Some(number.parse::<u32>().ok()?.checked_mul(unit)?)
            }
        };
        Some(Self { people_per_day })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum AccountEvent {
    #[serde(rename = "account.connected")]
    Connected {
        workspace_id: WorkspaceId,
        name: String,
        provider: AccountProvider,
        phone_number_id: String,
        waba_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        portfolio_id: Option<String>,
        credentials: BTreeMap<Credential, CredentialRef>,
        time_zone: String,
        default_region: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_hours: Option<DailyHours>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        messages_per_second: Option<u32>,
        at: DateTime<Utc>,
    },
    /// The whole of what can be changed, as it is from now on.
    #[serde(rename = "account.updated")]
    Updated {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        portfolio_id: Option<String>,
        time_zone: String,
        default_region: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_hours: Option<DailyHours>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        messages_per_second: Option<u32>,
        in_doubt_policy: InDoubtPolicy,
        /// As WhatsApp shows it (`+1 555-010-0199`): the business's own, nobody's personal data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_phone_number: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verified_name: Option<String>,
        /// What WhatsApp grants this number, messages per second.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        granted_messages_per_second: Option<u32>,
        /// The number is also used in the WhatsApp Business app.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        on_business_app: bool,
        at: DateTime<Utc>,
    },
    #[serde(rename = "account.credentials_rotated")]
    CredentialsRotated { credentials: BTreeMap<Credential, CredentialRef>, at: DateTime<Utc> },
    #[serde(rename = "account.paused")]
    Paused {
        reason: String,
        /// When it may go on by itself; `None`: when somebody resumes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
        /// `None`: a person stopped it, and nobody else lets it go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<PauseCause>,
        at: DateTime<Utc>,
    },
    /// WhatsApp forbids some kinds of sends: all that it forbids from now on, each until its end. None: nothing any more.
    #[serde(rename = "account.restricted")]
    Restricted { restrictions: Vec<Restriction>, at: DateTime<Utc> },
    #[serde(rename = "account.resumed")]
    Resumed { at: DateTime<Utc> },
    #[serde(rename = "account.disconnected")]
    Disconnected { reason: String, at: DateTime<Utc> },
    #[serde(rename = "account.quality_changed")]
    QualityChanged { quality: Quality, at: DateTime<Utc> },
    #[serde(rename = "account.limit_changed")]
    LimitChanged { limit: MessagingLimit, at: DateTime<Utc> },
    /// The next message of this person to the number is answered once.
    #[serde(rename = "account.loop_test_started")]
    LoopTestStarted {
        contact_id: ContactId,
        /// Sealed with the person's own key.
        phone: Personal<PhoneNumber>,
        /// What has not happened by then failed.
        expires_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "account.loop_test_received")]
    LoopTestReceived {
        /// What the person wrote.
        message_id: MessageId,
        /// The answer, which goes out under this id and no other.
        answer_id: MessageId,
        /// By WhatsApp's clock.
        written_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
}

crate::events!(AccountEvent {
    Connected => "account.connected" v 1,
    Updated => "account.updated" v 1,
    CredentialsRotated => "account.credentials_rotated" v 1,
    Paused => "account.paused" v 1,
    Restricted => "account.restricted" v 1,
    Resumed => "account.resumed" v 1,
    Disconnected => "account.disconnected" v 1,
    QualityChanged => "account.quality_changed" v 1,
    LimitChanged => "account.limit_changed" v 1,
    LoopTestStarted => "account.loop_test_started" v 1,
    LoopTestReceived => "account.loop_test_received" v 1,
});
