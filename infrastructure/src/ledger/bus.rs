//! Commands in, facts out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::Identity;
use domain::port::{
    AppendOutcome, AppendUnit, Clock, EventFeed, FeedError, IdSource, IdempotencyRecord,
    IdentityChange, Position, StreamId,
};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::cache::{AggregateCache, Cached, is_kept_when_read};
use super::context::{Context, Idempotency, IdempotencyHashes, Replay, Thread};
use super::draft::{BusAggregate, Draft, SealError, SealingKeys, State, seal};
use super::error::{CommandError, TransactError};
use super::feed::{Ledger, from_log};
use super::run::Run;
use crate::crypto::KeyRing;
use crate::event_store::{Idempotency as IdempotencyStore, Identities, IdentityKey};

/// How often a command that lost against another is decided again.
pub const MAX_CONFLICT_RETRIES: usize = 8;
/// Commands that are decided and appended at a time; more are taken in turns.
const COMMANDS_PER_APPEND: usize = 2_000;
/// Commands of this process that lost on the same stream wait for each other in these queues.
const QUEUES: usize = 64;

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Committed<A> {
    pub id: Uuid,
    /// As it is after the command.
    pub aggregate: A,
    pub sequence: u64,
    /// Of the last event that was written together with this command; of the stream's last event where there was
    /// nothing to write.
    pub position: Position,
    /// How many this command wrote; none where the fact was on record already.
    pub events: usize,
    /// What this command's consequences refer to. `None` where there is no such stream, and nothing to write either.
    pub thread: Option<Thread>,
}

/// An aggregate as the log has it.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    pub aggregate: A,
    pub sequence: u64,
    /// Of its stream's last event.
    pub position: Position,
    /// What its consequences refer to.
    pub thread: Option<Thread>,
}

/// Decides commands on aggregates and appends what they led to. Clones share everything.
///
/// Every way to an append, also [`Self::transact`], asks the suppression list of what a contact comes to be known by: who
/// opted out before an erasure has opted out again in the same append, whoever brought their number or user id back.
#[derive(Clone)]
pub struct CommandBus(Arc<Inner>);

struct Inner {
    ledger: Ledger,
    identities: Arc<dyn Identities>,
    idempotency: Arc<dyn IdempotencyStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    cache: AggregateCache,
    queues: Vec<Mutex<()>>,
}

/// What became of a draft.
pub(super) enum Outcome {
    Appended {
        last: Position,
    },
    Stale,
    IdentityTaken {
        kind: String,
        holder: Uuid,
    },
    Replayed(IdempotencyRecord),
    Fenced,
    /// Never tried: it cannot be written.
    Unwritable(FeedError),
}

impl CommandBus {
    pub fn new(
        ledger: Ledger,
        identities: Arc<dyn Identities>,
        idempotency: Arc<dyn IdempotencyStore>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        let queues = (0..QUEUES).map(|_| Mutex::new(())).collect();
        let cache = AggregateCache::new();
        Self(Arc::new(Inner { ledger, identities, idempotency, clock, ids, cache, queues }))
    }

    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    pub fn keys(&self) -> &KeyRing {
        self.0.ledger.keys()
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    pub fn ids(&self) -> &Arc<dyn IdSource> {
        &self.0.ids
    }

    /// Loads, decides and appends. A command that lost against another is decided again on what is true then.
    ///
    /// # Errors
    /// [`CommandError`]. After all but `Unavailable`, nothing was written.
    pub async fn execute<A: BusAggregate>(
        &self,
        id: Uuid,
        command: A::Command,
        context: &Context,
    ) -> Result<Committed<A>, CommandError<A::Error>> {
        self.execute_expecting(id, None, command, context).await
    }

    /// [`Self::execute`], only if the stream is at `expected_sequence` (`None`: wherever it is).
    ///
    /// # Errors
    /// [`CommandError::Conflict`] where it is not; else as there.
    pub async fn execute_expecting<A: BusAggregate>(
        &self,
        id: Uuid,
        expected_sequence: Option<u64>,
        command: A::Command,
        context: &Context,
    ) -> Result<Committed<A>, CommandError<A::Error>> {
        let commands = vec![(id, command, context.clone())];
        let mut results = Run::new(self, commands, expected_sequence).finish().await;
        results.pop().unwrap_or(Err(CommandError::TooBusy))
    }

    /// Many commands at the price of few: one read for all streams, one append. Each stands for itself, in a unit of
    /// its own; those for the same stream are decided in order, each on what the one before it led to, and share a unit.
    /// Answers in the order of the commands.
    pub async fn execute_many<A: BusAggregate>(
        &self,
        commands: Vec<(Uuid, A::Command, Context)>,
    ) -> Vec<Result<Committed<A>, CommandError<A::Error>>> {
        let mut results = Vec::with_capacity(commands.len());
        let mut commands = commands.into_iter();
        loop {
            let some: Vec<_> = commands.by_ref().take(COMMANDS_PER_APPEND).collect();
            if some.is_empty() {
                return results;
            }
            results.extend(Run::new(self, some, None).finish().await);
        }
    }

    /// The aggregate as the log has it now. `None`: its stream does not exist.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn load<A: BusAggregate>(&self, id: Uuid) -> Result<Option<Loaded<A>>, FeedError> {
        Ok(self.load_many::<A>(&[id]).await?.remove(&id))
    }

