//! Conversations.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use domain::port::AggregateType;

use super::connection::{
    ConversationConnection, Counted, EventConnection, MessageConnection, page_args,
};
use super::contacts::Contact;
use super::enums::ConversationHandling;
use super::events::history;
use super::messages::{MediaInput, Message, MessagePayload, TemplateMessageInput};
use super::scalars::{Instant, Place};
use super::session::{Answer, all, asked, int, load, session, texts};
use crate::application::view::{ConversationView, Written};
use crate::application::{Page, conversations, messages};

/// What a number and a person have to say to each other: there is one as soon as the person has written.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Conversation {
    #[graphql(skip)]
    view: ConversationView,
    /// Its id.
    id: ID,
    /// The workspace it belongs to.
    workspace_id: ID,
    /// The account whose number it is with.
    account_id: ID,
    /// Who answers.
    handling: ConversationHandling,
    /// The user who takes care of it.
    assigned_to: Option<ID>,
    /// When the newest message of either side was made or came; what was left out at once does not count.
    last_activity_at: Instant,
    /// When the person first wrote.
    opened_at: Instant,
}

impl From<ConversationView> for Conversation {
    fn from(view: ConversationView) -> Self {
        Self {
            id: view.id().0.into(),
            workspace_id: view.workspace_id().0.into(),
            account_id: view.account_id().0.into(),
            handling: view.handling().into(),
            assigned_to: view.assigned_to().map(|id| id.0.into()),
            last_activity_at: Instant(view.last_activity_at()),
            opened_at: Instant(view.opened_at()),
            view,
        }
    }
}

#[ComplexObject]
impl Conversation {
    /// The person. Of contacts that were merged, the one who stayed.
    async fn contact(&self, ctx: &Context<'_>) -> Answer<Contact> {
        if let Some(view) = load(&session(ctx).contacts, self.view.contact_id()).await? {
            return Ok(view.into());
        }
        // The read model may not know a new one yet.
        let (gateway, caller) = asked(ctx);
        Ok(conversations::contact(gateway, caller, &self.view).await?.into())
    }

    /// Free-form messages may be sent until then, 24 h after the person last wrote; null when closed, which is a moment
    /// earlier than WhatsApp's own end.
    async fn window_expires_at(&self, ctx: &Context<'_>) -> Answer<Option<Instant>> {
        let (gateway, caller) = asked(ctx);
        let until = conversations::window_expires_at(gateway, caller, &self.view).await?;
        Ok(until.map(Instant))
    }

    /// How many messages of the person nobody has read, up to 1,000.
    async fn unread(&self, ctx: &Context<'_>) -> Answer<i32> {
        let (gateway, caller) = asked(ctx);
        Ok(int(conversations::unread(gateway, caller, &self.view).await?))
    }

    /// The newest message of either side; what was left out at once does not count. Null where lists do not show it yet.
    async fn last_message(&self, ctx: &Context<'_>) -> Answer<Option<Message>> {
        let Some(id) = self.view.last_message_id() else { return Ok(None) };
        Ok(load(&session(ctx).messages, id).await?.map(Message::from))
    }

    /// What went between this number and this person, campaigns' messages included, oldest first; `last` and `before` for the
    /// newest.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Answer<MessageConnection> {
        let (gateway, caller) = asked(ctx);
        let page = page_args(first, after, last, before);
        let page = conversations::messages(gateway, caller, &self.view, page).await?;
        Ok(MessageConnection::new(page, Counted::OfConversation(Box::new(self.view.clone()))))
    }

    /// Every fact about the conversation itself, in order: opened, window_extended, assigned, handed_over, read, and what
    /// became of telling the person that it was read.
    async fn history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<EventConnection> {
        if !self.view.is_open() {
            return Ok(EventConnection::new(Page {
                edges: vec![],
                has_next_page: false,
                has_previous_page: false,
                start_cursor: None,
                end_cursor: None,
            }));
        }
        history(ctx, AggregateType::Conversation, self.view.id().0, first, after).await
    }
}

/// Which conversations; what is left out does not narrow.
#[derive(Debug, Default, InputObject)]
pub struct ConversationFilter {
    /// Of this workspace.
    workspace_id: Option<ID>,
    /// With any of these accounts.
    account_ids: Option<Vec<ID>>,
    /// Answered by any of these.
    handling: Option<Vec<ConversationHandling>>,
    /// Only those with something that nobody has read, or only the others.
    unread: Option<bool>,
    /// Whose they are.
    assigned_to: Option<ID>,
    /// In the name, number, external id or username of the person. Scope PERSONAL.
    search: Option<String>,
}

