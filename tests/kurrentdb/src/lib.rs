//! A KurrentDB for tests: version 1 of its gRPC protocol over a log in memory. It answers as the server does, errors
//! included, and can be told to misbehave as servers and networks do.
//!
//! What it keeps the client honest about: positions are offsets with gaps and never begin at the first event, `$all` holds
//! the server's own events and other people's too, an append that was repeated is taken once, and event ids are unique
//! in one stream's append only.

mod log;
#[allow(
    clippy::result_large_err,
    reason = "tonic's services answer with its Status, large as it is"
)]
mod services;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

pub use log::Record;

use log::Log;
use proto::gossip::gossip_server::GossipServer;
use proto::server_features::server_features_server::ServerFeaturesServer;
use proto::streams::streams_server::StreamsServer;

#[allow(dead_code, clippy::all, clippy::pedantic)]
pub(crate) mod proto {
    tonic::include_proto!("event_store.client");

    pub mod streams {
        tonic::include_proto!("event_store.client.streams");
    }
    pub mod gossip {
        tonic::include_proto!("event_store.client.gossip");
    }
    pub mod server_features {
        tonic::include_proto!("event_store.client.server_features");
    }
}

/// How it misbehaves. Counts go down with every call that they hit.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Appends that are refused before anything is written: the server is not ready.
    pub appends_unavailable: u32,
    /// Appends that are written, and whose answer is lost.
    pub answers_lost: u32,
    /// Appends and reads that are never answered.
    pub hangs: u32,
    /// Reads that break off after their first event.
    pub reads_broken: u32,
    /// Appends that are put aside and not answered, until [`Double::let_go`].
    pub appends_held: u32,
    /// Appends that may still be written, before every further one is refused as by a server that is not ready.
    pub appends_left: Option<u32>,
    /// Every call that needs the leader is sent to this address.
    pub leader: Option<SocketAddr>,
    /// Name and password without which every call is denied.
    pub credentials: Option<(String, String)>,
    /// Subscriptions end at once, and cleanly.
    pub subscriptions_end: bool,
}

/// A server on loopback, with everything it holds; gone with the value.
#[derive(Debug)]
pub struct Double {
    state: Arc<State>,
    address: SocketAddr,
    server: Option<Server>,
}

#[derive(Debug)]
struct Server {
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct State {
    log: Mutex<Log>,
    behaviour: Mutex<Behaviour>,
    held: Mutex<Vec<log::Append>>,
    /// Records in the log.
    grown: watch::Sender<usize>,
    address: Mutex<SocketAddr>,
}

impl State {
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn held(&self) -> MutexGuard<'_, Vec<log::Append>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of a count in the behaviour, where there is one left.
    pub fn takes(&self, count: impl FnOnce(&mut Behaviour) -> &mut u32) -> bool {
        let mut behaviour = self.behaviour();
        let count = count(&mut behaviour);
        let is_hit = *count > 0;
        *count = count.saturating_sub(1);
        is_hit
    }
}

impl Double {
    /// An empty server on a free port.
    ///
    /// # Panics
    /// Where no port can be had.
    pub fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let state = State {
            log: Mutex::new(Log::new()),
            behaviour: Mutex::default(),
            held: Mutex::default(),
            grown: watch::Sender::new(0),
            address: Mutex::new(address),
        };
        let mut double = Self { state: Arc::new(state), address, server: None };
        double.resume();
        double
    }

    /// `kurrentdb://…` of this server.
    pub fn url(&self) -> String {
        format!("kurrentdb://{}?tls=false", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and listens no more, as a server that was stopped. What it holds stays.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = server.stop.send(());
            server.thread.join().expect("the server ended well");
        }
    }

    /// Listens again at the same address, with what it held.
    ///
    /// # Panics
    /// Where the address is taken by now.
    pub fn resume(&mut self) {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, listening) = std::sync::mpsc::channel();
        let (state, address) = (self.state.clone(), self.address);
        // A runtime of its own: dropping it ends every connection at once, as a process that dies does.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind(address).await.expect("a free port");
                let address = listener.local_addr().expect("it is bound");
                *state.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
                ready.send(address).expect("somebody waits");
                // As the server does: small answers wait for nothing.
                let connections = TcpListenerStream::new(listener)
                    .inspect_ok(|connection| connection.set_nodelay(true).expect("it is open"));
                let serving = tonic::transport::Server::builder()
                    .add_service(StreamsServer::new(services::Streams(state.clone())))
                    .add_service(GossipServer::new(services::Gossip(state.clone())))
                    .add_service(ServerFeaturesServer::new(services::Features))
                    .serve_with_incoming(connections);
                tokio::select! {
                    served = serving => served.expect("it serves until it is stopped"),
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        self.address = listening.recv().expect("the server listens");
        self.server = Some(Server { stop, thread });
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour());
    }

    pub fn behaviour(&self) -> Behaviour {
        self.state.behaviour().clone()
    }

    /// Writes an event as another program, or a person, would.
    pub fn write(&self, stream: &str, event_type: &str, data: &[u8], metadata: &[u8]) {
        let mut log = self.state.log();
        log.write(stream, uuid::Uuid::now_v7(), event_type, "application/json", metadata, data);
        self.state.grown.send_replace(log.len());
    }

    /// Takes what was put aside, as a server that was slow, and answers nobody.
    pub fn let_go(&self) {
        for (stream, expected, events) in std::mem::take(&mut *self.state.held()) {
            let mut log = self.state.log();
            log.append(&stream, expected, events);
            self.state.grown.send_replace(log.len());
        }
    }

    /// Deletes a stream for good.
    pub fn tombstone(&self, stream: &str) {
        self.state.log().tombstone(stream);
    }

    /// The whole log in order, the server's own events too.
    pub fn records(&self) -> Vec<Record> {
        self.state.log().records().to_vec()
    }

    /// The log in order, of the streams whose names begin so.
    pub fn records_of(&self, prefix: &str) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.stream.starts_with(prefix));
        records
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = server.stop.send(());
            let _ = server.thread.join();
        }
    }
}
