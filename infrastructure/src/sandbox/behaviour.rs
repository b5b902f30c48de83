//! How the look-alike behaves: delays, rates of every kind of trouble, and what people do with a message. Read as JSON by
//! the controls and as TOML by the stand-alone binary, under the same names. An unknown key is refused and the nearest
//! known one named.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::fate::Fate;

/// Longest delay that may be ordered, 24 h in milliseconds.
pub const DELAY_MS_MAX: u64 = 86_400_000;
/// Most statuses that Meta puts into one webhook.
pub const STATUSES_PER_WEBHOOK_MAX: usize = 1000;

/// Stands for no number in a list that may not become empty.
pub(crate) const NOBODY: &str = "nobody";

/// A span of milliseconds; each use draws from `min..=max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    #[serde(default)]
    pub min: u64,
    #[serde(default)]
    pub max: u64,
}

impl Span {
    /// Always `ms`.
    pub fn exactly(ms: u64) -> Self {
        Self { min: ms, max: ms }
    }

    pub(crate) fn draw(self, fate: &mut Fate) -> u64 {
        fate.between(self.min, self.max)
    }
}

/// What the sandbox does with the calls it gets. Every rate is a share between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Behaviour {
    /// Time from the arrival of a call to its answer. What the call does, it does on arrival.
    pub latency_ms: Span,
    /// Time before each status, counted from the one before it.
    pub status_delay_ms: Span,
    /// Sends that reach the phone. 1 by default.
    pub delivered_rate: f64,
    /// Of the delivered ones, those that are read.
    pub read_rate: f64,
    /// Of the read ones, those for which Meta never reports `delivered`, because the chat was open.
    pub delivered_skipped_rate: f64,
    /// Of the delivered ones, those that the person answers with a text.
    pub reply_rate: f64,
    /// Of these answers, those that name the message they answer. 1 by default.
    pub reply_quoted_rate: f64,
    /// Meta's codes and the share of sends that meet each: in the HTTP answer or as a `failed` status, by the code.
    #[serde(deserialize_with = "by_code")]
    pub error_rates: BTreeMap<u32, f64>,
    /// The send counts, its statuses come, and the response never does.
    pub accepted_but_no_answer: f64,
    /// HTTP 500, and the send counts.
    pub http500_accepted: f64,
    /// HTTP 500, and the send does not count.
    pub http500_refused: f64,
    /// Template sends answered `held_for_quality_assessment`.
    pub held_rate: f64,
    /// Of the held ones, those that are dropped later (`failed` 132015); the others go out.
    pub held_dropped_rate: f64,
    /// Webhooks that arrive twice although the first was answered 200.
    #[serde(deserialize_with = "share")]
    pub duplicate_webhooks: f64,
    /// Messages whose statuses arrive in a drawn order, and webhooks that overtake others.
    #[serde(deserialize_with = "share")]
    pub shuffle_webhooks: f64,
    /// Statuses put into one webhook at most, 1 to 1000.
    pub statuses_per_webhook: usize,
    /// Share of delivery attempts that never leave (`true` is 1): they count as not answered and are tried again.
    #[serde(deserialize_with = "share")]
    pub webhook_outage: f64,
    /// Webhooks first sent with a wrong signature; the right one follows as a retry.
    pub wrong_signature_rate: f64,
    /// Status webhooks whose timestamp is in milliseconds.
    pub milliseconds_rate: f64,
    /// Webhooks with a field that nobody knows.
    pub unknown_field_rate: f64,
    /// `wa_id` of Brazilian and Mexican numbers differs from the number dialled, as Meta's may.
    pub rewrite_wa_ids: bool,
    /// Numbers (digits, a `+` is ignored) that are not on WhatsApp: `failed` 131026.
    pub unreachable: Vec<String>,
    /// Where not empty, the number is a test number that reaches only these; others are refused with 131030. Whoever is
    /// forgotten goes from the list, and where they were the last one, `nobody` is left.
    pub allowed_recipients: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency_ms: Span::default(),
            status_delay_ms: Span::default(),
            delivered_rate: 1.0,
            read_rate: 0.0,
            delivered_skipped_rate: 0.0,
            reply_rate: 0.0,
            reply_quoted_rate: 1.0,
            error_rates: BTreeMap::new(),
            accepted_but_no_answer: 0.0,
            http500_accepted: 0.0,
            http500_refused: 0.0,
            held_rate: 0.0,
            held_dropped_rate: 0.0,
            duplicate_webhooks: 0.0,
            shuffle_webhooks: 0.0,
            statuses_per_webhook: 1,
            webhook_outage: 0.0,
            wrong_signature_rate: 0.0,
            milliseconds_rate: 0.0,
            unknown_field_rate: 0.0,
            rewrite_wa_ids: false,
            unreachable: Vec::new(),
            allowed_recipients: Vec::new(),
        }
    }
}

