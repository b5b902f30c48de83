//! Another master key: everything that the old one wrapped is wrapped anew, nothing is sealed anew.

use super::key_ring::{KeyRingError, Wrapping, read_record, replace_record};
use super::master_key::MasterKey;
use crate::event_store::{Meta, Rewrap, Vault};

/// Data keys wrapped anew in one transaction.
const KEYS_PER_BATCH: usize = 1_000;

/// What a rotation did; less than there is, where an earlier one had come so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    pub data_keys: usize,
    pub secrets: usize,
}

/// Wraps all keys and credentials of a store with `new` instead of `old`. No gateway may run on the store meanwhile:
/// what it makes would still be wrapped with `old`.
///
/// Safe to interrupt: until it has been run again to its end with the same keys, the store opens with neither.
/// Running it once more after that does nothing.
///
/// # Errors
/// [`KeyRingError::WrongMasterKey`] where the store knows neither key, or is on its way to a third;
/// [`KeyRingError::Uninitialised`] where it was never opened; [`KeyRingError::Corrupt`] where a row was wrapped by
/// neither.
pub async fn rotate_master(
    vault: &dyn Vault,
    meta: &dyn Meta,
    old: &MasterKey,
    new: &MasterKey,
) -> Result<Rotation, KeyRingError> {
    let (from, to) = (Wrapping::new(old), Wrapping::new(new));
    let (mut record, mut text) = read_record(meta).await?.ok_or(KeyRingError::Uninitialised)?;
    let target = new.fingerprint();
    let wrong = |expected: &str, key: &MasterKey| KeyRingError::WrongMasterKey {
        expected: expected.to_owned(),
        found: key.fingerprint(),
    };
    let is_done = record.master == target;
    if !is_done {
        if record.master != old.fingerprint() {
            return Err(wrong(&record.master, old));
        }
        match &record.rotating_to {
            Some(other) if *other != target => return Err(wrong(other, new)),
            Some(_) => {}
            None => {
                record.rotating_to = Some(target.clone());
                set(meta, &mut text, &record).await?;
            }
        }
    }
    // Also after the end: a gateway that was left running may have added rows of the old key.
    let rotation = Rotation {
        data_keys: rewrap_data_keys(vault, &from, &to).await?,
        secrets: reseal_secrets(vault, &from, &to).await?,
    };
    if !is_done {
        record.lookup = to.wrap_lookup(&from.unwrap_lookup(&record.lookup)?);
        record.master = target;
        record.rotating_to = None;
        set(meta, &mut text, &record).await?;
    }
    Ok(rotation)
}

async fn set(
    meta: &dyn Meta,
    text: &mut String,
    record: &super::key_ring::Record,
) -> Result<(), KeyRingError> {
    if !replace_record(meta, Some(text), record).await? {
        return Err(KeyRingError::Corrupt("another rotation is running".to_owned()));
    }
    let (_, standing) = read_record(meta).await?.ok_or(KeyRingError::Uninitialised)?;
    *text = standing;
    Ok(())
}

async fn rewrap_data_keys(
    vault: &dyn Vault,
    from: &Wrapping,
    to: &Wrapping,
) -> Result<usize, KeyRingError> {
    let mut after = None;
    let mut count = 0;
    loop {
        let page = vault.data_keys_after(after, KEYS_PER_BATCH).await?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = Some(*last);
        let rewraps = page
            .into_iter()
            .filter(|(_, wrapped)| !to.is_mine(wrapped))
            .map(|(subject, wrapped)| {
                let key = from.unwrap(subject, &wrapped)?;
                Ok(Rewrap { subject, from: wrapped, to: to.wrap(subject, &key) })
            })
            .collect::<Result<Vec<_>, KeyRingError>>()?;
        if !rewraps.is_empty() {
            count += vault.rewrap(&rewraps).await?;
        }
    }
}

async fn reseal_secrets(
    vault: &dyn Vault,
    from: &Wrapping,
    to: &Wrapping,
) -> Result<usize, KeyRingError> {
    let mut count = 0;
    for (name, sealed) in vault.secrets("").await? {
        if !to.is_mine(&sealed) {
            let secret = from.open_secret(&name, &sealed)?;
            vault.put_secret(&name, Some(&to.seal_secret(&name, &secret))).await?;
            count += 1;
        }
    }
    Ok(count)
}
