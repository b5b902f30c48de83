//! Imports on a real store, with the worker that does them.

use std::sync::Arc;

use domain::Identity;
use domain::api_key::Scope;
use domain::contact::{ConsentStatus, Contact, ContactChanges, ContactCommand, ContactOrigin};
use domain::port::EventFeed;
use domain::primitives::{Actor, Personal, PhoneNumber};
use infrastructure::clock::{SystemClock, SystemIds};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::application::workspaces;
use crate::config::Config;
use crate::worker;

struct World {
    gateway: Arc<Gateway>,
    workspace: WorkspaceId,
    caller: Caller,
    /// The read models; goes with the world.
    _models: JoinSet<()>,
    worker: JoinSet<()>,
    stop: watch::Sender<bool>,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("gateway.db").display());
        let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let flags = [flag("store.url", &url), flag("secrets.master_key", &"42".repeat(32))];
        let config = Config::load(None, [], &flags).unwrap();
        let gateway =
            Gateway::open(config, Arc::new(SystemClock), Arc::new(SystemIds::new())).await.unwrap();
        let mut models = JoinSet::new();
        let read = gateway.read.clone();
        models.spawn(async move { read.run().await });
        let workspace = workspaces::ensure_default_workspace(&gateway).await.unwrap();
        let caller = Caller::everything(Actor::system("test"));
        let (worker, stop) = (JoinSet::new(), watch::Sender::new(false));
        Self { gateway, workspace, caller, _models: models, worker, stop, dir }
    }

    async fn working() -> Self {
        let mut world = Self::new().await;
        world.work();
        world
    }

    fn work(&mut self) {
        self.worker.spawn(worker::import::run(self.gateway.clone(), self.stop.subscribe()));
    }

    /// As a kill does, in the middle of whatever is going on.
    async fn kill_worker(&mut self) {
        self.worker.shutdown().await;
    }

    async fn inline(&self, csv: &str, input: StartImport) -> AppResult<ImportView> {
        Ok(start_inline(&self.gateway, &self.caller, csv.to_owned(), input).await?.value)
    }

    async fn upload(&self, csv: String, input: StartImport) -> AppResult<ImportView> {
        let chunks: Vec<_> = csv
            .into_bytes()
            .chunks(10_000)
            .map(|c| Ok::<_, String>(Bytes::copy_from_slice(c)))
            .collect();
        Ok(start_upload(&self.gateway, &self.caller, input, futures::stream::iter(chunks))
            .await?
            .value)
    }

    async fn view(&self, id: ImportId) -> ImportView {
        get(&self.gateway, &self.caller, &id.to_string(), None).await.unwrap()
    }

    async fn until(&self, id: ImportId, is_so: impl Fn(&ImportView) -> bool) -> ImportView {
        let waiting = async {
            loop {
                let view = self.view(id).await;
                if is_so(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the import gets there")
    }

    async fn ended(&self, id: ImportId) -> ImportView {
        self.until(id, |view| view.status != ImportStatus::Running).await
    }

    async fn imported(&self, csv: &str, input: StartImport) -> ImportView {
        let started = self.inline(csv, input).await.unwrap();
        self.ended(started.id).await
    }

    async fn contact_by(&self, phone: &str) -> Option<(Uuid, Contact)> {
        let identity = Identity::new(self.workspace.0, Identity::PHONE, phone);
        let id = self.gateway.bus.resolve_identities(&[identity]).await.unwrap().pop().flatten()?;
        let loaded = self.gateway.bus.load::<Contact>(id).await.unwrap()?;
        Some((id, loaded.aggregate))
    }

    async fn contacts(&self) -> u64 {
        let scope = projections::Scope::everything();
        let filter = projections::ContactFilter::default();
        self.gateway.read.queries().count_contacts(&scope, &filter).await.unwrap().count
    }

    async fn command(&self, id: Uuid, command: ContactCommand) {
        let context = command::context(&self.gateway, &self.caller);
        self.gateway.bus.execute::<Contact>(id, command, &context).await.unwrap();
    }

    async fn add_by_hand(&self, phone: &str, name: &str) -> Uuid {
        let now = self.gateway.clock.now();
        let id = self.gateway.ids.next_id(now);
        let changes = ContactChanges {
            phone: Some(PhoneNumber::parse(phone).ok()),
            name: Some(Some(name.to_owned())),
            ..ContactChanges::default()
        };
        self.command(
            id,
            ContactCommand::Add {
                workspace_id: self.workspace,
                contact_id: domain::primitives::ContactId(id),
                changes: Box::new(changes),
                origin: ContactOrigin::Api,
                at: now,
            },
        )
        .await;
        id
    }
}

fn input() -> StartImport {
    StartImport {
        workspace_id: None,
        dry_run: false,
        mapping: None,
        default_region: None,
        tags: vec![],
        consent: None,
        consent_source: None,
        file_name: None,
        source: ImportSource::Inline,
        idempotency_key: None,
    }
}

/// Numbers for examples, as many as wanted.
fn phone(n: usize) -> String {
    format!("+4915112{n:06}")
}

fn file(rows: std::ops::Range<usize>) -> String {
    let mut csv = "phone,name,city,external_id\n".to_owned();
    for n in rows {
        csv.push_str(&format!("{},Person {n},Berlin,crm-{n}\n", phone(n)));
    }
    csv
}

fn name(contact: &Contact) -> Option<&str> {
    contact.details.name.as_ref().and_then(Personal::known).map(String::as_str)
}

fn counts(view: &ImportView) -> (u64, u64, u64, u64) {
    (view.rows, view.added, view.updated, view.rejected)
}

#[tokio::test]
async fn good_rows_come_in_bad_ones_are_told_and_a_repetition_doubles_nobody() {
    let world = World::working().await;
    let mut csv = file(0..1_200);
    csv.push_str("12,No number,,\n");
    csv.push_str(&format!("{},Again,,\n", phone(3)));
    csv.push_str(&format!("{},Two people,,crm-5\n", phone(4)));
    let first =
        world.imported(&csv, StartImport { tags: vec!["fair".to_owned()], ..input() }).await;
    assert_eq!(first.status, ImportStatus::Completed, "{:?}", first.reason);
    assert_eq!(counts(&first), (1_203, 1_200, 1, 2));
    let errors = first.errors.clone().expect("one import comes with its errors");
    assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1_202, 1_204]);
    assert_eq!(errors[0].column.as_deref(), Some("phone"));
    // A list leaves them out until they are asked for.
    let head = world.gateway.ledger.head().await.unwrap();
    let page = list(&world.gateway, &world.caller, None, PageArgs::default(), Some(head));
    let page = page.await.unwrap();
    let listed = &page.edges[0].node;
    assert_eq!((listed.id, &listed.errors, counts(listed)), (first.id, &None, counts(&first)));
    assert_eq!(super::errors(&world.gateway, first.id, 1).await.unwrap(), errors[..1]);
    // COMPLETED means that they can be found.
    assert_eq!(world.contacts().await, 1_200);
    let (_, contact) = world.contact_by(&phone(3)).await.unwrap();
    assert_eq!(name(&contact), Some("Again"));
    assert_eq!(contact.attribute("city"), Some(&json!("Berlin")));
    assert!(contact.tags.contains("fair"));

    let second =
        world.imported(&csv, StartImport { tags: vec!["fair".to_owned()], ..input() }).await;
    assert_eq!(counts(&second), (1_203, 0, 1_201, 2));
    assert_eq!(world.contacts().await, 1_200);
}

