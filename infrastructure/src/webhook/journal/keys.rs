//! What the journal asks of the key ring.

use async_trait::async_trait;
use chrono::NaiveDate;

/// A data key for each day (UTC), made when it is first needed and destroyed for good when the journal's retention is
/// over: copies of rows in write-ahead logs and backups end with it.
#[async_trait]
pub trait DayKeys: Send + Sync + 'static {
    /// Seals `plain` with the day's key (AEAD, a fresh nonce each time). `aad` must be given again to open it.
    ///
    /// # Errors
    /// [`DayKeyError::Unavailable`], also where the day's key was destroyed.
    async fn seal(&self, day: NaiveDate, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, DayKeyError>;

    /// Opens what [`Self::seal`] made; `None` where the day's key was destroyed.
    ///
    /// # Errors
    /// [`DayKeyError::Corrupt`] where the bytes or `aad` are not what was sealed.
    async fn open(
        &self,
        day: NaiveDate,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, DayKeyError>;

    /// Destroys the keys of these days, for good. Repeating it is harmless.
    ///
    /// # Errors
    /// [`DayKeyError::Unavailable`]: some may be left.
    async fn destroy(&self, days: &[NaiveDate]) -> Result<(), DayKeyError>;
}

#[derive(Debug, thiserror::Error)]
pub enum DayKeyError {
    #[error("the key ring is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a sealed notification is not what was written")]
    Corrupt,
}
