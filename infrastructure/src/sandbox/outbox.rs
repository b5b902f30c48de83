//! What is still to be told: when each status and message is due, which webhook it travels in, how many are on their way,
//! and when one that was not answered 200 is tried again. Bookkeeping only; nothing here sends.

use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use super::entry::{Entry, Field, Sent, Step};
use super::fate::Fate;
use super::people::Said;
use super::state::State;

/// Webhooks on their way at once, per number.
pub(crate) const IN_FLIGHT_MAX: usize = 16;
/// A webhook is given up this long after it was due.
const GIVE_UP_MS: i64 = 3_600_000;
/// Longest wait before the next attempt.
const RETRY_MS_MAX: i64 = 30_000;
/// An endpoint that failed so often in a row is left alone for a moment, or a dead one would be called without pause by
/// everything that waits for it.
const FAILURES_BEFORE_PAUSE: u32 = 16;
const PAUSE_MS_MAX: i64 = 5_000;
/// How far ahead a webhook may overtake when they are shuffled.
const SHUFFLE_DEPTH: u64 = 64;

/// One thing to tell.
#[derive(Clone)]
pub(crate) struct Item {
    pub seq: u64,
    /// When it happened.
    pub at: i64,
    /// When it is to arrive.
    pub due: i64,
    pub what: What,
}

#[derive(Clone)]
pub(crate) enum What {
    Step { sent: Arc<Sent>, step: Step },
    Field(Arc<Field>),
}

impl Item {
    pub(crate) fn number(&self) -> &str {
        match &self.what {
            What::Step { sent, .. } => &sent.number,
            What::Field(field) => &field.number,
        }
    }

    /// The key of whom it is about; 0 where it is nobody.
    pub(crate) fn person(&self) -> u64 {
        match &self.what {
            What::Step { sent, .. } => sent.person,
            What::Field(field) => field.person,
        }
    }

    fn is_account_level(&self) -> bool {
        matches!(&self.what, What::Field(field) if field.account)
    }
}

/// Things that travel in one webhook.
#[derive(Clone)]
pub(crate) struct Batch {
    pub items: Vec<Item>,
    pub attempts: u32,
    /// A second copy of one that was answered: tried once.
    pub copy: bool,
    due: i64,
}

/// A webhook on its way.
pub(crate) struct Flight {
    pub number: String,
    pub batch: Batch,
}

/// What one number has to tell now.
#[derive(Default)]
pub(crate) struct Outbox {
    ready: VecDeque<Item>,
    /// Held back while something about the same person is on its way, so that statuses arrive in order unless told not to.
    waiting: HashMap<u64, VecDeque<Item>>,
    busy: HashMap<u64, u32>,
    again: VecDeque<Batch>,
    in_flight: usize,
    failures: u32,
    paused_until: i64,
}

impl Outbox {
    pub(crate) fn items(&self) -> Vec<Item> {
        let waiting = self.waiting.values().flatten();
        let again = self.again.iter().filter(|batch| !batch.copy).flat_map(|batch| &batch.items);
        self.ready.iter().chain(waiting).chain(again).cloned().collect()
    }

    /// How much is due and not on its way.
    pub(crate) fn backlog(&self) -> usize {
        self.ready.len()
            + self.waiting.values().map(VecDeque::len).sum::<usize>()
            + self.again.iter().map(|batch| batch.items.len()).sum::<usize>()
    }

    /// Takes items out, but for those on their way; answers how many.
    pub(crate) fn drop_items(&mut self, is_gone: impl Fn(&Item) -> bool) -> u64 {
        let before = self.backlog();
        self.ready.retain(|item| !is_gone(item));
        self.waiting.values_mut().for_each(|held| held.retain(|item| !is_gone(item)));
        self.waiting.retain(|_, held| !held.is_empty());
        self.again.iter_mut().for_each(|batch| batch.items.retain(|item| !is_gone(item)));
        self.again.retain(|batch| !batch.items.is_empty());
        (before - self.backlog()) as u64
    }

    fn is_free(&self, now: i64) -> bool {
        self.in_flight < IN_FLIGHT_MAX && now >= self.paused_until
    }

    fn release(&mut self, person: u64) {
        if person == 0 {
            return;
        }
        if let Some(count) = self.busy.get_mut(&person) {
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.busy.remove(&person);
        }
        if let Some(held) = self.waiting.remove(&person) {
            held.into_iter().rev().for_each(|item| self.ready.push_front(item));
        }
    }

