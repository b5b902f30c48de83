//! The user's state and decisions.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::UserEvent as Event;
use crate::api_key::Scope;
use crate::port::AggregateType;
use crate::primitives::{AccountId, ConsoleUserId, Personal, WorkspaceId};
use crate::{DomainError, GatewayAggregate, Identity, aggregate};

const NAME_CHARS_MAX: usize = 100;
/// RFC 5321, 4.5.3.1.3, without the angle brackets.
const EMAIL_CHARS_MAX: usize = 254;
const WORKSPACES_MAX: usize = 100;
const ACCOUNTS_MAX: usize = 500;

/// What a user is for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Everything, users and API keys included.
    Owner,
    /// Accounts, templates, contacts, campaigns and sending.
    Manager,
    /// Sending, and steering what is being sent.
    Sender,
    /// Looks, and sees personal data masked.
    #[default]
    Viewer,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Owner, Self::Manager, Self::Sender, Self::Viewer];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "OWNER",
            Self::Manager => "MANAGER",
            Self::Sender => "SENDER",
            Self::Viewer => "VIEWER",
        }
    }

    pub fn scopes(self) -> BTreeSet<Scope> {
        match self {
            Self::Owner => BTreeSet::from([Scope::Admin]),
            Self::Manager => {
                BTreeSet::from([Scope::Read, Scope::Personal, Scope::Send, Scope::Manage])
            }
            Self::Sender => BTreeSet::from([Scope::Read, Scope::Personal, Scope::Send]),
            Self::Viewer => BTreeSet::from([Scope::Read]),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ConsoleUserId>,
    /// In lower case, as it is signed in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Personal<String>>,
    #[serde(default)]
    pub role: Role,
    /// `None`: every workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_ids: Option<Vec<WorkspaceId>>,
    /// `None`: every account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_ids: Option<Vec<AccountId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_at: Option<DateTime<Utc>>,
    /// `None`: they have no password yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub has_second_factor: bool,
    /// Counts what ends every session: a session holds for the generation that it was begun in.
    #[serde(default)]
    pub generation: u32,
}

#[derive(Clone, Debug)]
pub struct InviteUser {
    pub user_id: ConsoleUserId,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub workspace_ids: Option<Vec<WorkspaceId>>,
    pub account_ids: Option<Vec<AccountId>>,
    pub at: DateTime<Utc>,
}

/// What is to be different; `None`: unchanged.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<Role>,
    pub workspace_ids: Option<Option<Vec<WorkspaceId>>>,
    pub account_ids: Option<Option<Vec<AccountId>>>,
}

#[derive(Clone, Debug)]
pub enum UserCommand {
    Invite(Box<InviteUser>),
    Update {
        change: Box<UserChange>,
        at: DateTime<Utc>,
    },
    /// The first password makes them join; a later one ends their sessions.
    ChangePassword {
        at: DateTime<Utc>,
    },
    SignIn {
        session_id: Uuid,
        at: DateTime<Utc>,
    },
    SignOut {
        session_id: Uuid,
        at: DateTime<Utc>,
    },
    RevokeSessions {
        at: DateTime<Utc>,
    },
    /// Somebody else has a link by which they choose another password.
    GiveLink {
        at: DateTime<Utc>,
    },
    EnableSecondFactor {
        at: DateTime<Utc>,
    },
    DisableSecondFactor {
        at: DateTime<Utc>,
    },
    Suspend {
        at: DateTime<Utc>,
    },
    Reinstate {
        at: DateTime<Utc>,
    },
    /// Another owner is to go, for as long as this one stays.
    LeaveInCharge {
        instead_of: ConsoleUserId,
        at: DateTime<Utc>,
    },
    Remove {
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("there is no such user")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("this user is suspended")]
    Suspended,
    #[error("this user has not accepted the invitation yet")]
    NotJoined,
    #[error("nobody else owns the gateway; make somebody else an owner first")]
    NoOwner,
}

impl DomainError for UserError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "USER_INVALID",
            Self::Suspended => "USER_SUSPENDED",
            Self::NotJoined => "USER_NOT_JOINED",
            Self::NoOwner => "USER_LAST_OWNER",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
            Self::NotFound | Self::Suspended | Self::NotJoined | Self::NoOwner => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Suspended | Self::NotJoined | Self::NoOwner)
    }
}

aggregate!(User, UserCommand, Event, UserError, "user");

