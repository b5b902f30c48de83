//! The client of the Cloud API: one connection pool for every account, credentials given with each call.
//!
//! It never repeats a POST, never follows a redirect by itself, carries the bearer to nobody but the configured host
//! and (for media) Meta's own, and keeps three things apart that look alike from far: refused, not sent, and nobody
//! knows. It neither paces nor decides; URLs, tokens and texts appear in none of its errors.

mod account;
mod gate;
mod media;
mod probe;
mod send;
mod templates;
#[cfg(test)]
mod tests;

pub use account::{CallbackOverride, NUMBER_FIELDS};
pub use media::{Downloaded, MEDIA_BYTES_MAX, MediaError, MediaUpload, Sample};
pub use probe::{PERMISSIONS, TokenProbe, VisibleWaba};
pub use send::{Accepted, Endpoint, SendOutcome, UnknownOutcome};
pub use templates::{TEMPLATE_FIELDS, TemplateFilter};

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use ring::hmac;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::error::{Backoff, ErrorContext, GraphError};
use super::usage::{APP_USAGE_HEADER, BUSINESS_USAGE_HEADER, Usage};
use super::wire::response::{ErrorEnvelope, Page, Success};
use super::wire::{ItemError, read_item, shape_of};
use crate::crypto::secret::Secret;

/// Meta's host.
pub const DEFAULT_BASE_URL: &str = "https://graph.facebook.com";
/// The newest version known (released 2026-07-29).
pub const DEFAULT_VERSION: &str = "v26.0";

/// Time to resolve, connect and shake hands.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a whole JSON call. Meta publishes none; a generous one leaves fewer outcomes unknown.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a whole upload or download.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(600);
/// Time a download may stand still.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Time an unused connection is kept.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest JSON answer that is read: a page of 100 templates is far below.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Items asked for per page of a list.
const PAGE_SIZE: &str = "100";
/// The most pages of one list: 6,000 templates are the most a WABA can have.
const PAGES_MAX: usize = 1_000;
/// How often a list is begun anew when its cursor goes stale.
const LIST_RESTARTS_MAX: usize = 2;
/// From here on operators are told how much of a call budget is used.
const USAGE_WARNING_PERCENT: i64 = 80;
/// A cursor that expired or is corrupt.
const STALE_CURSOR: i64 = 131_059;

/// What names this program to Meta's servers; some refuse requests without.
const USER_AGENT: &str = concat!("whatsapp-gateway/", env!("CARGO_PKG_VERSION"));

/// Where and how to call. Durations are of one call each.
#[derive(Clone, Debug)]
pub struct CloudApiConfig {
    /// https, or http on loopback.
    pub base_url: Url,
    /// `v26.0`
    pub version: String,
    pub connect_timeout: Duration,
    pub call_timeout: Duration,
    pub transfer_timeout: Duration,
    pub stall_timeout: Duration,
}

impl CloudApiConfig {
    pub fn new(base_url: Url, version: impl Into<String>) -> Self {
        Self {
            base_url,
            version: version.into(),
            connect_timeout: CONNECT_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            transfer_timeout: TRANSFER_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the Graph API's base URL must be https, or http on a loopback address")]
    InsecureBaseUrl,
    #[error(
        "the Graph API's base URL must be a host with an optional path, without query, fragment or password"
    )]
    BadBaseUrl,
    #[error("the Graph API's version must look like v26.0")]
    BadVersion,
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// What a call may use. Debug prints none of it.
#[derive(Clone, Debug)]
pub struct Access {
    pub token: Secret,
    /// With it every call carries `appsecret_proof`, which apps may demand.
    pub proof_secret: Option<Secret>,
}

impl Access {
    pub fn new(token: Secret) -> Self {
        Self { token, proof_secret: None }
    }

    /// Lower-case hex of HMAC-SHA256 over the token, keyed with the app secret.
    fn proof(&self) -> Option<String> {
        let secret = self.proof_secret.as_ref()?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Some(hex::encode(hmac::sign(&key, self.token.expose().as_bytes())))
    }

