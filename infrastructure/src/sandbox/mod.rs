//! A stand-in for Meta: the Cloud API's paths, limits, errors and signed webhooks, for tests of the gateway and of anybody
//! else's program, with controls that order trouble and a record of every call.
//!
//! It shares the JSON types with the client ([`crate::cloud_api::wire`]) and nothing of the gateway's domain, so that it
//! cannot agree with the gateway by accident. It never fetches a `link`, knows no groups and no calls. What happens to a
//! send is drawn by seed and callback datum, not by timing; all time comes from the [`Clock`] it is given, but for network
//! timeouts. With a state file, whatever it answered survives a kill, webhooks under way included.

mod address;
mod behaviour;
mod check;
mod control;
mod delivery;
mod entry;
mod error;
mod fate;
mod forget;
mod graph;
pub mod http;
mod interactive;
mod journal;
mod library;
mod limits;
mod media;
mod notify;
mod number;
mod outbox;
mod people;
mod record;
mod send;
mod server;
mod state;
mod template;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::port::Clock;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, watch};

pub use behaviour::{Behaviour, BehaviourError, Span};
pub use control::{ControlError, TemplateEvent};
pub use http::ControlsAccess;
pub use number::{NumberError, NumberSpec, TemplateVerdict};
pub use record::Call;
pub use server::{Server, ServerError};

use entry::{Entry, NumberFacts, WabaFacts};
use people::Said;
use state::State;

/// How a sandbox is made.
#[derive(Clone)]
pub struct Options {
    /// The same seed and the same calls in the same order meet the same fates.
    pub seed: u64,
    /// Until the controls say otherwise. A state file that is not empty goes before it.
    pub behaviour: Behaviour,
    /// Where the state survives the process; files with this name and an ending of their own lie beside it. Without it
    /// everything is in memory, and the calls in a nameless temporary file.
    pub state: Option<PathBuf>,
    /// Webhooks go to https whoever the certificate is for: inside a gateway they go to its own listener on loopback, whose
    /// certificate names the public address, or is self-made.
    pub any_certificate: bool,
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// Seed 0, in memory, nothing goes wrong.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            seed: 0,
            behaviour: Behaviour::default(),
            state: None,
            any_certificate: false,
            clock,
        }
    }
}

/// Why a sandbox could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("could not open the sandbox's state")]
    State(#[source] io::Error),
    #[error("the sandbox's behaviour is not valid")]
    Behaviour(#[source] BehaviourError),
    #[error("could not set up the sandbox's HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("the sandbox was opened outside a tokio runtime, which its webhooks need")]
    NoRuntime,
}

/// A Cloud API look-alike. Clones share one state; the last one to go ends its webhooks.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    /// Something new is due, or a webhook has landed.
    wake: Arc<Notify>,
    client: reqwest::Client,
    /// Changes when those who wait for an answer that never comes are to be let go.
    held: watch::Sender<u64>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

/// What `GET /_sandbox/stats` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Calls that tried to send a message.
    pub sends: u64,
    /// Messages that a phone would have shown.
    pub counted: u64,
    pub distinct_callback_data: u64,
    /// Webhooks sent, every attempt and every copy.
    pub webhooks_sent: u64,
    /// Those answered 200.
    pub webhooks_acked: u64,
    /// Most send calls that arrived in any moving second, by number, refused ones included.
    pub per_second_peak: BTreeMap<String, u32>,
    /// Callback data that a phone would have shown more than once.
    pub counted_twice: u64,
    /// Sends refused because the pair rate was not kept (131056), by number.
    pub pair_violations: BTreeMap<String, u64>,
    /// Sends refused because messages per second were not kept (130429), by number.
    pub pace_violations: BTreeMap<String, u64>,
    /// Most people reached outside a service window in any moving 24 h, by account.
    pub reach_peak: BTreeMap<String, u32>,
    /// Send calls answered with an error, by code.
    pub errors: BTreeMap<u32, u64>,
    /// Statuses, messages and answers not settled yet: planned, due or on their way.
    pub webhooks_pending: u64,
    /// Messages that people wrote, each once.
    pub inbound: u64,
    /// Given up after an hour, or because nobody subscribed.
    pub webhooks_dropped: u64,
}

