//! Who brought a message about in the end: process managers carry out what somebody asked for.

use std::collections::{BTreeSet, HashMap};

use domain::api_key::Scope;
use domain::port::{AggregateType, EventFeed, Position, RecordedEvent, StreamId};
use domain::primitives::{Actor, ActorKind, MessageId};
use uuid::Uuid;

use crate::app::Gateway;
use crate::application::accounts::loop_test;
use crate::application::caller::Caller;
use crate::application::error::AppResult;
use crate::application::events;

/// Streams read at once.
const STREAMS_AT_ONCE: usize = 100;
/// What somebody does so that a message that there is goes out again.
const ASKED_AGAIN: [&str; 4] =
    ["message.retry_scheduled", "message.queued", "message.scheduled", "message.in_doubt_resolved"];

/// Who asked for each of these messages: who last had it sent again, else who launched its campaign or started its loop test,
/// else who sent it. One
/// that the caller may not see is left out. Scope READ.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn launched_by(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[MessageId],
) -> AppResult<HashMap<MessageId, Actor>> {
    caller.require(Scope::Read)?;
    let mut found = HashMap::new();
    let mut carried_out: Vec<(MessageId, StreamId, Position, Actor)> = vec![];
    for ids in ids.chunks(STREAMS_AT_ONCE) {
        let streams: Vec<StreamId> =
            ids.iter().map(|id| StreamId::new(AggregateType::Message, id.0)).collect();
        for (id, history) in by_stream(gateway.ledger.read_streams(&streams).await?) {
            let Some(first) = history.first().filter(|first| events::may_see(caller, first)) else {
                continue;
            };
            let id = MessageId(id);
            if let Some(actor) = asked_again(&history) {
                found.insert(id, actor);
            } else if let Some(parent) = parent_of(first) {
                carried_out.push((id, parent, first.position, first.metadata.actor.clone()));
            } else {
                found.insert(id, first.metadata.actor.clone());
            }
        }
    }
    let parents: BTreeSet<StreamId> = carried_out.iter().map(|(_, parent, ..)| *parent).collect();
    let parents: Vec<StreamId> = parents.into_iter().collect();
    let mut histories = HashMap::new();
    for streams in parents.chunks(STREAMS_AT_ONCE) {
        histories.extend(by_stream(gateway.ledger.read_streams(streams).await?));
    }
    for (id, parent, position, first) in carried_out {
        let launcher = histories.get(&parent.id).and_then(|history| launcher(history, position));
        found.insert(id, launcher.unwrap_or(first));
    }
    Ok(found)
}

fn by_stream(events: Vec<RecordedEvent>) -> HashMap<Uuid, Vec<RecordedEvent>> {
    let mut found: HashMap<Uuid, Vec<RecordedEvent>> = HashMap::new();
    for event in events {
        found.entry(event.stream.id).or_default().push(event);
    }
    found
}

/// Neither the gateway's own process managers nor WhatsApp.
fn is_somebody(event: &RecordedEvent) -> bool {
    !matches!(event.metadata.actor.kind, ActorKind::Process | ActorKind::Whatsapp)
}

fn asked_again(history: &[RecordedEvent]) -> Option<Actor> {
    let again = history
        .iter()
        .skip(1)
        .rev()
        .find(|event| ASKED_AGAIN.contains(&event.event_type.as_str()) && is_somebody(event));
    again.map(|event| event.metadata.actor.clone())
}

/// What a message carries out: a campaign, whose tests are sent by whoever tests, or a number's loop test.
fn parent_of(first: &RecordedEvent) -> Option<StreamId> {
    if first.metadata.actor == Actor::process(loop_test::PROCESS) {
        return first.account_id.map(|id| StreamId::new(AggregateType::Account, id));
    }
    let header = first.data.get("header").unwrap_or(&first.data);
    if header.get("is_test").is_some_and(|is_test| is_test == true) {
        return None;
    }
    let campaign = Uuid::try_parse(header.get("campaign_id")?.as_str()?).ok()?;
    Some(StreamId::new(AggregateType::Campaign, campaign))
}

/// Who launched the run of a campaign, or started the loop test, that a message at `position` is of. A second person's yes
/// carries out what the first one asked for.
fn launcher(history: &[RecordedEvent], position: Position) -> Option<Actor> {
    let mut asked = None;
    let mut launched = None;
    for event in history.iter().take_while(|event| event.position < position) {
        match event.event_type.as_str() {
            "campaign.approval_requested" if is_somebody(event) => {
                asked = Some(event.metadata.actor.clone());
            }
            "campaign.scheduled" | "campaign.started" if is_somebody(event) => {
                launched = asked.take().or_else(|| Some(event.metadata.actor.clone()));
            }
            "account.loop_test_started" => launched = Some(event.metadata.actor.clone()),
            _ => {}
        }
    }
    launched.or(asked)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::port::Metadata;
    use domain::primitives::{ApiKeyId, WorkspaceId};
    use serde_json::json;

    use super::*;

    fn key(n: u128) -> Actor {
        Actor::api_key(ApiKeyId(Uuid::from_u128(n)), None)
    }

    fn event(position: u64, event_type: &str, actor: Actor) -> RecordedEvent {
        RecordedEvent {
            position: Position(position),
            event_id: Uuid::from_u128(position.into()),
            stream: StreamId::new(AggregateType::Campaign, Uuid::from_u128(9)),
            sequence: position,
            event_type: event_type.to_owned(),
            event_version: 1,
            data: json!({}),
            metadata: Metadata {
                actor,
                correlation_id: Uuid::from_u128(4),
                causation_id: None,
                subject: None,
            },
            workspace_id: Some(WorkspaceId(Uuid::from_u128(1)).0),
            account_id: None,
            occurred_at: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn whoever_launched_the_run_is_told_and_not_who_said_yes_to_it() {
        let process = || Actor::process("campaign-launch");
        let history = [
            event(1, "campaign.drafted", key(1)),
            event(2, "campaign.scheduled", key(2)),
            event(3, "campaign.started", process()),
            event(10, "campaign.approval_requested", key(3)),
            event(11, "campaign.approved", key(4)),
            event(12, "campaign.scheduled", key(4)),
            event(13, "campaign.started", process()),
        ];
        assert_eq!(launcher(&history, Position(2)), None);
        assert_eq!(launcher(&history, Position(5)), Some(key(2)));
        assert_eq!(launcher(&history, Position(20)), Some(key(3)));
    }

    #[test]
    fn the_last_person_who_asked_for_it_again_is_who_brought_it_about() {
        let mut history = vec![
            event(1, "message.queued", key(1)),
            event(2, "message.send_requested", Actor::process("dispatch")),
            event(3, "message.retry_scheduled", Actor::process("dispatch")),
        ];
        assert_eq!(asked_again(&history), None);
        history.push(event(4, "message.retry_scheduled", key(2)));
        history.push(event(5, "message.delivered", Actor::whatsapp()));
        assert_eq!(asked_again(&history), Some(key(2)));
    }
}
