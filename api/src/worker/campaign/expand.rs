//! From an audience to messages: chunk by chunk, each judged, frozen and appended as a whole with the campaign's own word
//! of it. While one chunk is being appended the next one is planned.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::account::Account;
use domain::campaign::{Campaign, CampaignCommand};
use domain::delivery::{PlannedRecipient, Planning, plan_recipient};
use domain::message::{Message, MessageCommand};
use domain::port::{AggregateType, Position, StreamId};
use domain::primitives::{AccountId, CampaignId, ContactId};
use domain::template::{Template, TemplateComponents};
use infrastructure::ledger::{CommandError, Context, Refusal, TransactError};
use infrastructure::phone::{self, zone_of};
use projections::{AudienceQuery, QueryError, names};
use tracing::info;
use uuid::Uuid;

use super::super::latest;
use super::super::leave_out::leave_out;
use super::super::people::People;
use super::{CATCH_UP, STARTED};
use crate::app::Gateway;
use crate::application::error::ErrorCode;
use crate::application::{campaigns, contacts};

/// Contacts judged and appended at once. A pause or a cancellation waits for at most one chunk.
const CHUNK: usize = 1_000;
/// Chunks of one campaign before the next campaign has its turn, with accounts and templates as they were at the first.
const CHUNKS_PER_TURN: usize = 8;
/// An id that is another message's is asked for again with the next salt, this often.
pub(in super::super) const SALTS_MAX: u64 = 16;

/// An occurrence of a campaign, and what everybody in it is judged by.
struct Occasion {
    gateway: Arc<Gateway>,
    id: CampaignId,
    campaign: Campaign,
    account_id: AccountId,
    account: Account,
    template: Template,
    components: TemplateComponents,
    audience: AudienceQuery,
}

/// Some of the audience, judged.
struct Chunk {
    /// Behind whom it begins.
    from: Option<ContactId>,
    cursor: Option<ContactId>,
    is_last: bool,
    messages: HashMap<Uuid, PlannedRecipient>,
    at: DateTime<Utc>,
}

