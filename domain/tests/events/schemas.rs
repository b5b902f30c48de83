//! `docs/schemas`: a JSON Schema of every event's `data` as it goes outside, made from the events' own types. There is
//! no mark of personal data outside: a value stands in the clear, masked, or as `null` where the person was erased.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value, json};

use super::catalogue::{AGGREGATES, Kind, entries};
use super::docs::UPDATE;
use super::meanings::MEANINGS;
use super::promise;

/// What stands in place of what a reader may not see.
const MASK: &str = "•••";
/// Everything that is written by hand: the envelope around `data`.
const BY_HAND: [&str; 1] = ["event.json"];

#[test]
fn schemas_docs_are_current() {
    let wanted = newest();
    let mut complaints = vec![];
    for (path, schema) in &wanted {
        let Some(found) = read(path) else { continue };
        let change = promise::compare(&found, schema);
        let broken = change.broken.iter();
        complaints.extend(broken.map(|broken| format!("{}: {broken}", path.display())));
        change.added.iter().for_each(|added| eprintln!("{}: {added}", path.display()));
    }
    assert!(
        complaints.is_empty(),
        "what was published of an event is a promise: raise its version, and keep the old version's file\n{}",
        complaints.join("\n")
    );
    for (path, schema) in &wanted {
        let text = written(schema);
        let file = folder().join(path);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder");
            std::fs::write(&file, text).expect("docs/schemas can be written");
        } else {
            let is_current = std::fs::read_to_string(&file).is_ok_and(|found| found == text);
            assert!(is_current, "docs/schemas/{} is not current: run `make docs`", path.display());
        }
    }
}

/// A version that nobody writes any more is in somebody's records: its schema stays.
#[test]
fn every_version_of_every_event_has_a_schema_and_nothing_else_has() {
    let versions = |(name, newest): (&str, u32)| {
        (1..=newest).map(move |version| path(name, version)).collect::<Vec<_>>()
    };
    let by_hand = BY_HAND.iter().map(PathBuf::from);
    let wanted: BTreeSet<PathBuf> = entries().flat_map(versions).chain(by_hand).collect();
    let mut found = BTreeSet::new();
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("docs/schemas is there");
        entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    for entry in entries(&folder()) {
        let files = if entry.is_dir() { entries(&entry) } else { vec![entry] };
        found.extend(
            files
                .iter()
                .map(|file| file.strip_prefix(folder()).expect("it is in this folder").to_owned()),
        );
    }
    assert_eq!(found, wanted, "left: docs/schemas, right: the catalogue");
}

#[test]
fn descriptions_are_for_people_who_do_not_read_the_code() {
    for (path, schema) in newest() {
        let text = schema.to_string();
        for code in ["[`", "::", "`None`", "`Debug`"] {
            assert!(!text.contains(code), "{}: a description says {code}", path.display());
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas")
}

fn path(name: &str, version: u32) -> PathBuf {
    PathBuf::from(name).join(format!("{version}.json"))
}

fn read(path: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(folder().join(path)).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The newest version of every event, by its path in the folder.
fn newest() -> BTreeMap<PathBuf, Value> {
    let mut schemas = BTreeMap::new();
    for kind in AGGREGATES {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let stored = (kind.schema)(&mut settings.into_generator()).to_value();
        for (name, version) in kind.catalogue {
            schemas.insert(path(name, *version), of_event(kind, &stored, name, *version));
        }
    }
    schemas
}

/// One event's, from the schema of all events of its aggregate as they are stored.
fn of_event(kind: &Kind, stored: &Value, name: &str, version: u32) -> Value {
    let variants = stored["oneOf"].as_array().expect("events are told apart by their type");
    let variant = variants
        .iter()
        .find(|variant| variant["properties"]["type"]["const"] == name)
        .unwrap_or_else(|| panic!("{name} has no variant"));
    let mut outside = Outside { stored: &stored["$defs"], definitions: BTreeMap::new() };
    let mut schema = outside.shown(variant);
    // The envelope says it already.
    properties(&mut schema).remove("type");
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "type");
    }
    if kind.name == "message" {
        properties(&mut schema).entry("metadata").or_insert_with(|| {
            json!({ "description": "What the integrator gave the message: it goes with each of its events. Personal." })
        });
    }
    let meaning = MEANINGS.iter().find(|(event, _)| *event == name).map_or("", |(_, text)| text);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!(format!("/schemas/{name}/{version}"));
    schema["title"] = json!(format!("Data of {name}, version {version}"));
    schema["description"] = json!(meaning);
    if !outside.definitions.is_empty() {
        schema["$defs"] = outside.definitions.into_iter().collect();
    }
    schema
}

fn properties(schema: &mut Value) -> &mut Map<String, Value> {
    schema["properties"].as_object_mut().expect("an event is an object")
}

/// From schemas of what is stored to schemas of what is shown.
struct Outside<'a> {
    /// The definitions that stored schemas refer to.
    stored: &'a Value,
    /// Those that shown schemas refer to, as far as they were needed.
    definitions: BTreeMap<String, Value>,
}

