//! Errors as the contract has them: a code, the field that is wrong, and never a detail of what went wrong inside.

use std::sync::Arc;

use async_graphql::{Pos, ServerError};
use serde_json::{Value, json};

use crate::app::Gateway;
use crate::application::error::{AppError, ErrorCode};

/// What the caller is told instead of what went wrong inside.
const INTERNAL: &str = "something went wrong inside the gateway; its log has more under this id";

/// How a request ended, for its status where the client asks for one.
#[derive(Debug)]
pub(super) struct Refusal {
    pub code: ErrorCode,
    pub errors: Vec<Value>,
}

impl Refusal {
    /// Before anything ran.
    pub fn of(error: &AppError, gateway: &Gateway) -> Self {
        Self { code: error.code, errors: vec![of_use_case(error, gateway)] }
    }

    pub fn all(errors: &[AppError], gateway: &Gateway) -> Self {
        let code = errors.first().map_or(ErrorCode::ValidationFailed, |error| error.code);
        Self { code, errors: errors.iter().map(|error| of_use_case(error, gateway)).collect() }
    }
}

/// An error as JSON. What nobody outside may read is logged under an id.
pub(super) fn of_use_case(error: &AppError, gateway: &Gateway) -> Value {
    if error.code == ErrorCode::Internal {
        return internal(gateway, &chain(error));
    }
    if let (ErrorCode::Unavailable, Some(source)) = (error.code, &error.source) {
        tracing::warn!(error = %chain(source.as_ref()), "a request could not be answered");
    }
    let mut extensions = json!({ "code": error.code.as_str() });
    if let Some(field) = &error.field {
        extensions["field"] = json!(field);
    }
    if let Some(reason) = error.reason {
        extensions["reason"] = json!(reason);
    }
    json!({ "message": error.message, "extensions": extensions })
}

/// Something that must not happen did: the log has it, the caller its id.
pub(super) fn internal(gateway: &Gateway, what: &str) -> Value {
    let id = gateway.ids.next_id(gateway.clock.now()).to_string();
    tracing::error!(error.id = %id, error = what, "a request failed inside the gateway");
    json!({
        "message": INTERNAL,
        "extensions": { "code": ErrorCode::Internal.as_str(), "id": id },
    })
}

/// One of GraphQL's own or of a resolver's errors, with where it stands.
pub(super) fn of_execution(error: &ServerError, gateway: &Gateway) -> Value {
    let use_case =
        error.source::<AppError>().or_else(|| error.source::<Arc<AppError>>().map(AsRef::as_ref));
    let mut shown = match use_case {
        Some(use_case) => of_use_case(use_case, gateway),
        None => match own_code(error) {
            ErrorCode::Internal => internal(gateway, &error.message),
            code => {
                json!({ "message": sentence(&error.message), "extensions": { "code": code.as_str() } })
            }
        },
    };
    if !error.locations.is_empty() {
        let locations = error
            .locations
            .iter()
            .map(|Pos { line, column }| json!({ "line": line, "column": column }));
        shown["locations"] = locations.collect();
    }
    if !error.path.is_empty() {
        shown["path"] = json!(error.path);
    }
    shown
}

/// GraphQL's own errors have no code: before execution they are about the query, within it only about arguments.
fn own_code(error: &ServerError) -> ErrorCode {
    let text = error.message.as_str();
    let is_bound = text.starts_with("Query is too complex")
        || text.starts_with("Query is nested too deep")
        || text.starts_with("The recursion depth")
        || text.contains("recursion depth");
    let is_about_input = text.starts_with("Failed to parse")
        || text.starts_with("Expected input type")
        || text.contains("not defined");
    match (is_bound, error.path.is_empty() || is_about_input) {
        (true, _) => ErrorCode::QueryTooComplex,
        (false, true) => ErrorCode::ValidationFailed,
        (false, false) => ErrorCode::Internal,
    }
}

/// The parser draws the query around what it did not like; its last line says it.
fn sentence(message: &str) -> String {
    match message.trim_end().rsplit_once('\n') {
        Some((_, last)) => {
            let expected = last.trim().trim_start_matches(['=', ' ', '|']);
            format!("the query cannot be read: {expected}")
        }
        None => message.to_owned(),
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_is_one_sentence() {
        let error = async_graphql::parser::parse_query("{ messages(").unwrap_err();
        let error = ServerError::from(error);
        assert_eq!(own_code(&error), ErrorCode::ValidationFailed);
        let text = sentence(&error.message);
        assert!(
            text.starts_with("the query cannot be read: expected") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn an_error_within_execution_that_nobody_expected_is_internal() {
        let at = |path: &[&str], message: &str| {
            let path = path
                .iter()
                .map(|name| async_graphql::PathSegment::Field((*name).to_owned()))
                .collect();
            own_code(&ServerError::new(message, None).with_path(path))
        };
        assert_eq!(at(&["campaign"], "Data `Session` does not exist."), ErrorCode::Internal);
        assert_eq!(
            at(&["campaign"], "Failed to parse \"Int\": out of range"),
            ErrorCode::ValidationFailed
        );
        assert_eq!(at(&[], "Unknown field \"x\" on type \"Query\"."), ErrorCode::ValidationFailed);
        assert_eq!(at(&[], "Query is too complex."), ErrorCode::QueryTooComplex);
    }
}
