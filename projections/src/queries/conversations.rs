//! Conversations in lists, and what belongs to one.

use std::collections::{BTreeMap, HashMap};

use domain::conversation::Handling;
use domain::message::Message;
use domain::primitives::{AccountId, ContactId, conversation_id};
use uuid::Uuid;

use super::page::{Listing, Order, like, single};
use super::{Page, PageRequest, Queries, QueryError, Scope, ScopeColumns, Stored, Total};
use crate::messages::{CONVERSATION_COLUMNS, ConversationRow, Place};
use crate::store::Sql;

/// Unread messages of one conversation are counted up to here.
pub const UNREAD_MAX: u64 = 1_000;

/// `None` is not asked; a list asks for any of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConversationFilter {
    pub workspace_id: Option<Uuid>,
    pub account_ids: Option<Vec<Uuid>>,
    pub handling: Option<Vec<Handling>>,
    /// Whether there is something that nobody has read.
    pub unread: Option<bool>,
    pub assigned_to: Option<Uuid>,
    /// In the person's name, number, external id or username.
    pub search: Option<String>,
}

/// What the person is, and what the number: a message's are found by their person's contacts, who have few.
fn between(row: &ConversationRow, people: &[Uuid]) -> Sql {
    Sql::new("contact_id ?* AND COALESCE(account_id, account_id) = ?")
        .with_list(people.iter().copied())
        .with(row.account_id)
}

impl Queries {
    async fn conversations_listing(
        &self,
        scope: &Scope,
        filter: &ConversationFilter,
    ) -> Result<Listing, QueryError> {
        let scope = scope.within(filter.workspace_id);
        let mut listing = Listing::new("conversations", Order::ByActivity);
        ScopeColumns::WorkspaceAndAccount.apply(&scope, &mut listing);
        let workspaces = self.workspaces_of(&scope).await?;
        let accounts = filter.account_ids.as_ref().or(scope.accounts.as_ref());
        listing.fan = Some(match (filter.assigned_to, accounts) {
            (Some(user), accounts) => {
                listing.one_of("account_id", accounts.map(|ids| ids.iter().copied()));
                ("assigned_to", vec![user])
            }
            (None, Some(accounts)) => {
                let mut accounts = accounts.clone();
                accounts.sort_unstable();
                accounts.dedup();
                ("account_id", accounts)
            }
            (None, None) => ("workspace_id", workspaces.clone()),
        });
        let handling = filter.handling.as_ref();
        listing.one_of("handling", handling.map(|all| all.iter().map(|one| one.as_str())));
        if let Some(unread) = filter.unread {
            // In the very words of the index that has the few.
            listing.and(Sql::new(if unread { "unread = 1" } else { "unread = 0" }));
        }
        if let Some(text) = filter.search.as_deref().map(str::trim).filter(|text| !text.is_empty())
        {
            listing.and(
                Sql::new(
                    "contact_id IN (SELECT c.id FROM {contacts} AS c WHERE c.workspace_id ?* \
                     AND c.merged_into IS NULL AND c.search LIKE ? ESCAPE '!')",
                )
                .with_list(workspaces)
                .with(like(text)),
            );
        }
        Ok(listing)
    }