#[tokio::test]
async fn a_file_is_sealed_on_disk_and_gone_with_its_key_at_the_end() {
    let mut world = World::new().await;
    let started = world.inline(&file(0..10), input()).await.unwrap();
    let path = world.dir.path().join("imports").join(format!("{}.spool", started.id));
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"Berlin" || part == b"Person"));
    world.work();
    world.ended(started.id).await;
    let gone = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    let opened = spools(&world.gateway).open(started.id, world.gateway.bus.keys()).await;
    assert!(matches!(opened, Err(SpoolError::Missing)));
    std::fs::write(&path, bytes).unwrap();
    let opened = spools(&world.gateway).open(started.id, world.gateway.bus.keys()).await;
    assert!(matches!(opened, Err(SpoolError::Unreadable)));
}

#[tokio::test]
async fn a_worker_that_is_killed_at_any_moment_goes_on_and_counts_right() {
    let mut world = World::new().await;
    let started = world.upload(file(0..4_000), input()).await.unwrap();
    for row in [1, 1_000, 2_500] {
        world.work();
        world
            .until(started.id, |view| view.rows >= row || view.status != ImportStatus::Running)
            .await;
        world.kill_worker().await;
    }
    world.work();
    let ended = world.ended(started.id).await;
    assert_eq!(ended.status, ImportStatus::Completed, "{:?}", ended.reason);
    assert_eq!(counts(&ended), (4_000, 4_000, 0, 0));
    assert_eq!(world.contacts().await, 4_000);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_at_once_and_changes_nobody() {
    let world = World::working().await;
    world.add_by_hand(&phone(1), "By hand").await;
    let before = world.gateway.bus.ledger().head().await.unwrap();
    let mut csv = file(0..600);
    // Known from a step before.
    csv.push_str(&format!("{},Again,,\nnobody,,,\n", phone(7)));
    let view = world.inline(&csv, StartImport { dry_run: true, ..input() }).await.unwrap();
    assert_eq!(view.status, ImportStatus::Completed);
    assert_eq!(counts(&view), (602, 599, 2, 1));
    assert!(world.contact_by(&phone(0)).await.is_none());
    let page = world
        .gateway
        .bus
        .ledger()
        .read_after(before, &domain::port::EventFilter::default(), 100)
        .await
        .unwrap();
    assert!(page.events.iter().all(|event| event.event_type.starts_with("import.")));
    let undone = undo(&world.gateway, &world.caller, &view.id.to_string()).await;
    assert_eq!(undone.unwrap_err().code, ErrorCode::Conflict);
}

#[tokio::test]
async fn an_undo_takes_back_what_nobody_has_built_on_and_may_be_repeated() {
    let world = World::working().await;
    let known = world.add_by_hand(&phone(1), "By hand").await;
    let consent = StartImport {
        tags: vec!["fair".to_owned()],
        consent: Some(ConsentStatus::OptedIn),
        consent_source: Some("fair".to_owned()),
        ..input()
    };
    let import = world.imported(&file(0..700), consent).await;
    assert_eq!(counts(&import), (700, 699, 1, 0));
    // Somebody says stop: that stands on the import.
    let (stopped, _) = world.contact_by(&phone(2)).await.unwrap();
    let now = world.gateway.clock.now();
    let stop = ContactCommand::OptOut {
        category: None,
        source: "STOP".to_owned(),
        evidence: None,
        said_at: now,
        at: now,
    };
    world.command(stopped, stop).await;

    let id = import.id.to_string();
    // It may take longer than one asks, or be interrupted: then it is asked for again.
    let undone = loop {
        match undo(&world.gateway, &world.caller, &id).await {
            Err(error) if error.code == ErrorCode::Unavailable => {}
            done => break done.unwrap(),
        }
    };
    assert!(undone.value.undone_at.is_some());
    world.gateway.read.wait_for_all(undone.position, Duration::from_secs(20)).await.unwrap();
    assert_eq!(world.contacts().await, 2);
    let (_, contact) = world.contact_by(&phone(1)).await.unwrap();
    assert_eq!(name(&contact), Some("By hand"));
    assert!(contact.tags.is_empty());
    assert_eq!(contact.details.external_id, None);
    assert_eq!(contact.consent.status(), ConsentStatus::Unknown);
    assert_eq!(world.contact_by(&phone(1)).await.unwrap().0, known);
    let (_, contact) = world.contact_by(&phone(2)).await.unwrap();
    assert_eq!(contact.consent.status(), ConsentStatus::OptedOut);
    assert!(world.contact_by(&phone(3)).await.is_none());

    let again = undo(&world.gateway, &world.caller, &id).await.unwrap();
    assert_eq!((again.value.undone_at, again.position), (undone.value.undone_at, undone.position));
    // Nobody is held back who comes again.
    let again = world.imported(&file(3..10), input()).await;
    assert_eq!(counts(&again), (7, 7, 0, 0));
}

#[tokio::test]
async fn who_was_erased_after_an_opt_out_stays_opted_out() {
    let world = World::working().await;
    let id = world.add_by_hand(&phone(1), "Ana").await;
    let now = world.gateway.clock.now();
    world
        .command(
            id,
            ContactCommand::OptOut {
                category: None,
                source: "STOP".to_owned(),
                evidence: None,
                said_at: now,
                at: now,
            },
        )
        .await;
    let context = command::context(&world.gateway, &world.caller);
    infrastructure::ledger::erase_contact(&world.gateway.bus, id, "asked for it", &context)
        .await
        .unwrap();
    let consent = StartImport { consent: Some(ConsentStatus::OptedIn), ..input() };
    let import = world.imported(&file(0..3), consent).await;
    assert_eq!(counts(&import), (3, 3, 0, 0));
    assert_eq!(
        world.contact_by(&phone(1)).await.unwrap().1.consent.status(),
        ConsentStatus::OptedOut
    );
    assert_eq!(
        world.contact_by(&phone(2)).await.unwrap().1.consent.status(),
        ConsentStatus::OptedIn
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_whole_is_said_with_its_field() {
    let world = World::working().await;
    let big = "x".repeat(INLINE_BYTES_MAX + 1);
    let cases = [
        (big.as_str(), input(), "input.csv"),
        ("", input(), "input.csv"),
        ("city\nBerlin\n", input(), "input.csv"),
        (
            "phone\n+4930123456\n",
            StartImport { mapping: Some(json!({ "phone": "fax" })), ..input() },
            "input.mapping",
        ),
        (
            "phone\n+4930123456\n",
            StartImport { mapping: Some(json!({ "Handy": "phone" })), ..input() },
            "input.mapping",
        ),
        (
            "phone\n+4930123456\n",
            StartImport { default_region: Some("XX".to_owned()), ..input() },
            "input.defaultRegion",
        ),
        (
            "phone\n+4930123456\n",
            StartImport { tags: vec![" ".to_owned()], ..input() },
            "input.tags",
        ),
    ];
    for (csv, input, field) in cases {
        let error = world.inline(csv, input).await.unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::ValidationFailed, Some(field))
        );
    }
    let started = world.upload("city\nBerlin\n".to_owned(), input()).await.unwrap();
    let failed = world.ended(started.id).await;
    assert_eq!(failed.status, ImportStatus::Failed);
    assert!(failed.reason.unwrap().contains("phone"));
    let broken =
        futures::stream::iter([Ok(Bytes::from_static(b"phone\n")), Err("connection reset")]);
    let error = start_upload(&world.gateway, &world.caller, input(), broken).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("body"));
    let left = std::fs::read_dir(world.dir.path().join("imports")).unwrap();
    assert!(
        left.flatten()
            .all(|entry| entry.path().extension().is_none_or(|extension| extension != "part"))
    );
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_import_of_one_file() {
    let world = World::working().await;
    let keyed = || StartImport { idempotency_key: Some("monday".to_owned()), ..input() };
    let first = world.inline(&file(0..3), keyed()).await.unwrap();
    assert_eq!(world.inline(&file(0..3), keyed()).await.unwrap().id, first.id);
    assert_eq!(world.upload(file(0..3), keyed()).await.unwrap().id, first.id);
    let other = world.inline(&file(0..4), keyed()).await.unwrap_err();
    assert_eq!(other.code, ErrorCode::IdempotencyKeyReused);
}

#[tokio::test]
async fn two_imports_of_a_workspace_run_at_a_time() {
    let mut world = World::new().await;
    let first = world.inline(&file(0..3), input()).await.unwrap();
    world.upload(file(3..6), input()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            world.inline(&file(6..9), input()).await.unwrap_err().code,
            ErrorCode::RateLimited
        );
    }
    let running = undo(&world.gateway, &world.caller, &first.id.to_string()).await.unwrap_err();
    assert_eq!(running.code, ErrorCode::Conflict);
    world.work();
    world.ended(first.id).await;
    assert!(world.inline(&file(6..9), input()).await.is_ok());
}

#[tokio::test]
async fn imports_need_the_scope_and_the_workspace() {
    let world = World::new().await;
    let started = world.inline(&file(0..3), input()).await.unwrap();
    let id = started.id.to_string();
    let reader = Caller { scopes: [Scope::Read].into(), ..world.caller.clone() };
    let refused = start_inline(&world.gateway, &reader, file(0..3), input()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert_eq!(undo(&world.gateway, &reader, &id).await.unwrap_err().code, ErrorCode::Forbidden);
    assert!(get(&world.gateway, &reader, &id, None).await.is_ok());
    let elsewhere = [WorkspaceId(Uuid::from_u128(77))].into();
    let stranger = Caller { workspaces: Some(elsewhere), ..world.caller.clone() };
    for id in [id.as_str(), "no id"] {
        assert_eq!(
            get(&world.gateway, &stranger, id, None).await.unwrap_err().code,
            ErrorCode::NotFound
        );
        assert_eq!(
            undo(&world.gateway, &stranger, id).await.unwrap_err().code,
            ErrorCode::NotFound
        );
    }
    let named = StartImport { workspace_id: Some(world.workspace.to_string()), ..input() };
    let refused = start_inline(&world.gateway, &stranger, file(0..3), named).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
}
