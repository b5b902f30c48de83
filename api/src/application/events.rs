//! The event log as callers see it: limited to what is theirs, personal data masked for whoever may not see it, in one
//! envelope wherever it goes.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use domain::port::{AggregateType, EventFeed, Position, RecordedEvent, StreamId};
use domain::primitives::{AccountId, MARK_ERASED, MARK_KNOWN, Personal, WorkspaceId};
use infrastructure::ledger::Ledger;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::caller::Caller;
use super::command;
use super::error::{AppError, AppResult};
use super::page::{self, Edge, Page};
use super::read;
use super::view::{EventView, MASK, Show};
use crate::app::Gateway;

/// Names in one list of a filter.
const FILTER_MAX: usize = 200;
/// Pages of the log that one query looks through for events that pass its filter.
const PAGES_MAX: usize = 50;
/// Events looked at together.
const CHUNK: usize = 500;
/// Streams read together.
const STREAMS_AT_ONCE: usize = 100;
/// The sequence of a stream's first event.
const FIRST: u64 = 1;

/// Which events; empty lists and `None` ask for all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub types: Vec<String>,
    pub aggregate_type: Option<String>,
    pub aggregate_ids: Vec<String>,
    pub account_ids: Vec<String>,
    pub recorded_from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub recorded_to: Option<DateTime<Utc>>,
    pub correlation_id: Option<String>,
}

/// Events after a position, in order, as far as they are the caller's. Its cursors are positions. A page may be short, and
/// even empty, with more to come: then its end says where to go on. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for an account or an aggregate that is not the caller's; VALIDATION_FAILED.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    after: Position,
    filter: EventFilter,
    first: Option<i32>,
) -> AppResult<Page<EventView>> {
    caller.require(Scope::Read)?;
    let filter = resolve(gateway, caller, filter).await?;
    let limit = page::limit(first, "first")?;
    let mut events = vec![];
    let mut place = after;
    let mut has_next_page = false;
    for _ in 0..PAGES_MAX {
        let found = gateway.ledger.read_after(place, &filter, CHUNK).await?;
        let mut visible = found.events.into_iter().filter(|event| may_see(caller, event));
        let room = limit - events.len();
        events.extend(visible.by_ref().take(room));
        if events.len() == limit && visible.next().is_some() {
            has_next_page = true;
            place = events.last().map_or(place, |event: &RecordedEvent| event.position);
            break;
        }
        place = found.scanned_to;
        has_next_page = !found.at_head;
        if found.at_head || events.len() == limit {
            break;
        }
    }
    let edges = views(gateway, caller, events).await?;
    let edges = edges.into_iter().map(|node| Edge { cursor: node.position.to_string(), node });
    let edges: Vec<_> = edges.collect();
    Ok(Page {
        has_next_page,
        has_previous_page: after > Position(0),
        start_cursor: edges.first().map(|edge| edge.cursor.clone()),
        end_cursor: Some(place.to_string()),
        edges,
    })
}

/// A caller's filter in the log's own terms, its ids checked.
///
/// # Errors
/// NOT_FOUND for an account or an aggregate that is not the caller's; VALIDATION_FAILED.
pub async fn resolve(
    gateway: &Gateway,
    caller: &Caller,
    filter: EventFilter,
) -> AppResult<domain::port::EventFilter> {
    let lists = [
        (filter.types.len(), "filter.types"),
        (filter.aggregate_ids.len(), "filter.aggregateIds"),
        (filter.account_ids.len(), "filter.accountIds"),
    ];
    if let Some((_, field)) = lists.into_iter().find(|(len, _)| *len > FILTER_MAX) {
        return Err(AppError::invalid(field, format!("give at most {FILTER_MAX}")));
    }
    let aggregate_types = match &filter.aggregate_type {
        None => vec![],
        Some(name) => vec![AggregateType::parse(name).ok_or_else(|| {
            let known: Vec<&str> =
                AggregateType::ALL.into_iter().map(AggregateType::as_str).collect();
            AppError::invalid("filter.aggregateType", format!("use one of {}", known.join(", ")))
        })?],
    };
    check_types(&filter.types, "filter.types")?;
    let mut aggregate_ids = vec![];
    for id in &filter.aggregate_ids {
        aggregate_ids.push(stream_of(gateway, caller, id, &aggregate_types).await?);
    }
    let accounts = command::accounts(gateway, caller, &filter.account_ids).await?;
    let correlation_id = filter.correlation_id.as_deref().map(Uuid::try_parse).transpose();
    // What has no account (a contact, a segment) is the workspace's, so an account's limit is judged event by event.
    let account_ids = accounts.into_iter().map(|id| id.0).collect();
    Ok(domain::port::EventFilter {
        aggregate_types,
        aggregate_ids,
        event_types: filter.types,
        workspace_ids: read::scope(caller).workspaces.unwrap_or_default(),
        account_ids,
        recorded_from: filter.recorded_from,
        recorded_to: filter.recorded_to,
        correlation_id: correlation_id.map_err(|_| {
            AppError::invalid("filter.correlationId", "use the correlationId of an event")
        })?,
    })
}

