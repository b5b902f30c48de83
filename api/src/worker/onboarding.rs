//! After an account is connected: what WhatsApp says of the number, the registration where a PIN was given, the
//! subscription to webhooks; and from time to time whether all that still holds. Makes calls, records facts, and keeps the
//! outcome of its checks where `health` reads it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use domain::account::{
    Account, AccountCommand, AccountProvider, AccountStatus, Credential, MessagingLimit,
};
use domain::primitives::{AccountId, Actor};
use domain::template::Quality;
use infrastructure::cloud_api::client::{Access, CallError, CallbackOverride, CloudApi};
use infrastructure::cloud_api::wire::response::ThroughputLevel;
use infrastructure::ledger::Context;
use projections::names;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::app::Gateway;
use crate::application::accounts::{callback_path, loop_test, sandbox};
use crate::worker::all_accounts;

/// Checks are repeated this often while nothing changes; Meta counts these calls against a budget of 200 an hour.
const RECHECK: Duration = Duration::hours(1);
/// After a check that failed.
const RETRY: Duration = Duration::minutes(2);
/// The throughput levels of Meta's documentation, messages per second.
const STANDARD: u32 = 80;
const HIGH: u32 = 1_000;
/// A number that is also used in the WhatsApp Business app.
const COEXISTENCE: u32 = 20;

/// The outcome of one check, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCheck {
    pub ok: bool,
    pub at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Checks by name: `token`, `webhook`, `registration`, `quality`, `payment`.
pub type StoredChecks = BTreeMap<String, StoredCheck>;

/// What the checks of an account last said; empty before the first.
pub async fn stored_checks(gateway: &Gateway, id: AccountId) -> anyhow::Result<StoredChecks> {
    let stored = gateway.store.meta.get(&key(id)).await?;
    Ok(stored.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
}

fn key(id: AccountId) -> String {
    format!("health/{id}")
}

/// What was done for an account, and when it is looked at again.
struct Known {
    /// A new number or new credentials are checked at once.
    credentials: BTreeMap<Credential, domain::account::CredentialRef>,
    next: DateTime<Utc>,
}

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut known: HashMap<AccountId, Known> = HashMap::new();
    let mut directory = gateway.read.watch(names::DIRECTORY);
    while !*stop.borrow() {
        let accounts = match all_accounts(&gateway).await {
            Ok(accounts) => accounts,
            Err(error) => {
                warn!(error = %format!("{error:#}"), "accounts could not be read; trying again");
                vec![]
            }
        };
        let now = gateway.clock.now();
        for (id, account) in accounts {
            let is_due = known
                .get(&id)
                .is_none_or(|known| known.next <= now || known.credentials != account.credentials);
            if account.status == AccountStatus::Disconnected || !is_due {
                continue;
            }
            let context = Context::new(Actor::process("onboarding"), gateway.ids.next_id(now));
            let all_well = match onboard(&gateway, id, &account, &context).await {
                Ok(all_well) => all_well,
                Err(error) => {
                    warn!(account.id = %id, error = %format!("{error:#}"), "an account could not be checked; trying again");
                    false
                }
            };
            let next = now + if all_well { RECHECK } else { RETRY };
            known.insert(id, Known { credentials: account.credentials.clone(), next });
        }
        let next = known.values().map(|known| known.next).min().unwrap_or(now + RECHECK);
        tokio::select! {
            () = gateway.clock.sleep_until(next.min(now + RETRY)) => {}
            _ = directory.changed() => {}
            _ = stop.changed() => {}
        }
    }
}

