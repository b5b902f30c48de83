//! What a published schema promises to whoever wrote a program by it, and whether another still keeps it: fields may be
//! added that nobody has to send, values to a list of values, and kinds of content. Nothing else: what is written today
//! must fit the schema of then, and what was written then the schema of today.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keywords that bind nobody.
const WORDS: [&str; 7] =
    ["$schema", "$id", "$comment", "$defs", "title", "description", "examples"];

/// What has changed, each with the path of the field it is about.
#[derive(Debug, Default)]
pub struct Change {
    /// Against what was promised.
    pub broken: Vec<String>,
    /// What readers may meet that they have not met before.
    pub added: Vec<String>,
}

pub fn compare(old: &Value, new: &Value) -> Change {
    let mut comparison = Comparison {
        old: old.get("$defs").unwrap_or(&Value::Null),
        new: new.get("$defs").unwrap_or(&Value::Null),
        seen: BTreeSet::new(),
        change: Change::default(),
    };
    comparison.compare("data", old, new);
    comparison.change
}

struct Comparison<'a> {
    /// The definitions of either side.
    old: &'a Value,
    new: &'a Value,
    /// Pairs of definitions that were compared, or are being.
    seen: BTreeSet<(String, String)>,
    change: Change,
}

impl<'a> Comparison<'a> {
    fn compare(&mut self, path: &str, old: &Value, new: &Value) {
        let (old_name, old) = resolve(self.old, old);
        let (new_name, new) = resolve(self.new, new);
        if let (Some(old), Some(new)) = (old_name, new_name)
            && !self.seen.insert((old, new))
        {
            return;
        }
        let (Value::Object(old), Value::Object(new)) = (old, new) else {
            if old != new {
                self.broken(format!("{path}: was {old}, is {new}"));
            }
            return;
        };
        self.properties(path, old, new);
        let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for keyword in keywords {
            let is_known = ["properties", "required"].contains(&keyword.as_str());
            if is_known || WORDS.contains(&keyword.as_str()) {
                continue;
            }
            match (keyword.as_str(), old.get(keyword), new.get(keyword)) {
                ("items" | "additionalProperties", Some(old), Some(new)) => {
                    self.compare(&format!("{path}[]"), old, new);
                }
                ("enum", Some(Value::Array(old)), Some(Value::Array(new))) => {
                    self.values(path, old, new);
                }
                ("anyOf" | "oneOf", Some(Value::Array(old)), Some(Value::Array(new))) => {
                    self.kinds(path, old, new);
                }
                (_, old, new) if old != new => {
                    let shown =
                        |side: Option<&Value>| side.map_or("absent".to_owned(), Value::to_string);
                    self.broken(format!("{path}: {keyword} was {}, is {}", shown(old), shown(new)));
                }
                _ => {}
            }
        }
    }

