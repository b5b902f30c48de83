//! One run of bringing contacts in: how far it got, what it did and which rows it turned away. The rows themselves are
//! in no event; what they became is in the contacts' own streams.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::contact::ConsentStatus;
use crate::port::AggregateType;
use crate::primitives::{ImportId, Personal, WorkspaceId};
use crate::{DomainError, GatewayAggregate, aggregate};

/// How many of the rows turned away are kept; the counts go on.
pub const MAX_ERRORS: usize = 1_000;
const MAX_ERROR_CHARS: usize = 500;
const MAX_REASON_CHARS: usize = 1_000;
const MAX_TAGS: usize = 100;
const MAX_SOURCE_CHARS: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportSource {
    Upload,
    Inline,
    Cli,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImportStatus {
    #[default]
    Running,
    Completed,
    Failed,
}

impl ImportStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// What every imported person agreed to, and where they said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportConsent {
    pub status: ConsentStatus,
    pub source: String,
}

/// Why a row, or a cell of it, was turned away. Never repeats what stood there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportRowError {
    /// From 1, the header not counted.
    pub row: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    pub message: String,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportTotals {
    pub rows: u64,
    pub added: u64,
    pub updated: u64,
    pub rejected: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Import {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ImportId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    pub dry_run: bool,
    pub status: ImportStatus,
    #[serde(flatten)]
    pub totals: ImportTotals,
    /// The last row that is settled; where a run goes on after a crash.
    pub cursor_row: u64,
    pub errors: Vec<ImportRowError>,
    pub errors_truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub struct StartImport {
    pub import_id: ImportId,
    pub workspace_id: WorkspaceId,
    pub file_name: Option<String>,
    pub source: ImportSource,
    pub dry_run: bool,
    pub tags: BTreeSet<String>,
    pub consent: Option<ImportConsent>,
    pub default_region: Option<String>,
    pub mapping: Option<Value>,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum ImportCommand {
    Start(Box<StartImport>),
    /// A step is settled: the totals so far, the last row of the step, and the step's own errors.
    Progress {
        totals: ImportTotals,
        cursor_row: u64,
        errors: Vec<ImportRowError>,
        at: DateTime<Utc>,
    },
    Complete {
        at: DateTime<Utc>,
    },
    Fail {
        reason: String,
        at: DateTime<Utc>,
    },
    RecordUndone {
        contacts_removed: u64,
        contacts_reverted: u64,
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ImportEvent {
    #[serde(rename = "import.started")]
    Started {
        import_id: ImportId,
        workspace_id: WorkspaceId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_name: Option<String>,
        source: ImportSource,
        dry_run: bool,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        tags: BTreeSet<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consent: Option<ImportConsent>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default_region: Option<String>,
        /// Personal, because the columns of a person's own file may name people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mapping: Option<Personal<Value>>,
        at: DateTime<Utc>,
    },
    /// Totals since the start; the errors are this step's own.
    #[serde(rename = "import.progressed")]
    Progressed {
        rows: u64,
        added: u64,
        updated: u64,
        rejected: u64,
        cursor_row: u64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        errors: Vec<ImportRowError>,
        /// Some errors were left out, in this step or before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        errors_truncated: bool,
        at: DateTime<Utc>,
    },
    #[serde(rename = "import.completed")]
    Completed { rows: u64, added: u64, updated: u64, rejected: u64, at: DateTime<Utc> },
    #[serde(rename = "import.failed")]
    Failed { reason: String, at: DateTime<Utc> },
    /// Taken back, as far as nothing newer stood on it.
    #[serde(rename = "import.undone")]
    Undone { contacts_removed: u64, contacts_reverted: u64, at: DateTime<Utc> },
}

crate::events!(ImportEvent {
    Started => "import.started" v 1,
    Progressed => "import.progressed" v 1,
    Completed => "import.completed" v 1,
    Failed => "import.failed" v 1,
    Undone => "import.undone" v 1,
});

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("there is no such import")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("an import in status {} cannot be {action}", status.as_str())]
    NotAllowed { action: &'static str, status: ImportStatus },
    #[error("a dry run changed nothing, so there is nothing to undo")]
    DryRun,
    #[error("the totals went backwards")]
    TotalsWentBack,
}

impl DomainError for ImportError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "IMPORT_INVALID",
            Self::NotAllowed { .. } => "IMPORT_STATUS",
            Self::DryRun => "IMPORT_DRY_RUN",
            Self::TotalsWentBack => "IMPORT_TOTALS",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
            Self::NotFound | Self::NotAllowed { .. } | Self::DryRun | Self::TotalsWentBack => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::NotAllowed { .. } | Self::DryRun | Self::TotalsWentBack)
    }
}

aggregate!(Import, ImportCommand, ImportEvent, ImportError, "import");

impl GatewayAggregate for Import {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Import;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.workspace_id
    }

    fn subject(&self) -> Option<Uuid> {
        self.id.map(|id| id.0)
    }

    fn decide(&self, command: ImportCommand) -> Result<Vec<ImportEvent>, ImportError> {
        match command {
            ImportCommand::Start(start) => self.start(*start),
            ImportCommand::Progress { totals, cursor_row, errors, at } => {
                self.progress(totals, cursor_row, errors, at)
            }
            ImportCommand::Complete { at } => self.complete(at),
            ImportCommand::Fail { reason, at } => self.fail(&reason, at),
            ImportCommand::RecordUndone { contacts_removed, contacts_reverted, at } => {
                self.undone(contacts_removed, contacts_reverted, at)
            }
        }
    }
}

