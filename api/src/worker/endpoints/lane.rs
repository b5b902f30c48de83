//! One way through the log for one endpoint: its own, or that of a replay. Reads what is new, sends what is ready, keeps how
//! far it came. Killed at any moment, it goes on from what was kept: what was sent since is sent again, under the same id.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use domain::port::{EventFeed, Fence, Position};
use domain::primitives::Actor;
use domain::webhook_endpoint::{
    Health, PauseReason, Replay, WebhookEndpoint, WebhookEndpointCommand, retry_wait,
};
use infrastructure::event_store::Lease;
use infrastructure::ledger::Context;
use infrastructure::outbound::store::{Attempt, Progress, Unavailable};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};
use uuid::Uuid;

use super::book::Book;
use super::shipment::{self, Outcome, Shipment, Shipped};
use crate::app::Gateway;
use crate::application::following::SharedLog;
use crate::application::webhook_endpoints::{BATCH_EVENTS, filter_of, wants};

/// Requests under way at once.
const REQUESTS: usize = 64;
/// The same of batches.
const BATCHES: usize = 4;
/// Bytes of one batch.
const BATCH_BYTES: usize = 256 * 1024;
/// Events read at once.
const PAGE: usize = 200;
/// Between two looks at the log, so that events come together; longer where there are many lanes, and for batches.
const PAUSE: Duration = Duration::milliseconds(20);
const PAUSE_LONGEST: Duration = Duration::milliseconds(250);
/// Lanes that look at the log as often as they like.
const LANES_AT_EASE: usize = 4;
/// How often what was done is kept: so much of it is done again after a kill.
const SAVE_EVERY: Duration = Duration::milliseconds(150);
/// After the store could not be reached.
const STORE_PAUSE: Duration = Duration::seconds(1);
/// Even where nothing is known to be due.
const LOOK_EVERY: Duration = Duration::seconds(5);
/// Attempts kept in memory while the store is away; beyond that the oldest are let go of.
const UNSAVED_MAX: usize = 10_000;

/// What a lane works for.
pub struct Lane {
    pub gateway: Arc<Gateway>,
    pub endpoint_id: Uuid,
    /// `None`: the endpoint's own lane.
    pub replay: Option<Replay>,
    pub settings: watch::Receiver<Arc<WebhookEndpoint>>,
    pub lease: Lease,
    pub stop: watch::Receiver<bool>,
    /// Lanes of this process.
    pub lanes: Arc<std::sync::atomic::AtomicUsize>,
}

type Saving = JoinHandle<(Result<bool, Unavailable>, Progress)>;

struct Work {
    lane: Lane,
    log: SharedLog,
    id: Uuid,
    book: Book,
    health: Health,
    endpoint: Arc<WebhookEndpoint>,
    types: Arc<Vec<String>>,
    tasks: JoinSet<Shipped>,
    /// Not kept yet.
    attempts: Vec<Attempt>,
    is_dirty: bool,
    /// Read on over what the endpoint does not want: no hurry to keep it.
    has_moved: bool,
    saving: Option<Saving>,
    saved_at: DateTime<Utc>,
    read_again_at: DateTime<Utc>,
    /// Nothing lay beyond what was read, and nothing has come since.
    at_head: bool,
    /// Where the endpoint may be sent no more than so many events a second.
    send_again_at: DateTime<Utc>,
    probes: u32,
    /// Nothing new is begun.
    is_over: bool,
    /// Nobody goes on here.
    is_through: bool,
}

impl Lane {
    fn id(&self) -> Uuid {
        self.replay.as_ref().map_or(self.endpoint_id, |replay| replay.id)
    }

