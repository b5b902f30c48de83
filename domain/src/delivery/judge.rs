//! May this message go now? Asked when it is planned and again when it falls due, with the facts of that moment.

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;

use super::hours::SendingHours;
use crate::contact::{ConsentStatus, Contact};
use crate::message::{ContentKind, SkipReason};
use crate::template::{TemplateCategory, TemplateStatus};

/// Meta: the customer service window ends 24 h after the person last wrote to the number.
pub const SERVICE_WINDOW: Duration = Duration::hours(24);
/// WhatsApp measures the service window itself, so ours closes a little early (Meta: 24 h from the person's last
/// message).
const WINDOW_MARGIN_S: i64 = 90;

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
    /// WhatsApp delivers no marketing to this person at all (numbers of the United States).
    pub takes_no_marketing: bool,
    /// One more marketing message would be more than the campaign's frequency cap allows this person.
    pub is_capped: bool,
    /// WhatsApp could not reach this person, or they want nothing from us, until then (131026, 130403). Having written to
    /// us since, they can be reached.
    pub unreachable_until: Option<DateTime<Utc>>,
    /// The recipient's zone, which the hours are read in.
    pub zone: Tz,
    /// The campaign's window and the account's quiet hours; only marketing keeps the latter.
    pub hours: SendingHours,
    pub expires_at: Option<DateTime<Utc>>,
}

impl DeliveryFacts<'_> {
    /// The person wrote lately, so that anything may be sent, and what is sent reaches nobody new.
    pub fn window_is_open(&self) -> bool {
        self.window_until.is_some_and(|until| is_window_open(until, self.now))
    }
}

/// The end of the customer service window of a person who last wrote at this time, as WhatsApp counts.
pub fn window_until(written_at: DateTime<Utc>) -> DateTime<Utc> {
    written_at + SERVICE_WINDOW
}

/// Whether a free-form message is still let out in a window with this end.
pub fn is_window_open(until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now < until - Duration::seconds(WINDOW_MARGIN_S)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Send,
    Skip(SkipReason),
    /// Not now. `until` is `None` where nobody knows.
    Wait {
        until: Option<DateTime<Utc>>,
        why: WaitFor,
    },
    /// Its time to live is over.
    Expire,
}

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// WhatsApp paused it, or still reviews it.
    Template,
    /// The end of the account's quiet hours.
    QuietHours,
    /// The campaign's send window.
    SendWindow,
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
    if let Some(reason) = person_problem(contact, facts.category) {
        return Verdict::Skip(reason);
    }
    let is_open = facts.window_is_open();
    if !is_open && facts.unreachable_until.is_some_and(|until| facts.now < until) {
        return Verdict::Skip(SkipReason::Unreachable);
    }
    match facts.template_status {
        None => {
            if !is_open {
                return Verdict::Skip(SkipReason::WindowClosed);
            }
        }
        Some(TemplateStatus::Approved) => {}
        // Both may end by themselves: WhatsApp unpauses, and finishes its review.
        Some(TemplateStatus::Paused | TemplateStatus::Pending) => {
            return Verdict::Wait { until: None, why: WaitFor::Template };
        }
        Some(_) => return Verdict::Skip(SkipReason::TemplateNotApproved),
    }
    let is_marketing = facts.category == Some(TemplateCategory::Marketing);
    if is_marketing {
        // Meta: what answers a person within their window does not count against what they get of marketing.
        let is_blocked = facts.marketing_blocked_until.is_some_and(|until| facts.now < until);
        if facts.takes_no_marketing || (is_blocked && !is_open) {
            return Verdict::Skip(SkipReason::MarketingBlocked);
        }
        if facts.is_capped {
            return Verdict::Skip(SkipReason::FrequencyCap);
        }
    }
    let hours = SendingHours { quiet: facts.hours.quiet.filter(|_| is_marketing), ..facts.hours };
    if !hours.allow_at(facts.now, facts.zone) {
        let in_window = SendingHours { quiet: None, ..hours }.allow_at(facts.now, facts.zone);
        return Verdict::Wait {
            until: hours.first_at(facts.now, facts.zone),
            why: if in_window { WaitFor::QuietHours } else { WaitFor::SendWindow },
        };
    }
    Verdict::Send
}

