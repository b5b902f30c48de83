//! Commands of one kind of aggregate on their way through the rounds: read, decide, append, and again for those that
//! lost.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use domain::Identity;
use domain::port::{FeedError, StreamId};
use uuid::Uuid;

use super::bus::{CommandBus, Committed, MAX_CONFLICT_RETRIES, Outcome};
use super::cache::Cached;
use super::context::Context;
use super::draft::{BusAggregate, Draft, DraftStream, State};
use super::error::CommandError;

type CommandResult<A> = Result<Committed<A>, CommandError<<A as cqrs_es::Aggregate>::Error>>;

pub(super) struct Run<'a, A: BusAggregate> {
    bus: &'a CommandBus,
    commands: Vec<(Uuid, A::Command, Context)>,
    /// For a single command.
    expected: Option<u64>,
    /// Whoever started this run holds the stream's queue.
    is_queued: bool,
    results: Vec<Option<CommandResult<A>>>,
}

/// The commands for one stream, by their index.
#[derive(Clone)]
struct Group {
    id: Uuid,
    members: Vec<usize>,
}

/// A group, decided.
struct Decided<A: BusAggregate> {
    group: Group,
    /// Position to be filled in.
    answers: Vec<CommandResult<A>>,
    draft: DraftStream,
    after: State<A>,
    was_cached: bool,
}

impl<A: BusAggregate> Decided<A> {
    /// Each command led to something: then the append tells whether the state was a true one.
    fn is_checked_by_append(&self) -> bool {
        self.answers.iter().all(|answer| matches!(answer, Ok(committed) if committed.events > 0))
    }
}

impl<'a, A: BusAggregate> Run<'a, A> {
    pub fn new(
        bus: &'a CommandBus,
        commands: Vec<(Uuid, A::Command, Context)>,
        expected: Option<u64>,
    ) -> Self {
        let results = commands.iter().map(|_| None).collect();
        Self { bus, commands, expected, is_queued: false, results }
    }