    /// `None` where the token holds what no header can.
    fn bearer(&self) -> Option<HeaderValue> {
        let text = Zeroizing::new(format!("Bearer {}", self.token.expose()));
        let mut value = HeaderValue::from_str(&text).ok().filter(|_| !self.token.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Why the request never left: safe to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    #[error("its time to be sent had passed")]
    Expired,
    #[error("the connection was refused")]
    ConnectionRefused,
    #[error("the host name could not be resolved")]
    Dns,
    #[error("the TLS handshake failed")]
    Tls,
    #[error("no connection within the time allowed")]
    ConnectTimeout,
    #[error("no connection could be made")]
    Unreachable,
    #[error("the access token holds characters that no header can carry, or is empty")]
    BadToken,
    #[error("the content cannot be written as JSON")]
    BadContent,
}

impl NotSent {
    /// How to wait before trying again; `None` where trying again is useless as it stands.
    pub fn backoff(self) -> Option<Backoff> {
        match self {
            Self::BadToken | Self::BadContent => None,
            Self::Expired => Some(Backoff { first_seconds: 0, factor: 1, max_seconds: 0 }),
            Self::ConnectionRefused
            | Self::Dns
            | Self::Tls
            | Self::ConnectTimeout
            | Self::Unreachable => Some(Backoff { first_seconds: 2, factor: 2, max_seconds: 300 }),
        }
    }
}

/// Why nobody knows what a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownReason {
    #[error("no answer within the time allowed")]
    Timeout,
    #[error("the connection was lost before the answer was complete")]
    ConnectionLost,
    #[error("the server failed (HTTP {0})")]
    ServerError(u16),
    #[error("the answer was a redirect (HTTP {0}), which is not followed")]
    Redirected(u16),
    #[error("the answer is not one of the Graph API's (HTTP {0})")]
    NotGraph(u16),
    #[error("the answer names no message")]
    NoMessageId,
    #[error("the answer is larger than any of the Graph API's")]
    TooLarge,
    /// WhatsApp answered an error that leaves it open.
    #[error("WhatsApp answered code {0}, which leaves open whether it went out")]
    Code(i64),
}

/// Why a call other than a send did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// WhatsApp said no; its consequence says what to make of it.
    #[error("{0}")]
    Refused(Box<GraphError>),
    /// WhatsApp never heard of it.
    #[error("not sent: {0}")]
    NotSent(NotSent),
    /// It may or may not have taken effect.
    #[error("outcome unknown: {0}")]
    Unknown(UnknownReason),
    /// It took effect, and the answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    /// Not asked at all: an argument cannot be right.
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: &'static str },
}

impl CallError {
    /// The refusal, where it is one.
    pub fn refusal(&self) -> Option<&GraphError> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }

    fn code(&self) -> Option<i64> {
        self.refusal()?.code
    }
}

/// A list read to its end.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// Items that could not be read; the others are unharmed.
    pub unreadable: Vec<ItemError>,
}

/// The client. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct CloudApi {
    http: reqwest::Client,
    config: std::sync::Arc<CloudApiConfig>,
    /// Base and version, as a directory.
    root: Url,
}

impl CloudApi {
    /// Sets the client up; no call is made.
    ///
    /// # Errors
    /// [`ConfigError`], which says what is wrong with the base URL or the version.
    pub fn new(config: CloudApiConfig) -> Result<Self, ConfigError> {
        let root = root_url(&config.base_url, &config.version)?;
        // The process's provider is installed at start; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .build()
            .map_err(|error| ConfigError::Client(error.without_url()))?;
        Ok(Self { http, config: std::sync::Arc::new(config), root })
    }

    pub fn config(&self) -> &CloudApiConfig {
        &self.config
    }

