//! What has to be forgotten or looked after from time to time: old journal days, old media, old
//! attempts at webhook endpoints, old idempotency records, keys that
//! another node destroyed, and the gauges that no event moves.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use tokio::sync::watch;
use tracing::warn;

use super::dispatch::NODES;
use super::webhook;
use crate::app::Gateway;
use crate::application::{contacts, sessions};

const EVERY: Duration = Duration::seconds(5);
const FORGET_EVERY: Duration = Duration::hours(1);
/// The contract promises 24 h.
const IDEMPOTENCY_KEPT: Duration = Duration::hours(48);
/// A status is looked at once more after it was parked for this long: by then the read models know its message.
const SETTLED_AFTER: Duration = Duration::seconds(30);
/// How long what webhook endpoints answered can be looked up.
const ATTEMPTS_KEPT: Duration = Duration::days(30);
const PRUNE_BATCH: usize = 5_000;
/// Nodes that ended are forgotten after this long: each start is a new one.
const NODES_KEPT: std::time::Duration = std::time::Duration::from_secs(60 * 60);

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut forgot_at = DateTime::<Utc>::MIN_UTC;
    let mut swept = 0;
    let mut keys_seen = gateway.clock.now() - Duration::minutes(10);
    while !*stop.borrow() {
        let now = gateway.clock.now();
        if let Err(error) = look(&gateway, now, &mut keys_seen).await {
            warn!(error = %format!("{error:#}"), "upkeep failed; trying again");
        }
        match webhook::sweep_parked(&gateway, swept, now - SETTLED_AFTER).await {
            Ok(after) => swept = after,
            Err(error) => {
                let error = anyhow::Error::from(error);
                warn!(error = %format!("{error:#}"), "parked statuses were not looked at; trying again");
            }
        }
        if now - forgot_at >= FORGET_EVERY {
            match forget(&gateway, now).await {
                Ok(()) => forgot_at = now,
                Err(error) => {
                    warn!(error = %format!("{error:#}"), "old records were not forgotten; trying again")
                }
            }
        }
        tokio::select! {
            () = gateway.clock.sleep_until(now + EVERY) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Ends erasures that a process began and did not end, because it was killed or its store was away. Runs until `stop`.
pub async fn finish_erasures(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        // A task stays in the key ring until it is done, so this one may be dropped at any moment.
        let finished = tokio::select! {
            finished = contacts::finish_erasures(&gateway) => finished,
            _ = stop.changed() => continue,
        };
        let pause = match finished {
            Ok(()) => FORGET_EVERY,
            Err(error) => {
                warn!(%error, "an erasure could not be ended; trying again");
                EVERY
            }
        };
        tokio::select! {
            () = gateway.clock.sleep_until(gateway.clock.now() + pause) => {}
            _ = stop.changed() => {}
        }
    }
}

async fn look(
    gateway: &Gateway,
    now: DateTime<Utc>,
    keys_seen: &mut DateTime<Utc>,
) -> anyhow::Result<()> {
    let backlog = gateway.read.queries().due_backlog(now).await?;
    metrics::gauge!("gateway_due_backlog").set(backlog.due as f64);
    metrics::gauge!("gateway_sending").set(backlog.sending as f64);
    metrics::gauge!("gateway_in_doubt").set(backlog.in_doubt as f64);
    // What another node erased must not stay readable in this one's cache.
    *keys_seen = gateway.keys.forget_destroyed(*keys_seen).await?.1;
    Ok(())
}

async fn forget(gateway: &Gateway, now: DateTime<Utc>) -> anyhow::Result<()> {
    let retention = gateway.config.journal.retention;
    // What was answered and not interpreted yet is kept, whatever the clock says.
    let cursor = gateway.journal.cursor(webhook::CURSOR).await?;
    let waiting = gateway.journal.read_after(cursor, 1).await?.pop();
    let kept_from = waiting.map(|entry| entry.received_at + Duration::days(retention.into()));
    gateway.journal.prune(kept_from.map_or(now, |at| at.min(now)), retention).await?;
    gateway.journal.prune_parked(now - Duration::days(i64::from(retention))).await?;
    let media = &gateway.config.media;
    let kept_from = now - Duration::days(i64::from(media.retention));
    gateway.media.prune(kept_from, media.total_mb.saturating_mul(1024 * 1024)).await?;
    gateway.lanes.prune(now - ATTEMPTS_KEPT).await?;
    sessions::prune(gateway).await?;
    gateway.store.leases.forget_lapsed(NODES, NODES_KEPT).await?;
    while gateway.store.idempotency.prune(now - IDEMPOTENCY_KEPT, PRUNE_BATCH).await? == PRUNE_BATCH
    {
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use infrastructure::clock::{SystemClock, SystemIds};
    use infrastructure::crypto::SubjectKey;
    use uuid::Uuid;

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn a_key_that_another_node_destroyed_is_let_go_of_though_its_clock_is_behind() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("gateway.db").display());
        let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let flags = [flag("store.url", &url), flag("secrets.master_key", &"42".repeat(32))];
        let config = Config::load(None, [], &flags).unwrap();
        let gateway = Gateway::open(config, Arc::new(SystemClock), Arc::new(SystemIds::new()));
        let gateway = gateway.await.unwrap();
        let subject = Uuid::from_u128(7);
        gateway.keys.ensure_key(subject).await.unwrap();
        // As another node does it: past this one's cache.
        gateway.store.vault.destroy_data_keys(&[subject]).await.unwrap();
        let key = gateway.keys.subject_key(subject).await.unwrap();
        assert!(matches!(key, SubjectKey::Live(_)), "still in the cache");
        let now = gateway.clock.now();
        let mut keys_seen = now + Duration::seconds(5);
        look(&gateway, now, &mut keys_seen).await.unwrap();
        let key = gateway.keys.subject_key(subject).await.unwrap();
        assert!(matches!(key, SubjectKey::Destroyed));
    }
}
