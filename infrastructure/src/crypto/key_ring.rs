//! The keys in use: data keys by subject, credentials by name, and the key of all look-ups.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use domain::port::{LogError, NewDataKey, SecretChange};
use lru::LruCache;
use ring::hmac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::aead::{DataKey, Unopenable};
use super::master_key::{KeyId, MasterKey};
use super::secret::Secret;
use crate::event_store::{DataKeyRow, Meta, Vault};

/// Unwrapped data keys held in memory: about 4 MB. The people of messages that are on their way are far fewer; reading and
/// unwrapping one again takes some microseconds.
const DATA_KEYS_MAX: NonZeroUsize = NonZeroUsize::new(30_000).unwrap();
/// Opened credentials held in memory.
const SECRETS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// How long a credential may be used after another node has replaced it.
const SECRET_FRESH: Duration = Duration::from_secs(10);
/// Subjects asked of the vault at a time.
const SUBJECTS_PER_READ: usize = 1_000;
const DESTROYED_PER_READ: usize = 1_000;
/// Clocks of nodes may differ by this much when destroyed keys are looked for.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(10);
/// Of a look-up's HMAC-SHA256, what is kept: collisions stay out of reach, rows stay small.
const LOOKUP_BYTES: usize = 16;
/// Where the store keeps [`Record`].
const META_NAME: &str = "key_ring";

/// What the store knows of its master key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Fingerprint of the master key that opens this store.
    pub master: String,
    /// The look-up key, wrapped, in base64. It outlives the master key: hashes in the log hang on it.
    pub lookup: String,
    /// Fingerprint of the master key that a rotation is on its way to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotating_to: Option<String>,
}

/// Why the key ring does not open, or does not give a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    #[error(
        "this store was sealed with another master key (fingerprint {expected}, not {found}): start with that one; to \
         change it, run `keys master rotate` with both"
    )]
    WrongMasterKey { expected: String, found: String },
    #[error(
        "a rotation of the master key was interrupted: run `keys master rotate` again with both keys"
    )]
    RotationUnfinished,
    #[error(
        "the log has events, but nothing says which master key sealed them: restore the store as a whole"
    )]
    Uninitialised,
    #[error("{0}: the key ring was changed from outside, or a gateway ran with another master key")]
    Corrupt(String),
    #[error("the key ring is unavailable")]
    Unavailable(#[source] LogError),
}

