//! Reading streams and the log.

use domain::port::{
    AggregateType, EventFilter, EventTraits, LogError, LogPage, Position, StoredEvent, StreamId,
};
use futures::stream::{StreamExt, TryStreamExt};
use kurrentdb::{
    Error, ReadAllOptions, ReadStreamOptions, RecordedEvent, StreamPosition, SubscriptionFilter,
};

use super::super::error::unavailable;
use super::super::reading::{self, SCAN_POSITIONS_MAX};
use super::connection::{CallError, Connection};
use super::record::{self, StreamWrite};

/// Streams read at once.
const STREAMS_AT_ONCE: usize = 32;
/// Events asked for at once, at most, and at least where only few of them may match.
pub(super) const FETCH_EVENTS: usize = 1_000;
pub(super) const FETCH_EVENTS_MIN: usize = 100;
/// Records looked at in one step where the server finds nothing in time.
const STEP_RECORDS: usize = 2_000;

/// A part of the log as the server gives it.
pub(super) struct Part {
    /// Only those that were asked for, in order.
    pub events: Vec<StoredEvent>,
    /// Everything up to here was looked at. The head, where nothing lies beyond.
    pub scanned_to: u64,
    pub is_last: bool,
}

/// Events of one stream from `from` on, at most `limit`; none where there is no such stream.
async fn stream_events(
    connection: &Connection,
    stream: &str,
    from: StreamPosition<u64>,
    limit: usize,
) -> Result<Vec<RecordedEvent>, CallError> {
    let mut options =
        ReadStreamOptions::default().position(from).max_count(limit).requires_leader(true);
    if from == StreamPosition::End {
        options = options.backwards();
    }
    if let Some(credentials) = &connection.address().credentials {
        options = options.authenticated(credentials.clone());
    }
    let read = connection.call(|client| {
        let options = options.clone();
        async move {
            let mut events = Vec::new();
            let mut stream = match client.read_stream(stream, &options).await {
                Ok(stream) => stream,
                Err(Error::ResourceNotFound) => return Ok(events),
                Err(error) => return Err(error),
            };
            loop {
                match stream.next().await {
                    Ok(Some(event)) => events.extend(event.event),
                    Ok(None) | Err(Error::ResourceNotFound) => return Ok(events),
                    Err(error) => return Err(error),
                }
            }
        }
    });
    read.await
}

pub(super) async fn last_sequence(
    connection: &Connection,
    stream: StreamId,
) -> Result<u64, CallError> {
    let last = stream_events(
        connection,
        &connection.address().stream_name(stream),
        StreamPosition::End,
        1,
    )
    .await?;
    Ok(last.first().map_or(0, |event| event.revision + 1))
}

/// Where the last of these events stands, where they all stand in their places.
pub(super) async fn position_of(
    connection: &Connection,
    write: &StreamWrite,
) -> Result<Option<u64>, CallError> {
    let from = StreamPosition::Position(write.expected);
    let there = stream_events(connection, &write.stream, from, write.events.len()).await?;
    let ids = there.iter().map(|event| event.id);
    let is_there = ids.eq(write.events.iter().map(|event| event.id));
    Ok(there.last().filter(|_| is_there).map(|event| event.position.commit))
}

/// The events of a stream by another name than those of aggregates.
pub(super) async fn first_of(
    connection: &Connection,
    stream: &str,
) -> Result<Option<RecordedEvent>, CallError> {
    Ok(stream_events(connection, stream, StreamPosition::Start, 1).await?.pop())
}

pub(super) async fn stream_page(
    connection: &Connection,
    stream: StreamId,
    after_sequence: u64,
    limit: usize,
) -> Result<Vec<StoredEvent>, LogError> {
    if i64::try_from(after_sequence).is_err() {
        return Ok(Vec::new());
    }
    let from = StreamPosition::Position(after_sequence);
    let name = connection.address().stream_name(stream);
    let events = stream_events(connection, &name, from, limit).await.map_err(unavailable)?;
    events.iter().map(|event| record::stored(stream, event)).collect()
}

