//! The event store in a SQLite file: the contract, and what only a file can show.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::port::{
    AggregateType, AppendOutcome, AppendUnit, EventFilter, IdentityChange, Metadata, NewEvent,
    Position, StoredEvent, StreamAppend, StreamId,
};
use domain::primitives::{Actor, ApiKeyId};
use gateway_sqlite::{Options, Sqlite};
use infrastructure::clock::{ManualClock, SystemClock};
use infrastructure::event_store::{
    self, DataKeyRow, Database, IdentityKey, OpenError, OpenStore, StoreOptions, StoreUrl,
};
use rusqlite::params;
use rusqlite::types::Value;
use uuid::Uuid;

struct File {
    directory: tempfile::TempDir,
    store: OpenStore,
    clock: Arc<ManualClock>,
}

impl File {
    fn store(&self) -> &OpenStore {
        &self.store
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }
}

async fn fresh() -> Option<File> {
    with_options(StoreOptions::default()).await
}

/// Whatever is read comes from the file, not from memory.
async fn without_a_tail() -> Option<File> {
    with_options(StoreOptions { sqlite_tail_events: 0, ..StoreOptions::default() }).await
}

async fn with_options(options: StoreOptions) -> Option<File> {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let url = StoreUrl::sqlite(directory.path().join("gateway.db"));
    let store = event_store::open_with(&url, clock.clone(), options).await.expect("opens");
    Some(File { directory, store, clock })
}

mod contract {
    infrastructure::event_store_contract!(super::fresh);
}

mod contract_of_the_file {
    infrastructure::event_store_contract!(super::without_a_tail);
}

fn sent(stream: StreamId, expected: u64, events: usize, correlation_id: Uuid) -> StreamAppend {
    let event = || NewEvent {
        event_id: Uuid::now_v7(),
        event_type: "message.sent".to_owned(),
        event_version: 1,
        payload: format!(r#"{{"padding":"{}"}}"#, "x".repeat(300)),
        metadata: Metadata {
            actor: Actor::system("test"),
            correlation_id,
            causation_id: None,
            subject: None,
        },
        occurred_at: Utc::now(),
    };
    let events = (0..events).map(|_| event()).collect();
    StreamAppend { stream, expected, workspace_id: Some(correlation_id), account_id: None, events }
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again_and_positions_go_on() {
    let File { directory, store, clock } = fresh().await.unwrap();
    let stream = StreamId::new(AggregateType::Message, Uuid::now_v7());
    let unit =
        AppendUnit { streams: vec![sent(stream, 0, 2, Uuid::now_v7())], ..AppendUnit::default() };
    store.log.append(vec![unit]).await.unwrap();
    drop(store);
    let url = StoreUrl::sqlite(directory.path().join("gateway.db"));
    let store = event_store::open(&url, clock).await.expect("dropping the store let the file go");
    assert_eq!(store.log.head().await.unwrap(), Position(2));
    let unit =
        AppendUnit { streams: vec![sent(stream, 2, 1, Uuid::now_v7())], ..AppendUnit::default() };
    let outcomes = store.log.append(vec![unit]).await.unwrap();
    assert!(
        matches!(outcomes[0], AppendOutcome::Appended { last: Position(3), .. }),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_second_opening_is_refused_but_one_may_read_beside_and_hears_of_appends() {
    let file = fresh().await.unwrap();
    let url = StoreUrl::sqlite(file.directory.path().join("gateway.db"));
    let error = event_store::open(&url, file.clock.clone()).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::InUse { holder, .. } if holder.contains("process")),
        "{error}"
    );

    let beside = event_store::open_read_only(&url, file.clock.clone()).await.unwrap();
    let unit = || AppendUnit {
        streams: vec![sent(
            StreamId::new(AggregateType::Message, Uuid::now_v7()),
            0,
            1,
            Uuid::now_v7(),
        )],
        ..AppendUnit::default()
    };
    beside.log.append(vec![unit()]).await.expect_err("it may only read");
    let log = beside.log.clone();
    let waiting = tokio::spawn(async move { log.changed(Position(0)).await });
    file.store.log.append(vec![unit()]).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting)
        .await
        .expect("hears of it")
        .unwrap();
    assert_eq!(
        beside.log.read_all(Position(0), &EventFilter::default(), 10).await.unwrap().events.len(),
        1
    );
}

#[tokio::test]
async fn reading_beside_a_store_that_never_was_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let url = StoreUrl::sqlite(directory.path().join("gateway.db"));
    event_store::open_read_only(&url, Arc::new(SystemClock)).await.unwrap_err();
}

