//! Applies migrations once, in order, and refuses a file from the future.

use rusqlite::{OptionalExtension, params};

use crate::{Sqlite, SqliteError};

/// A name, which sorts by time, and its SQL.
pub type Migration<'a> = (&'a str, &'a str);

pub(crate) async fn run(
    db: &Sqlite,
    table: &'static str,
    migrations: &[Migration<'_>],
) -> Result<Vec<String>, SqliteError> {
    assert!(table.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "a table's name, not SQL");
    let applied = db
        .write(move |tx| {
            tx.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {table} (
                   name TEXT NOT NULL PRIMARY KEY, sql TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT"
            ))?;
            let mut statement = tx.prepare(&format!("SELECT name FROM {table} ORDER BY name"))?;
            statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        })
        .await?;
    if let Some(unknown) =
        applied.iter().find(|name| !migrations.iter().any(|(known, _)| known == name))
    {
        return Err(SqliteError::Migration {
            name: unknown.clone(),
            reason: format!(
                "{} has it, this program does not know it: the file was written by a newer version",
                db.path().display()
            ),
        });
    }

    let mut done = Vec::new();
    for (name, sql) in migrations {
        if apply(db, table, name, sql).await? {
            done.push((*name).to_owned());
        }
    }
    Ok(done)
}

async fn apply(
    db: &Sqlite,
    table: &'static str,
    name: &str,
    sql: &str,
) -> Result<bool, SqliteError> {
    let (key, text) = (name.to_owned(), sql.to_owned());
    let outcome = db
        .write(move |tx| {
            let known: Option<String> = tx
                .query_row(&format!("SELECT sql FROM {table} WHERE name = ?1"), [&key], |row| {
                    row.get(0)
                })
                .optional()?;
            if let Some(known) = known {
                return Ok(if known == text { Outcome::Known } else { Outcome::Changed });
            }
            tx.execute_batch(&text)?;
            tx.execute(
                &format!(
                    "INSERT INTO {table} (name, sql, applied_at)
                     VALUES (?1, ?2, CAST(unixepoch('subsec') * 1000 AS INTEGER))"
                ),
                params![key, text],
            )?;
            Ok(Outcome::Applied)
        })
        .await;
    match outcome {
        Ok(Outcome::Applied) => Ok(true),
        Ok(Outcome::Known) => Ok(false),
        Ok(Outcome::Changed) => Err(SqliteError::Migration {
            name: name.to_owned(),
            reason: "it was changed after it had been applied; add a new one instead".to_owned(),
        }),
        Err(SqliteError::Statement { source, .. }) => {
            Err(SqliteError::Migration { name: name.to_owned(), reason: source.to_string() })
        }
        Err(other) => Err(other),
    }
}

enum Outcome {
    Applied,
    Known,
    Changed,
}
