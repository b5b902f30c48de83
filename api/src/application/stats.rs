//! What became of messages, by time and by what they have in common. Read from counters, so that it takes as long for ten
//! messages as for millions.

mod buckets;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use domain::api_key::Scope;
use domain::campaign::Campaign;
use domain::port::Position;
use domain::pricing::{Amount, Bill, Cost, RateCard, cost};
use domain::primitives::WorkspaceId;
use projections::{
    QUARTER_S, StatsCounts, StatsKey, StatsMeasure, StatsPart, StatsPartCount, StatsParts,
    StatsQuery,
};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::campaigns::FailureCount;
use super::error::{AppError, AppResult};
use super::{Caller, check, command, read, workspaces};
use crate::app::Gateway;
pub use buckets::StatsBucket;
use buckets::{Bucket, buckets};

/// Buckets of one answer, and rows.
const BUCKETS_MAX: usize = 2_000;
pub const ROWS_MAX: usize = 2_000;
/// Rows of the details (bins of durations, bills, failures) that one answer is made from.
const PARTS_MAX: usize = 200_000;
/// Answers put together at a time: each may hold that many.
static AT_ONCE: Semaphore = Semaphore::const_new(1);
/// Ids in one list of a filter.
const FILTER_MAX: usize = 200;
/// Accounts that one answer is about.
const ACCOUNTS_MAX: usize = 1_000;

/// What rows are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatsDimension {
    Of(projections::StatsDimension),
    /// WhatsApp's code of why they failed: of `failed` and `failures` alone, the rest is in the row without one.
    FailureCode,
}

impl StatsDimension {
    fn name(self) -> &'static str {
        use projections::StatsDimension as Dimension;
        match self {
            Self::Of(Dimension::Account) => "ACCOUNT",
            Self::Of(Dimension::Campaign) => "CAMPAIGN",
            Self::Of(Dimension::Template) => "TEMPLATE",
            Self::Of(Dimension::Language) => "LANGUAGE",
            Self::Of(Dimension::Country) => "COUNTRY",
            Self::Of(Dimension::Category) => "CATEGORY",
            Self::FailureCode => "FAILURE_CODE",
        }
    }
}

#[derive(Clone, Debug)]
pub struct StatsFilter {
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub to: DateTime<Utc>,
    pub bucket: StatsBucket,
    pub basis: projections::StatsBasis,
    pub group_by: Vec<StatsDimension>,
    pub workspace_id: Option<String>,
    pub account_ids: Vec<String>,
    pub campaign_ids: Vec<String>,
    /// `None`: UTC.
    pub time_zone: Option<String>,
}

/// One bucket of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsRow {
    /// When the bucket begins.
    pub bucket: DateTime<Utc>,
    /// By the dimensions' names; `None` where nothing tells rows apart.
    pub group: Option<Map<String, Value>>,
    counts: [u64; StatsMeasure::COUNT],
    pub median_seconds_to_deliver: Option<f64>,
    pub median_seconds_to_read: Option<f64>,
    /// The most frequent first.
    pub failures: Vec<FailureCount>,
    pub cost: Option<Cost>,
}

impl StatsRow {
    pub fn count(&self, measure: StatsMeasure) -> u64 {
        self.counts[measure as usize]
    }
}

