//! How far campaigns have come.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use domain::campaign::{Campaign, CampaignStatus};
use domain::message::SkipReason;
use domain::primitives::CampaignId;
use projections::CampaignCounts;

use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command;
use crate::application::error::AppResult;
use crate::application::read;

/// Counts of recipients: `recipients = pending + in_doubt + accepted + failed + cancelled + skipped`.
#[derive(Clone, Debug)]
pub struct CampaignProgress {
    pub campaign_id: CampaignId,
    pub status: CampaignStatus,
    pub recipients: u64,
    pub pending: u64,
    pub accepted: u64,
    pub sent: u64,
    pub delivered: u64,
    pub read: u64,
    pub replied: u64,
    pub clicked: u64,
    pub buttons: Vec<(String, u64)>,
    pub failed: u64,
    pub cancelled: u64,
    pub skipped: u64,
    pub skips: Vec<(SkipReason, u64)>,
    pub in_doubt: u64,
    /// Accepted by WhatsApp, over the last minute.
    pub messages_per_second: f64,
    pub estimated_completion: Option<DateTime<Utc>>,
    /// The most frequent first.
    pub failures: Vec<FailureCount>,
}

#[derive(Clone, Debug)]
pub struct FailureCount {
    pub code: Option<i64>,
    pub title: String,
    pub count: u64,
}

/// Those of these campaigns that the caller may see, with their progress. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn progress(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[CampaignId],
) -> AppResult<HashMap<CampaignId, CampaignProgress>> {
    let visible = super::by_ids(gateway, caller, ids).await?;
    let ids: Vec<_> = visible.keys().map(|id| id.0).collect();
    let mut found = read::queries(gateway).campaign_progress(&ids, gateway.clock.now()).await?;
    let with_counts = visible.into_iter().map(|(id, campaign)| {
        let known = found.remove(&id.0).unwrap_or_default();
        let speed = (known.messages_per_second, known.estimated_completion);
        (id, of_counts(id, campaign.status, known.counts, speed))
    });
    Ok(with_counts.collect())
}

/// A campaign's progress as it was at an instant: exact to the second in its first hours, to the minute after. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn progress_as_of(
    gateway: &Gateway,
    caller: &Caller,
    id: CampaignId,
    at: DateTime<Utc>,
) -> AppResult<CampaignProgress> {
    caller.require(Scope::Read)?;
    let (_, campaign) =
        command::known_at::<Campaign>(gateway, caller, &id.to_string(), at, "campaign").await?;
    let known = read::queries(gateway).campaign_progress_as_of(id.0, at).await?;
    Ok(of_counts(id, campaign.status, known.counts, (0.0, None)))
}

fn of_counts(
    campaign_id: CampaignId,
    status: CampaignStatus,
    counts: CampaignCounts,
    (messages_per_second, estimated_completion): (f64, Option<DateTime<Utc>>),
) -> CampaignProgress {
    let mut failures: Vec<FailureCount> = counts
        .failures
        .into_values()
        .map(|failure| FailureCount {
            code: failure.code,
            title: failure.title,
            count: failure.count,
        })
        .collect();
    failures.sort_by_key(|failure| (std::cmp::Reverse(failure.count), failure.code));
    CampaignProgress {
        campaign_id,
        status,
        recipients: counts.recipients,
        pending: counts.pending,
        accepted: counts.accepted,
        sent: counts.sent,
        delivered: counts.delivered,
        read: counts.read,
        // Replies and clicks are told apart by a later version; nothing is counted for them until then.
        replied: 0,
        clicked: 0,
        buttons: vec![],
        failed: counts.failed,
        cancelled: counts.cancelled,
        skipped: counts.skipped,
        skips: counts.skips.into_iter().collect(),
        in_doubt: counts.in_doubt,
        messages_per_second,
        estimated_completion,
        failures,
    }
}
