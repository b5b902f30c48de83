//! An integrator's server: takes webhooks, remembers them, and answers as it is told.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use ring::hmac;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: DateTime<Utc>,
    /// The status that it was answered with.
    pub status: u16,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// # Panics
    /// Where it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Whether one of its signatures was made with this secret.
    ///
    /// # Panics
    /// Where the secret is none.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key =
            STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let prefix = format!("{}.{}.", self.header("webhook-id"), self.header("webhook-timestamp"));
        let signed = [prefix.as_bytes(), &self.body].concat();
        self.header("webhook-signature").split(' ').any(|signature| {
            let signature = signature.strip_prefix("v1,").and_then(|it| STANDARD.decode(it).ok());
            signature.is_some_and(|it| hmac::verify(&key, &signed, &it).is_ok())
        })
    }
}

/// How it answers.
#[derive(Clone, Debug)]
pub struct Manners {
    pub status: u16,
    pub delay: Duration,
    pub retry_after: Option<u32>,
    pub body: String,
    /// Takes it, and is gone before it has answered.
    pub hangs_up: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            status: 200,
            delay: Duration::ZERO,
            retry_after: None,
            body: "thanks".to_owned(),
            hangs_up: false,
        }
    }
}

#[derive(Default)]
struct Shared {
    manners: Manners,
    received: Vec<Received>,
}

/// Listens until it is dropped.
pub struct Receiver {
    pub url: String,
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// # Panics
    /// Where it cannot listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Mutex<Shared>>::default();
        let server = tokio::spawn(listen(listener, shared.clone()));
        Self { url: format!("http://{address}/hook"), address, shared, server }
    }

    /// Nobody listens any more, and every connection is cut.
    pub async fn go_down(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// Listens where it did before.
    ///
    /// # Panics
    /// Where somebody else does.
    pub async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("its port");
        self.server = tokio::spawn(listen(listener, self.shared.clone()));
    }

    pub fn behave(&self, manners: Manners) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).manners = manners;
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).received.clone()
    }

    /// [`Receiver::received`], and forgets it.
    pub fn take_received(&self) -> Vec<Received> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut shared.received)
    }

    /// What it answered 2xx, one event each: what it has come to know, without what it knew by its id.
    pub fn taken(&self) -> Vec<Value> {
        let mut known = HashSet::new();
        let received = self.received();
        let taken = received.iter().filter(|it| (200..300).contains(&it.status));
        let events = taken.flat_map(|it| match it.json() {
            Value::Array(events) => events,
            event => vec![event],
        });
        events.filter(|event| known.insert(event["id"].to_string())).collect()
    }
}

async fn listen(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { return };
                connections.spawn(serve(socket, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut socket: TcpStream, shared: Arc<Mutex<Shared>>) {
    let _ = socket.set_nodelay(true);
    let mut read = Vec::new();
    while let Some(mut received) = request(&mut socket, &mut read).await {
        let manners = shared.lock().unwrap_or_else(PoisonError::into_inner).manners.clone();
        tokio::time::sleep(manners.delay).await;
        received.status = manners.status;
        // Taken once it is answered; an answer that does not arrive is another attempt.
        shared.lock().unwrap_or_else(PoisonError::into_inner).received.push(received);
        if manners.hangs_up {
            return;
        }
        let retry =
            manners.retry_after.map(|s| format!("retry-after: {s}\r\n")).unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 {} Said\r\n{retry}content-length: {}\r\n\r\n{}",
            manners.status,
            manners.body.len(),
            manners.body
        );
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(socket: &mut TcpStream, read: &mut Vec<u8>) -> Option<Received> {
    let mut buffer = vec![0; 64 * 1024];
    let head = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match socket.read(&mut buffer).await {
            Ok(length) if length > 0 => read.extend_from_slice(&buffer[..length]),
            _ => return None,
        }
    };
    let text = String::from_utf8_lossy(&read[..head]).into_owned();
    let headers: BTreeMap<String, String> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    while read.len() < head + length {
        match socket.read(&mut buffer).await {
            Ok(length) if length > 0 => read.extend_from_slice(&buffer[..length]),
            _ => return None,
        }
    }
    let body = read[head..head + length].to_vec();
    read.drain(..head + length);
    Some(Received { headers, body, at: Utc::now(), status: 0 })
}
