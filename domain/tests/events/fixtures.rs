//! The stored events beside these tests. See the README there: they are never edited.

use std::path::Path;

use serde_json::Value;

use super::catalogue::{ReadEvent, kind_of};

/// One stored event.
pub struct Fixture {
    pub file: String,
    pub name: String,
    pub version: u32,
    /// `min`, or the word that marks a further example.
    pub variant: Option<String>,
    pub payload: Value,
}

impl Fixture {
    /// Through the event's type and back.
    pub fn read(&self) -> ReadEvent {
        (kind_of(&self.name).read)(&self.payload)
            .unwrap_or_else(|error| panic!("{} does not read: {error}", self.file))
    }
}

/// All of them, by file name.
pub fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the fixtures are beside the tests")
        .map(|entry| entry.expect("the folder reads").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files.iter().map(|path| fixture(path)).collect()
}

fn fixture(path: &Path) -> Fixture {
    let file = path.file_name().and_then(|name| name.to_str()).expect("a name in ASCII").to_owned();
    let parts: Vec<&str> = file.trim_end_matches(".json").split('.').collect();
    let (aggregate, fact, version, variant) = match parts[..] {
        [aggregate, fact, version] => (aggregate, fact, version, None),
        [aggregate, fact, version, variant] => (aggregate, fact, version, Some(variant.to_owned())),
        _ => panic!("{file}: the name is <aggregate>.<fact>.v<version>[.<variant>].json"),
    };
    let version = version
        .strip_prefix('v')
        .and_then(|version| version.parse().ok())
        .unwrap_or_else(|| panic!("{file}: the version is v and a number"));
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let payload = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    Fixture { name: format!("{aggregate}.{fact}"), version, variant, payload, file }
}

/// Every text of some length that stands under a mark of personal data.
pub fn personal_texts(payload: &Value) -> Vec<String> {
    let mut texts = vec![];
    collect(payload, false, &mut texts);
    texts
}

fn collect(value: &Value, is_marked: bool, into: &mut Vec<String>) {
    match value {
        Value::String(text) if is_marked && text.len() >= 5 => into.push(text.clone()),
        Value::Object(object) => {
            for (key, value) in object {
                // `kind` and `type` say what kind of content there is, which is no secret.
                let tells = key != "kind" && key != "type";
                collect(value, (is_marked || key == "$p") && tells, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_marked, into)),
        _ => {}
    }
}
