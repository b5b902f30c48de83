//! Campaigns that come back: an RFC 5545 recurrence rule, daily or slower and bounded, turned into local times. Days are
//! counted on the calendar on the wall; which instants they are is decided later and per zone, so that a change of
//! clocks neither moves nor loses an occurrence.

use chrono::{DateTime, Months, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use rrule::{RRule, RRuleSet, Unvalidated};

use super::schedule::instant_of;

/// An occurrence a day for more than two years.
pub const OCCURRENCES_MAX: usize = 1_000;
/// How long after its start a schedule may come back.
pub const YEARS_MAX: u32 = 10;
/// Every day of the year by number fits.
const RULE_CHARS_MAX: usize = 2_000;
/// Two and a half years of days; a longer pause is said with a slower frequency.
const INTERVAL_MAX: u16 = 1_000;

/// Why a recurrence cannot be kept. The texts say what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecurrenceError {
    #[error(
        "use NAME=value parts separated by semicolons, like FREQ=MONTHLY;BYMONTHDAY=1;COUNT=12"
    )]
    Malformed,
    #[error("use at most {RULE_CHARS_MAX} characters")]
    TooLong,
    #[error("{name} is no part of a recurrence rule; use {known}", known = PARTS.join(", "))]
    UnknownPart { name: String },
    #[error("{name} is given twice; give it once, with its values separated by commas")]
    Twice { name: &'static str },
    #[error("say how often with FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")]
    NoFrequency,
    #[error("a campaign comes back daily or slower; use FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")]
    TooOften,
    #[error("leave {name} out; every occurrence has the time of day of startAt")]
    TimeOfDay { name: &'static str },
    #[error("INTERVAL is a number from 1 to {INTERVAL_MAX}")]
    Interval,
    #[error(
        "BYDAY=1MO, the first Monday, is for FREQ=MONTHLY and YEARLY without BYWEEKNO; leave the \
         number out"
    )]
    Ordinal,
    #[error(
        "BYSETPOS chooses among the days of another part; give BYDAY, BYMONTHDAY or BYMONTH too"
    )]
    NothingToChoose,
    #[error("WKST is the day weeks begin on: MO, TU, WE, TH, FR, SA or SU")]
    WeekStart,
    #[error("say when it ends, with COUNT=n (at most {OCCURRENCES_MAX}) or UNTIL=20271231")]
    Endless,
    #[error("COUNT and UNTIL exclude each other; give one")]
    TwoEnds,
    #[error("COUNT is a number from 1 to {OCCURRENCES_MAX}")]
    Count,
    #[error(
        "UNTIL is a day (20271231), a local time (20271231T180000) or one in UTC (20271231T170000Z)"
    )]
    Until,
    #[error("UNTIL lies before startAt; give a later one")]
    UntilBeforeStart,
    #[error(
        "it comes back more than {OCCURRENCES_MAX} times; choose an earlier UNTIL or a slower FREQ"
    )]
    TooMany,
    #[error(
        "it would come back more than {YEARS_MAX} years after startAt; choose an earlier UNTIL or a \
         smaller COUNT"
    )]
    TooFar,
    #[error(
        "it never comes: no day from startAt on fits the rule before it ends; check for a day that \
         its month does not have (30 February) and for an UNTIL that comes too early"
    )]
    Never,
    #[error("{problem}")]
    Invalid { problem: String },
}

/// The parts of RFC 5545 that say on which days.
const PARTS: [&str; 11] = [
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "BYDAY",
    "BYMONTHDAY",
    "BYMONTH",
    "BYSETPOS",
    "WKST",
    "BYYEARDAY",
    "BYWEEKNO",
];
/// The parts that say at which time.
const TIME_PARTS: [&str; 3] = ["BYHOUR", "BYMINUTE", "BYSECOND"];

/// When a rule ends.
#[derive(Clone, Copy, Debug)]
enum End {
    After(usize),
    /// The day included.
    Day(NaiveDate),
    /// The schedule's own clock.
    Local(NaiveDateTime),
    Instant(DateTime<Utc>),
}

