//! `docs/events.md`, made from the catalogue, the meanings and the stored examples.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::catalogue::{AGGREGATES, entries};
use super::current;
use super::fixtures::Fixture;
use super::meanings::MEANINGS;

const HEAD: &str = include_str!("head.md");
/// Set to write the file anew (`make docs`).
pub const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn every_event_says_when_it_happens() {
    let catalogue: BTreeSet<&str> = entries().map(|(name, _)| name).collect();
    let told: BTreeSet<&str> = MEANINGS.iter().map(|(name, _)| *name).collect();
    assert_eq!(told.len(), MEANINGS.len(), "an event is told twice in meanings.rs");
    assert_eq!(catalogue, told, "tell in meanings.rs when each event happens, and of no other");
}

#[test]
fn events_docs_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    let wanted = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &wanted).expect("docs/events.md can be written");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    assert!(
        found == wanted,
        "docs/events.md is not current, from line {}: run `make docs`",
        differing.unwrap_or(found.lines().count().min(wanted.lines().count())) + 1
    );
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let examples = current();
    for kind in AGGREGATES {
        let links: Vec<String> = kind
            .catalogue
            .iter()
            .map(|(name, _)| {
                format!("[{}](#{})", name.split_once('.').map_or(*name, |n| n.1), anchor(name))
            })
            .collect();
        writeln!(page, "- {}: {}", kind.name, links.join(", ")).expect("a string takes all");
    }
    for kind in AGGREGATES {
        write!(page, "\n## {}\n", kind.title).expect("a string takes all");
        for (name, version) in kind.catalogue {
            let mine: Vec<&Fixture> =
                examples.iter().filter(|f| f.name == *name && f.version == *version).collect();
            page.push_str(&section(name, *version, &mine));
        }
    }
    page
}

/// As GitHub makes it of a heading.
fn anchor(name: &str) -> String {
    name.replace('.', "")
}

fn section(name: &str, version: u32, examples: &[&Fixture]) -> String {
    let meaning = MEANINGS.iter().find(|(event, _)| *event == name).map_or("", |(_, text)| text);
    let mut section = format!("\n### {name}\n\nVersion {version}. {meaning}\n");
    // The one that shows most.
    let Some(full) = examples.iter().max_by_key(|fixture| fixture.payload.to_string().len()) else {
        return section;
    };
    let personal = personal_fields(&full.payload);
    let optional: Vec<String> = match examples.iter().find(|f| f.variant.as_deref() == Some("min"))
    {
        Some(minimal) => keys(&full.payload).difference(&keys(&minimal.payload)).cloned().collect(),
        None => vec![],
    };
    for (label, fields) in [("Personal", personal), ("May be absent", optional)] {
        if !fields.is_empty() {
            let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
            write!(section, "\n{label}: {}.\n", fields.join(", ")).expect("a string takes all");
        }
    }
    let mut data = outside(&full.payload);
    if let Some(object) = data.as_object_mut() {
        // The envelope says it already.
        object.remove("type");
    }
    let data = serde_json::to_string_pretty(&data).expect("JSON is written");
    write!(section, "\n```json\n{data}\n```\n").expect("a string takes all");
    section
}

fn keys(payload: &Value) -> BTreeSet<String> {
    payload.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

/// The paths of what is marked as personal.
fn personal_fields(payload: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, into: &mut Vec<String>) {
        match value {
            Value::Object(object) if object.contains_key("$p") => into.push(path.to_owned()),
            Value::Object(object) => {
                for (key, value) in object {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(value, &path, into);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, path, into)),
            _ => {}
        }
    }
    let mut fields = vec![];
    walk(payload, "", &mut fields);
    fields.sort();
    fields.dedup();
    fields
}

/// As consumers outside see it who may see personal data: without marks. Keys in alphabetical order, whatever
/// serde_json was built with.
fn outside(payload: &Value) -> Value {
    match payload {
        Value::Object(object) => match object.get("$p") {
            Some(value) => outside(value),
            None => {
                let mut fields: Vec<_> = object.iter().collect();
                fields.sort_by_key(|(key, _)| *key);
                fields.into_iter().map(|(key, value)| (key.clone(), outside(value))).collect()
            }
        },
        Value::Array(items) => items.iter().map(outside).collect(),
        other => other.clone(),
    }
}
