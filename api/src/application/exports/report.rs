//! A campaign's recipients as a file for people: a line for each, read from the read models a page at a time while it is sent.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::api_key::Scope;
use domain::campaign::Campaign;
use domain::primitives::{CampaignId, ContactId};
use futures::{Stream, stream};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::encode::csv_line;
use super::table::{Cell, Column, Kind};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::error::{AppError, AppResult, ErrorCode};
use crate::application::messages::{self, MessageFilter};
use crate::application::page::{PAGE_MAX, PageArgs};
use crate::application::view::{ContactView, MessageView};
use crate::application::{command, contacts};

/// Reports that are sent at the same time.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

/// The columns, in order; those of personal data with the scope PERSONAL only.
pub static COLUMNS: [Column; 20] = [
    Column::new("contact_id", Kind::Text, "The id of the person's contact"),
    Column::new("phone", Kind::Text, "The number that it was sent to").personal(),
    Column::new("name", Kind::Text, "The person's name as it is now").personal(),
    Column::new("status", Kind::Text, "What the message is, such as `DELIVERED`"),
    Column::new("skip_reason", Kind::Text, "Why the person was left out"),
    Column::new("status_reason", Kind::Text, "What exactly was missing, or why it was cancelled"),
    Column::new("failure_code", Kind::Integer, "WhatsApp's error code"),
    Column::new("failure_title", Kind::Text, "What WhatsApp says of it"),
    Column::new("failure_details", Kind::Text, "What WhatsApp adds to that"),
    Column::new("attempts", Kind::Integer, "How often it was handed to WhatsApp"),
    Column::new("created_at", Kind::Timestamp, "When it was planned"),
    Column::new("due_at", Kind::Timestamp, "When it fell, or falls, due"),
    Column::new("accepted_at", Kind::Timestamp, "When WhatsApp took it"),
    Column::new("sent_at", Kind::Timestamp, "When it was on its way"),
    Column::new("delivered_at", Kind::Timestamp, "When it was on the phone"),
    Column::new("read_at", Kind::Timestamp, "When it was read or played"),
    Column::new("replied_at", Kind::Timestamp, "When the person answered it first"),
    Column::new("clicked_at", Kind::Timestamp, "When the person first tapped a button of it"),
    Column::new("failed_at", Kind::Timestamp, "When it failed"),
    Column::new("message_id", Kind::Text, "The gateway's id of the message"),
];

/// A report that is being sent.
struct Report {
    gateway: Arc<Gateway>,
    caller: Caller,
    filter: MessageFilter,
    after: Option<String>,
    stage: Stage,
    _place: SemaphorePermit<'static>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Rows,
    End,
}

/// The lines of a campaign's report: its recipients, those left out included, tests not, the newest first, as the read models
/// have them when each page is read. Cells that a spreadsheet would run are told to be text. Scope READ; number and name are
/// there with PERSONAL.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; RATE_LIMITED while too many are being sent.
pub async fn report(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    id: &str,
) -> AppResult<impl Stream<Item = AppResult<Bytes>> + use<>> {
    caller.require(Scope::Read)?;
    let (id, _) = command::known::<Campaign>(gateway, caller, id, "campaign").await?;
    let place = AT_ONCE.try_acquire().map_err(|_| {
        AppError::new(
            ErrorCode::RateLimited,
            "too many reports are being sent right now; try again in a moment",
        )
    })?;
    let report = Report {
        gateway: gateway.clone(),
        caller: caller.clone(),
        filter: MessageFilter { within: Some(CampaignId(id)), ..MessageFilter::default() },
        after: None,
        stage: Stage::Head,
        _place: place,
    };
    Ok(stream::try_unfold(report, |mut report| async move {
        Ok(report.next().await?.map(|lines| (lines, report)))
    }))
}

impl Report {
    async fn next(&mut self) -> AppResult<Option<Bytes>> {
        let personal = self.caller.has(Scope::Personal);
        match self.stage {
            Stage::Head => {
                self.stage = Stage::Rows;
                let shown = COLUMNS.iter().filter(|column| personal || !column.personal);
                let mut line = Vec::new();
                csv_line(&mut line, shown.map(|column| column.name.into()))
                    .map_err(AppError::internal)?;
                return Ok(Some(line.into()));
            }
            Stage::End => return Ok(None),
            Stage::Rows => {}
        }
        let page = PageArgs {
            first: i32::try_from(PAGE_MAX).ok(),
            after: self.after.take(),
            ..PageArgs::default()
        };
        let page = messages::list(&self.gateway, &self.caller, self.filter.clone(), page, None);
        let page = page.await?;
        match page.end_cursor.filter(|_| page.has_next_page) {
            Some(end) => self.after = Some(end),
            None => self.stage = Stage::End,
        }
        let rows: Vec<MessageView> =
            page.edges.into_iter().map(|edge| edge.node).filter(|row| !row.is_test).collect();
        let people = if personal { self.people(&rows).await? } else { HashMap::new() };
        let mut lines = Vec::new();
        for row in rows {
            let person = people.get(&row.contact_id);
            csv_line(&mut lines, cells(row, person, personal)).map_err(AppError::internal)?;
        }
        Ok(Some(lines.into()))
    }

    async fn people(&self, rows: &[MessageView]) -> AppResult<HashMap<ContactId, ContactView>> {
        let ids: Vec<ContactId> = rows.iter().map(|row| row.contact_id).collect();
        contacts::by_ids(&self.gateway, &self.caller, &ids).await
    }
}

fn cells(row: MessageView, person: Option<&ContactView>, personal: bool) -> Vec<Cell> {
    let failure = row.failure;
    let mut cells: Vec<Cell> = vec![row.contact_id.0.into()];
    if personal {
        cells.push(row.to.into());
        cells.push(person.and_then(|person| person.name.clone()).into());
    }
    cells.extend::<[Cell; 17]>([
        row.status.as_str().into(),
        row.skip_reason.map(|reason| reason.as_str()).into(),
        row.status_reason.into(),
        failure.as_ref().and_then(|failure| failure.code).into(),
        failure.as_ref().map(|failure| failure.title.clone()).into(),
        failure.and_then(|failure| failure.details).into(),
        row.attempts.into(),
        row.created_at.into(),
        row.due_at.into(),
        row.accepted_at.into(),
        row.sent_at.into(),
        row.delivered_at.into(),
        row.read_at.into(),
        row.replied_at.into(),
        row.clicked_at.into(),
        row.failed_at.into(),
        row.id.0.into(),
    ]);
    cells
}
