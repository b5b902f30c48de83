//! Gateways on one PostgreSQL share the work, and go on where one of them joins, ends or stands still, and where the
//! database does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use gateway_tests::{
    Binary, BinaryOptions, Client, Cluster, Front, Number, SandboxProcess, Store, StoreKind, Tap,
    eventually, eventually_within, free_port, stores,
};
use serde_json::json;
use sqlx::{Connection, Row};

use crate::common::{
    PROGRESS, approved_template, assert_adds_up, assert_each_got_it_once,
    assert_equal_to_a_rebuild, bad_day, count, import_csv, import_people, launch, progress_when,
    utility_template,
};

const RECIPIENTS: u32 = 3_000;
const NUMBER: &str = "402000000000021";
const MESSAGES_PER_SECOND: u32 = 100;
/// Longer than every lease, and than any attempt of the stopped node may take to begin.
const STOPPED_FOR: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn one_node_killed_and_one_stopped_for_a_minute_a_campaign_reaches_everybody_at_most_once() {
    if !stores().contains(&StoreKind::Postgres) {
        return;
    }
    let store = Store::fresh(StoreKind::Postgres).await;
    let sandbox = SandboxProcess::start(21).await;
    let options = |port| BinaryOptions {
        settings: vec![("graph.timeout_s".to_owned(), "5".to_owned())],
        port,
    };
    let mut sending = Binary::start(&store, Some(&sandbox), &options(0)).await;
    let mut other = Binary::start(&store, Some(&sandbox), &options(0)).await;
    // Webhooks reach either of them, as behind a load balancer.
    let front = Front::start([sending.port, other.port]).await;
    let account = sandbox.connect(&Client::new(front.url()), NUMBER, MESSAGES_PER_SECOND).await;
    import_people(&sending.client, RECIPIENTS, "all").await;
    let template = approved_template(&sending.client, &account, "offers").await;
    sandbox.behave(bad_day());
    let campaign = launch(&sending.client, &account, &template, "all").await;
    accepted(&other.client, &campaign, 2 * MESSAGES_PER_SECOND).await;

    // The one that sends is killed, and the other goes on alone.
    if owner(&store, &account).await != sending.pid() {
        std::mem::swap(&mut sending, &mut other);
    }
    let port = sending.port;
    sending.kill().await;
    let so_far = now_accepted(&other.client, &campaign).await;
    accepted(&other.client, &campaign, so_far + MESSAGES_PER_SECOND).await;
    let sending = other;
    let other = Binary::start(&store, Some(&sandbox), &options(port)).await;

    // Now that one stands still in the middle of its calls, and the first, started again, takes its place.
    let so_far = now_accepted(&other.client, &campaign).await;
    accepted(&other.client, &campaign, so_far + 1).await;
    assert_eq!(owner(&store, &account).await, sending.pid());
    sending.signal("STOP").await;
    let stopped_at = Instant::now();
    let so_far = now_accepted(&other.client, &campaign).await;
    accepted(&other.client, &campaign, so_far + MESSAGES_PER_SECOND).await;
    assert_eq!(owner(&store, &account).await, other.pid(), "nobody took the number over");
    // However fast the machine is, there must be much left for the one that wakes to do harm with.
    let set = async |mutation: &str| {
        let query =
            format!("mutation($id: ID!) {{ {mutation}(id: $id) {{ campaign {{ status }} }} }}");
        other.client.ask(&query, json!({ "id": campaign })).await;
    };
    set("pauseCampaign").await;
    let left = RECIPIENTS - now_accepted(&other.client, &campaign).await;
    assert!(left > RECIPIENTS / 4, "{left} are left");
    tokio::time::sleep(STOPPED_FOR.saturating_sub(stopped_at.elapsed())).await;
    set("resumeCampaign").await;
    sending.signal("CONT").await;
    // Awake, it answers and knows as much as the other.
    eventually_within(Duration::from_secs(30), "the one that slept has caught up", || async {
        let data = sending.client.try_raw("{ projections { lag } }", json!({})).await?;
        let projections = data["data"]["projections"].as_array()?.clone();
        projections.iter().all(|p| p["lag"].as_u64().is_some_and(|lag| lag < 5_000)).then_some(())
    })
    .await;

    assert_each_got_it_once(&other.client, &sandbox, &campaign, RECIPIENTS).await;
    let stats = sandbox.sandbox.stats();
    let peak = stats.per_second_peak[NUMBER];
    assert!(peak <= MESSAGES_PER_SECOND, "{peak} in a moving second");
    let violations: u64 =
        stats.pace_violations.values().chain(stats.pair_violations.values()).sum();
    assert_eq!(violations, 0, "{stats:?}");
    assert_equal_to_a_rebuild(&other.client, &campaign).await;
    // Both say the same.
    let expected = other.client.ask(PROGRESS, json!({ "id": campaign })).await;
    eventually("both nodes say the same", || async {
        let said = sending.client.ask(PROGRESS, json!({ "id": campaign })).await;
        (said == expected).then_some(())
    })
    .await;
    sending.terminate().await;
    other.terminate().await;
    sandbox.stop().await;
}

