//! What the gateway asks of its aggregates beyond `cqrs_es::Aggregate`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, DomainEvent};
use uuid::Uuid;

use crate::port::AggregateType;
use crate::primitives::{AccountId, PhoneNumber, WorkspaceId};

/// An aggregate of the gateway: decisions are synchronous, events know when they happened, and the state tells where
/// the stream belongs, whose data it holds and what must be unique.
pub trait GatewayAggregate:
    Aggregate<Services = (), Event: GatewayEvent, Error: DomainError, Command: Send> + Clone
{
    const AGGREGATE_TYPE: AggregateType;

    /// `None` only for a stream that does not exist yet.
    fn workspace_id(&self) -> Option<WorkspaceId>;

    fn account_id(&self) -> Option<AccountId> {
        None
    }

    /// Whose key seals the personal data of this stream's events.
    fn subject(&self) -> Option<Uuid> {
        None
    }

    /// What no other stream of the workspace may hold at the same time. The difference before and after a command is
    /// claimed and released in the append's transaction.
    fn identities(&self) -> BTreeSet<Identity> {
        BTreeSet::new()
    }

    /// Whether the suppression list is asked of an identity that an aggregate of this kind comes to hold.
    fn may_be_suppressed(_identity: &Identity) -> bool {
        false
    }

    /// What is to be decided next where the list has one of those; `None`: what it asks for holds already.
    fn suppressed(&self, _at: DateTime<Utc>) -> Option<Self::Command> {
        None
    }

    /// Decides without side effects. No event means that the fact is already on record.
    ///
    /// # Errors
    /// The aggregate's own, where the command is not allowed.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;
}

/// An event of the gateway.
pub trait GatewayEvent: DomainEvent {
    /// When it happened: WhatsApp's timestamp for what WhatsApp reports, the command's time for everything else.
    fn occurred_at(&self) -> DateTime<Utc>;
}

/// A refusal that people and programs can act on.
pub trait DomainError: std::error::Error + Send + Sync + 'static {
    /// Stable, upper-case: what clients match on (`WINDOW_CLOSED`). The text may be reworded.
    fn code(&self) -> &'static str;

    /// The path of the input that is wrong, where one input is.
    fn field(&self) -> Option<String> {
        None
    }

    /// The command contradicts the state (a conflict) rather than being wrong in itself.
    fn is_conflict(&self) -> bool {
        false
    }
}

/// Something of which there is one in its scope: a number among a workspace's contacts, a name among its templates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The workspace; nil for what is unique in the whole gateway.
    pub scope: Uuid,
    pub kind: &'static str,
    /// In the clear here; the store only ever sees its keyed hash.
    pub value: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({}, {}, ***)", self.scope, self.kind)
    }
}

impl Identity {
    /// A contact's number.
    pub const PHONE: &'static str = "contact.phone";
    /// A contact's user id, with its portfolio: `<portfolio>/<user id>`.
    pub const USER_ID: &'static str = "contact.user_id";
    pub const CONTACT_EXTERNAL_ID: &'static str = "contact.external_id";
    /// A person who opted out and was erased: outlives the erasure.
    pub const SUPPRESSED: &'static str = "contact.suppressed";
    pub const PHONE_NUMBER_ID: &'static str = "account.phone_number_id";
    /// `<account>/<name>/<language>`.
    pub const TEMPLATE: &'static str = "template.name";
    pub const SEGMENT_NAME: &'static str = "segment.name";
    /// SHA-256 of an API key's secret.
    pub const API_KEY: &'static str = "api_key.hash";

    /// The address that somebody signs in to the console with, in lower case.
    pub const USER_EMAIL: &'static str = "user.email";

    pub fn new(scope: impl Into<Uuid>, kind: &'static str, value: impl Into<String>) -> Self {
        Self { scope: scope.into(), kind, value: value.into() }
    }

    /// Unique in the whole gateway.
    pub fn user_email(email: &str) -> Self {
        Self::new(Uuid::nil(), Self::USER_EMAIL, email)
    }

    /// A person's number, whichever of its forms it is written in.
    pub fn phone(workspace: WorkspaceId, phone: &PhoneNumber) -> Self {
        Self::new(workspace.0, Self::PHONE, phone.canonical())
    }
}

/// Implements what `cqrs_es::Aggregate` needs in terms of `decide` and `fold`, so that decisions take `&self` and a
/// field changed by hand in one cannot compile.
#[macro_export]
macro_rules! aggregate {
    ($aggregate:ty, $command:ty, $event:ty, $error:ty, $aggregate_type:expr) => {
        impl cqrs_es::Aggregate for $aggregate {
            const TYPE: &'static str = $aggregate_type;
            type Command = $command;
            type Event = $event;
            type Error = $error;
            type Services = ();

            async fn handle(
                &mut self,
                command: Self::Command,
                _services: &Self::Services,
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                for event in $crate::GatewayAggregate::decide(self, command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: Self::Event) {
                self.fold(event);
            }
        }
    };
}

/// Implements `DomainEvent` and `GatewayEvent` for an event enum whose variants all carry `at`.
#[macro_export]
macro_rules! events {
    ($event:ident { $($variant:ident => $name:literal v $version:literal),* $(,)? }) => {
        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                match self { $(Self::$variant { .. } => $name.to_owned(),)* }
            }

            fn event_version(&self) -> String {
                match self { $(Self::$variant { .. } => stringify!($version).to_owned(),)* }
            }
        }

        impl $crate::GatewayEvent for $event {
            fn occurred_at(&self) -> chrono::DateTime<chrono::Utc> {
                match self { $(Self::$variant { at, .. } => *at,)* }
            }
        }

        impl $event {
            /// Every stored name of this aggregate's events with its current version: the catalogue's source.
            pub const CATALOGUE: &'static [(&'static str, u32)] = &[$(($name, $version)),*];
        }
    };
}
