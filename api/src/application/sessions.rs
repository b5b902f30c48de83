//! How people get in: one-time links, passwords, second factors, and the sessions that a browser holds.
//!
//! All of it lies sealed in the key ring: a session or a link under the hash of its token, so that the store never holds
//! what opens anything. The log says when a user signed in, out, or changed how they do; a user's generation, which counts
//! what ends sessions, is looked at with every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use domain::Identity;
use domain::primitives::{Actor, ConsoleUserId, Personal};
use domain::user::{Role, User, UserCommand};
use infrastructure::crypto::secret::Secret;
use infrastructure::ledger::Context;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use totp_rs::TOTP;
use uuid::Uuid;

use super::caller::Caller;
use super::command;
use super::error::{AppError, AppResult, ErrorCode};
use super::read;
use crate::app::Gateway;

/// A session that nobody uses ends after so long.
const IDLE_FOR: Duration = Duration::days(7);
/// And every one after so long.
pub const SESSION_FOR: Duration = Duration::days(30);
/// How old a session's last use on record may be.
const SEEN_EVERY: Duration = Duration::minutes(10);
const PASSWORD_CHARS_MIN: usize = 12;
const PASSWORD_CHARS_MAX: usize = 200;
const TOKEN_BYTES: usize = 32;
const RECOVERY_CODES: usize = 10;
/// Passwords that are hashed at once: each takes 19 MiB.
const HASHING_MAX: usize = 2;
/// Attempts that may wait for their turn to be hashed; more are refused.
const WAITING_MAX: usize = 64;
/// Attempts of one peer at one address that cost nothing; from then on each doubles the wait.
const FREE_ATTEMPTS: u32 = 5;
const WAIT_MAX: Duration = Duration::minutes(15);
/// The same for an address whoever asks, so that somebody's guesses do not lock them out.
const FREE_OF_ADDRESS: u32 = 100;
const WAIT_OF_ADDRESS_MAX: Duration = Duration::seconds(30);
/// Whose attempts are remembered.
const WATCHED_MAX: usize = 10_000;
/// How long a look at all users waits for the read model to be at the log's end.
pub(super) const DIRECTORY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// Codes of the interval before and after are good too: clocks differ.
const TOTP_SKEW: u8 = 1;
const TOTP_STEP_S: u64 = 30;

const SESSIONS: &str = "user-session/";
const LINKS: &str = "user-link/";

/// What a one-time link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The first owner makes themselves known.
    Setup,
    Invitation,
    /// Somebody lost their password, or their second factor.
    NewPassword,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Link {
    user_id: ConsoleUserId,
    generation: u32,
    purpose: Purpose,
    expires_at: DateTime<Utc>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Session {
    id: Uuid,
    user_id: ConsoleUserId,
    generation: u32,
    /// What a page shows with every change, and no other site knows.
    csrf: String,
    begun_at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
}

impl Session {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        now - self.seen_at > IDLE_FOR || now - self.begun_at > SESSION_FOR
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SecondFactor {
    /// As TOTP has it, base32.
    secret: String,
    /// The interval of the last code that was taken: each is good once.
    #[serde(default)]
    used_step: u64,
    /// SHA-256 of those not used yet.
    recovery: Vec<String>,
}

/// A session that was just begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// What the browser keeps; the gateway keeps its hash.
    pub token: Secret,
    pub signed_in: SignedIn,
}

/// Who is signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub user_id: ConsoleUserId,
    pub name: String,
    pub email: String,
    pub role: Role,
    pub has_second_factor: bool,
    pub csrf: String,
    pub caller: Caller,
}

/// A second factor to be confirmed by its first code.
#[derive(Clone, Debug)]
pub struct Enrolment {
    pub secret: Secret,
    /// What an authenticator app reads from a QR code.
    pub uri: Secret,
}

/// Attempts to sign in that have not succeeded. This node's alone.
pub(crate) struct Watch {
    attempts: Mutex<HashMap<[u8; 32], Attempts>>,
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
}

#[derive(Clone, Copy)]
struct Attempts {
    count: u32,
    last_at: DateTime<Utc>,
}

/// Whose attempts are counted together, and how many cost nothing.
#[derive(Clone, Copy)]
struct Whose {
    hash: [u8; 32],
    free: u32,
    wait_max: Duration,
}

