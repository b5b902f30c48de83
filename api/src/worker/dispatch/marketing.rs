//! What the lanes of this process are about to send of marketing, for frequency caps: an intent counts from the moment it
//! is decided, and the read model knows it only later. Two campaigns at once must not both take a person's last place.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use domain::campaign::FrequencyCap;
use domain::contact::Contact;
use domain::port::Position;
use infrastructure::phone::is_us_number;
use uuid::Uuid;

/// An intent that the read model knows is remembered this much longer, for whoever asked it just before.
const KEPT: Duration = Duration::seconds(30);
/// Remembered people above which what is known elsewhere is dropped.
const SWEEP_ABOVE: usize = 1_024;

#[derive(Debug)]
struct Pending {
    message_id: Uuid,
    at: DateTime<Utc>,
    /// Where the log has the intent; `None`: not yet.
    position: Option<Position>,
}

/// Shared by all lanes of the process.
#[derive(Debug, Default)]
pub struct InFlight {
    people: Mutex<People>,
}

#[derive(Debug, Default)]
struct People {
    pending: HashMap<Uuid, Vec<Pending>>,
    sweep_at: usize,
}

impl InFlight {
    /// Whether `cap` allows one more to this person now, beside what the read model knows (`known`). Without a cap it
    /// always does. `everyone`: whom the person is, who speaks for them first.
    pub fn allows(
        &self,
        everyone: &[Uuid],
        message_id: Uuid,
        cap: Option<FrequencyCap>,
        known: &[(Uuid, DateTime<Utc>)],
        now: DateTime<Utc>,
    ) -> bool {
        self.lock().allow(everyone, message_id, cap, known, now)
    }

    /// Takes the place where [`Self::allows`] says that there is one, in the name of who speaks for the person.
    pub fn take(
        &self,
        everyone: &[Uuid],
        message_id: Uuid,
        cap: Option<FrequencyCap>,
        known: &[(Uuid, DateTime<Utc>)],
        now: DateTime<Utc>,
    ) -> bool {
        let mut people = self.lock();
        let is_allowed = people.allow(everyone, message_id, cap, known, now);
        if let Some(person) = everyone.first().filter(|_| is_allowed) {
            let pending = people.pending.entry(*person).or_default();
            pending.retain(|pending| pending.message_id != message_id);
            pending.push(Pending { message_id, at: now, position: None });
        }
        is_allowed
    }

    /// The intent is in the log.
    pub fn recorded(&self, contact_id: Uuid, message_id: Uuid, position: Position) {
        if let Some(pending) = self.lock().pending.get_mut(&contact_id) {
            let ours = pending.iter_mut().filter(|pending| pending.message_id == message_id);
            ours.for_each(|pending| pending.position = Some(position));
        }
    }

    /// It came to nothing, or reached nobody.
    pub fn give_back(&self, contact_id: Uuid, message_id: Uuid) {
        let mut people = self.lock();
        if let Some(pending) = people.pending.get_mut(&contact_id) {
            pending.retain(|pending| pending.message_id != message_id);
            if pending.is_empty() {
                people.pending.remove(&contact_id);
            }
        }
    }

    /// Forgets what the read model, at `seen`, has known for a while.
    pub fn sweep(&self, seen: Position, now: DateTime<Utc>) {
        let mut people = self.lock();
        if people.pending.len() < people.sweep_at.max(SWEEP_ABOVE) {
            return;
        }
        people.pending.retain(|_, pending| {
            pending.retain(|pending| {
                now - pending.at < KEPT || pending.position.is_none_or(|position| position > seen)
            });
            !pending.is_empty()
        });
        people.sweep_at = people.pending.len() * 2;
    }

