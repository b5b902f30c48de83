//! Forgetting a person, as the business that erased them wants it: from then on neither memory nor any file of the sandbox
//! says who they were. Counts stay.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Sandbox;
use super::address::{self, Address};
use super::behaviour::NOBODY;
use super::outbox::Item;
use super::record::Call;
use super::state::{State, alias_key};

/// How often webhooks on their way are looked at, and how many times: each ends within its own timeout of 10 s.
const PAUSE: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 400;

/// People as the sandbox knows them, on some numbers.
pub(crate) struct People {
    numbers: BTreeSet<String>,
    /// Digits, as WhatsApp has them.
    digits: HashSet<String>,
    user_ids: HashSet<String>,
    /// Their keys in tables.
    pub keys: HashSet<u64>,
}

impl People {
    pub(crate) fn are_meant_by(&self, item: &Item) -> bool {
        self.numbers.contains(item.number()) && self.keys.contains(&item.person())
    }

    fn were_called(&self, call: &Call) -> bool {
        let is_here =
            call.phone_number_id.as_ref().is_some_and(|number| self.numbers.contains(number));
        is_here && call.to.as_deref().is_some_and(|to| self.have(to))
    }

    /// Whether this names one of them: a number in any form, or a user id.
    fn have(&self, name: &str) -> bool {
        match address::number(name) {
            Some(digits) => self.digits.contains(&address::rewritten(&digits)),
            None => self.user_ids.contains(name),
        }
    }
}

impl Sandbox {
    /// Forgets people on some numbers, by phone number or user id: what they wrote and sent, who was called, their windows
    /// and preferences, and what is still to be told about them. Waits for webhooks that are on their way. Repeating it is
    /// harmless.
    ///
    /// # Errors
    /// Where the files cannot be written anew, or a webhook about them did not end in time; repeating it goes on.
    pub async fn forget_people(
        &self,
        on_numbers: &BTreeSet<String>,
        phone_numbers: &[String],
        user_ids: &[String],
    ) -> io::Result<()> {
        let people = Arc::new(self.state().people(on_numbers, phone_numbers, user_ids));
        for _ in 0..LOOKS_MAX {
            let (sandbox, people, now) = (self.clone(), Arc::clone(&people), self.now());
            let look = tokio::task::spawn_blocking(move || {
                let mut state = sandbox.state();
                if !state.drop_what_is_due(&people) {
                    return Ok(false);
                }
                state.forget_people(&people, now).map(|()| true)
            });
            if look.await.map_err(io::Error::other)?? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "a webhook about the person is still on its way",
        ))
    }
}

impl State {
    fn people(
        &self,
        on_numbers: &BTreeSet<String>,
        phone_numbers: &[String],
        user_ids: &[String],
    ) -> People {
        let mut people = People {
            numbers: on_numbers.clone(),
            digits: HashSet::new(),
            user_ids: user_ids.iter().cloned().collect(),
            keys: HashSet::new(),
        };
        let here = on_numbers.iter().filter_map(|number| self.numbers.get(number));
        let wabas: BTreeSet<&str> = here.map(|number| number.spec().waba_id.as_str()).collect();
        for waba in wabas {
            for user_id in user_ids {
                let wa_id = self.who(waba, &Address::UserId(user_id.clone())).wa_id;
                people.digits.extend(wa_id.map(|digits| address::rewritten(&digits)));
            }
            for digits in phone_numbers.iter().filter_map(|number| address::number(number)) {
                people.digits.insert(address::rewritten(&digits));
                people.user_ids.insert(self.who(waba, &Address::Number(digits)).user_id);
            }
        }
        people.keys = people.user_ids.iter().map(|user_id| address::person(user_id)).collect();
        people
    }

    /// Takes what is to be told about them out of every queue; false while some of it is on its way.
    fn drop_what_is_due(&mut self, people: &People) -> bool {
        let mut dropped = self.timers.drop_items(|item| people.are_meant_by(item));
        for (_, number) in self.numbers.iter_mut().filter(|(id, _)| people.numbers.contains(*id)) {
            dropped += number.outbox.drop_items(|item| people.are_meant_by(item));
        }
        self.webhooks.dropped += dropped;
        !self
            .flights
            .values()
            .flat_map(|flight| &flight.batch.items)
            .any(|i| people.are_meant_by(i))
    }

    /// Forgets them in memory and writes the files anew. Nothing about them is due or on its way by now.
    fn forget_people(&mut self, people: &People, now: i64) -> io::Result<()> {
        // What every number has in common names them as well.
        let mut behaviours = vec![&mut self.behaviour];
        for (_, number) in self.numbers.iter_mut().filter(|(id, _)| people.numbers.contains(*id)) {
            for person in &people.keys {
                number.windows.remove(person);
                number.stopped_marketing.remove(person);
                number.pairs.forget(*person);
            }
            behaviours.extend(&mut number.behaviour);
            if let Some(waba) = self.wabas.get_mut(&number.facts.spec.waba_id) {
                people.keys.iter().for_each(|person| waba.reach.forget_person(*person));
            }
        }
        for behaviour in behaviours {
            behaviour.unreachable.retain(|name| !people.have(name));
            let was_limited = !behaviour.allowed_recipients.is_empty();
            behaviour.allowed_recipients.retain(|name| !people.have(name));
            if was_limited && behaviour.allowed_recipients.is_empty() {
                // An empty list would mean everybody.
                behaviour.allowed_recipients.push(NOBODY.to_owned());
            }
        }
        self.forget_aliases(people);
        let theirs = |medium: &super::entry::Media| {
            people.numbers.contains(&medium.number)
                && medium.person.is_some_and(|person| people.keys.contains(&person))
        };
        let media: Vec<String> =
            self.media.values().filter(|m| theirs(m)).map(|m| m.id.clone()).collect();
        for id in media {
            self.media.remove(&id);
            self.forget_blob(&id);
        }
        // The calls first: the state file holds those that a crash kept from the record.
        self.record.redact(|call| people.were_called(call))?;
        self.rewrite(now)
    }

    fn forget_aliases(&mut self, people: &People) {
        let here = people.numbers.iter().filter_map(|number| self.numbers.get(number));
        let wabas: HashSet<&String> = here.map(|number| &number.facts.spec.waba_id).collect();
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.told).into_iter().partition(|(waba_id, wa_id, user_id)| {
                wabas.contains(waba_id) && (people.have(wa_id) || people.have(user_id))
            });
        self.told = kept;
        for (waba_id, wa_id, user_id) in gone {
            self.aliases.remove(&alias_key(&waba_id, &wa_id));
            self.aliases.remove(&alias_key(&waba_id, &user_id));
        }
    }
}
