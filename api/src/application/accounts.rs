//! Accounts: WhatsApp numbers, their credentials and their health.

mod connect;
mod health;
pub(crate) mod loop_test;
pub(crate) mod sandbox;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use domain::account::{
    Account, AccountCommand, AccountProvider, AccountStatus, Credential, InDoubtAction,
    InDoubtPolicy, QuietHours,
};
use domain::api_key::Scope;
use domain::port::Position;
use domain::primitives::AccountId;
use domain::template::Quality;
use infrastructure::cloud_api::client::{Access, CallError, NotSent};
use infrastructure::cloud_api::error::{Consequence, MessageFate};
use infrastructure::crypto::secret::Secret;

use super::caller::Caller;
use super::check;
use super::command;
use super::error::{AppError, AppResult};
use super::page::{Page, PageArgs, Total};
use super::read;
use super::view::{AccountView, Written};
use crate::app::Gateway;

pub use connect::{ConnectAccount, connect};
pub use health::{health, reach};
pub use loop_test::{loop_test, start_loop_test};

/// Changes to an account. `None`: left as it is; `Some(None)`: cleared.
#[derive(Clone, Debug, Default)]
pub struct UpdateAccount {
    pub id: String,
    pub name: Option<String>,
    pub portfolio_id: Option<Option<String>>,
    pub time_zone: Option<String>,
    pub default_region: Option<String>,
    pub quiet_hours: Option<Option<QuietHours>>,
    pub messages_per_second: Option<Option<i32>>,
    pub in_doubt_policy: Option<InDoubtPolicyChange>,
    pub expected_sequence: Option<i32>,
}

/// What is left out stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct InDoubtPolicyChange {
    pub marketing: Option<InDoubtAction>,
    pub utility: Option<InDoubtAction>,
    pub authentication: Option<InDoubtAction>,
    pub service: Option<InDoubtAction>,
    pub grace_seconds: Option<i32>,
}

/// New credentials; what is left out stays.
#[derive(Clone, Default)]
pub struct RotateCredentials {
    pub id: String,
    pub access_token: Option<String>,
    pub app_secret: Option<String>,
    pub verify_token: Option<String>,
}

impl std::fmt::Debug for RotateCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RotateCredentials").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default)]
pub struct AccountFilter {
    pub status: Vec<AccountStatus>,
    pub provider: Vec<AccountProvider>,
    pub search: Option<String>,
}

