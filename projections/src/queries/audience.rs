//! Whom a campaign goes to: a union of segments, contacts and tags less what is excluded, in contact-id order, page by
//! page, so that an audience of millions is never held in memory.

use std::collections::{BTreeMap, BTreeSet};

use domain::campaign::Audience;
use domain::contact::{Contact, HALVES_MAX};
use domain::delivery::fills;
use domain::port::Position;
use domain::primitives::{ContactId, SegmentId};
use domain::segment::Rule;
use uuid::Uuid;

use super::contacts::SCAN;
use super::rules::{ContactFacts, MessageFacts, Needs, Prefilter, joined, leading_tags};
use super::{Queries, QueryError, Scope, Stored};
use crate::store::{Row, Sql, StoreError};

/// Contacts that one page looks at, at most.
const LOOK_AT_MAX: usize = 50_000;

/// An audience with all that judging it needs: the segments' rules, and merged contacts replaced by those they went into.
#[derive(Clone, Debug)]
pub struct AudienceQuery {
    pub workspace_id: Uuid,
    pub audience: Audience,
    pub rules: BTreeMap<SegmentId, Rule>,
    /// Contacts added to the log after this position are out.
    pub added_up_to: Option<Position>,
}

/// Some of an audience.
#[derive(Clone, Debug, PartialEq)]
pub struct AudiencePage {
    /// In id order. Erased ones only where the audience names them.
    pub contacts: Vec<Stored<Contact>>,
    /// Where the next page begins: behind this contact, which need not be in the audience.
    pub cursor: Option<ContactId>,
    /// Nobody comes after.
    pub is_last: bool,
}

/// What a look through an audience found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudienceSurvey {
    /// How many are in it; counting ends at what was asked for.
    pub people: u64,
    /// The paths that nobody in it fills.
    pub unfilled: BTreeSet<String>,
}

impl Queries {
    /// Looks up what judging an audience needs.
    ///
    /// # Errors
    /// [`QueryError::UnknownSegment`] where it names one that is not there or was deleted.
    pub async fn audience(
        &self,
        workspace_id: Uuid,
        audience: &Audience,
        added_up_to: Option<Position>,
    ) -> Result<AudienceQuery, QueryError> {
        let mut audience = audience.clone();
        self.follow_merges(&mut audience).await?;
        let mut ids = BTreeSet::new();
        segments_of(&audience, &mut ids);
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let mut found = self.segments_by_id(&Scope::workspace(workspace_id), &wanted).await?;
        let mut rules = BTreeMap::new();
        for id in ids {
            let segment = found.remove(&id.0).filter(|segment| !segment.state.deleted);
            let segment = segment.ok_or(QueryError::UnknownSegment(id))?;
            let rule = segment.state.parsed().map_err(|_| QueryError::UnreadableRule(id))?;
            rules.insert(id, rule);
        }
        Ok(AudienceQuery { workspace_id, audience, rules, added_up_to })
    }

    async fn follow_merges(&self, audience: &mut Audience) -> Result<(), QueryError> {
        let mut part = Some(audience);
        while let Some(audience) = part {
            // One after the other, at worst.
            for _ in 0..=HALVES_MAX {
                let ids = audience.contact_ids.iter().map(|id| id.0);
                let merged = self
                    .db
                    .query_chunked(ids, |ids| {
                        Sql::new(
                            "SELECT id, merged_into FROM {contacts} \
                             WHERE id ?* AND merged_into IS NOT NULL",
                        )
                        .with_list(ids)
                    })
                    .await?;
                if merged.is_empty() {
                    break;
                }
                for row in merged {
                    audience.contact_ids.remove(&ContactId(row.uuid(0)?));
                    audience.contact_ids.insert(ContactId(row.uuid(1)?));
                }
            }
            part = audience.exclude.as_deref_mut();
        }
        Ok(())
    }

