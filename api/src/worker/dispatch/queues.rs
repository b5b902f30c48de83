//! In which order a number's due messages are looked at. Each campaign is a queue (single sends are one, too) that is
//! read on from where the last look ended, so that what has to wait stands in nobody's way, however much it is; from time
//! to time, and when what waits may go, a queue is read from its beginning again. Pure; instants are the lane's.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use projections::{AgendaItem, DueCursor};
use uuid::Uuid;

/// A queue is read anew this long after its beginning was read, at the earliest …
const REWIND_AFTER: Duration = Duration::seconds(2);
/// … and later by this for every message that waits in it, so that looking again costs little however many wait.
const REWIND_PER_WAITING: Duration = Duration::milliseconds(5);
/// What is known to be free again is looked at sooner, but not so soon that reading the queue takes all the time.
const RUSH_PER_WAITING: Duration = Duration::milliseconds(1);
/// Single sends are appended by many at once, so one that fell due earlier may be seen later by this much.
pub const SETTLED_AFTER: Duration = Duration::seconds(10);
/// Messages of one queue that are looked at in one turn, at most.
pub const STRIDE_MAX: usize = 256;
const STRIDE_MIN: usize = 16;

/// By priority and campaign; nil is no campaign.
type Key = (i64, Uuid);

#[derive(Debug, Default)]
struct Queue {
    /// Everything up to here was looked at …
    after: Option<DueCursor>,
    /// … beginning then.
    since: Option<DateTime<Utc>>,
    /// Messages left behind that wait.
    waiting: u32,
    /// When the first of them may go, where that is known.
    free_at: Option<DateTime<Utc>>,
    stride: usize,
    /// Of this turn.
    passed: usize,
    taken: usize,
}

impl Queue {
    fn rewind_at(&self) -> Option<DateTime<Utc>> {
        let since = self.since?;
        let waiting = i32::try_from(self.waiting).unwrap_or(i32::MAX);
        let in_any_case = since + REWIND_AFTER.max(REWIND_PER_WAITING * waiting);
        let soonest = since + RUSH_PER_WAITING * waiting;
        Some(self.free_at.map_or(in_any_case, |free_at| free_at.max(soonest).min(in_any_case)))
    }
}

/// A number's queues.
#[derive(Debug, Default)]
pub struct Queues {
    known: HashMap<Key, Queue>,
    /// The campaign that came first in the last turn.
    first: Option<Uuid>,
}

fn key(item: &AgendaItem) -> Key {
    (item.priority, item.campaign_id.unwrap_or_default())
}

impl Queues {
    /// Begins a turn: queues whose time has come are read from their beginning.
    pub fn begin(&mut self, now: DateTime<Utc>) {
        for queue in self.known.values_mut() {
            if queue.rewind_at().is_some_and(|at| at <= now) {
                let stride = queue.stride;
                *queue = Queue { stride, ..Queue::default() };
            }
            if queue.passed > 0 {
                let came_to_nothing = queue.taken == 0;
                queue.stride = if came_to_nothing {
                    (queue.stride * 2).clamp(STRIDE_MIN, STRIDE_MAX)
                } else {
                    0
                };
            }
            (queue.passed, queue.taken) = (0, 0);
        }
    }

    /// Which campaigns to look at in this turn, at most `max`, beginning with another one each time. Single sends are
    /// always among them.
    pub fn order(&mut self, mut campaigns: Vec<Uuid>, max: usize) -> Vec<Uuid> {
        self.known.retain(|(_, campaign), _| campaigns.contains(campaign));
        campaigns.sort_unstable();
        let singles = campaigns.first().is_some_and(Uuid::is_nil);
        let bulk = campaigns.split_off(usize::from(singles));
        let start = self.first.map_or(0, |first| bulk.partition_point(|id| *id <= first));
        let turned = bulk.iter().cycle().skip(start).take(bulk.len().min(max)).copied();
        campaigns.extend(turned);
        if let Some(first) = campaigns.get(usize::from(singles)) {
            self.first = Some(*first);
        }
        campaigns
    }

