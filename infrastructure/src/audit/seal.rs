//! One seal: a run of events in order of position, as roots of Merkle trees, chained to the seal before.
//!
//! Events of messages are in a part for each month of their ids, the others in one: a month that is taken out of the log
//! takes whole parts with it, and what stays can be checked without it.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use domain::port::{AggregateType, Position, StoredEvent, StreamId};
use serde::{Deserialize, Serialize};

use super::merkle::{self, Digest};
use crate::event_store::SealRow;

/// Events that a seal covers at most.
pub const BLOCK_EVENTS: usize = 1_024;
/// How far its last position is from its first at most: in KurrentDB positions count bytes, also those of others.
pub(super) const SPAN: u64 = u32::MAX as u64;
/// Of a leaf's hash, in a locator. It only says where to look; what holds is the root.
const PREFIX: usize = 4;
/// A locator's bytes: how far from the seal's first position, which part, the beginning of the leaf's hash, the stream's tag.
const LOCATOR: usize = 4 + 2 + PREFIX + TAG;
const TAG: usize = 6;

/// By which a stream is found again of which something is missing: the beginning of the hash of its name.
pub(super) type Tag = [u8; TAG];

pub(super) fn tag(stream: StreamId) -> Tag {
    beginning(Digest::of(&[stream.to_string().as_bytes()]))
}

fn beginning<const N: usize>(digest: Digest) -> [u8; N] {
    let mut beginning = [0; N];
    beginning.copy_from_slice(&digest.0[..N]);
    beginning
}
/// Of everything that is not a message.
const NO_MONTH: u32 = 0;

/// An event as a seal covers it.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub position: Position,
    pub recorded_at: DateTime<Utc>,
    pub stream: StreamId,
    /// Year × 100 + month of a message's id.
    month: u32,
    hash: Digest,
}

impl Leaf {
    pub fn of(event: &StoredEvent) -> Self {
        let month = match event.stream.aggregate_type {
            AggregateType::Message => month_of(event.stream.id),
            _ => NO_MONTH,
        };
        Self {
            position: event.position,
            recorded_at: event.recorded_at,
            stream: event.stream,
            month,
            hash: merkle::leaf(leaf_text(event).as_bytes()),
        }
    }

    pub fn locator(&self) -> Locator {
        Locator {
            position: self.position,
            month: self.month,
            prefix: beginning(self.hash),
            stream: tag(self.stream),
        }
    }
}

/// As docs/seals.md has it, for ever.
fn leaf_text(event: &StoredEvent) -> String {
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let metadata = serde_json::to_string(&event.metadata).expect("texts and ids are JSON");
    format!(
        "{}\n{}\n{}\n{}\n{}\n{}\n{}\n{metadata}\n{}\n{}\n{}\n{}\n{}",
        event.position,
        event.event_id,
        event.stream.aggregate_type.as_str(),
        event.stream.id,
        event.sequence,
        event.event_type,
        event.event_version,
        id(event.workspace_id),
        id(event.account_id),
        event.occurred_at.timestamp_micros(),
        event.recorded_at.timestamp_micros(),
        event.payload,
    )
}

