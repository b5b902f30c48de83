//! One thing of any kind as the log has it: how it was at an instant, and what changed between two, by which events. What is
//! told here is folded from the log alone, but for a campaign's counts, which its messages' events make.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use domain::port::{AggregateType, EventFeed, FeedError, Position, RecordedEvent, StreamId};
use domain::primitives::{MARK_ERASED, MARK_KNOWN};
use infrastructure::ledger::AnyAggregate;
use serde_json::Value;
use uuid::Uuid;

use super::caller::Caller;
use super::error::{AppError, AppResult};
use super::view::{EventView, MASK, Show};
use super::{command, events, read, webhook_endpoints};
use crate::app::Gateway;

/// Events that one change names at most: the last ones.
pub const CAUSES_MAX: usize = 100;
/// Under which a campaign's state has its counts.
pub const PROGRESS: &str = "progress";

/// Something the caller may see, at an instant.
#[derive(Clone, Debug)]
pub struct TrailView {
    pub stream: StreamId,
    pub as_of: DateTime<Utc>,
    /// Without marks, and masked for the caller.
    pub state: Value,
}

/// A field that differs between two instants.
#[derive(Clone, Debug)]
pub struct ChangeView {
    /// Names within names are joined by dots.
    pub field: String,
    /// `Null`: it had none, or what it had was erased.
    pub before: Value,
    pub after: Value,
    /// At most [`CAUSES_MAX`], in order.
    pub events: Vec<EventView>,
}

/// One thing, now or as it was known at an instant. Scope READ; of an API key, ADMIN.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND, also where it was not known then; VALIDATION_FAILED for a kind that there is not.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    aggregate_type: &str,
    id: &str,
    as_of: Option<DateTime<Utc>>,
) -> AppResult<TrailView> {
    caller.require(Scope::Read)?;
    let aggregate_type = AggregateType::parse(aggregate_type).ok_or_else(|| {
        let known: Vec<&str> = AggregateType::ALL.into_iter().map(AggregateType::as_str).collect();
        AppError::invalid("aggregateType", format!("use one of {}", known.join(", ")))
    })?;
    let not_found = || AppError::not_found(aggregate_type.as_str());
    let id = Uuid::try_parse(id).map_err(|_| not_found())?;
    let stream = StreamId::new(aggregate_type, id);
    let events = known(gateway, caller, stream).await?;
    let as_of = as_of.unwrap_or_else(|| gateway.clock.now());
    let state = state_at(stream, &events, as_of).map_err(command::unavailable)?;
    let mut state = state.ok_or_else(not_found)?;
    if let Some(counts) = counts(gateway, stream, as_of).await? {
        state[PROGRESS] = counts;
    }
    let personal = caller.has(Scope::Personal);
    Ok(TrailView { stream, as_of, state: events::shown_data(&state, personal) })
}

/// What changed after `from`, or from the beginning, until the trail's instant. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED where `from` is later.
pub async fn changes(
    gateway: &Gateway,
    caller: &Caller,
    trail: &TrailView,
    from: Option<DateTime<Utc>>,
) -> AppResult<Vec<ChangeView>> {
    caller.require(Scope::Read)?;
    // Nothing was before.
    let from = from.unwrap_or(DateTime::UNIX_EPOCH);
    if from > trail.as_of {
        return Err(AppError::invalid("from", "use an instant before the one that is asked about"));
    }
    let events = known(gateway, caller, trail.stream).await?;
    let show = Show::to(caller);
    let mut found =
        between(trail.stream, &events, from, trail.as_of).map_err(command::unavailable)?;
    let before = counts(gateway, trail.stream, from).await?;
    let after = counts(gateway, trail.stream, trail.as_of).await?;
    found.extend(count_changes(before, after));
    let causes: BTreeSet<Position> =
        found.iter().flat_map(|change| change.causes.iter().copied()).collect();
    let causes = events.into_iter().filter(|event| causes.contains(&event.position)).collect();
    let causes = events::views(gateway, caller, causes).await?;
    let causes: BTreeMap<Position, EventView> =
        causes.into_iter().map(|event| (event.position, event)).collect();
    let view = |change: Change| ChangeView {
        before: change.before.shown(show),
        after: change.after.shown(show),
        events: change.causes.iter().filter_map(|at| causes.get(at)).cloned().collect(),
        field: change.field,
    };
    Ok(found.into_iter().map(view).collect())
}

