//! Lists, look-ups and scopes.

use domain::account::AccountCommand;
use domain::contact::{ConsentStatus, Contact, ContactCommand};
use domain::message::{Message, MessageCommand, MessageStatus};
use domain::primitives::{AccountId, ContactId, Wamid};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::json;
use uuid::Uuid;

use super::harness::*;
use crate::store::Sql;
use crate::{
    AccountFilter, ContactFilter, Cursor, MessageFilter, PageRequest, Queries, Scope, Total,
};

async fn filled(db: &TestDb, log: &Log) -> Queries {
    let projections = db.projections(log).await;
    projections.catch_up(None).await.unwrap();
    projections.queries()
}

/// Every id by walking the pages, forwards and backwards.
async fn walk<F>(page: F) -> (Vec<Uuid>, Vec<Uuid>)
where
    F: AsyncFn(PageRequest) -> (Vec<(Cursor, Uuid)>, bool, bool),
{
    let (mut forwards, mut backwards) = (vec![], vec![]);
    let mut after = None;
    loop {
        let (items, has_next, has_previous) = page(PageRequest::after(7, after)).await;
        assert_eq!(has_previous, after.is_some());
        forwards.extend(items.iter().map(|(_, id)| *id));
        after = items.last().map(|(cursor, _)| *cursor);
        if !has_next {
            break;
        }
        // Through its text, as a client returns it.
        after = after.map(|cursor| Cursor::parse(&cursor.to_string()).unwrap());
    }
    let mut before = None;
    loop {
        let (items, _, has_previous) = page(PageRequest::last(5, before)).await;
        backwards.extend(items.iter().rev().map(|(_, id)| *id));
        before = items.first().map(|(cursor, _)| *cursor);
        if !has_previous {
            break;
        }
    }
    (forwards, backwards)
}

#[tokio::test]
async fn pages_visit_each_row_once_in_both_directions() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        create_workspace(&log, OTHER_WORKSPACE, 0);
        for n in 0..40 {
            add_contact_to(&log, if n % 3 == 0 { OTHER_WORKSPACE } else { WORKSPACE }, n, &[], 0);
        }
        for n in 0..53u128 {
            let mut header = header(n % 6, (n % 2 == 0).then_some(CAMPAIGN));
            if n % 5 == 0 {
                header.workspace_id = OTHER_WORKSPACE;
            }
            // Many at one instant, so that the id has to settle the order.
            queue(&log, n, header, 0, (n / 10) as i64);
        }
        let queries = filled(&db, &log).await;
        let all = Scope::everything();
        let filters = [
            (MessageFilter::default(), 53),
            (MessageFilter { campaign_ids: Some(vec![CAMPAIGN.0]), ..Default::default() }, 27),
            (
                MessageFilter {
                    contact_ids: Some(vec![id(1), id(2), id(2)]),
                    status: Some(vec![MessageStatus::Queued, MessageStatus::Read]),
                    ..Default::default()
                },
                18,
            ),
        ];
        for (filter, expected) in &filters {
            let (forwards, mut backwards) = walk(async |page| {
                let page = queries.messages(&all, filter, &page).await.unwrap();
                let items = page.items.into_iter().map(|(c, stored)| (c, stored.id)).collect();
                (items, page.has_next, page.has_previous)
            })
            .await;
            backwards.reverse();
            assert_eq!(forwards, backwards);
            assert_eq!(forwards.len(), *expected);
            let distinct: std::collections::BTreeSet<_> = forwards.iter().collect();
            assert_eq!(distinct.len(), *expected);
            let total = queries.count_messages(&all, filter).await.unwrap();
            assert_eq!(total, Total { count: *expected as u64, is_exact: true });
        }
        let filter = ContactFilter::default();
        let (forwards, mut backwards) = walk(async |page| {
            let page = queries.contacts(&all, &filter, &page).await.unwrap();
            let items = page.items.into_iter().map(|(c, stored)| (c, stored.id)).collect();
            (items, page.has_next, page.has_previous)
        })
        .await;
        backwards.reverse();
        assert_eq!(forwards, (0..40).map(id).collect::<Vec<_>>());
        assert_eq!(forwards, backwards);
        db.close().await;
    }
}

