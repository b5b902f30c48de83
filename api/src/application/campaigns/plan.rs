//! From an input to a plan that can be carried out: everything it names is there, every value fits its slot, and every
//! placeholder names something that a contact can have.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::campaign::{
    Audience, Campaign, CampaignCommand, CampaignPlan, CampaignSchedule, FrequencyCap,
    ScheduleError,
};
use domain::contact::Contact;
use domain::delivery::{SendingHours, quiet_hours_for};
use domain::message::ParameterValue;
use domain::personalise::Placeholders;
use domain::primitives::{
    AccountId, CampaignId, ContactId, Personal, SegmentId, TemplateId, WorkspaceId,
};
use domain::segment::Segment;
use domain::template::{Template, TemplateComponents, TemplateStatus};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    AudienceInput, CreateCampaign, FrequencyCapInput, ScheduleInput, UpdateCampaign, written,
};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::check;
use crate::application::command::{self, Once};
use crate::application::contacts;
use crate::application::error::{AppError, AppResult};
use crate::application::view::{CampaignView, Written, parameter_json};

const CONTACTS_MAX: usize = 10_000;
const OTHERS_MAX: usize = 1_000;
const EXCLUDES_MAX: usize = 4;
/// Contacts looked up together.
const CHUNK: usize = 500;
const NAME_CHARS_MAX: usize = 200;

/// Plans a campaign. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for whatever it names; VALIDATION_FAILED with the path; CONFLICT where the account is disconnected.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    input: CreateCampaign,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Manage)?;
    let (account_id, account) =
        command::known::<Account>(gateway, caller, &input.account_id, "account").await?;
    let (account_id, account) = (AccountId(account_id), account.aggregate);
    let (template_id, template) =
        template_of(gateway, caller, account_id, &input.template_id).await?;
    let workspace_id = account.workspace_id.ok_or_else(|| AppError::not_found("account"))?;
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    let (id, position) =
        match command::once::<Uuid>(gateway, caller, "createCampaign", key, &input, field).await? {
            Once::Done(id, position) => (id, position),
            Once::Now(idempotency) => {
                check_account(&account)?;
                let audience =
                    audience(gateway, caller, workspace_id, input.audience, AUDIENCE).await?;
                let now = gateway.clock.now();
                let plan = CampaignPlan {
                    name: input.name,
                    template_id,
                    parameters: parameters(&template, input.parameters)?,
                    audience,
                    schedule: input
                        .schedule
                        .map(|schedule| checked_schedule(schedule, now))
                        .transpose()?,
                    messages_per_second: command::positive(
                        input.messages_per_second,
                        "input.messagesPerSecond",
                    )?,
                    frequency_cap: input.frequency_cap.map(frequency_cap).transpose()?,
                    time_to_live_s: command::positive(input.time_to_live, "input.timeToLive")?,
                };
                check_hours(&plan, &account, &template, "input.schedule")?;
                let id = gateway.ids.next_id(now);
                let command = CampaignCommand::Draft {
                    workspace_id,
                    campaign_id: CampaignId(id),
                    account_id,
                    external_id: check::external_id(input.external_id, "input.externalId")?,
                    metadata: check::metadata(input.metadata, "input.metadata")?,
                    plan: Box::new(plan),
                    at: now,
                };
                let context = command::context(gateway, caller);
                let command = &command;
                command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                    Box::pin(async move {
                        let drafted = tx.execute::<Campaign>(id, command.clone()).await;
                        drafted.map_err(|error| command::refused(error, "input"))?;
                        Ok(id)
                    })
                })
                .await?
            }
        };
    written(gateway, caller, CampaignId(id), position).await
}

