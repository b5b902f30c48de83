//! Where an export is written, and how far it has come. A file has its own name once it is whole, and the manifest has its
//! own once everything is: before that, the same manifest under another name says where to go on.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use domain::port::Position;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::encode::{Encoder, Format, HashedFile, Style};
use super::rows::Batch;
use super::table::{Column, Row};
use super::{ExportError, ExportRequest};

/// What is not whole yet ends in this.
const UNFINISHED: &str = "part";
/// The manifest of a directory.
const MANIFEST: &str = "manifest.json";
/// After so many rows, a file that takes long notes how far it is.
const NOTED_EVERY: u64 = 2_000;

/// The names of an export's files.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
    /// Of the one file that there is; with Parquet there are several.
    file: Option<String>,
    manifest: String,
}

impl Place {
    /// As `--out` names it: with CSV and NDJSON a path with an extension is the file itself, any other a directory.
    pub fn of(out: &Path, request: &ExportRequest) -> Self {
        let own = format!("{}.{}", request.dataset.as_str(), request.format.as_str());
        let name = out.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_file =
            request.format != Format::Parquet && out.extension().is_some() && !out.is_dir();
        match name.filter(|_| is_file) {
            Some(name) => Self {
                folder: out.parent().map(Path::to_owned).unwrap_or_default(),
                manifest: format!("{name}.{MANIFEST}"),
                file: Some(name),
            },
            None => Self {
                folder: out.to_owned(),
                file: (request.format != Format::Parquet).then_some(own),
                manifest: MANIFEST.to_owned(),
            },
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What to tell a reader to open: the file, or the directory of several.
    pub fn result(&self) -> PathBuf {
        self.file.as_ref().map_or_else(|| self.folder.clone(), |file| self.folder.join(file))
    }

    pub fn manifest(&self) -> PathBuf {
        self.folder.join(&self.manifest)
    }

    fn unfinished_manifest(&self) -> PathBuf {
        unfinished(&self.manifest())
    }

    fn lock(&self) -> PathBuf {
        self.folder.join(format!(".{}.lock", self.manifest))
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// What an export holds. The same export of the same stretch of the log has the same manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Of this shape.
    pub version: u32,
    #[serde(flatten)]
    pub request: ExportRequest,
    /// Tells the logs of different gateways apart.
    pub log: String,
    pub range: Range,
    pub rows: u64,
    pub columns: Vec<NamedColumn>,
    pub files: Vec<FileEntry>,
    /// Only while the export is not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// Positions of the log: what was recorded after `after`, up to and with `to`, where it ended when the export began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub after: Position,
    pub to: Position,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// A file that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// From where the manifest is.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
    /// Of its first and last row; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<(Position, Position)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Everything up to here is on disk.
    pub position: Position,
    /// The file that rows are being added to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenEntry {
    pub rows: u64,
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<(Position, Position)>,
}

/// Bounds of what is written.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of one Parquet file.
    pub rows_per_file: u64,
    /// Of all files together.
    pub bytes: u64,
}

/// Writes rows into their files.
pub(super) struct Writer {
    place: Place,
    style: Style,
    columns: Vec<Column>,
    bounds: Bounds,
    manifest: Manifest,
    open: Option<Open>,
    scanned_to: Position,
    /// Rows since progress was noted.
    unnoted: u64,
    is_whole: bool,
    _lock: File,
}

struct Open {
    encoder: Encoder,
    path: String,
    day: Option<NaiveDate>,
    rows: u64,
    positions: Option<(Position, Position)>,
}

impl Writer {
    /// Begins an export, or goes on with the one that was begun here. `planned` is what it is to be; where one was begun, its
    /// stretch of the log is kept.
    ///
    /// # Errors
    /// [`ExportError::Occupied`] where something else is here, [`ExportError::Busy`] where another process is at it.
    pub(super) fn begin(
        place: Place,
        planned: Manifest,
        columns: Vec<Column>,
        bounds: Bounds,
    ) -> Result<Self, ExportError> {
        let request = &planned.request;
        make_folder(&place.folder, request.personal)?;
        let lock = lock(&place)?;
        let style = Style { format: request.format, raw: request.raw };
        let begun = read_unfinished(&place)?;
        // Killed when only the manifest had not got its name.
        let is_whole = begun.as_ref().is_some_and(|begun| begun.progress.is_none());
        let manifest = match begun {
            Some(begun) if is_same(&begun, &planned) => begun,
            Some(_) => {
                return Err(ExportError::Occupied(format!(
                    "another export was begun at {} and is not whole; go on with it by its own options, or remove it",
                    place.result().display()
                )));
            }
            None => {
                refuse_what_is_there(&place)?;
                planned
            }
        };
        let progress = manifest.progress.clone();
        let scanned_to = progress.as_ref().map_or(manifest.range.after, |known| known.position);
        let mut writer = Self {
            place,
            style,
            columns,
            bounds,
            manifest,
            open: None,
            scanned_to,
            unnoted: 0,
            is_whole,
            _lock: lock,
        };
        if is_whole {
            return Ok(writer);
        }
        if let Some(open) = progress.and_then(|known| known.open) {
            writer.reopen(open)?;
        }
        writer.sweep()?;
        writer.note()?;
        Ok(writer)
    }

    pub(super) fn range(&self) -> Range {
        self.manifest.range
    }

    pub(super) fn scanned_to(&self) -> Position {
        self.scanned_to
    }

    /// Forgets what was written, so that it can be begun anew.
    pub(super) fn discard(mut self) -> Result<(), ExportError> {
        self.open = None;
        let folder = &self.place.folder;
        for file in &self.manifest.files {
            remove(&folder.join(&file.path))?;
        }
        if let Some(file) = &self.place.file {
            remove(&unfinished(&folder.join(file)))?;
        }
        self.manifest.files.clear();
        self.sweep()?;
        remove(&self.place.unfinished_manifest())
    }

    /// Writes what comes, until there is no more or the last of it was written.
    pub(super) fn take_all(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
    ) -> Result<Self, ExportError> {
        while let Some(batch) = batches.blocking_recv() {
            for row in batch.rows {
                self.add(row)?;
            }
            self.scanned_to = batch.scanned_to;
            self.is_whole = batch.is_last;
            if self.bytes() > self.bounds.bytes {
                return Err(ExportError::TooLarge { bytes: self.bounds.bytes });
            }
            if self.unnoted >= NOTED_EVERY {
                self.note()?;
            }
        }
        if !self.is_whole {
            self.note()?;
        }
        Ok(self)
    }

    /// Whether the last row was written.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn bytes(&self) -> u64 {
        let whole: u64 = self.manifest.files.iter().map(|file| file.bytes).sum();
        whole + self.open.as_ref().map_or(0, |open| open.encoder.bytes())
    }

    fn add(&mut self, row: Row) -> Result<(), ExportError> {
        let is_full = self.open.as_ref().is_some_and(|open| {
            open.day.is_some_and(|day| day != row.day || open.rows >= self.bounds.rows_per_file)
        });
        if is_full {
            self.close()?;
        }
        let path = match &self.open {
            Some(open) => open.path.clone(),
            None => self.open_next(row.day)?,
        };
        if let Some(open) = &mut self.open {
            let position = row.position;
            open.encoder.write(row.content).map_err(|error| self.place.wrote(&path, error))?;
            open.rows += 1;
            open.positions = Some((open.positions.map_or(position, |(first, _)| first), position));
        }
        self.manifest.rows += 1;
        self.unnoted += 1;
        Ok(())
    }

    fn open_next(&mut self, day: NaiveDate) -> Result<String, ExportError> {
        let (path, day) = match &self.place.file {
            Some(file) => (file.clone(), None),
            None => {
                let number = self.manifest.files.len() + 1;
                let folder = format!("day={day}");
                make_folder(&self.place.folder.join(&folder), self.manifest.request.personal)?;
                (format!("{folder}/part-{number:05}.parquet"), Some(day))
            }
        };
        let file = self.create(&unfinished(&self.place.folder.join(&path)))?;
        let encoder = Encoder::begin(self.style, &self.columns, HashedFile::new(file));
        let encoder = encoder.map_err(|error| self.place.wrote(&path, error))?;
        self.open = Some(Open { encoder, path: path.clone(), day, rows: 0, positions: None });
        Ok(path)
    }

    fn reopen(&mut self, open: OpenEntry) -> Result<(), ExportError> {
        let Some(path) = self.place.file.clone() else { return Ok(()) };
        let wrote = |error| self.place.wrote(&path, error);
        let named = self.place.folder.join(&path);
        if !unfinished(&named).exists() && named.exists() {
            // Killed when it had its name and that was not noted.
            rename(&named, &unfinished(&named))?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .open(unfinished(&self.place.folder.join(&path)))
            .map_err(wrote)?;
        let file = HashedFile::go_on(file, open.bytes).map_err(wrote)?;
        let encoder = Encoder::go_on(self.style, &self.columns, file).map_err(wrote)?;
        let OpenEntry { rows, positions, .. } = open;
        self.open = Some(Open { encoder, path, day: None, rows, positions });
        Ok(())
    }

    fn create(&self, path: &Path) -> Result<File, ExportError> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        if self.manifest.request.personal {
            options.mode(0o600);
        }
        options.open(path).map_err(|source| ExportError::Write { path: path.to_owned(), source })
    }

    /// Ends the file that rows were added to, and gives it its name.
    fn close(&mut self) -> Result<(), ExportError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Open { encoder, path, rows, positions, .. } = open;
        let written = encoder.finish().map_err(|error| self.place.wrote(&path, error))?;
        let named = self.place.folder.join(&path);
        rename(&unfinished(&named), &named)?;
        self.manifest.files.push(FileEntry {
            path,
            rows,
            bytes: written.bytes,
            sha256: written.sha256,
            positions,
        });
        if let Some((_, last)) = positions {
            self.scanned_to = self.scanned_to.max(last);
        }
        self.note()
    }

