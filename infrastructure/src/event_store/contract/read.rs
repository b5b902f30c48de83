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
    for limit in [1, 10, 53, 54] {
        let positions: Vec<_> = read_all(store, &EventFilter::default(), limit)
            .await
            .iter()
            .map(|event| event.position.0)
            .collect();
        assert_eq!(positions, (1..=53).collect::<Vec<_>>(), "pages of {limit}");
    }
    let page = store.log.read_all(Position(50), &EventFilter::default(), 3).await.unwrap();
    assert!(page.at_head && page.scanned_to == Position(53), "a full page may be the last one");
    let beyond = store.log.read_all(Position(99), &EventFilter::default(), 3).await.unwrap();
    assert!(beyond.at_head && beyond.scanned_to == Position(99) && beyond.events.is_empty());
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
    append_all(store, appends.iter().cloned().map(|append| unit([append])).collect()).await;
    let found = async |filter: EventFilter| -> Vec<u64> {
        let mut all = Vec::new();
        for limit in [2, 100] {
            all = read_all(store, &filter, limit)
                .await
                .iter()
                .map(|event| event.position.0)
                .collect();
        }
        all
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

pub async fn a_sparse_filter_moves_on_and_finds_the_head(store: &OpenStore, _: &Clock) {
    let rare = |n: usize| append(StreamId::new(AggregateType::Workspace, id()), 0, n);
    append_one(store, unit([rare(1)])).await;
    let filler = usize::try_from(SCAN_POSITIONS_MAX).expect("is small") + 500;
    append_all(store, (0..filler / 500).map(|_| unit([append(message(), 0, 500)])).collect()).await;
    append_one(store, unit([rare(1)])).await;
    append_one(store, unit([append(message(), 0, 5)])).await;
    let head = store.log.head().await.unwrap();

    let filter =
        EventFilter { aggregate_types: vec![AggregateType::Workspace], ..EventFilter::default() };
    let first = store.log.read_all(Position(0), &filter, 10).await.unwrap();
    assert_eq!(first.events.len(), 1);
    assert!(
        !first.at_head && first.scanned_to == Position(SCAN_POSITIONS_MAX),
        "one call looks at so many"
    );
    let second = store.log.read_all(first.scanned_to, &filter, 10).await.unwrap();
    assert_eq!(second.events.len(), 1);
    assert!(second.at_head && second.scanned_to == head, "the rest was looked at, too");
    let third = store.log.read_all(second.scanned_to, &filter, 10).await.unwrap();
    assert!(third.at_head && third.events.is_empty() && third.scanned_to == head);

    // A known stream is found at once, however far away.
    let last = store
        .log
        .read_all(Position(head.0 - 1), &EventFilter::default(), 1)
        .await
        .unwrap()
        .events
        .remove(0);
    let filter = EventFilter { aggregate_ids: vec![last.stream.id], ..EventFilter::default() };
    let page = store.log.read_all(Position(0), &filter, 3).await.unwrap();
    assert_eq!((page.events.len(), page.at_head), (3, false));
    let page = store.log.read_all(page.scanned_to, &filter, 3).await.unwrap();
    assert_eq!((page.events.len(), page.at_head, page.scanned_to), (2, true, head));
}

pub async fn times_cut_the_log_short(store: &OpenStore, clock: &Clock) {
    // Positions 1 to 30, ten to a second.
    for second in 0..3 {
        clock.set(at(second * 1_000));
        append_all(store, (0..10).map(|_| unit([append(message(), 0, 1)])).collect()).await;
    }
    let found = async |from: Option<i64>, to: Option<i64>| -> Vec<u64> {
        let filter = EventFilter {
            recorded_from: from.map(at),
            recorded_to: to.map(at),
            ..EventFilter::default()
        };
        read_all(store, &filter, 4).await.iter().map(|event| event.position.0).collect()
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
