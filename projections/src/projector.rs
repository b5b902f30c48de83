//! The loop that every read model shares: it pulls the log in batches, folds, and writes rows and checkpoint in one
//! transaction. It never skips an event: what it cannot read stops it, visibly, until it can.
//!
//! Running the same projector twice, in one process or on several nodes, is wasteful and harmless: the checkpoint is
//! compared in the transaction, so whoever comes second writes nothing and reads on from where the first one got to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::port::{AggregateType, EventFeed, EventFilter, FeedError, Position, RecordedEvent};
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

use crate::messages::Recent;
use crate::registry::{self, Entry};
use crate::store::{ReadDb, Schema, StoreError, View, Write};

/// Events in one batch, and so in one transaction.
pub const BATCH_MAX: usize = 2_000;
/// Without an event of its own a projector's checkpoint may lag this far behind what it has looked at: after a restart
/// so much is looked at again.
const UNSTORED_MAX: u64 = 10_000;
/// A batch of so many events shows a busy log …
const BUSY: usize = 32;
/// … which is then left to gather for this long: rows that several events touch are written once, and fewer commits
/// cost less. Who waits for a position cuts it short.
const GATHER: Duration = Duration::from_millis(100);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(10);
/// How often a shared database is asked how far another node's projector is …
const POLL: Duration = Duration::from_millis(50);
/// … and what another node rebuilt, or wants rebuilt.
pub(crate) const POLL_REBUILD: Duration = Duration::from_secs(2);

/// What a read model makes of events.
#[async_trait]
pub(crate) trait Projection: Send + Sync + 'static {
    fn schema(&self) -> &'static Schema;

    fn aggregate_types(&self) -> &'static [AggregateType];

    /// The changes that these events make of the tables in `view`. Depends on nothing else, so that any division of the
    /// log into batches ends in the same tables. `recent` is what it may remember of them, and holds only once the changes
    /// are written.
    async fn project(
        &self,
        view: &View,
        recent: &mut Recent,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<Write>, ProjectError>;
}

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("the event log could not be read")]
    Feed(#[from] FeedError),
    #[error("the read models could not be read or written")]
    Store(#[from] StoreError),
    /// Without the decoder's own words, which may quote somebody's data.
    #[error("{event_type} at {position} is of no shape this version knows")]
    Event { event_type: String, position: Position },
    #[error("the tables were made by another version of the gateway, which keeps them")]
    OtherVersion,
}

impl ProjectError {
    /// Short and stable, for the status that people see; never anybody's data.
    fn class(&self) -> String {
        match self {
            Self::Feed(FeedError::Unavailable(_)) => "LOG_UNAVAILABLE".to_owned(),
            Self::Feed(FeedError::Corrupt(_) | FeedError::Detached(_)) => {
                "LOG_UNREADABLE".to_owned()
            }
            Self::Store(StoreError::Shape { .. } | StoreError::Doc { .. }) => {
                "ROW_UNREADABLE".to_owned()
            }
            Self::Store(_) => "DATABASE_FAILED".to_owned(),
            Self::Event { event_type, position } => {
                format!("EVENT_UNREADABLE {event_type} at {position}")
            }
            Self::OtherVersion => "OTHER_VERSION".to_owned(),
        }
    }
}

/// The read model had not seen the position in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the read model has not seen position {wanted} yet, it is at {seen}")]
pub struct Stale {
    pub wanted: Position,
    pub seen: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionState {
    Live,
    Rebuilding,
    Failed,
}

impl ProjectionState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Rebuilding => "REBUILDING",
            Self::Failed => "FAILED",
        }
    }
}

/// How a read model is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionStatus {
    pub name: &'static str,
    /// Everything up to here shows.
    pub position: Position,
    /// Positions that do not show yet.
    pub lag: u64,
    pub state: ProjectionState,
    /// From 0 to 1, while it is being built anew.
    pub rebuild_progress: Option<f64>,
    /// It has not caught up with the log for the first time (or the first time in its new shape), and answers nothing yet.
    pub is_building: bool,
    /// The error's class; the log has the rest.
    pub error: Option<String>,
}