/// Why nobody may send a message of this category to a person at all, by what the contact itself says.
pub(super) fn person_problem(
    contact: &Contact,
    category: Option<TemplateCategory>,
) -> Option<SkipReason> {
    if contact.erased {
        return Some(SkipReason::Erased);
    }
    if contact.phone().is_none() && contact.portfolio_identities().is_empty() {
        return Some(SkipReason::NoIdentity);
    }
    consent_problem(contact, category)
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

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::GatewayAggregate;
    use crate::contact::{ConsentStatus, ContactChanges, ContactCommand, ContactOrigin};
    use crate::primitives::{ContactId, PhoneNumber, WorkspaceId};

    fn at(hour: i64) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 26, 0, 0, 0).unwrap() + Duration::hours(hour)
    }

    fn contact() -> Contact {
        let phone = PhoneNumber::parse("+447700900123").unwrap();
        let changes = ContactChanges { phone: Some(Some(phone)), ..ContactChanges::default() };
        let commands = [
            ContactCommand::Add {
                workspace_id: WorkspaceId(uuid::Uuid::from_u128(1)),
                contact_id: ContactId(uuid::Uuid::from_u128(2)),
                changes: Box::new(changes),
                origin: ContactOrigin::Send,
                at: at(0),
            },
            ContactCommand::RecordConsent {
                category: None,
                status: ConsentStatus::OptedIn,
                source: "form".to_owned(),
                evidence: None,
                given_at: at(0),
                at: at(0),
            },
        ];
        let mut contact = Contact::default();
        for command in commands {
            contact.decide(command).unwrap().into_iter().for_each(|event| contact.fold(event));
        }
        contact
    }

    #[test]
    fn marketing_keeps_to_whatsapps_caps_and_to_ones_own() {
        let contact = contact();
        let facts = DeliveryFacts {
            now: at(10),
            contact: &contact,
            content_kind: ContentKind::Template,
            category: Some(TemplateCategory::Marketing),
            template_status: Some(TemplateStatus::Approved),
            window_until: None,
            marketing_blocked_until: None,
            takes_no_marketing: false,
            is_capped: false,
            unreachable_until: None,
            zone: Tz::UTC,
            hours: SendingHours::ALWAYS,
            expires_at: None,
        };
        let open = Some(at(20));
        let blocked = DeliveryFacts { marketing_blocked_until: Some(at(11)), ..facts.clone() };
        let american = DeliveryFacts { takes_no_marketing: true, ..facts.clone() };
        let capped = DeliveryFacts { is_capped: true, ..facts.clone() };
        assert_eq!(judge(&facts), Verdict::Send);
        let keep_away = Verdict::Skip(SkipReason::MarketingBlocked);
        assert_eq!(judge(&blocked), keep_away);
        assert_eq!(judge(&DeliveryFacts { now: at(11), ..blocked.clone() }), Verdict::Send);
        assert_eq!(judge(&DeliveryFacts { window_until: open, ..blocked.clone() }), Verdict::Send);
        assert_eq!(judge(&american), keep_away);
        assert_eq!(judge(&DeliveryFacts { window_until: open, ..american.clone() }), keep_away);
        assert_eq!(judge(&capped), Verdict::Skip(SkipReason::FrequencyCap));
        for facts in [blocked, american, capped] {
            let category = Some(TemplateCategory::Utility);
            assert_eq!(judge(&DeliveryFacts { category, ..facts }), Verdict::Send);
        }
    }

    #[test]
    fn whom_nobody_can_reach_is_left_out_until_they_write() {
        let contact = contact();
        let facts = |unreachable_until, window_until| DeliveryFacts {
            now: at(10),
            contact: &contact,
            content_kind: ContentKind::Template,
            category: Some(TemplateCategory::Utility),
            template_status: Some(TemplateStatus::Approved),
            window_until,
            marketing_blocked_until: None,
            takes_no_marketing: false,
            is_capped: false,
            unreachable_until,
            zone: Tz::UTC,
            hours: SendingHours::ALWAYS,
            expires_at: None,
        };
        assert_eq!(judge(&facts(None, None)), Verdict::Send);
        let unreachable = Verdict::Skip(SkipReason::Unreachable);
        assert_eq!(judge(&facts(Some(at(11)), None)), unreachable);
        assert_eq!(judge(&facts(Some(at(11)), Some(at(9)))), unreachable);
        assert_eq!(judge(&facts(Some(at(10)), None)), Verdict::Send);
        assert_eq!(judge(&facts(Some(at(11)), Some(at(20)))), Verdict::Send);
    }

    #[test]
    fn the_campaigns_window_holds_everything_and_quiet_hours_hold_marketing() {
        let phone = PhoneNumber::parse("+447700900123").unwrap();
        let mut contact = Contact::default();
        contact.details.phone = Some(phone.into());
        let hours = |from: &str, to: &str| {
            Some(crate::primitives::DailyHours {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
            })
        };
        let judged = |category, window, quiet| {
            judge(&DeliveryFacts {
                now: at(10),
                contact: &contact,
                content_kind: ContentKind::Template,
                category: Some(category),
                template_status: Some(TemplateStatus::Approved),
                window_until: None,
                marketing_blocked_until: None,
                takes_no_marketing: false,
                is_capped: false,
                unreachable_until: None,
                // 19:00.
                zone: Tz::Asia__Tokyo,
                hours: SendingHours { window, quiet },
                expires_at: None,
            })
        };
        let utility = TemplateCategory::Utility;
        let day = hours("09:00:00", "18:00:00");
        let evening = hours("18:30:00", "20:00:00");
        assert_eq!(judged(utility, None, evening), Verdict::Send);
        assert_eq!(judged(utility, evening, None), Verdict::Send);
        let next_morning = Verdict::Wait { until: Some(at(24)), why: WaitFor::SendWindow };
        assert_eq!(judged(utility, day, None), next_morning);
    }
}