impl Whose {
    fn at_address(email: &str, peer: &str) -> [Self; 2] {
        let of_peer = sha256(&format!("peer/{peer}/{email}"));
        [
            Self { hash: of_peer, free: FREE_ATTEMPTS, wait_max: WAIT_MAX },
            Self {
                hash: sha256(&format!("address/{email}")),
                free: FREE_OF_ADDRESS,
                wait_max: WAIT_OF_ADDRESS_MAX,
            },
        ]
    }

    fn in_session(session: &Session) -> [Self; 1] {
        let hash = sha256(&format!("session/{}", session.id));
        [Self { hash, free: FREE_ATTEMPTS, wait_max: WAIT_MAX }]
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            attempts: Mutex::default(),
            hashing: Arc::new(Semaphore::new(HASHING_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }
}

impl Watch {
    /// Counts an attempt before it is looked at, so that many at once are counted too.
    fn admit(&self, whose: &[Whose], now: DateTime<Utc>) -> AppResult<()> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        for Whose { hash, free, wait_max } in whose {
            let Some(known) = attempts.get(hash) else { continue };
            let Some(doubled) = known.count.checked_sub(*free) else { continue };
            let wait = Duration::seconds(1_i64 << doubled.min(10)).min(*wait_max);
            let left = known.last_at + wait - now;
            if left > Duration::zero() {
                let problem =
                    format!("too many failures; try again in {} s", left.num_seconds() + 1);
                return Err(AppError::new(ErrorCode::RateLimited, problem));
            }
        }
        if attempts.len() >= WATCHED_MAX {
            attempts.retain(|_, known| now - known.last_at < WAIT_MAX * 4);
        }
        for Whose { hash, .. } in whose {
            if attempts.len() >= WATCHED_MAX && !attempts.contains_key(hash) {
                let oldest = attempts.iter().min_by_key(|(_, known)| known.last_at);
                if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                    attempts.remove(&oldest);
                }
            }
            let known = attempts.entry(*hash).or_insert(Attempts { count: 0, last_at: now });
            known.count = known.count.saturating_add(1);
            known.last_at = now;
        }
        Ok(())
    }

