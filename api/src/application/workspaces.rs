//! Workspaces: a marketer's clients, a department.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domain::api_key::Scope;
use domain::port::{EventFeed, EventFilter, Position};
use domain::primitives::{Actor, WorkspaceId};
use domain::workspace::{Workspace, WorkspaceCommand};
use infrastructure::ledger::Context;
use serde_json::json;
use uuid::Uuid;

use super::caller::Caller;
use super::command::{self, Once};
use super::error::{AppError, AppResult};
use super::read;
use super::view::{WorkspaceView, Written};
use crate::app::Gateway;

/// The first start makes it. The same id everywhere, so that two nodes that start at once make one.
const DEFAULT: WorkspaceId =
    WorkspaceId(Uuid::from_u128(0x0000_0000_0000_8000_8000_0000_0000_0001));
const DEFAULT_NAME: &str = "default";

/// Workspaces that this process made or saw, for the moment before the read model knows them.
#[derive(Default)]
pub(crate) struct KnownWorkspaces(Mutex<BTreeMap<WorkspaceId, Workspace>>);

impl KnownWorkspaces {
    fn note(&self, id: WorkspaceId, workspace: Workspace) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, workspace);
    }

    fn snapshot(&self) -> BTreeMap<WorkspaceId, Workspace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes a workspace. Scope ADMIN, and a key that is not limited to some workspaces.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED on `name`.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    name: String,
    idempotency_key: Option<String>,
) -> AppResult<Written<WorkspaceView>> {
    caller.require(Scope::Admin)?;
    if caller.is_limited() {
        return Err(AppError::forbidden(
            "this key is limited to some workspaces or accounts and cannot make new ones",
        ));
    }
    let input = json!({ "name": name });
    let key = idempotency_key.as_deref();
    let once =
        command::once::<Uuid>(gateway, caller, "createWorkspace", key, &input, "idempotencyKey")
            .await?;
    let (id, position) = match once {
        Once::Done(id, position) => (id, position),
        Once::Now(idempotency) => {
            let now = gateway.clock.now();
            let id = gateway.ids.next_id(now);
            let context = command::context(gateway, caller);
            let name = &name;
            command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                Box::pin(async move {
                    let command = WorkspaceCommand::Create {
                        workspace_id: WorkspaceId(id),
                        name: name.clone(),
                        at: now,
                    };
                    tx.execute::<Workspace>(id, command)
                        .await
                        .map_err(|error| command::refused(error, ""))?;
                    Ok(id)
                })
            })
            .await?
        }
    };
    written(gateway, WorkspaceId(id), position).await
}

async fn written(
    gateway: &Gateway,
    id: WorkspaceId,
    position: Position,
) -> AppResult<Written<WorkspaceView>> {
    let workspace = command::folded::<Workspace>(gateway, id.0, "workspace").await?;
    gateway.local.workspaces.note(id, workspace.clone());
    let value =
        WorkspaceView::new(id, &workspace).ok_or_else(|| AppError::not_found("workspace"))?;
    Ok(Written { value, position })
}

/// The workspaces that the caller may see, oldest first. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn list(gateway: &Gateway, caller: &Caller) -> AppResult<Vec<WorkspaceView>> {
    caller.require(Scope::Read)?;
    let all = all(gateway).await?;
    let visible = all.iter().filter(|(id, _)| caller.may_see_workspace(*id));
    Ok(visible.filter_map(|(id, workspace)| WorkspaceView::new(*id, workspace)).collect())
}

/// One workspace. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn get(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<WorkspaceView> {
    caller.require(Scope::Read)?;
    let (id, loaded) = command::known::<Workspace>(gateway, caller, id, "workspace").await?;
    WorkspaceView::new(WorkspaceId(id), &loaded.aggregate)
        .ok_or_else(|| AppError::not_found("workspace"))
}

/// All of them, oldest first: also those that the read model is about to learn of.
pub(crate) async fn all(gateway: &Gateway) -> AppResult<Vec<(WorkspaceId, Workspace)>> {
    let mut known = gateway.local.workspaces.snapshot();
    for stored in read::queries(gateway).workspaces(&projections::Scope::everything()).await? {
        known.insert(WorkspaceId(stored.id), stored.state);
    }
    let mut all: Vec<_> = known.into_iter().collect();
    all.sort_by_key(|(id, workspace)| (workspace.created_at, *id));
    Ok(all)
}

/// Makes the workspace `default` where the log has none at all. Called at every start, before anybody is answered.
///
/// # Errors
/// UNAVAILABLE.
pub async fn ensure_default_workspace(gateway: &Gateway) -> AppResult<WorkspaceId> {
    let filter =
        EventFilter { event_types: vec!["workspace.created".to_owned()], ..EventFilter::default() };
    let first = gateway.ledger.read_after(Position(0), &filter, 1).await?;
    let id = match first.events.first() {
        Some(event) => WorkspaceId(event.stream.id),
        None => {
            let now = gateway.clock.now();
            let context = Context::new(Actor::system("start"), gateway.ids.next_id(now));
            let command = WorkspaceCommand::Create {
                workspace_id: DEFAULT,
                name: DEFAULT_NAME.to_owned(),
                at: now,
            };
            let made = gateway.bus.execute::<Workspace>(DEFAULT.0, command, &context).await;
            made.map_err(|error| command::refused(error, ""))?;
            DEFAULT
        }
    };
    let workspace = command::folded::<Workspace>(gateway, id.0, "workspace").await?;
    gateway.local.workspaces.note(id, workspace);
    Ok(id)
}
