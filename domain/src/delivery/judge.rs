//! May this message go now? Asked when it is planned and again when it falls due, with the facts of that moment.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::account::QuietHours;
use crate::campaign::instant_of;
use crate::contact::{ConsentStatus, Contact};
use crate::message::{ContentKind, SkipReason};
use crate::template::{TemplateCategory, TemplateStatus};

/// WhatsApp measures the service window itself, so ours closes a little early (Meta: 24 h from the person's last
/// message).
const WINDOW_MARGIN_S: i64 = 90;

/// For how many seconds a person is left alone after WhatsApp could not deliver to them (131026: no WhatsApp, terms not
/// accepted, an old app). It may work another day.
pub const UNREACHABLE_S: u32 = 24 * 3600;

/// What is known at the moment of judging.
#[derive(Clone, Debug)]
pub struct DeliveryFacts<'a> {
    pub now: DateTime<Utc>,
    pub contact: &'a Contact,
    pub content_kind: ContentKind,
    /// The template's category as it is now; `None` for free-form content.
    pub category: Option<TemplateCategory>,
    /// `None` for free-form content.
    pub template_status: Option<TemplateStatus>,
    /// Until when free-form messages may be sent: 24 h after the person last wrote to this number.
    pub window_until: Option<DateTime<Utc>>,
    /// WhatsApp asked to leave this person alone with marketing until then (131049).
    pub marketing_blocked_until: Option<DateTime<Utc>>,
    /// When WhatsApp could not deliver to this person (131026), if they have not written since.
    pub unreachable_since: Option<DateTime<Utc>>,
    /// Marketing waits for the end of these hours.
    pub quiet_hours: Option<(QuietHours, Tz)>,
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Send,
    Skip(SkipReason),
    /// Not now: `why` names what it waits for.
    Wait {
        until: Option<DateTime<Utc>>,
        why: &'static str,
    },
    /// Its time to live is over.
    Expire,
}

/// Judges one message.
pub fn judge(facts: &DeliveryFacts<'_>) -> Verdict {
    let contact = facts.contact;
    if contact.erased {
        return Verdict::Skip(SkipReason::Erased);
    }
    if facts.expires_at.is_some_and(|expires_at| facts.now >= expires_at) {
        return Verdict::Expire;
    }
    if contact.phone().is_none() && contact.portfolio_identities().is_empty() {
        return Verdict::Skip(SkipReason::NoIdentity);
    }
    if let Some(reason) = consent_problem(contact, facts.category) {
        return Verdict::Skip(reason);
    }
    let unreachable_for = chrono::Duration::seconds(i64::from(UNREACHABLE_S));
    if facts.unreachable_since.is_some_and(|since| facts.now < since + unreachable_for) {
        return Verdict::Skip(SkipReason::Unreachable);
    }
    match facts.template_status {
        None => {
            let is_open = facts.window_until.is_some_and(|until| {
                facts.now < until - chrono::Duration::seconds(WINDOW_MARGIN_S)
            });
            if !is_open {
                return Verdict::Skip(SkipReason::WindowClosed);
            }
        }
        Some(TemplateStatus::Approved) => {}
        // Both may end by themselves: WhatsApp unpauses, and finishes its review.
        Some(TemplateStatus::Paused) => {
            return Verdict::Wait { until: None, why: "the template is paused" };
        }
        Some(TemplateStatus::Pending) => {
            return Verdict::Wait { until: None, why: "the template is under review" };
        }
        Some(_) => return Verdict::Skip(SkipReason::TemplateNotApproved),
    }
    if facts.category == Some(TemplateCategory::Marketing) {
        if facts.marketing_blocked_until.is_some_and(|until| facts.now < until) {
            return Verdict::Skip(SkipReason::MarketingBlocked);
        }
        if let Some((hours, zone)) = facts.quiet_hours
            && let Some(until) = quiet_until(hours, zone, facts.now)
        {
            return Verdict::Wait { until: Some(until), why: "quiet hours" };
        }
    }
    Verdict::Send
}

/// MARKETING needs an opt-in; UTILITY and AUTHENTICATION need that there is no opt-out.
pub(super) fn consent_problem(
    contact: &Contact,
    category: Option<TemplateCategory>,
) -> Option<SkipReason> {
    if contact.consent.allows(category) {
        return None;
    }
    let status =
        category.map_or(contact.consent.status(), |category| contact.consent.status_for(category));
    Some(if status == ConsentStatus::OptedOut {
        SkipReason::OptedOut
    } else {
        SkipReason::NoConsent
    })
}

/// The end of the quiet hours that `now` lies in. `from` after `to` crosses midnight.
fn quiet_until(hours: QuietHours, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let local = now.with_timezone(&zone).naive_local();
    let time = local.time();
    let (from, to) = (hours.from, hours.to);
    let (is_quiet, end_day) = if from <= to {
        (time >= from && time < to, local.date())
    } else if time >= from {
        (true, local.date().succ_opt()?)
    } else {
        (time < to, local.date())
    };
    is_quiet.then(|| instant_of(end_day.and_time(to), zone)).filter(|end| *end > now)
}
