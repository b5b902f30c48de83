//! Projectors: batches, checkpoints, rebuilds, failures, erasure.

use std::time::Duration;

use domain::contact::{Contact, ContactCommand};
use domain::message::{Message, MessageCommand};
use domain::port::{AggregateType, Position, StreamId};
use domain::primitives::Wamid;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::harness::*;
use crate::store::Sql;
use crate::{ProjectionState, QueryError, StoreError, names};

const SOON: Duration = Duration::from_secs(20);

async fn caught_up(db: &TestDb, log: &Log) -> crate::Projections {
    let projections = db.projections(log).await;
    projections.catch_up(None).await.unwrap();
    projections
}

fn check_histories(cases: u32, check: impl Fn(Vec<histories::Op>, Vec<usize>)) {
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let strategy = (histories::ops(20..160), prop::collection::vec(1usize..40, 1..6));
    runner
        .run(&strategy, |(ops, sizes)| {
            check(ops, sizes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_division_into_batches_gives_the_same_tables_as_one_by_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (is_postgres, cases) in [(false, 24), (true, 4)] {
        check_histories(cases, |ops, sizes| {
            runtime.block_on(async {
                let log = Log::default();
                histories::start(&log);
                // Half of it is read while it grows, so that an erasure finds rows that were written in the clear.
                let (first, second) = ops.split_at(ops.len() / 2);
                let mut dumps = Vec::new();
                let mut databases = Vec::new();
                for batches in [vec![1], sizes, vec![]] {
                    let db = if is_postgres {
                        let Some(db) = TestDb::postgres().await else { return };
                        db
                    } else {
                        TestDb::sqlite().await
                    };
                    databases.push((db, batches));
                }
                let now = histories::run(&log, first, 100);
                let mut running = Vec::new();
                for (db, batches) in &databases {
                    log.in_batches_of(batches.clone());
                    running.push(caught_up(db, &log).await);
                }
                histories::run(&log, second, now);
                for ((db, batches), projections) in databases.into_iter().zip(running) {
                    log.in_batches_of(batches);
                    projections.catch_up(None).await.unwrap();
                    dumps.push(dump(&db.db).await);
                    db.close().await;
                }
                assert_same(&dumps[0], &dumps[1]);
                assert_same(&dumps[0], &dumps[2]);
            });
        });
    }
}

#[test]
fn a_rebuild_equals_what_was_kept_up_to_date() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    check_histories(12, |ops, sizes| {
        runtime.block_on(async {
            for db in TestDb::all().await {
                let log = Log::default();
                histories::start(&log);
                let (first, second) = ops.split_at(ops.len() / 2);
                let now = histories::run(&log, first, 100);
                log.in_batches_of(sizes.clone());
                let projections = caught_up(&db, &log).await;
                histories::run(&log, second, now);
                projections.catch_up(None).await.unwrap();
                let live = dump(&db.db).await;
                for name in names::ALL {
                    projections.rebuild_now(name).await.unwrap().unwrap();
                }
                assert_same(&live, &dump(&db.db).await);
                assert!(db.db.tables().await.unwrap().iter().all(|table| !table.ends_with("_g1")));
                db.close().await;
            }
        });
    });
}

/// After an upgrade that changed the tables, and where they were thrown away: never an answer from half of the log.
#[tokio::test]
async fn tables_of_a_new_shape_answer_once_they_have_caught_up_and_not_before() {
    for db in TestDb::all().await {
        let log = Log::default();
        // Of an empty log there is nothing to catch up with.
        let projections = db.projections(&log).await;
        assert_eq!(all_messages(&projections).await.unwrap(), 0);
        histories::start(&log);
        for n in 0..40 {
            queue(&log, n, header(n % 6, Some(CAMPAIGN)), 0, 10);
        }
        projections.catch_up(None).await.unwrap();
        assert_eq!(all_messages(&projections).await.unwrap(), 40);

        for changed in [
            "UPDATE projections SET version = 0 WHERE name = 'messages'",
            "DELETE FROM projections WHERE name = 'messages'",
        ] {
            let drop_tables = if changed.starts_with("DELETE") {
                let entry = crate::registry::load(&db.db, &crate::messages::SCHEMA).await.unwrap();
                let generation = entry.unwrap().generation;
                let tables = crate::messages::SCHEMA.tables.iter();
                let drops = tables.map(|table| format!("DROP TABLE {}_g{generation};", table.name));
                drops.collect::<String>()
            } else {
                String::new()
            };
            db.db.batch(format!("{changed}; {drop_tables}")).await.unwrap();
            log.in_batches_of(vec![]);
            let upgraded = db.projections(&log).await;
            let is_building = |refused: Result<u64, QueryError>| {
                matches!(
                    refused,
                    Err(QueryError::Store(StoreError::Building { name: names::MESSAGES }))
                )
            };
            assert!(is_building(all_messages(&upgraded).await), "{changed}");
            // What was not changed answers as before.
            let contacts = upgraded.queries().accounts_by_waba("1").await;
            assert!(contacts.is_ok(), "{changed}");
            let status = |all: Vec<crate::ProjectionStatus>| {
                let of = all.into_iter().find(|status| status.name == names::MESSAGES).unwrap();
                (of.is_building, of.state)
            };
            let building = (true, ProjectionState::Rebuilding);
            assert_eq!(status(upgraded.status().await.unwrap()), building);
            let soon = Duration::from_millis(50);
            assert!(upgraded.wait_for(names::MESSAGES, Position(1), soon).await.is_err());
            // Most of it read, and stopped before the end: still nothing.
            let events = log.len();
            let stream = StreamId::new(AggregateType::Message, id(9_999));
            log.push(
                stream,
                "message.queued",
                serde_json::json!({ "no": "message" }),
                None,
                at(20),
            );
            log.in_batches_of(vec![7]);
            assert!(upgraded.catch_up(None).await.is_err());
            let entry = crate::registry::load(&db.db, &crate::messages::SCHEMA).await.unwrap();
            assert!(entry.unwrap().position > 0);
            assert!(is_building(all_messages(&upgraded).await), "{changed}");
            log.truncate(events);
            let again = db.projections(&log).await;
            assert!(is_building(all_messages(&again).await), "{changed}");
            again.catch_up(None).await.unwrap();
            assert_eq!(all_messages(&again).await.unwrap(), 40, "{changed}");
            let live = (false, ProjectionState::Live);
            assert_eq!(status(again.status().await.unwrap()), live);
            again.wait_for(names::MESSAGES, Position(log.head()), soon).await.unwrap();
        }
        db.close().await;
    }
}

async fn all_messages(projections: &crate::Projections) -> Result<u64, QueryError> {
    let filter = crate::MessageFilter::default();
    let request = crate::PageRequest::after(100, None);
    let queries = projections.queries();
    let page = queries.messages(&crate::Scope::everything(), &filter, &request).await?;
    Ok(page.into_items().len() as u64)
}

#[tokio::test]
async fn a_rebuild_goes_on_while_the_log_grows_and_readers_read() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        for n in 0..300 {
            queue(&log, n, header(n % 6, Some(CAMPAIGN)), 0, 10);
        }
        log.in_batches_of(vec![7, 13]);
        let projections = db.projections(&log).await;
        let running = tokio::spawn({
            let projections = projections.clone();
            async move { projections.run().await }
        });
        projections.wait_for_all(Position(log.head()), SOON).await.unwrap();
        assert!(projections.rebuild(names::MESSAGES).await.unwrap());
        let queries = projections.queries();
        for n in 300..400 {
            queue(&log, n, header(n % 6, Some(CAMPAIGN)), 0, 10);
            let message =
                queries.messages_by_id(&crate::Scope::everything(), &[id(0x10_0000)]).await;
            assert_eq!(message.unwrap().len(), 1, "the old tables answer until the new ones do");
        }
        let rebuilt = async {
            loop {
                let status = projections.status().await.unwrap();
                let messages = status.iter().find(|s| s.name == names::MESSAGES).unwrap();
                if messages.rebuild_progress.is_none() {
                    assert_eq!(messages.state, ProjectionState::Live);
                    return;
                }
                assert_eq!(messages.state, ProjectionState::Rebuilding);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, rebuilt).await.unwrap();
        projections.wait_for_all(Position(log.head()), SOON).await.unwrap();
        let live = dump(&db.db).await;
        assert_eq!(live["messages"].len(), 400);
        running.abort();

        let fresh = TestDb::sqlite().await;
        if db.name == "sqlite" {
            caught_up(&fresh, &log).await;
            assert_same(&live, &dump(&fresh.db).await);
        }
        db.close().await;
    }
}

#[tokio::test]
async fn a_rebuild_that_was_cut_off_is_finished_after_a_restart() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        for n in 0..50 {
            queue(&log, n, header(n % 6, None), 0, 10);
        }
        let projections = caught_up(&db, &log).await;
        let live = dump(&db.db).await;
        // Asked for, and never begun before the process ended.
        assert!(projections.rebuild(names::MESSAGES).await.unwrap());
        assert!(!projections.rebuild(names::MESSAGES).await.unwrap());
        drop(projections);
        let again = db.projections(&log).await;
        let running = tokio::spawn({
            let again = again.clone();
            async move { again.run().await }
        });
        let rebuilt = async {
            while again.status().await.unwrap().iter().any(|s| s.rebuild_progress.is_some()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, rebuilt).await.unwrap();
        running.abort();
        assert_same(&live, &dump(&db.db).await);
        db.close().await;
    }
}

