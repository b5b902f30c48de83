//! Variables that were not sent: an argument or an input field that only names one is as good as left out, and not null.
//! In updates that is the difference between what stays and what is cleared.

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Variables};
use async_graphql_value::{ConstValue, Value};

/// Leaves out whatever is given by a variable that was neither sent nor has a default.
pub(super) fn drop_from(document: &mut ExecutableDocument, variables: &Variables) {
    // Which operation runs is decided; the others share the fragments and nothing else.
    let missing = missing(document, variables);
    if missing.is_empty() {
        return;
    }
    let operations: Vec<&mut OperationDefinition> = match &mut document.operations {
        DocumentOperations::Single(operation) => vec![&mut operation.node],
        DocumentOperations::Multiple(operations) => {
            operations.values_mut().map(|operation| &mut operation.node).collect()
        }
    };
    for operation in operations {
        selection(&mut operation.selection_set.node, &missing);
        // A variable that nothing uses any more would be refused for that.
        operation
            .variable_definitions
            .retain(|definition| !missing.contains(&definition.node.name.node));
    }
    for fragment in document.fragments.values_mut() {
        selection(&mut fragment.node.selection_set.node, &missing);
    }
}

/// Nullable ones only: the others are refused.
fn missing(document: &ExecutableDocument, variables: &Variables) -> Vec<Name> {
    let mut missing = vec![];
    for (_, operation) in document.operations.iter() {
        for definition in &operation.node.variable_definitions {
            let definition = &definition.node;
            let is_missing = definition.var_type.node.nullable
                && definition.default_value.is_none()
                && !variables.contains_key(&definition.name.node);
            if is_missing {
                missing.push(definition.name.node.clone());
            }
        }
    }
    missing
}

fn is_missing(value: &Value, missing: &[Name]) -> bool {
    matches!(value, Value::Variable(name) if missing.contains(name))
}

fn selection(set: &mut SelectionSet, missing: &[Name]) {
    for item in &mut set.items {
        match &mut item.node {
            Selection::Field(field) => {
                let field = &mut field.node;
                field.arguments.retain(|(_, value)| !is_missing(&value.node, missing));
                for (_, given) in &mut field.arguments {
                    value(&mut given.node, missing);
                }
                selection(&mut field.selection_set.node, missing);
            }
            Selection::InlineFragment(inline) => {
                selection(&mut inline.node.selection_set.node, missing);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn value(given: &mut Value, missing: &[Name]) {
    match given {
        Value::Object(object) => {
            object.retain(|_, inner| !is_missing(inner, missing));
            object.values_mut().for_each(|inner| value(inner, missing));
        }
        // An item of a list cannot be left out: it is null.
        Value::List(items) => items.iter_mut().for_each(|inner| value(inner, missing)),
        Value::Variable(name) if missing.contains(name) => {
            *given = Value::from(ConstValue::Null);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    fn arguments(query: &str, variables: serde_json::Value) -> Vec<String> {
        let mut document = parse_query(query).unwrap();
        drop_from(&mut document, &Variables::from_json(variables));
        let (_, operation) = document.operations.iter().next().unwrap();
        let Selection::Field(field) = &operation.node.selection_set.node.items[0].node else {
            panic!("the query has one field")
        };
        let arguments = &field.node.arguments;
        let shown = arguments.iter().map(|(name, value)| format!("{}: {}", name.node, value.node));
        shown
            .chain(
                operation
                    .node
                    .variable_definitions
                    .iter()
                    .map(|definition| format!("${}", definition.node.name.node)),
            )
            .collect()
    }

    #[test]
    fn what_was_not_sent_is_left_out_and_null_stays() {
        let query = "mutation($id: ID!, $name: String, $rule: JSON) { updateSegment(id: $id, name: $name, rule: $rule) { position } }";
        let found = arguments(query, json!({ "id": "1", "rule": null }));
        assert_eq!(found, ["id: $id", "rule: $rule", "$id", "$rule"]);
    }

    #[test]
    fn so_it_is_within_inputs_and_defaults_count_as_sent() {
        let query = "mutation($id: ID!, $name: String, $tag: String, $zone: TimeZone = \"UTC\") \
                     { updateContact(input: { id: $id, name: $name, addTags: [\"a\", $tag], timeZone: $zone }) { position } }";
        let found = arguments(query, json!({ "id": "1" }));
        assert_eq!(
            found,
            [r#"input: {id: $id, addTags: ["a", null], timeZone: $zone}"#, "$id", "$zone"]
        );
    }
}
