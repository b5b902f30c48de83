//! One step of an import: some hundred rows judged on the people as they are now, and written in one append.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::Identity;
use domain::contact::{Contact, ContactCommand};
use domain::import::ImportRowError;
use domain::port::FeedError;
use infrastructure::import::ContactRow;
use infrastructure::ledger::{CommandBus, CommandError, Context};
use uuid::Uuid;

use super::plan::{self, People, Rules, Verdict};

/// Identities that a dry run remembers having given out, at most: about 50 MB. Of a file with more, rows that only
/// repeat an earlier one of the same file may count as added.
const REHEARSED_IDENTITIES_MAX: usize = 1_800_000;

pub(crate) type RowVerdict = Result<Verdict, ImportRowError>;

/// Why a step was not done; repeating it is safe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("the import is another node's by now")]
    Fenced,
    #[error("too many others write to the same contacts")]
    TooBusy,
    #[error("the event log is unavailable")]
    Unavailable(#[source] Arc<FeedError>),
}

impl From<FeedError> for StepError {
    fn from(error: FeedError) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

/// What a dry run would have done so far: nothing of it is in the log, and later rows may be about the same people.
pub(crate) struct Rehearsal {
    hasher: RandomState,
    holders: HashMap<u64, Uuid>,
}

impl Rehearsal {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), holders: HashMap::new() }
    }

    fn key(&self, identity: &Identity) -> u64 {
        self.hasher.hash_one((identity.kind, &identity.value))
    }

    fn holder(&self, identity: &Identity) -> Option<Uuid> {
        self.holders.get(&self.key(identity)).copied()
    }

    fn note(&mut self, claimed: &[(Identity, Uuid)]) {
        for (identity, holder) in claimed {
            if self.holders.len() < REHEARSED_IDENTITIES_MAX {
                self.holders.insert(self.key(identity), *holder);
            }
        }
    }
}

/// Judges rows and does nothing.
pub(crate) async fn rehearse(
    bus: &CommandBus,
    rules: &Rules,
    rows: &[ContactRow],
    rehearsal: &mut Rehearsal,
    at: DateTime<Utc>,
) -> Result<Vec<RowVerdict>, StepError> {
    let mut people = people_of(bus, rules, rows, false, Some(rehearsal)).await?;
    let verdicts =
        rows.iter().map(|row| people.plan(rules, row, at).map(|planned| planned.verdict)).collect();
    rehearsal.note(&people.claimed);
    Ok(verdicts)
}

/// Judges rows and does what they say. `is_first`: some of it may have been done before a crash.
pub(crate) async fn apply(
    bus: &CommandBus,
    rules: &Rules,
    rows: &[ContactRow],
    is_first: bool,
    context: &Context,
    at: DateTime<Utc>,
) -> Result<Vec<RowVerdict>, StepError> {
    let mut people = people_of(bus, rules, rows, is_first, None).await?;
    let mut verdicts = Vec::with_capacity(rows.len());
    let mut commands = Vec::with_capacity(rows.len() * 2);
    let mut row_of_command = Vec::with_capacity(rows.len() * 2);
    for (index, row) in rows.iter().enumerate() {
        verdicts.push(people.plan(rules, row, at).map(|planned| {
            row_of_command.extend(planned.commands.iter().map(|_| index));
            let id = planned.contact_id;
            commands
                .extend(planned.commands.into_iter().map(|command| (id, command, context.clone())));
            planned.verdict
        }));
    }
    let mut lost = BTreeSet::new();
    for (result, index) in
        bus.execute_many::<Contact>(commands).await.into_iter().zip(row_of_command)
    {
        match result {
            Ok(_) => {}
            Err(CommandError::Fenced) => return Err(StepError::Fenced),
            Err(CommandError::Unavailable(error)) => return Err(StepError::Unavailable(error)),
            Err(_) => drop(lost.insert(index)),
        }
    }
    // Somebody else changed these people at the same moment: once more, each on what is true now.
    for index in lost {
        verdicts[index] = apply_one(bus, rules, &rows[index], context, at).await?;
    }
    Ok(verdicts)
}

async fn apply_one(
    bus: &CommandBus,
    rules: &Rules,
    row: &ContactRow,
    context: &Context,
    at: DateTime<Utc>,
) -> Result<RowVerdict, StepError> {
    let mut people = people_of(bus, rules, std::slice::from_ref(row), true, None).await?;
    let planned = match people.plan(rules, row, at) {
        Ok(planned) => planned,
        Err(error) => return Ok(Err(error)),
    };
    let with_context = |command: ContactCommand| (planned.contact_id, command, context.clone());
    let commands = planned.commands.into_iter().map(with_context).collect();
    for result in bus.execute_many::<Contact>(commands).await {
        match result {
            Ok(_) => {}
            Err(CommandError::Domain(error)) => return Ok(Err(plan::refused(&error, row))),
            Err(CommandError::IdentityTaken { kind, .. }) => {
                return Ok(Err(plan::taken(&kind, row)));
            }
            Err(CommandError::Conflict { .. } | CommandError::TooBusy) => {
                return Err(StepError::TooBusy);
            }
            Err(CommandError::Fenced) => return Err(StepError::Fenced),
            Err(CommandError::Unavailable(error)) => return Err(StepError::Unavailable(error)),
        }
    }
    Ok(Ok(planned.verdict))
}

/// Everybody the rows are about. `with_own`: also those whom these very rows may have added already.
async fn people_of(
    bus: &CommandBus,
    rules: &Rules,
    rows: &[ContactRow],
    with_own: bool,
    rehearsal: Option<&Rehearsal>,
) -> Result<People, StepError> {
    let identities: BTreeSet<Identity> =
        rows.iter().flat_map(|row| rules.identities(row)).collect();
    let identities: Vec<Identity> = identities.into_iter().collect();
    let holders = bus.resolve_identities(&identities).await?;
    let mut people = People::default();
    let mut free = Vec::new();
    for (identity, holder) in identities.into_iter().zip(holders) {
        match holder {
            Some(holder) => drop(people.holders.insert(identity, holder)),
            None => free.push(identity),
        }
    }
    let mut ids: BTreeSet<Uuid> = people.holders.values().copied().collect();
    if with_own {
        ids.extend(rows.iter().map(|row| rules.contact_id(row.row).0));
    }
    let ids: Vec<Uuid> = ids.into_iter().collect();
    if !ids.is_empty() {
        let loaded = bus.load_many::<Contact>(&ids).await?;
        people.contacts = loaded.into_iter().map(|(id, loaded)| (id, loaded.aggregate)).collect();
    }
    if let Some(rehearsal) = rehearsal {
        for identity in &free {
            let Some(holder) = rehearsal.holder(identity) else { continue };
            people.holders.insert(identity.clone(), holder);
            // Nobody in truth: only that they are there counts.
            people.contacts.entry(holder).or_insert_with(|| Contact {
                workspace_id: Some(rules.workspace_id),
                ..Contact::default()
            });
        }
    }
    Ok(people)
}
