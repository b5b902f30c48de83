//! Taking a person out of a notification: the items that name them go, the others stay where they are.
//!
//! Promise: nothing in what is left names the person, by number, user id or message id, in whatever field, known or not.
//! Where an unknown shape leaves no other way, more goes than had to.

use std::collections::BTreeSet;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use domain::message::Recipient;
use domain::primitives::{PhoneNumber, UserId};
use serde_json::{Value, json};

use crate::webhook::interpret::{REDACTED, is_redacted};

/// From this length on a number is also found inside a longer run of digits and separators, as in `07700 900123 4 pm`.
const LONG_NUMBER_DIGITS: usize = 9;
/// Pairs of properties that name one person.
const ALIASES: [(&str, &str); 4] = [
    ("wa_id", "user_id"),
    ("from", "from_user_id"),
    ("to", "to_user_id"),
    ("recipient_id", "recipient_user_id"),
];
/// Message ids are base64 with the counterpart's number or user id inside.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// By what a person is known. Prints nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Digits, with the country code.
    numbers: BTreeSet<String>,
    user_ids: BTreeSet<String>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(***)")
    }
}

impl Person {
    /// All numbers and user ids that one person has, or had.
    pub fn new(
        numbers: impl IntoIterator<Item = PhoneNumber>,
        user_ids: impl IntoIterator<Item = UserId>,
    ) -> Self {
        Self {
            numbers: numbers.into_iter().map(|number| number.digits().to_owned()).collect(),
            user_ids: user_ids.into_iter().map(|id| id.as_str().to_owned()).collect(),
        }
    }

    /// Nothing is known of them: nothing would ever match.
    pub fn is_nobody(&self) -> bool {
        self.numbers.is_empty() && self.user_ids.is_empty()
    }

    fn add(&mut self, text: &str) -> bool {
        if UserId::parse(text).is_ok() {
            return self.user_ids.insert(text.to_owned());
        }
        PhoneNumber::parse(text).is_ok_and(|number| self.numbers.insert(number.digits().to_owned()))
    }

    fn is(&self, text: &str) -> bool {
        self.user_ids.contains(text)
            || PhoneNumber::parse(text).is_ok_and(|number| self.numbers.contains(number.digits()))
    }

    /// Whether anything in here names the person.
    pub fn is_named_in(&self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => self.is_named_in_text(&number.to_string()),
            Value::String(text) => self.is_named_in_text(text),
            Value::Array(items) => items.iter().any(|item| self.is_named_in(item)),
            Value::Object(members) => members
                .iter()
                .any(|(key, value)| self.is_named_in_text(key) || self.is_named_in(value)),
        }
    }

    fn is_named_in_text(&self, text: &str) -> bool {
        self.user_ids.iter().any(|id| stands_in(text, id))
            || self.is_number_in(text)
            || text.split(|c: char| c.is_whitespace()).any(|word| self.is_in_wamid(word))
    }

    fn is_number_in(&self, text: &str) -> bool {
        if self.numbers.is_empty() || text.bytes().filter(u8::is_ascii_digit).count() < 7 {
            return false;
        }
        let is_number = |digits: &str| {
            self.numbers.contains(digits)
                || digits.strip_prefix("00").is_some_and(|digits| self.numbers.contains(digits))
        };
        if text.split(|c: char| !c.is_ascii_digit()).any(is_number) {
            return true;
        }
        // With what people put between digits.
        let separates = |c: char| !(c.is_ascii_digit() || " -.()/+\u{a0}\u{202f}".contains(c));
        text.split(separates).any(|run| {
            let digits: String = run.chars().filter(char::is_ascii_digit).collect();
            is_number(&digits)
                || self.numbers.iter().any(|number| {
                    number.len() >= LONG_NUMBER_DIGITS && digits.contains(number.as_str())
                })
        })
    }

    fn is_in_wamid(&self, word: &str) -> bool {
        let Some(code) = word.strip_prefix("wamid.") else { return false };
        let Ok(bytes) = LENIENT_BASE64.decode(code) else { return false };
        let text = String::from_utf8_lossy(&bytes);
        self.numbers.iter().any(|number| text.contains(number.as_str()))
            || self.user_ids.iter().any(|id| stands_in(&text, id))
    }
}

impl From<&Recipient> for Person {
    fn from(recipient: &Recipient) -> Self {
        Self::new(recipient.phone.clone(), recipient.user_id.clone())
    }
}

/// As a whole: `GB.1` is not in `GB.12`.
fn stands_in(text: &str, id: &str) -> bool {
    text.match_indices(id).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + id.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// A body without a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Redaction {
    pub body: Vec<u8>,
    /// JSON pointers to what was taken out.
    pub paths: Vec<String>,
}

