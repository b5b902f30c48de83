//! Posts to URLs that somebody else chose. Names are resolved here, every address is checked, and nothing but a checked
//! address is connected to; no redirect is followed; of the answer a little is kept. Texts of errors hold neither URLs nor
//! anything that was sent.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use url::{Host, Url};

use super::address::{Addresses, Forbidden};

/// What is kept of an answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// An answer that goes on for longer than this costs its connection.
const DRAINED_BYTES_MAX: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole attempt.
pub const TIMEOUT: Duration = Duration::from_secs(20);
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A name is resolved anew for an attempt that comes later than this.
const RESOLVED_FOR: Duration = Duration::from_secs(5);
/// Names whose addresses are remembered.
const NAMES_MAX: usize = 1_000;
const USER_AGENT: &str = concat!("whatsapp-gateway/", env!("CARGO_PKG_VERSION"));

/// Turns names into addresses.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// # Errors
    /// Where the name has none, or nobody could be asked.
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// As the machine does it.
#[derive(Clone, Copy, Debug)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// What an endpoint answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// How long it asks to be left alone.
    pub retry_after: Option<chrono::Duration>,
    /// The first [`ANSWER_BYTES_MAX`] of its body.
    pub body: Bytes,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    #[error("the URL has no host that can be reached")]
    Url,
    #[error("the address is not allowed: {0}")]
    Forbidden(Forbidden),
    #[error("the name does not resolve to an address")]
    Unresolved,
    #[error("no connection could be made")]
    Unreachable,
    #[error("there was no answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    #[error("the connection broke before the answer was whole")]
    Broken,
    #[error("a header cannot be sent")]
    Header,
}

/// Clones share connections.
#[derive(Clone)]
pub struct Outbound {
    http: reqwest::Client,
    plain: reqwest::Client,
    names: Arc<Names>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbound")
    }
}

struct Names {
    lookup: Arc<dyn Lookup>,
    addresses: Addresses,
    known: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

/// What the HTTP library asks when it opens a connection: only what may be reached is told.
struct Guard {
    names: Arc<Names>,
    is_https: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, is_https) = (self.names.clone(), self.is_https);
        Box::pin(async move {
            let found = names.checked(name.as_str(), is_https).await?;
            let found: Addrs =
                Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(found)
        })
    }
}

impl Names {
    /// All of a name's addresses, every one of which may be reached.
    async fn checked(&self, name: &str, is_https: bool) -> Result<Vec<IpAddr>, PostError> {
        let found = self.resolved(name).await?;
        for address in &found {
            self.addresses.check(*address, is_https).map_err(PostError::Forbidden)?;
        }
        Ok(found)
    }

    async fn resolved(&self, name: &str) -> Result<Vec<IpAddr>, PostError> {
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, found)) = known.get(name)
                && at.elapsed() < RESOLVED_FOR
            {
                return Ok(found.clone());
            }
        }
        let found = tokio::time::timeout(CONNECT_TIMEOUT, self.lookup.lookup(name)).await;
        let found = found.ok().and_then(Result::ok).filter(|found| !found.is_empty());
        let found = found.ok_or(PostError::Unresolved)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES_MAX {
            known.retain(|_, (at, _)| at.elapsed() < RESOLVED_FOR);
        }
        if known.len() < NAMES_MAX {
            known.insert(name.to_owned(), (Instant::now(), found.clone()));
        }
        Ok(found)
    }
}

impl Outbound {
    /// # Errors
    /// Where the machine's TLS cannot be set up.
    pub fn new(addresses: Addresses, lookup: Arc<dyn Lookup>) -> Result<Self, reqwest::Error> {
        let names = Arc::new(Names { lookup, addresses, known: Mutex::default() });
        let client = |is_https| {
            reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TIMEOUT)
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                // A proxy would connect for us, to whatever it likes.
                .no_proxy()
                .https_only(is_https)
                .dns_resolver(Guard { names: names.clone(), is_https })
                .build()
        };
        Ok(Self { http: client(true)?, plain: client(false)?, names })
    }

    /// Whether this URL may be posted to, as its name resolves now.
    ///
    /// # Errors
    /// [`PostError`]: a name that does not resolve may do so later.
    pub async fn check(&self, url: &Url) -> Result<(), PostError> {
        let is_https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(PostError::Url),
        };
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) => {
                return self.names.checked(name, is_https).await.map(|_| ());
            }
            None => return Err(PostError::Url),
        };
        self.names.addresses.check(literal, is_https).map_err(PostError::Forbidden)
    }

    /// Whether http is possible at all.
    pub fn may_be_plain(&self) -> bool {
        self.names.addresses.has_allowed()
    }

    /// One attempt. `now` is what an answer's date to come back at is measured from.
    ///
    /// # Errors
    /// [`PostError`]. Whether the endpoint took it is not known then.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(&'static str, String)],
        body: Bytes,
        now: DateTime<Utc>,
    ) -> Result<Answer, PostError> {
        // An address in the URL is not resolved, and a connection that is open already neither.
        self.check(url).await?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| PostError::Header)?;
            map.insert(HeaderName::from_static(name), value);
        }
        let client = if url.scheme() == "https" { &self.http } else { &self.plain };
        let sent = client.post(url.clone()).headers(map).body(body).send().await;
        let mut answer = sent.map_err(failed)?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|it| retry_after(it, now));
        let mut kept = Vec::new();
        let mut read = 0;
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    read += chunk.len();
                    let room = ANSWER_BYTES_MAX - kept.len();
                    kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if read > DRAINED_BYTES_MAX {
                        break;
                    }
                }
                Ok(None) => break,
                // The status is what counts.
                Err(_) => break,
            }
        }
        Ok(Answer { status, retry_after, body: Bytes::from(kept) })
    }
}

