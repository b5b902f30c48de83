//! What the sandbox is told about a number when it is provisioned.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::address::digits_of;
use super::behaviour::nearest;
use super::fate::hash;

/// Most messages per second that a number may have; Meta's highest level is 1000.
pub const MESSAGES_PER_SECOND_MAX: u32 = 1_000_000;
/// What a number has that is also used in the WhatsApp Business app.
const BUSINESS_APP_PER_SECOND: u32 = 20;
const ID_CHARS_MAX: usize = 32;
const SECRET_CHARS_MAX: usize = 1024;

/// Whether submitted templates wait for a verdict of the controls or are approved at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemplateVerdict {
    #[default]
    Manual,
    Approve,
}

/// A business number, its account and the app that sends for it. Provisioning the same `phone_number_id` again replaces
/// these; windows, templates and what is under way stay.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NumberSpec {
    pub phone_number_id: String,
    pub waba_id: String,
    /// Formatted, `+1 555-010-0199`; made from the id where absent.
    #[serde(default)]
    pub display_phone_number: String,
    pub access_token: String,
    /// Signs webhooks.
    pub app_secret: String,
    /// Where webhooks go; none go out without it.
    #[serde(default)]
    pub webhook_url: Option<String>,
    #[serde(default)]
    pub verify_token: Option<String>,
    /// Made from the app secret where absent.
    #[serde(default)]
    pub app_id: String,
    #[serde(default = "verified_name")]
    pub verified_name: String,
    #[serde(default = "messages_per_second")]
    pub messages_per_second: u32,
    /// `TIER_250` … `TIER_UNLIMITED`: reported, and counted against in the statistics; Meta documents no error for it.
    #[serde(default = "messaging_limit")]
    pub messaging_limit: String,
    #[serde(default)]
    pub template_verdict: TemplateVerdict,
    /// Also used in the WhatsApp Business app: `is_on_biz_app`, and at most 20 messages per second.
    #[serde(default)]
    pub on_business_app: bool,
}

fn verified_name() -> String {
    "Sandbox".to_owned()
}

fn messages_per_second() -> u32 {
    80
}

fn messaging_limit() -> String {
    "TIER_UNLIMITED".to_owned()
}

/// Ids only: the token and the secrets are what somebody signs in with.
impl std::fmt::Debug for NumberSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NumberSpec")
            .field("phone_number_id", &self.phone_number_id)
            .field("waba_id", &self.waba_id)
            .finish_non_exhaustive()
    }
}

