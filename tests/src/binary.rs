//! The gateway as a process of its own, which can be killed, stopped and started again.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::SandboxProcess;
use crate::client::Client;
use crate::store::Store;

#[derive(Clone, Debug, Default)]
pub struct BinaryOptions {
    /// More configuration, `key=value`.
    pub settings: Vec<(String, String)>,
    /// A port of its own is taken where it is 0; a restart on the same one keeps webhook URLs valid.
    pub port: u16,
}

/// What a gateway is started in.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The PEM certificate that it answers https with; plain http where there is none.
    pub certificate: Option<Vec<u8>>,
}

/// A running `whatsapp-gateway serve`.
pub struct Binary {
    child: Child,
    pub client: Client,
    pub port: u16,
    /// Standard output and standard error, in the store's directory: what a canary test reads.
    pub log: PathBuf,
}

impl Binary {
    /// Starts a gateway on this store and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not get ready.
    pub async fn start(
        store: &Store,
        sandbox: Option<&SandboxProcess>,
        options: &BinaryOptions,
    ) -> Self {
        Self::start_in(store, sandbox, options, &Surroundings::default()).await
    }

    /// [`Binary::start`], in surroundings of its own.
    ///
    /// # Panics
    /// Where it does not get ready.
    pub async fn start_in(
        store: &Store,
        sandbox: Option<&SandboxProcess>,
        options: &BinaryOptions,
        surroundings: &Surroundings,
    ) -> Self {
        let port = if options.port == 0 { free_port() } else { options.port };
        let log = store.dir.path().join(format!("gateway-{port}.log"));
        let written =
            || std::fs::File::options().create(true).append(true).open(&log).expect("a log file");
        let mut command = Command::new(executable());
        command
            .arg("serve")
            .env_remove("RUST_LOG")
            .envs(surroundings.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(written())
            .stderr(written());
        // A node of its own has a directory of its own, and finds it again on the same port.
        let home = store.dir.path().join(format!("gateway-{port}"));
        std::fs::create_dir_all(&home).expect("a directory");
        command.current_dir(home);
        let mut settings = store.settings();
        settings.push(("listen".to_owned(), format!("127.0.0.1:{port}")));
        settings.extend(sandbox.map(|sandbox| ("graph.base_url".to_owned(), sandbox.url.clone())));
        settings.extend(options.settings.iter().cloned());
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let child = command.kill_on_drop(true).spawn().expect("the gateway starts");
        let client = match &surroundings.certificate {
            Some(pem) => Client::trusting(format!("https://127.0.0.1:{port}"), pem),
            None => Client::new(format!("http://127.0.0.1:{port}")),
        };
        let mut binary = Self { child, client, port, log };
        let ready = format!("{}/readyz", binary.client.base);
        let http = binary.client.http().clone();
        let began = std::time::Instant::now();
        loop {
            if http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return binary;
            }
            if let Ok(Some(status)) = binary.child.try_wait() {
                panic!("the gateway ended with {status}:\n{}", binary.log_text());
            }
            assert!(
                began.elapsed() < crate::PATIENCE,
                "the gateway did not get ready:\n{}",
                binary.log_text()
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it is running")
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Panics
    /// Where it cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Sends a signal by name (`STOP`, `CONT`, `TERM`).
    ///
    /// # Panics
    /// Where it cannot be sent.
    pub async fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().await;
        assert!(status.expect("kill runs").success());
    }

    /// SIGTERM, and waits for the graceful end.
    ///
    /// # Panics
    /// Where it does not end.
    pub async fn terminate(self) {
        self.ended_by("TERM").await;
    }

    /// Sends a signal and waits for the end: its exit code, where it was not the signal itself that ended it.
    ///
    /// # Panics
    /// Where it does not end.
    pub async fn ended_by(mut self, signal: &str) -> Option<i32> {
        self.signal(signal).await;
        let ended = tokio::time::timeout(crate::PATIENCE, self.child.wait()).await;
        ended.expect("it ends").expect("it ends").code()
    }
}

/// What a subcommand answered.
#[derive(Clone, Debug)]
pub struct Answered {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Answered {
    /// Each line of standard output as JSON.
    ///
    /// # Panics
    /// Where one is none.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        self.out.lines().map(read).collect()
    }
}

/// Runs a subcommand to its end, with the configuration of a gateway on this store.
///
/// # Panics
/// Where it cannot be run or does not end.
pub async fn run(store: &Store, arguments: &[&str]) -> Answered {
    let mut command = subcommand(store, arguments);
    let output = tokio::time::timeout(crate::PATIENCE, command.kill_on_drop(true).output());
    let output = output.await.expect("it ends").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answered { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A subcommand with the configuration of a gateway on this store, not yet run.
pub fn subcommand(store: &Store, arguments: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command.args(arguments).env_remove("RUST_LOG").env_remove("WHATSAPP_GATEWAY_KEY");
    command.current_dir(store.dir.path()).stdin(Stdio::null());
    for (key, value) in store.settings() {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command
}

/// A port that nobody listens on now.
///
/// # Panics
/// Where there is none.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The binary beside this test's own: the workspace builds both into one directory.
///
/// # Panics
/// Where it was not built.
pub fn executable() -> PathBuf {
    built("whatsapp-gateway", "--bin whatsapp-gateway")
}

/// One of the gateway's examples, likewise.
///
/// # Panics
/// Where it was not built.
pub fn example(name: &str) -> PathBuf {
    built(&format!("examples/{name}"), &format!("-p whatsapp-gateway --example {name}"))
}

fn built(path: &str, what: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let directory = test.ancestors().nth(2).expect("target/debug/deps");
    let path = directory.join(path);
    assert!(path.exists(), "{} is missing: cargo build {what}", path.display());
    path
}
