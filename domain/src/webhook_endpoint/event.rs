//! What happened to an endpoint.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::port::Position;
use crate::primitives::{AccountId, WorkspaceId};

/// Why an endpoint is sent nothing for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PauseReason {
    /// Somebody asked for it.
    Requested,
    /// Nothing was answered 2xx for five days.
    Failing,
}

/// Events to be delivered once more, beside what is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    pub id: Uuid,
    pub after: Position,
    /// The last position of it.
    pub until: Position,
    /// Only what was recorded at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_from: Option<DateTime<Utc>>,
    /// Only events of these types; empty: of those that the endpoint wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// At most so many events in a second; `None`: as for what is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum WebhookEndpointEvent {
    #[serde(rename = "webhook_endpoint.created")]
    Created {
        workspace_id: WorkspaceId,
        url: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        types: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        account_ids: Vec<AccountId>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        include_personal: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        batch: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        events_per_second: Option<u32>,
        after: Position,
        at: DateTime<Utc>,
    },
    /// The whole of what can change, as it is from now on.
    #[serde(rename = "webhook_endpoint.updated")]
    Updated {
        url: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        types: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        account_ids: Vec<AccountId>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        batch: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        events_per_second: Option<u32>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "webhook_endpoint.secret_rotated")]
    SecretRotated {
        /// Which secret signs from now on, counted from 1.
        secret: u32,
        /// The one before signs too until then.
        previous_until: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "webhook_endpoint.paused")]
    Paused { reason: PauseReason, at: DateTime<Utc> },
    #[serde(rename = "webhook_endpoint.resumed")]
    Resumed { at: DateTime<Utc> },
    #[serde(rename = "webhook_endpoint.disabled")]
    Disabled { at: DateTime<Utc> },
    #[serde(rename = "webhook_endpoint.replay_started")]
    ReplayStarted {
        #[serde(flatten)]
        replay: Replay,
        at: DateTime<Utc>,
    },
    #[serde(rename = "webhook_endpoint.replay_completed")]
    ReplayCompleted { id: Uuid, at: DateTime<Utc> },
    #[serde(rename = "webhook_endpoint.deleted")]
    Deleted { at: DateTime<Utc> },
    #[serde(rename = "webhook_endpoint.resend_requested")]
    ResendRequested {
        /// Of the event that goes out once more.
        position: Position,
        at: DateTime<Utc>,
    },
}

crate::events!(WebhookEndpointEvent {
    Created => "webhook_endpoint.created" v 1,
    Updated => "webhook_endpoint.updated" v 1,
    SecretRotated => "webhook_endpoint.secret_rotated" v 1,
    Paused => "webhook_endpoint.paused" v 1,
    Resumed => "webhook_endpoint.resumed" v 1,
    Disabled => "webhook_endpoint.disabled" v 1,
    ReplayStarted => "webhook_endpoint.replay_started" v 1,
    ReplayCompleted => "webhook_endpoint.replay_completed" v 1,
    Deleted => "webhook_endpoint.deleted" v 1,
    ResendRequested => "webhook_endpoint.resend_requested" v 1,
});