/// Waits until at least so many messages were accepted.
async fn accepted(client: &Client, campaign: &str, at_least: u32) {
    progress_when(client, campaign, Duration::from_secs(90), "the campaign goes on", |c| {
        count(c, "accepted") >= u64::from(at_least)
    })
    .await;
}

async fn now_accepted(client: &Client, campaign: &str) -> u32 {
    let data = client.ask(PROGRESS, json!({ "id": campaign })).await;
    u32::try_from(count(&data["campaign"], "accepted")).expect("a small count")
}

/// The process that sends for this account, by the leases in the database.
async fn owner(store: &Store, account: &str) -> u32 {
    let mut connection = sqlx::PgConnection::connect(&store.url).await.expect("PostgreSQL");
    let row = sqlx::query("SELECT owner FROM leases WHERE name = $1")
        .bind(format!("dispatch/account/{account}"))
        .fetch_one(&mut connection)
        .await
        .expect("somebody has had the number");
    let owner: String = row.get(0);
    let process = owner.split('/').next().expect("a part");
    process.parse().expect("an owner's name begins with its process")
}

/// How large a run with three nodes is.
struct Size {
    /// Of each campaign.
    recipients: u32,
    messages_per_second: u32,
    /// How long sending everything may take, on a slow machine.
    patience: Duration,
}

const FREE_ACCOUNTS: u32 = 3;
/// What is shared out: each of those, and the portfolio.
const PARTS: usize = FREE_ACCOUNTS as usize + 1;
/// Two numbers of one portfolio, which may reach this many people together.
const LIMIT: u32 = 250;
const LIMITED_RECIPIENTS: u32 = 300;
const LIMITED_PER_SECOND: u32 = 4;
const LIMITED_WABA: &str = "301000000000220";
const PORTFOLIO: &str = "9022";
/// In which a node that joins has its share.
const MOVES_WITHIN: Duration = Duration::from_secs(15);
/// A lease of 12 s, a second until the next look, and what a busy machine adds.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_share_the_work_evenly_and_hold_every_promise_whoever_joins_dies_or_sleeps() {
    let size =
        Size { recipients: 600, messages_per_second: 15, patience: Duration::from_secs(400) };
    three_nodes(&size).await;
}

/// The same with campaigns of 50,000 together: as long as two coffees, so not part of every run.
/// `cargo test --release -p gateway-tests --test e2e -- --ignored three_nodes_carry_fifty_thousand`, with
/// TEST_DATABASE_URL set, after `cargo build --release --bin whatsapp-gateway`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn three_nodes_carry_fifty_thousand_through_the_same() {
    let size = Size {
        recipients: 50_000 / FREE_ACCOUNTS + 1,
        messages_per_second: 100,
        patience: Duration::from_secs(1_800),
    };
    three_nodes(&size).await;
}

