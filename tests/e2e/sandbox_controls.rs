//! The controls of the sandbox inside the gateway: where they answer, and to whom.

use gateway_tests::{Binary, BinaryOptions, Client, Store, StoreKind, eventually};
use serde_json::{Value, json};

use crate::common::{key_with, sandbox_account};

/// The answer's status and body.
async fn post(client: &Client, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}{path}", client.base);
    let mut request = client.http().post(url).json(&body);
    if !client.key.is_empty() {
        request = request.bearer_auth(&client.key);
    }
    let response = request.send().await.expect("the gateway answers");
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

async fn get(client: &Client, path: &str) -> u16 {
    let request = client.http().get(format!("{}{path}", client.base)).bearer_auth(&client.key);
    request.send().await.expect("the gateway answers").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_writes_through_the_controls_of_the_sandbox_inside() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let client = &gateway.client;
    let (account, number) = sandbox_account(client).await;
    // The number is provisioned and its webhook verified in the background.
    let writes = json!({
        "phoneNumberId": number, "from": "447700900001", "type": "text", "text": "Good morning",
    });
    eventually("the sandbox knows the number", || async {
        let (status, _) = post(client, "/_sandbox/inbound", writes.clone()).await;
        (status == 201).then_some(())
    })
    .await;
    let query = "query($filter: MessageFilter!) { messages(filter: $filter) { nodes { direction preview } } }";
    let filter = json!({ "filter": { "accountIds": [account], "direction": "INBOUND" } });
    let message = eventually("the message is there", || async {
        let mut data = client.ask(query, filter.clone()).await;
        data["messages"]["nodes"].get_mut(0).map(Value::take)
    })
    .await;
    assert_eq!(message["preview"], "Good morning", "{message}");
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controls_answer_admins_alone_and_at_one_place() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let admin = &gateway.client;
    let everything_else = key_with(admin, &["READ", "PERSONAL", "SEND", "MANAGE"]).await;
    let callers = [
        (admin.clone(), 200),
        (admin.with_key(&everything_else), 403),
        (admin.with_key("wgk_nobodys"), 401),
        (admin.with_key(""), 401),
    ];
    for (caller, expected) in &callers {
        for path in ["stats", "calls", "numbers", "behaviour"] {
            let status = get(caller, &format!("/_sandbox/{path}")).await;
            assert_eq!(status, *expected, "GET {path}");
        }
    }
    let (status, body) =
        post(&callers[1].0, "/_sandbox/inbound", json!({ "phoneNumberId": "1" })).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("FORBIDDEN")), "{body}");
    let (status, body) = post(&callers[3].0, "/_sandbox/webhooks", json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("UNAUTHENTICATED")), "{body}");
    assert_eq!(get(admin, "/_sandbox/_sandbox/stats").await, 404);
    gateway.terminate().await;

    // Not offered, they are not there, whoever asks.
    let settings = vec![("sandbox.controls".to_owned(), "false".to_owned())];
    let options = BinaryOptions { settings, ..BinaryOptions::default() };
    let gateway = Binary::start(&store, None, &options).await;
    assert_eq!(get(&gateway.client, "/_sandbox/stats").await, 404);
    gateway.terminate().await;
}
