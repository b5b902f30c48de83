//! Contacts from files: started here, done by the worker, taken back on demand. A file is sealed and on disk before its
//! import is on record, so that a gateway that is killed goes on where it was.

mod batch;
mod plan;
mod revert;
mod spool;
#[cfg(test)]
mod tests;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::api_key::Scope;
use domain::contact::ConsentStatus;
use domain::import::{
    Import, ImportCommand, ImportConsent, ImportRowError, ImportSource, ImportStatus,
};
use domain::port::{Fence, Position};
use domain::primitives::{Actor, ImportId, WorkspaceId};
use futures::{Stream, StreamExt};
use infrastructure::import::{
    ColumnMapping, ContactFileReader, FILE_BYTES_MAX, FileError, Options,
};
use infrastructure::ledger::{Context, Idempotency, Loaded, TransactError};
use infrastructure::phone;
use ring::digest;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::caller::Caller;
use super::command::{self, Once};
use super::error::{AppError, AppResult, ErrorCode};
use super::page::{Page, PageArgs, Total};
use super::view::{ImportView, Written};
use super::{check, contacts, read};
use crate::app::Gateway;

pub(crate) use batch::{Rehearsal, RowVerdict, StepError, apply, rehearse};
pub(crate) use plan::{Rules, Verdict};
pub(crate) use spool::{SpoolError, SpoolReader, Spools};
pub(crate) use undo::run as take_back;

/// CSV text within a request; larger files are uploaded.
const INLINE_BYTES_MAX: usize = 1_000_000;
/// Imports of one workspace that run at the same time, uploads included.
const AT_ONCE_PER_WORKSPACE: usize = 2;
const TAGS_MAX: usize = 100;
const TAG_CHARS_MAX: usize = 64;
const SOURCE_CHARS_MAX: usize = 256;
const FILE_NAME_CHARS_MAX: usize = 255;
/// Where consent comes from when the caller does not say.
const IMPORT_SOURCE: &str = "import";
/// How long a dry run of inline text is waited for, so that its answer can be in the payload.
const DRY_RUN_PATIENCE: Duration = Duration::from_secs(3);
/// How long an undo is waited for.
const UNDO_PATIENCE: Duration = Duration::from_secs(8);

/// How a contact file is to be imported.
#[derive(Clone, Debug, Serialize)]
pub struct StartImport {
    pub workspace_id: Option<String>,
    /// Judges every row and changes nobody.
    pub dry_run: bool,
    /// From column name to field; see [`ColumnMapping::parse`].
    pub mapping: Option<Value>,
    /// Of numbers without a country code: ISO 3166 alpha-2. The first account's where it is absent.
    pub default_region: Option<String>,
    pub tags: Vec<String>,
    /// What everybody in the file agreed to whose row does not say it.
    pub consent: Option<ConsentStatus>,
    pub consent_source: Option<String>,
    pub file_name: Option<String>,
    pub source: ImportSource,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// Imports as this process alone knows them: those that were begun here, and the wake-up of the worker.
#[derive(Default)]
pub struct Running {
    state: Mutex<State>,
    /// One start at a time looks whether there is room.
    starting: tokio::sync::Mutex<()>,
    wake: Notify,
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    here: BTreeMap<ImportId, Here>,
    /// To be taken back; `true` while the worker is at it.
    undos: BTreeMap<ImportId, bool>,
}

struct Here {
    workspace: WorkspaceId,
    /// On record; before that, its file is still coming in.
    is_begun: bool,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begun in this process and not known to have ended.
    pub(crate) fn here(&self) -> Vec<ImportId> {
        self.lock().here.iter().filter(|(_, here)| here.is_begun).map(|(id, _)| *id).collect()
    }

    /// An import has ended, or an undo has.
    pub(crate) fn ended(&self, id: ImportId) {
        self.lock().here.remove(&id);
        self.moved.send_modify(|count| *count += 1);
    }

    /// Undos that nobody is at yet; from now on the caller is.
    pub(crate) fn take_undos(&self) -> Vec<ImportId> {
        let mut state = self.lock();
        let waiting = state.undos.iter_mut().filter(|(_, is_taken)| !**is_taken);
        waiting
            .map(|(id, is_taken)| {
                *is_taken = true;
                *id
            })
            .collect()
    }

    pub(crate) fn undo_ended(&self, id: ImportId) {
        self.lock().undos.remove(&id);
        self.moved.send_modify(|count| *count += 1);
    }

