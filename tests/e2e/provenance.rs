//! From what somebody asked for to everything it led to, and back, by correlation and causation alone.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, Client, SandboxProcess, Store, eventually, stores};
use serde_json::{Value, json};

use crate::common::{approved_template, count, import_people, launch, progress_when};

const NUMBER: &str = "402000000000001";
/// Pages of a log that a test writes; more would be an endless loop.
const PAGES_MAX: usize = 50;

/// An event, as far as provenance goes.
#[derive(Clone, Debug)]
struct Event {
    id: String,
    kind: String,
    aggregate: String,
    correlation: String,
    cause: Option<String>,
}

/// Every event that this filter finds, in order.
async fn events(client: &Client, filter: Value) -> Vec<Event> {
    let query = "query($after: Position, $filter: EventFilter) { events(after: $after, filter: $filter, first: 100) { \
                 nodes { id type aggregateId correlationId causationId } pageInfo { hasNextPage endCursor } } }";
    let mut found = vec![];
    let mut after = Value::Null;
    for _ in 0..PAGES_MAX {
        let data = client.ask(query, json!({ "after": after, "filter": filter })).await;
        let page = &data["events"];
        let text = |event: &Value, name: &str| event[name].as_str().map(str::to_owned);
        found.extend(page["nodes"].as_array().expect("events").iter().map(|event| Event {
            id: text(event, "id").expect("an id"),
            kind: text(event, "type").expect("a type"),
            aggregate: text(event, "aggregateId").expect("an aggregate"),
            correlation: text(event, "correlationId").expect("a correlation id"),
            cause: text(event, "causationId"),
        }));
        if page["pageInfo"]["hasNextPage"] != true {
            return found;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    panic!("the log does not end");
}

async fn of_stream(client: &Client, id: &str) -> Vec<Event> {
    events(client, json!({ "aggregateIds": [id] })).await
}

fn only<'a>(events: &'a [Event], kind: &str) -> &'a Event {
    let found: Vec<_> = events.iter().filter(|event| event.kind == kind).collect();
    assert_eq!(found.len(), 1, "{kind}: {found:?}");
    found[0]
}

