//! Statuses: found by our own callback data, else by WhatsApp's message id, and recorded many at a time. One whose message
//! is not known yet is parked.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::message::{DeliveryStatus, Message, MessageCommand, MessageError, StatusReport};
use domain::port::FeedError;
use domain::primitives::{AccountId, Actor, MessageId, Wamid};
use infrastructure::cloud_api::error::{Consequence, ErrorContext, ErrorPath};
use infrastructure::ledger::{CommandError, Context};
use infrastructure::webhook::interpret::{
    Callback, Interpreted, Item, StatusItem, interpret_bytes,
};
use infrastructure::webhook::journal::{JournalId, ParkedItem};
use projections::Scope;
use tracing::debug;
use uuid::Uuid;

use crate::app::Gateway;
use crate::worker::dispatch::{
    Effect, EffectTarget, apply_effects, effects_of, failure_of, retry_after,
};

/// A status with its place in the journal.
struct Pending {
    account_id: AccountId,
    journal_id: JournalId,
    path: String,
    at: DateTime<Utc>,
    status: DeliveryStatus,
    item: StatusItem,
}

/// The statuses of a page.
#[derive(Default)]
pub struct Statuses(Vec<Pending>);

impl Statuses {
    /// Keeps a status for the end of the page. Words that this version does not know stay in the journal.
    pub fn push(
        &mut self,
        account_id: AccountId,
        journal_id: JournalId,
        path: String,
        at: DateTime<Utc>,
        item: StatusItem,
    ) {
        let Some(status) = item.status.known().copied().filter(|_| !item.is_group) else {
            count("ignored");
            return;
        };
        if item.callback == Callback::Foreign {
            count("foreign");
            return;
        }
        self.0.push(Pending { account_id, journal_id, path, at, status, item });
    }

    /// Records them all in one append.
    pub async fn apply(self, gateway: &Gateway) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let by_wamid = messages_by_wamid(gateway, &self.0).await?;
        let mut found: Vec<(MessageId, Pending)> = vec![];
        let mut unknown: Vec<Pending> = vec![];
        for pending in self.0 {
            let message_id = match pending.item.callback {
                Callback::Ours(sent_as) => Some(sent_as.message_id),
                _ => by_wamid.get(pending.item.wamid.as_str()).copied(),
            };
            match message_id {
                Some(message_id) => found.push((message_id, pending)),
                None => unknown.push(pending),
            }
        }
        let ids: Vec<Uuid> =
            found.iter().map(|(id, _)| id.0).collect::<HashSet<_>>().into_iter().collect();
        let messages = gateway.bus.load_many::<Message>(&ids).await?;
        let now = gateway.clock.now();
        let mut commands = vec![];
        let mut effects: Vec<(Vec<Effect>, EffectTarget, Context)> = vec![];
        for (message_id, pending) in found {
            let header =
                messages.get(&message_id.0).and_then(|loaded| loaded.aggregate.header.as_ref());
            let Some(header) = header else {
                unknown.push(pending);
                continue;
            };
            if header.account_id != pending.account_id {
                // Somebody names another account's message: no word of theirs counts.
                count("foreign");
                continue;
            }
            let context = context(gateway, now);
            let attempt = match pending.item.callback {
                Callback::Ours(sent_as) => Some(sent_as.attempt),
                _ => None,
            };
            let consequence = consequence(&pending);
            let (failure, retry_at) = match &consequence {
                Some(consequence) => {
                    let number = attempt.unwrap_or(1);
                    let target = EffectTarget {
                        account_id: pending.account_id,
                        contact_id: Some(header.contact_id),
                        template_id: header.template.as_ref().map(|template| template.id),
                    };
                    let random = gateway.ids.random();
                    effects.push((
                        effects_of(consequence, number, now, random),
                        target,
                        context.clone(),
                    ));
                    (Some(failure_of(consequence)), retry_after(consequence, number, now, random))
                }
                None => (pending.item.failure.clone(), None),
            };
            let report = StatusReport {
                attempt,
                wamid: pending.item.wamid,
                status: pending.status,
                pricing: pending.item.pricing,
                failure,
                retry_at,
                at: pending.at,
            };
            commands.push((message_id.0, MessageCommand::RecordStatus(Box::new(report)), context));
        }
        for result in gateway.bus.execute_many::<Message>(commands).await {
            match result {
                Ok(committed) => count(if committed.events == 0 { "known" } else { "recorded" }),
                Err(CommandError::Domain(MessageError::UnknownAttempt { .. })) => count("foreign"),
                Err(CommandError::Unavailable(error)) => {
                    return Err(FeedError::Unavailable(Box::new(error)).into());
                }
                Err(error) => {
                    count("failed");
                    debug!(%error, "a status was refused");
                }
            }
        }
        for (effects, target, context) in effects {
            apply_effects(gateway, &effects, target, &context).await;
        }
        park(gateway, unknown, now).await
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("gateway_webhook_items_total", "outcome" => outcome).increment(1);
}

