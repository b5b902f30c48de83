//! The seals: what was tampered with in the database is found, and where.

use chrono::{DateTime, Duration, TimeZone, Utc};
use domain::contact::Contact;
use domain::message::Message;
use domain::port::{AggregateType, EventFilter, Position, StoredEvent};
use infrastructure::audit::{BLOCK_EVENTS, Digest, Progress, Report, Sealer, Verifier};
use infrastructure::event_store::{Database, OpenStore};
use infrastructure::ledger::{Ledger, Upcasters, erase_contact};
use ledger_support::{TestStore, context, plan, tag, update};
use sqlx::Executor;
use uuid::Uuid;

mod ledger_support;

on_both_stores!(
    a_log_that_nobody_touched_holds,
    one_byte_of_one_event_is_found,
    a_deleted_event_is_found,
    two_swapped_events_are_found,
    every_part_of_an_event_is_sealed,
    an_added_event_is_found,
    a_log_that_was_cut_short_is_found,
    a_seal_that_was_changed_or_removed_is_found,
    a_log_whose_seals_were_written_anew_is_not_the_one_that_was_noted,
    an_erasure_breaks_no_seal,
    what_waits_is_sealed_in_time_and_by_one_sealer_only,
    a_long_log_is_sealed_in_blocks,
);

const PATIENCE: Duration = Duration::seconds(60);

/// Later than everything in the log is old.
fn later() -> DateTime<Utc> {
    Utc::now() + PATIENCE + Duration::seconds(1)
}

async fn sealer(store: &OpenStore) -> Sealer {
    Sealer::resume(store.log.clone(), store.seals.clone(), PATIENCE).await.unwrap()
}

async fn seal(store: &TestStore) {
    let mut sealer = sealer(store.store()).await;
    while sealer.follow(later()).await.unwrap() != (Progress::AtHead { unsealed: 0 }) {}
}

/// Three contacts with three events each and a message: ten positions.
async fn sealed(store: &TestStore) -> Vec<StoredEvent> {
    for number in ["+447700900001", "+447700900002", "+447700900003"] {
        let id = store.add_contact(number).await;
        for word in ["north", "south"] {
            store.bus().execute::<Contact>(id, tag(word), &context()).await.unwrap();
        }
    }
    let message = plan(Uuid::now_v7(), "hello");
    store.bus().execute::<Message>(Uuid::now_v7(), message, &context()).await.unwrap();
    seal(store).await;
    events(store).await
}

async fn events(store: &TestStore) -> Vec<StoredEvent> {
    store
        .reopened()
        .await
        .log
        .read_all(Position(0), &EventFilter::default(), 100)
        .await
        .unwrap()
        .events
}

async fn verify(store: &TestStore) -> Report {
    verify_noted(store, None).await
}

/// As a process of its own does.
async fn verify_noted(store: &TestStore, noted: Option<(u64, Digest)>) -> Report {
    let reopened = store.reopened().await;
    let ledger =
        Ledger::new(reopened.log.clone(), store.bus().keys().clone(), Upcasters::current());
    Verifier::new(ledger, reopened.seals.clone()).run(noted, |_, _| {}).await.unwrap()
}

/// Behind the gateway's back.
async fn tamper(store: &TestStore, sql: &str) {
    match &store.store().database {
        Database::Sqlite(db) => {
            let sql = sql.to_owned();
            db.write(move |tx| tx.execute_batch(&sql)).await.unwrap();
        }
        Database::Postgres(pool) => drop(pool.execute(sql).await.unwrap()),
    }
}

/// The positions that the seals point at.
fn located(report: &Report) -> Vec<u64> {
    let by_seals = report.findings.iter().filter(|finding| finding.seal.is_some());
    by_seals.filter_map(|finding| finding.position).collect()
}

async fn a_log_that_nobody_touched_holds(store: TestStore) {
    let empty = verify(&store).await;
    assert!(empty.holds() && empty.last_seal.is_none(), "{empty:?}");
    let events = sealed(&store).await;
    store.add_contact("+447700900004").await;
    let report = verify(&store).await;
    assert!(report.holds(), "{report:?}");
    assert_eq!((report.events, report.streams, report.seals), (11, 5, 1));
    assert_eq!((report.sealed, report.unsealed, report.out), (10, 1, 0));
    assert_eq!(report.head.0, events.last().unwrap().position.0 + 1);
}

