//! Messages.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use domain::port::AggregateType;
use domain::primitives::{AccountId, CampaignId, ContactId, MessageId};

use super::accounts::Account;
use super::campaigns::Campaign;
use super::connection::{Counted, EventConnection, MessageConnection, page_args};
use super::contacts::Contact;
use super::enums::{InDoubtResolution, MediaKind, MessageDirection, MessageStatus, SkipReason};
use super::events::{Actor, history};
use super::scalars::{Instant, Json, PhoneNumber, Place};
use super::session::{Answer, all, asked, int, load, session, texts};
use crate::application::view::{MessageView, Written};
use crate::application::{AppError, AppResult, accounts, messages};

/// One message, to or from a person.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Message {
    #[graphql(skip)]
    keys: Keys,
    /// Its id.
    id: ID,
    /// The workspace it belongs to.
    workspace_id: ID,
    /// The account it went through.
    account_id: ID,
    /// The integrator's own id.
    external_id: Option<String>,
    /// The integrator's own facts, at most 20 keys and 2 kB; added to every event of the message when it is read.
    metadata: Option<Json>,
    /// The campaign it is part of.
    campaign_id: Option<ID>,
    /// Whether it was a campaign's test, outside its counts.
    is_test: bool,
    /// The person.
    contact_id: Option<ID>,
    /// The template it was made from.
    template_id: Option<ID>,
    /// Who wrote it.
    direction: MessageDirection,
    /// The person's number, of an outbound message.
    to: Option<PhoneNumber>,
    /// The person's number, of an inbound message.
    from: Option<PhoneNumber>,
    /// What it is now.
    status: MessageStatus,
    /// What exactly was missing, or why it was cancelled.
    status_reason: Option<String>,
    /// WhatsApp's own id of it, once accepted.
    wamid: Option<String>,
    /// What it says, in the gateway's own form.
    content: Json,
    /// The text a person would see on the phone.
    preview: Option<String>,
    /// How often it was handed to WhatsApp.
    attempts: i32,
    /// Why it failed.
    failure: Option<MessageFailure>,
    /// Why it was left out.
    skip_reason: Option<SkipReason>,
    /// What WhatsApp says of its price.
    pricing: Option<Json>,
    /// When it falls due.
    due_at: Option<Instant>,
    /// When it was planned, or received.
    created_at: Instant,
    /// When WhatsApp took it.
    accepted_at: Option<Instant>,
    /// When it was on its way.
    sent_at: Option<Instant>,
    /// When it was on the phone.
    delivered_at: Option<Instant>,
    /// When it was read or played.
    read_at: Option<Instant>,
    /// When the person answered it first.
    replied_at: Option<Instant>,
    /// When the person first tapped a button of it, or a link.
    clicked_at: Option<Instant>,
    /// When it failed.
    failed_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Keys {
    id: MessageId,
    account: AccountId,
    contact: ContactId,
    campaign: Option<CampaignId>,
}

impl From<MessageView> for Message {
    fn from(view: MessageView) -> Self {
        Self {
            keys: Keys {
                id: view.id,
                account: view.account_id,
                contact: view.contact_id,
                campaign: view.campaign_id,
            },
            id: view.id.0.into(),
            workspace_id: view.workspace_id.0.into(),
            account_id: view.account_id.0.into(),
            external_id: view.external_id,
            metadata: view.metadata.map(Json),
            campaign_id: view.campaign_id.map(|id| id.0.into()),
            is_test: view.is_test,
            contact_id: Some(view.contact_id.0.into()),
            template_id: view.template_id.map(|id| id.0.into()),
            direction: view.direction.into(),
            to: view.to.map(PhoneNumber),
            from: view.from.map(PhoneNumber),
            status: view.status.into(),
            status_reason: view.status_reason,
            wamid: view.wamid,
            content: Json(view.content),
            preview: view.preview,
            attempts: int(view.attempts),
            failure: view.failure.map(|failure| MessageFailure {
                code: failure.code.map(int),
                title: failure.title,
                details: failure.details,
                retryable: failure.retryable,
            }),
            skip_reason: view.skip_reason.map(Into::into),
            pricing: view.pricing.map(Json),
            due_at: view.due_at.map(Instant),
            created_at: Instant(view.created_at),
            accepted_at: view.accepted_at.map(Instant),
            sent_at: view.sent_at.map(Instant),
            delivered_at: view.delivered_at.map(Instant),
            read_at: view.read_at.map(Instant),
            replied_at: view.replied_at.map(Instant),
            clicked_at: view.clicked_at.map(Instant),
            failed_at: view.failed_at.map(Instant),
        }
    }
}

