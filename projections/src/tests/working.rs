//! What dispatch asks.

use std::collections::HashMap;

use domain::message::{
    Content, Failure, KeepAway, Message, MessageCommand, MessageHeader, Priority, Recipient,
};
use domain::primitives::{CampaignId, Wamid};
use domain::template::TemplateCategory;
use uuid::Uuid;

use super::harness::*;
use crate::{DueBacklog, Projections};

fn request(log: &Log, message_id: Uuid, attempt: u32, ms: i64) {
    let request = MessageCommand::RequestSend { attempt, send_by: at(ms + 10_000), at: at(ms) };
    assert!(log.command::<Message>(message_id, request, at(ms)));
}

async fn filled(db: &TestDb, log: &Log) -> Projections {
    let projections = db.projections(log).await;
    projections.catch_up(None).await.unwrap();
    projections
}

#[tokio::test]
async fn due_messages_come_by_priority_then_time_and_paused_campaigns_stay_out() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let other = CampaignId(id(0xbeef));
        let bulk = queue(&log, 1, header(1, Some(CAMPAIGN)), 0, 0);
        let early = queue(&log, 2, header(2, Some(other)), -500, 0);
        let single = queue(&log, 3, header(3, None), 0, 0);
        let reply = MessageHeader { priority: Priority::Reply, ..header(4, None) };
        let reply = queue(&log, 4, reply, 0, 0);
        let later = queue(&log, 5, header(5, Some(CAMPAIGN)), 60_000, 0);
        let later_single = queue(&log, 6, header(0, None), 30_000, 0);
        let projections = filled(&db, &log).await;
        let queries = projections.queries();
        let due = async |now: i64, limit, excluded: &[Uuid]| -> Vec<Uuid> {
            let mut due = Vec::new();
            for campaign in queries.waiting_campaigns(ACCOUNT.0).await.unwrap() {
                if !excluded.contains(&campaign) {
                    let read = queries.due_in(ACCOUNT.0, campaign, at(now), [None; 3], limit);
                    due.extend(read.await.unwrap());
                }
            }
            due.sort_unstable_by_key(|item| (item.priority, item.at, item.message_id));
            due.truncate(limit);
            due.into_iter().map(|item| item.message_id).collect()
        };
        assert_eq!(due(10, 10, &[]).await, [reply, single, early, bulk]);
        assert_eq!(due(10, 2, &[]).await, [reply, single]);
        assert_eq!(due(10, 10, &[CAMPAIGN.0]).await, [reply, single, early]);
        assert_eq!(due(60_000, 10, &[]).await, [reply, single, later_single, early, bulk, later]);
        assert_eq!(due(-10_000, 10, &[]).await, Vec::<Uuid>::new());
        let next = async |excluded: &[Uuid]| {
            queries.next_due_at(ACCOUNT.0, at(30_000), excluded).await.unwrap()
        };
        assert_eq!(next(&[]).await, Some(at(60_000)));
        assert_eq!(next(&[CAMPAIGN.0]).await, None);
        assert_eq!(queries.accounts_with_agenda().await.unwrap(), [ACCOUNT.0]);
        let waiting = queries.waiting_of_campaign(CAMPAIGN.0, None, 10).await.unwrap();
        assert_eq!(waiting, [bulk, later]);
        assert_eq!(queries.waiting_of_campaign(CAMPAIGN.0, Some(bulk), 10).await.unwrap(), [later]);
        let behind = async |after: Option<Uuid>, limit| -> Vec<Uuid> {
            let after = after.map(|id| (at(0), id));
            let due = queries.due_in(ACCOUNT.0, CAMPAIGN.0, at(60_000), [None, None, after], limit);
            due.await.unwrap().into_iter().map(|item| item.message_id).collect()
        };
        assert_eq!(behind(None, 1).await, [bulk]);
        assert_eq!(behind(None, 10).await, [bulk, later]);
        assert_eq!(behind(Some(bulk), 10).await, [later]);
        let first = queries.due_in(ACCOUNT.0, CAMPAIGN.0, at(10), [None; 3], 10).await.unwrap();
        let item = &first[0];
        assert_eq!(item.campaign_id, Some(CAMPAIGN.0));
        assert_eq!(item.category, Some(TemplateCategory::Marketing));
        assert_eq!(item.expires_at, Some(at(3_600_000)));
        assert_eq!((item.attempts, item.contact_id), (0, id(1)));

        request(&log, bulk, 1, 20);
        log.command::<Message>(single, MessageCommand::Cancel { reason: None, at: at(20) }, at(20));
        projections.catch_up(None).await.unwrap();
        assert_eq!(due(10, 10, &[]).await, [reply, early]);
        assert_eq!(
            queries.due_backlog(at(10)).await.unwrap(),
            DueBacklog { due: 2, sending: 1, in_doubt: 0 }
        );
        db.close().await;
    }
}

