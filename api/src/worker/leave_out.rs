//! Whom a campaign leaves out when it is planned, beside what one contact alone tells: marketing that WhatsApp would not
//! deliver, and more marketing than the campaign's cap allows. What may change is judged again when the message falls due.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::campaign::Campaign;
use domain::contact::Contact;
use domain::delivery::{AtPlanning, PlannedRecipient};
use domain::template::TemplateCategory;
use infrastructure::ledger::Loaded;
use uuid::Uuid;

use super::dispatch::takes_no_marketing;
use crate::app::Gateway;

/// Marks those of these recipients that the campaign leaves out; who is left out already stays so for the first reason.
///
/// # Errors
/// Where the store or the read models are away.
pub async fn leave_out(
    gateway: &Gateway,
    campaign: &Campaign,
    people: &HashMap<Uuid, Loaded<Contact>>,
    recipients: &mut HashMap<Uuid, PlannedRecipient>,
) -> anyhow::Result<()> {
    let is_marketing = |recipient: &PlannedRecipient| {
        recipient.plan.header.category() == Some(TemplateCategory::Marketing)
    };
    let cap = campaign.plan.as_ref().and_then(|plan| plan.frequency_cap);
    let due: HashMap<Uuid, DateTime<Utc>> = recipients
        .values()
        .filter(|recipient| recipient.plan.skip.is_none() && is_marketing(recipient))
        .map(|recipient| (recipient.plan.header.contact_id.0, recipient.plan.due_at))
        .collect();
    let mut sent = HashMap::new();
    if let (Some(cap), Some(first)) = (cap, due.values().min()) {
        let ids: Vec<Uuid> = due.keys().copied().collect();
        let queries = gateway.read.queries();
        sent = queries.marketing_sent(&ids, *first - cap.span(), cap.messages).await?;
    }
    for recipient in recipients.values_mut().filter(|recipient| recipient.plan.skip.is_none()) {
        let contact_id = recipient.plan.header.contact_id.0;
        let sent = sent.get(&contact_id).into_iter().flatten().map(|(_, at)| *at);
        let contact = people.get(&contact_id);
        let facts = AtPlanning {
            takes_no_marketing: contact.is_some_and(|known| takes_no_marketing(&known.aggregate)),
            capped_until: cap.and_then(|cap| cap.opens_at(sent)),
        };
        let reason = facts.skip(recipient.plan.header.category(), recipient.plan.due_at);
        recipient.plan.skip = reason.map(|reason| (reason, None));
    }
    Ok(())
}
