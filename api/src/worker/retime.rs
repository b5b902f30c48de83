//! The retiming process manager: turns waiting messages of campaigns into instants again when what they depend on has
//! changed: a contact's zone or number, or whom they went into, an account's quiet hours or zone, a campaign's schedule, the
//! rules of the zones themselves. It may look at the same message any number of times, and moves only what no longer lies where it should;
//! what was put off by a person, or was tried already, it leaves alone.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use domain::account::Account;
use domain::campaign::{Campaign, CampaignCommand, CampaignEvent, CampaignStatus};
use domain::delivery::{Redue, SendIntent, quiet_hours_for, zone_of_recipient};
use domain::message::{Message, MessageCommand, MessageHeader};
use domain::port::{
    AggregateType, EventFeed, EventFilter, Fence, Position, RecordedEvent, StreamId,
};
use domain::primitives::{Actor, CampaignId, occurrence_start_ms};
use infrastructure::event_store::Lease;
use infrastructure::ledger::{CommandError, Context};
use infrastructure::phone::zone_of;
use projections::names;
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use super::people::{People, readable};
use crate::app::Gateway;

const LEASE_NAME: &str = "retiming";
const LEASE: std::time::Duration = std::time::Duration::from_secs(12);
/// Everything up to this position of the log was looked at.
const CURSOR: &str = "retiming.position";
/// The version of the time zone rules that waiting messages were last looked at with.
const RULES: &str = "retiming.tzdb";
/// Events read, and messages looked at, at once.
const PAGE: usize = 500;
const IDLE: Duration = Duration::seconds(1);
const CATCH_UP: std::time::Duration = std::time::Duration::from_secs(5);
/// A page of the log without anything to do is not written down until the next one is this far.
const UNWRITTEN_MAX: u64 = 10_000;
/// A campaign's chunk that was judged before a contact changed may be appended after it, but not this long after.
const RECENT_FOR: Duration = Duration::minutes(2);
const RECENT_MAX: usize = 10_000;

const CONTACT_UPDATED: &str = "contact.updated";
const CONTACT_ABSORBED: &str = "contact.absorbed";
const ACCOUNT_UPDATED: &str = "account.updated";
const CAMPAIGN_UPDATED: &str = "campaign.updated";
const CAMPAIGN_EXPANDED: &str = "campaign.audience_expanded";

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut held = None;
    let mut state = State::default();
    while !*stop.borrow() {
        let acquired = gateway.store.leases.acquire(LEASE_NAME, &gateway.node, LEASE).await;
        let lease = acquired.unwrap_or_else(|error| {
            warn!(%error, "the retiming lease could not be looked after");
            None
        });
        held = lease.clone();
        let busy = match lease {
            Some(lease) => match look(&gateway, &lease, &mut state, &stop).await {
                Ok(busy) => busy,
                // Half-way through: it begins again after the next start.
                Err(_) if *stop.borrow() => break,
                Err(error) => {
                    warn!(error = %format!("{error:#}"), "waiting messages could not be looked at again; trying again");
                    // Another node may have been further, or back.
                    state = State::default();
                    false
                }
            },
            None => {
                state = State::default();
                false
            }
        };
        if busy {
            continue;
        }
        tokio::select! {
            () = gateway.clock.sleep_until(gateway.clock.now() + IDLE) => {}
            _ = stop.changed() => {}
        }
    }
    if let Some(lease) = held
        && let Err(error) = gateway.store.leases.release(&lease).await
    {
        warn!(%error, "the retiming lease was not given back; it runs out by itself");
    }
}

/// What is remembered between two looks, and read anew where it is lost.
#[derive(Default)]
struct State {
    /// The rules that are built in were seen to.
    has_rules: bool,
    /// Where to read on, and what of that is written down.
    cursor: Option<(Position, Position)>,
    /// Contacts that changed lately.
    recent: VecDeque<(Uuid, DateTime<Utc>)>,
}

impl State {
    fn remember(&mut self, contact: Uuid, at: DateTime<Utc>) {
        self.recent.push_back((contact, at));
        let excess = self.recent.len().saturating_sub(RECENT_MAX);
        self.recent.drain(..excess);
    }

