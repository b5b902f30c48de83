//! Sending, and read receipts.

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method};

use super::gate::{Gate, Passage};
use super::{
    Access, CallError, CloudApi, NotSent, UnknownReason, done, lost_or_late, not_sent_because,
    read, read_body, refusal, usage_of,
};
use crate::cloud_api::error::{ErrorContext, GraphError, MessageFate};
use crate::cloud_api::usage::Usage;
use crate::cloud_api::wire::masked_debug;
use crate::cloud_api::wire::response::{MessageStatus, SendResponse};
use crate::cloud_api::wire::send::{
    Content, Header, MarkRead, Media, ParameterValue, SendRequest, Template,
};

/// The largest answer to a send that is read; real ones have a few hundred bytes.
const SEND_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Where a message is posted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Messages,
    /// Marketing templates only, for accounts that are set up for it.
    MarketingMessages,
}

impl Endpoint {
    fn edge(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::MarketingMessages => "marketing_messages",
        }
    }
}

/// How a send ended.
#[derive(Clone, Debug, PartialEq)]
pub enum SendOutcome {
    /// WhatsApp has it. Neither sent nor delivered yet.
    Accepted(Box<Accepted>),
    /// WhatsApp does not have it and said why.
    Refused(Box<GraphError>),
    /// WhatsApp never got it.
    NotSent(NotSent),
    /// It may have gone out. Never to be repeated blindly.
    Unknown(Box<UnknownOutcome>),
}

/// What WhatsApp answered to a message it took.
#[derive(Clone, Default, PartialEq)]
pub struct Accepted {
    pub wamid: String,
    /// Templates only; absent means accepted.
    pub message_status: Option<MessageStatus>,
    /// The number as WhatsApp writes it, which may differ from the one asked for.
    pub wa_id: Option<String>,
    /// For sends to a business-scoped user id.
    pub user_id: Option<String>,
    /// The recipient as it was written.
    pub input: Option<String>,
    pub usage: Usage,
}

/// Why nobody knows.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownOutcome {
    pub reason: UnknownReason,
    /// What WhatsApp answered, where it did: it may pause the number all the same.
    pub error: Option<GraphError>,
}

impl From<UnknownReason> for SendOutcome {
    fn from(reason: UnknownReason) -> Self {
        Self::Unknown(Box::new(UnknownOutcome { reason, error: None }))
    }
}

impl CloudApi {
    /// Hands one message to WhatsApp, once.
    ///
    /// `may_write` is asked once there is a connection, immediately before the first byte of the message is written;
    /// if it says no, nothing is written and the outcome is [`NotSent::Expired`]. A future that is dropped before that
    /// moment never sends.
    pub async fn send<G>(
        &self,
        access: &Access,
        phone_number_id: &str,
        endpoint: Endpoint,
        message: &SendRequest,
        may_write: G,
    ) -> SendOutcome
    where
        G: FnOnce() -> bool + Send + 'static,
    {
        let Ok(json) = serde_json::to_vec(message) else {
            return SendOutcome::NotSent(NotSent::BadContent);
        };
        let length = json.len();
        let request =
            match self.request(Method::POST, access, &[phone_number_id, endpoint.edge()], &[]) {
                Ok(request) => request,
                Err(CallError::NotSent(reason)) => return SendOutcome::NotSent(reason),
                Err(_) => return SendOutcome::NotSent(NotSent::BadContent),
            };
        let (gate, body) = Gate::new(Bytes::from(json), may_write);
        let request = request
            .timeout(self.config.call_timeout)
            .header(CONTENT_TYPE, "application/json")
            // A stream has no length of its own; with this it is not sent in chunks.
            .header(CONTENT_LENGTH, length)
            .body(Body::wrap_stream(body));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                return match gate.close() {
                    Passage::Kept => SendOutcome::NotSent(not_sent_because(&error)),
                    Passage::Expired => SendOutcome::NotSent(NotSent::Expired),
                    Passage::Written => lost_or_late(&error).into(),
                };
            }
        };
        let (status, usage) = (response.status(), usage_of(response.headers()));
        let body = match read_body(response, SEND_ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(reason) => return reason.into(),
        };
        if status.is_success() {
            return accepted(&body, usage);
        }
        let context = ErrorContext {
            by_link: is_by_link(&message.content),
            marketing_endpoint: endpoint == Endpoint::MarketingMessages,
        };
        match refusal(status, &body, usage, context) {
            Ok(error) if error.consequence.message == MessageFate::Unknown => {
                let reason = UnknownReason::Code(error.code.unwrap_or_default());
                SendOutcome::Unknown(Box::new(UnknownOutcome { reason, error: Some(error) }))
            }
            Ok(error) => SendOutcome::Refused(Box::new(error)),
            Err(reason) => reason.into(),
        }
    }

    /// Marks an inbound message (and those before it) as read, with the typing bubble for up to 25 s if `typing`.
    ///
    /// # Errors
    /// [`CallError`]; repeating does no harm.
    pub async fn mark_read(
        &self,
        access: &Access,
        phone_number_id: &str,
        wamid: &str,
        typing: bool,
    ) -> Result<(), CallError> {
        let request = self
            .request(Method::POST, access, &[phone_number_id, "messages"], &[])?
            .timeout(self.config.call_timeout)
            .json(&MarkRead::new(wamid, typing));
        done(read(&self.answer(request).await?)?)
    }
}

fn accepted(body: &[u8], usage: Usage) -> SendOutcome {
    let Ok(response) = serde_json::from_slice::<SendResponse>(body) else {
        return UnknownReason::NoMessageId.into();
    };
    let Some(message) = response.first_message() else {
        return UnknownReason::NoMessageId.into();
    };
    let contact = response.first_contact().unwrap_or_default();
    SendOutcome::Accepted(Box::new(Accepted {
        wamid: message.id,
        message_status: message.message_status,
        wa_id: contact.wa_id,
        user_id: contact.user_id,
        input: contact.input,
        usage,
    }))
}

/// Whether Meta has to fetch a medium from somewhere to send this.
fn is_by_link(content: &Content) -> bool {
    let linked = |media: &Media| media.link.is_some();
    match content {
        Content::Template { template } => template_media(template).any(linked),
        Content::Interactive { interactive } => match &interactive.header {
            Some(
                Header::Image { image: media }
                | Header::Video { video: media }
                | Header::Document { document: media },
            ) => linked(media),
            Some(Header::Text { .. }) | None => false,
        },
        content => content.media().is_some_and(linked),
    }
}

fn template_media(template: &Template) -> impl Iterator<Item = &Media> {
    let cards = template
        .components
        .iter()
        .flat_map(|component| &component.cards)
        .flat_map(|card| &card.components);
    let parameters =
        template.components.iter().chain(cards).flat_map(|component| &component.parameters);
    parameters.filter_map(|parameter| match &parameter.value {
        ParameterValue::Image { image: media }
        | ParameterValue::Video { video: media }
        | ParameterValue::Document { document: media } => Some(media),
        _ => None,
    })
}

masked_debug!(Accepted);
