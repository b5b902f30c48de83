//! A row for each event, or a CloudEvent as everywhere else.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use domain::port::{AggregateType, Position, RecordedEvent, StreamId};
use lru::LruCache;
use serde_json::Value;
use uuid::Uuid;

use super::super::table::{Cell, Column, Content, Kind, Row};
use super::{Batch, Log};
use crate::application::error::AppResult;
use crate::application::events::{self, Own};
use crate::application::view::{EventView, Show};

pub(super) static COLUMNS: [Column; 19] = [
    Column::new(
        "position",
        Kind::Integer,
        "Its place in the log: orders all events, and is the key of the table",
    ),
    Column::new("id", Kind::Text, "The event's id, as in CloudEvents"),
    Column::new("type", Kind::Text, "What happened, such as `message.delivered`"),
    Column::new("version", Kind::Integer, "The version of its data's shape"),
    Column::new("occurred_at", Kind::Timestamp, "When it happened"),
    Column::new(
        "recorded_at",
        Kind::Timestamp,
        "When the log had it; the day of the directory it is in",
    ),
    Column::new("aggregate_type", Kind::Text, "What kind of thing it is about, such as `message`"),
    Column::new("aggregate_id", Kind::Text, "The id of that thing"),
    Column::new(
        "sequence",
        Kind::Integer,
        "Its place among the events of that thing, from 1 without a gap",
    ),
    Column::new("workspace_id", Kind::Text, "The workspace it belongs to"),
    Column::new("account_id", Kind::Text, "The account it belongs to"),
    Column::new("campaign_id", Kind::Text, "The campaign that it, or its message, is part of"),
    Column::new(
        "contact",
        Kind::Text,
        "The pseudonym of the person it is about; empty where there is none, and once they were erased",
    ),
    Column::new("external_id", Kind::Text, "The integrator's own id of the message or campaign"),
    Column::new("actor", Kind::Text, "Who caused it, such as `api_key:…`"),
    Column::new("correlation_id", Kind::Text, "What it belongs together with"),
    Column::new("causation_id", Kind::Text, "The event that led to it"),
    Column::new("contact_id", Kind::Text, "The id of that person's contact").personal(),
    Column::new(
        "data",
        Kind::Json,
        "Its facts, as docs/events.md lists them; personal data masked as `•••` unless it was asked for",
    ),
];

/// Streams whose first event is remembered: events of one message mostly stand close to each other.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

pub(super) struct Events {
    /// As lines of NDJSON.
    as_lines: bool,
    known: LruCache<StreamId, Own>,
}

impl Events {
    pub(super) fn new(as_lines: bool) -> Self {
        Self { as_lines, known: LruCache::new(KNOWN_MAX) }
    }

    pub(super) async fn next(&mut self, log: &Log<'_>, after: Position) -> AppResult<Batch> {
        let asked = &log.request.filter;
        let types: Vec<&str> = asked.types.iter().map(String::as_str).collect();
        let (mut events, scanned_to, is_last) = log.read(after, &log.filter(&types, true)).await?;
        let owns = self.owns(log, &events).await?;
        if !asked.campaign_ids.is_empty() {
            events.retain(|event| {
                campaign_of(event, owns.get(&event.stream))
                    .is_some_and(|id| asked.campaign_ids.contains(&id))
            });
        }
        let contact = |event: &RecordedEvent| match event.stream.aggregate_type {
            AggregateType::Contact => Some(event.stream.id),
            _ => owns.get(&event.stream).and_then(|own| own.contact_id),
        };
        let pseudonyms = match self.as_lines {
            true => HashMap::new(),
            false => log.pseudonyms(events.iter().filter_map(contact)).await?,
        };
        let show = Show::of(log.is_personal());
        let rows = events.into_iter().map(|event| {
            let (position, day) = (event.position, event.recorded_at.date_naive());
            let own = owns.get(&event.stream);
            let contact = contact(&event);
            let campaign = campaign_of(&event, own);
            let event = events::view(event, own, show);
            let content = match self.as_lines {
                true => Content::Line(events::event_json(&event, log.public_url)),
                false => {
                    let pseudonym = contact.and_then(|id| pseudonyms.get(&id)?.clone());
                    let contact_id = contact.filter(|_| log.is_personal() && pseudonym.is_some());
                    Content::Cells(cells(
                        event,
                        campaign,
                        pseudonym,
                        log.is_personal().then_some(contact_id),
                    ))
                }
            };
            Row { position, day, content }
        });
        Ok(Batch { rows: rows.collect(), scanned_to, is_last })
    }

    /// What the first events of these events' messages and campaigns tell.
    async fn owns(
        &mut self,
        log: &Log<'_>,
        events: &[RecordedEvent],
    ) -> AppResult<HashMap<StreamId, Own>> {
        let mut owns = HashMap::new();
        let mut unknown = vec![];
        for event in events {
            match self.known.get(&event.stream) {
                Some(own) => {
                    owns.insert(event.stream, own.clone());
                }
                None => unknown.push(event.clone()),
            }
        }
        let found = events::owns(log.ledger, None, &unknown).await?;
        for (stream, own) in found {
            self.known.put(stream, own.clone());
            owns.insert(stream, own);
        }
        Ok(owns)
    }
}

fn campaign_of(event: &RecordedEvent, own: Option<&Own>) -> Option<Uuid> {
    match event.stream.aggregate_type {
        AggregateType::Campaign => Some(event.stream.id),
        _ => own.and_then(|own| own.campaign_id),
    }
}

/// `contact_id` is a column where it is `Some`.
fn cells(
    event: EventView,
    campaign_id: Option<Uuid>,
    contact: Option<String>,
    contact_id: Option<Option<Uuid>>,
) -> Vec<Cell> {
    let mut cells: Vec<Cell> = vec![
        event.position.0.into(),
        event.id.into(),
        event.event_type.into(),
        event.version.into(),
        event.occurred_at.into(),
        event.recorded_at.into(),
        event.aggregate_type.into(),
        event.aggregate_id.into(),
        event.sequence.into(),
        event.workspace_id.map(|id| id.0).into(),
        event.account_id.map(|id| id.0).into(),
        campaign_id.into(),
        contact.into(),
        event.external_id.into(),
        event.actor.to_string().into(),
        event.correlation_id.into(),
        event.causation_id.into(),
    ];
    cells.extend(contact_id.map(Cell::from));
    let data: Value = event.data;
    cells.push(data.into());
    cells
}
