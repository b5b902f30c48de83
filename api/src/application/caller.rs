//! Who asks, and what they may see and do. Every use case and every query takes a caller; nothing above this layer
//! decides on authorisation.

use std::collections::BTreeSet;

use domain::api_key::Scope;
use domain::primitives::{AccountId, Actor, ApiKeyId, ConsoleUserId, WorkspaceId};
use uuid::Uuid;

use super::error::{AppError, AppResult};

#[derive(Clone, Debug)]
pub struct Caller {
    pub actor: Actor,
    /// `None` for the gateway's own process managers and the command line.
    pub api_key_id: Option<ApiKeyId>,
    /// Somebody signed in to the console.
    pub user_id: Option<ConsoleUserId>,
    /// The session they came by, as the key ring names it; `None` where they are acted for later.
    pub session: Option<String>,
    pub scopes: BTreeSet<Scope>,
    /// `None`: every workspace.
    pub workspaces: Option<BTreeSet<WorkspaceId>>,
    /// `None`: every account of those workspaces.
    pub accounts: Option<BTreeSet<AccountId>>,
}

impl Caller {
    /// May do everything: the gateway itself, or whoever owns its files.
    pub fn everything(actor: Actor) -> Self {
        Self {
            actor,
            api_key_id: None,
            user_id: None,
            session: None,
            scopes: BTreeSet::from([Scope::Admin]),
            workspaces: None,
            accounts: None,
        }
    }

    /// Whose limits and idempotency keys these are: the key's or the user's. `None` for the gateway itself.
    pub fn principal(&self) -> Option<Uuid> {
        self.api_key_id.map(|id| id.0).or(self.user_id.map(|id| id.0))
    }

    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| held.implies(scope))
    }

    /// # Errors
    /// FORBIDDEN, naming the scope that is missing.
    pub fn require(&self, scope: Scope) -> AppResult<()> {
        if self.has(scope) {
            return Ok(());
        }
        Err(AppError::forbidden(format!(
            "this needs the scope {}, which the key does not have",
            scope.as_str()
        )))
    }

    pub fn may_see_workspace(&self, workspace: WorkspaceId) -> bool {
        self.workspaces.as_ref().is_none_or(|workspaces| workspaces.contains(&workspace))
    }

    /// What has no account (a contact, a segment) is seen by everybody in its workspace.
    pub fn may_see(&self, workspace: Option<WorkspaceId>, account: Option<AccountId>) -> bool {
        let Some(workspace) = workspace else { return false };
        let sees_account = match (&self.accounts, account) {
            (Some(accounts), Some(account)) => accounts.contains(&account),
            _ => true,
        };
        self.may_see_workspace(workspace) && sees_account
    }

    /// Limited to some workspaces or accounts: what is the whole gateway's is not theirs.
    pub fn is_limited(&self) -> bool {
        self.workspaces.is_some() || self.accounts.is_some()
    }
}