/// The plan as it is after an update.
pub(super) async fn changed(
    gateway: &Gateway,
    caller: &Caller,
    account_id: AccountId,
    campaign: &Campaign,
    input: UpdateCampaign,
) -> AppResult<CampaignPlan> {
    let not_found = || AppError::not_found("campaign");
    let mut plan = campaign.plan.clone().ok_or_else(not_found)?;
    let workspace_id = campaign.workspace_id.ok_or_else(not_found)?;
    let template = match &input.template_id {
        Some(id) => {
            let (id, template) = template_of(gateway, caller, account_id, id).await?;
            plan.template_id = id;
            template
        }
        None => command::folded::<Template>(gateway, plan.template_id.0, "template").await?,
    };
    if let Some(audience) = input.audience {
        plan.audience = self::audience(gateway, caller, workspace_id, audience, AUDIENCE).await?;
    }
    plan.name = input.name.unwrap_or(plan.name);
    match input.parameters {
        Some(given) => plan.parameters = parameters(&template, given)?,
        // Another template has other slots.
        None if input.template_id.is_some() => {
            let known = plan.parameters.into_known().map(Value::Object);
            plan.parameters = parameters(&template, known)?;
        }
        None => {}
    }
    if let Some(schedule) = input.schedule {
        let now = gateway.clock.now();
        plan.schedule = schedule.map(|schedule| checked_schedule(schedule, now)).transpose()?;
    }
    let account = command::folded::<Account>(gateway, account_id.0, "account").await?;
    check_hours(&plan, &account, &template, "input.schedule")?;
    if let Some(value) = input.messages_per_second {
        plan.messages_per_second = command::positive(value, "input.messagesPerSecond")?;
    }
    if let Some(cap) = input.frequency_cap {
        plan.frequency_cap = cap.map(frequency_cap).transpose()?;
    }
    if let Some(value) = input.time_to_live {
        plan.time_to_live_s = command::positive(value, "input.timeToLive")?;
    }
    Ok(plan)
}

pub(crate) fn check_account(account: &Account) -> AppResult<()> {
    if account.status == AccountStatus::Disconnected {
        return Err(AppError::conflict("the account is disconnected; connect it again"));
    }
    Ok(())
}

/// A template of the account that is not deleted.
async fn template_of(
    gateway: &Gateway,
    caller: &Caller,
    account_id: AccountId,
    id: &str,
) -> AppResult<(TemplateId, Template)> {
    let (id, loaded) = command::known::<Template>(gateway, caller, id, "template").await?;
    let template = loaded.aggregate;
    if template.status == TemplateStatus::Deleted {
        return Err(AppError::not_found("template"));
    }
    if template.account_id != Some(account_id) {
        return Err(AppError::invalid(
            "input.templateId",
            "use a template of the campaign's own account",
        ));
    }
    Ok((TemplateId(id), template))
}

/// Values under their slots' names, with placeholders of paths that contacts have.
fn parameters(
    template: &Template,
    given: Option<Value>,
) -> AppResult<Personal<Map<String, Value>>> {
    let components = template.parsed().map_err(AppError::internal)?;
    let given = values(given, "input.parameters")?;
    let filled = normalised(&components, &given, "input")?;
    for (slot, value) in &filled {
        check_placeholders(&parameter_json(value), &format!("input.parameters.{slot}"))?;
    }
    Ok(Personal::Known(
        filled.iter().map(|(slot, value)| (slot.clone(), parameter_json(value))).collect(),
    ))
}

/// A parameters object in the domain's form.
pub(crate) fn values(
    given: Option<Value>,
    field: &str,
) -> AppResult<BTreeMap<String, ParameterValue>> {
    let object = match given {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(value) => {
            check::json(&value, field, check::JSON_BYTES_MAX)?;
            match value {
                Value::Object(object) => object,
                _ => {
                    return Err(AppError::invalid(
                        field,
                        "use an object from slot to value, like {\"body.1\": \"Ana\"}",
                    ));
                }
            }
        }
    };
    let mut values = BTreeMap::new();
    for (slot, value) in object {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => ParameterValue::Text(text),
            Value::Object(object) => ParameterValue::Object(object),
            Value::Array(_) => {
                let slot: String = slot.chars().take(100).collect();
                return Err(AppError::invalid(
                    format!("{field}.{slot}"),
                    "use text, a number or an object",
                ));
            }
            other => ParameterValue::Text(other.to_string()),
        };
        values.insert(slot, value);
    }
    Ok(values)
}

/// Values in the template's own form, none of them missing. `prefix` is where `parameters` stands.
pub(crate) fn normalised(
    components: &TemplateComponents,
    given: &BTreeMap<String, ParameterValue>,
    prefix: &str,
) -> AppResult<BTreeMap<String, ParameterValue>> {
    let filled = components.normalise(given);
    let filled = filled
        .map_err(|error| AppError::invalid(format!("{prefix}.{}", error.field), error.problem))?;
    let missing = components.missing(&filled);
    if !missing.is_empty() {
        let problem =
            format!("fill in {}; WhatsApp sends nothing with an empty slot", missing.join(", "));
        return Err(AppError::invalid(format!("{prefix}.parameters"), problem));
    }
    Ok(filled)
}

