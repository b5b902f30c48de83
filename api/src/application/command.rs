//! What the use cases share: ids checked against the caller, refusals turned into answers, and mutations that may be
//! repeated under an idempotency key.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::port::{AggregateType, EventFeed, FeedError, LogError, Position, StreamId};
use domain::primitives::{AccountId, WorkspaceId};
use domain::workspace::Workspace;
use domain::{DomainError, Identity};
use futures::future::BoxFuture;
use infrastructure::ledger::{
    BusAggregate, CommandError, Context, Idempotency, Loaded, TransactError, Transaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::caller::Caller;
use super::error::{AppError, AppResult, ErrorCode};
use crate::app::Gateway;

/// The longest idempotency key, in characters.
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Who acts; everything that one call writes shares a correlation id.
pub(crate) fn context(gateway: &Gateway, caller: &Caller) -> Context {
    Context::new(caller.actor.clone(), gateway.ids.next_id(gateway.clock.now()))
}

/// What is at an id and may be seen by the caller. Unknown, foreign and malformed ids all answer alike.
pub(crate) async fn known<A: BusAggregate>(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    what: &str,
) -> AppResult<(Uuid, Loaded<A>)> {
    let not_found = || AppError::not_found(what);
    let id = Uuid::try_parse(id).map_err(|_| not_found())?;
    let loaded = gateway.bus.load::<A>(id).await.map_err(unavailable)?.ok_or_else(not_found)?;
    let account = account_of(&loaded.aggregate, id);
    if !caller.may_see(loaded.aggregate.workspace_id(), account) {
        return Err(not_found());
    }
    Ok((id, loaded))
}

/// The account a stream belongs to; an account belongs to itself.
fn account_of<A: BusAggregate>(aggregate: &A, id: Uuid) -> Option<AccountId> {
    match A::AGGREGATE_TYPE {
        AggregateType::Account => Some(AccountId(id)),
        _ => aggregate.account_id(),
    }
}

/// The same, as it was known at an instant: by when the log took the events.
pub(crate) async fn known_at<A: BusAggregate>(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    at: DateTime<Utc>,
    what: &str,
) -> AppResult<(Uuid, A)> {
    let (id, now) = known::<A>(gateway, caller, id, what).await?;
    let events = gateway
        .ledger
        .read_streams(&[StreamId::new(A::AGGREGATE_TYPE, id)])
        .await
        .map_err(unavailable)?;
    let mut then = A::default();
    let mut any = false;
    for event in events.iter().filter(|event| event.recorded_at <= at) {
        then.apply(event.decode().map_err(unavailable)?);
        any = true;
    }
    // What was not there yet is not there; whoever may see it now could tell from its history anyway.
    if !any || now.aggregate.workspace_id().is_none() {
        return Err(AppError::not_found(what));
    }
    Ok((id, then))
}

/// The workspace an input is about: the one named, or the only one the caller has.
pub(crate) async fn workspace(
    gateway: &Gateway,
    caller: &Caller,
    id: Option<&str>,
    field: &str,
) -> AppResult<WorkspaceId> {
    if let Some(id) = id {
        let (id, _) = known::<Workspace>(gateway, caller, id, "workspace").await?;
        return Ok(WorkspaceId(id));
    }
    only_workspace(gateway, caller)
        .await?
        .ok_or_else(|| AppError::invalid(field, "name the workspace; this key sees more than one"))
}

/// The workspace of a caller who has only one.
pub(crate) async fn only_workspace(
    gateway: &Gateway,
    caller: &Caller,
) -> AppResult<Option<WorkspaceId>> {
    let ids: Vec<WorkspaceId> = match &caller.workspaces {
        Some(workspaces) => workspaces.iter().copied().collect(),
        None => super::workspaces::all(gateway).await?.into_iter().map(|(id, _)| id).collect(),
    };
    Ok(match ids.as_slice() {
        [only] => Some(*only),
        _ => None,
    })
}

/// Accounts, each of which the caller may see.
pub(crate) async fn accounts(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[String],
) -> AppResult<Vec<AccountId>> {
    let mut known_ids = Vec::with_capacity(ids.len());
    for id in ids {
        known_ids.push(AccountId(
            known::<domain::account::Account>(gateway, caller, id, "account").await?.0,
        ));
    }
    Ok(known_ids)
}

/// An id that may be told as it stands where it cannot be looked up here.
pub(crate) fn id<T: From<Uuid>>(text: &str, what: &str) -> AppResult<T> {
    Uuid::try_parse(text).map(T::from).map_err(|_| AppError::not_found(what))
}

/// `expectedSequence`, against where the stream stands.
pub(crate) fn check_sequence(expected: Option<i32>, actual: u64) -> AppResult<()> {
    match expected {
        Some(expected) if i64::from(expected) != i64::try_from(actual).unwrap_or(i64::MAX) => {
            Err(AppError::conflict(format!(
                "it was changed meanwhile and is at sequence {actual} now, not {expected}; read it and decide again"
            )))
        }
        _ => Ok(()),
    }
}

/// A number that must lie in a range.
pub(crate) fn positive(value: Option<i32>, field: &str) -> AppResult<Option<u32>> {
    match value {
        None => Ok(None),
        Some(value) => u32::try_from(value)
            .ok()
            .filter(|value| *value > 0)
            .map(Some)
            .ok_or_else(|| AppError::invalid(field, "use a positive number")),
    }
}

/// The log or the key ring could not be asked.
pub(crate) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> AppError {
    AppError::unavailable(error)
}

/// A command's refusal. `prefix` is where its input stands in the caller's.
pub(crate) fn refused<E: DomainError>(error: CommandError<E>, prefix: &str) -> AppError {
    match error {
        CommandError::Domain(error) => AppError::domain(error, prefix),
        CommandError::IdentityTaken { kind, .. } => taken(&kind),
        CommandError::Conflict { expected, actual } => AppError::conflict(format!(
            "it was changed meanwhile and is at sequence {actual} now, not {expected}; read it and decide again"
        )),
        CommandError::TooBusy | CommandError::Fenced => too_busy(),
        CommandError::Unavailable(error) => unavailable(error),
    }
}

/// A transaction's refusal, whose closure speaks in answers already.
pub(crate) fn undone(error: TransactError<AppError>) -> AppError {
    match error {
        TransactError::Command(error) => error,
        TransactError::IdentityTaken { kind, .. } => taken(&kind),
        TransactError::TooBusy | TransactError::Fenced => too_busy(),
        TransactError::IdempotencyReused => key_reused(),
        // Looked for before; another call under the same key was faster just now.
        TransactError::Replayed { .. } => AppError::conflict(
            "another request with this idempotency key is being answered; repeat this one to get its answer",
        ),
        TransactError::Unavailable(error) => unavailable(error),
    }
}

fn too_busy() -> AppError {
    AppError::new(
        ErrorCode::Unavailable,
        "too many others change the same things right now; try again in a moment",
    )
}

fn key_reused() -> AppError {
    AppError::new(
        ErrorCode::IdempotencyKeyReused,
        "this idempotency key was used before with another input; use a new key for a new request",
    )
}

/// Another stream holds what must be unique. Never says which one: it may be one that the caller may not see.
fn taken(kind: &str) -> AppError {
    AppError::conflict(match kind {
        Identity::PHONE => {
            "another contact of this workspace has this phone number; use upsertContact or mergeContacts"
        }
        Identity::USER_ID => {
            "another contact of this workspace has this WhatsApp user id; use upsertContact or mergeContacts"
        }
        Identity::CONTACT_EXTERNAL_ID => "another contact of this workspace has this external id",
        Identity::PHONE_NUMBER_ID => {
            "an account with this phone number id is connected already; disconnect it first"
        }
        Identity::TEMPLATE => "the account has a template with this name and language already",
        Identity::SEGMENT_NAME => "the workspace has a segment with this name already",
        Identity::API_KEY => "this API key exists already",
        _ => "it exists already",
    })
}

impl From<LogError> for AppError {
    fn from(error: LogError) -> Self {
        Self::unavailable(error)
    }
}

impl From<FeedError> for AppError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Detached(_) => Self::put_away(error.to_string()),
            error => Self::unavailable(error),
        }
    }
}