/// The local times at which `rule` lets a schedule come back that starts at `start`, in order, at least one and at most
/// [`OCCURRENCES_MAX`]. `start` itself is one only where it fits the rule. An UNTIL in UTC is compared in `zone`.
///
/// # Errors
/// [`RecurrenceError`], whose text says what would be right.
pub fn recur(
    rule: &str,
    start: NaiveDateTime,
    zone: Tz,
) -> Result<Vec<NaiveDateTime>, RecurrenceError> {
    let (rule, end) = parse(rule)?;
    if is_before(end, start, zone) {
        return Err(RecurrenceError::UntilBeforeStart);
    }
    let horizon =
        start.checked_add_months(Months::new(12 * YEARS_MAX)).ok_or(RecurrenceError::TooFar)?;
    // The calendar is counted as if on a clock without changes; zones come in when an occurrence becomes an instant.
    let wall = start.and_utc().with_timezone(&rrule::Tz::UTC);
    let invalid =
        |error: rrule::RRuleError| RecurrenceError::Invalid { problem: error.to_string() };
    let rule = rule.validate(wall).map_err(invalid)?;
    let days = RRuleSet::new(wall).rrule(rule).limit();
    let mut found = vec![];
    let mut is_beyond = false;
    for local in days.into_iter().map(|at| at.naive_utc()) {
        let is_over = match end {
            End::After(count) => found.len() == count,
            _ => is_before(end, local, zone),
        };
        if is_over {
            break;
        }
        if local > horizon {
            is_beyond = true;
            break;
        }
        if found.len() == OCCURRENCES_MAX {
            return Err(RecurrenceError::TooMany);
        }
        found.push(local);
    }
    // A count that the horizon, or the calendar, cut short was meant to be reached.
    is_beyond |= matches!(end, End::After(count) if !found.is_empty() && found.len() < count);
    match found.is_empty() {
        _ if is_beyond => Err(RecurrenceError::TooFar),
        true => Err(RecurrenceError::Never),
        false => Ok(found),
    }
}

/// Whether a rule that ends at `end` is over at `local`.
fn is_before(end: End, local: NaiveDateTime, zone: Tz) -> bool {
    match end {
        End::After(_) => false,
        End::Day(day) => day < local.date(),
        End::Local(until) => until < local,
        End::Instant(until) => until < instant_of(local, zone),
    }
}

