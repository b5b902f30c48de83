//! How far campaigns have come: read from counters, at any size in the same time.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{Queries, QueryError};
use crate::messages::{CampaignCounts, CountsDoc};
use crate::store::Sql;

/// The stretch that a campaign's speed is measured over.
const SPEED_OVER_S: i64 = 60;

/// A campaign's counts and what follows from how they moved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CampaignProgress {
    pub counts: CampaignCounts,
    /// Accepted by WhatsApp, over the last minute.
    pub messages_per_second: f64,
    /// When nothing is pending any more at this speed; `None` where nothing moves or nothing is left.
    pub estimated_completion: Option<DateTime<Utc>>,
}

/// Counts as they were.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgressAt {
    pub counts: CampaignCounts,
    /// The log's time of the last event in them; `None`: none yet.
    pub at: Option<DateTime<Utc>>,
}

impl Queries {
    /// Progress by campaign. One without messages yet is left out: its counts are zero. The caller has looked up the
    /// campaigns in its scope.
    pub async fn campaign_progress(
        &self,
        ids: &[Uuid],
        now: DateTime<Utc>,
    ) -> Result<HashMap<Uuid, CampaignProgress>, QueryError> {
        let rows = self
            .db
            .query_chunked(ids.iter().copied(), |ids| {
                Sql::new("SELECT campaign_id, doc FROM {campaign_counts} WHERE campaign_id ?*")
                    .with_list(ids)
            })
            .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let id = row.uuid(0)?;
            let doc: CountsDoc = row.doc(1)?;
            let progress = self.with_speed(id, doc, now).await?;
            found.insert(id, progress);
        }
        Ok(found)
    }

    async fn with_speed(
        &self,
        id: Uuid,
        doc: CountsDoc,
        now: DateTime<Utc>,
    ) -> Result<CampaignProgress, QueryError> {
        let since = now - Duration::seconds(SPEED_OVER_S);
        let counts = doc.counts;
        let idle = CampaignProgress { counts: counts.clone(), ..CampaignProgress::default() };
        if doc.last_at < since.timestamp_millis() {
            return Ok(idle);
        }
        let before = self.campaign_progress_as_of(id, since).await?;
        let began = before.at.map_or(doc.first_at, |_| since.timestamp_millis());
        // A campaign that began a moment ago has no speed worth telling from less than a second.
        let seconds = ((now.timestamp_millis() - began) as f64 / 1_000.0).max(1.0);
        let accepted = counts.accepted.saturating_sub(before.counts.accepted);
        let settled = |counts: &CampaignCounts| {
            counts.accepted + counts.failed + counts.cancelled + counts.in_doubt
        };
        let moved = settled(&counts).saturating_sub(settled(&before.counts));
        let left = counts.pending as f64 * seconds / moved as f64 * 1_000.0;
        // Beyond a hundred years it is no estimate.
        let estimated_completion = (counts.pending > 0 && moved > 0 && left < 3.2e12)
            .then(|| now + Duration::milliseconds(left as i64));
        Ok(CampaignProgress {
            counts,
            messages_per_second: accepted as f64 / seconds,
            estimated_completion,
        })
    }

    /// The counts as they were at an instant of the log's time: exact to the second in a campaign's first six hours, to
    /// the minute after.
    pub async fn campaign_progress_as_of(
        &self,
        id: Uuid,
        at: DateTime<Utc>,
    ) -> Result<ProgressAt, QueryError> {
        let sql = Sql::new(
            "SELECT at, doc FROM {campaign_ticks} WHERE campaign_id = ? AND bucket <= ? AND at <= ? \
             ORDER BY bucket DESC LIMIT 1",
        )
        .with(id)
        .with(at)
        .with(at);
        let rows = self.db.query(sql).await?;
        let Some(row) = rows.first() else { return Ok(ProgressAt::default()) };
        Ok(ProgressAt { counts: row.doc(1)?, at: Some(row.instant(0)?) })
    }
}
