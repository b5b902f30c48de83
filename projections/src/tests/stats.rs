//! Statistics, against a count of the messages themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::{DateTime, Utc};
use domain::message::{DeliveryStatus, Direction, Message, MessageCommand, MessageStatus};
use domain::primitives::Wamid;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use super::harness::*;
use crate::{
    MessageFilter, PageRequest, QUARTER_S, Queries, Scope, StatsBasis, StatsDimension, StatsKey,
    StatsMeasure, StatsPart, StatsParts, StatsQuery,
};

const ALL_PARTS: StatsParts =
    StatsParts { to_deliver: true, to_read: true, bills: true, failures: true };
const GROUPS: [StatsDimension; 6] = [
    StatsDimension::Account,
    StatsDimension::Campaign,
    StatsDimension::Template,
    StatsDimension::Language,
    StatsDimension::Country,
    StatsDimension::Category,
];

/// Everything that one bucket and group counts: measures, bills and failures by name, and how long it took, in
/// milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Count {
    counts: BTreeMap<String, u64>,
    to_deliver: Vec<i64>,
    to_read: Vec<i64>,
}

fn quarter(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(QUARTER_S)
}

/// The contract's words, message by message, with nothing that the read model keeps.
fn recount(messages: &[(Message, DateTime<Utc>)], query: &StatsQuery) -> BTreeMap<StatsKey, Count> {
    let mut found: BTreeMap<StatsKey, Count> = BTreeMap::new();
    for (message, settled) in messages {
        let header = message.header.as_ref().unwrap();
        if message.direction == Direction::Inbound {
            continue;
        }
        let campaign = header.campaign_id.filter(|_| !header.is_test).map(|id| id.0);
        if query
            .campaigns
            .as_ref()
            .is_some_and(|only| campaign.is_none_or(|id| !only.contains(&id)))
        {
            continue;
        }
        let template = header.template.as_ref();
        let group = query.group_by.iter().map(|dimension| match dimension {
            StatsDimension::Account => Some(header.account_id.to_string()),
            StatsDimension::Campaign => campaign.map(|id| id.to_string()),
            StatsDimension::Template => template.map(|template| template.id.to_string()),
            StatsDimension::Language => template.map(|template| template.language.clone()),
            StatsDimension::Country => header.country.map(|country| country.to_string()),
            StatsDimension::Category => {
                Some(template.map_or("SERVICE", |template| template.category.as_str()).to_owned())
            }
        });
        let group: Vec<Option<String>> = group.collect();
        let status = message.status();
        let at_whatsapp = [
            MessageStatus::Accepted,
            MessageStatus::Sent,
            MessageStatus::Delivered,
            MessageStatus::Read,
            MessageStatus::Failed,
        ]
        .contains(&status);
        let told = |status: DeliveryStatus| message.status_at(status).filter(|_| at_whatsapp);
        let statuses = [
            DeliveryStatus::Sent,
            DeliveryStatus::Failed,
            DeliveryStatus::Delivered,
            DeliveryStatus::Read,
            DeliveryStatus::Played,
        ];
        let accepted = message.accepted_at().filter(|_| at_whatsapp);
        let was_accepted = accepted.or_else(|| statuses.into_iter().filter_map(told).min());
        let read = told(DeliveryStatus::Read).or(told(DeliveryStatus::Played));
        let delivered = told(DeliveryStatus::Delivered).or(read);
        let sent = told(DeliveryStatus::Sent).or(delivered);
        let made = message.created_at.unwrap();
        let cohort = was_accepted.or(message.tried_at()).unwrap_or(made);
        let failed = status == MessageStatus::Failed;

        let mut add =
            |happened: Option<DateTime<Utc>>, holds: bool, change: &dyn Fn(&mut Count)| {
                let at = match query.basis {
                    StatsBasis::Cohort => holds.then_some(cohort),
                    StatsBasis::EventTime => happened,
                };
                let Some(at) = at else { return };
                let is_in = |bucket: &Range<i64>| bucket.contains(&quarter(at));
                let Some(bucket) = query.buckets.iter().position(is_in) else { return };
                let key = StatsKey { bucket, group: group.clone() };
                change(found.entry(key).or_default());
            };
        let named = |name: String| {
            move |count: &mut Count| *count.counts.entry(name.clone()).or_default() += 1
        };
        let measure = |measure: StatsMeasure| named(format!("{measure:?}"));
        use StatsMeasure as M;
        let waits = [MessageStatus::Scheduled, MessageStatus::Queued, MessageStatus::Sending]
            .contains(&status);
        let planned = message.first_due_at.map(|_| made);
        add(planned, waits, &measure(M::Queued));
        for (what, at) in [
            (M::Accepted, was_accepted),
            (M::Sent, sent),
            (M::Delivered, delivered),
            (M::Read, read),
        ] {
            add(at, at.is_some() && !failed, &measure(what));
        }
        let replied = message.engagement.replied_at;
        add(replied, replied.is_some(), &measure(M::Replied));
        for (what, known) in [
            (M::Skipped, MessageStatus::Skipped),
            (M::Expired, MessageStatus::Expired),
            (M::Cancelled, MessageStatus::Cancelled),
        ] {
            let is = status == known;
            add(is.then_some(*settled), is, &measure(what));
        }
        let doubted = message.doubted_at();
        add(doubted, status == MessageStatus::InDoubt, &measure(M::InDoubt));
        let failed_at = message.failed_at();
        add(failed_at, failed, &measure(M::Failed));
        if failed {
            let key = match message.failure() {
                Some(failure) => {
                    failure.code.map_or_else(|| failure.title.clone(), |code| code.to_string())
                }
                None => "given up: nobody knows whether it was sent".to_owned(),
            };
            add(failed_at, true, &named(format!("failure {key}")));
            continue;
        }
        let told_delivered = told(DeliveryStatus::Delivered);
        if let Some((from, to)) = accepted.zip(told_delivered) {
            let took = (to - from).num_milliseconds().max(0);
            add(Some(to), true, &|count| count.to_deliver.push(took));
        }
        if let Some((from, to)) = told_delivered.zip(read) {
            let took = (to - from).num_milliseconds().max(0);
            add(Some(to), true, &|count| count.to_read.push(took));
        }
        if let Some((at, bill)) = message.billed() {
            add(Some(at), true, &named(format!("bill {}", bill.key())));
        }
    }
    found
}

