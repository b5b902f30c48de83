//! Erasing a person: unreadable in the log at once, gone from the read models and the files when this answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::account::AccountProvider;
use domain::api_key::Scope;
use domain::contact::{Contact, ContactEvent};
use domain::port::{AggregateType, Clock, EventFeed, Position, StreamId};
use domain::primitives::{ContactId, Personal, PhoneNumber, UserId};
use infrastructure::crypto::KeyRing;
use infrastructure::crypto::secret::Secret;
use infrastructure::event_store::Database;
use infrastructure::ledger::erase_contact_in;
use infrastructure::media::MediaStore;
use infrastructure::sandbox::Sandbox;
use infrastructure::webhook::journal::{Person, WebhookJournal};
use projections::Projections;
use serde::{Deserialize, Serialize};
use tracing::warn;
use uuid::Uuid;

use super::merge;
use super::written;
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command;
use crate::application::error::{AppError, AppResult, ErrorCode};
use crate::application::exports::jobs::{self as exports, Exports};
use crate::application::view::{ContactView, Written};
use crate::worker::all_accounts;

/// How long the answer waits for the journal, the read models and the files to be cleaned.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long one wait for the read models lasts; it is repeated until they are there.
const CATCH_UP: Duration = Duration::from_secs(5);
/// An hour: a read model that stands still for so long is an alarm of its own.
const CATCH_UPS_MAX: u32 = 720;
/// Where the key ring keeps whom to clean away, as long as that is not done.
const TASKS: &str = "erasure/";
/// How often the files are tried to be cleaned while somebody reads them.
const SCRUBS: u32 = 20;
const SCRUB_PAUSE: Duration = Duration::from_millis(100);
/// Contacts that were merged into one, looked at most.
const FAMILY_MAX: usize = 1_000;
/// Tables of the log's database that held the person in rows that were rewritten or deleted.
const SCRUBBED_TABLES: [&str; 6] =
    ["webhook_journal", "webhook_parked", "data_keys", "secrets", "media", "media_frames"];

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
    let mut named = named(gateway, &family).await?;
    named.contacts = family.iter().copied().collect();
    named.sandbox_numbers = sandbox_numbers(gateway, family[0]).await?;
    let task = format!("{TASKS}{}", family[0]);
    // What is still to be cleaned is kept in the key ring until it is: after the log, nobody else knows their names.
    let known = gateway.keys.secret(&task).await.map_err(AppError::unavailable)?;
    let names = Secret::new(named.and(known.as_ref()).to_json());
    let context = command::context(gateway, caller);
    let (family, reason, names) = (&family, &reason, &names);
    let name = &task;
    let (_, position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            for member in family {
                let erased = erase_contact_in(tx, *member, reason).await;
                erased.map_err(|error| command::refused(error, ""))?;
            }
            tx.put_secret(name, Some(names));
            Ok(())
        })
    })
    .await?;
    clean_up(gateway, task, position).await?;
    written(gateway, caller, ContactId(id), position).await
}

/// The note of what is to be cleaned after somebody of whom the log alone held something: put in the transaction that erases
/// them, and done by [`clean_up`] or the next start.
pub(crate) fn cleaning_task(id: Uuid) -> (String, Secret) {
    (format!("{TASKS}{id}"), Secret::new(Names::default().to_json()))
}

/// Cleans what a task names, and waits a while for it.
///
/// # Errors
/// UNAVAILABLE where it takes longer: it goes on all the same.
pub(crate) async fn clean_up(gateway: &Gateway, task: String, position: Position) -> AppResult<()> {
    gateway.local.tail.forget();
    // Goes on where this caller stops waiting.
    let cleaning = tokio::spawn(Cleaner::of(gateway).clean(task, position));
    match tokio::time::timeout(PATIENCE, cleaning).await {
        Ok(Ok(cleaned)) => cleaned,
        Ok(Err(error)) => Err(AppError::internal(error)),
        Err(_) => {
            let message = "the person is erased from the log; copies are still being cleaned: repeat this to hear of the end";
            Err(AppError::new(ErrorCode::Unavailable, message))
        }
    }
}

