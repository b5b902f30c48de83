//! Merges from before a contact knew who had gone into it: written down once, so that those people are one as well.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::contact::{Contact, ContactCommand, ContactError};
use domain::port::EventFeed;
use domain::primitives::{Actor, ContactId};
use infrastructure::ledger::{CommandError, Context};
use projections::names;
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use super::people::People;
use crate::app::Gateway;

/// Whether it was done.
const DONE: &str = "contacts.absorbed";
/// Merges looked at together.
const PAGE: usize = 500;
const CATCH_UP: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(2);

/// Runs until it is done, or until `stop`. Repeating it is harmless, on several nodes at once too.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match write_down(&gateway).await {
            Ok(()) => return,
            Err(error) => {
                info!(error = %format!("{error:#}"), "older merges cannot be written down yet; trying again");
            }
        }
        tokio::select! {
            () = gateway.clock.sleep_for(AGAIN) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Tells everyone who stayed after a merge who went into them, where they do not know it.
///
/// # Errors
/// Where a store or the read model is away, or the read model is behind.
pub(crate) async fn write_down(gateway: &Gateway) -> anyhow::Result<()> {
    if gateway.store.meta.get(DONE).await?.is_some() {
        return Ok(());
    }
    let head = gateway.ledger.head().await?;
    gateway.read.wait_for(names::CONTACTS, head, CATCH_UP).await?;
    let mut after = None;
    loop {
        let merges = gateway.read.queries().merges(after, PAGE).await?;
        let merged: Vec<Uuid> = merges.iter().map(|(_, id)| *id).collect();
        let people = People::load(gateway, &merged).await?;
        let mut halves: HashMap<Uuid, BTreeSet<ContactId>> = HashMap::new();
        let merged = merged.iter().filter_map(|id| people.get(*id));
        for person in merged.filter(|person| person.is_unknown_half()) {
            halves.entry(person.id).or_default().insert(ContactId(person.addressee_id));
        }
        for (keeper, halves) in halves {
            absorb(gateway, keeper, halves).await?;
        }
        after = merges.last().copied();
        if merges.len() < PAGE {
            break;
        }
    }
    gateway.store.meta.set(DONE, "1").await?;
    Ok(())
}

async fn absorb(
    gateway: &Gateway,
    keeper: Uuid,
    halves: BTreeSet<ContactId>,
) -> anyhow::Result<()> {
    let now = gateway.clock.now();
    let context = Context::new(Actor::process("merges"), gateway.ids.next_id(now));
    let command = ContactCommand::Absorb { halves, at: now };
    match gateway.bus.execute::<Contact>(keeper, command, &context).await {
        Ok(_) => Ok(()),
        // Merged itself a moment ago: they went further, which is looked for anew.
        Err(error @ CommandError::Domain(ContactError::Merged)) => Err(error.into()),
        // Erased since, or more than may be.
        Err(CommandError::Domain(error)) => {
            warn!(contact.id = %keeper, %error, "who went into a contact was not written down");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
