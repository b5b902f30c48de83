//! Taking an import back, person by person, in the order in which it reached them. May stop anywhere and be begun again:
//! what is done shows in the people's own streams.

use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::contact::{Contact, ContactCommand, ContactError};
use domain::import::{Import, ImportCommand};
use domain::port::{AggregateType, EventFeed, EventFilter, Fence, Position, StoredEvent, StreamId};
use domain::primitives::ImportId;
use futures::StreamExt;
use infrastructure::event_store::Lease;
use infrastructure::ledger::{CommandBus, CommandError, Context, TransactError};
use projections::{MessageFilter, Scope, names};
use tokio::sync::watch;
use tracing::info;
use uuid::Uuid;

use super::revert::{self, Reversal, Trace};
use super::{lease_name, process_context};
use crate::app::Gateway;
use crate::application::contacts;

const LEASE: Duration = Duration::from_secs(30);
/// Events of the log looked at together.
const PAGE: usize = 500;
/// People taken back at the same moment; their appends share a commit.
const AT_ONCE: usize = 32;
/// How long the read models may take to have seen everything that could stand on the import.
const CATCH_UP: Duration = Duration::from_secs(60);
/// A person who keeps changing while their import is taken back is judged anew, this often.
const ATTEMPTS: usize = 5;

#[derive(Default)]
struct Tally {
    removed: u64,
    reverted: u64,
    last: Position,
}

