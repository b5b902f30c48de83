//! Webhooks out, as an integrator's server sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, Manners, Receiver, Store, StoreKind, eventually,
    eventually_within, files_under, found_in, stores,
};
use serde_json::{Value, json};

const SUBJECTS: usize = 6;

fn options(port: u16) -> BinaryOptions {
    let networks = ("webhooks.allowed_networks".to_owned(), "[\"127.0.0.0/8\"]".to_owned());
    BinaryOptions { settings: vec![networks], port }
}

const CREATE: &str = "mutation($input: CreateWebhookEndpointInput!) {
    createWebhookEndpoint(input: $input) { endpoint { id deliveredPosition } secret position } }";

/// The endpoint's id and its secret.
async fn create(client: &Client, url: &str, more: Value) -> (String, String) {
    let mut input = json!({ "url": url });
    for (name, value) in more.as_object().expect("an object") {
        input[name] = value.clone();
    }
    let data = client.ask(CREATE, json!({ "input": input })).await;
    let made = &data["createWebhookEndpoint"];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["endpoint"]["id"]), text(&made["secret"]))
}

async fn endpoint(client: &Client, id: &str) -> Value {
    let query = "{ webhookEndpoints(first: 5) { nodes { id enabled status pauseReason lag deliveredPosition replay { until }
        lastFailure { status error nextAttemptAt }
        deliveries(first: 100) { totalCount nodes { attempt status error events latencyMs eventPosition isReplay response } } } } }";
    let data = client.ask(query, json!({})).await;
    let nodes = data["webhookEndpoints"]["nodes"].as_array().expect("a list").clone();
    nodes.into_iter().find(|node| node["id"] == id).expect("the endpoint")
}

async fn segments(client: &Client) -> Vec<String> {
    let mut ids = vec![];
    for n in 0..SUBJECTS {
        let query = "mutation($n: String!) { createSegment(input: { name: $n, rule: { tag: \"vip\" } }) { segment { id } } }";
        let data = client.ask(query, json!({ "n": format!("segment {n}") })).await;
        ids.push(data["createSegment"]["segment"]["id"].as_str().expect("an id").to_owned());
    }
    ids
}

/// Something happens to each subject, so many times.
async fn change(client: &Client, ids: &[String], round: &str, times: usize) {
    for n in 0..times {
        for id in ids {
            let query =
                "mutation($id: ID!, $n: String!) { updateSegment(id: $id, name: $n) { position } }";
            client.ask(query, json!({ "id": id, "n": format!("{round} {n} of {id}") })).await;
        }
    }
}

/// Of each subject the sequences, in the order in which they came to be known.
fn sequences(taken: &[Value]) -> BTreeMap<String, Vec<u64>> {
    let mut of: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in taken {
        let sequence = event["sequence"].as_str().expect("a sequence").parse().expect("a number");
        of.entry(event["subject"].as_str().expect("a subject").to_owned())
            .or_default()
            .push(sequence);
    }
    of
}

