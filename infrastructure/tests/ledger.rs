//! The command bus, the key ring and the log together, on each real store.

mod ledger_support;

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::contact::{ConsentStatus, Contact, ContactCommand, ContactError, SUPPRESSION_SOURCE};
use domain::message::{Message, MessageError};
use domain::port::{
    AggregateType, AppendUnit, Clock, EventFeed, EventFilter, FeedError, Fence, Metadata, NewEvent,
    Position, StreamAppend, StreamId,
};
use domain::primitives::{Actor, Personal};
use domain::segment::{Segment, SegmentCommand};
use domain::{DomainError, Identity};
use infrastructure::clock::{ManualClock, SystemClock};
use infrastructure::crypto::secret::Secret;
use infrastructure::ledger::{
    CommandError, Context, Idempotency, Refusal, TransactError, erase_contact, erase_contact_in,
};
use ledger_support::*;
use uuid::Uuid;

on_both_stores! {
    commands_that_meet_on_one_stream_are_all_taken_in_some_order,
    a_command_is_decided_on_what_is_true_even_where_memory_says_otherwise,
    a_repeated_command_writes_nothing_and_says_where_its_stream_is,
    an_expected_sequence_that_is_not_the_streams_is_a_conflict,
    many_commands_are_answered_in_order_and_those_of_one_stream_build_on_each_other,
    of_many_commands_only_those_that_lost_are_decided_again,
    an_identity_has_one_holder_until_it_is_given_up,
    a_taken_identity_does_not_stand_in_the_way_of_the_streams_other_commands,
    a_transaction_is_taken_as_a_whole_and_moves_identities_within_it,
    a_transaction_that_lost_runs_again_and_may_be_spawned,
    what_is_repeated_under_its_key_is_answered_as_it_was_at_first,
    of_two_requests_under_one_key_one_is_done_and_the_other_is_told_of_it,
    an_erased_person_is_gone_from_the_log_and_the_log_is_whole,
    erasing_by_the_command_alone_destroys_the_key_too,
    whoever_brings_a_suppressed_number_back_has_opted_out_in_the_same_append,
    a_number_that_goes_from_one_half_of_a_person_to_the_other_is_asked_of_once,
    the_feed_gives_events_in_order_in_the_clear_and_marked,
    an_event_of_a_newer_gateway_says_so,
    a_stream_goes_on_under_what_it_began_with_and_each_event_is_the_answer_to_the_one_before,
    a_fence_that_has_moved_on_turns_the_command_away,
    writers_that_meet_a_person_without_a_key_end_up_with_one,
    a_stream_under_contention_still_gets_its_commands_one_by_one,
    what_can_never_be_read_again_is_refused_and_its_neighbours_are_taken,
    on_a_log_of_ones_own_memory_answers,
    what_was_appended_for_somebody_who_went_away_is_answered,
    on_a_shared_log_memory_answers_only_who_says_how_old_it_may_be,
}

async fn on_a_log_of_ones_own_memory_answers(store: TestStore) {
    let log = Arc::new(WatchedLog::over(store.store(), true));
    let keys = store.bus().keys().clone();
    let bus = bus_on(store.store(), log.clone(), keys, Arc::new(SystemClock));
    let contact = Uuid::now_v7();
    bus.execute::<Contact>(contact, add(contact, "+447700900001"), &context()).await.unwrap();
    bus.execute::<Contact>(contact, tag("a"), &context()).await.unwrap();
    log.take_reads();
    let known = bus.load::<Contact>(contact).await.unwrap().unwrap();
    assert_eq!(log.take_reads(), 0);
    let read = store.bus().load::<Contact>(contact).await.unwrap().unwrap();
    assert_eq!((known.sequence, known.position), (read.sequence, read.position));
    assert_eq!(known.aggregate, read.aggregate);
    // A repetition that writes nothing is not doubted either.
    let again = bus.execute::<Contact>(contact, tag("a"), &context()).await.unwrap();
    assert_eq!((again.events, again.position, log.take_reads()), (0, read.position, 0));
    // What was erased is read anew, with nothing of the person in it.
    erase_contact(&bus, contact, "asked for it", &context()).await.unwrap();
    let erased = bus.load::<Contact>(contact).await.unwrap().unwrap().aggregate;
    assert!(erased.erased && log.take_reads() == 1);
    assert!(!format!("{:?}", erased.details.phone).contains("447700900001"));
}

async fn what_was_appended_for_somebody_who_went_away_is_answered(store: TestStore) {
    let log = Arc::new(WatchedLog::over(store.store(), true));
    let keys = store.bus().keys().clone();
    let bus = bus_on(store.store(), log.clone(), keys, Arc::new(SystemClock));
    let contact = Uuid::now_v7();
    bus.execute::<Contact>(contact, add(contact, "+447700900001"), &context()).await.unwrap();
    log.hold_appends();
    let asking = tokio::spawn({
        let bus = bus.clone();
        async move { bus.execute::<Contact>(contact, tag("a"), &context()).await }
    });
    let head = store.ledger().head().await.unwrap();
    while !log.has_waiting_append() {
        tokio::task::yield_now().await;
    }
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    log.let_appends_go();
    store.ledger().changed(head).await;
    let told = async {
        while bus.load::<Contact>(contact).await.unwrap().unwrap().sequence < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), told).await.expect("it is known");
}