impl Outside<'_> {
    fn shown(&mut self, schema: &Value) -> Value {
        let Value::Object(schema) = schema else { return schema.clone() };
        if let Some(inner) = personal(schema) {
            return described(schema.get("description"), self.personal(inner));
        }
        if let Some(values) = enumeration(schema) {
            return values;
        }
        let mut shown = Map::new();
        for (keyword, value) in schema {
            let value = match (keyword.as_str(), value) {
                // Nothing is closed: a new field is no mistake.
                ("title", _) | ("additionalProperties", Value::Bool(false)) => continue,
                ("description", Value::String(text)) => Value::from(plain(text)),
                ("format", Value::String(format)) => {
                    match format.as_str() {
                        "uuid" | "date" | "date-time" => {}
                        // Neither has a zone, so neither is a format that JSON Schema knows.
                        "partial-date-time" => {
                            let pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?$";
                            shown.insert("pattern".to_owned(), pattern.into());
                            continue;
                        }
                        "partial-time" => {
                            let pattern = r"^\d{2}:\d{2}:\d{2}(\.\d+)?$";
                            shown.insert("pattern".to_owned(), pattern.into());
                            continue;
                        }
                        // Of Rust, not of JSON Schema: `minimum` says it.
                        _ => continue,
                    }
                    value.clone()
                }
                ("$ref", Value::String(reference)) => {
                    let name = self.define(definition(reference), Self::shown, "");
                    Value::from(format!("#/$defs/{name}"))
                }
                ("properties", Value::Object(properties)) => self.properties(schema, properties),
                ("anyOf" | "oneOf" | "allOf", Value::Array(schemas)) => {
                    schemas.iter().map(|schema| self.shown(schema)).collect()
                }
                ("items" | "additionalProperties", value) => self.shown(value),
                _ => value.clone(),
            };
            shown.insert(keyword.clone(), value);
        }
        Value::Object(shown)
    }

    /// An object's, with `erased` where one of them can be.
    fn properties(&mut self, schema: &Map<String, Value>, stored: &Map<String, Value>) -> Value {
        let mut shown = Map::new();
        let mut erasable = vec![];
        for (name, value) in stored {
            // What may be left out is left out, and never `null`.
            let value = if is_required(schema, name) { value.clone() } else { without_null(value) };
            if value.as_object().is_some_and(|value| personal(value).is_some()) {
                erasable.push(name.as_str());
            }
            shown.insert(name.clone(), self.shown(&value));
        }
        if !erasable.is_empty() {
            let names = json!({
                "description": "What is null beside this because the person was erased, by name.",
                "type": "array", "items": { "enum": erasable },
            });
            shown.insert("erased".to_owned(), names);
        }
        Value::Object(shown)
    }

    /// In the clear, masked, or `null`.
    fn personal(&mut self, stored: &Value) -> Value {
        let clear = self.shown(stored);
        let mut shown = match &clear {
            clear if is_anything(clear) => json!({}),
            Value::Object(schema)
                if schema.get("type") == Some(&json!("string")) && !is_bounded(schema) =>
            {
                json!({ "type": ["string", "null"] })
            }
            _ => match self.masked(stored) {
                masked if masked == clear => json!({ "anyOf": [clear, { "type": "null" }] }),
                masked => json!({ "anyOf": [clear, masked, { "type": "null" }] }),
            },
        };
        shown["description"] = json!(
            "Personal: masked for readers without the scope PERSONAL, null once the person was erased."
        );
        shown
    }

    /// Names stay, values do not.
    fn masked(&mut self, stored: &Value) -> Value {
        let Value::Object(schema) = stored else { return stored.clone() };
        if is_anything(stored) {
            return json!({});
        }
        if let Some(Value::String(reference)) = schema.get("$ref") {
            let name = self.define(definition(reference), Self::masked, "Masked");
            return json!({ "$ref": format!("#/$defs/{name}") });
        }
        if let Some(Value::Array(kinds)) = schema.get("anyOf").or(schema.get("oneOf")) {
            // Masked they may look alike.
            let kinds: Vec<Value> = kinds.iter().map(|kind| self.masked(kind)).collect();
            return json!({ "anyOf": kinds });
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => {
                let mut masked = Map::from_iter([("type".to_owned(), json!("object"))]);
                if let Some(Value::Object(properties)) = schema.get("properties") {
                    let properties = properties.iter().map(|(name, value)| {
                        let is_required = is_required(schema, name);
                        let value = if is_required { value.clone() } else { without_null(value) };
                        (name.clone(), self.masked(&value))
                    });
                    masked.insert("properties".to_owned(), properties.collect());
                }
                let values = schema.get("additionalProperties");
                if let Some(values) = values.filter(|values| **values != json!(false)) {
                    masked.insert("additionalProperties".to_owned(), self.masked(values));
                }
                masked.extend(
                    schema.get("required").map(|names| ("required".to_owned(), names.clone())),
                );
                Value::Object(masked)
            }
            Some("array") => {
                json!({ "type": "array", "items": schema.get("items").map_or(json!({}), |items| self.masked(items)) })
            }
            Some(_) => json!({ "const": MASK }),
            None if schema.contains_key("const") || schema.contains_key("enum") => {
                json!({ "const": MASK })
            }
            None => panic!("nobody knows what {stored} looks like masked"),
        }
    }

    /// Puts the definition of this name, made by `make`, among those that are referred to; answers its name there.
    fn define(&mut self, name: &str, make: fn(&mut Self, &Value) -> Value, prefix: &str) -> String {
        let shown = format!("{prefix}{name}");
        if !self.definitions.contains_key(&shown) {
            // In place before it is made: audiences exclude audiences.
            self.definitions.insert(shown.clone(), Value::Null);
            let made = make(self, &self.stored[name]);
            self.definitions.insert(shown.clone(), made);
        }
        shown
    }
}

