//! Facts about one conversation. Nothing in them is personal: what was said is in the messages' own events.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aggregate::{Handling, ReadMark};
use crate::primitives::{
    AccountId, ConsoleUserId, ContactId, ConversationId, MessageId, WorkspaceId,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ConversationEvent {
    /// The person wrote for the first time.
    #[serde(rename = "conversation.opened")]
    Opened {
        workspace_id: WorkspaceId,
        account_id: AccountId,
        contact_id: ContactId,
        /// What they wrote.
        message_id: MessageId,
        /// The end of the customer service window; absent where what they wrote opens none (a reaction).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window_expires_at: Option<DateTime<Utc>>,
        handling: Handling,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assigned_to: Option<ConsoleUserId>,
        /// Up to where it was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read: Option<ReadMark>,
        /// The conversation that it goes on with: that of a contact who was merged into this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        continues: Option<ConversationId>,
        at: DateTime<Utc>,
    },
    /// They wrote again: the customer service window ends later.
    #[serde(rename = "conversation.window_extended")]
    WindowExtended { message_id: MessageId, expires_at: DateTime<Utc>, at: DateTime<Utc> },
    /// Somebody takes care of it; without `user_id` nobody does any more.
    #[serde(rename = "conversation.assigned")]
    Assigned {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<ConsoleUserId>,
        at: DateTime<Utc>,
    },
    /// Others answer from now on.
    #[serde(rename = "conversation.handed_over")]
    HandedOver { from: Handling, to: Handling, at: DateTime<Utc> },
    /// Somebody has read it up to a message of the person.
    #[serde(rename = "conversation.read")]
    Read {
        up_to: ReadMark,
        /// The person is to see that it was read.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        show_receipt: bool,
        at: DateTime<Utc>,
    },
    /// WhatsApp took the word that a message was read: the person may see it.
    #[serde(rename = "conversation.receipt_shown")]
    ReceiptShown { message_id: MessageId, at: DateTime<Utc> },
    /// WhatsApp did not take it, or did not answer. It is not told again of the same message.
    #[serde(rename = "conversation.receipt_failed")]
    ReceiptFailed {
        message_id: MessageId,
        /// A word for the cause; nothing that WhatsApp wrote.
        reason: String,
        /// WhatsApp's error code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i64>,
        at: DateTime<Utc>,
    },
}

crate::events!(ConversationEvent {
    Opened => "conversation.opened" v 1,
    WindowExtended => "conversation.window_extended" v 1,
    Assigned => "conversation.assigned" v 1,
    HandedOver => "conversation.handed_over" v 1,
    Read => "conversation.read" v 1,
    ReceiptShown => "conversation.receipt_shown" v 1,
    ReceiptFailed => "conversation.receipt_failed" v 1,
});
