//! Carries out what WhatsApp's word means beyond the message: accounts, templates and people. What holds a pair or the
//! pace is the lane's own.

use domain::account::{
    Account, AccountCommand, AccountError, AccountStatus, Credential, PauseCause,
};
use domain::contact::{Contact, ContactCommand};
use domain::primitives::{AccountId, ContactId, MessageId, TemplateId};
use domain::template::{Template, TemplateCategory, TemplateCommand, TemplateStatus};
use infrastructure::ledger::{CommandError, Context};
use tracing::warn;
use uuid::Uuid;

use super::outcome::Effect;
use crate::app::Gateway;
use crate::worker::{all_accounts, webhook};

/// Whom an effect touches.
#[derive(Clone, Copy, Debug)]
pub struct EffectTarget {
    pub account_id: AccountId,
    pub contact_id: Option<ContactId>,
    pub template_id: Option<TemplateId>,
    /// The message that WhatsApp's word was about.
    pub message_id: Option<MessageId>,
}

/// Applies the lasting effects, also those that hold a number for a while: whoever sends for it may be another node. A
/// failure is logged and the effect comes again with the next answer of its kind.
pub async fn apply(gateway: &Gateway, effects: &[Effect], target: EffectTarget, context: &Context) {
    for effect in effects {
        if let Err(error) = apply_one(gateway, effect, target, context).await {
            warn!(account.id = %target.account_id, %error, "an effect of WhatsApp's answer could not be recorded");
        }
    }
}

async fn apply_one(
    gateway: &Gateway,
    effect: &Effect,
    target: EffectTarget,
    context: &Context,
) -> anyhow::Result<()> {
    let at = gateway.clock.now();
    match effect {
        // Only the lane that sends for the number can count pairs; the message itself waits by its own record.
        Effect::HoldPair { .. } => {}
        Effect::HoldNumber { until } => {
            let reason = "WhatsApp asks this number to slow down".to_owned();
            let (until, cause) = (Some(*until), Some(PauseCause::Whatsapp));
            let command = AccountCommand::Pause { reason, until, cause, at };
            gateway.bus.execute::<Account>(target.account_id.0, command, context).await?;
        }
        Effect::PauseAccount { reason, until, cause } => {
            let (reason, until, cause) = (reason.clone(), *until, Some(*cause));
            let command = AccountCommand::Pause { reason, until, cause, at };
            gateway.bus.execute::<Account>(target.account_id.0, command, context).await?;
        }
        Effect::PauseWaba { reason, until } => {
            let Some(account) = gateway.bus.load::<Account>(target.account_id.0).await? else {
                return Ok(());
            };
            let queries = gateway.read.queries();
            let accounts = queries.accounts_by_waba(&account.aggregate.waba_id).await?;
            let accounts = accounts.into_iter().map(|stored| (stored.id, stored.state));
            let (reason, until, cause) = (reason.clone(), *until, Some(PauseCause::Whatsapp));
            let command = AccountCommand::Pause { reason, until, cause, at };
            pause_all(gateway, target.account_id, accounts, &command, context).await?;
        }
        Effect::PauseApp { reason, until } => {
            let Some(account) = gateway.bus.load::<Account>(target.account_id.0).await? else {
                return Ok(());
            };
            // The app's secret is what its accounts have in common.
            let secret = |account: &Account| {
                let secret = account.credentials.get(&Credential::AppSecret);
                secret.map(|secret| secret.fingerprint.clone())
            };
            let ours = secret(&account.aggregate);
            let accounts = all_accounts(gateway).await?.into_iter();
            let accounts = accounts
                .filter(|(id, other)| {
                    *id == target.account_id || ours.is_some() && secret(other) == ours
                })
                .map(|(id, account)| (id.0, account));
            let (reason, until, cause) = (reason.clone(), *until, Some(PauseCause::Whatsapp));
            let command = AccountCommand::Pause { reason, until, cause, at };
            pause_all(gateway, target.account_id, accounts, &command, context).await?;
        }
        Effect::StopTemplate { reason, for_good } => {
            let Some(template_id) = target.template_id else { return Ok(()) };
            let status = if *for_good { TemplateStatus::Disabled } else { TemplateStatus::Paused };
            let command =
                TemplateCommand::RecordVerdict { status, reason: Some(reason.clone()), at };
            gateway.bus.execute::<Template>(template_id.0, command, context).await?;
        }
        Effect::OptOutOfMarketing { source } => {
            let Some(contact_id) = target.contact_id else { return Ok(()) };
            let command = ContactCommand::OptOut {
                category: Some(TemplateCategory::Marketing),
                source: source.clone(),
                evidence: None,
                at,
            };
            let done = gateway.bus.execute::<Contact>(contact_id.0, command, context).await?;
            if done.events > 0 {
                webhook::stop_showed_in_refusal(
                    gateway,
                    target.account_id,
                    contact_id,
                    target.message_id,
                )
                .await?;
            }
        }
    }
    Ok(())
}

/// Paused ones too: whichever pause lasts longer holds. The read model may be behind, so the account that heard of it is
/// paused whatever that says.
async fn pause_all(
    gateway: &Gateway,
    heard_by: AccountId,
    accounts: impl Iterator<Item = (Uuid, Account)>,
    command: &AccountCommand,
    context: &Context,
) -> anyhow::Result<()> {
    let connected = accounts.filter(|(_, account)| account.status != AccountStatus::Disconnected);
    let others = connected.map(|(id, _)| id).filter(|id| *id != heard_by.0);
    for id in std::iter::once(heard_by.0).chain(others) {
        match gateway.bus.execute::<Account>(id, command.clone(), context).await {
            Ok(_) | Err(CommandError::Domain(AccountError::Disconnected)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
