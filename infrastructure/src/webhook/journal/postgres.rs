//! The journal in PostgreSQL, shared by any number of nodes. Each node's batch is one statement, so that a stopped
//! client never holds the lock on ids between round trips.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use super::Source;
use super::store::{JournalStore, NewRow, Parked, Row};

pub(super) struct PostgresJournal {
    pub pool: PgPool,
}

fn parked_at(row: &PgRow) -> Result<Parked, Source> {
    Ok(Parked {
        id: row.try_get(0)?,
        account_id: row.try_get(1)?,
        wamid_hash: row.try_get(2)?,
        journal_id: row.try_get(3)?,
        item_path: row.try_get(4)?,
        received_at: row.try_get(5)?,
    })
}

#[async_trait]
impl JournalStore for PostgresJournal {
    async fn append(&self, rows: Vec<NewRow>) -> Result<Vec<i64>, Source> {
        let count = rows.len();
        let mut accounts = Vec::with_capacity(count);
        let mut times = Vec::with_capacity(count);
        let mut days = Vec::with_capacity(count);
        let mut sizes = Vec::with_capacity(count);
        let mut bodies = Vec::with_capacity(count);
        for row in rows {
            accounts.push(row.account_id);
            times.push(row.received_at);
            days.push(row.key_day);
            sizes.push(row.body_bytes);
            bodies.push(row.sealed);
        }
        // The default draws ids in the order of the rows, so sorting gives each row its own.
        let mut ids: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO webhook_journal (account_id, received_at, key_day, body, body_bytes)
             SELECT account_id, received_at, key_day, body, body_bytes
             FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[])
               WITH ORDINALITY AS new (account_id, received_at, key_day, body, body_bytes, place)
             ORDER BY place
             RETURNING id",
        )
        .bind(accounts)
        .bind(times)
        .bind(days)
        .bind(bodies)
        .bind(sizes)
        .fetch_all(&self.pool)
        .await?;
        ids.sort_unstable();
        Ok(ids)
    }

    async fn sizes_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, i64)>, Source> {
        Ok(sqlx::query_as(
            "SELECT id, body_bytes FROM webhook_journal WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }

    async fn rows(&self, after: i64, to: i64) -> Result<Vec<Row>, Source> {
        let rows = sqlx::query(
            "SELECT id, account_id, received_at, key_day, body, rewrites FROM webhook_journal
             WHERE id > $1 AND id <= $2 ORDER BY id",
        )
        .bind(after)
        .bind(to)
        .fetch_all(&self.pool)
        .await?;
        let row = |row: &PgRow| {
            Ok(Row {
                id: row.try_get(0)?,
                account_id: row.try_get(1)?,
                received_at: row.try_get(2)?,
                key_day: row.try_get(3)?,
                sealed: row.try_get(4)?,
                rewrites: row.try_get(5)?,
            })
        };
        rows.iter().map(row).collect()
    }

    async fn first_since(&self, day: i64, received_at: i64) -> Result<Option<i64>, Source> {
        Ok(sqlx::query_scalar(
            "SELECT min(id) FROM webhook_journal WHERE key_day >= $1 AND received_at >= $2",
        )
        .bind(day)
        .bind(received_at)
        .fetch_one(&self.pool)
        .await?)
    }

    async fn head(&self) -> Result<i64, Source> {
        let head = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM webhook_journal");
        Ok(head.fetch_one(&self.pool).await?)
    }

    async fn cursor(&self, name: &str) -> Result<i64, Source> {
        let cursor = sqlx::query_scalar("SELECT position FROM webhook_cursor WHERE name = $1");
        Ok(cursor.bind(name).fetch_optional(&self.pool).await?.unwrap_or(0))
    }

    async fn move_cursor(&self, name: &str, from: i64, to: i64) -> Result<bool, Source> {
        if from == 0 {
            sqlx::query(
                "INSERT INTO webhook_cursor (name, position) VALUES ($1, 0) ON CONFLICT DO NOTHING",
            )
            .bind(name)
            .execute(&self.pool)
            .await?;
        }
        // Not waited for on disk: after a power cut what lies behind it is interpreted again, which changes nothing.
        let moved = sqlx::query(
            "UPDATE webhook_cursor SET position = $3
             FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unwaited
             WHERE name = $1 AND position = $2",
        )
        .bind(name)
        .bind(from)
        .bind(to)
        .execute(&self.pool)
        .await?;
        Ok(moved.rows_affected() == 1)
    }

    async fn replace(
        &self,
        id: i64,
        rewrites: i64,
        sealed: Vec<u8>,
        body_bytes: i64,
        unpark: Vec<String>,
    ) -> Result<bool, Source> {
        let replaced: Option<i64> = sqlx::query_scalar(
            "WITH replaced AS (
               UPDATE webhook_journal SET body = $3, body_bytes = $4, rewrites = rewrites + 1
               WHERE id = $1 AND rewrites = $2 RETURNING id),
             unparked AS (
               DELETE FROM webhook_parked WHERE journal_id IN (SELECT id FROM replaced)
               AND item_path = ANY($5))
             SELECT id FROM replaced",
        )
        .bind(id)
        .bind(rewrites)
        .bind(sealed)
        .bind(body_bytes)
        .bind(unpark)
        .fetch_optional(&self.pool)
        .await?;
        Ok(replaced.is_some())
    }

    async fn days_before(&self, day: i64) -> Result<Vec<i64>, Source> {
        let days =
            sqlx::query_scalar("SELECT DISTINCT key_day FROM webhook_journal WHERE key_day < $1");
        Ok(days.bind(day).fetch_all(&self.pool).await?)
    }

    async fn delete_before(&self, day: i64, limit: i64) -> Result<u64, Source> {
        let deleted: i64 = sqlx::query_scalar(
            "WITH deleted AS (
               DELETE FROM webhook_journal WHERE id IN (
                 SELECT id FROM webhook_journal WHERE key_day < $1 ORDER BY key_day, id LIMIT $2)
               RETURNING id),
             unparked AS (
               DELETE FROM webhook_parked WHERE journal_id IN (SELECT id FROM deleted))
             SELECT count(*) FROM deleted",
        )
        .bind(day)
        .bind(limit)
        .fetch_one(&self.pool)
        .await?;
        Ok(deleted.unsigned_abs())
    }

    async fn mark_foreign(&self, id: i64, items: i64) -> Result<(), Source> {
        // The row is locked first, so that two nodes which say the same count it once.
        sqlx::query(
            "WITH before AS (
               SELECT id, account_id, foreign_items FROM webhook_journal WHERE id = $1 FOR UPDATE),
             counted AS (
               INSERT INTO webhook_foreign (account_id, items)
               SELECT account_id, $2 - foreign_items FROM before
               ON CONFLICT (account_id)
               DO UPDATE SET items = webhook_foreign.items + excluded.items)
             UPDATE webhook_journal SET foreign_items = $2
             FROM before WHERE webhook_journal.id = before.id",
        )
        .bind(id)
        .bind(items)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn foreign_items(&self, account_id: Uuid) -> Result<i64, Source> {
        let items = sqlx::query_scalar("SELECT items FROM webhook_foreign WHERE account_id = $1");
        Ok(items.bind(account_id).fetch_optional(&self.pool).await?.unwrap_or(0))
    }

    async fn park(&self, items: Vec<Parked>) -> Result<(), Source> {
        let column = |of: fn(&Parked) -> i64| items.iter().map(of).collect::<Vec<i64>>();
        sqlx::query(
            "INSERT INTO webhook_parked (account_id, wamid_hash, journal_id, item_path, received_at)
             SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bigint[], $4::text[], $5::bigint[])
             ON CONFLICT DO NOTHING",
        )
        .bind(items.iter().map(|item| item.account_id).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.wamid_hash.clone()).collect::<Vec<_>>())
        .bind(column(|item| item.journal_id))
        .bind(items.iter().map(|item| item.item_path.clone()).collect::<Vec<_>>())
        .bind(column(|item| item.received_at))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn find_parked(&self, hashes: Vec<Vec<u8>>) -> Result<Vec<Parked>, Source> {
        let rows = sqlx::query(
            "SELECT id, account_id, wamid_hash, journal_id, item_path, received_at
             FROM webhook_parked WHERE wamid_hash = ANY($1) ORDER BY id",
        )
        .bind(hashes)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(parked_at).collect()
    }

    async fn parked_after(&self, after: i64, limit: i64) -> Result<Vec<Parked>, Source> {
        let rows = sqlx::query(
            "SELECT id, account_id, wamid_hash, journal_id, item_path, received_at
             FROM webhook_parked WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(parked_at).collect()
    }

    async fn unpark(&self, ids: Vec<i64>) -> Result<(), Source> {
        let delete = sqlx::query("DELETE FROM webhook_parked WHERE id = ANY($1)");
        delete.bind(ids).execute(&self.pool).await?;
        Ok(())
    }

    async fn prune_parked(&self, before: i64, limit: i64) -> Result<u64, Source> {
        let deleted = sqlx::query(
            "DELETE FROM webhook_parked WHERE id IN (
               SELECT id FROM webhook_parked WHERE received_at < $1 ORDER BY received_at LIMIT $2)",
        )
        .bind(before)
        .bind(limit)
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}
