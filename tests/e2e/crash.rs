//! Killed at any moment, everything goes on: nothing lost, nothing sent twice.

use std::collections::HashMap;
use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, SandboxProcess, Store, StoreKind, eventually_within, stores,
};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::common::{
    approved_template, assert_adds_up, count, import_people, launch, progress_when,
};

const RECIPIENTS: u32 = 5_000;
const KILLS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn killed_ten_times_a_campaign_reaches_everybody_at_most_once() {
    for kind in stores() {
        crash(kind).await;
    }
}

async fn crash(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let sandbox = SandboxProcess::start(11).await;
    let settings = vec![("graph.timeout_s".to_owned(), "5".to_owned())];
    let mut gateway = Binary::start(
        &store,
        Some(&sandbox),
        &BinaryOptions { settings: settings.clone(), port: 0 },
    )
    .await;
    let port = gateway.port;
    let client = gateway.client.clone();
    let account = sandbox.connect(&client, "402000000000011", 400).await;
    import_people(&client, RECIPIENTS, "all").await;
    let template = approved_template(&client, &account, "offers").await;
    sandbox.behave(json!({
        "latencyMs": { "min": 1, "max": 30 }, "statusDelayMs": { "min": 0, "max": 1500 },
        "deliveredRate": 1.0, "readRate": 0.5, "acceptedButNoAnswer": 0.01, "http500Accepted": 0.005,
        "http500Refused": 0.005, "duplicateWebhooks": 0.1, "shuffleWebhooks": true,
    }));
    let campaign = launch(&client, &account, &template, "all").await;
    let mut random = rand::rngs::StdRng::seed_from_u64(5);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1_500))).await;
        gateway.kill().await;
        gateway = Binary::start(
            &store,
            Some(&sandbox),
            &BinaryOptions { settings: settings.clone(), port },
        )
        .await;
    }
    let done =
        progress_when(&client, &campaign, Duration::from_secs(240), "nobody is pending", |c| {
            count(c, "recipients") == u64::from(RECIPIENTS) && count(c, "pending") == 0
        })
        .await;
    // Statuses still under way come in.
    eventually_within(Duration::from_secs(120), "the sandbox has told everything", || async {
        (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
    })
    .await;
    let settled = progress_when(
        &client,
        &campaign,
        Duration::from_secs(120),
        "what is told is on record",
        |c| count(c, "delivered") == sandbox.sandbox.stats().counted,
    )
    .await;
    assert_adds_up(&settled);
    assert_eq!(count(&settled, "failed"), 0, "{settled}");
    // Refused with HTTP 500 and never sent: nobody told us, so they visibly wait, and they are few.
    let in_doubt = count(&settled, "inDoubt");
    assert!(in_doubt <= u64::from(RECIPIENTS) / 50, "{settled}");
    assert_eq!(count(&settled, "delivered") + in_doubt, u64::from(RECIPIENTS), "{settled} {done}");
    let stats = sandbox.sandbox.stats();
    assert_eq!(stats.counted_twice, 0, "{stats:?}");
    let mut counted: HashMap<String, u32> = HashMap::new();
    for call in sandbox.sandbox.calls(0).expect("the record") {
        if call.counted {
            *counted.entry(call.to.clone().unwrap_or_default()).or_default() += 1;
        }
    }
    assert!(counted.values().all(|times| *times == 1), "somebody got it twice");
    // The read models equal a rebuild from the log.
    let before = snapshot(&client, &campaign).await;
    for name in ["directory", "contacts", "messages"] {
        client
            .ask(
                "mutation($n: String!) { rebuildProjection(name: $n) { projection { name } } }",
                json!({ "n": name }),
            )
            .await;
    }
    eventually_within(Duration::from_secs(120), "the read models are rebuilt", || async {
        let data = client.ask("{ projections { status lag } }", json!({})).await;
        data["projections"]
            .as_array()?
            .iter()
            .all(|p| p["status"] == "LIVE" && p["lag"] == 0)
            .then_some(())
    })
    .await;
    assert_eq!(snapshot(&client, &campaign).await, before);
    gateway.terminate().await;
    sandbox.stop().await;
}

/// Everything that the read models say of the campaign.
async fn snapshot(client: &gateway_tests::Client, campaign: &str) -> Value {
    let mut all = vec![client.ask(crate::common::PROGRESS, json!({ "id": campaign })).await];
    let mut after = Value::Null;
    loop {
        let query = "query($id: ID!, $after: String) { campaign(id: $id) { messages(first: 500, after: $after) { nodes { id status to wamid \
                     attempts preview acceptedAt sentAt deliveredAt readAt } pageInfo { hasNextPage endCursor } } } }";
        let data = client.ask(query, json!({ "id": campaign, "after": after })).await;
        let page = &data["campaign"]["messages"];
        all.push(page["nodes"].clone());
        if page["pageInfo"]["hasNextPage"] != true {
            return Value::from(all);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}
