//! A marketer's client or a department: the scope that nothing is shared across.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::port::AggregateType;
use crate::primitives::WorkspaceId;
use crate::{DomainError, GatewayAggregate, aggregate};

const MAX_NAME_CHARS: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workspace {
    /// The stream's own id: an aggregate does not know it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<WorkspaceId>,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub enum WorkspaceCommand {
    Create { workspace_id: WorkspaceId, name: String, at: DateTime<Utc> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum WorkspaceEvent {
    #[serde(rename = "workspace.created")]
    Created { workspace_id: WorkspaceId, name: String, at: DateTime<Utc> },
}

crate::events!(WorkspaceEvent {
    Created => "workspace.created" v 1,
});

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkspaceError {
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
}

impl DomainError for WorkspaceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "WORKSPACE_INVALID",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
        }
    }
}

aggregate!(Workspace, WorkspaceCommand, WorkspaceEvent, WorkspaceError, "workspace");

impl GatewayAggregate for Workspace {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Workspace;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.id
    }

    fn subject(&self) -> Option<Uuid> {
        self.id.map(|id| id.0)
    }

    fn decide(&self, command: WorkspaceCommand) -> Result<Vec<WorkspaceEvent>, WorkspaceError> {
        match command {
            WorkspaceCommand::Create { workspace_id, name, at } => {
                if self.id.is_some() {
                    return Ok(vec![]);
                }
                let name = name.trim().to_owned();
                if !(1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
                    let problem = format!("use 1 to {MAX_NAME_CHARS} characters");
                    return Err(WorkspaceError::Invalid { field: "name", problem });
                }
                Ok(vec![WorkspaceEvent::Created { workspace_id, name, at }])
            }
        }
    }
}

impl Workspace {
    /// Applies a fact.
    pub fn fold(&mut self, event: WorkspaceEvent) {
        match event {
            WorkspaceEvent::Created { workspace_id, name, at } => {
                *self = Self { id: Some(workspace_id), name, created_at: Some(at) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(name: &str) -> WorkspaceCommand {
        let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        WorkspaceCommand::Create {
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            name: name.to_owned(),
            at,
        }
    }

    #[test]
    fn a_workspace_is_created_once() {
        let mut workspace = Workspace::default();
        for event in workspace.decide(create(" Acme ")).unwrap() {
            workspace.fold(event);
        }
        assert_eq!(workspace.name, "Acme");
        assert_eq!(workspace.workspace_id(), Some(WorkspaceId(Uuid::from_u128(1))));
        assert_eq!(workspace.decide(create("Acme")), Ok(vec![]));
    }

    #[test]
    fn a_workspace_needs_a_name() {
        let error = Workspace::default().decide(create(" ")).unwrap_err();
        assert_eq!(error.field().as_deref(), Some("name"));
    }
}