    /// `{base}/{version}/{path…}?{query…}`, each part encoded: an id can name nothing but one segment.
    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.root.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// A request with bearer and proof.
    fn request(
        &self,
        method: Method,
        access: &Access,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, CallError> {
        if path.iter().any(|segment| segment.is_empty() || *segment == "." || *segment == "..") {
            return Err(CallError::Invalid {
                field: "id",
                problem: "an id of the Graph API is never empty or a dot",
            });
        }
        let mut url = self.url(path, query);
        if let Some(proof) = access.proof() {
            url.query_pairs_mut().append_pair("appsecret_proof", &proof);
        }
        let bearer = access.bearer().ok_or(CallError::NotSent(NotSent::BadToken))?;
        Ok(self.http.request(method, url).header(AUTHORIZATION, bearer))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        access: &Access,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, CallError> {
        let request =
            self.request(Method::GET, access, path, query)?.timeout(self.config.call_timeout);
        read(&self.answer(request).await?)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        access: &Access,
        path: &[&str],
        body: &Value,
    ) -> Result<T, CallError> {
        let request = self
            .request(Method::POST, access, path, &[])?
            .timeout(self.config.call_timeout)
            .json(body);
        read(&self.answer(request).await?)
    }

    async fn delete(
        &self,
        access: &Access,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<(), CallError> {
        let request =
            self.request(Method::DELETE, access, path, query)?.timeout(self.config.call_timeout);
        done(read(&self.answer(request).await?)?)
    }

    /// Runs a call that is not a send and reads its answer: everything but 2xx is an error by then.
    async fn answer(&self, request: RequestBuilder) -> Result<Bytes, CallError> {
        let response = request.send().await.map_err(|error| match connect_failure(&error) {
            Some(not_sent) => CallError::NotSent(not_sent),
            None => CallError::Unknown(lost_or_late(&error)),
        })?;
        let (status, usage) = (response.status(), usage_of(response.headers()));
        let body = read_body(response, ANSWER_BYTES_MAX).await.map_err(CallError::Unknown)?;
        if usage.busiest_percent() >= USAGE_WARNING_PERCENT {
            tracing::warn!(
                percent = usage.busiest_percent(),
                "a call budget of the Graph API is nearly used up"
            );
        }
        if status.is_success() {
            return Ok(body);
        }
        match refusal(status, &body, usage, ErrorContext::default()) {
            Ok(error) => Err(CallError::Refused(Box::new(error))),
            Err(reason) => Err(CallError::Unknown(reason)),
        }
    }

    /// Reads a list to its end. Requests are rebuilt from the cursor; `next` is never followed. A cursor that goes stale
    /// begins the list anew.
    async fn list<T: DeserializeOwned>(
        &self,
        access: &Access,
        path: &[&str],
        query: &[(&str, &str)],
        item: &'static str,
    ) -> Result<Listing<T>, CallError> {
        let mut listing = Listing { items: Vec::new(), unreadable: Vec::new() };
        let (mut cursor, mut restarts) = (None::<String>, 0);
        for _ in 0..PAGES_MAX {
            let mut query = query.to_vec();
            query.push(("limit", PAGE_SIZE));
            query.extend(cursor.as_deref().map(|cursor| ("after", cursor)));
            let page: Page = match self.get(access, path, &query).await {
                Err(error)
                    if error.code() == Some(STALE_CURSOR) && restarts < LIST_RESTARTS_MAX =>
                {
                    restarts += 1;
                    cursor = None;
                    listing = Listing { items: Vec::new(), unreadable: Vec::new() };
                    continue;
                }
                page => page?,
            };
            for value in page.items::<T>(item) {
                match value {
                    Ok(value) => listing.items.push(value),
                    Err(error) => listing.unreadable.push(error),
                }
            }
            let next = page.next_cursor();
            if next.is_none() {
                return Ok(listing);
            }
            if next == cursor {
                return Err(CallError::Unreadable("the list's cursor does not move".to_owned()));
            }
            cursor = next;
        }
        Err(CallError::Unreadable(format!("the list does not end within {PAGES_MAX} pages")))
    }
}

fn root_url(base: &Url, version: &str) -> Result<Url, ConfigError> {
    let is_loopback = match base.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(ConfigError::BadBaseUrl),
    };
    match base.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        _ => return Err(ConfigError::InsecureBaseUrl),
    }
    if base.query().is_some()
        || base.fragment().is_some()
        || base.password().is_some()
        || !base.username().is_empty()
    {
        return Err(ConfigError::BadBaseUrl);
    }
    let number = version.strip_prefix('v').and_then(|number| number.split_once('.'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !number.is_some_and(|(major, minor)| is_number(major) && is_number(minor)) {
        return Err(ConfigError::BadVersion);
    }
    let mut root = base.clone();
    root.path_segments_mut().map_err(|()| ConfigError::BadBaseUrl)?.pop_if_empty().push(version);
    Ok(root)
}

fn usage_of(headers: &HeaderMap) -> Usage {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Usage::parse(text(BUSINESS_USAGE_HEADER), text(APP_USAGE_HEADER))
}

/// Reads a body to its end or to `bytes_max`.
async fn read_body(
    mut response: reqwest::Response,
    bytes_max: usize,
) -> Result<Bytes, UnknownReason> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => {
                return Err(UnknownReason::TooLarge);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(lost_or_late(&error)),
        }
    }
}

/// What an answer other than 2xx says: a refusal, or nothing that can be relied on.
fn refusal(
    status: StatusCode,
    body: &[u8],
    usage: Usage,
    context: ErrorContext,
) -> Result<GraphError, UnknownReason> {
    let status_code = status.as_u16();
    match serde_json::from_slice::<ErrorEnvelope>(body) {
        Ok(envelope) if !status.is_redirection() => {
            Ok(GraphError::of_answer(status_code, envelope.error, usage, context))
        }
        _ if status == StatusCode::TOO_MANY_REQUESTS => Ok(GraphError::throttled(usage)),
        _ if status.is_redirection() => Err(UnknownReason::Redirected(status_code)),
        _ if status.is_server_error() => Err(UnknownReason::ServerError(status_code)),
        _ => Err(UnknownReason::NotGraph(status_code)),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| CallError::Unreadable(shape_of(&error)))?;
    read_item("answer", 0, &value).map_err(|error| CallError::Unreadable(error.reason))
}

fn done(success: Success) -> Result<(), CallError> {
    if success.success {
        Ok(())
    } else {
        Err(CallError::Unreadable(
            "WhatsApp answered without an error and without success".to_owned(),
        ))
    }
}

/// Why there was no connection, where there was none.
fn connect_failure(error: &reqwest::Error) -> Option<NotSent> {
    error.is_connect().then(|| not_sent_because(error))
}

/// What kept a request from being written, for one that was not.
fn not_sent_because(error: &reqwest::Error) -> NotSent {
    if error.is_timeout() {
        return NotSent::ConnectTimeout;
    }
    if error.is_dns() {
        return NotSent::Dns;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<rustls::Error>() {
            return NotSent::Tls;
        }
        let io = cause.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return NotSent::ConnectionRefused;
        }
        // An I/O error passes over the error it wraps when asked for its source.
        let wrapped =
            io.and_then(|io| io.get_ref()).map(|inner| inner as &(dyn std::error::Error + 'static));
        source = wrapped.or_else(|| cause.source());
    }
    NotSent::Unreachable
}

fn lost_or_late(error: &reqwest::Error) -> UnknownReason {
    if error.is_timeout() { UnknownReason::Timeout } else { UnknownReason::ConnectionLost }
}
