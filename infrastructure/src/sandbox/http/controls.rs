//! The controls, `/_sandbox/…`: for whoever runs the sandbox, and not part of the Cloud API.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Scope, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read_body;
use crate::sandbox::delivery::verify_for_a_minute;
use crate::sandbox::{
    Behaviour, BehaviourError, ControlError, NumberError, NumberSpec, Sandbox, TemplateEvent,
};

/// Longest body: an inbound medium of 100 MB in base64, and a little.
const BODY_BYTES_MAX: usize = 140 * 1024 * 1024;

/// Who may use the controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlsAccess {
    /// Whoever calls from this machine, by a loopback name, and not out of a web page of elsewhere.
    Loopback,
    /// Whoever the mounting program lets through: it has wrapped the routes with its own authorisation.
    Authorised,
}

/// The routes `/_sandbox/…`, as one scope, so that whoever mounts them can wrap it.
pub fn controls(sandbox: Sandbox, access: ControlsAccess) -> Scope {
    web::scope("/_sandbox")
        .app_data(web::Data::new(Mounted { sandbox, access }))
        .route("/numbers", web::post().to(provision))
        .route("/numbers", web::get().to(numbers))
        .route("/behaviour", web::put().to(put_behaviour))
        .route("/behaviour", web::get().to(get_behaviour))
        .route("/behaviour", web::delete().to(delete_behaviour))
        .route("/calls", web::get().to(calls))
        .route("/calls", web::delete().to(forget))
        .route("/stats", web::get().to(stats))
        .route("/inbound", web::post().to(inbound))
        .route("/webhooks", web::post().to(webhook))
        .route("/templates/{name}/{event}", web::post().to(template_event))
}

struct Mounted {
    sandbox: Sandbox,
    access: ControlsAccess,
}

/// The sandbox, for a caller who may have it.
struct Allowed(Sandbox);

impl FromRequest for Allowed {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mounted = request.app_data::<web::Data<Mounted>>();
        ready(match mounted {
            None => Err(Refusal { status: 500, text: "the controls are not mounted".to_owned() }),
            Some(mounted) if mounted.access == ControlsAccess::Authorised || is_local(request) => {
                Ok(Self(mounted.sandbox.clone()))
            }
            Some(_) => Err(Refusal {
                status: 403,
                text: "the sandbox's controls answer only on loopback, by 127.0.0.1 or localhost, and to no web page"
                    .to_owned(),
            }),
        })
    }
}

/// A page in somebody's browser can reach loopback too: it shows by its origin, or by the name it was rebound to.
fn is_local(request: &HttpRequest) -> bool {
    let local_name = |authority: &str| {
        url::Url::parse(&format!("http://{authority}")).is_ok_and(|url| match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        })
    };
    let text = |name: header::HeaderName| {
        request.headers().get(name).map(|value| value.to_str().unwrap_or("?"))
    };
    let host = text(header::HOST).is_none_or(local_name);
    let origin = text(header::ORIGIN).is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(_, authority)| local_name(authority))
    });
    let peer = request.peer_addr().is_none_or(|peer| peer.ip().is_loopback());
    host && origin && peer
}

#[derive(Debug)]
struct Refusal {
    status: u16,
    text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl actix_web::ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({"error": {"message": self.text}}))
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        let status = match error {
            ControlError::NotFound(_) => 404,
            ControlError::UnknownKey { .. } | ControlError::Invalid { .. } => 400,
            ControlError::State(_) => 500,
        };
        Self { status, text: error.to_string() }
    }
}

impl From<NumberError> for Refusal {
    fn from(error: NumberError) -> Self {
        let status = if matches!(error, NumberError::State(_)) { 500 } else { 400 };
        Self { status, text: error.to_string() }
    }
}

impl From<BehaviourError> for Refusal {
    fn from(error: BehaviourError) -> Self {
        Self { status: 400, text: error.to_string() }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        tracing::error!(%error, "the sandbox could not write or read its record");
        Self { status: 500, text: "the sandbox could not write or read its record".to_owned() }
    }
}

type Answered = Result<HttpResponse, Refusal>;

async fn body(payload: web::Payload) -> Result<Bytes, Refusal> {
    read_body(payload, BODY_BYTES_MAX).await.ok_or_else(|| Refusal {
        status: 413,
        text: format!("the body is longer than {BODY_BYTES_MAX} bytes"),
    })
}

fn value(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|_| Refusal { status: 400, text: "the body is not JSON".to_owned() })
}

