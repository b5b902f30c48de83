//! The row each projection has in the database: which generation of its tables answers, how far that has read the log,
//! and what is being built beside it.

use chrono::Utc;

use crate::SCHEMAS;
use crate::store::{Dialect, ReadDb, Schema, Sql, StoreError, table_name};

/// What the registry says of one projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub version: i64,
    /// The tables that answer.
    pub generation: i64,
    /// Everything up to here is in them.
    pub position: u64,
    pub failed: Option<String>,
    /// The tables that answer were made empty and have not caught up with the log yet: they answer nothing so far.
    pub is_building: bool,
    /// The tables being built, and how far they are.
    pub target: Option<(i64, u64)>,
}

impl Entry {
    fn newest_generation(&self) -> i64 {
        self.target.map_or(self.generation, |(target, _)| target.max(self.generation))
    }
}

const COLUMNS: &str = "SELECT name, version, generation, position, status, error, target, target_position, building \
                       FROM projections";

pub(crate) async fn load(db: &ReadDb, schema: &Schema) -> Result<Option<Entry>, StoreError> {
    let sql = Sql::new(&format!("{COLUMNS} WHERE name = ?")).with(schema.name);
    let rows = db.query_raw(&sql).await?;
    rows.first().map(read).transpose()
}

fn read(row: &crate::store::Row) -> Result<Entry, StoreError> {
    let failed = match row.text(4)? {
        "FAILED" => Some(row.opt_text(5)?.unwrap_or("UNKNOWN").to_owned()),
        _ => None,
    };
    let target = match (row.opt_int(6)?, row.opt_int(7)?) {
        (Some(target), Some(_)) => Some((target, row.count(7)?)),
        _ => None,
    };
    Ok(Entry {
        version: row.int(1)?,
        generation: row.int(2)?,
        position: row.count(3)?,
        failed,
        is_building: row.int(8)? != 0,
        target,
    })
}

/// Tells the handle which generations answer now.
pub(crate) async fn refresh(db: &ReadDb) -> Result<(), StoreError> {
    for schema in SCHEMAS {
        if let Some(entry) = load(db, schema).await? {
            db.set_live(schema, entry.generation, entry.is_building);
        }
    }
    Ok(())
}

async fn create(db: &ReadDb, schema: &Schema, generation: i64) -> Result<(), StoreError> {
    db.batch(create_sql(db.dialect(), schema, generation)).await
}

fn create_sql(dialect: Dialect, schema: &Schema, generation: i64) -> String {
    let (bytes, filled, clustered) = match dialect {
        Dialect::Sqlite => ("BLOB", "", " WITHOUT ROWID"),
        Dialect::Postgres => ("BYTEA", " WITH (fillfactor = 60)", ""),
    };
    schema
        .ddl
        .replace("{g}", &format!("_g{generation}"))
        .replace("{bytes}", bytes)
        .replace("{filled}", filled)
        .replace("{clustered}", clustered)
}

/// Makes sure that a projection has tables of the shape this version writes; others are left behind for
/// [`drop_leftovers`], and what they held is built anew: no query of this version could read them.
pub(crate) async fn prepare(db: &ReadDb, schema: &'static Schema) -> Result<Entry, StoreError> {
    // Twice: another node may have made the row between the look and the insert.
    for _ in 0..2 {
        let known = load(db, schema).await?;
        match known {
            // A newer version's tables stay as they are; the projector says so instead of writing to them.
            Some(entry) if entry.version > schema.version => {
                db.set_live(schema, entry.generation, entry.is_building);
                return Ok(entry);
            }
            Some(entry) if entry.version == schema.version => {
                if let Some((target, _)) = entry.target {
                    create(db, schema, target).await?;
                }
                db.set_live(schema, entry.generation, entry.is_building);
                return Ok(entry);
            }
            Some(entry) => start_over(db, schema, &entry).await?,
            None => {
                let insert = Sql::new(
                    "INSERT INTO projections (name, version, generation, position, status, building, updated_at) \
                     VALUES (?, ?, 1, 0, 'LIVE', 1, ?) ON CONFLICT (name) DO NOTHING",
                )
                .with(schema.name)
                .with(schema.version)
                .with(Utc::now());
                create(db, schema, 1).await?;
                db.commit(&db.live(), &insert, vec![]).await?;
            }
        }
    }
    let entry = load(db, schema).await?.ok_or(
        // Somebody deletes registry rows as fast as they are made.
        StoreError::Stopped,
    )?;
    db.set_live(schema, entry.generation, entry.is_building);
    Ok(entry)
}

