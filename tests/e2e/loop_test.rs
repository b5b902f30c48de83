//! The loop test of a number, there and back, as its owner sees it.

use gateway_tests::{
    Binary, BinaryOptions, Client, Number, SandboxProcess, Store, StoreKind, eventually, stores,
};
use serde_json::{Value, json};

use crate::common::{key_with, sandbox_account};
use crate::schema::lab::Lab;
use crate::schema::samples::Kind;

const NUMBER: &str = "402000000000071";
const ANA: &str = "+447700900171";
const LOOP_TEST: &str = "query($id: ID!) { account(id: $id) { status loopTest { startedAt expiresAt state inboundAt acceptedAt \
                         deliveredAt message { id status to contactId launchedBy { kind } } } \
                         history(first: 100) { nodes { type data } } } }";
const START: &str = "mutation($id: ID!, $phone: PhoneNumber!) { testAccount(id: $id, phone: $phone) { account { loopTest { \
                     state inboundAt message { id } } } position } }";

async fn start(client: &Client, account: &str, phone: &str) -> Value {
    let data = client.ask(START, json!({ "id": account, "phone": phone })).await;
    data["testAccount"]["account"]["loopTest"].clone()
}

async fn account(client: &Client, id: &str) -> Value {
    client.ask(LOOP_TEST, json!({ "id": id })).await["account"].clone()
}

/// The account once its loop test is in this state.
async fn when(client: &Client, id: &str, state: &str) -> Value {
    eventually(state, || async {
        let answer = client.try_raw(LOOP_TEST, json!({ "id": id })).await?;
        let account = answer["data"]["account"].clone();
        (account["loopTest"]["state"] == state).then_some(account)
    })
    .await
}

fn writes(sandbox: &SandboxProcess, from: &str, text: &str) {
    let said =
        json!({ "phoneNumberId": NUMBER, "from": from, "type": "text", "text": { "body": text } });
    sandbox.sandbox.inbound(&said).expect("a person writes");
}