impl From<ConversationFilter> for conversations::ConversationFilter {
    fn from(filter: ConversationFilter) -> Self {
        Self {
            workspace_id: filter.workspace_id.map(|id| id.0),
            account_ids: texts(filter.account_ids),
            handling: all(filter.handling),
            unread: filter.unread,
            assigned_to: filter.assigned_to.map(|id| id.0),
            search: filter.search,
        }
    }
}

/// An answer to a person: exactly one of text, media and template.
#[derive(Debug, InputObject)]
pub struct ReplyInput {
    /// The conversation.
    conversation_id: ID,
    /// Free text, inside the service window.
    text: Option<String>,
    /// A picture, film, sound, file or sticker, inside the service window.
    media: Option<MediaInput>,
    /// An approved template, at any time.
    template: Option<TemplateMessageInput>,
    /// The wamid this answers.
    reply_to: Option<String>,
    /// The same key with the same input answers the first result again.
    idempotency_key: Option<String>,
}

impl From<ReplyInput> for conversations::Reply {
    fn from(input: ReplyInput) -> Self {
        Self {
            conversation_id: input.conversation_id.0,
            text: input.text,
            media: input.media.map(messages::MediaInput::from),
            template: input.template.map(messages::TemplateMessage::from),
            reply_to: input.reply_to,
            idempotency_key: input.idempotency_key,
        }
    }
}

/// What became of a conversation.
#[derive(SimpleObject)]
pub struct ConversationPayload {
    /// The conversation as it is now.
    conversation: Conversation,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<ConversationView>> for ConversationPayload {
    fn from(written: Written<ConversationView>) -> Self {
        Self { conversation: written.value.into(), position: Place(written.position) }
    }
}

#[derive(Default)]
pub(super) struct ConversationQuery;

#[Object]
impl ConversationQuery {
    /// One conversation. Scope READ.
    async fn conversation(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<Conversation>> {
        let (gateway, caller) = asked(ctx);
        let min_position = min_position.map(|place| place.0);
        Ok(Some(conversations::get(gateway, caller, &id, min_position).await?.into()))
    }

    /// Conversations, the newest activity first. Scope READ; with `search`, PERSONAL too.
    #[expect(clippy::too_many_arguments, reason = "a list takes these")]
    async fn conversations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversations.")] filter: Option<ConversationFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<ConversationConnection> {
        let (gateway, caller) = asked(ctx);
        let filter: conversations::ConversationFilter = filter.unwrap_or_default().into();
        let page = page_args(first, after, last, before);
        let min_position = min_position.map(|place| place.0);
        let page = conversations::list(gateway, caller, filter.clone(), page, min_position).await?;
        Ok(ConversationConnection::new(page, Counted::Conversations(filter)))
    }
}

#[derive(Default)]
pub(super) struct ConversationMutation;

#[Object]
impl ConversationMutation {
    /// Answers a person: exactly one of text, media and template. Text and media only while the window is open: else the
    /// message is SKIPPED with its reason, as sendMessage says it. Scope SEND.
    async fn reply_to_conversation(
        &self,
        ctx: &Context<'_>,
        input: ReplyInput,
    ) -> Answer<MessagePayload> {
        let (gateway, caller) = asked(ctx);
        Ok(conversations::reply(gateway, caller, input.into()).await?.into())
    }

    /// Takes a conversation from the assistant to people, or gives it back. ASSISTANT is refused while there is none. Scope
    /// SEND.
    async fn set_conversation_handling(
        &self,
        ctx: &Context<'_>,
        id: ID,
        handling: ConversationHandling,
    ) -> Answer<ConversationPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(conversations::set_handling(gateway, caller, &id, handling.into()).await?.into())
    }

    /// Counts what the person wrote as read by people. With `showReceipt` WhatsApp shows the person that it was read (blue
    /// ticks): it is told once of each message, behind this answer, and the conversation's history says what became of that.
    /// Scope SEND.
    async fn mark_conversation_read(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Up to this message; left out: to the newest.")] up_to: Option<ID>,
        #[graphql(desc = "Whether the person sees it.", default_with = "Some(true)")]
        show_receipt: Option<bool>,
    ) -> Answer<ConversationPayload> {
        let (session, up_to) = (session(ctx), up_to.as_ref().map(|id| id.as_str()));
        let show_receipt = show_receipt.unwrap_or(true);
        let (gateway, caller) = (&session.gateway, &session.caller);
        Ok(conversations::mark_read(gateway, caller, &id, up_to, show_receipt).await?.into())
    }

    /// Whose it is. Scope SEND.
    async fn assign_conversation(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "A user who may see it; null or left out: nobody's.")] user_id: Option<ID>,
    ) -> Answer<ConversationPayload> {
        let (gateway, caller) = asked(ctx);
        let user_id = user_id.as_ref().map(|id| id.as_str());
        Ok(conversations::assign(gateway, caller, &id, user_id).await?.into())
    }
}
