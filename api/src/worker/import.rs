//! The import process manager: reads each running import's file from the last settled row on and turns rows into contacts,
//! step by step. A step may be done twice, and doubles nobody: see [`crate::application::imports`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, Duration, Utc};
use domain::import::{
    Import, ImportCommand, ImportError, ImportEvent, ImportRowError, ImportStatus, ImportTotals,
};
use domain::port::{AggregateType, EventFeed, Fence, StreamId};
use domain::primitives::{ImportId, Personal};
use futures::FutureExt;
use infrastructure::event_store::Lease;
use infrastructure::import::{
    ColumnMapping, ContactFileReader, ContactRow, FileError, Options, RowResult,
};
use infrastructure::ledger::{CommandError, Context};
use projections::names;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::app::Gateway;
use crate::application::contacts;
use crate::application::imports::{
    self, FILE_LEASE, Rehearsal, RowVerdict, Rules, SpoolError, SpoolReader, StepError, Verdict,
    file_lease_name, lease_name, process_context,
};

/// Rows judged and appended at once.
const STEP_ROWS: usize = 500;
/// Imports and undos under way in this process.
const AT_ONCE: usize = 4;
const IDLE: Duration = Duration::seconds(1);
const RETRY: Duration = Duration::seconds(2);
const SWEEP_EVERY: Duration = Duration::hours(1);
/// What the next node waits for when this one is killed.
const LEASE: std::time::Duration = std::time::Duration::from_secs(12);
const RENEW_EVERY: std::time::Duration = std::time::Duration::from_secs(4);
/// How long the contacts' read model is waited for before the wait is logged.
const CATCH_UP: std::time::Duration = std::time::Duration::from_secs(6);
/// How often a node says that it has the files of the imports that are running.
const FILES_EVERY: std::time::Duration = std::time::Duration::from_secs(5);
/// A file of which no node ever said that it has it is given up after this; the node that has it may be away until then.
const MISSING_FOR: Duration = Duration::hours(24);

enum Task {
    Import(ImportId),
    Undo(ImportId),
}

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut tasks: JoinSet<(Task, anyhow::Result<()>)> = JoinSet::new();
    let mut active: BTreeSet<ImportId> = BTreeSet::new();
    let mut not_before: BTreeMap<ImportId, DateTime<Utc>> = BTreeMap::new();
    let mut sweep_at = gateway.clock.now();
    let mut files_told_at: Option<Instant> = None;
    while !*stop.borrow() {
        let now = gateway.clock.now();
        if now >= sweep_at {
            sweep_at = now + SWEEP_EVERY;
            if let Err(error) = sweep(&gateway).await {
                warn!(error = %format!("{error:#}"), "uploaded files could not be looked through; trying again later");
            }
        }
        not_before.retain(|_, at| *at > now);
        for id in gateway.local.imports.take_undos() {
            let (gateway, stop) = (gateway.clone(), stop.clone());
            tasks.spawn(async move {
                let done = caught(imports::take_back(&gateway, id, &stop)).await;
                (Task::Undo(id), done.map(drop))
            });
        }
        let running = running(&gateway).await;
        if files_told_at.is_none_or(|at| at.elapsed() >= FILES_EVERY) {
            files_told_at = Some(Instant::now());
            tell_files(&gateway, &running).await;
        }
        for id in running {
            if tasks.len() >= AT_ONCE || not_before.contains_key(&id) || !active.insert(id) {
                continue;
            }
            let (gateway, stop) = (gateway.clone(), stop.clone());
            tasks.spawn(
                async move { (Task::Import(id), caught(import(&gateway, id, &stop)).await) },
            );
        }
        tokio::select! {
            Some(Ok(ended)) = tasks.join_next() => {
                settle(&gateway, ended, &mut active, &mut not_before);
            }
            () = gateway.clock.sleep_until(now + IDLE) => {}
            () = gateway.local.imports.woken() => {}
            _ = stop.changed() => {}
        }
    }
    // Each stops after the step it is at.
    while tasks.join_next().await.is_some() {}
}

/// One file that makes us panic must not stop the others, nor itself for ever.
async fn caught<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let caught = std::panic::AssertUnwindSafe(work).catch_unwind().await;
    caught.unwrap_or_else(|_| Err(anyhow::anyhow!("the work on an import panicked")))
}

fn settle(
    gateway: &Gateway,
    (task, result): (Task, anyhow::Result<()>),
    active: &mut BTreeSet<ImportId>,
    not_before: &mut BTreeMap<ImportId, DateTime<Utc>>,
) {
    match task {
        Task::Undo(id) => {
            gateway.local.imports.undo_ended(id);
            if let Err(error) = result {
                warn!(import.id = %id, error = %format!("{error:#}"), "an import was not taken back completely");
            }
        }
        Task::Import(id) => {
            active.remove(&id);
            // What is not ours to do, or has just ended, need not be looked at again at once either.
            not_before.insert(id, gateway.clock.now() + RETRY);
            if let Err(error) = result {
                warn!(import.id = %id, error = %format!("{error:#}"), "an import's step failed; trying again");
            }
        }
    }
}

