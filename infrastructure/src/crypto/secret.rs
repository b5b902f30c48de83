//! Credentials in memory: tokens, app secrets, PINs.

use zeroize::Zeroizing;

/// A credential. Prints as `***`, is not serialisable, and is wiped from memory when dropped. [`Self::expose`] is the
/// one way to its text, so that every use can be found by name.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: for a header or a key, never for a log, an error or a URL of ours.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is `other`, in time that does not depend on where they differ.
    pub fn matches(&self, other: &str) -> bool {
        // Equal lengths are compared bit by bit; that lengths differ is no secret.
        let (a, b) = (self.0.as_bytes(), other.as_bytes());
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .fold(0_u8, |difference, (a, b)| difference | std::hint::black_box(a ^ b))
                == 0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_masked_and_compares_by_content() {
        let secret = Secret::new("EAAG-token");
        assert_eq!(format!("{secret:?}"), "***");
        assert!(secret.matches("EAAG-token"));
        assert!(!secret.matches("EAAG-tokem") && !secret.matches("EAAG") && !secret.matches(""));
    }
}
