//! The read models in PostgreSQL.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgPool, PgRow, PgTypeInfo};
use sqlx::{
    Arguments, Column as _, Encode, Executor, Postgres, Row as _, Type, TypeInfo, ValueRef,
};
use uuid::Uuid;

use super::sql::{Parameter, Rendered};
use super::{Generations, Kind, Row, StoreError, Table, Value};

/// Rows of one statement: bounds the memory of a message to the server.
const ROWS_MAX: usize = 2_000;

impl Type<Postgres> for Value {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }

    fn compatible(_: &PgTypeInfo) -> bool {
        true
    }
}

impl Encode<'_, Postgres> for Value {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) => <i64 as Encode<'_, Postgres>>::encode_by_ref(value, buffer),
            Self::Real(value) => <f64 as Encode<'_, Postgres>>::encode_by_ref(value, buffer),
            Self::Text(value) => {
                <String as Encode<'_, Postgres>>::encode_by_ref(&storable(value), buffer)
            }
            Self::Uuid(value) => <Uuid as Encode<'_, Postgres>>::encode_by_ref(value, buffer),
            Self::Doc(packed) => <Vec<u8> as Encode<'_, Postgres>>::encode_by_ref(packed, buffer),
        }
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(match self {
            // The server knows best what kind of nothing it is.
            Self::Null => PgTypeInfo::with_oid(Oid(0)),
            Self::Int(_) => <i64 as Type<Postgres>>::type_info(),
            Self::Real(_) => <f64 as Type<Postgres>>::type_info(),
            Self::Text(_) => <String as Type<Postgres>>::type_info(),
            Self::Uuid(_) => <Uuid as Type<Postgres>>::type_info(),
            Self::Doc(_) => <Vec<u8> as Type<Postgres>>::type_info(),
        })
    }
}

/// PostgreSQL's text cannot hold NUL, which a person may well have typed.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn kind_of(values: &[Value]) -> Kind {
    values
        .iter()
        .find_map(|value| match value {
            Value::Null => None,
            Value::Int(_) => Some(Kind::Int),
            Value::Real(_) => Some(Kind::Real),
            Value::Text(_) => Some(Kind::Text),
            Value::Uuid(_) => Some(Kind::Uuid),
            Value::Doc(_) => Some(Kind::Doc),
        })
        .unwrap_or(Kind::Text)
}

fn add_array<'a>(
    arguments: &mut PgArguments,
    kind: Kind,
    values: impl Iterator<Item = &'a Value>,
) -> Result<(), BoxDynError> {
    macro_rules! array {
        ($variant:ident, $type:ty, $convert:expr) => {
            arguments.add(
                values
                    .map(|value| match value {
                        Value::$variant(value) => Some($convert(value)),
                        _ => None,
                    })
                    .collect::<Vec<Option<$type>>>(),
            )
        };
    }
    match kind {
        Kind::Int => array!(Int, i64, |value: &i64| *value),
        Kind::Real => array!(Real, f64, |value: &f64| *value),
        Kind::Text => array!(Text, String, |value: &String| storable(value)),
        Kind::Uuid => array!(Uuid, Uuid, |value: &Uuid| *value),
        Kind::Doc => array!(Doc, Vec<u8>, |packed: &Vec<u8>| packed.clone()),
    }
}

