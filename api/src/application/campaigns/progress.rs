//! How far campaigns have come.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use domain::campaign::{Campaign, CampaignStatus};
use domain::message::SkipReason;
use domain::pricing::{Bill, Cost, RateCard, cost};
use domain::primitives::CampaignId;
use projections::CampaignCounts;

use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command;
use crate::application::error::{AppError, AppResult};
use crate::application::view::CampaignView;
use crate::application::{read, workspaces};

/// Running campaigns of one answer whose end is forecast, and how much of each may wait. Of the others the end is told by
/// how fast the last minute was.
const FORECAST_MAX: usize = 16;
const FORECAST_PENDING_MAX: u64 = 200_000;

/// Counts of recipients: `recipients = pending + in_doubt + accepted + failed + cancelled + skipped`.
#[derive(Clone, Debug, PartialEq)]
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
    pub opted_out: u64,
    pub cost: Option<Cost>,
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

#[derive(Clone, Debug, PartialEq, Eq)]
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
    gateway: &Arc<Gateway>,
    caller: &Caller,
    ids: &[CampaignId],
) -> AppResult<HashMap<CampaignId, CampaignProgress>> {
    let visible = super::by_ids(gateway, caller, ids).await?;
    let ids: Vec<_> = visible.keys().map(|id| id.0).collect();
    let mut found = read::queries(gateway).campaign_progress(&ids, gateway.clock.now()).await?;
    let running = visible.iter().filter(|(id, campaign)| {
        let pending = found.get(&id.0).map_or(0, |known| known.counts.pending);
        campaign.status == CampaignStatus::Running && (1..=FORECAST_PENDING_MAX).contains(&pending)
    });
    let ends = running
        .take(FORECAST_MAX)
        .map(|(id, _)| async move { Some((*id, super::forecast::end_of(gateway, *id).await?)) });
    let ends: HashMap<CampaignId, DateTime<Utc>> =
        futures::future::join_all(ends).await.into_iter().flatten().collect();
    let ids = visible.values().map(|campaign| campaign.workspace_id);
    let cards = workspaces::rate_cards(gateway, ids).await?;
    let no_card = RateCard::default();
    let with_counts = visible.into_iter().map(|(id, campaign)| {
        let known = found.remove(&id.0).unwrap_or_default();
        let end = ends.get(&id).copied().or(known.estimated_completion);
        let speed = (known.messages_per_second, end);
        let card = cards.get(&campaign.workspace_id).unwrap_or(&no_card);
        (id, of_counts(id, campaign.status, known.counts, card, speed))
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
    // What was billed then is priced by what is known of prices now.
    let workspace = campaign.workspace_id;
    let cards = workspaces::rate_cards(gateway, workspace.into_iter()).await?;
    let card = workspace.and_then(|id| cards.get(&id)).cloned().unwrap_or_default();
    Ok(of_counts(id, campaign.status, known.counts, &card, (0.0, None)))
}

/// Moments of a curve at most.
const POINTS_MAX: i32 = 500;

/// How the counts of a campaign went since it last started, for whoever opens it later: at most `points` moments, evenly
/// spread, up to the last change or `as_of`. Scope READ.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED on `points`.
pub async fn curve(
    gateway: &Gateway,
    caller: &Caller,
    campaign: &CampaignView,
    as_of: Option<DateTime<Utc>>,
    points: i32,
) -> AppResult<Vec<(DateTime<Utc>, CampaignCounts)>> {
    caller.require(Scope::Read)?;
    if !(2..=POINTS_MAX).contains(&points) {
        return Err(AppError::invalid("points", format!("use 2 to {POINTS_MAX}")));
    }
    let Some(from) = campaign.started_at else { return Ok(vec![]) };
    let until = as_of.unwrap_or_else(|| gateway.clock.now());
    let points = u32::try_from(points).unwrap_or_default();
    Ok(read::queries(gateway).campaign_curve(campaign.id.0, (from, until), points).await?)
}

fn of_counts(
    campaign_id: CampaignId,
    status: CampaignStatus,
    counts: CampaignCounts,
    card: &RateCard,
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
    let bills: Vec<(Bill, u64)> = counts
        .bills
        .iter()
        .filter_map(|(key, count)| Some((Bill::parse_key(key)?, *count)))
        .collect();
    let mut buttons: Vec<(String, u64)> = counts.buttons.into_iter().collect();
    buttons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
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
        replied: counts.replied,
        clicked: counts.clicked,
        buttons,
        opted_out: counts.opted_out,
        cost: cost(card, bills.iter().map(|(bill, count)| (bill, *count))),
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
