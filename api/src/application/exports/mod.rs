//! Events, messages and campaigns as files, for DuckDB, pandas and spreadsheets: from the log itself, as it was when the
//! export began. Streamed in bounded memory, gone on with where a process was cut short, ending in the same bytes. Personal
//! data is left out unless it is asked for, and what is known of people who were erased is in none.

mod cells;
mod encode;
pub mod jobs;
pub mod noted;
mod place;
pub mod report;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use domain::port::{AggregateType, EventFeed, EventFilter, Position, StreamId};
use domain::primitives::WorkspaceId;
use infrastructure::crypto::{KeyRing, KeyRingError};
use infrastructure::ledger::Ledger;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use url::Url;
use uuid::Uuid;

use super::caller::Caller;
use super::error::{AppError, AppResult, ErrorCode};
use super::{events, read};

pub use encode::Format;
pub use place::{Bounds, FileEntry, Manifest, Place, Range};
use place::{NamedColumn, Writer};
pub use rows::all_columns;
use rows::{Batch, Rows};
pub use table::{Column, Kind};

/// Of [`Manifest`].
const VERSION: u32 = 1;
/// Names or ids in one list of a filter.
const FILTER_MAX: usize = 200;
/// Batches that wait to be written.
const BATCHES_WAITING: usize = 2;
/// How often an export with personal data is begun anew because somebody was erased meanwhile.
const TRIES: usize = 3;
/// Rows of a Parquet file, unless somebody wants it otherwise: some hundred megabytes.
pub const ROWS_PER_FILE: u64 = 1_000_000;

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    Events,
    Messages,
    Campaigns,
}

impl Dataset {
    pub const ALL: [Self; 3] = [Self::Events, Self::Messages, Self::Campaigns];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Messages => "messages",
            Self::Campaigns => "campaigns",
        }
    }
}

/// What is to be exported, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportRequest {
    pub dataset: Dataset,
    pub format: Format,
    #[serde(default)]
    pub filter: ExportFilter,
    /// With personal data.
    #[serde(default)]
    pub personal: bool,
    /// Cells of CSV that spreadsheets would run are left as they are.
    #[serde(default)]
    pub raw: bool,
}

/// Which rows; empty lists and `None` ask for all. An event is judged by itself, a message and a campaign by the event that
/// began it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportFilter {
    pub after: Position,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// Of events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspace_ids: Vec<Uuid>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub account_ids: Vec<Uuid>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub campaign_ids: Vec<Uuid>,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Refused(#[from] AppError),
    /// Something else is where it should go.
    #[error("{0}")]
    Occupied(String),
    /// Another process is at it.
    #[error("{0}")]
    Busy(String),
    #[error("could not write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the export is larger than {bytes} bytes; narrow it by its filter")]
    TooLarge { bytes: u64 },
    #[error("somebody was erased each time that the export was about to end; try again later")]
    Erasures,
    /// The same export goes on where it was.
    #[error("the export was stopped before its end")]
    Stopped,
    #[error("the export broke off")]
    Broken(#[source] tokio::task::JoinError),
}

/// Everything an export needs.
pub struct Job<'a> {
    pub ledger: &'a Ledger,
    pub public_url: &'a Url,
    pub caller: &'a Caller,
    pub request: &'a ExportRequest,
    pub place: &'a Place,
    pub bounds: Bounds,
    /// Asked between pages of the log: `true` stops it.
    pub is_to_stop: &'a (dyn Fn() -> bool + Send + Sync),
    /// Told of every page.
    pub on_progress: &'a (dyn Fn(Progress) + Send + Sync),
}

/// How far an export is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub range: Range,
    pub position: Position,
    /// Since the export was begun or gone on with.
    pub rows: u64,
}