/// The rule without its end, and its end.
fn parse(text: &str) -> Result<(RRule<Unvalidated>, End), RecurrenceError> {
    use RecurrenceError as E;
    let text = text.trim();
    if text.len() > RULE_CHARS_MAX {
        return Err(E::TooLong);
    }
    let text = text.to_ascii_uppercase();
    let text = text.strip_prefix("RRULE:").unwrap_or(&text);
    let mut parts: Vec<(&'static str, &str)> = vec![];
    for part in text.trim_end_matches(';').split(';') {
        let (name, value) = part.split_once('=').ok_or(E::Malformed)?;
        let (name, value) = (name.trim(), value.trim());
        if let Some(name) = TIME_PARTS.into_iter().find(|known| *known == name) {
            return Err(E::TimeOfDay { name });
        }
        let known = PARTS.into_iter().find(|known| *known == name);
        let name = known.ok_or_else(|| E::UnknownPart { name: name.chars().take(20).collect() })?;
        if parts.iter().any(|(other, _)| *other == name) {
            return Err(E::Twice { name });
        }
        if value.is_empty() {
            return Err(E::Malformed);
        }
        parts.push((name, value));
    }
    let value = |name| parts.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    let frequency = value("FREQ").ok_or(E::NoFrequency)?;
    match frequency {
        "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY" => {}
        "HOURLY" | "MINUTELY" | "SECONDLY" => return Err(E::TooOften),
        _ => return Err(E::NoFrequency),
    }
    let is_interval =
        |text: &str| text.parse().is_ok_and(|interval: u16| (1..=INTERVAL_MAX).contains(&interval));
    if value("INTERVAL").is_some_and(|interval| !is_interval(interval)) {
        return Err(E::Interval);
    }
    let is_weekday = |text| ["MO", "TU", "WE", "TH", "FR", "SA", "SU"].contains(&text);
    let has_ordinal = value("BYDAY").is_some_and(|days| {
        days.split(',').any(|day| day.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)))
    });
    // RFC 5545 knows ordinals of months and years only; the library takes others for every day.
    if has_ordinal && (matches!(frequency, "DAILY" | "WEEKLY") || value("BYWEEKNO").is_some()) {
        return Err(E::Ordinal);
    }
    // The library adds the day of the start before it looks.
    let chooses = |name: &str| name.starts_with("BY") && name != "BYSETPOS";
    if value("BYSETPOS").is_some() && !parts.iter().any(|(name, _)| chooses(name)) {
        return Err(E::NothingToChoose);
    }
    // The library takes Monday for what it does not know.
    if value("WKST").is_some_and(|day| !is_weekday(day)) {
        return Err(E::WeekStart);
    }
    let end = match (value("COUNT"), value("UNTIL")) {
        (Some(_), Some(_)) => return Err(E::TwoEnds),
        (None, None) => return Err(E::Endless),
        (Some(count), None) => {
            let count = count.parse().ok().filter(|count| (1..=OCCURRENCES_MAX).contains(count));
            End::After(count.ok_or(E::Count)?)
        }
        (None, Some(until)) => parse_until(until).ok_or(E::Until)?,
    };
    let rule: Vec<String> = parts
        .iter()
        .filter(|(name, _)| !matches!(*name, "COUNT" | "UNTIL"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let invalid = |error: rrule::RRuleError| E::Invalid { problem: error.to_string() };
    Ok((rule.join(";").parse().map_err(invalid)?, end))
}

fn parse_until(text: &str) -> Option<End> {
    let time = |text: &str| {
        // chrono takes fewer digits than the format of RFC 5545 has.
        (text.len() == 15).then(|| NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").ok())?
    };
    match text.strip_suffix('Z') {
        Some(utc) => time(utc).map(|until| End::Instant(until.and_utc())),
        None if text.len() == 8 => NaiveDate::parse_from_str(text, "%Y%m%d").ok().map(End::Day),
        None => time(text).map(End::Local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, Duration, Timelike};
    use proptest::prelude::*;

    const BERLIN: Tz = Tz::Europe__Berlin;

    fn local(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").unwrap()
    }

    fn start() -> NaiveDateTime {
        local("2027-01-31T09:00")
    }

    fn days(rule: &str) -> Vec<String> {
        let found = recur(rule, start(), BERLIN).unwrap();
        assert!(found.iter().all(|at| (at.hour(), at.minute()) == (9, 0)));
        found.iter().map(|at| at.format("%m-%d").to_string()).collect()
    }

    fn error(rule: &str) -> RecurrenceError {
        recur(rule, start(), BERLIN).expect_err(rule)
    }

    #[test]
    fn a_month_without_its_day_is_left_out_and_its_last_day_is_minus_one() {
        assert_eq!(days("FREQ=MONTHLY;COUNT=4"), ["01-31", "03-31", "05-31", "07-31"]);
        assert_eq!(
            days("FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=4"),
            ["01-31", "02-28", "03-31", "04-30"]
        );
    }

    #[test]
    fn a_year_of_months_has_twelve_occurrences() {
        let year = days("FREQ=MONTHLY;BYDAY=1MO;UNTIL=20271231");
        assert_eq!(year.len(), 11); // January's first Monday is before the start
        assert_eq!((&*year[0], &*year[10]), ("02-01", "12-06"));
    }

    #[test]
    fn the_start_counts_only_where_it_fits() {
        assert_eq!(days("FREQ=WEEKLY;BYDAY=MO,SU;COUNT=3"), ["01-31", "02-01", "02-07"]);
        assert_eq!(days("FREQ=WEEKLY;BYDAY=TU;COUNT=2"), ["02-02", "02-09"]);
    }

    #[test]
    fn until_is_a_day_a_local_time_or_an_instant_and_is_included() {
        assert_eq!(days("FREQ=DAILY;UNTIL=20270202"), ["01-31", "02-01", "02-02"]);
        assert_eq!(days("FREQ=DAILY;UNTIL=20270202T090000").len(), 3);
        assert_eq!(days("FREQ=DAILY;UNTIL=20270202T085959").len(), 2);
        assert_eq!(days("FREQ=DAILY;UNTIL=20270202T080000Z").len(), 3); // 09:00 in Berlin
        assert_eq!(days("FREQ=DAILY;UNTIL=20270202T075959Z").len(), 2);
        // An hour earlier in summer, though the local time is the same.
        let in_summer =
            recur("FREQ=DAILY;UNTIL=20270702T070000Z", local("2027-07-01T09:00"), BERLIN);
        assert_eq!(in_summer.unwrap().len(), 2);
    }

    #[test]
    fn a_rule_is_read_however_it_is_written() {
        assert_eq!(days("rrule:freq=daily;count=2;"), ["01-31", "02-01"]);
        assert_eq!(days(" FREQ = DAILY ; COUNT = 2 "), ["01-31", "02-01"]);
    }

    #[test]
    fn each_error_says_what_would_be_right() {
        use RecurrenceError as E;
        for (rule, expected) in [
            ("", E::Malformed),
            ("daily", E::Malformed),
            ("FREQ=;COUNT=2", E::Malformed),
            ("COUNT=2", E::NoFrequency),
            ("FREQ=OFTEN;COUNT=2", E::NoFrequency),
            ("FREQ=HOURLY;COUNT=2", E::TooOften),
            ("FREQ=SECONDLY;COUNT=2", E::TooOften),
            ("FREQ=DAILY;BYHOUR=9,18;COUNT=2", E::TimeOfDay { name: "BYHOUR" }),
            ("FREQ=DAILY;COUNT=2;BYNOON=1", E::UnknownPart { name: "BYNOON".to_owned() }),
            ("FREQ=DAILY;COUNT=2;COUNT=3", E::Twice { name: "COUNT" }),
            ("FREQ=DAILY", E::Endless),
            ("FREQ=DAILY;COUNT=2;UNTIL=20271231", E::TwoEnds),
            ("FREQ=DAILY;COUNT=0", E::Count),
            ("FREQ=DAILY;COUNT=1001", E::Count),
            ("FREQ=DAILY;COUNT=two", E::Count),
            ("FREQ=DAILY;INTERVAL=0;COUNT=2", E::Interval),
            ("FREQ=DAILY;INTERVAL=1001;COUNT=2", E::Interval),
            ("FREQ=DAILY;WKST=XX;COUNT=2", E::WeekStart),
            ("FREQ=WEEKLY;BYDAY=MO,-1FR;COUNT=2", E::Ordinal),
            ("FREQ=DAILY;BYDAY=+1MO;COUNT=2", E::Ordinal),
            ("FREQ=YEARLY;BYDAY=1MO;BYWEEKNO=20;COUNT=2", E::Ordinal),
            ("FREQ=MONTHLY;BYSETPOS=1;COUNT=2", E::NothingToChoose),
            ("FREQ=DAILY;UNTIL=tomorrow", E::Until),
            ("FREQ=DAILY;UNTIL=20271301", E::Until),
            ("FREQ=DAILY;UNTIL=2027-12-31", E::Until),
            ("FREQ=DAILY;UNTIL=20270130", E::UntilBeforeStart),
            ("FREQ=DAILY;UNTIL=20270131T075959Z", E::UntilBeforeStart),
            ("FREQ=DAILY;UNTIL=20301231", E::TooMany),
            ("FREQ=YEARLY;COUNT=12", E::TooFar),
            ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;COUNT=4", E::TooFar),
            ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1", E::Never),
            ("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30;UNTIL=20301231", E::Never),
            ("FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31;COUNT=3", E::Never),
            ("FREQ=MONTHLY;BYMONTHDAY=-1;UNTIL=20270131T085959", E::UntilBeforeStart),
            ("FREQ=WEEKLY;BYDAY=TU;UNTIL=20270201", E::Never),
        ] {
            assert_eq!(error(rule), expected, "{rule}");
        }
        for rule in [
            "FREQ=WEEKLY;BYMONTHDAY=1;COUNT=2",
            "FREQ=MONTHLY;BYMONTHDAY=32;COUNT=2",
            "FREQ=MONTHLY;BYDAY=MX;COUNT=2",
            "FREQ=MONTHLY;BYMONTH=13;COUNT=2",
            "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0;COUNT=2",
        ] {
            assert!(
                matches!(error(rule), E::Invalid { .. }),
                "{rule}: {:?}",
                recur(rule, start(), BERLIN)
            );
        }
        assert_eq!(error(&format!("FREQ=DAILY;{}", "X".repeat(2_000))), E::TooLong);
    }

    fn rule() -> impl Strategy<Value = String> {
        let list = |values: &'static str| format!("(;{values})?");
        let pattern = format!(
            "FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;INTERVAL=[1-9]{{1,2}})?{}{}{}{}{}(;WKST=(MO|SU))?",
            list("BYDAY=-?[1-5]?(MO|TU|WE|TH|FR|SA|SU)(,-?[1-5]?(MO|SU)){0,2}"),
            list("BYMONTHDAY=-?(1|2|15|29|30|31)(,-?[1-9]){0,2}"),
            list("BYMONTH=([1-9]|1[0-2])(,[1-9]){0,2}"),
            list("BYSETPOS=-?[1-3]"),
            list("BY(YEARDAY=-?[1-9]{1,2}|WEEKNO=-?[1-9])"),
        );
        let end = "(;COUNT=[1-9][0-9]?|;UNTIL=20(27|28)(0[2-9]|1[0-2])(0[1-9]|2[0-8])(T235959Z?)?)";
        prop::string::string_regex(&(pattern + end)).unwrap()
    }

    proptest! {
        #[test]
        fn a_rule_gives_ordered_bounded_days_at_the_time_of_the_start_or_an_error(
            rule in rule(), minutes in 0i64..525_600,
        ) {
            let start = local("2027-01-01T00:00") + Duration::minutes(minutes);
            if let Ok(found) = recur(&rule, start, BERLIN) {
                prop_assert!(!found.is_empty() && found.len() <= OCCURRENCES_MAX);
                prop_assert!(found[0] >= start);
                prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(found.iter().all(|at| at.time() == start.time()));
                prop_assert!(found.last().unwrap().year() <= start.year() + YEARS_MAX as i32);
            }
        }

        #[test]
        fn any_text_is_a_rule_or_an_error_and_never_a_panic(text in "\\PC{0,60}|FREQ=DAILY;COUNT=2;[A-Z]{0,8}=[-+,0-9A-Z]{0,12}") {
            let _ = recur(&text, start(), BERLIN);
        }
    }
}