async fn one_byte_of_one_event_is_found(store: TestStore) {
    let events = sealed(&store).await;
    for event in &events {
        let at = event.position.0;
        // A letter of the name of a field.
        let (before, after) = event.payload.split_at(3);
        let byte = if after.starts_with('X') { "Y" } else { "X" };
        let changed = format!("{before}{byte}{}", &after[1..]).replace('\'', "''");
        tamper(&store, &format!("UPDATE log SET payload = '{changed}' WHERE position = {at}"))
            .await;
        let report = verify(&store).await;
        assert_eq!(located(&report), [at], "{report:?}");
        let payload = event.payload.replace('\'', "''");
        tamper(&store, &format!("UPDATE log SET payload = '{payload}' WHERE position = {at}"))
            .await;
    }
    assert!(verify(&store).await.holds(), "it is as it was");
}

async fn a_deleted_event_is_found(store: TestStore) {
    let events = sealed(&store).await;
    // The last of a stream, so that no sequence tells.
    let last = events.iter().rfind(|event| event.stream.aggregate_type == AggregateType::Contact);
    let (last, stream) = last.map(|event| (event.position.0, event.stream)).unwrap();
    tamper(&store, &format!("DELETE FROM log WHERE position = {last}")).await;
    let report = verify(&store).await;
    assert_eq!(located(&report), [last], "{report:?}");
    assert_eq!(report.findings[0].stream, Some(stream.to_string()), "{report:?}");
    // The first of one: the stream is found too.
    let first = events[0].position.0;
    tamper(&store, &format!("DELETE FROM log WHERE position = {first}")).await;
    let report = verify(&store).await;
    assert!(located(&report).contains(&first) && located(&report).contains(&last), "{report:?}");
    let stream = Some(events[0].stream.to_string());
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.stream == stream || finding.problem.contains("cannot be read")),
        "{report:?}"
    );
}

async fn two_swapped_events_are_found(store: TestStore) {
    let events = sealed(&store).await;
    // Of two streams, so that each sequence is as it was.
    let (one, other) = (events[2].position.0, events[5].position.0);
    assert_ne!(events[2].stream, events[5].stream);
    for (from, to) in [(one, 1_000_000), (other, one), (1_000_000, other)] {
        let sql = format!("UPDATE log SET position = {to} WHERE position = {from}");
        tamper(&store, &sql).await;
    }
    let report = verify(&store).await;
    assert!(
        located(&report).starts_with(&[one]) && located(&report).contains(&other),
        "{report:?}"
    );
    let of = |at| {
        let mut by_seals = report.findings.iter().filter(|finding| finding.seal.is_some());
        by_seals.find(|finding| finding.position == Some(at)).unwrap()
    };
    for (at, is, was) in [(one, 5, 2), (other, 2, 5)] {
        let (is, was) = (events[is].stream.to_string(), events[was].stream.to_string());
        assert_eq!(of(at).stream.as_ref(), Some(&is), "{report:?}");
        assert!(of(at).problem.ends_with(&format!("that was one of {was}")), "{report:?}");
    }
}

