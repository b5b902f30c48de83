//! Time and chance: the system's, and ones that tests move and repeat.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use domain::port::{Clock, IdSource};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::sync::watch;
use uuid::Uuid;

/// How late a sleeper may wake after the wall clock was set forward.
const STEP_NOTICED_WITHIN: Duration = Duration::from_secs(1);

/// Below the millisecond, nothing is stored; so nothing below it is ever seen.
pub fn truncate_to_ms(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(at)
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        truncate_to_ms(Utc::now())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        // Both parts are positive on any running machine.
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    /// Elsewhere than on Linux: the monotonic clock since this was first asked, which may stand still while the machine
    /// is suspended.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn since_boot(&self) -> Duration {
        static START: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        START.elapsed()
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        loop {
            // In short steps, because the timer runs on the monotonic clock and knows nothing of the wall clock.
            match (at - Utc::now()).to_std() {
                Ok(left) if !left.is_zero() => {
                    tokio::time::sleep(left.min(STEP_NOTICED_WITHIN)).await
                }
                _ => return,
            }
        }
    }

    async fn sleep_for(&self, duration: Duration) {
        let until = self.since_boot().saturating_add(duration);
        // In short steps, because the timer may stand still while the machine is suspended.
        while let Some(left) = until.checked_sub(self.since_boot()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left.min(STEP_NOTICED_WITHIN)).await;
        }
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    state: watch::Sender<ManualState>,
    sleepers: Mutex<BTreeMap<DateTime<Utc>, usize>>,
}

#[derive(Clone, Copy, Debug)]
struct ManualState {
    now: DateTime<Utc>,
    since_boot: Duration,
}

impl ManualClock {
    pub fn new(now: DateTime<Utc>) -> Self {
        let state = ManualState { now: truncate_to_ms(now), since_boot: Duration::from_secs(60) };
        Self { state: watch::Sender::new(state), sleepers: Mutex::default() }
    }

    /// Moves the clock forward; the machine has run that long, too. Wakes whoever was waiting for a moment passed.
    pub fn advance(&self, by: Duration) {
        self.state.send_modify(|state| {
            state.now = truncate_to_ms(state.now + by);
            state.since_boot += by;
        });
    }

    /// Sets the wall clock alone, as an administrator would: also back. `since_boot` stays.
    pub fn set(&self, now: DateTime<Utc>) {
        self.state.send_modify(|state| state.now = truncate_to_ms(now));
    }

    /// The earliest moment that someone sleeps for: where a test that runs a year may jump next.
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        self.sleepers().keys().next().copied()
    }

    fn sleepers(&self) -> MutexGuard<'_, BTreeMap<DateTime<Utc>, usize>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.state.borrow().now
    }

    fn since_boot(&self) -> Duration {
        self.state.borrow().since_boot
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        let mut state = self.state.subscribe();
        let _sleeper = Sleeper::register(self, at);
        // The sender is `self`, so waiting cannot fail while this runs.
        let _ = state.wait_for(|state| state.now >= at).await;
    }

    async fn sleep_for(&self, duration: Duration) {
        let mut state = self.state.subscribe();
        let ManualState { now, since_boot } = *state.borrow_and_update();
        let until = since_boot.saturating_add(duration);
        let _sleeper = Sleeper::register(self, truncate_to_ms(now + duration));
        let _ = state.wait_for(|state| state.since_boot >= until).await;
    }
}

/// One entry of [`ManualClock::next_wake`]; gone also when the sleep is cancelled.
struct Sleeper<'a> {
    clock: &'a ManualClock,
    at: DateTime<Utc>,
}

impl<'a> Sleeper<'a> {
    fn register(clock: &'a ManualClock, at: DateTime<Utc>) -> Self {
        *clock.sleepers().entry(at).or_insert(0) += 1;
        Self { clock, at }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.clock.sleepers();
        if let Some(count) = sleepers.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                sleepers.remove(&self.at);
            }
        }
    }
}

/// Ids of this process: UUIDv7, each greater than the one before, seeded by the system.
#[derive(Debug)]
pub struct SystemIds(Mutex<Ids>);

impl SystemIds {
    pub fn new() -> Self {
        let mut seed = [0; 32];
        // Without the system's randomness there is no TLS and no key either: nothing could go on.
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
            .expect("the system has a source of randomness");
        Self(Mutex::new(Ids::new(StdRng::from_seed(seed))))
    }
}

impl Default for SystemIds {
    fn default() -> Self {
        Self::new()
    }
}

impl IdSource for SystemIds {
    fn next_id(&self, at: DateTime<Utc>) -> Uuid {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next(at)
    }

    fn random(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random.next_u64()
    }
}

/// The same ids and numbers for the same seed and the same calls.
#[derive(Debug)]
pub struct SeededIds(Mutex<Ids>);

impl SeededIds {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Ids::new(StdRng::seed_from_u64(seed))))
    }
}

impl IdSource for SeededIds {
    fn next_id(&self, at: DateTime<Utc>) -> Uuid {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next(at)
    }

    fn random(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random.next_u64()
    }
}

