//! Who owns a database file: an operating-system lock on a file beside it, gone when its process is.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::SqliteError;

/// As much of a lock file's text as an error quotes.
const HOLDER_BYTES_MAX: u64 = 400;

/// Held until dropped. The file itself stays, since removing it would race with the next owner.
pub(crate) struct Lock {
    _file: File,
}

pub(crate) fn acquire(database: &Path) -> Result<Lock, SqliteError> {
    let path = lock_path(database);
    let failed =
        |source: std::io::Error| SqliteError::Open { path: path.clone(), source: source.into() };
    let mut file = private_options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(SqliteError::InUse {
                path: database.to_owned(),
                holder: holder(&mut file),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", whoami()))
        .map_err(failed)?;
    Ok(Lock { _file: file })
}

/// For files that hold personal data: for their owner alone.
pub(crate) fn private_options() -> std::fs::OpenOptions {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // The text is a courtesy: the owner may be between locking and writing it.
    let _ = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match text.trim() {
        "" => "another process".to_owned(),
        text => text.to_owned(),
    }
}

/// Flags and their values stay out: they may be secrets.
fn whoami() -> String {
    let mut words = std::env::args_os();
    let program = words
        .next()
        .and_then(|path| {
            Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned());
    let subcommand = words
        .next()
        .map(|word| word.to_string_lossy().into_owned())
        .filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric()))
        .map(|word| format!(" {word}"))
        .unwrap_or_default();
    let host = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_else(|| "this machine".to_owned());
    format!("process {} ({program}{subcommand}) on {}", std::process::id(), host.trim())
}
