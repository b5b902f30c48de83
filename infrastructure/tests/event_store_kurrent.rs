//! The event store in KurrentDB: the contract, over a double of its protocol and over a real server where `KURRENTDB_URL`
//! names one, and what only a store of streams can show.

use std::sync::Arc;

use chrono::DateTime;
use domain::port::{
    AggregateType, AppendOutcome, AppendUnit, EventFilter, IdempotencyRecord, LogError, Metadata,
    NewEvent, Position, StreamAppend, StreamId,
};
use domain::primitives::Actor;
use infrastructure::clock::ManualClock;
use infrastructure::event_store::{self, OpenError, OpenStore, StoreUrl};
use kurrentdb_double::Double;
use uuid::Uuid;

/// Names a server that may be filled: each case leaves a log of its own there, under a prefix of its own.
const KURRENTDB_URL: &str = "KURRENTDB_URL";

struct Fixture {
    server: Double,
    directory: tempfile::TempDir,
    store: OpenStore,
    clock: Arc<ManualClock>,
}

impl Fixture {
    fn store(&self) -> &OpenStore {
        &self.store
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    fn url(&self) -> StoreUrl {
        url(&self.server.url(), &self.directory)
    }

    /// Closes the store, opens it again, as a gateway that was started anew.
    async fn reopened(self) -> Self {
        let url = self.url();
        let Self { server, directory, store, clock } = self;
        drop(store);
        let store = event_store::open(&url, clock.clone()).await.expect("opens");
        Self { server, directory, store, clock }
    }
}

fn url(text: &str, directory: &tempfile::TempDir) -> StoreUrl {
    text.parse::<StoreUrl>().expect("a URL").with_beside(directory.path().join("gateway.db"))
}

async fn fresh() -> Option<Fixture> {
    let (server, directory) = (Double::start(), tempfile::tempdir().expect("a directory"));
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    // What others write: near by, and in streams whose names begin as ours do.
    server.write("order-1", "order.placed", b"{}", b"");
    server.write("message-of-the-day", "said", b"{}", b"");
    let store =
        event_store::open(&url(&server.url(), &directory), clock.clone()).await.expect("opens");
    Some(Fixture { server, directory, store, clock })
}

mod contract {
    infrastructure::event_store_contract!(stream_by_stream super::fresh);
}

struct OnServer {
    store: OpenStore,
    clock: Arc<ManualClock>,
    _directory: tempfile::TempDir,
}

impl OnServer {
    fn store(&self) -> &OpenStore {
        &self.store
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }
}

/// `None`, said on standard error, where no server is named.
async fn on_server() -> Option<OnServer> {
    let Ok(server) = std::env::var(KURRENTDB_URL) else {
        eprintln!("LEFT OUT: this test needs a KurrentDB; set {KURRENTDB_URL}");
        return None;
    };
    let separator = if server.contains('?') { '&' } else { '?' };
    let text = format!("{server}{separator}streamPrefix=test_{}", Uuid::now_v7().simple());
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let store = event_store::open(&url(&text, &directory), clock.clone()).await.expect("opens");
    Some(OnServer { store, clock, _directory: directory })
}

mod contract_on_a_server {
    infrastructure::event_store_contract!(stream_by_stream super::on_server);
}

fn message() -> StreamId {
    StreamId::new(AggregateType::Message, Uuid::now_v7())
}

fn append(stream: StreamId, expected: u64, count: usize) -> StreamAppend {
    let events = (0..count)
        .map(|_| NewEvent {
            event_id: Uuid::now_v7(),
            event_type: "message.sent".to_owned(),
            event_version: 1,
            payload: r#"{"type":"message.sent"}"#.to_owned(),
            metadata: Metadata {
                actor: Actor::process("test"),
                correlation_id: Uuid::now_v7(),
                causation_id: None,
                subject: None,
            },
            occurred_at: DateTime::UNIX_EPOCH,
        })
        .collect();
    StreamAppend { stream, expected, workspace_id: None, account_id: None, events }
}

fn unit(streams: impl IntoIterator<Item = StreamAppend>) -> AppendUnit {
    AppendUnit { streams: streams.into_iter().collect(), ..AppendUnit::default() }
}

async fn append_one(store: &OpenStore, unit: AppendUnit) -> Result<AppendOutcome, LogError> {
    Ok(store.log.append(vec![unit]).await?.pop().expect("one unit, one outcome"))
}

fn last_of(outcome: &AppendOutcome) -> Position {
    match outcome {
        AppendOutcome::Appended { last, .. } => *last,
        other => panic!("was not taken: {other:?}"),
    }
}

/// Event ids in the log, each as often as it is there.
async fn ids(store: &OpenStore) -> Vec<Uuid> {
    let page = store.log.read_all(Position(0), &EventFilter::default(), 5_000).await.unwrap();
    assert!(page.at_head);
    page.events.iter().map(|event| event.event_id).collect()
}

fn idempotency(key: &[u8]) -> IdempotencyRecord {
    IdempotencyRecord {
        key_hash: key.to_vec(),
        input_hash: b"input".to_vec(),
        result: "{}".to_owned(),
        recorded_at: DateTime::UNIX_EPOCH,
        position: Position(0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_a_crash_cut_is_carried_out_at_the_next_start() {
    let fixture = fresh().await.unwrap();
    let streams: Vec<_> = (0..6).map(|_| message()).collect();
    let campaign = StreamId::new(AggregateType::Campaign, Uuid::now_v7());
    let mut appends: Vec<_> = streams.iter().map(|stream| append(*stream, 0, 2)).collect();
    appends.push(append(campaign, 0, 1));
    let wanted: Vec<Uuid> =
        appends.iter().flat_map(|append| &append.events).map(|event| event.event_id).collect();
    let whole = AppendUnit { idempotency: Some(idempotency(b"key")), ..unit(appends) };
    // Two of seven appends are taken; then the server is gone, and so is the gateway.
    fixture.server.behave(|behaviour| behaviour.appends_left = Some(2));
    append_one(&fixture.store, whole.clone()).await.expect_err("the server is gone");
    assert_eq!(fixture.server.records_of("message-0").len(), 4);
    assert!(fixture.server.records_of("campaign-").is_empty(), "the last one comes last");

    fixture.server.behave(|behaviour| behaviour.appends_left = None);
    let fixture = fixture.reopened().await;
    let mut found = ids(&fixture.store).await;
    assert_eq!(found.last(), wanted.last(), "the campaign's comes last");
    let mut sorted = wanted.clone();
    sorted.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, sorted, "each once");
    // Whoever asks again hears of it, with the place where all of it shows.
    let AppendOutcome::Replayed { record } = append_one(&fixture.store, whole).await.unwrap()
    else {
        panic!("it is known")
    };
    assert_eq!(record.position, fixture.store.log.head().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_a_failure_cut_is_carried_out_before_the_next_one() {
    let fixture = fresh().await.unwrap();
    let streams = [message(), message(), message()];
    fixture.server.behave(|behaviour| behaviour.appends_left = Some(1));
    let whole = unit(streams.map(|stream| append(stream, 0, 1)));
    append_one(&fixture.store, whole).await.expect_err("the server is gone");
    fixture.server.behave(|behaviour| behaviour.appends_left = None);
    let outcome = append_one(&fixture.store, unit([append(streams[2], 0, 1)])).await.unwrap();
    assert_eq!(
        outcome,
        AppendOutcome::Stale { streams: vec![streams[2]] },
        "it was decided before"
    );
    last_of(&append_one(&fixture.store, unit([append(streams[2], 1, 1)])).await.unwrap());
    assert_eq!(ids(&fixture.store).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_lost_is_taken_once() {
    let fixture = fresh().await.unwrap();
    let stream = message();
    for expected in 0..4 {
        fixture.server.behave(|behaviour| behaviour.answers_lost = 2);
        let last = last_of(
            &append_one(&fixture.store, unit([append(stream, expected, 1)])).await.unwrap(),
        );
        assert_eq!(last, fixture.store.log.head().await.unwrap());
    }
    fixture.server.behave(|behaviour| behaviour.answers_lost = 3);
    let two = unit([append(stream, 4, 2), append(message(), 0, 1)]);
    last_of(&append_one(&fixture.store, two).await.unwrap());
    assert_eq!(ids(&fixture.store).await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_may_still_be_taken_is_settled_before_anything_is_decided() {
    let fixture = fresh().await.unwrap();
    let stream = message();
    fixture.server.behave(|behaviour| behaviour.appends_held = u32::MAX);
    append_one(&fixture.store, unit([append(stream, 0, 1)])).await.expect_err("nobody answers");
    fixture.server.behave(|behaviour| behaviour.appends_held = 0);
    let two = unit([append(message(), 0, 1), append(stream, 0, 1)]);
    let outcome = append_one(&fixture.store, two).await.unwrap();
    assert_eq!(outcome, AppendOutcome::Stale { streams: vec![stream] });
    fixture.server.let_go();
    assert_eq!(ids(&fixture.store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_found_again() {
    let mut fixture = fresh().await.unwrap();
    let stream = message();
    last_of(&append_one(&fixture.store, unit([append(stream, 0, 1)])).await.unwrap());
    for round in 1..4 {
        fixture.server.stop();
        let (log, waiting) = (fixture.store.log.clone(), unit([append(stream, round, 1)]));
        let appending = tokio::spawn(async move { log.append(vec![waiting]).await });
        // It is tried, and fails: whoever listens here hangs up.
        let listener = tokio::net::TcpListener::bind(fixture.server.address()).await.unwrap();
        drop(listener.accept().await.unwrap());
        drop(listener);
        fixture.server.resume();
        last_of(&appending.await.unwrap().expect("it is tried again")[0]);
    }
    assert_eq!(fixture.store.log.read_streams(&[stream]).await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_is_given_up() {
    let fixture = fresh().await.unwrap();
    fixture.server.behave(|behaviour| behaviour.hangs = 1);
    last_of(&append_one(&fixture.store, unit([append(message(), 0, 1)])).await.unwrap());
    fixture.server.behave(|behaviour| behaviour.reads_broken = 2);
    assert_eq!(ids(&fixture.store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_followed() {
    let fixture = fresh().await.unwrap();
    let follower = Double::start();
    follower.behave(|behaviour| behaviour.leader = Some(fixture.server.address()));
    let Fixture { server, directory, store, clock } = fixture;
    drop(store);
    for text in [follower.url(), follower.url().replace("kurrentdb:", "kurrentdb+discover:")] {
        let store = event_store::open(&url(&text, &directory), clock.clone()).await.expect("opens");
        last_of(&append_one(&store, unit([append(message(), 0, 1)])).await.unwrap());
    }
    assert_eq!(server.records_of("message-0").len(), 2);
    assert!(follower.records_of("message-0").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_fails_alone_and_what_is_large_is_cut() {
    let fixture = fresh().await.unwrap();
    let mut large = append(message(), 0, 5);
    for event in &mut large.events {
        event.payload = format!("\"{}\"", "x".repeat(400_000));
    }
    let mut too_large = append(message(), 0, 1);
    too_large.events[0].payload = format!("\"{}\"", "x".repeat(1_000_000));
    let store = &fixture.store;
    let (good, bad) = futures::join!(
        append_one(store, unit([large.clone()])),
        append_one(store, unit([append(message(), 0, 1), too_large.clone()])),
    );
    last_of(&good.expect("is not the neighbour's fault"));
    bad.expect_err("no server takes that");
    assert_eq!(store.log.read_streams(&[large.stream]).await.unwrap().len(), 5);
    assert!(store.log.read_streams(&[too_large.stream]).await.unwrap().is_empty());
    last_of(&append_one(store, unit([append(message(), 0, 1)])).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_others_wrote_into_or_deleted_is_told() {
    let fixture = fresh().await.unwrap();
    let (foreign, deleted) = (message(), message());
    for stream in [foreign, deleted] {
        last_of(&append_one(&fixture.store, unit([append(stream, 0, 1)])).await.unwrap());
    }
    fixture.server.write(&foreign.to_string(), "message.sent", b"{}", b"{}");
    let error = fixture.store.log.read_streams(&[foreign]).await.unwrap_err();
    assert!(
        matches!(&error, LogError::Corrupt(what) if what.contains(&foreign.to_string())),
        "{error:?}"
    );
    fixture.server.tombstone(&deleted.to_string());
    fixture.store.log.read_streams(&[deleted]).await.unwrap_err();
    append_one(&fixture.store, unit([append(deleted, 1, 1)])).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_at_which_no_event_stands_is_taken() {
    let fixture = fresh().await.unwrap();
    let mut last = Position(0);
    for _ in 0..30 {
        last = last_of(&append_one(&fixture.store, unit([append(message(), 0, 1)])).await.unwrap());
    }
    // What was just appended is in memory; opened anew, the store asks the server.
    let fixture = fixture.reopened().await;
    let all = ids(&fixture.store).await;
    let first = fixture.store.log.read_all(Position(0), &EventFilter::default(), 1).await.unwrap();
    for (after, left) in [(1, 30), (first.scanned_to.0 + 1, 29), (last.0 - 1, 1)] {
        let page =
            fixture.store.log.read_all(Position(after), &EventFilter::default(), 50).await.unwrap();
        let found: Vec<_> = page.events.iter().map(|event| event.event_id).collect();
        assert_eq!(found, all[30 - left..], "after {after}");
        assert!(page.at_head);
    }
}

async fn refused(url: &StoreUrl) -> String {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let error = event_store::open(url, clock).await.expect_err("it cannot be used");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_denies_access_is_told() {
    let mut server = Double::start();
    let directory = tempfile::tempdir().unwrap();
    server
        .behave(|behaviour| behaviour.credentials = Some(("admin".to_owned(), "a+b@c".to_owned())));
    let denied = refused(&url(&server.url(), &directory)).await;
    assert!(denied.contains("denies access") && denied.contains("store.url"), "{denied}");
    let with_password = server.url().replace("://", "://admin:a+b%40c@");
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let store = event_store::open(&url(&with_password, &directory), clock).await.expect("opens");
    last_of(&append_one(&store, unit([append(message(), 0, 1)])).await.unwrap());
    drop(store);
    server.stop();
    let gone = refused(&url(&with_password, &directory)).await;
    assert!(
        gone.contains(&server.address().to_string()) && gone.contains("does not answer"),
        "{gone}"
    );
    assert!(!gone.contains("a+b"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_beside_and_the_log_belong_together() {
    let fixture = fresh().await.unwrap();
    last_of(&append_one(&fixture.store, unit([append(message(), 0, 1)])).await.unwrap());
    // Another gateway, with a file of its own, on the same log.
    let elsewhere = tempfile::tempdir().unwrap();
    let text = refused(&url(&fixture.server.url(), &elsewhere)).await;
    assert!(text.contains("stands beside"), "{text}");
    // And this one on another server, empty or not.
    let other = fresh().await.unwrap();
    let Fixture { directory, store, .. } = fixture;
    drop(store);
    let text = refused(&url(&other.server.url(), &directory)).await;
    assert!(text.contains("another log"), "{text}");
    let text = refused(&url(&Double::start().url(), &directory)).await;
    assert!(text.contains("does not hold"), "{text}");
    assert!(matches!(
        event_store::open(&other.server.url().parse().unwrap(), other.clock.clone()).await,
        Err(OpenError::Foreign { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_beside_follows_and_appends_nothing() {
    let fixture = fresh().await.unwrap();
    let reader = event_store::open_read_only(&fixture.url(), fixture.clock.clone()).await.unwrap();
    let stream = message();
    for expected in 0..5 {
        let waiting = reader.log.changed(reader.log.head().await.unwrap());
        last_of(&append_one(&fixture.store, unit([append(stream, expected, 1)])).await.unwrap());
        tokio::time::timeout(std::time::Duration::from_secs(30), waiting)
            .await
            .expect("it hears of it");
        assert_eq!(ids(&reader).await.len() as u64, expected + 1);
    }
    append_one(&reader, unit([append(stream, 5, 1)])).await.expect_err("it is not the gateway");
}
