//! `POST /exports`: asks for an export. `GET /exports/{id}`: how far it is, then what it is.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, Header, LOCATION,
    RANGE, RETRY_AFTER, Range, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::port::Position;
use futures::{Stream, stream};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use uuid::Uuid;

use super::auth::LocalUser;
use super::{State, authenticate, refusal};
use crate::application::error::{AppError, AppResult};
use crate::application::exports::jobs::{self, Download, ExportStatus, ExportView, Piece};
use crate::application::exports::{Dataset, ExportFilter, ExportRequest, Format, noted};

/// What is asked for is short.
const BODY_BYTES_MAX: usize = 64 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;
/// When to look again at one that is being made.
const LOOK_AGAIN_S: &str = "2";

pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .service(
            web::resource("/exports")
                .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
                .route(web::post().to(start)),
        )
        .route("/exports/beside", web::post().to(note))
        .route("/exports/{id}", web::get().to(get));
}

async fn start(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let started = async {
        let caller = authenticate(&request, &state).await?;
        jobs::start(&state.gateway, &caller, read(&body)?).await
    };
    match started.await {
        Ok(export) => HttpResponse::Accepted()
            .insert_header((LOCATION, path_of(&export)))
            .json(shown(&export)),
        Err(error) => refusal(&error),
    }
}

/// Takes down that the command line is about to export personal data from the log's own files. Only whoever owns those
/// files, through the socket beside them, has this route.
async fn note(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    if request.conn_data::<LocalUser>().is_none() {
        return refusal(&AppError::not_found("export"));
    }
    let noted = async {
        let caller = authenticate(&request, &state).await?;
        let gateway = &state.gateway;
        let id = gateway.ids.next_id(gateway.clock.now());
        noted::note(gateway, &caller, id, &read(&body)?).await?;
        Ok(json!({ "export": { "id": id } }))
    };
    noted.await.map_or_else(|error| refusal(&error), |noted| HttpResponse::Ok().json(noted))
}

async fn get(request: HttpRequest, id: web::Path<String>, state: web::Data<State>) -> HttpResponse {
    let found = async {
        let caller = authenticate(&request, &state).await?;
        let export = jobs::get(&state.gateway, &caller, &id).await?;
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let wants_status = accept.is_some_and(|accept| accept.starts_with("application/json"));
        if wants_status {
            return Ok(HttpResponse::Ok().json(shown(&export)));
        }
        match export.status {
            ExportStatus::Queued | ExportStatus::Running => Ok(HttpResponse::Accepted()
                .insert_header((RETRY_AFTER, LOOK_AGAIN_S))
                .json(shown(&export))),
            ExportStatus::Failed => Ok(HttpResponse::Conflict().json(shown(&export))),
            ExportStatus::Completed => {
                let file = file_of(request.query_string())?;
                let download = jobs::download(&state.gateway, &export, file.as_deref())?;
                Ok(send(&request, download))
            }
        }
    };
    found.await.unwrap_or_else(|error| refusal(&error))
}

fn path_of(export: &ExportView) -> String {
    format!("/exports/{}", export.id)
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn shown(export: &ExportView) -> Value {
    let error = export.error.as_ref();
    let error = error.map(|(code, message)| json!({ "code": code, "message": message }));
    json!({ "export": {
        "id": export.id,
        "status": export.status.as_str(),
        "dataset": export.request.dataset,
        "format": export.request.format,
        "personal": export.request.personal,
        "raw": export.request.raw,
        "filter": export.request.filter,
        "createdAt": instant(export.created_at),
        "expiresAt": instant(export.expires_at),
        "progress": export.progress,
        "error": error,
        "manifest": export.manifest,
        "url": path_of(export),
    } })
}

/// `file` of a query: one of the export's files alone.
fn file_of(query: &str) -> AppResult<Option<String>> {
    let mut file = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "file" => file = Some(value.into_owned()),
            other => {
                let shown: String = other.chars().take(100).collect();
                return Err(AppError::invalid("query", format!("{shown:?} is unknown; use file")));
            }
        }
    }
    Ok(file)
}

fn send(request: &HttpRequest, download: Download) -> HttpResponse {
    let bytes: u64 = download.pieces.iter().map(Piece::len).sum();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, download.media_type))
        // Its name is the gateway's own: plain letters.
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", download.name)))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("cache-control", "private, no-store"))
        .insert_header((ACCEPT_RANGES, "bytes"));
    let (mut from, mut length) = (0, bytes);
    // A range that cannot be read is none (RFC 9110, 14.2), and several are answered with everything.
    if request.headers().contains_key(RANGE)
        && let Ok(Range::Bytes(ranges)) = Range::parse(request)
        && let [range] = &ranges[..]
    {
        let Some((first, last)) = range.to_satisfiable_range(bytes) else {
            return HttpResponse::build(StatusCode::RANGE_NOT_SATISFIABLE)
                .insert_header((CONTENT_RANGE, format!("bytes */{bytes}")))
                .finish();
        };
        (from, length) = (first, last - first + 1);
        response
            .status(StatusCode::PARTIAL_CONTENT)
            .insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{bytes}")));
    }
    let body = sent(download.pieces, from, length);
    response.no_chunking(length).body(actix_web::body::SizedStream::new(length, Box::pin(body)))
}

