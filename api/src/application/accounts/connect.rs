//! Connecting an account: what must be given, what is made up, and credentials that go into the key ring with the event.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use domain::account::{
    Account, AccountCommand, AccountProvider, AccountSettings, Credential, CredentialRef,
    InDoubtPolicy, QuietHours,
};
use domain::api_key::Scope;
use domain::primitives::{AccountId, WorkspaceId};
use infrastructure::crypto::secret::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use uuid::Uuid;

use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command::{self, Once};
use crate::application::error::{AppError, AppResult};
use crate::application::view::{AccountView, Written};

/// The longest credential; Meta's tokens have a few hundred characters.
const CREDENTIAL_CHARS_MAX: usize = 4_096;
/// The digits of a two-step PIN.
const PIN_DIGITS: usize = 6;
/// As long as Meta's own ids.
const MADE_UP_ID_DIGITS: usize = 15;
/// Where the time zone belongs to no country. National numbers of elsewhere are refused with it, never misread: see
/// `infrastructure::phone`.
const REGION_WITHOUT_COUNTRY: &str = "US";

/// A number to connect.
#[derive(Clone, Serialize)]
pub struct ConnectAccount {
    pub workspace_id: Option<String>,
    pub name: String,
    pub provider: AccountProvider,
    /// Required for CLOUD_API, made up for SANDBOX; so are the next ones.
    pub phone_number_id: Option<String>,
    pub waba_id: Option<String>,
    pub portfolio_id: Option<String>,
    pub access_token: Option<String>,
    pub app_secret: Option<String>,
    /// Made up where absent.
    pub verify_token: Option<String>,
    pub pin: Option<String>,
    pub time_zone: String,
    /// The time zone's country where absent.
    pub default_region: Option<String>,
    pub quiet_hours: Option<QuietHours>,
    pub messages_per_second: Option<i32>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

impl std::fmt::Debug for ConnectAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectAccount")
            .field("name", &self.name)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// Connects a number. Makes no call itself. Scope MANAGE, and a key that is not limited to some accounts.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace; VALIDATION_FAILED; CONFLICT where the number is connected already, here or in
/// any other workspace.
pub async fn connect(
    gateway: &Gateway,
    caller: &Caller,
    input: ConnectAccount,
) -> AppResult<Written<AccountView>> {
    caller.require(Scope::Manage)?;
    if caller.accounts.is_some() {
        return Err(AppError::forbidden(
            "this key is limited to some accounts and cannot connect another one",
        ));
    }
    let workspace =
        command::workspace(gateway, caller, input.workspace_id.as_deref(), "input.workspaceId")
            .await?;
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    match command::once::<Uuid>(gateway, caller, "connectAccount", key, &input, field).await? {
        Once::Done(id, position) => super::written(gateway, AccountId(id), position).await,
        Once::Now(idempotency) => {
            let now = gateway.clock.now();
            let id = AccountId(gateway.ids.next_id(now));
            let (connect, secrets) = prepare(gateway, id, workspace, input)?;
            let context = command::context(gateway, caller);
            let (connect, secrets) = (&connect, &secrets);
            let (id, position) =
                command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                    Box::pin(async move {
                        let command = AccountCommand::Connect(Box::new(connect.clone()));
                        tx.execute::<Account>(id.0, command)
                            .await
                            .map_err(|error| command::refused(error, "input"))?;
                        for (kind, secret) in secrets {
                            tx.put_secret(&secret_name(id, *kind), Some(secret));
                        }
                        Ok(id.0)
                    })
                })
                .await?;
            super::sandbox::make_ready(gateway, AccountId(id)).await;
            super::written(gateway, AccountId(id), position).await
        }
    }
}

type Secrets = BTreeMap<Credential, Secret>;