impl GatewayAggregate for User {
    const AGGREGATE_TYPE: AggregateType = AggregateType::User;

    /// Only a user of one workspace belongs to it; the others are the gateway's own.
    fn workspace_id(&self) -> Option<WorkspaceId> {
        match self.workspace_ids.as_deref() {
            Some([only]) => Some(*only),
            Some(_) | None => None,
        }
    }

    fn subject(&self) -> Option<Uuid> {
        self.id.map(|id| id.0)
    }

    fn identities(&self) -> BTreeSet<Identity> {
        let email = self.email.as_ref().and_then(Personal::known);
        email.map(|email| Identity::user_email(email)).into_iter().collect()
    }

    fn decide(&self, command: UserCommand) -> Result<Vec<Event>, UserError> {
        if let UserCommand::Invite(invite) = command {
            return self.invite(*invite);
        }
        if self.id.is_none() {
            return Err(UserError::NotFound);
        }
        if self.removed_at.is_some() {
            return match command {
                UserCommand::Remove { .. } => Ok(vec![]),
                UserCommand::LeaveInCharge { .. } => Err(UserError::NoOwner),
                _ => Err(UserError::NotFound),
            };
        }
        match command {
            UserCommand::Invite(_) => Ok(vec![]),
            UserCommand::Update { change, at } => self.update(*change, at),
            UserCommand::ChangePassword { at } => {
                let joined = self.joined_at.is_none().then_some(Event::Joined { at });
                Ok(vec![joined.unwrap_or(Event::PasswordChanged { at })])
            }
            UserCommand::SignIn { session_id, at } => {
                if self.suspended_at.is_some() {
                    return Err(UserError::Suspended);
                }
                if self.joined_at.is_none() {
                    return Err(UserError::NotJoined);
                }
                Ok(vec![Event::SignedIn { session_id, at }])
            }
            UserCommand::SignOut { session_id, at } => {
                Ok(vec![Event::SignedOut { session_id, at }])
            }
            UserCommand::RevokeSessions { at } => Ok(vec![Event::SessionsRevoked { at }]),
            UserCommand::GiveLink { at } => Ok(vec![Event::LinkGiven { at }]),
            UserCommand::EnableSecondFactor { at } => {
                Ok(news(!self.has_second_factor, Event::SecondFactorEnabled { at }))
            }
            UserCommand::DisableSecondFactor { at } => {
                Ok(news(self.has_second_factor, Event::SecondFactorDisabled { at }))
            }
            UserCommand::Suspend { at } => {
                Ok(news(self.suspended_at.is_none(), Event::Suspended { at }))
            }
            UserCommand::Reinstate { at } => {
                Ok(news(self.suspended_at.is_some(), Event::Reinstated { at }))
            }
            UserCommand::LeaveInCharge { instead_of, at } => {
                if !self.owns_everything() || self.id == Some(instead_of) {
                    return Err(UserError::NoOwner);
                }
                Ok(vec![Event::LeftInCharge { instead_of, at }])
            }
            UserCommand::Remove { at } => Ok(vec![Event::Removed { at }]),
        }
    }
}

fn news(is_news: bool, event: Event) -> Vec<Event> {
    if is_news { vec![event] } else { vec![] }
}

impl User {
    /// May sign in, and use a session of the present generation.
    pub fn is_active(&self) -> bool {
        self.joined_at.is_some() && self.suspended_at.is_none() && self.removed_at.is_none()
    }

    /// May do everything, everywhere.
    pub fn owns_everything(&self) -> bool {
        self.is_active()
            && self.role == Role::Owner
            && self.workspace_ids.is_none()
            && self.account_ids.is_none()
    }

    fn invite(&self, invite: InviteUser) -> Result<Vec<Event>, UserError> {
        if self.id.is_some() {
            return Ok(vec![]);
        }
        let InviteUser { user_id, email, name, role, workspace_ids, account_ids, at } = invite;
        let (email, name) = (email_of(&email)?, name_of(&name)?);
        check_reach(workspace_ids.as_deref(), account_ids.as_deref())?;
        Ok(vec![Event::Invited {
            user_id,
            email: email.into(),
            name: name.into(),
            role,
            workspace_ids,
            account_ids,
            at,
        }])
    }

