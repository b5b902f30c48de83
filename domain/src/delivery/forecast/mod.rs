//! What a campaign would do: its recipients are planned as the run plans them, and then sent on paper, as the owner of
//! its number would send them, by a clock that is moved from one event to the next. The same functions decide as in the
//! run ([`plan_recipient`], [`judge`](super::judge), [`Pace`](super::Pace), [`Reach`]). Nothing is written, sent or kept.
//!
//! The world stands still meanwhile: nobody joins, leaves, writes or changes a setting, WhatsApp takes every message at
//! once, and nobody else's message comes to what waits already.

mod send;
mod stage;
#[cfg(test)]
mod tests;

pub use stage::Stage;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Duration, DurationRound, Utc};
use chrono_tz::Tz;

use super::hours::SendingHours;
use super::judge::person_problem;
use super::plan::{AtPlanning, Planning, plan_recipient};
use super::reach::Reach;
use super::zone::{RecipientZone, ZoneSource};
use crate::contact::Contact;
use crate::message::SkipReason;
use crate::pricing::Bill;
use crate::primitives::{ContactId, Country, MessageId};
use crate::template::{TemplateCategory, TemplateStatus};

/// Recipients that are remembered one by one, for whoever wants to see some; evenly spread over the audience.
pub const SAMPLE_MAX: usize = 50;
/// Kinds of recipients that are told apart. Beyond it, instants are taken to the minute, to the later side of caution.
const KINDS_MAX: usize = 65_536;

/// Who counts against a portfolio's reach on paper: somebody who is in the count now, or one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Person {
    Known(ContactId),
    Another(u64),
}

/// What sets the end of a campaign, where its schedule alone does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// What the number may send per second, and what else waits to be sent from it.
    Pace,
    /// The campaign's own messages per second.
    CampaignPace,
    /// The people whom the portfolio may reach within 24 h.
    Reach,
    QuietHours,
    SendWindow,
    /// The template is paused or under review: nobody knows until when.
    Template,
    /// The account is paused or disconnected.
    Account,
}

impl Limit {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pace => "pace",
            Self::CampaignPace => "campaign pace",
            Self::Reach => "reach",
            Self::QuietHours => "quiet hours",
            Self::SendWindow => "send window",
            Self::Template => "template",
            Self::Account => "account",
        }
    }
}

/// When the number may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    At(DateTime<Utc>),
    /// Nobody knows: why.
    Unknown(Limit),
}

/// What all messages of the campaign share.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// Nothing leaves before: now, or the start of the campaign that lies ahead.
    pub opens: Opens,
    pub category: TemplateCategory,
    pub template_status: TemplateStatus,
    /// It has not been launched yet, which takes an approved template.
    pub is_draft: bool,
    /// The campaign's window and the account's quiet hours.
    pub hours: SendingHours,
    /// What the number may send.
    pub messages_per_second: u32,
    /// The campaign's own limit.
    pub campaign_messages_per_second: Option<u32>,
    /// As the owner of the portfolio has counted by now. `None`: no limit is known.
    pub reach: Option<Reach<Person>>,
    /// The time to live is the default one, which does not end what could not go for reach alone.
    pub has_default_time_to_live: bool,
    pub others: Vec<Other>,
}

/// What waits to be sent from the number beside the campaign: another campaign, or all single messages of a priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Lower goes first; the campaign's own is [`Priority::Bulk`](crate::message::Priority::Bulk)'s.
    pub priority: i64,
    /// How many fall due when, in order.
    pub due: Vec<(DateTime<Utc>, u64)>,
    pub messages_per_second: Option<u32>,
    /// Each goes to somebody whom nobody else of all this goes to, outside of service windows.
    pub costs_reach: bool,
}

