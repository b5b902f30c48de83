//! Accounts.

use async_graphql::{
    ComplexObject, Context, ID, InputObject, MaybeUndefined, Object, SimpleObject,
};
use domain::port::AggregateType;

use super::connection::{AccountConnection, Counted, EventConnection, page_args};
use super::enums::{AccountProvider, AccountStatus, InDoubtAction, LoopTestState, QualityRating};
use super::events::history;
use super::messages::Message;
use super::scalars::{Instant, LocalTime, PhoneNumber, Place, TimeZone};
use super::session::{Answer, all, asked, change, int, replace};
use crate::application::view::{self, AccountView, Written};
use crate::application::{AppResult, accounts};

/// One WhatsApp business phone number.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Account {
    #[graphql(skip)]
    view: AccountView,
    /// Its id.
    id: ID,
    /// The workspace it belongs to.
    workspace_id: ID,
    /// What people call it.
    name: String,
    /// Where its messages go.
    provider: AccountProvider,
    /// Whether it sends.
    status: AccountStatus,
    /// Why it is paused or disconnected.
    status_reason: Option<String>,
    /// When a pause ends by itself.
    paused_until: Option<Instant>,
    /// The business's own number, once WhatsApp has told it.
    phone_number: Option<PhoneNumber>,
    /// WhatsApp's id of the number.
    phone_number_id: String,
    /// The WhatsApp Business Account it belongs to.
    waba_id: String,
    /// The business portfolio whose reach limit this number shares.
    portfolio_id: Option<String>,
    /// The name that people see, as WhatsApp verified it.
    verified_name: Option<String>,
    /// The zone of quiet hours, and of whoever has none.
    time_zone: TimeZone,
    /// ISO 3166 region for numbers in national form.
    default_region: String,
    /// When marketing waits.
    quiet_hours: Option<QuietHours>,
    /// Messages per second this number may send: a given value is used as given (1 to 1,000,000), else what WhatsApp grants.
    messages_per_second: i32,
    /// How WhatsApp rates the number.
    quality_rating: QualityRating,
    /// What happens to messages whose outcome WhatsApp never told.
    in_doubt_policy: InDoubtPolicy,
    /// The URL path to enter at Meta as this account's callback.
    webhook_path: String,
    /// When it was connected.
    connected_at: Instant,
}

impl From<AccountView> for Account {
    fn from(view: AccountView) -> Self {
        Self {
            id: view.id.0.into(),
            workspace_id: view.workspace_id.0.into(),
            name: view.name.clone(),
            provider: view.provider.into(),
            status: view.status.into(),
            status_reason: view.status_reason.clone(),
            paused_until: view.paused_until.map(Instant),
            phone_number: view.phone_number.clone().map(PhoneNumber),
            phone_number_id: view.phone_number_id.clone(),
            waba_id: view.waba_id.clone(),
            portfolio_id: view.portfolio_id.clone(),
            verified_name: view.verified_name.clone(),
            time_zone: TimeZone(view.time_zone.clone()),
            default_region: view.default_region.clone(),
            quiet_hours: view.quiet_hours.map(Into::into),
            messages_per_second: int(view.messages_per_second),
            quality_rating: view.quality_rating.into(),
            in_doubt_policy: view.in_doubt_policy.into(),
            webhook_path: view.webhook_path.clone(),
            connected_at: Instant(view.connected_at),
            view,
        }
    }
}

#[ComplexObject]
impl Account {
    /// How much of its daily reach is used.
    async fn reach(&self, ctx: &Context<'_>) -> Answer<Reach> {
        let (gateway, caller) = asked(ctx);
        let view::Reach { limit, used, resets_at, .. } =
            accounts::reach(gateway, caller, &self.view).await?;
        Ok(Reach { limit: limit.map(int), used: int(used), resets_at: resets_at.map(Instant) })
    }

    /// What was found when the account was last looked at.
    async fn health(&self, ctx: &Context<'_>) -> Answer<Vec<HealthCheck>> {
        let (gateway, caller) = asked(ctx);
        let checks = accounts::health(gateway, caller, &self.view).await?;
        Ok(checks.into_iter().map(HealthCheck::from).collect())
    }