/// Keys are texts in JSON, and stay so inside the state file's tagged entries, where serde_json makes no numbers of them.
fn by_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u32, f64>, D::Error> {
    let rates = BTreeMap::<String, f64>::deserialize(deserializer)?;
    let by_code = rates.into_iter().map(|(code, rate)| match code.parse() {
        Ok(code) => Ok((code, rate)),
        Err(_) => Err(serde::de::Error::custom(format!(
            "errorRates: `{code}` is no error code; use one of WhatsApp's, such as 131026"
        ))),
    });
    by_code.collect()
}

/// A share may be written as `true` (1) or `false` (0).
fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Share {
        Switch(bool),
        Rate(f64),
    }
    match Share::deserialize(deserializer) {
        Ok(Share::Switch(on)) => Ok(f64::from(u8::from(on))),
        Ok(Share::Rate(rate)) => Ok(rate),
        Err(_) => {
            Err(serde::de::Error::custom("expected a share between 0 and 1, or true or false"))
        }
    }
}

/// Why a behaviour was refused; each text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    #[error("unknown key `{key}`{}", .nearest.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey { key: String, nearest: Option<String> },
    #[error("{key} is {found}, expected a share between 0 and 1")]
    NotAShare { key: String, found: String },
    #[error("{key} is {found} ms, expected min <= max <= {DELAY_MS_MAX}")]
    Delay { key: String, found: String },
    #[error("statusesPerWebhook is {0}, expected 1 to {STATUSES_PER_WEBHOOK_MAX}")]
    StatusesPerWebhook(usize),
    #[error("the shares of errorRates add up to {0}, more than 1")]
    TooManyErrors(String),
    #[error("{0}")]
    Malformed(String),
}

impl Behaviour {
    /// Reads the JSON form; keys that are absent take their defaults.
    ///
    /// # Errors
    /// [`BehaviourError`], for unknown keys and for values out of range.
    pub fn from_json(text: &[u8]) -> Result<Self, BehaviourError> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| BehaviourError::Malformed(format!("not JSON: {error}")))?;
        Self::from_value(value)
    }

    /// Reads the TOML form: the same keys.
    ///
    /// # Errors
    /// [`BehaviourError`], for unknown keys and for values out of range.
    pub fn from_toml(text: &str) -> Result<Self, BehaviourError> {
        let value: Value = toml::from_str(text)
            .map_err(|error| BehaviourError::Malformed(format!("not TOML: {error}")))?;
        Self::from_value(value)
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, BehaviourError> {
        let Value::Object(keys) = &value else {
            return Err(BehaviourError::Malformed(
                "expected an object of behaviour keys".to_owned(),
            ));
        };
        let known = known_keys();
        for (key, inner) in keys {
            if !known.contains(key) {
                return Err(unknown(key, known.iter().map(String::as_str)));
            }
            if key.ends_with("Ms")
                && let Value::Object(span) = inner
                && let Some(odd) = span.keys().find(|k| !["min", "max"].contains(&k.as_str()))
            {
                let BehaviourError::UnknownKey { nearest, .. } =
                    unknown(odd, ["min", "max"].into_iter())
                else {
                    return Err(unknown(odd, ["min", "max"].into_iter()));
                };
                return Err(BehaviourError::UnknownKey {
                    key: format!("{key}.{odd}"),
                    nearest: nearest.map(|n| format!("{key}.{n}")),
                });
            }
        }
        let behaviour: Self = serde_json::from_value(value)
            .map_err(|error| BehaviourError::Malformed(error.to_string()))?;
        behaviour.check()?;
        Ok(behaviour)
    }

    /// # Errors
    /// [`BehaviourError`] where a value is out of its range.
    pub fn check(&self) -> Result<(), BehaviourError> {
        let shares = [
            ("deliveredRate", self.delivered_rate),
            ("readRate", self.read_rate),
            ("deliveredSkippedRate", self.delivered_skipped_rate),
            ("replyRate", self.reply_rate),
            ("replyQuotedRate", self.reply_quoted_rate),
            ("acceptedButNoAnswer", self.accepted_but_no_answer),
            ("http500Accepted", self.http500_accepted),
            ("http500Refused", self.http500_refused),
            ("heldRate", self.held_rate),
            ("heldDroppedRate", self.held_dropped_rate),
            ("duplicateWebhooks", self.duplicate_webhooks),
            ("shuffleWebhooks", self.shuffle_webhooks),
            ("webhookOutage", self.webhook_outage),
            ("wrongSignatureRate", self.wrong_signature_rate),
            ("millisecondsRate", self.milliseconds_rate),
            ("unknownFieldRate", self.unknown_field_rate),
        ];
        let rates =
            self.error_rates.iter().map(|(code, rate)| (format!("errorRates.{code}"), *rate));
        for (key, rate) in shares.iter().map(|(key, rate)| ((*key).to_owned(), *rate)).chain(rates)
        {
            if !(0.0..=1.0).contains(&rate) {
                return Err(BehaviourError::NotAShare { key, found: rate.to_string() });
            }
        }
        let sum: f64 = self.error_rates.values().sum();
        if sum > 1.0 + 1e-9 {
            return Err(BehaviourError::TooManyErrors(sum.to_string()));
        }
        for (key, span) in [("latencyMs", self.latency_ms), ("statusDelayMs", self.status_delay_ms)]
        {
            if span.min > span.max || span.max > DELAY_MS_MAX {
                let found = format!("{} to {}", span.min, span.max);
                return Err(BehaviourError::Delay { key: key.to_owned(), found });
            }
        }
        if !(1..=STATUSES_PER_WEBHOOK_MAX).contains(&self.statuses_per_webhook) {
            return Err(BehaviourError::StatusesPerWebhook(self.statuses_per_webhook));
        }
        Ok(())
    }

    /// The code of `errorRates` that this send meets, if any.
    pub(crate) fn draw_error(&self, fate: &mut Fate) -> Option<u32> {
        let mut rest = fate.unit();
        for (code, rate) in &self.error_rates {
            if rest < *rate {
                return Some(*code);
            }
            rest -= rate;
        }
        None
    }
}

