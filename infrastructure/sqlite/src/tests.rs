use std::io::BufRead;
use std::process::{Command, Stdio};

use super::*;

fn open(directory: &tempfile::TempDir) -> Sqlite {
    Sqlite::open(directory.path().join("test.db"), Options::default()).expect("opens")
}

async fn count(db: &Sqlite) -> i64 {
    db.read(|connection| connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)))
        .await
        .expect("counts")
}

async fn with_table(directory: &tempfile::TempDir) -> Sqlite {
    let db = open(directory);
    db.write(|tx| tx.execute_batch("CREATE TABLE t (n INTEGER NOT NULL UNIQUE, body TEXT) STRICT"))
        .await
        .unwrap();
    db
}

#[tokio::test]
async fn readers_see_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    for n in 1..=20 {
        db.write(move |tx| tx.execute("INSERT INTO t (n) VALUES (?1)", [n])).await.unwrap();
        assert_eq!(count(&db).await, n);
    }
}

#[tokio::test]
async fn a_failed_write_leaves_nothing_and_the_next_one_works() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    let error = db
        .write(|tx| {
            tx.execute("INSERT INTO t (n) VALUES (1)", [])?;
            tx.execute("INSERT INTO t (n) VALUES (1)", [])
        })
        .await
        .unwrap_err();
    assert!(error.is_unique_violation(), "{error:?}");
    assert_eq!(count(&db).await, 0);
    db.write(|tx| tx.execute("INSERT INTO t (n) VALUES (1)", [])).await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_panic_is_an_error_for_its_caller_alone() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    let error = db
        .write(|tx| -> Result<(), rusqlite::Error> {
            tx.execute("INSERT INTO t (n) VALUES (1)", [])?;
            panic!("on purpose")
        })
        .await
        .unwrap_err();
    assert!(matches!(&error, SqliteError::Panicked(text) if text == "on purpose"), "{error:?}");
    let error = db
        .read(|_| -> Result<(), rusqlite::Error> { panic!("on {}", "purpose") })
        .await
        .unwrap_err();
    assert!(matches!(&error, SqliteError::Panicked(text) if text == "on purpose"), "{error:?}");
    assert_eq!(count(&db).await, 0);
    db.write(|tx| tx.execute("INSERT INTO t (n) VALUES (2)", [])).await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    let error = db
        .read(|connection| connection.execute("INSERT INTO t (n) VALUES (1)", []))
        .await
        .unwrap_err();
    assert!(matches!(error, SqliteError::Statement { .. }), "{error:?}");
}

#[tokio::test]
async fn a_second_handle_is_refused_by_the_name_of_the_first_until_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(&directory);
    let error = Sqlite::open(directory.path().join("test.db"), Options::default()).unwrap_err();
    let SqliteError::InUse { holder, .. } = &error else { panic!("{error:?}") };
    assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
    drop(db);
    open(&directory);
}

/// Not a test of its own: the child process of the next one.
#[tokio::test]
async fn child_that_holds_the_file() {
    let Ok(path) = std::env::var("GATEWAY_SQLITE_TEST_HOLD") else { return };
    let db = Sqlite::open(path, Options::default()).expect("opens");
    db.write(|tx| tx.execute_batch("CREATE TABLE t (n INTEGER) STRICT; INSERT INTO t VALUES (7)"))
        .await
        .unwrap();
    println!("\nholding");
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    drop(db);
}

#[tokio::test]
async fn beside_another_process_one_may_read_but_not_own_and_a_kill_sets_the_file_free() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::child_that_holds_the_file", "--nocapture"])
        .env("GATEWAY_SQLITE_TEST_HOLD", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holding"));

    let error = Sqlite::open(&path, Options::default()).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", child.id())), "{error}");
    let beside = Sqlite::open(&path, Options::read_only()).unwrap();
    let seven: i64 =
        beside.read(|c| c.query_row("SELECT n FROM t", [], |row| row.get(0))).await.unwrap();
    assert_eq!(seven, 7);
    assert!(matches!(
        beside.write(|tx| tx.execute("DELETE FROM t", [])).await,
        Err(SqliteError::ReadOnly { .. })
    ));

    child.kill().unwrap();
    child.wait().unwrap();
    let db = Sqlite::open(&path, Options::default()).unwrap();
    assert_eq!(count(&db).await, 1);
    assert_eq!(
        beside
            .read(|c| c.query_row("SELECT n FROM t", [], |row| row.get::<_, i64>(0)))
            .await
            .unwrap(),
        7
    );
}