fn check_placeholders(value: &Value, field: &str) -> AppResult<()> {
    match value {
        Value::String(text) => {
            let parsed = Placeholders::parse(text);
            parsed.map(drop).map_err(|error| AppError::invalid(field, error.to_string()))
        }
        Value::Array(items) => items.iter().try_for_each(|item| check_placeholders(item, field)),
        Value::Object(object) => {
            object.values().try_for_each(|item| check_placeholders(item, field))
        }
        _ => Ok(()),
    }
}

fn checked_schedule(input: ScheduleInput, now: DateTime<Utc>) -> AppResult<CampaignSchedule> {
    let schedule = CampaignSchedule {
        start_at: input.start_at,
        time_zone: input.time_zone,
        recipient_local: input.recipient_local,
        send_window: input.send_window,
        when_past: input.when_past,
        recurrence: input.recurrence,
    };
    let refused = |error: ScheduleError| {
        AppError::invalid(format!("input.schedule.{}", error.field()), error.to_string())
    };
    schedule.check().map_err(refused)?;
    if schedule.next_occurrence(None, now).map_err(refused)?.is_some() {
        return Ok(schedule);
    }
    Err(match schedule.recurrence {
        Some(_) => AppError::invalid(
            "input.schedule.recurrence",
            "its last occurrence lies in the past; choose a later UNTIL or a larger COUNT",
        ),
        None => AppError::invalid(
            "input.schedule.startAt",
            "lies in the past; choose a later time, or leave the schedule out to start when it is launched",
        ),
    })
}

/// Whether the account's quiet hours leave anything of the campaign's window. `field`: where the schedule stands.
pub(super) fn check_hours(
    plan: &CampaignPlan,
    account: &Account,
    template: &Template,
    field: &str,
) -> AppResult<()> {
    let window = plan.schedule.as_ref().and_then(|schedule| schedule.send_window);
    let hours = SendingHours { window, quiet: quiet_hours_for(account, template.category) };
    hours
        .check()
        .map_err(|error| AppError::invalid(format!("{field}.sendWindow"), error.to_string()))
}

fn frequency_cap(input: FrequencyCapInput) -> AppResult<FrequencyCap> {
    // The upper ends are the domain's to know.
    let at_least_one = |value: i32, field: &str| {
        let value = u32::try_from(value).ok().filter(|value| *value > 0);
        value.ok_or_else(|| {
            AppError::invalid(format!("input.frequencyCap.{field}"), "use at least 1")
        })
    };
    Ok(FrequencyCap {
        messages: at_least_one(input.messages, "messages")?,
        hours: at_least_one(input.hours, "hours")?,
    })
}

/// Where a campaign's audience stands in the caller's input.
const AUDIENCE: &str = "input.audience";

/// An audience whose parts all exist in the workspace. `path` is where it stands in the caller's input.
pub(super) async fn audience(
    gateway: &Gateway,
    caller: &Caller,
    workspace: WorkspaceId,
    input: AudienceInput,
    path: &str,
) -> AppResult<Audience> {
    let mut parts = vec![];
    let mut rest = Some(Box::new(input));
    let mut path = path.to_owned();
    while let Some(mut part) = rest.take() {
        if parts.len() >= EXCLUDES_MAX {
            return Err(AppError::invalid(path, "exclude may be nested three deep"));
        }
        rest = part.exclude.take();
        let audience = one(gateway, caller, workspace, *part, &path).await?;
        if audience.is_empty() {
            let problem =
                "names nobody; give segments, contacts or tags, or all: true for everyone";
            return Err(AppError::invalid(path, problem));
        }
        parts.push(audience);
        path.push_str(".exclude");
    }
    let folded = parts.into_iter().rev().fold(None, |exclude: Option<Audience>, mut part| {
        part.exclude = exclude.map(Box::new);
        Some(part)
    });
    Ok(folded.unwrap_or_default())
}

