//! A row for each campaign, as it was when the export began, with the counts of its messages then. Those are counted anew
//! from the log, which costs as much as reading all messages: it holds the counts of all campaigns meanwhile, and no
//! message.

use std::collections::HashMap;

use domain::campaign::Campaign;
use domain::port::{Position, RecordedEvent, StreamId};
use domain::pricing::{Bill, RateCard, cost};
use domain::primitives::Personal;
use infrastructure::cloud_api::error_table::row_of;
use projections::CampaignCounts;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::table::{Cell, Column, Content, Kind, Row};
use super::{Batch, Log, messages};
use crate::application::error::AppResult;

pub(super) static COLUMNS: [Column; 42] = [
    Column::new("campaign_id", Kind::Text, "The campaign's id; the key of the table"),
    Column::new("position", Kind::Integer, "Of its first event: orders the rows"),
    Column::new("workspace_id", Kind::Text, "The workspace it belongs to"),
    Column::new("account_id", Kind::Text, "The account it goes through"),
    Column::new("external_id", Kind::Text, "The integrator's own id of it"),
    Column::new("name", Kind::Text, "Its name"),
    Column::new("status", Kind::Text, "What it is, such as `RUNNING`; as in GraphQL"),
    Column::new("status_reason", Kind::Text, "Why it is paused or cancelled"),
    Column::new("is_deleted", Kind::Boolean, "Whether it was deleted"),
    Column::new("template_id", Kind::Text, "The template it sends"),
    Column::new(
        "schedule_start",
        Kind::Text,
        "The local time it was meant to start at, without a zone",
    ),
    Column::new("schedule_zone", Kind::Text, "That time's zone, as IANA names it"),
    Column::new("is_recipient_local", Kind::Boolean, "Whether that is everybody's own local time"),
    Column::new("recurrence", Kind::Text, "How it is repeated, as an RRULE"),
    Column::new("messages_per_second", Kind::Integer, "How fast it may go, where that was limited"),
    Column::new(
        "time_to_live_s",
        Kind::Integer,
        "Given up on a person not reached this many seconds after the message fell due",
    ),
    Column::new("created_at", Kind::Timestamp, "When it was drafted"),
    Column::new("start_at", Kind::Timestamp, "When a scheduled one starts"),
    Column::new("started_at", Kind::Timestamp, "When its latest occurrence started"),
    Column::new("ended_at", Kind::Timestamp, "When it was completed or cancelled"),
    Column::new(
        "recipients",
        Kind::Integer,
        "pending + in_doubt + accepted + failed + cancelled + skipped",
    ),
    Column::new("pending", Kind::Integer, "Still waiting"),
    Column::new("in_doubt", Kind::Integer, "Nobody knows what became of the call"),
    Column::new(
        "accepted",
        Kind::Integer,
        "WhatsApp has them; those that are sent, delivered and read are among them",
    ),
    Column::new(
        "sent",
        Kind::Integer,
        "On their way; those that are delivered and read are among them",
    ),
    Column::new("delivered", Kind::Integer, "On the phone; those that are read are among them"),
    Column::new("read", Kind::Integer, "Read or played"),
    Column::new("replied", Kind::Integer, "Answered"),
    Column::new("clicked", Kind::Integer, "A button or link was tapped"),
    Column::new("opted_out", Kind::Integer, "The person said stop to it"),
    Column::new("failed", Kind::Integer, "Failed or expired"),
    Column::new("cancelled", Kind::Integer, "Cancelled before they were sent"),
    Column::new("skipped", Kind::Integer, "Left out"),
    Column::new("skips", Kind::Json, "Why people were left out: reason → how many"),
    Column::new(
        "failures",
        Kind::Json,
        "Why messages failed: a list of `{code, title, meaning, count}`",
    ),
    Column::new("buttons", Kind::Json, "Which buttons were tapped: label → how many people"),
    Column::new(
        "cost",
        Kind::Decimal,
        "By the workspace's rate card at the end of the export; empty where a rate is missing",
    ),
    Column::new("currency", Kind::Text, "Of the cost; empty where there are several"),
    Column::new(
        "is_cost_estimated",
        Kind::Boolean,
        "Of some messages WhatsApp has not said yet what they are billed as",
    ),
    Column::new("metadata", Kind::Json, "The integrator's own facts about it").personal(),
    Column::new("parameters", Kind::Json, "What fills the template's slots").personal(),
    Column::new("audience", Kind::Json, "Whom it is for: segments, tags and contacts, by id")
        .personal(),
];

const FIRST_TYPE: &str = "campaign.drafted";

#[derive(Default)]
pub(super) struct Campaigns {
    counted_to: Position,
    are_counted: bool,
    counts: HashMap<Uuid, CampaignCounts>,
}

