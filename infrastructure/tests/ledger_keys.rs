//! The master key: the right one, a wrong one and the next one.

mod ledger_support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::contact::Contact;
use domain::port::{LogError, NewDataKey};
use infrastructure::crypto::secret::Secret;
use infrastructure::crypto::{KeyRingError, MasterKey, Rotation, SubjectKey, rotate_master};
use infrastructure::event_store::{DataKeyRow, Rewrap, Vault};
use ledger_support::*;
use uuid::Uuid;

/// A store with two contacts and two credentials.
async fn filled(directory: &std::path::Path, master: &MasterKey) -> [Uuid; 2] {
    let store = open_store(directory).await;
    let bus = bus_over(&store, open_keys(&store, master).await.unwrap());
    let contacts = [Uuid::from_u128(1), Uuid::from_u128(2)];
    for (n, id) in contacts.into_iter().enumerate() {
        let add = add(id, &format!("+44770090000{n}"));
        bus.execute::<Contact>(id, add, &context()).await.unwrap();
    }
    bus.keys().put_secret("account/1/access_token", Some(&Secret::new("EAAG-1"))).await.unwrap();
    bus.keys().put_secret("account/1/app_secret", Some(&Secret::new("app"))).await.unwrap();
    contacts
}

async fn assert_readable(directory: &std::path::Path, master: &MasterKey, contacts: [Uuid; 2]) {
    let store = open_store(directory).await;
    let bus = bus_over(&store, open_keys(&store, master).await.unwrap());
    for (n, id) in contacts.into_iter().enumerate() {
        let number = format!("+44770090000{n}");
        let contact = bus.load::<Contact>(id).await.unwrap().unwrap().aggregate;
        assert_eq!(contact.phone().unwrap().as_str(), number);
        assert_eq!(bus.resolve_identities(&[phone(&number)]).await.unwrap(), [Some(id)]);
    }
    let token = bus.keys().secret("account/1/access_token").await.unwrap().unwrap();
    assert!(token.matches("EAAG-1"));
}

#[tokio::test]
async fn a_store_opens_with_its_own_master_key_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let master = MasterKey::generate();
    let contacts = filled(directory.path(), &master).await;
    {
        let store = open_store(directory.path()).await;
        let error = open_keys(&store, &MasterKey::generate()).await.unwrap_err();
        assert!(
            matches!(&error, KeyRingError::WrongMasterKey { expected, .. } if *expected == master.fingerprint())
        );
        assert!(error.to_string().contains("keys master rotate"), "{error}");
    }
    assert_readable(directory.path(), &master, contacts).await;
}

#[tokio::test]
async fn a_store_that_holds_nothing_yet_takes_another_master_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_store(directory.path()).await;
    let (first, second) = (MasterKey::generate(), MasterKey::generate());
    open_keys(&store, &first).await.unwrap();
    let keys = open_keys(&store, &second).await.unwrap();
    keys.put_secret("a", Some(&Secret::new("b"))).await.unwrap();
    assert!(matches!(open_keys(&store, &first).await, Err(KeyRingError::WrongMasterKey { .. })));
}

#[tokio::test]
async fn nodes_that_start_at_once_share_one_look_up_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_store(directory.path()).await;
    let master = MasterKey::generate();
    let (a, b) = tokio::join!(open_keys(&store, &master), open_keys(&store, &master));
    let hash = |keys: infrastructure::crypto::KeyRing| keys.lookup_hash(Uuid::nil(), "k", "v");
    assert_eq!(hash(a.unwrap()), hash(b.unwrap()));
}

#[tokio::test]
async fn look_ups_tell_apart_scope_kind_and_value_and_depend_on_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_store(directory.path()).await;
    let keys = open_keys(&store, &MasterKey::generate()).await.unwrap();
    let hash = keys.lookup_hash(Uuid::nil(), "ab", "c");
    assert_eq!(hash.len(), 16);
    assert_eq!(hash, keys.lookup_hash(Uuid::nil(), "ab", "c"));
    assert_ne!(hash, keys.lookup_hash(Uuid::nil(), "a", "bc"));
    assert_ne!(hash, keys.lookup_hash(Uuid::from_u128(1), "ab", "c"));
    assert_eq!(keys.fingerprint("EAAG").len(), 16);
    let elsewhere = tempfile::tempdir().unwrap();
    let store = open_store(elsewhere.path()).await;
    let keys = open_keys(&store, &MasterKey::generate()).await.unwrap();
    assert_ne!(hash, keys.lookup_hash(Uuid::nil(), "ab", "c"));
}

