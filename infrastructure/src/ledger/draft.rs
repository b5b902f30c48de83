//! What commands decided, not yet sealed: from decisions to units of the log.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::port::{
    AppendUnit, FeedError, Fence, IdempotencyRecord, IdentityChange, Metadata, NewDataKey,
    NewEvent, Position, RecordedEvent, SecretChange, StreamAppend, StreamId,
};
use domain::{GatewayAggregate, GatewayEvent, Identity};
use serde_json::Value;
use uuid::Uuid;

use super::codec::{self, CodecError};
use super::context::{Context, Thread};
use super::error::CommandError;
use crate::clock::truncate_to_ms;
use crate::crypto::{DataKey, KeyRing, SubjectKey};

/// An aggregate that the bus can command: its commands can be decided again.
pub trait BusAggregate: GatewayAggregate<Command: Clone> + 'static {}

impl<A: GatewayAggregate<Command: Clone> + 'static> BusAggregate for A {}

/// An aggregate and where its stream stood.
#[derive(Clone, Debug)]
pub(super) struct State<A> {
    pub aggregate: A,
    pub sequence: u64,
    /// Of the stream's last event; 0 where there is none.
    pub position: Position,
    /// `None` where the stream has no event.
    pub thread: Option<Thread>,
    pub is_cached: bool,
}

impl<A: Default> Default for State<A> {
    fn default() -> Self {
        let (sequence, position) = (0, Position::default());
        Self { aggregate: A::default(), sequence, position, thread: None, is_cached: false }
    }
}

impl<A: BusAggregate> State<A> {
    pub fn fold(&mut self, event: &RecordedEvent) -> Result<(), FeedError> {
        if event.sequence != self.sequence + 1 {
            return Err(FeedError::Corrupt(format!(
                "{} goes on at sequence {} after {}",
                event.stream, event.sequence, self.sequence
            )));
        }
        self.aggregate.apply(event.decode()?);
        self.sequence = event.sequence;
        self.position = event.position;
        self.go_on(event.event_id, event.metadata.correlation_id);
        Ok(())
    }

    /// Notes the stream's next event.
    fn go_on(&mut self, event_id: Uuid, correlation_id: Uuid) {
        let correlation_id = self.thread.map_or(correlation_id, |thread| thread.correlation_id);
        self.thread = Some(Thread { correlation_id, event_id });
    }
}

pub(super) struct DraftEvent {
    event_id: Uuid,
    event_type: String,
    event_version: u32,
    payload: Value,
    metadata: Metadata,
    occurred_at: DateTime<Utc>,
}

/// What is to be written to one stream.
pub(super) struct DraftStream {
    pub stream: StreamId,
    pub expected: u64,
    pub events: Vec<DraftEvent>,
    /// Of the aggregate as it is after the events.
    pub subject: Option<Uuid>,
    workspace_id: Option<Uuid>,
    account_id: Option<Uuid>,
    before: BTreeSet<Identity>,
    after: BTreeSet<Identity>,
}

impl DraftStream {
    pub fn new<A: BusAggregate>(id: Uuid, aggregate: &A, sequence: u64) -> Self {
        let before = aggregate.identities();
        Self {
            stream: StreamId::new(A::AGGREGATE_TYPE, id),
            expected: sequence,
            events: Vec::new(),
            subject: aggregate.subject(),
            workspace_id: aggregate.workspace_id().map(|id| id.0),
            account_id: aggregate.account_id().map(|id| id.0),
            after: before.clone(),
            before,
        }
    }

    /// What it comes to hold and the suppression list is to be asked of.
    pub fn gained<A: BusAggregate>(&self) -> impl Iterator<Item = &Identity> {
        self.after.difference(&self.before).filter(|identity| A::may_be_suppressed(identity))
    }

    /// What it lets go of.
    pub fn released(&self) -> impl Iterator<Item = &Identity> {
        self.before.difference(&self.after)
    }

