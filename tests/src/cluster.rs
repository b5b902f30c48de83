//! A PostgreSQL of a test's own, which can go away and come back.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::store::{Store, StoreKind};

/// A PostgreSQL of this test's own, which can be stopped and started again at its address.
pub struct Cluster {
    directory: TempDir,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// Not started yet.
    ///
    /// # Panics
    /// Where the directory cannot be made.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Where the caller is root the server is another user, who must reach it.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).expect("a directory");
        Self { directory }
    }

    /// A store on the one that runs: a directory that goes with it.
    ///
    /// # Panics
    /// Where it does not start, or the directory cannot be made.
    pub async fn store(&self) -> Store {
        let url = self.start();
        Store { kind: StoreKind::Postgres, url, ..Store::fresh(StoreKind::Sqlite).await }
    }

    fn script(&self, action: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/postgres.sh");
        let mut command = Command::new(script);
        command.arg(action).arg(self.directory.path().join("cluster"));
        // The server that it leaves running must not hold a pipe of ours open.
        let (out, err) = (self.directory.path().join("out"), self.directory.path().join("err"));
        let file = |path: &Path| std::fs::File::create(path).expect("a file");
        command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        let status = command.status().expect("the script runs");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        assert!(status.success(), "{action}: {}", text(&err));
        text(&out).trim().to_owned()
    }

    /// Answers its URL.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(&self) -> String {
        self.script("start")
    }

    /// Ends every connection to it, in the middle of whatever they do.
    ///
    /// # Panics
    /// Where it does not stop.
    pub fn stop(&self) {
        self.script("stop");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
            return;
        }
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.stop()));
    }
}
