//! The log from a place on, as its reader may see it: what is there, then what comes. Every stream of events, by whatever
//! protocol, is one of these: a reader that goes away comes back with the last position it saw. Nothing is read before the
//! reader has taken what was read last, so a slow one costs a page of memory and misses nothing.

mod activity;
mod tail;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::api_key::Scope;
use domain::port::{EventFeed, EventFilter as LogFilter, Position};
use tokio::sync::watch;
use uuid::Uuid;

use super::api_keys;
use super::caller::Caller;
use super::error::{AppError, AppResult, ErrorCode};
use super::events::{self, EventFilter};
use super::view::EventView;
use crate::app::Gateway;

pub use activity::Activity;
pub use tail::SharedLog;
pub(super) use tail::Tail;

/// Events read at once, and so the most that is held for one reader.
const PAGE: usize = 200;
/// Streams of everybody at a time.
pub const STREAMS_MAX: usize = 10_000;
/// A stream in which nothing happens says so this often. Whether its key still holds is looked at as often.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

pub struct Following {
    gateway: Arc<Gateway>,
    reader: Reader,
    filter: LogFilter,
    after: Position,
    log: SharedLog,
    _place: StreamPlace,
}

/// Who follows: their key is looked at again every [`HEARTBEAT`], as it may have been revoked since, or given other scopes.
pub struct Reader {
    caller: Caller,
    /// When the caller was last known to be right.
    known_at: Duration,
}

impl Reader {
    /// Of somebody who was just authenticated.
    pub fn new(gateway: &Gateway, caller: Caller) -> Self {
        Self { caller, known_at: gateway.clock.since_boot() }
    }

    /// # Errors
    /// UNAUTHENTICATED and FORBIDDEN where the key does not hold any more; UNAVAILABLE.
    pub async fn caller(&mut self, gateway: &Gateway) -> AppResult<&Caller> {
        let now = gateway.clock.since_boot();
        if now.saturating_sub(self.known_at) >= HEARTBEAT {
            self.caller = api_keys::renew(gateway, &self.caller).await?;
            self.known_at = now;
        }
        self.caller.require(Scope::Read)?;
        Ok(&self.caller)
    }
}

/// What was found on the way.
pub struct Found {
    /// In order.
    pub events: Vec<EventView>,
    /// Nothing lay beyond when this was read.
    pub at_head: bool,
}

impl Following {
    /// Begins after `after`; `None`: with what is recorded from now on. Scope READ.
    ///
    /// # Errors
    /// FORBIDDEN; NOT_FOUND for an account or an aggregate that is not the caller's; VALIDATION_FAILED, also for a position
    /// that the log has not reached; RATE_LIMITED where the key has too many streams open; UNAVAILABLE.
    pub async fn open(
        gateway: Arc<Gateway>,
        caller: Caller,
        after: Option<Position>,
        filter: EventFilter,
    ) -> AppResult<Self> {
        caller.require(Scope::Read)?;
        let filter = events::resolve(&gateway, &caller, filter).await?;
        let place = StreamPlace::take(&gateway, &caller)?;
        let head = gateway.ledger.head().await?;
        if let Some(after) = after.filter(|after| *after > head) {
            let problem = format!("position {after} is not there yet, the log ends at {head}");
            return Err(AppError::invalid("after", problem));
        }
        let log = SharedLog::open(&gateway, head);
        let reader = Reader::new(&gateway, caller);
        let after = after.unwrap_or(head);
        Ok(Self { gateway, reader, filter, after, log, _place: place })
    }

    /// Everything up to here was looked at.
    pub fn position(&self) -> Position {
        self.after
    }

    /// Looks at what comes next, without waiting for it. Dropped before it is ready, it has moved nothing.
    ///
    /// # Errors
    /// UNAUTHENTICATED and FORBIDDEN where the key does not hold any more; UNAVAILABLE: the same may be asked again.
    pub async fn look(&mut self) -> AppResult<Found> {
        let page = self.log.read_after(self.after, &self.filter, PAGE).await?;
        let caller = self.reader.caller(&self.gateway).await?;
        let visible = page.events.into_iter().filter(|event| events::may_see(caller, event));
        let events = events::views(&self.gateway, caller, visible.collect()).await?;
        self.after = self.after.max(page.scanned_to);
        Ok(Found { events, at_head: page.at_head })
    }

