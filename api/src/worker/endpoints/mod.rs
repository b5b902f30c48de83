//! Sends events to webhook endpoints: for each endpoint that is active a lane of its own through the log, and one for a replay
//! beside it. One node at a time works an endpoint; whoever has lost its lease can keep nothing more. Endpoints share nothing
//! but the log, so that one which is dead or slow holds up no other.

mod book;
mod lane;
pub(crate) mod resend;
mod shipment;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration as StdDuration, Instant};

use chrono::Duration;
use domain::webhook_endpoint::{EndpointStatus, WebhookEndpoint};
use infrastructure::event_store::{Database, Lease};
use projections::names;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;
use uuid::Uuid;

use lane::Lane;

use crate::app::Gateway;

const LEASES: &str = "webhook-endpoint/";
/// What the next node waits for when this one is killed.
const LEASE: StdDuration = StdDuration::from_secs(12);
const RENEW_EVERY: StdDuration = StdDuration::from_secs(3);
const IDLE: Duration = Duration::seconds(1);
/// Between two looks, however busy the directory is.
const PAUSE: Duration = Duration::milliseconds(100);
/// Endpoints that one process works; others are left to other nodes.
const ENDPOINTS_MAX: usize = 1_000;

struct Running {
    lease: Lease,
    settings: watch::Sender<Arc<WebhookEndpoint>>,
    stop: watch::Sender<bool>,
    /// By the id of the lane.
    lanes: HashMap<Uuid, JoinHandle<()>>,
}

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut sender = Sender {
        gateway,
        running: HashMap::new(),
        lanes: Arc::default(),
        renewed_at: Instant::now(),
    };
    let mut directory = sender.gateway.read.watch(names::DIRECTORY);
    while !*stop.borrow() {
        let now = sender.gateway.clock.now();
        if let Err(error) = sender.look().await {
            warn!(error = %format!("{error:#}"), "webhook endpoints could not be looked after; trying again");
        }
        tokio::select! {
            () = sender.gateway.clock.sleep_until(now + IDLE) => {}
            _ = directory.changed() => {
                tokio::select! {
                    () = sender.gateway.clock.sleep_until(now + PAUSE) => {}
                    _ = stop.changed() => {}
                }
            }
            _ = stop.changed() => {}
        }
    }
    sender.end().await;
}

struct Sender {
    gateway: Arc<Gateway>,
    running: HashMap<Uuid, Running>,
    lanes: Arc<AtomicUsize>,
    renewed_at: Instant,
}

impl Drop for Sender {
    /// Where this panics, its lanes end too, and are begun anew.
    fn drop(&mut self) {
        for running in self.running.values() {
            for lane in running.lanes.values() {
                lane.abort();
            }
        }
    }
}

impl Sender {
    async fn look(&mut self) -> anyhow::Result<()> {
        self.renew().await?;
        let active = self.gateway.read.queries().active_webhook_endpoints().await?;
        let active: HashMap<Uuid, Arc<WebhookEndpoint>> =
            active.into_iter().map(|stored| (stored.id, stored.state)).collect();
        for (id, running) in &mut self.running {
            running.lanes.retain(|_, lane| !lane.is_finished());
            match active.get(id) {
                Some(endpoint) => {
                    running.settings.send_if_modified(|known| {
                        let is_news = known != endpoint;
                        known.clone_from(endpoint);
                        is_news
                    });
                }
                None => {
                    running.stop.send_replace(true);
                }
            }
        }
        // What was under way has ended: others may have it.
        let over = |(id, running): (&Uuid, &Running)| {
            let is_over =
                running.lanes.is_empty() && (*running.stop.borrow() || !active.contains_key(id));
            is_over.then_some(*id)
        };
        let over: Vec<Uuid> = self.running.iter().filter_map(over).collect();
        for id in over {
            if let Some(running) = self.running.remove(&id) {
                self.gateway.store.leases.release(&running.lease).await?;
            }
        }
        self.begin(&active).await?;
        let lanes = self.running.values().map(|running| running.lanes.len()).sum();
        self.lanes.store(lanes, std::sync::atomic::Ordering::Relaxed);
        metrics::gauge!("gateway_endpoint_lanes").set(lanes as f64);
        Ok(())
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        if self.renewed_at.elapsed() < RENEW_EVERY || self.running.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = self.running.keys().copied().collect();
        let leases: Vec<Lease> =
            self.running.values().map(|running| running.lease.clone()).collect();
        let held = self.gateway.store.leases.renew(&leases, LEASE).await?;
        self.renewed_at = Instant::now();
        for (id, is_held) in ids.into_iter().zip(held) {
            if !is_held && let Some(running) = self.running.get(&id) {
                running.stop.send_replace(true);
            }
        }
        Ok(())
    }

