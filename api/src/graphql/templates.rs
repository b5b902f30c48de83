//! Templates.

use async_graphql::{
    ComplexObject, Context, ID, InputObject, MaybeUndefined, Object, SimpleObject,
};
use domain::port::AggregateType;
use domain::primitives::TemplateId;

use super::connection::{Counted, EventConnection, TemplateConnection, page_args};
use super::enums::{QualityRating, TemplateCategory, TemplateStatus};
use super::events::history;
use super::scalars::{Instant, Json, Place};
use super::session::{Answer, all, asked, int, replace, texts};
use crate::application::templates;
use crate::application::view::{TemplateView, Written};

/// A message that WhatsApp has to approve, in one language.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Template {
    #[graphql(skip)]
    key: TemplateId,
    /// Its id.
    id: ID,
    /// The account whose business it belongs to.
    account_id: ID,
    /// Its name at WhatsApp.
    name: String,
    /// WhatsApp's code of its language, such as en_US.
    language: String,
    /// WhatsApp's category; WhatsApp may change it.
    category: TemplateCategory,
    /// Where it is in its life.
    status: TemplateStatus,
    /// Why WhatsApp refused or paused it.
    status_reason: Option<String>,
    /// How WhatsApp rates it.
    quality: QualityRating,
    /// WhatsApp's own components array.
    components: Json,
    /// The parameters a send must fill, in order: body.1, header.image, button.0.url …
    parameters: Vec<String>,
    /// When it came to be known here.
    created_at: Instant,
}

impl From<TemplateView> for Template {
    fn from(view: TemplateView) -> Self {
        Self {
            key: view.id,
            id: view.id.0.into(),
            account_id: view.account_id.0.into(),
            name: view.name,
            language: view.language,
            category: view.category.into(),
            status: view.status.into(),
            status_reason: view.status_reason,
            quality: view.quality.into(),
            components: Json(view.components),
            parameters: view.parameters,
            created_at: Instant(view.created_at),
        }
    }
}

#[ComplexObject]
impl Template {
    /// Every fact about this template, in order.
    async fn history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<EventConnection> {
        history(ctx, AggregateType::Template, self.key.0, first, after).await
    }
}

/// Which templates; what is left out does not narrow.
#[derive(Debug, Default, InputObject)]
pub struct TemplateFilter {
    /// Of any of these accounts.
    account_ids: Option<Vec<ID>>,
    /// Any of these.
    status: Option<Vec<TemplateStatus>>,
    /// Any of these.
    category: Option<Vec<TemplateCategory>>,
    /// Part of the name.
    search: Option<String>,
}

impl From<TemplateFilter> for templates::TemplateFilter {
    fn from(filter: TemplateFilter) -> Self {
        Self {
            account_ids: texts(filter.account_ids),
            status: all(filter.status),
            category: all(filter.category),
            search: filter.search,
        }
    }
}

/// A template to draft.
#[derive(Debug, InputObject)]
pub struct CreateTemplateInput {
    /// The account whose business it belongs to.
    account_id: ID,
    /// Lower case letters, digits and underscores.
    name: String,
    /// WhatsApp's code of its language, such as en_US.
    language: String,
    /// WhatsApp's category.
    category: TemplateCategory,
    /// WhatsApp's own components array.
    components: Json,
    /// The same key with the same input answers the first result again.
    idempotency_key: Option<String>,
}

/// Changes to a template: what is left out stays.
#[derive(Debug, InputObject)]
pub struct UpdateTemplateInput {
    /// Which template.
    id: ID,
    /// WhatsApp's category.
    category: MaybeUndefined<TemplateCategory>,
    /// WhatsApp's own components array.
    components: MaybeUndefined<Json>,
    /// The sequence of the last event that the change is based on; CONFLICT where there is a newer one.
    expected_sequence: Option<i32>,
}

