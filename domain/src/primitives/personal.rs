//! Personal data as a marked type: what it wraps is sealed in the log with its subject's key, prints masked, and may
//! come back as erased.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeOwned, Deserializer};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// The JSON key that marks readable personal data. The log's codec seals what stands under it before it is stored.
pub const MARK_KNOWN: &str = "$p";
/// The JSON key that marks personal data whose key was destroyed.
pub const MARK_ERASED: &str = "$e";

/// A value that belongs to a person. In JSON it is `{"$p": value}`, and `{"$e": true}` once the person was erased, so
/// that whoever handles events without knowing their types can seal, mask and unwrap it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Personal<T> {
    Known(T),
    /// The key was destroyed; the fact that there was a value is all that is left.
    Erased,
}

impl<T> Personal<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Erased => None,
        }
    }

    pub fn into_known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Erased => None,
        }
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Personal<U> {
        match self {
            Self::Known(value) => Personal::Known(f(value)),
            Self::Erased => Personal::Erased,
        }
    }
}

impl<T> From<T> for Personal<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

/// Masked: test output and logs go through `Debug`.
impl<T> std::fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Known(_) => "Personal(***)",
            Self::Erased => "Personal(erased)",
        })
    }
}

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Known(value) => map.serialize_entry(MARK_KNOWN, value)?,
            Self::Erased => map.serialize_entry(MARK_ERASED, &true)?,
        }
        map.end()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = serde_json::Map::deserialize(deserializer)?;
        if let Some(value) = map.remove(MARK_KNOWN) {
            return serde_json::from_value(value).map(Self::Known).map_err(de::Error::custom);
        }
        if map.contains_key(MARK_ERASED) {
            return Ok(Self::Erased);
        }
        Err(de::Error::custom("expected personal data, marked as such"))
    }
}

/// As it is stored, mark included.
impl<T: JsonSchema> JsonSchema for Personal<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Personal_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                MARK_KNOWN: generator.subschema_for::<T>(),
                MARK_ERASED: { "const": true },
            },
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_is_marked_in_json_and_masked_in_debug() {
        let name = Personal::from("Ana".to_owned());
        assert_eq!(serde_json::to_string(&name).unwrap(), r#"{"$p":"Ana"}"#);
        assert_eq!(format!("{name:?}"), "Personal(***)");
        let back: Personal<String> = serde_json::from_str(r#"{"$p":"Ana"}"#).unwrap();
        assert_eq!(back, name);
        let gone: Personal<String> = serde_json::from_str(r#"{"$e":true}"#).unwrap();
        assert_eq!(gone, Personal::Erased);
    }
}
