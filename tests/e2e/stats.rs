//! Statistics: what became of a campaign, hour by hour in anybody's zone, is what its messages and its progress say.

use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Store, StoreKind, eventually_within, stores,
};
use serde_json::{Value, json};

use crate::common::{
    approved_template, assert_equal_to_a_rebuild, count, import_people, key_with, launch,
    progress_when, sandbox_account,
};

const NUMBER: &str = "402000000000091";
const RECIPIENTS: u64 = 120;
const STATS: &str = "query($filter: DeliveryStatsFilter!) { deliveryStats(filter: $filter) { bucket group queued accepted sent delivered \
                     read replied failed skipped inDoubt expired cancelled medianSecondsToDeliver medianSecondsToRead failures \
                     { code title count } cost { amount currency estimated } } }";
const PROGRESS: &str = "query($id: ID!) { campaign(id: $id) { status progress { recipients pending accepted sent delivered read replied \
                        failed cancelled skipped inDoubt failures { code title count } cost { amount currency estimated } } } }";
const COUNTS: [&str; 11] = [
    "queued",
    "accepted",
    "sent",
    "delivered",
    "read",
    "replied",
    "failed",
    "skipped",
    "inDoubt",
    "expired",
    "cancelled",
];

/// Around everything that happens in a test, in a zone in which no month ends meanwhile.
fn filter(more: Value) -> Value {
    let now = Utc::now();
    let near = chrono::Duration::hours(2);
    let is_turn = (now - near).month() != (now + near).month();
    let mut filter = json!({
        "from": now - chrono::Duration::days(1), "to": now + chrono::Duration::days(1), "bucket": "HOUR",
        "timeZone": if is_turn { "Etc/GMT+12" } else { "UTC" },
    });
    for (name, value) in more.as_object().expect("an object") {
        filter[name] = value.clone();
    }
    filter
}

async fn stats(client: &Client, more: Value) -> Vec<Value> {
    let data = client.ask(STATS, json!({ "filter": filter(more) })).await;
    data["deliveryStats"].as_array().expect("rows").clone()
}

fn sum(rows: &[Value], name: &str) -> u64 {
    rows.iter().map(|row| row[name].as_u64().expect("a count")).sum()
}

fn sums(rows: &[Value]) -> Vec<u64> {
    COUNTS.iter().map(|name| sum(rows, name)).collect()
}

/// The same measures of a campaign's progress. Nothing expires here.
fn of_progress(campaign: &Value) -> Vec<u64> {
    let counted = |name: &&str| match *name {
        "queued" => count(campaign, "pending"),
        name => count(campaign, name),
    };
    COUNTS.iter().map(counted).collect()
}

/// How many seconds after the hour in UTC each bucket begins.
fn after_the_hour(rows: &[Value]) -> Vec<i64> {
    let bucket = |row: &Value| -> DateTime<Utc> {
        row["bucket"].as_str().expect("an instant").parse().expect("an instant")
    };
    let mut all: Vec<i64> = rows.iter().map(|row| bucket(row).timestamp() % 3_600).collect();
    all.dedup();
    all
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = |place: usize| values[place];
    (middle((values.len() - 1) / 2) + middle(values.len() / 2)) / 2.0
}

/// The exact medians, from the messages.
async fn exact_medians(client: &Client, campaign: &str) -> [f64; 2] {
    let query = "query($id: ID!) { campaign(id: $id) { messages(first: 500) { nodes { status acceptedAt deliveredAt readAt } } } }";
    let data = client.ask(query, json!({ "id": campaign })).await;
    let messages = data["campaign"]["messages"]["nodes"].as_array().expect("messages").clone();
    let took = |from: &str, to: &str| {
        let at = |message: &Value, name: &str| -> Option<DateTime<Utc>> {
            message[name].as_str().map(|text| text.parse().expect("an instant"))
        };
        let known = messages.iter().filter(|message| message["status"] != "FAILED");
        let times = known.filter_map(|message| Some((at(message, from)?, at(message, to)?)));
        median(
            times
                .map(|(from, to)| ((to - from).num_milliseconds() as f64 / 1_000.0).max(0.0))
                .collect(),
        )
    };
    [took("acceptedAt", "deliveredAt"), took("deliveredAt", "readAt")]
}

