//! The guides, followed word for word.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use gateway_tests::{Receiver, Script, Shell, eventually};
use ring::hmac;
use serde_json::{Value, json};

fn json_in(shell: &Shell, name: &str) -> Value {
    serde_json::from_str(&shell.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Where the other guides go on.
async fn after_the_quickstart() -> Option<Shell> {
    let mut shell = Shell::start()?;
    shell.follow("quickstart.md", "").await;
    Some(shell)
}

#[tokio::test(flavor = "multi_thread")]
async fn quickstart() {
    let Some(shell) = after_the_quickstart().await else { return };
    let state = json_in(&shell, "state.json");
    assert_eq!(state["message"]["preview"], "Hello Ada, your account is ready.");
    let events = shell.read("events.ndjson");
    let types: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["type"].clone())
        .collect();
    assert_eq!(types[..2], [json!("message.queued"), json!("message.send_requested")]);
    assert!(types.contains(&json!("message.delivered")), "{types:?}");
    assert!(shell.log().contains("Data of message.queued, version 1"), "{}", shell.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn order_confirmation() {
    let Some(mut shell) = after_the_quickstart().await else { return };
    shell.follow("order-confirmation.md", "").await;
    let state = json_in(&shell, "state.json");
    let text = "Hello Ada, we have your order 1042 over £12.50. Thank you!";
    assert_eq!(state["messages"]["nodes"][0]["preview"], text);
    let events = shell.read("events.ndjson");
    assert!(events.lines().count() >= 4, "{events}");
    assert!(
        events.lines().all(|line| line.ends_with("\"c-77\"]") || line.contains("queued")),
        "{events}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_receiver_in_node() {
    webhook_receiver("node").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_receiver_in_python() {
    webhook_receiver("python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_receiver_in_php() {
    webhook_receiver("php").await;
}

async fn webhook_receiver(language: &str) {
    let Some(mut shell) = after_the_quickstart().await else { return };
    shell.follow("webhook-receiver.md", language).await;
    let folder = |name: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(shell.dir.path().join(name)).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect()
    };
    let done: Vec<String> = folder("done").into_iter().collect();
    let types: Vec<Value> =
        done.iter().map(|name| json_in(&shell, &format!("done/{name}"))["type"].clone()).collect();
    assert!(types.contains(&json!("message.delivered")), "{types:?}");
    let first = json_in(&shell, &format!("done/{}", done[0]));
    assert_eq!(first["externalid"], "order-77");

    let secret = json_in(&shell, "endpoint.json")["createWebhookEndpoint"]["secret"].clone();
    let key =
        STANDARD.decode(&secret.as_str().expect("a secret")["whsec_".len()..]).expect("base64");
    let sign = |id: &str, at: i64, body: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(signed))
    };
    let http = shell.client().http().clone();
    let url = format!("{}/whatsapp", shell.readers_url());
    let post = async |id: &str, at: i64, signature: &str, body: &str| {
        let request = http
            .post(&url)
            .header("webhook-id", id)
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", signature)
            .body(body.to_owned());
        request.send().await.expect("the receiver answers").status().as_u16()
    };
    // Raw: what is written anew has other bytes.
    let body = |sequence: u32| {
        format!(
            "{{ \"subject\":  \"message/m\",\"sequence\": \"{sequence}\",\n \"id\": \"e{sequence}\", \"note\": \"Zo\\u00eb Zoë €\" }}"
        )
    };
    let now = Utc::now().timestamp();
    let (second, tenth) = (body(2), body(10));
    for (at, body) in [(now - 60, &tenth), (now, &second), (now, &tenth), (now, &second)] {
        assert_eq!(post("e", at, &sign("e", at, body), body).await, 204, "{}", shell.log());
    }
    // While a secret is rotated, one of two fits.
    let both = format!("v1,{} {}", STANDARD.encode([7; 32]), sign("e", now, &body(11)));
    assert_eq!(post("e", now, &both, &body(11)).await, 204);
    let inbox = folder("inbox");
    let kept: Vec<&str> =
        inbox.iter().map(String::as_str).filter(|name| name.contains("message_m.")).collect();
    let expected =
        ["message_m.0000000002.json", "message_m.0000000010.json", "message_m.0000000011.json"];
    assert_eq!(kept, expected, "each once, and in order");
    assert_eq!(shell.read("inbox/message_m.0000000002.json"), second, "as it came");
    let drafts: Vec<_> = inbox.iter().filter(|name| name.starts_with('.')).collect();
    assert!(drafts.is_empty(), "{drafts:?}");

    let third = body(3);
    let other_key = hmac::Key::new(hmac::HMAC_SHA256, b"another");
    let forged = hmac::sign(&other_key, format!("e.{now}.{third}").as_bytes());
    for (what, id, at, signature, body) in [
        ("another body", "e", now, sign("e", now, &second), &third),
        ("another id", "f", now, sign("e", now, &third), &third),
        ("another time", "e", now - 1, sign("e", now, &third), &third),
        ("another secret", "e", now, format!("v1,{}", STANDARD.encode(forged)), &third),
        ("too old", "e", now - 600, sign("e", now - 600, &third), &third),
        ("from the future", "e", now + 600, sign("e", now + 600, &third), &third),
        ("another version", "e", now, sign("e", now, &third).replace("v1,", "v2,"), &third),
        ("no signature", "e", now, String::new(), &third),
    ] {
        assert_eq!(post(id, at, &signature, body).await, 401, "{what}");
    }
    let unsigned = http.post(&url).body(third.clone()).send().await.expect("it answers");
    assert_eq!(unsigned.status(), 401);
    assert_eq!(folder("inbox"), inbox, "nothing of it was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn shop() {
    let Some(mut shell) = after_the_quickstart().await else { return };
    shell.follow("shop.md", "").await;
    let told = json_in(&shell, "told.json");
    let texts: BTreeSet<&str> = told["messages"]["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| node["preview"].as_str().expect("a text"))
        .collect();
    let expected = [
        "Hello Ada, for your order 727 we have paid back 12.50 GBP.",
        "Hello Ada, we have your order 727 over 12.50 GBP. Thank you!",
        "Hello Ada, your order 727 has left our house.",
    ];
    assert_eq!(texts.into_iter().collect::<Vec<_>>(), expected);

    // A shop of our own, which posts as WooCommerce does.
    let http = shell.client().http().clone();
    let url = shell.readers_url();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"choose-a-long-one");
    let post = async |body: String, signature: Option<String>| {
        let mut request = http.post(&url).header("content-type", "application/json").body(body);
        if let Some(signature) = signature {
            request = request
                .header("x-wc-webhook-source", "https://shop.example/")
                .header("x-wc-webhook-topic", "order.updated")
                .header("x-wc-webhook-delivery-id", "d41d8cd9")
                .header("x-wc-webhook-signature", signature);
        }
        request.send().await.expect("the bridge answers").status().as_u16()
    };
    let signed = async |order: &Value| {
        let body = order.to_string();
        let signature = STANDARD.encode(hmac::sign(&key, body.as_bytes()));
        post(body, Some(signature)).await
    };
    let order = |number: &str, status: &str, phone: &str| {
        json!({
            "id": 900, "number": number, "status": status, "total": "7.00", "currency": "GBP",
            "billing": { "first_name": "Zoë", "last_name": "O'Neil", "phone": phone, "country": "GB" },
            "line_items": [{ "name": "Bread", "quantity": 2 }],
        })
    };
    assert_eq!(post("webhook_id=12".to_owned(), None).await, 200, "the ping");
    let forged = order("900", "processing", "07700 900322").to_string();
    assert_eq!(post(forged.clone(), None).await, 401);
    assert_eq!(post(forged, Some(STANDARD.encode([0; 32]))).await, 401);
    assert_eq!(signed(&order("900", "pending", "07700 900322")).await, 200, "nothing to tell yet");
    assert_eq!(signed(&order("901", "processing", "")).await, 200, "nobody to tell");
    let twice = order("900", "processing", "07700 900322");
    let (one, other) = tokio::join!(signed(&twice), signed(&twice));
    assert_eq!((one, other), (200, 200), "{}", shell.log());
    // An edit of the order is no other confirmation.
    let mut edited = twice.clone();
    edited["total"] = json!("9.00");
    assert_eq!(signed(&edited).await, 200);
    let client = shell.client();
    let query = "{ messages(filter: { externalIds: [\"order-900-processing\", \"order-900-pending\", \"order-901-processing\"] }) \
                 { nodes { externalId status preview } } }";
    let messages = eventually("the confirmation is delivered", || async {
        let messages = client.ask(query, json!({})).await["messages"]["nodes"].clone();
        (messages[0]["status"] == "DELIVERED").then_some(messages)
    })
    .await;
    let text = "Hello Zoë, we have your order 900 over 7.00 GBP. Thank you!";
    let once =
        json!([{ "externalId": "order-900-processing", "status": "DELIVERED", "preview": text }]);
    assert_eq!(messages, once);
}

#[tokio::test(flavor = "multi_thread")]
async fn spreadsheet() {
    let Some(mut shell) = after_the_quickstart().await else { return };
    shell.follow("spreadsheet.md", "").await;
    let import = json_in(&shell, "import.json");
    assert_eq!(
        (&import["import"]["added"], &import["import"]["rejected"]),
        (&json!(3), &json!(1)),
        "{import}"
    );
    let result = shell.read("result.csv");
    let mut lines: Vec<&str> = result.lines().collect();
    assert_eq!(lines.remove(0), "number,name,status,why,delivered,read,text");
    lines.sort_unstable();
    assert_eq!(lines.len(), 3, "{result}");
    let text = "\"Hello Ada, our offers in London are ready. Reply STOP to end.\"";
    assert!(
        lines[0].starts_with("\"'+447700900501\",\"Ada Lovelace\",\"DELIVERED\",,")
            && lines[0].ends_with(text),
        "{result}"
    );
    assert!(lines[1].contains("our offers in your town"), "{result}");
    assert!(lines[2].contains("\"SKIPPED\",\"OPTED_OUT\""), "{result}");
}

/// n8n itself is too much to install: a program reads its file and does what the nodes describe.
#[tokio::test(flavor = "multi_thread")]
async fn n8n() {
    let Some(mut shell) = after_the_quickstart().await else { return };
    shell.follow("order-confirmation.md", "").await;
    let shop = Receiver::start().await;
    let client = shell.client();
    let account = client.ask("{ accounts { nodes { id } } }", json!({})).await;
    let account = account["accounts"]["nodes"][0]["id"].as_str().expect("an id").to_owned();
    let guides = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides");
    let workflow = std::fs::read_to_string(guides.join("n8n-workflow.json")).expect("the workflow");
    let workflow = workflow
        .replace("http://127.0.0.1:8080", &client.base)
        .replace("ACCOUNT_ID", &account)
        .replace("http://127.0.0.1:3000/orders", &shop.url);
    shell.write("workflow.json", &workflow);
    let path = shell.dir.path().join("workflow.json");
    let path = path.to_str().expect("a path");
    let flow = async |begin: &str, body: &str| -> Value {
        let script =
            Script::start("n8n.mjs", &[path, &client.key, begin, body]).expect("it is installed");
        let answer =
            eventually("the flow ends", || async { script.lines().first().cloned() }).await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["error"], Value::Null, "{answer}");
        answer["answers"].clone()
    };

    let page = std::fs::read_to_string(guides.join("n8n.md")).expect("the guide");
    let order =
        page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an order");
    let order = order.replace("1042", "1043");
    let answers = flow("An order comes in", &order).await;
    let sent = answers["Confirm the order"]["data"]["sendMessage"]["message"].clone();
    assert_eq!(sent["externalId"], "order-1043", "{answers}");
    let again = flow("An order comes in", &order).await;
    assert_eq!(again["Confirm the order"]["data"]["sendMessage"]["message"]["id"], sent["id"]);

    let id = sent["id"].as_str().expect("an id");
    let delivered = eventually("it is delivered", || async {
        let answer = client
            .http()
            .get(format!("{}/events?after=0&type=message.delivered&aggregateId={id}", client.base))
            .bearer_auth(&client.key)
            .header("accept", "application/x-ndjson")
            .send()
            .await
            .ok()?;
        answer.text().await.ok()?.lines().find(|line| !line.is_empty()).map(str::to_owned)
    })
    .await;
    eventually("the message shows it", || async {
        let data = client
            .ask("query($id: ID!) { message(id: $id) { status } }", json!({ "id": id }))
            .await;
        (data["message"]["status"] == "DELIVERED").then_some(())
    })
    .await;
    flow("WhatsApp has news", &delivered).await;
    let told =
        eventually("the shop is told", || async { shop.received().into_iter().next() }).await;
    assert_eq!(told.json(), json!({ "order": "order-1043", "status": "DELIVERED" }));
}