    /// Works until it is stopped, through, or no longer its own.
    ///
    /// # Errors
    /// Where the store cannot be reached at its beginning.
    pub async fn run(self) -> anyhow::Result<()> {
        let endpoint = self.settings.borrow().clone();
        let start = self.replay.as_ref().map_or(endpoint.after, |replay| replay.after);
        let id = self.id();
        let claimed =
            self.gateway.lanes.claim(self.endpoint_id, id, self.lease.epoch, start).await?;
        let Some(state) = claimed else { return Ok(()) };
        let log = SharedLog::open(&self.gateway, self.gateway.ledger.head().await?);
        let now = self.gateway.clock.now();
        let was_resumed =
            endpoint.resumed_at.zip(state.failing_since).is_some_and(|(at, since)| at >= since);
        let mut health = Health::new(most(&endpoint), state.failing_since);
        if was_resumed {
            health.forgive();
        }
        let mut book = Book::new(state);
        if was_resumed {
            book.release_all(now);
        }
        let types = self.replay.as_ref().map(|replay| replay.types.clone()).unwrap_or_default();
        let work = Work {
            log,
            id,
            book,
            health,
            endpoint,
            types: Arc::new(types),
            tasks: JoinSet::new(),
            attempts: vec![],
            is_dirty: false,
            has_moved: false,
            saving: None,
            saved_at: now,
            read_again_at: now,
            at_head: false,
            send_again_at: now,
            probes: 0,
            is_over: false,
            is_through: false,
            lane: self,
        };
        work.run().await;
        Ok(())
    }
}

fn most(endpoint: &WebhookEndpoint) -> usize {
    if endpoint.batch { BATCHES } else { REQUESTS }
}

impl Work {
    async fn run(mut self) {
        let gateway = self.lane.gateway.clone();
        loop {
            let now = gateway.clock.now();
            self.is_over |= *self.lane.stop.borrow();
            if !self.is_over {
                self.read(now).await;
                self.begin(now);
                self.end_replay(now).await;
            }
            if self.is_over && self.tasks.is_empty() {
                break;
            }
            if self.saving.is_none() && self.is_to_be_saved(now) {
                self.saving = Some(self.save());
                self.saved_at = now;
            }
            let may_read = !self.is_over && self.book.has_room() && !self.is_read();
            let (wakes_at, read_to) = (self.wakes_at(now, may_read), self.book.read_to());
            let (is_saving, is_over, waits) =
                (self.saving.is_some(), self.is_over, may_read && self.at_head);
            tokio::select! {
                Some(shipped) = self.tasks.join_next() => match shipped {
                    Ok(shipped) => self.settle(shipped).await,
                    // What it carried is still marked as under way; a new lane takes it from what was kept.
                    Err(error) => {
                        warn!(endpoint.id = %self.lane.endpoint_id, %error, "a request to a webhook endpoint panicked");
                        self.is_over = true;
                    }
                },
                kept = ended(&mut self.saving), if is_saving => self.saved(kept),
                () = self.log.moved_beyond(read_to), if waits => {
                    self.at_head = false;
                }
                () = gateway.clock.sleep_until(wakes_at) => {}
                Ok(()) = self.lane.settings.changed() => self.reset(),
                _ = self.lane.stop.changed(), if !is_over => {}
            }
        }
        if let Some(saving) = self.saving.take()
            && let Ok(kept) = saving.await
        {
            self.saved(Ok(kept));
        }
        if (self.is_dirty || self.has_moved)
            && let Ok(kept) = self.save().await
        {
            self.saved(Ok(kept));
        }
        if self.is_through
            && let Err(error) = gateway.lanes.end(self.id).await
        {
            warn!(endpoint.id = %self.lane.endpoint_id, error = %format!("{:#}", anyhow::Error::from(error)), "a replay's place in the log was not forgotten; it goes with its endpoint");
        }
    }