/// Waits until it has everything of these subjects, each in order and from the first on.
async fn has_all(receiver: &Receiver, ids: &[String], each: u64, what: &str) {
    let expected: Vec<u64> = (1..=each).collect();
    let found = eventually_within(Duration::from_secs(90), what, || async {
        let of = sequences(&receiver.taken());
        let whole = |id: &String| {
            of.get(&format!("segment/{id}")).is_some_and(|found| found.len() as u64 >= each)
        };
        ids.iter().all(whole).then_some(of)
    })
    .await;
    for id in ids {
        assert_eq!(found[&format!("segment/{id}")], expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_signed_and_in_order_and_again_when_asked_for() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &options(0)).await;
        let client = &gateway.client;
        let (receiver, open, batched) =
            (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        let types = json!({ "types": ["segment.created", "segment.updated", "contact.added"] });
        let (id, secret) = create(client, &receiver.url, types).await;
        let (_, open_secret) = create(
            client,
            &open.url,
            json!({ "types": ["contact.added"], "includePersonal": true }),
        )
        .await;
        let (batch_id, batch_secret) = create(client, &batched.url, json!({ "batch": true })).await;
        let ids = segments(client).await;
        change(client, &ids, "first", 10).await;
        let contact = "mutation { addContact(input: { phoneNumber: \"+447700900461\", name: \"Schachtelhalm61\" }) { position } }";
        client.ask(contact, json!({})).await;
        for to in [&receiver, &batched] {
            has_all(to, &ids, 11, "everything arrived").await;
        }

        let first = receiver.received().into_iter().next().expect("one");
        assert!(first.is_signed_by(&secret) && !first.is_signed_by(&open_secret));
        let event = first.json();
        assert_eq!(first.header("webhook-id"), event["id"].as_str().expect("an id"));
        assert!(first.header("content-type").starts_with("application/cloudevents+json"));
        assert_eq!(
            (&event["specversion"], &event["type"]),
            (&json!("1.0"), &json!("segment.created"))
        );
        assert_eq!(first.header("webhook-replay"), "");

        // Many come in one request, each known by its own id.
        let requests = batched.received();
        assert!(requests.iter().all(|it| it.is_signed_by(&batch_secret)));
        assert!(requests.iter().any(|it| it.json().as_array().expect("a batch").len() > 1));
        let known: BTreeSet<&str> = requests.iter().map(|it| it.header("webhook-id")).collect();
        assert_eq!(known.len(), requests.len());
        eventually("batches are on record", || async {
            let seen = endpoint(client, &batch_id).await;
            let events = |node: &Value| node["events"].as_u64().unwrap_or_default();
            let nodes = seen["deliveries"]["nodes"].as_array()?.clone();
            (nodes.iter().map(events).sum::<u64>() as usize >= batched.taken().len()).then_some(())
        })
        .await;

        // Personal data only where it was asked for.
        let of_contact = |receiver: &Receiver| {
            let taken = receiver.taken();
            taken.into_iter().find(|event| event["type"] == "contact.added")
        };
        let clear = eventually("the contact", || async { of_contact(&open) }).await;
        assert!(clear.to_string().contains("Schachtelhalm61"), "{clear}");
        let masked = eventually("the contact", || async { of_contact(&receiver) }).await;
        assert!(!masked.to_string().contains("Schachtelhalm61"), "{masked}");

        // Two secrets sign while one is rotated.
        let rotate = "mutation($id: ID!) { rotateWebhookSecret(id: $id) { secret endpoint { previousSecretUntil } } }";
        let data = client.ask(rotate, json!({ "id": id })).await;
        let next = data["rotateWebhookSecret"]["secret"].as_str().expect("a secret").to_owned();
        assert_ne!(next, secret);
        let so_far = receiver.received().len();
        let round = std::sync::atomic::AtomicU32::new(0);
        eventually("both secrets sign", || async {
            let n = round.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            change(client, &ids[..1], &format!("rotated {n}"), 1).await;
            let received = receiver.received();
            received[so_far..]
                .iter()
                .any(|it| it.is_signed_by(&next) && it.is_signed_by(&secret))
                .then_some(())
        })
        .await;

        // All of it once more, under the same ids.
        let seen = endpoint(client, &id).await;
        assert_eq!((&seen["enabled"], &seen["lastFailure"]), (&json!(true), &Value::Null));
        let before: BTreeSet<String> =
            receiver.taken().iter().map(|event| event["id"].to_string()).collect();
        let preview = "{ webhookEndpoints(first: 1) { nodes { replayPreview(after: \"0\", eventsPerSecond: 100) { events exact requests secondsAtLeast } } } }";
        let preview = client.ask(preview, json!({})).await;
        let preview = preview["webhookEndpoints"]["nodes"][0]["replayPreview"].clone();
        let replay = "mutation($id: ID!) { replayWebhook(id: $id, after: \"0\", eventsPerSecond: 100) { endpoint { replay { until eventsPerSecond } } } }";
        let begun = client.ask(replay, json!({ "id": id })).await;
        assert_eq!(begun["replayWebhook"]["endpoint"]["replay"]["eventsPerSecond"], 100);
        let again = eventually("the replay is through", || async {
            let seen = endpoint(client, &id).await;
            let again: Vec<Value> = receiver
                .received()
                .iter()
                .filter(|it| it.header("webhook-replay") == "1")
                .map(|it| it.json())
                .collect();
            (seen["replay"].is_null() && again.len() >= before.len()).then_some(again)
        })
        .await;
        let ids_again: BTreeSet<String> =
            again.iter().map(|event| event["id"].to_string()).collect();
        let events = ids_again.len() as u64;
        let foretold = json!({ "events": events, "exact": true, "requests": events, "secondsAtLeast": events.div_ceil(100) });
        assert_eq!(preview, foretold);
        assert!(before.is_subset(&ids_again), "something is missing");
        for sequences in sequences(&again).values() {
            assert!(sequences.is_sorted(), "{sequences:?}");
        }
        let seen = endpoint(client, &id).await;
        let node = &seen["deliveries"]["nodes"][0];
        assert_eq!(
            (&node["status"], &node["response"], &node["isReplay"]),
            (&json!(200), &json!("thanks"), &json!(true))
        );

        // Neither secrets nor what is personal stand anywhere in the clear.
        gateway.terminate().await;
        // The command line's socket is among them.
        for file in files_under(store.dir.path()).into_iter().filter(|file| file.is_file()) {
            let bytes = std::fs::read(&file).expect("a file");
            let found = found_in(&bytes, &[&secret, &next, "Schachtelhalm61"]);
            assert!(found.is_empty(), "{found:?} in {}", file.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_comes_once_more_at_once_and_only_what_the_endpoint_is_sent() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &options(0)).await;
        let client = &gateway.client;
        let receiver = Receiver::start().await;
        let types = json!({ "types": ["segment.created"] });
        let (id, secret) = create(client, &receiver.url, types).await;
        let ids = segments(client).await;
        has_all(&receiver, &ids, 1, "everything arrived").await;
        let first = receiver.received().into_iter().next().expect("one");
        let position = first.json()["position"].as_str().expect("a position").to_owned();

        let resend = "mutation($id: ID!, $at: Position!) { resendWebhook(id: $id, eventPosition: $at) { endpoint { id } position } }";
        let so_far = receiver.received().len();
        // One that is refused is told of like any other, and is not tried again.
        receiver.behave(Manners { status: 500, body: "no".to_owned(), ..Manners::default() });
        client.ask(resend, json!({ "id": id, "at": position })).await;
        receiver.behave(Manners::default());
        client.ask(resend, json!({ "id": id, "at": position })).await;
        let again = receiver.received().split_off(so_far);
        assert_eq!(again.len(), 2, "each a single time");
        for request in &again {
            assert!(request.is_signed_by(&secret));
            assert_eq!(request.header("webhook-id"), first.header("webhook-id"));
            assert_eq!(request.header("webhook-replay"), "1");
            assert_eq!(request.json(), first.json());
        }
        let seen = eventually("both attempts are on record", || async {
            let query = "query($id: ID!) { webhookEndpoint(id: $id) { lag deliveries(first: 100) { nodes { status isReplay \
                         eventPosition response } } } }";
            let seen = client.ask(query, json!({ "id": id })).await["webhookEndpoint"].clone();
            let nodes = seen["deliveries"]["nodes"].as_array()?.clone();
            let replays: Vec<Value> =
                nodes.into_iter().filter(|node| node["isReplay"] == true).collect();
            (replays.len() == 2).then_some(replays)
        })
        .await;
        let of = |node: &Value| (node["status"].clone(), node["eventPosition"].clone());
        assert_eq!(
            seen.iter().map(of).collect::<Vec<_>>(),
            [(json!(200), json!(position)), (json!(500), json!(position))]
        );

        // What it asked for, what there is, and what is its workspace's: nothing else.
        let other =
            "mutation { addContact(input: { phoneNumber: \"+447700900462\" }) { position } }";
        let other = client.ask(other, json!({})).await["addContact"]["position"].clone();
        let elsewhere = "mutation { createWorkspace(name: \"Elsewhere\") { position } }";
        let elsewhere =
            client.ask(elsewhere, json!({})).await["createWorkspace"]["position"].clone();
        let so_far = receiver.received().len();
        for (at, problem) in [
            (other, "is not sent this event (contact.added)"),
            (elsewhere, "no event of the endpoint's workspace"),
            (json!("999999999"), "has not reached"),
        ] {
            let error =
                client.query(resend, json!({ "id": id, "at": at })).await.expect_err("refused");
            assert_eq!(error.code, "VALIDATION_FAILED", "{error:?}");
            assert!(format!("{error:?}").contains(problem), "{error:?}");
            assert!(format!("{error:?}").contains("eventPosition"), "{error:?}");
        }
        let pause = "mutation($id: ID!) { updateWebhookEndpoint(input: { id: $id, enabled: false }) { position } }";
        client.ask(pause, json!({ "id": id })).await;
        let error =
            client.query(resend, json!({ "id": id, "at": position })).await.expect_err("paused");
        assert_eq!(error.code, "CONFLICT", "{error:?}");
        assert_eq!(receiver.received().len(), so_far);
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_in_trouble_gets_everything_in_the_end_and_holds_up_nobody() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let mut gateway = Binary::start(&store, None, &options(0)).await;
        let (port, client) = (gateway.port, gateway.client.clone());
        let (healthy, troubled, slow) =
            (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        let types = json!({ "types": ["segment.created", "segment.updated"] });
        create(&client, &healthy.url, types.clone()).await;
        let (id, _) = create(&client, &troubled.url, types.clone()).await;
        create(&client, &slow.url, types).await;
        // Nobody listens there, ever.
        create(&client, "http://127.0.0.1:1/", json!({})).await;
        slow.behave(Manners { delay: Duration::from_secs(2), ..Manners::default() });
        troubled.behave(Manners { status: 500, body: "no".to_owned(), ..Manners::default() });
        let ids = segments(&client).await;
        change(&client, &ids, "down", 5).await;
        has_all(&healthy, &ids, 6, "the healthy one has it all").await;
        let seen = eventually("the failure shows", || async {
            let seen = endpoint(&client, &id).await;
            seen["lastFailure"]["nextAttemptAt"].is_string().then_some(seen)
        })
        .await;
        assert_eq!(seen["lastFailure"]["status"], 500);
        assert_eq!(seen["deliveries"]["nodes"][0]["response"], "no");
        assert!(seen["lag"].as_u64().is_some_and(|lag| lag > 0), "{seen}");
        let tried = troubled.received().len();
        assert!(tried < 40, "{tried} requests to one that is down");

        // Killed in the middle of it, and again while it recovers.
        gateway.kill().await;
        gateway = Binary::start(&store, None, &options(port)).await;
        change(&client, &ids, "killed", 5).await;
        troubled.behave(Manners { delay: Duration::from_millis(20), ..Manners::default() });
        eventually("it takes some", || async { (troubled.taken().len() > 3).then_some(()) }).await;
        gateway.kill().await;
        gateway = Binary::start(&store, None, &options(port)).await;
        has_all(&troubled, &ids, 11, "the one that was down has it all").await;
        has_all(&healthy, &ids, 11, "the healthy one has it all").await;
        has_all(&slow, &ids, 11, "the slow one has it all").await;
        eventually("nothing is left to do", || async {
            let seen = endpoint(&client, &id).await;
            seen["lastFailure"]["nextAttemptAt"].is_null().then_some(())
        })
        .await;

        // Asked to wait, it waits.
        troubled.behave(Manners { status: 429, retry_after: Some(3), ..Manners::default() });
        change(&client, &ids[..1], "busy", 1).await;
        let is_busy = |it: &gateway_tests::Received| it.status == 429;
        let asked = eventually("it is told to wait", || async {
            troubled.received().into_iter().find(is_busy)
        })
        .await;
        troubled.behave(Manners::default());
        has_all(&troubled, &ids[..1], 12, "it came back").await;
        let after = troubled.received().into_iter().find(|it| it.at > asked.at).expect("another");
        assert!(
            after.at - asked.at >= chrono::Duration::milliseconds(2_900),
            "{}",
            after.at - asked.at
        );

        // Gone is gone, until somebody says otherwise; nothing is lost meanwhile.
        troubled.behave(Manners { status: 410, ..Manners::default() });
        change(&client, &ids[..1], "gone", 1).await;
        eventually("it is disabled", || async {
            (endpoint(&client, &id).await["status"] == "DISABLED").then_some(())
        })
        .await;
        change(&client, &ids[..1], "away", 2).await;
        troubled.behave(Manners::default());
        let enable = "mutation($id: ID!) { updateWebhookEndpoint(input: { id: $id, enabled: true }) { endpoint { status } } }";
        client.ask(enable, json!({ "id": id })).await;
        has_all(&troubled, &ids[..1], 15, "it goes on where it stood").await;

        let delete =
            "mutation($id: ID!) { deleteWebhookEndpoint(id: $id) { endpoint { enabled } } }";
        client.ask(delete, json!({ "id": id })).await;
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_works_an_endpoint_and_another_goes_on() {
    if !stores().contains(&StoreKind::Postgres) {
        return;
    }
    let store = Store::fresh(StoreKind::Postgres).await;
    let first = Binary::start(&store, None, &options(0)).await;
    let receiver = Receiver::start().await;
    create(&first.client, &receiver.url, json!({})).await;
    let ids = segments(&first.client).await;
    let second = Binary::start(&store, None, &options(0)).await;
    change(&first.client, &ids, "both", 10).await;
    has_all(&receiver, &ids, 11, "everything arrived").await;
    // With two of them at work each event would have come twice.
    let known: BTreeSet<String> =
        receiver.received().iter().map(|it| it.header("webhook-id").to_owned()).collect();
    assert_eq!(known.len(), receiver.received().len());
    first.kill().await;
    change(&second.client, &ids, "one", 5).await;
    has_all(&receiver, &ids, 16, "the other node went on").await;
    second.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_cannot_be_is_refused_by_name() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let client = &gateway.client;
    for (input, field) in [
        (json!({ "url": "shop" }), "input.url"),
        (json!({ "url": "ftp://93.184.215.14/" }), "input.url"),
        (json!({ "url": "http://93.184.215.14/" }), "input.url"),
        (json!({ "url": "https://me:secret@93.184.215.14/" }), "input.url"),
        (json!({ "url": "https://93.184.215.14/#part" }), "input.url"),
        (json!({ "url": "https://127.0.0.1/" }), "input.url"),
        (json!({ "url": "https://localhost/" }), "input.url"),
        (json!({ "url": "https://[::ffff:10.0.0.1]/" }), "input.url"),
        (json!({ "url": "https://0x7f.1/" }), "input.url"),
        (json!({ "url": "https://169.254.169.254/latest/" }), "input.url"),
        (json!({ "url": "https://100.100.100.200/" }), "input.url"),
        (json!({ "url": "https://[fd00:ec2::254]/" }), "input.url"),
        (json!({ "url": "https://93.184.215.14/", "types": ["message.eaten"] }), "input.types"),
        (json!({ "url": "https://93.184.215.14/", "types": ["api_key.created"] }), "input.types"),
        (json!({ "url": "https://93.184.215.14/", "after": "999999" }), "input.after"),
        (json!({ "url": "https://93.184.215.14/", "eventsPerSecond": 0 }), "input.eventsPerSecond"),
    ] {
        let refused = client.query(CREATE, json!({ "input": input })).await.expect_err("refused");
        assert_eq!(
            (refused.code.as_str(), refused.field.as_deref()),
            ("VALIDATION_FAILED", Some(field)),
            "{input}: {}",
            refused.message
        );
    }
    let foreign = json!({ "url": "https://93.184.215.14/", "accountIds": ["019aafc1-3a20-7b12-9d44-0a6f5e3c7711"] });
    let refused = client.query(CREATE, json!({ "input": foreign })).await.expect_err("refused");
    assert_eq!(refused.code, "NOT_FOUND");
    let good = json!({ "url": "https://93.184.215.14/", "idempotencyKey": "one" });
    let made = client.ask(CREATE, json!({ "input": good })).await;
    let again = client.ask(CREATE, json!({ "input": good })).await;
    assert_eq!(
        made["createWebhookEndpoint"]["endpoint"]["id"],
        again["createWebhookEndpoint"]["endpoint"]["id"]
    );
    assert_eq!(again["createWebhookEndpoint"]["secret"], Value::Null);
    let replay = "mutation($id: ID!) { replayWebhook(id: $id, after: \"999999\") { position } }";
    let id = &made["createWebhookEndpoint"]["endpoint"]["id"];
    let refused = client.query(replay, json!({ "id": id })).await.expect_err("refused");
    assert_eq!(refused.field.as_deref(), Some("after"));
    gateway.terminate().await;
}

/// How long an event takes to a healthy endpoint while so many flow: run it with `--run-ignored only --no-capture`, in
/// release for figures.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn how_long_an_event_takes_to_a_healthy_endpoint() {
    use api::app::{Gateway, Managers, Workers};
    use api::application::webhook_endpoints::{CreateWebhookEndpoint, create};
    use api::application::{Caller, workspaces};
    use domain::primitives::Actor;
    use domain::segment::{Segment, SegmentCommand};
    use infrastructure::clock::{SystemClock, SystemIds};
    use infrastructure::ledger::Context;

    const PER_SECOND: u64 = 1_000;
    const SECONDS: u64 = 20;
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let mut settings = store.settings();
        settings.push(("listen".to_owned(), "127.0.0.1:0".to_owned()));
        settings.push(("data_dir".to_owned(), store.dir.path().display().to_string()));
        settings.extend(options(0).settings);
        let config = api::config::Config::load(None, [], &settings).expect("a configuration");
        let gateway = Gateway::open(config, Arc::new(SystemClock), Arc::new(SystemIds::new()));
        let gateway = gateway.await.expect("a gateway");
        workspaces::ensure_default_workspace(&gateway).await.expect("a workspace");
        let mut workers = Workers::project(gateway.clone());
        workers.manage(Managers::All);
        let receiver = Receiver::start().await;
        let caller = Caller::everything(Actor::system("test"));
        let workspace = eventually("a workspace", || async {
            let all =
                gateway.read.queries().workspaces(&projections::Scope::everything()).await.ok()?;
            all.first().map(|stored| stored.id)
        })
        .await;
        for url in [receiver.url.as_str(), "http://127.0.0.1:1/"] {
            let input = CreateWebhookEndpoint {
                workspace_id: None,
                include_personal: false,
                url: url.to_owned(),
                types: vec!["segment.created".to_owned()],
                account_ids: vec![],
                after: None,
                batch: false,
                events_per_second: None,
                idempotency_key: None,
            };
            create(&gateway, &caller, input).await.expect("an endpoint");
        }
        let began = tokio::time::Instant::now();
        let mut appending = tokio::task::JoinSet::new();
        for n in 0..PER_SECOND * SECONDS {
            tokio::time::sleep_until(began + Duration::from_micros(n * 1_000_000 / PER_SECOND))
                .await;
            let gateway = gateway.clone();
            appending.spawn(async move {
                let now = domain::port::Clock::now(&SystemClock);
                let id = gateway.ids.next_id(now);
                let context = Context::new(Actor::system("test"), id);
                let command = SegmentCommand::Create {
                    workspace_id: domain::primitives::WorkspaceId(workspace),
                    name: format!("segment {n}"),
                    rule: json!({ "tag": "vip" }),
                    at: now,
                };
                gateway.bus.execute::<Segment>(id, command, &context).await.expect("recorded");
            });
        }
        while appending.join_next().await.is_some() {}
        let recorded_in = began.elapsed();
        let total = (PER_SECOND * SECONDS) as usize;
        eventually("all arrived", || async { (receiver.received().len() >= total).then_some(()) })
            .await;
        let mut waits: Vec<i64> = receiver
            .received()
            .iter()
            .map(|it| {
                let recorded: chrono::DateTime<chrono::Utc> = it.json()["recordedat"]
                    .as_str()
                    .expect("an instant")
                    .parse()
                    .expect("an instant");
                (it.at - recorded).num_milliseconds()
            })
            .collect();
        waits.sort_unstable();
        let at = |part: usize| waits[(waits.len() * part / 1_000).min(waits.len() - 1)];
        println!(
            "{kind:?}: {total} events recorded in {recorded_in:.1?}; from recorded to received p50 {} ms, p90 {} ms, p99 {} ms, p99.9 {} ms, most {} ms",
            at(500),
            at(900),
            at(990),
            at(999),
            waits[waits.len() - 1]
        );
        assert!(at(990) < 1_000, "p99 is {} ms", at(990));
        workers.stop().await;
    }
}