fn assert_near(told: &Value, exact: f64) {
    let told = told.as_f64().expect("a median");
    assert!((told - exact).abs() <= (exact * 0.016).max(0.1), "{told} is not near {exact}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_told_by_hour_and_zone_as_its_progress_tells_it_after_a_kill_and_a_replay() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(91).await;
        sandbox.behave(json!({
            "statusDelayMs": { "min": 0, "max": 900 }, "readRate": 0.6, "deliveredSkippedRate": 0.2, "replyRate": 0.3,
            "errorRates": { "131026": 0.1, "131051": 0.1 }, "duplicateWebhooks": 0.5, "shuffleWebhooks": true,
        }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let port = gateway.port;
        let client = gateway.client.clone();
        let account = sandbox.connect(&client, NUMBER, 100).await;
        import_people(&client, 120, "vip").await;
        let rate = json!({ "countries": ["GB"], "category": "MARKETING", "currency": "GBP", "amount": "0.0382", "validFrom": "2020-01-01" });
        let set = "mutation($input: SetRateCardInput!) { setRateCard(input: $input) { position } }";
        client.ask(set, json!({ "input": { "rates": [rate] } })).await;
        let template = approved_template(&client, &account, "offers").await;
        let campaign = launch(&client, &account, &template, "vip").await;
        progress_when(&client, &campaign, Duration::from_secs(60), "some are sent", |c| {
            count(c, "sent") > 20
        })
        .await;
        gateway.kill().await;
        let options = BinaryOptions { port, ..BinaryOptions::default() };
        let gateway = Binary::start(&store, Some(&sandbox), &options).await;
        progress_when(&client, &campaign, Duration::from_secs(120), "nobody waits", |c| {
            count(c, "recipients") == RECIPIENTS && count(c, "pending") == 0
        })
        .await;
        eventually_within(Duration::from_secs(120), "the sandbox has told everything", || async {
            (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
        })
        .await;
        // Waits until nothing moves, and leaves the read models built anew from the log.
        let of_campaign = json!({ "campaignIds": [campaign] });
        assert_equal_to_a_rebuild(&client, &campaign).await;
        let rebuilt = stats(&client, of_campaign.clone()).await;
        let progress = client.ask(PROGRESS, json!({ "id": campaign })).await["campaign"].clone();
        assert_eq!(sums(&rebuilt), of_progress(&progress), "{progress} {rebuilt:?}");
        assert!(count(&progress, "failed") > 5 && count(&progress, "replied") > 5, "{progress}");
        // Kept up to date by a process that was killed once, or built anew: the same.
        assert_equal_to_a_rebuild(&client, &campaign).await;
        assert_eq!(stats(&client, of_campaign).await, rebuilt);

        // Whole hours of each zone's own clock, and the same messages in them.
        for (zone, seconds) in
            [("America/Sao_Paulo", 0), ("Asia/Kathmandu", 900), ("Australia/Eucla", 900)]
        {
            for basis in ["COHORT", "EVENT_TIME"] {
                let asked = json!({ "campaignIds": [campaign], "timeZone": zone, "basis": basis });
                let rows = stats(&client, asked).await;
                assert_eq!(after_the_hour(&rows), [seconds], "{zone} {rows:?}");
                let names = ["delivered", "read", "replied", "failed", "skipped", "inDoubt"];
                for name in names {
                    assert_eq!(sum(&rows, name), sum(&rebuilt, name), "{zone} {basis} {name}");
                }
            }
            let asked = json!({ "campaignIds": [campaign], "timeZone": zone, "bucket": "DAY" });
            let rows = stats(&client, asked).await;
            assert_eq!(sums(&rows), sums(&rebuilt), "{zone}");
        }
        // What failed after it was accepted was accepted, when it was.
        let asked = json!({ "campaignIds": [campaign], "basis": "EVENT_TIME", "bucket": "MONTH" });
        let facts = stats(&client, asked).await;
        assert_eq!(sum(&facts, "queued"), RECIPIENTS, "{facts:?}");
        assert!(sum(&facts, "accepted") >= sum(&rebuilt, "accepted"), "{facts:?}");

        told_apart(&client, &account, &campaign, &template, &progress).await;
        let whole = whole(&client, &campaign).await;
        assert_eq!(whole["failures"], progress["progress"]["failures"], "{whole}");
        assert_eq!(whole["cost"], progress["progress"]["cost"], "{whole}");
        assert_eq!(whole["cost"]["currency"], "GBP", "{whole}");
        let [deliver, read] = exact_medians(&client, &campaign).await;
        assert_near(&whole["medianSecondsToDeliver"], deliver);
        assert_near(&whole["medianSecondsToRead"], read);
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

/// All of it in one row.
async fn whole(client: &Client, campaign: &str) -> Value {
    let rows = stats(client, json!({ "campaignIds": [campaign], "bucket": "MONTH" })).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["group"], Value::Null);
    rows[0].clone()
}

async fn told_apart(
    client: &Client,
    account: &str,
    campaign: &str,
    template: &str,
    progress: &Value,
) {
    let dimensions = ["CATEGORY", "COUNTRY", "ACCOUNT", "CAMPAIGN", "TEMPLATE", "LANGUAGE"];
    let asked = json!({ "campaignIds": [campaign], "bucket": "MONTH", "groupBy": dimensions });
    let rows = stats(client, asked).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let group = json!({ "ACCOUNT": account, "CAMPAIGN": campaign, "TEMPLATE": template, "LANGUAGE": "en", "COUNTRY": "GB", "CATEGORY": "MARKETING" });
    assert_eq!(rows[0]["group"], group);
    assert_eq!(sums(&rows), of_progress(progress));
    let asked =
        json!({ "campaignIds": [campaign], "bucket": "MONTH", "groupBy": ["FAILURE_CODE"] });
    let rows = stats(client, asked).await;
    assert_eq!(sums(&rows), of_progress(progress), "{rows:?}");
    let mut by_code: Vec<(i64, u64)> = rows
        .iter()
        .filter_map(|row| {
            let count = row["failed"].as_u64().expect("a count");
            let code = row["group"]["FAILURE_CODE"].as_i64()?;
            assert_eq!(row["failures"][0]["code"], code, "{row}");
            assert_eq!(row["failures"][0]["count"], count, "{row}");
            assert!(!row["failures"][0]["title"].as_str().expect("what it means").is_empty());
            assert_eq!(row["accepted"], 0, "{row}");
            Some((code, count))
        })
        .collect();
    by_code.sort_unstable();
    let mut expected: Vec<(i64, u64)> = progress["progress"]["failures"]
        .as_array()
        .expect("failures")
        .iter()
        .map(|failure| {
            (failure["code"].as_i64().expect("a code"), failure["count"].as_u64().expect("a count"))
        })
        .collect();
    expected.sort_unstable();
    assert_eq!(by_code, expected);
}

async fn refusal(client: &Client, filter: Value) -> (String, Value) {
    let answer = client.try_raw(STATS, json!({ "filter": filter })).await.expect("an answer");
    let error = &answer["errors"][0];
    let code = error["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{answer}"));
    (code.to_owned(), error["extensions"]["field"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_others_messages_and_nothing_absurd_is_computed() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let client = &gateway.client;
    let (account, _) = sandbox_account(client).await;
    let (other, _) = sandbox_account(client).await;
    for (to, account) in [("+447700900001", &account), ("+447700900002", &other)] {
        let send =
            "mutation($input: SendMessageInput!) { sendMessage(input: $input) { position } }";
        let input = json!({ "accountId": account, "to": to, "text": "Hello" });
        client.ask(send, json!({ "input": input })).await;
    }
    let wanted = eventually_within(Duration::from_secs(30), "both are counted", || async {
        let rows = stats(client, json!({ "groupBy": ["ACCOUNT"] })).await;
        (rows.len() == 2).then_some(rows)
    })
    .await;
    // Without a window there is nobody to write to freely.
    assert_eq!(sum(&wanted, "skipped"), 2, "{wanted:?}");
    assert_eq!(stats(client, json!({ "accountIds": [account] })).await.len(), 1);

    let input = json!({ "name": "one", "scopes": ["READ"], "accountIds": [account] });
    let create = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }";
    let data = client.ask(create, json!({ "input": input })).await;
    let limited = client.with_key(data["createApiKey"]["secret"].as_str().expect("a secret"));
    let rows = stats(&limited, json!({ "groupBy": ["ACCOUNT"] })).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["group"]["ACCOUNT"], account.as_str());
    let unknown = "0190a0a0-0000-7000-8000-000000000000";
    for asked in [
        json!({ "accountIds": [other] }),
        json!({ "accountIds": [unknown] }),
        json!({ "campaignIds": [unknown] }),
        json!({ "workspaceId": unknown }),
    ] {
        assert_eq!(refusal(&limited, filter(asked.clone())).await.0, "NOT_FOUND", "{asked}");
    }
    let sender = client.with_key(&key_with(client, &["SEND"]).await);
    assert_eq!(refusal(&sender, filter(json!({}))).await.0, "FORBIDDEN");

    let long = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z");
    for (asked, field) in [
        (json!({ "from": long.0, "to": long.1 }), "filter.bucket"),
        (json!({ "from": long.0, "to": long.1, "bucket": "MONTH" }), "filter.bucket"),
        (json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-04-01T00:00:00Z" }), "filter.bucket"),
        (json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z" }), "filter.to"),
        (json!({ "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z" }), "filter.to"),
        (json!({ "timeZone": "Mars/Base" }), "filter.timeZone"),
        (json!({ "groupBy": ["COUNTRY", "COUNTRY"] }), "filter.groupBy"),
        (json!({ "accountIds": vec![unknown; 201] }), "filter.accountIds"),
    ] {
        let refused = refusal(client, filter(asked.clone())).await;
        assert_eq!(refused, ("VALIDATION_FAILED".to_owned(), json!(field)), "{asked}");
    }
    gateway.terminate().await;
}
