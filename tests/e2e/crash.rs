//! Killed at any moment, everything goes on: nothing lost, nothing sent twice.

use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, SandboxProcess, Store, StoreKind, stores};
use rand::{Rng, SeedableRng};

use crate::common::{
    approved_template, assert_each_got_it_once, assert_equal_to_a_rebuild, bad_day, import_people,
    launch,
};

const RECIPIENTS: u32 = 5_000;
const KILLS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn killed_ten_times_a_campaign_reaches_everybody_at_most_once() {
    for kind in stores() {
        crash(kind).await;
    }
}

async fn crash(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let sandbox = SandboxProcess::start(11).await;
    let settings = vec![("graph.timeout_s".to_owned(), "5".to_owned())];
    let mut gateway = Binary::start(
        &store,
        Some(&sandbox),
        &BinaryOptions { settings: settings.clone(), port: 0 },
    )
    .await;
    let port = gateway.port;
    let client = gateway.client.clone();
    let account = sandbox.connect(&client, "402000000000011", 400).await;
    import_people(&client, RECIPIENTS, "all").await;
    let template = approved_template(&client, &account, "offers").await;
    sandbox.behave(bad_day());
    let campaign = launch(&client, &account, &template, "all").await;
    let mut random = rand::rngs::StdRng::seed_from_u64(5);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1_500))).await;
        gateway.kill().await;
        gateway = Binary::start(
            &store,
            Some(&sandbox),
            &BinaryOptions { settings: settings.clone(), port },
        )
        .await;
    }
    assert_each_got_it_once(&client, &sandbox, &campaign, RECIPIENTS).await;
    assert_equal_to_a_rebuild(&client, &campaign).await;
    gateway.terminate().await;
    sandbox.stop().await;
}
