//! Liveness, readiness and metrics.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use domain::api_key::Scope;
use projections::{ProjectionState, ProjectionStatus};
use serde_json::json;

use super::{State, authenticate, refusal};

/// A projection further behind than so many events is no longer told as ready.
const LAG_MAX: u64 = 50_000;
/// KurrentDB's positions count bytes: about so many for an event.
const KURRENTDB_EVENT_BYTES: u64 = 1_000;
const STORE_PATIENCE: Duration = Duration::from_secs(2);

pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .route("/healthz", web::get().to(healthz))
        .route("/readyz", web::get().to(readyz))
        .route("/metrics", web::get().to(metrics));
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// Ready: the log answers and the read models are not far behind it.
async fn readyz(state: web::Data<State>) -> HttpResponse {
    let head = match tokio::time::timeout(STORE_PATIENCE, state.gateway.store.log.head()).await {
        Ok(Ok(head)) => head,
        Ok(Err(_)) | Err(_) => {
            return HttpResponse::ServiceUnavailable()
                .json(json!({ "ready": false, "log": "unreachable" }));
        }
    };
    let projections = match state.gateway.read.status().await {
        Ok(projections) => projections,
        Err(_) => {
            return HttpResponse::ServiceUnavailable()
                .json(json!({ "ready": false, "readModels": "unreachable" }));
        }
    };
    let per_event = if state.gateway.config.is_kurrentdb() { KURRENTDB_EVENT_BYTES } else { 1 };
    let is_behind = |p: &&ProjectionStatus| {
        p.lag > LAG_MAX * per_event || p.is_building || p.state == ProjectionState::Failed
    };
    let behind: Vec<_> = projections.iter().filter(is_behind).map(|p| p.name).collect();
    let body = json!({ "ready": behind.is_empty(), "head": head.to_string(), "behind": behind });
    if behind.is_empty() {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

/// Prometheus. Open to this machine; from elsewhere it needs a key.
async fn metrics(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let is_local = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        && state.gateway.config.trusted_proxies.is_empty();
    if !is_local {
        match authenticate(&request, &state).await.and_then(|caller| caller.require(Scope::Read)) {
            Ok(()) => {}
            Err(error) => return refusal(&error),
        }
    }
    let Some(handle) = &state.metrics else { return HttpResponse::NotFound().finish() };
    handle.run_upkeep();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(handle.render())
}
