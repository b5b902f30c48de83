//! What one request carries: who asks, and the loaders that turn a list's look-ups into one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{Context, MaybeUndefined};
use domain::primitives::{
    AccountId, Actor, CampaignId, ContactId, ConversationId, MessageId, TemplateId,
    WebhookEndpointId,
};
use futures::future::BoxFuture;

use crate::app::Gateway;
use crate::application::campaigns::CampaignProgress;
use crate::application::events::HistoryRequest;
use crate::application::view::{
    AccountView, CampaignView, ContactView, EventView, MessageView, TemplateView,
};
use crate::application::webhook_endpoints::StandingView;
use crate::application::{
    AppError, AppResult, Caller, Page, accounts, campaigns, contacts, conversations, events,
    messages, templates, webhook_endpoints,
};

/// What a resolver answers. An [`AppError`] within is kept whole until the answer is written.
pub(super) type Answer<T> = async_graphql::Result<T>;

/// Data of one request.
pub(super) struct Session {
    pub gateway: Arc<Gateway>,
    pub caller: Arc<Caller>,
    pub accounts: DataLoader<Accounts>,
    pub templates: DataLoader<Templates>,
    pub contacts: DataLoader<Contacts>,
    pub campaigns: DataLoader<Campaigns>,
    pub progress: DataLoader<Progress>,
    pub histories: DataLoader<Histories>,
    pub standings: DataLoader<Standings>,
    pub launchers: DataLoader<Launchers>,
    pub messages: DataLoader<Messages>,
    pub conversations: DataLoader<Conversations>,
}

impl Session {
    pub fn new(gateway: Arc<Gateway>, caller: Caller) -> Self {
        let caller = Arc::new(caller);
        let asker = || Asker { gateway: gateway.clone(), caller: caller.clone() };
        Self {
            accounts: loader(Accounts(asker())),
            templates: loader(Templates(asker())),
            contacts: loader(Contacts(asker())),
            campaigns: loader(Campaigns(asker())),
            progress: loader(Progress(asker())),
            histories: loader(Histories(asker())),
            standings: loader(Standings(asker())),
            launchers: loader(Launchers(asker())),
            messages: loader(Messages(asker())),
            conversations: loader(Conversations(asker())),
            gateway,
            caller,
        }
    }
}

/// The request's session.
pub(super) fn session<'a>(ctx: &Context<'a>) -> &'a Session {
    ctx.data_unchecked::<Session>()
}

/// What every use case takes first.
pub(super) fn asked<'a>(ctx: &Context<'a>) -> (&'a Gateway, &'a Caller) {
    let session = session(ctx);
    (&session.gateway, &session.caller)
}

pub(super) struct Asker {
    gateway: Arc<Gateway>,
    caller: Arc<Caller>,
}

macro_rules! loaders {
    ($($name:ident: $id:ty => $view:ty, $load:path;)*) => {$(
        pub(super) struct $name(Asker);

        impl Loader<$id> for $name {
            type Value = $view;
            type Error = Arc<AppError>;

            async fn load(&self, ids: &[$id]) -> Result<HashMap<$id, $view>, Arc<AppError>> {
                $load(&self.0.gateway, &self.0.caller, ids).await.map_err(Arc::new)
            }
        }
    )*};
}

loaders! {
    Accounts: AccountId => AccountView, accounts::by_ids;
    Templates: TemplateId => TemplateView, templates::by_ids;
    Contacts: ContactId => ContactView, contacts::by_ids;
    Campaigns: CampaignId => CampaignView, campaigns::by_ids;
    Progress: CampaignId => CampaignProgress, campaigns::progress;
    Histories: HistoryRequest => Page<EventView>, events::histories;
    Standings: WebhookEndpointId => StandingView, webhook_endpoints::standings;
    Launchers: MessageId => Actor, messages::launched_by;
    Messages: MessageId => MessageView, messages::by_ids;
    Conversations: (AccountId, ContactId) => ConversationId, conversations::between;
}

/// Turns that a request gets before its loaders go: a long list is resolved in several.
const TURNS: usize = 4;

/// Loads together what is asked for until the request has to wait: a level of a list. No longer, since a request that
/// waits for more has nothing to do meanwhile.
fn loader<L>(loader: L) -> DataLoader<L> {
    let spawn = |load: BoxFuture<'static, ()>| {
        tokio::spawn(async move {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            load.await;
        });
    };
    DataLoader::new(loader, spawn).delay(Duration::ZERO)
}

/// One of a loader's values, by an id that a view gave.
pub(super) async fn load<K, L>(
    loader: &DataLoader<L>,
    id: K,
) -> Result<Option<L::Value>, Arc<AppError>>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    L: Loader<K, Error = Arc<AppError>>,
{
    loader.load_one(id).await
}

/// A count as GraphQL's Int has it: what does not fit is shown as the greatest.
pub(super) fn int(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

/// In updates: left out is unchanged, null clears.
pub(super) fn change<T, U>(
    given: MaybeUndefined<T>,
    into: impl FnOnce(T) -> U,
) -> Option<Option<U>> {
    match given {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(into(value))),
    }
}

/// In updates, for what cannot be without a value.
///
/// # Errors
/// VALIDATION_FAILED where it is null.
pub(super) fn replace<T>(given: MaybeUndefined<T>, field: &str) -> AppResult<Option<T>> {
    match given {
        MaybeUndefined::Undefined => Ok(None),
        MaybeUndefined::Null => Err(AppError::invalid(
            field,
            "this cannot be cleared; give a value, or leave it out to keep the old one",
        )),
        MaybeUndefined::Value(value) => Ok(Some(value)),
    }
}

/// Ids as text.
pub(super) fn texts(ids: Option<Vec<async_graphql::ID>>) -> Vec<String> {
    ids.unwrap_or_default().into_iter().map(|id| id.0).collect()
}

/// A list of enum values in the domain's terms.
pub(super) fn all<T, U: From<T>>(values: Option<Vec<T>>) -> Vec<U> {
    values.unwrap_or_default().into_iter().map(U::from).collect()
}
