//! What a campaign would do, told beforehand: by the same code as the run, on a clock that is moved, without a trace.

mod book;
mod gather;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;
use domain::account::Account;
use domain::api_key::Scope;
use domain::campaign::Audience;
use domain::contact::Contact;
use domain::delivery::forecast::{Forecast, SAMPLE_MAX, SampleMessage, Stage};
use domain::delivery::{Planning, plan_recipient};
use domain::message::Message;
use domain::port::Position;
use domain::pricing::{Amount, Cost, RateCard, cost};
use domain::primitives::{CampaignId, ContactId, Personal};
use domain::segment::Segment;
use domain::template::Template;
use infrastructure::phone::zone_of;
use uuid::Uuid;

use super::living;
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::error::{AppError, AppResult};
use crate::application::view::Show;
use crate::application::{command, page, segments};

use book::{Made, Reuse};

pub(crate) use book::Forecasts;

/// Rates that a refusal names one by one.
const RATES_NAMED: usize = 5;

/// A forecast, and when it was made.
#[derive(Clone, Debug)]
pub struct CampaignForecast {
    pub campaign_id: CampaignId,
    /// What was known then.
    pub as_of: DateTime<Utc>,
    pub forecast: Arc<Forecast>,
    /// `None`: nothing is sent, or nothing is known of its currency.
    pub cost: Option<Cost>,
    /// What its owner may want to know before it starts, in words.
    pub warnings: Vec<String>,
}

/// One message of a forecast.
#[derive(Clone, Debug)]
pub struct ForecastMessage {
    pub contact_id: ContactId,
    pub send_at: DateTime<Utc>,
    pub local_time: NaiveDateTime,
    pub zone: Tz,
    pub preview: String,
}

/// What launching the campaign now would do; of one that runs or is paused, what is left of it. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED where launching it would be refused for its schedule, or because nobody would be
/// sent to; CONFLICT where its audience names a segment that was deleted; UNAVAILABLE while a large one is still being made:
/// ask again.
pub async fn forecast(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    id: &str,
) -> AppResult<CampaignForecast> {
    caller.require(Scope::Read)?;
    let (id, loaded) = living(gateway, caller, id).await?;
    let made = ask(gateway, id, loaded.sequence).await?;
    Ok(CampaignForecast {
        campaign_id: id,
        as_of: made.as_of,
        cost: cost(&made.card, made.forecast.bills.iter().map(|(bill, count)| (bill, *count))),
        forecast: made.forecast.clone(),
        warnings: made.warnings.clone(),
    })
}

async fn ask(gateway: &Arc<Gateway>, id: CampaignId, sequence: u64) -> AppResult<Arc<Made>> {
    gateway.local.forecasts.ask(gateway, id, Reuse::Current { sequence }).await
}

/// When a running campaign's last message leaves, as far as it is known at once. An estimate: a few seconds old.
pub(super) async fn end_of(gateway: &Arc<Gateway>, id: CampaignId) -> Option<DateTime<Utc>> {
    let made = gateway.local.forecasts.ask(gateway, id, Reuse::Lately).await.ok()?;
    made.forecast.last_send_at
}

/// Some of its messages, in the order of sending. What they say is masked for whoever may not see it.
///
/// # Errors
/// FORBIDDEN where the audience names a segment about attributes and the caller may not see those; VALIDATION_FAILED for
/// `first`; UNAVAILABLE.
pub async fn sample(
    gateway: &Gateway,
    caller: &Caller,
    made: &CampaignForecast,
    first: Option<i32>,
) -> AppResult<Vec<ForecastMessage>> {
    let first = page::limit(first, "first")?;
    if first > SAMPLE_MAX {
        return Err(AppError::invalid("first", format!("use 0 to {SAMPLE_MAX}")));
    }
    let chosen = &made.forecast.sample[..made.forecast.sample.len().min(first)];
    if chosen.is_empty() {
        return Ok(vec![]);
    }
    let show = Show::to(caller);
    let (id, loaded) = living(gateway, caller, &made.campaign_id.to_string()).await?;
    let stage = Stage::of(&loaded.aggregate, made.as_of);
    let campaign = match stage.map_err(|error| AppError::domain(error, ""))? {
        Stage::ToStart { campaign, .. } | Stage::UnderWay { campaign } => campaign,
        Stage::Over => return Ok(vec![]),
    };
    let not_found = || AppError::not_found("campaign");
    may_be_named(gateway, caller, &campaign.plan.as_ref().ok_or_else(not_found)?.audience).await?;
    let account_id = campaign.account_id.ok_or_else(not_found)?;
    let account = command::folded::<Account>(gateway, account_id.0, "account").await?;
    let template_id = campaign.plan.as_ref().ok_or_else(not_found)?.template_id;
    let template = command::folded::<Template>(gateway, template_id.0, "template").await?;
    let components = template.parsed().map_err(AppError::internal)?;
    let planning = Planning {
        campaign_id: id,
        campaign: &campaign,
        account_id,
        account: &account,
        template: &template,
        components: &components,
        number_zone: zone_of,
    };
    let people: Vec<Uuid> = chosen.iter().map(|message| message.contact_id.0).collect();
    let people = gateway.bus.load_many::<Contact>(&people).await?;
    let planned: Vec<_> = chosen
        .iter()
        .filter_map(|message| {
            let contact = &people.get(&message.contact_id.0)?.aggregate;
            Some((message, plan_recipient(&planning, contact, 0, made.as_of)?))
        })
        .collect();
    // What was planned already says what was frozen.
    let ids: Vec<Uuid> = planned.iter().map(|(_, planned)| planned.message_id.0).collect();
    let frozen = gateway.bus.load_many::<Message>(&ids).await?;
    let shown = planned.into_iter().filter_map(|(message, planned)| {
        let SampleMessage { contact_id, send_at, zone } = *message;
        let frozen = frozen.get(&planned.message_id.0).map(|loaded| &loaded.aggregate);
        let content = match frozen {
            Some(frozen) => frozen.content.as_ref().and_then(Personal::known)?.preview(),
            None => planned.plan.content.preview(),
        };
        let local_time = send_at.with_timezone(&zone).naive_local();
        Some(ForecastMessage {
            contact_id,
            send_at,
            local_time,
            zone,
            preview: show.text(&content),
        })
    });
    Ok(shown.collect())
}

