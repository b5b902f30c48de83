//! A row for each message, as it was when the export began.

use domain::message::{DeliveryStatus, Direction, Message};
use domain::port::{Position, RecordedEvent, StreamId};
use domain::pricing::{RateCard, cost};
use domain::primitives::{Personal, WorkspaceId};
use infrastructure::cloud_api::error_table::row_of;
use uuid::Uuid;

use super::super::table::{Cell, Column, Content, Kind, Row};
use super::{Batch, Log, word};
use crate::application::error::AppResult;

pub(super) static COLUMNS: [Column; 48] = [
    Column::new("message_id", Kind::Text, "The gateway's id of it; the key of the table"),
    Column::new("position", Kind::Integer, "Of its first event: orders the rows"),
    Column::new("workspace_id", Kind::Text, "The workspace it belongs to"),
    Column::new("account_id", Kind::Text, "The account it went through"),
    Column::new("campaign_id", Kind::Text, "The campaign it is part of"),
    Column::new("external_id", Kind::Text, "The integrator's own id of it"),
    Column::new("is_test", Kind::Boolean, "Sent by `testCampaign`: in no count of the campaign"),
    Column::new("direction", Kind::Text, "`OUTBOUND`, or `INBOUND` where a person wrote"),
    Column::new("content", Kind::Text, "What kind of content it has, such as `template` or `text`"),
    Column::new("template_id", Kind::Text, "The template it was made from"),
    Column::new("template", Kind::Text, "That template's name"),
    Column::new("language", Kind::Text, "That template's language"),
    Column::new("category", Kind::Text, "That template's category when the message was planned"),
    Column::new("contact", Kind::Text, "The pseudonym of the person; empty once they were erased"),
    Column::new("is_contact_erased", Kind::Boolean, "Whether the person was erased"),
    Column::new("country", Kind::Text, "The person's country by their number, as ISO 3166 has it"),
    Column::new("status", Kind::Text, "What it is, such as `DELIVERED`; as in GraphQL"),
    Column::new("status_reason", Kind::Text, "What exactly was missing, or why it was cancelled"),
    Column::new("skip_reason", Kind::Text, "Why the person was left out"),
    Column::new("attempts", Kind::Integer, "How often it was handed to WhatsApp"),
    Column::new("created_at", Kind::Timestamp, "When it was planned, or received"),
    Column::new("due_at", Kind::Timestamp, "When it falls, or fell, due"),
    Column::new("requested_at", Kind::Timestamp, "When it was last handed to WhatsApp"),
    Column::new("accepted_at", Kind::Timestamp, "When WhatsApp took it"),
    Column::new("sent_at", Kind::Timestamp, "When it was on its way"),
    Column::new("delivered_at", Kind::Timestamp, "When it was on the phone"),
    Column::new("read_at", Kind::Timestamp, "When it was read or played"),
    Column::new("replied_at", Kind::Timestamp, "When the person answered it first"),
    Column::new(
        "clicked_at",
        Kind::Timestamp,
        "When the person first tapped a button of it, or a link",
    ),
    Column::new("opted_out_at", Kind::Timestamp, "When the person said stop to it"),
    Column::new("failed_at", Kind::Timestamp, "When it failed"),
    Column::new(
        "failure_code",
        Kind::Integer,
        "WhatsApp's error code; empty where the request never got there",
    ),
    Column::new("failure_title", Kind::Text, "What WhatsApp says of it"),
    Column::new("failure_details", Kind::Text, "What WhatsApp adds to that"),
    Column::new("failure_meaning", Kind::Text, "What the code means, in the gateway's words"),
    Column::new("failure_remedy", Kind::Text, "What can be done about it"),
    Column::new(
        "billing_category",
        Kind::Text,
        "What WhatsApp bills it as: as reported, else as far as can be assumed",
    ),
    Column::new(
        "is_billed",
        Kind::Boolean,
        "Whether WhatsApp bills it; empty where it does not have it",
    ),
    Column::new(
        "cost",
        Kind::Decimal,
        "By the workspace's rate card at the end of the export; empty where no rate is known",
    ),
    Column::new("currency", Kind::Text, "Of the cost"),
    Column::new(
        "is_cost_estimated",
        Kind::Boolean,
        "WhatsApp has not said yet what it bills it as",
    ),
    Column::new("pricing", Kind::Json, "What WhatsApp says of its price, as it came"),
    Column::new("contact_id", Kind::Text, "The id of the person's contact").personal(),
    Column::new("phone", Kind::Text, "The person's number").personal(),
    Column::new("user_id", Kind::Text, "WhatsApp's business-scoped id of the person").personal(),
    Column::new("wamid", Kind::Text, "WhatsApp's own id of the message").personal(),
    Column::new("text", Kind::Text, "The text a person sees on the phone").personal(),
    Column::new("metadata", Kind::Json, "The integrator's own facts about it").personal(),
];

/// What a message's stream begins with.
pub(super) const FIRST_TYPES: [&str; 5] = [
    "message.scheduled",
    "message.queued",
    "message.skipped",
    "message.received",
    "message.echoed",
];

