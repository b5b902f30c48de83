//! Commands per second, each beside what the same store takes without any of our code in the same run.
//!
//!     cargo bench -p gateway-infrastructure --bench commands                   # SQLite, and PostgreSQL where
//!                                                                              # TEST_DATABASE_URL names one
//!     cargo bench -p gateway-infrastructure --bench commands -- --smoke        # whether it still works
//!
//! A round makes 1,000 messages, forgets them, and then decides one command on each: streams are read, folded, decided on,
//! sealed and appended. What was appended is then inserted once more, as rows that are ready, into a table of the same
//! shape: the limit. Single commands come from 64 clients, first on what has to be read and then on what is in memory. Stock postgres-es does the same commands on tables of its own, from 16 tasks. Medians of five.

#[path = "../tests/ledger_support/mod.rs"]
mod ledger_support;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Duration, Utc};
use cqrs_es::CqrsFramework;
use cqrs_es::persist::PersistedEventStore;
use domain::message::{Message, MessageCommand};
use futures::future::join_all;
use infrastructure::clock::SystemClock;
use infrastructure::crypto::{KeyRing, MasterKey};
use infrastructure::event_store::testing::TestDatabase;
use infrastructure::event_store::{self, OpenStore};
use infrastructure::ledger::CommandBus;
use ledger_support::{at, bus_on, context, open_keys, open_store, plan};
use postgres_es::PostgresEventRepository;
use sqlx::{Executor, PgPool};
use uuid::Uuid;

const CLIENTS: usize = 64;
const STOCK_TASKS: usize = 16;
/// Single commands are so many times as many as those of a batch: each client is at it for a while.
const SINGLES: usize = 4;

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    streams: usize,
    rounds: usize,
}

fn main() {
    let is_smoke = std::env::args().any(|argument| argument == "--smoke");
    let size = if is_smoke {
        Size { streams: 100, rounds: 1 }
    } else {
        Size { streams: 1_000, rounds: 5 }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        on_sqlite(size).await;
        on_postgres(size).await;
    });
}

async fn on_sqlite(size: Size) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("gateway.db");
    let store = open_store(directory.path()).await;
    let keys = new_keys(&store).await;
    let many = rounds(size, || many_at_once(&store, &keys, size)).await;
    let raw = rounds(size, || async { sqlite_rows(&path, size) }).await;
    let (single, known) = singles(&store, &keys, size).await;
    println!("SQLite, {} streams, commands per second, medians of {}", size.streams, size.rounds);
    line("execute_many: read, decide, append", many, Some((raw, "of raw batched insert")));
    line("raw batched insert of the same rows", raw, None);
    line("single commands from 64 clients", single, None);
    line("the same on aggregates in memory", known, None);
}

async fn on_postgres(size: Size) {
    let Some(database) = TestDatabase::create().await else { return };
    let url = database.store_url();
    let store = event_store::open(&url, Arc::new(SystemClock)).await.expect("the store opens");
    let keys = new_keys(&store).await;
    let pool = PgPool::connect(&database.url()).await.expect("the database answers");
    let many = rounds(size, || many_at_once(&store, &keys, size)).await;
    let raw = rounds(size, || postgres_rows(&pool, size)).await;
    let (single, known) = singles(&store, &keys, size).await;
    let Some(stock_database) = TestDatabase::create().await else { return };
    let stock_pool = PgPool::connect(&stock_database.url()).await.expect("the database answers");
    stock_pool.execute(STOCK_TABLES).await.expect("the tables can be made");
    let stock = rounds(size, || stock_commands(&stock_pool, size)).await;
    println!(
        "PostgreSQL, {} streams, commands per second, medians of {}",
        size.streams, size.rounds
    );
    line("execute_many: read, decide, append", many, Some((raw, "of raw multi-row insert")));
    line("execute_many: read, decide, append", many, Some((stock, "of stock postgres-es")));
    line("raw multi-row insert of the same rows", raw, None);
    line("single commands from 64 clients", single, Some((stock, "of stock postgres-es")));
    line("the same on aggregates in memory", known, Some((stock, "of stock postgres-es")));
    line("stock postgres-es from 16 tasks", stock, None);
    stock_pool.close().await;
    pool.close().await;
}