async fn every_part_of_an_event_is_sealed(store: TestStore) {
    let events = sealed(&store).await;
    let at = events[8].position.0;
    let is_sqlite = matches!(store.store().database, Database::Sqlite(_));
    // Causes are checked by what they read as.
    let changes: &[(&str, &str)] = if is_sqlite {
        &[
            ("sequence", "sequence + 7"),
            ("kind", "(SELECT min(kind) FROM log)"),
            ("stream", "stream + 1000"),
            ("event_id", "zeroblob(16)"),
            ("correlation_id", "zeroblob(16)"),
            ("causation", "2"),
            ("subject", "zeroblob(16)"),
            ("lag", "lag + 1"),
            ("recorded_at", "recorded_at + 1"),
        ]
    } else {
        const NOBODY: &str = "'00000000-0000-0000-0000-000000000000'";
        &[
            ("sequence", "sequence + 7"),
            ("kind", "(SELECT min(kind) FROM log)"),
            ("aggregate_id", NOBODY),
            ("event_id", NOBODY),
            ("correlation_id", NOBODY),
            ("causation_id", NOBODY),
            ("subject", NOBODY),
            ("occurred_at", "occurred_at + interval '1 ms'"),
            ("recorded_at", "recorded_at + interval '1 ms'"),
        ]
    };
    for (column, value) in changes {
        tamper(&store, "CREATE TABLE kept AS SELECT * FROM log").await;
        tamper(&store, &format!("UPDATE log SET {column} = {value} WHERE position = {at}")).await;
        let report = verify(&store).await;
        assert!(located(&report).contains(&at), "{column}: {report:?}");
        let back = "DELETE FROM log; INSERT INTO log SELECT * FROM kept; DROP TABLE kept";
        tamper(&store, back).await;
        assert!(verify(&store).await.holds(), "{column} is as it was");
    }
}

async fn an_added_event_is_found(store: TestStore) {
    let events = sealed(&store).await;
    // In the place of another, as there is none between them.
    let at = events[8].position.0;
    tamper(&store, &format!("DELETE FROM log WHERE position = {at}")).await;
    store.add_contact("+447700900009").await;
    let head = store.store().log.head().await.unwrap();
    tamper(&store, &format!("UPDATE log SET position = {at} WHERE position = {head}")).await;
    let report = verify(&store).await;
    assert_eq!(located(&report), [at], "{report:?}");
}

async fn a_log_that_was_cut_short_is_found(store: TestStore) {
    let events = sealed(&store).await;
    let kept = events[7].position.0;
    tamper(&store, &format!("DELETE FROM log WHERE position > {kept}")).await;
    let report = verify(&store).await;
    assert_eq!(located(&report), [events[8].position.0, events[9].position.0], "{report:?}");
}

async fn a_seal_that_was_changed_or_removed_is_found(store: TestStore) {
    for number in 10..13 {
        store.add_contact(&format!("+4477009000{number}")).await;
        seal(&store).await;
    }
    let report = verify(&store).await;
    assert!(report.holds() && report.seals == 3, "{report:?}");
    tamper(&store, "CREATE TABLE kept AS SELECT * FROM audit_seals").await;
    let locators = match store.store().database {
        Database::Sqlite(_) => "UPDATE audit_seals SET locators = zeroblob(16) WHERE number = 2",
        Database::Postgres(_) => {
            "UPDATE audit_seals SET locators = set_byte(locators, 15, 255 - get_byte(locators, 15)) WHERE number = 2"
        }
    };
    for (sql, number) in [
        (locators, 2),
        ("UPDATE audit_seals SET last_position = 1000000 WHERE number = 2", 2),
        ("DELETE FROM audit_seals WHERE number = 2", 3),
        ("DELETE FROM audit_seals WHERE number = 1", 2),
        (
            "UPDATE audit_seals SET hash = (SELECT hash FROM audit_seals WHERE number = 1) WHERE number = 2",
            2,
        ),
        (
            "UPDATE audit_seals SET parts = replace(parts, 'events\":1', 'events\":0') WHERE number = 2",
            2,
        ),
        ("UPDATE audit_seals SET parts = '' WHERE number = 2", 2),
        ("UPDATE audit_seals SET first_position = 1 WHERE number = 3", 3),
    ] {
        tamper(&store, sql).await;
        let report = verify(&store).await;
        assert!(
            report.findings.iter().any(|finding| finding.seal == Some(number)),
            "{sql}: {report:?}"
        );
        if sql.starts_with("DELETE") || sql.contains("parts = ''") || sql == locators {
            assert_eq!(report.findings_total, 1, "{sql}: {report:?}");
        }
        let back = "DELETE FROM audit_seals; INSERT INTO audit_seals SELECT * FROM kept";
        tamper(&store, back).await;
    }
    assert!(verify(&store).await.holds());
}