#[tokio::test]
async fn what_lies_outside_a_scope_does_not_exist() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        create_workspace(&log, OTHER_WORKSPACE, 0);
        connect_account(&log, ACCOUNT, "Main", "111", 0);
        add_contact(&log, 1, &[], 0);
        add_contact_to(&log, OTHER_WORKSPACE, 2, &[], 0);
        let message_id = queue(&log, 1, header(1, None), 0, 0);
        let queries = filled(&db, &log).await;

        let ours = Scope::workspace(WORKSPACE);
        let theirs = Scope::workspace(OTHER_WORKSPACE);
        let no_account = Scope { accounts: Some(vec![id(99)]), ..ours.clone() };
        let nobody = Scope { workspaces: Some(vec![]), accounts: None };
        assert_eq!(queries.messages_by_id(&ours, &[message_id]).await.unwrap().len(), 1);
        for scope in [&theirs, &no_account, &nobody] {
            assert!(queries.messages_by_id(scope, &[message_id]).await.unwrap().is_empty());
            assert!(queries.accounts_by_id(scope, &[ACCOUNT.0]).await.unwrap().is_empty());
            let page = PageRequest::first(10);
            let found = queries.messages(scope, &MessageFilter::default(), &page).await.unwrap();
            assert!(found.items.is_empty());
            let filter =
                MessageFilter { workspace_id: Some(WORKSPACE.0), ..MessageFilter::default() };
            if scope != &no_account {
                assert_eq!(queries.count_messages(scope, &filter).await.unwrap().count, 0);
            }
        }
        assert_eq!(queries.contacts_by_id(&ours, &[id(1), id(2)]).await.unwrap().len(), 1);
        assert_eq!(queries.workspaces(&theirs).await.unwrap().len(), 1);
        assert_eq!(queries.workspaces(&Scope::everything()).await.unwrap().len(), 2);
        let filter = ContactFilter { workspace_id: Some(OTHER_WORKSPACE.0), ..Default::default() };
        assert_eq!(queries.count_contacts(&ours, &filter).await.unwrap().count, 0);
        db.close().await;
    }
}

#[tokio::test]
async fn contacts_are_found_by_what_is_known_of_them_until_they_are_merged_or_erased() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        for n in 1..=4 {
            add_contact(&log, n, if n % 2 == 0 { &["even", "all"] } else { &["all"] }, 0);
        }
        let consent = ContactCommand::RecordConsent {
            category: None,
            status: ConsentStatus::OptedIn,
            source: "form".to_owned(),
            evidence: None,
            given_at: at(0),
            at: at(1),
        };
        log.command::<Contact>(id(1), consent, at(1));
        let projections = db.projections(&log).await;
        projections.catch_up(None).await.unwrap();
        let queries = projections.queries();
        let scope = Scope::workspace(WORKSPACE);
        let find = async |filter: ContactFilter| -> Vec<Uuid> {
            let page = PageRequest::first(10);
            let found = queries.contacts(&scope, &filter, &page).await.unwrap();
            found.into_items().into_iter().map(|stored| stored.id).collect()
        };
        let search =
            |text: &str| ContactFilter { search: Some(text.to_owned()), ..Default::default() };
        assert_eq!(find(search("ANA marker2")).await, [id(2)]);
        assert_eq!(find(search("1510000000")).await.len(), 4);
        assert_eq!(find(search("CRM-3")).await, [id(3)]);
        assert!(find(search("%")).await.is_empty());
        let tagged = |tags: &[&str]| ContactFilter {
            tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
            ..Default::default()
        };
        assert_eq!(find(tagged(&["even"])).await, [id(2), id(4)]);
        assert!(find(tagged(&["even", "odd"])).await.is_empty(), "nobody has both");
        let consent = Some(vec![ConsentStatus::OptedIn]);
        assert_eq!(find(ContactFilter { consent, ..Default::default() }).await, [id(1)]);
        let phone_numbers = Some(vec![phone(3), phone(77)]);
        assert_eq!(find(ContactFilter { phone_numbers, ..Default::default() }).await, [id(3)]);
        let by_external = queries.contact_by_external_id(WORKSPACE.0, "crm-2").await.unwrap();
        assert_eq!(by_external.unwrap().id, id(2));

        log.command::<Contact>(
            id(2),
            ContactCommand::MarkMerged { into: ContactId(id(4)), at: at(2) },
            at(2),
        );
        let erase =
            ContactCommand::Erase { reason: "asked".to_owned(), suppressions: vec![], at: at(2) };
        log.command::<Contact>(id(3), erase, at(2));
        projections.catch_up(None).await.unwrap();
        assert_eq!(find(ContactFilter::default()).await, [id(1), id(4)]);
        let with_erased = ContactFilter { include_erased: true, ..Default::default() };
        assert_eq!(find(with_erased).await, [id(1), id(3), id(4)]);
        assert!(queries.contact_by_external_id(WORKSPACE.0, "crm-2").await.unwrap().is_none());
        assert!(queries.contact_by_phone(WORKSPACE.0, &phone(3)).await.unwrap().is_none());
        let still = queries.contacts_by_id(&scope, &[id(2), id(3)]).await.unwrap();
        assert_eq!(still[&id(2)].state.merged_into, Some(ContactId(id(4))));
        assert!(still[&id(3)].state.erased);
        // Who went into whom, also by way of another.
        assert_eq!(queries.merged_into(&[id(4)]).await.unwrap(), [id(2)]);
        log.command::<Contact>(
            id(4),
            ContactCommand::MarkMerged { into: ContactId(id(1)), at: at(3) },
            at(3),
        );
        projections.catch_up(None).await.unwrap();
        assert_eq!(queries.merged_into(&[id(1), id(3)]).await.unwrap(), [id(2), id(4)]);
        assert_eq!(queries.merged_into(&[id(1), id(4)]).await.unwrap(), [id(2)]);
        assert!(queries.merged_into(&[id(2), id(3)]).await.unwrap().is_empty());
        let merges = queries.merges(None, 10).await.unwrap();
        assert_eq!(merges, [(id(1), id(4)), (id(4), id(2))]);
        assert_eq!(queries.merges(Some(merges[0]), 10).await.unwrap(), merges[1..]);
        assert_eq!(queries.merges(None, 1).await.unwrap(), merges[..1]);
        db.close().await;
    }
}