/// Whether the caller may learn who is in an audience: of a segment about attributes that tells what they are.
async fn may_be_named(gateway: &Gateway, caller: &Caller, audience: &Audience) -> AppResult<()> {
    let mut ids = vec![];
    let mut part = Some(audience);
    while let Some(audience) = part {
        ids.extend(audience.segment_ids.iter().map(|id| id.0));
        part = audience.exclude.as_deref();
    }
    for loaded in gateway.bus.load_many::<Segment>(&ids).await?.values() {
        segments::may_be_asked(caller, &loaded.aggregate)?;
    }
    Ok(())
}

/// Refuses a launch that would cost more than `max`, or nobody knows how much. By the forecast of this moment; answers how
/// many people it is of.
///
/// # Errors
/// CONFLICT; what [`forecast`] answers.
pub(super) async fn check_cost(
    gateway: &Arc<Gateway>,
    id: CampaignId,
    sequence: u64,
    max: Amount,
) -> AppResult<u64> {
    let made = ask(gateway, id, sequence).await?;
    let message = match beyond(&made, max) {
        None => return Ok(made.forecast.recipients),
        Some(Beyond::Unknown { missing }) => format!(
            "what it costs is not known, so nothing was sent: the rate card has no rate for {missing}; add it with \
             setRateCard, or leave maxCost out"
        ),
        Some(Beyond::More { amount }) => format!(
            "it would cost {amount} and not {max} at most, so nothing was sent; raise maxCost or narrow the audience"
        ),
        Some(Beyond::Currencies) => {
            "what it costs cannot be compared with maxCost, so nothing was sent: the rates are of several currencies"
                .to_owned()
        }
    };
    Err(AppError::conflict(message))
}

/// Why an occurrence that has just started at `position` is held for what it costs, in words.
///
/// # Errors
/// UNAVAILABLE while that is still being added up: ask again.
pub(super) async fn held_for_cost(
    gateway: &Arc<Gateway>,
    id: CampaignId,
    (sequence, position): (u64, Position),
    max: Amount,
) -> AppResult<Option<(u64, String)>> {
    let made =
        gateway.local.forecasts.ask(gateway, id, Reuse::Since { sequence, position }).await?;
    let Some(beyond) = beyond(&made, max) else { return Ok(None) };
    let what = match beyond {
        Beyond::Unknown { missing } => {
            format!("what it costs is not known, the rate card has no rate for {missing}")
        }
        Beyond::More { amount } => format!("it would cost {amount}"),
        Beyond::Currencies => {
            "what it costs is not known, the rates are of several currencies".to_owned()
        }
    };
    let reason = format!("{what}; the limit given at launch is {max}");
    Ok(Some((made.forecast.recipients, reason)))
}

/// Why a cost does not keep to a limit.
enum Beyond {
    Unknown {
        missing: String,
    },
    /// With its currency.
    More {
        amount: String,
    },
    Currencies,
}

fn beyond(made: &Made, max: Amount) -> Option<Beyond> {
    let missing = missing_rates(&made.card, &made.forecast);
    if !missing.is_empty() {
        return Some(Beyond::Unknown { missing });
    }
    let bills = made.forecast.bills.iter().map(|(bill, count)| (bill, *count));
    match cost(&made.card, bills)? {
        Cost { amount: Some(amount), .. } if amount <= max => None,
        Cost { amount: Some(amount), currency, .. } => {
            let currency = currency.map(|currency| format!(" {}", currency.as_str()));
            Some(Beyond::More { amount: format!("{amount}{}", currency.unwrap_or_default()) })
        }
        Cost { amount: None, .. } => Some(Beyond::Currencies),
    }
}

/// `MARKETING in DE, MARKETING in FR and 3 more`; empty where nothing is missing.
fn missing_rates(card: &RateCard, forecast: &Forecast) -> String {
    let missing: BTreeSet<String> = forecast
        .bills
        .keys()
        .filter(|bill| bill.billable)
        .filter(|bill| {
            let known = bill.country.zip(bill.category);
            known.and_then(|(country, category)| card.price(country, category, bill.day)).is_none()
        })
        .map(|bill| {
            let category = bill.category.map_or("OTHER", |category| category.as_str());
            match bill.country {
                Some(country) => format!("{category} in {country}"),
                None => format!("{category} to numbers of no known country"),
            }
        })
        .collect();
    let named: Vec<&str> = missing.iter().take(RATES_NAMED).map(String::as_str).collect();
    let more = missing.len().saturating_sub(named.len());
    let named = named.join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}
