//! Webhooks that are not Meta's are refused alike and leave nothing behind; of those that are, one broken part costs
//! nothing but itself.

use gateway_tests::{APP_SECRET, Number, StoreKind, VERIFY_TOKEN, eventually, stores};
use infrastructure::webhook::signature::sign;
use serde_json::{Value, json};

use crate::schema::lab::Lab;
use crate::schema::samples::Kind;

const NUMBER: &str = "109990000000002";
const WABA: &str = "301000000000001";
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A CLOUD_API account whose app secret is known here. Answers its id.
async fn connect(lab: &Lab, number: &str) -> String {
    lab.sandbox.provision(&Number::new(number));
    let input = json!({
        "workspaceId": lab.own[&Kind::Workspace], "name": "Cloud", "provider": "CLOUD_API", "phoneNumberId": number,
        "wabaId": WABA, "accessToken": "EAACANARYTOKEN0123456789", "appSecret": APP_SECRET, "verifyToken": VERIFY_TOKEN,
        "timeZone": "Europe/London", "defaultRegion": "GB",
    });
    let query = "mutation($input: ConnectAccountInput!) { connectAccount(input: $input) { account { id } } }";
    let data = lab.admin.ask(query, json!({ "input": input })).await;
    data["connectAccount"]["account"]["id"].as_str().expect("an id").to_owned()
}

/// What the gateway answers to a notification: everything that a stranger could learn from.
async fn post(
    lab: &Lab,
    account: &str,
    body: &[u8],
    signature: Option<&str>,
) -> (u16, String, String) {
    let url = format!("{}/webhooks/whatsapp/{account}", lab.admin.base);
    let mut request =
        lab.admin.http().post(url).header("content-type", "application/json").body(body.to_vec());
    if let Some(signature) = signature {
        request = request.header("x-hub-signature-256", signature);
    }
    answer(request).await
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String, String) {
    let answer = request.send().await.expect("the gateway answers");
    let mut headers: Vec<String> = answer
        .headers()
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    (answer.status().as_u16(), headers.join("\n"), answer.text().await.expect("a body"))
}

fn message(from: &str, wamid: &str) -> Value {
    json!({ "from": from, "id": wamid, "timestamp": "1795305647", "type": "text", "text": { "body": "Hello" } })
}

fn change(value: Value) -> Value {
    json!({ "id": WABA, "changes": [{ "field": "messages", "value": value }] })
}

fn value_of(more: Value) -> Value {
    let mut value = json!({
        "messaging_product": "whatsapp", "metadata": { "display_phone_number": "15550100199", "phone_number_id": NUMBER },
    });
    for (name, part) in more.as_object().expect("an object") {
        value[name] = part.clone();
    }
    value
}