async fn on_a_shared_log_memory_answers_only_who_says_how_old_it_may_be(store: TestStore) {
    let clock = Arc::new(ManualClock::new(store.clock_now()));
    let log = Arc::new(WatchedLog::over(store.store(), false));
    let bus = bus_on(store.store(), log.clone(), store.bus().keys().clone(), clock.clone());
    let age = std::time::Duration::from_millis(500);
    let segment = Uuid::now_v7();
    let other = store.bus();
    let create = SegmentCommand::Create {
        workspace_id: WORKSPACE,
        name: "VIPs".to_owned(),
        rule: serde_json::json!({ "tag": "vip" }),
        at: clock.now(),
    };
    other.execute::<Segment>(segment, create, &context()).await.unwrap();
    let recalled = async || bus.recall::<Segment>(segment, age).await.unwrap().unwrap().sequence;
    assert_eq!((recalled().await, log.take_reads()), (1, 1));
    assert_eq!((recalled().await, log.take_reads()), (1, 0));
    let delete = SegmentCommand::Delete { at: clock.now() };
    other.execute::<Segment>(segment, delete, &context()).await.unwrap();
    assert_eq!((recalled().await, log.take_reads()), (1, 0), "young enough");
    assert_eq!(bus.load::<Segment>(segment).await.unwrap().unwrap().sequence, 2, "exact");
    assert_eq!((recalled().await, log.take_reads()), (2, 1), "and known from then on");
    clock.advance(std::time::Duration::from_millis(501));
    assert_eq!((recalled().await, log.take_reads()), (2, 1), "too old");
}

async fn commands_that_meet_on_one_stream_are_all_taken_in_some_order(store: TestStore) {
    let contact = store.add_contact("+447700900001").await;
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let bus = store.bus();
            tokio::spawn(async move {
                bus.execute::<Contact>(contact, tag(&format!("t{n}")), &context()).await.unwrap()
            })
        })
        .collect();
    let mut sequences = BTreeSet::new();
    for task in tasks {
        let committed = task.await.unwrap();
        assert_eq!(committed.events, 1);
        sequences.insert(committed.sequence);
    }
    assert_eq!(sequences, (2..=41).collect());
    let loaded = store.bus().load::<Contact>(contact).await.unwrap().unwrap();
    assert_eq!((loaded.aggregate.tags.len(), loaded.sequence), (40, 41));
    assert_eq!(loaded.position, store.ledger().head().await.unwrap());
}

async fn a_command_is_decided_on_what_is_true_even_where_memory_says_otherwise(store: TestStore) {
    let (one, other) = (store.bus(), store.another_bus());
    let contact = store.add_contact("+447700900001").await;
    one.execute::<Contact>(contact, tag("a"), &context()).await.unwrap();
    // Now `one` remembers the contact, and `other` changes it.
    let untag = || update(|changes| changes.remove_tags = ["a".to_owned()].into());
    other.execute::<Contact>(contact, untag(), &context()).await.unwrap();
    let again = one.execute::<Contact>(contact, tag("a"), &context()).await.unwrap();
    assert_eq!((again.events, again.sequence), (1, 4));
    erase_contact(&other, contact, "asked", &context()).await.unwrap();
    let refused = one.execute::<Contact>(contact, tag("b"), &context()).await.unwrap_err();
    assert!(matches!(refused, CommandError::Domain(ContactError::Erased)), "{refused}");
}

async fn a_repeated_command_writes_nothing_and_says_where_its_stream_is(store: TestStore) {
    let contact = store.add_contact("+447700900001").await;
    let first = store.bus().execute::<Contact>(contact, tag("a"), &context()).await.unwrap();
    store.add_contact("+447700900002").await;
    let again = store.bus().execute::<Contact>(contact, tag("a"), &context()).await.unwrap();
    assert_eq!((again.events, again.sequence, again.position), (0, 2, first.position));
}

async fn an_expected_sequence_that_is_not_the_streams_is_a_conflict(store: TestStore) {
    let contact = store.add_contact("+447700900001").await;
    let bus = store.bus();
    let at = |expected| {
        let bus = bus.clone();
        async move {
            bus.execute_expecting::<Contact>(contact, Some(expected), tag("a"), &context()).await
        }
    };
    assert!(matches!(at(7).await, Err(CommandError::Conflict { expected: 7, actual: 1 })));
    assert_eq!(at(1).await.unwrap().sequence, 2);
    assert!(matches!(at(1).await, Err(CommandError::Conflict { expected: 1, actual: 2 })));
}