async fn onboard(
    gateway: &Gateway,
    id: AccountId,
    account: &Account,
    context: &Context,
) -> anyhow::Result<bool> {
    let Some(provider) = account.provider else { return Ok(false) };
    if provider == AccountProvider::Sandbox {
        sandbox::provision(gateway, id, account).await?;
        // Where a crash came before the phone could write.
        loop_test::write_in_sandbox(gateway, id).await;
    }
    let api = gateway.api_of(provider);
    let access = gateway.access(account).await?;
    let mut checks = StoredChecks::new();
    let now = gateway.clock.now();
    match api.phone_number(&access, &account.phone_number_id).await {
        Ok(number) => {
            checks.insert("token".to_owned(), well(now, None));
            let granted = match (number.is_on_biz_app, number.throughput.as_ref().map(|t| &t.level))
            {
                (Some(true), _) => Some(COEXISTENCE),
                (_, Some(ThroughputLevel::High)) => Some(HIGH),
                (_, Some(ThroughputLevel::Standard)) => Some(STANDARD),
                _ => None,
            };
            let quality = number.quality_rating.as_deref().map(Quality::parse).unwrap_or_default();
            let limit = number
                .whatsapp_business_manager_messaging_limit
                .as_deref()
                .and_then(MessagingLimit::parse);
            record(
                gateway,
                id,
                context,
                AccountCommand::RecordNumber {
                    display_phone_number: number.display_phone_number,
                    verified_name: number.verified_name,
                    granted_messages_per_second: granted,
                    on_business_app: number.is_on_biz_app,
                    at: now,
                },
            )
            .await?;
            record(gateway, id, context, AccountCommand::RecordQuality { quality, at: now })
                .await?;
            if let Some(limit) = limit {
                record(gateway, id, context, AccountCommand::RecordLimit { limit, at: now })
                    .await?;
            }
            register(gateway, account, api, &access, number.status.as_deref(), &mut checks).await;
        }
        Err(error) => {
            checks.insert("token".to_owned(), ill(now, &error));
        }
    }
    subscribe(gateway, id, account, api, &access, &mut checks).await;
    let all_well = checks.values().all(|check| check.ok);
    gateway.store.meta.set(&key(id), &serde_json::to_string(&checks)?).await?;
    info!(account.id = %id, all_well, "account checked");
    Ok(all_well)
}

/// A number with a PIN that is not connected is registered, once per check and never in a loop: wrong PINs lock it.
async fn register(
    gateway: &Gateway,
    account: &Account,
    api: &CloudApi,
    access: &Access,
    status: Option<&str>,
    checks: &mut StoredChecks,
) {
    let now = gateway.clock.now();
    if status.is_none_or(|status| status == "CONNECTED") {
        return;
    }
    let Ok(pin) = gateway.credential(account, Credential::Pin).await else {
        let status = status.unwrap_or_default();
        checks.insert("registration".to_owned(), StoredCheck {
            ok: false,
            at: now,
            detail: Some(format!("WhatsApp says that the number is {status}")),
            remedy: Some("Connect the account with its two-step PIN, so that the gateway can register it.".to_owned()),
        });
        return;
    };
    let outcome = api.register(access, &account.phone_number_id, &pin).await;
    checks.insert(
        "registration".to_owned(),
        outcome.map_or_else(|error| ill(now, &error), |()| well(now, None)),
    );
}

/// Without the subscription no webhooks arrive. Our own callback is told where Meta can reach it.
async fn subscribe(
    gateway: &Gateway,
    id: AccountId,
    account: &Account,
    api: &CloudApi,
    access: &Access,
    checks: &mut StoredChecks,
) {
    let now = gateway.clock.now();
    let callback = match callback_url(gateway, id, account) {
        Some(uri) => match gateway.credential(account, Credential::VerifyToken).await {
            Ok(verify_token) => Some(CallbackOverride { uri, verify_token }),
            Err(_) => None,
        },
        None => None,
    };
    let detail =
        callback.is_none().then(|| format!("enter this callback at Meta: {}", callback_path(id)));
    let outcome = api.subscribe(access, &account.waba_id, callback.as_ref()).await;
    checks.insert(
        "webhook".to_owned(),
        outcome.map_or_else(|error| ill(now, &error), |()| well(now, detail)),
    );
}

/// Meta calls https only; a Cloud API stand-in on this machine calls loopback.
fn callback_url(gateway: &Gateway, id: AccountId, account: &Account) -> Option<String> {
    let public = gateway.public_url();
    let base_is_local = account.provider == Some(AccountProvider::Sandbox)
        || gateway.config.graph.base_url.scheme() == "http";
    if !gateway.config.graph.override_callback || (public.scheme() != "https" && !base_is_local) {
        return None;
    }
    public.join(&callback_path(id)).ok().map(Into::into)
}

async fn record(
    gateway: &Gateway,
    id: AccountId,
    context: &Context,
    command: AccountCommand,
) -> anyhow::Result<()> {
    gateway.bus.execute::<Account>(id.0, command, context).await?;
    Ok(())
}

fn well(at: DateTime<Utc>, detail: Option<String>) -> StoredCheck {
    StoredCheck { ok: true, at, detail, remedy: None }
}

fn ill(at: DateTime<Utc>, error: &CallError) -> StoredCheck {
    let remedy = error.refusal().map(|refusal| refusal.consequence.remedy.clone());
    let detail = match error.refusal() {
        Some(refusal) => refusal.consequence.title.clone(),
        None => error.to_string(),
    };
    StoredCheck { ok: false, at, detail: Some(detail), remedy }
}
