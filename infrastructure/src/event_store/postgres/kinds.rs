//! The kinds of events in PostgreSQL. A new one is written and committed before an event names it, in a transaction of its
//! own: then a number means the same for ever, whatever becomes of the append.

use std::collections::HashMap;
use std::sync::Arc;

use domain::port::{AggregateType, AppendUnit, LogError};
use domain::primitives::Actor;
use sqlx::PgPool;
use uuid::Uuid;

use super::super::appender::WriteError;
use super::super::error::unavailable;
use super::super::kinds::{Kind, KindOf, Kinds, Numbered};
use super::super::reading;
use super::append::write_error;

pub(super) fn number_of_type(aggregate_type: AggregateType) -> i16 {
    // There are nine.
    i16::try_from(reading::number_of_type(aggregate_type)).unwrap_or(i16::MAX)
}

/// The numbers of the kinds of all events of these units, in order.
pub(super) async fn numbers(
    pool: &PgPool,
    kinds: &Kinds,
    units: &[AppendUnit],
) -> Result<Vec<i32>, WriteError> {
    let of_events = || {
        units.iter().flat_map(|unit| &unit.streams).flat_map(|append| {
            append.events.iter().map(|event| KindOf {
                aggregate_type: append.stream.aggregate_type,
                event_type: &event.event_type,
                event_version: event.event_version,
                actor: &event.metadata.actor,
                workspace_id: append.workspace_id,
                account_id: append.account_id,
            })
        })
    };
    let mut numbers = Vec::new();
    // The last one at once: most events of a batch have few kinds, and come in rows of one.
    let mut last: Option<(KindOf<'_>, i64)> = None;
    let mut missing: Vec<KindOf<'_>> = Vec::new();
    for kind in of_events() {
        let known = match last {
            Some((same, number)) if same == kind => Some(number),
            _ => kinds.of_hash(kinds.hash(kind), kind).map(|found| found.number),
        };
        match known {
            Some(number) => last = Some((kind, number)),
            None if !missing.contains(&kind) => missing.push(kind),
            None => {}
        }
        numbers.push(known.unwrap_or(-1));
    }
    if !missing.is_empty() {
        let made = find_or_make(pool, &missing).await?;
        let made: HashMap<KindOf<'_>, i64> = missing.iter().copied().zip(made).collect();
        for (number, kind) in numbers.iter_mut().zip(of_events()) {
            if let (-1, Some(found)) = (*number, made.get(&kind)) {
                *number = *found;
            }
        }
        kinds.learn(
            made.into_iter()
                .map(|(kind, number)| Numbered { number, kind: Arc::new(kind.to_owned()) }),
        );
    }
    let number = |number| {
        i32::try_from(number).map_err(|_| WriteError::Refused("too many kinds of events".into()))
    };
    numbers.into_iter().map(number).collect()
}

async fn find_or_make(pool: &PgPool, kinds: &[KindOf<'_>]) -> Result<Vec<i64>, WriteError> {
    let actors: Result<Vec<String>, _> =
        kinds.iter().map(|kind| serde_json::to_string(kind.actor)).collect();
    let found: Vec<i32> = sqlx::query_scalar(
        "SELECT event_kind(k.aggregate_type, k.event_type, k.event_version, k.actor, k.workspace_id, k.account_id)
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::uuid[])
           WITH ORDINALITY AS k (aggregate_type, event_type, event_version, actor, workspace_id, account_id, n)
         ORDER BY k.n",
    )
    .bind(kinds.iter().map(|kind| kind.aggregate_type.as_str()).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.event_type).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.event_version.to_string()).collect::<Vec<_>>())
    .bind(actors.map_err(|error| WriteError::Refused(error.into()))?)
    .bind(kinds.iter().map(|kind| kind.workspace_id).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.account_id).collect::<Vec<_>>())
    .fetch_all(pool)
    .await
    .map_err(write_error)?;
    if found.len() != kinds.len() {
        return Err(WriteError::Unavailable("a kind of events was left without a number".into()));
    }
    Ok(found.into_iter().map(i64::from).collect())
}

/// A kind as a reader finds it.
#[derive(Clone)]
pub(super) enum Found {
    /// Of events that this gateway wrote.
    Own(Arc<Kind>),
    /// Of events whose metadata stands beside the log; the kind's own actor says nothing.
    Foreign(Arc<Kind>),
}

/// The kinds of these numbers; one that is not in the store is left out.
pub(super) async fn find(
    pool: &PgPool,
    kinds: &Kinds,
    numbers: impl Iterator<Item = i32>,
) -> Result<HashMap<i32, Found>, LogError> {
    let mut found = HashMap::new();
    let mut missing = Vec::new();
    for number in numbers {
        if found.contains_key(&number) || missing.contains(&number) {
            continue;
        }
        match kinds.of_number(i64::from(number)) {
            Some(kind) => drop(found.insert(number, Found::Own(kind))),
            None => missing.push(number),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, aggregate_type, event_type, event_version, actor, workspace_id, account_id FROM event_kinds
         WHERE id = ANY($1)",
    )
    .bind(missing)
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    for row in rows {
        let (number, is_own) = (row.0, row.4.is_some());
        let kind = Arc::new(parse(row)?);
        if is_own {
            kinds.learn([Numbered { number: i64::from(number), kind: kind.clone() }]);
            found.insert(number, Found::Own(kind));
        } else {
            found.insert(number, Found::Foreign(kind));
        }
    }
    Ok(found)
}

type Row = (i32, String, String, String, Option<String>, Option<Uuid>, Option<Uuid>);

fn parse(row: Row) -> Result<Kind, LogError> {
    let (number, aggregate_type, event_type, event_version, actor, workspace_id, account_id) = row;
    let corrupt = |what: &str| LogError::Corrupt(format!("{what} in kind {number} of events"));
    // Stock cqrs-es also writes versions like 1.0.
    let version = event_version.split('.').next().unwrap_or_default();
    Ok(Kind {
        aggregate_type: AggregateType::parse(&aggregate_type)
            .ok_or_else(|| corrupt("an aggregate type that is unknown"))?,
        event_version: version.parse().map_err(|_| corrupt("an event version that is none"))?,
        event_type,
        actor: match actor {
            Some(json) => serde_json::from_str(&json)
                .map_err(|_| corrupt("an actor that this version cannot read"))?,
            None => Actor::system("cqrs-es"),
        },
        workspace_id,
        account_id,
    })
}