async fn provision(Allowed(sandbox): Allowed, payload: web::Payload) -> Answered {
    let spec = NumberSpec::from_json(&body(payload).await?)?;
    let id = sandbox.put_number(spec)?;
    // The first attempt is made before the answer, so that a caller whose webhook is up finds everything ready.
    if !sandbox.verify(&id).await {
        tokio::spawn(verify_for_a_minute(Arc::downgrade(&sandbox.0), id.clone(), 1));
    }
    let answer = sandbox.state().numbers.get(&id).map(described).unwrap_or_default();
    Ok(HttpResponse::Created().json(answer))
}

async fn numbers(Allowed(sandbox): Allowed) -> Answered {
    let answer: Vec<Value> = sandbox.state().numbers.values().map(described).collect();
    Ok(HttpResponse::Ok().json(answer))
}

/// A number without its secrets.
fn described(number: &crate::sandbox::state::Number) -> Value {
    let spec = &number.facts.spec;
    let webhook = match (&spec.webhook_url, number.facts.verified) {
        (None, _) => "NONE",
        (Some(_), true) => "VERIFIED",
        (Some(_), false) => "PENDING",
    };
    json!({
        "phoneNumberId": spec.phone_number_id,
        "wabaId": spec.waba_id,
        "appId": spec.app_id,
        "displayPhoneNumber": spec.display_phone_number,
        "messagesPerSecond": spec.messages_per_second,
        "messagingLimit": spec.messaging_limit,
        "templateVerdict": spec.template_verdict, "onBusinessApp": spec.on_business_app,
        "registered": number.facts.registered,
        "webhook": webhook,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Which {
    phone_number_id: Option<String>,
}

async fn put_behaviour(
    Allowed(sandbox): Allowed,
    request: HttpRequest,
    which: web::Query<Which>,
    payload: web::Payload,
) -> Answered {
    let bytes = body(payload).await?;
    let content_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let behaviour = if content_type.is_some_and(|kind| kind.contains("toml")) {
        Behaviour::from_toml(&String::from_utf8_lossy(&bytes))?
    } else {
        Behaviour::from_json(&bytes)?
    };
    match &which.phone_number_id {
        None => sandbox.set_behaviour(behaviour.clone())?,
        Some(number) => sandbox.set_behaviour_of(number, Some(behaviour.clone()))?,
    }
    Ok(HttpResponse::Ok().json(behaviour))
}

async fn get_behaviour(Allowed(sandbox): Allowed, which: web::Query<Which>) -> Answered {
    let state = sandbox.state();
    let behaviour = match &which.phone_number_id {
        None => &state.behaviour,
        Some(number) => state.behaviour_of(number),
    };
    Ok(HttpResponse::Ok().json(behaviour))
}

async fn delete_behaviour(Allowed(sandbox): Allowed, which: web::Query<Which>) -> Answered {
    match &which.phone_number_id {
        None => sandbox.set_behaviour(Behaviour::default())?,
        Some(number) => sandbox.set_behaviour_of(number, None)?,
    }
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn calls(Allowed(sandbox): Allowed, after: web::Query<After>) -> Answered {
    let reader = sandbox.state().record.reader(after.after);
    let lines = futures::stream::unfold(reader, |mut reader| async move {
        // From the page cache, a piece at a time.
        match reader.next_lines() {
            Ok(Some(lines)) => Some((Ok(Bytes::from(lines)), reader)),
            Ok(None) => None,
            Err(error) => Some((Err(error), reader)),
        }
    });
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(lines))
}

async fn forget(Allowed(sandbox): Allowed) -> Answered {
    sandbox.forget()?;
    Ok(HttpResponse::NoContent().finish())
}

async fn stats(Allowed(sandbox): Allowed) -> Answered {
    Ok(HttpResponse::Ok().json(sandbox.stats()))
}

async fn inbound(Allowed(sandbox): Allowed, payload: web::Payload) -> Answered {
    let wamid = sandbox.inbound(&value(&body(payload).await?)?)?;
    Ok(HttpResponse::Created().json(json!({ "id": Some(wamid).filter(|wamid| !wamid.is_empty()) })))
}

async fn webhook(Allowed(sandbox): Allowed, payload: web::Payload) -> Answered {
    sandbox.webhook(&value(&body(payload).await?)?)?;
    Ok(HttpResponse::Accepted().finish())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct About {
    waba_id: Option<String>,
    language: Option<String>,
    reason: Option<String>,
}

async fn template_event(
    Allowed(sandbox): Allowed,
    path: web::Path<(String, String)>,
    about: web::Query<About>,
) -> Answered {
    let (name, event) = path.into_inner();
    let About { waba_id, language, reason } = about.into_inner();
    let template =
        sandbox.template_event(&TemplateEvent { name, event, waba_id, language, reason })?;
    Ok(HttpResponse::Ok().json(template))
}
