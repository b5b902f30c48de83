//! How fast a number may send: a token bucket per number and WhatsApp's limit per pair of number and person. Pure
//! state machines over instants; whoever owns the number holds them.

use chrono::{DateTime, Duration, Utc};

/// Messages per second of one number. Refills at 95 % of the grant with a depth of 5 %, so that no moving second holds
/// more than the grant. Starts empty, because nobody knows what was sent just before.
#[derive(Clone, Debug)]
pub struct Pace {
    granted: u32,
    /// Messages that may go now.
    level: f64,
    refilled_at: DateTime<Utc>,
    /// Nothing goes before this: WhatsApp said that it was too much.
    held_until: Option<DateTime<Utc>>,
}

impl Pace {
    pub fn new(messages_per_second: u32, now: DateTime<Utc>) -> Self {
        Self { granted: messages_per_second.max(1), level: 0.0, refilled_at: now, held_until: None }
    }

    /// The grant changed; what is in the bucket stays, as far as it fits.
    pub fn set_granted(&mut self, messages_per_second: u32) {
        self.granted = messages_per_second.max(1);
        self.level = self.level.min(self.depth());
    }

    /// Messages per second that WhatsApp, or the owner, grants.
    pub fn granted(&self) -> u32 {
        self.granted
    }

    fn rate_per_second(&self) -> f64 {
        f64::from(self.granted) * 0.95
    }

    fn depth(&self) -> f64 {
        (f64::from(self.granted) * 0.05).max(1.0)
    }

    fn refill(&mut self, now: DateTime<Utc>) {
        let elapsed = (now - self.refilled_at).num_milliseconds().max(0);
        // A clock set back gives nothing and takes nothing.
        self.level =
            (self.level + elapsed as f64 / 1000.0 * self.rate_per_second()).min(self.depth());
        self.refilled_at = now;
    }

    /// How many of `wanted` may go now; they are taken from the bucket.
    pub fn take(&mut self, wanted: usize, now: DateTime<Utc>) -> usize {
        if self.held_until.is_some_and(|until| now < until) {
            return 0;
        }
        self.refill(now);
        let taken = (self.level.floor().max(0.0) as usize).min(wanted);
        self.level -= taken as f64;
        taken
    }

    /// How many may go now.
    pub fn available(&self, now: DateTime<Utc>) -> usize {
        let mut then = self.clone();
        then.take(usize::MAX, now)
    }

    /// When the next messages may go: as soon as the bucket is half full, so that a busy number spends one append on
    /// many messages. An idle number's bucket is full, and waits for nothing.
    pub fn next_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let missing = ((self.depth() / 2.0).max(1.0) - self.level).max(0.0);
        let wait =
            Duration::milliseconds((missing / self.rate_per_second() * 1000.0).ceil() as i64);
        // Bounded by the hold alone: a bucket filled in the future is a clock that was set back.
        let refilled = self.refilled_at.min(self.held_until.unwrap_or(now).max(now)) + wait;
        self.held_until.map_or(refilled, |until| refilled.max(until)).max(now)
    }

    /// WhatsApp says that the number sends too fast (130429): nothing until then, and an empty bucket after.
    pub fn hold_until(&mut self, until: DateTime<Utc>) {
        self.held_until = Some(self.held_until.map_or(until, |known| known.max(until)));
        self.level = 0.0;
        self.refilled_at = until;
    }
}

/// WhatsApp's limit per pair (Meta: one message per 6 s; a burst of up to 45 within 6 s is borrowed and paid back in
/// silence).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairLimit {
    burst_began: DateTime<Utc>,
    in_burst: u32,
    /// From here on nothing is owed.
    clear_at: DateTime<Utc>,
}

impl PairLimit {
    pub const SECONDS_PER_MESSAGE: i64 = 6;
    pub const BURST: u32 = 45;
    /// Requests arrive a little later than they leave; a burst must still lie within WhatsApp's 6 s, and a silence
    /// must still be one.
    const MARGIN_MS: i64 = 500;

    /// The pair as it is after a first message at `at`.
    pub fn first(at: DateTime<Utc>) -> Self {
        Self { burst_began: at, in_burst: 1, clear_at: at + Self::pay_back(1) }
    }

    fn pay_back(messages: u32) -> Duration {
        Duration::seconds(Self::SECONDS_PER_MESSAGE * i64::from(messages))
            + Duration::milliseconds(Self::MARGIN_MS)
    }