#[derive(Debug)]
struct Ids {
    random: StdRng,
    /// Milliseconds and 74 bits, as one number: what the next id must exceed.
    last: u128,
}

impl Ids {
    /// Bits of a UUIDv7 that are neither time nor version nor variant.
    const RANDOM_BITS: u32 = 74;
    /// Steps within one millisecond are random, so that an id does not tell its neighbours.
    const STEP_MAX: u128 = 1 << 32;

    fn new(random: StdRng) -> Self {
        Self { random, last: 0 }
    }

    /// Where the clock stands still or goes back, the next id counts on from the last one.
    fn next(&mut self, at: DateTime<Utc>) -> Uuid {
        let ms = u128::from(at.timestamp_millis().clamp(0, (1 << 48) - 1).unsigned_abs());
        let random = self.random.random::<u128>() >> (128 - Self::RANDOM_BITS);
        let fresh = (ms << Self::RANDOM_BITS) | random;
        let step = 1 + self.random.random_range(0..Self::STEP_MAX);
        self.last = fresh.max(self.last + step);
        let (high, low) = (self.last >> 62, self.last & ((1 << 62) - 1));
        // 48 bits of time, then 12 + 62 random ones around the version and the variant.
        Uuid::from_u128(
            ((high >> 12) << 80) | (7 << 76) | ((high & 0xfff) << 64) | (0b10 << 62) | low,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_780_000_000_000 + ms).expect("a moment")
    }

    #[test]
    fn ids_are_v7_of_their_moment_and_only_grow_also_when_the_clock_does_not() {
        let ids = SystemIds::new();
        let mut last = Uuid::nil();
        for ms in [0, 0, 0, 5, 5, 3, -1_000, 6, 6] {
            let id = ids.next_id(at(ms));
            assert!(id > last, "{id} after {last}");
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
            last = id;
        }
        let id = SystemIds::new().next_id(at(7));
        let (seconds, nanos) = id.get_timestamp().expect("a v7 has one").to_unix();
        assert_eq!(seconds * 1_000 + u64::from(nanos) / 1_000_000, 1_780_000_000_007);
    }

    #[test]
    fn many_ids_of_one_moment_differ_and_stay_near_it() {
        let ids = SeededIds::new(1);
        let mut last = ids.next_id(at(0));
        for _ in 0..100_000 {
            let id = ids.next_id(at(0));
            assert!(id > last);
            last = id;
        }
        let (seconds, _) = last.get_timestamp().expect("a v7 has one").to_unix();
        assert_eq!(seconds, 1_780_000_000);
    }

    #[test]
    fn a_seed_gives_the_same_ids_again() {
        let run = |seed| {
            let ids = SeededIds::new(seed);
            (0..10).map(|n| (ids.next_id(at(n)), ids.random())).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn the_system_clock_has_whole_milliseconds_and_runs_since_boot() {
        let now = SystemClock.now();
        assert_eq!(now.timestamp_subsec_nanos() % 1_000_000, 0);
        let first = SystemClock.since_boot();
        assert!(first > Duration::ZERO && SystemClock.since_boot() >= first);
    }

    #[tokio::test]
    async fn sleeping_on_the_system_clock_ends_at_or_after_the_moment() {
        let until = SystemClock.now() + TimeDelta::milliseconds(15);
        SystemClock.sleep_until(until).await;
        assert!(SystemClock.now() >= until);
        SystemClock.sleep_until(until).await;
    }

    #[tokio::test]
    async fn moving_the_clock_wakes_those_whose_moment_has_come() {
        let clock = Arc::new(ManualClock::new(at(0)));
        let sleep = |ms| {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep_until(at(ms)).await })
        };
        let (early, late) = (sleep(10), sleep(1_000));
        while clock.next_wake() != Some(at(10)) {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_millis(10));
        early.await.unwrap();
        while clock.next_wake() != Some(at(1_000)) {
            tokio::task::yield_now().await;
        }
        assert!(!late.is_finished());
        clock.set(at(2_000));
        late.await.unwrap();
        assert_eq!(clock.next_wake(), None);
        clock.set(at(0));
        assert_eq!(clock.now(), at(0));
        assert_eq!(clock.since_boot(), Duration::from_secs(60) + Duration::from_millis(10));
    }

    #[tokio::test]
    async fn a_sleep_of_some_length_does_not_care_how_the_wall_clock_is_set() {
        let clock = Arc::new(ManualClock::new(at(0)));
        let sleeper = clock.clone();
        let sleep = tokio::spawn(async move { sleeper.sleep_for(Duration::from_millis(10)).await });
        while clock.next_wake() != Some(at(10)) {
            tokio::task::yield_now().await;
        }
        clock.set(at(-3_600_000));
        assert!(!sleep.is_finished());
        clock.advance(Duration::from_millis(10));
        sleep.await.unwrap();
    }

    #[tokio::test]
    async fn a_cancelled_sleep_is_forgotten() {
        let clock = ManualClock::new(at(0));
        tokio::select! {
            biased;
            () = clock.sleep_until(at(5)) => panic!("nobody moved the clock"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(clock.next_wake(), None);
    }
}