    fn take_ready(&mut self, fate: &mut Fate, shuffle: f64) -> Option<Item> {
        if shuffle > 0.0 && self.ready.len() > 1 && fate.happens(shuffle) {
            let ahead = fate.between(0, SHUFFLE_DEPTH.min(self.ready.len() as u64) - 1);
            self.ready.swap(0, usize::try_from(ahead).unwrap_or(0));
        }
        self.ready.pop_front()
    }

    fn next_batch(&mut self, size: usize, fate: &mut Fate, shuffle: f64) -> Option<Batch> {
        let mut items: Vec<Item> = Vec::new();
        while items.len() < size {
            let Some(item) = self.take_ready(fate, shuffle) else { break };
            if self.busy.contains_key(&item.person()) {
                self.waiting.entry(item.person()).or_default().push_back(item);
                continue;
            }
            if items
                .first()
                .is_some_and(|first| first.is_account_level() != item.is_account_level())
            {
                self.ready.push_front(item);
                break;
            }
            items.push(item);
        }
        let due = items.iter().map(|item| item.due).min()?;
        for person in items.iter().map(Item::person).filter(|person| *person != 0) {
            *self.busy.entry(person).or_insert(0) += 1;
        }
        Some(Batch { items, attempts: 0, copy: false, due })
    }
}

enum Timed {
    Item(Item),
    Again {
        number: String,
        batch: Batch,
    },
    /// Only to look again.
    Wake,
}

struct Timer {
    due: i64,
    seq: u64,
    what: Timed,
}

/// Earliest first, then in the order they were made.
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.seq).cmp(&(self.due, self.seq))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timer {}

/// What is to happen, by time.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Timer>,
}

impl Timers {
    pub(crate) fn push_item(&mut self, item: Item) {
        self.heap.push(Timer { due: item.due, seq: item.seq, what: Timed::Item(item) });
    }

    fn push_again(&mut self, due: i64, number: String, batch: Batch) {
        let seq = batch.items.first().map_or(0, |item| item.seq);
        self.heap.push(Timer { due, seq, what: Timed::Again { number, batch } });
    }

    fn push_wake(&mut self, due: i64) {
        self.heap.push(Timer { due, seq: 0, what: Timed::Wake });
    }

    pub(crate) fn next_due(&self) -> Option<i64> {
        self.heap.peek().map(|timer| timer.due)
    }

    fn pop_due(&mut self, now: i64) -> Option<Timed> {
        if self.heap.peek()?.due > now {
            return None;
        }
        self.heap.pop().map(|timer| timer.what)
    }

    pub(crate) fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for timer in &self.heap {
            match &timer.what {
                Timed::Item(item) => items.push(item.clone()),
                Timed::Again { batch, .. } if !batch.copy => {
                    items.extend(batch.items.iter().cloned())
                }
                Timed::Again { .. } | Timed::Wake => {}
            }
        }
        items
    }

    /// How many things are planned; looking again is none.
    fn planned(&self) -> usize {
        let of = |timer: &Timer| match &timer.what {
            Timed::Item(_) => 1,
            Timed::Again { batch, .. } => batch.items.len(),
            Timed::Wake => 0,
        };
        self.heap.iter().map(of).sum()
    }

    /// Takes items out; answers how many.
    pub(crate) fn drop_items(&mut self, is_gone: impl Fn(&Item) -> bool) -> u64 {
        let before = self.planned();
        let timers = std::mem::take(&mut self.heap).into_iter().filter_map(|mut timer| {
            let is_left = match &mut timer.what {
                Timed::Item(item) => !is_gone(item),
                Timed::Again { batch, .. } => {
                    batch.items.retain(|item| !is_gone(item));
                    !batch.items.is_empty()
                }
                Timed::Wake => true,
            };
            is_left.then_some(timer)
        });
        self.heap = timers.collect();
        (before - self.planned()) as u64
    }

    /// Makes every further attempt due now, when an outage has ended.
    pub(crate) fn hurry(&mut self, now: i64) {
        let timers = std::mem::take(&mut self.heap).into_iter().map(|mut timer| {
            if matches!(timer.what, Timed::Again { .. }) {
                timer.due = timer.due.min(now);
            }
            timer
        });
        self.heap = timers.collect();
    }
}

/// A webhook to be made and sent.
pub(crate) struct Post {
    pub flight: u64,
    pub url: String,
    pub app_secret: String,
    pub frame: Frame,
    pub items: Vec<Item>,
    /// To be signed with another secret: the receiver must refuse it.
    pub wrong_signature: bool,
    /// To carry a field that nobody knows.
    pub unknown_field: bool,
}

