//! The schema as a table of fields, arguments and inputs, read from its own SDL: what queries are measured and checked
//! against before anything runs, and the catalogue that tests go through.

use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, InputValueDefinition, OperationType, Type, TypeKind, TypeSystemDefinition,
};

/// Types by name, and the roots.
#[derive(Debug, Default)]
pub(super) struct Table {
    objects: HashMap<String, HashMap<String, Field>>,
    inputs: HashMap<String, Vec<Input>>,
    enums: HashMap<String, Vec<String>>,
    query: Vec<String>,
    mutation: Vec<String>,
}

/// A field of an object.
#[derive(Debug)]
pub(super) struct Field {
    pub ty: Type,
    pub description: String,
    pub args: Vec<Input>,
}

/// An argument, or a field of an input object.
#[derive(Debug)]
pub(super) struct Input {
    pub name: String,
    pub ty: Type,
    pub has_default: bool,
}

/// A field of the schema's roots, for whoever has to go through all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    pub name: String,
    pub kind: FieldKind,
    /// The type as SDL has it.
    pub ty: String,
    /// The scopes that it needs, as its description names them; empty: any key will do.
    pub scopes: Vec<String>,
    pub args: Vec<ArgumentInfo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Query,
    Mutation,
}

/// An argument, or a field of the input object that an argument takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentInfo {
    pub name: String,
    /// The type as SDL has it, such as `[ID!]`.
    pub ty: String,
    /// It has to be given.
    pub required: bool,
    /// The values of an enum; empty for everything else.
    pub values: Vec<String>,
    /// The fields of an input object, five levels deep at most (an audience excludes another audience); empty for
    /// everything else.
    pub fields: Vec<ArgumentInfo>,
}

/// Levels of input objects that the catalogue shows.
const CATALOGUE_DEPTH: u32 = 5;

impl Table {
    /// Reads the SDL that the schema itself printed.
    pub fn of(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the schema prints SDL that can be read");
        let mut table = Self::default();
        for definition in document.definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let name = definition.node.name.node.to_string();
            match definition.node.kind {
                TypeKind::Object(object) => {
                    let fields = object.fields.into_iter().map(|field| {
                        let field = field.node;
                        let args =
                            field.arguments.into_iter().map(|arg| Input::of(arg.node)).collect();
                        let description =
                            field.description.map(|text| text.node).unwrap_or_default();
                        (
                            field.name.node.to_string(),
                            Field { ty: field.ty.node, description, args },
                        )
                    });
                    let fields: Vec<_> = fields.collect();
                    let names = || fields.iter().map(|(name, _)| name.clone()).collect();
                    match name.as_str() {
                        "Query" => table.query = names(),
                        "Mutation" => table.mutation = names(),
                        _ => {}
                    }
                    table.objects.insert(name, fields.into_iter().collect());
                }
                TypeKind::InputObject(input) => {
                    table.inputs.insert(
                        name,
                        input.fields.into_iter().map(|field| Input::of(field.node)).collect(),
                    );
                }
                TypeKind::Enum(values) => {
                    let values =
                        values.values.into_iter().map(|value| value.node.value.node.to_string());
                    table.enums.insert(name, values.collect());
                }
                TypeKind::Scalar | TypeKind::Interface(_) | TypeKind::Union(_) => {}
            }
        }
        table
    }

    pub fn root(kind: OperationType) -> &'static str {
        match kind {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        }
    }

    pub fn field(&self, object: &str, field: &str) -> Option<&Field> {
        self.objects.get(object)?.get(field)
    }

    pub fn input(&self, name: &str) -> Option<&[Input]> {
        self.inputs.get(name).map(Vec::as_slice)
    }

    pub fn values(&self, name: &str) -> Option<&[String]> {
        self.enums.get(name).map(Vec::as_slice)
    }

    pub fn catalogue(&self) -> Vec<FieldInfo> {
        let roots = [
            (FieldKind::Query, "Query", &self.query),
            (FieldKind::Mutation, "Mutation", &self.mutation),
        ];
        let mut catalogue = vec![];
        for (kind, root, names) in roots {
            for name in names {
                let Some(field) = self.field(root, name) else { continue };
                catalogue.push(FieldInfo {
                    name: name.clone(),
                    kind,
                    ty: field.ty.to_string(),
                    scopes: scopes(&field.description),
                    args: self.describe(&field.args, CATALOGUE_DEPTH),
                });
            }
        }
        catalogue
    }

    fn describe(&self, inputs: &[Input], depth: u32) -> Vec<ArgumentInfo> {
        let describe = |input: &Input| {
            let base = base(&input.ty);
            let fields = match self.input(base) {
                Some(fields) if depth > 0 => self.describe(fields, depth - 1),
                _ => vec![],
            };
            ArgumentInfo {
                name: input.name.clone(),
                ty: input.ty.to_string(),
                required: input.is_required(),
                values: self.values(base).map(<[String]>::to_vec).unwrap_or_default(),
                fields,
            }
        };
        inputs.iter().map(describe).collect()
    }
}

impl Input {
    fn of(definition: InputValueDefinition) -> Self {
        Self {
            name: definition.name.node.to_string(),
            ty: definition.ty.node,
            has_default: definition.default_value.is_some(),
        }
    }

    pub fn is_required(&self) -> bool {
        !self.ty.nullable && !self.has_default
    }
}

/// The named type inside of lists.
pub(super) fn base(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => base(inner),
    }
}

/// Descriptions end with "Scope SEND." or "Scopes MANAGE and PERSONAL."; what a clause after that says, holds sometimes only.
fn scopes(description: &str) -> Vec<String> {
    let Some((_, said)) = description.rsplit_once("Scope") else { return vec![] };
    let always = said.split([';', ',', '.']).next().unwrap_or_default();
    let known = domain::api_key::Scope::ALL.into_iter().map(domain::api_key::Scope::as_str);
    known
        .filter(|scope| always.split_whitespace().any(|word| word == *scope))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_and_mutation_says_what_scope_it_needs() {
        for field in crate::graphql::catalogue() {
            assert_eq!(field.scopes.is_empty(), field.name == "viewer", "{}", field.name);
        }
        assert_eq!(scopes("Erases. Scopes MANAGE and PERSONAL."), ["PERSONAL", "MANAGE"]);
        assert_eq!(scopes("Counts. Scope READ; for attributes, PERSONAL too."), ["READ"]);
    }
}
