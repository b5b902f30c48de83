//! The event store in PostgreSQL: the contract, several nodes, broken connections, and stock postgres-es on the same
//! table. Each test has a database of its own; without `TEST_DATABASE_URL` they say so and pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::DateTime;
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore, SerializedEvent};
use cqrs_es::{Aggregate, AggregateContext, CqrsFramework, DomainEvent, EventStore};
use domain::port::{
    AggregateType, AppendOutcome, AppendUnit, EventFilter, Fence, IdentityChange, Metadata,
    NewEvent, Position, StreamAppend, StreamId,
};
use domain::primitives::Actor;
use infrastructure::clock::{ManualClock, SystemClock};
use infrastructure::event_store::contract::follow_writers;
use infrastructure::event_store::testing::TestDatabase;
use infrastructure::event_store::{self, Database, IdentityKey, OpenStore};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, Executor, PgConnection, PgPool};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

struct Fresh {
    store: OpenStore,
    clock: Arc<ManualClock>,
    database: TestDatabase,
}

impl Fresh {
    fn store(&self) -> &OpenStore {
        &self.store
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    fn pool(&self) -> &PgPool {
        match &self.store.database {
            Database::Postgres(pool) => pool,
            Database::Sqlite(_) => unreachable!("it was opened on PostgreSQL"),
        }
    }

    /// Another gateway on the same database.
    async fn node(&self) -> OpenStore {
        event_store::open(&self.database.store_url(), Arc::new(SystemClock)).await.expect("opens")
    }
}

async fn fresh() -> Option<Fresh> {
    let database = TestDatabase::create().await?;
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let store = event_store::open(&database.store_url(), clock.clone()).await.expect("opens");
    Some(Fresh { store, clock, database })
}

mod contract {
    infrastructure::event_store_contract!(super::fresh);
}

fn message() -> StreamId {
    StreamId::new(AggregateType::Message, Uuid::now_v7())
}

fn sent(stream: StreamId, expected: u64, events: usize) -> AppendUnit {
    let event = || NewEvent {
        event_id: Uuid::now_v7(),
        event_type: "message.sent".to_owned(),
        event_version: 1,
        payload: r#"{"type":"message.sent"}"#.to_owned(),
        metadata: Metadata {
            actor: Actor::system("test"),
            correlation_id: Uuid::now_v7(),
            causation_id: None,
            subject: None,
        },
        occurred_at: DateTime::UNIX_EPOCH,
    };
    let events = (0..events).map(|_| event()).collect();
    let streams =
        vec![StreamAppend { stream, expected, workspace_id: None, account_id: None, events }];
    AppendUnit { streams, ..AppendUnit::default() }
}

async fn append(store: &OpenStore, unit: AppendUnit) -> AppendOutcome {
    store.log.append(vec![unit]).await.expect("the store is there").remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_on_two_nodes_give_every_reader_the_same_order() {
    let Some(fresh) = fresh().await else { return };
    let nodes = [fresh.node().await, fresh.node().await];
    follow_writers(&nodes, 10, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_nodes_append_wakes_a_reader_soon() {
    let Some(fresh) = fresh().await else { return };
    let other = fresh.node().await;
    let mut slowest = Duration::ZERO;
    for round in 0..20_u64 {
        let log = other.log.clone();
        let waiting = tokio::spawn(async move { log.changed(Position(round)).await });
        assert!(matches!(
            append(&fresh.store, sent(message(), 0, 1)).await,
            AppendOutcome::Appended { .. }
        ));
        let started = tokio::time::Instant::now();
        tokio::time::timeout(PATIENCE, waiting).await.expect("hears of it").unwrap();
        slowest = slowest.max(started.elapsed());
    }
    println!("the slowest of 20 wake-ups took {slowest:?}");
    // Asking alone takes 250 ms at most; a machine under load, some more.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_wakes_even_where_nothing_is_announced() {
    let Some(fresh) = fresh().await else { return };
    let log = fresh.store.log.clone();
    let waiting = tokio::spawn(async move { log.changed(Position(0)).await });
    // As stock postgres-es writes: nobody announces it.
    fresh
        .pool()
        .execute(
            "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
             VALUES ('message', '01890000-0000-7000-8000-000000000001', 1, 'message.sent', '1.0', '{}', '{}')",
        )
        .await
        .unwrap();
    tokio::time::timeout(PATIENCE, waiting).await.expect("finds out by asking").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_nodes_one_gets_the_lease_and_the_other_is_fenced_off() {
    let Some(fresh) = fresh().await else { return };
    let (a, b) = (fresh.node().await, fresh.node().await);
    let ttl = Duration::from_millis(300);
    let (first, second) =
        tokio::join!(a.leases.acquire("p", "a", ttl), b.leases.acquire("p", "b", ttl));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.is_some() != second.is_some(), "{first:?} {second:?}");
    let (loser, held) =
        if let Some(held) = first { (&b, held) } else { (&a, second.expect("one of them")) };

    let taken_over = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(lease) = loser.leases.acquire("p", "new", PATIENCE).await.unwrap() {
                break lease;
            }
        }
    });
    let taken_over = taken_over.await.expect("it lapses");
    assert_eq!(taken_over.epoch, held.epoch + 1);
    let fenced = |epoch| AppendUnit {
        fence: Some(Fence { lease: "p".to_owned(), epoch }),
        ..sent(message(), 0, 1)
    };
    assert_eq!(append(&a, fenced(held.epoch)).await, AppendOutcome::Fenced);
    assert!(matches!(append(&a, fenced(taken_over.epoch)).await, AppendOutcome::Appended { .. }));
}

/// The process ids of connections that are in an append, or are stopped in one by somebody's lock.
async fn appending(connection: &mut PgConnection, only_waiting: bool) -> Vec<i32> {
    sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND state = 'active' AND query LIKE '%append_units%'
           AND (wait_event_type = 'Lock' OR NOT $1) AND pid <> pg_backend_pid()",
    )
    .bind(only_waiting)
    .fetch_all(connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_killed_in_the_middle_of_an_append_leaves_nothing_and_no_lock() {
    let Some(fresh) = fresh().await else { return };
    let mut admin = PgConnection::connect(&fresh.database.url()).await.unwrap();
    // The append is stopped inside: after its events are inserted, before its identities are.
    admin.execute("BEGIN").await.unwrap();
    admin.execute("LOCK TABLE identities IN SHARE MODE").await.unwrap();
    let workspace_id = Uuid::now_v7();
    let stream = message();
    let holder = stream.id;
    let claim =
        IdentityChange::Claim { workspace_id, kind: "phone".to_owned(), hash: vec![1], holder };
    let unit = AppendUnit { identities: vec![claim], ..sent(stream, 0, 3) };
    let log = fresh.store.log.clone();
    let (appended, again) = (unit.clone(), unit);
    let call = tokio::spawn(async move { log.append(vec![appended]).await });
    let mut killer = PgConnection::connect(&fresh.database.url()).await.unwrap();
    let pid = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(pid) = appending(&mut killer, true).await.pop() {
                break pid;
            }
        }
    })
    .await
    .expect("the append is on its way");
    sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut killer).await.unwrap();
    let error =
        tokio::time::timeout(PATIENCE, call).await.expect("is answered").unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the event log is unavailable");
    admin.execute("ROLLBACK").await.unwrap();

    assert!(fresh.store.log.read_streams(&[stream]).await.unwrap().is_empty());
    assert_eq!(fresh.store.log.head().await.unwrap(), Position(0));
    let outcome = append(&fresh.store, again).await;
    assert!(matches!(outcome, AppendOutcome::Appended { .. }), "the lock is free: {outcome:?}");
    let key = IdentityKey { workspace_id, kind: "phone".to_owned(), hash: vec![1] };
    assert_eq!(fresh.store.identities.lookup(&[key]).await.unwrap(), [Some(holder)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_killed_while_appending_lose_nothing_that_was_answered() {
    const KILLS: usize = 8;
    let Some(fresh) = fresh().await else { return };
    let finished = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..6)
        .map(|_| {
            let (store, finished) = (fresh.store.clone(), finished.clone());
            tokio::spawn(async move {
                let (mut answered, mut unknown) = (Vec::new(), Vec::new());
                while !finished.load(Ordering::SeqCst) {
                    let mut unit = sent(message(), 0, 1 + answered.len() % 3);
                    unit.streams.extend(sent(message(), 0, 1).streams);
                    match store.log.append(vec![unit.clone()]).await {
                        Ok(outcomes) => {
                            assert!(
                                matches!(outcomes[0], AppendOutcome::Appended { .. }),
                                "{outcomes:?}"
                            );
                            answered.push(unit);
                        }
                        Err(_) => unknown.push(unit),
                    }
                }
                (answered, unknown)
            })
        })
        .collect();
    let mut killer = PgConnection::connect(&fresh.database.url()).await.unwrap();
    let mut killed = 0;
    while killed < KILLS {
        let head = fresh.store.log.head().await.unwrap();
        while appending(&mut killer, false).await.is_empty() {}
        let hit: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND state = 'active' AND query LIKE '%append_units%'
               AND pid <> pg_backend_pid()",
        )
        .fetch_all(&mut killer)
        .await
        .unwrap();
        killed += hit.len();
        // Some must get through.
        tokio::time::timeout(PATIENCE, fresh.store.log.changed(head))
            .await
            .expect("appending goes on");
    }
    finished.store(true, Ordering::SeqCst);
    let mut lost = 0;
    for writer in writers {
        let (answered, unknown) = writer.await.unwrap();
        lost += unknown.len();
        for unit in answered {
            assert_eq!(stored(&fresh.store, &unit).await, [unit.streams[0].events.len(), 1]);
        }
        for unit in unknown {
            let stored = stored(&fresh.store, &unit).await;
            assert!(
                stored == [0, 0] || stored == [unit.streams[0].events.len(), 1],
                "half a unit: {stored:?}"
            );
        }
    }
    assert!(lost > 0, "{killed} connections were killed, and no append noticed");
}