/// Writes an export, or goes on with the one that was begun at this place. Scope READ, and PERSONAL with personal data.
///
/// # Errors
/// [`ExportError`]. What is on disk stays, except where it could hold what is known of somebody who was erased since.
pub async fn export(job: &Job<'_>) -> Result<Manifest, ExportError> {
    check(job.ledger, job.caller, job.request).await?;
    for _ in 0..TRIES {
        let writer = begin(job).await?;
        // What is on disk may be of people who were erased since.
        if job.request.personal && was_anybody_erased(job, writer.range().to).await? {
            blocking(move || writer.discard()).await?;
            continue;
        }
        let writer = if writer.is_whole() { writer } else { write(job, writer).await? };
        if job.request.personal && was_anybody_erased(job, writer.range().to).await? {
            blocking(move || writer.discard()).await?;
            continue;
        }
        return blocking(move || writer.finish()).await;
    }
    Err(ExportError::Erasures)
}

async fn begin(job: &Job<'_>) -> Result<Writer, ExportError> {
    let request = job.request;
    let columns = rows::columns(request.dataset, request.personal);
    let to = job.ledger.head().await.map_err(AppError::from)?;
    let planned = Manifest {
        version: VERSION,
        request: request.clone(),
        log: hex::encode(&job.ledger.keys().keyed_hash("export log", &[])[..8]),
        range: Range { after: request.filter.after, to },
        rows: 0,
        columns: columns
            .iter()
            .map(|column| NamedColumn {
                name: column.name.to_owned(),
                kind: column.kind.as_str().to_owned(),
            })
            .collect(),
        files: vec![],
        progress: None,
    };
    let (place, bounds) = (job.place.clone(), job.bounds);
    blocking(move || Writer::begin(place, planned, columns, bounds)).await
}

async fn write(job: &Job<'_>, writer: Writer) -> Result<Writer, ExportError> {
    let (range, after) = (writer.range(), writer.scanned_to());
    let (sender, batches) = mpsc::channel::<Batch>(BATCHES_WAITING);
    // Encoding and disks are not for the executor, and go on while the next page is read.
    let writing = tokio::task::spawn_blocking(move || writer.take_all(batches));
    let read = feed(job, range, after, sender).await;
    let writer = writing.await.map_err(ExportError::Broken)??;
    read?;
    if writer.is_whole() { Ok(writer) } else { Err(ExportError::Stopped) }
}

