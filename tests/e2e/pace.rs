//! Limits are obeyed before WhatsApp enforces them, by the sandbox's own record.

use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, SandboxProcess, Store, eventually, stores};
use serde_json::json;

use crate::common::{approved_template, count, import_people, launch, progress_when};

#[tokio::test(flavor = "multi_thread")]
async fn a_number_never_sends_more_than_granted_in_any_moving_second() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(3).await;
        sandbox.behave(json!({ "latencyMs": { "min": 1, "max": 60 } }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000003", 80).await;
        import_people(client, 600, "all").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "all").await;
        progress_when(client, &campaign, Duration::from_secs(60), "all are accepted", |c| {
            count(c, "accepted") == 600
        })
        .await;
        let stats = sandbox.sandbox.stats();
        let peak = stats.per_second_peak["402000000000003"];
        assert!(peak <= 80, "{peak} in a moving second");
        let violations: u64 =
            stats.pace_violations.values().chain(stats.pair_violations.values()).sum();
        assert_eq!(violations, 0, "{stats:?}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_waits_after_its_burst_and_others_do_not() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(4).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000004", 500).await;
        let body = json!({ "phoneNumberId": "402000000000004", "from": "447700900100", "type": "text", "text": { "body": "Hello" } });
        sandbox.sandbox.inbound(&body).expect("a person writes");
        eventually("the message is received", || async {
            let data = client
                .ask("{ messages(filter: { direction: INBOUND }) { nodes { id } } }", json!({}))
                .await;
            data["messages"]["nodes"].get(0).cloned()
        })
        .await;
        for index in 0..50 {
            let input = json!({ "accountId": account, "to": "+447700900100", "text": format!("Reply {index}") });
            client
                .ask("mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id status } } }", json!({ "input": input }))
                .await;
        }
        eventually("the burst has gone", || async {
            (sandbox.sandbox.stats().counted >= 20).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let stats = sandbox.sandbox.stats();
        assert_eq!(stats.pair_violations.values().sum::<u64>(), 0, "{stats:?}");
        assert!(stats.counted <= 45, "{stats:?}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