/// A mutation that may be repeated: what the first call under the key answered, or the key to record its answer under.
pub(crate) enum Once<R> {
    /// This was done before: its result and position.
    Done(R, Position),
    /// To be done now; the record goes into the same transaction.
    Now(Option<Idempotency>),
}

/// Looks a mutation up by its idempotency key. `input` without the key itself, but with everything that makes a
/// difference; `field` is where the key stands in the caller's input.
///
/// # Errors
/// IDEMPOTENCY_KEY_REUSED where the key came with another input before, VALIDATION_FAILED for a key that is none.
pub(crate) async fn once<R: DeserializeOwned>(
    gateway: &Gateway,
    caller: &Caller,
    operation: &str,
    key: Option<&str>,
    input: &impl Serialize,
    field: &str,
) -> AppResult<Once<R>> {
    let Some(key) = key else { return Ok(Once::Now(None)) };
    if key.trim().is_empty() || key.chars().count() > IDEMPOTENCY_KEY_CHARS_MAX {
        return Err(AppError::invalid(
            field,
            format!("use 1 to {IDEMPOTENCY_KEY_CHARS_MAX} characters"),
        ));
    }
    let input = serde_json::to_value(input).map_err(AppError::internal)?;
    let idempotency = Idempotency {
        // The command line and the gateway itself share one set of keys.
        api_key_id: caller.principal().unwrap_or_default(),
        key: key.to_owned(),
        input_json_canonical: canonical(&json!({ "operation": operation, "input": input })),
    };
    match gateway.bus.find_idempotent::<AppError>(&idempotency).await {
        Ok(None) => Ok(Once::Now(Some(idempotency))),
        Ok(Some(replay)) => {
            let result = serde_json::from_str(&replay.result).map_err(AppError::internal)?;
            Ok(Once::Done(result, replay.position))
        }
        Err(TransactError::IdempotencyReused) => Err(key_reused()),
        Err(TransactError::Unavailable(error)) => Err(unavailable(error)),
        Err(_) => Err(too_busy()),
    }
}

