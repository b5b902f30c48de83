//! The read model of docs/custom-read-models.md: killed again and again it counts nothing twice and forgets nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gateway_sqlite::{Options, Sqlite};
use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Store, eventually_within, example, stores,
};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::common::{approved_template, count, import_people, launch, progress_when};

const NUMBER: &str = "402000000000092";
const RECIPIENTS: u32 = 300;
const KILLS: usize = 10;

/// Accepted, delivered and read by hour and template.
type Counts = BTreeMap<(String, String), [u64; 3]>;

fn follower(client: &Client, file: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(example("messages_by_hour"));
    command.env("GATEWAY_URL", &client.base).env("GATEWAY_KEY", &client.key);
    command.arg(file).args(more).kill_on_drop(true);
    command
}

fn started(client: &Client, file: &Path) -> Child {
    follower(client, file, &[]).spawn().expect("it starts")
}

async fn to_the_end(client: &Client, file: &Path) {
    let status = follower(client, file, &["--once"]).status().await.expect("it starts");
    assert!(status.success(), "{status}");
}

async fn counted(file: &Path) -> Counts {
    let db = Sqlite::open(file, Options::read_only()).expect("a database");
    let read = db.read(|connection| {
        let sql = "SELECT hour, template, accepted, delivered, read FROM messages_by_hour";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(((row.get(0)?, row.get(1)?), [row.get(2)?, row.get(3)?, row.get(4)?]))
        })?;
        rows.collect()
    });
    read.await.expect("rows")
}

/// From all events, in one go.
async fn recounted(client: &Client) -> Counts {
    let request = client.http().get(format!("{}/events?after=0", client.base));
    let request = request.bearer_auth(&client.key).header("Accept", "application/x-ndjson");
    let text = request.send().await.expect("an answer").text().await.expect("text");
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    let mut templates = BTreeMap::new();
    let mut counts = Counts::new();
    for event in events {
        let name = |value: &Value| value.as_str().unwrap_or("(none)").to_owned();
        let message = name(&event["subject"]);
        let place = match name(&event["type"]).as_str() {
            "message.scheduled" | "message.queued" => {
                templates.insert(message, name(&event["data"]["template"]["name"]));
                continue;
            }
            "message.accepted" => 0,
            "message.delivered" => 1,
            "message.read" => 2,
            _ => continue,
        };
        let hour = name(&event["time"])[..13].to_owned();
        counts.entry((hour, templates[&message].clone())).or_default()[place] += 1;
    }
    counts
}

async fn set_version(file: &Path, sql: &'static str) {
    let db = Sqlite::open(file, Options::default()).expect("a database");
    db.write(move |transaction| transaction.execute_batch(sql)).await.expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_of_ones_own_survives_kills_and_is_built_anew_with_the_same_counts() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(92).await;
        sandbox.behave(json!({
            "statusDelayMs": { "min": 0, "max": 1_500 }, "readRate": 0.5, "duplicateWebhooks": 0.3, "shuffleWebhooks": true,
        }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 100).await;
        import_people(client, RECIPIENTS, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        let file = store.dir.path().join("by-hour.db");
        let mut running = started(client, &file);
        let campaign = launch(client, &account, &template, "vip").await;
        let mut random = rand::rngs::StdRng::seed_from_u64(92);
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(random.random_range(30..500))).await;
            running.kill().await.expect("it is killed");
            running = started(client, &file);
        }
        progress_when(client, &campaign, Duration::from_secs(120), "all are delivered", |c| {
            count(c, "delivered") == u64::from(RECIPIENTS)
        })
        .await;
        eventually_within(Duration::from_secs(120), "the sandbox has told everything", || async {
            (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
        })
        .await;
        // It follows by itself, and is killed once more.
        eventually_within(Duration::from_secs(60), "the follower has it all", || async {
            (counted(&file).await == recounted(client).await).then_some(())
        })
        .await;
        running.kill().await.expect("it is killed");
        to_the_end(client, &file).await;
        let counts = counted(&file).await;
        assert_eq!(counts, recounted(client).await);
        let of_offers = counts.iter().filter(|((_, template), _)| template == "offers");
        let accepted: u64 = of_offers.map(|(_, counts)| counts[0]).sum();
        assert_eq!(accepted, u64::from(RECIPIENTS), "{counts:?}");

        // Thrown away, or written by another version, it is built anew from the log.
        let anew = store.dir.path().join("anew.db");
        to_the_end(client, &anew).await;
        assert_eq!(counted(&anew).await, counts);
        set_version(&anew, "UPDATE messages_by_hour SET read = 7; PRAGMA user_version = 99;").await;
        to_the_end(client, &anew).await;
        assert_eq!(counted(&anew).await, counts);

        // A file that is ahead of the log was made from another one.
        set_version(&anew, "UPDATE position SET position = 1000000000").await;
        let refused = follower(client, &anew, &["--once"]).output().await.expect("it starts");
        assert!(!refused.status.success());
        let says = String::from_utf8_lossy(&refused.stderr);
        assert!(says.contains("is not there yet"), "{says}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
