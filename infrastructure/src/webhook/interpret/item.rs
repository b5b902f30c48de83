//! The items themselves: the gateway's own terms, so that whoever applies them needs no knowledge of Meta's JSON.
//! `Debug` shows kinds, codes and states; names, texts and ids of people are masked.

use chrono::{DateTime, Utc};
use domain::account::MessagingLimit;
use domain::message::{DeliveryStatus, Failure, Recipient};
use domain::primitives::{MessageId, PhoneNumber, UserId, Wamid};
use domain::template::{Quality, TemplateCategory, TemplateStatus};
use serde_json::Value;

use crate::cloud_api::wire::masked_debug;
use crate::webhook::optout::{self, OptWord};

/// One item of a webhook: where it stands, whom of ours it is about, and what it says.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Interpreted {
    /// Partner events carry it beside the entry's id, which is a portfolio's there; then that one is given here.
    pub waba_id: Option<String>,
    /// Route by this first. Only what is about conversations has it.
    pub phone_number_id: Option<String>,
    /// Digits only: number-level items have nothing else to name the number by.
    pub display_phone_number: Option<String>,
    /// Another app (or Meta's own assistant) answers this conversation: for the record, never to be replied to.
    pub standby: bool,
    /// WhatsApp's time of the item, else of its entry, else when the webhook came in. Milliseconds are kept.
    pub at: DateTime<Utc>,
    /// A JSON pointer into the body (`/entry/0/changes/0/value/statuses/1`): stays the same when other items of the
    /// body are removed.
    pub path: String,
    pub item: Item,
}

/// What a webhook's item says. One that cannot be read is [`Item::Unreadable`] and costs no other.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum Item {
    /// How far a message of ours got.
    Status(Box<StatusItem>),
    /// A person wrote, tapped, reacted, edited or took something back.
    Inbound(Box<MessageItem>),
    /// Sent with this number from elsewhere (the WhatsApp Business app): outbound, not to be answered.
    Echo(Box<MessageItem>),
    /// A piece of the past of a number that joined from the app. Never starts anything.
    History(Box<HistoryItem>),
    /// A person has a new number (and so a new user id).
    NumberChanged(Box<IdentityMove>),
    /// A person has a new user id.
    UserIdChanged(Box<IdentityMove>),
    /// A person's keys changed (a new phone, or somebody else's): distrust the number where that matters.
    IdentityChanged(IdentityChange),
    /// A person's user id was replaced; one person under two ids.
    UserIdUpdate(Box<UserIdUpdate>),
    /// A person stopped or resumed marketing of this business, in WhatsApp itself.
    Preference(PreferenceItem),
    /// A person acted on a message without writing, by now: tapped a link of a marketing message.
    UserAction(UserActionItem),
    /// The address book of the business's phone changed.
    StateSync(StateSyncItem),
    TemplateVerdict(TemplateVerdict),
    TemplateCategory(TemplateCategoryItem),
    TemplateQuality(TemplateQualityItem),
    /// A template's content was changed at WhatsApp: list it to see all of it.
    TemplateComponents(TemplateComponentsItem),
    NumberQuality(NumberQuality),
    NumberName(NumberName),
    /// The business's own username.
    BusinessUsername {
        username: Option<String>,
        status: Option<String>,
    },
    AccountUpdate(AccountChange),
    /// How many people the portfolio may reach a day; `None` where WhatsApp gave no limit that can be read.
    Capability {
        limit: Option<MessagingLimit>,
    },
    AccountAlert(AccountAlertItem),
    /// `APPROVED`, `REJECTED`, `PENDING`, `DEFERRED`.
    AccountReview {
        decision: String,
    },
    /// `PIN_CHANGED`, `PIN_RESET_REQUEST`, `PIN_REQUEST_SUCCESS`: a person should know.
    Security {
        event: String,
        requester: Option<String>,
    },
    /// Trouble of the number or app as a whole, not of a message.
    ValueErrors {
        errors: Vec<ReportedError>,
    },
    /// A field, or a part of one, that this version does not interpret. It stays in the journal.
    Unknown {
        field: String,
    },
    /// It cannot be read: what is wrong with its shape, without its values. It stays in the journal.
    Unreadable {
        problem: String,
    },
}

/// A word of WhatsApp's that we have a name for, or one that this version does not know, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum Word<T> {
    Known(T),
    Other(String),
}

impl<T> Word<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

/// One status of one message; in groups, of one participant.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct StatusItem {
    pub wamid: Wamid,
    pub callback: Callback,
    pub status: Word<DeliveryStatus>,
    /// As received; what is billed goes by it.
    pub pricing: Option<Value>,
    /// Until when messages are free, where the person came through an advertisement.
    pub free_entry_until: Option<DateTime<Utc>>,
    /// Of a failed one, from the first error: WhatsApp did not deliver it.
    pub failure: Option<Failure>,
    pub errors: Vec<ReportedError>,
    /// Only a hint for finding the message: a status never makes or changes a contact.
    pub recipient: Recipient,
    pub parent_user_id: Option<UserId>,
    /// One participant of a group reports, not the one recipient.
    pub is_group: bool,
}

