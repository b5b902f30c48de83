//! How long the gateway takes to be ready after kill -9, with a long log behind it.
//!
//!     cargo bench -p whatsapp-gateway --bench restart                                     # 300,000 events on SQLite
//!     cargo bench -p whatsapp-gateway --bench restart -- --events 10000000 --dir /data    # fills /data where it is empty,
//!                                                                                         # and leaves it
//!     cargo bench -p whatsapp-gateway --bench restart -- --smoke                          # whether it still works
//!
//! The gateway is a process of its own. It gets webhooks as fast as it takes them, is killed while it does, and is started
//! again: what counts is the time until `/readyz` says 200. Beside it the same on a store with nothing in it. Medians of
//! five.

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Utc;
use infrastructure::webhook::signature;
use support::client::{Call, Connection};
use support::figures::{counts, is_smoke, line, median, option};
use support::fill::{EVENTS_PER_MESSAGE, Fill};
use support::place::{APP_SECRET, Account, Place};
use support::process::start;
use tokio::process::Child;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Posts at once until the kill.
const CLIENTS: usize = 16;
/// Where the account is written down, in a directory that stays.
const ACCOUNT: &str = "bench-webhook-path";

fn main() {
    let (default, rounds, busy) = if is_smoke() {
        (1_200, 1, Duration::from_millis(300))
    } else {
        (300_000, 5, Duration::from_secs(3))
    };
    let events = counts("--events", &[default])[0];
    support::runtime().block_on(measure(events, rounds, busy));
}

async fn measure(events: usize, rounds: usize, busy: Duration) {
    let (full, empty) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let directory = option("--dir").map_or_else(|| full.path().to_owned(), PathBuf::from);
    let began = Instant::now();
    let head = fill(&directory, events).await;
    println!(
        "SQLite, {head} events (filled in {:.0} s), medians of {rounds}",
        began.elapsed().as_secs_f64()
    );
    fill(empty.path(), 1).await;
    let (mut ready, mut peers, mut killed) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        peers.push(restart(empty.path(), busy).await.0);
        let (seconds, posts) = restart(&directory, busy).await;
        ready.push(seconds);
        killed.push(posts);
    }
    let peers = median(peers);
    line("kill -9 to ready again", median(ready), "s", Some((peers, "of an empty log")));
    line("the same with an empty log", peers, "s", None);
    line("webhooks taken before the kill", median(killed), "", None);
}

/// The log's head; nothing is done where it is filled.
async fn fill(directory: &Path, events: usize) -> u64 {
    std::fs::create_dir_all(directory).expect("a directory");
    let place = Place::sqlite_in(directory).await;
    let noted = directory.join(ACCOUNT);
    if !noted.exists() {
        let account: Account = if events == 1 {
            place.connect_account().await
        } else {
            // As if they had all left today.
            let since = Utc::now() - chrono::Duration::hours(6);
            let fill = Fill::plan(&place, events.div_ceil(EVENTS_PER_MESSAGE), since).await;
            fill.run(&place).await;
            fill.account
        };
        std::fs::write(&noted, account.webhook_path).expect("it is written down");
    }
    place.caught_up().await;
    let head = place.running.gateway.store.log.head().await.expect("the log answers").0;
    place.end().await;
    head
}

/// Started, kept busy, killed, and started again: seconds until it was ready, and the webhooks it had taken.
async fn restart(directory: &Path, busy: Duration) -> (f64, f64) {
    let path = std::fs::read_to_string(directory.join(ACCOUNT)).expect("it was written down");
    let (mut first, address) = start(directory, &[]).await;
    // In the middle of it: the clients are still posting.
    let ((), posts) = tokio::join!(kill(&mut first, busy), post(address, &path));
    let began = Instant::now();
    let (mut second, _) = start(directory, &[]).await;
    let seconds = began.elapsed().as_secs_f64();
    second.kill().await.expect("it can be killed");
    (seconds, posts)
}

async fn kill(child: &mut Child, after: Duration) {
    tokio::time::sleep(after).await;
    child.kill().await.expect("it can be killed");
}

/// Posts until the gateway is gone; how many were answered.
async fn post(address: SocketAddr, path: &str) -> f64 {
    let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
    let signed = signature::sign(APP_SECRET, body);
    let call = Call::post(path, &[(signature::HEADER, &signed)], body);
    let clients = (0..CLIENTS).map(|_| async {
        let Ok(mut connection) = Connection::open(address).await else { return 0 };
        let mut answered = 0;
        while let Ok((status, _)) = connection.call(&call).await {
            assert_eq!(status, 200);
            answered += 1;
        }
        answered
    });
    futures::future::join_all(clients).await.into_iter().sum::<u64>() as f64
}
