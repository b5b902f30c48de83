//! The clock's own stretches of time in a zone: its hours, days, weeks and months. A day on which clocks are set back is one
//! bucket of 25 hours, and the hour that comes twice is two.

use std::ops::Range;

use chrono::{
    DateTime, Datelike, Days, Duration, Months, NaiveDate, Offset, TimeZone, Timelike, Utc,
};
use chrono_tz::Tz;
use domain::campaign::instant_of;
use projections::QUARTER_S;

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsBucket {
    Hour,
    Day,
    /// From Monday on.
    Week,
    Month,
}

impl StatsBucket {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Hour => "hours",
            Self::Day => "days",
            Self::Week => "weeks",
            Self::Month => "months",
        }
    }
}

/// One of them, as far as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// When it begins in the zone, which may be before what is asked for.
    pub start: DateTime<Utc>,
    /// What of it is asked for, in quarters of an hour since 1970.
    pub quarters: Range<i64>,
}

/// The buckets that lie in `from` to `to`, in order; `None` where there are more than `max`. What is asked for begins and
/// ends with a quarter of an hour.
pub(super) fn buckets(
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    unit: StatsBucket,
    zone: Tz,
    max: usize,
) -> Option<Vec<Bucket>> {
    let quarter = |at: DateTime<Utc>| at.timestamp().div_euclid(QUARTER_S);
    let end = to.timestamp_millis().div_euclid(QUARTER_S * 1_000)
        + i64::from(to.timestamp_millis().rem_euclid(QUARTER_S * 1_000) > 0);
    let mut found = Vec::new();
    let mut walk = Walk::to(from, unit, zone);
    let mut start = walk.start;
    while start < to {
        let next = walk.next();
        if found.len() == max {
            return None;
        }
        let upper = if next < to { quarter(next) } else { end };
        found.push(Bucket { start, quarters: quarter(start.max(from))..upper });
        start = next;
    }
    Some(found)
}

/// Goes from one bucket's start to the next one's.
struct Walk {
    unit: StatsBucket,
    zone: Tz,
    start: DateTime<Utc>,
    /// Its first day, where it has days.
    date: NaiveDate,
}

impl Walk {
    /// To the bucket that an instant lies in.
    fn to(at: DateTime<Utc>, unit: StatsBucket, zone: Tz) -> Self {
        let today = at.with_timezone(&zone).date_naive();
        let date = match unit {
            StatsBucket::Hour | StatsBucket::Day => today,
            StatsBucket::Week => {
                let days = u64::from(today.weekday().num_days_from_monday());
                today.checked_sub_days(Days::new(days)).unwrap_or(today)
            }
            StatsBucket::Month => today.with_day(1).unwrap_or(today),
        };
        let start = match unit {
            StatsBucket::Hour => hour_of(at, zone),
            _ => begins(date, zone),
        };
        Self { unit, zone, start, date }
    }

    fn next(&mut self) -> DateTime<Utc> {
        let before = self.start;
        // A zone that crosses the date line leaves out a day, and with it a bucket.
        while self.start <= before {
            self.start = match self.unit {
                StatsBucket::Hour => hour_after(before, self.zone),
                _ => {
                    self.date = self.following();
                    begins(self.date, self.zone)
                }
            };
        }
        self.start
    }

    fn following(&self) -> NaiveDate {
        let following = match self.unit {
            StatsBucket::Hour | StatsBucket::Day => self.date.checked_add_days(Days::new(1)),
            StatsBucket::Week => self.date.checked_add_days(Days::new(7)),
            StatsBucket::Month => self.date.checked_add_months(Months::new(1)),
        };
        following.unwrap_or(NaiveDate::MAX)
    }
}

fn begins(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    instant_of(date.and_time(chrono::NaiveTime::MIN), zone)
}

/// What the clock says of an hour: how far it is from UTC, and which hour it is.
fn clock(at: DateTime<Utc>, zone: Tz) -> (i32, NaiveDate, u32) {
    let local = at.with_timezone(&zone);
    let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    (offset.local_minus_utc(), local.date_naive(), local.hour())
}

/// Clocks change on quarters of an hour, as all that there is to count has known them.
fn quarter() -> Duration {
    Duration::seconds(QUARTER_S)
}

/// When the clock began to show the hour that it shows.
fn hour_of(at: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let now = clock(at, zone);
    let local = at.with_timezone(&zone);
    let into = i64::from(local.minute() % 15 * 60 + local.second());
    let mut start = at - Duration::seconds(into) - Duration::nanoseconds(local.nanosecond().into());
    while clock(start - quarter(), zone) == now {
        start -= quarter();
    }
    start
}

