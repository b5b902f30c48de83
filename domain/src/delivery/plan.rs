//! One recipient of a campaign: judged once, when the chunk is appended, and personalised.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::due::{Due, SendIntent};
use super::judge::consent_problem;
use super::zone::RecipientZone;
use crate::account::Account;
use crate::campaign::Campaign;
use crate::contact::Contact;
use crate::message::{
    Content, ContentKind, MessageHeader, ParameterValue, Plan, Priority, Recipient, SkipReason,
    TemplateRef,
};
use crate::personalise::Placeholders;
use crate::primitives::{
    AccountId, CampaignId, DailyHours, MessageId, Personal, PhoneNumber, message_id_of_campaign,
};
use crate::template::{Template, TemplateCategory, TemplateComponents, clean_text};

/// How long a message is tried, by category, in seconds.
pub struct TimeToLive;

impl TimeToLive {
    /// 10 minutes for authentication, 24 h for utility and service (`None`), 72 h for marketing.
    pub fn default_seconds(category: Option<TemplateCategory>) -> u32 {
        match category {
            Some(TemplateCategory::Authentication) => 600,
            Some(TemplateCategory::Utility) | None => 24 * 3600,
            Some(TemplateCategory::Marketing) => 72 * 3600,
        }
    }
}

/// Filled parameters, and why the contact cannot be sent to with them, where they cannot.
pub type Personalised = (BTreeMap<String, ParameterValue>, Option<(SkipReason, Option<String>)>);

/// The time zone that a phone number's first digits lie in, where they lie in one.
pub type NumberZone = fn(&PhoneNumber) -> Option<Tz>;

/// What everybody of a campaign's occurrence is judged by: the campaign as it is once the occurrence has started, and
/// what it sends, from where. Nothing here is changed by judging, so a forecast may ask with a campaign that was only
/// started on paper and a clock that was moved.
#[derive(Clone, Copy, Debug)]
pub struct Planning<'a> {
    pub campaign_id: CampaignId,
    pub campaign: &'a Campaign,
    pub account_id: AccountId,
    pub account: &'a Account,
    pub template: &'a Template,
    /// The template's components, parsed.
    pub components: &'a TemplateComponents,
    pub number_zone: NumberZone,
}

/// A recipient's message, ready to be planned: `plan.skip` says why they are left out, `plan.due_at` when it leaves.
#[derive(Clone, Debug)]
pub struct PlannedRecipient {
    pub message_id: MessageId,
    pub zone: RecipientZone,
    pub plan: Plan,
}

/// Whom a contact is addressed as from this account: the number where it is known, and the user id of the account's
/// portfolio. `None`: WhatsApp knows them by neither.
pub fn recipient_of(contact: &Contact, account: &Account) -> Option<Recipient> {
    let phone = contact.phone().cloned();
    let user_id = contact.user_id_in(account.settings.portfolio_id.as_deref()).cloned();
    (phone.is_some() || user_id.is_some()).then_some(Recipient { phone, user_id })
}

/// The zone of a recipient: their own, else their number's, else the campaign's (`campaign_zone`), else the account's.
pub fn zone_of_recipient(
    campaign_zone: Option<Tz>,
    account: &Account,
    contact: &Contact,
    number_zone: NumberZone,
) -> RecipientZone {
    let account_zone = || account.settings.time_zone.parse().unwrap_or(Tz::UTC);
    let default = campaign_zone.unwrap_or_else(account_zone);
    RecipientZone::of(contact, contact.phone().and_then(number_zone), default)
}

/// The account's quiet hours where a message of this category keeps them.
pub fn quiet_hours_for(
    account: &Account,
    category: Option<TemplateCategory>,
) -> Option<DailyHours> {
    account.settings.quiet_hours.filter(|_| category == Some(TemplateCategory::Marketing))
}

