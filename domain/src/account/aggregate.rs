//! The account's state and decisions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{
    AccountEvent, AccountProvider, AccountStatus, Credential, CredentialRef, InDoubtPolicy,
    MessagingLimit, QuietHours,
};
use crate::port::AggregateType;
use crate::primitives::WorkspaceId;
use crate::template::Quality;
use crate::{DomainError, GatewayAggregate, Identity, aggregate};

/// What WhatsApp grants a number that was not upgraded, messages per second (Meta: throughput).
const DEFAULT_MESSAGES_PER_SECOND: u32 = 80;
const MAX_MESSAGES_PER_SECOND: u32 = 1_000_000;
const MAX_NAME_CHARS: usize = 200;
/// A week: longer than WhatsApp retries webhooks.
const MAX_GRACE_SECONDS: u32 = 7 * 24 * 3600;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<AccountProvider>,
    pub phone_number_id: String,
    pub waba_id: String,
    pub credentials: BTreeMap<Credential, CredentialRef>,
    pub settings: AccountSettings,
    pub status: AccountStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_phone_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_messages_per_second: Option<u32>,
    pub quality: Quality,
    /// `None`: WhatsApp has not told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<MessagingLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<DateTime<Utc>>,
}

/// What its owner can change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountSettings {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portfolio_id: Option<String>,
    /// IANA name, checked.
    pub time_zone: String,
    /// ISO 3166 alpha-2, for numbers in national form.
    pub default_region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
    /// Used as given; `None`: what WhatsApp grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    pub in_doubt_policy: InDoubtPolicy,
}

#[derive(Clone, Debug)]
pub struct ConnectAccount {
    pub workspace_id: WorkspaceId,
    pub provider: AccountProvider,
    pub phone_number_id: String,
    pub waba_id: String,
    pub credentials: BTreeMap<Credential, CredentialRef>,
    pub settings: AccountSettings,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum AccountCommand {
    Connect(Box<ConnectAccount>),
    Update {
        settings: Box<AccountSettings>,
        at: DateTime<Utc>,
    },
    /// What WhatsApp says of the number; `None`: it did not say.
    RecordNumber {
        display_phone_number: Option<String>,
        verified_name: Option<String>,
        granted_messages_per_second: Option<u32>,
        at: DateTime<Utc>,
    },
    RotateCredentials {
        credentials: BTreeMap<Credential, CredentialRef>,
        at: DateTime<Utc>,
    },
    Pause {
        reason: String,
        until: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    },
    Resume {
        at: DateTime<Utc>,
    },
    Disconnect {
        reason: String,
        at: DateTime<Utc>,
    },
    RecordQuality {
        quality: Quality,
        at: DateTime<Utc>,
    },
    RecordLimit {
        limit: MessagingLimit,
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("there is no such account")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("the account is disconnected; connect it again")]
    Disconnected,
}

impl DomainError for AccountError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "ACCOUNT_INVALID",
            Self::Disconnected => "ACCOUNT_DISCONNECTED",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
            Self::NotFound | Self::Disconnected => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

aggregate!(Account, AccountCommand, AccountEvent, AccountError, "account");

impl GatewayAggregate for Account {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Account;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.workspace_id
    }