/// The rows that count anything, by bucket and group. `parts`: what of the details is wanted. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an id in the filter; VALIDATION_FAILED for a range that ends before it begins, a zone that is
/// none, and more buckets or rows than one answer has; STALE.
pub async fn delivery(
    gateway: &Gateway,
    caller: &Caller,
    filter: StatsFilter,
    mut parts: StatsParts,
    min_position: Option<Position>,
) -> AppResult<Vec<StatsRow>> {
    caller.require(Scope::Read)?;
    check::at_most(&filter.campaign_ids, FILTER_MAX, "filter.campaignIds")?;
    let workspace = filter.workspace_id.as_deref();
    let workspaces_of =
        accounts(gateway, caller, workspace, &filter.account_ids, "filter.").await?;
    let mut campaigns = vec![];
    for id in &filter.campaign_ids {
        campaigns.push(command::known::<Campaign>(gateway, caller, id, "campaign").await?.0);
    }
    let buckets = buckets_of(&filter)?;
    let group_by: BTreeSet<StatsDimension> = filter.group_by.iter().copied().collect();
    if group_by.len() < filter.group_by.len() {
        return Err(AppError::invalid("filter.groupBy", "name each dimension once"));
    }
    let by_code = group_by.contains(&StatsDimension::FailureCode);
    parts.failures |= by_code;
    read::wait_all(gateway, min_position).await?;
    if workspaces_of.is_empty() {
        return Ok(vec![]);
    }
    let query = StatsQuery {
        basis: filter.basis,
        buckets: buckets.iter().map(|bucket| bucket.quarters.clone()).collect(),
        accounts: workspaces_of.keys().copied().collect(),
        campaigns: read::asked(campaigns),
        group_by: group_by
            .iter()
            .filter_map(|dimension| match dimension {
                StatsDimension::Of(dimension) => Some(*dimension),
                StatsDimension::FailureCode => None,
            })
            .collect(),
    };
    let queries = read::queries(gateway);
    let counts = queries.stats_counts(&query, ROWS_MAX + 1).await?;
    if counts.len() > ROWS_MAX {
        return Err(too_many_rows());
    }
    let _turn = AT_ONCE.acquire().await.map_err(AppError::internal)?;
    let found = queries.stats_parts(&query, parts, PARTS_MAX + 1).await?;
    if found.len() > PARTS_MAX {
        return Err(AppError::invalid(
            "filter",
            "that is too much to find medians, costs and failures of; ask for a shorter time, longer buckets or fewer groups, \
             or select fewer of these fields",
        ));
    }
    let ids = workspaces_of.values().map(|id| WorkspaceId(*id));
    let cards = workspaces::rate_cards(gateway, ids).await?;
    let mut tables = Tables::new(counts, by_code);
    for part in found {
        let workspace = workspaces_of.get(&part.account_id).copied().unwrap_or_default();
        tables.add(part, WorkspaceId(workspace));
    }
    if tables.rows.len() > ROWS_MAX {
        return Err(too_many_rows());
    }
    Ok(tables.into_rows(&buckets, &group_by, &cards))
}

/// Whose messages are counted, and when: by their cohort, as [`projections::StatsBasis::Cohort`] says it.
#[derive(Clone, Debug)]
pub struct CountsFilter {
    pub workspace_id: Option<String>,
    pub account_ids: Vec<String>,
    pub from: DateTime<Utc>,
    /// Exclusive; `None`: now.
    pub to: Option<DateTime<Utc>>,
}

/// What became of the messages of a period: `recipients = pending + in_doubt + accepted + failed + cancelled + skipped`, as in
/// a campaign's progress.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageCounts {
    counts: [u64; StatsMeasure::COUNT],
    /// The most frequent first.
    pub failures: Vec<FailureCount>,
    pub cost: Option<Cost>,
}

impl MessageCounts {
    pub fn count(&self, measure: StatsMeasure) -> u64 {
        self.counts[measure as usize]
    }

    /// Expired ones too.
    pub fn failed(&self) -> u64 {
        self.count(StatsMeasure::Failed) + self.count(StatsMeasure::Expired)
    }

    pub fn recipients(&self) -> u64 {
        use StatsMeasure::{Accepted, Cancelled, InDoubt, Queued, Skipped};
        let others = [Queued, InDoubt, Accepted, Cancelled, Skipped];
        others.into_iter().map(|measure| self.count(measure)).sum::<u64>() + self.failed()
    }
}

