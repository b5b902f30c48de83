//! One batch as one call of `append_units`: the units laid out as arrays, and the answers put back in order.

use chrono::{DateTime, Utc};
use domain::port::{
    AggregateType, AppendOutcome, AppendUnit, IdempotencyRecord, IdentityChange, Position, StreamId,
};
use sqlx::postgres::{PgDatabaseError, PgRow};
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::super::appender::WriteError;
use super::super::error::Detached;
use super::super::kinds::Kinds;
use super::super::reading::{signed, unsigned};
use super::kinds;

/// Arrays in the order of the function's parameters.
#[derive(Default)]
struct Batch<'a> {
    unit_events: Vec<i32>,
    key_units: Vec<i32>,
    key_hashes: Vec<&'a [u8]>,
    key_inputs: Vec<&'a [u8]>,
    key_results: Vec<&'a str>,
    key_times: Vec<i64>,
    fence_units: Vec<i32>,
    fence_leases: Vec<&'a str>,
    fence_epochs: Vec<i64>,
    stream_units: Vec<i32>,
    stream_types: Vec<i16>,
    stream_ids: Vec<Uuid>,
    stream_expected: Vec<i64>,
    event_units: Vec<i32>,
    event_streams: Vec<i32>,
    event_sequences: Vec<i64>,
    event_kinds: Vec<i32>,
    event_ids: Vec<Uuid>,
    event_correlations: Vec<Uuid>,
    event_causations: Vec<Option<Uuid>>,
    event_subjects: Vec<Option<Uuid>>,
    event_times: Vec<DateTime<Utc>>,
    event_payloads: Vec<&'a str>,
    claim_units: Vec<i32>,
    claim_indexes: Vec<i32>,
    claim_workspaces: Vec<Uuid>,
    claim_kinds: Vec<&'a str>,
    claim_hashes: Vec<&'a [u8]>,
    claim_holders: Vec<Uuid>,
    release_units: Vec<i32>,
    release_workspaces: Vec<Uuid>,
    release_kinds: Vec<&'a str>,
    release_hashes: Vec<&'a [u8]>,
    release_holders: Vec<Uuid>,
    new_key_units: Vec<i32>,
    new_key_subjects: Vec<Uuid>,
    new_key_wrapped: Vec<&'a [u8]>,
    destroyed_units: Vec<i32>,
    destroyed_subjects: Vec<Uuid>,
    secret_units: Vec<i32>,
    secret_names: Vec<&'a str>,
    secret_sealed: Vec<Option<&'a [u8]>>,
}

pub(super) async fn units(
    pool: &PgPool,
    units: &[AppendUnit],
    now: DateTime<Utc>,
    kinds: &Kinds,
) -> Result<Vec<AppendOutcome>, WriteError> {
    let numbers = kinds::numbers(pool, kinds, units).await?;
    let mut batch = Batch::default();
    let mut numbers = numbers.into_iter();
    for (unit, number) in units.iter().zip(1..) {
        batch.add(unit, number, &mut numbers);
    }
    let parameters: Vec<String> = (1..=PARAMETERS).map(|n| format!("${n}")).collect();
    let sql = format!("SELECT * FROM append_units({})", parameters.join(", "));
    let rows =
        batch.bind(sqlx::query(&sql).bind(now)).fetch_all(pool).await.map_err(write_error)?;

    let streams: Vec<(usize, StreamId)> = units
        .iter()
        .enumerate()
        .flat_map(|(unit, of)| of.streams.iter().map(move |append| (unit, append.stream)))
        .collect();
    let mut outcomes = vec![None; units.len()];
    for row in rows {
        let (unit, outcome) = outcome(&row, units, &streams)
            .map_err(|error| WriteError::Unavailable(error.into()))?;
        outcomes[unit] = Some(outcome);
    }
    let answered = outcomes.into_iter().collect::<Option<Vec<_>>>();
    answered
        .ok_or_else(|| WriteError::Unavailable("append_units left a unit without an answer".into()))
}

const PARAMETERS: usize = 43;

