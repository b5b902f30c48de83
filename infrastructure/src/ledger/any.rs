//! An aggregate of whichever kind, for who folds streams of all kinds and decides nothing.

use domain::GatewayAggregate;
use domain::port::{AggregateType, FeedError, RecordedEvent};
use serde_json::Value;

trait Fold: Send {
    fn apply(&mut self, event: &RecordedEvent) -> Result<(), FeedError>;

    fn state(&self) -> serde_json::Result<Value>;
}

impl<A: GatewayAggregate> Fold for A {
    fn apply(&mut self, event: &RecordedEvent) -> Result<(), FeedError> {
        cqrs_es::Aggregate::apply(self, event.decode()?);
        Ok(())
    }

    fn state(&self) -> serde_json::Result<Value> {
        serde_json::to_value(self)
    }
}

/// What a stream's events amount to.
pub struct AnyAggregate(Box<dyn Fold>);

impl AnyAggregate {
    /// Before its first event.
    pub fn of(aggregate_type: AggregateType) -> Self {
        Self(match aggregate_type {
            AggregateType::Workspace => Box::<domain::workspace::Workspace>::default(),
            AggregateType::Account => Box::<domain::account::Account>::default(),
            AggregateType::Template => Box::<domain::template::Template>::default(),
            AggregateType::Contact => Box::<domain::contact::Contact>::default(),
            AggregateType::Segment => Box::<domain::segment::Segment>::default(),
            AggregateType::Import => Box::<domain::import::Import>::default(),
            AggregateType::Campaign => Box::<domain::campaign::Campaign>::default(),
            AggregateType::Message => Box::<domain::message::Message>::default(),
            AggregateType::WebhookEndpoint => {
                Box::<domain::webhook_endpoint::WebhookEndpoint>::default()
            }
            AggregateType::ApiKey => Box::<domain::api_key::ApiKey>::default(),
            AggregateType::User => Box::<domain::user::User>::default(),
            AggregateType::Conversation => Box::<domain::conversation::Conversation>::default(),
        })
    }

    /// Takes the stream's next event.
    ///
    /// # Errors
    /// [`FeedError::Corrupt`] where it is of no shape that this kind has.
    pub fn apply(&mut self, event: &RecordedEvent) -> Result<(), FeedError> {
        self.0.apply(event)
    }

    /// As it is stored in read models: personal data marked, whether known or erased.
    ///
    /// # Errors
    /// [`FeedError::Corrupt`] where it cannot be written as JSON.
    pub fn state(&self) -> Result<Value, FeedError> {
        self.0.state().map_err(|error| FeedError::Corrupt(error.to_string()))
    }
}