/// All events of something that the caller may see.
async fn known(
    gateway: &Gateway,
    caller: &Caller,
    stream: StreamId,
) -> AppResult<Vec<RecordedEvent>> {
    if stream.aggregate_type == AggregateType::WebhookEndpoint {
        webhook_endpoints::known(gateway, caller, &stream.id.to_string()).await?;
    }
    let events = gateway.ledger.read_streams(&[stream]).await.map_err(command::unavailable)?;
    // A user or a key may have belonged to the caller's workspace once, and to another since.
    let is_seen = |event: &RecordedEvent| match stream.aggregate_type {
        AggregateType::WebhookEndpoint => true,
        _ => events::may_see(caller, event),
    };
    if events.is_empty() || !events.iter().all(is_seen) {
        return Err(AppError::not_found(stream.aggregate_type.as_str()));
    }
    Ok(events)
}

/// A campaign's; `None` of everything else.
async fn counts(
    gateway: &Gateway,
    stream: StreamId,
    at: DateTime<Utc>,
) -> AppResult<Option<Value>> {
    if stream.aggregate_type != AggregateType::Campaign {
        return Ok(None);
    }
    let known = read::queries(gateway).campaign_progress_as_of(stream.id, at).await?;
    serde_json::to_value(known.counts).map(Some).map_err(command::unavailable)
}

/// The state that a stream's events amount to at an instant, by when the log took them, with its marks of personal data;
/// `None` where nothing was known of it then. Who was erased is told as erased at every instant, since their data is gone at
/// every instant.
///
/// # Errors
/// [`FeedError::Corrupt`].
pub fn state_at(
    stream: StreamId,
    events: &[RecordedEvent],
    at: DateTime<Utc>,
) -> Result<Option<Value>, FeedError> {
    let mut aggregate = AnyAggregate::of(stream.aggregate_type);
    let mut is_known = false;
    for event in events.iter().filter(|event| event.recorded_at <= at) {
        aggregate.apply(event)?;
        is_known = true;
    }
    if !is_known {
        return Ok(None);
    }
    let mut state = aggregate.state()?;
    if events.iter().any(|event| event.event_type == "contact.erased")
        && let Some(state) = state.as_object_mut()
    {
        state.insert("erased".to_owned(), Value::Bool(true));
    }
    Ok(Some(state))
}

/// A field that differs, not yet shown to anybody.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub field: String,
    pub before: Told,
    pub after: Told,
    /// Where the events that changed it stand, in order: at most [`CAUSES_MAX`], the last ones.
    pub causes: Vec<Position>,
}

/// A value of a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    value: Value,
    is: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Plain,
    Personal,
    /// A segment's, of which a part is personal.
    Rule,
}

impl Told {
    pub(crate) fn shown(&self, show: Show) -> Value {
        match (self.is, show) {
            (Kind::Personal, Show::Masked) if !self.value.is_null() => match &self.value {
                Value::Object(_) | Value::Array(_) => show.value(&self.value),
                _ => Value::from(MASK),
            },
            (Kind::Rule, _) => show.rule(&self.value),
            // An array may hold marks of its own.
            _ => events::unmarked(self.value.clone(), show),
        }
    }

    /// For whoever owns the log's files.
    pub fn shown_to_owner(&self, personal: bool) -> Value {
        self.shown(Show::of(personal))
    }
}