    /// It was no guess.
    fn forgive(&self, whose: &[Whose]) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        for Whose { hash, .. } in whose {
            attempts.remove(hash);
        }
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

fn random(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the system has a source of randomness");
}

/// 256 random bits.
fn new_token() -> Secret {
    let mut bytes = [0; TOKEN_BYTES];
    random(&mut bytes);
    Secret::new(URL_SAFE_NO_PAD.encode(bytes))
}

fn name_of(kind: &str, token: &str) -> String {
    format!("{kind}{}", hex::encode(sha256(token)))
}

fn password_name(user: ConsoleUserId) -> String {
    format!("user/{user}/password")
}

fn factor_name(user: ConsoleUserId) -> String {
    format!("user/{user}/second-factor")
}

fn enrolment_name(user: ConsoleUserId) -> String {
    format!("user/{user}/enrolment")
}

/// What the key ring holds of somebody.
pub(super) fn secrets_of(user: ConsoleUserId) -> [String; 3] {
    [password_name(user), factor_name(user), enrolment_name(user)]
}

/// As it is at this moment: what was signed out or used elsewhere counts at once.
async fn stored<T: serde::de::DeserializeOwned>(
    gateway: &Gateway,
    name: &str,
) -> AppResult<Option<(T, Vec<u8>)>> {
    let secret = gateway.keys.secret_now(name).await.map_err(AppError::unavailable)?;
    let Some((secret, read)) = secret else { return Ok(None) };
    Ok(Some((serde_json::from_str(secret.expose()).map_err(AppError::internal)?, read)))
}

async fn secret_now(gateway: &Gateway, name: &str) -> AppResult<Option<Secret>> {
    let secret = gateway.keys.secret_now(name).await.map_err(AppError::unavailable)?;
    Ok(secret.map(|(secret, _)| secret))
}

fn written(value: &impl Serialize) -> AppResult<Secret> {
    serde_json::to_string(value).map(Secret::new).map_err(AppError::internal)
}

async fn store(gateway: &Gateway, name: &str, value: Option<&Secret>) -> AppResult<()> {
    gateway.keys.put_secret(name, value).await.map_err(AppError::unavailable)
}

/// A one-time link's path and secret part, which lies behind the `#`, where no server and no log sees it.
pub(super) async fn link(
    gateway: &Gateway,
    user_id: ConsoleUserId,
    generation: u32,
    purpose: Purpose,
    holds: Duration,
) -> AppResult<Secret> {
    let token = new_token();
    let expires_at = gateway.clock.now() + holds;
    let value = written(&Link { user_id, generation, purpose, expires_at })?;
    store(gateway, &name_of(LINKS, token.expose()), Some(&value)).await?;
    let page = match purpose {
        Purpose::Setup => "setup",
        Purpose::Invitation => "join",
        Purpose::NewPassword => "new-password",
    };
    let base = gateway.public_url();
    Ok(Secret::new(format!(
        "{}/console/{page}#token={}",
        base.as_str().trim_end_matches('/'),
        token.expose()
    )))
}

fn bad_link() -> AppError {
    AppError::new(
        ErrorCode::Unauthenticated,
        "this link was used already or is too old; ask for a new one",
    )
}

/// Chooses a password by a one-time link, and signs in. `person`: name and address, for the first owner alone.
///
/// # Errors
/// UNAUTHENTICATED for a link that is none any more; VALIDATION_FAILED for the password, name or address.
pub async fn accept(
    gateway: &Gateway,
    token: &str,
    person: Option<(&str, &str)>,
    password: &Secret,
) -> AppResult<Begun> {
    let name = name_of(LINKS, token);
    let (link, _) = stored::<Link>(gateway, &name).await?.ok_or_else(bad_link)?;
    if gateway.clock.now() >= link.expires_at {
        store(gateway, &name, None).await?;
        return Err(bad_link());
    }
    check_password(password)?;
    if link.purpose == Purpose::Setup {
        let Some((person, email)) = person else {
            return Err(AppError::invalid("name", "say who you are: name and email"));
        };
        let head = domain::port::EventFeed::head(&gateway.ledger).await?;
        let known = gateway.read.wait_for(projections::names::DIRECTORY, head, DIRECTORY_PATIENCE);
        known.await.map_err(AppError::unavailable)?;
        let everybody = projections::Scope::everything();
        let users = read::queries(gateway).all_users(&everybody).await?;
        if users.iter().any(|stored| stored.state.joined_at.is_some()) {
            return Err(bad_link());
        }
        super::users::make_owner(gateway, link.user_id, email, person).await?;
    }
    let id = link.user_id;
    let hash = hash_password(gateway, password).await?;
    let now = gateway.clock.now();
    let context = Context::new(Actor::user(id), gateway.ids.next_id(now));
    let (hash, link, name) = (&hash, &link, &name);
    let ((), _) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            let user = tx.load::<User>(id.0).await.map_err(command::unavailable)?;
            let user = user.ok_or_else(bad_link)?.aggregate;
            let is_news = user.joined_at.is_none() == (link.purpose != Purpose::NewPassword);
            if !is_news || user.generation != link.generation || user.suspended_at.is_some() {
                return Err(bad_link());
            }
            tx.put_secret(&password_name(id), Some(hash));
            tx.put_secret(name, None);
            let mut commands = vec![UserCommand::ChangePassword { at: now }];
            // Whoever gave the link knows them; a lost phone must not lock them out.
            if user.has_second_factor {
                tx.put_secret(&factor_name(id), None);
                commands.push(UserCommand::DisableSecondFactor { at: now });
            }
            for command in commands {
                tx.execute::<User>(id.0, command)
                    .await
                    .map_err(|error| command::refused(error, ""))?;
            }
            Ok(())
        })
    })
    .await?;
    begin(gateway, id, None).await
}

