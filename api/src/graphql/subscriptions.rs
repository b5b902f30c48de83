//! What can be followed. Nothing is read before the client has taken what was read last.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_graphql::{Context, ID, Subscription as GraphqlSubscription};
use domain::campaign::CampaignStatus;
use domain::port::Position;
use domain::primitives::CampaignId;
use futures::{Stream, stream};
use projections::names;
use tokio::sync::watch;

use super::campaigns::CampaignProgress;
use super::events::{Event, EventFilter};
use super::messages::Message;
use super::scalars::Place;
use super::session::{Answer, session};
use crate::app::Gateway;
use crate::application::following::{
    Activity, Following, HEARTBEAT, Reader, StreamPlace, stopping,
};
use crate::application::view::{EventView, MessageView};
use crate::application::{AppError, AppResult, Caller, campaigns};

/// Between two looks at a campaign, however fast it moves.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);
/// Between two looks at a campaign that runs and of which nothing was recorded: its speed falls.
const PROGRESS_IDLE: Duration = Duration::from_secs(1);

/// The position of what a subscription gave last, for whoever hands it on.
#[derive(Clone, Debug, Default)]
pub(super) struct Given(Arc<AtomicU64>);

impl Given {
    /// `None`: nothing yet.
    pub fn position(&self) -> Option<Position> {
        Some(Position(self.0.load(Ordering::Relaxed))).filter(|position| *position > Position(0))
    }

    fn note(&self, position: Position) {
        self.0.store(position.0, Ordering::Relaxed);
    }
}

pub(super) struct Subscription;

/// Everything that can be followed, over a WebSocket with the protocol graphql-transport-ws.
#[GraphqlSubscription]
impl Subscription {
    /// Every event after a position, then live ones, without a gap. Without `after`: live ones only. Scope READ.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only what comes after this position: the last one that was seen.")]
        after: Option<Place>,
        #[graphql(desc = "Which events.")] filter: Option<EventFilter>,
    ) -> async_graphql::Result<impl Stream<Item = Answer<Event>> + use<>> {
        let session = session(ctx);
        let (gateway, caller) = (session.gateway.clone(), (*session.caller).clone());
        let after = after.map(|place| place.0);
        let filter = filter.unwrap_or_default().into();
        let following = Following::open(gateway, caller, after, filter).await?;
        let given = ctx.data_opt::<Given>().cloned().unwrap_or_default();
        let feed = Feed { following, given, read: VecDeque::new() };
        Ok(until_error(feed, Feed::next))
    }

    /// A new value at least every second while it changes. Scope READ.
    async fn campaign_progress(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The campaign.")] id: ID,
    ) -> async_graphql::Result<impl Stream<Item = Answer<CampaignProgress>> + use<>> {
        let session = session(ctx);
        let (gateway, caller) = (session.gateway.clone(), (*session.caller).clone());
        let watching = Watching::open(gateway, caller, &id).await?;
        Ok(until_error(watching, Watching::next))
    }

    /// Each message of a conversation, inbound or outbound, again whenever it changes (status), for the accounts that the
    /// caller may see. Of changes that follow each other at once, the last. Scope READ.
    async fn conversation_activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this account.")] account_id: Option<ID>,
    ) -> async_graphql::Result<impl Stream<Item = Answer<Message>> + use<>> {
        let session = session(ctx);
        let (gateway, caller) = (session.gateway.clone(), (*session.caller).clone());
        let activity = Activity::open(gateway, caller, account_id.map(|id| id.0)).await?;
        let given = ctx.data_opt::<Given>().cloned().unwrap_or_default();
        let talking = Talking { activity, given, read: VecDeque::new() };
        Ok(until_error(talking, Talking::next))
    }
}

/// A stream of what `next` gives, that ends with its first error.
fn until_error<S, T>(
    state: S,
    next: impl AsyncFnOnce(&mut S) -> AppResult<T> + Copy + Send + 'static,
) -> impl Stream<Item = Answer<T>> {
    stream::unfold(Some(state), move |state| async move {
        let mut state = state?;
        match next(&mut state).await {
            Ok(item) => Some((Ok(item), Some(state))),
            Err(error) => Some((Err(error.into()), None)),
        }
    })
}

struct Feed {
    following: Following,
    given: Given,
    read: VecDeque<EventView>,
}

impl Feed {
    async fn next(&mut self) -> AppResult<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.given.note(event.position);
                return Ok(event.into());
            }
            self.read = self.following.next().await?.into();
        }
    }
}

struct Talking {
    activity: Activity,
    given: Given,
    read: VecDeque<MessageView>,
}

impl Talking {
    async fn next(&mut self) -> AppResult<Message> {
        loop {
            if let Some(message) = self.read.pop_front() {
                return Ok(message.into());
            }
            let (position, messages) = self.activity.next().await?;
            self.given.note(position);
            self.read = messages.into();
        }
    }
}

struct Watching {
    gateway: Arc<Gateway>,
    reader: Reader,
    id: CampaignId,
    shown: Option<campaigns::CampaignProgress>,
    messages: watch::Receiver<u64>,
    directory: watch::Receiver<u64>,
    _place: StreamPlace,
}

impl Watching {
    async fn open(gateway: Arc<Gateway>, caller: Caller, id: &str) -> AppResult<Self> {
        let campaign = campaigns::get(&gateway, &caller, id, None, None).await?;
        let place = StreamPlace::take(&gateway, &caller)?;
        let (messages, directory) =
            (gateway.read.watch(names::MESSAGES), gateway.read.watch(names::DIRECTORY));
        let reader = Reader::new(&gateway, caller);
        let (id, shown) = (campaign.id, None);
        Ok(Self { gateway, reader, id, shown, messages, directory, _place: place })
    }

    async fn next(&mut self) -> AppResult<CampaignProgress> {
        if self.shown.is_some() {
            self.gateway.clock.sleep_for(PROGRESS_PAUSE).await;
        }
        loop {
            self.messages.mark_unchanged();
            self.directory.mark_unchanged();
            let caller = self.reader.caller(&self.gateway).await?;
            let found = campaigns::progress(&self.gateway, caller, &[self.id]).await?;
            let now = found.into_values().next().ok_or_else(|| AppError::not_found("campaign"))?;
            let is_running = now.status == CampaignStatus::Running;
            if self.shown.as_ref() != Some(&now) {
                self.shown = Some(now.clone());
                return Ok(now.into());
            }
            let wait = if is_running { PROGRESS_IDLE } else { HEARTBEAT };
            let gateway = self.gateway.clone();
            tokio::select! {
                // Projectors that are gone move nothing: the clock goes on.
                Ok(()) = self.messages.changed() => gateway.clock.sleep_for(PROGRESS_PAUSE).await,
                Ok(()) = self.directory.changed() => {}
                () = gateway.clock.sleep_for(wait) => {}
                () = gateway.local.streams.closed() => {
                    return Err(stopping());
                }
            }
        }
    }
}
