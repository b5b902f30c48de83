//! The order of the log, and waiting for it to grow.

use std::collections::HashSet;

use domain::port::{AppendOutcome, EventFilter, Position};

use super::super::OpenStore;
use super::*;

pub async fn recorded_times_never_go_back(store: &OpenStore, clock: &Clock) {
    let mut recorded = Vec::new();
    for ms in [1_000, 2_000, 500, 500, 2_500] {
        clock.set(at(ms));
        let stream = message();
        taken(&append_one(store, unit([append(stream, 0, 1)])).await);
        recorded.push(read(store, stream).await[0].recorded_at);
    }
    assert_eq!(recorded, [1_000, 2_000, 2_000, 2_000, 2_500].map(at));
}

/// Writers race, and a reader follows them closely: what it saw on the way is what there is in the end.
pub async fn positions_never_appear_late(store: &OpenStore, _: &Clock) {
    const WRITERS: usize = 12;
    const UNITS: usize = 40;
    follow_writers(std::slice::from_ref(store), WRITERS, UNITS).await;
}

/// Spreads writers over `nodes`, each a handle of its own on the same log, and follows with a reader on each.
pub async fn follow_writers(nodes: &[OpenStore], writers: usize, units: usize) {
    let writing: Vec<_> = (0..writers)
        .map(|n| {
            let node = nodes[n % nodes.len()].clone();
            tokio::spawn(async move {
                let mut events = 0;
                for round in 0..units {
                    // Small and large units, and one in ten that is turned away.
                    let count = 1 + (n + round) % 4;
                    let expected = if (n + round) % 10 == 9 { 7 } else { 0 };
                    let append =
                        unit([append(message(), expected, count), append(message(), 0, 1)]);
                    match append_one(&node, append).await {
                        AppendOutcome::Appended { first, last, .. } => {
                            assert!(first <= last);
                            events += count + 1;
                        }
                        AppendOutcome::Stale { .. } if expected == 7 => {}
                        other => panic!("{other:?}"),
                    }
                }
                events
            })
        })
        .collect();
    let finished = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reading: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (node, finished) = (node.clone(), finished.clone());
            tokio::spawn(async move {
                let (mut seen, mut after) = (Vec::new(), Position(0));
                loop {
                    let was_finished = finished.load(std::sync::atomic::Ordering::SeqCst);
                    let page = node
                        .log
                        .read_all(after, &EventFilter::default(), 7)
                        .await
                        .expect("the store is there");
                    seen.extend(page.events.iter().map(|event| (event.position, event.event_id)));
                    after = page.scanned_to;
                    if page.at_head && was_finished {
                        return seen;
                    }
                }
            })
        })
        .collect();
    let mut written = 0;
    for writer in writing {
        written += writer.await.expect("the writer is content");
    }
    finished.store(true, std::sync::atomic::Ordering::SeqCst);
    let there: Vec<_> = read_all(&nodes[0], &EventFilter::default(), 1_000)
        .await
        .into_iter()
        .map(|event| (event.position, event.event_id))
        .collect();
    assert_eq!(there.len(), written);
    assert!(there.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for reader in reading {
        let seen = reader.await.expect("the reader is content");
        assert_eq!(seen, there, "a reader missed something or saw it elsewhere");
    }
}

pub async fn concurrent_writers_of_one_stream_lose_nothing(store: &OpenStore, _: &Clock) {
    const WRITERS: usize = 8;
    const EVENTS: usize = 10;
    let stream = message();
    let writing: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                while ids.len() < EVENTS {
                    let expected = read(&store, stream).await.len() as u64;
                    let append = append(stream, expected, 1);
                    let event_id = append.events[0].event_id;
                    match append_one(&store, unit([append])).await {
                        AppendOutcome::Appended { .. } => ids.push(event_id),
                        AppendOutcome::Stale { .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
                ids
            })
        })
        .collect();
    let mut ids = HashSet::new();
    for writer in writing {
        ids.extend(writer.await.expect("the writer is content"));
    }
    let events = read(store, stream).await;
    let sequences: Vec<_> = events.iter().map(|event| event.sequence as usize).collect();
    assert_eq!(sequences, (1..=WRITERS * EVENTS).collect::<Vec<_>>());
    assert_eq!(events.iter().map(|event| event.event_id).collect::<HashSet<_>>(), ids);
}

pub async fn a_waiting_reader_wakes(store: &OpenStore, _: &Clock) {
    let (_, head) = taken(&append_one(store, unit([append(message(), 0, 1)])).await);
    within_patience("what is there already", store.log.changed(Position(0))).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.log.changed(head).await })
        })
        .collect();
    taken(&append_one(store, unit([append(message(), 0, 1)])).await);
    for reader in waiting {
        within_patience("waking", reader).await.expect("the reader is content");
    }
}