impl From<LogError> for KeyRingError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<KeyRingError> for LogError {
    fn from(error: KeyRingError) -> Self {
        match error {
            KeyRingError::Unavailable(error) => error,
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// What there is to seal and open a subject's personal data with.
#[derive(Clone, Debug)]
pub enum SubjectKey {
    Live(DataKey),
    /// For good. What it sealed reads as erased, and nothing new is sealed for this subject.
    Destroyed,
    /// None was made yet.
    Missing,
}

/// Clones share the caches.
#[derive(Clone)]
pub struct KeyRing(Arc<Inner>);

struct Inner {
    vault: Arc<dyn Vault>,
    wrapping: Wrapping,
    lookup: hmac::Key,
    data_keys: Mutex<LruCache<Uuid, CachedKey>>,
    secrets: Mutex<LruCache<String, CachedSecret>>,
    /// Counts invalidations, so that what was read before one is not cached after it.
    secrets_epoch: AtomicU64,
}

enum CachedKey {
    Live(DataKey),
    Destroyed,
}

struct CachedSecret {
    secret: Secret,
    read_at: Instant,
}

/// What one master key does.
pub(super) struct Wrapping {
    id: KeyId,
    data_keys: DataKey,
    secrets: DataKey,
    lookup: DataKey,
}

impl Wrapping {
    pub fn new(master: &MasterKey) -> Self {
        Self {
            id: master.id(),
            data_keys: master.derive("wrap data keys"),
            secrets: master.derive("seal credentials"),
            lookup: master.derive("wrap the look-up key"),
        }
    }

    pub fn wrap(&self, subject: Uuid, key: &DataKey) -> Vec<u8> {
        self.labelled(self.data_keys.seal(subject.as_bytes(), key.bytes()))
    }

    pub fn unwrap(&self, subject: Uuid, wrapped: &[u8]) -> Result<DataKey, KeyRingError> {
        self.unlabelled(wrapped)
            .and_then(|sealed| self.data_keys.open(subject.as_bytes(), sealed))
            .and_then(|bytes| DataKey::from_slice(&bytes))
            .map_err(|_| {
                KeyRingError::Corrupt(format!("the data key of {subject} does not unwrap"))
            })
    }

    pub fn seal_secret(&self, name: &str, secret: &Secret) -> Vec<u8> {
        self.labelled(self.secrets.seal(name.as_bytes(), secret.expose().as_bytes()))
    }

    pub fn open_secret(&self, name: &str, sealed: &[u8]) -> Result<Secret, KeyRingError> {
        self.unlabelled(sealed)
            .and_then(|sealed| self.secrets.open(name.as_bytes(), sealed))
            .and_then(|bytes| std::str::from_utf8(&bytes).map(Secret::new).map_err(|_| Unopenable))
            .map_err(|_| KeyRingError::Corrupt(format!("the credential {name} does not open")))
    }

    pub fn wrap_lookup(&self, key: &DataKey) -> String {
        STANDARD.encode(self.labelled(self.lookup.seal(b"lookup", key.bytes())))
    }

    pub fn unwrap_lookup(&self, text: &str) -> Result<DataKey, KeyRingError> {
        STANDARD
            .decode(text)
            .map_err(|_| Unopenable)
            .and_then(|wrapped| self.lookup.open(b"lookup", self.unlabelled(&wrapped)?))
            .and_then(|bytes| DataKey::from_slice(&bytes))
            .map_err(|_| KeyRingError::Corrupt("the look-up key does not unwrap".to_owned()))
    }

    /// Whether this master key wrapped it.
    pub fn is_mine(&self, wrapped: &[u8]) -> bool {
        wrapped.starts_with(&self.id)
    }

    fn labelled(&self, sealed: Vec<u8>) -> Vec<u8> {
        [self.id.as_slice(), &sealed].concat()
    }

    fn unlabelled<'a>(&self, wrapped: &'a [u8]) -> Result<&'a [u8], Unopenable> {
        wrapped.strip_prefix(self.id.as_slice()).ok_or(Unopenable)
    }
}

/// The record as it stands, and its text, for comparing when it is replaced.
pub(super) async fn read_record(meta: &dyn Meta) -> Result<Option<(Record, String)>, KeyRingError> {
    let Some(text) = meta.get(META_NAME).await? else { return Ok(None) };
    let record = serde_json::from_str(&text).map_err(|_| {
        KeyRingError::Corrupt("the record of the master key is unreadable".to_owned())
    })?;
    Ok(Some((record, text)))
}

/// Whether `expected` still stood.
pub(super) async fn replace_record(
    meta: &dyn Meta,
    expected: Option<&str>,
    record: &Record,
) -> Result<bool, KeyRingError> {
    let text =
        serde_json::to_string(record).map_err(|error| KeyRingError::Corrupt(error.to_string()))?;
    Ok(meta.compare_and_set(META_NAME, expected, &text).await?)
}

impl KeyRing {
    /// Opens the ring of this store. A store that was never used takes `master` as its own; one that holds nothing yet
    /// (`log_is_empty`, no key and no credential) takes another instead.
    ///
    /// # Errors
    /// [`KeyRingError::WrongMasterKey`], [`KeyRingError::RotationUnfinished`], [`KeyRingError::Uninitialised`] where the
    /// log has events and no master key is on record, and what the store's failures become.
    pub async fn open(
        master: &MasterKey,
        vault: Arc<dyn Vault>,
        meta: &dyn Meta,
        log_is_empty: bool,
    ) -> Result<Self, KeyRingError> {
        let wrapping = Wrapping::new(master);
        let lookup = loop {
            let standing = read_record(meta).await?;
            match &standing {
                Some((record, _)) if record.rotating_to.is_some() => {
                    return Err(KeyRingError::RotationUnfinished);
                }
                Some((record, _)) if record.master == master.fingerprint() => {
                    break wrapping.unwrap_lookup(&record.lookup)?;
                }
                Some((record, _)) if !(log_is_empty && is_unused(vault.as_ref()).await?) => {
                    return Err(KeyRingError::WrongMasterKey {
                        expected: record.master.clone(),
                        found: master.fingerprint(),
                    });
                }
                None if !log_is_empty => return Err(KeyRingError::Uninitialised),
                Some(_) | None => {}
            }
            let lookup = DataKey::random();
            let record = Record {
                master: master.fingerprint(),
                lookup: wrapping.wrap_lookup(&lookup),
                rotating_to: None,
            };
            let expected = standing.as_ref().map(|(_, text)| text.as_str());
            // Of several nodes that start at once, one makes the key; the others read it in the next round.
            if replace_record(meta, expected, &record).await? {
                break lookup;
            }
        };
        Ok(Self(Arc::new(Inner {
            vault,
            wrapping,
            lookup: hmac::Key::new(hmac::HMAC_SHA256, lookup.bytes()),
            data_keys: Mutex::new(LruCache::new(DATA_KEYS_MAX)),
            secrets: Mutex::new(LruCache::new(SECRETS_MAX)),
            secrets_epoch: AtomicU64::new(0),
        })))
    }

