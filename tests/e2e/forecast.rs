//! What a forecast says beforehand is what the run does: forecast, then launched, then counted by the gateway and by
//! WhatsApp's own record.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use gateway_tests::{Binary, BinaryOptions, Client, SandboxProcess, Store, stores};
use serde_json::{Value, json};

use crate::common::{approved_template, count, import_csv, key_with, progress_when};

const FORECAST: &str = "query($id: ID!) { campaignForecast(id: $id) { recipients toSend expired firstSendAt lastSendAt limitedBy \
                        skipped { reason count } zones { timeZone source count firstSendAt } cost { amount } asOf \
                        sample(first: 50) { contactId sendAt localTime timeZone preview } } }";

/// Messages a second that the campaign allows itself: slow enough that its end is seconds away.
const PACE: u64 = 20;

fn instant(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("no instant: {value}"));
    text.parse().unwrap_or_else(|_| panic!("no instant: {text}"))
}

fn by_reason(skips: &Value) -> BTreeMap<String, u64> {
    let skips = skips.as_array().expect("a list");
    let reason = |skip: &Value| skip["reason"].as_str().expect("a reason").to_owned();
    skips.iter().map(|skip| (reason(skip), skip["count"].as_u64().expect("a count"))).collect()
}

fn rows(prefix: u64, count: u64, line: impl Fn(u64) -> String) -> String {
    (0..count).map(|n| format!("+{},{}\n", prefix + n, line(n))).collect()
}

/// People who get it and people who do not, each for a reason of their own.
async fn people(client: &Client) {
    let head = "phone,name,time_zone,consent\n";
    let named = |n: u64| format!("Person {n},,OPTED_IN");
    let mut csv = String::from(head);
    csv += &rows(4_915_170_000_000, 60, named);
    csv += &rows(81_902_340_000, 30, named);
    csv += &rows(447_700_900_000, 30, |n| format!("Person {n},America/New_York,OPTED_IN"));
    // Marketing templates are not delivered to the United States.
    csv += &rows(12_125_550_100, 7, named);
    csv += &rows(4_915_171_000_000, 11, |n| format!("Person {n},,OPTED_OUT"));
    csv += &rows(4_915_172_000_000, 13, |_| ",,OPTED_IN".to_owned());
    import_csv(client, &csv, "world").await;
}

async fn draft(client: &Client, account: &str, template: &str) -> String {
    let input = json!({
        "accountId": account, "templateId": template, "name": "Offers", "messagesPerSecond": PACE,
        "parameters": { "body.1": "{{name}}" }, "audience": { "tags": ["world"] },
    });
    let data = client
        .ask("mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }", json!({ "input": input }))
        .await;
    data["createCampaign"]["campaign"]["id"].as_str().expect("an id").to_owned()
}

/// When WhatsApp took each of the campaign's messages, by contact.
async fn accepted(client: &Client, campaign: &str) -> BTreeMap<String, DateTime<Utc>> {
    let query = "query($id: ID!) { campaign(id: $id) { messages(first: 500) { nodes { acceptedAt contact { id } } } } }";
    let data = client.ask(query, json!({ "id": campaign })).await;
    let nodes = data["campaign"]["messages"]["nodes"].as_array().expect("messages").clone();
    let accepted = nodes.iter().filter(|node| !node["acceptedAt"].is_null());
    let id = |node: &Value| node["contact"]["id"].as_str().expect("an id").to_owned();
    accepted.map(|node| (id(node), instant(&node["acceptedAt"]))).collect()
}

