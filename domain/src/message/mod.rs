//! One message, from the moment it is planned or received until WhatsApp stops reporting on it: what may be done with
//! it when, and how statuses reported late, twice or out of order settle.

mod aggregate;
mod attempt;
mod command;
mod content;
mod engagement;
mod error;
mod event;

pub use aggregate::{Message, Waiting};
pub use attempt::{Attempt, AttemptOutcome, DeliveryStatus, Failure, KeepAway, MessageStatus};
pub use command::{Answer, MessageCommand, Plan, StatusReport};
pub use content::{Content, ContentKind, MediaKind, MediaSource, ParameterValue, Recipient};
pub use engagement::{ANSWERED_WITHIN, Engagement};
pub use error::MessageError;
pub use event::{
    Direction, InDoubtResolution, MessageEvent, MessageHeader, OptOutSign, Priority, SkipReason,
    TemplateRef,
};