    /// Decides one command on `state`, whose stream this is, and notes what it led to. How many events it was; they share
    /// their cause. `next_id` gives them their ids.
    pub fn decide<A: BusAggregate>(
        &mut self,
        state: &mut State<A>,
        command: A::Command,
        context: &Context,
        next_id: impl Fn() -> Uuid,
    ) -> Result<usize, CommandError<A::Error>> {
        let events = state.aggregate.decide(command).map_err(CommandError::Domain)?;
        let (correlation_id, causation_id) = context.provenance(state.thread);
        let metadata =
            Metadata { actor: context.actor.clone(), correlation_id, causation_id, subject: None };
        let drafts = events
            .iter()
            .map(|event| DraftEvent::new(event, next_id(), metadata.clone()))
            .collect::<Result<Vec<_>, FeedError>>()?;
        if events.is_empty() {
            return Ok(0);
        }
        let count = events.len();
        for event in events {
            state.aggregate.apply(event);
        }
        for draft in &drafts {
            state.go_on(draft.event_id, draft.metadata.correlation_id);
        }
        state.sequence += count as u64;
        self.events.extend(drafts);
        self.subject = state.aggregate.subject();
        self.workspace_id = state.aggregate.workspace_id().map(|id| id.0);
        self.account_id = state.aggregate.account_id().map(|id| id.0);
        self.after = state.aggregate.identities();
        Ok(count)
    }
}

impl DraftEvent {
    fn new<E: GatewayEvent>(
        event: &E,
        event_id: Uuid,
        metadata: Metadata,
    ) -> Result<Self, FeedError> {
        let event_type = event.event_type();
        let version = event.event_version();
        let event_version = version.parse().map_err(|_| {
            FeedError::Corrupt(format!(
                "{event_type} has the version {version}, which is no number"
            ))
        })?;
        let payload = serde_json::to_value(event).map_err(|error| {
            FeedError::Corrupt(format!("{event_type} does not serialise: {error}"))
        })?;
        Ok(Self {
            event_id,
            event_type,
            event_version,
            payload,
            metadata,
            occurred_at: truncate_to_ms(event.occurred_at()),
        })
    }
}

/// With this event its subject's key goes, whichever way it was written.
pub(super) const ERASED: &str = "contact.erased";

/// What one command, or one transaction, writes.
#[derive(Default)]
pub(super) struct Draft {
    pub streams: Vec<DraftStream>,
    /// Beside those of the aggregates.
    pub identities: Vec<IdentityChange>,
    pub idempotency: Option<IdempotencyRecord>,
    pub destroy_keys: Vec<Uuid>,
    pub secrets: Vec<SecretChange>,
    pub fence: Option<Fence>,
}

impl Draft {
    pub fn of(stream: DraftStream, fence: Option<Fence>) -> Self {
        Self { streams: vec![stream], fence, ..Self::default() }
    }

    /// Whose keys sealing needs.
    pub fn subjects(&self) -> impl Iterator<Item = Uuid> {
        self.streams
            .iter()
            .filter(|stream| stream.events.iter().any(|event| codec::has_marks(&event.payload)))
            .filter_map(|stream| stream.subject)
    }
}

/// Keys for one append: those on record, and those made on the way, once per subject however many units need them.
pub(super) struct SealingKeys {
    keys: HashMap<Uuid, SubjectKey>,
    fresh: HashMap<Uuid, (DataKey, NewDataKey)>,
}

impl SealingKeys {
    pub fn new(keys: HashMap<Uuid, SubjectKey>) -> Self {
        Self { keys, fresh: HashMap::new() }
    }

    pub fn fresh_key(&self, subject: Uuid) -> Option<DataKey> {
        self.fresh.get(&subject).map(|(key, _)| key.clone())
    }

    /// The key, and its row where it is new. `None`: destroyed.
    fn get(&mut self, subject: Uuid, ring: &KeyRing) -> Option<(DataKey, Option<NewDataKey>)> {
        match self.keys.get(&subject) {
            Some(SubjectKey::Live(key)) => Some((key.clone(), None)),
            Some(SubjectKey::Destroyed) => None,
            Some(SubjectKey::Missing) | None => {
                let (key, row) =
                    self.fresh.entry(subject).or_insert_with(|| ring.new_key(subject)).clone();
                Some((key, Some(row)))
            }
        }
    }
}