    /// When the next message may go; `now` or earlier: at once.
    pub fn next_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let burst_ends = self.burst_began + Duration::seconds(Self::SECONDS_PER_MESSAGE)
            - Duration::milliseconds(Self::MARGIN_MS);
        if now < burst_ends && self.in_burst < Self::BURST { now } else { self.clear_at }
    }

    /// The pair after one more message, which `next_at` allowed.
    #[must_use]
    pub fn sent(self, at: DateTime<Utc>) -> Self {
        if at >= self.clear_at {
            return Self::first(at);
        }
        let in_burst = self.in_burst + 1;
        Self { in_burst, clear_at: self.burst_began + Self::pay_back(in_burst), ..self }
    }

    /// WhatsApp turned the pair away (131056): silence until then.
    #[must_use]
    pub fn held(self, until: DateTime<Utc>) -> Self {
        Self { in_burst: Self::BURST, clear_at: self.clear_at.max(until), ..self }
    }

    /// Nothing is owed any more, so nothing need be remembered.
    pub fn is_clear(&self, now: DateTime<Utc>) -> bool {
        now >= self.clear_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    fn at(ms: i64) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(1_800_000_000_000 + ms).unwrap()
    }

    proptest! {
        #[test]
        fn no_moving_second_holds_more_than_the_grant(granted in 1u32..2_000, steps in prop::collection::vec((1i64..200, 1usize..3_000), 1..300)) {
            let mut pace = Pace::new(granted, at(0));
            let mut now = 0;
            let mut sent: Vec<i64> = vec![];
            for (wait, wanted) in steps {
                now += wait;
                let taken = pace.take(wanted, at(now));
                sent.extend(std::iter::repeat_n(now, taken));
                let in_second = sent.iter().filter(|t| **t > now - 1_000).count();
                prop_assert!(in_second <= granted as usize, "{in_second} of {granted}");
            }
        }

        #[test]
        fn a_pair_never_sends_more_than_a_message_per_six_seconds_in_the_long_run(tries in prop::collection::vec(1i64..4_000, 1..400)) {
            let mut now = 0;
            let mut pair: Option<PairLimit> = None;
            let mut count = 0i64;
            for wait in tries {
                now += wait;
                let may = pair.is_none_or(|p| p.next_at(at(now)) <= at(now));
                if may {
                    pair = Some(pair.map_or(PairLimit::first(at(now)), |p| p.sent(at(now))));
                    count += 1;
                }
                prop_assert!(count <= now / 6_000 + 46);
            }
        }
    }

    #[test]
    fn a_grant_of_eighty_is_nearly_used() {
        let mut pace = Pace::new(80, at(0));
        let sent: usize = (1..=10_000).step_by(10).map(|ms| pace.take(100, at(ms))).sum();
        assert!((740..=764).contains(&sent), "{sent}");
    }

    #[test]
    fn a_clock_set_back_silences_no_number() {
        let mut pace = Pace::new(80, at(0));
        assert_eq!(pace.take(1, at(3_600_000)), 1);
        assert!(pace.next_at(at(0)) <= at(100));
        assert!(pace.take(1, at(0)) + pace.take(1, at(100)) > 0);
    }

    #[test]
    fn what_is_available_can_be_taken() {
        let mut pace = Pace::new(80, at(0));
        assert_eq!(pace.available(at(0)), 0);
        assert_eq!(pace.available(at(1_000)), 4);
        assert_eq!(pace.take(100, at(1_000)), 4);
        pace.hold_until(at(5_000));
        assert_eq!(pace.available(at(4_999)), 0);
    }

    #[test]
    fn a_busy_number_waits_for_many_and_an_idle_one_for_nothing() {
        let mut pace = Pace::new(1_000, at(0));
        let next = pace.next_at(at(0));
        assert_eq!(pace.take(1_000, next), 25);
        assert_eq!(pace.take(1, at(5_000)), 1);
        assert_eq!(pace.next_at(at(5_000)), at(5_000));
        let mut slow = Pace::new(1, at(0));
        let next = slow.next_at(at(0));
        assert_eq!(slow.take(1, next), 1);
    }

    #[test]
    fn a_burst_is_paid_back_in_silence() {
        let mut pair = PairLimit::first(at(0));
        for i in 1..20 {
            assert_eq!(pair.next_at(at(i * 100)), at(i * 100));
            pair = pair.sent(at(i * 100));
        }
        assert_eq!(pair.next_at(at(7_000)), at(20 * 6_000 + 500));
        assert!(pair.is_clear(at(120_500)));
    }
}
