//! How far campaigns have come: read from counters, at any size in the same time.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{Queries, QueryError};
use crate::messages::{CampaignCounts, CountsDoc};
use crate::store::{Sql, StoreError};

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

    /// How the counts went, at most `points` moments evenly spread from `from` to the last change or to `until`, whichever
    /// is earlier: as exact as [`Self::campaign_progress_as_of`]. Nothing where nothing has happened since `from`.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn campaign_curve(
        &self,
        id: Uuid,
        (from, until): (DateTime<Utc>, DateTime<Utc>),
        points: u32,
    ) -> Result<Vec<(DateTime<Utc>, CampaignCounts)>, QueryError> {
        let sql = Sql::new(
            "SELECT MAX(at) FROM {campaign_ticks} WHERE campaign_id = ? AND bucket <= ? AND at <= ?",
        )
        .with(id)
        .with(until)
        .with(until);
        let rows = self.db.query(sql).await?;
        let last = rows.first().map(|row| row.opt_instant(0)).transpose()?.flatten();
        let Some(last) = last.filter(|last| *last >= from) else { return Ok(vec![]) };
        let (start, end) = (from.timestamp_millis(), last.timestamp_millis());
        let steps = i64::from(points.max(2) - 1);
        let width = ((end - start) as u64).div_ceil(steps as u64).max(1).cast_signed();
        // The last tick up to each moment: of those in the stretch before it.
        let sql = Sql::new(
            "SELECT bucket, at, doc FROM {campaign_ticks} WHERE campaign_id = ? AND bucket IN \
             (SELECT MAX(bucket) FROM {campaign_ticks} \
              WHERE campaign_id = ? AND at > ? AND bucket <= ? AND at <= ? GROUP BY (at - ? - 1) / ?) \
             ORDER BY bucket",
        )
        .with(id)
        .with(id)
        .with(start)
        .with(until)
        .with(until)
        .with(start)
        .with(width);
        let rows = self.db.query(sql).await?;
        let ticks = rows.iter().map(|row| Ok((row.instant(1)?.timestamp_millis(), row.doc(2)?)));
        let ticks = ticks.collect::<Result<Vec<(i64, CampaignCounts)>, StoreError>>()?;
        let mut ticks = ticks.into_iter().peekable();
        let mut counts = self.campaign_progress_as_of(id, from).await?.counts;
        let mut curve = vec![];
        for step in 0..=steps {
            let moment = (start + step * width).min(end);
            while let Some((_, now)) = ticks.next_if(|(at, _)| *at <= moment) {
                counts = now;
            }
            let at = DateTime::from_timestamp_millis(moment).unwrap_or(from);
            curve.push((at, counts.clone()));
            if moment == end {
                break;
            }
        }
        Ok(curve)
    }
}