/// Why a draft is no unit.
pub(super) enum SealError {
    /// It claims for one what it claims for another.
    IdentityTaken {
        kind: String,
        holder: Uuid,
    },
    Unwritable(FeedError),
}

/// Seals a draft.
pub(super) fn seal(
    mut draft: Draft,
    ring: &KeyRing,
    keys: &mut SealingKeys,
) -> Result<AppendUnit, SealError> {
    let mut identities = draft.identities;
    for stream in &draft.streams {
        identities.extend(identity_changes(stream, ring));
        if stream.events.iter().any(|event| event.event_type == ERASED)
            && !draft.destroy_keys.contains(&stream.stream.id)
        {
            draft.destroy_keys.push(stream.stream.id);
        }
    }
    check_claims(&identities)?;
    let mut unit = AppendUnit {
        identities,
        idempotency: draft.idempotency,
        secrets: draft.secrets,
        fence: draft.fence,
        ..AppendUnit::default()
    };
    for stream in draft.streams.into_iter().filter(|stream| !stream.events.is_empty()) {
        let key = |keys: &mut SealingKeys, subject| {
            // What is sealed for a key that goes in the same transaction could not be read again.
            if draft.destroy_keys.contains(&subject) { None } else { keys.get(subject, ring) }
        };
        let mut events = Vec::with_capacity(stream.events.len());
        for event in stream.events {
            let DraftEvent {
                event_id,
                event_type,
                event_version,
                payload,
                mut metadata,
                occurred_at,
            } = event;
            let sealed = if codec::has_marks(&payload) {
                let subject = stream.subject.ok_or_else(|| {
                    let problem = format!("{event_type} has personal data, but is about nobody");
                    SealError::Unwritable(FeedError::Corrupt(problem))
                })?;
                metadata.subject = Some(subject);
                match key(keys, subject) {
                    Some((key, row)) => {
                        if let Some(row) = row
                            && unit.new_keys.iter().all(|known| known.subject != subject)
                        {
                            unit.new_keys.push(row);
                        }
                        codec::seal_event(payload, event_id, &key)
                    }
                    None => codec::erase_event(payload),
                }
            } else {
                codec::erase_event(payload)
            };
            events.push(NewEvent {
                payload: sealed.map_err(|error| unwritable(&event_type, error))?,
                metadata,
                event_id,
                event_type,
                event_version,
                occurred_at,
            });
        }
        unit.streams.push(StreamAppend {
            stream: stream.stream,
            expected: stream.expected,
            workspace_id: stream.workspace_id,
            account_id: stream.account_id,
            events,
        });
    }
    unit.destroy_keys = draft.destroy_keys;
    Ok(unit)
}

fn unwritable(event_type: &str, error: CodecError) -> SealError {
    SealError::Unwritable(FeedError::Corrupt(format!("{event_type} cannot be written: {error}")))
}

fn identity_changes(stream: &DraftStream, ring: &KeyRing) -> Vec<IdentityChange> {
    let holder = stream.stream.id;
    let parts = |identity: &Identity| {
        let hash = ring.lookup_hash(identity.scope, identity.kind, &identity.value);
        (identity.scope, identity.kind.to_owned(), hash)
    };
    let released = stream.before.difference(&stream.after).map(|identity| {
        let (workspace_id, kind, hash) = parts(identity);
        IdentityChange::Release { workspace_id, kind, hash, holder }
    });
    let claimed = stream.after.difference(&stream.before).map(|identity| {
        let (workspace_id, kind, hash) = parts(identity);
        IdentityChange::Claim { workspace_id, kind, hash, holder }
    });
    released.chain(claimed).collect()
}

/// A store checks claims against what stands, so two within one unit are for us to tell apart.
fn check_claims(identities: &[IdentityChange]) -> Result<(), SealError> {
    let mut claims = HashMap::new();
    for change in identities {
        if let IdentityChange::Claim { workspace_id, kind, hash, holder } = change
            && let Some(other) = claims.insert((workspace_id, kind, hash), holder)
            && other != holder
        {
            return Err(SealError::IdentityTaken { kind: kind.clone(), holder: *other });
        }
    }
    Ok(())
}
