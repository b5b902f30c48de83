//! One API key: what it may do, where, and until when. The secret itself is shown once and stored nowhere; here is
//! only the hash that recognises it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::port::AggregateType;
use crate::primitives::{AccountId, WorkspaceId};
use crate::{DomainError, GatewayAggregate, Identity, aggregate};

const MAX_NAME_CHARS: usize = 100;
const MAX_WORKSPACES: usize = 100;
const MAX_ACCOUNTS: usize = 500;

/// One kind of thing a key may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Scope {
    Read,
    /// See numbers, names and contents unmasked.
    Personal,
    Send,
    Manage,
    Admin,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Read, Self::Personal, Self::Send, Self::Manage, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Personal => "PERSONAL",
            Self::Send => "SEND",
            Self::Manage => "MANAGE",
            Self::Admin => "ADMIN",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whoever has this scope may do what `other` allows. ADMIN implies all; the others stand alone.
    pub fn implies(self, other: Self) -> bool {
        self == other || self == Self::Admin
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    pub name: String,
    pub scopes: BTreeSet<Scope>,
    /// `None`: every workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_ids: Option<Vec<WorkspaceId>>,
    /// `None`: every account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_ids: Option<Vec<AccountId>>,
    pub fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub enum ApiKeyCommand {
    Create {
        name: String,
        scopes: BTreeSet<Scope>,
        workspace_ids: Option<Vec<WorkspaceId>>,
        account_ids: Option<Vec<AccountId>>,
        /// SHA-256 of the secret, hexadecimal.
        fingerprint: String,
        expires_at: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    },
    Revoke {
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ApiKeyEvent {
    #[serde(rename = "api_key.created")]
    Created {
        name: String,
        scopes: BTreeSet<Scope>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace_ids: Option<Vec<WorkspaceId>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_ids: Option<Vec<AccountId>>,
        fingerprint: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "api_key.revoked")]
    Revoked { at: DateTime<Utc> },
}

crate::events!(ApiKeyEvent {
    Created => "api_key.created" v 1,
    Revoked => "api_key.revoked" v 1,
});

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    #[error("there is no such API key")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("the API key already exists with another secret")]
    AlreadyExists,
}

impl DomainError for ApiKeyError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "API_KEY_INVALID",
            Self::AlreadyExists => "API_KEY_EXISTS",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
            Self::NotFound | Self::AlreadyExists => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::AlreadyExists)
    }
}

aggregate!(ApiKey, ApiKeyCommand, ApiKeyEvent, ApiKeyError, "api_key");

impl GatewayAggregate for ApiKey {
    const AGGREGATE_TYPE: AggregateType = AggregateType::ApiKey;

    /// Only a key for one workspace belongs to it; the others are the gateway's own.
    fn workspace_id(&self) -> Option<WorkspaceId> {
        match self.workspace_ids.as_deref() {
            Some([only]) => Some(*only),
            Some(_) | None => None,
        }
    }

    fn identities(&self) -> BTreeSet<Identity> {
        if self.created_at.is_none() || self.revoked_at.is_some() {
            return BTreeSet::new();
        }
        BTreeSet::from([Identity::new(Uuid::nil(), Identity::API_KEY, self.fingerprint.clone())])
    }

    fn decide(&self, command: ApiKeyCommand) -> Result<Vec<ApiKeyEvent>, ApiKeyError> {
        match command {
            ApiKeyCommand::Create {
                name,
                scopes,
                workspace_ids,
                account_ids,
                fingerprint,
                expires_at,
                at,
            } => {
                if self.created_at.is_some() {
                    let is_known = self.fingerprint == fingerprint;
                    return if is_known { Ok(vec![]) } else { Err(ApiKeyError::AlreadyExists) };
                }
                let name = name.trim().to_owned();
                if !(1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
                    return Err(invalid("name", &format!("use 1 to {MAX_NAME_CHARS} characters")));
                }
                if scopes.is_empty() {
                    return Err(invalid(
                        "scopes",
                        "give at least one of READ, PERSONAL, SEND, MANAGE and ADMIN",
                    ));
                }
                if expires_at.is_some_and(|expires_at| expires_at <= at) {
                    return Err(invalid(
                        "expiresAt",
                        "use a time in the future, or leave it out for a key that does not expire",
                    ));
                }
                if workspace_ids
                    .as_ref()
                    .is_some_and(|ids| !(1..=MAX_WORKSPACES).contains(&ids.len()))
                {
                    return Err(invalid(
                        "workspaceIds",
                        "give 1 to 100 workspaces, or leave it out to allow all",
                    ));
                }
                if account_ids.as_ref().is_some_and(|ids| !(1..=MAX_ACCOUNTS).contains(&ids.len()))
                {
                    return Err(invalid(
                        "accountIds",
                        "give 1 to 500 accounts, or leave it out to allow all",
                    ));
                }
                if fingerprint.is_empty() {
                    return Err(invalid("fingerprint", "give the hash of the secret"));
                }
                Ok(vec![ApiKeyEvent::Created {
                    name,
                    scopes,
                    workspace_ids,
                    account_ids,
                    fingerprint,
                    expires_at,
                    at,
                }])
            }
            ApiKeyCommand::Revoke { at } => {
                if self.created_at.is_none() {
                    return Err(ApiKeyError::NotFound);
                }
                Ok(if self.revoked_at.is_some() {
                    vec![]
                } else {
                    vec![ApiKeyEvent::Revoked { at }]
                })
            }
        }
    }
}

