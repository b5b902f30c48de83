//! The hour that integrators fear: a campaign runs, the gateway is killed again and again, and every receiver has a trouble
//! of its own. Run it with `--run-ignored only`; it takes a good hour.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, Manners, Receiver, SandboxProcess, Script, Store, StoreKind,
    eventually_within, stores, subcommand,
};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::common::{approved_template, assert_adds_up, count, import_csv, launch, progress_when};

const RECIPIENTS: u32 = 20_000;
/// The campaign alone takes over half an hour.
const MESSAGES_PER_SECOND: u32 = 10;
const OUTAGE: Duration = Duration::from_hours(1);
const ERRORS: Duration = Duration::from_mins(10);
const KILLS: usize = 10;
const NUMBER: &str = "402000000000077";

/// What a receiver knows: of each subject the sequences in the order in which they came, once each.
#[derive(Default)]
struct Known {
    ids: HashMap<String, String>,
    of: BTreeMap<String, Vec<u64>>,
    requests: u64,
    again: u64,
    refused: u64,
}

impl Known {
    fn take(&mut self, receiver: &Receiver, secrets: &[String]) {
        for received in receiver.take_received() {
            self.requests += 1;
            assert!(
                secrets.iter().any(|secret| received.is_signed_by(secret)),
                "signed by no secret of its own"
            );
            if !(200..300).contains(&received.status) {
                self.refused += 1;
                continue;
            }
            let event = received.json();
            let text = |name: &str| event[name].as_str().expect(name).to_owned();
            assert_eq!(received.header("webhook-id"), text("id"));
            let place = format!("{} {}", text("subject"), text("sequence"));
            match self.ids.insert(text("id"), place.clone()) {
                Some(before) => {
                    assert_eq!(before, place, "one id for two events");
                    self.again += 1;
                }
                None => self
                    .of
                    .entry(text("subject"))
                    .or_default()
                    .push(text("sequence").parse().expect("a number")),
            }
        }
    }
}

/// A receiver, its endpoint and what it has come to know.
struct Integrator {
    name: &'static str,
    receiver: Receiver,
    id: String,
    /// It has what comes after this position.
    since: u64,
    secrets: Vec<String>,
    known: Known,
}

impl Integrator {
    async fn start(client: &Client, name: &'static str) -> Self {
        let receiver = Receiver::start().await;
        let query = "mutation($url: String!) { createWebhookEndpoint(input: { url: $url }) { secret position endpoint { id } } }";
        let data = client.ask(query, json!({ "url": receiver.url })).await;
        let made = &data["createWebhookEndpoint"];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (id, secrets) = (text(&made["endpoint"]["id"]), vec![text(&made["secret"])]);
        let since = text(&made["position"]).parse().expect("a position");
        Self { name, receiver, id, since, secrets, known: Known::default() }
    }

