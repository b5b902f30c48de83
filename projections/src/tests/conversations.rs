//! Conversations: what moves them, what merging and erasing does to them, and their lists.

use std::collections::BTreeSet;

use domain::contact::{Contact, ContactCommand};
use domain::conversation::{
    Conversation, ConversationCommand, Handling, Inbound, Opening, ReadMark,
};
use domain::message::{Content, Message, MessageCommand, MessageHeader, Recipient, SkipReason};
use domain::primitives::{AccountId, ConsoleUserId, ContactId, MessageId, Wamid, conversation_id};
use uuid::Uuid;

use super::harness::*;
use crate::store::Sql;
use crate::{
    ConversationFilter, ConversationRow, Cursor, PageRequest, Place, Projections, Queries, Scope,
    Total,
};

const OTHER_ACCOUNT: AccountId = AccountId(Uuid::from_u128(0xacd));

fn conversation(contact: u128) -> Uuid {
    conversation_id(ACCOUNT, ContactId(id(contact))).0
}

fn header_with(account: AccountId, contact: u128) -> MessageHeader {
    MessageHeader { account_id: account, ..header(contact, None) }
}

/// A message of the person, without its conversation: as it was before there were any.
fn wrote_before(log: &Log, account: AccountId, contact: u128, n: u128, ms: i64) -> Inbound {
    let message_id = id(0x20_0000 + n);
    let header = header_with(account, contact);
    let heard = Inbound {
        workspace_id: header.workspace_id,
        account_id: account,
        contact_id: header.contact_id,
        message_id: MessageId(message_id),
        opens_window: !n.is_multiple_of(7),
        at: at(ms),
    };
    let receive = MessageCommand::Receive {
        header: Box::new(header),
        from: Recipient { phone: Some(phone(contact)), user_id: None },
        wamid: Wamid::parse(&format!("wamid.in{n}")).unwrap(),
        content: Content::Text { body: format!("Marker{n} hi"), preview_url: false },
        opens_window: heard.opens_window,
        at: at(ms),
    };
    assert!(log.command::<Message>(message_id, receive, at(ms)));
    heard
}

fn wrote_to(log: &Log, account: AccountId, contact: u128, n: u128, ms: i64) -> Place {
    let heard = wrote_before(log, account, contact, n, ms);
    let stream = conversation_id(account, heard.contact_id).0;
    log.command::<Conversation>(stream, ConversationCommand::NoteInbound(heard), at(ms));
    Place::new(at(ms), heard.message_id.0)
}

fn wrote(log: &Log, contact: u128, n: u128, ms: i64) -> Place {
    wrote_to(log, ACCOUNT, contact, n, ms)
}

fn read_up_to(log: &Log, contact: u128, place: Place, ms: i64) {
    let up_to = ReadMark { written_at: place.at(), message_id: MessageId(place.id) };
    let command = ConversationCommand::MarkRead { up_to, show_receipt: false, at: at(ms) };
    assert!(log.command::<Conversation>(conversation(contact), command, at(ms)));
}

fn merge(log: &Log, from: u128, into: u128, ms: i64) {
    let command = ContactCommand::MarkMerged { into: ContactId(id(into)), at: at(ms) };
    assert!(log.command::<Contact>(id(from), command, at(ms)));
    let mut halves = log.fold::<Contact>(id(from)).halves;
    halves.insert(ContactId(id(from)));
    let command = ContactCommand::Absorb { halves, at: at(ms) };
    assert!(log.command::<Contact>(id(into), command, at(ms)));
}

async fn filled(db: &TestDb, log: &Log) -> Projections {
    let projections = db.projections(log).await;
    projections.catch_up(None).await.unwrap();
    projections
}

async fn one(queries: &Queries, contact: u128) -> Option<ConversationRow> {
    let ids = [conversation(contact)];
    queries.conversations_by_id(&Scope::everything(), &ids).await.unwrap().into_values().next()
}

