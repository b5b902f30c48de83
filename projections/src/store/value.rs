//! Values between the program and either database.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::StoreError;

/// A value of a column or parameter. Instants travel as milliseconds since 1970, truth as 0 and 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Uuid(Uuid),
    /// JSON of a folded state, packed.
    Doc(Vec<u8>),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Real,
    Text,
    Uuid,
    Doc,
}

impl Value {
    /// A folded state. `None` where it has no JSON form.
    pub fn doc<T: serde::Serialize>(state: &T) -> Option<Self> {
        let json = serde_json::to_vec(state).ok()?;
        Some(Self::Doc(gateway_pack::pack(&json)))
    }

    /// What a packed document takes; of anything else, nothing.
    pub fn doc_bytes(&self) -> usize {
        match self {
            Self::Doc(packed) => packed.len(),
            _ => 0,
        }
    }

    /// Makes text of a document.
    pub(super) fn unpack(&mut self) {
        if let Self::Doc(packed) = self
            && let Ok(json) = gateway_pack::unpack(packed)
            && let Ok(json) = String::from_utf8(json)
        {
            *self = Self::Text(json);
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Value {
    /// Positions and counts: beyond `i64::MAX` there is none.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Uuid(value)
    }
}

impl From<DateTime<Utc>> for Value {
    fn from(value: DateTime<Utc>) -> Self {
        Self::Int(value.timestamp_millis())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row as selected; columns go by place.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    fn shape(&self, column: usize, expected: &'static str) -> StoreError {
        StoreError::Shape { column, expected }
    }

    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        match self.0.get(column) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(self.shape(column, "an integer")),
        }
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.int(column).map(Some),
        }
    }

    pub fn is_null(&self, column: usize) -> bool {
        matches!(self.0.get(column), Some(Value::Null))
    }

    /// A count, sequence or position.
    pub fn count(&self, column: usize) -> Result<u64, StoreError> {
        u64::try_from(self.int(column)?).map_err(|_| self.shape(column, "a count"))
    }

    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self.0.get(column) {
            Some(Value::Text(value)) => Ok(value),
            _ => Err(self.shape(column, "text")),
        }
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    pub fn uuid(&self, column: usize) -> Result<Uuid, StoreError> {
        match self.0.get(column) {
            Some(Value::Uuid(value)) => Ok(*value),
            _ => Err(self.shape(column, "an id")),
        }
    }

    pub fn opt_uuid(&self, column: usize) -> Result<Option<Uuid>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.uuid(column).map(Some),
        }
    }

    pub fn instant(&self, column: usize) -> Result<DateTime<Utc>, StoreError> {
        DateTime::from_timestamp_millis(self.int(column)?)
            .ok_or_else(|| self.shape(column, "an instant"))
    }

    pub fn opt_instant(&self, column: usize) -> Result<Option<DateTime<Utc>>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.instant(column).map(Some),
        }
    }

    /// The bytes of a packed document.
    pub(super) fn packed(&self, column: usize) -> Option<&[u8]> {
        match self.0.get(column) {
            Some(Value::Doc(packed)) => Some(packed),
            _ => None,
        }
    }

    /// The folded state in a `doc` column, packed or plain.
    pub fn doc<T: serde::de::DeserializeOwned>(&self, column: usize) -> Result<T, StoreError> {
        // The error's text may quote the document, which is somebody's data: only its place is kept.
        let doc = |json: &[u8]| {
            serde_json::from_slice(json)
                .map_err(|error| StoreError::Doc { line: error.line(), column: error.column() })
        };
        let packed = match self.0.get(column) {
            Some(Value::Text(json)) => return doc(json.as_bytes()),
            Some(Value::Doc(packed)) => packed.as_slice(),
            // SQLite tells bytes from ids by their length alone.
            Some(Value::Uuid(id)) => id.as_bytes(),
            _ => return Err(self.shape(column, "a document")),
        };
        doc(&gateway_pack::unpack(packed).map_err(|_| self.shape(column, "a document"))?)
    }
}