    fn wakes_at(&self, now: DateTime<Utc>, may_read: bool) -> DateTime<Utc> {
        let mut wakes_at = now + LOOK_EVERY;
        if self.is_over {
            return wakes_at;
        }
        if may_read && !self.at_head {
            wakes_at = wakes_at.min(self.read_again_at);
        }
        if self.is_dirty && self.saving.is_none() {
            wakes_at = wakes_at.min(self.saved_at + SAVE_EVERY);
        }
        if let Some(opens_at) = self.health.opens_at() {
            wakes_at = wakes_at.min(opens_at.max(now + PAUSE));
        } else if let Some(due) = self.book.next_due() {
            // At its bound of requests, it is the next answer that wakes it.
            wakes_at = wakes_at.min(due.max(now + PAUSE));
        }
        if self.send_again_at > now {
            wakes_at = wakes_at.min(self.send_again_at);
        }
        wakes_at
    }

    fn is_to_be_saved(&self, now: DateTime<Utc>) -> bool {
        (self.is_dirty && now >= self.saved_at + SAVE_EVERY)
            || (self.has_moved && now >= self.saved_at + LOOK_EVERY)
    }

    fn is_read(&self) -> bool {
        self.lane.replay.as_ref().is_some_and(|replay| self.book.read_to() >= replay.until)
    }

