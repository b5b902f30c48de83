//! Folds a batch of events over the rows it touches. Pure: what it knows was loaded before, what it changes is written
//! after.

use std::collections::{BTreeMap, HashMap, hash_map};

use chrono::{DateTime, Duration, Utc};
use domain::conversation::ConversationEvent;
use domain::delivery::marketing_blocked_until;
use domain::message::{Failure, Message, MessageEvent};
use uuid::Uuid;

use super::conversations::{Conversations, MoveOf};
use super::counts::{Contribution, CountsDoc, Tick};
use super::stats::{Standing, Stats};
use super::tables::{
    ACCOUNT_ACTIVITY, AGENDA, CAMPAIGN_COUNTS, CAMPAIGN_TICKS, HEARD, MARKETING_BLOCKS, MESSAGES,
    UNREACHABLE, WINDOWS, agenda_row, message_columns, message_row,
};
use crate::erase::without_personal_data;
use crate::store::{Changed, Value, Write};

/// One event of the batch, decoded.
pub(super) enum Step {
    Message {
        id: Uuid,
        sequence: u64,
        event: Box<MessageEvent>,
        recorded_at: DateTime<Utc>,
    },
    Conversation {
        id: Uuid,
        event: Box<ConversationEvent>,
    },
    /// The person's data goes.
    Erased {
        contact_id: Uuid,
    },
    /// Two contacts are one person.
    Merged {
        from: Uuid,
        into: Uuid,
    },
}

struct Entry {
    message: Message,
    sequence: u64,
    /// Its row, but for the document, and its place on the agenda, as the database has them.
    row: Option<Vec<Value>>,
    agenda: Option<Vec<Value>>,
    is_changed: bool,
}

/// A message whose row is written.
pub(super) struct Written {
    pub id: Uuid,
    pub sequence: u64,
    pub message: Message,
    /// Of its document.
    pub bytes: usize,
}

struct Counts {
    doc: CountsDoc,
    ticks: Vec<Tick>,
    is_changed: bool,
}

#[derive(Default)]
struct Activity {
    inbound: Option<DateTime<Utc>>,
    outbound: Option<DateTime<Utc>>,
    status: Option<DateTime<Utc>>,
}

#[derive(Default)]
pub(super) struct Batch {
    messages: HashMap<Uuid, Entry>,
    counts: BTreeMap<Uuid, Counts>,
    windows: BTreeMap<(Uuid, Uuid), DateTime<Utc>>,
    blocks: BTreeMap<Uuid, (Uuid, DateTime<Utc>)>,
    unreachable: BTreeMap<Uuid, (Uuid, DateTime<Utc>)>,
    heard: BTreeMap<(Uuid, i64), (DateTime<Utc>, DateTime<Utc>)>,
    activity: BTreeMap<Uuid, Activity>,
    stats: Stats,
    conversations: Conversations,
}

fn latest(known: &mut Option<DateTime<Utc>>, at: DateTime<Utc>) {
    *known = (*known).max(Some(at));
}

impl Batch {
    pub fn new(conversations: Conversations) -> Self {
        Self { conversations, ..Self::default() }
    }

    /// Answers the message's campaign. What is known already stays as it is.
    pub fn know_message(&mut self, id: Uuid, sequence: u64, message: Message) -> Option<Uuid> {
        let campaign = message.header.as_ref().and_then(|header| header.campaign_id);
        if let hash_map::Entry::Vacant(vacant) = self.messages.entry(id) {
            let (row, agenda) = (message_columns(id, sequence, &message), agenda_row(id, &message));
            vacant.insert(Entry { message, sequence, row, agenda, is_changed: false });
        }
        campaign.map(|id| id.0)
    }

    pub fn know_counts(&mut self, campaign_id: Uuid, doc: CountsDoc) {
        self.counts.insert(campaign_id, Counts { doc, ticks: Vec::new(), is_changed: false });
    }

    pub fn apply(&mut self, step: Step) {
        match step {
            Step::Message { id, sequence, event, recorded_at } => {
                self.apply_message(id, sequence, *event, recorded_at);
            }
            Step::Conversation { id, event } => self.conversations.event(id, *event),
            Step::Erased { contact_id } => self.erase(contact_id),
            Step::Merged { from, into } => self.conversations.merge(from, into),
        }
    }

