//! The account's state and decisions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{
    AccountEvent, AccountProvider, AccountStatus, Credential, CredentialRef, InDoubtPolicy,
    MessagingLimit, PauseCause, Restriction,
};
use super::loop_test::{LOOP_TEST_MINUTES, LoopTest, LoopTestReceipt};
use crate::port::AggregateType;
use crate::primitives::{ContactId, DailyHours, MessageId, Personal, PhoneNumber, WorkspaceId};
use crate::template::{Quality, TemplateCategory};
use crate::{DomainError, GatewayAggregate, Identity, aggregate};

/// What WhatsApp grants a number that was not upgraded, messages per second (Meta: throughput).
const DEFAULT_MESSAGES_PER_SECOND: u32 = 80;
/// What WhatsApp grants a number that is also used in the WhatsApp Business app (Meta: throughput), never more.
const BUSINESS_APP_MESSAGES_PER_SECOND: u32 = 20;
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
    /// Why the gateway itself has stopped it; `None`: it did not, or a person did after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_cause: Option<PauseCause>,
    /// The reason of the pause that a person has not ended yet, whatever else has stopped the account since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_pause: Option<String>,
    /// What WhatsApp forbids, each until its end, which may have passed: see [`Account::restricted`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restrictions: Vec<Restriction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_phone_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_messages_per_second: Option<u32>,
    /// The number is also used in the WhatsApp Business app (coexistence).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_business_app: bool,
    pub quality: Quality,
    /// `None`: WhatsApp has not told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<MessagingLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<DateTime<Utc>>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loop_test: Option<LoopTest>,
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
    pub quiet_hours: Option<DailyHours>,
    /// Used as given; `None`: what WhatsApp grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    pub in_doubt_policy: InDoubtPolicy,
}

