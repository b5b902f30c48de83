//! The trail of things of every kind: what was known of them when, and what changed, by the API and the command line alike.

use chrono::{DateTime, SecondsFormat, Utc};
use gateway_tests::{
    Answered, Binary, BinaryOptions, Client, SandboxProcess, Store, StoreKind, eventually,
    found_in, run, stores,
};
use serde_json::{Value, json};

use crate::common::{key_with, utility_template};

const NUMBER: &str = "402000000000095";

const TRAIL: &str = "query($kind: String!, $id: ID!, $from: DateTime!, $at: DateTime) { trail(aggregateType: $kind, id: $id, asOf: $at) \
                     { aggregateType aggregateId state history(first: 500) { nodes { type position } } \
                       changes(from: $from) { field before after events { type position } } } }";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An instant behind which what comes next is recorded.
async fn moment() -> String {
    let moment = Utc::now();
    eventually("the clock goes on", || async {
        (Utc::now().timestamp_millis() > moment.timestamp_millis() + 1).then_some(())
    })
    .await;
    rfc3339(moment)
}

/// One thing, and what was done to it last: the field that changed by an event of this type.
struct Thing {
    kind: &'static str,
    id: String,
    field: &'static str,
    before: Value,
    after: Value,
    by: &'static str,
}

struct World {
    store: Store,
    sandbox: SandboxProcess,
    gateway: Binary,
    things: Vec<Thing>,
    /// Between what was made and what was changed.
    between: String,
}

const PHONE: &str = "+447700900951";
const NAMES: [&str; 3] = ["Ravensbourne", "Muschelkalk", PHONE];

