//! Bounds of a query, judged on its text before anything runs: nothing here depends on data, and the measuring itself is
//! linear in the text, because every fragment is measured once however often it is spread.

use std::collections::HashMap;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field as AskedField, OperationDefinition, OperationType,
    Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::{ConstValue, Value};

use super::table::{Table, base};
use crate::application::error::{AppError, AppResult, ErrorCode};
use crate::application::page::{PAGE_DEFAULT, PAGE_MAX};

/// Bytes of a query's text.
pub const QUERY_BYTES_MAX: usize = 32 * 1024;
/// Levels of fields. Introspection, which needs more, has [`INTROSPECTION_DEPTH_MAX`].
pub const DEPTH_MAX: u64 = 12;
/// Levels of fields under `__schema` and `__type`.
pub const INTROSPECTION_DEPTH_MAX: u64 = 25;
/// Fields that an answer may have at most: each counts as often as the `first` of the lists around it says, so that
/// 500 messages with 100 fields each pass and lists of 500 within a list of 500 do not.
pub const COMPLEXITY_MAX: u64 = 50_000;
/// The same under `__schema` and `__type`, where lists are as long as the schema.
pub const INTROSPECTION_COMPLEXITY_MAX: u64 = 2_000_000;
/// Mutations of one request.
pub const ROOT_MUTATIONS_MAX: u64 = 10;
/// Aliases in the text.
pub const ALIASES_MAX: usize = 30;
/// Directives in the text.
pub const DIRECTIVES_MAX: usize = 20;
/// Brackets that may be open at once in the text.
const BRACKETS_MAX: usize = 64;

/// What a list costs beside its items: it is a look-up of its own.
const LIST_COST: u64 = 10;
/// What counting costs.
const COUNT_COST: u64 = 10;
/// An account's reach goes through a day's attempts of every number of its portfolio.
const REACH_COST: u64 = 200;
/// An account's health asks the journal, the key ring and several read models.
const HEALTH_COST: u64 = 50;
/// Rows that statistics are taken to have: most have far fewer than they may.
const STATS_ROWS: u64 = 1_000;

/// Points of a curve where nothing is said.
const CURVE_POINTS: u64 = 120;

fn too_complex(message: String) -> AppError {
    AppError::new(ErrorCode::QueryTooComplex, message)
}

/// Bounds that need no parser, and keep it safe.
///
/// # Errors
/// QUERY_TOO_COMPLEX.
pub(super) fn check_text(query: &str) -> AppResult<()> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(too_complex(format!(
            "a query has at most {QUERY_BYTES_MAX} bytes; send values as variables"
        )));
    }
    let (mut open, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in query.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' | b'(' if !is_text => open += 1,
            b'}' | b']' | b')' if !is_text => open = open.saturating_sub(1),
            _ => {}
        }
        if open > BRACKETS_MAX {
            return Err(too_complex(format!(
                "at most {BRACKETS_MAX} brackets may be open at once"
            )));
        }
    }
    Ok(())
}

/// Bounds of the document as a whole.
///
/// # Errors
/// QUERY_TOO_COMPLEX; VALIDATION_FAILED for fragments that contain themselves.
pub(super) fn check(
    document: &ExecutableDocument,
    variables: &Variables,
    table: &Table,
) -> AppResult<()> {
    let mut ruler =
        Ruler { document, variables, table, fragments: HashMap::new(), aliases: 0, directives: 0 };
    // Fragments that nobody spreads are measured too: validation walks them.
    for name in document.fragments.keys() {
        ruler.fragment(name)?;
    }
    for (_, operation) in document.operations.iter() {
        ruler.operation(&operation.node)?;
    }
    if ruler.aliases > ALIASES_MAX {
        return Err(too_complex(format!(
            "a query has at most {ALIASES_MAX} aliases, not {}",
            ruler.aliases
        )));
    }
    if ruler.directives > DIRECTIVES_MAX {
        return Err(too_complex(format!(
            "a query has at most {DIRECTIVES_MAX} directives, not {}",
            ruler.directives
        )));
    }
    Ok(())
}

