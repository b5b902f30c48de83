//! What a lane asks about the people behind what is due: whether they are there twice, and how much marketing they have
//! had.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::campaign::FrequencyCap;
use domain::port::FeedError;
use domain::primitives::{CampaignId, occurrence_start_ms};
use projections::{AgendaItem, Queries, QueryError};
use uuid::Uuid;

use crate::app::Gateway;
use crate::worker::people::{People, everyone_of, there_twice};

/// Messages of campaigns whose person has another one of the same occurrence.
pub(super) async fn duplicates(
    gateway: &Gateway,
    due: &[AgendaItem],
    people: &People,
) -> Result<HashSet<Uuid>, FeedError> {
    let of_campaigns: Vec<_> = due
        .iter()
        .filter_map(|item| {
            let campaign = CampaignId(item.campaign_id?);
            Some((item.message_id, campaign, people.get(item.contact_id)?))
        })
        .collect();
    let mut twice = there_twice(gateway, &of_campaigns).await?;
    // Of two who went into a third that has none, the one that is due first goes.
    let mut first = HashSet::new();
    for (message_id, campaign, person) in of_campaigns {
        let occurrence = occurrence_start_ms(message_id);
        if person.is_merged()
            && !twice.contains(&message_id)
            && !first.insert((campaign, occurrence, person.id))
        {
            twice.insert(message_id);
        }
    }
    Ok(twice)
}

/// What the read model knows of marketing to the people of capped campaigns: as much as their caps ask for, by contact.
pub(super) async fn marketing_sent(
    queries: &Queries,
    due: &[AgendaItem],
    caps: &HashMap<Uuid, FrequencyCap>,
    people: &People,
    wall: DateTime<Utc>,
) -> Result<HashMap<Uuid, Vec<(Uuid, DateTime<Utc>)>>, QueryError> {
    let Some(span) = caps.values().map(|cap| cap.span()).max() else { return Ok(HashMap::new()) };
    // One more than counts, because the message itself may be among them.
    let most = caps.values().map(|cap| cap.messages.saturating_add(1)).max().unwrap_or_default();
    let capped = due.iter().filter(|due| caps.contains_key(&due.message_id));
    let capped = capped.filter_map(|due| people.get(due.contact_id));
    queries.marketing_sent(&everyone_of(capped), wall - span, most).await
}
