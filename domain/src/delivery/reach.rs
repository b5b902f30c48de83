//! How many people a portfolio reaches: WhatsApp limits the unique people to whom all its numbers together send outside
//! service windows in a moving 24 h. It documents no error for going beyond, so this is counted here and never tried.
//! Whoever owns the portfolio holds the count, and after a restart builds it from the intents of the last 24 h.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

use chrono::{DateTime, Duration, Utc};

use crate::account::{Account, AccountStatus};

/// Meta's moving day, and a minute for the way: a request leaves up to ten seconds after its intent and takes its time
/// to arrive, so that two intents a day apart can arrive closer than that.
const SPAN: Duration = Duration::seconds(24 * 3600 + 60);
/// How long fullness is remembered: whoever could have gone yesterday but for the limit had no fair chance yet.
const FULL_REMEMBERED: Duration = Duration::seconds(2 * SPAN.num_seconds());
/// So many intents of one person are remembered as ones that may still be given back. An older one counts as sent.
const OPEN_MAX: usize = 4;

/// The people reached in the last 24 h. `P` says who: a person has one, over all numbers of the portfolio.
///
/// Holds one entry per person counted, so never many more than the limit was within the last 24 h.
#[derive(Clone, Debug)]
pub struct Reach<P> {
    /// People per moving 24 h.
    limit: usize,
    people: HashMap<P, Spent>,
    /// Who was last sent to when: the oldest leaves first.
    by_time: BTreeSet<(DateTime<Utc>, P)>,
    /// When there was last no room for one more.
    full_at: Option<DateTime<Utc>>,
}

/// What one person cost.
#[derive(Clone, Debug, Default)]
struct Spent {
    /// The latest intent that can no longer be given back.
    settled: Option<DateTime<Utc>>,
    /// Later ones, oldest first.
    open: VecDeque<DateTime<Utc>>,
}

impl Spent {
    /// When this person was last sent to.
    fn latest(&self) -> Option<DateTime<Utc>> {
        self.open.back().copied().max(self.settled)
    }

    fn add(&mut self, at: DateTime<Utc>) {
        let place = self.open.partition_point(|known| *known <= at);
        self.open.insert(place, at);
        if self.open.len() > OPEN_MAX {
            self.settled = self.open.pop_front().max(self.settled);
        }
    }
}

/// Whether a person may be sent to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Yes; with this message they are one more.
    New,
    /// Yes; they were reached in the last 24 h and cost nothing more.
    Counted,
    /// No. There is room at this instant; `None`: never, because the limit is zero.
    Full { until: Option<DateTime<Utc>> },
}

/// What WhatsApp grants a portfolio, by what its numbers were told: the least, because what one number was told last may
/// not have reached the others yet. `None`: nobody knows of a limit, or there is none.
pub fn limit_of<'a>(accounts: impl IntoIterator<Item = &'a Account>) -> Option<u32> {
    let connected = accounts.into_iter().filter(|a| a.status != AccountStatus::Disconnected);
    connected.filter_map(|account| account.limit?.people_per_day).min()
}

impl<P: Clone + Eq + Hash + Ord> Reach<P> {
    /// How far back intents have to be known for [`Self::rebuilt`].
    pub fn memory() -> Duration {
        FULL_REMEMBERED
    }

