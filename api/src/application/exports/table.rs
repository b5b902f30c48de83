//! Rows as every format writes them: named, typed columns, and a value for each.

use chrono::{DateTime, NaiveDate, Utc};
use domain::port::Position;
use domain::pricing::Amount;
use serde::Serialize;
use serde_json::Value;

/// What a column holds; any may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Text,
    /// A whole number of 64 bits.
    Integer,
    Boolean,
    /// A moment in UTC, to the millisecond.
    Timestamp,
    /// An amount of money, exact to six places.
    Decimal,
    /// An object or a list: a value of its own in NDJSON, its text elsewhere.
    Json,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Decimal => "decimal",
            Self::Json => "json",
        }
    }
}

/// A column of one of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// There with personal data only.
    pub personal: bool,
    pub meaning: &'static str,
}

impl Column {
    pub(super) const fn new(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, kind, personal: false, meaning }
    }

    pub(super) const fn personal(mut self) -> Self {
        self.personal = true;
        self
    }
}

/// What stands in a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Empty,
    Text(String),
    Integer(i64),
    Boolean(bool),
    Timestamp(DateTime<Utc>),
    Decimal(Amount),
    Json(Value),
}

impl Cell {
    pub(super) fn count(count: u64) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// As text, as CSV and the JSON columns of Parquet have it; `None` where it is empty.
    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Self::Empty => None,
            Self::Text(text) => Some(text),
            Self::Integer(number) => Some(number.to_string()),
            Self::Boolean(flag) => Some(flag.to_string()),
            Self::Timestamp(at) => Some(instant(at)),
            Self::Decimal(amount) => Some(amount.to_string()),
            Self::Json(value) => Some(value.to_string()),
        }
    }

    pub(super) fn into_json(self) -> Value {
        match self {
            Self::Empty => Value::Null,
            Self::Text(text) => Value::from(text),
            Self::Integer(number) => Value::from(number),
            Self::Boolean(flag) => Value::from(flag),
            Self::Timestamp(at) => Value::from(instant(at)),
            Self::Decimal(amount) => Value::from(amount.to_string()),
            Self::Json(value) => value,
        }
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

macro_rules! cell_from {
    ($($type:ty => $make:expr),* $(,)?) => {$(
        impl From<$type> for Cell {
            fn from(value: $type) -> Self {
                $make(value)
            }
        }
    )*};
}

cell_from! {
    String => Cell::Text,
    &str => |text: &str| Cell::Text(text.to_owned()),
    uuid::Uuid => |id: uuid::Uuid| Cell::Text(id.to_string()),
    bool => Cell::Boolean,
    u32 => |number: u32| Cell::Integer(i64::from(number)),
    u64 => Cell::count,
    i64 => Cell::Integer,
    DateTime<Utc> => Cell::Timestamp,
    Amount => Cell::Decimal,
    Value => Cell::Json,
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

/// One row, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Of the event that it is, or that began what it is about. No two rows of an export have the same, and they follow each
    /// other in this order.
    pub position: Position,
    /// When that event was recorded (UTC): which part of a partitioned export it belongs to.
    pub day: NaiveDate,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// One for each column.
    Cells(Vec<Cell>),
    /// A line of NDJSON in a form of its own.
    Line(Value),
}
