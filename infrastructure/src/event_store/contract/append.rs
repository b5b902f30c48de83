//! What an append takes and what it turns away.

use std::collections::HashMap;

use domain::port::{
    AggregateType, AppendOutcome, AppendUnit, EventFilter, Fence, Metadata, Position, SecretChange,
    StreamId,
};
use domain::primitives::{Actor, ApiKeyId};

use super::super::{IdentityKey, OpenStore};
use super::*;

pub async fn an_event_comes_back_as_it_went_in(store: &OpenStore, clock: &Clock) {
    clock.set(at(5_000));
    let stream = StreamId::new(AggregateType::ApiKey, id());
    let (workspace, account) = (id(), id());
    let mut sent = event("sent");
    sent.event_version = 3;
    sent.payload = r#"{"b": 1, "a":"Grüße 👋 \u0041 \"quoted\"" }"#.to_owned();
    sent.metadata = Metadata {
        actor: Actor::api_key(ApiKeyId(id()), Some("Grüße 👋 \"quoted\"".to_owned())),
        correlation_id: id(),
        causation_id: Some(id()),
        subject: Some(id()),
    };
    let mut wanted = append(stream, 0, 0);
    wanted.workspace_id = Some(workspace);
    wanted.account_id = Some(account);
    wanted.events = vec![sent.clone(), event("delivered")];
    let outcome = append_one(store, unit([wanted])).await;
    let (first, last) = taken(&outcome);
    assert!(Position(0) < first && first < last);
    let AppendOutcome::Appended { recorded_at, .. } = outcome else { unreachable!("it was taken") };
    assert_eq!(recorded_at, at(5_000));

    let events = read(store, stream).await;
    let stored = &events[0];
    assert_eq!(stored.event_id, sent.event_id);
    assert_eq!((stored.stream, stored.sequence), (stream, 1));
    assert!(first <= stored.position && stored.position < last);
    assert_eq!(events[1].position, last);
    assert_eq!((stored.event_type.as_str(), stored.event_version), ("message.sent", 3));
    assert_eq!(stored.payload, sent.payload, "JSON is kept to the letter");
    assert_eq!(stored.metadata, sent.metadata);
    assert_eq!((stored.workspace_id, stored.account_id), (Some(workspace), Some(account)));
    assert_eq!((stored.occurred_at, stored.recorded_at), (sent.occurred_at, at(5_000)));
    assert_eq!(read_all(store, &EventFilter::default(), 10).await, read(store, stream).await);

    let bare = message();
    append_one(store, unit([append(bare, 0, 1)])).await;
    let stored = &read(store, bare).await[0];
    assert_eq!((stored.workspace_id, stored.account_id), (None, None));
}

/// A store may write a cause, a correlation or an actor as a reference to what it has already. Nobody sees that.
pub async fn metadata_comes_back_whatever_it_refers_to(store: &OpenStore, _: &Clock) {
    let (stream, other) = (message(), message());
    let (began, campaign) = (id(), id());
    let mut sent: Vec<NewEvent> = Vec::new();
    let mut next = |cause: Option<Uuid>, correlation_id: Uuid, actor: Actor| {
        let mut event = event("sent");
        event.metadata =
            Metadata { actor, correlation_id, causation_id: cause, subject: cause.map(|_| id()) };
        sent.push(event.clone());
        event
    };
    let mut first = append(stream, 0, 0);
    first.events.push(next(Some(campaign), began, Actor::process("campaign")));
    // Caused by the one before, by the one before that, and by one that is not in the log.
    first.events.push(next(Some(first.events[0].event_id), began, Actor::process("dispatch")));
    first.events.push(next(Some(first.events[0].event_id), began, Actor::process("dispatch")));
    first.events.push(next(Some(id()), id(), Actor::whatsapp()));
    first.events.push(next(None, began, Actor::system("test")));
    let last = first.events[4].event_id;
    taken(&append_one(store, unit([first])).await);
    // In another append, in another stream, with much between.
    let mut second = append(other, 0, 0);
    second.events.push(next(Some(last), began, Actor::whatsapp()));
    taken(&append_one(store, unit([second])).await);
    taken(&append_one(store, unit([append(message(), 0, 700)])).await);
    let mut third = append(stream, 5, 0);
    third.events.push(next(Some(last), began, Actor::process("campaign")));
    third.events.push(next(Some(third.events[0].event_id), id(), Actor::process("campaign")));
    taken(&append_one(store, unit([third])).await);

    let by_id = |events: Vec<StoredEvent>| -> HashMap<Uuid, Metadata> {
        events.into_iter().map(|event| (event.event_id, event.metadata)).collect()
    };
    let mut page = store.log.read_stream_page(stream, 5, 10).await.unwrap();
    page.extend(store.log.read_stream_page(stream, 0, 5).await.unwrap());
    page.extend(read(store, other).await);
    let mut streams = by_id(store.log.read_streams(&[other, stream]).await.unwrap());
    let filter = EventFilter { aggregate_ids: vec![stream.id, other.id], ..EventFilter::default() };
    for (how, found) in [
        ("by stream", std::mem::take(&mut streams)),
        ("in pages of a stream", by_id(page)),
        ("in one page", by_id(read_all(store, &EventFilter::default(), 5_000).await)),
        ("one by one", by_id(read_all(store, &EventFilter::default(), 1).await)),
        ("by filter", by_id(read_all(store, &filter, 3).await)),
    ] {
        for event in &sent {
            assert_eq!(found.get(&event.event_id), Some(&event.metadata), "{how}");
        }
    }
}

