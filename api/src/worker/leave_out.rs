//! Whom a campaign leaves out when it is planned, beside what one contact alone tells: people who have its message already
//! as another contact that went into theirs, marketing that WhatsApp would not deliver, and more marketing than the
//! campaign's cap allows. What may change is judged again when the message falls due.

use std::collections::HashMap;

use domain::campaign::Campaign;
use domain::delivery::{AtPlanning, PlannedRecipient};
use domain::template::TemplateCategory;
use uuid::Uuid;

use super::dispatch::takes_no_marketing;
use super::people::{People, everyone_of, there_twice};
use crate::app::Gateway;

/// Marks those of these recipients that the campaign leaves out; who is left out already stays so for the first reason.
///
/// # Errors
/// Where the store or the read models are away.
pub(crate) async fn leave_out(
    gateway: &Gateway,
    campaign: &Campaign,
    people: &People,
    recipients: &mut HashMap<Uuid, PlannedRecipient>,
) -> anyhow::Result<()> {
    let cap = campaign.plan.as_ref().and_then(|plan| plan.frequency_cap);
    let messages: Vec<_> = recipients
        .values()
        .filter(|recipient| recipient.plan.skip.is_none())
        .filter_map(|recipient| {
            let header = &recipient.plan.header;
            let person = people.get(header.contact_id.0)?;
            Some((recipient.message_id.0, header.campaign_id?, person))
        })
        .collect();
    let twice = there_twice(gateway, &messages).await?;
    let mut sent = HashMap::new();
    if let Some(cap) = cap {
        let capped = recipients.values().filter(|recipient| {
            recipient.plan.skip.is_none()
                && recipient.plan.header.category() == Some(TemplateCategory::Marketing)
        });
        if let Some(first) = capped.clone().map(|recipient| recipient.plan.due_at).min() {
            let capped = capped.filter_map(|one| people.get(one.plan.header.contact_id.0));
            let (queries, ids) = (gateway.read.queries(), everyone_of(capped));
            sent = queries.marketing_sent(&ids, first - cap.span(), cap.messages).await?;
        }
    }
    for recipient in recipients.values_mut().filter(|recipient| recipient.plan.skip.is_none()) {
        let contact_id = recipient.plan.header.contact_id.0;
        let person = people.get(contact_id);
        let sent = person.map(|person| person.all(&sent)).unwrap_or_default();
        let sent = sent.into_iter().map(|(_, at)| at);
        let facts = AtPlanning {
            is_there_twice: twice.contains(&recipient.message_id.0),
            takes_no_marketing: person.is_some_and(|person| takes_no_marketing(person.addressee)),
            capped_until: cap.and_then(|cap| cap.opens_at(sent)),
        };
        let reason = facts.skip(recipient.plan.header.category(), recipient.plan.due_at);
        recipient.plan.skip = reason.map(|reason| (reason, None));
    }
    Ok(())
}
