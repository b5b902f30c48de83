//! Contacts that were merged are one person: what went to one of them, and what is known of one of them, counts for the
//! person, by the sandbox's own record. Nothing here depends on the store.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, Client, SandboxProcess, Store, StoreKind, eventually};
use serde_json::{Value, json};

use crate::common::{approved_template, count, import_people, launch, progress_when};

const NUMBER: &str = "402000000000093";
const PATIENCE: Duration = Duration::from_secs(90);

struct World {
    _store: Store,
    sandbox: SandboxProcess,
    gateway: Binary,
    account: String,
    template: String,
}

impl World {
    async fn new() -> Self {
        let store = Store::fresh(StoreKind::Sqlite).await;
        let sandbox = SandboxProcess::start(93).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let account = sandbox.connect(&gateway.client, NUMBER, 60).await;
        let template = approved_template(&gateway.client, &account, "offers").await;
        Self { _store: store, sandbox, gateway, account, template }
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }

    /// Somebody who opted in.
    async fn add(&self, phone: Option<&str>, external_id: &str, tag: &str) -> String {
        self.add_with(phone, external_id, tag, Some("OPTED_IN")).await
    }

    async fn add_with(
        &self,
        phone: Option<&str>,
        external_id: &str,
        tag: &str,
        consent: Option<&str>,
    ) -> String {
        let input = json!({
            "phoneNumber": phone, "externalId": external_id, "tags": [tag], "consent": consent,
            "consentSource": consent.map(|_| "form"),
        });
        let mutation =
            "mutation($input: AddContactInput!) { addContact(input: $input) { contact { id } } }";
        let data = self.client().ask(mutation, json!({ "input": input })).await;
        data["addContact"]["contact"]["id"].as_str().expect("an id").to_owned()
    }

    async fn merge(&self, keep: &str, merge: &str) {
        let mutation = "mutation($keep: ID!, $merge: ID!) { mergeContacts(keep: $keep, merge: $merge) { position } }";
        self.client().ask(mutation, json!({ "keep": keep, "merge": merge })).await;
    }

    async fn draft(&self, tag: &str, more: Value) -> String {
        let mut input = json!({
            "accountId": self.account, "templateId": self.template, "name": "Campaign",
            "parameters": { "body.1": "there" }, "audience": { "tags": [tag] },
        });
        for (name, value) in more.as_object().expect("an object") {
            input[name] = value.clone();
        }
        let mutation = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";
        let data = self.client().ask(mutation, json!({ "input": input })).await;
        data["createCampaign"]["campaign"]["id"].as_str().expect("an id").to_owned()
    }

    async fn does(&self, mutation: &str, id: &str) {
        let query = format!("mutation($id: ID!) {{ {mutation}(id: $id) {{ position }} }}");
        self.client().ask(&query, json!({ "id": id })).await;
    }

    async fn launched(&self, tag: &str) -> String {
        launch(self.client(), &self.account, &self.template, tag).await
    }

    async fn when(&self, campaign: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        progress_when(self.client(), campaign, PATIENCE, what, done).await
    }

    async fn completed(&self, campaign: &str) -> Value {
        self.when(campaign, "it is done", |c| c["status"] == "COMPLETED").await
    }

    /// Status and reason of each of a campaign's messages, by contact.
    async fn outcomes(&self, campaign: &str) -> HashMap<String, (String, Option<String>)> {
        let query = "query($id: ID!) { campaign(id: $id) { messages(first: 100) { nodes { contactId status skipReason } } } }";
        let data = self.client().ask(query, json!({ "id": campaign })).await;
        let nodes = data["campaign"]["messages"]["nodes"].as_array().expect("messages").clone();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let outcome = |node: &Value| {
            let status = text(&node["status"]).expect("a status");
            (text(&node["contactId"]).expect("an id"), (status, text(&node["skipReason"])))
        };
        nodes.iter().map(outcome).collect()
    }

    async fn reason(&self, campaign: &str, contact: &str) -> Option<String> {
        self.outcomes(campaign).await.remove(contact).expect("a message").1
    }

    /// How many the forecast sends to, and how many it leaves out for each reason.
    async fn forecast(&self, campaign: &str) -> (u64, BTreeMap<String, u64>) {
        let query =
            "query($id: ID!) { campaignForecast(id: $id) { toSend skipped { reason count } } }";
        let data = self.client().ask(query, json!({ "id": campaign })).await;
        let forecast = &data["campaignForecast"];
        let skipped = forecast["skipped"].as_array().expect("a list").iter().map(|skip| {
            let reason = skip["reason"].as_str().expect("a reason").to_owned();
            (reason, skip["count"].as_u64().expect("a count"))
        });
        (forecast["toSend"].as_u64().expect("a count"), skipped.collect())
    }

