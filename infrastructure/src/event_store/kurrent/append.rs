//! Units into KurrentDB, which takes one stream at a time.
//!
//! A unit of one stream and nothing else is one append: KurrentDB checks its expected revision and takes it or not. Any other
//! unit is decided first, in one transaction of the database beside: whatever it must not contradict is checked there, what
//! it holds beside its events is written, and its appends are noted as pending. With that transaction the unit is taken, and
//! what follows only carries it out: its appends, one stream after the other, and a second transaction that forgets them. An
//! append that was written before is recognised by its event ids and taken once, so after a crash or a failure everything
//! that is pending is appended again, before anything else is.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::port::{AppendOutcome, AppendUnit, Clock, Position, StreamId};
use futures::future::{join_all, try_join_all};
use futures::stream::{StreamExt, TryStreamExt};
use gateway_sqlite::{Sqlite, WeakSqlite};
use kurrentdb::{AppendToStreamOptions, Error, EventData, StreamState};
use lru::LruCache;
use rusqlite::{Connection as Database, params};
use tokio::sync::{Mutex, Semaphore};

use super::super::appender::{WriteBatch, WriteError};
use super::super::error::Source;
use super::super::reading::signed;
use super::super::sqlite::append::{turned_away_at_once, turned_away_beside, write_beside};
use super::super::wake::Head;
use super::address::Address;
use super::connection::{CallError, Connection};
use super::read;
use super::record::{self, EventWrite, StreamWrite};

/// Calls of this writer under way at once.
const CALLS_MAX: usize = 64;
/// Streams whose last sequence is known without asking.
const SEQUENCES_MAX: NonZeroUsize = NonZeroUsize::new(100_000).expect("is not zero");

pub(super) struct Writer {
    connection: Arc<Connection>,
    /// Held only while it writes, so that dropping the log closes the file at once.
    beside: WeakSqlite,
    clock: Arc<dyn Clock>,
    head: Arc<Head>,
    calls: Semaphore,
    state: Mutex<State>,
}

struct State {
    recorded_last: DateTime<Utc>,
    /// Units may be decided and not written.
    is_owing: bool,
    /// Appends of which nobody knows whether they will be taken yet. They are asked about before anything is decided: taken
    /// later, one would stand where a decided unit is to be.
    unanswered: Vec<StreamWrite>,
    sequences: LruCache<StreamId, u64>,
}

/// A unit on its way.
struct Plan {
    writes: Vec<StreamWrite>,
    /// KurrentDB alone decides on it.
    is_direct: bool,
}

/// What came of one append.
enum Landed {
    At(u64),
    Stale,
}

impl Writer {
    /// Carries out what was left pending. `recorded_last` is the last event's time.
    pub async fn open(
        connection: Arc<Connection>,
        beside: &Sqlite,
        clock: Arc<dyn Clock>,
        head: Arc<Head>,
        recorded_last: DateTime<Utc>,
    ) -> Result<Self, Source> {
        let state = State {
            recorded_last,
            is_owing: true,
            unanswered: Vec::new(),
            sequences: LruCache::new(SEQUENCES_MAX),
        };
        let writer = Self {
            connection,
            beside: beside.downgrade(),
            clock,
            head,
            calls: Semaphore::new(CALLS_MAX),
            state: Mutex::new(state),
        };
        writer.settle(beside, &mut *writer.state.lock().await).await?;
        Ok(writer)
    }

    /// Appends what is pending, whether or not some of it was appended before.
    async fn settle(&self, db: &Sqlite, state: &mut State) -> Result<(), Source> {
        let rows: Vec<(i64, Vec<u8>, i64)> = db
            .read(|db| {
                db.prepare_cached("SELECT id, writes, recorded_at FROM pending_units ORDER BY id")?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            })
            .await?;
        for (id, writes, recorded_at) in rows {
            let writes: Vec<StreamWrite> = serde_json::from_slice(&writes)?;
            let position = self.carry_out(&writes).await?;
            let recorded_at = DateTime::from_timestamp_millis(recorded_at).unwrap_or_default();
            state.recorded_last = state.recorded_last.max(recorded_at);
            forget(db, vec![(id, position)]).await?;
            tracing::info!(streams = writes.len(), "a unit that was decided is in KurrentDB now");
        }
        state.is_owing = false;
        Ok(())
    }

