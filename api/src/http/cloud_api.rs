//! The Cloud API's own routes, `/{version}/…`: see [`crate::application::cloud_api`].

use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use url::Url;

use super::{BODY_BYTES_MAX, State, authenticate};
use crate::application::Caller;
use crate::application::cloud_api::messages::{self, Call};
use crate::application::cloud_api::templates::{self, Listing, Templates};
use crate::application::cloud_api::{Answered, Refusal, media};

/// A request with this key, repeated, is answered by what the first one did.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// RFC 7240's `wait`: seconds that the answer may take, at most what it may take anyway.
const PREFER: &str = "prefer";
/// The gateway's own id of the message.
const MESSAGE_ID: HeaderName = HeaderName::from_static("x-gateway-message-id");
/// Bytes of a form's field that is no file.
const FIELD_BYTES_MAX: usize = 1024;
/// Fields of an upload's form.
const FIELDS_MAX: usize = 20;
/// Filters of WhatsApp's list of templates that the gateway's does not have.
const FILTERS_UNKNOWN: [&str; 3] = ["content", "name_or_content", "quality_score"];

pub fn configure(routes: &mut web::ServiceConfig) {
    let version = web::scope(r"/{version:v\d{1,3}\.\d{1,3}}")
        .route(r"/{id:\d{1,32}}/messages", web::post().to(messages_call))
        .route(r"/{id:\d{1,32}}/media", web::post().to(upload))
        .route(r"/{id:\d{1,32}}/message_templates", web::get().to(list_templates))
        .route(r"/{id:\d{1,32}}/content", web::get().to(download))
        .route(r"/{id:\d{1,32}}", web::get().to(find_medium))
        .route(r"/{id:\d{1,32}}", web::delete().to(delete_medium))
        .default_service(web::to(unknown));
    routes.service(version);
}

async fn unknown(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    refused(&state, &Refusal::unknown_path(request.path()))
}

async fn messages_call(
    request: HttpRequest,
    id: web::Path<(String, String)>,
    body: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let done = async {
        let caller = caller(&request, &state).await?;
        let call = Call {
            phone_number_id: id.into_inner().1,
            body: json_body(body).await?,
            idempotency_key: text_header(&request, IDEMPOTENCY_KEY)?,
            patience: patience(&request)?,
        };
        messages::call(&state.gateway, &caller, call).await
    };
    let (mut answer, message_id) = match done.await {
        Ok(done) => (HttpResponse::Ok().json(done.body), done.message_id),
        Err(refusal) => {
            (refused(&state, &refusal), refusal.told.as_ref().map(|told| told.message_id))
        }
    };
    if let Some(id) = message_id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        answer.headers_mut().insert(MESSAGE_ID, id);
    }
    answer
}

async fn upload(
    request: HttpRequest,
    id: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let uploaded = take(&request, &id.into_inner().1, payload, &state).await;
    answer(&state, uploaded.map(|id| json!({ "id": id })))
}

/// `messaging_product`, `type` and `file`, in any order.
async fn take(
    request: &HttpRequest,
    phone_number_id: &str,
    payload: web::Payload,
    state: &State,
) -> Answered<String> {
    let caller = caller(request, state).await?;
    let unreadable = || Refusal::parameter("the body: a multipart form with a file is needed");
    let mut form = actix_multipart::Multipart::new(request.headers(), payload);
    let mut fields = HashMap::new();
    let mut uploaded = None;
    for _ in 0..FIELDS_MAX {
        let Some(field) = form.next().await else { break };
        let mut field = field.map_err(|_| unreadable())?;
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" && uploaded.is_none() {
            let said = fields.get("type").cloned();
            let mime_type = said.or_else(|| field.content_type().map(ToString::to_string));
            let file_name = field.content_disposition().and_then(|it| it.get_filename());
            let file_name = file_name.map(str::to_owned);
            let bytes = field.map_err(|error| error.to_string());
            let (gateway, bytes) = (&state.gateway, Box::pin(bytes));
            let id = media::upload(gateway, &caller, phone_number_id, mime_type, file_name, bytes);
            uploaded = Some(id.await?);
            continue;
        }
        let mut text = Vec::new();
        while let Some(piece) = field.next().await {
            text.extend_from_slice(&piece.map_err(|_| unreadable())?);
            if text.len() > FIELD_BYTES_MAX {
                return Err(Refusal::parameter(format!(
                    "a form field other than file has at most {FIELD_BYTES_MAX} bytes"
                )));
            }
        }
        fields.insert(name, String::from_utf8_lossy(&text).into_owned());
    }
    if fields.get("messaging_product").map(String::as_str) != Some("whatsapp") {
        return Err(Refusal::parameter(
            "messaging_product: it is required and must be \"whatsapp\"",
        ));
    }
    uploaded.ok_or_else(|| Refusal::parameter("file: it is required"))
}

async fn find_medium(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    state: web::Data<State>,
) -> HttpResponse {
    let (version, id) = path.into_inner();
    let found = async {
        let caller = caller(&request, &state).await?;
        let number = query(&request).remove("phone_number_id");
        let found = media::find(&state.gateway, &caller, &id, number.as_deref()).await?;
        let mut url = address(&state, &[&version, &id, "content"]);
        url.query_pairs_mut().append_pair("phone_number_id", &found.phone_number_id);
        let place = found.place;
        Ok(json!({
            "messaging_product": "whatsapp", "url": url.as_str(), "mime_type": place.mime_type,
            "sha256": place.sha256, "file_size": place.file_size, "id": id,
        }))
    };
    answer(&state, found.await)
}