const BEFORE_COMPACT: [(&str, &str); 6] = [
    (
        "20261123100000_create_events",
        include_str!("../migrations/sqlite/20261123100000_create_events.sql"),
    ),
    (
        "20261123100100_create_key_ring",
        include_str!("../migrations/sqlite/20261123100100_create_key_ring.sql"),
    ),
    (
        "20261123100200_create_identities",
        include_str!("../migrations/sqlite/20261123100200_create_identities.sql"),
    ),
    (
        "20261123100300_create_idempotency",
        include_str!("../migrations/sqlite/20261123100300_create_idempotency.sql"),
    ),
    (
        "20261123100400_create_leases",
        include_str!("../migrations/sqlite/20261123100400_create_leases.sql"),
    ),
    (
        "20261123100500_create_meta",
        include_str!("../migrations/sqlite/20261123100500_create_meta.sql"),
    ),
];

/// A file as gateways wrote it before rows were compact.
async fn old_file(url: &str, events: &[StoredEvent]) -> Sqlite {
    let db = Sqlite::open(url, Options::default()).expect("opens");
    db.migrate("event_store_migrations", &BEFORE_COMPACT).await.expect("the old tables");
    let events = events.to_vec();
    db.write(move |tx| {
        for event in &events {
            tx.execute(
                "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                     metadata, position, event_id, workspace_id, account_id, occurred_at, recorded_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                params![
                    event.stream.aggregate_type.as_str(),
                    event.stream.id.to_string(),
                    event.sequence as i64,
                    event.event_type,
                    event.event_version.to_string(),
                    event.payload,
                    serde_json::to_string(&event.metadata).expect("JSON"),
                    event.position.0 as i64,
                    event.event_id.to_string(),
                    event.workspace_id.map(|id| id.to_string()),
                    event.account_id.map(|id| id.to_string()),
                    event.occurred_at.timestamp_millis(),
                    event.recorded_at.timestamp_millis(),
                ],
            )?;
        }
        Ok(())
    })
    .await
    .expect("writes");
    db
}

/// What any tool reads of the log, column by column.
async fn as_tools_read(db: &Sqlite) -> Vec<Vec<Value>> {
    db.read(|connection| {
        connection
            .prepare(
                "SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        position, event_id, workspace_id, account_id, occurred_at, recorded_at
                 FROM events ORDER BY position",
            )?
            .query_map([], |row| (0..13).map(|column| row.get(column)).collect())?
            .collect()
    })
    .await
    .expect("reads")
}

/// Those that there were when logs had the old form.
fn old_types() -> Vec<AggregateType> {
    let newer = [AggregateType::WebhookEndpoint, AggregateType::User, AggregateType::Conversation];
    AggregateType::ALL.into_iter().filter(|it| !newer.contains(it)).collect()
}

