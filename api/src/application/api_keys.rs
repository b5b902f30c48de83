//! API keys: made, shown once, recognised by their hash, revoked.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use domain::Identity;
use domain::account::Account;
use domain::api_key::{ApiKey, ApiKeyCommand, Scope};
use domain::port::Position;
use domain::primitives::{AccountId, Actor, ApiKeyId, WorkspaceId};
use domain::workspace::Workspace;
use infrastructure::crypto::secret::Secret;
use infrastructure::ledger::Context;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use uuid::Uuid;

use super::caller::Caller;
use super::check;
use super::command::{self, Once};
use super::error::{AppError, AppResult, ErrorCode};
use super::page::{Page, PageArgs, Total};
use super::read;
use super::sessions;
use super::view::{ApiKeyView, Written};
use crate::app::Gateway;

/// What every key begins with, so that leaked ones are found by scanners.
const PREFIX: &str = "wgk_";
const SECRET_BYTES: usize = 32;
/// Keys remembered at once; beyond that the log is asked.
const CACHED_MAX: usize = 10_000;
/// How long a key that another node revoked may still be taken here.
const CACHED_FOR: Duration = Duration::seconds(5);
/// How long a start waits for the keys to be known: a directory that is built anew takes its time.
const DIRECTORY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);
/// Workspaces or accounts that one key may be limited to.
const LIMITS_MAX: usize = 200;
/// The longest bearer that is hashed.
const BEARER_BYTES_MAX: usize = 256;

/// A key to make. `None` in a list: all of them.
#[derive(Clone, Debug, Serialize)]
pub struct CreateApiKey {
    pub workspace_ids: Option<Vec<String>>,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub account_ids: Option<Vec<String>>,
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// A key that was made.
#[derive(Clone, Debug)]
pub struct CreatedApiKey {
    pub key: ApiKeyView,
    /// In this answer and nowhere else: `None` where it was given before, under the same idempotency key.
    pub secret: Option<Secret>,
    pub position: Position,
}

/// The first ADMIN key.
#[derive(Clone, Debug)]
pub enum Bootstrap {
    /// There is an ADMIN key, so a configured one is ignored.
    NotNeeded,
    /// The configured one is in force.
    Configured,
    /// Made up, and written to this file (mode 0600).
    Written(PathBuf),
}

/// Keys that this process has seen lately.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<HashMap<[u8; 32], Cached>>);

#[derive(Clone)]
struct Cached {
    id: ApiKeyId,
    key: ApiKey,
    seen_at: DateTime<Utc>,
    used_at: DateTime<Utc>,
}

impl KeyCache {
    fn get(&self, hash: &[u8; 32], now: DateTime<Utc>) -> Option<(ApiKeyId, ApiKey)> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = keys.get_mut(hash)?;
        // A clock set back makes nothing fresh.
        let age = now - cached.seen_at;
        if age > CACHED_FOR || age < Duration::zero() {
            return None;
        }
        cached.used_at = now;
        Some((cached.id, cached.key.clone()))
    }

    fn put(&self, hash: [u8; 32], id: ApiKeyId, key: ApiKey, now: DateTime<Utc>) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= CACHED_MAX && !keys.contains_key(&hash) {
            // The least recently used one makes room.
            let oldest =
                keys.iter().min_by_key(|(_, cached)| cached.used_at).map(|(hash, _)| *hash);
            if let Some(oldest) = oldest {
                keys.remove(&oldest);
            }
        }
        keys.insert(hash, Cached { id, key, seen_at: now, used_at: now });
    }

    fn forget(&self, id: ApiKeyId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, cached| cached.id != id);
    }

    fn last_used_at(&self, id: ApiKeyId) -> Option<DateTime<Utc>> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.values().filter(|cached| cached.id == id).map(|cached| cached.used_at).max()
    }
}