pub async fn what_was_turned_away_leaves_no_trace_in_what_follows(store: &OpenStore, _: &Clock) {
    let made_by = |name: &str, event_type: &str, stream| {
        let mut append = append(stream, 0, 0);
        let mut made = event(event_type);
        made.metadata.actor = Actor::system(name);
        append.events = vec![made];
        append
    };
    let known = append(message(), 0, 1);
    taken(&append_one(store, unit([known.clone()])).await);
    // A unit of a kind of its own that cannot be stored, and after it another kind.
    for round in 0..3 {
        let mut broken = made_by(&format!("broken {round}"), &format!("broken_{round}"), message());
        broken.events[0].event_id = known.events[0].event_id;
        store.log.append(vec![unit([broken])]).await.expect_err("an event id is unique");
        let good = made_by(&format!("good {round}"), &format!("good_{round}"), message());
        let (stream, wanted) = (good.stream, good.events[0].clone());
        taken(&append_one(store, unit([good])).await);
        let stored = read(store, stream).await.remove(0);
        assert_eq!((stored.event_type, stored.metadata), (wanted.event_type, wanted.metadata));
    }
}

pub async fn the_expected_sequence_decides(store: &OpenStore, _: &Clock) {
    let stream = message();
    taken(&append_one(store, unit([append(stream, 0, 2)])).await);
    for wrong in [0, 1, 3, u64::MAX] {
        let outcome = append_one(store, unit([append(stream, wrong, 1)])).await;
        assert_eq!(outcome, AppendOutcome::Stale { streams: vec![stream] }, "expected {wrong}");
    }
    taken(&append_one(store, unit([append(stream, 2, 1)])).await);
    let sequences: Vec<_> = read(store, stream).await.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
    // The same id under another type is another stream.
    let twin = StreamId::new(AggregateType::Contact, stream.id);
    taken(&append_one(store, unit([append(twin, 0, 1)])).await);
}

