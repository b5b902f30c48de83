//! A log in memory that behaves like the real one to its readers, and databases of a test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeZone, Utc};
use domain::GatewayAggregate;
use domain::account::{AccountCommand, AccountSettings, ConnectAccount};
use domain::campaign::{Audience, CampaignCommand, CampaignPlan};
use domain::contact::{Contact, ContactChanges, ContactCommand, ContactOrigin};
use domain::message::{
    Content, ContentKind, Message, MessageCommand, MessageHeader, Plan, Priority, Recipient,
    TemplateRef,
};
use domain::port::{
    EventFeed, EventFilter, FeedError, FeedPage, Metadata, Position, RecordedEvent, StreamId,
};
use domain::primitives::{
    AccountId, Actor, CampaignId, ContactId, Country, MARK_ERASED, MARK_KNOWN, Personal,
    PhoneNumber, TemplateId, WorkspaceId,
};
use domain::template::TemplateCategory;
use domain::{GatewayEvent, account::AccountProvider};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::store::{ReadDb, Sql, Value};
use crate::{Projections, SCHEMAS};

pub const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(0x0a11));
pub const OTHER_WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(0x0b22));
pub const ACCOUNT: AccountId = AccountId(Uuid::from_u128(0xacc));
pub const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(0xca3));

pub fn at(ms: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(1_795_000_000_000 + ms).unwrap()
}

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n)
}

/// The events, and the keys that were destroyed: what they sealed reads as erased, however old.
#[derive(Default)]
struct Shared {
    events: Vec<RecordedEvent>,
    destroyed: BTreeSet<Uuid>,
}

/// A log that decides and appends, with gaps between positions as real ones have.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<Mutex<Shared>>,
    changed: Arc<Notify>,
    /// Events per read, at most; 0: as many as asked for. Taken in turn.
    pub batches: Arc<Mutex<Vec<usize>>>,
    turn: Arc<AtomicUsize>,
}

impl Log {
    pub fn in_batches_of(&self, sizes: Vec<usize>) {
        *self.batches.lock().unwrap() = sizes;
    }

    pub fn head(&self) -> u64 {
        self.shared.lock().unwrap().events.last().map_or(0, |event| event.position.0)
    }

    pub fn push(
        &self,
        stream: StreamId,
        event_type: &str,
        data: serde_json::Value,
        subject: Option<Uuid>,
        recorded_at: DateTime<Utc>,
    ) {
        let mut shared = self.shared.lock().unwrap();
        let sequence =
            1 + shared.events.iter().filter(|event| event.stream == stream).count() as u64;
        let last = shared.events.last().map_or(0, |event| event.position.0);
        let position = Position(last + 1 + last % 3);
        shared.events.push(RecordedEvent {
            position,
            event_id: Uuid::from_u128(u128::from(position.0)),
            stream,
            sequence,
            event_type: event_type.to_owned(),
            event_version: 1,
            data,
            metadata: Metadata {
                actor: Actor::system("test"),
                correlation_id: Uuid::nil(),
                causation_id: None,
                subject,
            },
            workspace_id: None,
            account_id: None,
            occurred_at: recorded_at,
            recorded_at,
        });
        if event_type == "contact.erased" {
            shared.destroyed.insert(stream.id);
        }
        drop(shared);
        self.changed.notify_waiters();
    }

    pub fn fold<A: GatewayAggregate>(&self, id: impl Into<Uuid>) -> A {
        let stream = StreamId::new(A::AGGREGATE_TYPE, id);
        let shared = self.shared.lock().unwrap();
        let mut state = A::default();
        for event in shared.events.iter().filter(|event| event.stream == stream) {
            state.apply(event.decode::<A::Event>().unwrap());
        }
        state
    }

    /// Decides and appends; `false` where the command was refused or changed nothing.
    pub fn command<A: GatewayAggregate>(
        &self,
        id: impl Into<Uuid>,
        command: A::Command,
        recorded_at: DateTime<Utc>,
    ) -> bool {
        let stream = StreamId::new(A::AGGREGATE_TYPE, id);
        let mut state: A = self.fold(stream.id);
        let Ok(events) = state.decide(command) else { return false };
        let is_news = !events.is_empty();
        for event in events {
            state.apply(event.clone());
            let _ = event.occurred_at();
            let event_type = cqrs_event_type(&event);
            let data = serde_json::to_value(&event).unwrap();
            self.push(stream, &event_type, data, state.subject(), recorded_at);
        }
        is_news
    }

