//! Events as whoever knows nothing but the standards takes them: each is a CloudEvent to the CNCF's SDK, and fits the
//! schema that it names, however it leaves the gateway.

use std::collections::BTreeSet;
use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, Receiver, SandboxProcess, Script, Store, eventually,
    eventually_within, run, stores,
};
use serde_json::{Value, json};

use crate::common::{
    approved_template, count, import_csv, key_with, launch, progress_when, sandbox_account,
};
use crate::schema::lab::Lab;
use crate::schema::samples::{Spare, samples};
use crate::schema::walk::document;

const NUMBER: &str = "402000000000071";

/// What the independent client says of these events, after all that `GET /events` has for a key.
async fn judged(client: &Client, key: Option<&str>, lines: &[String]) -> Option<BTreeSet<String>> {
    let mut arguments = vec![client.base.as_str()];
    arguments.extend(key);
    let mut script = Script::start("cloudevents.mjs", &arguments)?;
    for line in lines {
        script.tell(line).await;
    }
    script.tell("").await;
    let verdict =
        eventually_within(Duration::from_secs(120), "every event was looked at", || async {
            script.lines().first().cloned()
        })
        .await;
    let verdict: Value = serde_json::from_str(&verdict).expect("JSON");
    assert_eq!(verdict["complaints"], json!([]), "{verdict:#}");
    let looked_at = verdict["events"].as_u64().expect("a number") as usize;
    assert!(looked_at > 0 && looked_at >= lines.len(), "{looked_at} of {}", lines.len());
    let types = verdict["types"].as_array().expect("a list").iter();
    Some(types.map(|name| name.as_str().expect("a name").to_owned()).collect())
}