    /// An answer per command, in order.
    pub async fn finish(mut self) -> Vec<CommandResult<A>> {
        let mut open = self.groups();
        let mut _held = None;
        for round in 0..=MAX_CONFLICT_RETRIES {
            if open.is_empty() {
                break;
            }
            if round > 0
                && !self.is_queued
                && let [group] = open.as_slice()
            {
                // Losers of this process go on one after another instead of against each other.
                _held = Some(self.bus.queue(StreamId::new(A::AGGREGATE_TYPE, group.id)).await);
                self.is_queued = true;
            }
            open = match self.round(open.clone(), round == 0).await {
                Ok(stale) => stale,
                Err(error) => {
                    self.fail(&open, error);
                    break;
                }
            };
        }
        self.results
            .into_iter()
            .map(|result| result.unwrap_or(Err(CommandError::TooBusy)))
            .collect()
    }

    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut by_id = HashMap::new();
        for (member, (id, ..)) in self.commands.iter().enumerate() {
            let group = *by_id.entry(*id).or_insert_with(|| {
                groups.push(Group { id: *id, members: Vec::new() });
                groups.len() - 1
            });
            groups[group].members.push(member);
        }
        groups
    }

    /// What is answered for a failure of the store: those without an answer yet.
    fn fail(&mut self, open: &[Group], error: FeedError) {
        let error = Arc::new(error);
        for group in open {
            for &member in &group.members {
                self.results[member]
                    .get_or_insert_with(|| Err(CommandError::Unavailable(error.clone())));
            }
        }
    }

    /// Returns the groups that lost.
    async fn round(&mut self, open: Vec<Group>, may_guess: bool) -> Result<Vec<Group>, FeedError> {
        let ids: Vec<Uuid> = open.iter().map(|group| group.id).collect();
        let states = if may_guess {
            self.bus.guess_states::<A>(&ids).await?
        } else {
            self.bus.read_states::<A>(&ids).await?
        };
        let (mut decided, doubtful): (Vec<_>, Vec<_>) = self
            .decide_all(open, states)
            .into_iter()
            .partition(|decided| !decided.was_cached || decided.is_checked_by_append());
        if !doubtful.is_empty() {
            let groups: Vec<Group> = doubtful.into_iter().map(|decided| decided.group).collect();
            let ids: Vec<Uuid> = groups.iter().map(|group| group.id).collect();
            let states = self.bus.read_states::<A>(&ids).await?;
            decided.extend(self.decide_all(groups, states));
        }
        self.suppress(&mut decided).await?;
        let (writing, silent): (Vec<_>, Vec<_>) =
            decided.into_iter().partition(|decided| !decided.draft.events.is_empty());
        for decided in silent {
            self.answer(&decided.group, decided.answers, None);
        }
        if writing.is_empty() {
            return Ok(Vec::new());
        }
        let mut drafts = Vec::with_capacity(writing.len());
        let mut waiting = Vec::with_capacity(writing.len());
        for Decided { group, answers, draft, after, .. } in writing {
            let fence =
                group.members.iter().find_map(|member| self.commands[*member].2.fence.clone());
            waiting.push((group, answers, after, draft.subject));
            drafts.push(Draft::of(draft, fence));
        }
        let outcomes = self.bus.append(drafts).await?;
        let mut stale = Vec::new();
        for ((group, answers, after, subject), outcome) in waiting.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Appended { last } => {
                    self.remember(group.id, after, subject, last);
                    self.answer(&group, answers, Some(last));
                }
                Outcome::Stale => stale.push(group),
                outcome if group.members.len() == 1 => {
                    self.results[group.members[0]] = Some(Err(refused(outcome)));
                }
                // One of them stands in the others' way: each for itself, then.
                _ => self.one_by_one(&group).await,
            }
        }
        Ok(stale)
    }

    /// Decides what the suppression list asks for, after everything else that is decided for the same stream.
    async fn suppress(&self, decided: &mut [Decided<A>]) -> Result<(), FeedError> {
        let gained: BTreeSet<Identity> =
            decided.iter().flat_map(|decided| decided.draft.gained::<A>()).cloned().collect();
        let suppressed = self.bus.suppressed_of(gained).await?;
        for decided in decided {
            if !decided.draft.gained::<A>().any(|identity| suppressed.contains(identity)) {
                continue;
            }
            let now = self.bus.clock().now();
            let Some(command) = decided.after.aggregate.suppressed(now) else { continue };
            let mut answers = decided.group.members.iter().zip(&mut decided.answers).rev();
            let last = answers.find_map(|(member, answer)| Some((member, answer.as_mut().ok()?)));
            let Some((member, answer)) = last else { continue };
            let (_, _, context) = &self.commands[*member];
            let after = &mut decided.after;
            let events = decided.draft.decide(after, command, context, || self.bus.next_event_id());
            answer.events += events.map_err(unsuppressed)?;
            answer.aggregate = after.aggregate.clone();
            answer.sequence = after.sequence;
            answer.thread = after.thread;
        }
        Ok(())
    }

    fn decide_all(
        &self,
        groups: Vec<Group>,
        mut states: HashMap<Uuid, State<A>>,
    ) -> Vec<Decided<A>> {
        groups
            .into_iter()
            .map(|group| {
                let state = states.remove(&group.id).unwrap_or_default();
                self.decide(group, state)
            })
            .collect()
    }

    fn decide(&self, group: Group, mut state: State<A>) -> Decided<A> {
        let was_cached = state.is_cached;
        let mut draft = DraftStream::new(group.id, &state.aggregate, state.sequence);
        let answers = group
            .members
            .iter()
            .map(|&member| {
                let (id, command, context) = &self.commands[member];
                if let Some(expected) = self.expected.filter(|expected| *expected != state.sequence)
                {
                    return Err(CommandError::Conflict { expected, actual: state.sequence });
                }
                let events = draft
                    .decide(&mut state, command.clone(), context, || self.bus.next_event_id())?;
                Ok(Committed {
                    id: *id,
                    aggregate: state.aggregate.clone(),
                    sequence: state.sequence,
                    position: state.position,
                    events,
                    thread: state.thread,
                })
            })
            .collect();
        Decided { group, answers, draft, after: state, was_cached }
    }

    fn answer(
        &mut self,
        group: &Group,
        answers: Vec<CommandResult<A>>,
        position: Option<domain::port::Position>,
    ) {
        for (&member, mut answer) in group.members.iter().zip(answers) {
            if let (Ok(committed), Some(position)) = (&mut answer, position) {
                committed.position = position;
            }
            self.results[member] = Some(answer);
        }
    }

    fn remember(
        &self,
        id: Uuid,
        after: State<A>,
        subject: Option<Uuid>,
        position: domain::port::Position,
    ) {
        let as_of = self.bus.clock().since_boot();
        let cached = Cached::of(State { position, ..after }, subject, as_of);
        self.bus.cache().put(StreamId::new(A::AGGREGATE_TYPE, id), cached, self.bus.keys());
    }

    async fn one_by_one(&mut self, group: &Group) {
        for &member in &group.members {
            let command = vec![self.commands[member].clone()];
            let mut alone = Run::new(self.bus, command, None);
            alone.is_queued = self.is_queued;
            self.results[member] = Box::pin(alone.finish()).await.pop();
        }
    }
}

/// What the list asks for is never refused; if it were, the rest must not be written without it.
fn unsuppressed<E: std::fmt::Display>(error: CommandError<E>) -> FeedError {
    match error {
        CommandError::Domain(error) => {
            FeedError::Corrupt(format!("an opt-out that outlived an erasure was refused: {error}"))
        }
        _ => FeedError::Corrupt("an opt-out that outlived an erasure cannot be written".to_owned()),
    }
}

fn refused<E>(outcome: Outcome) -> CommandError<E> {
    match outcome {
        Outcome::IdentityTaken { kind, holder } => CommandError::IdentityTaken { kind, holder },
        Outcome::Fenced => CommandError::Fenced,
        Outcome::Unwritable(error) => error.into(),
        Outcome::Replayed(_) => {
            FeedError::Corrupt("the log replayed a unit without an idempotency key".to_owned())
                .into()
        }
        Outcome::Stale | Outcome::Appended { .. } => CommandError::TooBusy,
    }
}
