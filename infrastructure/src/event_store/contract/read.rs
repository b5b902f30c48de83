//! Reading: streams, pages, filters.

use domain::port::{AggregateType, EventFilter, Position, StreamId};

use super::super::{OpenStore, SCAN_POSITIONS_MAX};
use super::*;

pub async fn streams_are_read_together_and_in_pages(store: &OpenStore, _: &Clock) {
    // More than one statement's worth, written in turns.
    let streams: Vec<_> = (0..700).map(|_| message()).collect();
    for expected in 0..2 {
        append_all(
            store,
            streams.iter().map(|stream| unit([append(*stream, expected, 1)])).collect(),
        )
        .await;
    }
    let mut wanted = streams.clone();
    wanted.reverse();
    wanted.insert(3, message());
    let events = store.log.read_streams(&wanted).await.unwrap();
    wanted.remove(3);
    let found: Vec<_> = events.iter().map(|event| (event.stream, event.sequence)).collect();
    let expected: Vec<_> = wanted.iter().flat_map(|stream| [(*stream, 1), (*stream, 2)]).collect();
    assert_eq!(found, expected);
    assert!(store.log.read_streams(&[]).await.unwrap().is_empty());

    let long = message();
    taken(&append_one(store, unit([append(long, 0, 25)])).await);
    let (mut sequences, mut after) = (Vec::new(), 0);
    loop {
        let page = store.log.read_stream_page(long, after, 10).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 10 && page.iter().all(|event| event.stream == long));
        after = last.sequence;
        sequences.extend(page.iter().map(|event| event.sequence));
    }
    assert_eq!(sequences, (1..=25).collect::<Vec<_>>());
}

pub async fn pages_cover_the_log_once(store: &OpenStore, _: &Clock) {
    let page = store.log.read_all(Position(0), &EventFilter::default(), 10).await.unwrap();
    assert!(page.events.is_empty() && page.at_head && page.scanned_to == Position(0));
    append_all(store, (0..53).map(|_| unit([append(message(), 0, 1)])).collect()).await;
    let all = read_all(store, &EventFilter::default(), 1_000).await;
    assert_eq!(all.len(), 53);
    assert!(all.windows(2).all(|pair| pair[0].position < pair[1].position));
    for limit in [1, 10, 53, 54] {
        assert_eq!(read_all(store, &EventFilter::default(), limit).await, all, "pages of {limit}");
    }
    let (after, head) = (all[49].position, all[52].position);
    let page = store.log.read_all(after, &EventFilter::default(), 3).await.unwrap();
    assert!(page.at_head && page.scanned_to == head, "a full page may be the last one");
    assert_eq!(page.events, all[50..]);
    let beyond = Position(head.0 + 46);
    let page = store.log.read_all(beyond, &EventFilter::default(), 3).await.unwrap();
    assert!(page.at_head && page.scanned_to == beyond && page.events.is_empty());
}

pub async fn filters_hold_together(store: &OpenStore, _: &Clock) {
    let (workspaces, accounts) = ([id(), id()], [id(), id()]);
    let mut appends = Vec::new();
    for n in 0..16_usize {
        let kind = if n % 2 == 0 { AggregateType::Message } else { AggregateType::Contact };
        let mut append = append(StreamId::new(kind, id()), 0, 0);
        append.workspace_id = Some(workspaces[n / 2 % 2]);
        append.account_id = Some(accounts[n / 4 % 2]);
        append.events = vec![event(if n / 8 % 2 == 0 { "sent" } else { "read" })];
        appends.push(append);
    }
    for append in &appends {
        append_one(store, unit([append.clone()])).await;
    }
    let found = async |filter: EventFilter| -> Vec<usize> {
        let events = read_all(store, &filter, 100).await;
        assert_eq!(read_all(store, &filter, 2).await, events);
        places(store, &events).await
    };
    let filter =
        EventFilter { aggregate_types: vec![AggregateType::Contact], ..EventFilter::default() };
    assert_eq!(found(filter.clone()).await, [2, 4, 6, 8, 10, 12, 14, 16]);
    let filter = EventFilter { workspace_ids: vec![workspaces[1]], ..filter };
    assert_eq!(found(filter.clone()).await, [4, 8, 12, 16]);
    let filter = EventFilter { account_ids: vec![accounts[0], id()], ..filter };
    assert_eq!(found(filter.clone()).await, [4, 12]);
    let filter = EventFilter {
        event_types: vec!["message.read".to_owned(), "message.failed".to_owned()],
        ..filter
    };
    assert_eq!(found(filter.clone()).await, [12]);
    let none = EventFilter { event_types: vec!["message.failed".to_owned()], ..filter.clone() };
    assert!(found(none).await.is_empty());

    let ids = [appends[11].stream.id, appends[4].stream.id, id()];
    let filter = EventFilter { aggregate_ids: ids.to_vec(), ..EventFilter::default() };
    assert_eq!(found(filter.clone()).await, [5, 12]);
    let filter = EventFilter { aggregate_types: vec![AggregateType::Message], ..filter };
    assert_eq!(found(filter).await, [5]);
    // More ids than are looked up one by one.
    let mut many: Vec<_> = (0..600).map(|_| id()).collect();
    many.extend(ids);
    assert_eq!(found(EventFilter { aggregate_ids: many, ..EventFilter::default() }).await, [5, 12]);

    let correlation_id = id();
    let mut append = append(message(), 0, 2);
    append.events[1].metadata = metadata(correlation_id);
    append_one(store, unit([append])).await;
    assert_eq!(
        found(EventFilter { correlation_id: Some(correlation_id), ..EventFilter::default() }).await,
        [18]
    );
    // Of a whole stream, the same as a stream's first and not, and together with another filter.
    let mut more = append_of(message(), correlation_id);
    more.events[2].metadata = metadata(id());
    append_one(store, unit([more])).await;
    let filter = EventFilter { correlation_id: Some(correlation_id), ..EventFilter::default() };
    assert_eq!(found(filter.clone()).await, [18, 19, 20, 22]);
    let filter = EventFilter { event_types: vec!["message.read".to_owned()], ..filter };
    assert_eq!(found(filter).await, [22]);
}

