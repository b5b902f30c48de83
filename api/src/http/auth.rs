//! Who asks, by the bearer token.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use domain::primitives::Actor;

use super::{State, session};
use crate::application::api_keys;
use crate::application::caller::Caller;
use crate::application::error::{AppError, AppResult, ErrorCode};

/// Whoever opened the Unix socket beside the database, by user id.
#[derive(Clone, Copy, Debug)]
pub struct LocalUser(pub u32);

/// The caller behind a request: by an API key, else by the cookie of a console's session.
///
/// # Errors
/// UNAUTHENTICATED, alike for a missing, a wrong, an expired and a revoked key; FORBIDDEN for a session's cookie that
/// another site may have sent.
pub async fn authenticate(request: &HttpRequest, state: &State) -> AppResult<Caller> {
    if let Some(LocalUser(uid)) = request.conn_data::<LocalUser>() {
        return Ok(Caller::everything(Actor::system(&format!("cli:{uid}"))));
    }
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if header.is_none() && session::has_cookie(request) {
        return session::authenticate(request, &state.gateway).await.map(|it| it.caller);
    }
    authenticate_bearer(header, state).await
}

/// Whether a request says who is behind it.
pub fn names_a_caller(request: &HttpRequest) -> bool {
    request.headers().contains_key("authorization") || session::has_cookie(request)
}

/// The caller behind the value of an `Authorization` header.
///
/// # Errors
/// As [`authenticate`].
pub async fn authenticate_bearer(header: Option<&str>, state: &State) -> AppResult<Caller> {
    let token = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match token {
        Some(token) => api_keys::authenticate(&state.gateway, token).await,
        None => Err(AppError::new(
            ErrorCode::Unauthenticated,
            "send an API key as Authorization: Bearer wgk_…",
        )),
    }
}

/// Lets through whom the configuration admits: beyond loopback and without TLS, only the proxies in front, so that no
/// token travels in the clear past them.
///
/// # Errors
/// Those of the inner service.
pub async fn admitted_peers<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let state = request.app_data::<web::Data<State>>();
    let peer = request.peer_addr().map(|peer| peer.ip());
    let is_admitted =
        state.is_some_and(|state| peer.is_some_and(|p| state.gateway.config.admits(p)));
    if is_admitted {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let error = AppError::forbidden(
        "this address is none of trusted_proxies, and without TLS nobody else is answered",
    );
    Ok(request.into_response(refusal(&error)).map_into_right_body())
}

/// A refusal of a plain HTTP route, as JSON with the code of the GraphQL contract.
pub fn refusal(error: &AppError) -> HttpResponse {
    let status = match error.code {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::ValidationFailed | ErrorCode::QueryTooComplex => StatusCode::BAD_REQUEST,
        ErrorCode::Conflict | ErrorCode::IdempotencyKeyReused => StatusCode::CONFLICT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Stale | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = json!({ "error": { "code": error.code.as_str(), "message": error.message, "field": error.field } });
    HttpResponse::build(status).json(body)
}