/// What becomes of one contact of a campaign's audience at `now`. `salt` is 0, and counts up where the id is another
/// message's. `None` for a campaign, template or contact that was never made.
pub fn plan_recipient(
    planning: &Planning<'_>,
    contact: &Contact,
    salt: u64,
    now: DateTime<Utc>,
) -> Option<PlannedRecipient> {
    let Planning { campaign_id, campaign, account_id, account, template, components, .. } =
        *planning;
    let (workspace_id, plan, contact_id) =
        (campaign.workspace_id?, campaign.plan.as_ref()?, contact.id?);
    let category = template.category?;
    let start = campaign.occurrence_start.unwrap_or(now);
    let zone = zone_of_recipient(campaign.zone(), account, contact, planning.number_zone);
    let quiet = quiet_hours_for(account, Some(category));
    let intent = SendIntent::of_occurrence(plan, campaign.occurrence_local, start);
    let due = intent.due(zone, quiet, campaign.started_at.unwrap_or(now));
    let template_ref = TemplateRef {
        id: plan.template_id,
        name: template.name.clone(),
        language: template.language.clone(),
        category,
    };
    let to = recipient_of(contact, account);
    let no_values = serde_json::Map::new();
    let given = plan.parameters.known().unwrap_or(&no_values);
    let (parameters, problem) = personalise(given, components, contact);
    let skip = if contact.erased {
        Some((SkipReason::Erased, None))
    } else if to.is_none() {
        Some((SkipReason::NoIdentity, None))
    } else if let Some(reason) = consent_problem(contact, Some(category)) {
        Some((reason, None))
    } else if let (None, Due::Skip(reason)) = (&problem, due) {
        Some((reason, None))
    } else {
        problem
    };
    let due_at = match due {
        // A large audience takes its time, and nobody's message was due before it was planned.
        Due::At(due_at) => due_at.max(now),
        Due::Skip(_) => now,
    };
    let preview = components.preview(&parameters);
    Some(PlannedRecipient {
        message_id: message_id_of_campaign(campaign_id, start, contact_id, salt),
        zone,
        plan: Plan {
            header: MessageHeader {
                workspace_id,
                account_id,
                contact_id,
                campaign_id: Some(campaign_id),
                is_test: false,
                content_kind: ContentKind::Template,
                template: Some(template_ref),
                priority: Priority::Bulk,
                time_to_live_s: Some(
                    plan.time_to_live_s.unwrap_or(TimeToLive::default_seconds(Some(category))),
                ),
                external_id: None,
                metadata: None,
                reply_to: None,
                // What a number says of its country is not known here: whoever plans adds it.
                country: None,
            },
            to: to.unwrap_or_default(),
            content: Content::Template { parameters, preview },
            skip,
            due_at,
            at: now,
        },
    })
}

/// What is asked of a recipient when they are planned, beside what the campaign and their contact say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtPlanning {
    /// Their person has another message of the same occurrence ([`is_there_twice`](super::is_there_twice)).
    pub is_there_twice: bool,
    /// WhatsApp delivers no marketing to them.
    pub takes_no_marketing: bool,
    /// The campaign's frequency cap lets no marketing through before.
    pub capped_until: Option<DateTime<Utc>>,
}

impl AtPlanning {
    /// Why a message is left out that is due at `due_at`.
    pub fn skip(
        &self,
        category: Option<TemplateCategory>,
        due_at: DateTime<Utc>,
    ) -> Option<SkipReason> {
        let is_marketing = category == Some(TemplateCategory::Marketing);
        if self.is_there_twice {
            Some(SkipReason::Duplicate)
        } else if is_marketing && self.takes_no_marketing {
            Some(SkipReason::MarketingBlocked)
        } else if is_marketing && self.capped_until.is_some_and(|until| due_at < until) {
            Some(SkipReason::FrequencyCap)
        } else {
            None
        }
    }
}

/// Fills the campaign's parameters for one contact. The second part says why the contact cannot be sent to with them.
pub fn personalise(
    given: &serde_json::Map<String, Value>,
    components: &TemplateComponents,
    contact: &Contact,
) -> Personalised {
    let mut missing = vec![];
    let mut filled = BTreeMap::new();
    for (slot, value) in given {
        let mut gaps = vec![];
        let value = fill(value, contact, &mut gaps);
        if gaps.is_empty() {
            let value = match value {
                Value::String(text) => ParameterValue::Text(text),
                Value::Object(object) => ParameterValue::Object(object),
                other => ParameterValue::Text(other.to_string()),
            };
            filled.insert(slot.clone(), value);
        } else {
            missing.extend(gaps.into_iter().map(|path| format!("{slot} ({path})")));
        }
    }
    let normalised = match components.normalise(&filled) {
        Ok(normalised) => normalised,
        Err(error) => return (filled, Some((SkipReason::MissingParameter, Some(error.field)))),
    };
    missing.extend(
        components
            .missing(&normalised)
            .into_iter()
            .filter(|slot| !missing.iter().any(|known: &String| known.starts_with(slot.as_str())))
            .collect::<Vec<_>>(),
    );
    if !missing.is_empty() {
        return (normalised, Some((SkipReason::MissingParameter, Some(missing.join(", ")))));
    }
    let too_long = components.too_long(&normalised);
    let problem = too_long.map(|slot| (SkipReason::ParameterTooLong, Some(slot)));
    (normalised, problem)
}

