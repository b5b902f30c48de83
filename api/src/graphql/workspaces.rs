//! Workspaces, who is asking, and the read models themselves.

use async_graphql::{Context, ID, Object, SimpleObject};

use super::enums::{ActorKind, ProjectionStatus, Scope};
use super::scalars::Place;
use super::session::{Answer, asked, int};
use crate::application::view::{ProjectionView, WorkspaceView, Written};
use crate::application::{projections, workspaces};

/// A marketer's client, or a department. Nothing is shared across workspaces.
#[derive(Clone, Debug, SimpleObject)]
pub struct Workspace {
    /// Its id.
    id: ID,
    /// Its name.
    name: String,
}

impl From<WorkspaceView> for Workspace {
    fn from(view: WorkspaceView) -> Self {
        Self { id: view.id.0.into(), name: view.name }
    }
}

/// What became of a workspace.
#[derive(Clone, Debug, SimpleObject)]
pub struct WorkspacePayload {
    /// The workspace as it is now.
    workspace: Workspace,
    /// The position of the last event of this command.
    position: Place,
}

/// Who is asking: the API key or console user behind a request.
#[derive(Clone, Debug, SimpleObject)]
pub struct Viewer {
    /// What kind of actor it is.
    kind: ActorKind,
    /// The key's or user's id.
    id: String,
    /// The key's or user's name.
    name: Option<String>,
    /// What it may do. ADMIN implies every other scope.
    scopes: Vec<Scope>,
    /// The workspaces it is limited to; null: every one.
    workspace_ids: Option<Vec<ID>>,
    /// The accounts it is limited to; null: every one of its workspaces.
    account_ids: Option<Vec<ID>>,
}

/// A read model: what lists are answered from, built from the log.
#[derive(Clone, Debug, SimpleObject)]
pub struct Projection {
    /// Its name.
    name: String,
    /// How far it has read the log.
    position: Place,
    /// Events between it and the log's end.
    lag: i32,
    /// How it does.
    status: ProjectionStatus,
    /// How much of the log the new one has read, from 0 to 1, while it is built anew.
    rebuild_progress: Option<f64>,
}

impl From<ProjectionView> for Projection {
    fn from(view: ProjectionView) -> Self {
        Self {
            name: view.name,
            position: Place(view.position),
            lag: int(view.lag),
            status: view.status.into(),
            rebuild_progress: view.rebuild_progress,
        }
    }
}

/// What became of a read model.
#[derive(Clone, Debug, SimpleObject)]
pub struct ProjectionPayload {
    /// The read model as it is now.
    projection: Projection,
}

#[derive(Default)]
pub(super) struct WorkspaceQuery;

#[Object]
impl WorkspaceQuery {
    /// Who is asking: the API key or console user behind this request. Any key.
    async fn viewer(&self, ctx: &Context<'_>) -> Viewer {
        let (_, caller) = asked(ctx);
        Viewer {
            kind: caller.actor.kind.into(),
            id: caller.actor.id.clone(),
            name: caller.actor.name.clone(),
            scopes: caller.scopes.iter().map(|scope| (*scope).into()).collect(),
            workspace_ids: caller
                .workspaces
                .as_ref()
                .map(|ids| ids.iter().map(|id| id.0.into()).collect()),
            account_ids: caller
                .accounts
                .as_ref()
                .map(|ids| ids.iter().map(|id| id.0.into()).collect()),
        }
    }

    /// The workspaces that the key may see. Scope READ.
    async fn workspaces(&self, ctx: &Context<'_>) -> Answer<Vec<Workspace>> {
        let (gateway, caller) = asked(ctx);
        Ok(workspaces::list(gateway, caller).await?.into_iter().map(Workspace::from).collect())
    }
}

#[derive(Default)]
pub(super) struct WorkspaceMutation;

#[Object]
impl WorkspaceMutation {
    /// Makes a workspace. Scope ADMIN, with a key that is not limited to some workspaces.
    async fn create_workspace(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What people call it.")] name: String,
        #[graphql(desc = "The same key with the same input answers the first result again.")]
        idempotency_key: Option<String>,
    ) -> Answer<WorkspacePayload> {
        let (gateway, caller) = asked(ctx);
        let Written { value, position } =
            workspaces::create(gateway, caller, name, idempotency_key).await?;
        Ok(WorkspacePayload { workspace: value.into(), position: Place(position) })
    }
}

#[derive(Default)]
pub(super) struct ProjectionQuery;

#[Object]
impl ProjectionQuery {
    /// The read models, with how far behind the log they are. Scope READ.
    async fn projections(&self, ctx: &Context<'_>) -> Answer<Vec<Projection>> {
        let (gateway, caller) = asked(ctx);
        Ok(projections::list(gateway, caller).await?.into_iter().map(Projection::from).collect())
    }
}

#[derive(Default)]
pub(super) struct ProjectionMutation;

#[Object]
impl ProjectionMutation {
    /// Builds the read model anew beside the old one and swaps when it has caught up; reads go on meanwhile. Scope ADMIN.
    async fn rebuild_projection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As `projections` names it.")] name: String,
    ) -> Answer<ProjectionPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(ProjectionPayload {
            projection: projections::rebuild(gateway, caller, &name).await?.into(),
        })
    }
}