/// The names as serde writes them, so that this list cannot lag behind the type.
fn known_keys() -> Vec<String> {
    match serde_json::to_value(Behaviour::default()) {
        Ok(Value::Object(keys)) => keys.into_iter().map(|(key, _)| key).collect(),
        _ => Vec::new(),
    }
}

fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> BehaviourError {
    BehaviourError::UnknownKey {
        key: key.to_owned(),
        nearest: nearest(key, known).map(str::to_owned),
    }
}

/// The known name most like `key`, where any is like it at all.
pub(crate) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let flat = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    known
        .map(|name| (strsim::jaro_winkler(&flat(key), &flat(name)), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_names_are_read_from_json_and_toml_alike() {
        let json = br#"{"latencyMs":{"min":1,"max":2},"errorRates":{"131026":0.01},"http500Accepted":0.005,
            "shuffleWebhooks":true,"statusesPerWebhook":100,"webhookOutage":false}"#;
        let toml = "http500Accepted = 0.005\nshuffleWebhooks = true\nstatusesPerWebhook = 100\n\
                    [latencyMs]\nmin = 1\nmax = 2\n[errorRates]\n131026 = 0.01\n";
        let behaviour = Behaviour::from_json(json).expect("valid");
        assert_eq!(Behaviour::from_toml(toml).expect("valid"), behaviour);
        assert_eq!(behaviour.shuffle_webhooks, 1.0);
        assert_eq!(behaviour.delivered_rate, 1.0);
        assert_eq!(behaviour.error_rates[&131026], 0.01);
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_nearest_named() {
        let refused = Behaviour::from_json(br#"{"delivered_rate":0.5}"#).expect_err("unknown");
        assert_eq!(
            refused.to_string(),
            "unknown key `delivered_rate`, did you mean `deliveredRate`?"
        );
        let refused = Behaviour::from_toml("[latencyMs]\nmaximum = 5").expect_err("unknown");
        assert_eq!(
            refused.to_string(),
            "unknown key `latencyMs.maximum`, did you mean `latencyMs.max`?"
        );
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for text in [
            r#"{"readRate":1.5}"#,
            r#"{"latencyMs":{"min":5,"max":1}}"#,
            r#"{"statusesPerWebhook":0}"#,
            r#"{"errorRates":{"131026":0.6,"131049":0.6}}"#,
            r#"{"webhookOutage":"yes"}"#,
            "[]",
        ] {
            assert!(Behaviour::from_json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_are_drawn_by_their_shares() {
        let behaviour =
            Behaviour::from_json(br#"{"errorRates":{"131026":0.1,"131049":0.2}}"#).expect("valid");
        let mut counts = BTreeMap::new();
        for n in 0..10_000_u32 {
            let code = behaviour.draw_error(&mut Fate::new(3, &[&n.to_le_bytes()]));
            *counts.entry(code).or_insert(0) += 1;
        }
        assert!((850..1150).contains(&counts[&Some(131026)]), "{counts:?}");
        assert!((1800..2200).contains(&counts[&Some(131049)]), "{counts:?}");
    }
}
