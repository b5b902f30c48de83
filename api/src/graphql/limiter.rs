//! A token bucket per API key: as many requests per second as configured, with as many saved up.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Buckets that are kept before full ones, which say nothing, are dropped.
const BUCKETS_MAX: usize = 10_000;

pub(super) struct Limiter {
    /// 0: no limit.
    per_second: f64,
    buckets: Mutex<HashMap<Uuid, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    pub fn new(requests_per_second: u32) -> Self {
        Self { per_second: f64::from(requests_per_second), buckets: Mutex::default() }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, key: Uuid, now: Instant) -> Result<(), Duration> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| self.tokens(bucket, now) < self.per_second);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: self.per_second, at: now });
        bucket.tokens = self.tokens(bucket, now);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_second));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    fn tokens(&self, bucket: &Bucket, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        (bucket.tokens + gained).min(self.per_second)
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_key_may_use_what_it_saved_up_and_then_its_rate() {
        let limiter = Limiter::new(2);
        let (ann, ben) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let start = Instant::now();
        assert!(limiter.take(ann, start).is_ok());
        assert!(limiter.take(ann, start).is_ok());
        assert_eq!(limiter.take(ann, start), Err(Duration::from_millis(500)));
        assert!(limiter.take(ben, start).is_ok(), "another key has its own");
        assert!(limiter.take(ann, start + Duration::from_millis(500)).is_ok());
        assert!(limiter.take(ann, start + Duration::from_millis(500)).is_err());
    }

    #[test]
    fn zero_is_no_limit() {
        let limiter = Limiter::new(0);
        let now = Instant::now();
        assert!((0..1_000).all(|_| limiter.take(Uuid::nil(), now).is_ok()));
    }
}