/// What WhatsApp says to a token.
#[derive(Clone, Debug)]
pub struct CredentialProbe {
    pub ok: bool,
    pub wabas: Vec<ProbedWaba>,
    pub permissions: Vec<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub problems: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct ProbedWaba {
    pub id: String,
    pub name: Option<String>,
    pub numbers: Vec<ProbedNumber>,
}

#[derive(Clone, Debug)]
pub struct ProbedNumber {
    pub id: String,
    pub display_phone_number: String,
    pub verified_name: Option<String>,
    pub quality_rating: Quality,
}

/// Asks WhatsApp about a token before it is used. Records nothing. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for what is no token; UNAVAILABLE where WhatsApp could not be asked. What WhatsApp does
/// not like about the token is in the answer's `problems`.
pub async fn probe_credentials(
    gateway: &Gateway,
    caller: &Caller,
    access_token: String,
    app_secret: Option<String>,
) -> AppResult<CredentialProbe> {
    caller.require(Scope::Manage)?;
    connect::check_credential(&access_token, "accessToken")?;
    if let Some(secret) = &app_secret {
        connect::check_credential(secret, "appSecret")?;
    }
    let access =
        Access { token: Secret::new(access_token), proof_secret: app_secret.map(Secret::new) };
    let api = gateway.api_of(AccountProvider::CloudApi);
    let probe = api.probe(&access, &[], gateway.clock.now()).await.map_err(unreachable)?;
    let wabas = probe.wabas.into_iter().map(|waba| ProbedWaba {
        id: waba.id,
        name: waba.name,
        numbers: waba
            .numbers
            .into_iter()
            .map(|number| ProbedNumber {
                quality_rating: number
                    .quality_rating
                    .as_deref()
                    .map(Quality::parse)
                    .unwrap_or_default(),
                display_phone_number: number.display_phone_number.unwrap_or_default(),
                verified_name: number.verified_name,
                id: number.id,
            })
            .collect(),
    });
    Ok(CredentialProbe {
        ok: probe.ok,
        wabas: wabas.collect(),
        permissions: probe.permissions,
        expires_at: probe.expires_at,
        problems: probe.problems,
    })
}

/// Whether nothing gets better by asking WhatsApp the same again: a person has to do something first.
pub(crate) fn has_to_be_mended(consequence: &Consequence) -> bool {
    let passes = match consequence.message {
        MessageFate::RetryLater { .. } | MessageFate::Unknown => true,
        MessageFate::AfterRemedy => !consequence.needs_person,
        MessageFate::Permanent | MessageFate::NotAboutAMessage => false,
    };
    consequence.account_stop || !passes
}

/// A call that had no answer, or none that can be used. What passes is UNAVAILABLE; what has to be mended first (a token
/// that does not work, an account that WhatsApp stopped) is CONFLICT and says how.
pub(crate) fn unreachable(error: CallError) -> AppError {
    if matches!(error, CallError::NotSent(NotSent::BadToken)) {
        return AppError::conflict(
            "the access token cannot be one; give the account another with rotateAccountCredentials",
        );
    }
    let message = match error.refusal() {
        Some(refusal) if has_to_be_mended(&refusal.consequence) => {
            let remedy = refusal.consequence.explanation();
            return AppError::conflict(format!("WhatsApp refused: {remedy}"));
        }
        Some(refusal) => format!("WhatsApp refused: {}", refusal.consequence.explanation()),
        None => format!("WhatsApp could not be asked ({error}); try again in a moment"),
    };
    AppError { message, ..AppError::unavailable(error) }
}

/// Changes an account's settings. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where it is disconnected or `expectedSequence` is stale.
pub async fn update(
    gateway: &Gateway,
    caller: &Caller,
    input: UpdateAccount,
) -> AppResult<Written<AccountView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = command::known::<Account>(gateway, caller, &input.id, "account").await?;
    let messages_per_second = match input.messages_per_second {
        Some(Some(value)) => Some(command::positive(Some(value), "input.messagesPerSecond")?),
        Some(None) => Some(None),
        None => None,
    };
    let policy = input.in_doubt_policy.unwrap_or_default();
    let grace_seconds =
        command::positive(policy.grace_seconds, "input.inDoubtPolicy.graceSeconds")?;
    let now = gateway.clock.now();
    let context = command::context(gateway, caller);
    let input = &input;
    let (_, position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            let loaded = command::loaded::<Account>(tx, id, "account").await?;
            command::check_sequence(input.expected_sequence, loaded.sequence)?;
            let mut settings = loaded.aggregate.settings;
            let input = input.clone();
            settings.name = input.name.unwrap_or(settings.name);
            settings.portfolio_id = input.portfolio_id.unwrap_or(settings.portfolio_id);
            settings.time_zone = input.time_zone.unwrap_or(settings.time_zone);
            settings.default_region = input
                .default_region
                .map_or(settings.default_region, |region| region.to_ascii_uppercase());
            settings.quiet_hours = input.quiet_hours.unwrap_or(settings.quiet_hours);
            settings.messages_per_second =
                messages_per_second.unwrap_or(settings.messages_per_second);
            let known = settings.in_doubt_policy;
            settings.in_doubt_policy = InDoubtPolicy {
                marketing: policy.marketing.unwrap_or(known.marketing),
                utility: policy.utility.unwrap_or(known.utility),
                authentication: policy.authentication.unwrap_or(known.authentication),
                service: policy.service.unwrap_or(known.service),
                grace_seconds: grace_seconds.unwrap_or(known.grace_seconds),
            };
            connect::check_region(&settings.default_region)?;
            let command = AccountCommand::Update { settings: Box::new(settings), at: now };
            tx.execute::<Account>(id, command)
                .await
                .map_err(|error| command::refused(error, "input"))?;
            Ok(())
        })
    })
    .await?;
    written(gateway, AccountId(id), position).await
}