/// What each type of event was caused by, as types; every cause is in the log.
fn causes(events: &[Event], all: &[Event]) -> BTreeMap<(String, Option<String>), usize> {
    let kinds: HashMap<&str, &str> =
        all.iter().map(|event| (event.id.as_str(), event.kind.as_str())).collect();
    let mut counts = BTreeMap::new();
    for event in events {
        let cause = event.cause.as_ref().map(|cause| {
            let kind = kinds.get(cause.as_str());
            (*kind.unwrap_or_else(|| panic!("the cause of {event:?} is in no log"))).to_owned()
        });
        *counts.entry((event.kind.clone(), cause)).or_insert(0) += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_is_found_again_in_all_that_it_led_to() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(1).await;
        sandbox.behave(json!({ "deliveredRate": 1.0, "readRate": 1.0 }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        import_people(client, 20, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "vip").await;
        progress_when(client, &campaign, Duration::from_secs(60), "all are read", |c| {
            count(c, "read") == 20 && c["status"] == "COMPLETED"
        })
        .await;

        let history = of_stream(client, &campaign).await;
        let started = only(&history, "campaign.started");
        let drafted = only(&history, "campaign.drafted");
        assert_ne!(started.correlation, drafted.correlation, "two requests");
        let all = events(client, json!({})).await;
        let launched = events(client, json!({ "correlationId": started.correlation })).await;
        let counts = causes(&launched, &all);
        let times = |kind: &str, cause: Option<&str>| {
            counts.get(&(kind.to_owned(), cause.map(str::to_owned))).copied().unwrap_or_default()
        };
        assert_eq!(times("campaign.started", None), 1, "{counts:?}");
        assert!(times("campaign.audience_expanded", Some("campaign.started")) >= 1, "{counts:?}");
        assert_eq!(times("message.queued", Some("campaign.started")), 20, "{counts:?}");
        assert_eq!(times("message.send_requested", Some("message.queued")), 20, "{counts:?}");
        assert_eq!(times("message.accepted", Some("message.send_requested")), 20, "{counts:?}");
        assert_eq!(
            times("campaign.completed", Some("campaign.audience_expanded")),
            1,
            "{counts:?}"
        );
        for kind in ["message.sent", "message.delivered", "message.read"] {
            assert_eq!(launched.iter().filter(|event| event.kind == kind).count(), 20, "{kind}");
        }
        let roots: Vec<_> = launched.iter().filter(|event| event.cause.is_none()).collect();
        assert_eq!(roots.len(), 1, "{roots:?}");
        // The other way: from each reading back to the launch, step by step.
        let by_id: HashMap<&str, &Event> =
            all.iter().map(|event| (event.id.as_str(), event)).collect();
        for read in launched.iter().filter(|event| event.kind == "message.read") {
            let mut event = read;
            let mut steps = 0;
            while let Some(cause) = &event.cause {
                let before = by_id[cause.as_str()];
                assert!(before.aggregate == read.aggregate || before.id == started.id);
                event = before;
                steps += 1;
                assert!(steps < 10, "{read:?} goes round in circles");
            }
            assert_eq!(event.id, started.id);
        }

        cancelled_messages_belong_to_the_cancellation(client, &account, &template).await;
        a_stop_is_the_answer_to_its_message(client, &sandbox).await;
        a_single_send_keeps_the_id_of_its_request(client, &account, &sandbox).await;
        // Whatever was written meanwhile: no cause is made up.
        let all = events(client, json!({})).await;
        causes(&all, &all);
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

async fn cancelled_messages_belong_to_the_cancellation(
    client: &Client,
    account: &str,
    template: &str,
) {
    // Held, so that there is something to cancel.
    let pause = "mutation($id: ID!) { pauseAccount(id: $id, reason: \"held\") { account { id } } }";
    client.ask(pause, json!({ "id": account })).await;
    let campaign = launch(client, account, template, "vip").await;
    progress_when(client, &campaign, Duration::from_secs(60), "all are queued", |c| {
        count(c, "pending") == 20
    })
    .await;
    let cancel = "mutation($id: ID!) { cancelCampaign(id: $id) { campaign { id } } }";
    client.ask(cancel, json!({ "id": campaign })).await;
    progress_when(client, &campaign, Duration::from_secs(60), "all are cancelled", |c| {
        count(c, "cancelled") == 20
    })
    .await;
    let resume = "mutation($id: ID!) { resumeAccount(id: $id) { account { id } } }";
    client.ask(resume, json!({ "id": account })).await;
    let history = of_stream(client, &campaign).await;
    let (started, cancelled) =
        (only(&history, "campaign.started"), only(&history, "campaign.cancelled"));
    assert_ne!(started.correlation, cancelled.correlation);
    let led_to = events(client, json!({ "correlationId": cancelled.correlation })).await;
    let messages: Vec<_> =
        led_to.iter().filter(|event| event.kind == "message.cancelled").collect();
    assert_eq!(messages.len(), 20, "{led_to:?}");
    assert!(messages.iter().all(|event| event.cause.as_ref() == Some(&cancelled.id)));
}

async fn a_stop_is_the_answer_to_its_message(client: &Client, sandbox: &SandboxProcess) {
    says(sandbox, "447700900003", "STOP");
    let stopped = found(client, "contact.opted_out").await;
    let same = events(client, json!({ "correlationId": stopped.correlation })).await;
    assert_eq!(stopped.cause.as_ref(), Some(&only(&same, "message.received").id));
}

async fn a_single_send_keeps_the_id_of_its_request(
    client: &Client,
    account: &str,
    sandbox: &SandboxProcess,
) {
    // Whoever wrote may be answered freely.
    says(sandbox, "447700900004", "hello");
    let input = json!({ "accountId": account, "to": "+447700900004", "text": "hi" });
    let send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id status } } }";
    let id = eventually("the window is open", || async {
        let data = client.ask(send, json!({ "input": input })).await;
        let message = &data["sendMessage"]["message"];
        (message["status"] != "SKIPPED").then(|| message["id"].as_str().expect("an id").to_owned())
    })
    .await;
    let history = eventually("it is read", || async {
        let history = of_stream(client, &id).await;
        history.iter().any(|event| event.kind == "message.read").then_some(history)
    })
    .await;
    let queued = only(&history, "message.queued");
    assert!(history.iter().all(|event| event.correlation == queued.correlation), "{history:?}");
    let roots: Vec<_> = history.iter().filter(|event| event.cause.is_none()).collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
    let requested = only(&history, "message.send_requested");
    assert_eq!(only(&history, "message.accepted").cause.as_ref(), Some(&requested.id));
}

fn says(sandbox: &SandboxProcess, from: &str, text: &str) {
    let message =
        json!({ "phoneNumberId": NUMBER, "from": from, "type": "text", "text": { "body": text } });
    sandbox.sandbox.inbound(&message).expect("a person writes");
}

/// The first event of a type.
async fn found(client: &Client, kind: &str) -> Event {
    eventually(kind, || async {
        events(client, json!({ "types": [kind] })).await.into_iter().next()
    })
    .await
}