/// What WhatsApp says of a number.
#[derive(Clone, Debug, PartialEq)]
struct NumberFacts {
    display_phone_number: Option<String>,
    verified_name: Option<String>,
    granted_messages_per_second: Option<u32>,
    on_business_app: bool,
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
        on_business_app: Option<bool>,
        at: DateTime<Utc>,
    },
    RotateCredentials {
        credentials: BTreeMap<Credential, CredentialRef>,
        at: DateTime<Utc>,
    },
    Pause {
        reason: String,
        until: Option<DateTime<Utc>>,
        /// `None`: a person wants it.
        cause: Option<PauseCause>,
        at: DateTime<Utc>,
    },
    /// WhatsApp forbids these kinds of sends, beside what it has forbidden and not taken back.
    Restrict {
        restrictions: Vec<Restriction>,
        at: DateTime<Utc>,
    },
    /// A person's word: ends every pause, and restrictions of which WhatsApp has told no end.
    Resume {
        at: DateTime<Utc>,
    },
    /// What the gateway stopped it for is over; what a person or another cause stopped stays so. Where the cause is
    /// WhatsApp, what it has forbidden is over too.
    LiftPause {
        cause: PauseCause,
        at: DateTime<Utc>,
    },
    /// The time of a pause that ends by itself is over.
    EndPause {
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
    /// Waits for this person to write, in the place of whoever was waited for before.
    StartLoopTest {
        contact_id: ContactId,
        phone: PhoneNumber,
        at: DateTime<Utc>,
    },
    /// Somebody wrote to the number: on record where it is what the loop test waits for.
    ReceiveLoopTest {
        contact_id: ContactId,
        /// `None`: they hide it.
        phone: Option<PhoneNumber>,
        message_id: MessageId,
        /// Under which the answer is to go.
        answer_id: MessageId,
        /// By WhatsApp's clock.
        written_at: DateTime<Utc>,
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

    /// Whose phone the loop test names, and nobody once that is erased.
    fn subject(&self) -> Option<Uuid> {
        let test = self.loop_test.as_ref()?;
        test.phone.as_ref().and_then(Personal::known).map(|_| test.contact_id.0)
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
                on_business_app,
                at,
            } => {
                self.require_connected()?;
                let number = NumberFacts {
                    display_phone_number: display_phone_number
                        .or_else(|| self.display_phone_number.clone()),
                    verified_name: verified_name.or_else(|| self.verified_name.clone()),
                    granted_messages_per_second: granted_messages_per_second
                        .or(self.granted_messages_per_second),
                    on_business_app: on_business_app.unwrap_or(self.on_business_app),
                };
                let known = self.number();
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
                let authenticates = [Credential::AccessToken, Credential::AppSecret]
                    .iter()
                    .any(|kind| credentials.contains_key(kind));
                let mut events = vec![];
                if is_news {
                    events.push(AccountEvent::CredentialsRotated { credentials, at });
                }
                // The same token again may be what was missing: the key ring can lose what the log still names.
                if authenticates && self.pause_cause == Some(PauseCause::Credentials) {
                    events.push(self.pause_over(at));
                }
                Ok(events)
            }
            AccountCommand::Pause { reason, until, cause, at } => {
                self.require_connected()?;
                if reason.trim().is_empty() {
                    return Err(invalid("reason", "say why, for whoever reads the history"));
                }
                let is_known = self.status == AccountStatus::Paused
                    && self.status_reason.as_ref() == Some(&reason)
                    && self.paused_until == until
                    && self.pause_cause == cause;
                Ok(if is_known || self.lasts_as_long(cause, until) {
                    vec![]
                } else {
                    vec![AccountEvent::Paused { reason, until, cause, at }]
                })
            }
            AccountCommand::Resume { at } => {
                self.require_connected()?;
                let mut events = vec![];
                if self.status == AccountStatus::Paused {
                    events.push(AccountEvent::Resumed { at });
                }
                let with_end =
                    self.restrictions.iter().filter(|known| known.until.is_some()).copied();
                events.extend(self.restricted_to(with_end.collect(), at));
                Ok(events)
            }
            AccountCommand::Restrict { restrictions, at } => {
                self.require_connected()?;
                // A webhook that comes late, or is read again, may tell of one that is over.
                let mut all = restrictions;
                all.retain(|given| given.holds_at(at));
                if all.is_empty() {
                    return Ok(vec![]);
                }
                let named: BTreeSet<_> = all.iter().map(|given| given.sends).collect();
                let kept = self.restrictions.iter().filter(|known| !named.contains(&known.sends));
                all.extend(kept.filter(|known| known.holds_at(at)));
                all.sort_by_key(|restriction| restriction.sends);
                Ok(self.restricted_to(all, at).into_iter().collect())
            }
            AccountCommand::LiftPause { cause, at } => {
                self.require_connected()?;
                let mut events = vec![];
                if self.pause_cause == Some(cause) {
                    events.push(self.pause_over(at));
                }
                if cause == PauseCause::Whatsapp {
                    events.extend(self.restricted_to(vec![], at));
                }
                Ok(events)
            }
            AccountCommand::EndPause { at } => {
                self.require_connected()?;
                let is_over = self.status == AccountStatus::Paused
                    && self.paused_until.is_some_and(|until| until <= at);
                Ok(if is_over { vec![self.pause_over(at)] } else { vec![] })
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
            AccountCommand::StartLoopTest { contact_id, phone, at } => {
                self.require_connected()?;
                let expires_at = at + Duration::minutes(LOOP_TEST_MINUTES);
                let phone = phone.into();
                Ok(vec![AccountEvent::LoopTestStarted { contact_id, phone, expires_at, at }])
            }
            AccountCommand::ReceiveLoopTest {
                contact_id,
                phone,
                message_id,
                answer_id,
                written_at,
                at,
            } => {
                let is_met = self.status != AccountStatus::Disconnected
                    && self.loop_test.as_ref().is_some_and(|test| {
                        test.is_met_by(contact_id, phone.as_ref(), written_at, at)
                    });
                Ok(if is_met {
                    vec![AccountEvent::LoopTestReceived { message_id, answer_id, written_at, at }]
                } else {
                    vec![]
                })
            }
        }
    }
}

impl Account {
    /// What this number may send: the owner's word as given, else what WhatsApp grants. A number that is also used in the
    /// WhatsApp Business app has a fixed pace, whatever anybody says.
    pub fn messages_per_second(&self) -> u32 {
        let wanted = self
            .settings
            .messages_per_second
            .or(self.granted_messages_per_second)
            .unwrap_or(DEFAULT_MESSAGES_PER_SECOND);
        if self.on_business_app { wanted.min(BUSINESS_APP_MESSAGES_PER_SECOND) } else { wanted }
    }

    /// What WhatsApp forbids of content of this category (`None`: free-form) at `at`, the longest first.
    pub fn restricted(
        &self,
        category: Option<TemplateCategory>,
        at: DateTime<Utc>,
    ) -> Option<Restriction> {
        let holds = |known: &&Restriction| known.sends.covers(category) && known.holds_at(at);
        let longest = |known: &&Restriction| known.until.unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.restrictions.iter().filter(holds).max_by_key(longest).copied()
    }

    /// `None`: that is on record.
    fn restricted_to(
        &self,
        restrictions: Vec<Restriction>,
        at: DateTime<Utc>,
    ) -> Option<AccountEvent> {
        (self.restrictions != restrictions).then_some(AccountEvent::Restricted { restrictions, at })
    }