/// One read model's projector.
pub(crate) struct Projector {
    db: ReadDb,
    feed: Arc<dyn EventFeed>,
    projection: Arc<dyn Projection>,
    filter: EventFilter,
    /// How far this process has seen it come.
    seen: watch::Sender<u64>,
    failure: Mutex<Option<String>>,
    /// The rebuild's own: the tables that answer may be well.
    rebuild_failure: Mutex<Option<String>>,
    /// Held over a batch of the tables that answer, so that a rebuild can catch up with them and swap.
    step: AsyncMutex<Option<Live>>,
    position_wanted: Notify,
    rebuild_wanted: Notify,
    is_behind: AtomicBool,
}

/// The tables that answer.
struct Live {
    cursor: Cursor,
    recent: Recent,
}

/// Where the tables that answer stand, as this process knows.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    generation: i64,
    /// As in the registry.
    stored: u64,
    /// Nothing of interest lies between `stored` and here.
    seen: u64,
    /// They have not caught up yet.
    is_building: bool,
}

enum Progress {
    /// At the end of the log, which was so many events away.
    AtHead(usize),
    More,
    /// Another has moved the checkpoint.
    Moved,
}

impl Projector {
    pub async fn open(
        db: ReadDb,
        feed: Arc<dyn EventFeed>,
        projection: Arc<dyn Projection>,
    ) -> Result<Self, StoreError> {
        let schema = projection.schema();
        let mut entry = registry::prepare(&db, schema).await?;
        registry::drop_leftovers(&db, schema).await?;
        // Of an empty log, empty tables are the whole truth.
        if entry.is_building
            && entry.version == schema.version
            && matches!(feed.head().await, Ok(Position(0)))
        {
            let guard = registry::advance(schema, entry.generation, entry.position, 0, false);
            if db.commit(&db.live(), &guard, vec![]).await? {
                entry.is_building = false;
                db.set_live(schema, entry.generation, false);
            }
        }
        let filter = EventFilter {
            aggregate_types: projection.aggregate_types().to_vec(),
            ..EventFilter::default()
        };
        Ok(Self {
            db,
            feed,
            projection,
            filter,
            seen: watch::Sender::new(if entry.is_building { 0 } else { entry.position }),
            failure: Mutex::new(entry.failed),
            rebuild_failure: Mutex::new(None),
            step: AsyncMutex::new(None),
            position_wanted: Notify::new(),
            rebuild_wanted: Notify::new(),
            is_behind: AtomicBool::new(false),
        })
    }