/// Makes a key. A key cannot make one that reaches further than itself. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for a workspace or an account; VALIDATION_FAILED.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    input: CreateApiKey,
) -> AppResult<CreatedApiKey> {
    caller.require(Scope::Admin)?;
    for (ids, field) in
        [(&input.workspace_ids, "input.workspaceIds"), (&input.account_ids, "input.accountIds")]
    {
        check::at_most(ids.as_deref().unwrap_or_default(), LIMITS_MAX, field)?;
    }
    let mut workspace_ids = workspaces(gateway, caller, input.workspace_ids.as_deref()).await?;
    let mut account_ids = match &input.account_ids {
        Some(ids) => Some(command::accounts(gateway, caller, ids).await?),
        None => None,
    };
    check_accounts(gateway, workspace_ids.as_deref(), account_ids.as_deref()).await?;
    if workspace_ids.is_none()
        && let Some(own) = &caller.workspaces
    {
        workspace_ids = Some(own.iter().copied().collect());
    }
    if account_ids.is_none()
        && let Some(own) = &caller.accounts
    {
        account_ids = Some(own.iter().copied().collect());
    }
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    let (id, secret, position) =
        match command::once::<Uuid>(gateway, caller, "createApiKey", key, &input, field).await? {
            Once::Done(id, position) => (id, None, position),
            Once::Now(idempotency) => {
                let secret = new_secret();
                let now = gateway.clock.now();
                let new_id = gateway.ids.next_id(now);
                let command = ApiKeyCommand::Create {
                    name: input.name.clone(),
                    scopes: input.scopes.iter().copied().collect(),
                    workspace_ids,
                    account_ids,
                    fingerprint: fingerprint(secret.expose()),
                    expires_at: input.expires_at.map(infrastructure::clock::truncate_to_ms),
                    at: now,
                };
                let context = command::context(gateway, caller);
                let command = &command;
                let (id, position) =
                    command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                        Box::pin(async move {
                            let command = command.clone();
                            tx.execute::<ApiKey>(new_id, command)
                                .await
                                .map_err(|error| command::refused(error, "input"))?;
                            Ok(new_id)
                        })
                    })
                    .await?;
                // Another request under the same idempotency key may have been faster: its secret is not ours.
                (id, Some(secret).filter(|_| id == new_id), position)
            }
        };
    let key = command::folded::<ApiKey>(gateway, id, "API key").await?;
    let key =
        ApiKeyView::new(ApiKeyId(id), &key, None).ok_or_else(|| AppError::not_found("API key"))?;
    Ok(CreatedApiKey { key, secret, position })
}

async fn workspaces(
    gateway: &Gateway,
    caller: &Caller,
    ids: Option<&[String]>,
) -> AppResult<Option<Vec<WorkspaceId>>> {
    let Some(ids) = ids else { return Ok(None) };
    let mut known = Vec::with_capacity(ids.len());
    for id in ids {
        known.push(WorkspaceId(
            command::known::<Workspace>(gateway, caller, id, "workspace").await?.0,
        ));
    }
    Ok(Some(known))
}

/// A key for accounts of other workspaces than its own would see nothing.
async fn check_accounts(
    gateway: &Gateway,
    workspaces: Option<&[WorkspaceId]>,
    accounts: Option<&[AccountId]>,
) -> AppResult<()> {
    let (Some(workspaces), Some(accounts)) = (workspaces, accounts) else { return Ok(()) };
    for id in accounts {
        let account = command::folded::<Account>(gateway, id.0, "account").await?;
        if !account.workspace_id.is_some_and(|workspace| workspaces.contains(&workspace)) {
            return Err(AppError::invalid(
                "input.accountIds",
                "name accounts of the workspaces that the key is for",
            ));
        }
    }
    Ok(())
}

/// Ends a key, at once. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND, also for a key that reaches further than the caller.
pub async fn revoke(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<ApiKeyView>> {
    caller.require(Scope::Admin)?;
    let id: ApiKeyId = command::id(id, "API key")?;
    let key = command::folded::<ApiKey>(gateway, id.0, "API key").await?;
    if !may_manage(caller, &key) {
        return Err(AppError::not_found("API key"));
    }
    let context = command::context(gateway, caller);
    let command = ApiKeyCommand::Revoke { at: gateway.clock.now() };
    let committed = gateway.bus.execute::<ApiKey>(id.0, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, ""))?;
    let last_used_at = gateway.local.keys.last_used_at(id);
    gateway.local.keys.forget(id);
    let value = ApiKeyView::new(id, &committed.aggregate, last_used_at)
        .ok_or_else(|| AppError::not_found("API key"))?;
    Ok(Written { value, position: committed.position })
}

/// All that the key opens, the caller may open too.
fn may_manage(caller: &Caller, key: &ApiKey) -> bool {
    fn within<T: Ord + Copy>(own: Option<&BTreeSet<T>>, of: Option<&Vec<T>>) -> bool {
        match (own, of) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(of)) => of.iter().all(|id| own.contains(id)),
        }
    }
    within(caller.workspaces.as_ref(), key.workspace_ids.as_ref())
        && within(caller.accounts.as_ref(), key.account_ids.as_ref())
}