/// What is known of a person beside their contact, by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Circumstances {
    /// Their person has another message of the campaign ([`is_there_twice`](super::is_there_twice)).
    pub is_there_twice: bool,
    /// Their country, for what a message costs.
    pub country: Option<Country>,
    /// See [`DeliveryFacts`](super::DeliveryFacts).
    pub window_until: Option<DateTime<Utc>>,
    pub marketing_blocked_until: Option<DateTime<Utc>>,
    pub takes_no_marketing: bool,
    pub unreachable_until: Option<DateTime<Utc>>,
    /// The campaign's frequency cap lets nothing through before ([`FrequencyCap::opens_at`]).
    ///
    /// [`FrequencyCap::opens_at`]: crate::campaign::FrequencyCap::opens_at
    pub capped_until: Option<DateTime<Utc>>,
}

/// Recipients that the same happens to at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    due_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    zone: Tz,
    source: ZoneSource,
    about: Circumstances,
}

impl Kind {
    /// The same with instants to the minute: what lets a message go comes no sooner, what forbids it stays no shorter.
    fn coarse(self) -> Self {
        let minute = Duration::minutes(1);
        let later = |at: DateTime<Utc>| at.duration_round_up(minute).unwrap_or(at);
        let sooner = |at: DateTime<Utc>| at.duration_trunc(minute).unwrap_or(at);
        let about = Circumstances {
            window_until: self.about.window_until.map(sooner),
            marketing_blocked_until: self.about.marketing_blocked_until.map(later),
            unreachable_until: self.about.unreachable_until.map(later),
            capped_until: self.about.capped_until.map(later),
            ..self.about
        };
        let expires_at = self.expires_at.map(sooner);
        Self { due_at: later(self.due_at), expires_at, about, ..self }
    }
}

/// Takes an audience in, contact by contact, and then says what becomes of it.
///
/// Holds a few bytes per recipient, and whatever tells them apart once.
#[derive(Debug)]
pub struct Forecaster {
    conditions: Conditions,
    recipients: u64,
    skipped: BTreeMap<SkipReason, u64>,
    kinds: Vec<Kind>,
    kind_ids: HashMap<Kind, u32>,
    /// Of everybody who is to be sent to, in the audience's order, with the id by which those who fall due together are sorted.
    queue: Vec<(u32, MessageId)>,
    /// Those of the queue who are in the portfolio's count already.
    counted: HashMap<u32, ContactId>,
    sample: Sample,
    /// One of them. What planning lets pass, judging by the contact itself lets pass too, so that one stands for all.
    stand_in: Option<Contact>,
}

/// Some of the queue, evenly spread: every so many-th, ever fewer the longer the queue grows.
#[derive(Debug)]
struct Sample {
    every: u32,
    chosen: BTreeMap<u32, (ContactId, Tz)>,
}

impl Sample {
    fn offer(&mut self, place: u32, contact: ContactId, zone: Tz) {
        if !place.is_multiple_of(self.every) {
            return;
        }
        self.chosen.insert(place, (contact, zone));
        while self.chosen.len() > SAMPLE_MAX {
            self.every *= 2;
            self.chosen.retain(|place, _| place.is_multiple_of(self.every));
        }
    }
}

