//! The contact's state and decisions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::consent::{ConsentLedger, ConsentStatus, ConsentWord, StartMeans};
use super::event::{Aliases, ContactEvent, PortfolioIdentity, Suppression};
use crate::port::AggregateType;
use crate::primitives::{ContactId, ImportId, Personal, PhoneNumber, UserId, WorkspaceId};
use crate::template::TemplateCategory;
use crate::{DomainError, GatewayAggregate, Identity, aggregate};

const MAX_NAME_CHARS: usize = 256;
const MAX_EXTERNAL_ID_CHARS: usize = 256;
const MAX_TAGS: usize = 100;
const MAX_TAG_CHARS: usize = 64;
const MAX_ATTRIBUTES: usize = 200;
const MAX_ATTRIBUTES_BYTES: usize = 32 * 1024;
/// Numbers, user ids and external ids that came with merged contacts, together.
const MAX_ALIASES: usize = 100;
/// Contacts that may have gone into one, and into those before: all of them are asked about with every message to the
/// person.
pub const HALVES_MAX: usize = 64;
const MAX_SOURCE_CHARS: usize = 256;
const MAX_EVIDENCE_CHARS: usize = 4096;
/// The source of an opt-out that comes back from before an erasure.
pub const SUPPRESSION_SOURCE: &str = "suppression list";

/// Where a contact or a change of one came from; undoing an import goes by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ContactOrigin {
    Api,
    Import {
        import_id: ImportId,
    },
    /// A message to an unknown number.
    Send,
    /// A message from somebody unknown, or WhatsApp's word of a new number or user id.
    Whatsapp,
    /// An import taken back.
    Undo {
        import_id: ImportId,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ContactId>,
    pub details: ContactDetails,
    pub tags: BTreeSet<String>,
    pub consent: ConsentLedger,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<ContactId>,
    /// Who went into this one, and who had gone into them: other ids of the same person.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub halves: BTreeSet<ContactId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ContactOrigin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}

/// What is known of a person. After an erasure every personal part is gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContactDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Personal<PhoneNumber>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identities: Option<Personal<Vec<PortfolioIdentity>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Personal<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Personal<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Personal<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Personal<BTreeMap<String, Value>>>,
    /// The person is found by them, and written to at the main number and ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Personal<Aliases>>,
}