pub async fn a_unit_over_many_streams_is_all_or_nothing(store: &OpenStore, _: &Clock) {
    let (workspace, streams) = (id(), [message(), message(), message()]);
    taken(&append_one(store, unit([append(streams[1], 0, 1)])).await);
    taken(&append_one(store, unit([append(streams[2], 0, 1)])).await);
    let mut whole = unit(streams.map(|stream| append(stream, 0, 2)));
    whole.identities = vec![claim(workspace, b"h", id())];
    whole.idempotency = Some(idempotency(b"k", b"i"));
    whole.secrets = vec![SecretChange { name: "s".to_owned(), sealed: Some(vec![1]) }];
    whole.destroy_keys = vec![streams[0].id];
    let outcome = append_one(store, whole.clone()).await;
    assert_eq!(outcome, AppendOutcome::Stale { streams: vec![streams[1], streams[2]] });
    assert!(read(store, streams[0]).await.is_empty());
    let held =
        IdentityKey { workspace_id: workspace, kind: "phone".to_owned(), hash: b"h".to_vec() };
    assert_eq!(store.identities.lookup(&[held]).await.unwrap(), [None]);
    assert_eq!(store.idempotency.find(b"k").await.unwrap(), None);
    assert_eq!(store.vault.secret("s").await.unwrap(), None);
    assert!(store.vault.data_keys(&[streams[0].id]).await.unwrap().is_empty());

    whole.streams[1].expected = 1;
    whole.streams[2].expected = 1;
    let (first, last) = taken(&append_one(store, whole).await);
    let events = store.log.read_streams(&streams).await.unwrap();
    let sequences: Vec<_> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [1, 2, 1, 2, 3, 1, 2, 3]);
    assert_eq!(events.iter().map(|event| event.position).max(), Some(last));
    assert!(events[..2].iter().all(|event| first <= event.position));
    assert_eq!(store.vault.secret("s").await.unwrap(), Some(vec![1]));
    assert_eq!(
        store.idempotency.find(b"k").await.unwrap().map(|record| record.position),
        Some(last)
    );
}

pub async fn a_stale_unit_among_good_neighbours_is_turned_away_alone(store: &OpenStore, _: &Clock) {
    let moved_on = message();
    taken(&append_one(store, unit([append(moved_on, 0, 1)])).await);
    let good: Vec<_> = (0..6).map(|_| message()).collect();
    let mut units: Vec<_> = good.iter().map(|stream| unit([append(*stream, 0, 2)])).collect();
    units.insert(3, unit([append(message(), 0, 1), append(moved_on, 0, 1)]));
    let outcomes = append_all(store, units).await;
    assert_eq!(outcomes[3], AppendOutcome::Stale { streams: vec![moved_on] });
    let mut head = Position(0);
    for (stream, outcome) in good.iter().zip(outcomes.iter().enumerate().filter(|(n, _)| *n != 3)) {
        let (first, last) = taken(outcome.1);
        let events = read(store, *stream).await;
        assert_eq!((events.len(), events[1].position), (2, last));
        assert!(first <= events[0].position);
        head = head.max(last);
    }
    assert_eq!(store.log.head().await.unwrap(), head);
}

pub async fn units_for_one_stream_follow_each_other(store: &OpenStore, _: &Clock) {
    let (stream, other) = (message(), message());
    let outcomes = append_all(
        store,
        vec![
            unit([append(stream, 0, 1)]),
            unit([append(other, 0, 1)]),
            unit([append(stream, 1, 1)]),
            unit([append(stream, 1, 1)]),
            unit([append(stream, 2, 1)]),
        ],
    )
    .await;
    assert_eq!(outcomes[3], AppendOutcome::Stale { streams: vec![stream] });
    for n in [0, 1, 2, 4] {
        taken(&outcomes[n]);
    }
    assert_eq!(read(store, stream).await.len(), 3);
}

pub async fn a_unit_without_events_may_check_and_write_beside(store: &OpenStore, _: &Clock) {
    let empty = append_one(store, AppendUnit::default()).await;
    assert_eq!(taken(&empty), (Position(0), Position(0)));
    let stream = message();
    let (_, head) = taken(&append_one(store, unit([append(stream, 0, 3)])).await);
    let mut beside = unit([append(stream, 3, 0)]);
    beside.secrets = vec![SecretChange { name: "token".to_owned(), sealed: Some(vec![7]) }];
    assert_eq!(taken(&append_one(store, beside.clone()).await), (head, head));
    beside.streams[0].expected = 2;
    beside.secrets[0].sealed = None;
    assert_eq!(append_one(store, beside).await, AppendOutcome::Stale { streams: vec![stream] });
    assert_eq!(store.vault.secret("token").await.unwrap(), Some(vec![7]));
    assert!(store.log.append(Vec::new()).await.unwrap().is_empty());
}

