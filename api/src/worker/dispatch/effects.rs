//! Carries out what WhatsApp's word means beyond the message: accounts, templates and people. What holds a pair or the
//! pace is the lane's own.

use domain::account::{Account, AccountCommand, AccountStatus, PauseCause};
use domain::contact::{Contact, ContactCommand};
use domain::primitives::{AccountId, ContactId, TemplateId};
use domain::template::{Template, TemplateCategory, TemplateCommand, TemplateStatus};
use infrastructure::ledger::Context;
use tracing::warn;

use super::outcome::Effect;
use crate::app::Gateway;

/// Whom an effect touches.
#[derive(Clone, Copy, Debug)]
pub struct EffectTarget {
    pub account_id: AccountId,
    pub contact_id: Option<ContactId>,
    pub template_id: Option<TemplateId>,
}

/// Applies the lasting effects. A failure is logged and the effect comes again with the next answer of its kind.
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
        Effect::HoldPair { .. } | Effect::HoldNumber { .. } => {}
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
            for other in queries.accounts_by_waba(&account.aggregate.waba_id).await? {
                if other.state.status == AccountStatus::Connected {
                    let command = AccountCommand::Pause {
                        reason: reason.clone(),
                        until: *until,
                        cause: Some(PauseCause::Whatsapp),
                        at,
                    };
                    gateway.bus.execute::<Account>(other.id, command, context).await?;
                }
            }
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
            gateway.bus.execute::<Contact>(contact_id.0, command, context).await?;
        }
    }
    Ok(())
}