    /// Those of these aggregates that exist.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn load_many<A: BusAggregate>(
        &self,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Loaded<A>>, FeedError> {
        Ok(all_loaded(self.exact_states::<A>(ids).await?))
    }

    /// The aggregate as the log had it at most `age` ago, and with all that this process wrote. `None`: there was no
    /// such stream.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn recall<A: BusAggregate>(
        &self,
        id: Uuid,
        age: Duration,
    ) -> Result<Option<Loaded<A>>, FeedError> {
        Ok(self.recall_many::<A>(&[id], age).await?.remove(&id))
    }

    /// [`Self::recall`] for many: those that existed.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn recall_many<A: BusAggregate>(
        &self,
        ids: &[Uuid],
        age: Duration,
    ) -> Result<HashMap<Uuid, Loaded<A>>, FeedError> {
        let since = self.0.clock.since_boot().saturating_sub(age);
        Ok(all_loaded(self.known_states::<A>(ids, since).await?))
    }

    /// Who holds each of these identities, in their order.
    ///
    /// # Errors
    /// [`FeedError::Unavailable`].
    pub async fn resolve_identities(
        &self,
        identities: &[Identity],
    ) -> Result<Vec<Option<Uuid>>, FeedError> {
        let keys: Vec<_> =
            identities.iter().map(|identity| self.identity_key(identity, identity.kind)).collect();
        self.0.identities.lookup(&keys).await.map_err(from_log)
    }

    /// For each of these identities of contacts, whether someone who had opted out was erased under it.
    ///
    /// # Errors
    /// [`FeedError::Unavailable`].
    pub async fn are_suppressed(&self, identities: &[Identity]) -> Result<Vec<bool>, FeedError> {
        let keys: Vec<_> = identities
            .iter()
            .map(|identity| self.identity_key(identity, Identity::SUPPRESSED))
            .collect();
        let holders = self.0.identities.lookup(&keys).await.map_err(from_log)?;
        Ok(holders.iter().map(Option::is_some).collect())
    }

    /// Those of these that [`Self::are_suppressed`] holds for.
    pub(super) async fn suppressed_of(
        &self,
        identities: BTreeSet<Identity>,
    ) -> Result<BTreeSet<Identity>, FeedError> {
        if identities.is_empty() {
            return Ok(identities);
        }
        let identities: Vec<Identity> = identities.into_iter().collect();
        let suppressed = self.are_suppressed(&identities).await?;
        let suppressed = identities.into_iter().zip(suppressed);
        Ok(suppressed.filter_map(|(identity, is)| is.then_some(identity)).collect())
    }

    /// What was answered under this key before, if it was. [`Self::transact`] asks by itself.
    ///
    /// # Errors
    /// [`TransactError::IdempotencyReused`] where the input was another; [`TransactError::Unavailable`].
    pub async fn find_idempotent<E>(
        &self,
        idempotency: &Idempotency,
    ) -> Result<Option<Replay>, TransactError<E>> {
        let hashes = IdempotencyHashes::new(idempotency, self.keys());
        match self.0.idempotency.find(&hashes.key).await.map_err(from_log)? {
            None => Ok(None),
            Some(record) => match hashes.replay(record) {
                Some(replay) => Ok(Some(replay)),
                None => Err(TransactError::IdempotencyReused),
            },
        }
    }

    /// Lets go of everything in memory that holds a subject's personal data: its key is destroyed.
    pub fn forget_subject(&self, subject: Uuid) {
        self.keys().forget(subject);
        self.0.cache.evict_subject(subject);
    }

    pub(super) fn identity_key(&self, identity: &Identity, kind: &str) -> IdentityKey {
        IdentityKey {
            workspace_id: identity.scope,
            kind: kind.to_owned(),
            hash: self.keys().lookup_hash(identity.scope, identity.kind, &identity.value),
        }
    }

    pub(super) fn next_event_id(&self) -> Uuid {
        self.0.ids.next_id(self.0.clock.now())
    }

    pub(super) fn cache(&self) -> &AggregateCache {
        &self.0.cache
    }

    pub(super) async fn queue(&self, stream: StreamId) -> MutexGuard<'_, ()> {
        // Ids end in random bits.
        self.0.queues[stream.id.as_u128() as usize % QUEUES].lock().await
    }

    /// As the log has them. Streams that do not exist are left out.
    pub(super) async fn exact_states<A: BusAggregate>(
        &self,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, State<A>>, FeedError> {
        if self.is_exclusive() {
            self.guess_states::<A>(ids).await
        } else {
            self.read_states::<A>(ids).await
        }
    }

    /// Guessed from memory where possible, else read. Streams that do not exist are left out.
    pub(super) async fn guess_states<A: BusAggregate>(
        &self,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, State<A>>, FeedError> {
        self.known_states::<A>(ids, Duration::ZERO).await
    }

    /// From memory what was true at `since` or later, else read.
    async fn known_states<A: BusAggregate>(
        &self,
        ids: &[Uuid],
        since: Duration,
    ) -> Result<HashMap<Uuid, State<A>>, FeedError> {
        let is_exact = self.is_exclusive();
        let since = if is_exact { Duration::ZERO } else { since };
        let mut states: HashMap<Uuid, State<A>> = HashMap::with_capacity(ids.len());
        let mut unknown = Vec::new();
        for &id in ids {
            let stream = StreamId::new(A::AGGREGATE_TYPE, id);
            match self.0.cache.get::<A>(stream, since, self.keys()) {
                Some(state) => {
                    let is_cached = state.is_cached && !is_exact;
                    states.insert(id, State { is_cached, ..state });
                }
                None => unknown.push(id),
            }
        }
        if !unknown.is_empty() {
            states.extend(self.read_states::<A>(&unknown).await?);
        }
        Ok(states)
    }

    /// As the store has them, whatever memory says. Streams that do not exist are left out.
    pub(super) async fn read_states<A: BusAggregate>(
        &self,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, State<A>>, FeedError> {
        let mut streams: Vec<_> =
            ids.iter().map(|id| StreamId::new(A::AGGREGATE_TYPE, *id)).collect();
        streams.sort_unstable();
        streams.dedup();
        let as_of = self.0.clock.since_boot();
        let reading = is_kept_when_read(A::AGGREGATE_TYPE)
            .then(|| self.0.cache.begin_reading(streams.clone()));
        let mut states: HashMap<Uuid, State<A>> = HashMap::with_capacity(streams.len());
        for event in self.0.ledger.read_streams(&streams).await? {
            states.entry(event.stream.id).or_default().fold(&event)?;
        }
        if let Some(reading) = reading {
            for (id, state) in &states {
                let subject = state.aggregate.subject();
                let cached = Cached::of(state.clone(), subject, as_of);
                reading.take(StreamId::new(A::AGGREGATE_TYPE, *id), cached, self.keys());
            }
        }
        Ok(states)
    }

    fn is_exclusive(&self) -> bool {
        self.0.ledger.log().is_exclusive()
    }

    /// Seals and appends drafts, each for itself, and keeps the caches true.
    pub(super) async fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Outcome>, FeedError> {
        let mut subjects: Vec<Uuid> = drafts.iter().flat_map(Draft::subjects).collect();
        subjects.sort_unstable();
        subjects.dedup();
        let known =
            self.keys().subject_keys(&subjects).await.map_err(|error| from_log(error.into()))?;
        let mut keys = SealingKeys::new(known);
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(drafts.len());
        let mut units = Vec::with_capacity(drafts.len());
        let mut after = Vec::with_capacity(drafts.len());
        for draft in drafts {
            outcomes.push(match seal(draft, self.keys(), &mut keys) {
                Ok(unit) => {
                    after.push(AfterAppend::of(&unit));
                    units.push(unit);
                    None
                }
                Err(SealError::IdentityTaken { kind, holder }) => {
                    Some(Outcome::IdentityTaken { kind, holder })
                }
                Err(SealError::Unwritable(error)) => Some(Outcome::Unwritable(error)),
            });
        }
        let mut settled = self.append_units(units, after, keys).await?.into_iter();
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Some(outcome) => Ok(outcome),
                None => settled
                    .next()
                    .ok_or_else(|| FeedError::Corrupt("the log left a unit unanswered".to_owned())),
            })
            .collect()
    }

    /// Whoever asks may stop waiting at any moment, and the log goes on: so memory is put right in a task of its own.
    async fn append_units(
        &self,
        units: Vec<AppendUnit>,
        after: Vec<AfterAppend>,
        keys: SealingKeys,
    ) -> Result<Vec<Outcome>, FeedError> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let bus = self.clone();
        let appending = tokio::spawn(async move {
            let appended = bus.0.ledger.log().append(units).await;
            match appended {
                Ok(outcomes) => {
                    let outcomes = outcomes.into_iter().zip(after);
                    Ok(outcomes.map(|(outcome, after)| bus.settle(outcome, after, &keys)).collect())
                }
                Err(error) => {
                    // It may be in the log all the same.
                    for (stream, sequence) in after.into_iter().flat_map(|after| after.streams) {
                        bus.0.cache.note_move(stream, sequence);
                    }
                    Err(from_log(error))
                }
            }
        });
        appending.await.unwrap_or_else(|error| Err(FeedError::Unavailable(error.into())))
    }

    fn settle(&self, outcome: AppendOutcome, after: AfterAppend, keys: &SealingKeys) -> Outcome {
        match outcome {
            AppendOutcome::Appended { last, .. } => {
                for (stream, sequence) in after.streams {
                    self.0.cache.note_move(stream, sequence);
                }
                for subject in after.new_keys {
                    if let Some(key) = keys.fresh_key(subject) {
                        self.keys().admit(subject, key);
                    }
                }
                for subject in after.destroyed {
                    self.keys().mark_destroyed(subject);
                    self.0.cache.evict_subject(subject);
                }
                for name in after.secrets {
                    self.keys().forget_secret(&name);
                }
                Outcome::Appended { last }
            }
            AppendOutcome::Stale { .. } => {
                metrics::counter!("gateway_command_conflicts_total").increment(1);
                // Also a key that another made first shows as stale: what memory says of both is doubtful.
                after.streams.into_iter().for_each(|(stream, _)| self.0.cache.evict(stream));
                Outcome::Stale
            }
            AppendOutcome::IdentityTaken { index, holder } => {
                let kind = after.kinds.into_iter().nth(index).unwrap_or_default();
                Outcome::IdentityTaken { kind, holder }
            }
            AppendOutcome::Replayed { record } => Outcome::Replayed(record),
            AppendOutcome::Fenced => {
                metrics::counter!("gateway_appends_fenced_total").increment(1);
                Outcome::Fenced
            }
        }
    }
}

