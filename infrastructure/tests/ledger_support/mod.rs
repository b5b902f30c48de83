//! A store in a directory of its own, with keys and buses over it, and short names for commands.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::Identity;
use domain::contact::{ConsentStatus, Contact, ContactChanges, ContactCommand, ContactOrigin};
use domain::message::{
    Content, ContentKind, MessageCommand, MessageHeader, Plan, Priority, Recipient,
};
use domain::port::{
    AppendOutcome, AppendUnit, Clock, EventFilter, EventLog, LogError, LogPage, Position,
    StoredEvent, StreamId,
};
use domain::primitives::{AccountId, Actor, ContactId, PhoneNumber, WorkspaceId};
use infrastructure::clock::{SystemClock, SystemIds};
use infrastructure::crypto::{KeyRing, KeyRingError, MasterKey};
use infrastructure::event_store::testing::TestDatabase;
use infrastructure::event_store::{self, Lease, OpenStore, StoreUrl};
use infrastructure::ledger::{CommandBus, Context, Ledger, Transaction, Upcasters};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use uuid::Uuid;

pub const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(0xaaaa));

pub async fn open_store(directory: &Path) -> OpenStore {
    let url = StoreUrl::sqlite(directory.join("gateway.db"));
    event_store::open(&url, Arc::new(SystemClock)).await.unwrap()
}

pub async fn open_keys(store: &OpenStore, master: &MasterKey) -> Result<KeyRing, KeyRingError> {
    let is_empty = store.log.head().await? == Position(0);
    KeyRing::open(master, store.vault.clone(), store.meta.as_ref(), is_empty).await
}

/// A bus on a log that others append to as well, as these tests do on both stores.
pub fn bus_over(store: &OpenStore, keys: KeyRing) -> CommandBus {
    let log = Arc::new(WatchedLog::over(store, false));
    bus_on(store, log, keys, Arc::new(SystemClock))
}

pub fn bus_on(
    store: &OpenStore,
    log: Arc<dyn EventLog>,
    keys: KeyRing,
    clock: Arc<dyn Clock>,
) -> CommandBus {
    CommandBus::new(
        Ledger::new(log, keys, Upcasters::current()),
        store.identities.clone(),
        store.idempotency.clone(),
        clock,
        Arc::new(SystemIds::new()),
    )
}

/// Appends of a [`WatchedLog`] at once.
const PLACES: usize = 1_000;

/// A store's log that counts how often streams are read, and is as exclusive as one says.
pub struct WatchedLog {
    log: Arc<dyn EventLog>,
    is_exclusive: bool,
    reads: AtomicUsize,
    /// A place for each append that may begin.
    places: Semaphore,
    /// Appends that ever asked for one.
    waiting: AtomicUsize,
}

impl WatchedLog {
    pub fn over(store: &OpenStore, is_exclusive: bool) -> Self {
        let places = Semaphore::new(PLACES);
        Self {
            log: store.log.clone(),
            is_exclusive,
            reads: AtomicUsize::new(0),
            places,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Appends wait until they are let go.
    pub fn hold_appends(&self) {
        self.waiting.store(0, Ordering::Relaxed);
        assert_eq!(self.places.forget_permits(PLACES), PLACES);
    }

    pub fn has_waiting_append(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    pub fn let_appends_go(&self) {
        self.places.add_permits(PLACES);
    }

    /// How often streams were read since this was asked last.
    pub fn take_reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl EventLog for WatchedLog {
    async fn append(&self, units: Vec<AppendUnit>) -> Result<Vec<AppendOutcome>, LogError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = self.places.acquire().await.expect("it is never closed");
        self.log.append(units).await
    }

    async fn read_streams(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.log.read_streams(streams).await
    }

    async fn read_stream_page(
        &self,
        stream: StreamId,
        after_sequence: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, LogError> {
        self.log.read_stream_page(stream, after_sequence, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogPage, LogError> {
        self.log.read_all(after, filter, limit).await
    }

    async fn head(&self) -> Result<Position, LogError> {
        self.log.head().await
    }

    fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    async fn changed(&self, after: Position) {
        self.log.changed(after).await;
    }
}

pub struct TestStore {
    master: MasterKey,
    bus: CommandBus,
    store: OpenStore,
    place: Place,
}

enum Place {
    Directory(TempDir),
    Database(TestDatabase),
}

/// Each of these functions becomes a test on SQLite and one on PostgreSQL.
#[macro_export]
macro_rules! on_both_stores {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name($crate::ledger_support::TestStore::on_sqlite().await).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                if let Some(store) = $crate::ledger_support::TestStore::on_postgres().await {
                    super::$name(store).await;
                }
            })*
        }
    };
}

impl TestStore {
    pub async fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::over(open_store(directory.path()).await, Place::Directory(directory)).await
    }

    pub async fn on_postgres() -> Option<Self> {
        let database = TestDatabase::create().await?;
        let store = event_store::open(&database.store_url(), Arc::new(SystemClock)).await.unwrap();
        Some(Self::over(store, Place::Database(database)).await)
    }

    async fn over(store: OpenStore, place: Place) -> Self {
        let master = MasterKey::generate();
        let bus = bus_over(&store, open_keys(&store, &master).await.unwrap());
        Self { master, bus, store, place }
    }

    pub fn bus(&self) -> CommandBus {
        self.bus.clone()
    }

    pub fn ledger(&self) -> &Ledger {
        self.bus.ledger()
    }

    pub fn store(&self) -> &OpenStore {
        &self.store
    }

    /// As a process beside this one reads it: nothing comes from memory.
    pub async fn reopened(&self) -> OpenStore {
        let url = match &self.place {
            Place::Directory(directory) => StoreUrl::sqlite(directory.path().join("gateway.db")),
            Place::Database(database) => database.store_url(),
        };
        event_store::open_read_only(&url, Arc::new(SystemClock)).await.unwrap()
    }

    /// Shares the keys in memory, and nothing else.
    pub fn another_bus(&self) -> CommandBus {
        bus_over(&self.store, self.bus.keys().clone())
    }

    /// Shares nothing but the store.
    pub async fn another_node(&self) -> CommandBus {
        bus_over(&self.store, open_keys(&self.store, &self.master).await.unwrap())
    }

    pub fn clock_now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    pub async fn lease(&self, name: &str) -> Lease {
        let ttl = std::time::Duration::from_secs(60);
        self.store.leases.acquire(name, "node-1", ttl).await.unwrap().unwrap()
    }

    pub async fn add_contact(&self, number: &str) -> Uuid {
        let id = Uuid::now_v7();
        self.bus.execute::<Contact>(id, add(id, number), &context()).await.unwrap();
        id
    }

    /// These words are in no event as it is stored, and on SQLite in no file.
    pub async fn assert_nowhere(&self, words: &[&str]) {
        let log = self.ledger().log();
        let page = log.read_all(Position(0), &EventFilter::default(), 1_000).await.unwrap();
        assert!(page.at_head && !page.events.is_empty());
        let mut places: Vec<(String, Vec<u8>)> = page
            .events
            .into_iter()
            .map(|event| {
                let metadata = serde_json::to_string(&event.metadata).unwrap();
                (event.event_type, [event.payload, metadata].concat().into_bytes())
            })
            .collect();
        if let Place::Directory(directory) = &self.place {
            let files = std::fs::read_dir(directory.path()).unwrap().map(|file| {
                let path = file.unwrap().path();
                (path.display().to_string(), std::fs::read(&path).unwrap())
            });
            places.extend(files);
        }
        for (place, bytes) in places {
            for word in words {
                let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
                assert!(!found, "{word} stands in {place}");
            }
        }
    }
}

pub fn context() -> Context {
    Context::new(Actor::process("test"), Uuid::from_u128(0xc0))
}

pub fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).unwrap()
}