/// One transaction that may be repeated under an idempotency key: what `work` returns is what a repetition gets.
///
/// # Errors
/// `work`'s own; what the log says.
pub(crate) async fn transact<'env, T, F>(
    gateway: &Gateway,
    context: &Context,
    idempotency: Option<&Idempotency>,
    work: &'env F,
) -> AppResult<(T, Position)>
where
    T: Serialize + DeserializeOwned + Send + 'env,
    F: for<'a> Fn(&'a mut Transaction<'env>) -> BoxFuture<'a, AppResult<T>> + Send + Sync,
{
    let result = gateway
        .bus
        .transact(context, idempotency, |tx: &mut Transaction<'env>| {
            Box::pin(async move {
                let value = work(tx).await?;
                tx.set_result(serde_json::to_string(&value).map_err(AppError::internal)?);
                Ok::<T, AppError>(value)
            })
        })
        .await;
    match result {
        Ok(done) => Ok(done),
        // Another request under the same key was faster: its answer is ours.
        Err(TransactError::Replayed { result, position }) => {
            Ok((serde_json::from_str(&result).map_err(AppError::internal)?, position))
        }
        Err(error) => Err(undone(error)),
    }
}

/// The aggregate as it stands in the log.
pub(crate) async fn folded<A: BusAggregate>(
    gateway: &Gateway,
    id: Uuid,
    what: &str,
) -> AppResult<A> {
    let loaded = gateway.bus.load::<A>(id).await?;
    Ok(loaded.ok_or_else(|| AppError::not_found(what))?.aggregate)
}

/// The aggregate within a transaction; it was there a moment ago.
pub(crate) async fn loaded<A: BusAggregate>(
    tx: &mut Transaction<'_>,
    id: Uuid,
    what: &str,
) -> AppResult<Loaded<A>> {
    tx.load::<A>(id).await?.ok_or_else(|| AppError::not_found(what))
}

/// JSON with the names of every object in order, so that equal inputs have equal texts.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let names: BTreeSet<&String> = object.keys().collect();
            let parts: Vec<String> = names
                .into_iter()
                .map(|name| format!("{}:{}", Value::from(name.as_str()), canonical(&object[name])))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_inputs_have_equal_texts_whatever_their_order() {
        let one = json!({ "b": [1, { "y": null, "x": "\"" }], "a": true });
        let two: Value = serde_json::from_str(r#"{"a":true,"b":[1,{"x":"\"","y":null}]}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&two));
        assert_eq!(canonical(&one), r#"{"a":true,"b":[1,{"x":"\"","y":null}]}"#);
    }

    #[test]
    fn a_sequence_that_moved_on_is_a_conflict() {
        assert!(check_sequence(None, 7).is_ok());
        assert!(check_sequence(Some(7), 7).is_ok());
        assert_eq!(check_sequence(Some(6), 7).unwrap_err().code, ErrorCode::Conflict);
        assert_eq!(check_sequence(Some(-1), 0).unwrap_err().code, ErrorCode::Conflict);
    }
}
