//! Group commit: whatever waits while a batch is being written goes into the next one, as a whole and in order. There is
//! no timer: an idle log writes a unit at once, a busy one writes many for the price of one.
//!
//! Units that touch the same stream, identity, idempotency key, data key or secret never share a batch, so that a store
//! may check a batch as a set. The later one waits for the next.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use domain::port::{AppendOutcome, AppendUnit, IdentityChange, LogError};
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::error::{Shared, Source, unavailable};

/// What one batch holds at most; a unit that is larger goes alone.
pub const BATCH_EVENTS_MAX: usize = 2_000;
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Calls that may wait for the appender; more wait for a place.
const CALLS_MAX: usize = 1_024;
/// Events that are sorted into batches ahead of time.
const BACKLOG_EVENTS_MAX: usize = 4 * BATCH_EVENTS_MAX;
/// What a row costs beside its payload, at most.
const EVENT_OVERHEAD_BYTES: usize = 512;

/// Writes one batch in one transaction.
#[async_trait]
pub(crate) trait WriteBatch: Send + Sync + 'static {
    /// An outcome per unit, in order. No two units touch the same thing.
    async fn write(&self, units: Arc<Vec<AppendUnit>>) -> Result<Vec<AppendOutcome>, WriteError>;
}

#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing was written, because of what some unit holds: the others may be tried without it.
    Refused(Source),
    /// The outcome may be unknown.
    Unavailable(Source),
}

/// A handle to the appending task, which ends with the last handle, after what was queued.
#[derive(Clone, Debug)]
pub(crate) struct Appender {
    calls: mpsc::Sender<Call>,
}

#[derive(Debug)]
struct Call {
    units: Vec<AppendUnit>,
    answer: oneshot::Sender<Result<Vec<AppendOutcome>, LogError>>,
}

impl Appender {
    pub fn start(store: Arc<dyn WriteBatch>) -> Self {
        let (calls, waiting) = mpsc::channel(CALLS_MAX);
        tokio::spawn(run(store, waiting));
        Self { calls }
    }

    pub async fn append(&self, units: Vec<AppendUnit>) -> Result<Vec<AppendOutcome>, LogError> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(error) = units.iter().find_map(malformed) {
            return Err(unavailable(error));
        }
        let started = Instant::now();
        let (answer, answered) = oneshot::channel();
        let stopped = || unavailable("the log was closed");
        self.calls.send(Call { units, answer }).await.map_err(|_| stopped())?;
        let outcome = answered.await.map_err(|_| stopped())?;
        metrics::histogram!("gateway_append_seconds").record(started.elapsed().as_secs_f64());
        outcome
    }
}

/// What no store could take: mistakes of ours, never of a user.
fn malformed(unit: &AppendUnit) -> Option<String> {
    let mut streams = HashSet::new();
    if let Some(twice) = unit.streams.iter().find(|append| !streams.insert(append.stream)) {
        return Some(format!("a unit names stream {} twice", twice.stream));
    }
    let mut holders = HashMap::new();
    for change in &unit.identities {
        if let IdentityChange::Claim { workspace_id, kind, hash, holder } = change
            && *holders.entry((workspace_id, kind, hash)).or_insert(holder) != holder
        {
            return Some(format!("a unit claims one identity of kind {kind} for two holders"));
        }
    }
    let mut secrets = HashSet::new();
    if let Some(twice) = unit.secrets.iter().find(|secret| !secrets.insert(&secret.name)) {
        return Some(format!("a unit changes secret {} twice", twice.name));
    }
    let mut subjects = HashSet::new();
    if let Some(twice) = unit.new_keys.iter().find(|key| !subjects.insert(key.subject)) {
        return Some(format!("a unit makes two data keys for subject {}", twice.subject));
    }
    None
}

