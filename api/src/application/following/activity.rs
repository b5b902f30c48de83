//! The messages of conversations, as they come and change.

use std::sync::Arc;
use std::time::Duration;

use domain::port::{EventFeed, EventFilter as LogFilter, Position};
use domain::primitives::MessageId;
use projections::names;

use super::{HEARTBEAT, PAGE, Reader, SharedLog, StreamPlace, stopping};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::conversations;
use crate::application::error::AppResult;
use crate::application::events::{self, EventFilter};
use crate::application::view::MessageView;

/// How long the read model is waited for at once; whether the reader may still read is looked at in between.
const PATIENCE: Duration = Duration::from_secs(1);

/// From now on. Of what happens to a message between two looks its reader is shown the outcome.
pub struct Activity {
    gateway: Arc<Gateway>,
    reader: Reader,
    filter: LogFilter,
    after: Position,
    log: SharedLog,
    _place: StreamPlace,
}

impl Activity {
    /// Of one account, or of all that the caller may see. Scope READ.
    ///
    /// # Errors
    /// FORBIDDEN; NOT_FOUND for an account that is not the caller's; RATE_LIMITED where the key has too many streams open;
    /// UNAVAILABLE.
    pub async fn open(
        gateway: Arc<Gateway>,
        caller: Caller,
        account_id: Option<String>,
    ) -> AppResult<Self> {
        caller.require(domain::api_key::Scope::Read)?;
        let filter = EventFilter {
            aggregate_type: Some("message".to_owned()),
            account_ids: account_id.into_iter().collect(),
            ..EventFilter::default()
        };
        let filter = events::resolve(&gateway, &caller, filter).await?;
        let place = StreamPlace::take(&gateway, &caller)?;
        let after = gateway.ledger.head().await?;
        let log = SharedLog::open(&gateway, after);
        let reader = Reader::new(&gateway, caller);
        Ok(Self { gateway, reader, filter, after, log, _place: place })
    }

    /// The messages that something has happened to, once there are any, in the order of what happened last, and the position
    /// of that; none where nothing happened for [`HEARTBEAT`]. Dropped before it is ready, it has lost nothing.
    ///
    /// # Errors
    /// UNAUTHENTICATED and FORBIDDEN where the key does not hold any more; UNAVAILABLE.
    pub async fn next(&mut self) -> AppResult<(Position, Vec<MessageView>)> {
        let gateway = self.gateway.clone();
        let heartbeat = gateway.clock.sleep_for(HEARTBEAT);
        tokio::pin!(heartbeat);
        loop {
            let page = self.log.read_after(self.after, &self.filter, PAGE).await?;
            let caller = self.reader.caller(&gateway).await?;
            let mut moved: Vec<MessageId> = vec![];
            for event in page.events.iter().filter(|event| events::may_see(caller, event)) {
                let id = MessageId(event.stream.id);
                moved.retain(|other| *other != id);
                moved.push(id);
            }
            let last = page.events.last().map(|event| event.position);
            if let Some(last) = last.filter(|_| !moved.is_empty()) {
                let shown = tokio::select! {
                    shown = gateway.read.wait_for(names::MESSAGES, last, PATIENCE) => shown,
                    () = gateway.local.streams.closed() => return Err(stopping()),
                };
                if shown.is_err() {
                    // Read again: nothing is left out for its being shown late.
                    continue;
                }
                let messages = conversations::of_conversations(&gateway, caller, &moved).await?;
                self.after = self.after.max(page.scanned_to);
                if !messages.is_empty() {
                    return Ok((last, messages));
                }
            }
            self.after = self.after.max(page.scanned_to);
            if page.at_head {
                tokio::select! {
                    () = self.log.moved_beyond(self.after) => {}
                    () = &mut heartbeat => return Ok((self.after, vec![])),
                    () = gateway.local.streams.closed() => return Err(stopping()),
                }
            }
        }
    }
}
