//! The webhook process manager: reads the journal in order and turns each item into commands. One broken item costs only
//! itself, everything may be told twice, and nothing that cannot be placed is lost: it stays in the journal, or is parked
//! until its message is known.

mod answer;
mod apply;
mod error;
pub(crate) mod person;
pub(crate) mod route;
mod status;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use infrastructure::webhook::interpret::{Interpreted, interpret_bytes};
use infrastructure::webhook::journal::{JournalEntry, JournalError, JournalId};
use tokio::sync::watch;
use tracing::warn;

use crate::app::Gateway;
use answer::Answers;
use error::ItemError;
use route::Routes;
use status::Statuses;

pub use answer::refused as stop_showed_in_refusal;
pub use status::{settle_parked, sweep_parked};

const LEASE_NAME: &str = "webhooks";
const LEASE: Duration = Duration::from_secs(12);
/// Journal entries interpreted at once; their statuses share one append.
const PAGE: usize = 500;
const IDLE: chrono::Duration = chrono::Duration::milliseconds(250);
/// A page of so many entries shows a busy journal …
const BUSY: usize = 32;
/// … which is then left to gather for this long: what a page leads to is appended at once. The machine's time, not the
/// domain's, so no clock is asked.
const GATHER: Duration = Duration::from_millis(50);
/// The journal's cursor of this process manager.
pub const CURSOR: &str = "interpretation";
/// How far the journal had been interpreted when it was last sent back: what lies before is interpreted again.
const INTERPRETED: &str = "interpreted before";
/// How often going back tries, beside an interpretation that moves on.
const RETURNS_MAX: usize = 20;

/// What a look at the journal led to.
enum Look {
    /// There is more.
    More,
    /// There will be more in a moment.
    Busy,
    /// Everything up to here is interpreted.
    Idle(JournalId),
    /// Another node interprets, or a store is away: look again in a moment.
    Wait,
}

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut held = None;
    while !*stop.borrow() {
        let acquired = gateway.store.leases.acquire(LEASE_NAME, &gateway.node, LEASE).await;
        held = acquired.as_ref().ok().cloned().flatten();
        let look = match &held {
            Some(_) => page(&gateway).await.unwrap_or_else(|error| {
                let error = anyhow::Error::from(error);
                warn!(error = %format!("{error:#}"), "webhooks could not be interpreted; trying again");
                Look::Wait
            }),
            None => Look::Wait,
        };
        let is_behind = matches!(look, Look::More);
        gateway.local.has_webhooks_waiting.store(is_behind, Ordering::Relaxed);
        let pause = gateway.clock.sleep_until(gateway.clock.now() + IDLE);
        match look {
            Look::More => {}
            Look::Busy => tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                _ = stop.changed() => {}
            },
            Look::Idle(seen) => tokio::select! {
                () = pause => {}
                () = gateway.journal.changed(seen) => {}
                _ = stop.changed() => {}
            },
            Look::Wait => tokio::select! {
                () = pause => {}
                _ = stop.changed() => {}
            },
        }
    }
    if let Some(lease) = held
        && let Err(error) = gateway.store.leases.release(&lease).await
    {
        warn!(%error, "the webhooks' lease was not given back; it runs out by itself");
    }
}

/// Interprets one page of the journal.
async fn page(gateway: &Gateway) -> Result<Look, ItemError> {
    let cursor = gateway.journal.cursor(CURSOR).await?;
    let entries = gateway.journal.read_after(cursor, PAGE).await?;
    let Some(last) = entries.last().map(|entry| entry.id) else { return Ok(Look::Idle(cursor)) };
    let interpreted = gateway.journal.cursor(INTERPRETED).await?;
    apply_entries(gateway, &entries, interpreted).await?;
    // Another node may have been here; then this was told twice, which is harmless.
    gateway.journal.move_cursor(CURSOR, cursor, last).await?;
    Ok(match entries.len() {
        PAGE.. => Look::More,
        BUSY.. => Look::Busy,
        _ => Look::Idle(last),
    })
}

/// What was asked for when the journal was to be interpreted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return {
    /// Interpreted so far.
    pub from: JournalId,
    /// Goes on after this.
    pub to: JournalId,
}

/// Sends the interpretation back to `to`; the process manager goes on from there by itself. Nothing that is on record
/// already changes by it. `None`: it has not come further than that anyway.
///
/// # Errors
/// Where the journal is away; nothing has changed then that repeating it would not change.
pub async fn interpret_again(
    gateway: &Gateway,
    to: JournalId,
) -> Result<Option<Return>, JournalError> {
    for _ in 0..RETURNS_MAX {
        let from = gateway.journal.cursor(CURSOR).await?;
        if from <= to {
            return Ok(None);
        }
        // Before the cursor moves: whatever is read after that is known to be read again.
        let known = gateway.journal.cursor(INTERPRETED).await?;
        if known < from && !gateway.journal.move_cursor(INTERPRETED, known, from).await? {
            continue;
        }
        if gateway.journal.move_cursor(CURSOR, from, to).await? {
            return Ok(Some(Return { from, to }));
        }
    }
    Err(JournalError::Unavailable("the interpretation moves on all the time".into()))
}

/// Interprets entries in order: everything else at once, statuses together at the end, since they are many and concern
/// only messages; and then what people did about messages, by what the statuses said.
async fn apply_entries(
    gateway: &Gateway,
    entries: &[JournalEntry],
    interpreted: JournalId,
) -> Result<(), ItemError> {
    let mut routes = Routes::new(gateway);
    let mut statuses = Statuses::default();
    let mut answers = Answers::default();
    for entry in entries {
        // A destroyed day key: the entry is past its retention.
        let Some(body) = entry.body.bytes() else { continue };
        let mut foreign = 0;
        let is_again = entry.id <= interpreted;
        for item in interpret_bytes(body, entry.received_at) {
            let path = item.path.clone();
            if is_again && !apply::may_come_again(&item.item) {
                continue;
            }
            let page = Page { statuses: &mut statuses, answers: &mut answers };
            match apply_item(gateway, &mut routes, page, entry, item, &mut foreign).await {
                Ok(()) => {}
                Err(error @ ItemError::StoreAway(_)) => return Err(error),
                Err(ItemError::Refused(error)) => {
                    metrics::counter!("gateway_webhook_items_total", "outcome" => "failed")
                        .increment(1);
                    warn!(journal.id = %entry.id, path, error = %format!("{error:#}"), "an item of a webhook could not be applied; it stays in the journal");
                }
            }
        }
        if foreign > 0 {
            gateway.journal.mark_foreign(entry.id, foreign).await?;
        }
    }
    statuses.apply(gateway).await?;
    answers.apply(gateway).await
}

/// What is applied at the end of a page.
struct Page<'a> {
    statuses: &'a mut Statuses,
    answers: &'a mut Answers,
}

async fn apply_item(
    gateway: &Gateway,
    routes: &mut Routes<'_>,
    page: Page<'_>,
    entry: &JournalEntry,
    item: Interpreted,
    foreign: &mut u32,
) -> Result<(), ItemError> {
    let targets = routes.of(entry.account_id, &item).await?;
    if targets.is_empty() {
        *foreign += 1;
        metrics::counter!("gateway_webhook_items_total", "outcome" => "foreign").increment(1);
        return Ok(());
    }
    apply::item(gateway, &targets, page, entry, item).await
}
