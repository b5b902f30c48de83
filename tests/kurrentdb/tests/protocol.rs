//! The double as the vendor's client sees it.

use kurrentdb::{
    AppendToStreamOptions, Client, CurrentRevision, Error, EventData, ReadAllOptions,
    ReadStreamOptions, StreamPosition, StreamState, SubscribeToAllOptions, SubscriptionEvent,
    SubscriptionFilter,
};
use kurrentdb_double::Double;
use uuid::Uuid;

fn client(server: &Double) -> Client {
    Client::new(server.url().parse().expect("a URL")).expect("a client")
}

fn event(event_type: &str) -> EventData {
    EventData::json(event_type, &serde_json::json!({})).expect("JSON").id(Uuid::now_v7())
}

fn expecting(state: StreamState) -> AppendToStreamOptions {
    AppendToStreamOptions::default().stream_state(state)
}

#[tokio::test]
async fn an_append_is_taken_once_and_only_where_it_belongs() {
    let server = Double::start();
    let client = client(&server);
    let first = event("a");
    let written = client
        .append_to_stream("s-1", &expecting(StreamState::NoStream), first.clone())
        .await
        .unwrap();
    assert_eq!(written.next_expected_version, 0);
    let again =
        client.append_to_stream("s-1", &expecting(StreamState::NoStream), first).await.unwrap();
    assert_eq!(again.position, written.position);
    let wrong = client.append_to_stream("s-1", &expecting(StreamState::NoStream), event("b")).await;
    assert!(matches!(
        wrong,
        Err(Error::WrongExpectedVersion {
            expected: StreamState::NoStream,
            current: CurrentRevision::Current(0)
        })
    ));
    let wrong = client
        .append_to_stream("s-2", &expecting(StreamState::StreamRevision(3)), event("b"))
        .await;
    assert!(matches!(
        wrong,
        Err(Error::WrongExpectedVersion { current: CurrentRevision::NoStream, .. })
    ));
    let mut read = client.read_stream("s-1", &ReadStreamOptions::default()).await.unwrap();
    let found = read.next().await.unwrap().unwrap();
    assert_eq!(found.get_original_event().position, written.position);
    assert!(read.next().await.unwrap().is_none());
    let mut none = client.read_stream("s-9", &ReadStreamOptions::default()).await.unwrap();
    assert!(matches!(none.next().await, Err(Error::ResourceNotFound)));
    server.tombstone("s-1");
    let deleted = client.append_to_stream("s-1", &expecting(StreamState::Any), event("c")).await;
    assert!(matches!(deleted, Err(Error::ResourceDeleted)));
}

#[tokio::test]
async fn all_is_read_by_prefixes_from_both_ends() {
    let server = Double::start();
    let client = client(&server);
    let mut positions = Vec::new();
    for n in 0..40 {
        let stream = format!("{}-{n}", if n % 4 == 0 { "rare" } else { "common" });
        let written = client
            .append_to_stream(stream, &expecting(StreamState::Any), event("e"))
            .await
            .unwrap();
        positions.push(written.position);
    }
    let rare = SubscriptionFilter::on_stream_name().add_prefix("rare-");
    let from = StreamPosition::Position(positions[4]);
    let options = ReadAllOptions::default().position(from).filter(rare.clone()).max_count(3);
    let mut read = client.read_all(&options).await.unwrap();
    let mut found = Vec::new();
    while let Some(event) = read.next().await.unwrap() {
        found.push(event.get_original_event().position);
    }
    assert_eq!(found, [positions[4], positions[8], positions[12]], "a read begins at its position");
    let options = ReadAllOptions::default().position(StreamPosition::End).filter(rare).max_count(1);
    let mut read = client.read_all(&options).await.unwrap();
    let last = read.next().await.unwrap().unwrap();
    assert_eq!(last.get_original_event().position, positions[36]);
    let between =
        kurrentdb::Position { commit: positions[1].commit + 1, prepare: positions[1].commit + 1 };
    let options = ReadAllOptions::default().position(StreamPosition::Position(between));
    let error = match client.read_all(&options).await {
        Ok(mut read) => read.next().await.err(),
        Err(error) => Some(error),
    };
    assert!(matches!(error, Some(Error::ServerError(_))), "{error:?}");
}

#[tokio::test]
async fn a_subscription_catches_up_tells_how_far_it_is_and_goes_on() {
    let server = Double::start();
    let client = client(&server);
    let mut rare = Vec::new();
    for n in 0..90 {
        let is_rare = n % 45 == 0;
        let stream = format!("{}-{n}", if is_rare { "rare" } else { "common" });
        let written = client
            .append_to_stream(stream, &expecting(StreamState::Any), event("e"))
            .await
            .unwrap();
        rare.extend(is_rare.then_some(written.position));
    }
    let filter = SubscriptionFilter::on_stream_name().add_prefix("rare-").max(16);
    let options =
        SubscribeToAllOptions::default().position(StreamPosition::Position(rare[0])).filter(filter);
    let mut subscription = client.subscribe_to_all(&options).await;
    let (mut found, mut checkpoints) = (Vec::new(), Vec::new());
    loop {
        match subscription.next_subscription_event().await.unwrap() {
            SubscriptionEvent::EventAppeared(event) => {
                found.push(event.get_original_event().position)
            }
            SubscriptionEvent::Checkpoint(position) => checkpoints.push(position),
            SubscriptionEvent::CaughtUp(_) => break,
            _ => {}
        }
    }
    assert_eq!(found, rare[1..], "a subscription begins after its position");
    assert!(checkpoints.len() >= 5 && checkpoints.is_sorted(), "{checkpoints:?}");
    let written = client
        .append_to_stream("rare-new", &expecting(StreamState::Any), event("e"))
        .await
        .unwrap();
    let live = subscription.next().await.unwrap();
    assert_eq!(live.get_original_event().position, written.position);
}
