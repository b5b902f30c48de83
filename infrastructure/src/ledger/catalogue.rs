//! Every event the gateway writes.

use domain::account::AccountEvent;
use domain::api_key::ApiKeyEvent;
use domain::campaign::CampaignEvent;
use domain::contact::ContactEvent;
use domain::conversation::ConversationEvent;
use domain::import::ImportEvent;
use domain::message::MessageEvent;
use domain::segment::SegmentEvent;
use domain::template::TemplateEvent;
use domain::user::UserEvent;
use domain::webhook_endpoint::WebhookEndpointEvent;
use domain::workspace::WorkspaceEvent;

/// Names and newest versions.
pub fn events() -> impl Iterator<Item = (&'static str, u32)> {
    [
        AccountEvent::CATALOGUE,
        ApiKeyEvent::CATALOGUE,
        CampaignEvent::CATALOGUE,
        ContactEvent::CATALOGUE,
        ConversationEvent::CATALOGUE,
        ImportEvent::CATALOGUE,
        MessageEvent::CATALOGUE,
        SegmentEvent::CATALOGUE,
        TemplateEvent::CATALOGUE,
        UserEvent::CATALOGUE,
        WebhookEndpointEvent::CATALOGUE,
        WorkspaceEvent::CATALOGUE,
    ]
    .into_iter()
    .flatten()
    .copied()
}