fn line(what: &str, rate: f64, beside: Option<(f64, &str)>) {
    match beside {
        Some((peer, whose)) => println!("  {what:<42} {rate:>9.0}   {:.2} {whose}", rate / peer),
        None => println!("  {what:<42} {rate:>9.0}"),
    }
}

/// The median rate of the rounds, each of which answers its own.
async fn rounds<F: Future<Output = f64>>(size: Size, mut round: impl FnMut() -> F) -> f64 {
    let mut rates = Vec::with_capacity(size.rounds);
    for _ in 0..size.rounds {
        rates.push(round().await);
    }
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn per_second(streams: usize, began: Instant) -> f64 {
    streams as f64 / began.elapsed().as_secs_f64()
}

async fn new_keys(store: &OpenStore) -> KeyRing {
    open_keys(store, &MasterKey::generate()).await.expect("the key ring opens")
}

/// With nothing in memory.
fn bus(store: &OpenStore, keys: &KeyRing) -> CommandBus {
    bus_on(store, store.log.clone(), keys.clone(), Arc::new(SystemClock))
}

/// New messages, on record.
async fn messages(bus: &CommandBus, count: usize) -> Vec<Uuid> {
    let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
    let commands = ids.iter().map(|id| (*id, planned(*id), context())).collect();
    for result in bus.execute_many::<Message>(commands).await {
        result.expect("a message is planned");
    }
    ids
}

async fn many_at_once(store: &OpenStore, keys: &KeyRing, size: Size) -> f64 {
    let commands = messages(&bus(store, keys), size.streams).await;
    let commands = commands.into_iter().map(|id| (id, request(), context())).collect();
    let bus = bus(store, keys);
    let began = Instant::now();
    let results = bus.execute_many::<Message>(commands).await;
    let rate = per_second(size.streams, began);
    assert!(results.iter().all(Result::is_ok), "every command is taken");
    rate
}

/// Single commands on what has to be read first, and on what this process wrote last and remembers.
async fn singles(store: &OpenStore, keys: &KeyRing, size: Size) -> (f64, f64) {
    let single = rounds(size, || async {
        let ids = messages(&bus(store, keys), SINGLES * size.streams).await;
        one_by_one(bus(store, keys), ids).await
    });
    let single = single.await;
    let known = rounds(size, || async {
        let bus = bus(store, keys);
        let ids = messages(&bus, SINGLES * size.streams).await;
        one_by_one(bus, ids).await
    });
    (single, known.await)
}

async fn one_by_one(bus: CommandBus, ids: Vec<Uuid>) -> f64 {
    let count = ids.len();
    let began = Instant::now();
    let clients = ids.chunks(ids.len().div_ceil(CLIENTS)).map(|mine| {
        let (bus, mine) = (bus.clone(), mine.to_vec());
        tokio::spawn(async move {
            for id in mine {
                bus.execute::<Message>(id, request(), &context()).await.expect("it is taken");
            }
        })
    });
    for client in join_all(clients).await {
        client.expect("a client ends well");
    }
    per_second(count, began)
}

/// The log's last rows into a table of the same shape, in one transaction, as safe on disk as the log's.
fn sqlite_rows(path: &Path, size: Size) -> f64 {
    let database = rusqlite::Connection::open(path).expect("the file opens");
    let (rows, columns) = {
        let mut last = database
            .prepare("SELECT * FROM log ORDER BY position DESC LIMIT ?1")
            .expect("there is a log");
        let columns = last.column_count();
        let rows = last.query_map([size.streams as i64], |row| {
            (0..columns)
                .map(|column| row.get(column))
                .collect::<Result<Vec<rusqlite::types::Value>, _>>()
        });
        let rows: Vec<_> = rows.and_then(Iterator::collect).expect("rows are read");
        (rows, columns)
    };
    let shape: String = database
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'log'", [], |row| row.get(0))
        .expect("there is a log");
    let raw = tempfile::tempdir().expect("a directory can be made");
    let mut raw = rusqlite::Connection::open(raw.path().join("raw.db")).expect("the file opens");
    raw.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").expect("it is set");
    raw.execute_batch(&shape).expect("the table is made");
    let marks = vec!["?"; columns].join(", ");
    let began = Instant::now();
    let transaction = raw.transaction().expect("it begins");
    {
        let insert = format!("INSERT INTO log VALUES ({marks})");
        let mut insert = transaction.prepare(&insert).expect("the statement is one");
        for row in rows.iter().rev() {
            insert.execute(rusqlite::params_from_iter(row)).expect("a row is taken");
        }
    }
    transaction.commit().expect("it is on disk");
    per_second(rows.len(), began)
}

/// The log's last rows into a table of the same shape, in one statement.
async fn postgres_rows(pool: &PgPool, size: Size) -> f64 {
    pool.execute(
        "DROP TABLE IF EXISTS raw; CREATE TABLE raw (LIKE log INCLUDING CONSTRAINTS INCLUDING INDEXES);
         CREATE UNIQUE INDEX raw_event_id ON raw (event_id)",
    )
    .await
    .expect("the table is made");
    let rows: Vec<RawRow> = sqlx::query_as(
        "SELECT position, recorded_at, occurred_at, sequence, kind, aggregate_type, aggregate_id, event_id,
                correlation_id, causation_id, subject, payload
         FROM log ORDER BY position DESC LIMIT $1",
    )
    .bind(size.streams as i64)
    .fetch_all(pool)
    .await
    .expect("rows are read");
    let began = Instant::now();
    let mut insert = sqlx::QueryBuilder::new(
        "INSERT INTO raw (position, recorded_at, occurred_at, sequence, kind, aggregate_type, aggregate_id, event_id,
                          correlation_id, causation_id, subject, payload) ",
    );
    insert.push_values(&rows, |mut values, row| {
        values.push_bind(row.0).push_bind(row.1).push_bind(row.2).push_bind(row.3);
        values.push_bind(row.4).push_bind(row.5).push_bind(row.6).push_bind(row.7);
        values.push_bind(row.8).push_bind(row.9).push_bind(row.10).push_bind(&row.11);
    });
    insert.build().execute(pool).await.expect("rows are taken");
    per_second(rows.len(), began)
}

