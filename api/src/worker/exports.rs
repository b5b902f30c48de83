//! Makes the exports that were asked for over HTTP, a few at a time, and removes them after their day.

use std::sync::Arc;

use chrono::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use crate::app::Gateway;
use crate::application::exports::jobs;

/// Exports of a gateway that are made at the same time.
const AT_ONCE: usize = 2;
/// How often it is looked at what is to be removed, and at what could not be made.
const EVERY: Duration = Duration::seconds(30);

/// Runs until `stop`. What is under way then stops too, and is gone on with after the next start.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut making = JoinSet::new();
    while !*stop.borrow() {
        if let Err(error) = look(&gateway, &mut making, &stop).await {
            let error = anyhow::Error::from(error);
            warn!(error = %format!("{error:#}"), "exports were not looked at; trying again");
        }
        let look_again_at = gateway.clock.now() + EVERY;
        tokio::select! {
            () = gateway.local.exports.woken() => {}
            Some(_) = making.join_next() => {}
            () = gateway.clock.sleep_until(look_again_at) => {}
            _ = stop.changed() => {}
        }
    }
    while making.join_next().await.is_some() {}
}

async fn look(
    gateway: &Arc<Gateway>,
    making: &mut JoinSet<()>,
    stop: &watch::Receiver<bool>,
) -> crate::application::AppResult<()> {
    jobs::sweep(gateway).await?;
    let room = AT_ONCE.saturating_sub(making.len());
    if room == 0 {
        return Ok(());
    }
    for record in jobs::waiting(gateway).await?.into_iter().take(room) {
        let (gateway, stop) = (gateway.clone(), stop.clone());
        jobs::begin(&gateway, &record);
        making.spawn(async move { jobs::make(&gateway, record, stop).await });
    }
    Ok(())
}