    fn want_undo(&self, id: ImportId) {
        self.lock().undos.entry(id).or_insert(false);
        self.wake.notify_one();
    }

    /// Returns when there may be something to do.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until `is_over`, which is asked again whenever something ended here.
    async fn wait(&self, patience: Duration, is_over: impl Fn(&State) -> bool) {
        let mut moved = self.moved.subscribe();
        let waiting = async {
            while !is_over(&self.lock()) {
                if moved.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whoever waits looks at what is true then.
        let _ = tokio::time::timeout(patience, waiting).await;
    }
}

/// A place among the imports of a workspace, given back when dropped before the import was begun.
struct Place<'a> {
    running: &'a Running,
    id: ImportId,
    is_begun: bool,
}

impl Place<'_> {
    fn begin(mut self) {
        self.is_begun = true;
        if let Some(here) = self.running.lock().here.get_mut(&self.id) {
            here.is_begun = true;
        }
        self.running.wake.notify_one();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_begun {
            self.running.lock().here.remove(&self.id);
        }
    }
}

async fn place(gateway: &Gateway, workspace: WorkspaceId, id: ImportId) -> AppResult<Place<'_>> {
    let running = &gateway.local.imports;
    let _one_at_a_time = running.starting.lock().await;
    let mut ids: BTreeSet<Uuid> = {
        let state = running.lock();
        state
            .here
            .iter()
            .filter(|(_, here)| here.workspace == workspace)
            .map(|(id, _)| id.0)
            .collect()
    };
    let known = read::queries(gateway).running_imports().await?;
    let known = known.into_iter().filter(|import| import.state.workspace_id == Some(workspace));
    ids.extend(known.map(|import| import.id));
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let loaded = gateway.bus.load_many::<Import>(&ids).await?;
    // Those not in the log yet are uploads under way.
    let is_running = |id: &&Uuid| {
        loaded.get(id).is_none_or(|import| import.aggregate.status == ImportStatus::Running)
    };
    if ids.iter().filter(is_running).count() >= AT_ONCE_PER_WORKSPACE {
        return Err(AppError::new(
            ErrorCode::RateLimited,
            format!(
                "{AT_ONCE_PER_WORKSPACE} imports of this workspace are running; start this one when one has ended"
            ),
        ));
    }
    running.lock().here.insert(id, Here { workspace, is_begun: false });
    Ok(Place { running, id, is_begun: false })
}

/// What everything an import leads to is recorded under: its id ties it together, and it is the answer to what the import's
/// own stream said last.
pub(crate) fn process_context(id: ImportId, import: &Loaded<Import>, fence: Fence) -> Context {
    let context = Context::new(Actor::process("import"), id.0).fenced(fence);
    match import.thread {
        Some(thread) => context.caused_by(thread.event_id),
        None => context,
    }
}

pub(crate) fn lease_name(id: ImportId) -> String {
    format!("import/{id}")
}

/// What the leases of imports' files begin with. They say where a file is, not that its node runs.
pub(crate) const FILE_LEASES: &str = "import-file/";

/// Held by the node that has an import's file, from before the import is on record until it has ended: where nobody holds
/// it, the file is gone with its node.
pub(crate) fn file_lease_name(id: ImportId) -> String {
    format!("{FILE_LEASES}{id}")
}

/// How long a node that has an import's file may be silent before the file is given up.
pub(crate) const FILE_LEASE: Duration = Duration::from_secs(30);

pub(crate) fn spools(gateway: &Gateway) -> Spools {
    Spools::new(&gateway.config.data_dir())
}

/// An input that was looked at before a byte of the file is.
struct Checked {
    workspace: WorkspaceId,
    mapping: ColumnMapping,
    tags: BTreeSet<String>,
    consent: Option<ImportConsent>,
    default_region: Option<String>,
}

