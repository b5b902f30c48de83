//! Messages by id, by WhatsApp's id, and in lists.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::message::{Direction, Message, MessageStatus};
use domain::primitives::{Personal, Wamid};
use uuid::Uuid;

use super::page::{Listing, Order};
use super::{Page, PageRequest, Queries, QueryError, Scope, ScopeColumns, Stored, Total};
use crate::messages::{WITH_WHATSAPP, stage, wamid_hash};
use crate::store::Sql;

/// `None` is not asked; a list asks for any of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageFilter {
    pub workspace_id: Option<Uuid>,
    pub external_ids: Option<Vec<String>>,
    pub account_ids: Option<Vec<Uuid>>,
    pub campaign_ids: Option<Vec<Uuid>>,
    pub contact_ids: Option<Vec<Uuid>>,
    pub status: Option<Vec<MessageStatus>>,
    pub direction: Option<Direction>,
    pub created_from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub created_to: Option<DateTime<Utc>>,
}

/// That a message is at a stage of these statuses, in the words of the index that has the few; `None` where they are most.
fn stages_apart(statuses: &[MessageStatus]) -> Option<Sql> {
    let stages: BTreeSet<i64> = statuses.iter().map(|status| stage(*status)).collect();
    if stages.is_empty() || stages.contains(&WITH_WHATSAPP) {
        return None;
    }
    let stages: Vec<String> = stages.iter().map(i64::to_string).collect();
    let stages = stages.join(", ");
    Some(Sql::new(&format!("stage <> {WITH_WHATSAPP} AND stage IN ({stages})")))
}

impl Queries {
    pub async fn messages_by_id(
        &self,
        scope: &Scope,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Stored<Message>>, QueryError> {
        self.by_ids("messages", ScopeColumns::WorkspaceAndAccount, scope, ids).await
    }

    /// By WhatsApp's own id: the message's latest attempt that has one, or the message received under it.
    pub async fn message_by_wamid(
        &self,
        scope: &Scope,
        wamid: &Wamid,
    ) -> Result<Option<Stored<Message>>, QueryError> {
        let mut sql = Sql::new("SELECT id, sequence, doc FROM {messages} WHERE wamid_hash = ?")
            .with(wamid_hash(wamid));
        for part in ScopeColumns::WorkspaceAndAccount.conditions(scope) {
            sql.push(" AND ").append(part);
        }
        sql.push(" ORDER BY id");
        let has_it = |message: &Message| message.wamid().and_then(Personal::known) == Some(wamid);
        Ok(self.stored(sql).await?.into_iter().find(|stored| has_it(&stored.state)))
    }

    /// Messages that left through a number for a person, whose contacts these are, or may have, the last first. Of each its
    /// last try tells. For the gateway's own workers, so without a scope.
    pub async fn last_sent(
        &self,
        account_id: Uuid,
        contact_ids: &[Uuid],
        (from, until): (DateTime<Utc>, DateTime<Utc>),
        limit: usize,
    ) -> Result<Vec<Uuid>, QueryError> {
        // The person's messages are few, the number's many: the second column only filters. One that was echoed has no try.
        let sql = Sql::new(
            "SELECT id FROM {messages} WHERE contact_id ?* AND direction = 0 \
             AND COALESCE(account_id, account_id) = ? \
             AND (last_requested_at IS NOT NULL OR status = 'SENT') \
             AND COALESCE(last_requested_at, created_at) >= ? \
             AND COALESCE(last_requested_at, created_at) <= ? \
             ORDER BY COALESCE(last_requested_at, created_at) DESC, id DESC LIMIT ?",
        )
        .with_list(contact_ids.iter().copied())
        .with(account_id)
        .with(from)
        .with(until)
        .with(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.db.query(sql).await?;
        Ok(rows.iter().map(|row| row.uuid(0)).collect::<Result<_, _>>()?)
    }

    async fn messages_listing(
        &self,
        scope: &Scope,
        filter: &MessageFilter,
    ) -> Result<Listing, QueryError> {
        let scope = scope.within(filter.workspace_id);
        let mut listing = Listing::new("messages", Order::NewestFirst);
        ScopeColumns::WorkspaceAndAccount.apply(&scope, &mut listing);
        // The rarest column leads; the others only filter.
        let filters = [
            ("campaign_id", &filter.campaign_ids),
            ("contact_id", &filter.contact_ids),
            ("account_id", &filter.account_ids),
        ];
        for (column, ids) in filters {
            let Some(ids) = ids else { continue };
            if listing.fan.is_none() && filter.external_ids.is_none() {
                let mut ids = ids.clone();
                ids.sort_unstable();
                ids.dedup();
                listing.fan = Some((column, ids));
            } else {
                listing.one_of(column, Some(ids.iter().copied()));
            }
        }
        if listing.fan.is_none() && filter.external_ids.is_none() {
            listing.fan = Some(match &scope.accounts {
                Some(accounts) => ("account_id", accounts.clone()),
                None => ("workspace_id", self.workspaces_of(&scope).await?),
            });
        }
        let external_ids = filter.external_ids.as_ref().map(|ids| ids.iter().map(String::as_str));
        listing.one_of("external_id", external_ids);
        listing.one_of("status", filter.status.as_ref().map(|all| all.iter().map(|s| s.as_str())));
        if let Some(stages) = filter.status.as_deref().and_then(stages_apart) {
            listing.and(stages);
        }
        if let Some(direction) = filter.direction {
            let direction: i64 = if direction == Direction::Inbound { 1 } else { 0 };
            listing.and(Sql::new("direction = ?").with(direction));
        }
        if let Some(from) = filter.created_from {
            listing.and(Sql::new("created_at >= ?").with(from));
        }
        if let Some(to) = filter.created_to {
            listing.and(Sql::new("created_at < ?").with(to));
        }
        Ok(listing)
    }

    /// Newest first.
    pub async fn messages(
        &self,
        scope: &Scope,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<Stored<Message>>, QueryError> {
        self.messages_listing(scope, filter).await?.page(&self.db, page).await
    }

    pub async fn count_messages(
        &self,
        scope: &Scope,
        filter: &MessageFilter,
    ) -> Result<Total, QueryError> {
        self.messages_listing(scope, filter).await?.total(&self.db).await
    }
}
