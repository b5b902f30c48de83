//! What was known when: at each moment of a life the live answer is kept, and at the end `asOf` that moment answers the same,
//! but for what was erased since.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use gateway_tests::{
    APP_SECRET, Binary, BinaryOptions, Client, SandboxProcess, Store, StoreKind, WABA, eventually,
    found_in, run, stores,
};
use infrastructure::webhook::signature::sign;
use serde_json::{Value, json};

use crate::common::{count, utility_template};

const NUMBER: &str = "402000000000081";
const OTHER_NUMBER: &str = "402000000000082";
/// Marks of the person who is erased in the end, and of whom was merged into them.
const PHONE: &str = "+447700900811";
const OTHER_PHONE: &str = "+447700900812";
const MARKS: [&str; 9] = [
    "7700900811",
    "7700900812",
    "Ravensbourne",
    "Muschelkalk",
    "Kornblume",
    "Pfingstrose",
    "Edelweiss",
    "kunde-Zaunrebe",
    "GB.72044188390155266811",
];

const MESSAGE: &str = "id accountId externalId metadata campaignId contactId direction to from status statusReason wamid content preview \
                       attempts failure { code title details retryable } skipReason pricing dueAt createdAt acceptedAt sentAt \
                       deliveredAt readAt failedAt";
const CONTACT: &str = "id phoneNumber userId identities { portfolioId userId } otherPhoneNumbers otherIdentities { userId } \
                       otherExternalIds username externalId name language timeZone attributes tags \
                       consent { status source recordedAt categories { category status source evidence recordedAt } } \
                       erased mergedIntoId createdAt";
const CAMPAIGN: &str = "id name status statusReason parameters metadata audience { all tags contactIds } schedule { startAt timeZone } \
                        messagesPerSecond timeToLive startAt createdAt startedAt completedAt \
                        progress { status recipients pending accepted sent delivered read failed cancelled skipped inDoubt \
                        skips { reason count } failures { code title count } }";
const ACCOUNT: &str = "id name status statusReason pausedUntil phoneNumber verifiedName timeZone defaultRegion quietHours { from to } \
                       messagesPerSecond qualityRating inDoubtPolicy { marketing graceSeconds } webhookPath connectedAt";

/// What of an answer is the person's own, and so gone with them.
const PERSONAL: [&str; 17] = [
    "phoneNumber",
    "userId",
    "identities",
    "otherPhoneNumbers",
    "otherIdentities",
    "otherExternalIds",
    "username",
    "externalId",
    "name",
    "attributes",
    "to",
    "from",
    "wamid",
    "content",
    "preview",
    "metadata",
    "pricing",
];

struct Moment {
    step: &'static str,
    /// The answer holds from the moment before it was asked to this one.
    at: DateTime<Utc>,
    answer: Value,
}

/// One thing, as it was at each moment.
struct Life {
    kind: &'static str,
    fields: &'static str,
    id: String,
    moments: Vec<Moment>,
}

impl Life {
    fn of(kind: &'static str, id: String) -> Self {
        let fields = match kind {
            "message" => MESSAGE,
            "contact" => CONTACT,
            "campaign" => CAMPAIGN,
            _ => ACCOUNT,
        };
        Self { kind, fields, id, moments: vec![] }
    }

    async fn live(&self, client: &Client) -> Option<Value> {
        let query = format!("query($id: ID!) {{ {}(id: $id) {{ {} }} }}", self.kind, self.fields);
        let answer = client.try_raw(&query, json!({ "id": self.id })).await?;
        assert!(answer["errors"].is_null(), "{answer}");
        Some(answer["data"][self.kind].clone())
    }