async fn many_commands_are_answered_in_order_and_those_of_one_stream_build_on_each_other(
    store: TestStore,
) {
    let (a, b) =
        (store.add_contact("+447700900001").await, store.add_contact("+447700900002").await);
    let unknown = Uuid::from_u128(99);
    let commands = vec![
        (a, tag("x"), context()),
        (b, tag("x"), context()),
        (a, tag("x"), context()),
        (unknown, tag("x"), context()),
        (a, tag("y"), context()),
    ];
    let results = store.bus().execute_many::<Contact>(commands).await;
    let sequences: Vec<_> =
        results.iter().map(|r| r.as_ref().ok().map(|c| (c.sequence, c.events))).collect();
    assert_eq!(sequences, [Some((2, 1)), Some((2, 1)), Some((2, 0)), None, Some((3, 1))]);
    assert!(matches!(results[3], Err(CommandError::Domain(ContactError::NotFound))));
    let position = |n: usize| results[n].as_ref().unwrap().position;
    assert_eq!(position(0), position(4), "one unit, one position");
    assert_eq!(results[0].as_ref().unwrap().aggregate.tags.len(), 1);
    assert_eq!(results[4].as_ref().unwrap().aggregate.tags.len(), 2);
}

async fn of_many_commands_only_those_that_lost_are_decided_again(store: TestStore) {
    let mut contacts = Vec::new();
    for n in 0..30 {
        contacts.push(store.add_contact(&format!("+4477009000{n:02}")).await);
    }
    // Buses of their own, so that neither knows what the other wrote.
    let tasks: Vec<_> = (0..4)
        .map(|n| {
            let (bus, contacts) = (store.another_bus(), contacts.clone());
            tokio::spawn(async move {
                let command = |id: &Uuid| (*id, tag(&format!("t{n}")), context());
                bus.execute_many::<Contact>(contacts.iter().map(command).collect()).await
            })
        })
        .collect();
    for task in tasks {
        for result in task.await.unwrap() {
            assert_eq!(result.unwrap().events, 1);
        }
    }
    for loaded in store.bus().load_many::<Contact>(&contacts).await.unwrap().values() {
        assert_eq!((loaded.aggregate.tags.len(), loaded.sequence), (4, 5));
    }
}

async fn an_identity_has_one_holder_until_it_is_given_up(store: TestStore) {
    let bus = store.bus();
    let holder = store.add_contact("+447700900001").await;
    let late = Uuid::from_u128(2);
    let taken = bus.execute::<Contact>(late, add(late, "+447700900001"), &context()).await;
    let Err(CommandError::IdentityTaken { kind, holder: told }) = taken else {
        panic!("{taken:?}")
    };
    assert_eq!((kind.as_str(), told), (Identity::PHONE, holder));
    assert!(bus.load::<Contact>(late).await.unwrap().is_none());

    let numbers = [phone("+447700900001"), phone("+447700900009")];
    assert_eq!(bus.resolve_identities(&numbers).await.unwrap(), [Some(holder), None]);
    bus.execute::<Contact>(holder, change_phone("+447700900009"), &context()).await.unwrap();
    assert_eq!(bus.resolve_identities(&numbers).await.unwrap(), [None, Some(holder)]);
    bus.execute::<Contact>(late, add(late, "+447700900001"), &context()).await.unwrap();
    assert_eq!(bus.resolve_identities(&numbers).await.unwrap(), [Some(late), Some(holder)]);
}

async fn a_taken_identity_does_not_stand_in_the_way_of_the_streams_other_commands(
    store: TestStore,
) {
    let (a, b) =
        (store.add_contact("+447700900001").await, store.add_contact("+447700900002").await);
    let commands = vec![
        (b, tag("x"), context()),
        (b, change_phone("+447700900001"), context()),
        (b, tag("y"), context()),
    ];
    let results = store.bus().execute_many::<Contact>(commands).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(matches!(&results[1], Err(CommandError::IdentityTaken { holder, .. }) if *holder == a));
    let loaded = store.bus().load::<Contact>(b).await.unwrap().unwrap().aggregate;
    assert_eq!(loaded.tags.len(), 2);
    assert_eq!(loaded.phone().unwrap().as_str(), "+447700900002");
}