/// What a send carried along (`biz_opaque_callback_data`), as a status gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum Callback {
    /// Find the message by its wamid.
    None,
    Ours(SentAs),
    /// Another program's: it shares the number with us.
    Foreign,
}

/// Which of our sends this is about. Written `wg1.<message id>.<attempt>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct SentAs {
    pub message_id: MessageId,
    pub attempt: u32,
}

impl SentAs {
    /// `None` where it is not exactly what [`std::fmt::Display`] writes: then it is another program's.
    pub fn parse(text: &str) -> Option<Self> {
        let (message_id, attempt) = text.strip_prefix("wg1.")?.split_once('.')?;
        let sent_as =
            Self { message_id: MessageId::parse(message_id)?, attempt: attempt.parse().ok()? };
        (sent_as.to_string() == text).then_some(sent_as)
    }
}

impl std::fmt::Display for SentAs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "wg1.{}.{}", self.message_id, self.attempt)
    }
}

/// An error as WhatsApp reports it, numbers in its texts blotted out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct ReportedError {
    pub code: i64,
    pub title: Option<String>,
    pub details: Option<String>,
}

/// A message in either direction.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct MessageItem {
    pub wamid: Wamid,
    /// Who wrote an inbound one, whom an echo went to.
    pub counterpart: Recipient,
    pub parent_user_id: Option<UserId>,
    /// WhatsApp's own form of the number, which may differ from the one in `counterpart` (Brazil, Mexico, Argentina).
    pub wa_id: Option<PhoneNumber>,
    /// Chosen by the person.
    pub profile_name: Option<String>,
    /// Without the `@`. Display only; it changes.
    pub username: Option<String>,
    pub group_id: Option<String>,
    /// WhatsApp's `type`: text, image, button, interactive, edit, revoke, unsupported …
    pub message_type: String,
    /// The object under the type, with `context`, `referral` and `errors` beside its own members where there are any.
    /// Content that is no object stands under the type's name.
    pub body: Value,
    /// For people.
    pub preview: String,
    /// What it replies to.
    pub context_wamid: Option<Wamid>,
    /// What it edits, takes back or reacts to.
    pub target_wamid: Option<Wamid>,
    /// It opens or refreshes the service window with this person (reference: section 4.9). Only what is known to: no
    /// reaction, edit, revocation, unsupported or unknown type, nor anything said in a group.
    pub opens_window: bool,
    /// Ask [`OptOutText::word`] before anything else.
    pub opt_out: Option<OptOutText>,
    /// To be fetched at once.
    pub media: Option<MediaRef>,
    pub errors: Vec<ReportedError>,
    /// It came through an advertisement or post.
    pub has_referral: bool,
}

impl std::fmt::Debug for MessageItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageItem")
            .field("message_type", &self.message_type)
            .field("opens_window", &self.opens_window)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

/// What a person wrote or tapped that may be a wish for no more messages.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum OptOutText {
    Text(String),
    /// A quick reply, a reply button or a row of a list.
    Button {
        payload: Option<String>,
        label: Option<String>,
    },
}

impl OptOutText {
    /// The wish, by the whole text; of a button by its payload, else its label. `account_words` are the account's own.
    pub fn word(&self, account_words: &[String]) -> Option<OptWord> {
        let classify = |text: &String| optout::classify(text, account_words);
        match self {
            Self::Text(text) => classify(text),
            Self::Button { payload, label } => {
                payload.as_ref().and_then(classify).or_else(|| label.as_ref().and_then(classify))
            }
        }
    }

    /// The person's own words, as evidence.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Button { payload, label } => label.as_deref().or(payload.as_deref()),
        }
    }
}

masked_debug!(OptOutText);

/// Media of an inbound message. WhatsApp keeps it for seven days.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct MediaRef {
    pub id: String,
    pub mime_type: Option<String>,
    /// Lower-case hexadecimal, however WhatsApp printed it.
    pub sha256: Option<String>,
    pub filename: Option<String>,
}

impl std::fmt::Debug for MediaRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaRef")
            .field("id", &self.id)
            .field("mime_type", &self.mime_type)
            .finish_non_exhaustive()
    }
}

/// A chunk of history; chunks come shuffled.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct HistoryItem {
    /// 0 to 2.
    pub phase: Option<i64>,
    pub chunk_order: Option<i64>,
    /// Percent.
    pub progress: Option<i64>,
    pub messages: Vec<HistoryMessage>,
    /// 2593109: the business declined to share its history.
    pub errors: Vec<ReportedError>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct HistoryMessage {
    pub at: DateTime<Utc>,
    pub is_outbound: bool,
    pub message: MessageItem,
    /// `DELIVERED`, `ERROR`, `PENDING`, `PLAYED`, `READ`, `SENT`.
    pub status: Option<String>,
}

