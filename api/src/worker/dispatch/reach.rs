//! How many people a portfolio reaches, over all its numbers: one count for all lanes of one lease. It is built from the
//! log before anything is sent by it, and again where a number joins; a portfolio without a known limit has none.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration as StdDuration;

use chrono::{DateTime, Duration, Utc};
use domain::account::Account;
use domain::delivery::{Reach, Room, limit_of};
use domain::port::EventFeed;
use domain::primitives::AccountId;
use projections::{QueryError, names};
use tokio::sync::{RwLock, RwLockReadGuard};
use uuid::Uuid;

use super::steady::Steady;
use crate::app::Gateway;

/// How long a service window is open.
const WINDOW: Duration = Duration::hours(24);
/// How long one wait for the read model takes before the lane looks again.
const CATCH_UP: StdDuration = StdDuration::from_secs(5);
/// What WhatsApp told the portfolio's other numbers is read again after this long.
const LIMIT_KEPT: Duration = Duration::milliseconds(250);

/// What the lanes of one lease share. Its instants are its own ([`Steady`]).
pub struct PortfolioReach {
    steady: Steady,
    /// Every number that shares the reach, disconnected ones too: what they sent today counts.
    numbers: Mutex<BTreeSet<AccountId>>,
    /// The limit as the numbers were last told, and when that was looked up.
    told: Mutex<Option<(Option<u32>, DateTime<Utc>)>>,
    /// Written only while no lane sends by it.
    book: RwLock<Book>,
}

#[derive(Default)]
struct Book {
    /// Whose attempts are in the count.
    counted: BTreeSet<AccountId>,
    /// `None`: nothing is enforced, so nothing is counted.
    reach: Option<Mutex<Reach<Uuid>>>,
}

impl PortfolioReach {
    pub fn new(gateway: &Gateway) -> Self {
        Self {
            steady: Steady::new(gateway.clock.clone()),
            numbers: Mutex::default(),
            told: Mutex::default(),
            book: RwLock::default(),
        }
    }

    /// The numbers that share the reach from now on.
    pub fn set_numbers(&self, numbers: impl IntoIterator<Item = AccountId>) {
        *lock(&self.numbers) = numbers.into_iter().collect();
    }

    /// For one turn of a lane, from judging to the intents on record. `own`: the lane's number as the log has it, so
    /// that what it was told counts at once.
    ///
    /// # Errors
    /// Where what was sent before cannot be counted yet. Nothing may be sent then.
    pub async fn enter(
        &self,
        gateway: &Gateway,
        own: (AccountId, &Account),
    ) -> anyhow::Result<Entered<'_>> {
        let mut numbers = lock(&self.numbers).clone();
        numbers.insert(own.0);
        let limit = self.limit(gateway, &numbers, own.1).await?;
        loop {
            let book = self.book.read().await;
            if book.is_ready(limit.is_some(), &numbers) {
                if let (Some(reach), Some(limit)) = (&book.reach, limit) {
                    lock(reach).set_limit(limit);
                }
                return Ok(Entered { book, steady: &self.steady });
            }
            drop(book);
            let mut book = self.book.write().await;
            if book.is_ready(limit.is_some(), &numbers) {
                continue;
            }
            // No lane is between judging and its intents now, so the log holds all there is.
            book.reach = match limit {
                Some(limit) => Some(Mutex::new(self.build(gateway, limit, &numbers).await?)),
                None => None,
            };
            book.counted.clone_from(&numbers);
        }
    }

    /// What was spent at `at` reached nobody.
    pub async fn give_back(&self, contact_id: Uuid, at: DateTime<Utc>) {
        if let Some(reach) = &self.book.read().await.reach {
            lock(reach).give_back(&contact_id, at);
        }
    }

    /// What any of the numbers was told, at once for the lane's own.
    async fn limit(
        &self,
        gateway: &Gateway,
        numbers: &BTreeSet<AccountId>,
        own: &Account,
    ) -> anyhow::Result<Option<u32>> {
        let now = self.steady.now();
        let known = *lock(&self.told);
        let (others, at) = match known.filter(|(_, at)| now - *at < LIMIT_KEPT) {
            Some(known) => known,
            None => {
                let ids: Vec<Uuid> = numbers.iter().map(|id| id.0).collect();
                let accounts = gateway.bus.load_many::<Account>(&ids).await?;
                (limit_of(accounts.values().map(|loaded| &loaded.aggregate)), now)
            }
        };
        let limit = [others, limit_of([own])].into_iter().flatten().min();
        // The other lanes must not go by what was true before.
        *lock(&self.told) = Some((limit, at));
        Ok(limit)
    }

    async fn build(
        &self,
        gateway: &Gateway,
        limit: u32,
        numbers: &BTreeSet<AccountId>,
    ) -> anyhow::Result<Reach<Uuid>> {
        let head = gateway.ledger.head().await?;
        gateway.read.wait_for(names::MESSAGES, head, CATCH_UP).await?;
        let intents = reached(gateway, numbers.iter().copied(), gateway.clock.now()).await?;
        let intents = intents.into_iter().map(|(person, at)| (person, self.steady.of(at)));
        Ok(Reach::rebuilt(limit, intents, self.steady.now()))
    }
}

