//! The harness: a gateway on port 0 with a sandbox in WhatsApp's place, on SQLite and on PostgreSQL, in this process or as
//! a process of its own that can be killed. Tests wait for conditions, never for a number of seconds.

mod binary;
mod client;
mod cluster;
mod front;
mod guide;
mod receiver;
mod sandbox;
mod script;
mod store;
mod tap;
mod traces;

pub use binary::{
    Answered, Binary, BinaryOptions, Surroundings, example, executable, free_port, run, subcommand,
};
pub use client::{Client, GraphqlError};
pub use cluster::Cluster;
pub use front::Front;
pub use guide::Shell;
pub use receiver::{Manners, Received, Receiver};
pub use sandbox::{APP_SECRET, Number, SandboxProcess, VERIFY_TOKEN, WABA};
pub use script::Script;
pub use store::{Store, StoreKind, stores};
pub use tap::Tap;
pub use traces::{files_under, found_in};

use std::time::Duration;

/// How long a condition may take to come true before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Waits until `condition` answers something.
///
/// # Panics
/// After [`PATIENCE`], with what was waited for.
pub async fn eventually<T, F>(what: &str, condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(PATIENCE, what, condition).await
}

/// [`eventually`], with a patience of its own.
///
/// # Panics
/// After `patience`, with what was waited for.
pub async fn eventually_within<T, F>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = std::time::Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(began.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        tokio::time::sleep(POLL).await;
    }
}
