//! Forecasts as this process knows them. One of a large audience takes longer than a query may, so each is made by a task
//! of its own: whoever asks waits a while, and who asks again finds it done. Nothing of it outlives the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::forecast::Forecast;
use domain::port::{EventFeed, Position};
use domain::pricing::RateCard;
use domain::primitives::CampaignId;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::gather;
use crate::app::Gateway;
use crate::application::error::{AppError, AppResult, ErrorCode};

/// How long a query waits for a forecast: it has ten seconds in all.
const PATIENCE: Duration = Duration::from_secs(8);
/// Whoever only wants a look at it waits no longer than this.
const GLANCE: Duration = Duration::from_millis(300);
/// Forecasts that are made at once; a large one keeps one core and the read model's database busy.
const AT_ONCE: usize = 2;
/// Campaigns whose forecasts are remembered or waited for.
const KEPT_MAX: usize = 64;
/// A forecast that took this long is good for a while, whatever has happened since it was begun: making it again would take
/// as long. One that is made faster is made anew for whatever was written since.
const SLOW: Duration = Duration::from_secs(1);
/// A while: so many times what it took to make …
const GOOD_FOR: u32 = 10;
/// … or this long, for whoever only wants a look.
const GLANCED_AT_FOR: Duration = Duration::from_secs(5);

/// How old a forecast may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// As good as made now, of the campaign as its event of this sequence left it.
    Current { sequence: u64 },
    /// Of the campaign as its event of this sequence left it, by all that was in the log at this position. Whoever asks
    /// comes again until it is there.
    Since { sequence: u64, position: Position },
    /// A few seconds do not matter, and nobody wants to wait.
    Lately,
}

/// A forecast with what it was made from.
#[derive(Debug)]
pub(crate) struct Made {
    pub forecast: Arc<Forecast>,
    pub card: Arc<RateCard>,
    pub as_of: DateTime<Utc>,
    /// What the campaign's owner may want to know before it starts, in words.
    pub warnings: Vec<String>,
}

/// Why there is none; the chain behind it is in the log.
#[derive(Clone, Debug)]
struct Refused {
    code: ErrorCode,
    message: String,
    field: Option<String>,
    reason: Option<&'static str>,
}

impl From<&AppError> for Refused {
    fn from(error: &AppError) -> Self {
        let (message, field) = (error.message.clone(), error.field.clone());
        Self { code: error.code, message, field, reason: error.reason }
    }
}

impl From<Refused> for AppError {
    fn from(refused: Refused) -> Self {
        let Refused { code, message, field, reason } = refused;
        Self { field, reason, ..Self::new(code, message) }
    }
}

type Outcome = Option<(Result<Arc<Made>, Refused>, Duration)>;

#[derive(Clone)]
struct Entry {
    /// The campaign's event that was its last when it was begun, where that was known.
    sequence: Option<u64>,
    /// The log's end when it was begun.
    head: Position,
    /// By the clock that counts since the start of the machine.
    began: Duration,
    /// How many people it has gone through.
    counted: Arc<AtomicU64>,
    /// With how long it took; `None`: it is being made.
    outcome: watch::Receiver<Outcome>,
}

impl Entry {
    fn is_good(&self, head: Position, now: Duration, reuse: Reuse) -> bool {
        let age = now.saturating_sub(self.began);
        let outcome = self.outcome.borrow();
        let (took, is_done) = match &*outcome {
            Some((Ok(_), took)) => (*took, true),
            // What failed is tried again.
            Some((Err(_), _)) => return false,
            None => (age, false),
        };
        let is_same_world = match reuse {
            Reuse::Lately => true,
            Reuse::Since { sequence, position } => {
                self.sequence == Some(sequence) && self.head >= position
            }
            Reuse::Current { sequence } => {
                self.sequence == Some(sequence) && (self.head == head || took >= SLOW)
            }
        };
        let is_young =
            !is_done || age <= took * GOOD_FOR || (reuse == Reuse::Lately && age <= GLANCED_AT_FOR);
        is_same_world && is_young
    }
}