async fn run(store: Arc<dyn WriteBatch>, mut calls: mpsc::Receiver<Call>) {
    let mut backlog = Backlog::default();
    loop {
        if backlog.pending.is_empty() {
            let Some(call) = calls.recv().await else { return };
            backlog.push(call);
            // Whoever is about to append gets the chance to share this batch.
            tokio::task::yield_now().await;
        }
        while backlog.events < BACKLOG_EVENTS_MAX {
            let Ok(call) = calls.try_recv() else { break };
            backlog.push(call);
        }

        let (tickets, units) = backlog.next_batch();
        let units = Arc::new(units);
        match write(&*store, units.clone()).await {
            Ok(outcomes) => backlog.settle(tickets, &units, outcomes),
            Err(WriteError::Refused(_)) if units.len() > 1 => {
                // One of them holds what the store cannot take. Alone, it harms nobody.
                for (ticket, unit) in tickets.into_iter().zip(units.iter()) {
                    let unit = Arc::new(vec![unit.clone()]);
                    match write(&*store, unit.clone()).await {
                        Ok(outcomes) => backlog.settle([ticket], &unit, outcomes),
                        Err(WriteError::Refused(source) | WriteError::Unavailable(source)) => {
                            backlog.fail(ticket.call, &Shared::new(source));
                        }
                    }
                }
            }
            Err(WriteError::Refused(source)) => {
                let error = Shared::new(source);
                tickets.iter().for_each(|ticket| backlog.fail(ticket.call, &error));
            }
            Err(WriteError::Unavailable(source)) => backlog.fail_all(&Shared::new(source)),
        }
    }
}

/// A unit that makes the store panic must not end the only task that appends.
async fn write(
    store: &dyn WriteBatch,
    units: Arc<Vec<AppendUnit>>,
) -> Result<Vec<AppendOutcome>, WriteError> {
    match AssertUnwindSafe(store.write(units)).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(WriteError::Refused("writing the batch panicked".into())),
    }
}

#[derive(Clone, Copy)]
struct Ticket {
    call: u64,
    index: usize,
}

struct Pending {
    ticket: Ticket,
    unit: AppendUnit,
    /// Hashes of what the unit touches. Two different things of one hash only cost a wait.
    touches: Vec<u64>,
    events: usize,
    bytes: usize,
}

struct Waiting {
    outcomes: Vec<Option<AppendOutcome>>,
    open: usize,
    answer: oneshot::Sender<Result<Vec<AppendOutcome>, LogError>>,
}

#[derive(Default)]
struct Backlog {
    pending: VecDeque<Pending>,
    events: usize,
    waiting: HashMap<u64, Waiting>,
    next_call: u64,
    hasher: RandomState,
}

impl Backlog {
    fn push(&mut self, call: Call) {
        let id = self.next_call;
        self.next_call += 1;
        let open = call.units.len();
        let outcomes = vec![None; open];
        self.waiting.insert(id, Waiting { outcomes, open, answer: call.answer });
        for (index, unit) in call.units.into_iter().enumerate() {
            let events: usize = unit.streams.iter().map(|append| append.events.len()).sum();
            let bytes = unit
                .streams
                .iter()
                .flat_map(|append| &append.events)
                .map(|event| event.payload.len() + EVENT_OVERHEAD_BYTES)
                .sum();
            let touches = touches(&unit, &self.hasher);
            self.events += events;
            self.pending.push_back(Pending {
                ticket: Ticket { call: id, index },
                unit,
                touches,
                events,
                bytes,
            });
        }
    }

    /// The first of what is pending, in order, without what touches something that an earlier one touches.
    fn next_batch(&mut self) -> (Vec<Ticket>, Vec<AppendUnit>) {
        let (mut tickets, mut units, mut kept) = (Vec::new(), Vec::new(), VecDeque::new());
        let (mut events, mut bytes) = (0, 0);
        let mut touched = HashSet::new();
        while let Some(next) = self.pending.pop_front() {
            let fits = units.is_empty()
                || (events + next.events <= BATCH_EVENTS_MAX
                    && bytes + next.bytes <= BATCH_BYTES_MAX);
            if !fits || units.len() >= BATCH_EVENTS_MAX {
                kept.push_back(next);
                break;
            }
            let is_free = !next.touches.iter().any(|touch| touched.contains(touch));
            touched.extend(next.touches.iter().copied());
            if is_free {
                events += next.events;
                bytes += next.bytes;
                self.events -= next.events;
                tickets.push(next.ticket);
                units.push(next.unit);
            } else {
                kept.push_back(next);
            }
        }
        kept.append(&mut self.pending);
        self.pending = kept;
        (tickets, units)
    }