    fn update(&self, change: UserChange, at: DateTime<Utc>) -> Result<Vec<Event>, UserError> {
        let email = match change.email {
            Some(email) => email_of(&email)?.into(),
            None => self.email.clone().unwrap_or(Personal::Erased),
        };
        let name = match change.name {
            Some(name) => name_of(&name)?.into(),
            None => self.name.clone().unwrap_or(Personal::Erased),
        };
        let role = change.role.unwrap_or(self.role);
        let workspace_ids = change.workspace_ids.unwrap_or_else(|| self.workspace_ids.clone());
        let account_ids = change.account_ids.unwrap_or_else(|| self.account_ids.clone());
        check_reach(workspace_ids.as_deref(), account_ids.as_deref())?;
        let is_news = self.email.as_ref() != Some(&email)
            || self.name.as_ref() != Some(&name)
            || role != self.role
            || workspace_ids != self.workspace_ids
            || account_ids != self.account_ids;
        let event = Event::Updated { email, name, role, workspace_ids, account_ids, at };
        Ok(news(is_news, event))
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: Event) {
        match event {
            Event::Invited { user_id, email, name, role, workspace_ids, account_ids, at } => {
                *self = Self {
                    id: Some(user_id),
                    email: Some(email),
                    name: Some(name),
                    role,
                    workspace_ids,
                    account_ids,
                    invited_at: Some(at),
                    ..Self::default()
                };
            }
            Event::Joined { at } => self.joined_at = Some(at),
            Event::Updated { email, name, role, workspace_ids, account_ids, at: _ } => {
                // What somebody may do is asked anew from them.
                if role != self.role
                    || workspace_ids != self.workspace_ids
                    || account_ids != self.account_ids
                {
                    self.generation += 1;
                }
                self.email = Some(email);
                self.name = Some(name);
                self.role = role;
                self.workspace_ids = workspace_ids;
                self.account_ids = account_ids;
            }
            Event::SignedIn { session_id: _, at } => self.signed_in_at = Some(at),
            Event::SignedOut { .. } | Event::LinkGiven { .. } => {}
            Event::SessionsRevoked { .. } | Event::PasswordChanged { .. } => self.generation += 1,
            Event::SecondFactorEnabled { .. } => {
                self.has_second_factor = true;
                self.generation += 1;
            }
            Event::SecondFactorDisabled { .. } => {
                self.has_second_factor = false;
                self.generation += 1;
            }
            Event::Suspended { at } => {
                self.suspended_at = Some(at);
                self.generation += 1;
            }
            Event::Reinstated { .. } => self.suspended_at = None,
            Event::LeftInCharge { .. } => {}
            Event::Removed { at } => {
                self.removed_at = Some(at);
                self.email = None;
                self.name = None;
                self.generation += 1;
            }
        }
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> UserError {
    UserError::Invalid { field, problem: problem.into() }
}

/// Something before and after one `@`, and a dot after it: whether it exists only a mail can tell.
fn email_of(text: &str) -> Result<String, UserError> {
    let email = text.trim().to_lowercase();
    let is_fine = email.split_once('@').is_some_and(|(local, host)| {
        !local.is_empty()
            && !host.contains('@')
            && host.split('.').count() > 1
            && host.split('.').all(|label| !label.is_empty())
    });
    let is_plain = email.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if !is_fine || !is_plain || email.chars().count() > EMAIL_CHARS_MAX {
        return Err(invalid("email", "use an address such as ana@shop.example"));
    }
    Ok(email)
}

fn name_of(text: &str) -> Result<String, UserError> {
    let name = text.trim();
    let is_fine = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if !is_fine || name.chars().any(char::is_control) {
        return Err(invalid("name", format!("use 1 to {NAME_CHARS_MAX} characters on one line")));
    }
    Ok(name.to_owned())
}

fn check_reach(
    workspaces: Option<&[WorkspaceId]>,
    accounts: Option<&[AccountId]>,
) -> Result<(), UserError> {
    if workspaces.is_some_and(|ids| !(1..=WORKSPACES_MAX).contains(&ids.len())) {
        let problem = format!("give 1 to {WORKSPACES_MAX} workspaces, or null to allow all");
        return Err(invalid("workspaceIds", problem));
    }
    if accounts.is_some_and(|ids| !(1..=ACCOUNTS_MAX).contains(&ids.len())) {
        let problem = format!("give 1 to {ACCOUNTS_MAX} accounts, or null to allow all");
        return Err(invalid("accountIds", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn invite(email: &str, name: &str) -> UserCommand {
        UserCommand::Invite(Box::new(InviteUser {
            user_id: ConsoleUserId(Uuid::from_u128(1)),
            email: email.to_owned(),
            name: name.to_owned(),
            role: Role::Sender,
            workspace_ids: None,
            account_ids: None,
            at: at(0),
        }))
    }

    fn given(commands: Vec<UserCommand>) -> User {
        let mut user = User::default();
        for command in commands {
            for event in user.decide(command).unwrap() {
                user.fold(event);
            }
        }
        user
    }

    fn joined() -> User {
        given(vec![invite("Ana@Shop.example ", " Ana "), UserCommand::ChangePassword { at: at(1) }])
    }

    #[test]
    fn somebody_invited_joins_by_their_first_password_and_may_then_sign_in() {
        let invited = given(vec![invite("ana@shop.example", "Ana")]);
        let sign_in = UserCommand::SignIn { session_id: Uuid::nil(), at: at(2) };
        assert_eq!(invited.decide(sign_in.clone()), Err(UserError::NotJoined));
        let user = joined();
        assert!(user.is_active() && user.generation == 0);
        assert_eq!(user.email, Some(Personal::Known("ana@shop.example".to_owned())));
        assert_eq!(user.identities().len(), 1);
        assert_eq!(user.decide(sign_in).unwrap().len(), 1);
    }

    #[test]
    fn addresses_and_names_that_are_none_are_refused_by_name() {
        let refused = |email: &str, name: &str| {
            User::default().decide(invite(email, name)).unwrap_err().field().unwrap()
        };
        for email in
            ["", "ana", "@shop.example", "ana@", "ana@shop", "a@b@c.example", "a b@c.example"]
        {
            assert_eq!(refused(email, "Ana"), "email", "{email}");
        }
        assert_eq!(refused("ana@shop.example", " "), "name");
        assert_eq!(refused("ana@shop.example", "A\nB"), "name");
    }

    #[test]
    fn whatever_changes_what_somebody_may_do_ends_their_sessions() {
        let change =
            |change: UserChange| UserCommand::Update { change: Box::new(change), at: at(3) };
        let role = change(UserChange { role: Some(Role::Owner), ..UserChange::default() });
        let ends = [
            role,
            UserCommand::ChangePassword { at: at(3) },
            UserCommand::RevokeSessions { at: at(3) },
            UserCommand::EnableSecondFactor { at: at(3) },
            UserCommand::Suspend { at: at(3) },
            UserCommand::Remove { at: at(3) },
        ];
        for command in ends {
            let mut user = joined();
            for event in user.decide(command.clone()).unwrap() {
                user.fold(event);
            }
            assert_eq!(user.generation, 1, "{command:?}");
        }
        let renamed =
            change(UserChange { name: Some("Ana Lee".to_owned()), ..UserChange::default() });
        let mut user = joined();
        for event in user.decide(renamed).unwrap() {
            user.fold(event);
        }
        assert_eq!(user.generation, 0);
    }

    #[test]
    fn somebody_suspended_is_refused_until_they_are_reinstated_and_somebody_removed_for_good() {
        let mut user = joined();
        let sign_in = UserCommand::SignIn { session_id: Uuid::nil(), at: at(9) };
        for event in user.decide(UserCommand::Suspend { at: at(3) }).unwrap() {
            user.fold(event);
        }
        assert_eq!(user.decide(sign_in.clone()), Err(UserError::Suspended));
        for event in user.decide(UserCommand::Reinstate { at: at(4) }).unwrap() {
            user.fold(event);
        }
        assert!(user.is_active());
        for event in user.decide(UserCommand::Remove { at: at(5) }).unwrap() {
            user.fold(event);
        }
        assert!(user.email.is_none() && user.identities().is_empty() && !user.is_active());
        assert_eq!(user.decide(sign_in), Err(UserError::NotFound));
        assert_eq!(user.decide(UserCommand::Remove { at: at(6) }), Ok(vec![]));
    }

    #[test]
    fn roles_open_less_and_less() {
        let counts = Role::ALL.map(|role| {
            Scope::ALL
                .iter()
                .filter(|scope| role.scopes().iter().any(|held| held.implies(**scope)))
                .count()
        });
        assert_eq!(counts, [5, 4, 3, 1]);
    }
}
