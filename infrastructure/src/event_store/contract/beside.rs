//! What stands beside the log.

use std::collections::HashMap;
use std::time::Duration;

use domain::port::{AppendOutcome, AppendUnit, NewDataKey, SecretChange};

use super::super::{DataKeyRow, Lease, OpenStore, Rewrap};
use super::*;

fn key(subject: Uuid, wrapped: u8) -> NewDataKey {
    NewDataKey { subject, wrapped: vec![wrapped; 40] }
}

fn with_key(key: NewDataKey) -> AppendUnit {
    AppendUnit { new_keys: vec![key], ..unit([append(message(), 0, 1)]) }
}

pub async fn a_data_key_is_made_once_and_destroyed_for_good(store: &OpenStore, clock: &Clock) {
    clock.set(at(1_000));
    let (ann, bob, eve, nobody) = (id(), id(), id(), id());
    taken(&append_one(store, with_key(key(ann, 1))).await);
    taken(&append_one(store, with_key(key(ann, 1))).await);
    assert_eq!(
        store.vault.put_data_key(&key(bob, 2)).await.unwrap(),
        DataKeyRow::Wrapped(vec![2; 40])
    );
    assert_eq!(
        store.vault.put_data_key(&key(bob, 3)).await.unwrap(),
        DataKeyRow::Wrapped(vec![2; 40])
    );
    let found = store.vault.data_keys(&[ann, bob, nobody]).await.unwrap();
    let wrapped = |n: u8| DataKeyRow::Wrapped(vec![n; 40]);
    assert_eq!(found, HashMap::from([(ann, wrapped(1)), (bob, wrapped(2))]));

    clock.set(at(2_000));
    let erase = AppendUnit { destroy_keys: vec![ann, eve], ..unit([append(message(), 0, 1)]) };
    taken(&append_one(store, erase).await);
    clock.set(at(3_000));
    store.vault.destroy_data_keys(&[bob, ann]).await.unwrap();
    let found = store.vault.data_keys(&[ann, bob, eve]).await.unwrap();
    assert!(
        found.len() == 3 && found.values().all(|key| *key == DataKeyRow::Destroyed),
        "{found:?}"
    );
    assert_eq!(
        store.vault.put_data_key(&key(eve, 4)).await.unwrap(),
        DataKeyRow::Destroyed,
        "even if it never was"
    );

    let mut early = [ann, eve];
    early.sort();
    let destroyed = [(early[0], at(2_000)), (early[1], at(2_000)), (bob, at(3_000))];
    assert_eq!(store.vault.destroyed_since(at(0), 10).await.unwrap(), destroyed);
    assert_eq!(store.vault.destroyed_since(at(2_000), 1).await.unwrap(), destroyed[..1]);
    assert_eq!(store.vault.destroyed_since(at(2_001), 10).await.unwrap(), destroyed[2..]);
}

pub async fn a_unit_sealed_with_a_key_that_lost_is_stale(store: &OpenStore, _: &Clock) {
    let subject = id();
    let units =
        vec![with_key(key(subject, 1)), with_key(key(subject, 2)), unit([append(message(), 0, 1)])];
    let loser = units[1].streams[0].stream;
    let outcomes = append_all(store, units).await;
    taken(&outcomes[0]);
    assert_eq!(outcomes[1], AppendOutcome::Stale { streams: vec![loser] });
    taken(&outcomes[2]);
    assert!(read(store, loser).await.is_empty());

    store.vault.destroy_data_keys(&[subject]).await.unwrap();
    let late = with_key(key(subject, 1));
    let streams = vec![late.streams[0].stream];
    assert_eq!(append_one(store, late).await, AppendOutcome::Stale { streams });
}