/// What became of a template.
#[derive(SimpleObject)]
pub struct TemplatePayload {
    /// The template as it is now.
    template: Template,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<TemplateView>> for TemplatePayload {
    fn from(written: Written<TemplateView>) -> Self {
        Self { template: written.value.into(), position: Place(written.position) }
    }
}

/// What WhatsApp's list of templates changed here.
#[derive(Clone, Debug, SimpleObject)]
pub struct SyncTemplatesPayload {
    /// New here.
    added: i32,
    /// Different from what was known.
    changed: i32,
    /// Gone at WhatsApp.
    removed: i32,
    /// The position of the last event of this command.
    position: Place,
}

#[derive(Default)]
pub(super) struct TemplateQuery;

#[Object]
impl TemplateQuery {
    /// One template. Scope READ.
    async fn template(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<Template>> {
        let (gateway, caller) = asked(ctx);
        let min_position = min_position.map(|place| place.0);
        Ok(Some(templates::get(gateway, caller, &id, min_position).await?.into()))
    }

    /// Templates, oldest first. Scope READ.
    #[expect(clippy::too_many_arguments, reason = "a list takes these")]
    async fn templates(
        &self,
        ctx: &Context<'_>,
        filter: Option<TemplateFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<TemplateConnection> {
        let (gateway, caller) = asked(ctx);
        let filter = templates::TemplateFilter::from(filter.unwrap_or_default());
        let args = page_args(first, after, last, before);
        let page = templates::list(
            gateway,
            caller,
            filter.clone(),
            args,
            min_position.map(|place| place.0),
        )
        .await?;
        Ok(TemplateConnection::new(page, Counted::Templates(filter)))
    }
}

/// A sample that was uploaded.
#[derive(SimpleObject)]
pub struct TemplateSamplePayload {
    /// What goes into example.header_handle.
    handle: String,
}

#[derive(Default)]
pub(super) struct TemplateMutation;

#[Object]
impl TemplateMutation {
    /// A file for the sample of a template's image, video or document header (WhatsApp's resumable upload): what goes into
    /// example.header_handle. Records nothing. Scope MANAGE.
    async fn upload_template_sample(
        &self,
        ctx: &Context<'_>,
        account_id: ID,
        file_name: String,
        #[graphql(desc = "image/jpeg, image/png, video/mp4 or application/pdf.")] mime_type: String,
        #[graphql(desc = "base64, at most 3 MB of it decoded: a request has no room for more.")]
        data: String,
    ) -> Answer<TemplateSamplePayload> {
        let (gateway, caller) = asked(ctx);
        let sample =
            templates::TemplateSample { account_id: account_id.0, file_name, mime_type, data };
        Ok(TemplateSamplePayload {
            handle: templates::upload_sample(gateway, caller, sample).await?,
        })
    }

    /// Drafts a template here. Scope MANAGE.
    async fn create_template(
        &self,
        ctx: &Context<'_>,
        input: CreateTemplateInput,
    ) -> Answer<TemplatePayload> {
        let (gateway, caller) = asked(ctx);
        let input = templates::CreateTemplate {
            account_id: input.account_id.0,
            name: input.name,
            language: input.language,
            category: input.category.into(),
            components: input.components.0,
            idempotency_key: input.idempotency_key,
        };
        Ok(templates::create(gateway, caller, input).await?.into())
    }

    /// Changes a template. Scope MANAGE.
    async fn update_template(
        &self,
        ctx: &Context<'_>,
        input: UpdateTemplateInput,
    ) -> Answer<TemplatePayload> {
        let (gateway, caller) = asked(ctx);
        let input = templates::UpdateTemplate {
            id: input.id.0,
            category: replace(input.category, "input.category")?.map(Into::into),
            components: replace(input.components, "input.components")?.map(|json| json.0),
            expected_sequence: input.expected_sequence,
        };
        Ok(templates::update(gateway, caller, input).await?.into())
    }

    /// Sends the draft to WhatsApp for review; its verdict arrives by webhook. Scope MANAGE.
    async fn submit_template(&self, ctx: &Context<'_>, id: ID) -> Answer<TemplatePayload> {
        let (gateway, caller) = asked(ctx);
        Ok(templates::submit(gateway, caller, &id).await?.into())
    }

    /// Brings in the templates that exist at WhatsApp. Scope MANAGE.
    async fn sync_templates(
        &self,
        ctx: &Context<'_>,
        account_id: ID,
    ) -> Answer<SyncTemplatesPayload> {
        let (gateway, caller) = asked(ctx);
        let result = templates::sync(gateway, caller, &account_id).await?;
        Ok(SyncTemplatesPayload {
            added: int(result.added),
            changed: int(result.changed),
            removed: int(result.removed),
            position: Place(result.position),
        })
    }

    /// Deletes a template, at WhatsApp too. Scope MANAGE.
    async fn delete_template(&self, ctx: &Context<'_>, id: ID) -> Answer<TemplatePayload> {
        let (gateway, caller) = asked(ctx);
        Ok(templates::delete(gateway, caller, &id).await?.into())
    }
}