impl World {
    /// One thing of each kind, made and then changed.
    async fn new(kind: StoreKind) -> Self {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(95).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        let workspaces = client.ask("{ workspaces { id } }", json!({})).await;
        let workspace = text(&workspaces["workspaces"][0]["id"]);
        let approved = utility_template(client, &account, "orders").await;
        let made = async |mutation: &str, input: Value, path: &str| {
            let name = format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]);
            let query = format!(
                "mutation($input: {name}!) {{ {mutation}(input: $input) {{ {path} {{ id }} }} }}"
            );
            text(&client.ask(&query, json!({ "input": input })).await[mutation][path]["id"])
        };
        let components = json!([{ "type": "BODY", "text": "Good day to you." }]);
        let draft = json!({ "accountId": account, "name": "draft", "language": "en", "category": "UTILITY",
                            "components": components });
        let draft = made("createTemplate", draft, "template").await;
        let contact = json!({ "phoneNumber": PHONE, "name": "Ravensbourne", "consent": "OPTED_IN", "consentSource": "test" });
        let contact = made("addContact", contact, "contact").await;
        let segment =
            made("createSegment", json!({ "name": "First", "rule": { "tag": "vip" } }), "segment")
                .await;
        let endpoint = json!({ "url": "https://93.184.215.14/events" });
        let endpoint = made("createWebhookEndpoint", endpoint, "endpoint").await;
        let key =
            made("createApiKey", json!({ "name": "shop", "scopes": ["READ"] }), "apiKey").await;
        let campaign = json!({ "accountId": account, "templateId": approved, "name": "First",
                               "parameters": { "body.1": "you" }, "audience": { "contactIds": [contact] } });
        let campaign = made("createCampaign", campaign, "campaign").await;
        let message = json!({ "accountId": account, "contactId": contact, "sendAt": in_an_hour(),
                              "template": { "templateId": approved, "parameters": { "body.1": "Muschelkalk" } } });
        let message = made("sendMessage", message, "message").await;
        let csv = json!({ "csv": "phone,name\n+447700900952,Somebody\n" });
        let import = made("importContacts", csv, "import").await;
        eventually("the import is completed", || async {
            let data = client
                .ask("query($id: ID!) { import(id: $id) { status } }", json!({ "id": import }))
                .await;
            (data["import"]["status"] == "COMPLETED").then_some(())
        })
        .await;
        let between = moment().await;

        let does = async |mutation: &str, arguments: String| {
            let query = format!("mutation {{ {mutation}({arguments}) {{ position }} }}");
            client.ask(&query, json!({})).await;
        };
        does(
            "updateWorkspace",
            format!("input: {{ id: \"{workspace}\", approvalThreshold: 1000 }}"),
        )
        .await;
        does("updateAccount", format!("input: {{ id: \"{account}\", timeZone: \"Asia/Tokyo\" }}"))
            .await;
        does("deleteTemplate", format!("id: \"{draft}\"")).await;
        does("updateContact", format!("input: {{ id: \"{contact}\", name: \"Muschelkalk\" }}"))
            .await;
        does("updateSegment", format!("id: \"{segment}\", name: \"Second\"")).await;
        does("updateWebhookEndpoint", format!("input: {{ id: \"{endpoint}\", batch: true }}"))
            .await;
        does("revokeApiKey", format!("id: \"{key}\"")).await;
        does("updateCampaign", format!("input: {{ id: \"{campaign}\", name: \"Second\" }}")).await;
        does("cancelMessage", format!("id: \"{message}\", reason: \"sold out\"")).await;
        does("undoImport", format!("id: \"{import}\"")).await;

        let thing = |kind, id: &String, field, before, after, by| Thing {
            kind,
            id: id.clone(),
            field,
            before,
            after,
            by,
        };
        let any = Value::Null;
        let (first, second) = (json!("First"), json!("Second"));
        let things = vec![
            thing(
                "workspace",
                &workspace,
                "approval_threshold",
                any.clone(),
                json!(1000),
                "workspace.updated",
            ),
            thing(
                "account",
                &account,
                "settings.time_zone",
                json!("Europe/Berlin"),
                json!("Asia/Tokyo"),
                "account.updated",
            ),
            thing(
                "template",
                &draft,
                "status",
                json!("DRAFT"),
                json!("DELETED"),
                "template.deleted",
            ),
            thing(
                "contact",
                &contact,
                "details.name",
                json!("Ravensbourne"),
                json!("Muschelkalk"),
                "contact.updated",
            ),
            thing("segment", &segment, "name", first.clone(), second.clone(), "segment.updated"),
            thing(
                "webhook_endpoint",
                &endpoint,
                "batch",
                json!(false),
                json!(true),
                "webhook_endpoint.updated",
            ),
            thing("api_key", &key, "revoked_at", any.clone(), any.clone(), "api_key.revoked"),
            thing("campaign", &campaign, "plan.name", first, second, "campaign.updated"),
            thing(
                "message",
                &message,
                "status_reason",
                any.clone(),
                json!("sold out"),
                "message.cancelled",
            ),
            thing("import", &import, "undone_at", any.clone(), any, "import.undone"),
        ];
        Self { store, sandbox, gateway, things, between }
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }

    async fn trail(&self, client: &Client, thing: &Thing, from: &str, at: Option<&str>) -> Value {
        let variables = json!({ "kind": thing.kind, "id": thing.id, "from": from, "at": at });
        client.try_raw(TRAIL, variables).await.expect("the gateway answers")
    }

    /// From the store itself, and through the gateway with a key.
    async fn history(&self, key: Option<&str>, thing: &Thing, more: &[&str]) -> Answered {
        let arguments = [&["history", thing.kind, &thing.id], more].concat();
        match key {
            None => run(&self.store, &arguments).await,
            Some(key) => {
                let url = self.client().base.as_str();
                run(&self.store, &[&arguments[..], &["--url", url, "--key", key]].concat()).await
            }
        }
    }
}

fn in_an_hour() -> String {
    rfc3339(Utc::now() + chrono::TimeDelta::hours(1))
}

fn ok(answered: Answered) -> Answered {
    assert_eq!(answered.code, Some(0), "{}", answered.err);
    answered
}

