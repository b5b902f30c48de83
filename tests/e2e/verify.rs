//! `verify`: a log that nobody touched holds, beside running gateways too, and what was changed beneath the gateway is found.

use std::time::Duration;

use gateway_sqlite::{Options, Sqlite};
use gateway_tests::{
    Answered, Binary, BinaryOptions, SandboxProcess, Store, StoreKind, eventually,
    eventually_within, run, stores,
};
use serde_json::Value;
use sqlx::{Connection, Executor};

use crate::common::{approved_template, count, import_people, launch, progress_when};

const NUMBER: &str = "402000000000091";
const PEOPLE: u32 = 30;

/// What waits is sealed soon.
fn options(port: u16) -> BinaryOptions {
    BinaryOptions { settings: vec![("seals.after_s".to_owned(), "1".to_owned())], port }
}

async fn campaign_of(gateway: &Binary, sandbox: &SandboxProcess, people: u32) -> String {
    let client = &gateway.client;
    let account = sandbox.connect(client, NUMBER, 500).await;
    import_people(client, people, "all").await;
    let template = approved_template(client, &account, "offers").await;
    launch(client, &account, &template, "all").await
}

async fn delivered(gateway: &Binary, campaign: &str, people: u32) {
    let patience = Duration::from_secs(90);
    progress_when(&gateway.client, campaign, patience, "all are delivered", |c| {
        count(c, "delivered") == u64::from(people) && c["status"] == "COMPLETED"
    })
    .await;
}

/// Checks the log as a process of its own: how it ended, and its report.
async fn verify(store: &Store) -> (Answered, Value) {
    let answered = run(store, &["verify", "--json"]).await;
    let report = answered.lines().pop().unwrap_or_else(|| panic!("no report: {}", answered.err));
    (answered, report)
}

async fn holds(store: &Store) -> Value {
    let (answered, report) = verify(store).await;
    assert_eq!(answered.code, Some(0), "{report} {}", answered.err);
    assert_eq!((&report["holds"], &report["findingsTotal"]), (&true.into(), &0.into()), "{report}");
    report
}

/// Waits until the sealer has reached the end of the log.
async fn sealed(store: &Store) -> Value {
    eventually("everything is sealed", || async {
        let report = holds(store).await;
        (report["unsealedEvents"] == 0 && report["sealedEvents"] != 0).then_some(report)
    })
    .await
}

/// Beneath the gateway, which stands still.
async fn tamper(store: &Store, sql: &str) {
    match store.kind {
        StoreKind::Sqlite => {
            let path = store.url.trim_start_matches("sqlite://");
            let db = Sqlite::open(path, Options::default()).expect("a database");
            let sql = sql.to_owned();
            db.write(move |tx| tx.execute_batch(&sql)).await.expect("it can be written");
        }
        StoreKind::Postgres => {
            let mut connection = sqlx::PgConnection::connect(&store.url).await.expect("PostgreSQL");
            connection.execute(sql).await.expect("it can be written");
        }
        StoreKind::KurrentDb => panic!("what is in KurrentDB cannot be changed"),
    }
}

/// A text and a number.
async fn rows(store: &Store, sql: &str) -> Vec<(String, i64)> {
    match store.kind {
        StoreKind::Postgres => {
            let mut connection = sqlx::PgConnection::connect(&store.url).await.expect("PostgreSQL");
            sqlx::query_as(sql).fetch_all(&mut connection).await.expect("rows")
        }
        StoreKind::Sqlite | StoreKind::KurrentDb => {
            let path = store.dir.path().join("gateway.db");
            let db = Sqlite::open(path, Options::read_only()).expect("a database");
            let sql = sql.to_owned();
            let read = db.read(move |connection| {
                let mut statement = connection.prepare(&sql)?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            });
            read.await.expect("rows")
        }
    }
}