/// The counts of a period, from counters: in the same time for any number of messages. `parts`: what of the details is
/// wanted. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an id; VALIDATION_FAILED for a period that ends before it begins, or one with more details than
/// one answer is made from.
pub async fn counts(
    gateway: &Gateway,
    caller: &Caller,
    filter: CountsFilter,
    parts: StatsParts,
) -> AppResult<MessageCounts> {
    caller.require(Scope::Read)?;
    let workspace = filter.workspace_id.as_deref();
    let workspaces_of = accounts(gateway, caller, workspace, &filter.account_ids, "").await?;
    let to = filter.to.unwrap_or_else(|| gateway.clock.now());
    // What is asked for from now on is nothing yet.
    if filter.to.is_some_and(|to| to <= filter.from) {
        return Err(AppError::invalid("to", "use an instant after `from`"));
    }
    if to <= filter.from || workspaces_of.is_empty() {
        return Ok(MessageCounts::default());
    }
    let quarter = QUARTER_S * 1_000;
    let first = filter.from.timestamp_millis().div_euclid(quarter);
    let end = (to.timestamp_millis() - 1).div_euclid(quarter) + 1;
    let query = StatsQuery {
        basis: projections::StatsBasis::Cohort,
        buckets: std::iter::once(first..end).collect(),
        accounts: workspaces_of.keys().copied().collect(),
        campaigns: None,
        group_by: vec![],
    };
    let queries = read::queries(gateway);
    let counts = queries.stats_counts(&query, 2).await?;
    let _turn = AT_ONCE.acquire().await.map_err(AppError::internal)?;
    let found = queries.stats_parts(&query, parts, PARTS_MAX + 1).await?;
    if found.len() > PARTS_MAX {
        return Err(AppError::invalid(
            "from",
            "that is too much to find costs and failures of; ask for a shorter time, or select fewer of these fields",
        ));
    }
    let ids = workspaces_of.values().map(|id| WorkspaceId(*id));
    let cards = workspaces::rate_cards(gateway, ids).await?;
    let mut tables = Tables::new(counts, false);
    for part in found {
        let workspace = workspaces_of.get(&part.account_id).copied().unwrap_or_default();
        tables.add(part, WorkspaceId(workspace));
    }
    let bucket = Bucket { start: filter.from, quarters: first..end };
    let row = tables.into_rows(&[bucket], &BTreeSet::new(), &cards).into_iter().next();
    Ok(row.map_or_else(MessageCounts::default, |row| MessageCounts {
        counts: row.counts,
        failures: row.failures,
        cost: row.cost,
    }))
}

fn too_many_rows() -> AppError {
    let problem = format!(
        "the answer would have more than {ROWS_MAX} rows, one for each bucket and group; ask for a shorter time, longer \
         buckets or fewer groups"
    );
    AppError::invalid("filter.groupBy", problem)
}

/// The accounts that are asked for, with their workspaces. `prefix` is where they stand in the caller's input.
async fn accounts(
    gateway: &Gateway,
    caller: &Caller,
    workspace_id: Option<&str>,
    account_ids: &[String],
    prefix: &str,
) -> AppResult<BTreeMap<Uuid, Uuid>> {
    check::at_most(account_ids, FILTER_MAX, &format!("{prefix}accountIds"))?;
    let workspace = match workspace_id {
        Some(id) => {
            let field = format!("{prefix}workspaceId");
            Some(command::workspace(gateway, caller, Some(id), &field).await?.0)
        }
        None => None,
    };
    let asked = command::accounts(gateway, caller, account_ids).await?;
    let asked = read::asked(asked.into_iter().map(|id| id.0).collect());
    let scope = read::scope(caller).within(workspace);
    let found = read::queries(gateway).stats_accounts(&scope, asked.as_deref()).await?;
    if found.len() > ACCOUNTS_MAX {
        let problem = format!("more than {ACCOUNTS_MAX} accounts are in sight; name some of them");
        return Err(AppError::invalid(format!("{prefix}accountIds"), problem));
    }
    Ok(found.into_iter().collect())
}