    async fn write_batch(
        &self,
        state: &mut State,
        units: &Arc<Vec<AppendUnit>>,
    ) -> Result<Vec<AppendOutcome>, WriteError> {
        let db = self.beside.upgrade().ok_or_else(|| WriteError::Unavailable(CLOSED.into()))?;
        while let Some(write) = state.unanswered.last() {
            let landed =
                self.land(write).await.map_err(|error| WriteError::Unavailable(error.into()))?;
            if let Landed::At(position) = landed {
                self.head.advance(position);
            }
            state.unanswered.pop();
        }
        if state.is_owing {
            self.settle(&db, state).await.map_err(WriteError::Unavailable)?;
        }
        let now = DateTime::from_timestamp_millis(self.clock.now().timestamp_millis());
        let recorded_at = now.unwrap_or_default().max(state.recorded_last);
        let plans: Vec<Plan> = units
            .iter()
            .map(|unit| Plan::of(unit, self.connection.address(), recorded_at))
            .collect::<Result<_, _>>()
            .map_err(WriteError::Refused)?;
        let stale =
            self.stale_streams(state, units, &plans).await.map_err(WriteError::Unavailable)?;
        state.recorded_last = recorded_at;

        let before = self.head.at();
        // From here on units may be decided, also where the answer to that is lost.
        state.is_owing = plans.iter().any(|plan| !plan.is_direct);
        let plans = Arc::new(plans);
        let decided = decide(&db, units.clone(), plans.clone(), stale, recorded_at, before).await;
        let decided = decided.map_err(WriteError::Unavailable)?;

        let appending = decided.iter().zip(plans.iter()).map(|(decision, plan)| async move {
            match decision {
                Decision::TurnedAway(_) => Ok(None),
                Decision::Taken(_) if plan.is_direct => Ok(Some(self.land(&plan.writes[0]).await?)),
                Decision::Taken(_) => {
                    self.carry_out(&plan.writes).await.map(|at| Some(Landed::At(at)))
                }
            }
        });
        // All of them to their end, whatever becomes of the others.
        let landed: Vec<Result<Option<Landed>, Source>> = join_all(appending).await;
        let unanswered = landed
            .iter()
            .zip(plans.iter())
            .filter(|(landed, plan)| plan.is_direct && landed.as_ref().is_err_and(is_unanswered));
        state.unanswered = unanswered.map(|(_, plan)| plan.writes[0].clone()).collect();
        let landed: Vec<Option<Landed>> =
            landed.into_iter().collect::<Result<_, _>>().map_err(WriteError::Unavailable)?;

        let mut outcomes = Vec::with_capacity(units.len());
        let mut written = Vec::new();
        let mut last = before;
        for ((unit, decision), landed) in units.iter().zip(decided).zip(landed) {
            let pending = match decision {
                Decision::TurnedAway(outcome) => {
                    outcomes.push(outcome);
                    continue;
                }
                Decision::Taken(pending) => pending,
            };
            let position = match landed {
                Some(Landed::Stale) => {
                    let streams: Vec<_> = unit.streams.iter().map(|append| append.stream).collect();
                    for stream in &streams {
                        state.sequences.pop(stream);
                    }
                    outcomes.push(AppendOutcome::Stale { streams });
                    continue;
                }
                // Without an event there is no place but the head.
                Some(Landed::At(0)) | None => before,
                Some(Landed::At(position)) => position,
            };
            for append in &unit.streams {
                state.sequences.put(append.stream, append.expected + append.events.len() as u64);
            }
            written.extend(pending.map(|id| (id, position)));
            last = last.max(position);
            let events: usize = unit.streams.iter().map(|append| append.events.len()).sum();
            let first = if events > 1 { position.min(before + 1) } else { position };
            let (first, last) = (Position(first), Position(position));
            outcomes.push(AppendOutcome::Appended { first, last, recorded_at });
        }
        if !written.is_empty() {
            forget(&db, written).await.map_err(WriteError::Unavailable)?;
        }
        state.is_owing = false;
        self.head.advance(last);
        Ok(outcomes)
    }