    fn settle(
        &mut self,
        tickets: impl IntoIterator<Item = Ticket>,
        units: &[AppendUnit],
        outcomes: Vec<AppendOutcome>,
    ) {
        let mut events = 0;
        for ((ticket, unit), outcome) in tickets.into_iter().zip(units).zip(outcomes) {
            if matches!(outcome, AppendOutcome::Appended { .. }) {
                events += unit.streams.iter().map(|append| append.events.len()).sum::<usize>();
            }
            let Some(waiting) = self.waiting.get_mut(&ticket.call) else { continue };
            waiting.outcomes[ticket.index] = Some(outcome);
            waiting.open -= 1;
            if waiting.open == 0
                && let Some(waiting) = self.waiting.remove(&ticket.call)
            {
                let _ = waiting.answer.send(Ok(waiting.outcomes.into_iter().flatten().collect()));
            }
        }
        metrics::counter!("gateway_append_events_total").increment(events as u64);
        metrics::histogram!("gateway_append_batch_events").record(events as f64);
    }

    /// The whole call fails with one of its units; the rest of its units is not tried.
    fn fail(&mut self, call: u64, error: &Shared) {
        if let Some(waiting) = self.waiting.remove(&call) {
            let _ = waiting.answer.send(Err(error.to_log_error()));
        }
        let events = &mut self.events;
        self.pending.retain(|pending| {
            let stays = pending.ticket.call != call;
            if !stays {
                *events -= pending.events;
            }
            stays
        });
    }

    fn fail_all(&mut self, error: &Shared) {
        self.pending.clear();
        self.events = 0;
        for (_, waiting) in self.waiting.drain() {
            let _ = waiting.answer.send(Err(error.to_log_error()));
        }
    }
}