/// Signs in by address, password and, where they have one, a code of their second factor.
///
/// # Errors
/// UNAUTHENTICATED, alike for an unknown address and a wrong password; with `field` `code` where password and address are
/// right and a code is missing or wrong. RATE_LIMITED after too many failures.
pub async fn sign_in(
    gateway: &Gateway,
    email: &str,
    password: &Secret,
    code: Option<&str>,
    peer: &str,
) -> AppResult<Begun> {
    let email = email.trim().to_lowercase();
    let (whose, now) = (Whose::at_address(&email, peer), gateway.clock.now());
    gateway.local.watch.admit(&whose, now)?;
    match recognise(gateway, &email, password, code, now).await {
        Ok((id, generation)) => {
            gateway.local.watch.forgive(&whose);
            begin(gateway, id, Some(generation)).await
        }
        Err(error) => {
            // That a code is asked for is no failure.
            let is_asked = error.field.is_some() && code.is_none();
            if is_asked || error.code != ErrorCode::Unauthenticated {
                gateway.local.watch.forgive(&whose);
            }
            Err(error)
        }
    }
}

async fn recognise(
    gateway: &Gateway,
    email: &str,
    password: &Secret,
    code: Option<&str>,
    now: DateTime<Utc>,
) -> AppResult<(ConsoleUserId, u32)> {
    let refused = || {
        AppError::new(ErrorCode::Unauthenticated, "this address and password do not go together")
    };
    let found = gateway.bus.resolve_identities(&[Identity::user_email(email)]).await?;
    let id = found.into_iter().next().flatten();
    let user = match id {
        Some(id) => {
            gateway.bus.load::<User>(id).await?.map(|loaded| (ConsoleUserId(id), loaded.aggregate))
        }
        None => None,
    };
    let user = user.filter(|(_, user)| user.is_active());
    let hash = match &user {
        Some((id, _)) => secret_now(gateway, &password_name(*id)).await?,
        None => None,
    };
    // An unknown address takes as long as a wrong password.
    let is_right = verify_password(gateway, password, hash.as_ref()).await?;
    let (id, user) = user.filter(|_| is_right).ok_or_else(refused)?;
    if user.has_second_factor {
        take_code(gateway, id, code.unwrap_or_default(), now).await?;
    }
    Ok((id, user.generation))
}

/// A new session of somebody who was recognised. `recognised_in`: what ended sessions since then ends this one too.
async fn begin(
    gateway: &Gateway,
    id: ConsoleUserId,
    recognised_in: Option<u32>,
) -> AppResult<Begun> {
    let now = gateway.clock.now();
    let session_id = gateway.ids.next_id(now);
    let context = Context::new(Actor::user(id), gateway.ids.next_id(now));
    let command = UserCommand::SignIn { session_id, at: now };
    let committed = gateway.bus.execute::<User>(id.0, command, &context).await;
    let user = committed.map_err(|error| command::refused(error, ""))?.aggregate;
    if recognised_in.is_some_and(|generation| generation != user.generation) {
        return Err(over());
    }
    let (token, csrf) = (new_token(), new_token());
    let session = Session {
        id: session_id,
        user_id: id,
        generation: user.generation,
        csrf: csrf.expose().to_owned(),
        begun_at: now,
        seen_at: now,
    };
    let name = name_of(SESSIONS, token.expose());
    store(gateway, &name, Some(&written(&session)?)).await?;
    Ok(Begun { token, signed_in: signed_in(&session, &user, name) })
}

fn signed_in(session: &Session, user: &User, name: String) -> SignedIn {
    let text = |value: &Option<Personal<String>>| {
        value.as_ref().and_then(Personal::known).cloned().unwrap_or_default()
    };
    SignedIn {
        user_id: session.user_id,
        name: text(&user.name),
        email: text(&user.email),
        role: user.role,
        has_second_factor: user.has_second_factor,
        csrf: session.csrf.clone(),
        caller: caller_of(session.user_id, user, Some(name)),
    }
}

fn caller_of(id: ConsoleUserId, user: &User, session: Option<String>) -> Caller {
    Caller {
        actor: Actor::user(id),
        api_key_id: None,
        user_id: Some(id),
        session,
        scopes: user.role.scopes(),
        workspaces: user.workspace_ids.as_ref().map(|ids| ids.iter().copied().collect()),
        accounts: user.account_ids.as_ref().map(|ids| ids.iter().copied().collect()),
    }
}

fn over() -> AppError {
    AppError::new(ErrorCode::Unauthenticated, "this session is over; sign in again")
}

