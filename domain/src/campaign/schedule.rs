//! When a campaign starts: kept as intent (a local time and a zone) and turned into an instant late.

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::account::QuietHours;

/// A campaign's schedule, as its owner said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignSchedule {
    pub start_at: NaiveDateTime,
    /// IANA name.
    pub time_zone: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recipient_local: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_window: Option<QuietHours>,
    #[serde(default)]
    pub when_past: WhenPast,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<String>,
}

/// Recipients whose local time has passed when the campaign starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WhenPast {
    SendNow,
    #[default]
    NextDay,
    Skip,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use an IANA time zone such as Europe/Berlin")]
pub struct ScheduleError;

impl CampaignSchedule {
    /// # Errors
    /// [`ScheduleError`] where the zone is none.
    pub fn start_instant(&self) -> Result<DateTime<Utc>, ScheduleError> {
        let zone: Tz = self.time_zone.parse().map_err(|_| ScheduleError)?;
        Ok(instant_of(self.start_at, zone))
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
