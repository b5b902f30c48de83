//! What `deliveryStats` is made of: counters by quarter of an hour, kept by the difference that each event makes to what its
//! message counts as. A message counts once for each thing that holds of it now, whatever was said of it before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::message::{DeliveryStatus, Direction, Message, MessageHeader, MessageStatus, Waiting};
use domain::pricing::{Bill, BillingCategory};
use uuid::Uuid;

use super::counts::{failure, failure_key};
use crate::store::{Kind, Table, Value, Write, add, keep};

/// The stretch of time that is counted together, in seconds: every zone's hours and days begin with one.
pub const QUARTER_S: i64 = 900;

pub static STATS: Table = Table {
    name: "stats",
    columns: &[
        keep("account_id", Kind::Uuid),
        keep("basis", Kind::Int),
        keep("quarter", Kind::Int),
        keep("group_id", Kind::Uuid),
        add("queued"),
        add("accepted"),
        add("sent"),
        add("delivered"),
        add("read"),
        add("replied"),
        add("failed"),
        add("skipped"),
        add("in_doubt"),
        add("expired"),
        add("cancelled"),
    ],
    key: 4,
};

pub static STATS_PARTS: Table = Table {
    name: "stats_parts",
    columns: &[
        keep("account_id", Kind::Uuid),
        keep("basis", Kind::Int),
        keep("quarter", Kind::Int),
        keep("group_id", Kind::Uuid),
        keep("kind", Kind::Int),
        keep("part", Kind::Text),
        add("count"),
    ],
    key: 6,
};

pub static STATS_GROUPS: Table = Table {
    name: "stats_groups",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("account_id", Kind::Uuid),
        keep("campaign_id", Kind::Uuid),
        keep("template_id", Kind::Uuid),
        keep("language", Kind::Text),
        keep("category", Kind::Text),
        keep("country", Kind::Text),
    ],
    key: 1,
};

pub static STATS_FAILURES: Table = Table {
    name: "stats_failures",
    columns: &[keep("part", Kind::Text), keep("code", Kind::Int), keep("title", Kind::Text)],
    key: 1,
};

/// Which time a message is counted at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatsBasis {
    /// All of it when WhatsApp accepted it; what it did not accept, when that was last tried, else when it was made.
    Cohort = 0,
    /// Each thing when it happened.
    EventTime = 1,
}

/// The counters, in the order of their columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatsMeasure {
    Queued,
    Accepted,
    Sent,
    Delivered,
    Read,
    Replied,
    Failed,
    Skipped,
    InDoubt,
    Expired,
    Cancelled,
}

impl StatsMeasure {
    pub const COUNT: usize = Self::Cancelled as usize + 1;
    pub const ALL: [Self; Self::COUNT] = [
        Self::Queued,
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Replied,
        Self::Failed,
        Self::Skipped,
        Self::InDoubt,
        Self::Expired,
        Self::Cancelled,
    ];

    /// Its column.
    pub(crate) fn column(self) -> &'static str {
        STATS.columns[STATS.key + self as usize].name
    }
}

/// Of what there are more kinds than columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    ToDeliver = 0,
    ToRead = 1,
    Bill = 2,
    Failure = 3,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Bins of a histogram.
    ToDeliver(u32),
    ToRead(u32),
    Bill(Bill),
    Failure(String),
}

