//! What both stores promise: each test runs on SQLite, and on PostgreSQL where one is given.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::TimeZone;
use domain::primitives::PhoneNumber;
use gateway_sqlite::{Options, Sqlite};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use super::*;
use crate::event_store::testing::TestDatabase;
use crate::webhook::interpret::{Item, interpret_bytes};

/// Keys in memory, shared by all handles of one test.
#[derive(Default)]
struct MemoryKeys {
    days: Mutex<BTreeMap<NaiveDate, Option<[u8; 32]>>>,
    seals: AtomicUsize,
}

impl MemoryKeys {
    fn key(&self, day: NaiveDate) -> Option<LessSafeKey> {
        let mut days = self.days.lock().unwrap();
        let key = days.entry(day).or_insert_with(|| {
            let mut key = [0; 32];
            SystemRandom::new().fill(&mut key).unwrap();
            Some(key)
        });
        key.as_ref().map(|key| LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap()))
    }
}

#[async_trait]
impl DayKeys for MemoryKeys {
    async fn seal(&self, day: NaiveDate, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, DayKeyError> {
        self.seals.fetch_add(1, Ordering::Relaxed);
        let destroyed = || DayKeyError::Unavailable("the day's key was destroyed".into());
        let key = self.key(day).ok_or_else(destroyed)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).unwrap();
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut sealed,
        )
        .unwrap();
        Ok([&nonce[..], &sealed].concat())
    }

    async fn open(
        &self,
        day: NaiveDate,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, DayKeyError> {
        let Some(key) = self.key(day) else { return Ok(None) };
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(DayKeyError::Corrupt)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DayKeyError::Corrupt)?;
        let mut plain = sealed.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(aad), &mut plain);
        plain.map(|plain| Some(plain.to_vec())).map_err(|_| DayKeyError::Corrupt)
    }

    async fn destroy(&self, days: &[NaiveDate]) -> Result<(), DayKeyError> {
        self.days.lock().unwrap().extend(days.iter().map(|day| (*day, None)));
        Ok(())
    }
}

struct Setup {
    database: Database,
    keys: Arc<MemoryKeys>,
    journal: WebhookJournal,
    directory: Option<tempfile::TempDir>,
    // Dropped last: the pool is gone by then.
    _postgres: Option<TestDatabase>,
}

async fn sqlite() -> Setup {
    let directory = tempfile::tempdir().unwrap();
    let db = Sqlite::open(directory.path().join("gateway.db"), Options::default()).unwrap();
    setup(Database::Sqlite(db), Some(directory), None).await
}

async fn postgres() -> Option<Setup> {
    let server = TestDatabase::create().await?;
    let database = Database::Postgres(pool(&server).await);
    Some(setup(database, None, Some(server)).await)
}

async fn pool(server: &TestDatabase) -> PgPool {
    let options = PgConnectOptions::from_str(&server.url()).unwrap();
    PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap()
}

async fn setup(
    database: Database,
    directory: Option<tempfile::TempDir>,
    postgres: Option<TestDatabase>,
) -> Setup {
    let keys = Arc::new(MemoryKeys::default());
    let journal = WebhookJournal::open(&database, keys.clone()).await.unwrap();
    Setup { database, keys, journal, directory, _postgres: postgres }
}

/// Runs one test on both stores.
macro_rules! on_both {
    ($($name:ident => $test:ident;)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$test(super::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(setup) = super::postgres().await {
                    super::$test(setup).await;
                }
            })*
        }
    };
}

on_both! {
    posts_are_read_back_whole_and_in_order => order;
    posts_that_wait_together_share_a_transaction_and_none_is_lost => concurrent;
    a_reader_never_sees_a_lower_id_appear => no_late_ids;
    pages_hold_to_their_bounds => pages;
    a_body_that_is_too_large_is_refused => too_large;
    a_waiting_reader_wakes_for_a_post => wakes;
    a_cursor_moves_only_from_where_it_is => cursors;
    retention_destroys_keys_and_rows_and_gives_no_id_again => retention;
    a_destroyed_key_and_a_changed_row_cost_only_their_entry => unreadable;
    an_erasure_takes_out_one_person_and_leaves_the_rest => erasure;
    two_erasures_at_once_both_hold => erasures_at_once;
    foreign_items_are_counted_once => foreign;
    parked_items_are_found_by_hash_until_they_are_settled => parked;
    parked_items_end_with_their_entry_their_time_or_their_person => parked_end;
}

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 9, 0, 0).unwrap()
}

fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

/// A status and a message of each of these numbers.
fn body(numbers: &[&str]) -> Vec<u8> {
    let statuses: Vec<_> = numbers
        .iter()
        .map(|number| json!({"id": format!("wamid.{number}"), "status": "sent", "recipient_id": number}))
        .collect();
    let messages: Vec<_> = numbers
        .iter()
        .map(|number| json!({"from": number, "id": "wamid.A", "type": "text", "text": {"body": "hello"}}))
        .collect();
    let value =
        json!({"metadata": {"phone_number_id": "402"}, "statuses": statuses, "messages": messages});
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "301", "changes": [{"field": "messages", "value": value}]}]})
    .to_string()
    .into_bytes()
}

fn person(number: &str) -> Person {
    Person::new([PhoneNumber::parse(number).unwrap()], [])
}

fn item(hash: u8, journal_id: JournalId, path: &str) -> ParkedItem {
    ParkedItem {
        id: 0,
        account_id: account(1),
        wamid_hash: vec![hash; 32],
        journal_id,
        item_path: path.to_owned(),
        received_at: now(),
    }
}

async fn all(journal: &WebhookJournal) -> Vec<JournalEntry> {
    let mut entries: Vec<JournalEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(JournalId(0), |entry| entry.id);
        let page = journal.read_after(after, 100).await.unwrap();
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

async fn order(setup: Setup) {
    let journal = &setup.journal;
    assert_eq!(journal.head().await.unwrap(), JournalId(0));
    assert!(journal.read_after(JournalId(0), 10).await.unwrap().is_empty());
    let at = now() + chrono::Duration::milliseconds(123);
    let odd = [0xff, 0x00, b'{'].to_vec();
    for (n, body) in [(1, body(&["447700900123"])), (2, odd), (1, Vec::new())] {
        let id = journal.append(account(n), at, &body).await.unwrap();
        let entry = journal.read(id).await.unwrap().unwrap();
        let expected = JournalEntry {
            id,
            account_id: account(n),
            received_at: at,
            body: EntryBody::Readable(body),
            rewrites: 0,
        };
        assert!(entry == expected);
        assert_eq!(journal.head().await.unwrap(), id);
    }
    let ids: Vec<u64> = all(journal).await.iter().map(|entry| entry.id.0).collect();
    assert!(ids.is_sorted() && ids.len() == 3);
    assert!(journal.read(JournalId(0)).await.unwrap().is_none());
    assert!(journal.read(JournalId(999)).await.unwrap().is_none());
}

async fn concurrent(setup: Setup) {
    const POSTS: usize = 400;
    let posts = (0..POSTS).map(|n| {
        let journal = setup.journal.clone();
        tokio::spawn(async move {
            let body = format!("post {n}").into_bytes();
            (journal.append(account(n as u128), now(), &body).await.unwrap(), body)
        })
    });
    let mut given = BTreeMap::new();
    for post in posts.collect::<Vec<_>>() {
        let (id, body) = post.await.unwrap();
        assert!(given.insert(id, body).is_none());
    }
    let entries = all(&setup.journal).await;
    assert_eq!(entries.len(), POSTS);
    for entry in entries {
        assert_eq!(entry.body.bytes(), given.get(&entry.id).map(Vec::as_slice));
    }
}

async fn no_late_ids(setup: Setup) {
    const POSTS: usize = 150;
    // As many nodes as a shared store has; on SQLite there is one process.
    let journals: Vec<_> = (0..3)
        .map(|_| WebhookJournal::open_unmigrated(&setup.database, setup.keys.clone()))
        .collect();
    let writers: Vec<_> = journals
        .iter()
        .cloned()
        .map(|journal| {
            tokio::spawn(async move {
                for n in 0..POSTS {
                    journal.append(account(n as u128), now(), b"{}").await.unwrap();
                }
            })
        })
        .collect();
    let (mut seen, mut last) = (0, JournalId(0));
    while seen < POSTS * journals.len() {
        setup.journal.changed(last).await;
        for entry in setup.journal.read_after(last, PAGE_ENTRIES_MAX).await.unwrap() {
            last = entry.id;
            seen += 1;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    // Had an id appeared behind the reader, it would have been counted here and not above.
    assert_eq!(all(&setup.journal).await.len(), POSTS * journals.len());
}

async fn pages(setup: Setup) {
    let journal = &setup.journal;
    for _ in 0..7 {
        journal.append(account(1), now(), &vec![b' '; 3 * 1024 * 1024]).await.unwrap();
    }
    let mut after = JournalId(0);
    let mut sizes = Vec::new();
    loop {
        let page = journal.read_after(after, 100).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id;
        sizes.push(page.len());
    }
    assert_eq!(sizes, [5, 2]);
    assert_eq!(journal.read_after(JournalId(0), 2).await.unwrap().len(), 2);
    assert_eq!(journal.read_after(JournalId(0), 0).await.unwrap().len(), 1);
}

async fn too_large(setup: Setup) {
    let body = vec![b' '; BODY_BYTES_MAX + 1];
    let error = setup.journal.append(account(1), now(), &body).await.unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { bytes } if bytes == body.len()));
    setup.journal.append(account(1), now(), &body[1..]).await.unwrap();
    assert_eq!(all(&setup.journal).await.len(), 1);
}

async fn wakes(setup: Setup) {
    let waiting = tokio::spawn({
        let journal = setup.journal.clone();
        async move { journal.changed(JournalId(0)).await }
    });
    tokio::task::yield_now().await;
    // On PostgreSQL by another node's handle.
    let other = match &setup.database {
        Database::Sqlite(_) => setup.journal.clone(),
        Database::Postgres(_) => {
            WebhookJournal::open_unmigrated(&setup.database, setup.keys.clone())
        }
    };
    let id = other.append(account(1), now(), b"{}").await.unwrap();
    waiting.await.unwrap();
    assert!(setup.journal.head().await.unwrap() >= id);
}

async fn cursors(setup: Setup) {
    let journal = &setup.journal;
    let at = |n| JournalId(n);
    assert_eq!(journal.cursor("interpret").await.unwrap(), at(0));
    assert!(!journal.move_cursor("interpret", at(3), at(4)).await.unwrap());
    assert!(journal.move_cursor("interpret", at(0), at(5)).await.unwrap());
    assert!(!journal.move_cursor("interpret", at(0), at(6)).await.unwrap());
    assert!(!journal.move_cursor("interpret", at(4), at(6)).await.unwrap());
    assert!(journal.move_cursor("interpret", at(5), at(6)).await.unwrap());
    assert_eq!(journal.cursor("interpret").await.unwrap(), at(6));
    assert!(journal.move_cursor("interpret", at(6), at(2)).await.unwrap());
    assert!(journal.move_cursor("interpret", at(2), at(0)).await.unwrap());
    assert!(journal.move_cursor("interpret", at(0), at(1)).await.unwrap());
    assert_eq!(journal.cursor("other").await.unwrap(), at(0));
    // Of many who would move it, one does.
    let movers = (0..8).map(|n| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.move_cursor("race", at(0), at(n + 1)).await.unwrap() })
    });
    let mut moved = 0;
    for mover in movers.collect::<Vec<_>>() {
        moved += usize::from(mover.await.unwrap());
    }
    assert_eq!(moved, 1);
}