    /// The audience's contacts after `after`, in id order. Fewer than `limit` say nothing; [`AudiencePage::is_last`]
    /// does.
    pub async fn audience_page(
        &self,
        query: &AudienceQuery,
        after: Option<ContactId>,
        limit: usize,
    ) -> Result<AudiencePage, QueryError> {
        let mut page = AudiencePage { contacts: Vec::new(), cursor: after, is_last: false };
        let needs = query.needs();
        let chunk = limit.clamp(1, SCAN);
        for _ in 0..LOOK_AT_MAX.div_ceil(chunk) {
            let candidates = self.candidates(query, page.cursor, chunk).await?;
            let stored = |row: &Row| {
                Ok(Stored { id: row.uuid(0)?, sequence: row.count(1)?, state: row.doc(2)? })
            };
            let stored: Vec<Stored<Contact>> =
                candidates.rows.iter().map(stored).collect::<Result<_, StoreError>>()?;
            let people = stored.iter().map(|stored| (stored.id, &*stored.state));
            let facts = MessageFacts::load(&self.db, needs, people).await?;
            for stored in stored {
                if page.contacts.len() == limit {
                    return Ok(page);
                }
                page.cursor = Some(ContactId(stored.id));
                if query.includes(&facts.about(stored.id, &stored.state)) {
                    page.contacts.push(stored);
                }
            }
            page.cursor = candidates.last.or(page.cursor);
            if candidates.is_end {
                page.is_last = true;
                return Ok(page);
            }
            if page.contacts.len() == limit {
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// How many are in the audience; counting ends at `most`.
    pub async fn audience_count(
        &self,
        query: &AudienceQuery,
        most: u64,
    ) -> Result<u64, QueryError> {
        Ok(self.audience_survey(query, most, BTreeSet::new()).await?.people)
    }

    /// How many are in the audience, up to `most`, and which of `paths` (placeholders' paths) nobody in it fills. Ends as
    /// soon as both are known.
    pub async fn audience_survey(
        &self,
        query: &AudienceQuery,
        most: u64,
        paths: BTreeSet<String>,
    ) -> Result<AudienceSurvey, QueryError> {
        let mut survey = AudienceSurvey { people: 0, unfilled: paths };
        let mut after = None;
        loop {
            let page = self.audience_page(query, after, SCAN).await?;
            survey.people = (survey.people + page.contacts.len() as u64).min(most);
            for stored in &page.contacts {
                survey.unfilled.retain(|path| !fills(&stored.state, path));
            }
            if page.is_last || (survey.people >= most && survey.unfilled.is_empty()) {
                return Ok(survey);
            }
            after = page.cursor;
        }
    }

    /// The next of those who may be in the audience and are worth a closer look.
    async fn candidates(
        &self,
        query: &AudienceQuery,
        after: Option<ContactId>,
        limit: usize,
    ) -> Result<Candidates, QueryError> {
        let mut sql = Sql::new(
            "SELECT id, sequence, doc FROM {contacts} WHERE workspace_id = ? AND merged_into IS NULL",
        )
        .with(query.workspace_id);
        if let Some(position) = query.added_up_to {
            sql.push(" AND added_at <= ?").bind(position.0);
        }
        let (last, is_end) = match query.leading_tags() {
            Some(tags) => {
                let ids = self.by_tags_and_ids(query, &tags, after, limit).await?;
                sql.push(" AND id ?*").bind_list(ids.iter().copied());
                (ids.last().copied(), Some(ids.len() < limit))
            }
            None => {
                if let Some(after) = after {
                    sql.push(" AND id > ?").bind(after.0);
                }
                if let Some(prefilter) = query.prefilter() {
                    sql.push(" AND ").append(prefilter);
                }
                (None, None)
            }
        };
        sql.push(" ORDER BY id LIMIT ?").bind(limit as u64);
        let rows = self.db.query(sql).await?;
        let is_end = is_end.unwrap_or(rows.len() < limit);
        Ok(Candidates { rows, last: last.map(ContactId), is_end })
    }

    /// The next ids of those named or tagged.
    async fn by_tags_and_ids(
        &self,
        query: &AudienceQuery,
        tags: &BTreeSet<String>,
        after: Option<ContactId>,
        limit: usize,
    ) -> Result<Vec<Uuid>, QueryError> {
        let named = query.audience.contact_ids.iter();
        let mut ids: BTreeSet<Uuid> = named
            .filter(|id| after.is_none_or(|after| **id > after))
            .take(limit)
            .map(|id| id.0)
            .collect();
        for tag in tags {
            let mut sql = Sql::new(
                "SELECT contact_id FROM {contact_tags} WHERE workspace_id = ? AND tag = ?",
            )
            .with(query.workspace_id)
            .with(tag.as_str());
            if let Some(after) = after {
                sql.push(" AND contact_id > ?").bind(after.0);
            }
            sql.push(" ORDER BY contact_id LIMIT ?").bind(limit as u64);
            for row in self.db.query(sql).await? {
                ids.insert(row.uuid(0)?);
            }
        }
        Ok(ids.into_iter().take(limit).collect())
    }
}

struct Candidates {
    /// `id, sequence, doc` in id order.
    rows: Vec<Row>,
    /// Everybody up to here was looked at; `None`: up to the last row.
    last: Option<ContactId>,
    is_end: bool,
}

fn segments_of(audience: &Audience, ids: &mut BTreeSet<SegmentId>) {
    ids.extend(&audience.segment_ids);
    if let Some(exclude) = &audience.exclude {
        segments_of(exclude, ids);
    }
}

impl AudienceQuery {
    /// Whether a contact is in the audience.
    pub(super) fn includes(&self, facts: &ContactFacts<'_>) -> bool {
        // An erased person has no tags and fits no rule, but is still everybody.
        let is_named = self.audience.contact_ids.contains(&ContactId(facts.id));
        (is_named || !facts.contact.erased) && self.matches(&self.audience, facts)
    }

    fn matches(&self, audience: &Audience, facts: &ContactFacts<'_>) -> bool {
        let is_in = audience.all
            || audience.contact_ids.contains(&ContactId(facts.id))
            || audience.tags.iter().any(|tag| facts.contact.tags.contains(tag))
            || audience
                .segment_ids
                .iter()
                .any(|id| self.rules.get(id).is_some_and(|rule| rule.matches(facts)));
        is_in && !audience.exclude.as_ref().is_some_and(|exclude| self.matches(exclude, facts))
    }

    fn needs(&self) -> Needs {
        self.rules.values().map(Needs::of).fold(Needs::default(), Needs::and)
    }

    fn included_rules(&self) -> impl Iterator<Item = &Rule> {
        self.audience.segment_ids.iter().filter_map(|id| self.rules.get(id))
    }

    /// Tags of which everybody has one who is not named; `None`: one has to go through all contacts.
    fn leading_tags(&self) -> Option<BTreeSet<String>> {
        if self.audience.all {
            return None;
        }
        let mut tags = self.audience.tags.clone();
        for rule in self.included_rules() {
            tags.extend(leading_tags(rule)?);
        }
        Some(tags)
    }

    /// A condition that holds for everybody in the audience; `None`: there is no such condition.
    fn prefilter(&self) -> Option<Sql> {
        let has_more = self.audience.all
            || !self.audience.contact_ids.is_empty()
            || !self.audience.tags.is_empty();
        if has_more {
            return None;
        }
        let parts = self.included_rules().map(|rule| Prefilter::of(rule, self.workspace_id).sql);
        joined(parts.collect::<Option<Vec<_>>>()?, " OR ")
    }
}