/// Changes to a person: `None` leaves a part as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct ContactChanges {
    pub phone: Option<Option<PhoneNumber>>,
    /// Added to those known; an identity of a portfolio already known replaces it.
    pub add_identities: Vec<PortfolioIdentity>,
    pub username: Option<Option<String>>,
    pub external_id: Option<Option<String>>,
    pub name: Option<Option<String>>,
    pub language: Option<Option<String>>,
    pub time_zone: Option<Option<String>>,
    /// Merged key by key; a null value removes its key. `Some(None)` clears all.
    pub attributes: Option<Option<BTreeMap<String, Value>>>,
    /// `attributes` stand in place of the old ones instead of being merged into them.
    pub replace_attributes: bool,
    /// Numbers and ids that the person is known by too.
    pub add_aliases: Aliases,
    pub remove_aliases: Aliases,
    /// An alias that is given as the number, user id or external id becomes the main one. Otherwise it is known already and
    /// stays an alias: whoever was found by it has not changed their number.
    pub promote_aliases: bool,
    pub add_tags: BTreeSet<String>,
    pub remove_tags: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub enum ContactCommand {
    Add {
        workspace_id: WorkspaceId,
        contact_id: ContactId,
        changes: Box<ContactChanges>,
        origin: ContactOrigin,
        at: DateTime<Utc>,
    },
    Update {
        changes: Box<ContactChanges>,
        origin: ContactOrigin,
        at: DateTime<Utc>,
    },
    RecordConsent {
        category: Option<TemplateCategory>,
        status: ConsentStatus,
        source: String,
        evidence: Option<String>,
        given_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// The person said stop.
    OptOut {
        category: Option<TemplateCategory>,
        source: String,
        evidence: Option<String>,
        /// By WhatsApp's clock; what lies after `at` counts as `at`.
        said_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// The person said start. It takes back their own stop, where that was said before, and an opt-out that was recorded of
    /// them; from somebody who never stopped it is no consent to anything.
    Restart {
        category: Option<TemplateCategory>,
        source: String,
        evidence: Option<String>,
        /// By WhatsApp's clock; what lies after `at` counts as `at`.
        said_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    MarkMerged {
        into: ContactId,
        at: DateTime<Utc>,
    },
    /// These went into this one: the other side of [`Self::MarkMerged`].
    Absorb {
        halves: BTreeSet<ContactId>,
        at: DateTime<Utc>,
    },
    /// `suppressions`: keyed hashes of the identities, kept where the person had opted out of anything.
    Erase {
        reason: String,
        suppressions: Vec<Suppression>,
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    #[error("there is no such contact")]
    NotFound,
    #[error("the contact was erased")]
    Erased,
    #[error("the contact was merged into another")]
    Merged,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
}

impl DomainError for ContactError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Erased => "CONTACT_ERASED",
            Self::Merged => "CONTACT_MERGED",
            Self::Invalid { .. } => "CONTACT_INVALID",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
            Self::NotFound | Self::Erased | Self::Merged => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Erased | Self::Merged)
    }
}

aggregate!(Contact, ContactCommand, ContactEvent, ContactError, "contact");

impl GatewayAggregate for Contact {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Contact;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.workspace_id
    }

    fn subject(&self) -> Option<Uuid> {
        self.id.map(|id| id.0)
    }

    fn identities(&self) -> BTreeSet<Identity> {
        let Some(workspace) =
            self.workspace_id.filter(|_| !self.erased && self.merged_into.is_none())
        else {
            return BTreeSet::new();
        };
        let none = Aliases::default();
        let aliases = self.aliases().unwrap_or(&none);
        let phones = self.phone().into_iter().chain(&aliases.phones);
        let phones = phones.map(|phone| Identity::phone(workspace, phone));
        let users = self.portfolio_identities().iter().chain(&aliases.identities);
        let users = users.map(|identity| {
            let value = format!("{}/{}", identity.portfolio_id, identity.user_id.as_str());
            Identity::new(workspace.0, Identity::USER_ID, value)
        });
        let external_id = self.details.external_id.as_ref().and_then(Personal::known);
        let external_ids = external_id.into_iter().chain(&aliases.external_ids);
        let external_ids = external_ids
            .map(|id| Identity::new(workspace.0, Identity::CONTACT_EXTERNAL_ID, id.clone()));
        phones.chain(users).chain(external_ids).collect()
    }

    fn may_be_suppressed(identity: &Identity) -> bool {
        matches!(identity.kind, Identity::PHONE | Identity::USER_ID)
    }

    fn suppressed(&self, at: DateTime<Utc>) -> Option<ContactCommand> {
        let is_out = self.consent.status() == ConsentStatus::OptedOut;
        (!is_out && self.require_alive().is_ok()).then(|| ContactCommand::OptOut {
            category: None,
            source: SUPPRESSION_SOURCE.to_owned(),
            evidence: None,
            said_at: at,
            at,
        })
    }

    fn decide(&self, command: ContactCommand) -> Result<Vec<ContactEvent>, ContactError> {
        match command {
            ContactCommand::Add { workspace_id, contact_id, changes, origin, at } => {
                self.add(workspace_id, contact_id, *changes, origin, at)
            }
            ContactCommand::Update { changes, origin, at } => self.update(*changes, origin, at),
            ContactCommand::RecordConsent { category, status, source, evidence, given_at, at } => {
                self.record_consent(category, status, source, evidence, given_at, at)
            }
            ContactCommand::OptOut { category, source, evidence, said_at, at } => {
                self.opt_out(category, source, evidence, said_at, at)
            }
            ContactCommand::Restart { category, source, evidence, said_at, at } => {
                self.restart(category, source, evidence, said_at, at)
            }
            ContactCommand::MarkMerged { into, at } => {
                if self.merged_into == Some(into) {
                    return Ok(vec![]);
                }
                self.require_alive()?;
                Ok(vec![ContactEvent::Merged { into, at }])
            }
            ContactCommand::Absorb { halves, at } => self.absorb(halves, at),
            ContactCommand::Erase { reason, suppressions, at } => {
                if self.workspace_id.is_none() {
                    return Err(ContactError::NotFound);
                }
                if reason.trim().is_empty() || reason.chars().count() > MAX_SOURCE_CHARS {
                    return Err(invalid("reason", "say why, in 1 to 256 characters"));
                }
                Ok(if self.erased {
                    vec![]
                } else {
                    vec![ContactEvent::Erased { reason, suppressions, at }]
                })
            }
        }
    }
}

