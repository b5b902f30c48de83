//! graphql-transport-ws: queries, mutations and subscriptions over one connection (the protocol of the library graphql-ws,
//! <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>).
//!
//! Each operation runs in a task of its own and hands what it has to the connection, which takes a few answers at a time:
//! an operation goes on when they are on their way. A client that takes nothing for [`PATIENCE`] is told how far it came,
//! and the connection is closed; what it missed is in the log, after that position.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use actix_web::http::header::SEC_WEBSOCKET_PROTOCOL;
use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason};
use async_graphql::parser::types::OperationType;
use domain::port::Position;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::debug;

use super::http::{
    Answered, Asked, BODY_BYTES_MAX, Checked, Stopped, admit, answer, check, execute,
};
use super::subscriptions::Given;
use crate::application::{AppError, Caller};
use crate::http::{State, authenticate, authenticate_bearer, names_a_caller, refusal};

const PROTOCOL: &str = "graphql-transport-ws";
/// How long a client may take to say who it is.
const INIT_PATIENCE: Duration = Duration::from_secs(10);
/// A connection is asked this often whether it is still there.
const PING: Duration = Duration::from_secs(15);
/// Pings without a word from the client.
const PINGS_UNANSWERED_MAX: u32 = 3;
/// How long a client may take for one answer, and for hearing that it was too slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers on their way between the operations and the connection.
const ANSWERS_AHEAD: usize = 4;
/// Operations of one connection at a time.
const OPERATIONS_MAX: usize = 100;
/// Characters of an operation's id.
const ID_CHARS_MAX: usize = 200;

/// What clients say.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    ConnectionInit {
        #[serde(default)]
        payload: Value,
    },
    Ping,
    Pong,
    Subscribe {
        id: String,
        payload: Value,
    },
    Complete {
        id: String,
    },
}

/// Why a connection is closed. Codes from 4400 are the protocol's own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// The client left.
    Left,
    Closed {
        code: u16,
        reason: String,
    },
    TooSlow,
}

impl End {
    fn closed(code: u16, reason: impl Into<String>) -> Self {
        Self::Closed { code, reason: reason.into() }
    }
}

/// Upgrades a request. Who asks is told by its `Authorization`, or by `connection_init`, since browsers cannot set one.
pub(super) async fn open(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let names = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let offers = |name: &str| {
        let mut offered = names.clone().filter_map(|value| value.to_str().ok());
        offered.any(|value| value.split(',').any(|offered| offered.trim() == name))
    };
    if !offers(PROTOCOL) {
        let problem = format!("offer the WebSocket protocol {PROTOCOL}");
        return refusal(&AppError::invalid("Sec-WebSocket-Protocol", problem));
    }
    // A browser's session is told by its cookie; whoever has neither says who they are in connection_init.
    let has_key = names_a_caller(&request);
    let caller = match authenticate(&request, &state).await {
        Ok(caller) => Some(caller),
        Err(error) if has_key => return refusal(&error),
        Err(_) => None,
    };
    match actix_ws::handle_with_protocols(&request, payload, &[PROTOCOL]) {
        Ok((response, session, stream)) => {
            let messages = stream
                .max_frame_size(BODY_BYTES_MAX)
                .aggregate_continuations()
                .max_continuation_size(BODY_BYTES_MAX);
            let (answers, answered) = mpsc::channel(ANSWERS_AHEAD);
            let connection = Connection {
                state,
                session,
                caller,
                is_acknowledged: false,
                answers,
                operations: HashMap::new(),
                started: 0,
            };
            rt::spawn(connection.run(messages, answered));
            response
        }
        Err(error) => error.error_response(),
    }
}

/// One answer of an operation.
struct Told {
    id: String,
    /// Of the operation: ids come again.
    number: u64,
    what: What,
}

enum What {
    /// The body of a GraphQL answer, and the position of the event in it.
    Next(Vec<u8>, Option<Position>),
    /// Errors before anything ran. Nothing follows.
    Error(Vec<Value>),
    Complete,
}

struct Operation {
    number: u64,
    task: JoinHandle<()>,
    /// The last event that its client was sent.
    sent: Option<Position>,
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    state: web::Data<State>,
    session: actix_ws::Session,
    caller: Option<Caller>,
    is_acknowledged: bool,
    answers: mpsc::Sender<Told>,
    operations: HashMap<String, Operation>,
    /// Operations so far.
    started: u64,
}