fn lines(events: &[Value]) -> Vec<String> {
    events.iter().map(Value::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_a_campaign_and_what_people_answer_is_a_cloud_event_and_fits_its_schema() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(5).await;
        sandbox.behave(json!({
            "deliveredRate": 1.0, "readRate": 0.7, "replyRate": 0.3, "errorRates": { "131026": 0.1 },
            "statusDelayMs": { "min": 0, "max": 200 },
        }));
        let networks = ("webhooks.allowed_networks".to_owned(), "[\"127.0.0.0/8\"]".to_owned());
        let options = BinaryOptions { settings: vec![networks], port: 0 };
        let gateway = Binary::start(&store, Some(&sandbox), &options).await;
        let client = &gateway.client;
        let (masked, open) = (Receiver::start().await, Receiver::start().await);
        for (receiver, is_personal) in [(&masked, false), (&open, true)] {
            let input = json!({ "url": receiver.url, "includePersonal": is_personal, "batch": is_personal });
            let query = "mutation($input: CreateWebhookEndpointInput!) { createWebhookEndpoint(input: $input) { position } }";
            client.ask(query, json!({ "input": input })).await;
        }

        let account = sandbox.connect(client, NUMBER, 500).await;
        sandbox_account(client).await;
        let mut csv = String::from("phone,name,city,language\n12,Bad,York,en\n");
        for index in 0..60 {
            csv.push_str(&format!("+{},Person {index},London,en\n", 447_700_900_000_u64 + index));
        }
        import_csv(client, &csv, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "vip").await;
        progress_when(client, &campaign, Duration::from_secs(120), "it is over", |c| {
            c["status"] == "COMPLETED" && count(c, "accepted") > 0
        })
        .await;
        let writes = |kind: &str, body: Value| {
            let mut inbound =
                json!({ "phoneNumberId": NUMBER, "from": "447700900003", "type": kind });
            inbound[kind] = body;
            sandbox.sandbox.inbound(&inbound).expect("a person writes");
        };
        writes("text", json!({ "body": "Is it open on Sunday?" }));
        let send =
            "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
        eventually("an answer is allowed", || async {
            let input = json!({
                "accountId": account, "to": "+447700900003", "text": "It is.", "externalId": "question-1",
                "metadata": { "ticket": 7, "lines": [{ "sku": "a", "gift": true }] },
            });
            client.query(send, json!({ "input": input })).await.ok()
        })
        .await;
        writes("text", json!({ "body": "STOP" }));
        let input = json!({
            "accountId": account, "to": "+447700900004", "sendAt": "2036-01-01T09:00:00Z",
            "template": { "name": "offers", "language": "en", "parameters": { "body.1": "Ada" } },
        });
        client.ask(send, json!({ "input": input })).await;
        eventually("the opt-out is on record", || async {
            let answer = run(&store, &["events", "--type", "contact.opted_out"]).await;
            (!answer.lines().is_empty()).then_some(())
        })
        .await;
        eventually("WhatsApp has told everything", || async {
            (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
        })
        .await;
        // Whoever is erased is erased in what was recorded before, too.
        let query = "{ contacts(filter: { phoneNumbers: [\"+447700900003\"] }) { nodes { id } } }";
        let contact = client.ask(query, json!({})).await["contacts"]["nodes"][0]["id"].clone();
        let erase = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { position } }";
        client.ask(erase, json!({ "id": contact })).await;
        // Whoever reads the store itself is told where its gateway is.
        let address = format!("public_url={}", client.base);
        let answer = eventually("the erasure is on record", || async {
            let answer = run(&store, &["events", "--personal", "--set", &address]).await;
            answer.out.contains("contact.erased").then_some(answer)
        })
        .await;
        for receiver in [&masked, &open] {
            eventually("the endpoint has the erasure", || async {
                receiver.taken().iter().any(|event| event["type"] == "contact.erased").then_some(())
            })
            .await;
        }

        let told = answer.lines();
        let erased = told.iter().filter(|event| event["data"]["erased"].is_array()).count();
        assert!(erased > 3, "{erased}");
        let reader = key_with(client, &["READ"]).await;
        for (how, key, told) in [
            ("GET /events", Some(client.key.as_str()), vec![]),
            ("GET /events without PERSONAL", Some(reader.as_str()), vec![]),
            ("the command line", None, lines(&told)),
            (
                "the command line, masked",
                None,
                lines(&run(&store, &["events", "--set", &address]).await.lines()),
            ),
            ("webhooks", None, lines(&masked.taken())),
            ("webhooks in batches, with personal data", None, lines(&open.taken())),
        ] {
            // Not installed here, which was said.
            let Some(types) = judged(client, key, &told).await else { return };
            for name in [
                "import.completed",
                "contact.added",
                "contact.opted_out",
                "contact.erased",
                "template.approved",
                "campaign.completed",
                "message.queued",
                "message.send_requested",
                "message.accepted",
                "message.sent",
                "message.delivered",
                "message.read",
                "message.failed",
                "message.received",
                "message.replied",
                "message.scheduled",
            ] {
                assert!(types.contains(name), "{how}: no {name} among {types:?}");
            }
        }
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

/// With a sample of every mutation there is, so that a new one is looked at from the start.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_that_a_mutation_leads_to_fits_its_schema() {
    let lab = Lab::new(gateway_tests::StoreKind::Sqlite).await;
    let spare = Spare::of(&lab).await;
    let fields = api::graphql::catalogue();
    for sample in samples(&lab.own, &spare) {
        let field = fields.iter().find(|field| field.name == sample.field).expect("a field");
        if field.kind == api::graphql::FieldKind::Mutation {
            let query = document(field, "{ __typename }");
            lab.admin.try_raw(&query, sample.args.clone()).await.expect("the gateway answers");
            lab.settle().await;
        }
    }
    let masked = lab.scoped(&["READ"]).await;
    let open = judged(&lab.admin, Some(&lab.admin.key), &[]).await;
    let types = judged(&masked, Some(&masked.key), &[]).await;
    for types in open.iter().chain(&types) {
        assert!(types.len() > 40, "{types:?}");
    }
    // Keys are ADMIN's business, and so are their events.
    assert!(open.is_none_or(|types| types.contains("api_key.revoked")));
    assert!(types.is_none_or(|types| !types.contains("api_key.created")));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_served_to_everybody_and_may_be_kept() {
    let store = Store::fresh(gateway_tests::StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let (http, base) = (gateway.client.http().clone(), gateway.client.base.clone());
    let index = http.get(format!("{base}/schemas")).send().await.expect("an answer");
    assert_eq!(index.status(), 200);
    let index: Value = index.json().await.expect("JSON");
    let listed = index["events"].as_array().expect("a list");
    assert!(listed.len() > 80, "{}", listed.len());
    assert!(listed.iter().all(|entry| entry["version"].is_u64() && entry["type"].is_string()));
    let envelope = json!({ "schema": index["envelope"] });
    for entry in listed.iter().chain([&envelope]) {
        let url = entry["schema"].as_str().expect("an address");
        let answer = http.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{url}");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("content-type"), "application/schema+json");
        assert_eq!(header("cache-control"), "public, max-age=86400");
        let tag = header("etag");
        let schema: Value = answer.json().await.expect("JSON");
        assert!(url.ends_with(schema["$id"].as_str().expect("an id")), "{url}");
        let again = http.get(url).header("if-none-match", &tag).send().await.expect("an answer");
        assert_eq!(
            (again.status().as_u16(), again.headers()["etag"].to_str().ok()),
            (304, Some(tag.as_str()))
        );
        let other = http.get(url).header("if-none-match", "\"x\"").send().await.expect("an answer");
        assert_eq!(other.status(), 200);
        let head = http.head(url).send().await.expect("an answer");
        assert_eq!(head.status(), 200);
    }
    for unknown in [
        "message.delivered",
        "message.delivered/0",
        "message.delivered/99",
        "events/1",
        "event/1",
        "..%2f..%2fREADME",
    ] {
        let answer = http.get(format!("{base}/schemas/{unknown}")).send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "{unknown}");
    }
    let posted = http.post(format!("{base}/schemas")).send().await.expect("an answer");
    assert_eq!(posted.status(), 404);
    gateway.terminate().await;
}