#[tokio::test]
async fn two_projectors_on_one_database_write_each_event_once() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        log.in_batches_of(vec![3, 5, 2]);
        let (one, two) = (db.projections(&log).await, db.projections(&log).await);
        let running = [one.clone(), two.clone()]
            .map(|projections| tokio::spawn(async move { projections.run().await }));
        for n in 0..200 {
            let message_id = queue(&log, n, header(n % 6, Some(CAMPAIGN)), 0, 10);
            let request = MessageCommand::RequestSend { attempt: 1, send_by: at(100), at: at(20) };
            log.command::<Message>(message_id, request, at(20));
            if n % 20 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let head = Position(log.head());
        one.wait_for_all(head, SOON).await.unwrap();
        two.wait_for_all(head, SOON).await.unwrap();
        running.iter().for_each(tokio::task::JoinHandle::abort);
        let both = dump(&db.db).await;
        let alone = TestDb::sqlite().await;
        log.in_batches_of(vec![]);
        caught_up(&alone, &log).await;
        let alone = dump(&alone.db).await;
        assert_eq!(both["messages"].len(), 200);
        assert_same(&both, &alone);
        db.close().await;
    }
}

#[tokio::test]
async fn an_unknown_event_is_passed_over_and_an_unreadable_one_stops_the_projector_until_it_can_be_read()
 {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        let stream = StreamId::new(AggregateType::Message, id(1));
        log.push(
            stream,
            "message.teleported",
            serde_json::json!({"type": "message.teleported"}),
            None,
            at(1),
        );
        queue(&log, 1, header(1, None), 0, 10);
        let good =
            log.replace_data("message.queued", serde_json::json!({"type": "message.queued"}));
        queue(&log, 2, header(2, None), 0, 10);

        let projections = db.projections(&log).await;
        let running = tokio::spawn({
            let projections = projections.clone();
            async move { projections.run().await }
        });
        let failed = async {
            loop {
                let status = projections.status().await.unwrap();
                let messages = status.iter().find(|s| s.name == names::MESSAGES).unwrap();
                if messages.state == ProjectionState::Failed {
                    return messages.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let status = tokio::time::timeout(SOON, failed).await.unwrap();
        assert!(status.error.unwrap().starts_with("EVENT_UNREADABLE message.queued at "));
        assert!(status.lag > 0);
        // The others go on.
        let head = Position(log.head());
        projections.wait_for(names::CONTACTS, head, SOON).await.unwrap();
        let stale = projections.wait_for(names::MESSAGES, head, Duration::from_millis(50)).await;
        assert_eq!(stale.unwrap_err().wanted, head);

        log.replace_data("message.queued", good);
        projections.wait_for(names::MESSAGES, head, SOON).await.unwrap();
        let status = projections.status().await.unwrap();
        assert!(
            status.iter().all(|s| s.state == ProjectionState::Live && s.lag == 0),
            "{status:?}"
        );
        assert_eq!(dump(&db.db).await["messages"].len(), 2);
        running.abort();
        db.close().await;
    }
}

#[tokio::test]
async fn a_log_that_was_replaced_by_a_shorter_one_is_read_from_its_beginning() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        let kept = log.len();
        for n in 0..20 {
            queue(&log, n, header(n % 6, None), 0, 10);
        }
        drop(caught_up(&db, &log).await);
        log.truncate(kept);
        caught_up(&db, &log).await;
        let tables = dump(&db.db).await;
        assert_eq!((tables["messages"].len(), tables["contacts"].len()), (0, 6));
        db.close().await;
    }
}

