//! Checks every argument against its type before anything runs, so that what is wrong is named by its path in the input and
//! with what would be right; values are never repeated. GraphQL's own validation runs afterwards and finds nothing more.

use std::collections::HashSet;

use async_graphql::parser::types::{
    BaseType, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet, Type,
};
use async_graphql::{Name, Variables};
use async_graphql_value::{ConstValue, Value};

use super::scalars;
use super::table::{Input, Table, base};
use crate::application::error::AppError;

/// Problems told at once.
const PROBLEMS_MAX: usize = 20;

/// What is wrong with an operation's arguments; empty where nothing is.
pub(super) fn problems(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
    table: &Table,
) -> Vec<AppError> {
    let mut defaults = variables.clone();
    for definition in &operation.variable_definitions {
        if let Some(default) = &definition.node.default_value
            && !defaults.contains_key(&definition.node.name.node)
        {
            defaults.insert(definition.node.name.node.clone(), default.node.clone());
        }
    }
    let mut checker =
        Checker { document, variables: &defaults, table, seen: HashSet::new(), problems: vec![] };
    checker.selection(&operation.selection_set.node, Table::root(operation.ty));
    for definition in &operation.variable_definitions {
        let (name, ty) = (&definition.node.name.node, &definition.node.var_type.node);
        let is_missing = !ty.nullable && !defaults.contains_key(name);
        // Mostly an argument that is missing for want of it was named already.
        if is_missing && checker.problems.is_empty() {
            checker.problem(name.to_string(), "this variable is required".to_owned());
        }
    }
    checker.problems.truncate(PROBLEMS_MAX);
    checker.problems
}

struct Checker<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    table: &'a Table,
    seen: HashSet<Name>,
    problems: Vec<AppError>,
}

impl<'a> Checker<'a> {
    fn selection(&mut self, set: &'a SelectionSet, parent: &str) {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => self.field(&field.node, parent),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && self.seen.insert(name.clone())
                    {
                        let on = fragment.node.type_condition.node.on.node.as_str();
                        self.selection(&fragment.node.selection_set.node, on);
                    }
                }
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                    self.selection(&inline.node.selection_set.node, on.unwrap_or(parent));
                }
            }
        }
    }

    fn field(&mut self, field: &'a Field, parent: &str) {
        // What is no field, GraphQL's own validation says.
        let Some(known) = self.table.field(parent, &field.name.node) else { return };
        for arg in &known.args {
            let given = field.arguments.iter().find(|(name, _)| name.node == arg.name.as_str());
            self.argument(arg, given.map(|(_, value)| &value.node));
        }
        self.selection(&field.selection_set.node, base(&known.ty));
    }

    fn argument(&mut self, arg: &Input, given: Option<&Value>) {
        let literal;
        let value = match given {
            None => None,
            Some(Value::Variable(name)) => self.variables.get(name),
            Some(value) => {
                let variables = self.variables;
                let resolved = value.clone().into_const_with(|name| {
                    Ok::<_, std::convert::Infallible>(
                        variables.get(&name).cloned().unwrap_or_default(),
                    )
                });
                literal = match resolved {
                    Ok(value) => value,
                    Err(never) => match never {},
                };
                Some(&literal)
            }
        };
        self.given(arg, value, arg.name.clone());
    }

    /// An argument, or a field of an input object.
    fn given(&mut self, input: &Input, value: Option<&ConstValue>, path: String) {
        match value {
            Some(value) => self.value(value, &input.ty, path),
            None if input.is_required() => self.problem(path, "this is required".to_owned()),
            None => {}
        }
    }

    fn problem(&mut self, path: String, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(AppError::invalid(path, problem));
        }
    }

    fn value(&mut self, value: &ConstValue, ty: &Type, path: String) {
        if matches!(value, ConstValue::Null) {
            // Any JSON may be null, and then it is the use case's to judge.
            if !ty.nullable && base(ty) != "JSON" {
                self.problem(path, "this must not be null".to_owned());
            }
            return;
        }
        match &ty.base {
            BaseType::List(inner) => match value {
                ConstValue::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        self.value(item, inner, format!("{path}[{index}]"));
                    }
                }
                single => self.value(single, inner, path),
            },
            BaseType::Named(name) => self.named(value, name, path),
        }
    }

    fn named(&mut self, value: &ConstValue, name: &str, path: String) {
        if let Some(values) = self.table.values(name) {
            let is_one = match value {
                ConstValue::Enum(value) => values.iter().any(|known| known == value.as_str()),
                ConstValue::String(value) => values.contains(value),
                _ => false,
            };
            if !is_one {
                self.problem(path, format!("use one of {}", values.join(", ")));
            }
            return;
        }
        if let Some(fields) = self.table.input(name) {
            let ConstValue::Object(object) = value else {
                return self.problem(path, format!("use an object with the fields of {name}"));
            };
            for key in object.keys() {
                if !fields.iter().any(|field| field.name == key.as_str()) {
                    let known: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
                    let problem = format!("{name} has no such field; it has {}", known.join(", "));
                    // The key is the caller's own text: only what could be a name is repeated.
                    let is_name = key.len() <= 64
                        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    self.problem(
                        if is_name { format!("{path}.{key}") } else { path.clone() },
                        problem,
                    );
                }
            }
            for field in fields {
                self.given(
                    field,
                    object.get(field.name.as_str()),
                    format!("{path}.{}", field.name),
                );
            }
            return;
        }
        let problem = match (name, value) {
            ("Int", ConstValue::Number(number)) => {
                let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
                (!fits).then_some("use a whole number from -2147483648 to 2147483647")
            }
            ("Int", _) => Some("use a whole number"),
            // A CSV file's rows are judged one by one, and the good ones kept.
            ("String", ConstValue::String(text)) => {
                (has_control(text) && !path.ends_with(".csv")).then_some(NO_CONTROL)
            }
            ("JSON", value) => has_control_within(value).then_some(NO_CONTROL),
            ("Float", ConstValue::Number(_))
            | ("Boolean", ConstValue::Boolean(_))
            | ("ID", ConstValue::String(_)) => None,
            ("ID", ConstValue::Number(number)) if number.is_i64() || number.is_u64() => None,
            ("Float", _) => Some("use a number"),
            ("Boolean", _) => Some("use true or false"),
            ("String", _) => Some("use text"),
            ("ID", _) => Some("use an id, as text"),
            (scalar, value) => scalars::check(scalar, value).err(),
        };
        if let Some(problem) = problem {
            self.problem(path, problem.to_owned());
        }
    }
}