#[tokio::test]
async fn attempts_without_an_outcome_and_in_doubt_are_found() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let message_id = queue(&log, 1, header(1, Some(CAMPAIGN)), 0, 0);
        request(&log, message_id, 1, 100);
        let projections = filled(&db, &log).await;
        let queries = projections.queries();
        let overdue = async |ms| queries.sending_overdue(ACCOUNT.0, at(ms)).await.unwrap();
        assert!(overdue(10_100).await.is_empty());
        assert_eq!(overdue(10_101).await[0].attempts, 1);

        let unknown = MessageCommand::RecordUnknown {
            attempt: 1,
            reason: "timeout".to_owned(),
            grace_until: at(600_000),
            at: at(10_200),
        };
        assert!(log.command::<Message>(message_id, unknown, at(10_200)));
        projections.catch_up(None).await.unwrap();
        assert!(overdue(99_999_999).await.is_empty());
        let marketing = [Some(TemplateCategory::Marketing)];
        let doubt = async |ms, categories: &[Option<TemplateCategory>]| {
            queries.in_doubt_due(ACCOUNT.0, at(ms), categories).await.unwrap().len()
        };
        assert_eq!(doubt(599_999, &marketing).await, 0);
        assert_eq!(doubt(600_000, &marketing).await, 1);
        assert_eq!(doubt(600_000, &[None, Some(TemplateCategory::Utility)]).await, 0);
        let grace = queries.in_doubt_within_grace(&[CAMPAIGN.0], at(20_000)).await.unwrap();
        assert_eq!(grace[&CAMPAIGN.0], 1);
        let over = queries.in_doubt_within_grace(&[CAMPAIGN.0], at(600_000)).await.unwrap();
        assert!(over.is_empty());
        db.close().await;
    }
}

#[tokio::test]
async fn every_attempt_of_the_last_minutes_is_told() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let failure = || Failure {
            code: Some(130_429),
            title: "slow down".to_owned(),
            details: None,
            retryable: true,
            keep_away: None,
        };
        let message_id = queue(&log, 1, header(1, None), 0, 0);
        for (attempt, ms) in [(1, 100), (2, 5_000), (3, 9_000)] {
            request(&log, message_id, attempt, ms);
            let refused = MessageCommand::RecordRefused {
                attempt,
                failure: failure(),
                retry_at: Some(at(ms + 1_000)),
                at: at(ms + 10),
            };
            assert!(log.command::<Message>(message_id, refused, at(ms + 10)));
        }
        let other = queue(&log, 2, header(2, None), 0, 0);
        request(&log, other, 1, 7_000);
        let projections = filled(&db, &log).await;
        let queries = projections.queries();
        assert_eq!(
            queries.recent_attempts(ACCOUNT.0, at(5_000)).await.unwrap(),
            [(id(1), at(5_000)), (id(2), at(7_000)), (id(1), at(9_000))]
        );
        assert!(queries.recent_attempts(ACCOUNT.0, at(9_001)).await.unwrap().is_empty());
        // Of the three attempts of the first none got through, so nobody was reached and nobody had more marketing.
        let reaching = queries.attempts_that_reach(ACCOUNT.0, at(0)).await.unwrap();
        assert_eq!(reaching, [(id(2), at(7_000))]);
        let people = [id(1), id(2), id(3)];
        let sent = queries.marketing_sent(&people, at(6_000), 9).await.unwrap();
        assert_eq!(sent, HashMap::from([(id(2), vec![(other, at(7_000))])]));
        assert!(queries.marketing_sent(&people, at(7_001), 9).await.unwrap().is_empty());
        db.close().await;
    }
}