    fn properties(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let none = Map::new();
        let of = |side: &'_ Map<String, Value>| {
            side.get("properties").and_then(Value::as_object).cloned()
        };
        let (before, now) = (of(old).unwrap_or(none.clone()), of(new).unwrap_or(none));
        for (name, schema) in &before {
            let path = format!("{path}.{name}");
            match now.get(name) {
                None => self.broken(format!("{path}: is gone")),
                Some(now) => {
                    match (is_required(old, name), is_required(new, name)) {
                        (true, false) => {
                            self.broken(format!("{path}: was always there, may be absent"))
                        }
                        (false, true) => {
                            self.broken(format!("{path}: might be absent, is required"))
                        }
                        _ => {}
                    }
                    self.compare(&path, schema, now);
                }
            }
        }
        for name in now.keys().filter(|name| !before.contains_key(*name)) {
            if is_required(new, name) {
                self.broken(format!(
                    "{path}.{name}: is new and required, which no older event fits"
                ));
            } else {
                self.change.added.push(format!("{path}.{name}: a new field"));
            }
        }
    }

    fn values(&mut self, path: &str, old: &[Value], new: &[Value]) {
        for gone in old.iter().filter(|value| !new.contains(value)) {
            self.broken(format!("{path}: the value {gone} is gone"));
        }
        for added in new.iter().filter(|value| !old.contains(value)) {
            self.change.added.push(format!("{path}: a new value, {added}"));
        }
    }

    /// Each kind there was is still there. Another may be new where a field of it says which it is.
    fn kinds(&mut self, path: &str, old: &[Value], new: &[Value]) {
        let mut left: Vec<&Value> = new.iter().collect();
        for (index, kind) in old.iter().enumerate() {
            let fits = |candidate: &&Value| {
                let change = self.tried(path, kind, candidate);
                change.broken.is_empty().then_some(change)
            };
            let found =
                left.iter().enumerate().find_map(|(at, candidate)| Some((at, fits(candidate)?)));
            match (found, new.get(index)) {
                (Some((at, change)), _) => {
                    left.remove(at);
                    self.change.added.extend(change.added);
                }
                // What is in its place says best what has become of it.
                (None, Some(other)) => {
                    let change = self.tried(path, kind, other);
                    self.change.broken.extend(change.broken);
                }
                (None, None) => self.broken(format!("{path}: the kind {kind} is gone")),
            }
        }
        for added in left {
            let (_, kind) = resolve(self.new, added);
            let fields = kind["properties"].as_object();
            if fields
                .is_some_and(|fields| fields.values().any(|field| field.get("const").is_some()))
            {
                self.change.added.push(format!("{path}: a new kind"));
            } else {
                self.broken(format!("{path}: may be {added} now"));
            }
        }
    }

    fn tried(&self, path: &str, old: &Value, new: &Value) -> Change {
        let mut comparison = Comparison {
            old: self.old,
            new: self.new,
            seen: self.seen.clone(),
            change: Change::default(),
        };
        comparison.compare(path, old, new);
        comparison.change
    }

    fn broken(&mut self, what: String) {
        self.change.broken.push(what);
    }
}

/// What a reference refers to, with its name.
fn resolve<'a>(definitions: &'a Value, schema: &'a Value) -> (Option<String>, &'a Value) {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let name = reference.trim_start_matches("#/$defs/");
            (Some(name.to_owned()), &definitions[name])
        }
        None => (None, schema),
    }
}

fn is_required(schema: &Map<String, Value>, name: &str) -> bool {
    let names = schema.get("required").and_then(Value::as_array);
    names.is_some_and(|names| names.iter().any(|required| required == name))
}

mod tests {
    use serde_json::json;

    use super::*;

    /// A schema such as are published, with what can be changed in it.
    fn published() -> Value {
        json!({
            "title": "Data of order.placed, version 1",
            "type": "object",
            "properties": {
                "at": { "type": "string", "format": "date-time" },
                "note": { "type": ["string", "null"] },
                "state": { "type": "string", "enum": ["NEW", "PAID"] },
                "to": { "anyOf": [{ "$ref": "#/$defs/Person" }, { "$ref": "#/$defs/MaskedPerson" }, { "type": "null" }] },
                "lines": { "type": "array", "items": { "$ref": "#/$defs/Line" } },
                "content": { "oneOf": [
                    { "type": "object", "properties": { "kind": { "const": "text" }, "body": { "type": "string" } }, "required": ["kind", "body"] },
                    { "type": "object", "properties": { "kind": { "const": "place" }, "at": {} }, "required": ["kind"] },
                ] },
            },
            "required": ["at", "state", "lines"],
            "$defs": {
                "Person": { "type": "object", "properties": { "phone": { "type": "string", "pattern": "^\\+" } } },
                "MaskedPerson": { "type": "object", "properties": { "phone": { "const": "•••" } } },
                "Line": { "type": "object", "properties": { "sku": { "type": "string" }, "part": { "$ref": "#/$defs/Line" } }, "required": ["sku"] },
            },
        })
    }

    fn change(edit: impl FnOnce(&mut Value)) -> Change {
        let mut new = published();
        edit(&mut new);
        compare(&published(), &new)
    }

    #[track_caller]
    fn breaks(complaint: &str, edit: impl FnOnce(&mut Value)) {
        let change = change(edit);
        let found = change.broken.iter().any(|broken| broken.contains(complaint));
        assert!(found, "no complaint {complaint:?} among {:?}", change.broken);
    }

