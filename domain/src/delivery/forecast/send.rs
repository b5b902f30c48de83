//! The sending itself, as one number's owner does it: what is due in the order in which it fell due, judged at the moment
//! of sending, in turn with whatever else waits, within the number's pace, the campaign's own and the portfolio's reach.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, Duration, Utc};

use super::{Forecast, Forecaster, Kind, Limit, Opens, Other, Person, SampleMessage, ZoneForecast};
use crate::contact::Contact;
use crate::delivery::judge::{DeliveryFacts, Verdict, WaitFor, judge};
use crate::delivery::pace::Pace;
use crate::delivery::reach::Room;
use crate::message::{ContentKind, Priority};
use crate::pricing::Bill;
use crate::primitives::MessageId;

/// The schedule still sets an end that comes no later than this after the last message fell due.
const AT_ONCE: Duration = Duration::seconds(1);
/// A clock that is moved moves at least by this.
const TICK: Duration = Duration::milliseconds(1);
/// An idle number's bucket is full after this long at the latest.
const IDLE: Duration = Duration::seconds(60);

/// A message's place among all in the order in which they fall due.
type Rank = u32;

/// Sends everything that was taken in.
pub(super) fn run(forecaster: Forecaster) -> Forecast {
    let mut result = Forecast {
        recipients: forecaster.recipients,
        skipped: forecaster.skipped.clone(),
        ..Forecast::default()
    };
    let Some(contact) = forecaster.stand_in.clone() else { return result };
    match forecaster.conditions.opens {
        Opens::At(at) => Desk::new(&forecaster, &contact, at, result).work(),
        Opens::Unknown(why) => {
            result.to_send = u64::try_from(forecaster.queue.len()).unwrap_or(u64::MAX);
            result.limited_by = Some(why);
            result
        }
    }
}

/// Where it is sent from.
struct Desk<'a> {
    forecaster: &'a Forecaster,
    contact: &'a Contact,
    now: DateTime<Utc>,
    pace: Pace,
    campaign_pace: Option<Pace>,
    reach: Option<super::Reach<Person>>,
    /// There is no room for one more before; `Some(None)`: never.
    full_until: Option<Option<DateTime<Utc>>>,
    strangers: u64,
    others: Vec<Queue>,
    /// Whose turn it is among those of one priority: the campaign itself comes behind them.
    turn: usize,
    /// By rank, the place in the forecaster's queue.
    order: Vec<u32>,
    /// Everything before this rank fell due and was looked at.
    head: usize,
    /// Looked at before, and to be looked at again.
    again: BTreeSet<Rank>,
    /// Until when they wait for their hours.
    parked: BTreeMap<DateTime<Utc>, (Limit, Vec<Rank>)>,
    for_room: BTreeSet<Rank>,
    /// When the last of all falls due.
    last_due: DateTime<Utc>,
    /// What the time after that was spent on.
    waited: BTreeMap<Limit, Duration>,
    zones: HashMap<(chrono_tz::Tz, super::ZoneSource), ZoneForecast>,
    result: Forecast,
}

/// Something else that waits.
struct Queue {
    priority: i64,
    due: VecDeque<(DateTime<Utc>, u64)>,
    pace: Option<Pace>,
    costs_reach: bool,
}

impl Queue {
    fn new(other: &Other, now: DateTime<Utc>) -> Self {
        Self {
            priority: other.priority,
            due: other.due.iter().copied().filter(|(_, count)| *count > 0).collect(),
            pace: other.messages_per_second.map(|limit| Pace::new(limit, now)),
            costs_reach: other.costs_reach,
        }
    }

    fn next_due(&self) -> Option<DateTime<Utc>> {
        self.due.front().map(|(at, _)| *at)
    }

    fn is_ready(&self, now: DateTime<Utc>, has_room: bool) -> bool {
        self.next_due().is_some_and(|at| at <= now)
            && (has_room || !self.costs_reach)
            && self.pace.as_ref().is_none_or(|pace| pace.available(now) > 0)
    }

    fn take(&mut self, now: DateTime<Utc>) {
        if let Some(pace) = &mut self.pace {
            pace.take(1, now);
        }
        if let Some((_, count)) = self.due.front_mut() {
            *count -= 1;
            if *count == 0 {
                self.due.pop_front();
            }
        }
    }
}