    fn apply_message(
        &mut self,
        id: Uuid,
        sequence: u64,
        event: MessageEvent,
        recorded_at: DateTime<Utc>,
    ) {
        let entry = self.messages.entry(id).or_insert_with(|| Entry {
            message: Message::default(),
            sequence: 0,
            row: None,
            agenda: None,
            is_changed: false,
        });
        if sequence <= entry.sequence {
            return;
        }
        let heard = Heard::of(&event);
        let moves = MoveOf::of(&event);
        let before = Contribution::of(&entry.message);
        let stood = Standing::of(&entry.message);
        entry.message.fold(event);
        entry.sequence = sequence;
        entry.is_changed = true;
        let after = Contribution::of(&entry.message);
        if let Some(moves) = moves {
            self.conversations.message(id, &moves, &entry.message);
        }
        let Some(header) = &entry.message.header else { return };
        self.stats.change(stood, Standing::of(&entry.message), &entry.message);
        if before != after
            && let Some(campaign_id) = header.campaign_id
        {
            let counts = self.counts.entry(campaign_id.0).or_insert_with(|| Counts {
                doc: CountsDoc::default(),
                ticks: Vec::new(),
                is_changed: false,
            });
            counts.ticks.extend(counts.doc.record(before.as_ref(), after.as_ref(), recorded_at));
            counts.is_changed = true;
        }
        let (account_id, contact_id) = (header.account_id.0, header.contact_id.0);
        if heard.is_by_webhook() {
            let minute = recorded_at.timestamp().div_euclid(60);
            let known =
                self.heard.entry((account_id, minute)).or_insert((recorded_at, recorded_at));
            *known = (known.0.min(recorded_at), known.1.max(recorded_at));
        }
        let activity = self.activity.entry(account_id).or_default();
        match heard {
            Heard::Inbound { opens_window } => {
                latest(&mut activity.inbound, recorded_at);
                if let Some(at) = opens_window {
                    let known = self.windows.entry((account_id, contact_id)).or_insert(at);
                    *known = (*known).max(at);
                }
            }
            Heard::Accepted => latest(&mut activity.outbound, recorded_at),
            Heard::Status => latest(&mut activity.status, recorded_at),
            Heard::Blocked { until, marketing_only, by_status } => {
                if by_status {
                    latest(&mut activity.status, recorded_at);
                }
                let blocks = if marketing_only { &mut self.blocks } else { &mut self.unreachable };
                let known = blocks.entry(contact_id).or_insert((header.workspace_id.0, until));
                known.1 = known.1.max(until);
            }
            Heard::Nothing => {}
        }
    }

    fn erase(&mut self, contact_id: Uuid) {
        let theirs = self.messages.values_mut().filter(|entry| {
            entry.message.header.as_ref().is_some_and(|header| header.contact_id.0 == contact_id)
        });
        for entry in theirs {
            entry.message = without_personal_data(&entry.message);
            entry.is_changed = true;
        }
    }