#[tokio::test]
async fn tables_of_another_shape_are_built_anew() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        drop(caught_up(&db, &log).await);
        let before = dump(&db.db).await;
        let older =
            Sql::new("UPDATE projections SET version = version - 1 WHERE name = 'contacts'");
        assert!(db.db.commit(&db.db.live(), &older, vec![]).await.unwrap());
        caught_up(&db, &log).await;
        assert_same(&before, &dump(&db.db).await);
        let tables = db.db.tables().await.unwrap();
        assert!(tables.contains(&"contacts_g2".to_owned()), "{tables:?}");
        assert!(!tables.contains(&"contacts_g1".to_owned()), "{tables:?}");
        db.close().await;
    }
}

#[tokio::test]
async fn a_newer_versions_tables_are_left_alone() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        drop(caught_up(&db, &log).await);
        let newer =
            Sql::new("UPDATE projections SET version = version + 1 WHERE name = 'contacts'");
        assert!(db.db.commit(&db.db.live(), &newer, vec![]).await.unwrap());
        add_contact(&log, 50, &[], 0);
        let projections = db.projections(&log).await;
        let refused = projections.catch_up(None).await;
        assert!(matches!(refused, Err(crate::ProjectError::OtherVersion)), "{refused:?}");
        assert_eq!(dump(&db.db).await["contacts"].len(), 6);
        db.close().await;
    }
}

