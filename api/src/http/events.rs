//! `GET /events`: the log as server-sent events or as NDJSON, one CloudEvent each. What is there, then what comes; whoever
//! was cut off goes on where they were. Nothing is read before the client has taken what was read last, so a slow client
//! costs a page of memory and misses nothing.

use actix_web::http::header::ACCEPT;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use domain::port::Position;
use futures::{Stream, stream};
use tracing::debug;
use url::Url;

use super::{State, authenticate, refusal};
use crate::application::error::{AppError, AppResult};
use crate::application::events::{EventFilter, event_json};
use crate::application::following::Following;
use crate::application::view::EventView;

/// What a client that was cut off is asked to wait before it comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;
/// The header in which a client says what it saw last.
const LAST_EVENT_ID: &str = "last-event-id";

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.route("/events", web::get().to(events));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Never ends by itself.
    Sse,
    /// Ends with the log, unless it is to be followed.
    Ndjson { is_followed: bool },
}

/// The query of the request.
#[derive(Debug, Default)]
struct Parameters {
    after: Option<Position>,
    is_followed: bool,
    filter: EventFilter,
}

impl Parameters {
    fn parse(query: &str) -> AppResult<Self> {
        let mut parameters = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let filter = &mut parameters.filter;
            match &*name {
                "after" => parameters.after = Some(position(&value, "after")?),
                "type" => filter.types.push(value.into_owned()),
                "aggregateType" => filter.aggregate_type = Some(value.into_owned()),
                "aggregateId" => filter.aggregate_ids.push(value.into_owned()),
                "accountId" => filter.account_ids.push(value.into_owned()),
                "correlationId" => filter.correlation_id = Some(value.into_owned()),
                "follow" => {
                    parameters.is_followed = value
                        .parse()
                        .map_err(|_| AppError::invalid("follow", "use true or false"))?;
                }
                _ => {
                    let known = "use after, type, aggregateType, aggregateId, accountId, correlationId and follow";
                    return Err(AppError::invalid("query", known));
                }
            }
        }
        Ok(parameters)
    }
}

fn position(text: &str, field: &str) -> AppResult<Position> {
    let position = text.trim().parse().map(Position);
    position.map_err(|_| AppError::invalid(field, "use the position of an event; 0 is before all"))
}

impl Form {
    /// What the client takes: server-sent events where it names them or does not care.
    fn of(accept: Option<&str>, is_followed: bool) -> AppResult<Self> {
        let accept = accept.unwrap_or("*/*");
        let takes = |media: &str| accept.split(',').any(|part| part.trim().starts_with(media));
        if takes("text/event-stream") {
            Ok(Self::Sse)
        } else if takes("application/x-ndjson") || takes("application/ndjson") {
            Ok(Self::Ndjson { is_followed })
        } else if takes("*/*") || takes("text/*") {
            Ok(Self::Sse)
        } else {
            let known = "accept text/event-stream or application/x-ndjson";
            Err(AppError::invalid("Accept", known))
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream; charset=utf-8",
            Self::Ndjson { .. } => "application/x-ndjson",
        }
    }

    fn greeting(self) -> Bytes {
        match self {
            Self::Sse => Bytes::from(format!("retry: {RETRY_MS}\n\n")),
            Self::Ndjson { .. } => Bytes::new(),
        }
    }

    fn write(self, events: &[EventView], public_url: &Url) -> Bytes {
        let mut text = String::new();
        for event in events {
            let json = event_json(event, public_url);
            match self {
                Self::Sse => text.push_str(&format!("id: {}\ndata: {json}\n\n", event.position)),
                Self::Ndjson { .. } => text.push_str(&format!("{json}\n")),
            }
        }
        Bytes::from(text)
    }

    /// An id alone is no event for a client, and where it goes on all the same. An empty line is nothing to whoever reads
    /// lines of JSON.
    fn heartbeat(self, position: Position) -> Bytes {
        match self {
            Self::Sse => Bytes::from(format!("id: {position}\n\n")),
            Self::Ndjson { .. } => Bytes::from_static(b"\n"),
        }
    }
}

async fn events(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    match open(&request, &state).await {
        Ok((following, form)) => HttpResponse::Ok()
            .content_type(form.content_type())
            .insert_header(("Cache-Control", "no-store"))
            // nginx would hold events back until its buffer is full.
            .insert_header(("X-Accel-Buffering", "no"))
            .streaming(body(following, form, state.gateway.public_url())),
        Err(error) => refusal(&error),
    }
}