async fn unread(queries: &Queries, row: &ConversationRow) -> u64 {
    let people = queries.halves_of(&[row.contact_id]).await.unwrap().remove(&row.contact_id);
    queries.unread(row, &people.unwrap(), row.read).await.unwrap()
}

async fn listed(queries: &Queries, filter: &ConversationFilter) -> Vec<Uuid> {
    let page = PageRequest::first(100);
    let page = queries.conversations(&Scope::everything(), filter, &page).await.unwrap();
    page.into_items().into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn a_person_who_writes_has_a_conversation_and_whoever_is_only_written_to_has_none() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let first = wrote(&log, 1, 1, 1_000);
        // Told late, it was written earlier.
        let earlier = wrote(&log, 1, 2, 500);
        let reaction = wrote(&log, 1, 7, 2_000);
        let campaign = queue(&log, 1, header(1, Some(CAMPAIGN)), 0, 3_000);
        queue(&log, 2, header(2, Some(CAMPAIGN)), 0, 3_000);
        let queries = filled(&db, &log).await.queries();
        let row = one(&queries, 1).await.expect("a conversation");
        assert_eq!(row.opened_at, Some(at(1_000)));
        assert_eq!((row.first, row.last_inbound), (earlier, reaction));
        assert_eq!(row.last, Place::new(at(3_000), campaign));
        assert_eq!(row.window_at, Some(first.at()), "a reaction opens no window");
        assert_eq!((row.handling, row.assigned_to, row.read), (Handling::None, None, None));
        assert_eq!(unread(&queries, &row).await, 3);
        assert_eq!(one(&queries, 2).await, None);
        let between = [(ACCOUNT.0, id(1)), (ACCOUNT.0, id(2)), (OTHER_ACCOUNT.0, id(1))];
        let known = queries.conversations_between(&between).await.unwrap();
        assert_eq!(known.into_iter().collect::<Vec<_>>(), [((ACCOUNT.0, id(1)), row.id)]);
        let page = queries.conversation_messages(&row, &[id(1)], &PageRequest::first(10)).await;
        let thread: Vec<Uuid> =
            page.unwrap().into_items().into_iter().map(|stored| stored.id).collect();
        assert_eq!(thread, [earlier.id, first.id, reaction.id, campaign]);
        db.close().await;
    }
}

#[tokio::test]
async fn who_is_left_out_at_once_moves_nothing() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let place = wrote(&log, 1, 1, 1_000);
        let MessageCommand::Plan(mut skipped) = plan(header(1, Some(CAMPAIGN)), 0, 2_000) else {
            unreachable!("a plan is one")
        };
        skipped.skip = Some((SkipReason::NoConsent, None));
        assert!(log.command::<Message>(id(5), MessageCommand::Plan(skipped), at(2_000)));
        let queries = filled(&db, &log).await.queries();
        let row = one(&queries, 1).await.expect("a conversation");
        assert_eq!(row.last, place);
        assert_eq!(queries.count_conversation_messages(&row, &[id(1)]).await.unwrap().count, 2);
        db.close().await;
    }
}