#[tokio::test]
async fn messages_are_found_by_wamid_and_by_the_integrators_id() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let message_id = queue(&log, 1, header(1, None), 0, 0);
        queue(&log, 2, header(2, None), 0, 0);
        let request = MessageCommand::RequestSend { attempt: 1, send_by: at(9), at: at(1) };
        log.command::<Message>(message_id, request, at(1));
        let wamid = Wamid::parse("wamid.HBgL").unwrap();
        let accepted = MessageCommand::RecordAccepted {
            attempt: 1,
            wamid: wamid.clone(),
            held: false,
            at: at(2),
        };
        log.command::<Message>(message_id, accepted, at(2));
        let queries = filled(&db, &log).await;
        let scope = Scope::workspace(WORKSPACE);
        let found = queries.message_by_wamid(&scope, &wamid).await.unwrap().unwrap();
        assert_eq!((found.id, found.sequence), (message_id, 3));
        assert_eq!(*found.state, log.fold::<Message>(message_id));
        let elsewhere = Scope::workspace(OTHER_WORKSPACE);
        assert!(queries.message_by_wamid(&elsewhere, &wamid).await.unwrap().is_none());
        let filter = MessageFilter {
            external_ids: Some(vec!["order-2".to_owned()]),
            ..MessageFilter::default()
        };
        let page = queries.messages(&scope, &filter, &PageRequest::first(5)).await.unwrap();
        assert_eq!(page.into_items()[0].id, id(0x10_0002));
        db.close().await;
    }
}

#[tokio::test]
async fn accounts_are_listed_and_found_by_number() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let (old, new) = (AccountId(id(1)), AccountId(id(2)));
        connect_account(&log, old, "Berlin", "111", 0);
        let leave = AccountCommand::Disconnect { reason: "moved".to_owned(), at: at(1) };
        log.command::<domain::account::Account>(old.0, leave, at(1));
        connect_account(&log, new, "Köln", "111", 2);
        let queries = filled(&db, &log).await;
        let found = queries.account_by_phone_number_id("111").await.unwrap().unwrap();
        assert_eq!(found.id, new.0);
        assert_eq!(queries.accounts_by_waba("77").await.unwrap().len(), 1);
        let filter = AccountFilter { search: Some("KÖLN".to_owned()), ..Default::default() };
        let page = PageRequest::first(5);
        let found = queries.accounts(&Scope::everything(), &filter, &page).await.unwrap();
        assert_eq!(found.into_items()[0].id, new.0);
        let all = AccountFilter::default();
        assert_eq!(queries.count_accounts(&Scope::everything(), &all).await.unwrap().count, 2);
        db.close().await;
    }
}

