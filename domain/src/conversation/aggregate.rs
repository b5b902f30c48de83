//! The conversation's state and decisions.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::ConversationEvent as Event;
use crate::delivery::window_until;
use crate::port::AggregateType;
use crate::primitives::{
    AccountId, ConsoleUserId, ContactId, ConversationId, MessageId, WorkspaceId, conversation_id,
};
use crate::{DomainError, GatewayAggregate, aggregate};

/// Who answers.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Handling {
    /// The assistant.
    Assistant,
    /// People, in the inbox.
    People,
    /// Nobody in particular.
    #[default]
    None,
}

impl Handling {
    pub const ALL: [Self; 3] = [Self::Assistant, Self::People, Self::None];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "ASSISTANT",
            Self::People => "PEOPLE",
            Self::None => "NONE",
        }
    }
}

/// A place in the conversation: a message of the person, and everything before it. Messages go by their time, by WhatsApp's
/// clock, and by their ids where that is the same.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct ReadMark {
    /// When the person wrote it.
    pub written_at: DateTime<Utc>,
    pub message_id: MessageId,
}

/// One conversation: of a number with a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_id: Option<ContactId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<DateTime<Utc>>,
    /// The end of the latest customer service window, as WhatsApp counts; it may be past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_expires_at: Option<DateTime<Utc>>,
    pub handling: Handling,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<ConsoleUserId>,
    /// Up to where it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<ReadMark>,
    /// Up to where the person was to see that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReadMark>,
    /// What became of the last word to WhatsApp that something was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_outcome: Option<ReceiptOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<ConversationId>,
}

/// What became of the word to WhatsApp that a message was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptOutcome {
    pub message_id: MessageId,
    /// `None`: WhatsApp took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Something that the person wrote.
#[derive(Clone, Copy, Debug)]
pub struct Inbound {
    pub workspace_id: WorkspaceId,
    pub account_id: AccountId,
    pub contact_id: ContactId,
    pub message_id: MessageId,
    /// It opens or refreshes the customer service window.
    pub opens_window: bool,
    /// When they wrote it.
    pub at: DateTime<Utc>,
}

/// A conversation of before conversations were written down, or one whose contact took another's place.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// What the person wrote first.
    pub first: Inbound,
    /// When they last wrote something that opens the customer service window.
    pub last_window_at: Option<DateTime<Utc>>,
    pub handling: Handling,
    pub assigned_to: Option<ConsoleUserId>,
    pub read: Option<ReadMark>,
    pub continues: Option<ConversationId>,
}

#[derive(Clone, Debug)]
pub enum ConversationCommand {
    /// The person wrote: opens the conversation, or extends its window.
    NoteInbound(Inbound),
    /// Opens it as it should have been; nothing where it is open.
    Open(Box<Opening>),
    Assign {
        user_id: Option<ConsoleUserId>,
        at: DateTime<Utc>,
    },
    HandOver {
        to: Handling,
        at: DateTime<Utc>,
    },
    /// Somebody has read up to there. With `show_receipt` the person is to see it.
    MarkRead {
        up_to: ReadMark,
        show_receipt: bool,
        at: DateTime<Utc>,
    },
    /// WhatsApp was told of the message, or could not be.
    RecordReceipt {
        message_id: MessageId,
        failure: Option<ReceiptFailure>,
        at: DateTime<Utc>,
    },
}

/// Why WhatsApp was not told that a message was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptFailure {
    pub reason: String,
    /// WhatsApp's error code.
    pub code: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversationError {
    #[error("there is no such conversation")]
    NotFound,
    /// The stream is another number's or person's: their ids would have to collide in 74 bits.
    #[error("the conversation is of another number or person")]
    OfOthers,
}

impl DomainError for ConversationError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::OfOthers => "CONVERSATION_OF_OTHERS",
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::OfOthers)
    }
}

aggregate!(Conversation, ConversationCommand, Event, ConversationError, "conversation");

type Decision = Result<Vec<Event>, ConversationError>;