/// `body` without the items that name `person`; `None` where it names them nowhere. In place of each stands an object
/// with the one key [`REDACTED`], so that the others keep their paths.
pub fn redact(body: &[u8], person: &Person) -> Option<Redaction> {
    let mut root: Value = match serde_json::from_slice(body) {
        Ok(root) => root,
        Err(_) => {
            // Not JSON, so nothing of it is interpreted; it may still name somebody.
            let text = Value::String(String::from_utf8_lossy(body).into_owned());
            return person.is_named_in(&text).then(all);
        }
    };
    if !person.is_named_in(&root) {
        return None;
    }
    let mut paths = Vec::new();
    for (index, entry) in elements(root.get_mut("entry")) {
        let entry_path = format!("/entry/{index}");
        for (index, change) in elements(entry.get_mut("changes")) {
            let path = format!("{entry_path}/changes/{index}");
            if let Some(value) = change.get_mut("value") {
                redact_value(value, person, &format!("{path}/value"), &mut paths);
            }
            take_if_named(change, person, &path, &mut paths);
        }
        take_if_named(entry, person, &entry_path, &mut paths);
    }
    if person.is_named_in(&root) {
        return Some(all());
    }
    let body = serde_json::to_vec(&root).ok()?;
    Some(Redaction { body, paths })
}

fn all() -> Redaction {
    Redaction { body: marker().to_string().into_bytes(), paths: vec![String::new()] }
}

fn marker() -> Value {
    json!({ REDACTED: true })
}

fn elements(value: Option<&mut Value>) -> impl Iterator<Item = (usize, &mut Value)> {
    value.and_then(Value::as_array_mut).into_iter().flatten().enumerate()
}

fn redact_value(value: &mut Value, person: &Person, path: &str, paths: &mut Vec<String>) {
    if !person.is_named_in(value) {
        return;
    }
    let mut person = person.clone();
    // Twice: the second id may lead to a third.
    for _ in 0..2 {
        learn_aliases(value, &mut person);
    }
    if let Some(members) = value.as_object_mut() {
        for (name, member) in members {
            for (index, item) in elements(Some(member)) {
                let path = format!("{path}/{name}/{index}");
                if name == "history" {
                    redact_threads(item, &person, &path, paths);
                }
                take_if_named(item, &person, &path, paths);
            }
        }
    }
    take_if_named(value, &person, path, paths);
}

/// A chunk of history holds many people's threads.
fn redact_threads(chunk: &mut Value, person: &Person, path: &str, paths: &mut Vec<String>) {
    for (index, thread) in elements(chunk.get_mut("threads")) {
        let path = format!("{path}/threads/{index}");
        let is_theirs = thread.get("id").and_then(Value::as_str).is_some_and(|id| person.is(id));
        if !is_theirs {
            for (index, message) in elements(thread.get_mut("messages")) {
                take_if_named(message, person, &format!("{path}/messages/{index}"), paths);
            }
        }
        take_if_named(thread, person, &path, paths);
    }
}

fn take_if_named(value: &mut Value, person: &Person, path: &str, paths: &mut Vec<String>) {
    if !is_redacted(value) && person.is_named_in(value) {
        *value = marker();
        paths.push(path.to_owned());
    }
}