type Decision = Result<Vec<ImportEvent>, ImportError>;

impl Import {
    /// Whether an undo may begin.
    ///
    /// # Errors
    /// [`ImportError`]: it is still running, or there is nothing to take back.
    pub fn check_undo(&self) -> Result<(), ImportError> {
        self.require_existing()?;
        if self.dry_run {
            return Err(ImportError::DryRun);
        }
        if self.status == ImportStatus::Running {
            return Err(ImportError::NotAllowed { action: "undone", status: self.status });
        }
        Ok(())
    }

    fn require_existing(&self) -> Result<(), ImportError> {
        if self.id.is_some() { Ok(()) } else { Err(ImportError::NotFound) }
    }

    fn require_running(&self, action: &'static str) -> Result<(), ImportError> {
        self.require_existing()?;
        if self.status == ImportStatus::Running {
            Ok(())
        } else {
            Err(ImportError::NotAllowed { action, status: self.status })
        }
    }

    fn start(&self, start: StartImport) -> Decision {
        if self.id.is_some() {
            return Ok(vec![]);
        }
        if start.tags.len() > MAX_TAGS {
            return Err(invalid("tags", format!("use at most {MAX_TAGS} tags")));
        }
        let is_source =
            |source: &str| (1..=MAX_SOURCE_CHARS).contains(&source.trim().chars().count());
        if start.consent.as_ref().is_some_and(|consent| !is_source(&consent.source)) {
            let problem = format!(
                "say in 1 to {MAX_SOURCE_CHARS} characters where the people gave their consent"
            );
            return Err(invalid("consentSource", problem));
        }
        Ok(vec![ImportEvent::Started {
            import_id: start.import_id,
            workspace_id: start.workspace_id,
            file_name: start.file_name,
            source: start.source,
            dry_run: start.dry_run,
            tags: start.tags,
            consent: start.consent,
            default_region: start.default_region,
            mapping: start.mapping.map(Personal::Known),
            at: start.at,
        }])
    }