impl Part {
    fn columns(&self) -> [Value; 2] {
        let (kind, part) = match self {
            Self::ToDeliver(bin) => (PartKind::ToDeliver, bin.to_string()),
            Self::ToRead(bin) => (PartKind::ToRead, bin.to_string()),
            Self::Bill(bill) => (PartKind::Bill, bill.key()),
            Self::Failure(key) => (PartKind::Failure, key.clone()),
        };
        [(kind as i64).into(), part.into()]
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Counted {
    Measure(StatsMeasure),
    Part(Part),
}

/// Bits of a duration's size that its bin keeps: bins are at most 1/32 of what is in them wide.
const BIN_BITS: u32 = 5;
/// Longer than anybody waits: seven years, in tenths of a second.
const TENTHS_MAX: i64 = 1 << 31;

/// The bin of a duration: a tenth of a second wide below 6.4 s, and from there on 32 of them for each doubling.
fn bin(from: DateTime<Utc>, to: DateTime<Utc>) -> u32 {
    // WhatsApp's clock and ours may differ by more than it took.
    let tenths = ((to - from).num_milliseconds() / 100).clamp(0, TENTHS_MAX);
    let tenths = u32::try_from(tenths).unwrap_or(u32::MAX);
    let doublings = (u32::BITS - tenths.leading_zeros()).saturating_sub(BIN_BITS + 1);
    (doublings << BIN_BITS) + (tenths >> doublings)
}

/// What stands for all durations in a bin: at most a tenth of a second or 1.6 % from each of them.
pub(crate) fn seconds_of_bin(bin: u32) -> f64 {
    let doublings = (bin >> BIN_BITS).saturating_sub(1).min(u32::BITS);
    let lowest = u64::from(bin - (doublings << BIN_BITS)) << doublings;
    let middle = if doublings == 0 { 0.0 } else { (1_u64 << doublings) as f64 / 2.0 };
    (lowest as f64 + middle) / 10.0
}

/// What one message counts as, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    account_id: Uuid,
    group: Uuid,
    counted: Vec<(StatsBasis, i64, Counted)>,
}

impl Standing {
    /// `None`: it counts nowhere. Only what the gateway sends, or was to send, is counted.
    pub fn of(message: &Message) -> Option<Self> {
        let header = message.header.as_ref()?;
        if message.direction == Direction::Inbound || message.waiting == Some(Waiting::Echoed) {
            return None;
        }
        let mut standing = Self {
            account_id: header.account_id.0,
            group: group_of(header),
            counted: Vec::with_capacity(24),
        };
        standing.count(message);
        Some(standing)
    }

    fn count(&mut self, message: &Message) {
        use StatsMeasure as M;
        let status = message.status();
        let is_taken = matches!(
            status,
            MessageStatus::Accepted
                | MessageStatus::Sent
                | MessageStatus::Delivered
                | MessageStatus::Read
                | MessageStatus::Failed
        );
        let told_accepted = message.accepted_at().filter(|_| is_taken);
        // A status says that it was accepted, where no answer did; and what is read was delivered and sent.
        let accepted = told_accepted.or_else(|| message.first_status_at().filter(|_| is_taken));
        let told = |status| message.status_at(status).filter(|_| is_taken);
        let read = told(DeliveryStatus::Read).or_else(|| told(DeliveryStatus::Played));
        let told_delivered = told(DeliveryStatus::Delivered);
        let delivered = told_delivered.or(read);
        let sent = told(DeliveryStatus::Sent).or(delivered);
        let made = message.created_at.unwrap_or_default();
        let settled = message.settled_at.unwrap_or(made);
        let cohort = accepted.or_else(|| message.tried_at()).unwrap_or(made);

        if message.first_due_at.is_some() {
            self.at(StatsBasis::EventTime, made, Counted::Measure(M::Queued));
        }
        let happened =
            [(M::Accepted, accepted), (M::Sent, sent), (M::Delivered, delivered), (M::Read, read)];
        let has_failed = status == MessageStatus::Failed;
        for (measure, at) in happened {
            let Some(at) = at else { continue };
            self.at(StatsBasis::EventTime, at, Counted::Measure(measure));
            // As in a campaign's progress: what failed is not accepted any more.
            if !has_failed {
                self.at(StatsBasis::Cohort, cohort, Counted::Measure(measure));
            }
        }
        let ended = match status {
            MessageStatus::Scheduled | MessageStatus::Queued | MessageStatus::Sending => {
                self.at(StatsBasis::Cohort, cohort, Counted::Measure(M::Queued));
                None
            }
            MessageStatus::Failed => Some((M::Failed, message.failed_at().unwrap_or(cohort))),
            MessageStatus::Skipped => Some((M::Skipped, settled)),
            MessageStatus::Expired => Some((M::Expired, settled)),
            MessageStatus::Cancelled => Some((M::Cancelled, settled)),
            MessageStatus::InDoubt => Some((M::InDoubt, message.doubted_at().unwrap_or(cohort))),
            _ => None,
        };
        let replied = message.engagement.replied_at.map(|at| (M::Replied, at));
        for (measure, at) in ended.into_iter().chain(replied) {
            self.on_both(cohort, at, Counted::Measure(measure));
        }
        if has_failed {
            let at = message.failed_at().unwrap_or(cohort);
            let part = Part::Failure(failure_key(failure(message)));
            self.on_both(cohort, at, Counted::Part(part));
            return;
        }
        if let Some((from, to)) = told_accepted.zip(told_delivered) {
            self.on_both(cohort, to, Counted::Part(Part::ToDeliver(bin(from, to))));
        }
        if let Some((from, to)) = told_delivered.zip(read) {
            self.on_both(cohort, to, Counted::Part(Part::ToRead(bin(from, to))));
        }
        if let Some((at, bill)) = message.billed() {
            self.on_both(cohort, at, Counted::Part(Part::Bill(bill)));
        }
    }