/// Who holds this session.
///
/// # Errors
/// UNAUTHENTICATED, alike for one that never was, has ended or was revoked.
pub async fn authenticate(gateway: &Gateway, token: &str) -> AppResult<SignedIn> {
    let (session, user) = session_of(gateway, token).await?;
    Ok(signed_in(&session, &user, name_of(SESSIONS, token)))
}

async fn session_of(gateway: &Gateway, token: &str) -> AppResult<(Session, User)> {
    if token.len() > 2 * TOKEN_BYTES {
        return Err(over());
    }
    session_named(gateway, &name_of(SESSIONS, token)).await
}

async fn session_named(gateway: &Gateway, name: &str) -> AppResult<(Session, User)> {
    let now = gateway.clock.now();
    let (mut session, read) = stored::<Session>(gateway, name).await?.ok_or_else(over)?;
    let user = active(gateway, session.user_id).await;
    let has_ended = match &user {
        Ok(user) => user.generation != session.generation,
        Err(error) => error.code == ErrorCode::Unauthenticated,
    };
    if has_ended || session.is_over(now) {
        swap(gateway, name, &read, None).await?;
        return Err(over());
    }
    if now - session.seen_at > SEEN_EVERY {
        session.seen_at = now;
        // Where it was signed out meanwhile it stays so.
        swap(gateway, name, &read, Some(&written(&session)?)).await?;
    }
    Ok((session, user?))
}

async fn swap(
    gateway: &Gateway,
    name: &str,
    read: &[u8],
    value: Option<&Secret>,
) -> AppResult<bool> {
    gateway.keys.swap_secret(name, read, value).await.map_err(AppError::unavailable)
}

async fn active(gateway: &Gateway, id: ConsoleUserId) -> AppResult<User> {
    let user = gateway.bus.load::<User>(id.0).await?;
    user.map(|loaded| loaded.aggregate).filter(User::is_active).ok_or_else(over)
}

/// The same caller as their user is now: for whoever stays longer than a request. `session`: the one they came by, whose end
/// is theirs.
///
/// # Errors
/// UNAUTHENTICATED where the session is over, or they were suspended or removed; UNAVAILABLE.
pub(super) async fn renew(
    gateway: &Gateway,
    id: ConsoleUserId,
    session: Option<&str>,
) -> AppResult<Caller> {
    let user = match session {
        Some(name) => session_named(gateway, name).await?.1,
        None => active(gateway, id).await?,
    };
    Ok(caller_of(id, &user, session.map(str::to_owned)))
}

/// Forgets the session that a browser still had when it began another.
pub async fn replace(gateway: &Gateway, token: &str) -> AppResult<()> {
    store(gateway, &name_of(SESSIONS, token), None).await
}

/// Ends this session.
///
/// # Errors
/// UNAUTHENTICATED where it is over already.
pub async fn sign_out(gateway: &Gateway, token: &str) -> AppResult<()> {
    let (session, _) = session_of(gateway, token).await?;
    store(gateway, &name_of(SESSIONS, token), None).await?;
    let at = gateway.clock.now();
    let context = Context::new(Actor::user(session.user_id), gateway.ids.next_id(at));
    let command = UserCommand::SignOut { session_id: session.id, at };
    let committed = gateway.bus.execute::<User>(session.user_id.0, command, &context).await;
    committed.map_err(|error| command::refused(error, "")).map(|_| ())
}

/// Another password: every session ends, and this one goes on under a new token.
///
/// # Errors
/// UNAUTHENTICATED; VALIDATION_FAILED for the new one, or with `field` `currentPassword` for the old one.
pub async fn change_password(
    gateway: &Gateway,
    token: &str,
    current: &Secret,
    new: &Secret,
) -> AppResult<Begun> {
    let (session, _) = session_of(gateway, token).await?;
    check_password(new)?;
    confirm_password(gateway, &session, current).await?;
    let hash = hash_password(gateway, new).await?;
    let id = session.user_id;
    let secrets = vec![(password_name(id), Some(hash))];
    let at = gateway.clock.now();
    change(gateway, id, UserCommand::ChangePassword { at }, secrets).await?;
    begin(gateway, id, None).await
}