async fn delete_medium(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    state: web::Data<State>,
) -> HttpResponse {
    let deleted = async {
        let caller = caller(&request, &state).await?;
        let number = query(&request).remove("phone_number_id");
        media::delete(&state.gateway, &caller, &path.1, number.as_deref()).await?;
        Ok(json!({ "success": true }))
    };
    answer(&state, deleted.await)
}

async fn download(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    state: web::Data<State>,
) -> HttpResponse {
    let opened = async {
        let caller = caller(&request, &state).await?;
        let number = query(&request).remove("phone_number_id");
        media::open(&state.gateway, &caller, &path.1, number.as_deref()).await
    };
    match opened.await {
        Ok((mime_type, body)) => HttpResponse::Ok()
            .insert_header((
                CONTENT_TYPE,
                mime_type.as_deref().unwrap_or("application/octet-stream"),
            ))
            // Never shown as a page of ours, whatever it holds.
            .insert_header((CONTENT_DISPOSITION, "attachment"))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header(("cache-control", "private, no-store"))
            .streaming(body),
        Err(refusal) => refused(&state, &refusal),
    }
}

async fn list_templates(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    state: web::Data<State>,
) -> HttpResponse {
    let (version, id) = path.into_inner();
    let listed = async {
        let caller = caller(&request, &state).await?;
        let asked = query(&request);
        // Left unheard, they would list what was not asked for.
        if let Some(name) = FILTERS_UNKNOWN.iter().find(|name| asked.contains_key(**name)) {
            return Err(Refusal::parameter(format!(
                "{name}: leave it out; the gateway filters by name, language, status and category"
            )));
        }
        let text = |name: &str| asked.get(name).cloned();
        let limit = asked.get("limit").map(|limit| limit.parse::<i32>());
        let limit = limit.transpose().map_err(|_| Refusal::parameter("limit: use a number"))?;
        let listing = Listing {
            limit,
            after: text("after"),
            before: text("before"),
            name: text("name"),
            language: text("language"),
            status: text("status"),
            category: text("category"),
            fields: text("fields"),
            summary: text("summary"),
        };
        let found = templates::list(&state.gateway, &caller, &id, listing).await?;
        let here = address(&state, &[&version, &id, "message_templates"]);
        Ok(page(found, &here, &asked))
    };
    answer(&state, listed.await)
}

/// A page with its cursors and the addresses of its neighbours, which ask as this one was asked.
fn page(found: Templates, here: &Url, asked: &HashMap<String, String>) -> Value {
    let neighbour = |name: &str, cursor: &Option<String>| {
        let mut url = here.clone();
        let mut kept: Vec<_> =
            asked.iter().filter(|(name, _)| *name != "after" && *name != "before").collect();
        kept.sort();
        url.query_pairs_mut().extend_pairs(kept).extend_pairs(cursor.iter().map(|c| (name, c)));
        url.to_string()
    };
    let mut body = json!({ "data": found.data });
    if let Some(summary) = found.summary {
        body["summary"] = summary;
    }
    if found.before.is_none() && found.after.is_none() {
        return body;
    }
    let mut paging = json!({ "cursors": { "before": found.before, "after": found.after } });
    if found.has_next {
        paging["next"] = neighbour("after", &found.after).into();
    }
    if found.has_previous {
        paging["previous"] = neighbour("before", &found.before).into();
    }
    body["paging"] = paging;
    body
}

async fn caller(request: &HttpRequest, state: &State) -> Answered<Caller> {
    if !request.headers().contains_key("authorization") {
        return Err(Refusal::no_token());
    }
    authenticate(request, state).await.map_err(|error| Refusal::of(&error))
}

async fn json_body(mut payload: web::Payload) -> Answered<Value> {
    let mut body = web::BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| Refusal::parameter("the body: it broke off"))?;
        if body.len() + piece.len() > BODY_BYTES_MAX {
            return Err(Refusal::parameter(format!("the body: at most {BODY_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    serde_json::from_slice(&body).map_err(|_| Refusal::parameter("the body: JSON is needed"))
}

fn text_header(request: &HttpRequest, name: &str) -> Answered<Option<String>> {
    let value = request.headers().get(name).map(|value| value.to_str());
    let value = value.transpose().map_err(|_| Refusal::parameter(format!("{name}: use ASCII")))?;
    Ok(value.map(str::to_owned))
}

fn patience(request: &HttpRequest) -> Answered<Duration> {
    let prefer = text_header(request, PREFER)?.unwrap_or_default();
    let preferences = prefer.split([',', ';']).filter_map(|preference| preference.split_once('='));
    let wait = preferences
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .find_map(|(_, seconds)| seconds.trim().parse::<u64>().ok());
    Ok(wait.map_or(messages::PATIENCE, Duration::from_secs).min(messages::PATIENCE))
}

fn query(request: &HttpRequest) -> HashMap<String, String> {
    url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect()
}

fn address(state: &State, path: &[&str]) -> Url {
    let mut url = state.gateway.public_url();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

fn answer(state: &State, result: Answered<Value>) -> HttpResponse {
    match result {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => refused(state, &refusal),
    }
}

fn refused(state: &State, refusal: &Refusal) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.http).unwrap_or(StatusCode::BAD_REQUEST);
    let trace = format!("A{:016x}", state.gateway.ids.random());
    let mut answer = HttpResponse::build(status);
    if status == StatusCode::TOO_MANY_REQUESTS {
        answer.insert_header((RETRY_AFTER, 1));
    }
    answer.json(refusal.body(&trace))
}
