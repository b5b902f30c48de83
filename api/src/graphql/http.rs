//! GraphQL over HTTP: POST of `application/json`, one operation per request, bounded before and while it runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType,
};
use async_graphql::{Request, Response, ServerError, Variables};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::{Refusal, internal, of_execution};
use super::session::Session;
use super::{Schema, bounds, coerce, graphiql, omitted, websocket};
use crate::app::Gateway;
use crate::application::Caller;
use crate::application::error::{AppError, ErrorCode};
use crate::http::{State, authenticate};

/// The largest body.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a request may take. A query is then given up; a mutation goes on and its answer is lost.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

const LEGACY: &str = "application/json; charset=utf-8";
const MODERN: &str = "application/graphql-response+json; charset=utf-8";

pub(super) fn configure(routes: &mut web::ServiceConfig) {
    routes.route("/graphql/assets/{name}", web::get().to(graphiql::asset)).service(
        web::resource("/graphql")
            .route(web::get().to(get))
            .route(web::post().to(post))
            .default_service(web::to(other)),
    );
}

/// A browser gets GraphiQL, whoever upgrades subscriptions; everybody else has to POST.
async fn get(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    if request.headers().contains_key(UPGRADE) {
        return websocket::open(request, payload, state).await;
    }
    let accepts = |kind: &str| header(&request, ACCEPT.as_str()).contains(kind);
    if accepts("text/html") { graphiql::page() } else { other(request).await }
}

async fn other(request: HttpRequest) -> HttpResponse {
    let form = Form::of(&request);
    let problems = [json!({
        "message": "send GraphQL requests as POST with Content-Type: application/json",
        "extensions": { "code": ErrorCode::ValidationFailed.as_str() },
    })];
    form.answer(
        StatusCode::METHOD_NOT_ALLOWED,
        errors(&problems),
        &[(ALLOW.as_str(), "GET, POST".to_owned())],
    )
}

async fn post(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let began = Instant::now();
    let form = Form::of(&request);
    let answer = match receive(&request, payload, &state).await {
        Ok((caller, asked)) => run(&state.schema, &state.gateway, caller, asked).await,
        Err(stopped) => Err(stopped),
    };
    metrics::histogram!("gateway_graphql_seconds").record(began.elapsed().as_secs_f64());
    match answer {
        Ok(Answered { body, has_errors }) => {
            let outcome = if has_errors { "errors" } else { "ok" };
            metrics::counter!("gateway_graphql_requests_total", "outcome" => outcome).increment(1);
            form.answer(StatusCode::OK, body, &[])
        }
        Err(Stopped { status, refusal, retry_after }) => {
            metrics::counter!("gateway_graphql_requests_total", "outcome" => refusal.code.as_str())
                .increment(1);
            let status = status.unwrap_or_else(|| form.status(refusal.code));
            let seconds =
                retry_after.map(|wait| (wait.as_secs_f64().ceil().max(1.0) as u64).to_string());
            let headers: Vec<_> =
                seconds.map(|seconds| (RETRY_AFTER.as_str(), seconds)).into_iter().collect();
            form.answer(status, errors(&refusal.errors), &headers)
        }
    }
}

/// The media type of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `application/json`: 200 whenever the body can say what is wrong.
    Legacy,
    /// `application/graphql-response+json`: 4xx where the request fails before execution.
    Modern,
}

impl Form {
    fn of(request: &HttpRequest) -> Self {
        Self::named_by(header(request, ACCEPT.as_str()))
    }

    /// Whichever stands first; clients that know both put the one they prefer there.
    fn named_by(accept: &str) -> Self {
        let position =
            |kind: &str| accept.split(',').position(|part| part.trim().starts_with(kind));
        match (position("application/graphql-response+json"), position("application/json")) {
            (Some(modern), Some(legacy)) if modern < legacy => Self::Modern,
            (Some(_), None) => Self::Modern,
            _ => Self::Legacy,
        }
    }

