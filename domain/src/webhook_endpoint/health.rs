//! When an event that was not taken is tried again, and how much at once an endpoint is asked to take: all of it once it
//! answers, a single request now and then while it does not, and from one on, twice as many each time, once it does again.

use chrono::{DateTime, Duration, Utc};

/// Waits after the first failed attempt, the second, and so on, in seconds: more than 75 h in all. The last one stays.
const WAITS_S: [i64; 11] = [5, 30, 120, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// A wait differs from its step by up to so many parts of a thousand, so that not everything comes back at once.
const JITTER: i64 = 200;
/// The longest that an endpoint may ask us to wait.
pub const RETRY_AFTER_MAX: Duration = Duration::hours(24);
/// An endpoint that took nothing for so long is paused.
pub const PAUSE_AFTER: Duration = Duration::days(5);
/// So many failures without a success between them, and an endpoint counts as down.
const DOWN_AFTER: u32 = 5;
/// The first wait before one that is down is tried again; each further one is twice as long, up to the longest.
const PROBE_FIRST: Duration = Duration::seconds(2);
const PROBE_LONGEST: Duration = Duration::seconds(60);

/// How long an event waits after its `attempt`th failed attempt, from 1. `asked`: what the endpoint's answer asked for.
pub fn retry_wait(attempt: u32, asked: Option<Duration>, random: u64) -> Duration {
    if let Some(asked) = asked {
        return asked.clamp(Duration::seconds(1), RETRY_AFTER_MAX);
    }
    let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    jittered(Duration::seconds(WAITS_S[step.min(WAITS_S.len() - 1)]), random)
}

fn jittered(wait: Duration, random: u64) -> Duration {
    let parts = i64::try_from(random % (2 * JITTER.unsigned_abs() + 1)).unwrap_or(JITTER) - JITTER;
    wait + Duration::milliseconds(wait.num_milliseconds() * parts / 1_000)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed,
    /// Nothing is begun until then.
    Open {
        until: DateTime<Utc>,
        wait: Duration,
    },
    /// One request is under way to find out.
    Probing {
        wait: Duration,
    },
}

/// How an endpoint does.
#[derive(Clone, Debug)]
pub struct Health {
    circuit: Circuit,
    /// Requests at once, at most.
    most: usize,
    /// Requests at once, for now.
    allowance: usize,
    /// Since the allowance last changed.
    successes: usize,
    failures_in_a_row: u32,
    failing_since: Option<DateTime<Utc>>,
}

impl Health {
    /// `failing_since`: when it last began to take nothing, as it was left; one of those begins slowly.
    pub fn new(most: usize, failing_since: Option<DateTime<Utc>>) -> Self {
        Self {
            circuit: Circuit::Closed,
            most,
            allowance: if failing_since.is_some() { 1 } else { most },
            successes: 0,
            failures_in_a_row: 0,
            failing_since,
        }
    }

    /// Somebody resumed it: what was before counts no more, but that it begins slowly.
    pub fn forgive(&mut self) {
        self.failing_since = None;
    }

    /// Whether one more request may be begun, beside `under_way` others.
    pub fn may_begin(&self, under_way: usize, now: DateTime<Utc>) -> bool {
        match self.circuit {
            Circuit::Closed => under_way < self.allowance,
            Circuit::Open { until, .. } => under_way == 0 && now >= until,
            Circuit::Probing { .. } => false,
        }
    }

    /// A request is begun. Whether it is one to find out how things are: its failure says nothing of what it carried.
    pub fn begin(&mut self) -> bool {
        if let Circuit::Open { wait, .. } = self.circuit {
            self.circuit = Circuit::Probing { wait };
        }
        self.is_down()
    }

    /// What was begun was not sent after all.
    pub fn not_sent(&mut self, now: DateTime<Utc>) {
        if let Circuit::Probing { wait } = self.circuit {
            self.circuit = Circuit::Open { until: now, wait };
        }
    }

    /// When something may be begun again, where nothing may be now.
    pub fn opens_at(&self) -> Option<DateTime<Utc>> {
        match self.circuit {
            Circuit::Open { until, .. } => Some(until),
            Circuit::Closed | Circuit::Probing { .. } => None,
        }
    }

    pub fn is_down(&self) -> bool {
        self.circuit != Circuit::Closed
    }

    /// It takes nothing since then.
    pub fn failing_since(&self) -> Option<DateTime<Utc>> {
        self.failing_since
    }

    /// It has taken nothing for too long.
    pub fn is_given_up(&self, now: DateTime<Utc>) -> bool {
        self.failing_since.is_some_and(|since| now - since >= PAUSE_AFTER)
    }

    /// A request was answered 2xx. Whether the endpoint is up again just now.
    pub fn succeeded(&mut self) -> bool {
        let recovered = matches!(self.circuit, Circuit::Probing { .. });
        self.failures_in_a_row = 0;
        self.failing_since = None;
        if recovered {
            self.circuit = Circuit::Closed;
            self.allowance = 1;
            self.successes = 0;
        }
        self.successes += 1;
        if self.successes >= self.allowance {
            self.allowance = (self.allowance * 2).min(self.most);
            self.successes = 0;
        }
        recovered
    }

    /// A request failed. `hold`: the endpoint itself asked to be left alone for so long.
    pub fn failed(&mut self, now: DateTime<Utc>, hold: Option<Duration>, random: u64) {
        self.failing_since.get_or_insert(now);
        self.failures_in_a_row += 1;
        let hold = hold.map(|hold| hold.clamp(Duration::seconds(1), RETRY_AFTER_MAX));
        let wait = match self.circuit {
            Circuit::Probing { wait } => (wait * 2).min(PROBE_LONGEST),
            Circuit::Closed if hold.is_some() || self.failures_in_a_row >= DOWN_AFTER => {
                PROBE_FIRST
            }
            Circuit::Closed => return,
            // Begun before the others failed: nothing new.
            Circuit::Open { until, wait } => {
                let until = hold.map_or(until, |hold| until.max(now + hold));
                self.circuit = Circuit::Open { until, wait };
                return;
            }
        };
        let until = now + hold.unwrap_or_else(|| jittered(wait, random));
        self.circuit = Circuit::Open { until, wait };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    /// The middle of the jitter.
    const EVEN: u64 = 200;

    fn down(most: usize) -> Health {
        let mut health = Health::new(most, None);
        for _ in 0..DOWN_AFTER {
            assert!(health.may_begin(0, at(0)));
            assert!(!health.begin());
            health.failed(at(0), None, EVEN);
        }
        health
    }

    #[test]
    fn an_event_is_tried_for_more_than_75_hours() {
        let waits: Vec<i64> = (1..=11).map(|n| retry_wait(n, None, EVEN).num_seconds()).collect();
        assert_eq!(waits, WAITS_S);
        assert!(waits.iter().sum::<i64>() > 75 * 3_600);
        assert_eq!(retry_wait(12, None, EVEN), Duration::hours(24));
        assert_eq!(retry_wait(u32::MAX, None, EVEN), Duration::hours(24));
        for random in [0, 1, 77, 399, 400, 401, u64::MAX] {
            let wait = retry_wait(3, None, random).num_milliseconds();
            assert!((96_000..=144_000).contains(&wait), "{wait}");
        }
        assert_eq!(retry_wait(3, None, 0).num_seconds(), 96);
        assert_eq!(retry_wait(3, None, 400).num_seconds(), 144);
    }

    #[test]
    fn what_the_endpoint_asks_for_is_kept_to_up_to_a_day() {
        let asked = |seconds| retry_wait(1, Some(Duration::seconds(seconds)), 0).num_seconds();
        assert_eq!([asked(120), asked(0), asked(-5), asked(1_000_000)], [120, 1, 1, 86_400]);
    }

    #[test]
    fn five_failures_in_a_row_and_only_one_request_now_and_then_is_sent() {
        let mut health = down(8);
        assert!(health.is_down());
        assert_eq!(health.opens_at(), Some(at(2)));
        assert!(!health.may_begin(0, at(1)));
        let mut now = at(2);
        for wait in [4, 8, 16, 32, 60, 60] {
            assert!(health.may_begin(0, now) && !health.may_begin(1, now));
            assert!(health.begin(), "a probe");
            assert!(!health.may_begin(0, now), "one is enough");
            health.failed(now, None, EVEN);
            assert_eq!(health.opens_at(), Some(now + Duration::seconds(wait)));
            now += Duration::seconds(wait);
        }
    }

    #[test]
    fn a_success_between_failures_keeps_it_up() {
        let mut health = Health::new(8, None);
        for _ in 0..20 {
            health.failed(at(0), None, EVEN);
            health.failed(at(0), None, EVEN);
            assert!(!health.succeeded());
        }
        assert!(!health.is_down() && health.may_begin(7, at(0)));
    }

    #[test]
    fn up_again_it_is_asked_to_take_one_then_two_then_four() {
        let mut health = down(8);
        assert!(health.begin());
        assert!(health.succeeded(), "up again");
        let mut allowances = vec![];
        for _ in 0..30 {
            let allowance = (0..=8).find(|n| !health.may_begin(*n, at(9))).unwrap();
            if allowances.last() != Some(&allowance) {
                allowances.push(allowance);
            }
            assert!(!health.succeeded());
        }
        assert_eq!(allowances, [2, 4, 8]);
    }

    #[test]
    fn one_that_was_left_failing_begins_slowly() {
        let health = Health::new(8, Some(at(0)));
        assert!(health.may_begin(0, at(9)) && !health.may_begin(1, at(9)));
        assert!(Health::new(8, None).may_begin(7, at(9)));
    }

    #[test]
    fn asked_to_be_left_alone_it_is() {
        let mut health = Health::new(8, None);
        health.failed(at(0), Some(Duration::seconds(90)), EVEN);
        assert!(!health.may_begin(0, at(89)) && health.may_begin(0, at(90)));
        // What was under way comes back with a longer wish.
        health.failed(at(10), Some(Duration::seconds(100)), EVEN);
        assert_eq!(health.opens_at(), Some(at(110)));
        health.failed(at(11), None, EVEN);
        assert_eq!(health.opens_at(), Some(at(110)));
    }

    #[test]
    fn five_days_without_a_success_and_it_is_given_up() {
        let mut health = Health::new(8, None);
        health.failed(at(0), None, EVEN);
        health.failed(at(100), None, EVEN);
        assert!(!health.is_given_up(at(0) + PAUSE_AFTER - Duration::seconds(1)));
        assert!(health.is_given_up(at(0) + PAUSE_AFTER));
        health.succeeded();
        assert!(!health.is_given_up(at(0) + PAUSE_AFTER * 2));
    }

    #[test]
    fn a_probe_that_was_not_sent_is_made_up_for() {
        let mut health = down(8);
        health.begin();
        health.not_sent(at(3));
        assert!(health.may_begin(0, at(3)));
    }
}