/// One of the three, and the wire between it and WhatsApp.
struct Node {
    binary: Binary,
    tap: Tap,
}

impl Node {
    async fn start(store: &Store, tap: Tap, port: u16) -> Self {
        let settings = vec![
            ("graph.timeout_s".to_owned(), "5".to_owned()),
            ("graph.base_url".to_owned(), format!("http://127.0.0.1:{}", tap.port())),
        ];
        let binary = Binary::start(store, None, &BinaryOptions { settings, port }).await;
        Self { binary, tap }
    }

    fn client(&self) -> &Client {
        &self.binary.client
    }

    /// The calls that this node made to send something, by number.
    fn sends(&self) -> BTreeMap<String, usize> {
        let mut sends = BTreeMap::new();
        for line in self.tap.request_lines() {
            let path = line.split([' ', '?']).nth(1).unwrap_or_default();
            if let Some(number) =
                path.strip_suffix("/messages").and_then(|it| it.rsplit('/').next())
            {
                *sends.entry(number.to_owned()).or_default() += 1;
            }
        }
        sends
    }

    /// Appends of this process that the log refused because their lease had moved on.
    async fn fenced(&self) -> u64 {
        let url = format!("{}/metrics", self.client().base);
        let answer = self.client().http().get(url).send().await.expect("the gateway answers");
        let text = answer.text().await.expect("a text");
        let value =
            text.lines().find_map(|line| line.strip_prefix("gateway_appends_fenced_total "));
        value.map_or(0, |value| value.parse().expect("a count"))
    }
}

/// A number that sends one campaign.
struct Line {
    number: Number,
    lease: String,
    campaign: String,
}

/// Who sends for what just now: by lease, the process and the epoch.
async fn held(store: &Store) -> BTreeMap<String, (u32, i64)> {
    // It may be away.
    let Ok(mut connection) = sqlx::PgConnection::connect(&store.url).await else {
        return BTreeMap::new();
    };
    let rows = sqlx::query(
        "SELECT name, owner, epoch FROM leases WHERE starts_with(name, 'dispatch/') AND expires_at > now_ms()",
    );
    let rows = rows.fetch_all(&mut connection).await.unwrap_or_default();
    rows.into_iter()
        .map(|row| (row.get("name"), (process(row.get("owner")), row.get("epoch"))))
        .collect()
}

/// An owner's name begins with its process.
fn process(owner: &str) -> u32 {
    owner.split('/').next().and_then(|process| process.parse().ok()).expect("a process")
}

/// Waits until these processes share all there is evenly. Answers how long it took.
async fn shared_out(store: &Store, within: Duration, processes: &[u32], what: &str) -> Duration {
    let began = Instant::now();
    let fair = PARTS / processes.len()..=PARTS.div_ceil(processes.len());
    eventually_within(within, what, || async {
        let held = held(store).await;
        let has = |pid: &u32| held.values().filter(|(owner, _)| owner == pid).count();
        let sum: usize = processes.iter().map(has).sum();
        let is_even = processes.iter().map(has).all(|share| fair.contains(&share));
        (is_even && sum == PARTS && held.len() == PARTS).then_some(())
    })
    .await;
    began.elapsed()
}

/// Waits until every number of these has made this many more calls.
async fn all_go_on(sandbox: &SandboxProcess, lines: &[&Line], more: usize) {
    let calls = || -> HashMap<String, usize> {
        let sends = |line: &&Line| sandbox.sends(&line.number.phone_number_id).len();
        lines.iter().map(|line| (line.number.phone_number_id.clone(), sends(line))).collect()
    };
    let before = calls();
    eventually("every number goes on", || async {
        calls().iter().all(|(number, calls)| *calls >= before[number] + more).then_some(())
    })
    .await;
}

