//! The campaign process manager: starts what is due, expands audiences chunk by chunk, cancels what was cancelled and
//! closes what is done. Everything it does is a command, and everything it knows it reads anew, so it can stop anywhere.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use domain::account::Account;
use domain::campaign::{Campaign, CampaignCommand, CampaignStatus};
use domain::delivery::{PlannedRecipient, Planning, plan_recipient};
use domain::message::{Message, MessageCommand};
use domain::port::{AggregateType, EventFeed, Fence, Position, RecordedEvent, StreamId};
use domain::primitives::{Actor, CampaignId, ContactId};
use domain::template::Template;
use infrastructure::ledger::{CommandError, Context, Refusal, TransactError};
use infrastructure::phone::{self, zone_of};
use projections::{QueryError, names};
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use super::latest;
use super::leave_out::leave_out;
use super::people::People;
use crate::app::Gateway;
use crate::application::campaigns;
use crate::application::error::ErrorCode;

/// Contacts judged and appended at once. A pause or a cancellation waits for at most one chunk.
const CHUNK: usize = 1_000;
/// Messages cancelled at once.
const CANCEL_CHUNK: usize = 500;
const LEASE_NAME: &str = "campaigns";
const LEASE: std::time::Duration = std::time::Duration::from_secs(12);
const IDLE: Duration = Duration::milliseconds(500);
/// How long an expansion waits for the contact model to reach the campaign's start before it tries again.
const CATCH_UP: std::time::Duration = std::time::Duration::from_secs(5);
/// An id that is another message's is asked for again with the next salt, this often.
pub(super) const SALTS_MAX: u64 = 16;
/// Events of a campaign's stream that others are the answer to.
const SCHEDULED: &str = "campaign.scheduled";
const STARTED: &str = "campaign.started";
const CANCELLED: &str = "campaign.cancelled";

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut held = None;
    // Watched from before the first look, so that what changes during a look leads to another one.
    let mut messages = gateway.read.watch(names::MESSAGES);
    let mut directory = gateway.read.watch(names::DIRECTORY);
    while !*stop.borrow() {
        let now = gateway.clock.now();
        let acquired = gateway.store.leases.acquire(LEASE_NAME, &gateway.node, LEASE).await;
        held = acquired.as_ref().ok().cloned().flatten();
        let busy = match acquired {
            Ok(Some(lease)) => {
                let fence = Fence { lease: lease.name, epoch: lease.epoch };
                let actor = Actor::process("campaign-launch");
                let context = Context::new(actor, gateway.ids.next_id(now)).fenced(fence);
                keeping_the_lease(&gateway, round(&gateway, &context)).await
            }
            Ok(None) => false,
            Err(error) => {
                warn!(%error, "the campaigns' lease could not be looked after");
                false
            }
        };
        if busy {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = gateway.clock.sleep_until(gateway.clock.now() + IDLE) => {}
            _ = directory.changed() => {}
            _ = messages.changed() => {
                // Completion can wait a little; a busy campaign moves this watch all the time. A launch moves both, and
                // cannot wait.
                tokio::select! {
                    () = gateway.clock.sleep_until(gateway.clock.now() + Duration::milliseconds(50)) => {}
                    _ = directory.changed() => {}
                    _ = stop.changed() => {}
                }
            }
            _ = stop.changed() => {}
        }
    }
    if let Some(lease) = held
        && let Err(error) = gateway.store.leases.release(&lease).await
    {
        warn!(%error, "the campaigns' lease was not given back; it runs out by itself");
    }
}

/// Counting a large audience may take longer than the lease.
async fn keeping_the_lease(gateway: &Gateway, round: impl Future<Output = bool>) -> bool {
    let mut round = std::pin::pin!(round);
    loop {
        tokio::select! {
            biased;
            busy = &mut round => return busy,
            () = gateway.clock.sleep_for(LEASE / 3) => {
                // Who has lost it appends nothing: the fence stops it.
                if let Err(error) = gateway.store.leases.acquire(LEASE_NAME, &gateway.node, LEASE).await {
                    warn!(%error, "the campaigns' lease could not be prolonged");
                }
            }
        }
    }
}