    /// Contacts that changed within the time in which a chunk that did not know of it may still have come.
    fn recent_before(&mut self, at: DateTime<Utc>) -> Vec<Uuid> {
        while self.recent.front().is_some_and(|(_, changed)| at - *changed > RECENT_FOR) {
            self.recent.pop_front();
        }
        self.recent.iter().map(|(contact, _)| *contact).collect()
    }
}

/// One page of the log. Answers whether there is more to do at once.
async fn look(
    gateway: &Gateway,
    lease: &Lease,
    state: &mut State,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<bool> {
    let sweep = Sweep { gateway, lease, stop };
    if !state.has_rules {
        sweep.rules().await?;
        state.has_rules = true;
    }
    let (cursor, written) = match state.cursor {
        Some(known) => known,
        None => {
            let stored = gateway.store.meta.get(CURSOR).await?.and_then(|text| text.parse().ok());
            let position = match stored {
                Some(position) => Position(position),
                // Messages that were there before have been looked at with the rules.
                None => {
                    let head = gateway.ledger.head().await?;
                    gateway.store.meta.set(CURSOR, &head.0.to_string()).await?;
                    head
                }
            };
            *state.cursor.insert((position, position))
        }
    };
    let types =
        [CONTACT_UPDATED, CONTACT_ABSORBED, ACCOUNT_UPDATED, CAMPAIGN_UPDATED, CAMPAIGN_EXPANDED];
    let filter =
        EventFilter { event_types: types.map(str::to_owned).to_vec(), ..EventFilter::default() };
    let page = gateway.ledger.read_after(cursor, &filter, PAGE).await?;
    let Some(last) = page.events.last() else {
        let is_far = page.scanned_to.0.saturating_sub(written.0) > UNWRITTEN_MAX;
        return move_to(gateway, state, page.scanned_to, is_far).await.map(|()| !page.at_head);
    };
    // The models must know whatever was planned before.
    for model in [names::MESSAGES, names::CONTACTS] {
        gateway.read.wait_for(model, last.position, CATCH_UP).await?;
    }
    let mut contacts: BTreeSet<Uuid> = BTreeSet::new();
    let mut accounts: BTreeSet<Uuid> = BTreeSet::new();
    let mut campaigns: BTreeSet<Uuid> = BTreeSet::new();
    for event in &page.events {
        match event.event_type.as_str() {
            CONTACT_UPDATED | CONTACT_ABSORBED => {
                state.remember(event.stream.id, event.recorded_at);
                contacts.insert(event.stream.id);
            }
            ACCOUNT_UPDATED => drop(accounts.insert(event.stream.id)),
            CAMPAIGN_UPDATED => drop(campaigns.insert(event.stream.id)),
            _ => contacts.extend(state.recent_before(event.recorded_at)),
        }
    }
    for account in accounts {
        campaigns.extend(gateway.read.queries().waiting_campaigns(account).await?);
    }
    for campaign in campaigns.into_iter().filter(|id| !id.is_nil()) {
        sweep.campaign(campaign).await?;
    }
    // What waits for somebody who went into another follows that one.
    let changed: Vec<Uuid> = contacts.iter().copied().collect();
    contacts.extend(gateway.read.queries().merged_into(&changed).await?);
    sweep.contacts(&contacts.into_iter().collect::<Vec<_>>()).await?;
    move_to(gateway, state, page.scanned_to, true).await?;
    Ok(!page.at_head)
}

async fn move_to(
    gateway: &Gateway,
    state: &mut State,
    to: Position,
    must_write: bool,
) -> anyhow::Result<()> {
    let written = state.cursor.map(|(_, written)| written).unwrap_or_default();
    if must_write && to != written {
        gateway.store.meta.set(CURSOR, &to.0.to_string()).await?;
    }
    state.cursor = Some((to, if must_write { to } else { written }));
    Ok(())
}

struct Sweep<'a> {
    gateway: &'a Gateway,
    lease: &'a Lease,
    stop: &'a watch::Receiver<bool>,
}

