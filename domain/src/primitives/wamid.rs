//! WhatsApp's message ids.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// WhatsApp's own id of a message (`wamid.…`). It contains the counterpart's number or user id, base64-coded, so it is
/// personal data and prints masked in `Debug`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(description = "WhatsApp's own id of a message.")]
#[schemars(extend("minLength" = 1, "maxLength" = 512))]
pub struct Wamid(String);

impl Wamid {
    /// # Errors
    /// [`WamidError`] where it is empty, longer than 512 characters or holds control characters. Nothing else is
    /// known of its form.
    pub fn parse(text: &str) -> Result<Self, WamidError> {
        let is_one = !text.is_empty() && text.len() <= 512 && !text.chars().any(char::is_control);
        if is_one { Ok(Self(text.to_owned())) } else { Err(WamidError) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Wamid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wamid(***)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a WhatsApp message id (wamid.…, at most 512 characters)")]
pub struct WamidError;