type Decision = Result<Vec<ContactEvent>, ContactError>;

impl Contact {
    pub fn phone(&self) -> Option<&PhoneNumber> {
        self.details.phone.as_ref().and_then(Personal::known)
    }

    pub fn portfolio_identities(&self) -> &[PortfolioIdentity] {
        self.details.identities.as_ref().and_then(Personal::known).map_or(&[], Vec::as_slice)
    }

    /// What the person is known by beside the main number and ids.
    pub fn aliases(&self) -> Option<&Aliases> {
        self.details.aliases.as_ref().and_then(Personal::known)
    }

    /// Whether this is a number of theirs, the main one or another.
    pub fn has_phone(&self, phone: &PhoneNumber) -> bool {
        self.phone() == Some(phone)
            || self.aliases().is_some_and(|aliases| aliases.phones.contains(phone))
    }

    /// Whether this is a user id of theirs, a portfolio's main one or another.
    pub fn has_identity(&self, identity: &PortfolioIdentity) -> bool {
        self.portfolio_identities().contains(identity)
            || self.aliases().is_some_and(|aliases| aliases.identities.contains(identity))
    }

    /// The user id to address a person by from a number of this portfolio.
    pub fn user_id_in(&self, portfolio_id: Option<&str>) -> Option<&UserId> {
        let portfolio_id = portfolio_id.unwrap_or_default();
        self.portfolio_identities()
            .iter()
            .find(|i| i.portfolio_id == portfolio_id)
            .map(|i| &i.user_id)
    }

    /// The zone, where the text is one.
    pub fn zone(&self) -> Option<chrono_tz::Tz> {
        self.details.time_zone.as_ref()?.parse().ok()
    }

    /// A zone was given and is none.
    pub fn has_bad_time_zone(&self) -> bool {
        self.details.time_zone.is_some() && self.zone().is_none()
    }