    /// From where to read on, by priority.
    pub fn cursors(&self, campaign: Uuid) -> [Option<DueCursor>; 3] {
        [0, 1, 2].map(|priority| self.known.get(&(priority, campaign)).and_then(|q| q.after))
    }

    /// How many messages to read for a turn that may send `budget`.
    pub fn stride(&self, campaign: Uuid, budget: usize) -> usize {
        let strides = [0, 1, 2]
            .map(|priority| self.known.get(&(priority, campaign)).map_or(0, |queue| queue.stride));
        strides.into_iter().max().unwrap_or_default().max(budget).min(STRIDE_MAX)
    }

    /// The message is somebody's: sent, settled, or remembered by itself.
    pub fn taken(&mut self, item: &AgendaItem, settled_before: DateTime<Utc>, now: DateTime<Utc>) {
        let queue = self.known.entry(key(item)).or_default();
        queue.passed += 1;
        queue.taken += 1;
        self.pass(item, settled_before, now);
    }

    /// The message waits, remembered by itself.
    pub fn held(&mut self, item: &AgendaItem, settled_before: DateTime<Utc>, now: DateTime<Utc>) {
        self.known.entry(key(item)).or_default().passed += 1;
        self.pass(item, settled_before, now);
    }

    /// The message waits, and the queue remembers that it left somebody behind.
    pub fn left(&mut self, item: &AgendaItem, free_at: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        let queue = self.known.entry(key(item)).or_default();
        queue.passed += 1;
        queue.waiting = queue.waiting.saturating_add(1);
        queue.free_at = [queue.free_at, free_at].into_iter().flatten().min();
        self.pass(item, DateTime::<Utc>::MAX_UTC, now);
    }

    /// Moves on behind a message, unless an earlier one may still show up.
    fn pass(&mut self, item: &AgendaItem, settled_before: DateTime<Utc>, now: DateTime<Utc>) {
        if item.campaign_id.is_none() && item.at > settled_before {
            return;
        }
        let queue = self.known.entry(key(item)).or_default();
        queue.after = queue.after.max(Some((item.at, item.message_id)));
        queue.since.get_or_insert(now);
    }

    /// When the next queue is read anew.
    pub fn next_rewind(&self) -> Option<DateTime<Utc>> {
        self.known.values().filter_map(Queue::rewind_at).min()
    }

    /// Whatever was left behind is looked at again: what it waited for may have changed.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

/// One list out of many: by priority, and within one priority from each list in turn. Each list is in its own order.
pub fn interleave(lists: Vec<Vec<AgendaItem>>) -> Vec<AgendaItem> {
    let mut turns: Vec<(i64, usize, usize, AgendaItem)> = vec![];
    for (list, items) in lists.into_iter().enumerate() {
        let mut turn: HashMap<i64, usize> = HashMap::new();
        for item in items {
            let turn = turn.entry(item.priority).or_default();
            turns.push((item.priority, *turn, list, item));
            *turn += 1;
        }
    }
    turns.sort_by_key(|(priority, turn, list, _)| (*priority, *turn, *list));
    turns.into_iter().map(|(.., item)| item).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use domain::message::ContentKind;

    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(1_795_000_000_000 + ms).unwrap()
    }

    fn item(campaign: u128, priority: i64, n: u128) -> AgendaItem {
        AgendaItem {
            message_id: Uuid::from_u128(campaign << 64 | n),
            account_id: Uuid::from_u128(1),
            contact_id: Uuid::from_u128(n),
            campaign_id: (campaign > 0).then(|| Uuid::from_u128(campaign)),
            template_id: None,
            priority,
            content_kind: ContentKind::Template,
            category: None,
            at: at(n as i64),
            attempts: 0,
            expires_at: None,
        }
    }

