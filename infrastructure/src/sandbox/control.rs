//! What the controls do to the sandbox besides people's messages: verdicts on templates and any other webhook.

use std::sync::Arc;

use serde_json::{Value, json};

use super::behaviour::nearest;
use super::entry::{Entry, Field};
use super::state::State;

/// Why a control was refused; each text says what would be right.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ControlError {
    #[error("unknown key `{key}`{}", .nearest.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey { key: String, nearest: Option<String> },
    #[error("{field}: expected {expected}")]
    Invalid { field: String, expected: String },
    #[error("{0}")]
    NotFound(String),
    #[error("the sandbox could not write its state")]
    State(#[source] Arc<std::io::Error>),
}

impl ControlError {
    pub(crate) fn invalid(field: &str, expected: &str) -> Self {
        Self::Invalid { field: field.to_owned(), expected: expected.to_owned() }
    }

    pub(crate) fn unknown_key(key: &str, nearest: Option<&str>) -> Self {
        Self::UnknownKey { key: key.to_owned(), nearest: nearest.map(str::to_owned) }
    }
}

impl From<std::io::Error> for ControlError {
    fn from(error: std::io::Error) -> Self {
        Self::State(Arc::new(error))
    }
}

/// Events and the status they leave a template in.
const EVENTS: &[(&str, &str)] = &[
    ("APPROVED", "APPROVED"),
    ("REJECTED", "REJECTED"),
    ("PENDING", "PENDING"),
    ("PAUSED", "PAUSED"),
    ("DISABLED", "DISABLED"),
    ("DELETED", "DELETED"),
    ("PENDING_DELETION", "PENDING_DELETION"),
    ("FLAGGED", "APPROVED"),
    ("IN_APPEAL", "IN_APPEAL"),
    ("REINSTATED", "APPROVED"),
    ("LIMIT_EXCEEDED", "LIMIT_EXCEEDED"),
    ("LOCKED", "LOCKED"),
    ("ARCHIVED", "ARCHIVED"),
    ("UNARCHIVED", "APPROVED"),
];

const SCORES: &[&str] = &["GREEN", "YELLOW", "RED", "UNKNOWN"];

/// Which template an event is about, and what Meta says with it.
#[derive(Clone, Debug, Default)]
pub struct TemplateEvent {
    pub name: String,
    /// A status (`APPROVED`, `REJECTED`, `PAUSED` …), `QUALITY_GREEN` … `QUALITY_UNKNOWN`, or `CATEGORY_MARKETING` …
    pub event: String,
    /// Needed only where several accounts have the template.
    pub waba_id: Option<String>,
    /// Needed only where it exists in several languages.
    pub language: Option<String>,
    /// `INVALID_FORMAT` and the like, with a rejection.
    pub reason: Option<String>,
}

impl State {
    /// Meta's verdict on a template, and the webhook that tells it.
    pub(crate) fn template_event(
        &mut self,
        event: &TemplateEvent,
        now: i64,
    ) -> Result<Value, ControlError> {
        let language = event.language.as_ref().map(|language| language.replace('-', "_"));
        let found: Vec<u64> = self
            .templates
            .values()
            .filter(|template| template.name == event.name)
            .filter(|template| event.waba_id.as_ref().is_none_or(|waba| *waba == template.waba_id))
            .filter(|template| {
                language.as_ref().is_none_or(|language| *language == template.language)
            })
            .map(|template| template.id)
            .collect();
        let id = match found[..] {
            [id] => id,
            [] => {
                return Err(ControlError::NotFound(
                    "no such template was submitted, expected one that was, in that account and language".to_owned(),
                ));
            }
            _ => {
                return Err(ControlError::invalid(
                    "wabaId, language",
                    "both, because several templates have this name",
                ));
            }
        };
        let Some(mut template) = self.templates.get(&id).cloned() else {
            return Err(ControlError::NotFound("no such template".to_owned()));
        };
        let word = event.event.to_ascii_uppercase();
        let about = json!({
            // A number here and a string in answers, and another form of the language: as Meta has them.
            "message_template_id": template.id,
            "message_template_name": template.name,
            "message_template_language": template.language.replace('_', "-"),
        });
        let with = |more: Value| merged(&about, &more);
        let (field, value) = if let Some(score) = word.strip_prefix("QUALITY_") {
            if !SCORES.contains(&score) {
                return Err(ControlError::invalid(
                    "event",
                    "QUALITY_GREEN, QUALITY_YELLOW, QUALITY_RED or QUALITY_UNKNOWN",
                ));
            }
            let previous = std::mem::replace(&mut template.quality, score.to_owned());
            let value =
                with(json!({"previous_quality_score": previous, "new_quality_score": score}));
            ("message_template_quality_update", value)
        } else if let Some(category) = word.strip_prefix("CATEGORY_") {
            let category = super::template::category(category).map_err(|_| {
                ControlError::invalid(
                    "event",
                    "CATEGORY_MARKETING, CATEGORY_UTILITY or CATEGORY_AUTHENTICATION",
                )
            })?;
            let previous = std::mem::replace(&mut template.category, category.clone());
            template.previous_category = Some(previous.clone());
            (
                "template_category_update",
                with(json!({"previous_category": previous, "new_category": category})),
            )
        } else {
            let Some((_, status)) = EVENTS.iter().find(|(name, _)| *name == word) else {
                let names = EVENTS.iter().map(|(name, _)| *name);
                return Err(ControlError::unknown_key(&event.event, nearest(&word, names)));
            };
            (*status).clone_into(&mut template.status);
            let reason = match (&event.reason, word.as_str()) {
                (Some(reason), _) => json!(reason),
                (None, "REJECTED") => json!("INVALID_FORMAT"),
                (None, "PENDING_DELETION") => Value::Null,
                (None, _) => json!("NONE"),
            };
            template.rejected_reason =
                (word == "REJECTED").then(|| reason.as_str().unwrap_or("NONE").to_owned());
            let mut value = with(
                json!({"event": word, "reason": reason, "message_template_category": template.category}),
            );
            match word.as_str() {
                "REJECTED" => {
                    value["rejection_info"] = json!({"reason": "ordered by the sandbox's controls",
                        "recommendation": "send APPROVED"});
                }
                "PAUSED" => {
                    value["other_info"] =
                        json!({"title": "FIRST_PAUSE", "description": "paused for 3 hours"});
                }
                "DISABLED" => {
                    let day = chrono::DateTime::from_timestamp_millis(now).unwrap_or_default();
                    value["disable_info"] =
                        json!({"disable_date": day.format("%B %-d, %Y").to_string()});
                }
                _ => {}
            }
            ("message_template_status_update", value)
        };
        let answer = template.listed();
        let mut entries = vec![if template.status == "DELETED" {
            Entry::TemplateGone { id }
        } else {
            Entry::Template { template: Box::new(template.clone()) }
        }];
        entries.extend(self.account_webhook(&template.waba_id, field, &value, now));
        self.commit(entries)?;
        Ok(answer)
    }

