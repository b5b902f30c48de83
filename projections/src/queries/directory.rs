//! Workspaces, accounts, templates, segments, imports, campaigns, API keys and webhook endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::account::{Account, AccountProvider, AccountStatus};
use domain::api_key::ApiKey;
use domain::campaign::{Campaign, CampaignStatus};
use domain::import::Import;
use domain::segment::Segment;
use domain::template::{Template, TemplateCategory, TemplateStatus};
use domain::user::User;
use domain::webhook_endpoint::WebhookEndpoint;
use domain::workspace::Workspace;
use uuid::Uuid;

use super::page::{Listing, Order};
use super::{Cursor, Page, PageRequest, Queries, QueryError, Scope, ScopeColumns, Stored, Total};
use crate::messages::text_of;
use crate::store::Sql;

/// `None` is not asked; a list asks for any of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccountFilter {
    pub status: Option<Vec<AccountStatus>>,
    pub provider: Option<Vec<AccountProvider>>,
    /// In the name, the number, the verified name or the phone number id.
    pub search: Option<String>,
}

/// `None` is not asked; a list asks for any of it. Deleted templates show only when asked for by status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TemplateFilter {
    pub account_ids: Option<Vec<Uuid>>,
    pub status: Option<Vec<TemplateStatus>>,
    pub category: Option<Vec<TemplateCategory>>,
    pub languages: Option<Vec<String>>,
    /// Only those that exist at WhatsApp.
    pub at_whatsapp: bool,
    /// In the name.
    pub search: Option<String>,
}

/// `None` is not asked; a list asks for any of it. Deleted drafts never show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CampaignFilter {
    pub account_ids: Option<Vec<Uuid>>,
    pub status: Option<Vec<CampaignStatus>>,
    /// In the name or the external id.
    pub search: Option<String>,
}

/// A row that an import turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportErrorRow {
    pub row: u64,
    pub column: Option<String>,
    pub message: String,
}

type Found<T> = Result<HashMap<Uuid, Stored<T>>, QueryError>;
type Paged<T> = Result<Page<Stored<T>>, QueryError>;

impl Queries {
    /// All workspaces of the scope, oldest first.
    pub async fn workspaces(&self, scope: &Scope) -> Result<Vec<Stored<Workspace>>, QueryError> {
        let mut sql = Sql::new("SELECT id, sequence, doc FROM {workspaces} WHERE 1 = 1");
        for condition in ScopeColumns::Id.conditions(scope) {
            sql.push(" AND ").append(condition);
        }
        sql.push(" ORDER BY created_at, id");
        self.stored(sql).await
    }

    pub async fn workspaces_by_id(&self, scope: &Scope, ids: &[Uuid]) -> Found<Workspace> {
        self.by_ids("workspaces", ScopeColumns::Id, scope, ids).await
    }

    pub async fn accounts_by_id(&self, scope: &Scope, ids: &[Uuid]) -> Found<Account> {
        self.by_ids("accounts", ScopeColumns::WorkspaceAndId, scope, ids).await
    }