    /// A turn over campaigns of which some send and some wait, as the lane does it. Answers who sent how many.
    fn turn(
        queues: &mut Queues,
        campaigns: &mut HashMap<Uuid, (bool, Vec<AgendaItem>)>,
        tokens: usize,
        now: DateTime<Utc>,
    ) -> HashMap<Uuid, usize> {
        queues.begin(now);
        let order = queues.order(campaigns.keys().copied().collect(), 16);
        let lists = order
            .iter()
            .map(|campaign| {
                let after = queues.cursors(*campaign);
                let stride = queues.stride(*campaign, tokens);
                let (_, items) = &campaigns[campaign];
                let behind = |item: &&AgendaItem| {
                    after[item.priority as usize].is_none_or(|at| (item.at, item.message_id) > at)
                };
                items.iter().filter(behind).take(stride).cloned().collect()
            })
            .collect();
        let mut sent: HashMap<Uuid, usize> = HashMap::new();
        for item in interleave(lists).into_iter().take(STRIDE_MAX) {
            let (may_go, items) = campaigns.get_mut(&item.campaign_id.unwrap_or_default()).unwrap();
            if !*may_go {
                queues.left(&item, None, now);
                continue;
            }
            if sent.values().sum::<usize>() == tokens {
                break;
            }
            items.retain(|other| other.message_id != item.message_id);
            queues.taken(&item, now, now);
            *sent.entry(item.campaign_id.unwrap_or_default()).or_default() += 1;
        }
        sent
    }

    fn campaign(id: u128, may_go: bool, count: u128) -> (Uuid, (bool, Vec<AgendaItem>)) {
        (Uuid::from_u128(id), (may_go, (0..count).map(|n| item(id, 2, n)).collect()))
    }

    #[test]
    fn many_that_wait_stand_in_nobodys_way() {
        let mut campaigns = HashMap::from([campaign(1, false, 20_000), campaign(2, true, 200)]);
        let mut queues = Queues::default();
        let sent: usize = (0..50)
            .map(|n| turn(&mut queues, &mut campaigns, 4, at(20_000 + n * 50)))
            .map(|sent| sent.get(&Uuid::from_u128(2)).copied().unwrap_or(0))
            .sum();
        assert_eq!(sent, 200);
    }

    #[test]
    fn campaigns_of_one_priority_share_what_may_go() {
        let mut campaigns = HashMap::from([
            campaign(1, true, 1_000),
            campaign(2, true, 1_000),
            campaign(3, true, 1_000),
        ]);
        let mut queues = Queues::default();
        let mut sent: HashMap<Uuid, usize> = HashMap::new();
        for n in 0..300 {
            for (id, count) in turn(&mut queues, &mut campaigns, 1, at(20_000 + n * 12)) {
                *sent.entry(id).or_default() += count;
            }
        }
        assert!(sent.len() == 3 && sent.values().all(|count| *count == 100), "{sent:?}");
    }

    #[test]
    fn what_goes_first_is_not_made_to_take_turns() {
        let lists = vec![
            vec![item(1, 2, 1), item(1, 2, 2)],
            vec![item(0, 0, 3), item(0, 1, 4), item(0, 1, 5)],
            vec![item(2, 2, 6)],
        ];
        let order: Vec<u128> =
            interleave(lists).iter().map(|item| item.contact_id.as_u128()).collect();
        assert_eq!(order, [3, 4, 5, 1, 6, 2]);
    }

    #[test]
    fn a_queue_is_read_anew_in_time_and_the_later_the_more_wait() {
        let mut queues = Queues::default();
        queues.left(&item(1, 2, 1), None, at(100));
        assert_eq!(queues.next_rewind(), Some(at(2_100)));
        for n in 2..=1_000 {
            queues.left(&item(1, 2, n), None, at(200));
        }
        assert_eq!(queues.next_rewind(), Some(at(5_100)));
        queues.left(&item(1, 2, 1_001), Some(at(3_000)), at(300));
        assert_eq!(queues.next_rewind(), Some(at(3_000)));
        queues.begin(at(2_999));
        assert!(queues.cursors(Uuid::from_u128(1))[2].is_some());
        queues.begin(at(3_000));
        assert_eq!(queues.cursors(Uuid::from_u128(1)), [None; 3]);
    }

    #[test]
    fn a_single_send_that_shows_up_late_is_not_passed_by() {
        let mut queues = Queues::default();
        queues.taken(&item(0, 1, 5_000), at(4_000), at(6_000));
        assert_eq!(queues.cursors(Uuid::nil()), [None; 3]);
        queues.taken(&item(0, 1, 5_000), at(5_000), at(15_000));
        assert!(queues.cursors(Uuid::nil())[1].is_some());
    }
}
