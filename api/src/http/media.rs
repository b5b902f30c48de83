//! `POST /media`: a file for sends, as the body or in a multipart form. `GET /media/{id}`: what came with a message.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::{State, authenticate, refusal};
use crate::application::error::{AppError, AppResult};
use crate::application::media::{self, Medium, Upload, Uploaded};

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.route("/media", web::post().to(upload)).route("/media/{id}", web::get().to(download));
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    account_id: String,
    file_name: Option<String>,
}

async fn upload(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    match take(&request, payload, &state).await {
        Ok(Uploaded { id, mime_type, bytes, sha256 }) => HttpResponse::Created()
            .json(json!({ "id": id, "mimeType": mime_type, "size": bytes, "sha256": sha256 })),
        Err(error) => refusal(&error),
    }
}

async fn take(request: &HttpRequest, payload: web::Payload, state: &State) -> AppResult<Uploaded> {
    let caller = authenticate(request, state).await?;
    let query = web::Query::<Parameters>::from_query(request.query_string())
        .map_err(|_| AppError::invalid("query", "use accountId, and fileName if you like"))?;
    let Parameters { account_id, file_name } = query.into_inner();
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    if !content_type.starts_with("multipart/form-data") {
        let input = Upload { account_id, file_name, mime_type: Some(content_type.to_owned()) };
        let bytes = payload.map_err(|error| error.to_string());
        return media::upload(&state.gateway, &caller, input, Box::pin(bytes)).await;
    }
    let mut form = actix_multipart::Multipart::new(request.headers(), payload);
    loop {
        let field = match form.next().await {
            Some(Ok(field)) => field,
            Some(Err(_)) => {
                return Err(AppError::invalid("body", "the multipart form cannot be read"));
            }
            None => return Err(AppError::invalid("file", "the form has no file")),
        };
        let name = field.content_disposition().and_then(|d| d.get_filename()).map(str::to_owned);
        // A form's other fields are not read: what an upload needs stands in the query.
        let Some(name) = name else { continue };
        let mime_type = field.content_type().map(ToString::to_string);
        let input = Upload { account_id, file_name: file_name.or(Some(name)), mime_type };
        let bytes = field.map_err(|error| error.to_string());
        return media::upload(&state.gateway, &caller, input, Box::pin(bytes)).await;
    }
}

async fn download(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> HttpResponse {
    let medium = match authenticate(&request, &state).await {
        Ok(caller) => media::get(&state.gateway, &caller, &id).await,
        Err(error) => Err(error),
    };
    let Medium { bytes, mime_type, first, rest } = match medium {
        Ok(medium) => medium,
        Err(error) => return refusal(&error),
    };
    let rest = stream::try_unfold(rest, |mut rest| async move {
        let piece = rest.next().await.map_err(actix_web::error::ErrorInternalServerError)?;
        Ok::<_, actix_web::Error>(piece.map(|piece| (piece, rest)))
    });
    let body = stream::once(async move { Ok(first) }).chain(rest);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, mime_type))
        // Never shown as a page of ours, whatever it holds.
        .insert_header((CONTENT_DISPOSITION, "attachment"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("cache-control", "private, no-store"))
        .no_chunking(bytes)
        .body(actix_web::body::SizedStream::new(bytes, Box::pin(body)))
}