    /// Writes down how far everything on disk has come.
    fn note(&mut self) -> Result<(), ExportError> {
        self.unnoted = 0;
        let is_single = self.place.file.is_some();
        let open = match &mut self.open {
            // What a Parquet file holds is nothing before its end is written: it is begun again.
            Some(_) if !is_single => {
                let last = self.manifest.files.last().and_then(|file| file.positions);
                let position = last.map_or(self.manifest.range.after, |(_, last)| last);
                let whole = self.manifest.files.iter().map(|file| file.rows).sum();
                let progress = Some(Progress { position, open: None });
                let known = Manifest { rows: whole, progress, ..self.manifest.clone() };
                return save(&self.place.unfinished_manifest(), &known);
            }
            Some(open) => {
                let bytes = open.encoder.sync();
                let bytes = bytes.map_err(|error| self.place.wrote(&open.path, error))?;
                Some(OpenEntry { rows: open.rows, bytes, positions: open.positions })
            }
            None => None,
        };
        self.manifest.progress = Some(Progress { position: self.scanned_to, open });
        save(&self.place.unfinished_manifest(), &self.manifest)
    }

    /// Gives everything its name.
    pub(super) fn finish(mut self) -> Result<Manifest, ExportError> {
        if self.place.file.is_some() && self.open.is_none() && self.manifest.files.is_empty() {
            // There is a file even where there are no rows.
            self.open_next(NaiveDate::default())?;
        }
        self.close()?;
        self.manifest.progress = None;
        let (unfinished, named) = (self.place.unfinished_manifest(), self.place.manifest());
        save(&unfinished, &self.manifest)?;
        rename(&unfinished, &named)?;
        remove(&self.place.lock())?;
        Ok(self.manifest)
    }