/// One step for every campaign that has one. Answers whether there is more to do at once.
async fn round(gateway: &Arc<Gateway>, context: &Context) -> bool {
    let campaigns = match unfinished(gateway).await {
        Ok(campaigns) => campaigns,
        Err(error) => {
            warn!(%error, "campaigns could not be read; trying again");
            return false;
        }
    };
    let mut busy = false;
    for id in campaigns {
        match step(gateway, id, context).await {
            Ok(more) => busy |= more,
            Err(error) => {
                warn!(campaign.id = %id, error = %format!("{error:#}"), "a campaign's step failed; trying again")
            }
        }
    }
    busy
}

/// Campaigns under way, those held at their start, and cancelled ones of which something still waits.
async fn unfinished(gateway: &Gateway) -> Result<BTreeSet<CampaignId>, QueryError> {
    let queries = gateway.read.queries();
    let under_way =
        queries.campaigns_in(&[CampaignStatus::Scheduled, CampaignStatus::Running]).await?;
    // Their next occurrence comes all the same.
    let held = queries.campaigns_held().await?;
    let waiting = queries.campaigns_with_agenda().await?;
    let known = under_way.into_iter().chain(held).map(|stored| stored.id);
    Ok(known.chain(waiting).map(CampaignId).collect())
}

async fn step(gateway: &Arc<Gateway>, id: CampaignId, context: &Context) -> anyhow::Result<bool> {
    let Some(loaded) = gateway.bus.load::<Campaign>(id.0).await? else { return Ok(false) };
    let (campaign, sequence) = (loaded.aggregate, loaded.sequence);
    let now = gateway.clock.now();
    match campaign.status {
        CampaignStatus::Scheduled | CampaignStatus::Running | CampaignStatus::Paused
            if campaign.is_due(now) =>
        {
            let context = History::of(gateway, id).await?.start(context);
            gateway
                .bus
                .execute::<Campaign>(id.0, CampaignCommand::Start { at: now }, &context)
                .await?;
            info!(campaign.id = %id, "campaign started");
            Ok(true)
        }
        CampaignStatus::Running if !campaign.expanded => {
            expand(gateway, id, (&campaign, sequence), context).await
        }
        CampaignStatus::Running => close(gateway, id, now, context).await,
        CampaignStatus::Cancelled => cancel_waiting(gateway, id, &campaign, now, context).await,
        _ => Ok(false),
    }
}

