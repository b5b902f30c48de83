//! What one number and one person have to say to each other: when the person may be answered freely, who takes care of it,
//! and up to where it was read. The messages themselves are streams of their own.

mod aggregate;
mod event;

pub use aggregate::{
    Conversation, ConversationCommand, ConversationError, Handling, Inbound, Opening, ReadMark,
    ReceiptFailure, ReceiptOutcome,
};
pub use event::ConversationEvent;