async fn retention(setup: Setup) {
    let journal = &setup.journal;
    let day = |days| now() - chrono::Duration::days(days);
    for days in [40, 31, 30, 0] {
        journal.append(account(1), day(days), b"{}").await.unwrap();
    }
    let last = journal.head().await.unwrap();
    assert_eq!(journal.prune(now(), 30).await.unwrap(), 2);
    assert_eq!(journal.prune(now(), 30).await.unwrap(), 0);
    let left: Vec<_> = all(journal).await.into_iter().map(|entry| entry.received_at).collect();
    assert_eq!(left, [day(30), day(0)]);
    let alive: Vec<bool> = setup.keys.days.lock().unwrap().values().map(Option::is_some).collect();
    assert_eq!(alive, [false, false, true, true]);
    // All gone, and still no id is given again.
    let later = now() + chrono::Duration::days(60);
    assert_eq!(journal.prune(later, 30).await.unwrap(), 2);
    assert_eq!(journal.head().await.unwrap(), JournalId(0));
    assert!(journal.append(account(1), later, b"{}").await.unwrap() > last);
}

async fn unreadable(setup: Setup) {
    let journal = &setup.journal;
    let yesterday = now() - chrono::Duration::days(1);
    journal.append(account(1), yesterday, b"old").await.unwrap();
    let moved = journal.append(account(1), now(), b"moved").await.unwrap();
    journal.append(account(1), now(), b"good").await.unwrap();
    setup.keys.destroy(&[yesterday.date_naive()]).await.unwrap();
    // Given to another account by whoever can write to the database.
    match &setup.database {
        Database::Sqlite(db) => {
            let (id, to) = (moved.signed(), account(2).to_string());
            let sql = "UPDATE webhook_journal SET account_id = ?2 WHERE id = ?1";
            db.write(move |tx| tx.execute(sql, rusqlite::params![id, to])).await.unwrap();
        }
        Database::Postgres(pool) => {
            let sql = "UPDATE webhook_journal SET account_id = $2 WHERE id = $1";
            let update = sqlx::query(sql).bind(moved.signed()).bind(account(2).0);
            update.execute(pool).await.unwrap();
        }
    }
    let bodies: Vec<_> = all(journal).await.into_iter().map(|entry| entry.body).collect();
    let good = EntryBody::Readable(b"good".to_vec());
    assert!(bodies == [EntryBody::Destroyed, EntryBody::Corrupt, good]);
}

