//! How an account is doing: what its checks last said, what was last heard of it, and how much of its reach is used.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Duration, Utc};
use domain::account::AccountStatus;
use domain::api_key::Scope;
use domain::primitives::AccountId;
use domain::template::Quality;
use uuid::Uuid;

use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::error::{AppError, AppResult};
use crate::application::read;
use crate::application::view::{AccountView, HealthCheck, Reach};
use crate::worker::onboarding;

/// Sends without a single status for so long mean that webhooks do not arrive.
const SILENCE: Duration = Duration::minutes(30);
/// What WhatsApp counts reach over, and how long a service window is open.
const DAY: Duration = Duration::hours(24);

/// People reached in the moving 24 h, over all numbers of the account's portfolio. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn reach(gateway: &Gateway, caller: &Caller, account: &AccountView) -> AppResult<Reach> {
    caller.require(Scope::Read)?;
    let now = gateway.clock.now();
    // Numbers of one portfolio share its reach, whichever workspace they are in.
    let numbers = match &account.portfolio_id {
        Some(portfolio) => of_portfolio(gateway, portfolio).await?,
        None => vec![account.id],
    };
    let mut reached: HashMap<Uuid, DateTime<Utc>> = HashMap::new();
    for number in numbers {
        let attempts = read::queries(gateway).recent_attempts(number.0, now - DAY).await?;
        let people: BTreeSet<Uuid> = attempts.iter().map(|(contact, _)| *contact).collect();
        let people: Vec<Uuid> = people.into_iter().collect();
        let heard = read::queries(gateway).windows(number.0, &people).await?;
        for (contact, at) in attempts {
            // An answer within the window reaches nobody new (Meta counts what is sent outside of it).
            let is_answer =
                heard.get(&contact).is_some_and(|heard| *heard <= at && at - *heard < DAY);
            if !is_answer {
                let latest = reached.entry(contact).or_insert(at);
                *latest = at.max(*latest);
            }
        }
    }
    let resets_at = reached.values().min().map(|first| *first + DAY);
    Ok(Reach { limit: account.reach_limit, used: reached.len() as u64, resets_at })
}

/// The numbers that share a portfolio's reach.
async fn of_portfolio(gateway: &Gateway, portfolio: &str) -> AppResult<Vec<AccountId>> {
    let mut numbers = vec![];
    let mut after = None;
    loop {
        let request = projections::PageRequest::after(projections::PAGE_MAX, after);
        let scope = projections::Scope::everything();
        let page = read::queries(gateway)
            .accounts(&scope, &projections::AccountFilter::default(), &request)
            .await?;
        let (end, has_next) = (page.end, page.has_next);
        let ours = page
            .into_items()
            .into_iter()
            .filter(|stored| stored.state.settings.portfolio_id.as_deref() == Some(portfolio));
        numbers.extend(ours.map(|stored| AccountId(stored.id)));
        if !has_next {
            return Ok(numbers);
        }
        after = end;
    }
}

/// One entry per check, the same ones in the same order for every account. Scope READ.
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
        remedy: (!has_reach).then(|| {
            "Nothing to do: what waits goes on as people leave the moving 24 h.".to_owned()
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
