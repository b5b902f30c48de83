//! Exports for people without a shell: asked for over HTTP, made in the background, kept for a day for whoever asked. What
//! was asked for is on disk before it is answered, so that a gateway that is killed goes on with it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use domain::api_key::Scope;
use domain::port::Position;
use domain::primitives::{AccountId, Actor, ApiKeyId, ConsoleUserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    Bounds, ExportError, ExportRequest, Job, Manifest, Place, Progress, ROWS_PER_FILE, check,
    export, nobody_erased_to, noted,
};
use crate::app::Gateway;
use crate::application::api_keys;
use crate::application::caller::Caller;
use crate::application::error::{AppError, AppResult, ErrorCode};

/// How long an export is kept, from when it was asked for.
const KEPT: Duration = Duration::hours(24);
/// Exports of one key that wait or are being made.
const WAITING_PER_KEY: usize = 2;
/// Exports of one key that are kept.
const KEPT_PER_KEY: usize = 20;
const FOLDER: &str = "exports";
const RECORD: &str = "export.json";
const FILES: &str = "files";

/// Exports as this process alone knows them.
#[derive(Default)]
pub struct Exports {
    running: Mutex<HashMap<Uuid, Option<Progress>>>,
    /// Up to where it is known that nobody was erased whom an export with personal data may be about.
    unerased_to: Mutex<HashMap<Uuid, Position>>,
    /// How often somebody was erased: what is being written with personal data stops there, and is begun anew.
    erasures: AtomicU64,
    /// One start at a time looks whether there is room.
    starting: tokio::sync::Mutex<()>,
    wake: Notify,
}

impl Exports {
    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Option<Progress>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unerased_to(&self) -> MutexGuard<'_, HashMap<Uuid, Position>> {
        self.unerased_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once there may be something to do.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// Workspaces and accounts; `None`: all of them.
type Reach = (Option<BTreeSet<WorkspaceId>>, Option<BTreeSet<AccountId>>);

fn reach_of(caller: &Caller) -> Reach {
    (caller.workspaces.clone(), caller.accounts.clone())
}

/// What was asked for, as it is on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: Uuid,
    /// Who asked; `None`: whoever owns the gateway's files.
    key: Option<ApiKeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<ConsoleUserId>,
    /// What a user could reach when they asked: another reach is another's.
    #[serde(default)]
    reach: Reach,
    request: ExportRequest,
    created_at: DateTime<Utc>,
    state: State,
}

impl Record {
    /// Whether this caller asked for it.
    fn is_of(&self, caller: &Caller) -> bool {
        (self.key, self.user) == (caller.api_key_id, caller.user_id)
            && (self.user.is_none() || self.reach == reach_of(caller))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Nothing is known of an end.
    Waiting,
    Completed,
    Failed {
        code: String,
        message: String,
    },
}

impl Record {
    pub(crate) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }
}

