//! The read models themselves: how far they are, and building one anew.

use ::projections::{ProjectionState, RebuildError};
use domain::api_key::Scope;
use domain::port::Position;

use super::caller::Caller;
use super::error::{AppError, AppResult};
use super::view::{ProjectionStatus, ProjectionView};
use crate::app::Gateway;

/// How far each read model is. Scope READ.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn list(gateway: &Gateway, caller: &Caller) -> AppResult<Vec<ProjectionView>> {
    caller.require(Scope::Read)?;
    let all = gateway.read.status().await.map_err(AppError::unavailable)?;
    Ok(all.into_iter().map(view).collect())
}

/// Builds a read model anew beside the old one, which answers meanwhile. Scope ADMIN, and a key that is not limited: the
/// read models are the whole gateway's.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for a name that is none.
pub async fn rebuild(gateway: &Gateway, caller: &Caller, name: &str) -> AppResult<ProjectionView> {
    caller.require(Scope::Admin)?;
    if caller.is_limited() {
        return Err(AppError::forbidden(
            "this key is limited to some workspaces or accounts; read models are everybody's",
        ));
    }
    match gateway.read.rebuild(name).await {
        // Under way already is what was asked for.
        Ok(_) => {}
        Err(RebuildError::Unknown(_)) => return Err(AppError::not_found("projection")),
        Err(error) => return Err(AppError::unavailable(error)),
    }
    let all = list(gateway, caller).await?;
    all.into_iter()
        .find(|projection| projection.name == name)
        .ok_or_else(|| AppError::not_found("projection"))
}

fn view(status: ::projections::ProjectionStatus) -> ProjectionView {
    ProjectionView {
        name: status.name.to_owned(),
        position: Position(status.position.0),
        lag: status.lag,
        status: match status.state {
            ProjectionState::Live => ProjectionStatus::Live,
            ProjectionState::Rebuilding => ProjectionStatus::Rebuilding,
            ProjectionState::Failed => ProjectionStatus::Failed,
        },
        rebuild_progress: status.rebuild_progress,
    }
}