/// `prefix` is where the input stands in the caller's: `input.` or nothing.
async fn checked(
    gateway: &Gateway,
    caller: &Caller,
    input: &StartImport,
    prefix: &str,
) -> AppResult<Checked> {
    let field = |name: &str| format!("{prefix}{name}");
    let workspace =
        command::workspace(gateway, caller, input.workspace_id.as_deref(), &field("workspaceId"))
            .await?;
    let mapping = match &input.mapping {
        Some(mapping) => {
            check::json(mapping, &field("mapping"), check::JSON_BYTES_MAX)?;
            ColumnMapping::parse(mapping)
                .map_err(|error| AppError::invalid(field("mapping"), error.to_string()))?
        }
        None => ColumnMapping::default(),
    };
    check::at_most(&input.tags, TAGS_MAX, &field("tags"))?;
    for tag in &input.tags {
        check::text(tag, &field("tags"), TAG_CHARS_MAX)?;
    }
    if let Some(name) = &input.file_name {
        check::text(name, &field("fileName"), FILE_NAME_CHARS_MAX)?;
    }
    if let Some(source) = &input.consent_source {
        check::text(source, &field("consentSource"), SOURCE_CHARS_MAX)?;
    }
    let default_region = match &input.default_region {
        Some(region) if phone::region_is_known(region) => Some(region.clone()),
        Some(_) => {
            let problem = FileError::UnknownRegion.to_string();
            return Err(AppError::invalid(field("defaultRegion"), problem));
        }
        None => contacts::home(gateway, workspace).await?.region,
    };
    let source = input.consent_source.clone();
    let consent = match (input.consent, source) {
        (None, None) => None,
        // The source of what the rows say.
        (status, source) => Some(ImportConsent {
            status: status.unwrap_or(ConsentStatus::Unknown),
            source: source.unwrap_or_else(|| IMPORT_SOURCE.to_owned()),
        }),
    };
    let tags = input.tags.iter().map(|tag| tag.trim().to_owned()).collect();
    Ok(Checked { workspace, mapping, tags, consent, default_region })
}

/// Starts an import of CSV text. What is wrong with the text as a whole is said at once; a dry run that ends within
/// seconds has its result in the answer. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace; VALIDATION_FAILED, on `input.csv` for text of more than 1 MB or that is no
/// contact list; RATE_LIMITED while two imports of the workspace are running.
pub async fn start_inline(
    gateway: &Gateway,
    caller: &Caller,
    csv: String,
    input: StartImport,
) -> AppResult<Written<ImportView>> {
    caller.require(Scope::Manage)?;
    let checked = checked(gateway, caller, &input, "input.").await?;
    if csv.len() > INLINE_BYTES_MAX {
        let problem =
            format!("use at most {INLINE_BYTES_MAX} bytes, or upload the file to POST /imports");
        return Err(AppError::invalid("input.csv", problem));
    }
    let once =
        once(gateway, caller, &input, digest::digest(&digest::SHA256, csv.as_bytes()), "input.")
            .await?;
    let idempotency = match once {
        Once::Done(id, _) => return written(gateway, ImportId(id)).await,
        Once::Now(idempotency) => idempotency,
    };
    let options = Options {
        default_region: checked.default_region.clone(),
        mapping: checked.mapping.clone(),
    };
    let (csv, read) = tokio::task::spawn_blocking(move || {
        let read = read_through(csv.as_bytes(), options);
        (csv, read)
    })
    .await
    .map_err(AppError::internal)?;
    read.map_err(|error| {
        let field = match error {
            FileError::MappedColumnMissing { .. } => "input.mapping",
            _ => "input.csv",
        };
        AppError::invalid(field, error.to_string())
    })?;
    let id = ImportId(gateway.ids.next_id(gateway.clock.now()));
    let place = place(gateway, checked.workspace, id).await?;
    let mut spool = spools(gateway).create(id, gateway.bus.keys()).await.map_err(spooling)?;
    spool.write(csv.as_bytes()).await.map_err(spooling)?;
    spool.finish().await.map_err(spooling)?;
    let id = start(gateway, caller, place, checked, &input, idempotency, "input").await?;
    if input.dry_run {
        gateway.local.imports.wait(DRY_RUN_PATIENCE, |state| !state.here.contains_key(&id)).await;
    }
    written(gateway, id).await
}

fn read_through(csv: &[u8], options: Options) -> Result<(), FileError> {
    let mut rows = Vec::new();
    let mut reader = ContactFileReader::try_new(options)?;
    for piece in csv.chunks(64 * 1024) {
        reader.push(piece, &mut rows)?;
        rows.clear();
    }
    reader.finish(&mut rows).map(drop)
}

