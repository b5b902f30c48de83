//! What WhatsApp has told is interpreted again, and nothing changes by it.

use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Store, eventually, run, stores,
};
use infrastructure::sandbox::TemplateEvent;
use serde_json::{Value, json};

use crate::common::{approved_template, count, import_people, launch, progress_when, quiet};

const NUMBER: &str = "402000000000041";
const PEOPLE: u32 = 20;
/// Of the people, by the end of the number.
const STOPPED: u32 = 3;
const CAME_BACK: u32 = 4;
const MOVED_AWAY: u32 = 5;
const NEW_NUMBER: u32 = 99;

#[tokio::test(flavor = "multi_thread")]
async fn interpreting_the_whole_journal_again_changes_nothing() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(41).await;
        // Some stop marketing in WhatsApp itself: a status that opts them out.
        sandbox.behave(json!({ "readRate": 1.0, "errorRates": { "131050": 0.4 } }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        import_people(client, PEOPLE, "all").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "all").await;
        let done = progress_when(client, &campaign, Duration::from_secs(60), "all is told", |c| {
            c["status"] == "COMPLETED" && count(c, "read") + count(c, "failed") == u64::from(PEOPLE)
        })
        .await;
        assert!(count(&done, "failed") > 0 && count(&done, "read") > 0, "{done}");
        let people = [STOPPED, CAME_BACK, MOVED_AWAY];
        for (who, words) in people.into_iter().zip(["STOP", "STOP", "hello"]) {
            says(&sandbox, who, words);
        }
        opted_out_when(client, STOPPED, true).await;
        opted_out_when(client, CAME_BACK, true).await;
        // People have decided otherwise since, and so has WhatsApp.
        let consents =
            "mutation($input: RecordConsentInput!) { recordConsent(input: $input) { position } }";
        let came_back = contact(client, CAME_BACK).await["id"].clone();
        let input = json!({ "contactId": came_back, "status": "OPTED_IN", "source": "a form" });
        client.ask(consents, json!({ "input": input })).await;
        opted_out_when(client, CAME_BACK, false).await;
        let moves = json!({
            "phoneNumberId": NUMBER, "from": phone(MOVED_AWAY), "type": "system",
            "system": { "type": "user_changed_number", "wa_id": phone(NEW_NUMBER), "body": "moved" },
        });
        sandbox.sandbox.inbound(&moves).expect("a notice");
        eventually("the person has their new number", || async {
            contact(client, NEW_NUMBER).await["id"].as_str().map(drop)
        })
        .await;
        for (event, status) in [("PAUSED", "PAUSED"), ("REINSTATED", "APPROVED")] {
            let event = TemplateEvent {
                name: "offers".to_owned(),
                event: event.to_owned(),
                ..TemplateEvent::default()
            };
            sandbox.sandbox.template_event(&event).expect("a template");
            eventually(status, || async {
                let query = "query($id: ID!) { template(id: $id) { status } }";
                let data = client.ask(query, json!({ "id": template })).await;
                (data["template"]["status"] == status).then_some(())
            })
            .await;
        }
        // Entries are interpreted in their order: with this one all before it are.
        says(&sandbox, 0, "the end");
        received(client, "the end").await;
        quiet(client).await;
        let before = events_after(client, &Value::Null).await;

        let future = run(&store, &["journal", "replay", "--since", "2999-01-01T00:00:00Z"]).await;
        assert_eq!(future.code, Some(0), "{}", future.err);
        assert!(future.out.starts_with("nothing to interpret again"), "{}", future.out);
        for wrong in [&["journal", "replay"][..], &["journal", "replay", "--after", "x"]] {
            assert_eq!(run(&store, wrong).await.code, Some(2));
        }
        for (n, since) in [["--after", "0"], ["--since", "2020-01-01T00:00:00Z"]].iter().enumerate()
        {
            let again = run(&store, &["journal", "replay", since[0], since[1]]).await;
            assert_eq!(again.code, Some(0), "{}", again.err);
            assert!(again.out.starts_with("notifications after 0 up to"), "{}", again.out);
            let words = format!("replayed {n}");
            says(&sandbox, 0, &words);
            received(client, &words).await;
        }
        let last = before.last().expect("there were events")["position"].clone();
        let since: Vec<String> = events_after(client, &last)
            .await
            .iter()
            .map(|event| event["type"].as_str().unwrap_or_default().to_owned())
            // Where a second has passed in between.
            .filter(|kind| kind != "conversation.window_extended")
            .collect();
        // What people wrote meanwhile, and nothing else.
        assert_eq!(since, ["message.received", "message.received"]);
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_do_everything_sends_the_interpretation_back() {
    let store = Store::fresh(gateway_tests::StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let client = &gateway.client;
    let manager = crate::common::key_with(client, &["READ", "MANAGE", "SEND"]).await;
    let asks = async |key: &str, query: &str| {
        let url = format!("{}/journal/replay{query}", client.base);
        let request = client.http().post(url).bearer_auth(key);
        request.send().await.expect("the gateway answers").status().as_u16()
    };
    assert_eq!(asks(&manager, "?after=0").await, 403);
    assert_eq!(asks("wgk_none", "?after=0").await, 401);
    for wrong in
        ["", "?after=-1", "?since=yesterday", "?after=1&since=2026-01-01T00:00:00Z", "?from=1"]
    {
        assert_eq!(asks(&client.key, wrong).await, 400, "{wrong}");
    }
    assert_eq!(asks(&client.key, "?after=0").await, 202);
    gateway.terminate().await;
}

fn phone(who: u32) -> String {
    format!("4477009000{who:02}")
}

fn says(sandbox: &SandboxProcess, who: u32, words: &str) {
    let message = json!({
        "phoneNumberId": NUMBER, "from": phone(who), "type": "text", "text": { "body": words },
    });
    sandbox.sandbox.inbound(&message).expect("a person writes");
}

async fn received(client: &Client, words: &str) {
    let query = "{ messages(filter: { direction: INBOUND }, first: 5) { nodes { preview } } }";
    eventually(words, || async {
        let data = client.ask(query, json!({})).await;
        let messages = data["messages"]["nodes"].as_array()?.clone();
        messages.iter().any(|message| message["preview"] == words).then_some(())
    })
    .await;
}

async fn contact(client: &Client, who: u32) -> Value {
    let query = "query($phones: [PhoneNumber!]) { contacts(filter: { phoneNumbers: $phones }) { nodes { id consent { status } } } }";
    let data = client.ask(query, json!({ "phones": [format!("+{}", phone(who))] })).await;
    data["contacts"]["nodes"][0].clone()
}

async fn opted_out_when(client: &Client, who: u32, is_out: bool) {
    eventually("the person's wish is on record", || async {
        let contact = contact(client, who).await;
        ((contact["consent"]["status"] == "OPTED_OUT") == is_out).then_some(())
    })
    .await;
}

async fn events_after(client: &Client, after: &Value) -> Vec<Value> {
    let query = "query($after: Position) { events(after: $after, first: 500) { nodes { position type } \
                 pageInfo { hasNextPage endCursor } } }";
    let mut after = after.clone();
    let mut found = vec![];
    loop {
        let data = client.ask(query, json!({ "after": after })).await;
        let page = &data["events"];
        found.extend(page["nodes"].as_array().expect("events").iter().cloned());
        if page["pageInfo"]["hasNextPage"] != true {
            return found;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}