/// What every webhook of a number has in common.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub waba_id: String,
    pub phone_number_id: String,
    /// Digits.
    pub display: String,
}

impl State {
    /// Moves what is due into webhooks, as many as may be on their way. Gives back those to be sent now and when to look
    /// again.
    pub(crate) fn collect(&mut self, now: i64) -> (Vec<Post>, Option<i64>) {
        while let Some(timed) = self.timers.pop_due(now) {
            match timed {
                Timed::Wake => {}
                Timed::Again { number, batch } => {
                    if let Some(number) = self.numbers.get_mut(&number) {
                        number.outbox.again.push_back(batch);
                    }
                }
                Timed::Item(item) => self.fall_due(item, now),
            }
        }
        let mut posts = Vec::new();
        let ids: Vec<String> = self.numbers.keys().cloned().collect();
        for id in ids {
            self.collect_number(&id, now, &mut posts);
        }
        (posts, self.timers.next_due())
    }

    fn fall_due(&mut self, item: Item, now: i64) {
        if let What::Step { sent, step: Step::Reply } = &item.what {
            let sent = Arc::clone(sent);
            let done = self.done(vec![item.seq], 0);
            let quoted_rate = self.behaviour_of(&sent.number).reply_quoted_rate;
            let answer = Said::answer(self.seed, &sent, quoted_rate);
            if let Err(error) = self.say(&answer, now, vec![done]) {
                tracing::error!(%error, "the sandbox could not note a person's answer");
            }
            return;
        }
        if let Some(number) = self.numbers.get_mut(item.number()) {
            number.outbox.ready.push_back(item);
        }
    }

    fn collect_number(&mut self, id: &str, now: i64, posts: &mut Vec<Post>) {
        let behaviour = self.behaviour_of(id);
        let (size, shuffle) = (behaviour.statuses_per_webhook, behaviour.shuffle_webhooks);
        let (outage, wrong) = (behaviour.webhook_outage, behaviour.wrong_signature_rate);
        let unknown = behaviour.unknown_field_rate;
        let Some(number) = self.numbers.get_mut(id) else { return };
        let subscribed =
            self.wabas.get(&number.facts.spec.waba_id).filter(|waba| waba.facts.subscribed);
        let app_url = number.facts.spec.webhook_url.clone();
        let own_url =
            number.facts.hook.as_ref().or(subscribed.and_then(|waba| waba.facts.hook.as_ref()));
        let own_url = own_url.map(|hook| hook.url.clone()).or(app_url.clone());
        let (is_subscribed, verified) = (subscribed.is_some(), number.facts.verified);
        let frame = Frame {
            waba_id: number.facts.spec.waba_id.clone(),
            phone_number_id: id.to_owned(),
            display: super::address::digits_of(&number.facts.spec.display_phone_number),
        };
        let app_secret = number.facts.spec.app_secret.clone();
        let mut gone: Vec<u64> = Vec::new();
        while number.outbox.is_free(now) {
            let again = number.outbox.again.pop_front();
            let Some(batch) =
                again.or_else(|| number.outbox.next_batch(size, &mut self.webhook_fate, shuffle))
            else {
                break;
            };
            let account = batch.items.first().is_some_and(Item::is_account_level);
            let url = if account { &app_url } else { &own_url };
            let url = url.clone().filter(|_| is_subscribed);
            // The app's URL is not used before it has passed the handshake; an override passed it when it was set.
            let unproven = !verified && url.is_some() && url == app_url;
            let too_old = now - batch.due.max(self.started_at) > GIVE_UP_MS;
            if url.is_none() || too_old {
                let persons: Vec<u64> = batch.items.iter().map(Item::person).collect();
                if !batch.copy {
                    gone.extend(batch.items.iter().map(|item| item.seq));
                }
                if batch.attempts == 0 && !batch.copy {
                    persons.into_iter().for_each(|person| number.outbox.release(person));
                }
                continue;
            }
            let Some(url) = url else { continue };
            self.next_flight += 1;
            let flight = self.next_flight;
            number.outbox.in_flight += 1;
            let first_attempt = batch.attempts == 0 && !batch.copy;
            let post = Post {
                flight,
                url,
                app_secret: app_secret.clone(),
                frame: frame.clone(),
                items: batch.items.clone(),
                wrong_signature: first_attempt && self.webhook_fate.happens(wrong),
                unknown_field: self.webhook_fate.happens(unknown),
            };
            self.flights.insert(flight, Flight { number: id.to_owned(), batch });
            if unproven || self.webhook_fate.happens(outage) {
                Self::fail(&mut self.flights, &mut self.timers, number, flight, now);
                continue;
            }
            self.webhooks.sent += 1;
            posts.push(post);
        }
        if !gone.is_empty() {
            let dropped = gone.len() as u64;
            let done = self.done(gone, dropped);
            self.note_done(done);
        }
    }