    /// The attribute of this name; where none is spelt so, the first (by code points) that differs only in upper and lower
    /// case: a file's heading was `City`, and the text says `city`.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        fn folded(text: &str) -> impl Iterator<Item = char> {
            text.chars().flat_map(char::to_lowercase)
        }
        let attributes = self.details.attributes.as_ref().and_then(Personal::known)?;
        attributes.get(key).or_else(|| {
            let alike = |(name, _): &(&String, &Value)| folded(name).eq(folded(key));
            attributes.iter().find(alike).map(|(_, value)| value)
        })
    }

    /// The attributes that say something: what is blank fills no placeholder.
    pub fn filled_attributes(&self) -> impl Iterator<Item = &str> {
        let says_something = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            _ => true,
        };
        let attributes = self.details.attributes.as_ref().and_then(Personal::known);
        let filled = attributes.into_iter().flatten();
        filled.filter(move |(_, value)| says_something(value)).map(|(name, _)| name.as_str())
    }

    /// Opted out of anything at all: worth remembering beyond an erasure.
    pub fn has_opted_out(&self) -> bool {
        self.consent.status() == ConsentStatus::OptedOut
            || self.consent.by_category.values().any(|word| word.status == ConsentStatus::OptedOut)
    }

    fn require_alive(&self) -> Result<(), ContactError> {
        if self.workspace_id.is_none() {
            return Err(ContactError::NotFound);
        }
        if self.erased {
            return Err(ContactError::Erased);
        }
        if self.merged_into.is_some() { Err(ContactError::Merged) } else { Ok(()) }
    }

    fn add(
        &self,
        workspace_id: WorkspaceId,
        contact_id: ContactId,
        changes: ContactChanges,
        origin: ContactOrigin,
        at: DateTime<Utc>,
    ) -> Decision {
        if self.workspace_id.is_some() {
            return Ok(vec![]);
        }
        let tags = checked_tags(changes.add_tags.clone())?;
        let details = self.details.changed(changes)?;
        if details.phone.is_none() && details.identities.is_none() && details.external_id.is_none()
        {
            return Err(invalid(
                "phoneNumber",
                "a contact needs a phone number, a WhatsApp user id or an external id",
            ));
        }
        let ContactDetails {
            phone,
            identities,
            username,
            external_id,
            name,
            language,
            time_zone,
            attributes,
            // A person begins with one of each.
            aliases: _,
        } = details;
        Ok(vec![ContactEvent::Added {
            workspace_id,
            contact_id,
            phone,
            identities,
            username,
            external_id,
            name,
            language,
            time_zone,
            attributes,
            tags,
            origin,
            at,
        }])
    }

    fn update(
        &self,
        changes: ContactChanges,
        origin: ContactOrigin,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_alive()?;
        let mut events = vec![];
        let add: BTreeSet<String> =
            checked_tags(changes.add_tags.clone())?.difference(&self.tags).cloned().collect();
        let remove: BTreeSet<String> =
            changes.remove_tags.intersection(&self.tags).cloned().collect();
        if self.tags.len() + add.len() > MAX_TAGS + remove.len() {
            return Err(invalid("addTags", "a contact has at most 100 tags"));
        }
        let details = self.details.changed(changes)?;
        if details != self.details {
            let ContactDetails {
                phone,
                identities,
                username,
                external_id,
                name,
                language,
                time_zone,
                attributes,
                aliases,
            } = details;
            events.push(ContactEvent::Updated {
                phone,
                identities,
                username,
                external_id,
                name,
                language,
                time_zone,
                attributes,
                aliases,
                origin: origin.clone(),
                at,
            });
        }
        if !remove.is_empty() {
            events.push(ContactEvent::Untagged { tags: remove, origin: origin.clone(), at });
        }
        if !add.is_empty() {
            events.push(ContactEvent::Tagged { tags: add, origin, at });
        }
        Ok(events)
    }

    fn absorb(&self, mut halves: BTreeSet<ContactId>, at: DateTime<Utc>) -> Decision {
        self.require_alive()?;
        halves.retain(|half| Some(*half) != self.id && !self.halves.contains(half));
        if self.halves.len() + halves.len() > HALVES_MAX {
            let problem = format!("at most {HALVES_MAX} contacts can go into one, all told");
            return Err(invalid("merge", &problem));
        }
        Ok(if halves.is_empty() { vec![] } else { vec![ContactEvent::Absorbed { halves, at }] })
    }

    fn record_consent(
        &self,
        category: Option<TemplateCategory>,
        status: ConsentStatus,
        source: String,
        evidence: Option<String>,
        given_at: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_alive()?;
        check_source(&source, evidence.as_ref())?;
        if given_at > at {
            return Err(invalid("occurredAt", "consent cannot be given in the future"));
        }
        let event = ContactEvent::ConsentRecorded {
            category,
            status,
            source,
            evidence: evidence.map(Personal::from),
            given_at,
            by_person: false,
            at,
        };
        // A word that is on record already, or that a younger one has overruled, is no news.
        let is_news = !self.consent_after(&event).says_the_same(&self.consent);
        Ok(if is_news { vec![event] } else { vec![] })
    }

    fn opt_out(
        &self,
        category: Option<TemplateCategory>,
        source: String,
        evidence: Option<String>,
        said_at: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_alive()?;
        check_source(&source, evidence.as_ref())?;
        let said_at = said_at.min(at);
        let event = ContactEvent::OptedOut {
            category,
            source,
            evidence: evidence.map(Personal::from),
            said_at: (said_at != at).then_some(said_at),
            at,
        };
        let after = self.consent_after(&event);
        if !self.consent.is_news_of_stop(&after, category, said_at) {
            return Ok(vec![]);
        }
        // What they said after it and we read before it holds again, for whoever reads the log by itself too.
        let restarts = after.starts_after_stop(&self.consent, category, said_at);
        let restarts = restarts.into_iter().map(|(category, word)| {
            let ConsentWord { source, evidence, given_at, .. } = word;
            ContactEvent::ConsentRecorded {
                category,
                status: ConsentStatus::OptedIn,
                source,
                evidence,
                given_at,
                by_person: true,
                at,
            }
        });
        Ok(std::iter::once(event).chain(restarts).collect())
    }

    fn restart(
        &self,
        category: Option<TemplateCategory>,
        source: String,
        evidence: Option<String>,
        said_at: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_alive()?;
        check_source(&source, evidence.as_ref())?;
        let (said_at, evidence) = (said_at.min(at), evidence.map(Personal::from));
        let status = ConsentStatus::OptedIn;
        let word = ContactEvent::word(status, source.clone(), evidence.clone(), said_at);
        Ok(match self.consent.meaning_of_start(category, &word) {
            StartMeans::Nothing => vec![],
            StartMeans::Noted => {
                vec![ContactEvent::StartNoted { category, source, evidence, said_at, at }]
            }
            StartMeans::OptIn => vec![ContactEvent::ConsentRecorded {
                category,
                status,
                source,
                evidence,
                given_at: said_at,
                by_person: true,
                at,
            }],
        })
    }

    fn consent_after(&self, event: &ContactEvent) -> ConsentLedger {
        let mut after = self.clone();
        after.fold(event.clone());
        after.consent
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: ContactEvent) {
        match event {
            ContactEvent::Added {
                workspace_id,
                contact_id,
                phone,
                identities,
                username,
                external_id,
                name,
                language,
                time_zone,
                attributes,
                tags,
                origin,
                at,
            } => {
                *self = Self {
                    workspace_id: Some(workspace_id),
                    id: Some(contact_id),
                    details: ContactDetails {
                        phone,
                        identities,
                        username,
                        external_id,
                        name,
                        language,
                        time_zone,
                        attributes,
                        aliases: None,
                    },
                    tags,
                    origin: Some(origin),
                    created_at: Some(at),
                    ..Self::default()
                };
            }
            ContactEvent::Updated {
                phone,
                identities,
                username,
                external_id,
                name,
                language,
                time_zone,
                attributes,
                aliases,
                ..
            } => {
                self.details = ContactDetails {
                    phone,
                    identities,
                    username,
                    external_id,
                    name,
                    language,
                    time_zone,
                    attributes,
                    aliases,
                };
            }
            ContactEvent::Tagged { tags, .. } => self.tags.extend(tags),
            ContactEvent::Untagged { tags, .. } => self.tags.retain(|tag| !tags.contains(tag)),
            ContactEvent::ConsentRecorded {
                category,
                status,
                source,
                evidence,
                given_at,
                by_person,
                ..
            } => {
                let word = ContactEvent::word(status, source, evidence, given_at);
                match by_person {
                    true => self.consent.hear_start(category, word, true),
                    false => self.consent.fold(category, word),
                }
            }
            ContactEvent::StartNoted { category, source, evidence, said_at, .. } => {
                let status = ConsentStatus::OptedIn;
                let word = ContactEvent::word(status, source, evidence, said_at);
                self.consent.hear_start(category, word, false);
            }
            ContactEvent::OptedOut { category, source, evidence, said_at, at } => {
                let (status, said_at) = (ConsentStatus::OptedOut, said_at.unwrap_or(at));
                let word = ContactEvent::word(status, source, evidence, said_at);
                self.consent.hear_stop(category, word, at);
            }
            ContactEvent::Merged { into, .. } => self.merged_into = Some(into),
            ContactEvent::Absorbed { halves, .. } => self.halves.extend(halves),
            ContactEvent::Erased { .. } => {
                self.erased = true;
                self.details = ContactDetails {
                    language: self.details.language.take(),
                    time_zone: self.details.time_zone.take(),
                    ..ContactDetails::default()
                };
                self.tags.clear();
                self.consent.erase_evidence();
            }
        }
    }
}

