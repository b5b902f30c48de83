//! Whom a campaign leaves out when it is planned, beside what one contact alone tells: people who are in its audience
//! twice, marketing that WhatsApp would not deliver, and more marketing than the campaign's cap allows. What may change is
//! judged again when the message falls due.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::Identity;
use domain::campaign::Campaign;
use domain::contact::Contact;
use domain::delivery::{AtPlanning, PlannedRecipient};
use domain::message::Message;
use domain::primitives::{CampaignId, ContactId, message_id_of_campaign};
use domain::template::TemplateCategory;
use infrastructure::ledger::Loaded;
use infrastructure::phone::other_form;
use uuid::Uuid;

use super::dispatch::takes_no_marketing;
use crate::app::Gateway;

/// Marks those of these recipients that the campaign leaves out; who is left out already stays so for the first reason.
///
/// # Errors
/// Where the store or the read models are away.
pub async fn leave_out(
    gateway: &Gateway,
    campaign_id: CampaignId,
    campaign: &Campaign,
    people: &HashMap<Uuid, Loaded<Contact>>,
    recipients: &mut HashMap<Uuid, PlannedRecipient>,
) -> anyhow::Result<()> {
    let duplicates = duplicates(gateway, campaign_id, campaign, people, recipients).await?;
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
            is_duplicate: duplicates.contains(&contact_id),
            takes_no_marketing: contact.is_some_and(|known| takes_no_marketing(&known.aggregate)),
            capped_until: cap.and_then(|cap| cap.opens_at(sent)),
        };
        let reason = facts.skip(recipient.plan.header.category(), recipient.plan.due_at);
        recipient.plan.skip = reason.map(|reason| (reason, None));
    }
    Ok(())
}

/// Contacts whose number is the other form of a number of somebody who is in the campaign already: WhatsApp knows both
/// as one person. The audience is gone through in the order of the contacts' ids.
async fn duplicates(
    gateway: &Gateway,
    campaign_id: CampaignId,
    campaign: &Campaign,
    people: &HashMap<Uuid, Loaded<Contact>>,
    recipients: &HashMap<Uuid, PlannedRecipient>,
) -> anyhow::Result<HashSet<Uuid>> {
    let Some(workspace) = campaign.workspace_id else { return Ok(HashSet::new()) };
    let (mut asking, mut identities) = (vec![], vec![]);
    for recipient in recipients.values() {
        let contact_id = recipient.plan.header.contact_id.0;
        let contact = people.get(&contact_id).map(|loaded| &loaded.aggregate);
        if let Some(other) = contact.and_then(Contact::phone).and_then(other_form) {
            asking.push(contact_id);
            identities.push(Identity::new(workspace.0, Identity::PHONE, other.as_str()));
        }
    }
    if asking.is_empty() {
        return Ok(HashSet::new());
    }
    let holders = gateway.bus.resolve_identities(&identities).await?;
    let pairs: BTreeMap<Uuid, Uuid> = asking
        .into_iter()
        .zip(holders)
        .filter_map(|(contact_id, holder)| Some((contact_id, holder?)))
        .filter(|(contact_id, holder)| holder < contact_id)
        .collect();
    let here: HashSet<Uuid> =
        recipients.values().map(|recipient| recipient.plan.header.contact_id.0).collect();
    // Of an earlier chunk, then.
    let start = campaign.occurrence_start;
    let earlier: HashMap<Uuid, Uuid> = pairs
        .values()
        .filter(|holder| !here.contains(holder))
        .filter_map(|holder| {
            let id = message_id_of_campaign(campaign_id, start?, ContactId(*holder), 0);
            Some((id.0, *holder))
        })
        .collect();
    let ids: Vec<Uuid> = earlier.keys().copied().collect();
    let planned = gateway.bus.load_many::<Message>(&ids).await?;
    let is_ours = |message: &Message| {
        message.header.as_ref().is_some_and(|header| header.campaign_id == Some(campaign_id))
    };
    let earlier: HashSet<Uuid> = planned
        .into_iter()
        .filter(|(_, loaded)| is_ours(&loaded.aggregate))
        .filter_map(|(id, _)| earlier.get(&id).copied())
        .collect();
    let is_in = |holder: &Uuid| here.contains(holder) || earlier.contains(holder);
    Ok(pairs
        .into_iter()
        .filter(|(_, holder)| is_in(holder))
        .map(|(contact_id, _)| contact_id)
        .collect())
}