/// A person known by one id of a pair is known by the other too, within this value.
fn learn_aliases(value: &Value, person: &mut Person) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| learn_aliases(item, person)),
        Value::Object(members) => {
            for (number, user_id) in ALIASES {
                let text = |key: &str| members.get(key).and_then(Value::as_str);
                let (Some(number), Some(user_id)) = (text(number), text(user_id)) else { continue };
                if person.is(number) || person.is(user_id) {
                    person.add(number);
                    person.add(user_id);
                }
            }
            members.values().for_each(|member| learn_aliases(member, person));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::webhook::interpret::{Item, interpret};

    fn person(number: &str) -> Person {
        Person::new([PhoneNumber::parse(number).unwrap()], [])
    }

    fn ada() -> Person {
        person("447700900123")
    }

    fn examples() -> Vec<(String, Value)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cloud-api/webhooks");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
            .into_iter()
            .map(|path| {
                let body = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), body)
            })
            .collect()
    }

    fn redacted(body: &Value, person: &Person) -> Option<(Value, Vec<String>)> {
        let redaction = redact(body.to_string().as_bytes(), person)?;
        Some((serde_json::from_slice(&redaction.body).unwrap(), redaction.paths))
    }

    #[test]
    fn nothing_left_of_any_example_names_the_person_by_number_or_learned_id() {
        for (name, body) in examples() {
            let Some((left, paths)) = redacted(&body, &ada()) else {
                assert!(!body.to_string().contains("447700900123"), "{name}");
                continue;
            };
            let left = left.to_string();
            assert!(!left.contains("447700900123") && !left.contains("Ada"), "{name}: {left}");
            assert!(!left.contains("GB.7204418839015526601"), "{name}: {left}");
            assert!(!paths.is_empty(), "{name}");
            for path in &paths {
                assert!(body.pointer(path).is_some(), "{name}: {path}");
            }
        }
    }

    #[test]
    fn the_others_items_stay_exactly_as_they_were() {
        let at = DateTime::from_timestamp_millis(1_795_305_600_000).unwrap();
        for (name, body) in examples() {
            let Some((left, paths)) = redacted(&body, &ada()) else { continue };
            let before: Vec<_> = interpret(&body, at)
                .into_iter()
                .filter(|it| !paths.iter().any(|path| it.path.starts_with(path.as_str())))
                .collect();
            let after = interpret(&left, at);
            if name == "history-chunk.json" {
                assert!(matches!(&after[0].item, Item::History(it) if it.messages.is_empty()));
                continue;
            }
            assert!(before == after, "{name}: {before:?} {after:?}");
        }
    }

    #[test]
    fn a_number_is_found_however_it_is_written_and_not_in_another() {
        let ada = ada();
        for text in [
            "447700900123",
            "+44 7700 900123",
            "00447700900123",
            "tel:+44-7700-900123;",
            "call +44 (7700) 900.123 4 pm",
            "TEL;waid=447700900123:+44",
            "447700900123@s.whatsapp.net",
        ] {
            assert!(ada.is_named_in(&json!({ "a": [text] })), "{text}");
            assert!(ada.is_named_in(&json!({ text: 1 })), "{text}");
        }
        assert!(ada.is_named_in(&json!(447_700_900_123_u64)));
        for text in ["447700900124", "1447700900123", "44770090012", "1795305600", "", "7700900123"]
        {
            // A longer run of digits that happens to contain the number is taken to be safe.
            let expected = text == "1447700900123";
            assert_eq!(ada.is_named_in(&json!(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_user_id_is_found_as_a_whole_and_in_message_ids() {
        let bo = Person::new([], [UserId::parse("GB.12").unwrap()]);
        assert!(bo.is_named_in(&json!("id GB.12.")));
        assert!(!bo.is_named_in(&json!("GB.123")));
        let wamid = |inside: &str| {
            format!("wamid.{}", base64::engine::general_purpose::STANDARD.encode(inside))
        };
        assert!(bo.is_named_in(&json!(wamid("\u{1d}GB.12\u{0}"))));
        assert!(ada().is_named_in(&json!(wamid("\u{18}447700900123\u{15}"))));
        assert!(!ada().is_named_in(&json!(wamid("\u{18}447700900999\u{15}"))));
    }

    #[test]
    fn what_is_unknown_or_misplaced_or_no_json_goes_as_a_whole() {
        let odd = json!({"object": "x", "447700900123": 1, "entry": []});
        assert_eq!(redacted(&odd, &ada()), Some((marker(), vec![String::new()])));
        let entry = json!({"entry": [{"id": "1", "note": "447700900123"}, {"id": "2"}]});
        let (left, paths) = redacted(&entry, &ada()).unwrap();
        assert_eq!(
            (left, paths),
            (json!({"entry": [marker(), {"id": "2"}]}), vec!["/entry/0".to_owned()])
        );
        let value = json!({"entry": [{"changes": [{"field": "f", "value": {"who": {"wa_id": "447700900123"}}}]}]});
        assert_eq!(redacted(&value, &ada()).unwrap().1, ["/entry/0/changes/0/value"]);
        assert_eq!(
            redact(b"<447700900123>", &ada()).unwrap().body,
            marker().to_string().into_bytes()
        );
        assert!(redact(b"<nobody>", &ada()).is_none());
    }

    #[test]
    fn other_threads_of_a_history_chunk_stay() {
        let message = |from: &str| json!({"from": from, "id": "wamid.A", "type": "text", "text": {"body": "x"}});
        let body = json!({"entry": [{"id": "1", "changes": [{"field": "history", "value": {"history": [{"threads": [
            {"id": "447700900123", "messages": [message("447700900123")]},
            {"id": "447700900456", "messages": [message("447700900456")]}]}]}}]}]});
        let (left, paths) = redacted(&body, &ada()).unwrap();
        assert_eq!(paths, ["/entry/0/changes/0/value/history/0/threads/0"]);
        assert!(left.to_string().contains("447700900456"));
    }

    #[test]
    fn redacting_again_finds_nothing() {
        for (name, body) in examples() {
            if let Some(redaction) = redact(body.to_string().as_bytes(), &ada()) {
                assert!(redact(&redaction.body, &ada()).is_none(), "{name}");
            }
        }
    }

    proptest! {
        #[test]
        fn nobody_is_named_in_what_is_left(file in 0..64_usize, key in "[a-z]{1,8}", number in "[1-9][0-9]{9,13}") {
            let all = examples();
            let mut body = all[file % all.len()].1.clone();
            let named = format!("tel {number}");
            body["entry"][0]["changes"][0]["value"][&key] = json!([{ "deep": [named] }]);
            let person = person(&number);
            let (left, _) = redacted(&body, &person).unwrap();
            prop_assert!(!person.is_named_in(&left));
        }
    }
}
