//! What it costs that many wait for the next event, and how soon all of them have it.
//!
//!     cargo bench -p whatsapp-gateway --bench subscribers                          # 2,000 of each kind
//!     cargo bench -p whatsapp-gateway --bench subscribers -- --subscribers 5000
//!     cargo bench -p whatsapp-gateway --bench subscribers -- --smoke               # whether it still works
//!
//! The gateway is a process of its own, on SQLite. Its resident memory is read before anybody is there and while all of them
//! wait. Then contacts are added one by one: what counts is the time until the last subscriber has heard of each.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use support::client::{Call, Connection};
use support::figures::{counts, is_smoke, line, median, ms};
use support::place::KEY;
use support::process::start;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Subscribers that come at once.
const AT_ONCE: usize = 100;
/// Until memory has come to rest.
const REST: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Kind {
    WebSocket,
    ServerSentEvents,
}

fn main() {
    let (default, events) = if is_smoke() { (20, 3) } else { (2_000, 20) };
    let subscribers = counts("--subscribers", &[default])[0];
    support::runtime().block_on(async {
        for (what, kind) in [
            ("graphql-transport-ws", Kind::WebSocket),
            ("server-sent events", Kind::ServerSentEvents),
        ] {
            println!("{what}, {subscribers} subscribers");
            measure(kind, subscribers, events).await;
        }
    });
}

async fn measure(kind: Kind, subscribers: usize, events: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let of_key = subscribers.to_string();
    let settings = [
        ("WHATSAPP_GATEWAY_GRAPHQL__SUBSCRIPTIONS_PER_KEY", of_key.as_str()),
        ("WHATSAPP_GATEWAY_GRAPHQL__REQUESTS_PER_SECOND", "0"),
    ];
    let (mut child, address) = start(directory.path(), &settings).await;
    let pid = child.id().expect("it runs");
    // The parts that every request needs once.
    add(address, 0).await;
    tokio::time::sleep(REST).await;
    let before = resident(pid);
    let (heard, mut all_heard) = mpsc::unbounded_channel();
    for first in (0..subscribers).step_by(AT_ONCE) {
        let some = (first..subscribers.min(first + AT_ONCE)).map(|_| subscribe(kind, address));
        for stream in futures::future::join_all(some).await {
            let heard = heard.clone();
            tokio::spawn(hear(stream, move || heard.send(()).is_ok()));
        }
    }
    tokio::time::sleep(REST).await;
    let waiting = resident(pid);
    let mut took = Vec::with_capacity(events);
    for event in 1..=events {
        let began = Instant::now();
        add(address, event).await;
        for _ in 0..subscribers {
            let heard = tokio::time::timeout(PATIENCE, all_heard.recv()).await;
            heard.expect("everybody hears of it").expect("somebody listens");
        }
        took.push(ms(began.elapsed()));
    }
    line("resident memory with nobody", before, "MiB", None);
    line("more with all of them waiting", waiting - before, "MiB", None);
    line("of that each", (waiting - before) * 1024.0 / subscribers as f64, "KiB", None);
    line("from the mutation until the last has heard, median", median(took), "ms", None);
    child.kill().await.expect("it can be killed");
}

/// One person more: one event.
async fn add(address: SocketAddr, number: usize) {
    let add = "mutation($input: AddContactInput!) { addContact(input: $input) { position } }";
    let input = json!({ "phoneNumber": format!("+44770090{number:04}") });
    let mut connection = Connection::open(address).await.expect("it listens");
    connection.data(&Call::graphql(KEY, add, &json!({ "input": input }))).await;
}

/// In MiB.
fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux says");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it does");
    let kib = resident.trim().trim_end_matches(" kB").parse::<f64>().expect("a number");
    kib / 1024.0
}

/// Opens a stream of contacts that are added, and waits until it has begun.
async fn subscribe(kind: Kind, address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let common = format!("Host: {address}\r\nAuthorization: Bearer {KEY}\r\n");
    let (head, begun) = match kind {
        Kind::WebSocket => (
            format!(
                "GET /graphql HTTP/1.1\r\n{common}Connection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
            ),
            "\r\n\r\n",
        ),
        Kind::ServerSentEvents => (
            format!(
                "GET /events?type=contact.added HTTP/1.1\r\n{common}Accept: text/event-stream\r\n\r\n"
            ),
            "retry:",
        ),
    };
    stream.write_all(head.as_bytes()).await.expect("it takes requests");
    until(&mut stream, begun).await;
    if matches!(kind, Kind::WebSocket) {
        frame(&mut stream, r#"{"type":"connection_init"}"#).await;
        until(&mut stream, "connection_ack").await;
        let query =
            "subscription { events(filter: { types: [\"contact.added\"] }) { position type } }";
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": query } });
        frame(&mut stream, &subscribe.to_string()).await;
    }
    stream
}

/// A text frame, masked by zero, which the protocol allows and nobody needs here.
async fn frame(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(text.len()).expect("a short message").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    stream.write_all(&frame).await.expect("it takes frames");
}

async fn until(stream: &mut TcpStream, text: &str) {
    let (mut read, mut piece) = (Vec::new(), [0; 512]);
    while !String::from_utf8_lossy(&read).contains(text) {
        let length = stream.read(&mut piece).await.expect("it answers");
        assert!(length > 0, "it closed: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&piece[..length]);
    }
}

/// Tells of every event, until nobody listens. One event is read in one piece, and everybody has it before the next.
async fn hear(mut stream: TcpStream, tell: impl Fn() -> bool) {
    let mut piece = [0; 4_096];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                let is_event = String::from_utf8_lossy(&piece[..length]).contains("contact.added");
                if is_event && !tell() {
                    return;
                }
            }
        }
    }
}