/// Each is the type of some event.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn check_types(types: &[String], field: &str) -> AppResult<()> {
    let known: BTreeSet<&str> =
        infrastructure::ledger::catalogue::events().map(|(name, _)| name).collect();
    match types.iter().find(|name| !known.contains(name.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let shown: String = unknown.chars().take(100).collect();
            let problem = format!("there is no event type {shown:?}; docs/events.md lists them");
            Err(AppError::invalid(field, problem))
        }
    }
}

/// The id of something the caller may see.
async fn stream_of(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    types: &[AggregateType],
) -> AppResult<Uuid> {
    let not_found = || AppError::not_found("aggregate");
    let id = Uuid::try_parse(id).map_err(|_| not_found())?;
    let types = if types.is_empty() { AggregateType::ALL.as_slice() } else { types };
    for aggregate_type in types {
        let stream = StreamId::new(*aggregate_type, id);
        let first = gateway.ledger.read_stream_page(stream, 0, 1).await?;
        if let Some(event) = first.first() {
            return if may_see(caller, event) { Ok(id) } else { Err(not_found()) };
        }
    }
    Err(not_found())
}

/// Events of the whole gateway (its API keys for several workspaces) are for keys that are not limited, and whatever is
/// about API keys is for ADMIN alone.
pub fn may_see(caller: &Caller, event: &RecordedEvent) -> bool {
    let is_about_access = event.is(AggregateType::ApiKey) || event.is(AggregateType::User);
    // Who has access, and where events are sent, is told of accounts that a limited caller may not know of.
    let is_of_all = is_about_access || event.is(AggregateType::WebhookEndpoint);
    if is_about_access && !caller.has(Scope::Admin) || is_of_all && caller.accounts.is_some() {
        return false;
    }
    match event.workspace_id {
        Some(workspace) => {
            let account = match event.stream.aggregate_type {
                AggregateType::Account => Some(event.stream.id),
                _ => event.account_id,
            };
            caller.may_see(Some(WorkspaceId(workspace)), account.map(AccountId))
        }
        None => !caller.is_limited(),
    }
}

/// Which part of a stream is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryRequest {
    stream: StreamId,
    /// A sequence.
    after: u64,
    limit: usize,
}

impl HistoryRequest {
    /// # Errors
    /// VALIDATION_FAILED for a page that is none.
    pub fn new(stream: StreamId, first: Option<i32>, after: Option<&str>) -> AppResult<Self> {
        let limit = page::limit(first, "first")?;
        let after = after.map(|text| text.parse()).transpose();
        let after = after
            .map_err(|_| AppError::invalid("after", "use a cursor that an earlier page gave"))?;
        Ok(Self { stream, after: after.unwrap_or(0), limit })
    }
}

/// One stream's events in order: the audit trail. Its cursors are sequences. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED for a page that is none.
pub async fn history(
    gateway: &Gateway,
    caller: &Caller,
    aggregate_type: AggregateType,
    id: Uuid,
    first: Option<i32>,
    after: Option<&str>,
) -> AppResult<Page<EventView>> {
    caller.require(Scope::Read)?;
    let request = HistoryRequest::new(StreamId::new(aggregate_type, id), first, after)?;
    let found = histories(gateway, caller, std::slice::from_ref(&request)).await?;
    let page = found.into_values().next();
    page.ok_or_else(|| AppError::not_found(aggregate_type.as_str()))
}