pub async fn data_keys_are_wrapped_anew_one_by_one(store: &OpenStore, _: &Clock) {
    let mut subjects: Vec<_> = (0..5).map(|_| id()).collect();
    subjects.sort();
    for subject in &subjects {
        store.vault.put_data_key(&key(*subject, 1)).await.unwrap();
    }
    store.vault.destroy_data_keys(&subjects[1..2]).await.unwrap();
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let page = store.vault.data_keys_after(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.0);
        walked.extend(page);
    }
    let alive = [0, 2, 3, 4].map(|n| (subjects[n], vec![1; 40]));
    assert_eq!(walked, alive);

    let to = |subject, from: u8| Rewrap { subject, from: vec![from; 40], to: vec![9; 40] };
    let keys = [to(subjects[0], 1), to(subjects[1], 1), to(subjects[2], 7), to(subjects[3], 1)];
    assert_eq!(store.vault.rewrap(&keys).await.unwrap(), 2);
    let found = store.vault.data_keys(&subjects).await.unwrap();
    assert_eq!(found[&subjects[0]], DataKeyRow::Wrapped(vec![9; 40]));
    assert_eq!(found[&subjects[1]], DataKeyRow::Destroyed);
    assert_eq!(found[&subjects[2]], DataKeyRow::Wrapped(vec![1; 40]));
}

pub async fn secrets_are_replaced_and_removed(store: &OpenStore, _: &Clock) {
    let set = |name: &str, sealed: Option<u8>| SecretChange {
        name: name.to_owned(),
        sealed: sealed.map(|n| vec![n]),
    };
    let first = AppendUnit {
        secrets: vec![set("account/1/token", Some(1)), set("account/2/token", Some(2))],
        ..unit([])
    };
    let outcomes = append_all(
        store,
        vec![first, AppendUnit { secrets: vec![set("account/1/token", Some(3))], ..unit([]) }],
    )
    .await;
    outcomes.iter().map(taken).for_each(drop);
    store.vault.put_secret("swapped", Some(&[1])).await.unwrap();
    assert!(!store.vault.swap_secret("swapped", &[9], Some(&[2])).await.unwrap());
    assert!(store.vault.swap_secret("swapped", &[1], Some(&[2])).await.unwrap());
    assert!(!store.vault.swap_secret("swapped", &[1], Some(&[3])).await.unwrap());
    assert_eq!(store.vault.secret("swapped").await.unwrap(), Some(vec![2]));
    assert!(store.vault.swap_secret("swapped", &[2], None).await.unwrap());
    assert!(!store.vault.swap_secret("swapped", &[2], Some(&[3])).await.unwrap());

    store.vault.put_secret("account%", Some(&[4])).await.unwrap();
    store.vault.put_secret("bccount", Some(&[5])).await.unwrap();
    assert_eq!(store.vault.secret("account/1/token").await.unwrap(), Some(vec![3]));
    let all = [("account/1/token".to_owned(), vec![3]), ("account/2/token".to_owned(), vec![2])];
    assert_eq!(store.vault.secrets("account/").await.unwrap(), all);
    append_one(
        store,
        AppendUnit { secrets: vec![set("account/1/token", None), set("none", None)], ..unit([]) },
    )
    .await;
    store.vault.put_secret("account/2/token", None).await.unwrap();
    assert!(store.vault.secrets("account/").await.unwrap().is_empty());
    assert_eq!(store.vault.secrets("").await.unwrap().len(), 2);
}