    fn number(&self) -> NumberFacts {
        NumberFacts {
            display_phone_number: self.display_phone_number.clone(),
            verified_name: self.verified_name.clone(),
            granted_messages_per_second: self.granted_messages_per_second,
            on_business_app: self.on_business_app,
        }
    }

    /// The gateway has stopped it for this already, and a pause until then would only end that sooner. Calls that are
    /// under way together are turned away each a moment later: that is one pause, not hundreds.
    fn lasts_as_long(&self, cause: Option<PauseCause>, until: Option<DateTime<Utc>>) -> bool {
        let same_moment = Duration::seconds(30);
        let is_same = self.status == AccountStatus::Paused && cause.is_some();
        is_same
            && self.pause_cause == cause
            && match (self.paused_until, until) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(known), Some(until)) => known + same_moment >= until,
            }
    }

    /// The gateway's own pause ends, and a person's that it covered shows again.
    fn pause_over(&self, at: DateTime<Utc>) -> AccountEvent {
        match &self.own_pause {
            Some(reason) => {
                AccountEvent::Paused { reason: reason.clone(), until: None, cause: None, at }
            }
            None => AccountEvent::Resumed { at },
        }
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
        number: Option<NumberFacts>,
        at: DateTime<Utc>,
    ) -> AccountEvent {
        let number = number.unwrap_or_else(|| self.number());
        AccountEvent::Updated {
            name: settings.name,
            portfolio_id: settings.portfolio_id,
            time_zone: settings.time_zone,
            default_region: settings.default_region,
            quiet_hours: settings.quiet_hours,
            messages_per_second: settings.messages_per_second,
            in_doubt_policy: settings.in_doubt_policy,
            display_phone_number: number.display_phone_number,
            verified_name: number.verified_name,
            granted_messages_per_second: number.granted_messages_per_second,
            on_business_app: number.on_business_app,
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
                on_business_app,
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
                self.on_business_app = on_business_app;
            }
            AccountEvent::CredentialsRotated { credentials, .. } => {
                self.credentials.extend(credentials)
            }
            AccountEvent::Paused { reason, until, cause, .. } => {
                self.status = AccountStatus::Paused;
                // Logs of before know no causes: a pause with an end was never a person's.
                if cause.is_none() && until.is_none() {
                    self.own_pause = Some(reason.clone());
                }
                self.status_reason = Some(reason);
                self.paused_until = until;
                self.pause_cause = cause;
            }
            AccountEvent::Restricted { restrictions, .. } => self.restrictions = restrictions,
            AccountEvent::Resumed { .. } => {
                self.status = AccountStatus::Connected;
                self.status_reason = None;
                self.paused_until = None;
                self.pause_cause = None;
                self.own_pause = None;
            }
            AccountEvent::Disconnected { reason, .. } => {
                self.status = AccountStatus::Disconnected;
                self.status_reason = Some(reason);
                self.paused_until = None;
                self.pause_cause = None;
                self.own_pause = None;
            }
            AccountEvent::QualityChanged { quality, .. } => self.quality = quality,
            AccountEvent::LimitChanged { limit, .. } => self.limit = Some(limit),
            AccountEvent::LoopTestStarted { contact_id, phone, expires_at, at } => {
                self.loop_test = Some(LoopTest {
                    contact_id,
                    phone: Some(phone),
                    started_at: at,
                    expires_at,
                    received: None,
                });
            }
            AccountEvent::LoopTestReceived { message_id, answer_id, written_at, .. } => {
                if let Some(test) = &mut self.loop_test {
                    test.received = Some(LoopTestReceipt { message_id, answer_id, written_at });
                }
            }
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
    if settings.quiet_hours.is_some_and(DailyHours::is_empty) {
        return Err(invalid(
            "quietHours",
            "from and to are the same; leave quiet hours out to have none",
        ));
    }
    if settings.messages_per_second.is_some_and(|n| !(1..=MAX_MESSAGES_PER_SECOND).contains(&n)) {
        return Err(invalid("messagesPerSecond", "use 1 to 1,000,000"));
    }
    if settings.portfolio_id.as_ref().is_some_and(|id| id.trim().is_empty() || id.len() > 64) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::RestrictedSends;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_305_600 + second, 0).unwrap()
    }

    fn token(fingerprint: &str) -> BTreeMap<Credential, CredentialRef> {
        let (name, fingerprint) = ("account/1/access_token".to_owned(), fingerprint.to_owned());
        BTreeMap::from([(Credential::AccessToken, CredentialRef { name, fingerprint })])
    }

    fn connected() -> Account {
        let settings = AccountSettings {
            name: "Support".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            default_region: "DE".to_owned(),
            ..AccountSettings::default()
        };
        let connect = ConnectAccount {
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            provider: AccountProvider::CloudApi,
            phone_number_id: "1".to_owned(),
            waba_id: "2".to_owned(),
            credentials: token("a"),
            settings,
            at: at(0),
        };
        after(Account::default(), [AccountCommand::Connect(Box::new(connect))])
    }

    fn after(mut account: Account, commands: impl IntoIterator<Item = AccountCommand>) -> Account {
        for command in commands {
            for event in account.decide(command).unwrap() {
                account.fold(event);
            }
        }
        account
    }

    fn restriction(sends: RestrictedSends, until: Option<i64>) -> Restriction {
        Restriction { sends, until: until.map(at) }
    }

    #[test]
    fn a_restriction_stops_what_it_names_until_its_end_and_nothing_else() {
        let restrict = |restrictions| AccountCommand::Restrict { restrictions, at: at(1) };
        let templates = restriction(RestrictedSends::Templates, Some(60));
        let account = after(connected(), [restrict(vec![templates])]);
        assert_eq!(account.status, AccountStatus::Connected);
        let marketing = Some(TemplateCategory::Marketing);
        assert_eq!(account.restricted(marketing, at(59)), Some(templates));
        assert_eq!(account.restricted(marketing, at(60)), None);
        assert_eq!(account.restricted(None, at(59)), None, "replies go on");
        assert_eq!(account.decide(restrict(vec![templates])), Ok(vec![]), "told again");
        let over = restriction(RestrictedSends::Replies, Some(1));
        assert_eq!(account.decide(restrict(vec![over])), Ok(vec![]), "over by now");

        // Another comes beside it; the same with another end takes its place.
        let utility = restriction(RestrictedSends::UtilityTemplates, None);
        let replies = restriction(RestrictedSends::Replies, Some(90));
        let later = restriction(RestrictedSends::Templates, Some(80));
        let account = after(account, [restrict(vec![utility, replies]), restrict(vec![later])]);
        assert_eq!(account.restricted(marketing, at(79)), Some(later));
        assert_eq!(account.restricted(Some(TemplateCategory::Utility), at(79)), Some(utility));
        assert_eq!(account.restricted(None, at(89)), Some(replies));

        // A person ends what nobody knows the end of, WhatsApp everything.
        let resumed = after(account.clone(), [AccountCommand::Resume { at: at(2) }]);
        assert_eq!(resumed.restrictions, [later, replies]);
        let lift = AccountCommand::LiftPause { cause: PauseCause::Whatsapp, at: at(2) };
        assert_eq!(after(account.clone(), [lift]).restrictions, []);
        let lift = AccountCommand::LiftPause { cause: PauseCause::Credentials, at: at(2) };
        assert_eq!(after(account.clone(), [lift]), account);
    }

    fn by_person() -> AccountCommand {
        let reason = "holidays".to_owned();
        AccountCommand::Pause { reason, until: None, cause: None, at: at(1) }
    }

    fn by(cause: PauseCause, until: Option<DateTime<Utc>>) -> AccountCommand {
        let reason = format!("{cause:?}");
        AccountCommand::Pause { reason, until, cause: Some(cause), at: at(2) }
    }

    fn lifted(cause: PauseCause) -> AccountCommand {
        AccountCommand::LiftPause { cause, at: at(3) }
    }

    fn rotated(fingerprint: &str) -> AccountCommand {
        AccountCommand::RotateCredentials { credentials: token(fingerprint), at: at(3) }
    }

    #[test]
    fn a_pause_of_the_gateways_own_is_lifted_for_its_own_cause_only() {
        use PauseCause::{Credentials, Whatsapp};
        let status = |commands: Vec<AccountCommand>| after(connected(), commands).status;
        assert_eq!(status(vec![by(Whatsapp, None), lifted(Whatsapp)]), AccountStatus::Connected);
        assert_eq!(status(vec![by(Credentials, None), lifted(Whatsapp)]), AccountStatus::Paused);
        assert_eq!(status(vec![by(Whatsapp, None), rotated("b")]), AccountStatus::Paused);
        assert_eq!(status(vec![lifted(Whatsapp)]), AccountStatus::Connected);
        assert!(connected().decide(lifted(Whatsapp)).unwrap().is_empty());
    }

    #[test]
    fn a_new_credential_ends_the_pause_for_want_of_one_even_if_it_is_the_old_one_again() {
        let paused = || after(connected(), [by(PauseCause::Credentials, None)]);
        assert_eq!(after(paused(), [rotated("b")]).status, AccountStatus::Connected);
        assert_eq!(after(paused(), [rotated("a")]).status, AccountStatus::Connected);
        let (name, fingerprint) = ("v".to_owned(), "v".to_owned());
        let verify =
            BTreeMap::from([(Credential::VerifyToken, CredentialRef { name, fingerprint })]);
        let other = AccountCommand::RotateCredentials { credentials: verify, at: at(3) };
        assert_eq!(after(paused(), [other]).status, AccountStatus::Paused);
    }

    #[test]
    fn what_a_person_paused_stays_so_until_a_person_resumes_it() {
        use PauseCause::{Credentials, Whatsapp};
        let end = AccountCommand::EndPause { at: at(60) };
        for gateways in [
            vec![lifted(Whatsapp)],
            vec![by(Whatsapp, None), lifted(Whatsapp)],
            vec![by(Whatsapp, Some(at(60))), end.clone()],
            vec![by(Credentials, None), by(Whatsapp, None), lifted(Whatsapp), rotated("b")],
        ] {
            let account = after(connected(), [vec![by_person()], gateways.clone()].concat());
            let shown = (account.status, account.status_reason.as_deref(), account.paused_until);
            assert_eq!(shown, (AccountStatus::Paused, Some("holidays"), None), "{gateways:?}");
            let account = after(account, [AccountCommand::Resume { at: at(70) }]);
            assert_eq!(account.status, AccountStatus::Connected);
            assert!(account.own_pause.is_none() && account.pause_cause.is_none());
        }
        // A person's word after the gateway's is a person's too.
        let account = after(connected(), [by(Whatsapp, None), by_person(), lifted(Whatsapp)]);
        assert_eq!(account.status, AccountStatus::Paused);
    }

    proptest! {
        /// In whatever order WhatsApp says it, the longest holds, and a person's pause shows again after it.
        #[test]
        fn the_longest_pause_of_one_cause_holds(
            ends in prop::collection::vec(prop::option::weighted(0.9, 1i64..1_000), 1..12),
            is_paused in any::<bool>(),
        ) {
            let until = |minutes: i64| at(minutes * 60);
            let pauses = ends.iter().map(|end| by(PauseCause::Whatsapp, end.map(until)));
            let account = after(connected(), is_paused.then(by_person).into_iter().chain(pauses));
            let longest = if ends.contains(&None) { None } else { ends.iter().copied().max().flatten() };
            prop_assert_eq!(account.paused_until, longest.map(until));
            let account = after(account, [lifted(PauseCause::Whatsapp)]);
            prop_assert_eq!(account.status == AccountStatus::Paused, is_paused);
        }
    }

    #[test]
    fn a_number_shared_with_the_business_app_has_its_fixed_pace_whatever_is_set() {
        let number = |on_business_app, granted| AccountCommand::RecordNumber {
            display_phone_number: None,
            verified_name: None,
            granted_messages_per_second: granted,
            on_business_app,
            at: at(1),
        };
        let mut account = after(connected(), [number(Some(true), Some(20))]);
        assert_eq!(account.messages_per_second(), 20);
        account.settings.messages_per_second = Some(80);
        assert_eq!(account.messages_per_second(), 20);
        account.settings.messages_per_second = Some(5);
        assert_eq!(account.messages_per_second(), 5);
        account.settings.messages_per_second = None;
        // Not told is no change, and the webhook of an upgrade does not tell.
        let account = after(account, [number(None, Some(1_000))]);
        assert_eq!(account.messages_per_second(), 20);
        let account = after(account, [number(Some(false), Some(1_000))]);
        assert_eq!(account.messages_per_second(), 1_000);
    }

    #[test]
    fn answers_of_the_same_moment_are_one_pause() {
        let account = after(connected(), [by(PauseCause::Whatsapp, Some(at(300)))]);
        let again = |second| account.decide(by(PauseCause::Whatsapp, Some(at(second)))).unwrap();
        assert_eq!((again(200).len(), again(330).len(), again(331).len()), (0, 0, 1));
    }

    #[test]
    fn a_pause_with_an_end_ends_then_and_not_before() {
        let paused = after(connected(), [by(PauseCause::Whatsapp, Some(at(60)))]);
        assert!(paused.decide(AccountCommand::EndPause { at: at(59) }).unwrap().is_empty());
        let ended = after(paused, [AccountCommand::EndPause { at: at(60) }]);
        assert_eq!((ended.status, ended.paused_until), (AccountStatus::Connected, None));
    }
}
