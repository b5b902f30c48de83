//! Campaigns by the calendar, on a clock that is moved by hand: everybody at their own time over the changes of clocks, a
//! year of occurrences with restarts in between, and messages that move when what they depend on changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::app::{Gateway, Managers, Workers};
use api::application::{api_keys, workspaces};
use api::config::Config;
use api::{http, telemetry};
use chrono::{DateTime, NaiveDateTime, Utc};
use domain::message::{Message, MessageCommand};
use domain::port::Clock;
use domain::primitives::Actor;
use gateway_tests::{Client, SandboxProcess, Store, StoreKind, eventually, stores};
use infrastructure::clock::{ManualClock, SystemIds};
use infrastructure::ledger::Context;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::common::{approved_template, import_csv};

/// The clock stands a little between two looks, and this much passes for each.
const LOOK: Duration = Duration::from_millis(10);
const PASSES: Duration = Duration::from_millis(40);
/// By the moved clock: what is due leaves within this, however busy the machine is.
const PROMPT: chrono::Duration = chrono::Duration::minutes(2);
const NUMBER: &str = "402000000000031";

/// A gateway in this process and its WhatsApp, both by the same clock.
pub struct World {
    pub clock: Arc<ManualClock>,
    store: Store,
    pub sandbox: SandboxProcess,
    passing: JoinHandle<()>,
    running: Option<(Arc<Gateway>, http::Server, Workers)>,
    port: u16,
    pub client: Client,
}

impl World {
    pub async fn new(kind: StoreKind, now: &str) -> Self {
        let clock = Arc::new(ManualClock::new(utc(now)));
        let passing = tokio::spawn({
            let clock = clock.clone();
            async move {
                loop {
                    tokio::time::sleep(LOOK).await;
                    clock.advance(PASSES);
                }
            }
        });
        let sandbox = SandboxProcess::start_by(7, clock.clone()).await;
        let store = Store::fresh(kind).await;
        let client = Client::new("http://127.0.0.1:0");
        let mut world = Self { clock, store, sandbox, passing, running: None, port: 0, client };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        let mut settings = self.store.settings();
        settings.extend([
            ("listen".to_owned(), format!("127.0.0.1:{}", self.port)),
            ("data_dir".to_owned(), self.store.dir.path().display().to_string()),
            ("graph.base_url".to_owned(), self.sandbox.url.clone()),
            ("graphql.requests_per_second".to_owned(), "1000000".to_owned()),
        ]);
        let config = Config::load(None, [], &settings).expect("a configuration");
        let metrics = telemetry::init_metrics().expect("metrics");
        let gateway = Gateway::open(config, self.clock.clone(), Arc::new(SystemIds::new()))
            .await
            .expect("a gateway");
        workspaces::ensure_default_workspace(&gateway).await.expect("a workspace");
        let mut workers = Workers::project(gateway.clone());
        api_keys::ensure_bootstrap_key(&gateway).await.expect("a key");
        let server = http::Server::start(gateway.clone(), metrics).expect("a listener");
        gateway.set_listening(server.address);
        self.port = server.address.port();
        self.client = Client::new(format!("http://{}", server.address));
        workers.manage(Managers::All);
        self.running = Some((gateway, server, workers));
    }

    async fn stop(&mut self) {
        if let Some((gateway, server, workers)) = self.running.take() {
            server.stop().await;
            workers.stop().await;
            // A SQLite file belongs to one process at a time, and to one gateway of a process.
            let last = Arc::downgrade(&gateway);
            drop(gateway);
            eventually("everything has let go of the store", || async {
                last.upgrade().is_none().then_some(())
            })
            .await;
        }
    }

    pub async fn end(mut self) {
        self.stop().await;
        self.passing.abort();
        self.sandbox.stop().await;
    }

    /// Moves the clock to an instant, unless that has passed.
    pub fn jump_to(&self, at: DateTime<Utc>) {
        if let Ok(ahead) = (at - self.clock.now()).to_std() {
            self.clock.advance(ahead);
        }
    }

    async fn account(&self) -> String {
        self.sandbox.connect(&self.client, NUMBER, 80).await
    }

    async fn add(&self, phone: &str, zone: Option<&str>, tag: &str) -> String {
        let input = json!({
            "phoneNumber": phone, "name": "Somebody", "timeZone": zone, "tags": [tag],
            "consent": "OPTED_IN", "consentSource": "form",
        });
        let data = self
            .client
            .ask("mutation($input: AddContactInput!) { addContact(input: $input) { contact { id } } }", json!({ "input": input }))
            .await;
        text(&data["addContact"]["contact"]["id"])
    }

