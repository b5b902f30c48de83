//! Campaigns' counts.

use std::collections::BTreeMap;

use domain::message::{Message, MessageCommand, MessageStatus, SkipReason};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::harness::*;
use crate::{CampaignCounts, MessageFilter, PageRequest, Scope, Stored};

/// The counts, from the messages themselves.
fn recount(messages: &[Message]) -> CampaignCounts {
    let mut counts = CampaignCounts::default();
    for message in messages {
        let header = message.header.as_ref().unwrap();
        if header.campaign_id != Some(CAMPAIGN) || header.is_test {
            continue;
        }
        counts.recipients += 1;
        let engagement = &message.engagement;
        counts.replied += u64::from(engagement.replied_at.is_some());
        counts.clicked += u64::from(!engagement.clicks.is_empty());
        counts.opted_out += u64::from(engagement.opted_out_at.is_some());
        for label in engagement.clicks.keys().filter(|label| !label.is_empty()) {
            *counts.buttons.entry(label.clone()).or_default() += 1;
        }
        if let Some(bill) = message.bill() {
            *counts.bills.entry(bill.key()).or_default() += 1;
        }
        match message.status() {
            MessageStatus::Scheduled | MessageStatus::Queued | MessageStatus::Sending => {
                counts.pending += 1;
            }
            MessageStatus::InDoubt => counts.in_doubt += 1,
            MessageStatus::Cancelled => counts.cancelled += 1,
            MessageStatus::Failed | MessageStatus::Expired => counts.failed += 1,
            MessageStatus::Skipped => {
                counts.skipped += 1;
                *counts.skips.entry(message.skip.unwrap()).or_default() += 1;
            }
            status => {
                counts.accepted += 1;
                counts.sent += u64::from(status >= MessageStatus::Sent);
                counts.delivered += u64::from(status >= MessageStatus::Delivered);
                counts.read += u64::from(status >= MessageStatus::Read);
            }
        }
    }
    counts
}

fn assert_adds_up(counts: &CampaignCounts) {
    let parts = counts.pending
        + counts.in_doubt
        + counts.accepted
        + counts.failed
        + counts.cancelled
        + counts.skipped;
    assert_eq!(counts.recipients, parts, "{counts:?}");
    assert!(counts.accepted >= counts.sent && counts.sent >= counts.delivered, "{counts:?}");
    assert!(counts.delivered >= counts.read, "{counts:?}");
    assert_eq!(counts.skips.values().sum::<u64>(), counts.skipped, "{counts:?}");
    let failures: u64 = counts.failures.values().map(|failure| failure.count).sum();
    assert_eq!(failures, counts.failed, "{counts:?}");
    // Whatever WhatsApp has is billed as something, and nothing else is.
    assert_eq!(counts.bills.values().sum::<u64>(), counts.accepted, "{counts:?}");
}

