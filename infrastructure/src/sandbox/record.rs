//! The record of every call received, so that a test can count what was really sent. Lines lie in a file (beside the
//! state file, or nameless and gone with the process) and not in memory: a million sends keep a sparse index, a moving
//! second per number and 16 bytes per callback datum.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::fate::hash;
use super::limits::MovingSecond;

/// One line in the index for so many calls.
const INDEX_EVERY: u64 = 256;
/// Bytes read at once when the record is given out.
const CHUNK_BYTES: usize = 64 * 1024;

/// One call to the Graph look-alike, as `GET /_sandbox/calls` prints it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Counts up from 1 and never goes back, also not when the record is emptied.
    pub n: u64,
    /// When the call arrived.
    #[serde(with = "rfc3339")]
    pub at: DateTime<Utc>,
    pub method: String,
    /// Without the query.
    pub path: String,
    pub phone_number_id: Option<String>,
    /// As the call wrote it.
    pub to: Option<String>,
    /// The message's type; `read` for read receipts.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub callback_data: Option<String>,
    /// None where no answer was ever given.
    pub http_status: Option<u16>,
    pub error_code: Option<u32>,
    pub wamid: Option<String>,
    /// Whether a phone would have shown it: accepted, and not failed later.
    pub counted: bool,
}

impl Call {
    /// A message, as opposed to a read receipt or any other call.
    pub fn is_send(&self) -> bool {
        let edge = self.path.rsplit('/').next().unwrap_or_default();
        self.method == "POST"
            && ["messages", "marketing_messages"].contains(&edge)
            && self.kind.as_deref() != Some("read")
    }
}

/// No recipient and no id: the record is for tests, its lines are not for logs.
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("n", &self.n)
            .field("kind", &self.kind)
            .field("callback_data", &self.callback_data)
            .field("http_status", &self.http_status)
            .field("error_code", &self.error_code)
            .field("counted", &self.counted)
            .finish_non_exhaustive()
    }
}

/// Milliseconds and `Z`.
mod rfc3339 {
    use super::*;

    pub fn serialize<S: serde::Serializer>(
        at: &DateTime<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        DateTime::<Utc>::deserialize(deserializer)
    }
}

#[derive(Debug, Default)]
struct Seen {
    times: u32,
    counted: u32,
}

/// What the record adds up to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub sends: u64,
    pub counted: u64,
    /// Callback data that a phone would have shown more than once.
    pub counted_twice: u64,
    pub errors: BTreeMap<u32, u64>,
    pub arrivals: BTreeMap<String, Arrivals>,
    seen: HashMap<u64, Seen>,
}

#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub sends: u64,
    pub second: MovingSecond,
}

impl Tally {
    fn add(&mut self, call: &Call) {
        if !call.is_send() {
            return;
        }
        self.sends += 1;
        self.counted += u64::from(call.counted);
        if let Some(code) = call.error_code {
            *self.errors.entry(code).or_insert(0) += 1;
        }
        if let Some(number) = &call.phone_number_id {
            if !self.arrivals.contains_key(number) {
                self.arrivals.insert(number.clone(), Arrivals::default());
            }
            if let Some(arrivals) = self.arrivals.get_mut(number) {
                arrivals.sends += 1;
                arrivals.second.record(call.at.timestamp_millis());
            }
        }
        if let Some(callback) = &call.callback_data {
            let seen = self.seen.entry(hash(&[callback.as_bytes()])).or_default();
            seen.times += 1;
            seen.counted += u32::from(call.counted);
            if call.counted && seen.counted == 2 {
                self.counted_twice += 1;
            }
        }
    }

    pub(crate) fn distinct_callback_data(&self) -> u64 {
        self.seen.len() as u64
    }

    /// How often this callback datum came before.
    pub(crate) fn times_seen(&self, callback: &str) -> u32 {
        self.seen.get(&hash(&[callback.as_bytes()])).map_or(0, |seen| seen.times)
    }

    /// How many sends came through a number before.
    pub(crate) fn sends_of(&self, number: &str) -> u64 {
        self.arrivals.get(number).map_or(0, |arrivals| arrivals.sends)
    }
}

/// The calls, in a file, and their sum.
#[derive(Debug)]
pub(crate) struct Record {
    file: Arc<File>,
    /// None: the file has no name.
    path: Option<PathBuf>,
    bytes: u64,
    lines: u64,
    last: u64,
    index: Vec<(u64, u64)>,
    pub tally: Tally,
}

