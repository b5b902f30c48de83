//! Conversations as lists show them: a row for each number and person who wrote to it. They are tables of the messages' read
//! model, since all that moves them is in the events it reads anyway: a message to somebody who never wrote costs one look at
//! a key that is not there.
//!
//! Nobody's words are here, only ids and times.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::conversation::{ConversationEvent, Handling, ReadMark};
use domain::message::{Direction, Message, MessageEvent};
use domain::primitives::{AccountId, ContactId, MessageId, conversation_id};
use uuid::Uuid;

use super::tables::{from_text, text_of};
use crate::store::{Changed, Kind, Row, Sql, StoreError, Table, Value, Write, keep, set};

pub static CONVERSATIONS: Table = Table {
    name: "conversations",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("account_id", Kind::Uuid),
        keep("contact_id", Kind::Uuid),
        set("opened_at", Kind::Int),
        set("first_at", Kind::Int),
        set("first_id", Kind::Uuid),
        set("last_activity_at", Kind::Int),
        set("last_message_id", Kind::Uuid),
        set("last_inbound_at", Kind::Int),
        set("last_inbound_id", Kind::Uuid),
        set("window_at", Kind::Int),
        set("read_at", Kind::Int),
        set("read_id", Kind::Uuid),
        set("unread", Kind::Int),
        set("handling", Kind::Text),
        set("assigned_to", Kind::Uuid),
        set("continues", Kind::Uuid),
    ],
    key: 1,
};

pub static MERGED_PEOPLE: Table = Table {
    name: "merged_people",
    columns: &[keep("half_id", Kind::Uuid), set("kept_id", Kind::Uuid)],
    key: 1,
};

/// The columns of a row, in the order of [`ConversationRow::read`].
pub(crate) const COLUMNS: &str = "id, workspace_id, account_id, contact_id, opened_at, first_at, \
    first_id, last_activity_at, last_message_id, last_inbound_at, last_inbound_id, window_at, \
    read_at, read_id, handling, assigned_to, continues";

/// Where a message stands among those of a conversation: by its time, in milliseconds since 1970, then by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub at_ms: i64,
    pub id: Uuid,
}

impl Place {
    pub fn new(at: DateTime<Utc>, id: Uuid) -> Self {
        Self { at_ms: at.timestamp_millis(), id }
    }

    pub fn at(self) -> DateTime<Utc> {
        instant(self.at_ms)
    }

    pub fn mark(self) -> ReadMark {
        ReadMark { written_at: self.at(), message_id: MessageId(self.id) }
    }
}

impl From<ReadMark> for Place {
    fn from(mark: ReadMark) -> Self {
        Self::new(mark.written_at, mark.message_id.0)
    }
}

fn instant(ms: i64) -> DateTime<Utc> {
    // Only what was an instant is written.
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// A conversation as lists have it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationRow {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub account_id: Uuid,
    /// Who speaks for the person.
    pub contact_id: Uuid,
    /// `None`: its own stream does not say so yet.
    pub opened_at: Option<DateTime<Utc>>,
    /// What the person wrote first.
    pub first: Place,
    /// The newest message of either side, without those that were left out when they were planned.
    pub last: Place,
    /// What the person wrote last.
    pub last_inbound: Place,
    /// When the person last wrote something that opens the customer service window.
    pub window_at: Option<DateTime<Utc>>,
    /// Up to where it was read.
    pub read: Option<Place>,
    pub handling: Handling,
    pub assigned_to: Option<Uuid>,
    /// The conversation that this one goes on with, until its own stream says so.
    pub continues: Option<Uuid>,
}

impl ConversationRow {
    /// Whether the person wrote something that nobody has read.
    pub fn is_unread(&self) -> bool {
        self.read.is_none_or(|read| self.last_inbound > read)
    }

    pub(crate) fn read(row: &Row, first: usize) -> Result<Self, StoreError> {
        let column = |place: usize| first + place;
        let place = |place: usize| -> Result<Place, StoreError> {
            Ok(Place { at_ms: row.int(column(place))?, id: row.uuid(column(place + 1))? })
        };
        Ok(Self {
            id: row.uuid(column(0))?,
            workspace_id: row.uuid(column(1))?,
            account_id: row.uuid(column(2))?,
            contact_id: row.uuid(column(3))?,
            opened_at: row.opt_instant(column(4))?,
            first: place(5)?,
            last: place(7)?,
            last_inbound: place(9)?,
            window_at: row.opt_instant(column(11))?,
            read: if row.is_null(column(12)) { None } else { Some(place(12)?) },
            handling: from_text(row.text(column(14))?, column(14))?,
            assigned_to: row.opt_uuid(column(15))?,
            continues: row.opt_uuid(column(16))?,
        })
    }

