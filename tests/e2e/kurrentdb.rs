//! The main job with its log in KurrentDB: killed, restarted, and with a server that comes and goes.

use std::collections::HashSet;
use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, SandboxProcess, Store, StoreKind};
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::common::{
    approved_template, assert_each_got_it_once, assert_equal_to_a_rebuild, bad_day, import_people,
    launch,
};

const RECIPIENTS: u32 = 1_000;
const KILLS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_on_kurrentdb_survives_kills_and_a_server_that_goes_away() {
    let mut store = Store::fresh(StoreKind::KurrentDb).await;
    let sandbox = SandboxProcess::start(17).await;
    let settings = vec![("graph.timeout_s".to_owned(), "5".to_owned())];
    let options = BinaryOptions { settings: settings.clone(), port: 0 };
    let mut gateway = Binary::start(&store, Some(&sandbox), &options).await;
    let port = gateway.port;
    let client = gateway.client.clone();
    let account = sandbox.connect(&client, "402000000000017", 200).await;
    import_people(&client, RECIPIENTS, "all").await;
    let template = approved_template(&client, &account, "offers").await;
    sandbox.behave(bad_day());
    let campaign = launch(&client, &account, &template, "all").await;
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for round in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..1_000))).await;
        if round % 2 == 1 {
            // First the server, so that units are cut where they happen to be.
            store.kurrentdb.as_mut().expect("a server").stop();
            tokio::time::sleep(Duration::from_millis(random.random_range(10..300))).await;
        }
        gateway.kill().await;
        if round % 2 == 1 {
            store.kurrentdb.as_mut().expect("a server").resume();
        }
        let options = BinaryOptions { settings: settings.clone(), port };
        gateway = Binary::start(&store, Some(&sandbox), &options).await;
    }
    // And once more, under a gateway that goes on running.
    store.kurrentdb.as_mut().expect("a server").stop();
    tokio::time::sleep(Duration::from_millis(500)).await;
    store.kurrentdb.as_mut().expect("a server").resume();

    assert_each_got_it_once(&client, &sandbox, &campaign, RECIPIENTS).await;
    assert_equal_to_a_rebuild(&client, &campaign).await;
    gateway.terminate().await;
    sandbox.stop().await;
    assert_streams_are_whole(&store);
}

/// In KurrentDB itself: each event once, each recipient's message queued once, and nobody's number in the clear.
fn assert_streams_are_whole(store: &Store) {
    let server = store.kurrentdb.as_ref().expect("a server");
    let messages = server.records_of("message-");
    let ids: HashSet<_> = messages.iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), messages.len(), "an event is there twice");
    let queued: Vec<_> =
        messages.iter().filter(|record| record.event_type == "message.queued").collect();
    assert_eq!(queued.len(), RECIPIENTS as usize);
    assert!(
        queued
            .iter()
            .all(|record| record.revision == 0 && record.content_type == "application/json")
    );
    let metadata: Value = serde_json::from_slice(&queued[0].metadata).expect("JSON");
    assert!(metadata["$correlationId"].is_string(), "{metadata}");
    let started = server.records_of("campaign-");
    assert_eq!(started.iter().filter(|record| record.event_type == "campaign.started").count(), 1);
}
