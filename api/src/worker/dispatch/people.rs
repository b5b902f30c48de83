//! What a lane asks about the people behind what is due: who they are by now, whether they are there twice, and how much
//! marketing they have had.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::campaign::FrequencyCap;
use domain::contact::Contact;
use domain::port::FeedError;
use projections::{AgendaItem, Queries};
use tracing::warn;
use uuid::Uuid;

use crate::app::Gateway;

/// Merges followed from a contact to the one that it went into.
const MERGES_MAX: usize = 10;

/// People by id; who is not there is nobody yet. Who cannot be read is left out with a warning, and stands in no other's
/// way.
pub(super) async fn load_people(
    gateway: &Gateway,
    ids: &[Uuid],
) -> anyhow::Result<HashMap<Uuid, Contact>> {
    let mut people: HashMap<Uuid, Contact> =
        ids.iter().map(|id| (*id, Contact::default())).collect();
    match gateway.bus.load_many::<Contact>(ids).await {
        Ok(loaded) => people.extend(loaded.into_iter().map(|(id, l)| (id, l.aggregate))),
        Err(error @ FeedError::Unavailable(_)) => return Err(error.into()),
        Err(_) => {
            for id in ids {
                match gateway.bus.load::<Contact>(*id).await {
                    Ok(Some(loaded)) => drop(people.insert(*id, loaded.aggregate)),
                    Ok(None) => {}
                    Err(error @ FeedError::Unavailable(_)) => return Err(error.into()),
                    Err(error) => {
                        warn!(contact.id = %id, %error, "a contact cannot be read; what is for them waits");
                        people.remove(id);
                    }
                }
            }
        }
    }
    Ok(people)
}

/// Whom those of these people who were merged went into. Where that cannot be told nobody speaks for them: they are
/// taken out of `people`, and what is for them waits.
pub(super) async fn load_kept(
    gateway: &Gateway,
    people: &mut HashMap<Uuid, Contact>,
) -> anyhow::Result<HashMap<Uuid, (Uuid, Contact)>> {
    let mut kept: HashMap<Uuid, (Uuid, Contact)> = HashMap::new();
    let mut next: HashMap<Uuid, Uuid> =
        people.iter().filter_map(|(id, contact)| Some((*id, contact.merged_into?.0))).collect();
    for _ in 0..MERGES_MAX {
        if next.is_empty() {
            return Ok(kept);
        }
        let ids: Vec<Uuid> = next.values().copied().collect::<HashSet<_>>().into_iter().collect();
        let loaded = load_people(gateway, &ids).await?;
        for (id, into) in std::mem::take(&mut next) {
            let Some(contact) = loaded.get(&into) else {
                people.remove(&id);
                continue;
            };
            if let Some(further) = contact.merged_into {
                next.insert(id, further.0);
            }
            kept.insert(id, (into, contact.clone()));
        }
    }
    for id in next.into_keys() {
        people.remove(&id);
    }
    Ok(kept)
}

/// Messages of merged contacts whose person has one of the same occurrence as the contact they went into.
pub(super) async fn there_twice(
    queries: &Queries,
    due: &[AgendaItem],
    kept: &HashMap<Uuid, (Uuid, Contact)>,
) -> anyhow::Result<HashSet<Uuid>> {
    // A campaign message's id begins with when its occurrence started.
    let occurrence = |id: Uuid| id.as_u128() >> 80;
    let mut twice = HashSet::new();
    let mut first = HashSet::new();
    for item in due {
        if let (Some((person, _)), Some(campaign)) = (kept.get(&item.contact_id), item.campaign_id)
        {
            let occurrence_of_item = occurrence(item.message_id);
            let theirs = queries.of_campaign_to(campaign, *person).await?;
            let is_there = theirs.into_iter().any(|id| occurrence(id) == occurrence_of_item);
            // Two who went into a third: the one that is due first goes.
            if is_there || !first.insert((campaign, occurrence_of_item, *person)) {
                twice.insert(item.message_id);
            }
        }
    }
    Ok(twice)
}

/// What the read model knows of marketing to the people of capped campaigns: as much as their caps ask for.
pub(super) async fn marketing_sent(
    queries: &Queries,
    due: &[AgendaItem],
    caps: &HashMap<Uuid, FrequencyCap>,
    kept: &HashMap<Uuid, (Uuid, Contact)>,
    wall: DateTime<Utc>,
) -> anyhow::Result<HashMap<Uuid, Vec<(Uuid, DateTime<Utc>)>>> {
    let Some(span) = caps.values().map(|cap| cap.span()).max() else { return Ok(HashMap::new()) };
    // One more than counts, because the message itself may be among them.
    let most = caps.values().map(|cap| cap.messages.saturating_add(1)).max().unwrap_or_default();
    let capped = due.iter().filter(|due| caps.contains_key(&due.message_id));
    let people: HashSet<Uuid> = capped
        .flat_map(|due| {
            std::iter::once(due.contact_id).chain(kept.get(&due.contact_id).map(|(id, _)| *id))
        })
        .collect();
    let people: Vec<Uuid> = people.into_iter().collect();
    Ok(queries.marketing_sent(&people, wall - span, most).await?)
}