impl Record {
    /// Opens the record at `path` and adds it up; without a path, a nameless one in the temporary directory.
    pub(crate) fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let file = match &path {
            Some(path) => {
                // What a process left that was killed while it wrote the record anew.
                match std::fs::remove_file(super::journal::beside(path, "new")) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => super::journal::private_file(path)?,
                }
            }
            None => nameless_file()?,
        };
        let mut record = Self {
            file: Arc::new(file),
            path,
            bytes: 0,
            lines: 0,
            last: 0,
            index: Vec::new(),
            tally: Tally::default(),
        };
        record.add_up()?;
        Ok(record)
    }

    fn add_up(&mut self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        let mut reader = BufReader::with_capacity(CHUNK_BYTES, file.as_ref());
        reader.seek(SeekFrom::Start(0))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            // A process that was killed while it wrote leaves half a line at the end, which is cut off.
            let Ok(call) = serde_json::from_slice::<Call>(&line) else { break };
            if line.last() != Some(&b'\n') {
                break;
            }
            self.note(&call, line.len() as u64);
        }
        self.file.set_len(self.bytes)?;
        self.file.as_ref().seek(SeekFrom::Start(self.bytes))?;
        Ok(())
    }

    fn note(&mut self, call: &Call, bytes: u64) {
        if self.lines.is_multiple_of(INDEX_EVERY) {
            self.index.push((call.n, self.bytes));
        }
        self.lines += 1;
        self.bytes += bytes;
        self.last = call.n;
        self.tally.add(call);
    }

    pub(crate) fn append(&mut self, call: &Call) -> io::Result<()> {
        let mut line = serde_json::to_vec(call)?;
        line.push(b'\n');
        self.file.write_all_at(&line, self.bytes)?;
        self.note(call, line.len() as u64);
        Ok(())
    }

    /// The number of the last call on record; 0 where there is none.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Empties the record. Whoever is reading goes on reading the old one.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        let fresh = match &self.path {
            Some(path) => {
                std::fs::remove_file(path)?;
                super::journal::private_file(path)?
            }
            None => nameless_file()?,
        };
        self.file = Arc::new(fresh);
        (self.bytes, self.lines, self.last) = (0, 0, 0);
        self.index.clear();
        self.tally = Tally::default();
        Ok(())
    }

    /// Takes whom a call was for, and the id that holds their number, out of these lines. The sums stay as they are.
    /// Whoever is reading goes on reading the old file.
    pub(crate) fn redact(&mut self, is_theirs: impl Fn(&Call) -> bool) -> io::Result<()> {
        let fresh_path = self.path.as_ref().map(|path| super::journal::beside(path, "new"));
        let fresh = match &fresh_path {
            Some(path) => super::journal::private_file(path)?,
            None => nameless_file()?,
        };
        fresh.set_len(0)?;
        let (mut index, mut lines, mut bytes) = (Vec::new(), 0_u64, 0_u64);
        let mut writer = BufWriter::with_capacity(CHUNK_BYTES, &fresh);
        let mut reader = self.reader(0);
        while let Some(chunk) = reader.next_lines()? {
            for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                let mut call: Call = serde_json::from_slice(line)?;
                let written = if is_theirs(&call) {
                    (call.to, call.wamid) = (None, None);
                    let mut line = serde_json::to_vec(&call)?;
                    line.push(b'\n');
                    Cow::Owned(line)
                } else {
                    Cow::Borrowed(line)
                };
                if lines.is_multiple_of(INDEX_EVERY) {
                    index.push((call.n, bytes));
                }
                lines += 1;
                writer.write_all(&written)?;
                bytes += written.len() as u64;
            }
        }
        writer.flush()?;
        drop(writer);
        if let (Some(fresh_path), Some(path)) = (fresh_path, &self.path) {
            std::fs::rename(fresh_path, path)?;
        }
        self.file = Arc::new(fresh);
        (self.index, self.lines, self.bytes) = (index, lines, bytes);
        Ok(())
    }

    /// Reads what is on record now, from the first call after `after`.
    pub(crate) fn reader(&self, after: u64) -> Reader {
        let place = self.index.partition_point(|(n, _)| *n <= after).saturating_sub(1);
        let start = self.index.get(place).map_or(0, |(_, offset)| *offset);
        Reader { file: Arc::clone(&self.file), at: start, end: self.bytes, after, rest: Vec::new() }
    }
}

/// Gives the record out in pieces of whole lines.
pub(crate) struct Reader {
    file: Arc<File>,
    at: u64,
    end: u64,
    after: u64,
    rest: Vec<u8>,
}