/// The same of many streams at once. One that the caller may not see is left out. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn histories(
    gateway: &Gateway,
    caller: &Caller,
    requests: &[HistoryRequest],
) -> AppResult<HashMap<HistoryRequest, Page<EventView>>> {
    caller.require(Scope::Read)?;
    let mut pages = HashMap::new();
    for requests in requests.chunks(STREAMS_AT_ONCE) {
        let mut found: HashMap<StreamId, Vec<RecordedEvent>> = HashMap::new();
        let events = match requests {
            [one] => gateway.ledger.read_stream_page(one.stream, one.after, one.limit + 1).await?,
            // Streams are short: reading some of them whole costs less than asking for each.
            many => {
                let streams: BTreeSet<StreamId> =
                    many.iter().map(|request| request.stream).collect();
                gateway.ledger.read_streams(&Vec::from_iter(streams)).await?
            }
        };
        for event in events {
            found.entry(event.stream).or_default().push(event);
        }
        let (mut asked, mut shown) = (vec![], vec![]);
        for request in requests {
            let events = found.get(&request.stream).map_or(&[][..], Vec::as_slice);
            if events.iter().any(|event| !may_see(caller, event)) {
                continue;
            }
            let after = events.iter().filter(|event| event.sequence > request.after);
            let mut events: Vec<_> = after.take(request.limit + 1).cloned().collect();
            let has_next_page = events.len() > request.limit;
            events.truncate(request.limit);
            asked.push((request, events.len(), has_next_page));
            shown.extend(events);
        }
        let mut shown = views(gateway, caller, shown).await?.into_iter();
        for (request, count, has_next_page) in asked {
            let edges = shown.by_ref().take(count);
            let edges = edges.map(|node| Edge { cursor: node.sequence.to_string(), node });
            let edges: Vec<_> = edges.collect();
            let start_cursor = edges.first().map(|edge| edge.cursor.clone());
            let end_cursor = edges.last().map(|edge| edge.cursor.clone());
            let has_previous_page = request.after > 0;
            let page = Page { edges, has_next_page, has_previous_page, start_cursor, end_cursor };
            pages.insert(request.clone(), page);
        }
    }
    Ok(pages)
}

/// Events as the caller may see them, each with what its message or campaign was given by the integrator.
///
/// # Errors
/// UNAVAILABLE.
pub async fn views(
    gateway: &Gateway,
    caller: &Caller,
    events: Vec<RecordedEvent>,
) -> AppResult<Vec<EventView>> {
    let queries = read::queries(gateway);
    let owns = owns(&gateway.ledger, Some(&queries), &events).await?;
    let show = Show::to(caller);
    let view = |event: RecordedEvent| {
        let own = owns.get(&event.stream);
        view(event, own, show)
    };
    Ok(events.into_iter().map(view).collect())
}

/// What the integrator gave a message or a campaign. It is stored once, with the stream's first event, and goes with every
/// event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Own {
    external_id: Option<String>,
    /// A message's.
    metadata: Option<Value>,
    /// Whom a message is to or from.
    pub(super) contact_id: Option<Uuid>,
    /// What a message is part of.
    pub(super) campaign_id: Option<Uuid>,
}

impl Own {
    /// What a stream's first event tells.
    fn told_by(event: &RecordedEvent) -> Self {
        let header = event.data.get("header").unwrap_or(&event.data);
        let known = |name: &str| header.get(name)?.get(MARK_KNOWN);
        let id = |name: &str| Uuid::try_parse(header.get(name)?.as_str()?).ok();
        match event.stream.aggregate_type {
            AggregateType::Campaign => Self {
                external_id: header.get("external_id").and_then(Value::as_str).map(str::to_owned),
                ..Self::default()
            },
            AggregateType::Message => Self {
                external_id: known("external_id").and_then(Value::as_str).map(str::to_owned),
                metadata: known("metadata").cloned(),
                contact_id: id("contact_id"),
                campaign_id: id("campaign_id"),
            },
            // A contact's own is what identifies them.
            _ => Self::default(),
        }
    }
}

