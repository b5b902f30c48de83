//! What people say of being written to holds by when they said it, whatever the order of the webhooks; and who opted out
//! before an erasure comes back opted out.

use chrono::{DateTime, Utc};
use gateway_tests::{Binary, BinaryOptions, Client, SandboxProcess, Store, eventually, stores};
use serde_json::{Value, json};

const NUMBER: &str = "402000000000047";

/// The sandbox's people and the gateway that hears of them.
struct World {
    sandbox: SandboxProcess,
    gateway: Binary,
    /// An hour ago: everything is said after it.
    start: i64,
}

impl World {
    fn client(&self) -> &Client {
        &self.gateway.client
    }

    fn tell(&self, who: u32, second: i64, mut what: Value) {
        what["phoneNumberId"] = json!(NUMBER);
        what["from"] = json!(phone(who));
        what["timestamp"] = json!(self.start + second);
        self.sandbox.sandbox.inbound(&what).expect("a webhook");
    }

    /// Writes, and waits until it is on record.
    async fn writes(&self, who: u32, second: i64, words: &str) {
        self.tell(who, second, json!({ "type": "text", "text": { "body": words } }));
        let at = self.at(second);
        let query = "{ messages(filter: { direction: INBOUND }, first: 50) { nodes { preview createdAt from } } }";
        eventually(words, || async {
            let data = self.client().ask(query, json!({})).await;
            let messages = data["messages"]["nodes"].as_array()?.clone();
            let is_it = |message: &Value| {
                message["preview"] == words
                    && message["from"] == format!("+{}", phone(who))
                    && time(&message["createdAt"]) == at
            };
            messages.iter().any(is_it).then_some(())
        })
        .await;
    }

    /// Chooses in WhatsApp's settings, and waits until everything up to there is interpreted.
    async fn prefers(&self, who: u32, second: i64, value: &str) {
        self.tell(who, second, json!({ "type": "user_preferences", "value": value }));
        self.writes(who, 100 + second, &format!("after {value}")).await;
    }

    fn at(&self, second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(self.start + second, 0).expect("a time")
    }

    async fn contact(&self, who: u32) -> Value {
        let query = "query($phones: [PhoneNumber!]) { contacts(filter: { phoneNumbers: $phones }) { nodes { \
                     id consent { status source recordedAt categories { category status recordedAt } } } } }";
        eventually("the person is known", || async {
            let phones = json!({ "phones": [format!("+{}", phone(who))] });
            let data = self.client().ask(query, phones).await;
            Some(data["contacts"]["nodes"][0].clone()).filter(|contact| !contact.is_null())
        })
        .await
    }

    /// The contact read from the log, which is never behind.
    async fn consent(&self, who: u32) -> Value {
        let id = self.contact(who).await["id"].clone();
        let query = "query($id: ID!) { contact(id: $id) { consent { status source recordedAt categories { category status recordedAt } } } }";
        self.client().ask(query, json!({ "id": id })).await["contact"]["consent"].clone()
    }

    async fn assert_consent(&self, who: u32, status: &str, since: i64) {
        let consent = self.consent(who).await;
        assert_eq!(consent["status"], status, "{consent}");
        assert_eq!(time(&consent["recordedAt"]), self.at(since), "{consent}");
    }

    async fn records(&self, who: u32, second: Option<i64>) {
        let id = self.contact(who).await["id"].clone();
        let mut input = json!({ "contactId": id, "status": "OPTED_IN", "source": "a form" });
        if let Some(second) = second {
            input["occurredAt"] = json!(self.at(second).to_rfc3339());
        }
        let query =
            "mutation($input: RecordConsentInput!) { recordConsent(input: $input) { position } }";
        self.client().ask(query, json!({ "input": input })).await;
    }
}

fn phone(who: u32) -> String {
    format!("4477009001{who:02}")
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).expect("a time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_undone_by_nothing_that_was_said_before_it() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(47).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        sandbox.connect(&gateway.client, NUMBER, 80).await;
        let world = World { sandbox, gateway, start: Utc::now().timestamp() - 3_600 };

        // Said before the stop, read after it; and then said after it.
        world.writes(1, 20, "STOP").await;
        world.assert_consent(1, "OPTED_OUT", 20).await;
        world.writes(1, 10, "START").await;
        world.writes(1, 20, "START").await;
        world.assert_consent(1, "OPTED_OUT", 20).await;
        world.writes(1, 30, "START").await;
        world.assert_consent(1, "OPTED_IN", 30).await;

        // The start is read first: no consent, until the stop that it answers is there.
        world.writes(2, 30, "START").await;
        assert_eq!(world.consent(2).await["status"], "UNKNOWN");
        world.writes(2, 20, "STOP").await;
        world.assert_consent(2, "OPTED_IN", 30).await;

        // A list that is read while the stop is on its way.
        world.writes(3, 1, "hello").await;
        world.records(3, None).await;
        world.writes(3, 20, "STOP").await;
        world.records(3, Some(2_000)).await;
        world.assert_consent(3, "OPTED_OUT", 20).await;
        world.records(3, None).await;
        assert_eq!(world.consent(3).await["status"], "OPTED_IN");

        // In WhatsApp's settings.
        world.prefers(4, 30, "resume").await;
        assert_eq!(world.consent(4).await["categories"], json!([]));
        world.prefers(4, 40, "stop").await;
        world.prefers(4, 35, "resume").await;
        let marketing = world.consent(4).await["categories"][0].clone();
        assert_eq!(marketing["status"], "OPTED_OUT", "{marketing}");
        assert_eq!(time(&marketing["recordedAt"]), world.at(40));
        world.prefers(4, 50, "resume").await;
        assert_eq!(world.consent(4).await["categories"][0]["status"], "OPTED_IN");

        who_opted_out_before_an_erasure_comes_back_so(&world).await;
        let World { sandbox, gateway, .. } = world;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

async fn who_opted_out_before_an_erasure_comes_back_so(world: &World) {
    let erase = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { position } }";
    let suppressed = |consent: &Value| {
        assert_eq!(consent["status"], "OPTED_OUT", "{consent}");
        assert_eq!(consent["source"], "suppression list", "{consent}");
    };
    for who in [5, 6] {
        world.writes(who, 20, "STOP").await;
        let id = world.contact(who).await["id"].clone();
        world.client().ask(erase, json!({ "id": id })).await;
    }
    // They write.
    world.writes(5, 30, "hello again").await;
    suppressed(&world.consent(5).await);
    // Somebody's number changes to theirs, by WhatsApp's word.
    world.writes(7, 30, "hello").await;
    world.records(7, None).await;
    assert_eq!(world.consent(7).await["status"], "OPTED_IN");
    let moved = json!({ "type": "user_changed_number", "wa_id": phone(6), "body": "moved" });
    world.tell(7, 31, json!({ "type": "system", "system": moved }));
    suppressed(&world.consent(6).await);
}
