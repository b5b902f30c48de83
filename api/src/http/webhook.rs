//! Meta's webhook: signature over the raw body, journal, 200. Interpreted later.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use domain::account::{Account, AccountStatus, Credential};
use domain::primitives::AccountId;
use infrastructure::crypto::secret::Secret;
use infrastructure::webhook::signature;
use serde::Deserialize;
use tracing::warn;

use super::State;
use crate::app::RECENT;

/// What an unknown account is checked against, so that it takes as long and answers the same as a wrong signature.
const NOBODYS_SECRET: &str = "no account has this secret";

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.service(
        web::resource("/webhooks/whatsapp/{account_id}")
            .route(web::get().to(verify))
            .route(web::post().to(receive)),
    );
}

#[derive(Deserialize)]
struct Verification {
    #[serde(rename = "hub.mode")]
    mode: Option<String>,
    #[serde(rename = "hub.challenge")]
    challenge: Option<String>,
    #[serde(rename = "hub.verify_token")]
    verify_token: Option<String>,
}

/// Meta asks whether the URL is ours before it sends anything.
async fn verify(
    path: web::Path<String>,
    query: web::Query<Verification>,
    state: web::Data<State>,
) -> HttpResponse {
    let Ok(secret) = credential(&path, Credential::VerifyToken, &state).await else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    let given = query.verify_token.as_deref().unwrap_or_default();
    let is_known = secret.is_some();
    let expected = secret.unwrap_or_else(|| Secret::new(NOBODYS_SECRET));
    let matches = signature::token_matches(expected.expose(), given) && is_known;
    match (&query.mode, &query.challenge) {
        (Some(mode), Some(challenge)) if mode == "subscribe" && matches => {
            HttpResponse::Ok().content_type("text/plain").body(challenge.clone())
        }
        _ => HttpResponse::Unauthorized().finish(),
    }
}

async fn receive(
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    state: web::Data<State>,
) -> HttpResponse {
    let began = Instant::now();
    let header = request.headers().get("x-hub-signature-256").map(|value| value.as_bytes());
    let Ok(secret) = credential(&path, Credential::AppSecret, &state).await else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    let is_known = secret.is_some();
    let secret = secret.unwrap_or_else(|| Secret::new(NOBODYS_SECRET));
    let is_signed = signature::verify(&[secret.expose()], header, &body).is_ok();
    let account_id = match AccountId::parse(&path) {
        Some(account_id) if is_known && is_signed => account_id,
        _ => {
            metrics::counter!("gateway_webhooks_refused_total").increment(1);
            return HttpResponse::Unauthorized().finish();
        }
    };
    match state.gateway.journal.append(account_id, state.gateway.clock.now(), &body).await {
        Ok(_) => {
            metrics::histogram!("gateway_webhook_seconds").record(began.elapsed().as_secs_f64());
            HttpResponse::Ok().finish()
        }
        Err(error) => {
            // Meta tries again for days; better than an answer that is not true.
            warn!(account.id = %account_id, %error, "a webhook could not be written to the journal");
            HttpResponse::ServiceUnavailable().finish()
        }
    }
}

/// A credential of a connected account; `Ok(None)` where there is no such account. An error: ask again.
async fn credential(path: &str, kind: Credential, state: &State) -> anyhow::Result<Option<Secret>> {
    let Some(id) = AccountId::parse(path) else { return Ok(None) };
    let account = state.gateway.bus.recall::<Account>(id.0, RECENT).await?;
    let Some(account) = account else { return Ok(None) };
    if account.aggregate.status == AccountStatus::Disconnected
        || !account.aggregate.credentials.contains_key(&kind)
    {
        return Ok(None);
    }
    Ok(Some(state.gateway.credential(&account.aggregate, kind).await?))
}
