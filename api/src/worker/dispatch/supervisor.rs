//! Gives every number with something to do a lane, on the node that holds its lease; and shares the leases out among the
//! nodes that are there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::account::{Account, AccountStatus};
use domain::port::Fence;
use domain::primitives::{AccountId, Actor};
use infrastructure::event_store::{Database, Lease};
use infrastructure::ledger::Context;
use projections::names;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::lane::{Lane, Shared};
use super::marketing::InFlight;
use super::reach::PortfolioReach;
use super::shares;
use crate::app::Gateway;
use crate::worker::all_accounts;

/// How long a lease holds without being renewed: a dead node's numbers move within this. What an intent may wait before
/// its call begins (`dispatch.send_by_s`) stays below it.
const LEASE: Duration = Duration::from_secs(12);
const RENEW: Duration = Duration::from_secs(3);
/// While another node has, and may give back any moment, what this one is to have.
const WAITING: Duration = Duration::from_secs(1);
/// Leases that say which nodes are there, each its own.
pub const NODES: &str = "node/";
const DISPATCH: &str = "dispatch/";

/// A lane, also while it waits for its last calls after it was told to stop.
struct Running {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    epoch: i64,
    /// Its work is done; the task ends at once.
    done: Arc<AtomicBool>,
}

/// Tells the supervisor that a lane has ended, however it did.
struct Ended {
    done: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

struct Group {
    lease: Lease,
    /// Not given back, nor known to be another's.
    is_held: bool,
    /// Since when it is wound down, by the clock that counts suspension.
    leaving_since: Option<Duration>,
    /// Counted anew with every epoch: somebody else may have sent in between.
    reach: Arc<PortfolioReach>,
    /// One for a number at most: a new one begins when the old one has ended.
    lanes: HashMap<AccountId, Running>,
}

impl Group {
    fn stop(&self) {
        for lane in self.lanes.values() {
            lane.stop.send_replace(true);
        }
    }

    /// Forgets the lanes that have ended.
    async fn reap(&mut self) {
        let ended: Vec<AccountId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.done.load(Ordering::Acquire) || lane.task.is_finished())
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            if let Some(lane) = self.lanes.remove(&id)
                && let Err(error) = lane.task.await
            {
                warn!(account.id = %id, %error, "a lane ended badly");
            }
        }
    }
}

/// Runs until `stop`; then waits for the calls under way and gives the leases back.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut groups: HashMap<String, Group> = HashMap::new();
    let ended = Arc::new(Notify::new());
    let marketing = Arc::new(InFlight::default());
    let mut directory = gateway.read.watch(names::DIRECTORY);
    let mut presence = None;
    while !*stop.borrow() {
        let round = round(&gateway, &mut groups, &mut presence, &marketing, &ended).await;
        let pause = match round {
            Ok(true) => WAITING,
            Ok(false) => RENEW,
            Err(error) => {
                warn!(error = %format!("{error:#}"), "it cannot be told which numbers there are; trying again");
                for (name, group) in &mut groups {
                    renew(&gateway, name, group).await;
                }
                RENEW
            }
        };
        tokio::select! {
            () = gateway.clock.sleep_for(pause) => {}
            () = ended.notified() => {}
            // A number that was just connected should not wait.
            _ = directory.changed() => {}
            _ = stop.changed() => {}
        }
    }
    // The others share out what is left as soon as it is given back.
    if let Some(presence) = presence {
        release(&gateway, &presence).await;
    }
    // All at once: no number goes on starting calls while another's last ones are waited for.
    groups.values().for_each(Group::stop);
    loop {
        let names: Vec<String> = groups.keys().cloned().collect();
        for name in names {
            wind_down(&gateway, &mut groups, &name).await;
        }
        if groups.is_empty() {
            return;
        }
        tokio::select! {
            () = gateway.clock.sleep_for(WAITING) => {}
            () = ended.notified() => {}
        }
    }
}