    /// Removes what an earlier run of this export left and did not note.
    fn sweep(&self) -> Result<(), ExportError> {
        if self.place.file.is_some() {
            return Ok(());
        }
        let failed = |source| ExportError::Write { path: self.place.folder.clone(), source };
        for day in fs::read_dir(&self.place.folder).map_err(failed)? {
            let day = day.map_err(failed)?;
            let name = day.file_name().to_string_lossy().into_owned();
            if !name.starts_with("day=") {
                continue;
            }
            for part in fs::read_dir(day.path()).map_err(failed)? {
                let part = part.map_err(failed)?;
                let path = format!("{name}/{}", part.file_name().to_string_lossy());
                if !self.manifest.files.iter().any(|file| file.path == path) {
                    remove(&part.path())?;
                }
            }
            // Stays where it is not empty.
            let _ = fs::remove_dir(day.path());
        }
        Ok(())
    }
}

impl Place {
    fn wrote(&self, path: &str, source: io::Error) -> ExportError {
        ExportError::Write { path: self.folder.join(path), source }
    }
}

/// The same export of the same log, wherever that ended when it began.
fn is_same(begun: &Manifest, planned: &Manifest) -> bool {
    begun.version == planned.version
        && begun.request == planned.request
        && begun.log == planned.log
        && begun.columns == planned.columns
        && begun.range.after == planned.range.after
        && begun.range.to <= planned.range.to
}

/// The manifest of an export that was begun at this place and is not whole.
fn read_unfinished(place: &Place) -> Result<Option<Manifest>, ExportError> {
    let path = place.unfinished_manifest();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ExportError::Write { path, source }),
    };
    serde_json::from_slice(&text).map(Some).map_err(|_| {
        ExportError::Occupied(format!("{} is no manifest of an export", path.display()))
    })
}

fn refuse_what_is_there(place: &Place) -> Result<(), ExportError> {
    let occupied = |path: &Path| {
        ExportError::Occupied(format!(
            "{} is there already; give another place, or remove it first",
            path.display()
        ))
    };
    for path in [place.manifest(), place.result()] {
        if path.exists() && path != place.folder {
            return Err(occupied(&path));
        }
    }
    if place.file.is_none() {
        let failed = |source| ExportError::Write { path: place.folder.clone(), source };
        for entry in fs::read_dir(&place.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // A note that a kill cut short stands beside where it was to be.
            let cut_short = place.unfinished_manifest().with_extension("next");
            if path != place.lock() && path != cut_short {
                return Err(occupied(&path));
            }
        }
    }
    Ok(())
}

fn lock(place: &Place) -> Result<File, ExportError> {
    let path = place.lock();
    let failed = |source| ExportError::Write { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ExportError::Busy(format!(
            "another process is writing {}",
            place.result().display()
        ))),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn make_folder(path: &Path, personal: bool) -> Result<(), ExportError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    if personal {
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| ExportError::Write { path: path.to_owned(), source })
}

/// Replaced as a whole: a process that is killed leaves the one before.
fn save(path: &Path, manifest: &Manifest) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write { path: path.to_owned(), source };
    let next = path.with_extension("next");
    let mut text = serde_json::to_vec_pretty(manifest).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    let mut file = File::create(&next).map_err(failed)?;
    io::Write::write_all(&mut file, &text).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    rename(&next, path)
}

/// Returns once the new name outlives a crash of the machine.
fn rename(from: &Path, to: &Path) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write { path: to.to_owned(), source };
    fs::rename(from, to).map_err(failed)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)
}

fn remove(path: &Path) -> Result<(), ExportError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ExportError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