/// Finishes what erasures of before could not, because the gateway stopped or its store was away. Called at every start, and
/// from time to time.
///
/// # Errors
/// UNAVAILABLE; repeating it goes on.
pub async fn finish_erasures(gateway: &Gateway) -> AppResult<()> {
    let pending = gateway.store.vault.secrets(TASKS).await?;
    for (task, _) in pending {
        let head = gateway.ledger.head().await?;
        Cleaner::of(gateway).clean(task, head).await?;
    }
    Ok(())
}

/// Takes a person out of everything that is not the log itself.
struct Cleaner {
    journal: WebhookJournal,
    media: MediaStore,
    read: Projections,
    database: Database,
    keys: KeyRing,
    sandbox: Sandbox,
    clock: Arc<dyn Clock>,
    exports: Arc<Exports>,
    data_dir: PathBuf,
}

impl Cleaner {
    fn of(gateway: &Gateway) -> Self {
        Self {
            journal: gateway.journal.clone(),
            media: gateway.media.clone(),
            read: gateway.read.clone(),
            database: gateway.store.database.clone(),
            keys: gateway.keys.clone(),
            sandbox: gateway.sandbox.sandbox.clone(),
            clock: gateway.clock.clone(),
            exports: gateway.local.exports.clone(),
            data_dir: gateway.config.data_dir(),
        }
    }

    async fn clean(self, task: String, position: Position) -> AppResult<()> {
        let Some(names) = self.keys.secret(&task).await.map_err(AppError::unavailable)? else {
            return Ok(());
        };
        let names = Names::of_json(&names);
        // Before the journal: what the sandbox has under way ends there.
        self.forget_in_sandbox(&names).await.map_err(AppError::unavailable)?;
        let contacts: Vec<Uuid> = names.contacts.iter().copied().collect();
        self.media.erase(&contacts).await.map_err(AppError::unavailable)?;
        exports::forget_personal(&self.exports, &self.data_dir).await?;
        self.journal.erase(&names.person()).await.map_err(AppError::unavailable)?;
        scrub(&self.read, &self.database, position, self.clock.as_ref()).await?;
        self.keys.put_secret(&task, None).await.map_err(AppError::unavailable)?;
        // The names themselves were a row until now.
        scrub(&self.read, &self.database, position, self.clock.as_ref()).await
    }
}

impl Cleaner {
    /// The built-in sandbox remembers people as WhatsApp does; nobody but us can make it forget.
    async fn forget_in_sandbox(&self, names: &Names) -> std::io::Result<()> {
        let numbers: Vec<String> =
            names.numbers.iter().map(|number| number.as_str().to_owned()).collect();
        let users: Vec<String> = names.users.iter().map(|id| id.as_str().to_owned()).collect();
        self.sandbox.forget_people(&names.sandbox_numbers, &numbers, &users).await
    }
}

/// By what a person is known, or was: for the time between the erasure and the end of the cleaning.
#[derive(Default, Serialize, Deserialize)]
struct Names {
    numbers: BTreeSet<PhoneNumber>,
    users: BTreeSet<UserId>,
    /// Whose media are to go.
    #[serde(default)]
    contacts: BTreeSet<Uuid>,
    /// The workspace's own numbers in the built-in sandbox, by WhatsApp's id.
    #[serde(default)]
    sandbox_numbers: BTreeSet<String>,
}

