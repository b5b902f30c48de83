//! What happens to a user.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::aggregate::Role;
use crate::primitives::{AccountId, ConsoleUserId, Personal, WorkspaceId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum UserEvent {
    #[serde(rename = "user.invited")]
    Invited {
        user_id: ConsoleUserId,
        email: Personal<String>,
        name: Personal<String>,
        role: Role,
        /// `None`: every workspace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace_ids: Option<Vec<WorkspaceId>>,
        /// `None`: every account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_ids: Option<Vec<AccountId>>,
        at: DateTime<Utc>,
    },
    /// They chose their first password.
    #[serde(rename = "user.joined")]
    Joined { at: DateTime<Utc> },
    /// Everything as it is now.
    #[serde(rename = "user.updated")]
    Updated {
        email: Personal<String>,
        name: Personal<String>,
        role: Role,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace_ids: Option<Vec<WorkspaceId>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_ids: Option<Vec<AccountId>>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "user.signed_in")]
    SignedIn {
        /// Tells this session from their others; opens nothing.
        session_id: Uuid,
        at: DateTime<Utc>,
    },
    #[serde(rename = "user.signed_out")]
    SignedOut { session_id: Uuid, at: DateTime<Utc> },
    /// Every session that they had is over.
    #[serde(rename = "user.sessions_revoked")]
    SessionsRevoked { at: DateTime<Utc> },
    /// Whoever has the link may choose another password in their place.
    #[serde(rename = "user.link_given")]
    LinkGiven { at: DateTime<Utc> },
    #[serde(rename = "user.password_changed")]
    PasswordChanged { at: DateTime<Utc> },
    #[serde(rename = "user.second_factor_enabled")]
    SecondFactorEnabled { at: DateTime<Utc> },
    #[serde(rename = "user.second_factor_disabled")]
    SecondFactorDisabled { at: DateTime<Utc> },
    #[serde(rename = "user.suspended")]
    Suspended { at: DateTime<Utc> },
    #[serde(rename = "user.reinstated")]
    Reinstated { at: DateTime<Utc> },
    /// Another owner went, and this one is among those who are left.
    #[serde(rename = "user.left_in_charge")]
    LeftInCharge { instead_of: ConsoleUserId, at: DateTime<Utc> },
    /// For good: name and address are erased, what they did stays under their id.
    #[serde(rename = "user.removed")]
    Removed { at: DateTime<Utc> },
}

crate::events!(UserEvent {
    Invited => "user.invited" v 1,
    Joined => "user.joined" v 1,
    Updated => "user.updated" v 1,
    SignedIn => "user.signed_in" v 1,
    SignedOut => "user.signed_out" v 1,
    SessionsRevoked => "user.sessions_revoked" v 1,
    LinkGiven => "user.link_given" v 1,
    PasswordChanged => "user.password_changed" v 1,
    SecondFactorEnabled => "user.second_factor_enabled" v 1,
    SecondFactorDisabled => "user.second_factor_disabled" v 1,
    Suspended => "user.suspended" v 1,
    Reinstated => "user.reinstated" v 1,
    LeftInCharge => "user.left_in_charge" v 1,
    Removed => "user.removed" v 1,
});