/// What the log has of messages, campaigns and people, and what WhatsApp was asked: what a forecast must not add to.
async fn traces(client: &Client, sandbox: &SandboxProcess) -> (Vec<usize>, u64) {
    let mut counts = vec![];
    for kind in ["message", "campaign", "contact"] {
        let query =
            "query($filter: EventFilter) { events(filter: $filter, first: 500) { nodes { id } } }";
        let data = client.ask(query, json!({ "filter": { "aggregateType": kind } })).await;
        counts.push(data["events"]["nodes"].as_array().expect("events").len());
    }
    (counts, sandbox.sandbox.stats().counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_does_what_the_forecast_said() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(41).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000041", 80).await;
        people(client).await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = draft(client, &account, &template).await;

        let before = traces(client, &sandbox).await;
        let forecast = client.ask(FORECAST, json!({ "id": campaign })).await;
        let forecast = &forecast["campaignForecast"];
        assert_eq!(traces(client, &sandbox).await, before, "a forecast leaves no trace");
        assert_eq!(forecast["recipients"], 151, "{forecast}");
        assert_eq!((&forecast["toSend"], &forecast["expired"]), (&json!(120), &json!(0)));
        let skipped = by_reason(&forecast["skipped"]);
        let expected = [("MARKETING_BLOCKED", 7), ("OPTED_OUT", 11), ("MISSING_PARAMETER", 13)];
        assert_eq!(skipped, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
        assert_eq!(forecast["limitedBy"], "campaign pace");
        assert_eq!(forecast["cost"], Value::Null, "nobody said what a message costs");
        let zones: Vec<_> = forecast["zones"]
            .as_array()
            .expect("zones")
            .iter()
            .map(|zone| {
                (
                    zone["timeZone"].as_str().unwrap(),
                    zone["source"].as_str().unwrap(),
                    zone["count"].as_u64().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("Europe/Berlin", "number", 60),
            ("America/New_York", "contact", 30),
            ("Asia/Tokyo", "number", 30),
        ];
        assert_eq!(zones, expected);
        let sample = forecast["sample"].as_array().expect("a sample");
        assert!((25..=50).contains(&sample.len()), "{}", sample.len());
        assert!(sample[0]["preview"].as_str().unwrap().starts_with("Hello Person "));

        // Whoever may not see people sees none here either.
        let reader = client.with_key(&key_with(client, &["READ"]).await);
        let masked = reader.ask(FORECAST, json!({ "id": campaign })).await.to_string();
        assert!(!masked.contains("Person 1"), "{masked}");

        let launched = client
            .ask(
                "mutation($id: ID!) { launchCampaign(id: $id, maxRecipients: 151) { campaign { id startedAt } } }",
                json!({ "id": campaign }),
            )
            .await;
        let done = progress_when(client, &campaign, Duration::from_secs(60), "it is over", |c| {
            c["status"] == "COMPLETED"
        })
        .await;
        assert_eq!(count(&done, "recipients"), 151);
        assert_eq!(count(&done, "accepted"), 120, "{done}");
        assert_eq!(by_reason(&done["progress"]["skips"]), skipped);
        assert_eq!(sandbox.sandbox.stats().counted, 120);

        // The same length, from the launch on, and each of the sample at its time.
        let shift = instant(&launched["launchCampaign"]["campaign"]["startedAt"])
            - instant(&forecast["asOf"]);
        let run = accepted(client, &campaign).await;
        // A busy machine is slower than what it may send, and never faster.
        let length = instant(&forecast["lastSendAt"]) - instant(&forecast["firstSendAt"]);
        assert!((5..9).contains(&length.num_seconds()), "{length} for 120 at {PACE} a second");
        let near = |said: &Value, was: DateTime<Utc>| {
            let late = was - (instant(said) + shift);
            assert!(late > chrono::Duration::milliseconds(-1_500), "{late} before what was said");
            assert!(late < length * 3 + chrono::Duration::seconds(4), "{late} after what was said");
        };
        near(&forecast["firstSendAt"], *run.values().min().expect("somebody"));
        near(&forecast["lastSendAt"], *run.values().max().expect("somebody"));
        for message in sample {
            near(&message["sendAt"], run[message["contactId"].as_str().unwrap()]);
        }

        let over = client.ask(FORECAST, json!({ "id": campaign })).await;
        assert_eq!(over["campaignForecast"]["recipients"], 0, "{over}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_what_was_allowed_is_not_launched() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(42).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000042", 80).await;
        people(client).await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = draft(client, &account, &template).await;
        let refused = async |arguments: &str| {
            let mutation = format!(
                "mutation($id: ID!) {{ launchCampaign(id: $id, {arguments}) {{ campaign {{ id }} }} }}"
            );
            client.query(&mutation, json!({ "id": campaign })).await.expect_err(arguments)
        };
        for arguments in
            ["maxRecipients: 150", "maxCost: \"1000\", maxRecipients: 151", "maxCost: \"0\""]
        {
            let error = refused(arguments).await;
            assert_eq!(error.code, "CONFLICT", "{error:?}");
            if arguments.starts_with("maxCost") {
                assert!(error.message.contains("MARKETING in DE"), "{error:?}");
            }
        }
        for arguments in
            ["maxRecipients: -1", "maxCost: \"-1\"", "maxCost: \"a lot\"", "maxCost: \"1e3\""]
        {
            assert_eq!(refused(arguments).await.code, "VALIDATION_FAILED", "{arguments}");
        }
        let rates = json!([{ "countries": [], "category": "MARKETING", "currency": "EUR", "amount": "0.1", "validFrom": "2026-01-01" }]);
        client
            .ask(
                "mutation($input: SetRateCardInput!) { setRateCard(input: $input) { position } }",
                json!({ "input": { "rates": rates } }),
            )
            .await;
        let error = refused("maxCost: \"11.99\"").await;
        assert_eq!(error.code, "CONFLICT");
        assert!(error.message.contains("cost 12 EUR and not 11.99"), "{error:?}");
        let priced = client.ask(FORECAST, json!({ "id": campaign })).await;
        assert_eq!(priced["campaignForecast"]["cost"]["amount"], "12", "{priced}");
        let unknown = "5f0c6d0e-0000-7000-8000-000000000000";
        let error = client.query(FORECAST, json!({ "id": unknown })).await.expect_err("none");
        assert_eq!(error.code, "NOT_FOUND");
        for first in [-1, 51] {
            let query = format!(
                "query($id: ID!) {{ campaignForecast(id: $id) {{ sample(first: {first}) {{ preview }} }} }}"
            );
            let error =
                client.query(&query, json!({ "id": campaign })).await.expect_err("too many");
            assert_eq!(error.code, "VALIDATION_FAILED", "{error:?}");
        }
        let data = client
            .ask("query($id: ID!) { campaign(id: $id) { status } }", json!({ "id": campaign }))
            .await;
        assert_eq!(data["campaign"]["status"], "DRAFT");
        assert_eq!(sandbox.sandbox.stats().counted, 0);
        let allowed = client
            .ask(
                "mutation($id: ID!) { launchCampaign(id: $id, maxCost: \"12\") { campaign { status } } }",
                json!({ "id": campaign }),
            )
            .await;
        assert_eq!(allowed["launchCampaign"]["campaign"]["status"], "RUNNING");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
