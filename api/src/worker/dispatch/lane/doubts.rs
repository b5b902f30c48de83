//! What ends a doubt: an intent that was never called, a node that died in the middle of a call, and the account's policy
//! once the grace period is over.

use std::collections::HashSet;

use chrono::{DateTime, Duration, Utc};
use domain::account::{Account, InDoubtAction};
use domain::campaign::{Campaign, CampaignStatus};
use domain::delivery::{HEARD_GAP, time_heard};
use domain::message::{InDoubtResolution, Message, MessageCommand};
use domain::template::TemplateCategory;
use uuid::Uuid;

use super::super::effects::{EffectTarget, Word};
use super::super::outcome::{self, AttemptFacts, unknown};
use super::{DOUBTS_MAX, Lane, ORPHAN_SLACK, OUTCOME_KEPT, Outcome};
use crate::worker::webhook;

impl Lane {
    /// Intents whose append nobody answered: where the log has one, nothing was called for it.
    pub(super) async fn settle_uncalled(&mut self) -> anyhow::Result<()> {
        if self.uncalled.is_empty() {
            return Ok(());
        }
        let (now, wall) = (self.steady.now(), self.gateway.clock.now());
        let ids: Vec<Uuid> = self.uncalled.keys().copied().collect();
        let messages = self.gateway.bus.load_many::<Message>(&ids).await?;
        let mut landed = vec![];
        self.uncalled.retain(|id, uncalled| {
            let attempts = messages.get(id).map(|loaded| &loaded.aggregate.attempts);
            match attempts.and_then(|attempts| attempts.get(&uncalled.attempt)) {
                // By its `send_by` it is ours, and not one made since.
                Some(attempt) => {
                    if attempt.send_by == uncalled.send_by && attempt.outcome.is_none() {
                        landed.push((*id, outcome::uncalled(uncalled.attempt, wall)));
                    }
                    false
                }
                None => uncalled.forget_at > now,
            }
        });
        let keep_until = now + OUTCOME_KEPT;
        for (message_id, command) in landed {
            let context = self.on_outcome(None);
            let target = EffectTarget::account(self.account_id);
            let (effects, always) = (vec![], true);
            let word = Word { message_id, command, context, effects, target, always };
            self.outcomes.push(Outcome { word, keep_until });
        }
        Ok(())
    }

    /// Attempts whose node died between the intent and the outcome: nobody knows.
    pub(super) async fn settle_orphans(&mut self, wall: DateTime<Utc>) -> anyhow::Result<()> {
        let timeout =
            i64::try_from(self.gateway.config.graph.timeout_s).unwrap_or(i64::MAX / 1_000_000);
        let margin = Duration::seconds(timeout) + ORPHAN_SLACK;
        let overdue =
            self.gateway.read.queries().sending_overdue(self.account_id.0, wall - margin).await?;
        let commands: Vec<_> = overdue
            .into_iter()
            .filter(|due| !self.taken.contains_key(&due.message_id))
            .filter(|due| !self.uncalled.contains_key(&due.message_id))
            .map(|due| {
                let facts = AttemptFacts {
                    attempt: due.attempts,
                    send_by: due.at,
                    grace: self.grace,
                    now: wall,
                    random: 0,
                };
                (due.message_id, unknown(facts, "the gateway stopped before the answer came"))
            })
            .collect();
        self.record_settled(commands).await;
        Ok(())
    }

    /// After the grace period the account's policy decides: once WhatsApp was heard for that long and has not said a
    /// word about the message, up to a point in the journal that was its end when the grace was over.
    pub(super) async fn settle_doubts(
        &mut self,
        account: &Account,
        wall: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let policy = account.settings.in_doubt_policy;
        let categories = [
            None,
            Some(TemplateCategory::Marketing),
            Some(TemplateCategory::Utility),
            Some(TemplateCategory::Authentication),
        ];
        let sent_again: Vec<_> = categories
            .into_iter()
            .filter(|category| policy.action(*category) == InDoubtAction::SendAgain)
            .collect();
        if sent_again.is_empty() {
            self.deciding = None;
            return Ok(());
        }
        let Some((head, as_of)) = self.deciding else {
            let doubtful = self
                .gateway
                .read
                .queries()
                .in_doubt_due(self.account_id.0, wall, &sent_again)
                .await?;
            if !doubtful.is_empty() {
                self.deciding = Some((self.gateway.journal.head().await?, wall));
            }
            return Ok(());
        };
        if self.gateway.journal.cursor(webhook::CURSOR).await? < head {
            return Ok(());
        }
        self.deciding = None;
        let queries = self.gateway.read.queries();
        let mut doubtful = queries.in_doubt_due(self.account_id.0, as_of, &sent_again).await?;
        doubtful.retain(|due| !self.taken.contains_key(&due.message_id));
        let campaigns: HashSet<Uuid> = doubtful.iter().filter_map(|due| due.campaign_id).collect();
        let campaigns: Vec<Uuid> = campaigns.into_iter().collect();
        let campaigns = self.gateway.bus.load_many::<Campaign>(&campaigns).await?;
        // Nobody wants a cancelled campaign's messages sent.
        doubtful.retain(|due| {
            let campaign = due.campaign_id.and_then(|id| campaigns.get(&id));
            campaign.is_none_or(|loaded| loaded.aggregate.status != CampaignStatus::Cancelled)
        });
        doubtful.truncate(DOUBTS_MAX);
        let ids: Vec<Uuid> = doubtful.iter().map(|due| due.message_id).collect();
        let messages = self.gateway.bus.load_many::<Message>(&ids).await?;
        let graces: Vec<(Uuid, DateTime<Utc>, Duration)> = ids
            .into_iter()
            .filter_map(|id| {
                let (start, length) = messages.get(&id)?.aggregate.grace()?;
                Some((id, start, length))
            })
            .collect();
        let Some(first) = graces.iter().map(|(_, start, _)| *start).min() else { return Ok(()) };
        let heard = queries.heard_since(self.account_id.0, first - HEARD_GAP).await?;
        let due_at = self.gateway.clock.now();
        let commands: Vec<_> = graces
            .into_iter()
            .filter(|(_, start, length)| {
                time_heard(*start, as_of, heard.iter().copied()) >= *length
            })
            .map(|(id, ..)| {
                let resolution = InDoubtResolution::SendAgain;
                (id, MessageCommand::Resolve { resolution, due_at, at: due_at })
            })
            .collect();
        self.record_settled(commands).await;
        Ok(())
    }
}