/// Looks after every lease once. Waits for nobody's calls, so that no lease runs out meanwhile; one group's trouble is
/// no other's. Answers whether something may soon be given back, by this node or to it.
async fn round(
    gateway: &Arc<Gateway>,
    groups: &mut HashMap<String, Group>,
    presence: &mut Option<Lease>,
    marketing: &Arc<InFlight>,
    ended: &Arc<Notify>,
) -> anyhow::Result<bool> {
    let mut wanted: BTreeMap<String, Vec<AccountId>> = BTreeMap::new();
    // Disconnected ones too: what they reached today counts.
    let mut sharing: HashMap<String, Vec<AccountId>> = HashMap::new();
    for (id, account) in all_accounts(gateway).await? {
        sharing.entry(lease_name(id, &account)).or_default().push(id);
        if account.status != AccountStatus::Disconnected {
            wanted.entry(lease_name(id, &account)).or_default().push(id);
        }
    }
    // Only who knows what there is to do is there to do it.
    let name = format!("{NODES}{}", gateway.node);
    *presence = gateway.store.leases.acquire(&name, &gateway.node, LEASE).await?;
    keep_own_share(gateway, &mut wanted).await?;
    let gone: Vec<String> =
        groups.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
    for name in gone {
        wind_down(gateway, groups, &name).await;
    }
    let mut is_waiting = groups.keys().any(|name| !wanted.contains_key(name));
    // A number whose portfolio was set or changed moves to another lease: its old lane ends first.
    for (name, group) in groups.iter_mut() {
        let accounts = wanted.get(name).map(Vec::as_slice).unwrap_or_default();
        for (id, lane) in &group.lanes {
            if !accounts.contains(id) {
                lane.stop.send_replace(true);
            }
        }
        group.reap().await;
    }
    for (name, accounts) in wanted {
        let lease = match gateway.store.leases.acquire(&name, &gateway.node, LEASE).await {
            Ok(Some(lease)) => lease,
            Ok(None) => {
                is_waiting = true;
                if let Some(group) = groups.get_mut(&name) {
                    if group.is_held {
                        info!(lease = %name, "another node has this lease now");
                    }
                    group.is_held = false;
                    group.stop();
                    if group.lanes.is_empty() {
                        groups.remove(&name);
                    }
                }
                continue;
            }
            Err(error) => {
                warn!(lease = %name, %error, "a lease could not be looked after; trying again");
                continue;
            }
        };
        let group = groups.entry(name.clone()).or_insert_with(|| Group {
            lease: lease.clone(),
            is_held: true,
            leaving_since: None,
            reach: Arc::new(PortfolioReach::new(gateway)),
            lanes: HashMap::new(),
        });
        if group.lease.epoch != lease.epoch {
            group.reach = Arc::new(PortfolioReach::new(gateway));
        }
        group.lease = lease;
        group.is_held = true;
        group.leaving_since = None;
        group.reach.set_numbers(sharing.remove(&name).unwrap_or_default());
        for lane in group.lanes.values().filter(|lane| lane.epoch != group.lease.epoch) {
            lane.stop.send_replace(true);
        }
        for account_id in accounts {
            let is_running_elsewhere =
                groups.values().any(|group| group.lanes.contains_key(&account_id));
            if let Some(group) = groups.get_mut(&name).filter(|_| !is_running_elsewhere) {
                let running = start(gateway, account_id, group, marketing, ended);
                group.lanes.insert(account_id, running);
            }
        }
    }
    metrics::gauge!("gateway_dispatch_leases")
        .set(groups.values().filter(|group| group.is_held).count() as f64);
    Ok(is_waiting)
}