impl Connection {
    async fn run(
        mut self,
        mut messages: AggregatedMessageStream,
        mut answered: mpsc::Receiver<Told>,
    ) {
        let end = self.serve(&mut messages, &mut answered).await;
        debug!(?end, "a WebSocket ends");
        let slowest = self.operations.values().filter_map(|it| it.sent).min();
        let farewell = match end {
            End::Left => return,
            End::Closed { code, reason } => (code, reason),
            End::TooSlow => {
                metrics::counter!("gateway_websockets_too_slow_total").increment(1);
                (u16::from(CloseCode::Again), too_slow(slowest))
            }
        };
        let clock = self.state.gateway.clock.clone();
        let saying = async {
            if farewell.0 == u16::from(CloseCode::Again) {
                for (id, operation) in std::mem::take(&mut self.operations) {
                    let position = operation.sent;
                    let errors = json!([{
                        "message": too_slow(position),
                        "extensions": { "code": "UNAVAILABLE", "position": position.map(|it| it.to_string()) },
                    }]);
                    let error = json!({ "type": "error", "id": id, "payload": errors });
                    if self.session.text(error.to_string()).await.is_err() {
                        return;
                    }
                }
            }
            let (code, description) = farewell;
            let reason = CloseReason { code: code.into(), description: Some(description) };
            // Whoever is gone need not hear it.
            let _ = self.session.close(Some(reason)).await;
        };
        tokio::select! {
            () = saying => {}
            () = clock.sleep_for(PATIENCE) => {}
        }
    }