fn buckets_of(filter: &StatsFilter) -> AppResult<Vec<Bucket>> {
    if filter.to <= filter.from {
        return Err(AppError::invalid("filter.to", "use an instant after `from`"));
    }
    let zone = filter.time_zone.as_deref().map_or(Ok(Tz::UTC), str::parse).map_err(|_| {
        AppError::invalid("filter.timeZone", "use an IANA time zone such as Europe/Berlin")
    })?;
    buckets((filter.from, filter.to), filter.bucket, zone, BUCKETS_MAX).ok_or_else(|| {
        let problem = format!(
            "from `from` to `to` there are more than {BUCKETS_MAX} {}; ask for a shorter time or longer buckets",
            filter.bucket.noun()
        );
        AppError::invalid("filter.bucket", problem)
    })
}

/// Of one row, before it is priced and sorted.
#[derive(Default)]
struct Table {
    counts: [u64; StatsMeasure::COUNT],
    to_deliver: Vec<(f64, u64)>,
    to_read: Vec<(f64, u64)>,
    bills: BTreeMap<WorkspaceId, BTreeMap<Bill, u64>>,
    failures: BTreeMap<(Option<i64>, String), u64>,
}

/// The rows by bucket, group and failure code.
struct Tables {
    rows: BTreeMap<(StatsKey, Option<i64>), Table>,
    by_code: bool,
}

impl Tables {
    fn new(counts: Vec<StatsCounts>, by_code: bool) -> Self {
        let rows = counts.into_iter().map(|it| {
            let counts = StatsMeasure::ALL.map(|measure| it.get(measure));
            ((it.key, None), Table { counts, ..Table::default() })
        });
        Self { rows: rows.collect(), by_code }
    }

    fn add(&mut self, StatsPartCount { key, part, count, .. }: StatsPartCount, of: WorkspaceId) {
        let code = match &part {
            StatsPart::Failure { code, .. } if self.by_code => *code,
            _ => None,
        };
        if code.is_some() {
            // It moves to a row of its own.
            let failed = StatsMeasure::Failed as usize;
            if let Some(rest) = self.rows.get_mut(&(key.clone(), None)) {
                rest.counts[failed] = rest.counts[failed].saturating_sub(count);
            }
            self.rows.entry((key.clone(), code)).or_default().counts[failed] += count;
        }
        let row = self.rows.entry((key, code)).or_default();
        match part {
            StatsPart::ToDeliver(seconds) => row.to_deliver.push((seconds, count)),
            StatsPart::ToRead(seconds) => row.to_read.push((seconds, count)),
            StatsPart::Bill(key) => {
                if let Some(bill) = Bill::parse_key(&key) {
                    *row.bills.entry(of).or_default().entry(bill).or_default() += count;
                }
            }
            StatsPart::Failure { code, title } => {
                *row.failures.entry((code, title)).or_default() += count;
            }
        }
    }

    fn into_rows(
        self,
        buckets: &[Bucket],
        group_by: &BTreeSet<StatsDimension>,
        cards: &HashMap<WorkspaceId, RateCard>,
    ) -> Vec<StatsRow> {
        let is_any = |table: &Table| table.counts.iter().any(|count| *count > 0);
        let rows = self.rows.into_iter().filter(|(_, table)| is_any(table));
        let rows = rows.filter_map(|((key, code), table)| {
            let mut values =
                key.group.into_iter().map(|value| value.map_or(Value::Null, Value::from));
            let named = group_by.iter().map(|dimension| {
                let value = match dimension {
                    StatsDimension::Of(_) => values.next().unwrap_or_default(),
                    StatsDimension::FailureCode => code.map_or(Value::Null, Value::from),
                };
                (dimension.name().to_owned(), value)
            });
            let group = (!group_by.is_empty()).then(|| named.collect());
            let mut failures: Vec<FailureCount> = table
                .failures
                .into_iter()
                .map(|((code, title), count)| FailureCount { code, title, count })
                .collect();
            failures.sort_by_key(|failure| (std::cmp::Reverse(failure.count), failure.code));
            Some(StatsRow {
                bucket: buckets.get(key.bucket)?.start,
                group,
                counts: table.counts,
                median_seconds_to_deliver: median(table.to_deliver),
                median_seconds_to_read: median(table.to_read),
                failures,
                cost: cost_of(&table.bills, cards),
            })
        });
        rows.collect()
    }
}