/// As the read model tells it; durations as what stands for them.
async fn told(queries: &Queries, query: &StatsQuery) -> BTreeMap<StatsKey, Count> {
    let mut found: BTreeMap<StatsKey, Count> = BTreeMap::new();
    for row in queries.stats_counts(query, 10_000).await.unwrap() {
        let count = found.entry(row.key.clone()).or_default();
        for measure in StatsMeasure::ALL.into_iter().filter(|measure| row.get(*measure) > 0) {
            count.counts.insert(format!("{measure:?}"), row.get(measure));
        }
    }
    for row in queries.stats_parts(query, ALL_PARTS, 100_000).await.unwrap() {
        let count = found.entry(row.key).or_default();
        let ms = |seconds: f64| vec![(seconds * 1_000.0) as i64; row.count as usize];
        match row.part {
            StatsPart::ToDeliver(seconds) => count.to_deliver.extend(ms(seconds)),
            StatsPart::ToRead(seconds) => count.to_read.extend(ms(seconds)),
            StatsPart::Bill(bill) => {
                *count.counts.entry(format!("bill {bill}")).or_default() += row.count;
            }
            StatsPart::Failure { code, title } => {
                let key = code.map_or(title, |code| code.to_string());
                *count.counts.entry(format!("failure {key}")).or_default() += row.count;
            }
        }
    }
    found
}

fn assert_near(mut told: Vec<i64>, mut exact: Vec<i64>) {
    told.sort_unstable();
    exact.sort_unstable();
    assert_eq!(told.len(), exact.len());
    for (told, exact) in told.into_iter().zip(exact) {
        assert!((told - exact).abs() <= (exact / 60).max(101), "{told} {exact}");
    }
}

fn assert_told(told: BTreeMap<StatsKey, Count>, exact: BTreeMap<StatsKey, Count>) {
    assert_eq!(told.keys().collect::<Vec<_>>(), exact.keys().collect::<Vec<_>>());
    for (key, exact) in exact {
        let told = told[&key].clone();
        assert_eq!(told.counts, exact.counts, "{key:?}");
        assert_near(told.to_deliver, exact.to_deliver);
        assert_near(told.to_read, exact.to_read);
    }
}

/// Quarters around what the histories tell.
fn buckets(now: i64) -> Vec<Range<i64>> {
    let (first, last) = (quarter(at(0)), quarter(at(now + 120_000)));
    // The first two together, and the others by themselves.
    let mut buckets = std::iter::once(first..first + 2).collect::<Vec<_>>();
    buckets.extend((first + 2..=last).map(|quarter| quarter..quarter + 1));
    buckets
}

/// When each message was last settled, from the log itself.
fn settled_in(log: &Log, id: Uuid) -> DateTime<Utc> {
    let types = ["message.skipped", "message.cancelled", "message.expired"];
    log.last_of(id, &types).unwrap_or(at(0))
}

async fn messages(queries: &Queries, log: &Log) -> Vec<(Message, DateTime<Utc>)> {
    let filter = MessageFilter::default();
    let page = PageRequest::first(500);
    let found = queries.messages(&Scope::everything(), &filter, &page).await.unwrap();
    let ids = found.items.into_iter().map(|(_, stored)| stored.id);
    ids.map(|id| (log.fold::<Message>(id), settled_in(log, id))).collect()
}

