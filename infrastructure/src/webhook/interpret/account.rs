//! What WhatsApp reports about templates, numbers and accounts.

use domain::account::MessagingLimit;
use domain::template::{Quality, TemplateCategory, TemplateStatus};
use serde_json::Value;

use super::item::{
    AccountAlertItem, AccountChange, BanState, Item, NumberName, NumberQuality, RestrictionItem,
    RestrictionKind, TemplateCategoryItem, TemplateComponentsItem, TemplateName,
    TemplateQualityItem, TemplateVerdict, Word,
};
use super::text;
use crate::cloud_api::wire::webhook::{
    AccountAlert, AccountEvent, AccountUpdate, BusinessCapability, PhoneNumberName,
    PhoneNumberQuality, Restriction, TemplateCategoryUpdate, TemplateComponentsUpdate,
    TemplateEvent, TemplateInfo, TemplateQualityUpdate, TemplateStatusUpdate,
};

fn name(info: &TemplateInfo) -> TemplateName {
    TemplateName {
        whatsapp_id: info.message_template_id.clone(),
        name: info.message_template_name.clone(),
        language: info.language(),
    }
}

fn category(text: &Option<String>) -> Option<TemplateCategory> {
    text.as_deref().and_then(TemplateCategory::parse)
}

pub(super) fn template_status(update: &TemplateStatusUpdate) -> Item {
    let is_unpaused = update.pause_stage() == Some("UNPAUSE");
    let status = match &update.event {
        TemplateEvent::Approved | TemplateEvent::Reinstated | TemplateEvent::Unarchived => {
            Word::Known(TemplateStatus::Approved)
        }
        TemplateEvent::Paused if is_unpaused => Word::Known(TemplateStatus::Approved),
        TemplateEvent::Rejected => Word::Known(TemplateStatus::Rejected),
        // An appeal is a review too.
        TemplateEvent::Pending | TemplateEvent::InAppeal => Word::Known(TemplateStatus::Pending),
        // None of these can be sent, and each may end.
        TemplateEvent::Paused
        | TemplateEvent::Locked
        | TemplateEvent::Archived
        | TemplateEvent::LimitExceeded => Word::Known(TemplateStatus::Paused),
        TemplateEvent::Disabled => Word::Known(TemplateStatus::Disabled),
        // No new sends while it waits to be deleted.
        TemplateEvent::Deleted | TemplateEvent::PendingDeletion => {
            Word::Known(TemplateStatus::Deleted)
        }
        // Still sent; a warning.
        TemplateEvent::Flagged => Word::Other("FLAGGED".to_owned()),
        TemplateEvent::Other(event) => Word::Other(text::word(event)),
    };
    Item::TemplateVerdict(TemplateVerdict {
        template: name(&update.template),
        status,
        reason: verdict_reason(update),
        category: category(&update.message_template_category),
    })
}

/// WhatsApp's word for the reason, then whatever it explains: `INVALID_FORMAT: variables touch. Put words between`.
fn verdict_reason(update: &TemplateStatusUpdate) -> Option<String> {
    let part = |info: &Option<Value>, key: &str| {
        let text = match info.as_ref()?.get(key)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty() && !text.eq_ignore_ascii_case("none")).then_some(text)
    };
    let event = match &update.event {
        TemplateEvent::Locked
        | TemplateEvent::Archived
        | TemplateEvent::LimitExceeded
        | TemplateEvent::InAppeal
        | TemplateEvent::PendingDeletion => Some(update.event.as_str().to_owned()),
        _ => None,
    };
    let head = [update.reason().map(str::to_owned), part(&update.other_info, "title"), event];
    let tail = [
        part(&update.rejection_info, "reason"),
        part(&update.rejection_info, "recommendation"),
        part(&update.other_info, "description"),
        part(&update.disable_info, "disable_date").map(|date| format!("disabled as of {date}")),
    ];
    let head = head.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let tail: Vec<String> = tail
        .into_iter()
        .flatten()
        .map(|sentence| sentence.trim_end_matches('.').to_owned())
        .collect();
    let sentence = match (head.is_empty(), tail.is_empty()) {
        (true, true) => return None,
        (false, true) => head,
        (true, false) => tail.join(". "),
        (false, false) => format!("{head}: {}", tail.join(". ")),
    };
    Some(text::cut(&sentence, 1_000))
}

pub(super) fn template_category(update: &TemplateCategoryUpdate) -> Result<Item, String> {
    let announced_only = update.is_announcement();
    // In an announcement, `new_category` is the current one.
    let (next, previous) = if announced_only {
        (&update.correct_category, &update.new_category)
    } else {
        (&update.new_category, &update.previous_category)
    };
    let next = next.as_deref().ok_or("missing field `new_category`")?;
    let known = TemplateCategory::parse(next).map(Word::Known);
    Ok(Item::TemplateCategory(TemplateCategoryItem {
        template: name(&update.template),
        category: known.unwrap_or_else(|| Word::Other(text::word(next))),
        previous: category(previous),
        announced_only,
        effective_at: update.category_update_timestamp.map(|time| time.at()),
    }))
}

