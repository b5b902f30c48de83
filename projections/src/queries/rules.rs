//! Segments' rules over rows: what SQL can say of them, and the facts for the rest.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::contact::{ConsentStatus, Contact};
use domain::message::MessageStatus;
use domain::primitives::CampaignId;
use domain::segment::{LastMessage, MessageOutcome, Rule, RuleFacts};
use serde_json::Value;
use uuid::Uuid;

use super::QueryError;
use crate::messages::from_text;
use crate::store::{ReadDb, Row, Sql, StoreError};

/// A condition on `{contacts}` that holds wherever the rule does.
pub(super) struct Prefilter {
    /// `None`: everybody.
    pub sql: Option<Sql>,
    /// It holds nowhere else.
    pub is_exact: bool,
}

impl Prefilter {
    fn exact(sql: Sql) -> Self {
        Self { sql: Some(sql), is_exact: true }
    }

    fn everybody() -> Self {
        Self { sql: None, is_exact: false }
    }

    pub fn of(rule: &Rule, workspace: Uuid) -> Self {
        match rule {
            Rule::Tag(tag) => Self::exact(has_tag(workspace, tag)),
            Rule::Consent(status) => {
                Self::exact(Sql::new("consent_status = ?").with(status.as_str()))
            }
            Rule::TimeZone(zone) => {
                Self::exact(Sql::new("COALESCE(time_zone, '') = ?").with(zone.as_str()))
            }
            Rule::All(rules) => {
                let parts: Vec<Self> = rules.iter().map(|rule| Self::of(rule, workspace)).collect();
                let is_exact = parts.iter().all(|part| part.is_exact);
                let known: Vec<Sql> = parts.into_iter().filter_map(|part| part.sql).collect();
                Self { sql: joined(known, " AND "), is_exact }
            }
            Rule::Any(rules) => {
                let parts: Vec<Self> = rules.iter().map(|rule| Self::of(rule, workspace)).collect();
                let is_exact = parts.iter().all(|part| part.is_exact);
                match parts.into_iter().map(|part| part.sql).collect::<Option<Vec<Sql>>>() {
                    Some(known) => Self { sql: joined(known, " OR "), is_exact },
                    None => Self::everybody(),
                }
            }
            Rule::Not(rules) => {
                let parts: Vec<Self> = rules.iter().map(|rule| Self::of(rule, workspace)).collect();
                if !parts.iter().all(|part| part.is_exact) {
                    return Self::everybody();
                }
                let known = parts.into_iter().filter_map(|part| part.sql).collect();
                match joined(known, " OR ") {
                    Some(any) => {
                        let mut none = Sql::new("NOT ");
                        none.append(any);
                        Self::exact(none)
                    }
                    None => Self::everybody(),
                }
            }
            Rule::Language(_) => {
                Self { sql: Some(Sql::new("language IS NOT NULL")), is_exact: false }
            }
            Rule::Attribute { .. } | Rule::LastMessage { .. } | Rule::Campaign { .. } => {
                Self::everybody()
            }
        }
    }
}

fn has_tag(workspace: Uuid, tag: &str) -> Sql {
    Sql::new(
        "EXISTS (SELECT 1 FROM {contact_tags} AS t \
         WHERE t.workspace_id = ? AND t.tag = ? AND t.contact_id = {contacts}.id)",
    )
    .with(workspace)
    .with(tag)
}

/// The parts in brackets, `None` where there are none.
pub(super) fn joined(parts: Vec<Sql>, with: &str) -> Option<Sql> {
    if parts.is_empty() {
        return None;
    }
    let mut sql = Sql::new("(");
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            sql.push(with);
        }
        sql.append(part);
    }
    sql.push(")");
    Some(sql)
}