    /// Where WhatsApp reaches the gateway: public_url and webhookPath together; null where no public_url is configured.
    async fn webhook_url(&self, ctx: &Context<'_>) -> Option<String> {
        accounts::webhook_url(asked(ctx).0, &self.view)
    }

    /// The last loop test, null where there was none.
    async fn loop_test(&self, ctx: &Context<'_>) -> Answer<Option<LoopTest>> {
        let (gateway, caller) = asked(ctx);
        Ok(accounts::loop_test(gateway, caller, &self.view).await?.map(Into::into))
    }

    /// Every fact about this account, in order.
    async fn history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<EventConnection> {
        history(ctx, AggregateType::Account, self.view.id.0, first, after).await
    }
}

/// Proves the whole way of a message: the owner writes from their own phone to the number (inbound), the gateway answers
/// (outbound, free inside the service window), WhatsApp reports the answer delivered (status).
#[derive(Clone, SimpleObject)]
pub struct LoopTest {
    /// When it was asked for.
    started_at: Instant,
    /// Ten minutes after the start; what has not happened by then failed.
    expires_at: Instant,
    /// How far it has come.
    state: LoopTestState,
    /// When the person wrote, by WhatsApp's clock.
    inbound_at: Option<Instant>,
    /// When WhatsApp took the answer.
    accepted_at: Option<Instant>,
    /// When the answer was on the phone.
    delivered_at: Option<Instant>,
    /// The answer that the gateway sent.
    message: Option<Message>,
}

impl From<view::LoopTestView> for LoopTest {
    fn from(view: view::LoopTestView) -> Self {
        Self {
            started_at: Instant(view.started_at),
            expires_at: Instant(view.expires_at),
            state: view.state.into(),
            inbound_at: view.inbound_at.map(Instant),
            accepted_at: view.accepted_at.map(Instant),
            delivered_at: view.delivered_at.map(Instant),
            message: view.message.map(Into::into),
        }
    }
}

/// Unique people reached outside a service window in the moving 24 h, over all numbers of the portfolio.
#[derive(Clone, Debug, SimpleObject)]
pub struct Reach {
    /// Null: unknown or unlimited, not enforced.
    limit: Option<i32>,
    /// People reached so far.
    used: i32,
    /// When the first of them leaves the window.
    resets_at: Option<Instant>,
}

/// What happens to a message whose outcome WhatsApp never told, after the grace period.
#[derive(Clone, Debug, SimpleObject)]
pub struct InDoubtPolicy {
    /// Marketing templates.
    marketing: InDoubtAction,
    /// Utility templates.
    utility: InDoubtAction,
    /// One-time codes.
    authentication: InDoubtAction,
    /// Free-form messages inside the service window.
    service: InDoubtAction,
    /// How long a status is waited for, in seconds, counted only while webhooks arrive.
    grace_seconds: i32,
}

impl From<domain::account::InDoubtPolicy> for InDoubtPolicy {
    fn from(policy: domain::account::InDoubtPolicy) -> Self {
        Self {
            marketing: policy.marketing.into(),
            utility: policy.utility.into(),
            authentication: policy.authentication.into(),
            service: policy.service.into(),
            grace_seconds: int(policy.grace_seconds),
        }
    }
}

/// Changes to the policy; what is left out stays.
#[derive(Debug, InputObject)]
pub struct InDoubtPolicyInput {
    /// Marketing templates.
    marketing: Option<InDoubtAction>,
    /// Utility templates.
    utility: Option<InDoubtAction>,
    /// One-time codes.
    authentication: Option<InDoubtAction>,
    /// Free-form messages inside the service window.
    service: Option<InDoubtAction>,
    /// How long a status is waited for, in seconds.
    grace_seconds: Option<i32>,
}

impl From<InDoubtPolicyInput> for accounts::InDoubtPolicyChange {
    fn from(input: InDoubtPolicyInput) -> Self {
        Self {
            marketing: input.marketing.map(Into::into),
            utility: input.utility.map(Into::into),
            authentication: input.authentication.map(Into::into),
            service: input.service.map(Into::into),
            grace_seconds: input.grace_seconds,
        }
    }
}