pub(super) async fn streams(
    connection: &Connection,
    streams: Vec<StreamId>,
) -> Result<Vec<StoredEvent>, LogError> {
    let reads = streams.into_iter().map(|stream| stream_page(connection, stream, 0, usize::MAX));
    let found: Vec<Vec<StoredEvent>> =
        futures::stream::iter(reads).buffered(STREAMS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The last event of the log; `None` while it is empty.
pub(super) async fn last(connection: &Connection) -> Result<Option<StoredEvent>, LogError> {
    let options = ReadAllOptions::default().position(StreamPosition::End).max_count(1);
    let options = options.filter(of_types(connection, &AggregateType::ALL));
    let events = all_events(connection, options).await.map_err(unavailable)?;
    match events
        .first()
        .and_then(|event| Some((connection.address().stream_id(event.stream_id())?, event)))
    {
        Some((stream, event)) => record::stored(stream, event).map(Some),
        None => Ok(None),
    }
}

/// What lies after `after`, of these types, at most `limit` events. `head` was the log's before this was called.
pub(super) async fn part(
    connection: &Connection,
    after: u64,
    types: &[AggregateType],
    limit: usize,
    head: u64,
) -> Result<Part, LogError> {
    // One more, because a read begins with the event at its position.
    let asked = limit + 1;
    let wanted = |from| {
        let options = ReadAllOptions::default().position(from).max_count(asked);
        options.filter(of_types(connection, types))
    };
    let mut from = position(after);
    let mut answer = all_events(connection, wanted(from)).await;
    if let Err(CallError::Refused(Error::ServerError(_))) = answer {
        from = position(event_before(connection, after).await.map_err(unavailable)?);
        answer = all_events(connection, wanted(from)).await;
    }
    let options = ReadAllOptions::default().position(from);
    let (found, asked) = match answer {
        Ok(found) => (found, asked),
        // The server goes through all that others wrote, too. Step by step there is an end to it.
        Err(CallError::TimedOut { .. }) => (
            all_events(connection, options.max_count(STEP_RECORDS)).await.map_err(unavailable)?,
            STEP_RECORDS,
        ),
        Err(error) => return Err(unavailable(error)),
    };
    let is_last = found.len() < asked;
    let mut scanned_to = found.last().map_or(after, |event| event.position.commit).max(after);
    if is_last {
        scanned_to = scanned_to.max(head);
    }
    let mut events = Vec::with_capacity(found.len());
    for event in &found {
        let stream = connection.address().stream_id(event.stream_id());
        if let Some(stream) = stream.filter(|stream| types.contains(&stream.aggregate_type))
            && event.position.commit > after
        {
            events.push(record::stored(stream, event)?);
        }
    }
    Ok(Part { events, scanned_to, is_last })
}

fn position(at: u64) -> StreamPosition<kurrentdb::Position> {
    match at {
        0 => StreamPosition::Start,
        at => StreamPosition::Position(kurrentdb::Position { commit: at, prepare: at }),
    }
}

/// The position of the last event that is not beyond `after`, where no event stands at `after` itself: the server reads from
/// where one begins only. Somebody made that position up, so that it may take a walk through the log.
async fn event_before(connection: &Connection, after: u64) -> Result<u64, CallError> {
    let mut at = 0;
    loop {
        let options = ReadAllOptions::default().position(position(at)).max_count(FETCH_EVENTS);
        let found =
            all_events(connection, options.filter(of_types(connection, &AggregateType::ALL)))
                .await?;
        let positions = || found.iter().map(|event| event.position.commit);
        let before = positions().take_while(|position| *position <= after).last().unwrap_or(at);
        if before == at
            || found.len() < FETCH_EVENTS
            || positions().any(|position| position > after)
        {
            return Ok(before);
        }
        at = before;
    }
}

/// Asked for once where it may take long by nature, as a read from the middle of the log on.
async fn all_events(
    connection: &Connection,
    options: ReadAllOptions,
) -> Result<Vec<RecordedEvent>, CallError> {
    let mut options = options.requires_leader(true);
    if let Some(credentials) = &connection.address().credentials {
        options = options.authenticated(credentials.clone());
    }
    let read = |client: kurrentdb::Client| {
        let options = options.clone();
        async move {
            let mut stream = client.read_all(&options).await?;
            let mut events = Vec::new();
            while let Some(event) = stream.next().await? {
                events.extend(event.event);
            }
            Ok(events)
        }
    };
    match connection.call_once(&read).await {
        Err(CallError::Failed { .. }) => connection.call(read).await,
        answered => answered,
    }
}

fn of_types(connection: &Connection, types: &[AggregateType]) -> SubscriptionFilter {
    let prefixes = connection.address().prefixes(types);
    prefixes.iter().fold(SubscriptionFilter::on_stream_name(), SubscriptionFilter::add_prefix)
}

/// A page of the log by a filter that names its streams.
pub(super) async fn page_by_key(
    connection: &Connection,
    after: Position,
    filter: &EventFilter,
    limit: usize,
    head: u64,
) -> Result<LogPage, LogError> {
    let mut wanted = Vec::new();
    for aggregate_type in reading::wanted_types(filter) {
        wanted.extend(filter.aggregate_ids.iter().map(|id| StreamId::new(*aggregate_type, *id)));
    }
    let mut events = streams(connection, wanted).await?;
    events.retain(|event| event.position > after && matches(filter, event));
    events.sort_by_key(|event| event.position);
    events.dedup_by_key(|event| event.position);
    events.truncate(limit);
    Ok(page(events, limit, after, head.max(after.0), head))
}

/// Gathers a page from parts of the log, each read by `part` from a position on.
pub(super) async fn page_by_parts<P, A>(
    after: Position,
    filter: &EventFilter,
    limit: usize,
    head: u64,
    part: P,
) -> Result<LogPage, LogError>
where
    P: Fn(u64) -> A,
    A: Future<Output = Result<Part, LogError>>,
{
    let (mut events, mut at, mut looked_at) = (Vec::new(), after.0, 0);
    loop {
        let Part { events: found, scanned_to, is_last } = part(at).await?;
        looked_at += found.len() as u64;
        for event in found {
            // Times never go back, so that nothing beyond can match.
            if filter.recorded_to.is_some_and(|to| event.recorded_at >= to) {
                return Ok(page(events, limit, after, head.max(at), head));
            }
            if matches(filter, &event) {
                events.push(event);
                if events.len() == limit {
                    return Ok(page(events, limit, after, scanned_to, head));
                }
            }
        }
        at = scanned_to;
        if is_last || looked_at >= SCAN_POSITIONS_MAX {
            return Ok(page(events, limit, after, scanned_to, head));
        }
    }
}

fn page(
    events: Vec<StoredEvent>,
    limit: usize,
    after: Position,
    scanned_to: u64,
    head: u64,
) -> LogPage {
    let scanned_to = match events.last() {
        Some(last) if events.len() >= limit => last.position,
        _ => Position(scanned_to.max(after.0)),
    };
    LogPage { events, scanned_to, at_head: scanned_to.0 >= head }
}

fn matches(filter: &EventFilter, event: &StoredEvent) -> bool {
    filter.wants(EventTraits {
        stream: event.stream,
        event_type: &event.event_type,
        workspace_id: event.workspace_id,
        account_id: event.account_id,
        correlation_id: event.metadata.correlation_id,
        recorded_at: event.recorded_at,
    })
}