    fn on_both(&mut self, cohort: DateTime<Utc>, happened: DateTime<Utc>, counted: Counted) {
        self.at(StatsBasis::Cohort, cohort, counted.clone());
        self.at(StatsBasis::EventTime, happened, counted);
    }

    fn at(&mut self, basis: StatsBasis, at: DateTime<Utc>, counted: Counted) {
        self.counted.push((basis, at.timestamp().div_euclid(QUARTER_S), counted));
    }
}

/// A test is told apart from its campaign, whose counts it stays out of.
fn campaign_of(header: &MessageHeader) -> Option<Uuid> {
    header.campaign_id.filter(|_| !header.is_test).map(|id| id.0)
}

fn category_of(header: &MessageHeader) -> &'static str {
    BillingCategory::of(header.category()).as_str()
}

/// FNV-1a of 128 bits over what the group's messages have in common: the same on every node and in every rebuild.
fn group_of(header: &MessageHeader) -> Uuid {
    let template = header.template.as_ref();
    let id = |id: Option<Uuid>| id.unwrap_or_default().into_bytes();
    let ids = [
        header.account_id.0.into_bytes(),
        id(campaign_of(header)),
        id(template.map(|template| template.id.0)),
    ];
    let country = header.country.as_ref().map_or("", |country| country.as_str());
    let language = template.map_or("", |template| &template.language);
    // Texts end with a byte that none of them has.
    let texts = [category_of(header), country, language].map(|text| text.bytes().chain([0xff]));
    let bytes = ids.into_iter().flatten().chain(texts.into_iter().flatten());
    Uuid::from_u128(bytes.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    }))
}

fn group_row(id: Uuid, header: &MessageHeader) -> Vec<Value> {
    let template = header.template.as_ref();
    vec![
        id.into(),
        header.workspace_id.0.into(),
        header.account_id.0.into(),
        campaign_of(header).into(),
        template.map(|template| template.id.0).into(),
        template.map(|template| template.language.as_str()).into(),
        category_of(header).into(),
        header.country.as_ref().map(|country| country.as_str()).into(),
    ]
}

/// Account, basis, quarter and group.
type Cell = (Uuid, StatsBasis, i64, Uuid);

/// The differences that a batch makes. What cancels out is written all the same: then the rows that there are do not depend
/// on how the log was divided into batches.
#[derive(Default)]
pub(super) struct Stats {
    measures: BTreeMap<Cell, [i64; StatsMeasure::COUNT]>,
    parts: BTreeMap<(Cell, Part), i64>,
    groups: BTreeMap<Uuid, Vec<Value>>,
    failures: BTreeMap<String, (Option<i64>, String)>,
}