/// One look at an account's health.
#[derive(Clone, Debug, SimpleObject)]
pub struct HealthCheck {
    /// token, webhook, last_inbound, last_outbound, last_status, quality, reach, payment …
    check: String,
    /// Whether all is well.
    ok: bool,
    /// When that was seen.
    at: Option<Instant>,
    /// What was seen.
    detail: Option<String>,
    /// What to do about it.
    remedy: Option<String>,
}

impl From<view::HealthCheck> for HealthCheck {
    fn from(view: view::HealthCheck) -> Self {
        Self {
            check: view.check.to_owned(),
            ok: view.ok,
            at: view.at.map(Instant),
            detail: view.detail,
            remedy: view.remedy,
        }
    }
}

/// What WhatsApp says to a token.
#[derive(Clone, Debug, SimpleObject)]
pub struct CredentialProbe {
    /// Whether the token can be used as it is.
    ok: bool,
    /// The business accounts it opens.
    wabas: Vec<ProbedWaba>,
    /// What it is allowed.
    permissions: Vec<String>,
    /// When it expires; null: never.
    expires_at: Option<Instant>,
    /// What is wrong, each with what to do.
    problems: Vec<String>,
}

/// A WhatsApp Business Account that a token opens.
#[derive(Clone, Debug, SimpleObject)]
pub struct ProbedWaba {
    /// WhatsApp's id of it.
    id: String,
    /// Its name.
    name: Option<String>,
    /// Its numbers.
    numbers: Vec<ProbedNumber>,
}

/// A number that a token opens.
#[derive(Clone, Debug, SimpleObject)]
pub struct ProbedNumber {
    /// WhatsApp's id of it: the account's phoneNumberId.
    id: String,
    /// As people see it.
    display_phone_number: String,
    /// The name that people see.
    verified_name: Option<String>,
    /// How WhatsApp rates it.
    quality_rating: QualityRating,
}

impl From<accounts::CredentialProbe> for CredentialProbe {
    fn from(probe: accounts::CredentialProbe) -> Self {
        let number = |number: accounts::ProbedNumber| ProbedNumber {
            id: number.id,
            display_phone_number: number.display_phone_number,
            verified_name: number.verified_name,
            quality_rating: number.quality_rating.into(),
        };
        let wabas = probe.wabas.into_iter().map(|waba| ProbedWaba {
            id: waba.id,
            name: waba.name,
            numbers: waba.numbers.into_iter().map(number).collect(),
        });
        Self {
            ok: probe.ok,
            wabas: wabas.collect(),
            permissions: probe.permissions,
            expires_at: probe.expires_at.map(Instant),
            problems: probe.problems,
        }
    }
}

/// A part of the day, by the wall clock; it may go over midnight.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct QuietHours {
    /// When it begins.
    from: LocalTime,
    /// When it ends.
    to: LocalTime,
}

impl From<domain::account::QuietHours> for QuietHours {
    fn from(hours: domain::account::QuietHours) -> Self {
        Self { from: LocalTime(hours.from), to: LocalTime(hours.to) }
    }
}

/// A part of the day, by the wall clock; it may go over midnight.
#[derive(Clone, Copy, Debug, InputObject)]
pub struct QuietHoursInput {
    /// When it begins.
    from: LocalTime,
    /// When it ends.
    to: LocalTime,
}

impl From<QuietHoursInput> for domain::account::QuietHours {
    fn from(input: QuietHoursInput) -> Self {
        Self { from: input.from.0, to: input.to.0 }
    }
}

/// Which accounts; what is left out does not narrow.
#[derive(Debug, Default, InputObject)]
pub struct AccountFilter {
    /// Any of these.
    status: Option<Vec<AccountStatus>>,
    /// Any of these.
    provider: Option<Vec<AccountProvider>>,
    /// Part of the name or number.
    search: Option<String>,
}

impl From<AccountFilter> for accounts::AccountFilter {
    fn from(filter: AccountFilter) -> Self {
        Self { status: all(filter.status), provider: all(filter.provider), search: filter.search }
    }
}