/// An id that grows with time begins with its milliseconds since 1970.
fn month_of(id: uuid::Uuid) -> u32 {
    let ms = i64::try_from(id.as_u128() >> 80).unwrap_or(0);
    let at = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default();
    u32::try_from(at.year()).unwrap_or(0) * 100 + at.month()
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub month: u32,
    pub events: usize,
    root: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Locator {
    pub position: Position,
    pub month: u32,
    prefix: [u8; PREFIX],
    pub stream: Tag,
}

#[derive(Clone, Debug)]
pub(super) struct Seal {
    pub number: u64,
    pub first: Position,
    pub last: Position,
    pub parts: Vec<Part>,
    /// In order of position.
    pub locators: Vec<Locator>,
    pub hash: Digest,
}

impl Seal {
    /// Over these leaves, of which there is one at least, in order of position.
    pub fn over(leaves: &[Leaf], number: u64, previous: Digest) -> Option<Self> {
        let (first, last) = (leaves.first()?.position, leaves.last()?.position);
        let parts: Vec<Part> = by_month(leaves)
            .into_iter()
            .map(|(month, hashes)| Part {
                month,
                events: hashes.len(),
                root: merkle::root(&hashes).to_string(),
            })
            .collect();
        let locators = leaves.iter().map(Leaf::locator).collect();
        let hash = hash(number, previous, first, last, &parts);
        Some(Self { number, first, last, parts, locators, hash })
    }

    pub fn row(&self) -> SealRow {
        let mut locators = Vec::with_capacity(self.locators.len() * LOCATOR);
        for locator in &self.locators {
            let offset = u32::try_from(locator.position.0 - self.first.0).unwrap_or(u32::MAX);
            let part = self.parts.iter().position(|part| part.month == locator.month);
            let part = part.and_then(|part| u16::try_from(part).ok()).unwrap_or(u16::MAX);
            locators.extend(offset.to_be_bytes());
            locators.extend(part.to_be_bytes());
            locators.extend(locator.prefix);
            locators.extend(locator.stream);
        }
        SealRow {
            number: self.number,
            first: self.first,
            last: self.last,
            parts: serde_json::to_string(&self.parts).expect("numbers and texts are JSON"),
            locators,
            hash: self.hash.0.to_vec(),
        }
    }

    /// What a row holds, unchecked; `None` where it is no seal at all.
    pub fn read(row: &SealRow) -> Option<Self> {
        let parts: Vec<Part> = serde_json::from_str(&row.parts).ok()?;
        let mut hash = Digest::default();
        (row.hash.len() == hash.0.len()).then(|| hash.0.copy_from_slice(&row.hash))?;
        let (locators, rest) = row.locators.as_chunks::<LOCATOR>();
        let locators = locators
            .iter()
            .map(|bytes| {
                let offset = u32::from_be_bytes(bytes[..4].try_into().ok()?);
                let part = u16::from_be_bytes(bytes[4..6].try_into().ok()?);
                Some(Locator {
                    position: Position(row.first.0.checked_add(offset.into())?),
                    month: parts.get(usize::from(part))?.month,
                    prefix: bytes[6..6 + PREFIX].try_into().ok()?,
                    stream: bytes[6 + PREFIX..].try_into().ok()?,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(Self {
            number: row.number,
            first: row.first,
            last: row.last,
            parts,
            locators,
            hash,
        })
    }

    /// Whether the hash is that of what the seal says, after this one.
    pub fn follows(&self, previous: Digest) -> bool {
        self.hash == hash(self.number, previous, self.first, self.last, &self.parts)
    }

    /// The months whose roots are not those of these leaves.
    pub fn broken_months(&self, leaves: &[Leaf]) -> Vec<u32> {
        let mut found = by_month(leaves);
        let broken = self.parts.iter().filter(|part| {
            let hashes = found.remove(&part.month).unwrap_or_default();
            hashes.len() != part.events || merkle::root(&hashes).to_string() != part.root
        });
        let mut months: Vec<u32> = broken.map(|part| part.month).collect();
        months.extend(found.into_keys());
        months
    }
}

fn by_month(leaves: &[Leaf]) -> BTreeMap<u32, Vec<Digest>> {
    let mut months: BTreeMap<u32, Vec<Digest>> = BTreeMap::new();
    for leaf in leaves {
        months.entry(leaf.month).or_default().push(leaf.hash);
    }
    months
}

/// As docs/seals.md has it, for ever.
fn hash(number: u64, previous: Digest, first: Position, last: Position, parts: &[Part]) -> Digest {
    let mut text = format!("whatsapp-gateway seal 1\n{number}\n{previous}\n{first}\n{last}\n");
    for part in parts {
        text.push_str(&format!("{} {} {}\n", part.month, part.events, part.root));
    }
    Digest::of(&[text.as_bytes()])
}