pub(super) async fn next(log: &mut Log<'_>, after: Position) -> AppResult<Batch> {
    let (messages, scanned_to, is_last) = read(log, after, true).await?;
    let headers = messages.iter().filter_map(|(_, message)| message.header.as_ref());
    let workspaces: Vec<WorkspaceId> = headers.clone().map(|header| header.workspace_id).collect();
    let contacts: Vec<Uuid> = headers.map(|header| header.contact_id.0).collect();
    log.learn_cards(workspaces.into_iter()).await?;
    let pseudonyms = log.pseudonyms(contacts.into_iter()).await?;
    let rows = messages.into_iter().filter_map(|(first, message)| {
        let header = message.header.as_ref()?;
        let contact = pseudonyms.get(&header.contact_id.0).cloned().flatten();
        let card = log.cards.get(&header.workspace_id)?;
        let content = Content::Cells(cells(&first, &message, contact, card, log.is_personal())?);
        Some(Row { position: first.position, day: first.recorded_at.date_naive(), content })
    });
    Ok(Batch { rows: rows.collect(), scanned_to, is_last })
}

/// Messages by their first events, as they were at the end of what is exported.
pub(super) async fn read(
    log: &Log<'_>,
    after: Position,
    with_times: bool,
) -> AppResult<(Vec<(RecordedEvent, Message)>, Position, bool)> {
    let filter = log.filter(&FIRST_TYPES, with_times);
    let (mut firsts, scanned_to, is_last) = log.read(after, &filter).await?;
    let campaigns = &log.request.filter.campaign_ids;
    firsts.retain(|event| {
        event.sequence == 1
            && (campaigns.is_empty()
                || campaign_of(event).is_some_and(|id| campaigns.contains(&id)))
    });
    let streams: Vec<StreamId> = firsts.iter().map(|event| event.stream).collect();
    let mut folded = log.fold::<Message>(&streams).await?;
    let messages = firsts.into_iter().filter_map(|event| {
        let message = folded.remove(&event.stream.id)?;
        Some((event, message))
    });
    Ok((messages.collect(), scanned_to, is_last))
}

fn campaign_of(first: &RecordedEvent) -> Option<Uuid> {
    let header = first.data.get("header").unwrap_or(&first.data);
    Uuid::try_parse(header.get("campaign_id")?.as_str()?).ok()
}

fn cells(
    first: &RecordedEvent,
    message: &Message,
    contact: Option<String>,
    card: &RateCard,
    personal: bool,
) -> Option<Vec<Cell>> {
    let header = message.header.as_ref()?;
    let template = header.template.as_ref();
    let at = |status| message.status_at(status);
    let failure = message.failure();
    let code = failure.and_then(|failure| failure.code);
    let known = code.and_then(row_of);
    let bill = message.bill();
    let cost = bill.as_ref().and_then(|bill| cost(card, [(bill, 1)]));
    let is_erased = contact.is_none();
    let mut cells: Vec<Cell> = vec![
        first.stream.id.into(),
        first.position.0.into(),
        header.workspace_id.0.into(),
        header.account_id.0.into(),
        header.campaign_id.map(|id| id.0).into(),
        header.external_id.as_ref().and_then(Personal::known).cloned().into(),
        header.is_test.into(),
        match message.direction {
            Direction::Outbound => "OUTBOUND",
            Direction::Inbound => "INBOUND",
        }
        .into(),
        word(&header.content_kind).into(),
        template.map(|template| template.id.0).into(),
        template.map(|template| template.name.clone()).into(),
        template.map(|template| template.language.clone()).into(),
        template.map(|template| template.category.as_str()).into(),
        contact.into(),
        is_erased.into(),
        header.country.map(|country| country.to_string()).into(),
        message.status().as_str().into(),
        message.status_reason.clone().into(),
        message.skip.map(|reason| reason.as_str()).into(),
        message.attempt_count().into(),
        message.created_at.into(),
        message.due_at.into(),
        message.latest().map(|(_, attempt)| attempt.requested_at).into(),
        message.accepted_at().into(),
        at(DeliveryStatus::Sent).into(),
        at(DeliveryStatus::Delivered).into(),
        at(DeliveryStatus::Read).or(at(DeliveryStatus::Played)).into(),
        message.engagement.replied_at.into(),
        message.engagement.clicked_at().into(),
        message.engagement.opted_out_at.into(),
        message.failed_at().into(),
        code.into(),
        failure.map(|failure| failure.title.clone()).into(),
        failure.and_then(|failure| failure.details.clone()).into(),
        known.map(|row| row.title).into(),
        known.map(|row| row.remedy).into(),
        bill.and_then(|bill| bill.category).map(|category| category.as_str()).into(),
        bill.map(|bill| bill.billable).into(),
        cost.as_ref().and_then(|cost| cost.amount).into(),
        cost.as_ref().and_then(|cost| Some(cost.currency.as_ref()?.as_str().to_owned())).into(),
        bill.map(|bill| bill.assumed).into(),
        message.pricing.as_ref().map(|(_, pricing)| pricing.clone()).into(),
    ];
    if personal {
        let other = message.counterpart.as_ref().and_then(Personal::known);
        let phone = other.and_then(|other| other.phone.as_ref());
        let user_id = other.and_then(|other| other.user_id.as_ref());
        cells.extend::<[Cell; 6]>([
            (!is_erased).then_some(header.contact_id.0).into(),
            phone.map(|phone| phone.as_str()).into(),
            user_id.map(|user_id| user_id.as_str()).into(),
            message.wamid().and_then(Personal::known).map(|wamid| wamid.as_str()).into(),
            message
                .content
                .as_ref()
                .and_then(Personal::known)
                .map(|content| content.preview())
                .into(),
            header.metadata.as_ref().and_then(Personal::known).cloned().into(),
        ]);
    }
    Some(cells)
}