#[ComplexObject]
impl Message {
    /// The account it went through; null with an error where the key may not read it.
    async fn account(&self, ctx: &Context<'_>) -> Answer<Option<Account>> {
        if let Some(view) = load(&session(ctx).accounts, self.keys.account).await? {
            return Ok(Some(view.into()));
        }
        // The read model may not know a new one yet.
        let (gateway, caller) = asked(ctx);
        Ok(Some(
            accounts::get(gateway, caller, &self.keys.account.to_string(), None, None)
                .await?
                .into(),
        ))
    }

    /// The person; null where lists do not show them yet.
    async fn contact(&self, ctx: &Context<'_>) -> Answer<Option<Contact>> {
        Ok(load(&session(ctx).contacts, self.keys.contact).await?.map(Contact::from))
    }

    /// The campaign it is part of.
    async fn campaign(&self, ctx: &Context<'_>) -> Answer<Option<Campaign>> {
        let Some(id) = self.keys.campaign else { return Ok(None) };
        Ok(load(&session(ctx).campaigns, id).await?.map(Campaign::from))
    }

    /// Who brought it about in the end: who launched the campaign, sent it, or asked for it to be sent again.
    async fn launched_by(&self, ctx: &Context<'_>) -> Answer<Option<Actor>> {
        Ok(load(&session(ctx).launchers, self.keys.id).await?.map(Actor::from))
    }

    /// The conversation it belongs to; null where the person never wrote to this number.
    async fn conversation_id(&self, ctx: &Context<'_>) -> Answer<Option<ID>> {
        let pair = (self.keys.account, self.keys.contact);
        Ok(load(&session(ctx).conversations, pair).await?.map(|id| id.0.into()))
    }

    /// Every fact about this message, in order: the audit trail.
    async fn history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<EventConnection> {
        history(ctx, AggregateType::Message, self.keys.id.0, first, after).await
    }
}

/// Why a message failed.
#[derive(Clone, Debug, SimpleObject)]
pub struct MessageFailure {
    /// WhatsApp's error code.
    code: Option<i32>,
    /// What it means.
    title: String,
    /// What WhatsApp says of it.
    details: Option<String>,
    /// Whether sending the same again later may work.
    retryable: bool,
}

/// Which messages; what is left out does not narrow.
#[derive(Debug, Default, InputObject)]
pub struct MessageFilter {
    /// Of this workspace.
    workspace_id: Option<ID>,
    /// With any of these ids of the integrator's own.
    external_ids: Option<Vec<String>>,
    /// Of any of these accounts.
    account_ids: Option<Vec<ID>>,
    /// Of any of these campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// To or from any of these people.
    contact_ids: Option<Vec<ID>>,
    /// Any of these.
    status: Option<Vec<MessageStatus>>,
    /// Only to, or only from people.
    direction: Option<MessageDirection>,
    /// Made at or after this instant.
    created_from: Option<Instant>,
    /// Made before this instant.
    created_to: Option<Instant>,
}

impl From<MessageFilter> for messages::MessageFilter {
    fn from(filter: MessageFilter) -> Self {
        Self {
            workspace_id: filter.workspace_id.map(|id| id.0),
            external_ids: filter.external_ids.unwrap_or_default(),
            account_ids: texts(filter.account_ids),
            campaign_ids: texts(filter.campaign_ids),
            within: None,
            contact_ids: texts(filter.contact_ids),
            status: all(filter.status),
            direction: filter.direction.map(Into::into),
            created_from: filter.created_from.map(|at| at.0),
            created_to: filter.created_to.map(|at| at.0),
        }
    }
}

/// What became of one of many sends: a message, or an error.
#[derive(SimpleObject)]
pub struct SendResult {
    /// The message.
    message: Option<Message>,
    /// Why there is none.
    error: Option<SendError>,
    /// The position of the last event of this send.
    position: Option<Place>,
}

