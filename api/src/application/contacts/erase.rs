//! Erasing a person: unreadable in the log at once, gone from the read models and the files when this answers.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::api_key::Scope;
use domain::contact::{Contact, ContactEvent};
use domain::port::{AggregateType, EventFeed, Position, RecordedEvent, StreamId};
use domain::primitives::{ContactId, Personal, PhoneNumber, UserId};
use infrastructure::event_store::Database;
use infrastructure::ledger::erase_contact_in;
use infrastructure::webhook::journal::Person;
use tracing::warn;
use uuid::Uuid;

use super::merge;
use super::written;
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command;
use crate::application::error::{AppError, AppResult, ErrorCode};
use crate::application::view::{ContactView, Written};

/// How long the answer waits for the read models to have seen the erasure.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often the files are tried to be cleaned while somebody reads them.
const SCRUBS: u32 = 20;
const SCRUB_PAUSE: Duration = Duration::from_millis(100);
/// Contacts that were merged into one, looked at most.
const FAMILY_MAX: usize = 1_000;
/// Tables of the log's database that held the person in rows that were rewritten or deleted.
const SCRUBBED_TABLES: [&str; 4] = ["webhook_journal", "webhook_parked", "data_keys", "identities"];

/// Makes everything about a person unreadable, the log included, and keeps the counts. Contacts that were merged into this
/// one, or that this one was merged into, are the same person and go too. An opt-out survives as a keyed hash. Repeating it
/// finishes what an earlier call could not. Scopes MANAGE and PERSONAL: who may not see a person's data shall not destroy
/// it either.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `reason`; UNAVAILABLE where the log has done it and copies are still being
/// cleaned: repeat it.
pub async fn erase(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    reason: String,
) -> AppResult<Written<ContactView>> {
    caller.require(Scope::Manage)?;
    caller.require(Scope::Personal)?;
    let (id, _) = command::known::<Contact>(gateway, caller, id, "contact").await?;
    let family = family(gateway, id).await?;
    let person = person(gateway, &family).await?;
    let context = command::context(gateway, caller);
    // The log first, so that nothing new is written about them; their names are known from before.
    let (family, reason) = (&family, &reason);
    let (_, position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            for member in family {
                let erased = erase_contact_in(tx, *member, reason).await;
                erased.map_err(|error| command::refused(error, ""))?;
            }
            Ok(())
        })
    })
    .await?;
    if let Err(error) = gateway.journal.erase(&person).await {
        return Err(AppError {
            message: "the person is erased from the log; the journal of webhooks could not be cleaned: repeat this".to_owned(),
            ..AppError::unavailable(error)
        });
    }
    leave_no_trace(gateway, position).await?;
    written(gateway, caller, ContactId(id), position).await
}

/// All contacts that are this person.
async fn family(gateway: &Gateway, id: Uuid) -> AppResult<Vec<Uuid>> {
    let mut root = id;
    let mut seen = BTreeSet::from([id]);
    while let Some(into) = command::folded::<Contact>(gateway, root, "contact").await?.merged_into {
        if !seen.insert(into.0) {
            break;
        }
        root = into.0;
    }
    let mut family = vec![root];
    let mut next = 0;
    while next < family.len() && family.len() < FAMILY_MAX {
        let merged = merge::merged_into(gateway, family[next]).await?;
        family.extend(merged.into_iter().filter(|id| *id != root));
        next += 1;
    }
    family.sort_unstable();
    family.dedup();
    Ok(family)
}

/// Every number and user id that they have, or had.
async fn person(gateway: &Gateway, family: &[Uuid]) -> AppResult<Person> {
    let streams: Vec<_> =
        family.iter().map(|id| StreamId::new(AggregateType::Contact, *id)).collect();
    let events = gateway.ledger.read_streams(&streams).await?;
    let mut numbers: Vec<PhoneNumber> = vec![];
    let mut users: Vec<UserId> = vec![];
    for event in &events {
        let (phone, identities) = named(event)?;
        numbers.extend(phone);
        users.extend(identities);
    }
    Ok(Person::new(numbers, users))
}

fn named(event: &RecordedEvent) -> AppResult<(Option<PhoneNumber>, Vec<UserId>)> {
    Ok(match event.decode::<ContactEvent>()? {
        ContactEvent::Added { phone, identities, .. }
        | ContactEvent::Updated { phone, identities, .. } => {
            let identities = identities.and_then(Personal::into_known).unwrap_or_default();
            let users = identities.into_iter().map(|identity| identity.user_id).collect();
            (phone.and_then(Personal::into_known), users)
        }
        _ => (None, vec![]),
    })
}

/// Waits until no read model holds what was erased up to `position`, and cleans the files.
///
/// # Errors
/// UNAVAILABLE where that takes longer than this waits.
pub(crate) async fn leave_no_trace(gateway: &Gateway, position: Position) -> AppResult<()> {
    gateway.read.wait_for_all(position, PATIENCE).await.map_err(|_| {
        AppError::new(
            ErrorCode::Unavailable,
            "the person is erased from the log; the read models are still catching up: repeat this to be sure",
        )
    })?;
    for _ in 0..SCRUBS {
        let is_read_clean = gateway.read.scrub().await.map_err(AppError::unavailable)?;
        if is_read_clean && scrub_log(&gateway.store.database).await? {
            return Ok(());
        }
        tokio::time::sleep(SCRUB_PAUSE).await;
    }
    // Gone from every table; old pages of the write-ahead log go with the next checkpoint that finds no reader.
    warn!(
        "a long read kept the files from being cleaned after an erasure; the next checkpoint does it"
    );
    Ok(())
}

/// Leaves nothing of what was overwritten in the log's own database. `false`: a reader was in the way.
async fn scrub_log(database: &Database) -> AppResult<bool> {
    match database {
        Database::Sqlite(db) => db.checkpoint_truncate().await.map_err(AppError::unavailable),
        Database::Postgres(pool) => {
            for table in SCRUBBED_TABLES {
                let vacuum = sqlx::query(&format!("VACUUM {table}")).execute(pool).await;
                vacuum.map_err(AppError::unavailable)?;
            }
            Ok(true)
        }
    }
}