    async fn serve(
        &mut self,
        messages: &mut AggregatedMessageStream,
        answered: &mut mpsc::Receiver<Told>,
    ) -> End {
        let gateway = self.state.gateway.clone();
        let mut unanswered = 0;
        let mut next_ping = gateway.clock.since_boot() + INIT_PATIENCE;
        loop {
            let until_ping = next_ping.saturating_sub(gateway.clock.since_boot());
            let outcome = tokio::select! {
                message = messages.next() => {
                    unanswered = 0;
                    self.hear(message).await
                }
                Some(told) = answered.recv() => self.tell(told).await,
                () = gateway.clock.sleep_for(until_ping) => {
                    next_ping = gateway.clock.since_boot() + PING;
                    unanswered += 1;
                    if !self.is_acknowledged {
                        Err(End::closed(4408, "Connection initialisation timeout"))
                    } else if unanswered > PINGS_UNANSWERED_MAX {
                        Err(End::closed(CloseCode::Away.into(), "pings were not answered"))
                    } else {
                        self.say(&json!({ "type": "ping" })).await
                    }
                }
                () = gateway.local.streams.closed() => {
                    Err(End::closed(CloseCode::Restart.into(), "the gateway is stopping"))
                }
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    async fn hear(
        &mut self,
        message: Option<Result<AggregatedMessage, actix_ws::ProtocolError>>,
    ) -> Result<(), End> {
        let text = match message {
            Some(Ok(AggregatedMessage::Text(text))) => text,
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                return self.session.pong(&bytes).await.map_err(|_| End::Left);
            }
            Some(Ok(AggregatedMessage::Pong(_))) => return Ok(()),
            Some(Ok(AggregatedMessage::Binary(_))) => {
                return Err(End::closed(4400, "send text, one JSON message each"));
            }
            Some(Ok(AggregatedMessage::Close(_)) | Err(_)) | None => return Err(End::Left),
        };
        let Ok(said) = serde_json::from_str(&text) else {
            let known = "send connection_init, ping, pong, subscribe or complete";
            return Err(End::closed(4400, known));
        };
        match said {
            Said::ConnectionInit { payload } => self.init(&payload).await,
            Said::Ping => self.say(&json!({ "type": "pong" })).await,
            Said::Pong => Ok(()),
            Said::Subscribe { id, payload } => self.subscribe(id, payload),
            Said::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
        }
    }

    async fn init(&mut self, payload: &Value) -> Result<(), End> {
        if std::mem::replace(&mut self.is_acknowledged, true) {
            return Err(End::closed(4429, "Too many initialisation requests"));
        }
        if self.caller.is_none() {
            let named = payload.as_object().into_iter().flatten();
            let mut headers = named.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            let header = headers.next().and_then(|(_, value)| value.as_str());
            let caller = authenticate_bearer(header, &self.state).await;
            self.caller = Some(caller.map_err(|error| End::closed(4403, error.message))?);
        }
        self.say(&json!({ "type": "connection_ack" })).await
    }

    fn subscribe(&mut self, id: String, payload: Value) -> Result<(), End> {
        let Some(caller) = self.caller.clone().filter(|_| self.is_acknowledged) else {
            return Err(End::closed(4401, "Unauthorized"));
        };
        if id.is_empty() || id.chars().count() > ID_CHARS_MAX {
            let problem = format!("an operation's id has 1 to {ID_CHARS_MAX} characters");
            return Err(End::closed(4400, problem));
        }
        if self.operations.len() >= OPERATIONS_MAX {
            let problem = format!("at most {OPERATIONS_MAX} operations at a time");
            return Err(End::closed(4400, problem));
        }
        let Entry::Vacant(place) = self.operations.entry(id.clone()) else {
            let shown: String = id.chars().take(50).collect();
            return Err(End::closed(4409, format!("Subscriber for {shown} already exists")));
        };
        self.started += 1;
        let number = self.started;
        let teller = Teller { id, number, answers: self.answers.clone() };
        let running = run(self.state.clone(), caller, payload, teller);
        place.insert(Operation { number, task: rt::spawn(running), sent: None });
        Ok(())
    }

    async fn tell(&mut self, told: Told) -> Result<(), End> {
        let Told { id, number, what } = told;
        // What the client has completed meanwhile is of no use to it.
        if self.operations.get(&id).is_none_or(|operation| operation.number != number) {
            return Ok(());
        }
        match what {
            What::Next(body, position) => {
                // The answer is JSON already.
                let (id_json, body) = (json!(id), String::from_utf8_lossy(&body));
                let next = format!(r#"{{"type":"next","id":{id_json},"payload":{body}}}"#);
                self.say_text(next).await?;
                if let Some(operation) = self.operations.get_mut(&id) {
                    operation.sent = position;
                }
                Ok(())
            }
            What::Error(errors) => {
                self.operations.remove(&id);
                self.say(&json!({ "type": "error", "id": id, "payload": errors })).await
            }
            What::Complete => {
                self.operations.remove(&id);
                self.say(&json!({ "type": "complete", "id": id })).await
            }
        }
    }

    async fn say(&mut self, message: &Value) -> Result<(), End> {
        self.say_text(message.to_string()).await
    }

    async fn say_text(&mut self, text: String) -> Result<(), End> {
        let clock = self.state.gateway.clock.clone();
        tokio::select! {
            said = self.session.text(text) => said.map_err(|_| End::Left),
            () = clock.sleep_for(PATIENCE) => Err(End::TooSlow),
        }
    }
}

fn too_slow(position: Option<Position>) -> String {
    let place = position.map(|position| format!(" after position {position}")).unwrap_or_default();
    format!("answers were not taken for {} s; subscribe again{place}", PATIENCE.as_secs())
}

/// How an operation speaks to its client.
struct Teller {
    id: String,
    number: u64,
    answers: mpsc::Sender<Told>,
}

impl Teller {
    /// Waits until there is room. False where the connection is gone.
    async fn tell(&self, what: What) -> bool {
        let told = Told { id: self.id.clone(), number: self.number, what };
        self.answers.send(told).await.is_ok()
    }
}

/// One operation from its checks to its end.
async fn run(state: web::Data<State>, caller: Caller, payload: Value, teller: Teller) {
    let last = match answers(&state, caller, payload, &teller).await {
        Ok(()) => What::Complete,
        Err(stopped) => What::Error(stopped.refusal.errors),
    };
    teller.tell(last).await;
}

async fn answers(
    state: &State,
    caller: Caller,
    payload: Value,
    teller: &Teller,
) -> Result<(), Stopped> {
    let gateway = &state.gateway;
    // A connection outlives what its key was allowed when it was opened.
    let renewed = crate::application::api_keys::renew(gateway, &caller).await;
    let caller = renewed.map_err(|error| Stopped::new(&error, gateway))?;
    admit(&caller, state)?;
    let asked = Asked::of(payload).map_err(|error| Stopped::new(&error, gateway))?;
    let Checked { request, operation } = check(&state.schema, gateway, caller, asked)?;
    if operation != OperationType::Subscription {
        let Answered { body, .. } = execute(&state.schema, gateway, request, operation).await?;
        teller.tell(What::Next(body, None)).await;
        return Ok(());
    }
    let given = Given::default();
    let mut responses = state.schema.executable.execute_stream(request.data(given.clone()));
    while let Some(response) = responses.next().await {
        // It never began, or it ends here.
        if response.data == async_graphql::Value::Null && !response.errors.is_empty() {
            return Err(Stopped::by(&response.errors, gateway));
        }
        let Answered { body, .. } = answer(response, gateway)?;
        if !teller.tell(What::Next(body, given.position())).await {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_protocol_are_read_and_others_are_not() {
        let read = |text: &str| serde_json::from_str::<Said>(text);
        for known in [
            r#"{"type":"connection_init"}"#,
            r#"{"type":"connection_init","payload":null}"#,
            r#"{"type":"connection_init","payload":{"Authorization":"Bearer x"}}"#,
            r#"{"type":"ping","payload":{"a":1}}"#,
            r#"{"type":"pong"}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{ a }"}}"#,
            r#"{"id":"1","type":"complete"}"#,
        ] {
            assert!(read(known).is_ok(), "{known}");
        }
        for other in [
            "",
            "7",
            "{}",
            r#"{"type":"start","id":"1"}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"subscribe","id":1,"payload":{}}"#,
        ] {
            assert!(read(other).is_err(), "{other}");
        }
    }

    #[test]
    fn whoever_is_too_slow_hears_where_to_go_on() {
        assert!(too_slow(Some(Position(41))).ends_with("after position 41"));
        assert!(too_slow(None).ends_with("subscribe again"));
    }
}