/// That whoever sits there is who signed in, before what locks others out.
async fn confirm_password(
    gateway: &Gateway,
    session: &Session,
    password: &Secret,
) -> AppResult<()> {
    let whose = Whose::in_session(session);
    gateway.local.watch.admit(&whose, gateway.clock.now())?;
    let hash = secret_now(gateway, &password_name(session.user_id)).await?;
    if !verify_password(gateway, password, hash.as_ref()).await? {
        return Err(AppError::invalid("currentPassword", "this is not your password"));
    }
    gateway.local.watch.forgive(&whose);
    Ok(())
}

async fn change(
    gateway: &Gateway,
    id: ConsoleUserId,
    command: UserCommand,
    secrets: Vec<(String, Option<Secret>)>,
) -> AppResult<()> {
    let context = Context::new(Actor::user(id), gateway.ids.next_id(gateway.clock.now()));
    let (command, secrets) = (&command, &secrets);
    let ((), _) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            tx.execute::<User>(id.0, command.clone())
                .await
                .map_err(|error| command::refused(error, ""))?;
            for (name, secret) in secrets {
                tx.put_secret(name, secret.as_ref());
            }
            Ok(())
        })
    })
    .await?;
    Ok(())
}

/// A second factor to be: it counts once its first code was given.
///
/// # Errors
/// UNAUTHENTICATED; CONFLICT where they have one; VALIDATION_FAILED with `field` `currentPassword`.
pub async fn enrol(gateway: &Gateway, token: &str, password: &Secret) -> AppResult<Enrolment> {
    let (session, user) = session_of(gateway, token).await?;
    if user.has_second_factor {
        return Err(AppError::conflict("you have a second factor; end that one first"));
    }
    confirm_password(gateway, &session, password).await?;
    let mut bytes = vec![0; 20];
    random(&mut bytes);
    let secret = Secret::new(totp_rs::Secret::Raw(bytes).to_encoded().to_string());
    store(gateway, &enrolment_name(session.user_id), Some(&secret)).await?;
    let email = user.email.as_ref().and_then(Personal::known).map_or("", String::as_str);
    let mut uri = url::Url::parse("otpauth://totp/").map_err(AppError::internal)?;
    uri.set_path(&format!("WhatsApp Gateway:{email}"));
    uri.query_pairs_mut()
        .append_pair("secret", secret.expose())
        .append_pair("issuer", "WhatsApp Gateway");
    Ok(Enrolment { secret, uri: Secret::new(uri.to_string()) })
}

/// Takes the first code: from now on a code is asked for. Answers codes for the day the phone is lost, each good once;
/// every session ends, and this one goes on under a new token.
///
/// # Errors
/// UNAUTHENTICATED; VALIDATION_FAILED for a wrong code; CONFLICT where nothing was begun.
pub async fn confirm_enrolment(
    gateway: &Gateway,
    token: &str,
    code: &str,
) -> AppResult<(Begun, Vec<Secret>)> {
    let (session, _) = session_of(gateway, token).await?;
    let id = session.user_id;
    let name = enrolment_name(id);
    let secret = secret_now(gateway, &name).await?;
    let secret = secret.ok_or_else(|| AppError::conflict("begin with a new second factor"))?;
    let now = gateway.clock.now();
    let step = step_of(&secret, code, now)?;
    let used_step = step.ok_or_else(|| {
        AppError::invalid(
            "code",
            "this is not the code that the app shows now; check the phone's clock",
        )
    })?;
    let codes: Vec<Secret> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let recovery = codes.iter().map(|code| hex::encode(sha256(code.expose()))).collect();
    let factor = SecondFactor { secret: secret.expose().to_owned(), used_step, recovery };
    let secrets = vec![(factor_name(id), Some(written(&factor)?)), (name, None)];
    change(gateway, id, UserCommand::EnableSecondFactor { at: now }, secrets).await?;
    Ok((begin(gateway, id, None).await?, codes))
}