impl Names {
    fn of_json(json: &Secret) -> Self {
        serde_json::from_str(json.expose()).unwrap_or_default()
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Together with what an erasure that did not end knew.
    fn and(mut self, known: Option<&Secret>) -> Self {
        let known = known.map(Self::of_json).unwrap_or_default();
        self.numbers.extend(known.numbers);
        self.users.extend(known.users);
        self.contacts.extend(known.contacts);
        self.sandbox_numbers.extend(known.sandbox_numbers);
        self
    }

    fn person(self) -> Person {
        Person::new(self.numbers, self.users)
    }
}

/// All contacts that are this person.
async fn family(gateway: &Gateway, id: Uuid) -> AppResult<Vec<Uuid>> {
    let mut root = id;
    let mut seen = BTreeSet::from([id]);
    let mut contact = command::folded::<Contact>(gateway, root, "contact").await?;
    while let Some(into) = contact.merged_into {
        if !seen.insert(into.0) {
            break;
        }
        root = into.0;
        contact = command::folded::<Contact>(gateway, root, "contact").await?;
    }
    let mut family = vec![root];
    family.extend(contact.halves.iter().map(|half| half.0));
    let mut next = 0;
    while next < family.len() && family.len() < FAMILY_MAX {
        let merged = merge::merged_into(&gateway.bus, family[next]).await?;
        let news: Vec<Uuid> = merged.into_iter().filter(|id| !family.contains(id)).collect();
        family.extend(news);
        next += 1;
    }
    family.sort_unstable();
    family.dedup();
    Ok(family)
}

/// Every number and user id that they have, or had.
async fn named(gateway: &Gateway, family: &[Uuid]) -> AppResult<Names> {
    let streams: Vec<_> =
        family.iter().map(|id| StreamId::new(AggregateType::Contact, *id)).collect();
    let mut names = Names::default();
    for event in gateway.ledger.read_streams(&streams).await? {
        let (phone, identities, aliases) = match event.decode()? {
            ContactEvent::Added { phone, identities, .. } => (phone, identities, None),
            ContactEvent::Updated { phone, identities, aliases, .. } => {
                (phone, identities, aliases)
            }
            _ => continue,
        };
        let aliases = aliases.and_then(Personal::into_known).unwrap_or_default();
        names.numbers.extend(aliases.phones);
        names.users.extend(aliases.identities.into_iter().map(|identity| identity.user_id));
        names.numbers.extend(phone.and_then(Personal::into_known));
        let identities = identities.and_then(Personal::into_known).unwrap_or_default();
        names.users.extend(identities.into_iter().map(|identity| identity.user_id));
    }
    Ok(names)
}

/// The numbers in the built-in sandbox that wrote to them, or may have.
async fn sandbox_numbers(gateway: &Gateway, contact: Uuid) -> AppResult<BTreeSet<String>> {
    let workspace = command::folded::<Contact>(gateway, contact, "contact").await?.workspace_id;
    let accounts = all_accounts(gateway).await?;
    let here = accounts.into_iter().map(|(_, account)| account).filter(|account| {
        account.workspace_id == workspace && account.provider == Some(AccountProvider::Sandbox)
    });
    Ok(here.map(|account| account.phone_number_id).collect())
}

/// Waits until no read model holds what was erased up to `position`, and cleans the files.
///
/// # Errors
/// UNAVAILABLE where the database failed.
pub(crate) async fn leave_no_trace(gateway: &Gateway, position: Position) -> AppResult<()> {
    scrub(&gateway.read, &gateway.store.database, position, gateway.clock.as_ref()).await
}

async fn scrub(
    read: &Projections,
    database: &Database,
    position: Position,
    clock: &dyn Clock,
) -> AppResult<()> {
    let mut waits = 0;
    while let Err(stale) = read.wait_for_all(position, CATCH_UP).await {
        waits += 1;
        if waits == CATCH_UPS_MAX {
            return Err(AppError::unavailable(stale));
        }
    }
    for _ in 0..SCRUBS {
        let is_read_clean = read.scrub().await.map_err(AppError::unavailable)?;
        if is_read_clean && scrub_log(database).await? {
            return Ok(());
        }
        clock.sleep_for(SCRUB_PAUSE).await;
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