/// Leaves in `wanted` what this node is to have among those that are there. One that has gone is there until its leases
/// run out, and one that was stopped is not when it wakes, until it has said so.
async fn keep_own_share(
    gateway: &Gateway,
    wanted: &mut BTreeMap<String, Vec<AccountId>>,
) -> anyhow::Result<()> {
    // One process has it all, whatever one before it has left behind.
    if matches!(gateway.store.database, Database::Sqlite(_)) {
        return Ok(());
    }
    let present = gateway.store.leases.held(NODES).await?;
    let held = gateway.store.leases.held(DISPATCH).await?;
    let nodes: BTreeSet<&str> =
        present.iter().map(|lease| lease.owner.as_str()).chain([gateway.node.as_str()]).collect();
    let holders = held.iter().map(|lease| (lease.name.as_str(), lease.owner.as_str())).collect();
    let parts = wanted.keys().map(String::as_str).collect();
    let own: BTreeSet<String> = shares::wanted(&parts, &holders, &nodes)
        .into_iter()
        .filter(|(_, node)| *node == gateway.node)
        .map(|(name, _)| name.to_owned())
        .collect();
    wanted.retain(|name, _| own.contains(name));
    Ok(())
}

fn start(
    gateway: &Arc<Gateway>,
    account_id: AccountId,
    group: &Group,
    marketing: &Arc<InFlight>,
    ended: &Arc<Notify>,
) -> Running {
    let context = lane_context(gateway, &group.lease);
    let shared = Shared { reach: group.reach.clone(), marketing: marketing.clone() };
    let (stop, stopped) = watch::channel(false);
    let done = Arc::new(AtomicBool::new(false));
    let ended = Ended { done: done.clone(), notify: ended.clone() };
    let gateway = gateway.clone();
    let task = tokio::spawn(async move {
        let _ended = ended;
        Lane::run(gateway, account_id, context, shared, stopped).await;
    });
    Running { task, stop, epoch: group.lease.epoch, done }
}

/// Ends a group without waiting: tells its lanes to stop, renews its lease while they have calls that may not have begun,
/// and gives it back. Forgets it when they have ended: what becomes of calls that take longer is recorded without a lease.
async fn wind_down(gateway: &Gateway, groups: &mut HashMap<String, Group>, name: &str) {
    let Some(group) = groups.get_mut(name) else { return };
    group.stop();
    group.reap().await;
    let now = gateway.clock.since_boot();
    let since = *group.leaving_since.get_or_insert(now);
    // What was on record when they were told to stop has begun by then, or never does: the next owner's pace is its own.
    let send_by = Duration::from_secs(gateway.config.dispatch.send_by_s.into());
    if !group.lanes.is_empty() && now.saturating_sub(since) <= send_by {
        return renew(gateway, name, group).await;
    }
    if group.is_held {
        info!(lease = %name, "given back");
        release(gateway, &group.lease).await;
        group.is_held = false;
    }
    if group.lanes.is_empty() {
        groups.remove(name);
    }
}

async fn release(gateway: &Gateway, lease: &Lease) {
    if let Err(error) = gateway.store.leases.release(lease).await {
        warn!(lease = %lease.name, %error, "a lease was not given back; it runs out by itself");
    }
}

/// For the calls under way.
async fn renew(gateway: &Gateway, name: &str, group: &mut Group) {
    if !group.is_held {
        return;
    }
    match gateway.store.leases.acquire(name, &gateway.node, LEASE).await {
        // Of another epoch, somebody else had it meanwhile: the next round sees that, and counts reach anew.
        Ok(Some(lease)) if lease.epoch == group.lease.epoch => group.lease = lease,
        Ok(Some(_)) => {}
        // Another's by now: what is recorded of calls needs no lease.
        Ok(None) => group.is_held = false,
        Err(error) => warn!(lease = %name, %error, "a lease could not be renewed"),
    }
}

/// Every append of the lane names the lease and its epoch, so an owner of old cannot write.
fn lane_context(gateway: &Gateway, lease: &Lease) -> Context {
    let id = gateway.ids.next_id(gateway.clock.now());
    Context::new(Actor::process("dispatch"), id)
        .fenced(Fence { lease: lease.name.clone(), epoch: lease.epoch })
}

fn lease_name(id: AccountId, account: &Account) -> String {
    match &account.settings.portfolio_id {
        Some(portfolio) => format!("dispatch/portfolio/{portfolio}"),
        None => format!("dispatch/account/{id}"),
    }
}
