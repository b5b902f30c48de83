//! The people of the console: invited, changed, suspended, removed. How they get in is in [`super::sessions`].

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use domain::account::Account;
use domain::api_key::Scope;
use domain::port::{EventFeed, Position};
use domain::primitives::{AccountId, Actor, ConsoleUserId, WorkspaceId};
use domain::user::{InviteUser, Role, User, UserChange, UserCommand, UserError};
use domain::workspace::Workspace;
use infrastructure::crypto::secret::Secret;
use infrastructure::ledger::{Context, Transaction};
use serde::Serialize;
use uuid::Uuid;

use super::caller::Caller;
use super::check;
use super::command::{self, Once};
use super::contacts;
use super::error::{AppError, AppResult};
use super::page::{Page, PageArgs, Total};
use super::read;
use super::sessions::{self, DIRECTORY_PATIENCE, Purpose};
use super::view::{UserView, Written};
use crate::app::Gateway;

/// Workspaces or accounts that one user may be limited to.
const LIMITS_MAX: usize = 200;
/// How long an invitation, or the link that sets another password, holds.
const LINK_FOR: Duration = Duration::hours(72);

/// Somebody to invite. `None` in a list: all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Invitation {
    pub email: String,
    pub name: String,
    pub role: Role,
    pub workspace_ids: Option<Vec<String>>,
    pub account_ids: Option<Vec<String>>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// What is to be different; `None`: unchanged.
#[derive(Clone, Debug, Default)]
pub struct UserUpdate {
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<Role>,
    pub workspace_ids: Option<Option<Vec<String>>>,
    pub account_ids: Option<Option<Vec<String>>>,
    pub expected_sequence: Option<i32>,
}

/// A user, and the link by which they choose a password.
#[derive(Clone, Debug)]
pub struct Invited {
    pub user: UserView,
    /// In this answer and nowhere else: `None` where it was given before, under the same idempotency key.
    pub link: Option<Secret>,
    pub position: Position,
}

/// What a role change or a removal may not leave the gateway without.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Ownership,
    Nothing,
}

/// Invites somebody, who chooses a password by the link. Nobody invites people who reach further than they do. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for a workspace or an account; VALIDATION_FAILED; CONFLICT where the address is somebody's.
pub async fn invite(gateway: &Gateway, caller: &Caller, input: Invitation) -> AppResult<Invited> {
    caller.require(Scope::Admin)?;
    let (workspace_ids, account_ids) =
        reach(gateway, caller, input.workspace_ids.as_deref(), input.account_ids.as_deref())
            .await?;
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    let once = command::once::<Uuid>(gateway, caller, "inviteUser", key, &input, field).await?;
    let (id, link, position) = match once {
        Once::Done(id, position) => (id, None, position),
        Once::Now(idempotency) => {
            let now = gateway.clock.now();
            let new_id = gateway.ids.next_id(now);
            let invite = UserCommand::Invite(Box::new(InviteUser {
                user_id: ConsoleUserId(new_id),
                email: input.email.clone(),
                name: input.name.clone(),
                role: input.role,
                workspace_ids,
                account_ids,
                at: now,
            }));
            let context = command::context(gateway, caller);
            let invite = &invite;
            let (id, position) =
                command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                    Box::pin(async move {
                        tx.execute::<User>(new_id, invite.clone())
                            .await
                            .map_err(|error| command::refused(error, "input"))?;
                        Ok(new_id)
                    })
                })
                .await?;
            let user = ConsoleUserId(id);
            // Another request under the same idempotency key may have been faster: its link is not ours.
            let link = match id == new_id {
                true => {
                    Some(sessions::link(gateway, user, 0, Purpose::Invitation, LINK_FOR).await?)
                }
                false => None,
            };
            (id, link, position)
        }
    };
    Ok(Invited { user: viewed(gateway, id).await?, link, position })
}

