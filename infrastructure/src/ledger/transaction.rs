//! Several aggregates, credentials and identities in one unit of the log.

use std::any::Any;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::time::Duration;

use domain::Identity;
use domain::port::{FeedError, IdentityChange, Position, StreamId};
use futures::future::BoxFuture;
use uuid::Uuid;

use super::bus::{CommandBus, Loaded, MAX_CONFLICT_RETRIES, Outcome};
use super::cache::Cached;
use super::context::{Context, Idempotency, IdempotencyHashes};
use super::draft::{BusAggregate, Draft, DraftStream, State};
use super::error::{CommandError, TransactError};
use crate::crypto::secret::Secret;

/// What [`CommandBus::transact`]'s closure works on. Everything it writes is taken as a whole, after the closure has
/// returned `Ok`, or not at all. A stream that was only read is not checked. `'env` is what the closure may borrow.
pub struct Transaction<'env> {
    bus: CommandBus,
    context: Context,
    /// The closure runs again, because others were faster.
    is_again: bool,
    /// In the order of their first use, which is the order of the events.
    order: Vec<StreamId>,
    slots: HashMap<StreamId, Slot>,
    /// Of these the suppression list was asked: it speaks once, and what is decided afterwards knows of it.
    asked: BTreeSet<Identity>,
    extra: Draft,
    result: Option<String>,
    env: PhantomData<&'env mut &'env ()>,
}

type IntoCached =
    fn(Box<dyn Any + Send + Sync>, Option<Uuid>, Position, Duration) -> Option<Cached>;

struct Slot {
    /// A `State<A>`.
    state: Box<dyn Any + Send + Sync>,
    position: Position,
    draft: DraftStream,
    /// Takes the state out for the cache.
    into_cached: IntoCached,
}

impl Slot {
    fn new<A: BusAggregate>(id: Uuid, state: State<A>) -> Self {
        Self {
            draft: DraftStream::new(id, &state.aggregate, state.sequence),
            position: state.position,
            state: Box::new(state),
            into_cached: |state, subject, position, as_of| {
                let state = *state.downcast::<State<A>>().ok()?;
                Some(Cached::of(State { position, ..state }, subject, as_of))
            },
        }
    }
}

enum Commit {
    Done(Position),
    Again,
}

impl CommandBus {
    /// Runs `work` and appends everything it did as one unit. Where another was faster it runs again from the start, so
    /// it must not do anything by itself. Returns what it returned, and the position of the last event written (of the
    /// youngest event read, where nothing was).
    ///
    /// `work` is `|tx| Box::pin(async move { … })`; since it may run again, what it takes from outside is a reference,
    /// or cloned before the `async move`.
    ///
    /// With `idempotency`, what was done before under that key is not done again: the answer is
    /// [`TransactError::Replayed`], with what the first run had given to [`Transaction::set_result`].
    ///
    /// # Errors
    /// [`TransactError`]. After all but `Unavailable`, nothing was written.
    pub async fn transact<'env, T, E, F>(
        &self,
        context: &Context,
        idempotency: Option<&Idempotency>,
        mut work: F,
    ) -> Result<(T, Position), TransactError<E>>
    where
        F: for<'a> FnMut(&'a mut Transaction<'env>) -> BoxFuture<'a, Result<T, E>> + Send,
        T: Send,
        E: Send,
    {
        if let Some(idempotency) = idempotency
            && let Some(replay) = self.find_idempotent(idempotency).await?
        {
            return Err(replay.into());
        }
        for round in 0..=MAX_CONFLICT_RETRIES {
            let mut tx = Transaction::new(self.clone(), context.clone(), round > 0);
            let value = match work(&mut tx).await {
                Ok(value) => value,
                Err(error) => {
                    // The first of two requests may have been taken just now, and be what the second one met.
                    if let Some(idempotency) = idempotency
                        && let Some(replay) = self.find_idempotent(idempotency).await?
                    {
                        return Err(replay.into());
                    }
                    return Err(TransactError::Command(error));
                }
            };
            if let Commit::Done(position) = tx.commit(idempotency).await? {
                return Ok((value, position));
            }
        }
        Err(TransactError::TooBusy)
    }
}