async fn erasure(setup: Setup) {
    let journal = &setup.journal;
    let (ada, bo) = ("447700900123", "447700900456");
    let mixed = journal.append(account(1), now(), &body(&[ada, bo])).await.unwrap();
    let only_bo = journal.append(account(1), now(), &body(&[bo])).await.unwrap();
    let no_json = journal.append(account(1), now(), b"tel:+447700900123").await.unwrap();
    let seals = setup.keys.seals.load(Ordering::Relaxed);

    let erased = journal.erase(&person(ada)).await.unwrap();
    assert_eq!(erased, Erased { entries: 2, items: 3 });
    assert_eq!(setup.keys.seals.load(Ordering::Relaxed), seals + 2);
    let read = async |id| journal.read(id).await.unwrap().unwrap();
    let entry = read(mixed).await;
    let left = entry.body.bytes().unwrap();
    assert!(!String::from_utf8_lossy(left).contains(ada));
    let found = interpret_bytes(left, now());
    let paths: Vec<_> = found.iter().map(|it| it.path.rsplit_once("value").unwrap().1).collect();
    assert_eq!(paths, ["/statuses/1", "/messages/1"]);
    assert!(matches!(&found[1].item, Item::Inbound(it) if it.preview == "hello"));
    assert_eq!((entry.rewrites, read(only_bo).await.rewrites), (1, 0));
    assert_eq!(interpret_bytes(read(no_json).await.body.bytes().unwrap(), now()), []);

    assert_eq!(journal.erase(&person(ada)).await.unwrap(), Erased::default());
    assert_eq!(journal.erase(&Person::default()).await.unwrap(), Erased::default());
    if let (Database::Sqlite(db), Some(directory)) = (&setup.database, &setup.directory) {
        assert!(db.checkpoint_truncate().await.unwrap());
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for number in [ada, bo] {
                assert!(!bytes.windows(number.len()).any(|window| window == number.as_bytes()));
            }
        }
    }
}

