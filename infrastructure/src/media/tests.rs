//! What both stores promise: each test runs on SQLite, and on PostgreSQL where one is given.

use std::str::FromStr;

use chrono::{Duration, TimeZone};
use gateway_sqlite::{Options, Sqlite};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::*;
use crate::event_store::testing::TestDatabase;

struct Setup {
    media: MediaStore,
    directory: tempfile::TempDir,
    // Dropped last: the pool is gone by then.
    _postgres: Option<TestDatabase>,
}

async fn each_store() -> Vec<Setup> {
    let directory = tempfile::tempdir().unwrap();
    let db = Sqlite::open(directory.path().join("gateway.db"), Options::default()).unwrap();
    let mut setups = vec![setup(Database::Sqlite(db), directory, None).await];
    if let Some(server) = TestDatabase::create().await {
        let options = PgConnectOptions::from_str(&server.url()).unwrap();
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        setups.push(setup(Database::Postgres(pool), directory, Some(server)).await);
    }
    setups
}

async fn setup(
    database: Database,
    directory: tempfile::TempDir,
    postgres: Option<TestDatabase>,
) -> Setup {
    let media = MediaStore::open(&database, &directory.path().join("media")).await.unwrap();
    Setup { media, directory, _postgres: postgres }
}

impl Setup {
    async fn want(&self, n: u128, second: i64) -> Uuid {
        let id = Uuid::from_u128(n);
        self.media.want(id, Uuid::from_u128(100), contact(n), at(second)).await.unwrap();
        id
    }

    async fn store(&self, id: Uuid, key: &DataKey, bytes: &[u8], second: i64) -> Result<MediaType> {
        let mut writer = self.media.begin(id, key.clone()).await?;
        for piece in bytes.chunks(100_000) {
            writer.write(piece).await?;
        }
        writer.finish(None, at(second)).await
    }

    async fn read(&self, id: Uuid, key: &DataKey) -> Result<Vec<u8>> {
        let mut reader = self.media.read(id, key.clone());
        let mut bytes = vec![];
        while let Some(piece) = reader.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

fn contact(n: u128) -> Uuid {
    Uuid::from_u128(1_000 + n)
}

fn at(second: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_795_000_000 + second, 0).unwrap()
}

fn pdf(bytes: usize) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    file.extend((file.len()..bytes).map(|n| (n % 251) as u8));
    file
}

#[tokio::test]
async fn what_is_wanted_comes_due_and_what_is_stored_reads_as_it_was() {
    for setup in each_store().await {
        let (media, key) = (&setup.media, DataKey::random());
        let id = setup.want(1, 0).await;
        setup.want(1, 50).await;
        assert!(media.due(at(-1), 10).await.unwrap().is_empty());
        let due = media.due(at(0), 10).await.unwrap();
        assert_eq!((due.len(), due[0].wanted_at, due[0].attempts), (1, at(0), 0));
        assert_eq!(media.find(id).await.unwrap(), Some(Known::Wanted));
        media.postpone(id, Some(at(10))).await.unwrap();
        assert!(media.due(at(9), 10).await.unwrap().is_empty());
        assert_eq!(media.due(at(10), 10).await.unwrap()[0].attempts, 1);

        // Empty, within a frame, exactly one, and several; begun before and broken off.
        for bytes in [0, 10, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES] {
            let id = setup.want(10 + bytes as u128, 0).await;
            let mut begun = media.begin(id, key.clone()).await.unwrap();
            begun.write(&pdf(2 * FRAME_BYTES)).await.unwrap();
            drop(begun);
            let file = if bytes == 0 { vec![] } else { pdf(bytes) };
            let stored = setup.store(id, &key, &file, 20).await.unwrap();
            let expected = if bytes == 0 { "application/octet-stream" } else { "application/pdf" };
            assert_eq!(stored.mime_type, expected);
            let known = Known::Stored { bytes: file.len() as u64, mime_type: expected.to_owned() };
            assert_eq!(media.find(id).await.unwrap(), Some(known));
            assert!(setup.read(id, &key).await.unwrap() == file, "{bytes} bytes");
            // With another key, or as another medium, it does not open.
            let foreign = setup.read(id, &DataKey::random()).await;
            assert!(matches!(foreign, Err(MediaStoreError::Unreadable)));
        }
        media.postpone(id, None).await.unwrap();
        assert_eq!(media.find(id).await.unwrap(), Some(Known::Lost));
        assert!(media.due(at(1_000), 10).await.unwrap().is_empty());
        assert_eq!(media.find(Uuid::from_u128(2)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_erased_goes_even_while_it_is_being_stored() {
    for setup in each_store().await {
        let (media, key) = (&setup.media, DataKey::random());
        let (theirs, others) = (setup.want(1, 0).await, setup.want(2, 0).await);
        for id in [theirs, others] {
            setup.store(id, &key, &pdf(1_000), 1).await.unwrap();
        }
        let late = Uuid::from_u128(3);
        media.want(late, Uuid::from_u128(100), contact(1), at(0)).await.unwrap();
        let mut writer = media.begin(late, key.clone()).await.unwrap();
        writer.write(&pdf(1_000)).await.unwrap();
        media.erase(&[contact(1)]).await.unwrap();
        assert!(writer.finish(None, at(2)).await.is_err());
        for id in [theirs, late] {
            assert_eq!(media.find(id).await.unwrap(), None);
            assert!(matches!(setup.read(id, &key).await, Err(MediaStoreError::Unreadable)));
        }
        assert_eq!(setup.read(others, &key).await.unwrap(), pdf(1_000));
        media.sweep().await.unwrap();
        let folder = setup.directory.path().join("media");
        let files = std::fs::read_dir(folder).map_or(0, Iterator::count);
        assert!(files <= 1, "{files} files are left");
    }
}

#[tokio::test]
async fn what_is_old_goes_and_then_the_oldest_of_what_is_too_much() {
    for setup in each_store().await {
        let (media, key) = (&setup.media, DataKey::random());
        for n in 1..=5 {
            let id = setup.want(n, 0).await;
            setup.store(id, &key, &pdf(1_000), i64::try_from(n).unwrap()).await.unwrap();
        }
        let lost = setup.want(6, 0).await;
        media.postpone(lost, None).await.unwrap();
        let waiting = setup.want(7, 0).await;
        assert_eq!(media.prune(at(2), u64::MAX).await.unwrap(), 2, "the first, and the lost one");
        assert_eq!(media.find(waiting).await.unwrap(), Some(Known::Wanted));
        // Four are left; there is room for two and a half.
        assert_eq!(media.prune(at(2), 2_500).await.unwrap(), 2);
        let mut left = vec![];
        for n in 1..=5 {
            if media.find(Uuid::from_u128(n)).await.unwrap().is_some() {
                left.push(n);
            }
        }
        assert_eq!(left, [4, 5]);
        assert_eq!(media.prune(at(2) - Duration::days(1), 2_000).await.unwrap(), 0);
    }
}