    pub(crate) fn values(&self) -> Vec<Value> {
        vec![
            self.id.into(),
            self.workspace_id.into(),
            self.account_id.into(),
            self.contact_id.into(),
            self.opened_at.into(),
            self.first.at_ms.into(),
            self.first.id.into(),
            self.last.at_ms.into(),
            self.last.id.into(),
            self.last_inbound.at_ms.into(),
            self.last_inbound.id.into(),
            self.window_at.into(),
            self.read.map(|read| read.at_ms).into(),
            self.read.map(|read| read.id).into(),
            self.is_unread().into(),
            text_of(&self.handling),
            self.assigned_to.into(),
            self.continues.into(),
        ]
    }

    /// What was between the same number and somebody who is this person is a part of this.
    fn take_in(&mut self, half: &Self) {
        self.first = self.first.min(half.first);
        self.last = self.last.max(half.last);
        self.last_inbound = self.last_inbound.max(half.last_inbound);
        self.window_at = self.window_at.max(half.window_at);
    }
}

struct Entry {
    row: ConversationRow,
    /// As the database has it.
    before: Option<Vec<Value>>,
}

/// What a batch needs to know of conversations before it is folded.
#[derive(Default)]
pub(super) struct Needed {
    /// With each a message went or came.
    pub between: BTreeSet<(Uuid, Uuid)>,
    /// Whose own events there are.
    pub ids: BTreeSet<Uuid>,
    /// Contacts that went into others, and those others.
    pub merges: BTreeMap<Uuid, Uuid>,
}

impl Needed {
    pub fn message(&mut self, event: &MessageEvent) {
        if let MessageEvent::Scheduled { header, .. }
        | MessageEvent::Queued { header, .. }
        | MessageEvent::Received { header, .. }
        | MessageEvent::Echoed { header, .. } = event
        {
            self.between.insert((header.account_id.0, header.contact_id.0));
        }
    }

    /// The statements that find it, in turn, each by what was found before.
    pub fn people(&self) -> BTreeSet<Uuid> {
        let merging = self.merges.iter().flat_map(|(from, into)| [*from, *into]);
        self.between.iter().map(|(_, contact)| *contact).chain(merging).collect()
    }
}

pub(super) fn people_by_half(ids: Vec<Value>) -> Sql {
    Sql::new("SELECT half_id, kept_id FROM {merged_people} WHERE half_id ?*").with_list(ids)
}

pub(super) fn people_by_kept(ids: Vec<Value>) -> Sql {
    Sql::new("SELECT half_id, kept_id FROM {merged_people} WHERE kept_id ?*").with_list(ids)
}

pub(super) fn rows_by_id(ids: Vec<Value>) -> Sql {
    Sql::new(&format!("SELECT {COLUMNS} FROM {{conversations}} WHERE id ?*")).with_list(ids)
}

pub(super) fn rows_by_contact(ids: Vec<Value>) -> Sql {
    Sql::new(&format!("SELECT {COLUMNS} FROM {{conversations}} WHERE contact_id ?*")).with_list(ids)
}

/// The conversations of a batch.
#[derive(Default)]
pub(super) struct Conversations {
    rows: HashMap<Uuid, Entry>,
    gone: BTreeSet<Uuid>,
    /// Whom contacts went into, in the end.
    kept: HashMap<Uuid, Uuid>,
    newly_kept: BTreeMap<Uuid, Uuid>,
}

impl Conversations {
    pub fn know_people(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        for row in rows {
            self.kept.insert(row.uuid(0)?, row.uuid(1)?);
        }
        Ok(())
    }

    pub fn know(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        for row in rows {
            let row = ConversationRow::read(row, 0)?;
            let before = Some(row.values());
            self.rows.entry(row.id).or_insert(Entry { row, before });
        }
        Ok(())
    }

    /// Those whose rows are to be known.
    pub fn ids(&self, needed: &Needed) -> BTreeSet<Uuid> {
        let of = needed.between.iter().map(|(account, contact)| self.id(*account, *contact).0);
        of.chain(needed.ids.iter().copied()).collect()
    }

    /// Everybody whose rows a merge may touch.
    pub fn merging(&self, needed: &Needed) -> BTreeSet<Uuid> {
        let named = needed.merges.iter().flat_map(|(from, into)| [*from, *into]);
        named.flat_map(|id| [id, self.person(id)]).collect()
    }

    fn person(&self, contact: Uuid) -> Uuid {
        self.kept.get(&contact).copied().unwrap_or(contact)
    }

    /// The conversation's id, and who speaks for the person.
    fn id(&self, account: Uuid, contact: Uuid) -> (Uuid, Uuid) {
        let person = self.person(contact);
        (conversation_id(AccountId(account), ContactId(person)).0, person)
    }