    /// Waits until it is so, and keeps the answer. What comes next comes in another second, to which campaigns are exact.
    async fn reaches(
        &mut self,
        client: &Client,
        step: &'static str,
        is_so: impl Fn(&Value) -> bool,
    ) {
        let what = format!("{} {step}", self.kind);
        let last = std::sync::Mutex::new(Value::Null);
        let (answer, at) = tokio::select! {
            reached = eventually(&what, || async {
                let answer = self.live(client).await?;
                *last.lock().expect("no panic") = answer.clone();
                let at = now();
                // Nothing moved meanwhile, so it was so at that moment too.
                let same = self.live(client).await? == answer;
                (is_so(&answer) && same).then_some((answer, at))
            }) => reached,
            () = tokio::time::sleep(gateway_tests::PATIENCE - Duration::from_millis(500)) => {
                panic!("in vain for {what}; last seen {}", last.lock().expect("no panic"))
            }
        };
        eventually("the clock goes on", || async {
            (now().timestamp() > at.timestamp()).then_some(())
        })
        .await;
        self.moments.push(Moment { step, at, answer });
    }

    /// It has the status.
    async fn is(&mut self, client: &Client, status: &'static str) {
        self.reaches(client, status, |answer| answer["status"] == status).await;
    }

    async fn as_of(&self, client: &Client, at: DateTime<Utc>) -> Value {
        let query = format!(
            "query($id: ID!, $at: DateTime) {{ {}(id: $id, asOf: $at) {{ {} }} }}",
            self.kind, self.fields
        );
        let answer = client.try_raw(&query, json!({ "id": self.id, "at": rfc3339(at) })).await;
        answer.expect("the gateway answers")
    }

    /// At each moment, and right after it, it is shown as it was; before its time there was none.
    async fn is_shown_as_it_was(&self, client: &Client) {
        for Moment { step, at, answer } in &self.moments {
            for at in [*at, *at + TimeDelta::milliseconds(1)] {
                let then = self.as_of(client, at).await;
                assert!(then["errors"].is_null(), "{} {step}: {then}", self.kind);
                assert_eq!(&then["data"][self.kind], answer, "{} {step} at {at}", self.kind);
            }
        }
        let born = self.moments[0].answer["createdAt"]
            .as_str()
            .or(self.moments[0].answer["connectedAt"].as_str());
        let born = DateTime::parse_from_rfc3339(born.expect("an instant")).expect("an instant");
        let before = self.as_of(client, born.to_utc() - TimeDelta::minutes(5)).await;
        assert_eq!(before["data"][self.kind], Value::Null, "{before}");
        assert_eq!(before["errors"][0]["extensions"]["code"], "NOT_FOUND", "{before}");
    }

    async fn trail(&self, client: &Client, from: DateTime<Utc>, at: DateTime<Utc>) -> Value {
        let query = "query($kind: String!, $id: ID!, $from: DateTime!, $at: DateTime) { trail(aggregateType: $kind, id: $id, asOf: $at) \
                     { state changes(from: $from) { field before after events { position recordedAt } } } }";
        let (from, at) = (rfc3339(from), rfc3339(at));
        let variables = json!({ "kind": self.kind, "id": self.id, "from": from, "at": at });
        client.ask(query, variables).await["trail"].clone()
    }

    /// From each moment to the next: what it was, with what changed, is what it came to be; and each change was made by
    /// events of that time.
    async fn changes_lead_from_each_moment_to_the_next(&self, client: &Client) {
        for pair in self.moments.windows(2) {
            let [was, is] = pair else { unreachable!("pairs") };
            let step = format!("{} from {} to {}", self.kind, was.step, is.step);
            let before = self.trail(client, was.at, was.at).await;
            assert_eq!(before["changes"], json!([]), "{step}");
            let after = self.trail(client, was.at, is.at).await;
            let mut fields = named(&before["state"]);
            let changes = after["changes"].as_array().expect("changes");
            assert!(!changes.is_empty(), "{step}: {after}");
            for change in changes {
                let field = change["field"].as_str().expect("a name");
                assert_ne!(change["before"], change["after"], "{step}: {change}");
                let known = fields.remove(field).unwrap_or(Value::Null);
                assert_eq!(known, change["before"], "{step}: {change}");
                if !change["after"].is_null() {
                    fields.insert(field.to_owned(), change["after"].clone());
                }
                let causes = change["events"].as_array().expect("events");
                assert_eq!(causes.is_empty(), field.starts_with("progress."), "{step}: {change}");
                for cause in causes {
                    let at = cause["recordedAt"].as_str().expect("an instant");
                    assert!(*rfc3339(was.at) < *at && *at <= *rfc3339(is.at), "{step}: {change}");
                }
            }
            assert_eq!(fields, named(&after["state"]), "{step}");
            if self.kind == "campaign" {
                for (ours, its) in [
                    ("inDoubt", "in_doubt"),
                    ("accepted", "accepted"),
                    ("read", "read"),
                    ("delivered", "delivered"),
                    ("pending", "pending"),
                    ("skipped", "skipped"),
                ] {
                    let told = &after["state"]["progress"][its];
                    assert_eq!(told, &is.answer["progress"][ours], "{step}: {its}");
                }
            }
        }
    }

