//! A marketer's client or a department: the scope that nothing is shared across.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::port::AggregateType;
use crate::pricing::RateCard;
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
    /// A campaign to more people than this is launched by two. `None`: by one, however large it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_threshold: Option<u32>,
    /// What WhatsApp's messages cost its owner.
    #[serde(default)]
    pub rate_card: RateCard,
}

/// Changes: `None` leaves a part as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceChanges {
    pub name: Option<String>,
    pub approval_threshold: Option<Option<u32>>,
}

#[derive(Clone, Debug)]
pub enum WorkspaceCommand {
    Create {
        workspace_id: WorkspaceId,
        name: String,
        at: DateTime<Utc>,
    },
    Update {
        changes: WorkspaceChanges,
        at: DateTime<Utc>,
    },
    /// In place of the whole card.
    SetRateCard {
        card: RateCard,
        at: DateTime<Utc>,
    },
    /// Before anything of it is handed over.
    NotePersonalExport {
        export_id: Uuid,
        dataset: String,
        format: String,
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum WorkspaceEvent {
    #[serde(rename = "workspace.created")]
    Created { workspace_id: WorkspaceId, name: String, at: DateTime<Utc> },
    /// The whole of what can change, as it is from now on.
    #[serde(rename = "workspace.updated")]
    Updated {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval_threshold: Option<u32>,
        at: DateTime<Utc>,
    },
    /// The whole card, as it is from now on.
    #[serde(rename = "workspace.rate_card_updated")]
    RateCardUpdated { rates: RateCard, at: DateTime<Utc> },
    /// Somebody asked for a file with personal data of this workspace: what is in it, no erasure reaches.
    #[serde(rename = "workspace.personal_data_exported")]
    PersonalDataExported {
        export_id: Uuid,
        /// `events`, `messages` or `campaigns`.
        dataset: String,
        /// `parquet`, `csv` or `ndjson`.
        format: String,
        at: DateTime<Utc>,
    },
}

crate::events!(WorkspaceEvent {
    Created => "workspace.created" v 1,
    Updated => "workspace.updated" v 1,
    RateCardUpdated => "workspace.rate_card_updated" v 1,
    PersonalDataExported => "workspace.personal_data_exported" v 1,
});

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkspaceError {
    #[error("there is no such workspace")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
}

impl DomainError for WorkspaceError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "WORKSPACE_INVALID",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
            Self::NotFound => None,
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
                Ok(vec![WorkspaceEvent::Created { workspace_id, name: checked_name(&name)?, at }])
            }
            WorkspaceCommand::Update { changes, at } => self.update(changes, at),
            WorkspaceCommand::SetRateCard { card, at } => {
                if self.id.is_none() {
                    return Err(WorkspaceError::NotFound);
                }
                let is_news = card != self.rate_card;
                Ok(if is_news {
                    vec![WorkspaceEvent::RateCardUpdated { rates: card, at }]
                } else {
                    vec![]
                })
            }
            WorkspaceCommand::NotePersonalExport { export_id, dataset, format, at } => {
                if self.id.is_none() {
                    return Err(WorkspaceError::NotFound);
                }
                Ok(vec![WorkspaceEvent::PersonalDataExported { export_id, dataset, format, at }])
            }
        }
    }
}

fn checked_name(name: &str) -> Result<String, WorkspaceError> {
    let name = name.trim().to_owned();
    if !(1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
        let problem = format!("use 1 to {MAX_NAME_CHARS} characters");
        return Err(WorkspaceError::Invalid { field: "name", problem });
    }
    Ok(name)
}

impl Workspace {
    fn update(
        &self,
        changes: WorkspaceChanges,
        at: DateTime<Utc>,
    ) -> Result<Vec<WorkspaceEvent>, WorkspaceError> {
        if self.id.is_none() {
            return Err(WorkspaceError::NotFound);
        }
        let name = match &changes.name {
            Some(name) => checked_name(name)?,
            None => self.name.clone(),
        };
        let approval_threshold = changes.approval_threshold.unwrap_or(self.approval_threshold);
        let is_news = name != self.name || approval_threshold != self.approval_threshold;
        Ok(if is_news {
            vec![WorkspaceEvent::Updated { name, approval_threshold, at }]
        } else {
            vec![]
        })
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: WorkspaceEvent) {
        match event {
            WorkspaceEvent::Created { workspace_id, name, at } => {
                *self =
                    Self { id: Some(workspace_id), name, created_at: Some(at), ..Self::default() };
            }
            WorkspaceEvent::Updated { name, approval_threshold, .. } => {
                self.name = name;
                self.approval_threshold = approval_threshold;
            }
            WorkspaceEvent::RateCardUpdated { rates, .. } => self.rate_card = rates,
            WorkspaceEvent::PersonalDataExported { .. } => {}
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
    fn what_is_set_stays_until_it_is_changed_or_cleared() {
        let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let mut workspace = Workspace::default();
        let update = |changes| WorkspaceCommand::Update { changes, at };
        let threshold = |approval_threshold| {
            update(WorkspaceChanges {
                approval_threshold: Some(approval_threshold),
                ..WorkspaceChanges::default()
            })
        };
        assert_eq!(workspace.decide(threshold(Some(5))), Err(WorkspaceError::NotFound));
        let commands = [
            create("Acme"),
            threshold(Some(5)),
            threshold(Some(5)),
            update(WorkspaceChanges { name: Some("Beta".to_owned()), ..Default::default() }),
        ];
        let mut counts = vec![];
        for command in commands {
            let events = workspace.decide(command).unwrap();
            counts.push(events.len());
            events.into_iter().for_each(|event| workspace.fold(event));
        }
        assert_eq!(counts, [1, 1, 0, 1]);
        assert_eq!((workspace.name.as_str(), workspace.approval_threshold), ("Beta", Some(5)));
        for event in workspace.decide(threshold(None)).unwrap() {
            workspace.fold(event);
        }
        assert_eq!(workspace.approval_threshold, None);
    }

    #[test]
    fn a_workspace_needs_a_name() {
        let error = Workspace::default().decide(create(" ")).unwrap_err();
        assert_eq!(error.field().as_deref(), Some("name"));
    }
}
