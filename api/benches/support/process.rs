//! The gateway as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::client::{Call, Connection};
use super::place::{KEY, MASTER_KEY, sqlite_url};

const POLL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(600);

/// `serve` with more settings, as its environment names them, and waits until it is ready.
pub async fn start(directory: &Path, settings: &[(&str, &str)]) -> (Child, SocketAddr) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = port.expect("loopback has a free port");
    let mut command = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"));
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WHATSAPP_GATEWAY_") {
            command.env_remove(name);
        }
    }
    let log = std::fs::File::create(directory.join("bench.log")).expect("a log file");
    let mut child = command
        .args(["serve", "--listen", &address.to_string()])
        .env_remove("RUST_LOG")
        .env("WHATSAPP_GATEWAY_STORE__URL", sqlite_url(directory))
        .env("WHATSAPP_GATEWAY_SECRETS__MASTER_KEY", MASTER_KEY)
        .env("WHATSAPP_GATEWAY_ADMIN__BOOTSTRAP_KEY", KEY)
        .env("WHATSAPP_GATEWAY_GRAPH__BASE_URL", "http://127.0.0.1:9")
        .env("WHATSAPP_GATEWAY_LOG__FORMAT", "json")
        .envs(settings.iter().copied())
        .stderr(log)
        .spawn()
        .expect("the gateway starts");
    let began = Instant::now();
    let ready = Call::get("/readyz");
    loop {
        if let Ok(mut connection) = Connection::open(address).await
            && let Ok((200, _)) = connection.call(&ready).await
        {
            return (child, address);
        }
        let ended = child.try_wait().expect("it can be asked");
        assert!(
            ended.is_none(),
            "the gateway ended, see {}",
            directory.join("bench.log").display()
        );
        assert!(began.elapsed() < PATIENCE, "the gateway did not get ready");
        tokio::time::sleep(POLL).await;
    }
}