    /// The status of a request that failed before execution.
    fn status(self, code: ErrorCode) -> StatusCode {
        match (self, code) {
            (Self::Legacy, _) => StatusCode::OK,
            (Self::Modern, ErrorCode::Unauthenticated) => StatusCode::UNAUTHORIZED,
            (Self::Modern, ErrorCode::Forbidden) => StatusCode::FORBIDDEN,
            (Self::Modern, ErrorCode::RateLimited) => StatusCode::TOO_MANY_REQUESTS,
            (Self::Modern, ErrorCode::Unavailable | ErrorCode::Stale) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            (Self::Modern, ErrorCode::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
            (Self::Modern, _) => StatusCode::BAD_REQUEST,
        }
    }

    fn answer(self, status: StatusCode, body: Vec<u8>, headers: &[(&str, String)]) -> HttpResponse {
        let mut response = HttpResponse::build(status);
        response.insert_header((CONTENT_TYPE, if self == Self::Modern { MODERN } else { LEGACY }));
        response.insert_header((CACHE_CONTROL, "no-store"));
        for (name, value) in headers {
            response.insert_header((*name, value.as_str()));
        }
        response.body(body)
    }
}

/// A body without data.
fn errors(errors: &[Value]) -> Vec<u8> {
    json!({ "errors": errors }).to_string().into_bytes()
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Why nothing ran.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Where it does not depend on the form of the answer.
    status: Option<StatusCode>,
    pub refusal: Refusal,
    retry_after: Option<Duration>,
}

impl Stopped {
    pub fn new(error: &AppError, gateway: &Gateway) -> Self {
        Self { status: None, refusal: Refusal::of(error, gateway), retry_after: None }
    }

    /// By what must not happen.
    fn inside(what: &str, gateway: &Gateway) -> Self {
        let refusal = Refusal { code: ErrorCode::Internal, errors: vec![internal(gateway, what)] };
        Self { status: None, refusal, retry_after: None }
    }

    /// By errors of an execution that has nothing to show.
    pub fn by(errors: &[ServerError], gateway: &Gateway) -> Self {
        let errors: Vec<Value> = errors.iter().map(|error| of_execution(error, gateway)).collect();
        let code = match errors[0]["extensions"]["code"].as_str() {
            Some("QUERY_TOO_COMPLEX") => ErrorCode::QueryTooComplex,
            Some("INTERNAL") => ErrorCode::Internal,
            _ => ErrorCode::ValidationFailed,
        };
        Self { status: None, refusal: Refusal { code, errors }, retry_after: None }
    }

    fn with(status: StatusCode, code: ErrorCode, message: String, gateway: &Gateway) -> Self {
        Self { status: Some(status), ..Self::new(&AppError::new(code, message), gateway) }
    }
}

/// The body of a request. Nothing else in it is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    query: String,
    #[serde(default)]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<Value>,
}

/// Who asks comes first: nothing is read for strangers.
async fn receive(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> Result<(Caller, Asked), Stopped> {
    let gateway = &*state.gateway;
    let stopped = |error: &AppError| Stopped::new(error, gateway);
    // A browser cannot send this type across origins without asking first.
    let kind = header(request, CONTENT_TYPE.as_str()).split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Stopped::with(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::ValidationFailed,
            "send the request with Content-Type: application/json".to_owned(),
            gateway,
        ));
    }
    let caller = authenticate(request, state).await.map_err(|error| stopped(&error))?;
    admit(&caller, state)?;
    let body = match payload.to_bytes_limited(BODY_BYTES_MAX).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let error =
                AppError::new(ErrorCode::ValidationFailed, "the body could not be read to its end");
            return Err(stopped(&error));
        }
        Err(_) => {
            return Err(Stopped::with(
                StatusCode::PAYLOAD_TOO_LARGE,
                ErrorCode::QueryTooComplex,
                format!(
                    "a request has at most {BODY_BYTES_MAX} bytes; large files go to POST /imports"
                ),
                gateway,
            ));
        }
    };
    let asked = read(&body).map_err(|error| stopped(&error))?;
    Ok((caller, asked))
}

/// Takes one request of what the caller's key may ask.
pub(super) fn admit(caller: &Caller, state: &State) -> Result<(), Stopped> {
    let Some(key) = caller.principal() else { return Ok(()) };
    let Err(wait) = state.schema.limiter.take(key, Instant::now()) else { return Ok(()) };
    let error =
        AppError::new(ErrorCode::RateLimited, "this key asks too often; try again a little later");
    let mut stopped = Stopped::new(&error, &state.gateway);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    stopped.refusal.errors[0]["extensions"]["retryAfterMs"] = json!(wait_ms);
    stopped.retry_after = Some(wait);
    Err(stopped)
}