/// An export as whoever asked for it sees it.
#[derive(Debug)]
pub struct ExportView {
    pub id: Uuid,
    pub status: ExportStatus,
    pub request: ExportRequest,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// 0 to 1.
    pub progress: f64,
    /// Of one that failed: code and message.
    pub error: Option<(String, String)>,
    /// Of one that is completed.
    pub manifest: Option<Manifest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportStatus {
    Queued,
    Running,
    Completed,
    Failed,
}

impl ExportStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// Asks for an export. Scope READ, and PERSONAL with personal data.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; RATE_LIMITED where the key has too many, or exports take too much room.
pub async fn start(
    gateway: &Gateway,
    caller: &Caller,
    request: ExportRequest,
) -> AppResult<ExportView> {
    check(&gateway.ledger, caller, &request).await?;
    let _one_at_a_time = gateway.local.exports.starting.lock().await;
    let own: Vec<Record> =
        records(gateway).await?.into_iter().filter(|it| it.is_of(caller)).collect();
    let waiting = own.iter().filter(|record| record.is_waiting()).count();
    let too_many = |what: String| Err(AppError::new(ErrorCode::RateLimited, what));
    if waiting >= WAITING_PER_KEY {
        return too_many(format!("{waiting} exports of this key are being made; wait for them"));
    }
    let kept = own.iter().filter(|record| !matches!(record.state, State::Failed { .. })).count();
    if kept >= KEPT_PER_KEY {
        return too_many(format!(
            "{KEPT_PER_KEY} exports of this key are kept; they go after a day"
        ));
    }
    if room(gateway).await? == 0 {
        return too_many("exports take all the room they may; they go after a day".to_owned());
    }
    let now = gateway.clock.now();
    let record = Record {
        id: gateway.ids.next_id(now),
        key: caller.api_key_id,
        user: caller.user_id,
        reach: reach_of(caller),
        request,
        created_at: now,
        state: State::Waiting,
    };
    if record.request.personal {
        noted::note(gateway, caller, record.id, &record.request).await?;
    }
    make_private(&folder(gateway)).await.map_err(AppError::unavailable)?;
    make_private(&folder_of(gateway, record.id)).await.map_err(AppError::unavailable)?;
    save(gateway, &record).await.map_err(AppError::unavailable)?;
    gateway.local.exports.wake.notify_one();
    view(gateway, record).await
}

/// An export that the caller asked for. Scope READ, and PERSONAL with personal data.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND, also for those of others and for what was kept for its day.
pub async fn get(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<ExportView> {
    caller.require(Scope::Read)?;
    let not_found = || AppError::not_found("export");
    let id = Uuid::try_parse(id).map_err(|_| not_found())?;
    let record = load(gateway, id).await?.ok_or_else(not_found)?;
    if !record.is_of(caller) || record.created_at + KEPT <= gateway.clock.now() {
        return Err(not_found());
    }
    if record.request.personal {
        caller.require(Scope::Personal)?;
    }
    let record = withdrawn_where_erased(gateway, record).await?;
    view(gateway, record).await
}

/// A file of an export, or all of them, to be sent on.
#[derive(Debug)]
pub struct Download {
    pub name: String,
    pub media_type: &'static str,
    pub pieces: Vec<Piece>,
}

#[derive(Debug)]
pub enum Piece {
    Bytes(Vec<u8>),
    File { path: PathBuf, bytes: u64 },
}

impl Piece {
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a completed export is downloaded as: the file it is, or a tar archive of the manifest and its files. `file`: one of
/// them alone, by its path in the manifest.
///
/// # Errors
/// NOT_FOUND for a file that it does not have.
pub fn download(gateway: &Gateway, export: &ExportView, file: Option<&str>) -> AppResult<Download> {
    let not_found = || AppError::not_found("file of this export");
    let manifest = export.manifest.as_ref().ok_or_else(not_found)?;
    let files = folder_of(gateway, export.id).join(FILES);
    let request = &export.request;
    let place = Place::of(&files, request);
    let piece = |entry: &super::FileEntry| Piece::File {
        path: files.join(&entry.path),
        bytes: entry.bytes,
    };
    let single = match file {
        Some(path) => {
            let entry = manifest.files.iter().find(|entry| entry.path == path);
            Some(entry.ok_or_else(not_found)?)
        }
        None if place.result() != place.folder() => manifest.files.first(),
        None => None,
    };
    if let Some(entry) = single {
        let name = entry.path.rsplit('/').next().unwrap_or_default().to_owned();
        let media_type = request.format.media_type();
        return Ok(Download { name, media_type, pieces: vec![piece(entry)] });
    }
    let mut pieces = vec![];
    let mut text = serde_json::to_vec_pretty(manifest).map_err(AppError::internal)?;
    text.push(b'\n');
    let at = export.created_at;
    pieces.push(Piece::Bytes(header("manifest.json", text.len() as u64, at)?));
    let padding = padding(text.len() as u64);
    pieces.extend([Piece::Bytes(text), padding]);
    for entry in &manifest.files {
        pieces.push(Piece::Bytes(header(&entry.path, entry.bytes, at)?));
        pieces.extend([piece(entry), self::padding(entry.bytes)]);
    }
    // Two empty blocks end an archive.
    pieces.push(Piece::Bytes(vec![0; 2 * TAR_BLOCK]));
    let name = format!("{}-{}.tar", request.dataset.as_str(), request.format.as_str());
    Ok(Download { name, media_type: "application/x-tar", pieces })
}

const TAR_BLOCK: usize = 512;

fn header(path: &str, bytes: u64, at: DateTime<Utc>) -> AppResult<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).map_err(AppError::internal)?;
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(at.timestamp()).unwrap_or_default());
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

fn padding(bytes: u64) -> Piece {
    let block = TAR_BLOCK as u64;
    let missing = bytes.next_multiple_of(block) - bytes;
    Piece::Bytes(vec![0; usize::try_from(missing).unwrap_or_default()])
}

/// Exports that wait, the oldest first, without those that this process is at.
pub(crate) async fn waiting(gateway: &Gateway) -> AppResult<Vec<Record>> {
    let mut waiting = records(gateway).await?;
    let running = gateway.local.exports.running();
    waiting.retain(|record| record.is_waiting() && !running.contains_key(&record.id));
    waiting.sort_by_key(|record| (record.created_at, record.id));
    Ok(waiting)
}

/// Removes what was kept for its day, and what holds personal data of people who were erased since.
pub(crate) async fn sweep(gateway: &Gateway) -> AppResult<()> {
    let now = gateway.clock.now();
    for record in records(gateway).await? {
        let is_running = gateway.local.exports.running().contains_key(&record.id);
        if record.created_at + KEPT > now || is_running {
            withdrawn_where_erased(gateway, record).await?;
            continue;
        }
        gateway.local.exports.unerased_to().remove(&record.id);
        remove(&folder_of(gateway, record.id)).await?;
    }
    Ok(())
}

/// Removes the files of all exports with personal data: somebody was erased. Those that are being made are begun anew.
///
/// # Errors
/// UNAVAILABLE where a file cannot be removed.
pub(crate) async fn forget_personal(exports: &Exports, data_dir: &Path) -> AppResult<()> {
    exports.erasures.fetch_add(1, Ordering::SeqCst);
    let folder = data_dir.join(FOLDER);
    for record in records_below(&folder).await? {
        if !record.request.personal {
            continue;
        }
        match record.state {
            State::Completed => {
                withdraw(&folder, record).await?;
            }
            // One that is being made discards by itself what it has.
            State::Waiting if exports.running().contains_key(&record.id) => {}
            State::Waiting | State::Failed { .. } => {
                remove(&folder.join(record.id.to_string()).join(FILES)).await?;
            }
        }
    }
    Ok(())
}

/// Notes that this process is at it.
pub(crate) fn begin(gateway: &Gateway, record: &Record) {
    gateway.local.exports.running().insert(record.id, None);
}

/// Makes an export that was begun, or goes on with it. It stays waiting where it was stopped, or the store is away.
pub(crate) async fn make(gateway: &Gateway, record: Record, stop: watch::Receiver<bool>) {
    let id = record.id;
    let made = try_to_make(gateway, &record, stop).await;
    let state = match &made {
        Ok(()) => Some(State::Completed),
        Err(ExportError::Stopped | ExportError::Busy(_)) => None,
        Err(ExportError::Refused(error)) if error.code == ErrorCode::Unavailable => None,
        Err(error) => {
            let (code, message) = error.for_caller();
            Some(State::Failed { code: code.as_str().to_owned(), message })
        }
    };
    match made {
        Ok(()) => info!(export = %id, "an export was made"),
        Err(ExportError::Stopped | ExportError::Busy(_)) => {}
        Err(error) => {
            let error = anyhow::Error::from(error);
            warn!(export = %id, error = %format!("{error:#}"), "an export was not made");
        }
    }
    if let Some(state) = state {
        if state != State::Completed {
            let files = folder_of(gateway, id).join(FILES);
            if let Err(error) = remove(&files).await {
                warn!(export = %id, %error, "what an export left could not be removed");
            }
        }
        if let Err(error) = save(gateway, &Record { state, ..record }).await {
            warn!(export = %id, %error, "an export's end could not be noted; it is looked at again");
        }
    }
    gateway.local.exports.running().remove(&id);
}

async fn try_to_make(
    gateway: &Gateway,
    record: &Record,
    stop: watch::Receiver<bool>,
) -> Result<(), ExportError> {
    let place = Place::of(&folder_of(gateway, record.id).join(FILES), &record.request);
    if read_manifest(&place).await.is_some() {
        return Ok(());
    }
    let mut caller = Caller::everything(Actor::system("cli"));
    if record.key.is_some() || record.user.is_some() {
        (caller.api_key_id, caller.user_id) = (record.key, record.user);
        // As it is now: it may have been revoked since, or given other scopes.
        caller = api_keys::renew(gateway, &caller).await?;
    }
    let own = folder_of(gateway, record.id);
    let begun = tokio::task::spawn_blocking(move || size_of(&own)).await;
    // What it has written already is counted again by itself.
    let bytes = room(gateway).await?.saturating_add(begun.map_err(AppError::internal)?);
    let public_url = gateway.public_url();
    let exports = &gateway.local.exports;
    let erasures = exports.erasures.load(Ordering::SeqCst);
    let is_to_stop = || {
        let was_anybody_erased = exports.erasures.load(Ordering::SeqCst) != erasures;
        *stop.borrow() || (record.request.personal && was_anybody_erased)
    };
    let note = |progress| {
        gateway.local.exports.running().insert(record.id, Some(progress));
    };
    let job = Job {
        ledger: &gateway.ledger,
        public_url: &public_url,
        caller: &caller,
        request: &record.request,
        place: &place,
        bounds: Bounds { rows_per_file: ROWS_PER_FILE, bytes },
        is_to_stop: &is_to_stop,
        on_progress: &note,
    };
    export(&job).await.map(|_| ())
}

async fn view(gateway: &Gateway, record: Record) -> AppResult<ExportView> {
    let running = gateway.local.exports.running().get(&record.id).copied();
    let place = Place::of(&folder_of(gateway, record.id).join(FILES), &record.request);
    let (status, progress, error, manifest) = match record.state {
        State::Waiting => match running {
            None => (ExportStatus::Queued, 0.0, None, None),
            Some(known) => (ExportStatus::Running, known.map_or(0.0, share), None, None),
        },
        State::Completed => match read_manifest(&place).await {
            Some(manifest) => (ExportStatus::Completed, 1.0, None, Some(manifest)),
            None => return Err(AppError::not_found("export")),
        },
        State::Failed { code, message } => (ExportStatus::Failed, 0.0, Some((code, message)), None),
    };
    Ok(ExportView {
        id: record.id,
        status,
        request: record.request,
        created_at: record.created_at,
        expires_at: record.created_at + KEPT,
        progress,
        error,
        manifest,
    })
}

fn share(progress: Progress) -> f64 {
    let Progress { range, position, .. } = progress;
    let whole = range.to.0.saturating_sub(range.after.0);
    let done = position.0.saturating_sub(range.after.0);
    if whole == 0 { 1.0 } else { done as f64 / whole as f64 }
}

async fn withdrawn_where_erased(gateway: &Gateway, record: Record) -> AppResult<Record> {
    if !record.request.personal || record.state != State::Completed {
        return Ok(record);
    }
    let place = Place::of(&folder_of(gateway, record.id).join(FILES), &record.request);
    let Some(manifest) = read_manifest(&place).await else { return Ok(record) };
    let everything = Caller::everything(Actor::system("cli"));
    let known = gateway.local.exports.unerased_to().get(&record.id).copied();
    let (filter, from) = (&record.request.filter, known.unwrap_or(manifest.range.to));
    match nobody_erased_to(&gateway.ledger, &everything, filter, from).await? {
        Some(to) => {
            gateway.local.exports.unerased_to().insert(record.id, to);
            Ok(record)
        }
        None => withdraw(&folder(gateway), record).await,
    }
}

async fn withdraw(folder: &Path, record: Record) -> AppResult<Record> {
    let message = "somebody was erased since, so this export was removed; ask for it again";
    let state = State::Failed {
        code: ErrorCode::Conflict.as_str().to_owned(),
        message: message.to_owned(),
    };
    let record = Record { state, ..record };
    let own = folder.join(record.id.to_string());
    remove(&own.join(FILES)).await?;
    save_at(&own, &record).await.map_err(AppError::unavailable)?;
    Ok(record)
}

/// Bytes that exports may still take.
async fn room(gateway: &Gateway) -> AppResult<u64> {
    let all = gateway.config.exports.total_mb.saturating_mul(1024 * 1024);
    let folder = folder(gateway);
    let taken = tokio::task::spawn_blocking(move || size_of(&folder)).await;
    Ok(all.saturating_sub(taken.map_err(AppError::internal)?))
}

/// What a folder's files take; one that goes meanwhile takes nothing.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let data = entry.metadata().ok()?;
        Some(if data.is_dir() { size_of(&entry.path()) } else { data.len() })
    });
    sizes.sum()
}