    /// The next events, once there are any; none where nothing happened for [`HEARTBEAT`]. Dropped before it is ready, it
    /// has lost nothing.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn next(&mut self) -> AppResult<Vec<EventView>> {
        let gateway = self.gateway.clone();
        let heartbeat = gateway.clock.sleep_for(HEARTBEAT);
        tokio::pin!(heartbeat);
        loop {
            let found = self.look().await?;
            if !found.events.is_empty() {
                return Ok(found.events);
            }
            if found.at_head {
                tokio::select! {
                    () = self.log.moved_beyond(self.after) => {}
                    () = &mut heartbeat => return Ok(vec![]),
                    () = gateway.local.streams.closed() => return Err(stopping()),
                }
            }
        }
    }
}

/// Why a stream ends with the gateway.
pub fn stopping() -> AppError {
    AppError::new(
        ErrorCode::Unavailable,
        "the gateway is stopping; go on at another, or in a moment",
    )
}

/// How many streams are open, by key.
#[derive(Debug, Default)]
pub struct Streams {
    open: Mutex<HashMap<Option<Uuid>, usize>>,
    are_closed: watch::Sender<bool>,
}

/// One of them, until it is dropped.
pub struct StreamPlace {
    gateway: Arc<Gateway>,
    key: Option<Uuid>,
}

impl StreamPlace {
    /// # Errors
    /// RATE_LIMITED; UNAVAILABLE where the gateway is stopping.
    pub fn take(gateway: &Arc<Gateway>, caller: &Caller) -> AppResult<Self> {
        let (key, of_key) = (caller.principal(), gateway.config.graphql.subscriptions_per_key);
        gateway.local.streams.take(key, of_key)?;
        Ok(Self { gateway: gateway.clone(), key })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.gateway.local.streams.give_back(self.key);
    }
}

impl Streams {
    fn take(&self, key: Option<Uuid>, of_key: usize) -> AppResult<()> {
        if *self.are_closed.borrow() {
            return Err(stopping());
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let limited = |limit: usize, whose: &str| {
            let problem = format!("{limit} streams of {whose} are open; close one first");
            AppError::new(ErrorCode::RateLimited, problem)
        };
        if open.values().sum::<usize>() >= STREAMS_MAX {
            return Err(limited(STREAMS_MAX, "this gateway"));
        }
        let mine = open.get(&key).copied().unwrap_or_default();
        if key.is_some() && mine >= of_key {
            return Err(limited(of_key, "this key"));
        }
        open.insert(key, mine + 1);
        Ok(())
    }

    fn give_back(&self, key: Option<Uuid>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Ends all of them, and opens no more: the gateway stops.
    pub fn close(&self) {
        self.are_closed.send_replace(true);
    }

    /// Returns once they are to end.
    pub async fn closed(&self) {
        // The sender lives as long as this.
        let _ = self.are_closed.subscribe().wait_for(|closed| *closed).await;
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const OF_KEY: usize = 3;

    #[test]
    fn a_key_has_so_many_streams_and_no_more() {
        let (streams, key) = (Streams::default(), Some(Uuid::from_u128(1)));
        for _ in 0..OF_KEY {
            streams.take(key, OF_KEY).expect("a place");
        }
        assert_eq!(streams.take(key, OF_KEY).unwrap_err().code, ErrorCode::RateLimited);
        let other = Some(Uuid::from_u128(2));
        assert!(streams.take(other, OF_KEY).is_ok() && streams.take(None, OF_KEY).is_ok());
        streams.give_back(key);
        assert!(streams.take(key, OF_KEY).is_ok());
        for key in [key, key, key, other, None] {
            streams.give_back(key);
        }
        assert!(streams.open.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_gateway_that_stops_ends_its_streams_and_opens_no_more() {
        let streams = Streams::default();
        streams.close();
        streams.closed().await;
        assert_eq!(streams.take(None, OF_KEY).unwrap_err().code, ErrorCode::Unavailable);
    }
}
