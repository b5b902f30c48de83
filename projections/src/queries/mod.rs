//! What may be asked of the read models. Every query takes the [`Scope`] of whoever asks: what lies outside it does not
//! exist for them. Answers are the domain's own states, as folded.

mod audience;
mod campaigns;
mod contacts;
mod conversations;
mod directory;
mod dispatch;
mod forecast;
mod messages;
mod page;
mod rules;
mod stats;

use std::collections::HashMap;

use domain::primitives::{SegmentId, WorkspaceId};
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub use audience::{AudiencePage, AudienceQuery, AudienceSurvey};
pub use campaigns::{CampaignProgress, ProgressAt};
pub use contacts::{ContactFilter, ImportChange, SEGMENT_SCAN_MAX};
pub use conversations::{ConversationFilter, UNREAD_MAX};
pub use directory::{AccountFilter, CampaignFilter, ImportErrorRow, TemplateFilter};
pub use dispatch::{AccountActivity, AgendaItem, DueBacklog, DueCursor};
pub use forecast::Backlog;
pub use messages::MessageFilter;
pub use page::{Cursor, PAGE_MAX, Page, PageRequest, Stored, TOTAL_MAX, Total};
pub use stats::{
    StatsCounts, StatsDimension, StatsKey, StatsPart, StatsPartCount, StatsParts, StatsQuery,
};

use crate::store::{ReadDb, Sql, StoreError};
use page::Listing;

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("not a cursor of this list; use one from its pageInfo or edges")]
    Cursor,
    /// An audience names a segment that is not there. Leaving it out could write to people who were to be left out.
    #[error("there is no segment {0}")]
    UnknownSegment(SegmentId),
    /// A stored segment's rule is none.
    #[error("the rule of segment {0} cannot be read")]
    UnreadableRule(SegmentId),
}

/// What somebody may see. `None`: all there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub workspaces: Option<Vec<Uuid>>,
    /// Limits accounts and what belongs to one: templates, campaigns, messages. Contacts and segments belong to none.
    pub accounts: Option<Vec<Uuid>>,
}

impl Scope {
    /// For the gateway's own workers.
    pub fn everything() -> Self {
        Self::default()
    }

    pub fn workspace(id: impl Into<WorkspaceId>) -> Self {
        Self { workspaces: Some(vec![id.into().0]), accounts: None }
    }

    /// The scope, and within it one workspace only.
    #[must_use]
    pub fn within(&self, workspace: Option<Uuid>) -> Self {
        let Some(workspace) = workspace else { return self.clone() };
        let is_allowed = self.workspaces.as_ref().is_none_or(|all| all.contains(&workspace));
        let workspaces = if is_allowed { vec![workspace] } else { vec![] };
        Self { workspaces: Some(workspaces), accounts: self.accounts.clone() }
    }
}

/// The queries; clones share the database.
#[derive(Clone, Debug)]
pub struct Queries {
    db: ReadDb,
}

impl Queries {
    pub fn new(db: ReadDb) -> Self {
        Self { db }
    }

    /// Rows by id, as far as they lie in the scope.
    async fn by_ids<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        table: &'static str,
        scope_columns: ScopeColumns,
        scope: &Scope,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Stored<T>>, QueryError> {
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(crate::store::LIST_MAX) {
            let mut sql =
                Sql::new(&format!("SELECT id, sequence, doc FROM {{{table}}} WHERE id ?*"))
                    .with_list(chunk.iter().copied());
            for condition in scope_columns.conditions(scope) {
                sql.push(" AND ").append(condition);
            }
            for row in self.db.query(sql).await? {
                let id = row.uuid(0)?;
                let state = self.db.doc(&row, 2)?;
                found.insert(id, Stored { id, sequence: row.count(1)?, state });
            }
        }
        Ok(found)
    }

    /// The states of a statement that selects `id, sequence, doc`.
    async fn stored<T: DeserializeOwned>(&self, sql: Sql) -> Result<Vec<Stored<T>>, QueryError> {
        let rows = self.db.query(sql).await?;
        let read = rows.iter().map(|row| {
            Ok(Stored { id: row.uuid(0)?, sequence: row.count(1)?, state: row.doc(2)? })
        });
        read.collect()
    }

    async fn first_by<T: DeserializeOwned>(
        &self,
        table: &'static str,
        scope_columns: ScopeColumns,
        scope: &Scope,
        mut condition: Sql,
    ) -> Result<Option<Stored<T>>, QueryError> {
        for part in scope_columns.conditions(scope) {
            condition.push(" AND ").append(part);
        }
        let mut sql = Sql::new(&format!("SELECT id, sequence, doc FROM {{{table}}} WHERE "));
        sql.append(condition).push(" ORDER BY id LIMIT 1");
        Ok(self.stored(sql).await?.into_iter().next())
    }

    /// The workspaces to look through, where a list is indexed by workspace only: those of the scope, else all.
    async fn workspaces_of(&self, scope: &Scope) -> Result<Vec<Uuid>, QueryError> {
        if let Some(workspaces) = &scope.workspaces {
            return Ok(workspaces.clone());
        }
        let rows = self.db.query(Sql::new("SELECT id FROM {workspaces} ORDER BY id")).await?;
        Ok(rows.iter().map(|row| row.uuid(0)).collect::<Result<_, _>>()?)
    }
}

/// Which columns a table has to judge a scope by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScopeColumns {
    Workspace,
    WorkspaceAndAccount,
    /// Of the accounts themselves.
    WorkspaceAndId,
    /// Of the workspaces themselves.
    Id,
}

impl ScopeColumns {
    fn conditions(self, scope: &Scope) -> Vec<Sql> {
        let (workspace, account) = match self {
            Self::Workspace => ("workspace_id", None),
            Self::WorkspaceAndAccount => ("workspace_id", Some("account_id")),
            Self::WorkspaceAndId => ("workspace_id", Some("id")),
            Self::Id => ("id", None),
        };
        // COALESCE keeps the planner from walking a whole workspace where ids or a campaign lead straight to the rows:
        // without statistics SQLite takes every equality for equally selective.
        let one_of = |column: &str, ids: &[Uuid]| match ids {
            [id] => Sql::new(&format!("COALESCE({column}, {column}) = ?")).with(*id),
            ids => {
                Sql::new(&format!("COALESCE({column}, {column}) ?*")).with_list(ids.iter().copied())
            }
        };
        let workspaces = scope.workspaces.as_deref().map(|ids| one_of(workspace, ids));
        let accounts = match (account, scope.accounts.as_deref()) {
            (Some(column), Some(ids)) => Some(one_of(column, ids)),
            _ => None,
        };
        workspaces.into_iter().chain(accounts).collect()
    }

    fn apply(self, scope: &Scope, listing: &mut Listing) {
        for condition in self.conditions(scope) {
            listing.and(condition);
        }
    }
}