pub(super) fn template_quality(update: &TemplateQualityUpdate) -> Item {
    Item::TemplateQuality(TemplateQualityItem {
        template: name(&update.template),
        quality: Quality::parse(&update.new_quality_score),
        previous: update.previous_quality_score.as_deref().map(Quality::parse),
    })
}

pub(super) fn template_components(update: &TemplateComponentsUpdate) -> Item {
    Item::TemplateComponents(TemplateComponentsItem {
        template: name(&update.template),
        header: update.message_template_title.clone(),
        body: update.message_template_element.clone(),
        footer: update.message_template_footer.clone(),
        buttons: update.message_template_buttons.clone(),
    })
}

pub(super) fn number_quality(update: &PhoneNumberQuality) -> Item {
    let limit =
        update.max_daily_conversations_per_business.as_ref().or(update.current_limit.as_ref());
    Item::NumberQuality(NumberQuality {
        event: text::word(&update.event),
        limit: limit.and_then(|text| MessagingLimit::parse(text)),
        quality: (update.event == "FLAGGED").then_some(Quality::Red),
        throughput_upgraded: update.event == "THROUGHPUT_UPGRADE",
    })
}

pub(super) fn number_name(update: &PhoneNumberName) -> Item {
    Item::NumberName(NumberName {
        decision: text::word(&update.decision),
        requested_name: update.requested_verified_name.clone(),
        rejection_reason: update
            .rejection_reason
            .clone()
            .filter(|reason| !reason.eq_ignore_ascii_case("none")),
    })
}

pub(super) fn capability(update: &BusinessCapability) -> Item {
    Item::Capability { limit: update.tier().and_then(|tier| MessagingLimit::parse(&tier)) }
}

pub(super) fn alert(alert: &AccountAlert) -> Item {
    let info = alert.alert_info.as_ref();
    Item::AccountAlert(AccountAlertItem {
        severity: info.and_then(|it| it.alert_severity.clone()),
        status: info.and_then(|it| it.alert_status.clone()),
        kind: info.and_then(|it| it.alert_type.clone()),
        description: info.and_then(|it| it.alert_description.as_deref()).map(text::impersonal),
        entity_type: alert.entity_type.clone(),
        entity_id: alert.entity_id.clone(),
    })
}

/// The change, and the restrictions in it that cannot be read.
pub(super) fn account_update(update: &AccountUpdate) -> (Item, Vec<(String, String)>) {
    let mut unreadable = Vec::new();
    let change = match &update.event {
        AccountEvent::AccountViolation => {
            AccountChange::Violation { kind: update.violation().map(text::word) }
        }
        AccountEvent::AccountRestriction => {
            let mut restrictions = Vec::new();
            for (index, restriction) in update.restrictions().enumerate() {
                match restriction {
                    Ok(restriction) => restrictions.push(restriction_item(&restriction)),
                    Err(error) => {
                        unreadable.push((format!("/restriction_info/{index}"), error.reason));
                    }
                }
            }
            AccountChange::Restriction { restrictions }
        }
        AccountEvent::DisabledUpdate => {
            let info = update.ban_info.as_ref();
            AccountChange::Ban {
                state: match info.and_then(|it| it.waba_ban_state.as_deref()).unwrap_or_default() {
                    "SCHEDULE_FOR_DISABLE" => BanState::Scheduled,
                    "DISABLE" => BanState::Disabled,
                    "REINSTATE" => BanState::Reinstated,
                    other => BanState::Other(text::word(other)),
                },
                date: info.and_then(|it| it.waba_ban_date.as_deref()).map(text::word),
            }
        }
        AccountEvent::AccountDeleted => AccountChange::Deleted,
        AccountEvent::AccountOffboarded => AccountChange::Offboarded,
        AccountEvent::AccountReconnected => AccountChange::Reconnected,
        AccountEvent::PartnerAdded => AccountChange::PartnerAdded,
        AccountEvent::PartnerRemoved => AccountChange::PartnerRemoved {
            reason: update
                .disconnection_info
                .as_ref()
                .and_then(|it| it.get("reason")?.as_str())
                .map(text::word),
        },
        AccountEvent::PartnerAppInstalled => AccountChange::AppInstalled,
        AccountEvent::PartnerAppUninstalled => AccountChange::AppUninstalled,
        other => AccountChange::Other { event: text::word(other.as_str()) },
    };
    (Item::AccountUpdate(change), unreadable)
}

fn restriction_item(restriction: &Restriction) -> RestrictionItem {
    RestrictionItem {
        kind: match restriction.restriction_type.as_str() {
            "RESTRICTED_BIZ_INITIATED_MESSAGING" => RestrictionKind::BusinessInitiated,
            "RESTRICTED_CUSTOMER_INITIATED_MESSAGING" => RestrictionKind::CustomerInitiated,
            "RESTRICTED_ADD_PHONE_NUMBER_ACTION" => RestrictionKind::AddPhoneNumbers,
            "RESTRICTED_UTILITY_TEMPLATES" => RestrictionKind::UtilityTemplates,
            other => RestrictionKind::Other(text::word(other)),
        },
        until: restriction.expiration.map(|time| time.at()),
    }
}
