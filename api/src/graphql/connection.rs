//! Relay connections, all of the same form. Their total is counted only where it is selected, and once.

use async_graphql::{Context, Object, SimpleObject};
use domain::primitives::{SegmentId, WebhookEndpointId};
use tokio::sync::OnceCell;

use super::accounts::Account;
use super::api_keys::ApiKey;
use super::campaigns::Campaign;
use super::contacts::Contact;
use super::conversations::Conversation;
use super::events::Event;
use super::imports::ContactImport;
use super::messages::Message;
use super::segments::Segment;
use super::session::{Answer, asked, int};
use super::templates::Template;
use super::users::User;
use super::webhook_endpoints::{WebhookDelivery, WebhookEndpoint};
use crate::application::view::ConversationView;
use crate::application::{
    AppResult, Page, PageArgs, Total, accounts, api_keys, campaigns, contacts, conversations,
    imports, messages, segments, templates, users, webhook_endpoints,
};

/// What part of a list this is.
#[derive(Clone, Debug, SimpleObject)]
pub struct PageInfo {
    /// Whether there is more after this page.
    has_next_page: bool,
    /// Whether there is more before this page.
    has_previous_page: bool,
    /// `before` for the page before: the first item's cursor, or one before it where a search looked further and found
    /// nothing. A page may so be short, and even empty, with more to come.
    start_cursor: Option<String>,
    /// `after` for the next page: the last item's cursor, or one behind it where a search looked further and found nothing.
    end_cursor: Option<String>,
}

/// What a connection's total counts.
pub(super) enum Counted {
    Accounts(accounts::AccountFilter),
    Templates(templates::TemplateFilter),
    Contacts(contacts::ContactFilter),
    Segments,
    SegmentContacts(SegmentId),
    Campaigns(campaigns::CampaignFilter),
    Messages(messages::MessageFilter),
    WebhookEndpoints,
    /// Whether only failed ones.
    Deliveries(WebhookEndpointId, bool),
    ApiKeys,
    Users,
    /// Of this workspace.
    Imports(Option<String>),
    Conversations(conversations::ConversationFilter),
    /// The messages of one.
    OfConversation(Box<ConversationView>),
}

impl Counted {
    async fn count(&self, ctx: &Context<'_>) -> AppResult<Total> {
        let (gateway, caller) = asked(ctx);
        match self {
            Self::Accounts(filter) => accounts::total(gateway, caller, filter).await,
            Self::Templates(filter) => templates::total(gateway, caller, filter).await,
            Self::Contacts(filter) => contacts::total(gateway, caller, filter).await,
            Self::Segments => segments::total(gateway, caller).await,
            Self::SegmentContacts(id) => segments::contacts_total(gateway, caller, *id).await,
            Self::Campaigns(filter) => campaigns::total(gateway, caller, filter).await,
            Self::Messages(filter) => messages::total(gateway, caller, filter).await,
            Self::WebhookEndpoints => webhook_endpoints::total(gateway, caller).await,
            Self::Deliveries(id, failed_only) => {
                webhook_endpoints::deliveries_total(gateway, caller, *id, *failed_only).await
            }
            Self::ApiKeys => api_keys::total(gateway, caller).await,
            Self::Users => users::total(gateway, caller).await,
            Self::Imports(workspace) => imports::total(gateway, caller, workspace.as_deref()).await,
            Self::Conversations(filter) => conversations::total(gateway, caller, filter).await,
            Self::OfConversation(view) => {
                conversations::messages_total(gateway, caller, view).await
            }
        }
    }
}

