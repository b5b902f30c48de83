//! HTTP over connections that stay open, with requests that are ready: both sides of a comparison get the same client, and
//! it costs a few microseconds a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::figures::{median, percentile, processor};

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Call(Arc<[u8]>);

impl Call {
    pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self([head.as_bytes(), b"\r\n", body].concat().into())
    }

    pub fn get(path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes().into())
    }

    /// GraphQL, as a client of the gateway's sends it.
    pub fn graphql(key: &str, query: &str, variables: &Value) -> Self {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let key = format!("Bearer {key}");
        let headers = [("Content-Type", "application/json"), ("Authorization", key.as_str())];
        Self::post("/graphql", &headers, body.as_bytes())
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    read: BytesMut,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: BytesMut::with_capacity(64 * 1024) })
    }

    /// The answer's status and body.
    pub async fn call(&mut self, call: &Call) -> std::io::Result<(u16, BytesMut)> {
        self.stream.write_all(&call.0).await?;
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let (status, length) = parse(&self.read[..head])?;
        while self.read.len() < head + length {
            self.more().await?;
        }
        self.read.advance(head);
        Ok((status, self.read.split_to(length)))
    }

    async fn more(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// [`Self::call`] of what must succeed.
    pub async fn ask(&mut self, call: &Call) -> BytesMut {
        let (status, body) = self.call(call).await.expect("the server answers");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        body
    }

    /// The data of a GraphQL answer.
    pub async fn data(&mut self, call: &Call) -> Value {
        let body = self.ask(call).await;
        let mut answer: Value = serde_json::from_slice(&body).expect("the answer is JSON");
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"].take()
    }
}

fn parse(head: &[u8]) -> std::io::Result<(u16, usize)> {
    let bad = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(head).map_err(|_| bad())?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok((status, length.ok_or_else(bad)?))
}

/// How fast it went.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    pub per_second: f64,
    /// Microseconds that this process, which is both ends, took of the processors for each request; 0 where the system does
    /// not say.
    pub processor_us: f64,
}

impl Flood {
    /// The median of each.
    pub fn median(floods: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(floods.iter().map(figure).collect());
        Self { per_second: of(|it| it.per_second), processor_us: of(|it| it.processor_us) }
    }
}

/// As fast as it goes: `requests` from `clients` at once.
pub async fn flood(address: SocketAddr, call: &Call, clients: usize, requests: usize) -> Flood {
    let mut connections = connections(address, call, clients).await;
    let each = requests.div_ceil(clients);
    let (began, used) = (Instant::now(), processor());
    let tasks = connections.drain(..).map(|mut connection| {
        let call = call.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                connection.ask(&call).await;
            }
        })
    });
    for task in join_all(tasks).await {
        task.expect("a client ends well");
    }
    let requests = (each * clients) as f64;
    let used = processor().zip(used).map_or(0.0, |(now, before)| (now - before).as_secs_f64());
    Flood {
        per_second: requests / began.elapsed().as_secs_f64(),
        processor_us: used * 1e6 / requests,
    }
}

/// How long answers took, counted from when the request was due: a server that falls behind is not waited for.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub median: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// `per_second` requests for as long as this, from `clients` that take turns.
pub async fn paced(
    address: SocketAddr,
    call: &Call,
    clients: usize,
    per_second: u32,
    lasting: Duration,
) -> Latency {
    let mut connections = connections(address, call, clients).await;
    let requests = (f64::from(per_second) * lasting.as_secs_f64()) as usize;
    let began = Instant::now();
    let tasks = connections.drain(..).enumerate().map(|(client, mut connection)| {
        let call = call.clone();
        tokio::spawn(async move {
            let mut took = Vec::with_capacity(requests / clients + 1);
            for request in (client..requests).step_by(clients) {
                let due = began + Duration::from_secs_f64(request as f64 / f64::from(per_second));
                tokio::time::sleep_until(due.into()).await;
                connection.ask(&call).await;
                took.push(due.elapsed());
            }
            took
        })
    });
    let mut took = Vec::with_capacity(requests);
    for task in join_all(tasks).await {
        took.extend(task.expect("a client ends well"));
    }
    latency(&mut took)
}

pub fn latency(took: &mut [Duration]) -> Latency {
    Latency {
        median: percentile(took, 0.5),
        p99: percentile(took, 0.99),
        max: percentile(took, 1.0),
    }
}

/// Opened, and warm by one request each.
async fn connections(address: SocketAddr, call: &Call, clients: usize) -> Vec<Connection> {
    let opening = (0..clients).map(|_| async {
        let mut connection = Connection::open(address).await.expect("the server listens");
        connection.ask(call).await;
        connection
    });
    join_all(opening).await
}