/// The workspaces and accounts that somebody is limited to, each of which the caller may see; where none are named, the
/// caller's own.
async fn reach(
    gateway: &Gateway,
    caller: &Caller,
    workspaces: Option<&[String]>,
    accounts: Option<&[String]>,
) -> AppResult<(Option<Vec<WorkspaceId>>, Option<Vec<AccountId>>)> {
    for (ids, field) in [(workspaces, "input.workspaceIds"), (accounts, "input.accountIds")] {
        check::at_most(ids.unwrap_or_default(), LIMITS_MAX, field)?;
    }
    let workspace_ids = match workspaces {
        None => caller.workspaces.as_ref().map(|own| own.iter().copied().collect()),
        Some(ids) => {
            let mut known = Vec::with_capacity(ids.len());
            for id in ids {
                let (id, _) = command::known::<Workspace>(gateway, caller, id, "workspace").await?;
                known.push(WorkspaceId(id));
            }
            Some(known)
        }
    };
    let account_ids = match accounts {
        None => caller.accounts.as_ref().map(|own| own.iter().copied().collect()),
        Some(ids) => Some(command::accounts(gateway, caller, ids).await?),
    };
    if let (Some(workspaces), Some(accounts)) = (&workspace_ids, &account_ids) {
        for id in accounts {
            let account = command::folded::<Account>(gateway, id.0, "account").await?;
            if !account.workspace_id.is_some_and(|workspace| workspaces.contains(&workspace)) {
                return Err(AppError::invalid(
                    "input.accountIds",
                    "name accounts of the workspaces that the user is for",
                ));
            }
        }
    }
    Ok((workspace_ids, account_ids))
}

/// Changes who somebody is or what they may do; with another role or reach their sessions are over. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where it would leave nobody who owns the gateway.
pub async fn update(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    update: UserUpdate,
) -> AppResult<Written<UserView>> {
    caller.require(Scope::Admin)?;
    let (id, user, sequence) = manageable(gateway, caller, id).await?;
    command::check_sequence(update.expected_sequence, sequence)?;
    let workspaces = match &update.workspace_ids {
        Some(ids) => ids.clone(),
        None => texts(user.workspace_ids.as_deref()),
    };
    let accounts = match &update.account_ids {
        Some(ids) => ids.clone(),
        None => texts(user.account_ids.as_deref()),
    };
    let (workspace_ids, account_ids) =
        reach(gateway, caller, workspaces.as_deref(), accounts.as_deref()).await?;
    let is_owner = |role: Role, limited: bool| role == Role::Owner && !limited;
    let was = is_owner(user.role, user.workspace_ids.is_some() || user.account_ids.is_some());
    let role = update.role.unwrap_or(user.role);
    let will_be = is_owner(role, workspace_ids.is_some() || account_ids.is_some());
    let keeps = if was && !will_be { Keeps::Nothing } else { Keeps::Ownership };
    let change = Box::new(UserChange {
        email: update.email,
        name: update.name,
        role: update.role,
        workspace_ids: Some(workspace_ids),
        account_ids: Some(account_ids),
    });
    let at = gateway.clock.now();
    change_one(gateway, caller, (id, sequence), UserCommand::Update { change, at }, keeps).await
}

fn texts<T: std::fmt::Display>(ids: Option<&[T]>) -> Option<Vec<String>> {
    ids.map(|ids| ids.iter().map(ToString::to_string).collect())
}

/// Nobody signs in as them until they are reinstated, and every session is over. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT where it would leave nobody who owns the gateway.
pub async fn suspend(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<Written<UserView>> {
    caller.require(Scope::Admin)?;
    let (id, _, sequence) = manageable(gateway, caller, id).await?;
    let command = UserCommand::Suspend { at: gateway.clock.now() };
    change_one(gateway, caller, (id, sequence), command, Keeps::Nothing).await
}

/// They may sign in again. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn reinstate(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<UserView>> {
    caller.require(Scope::Admin)?;
    let (id, _, sequence) = manageable(gateway, caller, id).await?;
    let command = UserCommand::Reinstate { at: gateway.clock.now() };
    change_one(gateway, caller, (id, sequence), command, Keeps::Ownership).await
}