/// A number to connect.
#[derive(InputObject)]
pub struct ConnectAccountInput {
    /// May be left out where the key has only one.
    workspace_id: Option<ID>,
    /// What people call it.
    name: String,
    /// Where its messages go.
    provider: AccountProvider,
    /// Required for CLOUD_API; made up for SANDBOX where absent.
    phone_number_id: Option<String>,
    /// The WhatsApp Business Account; as phoneNumberId.
    waba_id: Option<String>,
    /// The business portfolio, where several numbers share one.
    portfolio_id: Option<String>,
    /// The token that calls are made with; as phoneNumberId.
    access_token: Option<String>,
    /// The Meta app's secret, which webhooks are signed with; as phoneNumberId.
    app_secret: Option<String>,
    /// Made up where absent.
    verify_token: Option<String>,
    /// Two-step PIN, when the number has to be registered.
    pin: Option<String>,
    /// The zone of quiet hours, and of whoever has none.
    time_zone: TimeZone,
    /// ISO 3166 region for numbers in national form.
    default_region: Option<String>,
    /// When marketing waits.
    quiet_hours: Option<QuietHoursInput>,
    /// 1 to 1,000,000; what WhatsApp grants where absent.
    messages_per_second: Option<i32>,
    /// The same key with the same input answers the first result again.
    idempotency_key: Option<String>,
}

impl From<ConnectAccountInput> for accounts::ConnectAccount {
    fn from(input: ConnectAccountInput) -> Self {
        Self {
            workspace_id: input.workspace_id.map(|id| id.0),
            name: input.name,
            provider: input.provider.into(),
            phone_number_id: input.phone_number_id,
            waba_id: input.waba_id,
            portfolio_id: input.portfolio_id,
            access_token: input.access_token,
            app_secret: input.app_secret,
            verify_token: input.verify_token,
            pin: input.pin,
            time_zone: input.time_zone.0,
            default_region: input.default_region,
            quiet_hours: input.quiet_hours.map(Into::into),
            messages_per_second: input.messages_per_second,
            idempotency_key: input.idempotency_key,
        }
    }
}

/// Changes to an account: what is left out stays, null clears.
#[derive(InputObject)]
pub struct UpdateAccountInput {
    /// Which account.
    id: ID,
    /// What people call it.
    name: MaybeUndefined<String>,
    /// The business portfolio, where several numbers share one.
    portfolio_id: MaybeUndefined<String>,
    /// The zone of quiet hours, and of whoever has none.
    time_zone: MaybeUndefined<TimeZone>,
    /// ISO 3166 region for numbers in national form.
    default_region: MaybeUndefined<String>,
    /// When marketing waits.
    quiet_hours: MaybeUndefined<QuietHoursInput>,
    /// 1 to 1,000,000; null: what WhatsApp grants.
    messages_per_second: MaybeUndefined<i32>,
    /// What happens to messages whose outcome WhatsApp never told.
    in_doubt_policy: MaybeUndefined<InDoubtPolicyInput>,
    /// The sequence of the last event that the change is based on; CONFLICT where there is a newer one.
    expected_sequence: Option<i32>,
}

impl UpdateAccountInput {
    fn change(self) -> AppResult<accounts::UpdateAccount> {
        Ok(accounts::UpdateAccount {
            id: self.id.0,
            name: replace(self.name, "input.name")?,
            portfolio_id: change(self.portfolio_id, |id| id),
            time_zone: replace(self.time_zone, "input.timeZone")?.map(|zone| zone.0),
            default_region: replace(self.default_region, "input.defaultRegion")?,
            quiet_hours: change(self.quiet_hours, Into::into),
            messages_per_second: change(self.messages_per_second, |rate| rate),
            in_doubt_policy: replace(self.in_doubt_policy, "input.inDoubtPolicy")?.map(Into::into),
            expected_sequence: self.expected_sequence,
        })
    }
}

/// New credentials; what is left out stays.
#[derive(InputObject)]
pub struct RotateAccountCredentialsInput {
    /// Which account.
    id: ID,
    /// The token that calls are made with.
    access_token: Option<String>,
    /// The Meta app's secret, which webhooks are signed with.
    app_secret: Option<String>,
    /// What Meta's verification is answered for.
    verify_token: Option<String>,
}

