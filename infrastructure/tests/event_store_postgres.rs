//! The event store in PostgreSQL: the contract, several nodes, broken connections, and stock postgres-es on the same
//! table. Each test has a database of its own; without `TEST_DATABASE_URL` they say so and pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore, SerializedEvent};
use cqrs_es::{Aggregate, AggregateContext, CqrsFramework, DomainEvent, EventStore};
use domain::port::{
    AggregateType, AppendOutcome, AppendUnit, EventFilter, Fence, IdentityChange, LogError,
    Metadata, NewEvent, Position, StoredEvent, StreamAppend, StreamId,
};
use domain::primitives::{Actor, ApiKeyId};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_this_log_cannot_read_it_does_not_take() {
    let Some(fresh) = fresh().await else { return };
    let insert = |what: &'static str, id: &'static str| {
        sqlx::query(
            "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
             VALUES ($1, $2, 1, 'message.sent', '1.0', '{}', '{}')",
        )
        .bind(what)
        .bind(id)
        .execute(fresh.pool())
    };
    let id = "01890000-0000-7000-8000-000000000001";
    let error = insert("basket", id).await.unwrap_err();
    assert!(error.to_string().contains("no streams of type basket"), "{error}");
    insert("message", "7").await.unwrap_err();
    insert("message", id).await.unwrap();
    let error = insert("message", id).await.unwrap_err();
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(
        code.as_deref(),
        Some("23505"),
        "as stock postgres-es expects of a conflict: {error}"
    );
    assert_eq!(fresh.store.log.head().await.unwrap(), Position(1));
}

/// A message whose id is of that day.
fn message_of(year: i32, month: u32, day: u32) -> StreamId {
    let at = Utc.with_ymd_and_hms(year, month, day, 12, 0, 0).unwrap();
    let ms = u128::try_from(at.timestamp_millis()).unwrap();
    let random = Uuid::now_v7().as_u128() & ((1 << 74) - 1);
    let id = (ms << 80) | (7 << 76) | (2 << 62) | (random & ((1 << 62) - 1));
    StreamId::new(AggregateType::Message, Uuid::from_u128(id))
}

/// The table that has the stream's events.
async fn table_of(pool: &PgPool, stream: StreamId) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT tableoid::regclass::text FROM log
         WHERE aggregate_type = aggregate_number($1) AND aggregate_id = $2",
    )
    .bind(stream.aggregate_type.as_str())
    .bind(stream.id)
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(tables.len(), 1, "{tables:?}");
    tables.into_iter().next().unwrap()
}

async fn make_months(pool: &PgPool, since: &str, until: &str) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT make_message_months($1::timestamptz, $2::timestamptz)")
        .bind(DateTime::parse_from_rfc3339(since).unwrap())
        .bind(DateTime::parse_from_rfc3339(until).unwrap())
        .fetch_one(pool)
        .await
}