/// Ends every session of theirs. Scope ADMIN, or one's own.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn revoke_sessions(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<UserView>> {
    if caller.user_id.map(|own| own.to_string()).as_deref() != Some(id) {
        caller.require(Scope::Admin)?;
    }
    let (id, _, sequence) = manageable(gateway, caller, id).await?;
    let command = UserCommand::RevokeSessions { at: gateway.clock.now() };
    change_one(gateway, caller, (id, sequence), command, Keeps::Ownership).await
}

/// A link by which somebody chooses a password, for whoever lost theirs or their invitation. The old password holds until
/// then. With a second factor that is lost too, the link ends it. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn reset(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<Invited> {
    caller.require(Scope::Admin)?;
    let (id, user, sequence) = manageable(gateway, caller, id).await?;
    let command = UserCommand::GiveLink { at: gateway.clock.now() };
    let written = change_one(gateway, caller, (id, sequence), command, Keeps::Ownership).await?;
    let purpose = if user.joined_at.is_some() { Purpose::NewPassword } else { Purpose::Invitation };
    let link =
        sessions::link(gateway, ConsoleUserId(id), user.generation, purpose, LINK_FOR).await?;
    Ok(Invited { user: written.value, link: Some(link), position: written.position })
}

/// For good: their name and address are erased, what they did stays under their id. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT where it would leave nobody who owns the gateway.
pub async fn remove(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<Written<UserView>> {
    caller.require(Scope::Admin)?;
    let (id, _, _) = manageable(gateway, caller, id).await?;
    let left = left_in_charge(gateway, id, Keeps::Nothing).await?;
    let at = gateway.clock.now();
    let context = command::context(gateway, caller);
    let names = sessions::secrets_of(ConsoleUserId(id));
    let (task, note) = contacts::cleaning_task(id);
    let (names, noted) = (&names, (&task, &note));
    let ((), position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            leave_in_charge(tx, left, id, at).await?;
            tx.execute::<User>(id, UserCommand::Remove { at })
                .await
                .map_err(|error| command::refused(error, ""))?;
            for name in names {
                tx.put_secret(name, None);
            }
            tx.put_secret(noted.0, Some(noted.1));
            tx.destroy_key(id);
            Ok(())
        })
    })
    .await?;
    contacts::clean_up(gateway, task, position).await?;
    Ok(Written { value: viewed(gateway, id).await?, position })
}

/// Somebody, and the sequence that they were judged at.
async fn change_one(
    gateway: &Gateway,
    caller: &Caller,
    (id, sequence): (Uuid, u64),
    command: UserCommand,
    keeps: Keeps,
) -> AppResult<Written<UserView>> {
    let left = left_in_charge(gateway, id, keeps).await?;
    let (context, at, command) = (command::context(gateway, caller), gateway.clock.now(), &command);
    let ((), position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            leave_in_charge(tx, left, id, at).await?;
            tx.execute_expecting::<User>(id, Some(sequence), command.clone())
                .await
                .map_err(|error| command::refused(error, "input"))?;
            Ok(())
        })
    })
    .await?;
    Ok(Written { value: viewed(gateway, id).await?, position })
}

/// That this owner is left makes the other's going part of their own history: if they go at the same moment, one of the two
/// is too late.
async fn leave_in_charge(
    tx: &mut Transaction<'_>,
    left: Option<Uuid>,
    id: Uuid,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let Some(left) = left else { return Ok(()) };
    let command = UserCommand::LeaveInCharge { instead_of: ConsoleUserId(id), at };
    tx.execute::<User>(left, command).await.map_err(|error| command::refused(error, ""))?;
    Ok(())
}

/// Who owns the gateway where this owner goes; `None` where they stay, or never were one. Refuses what would leave nobody who
/// owns the whole gateway and can sign in.
async fn left_in_charge(gateway: &Gateway, id: Uuid, keeps: Keeps) -> AppResult<Option<Uuid>> {
    if keeps == Keeps::Ownership {
        return Ok(None);
    }
    let head = gateway.ledger.head().await?;
    let known = gateway.read.wait_for(projections::names::DIRECTORY, head, DIRECTORY_PATIENCE);
    known.await.map_err(AppError::unavailable)?;
    let users = read::queries(gateway).all_users(&projections::Scope::everything()).await?;
    let (own, others): (Vec<_>, Vec<_>) = users
        .into_iter()
        .filter(|stored| stored.state.owns_everything())
        .partition(|stored| stored.id == id);
    if own.is_empty() {
        return Ok(None);
    }
    let left = others.first().ok_or_else(|| AppError::conflict(UserError::NoOwner.to_string()))?;
    Ok(Some(left.id))
}