fn arguments(parameters: &[Parameter]) -> Result<PgArguments, StoreError> {
    let mut arguments = PgArguments::default();
    for parameter in parameters {
        match parameter {
            Parameter::One(value) => arguments.add(value.clone()),
            Parameter::List(values) => add_array(&mut arguments, kind_of(values), values.iter()),
        }
        .map_err(|error| StoreError::Postgres(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

fn value(row: &PgRow, column: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info();
    Ok(match kind.name() {
        "INT8" => Value::Int(row.try_get(column)?),
        "INT4" => Value::Int(i64::from(row.try_get::<i32, _>(column)?)),
        "BOOL" => Value::Int(i64::from(row.try_get::<bool, _>(column)?)),
        "FLOAT8" => Value::Real(row.try_get(column)?),
        "UUID" => Value::Uuid(row.try_get(column)?),
        "BYTEA" => Value::Doc(row.try_get(column)?),
        "TEXT" | "VARCHAR" | "NAME" => Value::Text(row.try_get(column)?),
        other => {
            return Err(sqlx::Error::ColumnDecode {
                index: row.column(column).name().to_owned(),
                source: format!("no read model has a column of type {other}").into(),
            });
        }
    })
}

fn rows(found: &[PgRow]) -> Result<Vec<Row>, sqlx::Error> {
    found
        .iter()
        .map(|row| {
            let values = (0..row.len()).map(|column| value(row, column));
            values.collect::<Result<_, _>>().map(Row)
        })
        .collect()
}

pub(super) async fn query(pool: &PgPool, statement: Rendered) -> Result<Vec<Row>, StoreError> {
    let arguments = arguments(&statement.parameters)?;
    let found = sqlx::query_with(&statement.text, arguments).fetch_all(pool).await?;
    Ok(rows(&found)?)
}

async fn run(connection: &mut PgConnection, statement: &Rendered) -> Result<u64, StoreError> {
    let arguments = arguments(&statement.parameters)?;
    let done = sqlx::query_with(&statement.text, arguments).execute(connection).await?;
    Ok(done.rows_affected())
}

/// A write with its table's name settled: a statement for all rows, column by column.
pub(super) struct Prepared {
    pub sql: String,
    pub kinds: Vec<Kind>,
    pub rows: Vec<Vec<Value>>,
}

/// What is in the read models can be read from the log again, and rows go with their checkpoint: a power cut may take the
/// last moments of both back, so none is waited for.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off";

/// Makes the writes only where `guard` changed a row.
pub(super) async fn commit(
    pool: &PgPool,
    guard: Rendered,
    writes: Vec<Prepared>,
) -> Result<bool, StoreError> {
    let mut tx = pool.begin_with(BEGIN).await?;
    if run(&mut tx, &guard).await? == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    for Prepared { sql, kinds, rows } in &writes {
        for chunk in rows.chunks(ROWS_MAX) {
            let mut arguments = PgArguments::default();
            for (column, kind) in kinds.iter().enumerate() {
                let values = chunk.iter().map(|row| &row[column]);
                add_array(&mut arguments, *kind, values)
                    .map_err(|error| StoreError::Postgres(sqlx::Error::Encode(error)))?;
            }
            sqlx::query_with(sql, arguments).execute(&mut *tx).await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}

/// Statements of a schema change, in one transaction that only one node at a time is in.
pub(super) async fn batch(pool: &PgPool, sql: &str) -> Result<(), StoreError> {
    let mut tx = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('whatsapp-gateway read models'))")
        .execute(&mut *tx)
        .await?;
    tx.execute(sql).await?;
    tx.commit().await?;
    Ok(())
}

/// Outside a transaction, as VACUUM wants it.
pub(super) async fn outside_transaction(pool: &PgPool, sql: &str) -> Result<(), StoreError> {
    pool.execute(sql).await?;
    Ok(())
}

fn array_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint[]",
        Kind::Real => "double precision[]",
        Kind::Text => "text[]",
        Kind::Doc => "bytea[]",
        Kind::Uuid => "uuid[]",
    }
}

fn unnest(columns: &[super::Column]) -> String {
    let arrays: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::{}", index + 1, array_type(column.kind)))
        .collect();
    format!("UNNEST({})", arrays.join(", "))
}

pub(super) fn upsert_sql(table: &Table, generations: &Generations) -> String {
    let source = format!("SELECT * FROM {}", unnest(table.columns));
    table.upsert_sql(&generations.table(table.name), &source)
}

pub(super) fn delete_sql(table: &Table, generations: &Generations) -> String {
    let key = table.key_columns();
    let names: Vec<&str> = key.iter().map(|column| column.name).collect();
    let conditions: Vec<String> =
        names.iter().map(|name| format!("t.{name} = gone.{name}")).collect();
    format!(
        "DELETE FROM {} AS t USING {} AS gone({}) WHERE {}",
        generations.table(table.name),
        unnest(key),
        names.join(", "),
        conditions.join(" AND "),
    )
}