/// Imports that have not ended, those of this process first.
async fn running(gateway: &Gateway) -> Vec<ImportId> {
    let mut ids = gateway.local.imports.here();
    match gateway.read.queries().running_imports().await {
        Ok(running) => ids.extend(running.iter().map(|import| ImportId(import.id))),
        Err(error) => warn!(%error, "running imports could not be read; trying again"),
    }
    ids
}

/// Says which files are here, so that other nodes leave their imports to this one.
async fn tell_files(gateway: &Gateway, running: &[ImportId]) {
    if gateway.config.is_single_node() {
        return;
    }
    for id in running {
        if !imports::spools(gateway).has(*id).await {
            continue;
        }
        let name = file_lease_name(*id);
        if let Err(error) = gateway.store.leases.acquire(&name, &gateway.node, FILE_LEASE).await {
            warn!(import.id = %id, %error, "other nodes could not be told where the uploaded file is; trying again");
        }
    }
}

/// Whether this import is to be dealt with here: its file is here, or the node that had it is gone. On PostgreSQL nodes
/// have disks of their own.
async fn is_ours(gateway: &Gateway, id: ImportId, import: &Import) -> anyhow::Result<bool> {
    if gateway.config.is_single_node() || imports::spools(gateway).has(id).await {
        return Ok(true);
    }
    let name = file_lease_name(id);
    if gateway.store.leases.list(&name).await?.is_empty() {
        // Taken by an earlier version, which does not say where the file is.
        let age = import.started_at.map(|at| gateway.clock.now() - at).unwrap_or_default();
        return Ok(age >= MISSING_FOR);
    }
    let Some(lapsed) = gateway.store.leases.acquire(&name, &gateway.node, FILE_LEASE).await? else {
        // The node that took the upload does it.
        return Ok(false);
    };
    gateway.store.leases.release(&lapsed).await?;
    Ok(true)
}

/// Removes files whose import has ended, or never began.
async fn sweep(gateway: &Gateway) -> anyhow::Result<()> {
    let spools = imports::spools(gateway);
    for id in spools.sweep().await? {
        let is_needed = match gateway.bus.load::<Import>(id.0).await? {
            Some(import) => import.aggregate.status == ImportStatus::Running,
            None => !spools.is_abandoned(id).await,
        };
        if !is_needed {
            spools.remove(id, gateway.bus.keys()).await?;
        }
    }
    Ok(())
}

/// Goes on with one import as far as it goes now.
async fn import(
    gateway: &Gateway,
    id: ImportId,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let Some(loaded) = gateway.bus.load::<Import>(id.0).await? else {
        // Begun here and still being uploaded.
        return Ok(());
    };
    if loaded.aggregate.status != ImportStatus::Running {
        return end(gateway, id).await;
    }
    if !is_ours(gateway, id, &loaded.aggregate).await? {
        return Ok(());
    }
    let Some(lease) = gateway.store.leases.acquire(&lease_name(id), &gateway.node, LEASE).await?
    else {
        return Ok(());
    };
    let done = go_on(gateway, id, &lease, stop).await;
    gateway.store.leases.release(&lease).await?;
    done
}

/// The import has ended: its file and the file's key go.
async fn end(gateway: &Gateway, id: ImportId) -> anyhow::Result<()> {
    imports::spools(gateway).remove(id, gateway.bus.keys()).await?;
    gateway.local.imports.ended(id);
    Ok(())
}