async fn erasures_at_once(setup: Setup) {
    let numbers = ["447700900101", "447700900102", "447700900103", "447700900104", "447700900105"];
    for _ in 0..10 {
        setup.journal.append(account(1), now(), &body(&numbers)).await.unwrap();
    }
    let erasures: Vec<_> = numbers[..4]
        .iter()
        .map(|number| {
            let (journal, person) = (setup.journal.clone(), person(number));
            tokio::spawn(async move { journal.erase(&person).await.unwrap() })
        })
        .collect();
    for erasure in erasures {
        assert_eq!(erasure.await.unwrap(), Erased { entries: 10, items: 20 });
    }
    for entry in all(&setup.journal).await {
        let found = interpret_bytes(entry.body.bytes().unwrap(), now());
        assert_eq!((entry.rewrites, found.len()), (4, 2));
    }
}

async fn foreign(setup: Setup) {
    let journal = &setup.journal;
    let first = journal.append(account(1), now(), b"{}").await.unwrap();
    let second = journal.append(account(1), now(), b"{}").await.unwrap();
    assert_eq!(journal.foreign_items(account(1)).await.unwrap(), 0);
    for _ in 0..3 {
        journal.mark_foreign(first, 2).await.unwrap();
        journal.mark_foreign(second, 5).await.unwrap();
    }
    assert_eq!(journal.foreign_items(account(1)).await.unwrap(), 7);
    // Interpreted again, by a version that knows better.
    journal.mark_foreign(second, 1).await.unwrap();
    assert_eq!(journal.foreign_items(account(1)).await.unwrap(), 3);
    journal.mark_foreign(JournalId(999), 4).await.unwrap();
    assert_eq!(journal.foreign_items(account(2)).await.unwrap(), 0);
    journal.prune(now() + chrono::Duration::days(60), 30).await.unwrap();
    assert_eq!(journal.foreign_items(account(1)).await.unwrap(), 3);
}