async fn one(
    gateway: &Gateway,
    caller: &Caller,
    workspace: WorkspaceId,
    input: AudienceInput,
    path: &str,
) -> AppResult<Audience> {
    check::at_most(&input.contact_ids, CONTACTS_MAX, &format!("{path}.contactIds"))?;
    check::at_most(&input.segment_ids, OTHERS_MAX, &format!("{path}.segmentIds"))?;
    check::at_most(&input.tags, OTHERS_MAX, &format!("{path}.tags"))?;
    contacts::check_tags(&input.tags, &format!("{path}.tags"))?;
    let mut segment_ids = BTreeSet::new();
    for id in &input.segment_ids {
        let (id, loaded) = command::known::<Segment>(gateway, caller, id, "segment").await?;
        if loaded.aggregate.deleted || loaded.aggregate.workspace_id != Some(workspace) {
            return Err(AppError::not_found("segment"));
        }
        segment_ids.insert(SegmentId(id));
    }
    let mut contact_ids = BTreeSet::new();
    let ids: Result<Vec<Uuid>, _> =
        input.contact_ids.iter().map(|id| Uuid::try_parse(id)).collect();
    let ids = ids.map_err(|_| AppError::not_found("contact"))?;
    for chunk in ids.chunks(CHUNK) {
        let found = gateway.bus.load_many::<Contact>(chunk).await?;
        for id in chunk {
            let is_ours = found
                .get(id)
                .is_some_and(|loaded| loaded.aggregate.workspace_id == Some(workspace));
            if !is_ours {
                return Err(AppError::not_found("contact"));
            }
            contact_ids.insert(ContactId(*id));
        }
    }
    let tags = input.tags.iter().map(|tag| tag.trim().to_owned()).collect();
    Ok(Audience { all: input.all, segment_ids, contact_ids, tags, exclude: None })
}

/// Whether the segments that an audience names are still there.
pub(super) async fn check_segments(gateway: &Gateway, audience: &Audience) -> AppResult<()> {
    let mut part = Some(audience);
    while let Some(audience) = part {
        let ids: Vec<Uuid> = audience.segment_ids.iter().map(|id| id.0).collect();
        let found = gateway.bus.load_many::<Segment>(&ids).await?;
        let is_living = |id: &Uuid| found.get(id).is_some_and(|loaded| !loaded.aggregate.deleted);
        if ids.iter().any(|id| !is_living(id)) {
            return Err(AppError::conflict(
                "the audience names a segment that was deleted; update the campaign's audience",
            ));
        }
        part = audience.exclude.as_deref();
    }
    Ok(())
}