/// What a campaign would do. `recipients = to_send + expired + the skipped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    pub recipients: u64,
    pub to_send: u64,
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Given up because their time to live is over before the limits let them go.
    pub expired: u64,
    /// `None`: nothing is sent, or nobody knows when.
    pub first_send_at: Option<DateTime<Utc>>,
    pub last_send_at: Option<DateTime<Utc>>,
    /// `None`: the schedule alone sets the end.
    pub limited_by: Option<Limit>,
    /// Of what is sent, the most first.
    pub zones: Vec<ZoneForecast>,
    /// Of what is sent, by the day of sending.
    pub bills: BTreeMap<Bill, u64>,
    /// In the order of sending; at most [`SAMPLE_MAX`].
    pub sample: Vec<SampleMessage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneForecast {
    pub zone: Tz,
    pub source: ZoneSource,
    pub count: u64,
    pub first_send_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleMessage {
    pub contact_id: ContactId,
    pub send_at: DateTime<Utc>,
    pub zone: Tz,
}

impl Forecaster {
    pub fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            recipients: 0,
            skipped: BTreeMap::new(),
            kinds: Vec::new(),
            kind_ids: HashMap::new(),
            queue: Vec::new(),
            counted: HashMap::new(),
            sample: Sample { every: 1, chosen: BTreeMap::new() },
            stand_in: None,
        }
    }

    /// One contact of the audience that is not planned yet, in the audience's order; `now` is when the campaign starts.
    /// Answers whether planning lets a message to them pass.
    pub fn plan(
        &mut self,
        planning: &Planning<'_>,
        contact: &Contact,
        about: Circumstances,
        now: DateTime<Utc>,
    ) -> bool {
        // Nothing is planned for what never was, in the run neither.
        let Some(planned) = plan_recipient(planning, contact, 0, now) else { return false };
        self.recipients += 1;
        if let Some((reason, _)) = planned.plan.skip {
            self.skip(reason);
            return false;
        }
        let due_at = planned.plan.due_at;
        let facts = AtPlanning {
            is_there_twice: about.is_there_twice,
            takes_no_marketing: about.takes_no_marketing,
            capped_until: about.capped_until,
        };
        if let Some(reason) = facts.skip(Some(self.conditions.category), due_at) {
            self.skip(reason);
            return false;
        }
        let seconds = planned.plan.header.time_to_live_s;
        let expires_at = seconds.map(|seconds| due_at + Duration::seconds(i64::from(seconds)));
        let times = (due_at, expires_at);
        let of = (planned.message_id, planned.plan.header.contact_id);
        self.expect(of, contact, planned.zone, times, about);
        true
    }

    /// One message that was planned before, for a contact, and waits until its first time, to be given up at its second.
    /// `contact` is who speaks for the person by now.
    pub fn waiting(
        &mut self,
        planned: (MessageId, ContactId),
        contact: &Contact,
        zone: RecipientZone,
        times: (DateTime<Utc>, Option<DateTime<Utc>>),
        about: Circumstances,
    ) {
        self.recipients += 1;
        if about.is_there_twice {
            return self.skip(SkipReason::Duplicate);
        }
        match person_problem(contact, Some(self.conditions.category)) {
            Some(reason) => self.skip(reason),
            None => self.expect(planned, contact, zone, times, about),
        }
    }

    /// How many there are by now.
    pub fn recipients(&self) -> u64 {
        self.recipients
    }

    fn skip(&mut self, reason: SkipReason) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    fn expect(
        &mut self,
        (message_id, contact_id): (MessageId, ContactId),
        contact: &Contact,
        zone: RecipientZone,
        (due_at, expires_at): (DateTime<Utc>, Option<DateTime<Utc>>),
        about: Circumstances,
    ) {
        let is_approved = self.conditions.template_status == TemplateStatus::Approved;
        if self.conditions.is_draft && !is_approved {
            return self.skip(SkipReason::TemplateNotApproved);
        }
        let Ok(place) = u32::try_from(self.queue.len()) else { return };
        let mut kind = Kind { due_at, expires_at, zone: zone.zone, source: zone.source, about };
        if self.kinds.len() >= KINDS_MAX && !self.kind_ids.contains_key(&kind) {
            kind = kind.coarse();
        }
        let kinds = &mut self.kinds;
        let id = *self.kind_ids.entry(kind).or_insert_with(|| {
            kinds.push(kind);
            u32::try_from(kinds.len() - 1).unwrap_or(u32::MAX)
        });
        self.queue.push((id, message_id));
        let reach = self.conditions.reach.as_ref();
        if reach.is_some_and(|reach| reach.counts(&Person::Known(contact_id))) {
            self.counted.insert(place, contact_id);
        }
        self.sample.offer(place, contact_id, zone.zone);
        self.stand_in.get_or_insert_with(|| contact.clone());
    }

    /// Sends it all on paper.
    pub fn finish(self) -> Forecast {
        send::run(self)
    }
}
