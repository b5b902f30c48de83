//! A campaign's counts, kept by the difference that each event makes to what its message counts as.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::message::{Direction, Message, MessageStatus, SkipReason};
use domain::pricing::Bill;
use serde::{Deserialize, Serialize};

/// Counts are kept for every second of a campaign's first hours …
const FINE_MS: i64 = 1_000;
const FINE_FOR_MS: i64 = 6 * 3_600_000;
/// … and for every minute after: statuses trickle in for days.
const COARSE_MS: i64 = 60_000;

/// Counts of recipients: `recipients = pending + in_doubt + accepted + failed + cancelled + skipped`, and
/// `accepted ≥ sent ≥ delivered ≥ read`. Expired ones count as failed. Test messages count nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignCounts {
    pub recipients: u64,
    pub pending: u64,
    pub in_doubt: u64,
    pub accepted: u64,
    pub sent: u64,
    pub delivered: u64,
    pub read: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub skipped: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skips: BTreeMap<SkipReason, u64>,
    /// The person answered it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replied: u64,
    /// The person tapped a button of it, or a link.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clicked: u64,
    /// The person said stop to it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub opted_out: u64,
    /// People by the label of the button that they tapped; each counts once for each of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub buttons: BTreeMap<String, u64>,
    /// What WhatsApp has, by what it is billed as: [`domain::pricing::Bill::key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bills: BTreeMap<String, u64>,
    /// By WhatsApp's code, else by title.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, FailureCount>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// As it came with the first of them.
    pub title: String,
    pub count: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What one message counts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contribution {
    outcome: Outcome,
    is_replied: bool,
    is_clicked: bool,
    is_opted_out: bool,
    buttons: Vec<String>,
    bill: Option<Bill>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Pending,
    InDoubt,
    /// With WhatsApp: 0 accepted, 1 sent, 2 delivered, 3 read.
    Accepted(u8),
    Failed(Option<i64>, String),
    Cancelled,
    Skipped(SkipReason),
}

impl Contribution {
    /// `None`: it counts nowhere.
    pub fn of(message: &Message) -> Option<Self> {
        let header = message.header.as_ref()?;
        if header.campaign_id.is_none() || header.is_test || message.direction == Direction::Inbound
        {
            return None;
        }
        let engagement = &message.engagement;
        let labels = engagement.clicks.keys().filter(|label| !label.is_empty());
        Some(Self {
            outcome: Outcome::of(message)?,
            is_replied: engagement.replied_at.is_some(),
            is_clicked: !engagement.clicks.is_empty(),
            is_opted_out: engagement.opted_out_at.is_some(),
            buttons: labels.cloned().collect(),
            bill: message.bill(),
        })
    }
}

impl Outcome {
    fn of(message: &Message) -> Option<Self> {
        Some(match message.status() {
            MessageStatus::Scheduled | MessageStatus::Queued | MessageStatus::Sending => {
                Self::Pending
            }
            MessageStatus::InDoubt => Self::InDoubt,
            MessageStatus::Accepted => Self::Accepted(0),
            MessageStatus::Sent => Self::Accepted(1),
            MessageStatus::Delivered => Self::Accepted(2),
            MessageStatus::Read => Self::Accepted(3),
            MessageStatus::Expired => {
                Self::Failed(None, "expired before it could be sent".to_owned())
            }
            MessageStatus::Failed => {
                let (code, title) = failure(message);
                Self::Failed(code, title.to_owned())
            }
            MessageStatus::Cancelled => Self::Cancelled,
            MessageStatus::Skipped => Self::Skipped(message.skip?),
            MessageStatus::Received => return None,
        })
    }
}

/// WhatsApp's code for why a message failed, and what that means.
pub(super) fn failure(message: &Message) -> (Option<i64>, &str) {
    match message.failure() {
        Some(failure) => (failure.code, &failure.title),
        None => (None, "given up: nobody knows whether it was sent"),
    }
}