/// Starts an import of a file as it is uploaded. What is wrong with the file as a whole shows as a FAILED import. Scope
/// MANAGE.
///
/// # Errors
/// As [`start_inline`]; VALIDATION_FAILED on `body` for a file of more than 1 GiB or an upload that breaks off.
pub async fn start_upload<E: std::fmt::Display>(
    gateway: &Gateway,
    caller: &Caller,
    input: StartImport,
    bytes: impl Stream<Item = Result<Bytes, E>>,
) -> AppResult<Written<ImportView>> {
    caller.require(Scope::Manage)?;
    let checked = checked(gateway, caller, &input, "").await?;
    let id = ImportId(gateway.ids.next_id(gateway.clock.now()));
    let place = place(gateway, checked.workspace, id).await?;
    let hash = match spool_upload(gateway, id, bytes).await {
        Ok(hash) => hash,
        Err(error) => {
            discard(gateway, id).await;
            return Err(error);
        }
    };
    match once(gateway, caller, &input, hash, "").await {
        Ok(Once::Done(earlier, _)) => {
            discard(gateway, id).await;
            written(gateway, ImportId(earlier)).await
        }
        Ok(Once::Now(idempotency)) => {
            let id = start(gateway, caller, place, checked, &input, idempotency, "").await?;
            written(gateway, id).await
        }
        Err(error) => {
            discard(gateway, id).await;
            Err(error)
        }
    }
}

async fn spool_upload<E: std::fmt::Display>(
    gateway: &Gateway,
    id: ImportId,
    bytes: impl Stream<Item = Result<Bytes, E>>,
) -> AppResult<digest::Digest> {
    let mut spool = spools(gateway).create(id, gateway.bus.keys()).await.map_err(spooling)?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut length = 0;
    let mut bytes = std::pin::pin!(bytes);
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| {
            tracing::info!(import.id = %id, %error, "an upload broke off");
            AppError::invalid("body", "the upload broke off: send the file again")
        })?;
        length += chunk.len() as u64;
        if length > FILE_BYTES_MAX {
            return Err(AppError::invalid(
                "body",
                FileError::TooLarge { max: FILE_BYTES_MAX }.to_string(),
            ));
        }
        hash.update(&chunk);
        spool.write(&chunk).await.map_err(spooling)?;
    }
    spool.finish().await.map_err(spooling)?;
    Ok(hash.finish())
}

fn spooling(error: SpoolError) -> AppError {
    match error {
        SpoolError::Keys(error) => AppError::unavailable(error),
        error => AppError::internal(error),
    }
}

/// Removes a spool that no import needs. What cannot be removed now is swept up later.
async fn discard(gateway: &Gateway, id: ImportId) {
    if let Err(error) = spools(gateway).remove(id, gateway.bus.keys()).await {
        tracing::warn!(import.id = %id, %error, "an upload that is not needed was not removed yet");
    }
}

/// The same key stands for the same input and the same file.
async fn once(
    gateway: &Gateway,
    caller: &Caller,
    input: &StartImport,
    file: digest::Digest,
    prefix: &str,
) -> AppResult<Once<Uuid>> {
    let whole = json!({
        "start": serde_json::to_value(input).map_err(AppError::internal)?,
        "file": hex::encode(file.as_ref()),
    });
    let field = format!("{prefix}idempotencyKey");
    command::once(
        gateway,
        caller,
        "importContacts",
        input.idempotency_key.as_deref(),
        &whole,
        &field,
    )
    .await
}

/// Puts the import on record, now that its file is safe. Answers the import's id, or an earlier one's under the same key.
async fn start(
    gateway: &Gateway,
    caller: &Caller,
    place: Place<'_>,
    checked: Checked,
    input: &StartImport,
    idempotency: Option<Idempotency>,
    prefix: &str,
) -> AppResult<ImportId> {
    let id = place.id;
    if !gateway.config.is_single_node() {
        let name = file_lease_name(id);
        if let Err(error) = gateway.store.leases.acquire(&name, &gateway.node, FILE_LEASE).await {
            discard(gateway, id).await;
            return Err(AppError::unavailable(error));
        }
    }
    let context = command::context(gateway, caller);
    let command = domain::import::StartImport {
        import_id: id,
        workspace_id: checked.workspace,
        file_name: input.file_name.clone(),
        source: input.source,
        dry_run: input.dry_run,
        tags: checked.tags,
        consent: checked.consent,
        default_region: checked.default_region,
        mapping: input.mapping.clone(),
        at: gateway.clock.now(),
    };
    let started = gateway
        .bus
        .transact(&context, idempotency.as_ref(), |tx| {
            let command = ImportCommand::Start(Box::new(command.clone()));
            Box::pin(async move {
                tx.execute::<Import>(id.0, command)
                    .await
                    .map_err(|error| command::refused(error, prefix))?;
                tx.set_result(json!(id.0).to_string());
                Ok::<(), AppError>(())
            })
        })
        .await;
    match started {
        Ok(_) => {
            place.begin();
            Ok(id)
        }
        Err(error) => {
            // Unknown whether it was taken: then the worker finds the file, or the sweep does.
            if !matches!(error, TransactError::Unavailable(_)) {
                discard(gateway, id).await;
            }
            match error {
                TransactError::Replayed { result, .. } => {
                    serde_json::from_str(&result).map(ImportId).map_err(AppError::internal)
                }
                error => Err(command::undone(error)),
            }
        }
    }
}

