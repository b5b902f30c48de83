//! What every store must do, as tests: each function takes a fresh store whose clock is the given one, and panics where
//! the store breaks its promise. [`event_store_contract!`] makes a test of each.
//!
//! [`event_store_contract!`]: crate::event_store_contract

mod append;
mod beside;
mod order;
mod read;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::port::{
    AggregateType, AppendOutcome, AppendUnit, EventFilter, IdempotencyRecord, IdentityChange,
    Metadata, NewEvent, Position, StoredEvent, StreamAppend, StreamId,
};
use domain::primitives::Actor;
use uuid::Uuid;

pub use append::*;
pub use beside::*;
pub use order::*;
pub use read::*;

use super::OpenStore;
use crate::clock::ManualClock;

/// Every case of the contract as a test. `$fixture` is an async function that gives `Option<T>` (`None`: the store is
/// not there, the test leaves itself out), where `T` has the methods `store()` and `clock()`.
///
/// With `stream_by_stream` before it, those cases only that hold where one append cannot hold several streams: positions
/// have holes there, the events of a unit need not stand together, and an event id is unique in its stream alone.
#[macro_export]
macro_rules! event_store_contract {
    (stream_by_stream $fixture:path) => {
        $crate::event_store_contract!(@cases $fixture:
            an_event_comes_back_as_it_went_in,
            metadata_comes_back_whatever_it_refers_to,
            the_expected_sequence_decides,
            a_unit_over_many_streams_is_all_or_nothing,
            a_stale_unit_among_good_neighbours_is_turned_away_alone,
            units_for_one_stream_follow_each_other,
            a_unit_without_events_may_check_and_write_beside,
            an_identity_has_one_holder,
            an_idempotency_key_is_answered_again,
            a_fence_holds_back_the_former_owner,
            a_unit_is_checked_in_order,
            recorded_times_never_go_back,
            positions_never_appear_late,
            concurrent_writers_of_one_stream_lose_nothing,
            a_waiting_reader_wakes,
            streams_are_read_together_and_in_pages,
            pages_cover_the_log_once,
            filters_hold_together,
            a_sparse_filter_finds_all_and_the_head,
            times_cut_the_log_short,
            a_data_key_is_made_once_and_destroyed_for_good,
            a_unit_sealed_with_a_key_that_lost_is_stale,
            data_keys_are_wrapped_anew_one_by_one,
            secrets_are_replaced_and_removed,
            a_lease_has_one_owner_and_an_epoch,
            meta_is_compared_and_set,
            idempotency_records_are_forgotten_in_time,
        );
    };
    ($fixture:path) => {
        $crate::event_store_contract!(stream_by_stream $fixture);
        $crate::event_store_contract!(@cases $fixture:
            positions_have_no_holes,
            what_was_turned_away_leaves_no_trace_in_what_follows,
            a_unit_that_cannot_be_stored_fails_alone,
            one_call_looks_at_so_many_positions,
        );
    };
    (@cases $fixture:path: $($case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            let Some(fixture) = $fixture().await else { return };
            $crate::event_store::contract::$case(fixture.store(), fixture.clock()).await;
        }
    )*};
}

/// Long enough for a slow machine under load; a store that needs it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn id() -> Uuid {
    Uuid::now_v7()
}

pub(crate) fn message() -> StreamId {
    StreamId::new(AggregateType::Message, id())
}

pub(crate) fn event(name: &str) -> NewEvent {
    NewEvent {
        event_id: id(),
        event_type: format!("message.{name}"),
        event_version: 1,
        payload: format!(r#"{{"type":"message.{name}"}}"#),
        metadata: metadata(id()),
        occurred_at: at(0),
    }
}

pub(crate) fn metadata(correlation_id: Uuid) -> Metadata {
    Metadata {
        actor: Actor::process("contract"),
        correlation_id,
        causation_id: None,
        subject: None,
    }
}

pub(crate) fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_780_000_000_000 + ms).expect("a moment")
}

/// `count` events for a stream that has `expected`.
pub(crate) fn append(stream: StreamId, expected: u64, count: usize) -> StreamAppend {
    let events = (0..count).map(|_| event("sent")).collect();
    StreamAppend { stream, expected, workspace_id: None, account_id: None, events }
}

pub(crate) fn unit(streams: impl IntoIterator<Item = StreamAppend>) -> AppendUnit {
    AppendUnit { streams: streams.into_iter().collect(), ..AppendUnit::default() }
}

pub(crate) fn claim(workspace_id: Uuid, hash: &[u8], holder: Uuid) -> IdentityChange {
    IdentityChange::Claim { workspace_id, kind: "phone".to_owned(), hash: hash.to_vec(), holder }
}

pub(crate) fn release(workspace_id: Uuid, hash: &[u8], holder: Uuid) -> IdentityChange {
    IdentityChange::Release { workspace_id, kind: "phone".to_owned(), hash: hash.to_vec(), holder }
}

pub(crate) fn idempotency(key: &[u8], input: &[u8]) -> IdempotencyRecord {
    IdempotencyRecord {
        key_hash: key.to_vec(),
        input_hash: input.to_vec(),
        result: r#"{"id":"1"}"#.to_owned(),
        recorded_at: at(0),
        position: Position(0),
    }
}

pub(crate) async fn append_all(store: &OpenStore, units: Vec<AppendUnit>) -> Vec<AppendOutcome> {
    store.log.append(units).await.expect("the store is there")
}

pub(crate) async fn append_one(store: &OpenStore, unit: AppendUnit) -> AppendOutcome {
    append_all(store, vec![unit]).await.pop().expect("one unit, one outcome")
}

/// The positions, where it was taken.
#[track_caller]
pub(crate) fn taken(outcome: &AppendOutcome) -> (Position, Position) {
    match outcome {
        AppendOutcome::Appended { first, last, .. } => (*first, *last),
        other => panic!("was not taken: {other:?}"),
    }
}

pub(crate) async fn read(store: &OpenStore, stream: StreamId) -> Vec<StoredEvent> {
    store.log.read_streams(&[stream]).await.expect("the store is there")
}

/// The whole log, in pages of `limit`.
pub(crate) async fn read_all(
    store: &OpenStore,
    filter: &EventFilter,
    limit: usize,
) -> Vec<StoredEvent> {
    let (mut events, mut after) = (Vec::new(), Position(0));
    loop {
        let page = store.log.read_all(after, filter, limit).await.expect("the store is there");
        assert!(page.events.len() <= limit);
        assert!(
            page.at_head || page.scanned_to > after,
            "a page that is not the last one moves on"
        );
        events.extend(page.events);
        after = page.scanned_to;
        if page.at_head {
            return events;
        }
    }
}

/// Where events stand among all events of the log, from 1.
pub(crate) async fn places(store: &OpenStore, events: &[StoredEvent]) -> Vec<usize> {
    let all = read_all(store, &EventFilter::default(), 1_000).await;
    let place = |event: &StoredEvent| all.iter().position(|found| found == event);
    events.iter().map(|event| 1 + place(event).expect("it is in the log")).collect()
}

pub(crate) async fn within_patience<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took more than {PATIENCE:?}"),
    }
}

pub(crate) type Clock = Arc<ManualClock>;
