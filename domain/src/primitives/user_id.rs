//! WhatsApp's business-scoped user ids.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A business-scoped user id (BSUID), `GB.7204418839015526601`: one person within one business portfolio. Used whole
/// and case-sensitive; never a phone number. Prints masked in `Debug`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(description = "WhatsApp's id of a person within one business portfolio (BSUID).")]
#[schemars(extend("pattern" = r"^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$"))]
pub struct UserId(String);

impl UserId {
    /// # Errors
    /// [`UserIdError`] where it is not `CC.` and 1 to 128 letters or digits, or a parent id (`CC.ENT.…`).
    pub fn parse(text: &str) -> Result<Self, UserIdError> {
        let (country, rest) = text.split_once('.').ok_or(UserIdError)?;
        let local = rest.strip_prefix("ENT.").unwrap_or(rest);
        let country_is_one = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
        let local_is_one =
            (1..=128).contains(&local.len()) && local.bytes().all(|b| b.is_ascii_alphanumeric());
        if country_is_one && local_is_one { Ok(Self(text.to_owned())) } else { Err(UserIdError) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The person's country, ISO 3166 alpha-2: what is known of where they are when the number is hidden.
    pub fn country(&self) -> &str {
        &self.0[..2]
    }
}

impl std::fmt::Debug for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserId(***)")
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a WhatsApp user id, like GB.7204418839015526601")]
pub struct UserIdError;