impl ContactDetails {
    fn changed(&self, mut changes: ContactChanges) -> Result<Self, ContactError> {
        let mut details = self.clone();
        let mut aliases = details.aliases.take().and_then(Personal::into_known).unwrap_or_default();
        if !changes.promote_aliases {
            self.drop_known(&mut changes, &aliases);
        }
        if let Some(phone) = changes.phone {
            details.phone = phone.map(Personal::from);
        }
        if !changes.add_identities.is_empty() {
            let mut known =
                details.identities.take().and_then(Personal::into_known).unwrap_or_default();
            for identity in changes.add_identities {
                known.retain(|other| other.portfolio_id != identity.portfolio_id);
                known.push(identity);
            }
            details.identities = Some(known.into());
        }
        if let Some(username) = changes.username {
            details.username = username.map(Personal::from);
        }
        if let Some(external_id) = changes.external_id {
            check_length("externalId", external_id.as_deref(), MAX_EXTERNAL_ID_CHARS)?;
            details.external_id = external_id.map(Personal::from);
        }
        if let Some(name) = changes.name {
            check_length("name", name.as_deref(), MAX_NAME_CHARS)?;
            details.name = name.map(Personal::from);
        }
        if let Some(language) = changes.language {
            check_length("language", language.as_deref(), 35)?;
            details.language = language;
        }
        if let Some(time_zone) = changes.time_zone {
            check_length("timeZone", time_zone.as_deref(), 64)?;
            details.time_zone = time_zone;
        }
        match changes.attributes {
            None => {}
            Some(None) => details.attributes = None,
            Some(Some(given)) => {
                let known = details.attributes.take().and_then(Personal::into_known);
                let mut known = known.filter(|_| !changes.replace_attributes).unwrap_or_default();
                for (key, value) in given {
                    if key.is_empty() || key.chars().count() > 128 {
                        return Err(invalid(
                            "attributes",
                            "names of attributes have 1 to 128 characters",
                        ));
                    }
                    if value.is_null() {
                        known.remove(&key)
                    } else {
                        known.insert(key, value)
                    };
                }
                let bytes = serde_json::to_string(&known).map_or(usize::MAX, |json| json.len());
                if known.len() > MAX_ATTRIBUTES || bytes > MAX_ATTRIBUTES_BYTES {
                    return Err(invalid(
                        "attributes",
                        "a contact has at most 200 attributes and 32 kB of them",
                    ));
                }
                details.attributes = (!known.is_empty()).then(|| known.into());
            }
        }
        let gone = changes.remove_aliases;
        aliases.phones.retain(|phone| !gone.phones.contains(phone));
        aliases.identities.retain(|identity| !gone.identities.contains(identity));
        aliases.external_ids.retain(|id| !gone.external_ids.contains(id));
        details.set_aliases(aliases, changes.add_aliases)?;
        Ok(details)
    }

