//! The journal's day keys, in the key ring.

use async_trait::async_trait;
use chrono::{Days, NaiveDate};

use super::keys::{DayKeyError, DayKeys};
use crate::crypto::{KeyRing, KeyRingError, SubjectKey};

/// How far back keys are looked for when they are destroyed: a gateway that was off for longer still deletes the rows.
const DAYS_BACK: u64 = 400;

impl From<KeyRingError> for DayKeyError {
    fn from(error: KeyRingError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

#[async_trait]
impl DayKeys for KeyRing {
    async fn seal(&self, day: NaiveDate, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, DayKeyError> {
        match self.day_key(day).await? {
            SubjectKey::Live(key) => Ok(key.seal(aad, plain)),
            SubjectKey::Destroyed | SubjectKey::Missing => {
                Err(DayKeyError::Unavailable("the key of that day was destroyed".into()))
            }
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

    async fn destroy_before(&self, day: NaiveDate) -> Result<(), DayKeyError> {
        let days: Vec<NaiveDate> =
            (1..=DAYS_BACK).filter_map(|back| day.checked_sub_days(Days::new(back))).collect();
        self.destroy_day_keys(&days).await?;
        Ok(())
    }
}
