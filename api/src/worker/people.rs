//! Who is behind a contact. Contacts that were merged are one person: whom they went into speaks for them, and what is
//! known of any of them (what was sent to them, what WhatsApp said of them) is known of the person.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::account::Account;
use domain::contact::{Contact, HALVES_MAX};
use domain::delivery::{OneOfSeveral, SERVICE_WINDOW, is_there_twice, recipient_of, window_until};
use domain::message::{Message, Recipient};
use domain::port::FeedError;
use domain::primitives::{
    AccountId, CampaignId, ContactId, message_id_of_campaign, occurrence_start_ms,
};
use infrastructure::ledger::BusAggregate;
use projections::{Queries, QueryError};
use tracing::warn;
use uuid::Uuid;

use super::campaign::SALTS_MAX;
use crate::app::Gateway;

/// Messages looked up at once.
const LOOK_UP: usize = 1_000;

/// The people behind some contacts.
#[derive(Debug)]
pub(crate) struct People {
    contacts: HashMap<Uuid, Contact>,
    /// Whom those who were merged went into, in the end.
    kept: HashMap<Uuid, (Uuid, Contact)>,
}

/// The person behind one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person<'a> {
    /// Who speaks for the person.
    pub id: Uuid,
    pub contact: &'a Contact,
    /// The one that was asked for, whose number and user ids a message to it goes to.
    pub addressee_id: Uuid,
    pub addressee: &'a Contact,
}

impl People {
    /// The people behind these contacts; who is not there is nobody yet. Of whom it cannot be read who they are there is
    /// nothing, with a warning, and they stand in no other's way.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn load(gateway: &Gateway, ids: &[Uuid]) -> anyhow::Result<Self> {
        let mut contacts: HashMap<Uuid, Contact> =
            ids.iter().map(|id| (*id, Contact::default())).collect();
        let loaded = readable::<Contact>(gateway, ids).await?;
        loaded.unreadable.iter().for_each(|id| drop(contacts.remove(id)));
        contacts.extend(loaded.found);
        Self::of(gateway, contacts).await
    }

    /// The people behind contacts that were read already. Of whom it cannot be read whom they went into there is nothing.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn of(
        gateway: &Gateway,
        mut contacts: HashMap<Uuid, Contact>,
    ) -> anyhow::Result<Self> {
        let mut kept: HashMap<Uuid, (Uuid, Contact)> = HashMap::new();
        let merged = |(id, contact): (&Uuid, &Contact)| Some((*id, contact.merged_into?.0));
        let mut next: HashMap<Uuid, Uuid> = contacts.iter().filter_map(merged).collect();
        // One after the other, at worst.
        for _ in 0..=HALVES_MAX {
            if next.is_empty() {
                break;
            }
            let ids: HashSet<Uuid> = next.values().copied().collect();
            let ids: Vec<Uuid> = ids.into_iter().collect();
            let loaded = readable::<Contact>(gateway, &ids).await?.found;
            for (id, into) in std::mem::take(&mut next) {
                let Some(contact) = loaded.get(&into) else {
                    contacts.remove(&id);
                    continue;
                };
                match contact.merged_into {
                    Some(further) => drop(next.insert(id, further.0)),
                    None => drop(kept.insert(id, (into, contact.clone()))),
                }
            }
        }
        next.into_keys().for_each(|id| drop(contacts.remove(&id)));
        Ok(Self { contacts, kept })
    }

    pub fn get(&self, id: Uuid) -> Option<Person<'_>> {
        let addressee = self.contacts.get(&id)?;
        let (kept_id, contact) =
            self.kept.get(&id).map_or((id, addressee), |(id, contact)| (*id, contact));
        Some(Person { id: kept_id, contact, addressee_id: id, addressee })
    }

    pub fn iter(&self) -> impl Iterator<Item = Person<'_>> {
        self.contacts.keys().filter_map(|id| self.get(*id))
    }

    /// [`everyone_of`] them all.
    pub fn everyone(&self) -> Vec<Uuid> {
        everyone_of(self.iter())
    }

    /// Each with the address that a message to the contact that was asked for goes to.
    pub fn addressed(&self, account: &Account) -> Vec<(Person<'_>, Option<Recipient>)> {
        self.iter().map(|person| (person, recipient_of(person.addressee, account))).collect()
    }
}

/// Everyone whom any of these is, each once: whom to ask the read models about.
pub(crate) fn everyone_of<'a>(people: impl IntoIterator<Item = Person<'a>>) -> Vec<Uuid> {
    let everyone: HashSet<Uuid> = people.into_iter().flat_map(Person::everyone).collect();
    everyone.into_iter().collect()
}

impl<'a> Person<'a> {
    /// The person behind a contact that went into no other.
    pub fn unmerged(id: Uuid, contact: &'a Contact) -> Self {
        Self { id, contact, addressee_id: id, addressee: contact }
    }

    /// Everyone whom this person is, who speaks for them first: the contact that stayed and all that went into it.
    pub fn everyone(self) -> impl Iterator<Item = Uuid> + 'a {
        let asked = self.is_unknown_half().then_some(self.addressee_id);
        let halves = self.contact.halves.iter().map(|half| half.0);
        std::iter::once(self.id).chain(halves).chain(asked)
    }

    /// The contact that was asked for went into another.
    pub fn is_merged(&self) -> bool {
        self.id != self.addressee_id
    }

    /// It went into another who does not know it: a merge from before whoever stays knew of those who went into it.
    pub fn is_unknown_half(&self) -> bool {
        self.is_merged() && !self.contact.halves.contains(&ContactId(self.addressee_id))
    }

    pub fn is_one_contact(&self) -> bool {
        !self.is_merged() && self.contact.halves.is_empty()
    }

    /// The latest of what is known of each whom the person is.
    pub fn latest(self, known: &HashMap<Uuid, DateTime<Utc>>) -> Option<DateTime<Utc>> {
        self.everyone().filter_map(|id| known.get(&id).copied()).max()
    }

    /// All that is known of each whom the person is.
    pub fn all<T: Copy>(self, known: &HashMap<Uuid, Vec<T>>) -> Vec<T> {
        self.everyone().filter_map(|id| known.get(&id)).flatten().copied().collect()
    }
}

