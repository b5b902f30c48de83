//! A lane's own time. Pace is about how much time passes, so it must not stand still or jump when the wall clock is set.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use chrono::{DateTime, Duration, Utc};
use domain::port::Clock;

/// Instants that begin as the wall clock's and go on with the time since boot.
#[derive(Clone)]
pub struct Steady {
    clock: Arc<dyn Clock>,
    wall: DateTime<Utc>,
    boot: StdDuration,
}

impl Steady {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { wall: clock.now(), boot: clock.since_boot(), clock }
    }

    pub fn now(&self) -> DateTime<Utc> {
        let passed = self.clock.since_boot().saturating_sub(self.boot);
        let passed =
            Duration::milliseconds(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX / 2));
        self.wall.checked_add_signed(passed).unwrap_or(self.wall)
    }

    /// A moment of the wall clock, as far away as it is now.
    pub fn of(&self, wall: DateTime<Utc>) -> DateTime<Utc> {
        self.now().checked_add_signed(wall - self.clock.now()).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    pub async fn sleep_until(&self, at: DateTime<Utc>) {
        if let Ok(left) = (at - self.now()).to_std() {
            self.clock.sleep_for(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use infrastructure::clock::ManualClock;

    use super::*;

    #[test]
    fn goes_on_however_the_wall_clock_is_set() {
        let began = Utc::now();
        let clock = Arc::new(ManualClock::new(began));
        let steady = Steady::new(clock.clone());
        let first = steady.now();
        clock.advance(StdDuration::from_secs(5));
        assert_eq!(steady.now() - first, Duration::seconds(5));
        clock.set(began - Duration::days(1));
        assert_eq!(steady.now() - first, Duration::seconds(5));
        let in_a_minute = clock.now() + Duration::minutes(1);
        assert_eq!(steady.of(in_a_minute) - steady.now(), Duration::minutes(1));
    }
}
