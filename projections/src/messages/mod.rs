//! The messages' read models: the messages themselves, what dispatch has to do about them, who may be written to
//! freely, the conversations, and the campaigns' counts. Reads contacts' events too, for two things only: what an erased
//! person wrote and was written goes, and contacts that were merged are one person.

mod conversations;
mod counts;
mod fold;
mod recent;
mod stats;
mod tables;

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::contact::ContactEvent;
use domain::conversation::ConversationEvent;
use domain::message::{Message, MessageEvent};
use domain::port::{AggregateType, RecordedEvent};
use uuid::Uuid;

pub(crate) use conversations::COLUMNS as CONVERSATION_COLUMNS;
#[cfg(test)]
pub(crate) use conversations::CONVERSATIONS;
pub use conversations::{ConversationRow, Place};
use conversations::{Conversations, Needed};
pub(crate) use counts::CountsDoc;
pub use counts::{CampaignCounts, FailureCount};
use fold::{Batch, Step, Written};
pub(crate) use recent::Recent;
pub(crate) use stats::{PartKind, seconds_of_bin};
pub use stats::{QUARTER_S, StatsBasis, StatsMeasure};
pub use tables::AgendaKind;
pub(crate) use tables::{SCHEMA, WITH_WHATSAPP, from_text, stage, text_of, wamid_hash};

use crate::projector::{ProjectError, Projection, decode, off_executor};
use crate::store::{Row, Schema, Sql, View, Write};

/// Its stable name.
pub const NAME: &str = "messages";

pub(crate) struct Messages;

#[async_trait]
impl Projection for Messages {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn aggregate_types(&self) -> &'static [AggregateType] {
        &[AggregateType::Message, AggregateType::Contact, AggregateType::Conversation]
    }

    async fn project(
        &self,
        view: &View,
        recent: &mut Recent,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<Write>, ProjectError> {
        let steps = off_executor(move || read(&events)).await?;
        let (mut ids, mut erased, mut campaigns) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut needed = Needed::default();
        for step in &steps {
            match step {
                Step::Message { id, event, .. } => {
                    ids.insert(*id);
                    campaigns.extend(campaign_of(event));
                    needed.message(event);
                }
                Step::Conversation { id, .. } => {
                    needed.ids.insert(*id);
                }
                Step::Merged { from, into } => {
                    needed.merges.insert(*from, *into);
                }
                Step::Erased { contact_id } => {
                    erased.insert(*contact_id);
                }
            }
        }
        let mut batch = Batch::new(conversations(view, &needed).await?);
        ids.retain(|id| match recent.take(*id) {
            Some((sequence, message)) => {
                campaigns.extend(batch.know_message(*id, sequence, message));
                false
            }
            None => true,
        });
        let mut rows = view
            .query_chunked(ids, |ids| {
                Sql::new("SELECT id, sequence, doc, campaign_id FROM {messages} WHERE id ?*")
                    .with_list(ids)
            })
            .await?;
        rows.extend(
            view.query_chunked(erased, |contacts| {
                Sql::new(
                    "SELECT id, sequence, doc, campaign_id FROM {messages} WHERE contact_id ?*",
                )
                .with_list(contacts)
            })
            .await?,
        );
        for row in &rows {
            campaigns.extend(row.opt_uuid(3)?);
        }
        let counts = view
            .query_chunked(campaigns, |ids| {
                Sql::new("SELECT campaign_id, doc FROM {campaign_counts} WHERE campaign_id ?*")
                    .with_list(ids)
            })
            .await?;
        let (writes, written) = off_executor(move || fold(batch, &rows, &counts, steps)).await?;
        for Written { id, sequence, message, bytes } in written {
            recent.put(id, sequence, message, bytes);
        }
        Ok(writes)
    }
}

/// What a batch needs to know of conversations.
async fn conversations(view: &View, needed: &Needed) -> Result<Conversations, ProjectError> {
    let mut known = Conversations::default();
    let people = view.query_chunked(needed.people(), conversations::people_by_half).await?;
    known.know_people(&people)?;
    if !needed.merges.is_empty() {
        let merging = known.merging(needed);
        let halves = view.query_chunked(merging, conversations::people_by_kept).await?;
        known.know_people(&halves)?;
        let merging = known.merging(needed);
        let theirs = view.query_chunked(merging, conversations::rows_by_contact).await?;
        known.know(&theirs)?;
    }
    let rows = view.query_chunked(known.ids(needed), conversations::rows_by_id).await?;
    known.know(&rows)?;
    Ok(known)
}

fn read(events: &[RecordedEvent]) -> Result<Vec<Step>, ProjectError> {
    let mut steps = Vec::with_capacity(events.len());
    for event in events {
        if event.is(AggregateType::Message) {
            if let Some(decoded) = decode::<MessageEvent>(event, MessageEvent::CATALOGUE)? {
                steps.push(Step::Message {
                    id: event.stream.id,
                    sequence: event.sequence,
                    event: Box::new(decoded),
                    recorded_at: event.recorded_at,
                });
            }
        } else if event.is(AggregateType::Conversation) {
            let decoded = decode::<ConversationEvent>(event, ConversationEvent::CATALOGUE)?;
            steps.extend(decoded.map(|event_of| Step::Conversation {
                id: event.stream.id,
                event: Box::new(event_of),
            }));
        } else if matches!(event.event_type.as_str(), "contact.erased" | "contact.merged") {
            match decode::<ContactEvent>(event, ContactEvent::CATALOGUE)? {
                Some(ContactEvent::Erased { .. }) => {
                    steps.push(Step::Erased { contact_id: event.stream.id });
                }
                Some(ContactEvent::Merged { into, .. }) => {
                    steps.push(Step::Merged { from: event.stream.id, into: into.0 });
                }
                _ => {}
            }
        }
    }
    Ok(steps)
}

fn campaign_of(event: &MessageEvent) -> Option<Uuid> {
    let header = match event {
        MessageEvent::Scheduled { header, .. }
        | MessageEvent::Queued { header, .. }
        | MessageEvent::Received { header, .. }
        | MessageEvent::Echoed { header, .. } => header,
        MessageEvent::Skipped { header, .. } => header.as_deref()?,
        _ => return None,
    };
    header.campaign_id.map(|id| id.0)
}

/// `batch` knows some messages already.
fn fold(
    mut batch: Batch,
    rows: &[Row],
    counts: &[Row],
    steps: Vec<Step>,
) -> Result<(Vec<Write>, Vec<Written>), ProjectError> {
    for row in rows {
        batch.know_message(row.uuid(0)?, row.count(1)?, row.doc::<Message>(2)?);
    }
    for row in counts {
        batch.know_counts(row.uuid(0)?, row.doc::<CountsDoc>(1)?);
    }
    for step in steps {
        batch.apply(step);
    }
    Ok(batch.into_writes())
}
