//! The directory's tables as the program knows them, and the row that each aggregate's state becomes.

use chrono::{DateTime, Utc};
use domain::GatewayAggregate;
use domain::account::Account;
use domain::api_key::ApiKey;
use domain::campaign::Campaign;
use domain::import::Import;
use domain::segment::Segment;
use domain::template::Template;
use domain::user::User;
use domain::webhook_endpoint::WebhookEndpoint;
use domain::workspace::Workspace;
use uuid::Uuid;

use crate::messages::text_of;
use crate::store::{Kind, Schema, Table, Value, keep, set};

pub static SCHEMA: Schema = Schema {
    name: "directory",
    version: 4,
    ddl: include_str!("../../migrations/directory.sql"),
    tables: &[
        &WORKSPACES,
        &ACCOUNTS,
        &TEMPLATES,
        &SEGMENTS,
        &IMPORTS,
        &IMPORT_ERRORS,
        &CAMPAIGNS,
        &API_KEYS,
        &WEBHOOK_ENDPOINTS,
        &USERS,
    ],
};

/// An aggregate that is listed whole: its key columns, then its own, then `sequence` and `doc`.
pub(crate) trait Listed: GatewayAggregate + serde::Serialize {
    const TABLE: &'static Table;

    /// The columns between `id` and `sequence`. `None` for a stream that has no first event we know.
    fn columns(&self) -> Option<Vec<Value>>;

    fn catalogue() -> &'static [(&'static str, u32)];

    /// What of the state is kept in its row.
    fn doc(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    fn row(&self, id: Uuid, sequence: u64) -> Option<Vec<Value>> {
        let mut row = vec![id.into()];
        row.extend(self.columns()?);
        row.extend([sequence.into(), self.doc()?.into()]);
        Some(row)
    }
}

fn at(created_at: Option<DateTime<Utc>>) -> Value {
    created_at.unwrap_or_default().into()
}

/// What a search looks in, in lower case, a line each.
fn search<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> Value {
    let parts: Vec<String> = parts.into_iter().flatten().map(str::to_lowercase).collect();
    parts.join("\n").into()
}

