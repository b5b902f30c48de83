use chrono::Duration;
use domain::port::AggregateType;

use super::*;
use crate::clock::SystemClock;
use crate::event_store::{StoreUrl, open};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn stream(n: u128) -> StreamId {
    StreamId::new(AggregateType::Message, id(n))
}

fn parked(n: u128, position: u64) -> Parked {
    Parked {
        stream: stream(n),
        after_sequence: 4,
        position: Position(position),
        attempts: 2,
        due_at: at(position.cast_signed()),
    }
}

fn attempt(n: u128, error: Option<&str>) -> Attempt {
    Attempt {
        id: id(n),
        endpoint_id: id(1),
        at: at(n as i64),
        position: Position(n as u64),
        event_id: id(n + 1_000),
        events: 1,
        number: 3,
        is_replay: n.is_multiple_of(2),
        status: error.map(|_| 500).or(Some(200)),
        error: error.map(str::to_owned),
        latency_ms: 12,
        answer: b"ok".to_vec(),
        subject: (n == 13).then(|| id(99)),
    }
}

/// SQLite always, PostgreSQL where TEST_DATABASE_URL is set, in a schema of its own.
async fn stores() -> Vec<(Option<tempfile::TempDir>, LaneStore)> {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("gateway.db").display());
    let sqlite = open(&url.parse::<StoreUrl>().unwrap(), Arc::new(SystemClock)).await.unwrap();
    let mut stores = vec![(Some(dir), LaneStore::open(&sqlite.database).await.unwrap())];
    if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
        let schema = format!("lanes_{}", std::process::id());
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let pool = sqlx::PgPool::connect_with(options.clone()).await.unwrap();
        sqlx::query(&format!("CREATE SCHEMA {schema}")).execute(&pool).await.unwrap();
        let options = options.options([("search_path", schema.as_str())]);
        let pool = sqlx::PgPool::connect_with(options).await.unwrap();
        stores.push((None, LaneStore::open(&Database::Postgres(pool)).await.unwrap()));
    } else {
        eprintln!("TEST_DATABASE_URL is not set: PostgreSQL is left out");
    }
    stores
}

#[tokio::test]
async fn a_lane_is_kept_and_only_its_latest_owner_moves_it() {
    for (_dir, lanes) in stores().await {
        let new = lanes.claim(id(1), id(1), 1, Position(7)).await.unwrap().unwrap();
        let empty = LaneState { position: Position(7), failing_since: None, parked: vec![] };
        assert_eq!(new, empty);
        let progress = Progress {
            position: Position(50),
            failing_since: Some(at(3)),
            parked: vec![parked(5, 30), parked(6, 40)],
            ..Progress::default()
        };
        assert!(lanes.save(id(1), 1, progress).await.unwrap());
        let standing = lanes.standing(&[id(1), id(2)]).await.unwrap();
        let expected = Standing { position: Position(29), next_attempt_at: Some(at(30)) };
        assert_eq!(standing, HashMap::from([(id(1), expected)]));
        let progress = Progress {
            position: Position(60),
            parked: vec![Parked { attempts: 3, ..parked(6, 40) }],
            freed: vec![stream(5)],
            ..Progress::default()
        };
        assert!(lanes.save(id(1), 1, progress.clone()).await.unwrap());
        // Another node takes over, and the first one is heard no more.
        let taken = lanes.claim(id(1), id(1), 2, Position(0)).await.unwrap().unwrap();
        assert_eq!((taken.position, taken.failing_since), (Position(60), None));
        assert_eq!(taken.parked, [Parked { attempts: 3, ..parked(6, 40) }]);
        let late =
            Progress { position: Position(99), attempts: vec![attempt(1, None)], ..progress };
        assert!(!lanes.save(id(1), 1, late).await.unwrap());
        assert_eq!(lanes.claim(id(1), id(1), 1, Position(0)).await.unwrap(), None);
        assert_eq!(lanes.count(id(1), false).await.unwrap(), 0);
        // A replay's lane goes with its end, all of them with their endpoint.
        lanes.claim(id(1), id(9), 2, Position(3)).await.unwrap().unwrap();
        lanes.end(id(9)).await.unwrap();
        let progress = Progress { position: Position(4), ..Progress::default() };
        assert!(!lanes.save(id(9), 2, progress).await.unwrap());
        lanes.forget(id(1)).await.unwrap();
        assert_eq!(lanes.claim(id(1), id(1), 1, Position(2)).await.unwrap().unwrap().parked, []);
        lanes.forget(id(1)).await.unwrap();
    }
}

#[tokio::test]
async fn an_attempt_beside_the_lanes_is_kept_like_theirs_and_once() {
    for (_dir, lanes) in stores().await {
        // Nobody has worked the endpoint yet.
        let beside = attempt(41, Some("the endpoint answered 500"));
        lanes.record(beside.clone()).await.unwrap();
        lanes.record(beside.clone()).await.unwrap();
        let asked = AttemptsAsked { endpoint_id: id(1), failed_only: true, before: None, limit: 5 };
        assert_eq!(lanes.attempts(asked).await.unwrap(), [beside]);
        lanes.prune(at(100)).await.unwrap();
        assert_eq!(lanes.count(id(1), false).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn attempts_are_read_newest_first_and_forgotten_in_time() {
    for (_dir, lanes) in stores().await {
        lanes.claim(id(1), id(1), 1, Position(0)).await.unwrap().unwrap();
        let all =
            [attempt(11, None), attempt(12, Some("the endpoint answered 500")), attempt(13, None)];
        let progress = Progress { attempts: all.to_vec(), ..Progress::default() };
        assert!(lanes.save(id(1), 1, progress).await.unwrap());
        let asked =
            AttemptsAsked { endpoint_id: id(1), failed_only: false, before: None, limit: 2 };
        assert_eq!(lanes.attempts(asked).await.unwrap(), [all[2].clone(), all[1].clone()]);
        let older = AttemptsAsked { before: Some(id(12)), ..asked };
        assert_eq!(lanes.attempts(older).await.unwrap(), [all[0].clone()]);
        let failed = AttemptsAsked { failed_only: true, ..asked };
        assert_eq!(lanes.attempts(failed).await.unwrap(), [all[1].clone()]);
        let counts =
            (lanes.count(id(1), false).await.unwrap(), lanes.count(id(1), true).await.unwrap());
        assert_eq!(counts, (3, 1));
        assert_eq!(lanes.prune(at(12) + Duration::milliseconds(1)).await.unwrap(), 2);
        assert_eq!(lanes.attempts(asked).await.unwrap(), [all[2].clone()]);
    }
}