#[tokio::test]
async fn what_was_read_counts_no_more() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let places: Vec<Place> = (1..6).map(|n| wrote(&log, 1, n, 1_000 * n as i64)).collect();
        // Two of the same second: the id settles which is the later one.
        let (same, other) = (wrote(&log, 1, 6, 5_500), wrote(&log, 1, 8, 5_500));
        assert!(same < other);
        read_up_to(&log, 1, places[2], 9_000);
        let projections = filled(&db, &log).await;
        let queries = projections.queries();
        let row = one(&queries, 1).await.unwrap();
        assert_eq!((row.read, unread(&queries, &row).await), (Some(places[2]), 4));
        let up_to = queries.last_written(&row, &[id(1)], Place::new(at(4_500), id(1))).await;
        assert_eq!(up_to.unwrap().map(|stored| stored.id), Some(places[3].id));
        let before = queries.last_written(&row, &[id(1)], Place::new(at(500), id(1))).await;
        assert!(before.unwrap().is_none());
        let is_unread = |unread| ConversationFilter { unread: Some(unread), ..Default::default() };
        assert_eq!(listed(&queries, &is_unread(true)).await, [row.id]);

        read_up_to(&log, 1, same, 9_001);
        projections.catch_up(None).await.unwrap();
        let row = one(&queries, 1).await.unwrap();
        assert_eq!(unread(&queries, &row).await, 1);
        read_up_to(&log, 1, other, 9_002);
        projections.catch_up(None).await.unwrap();
        let row = one(&queries, 1).await.unwrap();
        assert!(!row.is_unread());
        assert_eq!(unread(&queries, &row).await, 0);
        assert!(listed(&queries, &is_unread(true)).await.is_empty());
        assert_eq!(listed(&queries, &is_unread(false)).await, [row.id]);
        db.close().await;
    }
}

#[tokio::test]
async fn merged_people_have_one_thread_and_the_one_who_stays_keeps_their_own() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        for n in 1..6 {
            add_contact(&log, n, &[], n as i64);
        }
        let user = ConsoleUserId(id(0x55));
        let assign = ConversationCommand::Assign { user_id: Some(user), at: at(10) };
        // 1 has a conversation and goes into 2, who has none; 3 and 4 both have one.
        let first = wrote(&log, 1, 1, 1_000);
        assert!(log.command::<Conversation>(conversation(1), assign, at(10)));
        let third = wrote(&log, 3, 3, 3_000);
        let fourth = wrote(&log, 4, 4, 4_000);
        read_up_to(&log, 4, fourth, 4_100);
        let projections = filled(&db, &log).await;
        merge(&log, 1, 2, 5_000);
        merge(&log, 3, 4, 5_000);
        projections.catch_up(None).await.unwrap();
        let queries = projections.queries();
        assert_eq!((one(&queries, 1).await, one(&queries, 3).await), (None, None));
        let taken = one(&queries, 2).await.expect("goes on as 2's");
        assert_eq!((taken.opened_at, taken.continues), (None, Some(conversation(1))));
        assert_eq!((taken.first, taken.assigned_to), (first, Some(user.0)));
        let joined = one(&queries, 4).await.expect("4's own");
        assert_eq!((joined.opened_at, joined.continues), (Some(at(4_000)), None));
        assert_eq!((joined.first, joined.last), (third, fourth));
        assert_eq!(joined.read, Some(fourth));
        assert_eq!(unread(&queries, &joined).await, 0);

        // What is to be opened is, as it was handled; and a message for who went into another moves the thread.
        let rows = queries.unopened_conversations(None, 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [taken.id]);
        let opening = Opening {
            first: Inbound {
                workspace_id: WORKSPACE,
                account_id: ACCOUNT,
                contact_id: ContactId(taken.contact_id),
                message_id: MessageId(taken.first.id),
                opens_window: true,
                at: taken.first.at(),
            },
            last_window_at: taken.window_at,
            handling: taken.handling,
            assigned_to: Some(user),
            read: None,
            continues: taken.continues.map(Into::into),
        };
        let open = ConversationCommand::Open(Box::new(opening));
        assert!(log.command::<Conversation>(taken.id, open, at(6_000)));
        let late = queue(&log, 9, header(1, Some(CAMPAIGN)), 0, 7_000);
        // And once more: 2 goes into 5.
        projections.catch_up(None).await.unwrap();
        let opened = one(&queries, 2).await.unwrap();
        assert_eq!((opened.opened_at, opened.assigned_to), (Some(at(1_000)), Some(user.0)));
        assert_eq!(opened.last, Place::new(at(7_000), late));
        merge(&log, 2, 5, 8_000);
        let last = wrote(&log, 5, 5, 9_000);
        projections.catch_up(None).await.unwrap();
        let whole = one(&queries, 5).await.expect("the thread of three");
        assert_eq!((whole.first, whole.last), (first, last));
        let people = queries.halves_of(&[id(5)]).await.unwrap().remove(&id(5)).unwrap();
        assert_eq!(people, [id(5), id(1), id(2)]);
        let thread = queries.conversation_messages(&whole, &people, &PageRequest::first(9)).await;
        let thread: Vec<Uuid> =
            thread.unwrap().into_items().into_iter().map(|stored| stored.id).collect();
        assert_eq!(thread, [first.id, late, last.id]);
        for contact in [1, 2, 5] {
            let pair = (ACCOUNT.0, id(contact));
            let known = queries.conversations_between(&[pair]).await.unwrap();
            assert_eq!(known[&pair], whole.id);
        }
        db.close().await;
    }
}