#[test]
fn counts_add_up_and_equal_a_recount_at_every_moment() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(histories::ops(10..40), 1..5), |parts| {
            runtime.block_on(async {
                for db in TestDb::all().await {
                    let log = Log::default();
                    histories::start(&log);
                    let projections = db.projections(&log).await;
                    let queries = projections.queries();
                    let mut now = 100;
                    let mut history = BTreeMap::new();
                    for ops in &parts {
                        // A new second, so that this moment and the one before differ in the history.
                        now = histories::run(&log, ops, now + 1_000);
                        projections.catch_up(None).await.unwrap();
                        let filter = MessageFilter::default();
                        let page = PageRequest::first(500);
                        let found =
                            queries.messages(&Scope::everything(), &filter, &page).await.unwrap();
                        let messages: Vec<Message> =
                            found.into_items().into_iter().map(Stored::into_state).collect();
                        let expected = recount(&messages);
                        let found =
                            queries.campaign_progress(&[CAMPAIGN.0], at(now)).await.unwrap();
                        let counts = found.get(&CAMPAIGN.0).cloned().unwrap_or_default().counts;
                        assert_adds_up(&counts);
                        let plain = CampaignCounts { failures: BTreeMap::new(), ..counts.clone() };
                        assert_eq!(plain, expected);
                        history.insert(now, counts);
                    }
                    for (ms, counts) in history {
                        let then =
                            queries.campaign_progress_as_of(CAMPAIGN.0, at(ms)).await.unwrap();
                        assert_eq!(then.counts, counts, "as of {ms}");
                    }
                    let never = queries.campaign_progress_as_of(CAMPAIGN.0, at(0)).await.unwrap();
                    assert_eq!(never.counts, CampaignCounts::default());
                    db.close().await;
                }
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn speed_and_the_end_follow_from_the_last_minute() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        for n in 0..90 {
            queue(&log, n, header(n % 6, Some(CAMPAIGN)), 0, 0);
        }
        for n in 0..60 {
            let (message_id, ms) = (id(0x10_0000 + n), 1_000 * n as i64);
            let request = MessageCommand::RequestSend { attempt: 1, send_by: at(ms), at: at(ms) };
            log.command::<Message>(message_id, request, at(ms));
            let wamid = domain::primitives::Wamid::parse(&format!("wamid.{n}")).unwrap();
            let accepted =
                MessageCommand::RecordAccepted { attempt: 1, wamid, held: false, at: at(ms) };
            log.command::<Message>(message_id, accepted, at(ms));
        }
        let projections = db.projections(&log).await;
        projections.catch_up(None).await.unwrap();
        let queries = projections.queries();
        let progress = queries.campaign_progress(&[CAMPAIGN.0], at(60_000)).await.unwrap();
        let progress = &progress[&CAMPAIGN.0];
        assert_eq!((progress.counts.accepted, progress.counts.pending), (60, 30));
        assert!((0.9..=1.1).contains(&progress.messages_per_second), "{progress:?}");
        let left = (progress.estimated_completion.unwrap() - at(60_000)).num_seconds();
        assert!((27..=33).contains(&left), "{left}");
        let idle = queries.campaign_progress(&[CAMPAIGN.0], at(600_000)).await.unwrap();
        assert_eq!(idle[&CAMPAIGN.0].messages_per_second, 0.0);
        assert_eq!(idle[&CAMPAIGN.0].estimated_completion, None);
        // The curve of it: evenly spread, up to the last change, and at each moment what was known then.
        for (until, points, last) in
            [(600_000, 7, 59_000), (600_000, 500, 59_000), (30_500, 2, 30_000)]
        {
            let asked = (at(0), at(until));
            let curve = queries.campaign_curve(CAMPAIGN.0, asked, points).await.unwrap();
            assert!((2..=points as usize).contains(&curve.len()), "{}", curve.len());
            assert_eq!((curve[0].0, curve[curve.len() - 1].0), (at(0), at(last)));
            let steps: Vec<_> = curve.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
            assert!(
                steps[..steps.len() - 1].windows(2).all(|pair| pair[0] == pair[1]),
                "{steps:?}"
            );
            for (moment, counts) in curve {
                let then = queries.campaign_progress_as_of(CAMPAIGN.0, moment).await.unwrap();
                assert_eq!(counts, then.counts, "at {moment}");
            }
        }
        let later = (at(60_000), at(600_000));
        assert_eq!(queries.campaign_curve(CAMPAIGN.0, later, 9).await.unwrap(), []);
        db.close().await;
    }
}

#[tokio::test]
async fn skips_are_counted_by_reason_and_tests_not_at_all() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        for (n, reason) in [SkipReason::OptedOut, SkipReason::NoConsent, SkipReason::NoConsent]
            .into_iter()
            .enumerate()
        {
            let message_id = queue(&log, n as u128, header(n as u128, Some(CAMPAIGN)), 0, 0);
            let skip = MessageCommand::Skip { reason, detail: None, at: at(1) };
            log.command::<Message>(message_id, skip, at(1));
        }
        let mut test = header(5, Some(CAMPAIGN));
        test.is_test = true;
        queue(&log, 9, test, 0, 0);
        let projections = db.projections(&log).await;
        projections.catch_up(None).await.unwrap();
        let progress = projections.queries().campaign_progress(&[CAMPAIGN.0], at(2)).await.unwrap();
        let counts = &progress[&CAMPAIGN.0].counts;
        assert_eq!((counts.recipients, counts.skipped), (3, 3));
        assert_eq!(
            counts.skips,
            BTreeMap::from([(SkipReason::OptedOut, 1), (SkipReason::NoConsent, 2)])
        );
        db.close().await;
    }
}