/// What differs of a stream's state between two instants, by name of the field, with what changed it. What changed and
/// changed back does not differ.
///
/// # Errors
/// [`FeedError::Corrupt`].
pub fn between(
    stream: StreamId,
    events: &[RecordedEvent],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Change>, FeedError> {
    let mut aggregate = AnyAggregate::of(stream.aggregate_type);
    let until_then = events.iter().take_while(|event| event.recorded_at <= from);
    let mut known = 0;
    for event in until_then {
        aggregate.apply(event)?;
        known += 1;
    }
    // Before its first event there is nothing, not even what a thing has by default.
    let before = if known == 0 { BTreeMap::new() } else { fields(aggregate.state()?) };
    let mut now = before.clone();
    let mut causes: BTreeMap<String, Vec<Position>> = BTreeMap::new();
    for event in events[known..].iter().take_while(|event| event.recorded_at <= to) {
        aggregate.apply(event)?;
        let next = fields(aggregate.state()?);
        for field in differing(&now, &next) {
            let causes = causes.entry(field).or_default();
            if causes.len() == CAUSES_MAX {
                causes.remove(0);
            }
            causes.push(event.position);
        }
        now = next;
    }
    Ok(differing(&before, &now)
        .into_iter()
        .map(|field| Change {
            before: before.get(&field).cloned().unwrap_or_default(),
            after: now.get(&field).cloned().unwrap_or_default(),
            causes: causes.remove(&field).unwrap_or_default(),
            field,
        })
        .collect())
}

/// How a campaign's counts differ.
pub fn count_changes(before: Option<Value>, after: Option<Value>) -> Vec<Change> {
    let of = |counts: Option<Value>| {
        counts.map(|counts| fields(serde_json::json!({ PROGRESS: counts }))).unwrap_or_default()
    };
    let (before, after) = (of(before), of(after));
    let told = |counts: &BTreeMap<String, Told>, field: &str| {
        counts.get(field).cloned().unwrap_or_default()
    };
    let change = |field: String| Change {
        before: told(&before, &field),
        after: told(&after, &field),
        causes: vec![],
        field,
    };
    differing(&before, &after).into_iter().map(change).collect()
}

fn differing(one: &BTreeMap<String, Told>, other: &BTreeMap<String, Told>) -> BTreeSet<String> {
    let all: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    all.into_iter().filter(|field| one.get(*field) != other.get(*field)).cloned().collect()
}

/// Every value of a state by its name, but for those that are nothing. Arrays and a segment's rule are values as a whole.
fn fields(state: Value) -> BTreeMap<String, Told> {
    let mut found = BTreeMap::new();
    gather(String::new(), state, Kind::Plain, &mut found);
    found
}

fn gather(name: String, value: Value, is: Kind, found: &mut BTreeMap<String, Told>) {
    match value {
        Value::Null => {}
        Value::Object(mut mark) if mark.len() == 1 && mark.contains_key(MARK_KNOWN) => {
            let known = mark.remove(MARK_KNOWN).unwrap_or_default();
            gather(name, known, Kind::Personal, found);
        }
        Value::Object(mark) if mark.len() == 1 && mark.contains_key(MARK_ERASED) => {}
        rule @ Value::Object(_) if name == "rule" => {
            found.insert(name, Told { value: rule, is: Kind::Rule });
        }
        Value::Object(object) => {
            for (inner, value) in object {
                let inner = if name.is_empty() { inner } else { format!("{name}.{inner}") };
                gather(inner, value, is, found);
            }
        }
        value => {
            found.insert(name, Told { value, is });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(state: Value, show: Show) -> Vec<(String, Value)> {
        fields(state).into_iter().map(|(field, told)| (field, told.shown(show))).collect()
    }

    #[test]
    fn fields_have_dotted_names_and_marks_say_what_is_masked() {
        let state = json!({
            "name": { MARK_KNOWN: "Ana" }, "attributes": { MARK_KNOWN: { "city": "Köln", "gone": null } },
            "language": "de", "username": { MARK_ERASED: true }, "empty": {}, "nothing": null,
            "tags": ["a", "b"], "aliases": [{ MARK_KNOWN: "+44" }], "consent": { "general": { "status": "OPTED_IN" } },
        });
        let everything: Vec<(String, Value)> = [
            ("aliases", json!(["+44"])),
            ("attributes.city", json!("Köln")),
            ("consent.general.status", json!("OPTED_IN")),
            ("language", json!("de")),
            ("name", json!("Ana")),
            ("tags", json!(["a", "b"])),
        ]
        .map(|(field, value)| (field.to_owned(), value))
        .into();
        assert_eq!(shown(state.clone(), Show::Everything), everything);
        let masked = shown(state, Show::Masked);
        let masked: Vec<&Value> = masked.iter().map(|(_, value)| value).collect();
        let mask = json!(MASK);
        assert_eq!(
            masked,
            [&json!([MASK]), &mask, &json!("OPTED_IN"), &json!("de"), &mask, &json!(["a", "b"])]
        );
    }

    #[test]
    fn what_a_rule_compares_attributes_with_is_masked() {
        let rule = json!({ "rule": { "all": [{ "attribute": "city", "op": "eq", "value": "Köln" }, { "tag": "vip" }] } });
        let masked = shown(rule, Show::Masked);
        let expected = json!({ "all": [{ "attribute": "city", "op": "eq", "value": MASK }, { "tag": "vip" }] });
        assert_eq!(masked, [("rule".to_owned(), expected)]);
    }

    #[test]
    fn a_change_of_something_masked_is_a_change_all_the_same() {
        let (one, other) =
            (json!({ "n": { MARK_KNOWN: "a" } }), json!({ "n": { MARK_KNOWN: "b" } }));
        assert_eq!(differing(&fields(one), &fields(other)).into_iter().collect::<Vec<_>>(), ["n"]);
    }
}
