//! Time and chance, from outside, so that a test can run a year in a second.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The time. Instants have millisecond precision, as everything that is stored.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> DateTime<Utc>;

    /// Time since some fixed moment, counting suspension of the machine and stops of the process: what `send_by` is
    /// judged by, because the wall clock may be set back.
    fn since_boot(&self) -> Duration;

    /// Returns once `now()` is at or past `at`; at once where it is already.
    async fn sleep_until(&self, at: DateTime<Utc>);

    /// Returns once `since_boot()` is further by at least `duration`, however the wall clock is set meanwhile.
    async fn sleep_for(&self, duration: Duration);
}

/// Ids and randomness.
pub trait IdSource: Send + Sync + 'static {
    /// A UUIDv7 of this instant; later calls give greater ids.
    fn next_id(&self, at: DateTime<Utc>) -> Uuid;

    /// 64 random bits, for jitter and the like; never for secrets.
    fn random(&self) -> u64;
}