    /// Takes out of the changes what is an alias already.
    fn drop_known(&self, changes: &mut ContactChanges, aliases: &Aliases) {
        let is_alias = |phone: &Option<PhoneNumber>| {
            self.phone.is_some()
                && phone.as_ref().is_some_and(|phone| aliases.phones.contains(phone))
        };
        if changes.phone.as_ref().is_some_and(is_alias) {
            changes.phone = None;
        }
        changes.add_identities.retain(|identity| !aliases.identities.contains(identity));
        let is_alias = |id: &Option<String>| {
            self.external_id.is_some()
                && id.as_ref().is_some_and(|id| aliases.external_ids.contains(id))
        };
        if changes.external_id.as_ref().is_some_and(is_alias) {
            changes.external_id = None;
        }
    }

    /// Each once, and none that is a main one.
    fn set_aliases(&mut self, mut aliases: Aliases, more: Aliases) -> Result<(), ContactError> {
        fn add<T: PartialEq>(known: &mut Vec<T>, more: Vec<T>, main: &[T]) {
            for one in more {
                if !known.contains(&one) {
                    known.push(one);
                }
            }
            known.retain(|one| !main.contains(one));
        }
        fn main<T: Clone>(value: &Option<Personal<T>>) -> Vec<T> {
            value.as_ref().and_then(Personal::known).cloned().into_iter().collect()
        }
        let users =
            self.identities.as_ref().and_then(Personal::known).map_or(&[][..], Vec::as_slice);
        add(&mut aliases.phones, more.phones, &main(&self.phone));
        add(&mut aliases.identities, more.identities, users);
        add(&mut aliases.external_ids, more.external_ids, &main(&self.external_id));
        if aliases.len() > MAX_ALIASES {
            return Err(invalid(
                "merge",
                "a contact has at most 100 further numbers and ids from contacts merged into it",
            ));
        }
        self.aliases = (!aliases.is_empty()).then(|| aliases.into());
        Ok(())
    }
}