/// Seals are numbered without a gap, and each begins behind the one before.
async fn assert_one_chain(store: &Store, at_least: usize) {
    let chain = rows(
        store,
        "SELECT CAST(first_position AS text), last_position FROM audit_seals ORDER BY number",
    );
    let chain = chain.await;
    assert!(chain.len() >= at_least, "{chain:?}");
    let numbers = rows(store, "SELECT CAST(count(*) AS text), max(number) FROM audit_seals").await;
    assert_eq!(numbers[0].0, numbers[0].1.to_string());
    for pair in chain.windows(2) {
        assert!(pair[1].0.parse::<i64>().expect("a position") > pair[0].1, "{chain:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_touched_holds_beside_its_gateway_and_without_it() {
    for kind in [stores(), vec![StoreKind::KurrentDb]].concat() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(91).await;
        let gateway = Binary::start(&store, Some(&sandbox), &options(0)).await;
        let campaign = campaign_of(&gateway, &sandbox, PEOPLE).await;
        // While it works.
        let early = holds(&store).await;
        delivered(&gateway, &campaign, PEOPLE).await;
        let report = sealed(&store).await;
        let number = |report: &Value, name: &str| report[name].as_u64().expect("a number");
        assert!(number(&report, "events") > number(&early, "events"), "{report} {early}");
        assert_eq!(report["events"], report["sealedEvents"], "{report}");
        // Each message: planned, intended, accepted, sent and delivered.
        assert!(number(&report, "events") > u64::from(PEOPLE) * 6, "{report}");
        assert!(number(&report, "streams") > u64::from(PEOPLE) * 2, "{report}");
        assert_eq!(report["shapes"]["message.delivered"], serde_json::json!([1]), "{report}");
        assert_eq!(report["monthsTakenOut"], serde_json::json!([]), "{report}");
        gateway.terminate().await;

        let told = run(&store, &["verify"]).await;
        assert_eq!(told.code, Some(0), "{} {}", told.out, told.err);
        for words in ["no sequence has a gap", "every stream folds", "last seal"] {
            assert!(told.out.contains(words), "{}", told.out);
        }
        assert!(told.err.contains("checked up to position"), "{}", told.err);
        let last = holds(&store).await["lastSeal"].as_str().expect("a seal").to_owned();
        assert!(told.out.contains(&last), "{}", told.out);
        let noted = run(&store, &["verify", "--seal", &last]).await;
        assert_eq!(noted.code, Some(0), "{} {}", noted.out, noted.err);
        let other = format!("{}:{}", last.split(':').next().expect("a number"), "0".repeat(64));
        let noted = run(&store, &["verify", "--seal", &other]).await;
        assert_eq!(noted.code, Some(1), "{} {}", noted.out, noted.err);
        assert!(noted.out.contains("the log was written anew"), "{}", noted.out);
        for wrong in ["1", "one:two", "1:00"] {
            let refused = run(&store, &["verify", "--seal", wrong]).await;
            assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{}", refused.err);
            assert!(refused.err.contains("NUMBER:HASH"), "{}", refused.err);
        }
        sandbox.stop().await;
    }
}

async fn is_left(store: &Store, stream: &str) -> bool {
    let sql = format!(
        "SELECT '', count(*) FROM events WHERE aggregate_type || '-' || aggregate_id = '{stream}'"
    );
    rows(store, &sql).await[0].1 > 0
}

/// What is done to the log, and what has to be found: positions with their streams.
struct Case {
    name: &'static str,
    sql: String,
    found: Vec<(i64, String)>,
}

async fn cases(store: &Store) -> Vec<Case> {
    let of = async |clause: &str| {
        let sql =
            format!("SELECT aggregate_type || '-' || aggregate_id, position FROM events {clause}");
        rows(store, &sql).await
    };
    let delivered = of("WHERE event_type = 'message.delivered' ORDER BY position LIMIT 2").await;
    let last = of("ORDER BY position DESC LIMIT 4").await;
    let [(stream, at), (other_stream, other)] = &delivered[..] else { panic!("{delivered:?}") };
    // One letter of one value: JSON as before, of the same shape.
    let byte =
        format!("UPDATE log SET payload = replace(payload, 'Z\"', 'z\"') WHERE position = {at}");
    let moved =
        |from: i64, to: i64| format!("UPDATE log SET position = {to} WHERE position = {from}; ");
    let swap = moved(*at, 9_000_000) + &moved(*other, *at) + &moved(9_000_000, *other);
    let kept = last.last().expect("an event").1;
    vec![
        Case { name: "one byte", sql: byte, found: vec![(*at, stream.clone())] },
        // Delivered is the last that is known of this one, so its stream has no gap.
        Case {
            name: "deleted",
            sql: format!("DELETE FROM log WHERE position = {at}"),
            found: vec![(*at, stream.clone())],
        },
        Case {
            name: "swapped",
            sql: swap,
            found: vec![(*at, other_stream.clone()), (*other, stream.clone())],
        },
        Case {
            name: "cut short",
            sql: format!("DELETE FROM log WHERE position > {kept}"),
            found: last[..3].iter().rev().map(|(stream, at)| (*at, stream.clone())).collect(),
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_beneath_the_gateway_is_found_and_where() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(92).await;
        let gateway = Binary::start(&store, Some(&sandbox), &options(0)).await;
        let campaign = campaign_of(&gateway, &sandbox, PEOPLE).await;
        delivered(&gateway, &campaign, PEOPLE).await;
        sealed(&store).await;
        let port = gateway.port;
        gateway.terminate().await;
        let whole = holds(&store).await;

        tamper(&store, "CREATE TABLE kept AS SELECT * FROM log").await;
        for Case { name, sql, found } in cases(&store).await {
            tamper(&store, &sql).await;
            let (answered, report) = verify(&store).await;
            assert_eq!(answered.code, Some(1), "{name}: {report}");
            assert!(answered.err.contains("not what was written"), "{name}: {}", answered.err);
            let by_seals = report["findings"].as_array().expect("findings").iter();
            let by_seals = by_seals.filter(|finding| finding["seal"].is_u64());
            let located: Vec<(i64, String)> = by_seals
                .map(|finding| {
                    let stream = finding["stream"].as_str().unwrap_or_default();
                    (finding["position"].as_i64().unwrap_or_default(), stream.to_owned())
                })
                .collect();
            // The last of a stream, cut off with all of it, has nothing left that would name it.
            let mut expected = vec![];
            for (at, stream) in found {
                let named = if is_left(&store, &stream).await { stream } else { String::new() };
                expected.push((at, named));
            }
            assert_eq!(located, expected, "{name}: {report}");
            // People read the same.
            let told = run(&store, &["verify"]).await;
            assert_eq!(told.code, Some(1), "{name}: {}", told.err);
            for (at, stream) in expected {
                let line =
                    told.out.lines().find(|line| line.starts_with(&format!("position {at}: ")));
                let line = line.unwrap_or_else(|| panic!("{name}: {at} in {}", told.out));
                assert!(line.contains(&stream) && line.contains("the event"), "{name}: {line}");
            }
            tamper(&store, "DELETE FROM log; INSERT INTO log SELECT * FROM kept").await;
            assert_eq!(holds(&store).await, whole, "{name} is as it was");
        }

        // The seals themselves.
        tamper(&store, "CREATE TABLE kept_seals AS SELECT * FROM audit_seals").await;
        let last = whole["lastSeal"].as_str().and_then(|seal| seal.split(':').next());
        let last: u64 = last.and_then(|number| number.parse().ok()).expect("a number");
        assert!(last > 1, "{whole}");
        let flipped = match kind {
            StoreKind::Sqlite => "zeroblob(32)",
            _ => "set_byte(hash, 31, 255 - get_byte(hash, 31))",
        };
        for (sql, number) in [
            (format!("UPDATE audit_seals SET hash = {flipped} WHERE number = {last}"), last),
            (
                "UPDATE audit_seals SET parts = replace(parts, 'events\":', 'events\":1') WHERE number = 1"
                    .to_owned(),
                1,
            ),
            ("DELETE FROM audit_seals WHERE number = 1".to_owned(), 2),
        ] {
            tamper(&store, &sql).await;
            let (answered, report) = verify(&store).await;
            assert_eq!(answered.code, Some(1), "{sql}: {report}");
            let findings = report["findings"].as_array().expect("findings");
            assert!(findings.iter().any(|finding| finding["seal"] == number), "{sql}: {report}");
            tamper(
                &store,
                "DELETE FROM audit_seals; INSERT INTO audit_seals SELECT * FROM kept_seals",
            )
            .await;
        }
        assert_eq!(holds(&store).await, whole);
        // The last seal can be taken away unnoticed, but not by whoever noted it.
        tamper(&store, &format!("DELETE FROM audit_seals WHERE number = {last}")).await;
        holds(&store).await;
        let noted = whole["lastSeal"].as_str().expect("a seal");
        let gone = run(&store, &["verify", "--seal", noted]).await;
        assert_eq!(gone.code, Some(1), "{} {}", gone.out, gone.err);
        assert!(gone.out.contains("was noted, and is not there"), "{}", gone.out);

        // The gateway goes on where it was, and seals what was not.
        tamper(&store, "DROP TABLE kept; DROP TABLE kept_seals").await;
        let gateway = Binary::start(&store, Some(&sandbox), &options(port)).await;
        sealed(&store).await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_goes_on_where_the_gateway_was_killed() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(93).await;
        let mut gateway = Binary::start(&store, Some(&sandbox), &options(0)).await;
        let port = gateway.port;
        let campaign = campaign_of(&gateway, &sandbox, 300).await;
        let mut seals = 0;
        for _ in 0..2 {
            // Each time something more was sealed, wherever the sealer is just now.
            seals = eventually("the sealer goes on", || async {
                let known = rows(&store, "SELECT '', count(*) FROM audit_seals").await[0].1;
                (known > seals).then_some(known)
            })
            .await;
            gateway.kill().await;
            let report = holds(&store).await;
            assert!(report["seals"].as_i64() >= Some(seals), "{report}");
            gateway = Binary::start(&store, Some(&sandbox), &options(port)).await;
        }
        progress_when(&gateway.client, &campaign, Duration::from_secs(120), "nobody waits", |c| {
            count(c, "pending") == 0 && count(c, "recipients") == 300
        })
        .await;
        sealed(&store).await;
        assert_one_chain(&store, 3).await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_write_one_chain() {
    if !stores().contains(&StoreKind::Postgres) {
        return;
    }
    let store = Store::fresh(StoreKind::Postgres).await;
    let sandbox = SandboxProcess::start(94).await;
    let mut one = Binary::start(&store, Some(&sandbox), &options(0)).await;
    let mut other = Binary::start(&store, Some(&sandbox), &options(0)).await;
    let campaign = campaign_of(&one, &sandbox, PEOPLE).await;
    delivered(&one, &campaign, PEOPLE).await;
    let before = sealed(&store).await;
    // Whoever seals is killed, and the other takes the chain over.
    let owner = "SELECT owner, 0::bigint FROM leases WHERE name = 'seals'";
    let owner = rows(&store, owner).await.remove(0).0;
    let process = owner.split('/').next().and_then(|process| process.parse().ok());
    if process != Some(one.pid()) {
        std::mem::swap(&mut one, &mut other);
    }
    assert_eq!(process, Some(one.pid()), "{owner}");
    one.kill().await;
    crate::common::import_csv(&other.client, "phone,name\n+447700900999,Late\n", "late").await;
    eventually_within(Duration::from_secs(90), "the other node seals", || async {
        let report = holds(&store).await;
        (report["unsealedEvents"] == 0 && report["seals"].as_u64() > before["seals"].as_u64())
            .then_some(())
    })
    .await;
    assert_one_chain(&store, 2).await;
    other.terminate().await;
    sandbox.stop().await;
}