async fn stored(store: &OpenStore, unit: &AppendUnit) -> [usize; 2] {
    let mut counts = [0; 2];
    for (count, append) in counts.iter_mut().zip(&unit.streams) {
        *count = store.log.read_streams(&[append.stream]).await.unwrap().len();
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_gateways_may_start_at_once_on_an_empty_database() {
    let Some(database) = TestDatabase::create().await else { return };
    let url = database.store_url();
    let opened =
        futures::future::join_all((0..4).map(|_| event_store::open(&url, Arc::new(SystemClock))))
            .await;
    for store in opened {
        append(&store.expect("takes its turn"), sent(message(), 0, 1)).await;
    }
}

/// An aggregate as any cqrs-es program has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    total: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum CounterEvent {
    Added { by: u32 },
}

impl DomainEvent for CounterEvent {
    fn event_type(&self) -> String {
        "message.added".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl Aggregate for Counter {
    const TYPE: &'static str = "message";
    type Command = u32;
    type Event = CounterEvent;
    type Error = Never;
    type Services = ();

    async fn handle(&mut self, by: u32, _: &(), sink: &EventSink<Self>) -> Result<(), Never> {
        sink.write(CounterEvent::Added { by }, self).await;
        sink.write(CounterEvent::Added { by: 1 }, self).await;
        Ok(())
    }

    fn apply(&mut self, event: CounterEvent) {
        let CounterEvent::Added { by } = event;
        self.total += by;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stock_postgres_es_and_this_log_share_one_table() {
    let Some(fresh) = fresh().await else { return };
    let repository = || PostgresEventRepository::new(fresh.pool().clone());

    // What this log wrote, stock postgres-es reads.
    let ours = message();
    let mut unit = sent(ours, 0, 2);
    unit.streams[0].events[0].payload = r#"{"Added":{"by":4}}"#.to_owned();
    unit.streams[0].events[1].payload = r#"{"Added":{"by":5}}"#.to_owned();
    append(&fresh.store, unit).await;
    let events = repository().get_events::<Counter>(&ours.id.to_string()).await.unwrap();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(events[1].payload, serde_json::json!({"Added": {"by": 5}}));

    // What stock cqrs-es writes on a stream of its own, and stock postgres-es on ours, this log reads, in its place.
    // cqrs-es cannot load an aggregate of ours: it knows texts in metadata only, and our actor is an object.
    let theirs = message();
    let framework = CqrsFramework::new(
        PersistedEventStore::<_, Counter>::new_event_store(repository()),
        Vec::new(),
        (),
    );
    framework.execute(&theirs.id.to_string(), 7).await.unwrap();
    append(&fresh.store, sent(message(), 0, 1)).await;
    let added = |sequence: usize, by: u32| SerializedEvent {
        aggregate_id: ours.id.to_string(),
        sequence,
        aggregate_type: "message".to_owned(),
        event_type: "message.added".to_owned(),
        event_version: "1.0".to_owned(),
        payload: serde_json::json!({"Added": {"by": by}}),
        metadata: serde_json::json!({"user": "ann"}),
    };
    repository().persist::<Counter>(&[added(3, 8), added(4, 1)], None).await.unwrap();
    let store = PersistedEventStore::<_, Counter>::new_event_store(repository());
    assert_eq!(store.load_aggregate(&theirs.id.to_string()).await.unwrap().aggregate().total, 8);
    let page = fresh.store.log.read_all(Position(0), &EventFilter::default(), 100).await.unwrap();
    let order: Vec<_> =
        page.events.iter().map(|event| (event.position.0, event.stream, event.sequence)).collect();
    assert_eq!(order[2..4], [(3, theirs, 1), (4, theirs, 2)]);
    assert_eq!(order[5..7], [(6, ours, 3), (7, ours, 4)]);
    assert_eq!(
        (page.events[2].event_version, page.events[2].event_type.as_str()),
        (1, "message.added")
    );
    assert!(page.events.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at));
    assert_eq!(
        append(&fresh.store, sent(ours, 2, 1)).await,
        AppendOutcome::Stale { streams: vec![ours] }
    );
}

/// Stock inserts take a statement per event; between them and this log's appends, no reader may see an order that
/// changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stock_writers_beside_this_log_keep_the_order() {
    let Some(fresh) = fresh().await else { return };
    let stock: Vec<_> = (0..4)
        .map(|_| {
            let pool = fresh.pool().clone();
            tokio::spawn(async move {
                let store = PersistedEventStore::<_, Counter>::new_event_store(
                    PostgresEventRepository::new(pool),
                );
                let framework = CqrsFramework::new(store, Vec::new(), ());
                for by in 0..25 {
                    framework.execute(&Uuid::now_v7().to_string(), by).await.unwrap();
                }
            })
        })
        .collect();
    let ours: Vec<_> = (0..4)
        .map(|_| {
            let store = fresh.store.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    append(&store, sent(message(), 0, 2)).await;
                }
            })
        })
        .collect();
    let (mut seen, mut after) = (Vec::new(), Position(0));
    while seen.len() < 2 * 8 * 25 {
        // Asked before the page is read: what is written after that is on a later one.
        let is_over = stock.iter().chain(&ours).all(tokio::task::JoinHandle::is_finished);
        let page = fresh.store.log.read_all(after, &EventFilter::default(), 5).await.unwrap();
        after = page.scanned_to;
        seen.extend(page.events.into_iter().map(|event| event.position));
        if page.at_head && is_over {
            break;
        }
    }
    let page = fresh.store.log.read_all(Position(0), &EventFilter::default(), 1_000).await.unwrap();
    assert_eq!(seen, page.events.iter().map(|event| event.position).collect::<Vec<_>>());
    assert_eq!(seen.len(), 2 * 8 * 25);
    for task in stock.into_iter().chain(ours) {
        task.await.unwrap();
    }
}
