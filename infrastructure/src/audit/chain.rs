//! The seals beside the events that they cover, one after another.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use domain::port::{LogError, Position, StoredEvent};

use super::merkle::Digest;
use super::seal::{BLOCK_EVENTS, Leaf, Seal, tag};
use super::verifier::{Finding, Report};
use crate::event_store::{SealRow, Seals};

/// Seals read at once.
const PAGE: usize = 64;
/// Leaves kept for one seal: whoever made a seal longer does not make the check take more memory.
const LEAVES_MAX: usize = 2 * BLOCK_EVENTS;

/// Takes events in order of position and compares them with what was sealed.
pub(super) struct Chain {
    seals: Arc<dyn Seals>,
    months_out: BTreeSet<u32>,
    waiting: VecDeque<Waiting>,
    /// The last one that was read.
    number: u64,
    previous: Digest,
    sealed_to: Position,
    /// The last one that was read is of no use.
    is_gap: bool,
    /// Seals beyond were written after the check began.
    last: u64,
    /// What the first of `waiting` covers, as far as it was seen.
    leaves: Vec<Leaf>,
}

struct Waiting {
    seal: Seal,
    /// Seals before it are missing, and with them what is known of their events.
    is_behind_gap: bool,
}

impl Chain {
    /// Up to the seal of the number `last`.
    pub async fn open(seals: Arc<dyn Seals>, last: u64) -> Result<Self, LogError> {
        let months_out = seals.months_out().await?.into_iter().collect();
        Ok(Self {
            seals,
            months_out,
            waiting: VecDeque::new(),
            number: 0,
            previous: Digest::default(),
            sealed_to: Position(0),
            is_gap: false,
            last,
            leaves: Vec::new(),
        })
    }

    pub async fn event(
        &mut self,
        event: &StoredEvent,
        report: &mut Report,
    ) -> Result<(), LogError> {
        loop {
            self.fill(report).await?;
            match self.waiting.front() {
                Some(Waiting { seal, .. }) if event.position > seal.last => {
                    self.close(report).await?;
                }
                Some(Waiting { seal, is_behind_gap }) if event.position < seal.first => {
                    if *is_behind_gap {
                        report.unsealed += 1;
                    } else {
                        report.found(Finding::at(event.position, event.stream, ADDED));
                    }
                    return Ok(());
                }
                Some(_) => {
                    if self.leaves.len() < LEAVES_MAX {
                        self.leaves.push(Leaf::of(event));
                    } else {
                        report.found(Finding::at(event.position, event.stream, ADDED));
                    }
                    return Ok(());
                }
                None => {
                    report.unsealed += 1;
                    return Ok(());
                }
            }
        }
    }

    /// There are no more events: what the seals that are left cover is not there.
    pub async fn finish(&mut self, report: &mut Report) -> Result<(), LogError> {
        loop {
            self.fill(report).await?;
            if self.waiting.is_empty() {
                return Ok(());
            }
            self.close(report).await?;
        }
    }

    async fn fill(&mut self, report: &mut Report) -> Result<(), LogError> {
        while self.waiting.is_empty() && self.number < self.last {
            let rows = self.seals.after(self.number, PAGE).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let last = self.last;
            for row in rows.into_iter().filter(|row| row.number <= last) {
                self.take(&row, report);
            }
        }
        Ok(())
    }

    fn take(&mut self, row: &SealRow, report: &mut Report) {
        let expected = self.number + 1;
        self.number = row.number;
        let mut tell = |problem: &str| report.found(Finding::of_seal(row.number, problem));
        if row.number != expected {
            tell("does not follow the one before: those between are missing");
        }
        let is_behind_gap = row.number != expected || std::mem::take(&mut self.is_gap);
        let Some(seal) = Seal::read(row) else {
            tell("cannot be read");
            self.is_gap = true;
            return;
        };
        if !is_behind_gap && !seal.follows(self.previous) {
            tell("is not what was written, or does not follow the one before");
        }
        if seal.first <= self.sealed_to || seal.last < seal.first {
            tell("covers what others cover, or nothing");
            self.is_gap = true;
            return;
        }
        self.previous = seal.hash;
        self.sealed_to = seal.last;
        report.seal(seal.number, seal.hash);
        self.waiting.push_back(Waiting { seal, is_behind_gap });
    }

    /// Compares the first seal with what was seen of it.
    async fn close(&mut self, report: &mut Report) -> Result<(), LogError> {
        let Some(Waiting { seal, .. }) = self.waiting.pop_front() else { return Ok(()) };
        let leaves = std::mem::take(&mut self.leaves);
        report.sealed += leaves.len() as u64;
        let broken = seal.broken_months(&leaves);
        if broken.iter().any(|month| *month != 0 && !self.months_out.contains(month)) {
            // It may have been taken out since the check began.
            self.months_out = self.seals.months_out().await?.into_iter().collect();
        }
        let mut found = leaves.iter().peekable();
        let mut out = BTreeSet::new();
        let mut out_events = 0;
        let mut findings = Vec::new();
        let at = |leaf: &Leaf, problem| Finding::at(leaf.position, leaf.stream, problem);
        for locator in &seal.locators {
            while let Some(added) = found.next_if(|leaf| leaf.position < locator.position) {
                findings.push((at(added, ADDED), None));
            }
            match found.next_if(|leaf| leaf.position == locator.position) {
                Some(leaf) if leaf.locator() == *locator => {}
                Some(leaf) => {
                    let was = (tag(leaf.stream) != locator.stream).then_some(locator.stream);
                    findings.push((at(leaf, "is not the one that was sealed here"), was));
                }
                None if self.months_out.contains(&locator.month) => {
                    out.insert(locator.month);
                    out_events += 1;
                }
                None => {
                    let missing = Finding::missing(locator.position);
                    findings.push((missing, Some(locator.stream)));
                }
            }
        }
        findings.extend(found.map(|added| (at(added, ADDED), None)));
        let is_explained = broken.iter().all(|month| out.contains(month));
        report.out(out, out_events);
        let of_seal = |problem| Finding::of_seal(seal.number, problem);
        if broken.is_empty() && !findings.is_empty() {
            report.found(of_seal("holds for its events, and its locators were changed"));
            return Ok(());
        }
        if !is_explained && findings.is_empty() {
            let problem = "does not hold for its events, and its locators do not say which";
            report.found(of_seal(problem));
        }
        for (finding, was) in findings {
            report.found_of(Finding { seal: Some(seal.number), ..finding }, was);
        }
        Ok(())
    }
}

const ADDED: &str = "was added after its neighbours were sealed";
