//! When a campaign starts and comes back: kept as intent (a local time, a zone, a rule) and turned into instants late, so
//! that a time zone whose rules change meanwhile moves the instant and not the time on the wall.

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::recurrence::{RecurrenceError, recur};
use crate::primitives::DailyHours;

/// A campaign's schedule, as its owner said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignSchedule {
    pub start_at: NaiveDateTime,
    /// IANA name.
    pub time_zone: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recipient_local: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_window: Option<DailyHours>,
    #[serde(default)]
    pub when_past: WhenPast,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<String>,
}

/// Recipients whose local time has passed when the campaign starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WhenPast {
    SendNow,
    #[default]
    NextDay,
    Skip,
}

/// Somewhere it is this many hours later than in UTC, and nowhere more (Kiritimati).
const LATEST_CLOCK_HOURS: i64 = 14;
/// Somewhere it is this many hours earlier than in UTC, and nowhere more (Baker Island).
const EARLIEST_CLOCK_HOURS: i64 = 12;
/// A form that was open while its time passed is meant, and so is a start that a restart held up; yesterday is a mistake.
pub const LATE_MINUTES: i64 = 5;

/// Why a schedule cannot be kept. The texts say what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("use an IANA time zone such as Europe/Berlin")]
    TimeZone,
    #[error(
        "from and to are the same; give hours of some length, or leave the window out for the whole day"
    )]
    EmptyWindow,
    #[error(transparent)]
    Recurrence(#[from] RecurrenceError),
}

impl ScheduleError {
    /// The schedule's field that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::TimeZone => "timeZone",
            Self::EmptyWindow => "sendWindow",
            Self::Recurrence(_) => "recurrence",
        }
    }
}

/// One time that a schedule comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    /// From 0.
    pub index: u32,
    /// On the schedule's clock, or on each recipient's where the schedule says so.
    pub local: NaiveDateTime,
}

impl CampaignSchedule {
    /// # Errors
    /// [`ScheduleError`] where the zone is none, the window has no length or the recurrence cannot be kept.
    pub fn check(&self) -> Result<(), ScheduleError> {
        if self.send_window.is_some_and(DailyHours::is_empty) {
            return Err(ScheduleError::EmptyWindow);
        }
        self.occurrences().map(drop)
    }

    /// The zone that its local times are read in, unless they are the recipients' own.
    ///
    /// # Errors
    /// [`ScheduleError::TimeZone`] where the text is no zone.
    pub fn zone(&self) -> Result<Tz, ScheduleError> {
        self.time_zone.parse().map_err(|_| ScheduleError::TimeZone)
    }

    /// Every time that it comes, in order; without a recurrence, its start alone.
    ///
    /// # Errors
    /// [`ScheduleError`] where the zone is none or the recurrence cannot be kept.
    pub fn occurrences(&self) -> Result<Vec<Occurrence>, ScheduleError> {
        let zone = self.zone()?;
        let locals = match &self.recurrence {
            Some(rule) => recur(rule, self.start_at, zone)?,
            None => vec![self.start_at],
        };
        Ok((0..).zip(locals).map(|(index, local)| Occurrence { index, local }).collect())
    }

    /// The first occurrence that is not over at `now`, of those after one.
    ///
    /// # Errors
    /// [`ScheduleError`] where the zone is none or the recurrence cannot be kept.
    pub fn next_occurrence(
        &self,
        after: Option<Occurrence>,
        now: DateTime<Utc>,
    ) -> Result<Option<Occurrence>, ScheduleError> {
        let zone = self.zone()?;
        Ok(self.occurrences()?.into_iter().find(|next| {
            after.is_none_or(|after| next.local > after.local)
                && now - self.last_instant(*next, zone) <= Duration::minutes(LATE_MINUTES)
        }))
    }

    /// Every occurrence after `after` with the instant at which it begins, in order. What begins no later than
    /// `began_at`, the instant at which `after` began, is none: a schedule that was changed may say so, and the
    /// messages' ids would be the same.
    ///
    /// # Errors
    /// [`ScheduleError`] where the zone is none or the recurrence cannot be kept.
    pub fn following(
        &self,
        after: NaiveDateTime,
        began_at: DateTime<Utc>,
    ) -> Result<Vec<(Occurrence, DateTime<Utc>)>, ScheduleError> {
        let mut following = vec![];
        for occurrence in self.occurrences()?.into_iter().filter(|next| next.local > after) {
            let begins_at = self.begins_at(occurrence)?;
            if begins_at > began_at {
                following.push((occurrence, begins_at));
            }
        }
        Ok(following)
    }

    /// When a campaign has to begin so that nobody's message is late: with recipients' own times, when the first place
    /// on earth has that time.
    ///
    /// # Errors
    /// [`ScheduleError::TimeZone`] where the zone is none.
    pub fn begins_at(&self, occurrence: Occurrence) -> Result<DateTime<Utc>, ScheduleError> {
        let zone = self.zone()?;
        Ok(if self.recipient_local {
            occurrence.local.and_utc() - Duration::hours(LATEST_CLOCK_HOURS)
        } else {
            instant_of(occurrence.local, zone)
        })
    }

    /// The last instant at which somebody's clock shows the occurrence's time.
    fn last_instant(&self, occurrence: Occurrence, zone: Tz) -> DateTime<Utc> {
        if self.recipient_local {
            occurrence.local.and_utc() + Duration::hours(EARLIEST_CLOCK_HOURS)
        } else {
            instant_of(occurrence.local, zone)
        }
    }

    /// When it first begins.
    ///
    /// # Errors
    /// [`ScheduleError`] where the zone is none.
    pub fn start_instant(&self) -> Result<DateTime<Utc>, ScheduleError> {
        self.begins_at(Occurrence { index: 0, local: self.start_at })
    }
}

/// The instant of a local time: in a gap it moves forward by the gap, in an overlap the first one counts.
pub fn instant_of(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => {
            instant.with_timezone(&Utc)
        }
        LocalResult::None => {
            // In a gap the offset before it, applied to the local time, gives the time moved forward by the gap. Gaps
            // are at most a day (a zone that crossed the date line), so a day before has the old offset.
            let before = local - Duration::hours(25);
            let offset = match zone.from_local_datetime(&before) {
                LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => {
                    before.signed_duration_since(instant.naive_utc())
                }
                LocalResult::None => Duration::zero(),
            };
            (local - offset).and_utc()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: &str) -> String {
        let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").unwrap();
        instant_of(local, zone.parse().unwrap()).format("%Y-%m-%dT%H:%MZ").to_string()
    }

    #[test]
    fn a_local_time_is_read_in_its_zone() {
        assert_eq!(at("2026-11-27T09:00", "Europe/Berlin"), "2026-11-27T08:00Z");
        assert_eq!(at("2026-07-27T09:00", "America/Sao_Paulo"), "2026-07-27T12:00Z");
    }

    #[test]
    fn a_time_in_a_gap_moves_forward_by_the_gap() {
        assert_eq!(at("2027-03-28T02:30", "Europe/Berlin"), "2027-03-28T01:30Z");
        assert_eq!(at("2027-10-03T02:15", "Australia/Lord_Howe"), "2027-10-02T15:45Z");
    }

    #[test]
    fn of_a_time_that_comes_twice_the_first_counts() {
        assert_eq!(at("2026-10-25T02:30", "Europe/Berlin"), "2026-10-25T00:30Z");
    }
}