async fn a_transaction_is_taken_as_a_whole_and_moves_identities_within_it(store: TestStore) {
    let bus = store.bus();
    let (from, to) = (store.add_contact("+447700900001").await, Uuid::from_u128(2));
    let (sequence, position) = bus
        .transact(&context(), None, |tx| {
            Box::pin(async move {
                tx.execute::<Contact>(from, change_phone("+447700900003")).await?;
                let contact = tx.execute::<Contact>(to, add(to, "+447700900001")).await?;
                assert!(contact.phone().is_some());
                tx.put_secret("account/1/access_token", Some(&Secret::new("EAAG-secret")));
                Ok::<_, CommandError<ContactError>>(tx.load::<Contact>(to).await?.unwrap().sequence)
            })
        })
        .await
        .unwrap();
    assert_eq!((sequence, position), (1, bus.ledger().head().await.unwrap()));
    let numbers = [phone("+447700900001"), phone("+447700900003")];
    assert_eq!(bus.resolve_identities(&numbers).await.unwrap(), [Some(to), Some(from)]);
    let secret = bus.keys().secret("account/1/access_token").await.unwrap().unwrap();
    assert!(secret.matches("EAAG-secret"));

    // Two for one number: neither is taken, nor anything beside them.
    let (x, y) = (Uuid::from_u128(3), Uuid::from_u128(4));
    let result = bus
        .transact(&context(), None, |tx| {
            Box::pin(async move {
                tx.put_secret("account/1/access_token", None);
                tx.execute::<Contact>(x, add(x, "+447700900005")).await?;
                tx.execute::<Contact>(y, add(y, "+447700900005")).await?;
                Ok::<_, CommandError<ContactError>>(())
            })
        })
        .await;
    assert!(matches!(result, Err(TransactError::IdentityTaken { holder, .. }) if holder == x));
    assert!(bus.load_many::<Contact>(&[x, y]).await.unwrap().is_empty());
    assert!(bus.keys().secret("account/1/access_token").await.unwrap().is_some());
}

async fn a_transaction_that_lost_runs_again_and_may_be_spawned(store: TestStore) {
    let contact = store.add_contact("+447700900001").await;
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let bus = store.another_bus();
            tokio::spawn(async move {
                let (message, name) = (Uuid::from_u128(100 + n), &format!("t{n}"));
                let mut runs = 0;
                let result = bus
                    .transact(&context(), None, |tx| {
                        runs += 1;
                        Box::pin(async move {
                            tx.execute::<Contact>(contact, tag(name)).await?;
                            let hello = vec![(message, plan(contact, "hello"))];
                            tx.execute_new::<Message>(hello).await?;
                            Ok::<_, CommandError<Refusal>>(())
                        })
                    })
                    .await;
                (result.map(|_| ()), runs)
            })
        })
        .collect();
    let mut runs = 0;
    for task in tasks {
        let (result, ran) = task.await.unwrap();
        result.unwrap();
        runs += ran;
    }
    assert!(runs >= 6);
    let loaded = store.bus().load::<Contact>(contact).await.unwrap().unwrap();
    assert_eq!(loaded.aggregate.tags.len(), 6);
    // A repeat meets its own streams and finds nothing left to do.
    let head = store.ledger().head().await.unwrap();
    let repeat = async |contact: Uuid| {
        let plan = plan(contact, "hello");
        let bus = store.bus();
        bus.transact(&context(), None, |tx| {
            let commands = vec![(Uuid::from_u128(100), plan.clone())];
            Box::pin(async move {
                tx.execute_new::<Message>(commands).await?;
                Ok::<_, CommandError<Refusal>>(())
            })
        })
        .await
    };
    repeat(contact).await.unwrap();
    assert_eq!(store.ledger().head().await.unwrap(), head);
    let refused = repeat(Uuid::from_u128(77)).await;
    let Err(TransactError::Command(CommandError::Domain(refusal))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.downcast_ref(), Some(&MessageError::AlreadyPlanned));
    assert_eq!(refusal.error().code(), MessageError::AlreadyPlanned.code());
}

async fn what_is_repeated_under_its_key_is_answered_as_it_was_at_first(store: TestStore) {
    let bus = store.bus();
    let key = Idempotency {
        api_key_id: Uuid::from_u128(5),
        key: "order-1".to_owned(),
        input_json_canonical: r#"{"name":"Ana"}"#.to_owned(),
    };
    let run = async |idempotency: &Idempotency, id: Uuid, number: &str| {
        let command = add(id, number);
        bus.transact(&context(), Some(idempotency), |tx| {
            let command = command.clone();
            Box::pin(async move {
                tx.execute::<Contact>(id, command).await?;
                tx.set_result(format!("\"{id}\""));
                Ok::<_, CommandError<ContactError>>(())
            })
        })
        .await
    };
    let id = Uuid::from_u128(1);
    let ((), position) = run(&key, id, "+447700900001").await.unwrap();
    assert_eq!(
        bus.find_idempotent::<ContactError>(&key).await.unwrap().unwrap().position,
        position
    );
    let replayed = run(&key, Uuid::from_u128(2), "+447700900002").await;
    let Err(TransactError::Replayed { result, position: first }) = replayed else {
        panic!("{replayed:?}")
    };
    assert_eq!((result, first), (format!("\"{id}\""), position));
    let other_input = Idempotency { input_json_canonical: "{}".to_owned(), ..key.clone() };
    let reused = run(&other_input, id, "+447700900001").await;
    assert!(matches!(reused, Err(TransactError::IdempotencyReused)), "{reused:?}");
    let other_caller = Idempotency { api_key_id: Uuid::from_u128(6), ..key.clone() };
    run(&other_caller, Uuid::from_u128(2), "+447700900002").await.unwrap();
    // A refused one leaves its key free.
    let key = Idempotency { key: "order-2".to_owned(), ..key };
    let taken = run(&key, Uuid::from_u128(3), "+447700900001").await;
    assert!(matches!(taken, Err(TransactError::IdentityTaken { .. })));
    run(&key, Uuid::from_u128(3), "+447700900003").await.unwrap();
}