impl<'a> Batch<'a> {
    /// `kinds` are the numbers of the kinds of all events, in order.
    fn add(&mut self, unit: &'a AppendUnit, number: i32, kinds: &mut impl Iterator<Item = i32>) {
        let mut events = 0;
        for append in &unit.streams {
            self.stream_units.push(number);
            self.stream_types.push(kinds::number_of_type(append.stream.aggregate_type));
            self.stream_ids.push(append.stream.id);
            self.stream_expected.push(signed(append.expected));
            // A batch is bounded far below that.
            let stream = i32::try_from(self.stream_ids.len()).unwrap_or(i32::MAX);
            let mut sequence = signed(append.expected);
            for (event, kind) in append.events.iter().zip(&mut *kinds) {
                events += 1;
                // Beyond the last number there is no stream, so such a unit is stale whatever it says here.
                sequence = sequence.saturating_add(1);
                self.event_units.push(number);
                self.event_streams.push(stream);
                self.event_sequences.push(sequence);
                self.event_kinds.push(kind);
                self.event_ids.push(event.event_id);
                self.event_correlations.push(event.metadata.correlation_id);
                self.event_causations.push(event.metadata.causation_id);
                self.event_subjects.push(event.metadata.subject);
                self.event_times.push(event.occurred_at);
                self.event_payloads.push(&event.payload);
            }
        }
        self.unit_events.push(events);
        if let Some(record) = &unit.idempotency {
            self.key_units.push(number);
            self.key_hashes.push(&record.key_hash);
            self.key_inputs.push(&record.input_hash);
            self.key_results.push(&record.result);
            self.key_times.push(record.recorded_at.timestamp_millis());
        }
        if let Some(fence) = &unit.fence {
            self.fence_units.push(number);
            self.fence_leases.push(&fence.lease);
            self.fence_epochs.push(fence.epoch);
        }
        for (change, index) in unit.identities.iter().zip(0..) {
            self.add_identity(change, number, index);
        }
        for key in &unit.new_keys {
            self.new_key_units.push(number);
            self.new_key_subjects.push(key.subject);
            self.new_key_wrapped.push(&key.wrapped);
        }
        for subject in &unit.destroy_keys {
            self.destroyed_units.push(number);
            self.destroyed_subjects.push(*subject);
        }
        for secret in &unit.secrets {
            self.secret_units.push(number);
            self.secret_names.push(&secret.name);
            self.secret_sealed.push(secret.sealed.as_deref());
        }
    }

    fn add_identity(&mut self, change: &'a IdentityChange, number: i32, index: i32) {
        match change {
            IdentityChange::Claim { workspace_id, kind, hash, holder } => {
                self.claim_units.push(number);
                self.claim_indexes.push(index);
                self.claim_workspaces.push(*workspace_id);
                self.claim_kinds.push(kind);
                self.claim_hashes.push(hash);
                self.claim_holders.push(*holder);
            }
            IdentityChange::Release { workspace_id, kind, hash, holder } => {
                self.release_units.push(number);
                self.release_workspaces.push(*workspace_id);
                self.release_kinds.push(kind);
                self.release_hashes.push(hash);
                self.release_holders.push(*holder);
            }
        }
    }

    fn bind<'q>(self, query: PgQuery<'q>) -> PgQuery<'q>
    where
        'a: 'q,
    {
        query
            .bind(self.unit_events)
            .bind(self.key_units)
            .bind(self.key_hashes)
            .bind(self.key_inputs)
            .bind(self.key_results)
            .bind(self.key_times)
            .bind(self.fence_units)
            .bind(self.fence_leases)
            .bind(self.fence_epochs)
            .bind(self.stream_units)
            .bind(self.stream_types)
            .bind(self.stream_ids)
            .bind(self.stream_expected)
            .bind(self.event_units)
            .bind(self.event_streams)
            .bind(self.event_sequences)
            .bind(self.event_kinds)
            .bind(self.event_ids)
            .bind(self.event_correlations)
            .bind(self.event_causations)
            .bind(self.event_subjects)
            .bind(self.event_times)
            .bind(self.event_payloads)
            .bind(self.claim_units)
            .bind(self.claim_indexes)
            .bind(self.claim_workspaces)
            .bind(self.claim_kinds)
            .bind(self.claim_hashes)
            .bind(self.claim_holders)
            .bind(self.release_units)
            .bind(self.release_workspaces)
            .bind(self.release_kinds)
            .bind(self.release_hashes)
            .bind(self.release_holders)
            .bind(self.new_key_units)
            .bind(self.new_key_subjects)
            .bind(self.new_key_wrapped)
            .bind(self.destroyed_units)
            .bind(self.destroyed_subjects)
            .bind(self.secret_units)
            .bind(self.secret_names)
            .bind(self.secret_sealed)
    }
}