fn body(entries: Value) -> Vec<u8> {
    json!({ "object": "whatsapp_business_account", "entry": entries }).to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_by_the_app_is_refused_alike_and_nothing_is_recorded() {
    for kind in stores() {
        let lab = Lab::new(kind).await;
        let account = connect(&lab, NUMBER).await;
        let gone = connect(&lab, "109990000000003").await;
        let disconnect =
            "mutation($id: ID!) { disconnectAccount(id: $id, reason: \"moved\") { position } }";
        lab.admin.ask(disconnect, json!({ "id": gone })).await;
        let good = body(json!([change(value_of(
            json!({ "messages": [message("447700900123", "wamid.good")] })
        ))]));
        let right = sign(APP_SECRET, &good);
        let (log, journal) =
            (lab.head().await, lab.gateway.journal.head().await.expect("a journal"));
        let shorter = &good[..good.len() - 1];
        let mut longer = good.clone();
        longer.push(b' ');
        let (cut, upper) =
            (&right[..right.len() - 2], right.to_uppercase().replace("SHA256", "sha256"));
        let of_others = sign("another app's secret", &good);
        let of_nobody = sign("no account has this secret", &good);
        let of_nothing = sign("", &good);
        let bare = right.trim_start_matches("sha256=");
        let sha1 = format!("sha1={}", &bare[..40]);
        let twice = format!("{right},{right}");
        let unknown = "0190a0a0-0000-7000-8000-000000000000";
        let tries: Vec<(&str, &str, &[u8], Option<&str>)> = vec![
            ("without a signature", &account, &good, None),
            ("an empty signature", &account, &good, Some("")),
            ("no digits", &account, &good, Some("sha256=")),
            ("no digits at all", &account, &good, Some("sha256=zz")),
            ("a signature cut short", &account, &good, Some(cut)),
            ("a signature in capitals", &account, &good, Some(&upper)),
            ("a signature without its name", &account, &good, Some(bare)),
            ("the old kind", &account, &good, Some(&sha1)),
            ("two signatures", &account, &good, Some(&twice)),
            ("another secret", &account, &good, Some(&of_others)),
            ("nobody's secret", &account, &good, Some(&of_nobody)),
            ("an empty secret", &account, &good, Some(&of_nothing)),
            ("a truncated body", &account, shorter, Some(&right)),
            ("a longer body", &account, &longer, Some(&right)),
            ("no body", &account, b"", Some(&right)),
            ("an unknown account", unknown, &good, Some(&right)),
            ("an unknown account and nobody's secret", unknown, &good, Some(&of_nobody)),
            ("no account's id", "nonsense", &good, Some(&right)),
            ("a disconnected account", &gone, &good, Some(&right)),
            (
                "a sandbox's account, which has another secret",
                &lab.own[&Kind::Account],
                &good,
                Some(&right),
            ),
        ];
        let mut first = None;
        for (what, account, body, signature) in tries {
            let answered = post(&lab, account, body, signature).await;
            assert_eq!(answered.0, 401, "{what}");
            let first = first.get_or_insert_with(|| answered.clone());
            assert_eq!(*first, answered, "{what} is told apart");
        }
        // Too large, whether signed or not: it is not even read to its end.
        let large = vec![b' '; BODY_BYTES_MAX + 1];
        let signed = sign(APP_SECRET, &large);
        for signature in [None, Some(signed.as_str())] {
            assert_eq!(post(&lab, &account, &large, signature).await.0, 413);
        }
        assert_eq!(
            lab.gateway.journal.head().await.expect("a journal"),
            journal,
            "the journal took something"
        );
        assert_eq!(lab.head().await, log, "the log took something");
        // The right one is taken, and is in the journal when it is answered.
        assert_eq!(post(&lab, &account, &good, Some(&right)).await.0, 200);
        assert_eq!(lab.gateway.journal.head().await.expect("a journal").0, journal.0 + 1);
        lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_is_answered_its_challenge_only_for_the_right_token() {
    let lab = Lab::new(StoreKind::Sqlite).await;
    let account = connect(&lab, NUMBER).await;
    let ask = |account: &str, query: &[(&str, &str)]| {
        let url = format!("{}/webhooks/whatsapp/{account}", lab.admin.base);
        answer(lab.admin.http().get(url).query(query))
    };
    let challenge = ("hub.challenge", "1158201444");
    let right = [("hub.mode", "subscribe"), challenge, ("hub.verify_token", VERIFY_TOKEN)];
    let (status, headers, text) = ask(&account, &right).await;
    assert_eq!((status, text.as_str()), (200, "1158201444"));
    assert!(headers.contains("content-type: \"text/plain"), "{headers}");
    let longer = format!("{VERIFY_TOKEN}x");
    let shorter = &VERIFY_TOKEN[..VERIFY_TOKEN.len() - 1];
    let mut first = None;
    for token in ["", "wrong", &longer, shorter, APP_SECRET, "no account has this secret"] {
        for account in [&account, "0190a0a0-0000-7000-8000-000000000000", "nonsense"] {
            let answered =
                ask(account, &[("hub.mode", "subscribe"), challenge, ("hub.verify_token", token)])
                    .await;
            assert_eq!(answered.0, 401, "{token}");
            let first = first.get_or_insert_with(|| answered.clone());
            assert_eq!(*first, answered, "{token} is told apart");
        }
    }
    for query in [
        vec![challenge, ("hub.verify_token", VERIFY_TOKEN)],
        vec![("hub.mode", "unsubscribe"), challenge, ("hub.verify_token", VERIFY_TOKEN)],
        vec![("hub.mode", "subscribe"), ("hub.verify_token", VERIFY_TOKEN)],
        vec![],
    ] {
        assert_eq!(ask(&account, &query).await.0, 401, "{query:?}");
    }
    lab.stop().await;
}

/// Things that Meta should never send and that may come all the same.
fn broken() -> Vec<Value> {
    let person = json!([{ "profile": { "name": "Ada" }, "wa_id": "447700900190" }]);
    let with =
        |messages: Value| change(value_of(json!({ "contacts": person, "messages": messages })));
    let statuses = |statuses: Value| change(value_of(json!({ "statuses": statuses })));
    vec![
        json!(7),
        json!(null),
        json!({}),
        json!({ "id": WABA }),
        json!({ "id": WABA, "changes": "none" }),
        json!({ "id": WABA, "changes": [7, null, {}, { "field": 7 }, { "field": "messages" }] }),
        change(json!(7)),
        change(json!({ "metadata": 7 })),
        change(value_of(json!({ "contacts": 7, "messages": 7, "statuses": 7 }))),
        with(json!([7, null, {}, { "id": 7 }, { "from": "447700900190" }])),
        with(
            json!([{ "from": "447700900190", "id": "wamid.b1", "timestamp": "yesterday", "type": "text" }]),
        ),
        with(
            json!([{ "from": "no number", "id": "wamid.b2", "timestamp": "1795305647", "type": "text", "text": { "body": 7 } }]),
        ),
        with(
            json!([{ "from": "447700900190", "id": "x".repeat(5_000), "timestamp": "1795305647", "type": "text", "text": { "body": "x" } }]),
        ),
        statuses(
            json!([7, null, {}, { "id": "wamid.b3" }, { "id": "wamid.b3", "status": 7, "timestamp": [] }]),
        ),
        statuses(
            json!([{ "id": "wamid.b4", "status": "failed", "timestamp": "99999999999999999999", "errors": 7 }]),
        ),
        json!({ "id": WABA, "changes": [{ "field": "message_template_status_update", "value": { "event": 7 } }] }),
        json!({ "id": WABA, "changes": [{ "field": "account_update", "value": [] }] }),
        json!({ "id": WABA, "changes": [{ "field": "from_the_future", "value": { "x": 1 } }] }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_entry_costs_none_of_the_good_ones_around_it() {
    for kind in stores() {
        let mut lab = Lab::new(kind).await;
        lab.manage();
        let account = connect(&lab, NUMBER).await;
        let mut good = 0;
        let mut entries = vec![];
        let mut numbered = |entries: &mut Vec<Value>| {
            good += 1;
            let one = message(&format!("4477009005{good:02}"), &format!("wamid.good{good}"));
            entries.push(change(value_of(json!({ "messages": [one] }))));
        };
        for broken in broken() {
            numbered(&mut entries);
            entries.push(broken);
        }
        numbered(&mut entries);
        // Within one change too.
        let last = value_of(
            json!({ "messages": [7, message("447700900599", "wamid.last"), {}], "statuses": [null] }),
        );
        entries.push(change(last));
        let whole = body(Value::from(entries));
        assert_eq!(post(&lab, &account, &whole, Some(&sign(APP_SECRET, &whole))).await.0, 200);
        // Not even JSON, and signed: kept, and nothing stops for it.
        for odd in [b"".as_slice(), b"{", b"[]", b"7", b"\xff\xfe", b"{\"object\":7,\"entry\":7}"] {
            assert_eq!(post(&lab, &account, odd, Some(&sign(APP_SECRET, odd))).await.0, 200);
        }
        let after = body(json!([change(value_of(
            json!({ "messages": [message("447700900598", "wamid.after")] })
        ))]));
        assert_eq!(post(&lab, &account, &after, Some(&sign(APP_SECRET, &after))).await.0, 200);
        let wanted: Vec<String> = (1..=good)
            .map(|n| format!("wamid.good{n}"))
            .chain(["wamid.last".to_owned(), "wamid.after".to_owned()])
            .collect();
        let query = "query($ids: [ID!]) { messages(first: 500, filter: { accountIds: $ids, direction: INBOUND }) { nodes { wamid } } }";
        eventually("every good message is there", || async {
            let data = lab.admin.ask(query, json!({ "ids": [account] })).await;
            let shown: Vec<_> = data["messages"]["nodes"]
                .as_array()?
                .iter()
                .filter_map(|node| node["wamid"].as_str())
                .collect();
            wanted.iter().all(|wamid| shown.contains(&wamid.as_str())).then_some(())
        })
        .await;
        lab.stop().await;
    }
}
