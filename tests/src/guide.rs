//! The guides of `docs/guides` as whoever follows them does: their files are written, their commands run one after another in
//! one shell, word for word but for the ports, which have to be free.
//!
//! What a block of code is for stands behind its language, where a reader does not see it: ```` ```sh ```` runs and must
//! succeed, ```` ```sh server PORT [CHOICE] ```` is left running in another shell, and a name (```` ```js bridge.mjs ````) is
//! that of the file. A block that says nothing of the kind is only read.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::binary::{executable, free_port};
use crate::client::Client;
use crate::eventually_within;

/// How long one block may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
/// The ports that the guides name: the gateway's, and that of whatever the reader runs beside it.
const GATEWAY_PORT: &str = "8080";
const READERS_PORT: &str = "3000";

/// A shell, in a directory of its own, with everything that runs in it. It ends with this.
pub struct Shell {
    pub dir: TempDir,
    shell: Child,
    blocks: usize,
    gateway_port: u16,
    readers_port: u16,
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It leads a process group, which its servers belong to.
        let group = format!("-{}", self.shell.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.shell.wait();
    }
}

impl Shell {
    /// `None`, and a word about it, where what the guides need is not installed.
    ///
    /// # Panics
    /// Where there is no shell.
    pub fn start() -> Option<Self> {
        let Ok(clients) = std::env::var("TEST_CLIENTS") else {
            eprintln!(
                "LEFT OUT: the guides need the libraries of tests/clients; .ci/install.sh installs them, TEST_CLIENTS names where"
            );
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory");
        let modules = Path::new(&clients).join("node_modules");
        std::os::unix::fs::symlink(modules, dir.path().join("node_modules")).expect("a link");
        let gateway_port = free_port();
        let programs = executable().parent().expect("it is in a directory").to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let log = File::create(dir.path().join("shell.log")).expect("a log");
        let shell = Command::new("bash")
            .args(["-euo", "pipefail"])
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("WHATSAPP_GATEWAY_LISTEN", format!("127.0.0.1:{gateway_port}"))
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("bash runs");
        Some(Self { dir, shell, blocks: 0, gateway_port, readers_port: free_port() })
    }

    /// Follows a guide from its first line to its last; of servers that are a matter of choice, the one chosen.
    ///
    /// # Panics
    /// Where a command of it fails, or takes too long.
    pub async fn follow(&mut self, guide: &str, choice: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides").join(guide);
        let text = std::fs::read_to_string(&path).expect("the guide is there");
        for block in text.split("\n```").skip(1).step_by(2) {
            let (about, code) = block.split_once('\n').expect("a block has lines");
            let code = self.with_our_ports(code);
            let about: Vec<&str> = about.split(' ').collect();
            match about[..] {
                ["sh"] => self.run(&code).await,
                ["sh", "server", port] => self.serve(port, &code).await,
                ["sh", "server", port, of] if of == choice => self.serve(port, &code).await,
                ["sh", "server", _, _] | [_] => {}
                [_, name] => self.write(name, &code),
                _ => panic!("{guide}: nobody knows what to do with a block of {about:?}"),
            }
        }
    }

    /// Runs commands to their end.
    ///
    /// # Panics
    /// Where one fails, or takes too long.
    pub async fn run(&mut self, commands: &str) {
        self.blocks += 1;
        let done = self.dir.path().join(format!(".done-{}", self.blocks));
        self.tell(&format!("{commands}\n: > {}\n", done.display()));
        let began = std::time::Instant::now();
        while !done.exists() {
            let ended = self.shell.try_wait().expect("the shell can be asked");
            let is_over = ended.is_some() || began.elapsed() > PATIENCE;
            assert!(!is_over, "{ended:?} after\n{commands}\n{}", self.log());
            tokio::time::sleep(crate::POLL).await;
        }
    }

    /// Starts a server and waits until it listens.
    async fn serve(&mut self, port: &str, command: &str) {
        self.run(&format!("(exec {}) > server-{port}.log 2>&1 &", command.trim())).await;
        let address = format!("127.0.0.1:{}", self.with_our_ports(port));
        eventually_within(PATIENCE, &format!("{command} listens at {address}"), || async {
            tokio::net::TcpStream::connect(&address).await.ok()
        })
        .await;
    }

    fn tell(&mut self, text: &str) {
        let input = self.shell.stdin.as_mut().expect("it is piped");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the shell reads");
    }

    fn with_our_ports(&self, text: &str) -> String {
        text.replace(GATEWAY_PORT, &self.gateway_port.to_string())
            .replace(READERS_PORT, &self.readers_port.to_string())
    }

    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("a file");
    }

    /// A file that the commands made.
    ///
    /// # Panics
    /// Where there is none.
    pub fn read(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.log()))
    }

    /// What was written so far, by commands and servers.
    pub fn log(&self) -> String {
        let names = ["shell.log", "server-8080.log", "server-3000.log"];
        let texts = names.map(|name| {
            let text = std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
            // The end of it is what matters.
            let lines: Vec<&str> = text.lines().collect();
            format!("== {name}\n{}\n", lines[lines.len().saturating_sub(60)..].join("\n"))
        });
        texts.concat()
    }

    /// The gateway, with the key that its first start made.
    ///
    /// # Panics
    /// Where it has not been started.
    pub fn client(&self) -> Client {
        let client = Client::new(format!("http://127.0.0.1:{}", self.gateway_port));
        client.with_key(self.read("data/bootstrap-key").trim())
    }

    /// Where what the reader runs beside the gateway listens.
    pub fn readers_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.readers_port)
    }
}