    /// As if events at the end had never been: a log restored from a backup.
    pub fn truncate(&self, events: usize) {
        self.shared.lock().unwrap().events.truncate(events);
    }

    pub fn replace_data(&self, event_type: &str, data: serde_json::Value) -> serde_json::Value {
        let mut shared = self.shared.lock().unwrap();
        let event = shared.events.iter_mut().find(|event| event.event_type == event_type).unwrap();
        std::mem::replace(&mut event.data, data)
    }

    /// When an event of one of these types was last recorded in a message's stream.
    pub fn last_of(&self, id: Uuid, types: &[&str]) -> Option<DateTime<Utc>> {
        let shared = self.shared.lock().unwrap();
        let theirs = shared
            .events
            .iter()
            .rev()
            .find(|event| event.stream.id == id && types.contains(&event.event_type.as_str()));
        theirs.map(|event| event.recorded_at)
    }

    pub fn len(&self) -> usize {
        self.shared.lock().unwrap().events.len()
    }
}

fn cqrs_event_type<E: serde::Serialize>(event: &E) -> String {
    serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned()
}

fn erased(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(object) if object.contains_key(MARK_KNOWN) => {
            object.clear();
            object.insert(MARK_ERASED.to_owned(), true.into());
        }
        serde_json::Value::Object(object) => object.values_mut().for_each(erased),
        serde_json::Value::Array(items) => items.iter_mut().for_each(erased),
        _ => {}
    }
}

#[async_trait]
impl EventFeed for Log {
    async fn read_after(
        &self,
        after: Position,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<FeedPage, FeedError> {
        let sizes = self.batches.lock().unwrap().clone();
        let limit = match sizes.as_slice() {
            [] => limit,
            sizes => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                sizes[turn % sizes.len()].clamp(1, limit)
            }
        };
        let shared = self.shared.lock().unwrap();
        let mut page = FeedPage { events: vec![], scanned_to: after, at_head: true };
        for event in shared.events.iter().filter(|event| event.position > after) {
            let is_wanted = (filter.aggregate_types.is_empty()
                || filter.aggregate_types.contains(&event.stream.aggregate_type))
                && filter.recorded_to.is_none_or(|to| event.recorded_at < to);
            if is_wanted && page.events.len() == limit {
                page.at_head = false;
                return Ok(page);
            }
            page.scanned_to = event.position;
            if is_wanted {
                let mut event = event.clone();
                if event.metadata.subject.is_some_and(|id| shared.destroyed.contains(&id)) {
                    erased(&mut event.data);
                }
                page.events.push(event);
            }
        }
        Ok(page)
    }

    async fn read_streams(&self, _: &[StreamId]) -> Result<Vec<RecordedEvent>, FeedError> {
        Ok(vec![])
    }

    async fn read_stream_page(
        &self,
        _: StreamId,
        _: u64,
        _: usize,
    ) -> Result<Vec<RecordedEvent>, FeedError> {
        Ok(vec![])
    }

    async fn head(&self) -> Result<Position, FeedError> {
        Ok(Position(Log::head(self)))
    }

    async fn changed(&self, after: Position) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if Log::head(self) > after.0 {
                return;
            }
            changed.await;
        }
    }
}

/// A database of one test's own.
pub struct TestDb {
    pub name: &'static str,
    pub db: ReadDb,
    /// Keeps the directory for as long as the test runs.
    pub directory: Option<tempfile::TempDir>,
    schema: Option<(sqlx::PgPool, String)>,
}

impl TestDb {
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = ReadDb::open_sqlite(directory.path().join("gateway.read.db")).await.unwrap();
        Self { name: "sqlite", db, directory: Some(directory), schema: None }
    }

    pub async fn postgres() -> Option<Self> {
        let Ok(url) = std::env::var("TEST_DATABASE_URL") else {
            eprintln!("left out: PostgreSQL (TEST_DATABASE_URL is not set)");
            return None;
        };
        let schema = format!("read_models_{}", Uuid::now_v7().simple());
        let admin = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        sqlx::query(&format!("CREATE SCHEMA {schema}")).execute(&admin).await.unwrap();
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.options([("search_path", schema.as_str())]);
        let pool = PgPoolOptions::new().max_connections(6).connect_with(options).await.unwrap();
        let db = ReadDb::open_postgres(pool).await.unwrap();
        Some(Self { name: "postgres", db, directory: None, schema: Some((admin, schema)) })
    }

    pub async fn all() -> Vec<Self> {
        let mut all = vec![Self::sqlite().await];
        all.extend(Self::postgres().await);
        all
    }

    pub async fn projections(&self, log: &Log) -> Projections {
        Projections::open(self.db.clone(), Arc::new(log.clone())).await.unwrap()
    }

    pub async fn close(self) {
        if let Some((admin, schema)) = self.schema {
            sqlx::query(&format!("DROP SCHEMA {schema} CASCADE")).execute(&admin).await.unwrap();
        }
    }
}

