//! Building all read models anew while the old ones answer.
//!
//!     cargo bench -p whatsapp-gateway --bench rebuild                            # SQLite, and PostgreSQL where
//!                                                                                # TEST_DATABASE_URL names one
//!     cargo bench -p whatsapp-gateway --bench rebuild -- --messages 100000       # of how much
//!     cargo bench -p whatsapp-gateway --bench rebuild -- --smoke                 # whether it still works
//!
//! Beside it, in the same run, what only reading the same events takes: as they are stored, and opened (unsealed and
//! parsed) for each of the read models that reads them. Rounds follow each other, medians of three. Meanwhile somebody asks for messages
//! all the time.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::port::{AggregateType, EventFeed, EventFilter, Position};
use projections::{BATCH_MAX, ProjectionState, names};
use serde_json::json;
use support::client::{Call, Latency, latency};
use support::figures::{counts, is_smoke, line, median, ms};
use support::fill::{Fill, long_ago};
use support::place::{KEY, Place};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const POLL: Duration = Duration::from_millis(20);
/// Between two questions to the read models that answer.
const PAUSE: Duration = Duration::from_millis(10);
const QUERY: &str = "{ messages(first: 50) { nodes { id status contact { id } } } }";

fn main() {
    let (default, rounds) = if is_smoke() { (300, 1) } else { (20_000, 3) };
    let messages = counts("--messages", &[default])[0];
    actix_web::rt::System::with_tokio_rt(support::runtime).block_on(async {
        measure(Place::sqlite().await, messages, rounds).await;
        if let Some(place) = Place::postgres().await {
            measure(place, messages, rounds).await;
        }
    });
}

async fn measure(place: Place, messages: usize, rounds: usize) {
    let fill = Fill::plan(&place, messages, long_ago()).await;
    let began = Instant::now();
    fill.run(&place).await;
    let gateway = &place.running.gateway;
    let events = gateway.store.log.head().await.expect("the log answers").0 as f64;
    let filled = events / began.elapsed().as_secs_f64();
    let (mut rebuilt, mut opened, mut stored) = (vec![], vec![], vec![]);
    let mut answers = vec![];
    for _ in 0..rounds {
        stored.push(events / read_stored(&place).await.as_secs_f64());
        opened.push(events / read_opened(&place).await.as_secs_f64());
        let (took, answered) = rebuild(&place).await;
        rebuilt.push(events / took.as_secs_f64());
        answers.push(answered);
    }
    println!("{}, {events:.0} events of {messages} messages, medians of {rounds}", place.store);
    let (rebuilt, opened, stored) = (median(rebuilt), median(opened), median(stored));
    line("all read models built anew", rebuilt, "events/s", Some((opened, "of reading for them")));
    line("reading for each of them, one after the other", opened, "events/s", None);
    line("reading the log as it is stored", stored, "events/s", None);
    line("commands, with the read models behind them", filled, "events/s", None);
    let p99 = median(answers.iter().map(|latency| ms(latency.p99)).collect());
    line("p99 of 50 messages meanwhile", p99, "ms", None);
    place.end().await;
}

async fn read_stored(place: &Place) -> Duration {
    let log = &place.running.gateway.store.log;
    let (began, mut after) = (Instant::now(), Position(0));
    loop {
        let page = log.read_all(after, &EventFilter::default(), BATCH_MAX).await;
        let page = page.expect("the log answers");
        after = page.scanned_to;
        if page.at_head {
            return began.elapsed();
        }
    }
}

/// As the projectors that read most of the log do.
async fn read_opened(place: &Place) -> Duration {
    let ledger = &place.running.gateway.ledger;
    let began = Instant::now();
    for aggregate_types in
        [vec![AggregateType::Message, AggregateType::Contact], vec![AggregateType::Contact]]
    {
        let filter = EventFilter { aggregate_types, ..EventFilter::default() };
        let mut after = Position(0);
        loop {
            let page = ledger.read_after(after, &filter, BATCH_MAX).await;
            let page = page.expect("the log answers");
            after = page.scanned_to;
            if page.at_head {
                break;
            }
        }
    }
    began.elapsed()
}

/// How long it took, and how long answers took meanwhile.
async fn rebuild(place: &Place) -> (Duration, Latency) {
    let read = &place.running.gateway.read;
    let is_over = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask(place.address(), is_over.clone()));
    let began = Instant::now();
    for name in names::ALL {
        assert!(read.rebuild(name).await.expect("it begins"), "nobody else rebuilds");
    }
    loop {
        let all = read.status().await.expect("the read models answer");
        if let Some(failed) = all.iter().find(|one| one.state == ProjectionState::Failed) {
            panic!("{} failed: {:?}", failed.name, failed.error);
        }
        if all.iter().all(|one| one.state == ProjectionState::Live) {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let took = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    (took, asking.await.expect("everybody was answered"))
}

async fn ask(address: std::net::SocketAddr, is_over: Arc<AtomicBool>) -> Latency {
    let mut connection = support::client::Connection::open(address).await.expect("it listens");
    let call = Call::graphql(KEY, QUERY, &json!({}));
    let mut took = vec![];
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let data = connection.data(&call).await;
        took.push(began.elapsed());
        assert_eq!(data["messages"]["nodes"].as_array().map(Vec::len), Some(50));
        tokio::time::sleep(PAUSE).await;
    }
    latency(&mut took)
}
