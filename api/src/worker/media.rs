//! Fetches what people sent, as soon as the message is there and for as long as WhatsApp keeps it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use chrono::Duration;
use domain::GatewayAggregate;
use domain::account::Account;
use domain::message::Message;
use domain::primitives::Personal;
use infrastructure::cloud_api::client::{CallError, MediaError};
use infrastructure::crypto::SubjectKey;
use infrastructure::media::{MediaStoreError, MediaWriter, Wanted};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};
use uuid::Uuid;

use crate::app::Gateway;
use crate::application::media::Announced;

const LEASE_NAME: &str = "media";
/// What the next node waits for when this one is killed.
const LEASE: StdDuration = StdDuration::from_secs(12);
const AT_ONCE: usize = 4;
const IDLE: Duration = Duration::milliseconds(500);
const RENEW_EVERY: StdDuration = StdDuration::from_secs(3);
/// The first wait after a fetch that failed; each further one is twice as long, up to the longest.
const RETRY_FIRST: Duration = Duration::seconds(2);
const RETRY_LONGEST: Duration = Duration::hours(1);
/// So long WhatsApp gives out what came by webhook.
const KEPT_BY_WHATSAPP: Duration = Duration::days(7);
const PIPE_BYTES: usize = 64 * 1024;

/// What became of a fetch.
enum Fetched {
    Stored,
    Again(anyhow::Error),
    /// Trying again is no use.
    Never(anyhow::Error),
}

/// Runs until `stop`. One node fetches for all.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    if let Err(error) = gateway.media.sweep().await {
        warn!(error = %format!("{:#}", anyhow::Error::from(error)), "media left half stored were not removed");
    }
    let mut tasks: JoinSet<(Wanted, Fetched)> = JoinSet::new();
    let mut active: BTreeSet<Uuid> = BTreeSet::new();
    let mut held = None;
    let mut renewed_at = None;
    while !*stop.borrow() {
        let now = gateway.clock.now();
        if renewed_at.is_none_or(|at: Instant| at.elapsed() >= RENEW_EVERY) {
            let acquired = gateway.store.leases.acquire(LEASE_NAME, &gateway.node, LEASE).await;
            held = acquired.ok().flatten();
            renewed_at = Some(Instant::now());
        }
        if held.is_some() {
            match gateway.media.due(now, AT_ONCE + active.len()).await {
                Ok(due) => {
                    for wanted in due {
                        if active.len() >= AT_ONCE || !active.insert(wanted.message_id) {
                            continue;
                        }
                        let gateway = gateway.clone();
                        tasks.spawn(async move { (wanted, fetch(&gateway, wanted).await) });
                    }
                }
                Err(error) => {
                    warn!(error = %format!("{:#}", anyhow::Error::from(error)), "what media to fetch could not be read; trying again");
                }
            }
        }
        tokio::select! {
            Some(Ok((wanted, fetched))) = tasks.join_next() => {
                active.remove(&wanted.message_id);
                settle(&gateway, wanted, fetched).await;
            }
            () = gateway.clock.sleep_until(now + IDLE) => {}
            _ = stop.changed() => {}
        }
    }
    // What is under way is fetched again after the next start.
    tasks.shutdown().await;
    if let Some(lease) = held
        && let Err(error) = gateway.store.leases.release(&lease).await
    {
        warn!(%error, "the media's lease was not given back; it runs out by itself");
    }
}

async fn settle(gateway: &Gateway, wanted: Wanted, fetched: Fetched) {
    let now = gateway.clock.now();
    let (outcome, due_at) = match fetched {
        Fetched::Stored => {
            metrics::counter!("gateway_media_total", "outcome" => "stored").increment(1);
            return;
        }
        Fetched::Again(error) => {
            let wait = RETRY_FIRST * (1 << wanted.attempts.min(16));
            let due_at = now + wait.min(RETRY_LONGEST);
            let may = due_at < wanted.wanted_at + KEPT_BY_WHATSAPP;
            warn!(message.id = %wanted.message_id, error = %format!("{error:#}"), again = may, "a medium could not be fetched");
            if may { ("failed", Some(due_at)) } else { ("lost", None) }
        }
        Fetched::Never(error) => {
            info!(message.id = %wanted.message_id, error = %format!("{error:#}"), "a medium is not fetched");
            ("lost", None)
        }
    };
    metrics::counter!("gateway_media_total", "outcome" => outcome).increment(1);
    if let Err(error) = gateway.media.postpone(wanted.message_id, due_at).await {
        warn!(error = %format!("{:#}", anyhow::Error::from(error)), "when to fetch a medium again could not be noted");
    }
}

async fn fetch(gateway: &Gateway, wanted: Wanted) -> Fetched {
    match try_fetch(gateway, wanted).await {
        Ok(fetched) => fetched,
        Err(error) => Fetched::Again(error),
    }
}

async fn try_fetch(gateway: &Gateway, wanted: Wanted) -> anyhow::Result<Fetched> {
    let Some(message) = gateway.bus.load::<Message>(wanted.message_id).await? else {
        anyhow::bail!("its message is not on record yet");
    };
    let message = message.aggregate;
    let never = |reason: &'static str| Ok(Fetched::Never(anyhow::Error::msg(reason)));
    let content = message.content.as_ref().and_then(Personal::known);
    let Some(announced) = content.and_then(Announced::of) else {
        return never("its message was erased, or has none");
    };
    let Some(subject) = message.subject() else { return never("its message is about nobody") };
    let SubjectKey::Live(key) = gateway.keys.subject_key(subject).await? else {
        return never("the person was erased");
    };
    let Some(account) = gateway.bus.load::<Account>(wanted.account_id).await? else {
        return never("its account is unknown");
    };
    let account = account.aggregate;
    let Some(provider) = account.provider else { return never("its account is unknown") };
    let access = gateway.access(&account).await?;
    let writer = gateway.media.begin(wanted.message_id, key).await?;
    let (mut into, from) = tokio::io::duplex(PIPE_BYTES);
    let api = gateway.api_of(provider);
    let fetching = async {
        let (id, number) = (&announced.whatsapp_id, Some(account.phone_number_id.as_str()));
        let fetched =
            api.fetch_media(&access, id, number, announced.sha256.as_deref(), &mut into).await;
        // Tells the other end that there is no more.
        drop(into);
        fetched
    };
    let (fetched, kept) = tokio::join!(fetching, keep(writer, from));
    match fetched {
        Ok(_) => {}
        Err(error @ (MediaError::TooLarge | MediaError::ForeignHost)) => {
            return Ok(Fetched::Never(error.into()));
        }
        // Whatever was written goes with the next attempt. The call's own words may hold an id of WhatsApp's, and no more.
        Err(MediaError::Call(CallError::Refused(refused))) => {
            anyhow::bail!("WhatsApp refused: {}", refused.consequence.explanation())
        }
        Err(error) => return Err(error.into()),
    }
    // Checked against its hash by now.
    match kept?.finish(announced.mime_type.as_deref(), gateway.clock.now()).await {
        Ok(_) => Ok(Fetched::Stored),
        Err(error @ MediaStoreError::NotWanted) => Ok(Fetched::Never(error.into())),
        Err(error) => Err(error.into()),
    }
}

/// Seals and keeps what comes, until there is no more.
async fn keep(mut writer: MediaWriter, mut from: DuplexStream) -> anyhow::Result<MediaWriter> {
    let mut piece = vec![0; PIPE_BYTES];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(writer);
        }
        writer.write(&piece[..length]).await?;
    }
}