    fn identities(&self) -> BTreeSet<Identity> {
        if self.workspace_id.is_none() || self.status == AccountStatus::Disconnected {
            return BTreeSet::new();
        }
        // A number has one owner in the whole gateway: webhooks and pace are counted by it.
        BTreeSet::from([Identity::new(
            Uuid::nil(),
            Identity::PHONE_NUMBER_ID,
            self.phone_number_id.clone(),
        )])
    }

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        match command {
            AccountCommand::Connect(connect) => self.connect(*connect),
            AccountCommand::Update { settings, at } => {
                self.require_connected()?;
                check_settings(&settings)?;
                Ok(if *settings == self.settings {
                    vec![]
                } else {
                    vec![self.updated(*settings, None, at)]
                })
            }
            AccountCommand::RecordNumber {
                display_phone_number,
                verified_name,
                granted_messages_per_second,
                at,
            } => {
                self.require_connected()?;
                let number = (
                    display_phone_number.or_else(|| self.display_phone_number.clone()),
                    verified_name.or_else(|| self.verified_name.clone()),
                    granted_messages_per_second.or(self.granted_messages_per_second),
                );
                let known = (
                    self.display_phone_number.clone(),
                    self.verified_name.clone(),
                    self.granted_messages_per_second,
                );
                Ok(if number == known {
                    vec![]
                } else {
                    vec![self.updated(self.settings.clone(), Some(number), at)]
                })
            }
            AccountCommand::RotateCredentials { credentials, at } => {
                self.require_connected()?;
                let is_news =
                    credentials.iter().any(|(kind, new)| self.credentials.get(kind) != Some(new));
                Ok(if is_news {
                    vec![AccountEvent::CredentialsRotated { credentials, at }]
                } else {
                    vec![]
                })
            }
            AccountCommand::Pause { reason, until, at } => {
                self.require_connected()?;
                if reason.trim().is_empty() {
                    return Err(invalid("reason", "say why, for whoever reads the history"));
                }
                let is_known = self.status == AccountStatus::Paused
                    && self.status_reason.as_ref() == Some(&reason)
                    && self.paused_until == until;
                Ok(if is_known { vec![] } else { vec![AccountEvent::Paused { reason, until, at }] })
            }
            AccountCommand::Resume { at } => {
                self.require_connected()?;
                Ok(if self.status == AccountStatus::Paused {
                    vec![AccountEvent::Resumed { at }]
                } else {
                    vec![]
                })
            }
            AccountCommand::Disconnect { reason, at } => {
                if self.workspace_id.is_none() {
                    return Err(AccountError::NotFound);
                }
                Ok(if self.status == AccountStatus::Disconnected {
                    vec![]
                } else {
                    vec![AccountEvent::Disconnected { reason, at }]
                })
            }
            AccountCommand::RecordQuality { quality, at } => {
                self.require_connected()?;
                Ok(if self.quality == quality {
                    vec![]
                } else {
                    vec![AccountEvent::QualityChanged { quality, at }]
                })
            }
            AccountCommand::RecordLimit { limit, at } => {
                self.require_connected()?;
                Ok(if self.limit == Some(limit) {
                    vec![]
                } else {
                    vec![AccountEvent::LimitChanged { limit, at }]
                })
            }
        }
    }
}

impl Account {
    /// What this number may send: the owner's word as given, else what WhatsApp grants.
    pub fn messages_per_second(&self) -> u32 {
        self.settings
            .messages_per_second
            .or(self.granted_messages_per_second)
            .unwrap_or(DEFAULT_MESSAGES_PER_SECOND)
    }