/// What every recipient must have for a campaign's parameters, because nothing stands in for it: the placeholder's path,
/// and the first parameter that asks for it.
pub fn required_paths(given: &serde_json::Map<String, Value>) -> BTreeMap<String, String> {
    fn collect(value: &Value, slot: &str, paths: &mut BTreeMap<String, String>) {
        match value {
            Value::String(text) => {
                for path in Placeholders::parse(text).iter().flat_map(Placeholders::required) {
                    paths.entry(path.to_owned()).or_insert_with(|| slot.to_owned());
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, slot, paths)),
            Value::Object(object) => object.values().for_each(|item| collect(item, slot, paths)),
            _ => {}
        }
    }
    let mut paths = BTreeMap::new();
    given.iter().for_each(|(slot, value)| collect(value, slot, &mut paths));
    paths
}

/// Whether a contact has what a placeholder's path asks for.
pub fn fills(contact: &Contact, path: &str) -> bool {
    contact_value(contact, path).is_some_and(|value| !value.trim().is_empty())
}

/// Fills the text in a value, however deep it stands.
fn fill(value: &Value, contact: &Contact, gaps: &mut Vec<String>) -> Value {
    match value {
        Value::String(text) => match Placeholders::parse(text) {
            Ok(placeholders) => {
                let filled = placeholders.fill(|path| contact_value(contact, path));
                gaps.extend(filled.missing);
                Value::String(clean_text(&filled.text))
            }
            // Refused when the campaign was drafted; a text from before that rule goes out as it stands.
            Err(_) => value.clone(),
        },
        Value::Array(items) => items.iter().map(|item| fill(item, contact, gaps)).collect(),
        Value::Object(object) => {
            object.iter().map(|(key, item)| (key.clone(), fill(item, contact, gaps))).collect()
        }
        other => other.clone(),
    }
}