fn folder(gateway: &Gateway) -> PathBuf {
    gateway.config.data_dir().join(FOLDER)
}

fn folder_of(gateway: &Gateway, id: Uuid) -> PathBuf {
    folder(gateway).join(id.to_string())
}

async fn records(gateway: &Gateway) -> AppResult<Vec<Record>> {
    records_below(&folder(gateway)).await
}

async fn records_below(folder: &Path) -> AppResult<Vec<Record>> {
    let mut found = vec![];
    let mut entries = match fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(AppError::unavailable(error)),
    };
    while let Some(entry) = entries.next_entry().await.map_err(AppError::unavailable)? {
        let id = entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok());
        if id.is_some() {
            found.extend(load_at(&entry.path()).await?);
        }
    }
    Ok(found)
}

async fn load(gateway: &Gateway, id: Uuid) -> AppResult<Option<Record>> {
    load_at(&folder_of(gateway, id)).await
}

/// `None` where there is none, or a process was killed before it was on disk.
async fn load_at(folder: &Path) -> AppResult<Option<Record>> {
    match fs::read(folder.join(RECORD)).await {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AppError::unavailable(error)),
    }
}

async fn save(gateway: &Gateway, record: &Record) -> std::io::Result<()> {
    save_at(&folder_of(gateway, record.id), record).await
}

async fn save_at(folder: &Path, record: &Record) -> std::io::Result<()> {
    let (next, path) = (folder.join(format!("{RECORD}.next")), folder.join(RECORD));
    let mut file = fs::File::create(&next).await?;
    tokio::io::AsyncWriteExt::write_all(&mut file, &serde_json::to_vec(record)?).await?;
    file.sync_all().await?;
    fs::rename(&next, &path).await?;
    fs::File::open(folder).await?.sync_all().await
}

async fn read_manifest(place: &Place) -> Option<Manifest> {
    serde_json::from_slice(&fs::read(place.manifest()).await.ok()?).ok()
}

async fn make_private(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await
}

async fn remove(folder: &Path) -> AppResult<()> {
    match fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(AppError::unavailable(error))
        }
        _ => Ok(()),
    }
}