async fn of_two_requests_under_one_key_one_is_done_and_the_other_is_told_of_it(store: TestStore) {
    let key = Idempotency {
        api_key_id: Uuid::from_u128(5),
        key: "order-1".to_owned(),
        input_json_canonical: "{}".to_owned(),
    };
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (bus, key) = (store.another_bus(), key.clone());
            tokio::spawn(async move {
                let id = Uuid::from_u128(100 + n);
                bus.transact(&context(), Some(&key), |tx| {
                    Box::pin(async move {
                        tx.execute::<Contact>(id, add(id, "+447700900001")).await?;
                        tx.set_result(format!("\"{id}\""));
                        Ok::<_, CommandError<ContactError>>(id)
                    })
                })
                .await
            })
        })
        .collect();
    let mut done = Vec::new();
    let mut told = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok((id, _)) => done.push(format!("\"{id}\"")),
            Err(TransactError::Replayed { result, .. }) => told.push(result),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((done.len(), told.len()), (1, 7));
    assert!(told.iter().all(|result| *result == done[0]));
}

async fn an_erased_person_is_gone_from_the_log_and_the_log_is_whole(store: TestStore) {
    let (bus, other) = (store.bus(), store.another_node().await);
    let number = "+447700900123";
    let (contact, message) = (Uuid::from_u128(1), Uuid::from_u128(100));
    bus.execute::<Contact>(contact, add(contact, number), &context()).await.unwrap();
    let evidence = "stop writing to me";
    bus.execute::<Contact>(contact, opt_out(evidence), &context()).await.unwrap();
    bus.execute::<Message>(message, plan(contact, "Dear Ana"), &context()).await.unwrap();
    // The other node has the key in memory.
    let loaded = other.load::<Contact>(contact).await.unwrap().unwrap();
    assert_eq!(loaded.aggregate.phone().unwrap().as_str(), number);
    store.assert_nowhere(&["447700900123", "Ana", evidence, "Dear"]).await;

    let (erasure, _) = erase_contact(&bus, contact, "asked for it", &context()).await.unwrap();
    assert_eq!(erasure.suppressions.len(), 1);
    assert!(erasure.contact.erased);
    assert_eq!(bus.resolve_identities(&[phone(number)]).await.unwrap(), [None]);
    assert_eq!(
        bus.are_suppressed(&[phone(number), phone("+447700900001")]).await.unwrap(),
        [true, false]
    );

    let since = store.clock_now() - chrono::TimeDelta::minutes(1);
    let (forgotten, _) = other.keys().forget_destroyed(since).await.unwrap();
    assert_eq!(forgotten, [contact]);
    for bus in [&bus, &other, &store.another_node().await] {
        let message = bus.load::<Message>(message).await.unwrap().unwrap().aggregate;
        assert_eq!(message.counterpart, Some(Personal::Erased));
        assert_eq!(message.content, Some(Personal::Erased));
        let contact = bus.load::<Contact>(contact).await.unwrap().unwrap().aggregate;
        assert!(contact.erased && contact.has_opted_out() && contact.phone().is_none());
    }
    // What is still said about them keeps nothing personal, and needs no key.
    let late = Uuid::from_u128(101);
    bus.execute::<Message>(late, plan(contact, "Dear Ana"), &context()).await.unwrap();
    let late = bus.load::<Message>(late).await.unwrap().unwrap().aggregate;
    assert_eq!(late.content, Some(Personal::Erased));
    store.assert_nowhere(&["447700900123", "Ana", evidence, "Dear"]).await;

    // Erased again: nothing. Somebody new with that number can come, and go.
    let (again, _) = erase_contact(&bus, contact, "again", &context()).await.unwrap();
    assert!(again.suppressions.is_empty());
    let next = Uuid::from_u128(2);
    bus.execute::<Contact>(next, add(next, number), &context()).await.unwrap();
    bus.execute::<Contact>(next, opt_out(evidence), &context()).await.unwrap();
    bus.transact(&context(), None, |tx| Box::pin(erase_contact_in(tx, next, "asked")))
        .await
        .unwrap();
    assert_eq!(bus.are_suppressed(&[phone(number)]).await.unwrap(), [true]);
    bus.transact(&context(), None, |tx| {
        Box::pin(async move {
            tx.release_suppression(&phone(number));
            Ok::<_, FeedError>(())
        })
    })
    .await
    .unwrap();
    assert_eq!(bus.are_suppressed(&[phone(number)]).await.unwrap(), [false]);
}

