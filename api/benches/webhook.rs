//! Meta's webhook (signature, journal, 200) beside an actix handler that only verifies the signature: the same body over
//! loopback, from the same client, in the same run.
//!
//!     cargo bench -p whatsapp-gateway --bench webhook                   # SQLite, and PostgreSQL where TEST_DATABASE_URL
//!                                                                       # names one
//!     cargo bench -p whatsapp-gateway --bench webhook -- --clients 64   # so many at once
//!     cargo bench -p whatsapp-gateway --bench webhook -- --smoke        # whether it still works
//!
//! Rounds of both follow each other, medians of five. After that 3,000 requests per second for ten seconds; an answer's
//! time counts from when its request was due.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use infrastructure::webhook::signature;
use serde_json::json;
use support::client::{Call, Flood, flood, paced};
use support::figures::{counts, is_smoke, line, ms};
use support::place::{APP_SECRET, Place};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    /// Connections that post at once.
    clients: usize,
    requests: usize,
    rounds: usize,
    per_second: u32,
    lasting: Duration,
}

fn main() {
    let mut size = if is_smoke() {
        Size {
            clients: 16,
            requests: 640,
            rounds: 1,
            per_second: 200,
            lasting: Duration::from_millis(500),
        }
    } else {
        Size {
            clients: 256,
            requests: 32_000,
            rounds: 5,
            per_second: 3_000,
            lasting: Duration::from_secs(10),
        }
    };
    size.clients = counts("--clients", &[size.clients])[0];
    actix_web::rt::System::with_tokio_rt(support::runtime).block_on(async {
        measure(Place::sqlite().await, size).await;
        if let Some(place) = Place::postgres().await {
            measure(place, size).await;
        }
    });
}

async fn measure(place: Place, size: Size) {
    let account = place.connect_account().await;
    let body = notification();
    let signed = signature::sign(APP_SECRET, &body);
    let headers = [("Content-Type", "application/json"), (signature::HEADER, signed.as_str())];
    let call = Call::post(&account.webhook_path, &headers, &body);
    let (bare, server) = bare(&account.webhook_path);
    let journal = &place.running.gateway.journal;
    let before = journal.head().await.expect("the journal answers").0;
    let (mut ours, mut peers) = (vec![], vec![]);
    for _ in 0..size.rounds {
        peers.push(flood(bare, &call, size.clients, size.requests).await);
        ours.push(flood(place.address(), &call, size.clients, size.requests).await);
    }
    let (ours, peers) = (Flood::median(&ours), Flood::median(&peers));
    let kept = journal.head().await.expect("the journal answers").0 - before;
    // Each client's first request is not counted, and each makes as many as the others.
    let each = 1 + size.requests.div_ceil(size.clients);
    let sent = (size.rounds * size.clients * each) as u64;
    assert_eq!(kept, sent, "what was answered is in the journal");
    let Size { clients, rounds, per_second, lasting, .. } = size;
    let peers_pace = paced(bare, &call, clients, per_second, lasting).await;
    let our_pace = paced(place.address(), &call, clients, per_second, lasting).await;
    println!(
        "{}, webhooks of {} bytes from {clients} clients, medians of {rounds}",
        place.store,
        body.len()
    );
    let bares = "of the bare handler";
    line("signature, journal, 200", ours.per_second, "requests/s", Some((peers.per_second, bares)));
    line("signature alone, bare handler", peers.per_second, "requests/s", None);
    let used = (peers.processor_us, bares);
    line("processor per request, both ends", ours.processor_us, "µs", Some(used));
    line("the same with the bare handler", peers.processor_us, "µs", None);
    line(&format!("p99 at {per_second} requests/s"), ms(our_pace.p99), "ms", None);
    line(&format!("median at {per_second} requests/s"), ms(our_pace.median), "ms", None);
    line("p99 of the bare handler at that pace", ms(peers_pace.p99), "ms", None);
    server.stop(false).await;
    place.end().await;
}

/// The least that may answer a webhook.
fn bare(path: &str) -> (SocketAddr, actix_web::dev::ServerHandle) {
    async fn receive(request: HttpRequest, body: web::Bytes) -> HttpResponse {
        let header = request.headers().get("x-hub-signature-256").map(|value| value.as_bytes());
        match signature::verify(&[APP_SECRET], header, &body) {
            Ok(()) => HttpResponse::Ok().finish(),
            Err(_) => HttpResponse::Unauthorized().finish(),
        }
    }
    let path = path.to_owned();
    let server = HttpServer::new(move || App::new().route(&path, web::post().to(receive)));
    let server = server.disable_signals().bind("127.0.0.1:0").expect("loopback has a free port");
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    (address, handle)
}

/// A status as Meta sends it.
fn notification() -> Vec<u8> {
    let status = json!({
        "id": "wamid.HBgMNDQ3NzAwOTAwMTIzFQIAERgSOUY3QTZDNUI0RDNFMkYxMEFCAA==",
        "status": "delivered", "timestamp": "1780000000", "recipient_id": "447700900123",
        "biz_opaque_callback_data": "019aafc7-7d80-7178-87bb-cb7c8d9eafb6.1",
        "conversation": { "id": "b1c2d3e4f5a6978877665544332211aa", "origin": { "type": "marketing" } },
        "pricing": { "billable": true, "pricing_model": "PMP", "category": "marketing", "type": "regular" },
    });
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "447700900000", "phone_number_id": "402000000000009" },
        "statuses": [status],
    });
    let changes = json!([{ "field": "messages", "value": value }]);
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "301000000000009", "changes": changes }],
    });
    body.to_string().into_bytes()
}
