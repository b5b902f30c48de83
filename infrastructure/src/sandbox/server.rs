//! A listener of the sandbox's own: what the stand-alone binary and tests use.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use tokio::task::JoinHandle;

use super::Sandbox;
use super::http::{ControlsAccess, configure_graph, controls};

/// Threads that answer; the work is little and under one lock.
const WORKERS: usize = 2;
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Why a listener did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "the sandbox listens on loopback only, because its controls make it call any URL; {0} is not, try 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    #[error("could not listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// A running listener with the Graph paths and the controls.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Listens on `listen`; port 0 takes any that is free.
    ///
    /// # Errors
    /// [`ServerError`] where the address is not loopback or not free.
    pub async fn start(listen: SocketAddr, sandbox: Sandbox) -> Result<Self, ServerError> {
        if !listen.ip().is_loopback() {
            return Err(ServerError::NotLoopback(listen));
        }
        let server = HttpServer::new(move || {
            let sandbox = sandbox.clone();
            App::new().configure(move |config| {
                config.service(controls(sandbox.clone(), ControlsAccess::Loopback));
                configure_graph(config, sandbox);
            })
        })
        .workers(WORKERS)
        .keep_alive(KEEP_ALIVE)
        .client_disconnect_timeout(Duration::ZERO)
        .shutdown_timeout(1)
        .disable_signals()
        .bind(listen)
        .map_err(|error| ServerError::Listen(listen, error))?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        let server = server.run();
        let handle = server.handle();
        Ok(Self { address, handle, task: tokio::spawn(server) })
    }

    /// Where it listens, with the port it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:9090`: what a client's base URL is set to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs until it is stopped from elsewhere.
    ///
    /// # Errors
    /// Those of the listener.
    pub async fn wait(self) -> std::io::Result<()> {
        self.task.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    /// Stops listening. The sandbox itself goes on and can be served again.
    pub async fn stop(self, sandbox: &Sandbox) {
        sandbox.release_held();
        self.handle.stop(true).await;
        // Its result was decided by the line above.
        let _ = self.task.await;
    }

    /// Something to stop it with while another task waits.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }
}