    /// At each moment the person's data is gone, and all else is as it was.
    async fn is_shown_erased(&self, client: &Client) {
        for Moment { step, at, answer } in &self.moments {
            let then = self.as_of(client, *at).await;
            assert!(then["errors"].is_null(), "{} {step}: {then}", self.kind);
            let trail = self.trail(client, DateTime::UNIX_EPOCH, *at).await;
            for told in [&then, &trail] {
                let found = found_in(told.to_string().as_bytes(), &MARKS);
                assert!(found.is_empty(), "{} {step}: {found:?}: {told}", self.kind);
            }
            let shown = &then["data"][self.kind];
            if self.kind == "contact" {
                assert_eq!(shown["erased"], true, "{step}: {shown}");
            }
            let impersonal = |answer: &Value| {
                let mut answer = answer.clone();
                let object = answer.as_object_mut().expect("an object");
                object.retain(|name, _| name != "erased" && !PERSONAL.contains(&name.as_str()));
                answer
            };
            let (mut was, mut is) = (impersonal(answer), impersonal(shown));
            // What proves a person's word is the person's too.
            for answer in [&mut was, &mut is] {
                let words = answer["consent"]["categories"].as_array_mut().into_iter().flatten();
                words.for_each(|word| word["evidence"] = Value::Null);
            }
            assert_eq!(is, was, "{} {step}", self.kind);
        }
    }

    /// The command line shows the same, from the store itself and through the gateway.
    async fn is_shown_by_the_command_line(&self, store: &Store, client: &Client) {
        let arguments = ["history", self.kind, &self.id, "--json"];
        let everything = run(store, &arguments).await;
        assert_eq!(everything.code, Some(0), "{}", everything.err);
        let everything = everything.lines().remove(0)["events"].clone();
        let everything = everything.as_array().expect("events");
        for Moment { step, at, answer } in &self.moments {
            let until = rfc3339(*at);
            let known = everything.iter().filter(|event| {
                let recorded = event["recordedat"].as_str().expect("an instant");
                recorded <= until.as_str()
            });
            let known: Vec<&Value> = known.map(|event| &event["id"]).collect();
            let url = ["--url", &client.base, "--key", &client.key];
            for more in [&[][..], &url[..]] {
                let arguments = [&arguments[..], &["--as-of", &until], more].concat();
                let shown = run(store, &arguments).await;
                assert_eq!(shown.code, Some(0), "{step}: {}", shown.err);
                let shown = shown.lines().remove(0);
                let events = shown["events"].as_array().expect("events");
                let ids: Vec<&Value> = events.iter().map(|event| &event["id"]).collect();
                assert_eq!(ids, known, "{} {step}", self.kind);
                if !more.is_empty() {
                    for name in ["status", "attempts", "name", "tags", "deliveredAt"] {
                        if let Some(value) = shown["state"].get(name) {
                            assert_eq!(value, &answer[name], "{} {step}: {name}", self.kind);
                        }
                    }
                }
            }
        }
        for pair in self.moments.windows(2) {
            let trail = self.trail(client, pair[0].at, pair[1].at).await;
            let told = trail["changes"].as_array().expect("changes").iter().map(|change| {
                let causes = change["events"].as_array().expect("events").iter();
                let causes: Vec<&Value> = causes.map(|event| &event["position"]).collect();
                json!({ "field": change["field"], "before": change["before"], "after": change["after"], "events": causes })
            });
            let told: Vec<Value> = told.collect();
            let (from, to) = (rfc3339(pair[0].at), rfc3339(pair[1].at));
            let url = ["--url", &client.base, "--key", &client.key];
            for more in [&[][..], &url[..]] {
                let arguments = [&arguments[..], &["--from", &from, "--to", &to], more].concat();
                let shown = run(store, &arguments).await;
                assert_eq!(shown.code, Some(0), "{}", shown.err);
                let shown = shown.lines().remove(0);
                if self.kind == "campaign" && more.is_empty() && store.kind == StoreKind::Postgres {
                    // The socket is in the gateway's own directory, where this process does not look.
                    continue;
                }
                assert_eq!(shown["changes"], Value::from(told.clone()), "{} {from}", self.kind);
                let events = shown["events"].as_array().expect("events");
                let within = |event: &Value| {
                    let at = event["recordedat"].as_str().expect("an instant");
                    *from < *at && *at <= *to
                };
                assert!(events.iter().all(within), "{} {from}: {events:?}", self.kind);
            }
        }
    }
}