#[tokio::test]
async fn nothing_of_an_erased_person_is_left() {
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        for n in 0..12 {
            let message_id = queue(&log, n, header(n % 6, Some(CAMPAIGN)), 0, 10);
            let request = MessageCommand::RequestSend { attempt: 1, send_by: at(100), at: at(20) };
            log.command::<Message>(message_id, request, at(20));
            let wamid = Wamid::parse(&format!("wamid.Marker{}.x", n % 6)).unwrap();
            let accepted =
                MessageCommand::RecordAccepted { attempt: 1, wamid, held: false, at: at(30) };
            log.command::<Message>(message_id, accepted, at(30));
        }
        let projections = caught_up(&db, &log).await;
        let has = |tables: &std::collections::BTreeMap<&str, Vec<String>>, text: &str| {
            tables.values().flatten().any(|row| row.contains(text))
        };
        let secrets = ["Marker3", "marker3", "15100000003", "crm-3", "order-1507643", "order-3"];
        let before = dump(&db.db).await;
        assert!(has(&before, "Marker3") && has(&before, "15100000003") && has(&before, "crm-3"));
        let docs = packed_docs(&db.db, &secrets).await;
        assert_eq!(docs.len(), 3, "the person's own and two messages");
        let in_files = |bytes: &[u8]| {
            db.directory.as_ref().is_some_and(|directory| {
                let files = std::fs::read_dir(directory.path()).unwrap();
                let mut files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
                files.any(|file| file.windows(bytes.len()).any(|part| part == bytes))
            })
        };
        assert_eq!(docs.iter().all(|doc| in_files(doc)), db.directory.is_some());
        let erase =
            ContactCommand::Erase { reason: "asked".to_owned(), suppressions: vec![], at: at(40) };
        assert!(log.command::<Contact>(id(3), erase, at(40)));
        projections.catch_up(None).await.unwrap();
        let after = dump(&db.db).await;
        for secret in secrets {
            assert!(!has(&after, secret), "{secret} in {after:?}");
        }
        assert!(has(&after, "Marker2"), "the others keep theirs");
        let counts = |tables: &std::collections::BTreeMap<&str, Vec<String>>| {
            tables["campaign_counts"].clone()
        };
        assert_eq!(counts(&before), counts(&after));

        while !projections.scrub().await.unwrap() {
            tokio::task::yield_now().await;
        }
        for secret in secrets {
            assert!(!in_files(secret.as_bytes()), "{secret} in a file");
        }
        assert!(!docs.iter().any(|doc| in_files(doc)), "a document in a file");
        db.close().await;
    }
}
