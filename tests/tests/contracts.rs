//! What is published of events, `docs/schemas`, by a validator that is not ours: every stored example as it goes outside,
//! in the clear, masked and erased, fits its schema, and its schema tells of everything in it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use api::application::events::shown_data;
use gateway_tests::{Script, eventually};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A stored example of an event.
struct Example {
    file: String,
    /// The name of its schema.
    schema: String,
    stored: Value,
}

impl Example {
    /// Its data as it goes outside: readers with the scope PERSONAL, without it, and after the erasure of the person.
    fn shown(&self) -> [(&'static str, Value); 4] {
        let erased = erased(&self.stored);
        [
            ("in the clear", outside(&self.stored, true)),
            ("masked", outside(&self.stored, false)),
            ("erased, in the clear", outside(&erased, true)),
            ("erased, masked", outside(&erased, false)),
        ]
    }
}

fn outside(stored: &Value, personal: bool) -> Value {
    let mut data = shown_data(stored, personal);
    // The envelope says it already.
    data.as_object_mut().expect("an event is an object").remove("type");
    data
}

fn erased(stored: &Value) -> Value {
    match stored {
        Value::Object(object) if object.contains_key("$p") => json!({ "$e": true }),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.clone(), erased(value))).collect()
        }
        Value::Array(items) => items.iter().map(erased).collect(),
        other => other.clone(),
    }
}

fn examples() -> anyhow::Result<Vec<Example>> {
    let mut examples = vec![];
    for entry in std::fs::read_dir(root().join("domain/tests/fixtures/events"))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parts: Vec<&str> = file.split('.').collect();
        let [aggregate, fact, version, .., "json"] = parts[..] else { continue };
        examples.push(Example {
            schema: format!("{aggregate}.{fact}/{}", version.trim_start_matches('v')),
            stored: serde_json::from_str(&std::fs::read_to_string(&path)?)?,
            file,
        });
    }
    assert!(examples.len() > 100, "{}", examples.len());
    Ok(examples)
}

/// What is to be validated, with a name for it.
struct Check {
    what: String,
    schema: String,
    is_closed: bool,
    data: Value,
}

/// What the validator complains of, in the order of the checks; nothing where it is not installed, which is said.
async fn complaints(checks: &[Check]) -> Option<Vec<Option<String>>> {
    let folder = root().join("docs/schemas");
    let mut script = Script::start("schemas.mjs", &[folder.to_str().expect("a path")])?;
    for Check { schema, is_closed, data, .. } in checks {
        let check = json!({ "schema": schema, "closed": is_closed, "data": data });
        script.tell(&check.to_string()).await;
    }
    let lines = eventually("everything is validated", || async {
        Some(script.lines()).filter(|lines| lines.len() >= checks.len())
    })
    .await;
    Some(lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

async fn all_fit(checks: &[Check]) {
    for (check, complaint) in checks.iter().zip(complaints(checks).await.unwrap_or_default()) {
        assert_eq!(complaint, None, "{}\n{:#}", check.what, check.data);
    }
}

/// Of examples that are never edited, so that what is told of them cannot be taken back: with `is_closed` everything in
/// them is told of.
async fn examples_fit(is_closed: bool) -> anyhow::Result<()> {
    let mut checks = vec![];
    for example in examples()? {
        for (how, data) in example.shown() {
            let what = format!("{} {how}", example.file);
            checks.push(Check { what, schema: example.schema.clone(), is_closed, data });
        }
    }
    all_fit(&checks).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stored_example_fits_its_schema_however_it_is_shown() -> anyhow::Result<()> {
    examples_fit(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_tells_of_everything_in_its_examples() -> anyhow::Result<()> {
    examples_fit(true).await
}

/// A schema that lets everything pass is of no use.
#[tokio::test(flavor = "multi_thread")]
async fn what_lacks_a_required_field_or_has_another_type_does_not_fit() -> anyhow::Result<()> {
    let mut checks = vec![];
    for example in examples()? {
        let path = root().join("docs/schemas").join(&example.schema).with_extension("json");
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let data = outside(&example.stored, true);
        let mut spoilt = |what: String, data: Value| {
            checks.push(Check { what, schema: example.schema.clone(), is_closed: false, data });
        };
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().context("a name")?;
            let mut without = data.clone();
            without.as_object_mut().context("an object")?.remove(name);
            spoilt(format!("{} without {name}", example.file), without);
        }
        for (name, property) in schema["properties"].as_object().context("properties")? {
            let is_typed =
                ["type", "$ref", "anyOf", "oneOf"].iter().any(|it| !property[*it].is_null());
            if is_typed && data.get(name).is_some() {
                let mut other = data.clone();
                // Of no field: each is text, a whole number, yes or no, a list or an object.
                other[name] = json!(1.5);
                spoilt(format!("{} with {name}: 1.5", example.file), other);
            }
        }
    }
    assert!(checks.len() > 900, "{}", checks.len());
    let complaints = complaints(&checks).await.unwrap_or_default();
    for (check, complaint) in checks.iter().zip(complaints) {
        assert!(complaint.is_some_and(|it| it.starts_with("data")), "{} fits", check.what);
    }
    Ok(())
}

#[test]
fn schemas_leave_room_for_what_is_added() -> anyhow::Result<()> {
    let mut files = 0;
    for folder in std::fs::read_dir(root().join("docs/schemas"))? {
        let folder = folder?.path();
        for file in
            folder.is_dir().then(|| std::fs::read_dir(&folder)).transpose()?.into_iter().flatten()
        {
            let file = file?.path();
            let text = std::fs::read_to_string(&file)?;
            let is_closed =
                text.contains("\"additionalProperties\": false") || text.contains("unevaluated");
            assert!(!is_closed, "{} would take a new field for a mistake", file.display());
            files += 1;
        }
    }
    assert!(files > 80, "{files}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_the_docs_is_an_event() -> anyhow::Result<()> {
    let page = std::fs::read_to_string(root().join("docs/events.md"))?;
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let event: Value = serde_json::from_str(example.context("an example")?)?;
    let named = event["dataschema"].as_str().and_then(|url| url.split("/schemas/").nth(1));
    let check = |schema: &str, data: &Value| Check {
        what: schema.to_owned(),
        schema: schema.to_owned(),
        is_closed: true,
        data: data.clone(),
    };
    all_fit(&[check("event", &event), check(named.context("a schema's address")?, &event["data"])])
        .await;
    Ok(())
}