/// Every value of a state by its dotted name.
fn named(state: &Value) -> BTreeMap<String, Value> {
    fn gather(name: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Null => {}
            Value::Object(object) => {
                for (inner, value) in object {
                    let inner =
                        if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
                    gather(&inner, value, found);
                }
            }
            value => drop(found.insert(name.to_owned(), value.clone())),
        }
    }
    let mut found = BTreeMap::new();
    gather("", state, &mut found);
    found
}

/// The log's time has milliseconds.
fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_millis(now.timestamp_millis()).expect("an instant")
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A gateway whose WhatsApp tells nothing by itself: every word of its comes from the test.
struct World {
    store: Store,
    sandbox: SandboxProcess,
    gateway: Binary,
    account: String,
    template: String,
}

impl World {
    async fn new(kind: StoreKind) -> Self {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(81).await;
        let settings = vec![("graph.timeout_s".to_owned(), "20".to_owned())];
        let options = BinaryOptions { settings, port: 0 };
        let gateway = Binary::start(&store, Some(&sandbox), &options).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        let template = utility_template(client, &account, "orders").await;
        let world = Self { store, sandbox, gateway, account, template };
        world.behave(json!({}));
        world
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }

    fn behave(&self, mut behaviour: Value) {
        behaviour["webhookOutage"] = json!(true);
        self.sandbox.behave(behaviour);
    }

    async fn ask(&self, query: &str, variables: Value) -> Value {
        self.client().ask(query, variables).await
    }