impl Book {
    fn is_ready(&self, is_limited: bool, numbers: &BTreeSet<AccountId>) -> bool {
        match &self.reach {
            Some(_) => is_limited && self.counted.is_superset(numbers),
            None => !is_limited,
        }
    }
}

/// A lane's turn at the count.
pub struct Entered<'a> {
    book: RwLockReadGuard<'a, Book>,
    steady: &'a Steady,
}

impl Entered<'_> {
    /// How long a message to this person has to wait; `None`: it may go. `Some(None)`: nobody knows how long.
    pub fn wait_of(&self, contact_id: Uuid) -> Option<Option<Duration>> {
        let mut reach = lock(self.book.reach.as_ref()?);
        let now = self.steady.now();
        match reach.room(&contact_id, now) {
            Room::New | Room::Counted => None,
            Room::Full { until } => Some(until.map(|until| until - now)),
        }
    }

    /// Spends the person's place, of which another lane may have taken the last one by now; answers when that was, for
    /// [`PortfolioReach::give_back`].
    ///
    /// # Errors
    /// As [`Self::wait_of`].
    pub fn spend(&self, contact_id: Uuid) -> Result<DateTime<Utc>, Option<Duration>> {
        let now = self.steady.now();
        let Some(reach) = &self.book.reach else { return Ok(now) };
        match lock(reach).spend(&contact_id, now) {
            Room::New | Room::Counted => Ok(now),
            Room::Full { until } => Err(until.map(|until| until - now)),
        }
    }

    /// The intent did not come about.
    pub fn give_back(&self, contact_id: Uuid, at: DateTime<Utc>) {
        if let Some(reach) = &self.book.reach {
            lock(reach).give_back(&contact_id, at);
        }
    }

    /// Whether a message may have had to wait for reach alone.
    pub fn was_full_lately(&self) -> bool {
        let now = self.steady.now();
        self.book.reach.as_ref().is_some_and(|reach| lock(reach).was_full_lately(now))
    }
}

/// The people whom these numbers reached outside of service windows within [`Reach::memory`], and when: as far as the
/// read model knows.
pub async fn reached(
    gateway: &Gateway,
    numbers: impl IntoIterator<Item = AccountId>,
    now: DateTime<Utc>,
) -> Result<Vec<(Uuid, DateTime<Utc>)>, QueryError> {
    let queries = gateway.read.queries();
    let mut reached = vec![];
    for number in numbers {
        let since = now - Reach::<Uuid>::memory();
        let attempts = queries.attempts_that_reach(number.0, since).await?;
        let people: HashSet<Uuid> = attempts.iter().map(|(contact, _)| *contact).collect();
        let people: Vec<Uuid> = people.into_iter().collect();
        let heard: HashMap<Uuid, DateTime<Utc>> = queries.windows(number.0, &people).await?;
        // What answers a person reaches nobody new. Of an earlier window that a later one covers nothing is known any
        // more, so that its answers count.
        reached.extend(attempts.into_iter().filter(|(contact, at)| {
            !heard.get(contact).is_some_and(|heard| *heard <= *at && *at - *heard < WINDOW)
        }));
    }
    Ok(reached)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
