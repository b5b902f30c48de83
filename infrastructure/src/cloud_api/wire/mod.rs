//! The JSON of the Cloud API: what is sent ([`send`], [`template`]), what is answered ([`response`]) and what Meta
//! posts ([`webhook`]).
//!
//! Reading is lenient, because Meta adds fields, types and enum values without notice and prints the same thing as
//! number or string: unknown enum values are kept as `Other`, a wrongly typed optional value reads as absent, and the
//! untouched JSON of an item stays at hand. What fails is only what is useless without the missing part. No type here
//! prints personal data in `Debug`, and no error quotes a value.

pub mod lenient;
mod open;
pub mod response;
pub mod send;
pub mod template;
pub mod webhook;

pub(crate) use open::{masked_debug, open_enum};

use serde::Deserialize;
use serde_json::Value;

/// Extra fields of an item that this version does not know, as they came.
pub type Extra = serde_json::Map<String, Value>;

/// One item of an answer or a webhook that cannot be read. Its neighbours are unharmed; its raw JSON is still in the
/// array it came from. The reason names fields, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{item} {index} cannot be read: {reason}")]
pub struct ItemError {
    /// What it should have been (`status`, `message`, `template` …).
    pub item: &'static str,
    /// Its place in its array, from 0.
    pub index: usize,
    /// What is wrong with its shape.
    pub reason: String,
}

/// Reads one value as `T`.
///
/// # Errors
/// [`ItemError`] where a part that cannot be missing is missing or of another type.
pub fn read_item<'a, T: Deserialize<'a>>(
    item: &'static str,
    index: usize,
    value: &'a Value,
) -> Result<T, ItemError> {
    T::deserialize(value).map_err(|error| ItemError { item, index, reason: shape_of(&error) })
}

/// Reads each value by itself, so that one that cannot be read costs nobody else.
pub fn read_items<'a, T: Deserialize<'a>>(
    item: &'static str,
    values: &'a [Value],
) -> impl Iterator<Item = Result<T, ItemError>> {
    values.iter().enumerate().map(move |(index, value)| read_item(item, index, value))
}

/// What a serde error says about the shape, without the value it quotes: values are personal data.
pub(crate) fn shape_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if let Some(field) = text.strip_prefix("missing field ") {
        let name: String = field.chars().take_while(|c| !c.is_whitespace()).collect();
        return format!("missing field {name}");
    }
    if error.is_syntax() || error.is_eof() {
        return format!("not JSON (line {}, column {})", error.line(), error.column());
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => {
            format!("expected {}", expected.split(" at line ").next().unwrap_or(expected))
        }
        None => "a value is not of the expected form".to_owned(),
    }
}

#[cfg(test)]
mod tests;
