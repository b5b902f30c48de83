//! The write side's tables. Migrations are only ever added, with the same names where both stores need them, and old and new
//! programs overlap on PostgreSQL: add, fill, switch, and only then drop. A SQLite file has one owner, so that a table may
//! be rewritten there at once.

use gateway_sqlite::Sqlite;
use sqlx::{Executor, PgPool};

use super::error::OpenError;

pub(crate) const TABLE: &str = "event_store_migrations";

/// Held while migrating, so that nodes which start together take turns.
const MIGRATION_LOCK: (i32, i32) = (1_464_290_375, 1);

macro_rules! migrations {
    ($store:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../migrations/", $store, "/", $name, ".sql")))),*]
    };
}

pub(crate) const SQLITE: &[(&str, &str)] = migrations!["sqlite":
    "20261123100000_create_events",
    "20261123100100_create_key_ring",
    "20261123100200_create_identities",
    "20261123100300_create_idempotency",
    "20261123100400_create_leases",
    "20261123100500_create_meta",
    "20261127120000_compact_events",
    "20261127120100_compact_ids",
    "20261127140000_create_audit_seals",
];

pub(crate) const POSTGRES: &[(&str, &str)] = migrations!["postgres":
    "20261123100000_create_events",
    "20261123100100_create_key_ring",
    "20261123100200_create_identities",
    "20261123100300_create_idempotency",
    "20261123100400_create_leases",
    "20261123100500_create_meta",
    "20261123100600_create_append_units",
    "20261127130000_compact_events",
    "20261127130100_create_append_units_by_number",
    "20261127130200_renew_leases_unwaited",
    "20261127140000_create_audit_seals",
    "20261127150000_number_webhook_endpoints",
    "20261127170000_number_users",
    "20261128010000_number_conversations",
];

pub(crate) async fn sqlite(
    db: &Sqlite,
    table: &'static str,
    list: &[(&str, &str)],
) -> Result<(), OpenError> {
    let applied = db.migrate(table, list).await.map_err(OpenError::from_sqlite)?;
    report(&applied);
    Ok(())
}

pub(crate) async fn postgres(
    pool: &PgPool,
    table: &'static str,
    list: &[(&str, &str)],
) -> Result<(), OpenError> {
    assert!(table.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "a table's name, not SQL");
    let mut applied = Vec::new();
    for (name, sql) in list {
        let failed = |error: sqlx::Error| OpenError::Migration {
            name: (*name).to_owned(),
            reason: error.to_string(),
        };
        let mut tx = pool.begin().await.map_err(OpenError::unavailable)?;
        // The pool's time-outs are made for appends. A table that is rewritten takes as long as it takes.
        tx.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
            .await
            .map_err(failed)?;
        sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
            .bind(MIGRATION_LOCK.0)
            .bind(MIGRATION_LOCK.1)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tx.execute(
            format!(
                "CREATE TABLE IF NOT EXISTS {table} (
                   name text PRIMARY KEY, sql text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            .as_str(),
        )
        .await
        .map_err(failed)?;
        let known: Option<String> =
            sqlx::query_scalar(&format!("SELECT sql FROM {table} WHERE name = $1"))
                .bind(name)
                .fetch_optional(&mut *tx)
                .await
                .map_err(failed)?;
        match known {
            Some(known) if known == *sql => continue,
            Some(_) => {
                return Err(OpenError::Migration {
                    name: (*name).to_owned(),
                    reason: "it was changed after it had been applied; add a new one instead"
                        .to_owned(),
                });
            }
            None => {}
        }
        tx.execute(*sql).await.map_err(failed)?;
        sqlx::query(&format!("INSERT INTO {table} (name, sql) VALUES ($1, $2)"))
            .bind(name)
            .bind(sql)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        applied.push((*name).to_owned());
    }
    report(&applied);
    Ok(())
}

fn report(applied: &[String]) {
    if !applied.is_empty() {
        tracing::info!(
            migrations = applied.len(),
            "the event store's tables were brought up to date"
        );
    }
}