async fn open(request: &HttpRequest, state: &State) -> AppResult<(Following, Form)> {
    let caller = authenticate(request, state).await?;
    let Parameters { after, is_followed, filter } = Parameters::parse(request.query_string())?;
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let form = Form::of(header(ACCEPT.as_str()), is_followed)?;
    let last_seen =
        header(LAST_EVENT_ID).map(|text| position(text, "Last-Event-ID")).transpose()?;
    // A client that comes back says by the header what it saw last; its URL still has where it began.
    let after = last_seen.or(after);
    // Lines that end with the log begin with it too, where nothing else is said.
    let after = match form {
        Form::Ndjson { is_followed: false } => Some(after.unwrap_or_default()),
        _ => after,
    };
    let following = Following::open(state.gateway.clone(), caller, after, filter).await?;
    Ok((following, form))
}

/// Where a stream stands between two pieces of its body.
struct Body {
    following: Following,
    form: Form,
    public_url: Url,
    has_greeted: bool,
    is_over: bool,
}

/// Ends where the log cannot be read, the key does not hold any more or the gateway stops: the client comes back, and is
/// told why.
fn body(
    following: Following,
    form: Form,
    public_url: Url,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let body = Body { following, form, public_url, has_greeted: false, is_over: false };
    stream::unfold(body, |mut body| async move {
        let piece = body.next().await?;
        Some((Ok(piece), body))
    })
}

impl Body {
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if !self.has_greeted {
            self.has_greeted = true;
            let greeting = self.form.greeting();
            if !greeting.is_empty() {
                return Some(greeting);
            }
        }
        let outcome = match self.form {
            Form::Ndjson { is_followed: false } => self.next_page().await,
            _ => self.next_or_heartbeat().await,
        };
        outcome.unwrap_or_else(|error| {
            debug!(%error, "a stream of events ended");
            None
        })
    }

    async fn next_page(&mut self) -> AppResult<Option<Bytes>> {
        loop {
            let found = self.following.look().await?;
            self.is_over = found.at_head;
            if !found.events.is_empty() {
                return Ok(Some(self.form.write(&found.events, &self.public_url)));
            }
            if found.at_head {
                return Ok(None);
            }
        }
    }

    async fn next_or_heartbeat(&mut self) -> AppResult<Option<Bytes>> {
        let events = self.following.next().await?;
        Ok(Some(match events.is_empty() {
            true => self.form.heartbeat(self.following.position()),
            false => self.form.write(&events, &self.public_url),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::error::ErrorCode;

    fn form(accept: &str) -> Option<Form> {
        Form::of(Some(accept), false).ok()
    }

    #[test]
    fn a_client_gets_what_it_accepts() {
        let ndjson = Some(Form::Ndjson { is_followed: false });
        assert_eq!(form("text/event-stream"), Some(Form::Sse));
        assert_eq!(form("application/json, application/x-ndjson"), ndjson);
        assert_eq!(form("application/ndjson;q=0.9"), ndjson);
        assert_eq!(form("*/*"), Some(Form::Sse));
        assert_eq!(Form::of(None, false).ok(), Some(Form::Sse));
        assert_eq!(form("text/html"), None);
    }

    #[test]
    fn parameters_are_taken_or_named() {
        let parsed = Parameters::parse("after=7&type=message.read&type=message.sent&follow=true");
        let parsed = parsed.unwrap();
        assert_eq!((parsed.after, parsed.is_followed), (Some(Position(7)), true));
        assert_eq!(parsed.filter.types, ["message.read", "message.sent"]);
        for (wrong, field) in [("after=-1", "after"), ("follow=yes", "follow"), ("typ=x", "query")]
        {
            let error = Parameters::parse(wrong).unwrap_err();
            assert_eq!(error.code, ErrorCode::ValidationFailed);
            assert_eq!(error.field.as_deref(), Some(field), "{wrong}");
        }
    }

    #[test]
    fn a_heartbeat_says_where_to_go_on() {
        assert_eq!(Form::Sse.heartbeat(Position(9)), "id: 9\n\n");
        assert_eq!(Form::Ndjson { is_followed: true }.heartbeat(Position(9)), "\n");
    }
}