pub async fn an_identity_has_one_holder(store: &OpenStore, _: &Clock) {
    let (workspace, ann, bob) = (id(), id(), id());
    let with = |identities| AppendUnit { identities, ..unit([append(message(), 0, 1)]) };
    let holder = async |workspace_id, hash: &[u8]| {
        let key = IdentityKey { workspace_id, kind: "phone".to_owned(), hash: hash.to_vec() };
        let missing = IdentityKey { kind: "bsuid".to_owned(), ..key.clone() };
        let found = store.identities.lookup(&[missing, key]).await.unwrap();
        assert_eq!(found[0], None);
        found[1]
    };

    taken(&append_one(store, with(vec![claim(workspace, b"1", ann)])).await);
    assert_eq!(holder(workspace, b"1").await, Some(ann));
    // Again by its holder, and elsewhere by another: no conflict.
    taken(&append_one(store, with(vec![claim(workspace, b"1", ann)])).await);
    taken(&append_one(store, with(vec![claim(id(), b"1", bob)])).await);
    // By another, beside something free: all of it is turned away.
    let outcome =
        append_one(store, with(vec![claim(workspace, b"2", bob), claim(workspace, b"1", bob)]))
            .await;
    assert_eq!(outcome, AppendOutcome::IdentityTaken { index: 1, holder: ann });
    assert_eq!(holder(workspace, b"2").await, None);

    // Only its holder releases it.
    taken(&append_one(store, with(vec![release(workspace, b"1", bob)])).await);
    assert_eq!(holder(workspace, b"1").await, Some(ann));
    let outcome =
        append_one(store, with(vec![release(workspace, b"1", bob), claim(workspace, b"1", bob)]))
            .await;
    assert_eq!(outcome, AppendOutcome::IdentityTaken { index: 1, holder: ann });
    // Handed over in one unit, whatever the order of its changes.
    taken(
        &append_one(store, with(vec![claim(workspace, b"1", bob), release(workspace, b"1", ann)]))
            .await,
    );
    assert_eq!(holder(workspace, b"1").await, Some(bob));

    // Two at once: one wins.
    let both =
        vec![with(vec![claim(workspace, b"3", ann)]), with(vec![claim(workspace, b"3", bob)])];
    let outcomes = append_all(store, both).await;
    taken(&outcomes[0]);
    assert_eq!(outcomes[1], AppendOutcome::IdentityTaken { index: 0, holder: ann });
}

pub async fn an_idempotency_key_is_answered_again(store: &OpenStore, _: &Clock) {
    let stream = message();
    let first = AppendUnit {
        idempotency: Some(idempotency(b"key", b"input")),
        ..unit([append(stream, 0, 2)])
    };
    let (_, last) = taken(&append_one(store, first.clone()).await);
    let mut again = first.clone();
    again.idempotency =
        Some(IdempotencyRecord { result: "other".to_owned(), ..idempotency(b"key", b"else") });
    let record = IdempotencyRecord { position: last, ..idempotency(b"key", b"input") };
    for unit in [first, again] {
        assert_eq!(
            append_one(store, unit).await,
            AppendOutcome::Replayed { record: record.clone() }
        );
    }
    assert_eq!(store.idempotency.find(b"key").await.unwrap(), Some(record));
    assert_eq!(store.idempotency.find(b"none").await.unwrap(), None);
    assert_eq!(read(store, stream).await.len(), 2);

    let twice = [message(), message()].map(|s| AppendUnit {
        idempotency: Some(idempotency(b"2", b"i")),
        ..unit([append(s, 0, 1)])
    });
    let outcomes = append_all(store, twice.to_vec()).await;
    taken(&outcomes[0]);
    assert!(matches!(outcomes[1], AppendOutcome::Replayed { .. }), "{outcomes:?}");
}

pub async fn a_fence_holds_back_the_former_owner(store: &OpenStore, _: &Clock) {
    let fenced = |epoch| AppendUnit {
        fence: Some(Fence { lease: "dispatch".to_owned(), epoch }),
        ..unit([append(message(), 0, 1)])
    };
    assert_eq!(append_one(store, fenced(1)).await, AppendOutcome::Fenced, "no such lease");
    let first = store.leases.acquire("dispatch", "a", PATIENCE).await.unwrap().expect("free");
    taken(&append_one(store, fenced(first.epoch)).await);
    store.leases.release(&first).await.unwrap();
    let second = store.leases.acquire("dispatch", "b", PATIENCE).await.unwrap().expect("given up");
    assert!(second.epoch > first.epoch);
    let outcomes = append_all(
        store,
        vec![fenced(first.epoch), fenced(second.epoch), unit([append(message(), 0, 1)])],
    )
    .await;
    assert_eq!(outcomes[0], AppendOutcome::Fenced);
    taken(&outcomes[1]);
    taken(&outcomes[2]);
}