struct Sending {
    pieces: std::collections::VecDeque<Piece>,
    /// Bytes to leave out.
    skip: u64,
    /// Bytes to send.
    left: u64,
    /// The file that is being sent, and how much of it is left.
    open: Option<(tokio::fs::File, u64)>,
}

fn sent(pieces: Vec<Piece>, skip: u64, left: u64) -> impl Stream<Item = std::io::Result<Bytes>> {
    let sending = Sending { pieces: pieces.into(), skip, left, open: None };
    stream::try_unfold(sending, |mut sending| async move {
        Ok(sending.next().await?.map(|chunk| (chunk, sending)))
    })
}

impl Sending {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        while self.left > 0 {
            if let Some((mut file, rest)) = self.open.take() {
                let wanted = rest.min(self.left).min(CHUNK_BYTES as u64);
                let mut chunk = vec![0; usize::try_from(wanted).unwrap_or(CHUNK_BYTES)];
                let read = file.read(&mut chunk).await?;
                if read == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                chunk.truncate(read);
                self.left -= read as u64;
                if rest > read as u64 {
                    self.open = Some((file, rest - read as u64));
                }
                return Ok(Some(chunk.into()));
            }
            let Some(piece) = self.pieces.pop_front() else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            let length = piece.len();
            if self.skip >= length {
                self.skip -= length;
                continue;
            }
            let skip = std::mem::take(&mut self.skip);
            match piece {
                Piece::Bytes(bytes) => {
                    let rest = bytes.into_iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
                    let taken = rest.take(usize::try_from(self.left).unwrap_or(usize::MAX));
                    let chunk: Vec<u8> = taken.collect();
                    self.left -= chunk.len() as u64;
                    return Ok(Some(chunk.into()));
                }
                Piece::File { path, bytes } => {
                    let mut file = tokio::fs::File::open(path).await?;
                    file.seek(std::io::SeekFrom::Start(skip)).await?;
                    self.open = Some((file, bytes - skip));
                }
            }
        }
        Ok(None)
    }
}

/// The body of a request.
fn read(body: &[u8]) -> AppResult<ExportRequest> {
    let value: Value = serde_json::from_slice(body).map_err(|_| {
        AppError::invalid(
            "body",
            "use JSON, such as {\"dataset\": \"messages\", \"format\": \"csv\"}",
        )
    })?;
    let mut body = Fields::of(value, "")?;
    let dataset = body.one_of("dataset", Dataset::ALL.map(|it| (it.as_str(), it)))?;
    let format = body.one_of("format", Format::ALL.map(|it| (it.as_str(), it)))?;
    let filter = match body.take("filter") {
        None => ExportFilter::default(),
        Some(value) => {
            let mut filter = Fields::of(value, "filter")?;
            let read = ExportFilter {
                after: filter.position("after")?,
                from: filter.instant("from")?,
                to: filter.instant("to")?,
                types: filter.texts("types")?,
                workspace_ids: filter.ids("workspaceIds")?,
                account_ids: filter.ids("accountIds")?,
                campaign_ids: filter.ids("campaignIds")?,
            };
            filter.end()?;
            read
        }
    };
    let (personal, raw) = (body.flag("personal")?, body.flag("raw")?);
    body.end()?;
    Ok(ExportRequest { dataset, format, filter, personal, raw })
}

/// An object whose fields are taken one by one, so that each problem is told with its name.
struct Fields {
    object: Map<String, Value>,
    path: &'static str,
}

impl Fields {
    fn of(value: Value, path: &'static str) -> AppResult<Self> {
        match value {
            Value::Object(object) => Ok(Self { object, path }),
            _ => {
                let field = if path.is_empty() { "body" } else { path };
                Err(AppError::invalid(field, "use a JSON object"))
            }
        }
    }

    fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// `null` is as nothing.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    fn invalid(&self, name: &str, problem: &str) -> AppError {
        AppError::invalid(self.field(name), problem)
    }

    fn one_of<T: Copy, const N: usize>(
        &mut self,
        name: &str,
        known: [(&'static str, T); N],
    ) -> AppResult<T> {
        let value = self.take(name);
        let found = known.iter().find(|(text, _)| value.as_ref().is_some_and(|it| it == text));
        found.map(|(_, found)| *found).ok_or_else(|| {
            let names = known.map(|(text, _)| text).join(", ");
            self.invalid(name, &format!("use one of {names}"))
        })
    }

    fn flag(&mut self, name: &str) -> AppResult<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.invalid(name, "use true or false")),
        }
    }

    fn position(&mut self, name: &str) -> AppResult<Position> {
        let position = match self.take(name) {
            None => Some(0),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
        };
        position.map(Position).ok_or_else(|| self.invalid(name, "use a position, such as \"1234\""))
    }

    fn instant(&mut self, name: &str) -> AppResult<Option<DateTime<Utc>>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let at = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        match at {
            Some(at) => Ok(Some(at.to_utc())),
            None => Err(self.invalid(name, "use an instant such as 2026-11-23T09:00:00Z")),
        }
    }

    fn texts(&mut self, name: &str) -> AppResult<Vec<String>> {
        let Some(value) = self.take(name) else { return Ok(vec![]) };
        let texts = value.as_array().and_then(|list| {
            list.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        texts.ok_or_else(|| self.invalid(name, "use a list of texts"))
    }

    fn ids(&mut self, name: &str) -> AppResult<Vec<Uuid>> {
        let texts = self.texts(name)?;
        let ids = texts.iter().map(|text| Uuid::try_parse(text).ok());
        ids.collect::<Option<_>>().ok_or_else(|| self.invalid(name, "use a list of ids"))
    }

    /// That nothing is left.
    fn end(self) -> AppResult<()> {
        match self.object.keys().next() {
            None => Ok(()),
            Some(unknown) => {
                let shown: String = unknown.chars().take(100).collect();
                Err(AppError::invalid(self.field(&shown), "is unknown"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_or_told_by_name() {
        let asked = read(br#"{"dataset":"events","format":"ndjson","personal":true,"filter":{"after":"7","from":null,"types":["message.read"]}}"#);
        let asked = asked.unwrap();
        assert_eq!(
            (asked.dataset, asked.format, asked.personal),
            (Dataset::Events, Format::Ndjson, true)
        );
        assert_eq!(
            (asked.filter.after, asked.filter.types),
            (Position(7), vec!["message.read".to_owned()])
        );
        for (body, field) in [
            ("", "body"),
            ("[]", "body"),
            ("{}", "dataset"),
            (r#"{"dataset":"people","format":"csv"}"#, "dataset"),
            (r#"{"dataset":"events"}"#, "format"),
            (r#"{"dataset":"events","format":"xls"}"#, "format"),
            (r#"{"dataset":"events","format":"csv","personal":"yes"}"#, "personal"),
            (r#"{"dataset":"events","format":"csv","raw":1}"#, "raw"),
            (r#"{"dataset":"events","format":"csv","colour":1}"#, "colour"),
            (r#"{"dataset":"events","format":"csv","filter":[]}"#, "filter"),
            (r#"{"dataset":"events","format":"csv","filter":{"after":-1}}"#, "filter.after"),
            (r#"{"dataset":"events","format":"csv","filter":{"from":"yesterday"}}"#, "filter.from"),
            (
                r#"{"dataset":"events","format":"csv","filter":{"types":"message.read"}}"#,
                "filter.types",
            ),
            (
                r#"{"dataset":"events","format":"csv","filter":{"accountIds":["x"]}}"#,
                "filter.accountIds",
            ),
            (r#"{"dataset":"events","format":"csv","filter":{"colour":1}}"#, "filter.colour"),
        ] {
            let refused = read(body.as_bytes()).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some(field), "{body}");
        }
    }

    #[tokio::test]
    async fn any_range_of_what_is_sent_is_that_part_of_it() {
        use futures::TryStreamExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let long: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        std::fs::write(file.path(), &long).unwrap();
        let pieces = || {
            let path = file.path().to_owned();
            vec![
                Piece::Bytes(b"head".to_vec()),
                Piece::File { path, bytes: long.len() as u64 },
                Piece::Bytes(vec![]),
                Piece::Bytes(b"tail".to_vec()),
            ]
        };
        let all = [b"head", &long[..], b"tail"].concat();
        let end = all.len();
        for (from, to) in [
            (0, end),
            (1, 3),
            (2, 10),
            (4, 70_000),
            (65_541, 65_542),
            (end - 5, end),
            (end - 1, end),
        ] {
            let sent = sent(pieces(), from as u64, (to - from) as u64);
            let sent: Vec<Bytes> = sent.try_collect().await.unwrap();
            assert!(sent.concat() == all[from..to], "{from}..{to}");
        }
    }
}
