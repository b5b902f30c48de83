//! Meta's limits on a number, each as a small counter over moving time: messages per second, the pair rate with its
//! borrowed burst, and the reach of 24 hours. Times are milliseconds since the epoch; nothing here reads a clock.

use std::collections::{HashMap, VecDeque};

/// A moving second, in milliseconds.
const SECOND_MS: i64 = 1000;
/// One message to one person per this time.
const PAIR_INTERVAL_MS: i64 = 6000;
/// Messages to one person that may be borrowed within one interval.
pub(crate) const PAIR_BURST_MAX: u32 = 45;
/// What the network may shave off an interval that the sender kept. Without it a sender that paces exactly would be
/// refused for the jitter of its calls.
const PAIR_TOLERANCE_MS: i64 = 250;
/// Unique people outside a service window are counted over this time.
const REACH_MS: i64 = 24 * 3600 * 1000;
/// Length of a customer service window.
pub(crate) const WINDOW_MS: i64 = 24 * 3600 * 1000;

/// Events in the second that ends now: `(now - 1000, now]`, and the most there ever were.
#[derive(Debug, Default)]
pub(crate) struct MovingSecond {
    recent: VecDeque<i64>,
    pub peak: u32,
}

impl MovingSecond {
    /// How many there were in the second up to `now`, the next one not included.
    pub(crate) fn count(&mut self, now: i64) -> u32 {
        while self.recent.front().is_some_and(|at| *at <= now - SECOND_MS) {
            self.recent.pop_front();
        }
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }

    /// As [`Self::count`], without forgetting.
    pub(crate) fn count_at(&self, now: i64) -> u32 {
        let old = self.recent.partition_point(|at| *at <= now - SECOND_MS);
        u32::try_from(self.recent.len() - old).unwrap_or(u32::MAX)
    }

    pub(crate) fn record(&mut self, now: i64) {
        self.recent.push_back(now);
        self.peak = self.peak.max(self.count(now));
    }
}

/// Calls in the hour that ends now, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct MovingHour {
    recent: VecDeque<i64>,
}

impl MovingHour {
    /// Whether one more is allowed; it is recorded if so.
    pub(crate) fn admit(&mut self, now: i64, max: usize) -> bool {
        while self.recent.front().is_some_and(|at| *at <= now - 3600 * SECOND_MS) {
            self.recent.pop_front();
        }
        let admitted = self.recent.len() < max;
        if admitted {
            self.recent.push_back(now);
        }
        admitted
    }

    pub(crate) fn len(&self) -> usize {
        self.recent.len()
    }
}

/// What a sender owes one person.
#[derive(Clone, Copy, Debug)]
struct Debt {
    /// When the burst began.
    since: i64,
    /// When everything sent so far is paid back at one message per interval.
    paid_at: i64,
    count: u32,
}

/// The pair rate of one number. Whoever has waited long enough may send; up to 45 messages within 6 s of the first are
/// lent and must be paid back by silence: a burst of 20 costs 2 minutes.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    debts: HashMap<u64, Debt>,
    sweep_at: usize,
}

/// Below this many pairs nothing is swept.
const SWEEP_MIN: usize = 4096;

impl Pairs {
    /// Whether a message to `person` is within the rate now.
    pub(crate) fn allows(&self, person: u64, now: i64) -> bool {
        match self.debts.get(&person) {
            None => true,
            Some(debt) => {
                now + PAIR_TOLERANCE_MS >= debt.paid_at
                    || (now - debt.since < PAIR_INTERVAL_MS && debt.count < PAIR_BURST_MAX)
            }
        }
    }

    /// Records a message that was accepted.
    pub(crate) fn record(&mut self, person: u64, now: i64) {
        if self.debts.len() >= self.sweep_at.max(SWEEP_MIN) {
            // A debt that is paid says nothing any more, so the table holds the last minutes and not all people ever.
            self.debts.retain(|_, debt| debt.paid_at > now);
            self.sweep_at = self.debts.len() * 2;
        }
        let debt = self.debts.entry(person).or_insert(Debt { since: now, paid_at: now, count: 0 });
        if now + PAIR_TOLERANCE_MS >= debt.paid_at {
            *debt = Debt { since: now, paid_at: now, count: 0 };
        }
        debt.paid_at += PAIR_INTERVAL_MS;
        debt.count += 1;
    }