impl<'a> Desk<'a> {
    fn new(
        forecaster: &'a Forecaster,
        contact: &'a Contact,
        now: DateTime<Utc>,
        result: Forecast,
    ) -> Self {
        let conditions = &forecaster.conditions;
        let due = |place: &u32| forecaster.kind(*place).due_at;
        let mut order: Vec<u32> = (0..).take(forecaster.queue.len()).collect();
        // As the number's queue is read.
        order.sort_unstable_by_key(|place| (due(place), forecaster.message(*place)));
        let last_due = order.last().map_or(now, due).max(now);
        let others: Vec<Queue> = conditions.others.iter().map(|o| Queue::new(o, now)).collect();
        let is_busy = others.iter().any(|other| other.next_due().is_some_and(|at| at <= now));
        let idle_since = if is_busy { now } else { now - IDLE };
        Self {
            forecaster,
            contact,
            now,
            pace: Pace::new(conditions.messages_per_second, idle_since),
            campaign_pace: conditions.campaign_messages_per_second.map(|n| Pace::new(n, now)),
            reach: conditions.reach.clone(),
            full_until: None,
            strangers: 0,
            others,
            turn: 0,
            order,
            head: 0,
            again: BTreeSet::new(),
            parked: BTreeMap::new(),
            for_room: BTreeSet::new(),
            last_due,
            waited: BTreeMap::new(),
            zones: HashMap::new(),
            result,
        }
    }

    fn work(mut self) -> Forecast {
        while self.is_any_left() {
            let wait = self.turn();
            let Some((next, why)) = wait else { break };
            let next = next.max(self.now + TICK);
            if let Some(why) = why {
                let begins = self.now.max(self.last_due);
                if next > begins {
                    let waited = self.waited.entry(why).or_insert(Duration::zero());
                    *waited += next - begins;
                }
            }
            self.now = next;
        }
        self.finish()
    }

    fn is_any_left(&self) -> bool {
        self.head < self.order.len()
            || !self.again.is_empty()
            || !self.parked.is_empty()
            || !self.for_room.is_empty()
    }

    /// Sends what may go now. Answers when to look again and what is waited for until then; `None`: nothing ever changes.
    fn turn(&mut self) -> Option<(DateTime<Utc>, Option<Limit>)> {
        self.wake();
        let next_token = self.pace.next_at(self.now);
        let mut found = None;
        // A busy number waits until its bucket is half full, and then sends many at once.
        if next_token <= self.now {
            loop {
                // Judged also where its campaign's own pace then keeps it, as the lane does.
                found = found.or_else(|| self.next_of_ours());
                let is_ready = found.is_some() && !self.is_held_by_campaign_pace();
                let Some(other) = self.whose_turn(is_ready) else { break };
                if self.pace.take(1, self.now) == 0 {
                    break;
                }
                match other {
                    Some(other) => self.send_other(other),
                    None => {
                        if let Some(rank) = found.take() {
                            self.send(rank);
                        }
                    }
                }
            }
        }
        // By the next turn it may have become quiet.
        self.again.extend(found);
        self.next_look()
    }

    /// Those whose time has come are looked at again.
    fn wake(&mut self) {
        while let Some(entry) = self.parked.first_entry()
            && *entry.key() <= self.now
        {
            let (_, ranks) = entry.remove();
            self.again.extend(ranks);
        }
        if matches!(self.full_until, Some(Some(until)) if until <= self.now) {
            self.full_until = None;
        }
    }

    fn is_held_by_campaign_pace(&self) -> bool {
        self.campaign_pace.as_ref().is_some_and(|pace| pace.available(self.now) == 0)
    }

    fn kind(&self, rank: Rank) -> Option<(u32, &'a Kind)> {
        let place = *self.order.get(usize::try_from(rank).ok()?)?;
        Some((place, self.forecaster.kind(place)))
    }

    /// The next that has fallen due, in their order, wherever it waits.
    fn next_due_of_ours(&mut self) -> Option<Rank> {
        let head = Rank::try_from(self.head).ok()?;
        let by_head = self.kind(head).filter(|(_, kind)| kind.due_at <= self.now).map(|_| head);
        let again = self.again.first().copied();
        let for_room = self.for_room.first().copied().filter(|_| self.full_until.is_none());
        let next = [by_head, again, for_room].into_iter().flatten().min()?;
        if Some(next) == by_head {
            self.head += 1;
        } else if Some(next) == again {
            self.again.pop_first();
        } else {
            self.for_room.pop_first();
        }
        Some(next)
    }