impl From<AppResult<Written<MessageView>>> for SendResult {
    fn from(result: AppResult<Written<MessageView>>) -> Self {
        match result {
            Ok(written) => Self {
                message: Some(written.value.into()),
                error: None,
                position: Some(Place(written.position)),
            },
            Err(AppError { code, message, field, .. }) => {
                let error = SendError { code: code.as_str().to_owned(), field, message };
                Self { message: None, error: Some(error), position: None }
            }
        }
    }
}

/// Why one of many sends was refused.
#[derive(Clone, Debug, SimpleObject)]
pub struct SendError {
    /// As `extensions.code` of errors.
    code: String,
    /// The path that is wrong, where `input` is that one of the inputs.
    field: Option<String>,
    /// What is wrong, and what would be right.
    message: String,
}

/// One message to one person.
#[derive(Debug, InputObject)]
pub struct SendMessageInput {
    /// The account that sends it.
    account_id: ID,
    /// The integrator's own id.
    external_id: Option<String>,
    /// The integrator's own facts, at most 20 keys and 2 kB.
    metadata: Option<Json>,
    /// One of to, userId, contactId. A number of a contact who was merged into another means that one, at their own number.
    to: Option<PhoneNumber>,
    /// WhatsApp's business-scoped user id.
    user_id: Option<String>,
    /// A contact that is known.
    contact_id: Option<ID>,
    /// Exactly one of template, text, media, interactive, location, contacts, reaction.
    template: Option<TemplateMessageInput>,
    /// Free text, inside the service window.
    text: Option<String>,
    /// A picture, film, sound, file or sticker.
    media: Option<MediaInput>,
    /// Buttons or a list, in WhatsApp's own form.
    interactive: Option<Json>,
    /// {latitude, longitude, name, address}.
    location: Option<Json>,
    /// Contact cards, in WhatsApp's own form.
    contacts: Option<Json>,
    /// {messageId, emoji}.
    reaction: Option<Json>,
    /// The wamid this answers.
    reply_to: Option<String>,
    /// Later, instead of now; refused where it is more than 5 min ago.
    send_at: Option<Instant>,
    /// Seconds; default 10 min for authentication, 24 h for utility and service, 72 h for marketing.
    time_to_live: Option<i32>,
    /// The same key with the same input answers the first result again.
    idempotency_key: Option<String>,
}

impl From<SendMessageInput> for messages::SendMessage {
    fn from(input: SendMessageInput) -> Self {
        Self {
            account_id: input.account_id.0,
            external_id: input.external_id,
            metadata: json(input.metadata),
            to: input.to.map(|number| number.0),
            user_id: input.user_id,
            contact_id: input.contact_id.map(|id| id.0),
            template: input.template.map(Into::into),
            text: input.text,
            preview_url: None,
            media: input.media.map(Into::into),
            interactive: json(input.interactive),
            location: json(input.location),
            contacts: json(input.contacts),
            reaction: json(input.reaction),
            reply_to: input.reply_to,
            send_at: input.send_at.map(|at| at.0),
            time_to_live: input.time_to_live,
            idempotency_key: input.idempotency_key,
        }
    }
}

/// What says something: null says nothing.
fn json(json: Option<Json>) -> Option<serde_json::Value> {
    json.map(|json| json.0).filter(|json| !json.is_null())
}

/// A template by id, or by name and language.
#[derive(Debug, InputObject)]
pub struct TemplateMessageInput {
    /// Its id.
    template_id: Option<ID>,
    /// Its name at WhatsApp.
    name: Option<String>,
    /// WhatsApp's code of its language.
    language: Option<String>,
    /// {"body.1": "Ana", "header.image": {"link": …}, "button.0.url": "a1"}, or by parameter name.
    parameters: Option<Json>,
}

impl From<TemplateMessageInput> for messages::TemplateMessage {
    fn from(input: TemplateMessageInput) -> Self {
        Self {
            template_id: input.template_id.map(|id| id.0),
            name: input.name,
            language: input.language,
            parameters: json(input.parameters),
            components: None,
        }
    }
}

/// Media by link or by id.
#[derive(Debug, InputObject)]
pub struct MediaInput {
    /// What kind it is.
    kind: MediaKind,
    /// Where WhatsApp fetches it from.
    link: Option<String>,
    /// An upload's id.
    media_id: Option<String>,
    /// The text under it.
    caption: Option<String>,
    /// The name a document is saved under.
    filename: Option<String>,
}