pub async fn a_lease_has_one_owner_and_an_epoch(store: &OpenStore, clock: &Clock) {
    clock.set(chrono::Utc::now());
    let ttl = PATIENCE;
    let first = store.leases.acquire("portfolio/1", "a", ttl).await.unwrap().expect("free");
    assert_eq!(
        store.leases.acquire("portfolio/1", "a", ttl).await.unwrap(),
        Some(first.clone()),
        "its own, again"
    );
    let elsewhere = store.leases.acquire("portfolio/2", "b", ttl).await.unwrap().expect("free");
    let stranger = Lease { owner: "b".to_owned(), ..first.clone() };
    let renewed = store.leases.renew(&[first.clone(), stranger, elsewhere], ttl).await.unwrap();
    assert_eq!(renewed, [true, false, true]);

    store.leases.release(&first).await.unwrap();
    assert_eq!(store.leases.renew(std::slice::from_ref(&first), ttl).await.unwrap(), [false]);
    let second = store
        .leases
        .acquire("portfolio/1", "b", Duration::from_millis(30))
        .await
        .unwrap()
        .expect("given up");
    assert_eq!((second.owner.as_str(), second.epoch), ("b", first.epoch + 1));
    // It lapses without a word from its owner.
    let third = within_patience("a lapse", async {
        loop {
            if let Some(lease) = store.leases.acquire("portfolio/1", "c", ttl).await.unwrap() {
                break lease;
            }
        }
    })
    .await;
    assert_eq!(third.epoch, second.epoch + 1);
    assert_eq!(store.leases.renew(std::slice::from_ref(&second), ttl).await.unwrap(), [false]);
    store.leases.release(&second).await.unwrap();
    let rows = store.leases.list("portfolio/").await.unwrap();
    assert_eq!(rows.iter().map(|row| row.lease.owner.as_str()).collect::<Vec<_>>(), ["c", "b"]);
    assert!(rows[0].expires_at > chrono::Utc::now());
    assert!(store.leases.list("none").await.unwrap().is_empty());

    let fourth = store.leases.acquire("portfolio/3", "d", ttl).await.unwrap().expect("free");
    store.leases.release(&fourth).await.unwrap();
    let held = store.leases.held("portfolio/").await.unwrap();
    assert_eq!(held.iter().map(|lease| lease.owner.as_str()).collect::<Vec<_>>(), ["c", "b"]);
    assert_eq!(held[0], third);
    let forgotten = async |prefix: &str| store.leases.forget_lapsed(prefix, ttl).await.unwrap();
    assert_eq!((forgotten("none").await, forgotten("portfolio/").await), (0, 1));
    let again = store.leases.acquire("portfolio/3", "d", ttl).await.unwrap().expect("free");
    assert_eq!(again.epoch, 1, "nothing is known of it any more");
    assert_eq!(forgotten("portfolio/").await, 0, "all are held");
}

pub async fn meta_is_compared_and_set(store: &OpenStore, _: &Clock) {
    assert_eq!(store.meta.get("fingerprint").await.unwrap(), None);
    assert!(!store.meta.compare_and_set("fingerprint", Some("a"), "b").await.unwrap());
    assert!(store.meta.compare_and_set("fingerprint", None, "a").await.unwrap());
    assert!(!store.meta.compare_and_set("fingerprint", None, "b").await.unwrap());
    assert!(store.meta.compare_and_set("fingerprint", Some("a"), "b").await.unwrap());
    assert_eq!(store.meta.get("fingerprint").await.unwrap().as_deref(), Some("b"));
    store.meta.set("fingerprint", "c").await.unwrap();
    store.meta.set("other", "d").await.unwrap();
    assert_eq!(store.meta.get("fingerprint").await.unwrap().as_deref(), Some("c"));
}

pub async fn idempotency_records_are_forgotten_in_time(store: &OpenStore, _: &Clock) {
    let units = (0..5_u8).map(|n| {
        let record =
            IdempotencyRecord { recorded_at: at(i64::from(n) * 1_000), ..idempotency(&[n], b"i") };
        AppendUnit { idempotency: Some(record), ..unit([append(message(), 0, 1)]) }
    });
    append_all(store, units.collect()).await;
    assert_eq!(store.idempotency.prune(at(3_000), 2).await.unwrap(), 2);
    assert_eq!(store.idempotency.prune(at(3_000), 2).await.unwrap(), 1);
    assert_eq!(store.idempotency.prune(at(3_000), 2).await.unwrap(), 0);
    assert_eq!(store.idempotency.find(&[2]).await.unwrap(), None);
    assert!(store.idempotency.find(&[3]).await.unwrap().is_some());
}