    /// A message was planned, or came, or went from elsewhere: `message` as it is after the event.
    pub fn message(&mut self, id: Uuid, event: &MoveOf, message: &Message) {
        let Some(header) = &message.header else { return };
        let (account_id, at) = (header.account_id.0, message.created_at.unwrap_or_default());
        let (conversation, contact_id) = self.id(account_id, header.contact_id.0);
        let place = Place::new(at, id);
        let known = self.rows.get_mut(&conversation).map(|entry| &mut entry.row);
        if message.direction == Direction::Outbound {
            if let Some(row) = known {
                row.last = row.last.max(place);
            }
            return;
        }
        let window_at = event.opens_window.then(|| instant(place.at_ms));
        let new = ConversationRow {
            id: conversation,
            workspace_id: header.workspace_id.0,
            account_id,
            contact_id,
            opened_at: None,
            first: place,
            last: place,
            last_inbound: place,
            window_at,
            read: None,
            handling: Handling::default(),
            assigned_to: None,
            continues: None,
        };
        match known {
            Some(row) => row.take_in(&new),
            None => {
                self.gone.remove(&conversation);
                self.rows.insert(conversation, Entry { row: new, before: None });
            }
        }
    }

    /// One of the conversation's own events. One whose contact was merged away has no row any more.
    pub fn event(&mut self, id: Uuid, event: ConversationEvent) {
        let Some(Entry { row, .. }) = self.rows.get_mut(&id) else { return };
        match event {
            ConversationEvent::Opened { handling, assigned_to, read, at, .. } => {
                row.opened_at = Some(instant(at.timestamp_millis()));
                row.handling = handling;
                row.assigned_to = assigned_to.map(|id| id.0);
                row.read = read.map(Place::from);
                row.continues = None;
            }
            ConversationEvent::Assigned { user_id, .. } => {
                row.assigned_to = user_id.map(|id| id.0);
            }
            ConversationEvent::HandedOver { to, .. } => row.handling = to,
            ConversationEvent::Read { up_to, .. } => row.read = row.read.max(Some(up_to.into())),
            // The messages say until when.
            ConversationEvent::WindowExtended { .. }
            | ConversationEvent::ReceiptShown { .. }
            | ConversationEvent::ReceiptFailed { .. } => {}
        }
    }

    /// A contact went into another: what was with either is one thread.
    pub fn merge(&mut self, from: Uuid, into: Uuid) {
        let into = self.person(into);
        if from == into {
            return;
        }
        let halves: Vec<Uuid> =
            self.kept.iter().filter(|(_, kept)| **kept == from).map(|(half, _)| *half).collect();
        for half in halves.into_iter().chain([from]) {
            self.kept.insert(half, into);
            self.newly_kept.insert(half, into);
        }
        let mut theirs: Vec<Uuid> = self
            .rows
            .values()
            .filter(|entry| entry.row.contact_id == from)
            .map(|entry| entry.row.id)
            .collect();
        theirs.sort_unstable();
        for id in theirs {
            let Some(Entry { row: half, before }) = self.rows.remove(&id) else { continue };
            if before.is_some() {
                self.gone.insert(id);
            }
            let (conversation, _) = self.id(half.account_id, into);
            match self.rows.get_mut(&conversation) {
                Some(entry) => entry.row.take_in(&half),
                None => {
                    let continues = half.opened_at.map(|_| half.id).or(half.continues);
                    let row = ConversationRow {
                        id: conversation,
                        contact_id: into,
                        opened_at: None,
                        continues,
                        ..half
                    };
                    self.rows.insert(conversation, Entry { row, before: None });
                }
            }
        }
    }

    pub fn into_writes(self) -> Vec<Write> {
        let (mut new, mut known) = (Vec::new(), Vec::new());
        let mut rows: Vec<Entry> = self.rows.into_values().collect();
        rows.sort_unstable_by_key(|entry| entry.row.id);
        for Entry { row, before } in rows {
            let after = row.values();
            match before {
                Some(before) if before == after => {}
                Some(before) => known.push(Changed { before, after }),
                None => new.push(after),
            }
        }
        let merged = self.newly_kept.into_iter().map(|(half, kept)| vec![half.into(), kept.into()]);
        vec![
            Write::Upsert { table: &CONVERSATIONS, rows: new },
            Write::Change { table: &CONVERSATIONS, rows: known },
            Write::Delete {
                table: &CONVERSATIONS,
                keys: self.gone.into_iter().map(|id| vec![id.into()]).collect(),
            },
            Write::Upsert { table: &MERGED_PEOPLE, rows: merged.collect() },
        ]
    }
}

/// What of an event moves a conversation.
#[derive(Clone, Copy)]
pub(super) struct MoveOf {
    opens_window: bool,
}

impl MoveOf {
    /// `None`: nothing. Who was left out was written nothing.
    pub fn of(event: &MessageEvent) -> Option<Self> {
        match event {
            MessageEvent::Received { opens_window, .. } => {
                Some(Self { opens_window: *opens_window })
            }
            MessageEvent::Scheduled { .. }
            | MessageEvent::Queued { .. }
            | MessageEvent::Echoed { .. } => Some(Self { opens_window: false }),
            _ => None,
        }
    }
}