fn old_events() -> Vec<StoredEvent> {
    let at = |ms: i64| DateTime::from_timestamp_millis(1_780_000_000_000 + ms).unwrap();
    let (workspace, account, began) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let first = Uuid::now_v7();
    let mut sequences: HashMap<StreamId, u64> = HashMap::new();
    let mut last: HashMap<StreamId, Uuid> = HashMap::new();
    let mut events = Vec::new();
    let mut write = |stream: StreamId, position: u64, cause: Option<Uuid>, correlation_id: Uuid| {
        let n = events.len();
        let sequence = sequences.entry(stream).and_modify(|n| *n += 1).or_insert(1);
        let name = [None, Some("Grüße 👋 \"quoted\" \\ and 'so' on".to_owned())][n % 2].clone();
        let event = StoredEvent {
            position: Position(position),
            event_id: Uuid::now_v7(),
            stream,
            sequence: *sequence,
            event_type: format!("message.{}", ["queued", "sent"][n % 2]),
            event_version: 1 + (n % 3) as u32,
            payload: format!(r#"{{"b": {n}, "a":"Grüße 👋 \u0041" }}"#),
            metadata: Metadata {
                actor: Actor::api_key(ApiKeyId(workspace), name),
                correlation_id,
                causation_id: cause,
                subject: (n % 2 == 0).then_some(stream.id),
            },
            workspace_id: (n != 2).then_some(workspace),
            account_id: (n % 2 == 1).then_some(account),
            occurred_at: at(n as i64 * 7 - 90_000),
            recorded_at: at(n as i64),
        };
        last.insert(stream, event.event_id);
        events.push(event);
        last.clone()
    };
    let stream = StreamId::new(AggregateType::Message, first);
    let twin = StreamId::new(AggregateType::Contact, first);
    let campaign = write(twin, 1, None, began)[&twin];
    let queued = write(stream, 2, Some(campaign), began)[&stream];
    let sent = write(stream, 3, Some(queued), began)[&stream];
    // Under another correlation, caused by one that is not the last, and by one that is far away.
    write(stream, 4, Some(queued), Uuid::now_v7());
    let far = write(stream, 5, Some(sent), began)[&stream];
    write(stream, 5 + 32_767, Some(far), began);
    let far = write(twin, 40_000, Some(far), Uuid::now_v7())[&twin];
    write(twin, 40_000 + 32_768, Some(far), began);
    for (n, aggregate_type) in old_types().into_iter().enumerate() {
        write(StreamId::new(aggregate_type, Uuid::now_v7()), 80_000 + n as u64, None, began);
    }
    events
}

#[tokio::test]
async fn a_log_in_the_old_form_reads_back_equal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let events = old_events();
    let db = old_file(path.to_str().unwrap(), &events).await;
    let (workspace, holder, live, gone) =
        (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    db.write(move |tx| {
        tx.execute(
            "INSERT INTO identities (workspace_id, kind, hash, holder) VALUES (?1, 'phone', x'07', ?2)",
            [workspace.to_string(), holder.to_string()],
        )?;
        tx.execute(
            "INSERT INTO data_keys (subject, wrapped, destroyed_at) VALUES (?1, x'0102', NULL), (?2, NULL, 5)",
            [live.to_string(), gone.to_string()],
        )
    })
    .await
    .unwrap();
    let before = as_tools_read(&db).await;
    drop(db);

    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let store = event_store::open(&StoreUrl::sqlite(&path), clock).await.expect("migrates");
    let Database::Sqlite(db) = &store.database else { unreachable!("it was opened on SQLite") };
    assert_eq!(as_tools_read(db).await, before);
    let mut after = Position(0);
    let mut found = Vec::new();
    loop {
        let page = store.log.read_all(after, &EventFilter::default(), 3).await.unwrap();
        after = page.scanned_to;
        found.extend(page.events);
        if page.at_head {
            break;
        }
    }
    assert_eq!(found, events);
    for stream in events.iter().map(|event| event.stream) {
        let wanted: Vec<_> =
            events.iter().filter(|event| event.stream == stream).cloned().collect();
        assert_eq!(store.log.read_streams(&[stream]).await.unwrap(), wanted);
    }

    let key = IdentityKey { workspace_id: workspace, kind: "phone".to_owned(), hash: vec![7] };
    assert_eq!(store.identities.lookup(&[key]).await.unwrap(), [Some(holder)]);
    let keys = store.vault.data_keys(&[live, gone]).await.unwrap();
    assert_eq!(keys[&live], DataKeyRow::Wrapped(vec![1, 2]));
    assert_eq!(keys[&gone], DataKeyRow::Destroyed);
    let destroyed = store.vault.destroyed_since(DateTime::UNIX_EPOCH, 10).await.unwrap();
    assert_eq!(destroyed.iter().map(|(subject, _)| *subject).collect::<Vec<_>>(), [gone]);

    // Streams go on where they were, and what is new is shown in the same form.
    let stream = events[1].stream;
    let mut append = sent(stream, 5, 2, Uuid::now_v7());
    append.events[0].metadata.causation_id = Some(events[5].event_id);
    append.events[1].metadata.causation_id = Some(append.events[0].event_id);
    let new = append.events.clone();
    let unit = AppendUnit { streams: vec![append], ..AppendUnit::default() };
    let outcomes = store.log.append(vec![unit]).await.unwrap();
    let AppendOutcome::Appended { last, .. } = outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(last, Position(80_010));
    let rows = as_tools_read(db).await;
    for (row, event) in rows[rows.len() - 2..].iter().zip(&new) {
        assert_eq!(row[1], Value::Text(stream.id.to_string()));
        let metadata = serde_json::to_string(&event.metadata).unwrap();
        assert_eq!(row[6], Value::Text(metadata));
        assert_eq!(row[8], Value::Text(event.event_id.to_string()));
        assert_eq!(row[11], Value::Integer(event.occurred_at.timestamp_millis()));
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_carried_over_stops_the_migration_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let db = old_file(path.to_str().unwrap(), &old_events()).await;
    db.write(|tx| tx.execute("UPDATE events SET metadata = '{}' WHERE position = 3", []))
        .await
        .unwrap();
    let before = as_tools_read(&db).await;
    drop(db);
    let error =
        event_store::open(&StoreUrl::sqlite(&path), Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(error, OpenError::Migration { .. }), "{error}");
    let db = Sqlite::open(&path, Options::default()).unwrap();
    assert_eq!(as_tools_read(&db).await, before);
}

#[tokio::test]
async fn an_event_costs_little_beside_its_payload() {
    const MESSAGES: usize = 3_000;
    let File { directory, store, .. } = fresh().await.unwrap();
    let (workspace, account, campaign) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let mut messages: Vec<(StreamId, Uuid, Uuid)> = (0..MESSAGES)
        .map(|_| (StreamId::new(AggregateType::Message, Uuid::now_v7()), Uuid::now_v7(), campaign))
        .collect();
    // What becomes of a message of a campaign. Personal data is in what goes out and in WhatsApp's answer.
    let steps = [
        ("queued", Actor::process("campaign"), true),
        ("send_requested", Actor::process("dispatch"), false),
        ("accepted", Actor::process("dispatch"), true),
        ("sent", Actor::whatsapp(), false),
        ("delivered", Actor::whatsapp(), false),
        ("read", Actor::whatsapp(), false),
    ];
    let (mut payloads, mut events) = (0, 0);
    for (expected, (name, actor, is_personal)) in (0..).zip(steps) {
        for part in messages.chunks_mut(1_000) {
            let units = part.iter_mut().map(|(stream, contact, cause)| {
                let event_id = Uuid::now_v7();
                let event = NewEvent {
                    event_id,
                    event_type: format!("message.{name}"),
                    event_version: 1,
                    payload: format!(r#"{{"type":"message.{name}","at":"{}"}}"#, "x".repeat(60)),
                    metadata: Metadata {
                        actor: actor.clone(),
                        correlation_id: campaign,
                        causation_id: Some(std::mem::replace(cause, event_id)),
                        subject: is_personal.then_some(*contact),
                    },
                    occurred_at: DateTime::UNIX_EPOCH,
                };
                payloads += event.payload.len();
                events += 1;
                let streams = vec![StreamAppend {
                    stream: *stream,
                    expected,
                    workspace_id: Some(workspace),
                    account_id: Some(account),
                    events: vec![event],
                }];
                AppendUnit { streams, ..AppendUnit::default() }
            });
            let outcomes = store.log.append(units.collect()).await.unwrap();
            assert!(outcomes.iter().all(|it| matches!(it, AppendOutcome::Appended { .. })));
        }
    }
    drop(store);
    let size = std::fs::metadata(directory.path().join("gateway.db")).unwrap().len();
    let beside = (size as usize - payloads) / events;
    println!("{beside} bytes an event beside its payload, indexes and free space included");
    assert!(beside <= 130, "{beside} bytes");
}

const CRASH_FILE: &str = "GATEWAY_EVENT_STORE_TEST_CRASH";
/// Streams per unit; the n-th unit of a writer gives its streams 1 to 4 events each.
const CRASH_STREAMS: usize = 3;

/// Not a test of its own: the process that the next one kills. Prints each unit that was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn child_that_appends_until_it_is_killed() {
    let Ok(path) = std::env::var(CRASH_FILE) else { return };
    let store =
        event_store::open(&StoreUrl::sqlite(path), Arc::new(SystemClock)).await.expect("opens");
    let writers: Vec<_> = (0..8_usize)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in n.. {
                    let (mark, count) = (Uuid::now_v7(), 1 + round % 4);
                    let streams = (0..CRASH_STREAMS)
                        .map(|_| {
                            sent(
                                StreamId::new(AggregateType::Message, Uuid::now_v7()),
                                0,
                                count,
                                mark,
                            )
                        })
                        .collect();
                    let claim = IdentityChange::Claim {
                        workspace_id: mark,
                        kind: "phone".to_owned(),
                        hash: mark.as_bytes().to_vec(),
                        holder: mark,
                    };
                    let unit =
                        AppendUnit { streams, identities: vec![claim], ..AppendUnit::default() };
                    let outcomes = store.log.append(vec![unit]).await.expect("appends");
                    let AppendOutcome::Appended { last, .. } = &outcomes[0] else {
                        panic!("{outcomes:?}")
                    };
                    println!("answered {mark} {} {last}", CRASH_STREAMS * count);
                }
            })
        })
        .collect();
    futures::future::join_all(writers).await;
}