fn read(body: &[u8]) -> Result<Asked, AppError> {
    let invalid = |message: &str| AppError::new(ErrorCode::ValidationFailed, message);
    let body: Value = serde_json::from_slice(body).map_err(|_| {
        invalid("the body is not JSON; send {\"query\": …, \"variables\": …, \"operationName\": …}")
    })?;
    match &body {
        Value::Object(_) => {}
        Value::Array(_) => {
            return Err(invalid("send one operation per request; a list of them is not accepted"));
        }
        _ => return Err(invalid("the body must be an object with the query")),
    }
    Asked::of(body)
}

impl Asked {
    /// # Errors
    /// VALIDATION_FAILED.
    pub fn of(body: Value) -> Result<Self, AppError> {
        let invalid = |message: &str| AppError::new(ErrorCode::ValidationFailed, message);
        let asked: Self = serde_json::from_value(body)
            .map_err(|_| invalid("`query` must be text; `operationName`, where given, text too"))?;
        match asked.variables {
            None | Some(Value::Null | Value::Object(_)) => Ok(asked),
            Some(_) => Err(invalid("`variables` must be an object")),
        }
    }
}

/// The answer of a request that ran, as JSON.
pub(super) struct Answered {
    pub body: Vec<u8>,
    pub has_errors: bool,
}

/// A request that was checked, and what it asks for.
pub(super) struct Checked {
    pub request: Request,
    pub operation: OperationType,
}

/// Checks one request, whichever way it came. Why it is not run, where it is not.
pub(super) fn check(
    schema: &Schema,
    gateway: &Arc<Gateway>,
    caller: Caller,
    asked: Asked,
) -> Result<Checked, Stopped> {
    let stopped = |error: &AppError| Stopped::new(error, gateway);
    bounds::check_text(&asked.query).map_err(|error| stopped(&error))?;
    let variables = asked.variables.map_or_else(Variables::default, Variables::from_json);
    let mut request = Request::new(asked.query).variables(variables.clone());
    if let Some(name) = &asked.operation_name {
        request = request.operation_name(name);
    }
    let document = request.parsed_query().map_err(|error| {
        let refusal = Refusal {
            code: ErrorCode::ValidationFailed,
            errors: vec![of_execution(&error, gateway)],
        };
        Stopped { status: None, refusal, retry_after: None }
    })?;
    bounds::check(document, &variables, &schema.table).map_err(|error| stopped(&error))?;
    let operation =
        selected(document, asked.operation_name.as_deref()).map_err(|error| stopped(&error))?;
    let problems = coerce::problems(document, operation, &variables, &schema.table);
    if !problems.is_empty() {
        return Err(Stopped {
            status: None,
            refusal: Refusal::all(&problems, gateway),
            retry_after: None,
        });
    }
    let operation = operation.ty;
    let mut document = document.clone();
    omitted::drop_from(&mut document, &variables);
    request.set_parsed_query(document);
    Ok(Checked { request: request.data(Session::new(gateway.clone(), caller)), operation })
}

/// Checks and runs a query or a mutation. The answer, or why nothing ran.
pub(super) async fn run(
    schema: &Schema,
    gateway: &Arc<Gateway>,
    caller: Caller,
    asked: Asked,
) -> Result<Answered, Stopped> {
    let Checked { request, operation } = check(schema, gateway, caller, asked)?;
    if operation == OperationType::Subscription {
        let error = AppError::new(
            ErrorCode::ValidationFailed,
            "subscriptions go over a WebSocket: upgrade GET /graphql with the protocol graphql-transport-ws",
        );
        return Err(Stopped::new(&error, gateway));
    }
    execute(schema, gateway, request, operation).await
}