    async fn rotate(&mut self, client: &Client) {
        let query = "mutation($id: ID!) { rotateWebhookSecret(id: $id) { secret } }";
        let answer = client.try_raw(query, json!({ "id": self.id })).await;
        let secret =
            answer.as_ref().and_then(|it| it["data"]["rotateWebhookSecret"]["secret"].as_str());
        self.secrets.extend(secret.map(str::to_owned));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an hour"]
async fn after_a_bad_hour_every_integrator_has_every_event_in_order() {
    let mut hours: JoinSet<()> = stores().into_iter().map(bad_hour).collect();
    while let Some(hour) = hours.join_next().await {
        hour.expect("everybody has everything");
    }
}

async fn bad_hour(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let sandbox = SandboxProcess::start(77).await;
    sandbox.behave(json!({ "deliveredRate": 1.0, "readRate": 0.7, "replyRate": 0.02, "duplicateWebhooks": 0.1 }));
    let networks = ("webhooks.allowed_networks".to_owned(), "[\"127.0.0.0/8\"]".to_owned());
    let mut options = BinaryOptions { settings: vec![networks], port: 0 };
    let mut gateway = Binary::start(&store, Some(&sandbox), &options).await;
    options.port = gateway.port;
    let client = gateway.client.clone();
    let mut integrators = vec![];
    for name in ["healthy", "down", "killed", "slow", "errors", "rotating"] {
        integrators.push(Integrator::start(&client, name).await);
    }
    let [_, down, killed, slow, errors, rotating] = integrators.as_mut_slice() else {
        panic!("six of them")
    };
    let followers = [
        Script::start(
            "eventsource.mjs",
            &[&format!("{}/events?after=0", client.base), &client.key],
        ),
        Script::start(
            "subscribe.mjs",
            &[&format!("{}/graphql", client.base.replace("http://", "ws://")), &client.key],
        ),
    ];
    down.receiver.go_down().await;
    slow.receiver.behave(Manners { delay: Duration::from_secs(2), ..Manners::default() });
    errors.receiver.behave(Manners { status: 500, ..Manners::default() });
    let account = sandbox.connect(&client, NUMBER, MESSAGES_PER_SECOND).await;
    for first in (0..RECIPIENTS).step_by(2_000) {
        let row = |n: u32| format!("+{},Person {n}\n", 447_700_900_000_u64 + u64::from(n));
        let rows: String = (first..first + 2_000).map(row).collect();
        import_csv(&client, &format!("phone,name\n{rows}"), "all").await;
    }
    let template = approved_template(&client, &account, "offers").await;
    let campaign = launch(&client, &account, &template, "all").await;

    let began = tokio::time::Instant::now();
    let mut random = rand::rngs::StdRng::seed_from_u64(77);
    let mut kills: Vec<Duration> =
        (0..KILLS).map(|_| OUTAGE.mul_f64(random.random_range(0.02..0.95))).collect();
    kills.sort_unstable();
    kills.reverse();
    let (mut is_cut, mut next_cut, mut next_secret) = (false, OUTAGE / 20, OUTAGE / 4);
    while began.elapsed() < OUTAGE {
        let now = began.elapsed();
        if kills.last().is_some_and(|at| *at <= now) {
            kills.pop();
            gateway.kill().await;
            gateway = Binary::start(&store, Some(&sandbox), &options).await;
        }
        if now >= ERRORS {
            errors.receiver.behave(Manners::default());
        }
        if now >= next_cut {
            // Killed with requests in its hands, gone for a while, and back.
            if is_cut {
                killed.receiver.come_back().await;
                killed.receiver.behave(Manners::default());
            } else {
                killed.receiver.behave(Manners { hangs_up: true, ..Manners::default() });
                tokio::time::sleep(Duration::from_millis(500)).await;
                killed.receiver.go_down().await;
            }
            is_cut = !is_cut;
            next_cut += OUTAGE / 20;
        }
        if now >= next_secret {
            rotating.rotate(&client).await;
            next_secret += OUTAGE / 4;
        }
        for it in [&mut *killed, &mut *slow, &mut *errors, &mut *rotating] {
            it.known.take(&it.receiver, &it.secrets);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if is_cut {
        killed.receiver.come_back().await;
        killed.receiver.behave(Manners::default());
    }
    down.receiver.come_back().await;
    slow.receiver.behave(Manners::default());
    assert!(kills.is_empty(), "killed ten times");

    let done = progress_when(&client, &campaign, OUTAGE, "all is delivered", |c| {
        // A call that was under way at a kill, and never arrived, is left to people.
        let settled = count(c, "delivered") + count(c, "inDoubt");
        c["status"] == "COMPLETED" && settled == u64::from(RECIPIENTS)
    })
    .await;
    assert!(count(&done, "inDoubt") <= 2 * KILLS as u64, "{done}");
    assert_adds_up(&done);
    assert_eq!(sandbox.sandbox.stats().counted_twice, 0, "nobody got it twice");
    let integrators = Arc::new(Mutex::new(integrators));
    eventually_within(OUTAGE, "every endpoint is through", || async {
        for it in integrators.lock().expect("no panic").iter_mut() {
            it.known.take(&it.receiver, &it.secrets);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let data = client
            .ask("{ webhookEndpoints(first: 10) { nodes { lag } } projections { lag } }", json!({}))
            .await;
        let lags = [&data["webhookEndpoints"]["nodes"], &data["projections"]];
        let mut lags = lags.into_iter().filter_map(Value::as_array).flatten();
        (sandbox.sandbox.stats().webhooks_pending == 0 && lags.all(|it| it["lag"] == 0))
            .then_some(())
    })
    .await;

    let output = subcommand(&store, &["events"]).output().await.expect("it runs");
    let mut posted: Vec<(u64, String)> = vec![];
    let mut lines = vec![];
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| event[name].as_str().expect(name).to_owned();
        lines.push(format!("{} {}", text("position"), text("id")));
        if !text("type").starts_with("api_key.") {
            posted.push((text("position").parse().expect("a position"), text("id")));
        }
    }
    assert!(posted.len() > 100_000, "{}", posted.len());
    for follower in followers.iter().flatten() {
        eventually_within(Duration::from_secs(60), "it has followed to the end", || async {
            (follower.lines().len() >= lines.len()).then_some(())
        })
        .await;
        assert!(follower.lines() == lines, "everything, in order, nothing twice");
    }
    for mut it in Arc::into_inner(integrators).expect("one owner").into_inner().expect("no panic") {
        it.known.take(&it.receiver, &it.secrets);
        let known = &it.known;
        let missing =
            posted.iter().filter(|(at, id)| *at > it.since && !known.ids.contains_key(id)).count();
        assert_eq!(missing, 0, "{} lacks some of {}", it.name, posted.len());
        for (subject, sequences) in &known.of {
            assert!(sequences.is_sorted(), "{}: {subject} came as {sequences:?}", it.name);
        }
        println!(
            "{kind:?} {}: {} events of {} subjects in {} requests, {} refused, {} again",
            it.name,
            known.ids.len(),
            known.of.len(),
            known.requests,
            known.refused,
            known.again
        );
    }
    gateway.terminate().await;
    sandbox.stop().await;
}