/// Takes an import back. `false`: the gateway stops; ask again after the next start.
///
/// # Errors
/// Where the store is away, another node is at it, or somebody keeps changing the same people. Repeat it.
pub(crate) async fn run(
    gateway: &Gateway,
    id: ImportId,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<bool> {
    let lease = gateway.store.leases.acquire(&lease_name(id), &gateway.node, LEASE).await?;
    let Some(lease) = lease else { bail!("another node is at this import") };
    let done = take_back(gateway, id, &lease, stop).await;
    gateway.store.leases.release(&lease).await?;
    done
}

async fn take_back(
    gateway: &Gateway,
    id: ImportId,
    lease: &Lease,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<bool> {
    let loaded = gateway.bus.load::<Import>(id.0).await?.context("there is no such import")?;
    loaded.aggregate.check_undo()?;
    if loaded.aggregate.undone_at.is_some() {
        return Ok(true);
    }
    let fence = Fence { lease: lease.name.clone(), epoch: lease.epoch };
    let context = process_context(id, &loaded, fence);
    // Messages that stand on a person come from a read model.
    let head = gateway.bus.ledger().head().await?;
    gateway.read.wait_for(names::MESSAGES, head, CATCH_UP).await?;
    let stream = StreamId::new(AggregateType::Import, id.0);
    let own = gateway.bus.ledger().log().read_streams(&[stream]).await?;
    let (first, last) = match (own.first(), own.last()) {
        (Some(first), Some(last)) => (first.position, last.position),
        _ => bail!("there is no such import"),
    };
    let filter = EventFilter {
        aggregate_types: vec![AggregateType::Contact],
        correlation_id: Some(id.0),
        ..EventFilter::default()
    };
    let mut tally = Tally::default();
    let mut after = first;
    while after < last {
        let page = gateway.bus.ledger().log().read_all(after, &filter, PAGE).await?;
        if *stop.borrow() {
            return Ok(false);
        }
        if gateway.store.leases.renew(std::slice::from_ref(lease), LEASE).await? != [true] {
            bail!("another node is at this import");
        }
        // What the undoing itself writes lies behind the import's end.
        let events: Vec<StoredEvent> =
            page.events.into_iter().filter(|event| event.position < last).collect();
        let mut done = futures::stream::iter(events)
            .map(|event| one(gateway, id, event, &context))
            .buffer_unordered(AT_ONCE);
        while let Some(done) = done.next().await {
            let (outcome, position) = done?;
            tally.last = tally.last.max(position);
            match outcome {
                Outcome::Removed => tally.removed += 1,
                Outcome::Reverted => tally.reverted += 1,
                Outcome::Kept => {}
            }
        }
        after = page.scanned_to;
        if page.at_head {
            break;
        }
    }
    if tally.removed > 0 {
        contacts::leave_no_trace(gateway, tally.last.max(head)).await?;
    }
    let command = ImportCommand::RecordUndone {
        contacts_removed: tally.removed,
        contacts_reverted: tally.reverted,
        at: gateway.clock.now(),
    };
    gateway.bus.execute::<Import>(id.0, command, &context).await?;
    info!(import.id = %id, removed = tally.removed, reverted = tally.reverted, "import undone");
    Ok(true)
}

enum Outcome {
    Removed,
    Reverted,
    Kept,
}

/// The person whom one of the import's events is about; each is judged at the import's first event on them.
async fn one(
    gateway: &Gateway,
    id: ImportId,
    event: StoredEvent,
    context: &Context,
) -> anyhow::Result<(Outcome, Position)> {
    let stream = event.stream;
    for _ in 0..ATTEMPTS {
        let events = gateway.bus.ledger().read_streams(&[stream]).await?;
        let is_ours = |correlation_id: Uuid| correlation_id == id.0;
        let first = events.iter().find(|event| is_ours(event.metadata.correlation_id));
        if first.is_none_or(|first| first.position != event.position) {
            return Ok((Outcome::Kept, Position::default()));
        }
        let position = events.last().map(|event| event.position).unwrap_or_default();
        let sequence = events.last().map_or(0, |event| event.sequence);
        let traces = events
            .iter()
            .map(|event| {
                Ok(Trace {
                    is_ours: is_ours(event.metadata.correlation_id),
                    event: event.decode()?,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (outcome, commands) = match revert::judge(id, &traces, gateway.clock.now()) {
            Reversal::Keep => return Ok((Outcome::Kept, position)),
            Reversal::Removed => return Ok((Outcome::Removed, position)),
            Reversal::Reverted => return Ok((Outcome::Reverted, position)),
            Reversal::Remove(_) if has_messages(gateway, stream.id).await? => {
                return Ok((Outcome::Kept, position));
            }
            Reversal::Remove(commands) => (Outcome::Removed, commands),
            Reversal::Revert(commands) => (Outcome::Reverted, commands),
        };
        match write(&gateway.bus, stream.id, sequence, commands.clone(), context).await {
            Ok(position) => return Ok((outcome, position)),
            Err(TransactError::Command(CommandError::Conflict { .. }) | TransactError::TooBusy) => {
            }
            Err(TransactError::IdentityTaken { .. }) => {
                let commands = revert::without_identities(commands);
                match write(&gateway.bus, stream.id, sequence, commands, context).await {
                    Ok(position) => return Ok((outcome, position)),
                    Err(
                        TransactError::Command(CommandError::Conflict { .. })
                        | TransactError::TooBusy,
                    ) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    bail!("somebody keeps changing a contact of this import")
}

/// Only if the person is still as they were judged.
async fn write(
    bus: &CommandBus,
    id: Uuid,
    sequence: u64,
    commands: Vec<ContactCommand>,
    context: &Context,
) -> Result<Position, TransactError<CommandError<ContactError>>> {
    let ((), position) = bus
        .transact(context, None, |tx| {
            let commands = commands.clone();
            Box::pin(async move {
                for command in commands {
                    tx.execute_expecting::<Contact>(id, Some(sequence), command).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(position)
}

async fn has_messages(gateway: &Gateway, contact_id: Uuid) -> anyhow::Result<bool> {
    let filter = MessageFilter { contact_ids: Some(vec![contact_id]), ..MessageFilter::default() };
    Ok(gateway.read.queries().count_messages(&Scope::everything(), &filter).await?.count > 0)
}