/// One person, formerly `old`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct IdentityMove {
    pub wamid: Wamid,
    /// Empty where WhatsApp named the former identity only in a sentence.
    pub old: Recipient,
    pub new_phone: Option<PhoneNumber>,
    pub new_user_id: Option<UserId>,
    pub new_parent_user_id: Option<UserId>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct IdentityChange {
    pub wamid: Wamid,
    pub who: Recipient,
    pub acknowledged: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct UserIdUpdate {
    pub phone: Option<PhoneNumber>,
    pub previous: Option<UserId>,
    pub current: Option<UserId>,
    pub previous_parent: Option<UserId>,
    pub current_parent: Option<UserId>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct PreferenceItem {
    pub who: Recipient,
    pub choice: PreferenceChoice,
    /// `marketing_messages`: what the choice is about. Everything else stays allowed.
    pub category: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum PreferenceChoice {
    Stop,
    Resume,
    Other(String),
}

#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct UserActionItem {
    /// `marketing_messages_link_click`.
    pub action: String,
    /// What WhatsApp tells of it, as it came.
    pub data: Value,
}

impl std::fmt::Debug for UserActionItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserActionItem").field("action", &self.action).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct StateSyncItem {
    pub phone: Option<PhoneNumber>,
    pub full_name: Option<String>,
    pub first_name: Option<String>,
    /// `add` or `remove`.
    pub action: Option<String>,
}

impl std::fmt::Debug for StateSyncItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateSyncItem").field("action", &self.action).finish_non_exhaustive()
    }
}

/// Which template: match by id, else by name and language.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct TemplateName {
    pub whatsapp_id: Option<String>,
    pub name: Option<String>,
    /// As REST writes it, `en_GB`.
    pub language: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct TemplateVerdict {
    pub template: TemplateName,
    /// `Other`: WhatsApp's event, which changes nothing about what may be sent (`FLAGGED`), or a new one.
    pub status: Word<TemplateStatus>,
    /// Everything WhatsApp says about why, and until when, for people.
    pub reason: Option<String>,
    pub category: Option<TemplateCategory>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct TemplateCategoryItem {
    pub template: TemplateName,
    /// What it becomes, or has become.
    pub category: Word<TemplateCategory>,
    pub previous: Option<TemplateCategory>,
    /// Still to come, about a day ahead: nothing has changed yet.
    pub announced_only: bool,
    pub effective_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct TemplateQualityItem {
    pub template: TemplateName,
    pub quality: Quality,
    pub previous: Option<Quality>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct TemplateComponentsItem {
    pub template: TemplateName,
    pub header: Option<String>,
    pub body: Option<String>,
    pub footer: Option<String>,
    pub buttons: Vec<Value>,
}

/// What a number may do has changed. Named by its display form only.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct NumberQuality {
    /// `ONBOARDING`, `THROUGHPUT_UPGRADE`; older: `UPGRADE`, `DOWNGRADE`, `FLAGGED`, `UNFLAGGED`.
    pub event: String,
    pub limit: Option<MessagingLimit>,
    /// The older events only; otherwise ask WhatsApp.
    pub quality: Option<Quality>,
    /// WhatsApp grants more messages per second: ask how many.
    pub throughput_upgraded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct NumberName {
    /// `APPROVED`, `REJECTED`, `PENDING`, `DEFERRED`.
    pub decision: String,
    pub requested_name: Option<String>,
    pub rejection_reason: Option<String>,
}

/// What happened to a WABA.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum AccountChange {
    Violation {
        kind: Option<String>,
    },
    /// Some kinds of sends are not allowed for a while.
    Restriction {
        restrictions: Vec<RestrictionItem>,
    },
    /// It stops, will stop, or may go on.
    Ban {
        state: BanState,
        date: Option<String>,
    },
    Deleted,
    Offboarded,
    Reconnected,
    PartnerAdded,
    /// We have lost access.
    PartnerRemoved {
        reason: Option<String>,
    },
    AppInstalled,
    AppUninstalled,
    /// Informational, or new.
    Other {
        event: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct RestrictionItem {
    pub kind: RestrictionKind,
    /// `None`: until WhatsApp says otherwise.
    pub until: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum RestrictionKind {
    /// No templates.
    BusinessInitiated,
    /// No replies.
    CustomerInitiated,
    AddPhoneNumbers,
    UtilityTemplates,
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum BanState {
    Scheduled,
    Disabled,
    Reinstated,
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct AccountAlertItem {
    /// `CRITICAL`, `WARNING`, `INFORMATIONAL`.
    pub severity: Option<String>,
    pub status: Option<String>,
    pub kind: Option<String>,
    pub description: Option<String>,
    /// `BUSINESS`, `PHONE_NUMBER` …
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
}