    /// The keys of these subjects, each once; all of them are in the answer.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`]; [`KeyRingError::Corrupt`] where one does not unwrap.
    pub async fn subject_keys(
        &self,
        subjects: &[Uuid],
    ) -> Result<HashMap<Uuid, SubjectKey>, KeyRingError> {
        let mut keys = HashMap::with_capacity(subjects.len());
        let mut unknown = Vec::new();
        {
            let mut cache = self.data_keys();
            for &subject in subjects {
                if keys.contains_key(&subject) {
                    continue;
                }
                let key = match cache.get(&subject) {
                    Some(CachedKey::Live(key)) => SubjectKey::Live(key.clone()),
                    Some(CachedKey::Destroyed) => SubjectKey::Destroyed,
                    None => {
                        unknown.push(subject);
                        SubjectKey::Missing
                    }
                };
                keys.insert(subject, key);
            }
        }
        for unknown in unknown.chunks(SUBJECTS_PER_READ) {
            for (subject, row) in self.0.vault.data_keys(unknown).await? {
                keys.insert(subject, self.take_in(subject, row)?);
            }
        }
        Ok(keys)
    }

    /// One subject's key; see [`Self::subject_keys`].
    ///
    /// # Errors
    /// As there.
    pub async fn subject_key(&self, subject: Uuid) -> Result<SubjectKey, KeyRingError> {
        let keys = self.subject_keys(&[subject]).await?;
        Ok(keys.into_values().next().unwrap_or(SubjectKey::Missing))
    }

    /// A fresh key and the row that records it. It counts once that row is written, and only if no other was first.
    pub fn new_key(&self, subject: Uuid) -> (DataKey, NewDataKey) {
        let key = DataKey::random();
        let wrapped = self.0.wrapping.wrap(subject, &key);
        (key, NewDataKey { subject, wrapped })
    }

    /// The subject's key, made where there was none: for what is sealed elsewhere than in the log. Never `Missing`.
    ///
    /// # Errors
    /// As [`Self::subject_keys`].
    pub async fn ensure_key(&self, subject: Uuid) -> Result<SubjectKey, KeyRingError> {
        match self.subject_key(subject).await? {
            SubjectKey::Missing => {
                let (_, row) = self.new_key(subject);
                let standing = self.0.vault.put_data_key(&row).await?;
                self.take_in(subject, standing)
            }
            key => Ok(key),
        }
    }

    /// Destroys keys outside of an append, for good.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`].
    pub async fn destroy_keys(&self, subjects: &[Uuid]) -> Result<(), KeyRingError> {
        self.0.vault.destroy_data_keys(subjects).await?;
        subjects.iter().for_each(|subject| self.mark_destroyed(*subject));
        Ok(())
    }

