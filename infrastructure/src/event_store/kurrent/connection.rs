//! The vendor's client, supervised. As of 1.2 it needs that:
//!
//! - A call can wait for ever, in the search for a node too: each has a deadline of ours.
//! - The task that looks for a node ends with its first failure, and every later call with it; and once a node was found,
//!   it is kept although it may be gone for good. So after a failure that is not a plain answer the client is made anew.
//! - Answers that it does not expect are panics: they are caught here.
//! - A subscription whose stream ends cleanly spins without ever yielding, which nothing in this process could stop.
//!   Nothing here subscribes: this process is the only one that appends, so it knows of whatever is new.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use kurrentdb::{Client, Error};
use tokio::time::Instant;

use super::super::error::Source;
use super::address::Address;

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(10);
/// How long a call is tried again while there is no answer, or none that says anything of the call.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    address: Address,
    current: Mutex<Current>,
    patience: Duration,
}

struct Current {
    client: Client,
    /// Grows with every client, so that many calls that fail together make one new client.
    generation: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The server's answer, which will be the same again.
    #[error("KurrentDB refused")]
    Refused(#[source] Error),
    /// What became of the call is not known.
    #[error("KurrentDB at {hosts} does not answer")]
    Failed {
        hosts: String,
        #[source]
        source: Source,
    },
    /// As [`Self::Failed`], and there was nothing wrong but the time it took.
    #[error("KurrentDB at {hosts} took longer than {} s", CALL_MAX.as_secs())]
    TimedOut { hosts: String },
}

impl Connection {
    /// Connects to nothing yet.
    pub fn new(address: Address) -> Result<Self, Source> {
        // Before the client chooses another provider; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = client(&address)?;
        Ok(Self {
            address,
            current: Mutex::new(Current { client, generation: 0 }),
            patience: PATIENCE,
        })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks until there is an answer, for some seconds. `ask` may be called more than once, and what it does must be safe
    /// to repeat.
    pub async fn call<T, F, A>(&self, ask: F) -> Result<T, CallError>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<T, Error>>,
    {
        let until = Instant::now() + self.patience;
        let mut pause = PAUSE_MIN;
        loop {
            let error = match self.call_once(&ask).await {
                Err(error @ (CallError::Failed { .. } | CallError::TimedOut { .. })) => error,
                answered => return answered,
            };
            if Instant::now() + pause >= until {
                return Err(error);
            }
            tracing::debug!(error = &error as &dyn std::error::Error, "KurrentDB is asked again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks once.
    pub async fn call_once<T, F, A>(&self, ask: &F) -> Result<T, CallError>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<T, Error>>,
    {
        let (client, generation) = {
            let current = self.current();
            (current.client.clone(), current.generation)
        };
        let hosts = || self.address.hosts();
        let asked = AssertUnwindSafe(async { ask(client).await }).catch_unwind();
        let error = match tokio::time::timeout(CALL_MAX, asked).await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(error))) if is_final(&error) => return Err(CallError::Refused(error)),
            // The client has turned to the leader by itself.
            Ok(Ok(Err(error @ Error::NotLeaderException(_)))) => {
                return Err(CallError::Failed { hosts: hosts(), source: error.into() });
            }
            Ok(Ok(Err(Error::DeadlineExceeded))) | Err(_) => CallError::TimedOut { hosts: hosts() },
            Ok(Ok(Err(error))) => CallError::Failed { hosts: hosts(), source: error.into() },
            Ok(Err(_)) => {
                CallError::Failed { hosts: hosts(), source: "the client panicked".into() }
            }
        };
        self.renew(generation);
        Err(error)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(&self, failed: u64) {
        let mut current = self.current();
        if current.generation != failed {
            return;
        }
        match client(&self.address) {
            Ok(client) => {
                *current = Current { client, generation: failed + 1 };
                metrics::counter!("gateway_kurrentdb_clients_total").increment(1);
            }
            Err(error) => tracing::warn!(
                error = error.as_ref() as &dyn std::error::Error,
                "could not make a new client of KurrentDB"
            ),
        }
    }
}

/// Reads certificates, and panics where one is none.
fn client(address: &Address) -> Result<Client, Source> {
    let settings = address.settings.clone();
    match std::panic::catch_unwind(AssertUnwindSafe(|| Client::new(settings))) {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(error.to_string().into()),
        Err(_) => Err("a certificate that the URL of KurrentDB names cannot be read".into()),
    }
}

fn is_final(error: &Error) -> bool {
    match error {
        Error::WrongExpectedVersion { .. }
        | Error::AccessDenied
        | Error::ResourceNotFound
        | Error::ResourceDeleted
        | Error::ResourceAlreadyExists
        | Error::UnsupportedFeature => true,
        // A read from where no event begins.
        Error::ServerError(text) => text.contains("ReadAllResult"),
        // Of gRPC's codes that the client has no name for: invalid argument, failed precondition, out of range.
        Error::Grpc { code, .. } => matches!(*code as i32, 3 | 9 | 11),
        _ => false,
    }
}
