//! Facts about one person.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::aggregate::ContactOrigin;
use super::consent::{ConsentStatus, ConsentWord};
use crate::primitives::{ContactId, Personal, PhoneNumber, UserId, WorkspaceId};
use crate::template::TemplateCategory;

/// WhatsApp's user ids hold within one business portfolio.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PortfolioIdentity {
    pub portfolio_id: String,
    pub user_id: UserId,
}

/// What else somebody is known by: the numbers and ids of contacts who were merged into this one. Each is theirs alone, as
/// the main ones are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Aliases {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phones: Vec<PhoneNumber>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<PortfolioIdentity>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_ids: Vec<String>,
}

impl Aliases {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All kinds together.
    pub fn len(&self) -> usize {
        self.phones.len() + self.identities.len() + self.external_ids.len()
    }
}

/// An opt-out that outlives an erasure, by keyed hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suppression {
    pub kind: String,
    /// Hexadecimal.
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ContactEvent {
    #[serde(rename = "contact.added")]
    Added {
        workspace_id: WorkspaceId,
        contact_id: ContactId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phone: Option<Personal<PhoneNumber>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identities: Option<Personal<Vec<PortfolioIdentity>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<Personal<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id: Option<Personal<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Personal<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// As given: a bad zone never loses a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attributes: Option<Personal<BTreeMap<String, Value>>>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        tags: BTreeSet<String>,
        origin: ContactOrigin,
        at: DateTime<Utc>,
    },
    /// The whole of what can change, as it is from now on.
    #[serde(rename = "contact.updated")]
    Updated {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phone: Option<Personal<PhoneNumber>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identities: Option<Personal<Vec<PortfolioIdentity>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<Personal<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id: Option<Personal<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Personal<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attributes: Option<Personal<BTreeMap<String, Value>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        aliases: Option<Personal<Aliases>>,
        origin: ContactOrigin,
        at: DateTime<Utc>,
    },
    #[serde(rename = "contact.tagged")]
    Tagged { tags: BTreeSet<String>, origin: ContactOrigin, at: DateTime<Utc> },
    #[serde(rename = "contact.untagged")]
    Untagged { tags: BTreeSet<String>, origin: ContactOrigin, at: DateTime<Utc> },
    /// The business says what the person agreed to; or the person took their stop back.
    #[serde(rename = "contact.consent_recorded")]
    ConsentRecorded {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category: Option<TemplateCategory>,
        status: ConsentStatus,
        source: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Personal<String>>,
        /// When the person gave it.
        given_at: DateTime<Utc>,
        /// The person said so themself, at `given_at`: what they said last holds, in whichever order it came.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_person: bool,
        at: DateTime<Utc>,
    },
    /// The person said start, and it answers no stop that is known: no consent to anything. It is kept, since a stop that
    /// was said before it may still be on its way.
    #[serde(rename = "contact.start_noted")]
    StartNoted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category: Option<TemplateCategory>,
        source: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Personal<String>>,
        said_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// The person said stop, or WhatsApp says that they did.
    #[serde(rename = "contact.opted_out")]
    OptedOut {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category: Option<TemplateCategory>,
        source: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Personal<String>>,
        /// When they said it, by WhatsApp's clock; absent: `at`, which is when it was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said_at: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    },
    /// This one went into another.
    #[serde(rename = "contact.merged")]
    Merged { into: ContactId, at: DateTime<Utc> },
    /// Others went into this one, and whoever had gone into them before.
    #[serde(rename = "contact.absorbed")]
    Absorbed { halves: BTreeSet<ContactId>, at: DateTime<Utc> },
    /// The key is destroyed with this event: everything personal before it is unreadable from now on.
    #[serde(rename = "contact.erased")]
    Erased {
        reason: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        suppressions: Vec<Suppression>,
        at: DateTime<Utc>,
    },
}

crate::events!(ContactEvent {
    Added => "contact.added" v 1,
    Updated => "contact.updated" v 1,
    Tagged => "contact.tagged" v 1,
    Untagged => "contact.untagged" v 1,
    ConsentRecorded => "contact.consent_recorded" v 1,
    StartNoted => "contact.start_noted" v 1,
    OptedOut => "contact.opted_out" v 1,
    Merged => "contact.merged" v 1,
    Absorbed => "contact.absorbed" v 1,
    Erased => "contact.erased" v 1,
});

impl ContactEvent {
    pub(super) fn word(
        status: ConsentStatus,
        source: String,
        evidence: Option<Personal<String>>,
        given_at: DateTime<Utc>,
    ) -> ConsentWord {
        ConsentWord { status, source, evidence, given_at }
    }
}