    /// Begins what is not under way and nobody else works.
    async fn begin(&mut self, active: &HashMap<Uuid, Arc<WebhookEndpoint>>) -> anyhow::Result<()> {
        let is_idle = |id: &Uuid| !self.running.contains_key(id);
        if active.keys().any(is_idle) {
            let held = self.gateway.store.leases.held(LEASES).await?;
            let own = |lease: &Lease| lease.owner == self.gateway.node;
            let others: Vec<String> =
                held.into_iter().filter(|lease| !own(lease)).map(|lease| lease.name).collect();
            let idle: Vec<Uuid> = active.keys().filter(|id| is_idle(id)).copied().collect();
            for id in idle {
                let name = format!("{LEASES}{id}");
                // Without PostgreSQL nobody else can be there: what is held was left by a process that is
                // no more.
                let has_others = matches!(self.gateway.store.database, Database::Postgres(_));
                let is_taken = has_others && others.contains(&name);
                if is_taken || self.running.len() >= ENDPOINTS_MAX {
                    continue;
                }
                let acquired = self.gateway.store.leases.acquire(&name, &self.gateway.node, LEASE);
                let Some(lease) = acquired.await? else { continue };
                let settings = watch::Sender::new(active[&id].clone());
                let stop = watch::Sender::new(false);
                self.running.insert(id, Running { lease, settings, stop, lanes: HashMap::new() });
            }
        }
        for (id, running) in &mut self.running {
            let Some(endpoint) = active.get(id).filter(|_| !*running.stop.borrow()) else {
                continue;
            };
            let replay = endpoint.replay.clone().map(Some);
            for replay in std::iter::once(None).chain(replay) {
                let lane_id = replay.as_ref().map_or(*id, |replay| replay.id);
                if running.lanes.contains_key(&lane_id) {
                    continue;
                }
                // The read model may be behind: what was paused a moment ago is not begun again.
                let Some(loaded) = self.gateway.bus.load::<WebhookEndpoint>(*id).await? else {
                    continue;
                };
                let now = loaded.aggregate;
                let is_wanted = now.status == EndpointStatus::Active
                    && replay.as_ref().is_none_or(|replay| now.replay.as_ref() == Some(replay));
                if !is_wanted {
                    continue;
                }
                running.settings.send_if_modified(|known| {
                    let is_news = **known != now;
                    *known = Arc::new(now);
                    is_news
                });
                let lane = Lane {
                    gateway: self.gateway.clone(),
                    endpoint_id: *id,
                    replay,
                    settings: running.settings.subscribe(),
                    lease: running.lease.clone(),
                    stop: running.stop.subscribe(),
                    lanes: self.lanes.clone(),
                };
                let id = *id;
                running.lanes.insert(
                    lane_id,
                    tokio::spawn(async move {
                        if let Err(error) = lane.run().await {
                            warn!(endpoint.id = %id, error = %format!("{error:#}"), "a webhook endpoint's place in the log could not be read; trying again");
                        }
                    }),
                );
            }
        }
        Ok(())
    }

    /// What is under way is waited for, and kept.
    async fn end(&mut self) {
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
        for (_, running) in self.running.drain() {
            for (_, lane) in running.lanes {
                // A panic was said where it happened.
                let _ = lane.await;
            }
            if let Err(error) = self.gateway.store.leases.release(&running.lease).await {
                warn!(%error, "a webhook endpoint's lease was not given back; it runs out by itself");
            }
        }
    }
}