    /// The unpaid ones as `(person, since, paid_at, count)`, for the state file.
    pub(crate) fn owing(&self, now: i64) -> Vec<(u64, i64, i64, u32)> {
        let owing = self.debts.iter().filter(|(_, debt)| debt.paid_at > now);
        owing.map(|(person, debt)| (*person, debt.since, debt.paid_at, debt.count)).collect()
    }

    pub(crate) fn forget(&mut self, person: u64) {
        self.debts.remove(&person);
    }

    pub(crate) fn restore(&mut self, (person, since, paid_at, count): (u64, i64, i64, u32)) {
        self.debts.insert(person, Debt { since, paid_at, count });
    }
}

/// Unique people who got a message outside their window within the last 24 h. Meta documents no error for going beyond
/// the messaging limit, so this only counts.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    last: HashMap<u64, i64>,
    order: VecDeque<(i64, u64)>,
    pub peak: u32,
}

impl Reach {
    pub(crate) fn record(&mut self, person: u64, now: i64) {
        self.last.insert(person, now);
        self.order.push_back((now, person));
        self.forget(now);
        self.peak = self.peak.max(u32::try_from(self.last.len()).unwrap_or(u32::MAX));
    }

    /// Counts a person no more; the peak stays.
    pub(crate) fn forget_person(&mut self, person: u64) {
        self.last.remove(&person);
        self.order.retain(|(_, other)| *other != person);
    }

    fn forget(&mut self, now: i64) {
        while let Some((at, person)) = self.order.front().copied() {
            if at > now - REACH_MS {
                break;
            }
            self.order.pop_front();
            if self.last.get(&person) == Some(&at) {
                self.last.remove(&person);
            }
        }
    }

    /// `(person, when)` of everybody who still counts, oldest first.
    pub(crate) fn counted(&self, now: i64) -> Vec<(u64, i64)> {
        let mut all: Vec<(u64, i64)> = self
            .last
            .iter()
            .filter(|(_, at)| **at > now - REACH_MS)
            .map(|(person, at)| (*person, *at))
            .collect();
        all.sort_unstable_by_key(|(_, at)| *at);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moving_second_forgets_what_is_a_second_old() {
        let mut second = MovingSecond::default();
        for at in [0, 10, 999] {
            second.record(at);
        }
        assert_eq!(second.count(999), 3);
        assert_eq!(second.count(1000), 2);
        assert_eq!(second.count(2000), 0);
        assert_eq!(second.peak, 3);
    }

    #[test]
    fn one_message_every_six_seconds_is_always_allowed() {
        let mut pairs = Pairs::default();
        for n in 0..1000 {
            let now = n * 6000 + if n % 2 == 0 { 0 } else { -200 };
            assert!(pairs.allows(1, now), "message {n}");
            pairs.record(1, now);
        }
    }

    #[test]
    fn a_burst_of_45_is_lent_and_the_next_is_refused_until_it_is_paid_back() {
        let mut pairs = Pairs::default();
        for n in 0..45 {
            assert!(pairs.allows(1, n * 100), "message {n}");
            pairs.record(1, n * 100);
        }
        assert!(!pairs.allows(1, 4600));
        assert!(pairs.allows(2, 4600), "another person is unaffected");
        assert!(!pairs.allows(1, 45 * 6000 - 1000));
        assert!(pairs.allows(1, 45 * 6000));
    }

    #[test]
    fn a_burst_of_20_costs_two_minutes_of_silence() {
        let mut pairs = Pairs::default();
        for n in 0..20 {
            pairs.record(1, n);
        }
        assert!(!pairs.allows(1, 6000), "the burst is over after six seconds");
        assert!(!pairs.allows(1, 119_000));
        assert!(pairs.allows(1, 120_000));
    }

    #[test]
    fn paid_pairs_are_forgotten() {
        let mut pairs = Pairs::default();
        for person in 0..50_000_u64 {
            pairs.record(person, i64::try_from(person).unwrap() * 10);
        }
        assert!(pairs.debts.len() < 10_000, "{}", pairs.debts.len());
    }

    #[test]
    fn reach_counts_each_person_once_in_a_moving_day() {
        let mut reach = Reach::default();
        let hour = 3_600_000;
        for (person, at) in [(1, 0), (1, hour), (2, 2 * hour), (3, 25 * hour + 1)] {
            reach.record(person, at);
        }
        assert_eq!(reach.peak, 2, "person 1 was out again when person 3 came");
        assert_eq!(reach.counted(25 * hour + 1), vec![(2, 2 * hour), (3, 25 * hour + 1)]);
    }
}
