//! Where a contact file waits until it is imported: sealed piece by piece with a key of its own, which goes when the
//! import has ended. Nothing of it is ever on disk in the clear.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::primitives::ImportId;
use infrastructure::crypto::{DataKey, KeyRing, KeyRingError, SubjectKey};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use uuid::Uuid;
use zeroize::Zeroizing;

/// What one frame seals, at most.
const FRAME_BYTES: usize = 64 * 1024;
/// More than a sealed frame ever takes: what claims to be longer is no spool.
const SEALED_BYTES_MAX: u32 = 80 * 1024;
const FOLDER: &str = "imports";
const SUFFIX: &str = "spool";
/// Still being written.
const PART_SUFFIX: &str = "part";
/// A file that nothing was written to for so long belongs to nobody any more.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// Why a spool cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// On this machine, that is; another node may have it.
    #[error("the uploaded file is not here")]
    Missing,
    /// Cut short, changed, or its key is gone.
    #[error("the uploaded file cannot be read any more")]
    Unreadable,
    #[error("the uploaded file's key is not available")]
    Keys(#[from] KeyRingError),
    #[error("the uploaded file is not available")]
    Io(#[from] io::Error),
}

/// The spools below a gateway's data directory.
#[derive(Clone, Debug)]
pub(crate) struct Spools {
    folder: PathBuf,
}

impl Spools {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER) }
    }

    fn path(&self, id: ImportId) -> PathBuf {
        self.folder.join(format!("{id}.{SUFFIX}"))
    }

    /// Begins a spool; dropped before [`SpoolWriter::finish`], it leaves nothing behind.
    pub(crate) async fn create(
        &self,
        id: ImportId,
        keys: &KeyRing,
    ) -> Result<SpoolWriter, SpoolError> {
        let SubjectKey::Live(key) = keys.ensure_key(subject(id)).await? else {
            return Err(SpoolError::Unreadable);
        };
        fs::create_dir_all(&self.folder).await?;
        let part = Part(self.path(id).with_extension(PART_SUFFIX));
        let file = File::options().write(true).create_new(true).open(&part.0).await?;
        Ok(SpoolWriter {
            id,
            key,
            file,
            part,
            path: self.path(id),
            frame: 0,
            pending: Zeroizing::new(Vec::with_capacity(FRAME_BYTES)),
        })
    }

    /// Opens a spool at its beginning.
    pub(crate) async fn open(
        &self,
        id: ImportId,
        keys: &KeyRing,
    ) -> Result<SpoolReader, SpoolError> {
        let file = match File::open(self.path(id)).await {
            Ok(file) => BufReader::with_capacity(FRAME_BYTES, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SpoolError::Missing);
            }
            Err(error) => return Err(error.into()),
        };
        match keys.subject_key(subject(id)).await? {
            SubjectKey::Live(key) => Ok(SpoolReader { id, key, file, frame: 0, is_at_end: false }),
            SubjectKey::Destroyed | SubjectKey::Missing => Err(SpoolError::Unreadable),
        }
    }

    /// Whether an import's spool is on this machine.
    pub(crate) async fn has(&self, id: ImportId) -> bool {
        fs::try_exists(self.path(id)).await.unwrap_or(false)
    }

    /// Removes a spool and destroys its key. Repeating it is harmless.
    pub(crate) async fn remove(&self, id: ImportId, keys: &KeyRing) -> Result<(), SpoolError> {
        keys.destroy_keys(&[subject(id)]).await?;
        match fs::remove_file(self.path(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Imports whose spools are here, and removes what uploads left behind that broke off with their process.
    pub(crate) async fn sweep(&self) -> Result<Vec<ImportId>, SpoolError> {
        let mut found = Vec::new();
        let mut entries = match fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error.into()),
        };
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(id) = stem.and_then(ImportId::parse) else { continue };
            let is = |suffix: &str| path.extension().is_some_and(|extension| extension == suffix);
            if is(SUFFIX) {
                found.push(id);
            } else if is(PART_SUFFIX) && is_abandoned(&path).await {
                fs::remove_file(&path).await?;
            }
        }
        Ok(found)
    }

    /// Whether a spool has been lying here for long: one without an import is then an upload that never became one.
    pub(crate) async fn is_abandoned(&self, id: ImportId) -> bool {
        is_abandoned(&self.path(id)).await
    }
}

async fn is_abandoned(path: &Path) -> bool {
    let modified = fs::metadata(path)
        .await
        .and_then(|data| data.modified())
        .unwrap_or_else(|_| SystemTime::now());
    modified.elapsed().is_ok_and(|age| age >= ABANDONED_AFTER)
}

/// The key that seals a spool is nobody else's: the import's own seals its event, and stays.
fn subject(id: ImportId) -> Uuid {
    const SPOOL: u128 = 0x7370_6f6f_6c00_0000_0000_0000_0000_0000;
    Uuid::from_u128(id.0.as_u128() ^ SPOOL)
}

/// A frame opens only in its place of its own file, and only the last one as the last.
fn place(id: ImportId, frame: u64, is_last: bool) -> Vec<u8> {
    let mut place = b"import spool".to_vec();
    place.extend_from_slice(id.0.as_bytes());
    place.extend_from_slice(&frame.to_be_bytes());
    place.push(u8::from(is_last));
    place
}

/// The file while it is being written; removed when dropped before it got its name.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Where that fails, the next sweep does it.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) struct SpoolWriter {
    id: ImportId,
    key: DataKey,
    file: File,
    part: Part,
    path: PathBuf,
    frame: u64,
    pending: Zeroizing<Vec<u8>>,
}

impl SpoolWriter {
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), SpoolError> {
        while !bytes.is_empty() {
            // A full frame waits for the next byte, since the last one is marked.
            if self.pending.len() == FRAME_BYTES {
                self.flush(false).await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(FRAME_BYTES - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Returns once the file outlives a crash of the machine.
    pub(crate) async fn finish(mut self) -> Result<(), SpoolError> {
        self.flush(true).await?;
        self.file.flush().await?;
        self.file.sync_all().await?;
        fs::rename(&self.part.0, &self.path).await?;
        if let Some(folder) = self.path.parent() {
            File::open(folder).await?.sync_all().await?;
        }
        Ok(())
    }

    async fn flush(&mut self, is_last: bool) -> Result<(), SpoolError> {
        let sealed = self.key.seal(&place(self.id, self.frame, is_last), &self.pending);
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        self.file.write_u32(length << 1 | u32::from(is_last)).await?;
        self.file.write_all(&sealed).await?;
        self.pending.clear();
        self.frame += 1;
        Ok(())
    }
}

pub(crate) struct SpoolReader {
    id: ImportId,
    key: DataKey,
    file: BufReader<File>,
    frame: u64,
    is_at_end: bool,
}

impl SpoolReader {
    /// The next piece; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, SpoolError> {
        if self.is_at_end {
            return Ok(None);
        }
        let header = self.file.read_u32().await.map_err(cut_short)?;
        let (length, is_last) = (header >> 1, header & 1 == 1);
        if length > SEALED_BYTES_MAX {
            return Err(SpoolError::Unreadable);
        }
        let mut sealed = vec![0; length as usize];
        self.file.read_exact(&mut sealed).await.map_err(cut_short)?;
        let plain = self.key.open(&place(self.id, self.frame, is_last), &sealed);
        self.frame += 1;
        self.is_at_end = is_last;
        plain.map(Some).map_err(|_| SpoolError::Unreadable)
    }
}

fn cut_short(error: io::Error) -> SpoolError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SpoolError::Unreadable,
        _ => error.into(),
    }
}
