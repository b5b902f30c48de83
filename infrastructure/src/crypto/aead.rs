//! AES-256-GCM with random nonces, in one byte form: `version ‖ nonce ‖ ciphertext ‖ tag`.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

pub(crate) const KEY_BYTES: usize = 32;
/// Raised when the byte form changes; old ones stay readable.
const VERSION: u8 = 1;

/// Sealed data that does not open: another key, another place, or changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed data does not open: it was changed, moved, or sealed with another key")]
pub struct Unopenable;

/// Fills `bytes` from the system's source of randomness.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    // Without it there is no key, no nonce and no TLS either: nothing could go on.
    SystemRandom::new().fill(bytes).expect("the system has a source of randomness");
}

/// 32 bytes that seal. Wiped when dropped, masked in `Debug`.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    pub(crate) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        fill_random(bytes.as_mut());
        Self(bytes)
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, Unopenable> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(Unopenable);
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Seals `plain` for the place that `place` names: it opens nowhere else.
    pub fn seal(&self, place: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce);
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let body = 1 + NONCE_LEN;
        let tag = self
            .cipher()
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place),
                &mut sealed[body..],
            )
            .expect("what fits into memory is far below the cipher's limit of 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// What [`Self::seal`] sealed for this place.
    ///
    /// # Errors
    /// [`Unopenable`], whatever the reason.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let (&VERSION, rest) = sealed.split_first().ok_or(Unopenable)? else {
            return Err(Unopenable);
        };
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Unopenable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopenable)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .cipher()
            .open_in_place(nonce, Aad::from(place), &mut body)
            .map_err(|_| Unopenable)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    fn cipher(&self) -> LessSafeKey {
        let key =
            UnboundKey::new(&AES_256_GCM, self.bytes()).expect("the key has the right length");
        LessSafeKey::new(key)
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_in_its_place_with_its_key_and_nowhere_else() {
        let key = DataKey::random();
        let sealed = key.seal(b"here", b"+447700900123");
        assert_eq!(key.open(b"here", &sealed).unwrap().as_slice(), b"+447700900123");
        assert_eq!(key.open(b"there", &sealed), Err(Unopenable));
        assert_eq!(DataKey::random().open(b"here", &sealed), Err(Unopenable));
        assert_ne!(sealed, key.seal(b"here", b"+447700900123"));
        assert_eq!(format!("{key:?}"), "DataKey(***)");
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let key = DataKey::random();
        let sealed = key.seal(b"", b"Ana");
        for n in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[n] ^= 1;
            assert_eq!(key.open(b"", &changed), Err(Unopenable), "byte {n}");
            assert_eq!(key.open(b"", &sealed[..n]), Err(Unopenable), "{n} bytes");
        }
    }
}
