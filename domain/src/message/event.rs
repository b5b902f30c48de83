//! Facts about one message. Names and fields are stored for ever: add a field with `#[serde(default)]`; for anything
//! else raise that variant's version and write an upcaster.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Content, ContentKind, DeliveryStatus, Failure, Recipient};
use crate::primitives::{
    AccountId, CampaignId, ContactId, Country, MessageId, Personal, TemplateId, Wamid, WorkspaceId,
};
use crate::template::TemplateCategory;

/// What stays true of a message from its first event on. No personal data in the clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageHeader {
    pub workspace_id: WorkspaceId,
    pub account_id: AccountId,
    pub contact_id: ContactId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign_id: Option<CampaignId>,
    /// Sent by `testCampaign`: belongs to the campaign, stays out of its counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_test: bool,
    pub content_kind: ContentKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    #[serde(default, skip_serializing_if = "Priority::is_bulk")]
    pub priority: Priority,
    /// Given up when not accepted this many seconds after it fell due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Personal<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Personal<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Personal<Wamid>>,
    /// Of the recipient, by number or user id: what WhatsApp bills goes by it. In the clear, so that costs outlive an
    /// erasure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
}

impl MessageHeader {
    /// `SERVICE` is what WhatsApp calls everything that is no template.
    pub fn category(&self) -> Option<TemplateCategory> {
        self.template.as_ref().map(|template| template.category)
    }
}

/// The template as it was when the message was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateRef {
    pub id: TemplateId,
    pub name: String,
    pub language: String,
    pub category: TemplateCategory,
}

/// Which goes first when both are due: people waiting for an answer before single sends before campaigns.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Reply,
    Single,
    #[default]
    Bulk,
}

impl Priority {
    fn is_bulk(&self) -> bool {
        *self == Self::Bulk
    }

    /// For ordering in SQL.
    pub fn rank(self) -> i64 {
        match self {
            Self::Reply => 0,
            Self::Single => 1,
            Self::Bulk => 2,
        }
    }
}

/// Why somebody was left out before sending.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SkipReason {
    OptedOut,
    NoConsent,
    Erased,
    Duplicate,
    NoIdentity,
    BadTimeZone,
    MissingParameter,
    ParameterTooLong,
    FrequencyCap,
    WindowClosed,
    TemplateNotApproved,
    MarketingBlocked,
    Unreachable,
    LocalTimePast,
}