/// Every row of every table, in the order of the keys.
pub async fn dump(db: &ReadDb) -> BTreeMap<&'static str, Vec<String>> {
    let mut tables = BTreeMap::new();
    for table in SCHEMAS.iter().flat_map(|schema| schema.tables) {
        let names = |columns: &[crate::store::Column]| {
            columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
        };
        let sql = Sql::new(&format!(
            "SELECT {} FROM {{{}}} ORDER BY {}",
            names(table.columns),
            table.name,
            names(table.key_columns())
        ));
        let rows = db.query(sql).await.unwrap();
        tables.insert(table.name, rows.iter().map(|row| shown(&row.0)).collect());
    }
    tables
}

/// Documents unpacked.
fn shown(values: &[Value]) -> String {
    let value = |value: &Value| match value {
        Value::Doc(packed) => String::from_utf8(gateway_pack::unpack(packed).unwrap()).unwrap(),
        other => format!("{other:?}"),
    };
    values.iter().map(value).collect::<Vec<_>>().join(", ")
}

/// The documents that say any of these, as they are stored.
pub async fn packed_docs(db: &ReadDb, texts: &[&str]) -> Vec<Vec<u8>> {
    let mut docs = vec![];
    for table in ["messages", "contacts"] {
        for row in db.query(Sql::new(&format!("SELECT doc FROM {{{table}}}"))).await.unwrap() {
            let Some(Value::Doc(packed)) = row.0.into_iter().next() else { continue };
            let doc = String::from_utf8(gateway_pack::unpack(&packed).unwrap()).unwrap();
            if texts.iter().any(|text| doc.contains(text)) {
                docs.push(packed);
            }
        }
    }
    docs
}

pub fn assert_same(
    left: &BTreeMap<&'static str, Vec<String>>,
    right: &BTreeMap<&'static str, Vec<String>>,
) {
    for (table, rows) in left {
        let others = &right[table];
        for (row, other) in rows.iter().zip(others) {
            assert_eq!(row, other, "{table}");
        }
        assert_eq!(rows.len(), others.len(), "{table}");
    }
}

pub fn phone(n: u128) -> PhoneNumber {
    PhoneNumber::parse(&format!("+49151{n:08}")).unwrap()
}

pub fn add_contact(log: &Log, n: u128, tags: &[&str], ms: i64) -> ContactId {
    add_contact_to(log, WORKSPACE, n, tags, ms)
}

pub fn add_contact_to(
    log: &Log,
    workspace_id: WorkspaceId,
    n: u128,
    tags: &[&str],
    ms: i64,
) -> ContactId {
    let contact_id = ContactId(id(n));
    let changes = ContactChanges {
        phone: Some(Some(phone(n))),
        name: Some(Some(format!("Ana Marker{n}"))),
        external_id: Some(Some(format!("crm-{n}"))),
        add_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..ContactChanges::default()
    };
    let add = ContactCommand::Add {
        workspace_id,
        contact_id,
        changes: Box::new(changes),
        origin: ContactOrigin::Api,
        at: at(ms),
    };
    assert!(log.command::<Contact>(contact_id.0, add, at(ms)));
    contact_id
}

pub fn template(category: TemplateCategory) -> TemplateRef {
    TemplateRef {
        id: TemplateId(id(0x7e)),
        name: "hello".to_owned(),
        language: "en".to_owned(),
        category,
    }
}

pub fn header(contact: u128, campaign: Option<CampaignId>) -> MessageHeader {
    MessageHeader {
        workspace_id: WORKSPACE,
        account_id: ACCOUNT,
        contact_id: ContactId(id(contact)),
        campaign_id: campaign,
        is_test: false,
        content_kind: ContentKind::Template,
        template: Some(template(TemplateCategory::Marketing)),
        priority: if campaign.is_some() { Priority::Bulk } else { Priority::Single },
        time_to_live_s: Some(3_600),
        external_id: Some(Personal::from(format!("order-{contact}"))),
        metadata: None,
        reply_to: None,
        country: Some(Country::parse("GB").unwrap()),
    }
}