fn not_fetched() -> FeedError {
    FeedError::Corrupt("an aggregate was not loaded".to_owned())
}

impl Transaction<'_> {
    fn new(bus: CommandBus, context: Context, is_again: bool) -> Self {
        let extra = Draft { fence: context.fence.clone(), ..Draft::default() };
        Self {
            bus,
            context,
            is_again,
            order: Vec::new(),
            slots: HashMap::new(),
            asked: BTreeSet::new(),
            extra,
            result: None,
            env: PhantomData,
        }
    }

    pub fn bus(&self) -> &CommandBus {
        &self.bus
    }

    /// The aggregate as it is now, after what this transaction did. `None`: its stream does not exist.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn load<A: BusAggregate>(
        &mut self,
        id: Uuid,
    ) -> Result<Option<Loaded<A>>, FeedError> {
        self.fetch::<A>(&[id]).await?;
        Ok(self.loaded(id))
    }

    /// Those of these aggregates that exist, with one read for all.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn load_many<A: BusAggregate>(
        &mut self,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Loaded<A>>, FeedError> {
        self.fetch::<A>(ids).await?;
        Ok(ids.iter().filter_map(|id| Some((*id, self.loaded(*id)?))).collect())
    }

    /// Decides a command. Returns the aggregate after it.
    ///
    /// # Errors
    /// [`CommandError::Domain`] and [`CommandError::Unavailable`]; everything else shows when the whole is appended.
    pub async fn execute<A: BusAggregate>(
        &mut self,
        id: Uuid,
        command: A::Command,
    ) -> Result<&A, CommandError<A::Error>> {
        self.execute_expecting::<A>(id, None, command).await
    }

    /// [`Self::execute`], only if the stream is at `expected_sequence` before this transaction (`None`: wherever it is).
    ///
    /// # Errors
    /// [`CommandError::Conflict`] where it is not; else as there.
    pub async fn execute_expecting<A: BusAggregate>(
        &mut self,
        id: Uuid,
        expected_sequence: Option<u64>,
        command: A::Command,
    ) -> Result<&A, CommandError<A::Error>> {
        self.fetch::<A>(&[id]).await?;
        let actual = self.slot::<A>(id).map_or(0, |slot| slot.draft.expected);
        if let Some(expected) = expected_sequence.filter(|expected| *expected != actual) {
            return Err(CommandError::Conflict { expected, actual });
        }
        self.decide::<A>(id, command)?;
        self.suppress::<A>(&[id]).await?;
        self.aggregate(id)
    }

    /// Decides many commands, with one read for all of their streams.
    ///
    /// # Errors
    /// Of the first one that is refused; else as [`Self::execute`].
    pub async fn execute_many<A: BusAggregate>(
        &mut self,
        commands: Vec<(Uuid, A::Command)>,
    ) -> Result<(), CommandError<A::Error>> {
        let ids: Vec<Uuid> = commands.iter().map(|(id, _)| *id).collect();
        self.fetch::<A>(&ids).await?;
        for (id, command) in commands {
            self.decide::<A>(id, command)?;
        }
        self.suppress::<A>(&ids).await
    }

    /// [`Self::execute_many`] on streams that should not exist yet: read only when that turned out to be wrong.
    ///
    /// # Errors
    /// As there.
    pub async fn execute_new<A: BusAggregate>(
        &mut self,
        commands: Vec<(Uuid, A::Command)>,
    ) -> Result<(), CommandError<A::Error>> {
        if self.is_again {
            return self.execute_many::<A>(commands).await;
        }
        let ids: Vec<Uuid> = commands.iter().map(|(id, _)| *id).collect();
        for (id, command) in commands {
            let stream = StreamId::new(A::AGGREGATE_TYPE, id);
            if let Entry::Vacant(entry) = self.slots.entry(stream) {
                entry.insert(Slot::new::<A>(id, State::default()));
                self.order.push(stream);
            }
            self.decide::<A>(id, command)?;
        }
        self.suppress::<A>(&ids).await
    }

    /// From here on, what this transaction decides is the answer to the last event of this stream, which it loaded or wrote.
    pub fn because_of<A: BusAggregate>(&mut self, id: Uuid) {
        let slot = self.slots.get(&StreamId::new(A::AGGREGATE_TYPE, id));
        let state = slot.and_then(|slot| slot.state.downcast_ref::<State<A>>());
        if let Some(thread) = state.and_then(|state| state.thread) {
            self.context = self.context.clone().because_of(thread);
        }
    }

    /// From here on, what this transaction decides is recorded as `context` says. Its fence stays the one that the
    /// transaction began with.
    pub fn speak_as(&mut self, context: Context) {
        self.context = context;
    }

    /// Puts a credential, or removes it (`None`).
    pub fn put_secret(&mut self, name: &str, secret: Option<&Secret>) {
        let change = self.bus.keys().secret_change(name, secret);
        self.extra.secrets.retain(|other| other.name != name);
        self.extra.secrets.push(change);
    }

    /// Claims an identity beside those of the aggregates.
    pub fn claim(&mut self, identity: &Identity, holder: Uuid) {
        let key = self.bus.identity_key(identity, identity.kind);
        let (workspace_id, kind, hash) = (key.workspace_id, key.kind, key.hash);
        self.claim_hash(IdentityChange::Claim { workspace_id, kind, hash, holder });
    }

    /// Releases an identity that is none of an aggregate's.
    pub fn release(&mut self, identity: &Identity, holder: Uuid) {
        let key = self.bus.identity_key(identity, identity.kind);
        let (workspace_id, kind, hash) = (key.workspace_id, key.kind, key.hash);
        self.claim_hash(IdentityChange::Release { workspace_id, kind, hash, holder });
    }

    /// Ends the suppression of a person who comes back: the identity is one of a contact's.
    pub fn release_suppression(&mut self, identity: &Identity) {
        let key = self.bus.identity_key(identity, Identity::SUPPRESSED);
        let (workspace_id, kind, hash) = (key.workspace_id, key.kind, key.hash);
        let holder = workspace_id;
        self.claim_hash(IdentityChange::Release { workspace_id, kind, hash, holder });
    }

    pub(super) fn claim_hash(&mut self, change: IdentityChange) {
        self.extra.identities.push(change);
    }

    /// Destroys a subject's key, for good: all its personal data in the log is erased with this transaction.
    pub fn destroy_key(&mut self, subject: Uuid) {
        if !self.extra.destroy_keys.contains(&subject) {
            self.extra.destroy_keys.push(subject);
        }
    }

    /// What to answer when this is repeated under its idempotency key: JSON, ids only.
    pub fn set_result(&mut self, json: String) {
        self.result = Some(json);
    }

    async fn fetch<A: BusAggregate>(&mut self, ids: &[Uuid]) -> Result<(), FeedError> {
        let is_unknown =
            |id: &&Uuid| !self.slots.contains_key(&StreamId::new(A::AGGREGATE_TYPE, **id));
        let unknown: Vec<Uuid> = ids.iter().filter(is_unknown).copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut states = if self.is_again {
            self.bus.read_states::<A>(&unknown).await?
        } else {
            self.bus.exact_states::<A>(&unknown).await?
        };
        for id in unknown {
            let stream = StreamId::new(A::AGGREGATE_TYPE, id);
            if let Entry::Vacant(entry) = self.slots.entry(stream) {
                entry.insert(Slot::new(id, states.remove(&id).unwrap_or_default()));
                self.order.push(stream);
            }
        }
        Ok(())
    }

    fn slot<A: BusAggregate>(&self, id: Uuid) -> Option<&Slot> {
        self.slots.get(&StreamId::new(A::AGGREGATE_TYPE, id))
    }

    fn loaded<A: BusAggregate>(&self, id: Uuid) -> Option<Loaded<A>> {
        let slot = self.slot::<A>(id)?;
        let state = slot.state.downcast_ref::<State<A>>()?;
        let State { aggregate, sequence, thread, .. } = state.clone();
        let position = slot.position;
        (sequence > 0).then_some(Loaded { aggregate, sequence, position, thread })
    }

    fn decide<A: BusAggregate>(
        &mut self,
        id: Uuid,
        command: A::Command,
    ) -> Result<(), CommandError<A::Error>> {
        let slot = self.slots.get_mut(&StreamId::new(A::AGGREGATE_TYPE, id));
        let slot = slot.ok_or_else(not_fetched)?;
        let state = slot.state.downcast_mut::<State<A>>().ok_or_else(not_fetched)?;
        slot.draft.decide(state, command, &self.context, || self.bus.next_event_id())?;
        Ok(())
    }

    fn aggregate<A: BusAggregate>(&self, id: Uuid) -> Result<&A, CommandError<A::Error>> {
        let slot = self.slot::<A>(id).ok_or_else(not_fetched)?;
        Ok(&slot.state.downcast_ref::<State<A>>().ok_or_else(not_fetched)?.aggregate)
    }

    /// Decides what the suppression list asks for of those who came to hold something that it knows. What another stream
    /// of this transaction let go of was asked when it came there.
    async fn suppress<A: BusAggregate>(
        &mut self,
        ids: &[Uuid],
    ) -> Result<(), CommandError<A::Error>> {
        let mut gained: Vec<(Uuid, Identity)> = Vec::new();
        for id in ids {
            let Some(slot) = self.slot::<A>(*id) else { continue };
            let new = slot.draft.gained::<A>().filter(|identity| !self.asked.contains(identity));
            gained.extend(new.map(|identity| (*id, identity.clone())));
        }
        if gained.is_empty() {
            return Ok(());
        }
        let released: BTreeSet<&Identity> =
            self.slots.values().flat_map(|slot| slot.draft.released()).collect();
        gained.retain(|(_, identity)| !released.contains(identity));
        let identities: BTreeSet<Identity> =
            gained.iter().map(|(_, identity)| identity.clone()).collect();
        let suppressed = self.bus.suppressed_of(identities.clone()).await?;
        self.asked.extend(identities);
        for (id, _) in gained.iter().filter(|(_, identity)| suppressed.contains(identity)) {
            let now = self.bus.clock().now();
            if let Some(command) = self.aggregate::<A>(*id)?.suppressed(now) {
                self.decide::<A>(*id, command)?;
            }
        }
        Ok(())
    }

    async fn commit<E>(
        mut self,
        idempotency: Option<&Idempotency>,
    ) -> Result<Commit, TransactError<E>> {
        let hashes = idempotency.map(|key| IdempotencyHashes::new(key, self.bus.keys()));
        let mut draft = self.extra;
        draft.idempotency = hashes.as_ref().map(|hashes| {
            let result = self.result.take().unwrap_or_else(|| "null".to_owned());
            hashes.record(result, self.bus.clock().now())
        });
        let mut written = Vec::new();
        let mut read_up_to = Position::default();
        for stream in &self.order {
            let Some(slot) = self.slots.remove(stream) else { continue };
            read_up_to = read_up_to.max(slot.position);
            if !slot.draft.events.is_empty() {
                written.push((*stream, slot.draft.subject, slot.state, slot.into_cached));
                draft.streams.push(slot.draft);
            }
        }
        let is_empty = draft.streams.is_empty()
            && draft.identities.is_empty()
            && draft.secrets.is_empty()
            && draft.destroy_keys.is_empty()
            && draft.idempotency.is_none();
        if is_empty {
            return Ok(Commit::Done(read_up_to));
        }
        let outcome = self.bus.append(vec![draft]).await?.pop();
        match outcome {
            Some(Outcome::Appended { last }) => {
                let as_of = self.bus.clock().since_boot();
                for (stream, subject, state, into_cached) in written {
                    // Where the whole unit shows, this stream does.
                    if let Some(cached) = into_cached(state, subject, last, as_of) {
                        self.bus.cache().put(stream, cached, self.bus.keys());
                    }
                }
                Ok(Commit::Done(last))
            }
            Some(Outcome::Stale) => Ok(Commit::Again),
            Some(Outcome::IdentityTaken { kind, holder }) => {
                Err(TransactError::IdentityTaken { kind, holder })
            }
            Some(Outcome::Replayed(record)) => {
                Err(match hashes.and_then(|hashes| hashes.replay(record)) {
                    Some(replay) => replay.into(),
                    None => TransactError::IdempotencyReused,
                })
            }
            Some(Outcome::Fenced) => Err(TransactError::Fenced),
            Some(Outcome::Unwritable(error)) => Err(error.into()),
            None => Err(FeedError::Corrupt("the log left a unit unanswered".to_owned()).into()),
        }
    }
}
