//! What holds a running campaign up as a whole.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::campaign::CampaignStatus;
use domain::primitives::AccountId;
use domain::template::{Template, TemplateStatus};

use crate::app::Gateway;
use crate::application::accounts;
use crate::application::caller::Caller;
use crate::application::error::AppResult;
use crate::application::view::{AccountView, CampaignView};

/// Why nobody of a running campaign can be sent to at the moment, in words; `None`: nothing stands in the way of all.
/// Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn waiting_for(
    gateway: &Gateway,
    caller: &Caller,
    campaign: &CampaignView,
) -> AppResult<Option<String>> {
    caller.require(Scope::Read)?;
    if campaign.status != CampaignStatus::Running {
        return Ok(None);
    }
    let account = gateway.bus.load::<Account>(campaign.account_id.0).await?;
    let template = gateway.bus.load::<Template>(campaign.template_id.0).await?;
    let (Some(account), Some(template)) = (account, template) else { return Ok(None) };
    let (account, template) = (account.aggregate, template.aggregate);
    let restricted = || of_restriction(&account, &template, gateway.clock.now());
    if let Some(what) = of_account(&account).or_else(restricted).or_else(|| of_template(&template))
    {
        return Ok(Some(what));
    }
    let Some(view) = AccountView::new(AccountId(campaign.account_id.0), &account) else {
        return Ok(None);
    };
    let reach = accounts::reach(gateway, caller, &view).await?;
    let Some(limit) = reach.limit.filter(|limit| reach.used >= u64::from(*limit)) else {
        return Ok(None);
    };
    let until = reach.room_at.map(|at| format!("; there is room again at {}", text(at)));
    Ok(Some(format!(
        "reach: {} of {limit} people in the last 24 h{}",
        reach.used,
        until.unwrap_or_default()
    )))
}

fn of_account(account: &Account) -> Option<String> {
    let what = match account.status {
        AccountStatus::Connected => return None,
        AccountStatus::Paused => "paused",
        AccountStatus::Disconnected => "disconnected",
    };
    let until = account.paused_until.map(|at| format!(" until {}", text(at)));
    let until = until.unwrap_or_default();
    let reason = account.status_reason.as_ref().map(|reason| format!(": {reason}"));
    Some(format!("the account is {what}{until}{}", reason.unwrap_or_default()))
}

/// WhatsApp forbids what the campaign sends; what else the account sends goes on.
fn of_restriction(account: &Account, template: &Template, now: DateTime<Utc>) -> Option<String> {
    let restriction = account.restricted(template.category, now)?;
    let until = restriction.until.map(|at| format!(" until {}", text(at)));
    let until = until.unwrap_or_else(|| " until it says otherwise".to_owned());
    Some(format!(
        "WhatsApp has restricted the account: it takes no {}{until}",
        restriction.sends.as_words()
    ))
}

/// What may go on; with any other status its recipients are left out instead.
fn of_template(template: &Template) -> Option<String> {
    let what = match template.status {
        TemplateStatus::Paused => "WhatsApp has paused the template",
        TemplateStatus::Pending => "WhatsApp is reviewing the template",
        _ => return None,
    };
    let reason = template.status_reason.as_ref().map(|reason| format!(": {reason}"));
    Some(format!("{what}{}", reason.unwrap_or_default()))
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
