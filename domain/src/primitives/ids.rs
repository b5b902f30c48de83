//! Typed ids. All are UUIDs that grow with time (v7, or v8 where they are derived), because random ids halve batch
//! inserts and make the log impossible to partition by age.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The id in this text, or `None` where it is none: callers answer as they do for an unknown id.
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

ids! {
    /// A marketer's client or a department. Nothing is shared across workspaces.
    WorkspaceId,
    /// One WhatsApp business phone number.
    AccountId,
    /// One template in one language.
    TemplateId,
    /// A person, whichever way WhatsApp knows them.
    ContactId,
    /// A named rule over contacts.
    SegmentId,
    /// One run of bringing contacts in.
    ImportId,
    /// One campaign.
    CampaignId,
    /// One message, outbound or inbound.
    MessageId,
    /// One API key.
    ApiKeyId,
    /// One URL that events are sent to.
    WebhookEndpointId,
    /// Somebody who signs in to the console.
    ConsoleUserId,
    /// What one number and one person have to say to each other.
    ConversationId,
}

/// When the occurrence of a campaign's message started, in milliseconds since 1970: its id begins with that
/// ([`message_id_of_campaign`]).
pub fn occurrence_start_ms(message: Uuid) -> i64 {
    // 48 bits.
    (message.as_u128() >> 80) as i64
}

/// The id of the message that a campaign occurrence sends to a contact: the same inputs give the same id, so an
/// expansion that is repeated after a crash meets its own streams. `salt` is 0, and counts up where an id turns out to
/// be another message's.
///
/// A UUIDv8: the occurrence's start (48 bits of milliseconds, as in v7, so that the log can be cut by age), the
/// contact's age in steps of 1.024 s (24 bits), so that expanding in contact order appends nearly in id order, and 50
/// bits mixed from both ids.
pub fn message_id_of_campaign(
    campaign: CampaignId,
    occurrence_start: DateTime<Utc>,
    contact: ContactId,
    salt: u64,
) -> MessageId {
    let start = u128::from(u64::try_from(occurrence_start.timestamp_millis()).unwrap_or(0))
        & 0xffff_ffff_ffff;
    let contact_age = (contact.0.as_u128() >> 80 >> 10) & 0x00ff_ffff;
    let mixed = u128::from(mix(campaign.0, contact.0, salt)) & 0x3_ffff_ffff_ffff;
    let age_high = contact_age >> 12;
    let age_low = contact_age & 0xfff;
    MessageId(Uuid::from_u128(
        start << 80 | 0x8 << 76 | age_high << 64 | 0b10 << 62 | age_low << 50 | mixed,
    ))
}

/// The id of the conversation of a number with a person: whoever opens it, from whatever the person wrote, opens the same
/// one.
///
/// A UUIDv8: the contact's own time (48 bits of milliseconds), and 74 bits mixed from both ids. Neither of them says anything
/// about anybody, so that no key is needed.
pub fn conversation_id(account: AccountId, contact: ContactId) -> ConversationId {
    let time = contact.0.as_u128() >> 80 << 80;
    let mixed =
        u128::from(mix(account.0, contact.0, 0)) << 64 | u128::from(mix(account.0, contact.0, 1));
    let high = (mixed >> 64) & 0xfff;
    let low = mixed & 0x3fff_ffff_ffff_ffff;
    ConversationId(Uuid::from_u128(time | 0x8 << 76 | high << 64 | 0b10 << 62 | low))
}

/// 64 well-spread bits of two ids and a salt (the finaliser of MurmurHash3 over each half).
fn mix(first: Uuid, second: Uuid, salt: u64) -> u64 {
    let (a, b) = first.as_u64_pair();
    let (c, d) = second.as_u64_pair();
    [a, b, c, d, salt].into_iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut h = state ^ word;
        h ^= h >> 33;
        h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
        h ^= h >> 33;
        h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^ (h >> 33)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn contact(millis: u128, rest: u128) -> ContactId {
        ContactId(Uuid::from_u128(millis << 80 | 0x7 << 76 | 0b10 << 62 | rest))
    }

    #[test]
    fn a_campaign_message_id_repeats_and_differs_by_each_input() {
        let start = Utc.with_ymd_and_hms(2026, 11, 23, 9, 0, 0).unwrap();
        let campaign = CampaignId(Uuid::from_u128(7));
        let one = message_id_of_campaign(campaign, start, contact(1_000_000, 1), 0);
        assert_eq!(one, message_id_of_campaign(campaign, start, contact(1_000_000, 1), 0));
        assert_ne!(one, message_id_of_campaign(campaign, start, contact(1_000_000, 2), 0));
        assert_ne!(one, message_id_of_campaign(campaign, start, contact(1_000_000, 1), 1));
        assert_ne!(
            one,
            message_id_of_campaign(CampaignId(Uuid::from_u128(8)), start, contact(1_000_000, 1), 0)
        );
        assert_eq!(one.0.get_version_num(), 8);
    }

    #[test]
    fn a_conversation_id_repeats_and_differs_by_number_and_person() {
        let account = |n| AccountId(Uuid::from_u128(n));
        let id = conversation_id(account(1), contact(1_763_000_000_000, 5));
        assert_eq!(id, conversation_id(account(1), contact(1_763_000_000_000, 5)));
        assert_ne!(id, conversation_id(account(2), contact(1_763_000_000_000, 5)));
        assert_ne!(id, conversation_id(account(1), contact(1_763_000_000_000, 6)));
        assert!(id < conversation_id(account(1), contact(1_763_000_000_001, 5)));
        assert_eq!(id.0.get_version_num(), 8);
        assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn campaign_message_ids_grow_with_the_start_and_then_with_the_contact() {
        let campaign = CampaignId(Uuid::from_u128(7));
        let at = |h| Utc.with_ymd_and_hms(2026, 11, 23, h, 0, 0).unwrap();
        let older = message_id_of_campaign(campaign, at(9), contact(1_763_000_000_000, 5), 0);
        let younger = message_id_of_campaign(campaign, at(9), contact(1_763_000_900_000, 5), 0);
        assert!(older < younger);
        assert!(younger < message_id_of_campaign(campaign, at(10), contact(1, 5), 0));
    }
}
