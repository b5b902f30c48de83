//! The journal in SQLite, through the one thread that writes the log's file.

use async_trait::async_trait;
use gateway_sqlite::Sqlite;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::Source;
use super::store::{JournalStore, NewRow, Parked, Row};

pub(super) struct SqliteJournal {
    pub db: Sqlite,
}

fn uuid_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let text: String = row.get(column)?;
    Uuid::try_parse(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

fn parked_at(row: &rusqlite::Row<'_>) -> rusqlite::Result<Parked> {
    Ok(Parked {
        id: row.get(0)?,
        account_id: uuid_at(row, 1)?,
        wamid_hash: row.get(2)?,
        journal_id: row.get(3)?,
        item_path: row.get(4)?,
        received_at: row.get(5)?,
    })
}

#[async_trait]
impl JournalStore for SqliteJournal {
    async fn append(&self, rows: Vec<NewRow>) -> Result<Vec<i64>, Source> {
        let append = move |tx: &mut rusqlite::Transaction<'_>| {
            let mut insert = tx.prepare_cached(
                "INSERT INTO webhook_journal (account_id, received_at, key_day, body, body_bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            rows.iter()
                .map(|row| {
                    insert.insert(params![
                        row.account_id.to_string(),
                        row.received_at,
                        row.key_day,
                        row.sealed,
                        row.body_bytes
                    ])
                })
                .collect()
        };
        Ok(self.db.write(append).await?)
    }

    async fn sizes_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, i64)>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached(
                "SELECT id, body_bytes FROM webhook_journal WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map([after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn rows(&self, after: i64, to: i64) -> Result<Vec<Row>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached(
                "SELECT id, account_id, received_at, key_day, body, rewrites FROM webhook_journal
                 WHERE id > ?1 AND id <= ?2 ORDER BY id",
            )?
            .query_map([after, to], |row| {
                Ok(Row {
                    id: row.get(0)?,
                    account_id: uuid_at(row, 1)?,
                    received_at: row.get(2)?,
                    key_day: row.get(3)?,
                    sealed: row.get(4)?,
                    rewrites: row.get(5)?,
                })
            })?
            .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn first_since(&self, day: i64, received_at: i64) -> Result<Option<i64>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached(
                "SELECT min(id) FROM webhook_journal WHERE key_day >= ?1 AND received_at >= ?2",
            )?
            .query_row([day, received_at], |row| row.get(0))
        };
        Ok(self.db.read(read).await?)
    }

    async fn head(&self) -> Result<i64, Source> {
        let read = |db: &rusqlite::Connection| {
            db.prepare_cached("SELECT coalesce(max(id), 0) FROM webhook_journal")?
                .query_row([], |row| row.get(0))
        };
        Ok(self.db.read(read).await?)
    }

    async fn cursor(&self, name: &str) -> Result<i64, Source> {
        let name = name.to_owned();
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached("SELECT position FROM webhook_cursor WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        };
        Ok(self.db.read(read).await?.unwrap_or(0))
    }

    async fn move_cursor(&self, name: &str, from: i64, to: i64) -> Result<bool, Source> {
        let name = name.to_owned();
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            if from == 0 {
                tx.prepare_cached(
                    "INSERT INTO webhook_cursor (name, position) VALUES (?1, 0)
                     ON CONFLICT DO NOTHING",
                )?
                .execute([&name])?;
            }
            tx.prepare_cached(
                "UPDATE webhook_cursor SET position = ?3 WHERE name = ?1 AND position = ?2",
            )?
            .execute(params![name, from, to])
        };
        Ok(self.db.write(write).await? == 1)
    }

    async fn replace(
        &self,
        id: i64,
        rewrites: i64,
        sealed: Vec<u8>,
        body_bytes: i64,
        unpark: Vec<String>,
    ) -> Result<bool, Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            let replaced = tx
                .prepare_cached(
                    "UPDATE webhook_journal SET body = ?3, body_bytes = ?4, rewrites = rewrites + 1
                     WHERE id = ?1 AND rewrites = ?2",
                )?
                .execute(params![id, rewrites, sealed, body_bytes])?;
            if replaced == 1 {
                let mut delete = tx.prepare_cached(
                    "DELETE FROM webhook_parked WHERE journal_id = ?1 AND item_path = ?2",
                )?;
                for path in &unpark {
                    delete.execute(params![id, path])?;
                }
            }
            Ok(replaced == 1)
        };
        Ok(self.db.write(write).await?)
    }

    async fn days_before(&self, day: i64) -> Result<Vec<i64>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached("SELECT DISTINCT key_day FROM webhook_journal WHERE key_day < ?1")?
                .query_map([day], |row| row.get(0))?
                .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn delete_before(&self, day: i64, limit: i64) -> Result<u64, Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            let mut select = tx.prepare_cached(
                "SELECT id FROM webhook_journal WHERE key_day < ?1 ORDER BY key_day, id LIMIT ?2",
            )?;
            let ids: Vec<i64> =
                select.query_map([day, limit], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut unpark =
                tx.prepare_cached("DELETE FROM webhook_parked WHERE journal_id = ?1")?;
            let mut delete = tx.prepare_cached("DELETE FROM webhook_journal WHERE id = ?1")?;
            for id in &ids {
                unpark.execute([id])?;
                delete.execute([id])?;
            }
            Ok(ids.len() as u64)
        };
        Ok(self.db.write(write).await?)
    }

    async fn mark_foreign(&self, id: i64, items: i64) -> Result<(), Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            tx.prepare_cached(
                "INSERT INTO webhook_foreign (account_id, items)
                 SELECT account_id, ?2 - foreign_items FROM webhook_journal WHERE id = ?1
                 ON CONFLICT (account_id) DO UPDATE SET items = items + excluded.items",
            )?
            .execute([id, items])?;
            tx.prepare_cached("UPDATE webhook_journal SET foreign_items = ?2 WHERE id = ?1")?
                .execute([id, items])
        };
        self.db.write(write).await?;
        Ok(())
    }

    async fn foreign_items(&self, account_id: Uuid) -> Result<i64, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached("SELECT items FROM webhook_foreign WHERE account_id = ?1")?
                .query_row([account_id.to_string()], |row| row.get(0))
                .optional()
        };
        Ok(self.db.read(read).await?.unwrap_or(0))
    }

    async fn park(&self, items: Vec<Parked>) -> Result<(), Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            let mut insert = tx.prepare_cached(
                "INSERT INTO webhook_parked (account_id, wamid_hash, journal_id, item_path, received_at)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            )?;
            for item in &items {
                insert.execute(params![
                    item.account_id.to_string(),
                    item.wamid_hash,
                    item.journal_id,
                    item.item_path,
                    item.received_at
                ])?;
            }
            Ok(())
        };
        Ok(self.db.write(write).await?)
    }

    async fn find_parked(&self, hashes: Vec<Vec<u8>>) -> Result<Vec<Parked>, Source> {
        let read = move |db: &rusqlite::Connection| {
            let mut select = db.prepare_cached(
                "SELECT id, account_id, wamid_hash, journal_id, item_path, received_at
                 FROM webhook_parked WHERE wamid_hash = ?1 ORDER BY id",
            )?;
            let mut found = Vec::new();
            for hash in &hashes {
                let parked = select.query_map([hash], parked_at)?;
                for parked in parked {
                    found.push(parked?);
                }
            }
            found.sort_by_key(|parked| parked.id);
            Ok(found)
        };
        Ok(self.db.read(read).await?)
    }

    async fn parked_after(&self, after: i64, limit: i64) -> Result<Vec<Parked>, Source> {
        let read = move |db: &rusqlite::Connection| {
            db.prepare_cached(
                "SELECT id, account_id, wamid_hash, journal_id, item_path, received_at
                 FROM webhook_parked WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map([after, limit], parked_at)?
            .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn unpark(&self, ids: Vec<i64>) -> Result<(), Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            let mut delete = tx.prepare_cached("DELETE FROM webhook_parked WHERE id = ?1")?;
            for id in &ids {
                delete.execute([id])?;
            }
            Ok(())
        };
        Ok(self.db.write(write).await?)
    }

    async fn prune_parked(&self, before: i64, limit: i64) -> Result<u64, Source> {
        let write = move |tx: &mut rusqlite::Transaction<'_>| {
            tx.prepare_cached(
                "DELETE FROM webhook_parked WHERE id IN (SELECT id FROM webhook_parked
                 WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)",
            )?
            .execute([before, limit])
        };
        Ok(self.db.write(write).await? as u64)
    }
}