fn append_of(stream: StreamId, correlation_id: Uuid) -> StreamAppend {
    let mut append = append(stream, 0, 0);
    append.events = ["queued", "sent", "delivered", "read"].map(event).to_vec();
    append.events.iter_mut().for_each(|event| event.metadata = metadata(correlation_id));
    append
}

/// Two events of a workspace, one before all else, one near the head, which lies in the stream given back.
async fn two_of_very_many(store: &OpenStore) -> (EventFilter, StreamId) {
    let rare = |n: usize| append(StreamId::new(AggregateType::Workspace, id()), 0, n);
    append_one(store, unit([rare(1)])).await;
    let filler = usize::try_from(SCAN_POSITIONS_MAX).expect("is small") + 500;
    append_all(store, (0..filler / 500).map(|_| unit([append(message(), 0, 500)])).collect()).await;
    append_one(store, unit([rare(1)])).await;
    let last = message();
    append_one(store, unit([append(last, 0, 5)])).await;
    let aggregate_types = vec![AggregateType::Workspace];
    (EventFilter { aggregate_types, ..EventFilter::default() }, last)
}

pub async fn a_sparse_filter_finds_all_and_the_head(store: &OpenStore, _: &Clock) {
    let (filter, last) = two_of_very_many(store).await;
    let head = store.log.head().await.unwrap();
    assert_eq!(read_all(store, &filter, 10).await.len(), 2);
    let mut after = Position(0);
    loop {
        let page = store.log.read_all(after, &filter, 10).await.unwrap();
        after = page.scanned_to;
        if page.at_head {
            break;
        }
    }
    assert_eq!(after, head, "the rest was looked at, too");

    // A known stream is found at once, however far away.
    let filter = EventFilter { aggregate_ids: vec![last.id], ..EventFilter::default() };
    let page = store.log.read_all(Position(0), &filter, 3).await.unwrap();
    assert_eq!((page.events.len(), page.at_head), (3, false));
    let page = store.log.read_all(page.scanned_to, &filter, 3).await.unwrap();
    assert_eq!((page.events.len(), page.at_head, page.scanned_to), (2, true, head));
}

pub async fn one_call_looks_at_so_many_positions(store: &OpenStore, _: &Clock) {
    let (filter, _) = two_of_very_many(store).await;
    let head = store.log.head().await.unwrap();
    let first = store.log.read_all(Position(0), &filter, 10).await.unwrap();
    assert_eq!(first.events.len(), 1);
    assert!(!first.at_head && first.scanned_to == Position(SCAN_POSITIONS_MAX));
    let second = store.log.read_all(first.scanned_to, &filter, 10).await.unwrap();
    assert_eq!(second.events.len(), 1);
    assert!(second.at_head && second.scanned_to == head);
    let third = store.log.read_all(second.scanned_to, &filter, 10).await.unwrap();
    assert!(third.at_head && third.events.is_empty() && third.scanned_to == head);
}

pub async fn times_cut_the_log_short(store: &OpenStore, clock: &Clock) {
    // Thirty events, ten to a second.
    for second in 0..3 {
        clock.set(at(second * 1_000));
        append_all(store, (0..10).map(|_| unit([append(message(), 0, 1)])).collect()).await;
    }
    let found = async |from: Option<i64>, to: Option<i64>| -> Vec<usize> {
        let filter = EventFilter {
            recorded_from: from.map(at),
            recorded_to: to.map(at),
            ..EventFilter::default()
        };
        places(store, &read_all(store, &filter, 4).await).await
    };
    assert_eq!(found(Some(1_000), Some(2_000)).await, (11..=20).collect::<Vec<_>>());
    assert_eq!(found(Some(1), None).await, (11..=30).collect::<Vec<_>>());
    assert_eq!(found(None, Some(1)).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(found(Some(-5), Some(9_000)).await, (1..=30).collect::<Vec<_>>());
    assert!(found(Some(2_001), None).await.is_empty());
    assert!(found(Some(2_000), Some(1_000)).await.is_empty());
    assert!(found(None, Some(0)).await.is_empty());

    // A follower of what is still to come misses none of it.
    let filter = EventFilter { recorded_from: Some(at(5_000)), ..EventFilter::default() };
    let page = store.log.read_all(Position(0), &filter, 4).await.unwrap();
    assert!(page.at_head && page.events.is_empty());
    clock.set(at(6_000));
    append_one(store, unit([append(message(), 0, 1)])).await;
    let page = store.log.read_all(page.scanned_to, &filter, 4).await.unwrap();
    assert_eq!(page.events.len(), 1);
}