/// One chunk of the audience: judged, frozen and turned into messages in one append with the campaign's own word.
async fn expand(
    gateway: &Arc<Gateway>,
    id: CampaignId,
    (campaign, sequence): (&Campaign, u64),
    context: &Context,
) -> anyhow::Result<bool> {
    let stream = StreamId::new(AggregateType::Campaign, id.0);
    let Some(start) = latest(gateway, stream, STARTED).await? else {
        anyhow::bail!("it has never started")
    };
    let started = start.position;
    // Contacts that were there when the campaign started are in, and segments may ask what was sent to them by then, so
    // every model must have seen that far.
    if gateway.read.wait_for_all(started, CATCH_UP).await.is_err() {
        return Ok(false);
    }
    let (Some(plan), Some(account_id), Some(workspace_id)) =
        (campaign.plan.as_ref(), campaign.account_id, campaign.workspace_id)
    else {
        anyhow::bail!("the campaign has no plan");
    };
    let Some(account) = gateway.bus.load::<Account>(account_id.0).await? else {
        anyhow::bail!("its account is unknown")
    };
    let Some(template) = gateway.bus.load::<Template>(plan.template_id.0).await? else {
        anyhow::bail!("its template is unknown")
    };
    let components = template.aggregate.parsed()?;
    let queries = gateway.read.queries();
    let audience = match queries.audience(workspace_id.0, &plan.audience, Some(started)).await {
        Ok(audience) => audience,
        Err(error @ (QueryError::UnknownSegment(_) | QueryError::UnreadableRule(_))) => {
            // It would be tried for ever, and nobody would know why nothing goes.
            let reason = Some(format!(
                "{error}; its audience cannot be told: clone the campaign and give the copy another one"
            ));
            let context = context.clone().answering(&start);
            let pause = CampaignCommand::Pause { reason, hold: None, at: gateway.clock.now() };
            gateway.bus.execute::<Campaign>(id.0, pause, &context).await?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    if campaign.is_to_be_checked() {
        let of = (id, campaign, sequence);
        match campaigns::held(gateway, of, &audience, started).await {
            Ok(None) => {}
            Ok(Some((hold, reason))) => {
                info!(campaign.id = %id, recipients = hold.recipients, "an occurrence is more than its launch allowed");
                let (reason, hold) = (Some(reason), Some(hold));
                let pause = CampaignCommand::Pause { reason, hold, at: gateway.clock.now() };
                let context = context.clone().answering(&start);
                gateway.bus.execute::<Campaign>(id.0, pause, &context).await?;
                return Ok(false);
            }
            // What it costs is still being added up.
            Err(error) if error.code == ErrorCode::Unavailable => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    let page = queries.audience_page(&audience, campaign.cursor, CHUNK).await?;
    let people: Vec<Uuid> = page.contacts.iter().map(|stored| stored.id).collect();
    // Judged by the log itself, not by a model that may be a moment behind.
    let people = gateway.bus.load_many::<domain::contact::Contact>(&people).await?;
    let people = people.into_iter().map(|(id, loaded)| (id, loaded.aggregate)).collect();
    let people = People::of(gateway, people).await?;
    let now = gateway.clock.now();
    let planning = Planning {
        campaign_id: id,
        campaign,
        account_id,
        account: &account.aggregate,
        template: &template.aggregate,
        components: &components,
        number_zone: zone_of,
    };
    let planned = |contact_id: &ContactId, salt: u64| {
        let contact = people.get(contact_id.0)?.addressee;
        let mut recipient = plan_recipient(&planning, contact, salt, now)?;
        recipient.plan.header.country = phone::country_of_recipient(&recipient.plan.to);
        Some(recipient)
    };
    let mut messages: HashMap<Uuid, PlannedRecipient> = HashMap::new();
    for contact_id in page.contacts.iter().map(|stored| ContactId(stored.id)) {
        for salt in 0..SALTS_MAX {
            let Some(recipient) = planned(&contact_id, salt) else { break };
            if let std::collections::hash_map::Entry::Vacant(entry) =
                messages.entry(recipient.message_id.0)
            {
                entry.insert(recipient);
                break;
            }
        }
    }
    resolve_collisions(gateway, &mut messages, &planned).await?;
    leave_out(gateway, campaign, &people, &mut messages).await?;
    let skipped =
        messages.values().filter(|recipient| recipient.plan.skip.is_some()).count() as u64;
    let command = CampaignCommand::RecordExpansion {
        from: campaign.cursor,
        cursor: page.cursor,
        queued: messages.len() as u64 - skipped,
        skipped,
        complete: page.is_last,
        at: now,
    };
    let commands: Vec<(Uuid, MessageCommand)> = messages
        .into_iter()
        .map(|(message_id, recipient)| (message_id, MessageCommand::Plan(Box::new(recipient.plan))))
        .collect();
    let (command, commands) = (&command, &commands);
    let context = context.clone().answering(&start);
    let result = gateway
        .bus
        .transact(&context, None, |tx| {
            Box::pin(async move {
                tx.execute::<Campaign>(id.0, command.clone()).await?;
                tx.execute_new::<Message>(commands.clone()).await?;
                Ok::<_, CommandError<Refusal>>(())
            })
        })
        .await;
    match result {
        Ok(_) => Ok(true),
        // Somebody paused or cancelled it, or another node was faster: the next step sees what is true now.
        Err(TransactError::Command(CommandError::Domain(error))) => {
            info!(campaign.id = %id, %error, "expansion stopped");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// An id may be another message's (once in a hundred thousand million pairs): then the next salt is tried.
async fn resolve_collisions(
    gateway: &Gateway,
    messages: &mut HashMap<Uuid, PlannedRecipient>,
    planned: &impl Fn(&ContactId, u64) -> Option<PlannedRecipient>,
) -> anyhow::Result<()> {
    let ids: Vec<Uuid> = messages.keys().copied().collect();
    for (taken, loaded) in gateway.bus.load_many::<Message>(&ids).await? {
        let Some(recipient) = messages.remove(&taken) else { continue };
        let ours = &recipient.plan.header;
        let is_same = loaded.aggregate.header.as_ref().is_some_and(|header| {
            header.contact_id == ours.contact_id && header.campaign_id == ours.campaign_id
        });
        if is_same {
            continue;
        }
        for salt in 1..SALTS_MAX {
            let Some(other) = planned(&ours.contact_id, salt) else { break };
            let is_free = !messages.contains_key(&other.message_id.0)
                && gateway.bus.load::<Message>(other.message_id.0).await?.is_none();
            if is_free {
                messages.insert(other.message_id.0, other);
                break;
            }
        }
    }
    Ok(())
}

/// What a campaign's stream says of how it came to this: everything that a launch leads to is joined to the launch.
struct History(Vec<RecordedEvent>);

impl History {
    async fn of(gateway: &Gateway, id: CampaignId) -> anyhow::Result<Self> {
        let stream = StreamId::new(AggregateType::Campaign, id.0);
        Ok(Self(gateway.ledger.read_streams(&[stream]).await?))
    }

    /// The start is the answer to the schedule as it was last; the launch is what scheduled it first, or started it.
    fn start(&self, context: &Context) -> Context {
        let is_schedule =
            |event: &&RecordedEvent| [SCHEDULED, STARTED].contains(&event.event_type.as_str());
        let launched = self.0.iter().find(is_schedule);
        let scheduled = self.0.iter().rev().find(is_schedule);
        match launched.zip(scheduled) {
            Some((launched, scheduled)) => {
                context.clone().answering(launched).caused_by(scheduled.event_id)
            }
            None => context.clone(),
        }
    }

    /// The end belongs to the launch too, and comes after whatever the campaign's stream says last.
    fn end(&self, context: &Context) -> Context {
        let started = self.0.iter().rev().find(|event| event.event_type == STARTED);
        match started.zip(self.0.last()) {
            Some((started, last)) => context.clone().answering(started).caused_by(last.event_id),
            None => context.clone(),
        }
    }
}

/// Done when nobody waits any more and nobody is in doubt whose doubt may still end by itself.
async fn close(
    gateway: &Gateway,
    id: CampaignId,
    now: DateTime<Utc>,
    context: &Context,
) -> anyhow::Result<bool> {
    // What the counters do not know yet is not done: the model must have seen the expansion's end.
    let head =
        gateway.bus.load::<Campaign>(id.0).await?.map(|loaded| loaded.position).unwrap_or_default();
    if Position(*gateway.read.watch(names::MESSAGES).borrow()) < head {
        return Ok(false);
    }
    let queries = gateway.read.queries();
    let progress = queries.campaign_progress(&[id.0], now).await?;
    let in_grace = queries.in_doubt_within_grace(&[id.0], now).await?;
    let is_open = progress.get(&id.0).is_some_and(|p| p.counts.pending > 0)
        || in_grace.get(&id.0).is_some_and(|n| *n > 0);
    if is_open {
        return Ok(false);
    }
    let context = History::of(gateway, id).await?.end(context);
    let done = gateway
        .bus
        .execute::<Campaign>(id.0, CampaignCommand::Complete { at: now }, &context)
        .await?;
    match done.aggregate.status {
        CampaignStatus::Scheduled => {
            info!(campaign.id = %id, "campaign waits for its next occurrence")
        }
        _ => info!(campaign.id = %id, "campaign completed"),
    }
    Ok(false)
}

/// What has not left yet does not leave any more.
async fn cancel_waiting(
    gateway: &Gateway,
    id: CampaignId,
    campaign: &Campaign,
    now: DateTime<Utc>,
    context: &Context,
) -> anyhow::Result<bool> {
    let waiting = gateway.read.queries().waiting_of_campaign(id.0, None, CANCEL_CHUNK).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let reason =
        campaign.status_reason.clone().or_else(|| Some("the campaign was cancelled".to_owned()));
    let stream = StreamId::new(AggregateType::Campaign, id.0);
    let context = match latest(gateway, stream, CANCELLED).await? {
        Some(cancelled) => context.clone().answering(&cancelled),
        None => context.clone(),
    };
    let commands = waiting
        .iter()
        .map(|id| {
            (*id, MessageCommand::Cancel { reason: reason.clone(), at: now }, context.clone())
        })
        .collect();
    let mut last = Position::default();
    for committed in gateway.bus.execute_many::<Message>(commands).await.into_iter().flatten() {
        last = last.max(committed.position);
    }
    // The list comes from the read model: wait until it knows, or the same messages come again.
    let _ = gateway.read.wait_for(names::MESSAGES, last, CATCH_UP).await;
    // Where nothing could be cancelled, there is nothing to do at once either.
    Ok(last > Position::default())
}