    #[track_caller]
    fn keeps(additions: &[&str], edit: impl FnOnce(&mut Value)) {
        let change = change(edit);
        assert!(change.broken.is_empty(), "{:?}", change.broken);
        assert_eq!(change.added, additions);
    }

    fn remove(value: &mut Value, name: &str) {
        value.as_object_mut().unwrap().remove(name);
    }

    #[test]
    fn a_field_that_is_removed_renamed_or_retyped_breaks_the_promise() {
        breaks("data.note: is gone", |new| remove(&mut new["properties"], "note"));
        breaks("data.note: is gone", |new| {
            let note = new["properties"]["note"].clone();
            remove(&mut new["properties"], "note");
            new["properties"]["remark"] = note;
        });
        breaks("data.at: type was \"string\", is \"integer\"", |new| {
            new["properties"]["at"]["type"] = json!("integer");
        });
        breaks("data.at: format was \"date-time\", is absent", |new| {
            remove(&mut new["properties"]["at"], "format")
        });
        breaks("data.note: type was", |new| new["properties"]["note"]["type"] = json!("string"));
        breaks("data.state: type was", |new| {
            new["properties"]["state"]["type"] = json!(["string", "null"])
        });
        breaks("data.lines: type was", |new| {
            new["properties"]["lines"] = json!({ "type": "object" })
        });
    }

    #[test]
    fn a_field_that_becomes_required_or_may_now_be_absent_breaks_the_promise() {
        breaks("data.note: might be absent, is required", |new| {
            new["required"].as_array_mut().unwrap().push(json!("note"));
        });
        breaks("data.state: was always there, may be absent", |new| {
            new["required"] = json!(["at", "lines"])
        });
        breaks("data.shop: is new and required", |new| {
            new["properties"]["shop"] = json!({ "type": "string" });
            new["required"].as_array_mut().unwrap().push(json!("shop"));
        });
    }

    #[test]
    fn the_promise_reaches_into_lists_definitions_and_kinds_of_content() {
        breaks("data.lines[].sku: is gone", |new| {
            remove(&mut new["$defs"]["Line"]["properties"], "sku")
        });
        breaks("data.to.phone: pattern was", |new| {
            remove(&mut new["$defs"]["Person"]["properties"]["phone"], "pattern")
        });
        breaks("data.content.body: is gone", |new| {
            remove(&mut new["properties"]["content"]["oneOf"][0]["properties"], "body");
        });
        breaks("the kind", |new| {
            new["properties"]["content"]["oneOf"].as_array_mut().unwrap().pop();
        });
        breaks("data.state: the value \"NEW\" is gone", |new| {
            new["properties"]["state"]["enum"] = json!(["PAID"])
        });
        breaks("data.to: may be {\"type\":\"string\"} now", |new| {
            new["properties"]["to"]["anyOf"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "type": "string" }));
        });
        breaks("data: additionalProperties was absent", |new| {
            new["additionalProperties"] = json!(false)
        });
    }

    #[test]
    fn what_may_be_added_is_told_and_words_may_change() {
        keeps(&[], |_| {});
        keeps(&[], |new| new["properties"]["at"]["description"] = json!("When."));
        keeps(&["data.shop: a new field"], |new| {
            new["properties"]["shop"] = json!({ "type": "string" })
        });
        keeps(&["data.lines[].price: a new field"], |new| {
            new["$defs"]["Line"]["properties"]["price"] = json!({ "type": "string" });
        });
        keeps(&["data.state: a new value, \"SENT\""], |new| {
            new["properties"]["state"]["enum"] = json!(["NEW", "PAID", "SENT"]);
        });
        keeps(&["data.content: a new kind"], |new| {
            let kind = json!({ "type": "object", "properties": { "kind": { "const": "poll" } }, "required": ["kind"] });
            new["properties"]["content"]["oneOf"].as_array_mut().unwrap().insert(0, kind);
        });
    }

    #[test]
    fn a_definition_that_is_only_renamed_changes_nothing() {
        let text = published().to_string().replace("MaskedPerson", "SomebodyMasked");
        let renamed: Value = serde_json::from_str(&text).unwrap();
        assert!(compare(&published(), &renamed).broken.is_empty());
    }
}
