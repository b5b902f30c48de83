//! One recipient of a campaign: judged once, when the chunk is appended, and personalised.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::judge::consent_problem;
use crate::account::Account;
use crate::campaign::Campaign;
use crate::contact::Contact;
use crate::message::{
    Content, ContentKind, MessageHeader, ParameterValue, Plan, Priority, Recipient, SkipReason,
    TemplateRef,
};
use crate::personalise::Placeholders;
use crate::primitives::{AccountId, CampaignId, MessageId, Personal, message_id_of_campaign};
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

/// A recipient's message, ready to be planned.
#[derive(Clone, Debug)]
pub struct PlannedRecipient {
    pub message_id: MessageId,
    pub plan: Plan,
}

/// Whom a contact is addressed as from this account: the number where it is known, and the user id of the account's
/// portfolio. `None`: WhatsApp knows them by neither.
pub fn recipient_of(contact: &Contact, account: &Account) -> Option<Recipient> {
    let phone = contact.phone().cloned();
    let user_id = contact.user_id_in(account.settings.portfolio_id.as_deref()).cloned();
    (phone.is_some() || user_id.is_some()).then_some(Recipient { phone, user_id })
}

/// What becomes of one contact of a campaign's audience. `salt` is 0, and counts up where the id is another message's.
#[expect(clippy::too_many_arguments, reason = "every one is a fact the judgement needs")]
pub fn plan_recipient(
    campaign_id: CampaignId,
    campaign: &Campaign,
    account_id: AccountId,
    account: &Account,
    template: &Template,
    components: &TemplateComponents,
    contact: &Contact,
    salt: u64,
    now: DateTime<Utc>,
) -> Option<PlannedRecipient> {
    let (workspace_id, plan, contact_id) =
        (campaign.workspace_id?, campaign.plan.as_ref()?, contact.id?);
    let category = template.category?;
    let start = campaign.occurrence_start.unwrap_or(now);
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
    } else {
        problem
    };
    let preview = components.preview(&parameters);
    Some(PlannedRecipient {
        message_id: message_id_of_campaign(campaign_id, start, contact_id, salt),
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
            },
            to: to.unwrap_or_default(),
            content: Content::Template { parameters, preview },
            skip,
            due_at: start.max(now),
            at: now,
        },
    })
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