async fn erasing_by_the_command_alone_destroys_the_key_too(store: TestStore) {
    let contact = store.add_contact("+447700900001").await;
    let at = store.clock_now();
    let erase = ContactCommand::Erase { reason: "x".to_owned(), suppressions: vec![], at };
    store.bus().execute::<Contact>(contact, erase, &context()).await.unwrap();
    let filter = EventFilter::default();
    for node in [store.bus(), store.another_node().await] {
        let page = node.ledger().read_after(Position(0), &filter, 10).await.unwrap();
        assert_eq!(page.events[0].data["phone"], serde_json::json!({"$e": true}));
    }
}

/// Somebody opted out under this number and was erased.
async fn suppress(store: &TestStore, number: &str) {
    let contact = store.add_contact(number).await;
    store.bus().execute::<Contact>(contact, opt_out("stop"), &context()).await.unwrap();
    erase_contact(&store.bus(), contact, "asked for it", &context()).await.unwrap();
}

fn has_opted_out_by_the_list(contact: &Contact) -> bool {
    let word = contact.consent.general.as_ref();
    contact.has_opted_out() && word.is_some_and(|word| word.source == SUPPRESSION_SOURCE)
}

async fn whoever_brings_a_suppressed_number_back_has_opted_out_in_the_same_append(
    store: TestStore,
) {
    let number = "+447700900123";
    suppress(&store, number).await;
    let bus = store.bus();
    let head = async || bus.ledger().head().await.unwrap();
    // Added.
    let id = Uuid::from_u128(0x51);
    let before = head().await;
    let added = bus.execute::<Contact>(id, add(id, number), &context()).await.unwrap();
    assert!(has_opted_out_by_the_list(&added.aggregate));
    assert_eq!((added.events, added.sequence), (2, 2));
    assert_eq!((head().await.0, added.position), (before.0 + 2, head().await));
    let loaded = bus.load::<Contact>(id).await.unwrap().unwrap();
    assert_eq!((loaded.aggregate, loaded.sequence), (added.aggregate, 2));
    // Told again, it is nothing; and what somebody decides on it afterwards stands.
    assert_eq!(bus.execute::<Contact>(id, add(id, number), &context()).await.unwrap().events, 0);
    let tagged = bus.execute::<Contact>(id, tag("vip"), &context()).await.unwrap();
    assert_eq!(tagged.events, 1);
    bus.execute::<Contact>(id, change_phone("+447700900001"), &context()).await.unwrap();

    // Changed to.
    let other = store.add_contact("+447700900002").await;
    let changed = bus.execute::<Contact>(other, change_phone(number), &context()).await.unwrap();
    assert!(has_opted_out_by_the_list(&changed.aggregate));
    bus.execute::<Contact>(other, change_phone("+447700900003"), &context()).await.unwrap();

    // One of many, whatever follows it for the same person.
    let (third, fourth) = (Uuid::from_u128(0x53), Uuid::from_u128(0x54));
    let commands = [
        (third, add(third, number)),
        (fourth, add(fourth, "+447700900004")),
        (third, opt_in()),
        (third, tag("vip")),
    ];
    let commands = commands.into_iter().map(|(id, command)| (id, command, context())).collect();
    let answers = bus.execute_many::<Contact>(commands).await;
    let events: Vec<usize> = answers.iter().map(|answer| answer.as_ref().unwrap().events).collect();
    assert_eq!(events, [1, 1, 1, 2]);
    let people = bus.load_many::<Contact>(&[third, fourth]).await.unwrap();
    assert!(has_opted_out_by_the_list(&people[&third].aggregate));
    assert!(!people[&fourth].aggregate.has_opted_out());
    bus.execute::<Contact>(third, change_phone("+447700900005"), &context()).await.unwrap();

    // In a transaction, which sees it at once.
    let fifth = Uuid::from_u128(0x55);
    bus.transact(&context(), None, |tx| {
        Box::pin(async move {
            let added = tx.execute::<Contact>(fifth, add(fifth, number)).await?;
            assert!(has_opted_out_by_the_list(added));
            // The list has spoken.
            assert!(!tx.execute::<Contact>(fifth, opt_in_now(tx)).await?.has_opted_out());
            tx.execute::<Contact>(fifth, tag("vip")).await.map(drop)
        })
    })
    .await
    .unwrap();
    let fifth = bus.load::<Contact>(fifth).await.unwrap().unwrap().aggregate;
    assert_eq!(fifth.consent.status(), ConsentStatus::OptedIn);
}