    /// Nobody reached yet, at most `limit` people per moving 24 h. A portfolio without a limit, or with one that is not
    /// known, is not counted at all: it has no `Reach`.
    pub fn new(limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, people: HashMap::new(), by_time: BTreeSet::new(), full_at: None }
    }

    /// The count as it is after these intents, in any order. All of them are counted, more than the limit too: that is
    /// what a lowered limit looks like.
    pub fn rebuilt(
        limit: u32,
        intents: impl IntoIterator<Item = (P, DateTime<Utc>)>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut reach = Self::new(limit);
        let recent = |(_, at): &(P, DateTime<Utc>)| now - *at < Self::memory();
        let mut intents: Vec<_> = intents.into_iter().filter(recent).collect();
        intents.sort_unstable_by_key(|(_, at)| *at);
        for (person, at) in intents {
            reach.forget(at);
            reach.count(person, at);
        }
        reach.forget(now);
        reach
    }

    /// WhatsApp grants more or less now. Who was counted stays counted.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
    }

    /// How many people count at `now`.
    pub fn used(&self, now: DateTime<Utc>) -> usize {
        let gone = self.by_time.iter().take_while(|(at, _)| now - *at >= SPAN).count();
        self.by_time.len() - gone
    }

    /// Whether a person is in the count, as of when it was last asked for room.
    pub fn counts(&self, person: &P) -> bool {
        self.people.contains_key(person)
    }

    /// Whether a message to this person may leave now. Counts nothing.
    pub fn room(&mut self, person: &P, now: DateTime<Utc>) -> Room {
        self.forget(now);
        if self.people.contains_key(person) {
            return Room::Counted;
        }
        if self.people.len() < self.limit {
            return Room::New;
        }
        self.full_at = self.full_at.max(Some(now));
        Room::Full { until: self.room_at(now) }
    }

    /// Spends the person's place if there is one. To be called with the intent, before the request.
    pub fn spend(&mut self, person: &P, now: DateTime<Utc>) -> Room {
        let room = self.room(person, now);
        if matches!(room, Room::New | Room::Counted) {
            self.count(person.clone(), now);
        }
        room
    }

    /// WhatsApp definitely refused what was spent at `at`, so it reached nobody. What was not spent is not given back.
    pub fn give_back(&mut self, person: &P, at: DateTime<Utc>) {
        let Some(spent) = self.people.get_mut(person) else { return };
        let before = spent.latest();
        if let Some(place) = spent.open.iter().rposition(|known| *known == at) {
            spent.open.remove(place);
        }
        let after = spent.latest();
        if after.is_none() {
            self.people.remove(person);
        }
        self.move_entry(person.clone(), before, after);
    }

    /// When there is room for one more person: `now` or earlier: at once. `None`: never, because the limit is zero.
    pub fn room_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.room_for(0, now)
    }

    /// When there is room for one more person behind `before` others who all go as soon as they may. `None`: never.
    pub fn room_for(&self, before: usize, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Whoever is let in leaves a span later, and makes room again.
        let rounds = i32::try_from(before.checked_div(self.limit)?).ok()?;
        let before = before % self.limit;
        let mut counted = self.by_time.iter().skip_while(|(at, _)| now - *at >= SPAN);
        let free = self.limit.saturating_sub(self.used(now));
        let first = match before.checked_sub(free) {
            None => now,
            // So many have to leave that one less than the limit remains.
            Some(behind) => {
                let surplus = self.used(now).saturating_sub(self.limit);
                let (at, _) = counted.nth(surplus + behind)?;
                (*at + SPAN).max(now)
            }
        };
        first.checked_add_signed(SPAN.checked_mul(rounds)?)
    }

    /// Whether there was no room at some time within the last two days, so that somebody may be waiting for no other
    /// reason.
    pub fn was_full_lately(&self, now: DateTime<Utc>) -> bool {
        self.full_at.is_some_and(|at| now - at < FULL_REMEMBERED)
    }

    /// When the next person leaves the count; `None` where it is empty.
    pub fn resets_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.by_time.iter().map(|(at, _)| *at + SPAN).find(|leaves| *leaves > now)
    }

    fn count(&mut self, person: P, at: DateTime<Utc>) {
        let spent = self.people.entry(person.clone()).or_default();
        let before = spent.latest();
        spent.add(at);
        let after = spent.latest();
        self.move_entry(person, before, after);
        if self.people.len() >= self.limit {
            self.full_at = self.full_at.max(Some(at));
        }
    }

    fn move_entry(
        &mut self,
        person: P,
        before: Option<DateTime<Utc>>,
        after: Option<DateTime<Utc>>,
    ) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, person.clone()));
        }
        if let Some(after) = after {
            self.by_time.insert((after, person));
        }
    }

    /// Drops whoever was last reached more than a day ago.
    fn forget(&mut self, now: DateTime<Utc>) {
        while self.by_time.first().is_some_and(|(at, _)| now - *at >= SPAN)
            && let Some((_, person)) = self.by_time.pop_first()
        {
            self.people.remove(&person);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::MessagingLimit;
    use chrono::TimeZone;
    use proptest::prelude::*;

    fn at(minute: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_800_000_000 + minute * 60, 0).unwrap()
    }

    const DAY: i64 = 24 * 60;

    #[test]
    fn who_was_reached_today_costs_nothing_more() {
        let mut reach = Reach::new(2);
        assert_eq!(reach.spend(&"ana", at(0)), Room::New);
        assert_eq!(reach.spend(&"ana", at(5)), Room::Counted);
        assert_eq!(reach.spend(&"ben", at(6)), Room::New);
        assert_eq!(reach.used(at(6)), 2);
    }

    #[test]
    fn when_full_it_says_when_the_oldest_leaves() {
        let mut reach = Reach::new(2);
        reach.spend(&"ana", at(0));
        reach.spend(&"ben", at(10));
        let full = Room::Full { until: Some(at(DAY + 1)) };
        assert_eq!(reach.spend(&"cem", at(20)), full);
        assert_eq!(reach.resets_at(at(20)), Some(at(DAY + 1)));
        assert_eq!(reach.spend(&"cem", at(DAY)), full);
        assert_eq!(reach.spend(&"cem", at(DAY + 1)), Room::New);
        assert_eq!(reach.resets_at(at(DAY + 1)), Some(at(DAY + 11)));
    }

    #[test]
    fn a_person_leaves_a_day_after_the_last_message_not_the_first() {
        let mut reach = Reach::new(1);
        reach.spend(&"ana", at(0));
        reach.spend(&"ana", at(600));
        assert_eq!(reach.room(&"ben", at(DAY + 1)), Room::Full { until: Some(at(DAY + 601)) });
    }

    #[test]
    fn what_whatsapp_refused_is_given_back_and_what_it_took_is_not() {
        let mut reach = Reach::new(1);
        reach.spend(&"ana", at(0));
        reach.give_back(&"ana", at(0));
        reach.give_back(&"ana", at(0));
        reach.give_back(&"ben", at(0));
        assert_eq!((reach.used(at(0)), reach.resets_at(at(0))), (0, None));
        // The first message was taken, so the person stays when the second is refused, and leaves by the first.
        reach.spend(&"ben", at(1));
        reach.spend(&"ben", at(9));
        reach.give_back(&"ben", at(9));
        assert_eq!(reach.room(&"ana", at(10)), Room::Full { until: Some(at(DAY + 2)) });
    }

    #[test]
    fn a_lowered_limit_waits_until_enough_have_left_and_a_raised_one_makes_room() {
        let intents = (0..5).map(|n| (n, at(n)));
        let mut reach = Reach::rebuilt(5, intents, at(5));
        reach.set_limit(3);
        assert_eq!(reach.used(at(5)), 5);
        assert_eq!(reach.room(&9, at(5)), Room::Full { until: Some(at(DAY + 3)) });
        assert_eq!(reach.room(&2, at(5)), Room::Counted);
        reach.set_limit(6);
        assert_eq!(reach.spend(&9, at(5)), Room::New);
        reach.set_limit(0);
        assert_eq!(reach.room(&10, at(5)), Room::Full { until: None });
    }

    #[test]
    fn whoever_waits_behind_others_is_told_when_their_turn_comes() {
        let reach = Reach::rebuilt(3, (0..2).map(|n| (n, at(n))), at(5));
        let turns: Vec<_> = (0..7).map(|before| reach.room_for(before, at(5)).unwrap()).collect();
        let day = DAY + 1;
        let expected = [5, day, day + 1, 5 + day, 2 * day, 2 * day + 1, 5 + 2 * day].map(at);
        assert_eq!(turns, expected);
        assert_eq!(Reach::<u8>::new(0).room_for(0, at(5)), None);
        let over = Reach::rebuilt(1, (0..3).map(|n| (n, at(n))), at(5));
        assert_eq!(over.room_for(0, at(5)), Some(at(day + 2)));
    }

    #[test]
    fn that_there_was_no_room_is_known_for_two_days_also_after_a_restart() {
        let intents = (0..3).map(|n| (n, at(n)));
        for (limit, was_full) in [(3, true), (4, false)] {
            let reach = Reach::rebuilt(limit, intents.clone(), at(2 * DAY));
            assert_eq!(
                (reach.used(at(2 * DAY)), reach.was_full_lately(at(2 * DAY))),
                (0, was_full)
            );
            assert!(!reach.was_full_lately(at(2 * DAY + 4)));
        }
        let mut reach = Reach::new(1);
        reach.spend(&"ana", at(0));
        assert!(reach.was_full_lately(at(1)));
    }

    #[test]
    fn a_portfolios_limit_is_the_least_that_a_connected_number_was_told() {
        let number = |people_per_day: Option<Option<u32>>, status| Account {
            limit: people_per_day.map(|people_per_day| MessagingLimit { people_per_day }),
            status,
            ..Account::default()
        };
        let on = AccountStatus::Connected;
        let numbers = [
            number(None, on),
            number(Some(None), on),
            number(Some(Some(2_000)), AccountStatus::Paused),
            number(Some(Some(10_000)), on),
            number(Some(Some(250)), AccountStatus::Disconnected),
        ];
        assert_eq!(limit_of(&numbers), Some(2_000));
        assert_eq!(limit_of(&numbers[..2]), None);
    }

    #[test]
    fn memory_of_one_person_is_bounded_and_errs_on_the_safe_side() {
        let mut reach = Reach::new(1);
        for minute in 0..1_000 {
            reach.spend(&"ana", at(minute));
        }
        assert_eq!(reach.people["ana"].open.len(), OPEN_MAX);
        (0..1_000).for_each(|n| reach.give_back(&"ana", at(n)));
        let last_settled = 1_000 - i64::try_from(OPEN_MAX).unwrap() - 1;
        assert_eq!(reach.resets_at(at(1_000)), Some(at(last_settled + DAY + 1)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send {
            person: u8,
            is_refused: bool,
        },
        /// Everything is counted anew from the log.
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
        let send = (0u8..40, prop::bool::weighted(0.2))
            .prop_map(|(person, is_refused)| Step::Send { person, is_refused });
        let step = prop_oneof![40 => send, 1 => Just(Step::Restart)];
        prop::collection::vec((0i64..180, step), 1..300)
    }

    proptest! {
        #[test]
        fn no_moving_day_holds_more_people_than_the_limit(limit in 1u32..20, steps in steps()) {
            let mut reach = Reach::new(limit);
            let mut log: Vec<(u8, DateTime<Utc>)> = vec![];
            let mut now = 0;
            for (wait, step) in steps {
                now += wait;
                match step {
                    Step::Restart => reach = Reach::rebuilt(limit, log.iter().copied(), at(now)),
                    Step::Send { person, is_refused } => match reach.spend(&person, at(now)) {
                        Room::Full { until } => {
                            let until = until.unwrap();
                            prop_assert!(until > at(now), "{until} is no wait");
                            prop_assert_eq!(reach.clone().room(&person, until), Room::New);
                            let almost = until - Duration::seconds(1);
                            let still_full = Room::Full { until: Some(until) };
                            prop_assert_eq!(reach.clone().room(&person, almost), still_full);
                        }
                        _ if is_refused => reach.give_back(&person, at(now)),
                        _ => log.push((person, at(now))),
                    },
                }
                let day: BTreeSet<u8> = log
                    .iter()
                    .filter(|(_, sent)| at(now) - *sent <= Duration::hours(24))
                    .map(|(person, _)| *person)
                    .collect();
                prop_assert!(day.len() <= limit as usize, "{} of {limit}", day.len());
                let counted: BTreeSet<u8> = log
                    .iter()
                    .filter(|(_, sent)| at(now) - *sent < SPAN)
                    .map(|(person, _)| *person)
                    .collect();
                prop_assert_eq!(reach.used(at(now)), counted.len());
                prop_assert!(reach.people.len() <= limit as usize);
                prop_assert_eq!(reach.people.len(), reach.by_time.len());
            }
        }

        #[test]
        fn a_rebuilt_count_is_the_one_that_was_kept_in_any_order(
            mut intents in prop::collection::vec((0u8..30, 0i64..3_000), 0..120), seed in any::<u64>(),
        ) {
            let limit = 1_000;
            let now = at(3_000);
            let mut kept = Reach::new(limit);
            intents.sort_by_key(|(_, minute)| *minute);
            for (person, minute) in &intents {
                kept.spend(person, at(*minute));
            }
            let length = intents.len().max(1);
            intents.rotate_left(usize::try_from(seed % length as u64).unwrap());
            let rebuilt = Reach::rebuilt(limit, intents.into_iter().map(|(p, m)| (p, at(m))), now);
            prop_assert_eq!(rebuilt.used(now), kept.used(now));
            prop_assert_eq!(rebuilt.resets_at(now), kept.resets_at(now));
        }
    }
}
