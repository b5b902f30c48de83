//! The campaign process manager: starts what is due, expands audiences chunk by chunk, cancels what was cancelled and
//! closes what is done. Everything it does is a command, and everything it knows it reads anew, so it can stop anywhere.

mod expand;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use domain::campaign::{Campaign, CampaignCommand, CampaignStatus};
use domain::message::{Message, MessageCommand};
use domain::port::{AggregateType, EventFeed, Fence, Position, RecordedEvent, StreamId};
use domain::primitives::{Actor, CampaignId};
use infrastructure::ledger::Context;
use projections::{QueryError, names};
use tokio::sync::watch;
use tracing::{info, warn};

pub(super) use expand::SALTS_MAX;

use super::latest;
use crate::app::Gateway;

/// Messages cancelled at once.
const CANCEL_CHUNK: usize = 500;
const LEASE_NAME: &str = "campaigns";
const LEASE: std::time::Duration = std::time::Duration::from_secs(12);
const IDLE: Duration = Duration::milliseconds(500);
/// How long a read model is waited for before it is tried again.
const CATCH_UP: std::time::Duration = std::time::Duration::from_secs(5);
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
            expand::expand(gateway, id, (campaign, sequence), context).await
        }
        CampaignStatus::Running => close(gateway, id, now, context).await,
        CampaignStatus::Cancelled => cancel_waiting(gateway, id, &campaign, now, context).await,
        _ => Ok(false),
    }
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