/// The middle one of so many of each; of an even number, the mean of the two in the middle.
fn median(mut values: Vec<(f64, u64)>) -> Option<f64> {
    values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let total: u64 = values.iter().map(|(_, count)| count).sum();
    let at = |place: u64| {
        let mut seen = 0;
        values.iter().find_map(|(value, count)| {
            seen += count;
            (seen > place).then_some(*value)
        })
    };
    let (low, high) = (at(total.checked_sub(1)? / 2)?, at(total / 2)?);
    Some((low + high) / 2.0)
}

/// What messages of several workspaces cost together, each by its own card.
fn cost_of(
    bills: &BTreeMap<WorkspaceId, BTreeMap<Bill, u64>>,
    cards: &HashMap<WorkspaceId, RateCard>,
) -> Option<Cost> {
    let no_card = RateCard::default();
    let costs = bills.iter().map(|(workspace, bills)| {
        let card = cards.get(workspace).unwrap_or(&no_card);
        cost(card, bills.iter().map(|(bill, count)| (bill, *count)))
    });
    // Where nothing is known of one workspace's costs, nothing is of the sum.
    let costs: Vec<Cost> = costs.collect::<Option<_>>()?;
    costs.into_iter().reduce(|one, other| {
        let is_one_currency = one.currency.is_some() && one.currency == other.currency;
        let amounts = one.amount.zip(other.amount).filter(|_| is_one_currency);
        Cost {
            amount: amounts.map(|(one, other): (Amount, Amount)| one.plus(other)),
            currency: one.currency.filter(|_| is_one_currency),
            estimated: one.estimated || other.estimated,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![(3.0, 1)]), Some(3.0));
        assert_eq!(median(vec![(9.0, 1), (1.0, 1)]), Some(5.0));
        assert_eq!(median(vec![(9.0, 1), (1.0, 2)]), Some(1.0));
        assert_eq!(median(vec![(9.0, 3), (1.0, 2), (5.0, 1)]), Some(7.0));
    }

    #[test]
    fn failures_by_code_leave_the_row_of_the_rest() {
        let key = StatsKey { bucket: 0, group: vec![] };
        let mut tables = Tables { rows: BTreeMap::new(), by_code: true };
        let mut all = Table::default();
        all.counts[StatsMeasure::Failed as usize] = 5;
        all.counts[StatsMeasure::Read as usize] = 7;
        tables.rows.insert((key.clone(), None), all);
        for (code, count) in [(Some(131_026), 3), (None, 2)] {
            let part = StatsPart::Failure { code, title: "it failed".to_owned() };
            let part = StatsPartCount { key: key.clone(), account_id: Uuid::nil(), part, count };
            tables.add(part, WorkspaceId(Uuid::nil()));
        }
        let start = DateTime::UNIX_EPOCH;
        let buckets = [Bucket { start, quarters: 0..4 }];
        let group_by = BTreeSet::from([StatsDimension::FailureCode]);
        let rows = tables.into_rows(&buckets, &group_by, &HashMap::new());
        let seen: Vec<_> = rows
            .iter()
            .map(|row| {
                let code = row.group.as_ref().unwrap()["FAILURE_CODE"].as_i64();
                let counts = (row.count(StatsMeasure::Failed), row.count(StatsMeasure::Read));
                (code, counts, row.failures.iter().map(|failure| failure.count).sum::<u64>())
            })
            .collect();
        assert_eq!(seen, [(None, (2, 7), 2), (Some(131_026), (3, 0), 3)]);
    }
}