    /// For each unit that KurrentDB does not decide on: which of its streams are not where it thinks.
    async fn stale_streams(
        &self,
        state: &mut State,
        units: &[AppendUnit],
        plans: &[Plan],
    ) -> Result<Vec<Vec<StreamId>>, Source> {
        let checked = || {
            let checked = units.iter().zip(plans).filter(|(_, plan)| !plan.is_direct);
            checked.flat_map(|(unit, _)| &unit.streams)
        };
        let unknown: Vec<StreamId> = checked()
            .map(|append| append.stream)
            .filter(|stream| !state.sequences.contains(stream))
            .collect();
        let found: Vec<(StreamId, u64)> = futures::stream::iter(unknown)
            .map(|stream| async move {
                let sequence = read::last_sequence(&self.connection, stream).await?;
                Ok::<_, CallError>((stream, sequence))
            })
            .buffer_unordered(CALLS_MAX)
            .try_collect()
            .await?;
        let mut known: HashMap<StreamId, u64> = HashMap::new();
        for append in checked() {
            known.extend(state.sequences.get(&append.stream).map(|at| (append.stream, *at)));
        }
        known.extend(found);
        Ok(units
            .iter()
            .zip(plans)
            .map(|(unit, plan)| {
                let streams = unit.streams.iter().filter(|_| !plan.is_direct);
                let stale =
                    streams.filter(|append| known.get(&append.stream) != Some(&append.expected));
                stale.map(|append| append.stream).collect()
            })
            .collect())
    }

    /// Appends a unit that is decided. The position of its last event; 0 where it has none.
    ///
    /// In the order of its streams, but those of one kind that stand together at the same time: who sees a campaign's chunk
    /// sees its messages.
    async fn carry_out(&self, writes: &[StreamWrite]) -> Result<u64, Source> {
        let mut last = 0;
        let kind =
            |write: &StreamWrite| write.stream.split('-').next().unwrap_or_default().to_owned();
        let may_go_together = |one: &StreamWrite, next: &StreamWrite| {
            one.stream != next.stream && kind(one) == kind(next)
        };
        for run in writes.chunk_by(may_go_together) {
            let appending = run.iter().map(|write| async move {
                match self.land(write).await? {
                    Landed::At(position) => Ok(position),
                    Landed::Stale => Err(Source::from(format!(
                        "stream {} of KurrentDB was changed by somebody else: what this gateway has decided on cannot be \
                         appended at revision {}",
                        write.stream, write.expected
                    ))),
                }
            });
            last = try_join_all(appending).await?.into_iter().fold(last, u64::max);
        }
        Ok(last)
    }