/// What the integrator gave each of the messages and campaigns that these events are about, looked up at once: in the read
/// models where there are any (folding every message's stream for a page of events would cost more than the page), and in
/// the log for what they do not show yet.
pub(super) async fn owns(
    ledger: &Ledger,
    queries: Option<&::projections::Queries>,
    events: &[RecordedEvent],
) -> AppResult<HashMap<StreamId, Own>> {
    let mut owns = HashMap::new();
    let has_own = |event: &&RecordedEvent| {
        matches!(event.stream.aggregate_type, AggregateType::Message | AggregateType::Campaign)
    };
    let mut unknown = BTreeSet::new();
    for event in events.iter().filter(has_own) {
        if event.sequence == FIRST {
            owns.insert(event.stream, Own::told_by(event));
        } else {
            unknown.insert(event.stream);
        }
    }
    unknown.retain(|stream| !owns.contains_key(stream));
    if let Some(queries) = queries.filter(|_| !unknown.is_empty()) {
        let of = |kind| -> Vec<Uuid> {
            unknown.iter().filter(|s| s.aggregate_type == kind).map(|s| s.id).collect()
        };
        let (messages, campaigns) = (of(AggregateType::Message), of(AggregateType::Campaign));
        let everything = ::projections::Scope::everything();
        for (id, stored) in queries.messages_by_id(&everything, &messages).await? {
            let Some(header) = stored.into_state().header else { continue };
            let own = Own {
                external_id: header.external_id.and_then(Personal::into_known),
                metadata: header.metadata.and_then(Personal::into_known),
                contact_id: Some(header.contact_id.0),
                campaign_id: header.campaign_id.map(|id| id.0),
            };
            owns.insert(StreamId::new(AggregateType::Message, id), own);
        }
        for (id, stored) in queries.campaigns_by_id(&everything, &campaigns).await? {
            let own = Own { external_id: stored.into_state().external_id, ..Own::default() };
            owns.insert(StreamId::new(AggregateType::Campaign, id), own);
        }
        unknown.retain(|stream| !owns.contains_key(stream));
    }
    let unknown: Vec<StreamId> = unknown.into_iter().collect();
    for streams in unknown.chunks(STREAMS_AT_ONCE) {
        let events = ledger.read_streams(streams).await?;
        let first = events.iter().filter(|event| event.sequence == FIRST);
        owns.extend(first.map(|event| (event.stream, Own::told_by(event))));
    }
    Ok(owns)
}

/// One event as somebody may see it.
pub(crate) fn view(event: RecordedEvent, own: Option<&Own>, show: Show) -> EventView {
    let mut data = shown(event.data, show);
    if let Some(object) = data.as_object_mut() {
        // The envelope says it already.
        object.remove("type");
        // The first event of a message has it, at its top or in its header.
        let has_own = event.sequence == FIRST;
        if let Some(metadata) = own.and_then(|own| own.metadata.as_ref()).filter(|_| !has_own) {
            object.insert("metadata".to_owned(), show.value(metadata));
        }
    }
    EventView {
        position: event.position,
        id: event.event_id,
        event_type: event.event_type,
        version: event.event_version,
        aggregate_type: event.stream.aggregate_type.as_str(),
        aggregate_id: event.stream.id,
        sequence: event.sequence,
        workspace_id: event.workspace_id.map(WorkspaceId),
        account_id: event.account_id.map(AccountId),
        external_id: own.and_then(|own| own.external_id.clone()),
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
        actor: event.metadata.actor,
        correlation_id: event.metadata.correlation_id,
        causation_id: event.metadata.causation_id,
        data,
    }
}

/// [`unmarked`] of an event's data or an aggregate's state as a whole. A segment's rule bears no marks, and what it compares
/// attributes with is masked too.
fn shown(value: Value, show: Show) -> Value {
    let mut value = unmarked(value, show);
    if let Some(rule) = value.get_mut("rule") {
        *rule = show.rule(rule);
    }
    value
}