impl From<MediaInput> for messages::MediaInput {
    fn from(input: MediaInput) -> Self {
        Self {
            kind: input.kind.into(),
            link: input.link,
            media_id: input.media_id,
            caption: input.caption,
            filename: input.filename,
            voice: false,
        }
    }
}

/// What became of a message.
#[derive(SimpleObject)]
pub struct MessagePayload {
    /// The message as it is now.
    message: Message,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<MessageView>> for MessagePayload {
    fn from(written: Written<MessageView>) -> Self {
        Self { message: written.value.into(), position: Place(written.position) }
    }
}

#[derive(Default)]
pub(super) struct MessageQuery;

#[Object]
impl MessageQuery {
    /// One message. Scope READ.
    async fn message(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "As it was known at that instant.")] as_of: Option<Instant>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<Message>> {
        let (gateway, caller) = asked(ctx);
        let (as_of, min_position) = (as_of.map(|at| at.0), min_position.map(|place| place.0));
        Ok(Some(messages::get(gateway, caller, &id, as_of, min_position).await?.into()))
    }

    /// Also finds a message by WhatsApp's own id. Scopes READ and PERSONAL, because the id
    /// holds the number.
    async fn message_by_wamid(&self, ctx: &Context<'_>, wamid: String) -> Answer<Option<Message>> {
        let (gateway, caller) = asked(ctx);
        Ok(messages::by_wamid(gateway, caller, &wamid).await?.map(Into::into))
    }

    /// Messages, newest first. Scope READ.
    #[expect(clippy::too_many_arguments, reason = "a list takes these")]
    async fn messages(
        &self,
        ctx: &Context<'_>,
        filter: Option<MessageFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<MessageConnection> {
        let (gateway, caller) = asked(ctx);
        let filter = messages::MessageFilter::from(filter.unwrap_or_default());
        let args = page_args(first, after, last, before);
        let page = messages::list(
            gateway,
            caller,
            filter.clone(),
            args,
            min_position.map(|place| place.0),
        )
        .await?;
        Ok(MessageConnection::new(page, Counted::Messages(filter)))
    }
}

#[derive(Default)]
pub(super) struct MessageMutation;

#[Object]
impl MessageMutation {
    /// One message, now or at `sendAt`. An unknown number becomes a contact. Malformed input is VALIDATION_FAILED; what
    /// policy forbids (window closed, consent, cap) succeeds with status SKIPPED and a reason, which is final. Without
    /// `sendAt` that is judged at once; with it the message is SCHEDULED and judged when due. Quiet hours hold MARKETING
    /// only. Scope SEND.
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        input: SendMessageInput,
    ) -> Answer<MessagePayload> {
        let (gateway, caller) = asked(ctx);
        Ok(messages::send(gateway, caller, input.into()).await?.into())
    }

    /// At most 500, each with its own result. Scope SEND.
    async fn send_messages(
        &self,
        ctx: &Context<'_>,
        inputs: Vec<SendMessageInput>,
    ) -> Answer<Vec<SendResult>> {
        let (gateway, caller) = asked(ctx);
        let results =
            messages::send_many(gateway, caller, inputs.into_iter().map(Into::into).collect())
                .await?;
        Ok(results.into_iter().map(SendResult::from).collect())
    }

    /// Gives a message that is not sent yet another time. Scope SEND.
    async fn reschedule_message(
        &self,
        ctx: &Context<'_>,
        id: ID,
        send_at: Instant,
    ) -> Answer<MessagePayload> {
        let (gateway, caller) = asked(ctx);
        Ok(messages::reschedule(gateway, caller, &id, send_at.0).await?.into())
    }

    /// Takes a message back that is not sent yet. Scope SEND.
    async fn cancel_message(
        &self,
        ctx: &Context<'_>,
        id: ID,
        reason: Option<String>,
    ) -> Answer<MessagePayload> {
        let (gateway, caller) = asked(ctx);
        Ok(messages::cancel(gateway, caller, &id, reason).await?.into())
    }

    /// Settles a message whose outcome WhatsApp never told. Scope SEND.
    async fn resolve_in_doubt(
        &self,
        ctx: &Context<'_>,
        id: ID,
        resolution: InDoubtResolution,
    ) -> Answer<MessagePayload> {
        let (gateway, caller) = asked(ctx);
        Ok(messages::resolve_in_doubt(gateway, caller, &id, resolution.into()).await?.into())
    }
}
