//! What answers over HTTP: health, Meta's webhook, GraphQL, imports, media, the journal, the sandbox's controls and the console.

mod auth;
mod campaigns;
mod cloud_api;
pub mod console;
mod events;
mod exports;
mod health;
mod imports;
mod journal;
mod media;
mod sandbox;
mod schemas;
mod session;
mod webhook;

use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::app::Gateway;
use crate::graphql;

pub use auth::{authenticate, authenticate_bearer, names_a_caller, refusal};

/// Meta sends up to 3 MB; GraphQL takes as much.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Requests under way when the gateway stops get this long.
const SHUTDOWN_S: u64 = 5;

/// What every handler shares.
#[derive(Clone)]
pub struct State {
    pub gateway: Arc<Gateway>,
    pub schema: graphql::Schema,
    pub metrics: Option<PrometheusHandle>,
}

/// A listening server.
pub struct Server {
    pub address: std::net::SocketAddr,
    handle: ServerHandle,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Binds and serves.
    ///
    /// # Errors
    /// Where the address is taken, or the certificate cannot be read.
    pub fn start(gateway: Arc<Gateway>, metrics: Option<PrometheusHandle>) -> anyhow::Result<Self> {
        let listen = gateway.config.listen;
        let tls = crate::http::tls_config(&gateway)?;
        let state = State { schema: graphql::schema(gateway.clone()), gateway, metrics };
        let server = HttpServer::new(move || {
            App::new()
                .wrap(from_fn(auth::admitted_peers))
                .app_data(web::Data::new(state.clone()))
                .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
                .configure(health::configure)
                .configure(webhook::configure)
                .configure(graphql::configure)
                .configure(events::configure)
                .configure(exports::configure)
                .configure(campaigns::configure)
                .configure(imports::configure)
                .configure(journal::configure)
                .configure(media::configure)
                .configure(cloud_api::configure)
                .configure(schemas::configure)
                .configure(session::configure)
                .configure(|routes| sandbox::configure(routes, &state.gateway))
                .configure(console::configure)
                .default_service(web::to(|| async { HttpResponse::NotFound().finish() }))
        })
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_S)
        .client_request_timeout(std::time::Duration::from_secs(30));
        let server = match tls {
            Some(tls) => server.bind_rustls_0_23(listen, tls),
            None => server.bind(listen),
        }
        .with_context(|| format!("could not listen on {listen}"))?;
        let address = *server.addrs().first().context("no address was bound")?;
        let server = server.run();
        Ok(Self { address, handle: server.handle(), task: tokio::spawn(server) })
    }

    /// Serves the same on a Unix socket, for the command line of whoever owns the data: mode 0600, and every caller may
    /// do everything, in the name of `cli:<uid>`.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn start_on_socket(
        gateway: Arc<Gateway>,
        path: &std::path::Path,
        metrics: Option<PrometheusHandle>,
    ) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        // A socket left behind by a process that was killed; the store's lock says that nobody else is alive.
        if path.exists() {
            std::fs::remove_file(path)
                .with_context(|| format!("could not remove {}", path.display()))?;
        }
        let listener = std::os::unix::net::UnixListener::bind(path)
            .with_context(|| format!("could not make the socket {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let state = State { schema: graphql::schema(gateway.clone()), gateway, metrics };
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(state.clone()))
                .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
                .configure(health::configure)
                .configure(graphql::configure)
                .configure(events::configure)
                .configure(exports::configure)
                .configure(campaigns::configure)
                .configure(imports::configure)
                .configure(journal::configure)
                .configure(media::configure)
        })
        .workers(1)
        .on_connect(|connection, extensions| {
            if let Some(stream) = connection.downcast_ref::<tokio::net::UnixStream>()
                && let Ok(credentials) = stream.peer_cred()
            {
                extensions.insert(auth::LocalUser(credentials.uid()));
            }
        })
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_S)
        .listen_uds(listener)?
        .run();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { address, handle: server.handle(), task: tokio::spawn(server) })
    }

    /// Stops listening and waits for requests under way.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        if let Ok(Err(error)) = self.task.await {
            tracing::warn!(%error, "the HTTP server ended badly");
        }
    }
}

/// TLS as configured, with certificates in PEM.
fn tls_config(gateway: &Gateway) -> anyhow::Result<Option<rustls::ServerConfig>> {
    let (Some(cert), Some(key)) = (&gateway.config.tls.cert, &gateway.config.tls.key) else {
        return Ok(None);
    };
    let open = |path: &std::path::Path| {
        std::fs::File::open(path)
            .map(std::io::BufReader::new)
            .with_context(|| format!("could not read {}", path.display()))
    };
    let certs = rustls_pemfile::certs(&mut open(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .context("tls.cert")?;
    if certs.is_empty() {
        anyhow::bail!("tls.cert: {} holds no certificate in PEM", cert.display());
    }
    let key = rustls_pemfile::private_key(&mut open(key)?)
        .context("tls.key")?
        .context("tls.key holds no key in PEM")?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .context("tls.cert and tls.key do not go together")?;
    Ok(Some(config))
}
