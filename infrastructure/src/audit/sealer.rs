//! Follows the log and seals what it has read.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use domain::port::{EventFilter, EventLog, LogError, Position};

use super::merkle::Digest;
use super::seal::{BLOCK_EVENTS, Leaf, SPAN, Seal};
use crate::event_store::Seals;

/// Seals written by one call at most, so that a long log is caught up with in steps.
const SEALS_AT_ONCE: usize = 8;

/// How far a sealer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to be sealed at once.
    Behind,
    /// It has read everything; this many events wait for their seal.
    AtHead { unsealed: usize },
    /// Another sealer was faster: begin anew with [`Sealer::resume`].
    Overtaken,
}

/// Seals one log. Two of them on one log do no harm, since a number is written once; they only do work twice.
pub struct Sealer {
    log: Arc<dyn EventLog>,
    seals: Arc<dyn Seals>,
    patience: Duration,
    number: u64,
    previous: Digest,
    /// Everything up to here is sealed or waits in `pending`.
    read_to: Position,
    pending: Vec<Leaf>,
}

impl Sealer {
    /// Goes on where the last seal ends. What has waited for `patience` is sealed, however little it is.
    ///
    /// # Errors
    /// [`LogError`], also where the last seal is none.
    pub async fn resume(
        log: Arc<dyn EventLog>,
        seals: Arc<dyn Seals>,
        patience: Duration,
    ) -> Result<Self, LogError> {
        let (number, previous, read_to) = match seals.last().await? {
            None => Default::default(),
            Some(row) => {
                let seal = Seal::read(&row)
                    .ok_or_else(|| LogError::Corrupt(format!("seal {} is none", row.number)))?;
                (seal.number, seal.hash, seal.last)
            }
        };
        Ok(Self { log, seals, patience, number, previous, read_to, pending: Vec::new() })
    }

    pub fn read_to(&self) -> Position {
        self.read_to
    }

    /// Reads on, and seals what is a block or has waited long enough.
    ///
    /// # Errors
    /// [`LogError`]; what was read is kept, and the next call goes on.
    pub async fn follow(&mut self, now: DateTime<Utc>) -> Result<Progress, LogError> {
        for _ in 0..SEALS_AT_ONCE {
            let room = BLOCK_EVENTS.saturating_sub(self.pending.len()).max(1);
            let page = self.log.read_all(self.read_to, &EventFilter::default(), room).await?;
            self.pending.extend(page.events.iter().map(Leaf::of));
            self.read_to = page.scanned_to.max(self.read_to);
            let oldest = self.pending.first();
            let is_due = oldest.is_some_and(|leaf| now - leaf.recorded_at >= self.patience);
            let is_full = self.pending.len() >= BLOCK_EVENTS || self.block() < self.pending.len();
            if (is_full || (page.at_head && is_due)) && !self.seal().await? {
                return Ok(Progress::Overtaken);
            }
            if page.at_head && self.block() == self.pending.len() {
                return Ok(Progress::AtHead { unsealed: self.pending.len() });
            }
        }
        Ok(Progress::Behind)
    }

    /// How many of those that wait fit under one seal.
    fn block(&self) -> usize {
        let Some(first) = self.pending.first() else { return 0 };
        let fits = |leaf: &Leaf| leaf.position.0 - first.position.0 <= SPAN;
        self.pending.partition_point(fits).min(BLOCK_EVENTS)
    }

    /// Whether it was this one that sealed.
    async fn seal(&mut self) -> Result<bool, LogError> {
        let block = self.block();
        let Some(seal) = Seal::over(&self.pending[..block], self.number + 1, self.previous) else {
            return Ok(true);
        };
        if !self.seals.put(&seal.row()).await? {
            return Ok(false);
        }
        self.number = seal.number;
        self.previous = seal.hash;
        self.pending.drain(..block);
        Ok(true)
    }
}
