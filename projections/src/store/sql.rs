//! Hand-written SQL in the common subset of SQLite and PostgreSQL, and the little that is rewritten before it runs.

use super::{Generations, Value};

/// Values in one list. Callers ask in chunks of at most this many.
pub const LIST_MAX: usize = 1_000;

/// A statement. In its text `?` stands for the next value, `?*` for the next list (`id ?*` reads "id is one of"), and
/// `{messages}` for the table of that name in the generation that is asked.
#[derive(Clone, Debug, Default)]
pub struct Sql {
    text: String,
    parameters: Vec<Parameter>,
}

#[derive(Clone, Debug)]
pub enum Parameter {
    One(Value),
    List(Vec<Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// A statement ready for one database.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub text: String,
    pub parameters: Vec<Parameter>,
}

impl Sql {
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), parameters: Vec::new() }
    }

    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.parameters.push(Parameter::One(value.into()));
        self
    }

    pub fn bind_list<T: Into<Value>>(&mut self, values: impl IntoIterator<Item = T>) -> &mut Self {
        self.parameters.push(Parameter::List(values.into_iter().map(Into::into).collect()));
        self
    }

    /// [`Self::bind`], for a statement written in one expression.
    #[must_use]
    pub fn with(mut self, value: impl Into<Value>) -> Self {
        self.bind(value);
        self
    }

    #[must_use]
    pub fn with_list<T: Into<Value>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        self.bind_list(values);
        self
    }

    /// Appends another statement's text and parameters.
    pub fn append(&mut self, other: Self) -> &mut Self {
        self.text.push_str(&other.text);
        self.parameters.extend(other.parameters);
        self
    }

    /// A projection that is still building one of the tables that are asked.
    pub(super) fn building(&self, generations: &Generations) -> Option<&'static str> {
        self.text.split('{').skip(1).find_map(|rest| {
            let (table, _) = rest.split_once('}')?;
            generations.builder_of(table)
        })
    }

    pub(super) fn render(&self, dialect: Dialect, generations: &Generations) -> Rendered {
        let mut text = String::with_capacity(self.text.len() + 32);
        let mut parameters = Vec::with_capacity(self.parameters.len());
        let mut given = self.parameters.iter();
        let mut number = 0;
        let mut rest = self.text.as_str();
        while let Some(at) = rest.find(['?', '{']) {
            text.push_str(&rest[..at]);
            let marked = &rest[at..];
            if let Some(name) = marked.strip_prefix('{') {
                let end = name.find('}').unwrap_or(name.len());
                text.push_str(&generations.table(&name[..end]));
                rest = name.get(end + 1..).unwrap_or_default();
                continue;
            }
            let is_list = marked.starts_with("?*");
            rest = &marked[if is_list { 2 } else { 1 }..];
            match given.next() {
                Some(Parameter::List(values)) if values.is_empty() => text.push_str("IN (NULL)"),
                Some(Parameter::List(values)) => {
                    push_list(&mut text, &mut parameters, &mut number, dialect, values);
                }
                Some(Parameter::One(value)) => {
                    number += 1;
                    push_number(&mut text, dialect, number);
                    parameters.push(Parameter::One(value.clone()));
                }
                // A statement with fewer values than marks is a bug that the database reports.
                None => text.push('?'),
            }
        }
        text.push_str(rest);
        Rendered { text, parameters }
    }
}

fn push_number(text: &mut String, dialect: Dialect, number: usize) {
    text.push(match dialect {
        Dialect::Sqlite => '?',
        Dialect::Postgres => '$',
    });
    text.push_str(&number.to_string());
}

fn push_list(
    text: &mut String,
    parameters: &mut Vec<Parameter>,
    number: &mut usize,
    dialect: Dialect,
    values: &[Value],
) {
    match dialect {
        Dialect::Postgres => {
            *number += 1;
            text.push_str("= ANY(");
            push_number(text, dialect, *number);
            text.push(')');
            parameters.push(Parameter::List(values.to_vec()));
        }
        Dialect::Sqlite => {
            // Filled up to a power of two, so that lists of every length share a dozen prepared statements.
            text.push_str("IN (");
            let last = values.len() - 1;
            for index in 0..values.len().next_power_of_two() {
                if index > 0 {
                    text.push_str(", ");
                }
                *number += 1;
                push_number(text, dialect, *number);
                parameters.push(Parameter::One(values[index.min(last)].clone()));
            }
            text.push(')');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbered_and_lists_and_tables_are_filled_in() {
        let generations = Generations::of(&[("messages", 3)]);
        let sql = Sql::new("SELECT id FROM {messages} WHERE id ?* AND status = ?")
            .with_list([1i64, 2, 3])
            .with("READ");
        let sqlite = sql.render(Dialect::Sqlite, &generations);
        assert_eq!(
            sqlite.text,
            "SELECT id FROM messages_g3 WHERE id IN (?1, ?2, ?3, ?4) AND status = ?5"
        );
        assert_eq!(sqlite.parameters.len(), 5);
        let postgres = sql.render(Dialect::Postgres, &generations);
        assert_eq!(postgres.text, "SELECT id FROM messages_g3 WHERE id = ANY($1) AND status = $2");
        assert_eq!(postgres.parameters.len(), 2);
    }

    #[test]
    fn an_empty_list_holds_nothing() {
        let sql = Sql::new("SELECT 1 WHERE 1 ?*").with_list(Vec::<i64>::new());
        let rendered = sql.render(Dialect::Postgres, &Generations::default());
        assert_eq!(rendered.text, "SELECT 1 WHERE 1 IN (NULL)");
    }
}