/// Reads the log and hands rows on, until there are no more, nobody takes them, or it is told to stop.
async fn feed(
    job: &Job<'_>,
    range: Range,
    after: Position,
    sender: mpsc::Sender<Batch>,
) -> AppResult<()> {
    let mut rows =
        Rows::new(job.ledger, job.public_url, job.caller, job.request, (after, range.to));
    let mut count = 0;
    loop {
        if (job.is_to_stop)() {
            return Ok(());
        }
        let batch = rows.next().await?;
        count += batch.rows.len() as u64;
        (job.on_progress)(Progress { range, position: batch.scanned_to, rows: count });
        let is_last = batch.is_last;
        if sender.send(batch).await.is_err() || is_last {
            return Ok(());
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    tokio::task::spawn_blocking(work).await.map_err(ExportError::Broken)?
}

/// Whether somebody whom the export may be about was erased after `position`. From here on nothing of them can be read,
/// whatever this process remembers.
async fn was_anybody_erased(job: &Job<'_>, position: Position) -> AppResult<bool> {
    Ok(nobody_erased_to(job.ledger, job.caller, &job.request.filter, position).await?.is_none())
}

/// Up to where nobody was erased after `position`; `None` where somebody was.
async fn nobody_erased_to(
    ledger: &Ledger,
    caller: &Caller,
    asked: &ExportFilter,
    position: Position,
) -> AppResult<Option<Position>> {
    let workspace_ids = match asked.workspace_ids.is_empty() {
        true => read::scope(caller).workspaces.unwrap_or_default(),
        false => asked.workspace_ids.clone(),
    };
    let event_types = ["contact.erased", "user.removed"].map(str::to_owned).to_vec();
    let filter = EventFilter { event_types, workspace_ids, ..EventFilter::default() };
    let (mut after, mut was_erased) = (position, false);
    loop {
        let page = ledger.read_after(after, &filter, FILTER_MAX).await?;
        was_erased |= !page.events.is_empty();
        // All of them are read, so that all their keys are let go of.
        after = page.scanned_to.max(after);
        if page.at_head {
            return Ok((!was_erased).then_some(after));
        }
    }
}

/// That this may be asked, and can be answered.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for a workspace, an account or a campaign that is not the caller's; VALIDATION_FAILED.
pub async fn check(ledger: &Ledger, caller: &Caller, request: &ExportRequest) -> AppResult<()> {
    caller.require(Scope::Read)?;
    if request.personal {
        caller.require(Scope::Personal)?;
    }
    let filter = &request.filter;
    for (count, field) in [
        (filter.types.len(), "filter.types"),
        (filter.workspace_ids.len(), "filter.workspaceIds"),
        (filter.account_ids.len(), "filter.accountIds"),
        (filter.campaign_ids.len(), "filter.campaignIds"),
    ] {
        if count > FILTER_MAX {
            return Err(AppError::invalid(field, format!("give at most {FILTER_MAX}")));
        }
    }
    for (ids, kind, field) in [
        (&filter.workspace_ids, AggregateType::Workspace, "filter.workspaceIds"),
        (&filter.account_ids, AggregateType::Account, "filter.accountIds"),
        (&filter.campaign_ids, AggregateType::Campaign, "filter.campaignIds"),
    ] {
        for id in ids {
            let first = ledger.read_stream_page(StreamId::new(kind, *id), 0, 1).await?;
            let is_visible = first.first().is_some_and(|event| match kind {
                AggregateType::Workspace => caller.may_see_workspace(WorkspaceId(*id)),
                _ => events::may_see(caller, event),
            });
            if !is_visible {
                let field = Some(field.to_owned());
                return Err(AppError { field, ..AppError::not_found(kind.as_str()) });
            }
        }
    }
    if !filter.types.is_empty() && request.dataset != Dataset::Events {
        let problem = format!("{} have no types, events do", request.dataset.as_str());
        return Err(AppError::invalid("filter.types", problem));
    }
    events::check_types(&filter.types, "filter.types")?;
    if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
        return Err(AppError::invalid("filter.to", "use an instant after filter.from"));
    }
    if request.raw && request.format != Format::Csv {
        return Err(AppError::invalid("raw", "only CSV has cells that spreadsheets run"));
    }
    let head = ledger.head().await?;
    if filter.after > head {
        let problem = format!("position {} is not there yet, the log ends at {head}", filter.after);
        return Err(AppError::invalid("filter.after", problem));
    }
    Ok(())
}

/// What stands for a person in the exports of a log: keyed, so that who does not have the log's key cannot find it by
/// trying numbers or ids.
fn pseudonym(keys: &KeyRing, contact: Uuid) -> String {
    let hash = keys.keyed_hash("export pseudonym", &[contact.as_bytes()]);
    format!("p_{}", hex::encode(&hash[..16]))
}

fn unavailable(error: KeyRingError) -> AppError {
    match error {
        KeyRingError::Unavailable(_) => AppError::unavailable(error),
        error => AppError::internal(error),
    }
}

impl ExportError {
    /// The same for whoever asked over HTTP: the disk of the gateway is none of their business.
    pub fn for_caller(&self) -> (ErrorCode, String) {
        match self {
            Self::Refused(error) => (error.code, error.message.clone()),
            Self::TooLarge { .. } | Self::Erasures => (ErrorCode::Conflict, self.to_string()),
            Self::Occupied(_)
            | Self::Busy(_)
            | Self::Write { .. }
            | Self::Stopped
            | Self::Broken(_) => {
                let message = "the export could not be written; the gateway's log says why";
                (ErrorCode::Internal, message.to_owned())
            }
        }
    }
}