async fn go_on(
    gateway: &Gateway,
    id: ImportId,
    lease: &Lease,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    // As it is under the lease.
    let loaded = gateway.bus.load::<Import>(id.0).await?.context("there is no such import")?;
    if loaded.aggregate.status != ImportStatus::Running {
        return end(gateway, id).await;
    }
    let fence = Fence { lease: lease.name.clone(), epoch: lease.epoch };
    let context = process_context(id, &loaded, fence);
    let import = loaded.aggregate;
    let (rules, options) = rules(gateway, id).await?;
    let mut job = Job {
        gateway,
        id,
        rules,
        context,
        lease,
        renewed_at: Instant::now(),
        totals: import.totals,
        cursor_row: import.cursor_row,
        is_first: true,
        rehearsal: import.dry_run.then(Rehearsal::new),
        waiting: Vec::new(),
    };
    let spool = match imports::spools(gateway).open(id, gateway.bus.keys()).await {
        Ok(spool) => spool,
        Err(SpoolError::Missing) => return job.fail(GONE).await,
        Err(SpoolError::Unreadable) => return job.fail(UNREADABLE).await,
        Err(error) => return Err(error.into()),
    };
    match job.read(spool, options, stop).await {
        Ok(Read::Whole) => job.complete(stop).await,
        Ok(Read::Stopped) => Ok(()),
        Err(ReadError::File(error)) => job.fail(&error.to_string()).await,
        Err(ReadError::Spool(SpoolError::Missing | SpoolError::Unreadable)) => {
            job.fail(UNREADABLE).await
        }
        Err(ReadError::Spool(error)) => Err(error.into()),
        // Another node goes on.
        Err(ReadError::Step(StepError::Fenced)) => Ok(()),
        Err(ReadError::Step(error)) => Err(error.into()),
        Err(ReadError::Other(error)) => Err(error),
    }
}

const GONE: &str = "the uploaded file is gone: the machine that took it has stopped, or the file was removed. What was read of it \
                    stays; upload the file again for the rest, which doubles nobody";
const UNREADABLE: &str = "the uploaded file cannot be read any more: import it again";

/// How the import was asked for, from its first event.
async fn rules(gateway: &Gateway, id: ImportId) -> anyhow::Result<(Rules, Options)> {
    let stream = StreamId::new(AggregateType::Import, id.0);
    let events = gateway.bus.ledger().read_stream_page(stream, 0, 1).await?;
    let first = events.first().context("the import has no events")?;
    let ImportEvent::Started { workspace_id, tags, consent, default_region, mapping, at, .. } =
        first.decode()?
    else {
        anyhow::bail!("the import does not begin with its start");
    };
    let mapping = match mapping.and_then(Personal::into_known) {
        Some(mapping) => ColumnMapping::parse(&mapping)?,
        None => ColumnMapping::default(),
    };
    let home = contacts::home(gateway, workspace_id).await?;
    let rules = Rules {
        import_id: id,
        workspace_id,
        started_at: at,
        tags,
        consent,
        portfolio_id: home.portfolio_id.unwrap_or_default(),
    };
    Ok((rules, Options { default_region, mapping }))
}

struct Job<'a> {
    gateway: &'a Gateway,
    id: ImportId,
    rules: Rules,
    context: Context,
    lease: &'a Lease,
    renewed_at: Instant,
    totals: ImportTotals,
    cursor_row: u64,
    /// Only of the first step after a start may something have been done before.
    is_first: bool,
    /// A dry run's; rows before the cursor are then judged again, since later ones may be about the same people.
    rehearsal: Option<Rehearsal>,
    /// Rows read and not settled, in the file's order.
    waiting: Vec<RowResult>,
}

enum Read {
    Whole,
    Stopped,
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn row_of(row: &RowResult) -> u64 {
    match row {
        Ok(row) => row.row,
        Err(error) => error.row,
    }
}

impl Job<'_> {
    async fn read(
        &mut self,
        mut spool: SpoolReader,
        options: Options,
        stop: &watch::Receiver<bool>,
    ) -> Result<Read, ReadError> {
        let mut reader = ContactFileReader::try_new(options)?;
        while let Some(piece) = spool.next().await? {
            let read = reader.push(&piece, &mut self.waiting);
            if let Read::Stopped = self.steps(read.is_err(), stop).await? {
                return Ok(Read::Stopped);
            }
            read?;
            // Long stretches of settled rows lie between two awaits that wait.
            tokio::task::yield_now().await;
        }
        let read = reader.finish(&mut self.waiting);
        if let Read::Stopped = self.steps(true, stop).await? {
            return Ok(Read::Stopped);
        }
        read?;
        Ok(Read::Whole)
    }

    /// Settles what waits, whole steps only unless it is the last of the file.
    async fn steps(
        &mut self,
        is_last: bool,
        stop: &watch::Receiver<bool>,
    ) -> Result<Read, ReadError> {
        let cursor_row = self.cursor_row;
        let settled = self.waiting.iter().take_while(|row| row_of(row) <= cursor_row).count();
        let settled: Vec<RowResult> = self.waiting.drain(..settled).collect();
        self.rehearse_again(settled).await?;
        while self.waiting.len() >= STEP_ROWS || (is_last && !self.waiting.is_empty()) {
            if *stop.borrow() {
                return Ok(Read::Stopped);
            }
            let rows = self.waiting.drain(..STEP_ROWS.min(self.waiting.len())).collect();
            self.renew().await?;
            self.step(rows).await?;
        }
        Ok(Read::Whole)
    }

