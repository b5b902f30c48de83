//! The journal's day keys, in the key ring.

use async_trait::async_trait;
use chrono::NaiveDate;

use super::keys::{DayKeyError, DayKeys};
use crate::crypto::{KeyRing, KeyRingError, SubjectKey};

#[async_trait]
impl DayKeys for KeyRing {
    async fn seal(&self, day: NaiveDate, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, DayKeyError> {
        match self.day_key(day).await? {
            SubjectKey::Live(key) => Ok(key.seal(aad, plain)),
            SubjectKey::Destroyed | SubjectKey::Missing => Err(DayKeyError::Unavailable(
                format!("the key of {day} was destroyed: its retention has passed").into(),
            )),
        }
    }

    async fn open(
        &self,
        day: NaiveDate,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, DayKeyError> {
        match self.day_key(day).await? {
            SubjectKey::Live(key) => {
                let plain = key.open(aad, sealed).map_err(|_| DayKeyError::Corrupt)?;
                Ok(Some(plain.to_vec()))
            }
            SubjectKey::Destroyed | SubjectKey::Missing => Ok(None),
        }
    }

    async fn destroy(&self, days: &[NaiveDate]) -> Result<(), DayKeyError> {
        Ok(self.destroy_day_keys(days).await?)
    }
}

impl From<KeyRingError> for DayKeyError {
    fn from(error: KeyRingError) -> Self {
        Self::Unavailable(error.into())
    }
}