/// A name for a copy, within the limit.
pub(super) fn copy_name(name: &str) -> String {
    const SUFFIX: &str = " (copy)";
    let kept: String = name.chars().take(NAME_CHARS_MAX - SUFFIX.len()).collect();
    format!("{kept}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use domain::campaign::WhenPast;
    use domain::primitives::DailyHours;
    use domain::template::TemplateCategory;
    use serde_json::json;

    use super::*;

    fn template() -> Template {
        let components = json!([{ "type": "BODY", "text": "Hi {{1}}, {{2}}", "example": { "body_text": [["a", "b"]] } }]);
        Template { components, ..Template::default() }
    }

    fn refused(given: Value) -> AppError {
        parameters(&template(), Some(given)).unwrap_err()
    }

    #[test]
    fn parameters_are_brought_under_their_slots_names() {
        let parameters =
            parameters(&template(), Some(json!({ "1": "{{name | default: you}}", "body.2": 7 })))
                .unwrap();
        let expected = json!({ "body.1": "{{name | default: you}}", "body.2": "7" });
        assert_eq!(Value::Object(parameters.into_known().unwrap()), expected);
    }

    #[test]
    fn what_nobody_could_be_sent_is_refused_with_its_path() {
        assert_eq!(refused(json!({ "1": "a" })).field.as_deref(), Some("input.parameters"));
        assert_eq!(
            refused(json!({ "1": "a", "9": "b" })).field.as_deref(),
            Some("input.parameters.9")
        );
        let misspelt = refused(json!({ "1": "{{nmae}}", "2": "b" }));
        assert_eq!(misspelt.field.as_deref(), Some("input.parameters.body.1"));
        assert_eq!(refused(json!(["a"])).field.as_deref(), Some("input.parameters"));
        assert_eq!(
            refused(json!({ "1": ["a"], "2": "b" })).field.as_deref(),
            Some("input.parameters.1")
        );
    }

    #[test]
    fn a_schedule_lies_ahead_and_promises_only_what_is_kept() {
        let now = "2026-11-27T08:00:00Z".parse().unwrap();
        let input = |start: &str| ScheduleInput {
            start_at: start.parse().unwrap(),
            time_zone: "Europe/Berlin".to_owned(),
            recipient_local: false,
            send_window: None,
            when_past: WhenPast::default(),
            recurrence: None,
        };
        assert!(checked_schedule(input("2026-11-27T09:00:00"), now).is_ok());
        assert!(checked_schedule(input("2026-11-27T08:56:00"), now).is_ok());
        let past = checked_schedule(input("2026-11-27T08:54:00"), now).unwrap_err();
        assert_eq!(past.field.as_deref(), Some("input.schedule.startAt"));
        let zone =
            ScheduleInput { time_zone: "Mars/Base".to_owned(), ..input("2026-11-28T09:00:00") };
        assert_eq!(
            checked_schedule(zone, now).unwrap_err().field.as_deref(),
            Some("input.schedule.timeZone")
        );
        for rule in [
            "FREQ=DAILY",
            "FREQ=HOURLY;COUNT=3",
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1",
            "FREQ=DAILY;UNTIL=20261127T085000",
        ] {
            let again =
                ScheduleInput { recurrence: Some(rule.to_owned()), ..input("2026-11-27T08:40:00") };
            let refused = checked_schedule(again, now).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some("input.schedule.recurrence"), "{rule}");
        }
        let monthly = ScheduleInput {
            recurrence: Some("FREQ=MONTHLY;COUNT=3".to_owned()),
            ..input("2026-11-01T09:00:00")
        };
        assert!(checked_schedule(monthly, now).is_ok());
        let hours = |from: &str, to: &str| {
            Some(DailyHours { from: from.parse().unwrap(), to: to.parse().unwrap() })
        };
        let empty = ScheduleInput {
            send_window: hours("09:00:00", "09:00:00"),
            ..input("2026-11-28T09:00:00")
        };
        let refused = checked_schedule(empty, now).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("input.schedule.sendWindow"));
    }

    #[test]
    fn a_time_has_passed_for_recipients_when_it_has_passed_everywhere() {
        let input = |start: &str| ScheduleInput {
            start_at: start.parse().unwrap(),
            time_zone: "Europe/Berlin".to_owned(),
            recipient_local: true,
            send_window: None,
            when_past: WhenPast::default(),
            recurrence: None,
        };
        let now = "2026-11-27T08:00:00Z".parse().unwrap();
        assert!(checked_schedule(input("2026-11-26T20:00:00"), now).is_ok());
        let past = checked_schedule(input("2026-11-26T19:54:00"), now).unwrap_err();
        assert_eq!(past.field.as_deref(), Some("input.schedule.startAt"));
    }

    #[test]
    fn quiet_hours_may_not_cover_a_marketing_campaigns_window() {
        let hours = |from: &str, to: &str| {
            Some(DailyHours { from: from.parse().unwrap(), to: to.parse().unwrap() })
        };
        let mut account = Account::default();
        account.settings.quiet_hours = hours("21:00:00", "08:00:00");
        let check = |category, window| {
            let schedule = CampaignSchedule {
                start_at: "2026-11-27T09:00:00".parse().unwrap(),
                time_zone: "Europe/Berlin".to_owned(),
                recipient_local: true,
                send_window: window,
                when_past: WhenPast::default(),
                recurrence: None,
            };
            let plan = CampaignPlan {
                name: "x".to_owned(),
                template_id: TemplateId(Uuid::nil()),
                parameters: Personal::Known(Map::new()),
                audience: Audience::default(),
                schedule: Some(schedule),
                messages_per_second: None,
                frequency_cap: None,
                time_to_live_s: None,
            };
            let template = Template { category: Some(category), ..Template::default() };
            check_hours(&plan, &account, &template, "input.schedule").map_err(|error| error.field)
        };
        let night = hours("22:00:00", "06:00:00");
        let refused = Err(Some("input.schedule.sendWindow".to_owned()));
        assert_eq!(check(TemplateCategory::Marketing, night), refused);
        assert_eq!(check(TemplateCategory::Utility, night), Ok(()));
        assert_eq!(check(TemplateCategory::Marketing, hours("20:00:00", "06:00:00")), Ok(()));
        assert_eq!(check(TemplateCategory::Marketing, None), Ok(()));
    }

    #[test]
    fn the_name_of_a_copy_fits() {
        assert_eq!(copy_name("Sale"), "Sale (copy)");
        assert_eq!(copy_name(&"x".repeat(200)).chars().count(), 200);
    }
}
