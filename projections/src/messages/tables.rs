//! The messages projector's tables as the program knows them.

use chrono::{DateTime, Utc};
use domain::message::{Direction, Message, MessageStatus};
use domain::primitives::{Personal, Wamid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::conversations::{CONVERSATIONS, MERGED_PEOPLE};
use super::stats::{STATS, STATS_FAILURES, STATS_GROUPS, STATS_PARTS};
use crate::store::{Kind, Schema, StoreError, Table, Value, keep, max, set};

pub static SCHEMA: Schema = Schema {
    name: "messages",
    version: 8,
    ddl: include_str!("../../migrations/messages.sql"),
    tables: &[
        &MESSAGES,
        &AGENDA,
        &WINDOWS,
        &MARKETING_BLOCKS,
        &UNREACHABLE,
        &CAMPAIGN_COUNTS,
        &CAMPAIGN_TICKS,
        &ACCOUNT_ACTIVITY,
        &HEARD,
        &STATS,
        &STATS_PARTS,
        &STATS_GROUPS,
        &STATS_FAILURES,
        &CONVERSATIONS,
        &MERGED_PEOPLE,
    ],
};

pub static MESSAGES: Table = Table {
    name: "messages",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("account_id", Kind::Uuid),
        keep("contact_id", Kind::Uuid),
        keep("campaign_id", Kind::Uuid),
        keep("direction", Kind::Int),
        keep("is_test", Kind::Int),
        // Of the template as it was when the message was planned, which it may be once more.
        set("category", Kind::Text),
        keep("created_at", Kind::Int),
        set("status", Kind::Text),
        set("attempts", Kind::Int),
        set("last_requested_at", Kind::Int),
        set("wamid_hash", Kind::Int),
        set("external_id", Kind::Text),
        set("replied_at", Kind::Int),
        set("clicked_at", Kind::Int),
        set("stage", Kind::Int),
        set("sequence", Kind::Int),
        set("doc", Kind::Doc),
    ],
    key: 1,
};

pub static AGENDA: Table = Table {
    name: "agenda",
    columns: &[
        keep("message_id", Kind::Uuid),
        keep("account_id", Kind::Uuid),
        keep("campaign_id", Kind::Uuid),
        keep("contact_id", Kind::Uuid),
        set("template_id", Kind::Uuid),
        keep("priority", Kind::Int),
        set("content_kind", Kind::Text),
        set("category", Kind::Text),
        set("kind", Kind::Int),
        set("at", Kind::Int),
        set("attempts", Kind::Int),
        set("expires_at", Kind::Int),
    ],
    key: 1,
};

pub static WINDOWS: Table = Table {
    name: "windows",
    columns: &[
        keep("account_id", Kind::Uuid),
        keep("contact_id", Kind::Uuid),
        max("last_inbound_at", Kind::Int),
    ],
    key: 2,
};

pub static MARKETING_BLOCKS: Table = Table {
    name: "marketing_blocks",
    columns: &[
        keep("contact_id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        max("until", Kind::Int),
    ],
    key: 1,
};

pub static UNREACHABLE: Table = Table {
    name: "unreachable",
    columns: &[
        keep("contact_id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        max("until", Kind::Int),
    ],
    key: 1,
};

pub static CAMPAIGN_COUNTS: Table = Table {
    name: "campaign_counts",
    columns: &[keep("campaign_id", Kind::Uuid), set("doc", Kind::Text)],
    key: 1,
};

pub static CAMPAIGN_TICKS: Table = Table {
    name: "campaign_ticks",
    columns: &[
        keep("campaign_id", Kind::Uuid),
        keep("bucket", Kind::Int),
        set("at", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 2,
};

pub static ACCOUNT_ACTIVITY: Table = Table {
    name: "account_activity",
    columns: &[
        keep("account_id", Kind::Uuid),
        max("last_inbound_at", Kind::Int),
        max("last_outbound_at", Kind::Int),
        max("last_status_at", Kind::Int),
    ],
    key: 1,
};

pub static HEARD: Table = Table {
    name: "heard",
    columns: &[
        keep("account_id", Kind::Uuid),
        keep("minute", Kind::Int),
        keep("first_at", Kind::Int),
        max("last_at", Kind::Int),
    ],
    key: 2,
};

/// What dispatch has to do about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgendaKind {
    Due = 0,
    Sending = 1,
    InDoubt = 2,
}

impl From<AgendaKind> for Value {
    fn from(kind: AgendaKind) -> Self {
        Self::Int(kind as i64)
    }
}

/// Of a message with WhatsApp, or from there: nearly all, in the end, so that no index has it.
pub(crate) const WITH_WHATSAPP: i64 = 1;

/// What a message's status comes to for whoever looks for those that are not through.
pub(crate) fn stage(status: MessageStatus) -> i64 {
    match status {
        MessageStatus::Scheduled | MessageStatus::Queued | MessageStatus::Sending => 0,
        MessageStatus::Accepted
        | MessageStatus::Sent
        | MessageStatus::Delivered
        | MessageStatus::Read
        | MessageStatus::Received => WITH_WHATSAPP,
        MessageStatus::InDoubt
        | MessageStatus::Failed
        | MessageStatus::Expired
        | MessageStatus::Cancelled
        | MessageStatus::Skipped => 2,
    }
}

pub(super) fn direction(direction: Direction) -> i64 {
    match direction {
        Direction::Outbound => 0,
        Direction::Inbound => 1,
    }
}

/// A plain enum as its stored text.
pub(crate) fn text_of<T: Serialize>(value: &T) -> Value {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Value::Text(text),
        _ => Value::Null,
    }
}

/// And back.
pub(crate) fn from_text<T: DeserializeOwned>(text: &str, column: usize) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| StoreError::Shape { column, expected: "a known word" })
}