/// Until when each of these people may be answered freely at the address beside them, by the contact that was asked for.
/// A window is of two addresses: what a person of several contacts wrote from another number opens none for this one.
///
/// # Errors
/// Where the read model cannot be reached.
pub(crate) async fn windows(
    queries: &Queries,
    account: AccountId,
    people: &[(Person<'_>, Option<Recipient>)],
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, DateTime<Utc>>, QueryError> {
    let everyone = everyone_of(people.iter().map(|(person, _)| *person));
    let heard = queries.windows(account.0, &everyone).await?;
    let since = now - SERVICE_WINDOW;
    let mut windows = HashMap::with_capacity(heard.len());
    for (person, to) in people {
        let Some(mut at) = person.latest(&heard) else { continue };
        if !person.is_one_contact() && at > since {
            let Some(to) = to else { continue };
            let everyone: Vec<Uuid> = person.everyone().collect();
            let written = queries.written_from(account.0, &everyone, since).await?;
            let from_there = written.into_iter().filter(|(from, _)| to.is_also(from));
            match from_there.map(|(_, at)| at).max() {
                Some(latest) => at = latest,
                None => continue,
            }
        }
        windows.insert(person.addressee_id, window_until(at));
    }
    Ok(windows)
}

/// Which of these messages of campaigns are left out because their person has another one of the same occurrence
/// ([`is_there_twice`]). By the log itself, which knows what left a moment ago.
///
/// # Errors
/// Where the store is away.
pub(crate) async fn there_twice(
    gateway: &Gateway,
    messages: &[(Uuid, CampaignId, Person<'_>)],
) -> Result<HashSet<Uuid>, FeedError> {
    let mut asked: Vec<(usize, Uuid)> = vec![];
    for (place, (_, _, person)) in messages.iter().enumerate() {
        if !person.is_one_contact() {
            let others = person.everyone().filter(|id| *id != person.addressee_id);
            asked.extend(others.map(|other| (place, other)));
        }
    }
    let mut others: HashMap<usize, Vec<OneOfSeveral>> = HashMap::new();
    // As ids are given: where one is another message's, the next salt.
    for salt in 0..SALTS_MAX {
        let mut again = vec![];
        for asked in asked.chunks(LOOK_UP) {
            let id_of = |(place, contact): &(usize, Uuid)| {
                let (message, campaign, _) = messages.get(*place)?;
                let start = DateTime::from_timestamp_millis(occurrence_start_ms(*message))?;
                Some(message_id_of_campaign(*campaign, start, ContactId(*contact), salt).0)
            };
            let asked: Vec<(Uuid, usize, Uuid)> =
                asked.iter().filter_map(|one| Some((id_of(one)?, one.0, one.1))).collect();
            let ids: Vec<Uuid> = asked.iter().map(|(id, ..)| *id).collect();
            let found = readable::<Message>(gateway, &ids).await?.found;
            for (id, place, contact) in asked {
                let Some(message) = found.get(&id) else { continue };
                let Some((_, campaign, person)) = messages.get(place) else { continue };
                let is_theirs = message.header.as_ref().is_some_and(|header| {
                    header.contact_id.0 == contact && header.campaign_id == Some(*campaign)
                });
                if is_theirs {
                    let is_for_kept = contact == person.id;
                    let one = OneOfSeveral { status: message.status(), is_for_kept };
                    others.entry(place).or_default().push(one);
                } else {
                    again.push((place, contact));
                }
            }
        }
        if again.is_empty() {
            break;
        }
        asked = again;
    }
    let twice = others.into_iter().filter_map(|(place, others)| {
        let (message, _, person) = messages.get(place)?;
        is_there_twice(!person.is_merged(), others).then_some(*message)
    });
    Ok(twice.collect())
}

/// What of some aggregates could be read.
pub(crate) struct Readable<A> {
    pub found: HashMap<Uuid, A>,
    pub unreadable: Vec<Uuid>,
}

/// What of these is there. What cannot be read is told apart with a warning, and stands in no other's way.
///
/// # Errors
/// Where the store is away.
pub(crate) async fn readable<A: BusAggregate>(
    gateway: &Gateway,
    ids: &[Uuid],
) -> Result<Readable<A>, FeedError> {
    match gateway.bus.load_many::<A>(ids).await {
        Ok(loaded) => {
            let found = loaded.into_iter().map(|(id, loaded)| (id, loaded.aggregate)).collect();
            return Ok(Readable { found, unreadable: vec![] });
        }
        Err(error @ FeedError::Unavailable(_)) => return Err(error),
        Err(FeedError::Corrupt(_) | FeedError::Detached(_)) => {}
    }
    let mut readable = Readable { found: HashMap::new(), unreadable: vec![] };
    for id in ids {
        match gateway.bus.load::<A>(*id).await {
            Ok(loaded) => readable.found.extend(loaded.map(|loaded| (*id, loaded.aggregate))),
            Err(error @ FeedError::Unavailable(_)) => return Err(error),
            Err(error) => {
                warn!(aggregate.id = %id, %error, "what cannot be read is left as it is");
                readable.unreadable.push(*id);
            }
        }
    }
    Ok(readable)
}