async fn is_ready(client: &Client) -> bool {
    let answer = client.http().get(format!("{}/readyz", client.base)).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

async fn connect_lines(
    size: &Size,
    sandbox: &SandboxProcess,
    client: &Client,
    hooks: &Client,
) -> Vec<Line> {
    import_people(client, size.recipients, "all").await;
    let mut lines = vec![];
    for index in 0..FREE_ACCOUNTS + 2 {
        let limited = index.checked_sub(FREE_ACCOUNTS);
        let mut number = Number::new(&format!("4020000000022{index:02}"));
        number.messages_per_second = size.messages_per_second;
        number.waba_id = format!("3010000000022{index:02}");
        let mut tag = "all".to_owned();
        if let Some(half) = limited {
            number.messages_per_second = LIMITED_PER_SECOND;
            number.waba_id = LIMITED_WABA.to_owned();
            number.portfolio_id = Some(PORTFOLIO.to_owned());
            number.messaging_limit = format!("TIER_{LIMIT}");
            tag = format!("half{half}");
            let phone = |n: u32| 447_700_980_000 + u64::from(half * LIMITED_RECIPIENTS + n);
            let rows = (0..LIMITED_RECIPIENTS).map(|n| format!("+{},Person {n}\n", phone(n)));
            let csv = format!("phone,name\n{}", rows.collect::<String>());
            import_csv(client, &csv, &tag).await;
        }
        let account = sandbox.connect_number(hooks, &number).await;
        let lease = match &number.portfolio_id {
            Some(portfolio) => format!("dispatch/portfolio/{portfolio}"),
            None => format!("dispatch/account/{account}"),
        };
        let expected = if limited.is_some() { json!(LIMIT) } else { json!(null) };
        eventually("the number's limit is known", || async {
            let query = "query($id: ID!) { account(id: $id) { reach { limit } } }";
            let data = client.ask(query, json!({ "id": account })).await;
            (data["account"]["reach"]["limit"] == expected).then_some(())
        })
        .await;
        let template = utility_template(client, &account, &format!("orders_{index}")).await;
        lines.push((number, lease, account, template, tag));
    }
    sandbox.behave(bad_day());
    let mut launched = vec![];
    for (number, lease, account, template, tag) in lines {
        let campaign = launch(client, &account, &template, &tag).await;
        launched.push(Line { number, lease, campaign });
    }
    launched
}

async fn three_nodes(size: &Size) {
    if !stores().contains(&StoreKind::Postgres) {
        return;
    }
    let cluster = Cluster::new();
    let store = cluster.store().await;
    let sandbox = SandboxProcess::start(22).await;
    let port = free_port();
    let tap = async || Tap::start(&sandbox.url).await;
    let first = Node::start(&store, tap().await, 0).await;
    let second = Node::start(&store, tap().await, 0).await;
    // Webhooks reach any of them, as behind a load balancer.
    let front = Front::start([first.binary.port, second.binary.port, port]).await;
    let lines = connect_lines(size, &sandbox, first.client(), &Client::new(front.url())).await;
    let is_free = |line: &&Line| line.number.portfolio_id.is_none();
    let free: Vec<&Line> = lines.iter().filter(is_free).collect();
    let (a, b) = (first.binary.pid(), second.binary.pid());
    shared_out(&store, MOVES_WITHIN, &[a, b], "two share the work").await;
    all_go_on(&sandbox, &lines.iter().collect::<Vec<_>>(), 3).await;

    // A third is added while all of them send.
    let third = Node::start(&store, tap().await, port).await;
    let c = third.binary.pid();
    let took = shared_out(&store, MOVES_WITHIN, &[a, b, c], "the third has its share").await;
    eprintln!("the third had its share after {took:?}");
    let of_third: BTreeSet<String> = held(&store)
        .await
        .into_iter()
        .filter(|(_, (pid, _))| *pid == c)
        .map(|(name, _)| name)
        .collect();
    all_go_on(&sandbox, &free, 10).await;
    for line in free.iter().filter(|line| of_third.contains(&line.lease)) {
        let (number, sends) = (&line.number.phone_number_id, third.sends());
        assert!(sends.contains_key(number), "it does not send for {number}, only {sends:?}");
    }

    // The one that counts the portfolio's reach is killed.
    let limited_lease = format!("dispatch/portfolio/{PORTFOLIO}");
    let mut nodes = vec![first, second, third];
    let owner = held(&store).await[&limited_lease].0;
    let index = nodes.iter().position(|node| node.binary.pid() == owner).expect("one of them");
    let Node { binary, tap } = nodes.remove(index);
    let port = binary.port;
    binary.kill().await;
    let pids = |nodes: &[Node]| -> Vec<u32> { nodes.iter().map(|it| it.binary.pid()).collect() };
    let took = shared_out(&store, TAKEN_OVER_WITHIN, &pids(&nodes), "two have what it had").await;
    eprintln!("the killed one's work was taken over after {took:?}");
    all_go_on(&sandbox, &free, 10).await;

    // The database goes away and comes back; and so does the one that was killed.
    cluster.stop();
    for node in &nodes {
        eventually("it says that it is not ready", || async {
            (!is_ready(node.client()).await).then_some(())
        })
        .await;
    }
    assert_eq!(cluster.start(), store.url, "it comes back where it was");
    nodes.push(Node::start(&store, tap, port).await);
    for node in &nodes {
        eventually("it is ready again", || async { is_ready(node.client()).await.then_some(()) })
            .await;
    }
    shared_out(&store, TAKEN_OVER_WITHIN, &pids(&nodes), "three share the work again").await;
    all_go_on(&sandbox, &free, 10).await;

    // Now the one with most to do stands still in the middle of its calls.
    let at_stop = held(&store).await;
    let has = |node: &Node| at_stop.values().filter(|(pid, _)| *pid == node.binary.pid()).count();
    let index = (0..nodes.len()).max_by_key(|index| has(&nodes[*index])).expect("three nodes");
    let sleeper = nodes.remove(index);
    let owner = sleeper.binary.pid();
    let fenced_before = sleeper.fenced().await;
    sleeper.binary.signal("STOP").await;
    let stopped_at = Instant::now();
    // However fast the machine is, there must be much left for the one that wakes to do harm with.
    let awake = nodes[0].client().clone();
    let set = async |mutation: &str| {
        let query =
            format!("mutation($id: ID!) {{ {mutation}(id: $id) {{ campaign {{ status }} }} }}");
        for line in &lines {
            awake.ask(&query, json!({ "id": line.campaign })).await;
        }
    };
    set("pauseCampaign").await;
    for line in &free {
        let left = size.recipients - now_accepted(&awake, &line.campaign).await;
        assert!(left > size.recipients / 10, "{left} are left of {}", line.campaign);
    }
    let took = shared_out(&store, TAKEN_OVER_WITHIN, &pids(&nodes), "two have what it has").await;
    eprintln!("the sleeping one's work was taken over after {took:?}");
    tokio::time::sleep(STOPPED_FOR.saturating_sub(stopped_at.elapsed())).await;
    set("resumeCampaign").await;
    all_go_on(&sandbox, &free, 3).await;
    let (asleep, calls_asleep) = (held(&store).await, sleeper.sends());
    let was_its = |lease: &String| at_stop.get(lease).is_some_and(|(pid, _)| *pid == owner);
    for (lease, (pid, epoch)) in &asleep {
        let moved = at_stop.get(lease).is_some_and(|(_, before)| before < epoch);
        assert!(*pid != owner && (moved || !was_its(lease)), "{lease} was not taken over");
    }
    sleeper.binary.signal("CONT").await;
    // It comes back into its share; until then, and for anything else, it calls nobody.
    let began = Instant::now();
    loop {
        // In this order: a call for what it did not have by then was made without it.
        let calls = sleeper.sends();
        let now = held(&store).await;
        for line in &lines {
            let number = &line.number.phone_number_id;
            let before = calls_asleep.get(number).copied().unwrap_or_default();
            let is_back = now.get(&line.lease).is_none_or(|held| held != &asleep[&line.lease]);
            let calls = calls.get(number).copied().unwrap_or_default();
            assert!(is_back || calls == before, "awake, it called for {number}, another's by then");
        }
        if now.values().filter(|(pid, _)| *pid == owner).count() == PARTS / 3 {
            break;
        }
        assert!(began.elapsed() < TAKEN_OVER_WITHIN, "it has no share again: {now:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("awake, it had its share again after {:?}", began.elapsed());
    // As a rule one or more; none where its lanes had answers to record first, and were told to stop meanwhile.
    let fenced = sleeper.fenced().await - fenced_before;
    eprintln!("{fenced} of its appends were refused");
    nodes.push(sleeper);

    // Everybody got it once, nothing is lost, and no limit was ever exceeded, over all nodes.
    let client = nodes[0].client();
    for line in &free {
        let recipients = u64::from(size.recipients);
        progress_when(client, &line.campaign, size.patience, "nobody is pending", |c| {
            count(c, "recipients") == recipients && count(c, "pending") == 0
        })
        .await;
    }
    eventually_within(Duration::from_secs(120), "the sandbox has told everything", || async {
        (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
    })
    .await;
    for line in &lines {
        let number = &line.number.phone_number_id;
        let mut got: HashMap<String, u32> = HashMap::new();
        for call in sandbox.sends(number).into_iter().filter(|call| call.counted) {
            *got.entry(call.to.unwrap_or_default()).or_default() += 1;
        }
        assert!(got.values().all(|times| *times == 1), "somebody got it twice from {number}");
        let told = Duration::from_secs(120);
        let settled =
            progress_when(client, &line.campaign, told, "what is told is on record", |c| {
                count(c, "delivered") == got.len() as u64
            })
            .await;
        assert_adds_up(&settled);
        assert_eq!((count(&settled, "failed"), count(&settled, "skipped")), (0, 0), "{settled}");
        // Refused with HTTP 500 and never sent, or never called because the node was killed: nobody told us, so they
        // visibly wait, and they are few.
        let in_doubt = count(&settled, "inDoubt");
        let recipients = count(&settled, "recipients");
        assert!(in_doubt <= recipients / 20, "{settled}");
        if is_free(&line) {
            assert_eq!(recipients, u64::from(size.recipients), "{settled}");
            assert_eq!(count(&settled, "delivered") + in_doubt, recipients, "{settled}");
        }
    }
    let stats = sandbox.sandbox.stats();
    assert_eq!(stats.counted_twice, 0, "{stats:?}");
    let violations: u64 =
        stats.pace_violations.values().chain(stats.pair_violations.values()).sum();
    assert_eq!(violations, 0, "{stats:?}");
    for line in &lines {
        let peak = stats.per_second_peak[&line.number.phone_number_id];
        assert!(peak <= line.number.messages_per_second, "{peak} in a moving second");
    }
    let reach = stats.reach_peak[LIMITED_WABA];
    assert!((LIMIT - LIMIT / 10..=LIMIT).contains(&reach), "{reach} people of {LIMIT}");
    assert_equal_to_a_rebuild(client, &lines[0].campaign).await;
    // All three say the same.
    for line in &lines {
        let expected = client.ask(PROGRESS, json!({ "id": line.campaign })).await;
        for node in &nodes {
            eventually("all nodes say the same", || async {
                let said = node.client().ask(PROGRESS, json!({ "id": line.campaign })).await;
                (said == expected).then_some(())
            })
            .await;
        }
    }
    for node in nodes {
        assert!(!node.binary.log_text().contains("panicked"), "a worker panicked");
        node.binary.terminate().await;
    }
    sandbox.stop().await;
}