/// Runs what was checked.
pub(super) async fn execute(
    schema: &Schema,
    gateway: &Arc<Gateway>,
    request: Request,
    operation: OperationType,
) -> Result<Answered, Stopped> {
    let is_mutation = operation == OperationType::Mutation;
    let stopped = |error: &AppError| Stopped::new(error, gateway);
    let schema = schema.executable.clone();
    // Its own task: a client that hangs up must not cut a mutation in half, and a panic must not go further.
    let mut task = tokio::spawn(async move { schema.execute(request).await });
    match tokio::time::timeout(REQUEST_TIME_MAX, &mut task).await {
        Ok(Ok(response)) => answer(response, gateway),
        Ok(Err(error)) => {
            let what = if error.is_panic() {
                "a resolver panicked"
            } else {
                "a request's task was cancelled"
            };
            Err(Stopped::inside(what, gateway))
        }
        Err(_) => {
            let message = if is_mutation {
                "the mutation takes longer than 10 s and goes on; look at what it changes, or repeat it with its idempotencyKey"
            } else {
                task.abort();
                "the query took longer than 10 s; ask for less at once"
            };
            Err(stopped(&AppError::new(ErrorCode::Unavailable, message)))
        }
    }
}

/// The operation that is to run.
fn selected<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, AppError> {
    let invalid = |message: &str| AppError::new(ErrorCode::ValidationFailed, message);
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(&operation.node),
        (DocumentOperations::Single(_), Some(_)) => Err(invalid(
            "operationName names no operation of the query; the query's only one has no name",
        )),
        (DocumentOperations::Multiple(operations), Some(name)) => operations
            .get(name)
            .map(|operation| &operation.node)
            .ok_or_else(|| invalid("operationName names no operation of the query")),
        (DocumentOperations::Multiple(operations), None) => match operations.values().next() {
            Some(operation) if operations.len() == 1 => Ok(&operation.node),
            _ => Err(invalid("the query has several operations; name one as operationName")),
        },
    }
}

pub(super) fn answer(response: Response, gateway: &Gateway) -> Result<Answered, Stopped> {
    let is_refused = !response.errors.is_empty()
        && response.data == async_graphql::Value::Null
        && response.errors.iter().all(|error| error.path.is_empty());
    if is_refused {
        return Err(Stopped::by(&response.errors, gateway));
    }
    let errors: Vec<Value> =
        response.errors.iter().map(|error| of_execution(error, gateway)).collect();
    #[derive(Serialize)]
    struct Body {
        data: async_graphql::Value,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        errors: Vec<Value>,
    }
    let has_errors = !errors.is_empty();
    match serde_json::to_vec(&Body { data: response.data, errors }) {
        Ok(body) => Ok(Answered { body, has_errors }),
        Err(_) => Err(Stopped::inside("an answer has no JSON form", gateway)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_answer_is_the_one_the_client_names_first() {
        assert_eq!(Form::named_by(""), Form::Legacy);
        assert_eq!(Form::named_by("*/*"), Form::Legacy);
        assert_eq!(Form::named_by("application/json"), Form::Legacy);
        assert_eq!(Form::named_by("application/graphql-response+json"), Form::Modern);
        assert_eq!(
            Form::named_by("application/graphql-response+json, application/json;q=0.9"),
            Form::Modern
        );
        assert_eq!(
            Form::named_by("application/json, application/graphql-response+json"),
            Form::Legacy
        );
    }

    #[test]
    fn a_body_is_one_request() {
        assert!(read(br#"{"query":"{ viewer { id } }"}"#).is_ok());
        assert!(read(br#"{"query":"{ viewer { id } }","variables":null,"operationName":null,"extensions":{}}"#).is_ok());
        for wrong in
            ["", "[]", "7", r#"[{"query":"{ viewer { id } }"}]"#, r#"{"query":7}"#, r#"{}"#]
        {
            assert_eq!(
                read(wrong.as_bytes()).unwrap_err().code,
                ErrorCode::ValidationFailed,
                "{wrong}"
            );
        }
        assert!(read(br#"{"query":"{ viewer { id } }","variables":[1]}"#).is_err());
    }

    #[test]
    fn the_operation_is_chosen_by_name() {
        let parse = |query: &str| async_graphql::parser::parse_query(query).unwrap();
        let two =
            parse("query a { viewer { id } } mutation b { deleteSegment(id: 1) { position } }");
        assert_eq!(selected(&two, Some("b")).unwrap().ty, OperationType::Mutation);
        assert!(selected(&two, None).is_err());
        assert!(selected(&two, Some("c")).is_err());
        assert!(selected(&parse("query a { viewer { id } }"), None).is_ok());
        assert!(selected(&parse("{ viewer { id } }"), Some("a")).is_err());
    }
}
