//! Contacts by id, by what identifies them, in lists and in segments; and what imports did to them.

use std::collections::{BTreeSet, HashMap};

use domain::contact::{ConsentStatus, Contact, HALVES_MAX};
use domain::port::Position;
use domain::primitives::{PhoneNumber, SegmentId};
use domain::segment::{Rule, Segment};
use uuid::Uuid;

use super::page::{Listing, Order, Span, position, single};
use super::rules::{MessageFacts, Needs, Prefilter};
use super::{Cursor, Page, PageRequest, Queries, QueryError, Scope, ScopeColumns, Stored, Total};
use crate::contacts::WordKind;
use crate::store::{Row, Sql, StoreError};

/// Contacts that one page of a segment looks at, at most. Where that is not enough the page is short and its end says
/// where to go on.
pub const SEGMENT_SCAN_MAX: usize = 100_000;
/// Tags or attributes listed at once.
const WORDS_MAX: u64 = 1_000;
/// Contacts judged together.
pub(super) const SCAN: usize = 1_000;

/// `None` is not asked; a list asks for any of it, one of tags for all of them. Those merged away never show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContactFilter {
    pub workspace_id: Option<Uuid>,
    /// In the name, number, external id or username.
    pub search: Option<String>,
    pub tags: Option<Vec<String>>,
    pub segment_id: Option<Uuid>,
    pub consent: Option<Vec<ConsentStatus>>,
    pub phone_numbers: Option<Vec<PhoneNumber>>,
    pub include_erased: bool,
}

/// One event that an import caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportChange {
    pub contact_id: Uuid,
    pub sequence: u64,
    pub position: Position,
    /// `added`, `updated`, `tagged` or `untagged`.
    pub kind: String,
    /// The import's undoing did it.
    pub by_undo: bool,
}

