//! The contract's scalars. Each says in one sentence what would be right; none repeats what it was given, because that may
//! be somebody's personal data.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{
    DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, SubsecRound, Timelike, Utc,
};
use domain::port::Position;
use domain::pricing::Amount;

/// The longest text of a scalar that is no free text, in characters.
const TEXT_CHARS_MAX: usize = 128;

/// RFC 3339 instant in UTC, millisecond precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub DateTime<Utc>);

/// Wall-clock date and time without offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalDateTime(pub NaiveDateTime);

/// Wall-clock time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime(pub NaiveTime);

/// A day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalDate(pub NaiveDate);

/// An amount of money, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal(pub Amount);

/// An IANA time zone's name; the use cases check that there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZone(pub String);

/// A phone number as people write it; the use cases read it in the right region.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(pub String);

/// A place in the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub Position);

/// Any JSON.
#[derive(Clone, PartialEq, Debug)]
pub struct Json(pub serde_json::Value);

impl std::fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PhoneNumber(***)")
    }
}

impl From<DateTime<Utc>> for Instant {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at)
    }
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self(position)
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value)
    }
}

type Read<T> = Result<T, &'static str>;

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) if text.len() <= 4 * TEXT_CHARS_MAX => Some(text.trim()),
        _ => None,
    }
}

fn read_instant(value: &Value) -> Read<Instant> {
    let read = text(value).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    read.map(|at| Instant(at.to_utc().trunc_subsecs(3)))
        .ok_or("use an RFC 3339 instant such as 2026-11-27T09:00:00.000Z")
}

fn read_local_date_time(value: &Value) -> Read<LocalDateTime> {
    let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f"];
    let read = text(value)
        .and_then(|text| formats.iter().find_map(|f| NaiveDateTime::parse_from_str(text, f).ok()));
    read.map(LocalDateTime).ok_or("use a date and time without offset, such as 2026-11-27T09:00")
}

fn read_local_time(value: &Value) -> Read<LocalTime> {
    let read = text(value).and_then(|text| {
        ["%H:%M", "%H:%M:%S"].iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok())
    });
    read.map(LocalTime).ok_or("use a time of day such as 09:00")
}

fn read_local_date(value: &Value) -> Read<LocalDate> {
    let read = text(value).and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok());
    read.map(LocalDate).ok_or("use a day such as 2026-11-27")
}

/// Text, or a number as it is written: its shortest form is exact for all that has few digits.
fn read_decimal(value: &Value) -> Read<Decimal> {
    let read = match value {
        Value::Number(number) => Amount::parse(&number.to_string()).ok(),
        value => text(value).and_then(|text| Amount::parse(text).ok()),
    };
    read.map(Decimal)
        .ok_or("use a plain decimal with at most six digits behind the point, such as \"0.0655\"")
}

fn read_name<T>(value: &Value, make: impl Fn(String) -> T, problem: &'static str) -> Read<T> {
    let read =
        text(value).filter(|text| !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX);
    read.map(|text| make(text.to_owned())).ok_or(problem)
}

fn read_time_zone(value: &Value) -> Read<TimeZone> {
    read_name(value, TimeZone, "use an IANA time zone such as Europe/Berlin")
}

fn read_phone_number(value: &Value) -> Read<PhoneNumber> {
    read_name(value, PhoneNumber, "use a phone number such as +4915112345678")
}