/// The columns of an event, in their order.
type RawRow = (
    i64,
    DateTime<Utc>,
    DateTime<Utc>,
    i32,
    i32,
    i16,
    Uuid,
    Uuid,
    Uuid,
    Option<Uuid>,
    Option<Uuid>,
    String,
);

/// As postgres-es documents them.
const STOCK_TABLES: &str = "CREATE TABLE events (
    aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
    event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence))";

async fn stock_commands(pool: &PgPool, size: Size) -> f64 {
    let framework = || {
        let repository = PostgresEventRepository::new(pool.clone());
        let store = PersistedEventStore::<_, Message>::new_event_store(repository);
        Arc::new(CqrsFramework::new(store, vec![], ()))
    };
    let ids: Vec<Uuid> = (0..size.streams).map(|_| Uuid::now_v7()).collect();
    let each = async |command: fn(Uuid) -> MessageCommand| {
        let tasks = ids.chunks(ids.len().div_ceil(STOCK_TASKS)).map(|mine| {
            let (framework, mine) = (framework(), mine.to_vec());
            tokio::spawn(async move {
                for id in mine {
                    framework.execute(&id.to_string(), command(id)).await.expect("it is taken");
                }
            })
        });
        for task in join_all(tasks).await {
            task.expect("a task ends well");
        }
    };
    each(planned).await;
    let began = Instant::now();
    each(|_| request()).await;
    per_second(size.streams, began)
}

/// The intent to send, which each message of a campaign goes through.
fn request() -> MessageCommand {
    MessageCommand::RequestSend { attempt: 1, send_by: at() + Duration::seconds(10), at: at() }
}

fn planned(id: Uuid) -> MessageCommand {
    plan(id, "Your order is on its way")
}
