//! What every area asks of its inputs.

use serde_json::Value;

use super::error::{AppError, AppResult};

/// Levels that a caller's own JSON may nest.
const JSON_DEPTH_MAX: usize = 20;
/// Bytes of a JSON input that has no bound of its own.
pub(crate) const JSON_BYTES_MAX: usize = 64 * 1024;
/// Keys of `metadata`.
const METADATA_KEYS_MAX: usize = 20;
/// Bytes of `metadata` as JSON.
const METADATA_BYTES_MAX: usize = 2_000;
/// The longest search text, in characters.
const SEARCH_CHARS_MAX: usize = 200;
/// The longest external id, in characters.
const EXTERNAL_ID_CHARS_MAX: usize = 256;

/// A caller's own JSON: neither deep nor large.
pub(crate) fn json(value: &Value, field: &str, bytes_max: usize) -> AppResult<()> {
    if depth_exceeds(value, JSON_DEPTH_MAX) {
        return Err(AppError::invalid(field, format!("nest at most {JSON_DEPTH_MAX} levels")));
    }
    if value.to_string().len() > bytes_max {
        return Err(AppError::invalid(field, format!("use at most {bytes_max} bytes of JSON")));
    }
    Ok(())
}

fn depth_exceeds(value: &Value, room: usize) -> bool {
    match value {
        Value::Object(object) => {
            room == 0 || object.values().any(|value| depth_exceeds(value, room - 1))
        }
        Value::Array(items) => {
            room == 0 || items.iter().any(|value| depth_exceeds(value, room - 1))
        }
        _ => false,
    }
}

/// An integrator's own facts: at most 20 keys and 2 kB.
pub(crate) fn metadata(value: Option<Value>, field: &str) -> AppResult<Option<Value>> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let Some(object) = value.as_object() else {
        return Err(AppError::invalid(field, "use an object"));
    };
    if object.len() > METADATA_KEYS_MAX {
        return Err(AppError::invalid(field, format!("use at most {METADATA_KEYS_MAX} keys")));
    }
    json(&value, field, METADATA_BYTES_MAX)?;
    Ok(Some(value))
}

/// A text to search by, in `filter.search`: a long one costs much and finds nothing.
pub(crate) fn search(text: Option<&String>) -> AppResult<()> {
    if text.is_some_and(|text| text.chars().count() > SEARCH_CHARS_MAX) {
        return Err(AppError::invalid(
            "filter.search",
            format!("use at most {SEARCH_CHARS_MAX} characters"),
        ));
    }
    Ok(())
}

/// An integrator's own id.
pub(crate) fn external_id(value: Option<String>, field: &str) -> AppResult<Option<String>> {
    let Some(value) = value else { return Ok(None) };
    text(&value, field, EXTERNAL_ID_CHARS_MAX)?;
    Ok(Some(value))
}

/// Text of 1 to `max` characters without control characters.
pub(crate) fn text(value: &str, field: &str, max: usize) -> AppResult<()> {
    let chars = value.chars().count();
    if value.trim().is_empty() || chars > max {
        return Err(AppError::invalid(field, format!("use 1 to {max} characters")));
    }
    if value.chars().any(char::is_control) {
        return Err(AppError::invalid(field, "leave control characters out"));
    }
    Ok(())
}

/// At most so many items.
pub(crate) fn at_most<T>(items: &[T], max: usize, field: &str) -> AppResult<()> {
    if items.len() > max {
        Err(AppError::invalid(field, format!("give at most {max}")))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_is_a_small_object() {
        assert_eq!(metadata(None, "m").unwrap(), None);
        assert_eq!(metadata(Some(Value::Null), "m").unwrap(), None);
        assert!(metadata(Some(json!({ "order": 7 })), "m").unwrap().is_some());
        let many: serde_json::Map<String, Value> =
            (0..21).map(|n| (n.to_string(), json!(1))).collect();
        for wrong in
            [json!([1]), json!("x"), Value::Object(many), json!({ "k": "x".repeat(2_000) })]
        {
            assert_eq!(
                metadata(Some(wrong), "input.metadata").unwrap_err().field.as_deref(),
                Some("input.metadata")
            );
        }
    }

    #[test]
    fn json_is_neither_deep_nor_large() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(super::json(&nested(20), "f", 1_000).is_ok());
        assert!(super::json(&nested(21), "f", 1_000).is_err());
        assert!(super::json(&json!("x".repeat(99)), "f", 100).is_err());
    }
}