pub static WORKSPACES: Table = Table {
    name: "workspaces",
    columns: &[
        keep("id", Kind::Uuid),
        keep("created_at", Kind::Int),
        set("name", Kind::Text),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

impl Listed for Workspace {
    const TABLE: &'static Table = &WORKSPACES;

    fn columns(&self) -> Option<Vec<Value>> {
        self.id?;
        Some(vec![at(self.created_at), self.name.as_str().into()])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::workspace::WorkspaceEvent::CATALOGUE
    }
}

pub static ACCOUNTS: Table = Table {
    name: "accounts",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("created_at", Kind::Int),
        keep("provider", Kind::Text),
        keep("phone_number_id", Kind::Text),
        keep("waba_id", Kind::Text),
        set("status", Kind::Text),
        set("search", Kind::Text),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

impl Listed for Account {
    const TABLE: &'static Table = &ACCOUNTS;

    fn columns(&self) -> Option<Vec<Value>> {
        Some(vec![
            self.workspace_id?.0.into(),
            at(self.connected_at),
            text_of(&self.provider?),
            self.phone_number_id.as_str().into(),
            self.waba_id.as_str().into(),
            self.status.as_str().into(),
            search([
                Some(self.settings.name.as_str()),
                self.display_phone_number.as_deref(),
                self.verified_name.as_deref(),
                Some(self.phone_number_id.as_str()),
            ]),
        ])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::account::AccountEvent::CATALOGUE
    }
}

pub static TEMPLATES: Table = Table {
    name: "templates",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("account_id", Kind::Uuid),
        keep("created_at", Kind::Int),
        keep("name", Kind::Text),
        keep("language", Kind::Text),
        set("category", Kind::Text),
        set("status", Kind::Text),
        set("search", Kind::Text),
        set("whatsapp_id", Kind::Text),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

impl Listed for Template {
    const TABLE: &'static Table = &TEMPLATES;

    fn columns(&self) -> Option<Vec<Value>> {
        Some(vec![
            self.workspace_id?.0.into(),
            self.account_id?.0.into(),
            at(self.created_at),
            self.name.as_str().into(),
            self.language.as_str().into(),
            self.category?.as_str().into(),
            self.status.as_str().into(),
            search([Some(self.name.as_str())]),
            self.whatsapp_id.as_deref().into(),
        ])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::template::TemplateEvent::CATALOGUE
    }
}

pub static SEGMENTS: Table = Table {
    name: "segments",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("created_at", Kind::Int),
        set("name", Kind::Text),
        set("deleted", Kind::Int),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

impl Listed for Segment {
    const TABLE: &'static Table = &SEGMENTS;

    fn columns(&self) -> Option<Vec<Value>> {
        Some(vec![
            self.workspace_id?.0.into(),
            at(self.created_at),
            self.name.as_str().into(),
            self.deleted.into(),
        ])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::segment::SegmentEvent::CATALOGUE
    }
}

pub static IMPORTS: Table = Table {
    name: "imports",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("created_at", Kind::Int),
        set("status", Kind::Text),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

pub static IMPORT_ERRORS: Table = Table {
    name: "import_errors",
    columns: &[
        keep("import_id", Kind::Uuid),
        keep("n", Kind::Int),
        keep("row_number", Kind::Int),
        keep("column_name", Kind::Text),
        keep("message", Kind::Text),
    ],
    key: 2,
};

impl Listed for Import {
    const TABLE: &'static Table = &IMPORTS;

    fn columns(&self) -> Option<Vec<Value>> {
        Some(vec![self.workspace_id?.0.into(), at(self.started_at), self.status.as_str().into()])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::import::ImportEvent::CATALOGUE
    }
}

pub static CAMPAIGNS: Table = Table {
    name: "campaigns",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("account_id", Kind::Uuid),
        keep("created_at", Kind::Int),
        set("template_id", Kind::Uuid),
        set("status", Kind::Text),
        set("deleted", Kind::Int),
        set("held", Kind::Int),
        set("start_at", Kind::Int),
        set("external_id", Kind::Text),
        set("search", Kind::Text),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

impl Listed for Campaign {
    const TABLE: &'static Table = &CAMPAIGNS;

    fn columns(&self) -> Option<Vec<Value>> {
        let plan = self.plan.as_ref();
        Some(vec![
            self.workspace_id?.0.into(),
            self.account_id?.0.into(),
            at(self.created_at),
            plan.map(|plan| plan.template_id.0).into(),
            self.status.as_str().into(),
            self.deleted.into(),
            self.is_held().into(),
            self.start_at.into(),
            self.external_id.as_deref().into(),
            search([plan.map(|plan| plan.name.as_str()), self.external_id.as_deref()]),
        ])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::campaign::CampaignEvent::CATALOGUE
    }
}

pub static API_KEYS: Table = Table {
    name: "api_keys",
    columns: &[
        keep("id", Kind::Uuid),
        keep("created_at", Kind::Int),
        keep("fingerprint", Kind::Text),
        set("revoked", Kind::Int),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

impl Listed for ApiKey {
    const TABLE: &'static Table = &API_KEYS;

    fn columns(&self) -> Option<Vec<Value>> {
        self.created_at?;
        Some(vec![
            at(self.created_at),
            self.fingerprint.as_str().into(),
            self.revoked_at.is_some().into(),
        ])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::api_key::ApiKeyEvent::CATALOGUE
    }
}

pub static WEBHOOK_ENDPOINTS: Table = Table {
    name: "webhook_endpoints",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("created_at", Kind::Int),
        set("status", Kind::Text),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

impl Listed for WebhookEndpoint {
    const TABLE: &'static Table = &WEBHOOK_ENDPOINTS;

    fn columns(&self) -> Option<Vec<Value>> {
        Some(vec![self.workspace_id?.0.into(), at(self.created_at), self.status.as_str().into()])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::webhook_endpoint::WebhookEndpointEvent::CATALOGUE
    }
}

pub static USERS: Table = Table {
    name: "users",
    columns: &[
        keep("id", Kind::Uuid),
        keep("created_at", Kind::Int),
        set("removed", Kind::Int),
        set("sequence", Kind::Int),
        set("doc", Kind::Text),
    ],
    key: 1,
};

impl Listed for User {
    const TABLE: &'static Table = &USERS;

    fn columns(&self) -> Option<Vec<Value>> {
        self.id?;
        Some(vec![at(self.invited_at), self.removed_at.is_some().into()])
    }

    fn catalogue() -> &'static [(&'static str, u32)] {
        domain::user::UserEvent::CATALOGUE
    }
}