    /// Launches a campaign for a tag.
    async fn launch(&self, account: &str, template: &str, tag: &str, schedule: Value) -> String {
        let input = json!({
            "accountId": account, "templateId": template, "name": "By the calendar",
            "parameters": { "body.1": "there" }, "audience": { "tags": [tag] }, "schedule": schedule,
        });
        let data = self
            .client
            .ask("mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }", json!({ "input": input }))
            .await;
        let id = text(&data["createCampaign"]["campaign"]["id"]);
        self.client
            .ask(
                "mutation($id: ID!) { launchCampaign(id: $id) { campaign { id } } }",
                json!({ "id": id }),
            )
            .await;
        id
    }

    async fn campaign(&self, id: &str) -> Value {
        let query = "query($id: ID!) { campaign(id: $id) { status startAt progress { recipients pending accepted skipped skips { reason count } } \
                     messages(first: 200) { nodes { id contactId to status dueAt skipReason } } history(first: 200) { nodes { type data } } } }";
        self.client.ask(query, json!({ "id": id })).await["campaign"].clone()
    }

    async fn campaign_when(&self, id: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async {
            let campaign = self.campaign(id).await;
            done(&campaign).then_some(campaign)
        })
        .await
    }

    /// Waits until WhatsApp was called so often.
    async fn sends(&self, count: usize) {
        eventually(&format!("{count} messages were sent"), || async {
            let sends = self.sandbox.sends(NUMBER).len();
            assert!(sends <= count, "{sends} sends instead of {count} at {}", self.clock.now());
            (sends == count).then_some(())
        })
        .await;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn utc(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").expect("an instant").and_utc()
}

fn instant(value: &Value) -> DateTime<Utc> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no instant: {value}"))
}

fn phone(index: usize) -> String {
    format!("+447700900{index:03}")
}

/// So many messages are there, on the list and in the counts, which are read one after the other.
fn is_planned(campaign: &Value, messages: usize) -> bool {
    let listed = campaign["messages"]["nodes"].as_array().map_or(0, Vec::len);
    listed == messages && campaign["progress"]["recipients"] == messages
}