    /// The changes of the tables, in the order of their keys, and the messages as they then are.
    pub fn into_writes(self) -> (Vec<Write>, Vec<Written>) {
        let mut changed: Vec<(Uuid, Entry)> =
            self.messages.into_iter().filter(|(_, entry)| entry.is_changed).collect();
        changed.sort_unstable_by_key(|(id, _)| *id);
        let (mut new, mut known) = (Vec::new(), Vec::new());
        let (mut agenda, mut done) = (Vec::new(), Vec::new());
        let mut written = Vec::with_capacity(changed.len());
        for (id, entry) in changed {
            let after = message_row(id, entry.sequence, &entry.message);
            let bytes = after.as_ref().and_then(|row| row.last()).map_or(0, Value::doc_bytes);
            match (entry.row, after) {
                (Some(before), Some(after)) => known.push(Changed { before, after }),
                (None, Some(after)) => new.push(after),
                (_, None) => {}
            }
            match (entry.agenda, agenda_row(id, &entry.message)) {
                (Some(known), Some(row)) if known == row => {}
                (_, Some(row)) => agenda.push(row),
                (Some(_), None) => done.push(vec![id.into()]),
                (None, None) => {}
            }
            if bytes > 0 {
                let Entry { message, sequence, .. } = entry;
                written.push(Written { id, sequence, message, bytes });
            }
        }
        let (mut counts, mut ticks) = (Vec::new(), Vec::new());
        for (campaign_id, mut known) in self.counts.into_iter().filter(|(_, c)| c.is_changed) {
            counts.push(vec![campaign_id.into(), json(&known.doc)]);
            known.ticks.push(known.doc.tick());
            ticks.extend(known.ticks.iter().map(|tick| {
                vec![campaign_id.into(), tick.bucket.into(), tick.at.into(), json(&tick.counts)]
            }));
        }
        let windows = self.windows.into_iter().map(|((account_id, contact_id), at)| {
            vec![account_id.into(), contact_id.into(), at.into()]
        });
        let until = |(contact_id, (workspace_id, until)): (Uuid, (Uuid, DateTime<Utc>))| {
            vec![contact_id.into(), workspace_id.into(), until.into()]
        };
        let heard = self.heard.into_iter().map(|((account_id, minute), (first_at, last_at))| {
            vec![account_id.into(), minute.into(), first_at.into(), last_at.into()]
        });
        let activity = self.activity.into_iter().filter_map(|(account_id, heard)| {
            let Activity { inbound, outbound, status } = heard;
            (inbound.is_some() || outbound.is_some() || status.is_some())
                .then(|| vec![account_id.into(), inbound.into(), outbound.into(), status.into()])
        });
        let mut writes = vec![
            Write::Upsert { table: &MESSAGES, rows: new },
            Write::Change { table: &MESSAGES, rows: known },
            Write::Upsert { table: &AGENDA, rows: agenda },
            Write::Delete { table: &AGENDA, keys: done },
            Write::Upsert { table: &WINDOWS, rows: windows.collect() },
            Write::Upsert {
                table: &MARKETING_BLOCKS,
                rows: self.blocks.into_iter().map(until).collect(),
            },
            Write::Upsert {
                table: &UNREACHABLE,
                rows: self.unreachable.into_iter().map(until).collect(),
            },
            Write::Upsert { table: &HEARD, rows: heard.collect() },
            Write::Upsert { table: &CAMPAIGN_COUNTS, rows: counts },
            Write::Upsert { table: &CAMPAIGN_TICKS, rows: ticks },
            Write::Upsert { table: &ACCOUNT_ACTIVITY, rows: activity.collect() },
        ];
        writes.extend(self.stats.into_writes());
        writes.extend(self.conversations.into_writes());
        (writes, written)
    }
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    // Counts are numbers under names: they always have a JSON form.
    serde_json::to_string(value).unwrap_or_default().into()
}

/// Until when the person is to be left alone after this failure, and whether with marketing only. What WhatsApp's caps on
/// marketing mean is the same for failures of every age; for the rest, it is as the failure says.
fn keep_away(failure: &Failure, at: DateTime<Utc>) -> Option<(DateTime<Utc>, bool)> {
    if let Some(until) = failure.code.and_then(|code| marketing_blocked_until(code, at)) {
        return Some((until, true));
    }
    let keep_away = failure.keep_away?;
    Some((at + Duration::seconds(i64::from(keep_away.seconds)), keep_away.marketing_only))
}

/// What an event tells beside the message's own state.
enum Heard {
    Inbound {
        opens_window: Option<DateTime<Utc>>,
    },
    Accepted,
    Status,
    /// WhatsApp asks to leave the person alone.
    Blocked {
        until: DateTime<Utc>,
        marketing_only: bool,
        by_status: bool,
    },
    Nothing,
}

impl Heard {
    fn of(event: &MessageEvent) -> Self {
        match event {
            MessageEvent::Received { opens_window, at, .. } => {
                Self::Inbound { opens_window: opens_window.then_some(*at) }
            }
            MessageEvent::Accepted { .. } => Self::Accepted,
            MessageEvent::Failed { failure, at, .. } => match keep_away(failure, *at) {
                Some((until, marketing_only)) => {
                    Self::Blocked { until, marketing_only, by_status: true }
                }
                None => Self::Status,
            },
            MessageEvent::SendFailed { failure, at, .. } => match keep_away(failure, *at) {
                Some((until, marketing_only)) => {
                    Self::Blocked { until, marketing_only, by_status: false }
                }
                None => Self::Nothing,
            },
            MessageEvent::Sent { .. }
            | MessageEvent::Delivered { .. }
            | MessageEvent::Read { .. }
            | MessageEvent::Played { .. } => Self::Status,
            _ => Self::Nothing,
        }
    }

    fn is_by_webhook(&self) -> bool {
        match self {
            Self::Inbound { .. } | Self::Status => true,
            Self::Blocked { by_status, .. } => *by_status,
            Self::Accepted | Self::Nothing => false,
        }
    }
}