    /// The key of a day of the webhook journal, made when the day's first entry is sealed.
    ///
    /// # Errors
    /// As [`Self::subject_keys`].
    pub async fn day_key(&self, day: NaiveDate) -> Result<SubjectKey, KeyRingError> {
        self.ensure_key(day_subject(day)).await
    }

    /// Destroys the keys of days of the webhook journal, when their retention has passed.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`].
    pub async fn destroy_day_keys(&self, days: &[NaiveDate]) -> Result<(), KeyRingError> {
        let subjects: Vec<Uuid> = days.iter().copied().map(day_subject).collect();
        self.destroy_keys(&subjects).await
    }

    /// Lets go of a subject's key in memory; what the store says is asked anew.
    pub(crate) fn forget(&self, subject: Uuid) {
        self.data_keys().pop(&subject);
    }

    /// Makes this process forget what other nodes destroyed since `since`. Returns these subjects, and where to go on;
    /// some come again.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`].
    pub async fn forget_destroyed(
        &self,
        since: DateTime<Utc>,
    ) -> Result<(Vec<Uuid>, DateTime<Utc>), KeyRingError> {
        let mut subjects = Vec::new();
        let mut last = since;
        let mut from = since - CLOCK_SKEW;
        let mut limit = DESTROYED_PER_READ;
        loop {
            let page = self.0.vault.destroyed_since(from, limit).await?;
            for (subject, at) in &page {
                self.mark_destroyed(*subject);
                subjects.push(*subject);
                last = last.max(*at);
            }
            match page.last() {
                Some((_, at)) if page.len() >= limit => {
                    // More of one moment than a page holds: a larger one gets beyond it.
                    limit = if *at == from { limit * 2 } else { DESTROYED_PER_READ };
                    from = *at;
                }
                _ => return Ok((subjects, last)),
            }
        }
    }

    /// Takes a key into memory whose row is on disk.
    pub(crate) fn admit(&self, subject: Uuid, key: DataKey) {
        let mut cache = self.data_keys();
        // Destroyed is for good, whatever was read before.
        if !matches!(cache.peek(&subject), Some(CachedKey::Destroyed)) {
            cache.put(subject, CachedKey::Live(key));
        }
    }

    pub(crate) fn mark_destroyed(&self, subject: Uuid) {
        self.data_keys().put(subject, CachedKey::Destroyed);
    }

    /// Whether the subject's key is at hand in memory, and was not destroyed as far as this process knows.
    pub(crate) fn holds(&self, subject: Uuid) -> bool {
        matches!(self.data_keys().get(&subject), Some(CachedKey::Live(_)))
    }

    fn take_in(&self, subject: Uuid, row: DataKeyRow) -> Result<SubjectKey, KeyRingError> {
        Ok(match row {
            DataKeyRow::Wrapped(wrapped) => {
                let key = self.0.wrapping.unwrap(subject, &wrapped)?;
                self.admit(subject, key.clone());
                SubjectKey::Live(key)
            }
            DataKeyRow::Destroyed => {
                self.mark_destroyed(subject);
                SubjectKey::Destroyed
            }
        })
    }

    /// What stands for a value in look-ups: who does not have the key cannot guess the value from it. Equal only for
    /// equal scope, kind and value.
    pub fn lookup_hash(&self, scope: Uuid, kind: &str, value: &str) -> Vec<u8> {
        let parts = [scope.as_bytes().as_slice(), kind.as_bytes(), value.as_bytes()];
        self.keyed_hash("identity", &parts)[..LOOKUP_BYTES].to_vec()
    }

    /// A keyed hash for one purpose over parts, whose borders count.
    pub fn keyed_hash(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0.lookup);
        for part in [purpose.as_bytes()].iter().chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }

    /// Tells whether two credentials are the same one, and nothing else: short and hexadecimal.
    pub fn fingerprint(&self, value: &str) -> String {
        hex::encode(&self.keyed_hash("credential", &[value.as_bytes()])[..8])
    }

    /// A credential as the store keeps it; it opens under this name only.
    pub fn seal_secret(&self, name: &str, secret: &Secret) -> Vec<u8> {
        self.0.wrapping.seal_secret(name, secret)
    }

