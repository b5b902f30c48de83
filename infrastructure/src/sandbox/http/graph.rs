//! The Graph paths: `/{version}/…`, whatever they are mounted under.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_multipart::Multipart;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, TimeDelta};
use futures::StreamExt;
use serde_json::json;

use super::read_body;
use crate::sandbox::Sandbox;
use crate::sandbox::error::GraphError;
use crate::sandbox::graph::{Answer, Content, Next, Node, Request};
use crate::sandbox::media::{FILE_BYTES_MAX, Part, upload_error};

/// Longest body that is not a file.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A connection whose answer never comes is closed after this, if the caller has not given up.
const NO_ANSWER: Duration = Duration::from_secs(120);
/// Longest text field beside the file of an upload.
const FIELD_BYTES_MAX: usize = 1024;

/// Mounts `/{version}/…`. The sandbox's links to itself keep whatever scope this is mounted under.
pub fn configure_graph(config: &mut web::ServiceConfig, sandbox: Sandbox) {
    config.service(
        web::resource("/{version:v[0-9]+\\.[0-9]+}/{tail:.*}")
            .app_data(web::Data::new(sandbox))
            .route(web::route().to(call)),
    );
}

async fn call(
    http: HttpRequest,
    payload: web::Payload,
    sandbox: web::Data<Sandbox>,
) -> HttpResponse {
    let mut request = request(&http);
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let is_upload = request.method == "POST" && segments.len() == 2 && segments[1] == "media";
    let bytes_max = if segments.first().is_some_and(|first| first.starts_with("upload:")) {
        FILE_BYTES_MAX
    } else {
        BODY_BYTES_MAX
    };
    if is_upload {
        return upload(&http, payload, &sandbox, request).await;
    }
    let Some(body) = read_body(payload, bytes_max).await else {
        return HttpResponse::PayloadTooLarge().finish();
    };
    request.body = body;
    let next = sandbox.locked(&mut request, |state, request| state.graph(request));
    let answer = match next {
        Ok(Next::Answer(answer)) => Ok(answer),
        Ok(Next::Handshake { hook, of }) => {
            let proven = sandbox.handshake(&hook).await;
            sandbox
                .locked(&mut request, |state, request| state.set_hook(request, hook, &of, proven))
        }
        Err(error) => Err(error),
    };
    respond(&sandbox, &request, answer).await
}

async fn upload(
    http: &HttpRequest,
    payload: web::Payload,
    sandbox: &Sandbox,
    mut request: Request,
) -> HttpResponse {
    let number = match sandbox.locked(&mut request, |state, request| Ok(state.admit(request))) {
        Ok(Ok(Some(Node::Number(id)))) => Ok(id),
        Ok(Ok(_)) => Err(GraphError::no_such_object("post", &request.segments[0])),
        Ok(Err(error)) => Err(error),
        Err(error) => return respond(sandbox, &request, Err(error)).await,
    };
    let (number, part) = match number {
        Ok(number) => (number, read_part(http, payload).await),
        Err(error) => (String::new(), Err(error)),
    };
    let answer =
        sandbox.locked(&mut request, |state, request| state.upload(request, &number, part));
    respond(sandbox, &request, answer).await
}

