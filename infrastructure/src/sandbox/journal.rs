//! The state file: one JSON line per change, appended before a call is answered, so that a process that is killed loses
//! nothing that anybody was told. It is written to the operating system and not flushed to disk: a power cut may lose
//! the last moments of a sandbox.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::entry::Entry;

/// Below this size a state file is not written anew while it is in use.
const REWRITE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// How many times its size after the last writing a file may have.
const REWRITE_GROWTH: u64 = 4;

#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_fresh: u64,
    /// Held for as long as this process owns the state.
    _lock: File,
}

impl Journal {
    /// Opens the file and gives its entries to `each`, oldest first.
    ///
    /// # Errors
    /// Where the file cannot be read, holds something else, or another process has it open.
    pub(crate) fn open(path: &Path, mut each: impl FnMut(Entry)) -> io::Result<Self> {
        let lock = private_file(&beside(path, "lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("another process has the sandbox's state {} open, end it or choose another file", path.display()),
            )
        })?;
        let file = private_file(path)?;
        let mut reader = BufReader::with_capacity(256 * 1024, &file);
        let (mut bytes, mut line, mut number) = (0_u64, Vec::new(), 0_u64);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            number += 1;
            if read == 0 || line.last() != Some(&b'\n') {
                // Half a line is what a killed process leaves at the end; nobody was answered for it.
                break;
            }
            let entry = serde_json::from_slice(&line).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "line {number} of {} is no sandbox state: {}",
                        path.display(),
                        crate::cloud_api::wire::shape_of(&error)
                    ),
                )
            })?;
            each(entry);
            bytes += read as u64;
        }
        drop(reader);
        file.set_len(bytes)?;
        (&file).seek(SeekFrom::Start(bytes))?;
        Ok(Self { path: path.to_owned(), file, bytes, bytes_fresh: bytes, _lock: lock })
    }

    /// Appends entries in one write.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(512);
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        if let Err(error) = self.file.write_all(&lines) {
            // What was written of it must not become the beginning of the next line.
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Whether the file has grown enough to be worth writing anew.
    pub(crate) fn is_grown(&self) -> bool {
        self.bytes > REWRITE_BYTES_MIN.max(self.bytes_fresh.saturating_mul(REWRITE_GROWTH))
    }

    /// Replaces the file by one that holds only these entries; the old one stays until the new one is whole.
    pub(crate) fn rewrite(&mut self, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        let fresh_path = beside(&self.path, "new");
        let fresh = private_file(&fresh_path)?;
        fresh.set_len(0)?;
        let mut writer = BufWriter::with_capacity(256 * 1024, &fresh);
        let mut line = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            line.clear();
            serde_json::to_writer(&mut line, &entry)?;
            line.push(b'\n');
            writer.write_all(&line)?;
            bytes += line.len() as u64;
        }
        writer.flush()?;
        drop(writer);
        std::fs::rename(&fresh_path, &self.path)?;
        self.file = fresh;
        (self.bytes, self.bytes_fresh) = (bytes, bytes);
        Ok(())
    }
}

/// `path` with another ending after its own: the files that go with a state file.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// A file for the owner alone, since tokens and numbers lie in it.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