pub fn plan(header: MessageHeader, due: i64, ms: i64) -> MessageCommand {
    let n = header.contact_id.0.as_u128() & 0xffff;
    MessageCommand::Plan(Box::new(Plan {
        header,
        to: Recipient { phone: Some(phone(n)), user_id: None },
        content: Content::Text { body: format!("Marker{n} hello"), preview_url: false },
        skip: None,
        due_at: at(due),
        at: at(ms),
    }))
}

/// Queues message `n` of contact `contact`.
pub fn queue(log: &Log, n: u128, header: MessageHeader, due: i64, ms: i64) -> Uuid {
    let message_id = id(0x10_0000 + n);
    assert!(log.command::<Message>(message_id, plan(header, due, ms), at(ms)));
    message_id
}

pub fn draft_campaign(log: &Log, campaign_id: CampaignId, ms: i64) {
    let plan = CampaignPlan {
        name: "Autumn".to_owned(),
        template_id: TemplateId(id(0x7e)),
        parameters: Personal::from(serde_json::Map::new()),
        audience: Audience { all: true, ..Audience::default() },
        schedule: None,
        messages_per_second: None,
        frequency_cap: None,
        time_to_live_s: None,
    };
    let draft = CampaignCommand::Draft {
        workspace_id: WORKSPACE,
        campaign_id,
        account_id: ACCOUNT,
        external_id: None,
        metadata: None,
        plan: Box::new(plan),
        at: at(ms),
    };
    assert!(log.command::<domain::campaign::Campaign>(campaign_id.0, draft, at(ms)));
}

pub fn connect_account(log: &Log, account_id: AccountId, name: &str, number: &str, ms: i64) {
    let connect = AccountCommand::Connect(Box::new(ConnectAccount {
        workspace_id: WORKSPACE,
        provider: AccountProvider::Sandbox,
        phone_number_id: number.to_owned(),
        waba_id: "77".to_owned(),
        credentials: BTreeMap::new(),
        settings: AccountSettings {
            name: name.to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            default_region: "DE".to_owned(),
            ..AccountSettings::default()
        },
        at: at(ms),
    }));
    assert!(log.command::<domain::account::Account>(account_id.0, connect, at(ms)));
}

pub fn create_workspace(log: &Log, workspace_id: WorkspaceId, ms: i64) {
    let create = domain::workspace::WorkspaceCommand::Create {
        workspace_id,
        name: "Acme".to_owned(),
        at: at(ms),
    };
    assert!(log.command::<domain::workspace::Workspace>(workspace_id.0, create, at(ms)));
}

/// Random histories of a campaign's messages, some singles, some replies, some erasures.
pub mod histories {
    use domain::message::{
        Answer, DeliveryStatus, Failure, InDoubtResolution, OptOutSign, SkipReason, StatusReport,
    };
    use domain::primitives::{MessageId, Wamid};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    pub struct Op {
        message: u8,
        action: u8,
        choice: u8,
        wait_ms: i64,
    }

    pub fn ops(
        count: impl Into<proptest::collection::SizeRange>,
    ) -> impl Strategy<Value = Vec<Op>> {
        let op = (0u8..24, 0u8..29, any::<u8>(), 0i64..1_500)
            .prop_map(|(message, action, choice, wait_ms)| Op { message, action, choice, wait_ms });
        prop::collection::vec(op, count)
    }

    pub fn start(log: &Log) {
        create_workspace(log, WORKSPACE, 0);
        connect_account(log, ACCOUNT, "Main", "111", 0);
        draft_campaign(log, CAMPAIGN, 0);
        for n in 0..6 {
            add_contact(log, n, &["vip"], n as i64);
        }
    }

