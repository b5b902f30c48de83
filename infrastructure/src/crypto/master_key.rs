//! The key that wraps all others. It never stands in the database, and never beside it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;
use zeroize::Zeroizing;

use super::aead::{DataKey, KEY_BYTES, fill_random};

/// Far more than a key in any notation; a longer file is none.
const FILE_BYTES_MAX: u64 = 1_024;
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// 32 random bytes. Wiped when dropped, masked in `Debug`.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

/// Names a master key without telling it: which key wrapped a row.
pub(crate) type KeyId = [u8; 4];

#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("a master key is 32 random bytes, written as 64 hexadecimal digits or as base64")]
    Malformed,
    #[error("could not read the master key from {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("could not write the master key to {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("others may read the master key in {}: run chmod 600 on it", path.display())]
    Exposed { path: PathBuf },
    #[error("{} holds no master key (32 random bytes, written as 64 hexadecimal digits or as base64)", path.display())]
    MalformedFile { path: PathBuf },
}

impl MasterKey {
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        fill_random(bytes.as_mut());
        Self(bytes)
    }

    /// # Errors
    /// [`MasterKeyError::Malformed`] where it is neither 64 hexadecimal digits nor 32 bytes in base64.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY_BYTES {
            hex::decode(text).ok()
        } else {
            BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)).ok()
        };
        let bytes = Zeroizing::new(bytes.ok_or(MasterKeyError::Malformed)?);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(MasterKeyError::Malformed);
        }
        key.copy_from_slice(&bytes);
        Ok(Self(key))
    }

    /// # Errors
    /// [`MasterKeyError::Read`], [`MasterKeyError::Exposed`] where its mode lets anybody but its owner read it,
    /// [`MasterKeyError::MalformedFile`].
    pub fn read_file(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |source| MasterKeyError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
                return Err(MasterKeyError::Exposed { path: path.to_owned() });
            }
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text).map_err(|_| MasterKeyError::MalformedFile { path: path.to_owned() })
    }

    /// Writes the key to a new file with mode 0600, on disk when this returns; its directory is made (mode 0700) where
    /// there is none.
    ///
    /// # Errors
    /// [`MasterKeyError::Write`], also where the file exists: a master key is never overwritten.
    pub fn write_new_file(&self, path: &Path) -> Result<(), MasterKeyError> {
        let write = || {
            if let Some(directory) = path.parent() {
                let mut builder = std::fs::DirBuilder::new();
                builder.recursive(true);
                #[cfg(unix)]
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
                builder.create(directory)?;
            }
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(path)?;
            let text = Zeroizing::new(hex::encode(self.0.as_ref()));
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(|source| MasterKeyError::Write { path: path.to_owned(), source })
    }

    /// The key in this file, made on first use. Whether it was made.
    ///
    /// # Errors
    /// As [`Self::read_file`] and [`Self::write_new_file`].
    pub fn read_or_generate_file(path: &Path) -> Result<(Self, bool), MasterKeyError> {
        match Self::read_file(path) {
            Err(MasterKeyError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                let key = Self::generate();
                key.write_new_file(path)?;
                Ok((key, true))
            }
            read => read.map(|key| (key, false)),
        }
    }

    /// A key for one purpose, derived from this one.
    pub(crate) fn derive(&self, purpose: &str) -> DataKey {
        let tag = self.tag(purpose);
        DataKey::from_slice(tag.as_ref()).expect("an HMAC-SHA256 has the length of a key")
    }

    /// Tells this key from others, and nothing else about it. Hexadecimal.
    pub fn fingerprint(&self) -> String {
        hex::encode(&self.tag("fingerprint").as_ref()[..16])
    }

    pub(crate) fn id(&self) -> KeyId {
        let tag = self.tag("fingerprint");
        let mut id = KeyId::default();
        id.copy_from_slice(&tag.as_ref()[..4]);
        id
    }

    fn tag(&self, purpose: &str) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref());
        hmac::sign(&key, format!("whatsapp-gateway master key: {purpose}").as_bytes())
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_from_hexadecimal_and_from_each_base64() {
        let bytes: Vec<u8> = (0..32).map(|n| n * 8 + 3).collect();
        let hex = hex::encode(&bytes);
        let fingerprint = MasterKey::parse(&hex).unwrap().fingerprint();
        for text in [
            hex.to_uppercase(),
            format!("  {hex}\n"),
            BASE64.encode(&bytes),
            BASE64.encode(&bytes).trim_end_matches('=').to_owned(),
            BASE64_URL.encode(&bytes),
        ] {
            assert_eq!(MasterKey::parse(&text).unwrap().fingerprint(), fingerprint);
        }
        for text in ["", "secret", &hex[..62], &format!("{hex}00"), &"zz".repeat(32)] {
            assert!(matches!(MasterKey::parse(text), Err(MasterKeyError::Malformed)), "{text}");
        }
    }

    #[test]
    fn the_file_is_made_once_for_its_owner_alone_and_then_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config").join("master.key");
        let (made, is_new) = MasterKey::read_or_generate_file(&path).unwrap();
        let (read, is_new_again) = MasterKey::read_or_generate_file(&path).unwrap();
        assert!(is_new && !is_new_again);
        assert_eq!(made.fingerprint(), read.fingerprint());
        assert!(matches!(made.write_new_file(&path), Err(MasterKeyError::Write { .. })));
        assert_eq!(format!("{made:?}"), "MasterKey(***)");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        MasterKey::generate().write_new_file(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(MasterKey::read_file(&path), Err(MasterKeyError::Exposed { .. })));
    }

    #[test]
    fn a_file_without_a_key_says_what_belongs_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        std::fs::File::create(&path).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let error = MasterKey::read_file(&path).unwrap_err();
        assert!(error.to_string().contains("64 hexadecimal digits"), "{error}");
    }
}