#[tokio::test]
async fn reading_only_works_when_nobody_owns_the_file_and_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Sqlite::open(directory.path().join("none.db"), Options::read_only()).unwrap_err();
    assert!(matches!(missing, SqliteError::Open { .. }), "{missing:?}");
    assert!(!directory.path().join("none.db").exists());

    drop(with_table(&directory).await);
    let beside = Sqlite::open(directory.path().join("test.db"), Options::read_only()).unwrap();
    assert_eq!(count(&beside).await, 0);
    drop(beside);
    assert_eq!(count(&open(&directory)).await, 0);
}

#[tokio::test]
async fn deleted_text_is_in_no_file_after_a_truncating_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    let body = format!("needle{}", "x".repeat(200));
    db.write(move |tx| tx.execute("INSERT INTO t (n, body) VALUES (1, ?1)", [body])).await.unwrap();
    db.write(|tx| tx.execute("DELETE FROM t", [])).await.unwrap();
    assert!(db.checkpoint_truncate().await.unwrap());
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"needle"), "{}", path.display());
    }
}

#[tokio::test]
async fn the_last_handle_folds_the_log_in_and_leaves_no_file_beside_but_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    let clone = db.clone();
    drop(db);
    clone.write(|tx| tx.execute("INSERT INTO t (n) VALUES (1)", [])).await.unwrap();
    drop(clone);
    let mut names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["test.db", "test.db.lock"]);
}

#[tokio::test]
async fn the_last_handle_may_go_inside_a_closure() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    let (inside, (sent, received)) = (db.clone(), tokio::sync::oneshot::channel());
    let write = tokio::spawn(async move {
        db.write(move |_| {
            let _ = sent.send(());
            Ok(inside)
        })
        .await
        .map(drop)
    });
    received.await.unwrap();
    write.await.unwrap().unwrap();
    while let Err(error) = Sqlite::open(directory.path().join("test.db"), Options::default()) {
        assert!(matches!(error, SqliteError::InUse { .. }), "{error:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_tasks_may_write_and_read_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    let tasks: Vec<_> = (0..2_000)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move {
                db.write(move |tx| tx.execute("INSERT INTO t (n) VALUES (?1)", [n])).await.unwrap();
                assert!(count(&db).await >= 1);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(count(&db).await, 2_000);
}

#[tokio::test]
async fn statements_of_one_read_see_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let db = with_table(&directory).await;
    let (began, begun) = std::sync::mpsc::channel();
    let (written, after) = std::sync::mpsc::channel();
    let reader = db.clone();
    let read = tokio::spawn(async move {
        reader
            .read(move |c| {
                let count = |c: &Connection| {
                    c.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
                };
                let first = count(c)?;
                began.send(()).unwrap();
                after.recv().unwrap();
                Ok((first, count(c)?))
            })
            .await
            .unwrap()
    });
    tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
    db.write(|tx| tx.execute("INSERT INTO t (n) VALUES (1)", [])).await.unwrap();
    written.send(()).unwrap();
    assert_eq!(read.await.unwrap(), (0, 0));
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn migrations_run_once_in_order_and_a_changed_or_unknown_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(&directory);
    let first = ("1_a", "CREATE TABLE a (n INTEGER) STRICT");
    let second = ("2_b", "CREATE TABLE b (n INTEGER) STRICT; INSERT INTO b VALUES (1)");
    assert_eq!(db.migrate("migrations", &[first]).await.unwrap(), ["1_a"]);
    assert_eq!(db.migrate("migrations", &[first, second]).await.unwrap(), ["2_b"]);
    assert!(db.migrate("migrations", &[first, second]).await.unwrap().is_empty());

    let changed = db
        .migrate("migrations", &[("1_a", "CREATE TABLE c (n INTEGER) STRICT"), second])
        .await
        .unwrap_err();
    assert!(changed.to_string().contains("1_a: it was changed"), "{changed}");
    let unknown = db.migrate("migrations", &[first]).await.unwrap_err();
    assert!(unknown.to_string().contains("newer version"), "{unknown}");

    let broken = ("3_c", "CREATE TABLE c (n INTEGER) STRICT; INSERT INTO nowhere VALUES (1)");
    let failed = db.migrate("migrations", &[first, second, broken]).await.unwrap_err();
    assert!(failed.to_string().contains("nowhere"), "{failed}");
    let left = db.read(|c| {
        c.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'c'", [], |r| {
            r.get::<_, i64>(0)
        })
    });
    assert_eq!(left.await.unwrap(), 0);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    std::fs::write(
        &path,
        "a letter, and a rather long one, so that it cannot be taken for an empty file".repeat(9),
    )
    .unwrap();
    assert!(matches!(Sqlite::open(&path, Options::default()), Err(SqliteError::Open { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let _db = with_table(&directory).await;
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            file.file_name()
        );
    }
}
