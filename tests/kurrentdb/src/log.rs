//! The log and its rules: expected revisions, idempotent appends, deleted streams.

use std::collections::HashMap;

use chrono::Utc;
use uuid::Uuid;

/// What the server allows one append to hold.
pub(crate) const APPEND_BYTES_MAX: usize = 1024 * 1024;
/// Every so many events the server writes one of its own.
const STATISTICS_EVERY: usize = 7;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub position: u64,
    pub stream: String,
    pub revision: u64,
    pub id: Uuid,
    pub event_type: String,
    pub content_type: String,
    pub metadata: Vec<u8>,
    pub data: Vec<u8>,
    /// Ticks of 100 ns since 1970.
    pub created: u64,
}

#[derive(Debug)]
pub(crate) struct Log {
    records: Vec<Record>,
    streams: HashMap<String, Stream>,
    end: u64,
}

#[derive(Debug, Default)]
struct Stream {
    /// Into the records, by revision.
    events: Vec<usize>,
    is_tombstoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Any,
    Exists,
    NoStream,
    Revision(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Proposed {
    pub id: Uuid,
    pub event_type: String,
    pub content_type: String,
    pub metadata: Vec<u8>,
    pub data: Vec<u8>,
}

/// An append by its stream.
pub(crate) type Append = (String, Expected, Vec<Proposed>);

#[derive(Debug)]
pub(crate) enum Appended {
    /// The stream's last revision and the last event's position.
    Written {
        revision: Option<u64>,
        position: Option<u64>,
    },
    WrongExpectedVersion {
        current: Option<u64>,
    },
    Deleted,
    TooLarge,
}

impl Log {
    pub fn new() -> Self {
        let mut log = Self { records: Vec::new(), streams: HashMap::new(), end: 0 };
        log.write("$$$settings", Uuid::now_v7(), "$metadata", "application/json", b"", b"{}");
        log
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// `None`: no such stream. Its events in order of revision.
    pub fn stream(&self, name: &str) -> Option<impl DoubleEndedIterator<Item = &Record>> {
        let stream = self.streams.get(name)?;
        Some(stream.events.iter().map(|index| &self.records[*index]))
    }

    pub fn is_tombstoned(&self, name: &str) -> bool {
        self.streams.get(name).is_some_and(|stream| stream.is_tombstoned)
    }

    pub fn tombstone(&mut self, name: &str) {
        self.streams.entry(name.to_owned()).or_default().is_tombstoned = true;
    }

    /// Where a read may begin: at a record, or at the end.
    pub fn is_boundary(&self, position: u64) -> bool {
        position == self.end
            || self.records.binary_search_by_key(&position, |record| record.position).is_ok()
    }

    pub fn append(&mut self, name: &str, expected: Expected, events: Vec<Proposed>) -> Appended {
        if self.is_tombstoned(name) {
            return Appended::Deleted;
        }
        let size =
            |event: &Proposed| event.data.len() + event.metadata.len() + event.event_type.len();
        if events.iter().map(size).sum::<usize>() > APPEND_BYTES_MAX {
            return Appended::TooLarge;
        }
        let count = self.streams.get(name).map_or(0, |stream| stream.events.len());
        let current = count.checked_sub(1).map(|last| last as u64);
        // Where the events must stand if they have been written before.
        let before = match expected {
            Expected::Revision(revision) => usize::try_from(revision).ok().map(|last| last + 1),
            Expected::NoStream => Some(0),
            Expected::Any | Expected::Exists => events
                .first()
                .and_then(|first| self.stream(name)?.position(|record| record.id == first.id)),
        };
        if let Some(before) = before
            && !events.is_empty()
            && let Some(written) = self.written_before(name, before, &events)
        {
            return Appended::Written { revision: Some(written.0), position: Some(written.1) };
        }
        let is_expected = match expected {
            Expected::Any => true,
            Expected::Exists => current.is_some(),
            Expected::NoStream => current.is_none(),
            Expected::Revision(revision) => current == Some(revision),
        };
        if !is_expected {
            return Appended::WrongExpectedVersion { current };
        }
        let mut last = None;
        for event in events {
            let Proposed { id, event_type, content_type, metadata, data } = event;
            last = Some(self.write(name, id, &event_type, &content_type, &metadata, &data));
        }
        if self.records.len().is_multiple_of(STATISTICS_EVERY) {
            let name = "$stats-127.0.0.1:2113";
            self.write(name, Uuid::now_v7(), "$statsCollected", "application/json", b"", b"{}");
        }
        match last {
            Some((revision, position)) => {
                Appended::Written { revision: Some(revision), position: Some(position) }
            }
            None => Appended::Written { revision: current, position: None },
        }
    }

    fn written_before(&self, name: &str, at: usize, events: &[Proposed]) -> Option<(u64, u64)> {
        let stream = self.streams.get(name)?;
        let there = stream.events.get(at..at + events.len())?;
        let same =
            there.iter().zip(events).all(|(index, event)| self.records[*index].id == event.id);
        let last = &self.records[*there.last()?];
        same.then_some((last.revision, last.position))
    }

    /// The event's revision and position.
    pub fn write(
        &mut self,
        name: &str,
        id: Uuid,
        event_type: &str,
        content_type: &str,
        metadata: &[u8],
        data: &[u8],
    ) -> (u64, u64) {
        let position = self.end;
        // As long as the record would be, and odd.
        self.end += (name.len() + event_type.len() + metadata.len() + data.len() + 77) as u64 | 1;
        let stream = self.streams.entry(name.to_owned()).or_default();
        let revision = stream.events.len() as u64;
        stream.events.push(self.records.len());
        let created = Utc::now().timestamp_micros().unsigned_abs() * 10;
        self.records.push(Record {
            position,
            stream: name.to_owned(),
            revision,
            id,
            event_type: event_type.to_owned(),
            content_type: content_type.to_owned(),
            metadata: metadata.to_vec(),
            data: data.to_vec(),
            created,
        });
        (revision, position)
    }
}
