//! One event to one endpoint once more: at once, beside the order of its lanes, and a single time.

use std::sync::Arc;

use domain::port::RecordedEvent;
use domain::webhook_endpoint::WebhookEndpoint;
use tracing::warn;
use uuid::Uuid;

use super::book::Pick;
use super::shipment::{self, Shipment};
use crate::app::Gateway;
use crate::application::AppError;

/// An event that is ready to leave.
pub struct Resend(Shipment);

/// Makes an event ready as the endpoint is sent it.
///
/// # Errors
/// UNAVAILABLE where what it needs cannot be read.
pub async fn prepare(
    gateway: &Gateway,
    endpoint_id: Uuid,
    endpoint: Arc<WebhookEndpoint>,
    event: RecordedEvent,
) -> Result<Resend, AppError> {
    let (stream, up_to, sequence) = (event.stream, event.position, event.sequence);
    let items = shipment::items(gateway, &endpoint, vec![event]).await?;
    let pick = Pick {
        stream,
        after_sequence: sequence.saturating_sub(1),
        items: items.into_iter().map(|(_, item)| item).collect(),
        up_to,
        attempts: 0,
    };
    Ok(Resend(Shipment {
        endpoint_id,
        endpoint,
        types: Arc::default(),
        recorded_from: None,
        is_replay: true,
        picks: vec![pick],
        is_probe: false,
    }))
}

impl Resend {
    /// Sends it and keeps what became of it. Neither the endpoint's order nor its retries follow from that.
    pub async fn send(self, gateway: Arc<Gateway>) {
        let endpoint_id = self.0.endpoint_id;
        let Some(attempt) = self.0.send(gateway.clone()).await.attempt else {
            warn!(endpoint.id = %endpoint_id, "an event could not be sent once more: what it needs cannot be read");
            return;
        };
        let result = if attempt.error.is_none() { "taken" } else { "refused" };
        metrics::counter!("gateway_endpoint_requests_total", "outcome" => result).increment(1);
        if let Err(error) = gateway.lanes.record(attempt).await {
            warn!(endpoint.id = %endpoint_id, error = %format!("{:#}", anyhow::Error::from(error)), "what became of an event that was sent once more was not kept");
        }
    }
}