/// What became of an account.
#[derive(SimpleObject)]
pub struct AccountPayload {
    /// The account as it is now.
    account: Account,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<AccountView>> for AccountPayload {
    fn from(written: Written<AccountView>) -> Self {
        Self { account: written.value.into(), position: Place(written.position) }
    }
}

#[derive(Default)]
pub(super) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// One account. Scope READ.
    async fn account(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "As it was known at that instant.")] as_of: Option<Instant>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<Account>> {
        let (gateway, caller) = asked(ctx);
        let (as_of, min_position) = (as_of.map(|at| at.0), min_position.map(|place| place.0));
        Ok(Some(accounts::get(gateway, caller, &id, as_of, min_position).await?.into()))
    }

    /// Accounts, oldest first. Scope READ.
    #[expect(clippy::too_many_arguments, reason = "a list takes these")]
    async fn accounts(
        &self,
        ctx: &Context<'_>,
        filter: Option<AccountFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<AccountConnection> {
        let (gateway, caller) = asked(ctx);
        let filter = accounts::AccountFilter::from(filter.unwrap_or_default());
        let args = page_args(first, after, last, before);
        let page = accounts::list(
            gateway,
            caller,
            filter.clone(),
            args,
            min_position.map(|place| place.0),
        )
        .await?;
        Ok(AccountConnection::new(page, Counted::Accounts(filter)))
    }
}

#[derive(Default)]
pub(super) struct AccountMutation;

#[Object]
impl AccountMutation {
    /// What WhatsApp says to a token before it is used: numbers, permissions, expiry, mistakes. Records nothing. Scope MANAGE.
    async fn probe_credentials(
        &self,
        ctx: &Context<'_>,
        access_token: String,
        app_secret: Option<String>,
    ) -> Answer<CredentialProbe> {
        let (gateway, caller) = asked(ctx);
        Ok(accounts::probe_credentials(gateway, caller, access_token, app_secret).await?.into())
    }

    /// Makes no call itself; health checks and the webhook subscription follow and show under `health`.
    /// Scope MANAGE, with a key that is not limited to accounts.
    async fn connect_account(
        &self,
        ctx: &Context<'_>,
        input: ConnectAccountInput,
    ) -> Answer<AccountPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(accounts::connect(gateway, caller, input.into()).await?.into())
    }

    /// Changes settings. Scope MANAGE.
    async fn update_account(
        &self,
        ctx: &Context<'_>,
        input: UpdateAccountInput,
    ) -> Answer<AccountPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(accounts::update(gateway, caller, input.change()?).await?.into())
    }

    /// Replaces credentials; the old ones are forgotten. Scope MANAGE.
    async fn rotate_account_credentials(
        &self,
        ctx: &Context<'_>,
        input: RotateAccountCredentialsInput,
    ) -> Answer<AccountPayload> {
        let (gateway, caller) = asked(ctx);
        let input = accounts::RotateCredentials {
            id: input.id.0,
            access_token: input.access_token,
            app_secret: input.app_secret,
            verify_token: input.verify_token,
        };
        Ok(accounts::rotate_credentials(gateway, caller, input).await?.into())
    }

    /// Stops sending; what is due waits. Scope MANAGE.
    async fn pause_account(
        &self,
        ctx: &Context<'_>,
        id: ID,
        reason: String,
    ) -> Answer<AccountPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(accounts::pause(gateway, caller, &id, reason).await?.into())
    }

    /// Sends again. Scope MANAGE.
    async fn resume_account(&self, ctx: &Context<'_>, id: ID) -> Answer<AccountPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(accounts::resume(gateway, caller, &id).await?.into())
    }

    /// Ends the account's use here and forgets its credentials; its history stays. Scope MANAGE.
    async fn disconnect_account(
        &self,
        ctx: &Context<'_>,
        id: ID,
        reason: String,
    ) -> Answer<AccountPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(accounts::disconnect(gateway, caller, &id, reason).await?.into())
    }

    /// Starts a loop test: whoever has this phone writes to the number within ten minutes. On a SANDBOX account the sandbox's
    /// phone writes by itself. Scope MANAGE.
    async fn test_account(
        &self,
        ctx: &Context<'_>,
        id: ID,
        phone: PhoneNumber,
    ) -> Answer<AccountPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(accounts::start_loop_test(gateway, caller, &id, &phone.0).await?.into())
    }
}
