//! Statuses: found by our own callback data, else by WhatsApp's message id, and recorded many at a time. One whose message
//! is not known yet is parked.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::account::Account;
use domain::message::{
    DeliveryStatus, Message, MessageCommand, MessageError, OptOutSign, StatusReport,
};
use domain::port::FeedError;
use domain::primitives::{AccountId, Actor, MessageId, Wamid};
use infrastructure::cloud_api::error::{Consequence, ErrorContext, ErrorPath};
use infrastructure::ledger::{CommandError, Context};
use infrastructure::webhook::interpret::{
    Callback, Interpreted, Item, StatusItem, interpret_bytes,
};
use infrastructure::webhook::journal::{JournalId, ParkedItem};
use projections::Scope;
use tracing::{debug, warn};
use uuid::Uuid;

use super::answer::{self, Sign, Stage, What};
use super::error::ItemError;
use super::person;
use super::route::Target;
use crate::app::Gateway;
use crate::worker::dispatch::{
    EffectTarget, Word, effects_of, failure_of, record_words, retry_after,
};

/// Parked statuses looked at together.
const SWEEP_PAGE: usize = 200;

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

    /// Records them, as many as may in one append, and parks those whose message nobody knows.
    pub async fn apply(self, gateway: &Gateway) -> Result<(), ItemError> {
        let Recorded { unknown, named } = self.record(gateway, &HashMap::new()).await?;
        park(gateway, unknown).await?;
        for (account_id, known) in named {
            settle_parked(gateway, account_id, &known).await?;
        }
        Ok(())
    }

    /// Records those whose message is known, by our callback data, by `known`, or by the read model; answers the others.
    async fn record(
        self,
        gateway: &Gateway,
        known: &HashMap<String, MessageId>,
    ) -> Result<Recorded, ItemError> {
        let mut named: HashMap<AccountId, HashMap<String, MessageId>> = HashMap::new();
        if self.0.is_empty() {
            return Ok(Recorded { unknown: vec![], named });
        }
        let by_wamid = messages_by_wamid(gateway, &self.0, known).await?;
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
        // What follows from a failure goes by how many there were before: that is asked of the log itself. For all else, what
        // is decided on memory is checked by the append.
        let has_failed = |pending: &Pending| pending.status == DeliveryStatus::Failed;
        let ids = |failed: bool| -> HashSet<Uuid> {
            let those = found.iter().filter(|(_, pending)| has_failed(pending) == failed);
            those.map(|(id, _)| id.0).collect()
        };
        let mut messages = readable_messages(gateway, ids(false), Duration::MAX).await?;
        messages.extend(readable_messages(gateway, ids(true), Duration::ZERO).await?);
        let now = gateway.clock.now();
        let mut words = vec![];
        for (message_id, pending) in found {
            let message = match messages.get(&message_id.0) {
                Some(Ok(message)) => message,
                Some(Err(Unreadable)) => {
                    count("failed");
                    continue;
                }
                None => {
                    unknown.push(pending);
                    continue;
                }
            };
            let Some(header) = &message.header else {
                unknown.push(pending);
                continue;
            };
            if header.account_id != pending.account_id {
                // Somebody names another account's message: no word of theirs counts.
                count("foreign");
                continue;
            }
            if message.wamid().is_none() {
                // The answer to our call never came: what people said to it may wait for this.
                let wamid = pending.item.wamid.as_str().to_owned();
                named.entry(pending.account_id).or_default().insert(wamid, message_id);
            }
            let context = context(gateway, now);
            let attempt = match pending.item.callback {
                Callback::Ours(sent_as) => Some(sent_as.attempt),
                _ => None,
            };
            let consequence = consequence(&pending);
            // Refusals of the same kind alone use up the tries.
            let number = message
                .refusals(
                    consequence.as_ref().and_then(|consequence| consequence.code),
                    attempt.unwrap_or(message.attempt_count()),
                )
                .saturating_add(1);
            let random = gateway.ids.random();
            let (failure, retry_at) = match &consequence {
                Some(consequence) => {
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
            words.push(Word {
                message_id: message_id.0,
                command: MessageCommand::RecordStatus(Box::new(report)),
                context,
                effects: consequence
                    .map(|consequence| effects_of(&consequence, number, now, random))
                    .unwrap_or_default(),
                target: EffectTarget {
                    account_id: pending.account_id,
                    contact_id: Some(header.contact_id),
                    template_id: header.template.as_ref().map(|template| template.id),
                    message_id: Some(message_id),
                },
                always: false,
            });
        }
        for result in record_words(gateway, words).await {
            match result {
                Ok(committed) => count(if committed.events == 0 { "known" } else { "recorded" }),
                Err(CommandError::Domain(MessageError::UnknownAttempt { .. })) => count("foreign"),
                Err(error) => match ItemError::from(error) {
                    error @ ItemError::StoreAway(_) => return Err(error),
                    ItemError::Refused(error) => {
                        count("failed");
                        debug!(error = %format!("{error:#}"), "a status was refused");
                    }
                },
            }
        }
        Ok(Recorded { unknown, named })
    }
}

/// What recording statuses led to.
struct Recorded {
    /// Nobody knows their message.
    unknown: Vec<Pending>,
    /// Messages whose wamid was learnt from a status.
    named: HashMap<AccountId, HashMap<String, MessageId>>,
}

/// A stream that this version cannot read.
struct Unreadable;

/// Each message that exists; one that cannot be read costs no other.
async fn readable_messages(
    gateway: &Gateway,
    ids: HashSet<Uuid>,
    age: Duration,
) -> Result<HashMap<Uuid, Result<Message, Unreadable>>, ItemError> {
    let ids: Vec<Uuid> = ids.into_iter().collect();
    match gateway.bus.recall_many::<Message>(&ids, age).await {
        Ok(loaded) => Ok(loaded.into_iter().map(|(id, it)| (id, Ok(it.aggregate))).collect()),
        Err(FeedError::Corrupt(_)) => {
            let mut messages = HashMap::with_capacity(ids.len());
            for id in ids {
                match gateway.bus.load::<Message>(id).await {
                    Ok(Some(loaded)) => drop(messages.insert(id, Ok(loaded.aggregate))),
                    Ok(None) => {}
                    Err(FeedError::Corrupt(problem)) => {
                        warn!(message.id = %id, problem, "a message cannot be read");
                        messages.insert(id, Err(Unreadable));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(messages)
        }
        Err(error) => Err(error.into()),
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("gateway_webhook_items_total", "outcome" => outcome).increment(1);
}

/// What WhatsApp reports of a message is part of whatever the message is part of.
fn context(gateway: &Gateway, now: DateTime<Utc>) -> Context {
    Context::new(Actor::whatsapp(), gateway.ids.next_id(now)).following()
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
    known: &HashMap<String, MessageId>,
) -> Result<HashMap<String, MessageId>, ItemError> {
    let wamids: Vec<&Wamid> = pending
        .iter()
        .filter(|pending| pending.item.callback == Callback::None)
        .map(|pending| &pending.item.wamid)
        .collect();
    let mut found = known.clone();
    for wamid in wamids {
        if known.contains_key(wamid.as_str()) {
            continue;
        }
        if let Some(stored) =
            gateway.read.queries().message_by_wamid(&Scope::everything(), wamid).await?
        {
            found.insert(wamid.as_str().to_owned(), MessageId(stored.id));
        }
    }
    Ok(found)
}

/// Keeps where the statuses stand until their messages are known.
async fn park(gateway: &Gateway, unknown: Vec<Pending>) -> Result<(), ItemError> {
    let now = gateway.clock.now();
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
    Ok(gateway.journal.park(&parked).await?)
}

/// Records statuses that were parked under these messages' wamids, and what people did about them.
///
/// # Errors
/// Where a store is away: they stay parked.
pub async fn settle_parked(
    gateway: &Gateway,
    account_id: AccountId,
    known: &HashMap<String, MessageId>,
) -> Result<(), ItemError> {
    if known.is_empty() {
        return Ok(());
    }
    let hashes: Vec<Vec<u8>> = known
        .keys()
        .filter_map(|wamid| Wamid::parse(wamid).ok())
        .map(|wamid| wamid_hash(gateway, account_id, &wamid))
        .chain(known.values().map(|id| answer::message_hash(gateway, account_id, *id)))
        .collect();
    let mut parked = gateway.journal.find_parked(&hashes).await?;
    parked.retain(|item| item.account_id == account_id);
    settle(gateway, parked, known, Stage::Early).await
}

/// Looks once more at what was parked for a while: its message may have become known in the very moment in
/// which they were parked. Walks on from `after` to what was parked before `before`; answers how far it came.
///
/// # Errors
/// Where a store is away: they stay parked.
pub async fn sweep_parked(
    gateway: &Gateway,
    mut after: u64,
    before: DateTime<Utc>,
) -> Result<u64, ItemError> {
    loop {
        let mut parked = gateway.journal.parked_after(after, SWEEP_PAGE).await?;
        parked.retain(|item| item.received_at < before);
        let Some(last) = parked.last() else { return Ok(after) };
        after = last.id;
        settle(gateway, parked, &HashMap::new(), Stage::Late).await?;
    }
}

/// Records those of these whose message is known by now, and lets go of them and of what is past its retention.
async fn settle(
    gateway: &Gateway,
    parked: Vec<ParkedItem>,
    known: &HashMap<String, MessageId>,
    stage: Stage,
) -> Result<(), ItemError> {
    if parked.is_empty() {
        return Ok(());
    }
    let mut statuses = Statuses::default();
    let mut signs: Vec<Sign> = vec![];
    let mut places = HashMap::new();
    for item in parked {
        places.insert((item.journal_id, item.item_path.clone()), item.id);
        let Some(entry) = gateway.journal.read(item.journal_id).await? else { continue };
        let Some(body) = entry.body.bytes() else { continue };
        let found = interpret_bytes(body, entry.received_at)
            .into_iter()
            .find(|found| found.path == item.item_path);
        let Some(Interpreted { item: what, at, path, .. }) = found else { continue };
        let sign = |what| Sign {
            account_id: item.account_id,
            journal_id: item.journal_id,
            path: item.item_path.clone(),
            received_at: entry.received_at,
            at,
            what,
        };
        match what {
            Item::Status(status) => {
                statuses.push(item.account_id, item.journal_id, path, at, *status);
            }
            Item::Inbound(message) => {
                let what = answer::of_message(gateway, item.account_id, &message, at);
                signs.extend(what.map(sign));
            }
            Item::Preference(preference) => {
                let account = gateway.bus.load::<Account>(item.account_id.0).await?;
                let Some(account) = account.map(|loaded| loaded.aggregate) else { continue };
                let target = Target { id: item.account_id, account };
                let contact_id = person::find(gateway, &target, &preference.who).await?;
                let how = OptOutSign::Preference;
                let what = contact_id.map(|contact_id| What::Stop { contact_id, how });
                signs.extend(what.map(sign));
            }
            _ => {}
        }
    }
    for unknown in statuses.record(gateway, known).await?.unknown {
        places.remove(&(unknown.journal_id, unknown.path));
    }
    for sign in signs {
        if answer::record(gateway, &sign, known, stage).await?.is_some() {
            places.remove(&(sign.journal_id, sign.path));
        }
    }
    let settled: Vec<u64> = places.into_values().collect();
    Ok(gateway.journal.unpark(&settled).await?)
}

pub(super) fn wamid_hash(gateway: &Gateway, account_id: AccountId, wamid: &Wamid) -> Vec<u8> {
    gateway.keys.lookup_hash(account_id.0, "wamid", wamid.as_str())
}