/// What stands under the mark of personal data.
fn personal(schema: &Map<String, Value>) -> Option<&Value> {
    schema.get("properties")?.get("$p")
}

/// Unit variants are one list of values to a reader, whether or not somebody told of each.
fn enumeration(schema: &Map<String, Value>) -> Option<Value> {
    let variants = schema.get("oneOf")?.as_array()?;
    let mut values: Vec<Value> = vec![];
    let mut lines: Vec<String> = vec![];
    for variant in variants {
        let listed = variant.get("const").map(std::slice::from_ref);
        let several = || variant.get("enum")?.as_array().map(Vec::as_slice);
        let listed = listed.or_else(several)?;
        values.extend_from_slice(listed);
        if let (Some(text), [value]) = (variant["description"].as_str(), listed) {
            lines.push(format!("{}: {}", value.as_str().unwrap_or_default(), plain(text)));
        }
    }
    values.sort_by_key(Value::to_string);
    let about = schema.get("description").and_then(Value::as_str).map(plain);
    let about: Vec<String> = about.into_iter().chain(lines).collect();
    let shown = json!({ "type": "string", "enum": values });
    Some(described(Some(&json!(about.join(" "))).filter(|_| !about.is_empty()), shown))
}

/// With this description before its own.
fn described(description: Option<&Value>, mut schema: Value) -> Value {
    let texts = [description, schema.get("description")];
    let texts: Vec<String> =
        texts.into_iter().flatten().filter_map(Value::as_str).map(plain).collect();
    if !texts.is_empty() {
        schema["description"] = json!(texts.join(" "));
    }
    schema
}

/// A comment in the code, for people who do not read the code.
fn plain(text: &str) -> String {
    let text = text.replace('\n', " ").replace(". `None`", ". Absent");
    match text.strip_prefix("`None`") {
        Some(rest) => format!("Absent{rest}"),
        None => text.replace("`None`", "absent"),
    }
}

fn definition(reference: &str) -> &str {
    reference.trim_start_matches("#/$defs/")
}

fn is_required(schema: &Map<String, Value>, name: &str) -> bool {
    let names = schema.get("required").and_then(Value::as_array);
    names.is_some_and(|names| names.iter().any(|required| required == name))
}

fn is_anything(schema: &Value) -> bool {
    match schema {
        Value::Bool(anything) => *anything,
        Value::Object(schema) => schema
            .keys()
            .all(|keyword| ["title", "description", "default"].contains(&keyword.as_str())),
        _ => false,
    }
}

fn is_bounded(schema: &Map<String, Value>) -> bool {
    ["pattern", "format", "minLength", "maxLength"]
        .iter()
        .any(|keyword| schema.contains_key(*keyword))
}

/// An `Option`'s schema as that of what is in it.
fn without_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let is_null = |schema: &Value| schema["type"] == "null";
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    let Some(Value::Array(kinds)) = schema.get("anyOf") else { return schema };
    let kinds: Vec<Value> = kinds.iter().filter(|kind| !is_null(kind)).cloned().collect();
    let [Value::Object(only)] = kinds.as_slice() else { return schema };
    let mut only = only.clone();
    let own = schema.as_object().into_iter().flatten().filter(|(keyword, _)| *keyword != "anyOf");
    only.extend(own.map(|(keyword, value)| (keyword.clone(), value.clone())));
    Value::Object(only)
}

/// As a file: keywords in the order that people read them in, names in that of the alphabet.
fn written(schema: &Value) -> String {
    let mut text = serde_json::to_string_pretty(&InOrder(schema)).expect("JSON is written");
    text.push('\n');
    text
}

struct InOrder<'a>(&'a Value);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const FIRST: [&str; 6] = ["$schema", "$id", "$ref", "title", "description", "type"];
        const LAST: [&str; 3] = ["properties", "required", "$defs"];
        match self.0 {
            Value::Object(object) => {
                let rank = |key: &str| {
                    let first = FIRST.iter().position(|name| *name == key);
                    let last = LAST.iter().position(|name| *name == key);
                    first.unwrap_or(FIRST.len() + last.map_or(0, |last| last + 1))
                };
                let mut entries: Vec<_> = object.iter().collect();
                entries.sort_by_key(|(key, _)| (rank(key), *key));
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, &InOrder(value))?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&InOrder(item))?;
                }
                list.end()
            }
            other => other.serialize(serializer),
        }
    }
}