/// Empty tables in a new generation take the others' place, and the log is read again from its beginning; they answer once
/// they have caught up.
pub(crate) async fn start_over(
    db: &ReadDb,
    schema: &'static Schema,
    entry: &Entry,
) -> Result<(), StoreError> {
    let generation = entry.newest_generation() + 1;
    create(db, schema, generation).await?;
    let update = Sql::new(
        "UPDATE projections SET version = ?, generation = ?, position = 0, status = 'LIVE', building = 1, \
         error = NULL, target = NULL, target_position = NULL, updated_at = ? \
         WHERE name = ? AND version = ? AND generation = ?",
    )
    .with(schema.version)
    .with(generation)
    .with(Utc::now())
    .with(schema.name)
    .with(entry.version)
    .with(entry.generation);
    if db.commit(&db.live(), &update, vec![]).await? {
        db.set_live(schema, generation, true);
    }
    Ok(())
}

/// Begins to build the next generation. `false`: one is being built already.
pub(crate) async fn start_rebuild(
    db: &ReadDb,
    schema: &'static Schema,
) -> Result<bool, StoreError> {
    let Some(entry) = load(db, schema).await? else { return Ok(false) };
    if entry.target.is_some() {
        return Ok(false);
    }
    let target = entry.newest_generation() + 1;
    create(db, schema, target).await?;
    let update = Sql::new(
        "UPDATE projections SET target = ?, target_position = 0, updated_at = ? \
         WHERE name = ? AND generation = ? AND target IS NULL",
    )
    .with(target)
    .with(Utc::now())
    .with(schema.name)
    .with(entry.generation);
    db.commit(&db.live(), &update, vec![]).await
}

/// The guard of a batch of the tables that answer: nobody has moved them since. `is_building`: they have not caught up yet.
pub(crate) fn advance(
    schema: &Schema,
    generation: i64,
    from: u64,
    to: u64,
    is_building: bool,
) -> Sql {
    Sql::new(
        "UPDATE projections SET position = ?, status = 'LIVE', error = NULL, building = ?, updated_at = ? \
         WHERE name = ? AND generation = ? AND position = ?",
    )
    .with(to)
    .with(i64::from(is_building))
    .with(Utc::now())
    .with(schema.name)
    .with(generation)
    .with(from)
}

/// The guard of a batch of the tables being built.
pub(crate) fn advance_target(schema: &Schema, target: i64, from: u64, to: u64) -> Sql {
    Sql::new(
        "UPDATE projections SET target_position = ?, updated_at = ? \
         WHERE name = ? AND target = ? AND target_position = ?",
    )
    .with(to)
    .with(Utc::now())
    .with(schema.name)
    .with(target)
    .with(from)
}

/// The new tables answer from now on, if they have seen all that the old ones had. `false`: not yet.
pub(crate) async fn swap(
    db: &ReadDb,
    schema: &'static Schema,
    target: i64,
    position: u64,
) -> Result<bool, StoreError> {
    let update = Sql::new(
        "UPDATE projections SET generation = target, position = target_position, status = 'LIVE', building = 0, \
         error = NULL, target = NULL, target_position = NULL, updated_at = ? \
         WHERE name = ? AND target = ? AND target_position = ? AND position <= target_position",
    )
    .with(Utc::now())
    .with(schema.name)
    .with(target)
    .with(position);
    let is_swapped = db.commit(&db.live(), &update, vec![]).await?;
    if is_swapped {
        db.set_live(schema, target, false);
    }
    Ok(is_swapped)
}

pub(crate) async fn record_failure(
    db: &ReadDb,
    schema: &Schema,
    generation: i64,
    class: &str,
) -> Result<(), StoreError> {
    let update = Sql::new(
        "UPDATE projections SET status = 'FAILED', error = ?, updated_at = ? \
         WHERE name = ? AND generation = ?",
    )
    .with(class)
    .with(Utc::now())
    .with(schema.name)
    .with(generation);
    db.commit(&db.live(), &update, vec![]).await?;
    Ok(())
}

/// Drops this projection's tables of every generation that neither answers nor is being built.
pub(crate) async fn drop_leftovers(db: &ReadDb, schema: &'static Schema) -> Result<(), StoreError> {
    let Some(entry) = load(db, schema).await? else { return Ok(()) };
    let is_kept = |generation: i64| {
        generation == entry.generation
            || entry.target.is_some_and(|(target, _)| target == generation)
            // Made by another node that is about to name it in its row.
            || generation > entry.newest_generation()
    };
    let existing = db.tables().await?;
    for name in existing {
        let Some((table, generation)) = name.rsplit_once("_g") else { continue };
        let Ok(generation) = generation.parse::<i64>() else { continue };
        if schema.tables.iter().any(|known| known.name == table) && !is_kept(generation) {
            db.batch(format!("DROP TABLE IF EXISTS {}", table_name(table, generation))).await?;
        }
    }
    Ok(())
}
