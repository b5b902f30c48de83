//! `GET /campaigns/{id}/report.csv`: a campaign's recipients as a file, streamed.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::TryStreamExt;
use tracing::warn;

use super::{State, authenticate, refusal};
use crate::application::exports::Format;
use crate::application::exports::report::report;

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.route("/campaigns/{id}/report.csv", web::get().to(get));
}

async fn get(request: HttpRequest, id: web::Path<String>, state: web::Data<State>) -> HttpResponse {
    let lines = async {
        let caller = authenticate(&request, &state).await?;
        report(&state.gateway, &caller, &id).await
    };
    match lines.await {
        Ok(lines) => {
            // The answer has begun: what goes wrong now cuts it short, and the client sees that it is not whole.
            let lines = lines.inspect_err(|error| {
                warn!(error = %format!("{error:#}"), "a campaign's report broke off");
            });
            let lines = lines.map_err(|error| std::io::Error::other(Arc::new(error)));
            HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, Format::Csv.media_type()))
                .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"report.csv\""))
                .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .insert_header(("cache-control", "private, no-store"))
                .streaming(Box::pin(lines))
        }
        Err(error) => refusal(&error),
    }
}