#[tokio::test]
async fn an_imports_errors_and_changes_are_listed() {
    use domain::contact::{ContactChanges, ContactOrigin};
    use domain::import::{
        Import, ImportCommand, ImportRowError, ImportSource, ImportTotals, StartImport,
    };
    use domain::primitives::ImportId;
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let import_id = ImportId(id(0x1234));
        let start = StartImport {
            import_id,
            workspace_id: WORKSPACE,
            file_name: None,
            source: ImportSource::Inline,
            dry_run: false,
            tags: Default::default(),
            consent: None,
            default_region: None,
            mapping: None,
            at: at(0),
        };
        log.command::<Import>(import_id.0, ImportCommand::Start(Box::new(start)), at(0));
        for step in 0..2u64 {
            let error = |row| ImportRowError {
                row,
                column: Some("phone".to_owned()),
                message: "no number".to_owned(),
            };
            let progress = ImportCommand::Progress {
                totals: ImportTotals {
                    rows: 10 * (step + 1),
                    rejected: 2 * (step + 1),
                    ..Default::default()
                },
                cursor_row: 10 * (step + 1),
                errors: vec![error(10 * step + 1), error(10 * step + 2)],
                at: at(1),
            };
            assert!(log.command::<Import>(import_id.0, progress, at(1)));
        }
        add_contact(&log, 1, &[], 0);
        let changes = ContactChanges {
            name: Some(Some("Bea".to_owned())),
            add_tags: ["fair".to_owned()].into(),
            ..ContactChanges::default()
        };
        let update = ContactCommand::Update {
            changes: Box::new(changes),
            origin: ContactOrigin::Import { import_id },
            at: at(2),
        };
        log.command::<Contact>(id(1), update, at(2));
        let queries = filled(&db, &log).await;
        let errors = queries.import_errors(import_id.0, 3).await.unwrap();
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1, 2, 11]);
        let scope = Scope::workspace(WORKSPACE);
        let import = queries.imports_by_id(&scope, &[import_id.0]).await.unwrap();
        let import = &import[&import_id.0].state;
        assert_eq!((import.totals.rows, import.errors.len()), (20, 0));
        assert_eq!(queries.running_imports().await.unwrap().len(), 1);
        let changes = queries.import_changes(import_id.0, None, 10).await.unwrap();
        let kinds: Vec<&str> = changes.iter().map(|change| change.kind.as_str()).collect();
        assert_eq!(kinds, ["updated", "tagged"]);
        let rest = queries.import_changes(import_id.0, Some((id(1), 2)), 10).await.unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(json!(rest[0].kind), json!("tagged"));
        db.close().await;
    }
}

#[tokio::test]
async fn a_list_by_statuses_has_those_and_no_other() {
    // As many different fates as 400 operations give to 24 messages, always the same.
    let mut runner = TestRunner::deterministic();
    let operations = histories::ops(400).new_tree(&mut runner).unwrap().current();
    for db in TestDb::all().await {
        let log = Log::default();
        histories::start(&log);
        histories::run(&log, &operations, 1_000);
        let queries = filled(&db, &log).await;
        let list = async |status: Option<Vec<MessageStatus>>| {
            let filter = MessageFilter {
                status,
                campaign_ids: Some(vec![CAMPAIGN.0]),
                ..MessageFilter::default()
            };
            let page = PageRequest::first(100);
            let found = queries.messages(&Scope::everything(), &filter, &page).await.unwrap();
            let total = queries.count_messages(&Scope::everything(), &filter).await.unwrap();
            assert_eq!(total.count as usize, found.items.len());
            found.into_items()
        };
        let all = list(None).await;
        let mut fates = std::collections::BTreeSet::new();
        for first in MessageStatus::ALL {
            for second in MessageStatus::ALL {
                let wanted: Vec<Uuid> = all
                    .iter()
                    .filter(|stored| [first, second].contains(&stored.state.status()))
                    .map(|stored| stored.id)
                    .collect();
                let found = list(Some(vec![first, second])).await;
                let found: Vec<Uuid> = found.iter().map(|stored| stored.id).collect();
                assert_eq!(found, wanted, "{first:?} {second:?} on {}", db.name);
                if first == second && !wanted.is_empty() {
                    fates.insert(first);
                }
            }
        }
        assert!(fates.len() >= 5, "{fates:?}");
        db.close().await;
    }
}

/// Else each of them writes the whole row anew, with an entry in every index.
#[tokio::test]
async fn what_a_status_changes_is_in_no_index() {
    let Some(db) = TestDb::postgres().await else { return };
    filled(&db, &Log::default()).await;
    let sql = Sql::new(
        "SELECT DISTINCT a.attname FROM pg_index AS i \
         JOIN pg_attribute AS a ON a.attrelid = i.indrelid \
         WHERE i.indrelid = '{messages}'::regclass AND (a.attnum = ANY(i.indkey) \
         OR pg_get_expr(i.indpred, i.indrelid) LIKE '%' || a.attname || '%')",
    );
    let rows = db.db.query(sql).await.unwrap();
    let indexed: Vec<&str> = rows.iter().map(|row| row.text(0).unwrap()).collect();
    assert!(indexed.contains(&"stage") && indexed.contains(&"category"), "{indexed:?}");
    for column in ["status", "sequence", "doc", "attempts", "replied_at", "clicked_at"] {
        assert!(!indexed.contains(&column), "{column} is in an index");
    }
    db.close().await;
}