/// What failures are counted by: WhatsApp's code, else the title.
pub(super) fn failure_key((code, title): (Option<i64>, &str)) -> String {
    code.map_or_else(|| title.to_owned(), |code| code.to_string())
}

impl CampaignCounts {
    /// Counts one more message as it is now. One of no campaign, a test and what a person wrote count nowhere.
    pub fn add(&mut self, message: &Message) {
        self.change(None, Contribution::of(message).as_ref());
    }

    pub(super) fn change(&mut self, before: Option<&Contribution>, after: Option<&Contribution>) {
        if let Some(before) = before {
            self.count(before, |count| *count = count.saturating_sub(1));
            self.skips.retain(|_, count| *count > 0);
            self.failures.retain(|_, failure| failure.count > 0);
            self.buttons.retain(|_, count| *count > 0);
            self.bills.retain(|_, count| *count > 0);
        }
        if let Some(after) = after {
            self.count(after, |count| *count += 1);
        }
    }

    fn count(&mut self, contribution: &Contribution, step: impl Fn(&mut u64)) {
        step(&mut self.recipients);
        let flags = [
            (contribution.is_replied, &mut self.replied),
            (contribution.is_clicked, &mut self.clicked),
            (contribution.is_opted_out, &mut self.opted_out),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).for_each(|(_, count)| step(count));
        for label in &contribution.buttons {
            step(self.buttons.entry(label.clone()).or_default());
        }
        if let Some(bill) = &contribution.bill {
            step(self.bills.entry(bill.key()).or_default());
        }
        match &contribution.outcome {
            Outcome::Pending => step(&mut self.pending),
            Outcome::InDoubt => step(&mut self.in_doubt),
            Outcome::Accepted(depth) => {
                let steps =
                    [&mut self.accepted, &mut self.sent, &mut self.delivered, &mut self.read];
                steps.into_iter().take(usize::from(*depth) + 1).for_each(step);
            }
            Outcome::Failed(code, title) => {
                step(&mut self.failed);
                let key = failure_key((*code, title));
                let failure = self.failures.entry(key).or_insert_with(|| FailureCount {
                    code: *code,
                    title: title.clone(),
                    count: 0,
                });
                step(&mut failure.count);
            }
            Outcome::Cancelled => step(&mut self.cancelled),
            Outcome::Skipped(reason) => {
                step(&mut self.skipped);
                step(self.skips.entry(*reason).or_default());
            }
        }
    }
}

/// The counts and where their history stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CountsDoc {
    #[serde(flatten)]
    pub counts: CampaignCounts,
    /// When they first changed; milliseconds.
    pub first_at: i64,
    pub last_at: i64,
    pub last_bucket: i64,
}

/// One closed moment of the history.
#[derive(Clone, Debug)]
pub(super) struct Tick {
    pub bucket: i64,
    pub at: i64,
    pub counts: CampaignCounts,
}

impl CountsDoc {
    /// Counts a change recorded at `recorded_at`. Answers the moment that this closes, where it begins another one.
    pub(super) fn record(
        &mut self,
        before: Option<&Contribution>,
        after: Option<&Contribution>,
        recorded_at: DateTime<Utc>,
    ) -> Option<Tick> {
        // The clocks of two nodes may differ; the history only goes forward.
        let at = recorded_at.timestamp_millis().max(self.last_at);
        if self.first_at == 0 {
            self.first_at = at;
        }
        let width = if at - self.first_at < FINE_FOR_MS { FINE_MS } else { COARSE_MS };
        let bucket = (at - at.rem_euclid(width)).max(self.last_bucket);
        let closed = (bucket > self.last_bucket && self.last_bucket > 0).then(|| self.tick());
        self.counts.change(before, after);
        (self.last_at, self.last_bucket) = (at, bucket);
        closed
    }

    /// The moment that is still open.
    pub(super) fn tick(&self) -> Tick {
        Tick { bucket: self.last_bucket, at: self.last_at, counts: self.counts.clone() }
    }
}