pub fn phone(number: &str) -> Identity {
    Identity::new(WORKSPACE.0, Identity::PHONE, number)
}

pub fn add(id: Uuid, number: &str) -> ContactCommand {
    ContactCommand::Add {
        workspace_id: WORKSPACE,
        contact_id: ContactId(id),
        changes: Box::new(ContactChanges {
            phone: Some(Some(PhoneNumber::parse(number).unwrap())),
            name: Some(Some("Ana Example".to_owned())),
            ..ContactChanges::default()
        }),
        origin: ContactOrigin::Api,
        at: at(),
    }
}

pub fn update(change: impl FnOnce(&mut ContactChanges)) -> ContactCommand {
    let mut changes = ContactChanges::default();
    change(&mut changes);
    ContactCommand::Update { changes: Box::new(changes), origin: ContactOrigin::Api, at: at() }
}

pub fn tag(tag: &str) -> ContactCommand {
    update(|changes| changes.add_tags = [tag.to_owned()].into())
}

pub fn change_phone(number: &str) -> ContactCommand {
    let number = PhoneNumber::parse(number).unwrap();
    update(|changes| changes.phone = Some(Some(number)))
}

pub fn opt_out(evidence: &str) -> ContactCommand {
    ContactCommand::OptOut {
        category: None,
        source: "inbound".to_owned(),
        evidence: Some(evidence.to_owned()),
        said_at: at(),
        at: at(),
    }
}

/// Given when the other commands were.
pub fn opt_in() -> ContactCommand {
    opt_in_at(at())
}

/// Given just now, by the store's clock.
pub fn opt_in_now(tx: &Transaction<'_>) -> ContactCommand {
    opt_in_at(tx.bus().clock().now())
}

fn opt_in_at(at: DateTime<Utc>) -> ContactCommand {
    ContactCommand::RecordConsent {
        category: None,
        status: ConsentStatus::OptedIn,
        source: "a form".to_owned(),
        evidence: None,
        given_at: at,
        at,
    }
}

pub fn plan(contact: Uuid, text: &str) -> MessageCommand {
    MessageCommand::Plan(Box::new(Plan {
        header: MessageHeader {
            workspace_id: WORKSPACE,
            account_id: AccountId(Uuid::from_u128(0xacc)),
            contact_id: ContactId(contact),
            campaign_id: None,
            is_test: false,
            content_kind: ContentKind::Text,
            template: None,
            priority: Priority::Single,
            time_to_live_s: None,
            external_id: None,
            metadata: None,
            reply_to: None,
            country: None,
        },
        to: Recipient { phone: Some(PhoneNumber::parse("+447700900123").unwrap()), user_id: None },
        content: Content::Text { body: text.to_owned(), preview_url: false },
        skip: None,
        due_at: at(),
        at: at(),
    }))
}