/// What a selection amounts to.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    complexity: u64,
    depth: u64,
    /// The same under `__schema` and `__type`.
    introspection: u64,
    introspection_depth: u64,
    /// Fields of the selection itself.
    fields: u64,
}

impl Size {
    fn and(self, other: Self) -> Self {
        Self {
            complexity: self.complexity.saturating_add(other.complexity),
            depth: self.depth.max(other.depth),
            introspection: self.introspection.saturating_add(other.introspection),
            introspection_depth: self.introspection_depth.max(other.introspection_depth),
            fields: self.fields.saturating_add(other.fields),
        }
    }
}

struct Ruler<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    table: &'a Table,
    /// `None`: being measured.
    fragments: HashMap<Name, Option<Size>>,
    aliases: usize,
    directives: usize,
}

impl<'a> Ruler<'a> {
    fn operation(&mut self, operation: &'a OperationDefinition) -> AppResult<()> {
        self.count(&operation.directives);
        let root = Table::root(operation.ty);
        let size = self.selection(&operation.selection_set.node, Some(root), operation)?;
        if operation.ty == OperationType::Mutation && size.fields > ROOT_MUTATIONS_MAX {
            return Err(too_complex(format!(
                "one request has at most {ROOT_MUTATIONS_MAX} mutations, not {}",
                size.fields
            )));
        }
        if size.depth > DEPTH_MAX || size.introspection_depth > INTROSPECTION_DEPTH_MAX {
            return Err(too_complex(format!("a query is at most {DEPTH_MAX} levels deep")));
        }
        if size.complexity > COMPLEXITY_MAX || size.introspection > INTROSPECTION_COMPLEXITY_MAX {
            return Err(too_complex(format!(
                "the query could answer more than {COMPLEXITY_MAX} fields; ask for fewer of them, or give `first`"
            )));
        }
        Ok(())
    }

    fn count(&mut self, directives: &[Positioned<Directive>]) {
        self.directives += directives.len();
    }

