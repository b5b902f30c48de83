//! Programs of others: what is in `tests/clients`, run by Node with libraries from npm and by Python with those from PyPI.
//! `make test` installs them and says where by `TEST_CLIENTS`.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// A program that runs, and the lines it wrote so far. It ends with this.
pub struct Script {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Script {
    /// `None`, and a word about it, where the programs are not installed.
    ///
    /// # Panics
    /// Where Node or Python cannot be started.
    pub fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        let Ok(clients) = std::env::var("TEST_CLIENTS") else {
            eprintln!(
                "LEFT OUT: this needs the programs of tests/clients; .ci/install.sh installs them, TEST_CLIENTS names where"
            );
            return None;
        };
        let interpreter = if name.ends_with(".py") { "python3" } else { "node" };
        let mut child = Command::new(interpreter)
            .arg(std::path::Path::new(&clients).join(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the interpreter runs");
        let lines = Arc::new(Mutex::new(vec![]));
        let (written, output) = (lines.clone(), child.stdout.take().expect("it is piped"));
        tokio::spawn(async move {
            let mut output = BufReader::new(output).lines();
            while let Ok(Some(line)) = output.next_line().await {
                written.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Some(Self { child, lines })
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// Where it does not read any more.
    pub async fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        input.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }
}