    pub fn name(&self) -> &'static str {
        self.schema().name
    }

    fn schema(&self) -> &'static Schema {
        self.projection.schema()
    }

    async fn entry(&self) -> Result<Entry, StoreError> {
        match registry::load(&self.db, self.schema()).await? {
            Some(entry) => Ok(entry),
            None => registry::prepare(&self.db, self.schema()).await,
        }
    }

    /// More was waiting when it last looked than one batch takes: [`BATCH_MAX`] events. Of one that stopped, nothing is
    /// said.
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// How far this process has seen it come.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.seen.subscribe()
    }

    fn publish(&self, seen: u64) {
        self.seen.send_if_modified(|known| {
            let is_news = *known != seen;
            *known = seen;
            is_news
        });
    }

    /// What does not answer yet shows nothing.
    fn publish_from(&self, cursor: &Cursor) {
        self.publish(if cursor.is_building { 0 } else { cursor.seen });
    }

    fn set_failure(&self, class: Option<String>) {
        replace(&self.failure, class);
    }

    /// Keeps the tables that answer up to date, for ever. May be dropped at any moment.
    pub async fn run_live(&self) {
        let mut wait = RETRY_FIRST;
        loop {
            match self.step_live(&self.filter).await {
                Ok(progress) => {
                    wait = RETRY_FIRST;
                    if let Progress::AtHead(events) = progress {
                        if events >= BUSY {
                            let wanted = self.position_wanted.notified();
                            let _ = tokio::time::timeout(GATHER, wanted).await;
                        }
                        let seen = *self.seen.borrow();
                        self.feed.changed(Position(seen)).await;
                    }
                }
                Err(error) => {
                    // Another node may have swapped the tables; the registry says.
                    *self.step.lock().await = None;
                    self.is_behind.store(false, Ordering::Relaxed);
                    self.report(&error).await;
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_LONGEST);
                }
            }
        }
    }

    async fn report(&self, error: &ProjectError) {
        let class = error.class();
        if known(&self.failure).as_deref() == Some(class.as_str()) {
            return;
        }
        tracing::error!(
            projection = self.name(),
            class,
            error = error as &(dyn std::error::Error + 'static),
            "a read model stopped"
        );
        self.set_failure(Some(class.clone()));
        if let Ok(entry) = self.entry().await
            && let Err(error) =
                registry::record_failure(&self.db, self.schema(), entry.generation, &class).await
        {
            tracing::warn!(
                projection = self.name(),
                error = &error as &(dyn std::error::Error + 'static),
                "the failure could not be recorded beside the read model"
            );
        }
    }

    /// Reads to the end of the log, or of what `filter` lets through, once.
    pub async fn catch_up(&self, filter: &EventFilter) -> Result<(), ProjectError> {
        loop {
            if let Progress::AtHead(_) = self.step_live(filter).await? {
                return Ok(());
            }
        }
    }

    pub fn filter(&self) -> &EventFilter {
        &self.filter
    }

    /// One batch for the tables that answer.
    async fn step_live(&self, filter: &EventFilter) -> Result<Progress, ProjectError> {
        let mut held = self.step.lock().await;
        let had_failed = known(&self.failure).is_some();
        // Until this batch is written, nothing is remembered: it may fail, or not be for us to write.
        let Live { cursor, mut recent } = match held.take() {
            Some(live) => live,
            None => {
                let cursor = self.load_cursor().await?;
                self.publish_from(&cursor);
                Live { cursor, recent: Recent::default() }
            }
        };
        let schema = self.schema();
        let began = Instant::now();
        let page = self.feed.read_after(Position(cursor.seen), filter, BATCH_MAX).await?;
        let (seen, events) = (page.scanned_to.0, page.events.len());
        let is_idle = events == 0;
        let is_building = cursor.is_building && !page.at_head;
        let must_store = !is_idle
            || had_failed
            || is_building != cursor.is_building
            || (seen > cursor.stored
                && (self.db.is_shared() || seen - cursor.stored >= UNSTORED_MAX));
        let mut next = Cursor { seen, is_building, ..cursor };
        if must_store {
            let view = self.db.at_generation(schema, cursor.generation);
            let writes = if is_idle {
                Vec::new()
            } else {
                self.projection.project(&view, &mut recent, page.events).await?
            };
            let guard =
                registry::advance(schema, cursor.generation, cursor.stored, seen, is_building);
            if !self.db.commit(&view, &guard, writes).await? {
                return Ok(Progress::Moved);
            }
            next.stored = seen;
            metrics::histogram!("gateway_projection_batch_seconds", "projection" => schema.name)
                .record(began.elapsed().as_secs_f64());
        }
        if is_building != cursor.is_building {
            self.db.set_live(schema, cursor.generation, is_building);
            tracing::info!(projection = schema.name, "a read model has caught up and answers");
        }
        *held = Some(Live { cursor: next, recent });
        drop(held);
        self.is_behind.store(!page.at_head, Ordering::Relaxed);
        self.publish_from(&next);
        self.set_failure(None);
        let head = if page.at_head { seen } else { self.feed.head().await?.0 };
        metrics::gauge!("gateway_projection_lag", "projection" => schema.name)
            .set(head.saturating_sub(seen) as f64);
        Ok(if page.at_head { Progress::AtHead(events) } else { Progress::More })
    }

    async fn load_cursor(&self) -> Result<Cursor, ProjectError> {
        let schema = self.schema();
        let mut entry = self.entry().await?;
        if entry.version != schema.version {
            return Err(ProjectError::OtherVersion);
        }
        let head = self.feed.head().await?.0;
        if entry.position > head {
            tracing::warn!(
                projection = schema.name,
                position = entry.position,
                head,
                "the log ends before what the read model has seen: it was replaced, and the read model is built anew"
            );
            registry::start_over(&self.db, schema, &entry).await?;
            registry::drop_leftovers(&self.db, schema).await?;
            entry = self.entry().await?;
        }
        self.db.set_live(schema, entry.generation, entry.is_building);
        let Entry { generation, position, is_building, .. } = entry;
        Ok(Cursor { generation, stored: position, seen: position, is_building })
    }

    /// Asks for a rebuild. `false`: one is under way already.
    pub async fn want_rebuild(&self) -> Result<bool, StoreError> {
        let is_new = registry::start_rebuild(&self.db, self.schema()).await?;
        self.rebuild_wanted.notify_one();
        Ok(is_new)
    }

    /// Builds what was asked for, also before the last restart, for ever. May be dropped at any moment.
    pub async fn run_rebuilds(&self) {
        let mut wait = RETRY_FIRST;
        loop {
            match self.rebuild_once().await {
                Ok(true) => {
                    replace(&self.rebuild_failure, None);
                    wait = RETRY_FIRST;
                }
                Ok(false) => {
                    // Whatever kept the registry from being read is over.
                    replace(&self.rebuild_failure, None);
                    wait = RETRY_FIRST;
                    let wanted = self.rebuild_wanted.notified();
                    if self.db.is_shared() {
                        let _ = tokio::time::timeout(POLL_REBUILD, wanted).await;
                    } else {
                        wanted.await;
                    }
                }
                Err(error) => {
                    tracing::error!(
                        projection = self.name(),
                        class = error.class(),
                        error = &error as &(dyn std::error::Error + 'static),
                        "a read model's rebuild stopped"
                    );
                    replace(&self.rebuild_failure, Some(error.class()));
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_LONGEST);
                }
            }
        }
    }

    /// Goes on with the rebuild that the registry names, to its end. `false`: there is none.
    pub async fn rebuild_once(&self) -> Result<bool, ProjectError> {
        let schema = self.schema();
        let entry = self.entry().await?;
        let Some((target, mut position)) = entry.target else { return Ok(false) };
        if entry.version != schema.version {
            return Err(ProjectError::OtherVersion);
        }
        let view = self.db.at_generation(schema, target);
        let mut recent = Recent::default();
        loop {
            match self.step_rebuild(&view, &mut recent, target, position).await? {
                Some((next, false)) => position = next,
                Some((next, true)) => {
                    position = next;
                    // The last stretch, with the tables that answer standing still.
                    let mut live = self.step.lock().await;
                    while let Some((next, at_head)) =
                        self.step_rebuild(&view, &mut recent, target, position).await?
                    {
                        position = next;
                        if at_head {
                            break;
                        }
                    }
                    if registry::swap(&self.db, schema, target, position).await? {
                        *live = None;
                        drop(live);
                        registry::drop_leftovers(&self.db, schema).await?;
                        tracing::info!(
                            projection = schema.name,
                            position,
                            "a read model was built anew"
                        );
                        return Ok(true);
                    }
                    // Another node keeps them up to date and is a little ahead.
                    drop(live);
                    tokio::time::sleep(POLL).await;
                }
                None => match self.entry().await?.target {
                    Some((known, moved)) if known == target => position = moved,
                    _ => return Ok(true),
                },
            }
        }
    }

    /// One batch for the tables being built. `None`: another has moved them, or finished.
    async fn step_rebuild(
        &self,
        view: &View,
        recent: &mut Recent,
        target: i64,
        position: u64,
    ) -> Result<Option<(u64, bool)>, ProjectError> {
        let page = self.feed.read_after(Position(position), &self.filter, BATCH_MAX).await?;
        let next = page.scanned_to.0;
        if next > position {
            let writes = if page.events.is_empty() {
                Vec::new()
            } else {
                self.projection.project(view, recent, page.events).await?
            };
            let guard = registry::advance_target(self.schema(), target, position, next);
            if !self.db.commit(view, &guard, writes).await? {
                *recent = Recent::default();
                return Ok(None);
            }
        }
        Ok(Some((next, page.at_head)))
    }

    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), Stale> {
        let mut seen = self.seen.subscribe();
        let is_shared = self.db.is_shared();
        let waiting = async {
            loop {
                if *seen.borrow_and_update() >= position.0 {
                    return;
                }
                self.position_wanted.notify_one();
                if is_shared {
                    // Another node may be the one that runs it.
                    if tokio::time::timeout(POLL, seen.changed()).await.is_err()
                        && let Ok(Some(entry)) = registry::load(&self.db, self.schema()).await
                        && entry.position >= position.0
                        && !entry.is_building
                    {
                        self.db.set_live(self.schema(), entry.generation, false);
                        return;
                    }
                } else if seen.changed().await.is_err() {
                    return;
                }
            }
        };
        match tokio::time::timeout(timeout, waiting).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Stale { wanted: position, seen: Position(*self.seen.borrow()) }),
        }
    }

    pub async fn status(&self, head: Position) -> Result<ProjectionStatus, StoreError> {
        let entry = self.entry().await?;
        let seen = if entry.is_building {
            entry.position
        } else if self.db.is_shared() {
            entry.position.max(*self.seen.borrow())
        } else {
            *self.seen.borrow()
        };
        let failure = known(&self.failure).or_else(|| known(&self.rebuild_failure));
        // Another node's failure shows where this one has none of its own.
        let error = failure.or(entry.failed.filter(|_| self.db.is_shared()));
        let built = match entry.target {
            Some((_, position)) => Some(position),
            None => entry.is_building.then_some(entry.position),
        };
        let rebuild_progress = built.map(|position| match head.0 {
            0 => 1.0,
            head => (position as f64 / head as f64).min(1.0),
        });
        let state = match (&error, rebuild_progress) {
            (Some(_), _) => ProjectionState::Failed,
            (None, Some(_)) => ProjectionState::Rebuilding,
            (None, None) => ProjectionState::Live,
        };
        Ok(ProjectionStatus {
            name: self.name(),
            position: Position(seen),
            lag: head.0.saturating_sub(seen),
            state,
            rebuild_progress,
            is_building: entry.is_building,
            error,
        })
    }
}

fn replace(failure: &Mutex<Option<String>>, class: Option<String>) {
    *failure.lock().unwrap_or_else(PoisonError::into_inner) = class;
}

fn known(failure: &Mutex<Option<String>>) -> Option<String> {
    failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The event, where its type is one of `catalogue`; others are from a newer version and none of our business.
pub(crate) fn decode<E: serde::de::DeserializeOwned>(
    event: &RecordedEvent,
    catalogue: &[(&str, u32)],
) -> Result<Option<E>, ProjectError> {
    if !catalogue.iter().any(|(name, _)| *name == event.event_type) {
        return Ok(None);
    }
    E::deserialize(&event.data).map(Some).map_err(|_| ProjectError::Event {
        event_type: event.event_type.clone(),
        position: event.position,
    })
}

/// Runs the folding of a batch off the async executor.
pub(crate) async fn off_executor<T, F>(work: F) -> Result<T, ProjectError>
where
    F: FnOnce() -> Result<T, ProjectError> + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Stopped.into()))
}
