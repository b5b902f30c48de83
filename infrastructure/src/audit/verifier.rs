//! Walks the whole log once, in bounded memory, beside a gateway that goes on appending.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::port::{EventFilter, FeedError, LogError, LogPage, Position, StoredEvent, StreamId};
use serde::Serialize;

use super::chain::Chain;
use super::fold::{self, unavailable};
use super::merkle::Digest;
use super::seal::{self, Tag};
use crate::event_store::Seals;
use crate::ledger::Ledger;

/// Findings that a report names; the others are counted.
pub const FINDINGS_MAX: usize = 1_000;
const PAGE: usize = 1_000;
/// Streams folded together.
const STREAMS: usize = 200;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<u64>,
    pub problem: String,
}

impl Finding {
    pub(super) fn at(position: Position, stream: StreamId, problem: &str) -> Self {
        let stream = Some(stream.to_string());
        Self { stream, ..Self::nameless(position, format!("the event {problem}")) }
    }

    pub(super) fn missing(position: Position) -> Self {
        Self::nameless(position, "the event is missing, or cannot be read".to_owned())
    }

    fn nameless(position: Position, problem: String) -> Self {
        Self { position: Some(position.0), stream: None, seal: None, problem }
    }

    pub(super) fn of_seal(number: u64, problem: &str) -> Self {
        let problem = format!("the seal {problem}");
        Self { position: None, stream: None, seal: Some(number), problem }
    }