impl SkipReason {
    /// Whoever is left out for this does not come back, whatever becomes known.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Erased | Self::Duplicate)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "OPTED_OUT",
            Self::NoConsent => "NO_CONSENT",
            Self::Erased => "ERASED",
            Self::Duplicate => "DUPLICATE",
            Self::NoIdentity => "NO_IDENTITY",
            Self::BadTimeZone => "BAD_TIME_ZONE",
            Self::MissingParameter => "MISSING_PARAMETER",
            Self::ParameterTooLong => "PARAMETER_TOO_LONG",
            Self::FrequencyCap => "FREQUENCY_CAP",
            Self::WindowClosed => "WINDOW_CLOSED",
            Self::TemplateNotApproved => "TEMPLATE_NOT_APPROVED",
            Self::MarketingBlocked => "MARKETING_BLOCKED",
            Self::Unreachable => "UNREACHABLE",
            Self::LocalTimePast => "LOCAL_TIME_PAST",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Direction {
    #[default]
    Outbound,
    Inbound,
}

/// How a message whose outcome WhatsApp never told was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InDoubtResolution {
    TreatAsSent,
    /// Accepts a possible duplicate.
    SendAgain,
    GiveUp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum MessageEvent {
    /// Planned, due later. Behind a skip: a person asked to judge anew, and nothing stands in its way any more.
    #[serde(rename = "message.scheduled")]
    Scheduled {
        #[serde(flatten)]
        header: MessageHeader,
        to: Personal<Recipient>,
        content: Personal<Content>,
        due_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// Planned, due now. Behind a skip: a person asked to judge anew, and nothing stands in its way any more.
    #[serde(rename = "message.queued")]
    Queued {
        #[serde(flatten)]
        header: MessageHeader,
        to: Personal<Recipient>,
        content: Personal<Content>,
        due_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// Left out: as the first event with everything known of the message, when it fell due, or judged anew for another
    /// reason. It stays so unless a person asks to judge anew.
    #[serde(rename = "message.skipped")]
    Skipped {
        reason: SkipReason,
        /// What exactly was missing, in names of slots and fields; never anybody's data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<Box<MessageHeader>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Personal<Recipient>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Personal<Content>>,
        at: DateTime<Utc>,
    },
    /// A person wrote.
    #[serde(rename = "message.received")]
    Received {
        #[serde(flatten)]
        header: MessageHeader,
        from: Personal<Recipient>,
        wamid: Personal<Wamid>,
        content: Personal<Content>,
        /// It opens or refreshes the customer service window (Meta: messages do; reactions, edits, revocations and
        /// unsupported items are not counted).
        opens_window: bool,
        at: DateTime<Utc>,
    },
    /// Sent from elsewhere (the WhatsApp Business app) with this number.
    #[serde(rename = "message.echoed")]
    Echoed {
        #[serde(flatten)]
        header: MessageHeader,
        to: Personal<Recipient>,
        wamid: Personal<Wamid>,
        content: Personal<Content>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "message.rescheduled")]
    Rescheduled {
        due_at: DateTime<Utc>,
        /// Nobody asked for it: what was meant is now another instant, because a zone, a schedule or hours changed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        retimed: bool,
        at: DateTime<Utc>,
    },
    #[serde(rename = "message.cancelled")]
    Cancelled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "message.expired")]
    Expired { at: DateTime<Utc> },
    /// The intent, durable before the call: whoever appended it holds this attempt, until `send_by`.
    #[serde(rename = "message.send_requested")]
    SendRequested { attempt: u32, send_by: DateTime<Utc>, at: DateTime<Utc> },
    #[serde(rename = "message.accepted")]
    Accepted {
        attempt: u32,
        wamid: Personal<Wamid>,
        /// WhatsApp holds it for a quality assessment: sent or dropped later.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        held: bool,
        at: DateTime<Utc>,
    },
    /// WhatsApp refused the call, or it never left: it does not have the message.
    #[serde(rename = "message.send_failed")]
    SendFailed {
        attempt: u32,
        #[serde(flatten)]
        failure: Failure,
        at: DateTime<Utc>,
    },
    /// Due again.
    #[serde(rename = "message.retry_scheduled")]
    RetryScheduled {
        due_at: DateTime<Utc>,
        /// A person asked for it: the time to live and the tries count from here.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        starts_anew: bool,
        at: DateTime<Utc>,
    },
    /// Nobody knows what became of the call.
    #[serde(rename = "message.in_doubt")]
    InDoubt { attempt: u32, reason: String, grace_until: DateTime<Utc>, at: DateTime<Utc> },
    #[serde(rename = "message.in_doubt_resolved")]
    InDoubtResolved { attempt: u32, resolution: InDoubtResolution, at: DateTime<Utc> },
    #[serde(rename = "message.sent")]
    Sent {
        attempt: u32,
        /// Only where our own answer never came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wamid: Option<Personal<Wamid>>,
        /// As received; what is billed goes by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pricing: Option<Value>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "message.delivered")]
    Delivered {
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wamid: Option<Personal<Wamid>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pricing: Option<Value>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "message.read")]
    Read {
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wamid: Option<Personal<Wamid>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pricing: Option<Value>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "message.played")]
    Played {
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wamid: Option<Personal<Wamid>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pricing: Option<Value>,
        at: DateTime<Utc>,
    },
    /// WhatsApp took it and then reported that it could not be delivered.
    #[serde(rename = "message.failed")]
    Failed {
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wamid: Option<Personal<Wamid>>,
        #[serde(flatten)]
        failure: Failure,
        at: DateTime<Utc>,
    },
    /// The person answered it. Told again with an earlier answer, that one is the first.
    #[serde(rename = "message.replied")]
    Replied {
        /// What they wrote.
        reply_id: MessageId,
        /// It names this message; else it is the first within 72 h, with nothing sent in between.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        quoted: bool,
        at: DateTime<Utc>,
    },
    /// The person tapped a button of it, or a link.
    #[serde(rename = "message.clicked")]
    Clicked {
        /// What the template has on the button; nothing that anybody wrote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        /// The tap itself, where it came as a message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_id: Option<MessageId>,
        at: DateTime<Utc>,
    },
    /// The person wants no more messages, and this is the one they said it to.
    #[serde(rename = "message.opted_out")]
    OptedOut {
        how: OptOutSign,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_id: Option<MessageId>,
        at: DateTime<Utc>,
    },
}

/// How a person said that they want no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptOutSign {
    /// By a word or a button.
    Reply,
    /// In WhatsApp's own settings, of which it told at once.
    Preference,
    /// In WhatsApp's own settings, of which it told with the next message (131050).
    Refusal,
}

crate::events!(MessageEvent {
    Scheduled => "message.scheduled" v 1,
    Queued => "message.queued" v 1,
    Skipped => "message.skipped" v 1,
    Received => "message.received" v 1,
    Echoed => "message.echoed" v 1,
    Rescheduled => "message.rescheduled" v 1,
    Cancelled => "message.cancelled" v 1,
    Expired => "message.expired" v 1,
    SendRequested => "message.send_requested" v 1,
    Accepted => "message.accepted" v 1,
    SendFailed => "message.send_failed" v 1,
    RetryScheduled => "message.retry_scheduled" v 1,
    InDoubt => "message.in_doubt" v 1,
    InDoubtResolved => "message.in_doubt_resolved" v 1,
    Sent => "message.sent" v 1,
    Delivered => "message.delivered" v 1,
    Read => "message.read" v 1,
    Played => "message.played" v 1,
    Failed => "message.failed" v 1,
    Replied => "message.replied" v 1,
    Clicked => "message.clicked" v 1,
    OptedOut => "message.opted_out" v 1,
});

impl MessageEvent {
    pub(super) fn of_status(
        attempt: u32,
        status: DeliveryStatus,
        wamid: Option<Personal<Wamid>>,
        pricing: Option<Value>,
        failure: Option<Failure>,
        at: DateTime<Utc>,
    ) -> Self {
        match status {
            DeliveryStatus::Sent => Self::Sent { attempt, wamid, pricing, at },
            DeliveryStatus::Delivered => Self::Delivered { attempt, wamid, pricing, at },
            DeliveryStatus::Read => Self::Read { attempt, wamid, pricing, at },
            DeliveryStatus::Played => Self::Played { attempt, wamid, pricing, at },
            DeliveryStatus::Failed => {
                let unknown = || Failure {
                    code: None,
                    title: "failed".to_owned(),
                    details: None,
                    retryable: false,
                    keep_away: None,
                };
                Self::Failed { attempt, wamid, failure: failure.unwrap_or_else(unknown), at }
            }
        }
    }
}