pub async fn a_unit_is_checked_in_order(store: &OpenStore, _: &Clock) {
    let (workspace, ann) = (id(), id());
    let stream = message();
    let first = AppendUnit {
        idempotency: Some(idempotency(b"k", b"i")),
        identities: vec![claim(workspace, b"1", ann)],
        ..unit([append(stream, 0, 1)])
    };
    let (_, last) = taken(&append_one(store, first).await);

    let mut wrong = AppendUnit {
        idempotency: Some(idempotency(b"k", b"i")),
        fence: Some(Fence { lease: "none".to_owned(), epoch: 1 }),
        identities: vec![claim(workspace, b"1", id())],
        ..unit([append(stream, 0, 1)])
    };
    let record = IdempotencyRecord { position: last, ..idempotency(b"k", b"i") };
    assert_eq!(append_one(store, wrong.clone()).await, AppendOutcome::Replayed { record });
    wrong.idempotency = None;
    assert_eq!(append_one(store, wrong.clone()).await, AppendOutcome::Fenced);
    wrong.fence = None;
    assert_eq!(
        append_one(store, wrong.clone()).await,
        AppendOutcome::Stale { streams: vec![stream] }
    );
    wrong.streams[0].expected = 1;
    assert_eq!(
        append_one(store, wrong).await,
        AppendOutcome::IdentityTaken { index: 0, holder: ann }
    );
}

pub async fn a_unit_that_cannot_be_stored_fails_alone(store: &OpenStore, _: &Clock) {
    let taken_id = append(message(), 0, 1);
    taken(&append_one(store, unit([taken_id.clone()])).await);
    let mut same_id = append(message(), 0, 1);
    same_id.events[0].event_id = taken_id.events[0].event_id;
    let good: Vec<_> = (0..8).map(|_| message()).collect();
    let neighbours =
        good.iter().map(|stream| store.log.append(vec![unit([append(*stream, 0, 1)])]));
    let (neighbours, broken) = futures::join!(
        futures::future::join_all(neighbours),
        store.log.append(vec![unit([same_id.clone()])])
    );
    broken.expect_err("an event id is unique");
    for outcomes in neighbours {
        taken(&outcomes.expect("is not the neighbour's fault")[0]);
    }
    assert!(read(store, same_id.stream).await.is_empty());
    let events = read_all(store, &EventFilter::default(), 100).await;
    assert_eq!(
        (events.len(), events.last().map(|event| event.position)),
        (9, store.log.head().await.ok())
    );
}

pub async fn positions_have_no_holes(store: &OpenStore, _: &Clock) {
    let streams: Vec<_> = (0..9).map(|_| message()).collect();
    let together = [streams[0], streams[1], streams[2]].map(|stream| append(stream, 0, 2));
    assert_eq!(taken(&append_one(store, unit(together)).await), (Position(1), Position(6)));
    let moved_on = unit([append(message(), 0, 1), append(streams[0], 0, 1)]);
    let mut units: Vec<_> =
        streams[3..].iter().map(|stream| unit([append(*stream, 0, 2)])).collect();
    units.insert(3, moved_on);
    let mut positions = Vec::new();
    for (n, outcome) in append_all(store, units).await.iter().enumerate() {
        match outcome {
            AppendOutcome::Stale { .. } => assert_eq!(n, 3),
            taken_outcome => {
                let (first, last) = taken(taken_outcome);
                positions.extend([first.0, last.0]);
            }
        }
    }
    assert_eq!(positions, (7..=18).collect::<Vec<_>>(), "in the order given");
    assert_eq!(store.log.head().await.unwrap(), Position(18));
    let events = read_all(store, &EventFilter::default(), 100).await;
    let found: Vec<_> = events.iter().map(|event| (event.position.0, event.stream)).collect();
    let wanted: Vec<_> = (1..).zip(streams.iter().flat_map(|stream| [*stream; 2])).collect();
    assert_eq!(found, wanted);
}