fn touches(unit: &AppendUnit, hasher: &RandomState) -> Vec<u64> {
    let mut touches = Vec::new();
    touches.extend(unit.streams.iter().map(|append| hasher.hash_one(("stream", append.stream))));
    touches.extend(unit.identities.iter().map(|change| {
        let (IdentityChange::Claim { workspace_id, kind, hash, .. }
        | IdentityChange::Release { workspace_id, kind, hash, .. }) = change;
        hasher.hash_one(("identity", workspace_id, kind, hash))
    }));
    touches.extend(
        unit.idempotency.iter().map(|record| hasher.hash_one(("idempotency", &record.key_hash))),
    );
    let subjects = unit.new_keys.iter().map(|key| &key.subject).chain(&unit.destroy_keys);
    touches.extend(subjects.map(|subject| hasher.hash_one(("data key", subject))));
    touches.extend(unit.secrets.iter().map(|secret| hasher.hash_one(("secret", &secret.name))));
    // A unit may touch the same thing twice (a key made and destroyed); it does not stand in its own way.
    touches.sort_unstable();
    touches.dedup();
    touches
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use chrono::DateTime;
    use domain::port::{AggregateType, Metadata, NewEvent, Position, StreamAppend, StreamId};
    use domain::primitives::Actor;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;

    /// Takes everything, when it may; notes what came together.
    struct Gate {
        may: Semaphore,
        batches: Mutex<Vec<usize>>,
        refuse: Option<Uuid>,
    }

    impl Gate {
        fn new(permits: usize, refuse: Option<Uuid>) -> Arc<Self> {
            Arc::new(Self { may: Semaphore::new(permits), batches: Mutex::default(), refuse })
        }
    }

    #[async_trait]
    impl WriteBatch for Gate {
        async fn write(
            &self,
            units: Arc<Vec<AppendUnit>>,
        ) -> Result<Vec<AppendOutcome>, WriteError> {
            self.may.acquire().await.unwrap().forget();
            self.batches.lock().unwrap().push(units.len());
            if units
                .iter()
                .flat_map(|unit| &unit.streams)
                .any(|append| Some(append.stream.id) == self.refuse)
            {
                return Err(WriteError::Refused("no".into()));
            }
            let taken = AppendOutcome::Appended {
                first: Position(1),
                last: Position(1),
                recorded_at: DateTime::UNIX_EPOCH,
            };
            Ok(vec![taken; units.len()])
        }
    }

    fn unit(stream: u128, events: usize) -> AppendUnit {
        let event = NewEvent {
            event_id: Uuid::nil(),
            event_type: "message.sent".to_owned(),
            event_version: 1,
            payload: "{}".to_owned(),
            metadata: Metadata {
                actor: Actor::system("test"),
                correlation_id: Uuid::nil(),
                causation_id: None,
                subject: None,
            },
            occurred_at: DateTime::UNIX_EPOCH,
        };
        AppendUnit {
            streams: vec![StreamAppend {
                stream: StreamId::new(AggregateType::Message, Uuid::from_u128(stream)),
                expected: 0,
                workspace_id: None,
                account_id: None,
                events: vec![event; events],
            }],
            ..AppendUnit::default()
        }
    }

    #[tokio::test]
    async fn what_waits_goes_together_and_what_collides_or_is_too_much_goes_next() {
        let gate = Gate::new(0, None);
        let appender = Appender::start(gate.clone());
        let call = |units| {
            let appender = appender.clone();
            tokio::spawn(async move { appender.append(units).await.map(|outcomes| outcomes.len()) })
        };
        // The first goes alone; the others come while it is being written.
        let mut calls = vec![call(vec![unit(1, 1)])];
        while appender.calls.capacity() < CALLS_MAX || calls[0].is_finished() {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        calls.push(call(vec![unit(2, 1), unit(3, 1), unit(2, 1)]));
        calls.push(call(vec![unit(3, 1)]));
        calls.push(call(vec![unit(4, BATCH_EVENTS_MAX - 2)]));
        calls.push(call(vec![unit(5, 1)]));
        while appender.calls.capacity() > CALLS_MAX - 4 {
            tokio::task::yield_now().await;
        }
        gate.may.add_permits(100);
        let mut lengths = Vec::new();
        for call in calls {
            lengths.push(call.await.unwrap().unwrap());
        }
        assert_eq!(lengths, [1, 3, 1, 1, 1]);
        assert_eq!(*gate.batches.lock().unwrap(), [1, 3, 3]);
    }

    #[tokio::test]
    async fn a_unit_that_cannot_be_taken_fails_its_own_call_alone() {
        let gate = Gate::new(0, Some(Uuid::from_u128(3)));
        let appender = Appender::start(gate.clone());
        let calls: Vec<_> = (1..=4)
            .map(|stream| {
                let appender = appender.clone();
                tokio::spawn(async move { appender.append(vec![unit(stream, 1)]).await.is_ok() })
            })
            .collect();
        while appender.calls.capacity() > CALLS_MAX - 3 && gate.may.available_permits() == 0 {
            tokio::task::yield_now().await;
            if appender.calls.capacity() == CALLS_MAX {
                gate.may.add_permits(100);
            }
        }
        gate.may.add_permits(100);
        let mut taken = Vec::new();
        for call in calls {
            taken.push(call.await.unwrap());
        }
        assert_eq!(taken, [true, true, false, true]);
    }

    #[tokio::test]
    async fn nonsense_is_an_error_before_it_waits() {
        let appender = Appender::start(Gate::new(100, None));
        let mut twice = unit(1, 1);
        twice.streams.push(twice.streams[0].clone());
        assert!(appender.append(vec![twice]).await.is_err());
        assert!(appender.append(Vec::new()).await.unwrap().is_empty());
    }
}