type PgQuery<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn outcome(
    row: &PgRow,
    units: &[AppendUnit],
    streams: &[(usize, StreamId)],
) -> Result<(usize, AppendOutcome), sqlx::Error> {
    let nonsense =
        || sqlx::Error::Protocol("append_units gave an answer of a form of its own".to_owned());
    let place = |name: &str| -> Result<usize, sqlx::Error> {
        usize::try_from(row.try_get::<i32, _>(name)?).map_err(|_| nonsense())
    };
    let position = |name: &str| -> Result<Position, sqlx::Error> {
        unsigned(row.try_get(name)?).map(Position).ok_or_else(nonsense)
    };
    let number = place("out_unit")?
        .checked_sub(1)
        .filter(|number| *number < units.len())
        .ok_or_else(nonsense)?;
    let outcome = match row.try_get::<&str, _>("out_outcome")? {
        "appended" => AppendOutcome::Appended {
            first: position("out_first")?,
            last: position("out_last")?,
            recorded_at: row.try_get("out_recorded_at")?,
        },
        "stale" => AppendOutcome::Stale {
            streams: match row.try_get::<Option<Vec<i32>>, _>("out_streams")? {
                Some(numbers) => numbers
                    .into_iter()
                    .map(|n| {
                        usize::try_from(n - 1)
                            .ok()
                            .and_then(|n| streams.get(n))
                            .map(|(_, stream)| *stream)
                    })
                    .collect::<Option<_>>()
                    .ok_or_else(nonsense)?,
                None => units[number].streams.iter().map(|append| append.stream).collect(),
            },
        },
        "taken" => AppendOutcome::IdentityTaken {
            index: place("out_index")?,
            holder: row.try_get("out_holder")?,
        },
        "replayed" => AppendOutcome::Replayed {
            record: IdempotencyRecord {
                key_hash: units[number].idempotency.as_ref().ok_or_else(nonsense)?.key_hash.clone(),
                input_hash: row.try_get("out_input_hash")?,
                result: row.try_get("out_result")?,
                recorded_at: DateTime::from_timestamp_millis(row.try_get("out_key_time")?)
                    .ok_or_else(nonsense)?,
                position: position("out_last")?,
            },
        },
        "fenced" => AppendOutcome::Fenced,
        _ => return Err(nonsense()),
    };
    Ok((number, outcome))
}

/// What `append_units` raises where a stream is of a month that was taken out; its detail is the stream's id.
const DETACHED: &str = "GW001";

/// Integrity and data errors (SQLSTATE classes 23 and 22) are what a unit holds, and certain: the statement was rolled
/// back. So is a stream that was taken out. Everything else may hit any unit.
pub(super) fn write_error(error: sqlx::Error) -> WriteError {
    let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
        return WriteError::Unavailable(error.into());
    };
    if code == DETACHED
        && let Some(id) = detail(&error).and_then(|detail| Uuid::try_parse(detail).ok())
    {
        let stream = StreamId { aggregate_type: AggregateType::Message, id };
        return WriteError::Refused(Detached(stream).into());
    }
    if code.starts_with("23") || code.starts_with("22") {
        WriteError::Refused(error.into())
    } else {
        WriteError::Unavailable(error.into())
    }
}

fn detail(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.detail()
}