    pub(super) fn of_stream(id: StreamId, position: Option<Position>, problem: &str) -> Self {
        Self {
            position: position.map(|position| position.0),
            stream: Some(id.to_string()),
            seal: None,
            problem: format!("the stream {problem}"),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(position) = self.position {
            write!(f, "position {position}: ")?;
        }
        if let Some(stream) = &self.stream {
            write!(f, "{stream}: ")?;
        }
        if let Some(seal) = self.seal {
            write!(f, "seal {seal}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// What a check came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything up to here was checked.
    pub head: Position,
    pub events: u64,
    pub streams: u64,
    pub seals: u64,
    /// Events that a seal covers.
    pub sealed: u64,
    /// Events beyond the last seal: the sealer follows.
    pub unsealed: u64,
    /// Events that were sealed and are of months that were taken out of the log.
    pub out: u64,
    /// These months, each as year × 100 + month.
    pub months_out: BTreeSet<u32>,
    /// The shapes in which the events are stored: a type's name and its versions. This version reads all of them.
    pub shapes: BTreeMap<String, BTreeSet<u32>>,
    /// What to note somewhere else: with it, nobody can write the log and all its seals anew unnoticed.
    pub last_seal: Option<(u64, Digest)>,
    pub findings: Vec<Finding>,
    pub findings_total: u64,
    /// Of the events, those that were met again in their streams.
    pub(super) folded: u64,
    /// Findings by the streams that their events were of when they were sealed.
    sealed_of: HashMap<Tag, Vec<usize>>,
    wanted: Option<(u64, Digest)>,
    wanted_seen: Option<Digest>,
}

impl Report {
    pub fn holds(&self) -> bool {
        self.findings_total == 0
    }

    pub(super) fn found(&mut self, finding: Finding) {
        if self.findings.last() == Some(&finding) {
            return;
        }
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// `was`: of which stream it was when it was sealed, where that is to be found out.
    pub(super) fn found_of(&mut self, finding: Finding, was: Option<Tag>) {
        let place = self.findings.len();
        self.found(finding);
        if let Some(was) = was
            && self.findings.len() > place
        {
            self.sealed_of.entry(was).or_default().push(place);
        }
    }

    /// There is a stream, so it may be what a finding is about.
    fn name_stream(&mut self, stream: StreamId) {
        for place in self.sealed_of.remove(&seal::tag(stream)).into_iter().flatten() {
            let Some(finding) = self.findings.get_mut(place) else { continue };
            match &finding.stream {
                None => finding.stream = Some(stream.to_string()),
                Some(_) => finding.problem.push_str(&format!(": that was one of {stream}")),
            }
        }
    }

    pub(super) fn out(&mut self, months: BTreeSet<u32>, events: u64) {
        self.out += events;
        self.months_out.extend(months);
    }

    pub(super) fn shape(&mut self, event_type: &str, version: u32) {
        match self.shapes.get_mut(event_type) {
            Some(versions) => drop(versions.insert(version)),
            None => drop(self.shapes.insert(event_type.to_owned(), [version].into())),
        }
    }

    pub(super) fn seal(&mut self, number: u64, hash: Digest) {
        self.seals += 1;
        self.last_seal = Some((number, hash));
        if self.wanted.is_some_and(|(wanted, _)| wanted == number) {
            self.wanted_seen = Some(hash);
        }
    }
}

/// Checks a log: the order of positions and times, the seals, every stream's sequences and whether it folds.
pub struct Verifier {
    ledger: Ledger,
    seals: Arc<dyn Seals>,
}

impl Verifier {
    pub fn new(ledger: Ledger, seals: Arc<dyn Seals>) -> Self {
        Self { ledger, seals }
    }

    /// Checks everything up to the head as of now; `noted` is a seal that has to be among the seals. `progress` hears how
    /// far it has come, and of how much.
    ///
    /// # Errors
    /// [`FeedError`] where the store is away or its keys cannot be had. What is wrong with the log is in the report.
    pub async fn run(
        &self,
        noted: Option<(u64, Digest)>,
        mut progress: impl FnMut(Position, Position),
    ) -> Result<Report, FeedError> {
        // The last seal first: what it covers was in the log by then.
        let last_seal = self.seals.last().await.map_err(unavailable)?;
        let last_seal = last_seal.map_or(0, |seal| seal.number);
        let head = self.ledger.log().head().await.map_err(unavailable)?;
        let mut report = Report { head, wanted: noted, ..Report::default() };
        let mut chain = Chain::open(self.seals.clone(), last_seal).await.map_err(unavailable)?;
        let mut first_events = Vec::new();
        let mut last_recorded = None;
        let mut walk = Walk { ledger: &self.ledger, after: Position(0), careful: 0 };
        while let Some(events) = walk.next(head, &mut report).await? {
            for event in &events {
                report.events += 1;
                if last_recorded.is_some_and(|before| event.recorded_at < before) {
                    let problem = "was recorded before the one before it";
                    report.found(Finding::at(event.position, event.stream, problem));
                }
                last_recorded = Some(event.recorded_at);
                chain.event(event, &mut report).await.map_err(unavailable)?;
                if event.sequence == 1 {
                    first_events.push(event.stream);
                }
            }
            for streams in first_events.chunks(STREAMS) {
                fold::streams(&self.ledger, streams, &mut report).await?;
            }
            first_events.clear();
            progress(walk.after.min(head), head);
        }
        chain.finish(&mut report).await.map_err(unavailable)?;
        if report.folded != report.events || !report.sealed_of.is_empty() {
            self.look_again(&mut report).await?;
        }
        if let Some((number, hash)) = noted
            && report.wanted_seen != Some(hash)
        {
            let problem = match report.wanted_seen {
                Some(other) => {
                    format!("is {other}, and {hash} was noted: the log was written anew")
                }
                None => {
                    "was noted, and is not there: the log was cut short or written anew".to_owned()
                }
            };
            report.found(Finding::of_seal(number, &problem));
        }
        Ok(report)
    }

    /// Finds streams whose first event is not there, and the names of those that lost others: only where something is wrong.
    async fn look_again(&self, report: &mut Report) -> Result<(), FeedError> {
        let head = report.head;
        let mut walk = Walk { ledger: &self.ledger, after: Position(0), careful: 0 };
        let mut ignored = Report::default();
        while let Some(events) = walk.next(head, &mut ignored).await? {
            // Of each stream, the first event of it on this page.
            let mut firsts: BTreeMap<StreamId, &StoredEvent> = BTreeMap::new();
            for event in &events {
                firsts.entry(event.stream).or_insert(event);
            }
            for (stream, event) in firsts {
                report.name_stream(stream);
                if event.sequence > 1 && report.folded != report.events {
                    self.find_beheaded(event, report).await?;
                }
            }
        }
        Ok(())
    }

    async fn find_beheaded(
        &self,
        event: &StoredEvent,
        report: &mut Report,
    ) -> Result<(), FeedError> {
        let first = match self.ledger.log().read_stream_page(event.stream, 0, 1).await {
            Ok(page) => page,
            Err(LogError::Corrupt(_) | LogError::Detached(_)) => return Ok(()),
            Err(error) => return Err(unavailable(error)),
        };
        if first.first().is_some_and(|first| first.event_id == event.event_id) {
            let problem = format!("begins at sequence {}", event.sequence);
            report.found(Finding::of_stream(event.stream, Some(event.position), &problem));
        }
        Ok(())
    }
}

/// The log in order; what cannot be read is said and passed over.
struct Walk<'a> {
    ledger: &'a Ledger,
    after: Position,
    /// Events that are still to be read one by one.
    careful: usize,
}

impl Walk<'_> {
    async fn next(
        &mut self,
        head: Position,
        report: &mut Report,
    ) -> Result<Option<Vec<StoredEvent>>, FeedError> {
        while self.after < head {
            let limit = if self.careful > 0 { 1 } else { PAGE };
            match self.page(limit).await {
                Ok(page) => {
                    self.careful = self.careful.saturating_sub(1);
                    self.after = page.scanned_to.max(Position(self.after.0 + 1));
                    let mut events = page.events;
                    events.retain(|event| event.position <= head);
                    return Ok(Some(events));
                }
                Err(LogError::Corrupt(_)) if limit > 1 => self.careful = PAGE,
                Err(LogError::Corrupt(problem)) => {
                    report.found(Finding {
                        position: None,
                        stream: None,
                        seal: None,
                        problem: format!("an event cannot be read: {problem}"),
                    });
                    self.after = Position(self.after.0 + 1);
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
        Ok(None)
    }

    async fn page(&self, limit: usize) -> Result<LogPage, LogError> {
        self.ledger.log().read_all(self.after, &EventFilter::default(), limit).await
    }
}
