//! `/schemas`: the shape of every event's data as JSON Schema, for whoever asks, without a key. It is what `dataschema` in
//! an event names.

use actix_web::http::header::{CACHE_CONTROL, ETag, EntityTag, Header, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, Route, guard, web};
use serde_json::json;

use super::{State, refusal};
use crate::application::error::AppError;

/// `<type>/<version>`, and `event` for the envelope, with what is in the file.
static SCHEMAS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/schemas.rs"));
const ENVELOPE: &str = "event";
const MEDIA_TYPE: &str = "application/schema+json";
/// A day: a version's schema hardly changes, and never so that what fitted it does not fit it any more.
const CACHED: &str = "public, max-age=86400";

pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .route("/schemas", reading().to(index))
        .route("/schemas/{name:event}", reading().to(schema))
        .route("/schemas/{name:[^/]+/[^/]+}", reading().to(schema));
}

fn reading() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn index(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let url = |name: &str| {
        let path = format!("/schemas/{name}");
        state.gateway.public_url().join(&path).map_or(path, String::from)
    };
    let events: Vec<_> = SCHEMAS
        .iter()
        .filter_map(|(name, _)| {
            let (event, version) = name.split_once('/')?;
            let version: u32 = version.parse().ok()?;
            Some(json!({ "type": event, "version": version, "schema": url(name) }))
        })
        .collect();
    let body = json!({ "envelope": url(ENVELOPE), "events": events });
    answer(&request, "application/json", body.to_string())
}

async fn schema(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    match SCHEMAS.iter().find(|(known, _)| known == name.as_ref()) {
        Some((_, text)) => answer(&request, MEDIA_TYPE, *text),
        None => refusal(&AppError::not_found("schema; /schemas lists them")),
    }
}

/// The body, or a word that it is still what the client has.
fn answer(request: &HttpRequest, media_type: &str, body: impl Into<String>) -> HttpResponse {
    let body = body.into();
    let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let tag = EntityTag::new_strong(hex::encode(&digest.as_ref()[..16]));
    let is_known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header(ETag(tag)).insert_header((CACHE_CONTROL, CACHED));
    if is_known { answer.finish() } else { answer.content_type(media_type).body(body) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_that_the_gateway_writes_names_a_schema_that_is_served() {
        let served: BTreeSet<&str> = SCHEMAS.iter().map(|(name, _)| *name).collect();
        for (event, version) in infrastructure::ledger::catalogue::events() {
            let name = format!("{event}/{version}");
            assert!(served.contains(name.as_str()), "{name}");
        }
        assert!(served.contains(ENVELOPE));
    }
}