/// Somebody who reaches no further than the caller.
async fn manageable(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<(Uuid, User, u64)> {
    let not_found = || AppError::not_found("user");
    let id: ConsoleUserId = command::id(id, "user")?;
    let loaded = gateway.bus.load::<User>(id.0).await?.ok_or_else(not_found)?;
    let user = loaded.aggregate;
    if user.removed_at.is_some() || !is_within(caller, &user) {
        return Err(not_found());
    }
    Ok((id.0, user, loaded.sequence))
}

fn is_within(caller: &Caller, user: &User) -> bool {
    fn within<T: Ord + Copy>(own: Option<&BTreeSet<T>>, of: Option<&Vec<T>>) -> bool {
        match (own, of) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(of)) => of.iter().all(|id| own.contains(id)),
        }
    }
    within(caller.workspaces.as_ref(), user.workspace_ids.as_ref())
        && within(caller.accounts.as_ref(), user.account_ids.as_ref())
}

async fn viewed(gateway: &Gateway, id: Uuid) -> AppResult<UserView> {
    let not_found = || AppError::not_found("user");
    let loaded = gateway.bus.load::<User>(id).await?.ok_or_else(not_found)?;
    UserView::new(ConsoleUserId(id), &loaded.aggregate, loaded.sequence).ok_or_else(not_found)
}

/// People, oldest first, those who reach no further than the caller. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<UserView>> {
    caller.require(Scope::Admin)?;
    let page = read::page_request(page)?;
    read::wait_directory(gateway, min_position).await?;
    let found = read::queries(gateway).users(&read::scope(caller), &page).await?;
    Ok(read::page(found, |stored| {
        UserView::new(ConsoleUserId(stored.id), &stored.state, stored.sequence)
    }))
}

/// How many [`list`] would go through. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN.
pub async fn total(gateway: &Gateway, caller: &Caller) -> AppResult<Total> {
    caller.require(Scope::Admin)?;
    let count = read::queries(gateway).all_users(&read::scope(caller)).await?.len() as u64;
    Ok(Total { count, exact: true })
}

/// While nobody ever joined: a link by which the first owner makes themselves known. Called
/// at every start, with the read models' projectors running.
///
/// # Errors
/// UNAVAILABLE.
pub async fn ensure_setup_link(gateway: &Gateway) -> AppResult<Option<Secret>> {
    let head = gateway.ledger.head().await?;
    let known = gateway.read.wait_for(projections::names::DIRECTORY, head, DIRECTORY_PATIENCE);
    if known.await.is_err() {
        // A read model that is built anew knows nobody yet; the next start looks again.
        return Ok(None);
    }
    let users = read::queries(gateway).all_users(&projections::Scope::everything()).await?;
    if users.iter().any(|stored| stored.state.joined_at.is_some()) {
        return Ok(None);
    }
    let id = ConsoleUserId(gateway.ids.next_id(gateway.clock.now()));
    Ok(Some(sessions::link(gateway, id, 0, Purpose::Setup, LINK_FOR).await?))
}

/// The first owner, as the set-up made them: everything, everywhere.
pub(super) async fn make_owner(
    gateway: &Gateway,
    id: ConsoleUserId,
    email: &str,
    name: &str,
) -> AppResult<()> {
    let now = gateway.clock.now();
    let invite = UserCommand::Invite(Box::new(InviteUser {
        user_id: id,
        email: email.to_owned(),
        name: name.to_owned(),
        role: Role::Owner,
        workspace_ids: None,
        account_ids: None,
        at: now,
    }));
    let context = Context::new(Actor::system("setup"), gateway.ids.next_id(now));
    let made = gateway.bus.execute::<User>(id.0, invite, &context).await;
    made.map_err(|error| command::refused(error, "")).map(|_| ())
}