    /// By Meta's phone number id: the one that holds it now, else the last that did.
    pub async fn account_by_phone_number_id(
        &self,
        phone_number_id: &str,
    ) -> Result<Option<Stored<Account>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {accounts} WHERE phone_number_id = ? \
             ORDER BY CASE WHEN status = 'DISCONNECTED' THEN 1 ELSE 0 END, created_at DESC LIMIT 1",
        )
        .with(phone_number_id);
        Ok(self.stored(sql).await?.into_iter().next())
    }

    /// Accounts of one WhatsApp business account that are not disconnected, oldest first.
    pub async fn accounts_by_waba(
        &self,
        waba_id: &str,
    ) -> Result<Vec<Stored<Account>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {accounts} WHERE waba_id = ? AND status <> 'DISCONNECTED' \
             ORDER BY created_at, id",
        )
        .with(waba_id);
        self.stored(sql).await
    }

    fn accounts_listing(scope: &Scope, filter: &AccountFilter) -> Listing {
        let mut listing = Listing::new("accounts", Order::OldestFirst);
        ScopeColumns::WorkspaceAndId.apply(scope, &mut listing);
        listing.one_of("status", filter.status.as_ref().map(|all| all.iter().map(|s| s.as_str())));
        listing.one_of("provider", filter.provider.as_ref().map(|all| all.iter().map(text_of)));
        listing.search(filter.search.as_deref());
        listing
    }

    /// Oldest first.
    pub async fn accounts(
        &self,
        scope: &Scope,
        filter: &AccountFilter,
        page: &PageRequest,
    ) -> Paged<Account> {
        Self::accounts_listing(scope, filter).page(&self.db, page).await
    }

    pub async fn count_accounts(
        &self,
        scope: &Scope,
        filter: &AccountFilter,
    ) -> Result<Total, QueryError> {
        Self::accounts_listing(scope, filter).total(&self.db).await
    }

    pub async fn templates_by_id(&self, scope: &Scope, ids: &[Uuid]) -> Found<Template> {
        self.by_ids("templates", ScopeColumns::WorkspaceAndAccount, scope, ids).await
    }

    /// The template of this name and language that is not deleted.
    pub async fn template_by_name(
        &self,
        scope: &Scope,
        account_id: Uuid,
        name: &str,
        language: &str,
    ) -> Result<Option<Stored<Template>>, QueryError> {
        let condition =
            Sql::new("account_id = ? AND name = ? AND language = ? AND status <> 'DELETED'")
                .with(account_id)
                .with(name)
                .with(language);
        self.first_by("templates", ScopeColumns::WorkspaceAndAccount, scope, condition).await
    }

    /// Every template of one WhatsApp id, which may belong to several accounts of one WABA.
    pub async fn templates_by_whatsapp_id(
        &self,
        whatsapp_id: &str,
    ) -> Result<Vec<Stored<Template>>, QueryError> {
        let sql =
            Sql::new("SELECT id, sequence, doc FROM {templates} WHERE whatsapp_id = ? ORDER BY id")
                .with(whatsapp_id);
        self.stored(sql).await
    }

    fn templates_listing(scope: &Scope, filter: &TemplateFilter) -> Listing {
        let mut listing = Listing::new("templates", Order::OldestFirst);
        ScopeColumns::WorkspaceAndAccount.apply(scope, &mut listing);
        listing.one_of("account_id", filter.account_ids.clone());
        match &filter.status {
            Some(all) => listing.one_of("status", Some(all.iter().map(|s| s.as_str()))),
            None => listing.and(Sql::new("status <> 'DELETED'")),
        }
        let categories = filter.category.as_ref().map(|all| all.iter().map(|c| c.as_str()));
        listing.one_of("category", categories);
        listing.one_of("language", filter.languages.clone());
        if filter.at_whatsapp {
            listing.and(Sql::new("whatsapp_id IS NOT NULL"));
        }
        listing.search(filter.search.as_deref());
        listing
    }

    /// Oldest first.
    pub async fn templates(
        &self,
        scope: &Scope,
        filter: &TemplateFilter,
        page: &PageRequest,
    ) -> Paged<Template> {
        Self::templates_listing(scope, filter).page(&self.db, page).await
    }

    pub async fn count_templates(
        &self,
        scope: &Scope,
        filter: &TemplateFilter,
    ) -> Result<Total, QueryError> {
        Self::templates_listing(scope, filter).total(&self.db).await
    }

    /// Deleted ones too: campaigns still name them.
    pub async fn segments_by_id(&self, scope: &Scope, ids: &[Uuid]) -> Found<Segment> {
        self.by_ids("segments", ScopeColumns::Workspace, scope, ids).await
    }

    fn segments_listing(scope: &Scope) -> Listing {
        let mut listing = Listing::new("segments", Order::OldestFirst);
        ScopeColumns::Workspace.apply(scope, &mut listing);
        listing.and(Sql::new("deleted = 0"));
        listing
    }

    /// Oldest first, without deleted ones.
    pub async fn segments(&self, scope: &Scope, page: &PageRequest) -> Paged<Segment> {
        Self::segments_listing(scope).page(&self.db, page).await
    }

    pub async fn count_segments(&self, scope: &Scope) -> Result<Total, QueryError> {
        Self::segments_listing(scope).total(&self.db).await
    }

    /// Without their errors; see [`Self::import_errors`].
    pub async fn imports_by_id(&self, scope: &Scope, ids: &[Uuid]) -> Found<Import> {
        self.by_ids("imports", ScopeColumns::Workspace, scope, ids).await
    }

    fn imports_listing(scope: &Scope) -> Listing {
        let mut listing = Listing::new("imports", Order::NewestFirst);
        ScopeColumns::Workspace.apply(scope, &mut listing);
        listing
    }

    /// Newest first, without their errors.
    pub async fn imports(&self, scope: &Scope, page: &PageRequest) -> Paged<Import> {
        Self::imports_listing(scope).page(&self.db, page).await
    }

    pub async fn count_imports(&self, scope: &Scope) -> Result<Total, QueryError> {
        Self::imports_listing(scope).total(&self.db).await
    }

    /// Imports that have not ended, oldest first: what a restart goes on with.
    pub async fn running_imports(&self) -> Result<Vec<Stored<Import>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {imports} WHERE status = 'RUNNING' ORDER BY created_at, id",
        );
        self.stored(sql).await
    }

    /// The first rows that an import of the scope turned away, in the order of the file.
    pub async fn import_errors(
        &self,
        import_id: Uuid,
        first: usize,
    ) -> Result<Vec<ImportErrorRow>, QueryError> {
        let sql = Sql::new(
            "SELECT row_number, column_name, message FROM {import_errors} WHERE import_id = ? \
             ORDER BY n LIMIT ?",
        )
        .with(import_id)
        .with(first.min(domain::import::MAX_ERRORS) as u64);
        let rows = self.db.query(sql).await?;
        let read = rows.iter().map(|row| {
            Ok(ImportErrorRow {
                row: row.count(0)?,
                column: row.opt_text(1)?.map(str::to_owned),
                message: row.text(2)?.to_owned(),
            })
        });
        read.collect()
    }

    pub async fn campaigns_by_id(&self, scope: &Scope, ids: &[Uuid]) -> Found<Campaign> {
        self.by_ids("campaigns", ScopeColumns::WorkspaceAndAccount, scope, ids).await
    }

    fn campaigns_listing(scope: &Scope, filter: &CampaignFilter) -> Listing {
        let mut listing = Listing::new("campaigns", Order::NewestFirst);
        ScopeColumns::WorkspaceAndAccount.apply(scope, &mut listing);
        listing.and(Sql::new("deleted = 0"));
        listing.one_of("account_id", filter.account_ids.clone());
        listing.one_of("status", filter.status.as_ref().map(|all| all.iter().map(|s| s.as_str())));
        listing.search(filter.search.as_deref());
        listing
    }

    /// Newest first.
    pub async fn campaigns(
        &self,
        scope: &Scope,
        filter: &CampaignFilter,
        page: &PageRequest,
    ) -> Paged<Campaign> {
        Self::campaigns_listing(scope, filter).page(&self.db, page).await
    }

    pub async fn count_campaigns(
        &self,
        scope: &Scope,
        filter: &CampaignFilter,
    ) -> Result<Total, QueryError> {
        Self::campaigns_listing(scope, filter).total(&self.db).await
    }

    /// Campaigns in these states, in all workspaces, oldest first: what the launcher works on and dispatch leaves alone.
    pub async fn campaigns_in(
        &self,
        status: &[CampaignStatus],
    ) -> Result<Vec<Stored<Campaign>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {campaigns} WHERE status ?* AND deleted = 0 \
             ORDER BY created_at, id",
        )
        .with_list(status.iter().map(|status| status.as_str()));
        self.stored(sql).await
    }

    /// Paused campaigns whose latest occurrence waits for somebody's yes.
    pub async fn campaigns_held(&self) -> Result<Vec<Stored<Campaign>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {campaigns} \
             WHERE status = 'PAUSED' AND held = 1 AND deleted = 0 ORDER BY created_at, id",
        );
        self.stored(sql).await
    }

    /// Scheduled campaigns whose time has come.
    pub async fn campaigns_due(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Vec<Stored<Campaign>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {campaigns} \
             WHERE status = 'SCHEDULED' AND start_at <= ? AND deleted = 0 ORDER BY start_at, id",
        )
        .with(now);
        self.stored(sql).await
    }

    /// When the next scheduled campaign starts.
    pub async fn next_campaign_at(&self) -> Result<Option<DateTime<Utc>>, QueryError> {
        let sql = Sql::new(
            "SELECT MIN(start_at) FROM {campaigns} WHERE status = 'SCHEDULED' AND deleted = 0",
        );
        let rows = self.db.query(sql).await?;
        Ok(rows.first().map(|row| row.opt_instant(0)).transpose()?.flatten())
    }

    /// Running and paused campaigns that send with this template.
    pub async fn campaigns_of_template(
        &self,
        template_id: Uuid,
        status: &[CampaignStatus],
    ) -> Result<Vec<Stored<Campaign>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {campaigns} \
             WHERE status ?* AND template_id = ? AND deleted = 0 ORDER BY created_at, id",
        )
        .with_list(status.iter().map(|status| status.as_str()))
        .with(template_id);
        self.stored(sql).await
    }

    /// All that the scope may know of, oldest first, without deleted ones: those whose accounts all lie in it.
    pub async fn all_webhook_endpoints(
        &self,
        scope: &Scope,
    ) -> Result<Vec<Stored<WebhookEndpoint>>, QueryError> {
        let mut sql =
            Sql::new("SELECT id, sequence, doc FROM {webhook_endpoints} WHERE status <> 'DELETED'");
        for condition in ScopeColumns::Workspace.conditions(scope) {
            sql.push(" AND ").append(condition);
        }
        sql.push(" ORDER BY created_at, id");
        let mut endpoints: Vec<Stored<WebhookEndpoint>> = self.stored(sql).await?;
        endpoints.retain(|stored| {
            let accounts = &stored.state.account_ids;
            let accounts = (!accounts.is_empty()).then(|| accounts.iter().map(|id| id.0));
            lies_in(scope.accounts.as_deref(), accounts)
        });
        Ok(endpoints)
    }

    /// Oldest first.
    pub async fn webhook_endpoints(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Paged<WebhookEndpoint> {
        let all = self.all_webhook_endpoints(scope).await?;
        Ok(page_of(all, page, |endpoint| endpoint.created_at))
    }

    /// Those that events are sent to, in all workspaces, oldest first.
    pub async fn active_webhook_endpoints(
        &self,
    ) -> Result<Vec<Stored<WebhookEndpoint>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {webhook_endpoints} WHERE status = 'ACTIVE' \
             ORDER BY created_at, id",
        );
        self.stored(sql).await
    }

    /// The key that a secret's hash opens, revoked and expired ones too: [`ApiKey::is_active`] judges.
    pub async fn api_key_by_fingerprint(
        &self,
        fingerprint: &str,
    ) -> Result<Option<Stored<ApiKey>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {api_keys} WHERE fingerprint = ? \
             ORDER BY revoked, created_at DESC LIMIT 1",
        )
        .with(fingerprint);
        Ok(self.stored(sql).await?.into_iter().next())
    }

    /// All keys that the scope may know of, oldest first: those whose workspaces and accounts all lie in it.
    pub async fn all_api_keys(&self, scope: &Scope) -> Result<Vec<Stored<ApiKey>>, QueryError> {
        let sql = Sql::new("SELECT id, sequence, doc FROM {api_keys} ORDER BY created_at, id");
        let mut keys = Vec::new();
        for row in self.db.query(sql).await? {
            let key: Arc<ApiKey> = row.doc(2)?;
            let workspaces = key.workspace_ids.as_ref().map(|ids| ids.iter().map(|id| id.0));
            let accounts = key.account_ids.as_ref().map(|ids| ids.iter().map(|id| id.0));
            if lies_in(scope.workspaces.as_deref(), workspaces)
                && lies_in(scope.accounts.as_deref(), accounts)
            {
                keys.push(Stored { id: row.uuid(0)?, sequence: row.count(1)?, state: key });
            }
        }
        Ok(keys)
    }

    /// Oldest first.
    pub async fn api_keys(&self, scope: &Scope, page: &PageRequest) -> Paged<ApiKey> {
        let keys = self.all_api_keys(scope).await?;
        Ok(page_of(keys, page, |key| key.created_at))
    }

    /// All that the scope may know of, oldest first, without removed ones: those whose workspaces and accounts all lie
    /// in it.
    pub async fn all_users(&self, scope: &Scope) -> Result<Vec<Stored<User>>, QueryError> {
        let sql = Sql::new(
            "SELECT id, sequence, doc FROM {users} WHERE removed = 0 ORDER BY created_at, id",
        );
        let mut users: Vec<Stored<User>> = self.stored(sql).await?;
        users.retain(|stored| {
            let workspaces =
                stored.state.workspace_ids.as_ref().map(|ids| ids.iter().map(|id| id.0));
            let accounts = stored.state.account_ids.as_ref().map(|ids| ids.iter().map(|id| id.0));
            lies_in(scope.workspaces.as_deref(), workspaces)
                && lies_in(scope.accounts.as_deref(), accounts)
        });
        Ok(users)
    }

    /// Oldest first.
    pub async fn users(&self, scope: &Scope, page: &PageRequest) -> Paged<User> {
        let users = self.all_users(scope).await?;
        Ok(page_of(users, page, |user| user.invited_at))
    }
}