impl Sandbox {
    /// Opens a sandbox and begins to deliver what is due.
    ///
    /// # Errors
    /// [`SandboxError`], where the state cannot be read or is in use by another process, or the behaviour is not valid.
    pub fn open(options: Options) -> Result<Self, SandboxError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| SandboxError::NoRuntime)?;
        options.behaviour.check().map_err(SandboxError::Behaviour)?;
        let now = options.clock.now().timestamp_millis();
        let state = State::open(options.seed, options.behaviour, options.state.as_deref(), now)
            .map_err(SandboxError::State)?;
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            clock: options.clock,
            wake: Arc::new(Notify::new()),
            client: delivery::client(options.any_certificate).map_err(SandboxError::Client)?,
            held: watch::Sender::new(0),
        });
        runtime.spawn(delivery::run(Arc::downgrade(&inner), Arc::clone(&inner.wake)));
        Ok(Self(inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two halves of a change: entries are applied one by one, after they were written.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.0.clock.now().timestamp_millis()
    }

    /// Provisions a number, or replaces its settings, and has its webhook URL verified in the background, for a minute.
    ///
    /// # Errors
    /// [`NumberError`] where a value cannot be right.
    pub fn provision(&self, spec: NumberSpec) -> Result<(), NumberError> {
        let id = self.put_number(spec)?;
        let sandbox = Arc::downgrade(&self.0);
        tokio::spawn(async move { delivery::verify_for_a_minute(sandbox, id, 0).await });
        Ok(())
    }

    fn put_number(&self, spec: NumberSpec) -> Result<String, NumberError> {
        let spec = spec.completed()?;
        let mut state = self.state();
        let id = spec.phone_number_id.clone();
        if state.wabas.contains_key(&id) || state.numbers.contains_key(&spec.waba_id) {
            let expected =
                "ids that do not name a number in one place and an account in another".to_owned();
            return Err(NumberError::Invalid { field: "wabaId", expected });
        }
        let known = state.numbers.get(&id).map(|number| number.facts.clone());
        let facts = match known {
            Some(known) => NumberFacts {
                verified: known.verified
                    && known.spec.webhook_url == spec.webhook_url
                    && known.spec.verify_token == spec.verify_token,
                spec,
                ..known
            },
            None => NumberFacts {
                spec,
                registered: true,
                pin: None,
                hook: None,
                verified: false,
                quality: "GREEN".to_owned(),
            },
        };
        let mut entries = Vec::with_capacity(2);
        if !state.wabas.contains_key(&facts.spec.waba_id) {
            let waba = WabaFacts { id: facts.spec.waba_id.clone(), subscribed: true, hook: None };
            entries.push(Entry::Waba { waba });
        }
        entries.push(Entry::Number { number: Box::new(facts) });
        state.commit(entries).map_err(|error| NumberError::State(Arc::new(error)))?;
        Ok(id)
    }

    /// Whether the number's webhook URL has passed the handshake; none where the number is unknown.
    pub fn is_verified(&self, phone_number_id: &str) -> Option<bool> {
        self.state().numbers.get(phone_number_id).map(|number| number.facts.verified)
    }

    pub fn behaviour(&self) -> Behaviour {
        self.state().behaviour.clone()
    }

    /// Replaces the behaviour of every number that has none of its own.
    ///
    /// # Errors
    /// [`ControlError`] where a value is out of range.
    pub fn set_behaviour(&self, behaviour: Behaviour) -> Result<(), ControlError> {
        self.put_behaviour(None, Some(behaviour))
    }

    /// Gives one number a behaviour of its own, or takes it away.
    ///
    /// # Errors
    /// [`ControlError`] where the number is unknown or a value is out of range.
    pub fn set_behaviour_of(
        &self,
        phone_number_id: &str,
        behaviour: Option<Behaviour>,
    ) -> Result<(), ControlError> {
        self.put_behaviour(Some(phone_number_id.to_owned()), behaviour)
    }

    fn put_behaviour(
        &self,
        number: Option<String>,
        behaviour: Option<Behaviour>,
    ) -> Result<(), ControlError> {
        if let Some(behaviour) = &behaviour {
            behaviour
                .check()
                .map_err(|error| ControlError::invalid("behaviour", &error.to_string()))?;
        }
        let mut state = self.state();
        if let Some(number) = number.as_ref().filter(|number| !state.numbers.contains_key(*number))
        {
            return Err(control::unknown_number(number));
        }
        state.commit(vec![Entry::Behaviour { number, behaviour: behaviour.map(Box::new) }])?;
        // What waits for the end of an outage goes now and not in half a minute.
        state.hurry(self.now());
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }

    pub fn stats(&self) -> Stats {
        let state = self.state();
        let tally = &state.record.tally;
        let of_numbers = |count: fn(&state::Number) -> u64| {
            state.numbers.iter().map(|(id, number)| (id.clone(), count(number))).collect()
        };
        let mut per_second_peak: BTreeMap<String, u32> =
            state.numbers.keys().map(|id| (id.clone(), 0)).collect();
        per_second_peak
            .extend(tally.arrivals.iter().map(|(id, arrivals)| (id.clone(), arrivals.second.peak)));
        Stats {
            sends: tally.sends,
            counted: tally.counted,
            distinct_callback_data: tally.distinct_callback_data(),
            webhooks_sent: state.webhooks.sent,
            webhooks_acked: state.webhooks.acked,
            per_second_peak,
            counted_twice: tally.counted_twice,
            pair_violations: of_numbers(|number| number.pair_violations),
            pace_violations: of_numbers(|number| number.pace_violations),
            reach_peak: state
                .wabas
                .iter()
                .map(|(id, waba)| (id.clone(), waba.reach.peak))
                .collect(),
            errors: tally.errors.clone(),
            webhooks_pending: state.backlog() as u64,
            inbound: state.numbers.values().map(|number| number.received.len() as u64).sum(),
            webhooks_dropped: state.webhooks.dropped,
        }
    }

    /// The calls on record after number `after`.
    ///
    /// # Errors
    /// Where the record cannot be read.
    pub fn calls(&self, after: u64) -> io::Result<Vec<Call>> {
        let mut reader = self.state().record.reader(after);
        let mut calls = Vec::new();
        while let Some(lines) = reader.next_lines()? {
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                calls.push(serde_json::from_slice(line)?);
            }
        }
        Ok(calls)
    }

    /// Empties the record and sets the statistics to zero; numbers, templates, windows and webhooks under way stay.
    ///
    /// # Errors
    /// Where the record cannot be written.
    pub fn forget(&self) -> io::Result<()> {
        let mut state = self.state();
        state.commit(vec![Entry::Forgot])?;
        state.record.forget()
    }

    /// Lets a person do what `POST /_sandbox/inbound` describes; gives back the wamid of what they wrote.
    ///
    /// # Errors
    /// [`ControlError`] where the body cannot be right or the number is unknown.
    pub fn inbound(&self, body: &Value) -> Result<String, ControlError> {
        let said = Said::read(body)?;
        let mut state = self.state();
        if !state.numbers.contains_key(said.number()) {
            return Err(control::unknown_number(said.number()));
        }
        let wamid = state.say(&said, self.now(), Vec::new())?;
        drop(state);
        self.0.wake.notify_one();
        Ok(wamid)
    }

    /// Gives Meta's verdict on a template and sends its webhook. Answers with the template as it is now.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] until the template was submitted.
    pub fn template_event(&self, event: &TemplateEvent) -> Result<Value, ControlError> {
        let answer = self.state().template_event(event, self.now())?;
        self.0.wake.notify_one();
        Ok(answer)
    }

    /// Sends any webhook: `{phoneNumberId or wabaId, field, value}`.
    ///
    /// # Errors
    /// [`ControlError`] where the body cannot be right or nobody would get it.
    pub fn webhook(&self, body: &Value) -> Result<(), ControlError> {
        self.state().any_webhook(body, self.now())?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// Lets go of every connection that waits for an answer that never comes, so that a server can shut down.
    pub fn release_held(&self) {
        self.0.held.send_modify(|generation| *generation += 1);
    }
}