/// Keys, oldest first, those that reach no further than the caller. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<ApiKeyView>> {
    caller.require(Scope::Admin)?;
    let page = read::page_request(page)?;
    read::wait_directory(gateway, min_position).await?;
    let found = read::queries(gateway).api_keys(&read::scope(caller), &page).await?;
    Ok(read::page(found, |stored| {
        let id = ApiKeyId(stored.id);
        ApiKeyView::new(id, &stored.state, gateway.local.keys.last_used_at(id))
    }))
}

/// How many [`list`] would go through. Scope ADMIN.
///
/// # Errors
/// FORBIDDEN.
pub async fn total(gateway: &Gateway, caller: &Caller) -> AppResult<Total> {
    caller.require(Scope::Admin)?;
    let count = read::queries(gateway).all_api_keys(&read::scope(caller)).await?.len() as u64;
    Ok(Total { count, exact: true })
}

/// Who is behind a bearer token.
///
/// # Errors
/// UNAUTHENTICATED, alike for a wrong, an expired and a revoked key.
pub async fn authenticate(gateway: &Gateway, bearer: &str) -> AppResult<Caller> {
    let refused =
        || AppError::new(ErrorCode::Unauthenticated, "this API key is wrong, expired or revoked");
    if !bearer.starts_with(PREFIX) || bearer.len() > BEARER_BYTES_MAX {
        return Err(refused());
    }
    let now = gateway.clock.now();
    let hash = sha256(bearer);
    let (id, key) = match gateway.local.keys.get(&hash, now) {
        Some(known) => known,
        None => {
            // By the store's own uniqueness, which is never behind; a revoked key holds nothing any more.
            let identity = Identity::new(Uuid::nil(), Identity::API_KEY, hex::encode(hash));
            let holder =
                gateway.bus.resolve_identities(&[identity]).await?.into_iter().next().flatten();
            let id = ApiKeyId(holder.ok_or_else(refused)?);
            let key =
                command::folded::<ApiKey>(gateway, id.0, "API key").await.map_err(|_| refused())?;
            gateway.local.keys.put(hash, id, key.clone(), now);
            (id, key)
        }
    };
    if !key.is_active(now) {
        return Err(refused());
    }
    Ok(caller_of(id, key))
}

fn caller_of(id: ApiKeyId, key: ApiKey) -> Caller {
    Caller {
        actor: Actor::api_key(id, Some(key.name.clone())),
        api_key_id: Some(id),
        user_id: None,
        session: None,
        scopes: key.scopes,
        workspaces: key.workspace_ids.map(|ids| ids.into_iter().collect()),
        accounts: key.account_ids.map(|ids| ids.into_iter().collect()),
    }
}

/// The same caller as their key is now: for whoever stays longer than a request.
///
/// # Errors
/// UNAUTHENTICATED where the key was revoked or has expired; UNAVAILABLE.
pub async fn renew(gateway: &Gateway, caller: &Caller) -> AppResult<Caller> {
    if let Some(id) = caller.user_id {
        return sessions::renew(gateway, id, caller.session.as_deref()).await;
    }
    let Some(id) = caller.api_key_id else { return Ok(caller.clone()) };
    let key = gateway.bus.recall::<ApiKey>(id.0, CACHED_FOR.to_std().unwrap_or_default()).await?;
    let key = key.map(|loaded| loaded.aggregate).filter(|key| key.is_active(gateway.clock.now()));
    let key = key.ok_or_else(|| {
        AppError::new(ErrorCode::Unauthenticated, "this API key was revoked or has expired")
    })?;
    Ok(caller_of(id, key))
}