/// Until the sandbox has told everything and the gateway has understood it.
async fn told(sandbox: &SandboxProcess) {
    eventually("the sandbox has told everything", || async {
        (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
    })
    .await;
}

async fn received(client: &Client, count: u64) {
    eventually("what people wrote is on record", || async {
        let query = "{ messages(filter: { direction: INBOUND }) { totalCount } }";
        let data = client.ask(query, json!({})).await;
        (data["messages"]["totalCount"].as_u64()? >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_from_ones_own_phone_is_answered_once_and_the_answer_is_told_of() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(71).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let id = sandbox.connect(client, NUMBER, 500).await;
        assert_eq!(account(client, &id).await["loopTest"], Value::Null);

        // What was written before is no answer to a test, and neither is what others write.
        writes(&sandbox, ANA, "before");
        received(client, 1).await;
        let begun = start(client, &id, ANA).await;
        assert_eq!(begun["state"], "WAITING_FOR_INBOUND", "{begun}");
        writes(&sandbox, "+447700900172", "somebody else");
        writes(&sandbox, ANA, "hello");
        let passed = when(client, &id, "PASSED").await;
        let test = &passed["loopTest"];
        for name in ["inboundAt", "acceptedAt", "deliveredAt"] {
            assert!(test[name].is_string(), "{name}: {test}");
        }
        assert_eq!(
            (&test["message"]["status"], &test["message"]["to"]),
            (&json!("DELIVERED"), &json!(ANA))
        );
        assert_eq!(test["message"]["launchedBy"]["kind"], "API_KEY", "who asked for the test");
        writes(&sandbox, ANA, "thanks");
        received(client, 4).await;
        told(&sandbox).await;
        assert_eq!(sandbox.sends_to(NUMBER, ANA).len(), 1, "it is answered once");
        assert_eq!(sandbox.sends(NUMBER).len(), 1, "nobody else is answered");

        // A second test needs a message of its own. Who says stop is not written to.
        let again = start(client, &id, "+447700900173").await;
        assert_eq!(
            (&again["state"], &again["message"]),
            (&json!("WAITING_FOR_INBOUND"), &Value::Null)
        );
        writes(&sandbox, "+447700900173", "STOP");
        received(client, 5).await;
        assert_eq!(account(client, &id).await["loopTest"]["state"], "WAITING_FOR_INBOUND");
        assert_eq!(sandbox.sends(NUMBER).len(), 1);
        start(client, &id, ANA).await;
        writes(&sandbox, ANA, "once more");
        let second = when(client, &id, "PASSED").await;
        assert_ne!(second["loopTest"]["message"]["id"], test["message"]["id"]);
        assert_eq!(sandbox.sends_to(NUMBER, ANA).len(), 2);

        // Whose phone it is stays with who may see that, and goes with them.
        let phones = |account: &Value| -> Vec<Value> {
            let history = account["history"]["nodes"].as_array().expect("a history");
            let started = history.iter().filter(|it| it["type"] == "account.loop_test_started");
            started.map(|event| event["data"]["phone"].clone()).collect()
        };
        assert_eq!(phones(&second), [ANA, "+447700900173", ANA]);
        let reader = client.with_key(&key_with(client, &["READ"]).await);
        let masked = account(&reader, &id).await;
        assert_eq!(masked["loopTest"]["state"], "PASSED");
        assert!(!masked.to_string().contains("+4477009"), "{masked}");
        let erase =
            "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked for it\") { position } }";
        client.ask(erase, json!({ "id": second["loopTest"]["message"]["contactId"] })).await;
        let erased = account(client, &id).await;
        assert_eq!(phones(&erased), [Value::Null, json!("+447700900173"), Value::Null]);
        assert_eq!(erased["loopTest"]["state"], "PASSED");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_the_answer_shows_and_a_kill_loses_neither_the_test_nor_sends_twice() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(72).await;
        let mut gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let (port, client) = (gateway.port, gateway.client.clone());
        let id = sandbox.connect(&client, NUMBER, 500).await;
        let pause =
            "mutation($id: ID!) { pauseAccount(id: $id, reason: \"holidays\") { position } }";
        client.ask(pause, json!({ "id": id })).await;
        start(&client, &id, ANA).await;
        gateway.kill().await;
        gateway =
            Binary::start(&store, Some(&sandbox), &BinaryOptions { settings: vec![], port }).await;
        writes(&sandbox, ANA, "hello");
        let failed = when(&client, &id, "FAILED").await;
        assert!(failed["loopTest"]["inboundAt"].is_string(), "{failed}");
        assert_eq!(failed["status"], "PAUSED");
        gateway.kill().await;
        gateway =
            Binary::start(&store, Some(&sandbox), &BinaryOptions { settings: vec![], port }).await;
        let resume = "mutation($id: ID!) { resumeAccount(id: $id) { position } }";
        client.ask(resume, json!({ "id": id })).await;
        when(&client, &id, "PASSED").await;
        assert_eq!(sandbox.sends_to(NUMBER, ANA).len(), 1);

        // A token that WhatsApp does not take any more.
        let number = Number { token: "EAACANARYTOKENOTHER".to_owned(), ..Number::new(NUMBER) };
        let url = format!("{}/webhooks/whatsapp/{id}", client.base);
        sandbox.sandbox.provision(number.spec(Some(url))).expect("another token");
        start(&client, &id, ANA).await;
        writes(&sandbox, ANA, "hello again");
        let failed = when(&client, &id, "FAILED").await;
        assert_eq!(failed["status"], "PAUSED", "{failed}");
        let rotate = "mutation($id: ID!, $token: String!) { rotateAccountCredentials(input: { id: $id, accessToken: $token }) { \
                      account { status } } }";
        client.ask(rotate, json!({ "id": id, "token": number.token })).await;
        when(&client, &id, "PASSED").await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_sandboxs_phone_writes_by_itself() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let client = &gateway.client;
        let (id, _) = sandbox_account(client).await;
        start(client, &id, ANA).await;
        let passed = when(client, &id, "PASSED").await;
        assert_eq!(passed["loopTest"]["message"]["to"], ANA);
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_happened_within_ten_minutes_has_expired() {
    // Nobody interprets webhooks here.
    let lab = Lab::new(StoreKind::Sqlite).await;
    let id = &lab.own[&Kind::Account];
    start(&lab.admin, id, ANA).await;
    let waiting = account(&lab.admin, id).await;
    assert_eq!(waiting["loopTest"]["state"], "WAITING_FOR_INBOUND");
    lab.move_clock(chrono::Duration::seconds(9 * 60));
    assert_eq!(account(&lab.admin, id).await["loopTest"]["state"], "WAITING_FOR_INBOUND");
    lab.move_clock(chrono::Duration::seconds(60));
    let expired = account(&lab.admin, id).await;
    assert_eq!(expired["loopTest"]["state"], "EXPIRED");
    // As it was known when it was asked for.
    let then =
        "query($id: ID!, $at: DateTime!) { account(id: $id, asOf: $at) { loopTest { state } } }";
    let at = expired["loopTest"]["startedAt"].as_str().expect("a time");
    let at =
        at.parse::<chrono::DateTime<chrono::Utc>>().expect("a time") + chrono::Duration::seconds(5);
    let data = lab.admin.ask(then, json!({ "id": id, "at": at })).await;
    assert_eq!(data["account"]["loopTest"]["state"], "WAITING_FOR_INBOUND");
    lab.stop().await;
}