    /// One append, repeated until there is an answer.
    async fn land(&self, write: &StreamWrite) -> Result<Landed, CallError> {
        let _permit = self.calls.acquire().await.expect("nobody closes it");
        let state = match write.expected.checked_sub(1) {
            None => StreamState::NoStream,
            // Revisions are signed in the server.
            Some(revision) if i64::try_from(revision).is_err() => return Ok(Landed::Stale),
            Some(revision) => StreamState::StreamRevision(revision),
        };
        let mut options =
            AppendToStreamOptions::default().stream_state(state).requires_leader(true);
        if let Some(credentials) = &self.connection.address().credentials {
            options = options.authenticated(credentials.clone());
        }
        let appended = self
            .connection
            .call(|client| {
                let (options, stream) = (options.clone(), write.stream.clone());
                let events: Vec<EventData> =
                    write.events.iter().map(EventWrite::to_event_data).collect();
                async move { client.append_to_stream(stream, &options, events).await }
            })
            .await;
        match appended {
            Ok(result) if result.position.commit > 0 && write.events.len() == 1 => {
                Ok(Landed::At(result.position.commit))
            }
            // Taken, and no word of where the last of them stands; or taken by a call whose answer was lost, and something
            // follows it already.
            Ok(_) | Err(CallError::Refused(Error::WrongExpectedVersion { .. })) => {
                let found = read::position_of(&self.connection, write).await?;
                Ok(found.map_or(Landed::Stale, Landed::At))
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl WriteBatch for Writer {
    async fn write(&self, units: Arc<Vec<AppendUnit>>) -> Result<Vec<AppendOutcome>, WriteError> {
        let mut state = self.state.lock().await;
        let written = self.write_batch(&mut state, &units).await;
        if written.is_err() {
            // What a failed write left behind, KurrentDB says.
            state.sequences.clear();
        }
        written
    }
}

fn is_unanswered(error: &Source) -> bool {
    !matches!(error.downcast_ref(), Some(CallError::Refused(_)))
}

const CLOSED: &str = "the log was closed";

impl Plan {
    fn of(
        unit: &AppendUnit,
        address: &Address,
        recorded_at: DateTime<Utc>,
    ) -> Result<Self, Source> {
        let mut writes = Vec::with_capacity(unit.streams.len());
        for append in &unit.streams {
            writes.extend(record::writes(address.stream_name(append.stream), append, recorded_at)?);
        }
        let writes_beside = unit.idempotency.is_some()
            || !(unit.identities.is_empty()
                && unit.new_keys.is_empty()
                && unit.destroy_keys.is_empty()
                && unit.secrets.is_empty());
        let is_direct = !writes_beside && unit.streams.len() == 1 && writes.len() == 1;
        Ok(Self { writes, is_direct })
    }
}

enum Decision {
    TurnedAway(AppendOutcome),
    /// With the number under which it is pending, where it needs to be.
    Taken(Option<i64>),
}

/// Decides on every unit, in order: in one transaction, where any of them writes beside its events.
async fn decide(
    db: &Sqlite,
    units: Arc<Vec<AppendUnit>>,
    plans: Arc<Vec<Plan>>,
    stale: Vec<Vec<StreamId>>,
    recorded_at: DateTime<Utc>,
    head: u64,
) -> Result<Vec<Decision>, Source> {
    if plans.iter().any(|plan| !plan.is_direct) {
        let work = move |tx: &mut rusqlite::Transaction<'_>| {
            let mut decided = Vec::with_capacity(units.len());
            for ((unit, plan), stale) in units.iter().zip(plans.iter()).zip(stale) {
                decided.push(decide_one(tx, unit, plan, stale, recorded_at, head)?);
            }
            Ok(decided)
        };
        return Ok(db.write(work).await?);
    }
    if units.iter().all(|unit| unit.fence.is_none()) {
        return Ok(units.iter().map(|_| Decision::Taken(None)).collect());
    }
    let work = move |db: &Database| {
        let decide = |unit| {
            let refusal = turned_away_at_once(db, unit)?;
            Ok(refusal.map_or(Decision::Taken(None), Decision::TurnedAway))
        };
        units.iter().map(decide).collect()
    };
    Ok(db.read(work).await?)
}

fn decide_one(
    db: &Database,
    unit: &AppendUnit,
    plan: &Plan,
    stale: Vec<StreamId>,
    recorded_at: DateTime<Utc>,
    head: u64,
) -> rusqlite::Result<Decision> {
    if let Some(outcome) = turned_away_at_once(db, unit)? {
        return Ok(Decision::TurnedAway(outcome));
    }
    if plan.is_direct {
        return Ok(Decision::Taken(None));
    }
    if !stale.is_empty() {
        return Ok(Decision::TurnedAway(AppendOutcome::Stale { streams: stale }));
    }
    if let Some(outcome) = turned_away_beside(db, unit)? {
        return Ok(Decision::TurnedAway(outcome));
    }
    let at_ms = recorded_at.timestamp_millis();
    write_beside(db, unit, at_ms, signed(head))?;
    if plan.writes.is_empty() {
        return Ok(Decision::Taken(None));
    }
    let writes = serde_json::to_vec(&plan.writes)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let key_hash = unit.idempotency.as_ref().map(|record| &record.key_hash);
    db.prepare_cached(
        "INSERT INTO pending_units (writes, key_hash, recorded_at) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![writes, key_hash, at_ms])?;
    Ok(Decision::Taken(Some(db.last_insert_rowid())))
}

/// Units that are in KurrentDB, each with the position of its last event, which its idempotency key answers from now on.
async fn forget(db: &Sqlite, written: Vec<(i64, u64)>) -> Result<(), Source> {
    let work = move |tx: &mut rusqlite::Transaction<'_>| {
        let mut answer = tx.prepare_cached(
            "UPDATE idempotency SET position = ?2 WHERE key_hash = (SELECT key_hash FROM pending_units WHERE id = ?1)",
        )?;
        let mut forget = tx.prepare_cached("DELETE FROM pending_units WHERE id = ?1")?;
        for (id, position) in &written {
            answer.execute(params![id, signed(*position)])?;
            forget.execute([id])?;
        }
        Ok(())
    };
    Ok(db.write(work).await?)
}
