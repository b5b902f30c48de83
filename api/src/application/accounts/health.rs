//! How an account is doing: what its checks last said, what was last heard of it, and how much of its reach is used.

use chrono::{DateTime, Duration, Utc};
use domain::account::{Account, AccountStatus, Restriction};
use domain::api_key::Scope;
use domain::delivery::{Reach as Count, limit_of};
use domain::primitives::AccountId;
use domain::template::Quality;

use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::error::{AppError, AppResult};
use crate::application::read;
use crate::application::view::{AccountView, HealthCheck, Reach};
use crate::worker::dispatch::reached;
use crate::worker::{all_accounts, onboarding};

/// Sends without a single status for so long mean that webhooks do not arrive.
const SILENCE: Duration = Duration::minutes(30);

/// People reached in the moving 24 h, over all numbers of the account's portfolio. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn reach(gateway: &Gateway, caller: &Caller, account: &AccountView) -> AppResult<Reach> {
    caller.require(Scope::Read)?;
    let now = gateway.clock.now();
    // Numbers of one portfolio share its reach, whichever workspace they are in.
    let (numbers, limit) = match &account.portfolio_id {
        Some(portfolio) => of_portfolio(gateway, portfolio).await?,
        None => (vec![account.id], account.reach_limit),
    };
    let intents = reached(gateway, numbers, now).await?;
    let count = Count::rebuilt(limit.unwrap_or(u32::MAX), intents, now);
    Ok(Reach {
        limit,
        used: count.used(now) as u64,
        resets_at: count.resets_at(now),
        room_at: count.room_at(now),
    })
}

/// The numbers that share a portfolio's reach, and how many people they may reach.
async fn of_portfolio(
    gateway: &Gateway,
    portfolio: &str,
) -> AppResult<(Vec<AccountId>, Option<u32>)> {
    let is_of = |account: &Account| account.settings.portfolio_id.as_deref() == Some(portfolio);
    let accounts = all_accounts(gateway).await?.into_iter();
    let (numbers, accounts): (Vec<AccountId>, Vec<Account>) =
        accounts.filter(|(_, account)| is_of(account)).unzip();
    Ok((numbers, limit_of(&accounts)))
}

/// One entry per check, in the same order for every account; one of restrictions only where WhatsApp has imposed any. Scope
/// READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn health(
    gateway: &Gateway,
    caller: &Caller,
    account: &AccountView,
) -> AppResult<Vec<HealthCheck>> {
    caller.require(Scope::Read)?;
    let now = gateway.clock.now();
    let stored = onboarding::stored_checks(gateway, account.id).await;
    let mut stored =
        stored.map_err(|error| AppError::unavailable(std::io::Error::other(error.to_string())))?;
    let mut checks = vec![];
    for check in ["token", "webhook", "registration"] {
        match stored.remove(check) {
            Some(known) => checks.push(HealthCheck {
                check,
                ok: known.ok,
                at: Some(known.at),
                detail: known.detail,
                remedy: known.remedy,
            }),
            // Only numbers that have to be registered have this one.
            None if check == "registration" => {}
            None => checks.push(HealthCheck {
                check,
                ok: false,
                at: None,
                detail: Some("not checked yet".to_owned()),
                remedy: Some("Wait a moment: the gateway asks WhatsApp by itself.".to_owned()),
            }),
        }
    }
    let mut activity = read::queries(gateway).account_activity(&[account.id.0]).await?;
    let activity = activity.remove(&account.id.0).unwrap_or_default();
    checks.push(told("last_inbound", activity.last_inbound_at));
    checks.push(told("last_outbound", activity.last_outbound_at));
    let is_silent = activity.last_outbound_at.is_some_and(|sent| {
        now - sent > SILENCE && activity.last_status_at.is_none_or(|heard| heard < sent)
    });
    checks.push(HealthCheck {
        ok: !is_silent,
        remedy: is_silent.then(|| {
            format!(
                "Nothing was heard of the last messages: check that Meta's callback for this app is {} and that its \
                 webhook fields include messages.",
                account.webhook_path
            )
        }),
        ..told("last_status", activity.last_status_at)
    });
    let quality_is_well = account.quality_rating != Quality::Red;
    checks.push(HealthCheck {
        check: "quality",
        ok: quality_is_well,
        at: None,
        detail: Some(format!("{:?}", account.quality_rating).to_uppercase()),
        remedy: (!quality_is_well).then(|| {
            "People block or report this number: send less marketing, and only to those who asked for it.".to_owned()
        }),
    });
    let reach = reach(gateway, caller, account).await?;
    let has_reach = reach.limit.is_none_or(|limit| reach.used < u64::from(limit));
    checks.push(HealthCheck {
        check: "reach",
        ok: has_reach,
        at: None,
        detail: Some(match reach.limit {
            Some(limit) => format!("{} of {limit} people in the last 24 h", reach.used),
            None => format!("{} people in the last 24 h; WhatsApp names no limit", reach.used),
        }),
        remedy: (!has_reach).then(|| match reach.room_at {
            Some(at) => format!(
                "Nothing to do: what waits goes on as people leave the moving 24 h, the next at {}. Replies within \
                 service windows, and messages to people reached today, go on meanwhile.",
                at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            ),
            None => "WhatsApp lets this portfolio start no conversation: see Meta's business manager for why.".to_owned(),
        }),
    });
    if let Some(known) = stored.remove("payment") {
        checks.push(HealthCheck {
            check: "payment",
            ok: known.ok,
            at: Some(known.at),
            detail: known.detail,
            remedy: known.remedy,
        });
    }
    let held: Vec<_> = account.restrictions.iter().filter(|known| known.holds_at(now)).collect();
    if !held.is_empty() {
        let text = |known: &&Restriction| {
            let until = known.until.map_or_else(
                || "until WhatsApp says otherwise".to_owned(),
                |at| format!("until {}", at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
            );
            format!("WhatsApp takes no {} {until}", known.sends.as_words())
        };
        let has_end = held.iter().all(|known| known.until.is_some());
        let remedy = if has_end {
            "What waits goes on by itself then; see Meta's business manager for why, and ask for a review there."
        } else {
            "See Meta's business manager for why, and ask for a review there; once it is over, resume the account."
        };
        checks.push(HealthCheck {
            check: "restrictions",
            ok: false,
            at: None,
            detail: Some(held.iter().map(text).collect::<Vec<_>>().join("; ")),
            remedy: Some(remedy.to_owned()),
        });
    }
    let goes = account.status == AccountStatus::Connected;
    checks.push(HealthCheck {
        check: "sending",
        ok: goes,
        at: None,
        detail: account.status_reason.clone().or_else(|| Some(account.status.as_str().to_owned())),
        remedy: match account.status {
            AccountStatus::Connected => None,
            AccountStatus::Paused => Some(match account.paused_until {
                Some(until) => format!("It goes on by itself at {until}, or resume it."),
                None => "Put right what the reason says, then resume the account.".to_owned(),
            }),
            AccountStatus::Disconnected => Some("Connect the number again.".to_owned()),
        },
    });
    Ok(checks)
}

fn told(check: &'static str, at: Option<DateTime<Utc>>) -> HealthCheck {
    let detail = at.is_none().then(|| "nothing yet".to_owned());
    HealthCheck { check, ok: true, at, detail, remedy: None }
}
