//! When a message may leave by the clock of the person it is for: inside the campaign's window, outside quiet hours.
//! Both are hours of the day on the wall; what instants they are is asked of the time zone each time, so that a day on
//! which clocks change is no special case.

use chrono::{DateTime, Duration, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use crate::primitives::DailyHours;

/// How far ahead an opening is looked for. Hours that leave time leave some within a day, and within two where clocks
/// are set forward over all of it; the rest is for a zone that leaves out a whole day, as Samoa did.
const DAYS_MAX: i64 = 4;
/// No zone changes its clocks twice within this.
const STEP: Duration = Duration::hours(6);

/// The hours in which a message may leave, in the recipient's zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendingHours {
    /// Only inside these; `None`: all day.
    pub window: Option<DailyHours>,
    /// Never in these; `None`: no quiet.
    pub quiet: Option<DailyHours>,
}

/// Why hours cannot be kept to. The texts say what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendingHoursError {
    #[error(
        "from and to are the same; give hours of some length, or leave them out for the whole day"
    )]
    EmptyWindow,
    #[error(
        "quiet hours cover all of the send window, so that nothing could ever leave; give a window \
         that reaches beyond them"
    )]
    NoTimeLeft,
}

impl SendingHours {
    /// No hours at all: any time will do.
    pub const ALWAYS: Self = Self { window: None, quiet: None };

    /// # Errors
    /// [`SendingHoursError`] where the window has no length or quiet hours leave nothing of it.
    pub fn check(self) -> Result<(), SendingHoursError> {
        if self.window.is_some_and(DailyHours::is_empty) {
            return Err(SendingHoursError::EmptyWindow);
        }
        // What is left of a window begins where the window begins or where the quiet ends.
        let leaves_time = match (self.window, self.quiet) {
            (Some(window), Some(quiet)) => self.allow(window.from) || self.allow(quiet.to),
            _ => true,
        };
        if leaves_time { Ok(()) } else { Err(SendingHoursError::NoTimeLeft) }
    }

    /// Whether a message may leave at this time of the recipient's day.
    pub fn allow(self, local: NaiveTime) -> bool {
        self.window.is_none_or(|window| window.contains(local))
            && !self.quiet.is_some_and(|quiet| quiet.contains(local))
    }

    /// Whether a message may leave at an instant.
    pub fn allow_at(self, instant: DateTime<Utc>, zone: Tz) -> bool {
        self.allow(instant.with_timezone(&zone).time())
    }

    /// The first instant, `after` or later, at which a message may leave. `None` where the hours leave no time, which
    /// [`check`](Self::check) refuses.
    pub fn first_at(self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        if self.allow_at(after, zone) {
            return Some(after);
        }
        // Time that is allowed begins where a clock shows the window's beginning or the quiet's end, or where clocks
        // are changed and the new time is allowed though the old one was not.
        let bounds = [self.window.map(|window| window.from), self.quiet.map(|quiet| quiet.to)];
        let day = after.with_timezone(&zone).date_naive();
        let by_clock = (0..=DAYS_MAX)
            .filter_map(|days| day.checked_add_signed(Duration::days(days)))
            .flat_map(|day| bounds.into_iter().flatten().map(move |time| day.and_time(time)))
            .flat_map(|local| {
                let instants = zone.from_local_datetime(&local);
                [instants.earliest(), instants.latest()].into_iter().flatten()
            })
            .map(|instant| instant.with_timezone(&Utc))
            .filter(|instant| *instant > after && self.allow_at(*instant, zone))
            .min();
        let by_change =
            clock_changes(after, by_clock.unwrap_or(after + Duration::days(DAYS_MAX)), zone)
                .find(|instant| self.allow_at(*instant, zone));
        [by_clock, by_change].into_iter().flatten().min()
    }
}