async fn read_part(http: &HttpRequest, payload: web::Payload) -> Result<Part, GraphError> {
    let malformed =
        || GraphError::platform(100, "Invalid parameter: the body is not multipart/form-data");
    let mut parts = Multipart::new(http.headers(), payload);
    let mut part = Part { product: None, mime_type: None, file: None };
    while let Some(field) = parts.next().await {
        let mut field = field.map_err(|_| malformed())?;
        let name = field.name().unwrap_or_default().to_owned();
        let declared = field.content_type().map(ToString::to_string);
        let bytes_max = if name == "file" { FILE_BYTES_MAX } else { FIELD_BYTES_MAX };
        let mut bytes = BytesMut::new();
        while let Some(chunk) = field.next().await {
            let chunk = chunk.map_err(|_| malformed())?;
            if bytes.len() + chunk.len() > bytes_max {
                return Err(upload_error(format!("{name} has more than {bytes_max} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        match name.as_str() {
            "file" => {
                part.file = Some(bytes.freeze());
                if part.mime_type.is_none() {
                    part.mime_type = declared;
                }
            }
            "messaging_product" => part.product = text(bytes),
            "type" => part.mime_type = text(bytes),
            _ => {}
        }
    }
    Ok(part)
}

fn text(bytes: BytesMut) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok().filter(|text| !text.is_empty())
}

fn request(http: &HttpRequest) -> Request {
    let info = http.match_info();
    let (version, tail) =
        (info.get("version").unwrap_or_default(), info.get("tail").unwrap_or_default());
    let path = http.path();
    let prefix = path.find(&format!("/{version}/")).map_or("", |place| &path[..place]);
    let connection = http.connection_info();
    let mut query: BTreeMap<String, String> =
        url::form_urlencoded::parse(http.query_string().as_bytes())
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
    // A resumable upload tells its offset in a header.
    if let Some(offset) = http.headers().get("file_offset").and_then(|value| value.to_str().ok()) {
        query.insert("file_offset".to_owned(), offset.to_owned());
    }
    let bearer =
        http.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(
            |value| {
                let (scheme, token) = value.split_once(' ')?;
                let known =
                    scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
                known.then(|| token.trim().to_owned())
            },
        );
    Request {
        at: DateTime::UNIX_EPOCH,
        method: http.method().as_str().to_owned(),
        path: path.to_owned(),
        base: format!("{}://{}{prefix}", connection.scheme(), connection.host()),
        version: version.to_owned(),
        segments: tail.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        query,
        bearer,
        body: Bytes::new(),
    }
}

impl Sandbox {
    /// Runs one step of a call under the lock, by the clock as it stands there, so that the record's times never go back.
    fn locked<T>(
        &self,
        request: &mut Request,
        step: impl FnOnce(&mut crate::sandbox::state::State, &Request) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let mut state = self.state();
        request.at = self.0.clock.now();
        let result = step(&mut state, request);
        drop(state);
        self.0.wake.notify_one();
        result
    }
}

async fn respond(
    sandbox: &Sandbox,
    request: &Request,
    answer: std::io::Result<Answer>,
) -> HttpResponse {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "the sandbox could not write or read its state");
            let body = GraphError::new(131000, "the sandbox could not write its state")
                .body("ASandboxState");
            return HttpResponse::InternalServerError().json(body);
        }
    };
    if answer.latency_ms > 0 {
        let wait = TimeDelta::milliseconds(i64::try_from(answer.latency_ms).unwrap_or(0));
        sandbox.0.clock.sleep_until(request.at + wait).await;
    }
    let status = StatusCode::from_u16(answer.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header(("facebook-api-version", request.version.clone()));
    response.insert_header(("x-app-usage", r#"{"call_count":0,"total_cputime":0,"total_time":0}"#));
    if let Some((waba, percent)) = sandbox.state().usage(request) {
        let usage = json!({waba: [{"type": "whatsapp", "call_count": percent, "total_cputime": 1, "total_time": 1,
            "estimated_time_to_regain_access": 0}]});
        response.insert_header(("x-business-use-case-usage", usage.to_string()));
    }
    match answer.content {
        Content::Json(body) => response.content_type("application/json; charset=UTF-8").body(body),
        Content::Page => response.content_type("text/html; charset=utf-8").body(
            "<!DOCTYPE html><html><title>Error</title><p>Sorry, something went wrong.</p></html>",
        ),
        Content::File { mime_type, bytes } => response.content_type(mime_type).body(bytes),
        Content::Never => {
            let mut held = sandbox.0.held.subscribe();
            // Either way it ends without the answer that the caller waited for.
            let _ = tokio::time::timeout(NO_ANSWER, held.changed()).await;
            HttpResponse::GatewayTimeout().finish()
        }
    }
}