impl Stats {
    /// `message`: as it is after the change.
    pub fn change(&mut self, before: Option<Standing>, after: Option<Standing>, message: &Message) {
        if before == after {
            return;
        }
        let (mut gone, mut come) = (before, after);
        if let (Some(gone), Some(come)) = (&mut gone, &mut come)
            && gone.group == come.group
        {
            gone.counted.retain(|counted| match come.counted.iter().position(|it| it == counted) {
                Some(place) => {
                    come.counted.swap_remove(place);
                    false
                }
                None => true,
            });
        }
        if let (Some(come), Some(header)) = (&come, &message.header) {
            self.groups.entry(come.group).or_insert_with(|| group_row(come.group, header));
        }
        for (standing, step) in [(gone, -1), (come, 1)] {
            let Some(Standing { account_id, group, counted }) = standing else { continue };
            for (basis, quarter, counted) in counted {
                let cell = (account_id, basis, quarter, group);
                match counted {
                    Counted::Measure(measure) => {
                        self.measures.entry(cell).or_default()[measure as usize] += step;
                    }
                    Counted::Part(part) => {
                        if let Part::Failure(key) = &part
                            && step > 0
                            && !self.failures.contains_key(key)
                        {
                            let (code, title) = failure(message);
                            self.failures.insert(key.clone(), (code, title.to_owned()));
                        }
                        *self.parts.entry((cell, part)).or_default() += step;
                    }
                }
            }
        }
    }

    pub fn into_writes(self) -> [Write; 4] {
        let cell = |(account_id, basis, quarter, group): Cell| -> Vec<Value> {
            vec![account_id.into(), (basis as i64).into(), quarter.into(), group.into()]
        };
        let measures = self.measures.into_iter().map(|(key, counts)| {
            let mut row = cell(key);
            row.extend(counts.map(Value::from));
            row
        });
        let parts = self.parts.into_iter().map(|((key, part), count)| {
            let mut row = cell(key);
            row.extend(part.columns());
            row.push(count.into());
            row
        });
        let failures = self
            .failures
            .into_iter()
            .map(|(key, (code, title))| vec![key.into(), code.into(), title.into()]);
        [
            Write::Upsert { table: &STATS, rows: measures.collect() },
            Write::Upsert { table: &STATS_PARTS, rows: parts.collect() },
            Write::Upsert { table: &STATS_GROUPS, rows: self.groups.into_values().collect() },
            Write::Upsert { table: &STATS_FAILURES, rows: failures.collect() },
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_795_000_000_000 + ms).unwrap()
    }

    proptest! {
        #[test]
        fn a_bin_is_near_everything_in_it_and_bins_grow_with_what_is_in_them(
            ms in 0_i64..10_000_000_000,
            more in 0_i64..10_000_000,
        ) {
            let (seconds, told) = (ms as f64 / 1_000.0, seconds_of_bin(bin(at(0), at(ms))));
            prop_assert!((told - seconds).abs() <= (seconds * 0.016).max(0.1), "{seconds} {told}");
            prop_assert!(bin(at(0), at(ms)) <= bin(at(0), at(ms + more)));
        }
    }

    #[test]
    fn what_is_short_is_told_to_the_tenth_and_what_cannot_be_is_none() {
        for (ms, seconds) in [(0, 0.0), (99, 0.0), (1_000, 1.0), (6_399, 6.3), (-5_000, 0.0)] {
            assert_eq!(seconds_of_bin(bin(at(0), at(ms))), seconds, "{ms}");
        }
        let longest = bin(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
        assert!(seconds_of_bin(longest) > 2e8);
        assert!(seconds_of_bin(u32::MAX).is_finite());
    }
}
