//! The webhook journal: interpreting again what was interpreted before.

use chrono::{DateTime, Utc};
use domain::api_key::Scope;
use infrastructure::webhook::journal::JournalId;
use tracing::info;

use super::caller::Caller;
use super::error::{AppError, AppResult};
use crate::app::Gateway;
use crate::worker::webhook;

/// Where to begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After this place in the journal; 0 is its beginning.
    Place(u64),
    /// With what was received at this time or later.
    Time(DateTime<Utc>),
}

/// What is interpreted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    pub after: u64,
    pub up_to: u64,
}

/// Interprets notifications of WhatsApp again, as far back as the journal's retention reaches. What is on record already
/// stays as it is: statuses, messages that came in, opt-outs and what followed from them. `None`: nothing after that was
/// interpreted yet. Scope ADMIN, and a key that is not limited: the journal is the whole gateway's.
///
/// # Errors
/// FORBIDDEN; UNAVAILABLE.
pub async fn replay(gateway: &Gateway, caller: &Caller, since: Since) -> AppResult<Option<Replay>> {
    caller.require(Scope::Admin)?;
    if caller.is_limited() {
        return Err(AppError::forbidden(
            "this key is limited to some workspaces or accounts; the journal is everybody's",
        ));
    }
    let to = match since {
        Since::Place(place) => JournalId(place),
        Since::Time(at) => gateway.journal.before(at).await.map_err(AppError::unavailable)?,
    };
    let back = webhook::interpret_again(gateway, to).await.map_err(AppError::unavailable)?;
    let replay = back.map(|back| Replay { after: back.to.0, up_to: back.from.0 });
    if let Some(Replay { after, up_to }) = replay {
        info!(after, up_to, by = %caller.actor.id, "the webhook journal is interpreted again");
    }
    Ok(replay)
}
