//! Statistics.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use projections::{StatsMeasure, StatsParts};

use super::campaigns::{Cost, FailureCount};
use super::enums::{StatsBasis, StatsBucket, StatsDimension};
use super::scalars::{Instant, Json, Place, TimeZone};
use super::session::{Answer, asked, int, texts};
use crate::application::stats;

/// Which messages, and how they are counted together.
#[derive(Debug, InputObject)]
pub struct DeliveryStatsFilter {
    /// From when on; taken back to the quarter of an hour that it lies in.
    from: Instant,
    /// Until when, exclusively; taken on to the end of the quarter of an hour that it lies in.
    to: Instant,
    /// How long a bucket is. At most 2,000 buckets, and as many rows.
    bucket: StatsBucket,
    /// At which time a message counts.
    #[graphql(default_with = "Some(StatsBasis::Cohort)")]
    basis: Option<StatsBasis>,
    /// A row for each of these together; each once.
    group_by: Option<Vec<StatsDimension>>,
    /// Of this workspace only.
    workspace_id: Option<ID>,
    /// Of these accounts only, at most 200.
    account_ids: Option<Vec<ID>>,
    /// Of these campaigns only, at most 200; without their tests.
    campaign_ids: Option<Vec<ID>>,
    /// Whose hours, days, weeks and months; UTC where left out.
    time_zone: Option<TimeZone>,
}

impl From<DeliveryStatsFilter> for stats::StatsFilter {
    fn from(filter: DeliveryStatsFilter) -> Self {
        Self {
            from: filter.from.0,
            to: filter.to.0,
            bucket: filter.bucket.into(),
            basis: filter.basis.unwrap_or(StatsBasis::Cohort).into(),
            group_by: filter.group_by.into_iter().flatten().map(Into::into).collect(),
            workspace_id: filter.workspace_id.map(|id| id.0),
            account_ids: texts(filter.account_ids),
            campaign_ids: texts(filter.campaign_ids),
            time_zone: filter.time_zone.map(|zone| zone.0),
        }
    }
}

/// What became of the messages of one bucket and group. Each message counts once for each of these, by what holds of it now:
/// what was taken back since (a failure that was retried, a doubt that was settled) does not count any more. By COHORT it
/// is in one of queued, accepted, failed, skipped, inDoubt, expired and cancelled, as in a campaign's progress.
#[derive(Clone, Debug, SimpleObject)]
pub struct DeliveryStats {
    /// When the bucket begins.
    bucket: Instant,
    /// What the messages have in common, by the names of the dimensions; null without groupBy.
    group: Option<Json>,
    /// COHORT: waiting to be sent, or being sent. EVENT_TIME: planned then.
    queued: i32,
    /// With WhatsApp. COHORT: less those that failed later.
    accepted: i32,
    /// On their way, or further.
    sent: i32,
    /// On the phone, or read.
    delivered: i32,
    /// Read.
    read: i32,
    /// Answered by the person.
    replied: i32,
    /// Not delivered, and not expired.
    failed: i32,
    /// Left out before sending.
    skipped: i32,
    /// Nobody knows whether they were sent.
    in_doubt: i32,
    /// Given up because their time to live was over before they could be sent.
    expired: i32,
    /// Taken back before they were sent.
    cancelled: i32,
    /// From WhatsApp's acceptance to the phone, in seconds: within a tenth of a second or 1.6 %, whichever is more.
    median_seconds_to_deliver: Option<f64>,
    /// From the phone to being read, in seconds, of those that were: within a tenth of a second or 1.6 %, whichever is more.
    median_seconds_to_read: Option<f64>,
    /// Why they failed, the most frequent first.
    failures: Vec<FailureCount>,
    /// What WhatsApp bills for them, by the workspace's rate card as it is now; null where nothing is known of it.
    cost: Option<Cost>,
}

impl From<stats::StatsRow> for DeliveryStats {
    fn from(row: stats::StatsRow) -> Self {
        let count = |measure| int(row.count(measure));
        Self {
            bucket: Instant(row.bucket),
            queued: count(StatsMeasure::Queued),
            accepted: count(StatsMeasure::Accepted),
            sent: count(StatsMeasure::Sent),
            delivered: count(StatsMeasure::Delivered),
            read: count(StatsMeasure::Read),
            replied: count(StatsMeasure::Replied),
            failed: count(StatsMeasure::Failed),
            skipped: count(StatsMeasure::Skipped),
            in_doubt: count(StatsMeasure::InDoubt),
            expired: count(StatsMeasure::Expired),
            cancelled: count(StatsMeasure::Cancelled),
            median_seconds_to_deliver: row.median_seconds_to_deliver,
            median_seconds_to_read: row.median_seconds_to_read,
            group: row.group.map(|group| Json(group.into())),
            failures: row.failures.into_iter().map(FailureCount::from).collect(),
            cost: row.cost.map(Cost::from),
        }
    }
}