/// Plans the next chunks. Answers whether there is more to do at once.
pub(super) async fn expand(
    gateway: &Arc<Gateway>,
    id: CampaignId,
    (campaign, sequence): (Campaign, u64),
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
    let context = context.clone().answering(&start);
    let queries = gateway.read.queries();
    let audience = match queries.audience(workspace_id.0, &plan.audience, Some(started)).await {
        Ok(audience) => audience,
        Err(error @ (QueryError::UnknownSegment(_) | QueryError::UnreadableRule(_))) => {
            // It would be tried for ever, and nobody would know why nothing goes.
            let reason = Some(format!(
                "{error}; its audience cannot be told: clone the campaign and give the copy another one"
            ));
            let pause = CampaignCommand::Pause { reason, hold: None, at: gateway.clock.now() };
            gateway.bus.execute::<Campaign>(id.0, pause, &context).await?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    if campaign.is_to_be_checked() {
        let of = (id, &campaign, sequence);
        match campaigns::held(gateway, of, &audience, started).await {
            Ok(None) => {}
            Ok(Some((hold, reason))) => {
                info!(campaign.id = %id, recipients = hold.recipients, "an occurrence is more than its launch allowed");
                let (reason, hold) = (Some(reason), Some(hold));
                let pause = CampaignCommand::Pause { reason, hold, at: gateway.clock.now() };
                gateway.bus.execute::<Campaign>(id.0, pause, &context).await?;
                return Ok(false);
            }
            // What it costs is still being added up.
            Err(error) if error.code == ErrorCode::Unavailable => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    let cursor = campaign.cursor;
    let occasion = Arc::new(Occasion {
        gateway: gateway.clone(),
        id,
        campaign,
        account_id,
        account: account.aggregate,
        template: template.aggregate,
        components,
        audience,
    });
    occasion.expand(cursor, &context).await
}

impl Occasion {
    async fn expand(
        self: Arc<Self>,
        cursor: Option<ContactId>,
        context: &Context,
    ) -> anyhow::Result<bool> {
        let mut chunk = self.clone().plan(cursor).await?;
        for turn in 1..=CHUNKS_PER_TURN {
            let goes_on = !chunk.is_last && turn < CHUNKS_PER_TURN;
            let next = goes_on.then(|| tokio::spawn(self.clone().plan(chunk.cursor)));
            self.let_others_catch_up().await;
            if !self.record(chunk, context).await? {
                return Ok(false);
            }
            match next {
                Some(next) => chunk = next.await??,
                None => break,
            }
        }
        Ok(true)
    }

    /// What was planned before shall show before more is: else everybody's statuses wait behind a large audience.
    async fn let_others_catch_up(&self) {
        let read = &self.gateway.read;
        let mut seen = read.watch(names::MESSAGES);
        let caught_up =
            async { while read.is_behind(names::MESSAGES) && seen.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(CATCH_UP, caught_up).await;
    }

    /// Judges the next contacts behind `from`.
    async fn plan(self: Arc<Self>, from: Option<ContactId>) -> anyhow::Result<Chunk> {
        let gateway = &self.gateway;
        let seen = Position(*gateway.read.watch(names::CONTACTS).borrow());
        let queries = gateway.read.queries();
        let page = queries.audience_page(&self.audience, from, CHUNK).await?;
        let (cursor, is_last) = (page.cursor, page.is_last);
        let ids: Vec<ContactId> = page.contacts.iter().map(|stored| ContactId(stored.id)).collect();
        let contacts =
            page.contacts.into_iter().map(|stored| (stored.id, stored.into_state())).collect();
        // Judged by the log itself, not by a model that may be a moment behind.
        let contacts = contacts::as_logged(gateway, contacts, seen).await?;
        let people = People::of(gateway, contacts).await?;
        let at = gateway.clock.now();
        let planning = Planning {
            campaign_id: self.id,
            campaign: &self.campaign,
            account_id: self.account_id,
            account: &self.account,
            template: &self.template,
            components: &self.components,
            number_zone: zone_of,
        };
        let planned = |contact_id: &ContactId, salt: u64| {
            let contact = people.get(contact_id.0)?.addressee;
            let mut recipient = plan_recipient(&planning, contact, salt, at)?;
            recipient.plan.header.country = phone::country_of_recipient(&recipient.plan.to);
            Some(recipient)
        };
        let mut messages: HashMap<Uuid, PlannedRecipient> = HashMap::with_capacity(ids.len());
        for contact_id in ids {
            for salt in 0..SALTS_MAX {
                let Some(recipient) = planned(&contact_id, salt) else { break };
                if let Entry::Vacant(entry) = messages.entry(recipient.message_id.0) {
                    entry.insert(recipient);
                    break;
                }
            }
        }
        resolve_collisions(gateway, &mut messages, &planned).await?;
        leave_out(gateway, &self.campaign, &people, &mut messages).await?;
        Ok(Chunk { from, cursor, is_last, messages, at })
    }

    /// Appends a chunk. False: the campaign does not go on just now.
    async fn record(&self, chunk: Chunk, context: &Context) -> anyhow::Result<bool> {
        let Chunk { from, cursor, is_last, messages, at } = chunk;
        let skipped = messages.values().filter(|one| one.plan.skip.is_some()).count() as u64;
        let queued = messages.len() as u64 - skipped;
        let command = CampaignCommand::RecordExpansion {
            from,
            cursor,
            queued,
            skipped,
            complete: is_last,
            at,
        };
        let commands: Vec<(Uuid, MessageCommand)> = messages
            .into_iter()
            .map(|(id, recipient)| (id, MessageCommand::Plan(Box::new(recipient.plan))))
            .collect();
        let (id, command, commands) = (self.id, &command, &commands);
        let result = self
            .gateway
            .bus
            .transact(context, None, |tx| {
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
