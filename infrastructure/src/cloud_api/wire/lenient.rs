//! Readers for values that Meta prints in more than one way: ids as string or number, times in seconds or milliseconds,
//! empty strings for what is absent. Optional values of a wrong type read as absent; required ones fail.

use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Unix times above this are milliseconds: as seconds it would be the year 5138.
const SECONDS_MAX: i64 = 100_000_000_000;

/// A Unix time as WhatsApp prints it: string or number, seconds or (seen in the wild) milliseconds. Written as a string
/// of seconds, the form of statuses and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixTime(DateTime<Utc>);

impl UnixTime {
    pub fn at(self) -> DateTime<Utc> {
        self.0
    }

    fn from_number(number: i64) -> Option<Self> {
        let millis = if number.abs() > SECONDS_MAX { number } else { number.checked_mul(1000)? };
        DateTime::from_timestamp_millis(millis).map(Self)
    }
}

impl From<DateTime<Utc>> for UnixTime {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at)
    }
}

impl<'de> Deserialize<'de> for UnixTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .and_then(Self::from_number)
            .ok_or_else(|| D::Error::custom("no time, expected a Unix time"))
    }
}

impl Serialize for UnixTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.timestamp())
    }
}

/// Writes a time as a number of seconds, the form of account-level fields and of `user_preferences`.
///
/// # Errors
/// Those of the serializer.
pub fn as_number<S: Serializer>(time: &Option<UnixTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.0.timestamp()).serialize(serializer)
}

/// A required id or word: a non-empty string, or an integer (template ids are numbers in webhooks).
///
/// # Errors
/// Where it is neither.
pub fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer)?
        .ok_or_else(|| D::Error::custom("nothing there, expected a non-empty string or a number"))
}

/// A string, or a number as its digits. Empty strings and everything else read as absent.
///
/// # Errors
/// Only where the input is not JSON.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// The elements of an array, each to be read by itself. `null` is none; a lone value is an array of one.
///
/// # Errors
/// Only where the input is not JSON.
pub fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        one => vec![one],
    })
}

/// A list of strings; other elements are left out.
///
/// # Errors
/// Only where the input is not JSON.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(items(deserializer)?
        .into_iter()
        .filter_map(|item| match item {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
        .collect())
}

/// A whole number, as number or as string.
///
/// # Errors
/// Only where the input is not JSON.
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(whole_of(&Value::deserialize(deserializer)?))
}

/// A required whole number, as number or as string.
///
/// # Errors
/// Where it is neither.
pub fn whole_required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    whole(deserializer)?.ok_or_else(|| D::Error::custom("no number, expected a whole number"))
}

fn whole_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A decimal number, as number or as string.
///
/// # Errors
/// Where it is neither, or not finite.
pub fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| D::Error::custom("no number, expected a decimal number"))
}

/// Any optional part: absent where it cannot be read.
///
/// # Errors
/// Only where the input is not JSON.
pub fn or_none<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_strings_and_numbers_in_seconds_and_milliseconds() {
        for text in ["\"1795305600\"", "1795305600", "\"1795305600000\"", "1795305600000"] {
            let time: UnixTime = serde_json::from_str(text).unwrap();
            assert_eq!(time.at().timestamp(), 1_795_305_600, "{text}");
        }
        for text in ["\"\"", "null", "\"soon\"", "9223372036854775807", "{}"] {
            assert!(serde_json::from_str::<UnixTime>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn empty_and_wrongly_typed_texts_read_as_absent_and_numbers_as_their_digits() {
        let read = |json: &str| text(&mut serde_json::Deserializer::from_str(json)).unwrap();
        assert_eq!(read("\"\""), None);
        assert_eq!(read("null"), None);
        assert_eq!(read("{\"a\":1}"), None);
        assert_eq!(read("806000000000006"), Some("806000000000006".to_owned()));
        assert_eq!(read("\"x\""), Some("x".to_owned()));
    }

    #[test]
    fn a_lone_value_is_an_array_of_one() {
        let read = |json: &str| items(&mut serde_json::Deserializer::from_str(json)).unwrap().len();
        assert_eq!((read("null"), read("{}"), read("[1,2]")), (0, 1, 2));
    }
}