fn prepare(
    gateway: &Gateway,
    id: AccountId,
    workspace_id: WorkspaceId,
    input: ConnectAccount,
) -> AppResult<(domain::account::ConnectAccount, Secrets)> {
    let is_sandbox = input.provider == AccountProvider::Sandbox;
    let required = |value: Option<String>, field: &str, made_up: fn() -> String| match value {
        Some(value) => Ok(value),
        None if is_sandbox => Ok(made_up()),
        None => Err(AppError::invalid(
            field,
            "is required for CLOUD_API; Meta's app dashboard shows it",
        )),
    };
    let phone_number_id = required(input.phone_number_id, "input.phoneNumberId", made_up_id)?;
    let waba_id = required(input.waba_id, "input.wabaId", made_up_id)?;
    let mut secrets = Secrets::new();
    let mut keep = |kind, value: String, field: &str| {
        check_credential(&value, field)?;
        secrets.insert(kind, Secret::new(value));
        Ok::<(), AppError>(())
    };
    keep(
        Credential::AccessToken,
        required(input.access_token, "input.accessToken", made_up_secret)?,
        "input.accessToken",
    )?;
    keep(
        Credential::AppSecret,
        required(input.app_secret, "input.appSecret", made_up_secret)?,
        "input.appSecret",
    )?;
    keep(
        Credential::VerifyToken,
        input.verify_token.unwrap_or_else(made_up_secret),
        "input.verifyToken",
    )?;
    if let Some(pin) = input.pin {
        if pin.len() != PIN_DIGITS || !pin.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AppError::invalid(
                "input.pin",
                "use the six digits of the number's two-step verification",
            ));
        }
        secrets.insert(Credential::Pin, Secret::new(pin));
    }
    let default_region = match input.default_region {
        Some(region) => region.to_ascii_uppercase(),
        None => region_of(&input.time_zone).to_owned(),
    };
    check_region(&default_region)?;
    let connect = domain::account::ConnectAccount {
        workspace_id,
        provider: input.provider,
        phone_number_id,
        waba_id,
        credentials: references(gateway, id, &secrets),
        settings: AccountSettings {
            name: input.name,
            portfolio_id: input.portfolio_id,
            time_zone: input.time_zone,
            default_region,
            quiet_hours: input.quiet_hours,
            messages_per_second: command::positive(
                input.messages_per_second,
                "input.messagesPerSecond",
            )?,
            in_doubt_policy: InDoubtPolicy::default(),
        },
        at: gateway.clock.now(),
    };
    Ok((connect, secrets))
}

/// What the log keeps of credentials: where they are and how to recognise them.
pub(super) fn references(
    gateway: &Gateway,
    id: AccountId,
    secrets: &Secrets,
) -> BTreeMap<Credential, CredentialRef> {
    let reference = |kind, secret: &Secret| CredentialRef {
        name: secret_name(id, kind),
        fingerprint: gateway.keys.fingerprint(secret.expose()),
    };
    secrets.iter().map(|(kind, secret)| (*kind, reference(*kind, secret))).collect()
}

/// Where the key ring keeps a credential.
pub(super) fn secret_name(id: AccountId, kind: Credential) -> String {
    format!("account/{id}/{}", kind.as_str())
}

/// What Meta gives out as a token or a secret: printable, without spaces.
pub(super) fn check_credential(value: &str, field: &str) -> AppResult<()> {
    let is_one = (1..=CREDENTIAL_CHARS_MAX).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_graphic());
    if is_one {
        Ok(())
    } else {
        Err(AppError::invalid(
            field,
            format!(
                "use 1 to {CREDENTIAL_CHARS_MAX} printable ASCII characters, without spaces or line breaks"
            ),
        ))
    }
}

pub(super) fn check_region(region: &str) -> AppResult<()> {
    if infrastructure::phone::region_is_known(region) {
        Ok(())
    } else {
        Err(AppError::invalid(
            "input.defaultRegion",
            "use a country's two letters (ISO 3166) such as DE",
        ))
    }
}

/// The country of a time zone.
fn region_of(time_zone: &str) -> &'static str {
    static REGIONS: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
        let lines =
            include_str!("../zone_regions.tsv").lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_once('\t')).collect()
    });
    let region = REGIONS.get(time_zone).copied().unwrap_or(REGION_WITHOUT_COUNTRY);
    // Antarctica and a few islands have no numbers of their own.
    if infrastructure::phone::region_is_known(region) { region } else { REGION_WITHOUT_COUNTRY }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has a source of randomness");
    bytes
}

/// Digits, as Meta's ids are.
fn made_up_id() -> String {
    let bytes: [u8; MADE_UP_ID_DIGITS] = random_bytes();
    let digits = bytes.iter().enumerate().map(|(i, byte)| match i {
        0 => char::from(b'1' + byte % 9),
        _ => char::from(b'0' + byte % 10),
    });
    digits.collect()
}

fn made_up_secret() -> String {
    hex::encode(random_bytes::<32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_region_is_the_time_zones_country() {
        assert_eq!(region_of("Europe/Berlin"), "DE");
        assert_eq!(region_of("America/Sao_Paulo"), "BR");
        assert_eq!(region_of("Asia/Kolkata"), "IN");
        for without in ["UTC", "Etc/GMT+3", "Antarctica/Troll"] {
            assert_eq!(region_of(without), "US", "{without}");
        }
    }

    #[test]
    fn made_up_ids_look_like_metas() {
        let id = made_up_id();
        assert_eq!(id.len(), 15);
        assert!(id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0'));
        assert_ne!(id, made_up_id());
        assert!(check_credential(&made_up_secret(), "f").is_ok());
    }

    #[test]
    fn a_credential_has_no_spaces_or_line_breaks() {
        for wrong in ["", "a b", "a\n", "ä", &"x".repeat(4_097)] {
            assert!(check_credential(wrong, "input.accessToken").is_err());
        }
        assert!(check_credential("EAAG|x-1_2", "input.accessToken").is_ok());
    }
}
