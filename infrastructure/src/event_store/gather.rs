//! Reads of single streams share statements as appends share commits: what is asked for while others are being answered
//! goes into the next statement together. There is no timer: a store that is idle answers at once, a busy one answers many
//! for the price of one.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::port::{LogError, StoredEvent, StreamId};
use futures::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::error::unavailable;
use super::reading::STREAMS_PER_STATEMENT;

/// Statements under way at a time. A second one so that the store is not idle while the first one's answers are told.
const STATEMENTS: usize = 2;
/// Whoever asks for more streams than this has a statement of their own.
const STREAMS_GATHERED: usize = 16;
/// Reads that may wait; more wait for a place.
const CALLS_MAX: usize = 1_024;

/// Reads the events of streams, each stream's together and in order.
#[async_trait]
pub(crate) trait ReadStreams: Send + Sync + 'static {
    /// At most [`STREAMS_PER_STATEMENT`], each named once. Streams that do not exist are left out.
    async fn read(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError>;
}

/// A handle to the reading task, which ends with the last handle, after what was asked for.
pub(crate) struct Gathered {
    calls: mpsc::Sender<Call>,
    store: Arc<dyn ReadStreams>,
}

struct Call {
    streams: Vec<StreamId>,
    answer: oneshot::Sender<Result<Vec<StoredEvent>, LogError>>,
}

impl Gathered {
    pub fn start(store: Arc<dyn ReadStreams>) -> Self {
        let (calls, waiting) = mpsc::channel(CALLS_MAX);
        tokio::spawn(run(store.clone(), waiting));
        Self { calls, store }
    }