    /// An account-level webhook: one for each app that holds numbers of the account.
    pub(crate) fn account_webhook(
        &mut self,
        waba_id: &str,
        field: &str,
        value: &Value,
        now: i64,
    ) -> Vec<Entry> {
        let mut apps: Vec<(String, Option<String>, String)> = Vec::new();
        for (id, number) in &self.numbers {
            let spec = number.spec();
            let known = apps
                .iter()
                .any(|(secret, url, _)| *secret == spec.app_secret && *url == spec.webhook_url);
            if spec.waba_id == waba_id && !known {
                apps.push((spec.app_secret.clone(), spec.webhook_url.clone(), id.clone()));
            }
        }
        let numbers = apps.into_iter().map(|(_, _, number)| number);
        numbers
            .map(|number| {
                let field = Field {
                    number,
                    field: field.to_owned(),
                    value: value.clone(),
                    account: true,
                    person: 0,
                };
                Entry::Field { seq: self.take_seq(), at: now, due: now, field: Box::new(field) }
            })
            .collect()
    }

    /// Sends any webhook, for fields that the sandbox does not make by itself.
    pub(crate) fn any_webhook(&mut self, body: &Value, now: i64) -> Result<(), ControlError> {
        let object =
            body.as_object().ok_or_else(|| ControlError::invalid("body", "a JSON object"))?;
        let keys = ["phoneNumberId", "wabaId", "field", "value"];
        if let Some(odd) = object.keys().find(|key| !keys.contains(&key.as_str())) {
            return Err(ControlError::unknown_key(odd, nearest(odd, keys.into_iter())));
        }
        let text =
            |key: &str| object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let field = text("field")
            .ok_or_else(|| ControlError::invalid("field", "the name of a webhook field"))?;
        let value = object
            .get("value")
            .filter(|value| value.is_object())
            .ok_or_else(|| ControlError::invalid("value", "a JSON object"))?;
        let entries = match (text("phoneNumberId"), text("wabaId")) {
            (Some(number), None) => {
                let known = self.numbers.get(number).ok_or_else(|| unknown_number(number))?;
                // Fields about conversations name their number; the sandbox fills that in.
                let mut value = value.clone();
                if value.get("metadata").is_none() {
                    value["messaging_product"] = json!("whatsapp");
                    value["metadata"] = json!({"phone_number_id": number,
                        "display_phone_number": super::address::digits_of(&known.spec().display_phone_number)});
                }
                let field = Field {
                    number: number.to_owned(),
                    field: field.to_owned(),
                    value,
                    account: false,
                    person: 0,
                };
                vec![Entry::Field {
                    seq: self.take_seq(),
                    at: now,
                    due: now,
                    field: Box::new(field),
                }]
            }
            (None, Some(waba)) => self.account_webhook(waba, field, value, now),
            _ => return Err(ControlError::invalid("phoneNumberId, wabaId", "exactly one of them")),
        };
        if entries.is_empty() {
            return Err(ControlError::NotFound(
                "no number of this wabaId was provisioned".to_owned(),
            ));
        }
        self.commit(entries)?;
        Ok(())
    }
}

pub(crate) fn unknown_number(number: &str) -> ControlError {
    ControlError::NotFound(format!(
        "phoneNumberId {number} was not provisioned, POST it to /_sandbox/numbers first"
    ))
}

fn merged(a: &Value, b: &Value) -> Value {
    let mut merged = a.clone();
    if let (Value::Object(merged), Value::Object(b)) = (&mut merged, b) {
        merged.extend(b.clone());
    }
    merged
}
