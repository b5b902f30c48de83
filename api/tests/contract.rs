//! The schema has everything that integrators are promised, under the same names and with the same types.

use std::collections::BTreeMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{InputValueDefinition, TypeKind, TypeSystemDefinition};

/// What a type offers, by a name for each part, with its type where it has one.
type Parts = BTreeMap<String, String>;

fn argument(of: &str, input: &InputValueDefinition) -> (String, String) {
    let default = input
        .default_value
        .as_ref()
        .map(|default| format!(" = {}", default.node))
        .unwrap_or_default();
    (format!("{of}{}", input.name.node), format!("{}{default}", input.ty.node))
}

fn parts(sdl: &str) -> BTreeMap<String, Parts> {
    let document = parse_schema(sdl).expect("SDL");
    let mut types = BTreeMap::new();
    for definition in document.definitions {
        let TypeSystemDefinition::Type(ty) = definition else { continue };
        let mut parts = Parts::new();
        let kind = match ty.node.kind {
            TypeKind::Object(object) => {
                for field in object.fields {
                    let field = field.node;
                    let name = field.name.node.to_string();
                    for input in &field.arguments {
                        let (name, ty) = argument(&format!("{name}: argument "), &input.node);
                        parts.insert(name, ty);
                    }
                    parts.insert(name, field.ty.node.to_string());
                }
                "type"
            }
            TypeKind::InputObject(input) => {
                parts.extend(input.fields.iter().map(|field| argument("", &field.node)));
                "input"
            }
            TypeKind::Enum(values) => {
                parts.extend(
                    values
                        .values
                        .into_iter()
                        .map(|value| (value.node.value.node.to_string(), String::new())),
                );
                "enum"
            }
            TypeKind::Scalar => "scalar",
            TypeKind::Interface(_) | TypeKind::Union(_) => "other",
        };
        parts.insert("kind of type".to_owned(), kind.to_owned());
        types.insert(ty.node.name.node.to_string(), parts);
    }
    types
}

#[test]
fn everything_promised_is_there_and_nothing_has_another_type() {
    let promised = parts(include_str!("fixtures/contract.graphql"));
    let ours = parts(&api::graphql::sdl());
    let mut broken = vec![];
    for (name, promised) in &promised {
        let Some(ours) = ours.get(name) else {
            broken.push(format!("{name} is missing"));
            continue;
        };
        for (part, promised) in promised {
            match ours.get(part) {
                None => broken.push(format!("{name}.{part} is missing")),
                Some(ours) if ours != promised => {
                    broken.push(format!("{name}.{part} is {ours:?} and should be {promised:?}"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(promised.len() > 90, "the promise itself was cut short");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn what_is_added_never_has_to_be_given() {
    let promised = parts(include_str!("fixtures/contract.graphql"));
    let ours = parts(&api::graphql::sdl());
    for (name, promised) in &promised {
        let is_input = promised["kind of type"] == "input";
        for (part, ty) in &ours[name] {
            let is_new = !promised.contains_key(part) && (is_input || part.contains(": argument "));
            assert!(
                !is_new || !ty.ends_with('!'),
                "{name}.{part}: {ty} breaks callers who do not know it"
            );
        }
    }
}