fn hour_after(start: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let now = clock(start, zone);
    let mut next = start + quarter();
    while clock(next, zone) == now {
        next += quarter();
    }
    next
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn starts(from: &str, to: &str, unit: StatsBucket, zone: Tz) -> Vec<String> {
        let found = buckets((utc(from), utc(to)), unit, zone, 100).unwrap();
        found.iter().map(|bucket| bucket.start.format("%FT%RZ").to_string()).collect()
    }

    #[test]
    fn a_day_is_as_long_as_the_clocks_make_it() {
        let berlin = Tz::Europe__Berlin;
        // Clocks go back in the night to the 25th: 25 hours, and the hour from two to three comes twice.
        let days = starts("2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z", StatsBucket::Day, berlin);
        assert_eq!(days, ["2026-10-23T22:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"]);
        let range = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        assert_eq!(starts(range.0, range.1, StatsBucket::Hour, berlin).len(), 25);
        let spring = ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        assert_eq!(starts(spring.0, spring.1, StatsBucket::Hour, berlin).len(), 23);
        // A day that begins at one, because at midnight clocks were set to it.
        let paulo = Tz::America__Sao_Paulo;
        let days = starts("2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z", StatsBucket::Day, paulo);
        assert_eq!(days, ["2018-11-03T03:00Z", "2018-11-04T03:00Z", "2018-11-05T02:00Z"]);
        // The 30th never was in Samoa.
        let apia = Tz::Pacific__Apia;
        let days = starts("2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z", StatsBucket::Day, apia);
        assert_eq!(days, ["2011-12-29T10:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z"]);
    }

    #[test]
    fn zones_off_the_hour_have_hours_of_their_own() {
        let range = ("2026-11-27T09:00:00Z", "2026-11-27T11:00:00Z");
        let hours = starts(range.0, range.1, StatsBucket::Hour, Tz::Asia__Kathmandu);
        assert_eq!(hours, ["2026-11-27T08:15Z", "2026-11-27T09:15Z", "2026-11-27T10:15Z"]);
        let days = starts(range.0, range.1, StatsBucket::Day, Tz::Asia__Kathmandu);
        assert_eq!(days, ["2026-11-26T18:15Z"]);
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let range = ("2026-11-27T09:00:00Z", "2026-12-08T00:00:00Z");
        let weeks = starts(range.0, range.1, StatsBucket::Week, Tz::UTC);
        assert_eq!(weeks, ["2026-11-23T00:00Z", "2026-11-30T00:00Z", "2026-12-07T00:00Z"]);
        let months = starts(range.0, range.1, StatsBucket::Month, Tz::Europe__Berlin);
        assert_eq!(months, ["2026-10-31T23:00Z", "2026-11-30T23:00Z"]);
    }

    #[test]
    fn what_is_asked_for_begins_and_ends_with_a_quarter() {
        let range = (utc("2026-11-27T09:07:00Z"), utc("2026-11-27T10:20:00.001Z"));
        let found = buckets(range, StatsBucket::Hour, Tz::UTC, 9).unwrap();
        let nine = utc("2026-11-27T09:00:00Z").timestamp() / QUARTER_S;
        let quarters: Vec<_> = found.into_iter().map(|bucket| bucket.quarters).collect();
        assert_eq!(quarters, [nine..nine + 4, nine + 4..nine + 6]);
    }

    #[test]
    fn more_than_may_be_are_not_counted_to_their_end() {
        let all = (utc("0001-01-01T00:00:00Z"), utc("9999-12-31T23:59:59Z"));
        for unit in [StatsBucket::Hour, StatsBucket::Day, StatsBucket::Week, StatsBucket::Month] {
            assert_eq!(buckets(all, unit, Tz::Asia__Kathmandu, 2_000), None);
        }
    }

    /// What the wall says of a quarter of an hour, as far as it tells buckets apart.
    fn wall(quarter: i64, unit: StatsBucket, zone: Tz) -> String {
        let at = DateTime::from_timestamp(quarter * QUARTER_S, 0).unwrap().with_timezone(&zone);
        let format = match unit {
            StatsBucket::Hour => "%FT%H %z",
            StatsBucket::Day => "%F",
            StatsBucket::Week => "%G-%V",
            StatsBucket::Month => "%Y-%m",
        };
        at.format(format).to_string()
    }

    proptest! {
        #[test]
        fn every_quarter_is_in_the_one_bucket_that_the_wall_says(
            start in 2_000_000_i64..2_160_000, quarters in 1_i64..1_500,
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
            unit in prop::sample::select(vec![
                StatsBucket::Hour, StatsBucket::Day, StatsBucket::Week, StatsBucket::Month,
            ]),
        ) {
            let at = |quarter: i64| DateTime::from_timestamp(quarter * QUARTER_S, 0).unwrap();
            let found = buckets((at(start), at(start + quarters)), unit, zone, 2_000).unwrap();
            let mut by_wall: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            for quarter in start..start + quarters {
                by_wall.entry(wall(quarter, unit, zone)).or_default().push(quarter);
            }
            let mut walked: Vec<Vec<i64>> = by_wall.into_values().collect();
            walked.sort();
            let ours: Vec<Vec<i64>> =
                found.iter().map(|bucket| bucket.quarters.clone().collect()).collect();
            prop_assert_eq!(ours, walked);
            for bucket in &found {
                let first = bucket.start.timestamp();
                prop_assert_eq!(first % QUARTER_S, 0);
                let quarter = first / QUARTER_S;
                prop_assert!(quarter <= bucket.quarters.start);
                let is = |quarter| wall(quarter, unit, zone);
                prop_assert_eq!(is(quarter), is(bucket.quarters.start));
                prop_assert!(is(quarter - 1) != is(quarter), "it began before");
            }
        }
    }
}