fn all_loaded<A: BusAggregate>(states: HashMap<Uuid, State<A>>) -> HashMap<Uuid, Loaded<A>> {
    let loaded = |state: State<A>| {
        let State { aggregate, sequence, position, thread, .. } = state;
        Loaded { aggregate, sequence, position, thread }
    };
    states.into_iter().map(|(id, state)| (id, loaded(state))).collect()
}

/// What is left to do once a unit was taken.
struct AfterAppend {
    /// With the sequence that each then has.
    streams: Vec<(StreamId, u64)>,
    kinds: Vec<String>,
    new_keys: Vec<Uuid>,
    destroyed: Vec<Uuid>,
    secrets: Vec<String>,
}

impl AfterAppend {
    fn of(unit: &AppendUnit) -> Self {
        let kind = |change: &IdentityChange| match change {
            IdentityChange::Claim { kind, .. } | IdentityChange::Release { kind, .. } => {
                kind.clone()
            }
        };
        Self {
            streams: unit
                .streams
                .iter()
                .map(|append| {
                    (append.stream, append.expected.saturating_add(append.events.len() as u64))
                })
                .collect(),
            kinds: unit.identities.iter().map(kind).collect(),
            new_keys: unit.new_keys.iter().map(|key| key.subject).collect(),
            destroyed: unit.destroy_keys.clone(),
            secrets: unit.secrets.iter().map(|secret| secret.name.clone()).collect(),
        }
    }
}
