//! Where events are sent to outside of the gateway: one URL with what it wants to hear. How far it has heard is no event
//! (every delivery would lead to another one): the sender's cursor keeps it.

mod aggregate;
mod event;
mod health;

pub use aggregate::{
    CreateWebhookEndpoint, EndpointChange, EndpointStatus, WebhookEndpoint, WebhookEndpointCommand,
    WebhookEndpointError,
};
pub use event::{PauseReason, Replay, WebhookEndpointEvent};
pub use health::{Health, PAUSE_AFTER, RETRY_AFTER_MAX, retry_wait};
