//! Why a command on a message was refused.

use chrono::{DateTime, Utc};

use crate::DomainError;
use crate::message::MessageStatus;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("there is no such message")]
    NotPlanned,
    #[error("the message already exists with another recipient or campaign")]
    AlreadyPlanned,
    #[error("a message in status {} cannot be {action}", status.as_str())]
    NotAllowed { action: &'static str, status: MessageStatus },
    #[error("attempt {attempt} was never requested")]
    UnknownAttempt { attempt: u32 },
    #[error("the message is not due before {due_at}")]
    NotDue { due_at: DateTime<Utc> },
    #[error("attempt {attempt} is taken")]
    AttemptTaken { attempt: u32 },
    #[error("the message was already accepted under another WhatsApp id")]
    AcceptedTwice,
}

impl DomainError for MessageError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotPlanned => "NOT_FOUND",
            Self::AlreadyPlanned => "ALREADY_PLANNED",
            Self::NotAllowed { .. } => "MESSAGE_STATUS",
            Self::UnknownAttempt { .. } => "UNKNOWN_ATTEMPT",
            Self::NotDue { .. } => "NOT_DUE",
            Self::AttemptTaken { .. } => "ATTEMPT_TAKEN",
            Self::AcceptedTwice => "ACCEPTED_TWICE",
        }
    }

    fn is_conflict(&self) -> bool {
        true
    }
}