    /// The next that may be sent now. Whoever may not is settled, or waits where they are found again.
    fn next_of_ours(&mut self) -> Option<Rank> {
        loop {
            let rank = self.next_due_of_ours()?;
            let Some((place, kind)) = self.kind(rank) else { continue };
            let facts = self.facts(kind);
            match judge(&facts) {
                Verdict::Skip(reason) => {
                    *self.result.skipped.entry(reason).or_default() += 1;
                }
                Verdict::Expire => self.result.expired += 1,
                Verdict::Wait { until: Some(until), why } => {
                    let why = match why {
                        WaitFor::Template => Limit::Template,
                        WaitFor::QuietHours => Limit::QuietHours,
                        WaitFor::SendWindow => Limit::SendWindow,
                    };
                    let parked = self.parked.entry(until.max(self.now + TICK));
                    parked.or_insert((why, vec![])).1.push(rank);
                }
                // It waits for as long as the world stands still.
                Verdict::Wait { until: None, .. } => self.result.expired += 1,
                Verdict::Send => {
                    if facts.window_is_open() || self.has_room(place) {
                        return Some(rank);
                    }
                    self.for_room.insert(rank);
                }
            }
        }
    }

    fn facts(&self, kind: &Kind) -> DeliveryFacts<'a> {
        let conditions = &self.forecaster.conditions;
        let about = &kind.about;
        let is_excused = conditions.has_default_time_to_live
            && self.reach.as_ref().is_some_and(|reach| reach.was_full_lately(self.now));
        DeliveryFacts {
            now: self.now,
            contact: self.contact,
            content_kind: ContentKind::Template,
            category: Some(conditions.category),
            template_status: Some(conditions.template_status),
            window_until: about.window_until,
            marketing_blocked_until: about.marketing_blocked_until,
            takes_no_marketing: about.takes_no_marketing,
            is_capped: about.capped_until.is_some_and(|until| self.now < until),
            unreachable_until: about.unreachable_until,
            zone: kind.zone,
            hours: conditions.hours,
            expires_at: kind.expires_at.filter(|_| !is_excused),
        }
    }

    fn person(&self, place: u32) -> Person {
        let known = self.forecaster.counted.get(&place).copied();
        known.map_or(Person::Another(self.strangers), Person::Known)
    }

    fn has_room(&mut self, place: u32) -> bool {
        let person = self.person(place);
        // Whoever is one more has no room before.
        if self.full_until.is_some() && matches!(person, Person::Another(_)) {
            return false;
        }
        let Some(reach) = &mut self.reach else { return true };
        match reach.room(&person, self.now) {
            Room::New | Room::Counted => true,
            Room::Full { until } => {
                self.full_until = Some(until);
                false
            }
        }
    }

    /// Whose turn it is of those that may send now: `Some(None)` is the campaign itself.
    fn whose_turn(&mut self, are_we_ready: bool) -> Option<Option<usize>> {
        let stranger = Person::Another(self.strangers);
        let now = self.now;
        let waits_for_room = self.others.iter().any(|other| other.costs_reach);
        let has_room = !waits_for_room
            || (self.full_until.is_none()
                && self
                    .reach
                    .as_mut()
                    .is_none_or(|reach| !matches!(reach.room(&stranger, now), Room::Full { .. })));
        let ours = Priority::Bulk.rank();
        let ready = |index: &usize| match self.others.get(*index) {
            Some(other) => other.is_ready(now, has_room),
            None => are_we_ready,
        };
        let priority = |index: &usize| self.others.get(*index).map_or(ours, |other| other.priority);
        let all = 0..=self.others.len();
        let first = all.clone().filter(ready).map(|index| priority(&index)).min()?;
        let in_turn = all.clone().cycle().skip(self.turn).take(self.others.len() + 1);
        let chosen = in_turn.filter(ready).find(|index| priority(index) == first)?;
        self.turn = (chosen + 1) % (self.others.len() + 1);
        Some((chosen < self.others.len()).then_some(chosen))
    }

    fn send_other(&mut self, index: usize) {
        let Some(other) = self.others.get_mut(index) else { return };
        other.take(self.now);
        if other.costs_reach {
            self.spend(Person::Another(self.strangers));
        }
    }

    fn spend(&mut self, person: Person) {
        if let Some(reach) = &mut self.reach {
            reach.spend(&person, self.now);
        }
        if matches!(person, Person::Another(_)) {
            self.strangers += 1;
        }
    }

    fn send(&mut self, rank: Rank) {
        let Some((place, kind)) = self.kind(rank) else { return };
        let now = self.now;
        if let Some(pace) = &mut self.campaign_pace {
            pace.take(1, now);
        }
        if !self.facts(kind).window_is_open() {
            self.spend(self.person(place));
        }
        let result = &mut self.result;
        result.to_send += 1;
        result.first_send_at.get_or_insert(now);
        result.last_send_at = Some(now);
        let category = self.forecaster.conditions.category;
        let bill = Bill::assumed(kind.about.country, Some(category), now.date_naive());
        *result.bills.entry(bill).or_default() += 1;
        if let Some((contact_id, zone)) = self.forecaster.sample.chosen.get(&place) {
            result.sample.push(SampleMessage {
                contact_id: *contact_id,
                send_at: now,
                zone: *zone,
            });
        }
        let zone = self.zones.entry((kind.zone, kind.source)).or_insert(ZoneForecast {
            zone: kind.zone,
            source: kind.source,
            count: 0,
            first_send_at: Some(now),
        });
        zone.count += 1;
    }

    /// When something can change, and what keeps ours until then.
    fn next_look(&self) -> Option<(DateTime<Utc>, Option<Limit>)> {
        let now = self.now;
        let head = Rank::try_from(self.head).ok().and_then(|head| self.kind(head));
        let next_due = head.map(|(_, kind)| kind.due_at);
        let is_due = !self.again.is_empty() || next_due.is_some_and(|at| at <= now);
        let has_room = self.full_until.is_none();
        let is_other_due = |other: &Queue| other.next_due().is_some_and(|at| at <= now);
        let ours_by_pace = is_due || (has_room && !self.for_room.is_empty());
        let slow = self.campaign_pace.as_ref().filter(|_| self.is_held_by_campaign_pace());
        let ours = ours_by_pace.then(|| match slow {
            Some(slow) => slow.next_at(now).max(self.pace.next_at(now)),
            None => self.pace.next_at(now),
        });
        let theirs = self.others.iter().filter(|other| has_room || !other.costs_reach);
        let theirs = theirs.filter_map(|other| match is_other_due(other) {
            false => other.next_due(),
            true => {
                let own = other.pace.as_ref().map_or(now, |pace| pace.next_at(now));
                Some(own.max(self.pace.next_at(now)))
            }
        });
        let room = self.full_until.flatten().filter(|_| {
            !self.for_room.is_empty() || self.others.iter().any(|other| other.costs_reach)
        });
        let parked = self.parked.first_key_value();
        let next = [ours, next_due.filter(|at| *at > now), room, parked.map(|(at, _)| *at)]
            .into_iter()
            .flatten()
            .chain(theirs)
            .min()?;
        let is_any_of_ours = self.is_any_left()
            && (ours.is_some() || next_due.is_some() || room.is_some() || parked.is_some());
        let why = if ours_by_pace {
            Some(if slow.is_some() { Limit::CampaignPace } else { Limit::Pace })
        } else if !self.for_room.is_empty() {
            Some(Limit::Reach)
        } else {
            parked.map(|(_, (why, _))| *why)
        };
        is_any_of_ours.then_some((next, why))
    }

    fn finish(mut self) -> Forecast {
        // Whoever still waits waits for what never comes.
        let left = self.for_room.len() + self.again.len();
        self.result.expired += u64::try_from(left).unwrap_or(u64::MAX);
        let last = self.result.last_send_at;
        if last.is_some_and(|last| last - self.last_due > AT_ONCE) {
            let longest = self.waited.iter().max_by_key(|(_, waited)| **waited);
            self.result.limited_by = longest.map(|(why, _)| *why);
        } else if last.is_none() && left > 0 {
            self.result.limited_by = Some(Limit::Reach);
        }
        let mut zones: Vec<ZoneForecast> = self.zones.into_values().collect();
        zones.sort_by_key(|zone| (std::cmp::Reverse(zone.count), zone.zone.name(), zone.source));
        self.result.zones = zones;
        self.result
    }
}

impl Forecaster {
    fn kind(&self, place: u32) -> &Kind {
        let (id, _) = self.queue[place as usize];
        &self.kinds[id as usize]
    }

    fn message(&self, place: u32) -> MessageId {
        self.queue[place as usize].1
    }
}
