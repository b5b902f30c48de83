//! When a message is tried again.

use chrono::{DateTime, Duration, Utc};

/// A message is handed to WhatsApp at most this often; then it has failed.
pub const MAX_ATTEMPTS: u32 = 8;

/// When to try again after `failures` refusals in a row: `first`, then `factor` times as long each time, at most
/// `longest`, spread by up to a quarter so that what failed together does not come back together. `random` is any 64
/// bits.
pub fn backoff(
    now: DateTime<Utc>,
    failures: u32,
    first: Duration,
    factor: u32,
    longest: Duration,
    random: u64,
) -> DateTime<Utc> {
    let exponent = failures.saturating_sub(1).min(30);
    let step = first.num_milliseconds().saturating_mul(i64::from(factor).saturating_pow(exponent));
    let step = step.clamp(1, longest.num_milliseconds().max(1));
    let spread = (random % 1_000) as i64 * (step / 4) / 1_000;
    now + Duration::milliseconds(step + spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn waits_grow_up_to_the_longest_and_are_spread() {
        let now = Utc.with_ymd_and_hms(2026, 11, 23, 9, 0, 0).unwrap();
        let wait = |failures, random| {
            (backoff(now, failures, Duration::seconds(1), 4, Duration::minutes(10), random) - now)
                .num_milliseconds()
        };
        assert_eq!(
            [wait(1, 0), wait(2, 0), wait(3, 0), wait(9, 0)],
            [1_000, 4_000, 16_000, 600_000]
        );
        assert!((1_000..=1_250).contains(&wait(1, 999)));
    }
}