impl Campaigns {
    pub(super) async fn next(&mut self, log: &mut Log<'_>, after: Position) -> AppResult<Batch> {
        if !self.are_counted {
            self.count(log).await?;
            // Nothing of the campaigns themselves was looked at yet.
            return Ok(Batch { rows: vec![], scanned_to: after, is_last: false });
        }
        let (mut firsts, scanned_to, is_last) =
            log.read(after, &log.filter(&[FIRST_TYPE], true)).await?;
        let asked = &log.request.filter.campaign_ids;
        firsts.retain(|event| asked.is_empty() || asked.contains(&event.stream.id));
        let streams: Vec<StreamId> = firsts.iter().map(|event| event.stream).collect();
        let folded = log.fold::<Campaign>(&streams).await?;
        log.learn_cards(folded.values().filter_map(|campaign| campaign.workspace_id)).await?;
        let nothing = CampaignCounts::default();
        let rows = firsts.into_iter().filter_map(|first| {
            let campaign = folded.get(&first.stream.id)?;
            let counts = self.counts.get(&first.stream.id).unwrap_or(&nothing);
            let card = log.cards.get(&campaign.workspace_id?)?;
            let content = Content::Cells(cells(&first, campaign, counts, card, log.is_personal()));
            Some(Row { position: first.position, day: first.recorded_at.date_naive(), content })
        });
        Ok(Batch { rows: rows.collect(), scanned_to, is_last })
    }

    /// Counts another page of messages.
    async fn count(&mut self, log: &Log<'_>) -> AppResult<()> {
        // A campaign's messages may be younger than what is asked of the campaign itself.
        let (found, scanned_to, is_last) = messages::read(log, self.counted_to, false).await?;
        for (_, message) in found {
            let header = message.header.as_ref().filter(|header| !header.is_test);
            if let Some(id) = header.and_then(|header| header.campaign_id) {
                self.counts.entry(id.0).or_default().add(&message);
            }
        }
        (self.counted_to, self.are_counted) = (scanned_to, is_last);
        Ok(())
    }
}

fn cells(
    first: &RecordedEvent,
    campaign: &Campaign,
    counts: &CampaignCounts,
    card: &RateCard,
    personal: bool,
) -> Vec<Cell> {
    let plan = campaign.plan.as_ref();
    let schedule = plan.and_then(|plan| plan.schedule.as_ref());
    let bills =
        counts.bills.iter().filter_map(|(key, count)| Some((Bill::parse_key(key)?, *count)));
    let bills: Vec<(Bill, u64)> = bills.collect();
    let cost = cost(card, bills.iter().map(|(bill, count)| (bill, *count)));
    let skips: Value = counts
        .skips
        .iter()
        .map(|(reason, count)| (reason.as_str().to_owned(), Value::from(*count)))
        .collect();
    let failures = counts.failures.values().map(|failure| {
        let meaning = failure.code.and_then(row_of).map(|row| row.title);
        json!({ "code": failure.code, "title": failure.title, "meaning": meaning, "count": failure.count })
    });
    let failures: Value = failures.collect();
    let buttons: Value =
        counts.buttons.iter().map(|(label, count)| (label.clone(), Value::from(*count))).collect();
    let mut cells: Vec<Cell> = vec![
        first.stream.id.into(),
        first.position.0.into(),
        campaign.workspace_id.map(|id| id.0).into(),
        campaign.account_id.map(|id| id.0).into(),
        campaign.external_id.clone().into(),
        plan.map(|plan| plan.name.clone()).into(),
        campaign.status.as_str().into(),
        campaign.status_reason.clone().into(),
        campaign.deleted.into(),
        plan.map(|plan| plan.template_id.0).into(),
        schedule.map(|schedule| schedule.start_at.format("%Y-%m-%dT%H:%M:%S").to_string()).into(),
        schedule.map(|schedule| schedule.time_zone.clone()).into(),
        schedule.map(|schedule| schedule.recipient_local).into(),
        schedule.and_then(|schedule| schedule.recurrence.clone()).into(),
        plan.and_then(|plan| plan.messages_per_second).into(),
        plan.and_then(|plan| plan.time_to_live_s).into(),
        campaign.created_at.into(),
        campaign.start_at.into(),
        campaign.started_at.into(),
        campaign.ended_at.into(),
        counts.recipients.into(),
        counts.pending.into(),
        counts.in_doubt.into(),
        counts.accepted.into(),
        counts.sent.into(),
        counts.delivered.into(),
        counts.read.into(),
        counts.replied.into(),
        counts.clicked.into(),
        counts.opted_out.into(),
        counts.failed.into(),
        counts.cancelled.into(),
        counts.skipped.into(),
        skips.into(),
        failures.into(),
        buttons.into(),
        cost.as_ref().and_then(|cost| cost.amount).into(),
        cost.as_ref().and_then(|cost| Some(cost.currency.as_ref()?.as_str().to_owned())).into(),
        cost.as_ref().map(|cost| cost.estimated).into(),
    ];
    if personal {
        let parameters = plan.and_then(|plan| plan.parameters.known());
        let audience = plan.and_then(|plan| serde_json::to_value(&plan.audience).ok());
        cells.extend::<[Cell; 3]>([
            campaign.metadata.as_ref().and_then(Personal::known).cloned().into(),
            parameters.map(|parameters| Value::Object(parameters.clone())).into(),
            audience.into(),
        ]);
    }
    cells
}