#[test]
fn statistics_equal_a_recount_at_every_moment_by_whatever_they_are_told_apart() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let histories = prop::collection::vec(histories::ops(20..60), 1..5);
    let groups = prop::collection::btree_set(prop::sample::select(GROUPS.to_vec()), 0..4);
    let strategy = (histories, groups, prop::collection::vec(1_usize..40, 1..6));
    runner
        .run(&strategy, |(parts, group_by, sizes)| {
            runtime.block_on(check(parts, group_by, sizes));
            Ok(())
        })
        .unwrap();
}

async fn check(
    parts: Vec<Vec<histories::Op>>,
    group_by: BTreeSet<StatsDimension>,
    sizes: Vec<usize>,
) {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        log.in_batches_of(sizes.clone());
        let projections = db.projections(&log).await;
        let queries = projections.queries();
        let mut now = 100;
        for ops in &parts {
            // Half an hour later.
            now = histories::run(&log, ops, now + 1_800_000);
            projections.catch_up(None).await.unwrap();
            let all = messages(&queries, &log).await;
            for basis in [StatsBasis::Cohort, StatsBasis::EventTime] {
                for campaigns in [None, Some(vec![CAMPAIGN.0])] {
                    let query = StatsQuery {
                        basis,
                        buckets: buckets(now),
                        accounts: vec![ACCOUNT.0],
                        campaigns,
                        group_by: group_by.iter().copied().collect(),
                    };
                    assert_told(told(&queries, &query).await, recount(&all, &query));
                }
            }
            add_up_to_the_progress(&queries, now).await;
        }
        db.close().await;
    }
}

/// By cohort, a campaign's statistics are its progress.
async fn add_up_to_the_progress(queries: &Queries, now: i64) {
    let first = quarter(at(0));
    let query = StatsQuery {
        basis: StatsBasis::Cohort,
        buckets: std::iter::once(first..first + 10_000).collect(),
        accounts: vec![ACCOUNT.0],
        campaigns: Some(vec![CAMPAIGN.0]),
        group_by: vec![],
    };
    let progress = queries.campaign_progress(&[CAMPAIGN.0], at(now)).await.unwrap();
    let progress = progress.get(&CAMPAIGN.0).map(|it| it.counts.clone()).unwrap_or_default();
    let rows = queries.stats_counts(&query, 10).await.unwrap();
    let get = |measure| rows.first().map_or(0, |row| row.get(measure));
    use StatsMeasure as M;
    let ours = [
        get(M::Queued),
        get(M::InDoubt),
        get(M::Accepted),
        get(M::Sent),
        get(M::Delivered),
        get(M::Read),
        get(M::Replied),
        get(M::Failed) + get(M::Expired),
        get(M::Cancelled),
        get(M::Skipped),
    ];
    let theirs = [
        progress.pending,
        progress.in_doubt,
        progress.accepted,
        progress.sent,
        progress.delivered,
        progress.read,
        progress.replied,
        progress.failed,
        progress.cancelled,
        progress.skipped,
    ];
    assert_eq!(ours, theirs);
    let parts = StatsParts { bills: true, ..StatsParts::default() };
    let bills = queries.stats_parts(&query, parts, 1_000).await.unwrap();
    let bills: BTreeMap<String, u64> = bills
        .into_iter()
        .map(|row| match row.part {
            StatsPart::Bill(key) => (key, row.count),
            other => panic!("{other:?} was not asked for"),
        })
        .collect();
    assert_eq!(bills, progress.bills);
}

/// One row of counters for a campaign of any size.
#[tokio::test]
async fn there_are_no_more_rows_for_more_messages() {
    let db = TestDb::sqlite().await;
    let log = Log::default();
    histories::start(&log);
    let rows_of = |dump: BTreeMap<&'static str, Vec<String>>| {
        ["stats", "stats_parts", "stats_groups"].map(|table| dump[table].len())
    };
    let projections = db.projections(&log).await;
    let mut sizes = vec![];
    for part in 0..2 {
        for n in part * 40..part * 40 + 40 {
            let message_id = queue(&log, n, header(n % 6, Some(CAMPAIGN)), 0, 0);
            let command =
                MessageCommand::RequestSend { attempt: 1, send_by: at(10_000), at: at(0) };
            log.command::<Message>(message_id, command, at(0));
            let wamid = Wamid::parse(&format!("wamid.{n}")).unwrap();
            let command =
                MessageCommand::RecordAccepted { attempt: 1, wamid, held: false, at: at(0) };
            log.command::<Message>(message_id, command, at(0));
        }
        projections.catch_up(None).await.unwrap();
        sizes.push(rows_of(dump(&db.db).await));
    }
    assert_eq!(sizes[0], sizes[1]);
    db.close().await;
}
