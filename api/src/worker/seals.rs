//! Seals the log behind whoever appends to it: one node at a time, at its leisure.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use infrastructure::audit::{Progress, Sealer};
use infrastructure::event_store::Lease;
use tokio::sync::watch;
use tracing::warn;

use crate::app::Gateway;

const LEASE_NAME: &str = "seals";
const LEASE: std::time::Duration = std::time::Duration::from_secs(12);
const RENEW: Duration = Duration::seconds(4);
/// Long enough to gather many events for one look, short enough for them to be in memory still.
const PAUSE: Duration = Duration::milliseconds(500);
/// Between steps while there is a long log to catch up with: everybody else goes first.
const BREATH: Duration = Duration::milliseconds(50);
const AGAIN: Duration = Duration::seconds(3);

/// The lease, and how far its holder has come.
struct Held {
    lease: Lease,
    renewed_at: DateTime<Utc>,
    sealer: Sealer,
}

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut held: Option<Held> = None;
    while !*stop.borrow() {
        let stepped = step(&gateway, &mut held).await.unwrap_or_else(|error| {
            warn!(error = %format!("{error:#}"), "the log could not be sealed yet; trying again");
            held = None;
            Some(AGAIN)
        });
        let waiting = async {
            match (stepped, &held) {
                (Some(pause), _) => gateway.clock.sleep_until(gateway.clock.now() + pause).await,
                (None, Some(held)) => gateway.store.log.changed(held.sealer.read_to()).await,
                (None, None) => {}
            }
        };
        tokio::select! {
            () = waiting => {}
            _ = stop.changed() => {}
        }
    }
    if let Some(held) = held {
        // It lapses where this fails.
        let _ = gateway.store.leases.release(&held.lease).await;
    }
}

/// How long to rest; `None`: until something is appended.
async fn step(gateway: &Gateway, held: &mut Option<Held>) -> anyhow::Result<Option<Duration>> {
    let now = gateway.clock.now();
    let is_fresh = held.as_ref().is_some_and(|held| now - held.renewed_at < RENEW);
    if !is_fresh {
        let Some(lease) = gateway.store.leases.acquire(LEASE_NAME, &gateway.node, LEASE).await?
        else {
            *held = None;
            return Ok(Some(AGAIN));
        };
        let sealer = match held.take() {
            Some(same) if same.lease.epoch == lease.epoch => same.sealer,
            _ => {
                let (log, seals) = (gateway.store.log.clone(), gateway.store.seals.clone());
                let patience = Duration::seconds(gateway.config.seals.after_s.into());
                Sealer::resume(log, seals, patience).await?
            }
        };
        *held = Some(Held { lease, renewed_at: now, sealer });
    }
    let Some(Held { sealer, .. }) = held else { return Ok(Some(AGAIN)) };
    let progress = sealer.follow(now).await?;
    Ok(match progress {
        Progress::Behind => Some(BREATH),
        Progress::AtHead { unsealed } => {
            metrics::gauge!("gateway_unsealed_events").set(unsealed as f64);
            (unsealed > 0).then_some(PAUSE)
        }
        Progress::Overtaken => {
            *held = None;
            Some(BREATH)
        }
    })
}