    fn fragment(&mut self, name: &Name) -> AppResult<Size> {
        match self.fragments.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => {
                return Err(AppError::new(
                    ErrorCode::ValidationFailed,
                    "a fragment must not contain itself",
                ));
            }
            None => {}
        }
        // An unknown fragment is validation's to refuse.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Size::default()) };
        self.fragments.insert(name.clone(), None);
        self.count(&fragment.node.directives);
        let parent = fragment.node.type_condition.node.on.node.as_str();
        let operation =
            self.document.operations.iter().next().map(|(_, operation)| &operation.node);
        let size = match operation {
            Some(operation) => {
                self.selection(&fragment.node.selection_set.node, Some(parent), operation)?
            }
            None => Size::default(),
        };
        self.fragments.insert(name.clone(), Some(size));
        Ok(size)
    }

    fn selection(
        &mut self,
        set: &'a SelectionSet,
        parent: Option<&str>,
        operation: &'a OperationDefinition,
    ) -> AppResult<Size> {
        let mut size = Size::default();
        for item in &set.items {
            let part = match &item.node {
                Selection::Field(field) => self.field(&field.node, parent, operation)?,
                Selection::FragmentSpread(spread) => {
                    self.count(&spread.node.directives);
                    self.fragment(&spread.node.fragment_name.node)?
                }
                Selection::InlineFragment(inline) => {
                    self.count(&inline.node.directives);
                    let on = inline.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                    self.selection(&inline.node.selection_set.node, on.or(parent), operation)?
                }
            };
            size = size.and(part);
        }
        Ok(size)
    }

    fn field(
        &mut self,
        field: &'a AskedField,
        parent: Option<&str>,
        operation: &'a OperationDefinition,
    ) -> AppResult<Size> {
        self.aliases += usize::from(field.alias.is_some());
        self.count(&field.directives);
        let name = field.name.node.as_str();
        if name == "__schema"
            || name == "__type"
            || parent.is_some_and(|parent| parent.starts_with("__"))
        {
            let inner =
                self.selection(&field.selection_set.node, Some("__Introspected"), operation)?;
            let times = match name {
                "types" => 120,
                "fields" | "inputFields" | "enumValues" => 15,
                "args" | "directives" | "possibleTypes" | "interfaces" => 5,
                _ => 1,
            };
            return Ok(Size {
                introspection: inner.introspection.saturating_mul(times).saturating_add(1),
                introspection_depth: inner.introspection_depth + 1,
                fields: 1,
                ..Size::default()
            });
        }
        let known = parent.and_then(|parent| self.table.field(parent, name));
        let inner = self.selection(
            &field.selection_set.node,
            known.map(|known| base(&known.ty)),
            operation,
        )?;
        let is_list = known.is_some_and(|known| known.args.iter().any(|arg| arg.name == "first"));
        let is_account = parent == Some("Account");
        let (own, times) = match (name, is_list) {
            ("reach", _) if is_account => (REACH_COST, 1),
            ("health" | "loopTest", _) if is_account => (HEALTH_COST, 1),
            // It may be the reach.
            ("waitingFor", _) if parent == Some("Campaign") => (REACH_COST, 1),
            ("changes", _) if parent == Some("Trail") => (REACH_COST, 1),
            ("replayPreview", _) => (REACH_COST, 1),
            ("progressOverTime", _) => (LIST_COST, CURVE_POINTS),
            ("launchedBy", _) if parent == Some("Message") => (LIST_COST, 1),
            ("deliveryStats", _) => (LIST_COST, STATS_ROWS),
            (_, true) => (LIST_COST, self.items(field, operation)),
            ("totalCount" | "totalCountExact" | "size", _) => (COUNT_COST, 1),
            _ => (1, self.inputs(field)),
        };
        Ok(Size {
            complexity: inner.complexity.saturating_mul(times).saturating_add(own),
            depth: inner.depth + 1,
            introspection: inner.introspection,
            introspection_depth: inner.introspection_depth,
            fields: 1,
        })
    }

    /// How many items a list may have. More than a page can hold is refused where the list is made.
    fn items(&self, field: &AskedField, operation: &OperationDefinition) -> u64 {
        let asked = ["first", "last"].iter().find_map(|name| {
            let value = &field.arguments.iter().find(|(arg, _)| arg.node == *name)?.1.node;
            match value {
                Value::Number(number) => number.as_u64(),
                Value::Variable(name) => match self.variables.get(name) {
                    Some(ConstValue::Number(number)) => number.as_u64(),
                    Some(_) => None,
                    // Left out: its default, wherever a fragment is spread; else the most there can be.
                    None => {
                        let definition = operation
                            .variable_definitions
                            .iter()
                            .find(|definition| definition.node.name.node == *name);
                        let default = definition
                            .and_then(|definition| definition.node.default_value.as_ref());
                        match default.map(|default| &default.node) {
                            Some(ConstValue::Number(number)) => number.as_u64(),
                            Some(_) => None,
                            None => definition.is_none().then_some(PAGE_MAX as u64),
                        }
                    }
                },
                _ => None,
            }
        });
        asked.unwrap_or(PAGE_DEFAULT as u64).min(PAGE_MAX as u64)
    }

    /// What is answered once per input.
    fn inputs(&self, field: &AskedField) -> u64 {
        let Some((_, value)) = field.arguments.iter().find(|(arg, _)| arg.node == "inputs") else {
            return 1;
        };
        let count = match &value.node {
            Value::List(items) => items.len(),
            Value::Variable(name) => match self.variables.get(name) {
                Some(ConstValue::List(items)) => items.len(),
                _ => 1,
            },
            _ => 1,
        };
        (count as u64).clamp(1, PAGE_MAX as u64)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn check(query: &str) -> AppResult<()> {
        check_with(query, serde_json::json!({}))
    }

    fn check_with(query: &str, variables: serde_json::Value) -> AppResult<()> {
        check_text(query)?;
        let document = parse_query(query).unwrap();
        let table = crate::graphql::table();
        super::check(&document, &Variables::from_json(variables), &table)
    }

    fn is_too_complex(query: &str) -> bool {
        check(query).is_err_and(|error| error.code == ErrorCode::QueryTooComplex)
    }

    #[test]
    fn a_full_page_with_its_contacts_passes_and_a_page_of_pages_does_not() {
        check("{ messages(first: 500) { totalCount nodes { id status to preview contact { id name phoneNumber } } } }")
            .unwrap();
        check("{ campaigns { nodes { id template { name } progress { recipients read failures { title count } } } } }")
            .unwrap();
        assert!(is_too_complex(
            "{ contacts(first: 500) { nodes { messages(first: 500) { nodes { id } } } } }"
        ));
        assert!(is_too_complex(
            "{ contacts(last: 500) { nodes { messages(first: 500) { nodes { id } } } } }"
        ));
    }

    #[test]
    fn what_an_account_has_to_work_out_costs_what_it_is_worth() {
        check("{ accounts { nodes { id health { check ok } reach { used limit } } } }").unwrap();
        check("{ accounts(first: 500) { nodes { id name status } } }").unwrap();
        assert!(is_too_complex("{ accounts(first: 500) { nodes { reach { used } } } }"));
        assert!(is_too_complex(
            "{ accounts(first: 250) { nodes { health { check ok at detail remedy } reach { used } } } }"
        ));
    }

    #[test]
    fn a_variable_counts_for_what_it_is() {
        let query = "query($n: Int = 500) { contacts(first: $n) { nodes { messages(first: $n) { nodes { id } } } } }";
        assert!(check_with(query, serde_json::json!({ "n": 10 })).is_ok());
        assert!(check_with(query, serde_json::json!({})).is_err());
        assert!(check_with(query, serde_json::json!({ "n": 400 })).is_err());
    }

    #[test]
    fn fragments_are_measured_once_and_count_as_often_as_they_are_spread() {
        let mut query = "{ messages(first: 1) { nodes { ...f0 } } } ".to_owned();
        for n in 0..60 {
            query += &format!("fragment f{n} on Message {{ ...f{m} ...f{m} }} ", m = n + 1);
        }
        query += "fragment f60 on Message { id }";
        assert!(is_too_complex(&query));
        let cycle = "{ messages { nodes { ...a } } } fragment a on Message { ...b } fragment b on Message { ...a }";
        assert_eq!(check(cycle).unwrap_err().code, ErrorCode::ValidationFailed);
    }

    #[test]
    fn depth_aliases_directives_mutations_and_brackets_are_bounded() {
        let deep = |levels: usize| {
            let open = "contact { messages { nodes { ".repeat(levels);
            format!(
                "{{ messages(first: 1) {{ nodes {{ {open} id {} }} }} }}",
                "} } }".repeat(levels)
            )
        };
        assert!(is_too_complex(&deep(4)));
        let many = |n: usize, part: &dyn Fn(usize) -> String| {
            (0..n).map(part).collect::<Vec<_>>().join(" ")
        };
        let aliases = |n| format!("{{ {} }}", many(n, &|i| format!("a{i}: viewer {{ id }}")));
        check(&aliases(30)).unwrap();
        assert!(is_too_complex(&aliases(31)));
        let directives =
            |n| format!("{{ {} }}", many(n, &|_| "viewer @include(if: true) { id }".to_owned()));
        check(&directives(20)).unwrap();
        assert!(is_too_complex(&directives(21)));
        let mutations = |n| {
            format!(
                "mutation {{ {} }}",
                many(n, &|i| format!("m{i}: deleteSegment(id: \"1\") {{ position }}"))
            )
        };
        check(&mutations(10)).unwrap();
        assert!(is_too_complex(&mutations(11)));
        assert!(is_too_complex(&format!(
            "{{ previewSegment(rule: {}1{}) {{ count }} }}",
            "[".repeat(70),
            "]".repeat(70)
        )));
        assert!(is_too_complex(&format!("{{ viewer {{ id }} }} #{}", "x".repeat(QUERY_BYTES_MAX))));
    }

    #[test]
    fn a_text_with_brackets_is_no_nesting() {
        check(&format!("{{ message(id: \"{}\\\"{{\") {{ id }} }}", "[".repeat(100))).unwrap();
    }

    #[test]
    fn graphiql_may_ask_for_the_schema_but_not_for_its_product_with_itself() {
        check(include_str!("introspection.graphql")).unwrap();
        let nested = "{ __schema { types { fields { type { fields { type { fields { type { fields { type { fields \
                      { name } } } } } } } } } } } }";
        assert!(is_too_complex(nested));
    }
}