/// What became of the messages of a period, as in a campaign's progress: recipients = pending + inDoubt + accepted + failed +
/// cancelled + skipped (expired ones count as failed); accepted ≥ sent ≥ delivered ≥ read.
#[derive(Clone, Debug, SimpleObject)]
pub struct MessageCounts {
    /// All of them.
    recipients: i32,
    /// Not sent yet.
    pending: i32,
    /// WhatsApp took them.
    accepted: i32,
    /// On their way.
    sent: i32,
    /// On the phone.
    delivered: i32,
    /// Read.
    read: i32,
    /// Answered by the person.
    replied: i32,
    /// Not delivered, or expired.
    failed: i32,
    /// Taken back before they were sent.
    cancelled: i32,
    /// Left out before sending.
    skipped: i32,
    /// WhatsApp never told what became of them.
    in_doubt: i32,
    /// Why they failed, the most frequent first; expired ones are not among these.
    failures: Vec<FailureCount>,
    /// What WhatsApp bills for them, by the workspace's rate card as it is now; null where nothing is known of it.
    cost: Option<Cost>,
}

impl From<stats::MessageCounts> for MessageCounts {
    fn from(known: stats::MessageCounts) -> Self {
        let count = |measure| int(known.count(measure));
        Self {
            recipients: int(known.recipients()),
            pending: count(StatsMeasure::Queued),
            accepted: count(StatsMeasure::Accepted),
            sent: count(StatsMeasure::Sent),
            delivered: count(StatsMeasure::Delivered),
            read: count(StatsMeasure::Read),
            replied: count(StatsMeasure::Replied),
            failed: int(known.failed()),
            cancelled: count(StatsMeasure::Cancelled),
            skipped: count(StatsMeasure::Skipped),
            in_doubt: count(StatsMeasure::InDoubt),
            failures: known.failures.into_iter().map(FailureCount::from).collect(),
            cost: known.cost.map(Cost::from),
        }
    }
}

#[derive(Default)]
pub(super) struct StatsQuery;

#[Object]
impl StatsQuery {
    /// What became of the messages of a period, from the counters of deliveryStats: any size in the same time. Each message
    /// counts when WhatsApp accepted it; what it did not accept, when that was last tried, else when it was made. Scope READ.
    async fn message_counts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this workspace only.")] workspace_id: Option<ID>,
        #[graphql(desc = "Of these accounts only, at most 200.")] account_ids: Option<Vec<ID>>,
        #[graphql(desc = "Taken back to the quarter of an hour that it lies in.")] from: Instant,
        #[graphql(
            desc = "Exclusive; taken on to the end of the quarter of an hour that it lies in. Now where left out."
        )]
        to: Option<Instant>,
    ) -> Answer<MessageCounts> {
        let (gateway, caller) = asked(ctx);
        let selected = |name| ctx.look_ahead().field(name).exists();
        let parts = StatsParts {
            bills: selected("cost"),
            failures: selected("failures"),
            ..StatsParts::default()
        };
        let filter = stats::CountsFilter {
            workspace_id: workspace_id.map(|id| id.0),
            account_ids: texts(account_ids),
            from: from.0,
            to: to.map(|to| to.0),
        };
        Ok(stats::counts(gateway, caller, filter, parts).await?.into())
    }

    /// What became of messages, by time and by what they have in common, in order; buckets and groups in which nothing
    /// counts are left out. Messages that the gateway sends, and a campaign's tests as messages of no campaign.
    /// Scope READ.
    async fn delivery_stats(
        &self,
        ctx: &Context<'_>,
        filter: DeliveryStatsFilter,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Vec<DeliveryStats>> {
        let (gateway, caller) = asked(ctx);
        let selected = |name| ctx.look_ahead().field(name).exists();
        let parts = StatsParts {
            to_deliver: selected("medianSecondsToDeliver"),
            to_read: selected("medianSecondsToRead"),
            bills: selected("cost"),
            failures: selected("failures"),
        };
        let min_position = min_position.map(|place| place.0);
        let rows = stats::delivery(gateway, caller, filter.into(), parts, min_position).await?;
        Ok(rows.into_iter().map(DeliveryStats::from).collect())
    }
}
