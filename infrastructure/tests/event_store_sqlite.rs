//! The event store in a SQLite file: the contract, and what only a file can show.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::port::{
    AggregateType, AppendOutcome, AppendUnit, EventFilter, IdentityChange, NewEvent, Position,
    StreamAppend, StreamId,
};
use infrastructure::clock::{ManualClock, SystemClock};
use infrastructure::event_store::{self, IdentityKey, OpenError, OpenStore, StoreUrl};
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
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let url = StoreUrl::sqlite(directory.path().join("gateway.db"));
    let store = event_store::open(&url, clock.clone()).await.expect("opens");
    Some(File { directory, store, clock })
}

mod contract {
    infrastructure::event_store_contract!(super::fresh);
}

fn sent(stream: StreamId, expected: u64, events: usize, correlation_id: Uuid) -> StreamAppend {
    let event = || NewEvent {
        event_id: Uuid::now_v7(),
        event_type: "message.sent".to_owned(),
        event_version: 1,
        payload: format!(r#"{{"padding":"{}"}}"#, "x".repeat(300)),
        metadata: format!(r#"{{"correlation_id":"{correlation_id}"}}"#),
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