fn read_place(value: &Value) -> Read<Place> {
    let read = match value {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    // The log's positions are signed 64-bit integers.
    let read = read.filter(|position| i64::try_from(*position).is_ok());
    read.map(|position| Place(Position(position)))
        .ok_or("use a position that the gateway gave, such as \"1234\"")
}

/// Whether a value is one of the scalar of that name; where not, what would be right. Scalars that GraphQL itself has are
/// not known here.
pub(super) fn check(scalar: &str, value: &Value) -> Read<()> {
    match scalar {
        "DateTime" => read_instant(value).map(drop),
        "LocalDateTime" => read_local_date_time(value).map(drop),
        "LocalTime" => read_local_time(value).map(drop),
        "LocalDate" => read_local_date(value).map(drop),
        "Decimal" => read_decimal(value).map(drop),
        "TimeZone" => read_time_zone(value).map(drop),
        "PhoneNumber" => read_phone_number(value).map(drop),
        "Position" => read_place(value).map(drop),
        _ => Ok(()),
    }
}

/// RFC 3339 instant in UTC, millisecond precision (2026-11-27T08:00:00.000Z). Input may have another offset.
#[Scalar(name = "DateTime")]
impl ScalarType for Instant {
    fn parse(value: Value) -> InputValueResult<Self> {
        read_instant(&value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// Wall-clock date and time without offset (2026-11-27T09:00), read in a named time zone.
#[Scalar]
impl ScalarType for LocalDateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        read_local_date_time(&value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        let format = if self.0.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
        Value::String(self.0.format(format).to_string())
    }
}

/// Wall-clock time of day (09:00).
#[Scalar]
impl ScalarType for LocalTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        read_local_time(&value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        let format = if self.0.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
        Value::String(self.0.format(format).to_string())
    }
}

/// A day (2026-11-27).
#[Scalar]
impl ScalarType for LocalDate {
    fn parse(value: Value) -> InputValueResult<Self> {
        read_local_date(&value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.format("%Y-%m-%d").to_string())
    }
}

/// An exact decimal number, as text ("0.0655").
#[Scalar]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        read_decimal(&value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// IANA time zone name (Europe/Berlin).
#[Scalar]
impl ScalarType for TimeZone {
    fn parse(value: Value) -> InputValueResult<Self> {
        read_time_zone(&value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// E.164 with the leading plus (+4915112345678). Input in national form is accepted with the account's default region.
#[Scalar]
impl ScalarType for PhoneNumber {
    fn parse(value: Value) -> InputValueResult<Self> {
        read_phone_number(&value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// Place in the event log: totally ordered, opaque to clients, sorts as a decimal integer.
#[Scalar(name = "Position")]
impl ScalarType for Place {
    fn parse(value: Value) -> InputValueResult<Self> {
        read_place(&value).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Any JSON value.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        value.into_json().map(Self).map_err(|_| InputValueError::custom("use a JSON value"))
    }

    fn to_value(&self) -> Value {
        Value::from_json(self.0.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(json: serde_json::Value) -> Value {
        Value::from_json(json).unwrap()
    }

    #[test]
    fn instants_are_shown_in_utc_with_three_decimals_and_a_z() {
        for (given, shown) in [
            ("2026-11-27T09:00:00Z", "2026-11-27T09:00:00.000Z"),
            ("2026-11-27T09:00:00.1239+01:00", "2026-11-27T08:00:00.123Z"),
        ] {
            assert_eq!(
                Instant::parse(value(json!(given))).unwrap().to_value(),
                value(json!(shown))
            );
        }
        for wrong in [
            json!("2026-11-27"),
            json!("2026-11-27T09:00:00"),
            json!("tomorrow"),
            json!(1_700_000_000),
        ] {
            assert!(read_instant(&value(wrong)).is_err());
        }
    }

    #[test]
    fn local_times_have_no_offset_and_seconds_only_where_they_matter() {
        let read =
            |text: &str| LocalDateTime::parse(value(json!(text))).map(|read| read.to_value());
        assert_eq!(read("2026-11-27T09:00").unwrap(), value(json!("2026-11-27T09:00")));
        assert_eq!(read("2026-11-27T09:00:00").unwrap(), value(json!("2026-11-27T09:00")));
        assert_eq!(read("2026-11-27T09:00:30").unwrap(), value(json!("2026-11-27T09:00:30")));
        assert!(read("2026-11-27T09:00Z").is_err());
        assert!(read("2026-02-30T09:00").is_err());
        assert_eq!(
            LocalTime::parse(value(json!("21:30"))).unwrap().to_value(),
            value(json!("21:30"))
        );
        for wrong in ["24:00", "9", "09:00Z"] {
            assert!(read_local_time(&value(json!(wrong))).is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_and_amounts_are_exact() {
        let day = LocalDate::parse(value(json!("2026-11-27"))).unwrap();
        assert_eq!(day.to_value(), value(json!("2026-11-27")));
        for wrong in [json!("2026-11-31"), json!("27.11.2026"), json!(20261127)] {
            assert!(read_local_date(&value(wrong)).is_err());
        }
        for (given, shown) in
            [(json!("0.0655"), "0.0655"), (json!(0.0655), "0.0655"), (json!(3), "3")]
        {
            assert_eq!(Decimal::parse(value(given)).unwrap().to_value(), value(json!(shown)));
        }
        for wrong in [json!("-1"), json!(-1), json!("1e3"), json!(1e-9), json!(""), json!(null)] {
            assert!(read_decimal(&value(wrong)).is_err());
        }
    }

    #[test]
    fn positions_are_decimal_integers_as_text_or_number() {
        for given in [json!("1234"), json!(1234)] {
            assert_eq!(Place::parse(value(given)).unwrap().to_value(), value(json!("1234")));
        }
        for wrong in [
            json!(""),
            json!("-1"),
            json!("+1"),
            json!(-1),
            json!("1.0"),
            json!("99999999999999999999"),
        ] {
            assert!(read_place(&value(wrong.clone())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_never_repeated() {
        let error = read_phone_number(&value(json!(["+4915112345678"]))).unwrap_err();
        assert!(
            !error.contains('1') || error.contains("+4915112345678"),
            "only the example: {error}"
        );
        assert!(read_time_zone(&value(json!(""))).is_err());
    }
}