impl GatewayAggregate for Conversation {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Conversation;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.workspace_id
    }

    fn account_id(&self) -> Option<AccountId> {
        self.account_id
    }

    fn decide(&self, command: ConversationCommand) -> Decision {
        match command {
            ConversationCommand::NoteInbound(inbound) => self.note_inbound(inbound),
            ConversationCommand::Open(opening) => self.open(*opening),
            ConversationCommand::Assign { user_id, at } => {
                self.require_open()?;
                let is_news = user_id != self.assigned_to;
                Ok(if is_news { vec![Event::Assigned { user_id, at }] } else { vec![] })
            }
            ConversationCommand::HandOver { to, at } => {
                self.require_open()?;
                let from = self.handling;
                Ok(if to == from { vec![] } else { vec![Event::HandedOver { from, to, at }] })
            }
            ConversationCommand::MarkRead { up_to, show_receipt, at } => {
                self.mark_read(up_to, show_receipt, at)
            }
            ConversationCommand::RecordReceipt { message_id, failure, at } => {
                self.record_receipt(message_id, failure, at)
            }
        }
    }
}

impl Conversation {
    /// Its own id; `None` before it is open.
    pub fn id(&self) -> Option<ConversationId> {
        Some(conversation_id(self.account_id?, self.contact_id?))
    }

    fn require_open(&self) -> Result<(), ConversationError> {
        if self.opened_at.is_none() { Err(ConversationError::NotFound) } else { Ok(()) }
    }

    fn require_of(&self, inbound: &Inbound) -> Result<(), ConversationError> {
        let of = |known: bool| if known { Ok(()) } else { Err(ConversationError::OfOthers) };
        of(self.account_id == Some(inbound.account_id)
            && self.contact_id == Some(inbound.contact_id))
    }

    fn note_inbound(&self, inbound: Inbound) -> Decision {
        let window = inbound.opens_window.then(|| window_until(inbound.at));
        if self.opened_at.is_none() {
            return Ok(vec![opened(inbound, window, None)]);
        }
        self.require_of(&inbound)?;
        // Webhooks come in any order: what was written earlier extends nothing.
        let later =
            window.filter(|until| self.window_expires_at.is_none_or(|known| *until > known));
        let extended = later.map(|expires_at| Event::WindowExtended {
            message_id: inbound.message_id,
            expires_at,
            at: inbound.at,
        });
        Ok(extended.into_iter().collect())
    }

    fn open(&self, opening: Opening) -> Decision {
        if self.opened_at.is_some() {
            self.require_of(&opening.first)?;
            return Ok(vec![]);
        }
        let window = opening.last_window_at.map(window_until);
        Ok(vec![opened(opening.first, window, Some(opening))])
    }

    fn mark_read(&self, up_to: ReadMark, show_receipt: bool, at: DateTime<Utc>) -> Decision {
        self.require_open()?;
        let is_beyond = |known: Option<ReadMark>| known.is_none_or(|known| up_to > known);
        let show_receipt = show_receipt && is_beyond(self.receipt);
        let is_news = is_beyond(self.read) || show_receipt;
        Ok(if is_news { vec![Event::Read { up_to, show_receipt, at }] } else { vec![] })
    }

    fn record_receipt(
        &self,
        message_id: MessageId,
        failure: Option<ReceiptFailure>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_open()?;
        if self.receipt_outcome.as_ref().is_some_and(|known| known.message_id == message_id) {
            return Ok(vec![]);
        }
        Ok(vec![match failure {
            None => Event::ReceiptShown { message_id, at },
            Some(ReceiptFailure { reason, code }) => {
                Event::ReceiptFailed { message_id, reason, code, at }
            }
        }])
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: Event) {
        match event {
            Event::Opened {
                workspace_id,
                account_id,
                contact_id,
                window_expires_at,
                handling,
                assigned_to,
                read,
                continues,
                at,
                ..
            } => {
                *self = Self {
                    workspace_id: Some(workspace_id),
                    account_id: Some(account_id),
                    contact_id: Some(contact_id),
                    opened_at: Some(at),
                    window_expires_at,
                    handling,
                    assigned_to,
                    read,
                    receipt: None,
                    receipt_outcome: None,
                    continues,
                };
            }
            Event::WindowExtended { expires_at, .. } => self.window_expires_at = Some(expires_at),
            Event::Assigned { user_id, .. } => self.assigned_to = user_id,
            Event::HandedOver { to, .. } => self.handling = to,
            Event::Read { up_to, show_receipt, .. } => {
                self.read = self.read.max(Some(up_to));
                if show_receipt {
                    self.receipt = self.receipt.max(Some(up_to));
                }
            }
            Event::ReceiptShown { message_id, .. } => {
                self.receipt_outcome = Some(ReceiptOutcome { message_id, problem: None });
            }
            Event::ReceiptFailed { message_id, reason, .. } => {
                self.receipt_outcome = Some(ReceiptOutcome { message_id, problem: Some(reason) });
            }
        }
    }
}