    /// # Errors
    /// [`KeyRingError::Corrupt`] where it does not open.
    pub fn open_secret(&self, name: &str, sealed: &[u8]) -> Result<Secret, KeyRingError> {
        self.0.wrapping.open_secret(name, sealed)
    }

    /// The change that puts a credential (`None`: removes it) in the transaction of a command. Whoever appends it calls
    /// [`Self::forget_secret`] afterwards.
    pub fn secret_change(&self, name: &str, secret: Option<&Secret>) -> SecretChange {
        SecretChange {
            name: name.to_owned(),
            sealed: secret.map(|secret| self.seal_secret(name, secret)),
        }
    }

    /// The credential of this name. One that another node has replaced may be returned for ten more seconds.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`]; [`KeyRingError::Corrupt`] where it does not open.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>, KeyRingError> {
        if let Some(cached) = self.secrets().get(name)
            && cached.read_at.elapsed() < SECRET_FRESH
        {
            return Ok(Some(cached.secret.clone()));
        }
        let (epoch, read_at) = (self.0.secrets_epoch.load(Ordering::SeqCst), Instant::now());
        let Some(sealed) = self.0.vault.secret(name).await? else {
            self.secrets().pop(name);
            return Ok(None);
        };
        let secret = self.open_secret(name, &sealed)?;
        let mut cache = self.secrets();
        if self.0.secrets_epoch.load(Ordering::SeqCst) == epoch {
            cache.put(name.to_owned(), CachedSecret { secret: secret.clone(), read_at });
        }
        Ok(Some(secret))
    }

    /// The credential as the store has it at this moment, and what [`Self::swap_secret`] replaces it by.
    ///
    /// # Errors
    /// As [`Self::secret`].
    pub async fn secret_now(&self, name: &str) -> Result<Option<(Secret, Vec<u8>)>, KeyRingError> {
        let Some(sealed) = self.0.vault.secret(name).await? else { return Ok(None) };
        Ok(Some((self.open_secret(name, &sealed)?, sealed)))
    }

    /// Replaces a credential, or removes it (`None`), if nobody did since it was read. Whether that was so.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`].
    pub async fn swap_secret(
        &self,
        name: &str,
        read: &[u8],
        secret: Option<&Secret>,
    ) -> Result<bool, KeyRingError> {
        let change = self.secret_change(name, secret);
        let swapped = self.0.vault.swap_secret(name, read, change.sealed.as_deref()).await;
        self.forget_secret(name);
        Ok(swapped?)
    }

    /// Puts a credential (`None`: removes it) outside of an append.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`].
    pub async fn put_secret(
        &self,
        name: &str,
        secret: Option<&Secret>,
    ) -> Result<(), KeyRingError> {
        let change = self.secret_change(name, secret);
        let put = self.0.vault.put_secret(name, change.sealed.as_deref()).await;
        self.forget_secret(name);
        Ok(put?)
    }

    /// Lets go of a credential in memory: it was replaced.
    pub fn forget_secret(&self, name: &str) {
        let mut cache = self.secrets();
        self.0.secrets_epoch.fetch_add(1, Ordering::SeqCst);
        cache.pop(name);
    }

    fn data_keys(&self) -> MutexGuard<'_, LruCache<Uuid, CachedKey>> {
        self.0.data_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn secrets(&self) -> MutexGuard<'_, LruCache<String, CachedSecret>> {
        self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing(***)")
    }
}

/// Nothing is sealed with the master key yet.
async fn is_unused(vault: &dyn Vault) -> Result<bool, KeyRingError> {
    Ok(vault.data_keys_after(None, 1).await?.is_empty() && vault.secrets("").await?.is_empty())
}

/// The subject that a day's journal entries are sealed for: `journ`, as a UUIDv8, and the day's number.
fn day_subject(day: NaiveDate) -> Uuid {
    const JOURNAL: u128 = 0x6a6f_7572_6e00_8000_8000_0000_0000_0000;
    Uuid::from_u128(JOURNAL | u128::from(day.num_days_from_ce().unsigned_abs()))
}