/// Part of [`Local`](crate::application::local::Local).
pub(crate) struct Forecasts {
    entries: Mutex<HashMap<CampaignId, Entry>>,
    permits: Arc<Semaphore>,
}

impl Default for Forecasts {
    fn default() -> Self {
        Self { entries: Mutex::default(), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Forecasts {
    /// A campaign's forecast, as of now or a little earlier.
    ///
    /// # Errors
    /// UNAVAILABLE where it is not there in time: it goes on being made; what making it answers.
    pub(crate) async fn ask(
        &self,
        gateway: &Arc<Gateway>,
        id: CampaignId,
        reuse: Reuse,
    ) -> AppResult<Arc<Made>> {
        let head = gateway.ledger.head().await?;
        let entry = self.entry(gateway, id, head, reuse)?;
        let mut outcome = entry.outcome.clone();
        let patience = match reuse {
            Reuse::Current { .. } => PATIENCE,
            Reuse::Since { .. } | Reuse::Lately => GLANCE,
        };
        let done = tokio::time::timeout(patience, outcome.wait_for(Option::is_some)).await;
        match done {
            Ok(Ok(outcome)) => match &*outcome {
                Some((Ok(made), _)) => Ok(made.clone()),
                Some((Err(refused), _)) => Err(refused.clone().into()),
                None => Err(still_made(&entry)),
            },
            Ok(Err(_)) => Err(AppError::new(
                ErrorCode::Unavailable,
                "the forecast could not be made; try again in a moment",
            )),
            Err(_) => Err(still_made(&entry)),
        }
    }

    fn entry(
        &self,
        gateway: &Arc<Gateway>,
        id: CampaignId,
        head: Position,
        reuse: Reuse,
    ) -> AppResult<Entry> {
        let now = gateway.clock.since_boot();
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&id)
            && entry.is_good(head, now, reuse)
        {
            return Ok(entry.clone());
        }
        if entries.len() >= KEPT_MAX && !entries.contains_key(&id) {
            let done = entries.iter().filter(|(_, entry)| entry.outcome.borrow().is_some());
            let oldest = done.min_by_key(|(_, entry)| entry.began).map(|(id, _)| *id);
            let oldest = oldest.ok_or_else(|| {
                AppError::new(
                    ErrorCode::Unavailable,
                    "too many forecasts are being made at once; ask again in a few seconds",
                )
            })?;
            entries.remove(&oldest);
        }
        let sequence = match reuse {
            Reuse::Current { sequence } | Reuse::Since { sequence, .. } => Some(sequence),
            Reuse::Lately => None,
        };
        let entry = self.begin(gateway.clone(), id, (sequence, head), now);
        entries.insert(id, entry.clone());
        Ok(entry)
    }

    fn begin(
        &self,
        gateway: Arc<Gateway>,
        id: CampaignId,
        (sequence, head): (Option<u64>, Position),
        began: Duration,
    ) -> Entry {
        let (tell, outcome) = watch::channel(None);
        let counted = Arc::new(AtomicU64::new(0));
        let entry = Entry { sequence, head, began, counted: counted.clone(), outcome };
        let permits = self.permits.clone();
        tokio::spawn(async move {
            // Closed by nobody; without a permit nothing is told, and whoever waits is told to try again.
            let Ok(_permit) = permits.acquire_owned().await else { return };
            // Nobody waits for what was asked for with an older plan.
            if tell.receiver_count() == 0 {
                return;
            }
            let made = gather::make(&gateway, id, head, &counted).await;
            if let Err(error) = &made
                && matches!(error.code, ErrorCode::Internal | ErrorCode::Unavailable)
            {
                warn!(campaign.id = %id, error = ?error.source, "a forecast could not be made");
            }
            let took = gateway.clock.since_boot().saturating_sub(began);
            let made = made.map(Arc::new).map_err(|error| Refused::from(&error));
            tell.send_replace(Some((made, took)));
        });
        entry
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CampaignId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn still_made(entry: &Entry) -> AppError {
    let counted = entry.counted.load(Ordering::Relaxed);
    AppError::new(
        ErrorCode::Unavailable,
        format!(
            "the forecast is still being made, {counted} people so far; ask again in a few seconds and it will be there"
        ),
    )
}