fn opened(
    first: Inbound,
    window_expires_at: Option<DateTime<Utc>>,
    opening: Option<Opening>,
) -> Event {
    Event::Opened {
        workspace_id: first.workspace_id,
        account_id: first.account_id,
        contact_id: first.contact_id,
        message_id: first.message_id,
        window_expires_at,
        handling: opening.map(|opening| opening.handling).unwrap_or_default(),
        assigned_to: opening.and_then(|opening| opening.assigned_to),
        read: opening.and_then(|opening| opening.read),
        continues: opening.and_then(|opening| opening.continues),
        at: first.at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn wrote(minute: i64) -> Inbound {
        Inbound {
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            account_id: AccountId(Uuid::from_u128(2)),
            contact_id: ContactId(Uuid::from_u128(3)),
            message_id: message(minute),
            opens_window: true,
            at: at(minute),
        }
    }

    fn message(minute: i64) -> MessageId {
        MessageId(Uuid::from_u128(100 + minute as u128))
    }

    fn mark(minute: i64) -> ReadMark {
        ReadMark { written_at: at(minute), message_id: message(minute) }
    }

    fn note(minute: i64) -> ConversationCommand {
        ConversationCommand::NoteInbound(wrote(minute))
    }

    fn mark_read(minute: i64, show_receipt: bool) -> ConversationCommand {
        ConversationCommand::MarkRead { up_to: mark(minute), show_receipt, at: at(90) }
    }

    fn read(minute: i64, show_receipt: bool) -> Event {
        Event::Read { up_to: mark(minute), show_receipt, at: at(90) }
    }

    fn given(commands: Vec<ConversationCommand>) -> Conversation {
        let mut conversation = Conversation::default();
        for command in commands {
            for event in conversation.decide(command).unwrap() {
                conversation.fold(event);
            }
        }
        conversation
    }

    fn day_after(minute: i64) -> DateTime<Utc> {
        at(minute) + chrono::Duration::hours(24)
    }

    #[test]
    fn the_first_message_opens_it_and_later_ones_extend_its_window() {
        let conversation = given(vec![note(0)]);
        assert_eq!(conversation.opened_at, Some(at(0)));
        assert_eq!(conversation.window_expires_at, Some(day_after(0)));
        assert_eq!((conversation.handling, conversation.assigned_to), (Handling::None, None));
        let extended =
            Event::WindowExtended { message_id: message(5), expires_at: day_after(5), at: at(5) };
        assert_eq!(conversation.decide(note(5)), Ok(vec![extended]));
    }

    #[test]
    fn what_is_told_twice_or_late_is_no_news() {
        let conversation = given(vec![note(5)]);
        assert_eq!(conversation.decide(note(5)), Ok(vec![]));
        assert_eq!(conversation.decide(note(0)), Ok(vec![]));
    }

    #[test]
    fn a_reaction_opens_a_conversation_and_no_window() {
        let reaction = Inbound { opens_window: false, ..wrote(0) };
        let conversation = given(vec![ConversationCommand::NoteInbound(reaction)]);
        assert_eq!((conversation.opened_at, conversation.window_expires_at), (Some(at(0)), None));
        let again = Inbound { opens_window: false, ..wrote(3) };
        assert_eq!(conversation.decide(ConversationCommand::NoteInbound(again)), Ok(vec![]));
        assert_eq!(conversation.decide(note(4)).unwrap().len(), 1);
    }

    #[test]
    fn a_conversation_is_of_one_number_and_one_person() {
        let conversation = given(vec![note(0)]);
        let other = Inbound { contact_id: ContactId(Uuid::from_u128(9)), ..wrote(1) };
        assert_eq!(
            conversation.decide(ConversationCommand::NoteInbound(other)),
            Err(ConversationError::OfOthers)
        );
        let id = conversation_id(wrote(0).account_id, wrote(0).contact_id);
        assert_eq!(conversation.id(), Some(id));
    }

    #[test]
    fn one_from_before_is_opened_once_as_it_should_have_been() {
        let user = ConsoleUserId(Uuid::from_u128(7));
        let opening = Opening {
            first: wrote(0),
            last_window_at: Some(at(9)),
            handling: Handling::People,
            assigned_to: Some(user),
            read: Some(mark(4)),
            continues: Some(ConversationId(Uuid::from_u128(8))),
        };
        let open = || ConversationCommand::Open(Box::new(opening));
        let conversation = given(vec![open()]);
        assert_eq!(conversation.opened_at, Some(at(0)));
        assert_eq!(conversation.window_expires_at, Some(day_after(9)));
        assert_eq!(conversation.handling, Handling::People);
        assert_eq!((conversation.assigned_to, conversation.read), (Some(user), Some(mark(4))));
        assert_eq!(conversation.decide(open()), Ok(vec![]));
        assert_eq!(given(vec![note(0)]).decide(open()), Ok(vec![]));
    }

    #[test]
    fn what_was_read_stays_read_and_the_person_is_told_once() {
        let conversation = given(vec![note(0), note(5)]);
        assert_eq!(conversation.decide(mark_read(5, true)), Ok(vec![read(5, true)]));
        let conversation = given(vec![note(0), note(5), mark_read(5, true)]);
        assert_eq!(conversation.decide(mark_read(5, true)), Ok(vec![]));
        assert_eq!(conversation.decide(mark_read(0, true)), Ok(vec![]));
        assert_eq!(conversation.decide(mark_read(6, true)), Ok(vec![read(6, true)]));
    }

    #[test]
    fn the_person_may_be_told_later_than_it_was_read() {
        let conversation = given(vec![note(0), mark_read(0, false)]);
        assert_eq!((conversation.read, conversation.receipt), (Some(mark(0)), None));
        assert_eq!(conversation.decide(mark_read(0, false)), Ok(vec![]));
        assert_eq!(conversation.decide(mark_read(0, true)), Ok(vec![read(0, true)]));
        // Read further without a word, and then told of less: what was read stays read.
        let conversation = given(vec![note(0), mark_read(5, false), mark_read(3, true)]);
        assert_eq!((conversation.read, conversation.receipt), (Some(mark(5)), Some(mark(3))));
    }

    #[test]
    fn what_became_of_a_receipt_is_recorded_once() {
        let failed = |minute| ConversationCommand::RecordReceipt {
            message_id: message(minute),
            failure: Some(ReceiptFailure { reason: "no answer".to_owned(), code: None }),
            at: at(91),
        };
        let shown = || ConversationCommand::RecordReceipt {
            message_id: message(5),
            failure: None,
            at: at(91),
        };
        let conversation = given(vec![note(5), mark_read(5, true), failed(5)]);
        assert_eq!(conversation.decide(shown()), Ok(vec![]));
        let conversation = given(vec![note(5), mark_read(5, true)]);
        let event = Event::ReceiptShown { message_id: message(5), at: at(91) };
        assert_eq!(conversation.decide(shown()), Ok(vec![event]));
    }

    #[test]
    fn it_is_handed_over_and_assigned_where_that_is_a_change() {
        let user = Some(ConsoleUserId(Uuid::from_u128(7)));
        let assign = |user_id| ConversationCommand::Assign { user_id, at: at(1) };
        let hand = |to| ConversationCommand::HandOver { to, at: at(1) };
        let conversation = given(vec![note(0), assign(user), hand(Handling::People)]);
        assert_eq!((conversation.assigned_to, conversation.handling), (user, Handling::People));
        assert_eq!(conversation.decide(assign(user)), Ok(vec![]));
        assert_eq!(conversation.decide(hand(Handling::People)), Ok(vec![]));
        let back = Event::HandedOver { from: Handling::People, to: Handling::None, at: at(1) };
        assert_eq!(conversation.decide(hand(Handling::None)), Ok(vec![back]));
        let nobodys = Event::Assigned { user_id: None, at: at(1) };
        assert_eq!(conversation.decide(assign(None)), Ok(vec![nobodys]));
    }

    #[test]
    fn nothing_is_done_about_a_conversation_that_is_not_there() {
        let none = Conversation::default();
        let commands = [
            ConversationCommand::Assign { user_id: None, at: at(0) },
            ConversationCommand::HandOver { to: Handling::People, at: at(0) },
            mark_read(0, true),
            ConversationCommand::RecordReceipt { message_id: message(0), failure: None, at: at(0) },
        ];
        for command in commands {
            assert_eq!(none.decide(command), Err(ConversationError::NotFound));
        }
    }
}