impl Queries {
    /// Erased and merged ones too.
    pub async fn contacts_by_id(
        &self,
        scope: &Scope,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Stored<Contact>>, QueryError> {
        self.by_ids("contacts", ScopeColumns::Workspace, scope, ids).await
    }

    pub async fn contact_by_external_id(
        &self,
        workspace_id: Uuid,
        external_id: &str,
    ) -> Result<Option<Stored<Contact>>, QueryError> {
        let condition =
            Sql::new("workspace_id = ? AND external_id = ?").with(workspace_id).with(external_id);
        let scope = Scope::everything();
        self.first_by("contacts", ScopeColumns::Workspace, &scope, condition).await
    }

    pub async fn contact_by_phone(
        &self,
        workspace_id: Uuid,
        phone: &PhoneNumber,
    ) -> Result<Option<Stored<Contact>>, QueryError> {
        let condition =
            Sql::new("workspace_id = ? AND phone = ?").with(workspace_id).with(phone.as_str());
        let scope = Scope::everything();
        self.first_by("contacts", ScopeColumns::Workspace, &scope, condition).await
    }

    /// The most used tags or attributes of a workspace, at most 1,000, with how many contacts have each: of tags also
    /// those that nobody has any more. Looks at nobody.
    pub async fn vocabulary(
        &self,
        workspace_id: Uuid,
        kind: WordKind,
    ) -> Result<Vec<(String, u64)>, QueryError> {
        let sql = Sql::new(
            "SELECT word, contacts FROM {vocabulary} WHERE workspace_id = ? AND kind = ? \
             ORDER BY contacts DESC, word LIMIT ?",
        )
        .with(workspace_id)
        .with(kind.as_str())
        .with(WORDS_MAX);
        Ok(counted(&self.db.query(sql).await?)?)
    }

    /// Of these tags or attributes those that are known, as [`Queries::vocabulary`] has them.
    pub async fn known_words(
        &self,
        workspace_id: Uuid,
        kind: WordKind,
        words: impl IntoIterator<Item = &str>,
    ) -> Result<HashMap<String, u64>, QueryError> {
        let rows = self.db.query_chunked(words, |words| {
            Sql::new(
                "SELECT word, contacts FROM {vocabulary} WHERE workspace_id = ? AND kind = ? AND word ?*",
            )
            .with(workspace_id)
            .with(kind.as_str())
            .with_list(words)
        });
        Ok(counted(&rows.await?)?)
    }

    /// Who went into any of these contacts, and who had gone into them: sorted, and without those that were asked for.
    /// For the gateway's own workers, so without a scope.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn merged_into(&self, contact_ids: &[Uuid]) -> Result<Vec<Uuid>, QueryError> {
        let mut seen: BTreeSet<Uuid> = contact_ids.iter().copied().collect();
        let mut found = BTreeSet::new();
        let mut next = contact_ids.to_vec();
        // One after the other, at worst.
        for _ in 0..=HALVES_MAX {
            let rows = self
                .db
                .query_chunked(std::mem::take(&mut next), |ids| {
                    Sql::new(
                        "SELECT id FROM {contacts} WHERE merged_into ?* AND merged_into IS NOT NULL",
                    )
                    .with_list(ids)
                })
                .await?;
            for row in rows {
                let id = row.uuid(0)?;
                if seen.insert(id) {
                    found.insert(id);
                    next.push(id);
                }
            }
            if next.is_empty() {
                break;
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Contacts that went into others, after `after` in the order of whom they went into and then their own: at most
    /// `limit`, each with that other. For the gateway's own workers, so without a scope.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn merges(
        &self,
        after: Option<(Uuid, Uuid)>,
        limit: usize,
    ) -> Result<Vec<(Uuid, Uuid)>, QueryError> {
        let (into, id) = after.unwrap_or_default();
        let sql = Sql::new(
            "SELECT merged_into, id FROM {contacts} \
             WHERE merged_into IS NOT NULL AND (merged_into, id) > (?, ?) \
             ORDER BY merged_into, id LIMIT ?",
        )
        .with(into)
        .with(id)
        .with(limit as u64);
        let rows = self.db.query(sql).await?;
        let merges = rows.iter().map(|row| Ok((row.uuid(0)?, row.uuid(1)?)));
        Ok(merges.collect::<Result<_, StoreError>>()?)
    }

    /// The list, and the rule that its rows must also keep to, where SQL does not say it all.
    async fn contacts_listing(
        &self,
        scope: &Scope,
        filter: &ContactFilter,
    ) -> Result<(Listing, Option<Rule>), QueryError> {
        let mut scope = scope.within(filter.workspace_id);
        let mut listing = Listing::new("contacts", Order::ById);
        listing.and(Sql::new("merged_into IS NULL"));
        if !filter.include_erased {
            listing.and(Sql::new("erased = 0"));
        }
        let mut rule = None;
        if let Some(segment_id) = filter.segment_id {
            // A segment outside the scope is none, and nobody is in it.
            let found = self.segments_by_id(&scope, &[segment_id]).await?;
            let found = found.into_values().next().filter(|segment| !segment.state.deleted);
            match found.as_ref().map(|segment| &*segment.state) {
                Some(Segment { workspace_id: Some(workspace), rule: text, .. }) => {
                    let id = SegmentId(segment_id);
                    let parsed = Rule::parse(text).map_err(|_| QueryError::UnreadableRule(id))?;
                    let prefilter = Prefilter::of(&parsed, workspace.0);
                    prefilter.sql.into_iter().for_each(|sql| listing.and(sql));
                    rule = (!prefilter.is_exact).then_some(parsed);
                    scope = scope.within(Some(workspace.0));
                }
                _ => scope.workspaces = Some(vec![]),
            }
        }
        let workspaces = self.workspaces_of(&scope).await?;
        if let Some(tags) = &filter.tags {
            for tag in tags {
                listing.and(
                    Sql::new(
                        "EXISTS (SELECT 1 FROM {contact_tags} AS t WHERE t.workspace_id = {contacts}.workspace_id \
                         AND t.contact_id = {contacts}.id AND t.tag = ?)",
                    )
                    .with(tag.as_str()),
                );
            }
        }
        let statuses = filter.consent.as_ref().map(|all| all.iter().map(|s| s.as_str()));
        listing.one_of("consent_status", statuses);
        if let Some(phones) = &filter.phone_numbers {
            let phones = || phones.iter().map(|phone| phone.as_str());
            let mut sql = Sql::new("SELECT contact_id FROM {contact_phones} WHERE workspace_id ?*");
            sql.bind_list(workspaces.iter().copied()).push(" AND phone ?*").bind_list(phones());
            let mut known = Vec::new();
            for row in self.db.query(sql).await? {
                known.push(row.uuid(0)?);
            }
            let mut numbered = Sql::new("(phone ?*");
            numbered.bind_list(phones());
            // Two conditions, each of which has an index of its own.
            if !known.is_empty() {
                numbered.push(" OR id ?*").bind_list(known);
            }
            numbered.push(")");
            listing.and(numbered);
        }
        listing.search(filter.search.as_deref());
        listing.fan = Some(("workspace_id", workspaces));
        Ok((listing, rule))
    }

    /// In the order of their ids, which is that of their arrival.
    pub async fn contacts(
        &self,
        scope: &Scope,
        filter: &ContactFilter,
        page: &PageRequest,
    ) -> Result<Page<Stored<Contact>>, QueryError> {
        let (listing, rule) = self.contacts_listing(scope, filter).await?;
        match rule {
            None => listing.page(&self.db, page).await,
            Some(rule) => self.page_by_rule(&listing, &rule, page).await,
        }
    }

    async fn page_by_rule(
        &self,
        listing: &Listing,
        rule: &Rule,
        page: &PageRequest,
    ) -> Result<Page<Stored<Contact>>, QueryError> {
        let count = page.count();
        let (mut items, mut span) = (Vec::new(), page.span());
        let (mut has_more, mut looked_at) = (false, 0);
        'scan: loop {
            let (judged, last) = self.judge(listing, rule, span).await?;
            for item in judged {
                if items.len() == count {
                    has_more = true;
                    break 'scan;
                }
                items.push(item);
            }
            let Some((last, is_end)) = last else { break };
            span.from = Some(last);
            looked_at += SCAN;
            if is_end {
                break;
            }
            if looked_at >= SEGMENT_SCAN_MAX {
                has_more = true;
                break;
            }
        }
        let was_cut = has_more && items.len() < count;
        if page.backwards {
            items.reverse();
        }
        let (has_next, has_previous) = page.more(has_more);
        let mut found = Page::of(items, has_next, has_previous);
        if was_cut {
            *(if page.backwards { &mut found.start } else { &mut found.end }) = span.from;
        }
        Ok(found)
    }

    /// The next [`SCAN`] rows' contacts that the rule holds for; the last row looked at and whether it was the list's
    /// last.
    async fn judge(
        &self,
        listing: &Listing,
        rule: &Rule,
        span: Span,
    ) -> Result<(Vec<(Cursor, Stored<Contact>)>, Option<(Cursor, bool)>), QueryError> {
        let rows = listing.rows(&self.db, "sequence, doc", span, SCAN).await?;
        let last = rows.last().map(|(cursor, _)| (*cursor, rows.len() < SCAN));
        let stored = |(cursor, row): &(Cursor, Row)| {
            Ok((*cursor, Stored { id: cursor.id, sequence: row.count(2)?, state: row.doc(3)? }))
        };
        let stored: Vec<(Cursor, Stored<Contact>)> =
            rows.iter().map(stored).collect::<Result<_, StoreError>>()?;
        let people = stored.iter().map(|(_, stored)| (stored.id, &*stored.state));
        let facts = MessageFacts::load(&self.db, Needs::of(rule), people).await?;
        let found = stored
            .into_iter()
            .filter(|(_, stored)| rule.matches(&facts.about(stored.id, &stored.state)))
            .collect();
        Ok((found, last))
    }

    pub async fn count_contacts(
        &self,
        scope: &Scope,
        filter: &ContactFilter,
    ) -> Result<Total, QueryError> {
        let (listing, rule) = self.contacts_listing(scope, filter).await?;
        let Some(rule) = rule else { return listing.total(&self.db).await };
        let count = self.count_by_rule(&listing, &rule, super::TOTAL_MAX + 1).await?;
        Ok(Total { count, is_exact: count <= super::TOTAL_MAX })
    }

    async fn count_by_rule(
        &self,
        listing: &Listing,
        rule: &Rule,
        most: u64,
    ) -> Result<u64, QueryError> {
        let (mut count, mut span) = (0, PageRequest::first(SCAN).span());
        loop {
            let (judged, last) = self.judge(listing, rule, span).await?;
            count += judged.len() as u64;
            match last {
                Some((last, false)) if count < most => span.from = Some(last),
                _ => return Ok(count.min(most)),
            }
        }
    }

    /// How many a rule holds for, exactly. Goes through all contacts where SQL cannot say the rule.
    pub async fn count_rule(&self, workspace_id: Uuid, rule: &Rule) -> Result<u64, QueryError> {
        let (listing, is_exact) = rule_listing(workspace_id, rule);
        if !is_exact {
            return self.count_by_rule(&listing, rule, u64::MAX).await;
        }
        let mut sql =
            Sql::new("SELECT COUNT(*) FROM {contacts} WHERE workspace_id = ?").with(workspace_id);
        for condition in listing.conditions {
            sql.push(" AND ").append(condition);
        }
        let rows = self.db.query(sql).await?;
        Ok(single(&rows)?.count(0)?)
    }

    /// The first contacts that a rule holds for, in the order of their ids; of the first 100,000 contacts.
    pub async fn sample_rule(
        &self,
        workspace_id: Uuid,
        rule: &Rule,
        first: usize,
    ) -> Result<Vec<Stored<Contact>>, QueryError> {
        let (listing, _) = rule_listing(workspace_id, rule);
        Ok(self.page_by_rule(&listing, rule, &PageRequest::first(first)).await?.into_items())
    }

    /// What an import did, contact by contact in id order and each contact's changes in order, after a place.
    pub async fn import_changes(
        &self,
        import_id: Uuid,
        after: Option<(Uuid, u64)>,
        limit: usize,
    ) -> Result<Vec<ImportChange>, QueryError> {
        let mut sql = Sql::new(
            "SELECT contact_id, sequence, position, kind, by_undo FROM {import_changes} \
             WHERE import_id = ?",
        )
        .with(import_id);
        if let Some((contact_id, sequence)) = after {
            sql.push(" AND (contact_id, sequence) > (?, ?)").bind(contact_id).bind(sequence);
        }
        sql.push(" ORDER BY contact_id, sequence LIMIT ?").bind(limit as u64);
        let rows = self.db.query(sql).await?;
        let read = rows.iter().map(|row| {
            Ok(ImportChange {
                contact_id: row.uuid(0)?,
                sequence: row.count(1)?,
                position: position(row, 2)?,
                kind: row.text(3)?.to_owned(),
                by_undo: row.int(4)? != 0,
            })
        });
        read.collect()
    }
}

fn rule_listing(workspace_id: Uuid, rule: &Rule) -> (Listing, bool) {
    let mut listing = Listing::new("contacts", Order::ById);
    listing.fan = Some(("workspace_id", vec![workspace_id]));
    listing.and(Sql::new("merged_into IS NULL AND erased = 0"));
    let prefilter = Prefilter::of(rule, workspace_id);
    prefilter.sql.into_iter().for_each(|sql| listing.and(sql));
    (listing, prefilter.is_exact)
}

/// Words with their counts.
fn counted<C: FromIterator<(String, u64)>>(rows: &[Row]) -> Result<C, StoreError> {
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.count(1)?))).collect()
}
