//! Whether streams fold: each event is read, unsealed, lifted to its newest shape and applied.

use std::collections::BTreeMap;

use domain::port::{AggregateType, FeedError, LogError, RecordedEvent, StoredEvent, StreamId};

use super::verifier::{Finding, Report};
use crate::ledger::{AnyAggregate, Ledger};

/// Events read at once of a stream that may be long.
const PAGE: usize = 500;

/// One stream on its way.
struct Stream {
    id: StreamId,
    aggregate: AnyAggregate,
    sequence: u64,
    /// It was said once why it does not fold.
    is_broken: bool,
}

impl Stream {
    fn new(id: StreamId) -> Self {
        Self { id, aggregate: AnyAggregate::of(id.aggregate_type), sequence: 0, is_broken: false }
    }

    async fn take(
        &mut self,
        ledger: &Ledger,
        events: Vec<StoredEvent>,
        report: &mut Report,
    ) -> Result<(), FeedError> {
        for event in &events {
            if event.sequence != self.sequence + 1 {
                let problem =
                    format!("goes on at sequence {} after {}", event.sequence, self.sequence);
                report.found(Finding::of_stream(self.id, Some(event.position), &problem));
            }
            self.sequence = event.sequence;
            report.folded += u64::from(event.position <= report.head);
        }
        if self.is_broken {
            return Ok(());
        }
        // As they are stored: opening lifts them.
        let versions: Vec<u32> = events.iter().map(|event| event.event_version).collect();
        let opened: Vec<Opened> = match ledger.open_events(events.clone()).await {
            Ok(opened) => opened.into_iter().map(Ok).collect(),
            Err(FeedError::Corrupt(_)) => one_by_one(ledger, events).await?,
            Err(error) => return Err(error),
        };
        for (event, version) in opened.into_iter().zip(versions) {
            if let Ok(event) = &event {
                report.shape(&event.event_type, version);
            }
            let (position, folded) = match event {
                Ok(event) => (event.position, self.aggregate.apply(&event)),
                Err((position, error)) => (position, Err(error)),
            };
            if let Err(error) = folded {
                self.is_broken = true;
                let problem = format!("does not fold: {error}");
                report.found(Finding::of_stream(self.id, Some(position), &problem));
                break;
            }
        }
        Ok(())
    }
}

type Opened = Result<RecordedEvent, (domain::port::Position, FeedError)>;

async fn one_by_one(ledger: &Ledger, events: Vec<StoredEvent>) -> Result<Vec<Opened>, FeedError> {
    let mut opened = Vec::with_capacity(events.len());
    for event in events {
        let position = event.position;
        match ledger.open_events(vec![event]).await {
            Ok(events) => opened.extend(events.into_iter().map(Ok)),
            Err(error @ FeedError::Corrupt(_)) => opened.push(Err((position, error))),
            Err(error) => return Err(error),
        }
    }
    Ok(opened)
}

/// Streams of messages, contacts and the like are short and read together; the others page by page.
pub(super) async fn streams(
    ledger: &Ledger,
    ids: &[StreamId],
    report: &mut Report,
) -> Result<(), FeedError> {
    report.streams += ids.len() as u64;
    let (short, long): (Vec<StreamId>, Vec<StreamId>) = ids.iter().partition(|id| {
        matches!(
            id.aggregate_type,
            AggregateType::Message | AggregateType::Contact | AggregateType::Conversation
        )
    });
    match ledger.log().read_streams(&short).await {
        Ok(events) => {
            let mut by_stream: BTreeMap<StreamId, Vec<StoredEvent>> = BTreeMap::new();
            for event in events {
                by_stream.entry(event.stream).or_default().push(event);
            }
            for (id, events) in by_stream {
                Stream::new(id).take(ledger, events, report).await?;
            }
        }
        Err(LogError::Corrupt(_)) => {
            for id in short {
                in_pages(ledger, id, report).await?;
            }
        }
        Err(error) => return Err(unavailable(error)),
    }
    for id in long {
        in_pages(ledger, id, report).await?;
    }
    Ok(())
}

async fn in_pages(ledger: &Ledger, id: StreamId, report: &mut Report) -> Result<(), FeedError> {
    let mut stream = Stream::new(id);
    loop {
        let page = match ledger.log().read_stream_page(id, stream.sequence, PAGE).await {
            Ok(page) => page,
            Err(LogError::Corrupt(what)) => {
                report.found(Finding::of_stream(id, None, &format!("cannot be read: {what}")));
                return Ok(());
            }
            // Its month was taken out since its first event was seen.
            Err(LogError::Detached(_)) => return Ok(()),
            Err(error) => return Err(unavailable(error)),
        };
        let is_last = page.len() < PAGE;
        stream.take(ledger, page, report).await?;
        if is_last {
            return Ok(());
        }
    }
}

pub(super) fn unavailable(error: LogError) -> FeedError {
    match error {
        LogError::Unavailable(source) => FeedError::Unavailable(source),
        LogError::Corrupt(what) => FeedError::Corrupt(what),
        LogError::Detached(stream) => FeedError::Detached(stream),
    }
}