    fn progress(
        &self,
        totals: ImportTotals,
        cursor_row: u64,
        mut errors: Vec<ImportRowError>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_existing()?;
        if cursor_row <= self.cursor_row {
            return Ok(vec![]);
        }
        self.require_running("continued")?;
        let ImportTotals { rows, added, updated, rejected } = totals;
        let known = self.totals;
        if rows < known.rows
            || added < known.added
            || updated < known.updated
            || rejected < known.rejected
        {
            return Err(ImportError::TotalsWentBack);
        }
        let room = MAX_ERRORS.saturating_sub(self.errors.len());
        let errors_truncated = self.errors_truncated || errors.len() > room;
        errors.truncate(room);
        for error in &mut errors {
            error.message = first_chars(&error.message, MAX_ERROR_CHARS);
            error.column = error.column.take().map(|column| first_chars(&column, MAX_ERROR_CHARS));
        }
        Ok(vec![ImportEvent::Progressed {
            rows,
            added,
            updated,
            rejected,
            cursor_row,
            errors,
            errors_truncated,
            at,
        }])
    }

    fn complete(&self, at: DateTime<Utc>) -> Decision {
        if self.id.is_some() && self.status == ImportStatus::Completed {
            return Ok(vec![]);
        }
        self.require_running("completed")?;
        let ImportTotals { rows, added, updated, rejected } = self.totals;
        Ok(vec![ImportEvent::Completed { rows, added, updated, rejected, at }])
    }

    fn fail(&self, reason: &str, at: DateTime<Utc>) -> Decision {
        if self.id.is_some() && self.status == ImportStatus::Failed {
            return Ok(vec![]);
        }
        self.require_running("failed")?;
        Ok(vec![ImportEvent::Failed { reason: first_chars(reason, MAX_REASON_CHARS), at }])
    }

    fn undone(&self, contacts_removed: u64, contacts_reverted: u64, at: DateTime<Utc>) -> Decision {
        self.check_undo()?;
        let is_known = self.undone_at.is_some();
        Ok(if is_known {
            vec![]
        } else {
            vec![ImportEvent::Undone { contacts_removed, contacts_reverted, at }]
        })
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: ImportEvent) {
        match event {
            ImportEvent::Started { import_id, workspace_id, dry_run, at, .. } => {
                *self = Self {
                    id: Some(import_id),
                    workspace_id: Some(workspace_id),
                    dry_run,
                    started_at: Some(at),
                    ..Self::default()
                };
            }
            ImportEvent::Progressed {
                rows,
                added,
                updated,
                rejected,
                cursor_row,
                errors,
                errors_truncated,
                ..
            } => {
                // Errors are the one thing that adds up, so an event that is applied twice must show.
                if cursor_row > self.cursor_row {
                    self.errors.extend(errors);
                }
                self.totals = ImportTotals { rows, added, updated, rejected };
                self.cursor_row = cursor_row;
                self.errors_truncated = errors_truncated;
            }
            ImportEvent::Completed { rows, added, updated, rejected, .. } => {
                self.totals = ImportTotals { rows, added, updated, rejected };
                self.status = ImportStatus::Completed;
            }
            ImportEvent::Failed { reason, .. } => {
                self.status = ImportStatus::Failed;
                self.reason = Some(reason);
            }
            ImportEvent::Undone { at, .. } => self.undone_at = Some(at),
        }
    }
}

fn invalid(field: &'static str, problem: String) -> ImportError {
    ImportError::Invalid { field, problem }
}