impl ApiKey {
    /// It opens anything at all at this time.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.created_at.is_some()
            && self.revoked_at.is_none()
            && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| held.implies(scope))
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: ApiKeyEvent) {
        match event {
            ApiKeyEvent::Created {
                name,
                scopes,
                workspace_ids,
                account_ids,
                fingerprint,
                expires_at,
                at,
            } => {
                *self = Self {
                    name,
                    scopes,
                    workspace_ids,
                    account_ids,
                    fingerprint,
                    expires_at,
                    created_at: Some(at),
                    revoked_at: None,
                };
            }
            ApiKeyEvent::Revoked { at } => self.revoked_at = Some(at),
        }
    }
}

fn invalid(field: &'static str, problem: &str) -> ApiKeyError {
    ApiKeyError::Invalid { field, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn create(
        scopes: &[Scope],
        expires_at: Option<DateTime<Utc>>,
        fingerprint: &str,
    ) -> ApiKeyCommand {
        ApiKeyCommand::Create {
            name: "CRM".to_owned(),
            scopes: scopes.iter().copied().collect(),
            workspace_ids: None,
            account_ids: None,
            fingerprint: fingerprint.to_owned(),
            expires_at,
            at: at(0),
        }
    }

    fn given(commands: Vec<ApiKeyCommand>) -> ApiKey {
        let mut key = ApiKey::default();
        for command in commands {
            for event in key.decide(command).unwrap() {
                key.fold(event);
            }
        }
        key
    }

    #[test]
    fn a_key_is_created_once_and_then_known() {
        let key = given(vec![create(&[Scope::Send], None, "ab")]);
        assert!(key.is_active(at(1)));
        assert_eq!(key.identities().len(), 1);
        assert_eq!(key.decide(create(&[Scope::Send], None, "ab")), Ok(vec![]));
        assert_eq!(key.decide(create(&[Scope::Send], None, "cd")), Err(ApiKeyError::AlreadyExists));
    }

    #[test]
    fn a_key_needs_a_scope_and_a_future() {
        let refused = |command| ApiKey::default().decide(command).unwrap_err().field().unwrap();
        assert_eq!(refused(create(&[], None, "ab")), "scopes");
        assert_eq!(refused(create(&[Scope::Read], Some(at(0)), "ab")), "expiresAt");
        assert!(ApiKey::default().decide(create(&[Scope::Read], Some(at(1)), "ab")).is_ok());
    }

    #[test]
    fn a_revoked_key_opens_nothing_and_stays_revoked() {
        let key =
            given(vec![create(&[Scope::Admin], None, "ab"), ApiKeyCommand::Revoke { at: at(5) }]);
        assert!(!key.is_active(at(6)));
        assert!(key.identities().is_empty());
        assert_eq!(key.decide(ApiKeyCommand::Revoke { at: at(7) }), Ok(vec![]));
        assert_eq!(
            ApiKey::default().decide(ApiKeyCommand::Revoke { at: at(7) }),
            Err(ApiKeyError::NotFound)
        );
    }

    #[test]
    fn a_key_ends_at_its_time() {
        let key = given(vec![create(&[Scope::Read], Some(at(10)), "ab")]);
        assert!(key.is_active(at(9)));
        assert!(!key.is_active(at(10)));
    }

    #[test]
    fn admin_implies_every_scope_and_the_others_only_themselves() {
        for scope in Scope::ALL {
            assert!(Scope::Admin.implies(scope));
            assert!(scope.implies(scope));
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert!(!Scope::Manage.implies(Scope::Send));
        assert!(!given(vec![create(&[Scope::Send], None, "ab")]).allows(Scope::Read));
    }
}
