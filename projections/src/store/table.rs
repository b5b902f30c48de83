//! What the program knows of its tables, and writes to them as data.

use std::collections::BTreeMap;

use super::{Kind, Value};

/// A read model's tables, all in one generation.
#[derive(Debug)]
pub struct Schema {
    /// The projector's stable name.
    pub name: &'static str,
    /// Raised with every change of the tables or of what is written to them; what an older version wrote is then built
    /// anew when the program starts.
    pub version: i64,
    /// `CREATE TABLE` and `CREATE INDEX` statements with `{g}` for the generation's suffix, `{bytes}` for the database's
    /// type of bytes, `{filled}` behind a table whose rows are rewritten in place, to leave room for it, and behind that
    /// `{clustered}` where rows are small and read by their key, which then need not be kept twice.
    pub ddl: &'static str,
    pub tables: &'static [&'static Table],
}

#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    /// The key's columns first.
    pub columns: &'static [Column],
    /// How many columns make the key.
    pub key: usize,
}

#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub when_known: WhenKnown,
}

/// What becomes of a column when its row exists already. What is kept costs no index anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenKnown {
    Keep,
    Set,
    /// The greater one stays; null is the least.
    Max,
    /// What is given is added to what is known: a count that need not be read to be kept.
    Add,
}

pub const fn keep(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, when_known: WhenKnown::Keep }
}

pub const fn set(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, when_known: WhenKnown::Set }
}

pub const fn max(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, when_known: WhenKnown::Max }
}

pub const fn add(name: &'static str) -> Column {
    Column { name, kind: Kind::Int, when_known: WhenKnown::Add }
}

/// A change of a projector's tables; all of a batch are made in one transaction with its checkpoint.
#[derive(Debug)]
pub enum Write {
    /// Rows with every column in order, each key at most once.
    Upsert { table: &'static Table, rows: Vec<Vec<Value>> },
    /// Rows that are there, each key at most once.
    Change { table: &'static Table, rows: Vec<Changed> },
    /// By the whole key.
    Delete { table: &'static Table, keys: Vec<Vec<Value>> },
}

/// A row as it is and as it will be, with every column in order. Columns that `before` leaves out at its end count as
/// changed.
#[derive(Debug)]
pub struct Changed {
    pub before: Vec<Value>,
    pub after: Vec<Value>,
}

impl Changed {
    /// The places of the columns that are to be written.
    pub fn columns(&self, table: &Table) -> Vec<usize> {
        let is_other = |place: &usize| self.before.get(*place) != self.after.get(*place);
        let is_kept = |place: &usize| table.columns[*place].when_known == WhenKnown::Keep;
        (table.key..table.columns.len()).filter(|place| !is_kept(place)).filter(is_other).collect()
    }
}

impl Write {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Upsert { rows, .. } => rows.is_empty(),
            Self::Change { rows, .. } => rows.is_empty(),
            Self::Delete { keys, .. } => keys.is_empty(),
        }
    }
}

impl Table {
    pub fn key_columns(&self) -> &'static [Column] {
        &self.columns[..self.key]
    }

    fn names(columns: &[Column]) -> String {
        columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// `INSERT … {source} ON CONFLICT …`, where `source` gives the rows.
    pub(super) fn upsert_sql(&self, table: &str, source: &str) -> String {
        let updates: Vec<String> = self.columns[self.key..]
            .iter()
            .filter_map(|Column { name, when_known, .. }| match when_known {
                WhenKnown::Keep => None,
                WhenKnown::Set => Some(format!("{name} = excluded.{name}")),
                WhenKnown::Max => Some(format!(
                    "{name} = CASE WHEN known.{name} IS NULL OR excluded.{name} > known.{name} \
                     THEN excluded.{name} ELSE known.{name} END"
                )),
                WhenKnown::Add => Some(format!("{name} = known.{name} + excluded.{name}")),
            })
            .collect();
        let action = if updates.is_empty() {
            "NOTHING".to_owned()
        } else {
            format!("UPDATE SET {}", updates.join(", "))
        };
        format!(
            "INSERT INTO {table} AS known ({}) {source} ON CONFLICT ({}) DO {action}",
            Self::names(self.columns),
            Self::names(self.key_columns()),
        )
    }
}

/// Which generation of which table is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// By projection.
    pub by_projection: BTreeMap<&'static str, i64>,
    by_table: BTreeMap<&'static str, i64>,
    /// Tables that have not caught up with the log yet, and whose they are.
    building: BTreeMap<&'static str, &'static str>,
}

impl Generations {
    pub fn set(&mut self, schema: &'static Schema, generation: i64) {
        self.by_projection.insert(schema.name, generation);
        for table in schema.tables {
            self.by_table.insert(table.name, generation);
        }
    }

    pub fn set_building(&mut self, schema: &'static Schema, is_building: bool) {
        for table in schema.tables {
            if is_building {
                self.building.insert(table.name, schema.name);
            } else {
                self.building.remove(table.name);
            }
        }
    }

    pub fn is_building(&self, schema: &Schema) -> bool {
        schema.tables.iter().any(|table| self.building.contains_key(table.name))
    }

    /// The projection that is still building this table.
    pub(super) fn builder_of(&self, table: &str) -> Option<&'static str> {
        self.building.get(table).copied()
    }

    #[cfg(test)]
    pub(super) fn of(tables: &[(&'static str, i64)]) -> Self {
        Self { by_table: tables.iter().copied().collect(), ..Self::default() }
    }

    /// The table's name in the database; one without generations has its own.
    pub fn table(&self, name: &str) -> String {
        match self.by_table.get(name) {
            Some(generation) => table_name(name, *generation),
            None => name.to_owned(),
        }
    }
}

pub fn table_name(name: &str, generation: i64) -> String {
    format!("{name}_g{generation}")
}