/// Why a number was not provisioned; each text names the field and what would be right.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NumberError {
    #[error("unknown key `{key}`{}", .nearest.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey { key: String, nearest: Option<String> },
    #[error("{field}: expected {expected}")]
    Invalid { field: &'static str, expected: String },
    #[error("{0}")]
    Malformed(String),
    #[error("the sandbox could not write its state")]
    State(#[source] Arc<std::io::Error>),
}

const KEYS: &[&str] = &[
    "phoneNumberId",
    "wabaId",
    "displayPhoneNumber",
    "accessToken",
    "appSecret",
    "webhookUrl",
    "verifyToken",
    "appId",
    "verifiedName",
    "messagesPerSecond",
    "messagingLimit",
    "templateVerdict",
    "onBusinessApp",
];

impl NumberSpec {
    /// A number without webhooks, at the limits of a new account.
    pub fn new(
        phone_number_id: impl Into<String>,
        waba_id: impl Into<String>,
        access_token: impl Into<String>,
        app_secret: impl Into<String>,
    ) -> Self {
        Self {
            phone_number_id: phone_number_id.into(),
            waba_id: waba_id.into(),
            display_phone_number: String::new(),
            access_token: access_token.into(),
            app_secret: app_secret.into(),
            webhook_url: None,
            verify_token: None,
            app_id: String::new(),
            verified_name: verified_name(),
            messages_per_second: messages_per_second(),
            messaging_limit: messaging_limit(),
            template_verdict: TemplateVerdict::Manual,
            on_business_app: false,
        }
    }

    /// Reads the JSON form of `POST /_sandbox/numbers`.
    ///
    /// # Errors
    /// [`NumberError`], for unknown keys and values that cannot be right. The text quotes no secret.
    pub fn from_json(bytes: &[u8]) -> Result<Self, NumberError> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|_| NumberError::Malformed("not JSON".to_owned()))?;
        let Value::Object(keys) = &value else {
            return Err(NumberError::Malformed("expected a JSON object".to_owned()));
        };
        if let Some(odd) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let nearest = nearest(odd, KEYS.iter().copied()).map(str::to_owned);
            return Err(NumberError::UnknownKey { key: odd.clone(), nearest });
        }
        let spec: Self = serde_json::from_value(value)
            .map_err(|error| NumberError::Malformed(crate::cloud_api::wire::shape_of(&error)))?;
        spec.completed()
    }

    /// Checks the values and fills in what was left out.
    ///
    /// # Errors
    /// [`NumberError::Invalid`] with the field.
    pub(crate) fn completed(mut self) -> Result<Self, NumberError> {
        let is_id = |text: &str| {
            (1..=ID_CHARS_MAX).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let invalid = |field, expected: &str| {
            Err(NumberError::Invalid { field, expected: expected.to_owned() })
        };
        if !is_id(&self.phone_number_id) {
            return invalid("phoneNumberId", "1 to 32 digits or letters");
        }
        if !is_id(&self.waba_id) {
            return invalid("wabaId", "1 to 32 digits or letters");
        }
        if self.phone_number_id == self.waba_id {
            return invalid("wabaId", "another id than phoneNumberId");
        }
        for (field, text) in [("accessToken", &self.access_token), ("appSecret", &self.app_secret)]
        {
            let is_one = (1..=SECRET_CHARS_MAX).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic());
            if !is_one {
                return invalid(field, "1 to 1024 visible ASCII characters");
            }
        }
        if let Some(url) = &self.webhook_url {
            let web = url::Url::parse(url)
                .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
            if !web {
                return invalid("webhookUrl", "a URL with http or https");
            }
            if self.verify_token.is_none() {
                return invalid("verifyToken", "a token, because webhookUrl is given");
            }
        }
        if self.on_business_app {
            self.messages_per_second = self.messages_per_second.min(BUSINESS_APP_PER_SECOND);
        }
        if !(1..=MESSAGES_PER_SECOND_MAX).contains(&self.messages_per_second) {
            return invalid("messagesPerSecond", "1 to 1000000");
        }
        let tiers = [
            "TIER_50",
            "TIER_250",
            "TIER_1K",
            "TIER_2K",
            "TIER_10K",
            "TIER_100K",
            "TIER_UNLIMITED",
            "TIER_NOT_SET",
        ];
        if !tiers.contains(&self.messaging_limit.as_str()) {
            return Err(NumberError::Invalid {
                field: "messagingLimit",
                expected: format!("one of {}", tiers.join(", ")),
            });
        }
        if self.display_phone_number.is_empty() {
            let made = hash(&[b"display", self.phone_number_id.as_bytes()]) % 10_000;
            self.display_phone_number = format!("+1 555-010-{made:04}");
        } else if !(7..=15).contains(&digits_of(&self.display_phone_number).len()) {
            return invalid("displayPhoneNumber", "+ and 7 to 15 digits");
        }
        if self.app_id.is_empty() {
            let made = hash(&[b"app", self.app_secret.as_bytes()]) % 900_000_000_000_000;
            self.app_id = (made + 100_000_000_000_000).to_string();
        } else if !is_id(&self.app_id) {
            return invalid("appId", "1 to 32 digits or letters");
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_interface() {
        let spec = NumberSpec::from_json(
            br#"{"phoneNumberId":"402","wabaId":"301","accessToken":"t","appSecret":"s"}"#,
        )
        .expect("valid");
        assert_eq!(spec.messages_per_second, 80);
        assert_eq!(spec.messaging_limit, "TIER_UNLIMITED");
        assert_eq!(spec.template_verdict, TemplateVerdict::Manual);
        assert!(spec.display_phone_number.starts_with("+1 555-010-"));
    }

    #[test]
    fn wrong_fields_are_named_and_secrets_are_not_quoted() {
        let refused =
            |text: &str| NumberSpec::from_json(text.as_bytes()).expect_err("wrong").to_string();
        let unknown = refused(r#"{"phoneNumberID":"402"}"#);
        assert_eq!(unknown, "unknown key `phoneNumberID`, did you mean `phoneNumberId`?");
        let url = r#"{"phoneNumberId":"402","wabaId":"301","accessToken":"hush","appSecret":"hush","webhookUrl":"x"}"#;
        assert_eq!(refused(url), "webhookUrl: expected a URL with http or https");
        let kind =
            r#"{"phoneNumberId":"402","wabaId":"301","accessToken":["hush"],"appSecret":"s"}"#;
        assert!(!refused(kind).contains("hush"));
        let spec = NumberSpec::new("402", "301", "hush", "hush");
        assert!(!format!("{spec:?}").contains("hush"));
    }
}
