//! `replay`: read models built anew beside the ones that answer, and into a file of its own for an analyst.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use gateway_sqlite::{Options, Sqlite};
use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Store, StoreKind, eventually, run, stores,
};
use projections::{Queries, ReadDb};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::common::{approved_template, count, import_csv, launch, progress_when};

const NUMBER: &str = "402000000000061";
const FILE: &str = "read-models.db";

/// Rows of the analyst's file, of which each has a text and a count.
async fn rows(directory: &Path, sql: &'static str) -> Vec<(String, i64)> {
    let db = Sqlite::open(directory.join(FILE), Options::read_only()).expect("a database");
    let read = db.read(move |connection| {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    });
    read.await.expect("rows")
}

async fn how_many(directory: &Path, sql: &'static str) -> i64 {
    rows(directory, sql).await[0].1
}

async fn delivered_campaign(client: &Client, account: &str, template: &str, tag: &str) -> String {
    let campaign = launch(client, account, template, tag).await;
    progress_when(client, &campaign, Duration::from_secs(60), "all are delivered", |c| {
        count(c, "delivered") == 10 && c["status"] == "COMPLETED"
    })
    .await;
    campaign
}

/// Ten people from this number on.
async fn people(client: &Client, first: u64, tag: &str) {
    let rows = (first..first + 10).map(|number| format!("+{number},Person {number}\n"));
    let csv = format!("phone,name\n{}", rows.collect::<String>());
    import_csv(client, &csv, tag).await;
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The counts of a campaign as they were known.
async fn known(client: &Client, campaign: &str, at: &str) -> Value {
    let query = "query($id: ID!, $at: DateTime) { campaign(id: $id, asOf: $at) { status progress { recipients pending accepted sent \
                 delivered read failed cancelled skipped inDoubt } } }";
    client.ask(query, json!({ "id": campaign, "at": at })).await["campaign"].clone()
}

/// The counts that the analyst's file has of the campaigns that are in this state.
async fn counted(directory: &Path) -> Vec<Value> {
    let sql = "SELECT c.status || ' ' || k.doc, 1 FROM campaigns AS c JOIN campaign_counts AS k ON k.campaign_id = c.id \
               ORDER BY c.created_at, c.id";
    let found = rows(directory, sql).await.into_iter().map(|(text, _)| {
        let (status, doc) = text.split_once(' ').expect("a document");
        let doc: Value = serde_json::from_str(doc).expect("JSON");
        let names = [
            ("recipients", "recipients"),
            ("pending", "pending"),
            ("accepted", "accepted"),
            ("sent", "sent"),
            ("delivered", "delivered"),
            ("read", "read"),
            ("failed", "failed"),
            ("cancelled", "cancelled"),
            ("skipped", "skipped"),
            ("inDoubt", "in_doubt"),
        ];
        let progress: serde_json::Map<String, Value> =
            names.iter().map(|(ours, its)| ((*ours).to_owned(), doc[its].clone())).collect();
        json!({ "status": status, "progress": progress })
    });
    found.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_gets_a_file_of_what_was_known_at_a_moment() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(61).await;
        let directory = store.dir.path().join("analysis");
        // Without a log there is nothing to build from.
        let refused = run(&store, &["replay", "--into", "analysis"]).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);
        assert!(!directory.exists());
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        let template = approved_template(client, &account, "offers").await;
        people(client, 447_700_900_600, "first").await;
        let first = delivered_campaign(client, &account, &template, "first").await;
        // Campaigns' past is exact to the second.
        let moment = Utc::now();
        eventually("the clock goes on", || async {
            (Utc::now().timestamp() > moment.timestamp()).then_some(())
        })
        .await;
        people(client, 447_700_900_700, "second").await;
        let second = delivered_campaign(client, &account, &template, "second").await;
        let erase = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { position } }";
        let query = "{ contacts(filter: { phoneNumbers: [\"+447700900603\"] }) { nodes { id } } }";
        let data = client.ask(query, json!({})).await;
        client.ask(erase, json!({ "id": data["contacts"]["nodes"][0]["id"] })).await;

        // Beside the gateway, which serves on.
        let moment = rfc3339(moment);
        let made = run(&store, &["replay", "--into", "analysis", "--until", &moment]).await;
        assert_eq!(made.code, Some(0), "{}", made.err);
        assert_eq!(made.out.trim(), Path::new("analysis").join(FILE).display().to_string());
        assert!(made.err.contains("personal data"), "{}", made.err);
        let file = directory.join(FILE);
        let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&directory)), (0o600, 0o700));
        let names: Vec<_> = std::fs::read_dir(&directory).expect("a directory").collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(counted(&directory).await, [known(client, &first, &moment).await]);
        let by_status = "SELECT status, count(*) FROM messages GROUP BY status";
        assert_eq!(rows(&directory, by_status).await, [("DELIVERED".to_owned(), 10)]);
        // Who was erased since was there, and is not told of.
        let named = "SELECT '', count(*) FROM contacts WHERE doc LIKE '%Person 4477009006%'";
        assert_eq!(how_many(&directory, named).await, 9);
        let later = "SELECT '', count(*) FROM contacts WHERE doc LIKE '%Person 4477009007%'";
        assert_eq!(how_many(&directory, later).await, 0);

        // What is there is not touched.
        let before = std::fs::read(&file).expect("a file");
        let refused = run(&store, &["replay", "--into", "analysis"]).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);
        assert!(refused.err.contains("is there already"), "{}", refused.err);
        assert_eq!(std::fs::read(&file).expect("a file"), before);

        // Everything, and one of them alone.
        let made = run(&store, &["replay", "--into", "all"]).await;
        assert_eq!(made.code, Some(0), "{}", made.err);
        let all = store.dir.path().join("all");
        let now = rfc3339(Utc::now());
        let both = [known(client, &first, &now).await, known(client, &second, &now).await];
        assert_eq!(counted(&all).await, both);
        assert_eq!(how_many(&all, later).await, 10);
        assert!(made.err.contains("each second"), "{}", made.err);
        // The gateway's own queries read it as any tool does.
        let file = ReadDb::open_sqlite_read_only(all.join(FILE)).expect("a database");
        let id = first.parse().expect("an id");
        let progress = Queries::new(file).campaign_progress(&[id], Utc::now()).await;
        assert_eq!(progress.expect("progress")[&id].counts.delivered, 10);
        let arguments = ["replay", "--into", "some", "--projection", "contacts"];
        let made = run(&store, &arguments).await;
        assert_eq!(made.code, Some(0), "{}", made.err);
        let some = store.dir.path().join("some");
        assert_eq!(how_many(&some, later).await, 10);
        assert_eq!(how_many(&some, "SELECT '', count(*) FROM messages").await, 0);

        // With nobody serving it is the same.
        let port = gateway.port;
        gateway.terminate().await;
        let made = run(&store, &["replay", "--into", "again", "--until", &moment]).await;
        assert_eq!(made.code, Some(0), "{}", made.err);
        let again = store.dir.path().join("again");
        assert_eq!(counted(&again).await, counted(&directory).await);
        let options = BinaryOptions { port, ..BinaryOptions::default() };
        let gateway = Binary::start(&store, Some(&sandbox), &options).await;
        assert_eq!(known(&gateway.client, &first, &now).await, both[0]);
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn wrong_usage_of_replay_is_told_before_anything_is_done() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    for (arguments, says) in [
        (&["--projection", "mesage"][..], "there are directory, contacts, messages"),
        (&["--projection", "mesage", "--into", "x"], "there are directory, contacts, messages"),
        (&["--until", "2026-11-23T09:00:00Z"], "--into"),
        (&["--until", "yesterday", "--into", "x"], "--until"),
        (&["--into", "x", "--url", "http://127.0.0.1:1", "--key", "wgk_x"], "--url"),
    ] {
        let arguments: Vec<&str> = ["replay"].iter().chain(arguments).copied().collect();
        let refused = run(&store, &arguments).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{}", refused.err);
        assert!(refused.err.contains(says), "{arguments:?}: {}", refused.err);
    }
    assert!(!store.dir.path().join("x").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_comes_to_no_end_is_a_failure_and_the_old_read_model_answers_on() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(62).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        let template = approved_template(client, &account, "offers").await;
        people(client, 447_700_900_600, "first").await;
        let campaign = delivered_campaign(client, &account, &template, "first").await;
        let rebuilt = run_at(&gateway, &store, &["replay"]).await;
        assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.err);
        assert_eq!(rebuilt.out, "directory rebuilt\ncontacts rebuilt\nmessages rebuilt\n");
        let port = gateway.port;
        gateway.terminate().await;
        // A disk that lies, a hand that slips.
        damage(&store).await;
        let options = BinaryOptions { port, ..BinaryOptions::default() };
        let gateway = Binary::start(&store, Some(&sandbox), &options).await;
        let failed = run_at(&gateway, &store, &["replay", "--projection", "messages"]).await;
        assert_eq!((failed.code, failed.out.as_str()), (Some(1), ""), "{}", failed.err);
        assert!(failed.err.contains("messages could not be built anew"), "{}", failed.err);
        let into = run(&store, &["replay", "--into", "damaged"]).await;
        assert_eq!((into.code, into.out.as_str()), (Some(1), ""), "{}", into.err);
        let left: Vec<_> =
            std::fs::read_dir(store.dir.path().join("damaged")).expect("a directory").collect();
        assert!(left.is_empty(), "{left:?}");
        let answer =
            client_of(&gateway).ask(crate::common::PROGRESS, json!({ "id": campaign })).await;
        assert_eq!(count(&answer["campaign"], "delivered"), 10, "{answer}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

fn client_of(gateway: &Binary) -> &Client {
    &gateway.client
}

/// By the gateway itself, wherever its socket is.
async fn run_at(gateway: &Binary, store: &Store, arguments: &[&str]) -> gateway_tests::Answered {
    let client = client_of(gateway);
    run(store, &[arguments, &["--url", &client.base, "--key", &client.key]].concat()).await
}

/// One event of a message is of no shape that is known.
async fn damage(store: &Store) {
    // `events` is a view, for reading.
    let sql = "UPDATE log SET payload = '{}' WHERE position = \
               (SELECT max(position) FROM events WHERE event_type = 'message.delivered')";
    match store.kind {
        StoreKind::Sqlite => {
            let path = store.url.trim_start_matches("sqlite://");
            let db = Sqlite::open(path, Options::default()).expect("a database");
            db.write(move |transaction| transaction.execute(sql, [])).await.expect("damage");
        }
        StoreKind::Postgres => {
            let mut connection = sqlx::PgConnection::connect(&store.url).await.expect("PostgreSQL");
            connection.execute(sql).await.expect("damage");
        }
        StoreKind::KurrentDb => panic!("what is in KurrentDB cannot be changed"),
    }
}
