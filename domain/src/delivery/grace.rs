//! How long WhatsApp's silence about a message has lasted while WhatsApp was heard.

use chrono::{DateTime, Duration, Utc};

/// Webhooks further apart than this do not show that what came between them would have been heard.
pub const HEARD_GAP: Duration = Duration::seconds(120);

/// How much of the time from `start` to `until` lies between webhooks that came at most [`HEARD_GAP`] apart. `heard` are
/// the instants at which one came, in order; those up to a gap before `start` count as where the first stretch begins, and
/// those up to a gap after `until` as where the last one ends.
pub fn time_heard(
    start: DateTime<Utc>,
    until: DateTime<Utc>,
    heard: impl IntoIterator<Item = DateTime<Utc>>,
) -> Duration {
    let mut total = Duration::zero();
    let mut before: Option<DateTime<Utc>> = None;
    for at in heard {
        if let Some(before) = before
            && at - before <= HEARD_GAP
        {
            total += (at.min(until) - before.max(start)).max(Duration::zero());
        }
        before = Some(before.map_or(at, |known| known.max(at)));
    }
    total
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_795_000_000 + second, 0).unwrap()
    }

    fn heard(start: i64, seconds: &[i64]) -> i64 {
        heard_until(start, 10_000, seconds)
    }

    fn heard_until(start: i64, until: i64, seconds: &[i64]) -> i64 {
        time_heard(at(start), at(until), seconds.iter().copied().map(at)).num_seconds()
    }

    #[test]
    fn one_webhook_after_a_long_silence_proves_nothing() {
        assert_eq!(heard(0, &[700]), 0);
        assert_eq!(heard(0, &[-5, 700]), 0);
    }

    #[test]
    fn only_what_lies_between_webhooks_close_to_each_other_counts() {
        assert_eq!(heard(0, &[-10, 50, 100, 600, 650]), 150);
        assert_eq!(heard(0, &[-60, -10]), 0);
        assert_eq!(heard(0, &[0, 120, 241]), 120);
    }

    #[test]
    fn what_came_soon_after_the_end_shows_that_the_time_before_it_was_heard() {
        assert_eq!(heard_until(0, 30, &[-10, 59]), 30);
        assert_eq!(heard_until(0, 30, &[-10, 20, 600]), 20);
        assert_eq!(heard_until(0, 30, &[40, 59]), 0);
    }

    proptest! {
        #[test]
        fn never_more_than_has_passed_and_never_less_with_more_webhooks(
            mut seconds in prop::collection::vec(-300i64..3_000, 0..60),
            more in prop::collection::vec(-300i64..3_000, 0..10),
        ) {
            seconds.sort_unstable();
            let some = heard(0, &seconds);
            prop_assert!(some >= 0 && some <= seconds.last().copied().unwrap_or(0).max(0));
            let mut all = [seconds, more].concat();
            all.sort_unstable();
            prop_assert!(heard(0, &all) >= some);
        }
    }
}