#[tokio::test]
async fn a_credential_is_replaced_removed_and_opens_under_its_name_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_store(directory.path()).await;
    let keys = open_keys(&store, &MasterKey::generate()).await.unwrap();
    assert!(keys.secret("a").await.unwrap().is_none());
    keys.put_secret("a", Some(&Secret::new("one"))).await.unwrap();
    assert!(keys.secret("a").await.unwrap().unwrap().matches("one"));
    keys.put_secret("a", Some(&Secret::new("two"))).await.unwrap();
    assert!(keys.secret("a").await.unwrap().unwrap().matches("two"));
    let sealed = keys.seal_secret("a", &Secret::new("three"));
    assert!(keys.open_secret("a", &sealed).unwrap().matches("three"));
    assert!(matches!(keys.open_secret("b", &sealed), Err(KeyRingError::Corrupt(_))));
    keys.put_secret("a", None).await.unwrap();
    assert!(keys.secret("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_days_key_is_made_once_and_destroyed_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_store(directory.path()).await;
    let master = MasterKey::generate();
    let (one, other) =
        (open_keys(&store, &master).await.unwrap(), open_keys(&store, &master).await.unwrap());
    let day = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
    let SubjectKey::Live(key) = one.day_key(day).await.unwrap() else { panic!("a fresh key") };
    let sealed = key.seal(b"entry 1", b"a webhook");
    let SubjectKey::Live(key) = other.day_key(day).await.unwrap() else { panic!("the same key") };
    assert_eq!(key.open(b"entry 1", &sealed).unwrap().as_slice(), b"a webhook");
    let SubjectKey::Live(next) = one.day_key(day.succ_opt().unwrap()).await.unwrap() else {
        panic!("another day's")
    };
    assert!(next.open(b"entry 1", &sealed).is_err());
    one.destroy_day_keys(&[day]).await.unwrap();
    assert!(matches!(one.day_key(day).await.unwrap(), SubjectKey::Destroyed));
    let fresh = open_keys(&store, &master).await.unwrap();
    assert!(matches!(fresh.day_key(day).await.unwrap(), SubjectKey::Destroyed));
}

#[tokio::test]
async fn after_a_rotation_only_the_new_master_key_opens_the_store_and_all_is_readable() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let contacts = filled(directory.path(), &old).await;
    {
        let store = open_store(directory.path()).await;
        let (vault, meta) = (store.vault.as_ref(), store.meta.as_ref());
        let stranger = MasterKey::generate();
        let wrong = rotate_master(vault, meta, &stranger, &new).await;
        assert!(matches!(wrong, Err(KeyRingError::WrongMasterKey { .. })));
        let rotation = rotate_master(vault, meta, &old, &new).await.unwrap();
        assert_eq!(rotation, Rotation { data_keys: 2, secrets: 2 });
        assert_eq!(rotate_master(vault, meta, &old, &new).await.unwrap(), Rotation::default());
        assert!(matches!(open_keys(&store, &old).await, Err(KeyRingError::WrongMasterKey { .. })));
    }
    assert_readable(directory.path(), &new, contacts).await;
}

#[tokio::test]
async fn an_interrupted_rotation_is_finished_by_running_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let contacts = filled(directory.path(), &old).await;
    {
        let store = open_store(directory.path()).await;
        // It stops before its first write, then one write later each time.
        let mut writes = 0;
        loop {
            let vault = Failing { vault: store.vault.clone(), writes: AtomicUsize::new(writes) };
            if rotate_master(&vault, store.meta.as_ref(), &old, &new).await.is_ok() {
                break;
            }
            for key in [&old, &new] {
                let error = open_keys(&store, key).await.unwrap_err();
                assert!(matches!(error, KeyRingError::RotationUnfinished), "{error}");
            }
            let third = MasterKey::generate();
            let error =
                rotate_master(store.vault.as_ref(), store.meta.as_ref(), &old, &third).await;
            assert!(matches!(error, Err(KeyRingError::WrongMasterKey { .. })));
            writes += 1;
        }
        assert!(writes >= 2);
    }
    assert_readable(directory.path(), &new, contacts).await;
}

/// A vault whose store goes away after some writes.
struct Failing {
    vault: Arc<dyn Vault>,
    writes: AtomicUsize,
}

impl Failing {
    fn spend(&self) -> Result<(), LogError> {
        let spent = |left: usize| left.checked_sub(1);
        self.writes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spent)
            .map(drop)
            .map_err(|_| LogError::Unavailable("killed".into()))
    }
}

#[async_trait]
impl Vault for Failing {
    async fn data_keys(&self, subjects: &[Uuid]) -> Result<HashMap<Uuid, DataKeyRow>, LogError> {
        self.vault.data_keys(subjects).await
    }

    async fn put_data_key(&self, key: &NewDataKey) -> Result<DataKeyRow, LogError> {
        self.vault.put_data_key(key).await
    }

    async fn destroy_data_keys(&self, subjects: &[Uuid]) -> Result<(), LogError> {
        self.vault.destroy_data_keys(subjects).await
    }

    async fn destroyed_since(
        &self,
        since: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, LogError> {
        self.vault.destroyed_since(since, limit).await
    }

    async fn data_keys_after(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<(Uuid, Vec<u8>)>, LogError> {
        // One at a time, so that there are several batches.
        self.vault.data_keys_after(after, limit.min(1)).await
    }

    async fn rewrap(&self, keys: &[Rewrap]) -> Result<usize, LogError> {
        self.spend()?;
        self.vault.rewrap(keys).await
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        self.vault.secret(name).await
    }

    async fn secrets(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, LogError> {
        self.vault.secrets(prefix).await
    }

    async fn swap_secret(
        &self,
        name: &str,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<bool, LogError> {
        self.spend()?;
        self.vault.swap_secret(name, from, to).await
    }

    async fn put_secret(&self, name: &str, sealed: Option<&[u8]>) -> Result<(), LogError> {
        self.spend()?;
        self.vault.put_secret(name, sealed).await
    }
}