fn failed(error: reqwest::Error) -> PostError {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(known) = cause.downcast_ref::<PostError>() {
            return known.clone();
        }
        source = cause.source();
    }
    if error.is_timeout() {
        PostError::TimedOut
    } else if error.is_connect() {
        PostError::Unreachable
    } else {
        PostError::Broken
    }
}

/// Seconds, or a date.
fn retry_after(value: &HeaderValue, now: DateTime<Utc>) -> Option<chrono::Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(chrono::Duration::seconds(seconds.into()));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.with_timezone(&Utc) - now).max(chrono::Duration::zero()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    struct Fixed(Mutex<Vec<IpAddr>>);

    #[async_trait]
    impl Lookup for Fixed {
        async fn lookup(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
            Ok(self.0.lock().unwrap().clone())
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    fn outbound(allowed: &[&str], found: &[&str]) -> (Outbound, Arc<Fixed>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let found = found.iter().map(|address| address.parse().unwrap()).collect();
        let lookup = Arc::new(Fixed(Mutex::new(found)));
        let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
        (Outbound::new(Addresses::new(allowed), lookup.clone()).unwrap(), lookup)
    }

    /// Answers everything with these bytes.
    async fn server(answer: String) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    let _ = socket.read(&mut buffer).await;
                    let _ = socket.write_all(answer.as_bytes()).await;
                });
            }
        });
        port
    }

    async fn post(outbound: &Outbound, url: &str) -> Result<Answer, PostError> {
        outbound.post(&Url::parse(url).unwrap(), &[], Bytes::from_static(b"{}"), at(0)).await
    }

    #[tokio::test]
    async fn an_address_in_whatever_spelling_is_checked() {
        let (outbound, _) = outbound(&[], &["93.184.215.14"]);
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[64:ff9b::a00:1]",
            "0.0.0.0",
            "10.0.0.8",
        ] {
            let refused = post(&outbound, &format!("https://{host}/")).await;
            assert_eq!(refused, Err(PostError::Forbidden(Forbidden::Private)), "{host}");
        }
        let refused = post(&outbound, "http://shop.example/").await;
        assert_eq!(refused, Err(PostError::Forbidden(Forbidden::Plain)));
    }

    #[tokio::test]
    async fn a_name_with_one_private_address_among_public_ones_is_refused() {
        let (outbound, _) = outbound(&[], &["93.184.215.14", "10.0.0.8"]);
        let refused = post(&outbound, "https://shop.example/").await;
        assert_eq!(refused, Err(PostError::Forbidden(Forbidden::Private)));
    }

    #[tokio::test]
    async fn what_is_connected_to_is_what_was_checked() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned();
        let port = server(answer).await;
        let (outbound, lookup) = outbound(&["127.0.0.1/32"], &["127.0.0.1"]);
        // The name leads nowhere but by our own look-up.
        let url = format!("http://shop.invalid:{port}/");
        let answered = post(&outbound, &url).await.unwrap();
        assert_eq!((answered.status, &answered.body[..]), (200, &b"ok"[..]));
        // It comes to mean something else: not reached, though a connection to the old address is still open.
        *lookup.0.lock().unwrap() = vec!["127.0.0.2".parse().unwrap()];
        outbound.names.known.lock().unwrap().clear();
        let refused = post(&outbound, &url).await;
        assert_eq!(refused, Err(PostError::Forbidden(Forbidden::Private)));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_a_long_answer_is_cut() {
        let (outbound, _) = outbound(&["127.0.0.0/8"], &[]);
        let port = server(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
        )
        .await;
        let answered = post(&outbound, &format!("http://127.0.0.1:{port}/")).await.unwrap();
        assert_eq!(answered.status, 302);
        let body = "x".repeat(200_000);
        let port = server(format!(
            "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        let answered = post(&outbound, &format!("http://127.0.0.1:{port}/")).await.unwrap();
        assert_eq!((answered.status, answered.body.len()), (503, ANSWER_BYTES_MAX));
        assert_eq!(answered.retry_after, Some(chrono::Duration::seconds(7)));
    }

    #[tokio::test]
    async fn nobody_there_is_told_from_no_such_name() {
        let (outbound, _) = outbound(&["127.0.0.0/8"], &[]);
        assert_eq!(post(&outbound, "http://127.0.0.1:1/").await, Err(PostError::Unreachable));
        assert_eq!(post(&outbound, "http://nobody.invalid/").await, Err(PostError::Unresolved));
    }

    #[test]
    fn a_date_to_come_back_at_is_a_wait() {
        let wait = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap(), at(0));
        let date = (at(90)).to_rfc2822();
        assert_eq!(wait(&date), Some(chrono::Duration::seconds(90)));
        assert_eq!(wait("120"), Some(chrono::Duration::seconds(120)));
        assert_eq!(wait(&at(-90).to_rfc2822()), Some(chrono::Duration::zero()));
        assert_eq!((wait("soon"), wait("-4")), (None, None));
    }
}
