//! What the sandbox remembers, as lines of its state file. State changes only by applying one of these, so that reading
//! the file back gives the same state. Nothing outside the sandbox reads them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::behaviour::Behaviour;
use super::number::NumberSpec;
use super::record::Call;
use super::template::Template;

/// What follows a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    #[serde(rename = "s")]
    Sent,
    #[serde(rename = "d")]
    Delivered,
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "f")]
    Failed,
    /// The person answers.
    #[serde(rename = "p")]
    Reply,
}

/// One planned step: its sequence number, when it happens (what the status says) and when it is to arrive.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub seq: u64,
    pub step: Step,
    pub at: i64,
    pub due: i64,
}

/// A message that was accepted, as far as its statuses need it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub number: String,
    pub wamid: String,
    pub person: u64,
    /// Digits; absent where only the user id is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wa_id: Option<String>,
    pub user_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<String>,
    /// Meta's word for the price list: `marketing`, `utility`, `authentication` or `service`.
    pub category: String,
    pub billable: bool,
    /// Why it fails later, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u32>,
    /// Its statuses give the time in milliseconds, as some of Meta's have been seen to.
    #[serde(default)]
    pub milliseconds: bool,
    /// No `delivered` is reported, so the price is on `read`.
    #[serde(default)]
    pub delivered_skipped: bool,
    /// It was sent outside a service window.
    #[serde(default)]
    pub outside_window: bool,
}

/// Any other webhook: an inbound message, a template's verdict.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Field {
    /// The number through whose app it goes.
    pub number: String,
    pub field: String,
    pub value: Value,
    /// Account-level: goes to the app's URL whatever the overrides, and its entry has a time.
    pub account: bool,
    /// Keeps the order of what one person does; 0 where nobody is meant.
    pub person: u64,
}

/// A stored medium; its bytes lie beside the state file, or in memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Media {
    pub id: String,
    pub number: String,
    pub waba_id: String,
    pub mime_type: String,
    /// Lower-case hex.
    pub sha256: String,
    pub size: u64,
    pub at: i64,
    /// Sent by a person: fetchable for 7 days, not 30.
    pub inbound: bool,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<u64>,
}

/// Where webhooks go instead of the app's URL.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Override {
    pub url: String,
    pub verify_token: String,
}

/// What a number is beyond its counters.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct NumberFacts {
    pub spec: NumberSpec,
    pub registered: bool,
    pub pin: Option<String>,
    pub hook: Option<Override>,
    /// The app's URL has passed the handshake.
    pub verified: bool,
    pub quality: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WabaFacts {
    pub id: String,
    /// Without it no webhook goes out.
    pub subscribed: bool,
    pub hook: Option<Override>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "t")]
pub(crate) enum Entry {
    Number {
        number: Box<NumberFacts>,
    },
    Waba {
        waba: WabaFacts,
    },
    /// For one number, or for all; absent takes a number's own away.
    Behaviour {
        number: Option<String>,
        behaviour: Option<Box<Behaviour>>,
    },
    Template {
        template: Box<Template>,
    },
    TemplateGone {
        id: u64,
    },
    Media {
        media: Media,
    },
    MediaGone {
        id: String,
    },
    /// A send that Meta took. Carries the call, so that a crash between the two files cannot lose its record.
    Accepted {
        call: Box<Call>,
        sent: Box<Sent>,
        plan: Vec<Planned>,
    },
    Field {
        seq: u64,
        at: i64,
        due: i64,
        field: Box<Field>,
    },
    /// Somebody wrote to a number.
    Heard {
        number: String,
        person: u64,
        at: i64,
        wamid: u64,
        opens_window: bool,
    },
    /// Somebody stopped, or resumed, marketing of a number.
    Preference {
        number: String,
        person: u64,
        stopped: bool,
    },
    /// A person's number and user id belong together.
    Alias {
        waba_id: String,
        wa_id: String,
        user_id: String,
    },
    /// Webhooks that were answered 200, or given up.
    Done {
        seqs: Vec<u64>,
        sent: u64,
        acked: u64,
        dropped: u64,
    },
    /// A limit that the sender did not keep: `true` is the pair rate, `false` messages per second.
    Violation {
        number: String,
        pair: bool,
    },
    /// The record was emptied.
    Forgot,

    // Only in a file that was written anew: what many of the above add up to.
    Counters {
        next_seq: u64,
        next_id: u64,
        next_call: u64,
        sent: u64,
        acked: u64,
        dropped: u64,
    },
    Tallies {
        number: String,
        accepted: u64,
        month: i32,
        service_messages: u64,
        pair_violations: u64,
        pace_violations: u64,
        reach_peak: u32,
    },
    Windows {
        number: String,
        opened: Vec<(u64, i64)>,
    },
    Received {
        number: String,
        wamids: Vec<u64>,
    },
    Pairs {
        number: String,
        debts: Vec<(u64, i64, i64, u32)>,
    },
    Reach {
        waba_id: String,
        people: Vec<(u64, i64)>,
    },
    Under {
        sent: Box<Sent>,
        plan: Vec<Planned>,
    },
}