const NO_CONTROL: &str = "leave control characters out; line breaks and tabs may stay";

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// Nested no deeper than the body's parser lets anything be.
fn has_control_within(value: &ConstValue) -> bool {
    match value {
        ConstValue::String(text) => has_control(text),
        ConstValue::List(items) => items.iter().any(has_control_within),
        ConstValue::Object(object) => {
            object.iter().any(|(key, value)| has_control(key) || has_control_within(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    fn fields(query: &str, variables: serde_json::Value) -> Vec<String> {
        let document = parse_query(query).unwrap();
        let table = crate::graphql::table();
        let (_, operation) = document.operations.iter().next().unwrap();
        let problems =
            problems(&document, &operation.node, &Variables::from_json(variables), &table);
        problems.into_iter().filter_map(|problem| problem.field).collect()
    }

    const CREATE: &str =
        "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { position } }";

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let input = json!({
            "accountId": 7,
            "templateId": "x",
            "audience": { "tags": ["a", 1], "exclude": { "everyone": true } },
            "schedule": { "startAt": "2026-11-27T09:00:00Z", "timeZone": "Europe/Berlin" },
            "timeToLive": 1.5,
            "messagesPerSecond": 3_000_000_000_i64,
        });
        let mut found = fields(CREATE, json!({ "input": input }));
        found.sort();
        assert_eq!(
            found,
            [
                "input.audience.exclude.everyone",
                "input.audience.tags[1]",
                "input.messagesPerSecond",
                "input.name",
                "input.schedule.startAt",
                "input.timeToLive",
            ]
        );
        assert_eq!(fields(CREATE, json!({})), ["input"]);
        assert_eq!(fields(CREATE, json!({ "input": null })), ["input"]);
        assert_eq!(fields(CREATE, json!({ "input": "x" })), ["input"]);
    }

    #[test]
    fn literals_and_variables_inside_of_them_are_checked_alike() {
        let query = "query($s: [MessageStatus!], $at: DateTime) { messages(filter: { status: $s, createdFrom: $at }) \
                     { nodes { id } } message(id: true) { id } }";
        let found = fields(query, json!({ "s": ["SENT", "LOST"], "at": "today" }));
        assert_eq!(found, ["filter.status[1]", "filter.createdFrom", "id"]);
        assert!(fields(query.replace("true", "12").as_str(), json!({ "s": ["SENT"] })).is_empty());
    }

    #[test]
    fn fragments_are_looked_into() {
        let query = "{ ...q } fragment q on Query { contacts(first: \"5\") { nodes { messages(first: 2.5) { nodes { id } } } } }";
        assert_eq!(fields(query, json!({})), ["first", "first"]);
    }

    #[test]
    fn a_text_that_cannot_be_a_name_is_not_repeated() {
        let found = fields(CREATE, json!({ "input": { "+4915112345678": 1 } }));
        assert!(found.iter().all(|field| !field.contains("4915")), "{found:?}");
    }
}