/// Replaces credentials in the key ring; the log keeps that it happened. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where the account is disconnected.
pub async fn rotate_credentials(
    gateway: &Gateway,
    caller: &Caller,
    input: RotateCredentials,
) -> AppResult<Written<AccountView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = command::known::<Account>(gateway, caller, &input.id, "account").await?;
    let given = [
        (Credential::AccessToken, input.access_token, "input.accessToken"),
        (Credential::AppSecret, input.app_secret, "input.appSecret"),
        (Credential::VerifyToken, input.verify_token, "input.verifyToken"),
    ];
    let mut secrets = BTreeMap::new();
    for (kind, value, field) in given {
        if let Some(value) = value {
            connect::check_credential(&value, field)?;
            secrets.insert(kind, Secret::new(value));
        }
    }
    if secrets.is_empty() {
        return Err(AppError::invalid(
            "input.accessToken",
            "give an access token, an app secret or a verify token",
        ));
    }
    let now = gateway.clock.now();
    let context = command::context(gateway, caller);
    let credentials = connect::references(gateway, AccountId(id), &secrets);
    let (credentials, secrets) = (&credentials, &secrets);
    let (_, position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            let command =
                AccountCommand::RotateCredentials { credentials: credentials.clone(), at: now };
            tx.execute::<Account>(id, command)
                .await
                .map_err(|error| command::refused(error, "input"))?;
            for (kind, secret) in secrets {
                tx.put_secret(&connect::secret_name(AccountId(id), *kind), Some(secret));
            }
            Ok(())
        })
    })
    .await?;
    sandbox::make_ready(gateway, AccountId(id)).await;
    written(gateway, AccountId(id), position).await
}

/// The path that Meta calls for an account.
pub(crate) fn callback_path(id: AccountId) -> String {
    format!("/webhooks/whatsapp/{id}")
}

/// Stops sending from an account until it is resumed. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `reason`; CONFLICT where it is disconnected.
pub async fn pause(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    reason: String,
) -> AppResult<Written<AccountView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = command::known::<Account>(gateway, caller, id, "account").await?;
    check_reason(&reason)?;
    let command =
        AccountCommand::Pause { reason, until: None, cause: None, at: gateway.clock.now() };
    execute(gateway, caller, AccountId(id), command).await
}

/// Goes on sending. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT where it is disconnected.
pub async fn resume(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> AppResult<Written<AccountView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = command::known::<Account>(gateway, caller, id, "account").await?;
    execute(gateway, caller, AccountId(id), AccountCommand::Resume { at: gateway.clock.now() })
        .await
}

/// Ends the use of a number, for good: its token leaves the key ring and its number may be connected anew. The app
/// secret stays, because statuses of what was sent still arrive and are checked with it. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `reason`.
pub async fn disconnect(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    reason: String,
) -> AppResult<Written<AccountView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = command::known::<Account>(gateway, caller, id, "account").await?;
    check_reason(&reason)?;
    let now = gateway.clock.now();
    let context = command::context(gateway, caller);
    let reason = &reason;
    let (_, position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            let command = AccountCommand::Disconnect { reason: reason.clone(), at: now };
            tx.execute::<Account>(id, command)
                .await
                .map_err(|error| command::refused(error, ""))?;
            for kind in [Credential::AccessToken, Credential::Pin] {
                tx.put_secret(&connect::secret_name(AccountId(id), kind), None);
            }
            Ok(())
        })
    })
    .await?;
    written(gateway, AccountId(id), position).await
}

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

fn check_reason(reason: &str) -> AppResult<()> {
    super::check::text(reason, "reason", REASON_CHARS_MAX)
}

async fn execute(
    gateway: &Gateway,
    caller: &Caller,
    id: AccountId,
    command: AccountCommand,
) -> AppResult<Written<AccountView>> {
    let context = command::context(gateway, caller);
    let committed = gateway.bus.execute::<Account>(id.0, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, ""))?;
    let value =
        AccountView::new(id, &committed.aggregate).ok_or_else(|| AppError::not_found("account"))?;
    Ok(Written { value, position: committed.position })
}