    /// A mutation with an input, of which nothing is read.
    async fn does(&self, mutation: &str, input: Value) {
        let name = format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]);
        let query =
            format!("mutation($input: {name}!) {{ {mutation}(input: $input) {{ position }} }}");
        self.ask(&query, json!({ "input": input })).await;
    }

    /// A mutation with an id, of which nothing is read.
    async fn does_to(&self, mutation: &str, id: &str, more: &str) {
        let query = format!("mutation($id: ID!) {{ {mutation}(id: $id{more}) {{ position }} }}");
        self.ask(&query, json!({ "id": id })).await;
    }

    async fn contact(&self, input: Value) -> String {
        let add =
            "mutation($input: AddContactInput!) { addContact(input: $input) { contact { id } } }";
        text(&self.ask(add, json!({ "input": input })).await["addContact"]["contact"]["id"])
    }

    /// An order to a person, which needs no consent.
    async fn send(&self, contact: &str, more: Value) -> Life {
        let mut input = json!({
            "accountId": self.account, "contactId": contact, "metadata": { "note": "Kornblume" },
            "template": { "templateId": self.template, "parameters": { "body.1": "Pfingstrose" } },
        });
        for (name, value) in more.as_object().expect("an object") {
            input[name] = value.clone();
        }
        let send =
            "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
        let data = self.ask(send, json!({ "input": input })).await;
        Life::of("message", text(&data["sendMessage"]["message"]["id"]))
    }

    /// WhatsApp tells.
    async fn tells(&self, value: Value) {
        let mut all = json!({ "messaging_product": "whatsapp",
                              "metadata": { "display_phone_number": "15550100199", "phone_number_id": NUMBER } });
        for (name, part) in value.as_object().expect("an object") {
            all[name] = part.clone();
        }
        let entry = json!({ "id": WABA, "changes": [{ "field": "messages", "value": all }] });
        let body = json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string();
        let url = format!("{}/webhooks/whatsapp/{}", self.client().base, self.account);
        let signature = sign(APP_SECRET, body.as_bytes());
        let request = self.client().http().post(url).header("x-hub-signature-256", signature);
        assert_eq!(request.body(body).send().await.expect("an answer").status().as_u16(), 200);
    }

    async fn status(&self, wamid: &str, status: &str) {
        let mut told = json!({ "id": wamid, "status": status, "timestamp": Utc::now().timestamp().to_string(),
                               "recipient_id": &PHONE[1..] });
        if status == "failed" {
            told["errors"] = json!([{ "code": 131_026, "title": "Message undeliverable" }]);
        }
        self.tells(json!({ "statuses": [told] })).await;
    }

    async fn says(&self, from: &str, wamid: &str, words: &str) {
        self.tells(json!({
            "contacts": [{ "wa_id": &from[1..], "profile": { "name": "Wilhelmina Ravensbourne" } }],
            "messages": [{ "from": &from[1..], "id": wamid, "timestamp": Utc::now().timestamp().to_string(),
                           "type": "text", "text": { "body": words } }],
        }))
        .await;
    }

    async fn pause_account(&self) {
        self.does_to("pauseAccount", &self.account, ", reason: \"held\"").await;
    }

    async fn resume_account(&self) {
        self.does_to("resumeAccount", &self.account, "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_moment_of_a_life_is_shown_as_it_was_known_then() {
    futures::future::join_all(stores().into_iter().map(|kind| async move {
        let world = World::new(kind).await;
        let client = world.client();
        let (mut contact, mut merged) = people(&world).await;
        let mut messages = vec![];
        messages.push(sent_later(&world, &contact.id).await);
        messages.push(taken_back(&world, &contact.id).await);
        messages.push(in_doubt(&world, &contact.id).await);
        messages.push(skipped(&world).await);
        messages.push(received(&world).await);
        let campaigns = [started(&world).await, never_started(&world).await];
        let account = account(&world).await;
        messages.push(refused(&world, &contact.id).await);
        they_become_one(&world, &mut contact, &mut merged).await;

        let all = || [&contact, &merged, &account].into_iter().chain(&messages).chain(&campaigns);
        for life in all() {
            life.is_shown_as_it_was(client).await;
            life.changes_lead_from_each_moment_to_the_next(client).await;
        }
        for life in [&contact, &messages[0], &campaigns[0], &account] {
            life.is_shown_by_the_command_line(&world.store, client).await;
        }
        // After a rebuild too: the campaigns' past is in the read model, and that can be thrown away.
        crate::common::assert_equal_to_a_rebuild(client, &campaigns[0].id).await;
        for life in &campaigns {
            life.is_shown_as_it_was(client).await;
        }

        // There is something to be erased, and then at no moment is it there.
        let known: Vec<String> =
            all().flat_map(|life| life.moments.iter().map(|m| m.answer.to_string())).collect();
        assert_eq!(found_in(known.join("\n").as_bytes(), &MARKS), MARKS);
        world.does_to("eraseContact", &contact.id, ", reason: \"asked by letter\"").await;
        let ended = Life::of("contact", contact.id.clone()).live(client).await.expect("an answer");
        assert_eq!(ended["erased"], true, "{ended}");
        for life in [&contact, &merged].into_iter().chain(&messages) {
            let theirs = life
                .moments
                .iter()
                .any(|moment| !found_in(moment.answer.to_string().as_bytes(), &MARKS).is_empty());
            if theirs {
                life.is_shown_erased(client).await;
            } else {
                life.is_shown_as_it_was(client).await;
            }
        }
        for life in campaigns.iter().chain([&account]) {
            life.is_shown_as_it_was(client).await;
        }
        for id in [&contact.id, &merged.id, &messages[0].id] {
            let kind = if *id == messages[0].id { "message" } else { "contact" };
            for Moment { at, .. } in &contact.moments {
                let at = rfc3339(*at);
                let shown =
                    run(&world.store, &["history", kind, id, "--json", "--as-of", &at]).await;
                assert_eq!(found_in(shown.out.as_bytes(), &MARKS), Vec::<&str>::new());
            }
        }
        let World { gateway, sandbox, .. } = world;
        gateway.terminate().await;
        sandbox.stop().await;
    }))
    .await;
}

/// A person from their first moment to their opt-out, and another who will turn out to be the same.
async fn people(world: &World) -> (Life, Life) {
    let client = world.client();
    let id =
        world.contact(json!({ "phoneNumber": PHONE, "name": "Wilhelmina Ravensbourne" })).await;
    let mut contact = Life::of("contact", id.clone());
    contact.reaches(client, "added", |c| c["name"] == "Wilhelmina Ravensbourne").await;
    let change = |changes: Value| {
        let mut input = changes;
        input["id"] = json!(id);
        world.does("updateContact", input)
    };
    change(json!({ "attributes": { "likes": "Muschelkalk" }, "externalId": "kunde-Zaunrebe",
                   "language": "de", "timeZone": "Europe/Berlin" }))
    .await;
    contact.reaches(client, "updated", |c| c["timeZone"] == "Europe/Berlin").await;
    change(json!({ "addTags": ["a", "b"] })).await;
    contact.reaches(client, "tagged", |c| c["tags"] == json!(["a", "b"])).await;
    change(json!({ "removeTags": ["a"], "attributes": null })).await;
    contact.reaches(client, "untagged", |c| c["tags"] == json!(["b"])).await;
    for (step, status, category) in [
        ("opted in", "OPTED_IN", Value::Null),
        ("opted out of one", "OPTED_OUT", json!("MARKETING")),
    ] {
        let word = json!({ "contactId": id, "status": status, "category": category,
                           "source": "form", "evidence": "Edelweiss" });
        world.does("recordConsent", word).await;
        let category = category.clone();
        contact
            .reaches(client, step, |c| match &category {
                Value::Null => c["consent"]["status"] == status,
                _ => c["consent"]["categories"][0]["status"] == status,
            })
            .await;
    }
    let other = json!({ "phoneNumber": OTHER_PHONE, "userId": "GB.72044188390155266811",
                        "name": "W. Ravensbourne", "tags": ["other"] });
    let mut other = Life::of("contact", world.contact(other).await);
    other.reaches(client, "added", |c| c["tags"] == json!(["other"])).await;
    (contact, other)
}

/// They are one person, who stops.
async fn they_become_one(world: &World, contact: &mut Life, merged: &mut Life) {
    let client = world.client();
    let merge = "mutation($keep: ID!, $merge: ID!) { mergeContacts(keep: $keep, merge: $merge) { position } }";
    world.ask(merge, json!({ "keep": contact.id, "merge": merged.id })).await;
    let into = contact.id.clone();
    merged.reaches(client, "merged", |c| c["mergedIntoId"] == into.as_str()).await;
    contact.reaches(client, "merged", |c| c["otherPhoneNumbers"] == json!([OTHER_PHONE])).await;
    world.says(PHONE, "wamid.asof.stop", "STOP").await;
    contact.reaches(client, "opted out", |c| c["consent"]["status"] == "OPTED_OUT").await;
}

/// Planned for later, put off, called, told of step by step.
async fn sent_later(world: &World, contact: &str) -> Life {
    let client = world.client();
    let later = |hours| rfc3339(now() + TimeDelta::hours(hours));
    let mut message =
        world.send(contact, json!({ "sendAt": later(1), "externalId": "kunde-Zaunrebe-1" })).await;
    message.is(client, "SCHEDULED").await;
    let reschedule = "mutation($id: ID!, $at: DateTime!) { rescheduleMessage(id: $id, sendAt: $at) { position } }";
    let at = later(2);
    world.ask(reschedule, json!({ "id": message.id, "at": at })).await;
    message.reaches(client, "rescheduled", |m| m["dueAt"] == at.as_str()).await;
    // The answer takes its time, so that the call under way can be seen.
    world.behave(json!({ "latencyMs": { "min": 4_000, "max": 4_000 } }));
    world.ask(reschedule, json!({ "id": message.id, "at": rfc3339(now()) })).await;
    message.is(client, "SENDING").await;
    message.is(client, "ACCEPTED").await;
    world.behave(json!({}));
    let wamid = text(&message.moments.last().expect("a moment").answer["wamid"]);
    for (told, status) in [("sent", "SENT"), ("delivered", "DELIVERED"), ("read", "READ")] {
        world.status(&wamid, told).await;
        message.is(client, status).await;
    }
    message
}

async fn taken_back(world: &World, contact: &str) -> Life {
    world.pause_account().await;
    let mut message = world.send(contact, json!({})).await;
    message.is(world.client(), "QUEUED").await;
    world.does_to("cancelMessage", &message.id, ", reason: \"no longer so\"").await;
    message.is(world.client(), "CANCELLED").await;
    world.resume_account().await;
    message
}

/// Nobody knows, until somebody has it sent again; and then it fails after all.
async fn in_doubt(world: &World, contact: &str) -> Life {
    let client = world.client();
    world.behave(json!({ "http500Refused": 1.0 }));
    let mut message = world.send(contact, json!({})).await;
    message.is(client, "IN_DOUBT").await;
    world.behave(json!({}));
    world.does_to("resolveInDoubt", &message.id, ", resolution: SEND_AGAIN").await;
    message.is(client, "ACCEPTED").await;
    let wamid = text(&message.moments.last().expect("a moment").answer["wamid"]);
    world.status(&wamid, "failed").await;
    message.is(client, "FAILED").await;
    message
}

/// Refused because it came too fast, which is worth another try, and then for good.
async fn refused(world: &World, contact: &str) -> Life {
    let client = world.client();
    world.says(PHONE, "wamid.asof.here", "Edelweiss").await;
    world.behave(json!({ "errorRates": { "130429": 1.0 } }));
    let mut message = world.send(contact, json!({})).await;
    message
        .reaches(client, "to be tried again", |m| m["attempts"] == 1 && m["status"] != "SENDING")
        .await;
    world.behave(json!({ "errorRates": { "131051": 1.0 } }));
    message.is(client, "FAILED").await;
    world.behave(json!({}));
    message
}

async fn skipped(world: &World) -> Life {
    let input = json!({ "phoneNumber": "+447700900819", "name": "Somebody", "consent": "OPTED_OUT", "consentSource": "letter" });
    let contact = world.contact(input).await;
    let mut message =
        world.send(&contact, json!({ "metadata": null, "template": null, "text": "Hello" })).await;
    message.is(world.client(), "SKIPPED").await;
    message
}

async fn received(world: &World) -> Life {
    let client = world.client();
    world.says(PHONE, "wamid.asof.hello", "Muschelkalk is lovely").await;
    let id = eventually("what they said is known", || async {
        let query = "{ messages(filter: { direction: INBOUND }) { nodes { id } } }";
        let data = world.ask(query, json!({})).await;
        data["messages"]["nodes"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let mut message = Life::of("message", id);
    message.is(client, "RECEIVED").await;
    message
}

const CREATE: &str =
    "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";

/// Ten people, of whom two are left out: launched while the number is held, paused, let go, told of in part.
async fn started(world: &World) -> Life {
    let client = world.client();
    for index in 0..10 {
        let consent = if index < 8 { "OPTED_IN" } else { "OPTED_OUT" };
        let input = json!({ "phoneNumber": format!("+4477009008{}", 20 + index), "name": "Somebody", "tags": ["many"],
                            "consent": consent, "consentSource": "test" });
        world.contact(input).await;
    }
    let input = json!({ "accountId": world.account, "templateId": world.template, "name": "First name",
                        "parameters": { "body.1": "{{name}}" }, "audience": { "tags": ["many"] } });
    let data = world.ask(CREATE, json!({ "input": input })).await;
    let mut campaign = Life::of("campaign", text(&data["createCampaign"]["campaign"]["id"]));
    campaign.is(client, "DRAFT").await;
    world
        .does(
            "updateCampaign",
            json!({ "id": campaign.id, "name": "Second name", "timeToLive": 7_200 }),
        )
        .await;
    campaign.reaches(client, "updated", |c| c["name"] == "Second name").await;
    world.pause_account().await;
    world.does_to("launchCampaign", &campaign.id, "").await;
    campaign
        .reaches(client, "launched", |c| count(c, "pending") == 8 && count(c, "skipped") == 2)
        .await;
    world.does_to("pauseCampaign", &campaign.id, ", reason: \"lunch\"").await;
    campaign.is(client, "PAUSED").await;
    world.does_to("resumeCampaign", &campaign.id, "").await;
    campaign.reaches(client, "resumed", |c| c["status"] == "RUNNING").await;
    world.resume_account().await;
    campaign
        .reaches(client, "accepted", |c| count(c, "accepted") == 8 && c["status"] == "COMPLETED")
        .await;
    let sends = world.sandbox.sends(NUMBER);
    let wamids: Vec<String> = sends
        .iter()
        .filter(|call| call.to.as_deref().is_some_and(|to| to.contains("44770090082")))
        .filter_map(|call| call.wamid.clone())
        .collect();
    assert_eq!(wamids.len(), 8, "{sends:?}");
    for wamid in &wamids[..5] {
        world.status(wamid, "delivered").await;
    }
    campaign.reaches(client, "delivered in part", |c| count(c, "delivered") == 5).await;
    world.status(&wamids[0], "read").await;
    world.status(&wamids[7], "failed").await;
    campaign
        .reaches(client, "read by one", |c| count(c, "read") == 1 && count(c, "failed") == 1)
        .await;
    campaign
}

/// Scheduled, and cancelled before its time.
async fn never_started(world: &World) -> Life {
    let client = world.client();
    let start = (Utc::now() + TimeDelta::hours(30)).format("%Y-%m-%dT%H:%M:00").to_string();
    let input = json!({ "accountId": world.account, "templateId": world.template, "name": "Later",
                        "parameters": { "body.1": "you" }, "audience": { "tags": ["many"] },
                        "schedule": { "startAt": start, "timeZone": "Europe/Berlin" } });
    let data = world.ask(CREATE, json!({ "input": input })).await;
    let mut campaign = Life::of("campaign", text(&data["createCampaign"]["campaign"]["id"]));
    campaign.is(client, "DRAFT").await;
    world.does_to("launchCampaign", &campaign.id, "").await;
    campaign.is(client, "SCHEDULED").await;
    world.does_to("cancelCampaign", &campaign.id, ", reason: \"rain\"").await;
    campaign.is(client, "CANCELLED").await;
    campaign
}

async fn account(world: &World) -> Life {
    let client = world.client();
    let id = world.sandbox.connect(client, OTHER_NUMBER, 300).await;
    let mut account = Life::of("account", id.clone());
    account.reaches(client, "connected", |a| a["messagesPerSecond"] == 300).await;
    let change = |changes: Value| {
        let mut input = changes;
        input["id"] = json!(id);
        world.does("updateAccount", input)
    };
    change(json!({ "name": "Renamed", "timeZone": "Asia/Tokyo", "messagesPerSecond": 20 })).await;
    account.reaches(client, "renamed", |a| a["name"] == "Renamed").await;
    change(json!({ "quietHours": { "from": "22:00", "to": "07:00" },
                   "inDoubtPolicy": { "marketing": "SEND_AGAIN", "graceSeconds": 900 } }))
    .await;
    account.reaches(client, "quiet at night", |a| !a["quietHours"].is_null()).await;
    change(json!({ "quietHours": null })).await;
    account.reaches(client, "never quiet", |a| a["quietHours"].is_null()).await;
    world.does_to("pauseAccount", &id, ", reason: \"holiday\"").await;
    account.is(client, "PAUSED").await;
    world.does_to("resumeAccount", &id, "").await;
    account.is(client, "CONNECTED").await;
    world.does_to("disconnectAccount", &id, ", reason: \"moved\"").await;
    account.is(client, "DISCONNECTED").await;
    account
}