#[tokio::test]
async fn conversations_from_before_there_were_any_are_known_and_not_open() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        wrote_before(&log, ACCOUNT, 1, 1, 1_000);
        let queries = filled(&db, &log).await.queries();
        let row = one(&queries, 1).await.unwrap();
        assert_eq!((row.opened_at, row.last_inbound.at()), (None, at(1_000)));
        let rows = queries.unopened_conversations(None, 10).await.unwrap();
        assert_eq!(rows, std::slice::from_ref(&row));
        assert!(queries.unopened_conversations(Some(row.id), 10).await.unwrap().is_empty());
        db.close().await;
    }
}

#[tokio::test]
async fn lists_go_by_activity_and_are_narrowed() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        create_workspace(&log, OTHER_WORKSPACE, 0);
        for n in 1..31u128 {
            add_contact(&log, n, &[], n as i64);
            // Many at one instant, so that the id has to settle the order.
            let account = if n % 3 == 0 { OTHER_ACCOUNT } else { ACCOUNT };
            wrote_to(&log, account, n, 100 + n, 1_000 * (n / 5) as i64);
        }
        let user = ConsoleUserId(id(0x55));
        let assign = ConversationCommand::Assign { user_id: Some(user), at: at(10) };
        assert!(log.command::<Conversation>(conversation(4), assign, at(10)));
        let hand = ConversationCommand::HandOver { to: Handling::People, at: at(10) };
        assert!(log.command::<Conversation>(conversation(5), hand, at(10)));
        let reply = queue(&log, 1, header(1, None), 0, 99_000);
        let queries = filled(&db, &log).await.queries();
        let all = listed(&queries, &ConversationFilter::default()).await;
        assert_eq!(all.len(), 30);
        assert_eq!(all[0], conversation(1), "a message to the person is activity");
        assert_eq!(one(&queries, 1).await.unwrap().last.id, reply);
        // Every page, both ways.
        let scope = Scope::everything();
        let filter = ConversationFilter::default();
        let (mut forwards, mut backwards) = (vec![], vec![]);
        let (mut after, mut before) = (None, None);
        loop {
            let request = PageRequest::after(7, after);
            let page = queries.conversations(&scope, &filter, &request).await.unwrap();
            after = page.end.map(|cursor| Cursor::parse(&cursor.to_string()).unwrap());
            let has_next = page.has_next;
            forwards.extend(page.into_items().into_iter().map(|row| row.id));
            if !has_next {
                break;
            }
        }
        loop {
            let request = PageRequest::last(7, before);
            let page = queries.conversations(&scope, &filter, &request).await.unwrap();
            before = page.start;
            let has_previous = page.has_previous;
            backwards.extend(page.into_items().into_iter().rev().map(|row| row.id));
            if !has_previous {
                break;
            }
        }
        backwards.reverse();
        assert_eq!((&forwards, &backwards), (&all, &all));
        let total = queries.count_conversations(&scope, &filter).await.unwrap();
        assert_eq!(total, Total { count: 30, is_exact: true });

        let narrowed = async |filter: ConversationFilter| listed(&queries, &filter).await;
        let accounts = Some(vec![OTHER_ACCOUNT.0]);
        let theirs = narrowed(ConversationFilter { account_ids: accounts, ..filter.clone() }).await;
        assert_eq!(theirs.len(), 10);
        let assigned_to = Some(user.0);
        let mine = narrowed(ConversationFilter { assigned_to, ..filter.clone() }).await;
        assert_eq!(mine, [conversation(4)]);
        let handling = Some(vec![Handling::People]);
        let peoples = narrowed(ConversationFilter { handling, ..filter.clone() }).await;
        assert_eq!(peoples, [conversation(5)]);
        let search = |text: &str| ConversationFilter {
            search: Some(text.to_owned()),
            ..ConversationFilter::default()
        };
        assert_eq!(narrowed(search("  marker8 ")).await, [conversation(8)]);
        assert_eq!(narrowed(search(phone(10).as_str())).await, [conversation(10)]);
        assert!(narrowed(search("100%")).await.is_empty());
        let limited = Scope { workspaces: Some(vec![OTHER_WORKSPACE.0]), accounts: None };
        let page = PageRequest::first(10);
        let none = queries.conversations(&limited, &filter, &page).await.unwrap();
        assert!(none.into_items().is_empty());
        let limited =
            Scope { workspaces: Some(vec![WORKSPACE.0]), accounts: Some(vec![OTHER_ACCOUNT.0]) };
        let some = queries.conversations(&limited, &filter, &page).await.unwrap();
        assert_eq!(some.into_items().len(), 10);
        let known = queries.conversations_by_id(&limited, &[conversation(1)]).await.unwrap();
        assert!(known.is_empty());
        // Found by nothing once they are erased, and still there.
        let erase = ContactCommand::Erase {
            reason: "asked".to_owned(),
            suppressions: vec![],
            at: at(99_500),
        };
        assert!(log.command::<Contact>(id(8), erase, at(99_500)));
        let queries = filled(&db, &log).await.queries();
        assert!(listed(&queries, &search("marker8")).await.is_empty());
        assert!(one(&queries, 8).await.is_some());
        let rows = dump(&db.db).await;
        for row in rows["conversations"].iter().chain(&rows["messages"]) {
            assert!(!row.contains("Marker108 hi"), "{row}");
        }
        db.close().await;
    }
}