impl Reader {
    /// The next lines, none at the end.
    pub(crate) fn next_lines(&mut self) -> io::Result<Option<Vec<u8>>> {
        while self.at < self.end {
            let want = usize::try_from(self.end - self.at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let start = self.rest.len();
            self.rest.resize(start + want, 0);
            let read = self.file.read_at(&mut self.rest[start..], self.at)?;
            self.rest.truncate(start + read);
            if read == 0 {
                break;
            }
            self.at += read as u64;
            let Some(newline) = self.rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let tail = self.rest.split_off(newline + 1);
            let mut lines = std::mem::replace(&mut self.rest, tail);
            if self.after > 0 {
                lines = self.without_earlier(lines);
            }
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }

    fn without_earlier(&mut self, lines: Vec<u8>) -> Vec<u8> {
        let mut kept = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if number_of(line).is_none_or(|n| n > self.after) {
                kept.extend_from_slice(line);
            }
        }
        if !kept.is_empty() {
            self.after = 0;
        }
        kept
    }
}

/// `n` of a line, which is its first field.
fn number_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"n\":")?;
    let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// A file that has no name, so that it is gone with the process whatever ends it.
fn nameless_file() -> io::Result<File> {
    let unique = uuid::Uuid::now_v7();
    let path = std::env::temp_dir().join(format!("cloud-api-sandbox-{unique}.ndjson"));
    let file = super::journal::private_file(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn call(n: u64, callback: &str, counted: bool) -> Call {
        Call {
            n,
            at: DateTime::from_timestamp_millis(1_795_305_600_000 + i64::try_from(n).unwrap())
                .unwrap(),
            method: "POST".to_owned(),
            path: "/v26.0/402/messages".to_owned(),
            phone_number_id: Some("402".to_owned()),
            to: Some("+447700900123".to_owned()),
            kind: Some("text".to_owned()),
            callback_data: Some(callback.to_owned()),
            http_status: Some(200),
            error_code: None,
            wamid: None,
            counted,
        }
    }

    fn read(record: &Record, after: u64) -> Vec<u64> {
        let mut reader = record.reader(after);
        let mut numbers = Vec::new();
        while let Some(lines) = reader.next_lines().unwrap() {
            numbers.extend(
                lines.split_inclusive(|b| *b == b'\n').map(|line| number_of(line).unwrap()),
            );
        }
        numbers
    }

    #[test]
    fn a_line_has_exactly_the_fields_of_the_interface_in_their_order() {
        let line = serde_json::to_string(&call(1, "x", true)).unwrap();
        assert_eq!(
            line,
            "{\"n\":1,\"at\":\"2026-11-22T00:00:00.001Z\",\"method\":\"POST\",\"path\":\"/v26.0/402/messages\",\
             \"phoneNumberId\":\"402\",\"to\":\"+447700900123\",\"type\":\"text\",\"callbackData\":\"x\",\
             \"httpStatus\":200,\"errorCode\":null,\"wamid\":null,\"counted\":true}"
        );
    }

    #[test]
    fn the_record_is_read_from_any_number_on() {
        let mut record = Record::open(None).unwrap();
        for n in 1..=2000 {
            record.append(&call(n * 2, &n.to_string(), true)).unwrap();
        }
        assert_eq!(read(&record, 0).len(), 2000);
        for after in [1, 2, 511, 512, 513, 3999] {
            let read = read(&record, after);
            assert_eq!(read.first().copied(), Some((after / 2 + 1) * 2), "after {after}");
            assert_eq!(read.last().copied(), Some(4000));
        }
        assert!(read(&record, 4000).is_empty());
        assert_eq!(record.tally.distinct_callback_data(), 2000);
        record.forget().unwrap();
        assert!(read(&record, 0).is_empty());
        assert_eq!(record.tally.sends, 0);
    }

    #[test]
    fn a_record_on_disk_adds_up_to_the_same_and_loses_half_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls");
        let mut record = Record::open(Some(path.clone())).unwrap();
        record.append(&call(1, "a", true)).unwrap();
        record.append(&call(2, "a", true)).unwrap();
        drop(record);
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"n\":3,\"at\"").unwrap();
        let mut record = Record::open(Some(path)).unwrap();
        assert_eq!((record.last(), record.tally.sends, record.tally.counted_twice), (2, 2, 1));
        record.append(&call(3, "b", false)).unwrap();
        assert_eq!(read(&record, 0), vec![1, 2, 3]);
    }
}
