//! Gives every number with something to do a lane, on the node that holds its lease.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::account::{Account, AccountStatus};
use domain::port::Fence;
use domain::primitives::{AccountId, Actor};
use infrastructure::event_store::Lease;
use infrastructure::ledger::Context;
use projections::names;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::lane::Lane;
use crate::app::Gateway;
use crate::worker::all_accounts;

/// How long a lease holds without being renewed: a dead node's numbers move within this.
const LEASE: Duration = Duration::from_secs(12);
const RENEW: chrono::Duration = chrono::Duration::seconds(3);

struct Group {
    lease: Lease,
    lanes: HashMap<AccountId, (JoinHandle<()>, watch::Sender<bool>)>,
}

/// Runs until `stop`; then waits for the calls under way and gives the leases back.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut groups: HashMap<String, Group> = HashMap::new();
    let mut directory = gateway.read.watch(names::DIRECTORY);
    while !*stop.borrow() {
        if let Err(error) = round(&gateway, &mut groups).await {
            warn!(error = %format!("{error:#}"), "leases could not be looked after; trying again");
        }
        let next = gateway.clock.now() + RENEW;
        tokio::select! {
            () = gateway.clock.sleep_until(next) => {}
            // A number that was just connected should not wait.
            _ = directory.changed() => {}
            _ = stop.changed() => {}
        }
    }
    for group in groups.into_values() {
        let lease = end(group).await;
        if let Err(error) = gateway.store.leases.release(&lease).await {
            warn!(lease = %lease.name, %error, "a lease was not given back; it runs out by itself");
        }
    }
}

async fn round(gateway: &Arc<Gateway>, groups: &mut HashMap<String, Group>) -> anyhow::Result<()> {
    let mut wanted: BTreeMap<String, Vec<AccountId>> = BTreeMap::new();
    for (id, account) in all_accounts(gateway).await? {
        if account.status != AccountStatus::Disconnected {
            wanted.entry(lease_name(id, &account)).or_default().push(id);
        }
    }
    let gone: Vec<String> =
        groups.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
    for name in gone {
        if let Some(group) = groups.remove(&name) {
            let lease = end(group).await;
            gateway.store.leases.release(&lease).await?;
        }
    }
    for (name, accounts) in wanted {
        let Some(lease) = gateway.store.leases.acquire(&name, &gateway.node, LEASE).await? else {
            if let Some(group) = groups.remove(&name) {
                info!(lease = %name, "another node has this lease now");
                end(group).await;
            }
            continue;
        };
        let is_new = groups.get(&name).is_none_or(|group| group.lease != lease);
        if is_new && let Some(old) = groups.remove(&name) {
            end(old).await;
        }
        let group = groups.entry(name).or_insert_with(|| Group { lease, lanes: HashMap::new() });
        group.lanes.retain(|id, (task, stop)| {
            let is_wanted = accounts.contains(id) && !task.is_finished();
            if !is_wanted {
                stop.send_replace(true);
            }
            is_wanted
        });
        for account_id in accounts {
            if !group.lanes.contains_key(&account_id) {
                let context = lane_context(gateway, &group.lease);
                let (stop, stopped) = watch::channel(false);
                let lane = Lane::take_over(gateway.clone(), account_id, context, stopped).await?;
                group.lanes.insert(account_id, (tokio::spawn(lane.run()), stop));
            }
        }
    }
    Ok(())
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

/// Waits for the lanes' calls; answers with the lease, for whoever gives it back.
async fn end(group: Group) -> Lease {
    for (task, stop) in group.lanes.into_values() {
        stop.send_replace(true);
        if let Err(error) = task.await {
            warn!(%error, "a lane ended badly");
        }
    }
    group.lease
}