/// The password alone is enough again. Every session ends, and this one goes on under a new token.
///
/// # Errors
/// UNAUTHENTICATED; VALIDATION_FAILED with `field` `currentPassword`.
pub async fn end_second_factor(
    gateway: &Gateway,
    token: &str,
    password: &Secret,
) -> AppResult<Begun> {
    let (session, _) = session_of(gateway, token).await?;
    let id = session.user_id;
    confirm_password(gateway, &session, password).await?;
    let at = gateway.clock.now();
    let secrets = vec![(factor_name(id), None)];
    change(gateway, id, UserCommand::DisableSecondFactor { at }, secrets).await?;
    begin(gateway, id, None).await
}

/// Ten letters and digits that are not mistaken for each other, with a hyphen.
fn recovery_code() -> Secret {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut bytes = [0; 10];
    random(&mut bytes);
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    let (first, second) = letters.split_at(5);
    Secret::new(format!("{}-{}", String::from_iter(first), String::from_iter(second)))
}

async fn take_code(
    gateway: &Gateway,
    id: ConsoleUserId,
    code: &str,
    now: DateTime<Utc>,
) -> AppResult<()> {
    let wanted = || {
        let mut wanted = AppError::new(
            ErrorCode::Unauthenticated,
            "give the code that your authenticator app shows, or one of your recovery codes",
        );
        wanted.field = Some("code".to_owned());
        wanted
    };
    let name = factor_name(id);
    let (mut factor, read) = stored::<SecondFactor>(gateway, &name).await?.ok_or_else(over)?;
    let secret = Secret::new(factor.secret.as_str());
    if let Some(step) = step_of(&secret, code, now)?.filter(|step| *step > factor.used_step) {
        factor.used_step = step;
    } else {
        let hash = hex::encode(sha256(&code.trim().to_lowercase()));
        let place = factor.recovery.iter().position(|known| *known == hash).ok_or_else(wanted)?;
        factor.recovery.swap_remove(place);
    }
    // Of two who show the same code at once, one was first.
    let is_first = swap(gateway, &name, &read, Some(&written(&factor)?)).await?;
    if is_first { Ok(()) } else { Err(wanted()) }
}

/// The interval whose code this is, among the one now and its neighbours.
fn step_of(secret: &Secret, code: &str, now: DateTime<Utc>) -> AppResult<Option<u64>> {
    let bytes = totp_rs::Secret::Encoded(secret.expose().to_owned())
        .to_bytes()
        .map_err(|_| AppError::new(ErrorCode::Internal, "a second factor cannot be read"))?;
    let totp = TOTP::new_unchecked(totp_rs::Algorithm::SHA1, 6, TOTP_SKEW, TOTP_STEP_S, bytes);
    let code = Secret::new(code.trim().replace(' ', ""));
    let step = u64::try_from(now.timestamp()).unwrap_or(0) / TOTP_STEP_S;
    let near = [step, step.saturating_sub(1), step + 1];
    Ok(near.into_iter().find(|step| code.matches(&totp.generate(step * TOTP_STEP_S))))
}

fn check_password(password: &Secret) -> AppResult<()> {
    let length = password.expose().chars().count();
    if (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length) {
        return Ok(());
    }
    Err(AppError::invalid(
        "password",
        format!(
            "use {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters; a few words are easiest to keep"
        ),
    ))
}

/// OWASP's first choice for argon2id: 19 MiB, two passes.
fn argon() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

async fn hash_password(gateway: &Gateway, password: &Secret) -> AppResult<Secret> {
    let mut salt = [0; 16];
    random(&mut salt);
    let salt = SaltString::encode_b64(&salt).map_err(|_| unhashable())?;
    let password = password.clone();
    let hash = hashing(gateway, move || {
        let hash = argon().hash_password(password.expose().as_bytes(), &salt);
        hash.map(|hash| Secret::new(hash.to_string()))
    });
    hash.await?.map_err(|_| unhashable())
}

fn unhashable() -> AppError {
    AppError::new(ErrorCode::Internal, "the password could not be hashed")
}

/// Whether it is the password behind the hash; where there is none, no, after as long a time.
async fn verify_password(
    gateway: &Gateway,
    password: &Secret,
    hash: Option<&Secret>,
) -> AppResult<bool> {
    let (password, hash) = (password.clone(), hash.cloned());
    hashing(gateway, move || {
        let Some(hash) = hash else {
            let mut out = [0; 32];
            let _ = argon().hash_password_into(password.expose().as_bytes(), &[0; 16], &mut out);
            return false;
        };
        let hash = PasswordHash::new(hash.expose());
        hash.is_ok_and(|hash| argon().verify_password(password.expose().as_bytes(), &hash).is_ok())
    })
    .await
}