    /// As the log is at some moment after the call.
    pub async fn read(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError> {
        if streams.len() > STREAMS_GATHERED {
            let mut events = Vec::new();
            for part in streams.chunks(STREAMS_PER_STATEMENT) {
                events.extend(self.store.read(part).await?);
            }
            return Ok(events);
        }
        let (answer, answered) = oneshot::channel();
        let stopped = || unavailable("the log was closed");
        let call = Call { streams: streams.to_vec(), answer };
        self.calls.send(call).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

async fn run(store: Arc<dyn ReadStreams>, mut waiting: mpsc::Receiver<Call>) {
    let statements = Arc::new(Semaphore::new(STATEMENTS));
    let mut next = waiting.recv().await;
    while let Some(first) = next.take() {
        let Ok(permit) = statements.clone().acquire_owned().await else { return };
        let mut streams = first.streams.len();
        let mut calls = vec![first];
        while let Ok(call) = waiting.try_recv() {
            streams += call.streams.len();
            if streams > STREAMS_PER_STATEMENT {
                next = Some(call);
                break;
            }
            calls.push(call);
        }
        let store = store.clone();
        tokio::spawn(async move {
            answer(&*store, calls).await;
            drop(permit);
        });
        if next.is_none() {
            next = waiting.recv().await;
        }
    }
}

async fn answer(store: &dyn ReadStreams, mut calls: Vec<Call>) {
    // Who asks may have gone since.
    calls.retain(|call| !call.answer.is_closed());
    if calls.is_empty() {
        return;
    }
    let mut asked: HashMap<StreamId, usize> = HashMap::new();
    for stream in calls.iter().flat_map(|call| &call.streams) {
        *asked.entry(*stream).or_default() += 1;
    }
    let streams: Vec<StreamId> = asked.keys().copied().collect();
    match store.read(&streams).await {
        Ok(events) => {
            let mut found: HashMap<StreamId, Vec<StoredEvent>> = HashMap::new();
            for event in events {
                found.entry(event.stream).or_default().push(event);
            }
            for call in calls {
                let mut events = Vec::new();
                for stream in &call.streams {
                    let others = asked.get_mut(stream).map_or(0, |times| {
                        *times -= 1;
                        *times
                    });
                    match others {
                        0 => events.extend(found.remove(stream).into_iter().flatten()),
                        _ => events.extend(found.get(stream).into_iter().flatten().cloned()),
                    }
                }
                let _ = call.answer.send(Ok(events));
            }
        }
        // What one of them cannot be answered with is not the others' failure.
        Err(_) if calls.len() > 1 => {
            join_all(calls.into_iter().map(|call| async move {
                let _ = call.answer.send(store.read(&call.streams).await);
            }))
            .await;
        }
        Err(error) => {
            if let Some(call) = calls.pop() {
                let _ = call.answer.send(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use chrono::DateTime;
    use domain::port::{AggregateType, Metadata, Position};
    use domain::primitives::Actor;
    use uuid::Uuid;

    use super::*;

    /// One event in each stream, but for the one that cannot be read; notes how many came together.
    struct Gate {
        may: Semaphore,
        statements: Mutex<Vec<usize>>,
        unreadable: StreamId,
    }

    fn stream(id: u128) -> StreamId {
        StreamId::new(AggregateType::Message, Uuid::from_u128(id))
    }

    fn event(stream: StreamId) -> StoredEvent {
        StoredEvent {
            position: Position(1),
            event_id: Uuid::nil(),
            stream,
            sequence: 1,
            event_type: "message.sent".to_owned(),
            event_version: 1,
            payload: "{}".to_owned(),
            metadata: Metadata {
                actor: Actor::system("test"),
                correlation_id: Uuid::nil(),
                causation_id: None,
                subject: None,
            },
            workspace_id: None,
            account_id: None,
            occurred_at: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
        }
    }

    #[async_trait]
    impl ReadStreams for Gate {
        async fn read(&self, streams: &[StreamId]) -> Result<Vec<StoredEvent>, LogError> {
            self.may.acquire().await.unwrap().forget();
            self.statements.lock().unwrap().push(streams.len());
            if streams.contains(&self.unreadable) {
                return Err(LogError::Corrupt("no".to_owned()));
            }
            Ok(streams.iter().map(|stream| event(*stream)).collect())
        }
    }

    /// What each of these calls is answered, and how many streams each statement was for: [`STATEMENTS`] calls are under
    /// way before the others come.
    async fn answers(
        calls: &[&[u128]],
        unreadable: u128,
    ) -> (Vec<Option<Vec<StreamId>>>, Vec<usize>) {
        let may = Semaphore::new(0);
        let gate = Gate { may, statements: Mutex::default(), unreadable: stream(unreadable) };
        let gate = Arc::new(gate);
        let gathered = Arc::new(Gathered::start(gate.clone()));
        let mut asking = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            let (gathered, call) = (gathered.clone(), call.iter().map(|id| stream(*id)));
            let call: Vec<StreamId> = call.collect();
            asking.push(tokio::spawn(async move { gathered.read(&call).await }));
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(gate.statements.lock().unwrap().len(), 0, "call {number}");
        }
        gate.may.add_permits(100);
        let mut answers = Vec::new();
        for call in asking {
            let events = call.await.unwrap().ok();
            answers.push(events.map(|events| events.iter().map(|event| event.stream).collect()));
        }
        let statements = gate.statements.lock().unwrap().clone();
        (answers, statements)
    }

    #[tokio::test]
    async fn what_waits_is_read_together_and_told_apart() {
        let calls: [&[u128]; 5] = [&[1], &[2], &[3, 4], &[4], &[5, 3]];
        let (answers, statements) = answers(&calls, 99).await;
        for (call, answer) in calls.iter().zip(answers) {
            assert_eq!(answer, Some(call.iter().map(|id| stream(*id)).collect()));
        }
        assert_eq!(statements, [1, 1, 3]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_the_failure_of_who_asked_for_it() {
        let calls: [&[u128]; 5] = [&[1], &[2], &[3], &[4], &[5]];
        let (answers, statements) = answers(&calls, 4).await;
        let is_answered: Vec<bool> = answers.iter().map(Option::is_some).collect();
        assert_eq!(is_answered, [true, true, true, false, true]);
        assert_eq!(statements, [1, 1, 3, 1, 1, 1]);
    }

    #[tokio::test]
    async fn large_reads_have_statements_of_their_own() {
        let many: Vec<u128> = (0..STREAMS_PER_STATEMENT as u128 + 1).collect();
        let (answers, statements) = answers(&[&many], 10_000).await;
        assert_eq!(answers[0].as_ref().map(Vec::len), Some(many.len()));
        assert_eq!(statements, [STREAMS_PER_STATEMENT, 1]);
    }
}
