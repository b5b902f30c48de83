//! Imports of contacts.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use domain::import::{ImportRowError, ImportSource};
use domain::primitives::ImportId;

use super::connection::{ContactImportConnection, Counted, page_args};
use super::enums::{ConsentStatus, ImportStatus};
use super::scalars::{Instant, Json, Place};
use super::session::{Answer, asked, int};
use crate::application::imports;
use crate::application::page;
use crate::application::view::{ImportView, Written};

/// One run of bringing contacts in.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct ContactImport {
    #[graphql(skip)]
    key: ImportId,
    #[graphql(skip)]
    row_errors: Option<Vec<ImportRowError>>,
    /// Its id.
    id: ID,
    /// The workspace that the contacts go to.
    workspace_id: ID,
    /// How far it is. COMPLETED means that lists of contacts show them.
    status: ImportStatus,
    /// Why it failed, where it did.
    reason: Option<String>,
    /// Whether it only reports what would happen.
    dry_run: bool,
    /// Rows read.
    rows: i32,
    /// New contacts.
    added: i32,
    /// Contacts that were known.
    updated: i32,
    /// Rows that could not be used; each has an error.
    rejected: i32,
    /// Whether there are more errors than the thousand that are kept.
    errors_truncated: bool,
    /// When it began.
    started_at: Option<Instant>,
    /// When it was taken back.
    undone_at: Option<Instant>,
}

impl From<ImportView> for ContactImport {
    fn from(view: ImportView) -> Self {
        Self {
            key: view.id,
            row_errors: view.errors,
            id: view.id.0.into(),
            workspace_id: view.workspace_id.0.into(),
            status: view.status.into(),
            reason: view.reason,
            dry_run: view.dry_run,
            rows: int(view.rows),
            added: int(view.added),
            updated: int(view.updated),
            rejected: int(view.rejected),
            errors_truncated: view.errors_truncated,
            started_at: view.started_at.map(Instant),
            undone_at: view.undone_at.map(Instant),
        }
    }
}

#[ComplexObject]
impl ContactImport {
    /// The rejected rows, first ones first; cells are never quoted.
    async fn errors(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, at most 500; 50 where left out.")] first: Option<i32>,
    ) -> Answer<Vec<ImportError>> {
        let count = page::limit(first, "first")?;
        let errors = match &self.row_errors {
            Some(known) => known.iter().take(count).cloned().collect(),
            None => imports::errors(asked(ctx).0, self.key, count).await?,
        };
        let errors = errors.into_iter().map(|error| ImportError {
            row: int(error.row),
            column: error.column,
            message: error.message,
        });
        Ok(errors.collect())
    }
}

/// A row that could not be used.
#[derive(Clone, Debug, SimpleObject)]
pub struct ImportError {
    /// The line of the file, as people count: the header is usually the first.
    row: i32,
    /// The column that is wrong.
    column: Option<String>,
    /// What is wrong, and what would be right.
    message: String,
}

/// Contacts as CSV.
#[derive(Debug, InputObject)]
pub struct ImportContactsInput {
    /// May be left out where the key has only one.
    workspace_id: Option<ID>,
    /// CSV text with a header row: at most 1 MB here; larger files go to POST /imports.
    csv: String,
    /// Only reports what would happen.
    #[graphql(default_with = "Some(false)")]
    dry_run: Option<bool>,
    /// An object of header → field, where the aliases do not fit.
    mapping: Option<Json>,
    /// ISO 3166 region for numbers in national form.
    default_region: Option<String>,
    /// Tags for every contact of the file.
    tags: Option<Vec<String>>,
    /// What they all said about being written to; a column `consent` goes before it.
    consent: Option<ConsentStatus>,
    /// Where that is known from.
    consent_source: Option<String>,
    /// The same key with the same input answers the first result again.
    idempotency_key: Option<String>,
}

/// What became of an import.
#[derive(SimpleObject)]
pub struct ContactImportPayload {
    /// The import as it is now.
    #[graphql(name = "import")]
    contact_import: ContactImport,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<ImportView>> for ContactImportPayload {
    fn from(written: Written<ImportView>) -> Self {
        Self { contact_import: written.value.into(), position: Place(written.position) }
    }
}

#[derive(Default)]
pub(super) struct ImportQuery;

#[Object]
impl ImportQuery {
    /// One import. Scope READ.
    #[graphql(name = "import")]
    async fn contact_import(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<ContactImport>> {
        let (gateway, caller) = asked(ctx);
        let min_position = min_position.map(|place| place.0);
        Ok(Some(imports::get(gateway, caller, &id, min_position).await?.into()))
    }

    /// Imports, newest first. Scope READ.
    #[expect(clippy::too_many_arguments, reason = "a list takes these")]
    async fn imports(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this workspace only.")] workspace_id: Option<ID>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<ContactImportConnection> {
        let (gateway, caller) = asked(ctx);
        let workspace_id = workspace_id.map(|id| id.0);
        let page = page_args(first, after, last, before);
        let min_position = min_position.map(|place| place.0);
        let page =
            imports::list(gateway, caller, workspace_id.as_deref(), page, min_position).await?;
        Ok(ContactImportConnection::new(page, Counted::Imports(workspace_id)))
    }
}

#[derive(Default)]
pub(super) struct ImportMutation;

#[Object]
impl ImportMutation {
    /// Starts an import from CSV text with a header row; large files go to POST /imports. Bad rows are reported, good rows
    /// kept. Scope MANAGE.
    async fn import_contacts(
        &self,
        ctx: &Context<'_>,
        input: ImportContactsInput,
    ) -> Answer<ContactImportPayload> {
        let (gateway, caller) = asked(ctx);
        let start = imports::StartImport {
            workspace_id: input.workspace_id.map(|id| id.0),
            dry_run: input.dry_run.unwrap_or(false),
            mapping: input.mapping.map(|json| json.0).filter(|json| !json.is_null()),
            default_region: input.default_region,
            tags: input.tags.unwrap_or_default(),
            consent: input.consent.map(Into::into),
            consent_source: input.consent_source,
            file_name: None,
            source: ImportSource::Inline,
            idempotency_key: input.idempotency_key,
        };
        Ok(imports::start_inline(gateway, caller, input.csv, start).await?.into())
    }

    /// Takes back what one import added or changed, as far as nothing newer stands on it. Scopes MANAGE and PERSONAL.
    async fn undo_import(&self, ctx: &Context<'_>, id: ID) -> Answer<ContactImportPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(imports::undo(gateway, caller, &id).await?.into())
    }
}