/// When each message of a campaign is due, by the recipient's number.
fn dues(campaign: &Value) -> BTreeMap<String, DateTime<Utc>> {
    let nodes = campaign["messages"]["nodes"].as_array().expect("messages");
    nodes.iter().map(|node| (text(&node["to"]), instant(&node["dueAt"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_recipients_in_twenty_zones_are_sent_to_at_their_own_time_over_both_changes_of_clocks()
 {
    let fixture = include_str!("../../domain/tests/fixtures/schedules/instants.tsv");
    let world = World::new(StoreKind::Sqlite, "2027-03-01T00:00Z").await;
    let account = world.account().await;
    let template = approved_template(&world.client, &account, "offers").await;
    // Local time → number → instant, as Python's zoneinfo has it.
    let mut expected: BTreeMap<&str, BTreeMap<String, DateTime<Utc>>> = BTreeMap::new();
    let mut recipients: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for row in fixture.lines().filter(|line| !line.starts_with('#')) {
        let [zone, local, instant] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let next = phone(recipients.len() + 1);
        let number = recipients.entry((zone, &local[11..])).or_insert(next).clone();
        expected.entry(local).or_default().insert(number, utc(instant));
    }
    assert_eq!((recipients.len(), expected.len()), (60, 30));
    for ((zone, time), number) in &recipients {
        world.add(number, Some(zone), &format!("at-{time}").replace(':', "-")).await;
    }
    let mut stops: BTreeMap<DateTime<Utc>, Vec<&str>> = BTreeMap::new();
    let mut campaigns: BTreeMap<&str, String> = BTreeMap::new();
    for (local, instants) in &expected {
        let schedule = json!({
            "startAt": format!("{local}:00"), "timeZone": "Europe/Berlin", "recipientLocal": true, "whenPast": "SKIP",
        });
        let tag = format!("at-{}", &local[11..]).replace(':', "-");
        campaigns.insert(local, world.launch(&account, &template, &tag, schedule).await);
        let first = utc(&format!("{local}Z")) - chrono::Duration::hours(14);
        stops.entry(first).or_default().push(local);
        for at in instants.values() {
            stops.entry(*at).or_default();
        }
    }
    let all: Vec<DateTime<Utc>> = expected.values().flat_map(BTreeMap::values).copied().collect();
    for (stop, begin) in stops {
        world.jump_to(stop);
        for local in begin {
            let campaign = world
                .campaign_when(&campaigns[local], "everybody is planned", |c| is_planned(c, 20))
                .await;
            assert_eq!(dues(&campaign), expected[local], "{local}");
        }
        world.sends(all.iter().filter(|at| **at <= stop).count()).await;
    }
    // What WhatsApp saw: each person's ten, each at its instant and never before.
    let mut due: BTreeMap<&String, Vec<DateTime<Utc>>> = BTreeMap::new();
    for (number, at) in expected.values().flatten() {
        due.entry(number).or_default().push(*at);
    }
    let mut compared = 0;
    for (number, mut instants) in due {
        instants.sort_unstable();
        let mut sent: Vec<_> =
            world.sandbox.sends_to(NUMBER, number).into_iter().map(|call| call.at).collect();
        sent.sort_unstable();
        assert_eq!(sent.len(), instants.len(), "{number}");
        for (sent, due) in sent.into_iter().zip(instants) {
            assert!(sent >= due && sent - due < PROMPT, "{number}: {sent} instead of {due}");
            compared += 1;
        }
    }
    assert_eq!(compared, 600);
    for id in campaigns.values() {
        world.campaign_when(id, "it is completed", |c| c["status"] == "COMPLETED").await;
    }
    world.end().await;
}

/// The last day of each month of 2027 at nine in Berlin, by Python's zoneinfo.
const MONTH_ENDS: [&str; 12] = [
    "2027-01-31T08:00Z",
    "2027-02-28T08:00Z",
    "2027-03-31T07:00Z",
    "2027-04-30T07:00Z",
    "2027-05-31T07:00Z",
    "2027-06-30T07:00Z",
    "2027-07-31T07:00Z",
    "2027-08-31T07:00Z",
    "2027-09-30T07:00Z",
    "2027-10-31T08:00Z",
    "2027-11-30T08:00Z",
    "2027-12-31T08:00Z",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_months_comes_each_time_to_whoever_is_there_by_then_with_restarts_in_between() {
    for kind in stores() {
        let mut world = World::new(kind, "2027-01-02T00:00Z").await;
        let account = world.account().await;
        let template = approved_template(&world.client, &account, "club").await;
        for index in 0..2 {
            world.add(&phone(index), None, "club").await;
        }
        let schedule = json!({
            "startAt": "2027-01-31T09:00:00", "timeZone": "Europe/Berlin",
            "recurrence": "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=12",
        });
        let campaign = world.launch(&account, &template, "club", schedule).await;
        let (mut sent, mut came) = (0, 0);
        for (month, at) in MONTH_ENDS.map(utc).into_iter().enumerate() {
            if month == 9 {
                // The one before went by while the gateway was away: it is passed over for this one.
                world.jump_to(at);
                world.start().await;
            } else {
                let waits = world.campaign(&campaign).await;
                assert_eq!(
                    (&waits["status"], instant(&waits["startAt"])),
                    (&json!("SCHEDULED"), at)
                );
                // One more has joined since the last time.
                world.add(&phone(month + 2), None, "club").await;
            }
            match month {
                // Stopped while it waits, and back before its time.
                3 => {
                    world.stop().await;
                    world.jump_to(at - chrono::Duration::hours(1));
                    world.start().await;
                }
                // Back a day too late: it comes all the same.
                6 => {
                    world.stop().await;
                    world.jump_to(at + chrono::Duration::days(1));
                    world.start().await;
                }
                8 => {
                    world.stop().await;
                    continue;
                }
                _ => {}
            }
            world.jump_to(at);
            // Stopped in the middle of it.
            if month == 4 {
                world.stop().await;
                world.start().await;
            }
            // Two from the beginning, and one for each month but the tenth.
            let audience = if month < 9 { month + 3 } else { month + 2 };
            sent += audience;
            came += 1;
            world.sends(sent).await;
            let after = if month == 11 { "COMPLETED" } else { "SCHEDULED" };
            let done = world
                .campaign_when(&campaign, "the occurrence is done", |c| c["status"] == after)
                .await;
            assert_eq!(done["progress"]["recipients"], sent, "{done}");
            assert_eq!(done["progress"]["accepted"], sent, "{done}");
        }
        let done = world.campaign(&campaign).await;
        let started: Vec<Value> = done["history"]["nodes"]
            .as_array()
            .expect("events")
            .iter()
            .filter(|event| event["type"] == "campaign.started")
            .map(|event| event["data"].clone())
            .collect();
        assert_eq!((started.len(), came), (11, 11));
        let missed: Vec<_> = started.iter().filter(|data| data["missed"] == 1).collect();
        assert_eq!(missed.len(), 1);
        assert_eq!(instant(&missed[0]["occurrence_start"]), utc(MONTH_ENDS[9]));
        // Nobody got one twice: as many as there were occurrences since they joined.
        for index in (0..14usize).filter(|index| *index != 11) {
            let since = index.saturating_sub(2);
            let expected = (since..12).filter(|month| *month != 8).count();
            assert_eq!(world.sandbox.sends_to(NUMBER, &phone(index)).len(), expected, "{index}");
        }
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_messages_move_with_zones_and_quiet_hours_and_nobody_is_lost_by_a_bad_zone() {
    for kind in stores() {
        let mut world = World::new(kind, "2027-05-01T00:00Z").await;
        let account = world.account().await;
        let template = approved_template(&world.client, &account, "offers").await;
        let [moves_west, moves_east, by_number, put_off, stays] = [1, 2, 3, 4, 5].map(phone);
        let mut ids = BTreeMap::new();
        for (number, zone) in [
            (&moves_west, Some("Europe/Berlin")),
            (&moves_east, Some("Europe/Berlin")),
            (&by_number, None),
            (&put_off, Some("Europe/Berlin")),
            (&stays, Some("America/New_York")),
        ] {
            ids.insert(number.clone(), world.add(number, zone, "all").await);
        }
        let bad = phone(6);
        let csv = format!("phone,name,timezone\n{bad},Somebody,Mars/Base\n");
        let imported = import_csv(&world.client, &csv, "all").await;
        assert_eq!(imported["added"], 1, "{imported}");
        let local = json!({
            "startAt": "2027-05-05T09:00:00", "timeZone": "Europe/Berlin", "recipientLocal": true,
        });
        let campaign = world.launch(&account, &template, "all", local).await;
        let begins = utc("2027-05-04T19:00Z");
        world.jump_to(begins);
        let planned =
            world.campaign_when(&campaign, "everybody is planned", |c| is_planned(c, 6)).await;
        assert_eq!(
            planned["progress"]["skips"],
            json!([{ "reason": "BAD_TIME_ZONE", "count": 1 }])
        );
        let due = |campaign: &Value, number: &str| {
            let nodes = campaign["messages"]["nodes"].as_array().expect("messages");
            let node = nodes.iter().find(|node| node["to"] == number).expect("a message").clone();
            instant(&node["dueAt"])
        };
        for (number, at) in [
            (&moves_west, "2027-05-05T07:00Z"),
            (&moves_east, "2027-05-05T07:00Z"),
            (&by_number, "2027-05-05T08:00Z"), // a British number
            (&put_off, "2027-05-05T07:00Z"),
            (&stays, "2027-05-05T13:00Z"),
        ] {
            assert_eq!(due(&planned, number), utc(at), "{number}");
        }
        // A person's choice stands, whatever else changes.
        let nodes = planned["messages"]["nodes"].as_array().expect("messages");
        let chosen = nodes.iter().find(|node| node["to"] == put_off.as_str()).expect("a message");
        world
            .client
            .ask(
                "mutation($id: ID!, $at: DateTime!) { rescheduleMessage(id: $id, sendAt: $at) { message { id } } }",
                json!({ "id": chosen["id"], "at": "2027-05-05T05:00:00Z" }),
            )
            .await;
        let update = async |client: &Client, id: &str, change: Value| {
            let mut input = json!({ "id": id });
            for (name, value) in change.as_object().expect("an object") {
                input[name] = value.clone();
            }
            client
                .ask("mutation($input: UpdateContactInput!) { updateContact(input: $input) { contact { id } } }", json!({ "input": input }))
                .await;
        };
        update(&world.client, &ids[&put_off], json!({ "timeZone": "Asia/Tokyo" })).await;
        update(&world.client, &ids[&moves_west], json!({ "timeZone": "Europe/London" })).await;
        update(&world.client, &ids[&moves_east], json!({ "timeZone": "Asia/Kolkata" })).await;
        // What changes before a restart is seen to after it.
        update(&world.client, &ids[&by_number], json!({ "timeZone": "Europe/Berlin" })).await;
        world.stop().await;
        world.start().await;
        world
            .campaign_when(&campaign, "they have moved", |c| {
                let at = |number: &str| due(c, number);
                at(&moves_west) == utc("2027-05-05T08:00Z")
                    && at(&moves_east) == utc("2027-05-05T03:30Z")
                    && at(&by_number) == utc("2027-05-05T07:00Z")
                    && at(&put_off) == utc("2027-05-05T05:00Z")
            })
            .await;
        // As if it had been planned, and was last looked at, with other rules of time zones.
        let (gateway, ..) = world.running.as_ref().expect("a gateway");
        let message = nodes.iter().find(|node| node["to"] == stays.as_str()).expect("a message");
        let id = Uuid::parse_str(&text(&message["id"])).expect("an id");
        let now = world.clock.now();
        let wrong = MessageCommand::Retime { due_at: utc("2027-05-05T14:00Z"), at: now };
        let context = Context::new(Actor::system("test"), gateway.ids.next_id(now));
        gateway.bus.execute::<Message>(id, wrong, &context).await.expect("planned");
        let rules = "retiming.tzdb";
        let built_in = gateway.store.meta.get(rules).await.expect("the store").expect("a version");
        gateway.store.meta.set(rules, "2020a").await.expect("the store");
        world.stop().await;
        world.start().await;
        world
            .campaign_when(&campaign, "it is planned by these rules", |c| {
                due(c, &stays) == utc("2027-05-05T13:00Z")
            })
            .await;
        let (gateway, ..) = world.running.as_ref().expect("a gateway");
        eventually("the rules are on record", || async {
            let known = gateway.store.meta.get(rules).await.expect("the store");
            (known.as_ref() == Some(&built_in)).then_some(())
        })
        .await;
        // Quiet until ten, in everybody's own zone; nobody chose that for the one that was put off, and it waits too.
        world
            .client
            .ask(
                "mutation($input: UpdateAccountInput!) { updateAccount(input: $input) { account { id } } }",
                json!({ "input": { "id": account, "quietHours": { "from": "22:00", "to": "10:00" } } }),
            )
            .await;
        let expected = BTreeMap::from([
            (moves_west.clone(), utc("2027-05-05T09:00Z")),
            (moves_east.clone(), utc("2027-05-05T04:30Z")),
            (by_number.clone(), utc("2027-05-05T08:00Z")),
            (stays.clone(), utc("2027-05-05T14:00Z")),
        ]);
        world
            .campaign_when(&campaign, "they keep the quiet", |c| {
                expected.iter().all(|(number, at)| due(c, number) == *at)
                    && due(c, &put_off) == utc("2027-05-05T05:00Z")
            })
            .await;
        // In Tokyo it is two in the afternoon by then.
        let mut stops: Vec<_> = expected.values().copied().collect();
        stops.push(utc("2027-05-05T05:00Z"));
        stops.sort_unstable();
        for (sent, at) in stops.into_iter().enumerate() {
            world.jump_to(at);
            world.sends(sent + 1).await;
        }
        for (number, at) in &expected {
            let sent = world.sandbox.sends_to(NUMBER, number);
            assert_eq!(sent.len(), 1, "{number}");
            assert!(sent[0].at >= *at && sent[0].at - *at < PROMPT, "{number}: {}", sent[0].at);
        }
        world.campaign_when(&campaign, "it is completed", |c| c["status"] == "COMPLETED").await;
        // Whose zone is none gets what needs no zone of theirs.
        let everywhere = json!({ "startAt": "2027-05-06T12:00:00", "timeZone": "Europe/Berlin" });
        let second = world.launch(&account, &template, "all", everywhere).await;
        world.jump_to(utc("2027-05-06T10:00Z"));
        world.campaign_when(&second, "everybody is planned", |c| is_planned(c, 6)).await;
        eventually("the one with a bad zone is sent to", || async {
            (world.sandbox.sends_to(NUMBER, &bad).len() == 1).then_some(())
        })
        .await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_zone_that_was_corrected_is_sent_to_at_the_recipients_own_time_after_all() {
    for kind in stores() {
        let world = World::new(kind, "2027-06-01T00:00Z").await;
        let account = world.account().await;
        let template = approved_template(&world.client, &account, "offers").await;
        let [fine, west, east, still] = [1, 2, 3, 4].map(phone);
        world.add(&fine, Some("Europe/Berlin"), "all").await;
        let csv = format!(
            "phone,name,timezone\n{west},A,Mars/Base\n{east},B,Mars/Base\n{still},C,Mars/Base\n"
        );
        let imported = import_csv(&world.client, &csv, "all").await;
        assert_eq!(imported["added"], 3, "{imported}");
        let schedule = json!({
            "startAt": "2027-06-02T09:00:00", "timeZone": "Europe/Berlin", "recipientLocal": true,
        });
        let campaign = world.launch(&account, &template, "all", schedule).await;
        world.jump_to(utc("2027-06-01T19:00Z"));
        let planned =
            world.campaign_when(&campaign, "everybody is planned", |c| is_planned(c, 4)).await;
        let bad = |count: u64| json!([{ "reason": "BAD_TIME_ZONE", "count": count }]);
        assert_eq!(planned["progress"]["skips"], bad(3));
        world.jump_to(utc("2027-06-02T07:00Z"));
        world.sends(1).await;
        world.campaign_when(&campaign, "it is completed", |c| c["status"] == "COMPLETED").await;

        for (number, zone) in [(&west, "America/New_York"), (&east, "Asia/Tokyo")] {
            let query = "query($n: [PhoneNumber!]) { contacts(filter: { phoneNumbers: $n }) { nodes { id } } }";
            let data = world.client.ask(query, json!({ "n": [number] })).await;
            let input = json!({ "id": data["contacts"]["nodes"][0]["id"], "timeZone": zone });
            world
                .client
                .ask("mutation($input: UpdateContactInput!) { updateContact(input: $input) { contact { id } } }", json!({ "input": input }))
                .await;
        }
        let retry =
            "mutation($id: ID!) { retryCampaign(id: $id, scope: SKIPPED) { campaign { status } } }";
        let data = world.client.ask(retry, json!({ "id": campaign })).await;
        assert_eq!(data["retryCampaign"]["campaign"]["status"], "RUNNING");
        let again = world
            .campaign_when(&campaign, "two wait for their time", |c| {
                // The list is read beside the counts, maybe a moment earlier.
                c["progress"]["pending"] == 2
                    && c["progress"]["skips"] == bad(1)
                    && dues_of(c, "SCHEDULED").len() == 2
            })
            .await;
        assert_eq!(again["progress"]["recipients"], 4);
        // Nine is still to come in New York; in Tokyo it has passed, so it is the next day's.
        let due = dues_of(&again, "SCHEDULED");
        let expected = BTreeMap::from([
            (west.clone(), utc("2027-06-02T13:00Z")),
            (east.clone(), utc("2027-06-03T00:00Z")),
        ]);
        assert_eq!(due, expected);
        for (sent, at) in [(2, expected[&west]), (3, expected[&east])] {
            world.jump_to(at);
            world.sends(sent).await;
        }
        let done = world
            .campaign_when(&campaign, "it is completed again", |c| c["status"] == "COMPLETED")
            .await;
        assert_eq!(
            (&done["progress"]["accepted"], &done["progress"]["skipped"]),
            (&json!(3), &json!(1))
        );
        for (number, at) in &expected {
            let sent = world.sandbox.sends_to(NUMBER, number);
            assert!(sent.len() == 1 && sent[0].at >= *at && sent[0].at - *at < PROMPT, "{number}");
        }
        world.end().await;
    }
}

/// [`dues`] of the messages in one status.
fn dues_of(campaign: &Value, status: &str) -> BTreeMap<String, DateTime<Utc>> {
    let nodes = campaign["messages"]["nodes"].as_array().expect("messages");
    let found = nodes.iter().filter(|node| node["status"] == status);
    found.map(|node| (text(&node["to"]), instant(&node["dueAt"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_hour_has_passed_when_the_campaign_starts_is_left_out_or_put_off_as_its_owner_said() {
    for kind in stores() {
        // 09:00 has passed in Tokyo and Berlin, and not in New York.
        let world = World::new(kind, "2027-03-01T10:00Z").await;
        let account = world.account().await;
        let template = approved_template(&world.client, &account, "offers").await;
        let zones = ["Asia/Tokyo", "Europe/Berlin", "America/New_York"];
        for (index, zone) in zones.into_iter().enumerate() {
            world.add(&phone(index), Some(zone), "all").await;
        }
        let schedule = |when_past: &str| {
            json!({
                "startAt": "2027-03-01T09:00:00", "timeZone": "Europe/Berlin", "recipientLocal": true,
                "whenPast": when_past,
            })
        };
        let skips = world.launch(&account, &template, "all", schedule("SKIP")).await;
        let planned = world.campaign_when(&skips, "all are judged", |c| is_planned(c, 3)).await;
        let reason = |number: &str| {
            let nodes = planned["messages"]["nodes"].as_array().expect("messages");
            let message = nodes.iter().find(|node| node["to"] == number).expect(number);
            (text(&message["status"]), message["skipReason"].clone())
        };
        for (past, zone) in zones.iter().enumerate().take(2) {
            let expected = ("SKIPPED".to_owned(), json!("LOCAL_TIME_PAST"));
            assert_eq!(reason(&phone(past)), expected, "{zone}");
        }
        let counted = json!([{ "reason": "LOCAL_TIME_PAST", "count": 2 }]);
        assert_eq!(planned["progress"]["skips"], counted, "{planned}");
        let waiting = dues_of(&planned, "SCHEDULED");
        assert_eq!(waiting, BTreeMap::from([(phone(2), utc("2027-03-01T14:00Z"))]));
        assert!(world.sandbox.sends(NUMBER).is_empty());

        // The same put off to the next day.
        let put_off = world.launch(&account, &template, "all", schedule("NEXT_DAY")).await;
        let planned = world.campaign_when(&put_off, "all are judged", |c| is_planned(c, 3)).await;
        assert_eq!(planned["progress"]["skipped"], 0, "{planned}");
        assert_eq!(dues(&planned)[&phone(0)], utc("2027-03-02T00:00Z"));

        world.jump_to(utc("2027-03-01T14:00Z"));
        world.sends(2).await;
        let is_done = |c: &Value| c["status"] == "COMPLETED";
        let done = world.campaign_when(&skips, "it is done", is_done).await;
        assert_eq!(done["progress"]["accepted"], 1, "{done}");
        for (past, zone) in zones.iter().enumerate().take(2) {
            assert!(world.sandbox.sends_to(NUMBER, &phone(past)).is_empty(), "{zone}");
        }
        assert_eq!(world.sandbox.sends_to(NUMBER, &phone(2)).len(), 2);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_occurrence_that_is_held_does_not_keep_the_next_one_from_coming() {
    for kind in stores() {
        let world = World::new(kind, "2027-02-28T00:00Z").await;
        let account = world.account().await;
        let template = approved_template(&world.client, &account, "club").await;
        for index in 0..2 {
            world.add(&phone(index), None, "club").await;
        }
        let schedule = json!({
            "startAt": "2027-03-01T09:00:00", "timeZone": "UTC", "recurrence": "FREQ=DAILY;COUNT=4",
        });
        let input = json!({
            "accountId": account, "templateId": template, "name": "Daily", "parameters": { "body.1": "there" },
            "audience": { "tags": ["club"] }, "schedule": schedule,
        });
        let create = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";
        let data = world.client.ask(create, json!({ "input": input })).await;
        let campaign = text(&data["createCampaign"]["campaign"]["id"]);
        let launch =
            "mutation($id: ID!) { launchCampaign(id: $id, maxRecipients: 2) { campaign { id } } }";
        world.client.ask(launch, json!({ "id": campaign })).await;
        let is = |status: &'static str| move |c: &Value| c["status"] == status;
        let started = |c: &Value| {
            let events = c["history"]["nodes"].as_array().expect("events");
            events.iter().filter(|event| event["type"] == "campaign.started").count()
        };
        world.jump_to(utc("2027-03-01T09:00Z"));
        world.sends(2).await;
        world.campaign_when(&campaign, "the first is done", is("SCHEDULED")).await;

        // Too many on the second day, and nobody says anything; on the third they are few again.
        let third = world.add(&phone(2), None, "club").await;
        world.jump_to(utc("2027-03-02T09:00Z"));
        world.campaign_when(&campaign, "the second is held", is("PAUSED")).await;
        let untag = "mutation($input: UpdateContactInput!) { updateContact(input: $input) { contact { id } } }";
        world.client.ask(untag, json!({ "input": { "id": third, "removeTags": ["club"] } })).await;
        assert_eq!(world.sandbox.sends(NUMBER).len(), 2);
        world.jump_to(utc("2027-03-03T09:00Z"));
        world.sends(4).await;
        let done = world.campaign_when(&campaign, "the third is done", is("SCHEDULED")).await;
        assert_eq!(started(&done), 3, "{done}");
        assert_eq!(instant(&done["startAt"]), utc("2027-03-04T09:00Z"));

        // Too many once more, with a person's yes this time: it is the last.
        for index in 3..5 {
            world.add(&phone(index), None, "club").await;
        }
        world.jump_to(utc("2027-03-04T09:00Z"));
        world.campaign_when(&campaign, "the fourth is held", is("PAUSED")).await;
        let resume = "mutation($id: ID!) { resumeCampaign(id: $id) { campaign { id } } }";
        world.client.ask(resume, json!({ "id": campaign })).await;
        world.sends(8).await;
        world.campaign_when(&campaign, "all is done", is("COMPLETED")).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_everything_its_owner_set_but_a_schedule_that_is_over() {
    let world = World::new(StoreKind::Sqlite, "2027-07-01T00:00Z").await;
    let account = world.account().await;
    let template = approved_template(&world.client, &account, "offers").await;
    let created = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";
    let input = json!({
        "accountId": account, "templateId": template, "name": "Original", "externalId": "shop-7",
        "metadata": { "season": "summer" }, "parameters": { "body.1": "{{name | default: there}}" },
        "audience": { "tags": ["a", "b"], "exclude": { "tags": ["c"] } },
        "schedule": {
            "startAt": "2027-07-02T10:00:00", "timeZone": "Europe/Madrid", "recipientLocal": true,
            "sendWindow": { "from": "09:00", "to": "20:00" }, "whenPast": "SKIP",
            "recurrence": "FREQ=WEEKLY;COUNT=3",
        },
        "messagesPerSecond": 7, "frequencyCap": { "messages": 2, "hours": 48 }, "timeToLive": 7200,
    });
    let data = world.client.ask(created, json!({ "input": input })).await;
    let original = text(&data["createCampaign"]["campaign"]["id"]);
    let fields = "id name status externalId metadata accountId template { id } parameters messagesPerSecond timeToLive \
                  frequencyCap { messages hours } audience { all segmentIds contactIds tags exclude { tags } } \
                  schedule { startAt timeZone recipientLocal sendWindow { from to } whenPast recurrence }";
    let read = async |id: &str| {
        let query = format!("query($id: ID!) {{ campaign(id: $id) {{ {fields} }} }}");
        world.client.ask(&query, json!({ "id": id })).await["campaign"].clone()
    };
    let copy = async |name: Option<&str>| {
        let mutation = format!(
            "mutation($id: ID!, $name: String) {{ cloneCampaign(id: $id, name: $name) {{ campaign {{ {fields} }} }} }}"
        );
        let data = world.client.ask(&mutation, json!({ "id": original, "name": name })).await;
        data["cloneCampaign"]["campaign"].clone()
    };
    let mut expected = read(&original).await;
    assert_eq!(expected["schedule"]["recurrence"], "FREQ=WEEKLY;COUNT=3", "{expected}");
    let first = copy(None).await;
    assert_ne!(first["id"], expected["id"]);
    expected["id"] = first["id"].clone();
    expected["name"] = json!("Original (copy)");
    expected["externalId"] = Value::Null;
    assert_eq!(first, expected);
    // Between its occurrences it still comes back.
    world.jump_to(utc("2027-07-12T00:00Z"));
    let second = copy(Some("Mine")).await;
    expected["id"] = second["id"].clone();
    expected["name"] = json!("Mine");
    assert_eq!(second, expected);
    // When the last has passed, the copy has no schedule, and can be launched.
    world.jump_to(utc("2027-08-01T00:00Z"));
    let third = copy(Some("Late")).await;
    expected["id"] = third["id"].clone();
    expected["name"] = json!("Late");
    expected["schedule"] = Value::Null;
    assert_eq!(third, expected);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_merged_contact_follows_whom_they_went_into() {
    let world = World::new(StoreKind::Sqlite, "2027-05-01T00:00Z").await;
    let account = world.account().await;
    let template = approved_template(&world.client, &account, "offers").await;
    let [half, keeper, last] = [1, 2, 3].map(phone);
    let merged = world.add(&half, Some("Europe/Berlin"), "all").await;
    let kept = world.add(&keeper, Some("Asia/Kolkata"), "none").await;
    let last = world.add(&last, Some("America/New_York"), "none").await;
    let local = json!({
        "startAt": "2027-05-05T09:00:00", "timeZone": "Europe/Berlin", "recipientLocal": true,
    });
    let campaign = world.launch(&account, &template, "all", local).await;
    world.jump_to(utc("2027-05-04T19:00Z"));
    let is_due = async |what: &str, at: &str| {
        let is_due = |campaign: &Value| {
            let messages = campaign["messages"]["nodes"].as_array().expect("messages");
            messages.iter().any(|node| instant(&node["dueAt"]) == utc(at))
        };
        world.campaign_when(&campaign, what, is_due).await;
    };
    let merge = async |keep: &str, merge: &str| {
        let mutation = "mutation($keep: ID!, $merge: ID!) { mergeContacts(keep: $keep, merge: $merge) { position } }";
        world.client.ask(mutation, json!({ "keep": keep, "merge": merge })).await;
    };
    is_due("it is planned by their own zone", "2027-05-05T07:00Z").await;
    merge(&kept, &merged).await;
    is_due("it is the time of whom they went into", "2027-05-05T03:30Z").await;
    let update = json!({ "input": { "id": kept, "timeZone": "Europe/London" } });
    let mutation =
        "mutation($input: UpdateContactInput!) { updateContact(input: $input) { contact { id } } }";
    world.client.ask(mutation, update).await;
    is_due("it follows a change of that", "2027-05-05T08:00Z").await;
    merge(&last, &kept).await;
    is_due("it follows one step further", "2027-05-05T13:00Z").await;
    world.jump_to(utc("2027-05-05T13:00Z"));
    world.sends(1).await;
    world.end().await;
}