async fn a_log_whose_seals_were_written_anew_is_not_the_one_that_was_noted(store: TestStore) {
    let events = sealed(&store).await;
    let noted = verify(&store).await.last_seal;
    assert!(verify_noted(&store, noted).await.holds());
    let at = events[3].position.0;
    tamper(&store, &format!("UPDATE log SET subject = NULL WHERE position = {at}")).await;
    tamper(&store, "DELETE FROM audit_seals").await;
    let gone = verify_noted(&store, noted).await;
    let is_told = |report: &Report, what: &str| {
        report
            .findings
            .iter()
            .any(|finding| finding.seal == Some(1) && finding.problem.contains(what))
    };
    assert!(is_told(&gone, "was noted, and is not there"), "{gone:?}");
    let read_anew = store.reopened().await.log;
    let mut anew = Sealer::resume(read_anew, store.store().seals.clone(), PATIENCE).await.unwrap();
    anew.follow(later()).await.unwrap();
    let forged = verify_noted(&store, noted).await;
    assert!(is_told(&forged, "the log was written anew"), "{forged:?}");
    assert!(located(&forged).is_empty(), "the seals themselves agree: {forged:?}");
}

async fn an_erasure_breaks_no_seal(store: TestStore) {
    let events = sealed(&store).await;
    erase_contact(&store.bus(), events[0].stream.id, "asked", &context()).await.unwrap();
    seal(&store).await;
    let report = verify(&store).await;
    assert!(report.holds(), "{report:?}");
    assert_eq!((report.events, report.sealed, report.seals), (11, 11, 2));
}

async fn what_waits_is_sealed_in_time_and_by_one_sealer_only(store: TestStore) {
    store.add_contact("+447700900001").await;
    let now = Utc::now();
    let (mut one, mut other) = (sealer(store.store()).await, sealer(store.store()).await);
    let waits = Progress::AtHead { unsealed: 1 };
    assert_eq!(one.follow(now).await.unwrap(), waits, "it is too young");
    assert_eq!(other.follow(now).await.unwrap(), waits);
    assert_eq!(one.follow(later()).await.unwrap(), Progress::AtHead { unsealed: 0 });
    assert_eq!(other.follow(later()).await.unwrap(), Progress::Overtaken);
    // Whoever comes next, after a crash too, goes on behind the last seal.
    store.add_contact("+447700900002").await;
    let mut next = sealer(store.store()).await;
    assert_eq!(next.follow(later()).await.unwrap(), Progress::AtHead { unsealed: 0 });
    let report = verify(&store).await;
    assert!(report.holds() && report.seals == 2 && report.sealed == 2, "{report:?}");
}

async fn a_long_log_is_sealed_in_blocks(store: TestStore) {
    let contact = store.add_contact("+447700900001").await;
    let commands = (0..BLOCK_EVENTS * 2 + 5).map(|n| {
        (contact, update(move |changes| changes.name = Some(Some(format!("n{n}")))), context())
    });
    let done = store.bus().execute_many::<Contact>(commands.collect()).await;
    assert!(done.iter().all(Result::is_ok));
    let mut sealer = sealer(store.store()).await;
    let now = Utc::now();
    assert_eq!(sealer.follow(now).await.unwrap(), Progress::AtHead { unsealed: 6 });
    let report = verify(&store).await;
    assert!(report.holds() && report.seals == 2 && report.unsealed == 6, "{report:?}");
}

