//! Programs that were written for the Cloud API: their base URL and their token are all that changes.

use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Script, Store, WABA, eventually, stores,
};
use serde_json::{Value, json};

use crate::common::{approved_template, key_with, utility_template};

const NUMBER: &str = "402000000000071";
const PERSON: &str = "447700900071";

/// What `POST /v26.0/{number}/messages` answers: its status and its body.
async fn post(client: &Client, key: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
    try_post(client, key, headers, body).await.expect("it answers")
}

async fn try_post(
    client: &Client,
    key: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Option<(u16, Value)> {
    let mut request = client
        .http()
        .post(format!("{}/v26.0/{NUMBER}/messages", client.base))
        .bearer_auth(key)
        .json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().await.ok()?))
}

fn order(to: &str, name: &str) -> Value {
    json!({
        "messaging_product": "whatsapp", "to": to, "type": "template",
        "template": { "name": "orders", "language": { "code": "en" }, "components": [
            { "type": "body", "parameters": [{ "type": "text", "text": name }] } ] },
    })
}

async fn writes(client: &Client, sandbox: &SandboxProcess) -> String {
    let said = json!({ "phoneNumberId": NUMBER, "from": PERSON, "type": "text", "text": "Hello" });
    let wamid = sandbox.sandbox.inbound(&said).expect("a person writes");
    eventually("the message is there", || async {
        let query = "query($wamid: String!) { messageByWamid(wamid: $wamid) { id } }";
        let data = client.ask(query, json!({ "wamid": wamid })).await;
        data["messageByWamid"]["id"].is_string().then_some(())
    })
    .await;
    wamid
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_on_another_library_speaks_to_the_gateway_as_to_whatsapp() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(71).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        utility_template(client, &account, "orders").await;
        approved_template(client, &account, "offers").await;
        approved_template(client, &account, "news").await;
        let wrote = writes(client, &sandbox).await;
        let key = key_with(client, &["SEND", "READ", "PERSONAL"]).await;
        let arguments = [client.base.as_str(), &key, NUMBER, WABA, PERSON, &wrote];
        let Some(script) = Script::start("cloud_api.py", &arguments) else { return };
        eventually("the program is done", || async {
            script.lines().iter().any(|line| line.contains("\"token\"")).then_some(())
        })
        .await;
        let said: serde_json::Map<String, Value> = script
            .lines()
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .map(|line| (line["what"].as_str().expect("a name").to_owned(), line["value"].clone()))
            .collect();
        let sends = sandbox.sends(NUMBER);
        let wamid_of = |kind: &str| {
            let sent = sends.iter().find(|call| call.kind.as_deref() == Some(kind));
            sent.and_then(|call| call.wamid.clone()).unwrap_or_else(|| panic!("no {kind}"))
        };
        for kind in ["text", "location", "reaction", "image", "template"] {
            assert_eq!(said[kind], wamid_of(kind).as_str(), "{kind}");
        }
        assert_eq!(said["voice"], wamid_of("audio").as_str());
        let keyed = said["keyed"].as_array().expect("three answers");
        assert!(keyed.len() == 3 && keyed.iter().all(|wamid| wamid == &keyed[0]), "{keyed:?}");
        let of_key = sends.iter().filter(|call| call.wamid.as_deref() == keyed[0].as_str());
        assert_eq!(of_key.count(), 1);
        let wamids: std::collections::HashSet<_> =
            sends.iter().filter_map(|call| call.wamid.clone()).collect();
        assert_eq!((sends.len(), wamids.len()), (10, 10), "{sends:?}");
        for what in ["buttons", "list", "reply"] {
            assert!(wamids.contains(said[what].as_str().expect("a wamid")), "{what}");
        }
        assert_eq!(said["media"], json!({ "type": "image/png", "bytes": 3_033, "same": true }));
        assert_eq!(
            (&said["deleted"], &said["read"], &said["typing"]),
            (&json!(true), &json!(true), &json!(true))
        );
        let calls = sandbox.sandbox.calls(0).expect("the record");
        assert_eq!(calls.iter().filter(|call| call.kind.as_deref() == Some("read")).count(), 2);
        assert_eq!(said["templates"], json!({ "names": ["orders", "offers", "news"], "total": 3 }));
        let codes = [
            ("gone", 100),
            ("no template", 132_001),
            ("too many values", 132_000),
            ("window", 131_047),
            ("no consent", 131_050),
            ("number", 100),
            ("token", 190),
        ];
        for (what, code) in codes {
            assert_eq!(said[what]["code"], code, "{what}: {}", said[what]);
        }
        // Its own datum is kept, and it is a message like any other.
        let query = "query($wamid: String!) { messageByWamid(wamid: $wamid) { metadata history { nodes { type } } } }";
        let data = client.ask(query, json!({ "wamid": said["text"] })).await;
        let message = &data["messageByWamid"];
        assert_eq!(message["metadata"], json!({ "biz_opaque_callback_data": "table-7" }));
        assert_eq!(message["history"]["nodes"][0]["type"], "message.queued");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

/// When the gateway is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The program has begun to ask; how far that got is left to chance.
    Asking,
    /// The message is on record and waits, since its number is paused.
    OnRecord,
    /// WhatsApp has it and has not answered yet.
    Sending,
    /// WhatsApp has it, and its answer will never come.
    InDoubt,
    /// The program has its answer.
    Answered,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_after_a_kill_sends_once() {
    use Moment::{Answered, Asking, InDoubt, OnRecord, Sending};
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(72).await;
        let mut gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let port = gateway.port;
        let client = gateway.client.clone();
        let account = sandbox.connect(&client, NUMBER, 500).await;
        utility_template(&client, &account, "orders").await;
        let turn = async |mutation: &str| {
            let reason = if mutation == "pauseAccount" { ", reason: \"test\"" } else { "" };
            let text =
                format!("mutation($id: ID!) {{ {mutation}(id: $id{reason}) {{ position }} }}");
            client.ask(&text, json!({ "id": account })).await;
        };
        for (index, moment) in
            [Asking, OnRecord, Sending, InDoubt, Answered].into_iter().enumerate()
        {
            let (key, to) = (format!("order-{index}"), format!("44770090010{index}"));
            let sends = || sandbox.sends_to(NUMBER, &format!("+{to}"));
            match moment {
                OnRecord => turn("pauseAccount").await,
                // Nor do statuses tell of it for now.
                Sending => sandbox.behave(
                    json!({ "latencyMs": { "min": 60_000, "max": 60_000 }, "webhookOutage": 1 }),
                ),
                InDoubt => sandbox.behave(json!({ "acceptedButNoAnswer": 1, "webhookOutage": 1 })),
                Asking | Answered => {}
            }
            let mut first = tokio::spawn({
                let (client, key, to) = (client.clone(), key.clone(), to.clone());
                async move {
                    let headers = [("idempotency-key", key.as_str())];
                    try_post(&client, &client.key, &headers, &order(&to, "Ada")).await
                }
            });
            let mut answered = None;
            match moment {
                Asking => {}
                OnRecord => {
                    eventually("it is on record", || async {
                        let query = "{ messages(filter: { status: [QUEUED] }) { nodes { to } } }";
                        let waiting = client.ask(query, json!({})).await;
                        waiting.to_string().contains(&to).then_some(())
                    })
                    .await;
                }
                Sending | InDoubt => {
                    eventually("WhatsApp has it", || async { sends().first().map(|_| ()) }).await;
                }
                Answered => answered = (&mut first).await.expect("no panic"),
            }
            gateway.kill().await;
            if moment != Answered {
                answered = first.await.expect("no panic");
            }
            if moment != Asking {
                assert_eq!(answered.is_some(), moment == Answered, "{moment:?} {answered:?}");
            }
            sandbox.behave(json!({}));
            let again = BinaryOptions { port, ..BinaryOptions::default() };
            gateway = Binary::start(&store, Some(&sandbox), &again).await;
            if moment == OnRecord {
                turn("resumeAccount").await;
            }
            let second = eventually("the outcome is known", || async {
                let headers = [("idempotency-key", key.as_str()), ("prefer", "wait=2")];
                let (status, body) = post(&client, &client.key, &headers, &order(&to, "Ada")).await;
                assert!(matches!(status, 200 | 409 | 503), "{status} {body}");
                // Never called, and nobody told: whoever decides then is the account's policy.
                let is_left = moment == Asking
                    && body["error"]["error_data"]["gateway"]["status"] == "IN_DOUBT"
                    && sends().is_empty();
                (status == 200 || is_left).then_some((status, body))
            })
            .await;
            if second.0 == 200 {
                let sends = sends();
                assert_eq!(sends.len(), 1, "{moment:?} {sends:?}");
                assert_eq!(second.1["messages"][0]["id"], sends[0].wamid.as_deref().expect("one"));
            }
            if let Some(first) = answered {
                assert_eq!(first, second);
            }
        }
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_now_is_told_and_bad_input_is_named() {
    let store = Store::fresh(stores()[0]).await;
    let sandbox = SandboxProcess::start(73).await;
    let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
    let client = &gateway.client;
    let account = sandbox.connect(client, NUMBER, 500).await;
    utility_template(client, &account, "orders").await;
    let pause = "mutation($id: ID!) { pauseAccount(id: $id, reason: \"test\") { position } }";
    client.ask(pause, json!({ "id": account })).await;
    let headers = [("idempotency-key", "order-1"), ("prefer", "wait=0")];
    let (status, body) = post(client, &client.key, &headers, &order(PERSON, "Ada")).await;
    let told = &body["error"]["error_data"]["gateway"];
    assert_eq!((status, &told["status"]), (409, &json!("QUEUED")), "{body}");
    let query = "query($id: ID!) { message(id: $id) { status } }";
    let data = client.ask(query, json!({ "id": told["message_id"] })).await;
    assert_eq!(data["message"]["status"], "QUEUED");
    let resume = "mutation($id: ID!) { resumeAccount(id: $id) { position } }";
    client.ask(resume, json!({ "id": account })).await;
    let (status, body) = post(client, &client.key, &headers[..1], &order(PERSON, "Ada")).await;
    assert_eq!((status, &body["contacts"][0]["wa_id"]), (200, &json!(PERSON)), "{body}");
    assert_eq!(sandbox.sends(NUMBER).len(), 1);
    let (status, body) = post(client, &client.key, &headers, &order(PERSON, "Bob")).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!(100)), "{body}");

    // Without a key, each request is a message.
    let mut wamids = vec![];
    for _ in 0..2 {
        let (status, body) = post(client, &client.key, &[], &order("447700900072", "Ada")).await;
        assert_eq!(
            (status, &body["contacts"][0]["input"]),
            (200, &json!("447700900072")),
            "{body}"
        );
        wamids.push(body["messages"][0]["id"].clone());
    }
    assert_ne!(wamids[0], wamids[1]);
    assert_eq!(sandbox.sends_to(NUMBER, "+447700900072").len(), 2);

    let wrong = |change: fn(&mut Value)| {
        let mut body = order(PERSON, "Ada");
        change(&mut body);
        body
    };
    let cases: [(Value, i64, &str); 8] = [
        (json!([]), 100, "object"),
        (wrong(|body| body["messaging_product"] = json!("sms")), 100, "messaging_product"),
        (wrong(|body| body["type"] = json!("poll")), 131_009, "type"),
        (
            wrong(|body| {
                body.as_object_mut().map(|it| it.remove("to"));
            }),
            131_008,
            "to",
        ),
        (wrong(|body| body["to"] = json!("12")), 131_009, "to"),
        (wrong(|body| body["recipient_type"] = json!("group")), 100, "recipient_type"),
        (
            wrong(|body| body["recipient_identity_key_hash"] = json!("x")),
            100,
            "recipient_identity_key_hash",
        ),
        (wrong(|body| body["template"]["components"] = json!([])), 132_000, "body.1"),
    ];
    for (body, code, word) in cases {
        let (status, answer) = post(client, &client.key, &[], &body).await;
        let error = &answer["error"];
        assert_eq!((status, &error["code"]), (400, &json!(code)), "{body} {answer}");
        let details = error["error_data"]["details"].as_str().unwrap_or_default();
        assert!(details.contains(word), "{answer}");
        assert!(error["fbtrace_id"].is_string() && error["type"] == "OAuthException", "{answer}");
    }
    let get = async |path: &str, key: Option<&str>| {
        let mut request = client.http().get(format!("{}{path}", client.base));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await.expect("it answers");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let key = Some(client.key.as_str());
    let list = format!("/v26.0/{WABA}/message_templates");
    for (path, key, status, code) in [
        (list.clone(), None, 401, 104),
        (list.clone(), Some("wgk_nobody"), 401, 190),
        (format!("{list}?after=x"), key, 400, 131_059),
        (format!("{list}?limit=0"), key, 400, 100),
        (format!("{list}?status=NICE"), key, 400, 100),
        (format!("{list}?quality_score=GREEN"), key, 400, 100),
        ("/v26.0/1/message_templates".to_owned(), key, 400, 100),
        ("/v26.0/604000000000099".to_owned(), key, 400, 100),
        ("/v26.0/604000000000099/content".to_owned(), key, 400, 100),
        ("/v26.0/me/accounts".to_owned(), key, 400, 2500),
    ] {
        let (answered, body) = get(&path, key).await;
        assert_eq!((answered, &body["error"]["code"]), (status, &json!(code)), "{path} {body}");
    }
    let asked = format!("{list}?fields=name,status&name=ord&language=en&category=UTILITY");
    let (_, body) = get(&asked, key).await;
    let listed = body["data"].as_array().expect("data");
    assert_eq!(listed.len(), 1, "{body}");
    assert_eq!((&listed[0]["name"], &listed[0]["status"]), (&json!("orders"), &json!("APPROVED")));
    assert!(listed[0]["id"].is_string() && listed[0]["components"].is_null(), "{body}");
    gateway.terminate().await;
    sandbox.stop().await;
}