async fn everything(fresh: &Fresh) -> Vec<StoredEvent> {
    let (mut events, mut after) = (Vec::new(), Position(0));
    loop {
        let page = fresh.store.log.read_all(after, &EventFilter::default(), 7).await.unwrap();
        after = page.scanned_to;
        events.extend(page.events);
        if page.at_head {
            return events;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn months_are_made_ahead_and_strays_move_into_theirs() {
    let Some(fresh) = fresh().await else { return };
    // The gateway's clock stands at 1970.
    for month in ["1970_01", "1970_02", "1970_03"] {
        let name = format!("log_messages_{month}");
        let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(name)
            .fetch_one(fresh.pool())
            .await
            .unwrap();
        assert!(is_there, "{month}");
    }
    let (may, june) = (message_of(2024, 5, 31), message_of(2024, 6, 1));
    let contact = StreamId::new(AggregateType::Contact, may.id);
    for stream in [may, june, contact] {
        append(&fresh.store, sent(stream, 0, 2)).await;
    }
    append(&fresh.store, sent(message_of(1970, 2, 3), 0, 1)).await;
    assert_eq!(table_of(fresh.pool(), may).await, "log_messages_other");
    let before = everything(&fresh).await;

    // Several nodes find out at once that the month is missing, while others append.
    let appending = (0..8).map(|_| append(&fresh.store, sent(message_of(2024, 5, 9), 0, 1)));
    let making = (0..4).map(|_| async {
        loop {
            match make_months(fresh.pool(), "2024-05-20T00:00:00Z", "2024-05-30T00:00:00Z").await {
                Ok(made) => return made,
                // Appends were in the way for as long as one waits.
                Err(error) => println!("again, since {error}"),
            }
        }
    });
    let (made, _) =
        tokio::join!(futures::future::join_all(making), futures::future::join_all(appending));
    assert_eq!(made.iter().sum::<i32>(), 1, "{made:?}");
    assert_eq!(table_of(fresh.pool(), may).await, "log_messages_2024_05");
    assert_eq!(table_of(fresh.pool(), contact).await, "log_others");
    assert_eq!(table_of(fresh.pool(), june).await, "log_messages_other");
    assert_eq!(everything(&fresh).await[..before.len()], before);
    assert_eq!(
        append(&fresh.store, sent(may, 1, 1)).await,
        AppendOutcome::Stale { streams: vec![may] }
    );
    assert!(matches!(append(&fresh.store, sent(may, 2, 1)).await, AppendOutcome::Appended { .. }));
    assert_eq!(fresh.store.log.read_streams(&[may]).await.unwrap().len(), 3);

    // A gateway that starts later makes what its clock wants.
    fresh.node().await;
    let this_month = StreamId::new(AggregateType::Message, Uuid::now_v7());
    append(&fresh.store, sent(this_month, 0, 1)).await;
    assert!(table_of(fresh.pool(), this_month).await.starts_with("log_messages_20"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_month_that_was_taken_out_says_so_and_the_rest_goes_on() {
    let Some(fresh) = fresh().await else { return };
    make_months(fresh.pool(), "2024-04-01T00:00:00Z", "2024-06-01T00:00:00Z").await.unwrap();
    let (april, may, june) =
        (message_of(2024, 4, 30), message_of(2024, 5, 1), message_of(2024, 6, 1));
    let contact = StreamId::new(AggregateType::Contact, may.id);
    for stream in [april, may, june, contact] {
        append(&fresh.store, sent(stream, 0, 2)).await;
    }
    let all = everything(&fresh).await;
    let call = |function: &str, month: &'static str| {
        let sql = format!("SELECT {function}($1::text::date)");
        let pool = fresh.pool().clone();
        async move { sqlx::query_scalar::<_, String>(&sql).bind(month).fetch_one(&pool).await }
    };
    let error = call("attach_messages", "2024-05-01").await.unwrap_err();
    assert!(error.to_string().contains("messages of 2024-05 were not taken out"), "{error}");
    let error = call("detach_messages", "2023-05-01").await.unwrap_err();
    assert!(error.to_string().contains("no table log_messages_2023_05"), "{error}");
    let this_month = Utc::now().format("%Y-%m-%d").to_string().leak();
    let error = call("detach_messages", this_month).await.unwrap_err();
    assert!(error.to_string().contains("too young"), "{error}");

    assert_eq!(call("detach_messages", "2024-05-17").await.unwrap(), "log_messages_2024_05");
    // What is asked of it says so.
    let asked = fresh.store.log.read_stream_page(may, 0, 10).await.unwrap_err();
    assert!(matches!(asked, LogError::Detached(stream) if stream == may), "{asked:?}");
    assert_eq!(asked.to_string(), format!("{may} is of a month that was taken out of the log"));
    for expected in [0, 2] {
        let told = fresh.store.log.append(vec![sent(may, expected, 1)]).await.unwrap_err();
        assert!(matches!(told, LogError::Detached(stream) if stream == may), "{told:?}");
    }
    let stock = sqlx::query(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
         VALUES ('message', $1, 3, 'message.sent', '1.0', '{}', '{}')",
    );
    let told = stock.bind(may.id.to_string()).execute(fresh.pool()).await.unwrap_err();
    assert!(told.to_string().contains("taken out of the log"), "{told}");
    // It is not made anew, and the rest does not notice.
    make_months(fresh.pool(), "2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z").await.unwrap();
    let rest: Vec<_> = all.iter().filter(|event| event.stream != may).cloned().collect();
    assert_eq!(everything(&fresh).await, rest);
    assert_eq!(fresh.store.log.read_streams(&[may, april]).await.unwrap(), rest[..2]);
    assert!(fresh.store.log.read_stream_page(message(), 0, 10).await.unwrap().is_empty());
    let (told, taken) = tokio::join!(
        fresh.store.log.append(vec![sent(may, 0, 1)]),
        fresh.store.log.append(vec![sent(june, 2, 1)])
    );
    told.unwrap_err();
    assert!(
        matches!(taken.unwrap()[0], AppendOutcome::Appended { .. }),
        "not the neighbour's fault"
    );
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM log_messages_2024_05")
        .fetch_one(fresh.pool())
        .await
        .unwrap();
    assert_eq!(kept, 2);

    assert_eq!(call("attach_messages", "2024-05-01").await.unwrap(), "log_messages_2024_05");
    assert_eq!(everything(&fresh).await[..all.len()], all);
    assert!(matches!(append(&fresh.store, sent(may, 2, 1)).await, AppendOutcome::Appended { .. }));
}

const BEFORE_COMPACT: [(&str, &str); 7] = [
    (
        "20261123100000_create_events",
        include_str!("../migrations/postgres/20261123100000_create_events.sql"),
    ),
    (
        "20261123100100_create_key_ring",
        include_str!("../migrations/postgres/20261123100100_create_key_ring.sql"),
    ),
    (
        "20261123100200_create_identities",
        include_str!("../migrations/postgres/20261123100200_create_identities.sql"),
    ),
    (
        "20261123100300_create_idempotency",
        include_str!("../migrations/postgres/20261123100300_create_idempotency.sql"),
    ),
    (
        "20261123100400_create_leases",
        include_str!("../migrations/postgres/20261123100400_create_leases.sql"),
    ),
    (
        "20261123100500_create_meta",
        include_str!("../migrations/postgres/20261123100500_create_meta.sql"),
    ),
    (
        "20261123100600_create_append_units",
        include_str!("../migrations/postgres/20261123100600_create_append_units.sql"),
    ),
];

/// A database as gateways wrote it before rows were compact, with these events and two of stock postgres-es.
async fn old_database(url: &str, events: &[StoredEvent]) -> PgConnection {
    let mut db = PgConnection::connect(url).await.unwrap();
    db.execute(
        "CREATE TABLE event_store_migrations (
           name text PRIMARY KEY, sql text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
    )
    .await
    .unwrap();
    for (name, sql) in BEFORE_COMPACT {
        db.execute(sql).await.unwrap();
        sqlx::query("INSERT INTO event_store_migrations (name, sql) VALUES ($1, $2)")
            .bind(name)
            .bind(sql)
            .execute(&mut db)
            .await
            .unwrap();
    }
    for event in events {
        sqlx::query(
            "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                 metadata, position, event_id, workspace_id, account_id, occurred_at, recorded_at)
             VALUES ($1, $2, $3, $4, $5, $6::json, $7::json, $8, $9, $10, $11, $12, $13)",
        )
        .bind(event.stream.aggregate_type.as_str())
        .bind(event.stream.id.to_string())
        .bind(i64::try_from(event.sequence).unwrap())
        .bind(&event.event_type)
        .bind(event.event_version.to_string())
        .bind(&event.payload)
        .bind(serde_json::to_string(&event.metadata).unwrap())
        .bind(i64::try_from(event.position.0).unwrap())
        .bind(event.event_id)
        .bind(event.workspace_id)
        .bind(event.account_id)
        .bind(event.occurred_at)
        .bind(event.recorded_at)
        .execute(&mut db)
        .await
        .unwrap();
    }
    let last = events.last().map_or(1, |event| event.position.0);
    sqlx::query("SELECT setval('event_positions', $1)")
        .bind(i64::try_from(last).unwrap())
        .execute(&mut db)
        .await
        .unwrap();
    db.execute(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
         VALUES ('message', '01890000-0000-7000-8000-000000000001', 1, 'message.sent', '1.0', '{ \"a\": 1}', '{}'),
                ('message', '01890000-0000-7000-8000-000000000001', 2, 'message.sent', '1.0', '[]', '{\"user\": \"ann\"}')",
    )
    .await
    .unwrap();
    db
}

/// What any tool reads of the log, row by row.
async fn as_tools_read(db: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT concat_ws('|', aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
             position, event_id, coalesce(workspace_id::text, '-'), coalesce(account_id::text, '-'), occurred_at,
             recorded_at)
         FROM events ORDER BY position",
    )
    .fetch_all(db)
    .await
    .unwrap()
}

/// Those that there were when logs had the old form.
fn old_types() -> Vec<AggregateType> {
    let newer = [AggregateType::WebhookEndpoint, AggregateType::User, AggregateType::Conversation];
    AggregateType::ALL.into_iter().filter(|it| !newer.contains(it)).collect()
}

fn old_events() -> Vec<StoredEvent> {
    let at = |ms: i64| DateTime::from_timestamp_millis(1_780_000_000_000 + ms).unwrap();
    let (workspace, account, began) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let (old, new) = (message_of(2024, 4, 30), message_of(2024, 5, 1));
    let mut streams: Vec<_> = old_types().into_iter().map(|of| StreamId::new(of, old.id)).collect();
    streams.extend([new, StreamId::new(AggregateType::Message, Uuid::from_u128(7))]);
    let mut events = Vec::<StoredEvent>::new();
    for n in 0..3 * streams.len() {
        let stream = streams[n % streams.len()];
        let before = events.iter().rev().find(|event| event.stream == stream);
        let name = [None, Some("Grüße 👋 \"quoted\" \\ and 'so' on".to_owned())][n % 2].clone();
        events.push(StoredEvent {
            // With holes.
            position: Position(1 + 3 * n as u64),
            event_id: Uuid::now_v7(),
            stream,
            sequence: 1 + (n / streams.len()) as u64,
            event_type: format!("message.{}", ["queued", "sent"][n % 2]),
            event_version: 1 + (n % 3) as u32,
            payload: format!(r#"{{"b": {n}, "a":"Grüße 👋 \u0041" }}"#),
            metadata: Metadata {
                actor: Actor::api_key(ApiKeyId(workspace), name),
                correlation_id: [began, Uuid::now_v7()][n % 2],
                causation_id: before.map(|event| event.event_id),
                subject: (n % 2 == 0).then_some(stream.id),
            },
            workspace_id: (n != 2).then_some(workspace),
            account_id: (n % 2 == 1).then_some(account),
            occurred_at: at(n as i64 * 7 - 90_000),
            recorded_at: at(n as i64),
        });
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_in_the_old_form_reads_back_equal() {
    let Some(database) = TestDatabase::create().await else { return };
    let events = old_events();
    let mut db = old_database(&database.url(), &events).await;
    let before = as_tools_read(&mut db).await;

    // Two nodes start at once on it.
    let clock = Arc::new(ManualClock::new(events.last().unwrap().recorded_at));
    let url = database.store_url();
    let (store, other) = tokio::join!(
        event_store::open(&url, clock.clone()),
        event_store::open(&url, clock.clone())
    );
    let (store, _) = (store.expect("migrates"), other.expect("takes its turn"));
    let Database::Postgres(pool) = store.database.clone() else {
        unreachable!("it was opened on PostgreSQL")
    };
    assert_eq!(as_tools_read(&mut db).await, before);
    let fresh = Fresh { store, clock, database };
    let found = everything(&fresh).await;
    assert_eq!(found[..events.len()], events);
    let stock: Vec<_> = found[events.len()..]
        .iter()
        .map(|event| (event.event_version, event.payload.as_str(), event.metadata.actor.clone()))
        .collect();
    let theirs = Actor::system("cqrs-es");
    assert_eq!(stock, [(1, r#"{ "a": 1}"#, theirs.clone()), (1, "[]", theirs)]);
    for stream in events.iter().map(|event| event.stream) {
        let wanted: Vec<_> =
            events.iter().filter(|event| event.stream == stream).cloned().collect();
        assert_eq!(fresh.store.log.read_streams(&[stream]).await.unwrap(), wanted);
    }
    let filter = EventFilter {
        workspace_ids: events[1].workspace_id.into_iter().collect(),
        account_ids: events[1].account_id.into_iter().collect(),
        event_types: vec!["message.sent".to_owned()],
        ..EventFilter::default()
    };
    let page = fresh.store.log.read_all(Position(0), &filter, 5_000).await.unwrap();
    let wanted = events.iter().filter(|event| event.account_id.is_some()).cloned();
    assert_eq!(page.events, wanted.collect::<Vec<_>>());

    // Each month that had messages has its table, and streams go on where they were.
    let [april, may] = [old_types().len() - 2, old_types().len()].map(|n| events[n].stream);
    assert_eq!(april.aggregate_type, AggregateType::Message);
    assert_eq!(table_of(&pool, april).await, "log_messages_2024_04");
    assert_eq!(table_of(&pool, may).await, "log_messages_2024_05");
    let outcome = append(&fresh.store, sent(may, 3, 1)).await;
    let head = Position(events.last().unwrap().position.0 + 3);
    assert!(
        matches!(outcome, AppendOutcome::Appended { first, .. } if first == head),
        "{outcome:?}"
    );

    // As a program that is older than this form appends.
    let old: (i32, String, i64, i64) = sqlx::query_as(
        "SELECT out_unit, out_outcome, out_first, out_last FROM append_units(
           now(), ARRAY[2]::int[], '{}'::int[], '{}'::bytea[], '{}'::bytea[], '{}'::text[], '{}'::bigint[],
           '{}'::int[], '{}'::text[], '{}'::bigint[],
           ARRAY[1], ARRAY['message'], ARRAY[$1], ARRAY[4]::bigint[],
           ARRAY[1, 1], ARRAY['message', 'message'], ARRAY[$1, $1], ARRAY[5, 6]::bigint[],
           ARRAY['message.read', 'message.read'], ARRAY['1', '1'], ARRAY['{}', '{}'], ARRAY[$2, $2],
           ARRAY[gen_random_uuid(), gen_random_uuid()], ARRAY[NULL, NULL]::uuid[], ARRAY[NULL, NULL]::uuid[],
           ARRAY[now(), now()],
           '{}'::int[], '{}'::int[], '{}'::uuid[], '{}'::text[], '{}'::bytea[], '{}'::uuid[],
           '{}'::int[], '{}'::uuid[], '{}'::text[], '{}'::bytea[], '{}'::uuid[],
           '{}'::int[], '{}'::uuid[], '{}'::bytea[], '{}'::int[], '{}'::uuid[],
           '{}'::int[], '{}'::text[], '{}'::bytea[])",
    )
    .bind(may.id.to_string())
    .bind(serde_json::to_string(&events[0].metadata).unwrap())
    .fetch_one(&pool)
    .await
    .unwrap();
    let next = i64::try_from(head.0).unwrap() + 1;
    assert_eq!(old, (1, "appended".to_owned(), next, next + 1));
    let last = fresh.store.log.read_streams(&[may]).await.unwrap().pop().unwrap();
    assert_eq!((last.sequence, last.metadata), (6, events[0].metadata.clone()));
}