    /// Rows that a dry run settled before it was interrupted.
    async fn rehearse_again(&mut self, rows: Vec<RowResult>) -> Result<(), ReadError> {
        let Some(rehearsal) = &mut self.rehearsal else { return Ok(()) };
        let rows: Vec<ContactRow> = rows.into_iter().flatten().collect();
        let now = self.gateway.clock.now();
        for rows in rows.chunks(STEP_ROWS) {
            imports::rehearse(&self.gateway.bus, &self.rules, rows, rehearsal, now).await?;
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), ReadError> {
        if self.renewed_at.elapsed() < RENEW_EVERY {
            return Ok(());
        }
        let renewed =
            self.gateway.store.leases.renew(std::slice::from_ref(self.lease), LEASE).await;
        if renewed.map_err(anyhow::Error::from)? != [true] {
            return Err(StepError::Fenced.into());
        }
        self.renewed_at = Instant::now();
        Ok(())
    }

    async fn step(&mut self, rows: Vec<RowResult>) -> Result<(), ReadError> {
        let count = rows.len() as u64;
        let Some(last) = rows.last().map(row_of) else { return Ok(()) };
        let mut errors: Vec<ImportRowError> = Vec::new();
        let mut good: Vec<ContactRow> = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                Ok(row) => good.push(row),
                Err(error) => {
                    let (row, column, message) = (error.row, error.column, error.message);
                    errors.push(ImportRowError { row, column, message });
                }
            }
        }
        let (bus, now) = (&self.gateway.bus, self.gateway.clock.now());
        let verdicts: Vec<RowVerdict> = match &mut self.rehearsal {
            Some(rehearsal) => imports::rehearse(bus, &self.rules, &good, rehearsal, now).await?,
            None => {
                imports::apply(bus, &self.rules, &good, self.is_first, &self.context, now).await?
            }
        };
        let mut totals = self.totals;
        for verdict in verdicts {
            match verdict {
                Ok(Verdict::Added) => totals.added += 1,
                Ok(Verdict::Updated) => totals.updated += 1,
                Err(error) => errors.push(error),
            }
        }
        totals.rows += count;
        totals.rejected += errors.len() as u64;
        errors.sort_by_key(|error| error.row);
        let command = ImportCommand::Progress {
            totals,
            cursor_row: last,
            errors,
            at: self.gateway.clock.now(),
        };
        self.record(command).await?;
        for (outcome, now, before) in [
            ("added", totals.added, self.totals.added),
            ("updated", totals.updated, self.totals.updated),
            ("rejected", totals.rejected, self.totals.rejected),
        ] {
            metrics::counter!("gateway_import_rows_total", "outcome" => outcome)
                .increment(now - before);
        }
        (self.totals, self.cursor_row, self.is_first) = (totals, last, false);
        Ok(())
    }

    async fn record(&self, command: ImportCommand) -> Result<(), ReadError> {
        match self.gateway.bus.execute::<Import>(self.id.0, command, &self.context).await {
            Ok(_) => Ok(()),
            Err(CommandError::Fenced) => Err(StepError::Fenced.into()),
            Err(CommandError::Unavailable(error)) => Err(StepError::Unavailable(error).into()),
            Err(error) => Err(anyhow::Error::from(error).into()),
        }
    }

    /// COMPLETED means that the contacts can be found.
    async fn complete(&self, stop: &watch::Receiver<bool>) -> anyhow::Result<()> {
        if self.rehearsal.is_none() {
            let head = self.gateway.bus.ledger().head().await?;
            while self.gateway.read.wait_for(names::CONTACTS, head, CATCH_UP).await.is_err() {
                if *stop.borrow() {
                    return Ok(());
                }
                self.gateway.store.leases.renew(std::slice::from_ref(self.lease), LEASE).await?;
                warn!(import.id = %self.id, "all rows are in; waiting for the contacts' read model");
            }
        }
        self.close(ImportCommand::Complete { at: self.gateway.clock.now() }).await?;
        let ImportTotals { rows, added, updated, rejected } = self.totals;
        info!(import.id = %self.id, rows, added, updated, rejected, "import completed");
        Ok(())
    }

    async fn fail(&self, reason: &str) -> anyhow::Result<()> {
        self.close(ImportCommand::Fail { reason: reason.to_owned(), at: self.gateway.clock.now() })
            .await?;
        info!(import.id = %self.id, "import failed");
        Ok(())
    }

    async fn close(&self, command: ImportCommand) -> anyhow::Result<()> {
        match self.gateway.bus.execute::<Import>(self.id.0, command, &self.context).await {
            // Somebody else closed it.
            Ok(_) | Err(CommandError::Domain(ImportError::NotAllowed { .. })) => {
                end(self.gateway, self.id).await
            }
            Err(CommandError::Fenced) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
