//! `POST /imports`: contacts as a CSV body or as a file in a multipart form, streamed to a sealed spool.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use domain::contact::ConsentStatus;
use domain::import::ImportSource;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::json;

use super::{State, authenticate, refusal};
use crate::application::error::{AppError, AppResult};
use crate::application::imports::{self, StartImport};
use crate::application::view::ImportView;

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.route("/imports", web::post().to(import));
}

/// The query of the request; `tags` may be repeated.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Parameters {
    workspace_id: Option<String>,
    dry_run: bool,
    mapping: Option<String>,
    default_region: Option<String>,
    consent: Option<String>,
    consent_source: Option<String>,
    file_name: Option<String>,
    idempotency_key: Option<String>,
}

async fn import(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    match start(&request, payload, &state).await {
        Ok((import, position)) => HttpResponse::Accepted().json(json!({
            "import": {
                "id": import.id.to_string(),
                "status": import.status.as_str(),
                "rows": import.rows,
                "added": import.added,
                "updated": import.updated,
                "rejected": import.rejected,
            },
            "position": position,
        })),
        Err(error) => refusal(&error),
    }
}

async fn start(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> AppResult<(ImportView, String)> {
    let caller = authenticate(request, state).await?;
    let (parameters, tags) = parameters(request.query_string())?;
    let consent = match parameters.consent.as_deref() {
        None => None,
        Some("OPTED_IN") => Some(ConsentStatus::OptedIn),
        Some("OPTED_OUT") => Some(ConsentStatus::OptedOut),
        Some("UNKNOWN") => Some(ConsentStatus::Unknown),
        Some(_) => return Err(AppError::invalid("consent", "use OPTED_IN, OPTED_OUT or UNKNOWN")),
    };
    let mapping = parameters
        .mapping
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|_| AppError::invalid("mapping", "use a JSON object of header → field"))?;
    let start = StartImport {
        workspace_id: parameters.workspace_id,
        dry_run: parameters.dry_run,
        mapping,
        default_region: parameters.default_region,
        tags,
        consent,
        consent_source: parameters.consent_source,
        file_name: parameters.file_name,
        source: ImportSource::Upload,
        idempotency_key: parameters.idempotency_key,
    };
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let written = if content_type.starts_with("multipart/form-data") {
        let mut form = actix_multipart::Multipart::new(request.headers(), payload);
        let file = loop {
            match form.next().await {
                Some(Ok(field))
                    if field.content_disposition().is_some_and(|d| d.get_filename().is_some()) =>
                {
                    break field;
                }
                // A form's other fields are not read: what an import needs stands in the query.
                Some(Ok(_)) => {}
                Some(Err(_)) => {
                    return Err(AppError::invalid("body", "the multipart form cannot be read"));
                }
                None => {
                    return Err(AppError::invalid(
                        "body",
                        "the form has no file; send one, or the CSV text itself",
                    ));
                }
            }
        };
        imports::start_upload(
            &state.gateway,
            &caller,
            start,
            Box::pin(file.map_err(|error| error.to_string())),
        )
        .await?
    } else {
        let bytes = payload.map_err(|error| error.to_string());
        imports::start_upload(&state.gateway, &caller, start, Box::pin(bytes)).await?
    };
    Ok((written.value, written.position.to_string()))
}

fn parameters(query: &str) -> AppResult<(Parameters, Vec<String>)> {
    let mut tags = vec![];
    let mut object = serde_json::Map::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "tags" => tags.extend(
                value.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()),
            ),
            "dryRun" => {
                let flag = value
                    .parse::<bool>()
                    .map_err(|_| AppError::invalid("dryRun", "use true or false"))?;
                object.insert("dryRun".to_owned(), json!(flag));
            }
            _ => {
                object.insert(key.into_owned(), json!(value));
            }
        }
    }
    let parameters = serde_json::from_value(object.into()).map_err(|error| {
        let text = error.to_string();
        AppError::invalid(
            "query",
            text.split(" at line").next().unwrap_or("cannot be read").to_owned(),
        )
    })?;
    Ok((parameters, tags))
}