#[tokio::test]
async fn windows_open_with_inbound_messages_and_blocks_with_the_code() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        for (n, opens_window, ms) in [(1u128, true, 5_000), (2, true, 1_000), (3, false, 9_000)] {
            let receive = MessageCommand::Receive {
                header: Box::new(header(1, None)),
                from: Recipient { phone: Some(phone(1)), user_id: None },
                wamid: Wamid::parse(&format!("wamid.in{n}")).unwrap(),
                content: Content::Text { body: "hi".to_owned(), preview_url: false },
                opens_window,
                at: at(ms),
            };
            // The order of arrival does not matter: an older one after a younger one.
            assert!(log.command::<Message>(id(0x20_0000 + n), receive, at(10_000 + n as i64)));
        }
        let blocked = queue(&log, 1, header(2, Some(CAMPAIGN)), 0, 0);
        request(&log, blocked, 1, 100);
        let failure = Failure {
            code: Some(131_049),
            title: "not now".to_owned(),
            details: None,
            retryable: false,
            keep_away: None,
        };
        let refused =
            MessageCommand::RecordRefused { attempt: 1, failure, retry_at: None, at: at(200) };
        assert!(log.command::<Message>(blocked, refused, at(20_000)));
        let queries = filled(&db, &log).await.queries();
        let windows = queries.windows(ACCOUNT.0, &[id(1), id(2)]).await.unwrap();
        assert_eq!(windows.get(&id(1)), Some(&at(5_000)));
        assert_eq!(windows.get(&id(2)), None);
        let from = Recipient { phone: Some(phone(1)), user_id: None };
        let written = async |contact: u128, since: i64| {
            queries.written_from(ACCOUNT.0, &[id(contact), id(9)], at(since)).await.unwrap()
        };
        let opening = [(from.clone(), at(5_000)), (from, at(1_000))];
        assert_eq!(written(1, 0).await, opening, "one of the three opens nothing");
        assert_eq!(written(1, 5_000).await, opening[..1]);
        assert!(written(2, 0).await.is_empty());
        let blocks = queries.marketing_blocks(&[id(1), id(2)]).await.unwrap();
        assert_eq!(blocks.get(&id(2)), Some(&at(200 + 25 * 3_600_000)));
        assert_eq!(blocks.len(), 1);
        // Whom nobody can reach, as the failure says, is no block of marketing.
        let lost = queue(&log, 3, header(3, Some(CAMPAIGN)), 0, 0);
        request(&log, lost, 1, 100);
        let keep_away = Some(KeepAway { marketing_only: false, seconds: 60 });
        let failure = Failure {
            code: Some(131_026),
            title: "undeliverable".to_owned(),
            details: None,
            retryable: false,
            keep_away,
        };
        let refused =
            MessageCommand::RecordRefused { attempt: 1, failure, retry_at: None, at: at(300) };
        assert!(log.command::<Message>(lost, refused, at(20_000)));
        let queries = filled(&db, &log).await.queries();
        let unreachable = queries.unreachable(&[id(2), id(3)]).await.unwrap();
        assert_eq!(unreachable.into_iter().collect::<Vec<_>>(), [(id(3), at(60_300))]);
        assert_eq!(queries.marketing_blocks(&[id(3)]).await.unwrap().len(), 0);
        // Only what came by webhook shows that WhatsApp is heard.
        let heard = queries.heard_since(ACCOUNT.0, at(0)).await.unwrap();
        assert_eq!((heard.first(), heard.last()), (Some(&at(10_001)), Some(&at(10_003))));
        let activity = queries.account_activity(&[ACCOUNT.0]).await.unwrap()[&ACCOUNT.0];
        assert_eq!(activity.last_inbound_at, Some(at(10_003)));
        assert_eq!((activity.last_outbound_at, activity.last_status_at), (None, None));
        db.close().await;
    }
}

/// A test of a campaign is on the agenda as a message of none: it waits for nothing that its campaign waits for, and goes
/// when the campaign is cancelled.
#[tokio::test]
async fn a_test_is_due_as_a_message_of_no_campaign() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let mut test = header(1, Some(CAMPAIGN));
        (test.is_test, test.priority) = (true, Priority::Single);
        let test = queue(&log, 1, test, 0, 0);
        let projections = filled(&db, &log).await;
        let queries = projections.queries();
        assert_eq!(queries.waiting_campaigns(ACCOUNT.0).await.unwrap(), [Uuid::nil()]);
        let due = queries.due_in(ACCOUNT.0, Uuid::nil(), at(10), [None; 3], 10).await.unwrap();
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].message_id, due[0].campaign_id), (test, None));
        assert!(queries.waiting_of_campaign(CAMPAIGN.0, None, 10).await.unwrap().is_empty());
        assert!(queries.campaigns_with_agenda().await.unwrap().is_empty());
        db.close().await;
    }
}