async fn a_number_that_goes_from_one_half_of_a_person_to_the_other_is_asked_of_once(
    store: TestStore,
) {
    let number = "+447700900123";
    suppress(&store, number).await;
    let bus = store.bus();
    let half = store.add_contact(number).await;
    let keep = store.add_contact("+447700900001").await;
    bus.transact(&context(), None, |tx| {
        Box::pin(async move {
            // They have chosen otherwise since.
            tx.execute::<Contact>(half, opt_in_now(tx)).await?;
            tx.execute::<Contact>(half, change_phone("+447700900002")).await?;
            tx.execute::<Contact>(keep, change_phone(number)).await.map(drop)
        })
    })
    .await
    .unwrap();
    for id in [half, keep] {
        assert!(!bus.load::<Contact>(id).await.unwrap().unwrap().aggregate.has_opted_out());
    }
}

async fn the_feed_gives_events_in_order_in_the_clear_and_marked(store: TestStore) {
    let (a, b) =
        (store.add_contact("+447700900001").await, store.add_contact("+447700900002").await);
    let cause = Uuid::from_u128(9);
    store.bus().execute::<Contact>(a, tag("x"), &context().caused_by(cause)).await.unwrap();
    let page = store.ledger().read_after(Position(0), &EventFilter::default(), 10).await.unwrap();
    let seen: Vec<_> = page
        .events
        .iter()
        .map(|event| (event.position.0, event.stream.id, event.event_type.as_str()))
        .collect();
    assert_eq!(seen, [(1, a, "contact.added"), (2, b, "contact.added"), (3, a, "contact.tagged")]);
    assert!(page.at_head);
    let [added, _, tagged] = page.events.as_slice() else { panic!("three events") };
    assert_eq!(added.data["phone"], serde_json::json!({"$p": "+447700900001"}));
    assert_eq!(added.metadata.subject, Some(a));
    assert_eq!(added.workspace_id, Some(WORKSPACE.0));
    assert_eq!(tagged.metadata.subject, None, "nothing in it is personal");
    assert_eq!(tagged.metadata.causation_id, Some(cause));
    assert_eq!(tagged.metadata.actor, context().actor);
}

async fn an_event_of_a_newer_gateway_says_so(store: TestStore) {
    let contact = store.add_contact("+447700900001").await;
    let event = NewEvent {
        event_id: Uuid::now_v7(),
        event_type: "contact.tagged".to_owned(),
        event_version: 2,
        payload: r#"{"type":"contact.tagged"}"#.to_owned(),
        metadata: Metadata {
            actor: context().actor,
            correlation_id: context().correlation_id,
            causation_id: None,
            subject: None,
        },
        occurred_at: store.clock_now(),
    };
    let append = StreamAppend {
        stream: StreamId::new(AggregateType::Contact, contact),
        expected: 1,
        workspace_id: None,
        account_id: None,
        events: vec![event],
    };
    let unit = AppendUnit { streams: vec![append], ..AppendUnit::default() };
    store.ledger().log().append(vec![unit]).await.unwrap();
    let error = store.another_bus().load::<Contact>(contact).await.unwrap_err();
    assert!(error.to_string().contains("contact.tagged is stored in version 2"), "{error}");
}

async fn a_stream_goes_on_under_what_it_began_with_and_each_event_is_the_answer_to_the_one_before(
    store: TestStore,
) {
    let (bus, ids) = (store.bus(), Uuid::from_u128);
    let contact = store.add_contact("+447700900001").await;
    let began = context().correlation_id;
    let begun = Context::new(Actor::process("test"), ids(0xaa));
    let follower = begun.clone().following();
    // From memory, from the log, and two commands that share a unit.
    bus.execute::<Contact>(contact, tag("a"), &follower).await.unwrap();
    bus.execute::<Contact>(contact, tag("b"), &begun).await.unwrap();
    store.another_bus().execute::<Contact>(contact, tag("c"), &follower).await.unwrap();
    let named = follower.clone().caused_by(ids(0xbb));
    let two = vec![(contact, tag("d"), follower.clone()), (contact, tag("e"), named)];
    let committed = bus.execute_many::<Contact>(two).await.pop().unwrap().unwrap();
    let stream = StreamId::new(AggregateType::Contact, contact);
    let events = store.ledger().read_streams(&[stream]).await.unwrap();
    let provenance: Vec<_> = events
        .iter()
        .map(|event| (event.metadata.correlation_id, event.metadata.causation_id))
        .collect();
    let id = |index: usize| Some(events[index].event_id);
    let expected = [
        (began, None),
        (began, id(0)),
        (ids(0xaa), None),
        (began, id(2)),
        (began, id(3)),
        (began, Some(ids(0xbb))),
    ];
    assert_eq!(provenance, expected);
    let thread = committed.thread.unwrap();
    assert_eq!((thread.correlation_id, Some(thread.event_id)), (began, id(5)));
    // A stream that begins has nothing to follow; and one transaction may go from one stream's event to another's.
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    bus.transact(&follower, None, |tx| {
        Box::pin(async move {
            tx.execute::<Contact>(first, add(first, "+447700900002")).await?;
            tx.because_of::<Contact>(first);
            tx.execute::<Contact>(second, add(second, "+447700900003")).await?;
            Ok::<_, CommandError<ContactError>>(())
        })
    })
    .await
    .unwrap();
    let streams = [first, second].map(|id| StreamId::new(AggregateType::Contact, id));
    let events = store.ledger().read_streams(&streams).await.unwrap();
    let of = |id: Uuid| events.iter().find(|event| event.stream.id == id).unwrap();
    let (first, second) = (of(first), of(second));
    assert_eq!(first.metadata.correlation_id, ids(0xaa));
    assert_eq!(first.metadata.causation_id, None);
    assert_eq!(second.metadata.correlation_id, ids(0xaa));
    assert_eq!(second.metadata.causation_id, Some(first.event_id));
}