/// Tags of which everybody whom the rule holds for has one; `None` where there are no such tags.
pub(super) fn leading_tags(rule: &Rule) -> Option<BTreeSet<String>> {
    match rule {
        Rule::Tag(tag) => Some(BTreeSet::from([tag.clone()])),
        Rule::All(rules) => rules.iter().find_map(leading_tags),
        Rule::Any(rules) => {
            let tags = rules.iter().map(leading_tags).collect::<Option<Vec<_>>>()?;
            Some(tags.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// Which facts beyond the contact itself a rule asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    last_message: bool,
    campaigns: bool,
}

impl Needs {
    pub fn of(rule: &Rule) -> Self {
        match rule {
            Rule::All(rules) | Rule::Any(rules) | Rule::Not(rules) => {
                rules.iter().map(Self::of).fold(Self::default(), Self::and)
            }
            Rule::LastMessage { .. } => Self { last_message: true, campaigns: false },
            Rule::Campaign { .. } => Self { last_message: false, campaigns: true },
            _ => Self::default(),
        }
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            last_message: self.last_message || other.last_message,
            campaigns: self.campaigns || other.campaigns,
        }
    }
}

/// What the messages say about some contacts.
#[derive(Default)]
pub(super) struct MessageFacts {
    last: HashMap<Uuid, LastMessage>,
    /// The youngest of each contact, with when it was planned.
    campaigns: HashMap<(Uuid, CampaignId), (DateTime<Utc>, MessageOutcome)>,
}

impl MessageFacts {
    /// About these people, whatever went to a contact that is one of them by now.
    pub async fn load(
        db: &ReadDb,
        needs: Needs,
        contacts: impl IntoIterator<Item = (Uuid, &Contact)>,
    ) -> Result<Self, QueryError> {
        let contacts: Vec<Uuid> =
            contacts.into_iter().flat_map(|(id, contact)| everyone(id, contact)).collect();
        let mut facts = Self::default();
        if needs.last_message {
            let rows = db
                .query_chunked(contacts.iter().copied(), |ids| {
                    Sql::new(
                        "SELECT m.contact_id, m.status, m.replied_at, m.clicked_at, m.created_at \
                         FROM {contacts} AS c \
                         JOIN {messages} AS m ON m.id = (SELECT y.id FROM {messages} AS y \
                         WHERE y.contact_id = c.id AND y.direction = 0 \
                         ORDER BY y.created_at DESC, y.id DESC LIMIT 1) WHERE c.id ?*",
                    )
                    .with_list(ids)
                })
                .await?;
            for row in rows {
                let last = LastMessage { outcome: outcome(&row, 1)?, at: row.instant(4)? };
                facts.last.insert(row.uuid(0)?, last);
            }
        }
        if needs.campaigns {
            // The youngest last, so that it stays.
            let rows = db
                .query_chunked(contacts.iter().copied(), |ids| {
                    Sql::new(
                        "SELECT contact_id, campaign_id, status, replied_at, clicked_at, created_at \
                         FROM {messages} \
                         WHERE contact_id ?* AND COALESCE(campaign_id, campaign_id) IS NOT NULL \
                         AND is_test = 0 AND direction = 0 ORDER BY created_at, id",
                    )
                    .with_list(ids)
                })
                .await?;
            for row in rows {
                let key = (row.uuid(0)?, CampaignId(row.uuid(1)?));
                facts.campaigns.insert(key, (row.instant(5)?, outcome(&row, 2)?));
            }
        }
        Ok(facts)
    }

    pub fn about<'a>(&'a self, id: Uuid, contact: &'a Contact) -> ContactFacts<'a> {
        ContactFacts { id, contact, messages: self }
    }
}

/// A contact, and those who went into it.
fn everyone(id: Uuid, contact: &Contact) -> impl Iterator<Item = Uuid> + '_ {
    std::iter::once(id).chain(contact.halves.iter().map(|half| half.0))
}

/// From three columns: the status, and when the person answered and tapped.
fn outcome(row: &Row, column: usize) -> Result<MessageOutcome, StoreError> {
    Ok(MessageOutcome {
        status: from_text(row.text(column)?, column)?,
        is_replied: row.opt_instant(column + 1)?.is_some(),
        is_clicked: row.opt_instant(column + 2)?.is_some(),
    })
}

/// All that a rule may ask about one contact.
pub(super) struct ContactFacts<'a> {
    pub id: Uuid,
    pub contact: &'a Contact,
    messages: &'a MessageFacts,
}

impl RuleFacts for ContactFacts<'_> {
    fn has_tag(&self, tag: &str) -> bool {
        self.contact.tags.contains(tag)
    }

    fn attribute(&self, key: &str) -> Option<&Value> {
        self.contact.attribute(key)
    }

    fn consent(&self) -> ConsentStatus {
        self.contact.consent.status()
    }

    fn language(&self) -> Option<&str> {
        self.contact.details.language.as_deref()
    }

    fn time_zone(&self) -> Option<&str> {
        self.contact.details.time_zone.as_deref()
    }

    fn last_message(&self) -> Option<LastMessage> {
        let last = everyone(self.id, self.contact).filter_map(|id| self.messages.last.get(&id));
        last.max_by_key(|last| last.at).copied()
    }

    fn campaign(&self, id: CampaignId) -> Option<MessageOutcome> {
        let everyone = everyone(self.id, self.contact);
        let known = everyone.filter_map(|contact| self.messages.campaigns.get(&(contact, id)));
        // Who is left out as one of their contacts may have got it as another.
        let known =
            known.max_by_key(|(at, outcome)| (outcome.status != MessageStatus::Skipped, *at));
        known.map(|(_, outcome)| *outcome)
    }
}