/// What a placeholder's path means for a contact.
fn contact_value(contact: &Contact, path: &str) -> Option<String> {
    let details = &contact.details;
    let personal =
        |value: &Option<Personal<String>>| value.as_ref().and_then(Personal::known).cloned();
    match path {
        "name" => personal(&details.name),
        "first_name" => personal(&details.name)
            .and_then(|name| name.split_whitespace().next().map(str::to_owned)),
        "phone" => contact.phone().map(|phone| phone.as_str().to_owned()),
        "external_id" => personal(&details.external_id),
        "username" => personal(&details.username),
        "language" => details.language.clone(),
        _ => match contact.attribute(path.strip_prefix("attributes.")?)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::GatewayAggregate;
    use crate::campaign::{Audience, CampaignPlan, CampaignSchedule, WhenPast};
    use crate::contact::{ConsentStatus, ContactChanges, ContactCommand, ContactOrigin};
    use crate::delivery::ZoneSource;
    use crate::primitives::{ContactId, TemplateId, WorkspaceId};

    fn utc(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").unwrap().and_utc()
    }

    fn contact(phone: &str, zone: Option<&str>, status: ConsentStatus) -> Contact {
        let at = utc("2027-01-01T00:00Z");
        let changes = ContactChanges {
            phone: Some(Some(PhoneNumber::parse(phone).unwrap())),
            time_zone: zone.map(|zone| Some(zone.to_owned())),
            ..ContactChanges::default()
        };
        let mut contact = Contact::default();
        for command in [
            ContactCommand::Add {
                workspace_id: WorkspaceId(Uuid::from_u128(1)),
                contact_id: ContactId(Uuid::from_u128(2)),
                changes: Box::new(changes),
                origin: ContactOrigin::Send,
                at,
            },
            ContactCommand::RecordConsent {
                category: None,
                status,
                source: "form".to_owned(),
                evidence: None,
                given_at: at,
                at,
            },
        ] {
            for event in contact.decide(command).unwrap() {
                contact.fold(event);
            }
        }
        contact
    }

    fn campaign(recipient_local: bool, when_past: WhenPast) -> Campaign {
        let schedule = CampaignSchedule {
            start_at: "2027-03-28T09:00:00".parse().unwrap(),
            time_zone: "America/New_York".to_owned(),
            recipient_local,
            send_window: None,
            when_past,
            recurrence: None,
        };
        let occurrence = schedule.occurrences().unwrap()[0];
        let begins_at = schedule.begins_at(occurrence).unwrap();
        Campaign {
            workspace_id: Some(WorkspaceId(Uuid::from_u128(1))),
            occurrence_start: Some(begins_at),
            occurrence_local: Some(occurrence.local),
            started_at: Some(begins_at),
            plan: Some(CampaignPlan {
                name: "x".to_owned(),
                template_id: TemplateId(Uuid::from_u128(3)),
                parameters: Personal::Known(serde_json::Map::new()),
                audience: Audience::default(),
                schedule: Some(schedule),
                messages_per_second: None,
                frequency_cap: None,
                time_to_live_s: None,
            }),
            ..Campaign::default()
        }
    }

    /// Everything with a British code is in London, whatever else there is.
    fn number_zone(number: &PhoneNumber) -> Option<Tz> {
        number.as_str().starts_with("+44").then_some(Tz::Europe__London)
    }

    fn planned(campaign: &Campaign, contact: &Contact, now: &str) -> PlannedRecipient {
        let mut account = Account::default();
        account.settings.time_zone = "Asia/Tokyo".to_owned();
        let time = |text: &str| text.parse().unwrap();
        account.settings.quiet_hours =
            Some(DailyHours { from: time("21:00:00"), to: time("08:00:00") });
        let template = Template {
            category: Some(TemplateCategory::Marketing),
            components: serde_json::json!([{ "type": "BODY", "text": "Hello" }]),
            ..Template::default()
        };
        let components = template.parsed().unwrap();
        let planning = Planning {
            campaign_id: CampaignId(Uuid::from_u128(4)),
            campaign,
            account_id: AccountId(Uuid::from_u128(5)),
            account: &account,
            template: &template,
            components: &components,
            number_zone,
        };
        plan_recipient(&planning, contact, 0, utc(now)).unwrap()
    }

    const BEGINS: &str = "2027-03-27T19:00Z";

    #[test]
    fn a_message_is_due_at_the_recipients_own_time_and_says_by_which_zone() {
        let campaign = campaign(true, WhenPast::Skip);
        for (phone, zone, expected, source) in [
            ("+447700900123", Some("Asia/Tokyo"), "2027-03-28T00:00Z", ZoneSource::Contact),
            ("+447700900123", None, "2027-03-28T08:00Z", ZoneSource::Number),
            ("+34612345678", None, "2027-03-28T13:00Z", ZoneSource::Default),
        ] {
            let contact = contact(phone, zone, ConsentStatus::OptedIn);
            let planned = planned(&campaign, &contact, BEGINS);
            assert_eq!((planned.plan.due_at, planned.zone.source), (utc(expected), source));
            assert_eq!(planned.plan.skip, None);
        }
    }

    #[test]
    fn a_bad_zone_leaves_out_only_where_the_own_time_was_asked_for_and_after_consent() {
        let bad = |status| contact("+447700900123", Some("Brasília"), status);
        let local = campaign(true, WhenPast::SendNow);
        let skipped = planned(&local, &bad(ConsentStatus::OptedIn), BEGINS);
        assert_eq!(skipped.plan.skip, Some((SkipReason::BadTimeZone, None)));
        assert!(skipped.zone.is_bad);
        let no_consent = planned(&local, &bad(ConsentStatus::OptedOut), BEGINS);
        assert_eq!(no_consent.plan.skip, Some((SkipReason::OptedOut, None)));
        let at_once = campaign(false, WhenPast::SendNow);
        let sent = planned(&at_once, &bad(ConsentStatus::OptedIn), "2027-03-28T13:00Z");
        assert_eq!((sent.plan.skip, sent.plan.due_at), (None, utc("2027-03-28T13:00Z")));
    }

    #[test]
    fn whose_time_has_passed_is_left_out_where_the_campaign_says_so() {
        let mut late = campaign(true, WhenPast::Skip);
        late.started_at = Some(utc("2027-03-28T12:00Z"));
        let london = contact("+447700900123", None, ConsentStatus::OptedIn);
        let skipped = planned(&late, &london, "2027-03-28T12:00Z");
        assert_eq!(skipped.plan.skip, Some((SkipReason::LocalTimePast, None)));
    }

    #[test]
    fn marketing_keeps_quiet_hours_in_the_recipients_zone_and_slow_judging_is_nobodys_fault() {
        let mut at_once = campaign(false, WhenPast::Skip);
        at_once.started_at = Some(utc("2027-03-28T13:00Z"));
        let tokyo = contact("+447700900123", Some("Asia/Tokyo"), ConsentStatus::OptedIn);
        // 22:00 in Tokyo.
        let waits = planned(&at_once, &tokyo, "2027-03-28T13:00Z");
        assert_eq!(waits.plan.due_at, utc("2027-03-28T23:00Z"));
        // The audience was so large that judging took an hour.
        let london = contact("+447700900123", None, ConsentStatus::OptedIn);
        let own_time = planned(&campaign(true, WhenPast::Skip), &london, "2027-03-28T09:00Z");
        assert_eq!((own_time.plan.skip, own_time.plan.due_at), (None, utc("2027-03-28T09:00Z")));
    }
}
