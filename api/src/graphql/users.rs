//! The people of the console.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::connection::{Counted, UserConnection, page_args};
use super::enums::Role;
use super::scalars::{Instant, Place};
use super::session::{Answer, asked, int};
use crate::application::users::{self, Invitation, Invited, UserUpdate};
use crate::application::view::{UserView, Written};

/// Somebody who signs in to the console.
#[derive(Clone, Debug, SimpleObject)]
pub struct User {
    /// Their id.
    id: ID,
    /// What they sign in with, in lower case. Empty once they are removed.
    email: String,
    /// What people call them. Empty once they are removed.
    name: String,
    /// What they are for.
    role: Role,
    /// The workspaces they are limited to; null: every one.
    workspace_ids: Option<Vec<ID>>,
    /// The accounts they are limited to; null: every one of their workspaces.
    account_ids: Option<Vec<ID>>,
    /// They give a code of an authenticator app beside their password.
    has_second_factor: bool,
    /// When they were invited.
    invited_at: Instant,
    /// When they chose their first password; null: not yet.
    joined_at: Option<Instant>,
    /// When they last signed in.
    signed_in_at: Option<Instant>,
    /// Since when they may not sign in.
    suspended_at: Option<Instant>,
    /// When they were removed.
    removed_at: Option<Instant>,
    /// For `expectedSequence`.
    sequence: i32,
}

impl From<UserView> for User {
    fn from(view: UserView) -> Self {
        Self {
            id: view.id.0.into(),
            email: view.email,
            name: view.name,
            role: view.role.into(),
            workspace_ids: view
                .workspace_ids
                .map(|ids| ids.into_iter().map(|id| id.0.into()).collect()),
            account_ids: view
                .account_ids
                .map(|ids| ids.into_iter().map(|id| id.0.into()).collect()),
            has_second_factor: view.has_second_factor,
            invited_at: Instant(view.invited_at),
            joined_at: view.joined_at.map(Instant),
            signed_in_at: view.signed_in_at.map(Instant),
            suspended_at: view.suspended_at.map(Instant),
            removed_at: view.removed_at.map(Instant),
            sequence: int(view.sequence),
        }
    }
}

/// Somebody to invite.
#[derive(Debug, InputObject)]
pub struct InviteUserInput {
    /// What they will sign in with.
    email: String,
    /// What people call them.
    name: String,
    /// What they are for.
    role: Role,
    /// The workspaces they are limited to; null: every one that the caller has.
    workspace_ids: Option<Vec<ID>>,
    /// The accounts they are limited to; null: every one that the caller has.
    account_ids: Option<Vec<ID>>,
    /// The same key with the same input answers the first result again, without the link.
    idempotency_key: Option<String>,
}

/// What is to be different. Left out: stays.
#[derive(Debug, InputObject)]
pub struct UpdateUserInput {
    /// Whom it is about.
    id: ID,
    /// What they sign in with.
    email: Option<String>,
    /// What people call them.
    name: Option<String>,
    /// What they are for. Another role ends their sessions.
    role: Option<Role>,
    /// The workspaces they are limited to; null: every one that the caller has. Others end their sessions.
    workspace_ids: MaybeUndefined<Vec<ID>>,
    /// The accounts they are limited to; null: every one that the caller has. Others end their sessions.
    account_ids: MaybeUndefined<Vec<ID>>,
    /// Refused with CONFLICT where it was changed meanwhile.
    expected_sequence: Option<i32>,
}

/// Somebody, and the link by which they choose a password.
#[derive(SimpleObject)]
pub struct InviteUserPayload {
    /// Who they are.
    user: User,
    /// In this answer and nowhere else, good once and for three days. Empty where an idempotency key answers a second time.
    link: String,
    /// The position of the last event of this command.
    position: Place,
}