    /// Runs the operations; those that the domain refuses do nothing. Returns the time of the last.
    pub fn run(log: &Log, ops: &[Op], mut now: i64) -> i64 {
        for op in ops {
            now += op.wait_ms;
            let contact = u128::from(op.message % 6);
            let n = u128::from(op.message);
            let message_id = id(0x10_0000 + n);
            let campaign = (op.message % 5 != 0).then_some(CAMPAIGN);
            let mut header = header(contact, campaign);
            header.is_test = op.message % 11 == 7;
            let message: Message = log.fold(message_id);
            let attempt = message.attempt_count().max(1);
            let wamid = Wamid::parse(&format!("wamid.Marker{n}.{attempt}")).unwrap();
            let failure = |retryable| Failure {
                code: [None, Some(131_026), Some(131_049)][usize::from(op.choice % 3)],
                title: ["unreachable", "undeliverable", "not now"][usize::from(op.choice % 3)]
                    .to_owned(),
                details: None,
                retryable,
                keep_away: None,
            };
            let time = at(now);
            let later = at(now + 60_000);
            if !log.fold::<Contact>(id(contact)).erased || message.header.is_some() {
                let command = match op.action {
                    0..=4 if op.message == 20 => MessageCommand::Receive {
                        header: Box::new(MessageHeader { campaign_id: None, ..header }),
                        from: Recipient { phone: Some(phone(contact)), user_id: None },
                        wamid,
                        content: Content::Text {
                            body: "Marker yes".to_owned(),
                            preview_url: false,
                        },
                        opens_window: op.choice % 2 == 0,
                        at: time,
                    },
                    0..=2 => plan(header, now, now),
                    3 => plan(header, now + 5_000, now),
                    4 => match plan(header, now, now) {
                        MessageCommand::Plan(mut plan) => {
                            plan.skip = Some((SkipReason::NoConsent, None));
                            MessageCommand::Plan(plan)
                        }
                        other => other,
                    },
                    5..=8 => MessageCommand::RequestSend {
                        attempt: message.attempt_count() + 1,
                        send_by: at(now + 10_000),
                        at: time,
                    },
                    9..=10 => {
                        MessageCommand::RecordAccepted { attempt, wamid, held: false, at: time }
                    }
                    11 => MessageCommand::RecordRefused {
                        attempt,
                        failure: failure(true),
                        retry_at: (op.choice % 2 == 0).then_some(later),
                        at: time,
                    },
                    12 => MessageCommand::RecordUnknown {
                        attempt,
                        reason: "timeout".to_owned(),
                        grace_until: later,
                        at: time,
                    },
                    13 => MessageCommand::Resolve {
                        resolution: [
                            InDoubtResolution::TreatAsSent,
                            InDoubtResolution::SendAgain,
                            InDoubtResolution::GiveUp,
                        ][usize::from(op.choice % 3)],
                        due_at: later,
                        at: time,
                    },
                    14 => MessageCommand::Cancel { reason: None, at: time },
                    15 => MessageCommand::Expire { at: time },
                    16 => MessageCommand::Retry { due_at: later, at: time },
                    17 => MessageCommand::Reschedule { due_at: later, at: time },
                    18 if op.choice < 16 => {
                        let erase = ContactCommand::Erase {
                            reason: "asked".to_owned(),
                            suppressions: vec![],
                            at: time,
                        };
                        log.command::<Contact>(id(contact), erase, time);
                        continue;
                    }
                    26..=27 => match plan(header, now + i64::from(op.choice % 2) * 5_000, now) {
                        MessageCommand::Plan(mut plan) => {
                            let is_erased = log.fold::<Contact>(id(contact)).erased;
                            plan.skip = match op.choice % 4 {
                                _ if is_erased => Some((SkipReason::Erased, None)),
                                0 => Some((SkipReason::BadTimeZone, None)),
                                _ => None,
                            };
                            // The template may have another category by then.
                            if op.choice % 3 == 0 {
                                plan.header.template = Some(template(TemplateCategory::Utility));
                            }
                            MessageCommand::Replan(plan)
                        }
                        other => other,
                    },
                    28 => MessageCommand::Skip {
                        reason: SkipReason::OptedOut,
                        detail: None,
                        at: time,
                    },
                    24..=25 => MessageCommand::RecordAnswer(Answer {
                        reply_id: Some(MessageId(id(0x20_0000 + n))),
                        reply: (op.choice % 2 == 0).then_some(op.choice % 4 == 0),
                        click: [None, Some(None), Some(Some("Yes".to_owned()))]
                            [usize::from(op.choice % 3)]
                        .clone(),
                        opt_out: (op.choice % 5 == 0).then_some(OptOutSign::Reply),
                        at: time,
                    }),
                    _ => MessageCommand::RecordStatus(Box::new(StatusReport {
                        attempt: Some(attempt),
                        wamid,
                        status: [
                            DeliveryStatus::Sent,
                            DeliveryStatus::Delivered,
                            DeliveryStatus::Read,
                            DeliveryStatus::Failed,
                        ][usize::from(op.choice % 4)],
                        pricing: (op.choice % 3 == 0).then(|| {
                            serde_json::json!({ "billable": op.choice % 2 == 0, "category": "marketing" })
                        }),
                        failure: (op.choice % 4 == 3).then(|| failure(false)),
                        retry_at: (op.choice % 8 == 3).then_some(later),
                        at: time,
                    })),
                };
                log.command::<Message>(message_id, command, time);
            }
        }
        now
    }
}