impl Sweep<'_> {
    /// Where the built-in rules of time zones are others than those that everything was planned with, everything that
    /// waits is looked at.
    async fn rules(&self) -> anyhow::Result<()> {
        let meta = &self.gateway.store.meta;
        let known = meta.get(RULES).await?;
        if known.as_deref() == Some(chrono_tz::IANA_TZDB_VERSION) {
            return Ok(());
        }
        let head = self.gateway.ledger.head().await?;
        for model in [names::MESSAGES, names::DIRECTORY] {
            self.gateway.read.wait_for(model, head, CATCH_UP).await?;
        }
        let queries = self.gateway.read.queries();
        let now = self.gateway.clock.now();
        for scheduled in queries.campaigns_in(&[CampaignStatus::Scheduled]).await? {
            let command = CampaignCommand::Retime { at: now };
            let done =
                self.gateway.bus.execute::<Campaign>(scheduled.id, command, &self.context()).await;
            if let Err(error) = done {
                warn!(campaign.id = %scheduled.id, %error, "a campaign's start was not looked at again");
            }
        }
        for campaign in queries.campaigns_with_agenda().await? {
            self.campaign(campaign).await?;
        }
        meta.set(RULES, chrono_tz::IANA_TZDB_VERSION).await?;
        info!(
            version = chrono_tz::IANA_TZDB_VERSION,
            "waiting messages were looked at with these time zone rules"
        );
        Ok(())
    }

    /// Everything that waits of a campaign.
    async fn campaign(&self, campaign: Uuid) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let page =
                self.gateway.read.queries().waiting_of_campaign(campaign, after, PAGE).await?;
            self.messages(&page).await?;
            after = page.last().copied();
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Everything of campaigns that waits for these people.
    async fn contacts(&self, contacts: &[Uuid]) -> anyhow::Result<()> {
        for chunk in contacts.chunks(PAGE) {
            let waiting = self.gateway.read.queries().waiting_for_contacts(chunk).await?;
            for messages in waiting.chunks(PAGE) {
                self.messages(messages).await?;
            }
        }
        Ok(())
    }

    fn context(&self) -> Context {
        let now = self.gateway.clock.now();
        let fence = Fence { lease: self.lease.name.clone(), epoch: self.lease.epoch };
        Context::new(Actor::process("retiming"), self.gateway.ids.next_id(now))
            .fenced(fence)
            .following()
    }

    /// Asks of each message when it is due by what is known now.
    async fn messages(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        if *self.stop.borrow() {
            anyhow::bail!("stopped");
        }
        let lease = std::slice::from_ref(self.lease);
        if !self.gateway.store.leases.renew(lease, LEASE).await?.iter().all(|held| *held) {
            anyhow::bail!("another node has taken over");
        }
        let moved = moved(self.gateway, ids).await?;
        let commands =
            moved.into_iter().map(|(id, command)| (id, command, self.context())).collect();
        let mut count = 0;
        for result in self.gateway.bus.execute_many::<Message>(commands).await {
            match result {
                Ok(committed) => count += committed.events,
                // It has left, or was put off or taken back meanwhile.
                Err(CommandError::Domain(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if count > 0 {
            info!(messages = count, "waiting messages were given another time");
        }
        Ok(())
    }
}

/// What becomes of these messages by what is known now; those that stay where they are left out. What belongs to no
/// campaign's occurrence (a single send, a test) stays.
///
/// # Errors
/// Where the log cannot be read.
pub async fn moved(
    gateway: &Gateway,
    ids: &[Uuid],
) -> anyhow::Result<HashMap<Uuid, MessageCommand>> {
    let mut moved = HashMap::new();
    if ids.is_empty() {
        return Ok(moved);
    }
    let messages = readable::<Message>(gateway, ids).await?.found;
    let waiting: Vec<(Uuid, &Message, &MessageHeader)> = messages
        .iter()
        .filter(|(_, message)| message.may_be_retimed())
        .filter_map(|(id, message)| Some((*id, message, message.header.as_ref()?)))
        .filter(|(_, _, header)| header.campaign_id.is_some() && !header.is_test)
        .collect();
    let ids_of = |id: fn(&MessageHeader) -> Option<Uuid>| -> Vec<Uuid> {
        let ids: BTreeSet<Uuid> = waiting.iter().filter_map(|(_, _, header)| id(header)).collect();
        ids.into_iter().collect()
    };
    let campaigns = ids_of(|header| header.campaign_id.map(|id| id.0));
    let campaigns = readable::<Campaign>(gateway, &campaigns).await?.found;
    let accounts = ids_of(|header| Some(header.account_id.0));
    let accounts = readable::<Account>(gateway, &accounts).await?.found;
    let people = People::load(gateway, &ids_of(|header| Some(header.contact_id.0))).await?;
    let mut occurrences = Occurrences::new(gateway);
    let now = gateway.clock.now();
    for (id, message, header) in waiting {
        let (Some(campaign_id), Some(planned_at)) = (header.campaign_id, message.due_at) else {
            continue;
        };
        let known = campaigns
            .get(&campaign_id.0)
            .zip(accounts.get(&header.account_id.0))
            .zip(people.get(header.contact_id.0));
        // What is for somebody who was erased is left out when it falls due.
        let Some(((campaign, account), person)) = known.filter(|(_, p)| !p.contact.erased) else {
            continue;
        };
        let occurrence = occurrences.of(campaign_id, campaign, id).await?;
        let Some((plan, occurrence)) = campaign.plan.as_ref().zip(occurrence) else { continue };
        let intent = SendIntent::of_occurrence(plan, occurrence.local, occurrence.start);
        let zone = zone_of_recipient(campaign.zone(), account, person.contact, zone_of);
        let quiet = quiet_hours_for(account, header.category());
        match intent.redue(planned_at, zone, quiet, occurrence.began_at, now) {
            Redue::Keep => {}
            Redue::Move(due_at) => {
                moved.insert(id, MessageCommand::Retime { due_at, at: now });
            }
            Redue::Skip(reason) => {
                moved.insert(id, MessageCommand::Skip { reason, detail: None, at: now });
            }
        }
    }
    Ok(moved)
}

/// When an occurrence was meant to start, and when it did.
#[derive(Clone, Copy)]
struct Begun {
    local: Option<NaiveDateTime>,
    start: DateTime<Utc>,
    began_at: DateTime<Utc>,
}

/// Which occurrence a message belongs to: its id begins with the start.
struct Occurrences<'a> {
    gateway: &'a Gateway,
    by_campaign: HashMap<CampaignId, HashMap<i64, Begun>>,
}

impl<'a> Occurrences<'a> {
    fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, by_campaign: HashMap::new() }
    }

    async fn of(
        &mut self,
        id: CampaignId,
        campaign: &Campaign,
        message: Uuid,
    ) -> anyhow::Result<Option<Begun>> {
        let start_ms = occurrence_start_ms(message);
        if let Some((start, began_at)) = campaign.occurrence_start.zip(campaign.started_at)
            && start.timestamp_millis() == start_ms
        {
            return Ok(Some(Begun { local: campaign.occurrence_local, start, began_at }));
        }
        if !self.by_campaign.contains_key(&id) {
            let stream = StreamId::new(AggregateType::Campaign, id.0);
            let events = self.gateway.ledger.read_streams(&[stream]).await?;
            self.by_campaign.insert(id, begun(&events)?);
        }
        Ok(self.by_campaign.get(&id).and_then(|known| known.get(&start_ms)).copied())
    }
}

fn begun(events: &[RecordedEvent]) -> anyhow::Result<HashMap<i64, Begun>> {
    let mut found = HashMap::new();
    for event in events.iter().filter(|event| event.event_type == "campaign.started") {
        if let CampaignEvent::Started { occurrence_start: start, local, at, .. } = event.decode()? {
            found.insert(start.timestamp_millis(), Begun { local, start, began_at: at });
        }
    }
    Ok(found)
}
