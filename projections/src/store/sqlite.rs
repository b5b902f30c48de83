//! The read models in a SQLite file of their own.

use std::collections::BTreeMap;

use gateway_sqlite::{Sqlite, SqliteError};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, ToSql, Transaction};
use uuid::Uuid;

use super::sql::{Parameter, Rendered};
use super::{Changed, Generations, Row, StoreError, Table, Value};

/// A write with its table's name settled: a statement for each row.
pub(super) struct Prepared {
    pub sql: String,
    pub rows: Vec<Vec<Value>>,
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Uuid(value) => ValueRef::Blob(value.as_bytes()),
            Self::Doc(packed) => ValueRef::Blob(packed),
        }))
    }
}

fn bind(statement: &mut Statement<'_>, parameters: &[Parameter]) -> rusqlite::Result<()> {
    for (index, parameter) in parameters.iter().enumerate() {
        // Lists were spread out when the statement was rendered.
        let value = match parameter {
            Parameter::One(value) => value,
            Parameter::List(_) => &Value::Null,
        };
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

fn value(raw: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match raw {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(_) => Value::Text(raw.as_str()?.to_owned()),
        // The only other bytes in these tables are documents, and who reads one takes sixteen bytes of it too.
        ValueRef::Blob(bytes) => match Uuid::from_slice(bytes) {
            Ok(id) => Value::Uuid(id),
            Err(_) => Value::Doc(bytes.to_owned()),
        },
    })
}

fn select(connection: &Connection, statement: &Rendered) -> rusqlite::Result<Vec<Row>> {
    let mut prepared = connection.prepare_cached(&statement.text)?;
    bind(&mut prepared, &statement.parameters)?;
    let columns = prepared.column_count();
    let mut rows = prepared.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| value(row.get_ref(column)?));
        found.push(Row(values.collect::<rusqlite::Result<_>>()?));
    }
    Ok(found)
}

pub(super) async fn query(db: &Sqlite, statement: Rendered) -> Result<Vec<Row>, SqliteError> {
    db.read(move |connection| select(connection, &statement)).await
}

fn run(tx: &Transaction<'_>, statement: &Rendered) -> rusqlite::Result<usize> {
    let mut prepared = tx.prepare_cached(&statement.text)?;
    bind(&mut prepared, &statement.parameters)?;
    prepared.raw_execute()
}

fn run_each(tx: &Transaction<'_>, sql: &str, rows: &[Vec<Value>]) -> rusqlite::Result<()> {
    let mut prepared = tx.prepare_cached(sql)?;
    for row in rows {
        for (index, value) in row.iter().enumerate() {
            prepared.raw_bind_parameter(index + 1, value)?;
        }
        prepared.raw_execute()?;
    }
    Ok(())
}

/// Makes the writes only where `guard` changed a row.
pub(super) async fn commit(
    db: &Sqlite,
    guard: Rendered,
    writes: Vec<Prepared>,
) -> Result<bool, StoreError> {
    let is_ours = db
        .write(move |tx| {
            if run(tx, &guard)? == 0 {
                return Ok(false);
            }
            for write in &writes {
                run_each(tx, &write.sql, &write.rows)?;
            }
            Ok(true)
        })
        .await?;
    Ok(is_ours)
}

/// Statements of a schema change, in one transaction.
pub(super) async fn batch(db: &Sqlite, sql: String) -> Result<(), SqliteError> {
    db.write(move |tx| tx.execute_batch(&sql)).await
}

pub(super) fn upsert_sql(table: &Table, generations: &Generations) -> String {
    let marks: Vec<String> = (1..=table.columns.len()).map(|n| format!("?{n}")).collect();
    table.upsert_sql(&generations.table(table.name), &format!("VALUES ({})", marks.join(", ")))
}

/// Of each row only what has changed: an index is written where one of its columns is, whatever its value. Rows in which
/// the same columns change share a statement.
pub(super) fn updates(
    table: &Table,
    generations: &Generations,
    rows: Vec<Changed>,
) -> impl Iterator<Item = Prepared> {
    let mut by_columns: BTreeMap<Vec<usize>, Vec<Vec<Value>>> = BTreeMap::new();
    for row in rows {
        let columns = row.columns(table);
        let mut after = row.after;
        let mut take = |place: &usize| std::mem::take(&mut after[*place]);
        let mut values: Vec<Value> = columns.iter().map(&mut take).collect();
        values.extend((0..table.key).map(|place| take(&place)));
        by_columns.entry(columns).or_default().push(values);
    }
    by_columns.remove(&Vec::new());
    let name = generations.table(table.name);
    by_columns.into_iter().map(move |(columns, rows)| {
        let assigned = |place: usize, n: usize| format!("{} = ?{n}", table.columns[place].name);
        let set: Vec<String> =
            columns.iter().zip(1..).map(|(place, n)| assigned(*place, n)).collect();
        let key: Vec<String> =
            (0..table.key).map(|place| assigned(place, columns.len() + 1 + place)).collect();
        let sql = format!("UPDATE {name} SET {} WHERE {}", set.join(", "), key.join(" AND "));
        Prepared { sql, rows }
    })
}

pub(super) fn delete_sql(table: &Table, generations: &Generations) -> String {
    let conditions: Vec<String> = table
        .key_columns()
        .iter()
        .enumerate()
        .map(|(index, column)| format!("{} = ?{}", column.name, index + 1))
        .collect();
    format!("DELETE FROM {} WHERE {}", generations.table(table.name), conditions.join(" AND "))
}