/// The instants in `(from, to]` at which a zone's clocks are changed, in order.
fn clock_changes(
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    zone: Tz,
) -> impl Iterator<Item = DateTime<Utc>> {
    let offset = move |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let starts = std::iter::successors(Some(from), move |start| Some(*start + STEP));
    starts.take_while(move |start| *start < to).filter_map(move |start| {
        let (mut before, mut after) = (start, (start + STEP).min(to));
        let old = offset(before);
        if offset(after) == old {
            return None;
        }
        while after - before > Duration::seconds(1) {
            let middle = before + (after - before) / 2;
            if offset(middle) == old {
                before = middle;
            } else {
                after = middle;
            }
        }
        // Changes come on whole seconds, and one lies in the last second of the search.
        DateTime::from_timestamp(after.timestamp(), 0)
            .filter(|at| offset(*at) != old)
            .or(Some(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDateTime;
    use proptest::prelude::*;

    fn time(text: &str) -> NaiveTime {
        NaiveTime::parse_from_str(text, "%H:%M").unwrap()
    }

    fn hours(from: &str, to: &str) -> Option<DailyHours> {
        Some(DailyHours { from: time(from), to: time(to) })
    }

    fn utc(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").unwrap().and_utc()
    }

    fn first(hours: SendingHours, after: &str, zone: Tz) -> String {
        hours.first_at(utc(after), zone).unwrap().format("%Y-%m-%dT%H:%MZ").to_string()
    }

    const BERLIN: Tz = Tz::Europe__Berlin;

    #[test]
    fn inside_the_window_a_message_leaves_at_once_and_outside_at_the_next_opening() {
        let day = SendingHours { window: hours("09:00", "20:00"), quiet: None };
        assert_eq!(first(day, "2027-01-15T12:34Z", BERLIN), "2027-01-15T12:34Z");
        assert_eq!(first(day, "2027-01-15T03:00Z", BERLIN), "2027-01-15T08:00Z");
        assert_eq!(first(day, "2027-01-15T19:00Z", BERLIN), "2027-01-16T08:00Z");
    }

    #[test]
    fn a_window_may_cross_midnight() {
        let night = SendingHours { window: hours("22:00", "02:00"), quiet: None };
        assert_eq!(first(night, "2027-01-15T23:30Z", BERLIN), "2027-01-15T23:30Z");
        assert_eq!(first(night, "2027-01-15T01:00Z", BERLIN), "2027-01-15T21:00Z");
    }

    #[test]
    fn quiet_hours_cut_into_the_window() {
        let hours =
            SendingHours { window: hours("06:00", "23:00"), quiet: hours("21:00", "08:00") };
        assert_eq!(first(hours, "2027-01-15T05:30Z", BERLIN), "2027-01-15T07:00Z");
        assert_eq!(first(hours, "2027-01-15T20:30Z", BERLIN), "2027-01-16T07:00Z");
    }

    #[test]
    fn the_opening_keeps_its_time_on_the_wall_over_a_change_of_clocks() {
        let day = SendingHours { window: hours("09:00", "20:00"), quiet: None };
        assert_eq!(first(day, "2027-03-27T20:00Z", BERLIN), "2027-03-28T07:00Z");
        assert_eq!(first(day, "2027-10-30T20:00Z", BERLIN), "2027-10-31T08:00Z");
    }

    #[test]
    fn an_opening_that_the_clocks_jump_over_comes_with_the_jump() {
        let hours_ = SendingHours { window: hours("02:30", "05:00"), quiet: None };
        assert_eq!(first(hours_, "2027-03-28T00:30Z", BERLIN), "2027-03-28T01:00Z");
        let jumped_over = SendingHours { window: hours("02:15", "02:45"), quiet: None };
        assert_eq!(first(jumped_over, "2027-03-28T00:30Z", BERLIN), "2027-03-29T00:15Z");
    }

    #[test]
    fn an_hour_that_comes_twice_opens_twice() {
        let hours = SendingHours { window: hours("02:00", "02:30"), quiet: None };
        assert_eq!(first(hours, "2027-10-30T22:00Z", BERLIN), "2027-10-31T00:00Z");
        assert_eq!(first(hours, "2027-10-31T00:45Z", BERLIN), "2027-10-31T01:00Z");
    }

    #[test]
    fn hours_that_leave_no_time_are_refused() {
        use SendingHoursError as E;
        let check = |window, quiet| SendingHours { window, quiet }.check();
        assert_eq!(check(hours("09:00", "09:00"), None), Err(E::EmptyWindow));
        assert_eq!(check(hours("22:00", "06:00"), hours("21:00", "08:00")), Err(E::NoTimeLeft));
        assert_eq!(check(hours("09:00", "10:00"), hours("09:00", "10:00")), Err(E::NoTimeLeft));
        assert_eq!(check(hours("22:00", "08:01"), hours("21:00", "08:00")), Ok(()));
        assert_eq!(check(hours("20:59", "08:00"), hours("21:00", "08:00")), Ok(()));
        assert_eq!(check(None, hours("21:00", "08:00")), Ok(()));
        let none = SendingHours { window: hours("22:00", "06:00"), quiet: hours("21:00", "08:00") };
        assert_eq!(none.first_at(utc("2027-01-15T12:00Z"), BERLIN), None);
    }

    fn any_hours() -> impl Strategy<Value = Option<DailyHours>> {
        prop::option::of((0u32..96, 0u32..96).prop_filter_map("of some length", |(from, to)| {
            let at = |n| NaiveTime::from_num_seconds_from_midnight_opt(n * 900, 0).unwrap();
            (from != to).then(|| DailyHours { from: at(from), to: at(to) })
        }))
    }

    proptest! {
        #[test]
        fn what_is_found_is_the_first_quarter_of_an_hour_that_is_allowed(
            window in any_hours(), quiet in any_hours(), quarter in 0i64..35_040,
            zone in prop::sample::select(vec![
                BERLIN, Tz::America__New_York, Tz::Australia__Lord_Howe, Tz::Asia__Kathmandu, Tz::Pacific__Chatham,
                Tz::Africa__Casablanca, Tz::America__St_Johns, Tz::Pacific__Kiritimati, Tz::America__Asuncion,
            ]),
        ) {
            let hours = SendingHours { window, quiet };
            let after = utc("2027-01-01T00:00Z") + Duration::minutes(15 * quarter);
            // Clocks and hours change on quarters of an hour here, so that walking them all finds the first one.
            let walked = (0..DAYS_MAX * 96)
                .map(|n| after + Duration::minutes(15 * n))
                .find(|at| hours.allow_at(*at, zone));
            prop_assert_eq!(hours.first_at(after, zone), walked);
            prop_assert_eq!(hours.check().is_ok(), walked.is_some());
            if let Some(found) = walked {
                prop_assert!(found >= after && found - after <= Duration::days(2));
            }
        }

        #[test]
        fn from_any_instant_it_is_never_early_never_quiet_and_always_inside(
            window in any_hours(), quiet in any_hours(), ms in 0i64..31_536_000_000,
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
        ) {
            let hours = SendingHours { window, quiet };
            prop_assume!(hours.check().is_ok());
            let after = utc("2027-01-01T00:00Z") + Duration::milliseconds(ms);
            let found = hours.first_at(after, zone).unwrap();
            prop_assert!(found >= after && found - after <= Duration::days(2), "{found}");
            let local = found.with_timezone(&zone).time();
            prop_assert!(window.is_none_or(|window| window.contains(local)), "{local}");
            prop_assert!(!quiet.is_some_and(|quiet| quiet.contains(local)), "{local}");
            prop_assert_eq!(hours.first_at(found, zone), Some(found));
        }
    }
}