async fn parked(setup: Setup) {
    let journal = &setup.journal;
    let id = journal.append(account(1), now(), b"{}").await.unwrap();
    let items = [item(1, id, "/a"), item(1, id, "/b"), item(2, id, "/c")];
    journal.park(&items).await.unwrap();
    journal.park(&items).await.unwrap();
    journal.park(&[]).await.unwrap();
    let found = journal.find_parked(&[vec![1; 32], vec![9; 32]]).await.unwrap();
    let paths: Vec<&str> = found.iter().map(|it| it.item_path.as_str()).collect();
    assert_eq!(paths, ["/a", "/b"]);
    assert_eq!(ParkedItem { id: 0, ..found[0].clone() }, items[0]);
    journal.unpark(&[found[0].id, found[1].id]).await.unwrap();
    journal.unpark(&[]).await.unwrap();
    assert!(journal.find_parked(&[vec![1; 32]]).await.unwrap().is_empty());
    let many: Vec<Vec<u8>> = (0..1_200_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    assert!(journal.find_parked(&many).await.unwrap().is_empty());
    assert_eq!(journal.find_parked(&[vec![2; 32], vec![2; 32]]).await.unwrap().len(), 1);
    let more = [item(3, id, "/d"), item(4, id, "/e")];
    journal.park(&more).await.unwrap();
    let page = journal.parked_after(0, 2).await.unwrap();
    let rest = journal.parked_after(page[1].id, 2).await.unwrap();
    let walked: Vec<_> = page.iter().chain(&rest).map(|it| it.item_path.as_str()).collect();
    assert_eq!(walked, ["/c", "/d", "/e"]);
}

async fn parked_end(setup: Setup) {
    let journal = &setup.journal;
    let old = now() - chrono::Duration::days(40);
    let pruned = journal.append(account(1), old, b"{}").await.unwrap();
    let erased =
        journal.append(account(1), now(), &body(&["447700900123", "447700900456"])).await.unwrap();
    let path = |n| format!("/entry/0/changes/0/value/statuses/{n}");
    let mut stale = item(4, erased, "/stale");
    stale.received_at = old;
    journal
        .park(&[item(1, pruned, "/a"), item(2, erased, &path(0)), item(3, erased, &path(1)), stale])
        .await
        .unwrap();
    assert_eq!(journal.prune(now(), 30).await.unwrap(), 1);
    assert_eq!(journal.prune_parked(now() - chrono::Duration::days(8)).await.unwrap(), 1);
    journal.erase(&person("447700900123")).await.unwrap();
    let hashes: Vec<Vec<u8>> = (1..=4_u8).map(|n| vec![n; 32]).collect();
    let left: BTreeSet<String> =
        journal.find_parked(&hashes).await.unwrap().into_iter().map(|it| it.item_path).collect();
    assert_eq!(left, BTreeSet::from([path(1)]));
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_file_is_opened_again() {
    let setup = sqlite().await;
    let id = setup.journal.append(account(1), now(), b"kept").await.unwrap();
    let Setup { database, keys, journal, directory, .. } = setup;
    drop((database, journal));
    let path = directory.as_ref().unwrap().path().join("gateway.db");
    let db = Sqlite::open(path, Options::default()).unwrap();
    let journal = WebhookJournal::open(&Database::Sqlite(db), keys).await.unwrap();
    assert_eq!(journal.read(id).await.unwrap().unwrap().body.bytes(), Some(&b"kept"[..]));
}

#[tokio::test]
async fn a_post_is_kept_although_its_caller_stopped_waiting() {
    let setup = sqlite().await;
    let journal = setup.journal.clone();
    let mut post = Box::pin(async move { journal.append(account(1), now(), b"{}").await });
    // As far as the queue, and no further.
    assert!(futures::poll!(&mut post).is_pending());
    drop(post);
    setup.journal.changed(JournalId(0)).await;
    assert_eq!(all(&setup.journal).await.len(), 1);
}

#[tokio::test]
async fn a_store_that_fails_answers_everybody_and_keys_that_fail_write_nothing() {
    let setup = sqlite().await;
    let Database::Sqlite(db) = &setup.database else { panic!() };
    setup.keys.destroy(&[now().date_naive()]).await.unwrap();
    let error = setup.journal.append(account(1), now(), b"{}").await.unwrap_err();
    assert!(matches!(error, JournalError::Unavailable(_)));
    assert!(all(&setup.journal).await.is_empty());
    db.write(|tx| tx.execute_batch("DROP TABLE webhook_journal")).await.unwrap();
    let tomorrow = now() + chrono::Duration::days(1);
    let posts = futures::future::join_all(
        (0..5).map(|_| setup.journal.append(account(1), tomorrow, b"{}")),
    );
    for post in posts.await {
        assert!(matches!(post, Err(JournalError::Unavailable(_))));
    }
}

#[tokio::test]
async fn the_key_ring_seals_a_day_and_destroys_it() {
    use crate::crypto::{KeyRing, MasterKey};
    let directory = tempfile::tempdir().unwrap();
    let url = crate::event_store::StoreUrl::sqlite(directory.path().join("gateway.db"));
    let clock = Arc::new(crate::clock::SystemClock);
    let store = crate::event_store::open(&url, clock).await.unwrap();
    let master = MasterKey::generate();
    let ring =
        KeyRing::open(&master, store.vault.clone(), store.meta.as_ref(), true).await.unwrap();
    let journal = WebhookJournal::open(&store.database, Arc::new(ring)).await.unwrap();
    let id = journal.append(account(1), now(), b"sealed").await.unwrap();
    assert_eq!(journal.read(id).await.unwrap().unwrap().body.bytes(), Some(&b"sealed"[..]));
    let later = now() + chrono::Duration::days(31);
    assert_eq!(journal.prune(later, 30).await.unwrap(), 1);
    let error = journal.append(account(1), now(), b"late").await.unwrap_err();
    assert!(matches!(error, JournalError::Unavailable(_)));
    journal.append(account(1), later, b"next").await.unwrap();
}
