//! From a contact list to sent, delivered, read and fully audited messages.

use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, SandboxProcess, Store, StoreKind, eventually, stores};
use serde_json::json;

use crate::common::{
    approved_template, assert_adds_up, count, import_people, launch, progress_when,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_goes_from_a_contact_list_to_read_with_every_fact_on_record() {
    for kind in stores() {
        main_job(kind).await;
    }
}

async fn main_job(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let sandbox = SandboxProcess::start(1).await;
    sandbox.behave(json!({ "deliveredRate": 1.0, "readRate": 1.0 }));
    let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
    let client = &gateway.client;
    let account = sandbox.connect(client, "402000000000001", 500).await;
    let import = import_people(client, 300, "vip").await;
    assert_eq!(
        (import["added"].as_u64(), import["rejected"].as_u64()),
        (Some(300), Some(0)),
        "{import}"
    );
    let template = approved_template(client, &account, "offers").await;
    let campaign = launch(client, &account, &template, "vip").await;
    let done = progress_when(client, &campaign, Duration::from_secs(60), "all are read", |c| {
        count(c, "read") == 300 && c["status"] == "COMPLETED"
    })
    .await;
    assert_adds_up(&done);
    assert_eq!(count(&done, "recipients"), 300);
    let stats = sandbox.sandbox.stats();
    assert_eq!((stats.counted, stats.distinct_callback_data, stats.counted_twice), (300, 300, 0));

    // The audit trail of one message: every fact, in order, with its cause.
    let query = "query($id: ID!) { campaign(id: $id) { messages(first: 1) { totalCount nodes { id status wamid to preview attempts \
                 acceptedAt sentAt deliveredAt readAt history(first: 50) { nodes { type sequence actor { kind } } } } } } }";
    let data = client.ask(query, json!({ "id": campaign })).await;
    let message = &data["campaign"]["messages"]["nodes"][0];
    assert_eq!(data["campaign"]["messages"]["totalCount"], 300);
    assert_eq!(message["status"], "READ");
    assert!(message["preview"].as_str().unwrap().starts_with("Hello Person "), "{message}");
    let types: Vec<&str> = message["history"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["type"].as_str().unwrap())
        .collect();
    assert_eq!(&types[..2], ["message.queued", "message.send_requested"], "{types:?}");
    for name in ["message.accepted", "message.sent", "message.delivered", "message.read"] {
        assert_eq!(types.iter().filter(|t| **t == name).count(), 1, "{types:?}");
    }
    // Restarted, it shows the same.
    let port = gateway.port;
    gateway.terminate().await;
    let gateway =
        Binary::start(&store, Some(&sandbox), &BinaryOptions { port, ..BinaryOptions::default() })
            .await;
    let again = progress_when(
        &gateway.client,
        &campaign,
        Duration::from_secs(30),
        "it is shown again",
        |c| c["status"] == "COMPLETED",
    )
    .await;
    assert_eq!(again["progress"], done["progress"]);
    gateway.terminate().await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_heard_before_the_next_campaign() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(2).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000002", 500).await;
        import_people(client, 5, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        sandbox
            .sandbox
            .inbound(&json!({ "phoneNumberId": "402000000000002", "from": "447700900003", "type": "text", "text": { "body": "Stop!" } }))
            .expect("a person writes");
        eventually("the opt-out is on record", || async {
            let query = "query { contacts(filter: { phoneNumbers: [\"+447700900003\"] }) { nodes { consent { status } } } }";
            let data = client.ask(query, json!({})).await;
            (data["contacts"]["nodes"][0]["consent"]["status"] == "OPTED_OUT").then_some(())
        })
        .await;
        let campaign = launch(client, &account, &template, "vip").await;
        let done = progress_when(
            client,
            &campaign,
            Duration::from_secs(60),
            "all but one are delivered",
            |c| count(c, "delivered") == 4 && c["status"] == "COMPLETED",
        )
        .await;
        assert_eq!(done["progress"]["skips"], json!([{ "reason": "OPTED_OUT", "count": 1 }]));
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