    /// The newest activity first.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn conversations(
        &self,
        scope: &Scope,
        filter: &ConversationFilter,
        page: &PageRequest,
    ) -> Result<Page<ConversationRow>, QueryError> {
        let listing = self.conversations_listing(scope, filter).await?;
        let read = |_: &_, row: &_| ConversationRow::read(row, 2);
        listing.page_of(&self.db, page, CONVERSATION_COLUMNS, read).await
    }

    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn count_conversations(
        &self,
        scope: &Scope,
        filter: &ConversationFilter,
    ) -> Result<Total, QueryError> {
        self.conversations_listing(scope, filter).await?.total(&self.db).await
    }

    /// Those of these that lie in the scope. One whose contact was merged away is no more.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn conversations_by_id(
        &self,
        scope: &Scope,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, ConversationRow>, QueryError> {
        let rows = self
            .db
            .query_chunked(ids.iter().copied(), |ids| {
                let text =
                    format!("SELECT {CONVERSATION_COLUMNS} FROM {{conversations}} WHERE id ?*");
                let mut sql = Sql::new(&text).with_list(ids);
                for condition in ScopeColumns::WorkspaceAndAccount.conditions(scope) {
                    sql.push(" AND ").append(condition);
                }
                sql
            })
            .await?;
        let rows = rows.iter().map(|row| ConversationRow::read(row, 0).map(|row| (row.id, row)));
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The conversations that messages between these numbers and contacts belong to, where there are any.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn conversations_between(
        &self,
        pairs: &[(Uuid, Uuid)],
    ) -> Result<HashMap<(Uuid, Uuid), Uuid>, QueryError> {
        let kept = self.kept_people(pairs.iter().map(|(_, contact)| *contact)).await?;
        let mut asked = BTreeMap::new();
        for (account, contact) in pairs {
            let person = kept.get(contact).copied().unwrap_or(*contact);
            let id = conversation_id(AccountId(*account), ContactId(person)).0;
            asked.insert((*account, *contact), id);
        }
        let rows = self
            .db
            .query_chunked(asked.values().copied(), |ids| {
                Sql::new("SELECT id FROM {conversations} WHERE id ?*").with_list(ids)
            })
            .await?;
        let mut known = std::collections::HashSet::new();
        for row in &rows {
            known.insert(row.uuid(0)?);
        }
        Ok(asked.into_iter().filter(|(_, id)| known.contains(id)).collect())
    }

    /// Whom those of these contacts went into that went into others.
    async fn kept_people(
        &self,
        contacts: impl IntoIterator<Item = Uuid>,
    ) -> Result<HashMap<Uuid, Uuid>, QueryError> {
        let rows = self
            .db
            .query_chunked(contacts, |ids| {
                Sql::new("SELECT half_id, kept_id FROM {merged_people} WHERE half_id ?*")
                    .with_list(ids)
            })
            .await?;
        let mut kept = HashMap::with_capacity(rows.len());
        for row in &rows {
            kept.insert(row.uuid(0)?, row.uuid(1)?);
        }
        Ok(kept)
    }

    /// Everyone whom each of these people is: the contact that stayed first.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn halves_of(
        &self,
        contacts: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<Uuid>>, QueryError> {
        let mut people: HashMap<Uuid, Vec<Uuid>> =
            contacts.iter().map(|id| (*id, vec![*id])).collect();
        let rows = self
            .db
            .query_chunked(contacts.iter().copied(), |ids| {
                Sql::new(
                    "SELECT kept_id, half_id FROM {merged_people} WHERE kept_id ?* ORDER BY half_id",
                )
                .with_list(ids)
            })
            .await?;
        for row in &rows {
            people.entry(row.uuid(0)?).or_default().push(row.uuid(1)?);
        }
        Ok(people)
    }

    /// How many messages of the person lie behind `read`, up to [`UNREAD_MAX`]. `people`: everyone whom the person is.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn unread(
        &self,
        row: &ConversationRow,
        people: &[Uuid],
        read: Option<Place>,
    ) -> Result<u64, QueryError> {
        let mut sql = Sql::new("SELECT COUNT(*) FROM (SELECT 1 FROM {messages} WHERE ");
        sql.append(between(row, people)).push(" AND direction = 1");
        if let Some(read) = read {
            sql.push(" AND (created_at, id) > (?, ?)").bind(read.at_ms).bind(read.id);
        }
        sql.push(" LIMIT ?) AS counted").bind(UNREAD_MAX);
        Ok(single(&self.db.query(sql).await?)?.count(0)?)
    }

    /// What went between the number and the person, the oldest first.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn conversation_messages(
        &self,
        row: &ConversationRow,
        people: &[Uuid],
        page: &PageRequest,
    ) -> Result<Page<Stored<Message>>, QueryError> {
        conversation_messages(row, people).page(&self.db, page).await
    }

    /// How many [`Self::conversation_messages`] goes through.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn count_conversation_messages(
        &self,
        row: &ConversationRow,
        people: &[Uuid],
    ) -> Result<Total, QueryError> {
        conversation_messages(row, people).total(&self.db).await
    }

    /// What the person wrote last, up to a place.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn last_written(
        &self,
        row: &ConversationRow,
        people: &[Uuid],
        up_to: Place,
    ) -> Result<Option<Stored<Message>>, QueryError> {
        let mut sql = Sql::new("SELECT id, sequence, doc FROM {messages} WHERE ");
        sql.append(between(row, people))
            .push(" AND direction = 1 AND (created_at, id) <= (?, ?)")
            .bind(up_to.at_ms)
            .bind(up_to.id);
        sql.push(" ORDER BY created_at DESC, id DESC LIMIT 1");
        Ok(self.stored(sql).await?.into_iter().next())
    }

    /// Conversations whose own stream does not say that they are open, at most `limit`. For the gateway's own workers, so
    /// without a scope.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn unopened_conversations(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<ConversationRow>, QueryError> {
        let text = format!(
            "SELECT {CONVERSATION_COLUMNS} FROM {{conversations}} \
             WHERE opened_at IS NULL AND id > ? ORDER BY id LIMIT ?"
        );
        let sql = Sql::new(&text).with(after.unwrap_or_default()).with(limit as u64);
        let rows = self.db.query(sql).await?;
        Ok(rows.iter().map(|row| ConversationRow::read(row, 0)).collect::<Result<_, _>>()?)
    }
}

fn conversation_messages(row: &ConversationRow, people: &[Uuid]) -> Listing {
    let mut listing = Listing::new("messages", Order::OldestFirst);
    listing.fan = Some(("contact_id", people.to_vec()));
    listing.and(Sql::new("COALESCE(account_id, account_id) = ?").with(row.account_id));
    listing
}
