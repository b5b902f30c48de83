//! What reading subcommands show: of the store itself, and of a gateway elsewhere by `--url` and `--key`.

use std::process::Stdio;

use gateway_tests::{
    Answered, Binary, BinaryOptions, SandboxProcess, Store, StoreKind, eventually, run, stores,
    subcommand,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::common::{approved_template, key_with, launch};

const NUMBER: &str = "402000000000003";
const PHONE: &str = "+447700900123";
const WROTE: &str = "Is my parcel there?";

/// A gateway where a person wrote, was answered, and got a campaign.
struct World {
    store: Store,
    sandbox: SandboxProcess,
    gateway: Binary,
    account: String,
    contact: String,
    message: String,
    campaign: String,
}

impl World {
    async fn new(kind: StoreKind) -> Self {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(3).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        let template = approved_template(client, &account, "offers").await;
        let input = json!({ "phoneNumber": PHONE, "name": "Ada", "tags": ["vip"], "consent": "OPTED_IN", "consentSource": "test" });
        let add =
            "mutation($input: AddContactInput!) { addContact(input: $input) { contact { id } } }";
        let data = client.ask(add, json!({ "input": input })).await;
        let contact = text(&data["addContact"]["contact"]["id"]);
        let writes = json!({ "phoneNumberId": NUMBER, "from": &PHONE[1..], "type": "text", "text": { "body": WROTE } });
        sandbox.sandbox.inbound(&writes).expect("a person writes");
        let send =
            "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
        let input = json!({ "accountId": account, "to": PHONE, "text": "It is." });
        let inbound = "{ messages(filter: { direction: INBOUND }) { nodes { id } } }";
        eventually("what the person wrote is there", || async {
            let data = client.ask(inbound, json!({})).await;
            (!data["messages"]["nodes"][0].is_null()).then_some(())
        })
        .await;
        let data = client.ask(send, json!({ "input": input })).await;
        let message = text(&data["sendMessage"]["message"]["id"]);
        let campaign = launch(client, &account, &template, "vip").await;
        let done = "query($message: ID!, $campaign: ID!) { message(id: $message) { status } campaign(id: $campaign) { status } }";
        eventually("everything is delivered", || async {
            let data = client.ask(done, json!({ "message": message, "campaign": campaign })).await;
            let ended = data["campaign"]["status"] == "COMPLETED";
            (ended && data["message"]["status"] == "DELIVERED").then_some(())
        })
        .await;
        let rename = "mutation($account: UpdateAccountInput!, $contact: UpdateContactInput!) { \
                      updateAccount(input: $account) { position } updateContact(input: $contact) { position } }";
        let renamed = json!({ "account": { "id": account, "name": "Renamed" },
                              "contact": { "id": contact, "name": "Grace" } });
        client.ask(rename, renamed).await;
        Self { store, sandbox, gateway, account, contact, message, campaign }
    }

    /// A subcommand that reads the store itself.
    async fn local(&self, arguments: &[&str]) -> Answered {
        run(&self.store, arguments).await
    }

    /// A subcommand that asks the gateway, with a key.
    async fn remote(&self, key: &str, arguments: &[&str]) -> Answered {
        let url = self.gateway.client.base.as_str();
        run(&self.store, &[arguments, &["--url", url, "--key", key]].concat()).await
    }

    async fn stop(self) {
        self.gateway.terminate().await;
        self.sandbox.stop().await;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn ok(answered: Answered) -> Answered {
    assert_eq!(answered.code, Some(0), "{}", answered.err);
    answered
}

/// What the two ways have in common: the store's reader looks no external ids up, and each names its own address.
fn comparable(mut event: Value) -> Value {
    let object = event.as_object_mut().expect("an event");
    for name in ["externalid", "dataschema"] {
        object.remove(name);
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_the_same_from_the_store_and_through_the_api_but_for_what_the_key_may_see() {
    for kind in stores() {
        let world = World::new(kind).await;
        let admin = world.gateway.client.key.clone();
        let store = ok(world.local(&["events", "--personal"]).await).lines();
        let api = ok(world.remote(&admin, &["events"]).await).lines();
        assert!(store.len() > 20, "{}", store.len());
        // The log may have grown between the two looks.
        let api: Vec<Value> = api.into_iter().take(store.len()).map(comparable).collect();
        let store: Vec<Value> = store.into_iter().map(comparable).collect();
        assert_eq!(store, api);

        // Masked on both ways, and limited by the key alone.
        let reader = key_with(&world.gateway.client, &["READ"]).await;
        for masked in [
            ok(world.local(&["events", "--type", "message.*", "--type", "contact.*"]).await),
            ok(world
                .remote(&reader, &["events", "--type", "message.*", "--type", "contact.*"])
                .await),
        ] {
            let types: Vec<String> = masked.lines().iter().map(|e| text(&e["type"])).collect();
            assert!(types.contains(&"message.received".to_owned()), "{types:?}");
            assert!(types.iter().all(|t| t.starts_with("message.") || t.starts_with("contact.")));
            assert!(!masked.out.contains(WROTE) && !masked.out.contains(PHONE));
        }
        // Nothing of this is for that key; the empty page still says how far it looked.
        let of_keys = ok(world.remote(&reader, &["events", "--type", "api_key.*"]).await);
        assert_eq!(of_keys.out, "");
        let query = "{ events(filter: { types: [\"api_key.revoked\"] }) { nodes { id } pageInfo { endCursor hasNextPage } } }";
        let data = world.gateway.client.ask(query, json!({})).await;
        let page = &data["events"];
        assert_eq!((&page["nodes"], &page["pageInfo"]["hasNextPage"]), (&json!([]), &json!(false)));
        let end: u64 = text(&page["pageInfo"]["endCursor"]).parse().expect("a position");
        assert!(end >= store.len() as u64, "{end}");
        let sender = key_with(&world.gateway.client, &["SEND"]).await;
        let refused = world.remote(&sender, &["events"]).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);
        assert!(refused.err.contains("READ"), "{}", refused.err);
        let refused = world.remote("wgk_nobodys", &["events"]).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);

        // After a position, and to its end.
        let position = text(&store[9]["position"]);
        let rest = ok(world.local(&["events", "--after", &position, "--personal"]).await).lines();
        assert_eq!(comparable(rest[0].clone()), store[10]);
        let rest = ok(world.remote(&admin, &["events", "--after", &position]).await).lines();
        assert_eq!(comparable(rest[0].clone()), store[10]);
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_of_reading_subcommands_exits_2_and_says_what_is_right() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    for arguments in [
        &["events", "--type", "message.delivred"] as &[&str],
        &["events", "--type", "message.delivred", "--url", "http://127.0.0.1:9", "--key", "wgk_x"],
    ] {
        let refused = run(&store, arguments).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{}", refused.err);
        assert!(refused.err.contains("nearest is message.delivered"), "{}", refused.err);
    }
    let id = "01900000-0000-7000-8000-000000000001";
    let remote = ["--url", "http://127.0.0.1:9", "--key", "wgk_x"];
    for (arguments, right) in [
        (vec!["events", "--url", "http://127.0.0.1:9"], "--key"),
        (vec!["history", "message", id, "--url", "http://127.0.0.1:9"], "--key"),
        (vec!["history", "message", "seven"], "no id"),
        ([&["history", "message", id, "--mask"], &remote[..]].concat(), "PERSONAL"),
        (vec!["history", "parcel", id], "webhook_endpoint"),
        (vec!["history", "message", id, "--to", "2026-11-23T09:00:00Z"], "--from"),
        (vec!["history", "message", id, "--from", "yesterday"], "--from"),
        (
            vec![
                "history",
                "message",
                id,
                "--from",
                "2026-11-23T09:00:01Z",
                "--to",
                "2026-11-23T09:00:00Z",
            ],
            "later than --to",
        ),
        (
            vec![
                "history",
                "message",
                id,
                "--from",
                "2026-11-23T09:00:00Z",
                "--as-of",
                "2026-11-23T09:00:00Z",
            ],
            "--as-of",
        ),
        (vec!["verify", "--url", "http://127.0.0.1:9", "--key", "wgk_x"], "--url"),
    ] {
        let refused = run(&store, &arguments).await;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {}", refused.err);
        assert!(refused.err.contains(right), "{arguments:?}: {}", refused.err);
    }
    // Nobody is there to ask: that is no wrong usage.
    let refused = run(&store, &[&["events"], &remote[..]].concat()).await;
    assert_eq!(refused.code, Some(1), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_shows_each_kind_as_it_is_and_as_it_was_known() {
    for kind in stores() {
        let world = World::new(kind).await;
        let admin = world.gateway.client.key.clone();
        let reader = key_with(&world.gateway.client, &["READ"]).await;
        // Of each, what was another at first: in the aggregate, and in the API.
        let kinds = [
            ("message", &world.message, "/attempts", "/status"),
            ("campaign", &world.campaign, "/status", "/status"),
            ("contact", &world.contact, "/details/name", "/name"),
            ("account", &world.account, "/settings/name", "/name"),
        ];
        for (name, id, in_store, in_api) in kinds {
            for (is_remote, pointer) in [(false, in_store), (true, in_api)] {
                let ask = |more: Vec<String>| {
                    let (world, admin) = (&world, &admin);
                    let more: Vec<String> = more;
                    async move {
                        let mut arguments = vec!["history", name, id.as_str(), "--json"];
                        arguments.extend(more.iter().map(String::as_str));
                        match is_remote {
                            true => world.remote(admin, &arguments).await,
                            false => world.local(&arguments).await,
                        }
                    }
                };
                let now = ok(ask(vec![]).await).lines().remove(0);
                let first = text(&now["events"][0]["recordedat"]);
                let then =
                    ok(ask(vec!["--as-of".to_owned(), first.clone()]).await).lines().remove(0);
                let count = |shown: &Value| shown["events"].as_array().map_or(0, Vec::len);
                assert!(count(&then) >= 1 && count(&then) < count(&now), "{name}: {then}");
                let (before, after) =
                    (then["state"].pointer(pointer), now["state"].pointer(pointer));
                assert!(after.is_some(), "{name}: {now}");
                assert_ne!(before, after, "{name}");
                let all = then["events"].as_array().into_iter().flatten();
                assert!(all.clone().all(|event| text(&event["recordedat"]) <= first), "{name}");
                // Before its time there was none.
                let refused =
                    ask(vec!["--as-of".to_owned(), "2020-01-01T00:00:00Z".to_owned()]).await;
                assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);
            }
        }
        // For people, and masked for a key that sees no people.
        let shown = ok(world.local(&["history", "message", &world.message]).await);
        assert!(
            shown.out.contains("message.delivered") && shown.out.contains(PHONE),
            "{}",
            shown.out
        );
        let shown = ok(world.remote(&admin, &["history", "message", &world.message]).await);
        assert!(
            shown.out.contains("message.delivered") && shown.out.contains(PHONE),
            "{}",
            shown.out
        );
        for masked in [
            ok(world.local(&["history", "message", &world.message, "--mask"]).await),
            ok(world.remote(&reader, &["history", "message", &world.message]).await),
        ] {
            assert!(masked.out.contains("message.delivered"), "{}", masked.out);
            assert!(!masked.out.contains(PHONE), "{}", masked.out);
        }
        let templates = "{ templates { nodes { id } } }";
        let data = world.gateway.client.ask(templates, json!({})).await;
        let template = text(&data["templates"]["nodes"][0]["id"]);
        for shown in [
            ok(world.local(&["history", "template", &template, "--json"]).await),
            ok(world.remote(&reader, &["history", "template", &template, "--json"]).await),
        ] {
            let shown = shown.lines().remove(0);
            assert_eq!(shown["state"]["status"], "APPROVED", "{shown}");
            assert_eq!(shown["events"][0]["type"], "template.drafted", "{shown}");
        }
        // Another kind's id is none of this kind.
        for refused in [
            world.local(&["history", "campaign", &world.message]).await,
            world.remote(&admin, &["history", "campaign", &world.message]).await,
        ] {
            assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);
        }
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_from_the_store_and_through_the_api() {
    for kind in stores() {
        let world = World::new(kind).await;
        let url = world.gateway.client.base.as_str();
        let follow = ["events", "--type", "contact.tagged", "--follow", "--personal"];
        let remote = ["--url", url, "--key", world.gateway.client.key.as_str()];
        let mut followers = vec![];
        for arguments in [follow.to_vec(), [&follow[..], &remote[..]].concat()] {
            let mut command = subcommand(&world.store, &arguments);
            let mut child =
                command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
            let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            followers.push((child, lines));
        }
        let tag =
            "mutation($input: UpdateContactInput!) { updateContact(input: $input) { position } }";
        for number in 0..3 {
            let input = json!({ "id": world.contact, "addTags": [format!("tag-{number}")] });
            world.gateway.client.ask(tag, json!({ "input": input })).await;
            for (_, lines) in &mut followers {
                let line = tokio::time::timeout(gateway_tests::PATIENCE, lines.next_line()).await;
                let line = line.expect("it comes").expect("it reads").expect("it goes on");
                let event: Value = serde_json::from_str(&line).expect("JSON");
                assert_eq!(event["data"]["tags"], json!([format!("tag-{number}")]), "{event}");
            }
        }
        for (mut child, _) in followers {
            child.kill().await.expect("it can be killed");
        }
        world.stop().await;
    }
}