    fn lock(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl People {
    fn allow(
        &self,
        everyone: &[Uuid],
        message_id: Uuid,
        cap: Option<FrequencyCap>,
        known: &[(Uuid, DateTime<Utc>)],
        now: DateTime<Utc>,
    ) -> bool {
        let Some(cap) = cap else { return true };
        let pending = everyone.iter().filter_map(|id| self.pending.get(id)).flatten();
        let in_flight = pending.map(|pending| (pending.message_id, pending.at));
        // The read model may know some of them.
        let others = known.iter().copied().chain(in_flight).filter(|(id, _)| *id != message_id);
        let others: HashMap<Uuid, DateTime<Utc>> = others.collect();
        cap.allows(others.into_values(), now)
    }
}

/// WhatsApp delivers no marketing templates to people of the United States (Meta, since 1 April 2025, until further
/// notice). Whose number is not known is of the country that their user id begins with.
pub fn takes_no_marketing(contact: &Contact) -> bool {
    match contact.phone() {
        Some(phone) => is_us_number(phone),
        None => {
            let mut ids = contact.portfolio_identities().iter();
            ids.any(|identity| identity.user_id.as_str().starts_with("US."))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    const ONE_A_DAY: Option<FrequencyCap> = Some(FrequencyCap { messages: 1, hours: 24 });

    fn at(second: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_795_000_000 + second, 0).unwrap()
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn of_two_campaigns_at_once_one_takes_the_last_place() {
        let book = InFlight::default();
        assert!(book.take(&[id(1)], id(10), ONE_A_DAY, &[], at(0)));
        assert!(!book.take(&[id(1)], id(11), ONE_A_DAY, &[], at(0)));
        assert!(book.take(&[id(2)], id(12), ONE_A_DAY, &[], at(0)));
        // The same message again is no second one, and what has no cap always goes.
        assert!(book.take(&[id(1)], id(10), ONE_A_DAY, &[(id(10), at(0))], at(1)));
        assert!(book.take(&[id(1)], id(13), None, &[], at(1)));
        book.give_back(id(1), id(10));
        assert!(
            !book.take(&[id(1)], id(11), ONE_A_DAY, &[], at(2)),
            "one without a cap counts, too"
        );
        book.give_back(id(1), id(13));
        assert!(book.take(&[id(1)], id(11), ONE_A_DAY, &[], at(2)));
        assert!(!book.take(&[id(3)], id(14), ONE_A_DAY, &[(id(15), at(-86_399))], at(0)));
        assert!(book.take(&[id(3)], id(14), ONE_A_DAY, &[(id(15), at(-86_400))], at(0)));
    }

    #[test]
    fn whoever_a_person_is_counts_for_the_person() {
        let book = InFlight::default();
        // What was on its way to two contacts when they became one with a third, and what goes to them since.
        assert!(book.take(&[id(1)], id(10), None, &[], at(0)));
        let two_a_day = Some(FrequencyCap { messages: 2, hours: 24 });
        let everyone = [id(3), id(1), id(2)];
        assert!(book.take(&everyone, id(11), two_a_day, &[], at(1)));
        assert!(!book.allows(&everyone, id(12), two_a_day, &[], at(2)));
        book.give_back(id(3), id(11));
        assert!(book.allows(&everyone, id(12), two_a_day, &[], at(2)));
        assert!(!book.allows(&everyone, id(12), two_a_day, &[(id(13), at(0))], at(2)));
    }

    #[test]
    fn what_is_not_known_elsewhere_is_not_forgotten() {
        let book = InFlight::default();
        for n in 0..4_000 {
            assert!(book.take(&[id(n)], id(n), None, &[], at(0)));
            if n % 2 == 0 {
                book.recorded(id(n), id(n), Position(u64::try_from(n).unwrap()));
            }
        }
        book.sweep(Position(2_000), at(60));
        // In the log by then, and seen: every other one up to 2,000.
        assert_eq!(book.lock().pending.len(), 4_000 - 1_001);
        assert!(!book.take(&[id(3)], id(5_000), ONE_A_DAY, &[], at(60)));
        assert!(book.take(&[id(4)], id(5_000), ONE_A_DAY, &[], at(60)));
    }
}