fn context(gateway: &Gateway, now: DateTime<Utc>) -> Context {
    Context::new(Actor::whatsapp(), gateway.ids.next_id(now))
}

/// What a failed status means, by its code.
fn consequence(pending: &Pending) -> Option<Consequence> {
    let code = pending.item.failure.as_ref().and_then(|failure| failure.code)?;
    (pending.status == DeliveryStatus::Failed)
        .then(|| Consequence::of_code(code, ErrorPath::FailedStatus, ErrorContext::default()))
}

async fn messages_by_wamid(
    gateway: &Gateway,
    pending: &[Pending],
) -> anyhow::Result<HashMap<String, MessageId>> {
    let wamids: Vec<&Wamid> = pending
        .iter()
        .filter(|pending| pending.item.callback == Callback::None)
        .map(|pending| &pending.item.wamid)
        .collect();
    let mut found = HashMap::new();
    for wamid in wamids {
        if let Some(stored) =
            gateway.read.queries().message_by_wamid(&Scope::everything(), wamid).await?
        {
            found.insert(wamid.as_str().to_owned(), MessageId(stored.id));
        }
    }
    Ok(found)
}

/// Keeps where the status stands until its message is known.
async fn park(gateway: &Gateway, unknown: Vec<Pending>, now: DateTime<Utc>) -> anyhow::Result<()> {
    if unknown.is_empty() {
        return Ok(());
    }
    let parked = unknown
        .into_iter()
        .map(|pending| ParkedItem {
            id: 0,
            account_id: pending.account_id,
            wamid_hash: wamid_hash(gateway, pending.account_id, &pending.item.wamid),
            journal_id: pending.journal_id,
            item_path: pending.path,
            received_at: now,
        })
        .collect::<Vec<_>>();
    gateway.journal.park(&parked).await?;
    Ok(())
}

/// Records statuses that were parked under these wamids, whose messages are known by now.
///
/// # Errors
/// Where a store is away: they stay parked.
pub async fn settle_parked(
    gateway: &Gateway,
    account_id: AccountId,
    wamids: &[Wamid],
) -> anyhow::Result<()> {
    if wamids.is_empty() {
        return Ok(());
    }
    let hashes: Vec<Vec<u8>> =
        wamids.iter().map(|wamid| wamid_hash(gateway, account_id, wamid)).collect();
    let parked = gateway.journal.find_parked(&hashes).await?;
    if parked.is_empty() {
        return Ok(());
    }
    let mut statuses = Statuses::default();
    let mut done = vec![];
    for item in parked.into_iter().filter(|item| item.account_id == account_id) {
        done.push(item.id);
        let Some(entry) = gateway.journal.read(item.journal_id).await? else { continue };
        // Past its retention: nothing is left to settle.
        let Some(body) = entry.body.bytes() else { continue };
        let found = interpret_bytes(body, entry.received_at)
            .into_iter()
            .find(|found| found.path == item.item_path);
        if let Some(Interpreted { item: Item::Status(status), at, path, .. }) = found {
            statuses.push(account_id, item.journal_id, path, at, *status);
        }
    }
    statuses.apply(gateway).await?;
    gateway.journal.unpark(&done).await?;
    Ok(())
}

fn wamid_hash(gateway: &Gateway, account_id: AccountId, wamid: &Wamid) -> Vec<u8> {
    gateway.keys.lookup_hash(account_id.0, "wamid", wamid.as_str())
}