    fn connect(&self, connect: ConnectAccount) -> Result<Vec<AccountEvent>, AccountError> {
        if self.workspace_id.is_some() {
            return Ok(vec![]);
        }
        check_settings(&connect.settings)?;
        for (field, value) in
            [("phoneNumberId", &connect.phone_number_id), ("wabaId", &connect.waba_id)]
        {
            let is_id =
                (1..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
            if !is_id {
                return Err(invalid(field, "Meta's id, digits only"));
            }
        }
        let ConnectAccount {
            workspace_id,
            provider,
            phone_number_id,
            waba_id,
            credentials,
            settings,
            at,
        } = connect;
        Ok(vec![AccountEvent::Connected {
            workspace_id,
            name: settings.name,
            provider,
            phone_number_id,
            waba_id,
            portfolio_id: settings.portfolio_id,
            credentials,
            time_zone: settings.time_zone,
            default_region: settings.default_region,
            quiet_hours: settings.quiet_hours,
            messages_per_second: settings.messages_per_second,
            at,
        }])
    }

    fn require_connected(&self) -> Result<(), AccountError> {
        if self.workspace_id.is_none() {
            return Err(AccountError::NotFound);
        }
        if self.status == AccountStatus::Disconnected {
            Err(AccountError::Disconnected)
        } else {
            Ok(())
        }
    }

    fn updated(
        &self,
        settings: AccountSettings,
        number: Option<(Option<String>, Option<String>, Option<u32>)>,
        at: DateTime<Utc>,
    ) -> AccountEvent {
        let (display_phone_number, verified_name, granted_messages_per_second) = number
            .unwrap_or_else(|| {
                (
                    self.display_phone_number.clone(),
                    self.verified_name.clone(),
                    self.granted_messages_per_second,
                )
            });
        AccountEvent::Updated {
            name: settings.name,
            portfolio_id: settings.portfolio_id,
            time_zone: settings.time_zone,
            default_region: settings.default_region,
            quiet_hours: settings.quiet_hours,
            messages_per_second: settings.messages_per_second,
            in_doubt_policy: settings.in_doubt_policy,
            display_phone_number,
            verified_name,
            granted_messages_per_second,
            at,
        }
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Connected {
                workspace_id,
                name,
                provider,
                phone_number_id,
                waba_id,
                portfolio_id,
                credentials,
                time_zone,
                default_region,
                quiet_hours,
                messages_per_second,
                at,
            } => {
                *self = Self {
                    workspace_id: Some(workspace_id),
                    provider: Some(provider),
                    phone_number_id,
                    waba_id,
                    credentials,
                    settings: AccountSettings {
                        name,
                        portfolio_id,
                        time_zone,
                        default_region,
                        quiet_hours,
                        messages_per_second,
                        in_doubt_policy: InDoubtPolicy::default(),
                    },
                    connected_at: Some(at),
                    ..Self::default()
                };
            }
            AccountEvent::Updated {
                name,
                portfolio_id,
                time_zone,
                default_region,
                quiet_hours,
                messages_per_second,
                in_doubt_policy,
                display_phone_number,
                verified_name,
                granted_messages_per_second,
                ..
            } => {
                self.settings = AccountSettings {
                    name,
                    portfolio_id,
                    time_zone,
                    default_region,
                    quiet_hours,
                    messages_per_second,
                    in_doubt_policy,
                };
                self.display_phone_number = display_phone_number;
                self.verified_name = verified_name;
                self.granted_messages_per_second = granted_messages_per_second;
            }
            AccountEvent::CredentialsRotated { credentials, .. } => {
                self.credentials.extend(credentials)
            }
            AccountEvent::Paused { reason, until, .. } => {
                self.status = AccountStatus::Paused;
                self.status_reason = Some(reason);
                self.paused_until = until;
            }
            AccountEvent::Resumed { .. } => {
                self.status = AccountStatus::Connected;
                self.status_reason = None;
                self.paused_until = None;
            }
            AccountEvent::Disconnected { reason, .. } => {
                self.status = AccountStatus::Disconnected;
                self.status_reason = Some(reason);
                self.paused_until = None;
            }
            AccountEvent::QualityChanged { quality, .. } => self.quality = quality,
            AccountEvent::LimitChanged { limit, .. } => self.limit = Some(limit),
        }
    }
}

fn invalid(field: &'static str, problem: &str) -> AccountError {
    AccountError::Invalid { field, problem: problem.to_owned() }
}

fn check_settings(settings: &AccountSettings) -> Result<(), AccountError> {
    if settings.name.trim().is_empty() || settings.name.chars().count() > MAX_NAME_CHARS {
        return Err(invalid("name", "use 1 to 200 characters"));
    }
    if settings.time_zone.parse::<chrono_tz::Tz>().is_err() {
        return Err(invalid("timeZone", "use an IANA time zone such as Europe/Berlin"));
    }
    let region = &settings.default_region;
    if region.len() != 2 || !region.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(invalid(
            "defaultRegion",
            "use an ISO 3166 code of two capital letters such as DE",
        ));
    }
    if settings.quiet_hours.is_some_and(|hours| hours.from == hours.to) {
        return Err(invalid(
            "quietHours",
            "from and to are the same; leave quiet hours out to have none",
        ));
    }
    if settings.messages_per_second.is_some_and(|n| !(1..=MAX_MESSAGES_PER_SECOND).contains(&n)) {
        return Err(invalid("messagesPerSecond", "use 1 to 1,000,000"));
    }
    if settings.portfolio_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 64) {
        return Err(invalid(
            "portfolioId",
            "Meta's id of the business portfolio, 1 to 64 characters",
        ));
    }
    if !(1..=MAX_GRACE_SECONDS).contains(&settings.in_doubt_policy.grace_seconds) {
        return Err(invalid("inDoubtPolicy.graceSeconds", "use 1 to 604,800 (a week)"));
    }
    Ok(())
}