/// A page of what was read whole, because there are few.
fn page_of<T>(
    all: Vec<Stored<T>>,
    page: &PageRequest,
    created_at: impl Fn(&T) -> Option<DateTime<Utc>>,
) -> Page<Stored<T>> {
    let place = |stored: &Stored<T>| Cursor {
        at: created_at(&stored.state).map_or(0, |at| at.timestamp_millis()),
        id: stored.id,
    };
    let order = |cursor: &Cursor| (cursor.at, cursor.id);
    let count = page.count();
    let mut items: Vec<(Cursor, Stored<T>)> =
        all.into_iter().map(|stored| (place(&stored), stored)).collect();
    items.retain(|(c, _)| {
        page.after.as_ref().is_none_or(|a| order(c) > order(a))
            && page.before.as_ref().is_none_or(|b| order(c) < order(b))
    });
    let has_more = items.len() > count;
    if page.backwards {
        items.drain(..items.len().saturating_sub(count));
    } else {
        items.truncate(count);
    }
    let (has_next, has_previous) = page.more(has_more);
    Page::of(items, has_next, has_previous)
}

/// Whether everything of `of` is in `scope`; `None` is everything there is.
fn lies_in(scope: Option<&[Uuid]>, of: Option<impl Iterator<Item = Uuid>>) -> bool {
    match (scope, of) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(scope), Some(mut of)) => of.all(|id| scope.contains(&id)),
    }
}