    /// Somebody writes, and it is on record.
    async fn writes(&self, phone: &str, text: &str) {
        let query = "{ messages(filter: { direction: INBOUND }, first: 100) { nodes { id } } }";
        let heard = async || {
            let data = self.client().ask(query, json!({})).await;
            data["messages"]["nodes"].as_array().expect("messages").len()
        };
        let before = heard().await;
        let body = json!({
            "phoneNumberId": NUMBER, "from": &phone[1..], "type": "text", "text": { "body": text },
        });
        self.sandbox.sandbox.inbound(&body).expect("a person writes");
        eventually("it is heard", || async { (heard().await > before).then_some(()) }).await;
    }

    /// Why a text to somebody is left out, if it is.
    async fn left_out(&self, contact: &str) -> Option<String> {
        let send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { skipReason } } }";
        let input = json!({ "accountId": self.account, "contactId": contact, "text": "Hello" });
        let data = self.client().ask(send, json!({ "input": input })).await;
        data["sendMessage"]["message"]["skipReason"].as_str().map(str::to_owned)
    }

    async fn end(self) {
        self.gateway.terminate().await;
        self.sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_a_campaign_once_whichever_of_their_contacts_was_first() {
    let world = World::new().await;
    import_people(world.client(), 10, "all").await;
    let campaign = world.draft("all", json!({ "messagesPerSecond": 1 })).await;
    world.does("launchCampaign", &campaign).await;
    world.when(&campaign, "some have left", |c| count(c, "accepted") >= 2).await;
    world.does("pauseCampaign", &campaign).await;
    let outcomes = eventually("nothing is on its way", || async {
        let outcomes = world.outcomes(&campaign).await;
        let is_settled = |status: &str| !matches!(status, "SENDING" | "IN_DOUBT");
        outcomes.values().all(|(status, _)| is_settled(status)).then_some(outcomes)
    })
    .await;
    let (mut waiting, mut sent): (Vec<String>, Vec<String>) = (vec![], vec![]);
    for (contact, (status, _)) in outcomes {
        if status == "QUEUED" { waiting.push(contact) } else { sent.push(contact) }
    }
    assert!(sent.len() >= 2 && waiting.len() >= 5, "{} and {}", sent.len(), waiting.len());
    // What has left to the one who went into another was the person's; also where it was by way of a third.
    world.merge(&waiting[0], &sent[0]).await;
    let third = world.add(Some("+447700900111"), "third", "none").await;
    world.merge(&third, &sent[1]).await;
    world.merge(&waiting[1], &third).await;
    // Of two that wait, the one for whoever stays goes.
    world.merge(&waiting[2], &waiting[3]).await;
    let duplicates = BTreeMap::from([("DUPLICATE".to_owned(), 3)]);
    let to_send = waiting.len() as u64 - 3;
    assert_eq!(world.forecast(&campaign).await, (to_send, duplicates));
    let before = world.sandbox.sends(NUMBER).len() as u64;
    world.does("resumeCampaign", &campaign).await;
    let done = world.completed(&campaign).await;
    assert_eq!((count(&done, "skipped"), count(&done, "recipients")), (3, 10), "{done}");
    assert_eq!(world.sandbox.sends(NUMBER).len() as u64, before + to_send);
    for (place, contact) in waiting.iter().enumerate() {
        let expected = matches!(place, 0 | 1 | 3).then_some("DUPLICATE");
        assert_eq!(world.reason(&campaign, contact).await.as_deref(), expected, "{place}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_tried_again_has_not_got_it_as_somebody_else() {
    let world = World::new().await;
    let (kept, half) = ("+447700900041", "+447700900042");
    let keeper = world.add_with(Some(kept), "kept", "retry", None).await;
    let other = world.add(Some(half), "half", "retry").await;
    let campaign = world.launched("retry").await;
    world.completed(&campaign).await;
    assert_eq!(world.reason(&campaign, &keeper).await.as_deref(), Some("NO_CONSENT"));
    // With whom they went into them their consent comes, and the message has been theirs already.
    world.merge(&keeper, &other).await;
    let retry = "mutation($id: ID!, $scope: RetryScope!) { retryCampaign(id: $id, scope: $scope) { campaign { status } } }";
    world.client().ask(retry, json!({ "id": campaign, "scope": "SKIPPED" })).await;
    eventually("they are left out as a duplicate", || async {
        let reason = world.reason(&campaign, &keeper).await;
        (reason.as_deref() == Some("DUPLICATE")).then_some(())
    })
    .await;
    world.completed(&campaign).await;
    assert_eq!(world.sandbox.sends_to(NUMBER, half).len(), 1);
    assert!(world.sandbox.sends_to(NUMBER, kept).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_whatsapp_said_of_and_was_given_for_one_contact_counts_for_the_person() {
    let world = World::new().await;
    let mut people = vec![];
    for (tag, half, kept, expected) in [
        ("fails", "+447700900011", "+447700900021", Some("UNREACHABLE")),
        ("full", "+447700900012", "+447700900022", Some("MARKETING_BLOCKED")),
        ("had one", "+447700900013", "+447700900023", Some("FREQUENCY_CAP")),
        ("nothing", "+447700900014", "+447700900024", None),
    ] {
        let other = world.add(Some(half), half, tag).await;
        people.push((world.add(Some(kept), kept, "later").await, other, expected));
    }
    for (tag, behaviour, counted) in [
        ("fails", json!({ "unreachable": ["+447700900011"] }), "failed"),
        ("full", json!({ "errorRates": { "131049": 1.0 } }), "failed"),
        ("had one", json!({}), "accepted"),
    ] {
        world.sandbox.behave(behaviour);
        let campaign = world.launched(tag).await;
        world.when(&campaign, "it is over", |c| count(c, counted) == 1).await;
    }
    world.sandbox.behave(json!({}));
    for (keeper, other, _) in &people {
        world.merge(keeper, other).await;
    }
    let later = json!({ "frequencyCap": { "messages": 1, "hours": 24 } });
    let later = world.draft("later", later).await;
    let reasons = people.iter().filter_map(|(_, _, reason)| Some(((*reason)?.to_owned(), 1)));
    let expected: (u64, BTreeMap<String, u64>) = (1, reasons.collect());
    assert_eq!(world.forecast(&later).await, expected);
    world.does("launchCampaign", &later).await;
    world.completed(&later).await;
    for (keeper, _, expected) in &people {
        assert_eq!(world.reason(&later, keeper).await.as_deref(), *expected, "{keeper}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_open_for_the_number_that_was_written_from() {
    let world = World::new().await;
    let (kept, half, only) = ("+447700900051", "+447700900052", "+447700900053");
    let keeper = world.add(Some(kept), "kept", "none").await;
    let other = world.add(Some(half), "half", "none").await;
    let nameless = world.add(None, "nameless", "none").await;
    let number = world.add(Some(only), "number", "none").await;
    world.writes(half, "hello").await;
    world.writes(only, "hello").await;
    world.merge(&keeper, &other).await;
    world.merge(&nameless, &number).await;
    let closed = Some("WINDOW_CLOSED");
    assert_eq!(world.left_out(&keeper).await.as_deref(), closed);
    // Who had no number has got this one.
    assert_eq!(world.left_out(&nameless).await, None);
    // The same when they write from it now, and are known by it.
    world.writes(half, "still me").await;
    assert_eq!(world.left_out(&keeper).await.as_deref(), closed);
    world.writes(kept, "me too").await;
    assert_eq!(world.left_out(&keeper).await, None);
    eventually("both are sent", || async {
        let sent = |to: &str| world.sandbox.sends_to(NUMBER, to).len();
        (sent(only) == 1 && sent(kept) == 1).then_some(())
    })
    .await;
    assert!(world.sandbox.sends_to(NUMBER, half).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_and_a_stop_are_the_persons_whichever_contact_the_message_was_for() {
    let world = World::new().await;
    let (kept, half) = ("+447700900031", "+447700900032");
    let keeper = world.add(Some(kept), "kept", "none").await;
    let other = world.add(Some(half), "half", "asked").await;
    let campaign = world.launched("asked").await;
    world.when(&campaign, "it has arrived", |c| count(c, "delivered") == 1).await;
    world.merge(&keeper, &other).await;
    world.writes(kept, "thank you").await;
    let query = "query($id: ID!) { campaign(id: $id) { progress { replied } } }";
    eventually("the answer is counted", || async {
        let data = world.client().ask(query, json!({ "id": campaign })).await;
        (data["campaign"]["progress"]["replied"] == 1).then_some(())
    })
    .await;

    // WhatsApp says that the person has stopped marketing when what waited for the contact that is no more is sent.
    let (kept, half) = ("+447700900033", "+447700900034");
    let keeper = world.add(Some(kept), "kept too", "none").await;
    let other = world.add(Some(half), "half too", "stopped").await;
    let pause =
        "mutation($id: ID!) { pauseAccount(id: $id, reason: \"a test\") { account { status } } }";
    world.client().ask(pause, json!({ "id": world.account })).await;
    let campaign = world.launched("stopped").await;
    world.when(&campaign, "it is planned", |c| count(c, "recipients") == 1).await;
    world.merge(&keeper, &other).await;
    world.sandbox.behave(json!({ "errorRates": { "131050": 1.0 } }));
    world.does("resumeAccount", &world.account).await;
    let query =
        "query($id: ID!) { contact(id: $id) { consent { categories { category status } } } }";
    eventually("the stop is the person's", || async {
        let data = world.client().ask(query, json!({ "id": keeper })).await;
        let words = data["contact"]["consent"]["categories"].as_array()?.clone();
        let is_stop =
            |word: &Value| word["category"] == "MARKETING" && word["status"] == "OPTED_OUT";
        words.iter().any(is_stop).then_some(())
    })
    .await;
    world.end().await;
}
