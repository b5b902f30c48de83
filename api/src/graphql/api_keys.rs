//! API keys.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::connection::{ApiKeyConnection, Counted, page_args};
use super::enums::Scope;
use super::scalars::{Instant, Place};
use super::session::{Answer, asked};
use crate::application::api_keys;
use crate::application::view::ApiKeyView;

/// What a program shows to be let in. Its secret is never shown again.
#[derive(Clone, Debug, SimpleObject)]
pub struct ApiKey {
    /// Its id.
    id: ID,
    /// The workspaces it is limited to; null: every one.
    workspace_ids: Option<Vec<ID>>,
    /// What people call it.
    name: String,
    /// What it may do.
    scopes: Vec<Scope>,
    /// The accounts it is limited to; null: every one of its workspaces.
    account_ids: Option<Vec<ID>>,
    /// When it was made.
    created_at: Instant,
    /// When it was last used, to the minute, as this node knows it.
    last_used_at: Option<Instant>,
    /// When it ends by itself.
    expires_at: Option<Instant>,
    /// When it was revoked.
    revoked_at: Option<Instant>,
}

impl From<ApiKeyView> for ApiKey {
    fn from(view: ApiKeyView) -> Self {
        Self {
            id: view.id.0.into(),
            workspace_ids: view
                .workspace_ids
                .map(|ids| ids.into_iter().map(|id| id.0.into()).collect()),
            name: view.name,
            scopes: view.scopes.into_iter().map(Scope::from).collect(),
            account_ids: view
                .account_ids
                .map(|ids| ids.into_iter().map(|id| id.0.into()).collect()),
            created_at: Instant(view.created_at),
            last_used_at: view.last_used_at.map(Instant),
            expires_at: view.expires_at.map(Instant),
            revoked_at: view.revoked_at.map(Instant),
        }
    }
}

/// A key to make.
#[derive(Debug, InputObject)]
pub struct CreateApiKeyInput {
    /// The workspaces it is limited to; null: every one.
    workspace_ids: Option<Vec<ID>>,
    /// What people call it.
    name: String,
    /// What it may do.
    scopes: Vec<Scope>,
    /// The accounts it is limited to; null: every one of its workspaces.
    account_ids: Option<Vec<ID>>,
    /// When it ends by itself.
    expires_at: Option<Instant>,
    /// The same key with the same input answers the first result again, without the secret.
    idempotency_key: Option<String>,
}

/// A new key with its secret.
#[derive(SimpleObject)]
pub struct CreateApiKeyPayload {
    /// The key.
    api_key: ApiKey,
    /// `wgk_…`: in this answer and nowhere else, ever. Empty where an idempotency key answers a second time.
    secret: String,
    /// The position of the last event of this command.
    position: Place,
}

/// What became of a key.
#[derive(Clone, Debug, SimpleObject)]
pub struct ApiKeyPayload {
    /// The key as it is now.
    api_key: ApiKey,
    /// The position of the last event of this command.
    position: Place,
}

#[derive(Default)]
pub(super) struct ApiKeyQuery;

#[Object]
impl ApiKeyQuery {
    /// The keys, oldest first. Scope ADMIN.
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<ApiKeyConnection> {
        let (gateway, caller) = asked(ctx);
        let page = page_args(first, after, last, before);
        let min_position = min_position.map(|place| place.0);
        let page = api_keys::list(gateway, caller, page, min_position).await?;
        Ok(ApiKeyConnection::new(page, Counted::ApiKeys))
    }
}

#[derive(Default)]
pub(super) struct ApiKeyMutation;

#[Object]
impl ApiKeyMutation {
    /// The secret is in this answer and nowhere else, ever. Scope ADMIN.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        input: CreateApiKeyInput,
    ) -> Answer<CreateApiKeyPayload> {
        let (gateway, caller) = asked(ctx);
        let ids = |ids: Option<Vec<ID>>| ids.map(|ids| ids.into_iter().map(|id| id.0).collect());
        let input = api_keys::CreateApiKey {
            workspace_ids: ids(input.workspace_ids),
            name: input.name,
            scopes: input.scopes.into_iter().map(Into::into).collect(),
            account_ids: ids(input.account_ids),
            expires_at: input.expires_at.map(|at| at.0),
            idempotency_key: input.idempotency_key,
        };
        let created = api_keys::create(gateway, caller, input).await?;
        Ok(CreateApiKeyPayload {
            api_key: created.key.into(),
            secret: created.secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
            position: Place(created.position),
        })
    }

    /// Ends a key at once. Scope ADMIN.
    async fn revoke_api_key(&self, ctx: &Context<'_>, id: ID) -> Answer<ApiKeyPayload> {
        let (gateway, caller) = asked(ctx);
        let written = api_keys::revoke(gateway, caller, &id).await?;
        Ok(ApiKeyPayload { api_key: written.value.into(), position: Place(written.position) })
    }
}
