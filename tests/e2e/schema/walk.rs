//! Where inputs stand in the schema, and how a query with them looks.

use std::collections::BTreeMap;

use api::graphql::{ArgumentInfo, FieldInfo, FieldKind};
use serde_json::{Map, Value, json};

use super::lab::Lab;
use super::samples::part_of;

/// A place in a field's arguments, from the outside in.
#[derive(Clone, Debug)]
pub struct Place {
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    /// As SDL has it.
    pub ty: String,
    pub values: Vec<String>,
    pub required: bool,
}

impl Step {
    pub fn is_list(&self) -> bool {
        self.ty.starts_with('[')
    }

    pub fn base(&self) -> &str {
        self.ty.trim_matches(['[', ']', '!'])
    }
}

impl Place {
    pub fn last(&self) -> &Step {
        self.steps.last().expect("a place has a step")
    }

    /// As `extensions.field` tells it: names, and the place within the lists on the way.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                path.push('.');
            }
            path.push_str(&step.name);
            if step.is_list() && index + 1 < self.steps.len() {
                path.push_str("[0]");
            }
        }
        path
    }

    /// Puts a value here; what is missing on the way is made of the parts of its type.
    pub fn set(&self, args: &mut Value, value: Value) {
        let mut at = args;
        for (index, step) in self.steps.iter().enumerate() {
            if index + 1 == self.steps.len() {
                at[&step.name] = value;
                return;
            }
            if at[&step.name].is_null() {
                let part = part_of(step.base());
                at[&step.name] = if step.is_list() { json!([part]) } else { part };
            }
            at = &mut at[&step.name];
            if step.is_list() {
                at = &mut at[0];
            }
        }
    }
}

/// Every place in these arguments, input objects themselves included. An input object within one of its own type is
/// entered once.
pub fn places(args: &[ArgumentInfo]) -> Vec<Place> {
    let mut found = vec![];
    collect(args, &[], &mut found);
    found
}

fn collect(args: &[ArgumentInfo], above: &[Step], found: &mut Vec<Place>) {
    for arg in args {
        let step = Step {
            name: arg.name.clone(),
            ty: arg.ty.clone(),
            values: arg.values.clone(),
            required: arg.required,
        };
        let again = above.iter().filter(|known| known.base() == step.base()).count() > 1;
        let mut steps = above.to_vec();
        steps.push(step);
        found.push(Place { steps: steps.clone() });
        if !again {
            collect(&arg.fields, &steps, found);
        }
    }
}

/// The schema's types, as introspection tells them.
pub struct Types(BTreeMap<String, Value>);

impl Types {
    pub async fn of(lab: &Lab) -> Self {
        let query = "{ __schema { types { kind name fields { name args { name type { ...t } } type { ...t } } } } } \
                     fragment t on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";
        let data = lab.admin.ask(query, json!({})).await;
        let types = data["__schema"]["types"].as_array().expect("types");
        Self(
            types
                .iter()
                .map(|ty| (ty["name"].as_str().unwrap_or_default().to_owned(), ty.clone()))
                .collect(),
        )
    }

    /// Everything that a type offers without arguments that have to be given, some levels deep; nothing for what is no
    /// object. A type within itself is left out, and so are a page's edges, which say the same as its nodes.
    pub fn selection(&self, ty: &str, levels: usize) -> String {
        self.select(ty, levels, &mut vec![])
    }

    fn select(&self, ty: &str, levels: usize, above: &mut Vec<String>) -> String {
        let ty = ty.trim_matches(['[', ']', '!']);
        let known = self.0.get(ty).unwrap_or_else(|| panic!("introspection does not know {ty}"));
        let Some(fields) = known["fields"].as_array() else { return String::new() };
        above.push(ty.to_owned());
        let mut chosen = vec![];
        for field in fields {
            let name = field["name"].as_str().expect("a name");
            let mut inner = &field["type"];
            while !inner["ofType"].is_null() {
                inner = &inner["ofType"];
            }
            let inner = inner["name"].as_str().expect("a name");
            if inner.ends_with("Edge") {
                continue;
            }
            let has_fields = self.0[inner]["fields"].is_array();
            if !has_fields {
                chosen.push(name.to_owned());
            } else if levels > 0 && !above.iter().any(|known| known == inner) {
                // Of an object that has nothing but what is left out, nothing is asked.
                let inner_fields = self.select(inner, levels - 1, above);
                if inner_fields == "{  }" {
                    continue;
                }
                let is_page = field["args"]
                    .as_array()
                    .is_some_and(|args| args.iter().any(|arg| arg["name"] == "first"));
                let first = if is_page { "(first: 5)" } else { "" };
                chosen.push(format!("{name}{first} {inner_fields}"));
            }
        }
        above.pop();
        format!("{{ {} }}", chosen.join(" "))
    }

    /// Fields below the roots that take ids, as `Type.field`.
    pub fn inner_fields_with(&self, has: impl Fn(&str) -> bool) -> Vec<String> {
        let mut found = vec![];
        for (ty, known) in &self.0 {
            if ["Query", "Mutation", "Subscription"].contains(&ty.as_str()) || ty.starts_with("__")
            {
                continue;
            }
            for field in known["fields"].as_array().into_iter().flatten() {
                for arg in field["args"].as_array().into_iter().flatten() {
                    let mut inner = &arg["type"];
                    while !inner["ofType"].is_null() {
                        inner = &inner["ofType"];
                    }
                    if has(inner["name"].as_str().unwrap_or_default()) {
                        found.push(format!("{ty}.{}", field["name"].as_str().unwrap_or_default()));
                    }
                }
            }
        }
        found
    }
}

/// One query or mutation with all of its arguments as variables.
pub fn document(field: &FieldInfo, selection: &str) -> String {
    let kind = match field.kind {
        FieldKind::Query => "query",
        FieldKind::Mutation => "mutation",
    };
    if field.args.is_empty() {
        return format!("{kind} {{ {} {selection} }}", field.name);
    }
    // What has a default may be left out, and so may its variable.
    let ty = |arg: &ArgumentInfo| {
        if arg.required { arg.ty.clone() } else { arg.ty.trim_end_matches('!').to_owned() }
    };
    let declared: Vec<_> =
        field.args.iter().map(|arg| format!("${}: {}", arg.name, ty(arg))).collect();
    let passed: Vec<_> = field.args.iter().map(|arg| format!("{0}: ${0}", arg.name)).collect();
    format!(
        "{kind}({}) {{ {}({}) {selection} }}",
        declared.join(", "),
        field.name,
        passed.join(", ")
    )
}

/// All that an answer says, names of JSON's own keys left out.
pub fn texts(value: &Value) -> Vec<String> {
    let mut found = vec![];
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => rest.extend(items),
            Value::Object(object) => rest.extend(object.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    found
}

/// The first error of an answer, be it GraphQL's or that of one of many sends.
pub fn error_of(answer: &Value) -> Option<Value> {
    if let Some(error) = answer["errors"].get(0) {
        let mut shown = Map::new();
        shown.insert("message".to_owned(), error["message"].clone());
        shown.insert("extensions".to_owned(), error["extensions"].clone());
        return Some(Value::Object(shown));
    }
    let error = &answer["data"]["sendMessages"][0]["error"];
    if error.is_null() {
        return None;
    }
    let extensions = json!({ "code": error["code"], "field": error["field"].as_str().map(|field| field.replacen("input", "inputs[0]", 1)) });
    Some(json!({ "message": error["message"], "extensions": extensions }))
}