/// Data without the marks of personal data: values in the clear or masked, and null for what was erased; then the object
/// it stood in says so under `erased`, by name.
pub(crate) fn unmarked(value: Value, show: Show) -> Value {
    match value {
        Value::Object(mut object) if is_mark(&object, MARK_KNOWN) => {
            match object.remove(MARK_KNOWN) {
                Some(known) => match (show, &known) {
                    (Show::Everything, _) => known,
                    // Names of attributes and slots stay; what they hold does not.
                    (Show::Masked, Value::Object(_) | Value::Array(_)) => show.value(&known),
                    (Show::Masked, _) => Value::from(MASK),
                },
                None => Value::Null,
            }
        }
        Value::Object(object) => {
            let mut shown = Map::new();
            let mut erased = vec![];
            for (name, value) in object {
                let is_erased = value.as_object().is_some_and(|mark| is_mark(mark, MARK_ERASED));
                if is_erased {
                    erased.push(Value::from(name.as_str()));
                    shown.insert(name, Value::Null);
                } else {
                    shown.insert(name, unmarked(value, show));
                }
            }
            if !erased.is_empty() {
                shown.insert("erased".to_owned(), Value::Array(erased));
            }
            Value::Object(shown)
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| unmarked(item, show)).collect())
        }
        other => other,
    }
}

fn is_mark(object: &Map<String, Value>, mark: &str) -> bool {
    object.len() == 1 && object.contains_key(mark)
}

/// The envelope of every event that leaves the gateway: structured CloudEvents 1.0.
pub fn event_json(event: &EventView, public_url: &Url) -> Value {
    let schema = format!("/schemas/{}/{}", event.event_type, event.version);
    let source = match (event.account_id, event.aggregate_type) {
        (Some(account), _) => format!("/accounts/{account}"),
        (None, "account") => format!("/accounts/{}", event.aggregate_id),
        (None, _) => match event.workspace_id {
            Some(workspace) => format!("/workspaces/{workspace}"),
            None => "/".to_owned(),
        },
    };
    let mut envelope = json!({
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": event.event_type,
        "subject": format!("{}/{}", event.aggregate_type, event.aggregate_id),
        "time": instant(event.occurred_at),
        "datacontenttype": "application/json",
        "dataschema": public_url.join(&schema).map_or(schema, String::from),
        "position": event.position.to_string(),
        "sequence": event.sequence.to_string(),
        "recordedat": instant(event.recorded_at),
        "correlationid": event.correlation_id,
        "actor": event.actor.to_string(),
        "data": event.data,
    });
    let optional = [
        ("causationid", event.causation_id.map(|id| id.to_string())),
        ("workspaceid", event.workspace_id.map(|id| id.to_string())),
        ("accountid", event.account_id.map(|id| id.to_string())),
        ("externalid", event.external_id.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            envelope[name] = Value::from(value);
        }
    }
    envelope
}

/// RFC 3339 in UTC with milliseconds, as everywhere.
fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Events as their reader may see them anyway: whoever owns the log's files. Personal data masked unless `personal`.
///
/// # Errors
/// UNAVAILABLE.
pub async fn shown_events(
    ledger: &Ledger,
    events: Vec<RecordedEvent>,
    personal: bool,
) -> AppResult<Vec<EventView>> {
    let owns = owns(ledger, None, &events).await?;
    let show = Show::of(personal);
    let events = events.into_iter().map(|event| {
        let own = owns.get(&event.stream);
        view(event, own, show)
    });
    Ok(events.collect())
}

/// Events as they leave for a webhook endpoint. Personal data masked unless `personal`.
///
/// # Errors
/// UNAVAILABLE.
pub(crate) async fn leaving(
    gateway: &Gateway,
    events: Vec<RecordedEvent>,
    personal: bool,
) -> AppResult<Vec<EventView>> {
    let queries = read::queries(gateway);
    let owns = owns(&gateway.ledger, Some(&queries), &events).await?;
    let show = Show::of(personal);
    let events = events.into_iter().map(|event| {
        let own = owns.get(&event.stream);
        view(event, own, show)
    });
    Ok(events.collect())
}

/// An event's data, or an aggregate's state, without marks; personal data masked unless `personal`.
pub fn shown_data(value: &Value, personal: bool) -> Value {
    shown(value.clone(), Show::of(personal))
}

#[cfg(test)]
mod tests {
    use domain::port::Metadata;
    use domain::primitives::Actor;

    use super::*;

    fn recorded(data: Value, aggregate_type: AggregateType) -> RecordedEvent {
        let at = DateTime::from_timestamp(1_795_000_000, 5_000_000).unwrap();
        RecordedEvent {
            position: Position(7),
            event_id: Uuid::from_u128(1),
            stream: StreamId::new(aggregate_type, Uuid::from_u128(2)),
            sequence: 3,
            event_type: "message.queued".to_owned(),
            event_version: 1,
            data,
            metadata: Metadata {
                actor: Actor::process("dispatch"),
                correlation_id: Uuid::from_u128(4),
                causation_id: None,
                subject: None,
            },
            workspace_id: Some(Uuid::from_u128(5)),
            account_id: Some(Uuid::from_u128(6)),
            occurred_at: at,
            recorded_at: at,
        }
    }