/// Makes sure that somebody can get in: the configured key, else one that is made up and written to a file with mode
/// 0600, unless there is an ADMIN key. Called at every start, with the read models' projectors running: it waits until
/// they know all keys.
///
/// # Errors
/// UNAVAILABLE; VALIDATION_FAILED for a configured key that is none; INTERNAL where the file cannot be written.
pub async fn ensure_bootstrap_key(gateway: &Gateway) -> AppResult<Bootstrap> {
    let now = gateway.clock.now();
    let head = domain::port::EventFeed::head(&gateway.ledger).await?;
    let known =
        gateway.read.wait_for(projections::names::DIRECTORY, head, DIRECTORY_PATIENCE).await;
    known.map_err(AppError::unavailable)?;
    let keys = read::queries(gateway).all_api_keys(&projections::Scope::everything()).await?;
    let configured = gateway.config.admin.bootstrap_key.as_ref().map(|key| key.expose());
    let is_ours =
        |key: &ApiKey| configured.is_some_and(|secret| key.fingerprint == fingerprint(secret));
    let opens = |key: &ApiKey| key.is_active(now) && key.allows(Scope::Admin);
    if let Some(stored) = keys.iter().find(|stored| opens(&stored.state)) {
        return Ok(if is_ours(&stored.state) {
            Bootstrap::Configured
        } else {
            Bootstrap::NotNeeded
        });
    }
    let secret = match configured {
        Some(secret) => {
            let long_enough =
                secret.len() >= PREFIX.len() + SECRET_BYTES && secret.len() <= BEARER_BYTES_MAX;
            if !secret.starts_with(PREFIX) || !long_enough {
                return Err(AppError::invalid(
                    "admin.bootstrap_key",
                    "use wgk_ and at least 32 random characters; leave it out to have one made",
                ));
            }
            Secret::new(secret)
        }
        None => new_secret(),
    };
    let path = gateway.config.data_dir().join("bootstrap-key");
    if configured.is_none() {
        // Before the event: a key that nobody can read would be of no use.
        write_private(&path, secret.expose()).map_err(AppError::internal)?;
    }
    let command = ApiKeyCommand::Create {
        name: "bootstrap".to_owned(),
        scopes: BTreeSet::from([Scope::Admin]),
        workspace_ids: None,
        account_ids: None,
        fingerprint: fingerprint(secret.expose()),
        expires_at: None,
        at: now,
    };
    let context = Context::new(Actor::system("start"), gateway.ids.next_id(now));
    let made = gateway.bus.execute::<ApiKey>(gateway.ids.next_id(now), command, &context).await;
    match made {
        Ok(_) => {}
        // Another node with the same configuration was faster.
        Err(infrastructure::ledger::CommandError::IdentityTaken { .. }) => {}
        Err(error) => return Err(command::refused(error, "admin.bootstrap_key")),
    }
    Ok(if configured.is_some() { Bootstrap::Configured } else { Bootstrap::Written(path) })
}

fn write_private(path: &std::path::Path, secret: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

/// 256 random bits.
fn new_secret() -> Secret {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).expect("the system has a source of randomness");
    Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

fn sha256(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    hash
}

/// What is kept of a key: it recognises the secret and does not tell it.
pub(crate) fn fingerprint(secret: &str) -> String {
    hex::encode(sha256(secret))
}

impl Gateway {
    /// [`authenticate`], where a method reads better.
    ///
    /// # Errors
    /// UNAUTHENTICATED.
    pub async fn authenticate(&self, bearer: &str) -> AppResult<Caller> {
        authenticate(self, bearer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_secret_is_long_random_and_recognised_by_its_hash() {
        let secret = new_secret();
        assert_eq!(secret.expose().len(), 4 + 43);
        assert_ne!(secret.expose(), new_secret().expose());
        assert_eq!(
            fingerprint("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_cache_forgets_after_a_while_when_told_and_when_full() {
        let cache = KeyCache::default();
        let id = |n: u128| ApiKeyId(Uuid::from_u128(n));
        cache.put([1; 32], id(1), ApiKey::default(), at(0));
        assert!(cache.get(&[1; 32], at(5)).is_some());
        assert!(cache.get(&[1; 32], at(6)).is_none());
        assert_eq!(cache.last_used_at(id(1)), Some(at(5)));
        cache.forget(id(1));
        assert_eq!(cache.last_used_at(id(1)), None);
        for n in 0..=CACHED_MAX {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&(n as u64).to_be_bytes());
            cache.put(hash, id(n as u128), ApiKey::default(), at(n as i64));
        }
        assert_eq!(cache.0.lock().unwrap().len(), CACHED_MAX);
        assert_eq!(cache.last_used_at(id(0)), None);
    }

    #[test]
    fn nobody_manages_a_key_that_reaches_further_than_their_own() {
        let workspace = |n: u128| WorkspaceId(Uuid::from_u128(n));
        let own = Caller {
            workspaces: Some(BTreeSet::from([workspace(1), workspace(2)])),
            ..Caller::everything(Actor::system("test"))
        };
        let key =
            |ids: Option<Vec<WorkspaceId>>| ApiKey { workspace_ids: ids, ..ApiKey::default() };
        assert!(may_manage(&own, &key(Some(vec![workspace(1)]))));
        assert!(!may_manage(&own, &key(Some(vec![workspace(1), workspace(3)]))));
        assert!(!may_manage(&own, &key(None)));
        assert!(may_manage(&Caller::everything(Actor::system("test")), &key(None)));
    }
}
