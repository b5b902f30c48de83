//! What is stored is stored for ever: every event of the catalogue has stored examples that this version reads, writes
//! back unchanged and folds; and `docs/events.md` is made from them. What is
//! published of them, in `docs/schemas`, is promised.

mod catalogue;
mod docs;
mod fixtures;
mod meanings;
mod promise;
mod schemas;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use catalogue::{AGGREGATES, entries, kind_of};
use fixtures::{Fixture, fixtures};

/// Fields that this event's enum variant shares with others and never sets itself: a message that came in was planned
/// by nobody.
const NEVER_SET: [(&str, &[&str]); 2] = [
    (
        "message.received",
        &["campaign_id", "template", "time_to_live_s", "external_id", "metadata", "country"],
    ),
    (
        "message.echoed",
        &["campaign_id", "template", "time_to_live_s", "external_id", "metadata", "country"],
    ),
];

/// The fixtures that are in the shape of today.
fn current() -> Vec<Fixture> {
    let newest: BTreeSet<(String, u32)> =
        entries().map(|(name, version)| (name.to_owned(), version)).collect();
    fixtures().into_iter().filter(|f| newest.contains(&(f.name.clone(), f.version))).collect()
}

#[test]
fn every_version_of_every_event_has_a_stored_example_and_nothing_else_has() {
    let wanted: BTreeSet<(String, u32)> = entries()
        .flat_map(|(name, newest)| (1..=newest).map(move |version| (name.to_owned(), version)))
        .collect();
    let stored: BTreeSet<(String, u32)> = fixtures()
        .into_iter()
        .filter(|fixture| fixture.variant.is_none())
        .map(|fixture| (fixture.name, fixture.version))
        .collect();
    let missing: Vec<_> = wanted.difference(&stored).collect();
    assert!(missing.is_empty(), "add <name>.v<version>.json to tests/fixtures/events: {missing:?}");
    for fixture in fixtures() {
        let key = (fixture.name.clone(), fixture.version);
        assert!(
            wanted.contains(&key),
            "{} is of an event that no catalogue names; a stored event is never dropped",
            fixture.file
        );
    }
}

#[test]
fn names_are_unique_and_begin_with_their_aggregate() {
    let mut seen = BTreeSet::new();
    for kind in AGGREGATES {
        for (name, version) in kind.catalogue {
            assert!(seen.insert(*name), "{name} is in the catalogue twice");
            assert!(*version >= 1, "{name} has no version");
            assert_eq!(
                name.split_once('.').map(|(aggregate, _)| aggregate),
                Some(kind.name),
                "{name}"
            );
        }
    }
}

#[test]
fn a_stored_event_reads_and_is_written_back_as_it_was() {
    for fixture in current() {
        let event = fixture.read();
        assert_eq!(event.written, fixture.payload, "{}", fixture.file);
    }
}

#[test]
fn the_serde_tag_is_the_event_type_and_the_version_is_the_catalogues() {
    for fixture in current() {
        let event = fixture.read();
        assert_eq!(fixture.payload["type"], json!(event.event_type), "{}", fixture.file);
        assert_eq!(event.event_type, fixture.name, "{}", fixture.file);
        assert_eq!(event.event_version, fixture.version.to_string(), "{}", fixture.file);
    }
}

#[test]
fn an_event_happened_when_its_payload_says() {
    for fixture in current() {
        let at = fixture.payload["at"].as_str().expect("every event has its time");
        let at: chrono::DateTime<chrono::Utc> = at.parse().expect("a time is RFC 3339");
        assert_eq!(fixture.read().occurred_at, at, "{}", fixture.file);
    }
}

#[test]
fn one_example_of_each_event_sets_everything_there_is() {
    for (name, version) in entries() {
        let never: &[&str] =
            NEVER_SET.iter().find(|(event, _)| *event == name).map_or(&[], |(_, fields)| fields);
        let examples: Vec<_> =
            current().into_iter().filter(|f| f.name == name && f.version == version).collect();
        let fullest = examples
            .iter()
            .map(|fixture| {
                let unset = unset_fields(&fixture.read().debug);
                unset
                    .into_iter()
                    .filter(|field| !never.contains(&field.as_str()))
                    .collect::<Vec<_>>()
            })
            .min_by_key(Vec::len)
            .unwrap_or_default();
        assert!(
            fullest.is_empty(),
            "no example of {name} sets {fullest:?}; add one beside those there are, \
             such as {name}.v{version}.with_{}.json",
            fullest[0]
        );
    }
}

/// The names of fields that print as `None`.
fn unset_fields(debug: &str) -> Vec<String> {
    debug
        .match_indices(": None")
        .map(|(at, _)| {
            let name: Vec<char> = debug[..at]
                .chars()
                .rev()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            name.into_iter().rev().collect()
        })
        // Audiences exclude audiences: the innermost excludes nobody.
        .filter(|name: &String| name != "exclude")
        .collect()
}

#[test]
fn a_minimal_example_holds_nothing_that_may_be_left_out() {
    for (name, version) in entries() {
        let mine: Vec<_> =
            current().into_iter().filter(|f| f.name == name && f.version == version).collect();
        let minimal = mine
            .iter()
            .find(|fixture| fixture.variant.as_deref() == Some("min"))
            .or_else(|| mine.iter().find(|fixture| fixture.variant.is_none()))
            .unwrap_or_else(|| panic!("{name} has no example"));
        let Value::Object(payload) = &minimal.payload else {
            panic!("{} is no object", minimal.file)
        };
        for key in payload.keys().filter(|key| *key != "type") {
            let mut without = payload.clone();
            without.remove(key);
            let read = (kind_of(name).read)(&Value::Object(without));
            assert!(
                read.is_err(),
                "{name} reads without {key}: show that in {name}.v{version}.min.json"
            );
        }
    }
}

#[test]
fn an_event_whose_person_was_erased_still_reads_and_is_written_back_as_it_was() {
    for fixture in current() {
        let erased = erased(&fixture.payload);
        let event = (kind_of(&fixture.name).read)(&erased)
            .unwrap_or_else(|error| panic!("{} does not read erased: {error}", fixture.file));
        assert_eq!(event.written, erased, "{}", fixture.file);
    }
}

#[test]
fn folding_any_event_into_anything_never_panics() {
    for kind in AGGREGATES {
        let mine: Vec<Value> = current()
            .into_iter()
            .filter(|fixture| kind_of(&fixture.name).name == kind.name)
            .flat_map(|fixture| [erased(&fixture.payload), fixture.payload])
            .collect();
        for first in &mine {
            (kind.fold)(std::slice::from_ref(first));
            for second in &mine {
                (kind.fold)(&[first.clone(), second.clone(), second.clone()]);
            }
        }
        (kind.fold)(&mine);
    }
}

#[test]
fn personal_data_is_in_no_debug_output() {
    for fixture in current() {
        let debug = fixture.read().debug;
        // What also stands there as nobody's data (a city in a time zone's name) may print.
        let open = erased(&fixture.payload).to_string();
        for text in fixtures::personal_texts(&fixture.payload) {
            let is_open = open.contains(&text);
            assert!(is_open || !debug.contains(&text), "{} prints what is personal", fixture.file);
        }
    }
}

/// The payload after its subject's key was destroyed.
fn erased(payload: &Value) -> Value {
    match payload {
        Value::Object(object) if object.contains_key("$p") => json!({ "$e": true }),
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.clone(), erased(value))).collect()
        }
        Value::Array(items) => items.iter().map(erased).collect(),
        other => other.clone(),
    }
}
