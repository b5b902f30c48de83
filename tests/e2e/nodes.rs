//! Two gateways on one PostgreSQL share the work, and go on where one of them ends or stands still.

use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, Front, SandboxProcess, Store, StoreKind, eventually,
    eventually_within, stores,
};
use serde_json::json;
use sqlx::{Connection, Row};

use crate::common::{
    PROGRESS, approved_template, assert_each_got_it_once, assert_equal_to_a_rebuild, bad_day,
    count, import_people, launch, progress_when,
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
    let stopped_at = std::time::Instant::now();
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