fn known(text: Option<&Personal<String>>) -> Value {
    text.and_then(Personal::known).map(String::as_str).into()
}

/// FNV-1a, which is the same in every version of the program.
pub(crate) fn wamid_hash(wamid: &Wamid) -> i64 {
    let hash = wamid.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}

/// `None` for a stream that has no first event we know.
pub(super) fn message_row(id: Uuid, sequence: u64, message: &Message) -> Option<Vec<Value>> {
    let mut row = message_columns(id, sequence, message)?;
    row.push(Value::doc(message)?);
    Some(row)
}

/// [`message_row`] without the last column, which is the dearest and never the same.
pub(super) fn message_columns(id: Uuid, sequence: u64, message: &Message) -> Option<Vec<Value>> {
    let header = message.header.as_ref()?;
    let requested = message.latest().map(|(_, attempt)| attempt.requested_at);
    let wamid = message.wamid().and_then(Personal::known).map(wamid_hash);
    Some(vec![
        id.into(),
        header.workspace_id.0.into(),
        header.account_id.0.into(),
        header.contact_id.0.into(),
        header.campaign_id.map(|id| id.0).into(),
        direction(message.direction).into(),
        header.is_test.into(),
        header.category().map(|category| category.as_str()).into(),
        created_at(message).into(),
        message.status().as_str().into(),
        i64::from(message.attempt_count()).into(),
        requested.into(),
        wamid.into(),
        known(header.external_id.as_ref()),
        message.engagement.replied_at.into(),
        message.engagement.clicked_at().into(),
        stage(message.status()).into(),
        sequence.into(),
    ])
}

fn created_at(message: &Message) -> DateTime<Utc> {
    message.created_at.unwrap_or_default()
}

/// The message's place on the agenda; `None` while there is nothing to do about it.
pub(super) fn agenda_row(id: Uuid, message: &Message) -> Option<Vec<Value>> {
    let header = message.header.as_ref()?;
    if message.direction == Direction::Inbound {
        return None;
    }
    let (kind, at) = match message.status() {
        MessageStatus::Scheduled | MessageStatus::Queued => {
            (AgendaKind::Due, message.due_at.unwrap_or_else(|| created_at(message)))
        }
        MessageStatus::Sending => (AgendaKind::Sending, message.latest()?.1.send_by),
        MessageStatus::InDoubt => (AgendaKind::InDoubt, message.grace_until()?),
        _ => return None,
    };
    // A test leaves as any single message does, whatever its campaign may do: most of all before that is launched.
    let campaign_id = header.campaign_id.filter(|_| !header.is_test);
    Some(vec![
        id.into(),
        header.account_id.0.into(),
        campaign_id.map_or(Uuid::nil(), |id| id.0).into(),
        header.contact_id.0.into(),
        header.template.as_ref().map(|template| template.id.0).into(),
        header.priority.rank().into(),
        text_of(&header.content_kind),
        header.category().map(|category| category.as_str()).into(),
        kind.into(),
        at.into(),
        i64::from(message.attempt_count()).into(),
        message.expires_at().into(),
    ])
}