fn invalid(field: &'static str, problem: &str) -> ContactError {
    ContactError::Invalid { field, problem: problem.to_owned() }
}

fn check_length(
    field: &'static str,
    text: Option<&str>,
    max_chars: usize,
) -> Result<(), ContactError> {
    match text {
        Some(text) if text.trim().is_empty() || text.chars().count() > max_chars => {
            Err(invalid(field, &format!("use 1 to {max_chars} characters, or null to clear it")))
        }
        _ => Ok(()),
    }
}

fn checked_tags(tags: BTreeSet<String>) -> Result<BTreeSet<String>, ContactError> {
    let tags: BTreeSet<String> = tags.iter().map(|tag| tag.trim().to_owned()).collect();
    if tags.len() > MAX_TAGS
        || tags.iter().any(|tag| tag.is_empty() || tag.chars().count() > MAX_TAG_CHARS)
    {
        return Err(invalid("tags", "at most 100 tags of 1 to 64 characters each"));
    }
    Ok(tags)
}

fn check_source(source: &str, evidence: Option<&String>) -> Result<(), ContactError> {
    if source.trim().is_empty() || source.chars().count() > MAX_SOURCE_CHARS {
        return Err(invalid("source", "say where the word came from, in 1 to 256 characters"));
    }
    if evidence.is_some_and(|evidence| evidence.chars().count() > MAX_EVIDENCE_CHARS) {
        return Err(invalid("evidence", "at most 4,096 characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attribute_is_found_as_it_is_spelt_and_else_whatever_its_case() {
        let attributes =
            [("City", "Köln"), ("city", "Bonn"), ("Größe", "M"), ("STREET", "A"), ("Street", "B")];
        let attributes: BTreeMap<String, Value> =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut contact = Contact::default();
        contact.details.attributes = Some(attributes.into());
        let found = |key: &str| contact.attribute(key).and_then(Value::as_str);
        assert_eq!((found("City"), found("city")), (Some("Köln"), Some("Bonn")));
        // Of several that differ in case only, the first by code points.
        assert_eq!((found("CITY"), found("street")), (Some("Köln"), Some("A")));
        assert_eq!((found("GRÖSSE"), found("GRößE")), (None, Some("M")));
        assert_eq!((found("cit"), found("")), (None, None));
    }

    fn id(n: u32) -> ContactId {
        ContactId(Uuid::from_u128(n.into()))
    }

    fn ids(range: std::ops::Range<u32>) -> BTreeSet<ContactId> {
        range.map(id).collect()
    }

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    /// A contact with the id 1 to whom this was done.
    fn given(commands: Vec<ContactCommand>) -> Contact {
        let changes = ContactChanges {
            phone: Some(Some(PhoneNumber::parse("+4915112345678").unwrap())),
            ..ContactChanges::default()
        };
        let add = ContactCommand::Add {
            workspace_id: WorkspaceId(Uuid::from_u128(9)),
            contact_id: id(1),
            changes: Box::new(changes),
            origin: ContactOrigin::Api,
            at: at(),
        };
        let mut contact = Contact::default();
        for command in std::iter::once(add).chain(commands) {
            for event in contact.decide(command).unwrap() {
                contact.fold(event);
            }
        }
        contact
    }

    fn absorb(halves: BTreeSet<ContactId>) -> ContactCommand {
        ContactCommand::Absorb { halves, at: at() }
    }

    #[test]
    fn who_went_into_a_contact_is_recorded_once_and_never_the_contact_itself() {
        let contact = given(vec![absorb(ids(2..4))]);
        assert_eq!(contact.halves, ids(2..4));
        assert_eq!(contact.decide(absorb(ids(2..4))), Ok(vec![]));
        let news = contact.decide(absorb(ids(1..5)));
        assert_eq!(news, Ok(vec![ContactEvent::Absorbed { halves: ids(4..5), at: at() }]));
    }

    #[test]
    fn a_person_of_too_many_contacts_takes_in_no_more() {
        let most = u32::try_from(HALVES_MAX).unwrap();
        let full = given(vec![absorb(ids(2..most + 2))]);
        assert_eq!(full.halves.len(), HALVES_MAX);
        // What is known already is done.
        assert_eq!(full.decide(absorb(ids(2..4))), Ok(vec![]));
        let refused = full.decide(absorb(ids(most + 2..most + 3))).unwrap_err();
        assert_eq!(refused.field().as_deref(), Some("merge"));
        // All or none: half of a merge is no merge.
        let almost = given(vec![absorb(ids(2..most + 1))]);
        assert!(almost.decide(absorb(ids(most + 1..most + 3))).is_err());
    }

    #[test]
    fn who_is_merged_or_erased_takes_nobody_in() {
        let merged = given(vec![ContactCommand::MarkMerged { into: id(7), at: at() }]);
        assert_eq!(merged.decide(absorb(ids(2..3))), Err(ContactError::Merged));
        let erase =
            ContactCommand::Erase { reason: "asked".to_owned(), suppressions: vec![], at: at() };
        let erased = given(vec![absorb(ids(2..3)), erase]);
        assert_eq!(erased.decide(absorb(ids(3..4))), Err(ContactError::Erased));
        assert_eq!(erased.halves, ids(2..3), "ids are nobody's data");
        assert_eq!(Contact::default().decide(absorb(ids(2..3))), Err(ContactError::NotFound));
    }

    #[test]
    fn a_state_from_before_halves_were_known_reads_and_without_any_is_written_as_before() {
        let mut state = serde_json::to_value(given(vec![])).unwrap();
        assert_eq!(state.get("halves"), None);
        state["merged_into"] = json!(id(7));
        let read: Contact = serde_json::from_value(state).unwrap();
        assert_eq!((read.merged_into, read.halves), (Some(id(7)), BTreeSet::new()));
    }
}
