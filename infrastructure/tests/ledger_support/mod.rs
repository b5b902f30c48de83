//! A store in a directory of its own, with keys and buses over it, and short names for commands.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::Identity;
use domain::contact::{Contact, ContactChanges, ContactCommand, ContactOrigin};
use domain::message::{
    Content, ContentKind, MessageCommand, MessageHeader, Plan, Priority, Recipient,
};
use domain::port::{Clock, EventLog, Position};
use domain::primitives::{AccountId, Actor, ContactId, PhoneNumber, WorkspaceId};
use infrastructure::clock::{SystemClock, SystemIds};
use infrastructure::crypto::{KeyRing, KeyRingError, MasterKey};
use infrastructure::event_store::{self, Lease, OpenStore, StoreUrl};
use infrastructure::ledger::{CommandBus, Context, Ledger, Upcasters};
use tempfile::TempDir;
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

pub fn bus_over(store: &OpenStore, keys: KeyRing) -> CommandBus {
    let log: Arc<dyn EventLog> = store.log.clone();
    CommandBus::new(
        Ledger::new(log, keys, Upcasters::current()),
        store.identities.clone(),
        store.idempotency.clone(),
        Arc::new(SystemClock),
        Arc::new(SystemIds::new()),
    )
}

pub struct TestStore {
    master: MasterKey,
    bus: CommandBus,
    store: OpenStore,
    directory: TempDir,
}

impl TestStore {
    pub async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open_store(directory.path()).await;
        let master = MasterKey::generate();
        let bus = bus_over(&store, open_keys(&store, &master).await.unwrap());
        Self { master, bus, store, directory }
    }

    pub fn bus(&self) -> CommandBus {
        self.bus.clone()
    }

    pub fn ledger(&self) -> &Ledger {
        self.bus.ledger()
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

    pub fn assert_not_on_disk(&self, words: &[&str]) {
        let mut files = 0;
        for entry in std::fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            files += 1;
            for word in words {
                let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
                assert!(!found, "{word} stands in {}", path.display());
            }
        }
        assert!(files >= 2, "the database and its log are looked at");
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
        at: at(),
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
        },
        to: Recipient { phone: Some(PhoneNumber::parse("+447700900123").unwrap()), user_id: None },
        content: Content::Text { body: text.to_owned(), preview_url: false },
        skip: None,
        due_at: at(),
        at: at(),
    }))
}