/// What became of somebody.
#[derive(Clone, Debug, SimpleObject)]
pub struct UserPayload {
    /// The user as they are now.
    user: User,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<UserView>> for UserPayload {
    fn from(written: Written<UserView>) -> Self {
        Self { user: written.value.into(), position: Place(written.position) }
    }
}

impl From<Invited> for InviteUserPayload {
    fn from(invited: Invited) -> Self {
        Self {
            user: invited.user.into(),
            link: invited.link.map(|link| link.expose().to_owned()).unwrap_or_default(),
            position: Place(invited.position),
        }
    }
}

fn texts(ids: Vec<ID>) -> Vec<String> {
    ids.into_iter().map(|id| id.0).collect()
}

/// Undefined: unchanged; null: no limit.
fn changed(ids: MaybeUndefined<Vec<ID>>) -> Option<Option<Vec<String>>> {
    match ids {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(ids) => Some(Some(texts(ids))),
    }
}

#[derive(Default)]
pub(super) struct UserQuery;

#[Object]
impl UserQuery {
    /// The people of the console, oldest first, without removed ones. Scope ADMIN.
    async fn users(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<UserConnection> {
        let (gateway, caller) = asked(ctx);
        let page = page_args(first, after, last, before);
        let min_position = min_position.map(|place| place.0);
        let page = users::list(gateway, caller, page, min_position).await?;
        Ok(UserConnection::new(page, Counted::Users))
    }
}

#[derive(Default)]
pub(super) struct UserMutation;

#[Object]
impl UserMutation {
    /// Answers a link by which they choose a password: give it to them yourself, the gateway sends no mail. Scope ADMIN.
    async fn invite_user(
        &self,
        ctx: &Context<'_>,
        input: InviteUserInput,
    ) -> Answer<InviteUserPayload> {
        let (gateway, caller) = asked(ctx);
        let input = Invitation {
            email: input.email,
            name: input.name,
            role: input.role.into(),
            workspace_ids: input.workspace_ids.map(texts),
            account_ids: input.account_ids.map(texts),
            idempotency_key: input.idempotency_key,
        };
        Ok(users::invite(gateway, caller, input).await?.into())
    }

    /// Changes who they are or what they may do. Scope ADMIN.
    async fn update_user(&self, ctx: &Context<'_>, input: UpdateUserInput) -> Answer<UserPayload> {
        let (gateway, caller) = asked(ctx);
        let update = UserUpdate {
            email: input.email,
            name: input.name,
            role: input.role.map(Into::into),
            workspace_ids: changed(input.workspace_ids),
            account_ids: changed(input.account_ids),
            expected_sequence: input.expected_sequence,
        };
        Ok(users::update(gateway, caller, &input.id, update).await?.into())
    }

    /// A new link for whoever lost theirs, their password or their second factor; what they had holds until it is used.
    /// Scope ADMIN.
    async fn reset_user(&self, ctx: &Context<'_>, id: ID) -> Answer<InviteUserPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(users::reset(gateway, caller, &id).await?.into())
    }

    /// They cannot sign in until they are reinstated, and every session of theirs ends. Scope ADMIN.
    async fn suspend_user(&self, ctx: &Context<'_>, id: ID) -> Answer<UserPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(users::suspend(gateway, caller, &id).await?.into())
    }

    /// They can sign in again. Scope ADMIN.
    async fn reinstate_user(&self, ctx: &Context<'_>, id: ID) -> Answer<UserPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(users::reinstate(gateway, caller, &id).await?.into())
    }

    /// Ends every session of theirs. Scope ADMIN, except for one's own.
    async fn revoke_user_sessions(&self, ctx: &Context<'_>, id: ID) -> Answer<UserPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(users::revoke_sessions(gateway, caller, &id).await?.into())
    }

    /// For good: their name and address are erased, what they did stays under their id. Scope ADMIN.
    async fn remove_user(&self, ctx: &Context<'_>, id: ID) -> Answer<UserPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(users::remove(gateway, caller, &id).await?.into())
    }
}