fn change<'a>(changes: &'a Value, field: &str) -> &'a Value {
    let found = changes.as_array().expect("changes").iter().find(|change| change["field"] == field);
    found.unwrap_or_else(|| panic!("{field} is not among {changes}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn things_of_every_kind_have_a_history_a_past_and_changes() {
    for kind in stores() {
        let world = World::new(kind).await;
        let (client, between) = (world.client(), world.between.as_str());
        let key = client.key.clone();
        for thing in &world.things {
            let Thing { kind, field, before, after, by, .. } = thing;
            let answer = world.trail(client, thing, between, None).await;
            assert!(answer["errors"].is_null(), "{kind}: {answer}");
            let now = &answer["data"]["trail"];
            let told = change(&now["changes"], field);
            let types: Vec<&Value> = told["events"]
                .as_array()
                .expect("events")
                .iter()
                .map(|event| &event["type"])
                .collect();
            assert_eq!(types, [by], "{kind}: {told}");
            if !before.is_null() {
                assert_eq!(&told["before"], before, "{kind}: {told}");
            }
            assert!(
                if after.is_null() { !told["after"].is_null() } else { told["after"] == *after },
                "{kind}: {told}"
            );
            let history = now["history"]["nodes"].as_array().expect("a history");
            assert!(
                history.len() >= 2 && history.iter().any(|event| event["type"] == *by),
                "{kind}: {history:?}"
            );

            // As it was: nothing of it had come about.
            let then = world.trail(client, thing, between, Some(between)).await;
            assert_eq!(then["data"]["trail"]["changes"], json!([]), "{kind}: {then}");
            let path = format!("/{}", field.replace('.', "/"));
            let was = then["data"]["trail"]["state"].pointer(&path).unwrap_or(&Value::Null);
            let is = now["state"].pointer(&path).unwrap_or(&Value::Null);
            assert_eq!((was, is), (&told["before"], &told["after"]), "{kind}");
            let never = world
                .trail(client, thing, "2020-01-01T00:00:00Z", Some("2020-01-01T00:00:00Z"))
                .await;
            assert_eq!(never["errors"][0]["extensions"]["code"], "NOT_FOUND", "{kind}: {never}");

            // The command line, from the store and through the gateway.
            for key in [None, Some(key.as_str())] {
                let shown = ok(world.history(key, thing, &["--from", between, "--json"]).await);
                let shown = shown.lines().remove(0);
                let same = change(&shown["changes"], field);
                assert_eq!(
                    (&same["before"], &same["after"]),
                    (&told["before"], &told["after"]),
                    "{kind}: {shown}"
                );
                assert_eq!(
                    same["events"],
                    json!([told["events"][0]["position"]]),
                    "{kind}: {shown}"
                );
                let events = shown["events"].as_array().expect("events");
                assert!(events.iter().any(|event| event["type"] == *by), "{kind}: {shown}");
                let shown = ok(world.history(key, thing, &["--from", between]).await);
                assert!(
                    shown.out.contains(&format!("{field}: ")) && shown.out.contains(by),
                    "{kind}: {}",
                    shown.out
                );
                let still = ["--from", between, "--to", between];
                let shown = ok(world.history(key, thing, &still).await);
                assert!(
                    shown.out.contains("nothing is another than it was"),
                    "{kind}: {}",
                    shown.out
                );
                let shown = ok(world.history(key, thing, &["--as-of", between, "--json"]).await)
                    .lines()
                    .remove(0);
                let events = shown["events"].as_array().expect("events");
                let cause = &told["events"][0]["position"];
                assert!(
                    !events.is_empty() && events.iter().all(|event| event["position"] != *cause),
                    "{kind}: {shown}"
                );
                let long_ago = ["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"];
                for before in
                    [&["--as-of", long_ago[0]][..], &["--from", long_ago[0], "--to", long_ago[1]]]
                {
                    let gone = world.history(key, thing, before).await;
                    let found = (gone.code, gone.out.as_str());
                    assert_eq!(found, (Some(1), ""), "{kind}: {}", gone.err);
                }
            }
        }
        let World { gateway, sandbox, .. } = world;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_shows_what_the_key_may_see_and_nobody_who_was_erased() {
    for kind in stores() {
        let world = World::new(kind).await;
        let (client, between) = (world.client(), world.between.as_str());
        let of =
            |kind: &str| world.things.iter().find(|thing| thing.kind == kind).expect("a thing");
        let long_ago = "2020-01-01T00:00:00Z";
        let reader_key = key_with(client, &["READ"]).await;
        let reader = client.with_key(&reader_key);
        for thing in [of("contact"), of("message")] {
            let masked = world.trail(&reader, thing, long_ago, None).await;
            assert!(masked["errors"].is_null(), "{masked}");
            assert!(!masked["data"]["trail"]["changes"].as_array().expect("changes").is_empty());
            let local =
                ok(world.history(None, thing, &["--mask", "--from", long_ago, "--json"]).await).out;
            let remote =
                ok(world.history(Some(&reader_key), thing, &["--from", long_ago, "--json"]).await)
                    .out;
            for shown in [masked.to_string(), local, remote] {
                assert_eq!(found_in(shown.as_bytes(), &NAMES), Vec::<&str>::new(), "{shown}");
            }
        }
        // That something changed can be seen, and not what.
        let masked = world.trail(&reader, of("contact"), between, None).await;
        let name = change(&masked["data"]["trail"]["changes"], "details.name").clone();
        assert_eq!((&name["before"], &name["after"]), (&json!("•••"), &json!("•••")), "{name}");

        let code = |answer: &Value| text(&answer["errors"][0]["extensions"]["code"]);
        let refused = world.trail(&reader, of("api_key"), long_ago, None).await;
        assert_eq!(code(&refused), "NOT_FOUND", "{refused}");
        let sender = client.with_key(&key_with(client, &["SEND"]).await);
        let refused = world.trail(&sender, of("contact"), long_ago, None).await;
        assert_eq!(code(&refused), "FORBIDDEN", "{refused}");
        let other = client
            .ask("mutation { createWorkspace(name: \"Other\") { workspace { id } } }", json!({}))
            .await;
        let limited = json!({ "name": "theirs", "scopes": ["READ"], "workspaceIds": [other["createWorkspace"]["workspace"]["id"]] });
        let create =
            "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }";
        let data = client.ask(create, json!({ "input": limited })).await;
        let stranger = client.with_key(&text(&data["createApiKey"]["secret"]));
        for thing in &world.things {
            let refused = world.trail(&stranger, thing, long_ago, None).await;
            assert_eq!(code(&refused), "NOT_FOUND", "{}: {refused}", thing.kind);
        }

        // What is wrong is named.
        let contact = of("contact");
        for (kind, id, from, expected, field) in [
            ("parcel", contact.id.as_str(), long_ago, "VALIDATION_FAILED", json!("aggregateType")),
            ("contact", "seven", long_ago, "NOT_FOUND", Value::Null),
            ("campaign", contact.id.as_str(), long_ago, "NOT_FOUND", Value::Null),
            (
                "contact",
                contact.id.as_str(),
                "2999-01-01T00:00:00Z",
                "VALIDATION_FAILED",
                json!("from"),
            ),
        ] {
            let variables = json!({ "kind": kind, "id": id, "from": from });
            let refused = client.try_raw(TRAIL, variables).await.expect("an answer");
            assert_eq!(code(&refused), expected, "{refused}");
            assert_eq!(refused["errors"][0]["extensions"]["field"], field, "{refused}");
        }

        let erase = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { position } }";
        let before_erasure = moment().await;
        client.ask(erase, json!({ "id": contact.id })).await;
        for thing in [contact, of("message")] {
            for at in [Some(between), Some(before_erasure.as_str()), None] {
                let trail = world.trail(client, thing, long_ago, at).await;
                assert!(trail["errors"].is_null(), "{trail}");
                assert_eq!(
                    found_in(trail.to_string().as_bytes(), &NAMES),
                    Vec::<&str>::new(),
                    "{trail}"
                );
            }
            let shown = ok(world.history(None, thing, &["--from", long_ago, "--json"]).await);
            assert_eq!(found_in(shown.out.as_bytes(), &NAMES), Vec::<&str>::new(), "{}", shown.out);
        }
        let trail = world.trail(client, contact, &before_erasure, None).await;
        let erased = change(&trail["data"]["trail"]["changes"], "erased");
        assert_eq!(
            (&erased["after"], &erased["events"][0]["type"]),
            (&json!(true), &json!("contact.erased")),
            "{trail}"
        );
        let World { gateway, sandbox, .. } = world;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
