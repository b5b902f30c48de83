//! One attempt to send, and how its answer and its statuses settle into what the message is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::primitives::{Personal, Wamid};

/// What WhatsApp reports about a message it accepted. `accepted` is the answer to our request and no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    Sent,
    Failed,
    Delivered,
    Read,
    Played,
}

/// What the message is, as people and programs see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageStatus {
    Skipped,
    Scheduled,
    Queued,
    Sending,
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
    Cancelled,
    Expired,
    InDoubt,
    Received,
}

impl MessageStatus {
    pub const ALL: [Self; 13] = [
        Self::Skipped,
        Self::Scheduled,
        Self::Queued,
        Self::Sending,
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::InDoubt,
        Self::Received,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "SKIPPED",
            Self::Scheduled => "SCHEDULED",
            Self::Queued => "QUEUED",
            Self::Sending => "SENDING",
            Self::Accepted => "ACCEPTED",
            Self::Sent => "SENT",
            Self::Delivered => "DELIVERED",
            Self::Read => "READ",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
            Self::InDoubt => "IN_DOUBT",
            Self::Received => "RECEIVED",
        }
    }

    /// Nothing has been handed to WhatsApp yet, and it may still be.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Scheduled | Self::Queued)
    }
}

/// Why WhatsApp refused or failed a message. The texts are WhatsApp's, without anybody's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// WhatsApp's error code; `None` where the request never got there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// Sending the same again later may work.
    pub retryable: bool,
    /// The person is to be left alone for a while, by whatever message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_away: Option<KeepAway>,
}

/// What WhatsApp's word on one message means for others to the same person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeepAway {
    /// Other messages than marketing may go.
    pub marketing_only: bool,
    /// Counted from the failure.
    pub seconds: u32,
}

/// How the call itself ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AttemptOutcome {
    Accepted {
        at: DateTime<Utc>,
    },
    /// Refused, or never sent: WhatsApp does not have it.
    Refused {
        at: DateTime<Utc>,
        failure: Failure,
    },
    /// Nobody knows. `grace_until`: when the account's policy decides.
    InDoubt {
        at: DateTime<Utc>,
        grace_until: DateTime<Utc>,
        reason: String,
    },
    /// A person or a policy settled what nobody knew.
    GivenUp {
        at: DateTime<Utc>,
    },
    TreatedAsSent {
        at: DateTime<Utc>,
    },
    SentAgain {
        at: DateTime<Utc>,
    },
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub requested_at: DateTime<Utc>,
    pub send_by: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    /// Each status once, with its earliest time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<DeliveryStatus, DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wamid: Option<Personal<Wamid>>,
}

impl Attempt {
    pub fn new(requested_at: DateTime<Utc>, send_by: DateTime<Utc>) -> Self {
        Self {
            requested_at,
            send_by,
            outcome: None,
            statuses: BTreeMap::new(),
            failure: None,
            wamid: None,
        }
    }

    /// Where this attempt stands. Statuses beat the answer of the call, whichever came first; delivered, read and
    /// played beat failed; read implies delivered.
    pub fn status(&self) -> MessageStatus {
        match self.statuses.keys().next_back() {
            Some(DeliveryStatus::Played | DeliveryStatus::Read) => MessageStatus::Read,
            Some(DeliveryStatus::Delivered) => MessageStatus::Delivered,
            Some(DeliveryStatus::Failed) => MessageStatus::Failed,
            Some(DeliveryStatus::Sent) => MessageStatus::Sent,
            None => match &self.outcome {
                None => MessageStatus::Sending,
                Some(AttemptOutcome::Accepted { .. } | AttemptOutcome::TreatedAsSent { .. }) => {
                    MessageStatus::Accepted
                }
                Some(AttemptOutcome::Refused { .. } | AttemptOutcome::GivenUp { .. }) => {
                    MessageStatus::Failed
                }
                Some(AttemptOutcome::InDoubt { .. }) => MessageStatus::InDoubt,
                Some(AttemptOutcome::SentAgain { .. }) => MessageStatus::Queued,
            },
        }
    }

    /// The person has it, or WhatsApp says it is on its way: sending again would be twice.
    pub fn has_reached_whatsapp(&self) -> bool {
        matches!(
            self.status(),
            MessageStatus::Accepted
                | MessageStatus::Sent
                | MessageStatus::Delivered
                | MessageStatus::Read
        )
    }

    pub fn status_at(&self, status: DeliveryStatus) -> Option<DateTime<Utc>> {
        self.statuses.get(&status).copied()
    }
}
