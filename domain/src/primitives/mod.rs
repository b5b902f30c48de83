//! Values every aggregate shares. Each is parsed once, at the edge, and trusted inside.

mod actor;
mod country;
mod daily_hours;
mod ids;
mod personal;
mod phone_number;
mod user_id;
mod wamid;

pub use actor::{Actor, ActorKind};
pub use country::{Country, CountryError};
pub use daily_hours::DailyHours;
pub use ids::{
    AccountId, ApiKeyId, CampaignId, ConsoleUserId, ContactId, ConversationId, ImportId, MessageId,
    SegmentId, TemplateId, WebhookEndpointId, WorkspaceId, conversation_id, message_id_of_campaign,
    occurrence_start_ms,
};
pub use personal::{MARK_ERASED, MARK_KNOWN, Personal};
pub use phone_number::{PhoneNumber, PhoneNumberError};
pub use user_id::{UserId, UserIdError};
pub use wamid::{Wamid, WamidError};