    #[test]
    fn marks_become_values_or_masks_or_nulls() {
        let data = json!({
            "type": "message.queued", "due_at": "2026-11-23T09:00:00Z",
            "to": { "$p": { "phone": "+4915112345678" } }, "content": { "$p": "hi" }, "old": { "$e": true },
        });
        let open = unmarked(data.clone(), Show::Everything);
        assert_eq!(open["to"]["phone"], "+4915112345678");
        assert_eq!((&open["old"], &open["erased"]), (&Value::Null, &json!(["old"])));
        let masked = unmarked(data, Show::Masked);
        assert_eq!(masked["to"], json!({ "phone": MASK }));
        assert_eq!(masked["content"], MASK);
        assert_eq!(masked["due_at"], "2026-11-23T09:00:00Z");
    }

    #[test]
    fn a_segments_rule_does_not_tell_what_it_compares_attributes_with() {
        let condition = |value: &str| json!({ "attribute": "iban", "op": "eq", "value": value });
        let rule =
            |value: &str| json!({ "all": [{ "tag": "vip" }, { "not": [condition(value)] }] });
        let data = json!({ "name": "x", "rule": rule("DE02") });
        assert_eq!(shown_data(&data, true)["rule"], rule("DE02"));
        assert_eq!(shown_data(&data, false)["rule"], rule(MASK));
    }

    #[test]
    fn an_event_leaves_as_a_cloud_event() {
        let event =
            recorded(json!({ "type": "message.queued", "attempt": 1 }), AggregateType::Message);
        let own = Own {
            external_id: Some("order-1".to_owned()),
            metadata: Some(json!({ "order": 7 })),
            ..Own::default()
        };
        let event = view(event, Some(&own), Show::Masked);
        let json = event_json(&event, &Url::parse("https://gateway.example/").unwrap());
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["source"], format!("/accounts/{}", Uuid::from_u128(6)));
        assert_eq!(json["subject"], format!("message/{}", Uuid::from_u128(2)));
        assert_eq!(json["time"], "2026-11-18T11:06:40.005Z");
        assert_eq!(json["dataschema"], "https://gateway.example/schemas/message.queued/1");
        assert_eq!((&json["position"], &json["sequence"]), (&json!("7"), &json!("3")));
        assert_eq!(json["actor"], "process:dispatch");
        assert_eq!(json["externalid"], "order-1");
        assert_eq!(json["data"], json!({ "attempt": 1, "metadata": { "order": MASK } }));
        assert!(json.get("causationid").is_none());
    }

    #[test]
    fn a_limited_key_sees_its_own_and_only_admin_sees_keys() {
        let own = Caller {
            workspaces: Some(BTreeSet::from([WorkspaceId(Uuid::from_u128(5))])),
            accounts: Some(BTreeSet::from([AccountId(Uuid::from_u128(6))])),
            scopes: BTreeSet::from([Scope::Read]),
            ..Caller::everything(Actor::system("test"))
        };
        let event = |workspace: Option<u128>, account: Option<u128>, kind| RecordedEvent {
            workspace_id: workspace.map(Uuid::from_u128),
            account_id: account.map(Uuid::from_u128),
            ..recorded(json!({}), kind)
        };
        assert!(may_see(&own, &event(Some(5), Some(6), AggregateType::Message)));
        assert!(!may_see(&own, &event(Some(5), Some(9), AggregateType::Message)));
        assert!(!may_see(&own, &event(Some(9), Some(6), AggregateType::Message)));
        assert!(may_see(&own, &event(Some(5), None, AggregateType::Contact)));
        assert!(!may_see(&own, &event(Some(5), None, AggregateType::Account)));
        assert!(!may_see(&own, &event(None, None, AggregateType::ApiKey)));
        assert!(!may_see(&own, &event(Some(5), None, AggregateType::ApiKey)));
        let admin = Caller::everything(Actor::system("test"));
        assert!(may_see(&admin, &event(None, None, AggregateType::ApiKey)));
    }
}
