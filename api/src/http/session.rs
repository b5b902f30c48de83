//! Signing in to the console. What is here is for browsers: answers set the session's cookie, and everything but reading who
//! is signed in needs the session's CSRF token, and an `Origin` that is the console's own where a browser sends one.
//!
//! A link's token comes in the body: a page takes it from behind the `#` of its address, which no server sees.

use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{CACHE_CONTROL, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use infrastructure::crypto::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::State;
use super::auth::refusal;
use crate::app::Gateway;
use crate::application::error::{AppError, AppResult, ErrorCode};
use crate::application::sessions::{self, Begun, SESSION_FOR, SignedIn};

/// What a page shows with everything that changes something.
pub(super) const CSRF_HEADER: &str = "x-csrf-token";
const BODY_BYTES_MAX: usize = 16 * 1024;

pub(super) fn configure(routes: &mut web::ServiceConfig) {
    routes
        .service(
            web::resource("/session")
                .route(web::get().to(show))
                .route(web::post().to(sign_in))
                .route(web::delete().to(sign_out)),
        )
        .route("/session/link", web::post().to(accept))
        .route("/session/password", web::post().to(change_password))
        .service(
            web::resource("/session/second-factor")
                .route(web::post().to(enrol))
                .route(web::put().to(confirm))
                .route(web::delete().to(end_second_factor)),
        );
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SignIn {
    email: String,
    password: String,
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Accept {
    token: String,
    password: String,
    name: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ChangePassword {
    current_password: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Code {
    code: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Confirmed {
    current_password: String,
}

async fn show(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let shown = async {
        check_host(&request, &state.gateway)?;
        sessions::authenticate(&state.gateway, &token(&request)?).await
    };
    match shown.await {
        Ok(signed_in) => answer().json(body_of(&signed_in)),
        Err(error) => refusal(&error),
    }
}

async fn sign_in(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let done = async {
        check_origin(&request, &state.gateway)?;
        let SignIn { email, password, code } = read(&body)?;
        let (password, peer) = (Secret::new(password), peer(&request, &state.gateway));
        let begun =
            sessions::sign_in(&state.gateway, &email, &password, code.as_deref(), &peer).await?;
        leave_the_old(&request, &state.gateway).await?;
        Ok(begun)
    };
    begun(done.await, &state.gateway, json!({}))
}

async fn accept(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let done = async {
        check_origin(&request, &state.gateway)?;
        let Accept { token, password, name, email } = read(&body)?;
        let person = name.as_deref().zip(email.as_deref());
        let begun =
            sessions::accept(&state.gateway, &token, person, &Secret::new(password)).await?;
        leave_the_old(&request, &state.gateway).await?;
        Ok(begun)
    };
    begun(done.await, &state.gateway, json!({}))
}

async fn sign_out(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let done = async {
        let token = changing(&request, &state.gateway).await?;
        sessions::sign_out(&state.gateway, &token).await
    };
    match done.await {
        Ok(()) => {
            let mut cookie = cookie(&state.gateway, "");
            cookie.make_removal();
            HttpResponse::NoContent().cookie(cookie).finish()
        }
        Err(error) => refusal(&error),
    }
}

async fn change_password(
    request: HttpRequest,
    body: web::Bytes,
    state: web::Data<State>,
) -> HttpResponse {
    let done = async {
        let token = changing(&request, &state.gateway).await?;
        let ChangePassword { current_password, password } = read(&body)?;
        let (current, new) = (Secret::new(current_password), Secret::new(password));
        sessions::change_password(&state.gateway, &token, &current, &new).await
    };
    begun(done.await, &state.gateway, json!({}))
}

async fn enrol(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let done = async {
        let token = changing(&request, &state.gateway).await?;
        let Confirmed { current_password } = read(&body)?;
        sessions::enrol(&state.gateway, &token, &Secret::new(current_password)).await
    };
    match done.await {
        Ok(enrolment) => answer()
            .json(json!({ "secret": enrolment.secret.expose(), "uri": enrolment.uri.expose() })),
        Err(error) => refusal(&error),
    }
}

async fn confirm(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let done = async {
        let token = changing(&request, &state.gateway).await?;
        let Code { code } = read(&body)?;
        sessions::confirm_enrolment(&state.gateway, &token, &code).await
    };
    match done.await {
        Ok((session, codes)) => {
            let codes: Vec<&str> = codes.iter().map(Secret::expose).collect();
            begun(Ok(session), &state.gateway, json!({ "recoveryCodes": codes }))
        }
        Err(error) => refusal(&error),
    }
}

async fn end_second_factor(
    request: HttpRequest,
    body: web::Bytes,
    state: web::Data<State>,
) -> HttpResponse {
    let done = async {
        let token = changing(&request, &state.gateway).await?;
        let Confirmed { current_password } = read(&body)?;
        sessions::end_second_factor(&state.gateway, &token, &Secret::new(current_password)).await
    };
    begun(done.await, &state.gateway, json!({}))
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> AppResult<T> {
    if body.len() > BODY_BYTES_MAX {
        return Err(AppError::invalid("body", format!("send at most {BODY_BYTES_MAX} bytes")));
    }
    // Of a body that does not fit, the reason is told without a word of what stands in it.
    serde_json::from_slice(body).map_err(|error| {
        let problem = match error.classify() {
            serde_json::error::Category::Data => {
                let told = error.to_string();
                let names_a_field =
                    told.starts_with("missing field") || told.starts_with("unknown field");
                if names_a_field { told } else { "one of the fields is no text".to_owned() }
            }
            _ => "send a JSON object".to_owned(),
        };
        AppError::invalid("body", problem)
    })
}

fn answer() -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store"));
    answer
}

fn begun(begun: AppResult<Begun>, gateway: &Gateway, more: Value) -> HttpResponse {
    match begun {
        Ok(Begun { token, signed_in }) => {
            let mut body = body_of(&signed_in);
            if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
                body.extend(more.clone());
            }
            answer().cookie(cookie(gateway, token.expose())).json(body)
        }
        Err(error) => refusal(&error),
    }
}

fn body_of(signed_in: &SignedIn) -> Value {
    let ids = |ids: Vec<String>| Value::from(ids);
    let caller = &signed_in.caller;
    json!({
        "user": {
            "id": signed_in.user_id,
            "name": signed_in.name,
            "email": signed_in.email,
            "role": signed_in.role,
            "hasSecondFactor": signed_in.has_second_factor,
            "scopes": caller.scopes,
            "workspaceIds": caller.workspaces.as_ref().map(|it| ids(it.iter().map(ToString::to_string).collect())),
            "accountIds": caller.accounts.as_ref().map(|it| ids(it.iter().map(ToString::to_string).collect())),
        },
        "csrfToken": signed_in.csrf,
    })
}

/// Whether browsers reach us by https: then the cookie is for it alone, and for this host alone.
fn is_secure(gateway: &Gateway) -> bool {
    gateway.public_url().scheme() == "https"
}

fn cookie_name(gateway: &Gateway) -> &'static str {
    if is_secure(gateway) { "__Host-session" } else { "session" }
}

fn cookie(gateway: &Gateway, token: &str) -> Cookie<'static> {
    Cookie::build(cookie_name(gateway), token.to_owned())
        .path("/")
        .http_only(true)
        .secure(is_secure(gateway))
        .same_site(SameSite::Lax)
        .max_age(CookieDuration::seconds(SESSION_FOR.num_seconds()))
        .finish()
}

fn token(request: &HttpRequest) -> AppResult<String> {
    let state = request.app_data::<web::Data<State>>();
    let cookie = state.and_then(|state| request.cookie(cookie_name(&state.gateway)));
    let cookie = cookie.filter(|cookie| !cookie.value().is_empty());
    cookie
        .map(|cookie| cookie.value().to_owned())
        .ok_or_else(|| AppError::new(ErrorCode::Unauthenticated, "nobody is signed in"))
}

/// Whether the request holds a session's cookie.
pub(super) fn has_cookie(request: &HttpRequest) -> bool {
    token(request).is_ok()
}

/// Who holds the session of the request's cookie. What may change something shows the CSRF token; a WebSocket comes from
/// the console's own origin.
///
/// # Errors
/// UNAUTHENTICATED; FORBIDDEN where another site may be behind it.
pub(super) async fn authenticate(request: &HttpRequest, gateway: &Gateway) -> AppResult<SignedIn> {
    let signed_in = sessions::authenticate(gateway, &token(request)?).await?;
    let is_websocket = request.headers().contains_key("upgrade");
    if is_websocket && !request.headers().contains_key("origin") {
        return Err(foreign());
    }
    check_origin(request, gateway)?;
    if !request.method().is_safe() {
        check_csrf(request.headers(), &signed_in)?;
    }
    Ok(signed_in)
}

/// The token of a session that is about to change something.
async fn changing(request: &HttpRequest, gateway: &Gateway) -> AppResult<String> {
    authenticate(request, gateway).await?;
    token(request)
}

fn check_csrf(headers: &HeaderMap, signed_in: &SignedIn) -> AppResult<()> {
    let shown = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if Secret::new(signed_in.csrf.as_str()).matches(shown) {
        return Ok(());
    }
    Err(AppError::forbidden(format!("send the session's csrfToken as the header {CSRF_HEADER}")))
}

fn foreign() -> AppError {
    AppError::forbidden("sessions are for the console's own pages; programs use an API key")
}

/// The hosts by which browsers reach us, with their ports.
fn hosts(gateway: &Gateway) -> Vec<String> {
    let url = gateway.public_url();
    let with_port = |host: &str| match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let host = url.host_str().unwrap_or_default();
    let mut hosts = vec![with_port(host)];
    // On one's own machine both names are common.
    if matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
        hosts.extend(["127.0.0.1", "localhost", "[::1]"].map(with_port));
    }
    hosts
}

/// Whether a proxy that the configuration names stands between, whose word on host and peer counts.
fn is_behind_proxy(request: &HttpRequest, gateway: &Gateway) -> bool {
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let proxies = &gateway.config.trusted_proxies;
    peer.is_some_and(|peer| proxies.iter().any(|network| network.contains(&peer)))
}

/// Whose attempts are counted together.
fn peer(request: &HttpRequest, gateway: &Gateway) -> String {
    if is_behind_proxy(request, gateway)
        && let Some(told) = request.connection_info().realip_remote_addr()
    {
        return told.to_owned();
    }
    request.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default()
}

/// A name of somebody else's that leads here (DNS rebinding) opens nothing.
fn check_host(request: &HttpRequest, gateway: &Gateway) -> AppResult<()> {
    let host = if is_behind_proxy(request, gateway) {
        request.connection_info().host().to_lowercase()
    } else {
        let host = request.headers().get("host").and_then(|value| value.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        host.unwrap_or_default().to_lowercase()
    };
    if hosts(gateway).contains(&host) {
        return Ok(());
    }
    Err(AppError::forbidden("open the console by the address that public_url names"))
}

/// A browser has one session here.
async fn leave_the_old(request: &HttpRequest, gateway: &Gateway) -> AppResult<()> {
    match token(request) {
        Ok(token) => sessions::replace(gateway, &token).await,
        Err(_) => Ok(()),
    }
}

fn check_origin(request: &HttpRequest, gateway: &Gateway) -> AppResult<()> {
    check_host(request, gateway)?;
    let Some(origin) = request.headers().get("origin") else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default().to_lowercase();
    let scheme = gateway.public_url().scheme().to_owned();
    let is_ours = hosts(gateway).iter().any(|host| origin == format!("{scheme}://{host}"));
    if is_ours { Ok(()) } else { Err(foreign()) }
}
