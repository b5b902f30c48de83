//! Hours of the day by somebody's clock on the wall.

use chrono::NaiveTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hours that come back every day: `from` belongs to them, `to` does not, and `from` after `to` crosses midnight. Whose
/// clock they are read from is said where they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DailyHours {
    pub from: NaiveTime,
    pub to: NaiveTime,
}

impl DailyHours {
    /// They begin when they end, so that nothing lies in them. Refused wherever hours are given.
    pub fn is_empty(self) -> bool {
        self.from == self.to
    }

    /// Whether a time of the day lies in these hours.
    pub fn contains(self, time: NaiveTime) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&time)
        } else {
            time >= self.from || time < self.to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveTime {
        NaiveTime::parse_from_str(text, "%H:%M").unwrap()
    }

    fn hours(from: &str, to: &str) -> DailyHours {
        DailyHours { from: at(from), to: at(to) }
    }

    #[test]
    fn the_beginning_belongs_to_the_hours_and_the_end_does_not() {
        let day = hours("09:00", "20:00");
        assert!(day.contains(at("09:00")) && day.contains(at("19:59")));
        assert!(!day.contains(at("20:00")) && !day.contains(at("08:59")));
    }

    #[test]
    fn hours_may_cross_midnight() {
        let night = hours("22:00", "06:00");
        assert!(night.contains(at("22:00")) && night.contains(at("00:00")));
        assert!(!night.contains(at("06:00")) && !night.contains(at("21:59")));
        let evening = hours("18:00", "00:00");
        assert!(evening.contains(at("23:59")) && !evening.contains(at("00:00")));
    }

    #[test]
    fn hours_of_no_length_hold_nothing() {
        let none = hours("09:00", "09:00");
        assert!(none.is_empty() && !none.contains(at("09:00")));
    }
}