async fn written(
    gateway: &Gateway,
    id: AccountId,
    position: Position,
) -> AppResult<Written<AccountView>> {
    let account = command::folded::<Account>(gateway, id.0, "account").await?;
    let value = AccountView::new(id, &account).ok_or_else(|| AppError::not_found("account"))?;
    Ok(Written { value, position })
}

/// One account, now or as it was known at an instant. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE where the read models, which its health and reach are read from, do not reach
/// `min_position`.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    as_of: Option<DateTime<Utc>>,
    min_position: Option<Position>,
) -> AppResult<AccountView> {
    caller.require(Scope::Read)?;
    read::wait_all(gateway, min_position).await?;
    // Folded from the log, which is never behind.
    let (id, account) = match as_of {
        Some(at) => command::known_at::<Account>(gateway, caller, id, at, "account").await?,
        None => {
            let (id, loaded) = command::known::<Account>(gateway, caller, id, "account").await?;
            (id, loaded.aggregate)
        }
    };
    let view = AccountView::new(AccountId(id), &account);
    let view = view.ok_or_else(|| AppError::not_found("account"))?;
    Ok(AccountView { as_of, ..view })
}

/// Where WhatsApp reaches the gateway for this account; `None` where no `public_url` is configured.
pub fn webhook_url(gateway: &Gateway, account: &AccountView) -> Option<String> {
    let public = gateway.config.public_url.as_ref()?;
    public.join(&account.webhook_path).ok().map(Into::into)
}

fn filter_of(filter: &AccountFilter) -> AppResult<projections::AccountFilter> {
    check::search(filter.search.as_ref())?;
    Ok(projections::AccountFilter {
        status: read::asked(filter.status.clone()),
        provider: read::asked(filter.provider.clone()),
        search: filter.search.clone(),
    })
}

/// Accounts, oldest first. Scope READ.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    filter: AccountFilter,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<AccountView>> {
    caller.require(Scope::Read)?;
    let page = read::page_request(page)?;
    read::wait_directory(gateway, min_position).await?;
    let found =
        read::queries(gateway).accounts(&read::scope(caller), &filter_of(&filter)?, &page).await?;
    Ok(read::page(found, |stored| AccountView::new(AccountId(stored.id), &stored.state)))
}

/// How many [`list`] would go through. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn total(gateway: &Gateway, caller: &Caller, filter: &AccountFilter) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    Ok(read::total(
        read::queries(gateway).count_accounts(&read::scope(caller), &filter_of(filter)?).await?,
    ))
}

/// Those of these accounts that the caller may see. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn by_ids(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[AccountId],
) -> AppResult<HashMap<AccountId, AccountView>> {
    caller.require(Scope::Read)?;
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    // From the log: a payload may show an account that no read model knows yet.
    let found = gateway.bus.load_many::<Account>(&ids).await?;
    let visible = found.into_iter().filter_map(|(id, loaded)| {
        let id = AccountId(id);
        let is_visible = caller.may_see(loaded.aggregate.workspace_id, Some(id));
        Some((id, AccountView::new(id, &loaded.aggregate).filter(|_| is_visible)?))
    });
    Ok(visible.collect())
}

#[cfg(test)]
mod tests {
    use infrastructure::cloud_api::error::{ErrorContext, ErrorPath};

    use super::*;

    #[test]
    fn what_has_to_be_mended_is_told_from_what_passes() {
        let has = |code| {
            let context = ErrorContext::default();
            has_to_be_mended(&Consequence::of_code(code, ErrorPath::Answer, context))
        };
        // A token that does not work, a permission that is missing, a policy block.
        for code in [190, 10, 368] {
            assert!(has(code), "{code}");
        }
        // Too many calls, and WhatsApp's own troubles.
        for code in [4, 80_007, 130_429, 131_000] {
            assert!(!has(code), "{code}");
        }
        let bad_token = unreachable(CallError::NotSent(NotSent::BadToken));
        assert_eq!(bad_token.code, crate::application::ErrorCode::Conflict);
    }
}