    /// Takes a webhook back that was not answered 200, to be tried again.
    fn fail(
        flights: &mut HashMap<u64, Flight>,
        timers: &mut Timers,
        number: &mut super::state::Number,
        flight: u64,
        now: i64,
    ) {
        let Some(Flight { number: id, mut batch }) = flights.remove(&flight) else { return };
        let outbox = &mut number.outbox;
        outbox.in_flight = outbox.in_flight.saturating_sub(1);
        outbox.failures += 1;
        if outbox.failures >= FAILURES_BEFORE_PAUSE {
            let doublings =
                ((outbox.failures - FAILURES_BEFORE_PAUSE) / FAILURES_BEFORE_PAUSE).min(8);
            outbox.paused_until = now + (1000_i64 << doublings).min(PAUSE_MS_MAX);
            timers.push_wake(outbox.paused_until);
        }
        if batch.copy {
            return;
        }
        if batch.attempts == 0 {
            // Meta does not hold others back for one that failed.
            let persons: Vec<u64> = batch.items.iter().map(Item::person).collect();
            persons.into_iter().for_each(|person| outbox.release(person));
        }
        let wait = (1000_i64 << batch.attempts.min(5)).min(RETRY_MS_MAX);
        batch.attempts += 1;
        timers.push_again(now + wait, id, batch);
    }

    /// Records how a webhook fared: `answered` is a 200.
    pub(crate) fn landed(&mut self, flight: u64, answered: bool, now: i64) {
        let Some(id) = self.flights.get(&flight).map(|flight| flight.number.clone()) else {
            return;
        };
        if !answered {
            let Some(number) = self.numbers.get_mut(&id) else { return };
            Self::fail(&mut self.flights, &mut self.timers, number, flight, now);
            return;
        }
        let duplicates = self.behaviour_of(&id).duplicate_webhooks;
        let Some(Flight { batch, .. }) = self.flights.remove(&flight) else { return };
        let Some(number) = self.numbers.get_mut(&id) else { return };
        let outbox = &mut number.outbox;
        outbox.in_flight = outbox.in_flight.saturating_sub(1);
        (outbox.failures, outbox.paused_until) = (0, 0);
        self.webhooks.acked += 1;
        if batch.copy {
            return;
        }
        if batch.attempts == 0 {
            let persons: Vec<u64> = batch.items.iter().map(Item::person).collect();
            persons.into_iter().for_each(|person| outbox.release(person));
        }
        let first = batch.items.first().map_or(0, |item| item.seq);
        if Fate::new(self.seed, &[b"twice", &first.to_le_bytes()]).happens(duplicates) {
            let copy =
                Batch { attempts: 0, copy: true, due: batch.due, items: batch.items.clone() };
            self.timers.push_again(now, id, copy);
        }
        let done = self.done(batch.items.iter().map(|item| item.seq).collect(), 0);
        self.note_done(done);
    }

    fn done(&self, seqs: Vec<u64>, dropped: u64) -> Entry {
        let webhooks = &self.webhooks;
        Entry::Done {
            seqs,
            sent: webhooks.sent,
            acked: webhooks.acked,
            dropped: webhooks.dropped + dropped,
        }
    }

    fn note_done(&mut self, done: Entry) {
        // Where this cannot be written the webhook is sent again after a restart, which receivers must bear anyway.
        if let Err(error) = self.commit(vec![done]) {
            tracing::error!(%error, "the sandbox could not note an answered webhook");
        }
    }

    /// Everything about webhooks that is not settled: planned, due, or on its way.
    pub(crate) fn backlog(&self) -> usize {
        let due: usize = self.numbers.values().map(|number| number.outbox.backlog()).sum();
        let flying: usize = self.flights.values().map(|flight| flight.batch.items.len()).sum();
        due + flying + self.timers.planned()
    }

    /// Lets everything that waits after failures go at once.
    pub(crate) fn hurry(&mut self, now: i64) {
        self.timers.hurry(now);
        for number in self.numbers.values_mut() {
            (number.outbox.failures, number.outbox.paused_until) = (0, 0);
        }
    }
}