/// From the log, which is never behind.
async fn written(gateway: &Gateway, id: ImportId) -> AppResult<Written<ImportView>> {
    let not_found = || AppError::not_found("import");
    let loaded = gateway.bus.load::<Import>(id.0).await?.ok_or_else(not_found)?;
    let value = ImportView::new(id, &loaded.aggregate).ok_or_else(not_found)?;
    Ok(Written { value, position: loaded.position })
}

/// Takes back what an import added or changed, as far as nothing newer stands on it: contacts that it added and that
/// nobody touched or wrote to since are erased; what it changed in others becomes what it was, where the import's word is
/// still the last. A large undo goes on when this has answered; repeat it to see its end. Scopes MANAGE and PERSONAL: who
/// may not see people's data shall not destroy it either.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT for a dry run or one that is still running; UNAVAILABLE while it goes on.
pub async fn undo(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<Written<ImportView>> {
    caller.require(Scope::Manage)?;
    caller.require(Scope::Personal)?;
    let (id, loaded) = command::known::<Import>(gateway, caller, id, "import").await?;
    let id = ImportId(id);
    loaded.aggregate.check_undo().map_err(|error| AppError::domain(error, ""))?;
    if loaded.aggregate.undone_at.is_none() {
        let running = &gateway.local.imports;
        running.want_undo(id);
        running.wait(UNDO_PATIENCE, |state| !state.undos.contains_key(&id)).await;
    }
    let written = written(gateway, id).await?;
    if written.value.undone_at.is_none() {
        return Err(AppError::new(
            ErrorCode::Unavailable,
            "the import is still being taken back; repeat this in a moment to see whether it is done",
        ));
    }
    Ok(written)
}

/// One import, with its counts as of now and the first thousand rows that were turned away. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    min_position: Option<Position>,
) -> AppResult<ImportView> {
    caller.require(Scope::Read)?;
    // Folded from the log, which is never behind.
    read::wait_directory(gateway, min_position).await?;
    let (id, loaded) = command::known::<Import>(gateway, caller, id, "import").await?;
    ImportView::new(ImportId(id), &loaded.aggregate).ok_or_else(|| AppError::not_found("import"))
}

/// Imports, newest first, without the rows that were turned away: see [`errors`]. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    workspace_id: Option<&str>,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<ImportView>> {
    caller.require(Scope::Read)?;
    let page = read::page_request(page)?;
    read::wait_directory(gateway, min_position).await?;
    let scope = scope_of(gateway, caller, workspace_id).await?;
    let found = read::queries(gateway).imports(&scope, &page).await?;
    Ok(read::page(found, |stored| {
        let view = ImportView::new(ImportId(stored.id), &stored.state)?;
        Some(ImportView { errors: None, ..view })
    }))
}

/// How many [`list`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace.
pub async fn total(
    gateway: &Gateway,
    caller: &Caller,
    workspace_id: Option<&str>,
) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let scope = scope_of(gateway, caller, workspace_id).await?;
    Ok(read::total(read::queries(gateway).count_imports(&scope).await?))
}

async fn scope_of(
    gateway: &Gateway,
    caller: &Caller,
    workspace_id: Option<&str>,
) -> AppResult<projections::Scope> {
    let workspace = match workspace_id {
        Some(id) => Some(command::workspace(gateway, caller, Some(id), "workspaceId").await?.0),
        None => None,
    };
    Ok(read::scope(caller).within(workspace))
}

/// The first rows that an import turned away which the caller was shown, in the order of the file.
///
/// # Errors
/// UNAVAILABLE.
pub async fn errors(
    gateway: &Gateway,
    id: ImportId,
    first: usize,
) -> AppResult<Vec<ImportRowError>> {
    let rows = read::queries(gateway).import_errors(id.0, first).await?;
    let error = |row: projections::ImportErrorRow| ImportRowError {
        row: row.row,
        column: row.column,
        message: row.message,
    };
    Ok(rows.into_iter().map(error).collect())
}