async fn a_fence_that_has_moved_on_turns_the_command_away(store: TestStore) {
    let contact = store.add_contact("+447700900001").await;
    let lease = store.lease("dispatch").await;
    let fence = Fence { lease: lease.name, epoch: lease.epoch };
    let held = context().fenced(fence.clone());
    store.bus().execute::<Contact>(contact, tag("x"), &held).await.unwrap();
    let lost = context().fenced(Fence { epoch: fence.epoch + 1, ..fence });
    let refused = store.bus().execute::<Contact>(contact, tag("y"), &lost).await;
    assert!(matches!(refused, Err(CommandError::Fenced)));
    let refused = store
        .bus()
        .transact(&lost, None, |tx| {
            Box::pin(async move {
                tx.execute::<Contact>(contact, tag("y")).await?;
                Ok::<_, CommandError<ContactError>>(())
            })
        })
        .await;
    assert!(matches!(refused, Err(TransactError::Fenced)));
}

async fn writers_that_meet_a_person_without_a_key_end_up_with_one(store: TestStore) {
    let contact = Uuid::from_u128(1);
    let tasks: Vec<_> = (0..10_u128)
        .map(|n| {
            let bus = store.another_bus();
            tokio::spawn(async move {
                let command = |m| {
                    let id = Uuid::from_u128(100 + 10 * n + m);
                    (id, plan(contact, &format!("message {n} {m}")), context())
                };
                bus.execute_many::<Message>((0..3).map(command).collect()).await
            })
        })
        .collect();
    for task in tasks {
        for result in task.await.unwrap() {
            result.unwrap();
        }
    }
    let ids: Vec<_> =
        (0..10).flat_map(|n| (0..3).map(move |m| Uuid::from_u128(100 + 10 * n + m))).collect();
    let node = store.another_node().await;
    let loaded = node.load_many::<Message>(&ids).await.unwrap();
    assert_eq!(loaded.len(), 30);
    assert!(loaded.values().all(|loaded| {
        loaded.aggregate.content.as_ref().is_some_and(|content| content.known().is_some())
    }));
}

/// One command is turned away for its identity while others win on its stream: nobody waits for himself.
async fn a_stream_under_contention_still_gets_its_commands_one_by_one(store: TestStore) {
    let (a, b) =
        (store.add_contact("+447700900001").await, store.add_contact("+447700900002").await);
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let bus = store.another_bus();
            tokio::spawn(async move {
                let commands = vec![
                    (b, tag(&format!("x{n}")), context()),
                    (b, change_phone("+447700900001"), context()),
                    (b, tag(&format!("y{n}")), context()),
                ];
                bus.execute_many::<Contact>(commands).await
            })
        })
        .collect();
    for task in tasks {
        for (n, result) in task.await.unwrap().into_iter().enumerate() {
            match result {
                Ok(_) => assert_ne!(n, 1),
                Err(CommandError::IdentityTaken { holder, .. }) => assert_eq!((n, holder), (1, a)),
                // Buses of their own do not queue for each other.
                Err(CommandError::TooBusy) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let b = store.bus().load::<Contact>(b).await.unwrap().unwrap().aggregate;
    assert_eq!(b.phone().unwrap().as_str(), "+447700900002");
}

async fn what_can_never_be_read_again_is_refused_and_its_neighbours_are_taken(store: TestStore) {
    let mut deep = serde_json::json!(1);
    for _ in 0..120 {
        deep = serde_json::json!([deep]);
    }
    let (a, b) =
        (store.add_contact("+447700900001").await, store.add_contact("+447700900002").await);
    let attributes = [("deep".to_owned(), deep)].into_iter().collect();
    let results = store
        .bus()
        .execute_many::<Contact>(vec![
            (a, update(move |changes| changes.attributes = Some(Some(attributes))), context()),
            (b, tag("x"), context()),
        ])
        .await;
    assert!(matches!(results[0], Err(CommandError::Unavailable(_))));
    assert!(results[1].is_ok());
    let contact = store.bus().load::<Contact>(a).await.unwrap().unwrap();
    assert_eq!(contact.sequence, 1);
}