/// However the log is cut into batches, and built anew: the same rows.
#[tokio::test]
async fn batches_and_rebuilds_end_in_the_same_conversations() {
    let log = Log::default();
    create_workspace(&log, WORKSPACE, 0);
    for n in 1..8 {
        add_contact(&log, n, &[], n as i64);
    }
    let mut ms = 1_000;
    let mut gone = BTreeSet::new();
    for n in 0..120u128 {
        ms += 7;
        let contact = 1 + (n * 5) % 7;
        match n % 9 {
            _ if n == 40 || n == 41 || n == 80 => {
                let (from, into) = [(1, 2), (3, 2), (2, 6)][match n {
                    40 => 0,
                    41 => 1,
                    _ => 2,
                }];
                merge(&log, from, into, ms);
                gone.insert(from);
            }
            0..=2 if !gone.contains(&contact) => {
                wrote(&log, contact, n, ms - i64::from(n % 4 == 0) * 500);
            }
            3 => {
                wrote_before(&log, OTHER_ACCOUNT, contact, n, ms);
            }
            4 if log.fold::<Conversation>(conversation(contact)).opened_at.is_some() => {
                let up_to =
                    ReadMark { written_at: at(ms - 100), message_id: MessageId(id(0x20_0000 + n)) };
                let command =
                    ConversationCommand::MarkRead { up_to, show_receipt: false, at: at(ms) };
                log.command::<Conversation>(conversation(contact), command, at(ms));
            }
            5 if log.fold::<Conversation>(conversation(contact)).opened_at.is_some() => {
                let user_id = (n % 2 == 0).then_some(ConsoleUserId(id(n)));
                let command = ConversationCommand::Assign { user_id, at: at(ms) };
                log.command::<Conversation>(conversation(contact), command, at(ms));
            }
            _ => {
                queue(&log, n, header(contact, Some(CAMPAIGN)), 0, ms);
            }
        }
    }
    for db in TestDb::all().await {
        let mut seen = vec![];
        for sizes in [vec![], vec![1], vec![2, 7, 3]] {
            log.in_batches_of(sizes);
            let fresh = match db.name {
                "sqlite" => TestDb::sqlite().await,
                _ => TestDb::postgres().await.expect("it was there a moment ago"),
            };
            let projections = filled(&fresh, &log).await;
            seen.push(dump(&fresh.db).await);
            projections.rebuild_now(crate::names::MESSAGES).await.unwrap().unwrap();
            seen.push(dump(&fresh.db).await);
            let unread = Sql::new("SELECT COUNT(*) FROM {conversations} WHERE unread = 1");
            assert!(fresh.db.query(unread).await.unwrap()[0].int(0).unwrap() > 0);
            fresh.close().await;
        }
        for other in &seen[1..] {
            assert_same(&seen[0], other);
        }
        assert!(seen[0]["conversations"].len() > 6);
        assert_eq!(seen[0]["merged_people"].len(), 3);
        db.close().await;
    }
}