    async fn read(&mut self, now: DateTime<Utc>) {
        if self.at_head || now < self.read_again_at || !self.book.has_room() || self.is_read() {
            return;
        }
        match self.try_read().await {
            // A full page has more behind it.
            Ok(true) => self.read_again_at = now,
            Ok(false) => self.read_again_at = now + self.pause(),
            Err(error) => {
                warn!(endpoint.id = %self.lane.endpoint_id, error = %format!("{error:#}"), "events for a webhook endpoint could not be read; trying again");
                self.read_again_at = now + STORE_PAUSE;
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.endpoint.batch {
            return PAUSE_LONGEST;
        }
        let lanes = self.lane.lanes.load(std::sync::atomic::Ordering::Relaxed) / LANES_AT_EASE;
        (PAUSE * i32::try_from(lanes.max(1)).unwrap_or(i32::MAX)).min(PAUSE_LONGEST)
    }

    /// Whether there is more to read at once.
    async fn try_read(&mut self) -> anyhow::Result<bool> {
        let gateway = &self.lane.gateway;
        let endpoint = &self.endpoint;
        let filter = filter_of(endpoint, self.lane.replay.as_ref());
        let page = self.log.read_after(self.book.read_to(), &filter, PAGE).await?;
        let until = self.lane.replay.as_ref().map_or(Position(u64::MAX), |replay| replay.until);
        let wanted = page
            .events
            .into_iter()
            .filter(|event| event.position <= until && wants(endpoint, &self.types, event));
        let items = shipment::items(gateway, endpoint, wanted.collect()).await?;
        let before = self.book.position();
        self.book.take_in(page.scanned_to.min(until), items);
        self.has_moved |= self.book.position() != before;
        self.at_head = page.at_head;
        Ok(!page.at_head)
    }

    /// Sends what is ready and may be sent.
    fn begin(&mut self, now: DateTime<Utc>) {
        while now >= self.send_again_at && self.health.may_begin(self.tasks.len(), now) {
            let is_down = self.health.is_down();
            // In turn, so that one event which is never taken does not keep a whole endpoint down.
            let new_first = is_down && self.probes % 2 == 1;
            let is_batch = self.endpoint.batch && !is_down;
            let (mut room, mut bytes) = (if is_batch { BATCH_EVENTS } else { 1 }, BATCH_BYTES);
            let mut picks = vec![];
            while room > 0 {
                let Some(pick) = self.book.next(now, is_down, new_first, room, bytes) else {
                    break;
                };
                let size: usize = pick.items.iter().map(|item| item.body.len() + 1).sum();
                if size > bytes && !picks.is_empty() {
                    self.book.put_back(pick.stream, now);
                    break;
                }
                room -= pick.items.len().clamp(1, room);
                bytes = bytes.saturating_sub(size);
                picks.push(pick);
            }
            if picks.is_empty() {
                return;
            }
            let own = self.lane.replay.as_ref().and_then(|replay| replay.events_per_second);
            if let Some(rate) = own.or(self.endpoint.events_per_second) {
                let events: usize = picks.iter().map(|pick| pick.items.len().max(1)).sum();
                let spent = Duration::microseconds(
                    i64::try_from(events).unwrap_or(i64::MAX).saturating_mul(1_000_000)
                        / i64::from(rate.max(1)),
                );
                self.send_again_at = self.send_again_at.max(now - PAUSE) + spent;
            }
            let is_probe = self.health.begin();
            self.probes = self.probes.wrapping_add(u32::from(is_probe));
            let shipment = Shipment {
                endpoint_id: self.lane.endpoint_id,
                endpoint: self.endpoint.clone(),
                types: self.types.clone(),
                recorded_from: self.lane.replay.as_ref().and_then(|replay| replay.recorded_from),
                is_replay: self.lane.replay.is_some(),
                picks,
                is_probe,
            };
            self.tasks.spawn(shipment.send(self.lane.gateway.clone()));
        }
    }

    async fn settle(&mut self, shipped: Shipped) {
        let now = self.lane.gateway.clock.now();
        let Shipped { parts, outcome, attempt, is_probe } = shipped;
        self.is_dirty = true;
        if let Some(attempt) = attempt {
            let result = if attempt.error.is_none() { "taken" } else { "refused" };
            metrics::counter!("gateway_endpoint_requests_total", "outcome" => result).increment(1);
            self.attempts.push(attempt);
        }
        match outcome {
            Outcome::Taken => {
                for part in &parts {
                    match part.sent {
                        Some((_, (position, sequence))) => {
                            self.book.taken(part.stream, position, sequence, now);
                        }
                        None => self.book.nothing_left(part.stream, now),
                    }
                }
                if self.health.succeeded() {
                    info!(endpoint.id = %self.lane.endpoint_id, "a webhook endpoint takes events again");
                    self.book.release_all(now);
                }
            }
            Outcome::Refused { asked, is_for_all } => {
                for part in &parts {
                    let Some(((position, sequence), _)) = part.sent else {
                        self.book.nothing_left(part.stream, now);
                        continue;
                    };
                    // That an endpoint is down says nothing of the event it was asked with.
                    let (attempts, due_at) = match is_probe {
                        true => (part.attempts, now),
                        false => {
                            let attempts = part.attempts.saturating_add(1);
                            let random = self.lane.gateway.ids.random();
                            (attempts, now + retry_wait(attempts, asked, random))
                        }
                    };
                    self.book.refused(part.stream, position, sequence, attempts, due_at);
                }
                let was_down = self.health.is_down();
                let hold = asked.filter(|_| is_for_all);
                self.health.failed(now, hold, self.lane.gateway.ids.random());
                if self.health.is_down() && !was_down {
                    warn!(endpoint.id = %self.lane.endpoint_id, "a webhook endpoint takes no events; it is tried now and then");
                }
                if self.health.is_given_up(now) {
                    let reason = PauseReason::Failing;
                    self.tell(WebhookEndpointCommand::Pause { reason, at: now }).await;
                }
            }
            Outcome::Gone => {
                self.health.not_sent(now);
                for part in &parts {
                    self.book.put_back(part.stream, now);
                }
                self.tell(WebhookEndpointCommand::Disable { at: now }).await;
            }
            Outcome::NotSent(error) => {
                self.health.not_sent(now);
                for part in &parts {
                    match error {
                        Some(_) => self.book.put_back(part.stream, now),
                        None => self.book.nothing_left(part.stream, now),
                    }
                }
                if let Some(error) = error {
                    warn!(endpoint.id = %self.lane.endpoint_id, error = %format!("{error:#}"), "an event for a webhook endpoint could not be read; trying again");
                    self.send_again_at = self.send_again_at.max(now + STORE_PAUSE);
                }
            }
        }
    }

    /// Records that the endpoint is sent nothing from now on; where it cannot be recorded, the next answer leads here again.
    async fn tell(&mut self, command: WebhookEndpointCommand) {
        let gateway = &self.lane.gateway;
        let fence = Fence { lease: self.lane.lease.name.clone(), epoch: self.lane.lease.epoch };
        let correlation = gateway.ids.next_id(gateway.clock.now());
        let context = Context::new(Actor::process("webhook-delivery"), correlation).fenced(fence);
        let told =
            gateway.bus.execute::<WebhookEndpoint>(self.lane.endpoint_id, command, &context).await;
        match told {
            Ok(_) => self.is_over = true,
            Err(error) => {
                warn!(endpoint.id = %self.lane.endpoint_id, error = %format!("{:#}", anyhow::Error::from(error)), "what became of a webhook endpoint could not be recorded; trying again");
            }
        }
    }

    /// A replay that has nothing left is over.
    async fn end_replay(&mut self, now: DateTime<Utc>) {
        let Some(replay) = &self.lane.replay else { return };
        if !self.is_read() || !self.book.is_empty() || !self.tasks.is_empty() {
            return;
        }
        let id = replay.id;
        self.tell(WebhookEndpointCommand::CompleteReplay { id, at: now }).await;
        self.is_through = self.is_over;
    }

    /// The endpoint was changed.
    fn reset(&mut self) {
        let endpoint = self.lane.settings.borrow_and_update().clone();
        let now = self.lane.gateway.clock.now();
        if let Some(own) = &self.lane.replay
            && endpoint.replay.as_ref().is_none_or(|replay| replay.id != own.id)
        {
            // Another one took its place.
            (self.is_over, self.is_through) = (true, true);
        }
        if endpoint.url != self.endpoint.url || endpoint.batch != self.endpoint.batch {
            // Another place, of which nothing is known yet.
            self.health = Health::new(most(&endpoint), self.health.failing_since());
            self.book.release_all(now);
            self.is_dirty = true;
        }
        self.send_again_at = now;
        self.endpoint = endpoint;
    }

    fn save(&mut self) -> Saving {
        let (parked, freed) = self.book.changes();
        let progress = Progress {
            position: self.book.position(),
            failing_since: self.health.failing_since(),
            parked,
            freed,
            attempts: std::mem::take(&mut self.attempts),
        };
        (self.is_dirty, self.has_moved) = (false, false);
        let (lanes, id, epoch) = (self.lane.gateway.lanes.clone(), self.id, self.lane.lease.epoch);
        tokio::spawn(async move {
            let kept = lanes.save(id, epoch, progress.clone()).await;
            (kept, progress)
        })
    }

    fn saved(
        &mut self,
        kept: Result<(Result<bool, Unavailable>, Progress), tokio::task::JoinError>,
    ) {
        self.saving = None;
        let lost = match kept {
            Ok((Ok(true), _)) => return,
            // Another node works it, or it was deleted.
            Ok((Ok(false), _)) => {
                self.is_over = true;
                return;
            }
            Ok((Err(error), progress)) => {
                warn!(endpoint.id = %self.lane.endpoint_id, error = %format!("{:#}", anyhow::Error::from(error)), "what a webhook endpoint has taken could not be kept; trying again");
                progress
            }
            Err(error) => {
                warn!(endpoint.id = %self.lane.endpoint_id, %error, "what a webhook endpoint has taken was not kept");
                self.is_over = true;
                return;
            }
        };
        self.is_dirty = true;
        self.book.unsaved(lost.parked.iter().map(|parked| parked.stream).chain(lost.freed));
        let later = std::mem::replace(&mut self.attempts, lost.attempts);
        self.attempts.extend(later);
        let beyond = self.attempts.len().saturating_sub(UNSAVED_MAX);
        self.attempts.drain(..beyond);
    }
}

async fn ended(
    saving: &mut Option<Saving>,
) -> Result<(Result<bool, Unavailable>, Progress), tokio::task::JoinError> {
    match saving {
        Some(saving) => saving.await,
        None => std::future::pending().await,
    }
}
