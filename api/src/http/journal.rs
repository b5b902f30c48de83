//! `POST /journal/replay`: notifications of WhatsApp, interpreted again.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::{State, authenticate, refusal};
use crate::application::error::{AppError, AppResult};
use crate::application::journal::{self, Replay, Since};

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.route("/journal/replay", web::post().to(replay));
}

/// The query of the request: one of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    after: Option<String>,
    since: Option<String>,
}

async fn replay(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    match start(&request, &state).await {
        Ok(replay) => HttpResponse::Accepted().json(json!({
            "replay": replay.map(|Replay { after, up_to }| {
                json!({ "after": after.to_string(), "upTo": up_to.to_string() })
            }),
        })),
        Err(error) => refusal(&error),
    }
}

async fn start(request: &HttpRequest, state: &State) -> AppResult<Option<Replay>> {
    let caller = authenticate(request, state).await?;
    let query = web::Query::<Parameters>::from_query(request.query_string())
        .map_err(|_| AppError::invalid("query", "use after or since, once"))?;
    let since = match (&query.after, &query.since) {
        (Some(place), None) => Since::Place(place.parse().map_err(|_| {
            AppError::invalid("after", "use a place in the journal; 0 is its beginning")
        })?),
        (None, Some(time)) => Since::Time(
            DateTime::parse_from_rfc3339(time)
                .map_err(|_| AppError::invalid("since", "use a time such as 2026-11-23T09:00:00Z"))?
                .with_timezone(&Utc),
        ),
        _ => return Err(AppError::invalid("query", "use either after or since")),
    };
    journal::replay(&state.gateway, &caller, since).await
}
