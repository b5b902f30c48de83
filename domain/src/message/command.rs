//! What can be asked of a message.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Content, DeliveryStatus, Failure, InDoubtResolution, MessageHeader, OptOutSign, Recipient,
    SkipReason,
};
use crate::primitives::{MessageId, Wamid};

#[derive(Clone, Debug)]
pub enum MessageCommand {
    /// A new outbound message. Repeating it with the same header is harmless.
    Plan(Box<Plan>),
    /// Judged anew after it was left out, because a person asked: planned as if for the first time, under the same id.
    /// Nothing, where it would be left out for the same reason.
    Replan(Box<Plan>),
    /// A person wrote.
    Receive {
        header: Box<MessageHeader>,
        from: Recipient,
        wamid: Wamid,
        content: Content,
        opens_window: bool,
        at: DateTime<Utc>,
    },
    /// Sent from the WhatsApp Business app.
    RecordEcho {
        header: Box<MessageHeader>,
        to: Recipient,
        wamid: Wamid,
        content: Content,
        at: DateTime<Utc>,
    },
    /// A person chose another time.
    Reschedule {
        due_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// What was meant is another instant by what is known now. Nothing, where it has left or a person chose its time.
    Retime {
        due_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    Cancel {
        reason: Option<String>,
        at: DateTime<Utc>,
    },
    Expire {
        at: DateTime<Utc>,
    },
    /// Judged when it fell due, and left out.
    Skip {
        reason: SkipReason,
        detail: Option<String>,
        at: DateTime<Utc>,
    },
    /// Takes attempt number `attempt`. Refused when it is taken, so two workers cannot both hold it, and while the
    /// message is not due.
    RequestSend {
        attempt: u32,
        send_by: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    RecordAccepted {
        attempt: u32,
        wamid: Wamid,
        held: bool,
        at: DateTime<Utc>,
    },
    /// Refused by WhatsApp or never sent; `retry_at`: due again then, else it has failed.
    RecordRefused {
        attempt: u32,
        failure: Failure,
        retry_at: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    },
    RecordUnknown {
        attempt: u32,
        reason: String,
        grace_until: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    RecordStatus(Box<StatusReport>),
    /// Settles a message in doubt; `due_at` is for [`InDoubtResolution::SendAgain`].
    Resolve {
        resolution: InDoubtResolution,
        due_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// The person answered it, tapped a button of it, or said stop to it.
    RecordAnswer(Answer),
    /// Due again after it failed, because a person asked: its time to live starts anew.
    Retry {
        due_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
}

/// A new outbound message and what is to become of it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub header: MessageHeader,
    pub to: Recipient,
    pub content: Content,
    /// Left out from the start.
    pub skip: Option<(SkipReason, Option<String>)>,
    pub due_at: DateTime<Utc>,
    pub at: DateTime<Utc>,
}

/// What a person did about a message. Each part is recorded once, with its earliest time.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// What they wrote or tapped, where it came as a message.
    pub reply_id: Option<MessageId>,
    /// It counts as a reply; `true`: it names the message.
    pub reply: Option<bool>,
    /// It counts as a click of this button, or of one that has no label of the template's.
    pub click: Option<Option<String>>,
    pub opt_out: Option<OptOutSign>,
    /// WhatsApp's timestamp.
    pub at: DateTime<Utc>,
}

/// What a status webhook says.
#[derive(Clone, Debug)]
pub struct StatusReport {
    /// From the callback data; `None`: the attempt that has this wamid, else the latest.
    pub attempt: Option<u32>,
    pub wamid: Wamid,
    pub status: DeliveryStatus,
    pub pricing: Option<Value>,
    pub failure: Option<Failure>,
    /// For a failure that is worth another try.
    pub retry_at: Option<DateTime<Utc>>,
    /// WhatsApp's timestamp.
    pub at: DateTime<Utc>,
}