/// Of a message that was planned then.
fn message_of(year: i32, month: u32) -> Uuid {
    let at = Utc.with_ymd_and_hms(year, month, 7, 12, 0, 0).unwrap();
    let ms = u128::try_from(at.timestamp_millis()).unwrap();
    Uuid::from_u128((ms << 80) | (Uuid::now_v7().as_u128() & ((1 << 80) - 1)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_month_that_was_taken_out_is_counted_and_checked_when_it_is_back() {
    let Some(store) = TestStore::on_postgres().await else { return };
    tamper(&store, "SELECT make_message_months('2024-04-01T00:00:00Z', '2024-06-01T00:00:00Z')")
        .await;
    let (april, may) = (message_of(2024, 4), message_of(2024, 5));
    for message in [april, may, Uuid::now_v7()] {
        let planned = plan(Uuid::now_v7(), "hello");
        store.bus().execute::<Message>(message, planned, &context()).await.unwrap();
    }
    seal(&store).await;
    assert_eq!(verify(&store).await.sealed, 3);
    let at = events(&store).await[1].position.0;

    tamper(&store, "SELECT detach_messages('2024-05-01')").await;
    store.add_contact("+447700900001").await;
    seal(&store).await;
    let report = verify(&store).await;
    assert!(report.holds(), "{report:?}");
    assert_eq!((report.events, report.out, report.seals), (3, 1, 2));
    assert_eq!(report.months_out.into_iter().collect::<Vec<_>>(), [202_405]);
    // What was not taken out is checked as ever.
    tamper(&store, "CREATE TABLE kept AS SELECT * FROM log").await;
    tamper(&store, &format!("DELETE FROM log WHERE position < {at}")).await;
    let report = verify(&store).await;
    assert_eq!(located(&report), [at - 1], "{report:?}");
    assert_eq!(report.out, 1, "{report:?}");
    tamper(&store, "DELETE FROM log; INSERT INTO log SELECT * FROM kept").await;

    let outside = "UPDATE log_messages_2024_05 SET recorded_at = recorded_at + interval '1 us'";
    tamper(&store, outside).await;
    assert!(verify(&store).await.holds(), "it is not there to be checked");
    tamper(&store, "SELECT attach_messages('2024-05-01')").await;
    let report = verify(&store).await;
    assert_eq!(located(&report), [at], "{report:?}");
    assert_eq!(report.findings[0].stream, Some(format!("message-{may}")), "{report:?}");
    tamper(&store, &outside.replace('+', "-")).await;
    let report = verify(&store).await;
    assert!(report.holds() && report.out == 0 && report.sealed == 4, "{report:?}");
}

/// Of a round.
const MEASURED: usize = 20_000;
const ROUNDS: usize = 5;

/// Messages that are planned in a second, five hundred at a time; `sealed`: while a sealer follows as the gateway's does.
async fn planned_per_second(store: &TestStore, sealed: bool) -> f64 {
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut sealer = sealer(store.store()).await;
    let following = sealed.then(|| {
        let stop = stop.clone();
        tokio::spawn(async move {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let progress = sealer.follow(Utc::now()).await.unwrap();
                let pause = if progress == Progress::Behind { 50 } else { 500 };
                tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            }
        })
    });
    let began = std::time::Instant::now();
    for _ in 0..MEASURED / 500 {
        let plans = (0..500).map(|_| (Uuid::now_v7(), plan(Uuid::now_v7(), "hello"), context()));
        let done = store.bus().execute_many::<Message>(plans.collect()).await;
        assert!(done.iter().all(Result::is_ok));
    }
    let rate = MEASURED as f64 / began.elapsed().as_secs_f64();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    if let Some(following) = following {
        following.await.unwrap();
    }
    // So that the next round's sealer has its own events to seal and no others.
    seal(store).await;
    rate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a measurement: in release, alone and with --nocapture"]
async fn what_sealing_and_verifying_cost() {
    let stores = [Some(TestStore::on_sqlite().await), TestStore::on_postgres().await];
    for (name, store) in ["SQLite", "PostgreSQL"].into_iter().zip(stores) {
        let Some(store) = store else { continue };
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(planned_per_second(&store, false).await);
            with.push(planned_per_second(&store, true).await);
        }
        let median = |rates: &mut Vec<f64>| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        };
        let (without, with) = (median(&mut without), median(&mut with));
        let began = std::time::Instant::now();
        let report = verify(&store).await;
        assert!(report.holds(), "{report:?}");
        let rate = report.events as f64 / began.elapsed().as_secs_f64();
        println!(
            "{name}: {without:.0} events/s appended without a sealer, {with:.0} with one; {rate:.0} events/s verified"
        );
    }
}
