//! Where a contact file waits until it is imported: sealed piece by piece with a key of its own, which goes when the
//! import has ended. Nothing of it is ever on disk in the clear.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::primitives::ImportId;
use infrastructure::crypto::{
    FrameOpener, FrameSealer, FrameStream, KeyRing, KeyRingError, SubjectKey, read_frame,
};
use tokio::fs::{self, File};
use tokio::io::{AsyncWriteExt, BufReader};
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
            sealer: FrameSealer::new(key, stream(id), FRAME_BYTES),
            file,
            part,
            path: self.path(id),
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
            SubjectKey::Live(key) => {
                Ok(SpoolReader { opener: FrameOpener::new(key, stream(id)), file })
            }
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

fn stream(id: ImportId) -> FrameStream {
    FrameStream { kind: "import spool", id: id.0 }
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
    sealer: FrameSealer,
    file: File,
    part: Part,
    path: PathBuf,
}

impl SpoolWriter {
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), SpoolError> {
        while !bytes.is_empty() {
            if let Some(frame) = self.sealer.take(&mut bytes) {
                frame.write_to(&mut self.file).await?;
            }
        }
        Ok(())
    }

    /// Returns once the file outlives a crash of the machine.
    pub(crate) async fn finish(mut self) -> Result<(), SpoolError> {
        self.sealer.finish().write_to(&mut self.file).await?;
        self.file.flush().await?;
        self.file.sync_all().await?;
        fs::rename(&self.part.0, &self.path).await?;
        if let Some(folder) = self.path.parent() {
            File::open(folder).await?.sync_all().await?;
        }
        Ok(())
    }
}

pub(crate) struct SpoolReader {
    opener: FrameOpener,
    file: BufReader<File>,
}

impl SpoolReader {
    /// The next piece; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, SpoolError> {
        if self.opener.next().is_none() {
            return Ok(None);
        }
        let frame = read_frame(&mut self.file, SEALED_BYTES_MAX).await?;
        let (is_last, sealed) = frame.ok_or(SpoolError::Unreadable)?;
        self.opener.open(is_last, &sealed).map(Some).map_err(|_| SpoolError::Unreadable)
    }
}