pub(super) fn page_args(
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> PageArgs {
    PageArgs { first, after, last, before }
}

macro_rules! connections {
    ($($(#[$doc:meta])* $connection:ident, $edge:ident, $node:ident;)*) => {$(
        /// An item of a page.
        #[derive(SimpleObject)]
        pub struct $edge {
            /// Where the item stands in its list.
            cursor: String,
            /// The item.
            node: $node,
        }

        $(#[$doc])*
        pub struct $connection {
            edges: Vec<$edge>,
            page_info: PageInfo,
            counted: Counted,
            total: OnceCell<Total>,
        }

        impl $connection {
            pub(super) fn new<V>(page: Page<V>, counted: Counted) -> Self
            where
                $node: From<V>,
            {
                let page_info = PageInfo::of(&page);
                let edges = page.edges.into_iter().map(|edge| $edge { cursor: edge.cursor, node: edge.node.into() });
                Self {
                    edges: edges.collect(),
                    page_info,
                    counted,
                    total: OnceCell::new(),
                }
            }

            async fn total(&self, ctx: &Context<'_>) -> AppResult<Total> {
                self.total.get_or_try_init(|| self.counted.count(ctx)).await.copied()
            }
        }

        $(#[$doc])*
        #[Object]
        impl $connection {
            /// The page's items, each with its cursor.
            async fn edges(&self) -> &[$edge] {
                &self.edges
            }

            /// The page's items.
            async fn nodes(&self) -> Vec<&$node> {
                self.edges.iter().map(|edge| &edge.node).collect()
            }

            /// What part of the list this is.
            async fn page_info(&self) -> &PageInfo {
                &self.page_info
            }

            /// How many items the whole list has: exact to 10,000, then 10,001. Counted only when asked for.
            async fn total_count(&self, ctx: &Context<'_>) -> Answer<i32> {
                Ok(int(self.total(ctx).await?.count))
            }

            /// Whether totalCount is exact.
            async fn total_count_exact(&self, ctx: &Context<'_>) -> Answer<bool> {
                Ok(self.total(ctx).await?.exact)
            }
        }
    )*};
}

connections! {
    /// A page of accounts.
    AccountConnection, AccountEdge, Account;
    /// A page of templates.
    TemplateConnection, TemplateEdge, Template;
    /// A page of contacts.
    ContactConnection, ContactEdge, Contact;
    /// A page of segments.
    SegmentConnection, SegmentEdge, Segment;
    /// A page of campaigns.
    CampaignConnection, CampaignEdge, Campaign;
    /// A page of messages.
    MessageConnection, MessageEdge, Message;
    /// A page of webhook endpoints.
    WebhookEndpointConnection, WebhookEndpointEdge, WebhookEndpoint;
    /// A page of attempts at a webhook endpoint, newest first.
    WebhookDeliveryConnection, WebhookDeliveryEdge, WebhookDelivery;
    /// A page of API keys.
    ApiKeyConnection, ApiKeyEdge, ApiKey;
    /// A page of users.
    UserConnection, UserEdge, User;
    /// A page of imports.
    ContactImportConnection, ContactImportEdge, ContactImport;
    /// A page of conversations.
    ConversationConnection, ConversationEdge, Conversation;
}

impl PageInfo {
    fn of<T>(page: &Page<T>) -> Self {
        Self {
            has_next_page: page.has_next_page,
            has_previous_page: page.has_previous_page,
            start_cursor: page.start_cursor.clone(),
            end_cursor: page.end_cursor.clone(),
        }
    }
}

/// An event of a page.
#[derive(SimpleObject)]
pub struct EventEdge {
    /// Where the event stands: `after` for what follows it.
    cursor: String,
    /// The event.
    node: Event,
}

/// A page of events, in the order of the log. It has no total: the log only grows.
pub struct EventConnection {
    edges: Vec<EventEdge>,
    page_info: PageInfo,
}

impl EventConnection {
    pub(super) fn new(page: Page<crate::application::view::EventView>) -> Self {
        let page_info = PageInfo::of(&page);
        let edges = page
            .edges
            .into_iter()
            .map(|edge| EventEdge { cursor: edge.cursor, node: edge.node.into() });
        Self { edges: edges.collect(), page_info }
    }
}

/// A page of events, in the order of the log. It has no total: the log only grows.
#[Object]
impl EventConnection {
    /// The page's events, each with its cursor.
    async fn edges(&self) -> &[EventEdge] {
        &self.edges
    }

    /// The page's events.
    async fn nodes(&self) -> Vec<&Event> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// What part of the list this is.
    async fn page_info(&self) -> &PageInfo {
        &self.page_info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_page_with_more_to_come_says_where_to_go_on() {
        let page = Page::<crate::application::view::EventView> {
            edges: vec![],
            has_next_page: true,
            has_previous_page: false,
            start_cursor: None,
            end_cursor: Some("25000".to_owned()),
        };
        let info = EventConnection::new(page).page_info;
        assert!(info.has_next_page);
        assert_eq!(info.end_cursor.as_deref(), Some("25000"));
    }
}
