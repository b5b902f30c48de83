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

/// The whole promise, DRAFT included.
const PROMISED: &str = include_str!("fixtures/contract.graphql");

/// What of the promise does not work yet and is therefore not in the schema: a type, or a part of one with its arguments.
/// Whoever adds it takes it out of here.
const LEFT_OUT: &[&str] = &[
    // The assistant (DRAFT).
    "Query.knowledge",
    "Mutation.addKnowledge",
    "Mutation.removeKnowledge",
    "Mutation.configureAssistant",
    "Account.assistant",
    "AssistantSettings",
    "AssistantMode",
    "ConfigureAssistantInput",
    "KnowledgeEntry",
    "AddKnowledgeInput",
    "KnowledgeEntryPayload",
    // Automations (DRAFT).
    "Query.automations",
    "Mutation.createAutomation",
    "Mutation.setAutomationEnabled",
    "Mutation.recordTrigger",
    "Automation",
    "CreateAutomationInput",
    "AutomationPayload",
    "RecordTriggerInput",
    "TriggerPayload",
];

/// Whether the list has the part, or its type as a whole.
fn is_left_out(ty: &str, part: &str) -> bool {
    let field = part.split(": argument ").next().unwrap_or(part);
    LEFT_OUT.iter().any(|left_out| {
        *left_out == ty
            || left_out
                .split_once('.')
                .is_some_and(|(of, name)| of == ty && (name == field || name == part))
    })
}

#[test]
fn everything_promised_is_there_and_nothing_has_another_type() {
    let promised = parts(PROMISED);
    let ours = parts(&api::graphql::sdl());
    let (mut broken, mut kept) = (vec![], 0);
    for (name, promised) in &promised {
        for (part, promised) in promised {
            let there = ours.get(name).and_then(|ours| ours.get(part));
            match (there, is_left_out(name, part)) {
                (None, false) => broken.push(format!("{name}.{part} is missing")),
                (Some(_), true) if part != "kind of type" => {
                    broken.push(format!("{name}.{part} is there; take it out of LEFT_OUT"));
                }
                (Some(ours), false) if ours != promised => {
                    broken.push(format!("{name}.{part} is {ours:?} and should be {promised:?}"));
                }
                (Some(_), false) => kept += 1,
                (None | Some(_), true) => {}
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    // Types, fields, arguments and values: fewer means that the copy of the promise was cut short.
    assert!(kept > 700, "{kept}");
}

#[test]
fn what_is_left_out_is_promised() {
    let promised = parts(PROMISED);
    for left_out in LEFT_OUT {
        let is_promised = match left_out.split_once('.') {
            Some((ty, part)) => promised.get(ty).is_some_and(|parts| parts.contains_key(part)),
            None => promised.contains_key(*left_out),
        };
        assert!(is_promised, "{left_out} is nothing that was promised");
    }
}

#[test]
fn what_is_added_never_has_to_be_given() {
    let promised = parts(PROMISED);
    let ours = parts(&api::graphql::sdl());
    for (name, promised) in &promised {
        let is_input = promised["kind of type"] == "input";
        for (part, ty) in ours.get(name).into_iter().flatten() {
            // Whoever asks for a field that is new knows its arguments.
            let field = part.split_once(": argument ").map(|(field, _)| field);
            let is_argument = field.is_some_and(|field| promised.contains_key(field));
            let is_new = !promised.contains_key(part) && (is_input || is_argument);
            let has_default = ty.contains(" = ");
            assert!(
                !is_new || has_default || !ty.ends_with('!'),
                "{name}.{part}: {ty} breaks callers who do not know it"
            );
        }
    }
}