async fn hashing<T: Send + 'static>(
    gateway: &Gateway,
    work: impl FnOnce() -> T + Send + 'static,
) -> AppResult<T> {
    let watch = &gateway.local.watch;
    let busy = |_| {
        let problem = "too many people sign in right now; try again in a moment";
        AppError::new(ErrorCode::RateLimited, problem)
    };
    let _place = watch.waiting.try_acquire().map_err(busy)?;
    let turn = watch.hashing.clone().acquire_owned().await.map_err(AppError::internal)?;
    // The turn ends with the work, also where whoever asked has gone.
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    work.await.map_err(AppError::internal)
}

/// Forgets sessions and links that are over. Answers how many.
///
/// # Errors
/// UNAVAILABLE.
pub async fn prune(gateway: &Gateway) -> AppResult<usize> {
    let now = gateway.clock.now();
    let vault = &gateway.store.vault;
    let mut over = vec![];
    for (name, sealed) in vault.secrets(SESSIONS).await? {
        let session = gateway.keys.open_secret(&name, &sealed).map_err(AppError::unavailable)?;
        let session: Option<Session> = serde_json::from_str(session.expose()).ok();
        let is_over = match session {
            None => true,
            Some(session) if session.is_over(now) => true,
            Some(session) => match active(gateway, session.user_id).await {
                Ok(user) => user.generation != session.generation,
                Err(error) if error.code == ErrorCode::Unauthenticated => true,
                Err(error) => return Err(error),
            },
        };
        over.extend(is_over.then_some(name));
    }
    for (name, sealed) in vault.secrets(LINKS).await? {
        let link = gateway.keys.open_secret(&name, &sealed).map_err(AppError::unavailable)?;
        let link: Option<Link> = serde_json::from_str(link.expose()).ok();
        over.extend(link.is_none_or(|link| now >= link.expires_at).then_some(name));
    }
    for name in &over {
        store(gateway, name, None).await?;
    }
    Ok(over.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn attempts_cost_more_and_more_time_and_a_success_forgives_them() {
        let (watch, whose) = (Watch::default(), Whose::at_address("ana@shop.example", "192.0.2.1"));
        let admits = |at| watch.admit(&whose, at).is_ok();
        for _ in 0..FREE_ATTEMPTS {
            assert!(admits(at(0)), "counted before they are looked at");
        }
        assert!(!admits(at(0)) && admits(at(1)) && !admits(at(2)) && admits(at(3)));
        for round in 1..30 {
            watch.admit(&whose, at(10_000 * round)).unwrap();
        }
        assert!(!admits(at(290_000 + 14 * 60)) && admits(at(290_000 + 15 * 60)));
        // Somebody else's guesses do not lock them out.
        let own = Whose::at_address("ana@shop.example", "198.51.100.7");
        assert!(watch.admit(&own, at(290_000 + 15 * 60)).is_ok());
        watch.forgive(&whose);
        assert!(admits(at(290_000 + 15 * 60)));
    }

    #[test]
    fn a_code_is_good_in_its_interval_and_beside_it() {
        // RFC 6238, appendix B: the secret is the ASCII text 12345678901234567890, the last six digits of the code.
        let secret = Secret::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let moment = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert_eq!(step_of(&secret, "081804", moment(1_111_111_109)).unwrap(), Some(37_037_036));
        assert_eq!(step_of(&secret, "081 804", moment(1_111_111_139)).unwrap(), Some(37_037_036));
        assert_eq!(step_of(&secret, "081804", moment(1_111_111_170)).unwrap(), None);
        assert_eq!(step_of(&secret, "", moment(1_111_111_109)).unwrap(), None);
    }

    #[test]
    fn tokens_and_recovery_codes_are_random() {
        assert_eq!(new_token().expose().len(), 43);
        let codes: std::collections::BTreeSet<String> =
            (0..100).map(|_| recovery_code().expose().to_owned()).collect();
        assert!(codes.len() == 100 && codes.iter().all(|code| code.len() == 11));
    }
}