/// What the lists cost with very many: prints it.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_hundred_thousand_conversations_are_listed_in_moments() {
    const MANY: u128 = 100_000;
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let projections = filled(&db, &log).await;
        let queries = projections.queries();
        let rows: Vec<Vec<crate::store::Value>> = (0..MANY)
            .map(|n| {
                let place = Place::new(at(n as i64 * 10), id(0x100_0000 + n));
                let row = ConversationRow {
                    id: conversation(n),
                    workspace_id: WORKSPACE.0,
                    account_id: ACCOUNT.0,
                    contact_id: id(n),
                    opened_at: Some(place.at()),
                    first: place,
                    last: place,
                    last_inbound: place,
                    window_at: Some(place.at()),
                    read: (n % 1_000 != 0).then_some(place),
                    handling: Handling::None,
                    assigned_to: (n % 100 == 0).then(|| id(0x55)),
                    continues: None,
                };
                row.values()
            })
            .collect();
        let view = db.db.live();
        for chunk in rows.chunks(10_000) {
            let guard =
                Sql::new("UPDATE projections SET updated_at = updated_at WHERE name = 'messages'");
            let table = &crate::messages::CONVERSATIONS;
            let write = crate::store::Write::Upsert { table, rows: chunk.to_vec() };
            assert!(db.db.commit(&view, &guard, vec![write]).await.unwrap());
        }
        let scope = Scope::workspace(WORKSPACE);
        let limited =
            Scope { workspaces: Some(vec![WORKSPACE.0]), accounts: Some(vec![ACCOUNT.0]) };
        let all = ConversationFilter::default();
        let deep = queries.conversations(&scope, &all, &PageRequest::first(500)).await.unwrap();
        let deep = PageRequest::after(50, deep.end);
        let first = PageRequest::first(50);
        let unread = ConversationFilter { unread: Some(true), ..all.clone() };
        let hers = ConversationFilter { assigned_to: Some(id(0x55)), ..all.clone() };
        let search = ConversationFilter { search: Some("nobody".to_owned()), ..all.clone() };
        for (what, scope, filter, page) in [
            ("first page", &scope, &all, &first),
            ("a page further on", &scope, &all, &deep),
            ("of one account", &limited, &all, &first),
            ("unread", &scope, &unread, &first),
            ("unread of one account", &limited, &unread, &first),
            ("hers", &scope, &hers, &first),
            ("search", &scope, &search, &first),
        ] {
            let began = std::time::Instant::now();
            let found = queries.conversations(scope, filter, page).await.unwrap();
            let took = began.elapsed();
            println!("{}: {what}: {} rows in {took:?}", db.name, found.items.len());
        }
        db.close().await;
    }
}