fn first_chars(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn start(dry_run: bool) -> ImportCommand {
        ImportCommand::Start(Box::new(StartImport {
            import_id: ImportId(Uuid::from_u128(5)),
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            file_name: Some("people.csv".to_owned()),
            source: ImportSource::Upload,
            dry_run,
            tags: BTreeSet::from(["fair".to_owned()]),
            consent: Some(ImportConsent {
                status: ConsentStatus::OptedIn,
                source: "fair 2026".to_owned(),
            }),
            default_region: Some("DE".to_owned()),
            mapping: Some(serde_json::json!({ "phone": "Mobil" })),
            at: at(0),
        }))
    }

    fn progress(row: u64, errors: usize) -> ImportCommand {
        let error = |i| ImportRowError {
            row: i,
            column: None,
            message: "use a number such as +4930123456".to_owned(),
        };
        let totals = ImportTotals { rows: row, added: row, updated: 0, rejected: 0 };
        ImportCommand::Progress {
            totals,
            cursor_row: row,
            errors: (0..errors as u64).map(error).collect(),
            at: at(1),
        }
    }

    fn given(commands: Vec<ImportCommand>) -> Import {
        let mut import = Import::default();
        for command in commands {
            for event in import.decide(command).unwrap() {
                import.fold(event);
            }
        }
        import
    }

    #[test]
    fn an_import_starts_once_and_is_its_own_subject() {
        let import = given(vec![start(false)]);
        assert_eq!(import.subject(), Some(Uuid::from_u128(5)));
        assert_eq!(import.decide(start(false)), Ok(vec![]));
    }

    #[test]
    fn a_step_that_is_repeated_after_a_crash_is_recorded_once() {
        let import = given(vec![start(false), progress(500, 2), progress(500, 2)]);
        assert_eq!(import.errors.len(), 2);
        assert_eq!(import.decide(progress(500, 2)), Ok(vec![]));
        assert_eq!(import.decide(progress(1_000, 0)).unwrap().len(), 1);
    }

    #[test]
    fn errors_are_kept_up_to_a_bound_and_the_rest_is_told() {
        let import =
            given(vec![start(false), progress(900, 900), progress(1_800, 900), progress(2_000, 0)]);
        assert_eq!(import.errors.len(), MAX_ERRORS);
        assert!(import.errors_truncated);
    }

    #[test]
    fn completing_carries_the_totals_and_happens_once() {
        let import = given(vec![start(false), progress(7, 0)]);
        let completed = import.decide(ImportCommand::Complete { at: at(2) }).unwrap();
        assert_eq!(
            completed,
            [ImportEvent::Completed { rows: 7, added: 7, updated: 0, rejected: 0, at: at(2) }]
        );
        let import =
            given(vec![start(false), progress(7, 0), ImportCommand::Complete { at: at(2) }]);
        assert_eq!(import.decide(ImportCommand::Complete { at: at(3) }), Ok(vec![]));
        assert!(import.decide(progress(8, 0)).is_err());
        assert!(import.decide(ImportCommand::Fail { reason: "no".to_owned(), at: at(3) }).is_err());
    }

    #[test]
    fn totals_do_not_go_back() {
        let import = given(vec![start(false), progress(7, 0)]);
        let less = ImportCommand::Progress {
            totals: ImportTotals::default(),
            cursor_row: 9,
            errors: vec![],
            at: at(2),
        };
        assert_eq!(import.decide(less), Err(ImportError::TotalsWentBack));
    }

    #[test]
    fn only_what_ended_and_was_no_dry_run_is_undone() {
        let undo =
            || ImportCommand::RecordUndone { contacts_removed: 7, contacts_reverted: 0, at: at(3) };
        let complete = || ImportCommand::Complete { at: at(2) };
        let status = ImportStatus::Running;
        assert_eq!(
            given(vec![start(false)]).decide(undo()),
            Err(ImportError::NotAllowed { action: "undone", status })
        );
        assert_eq!(given(vec![start(true), complete()]).decide(undo()), Err(ImportError::DryRun));
        let fail = ImportCommand::Fail {
            reason: "the file ended in the middle of a row".to_owned(),
            at: at(2),
        };
        assert_eq!(given(vec![start(false), fail]).decide(undo()).unwrap().len(), 1);
        assert_eq!(given(vec![start(false), complete(), undo()]).decide(undo()), Ok(vec![]));
        assert_eq!(Import::default().decide(undo()), Err(ImportError::NotFound));
    }

    #[test]
    fn the_mapping_is_marked_as_personal() {
        let events = Import::default().decide(start(false)).unwrap();
        let json = serde_json::to_value(&events[0]).unwrap();
        assert_eq!(json["mapping"]["$p"]["phone"], "Mobil");
        assert_eq!(json["consent"]["status"], "OPTED_IN");
        assert_eq!(json["source"], "upload");
    }
}