#[tokio::test]
async fn a_kill_in_the_middle_of_appends_leaves_whole_units_and_all_that_were_answered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    let mut answered: HashMap<Uuid, (usize, u64)> = HashMap::new();
    for round in 1..=5_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CRASH_FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut note = |line: String| {
            // The test harness may print on the same line as the first answer.
            let words: Vec<&str> =
                line.split_whitespace().skip_while(|word| *word != "answered").collect();
            if let ["answered", mark, events, last] = words[..] {
                answered.insert(
                    mark.parse().unwrap(),
                    (events.parse().unwrap(), last.parse().unwrap()),
                );
                return true;
            }
            false
        };
        let mut seen = 0;
        while seen < round * 37 {
            seen += usize::from(note(lines.next().expect("the child goes on until it is killed")));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had printed before it died was answered as well; a torn last line was not.
        let rest: Vec<_> = lines.collect();
        rest.into_iter().filter(|line| line.split_whitespace().count() == 4).for_each(|line| {
            note(line);
        });

        let store = event_store::open(&StoreUrl::sqlite(&path), Arc::new(SystemClock))
            .await
            .expect("opens again");
        check(&store, &answered).await;
    }
}

async fn check(store: &OpenStore, answered: &HashMap<Uuid, (usize, u64)>) {
    let (mut events, mut after) = (Vec::new(), Position(0));
    loop {
        let page = store.log.read_all(after, &EventFilter::default(), 5_000).await.unwrap();
        after = page.scanned_to;
        events.extend(page.events);
        if page.at_head {
            break;
        }
    }
    let positions: Vec<_> = events.iter().map(|event| event.position.0).collect();
    assert_eq!(positions, (1..=events.len() as u64).collect::<Vec<_>>(), "without a hole");
    let mut units: HashMap<Uuid, Vec<_>> = HashMap::new();
    for event in &events {
        units.entry(event.workspace_id.unwrap()).or_default().push(event);
    }
    for (mark, (count, last)) in answered {
        let unit = units.get(mark).expect("what was answered is there");
        assert_eq!((unit.len(), unit.last().unwrap().position.0), (*count, *last));
    }
    let marks: Vec<_> = units.keys().copied().collect();
    let keys: Vec<_> = marks
        .iter()
        .map(|mark| IdentityKey {
            workspace_id: *mark,
            kind: "phone".to_owned(),
            hash: mark.as_bytes().to_vec(),
        })
        .collect();
    let holders = store.identities.lookup(&keys).await.unwrap();
    assert!(
        holders.iter().zip(&marks).all(|(holder, mark)| *holder == Some(*mark)),
        "with what it claimed"
    );
    for unit in units.values() {
        let streams: std::collections::HashSet<_> = unit.iter().map(|event| event.stream).collect();
        assert_eq!(
            (streams.len(), unit.len() % CRASH_STREAMS),
            (CRASH_STREAMS, 0),
            "a unit is whole"
        );
    }
}
