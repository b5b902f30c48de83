//! Templates: create, edit, delete, list (reference: section 7).

use super::{Access, CallError, CloudApi, Listing, done};
use crate::cloud_api::wire::response::Success;
use crate::cloud_api::wire::template::{CreateTemplate, CreatedTemplate, EditTemplate, Template};

/// What is asked for about a template. One field that the token may not read would make Meta refuse them all, so this
/// holds what every token for templates may.
pub const TEMPLATE_FIELDS: &str = "id,name,language,status,category,parameter_format,components,quality_score,\
                                   rejected_reason,previous_category,message_send_ttl_seconds";

/// Which templates to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateFilter {
    pub name: Option<String>,
    pub language: Option<String>,
    /// `APPROVED` …
    pub status: Option<String>,
}

impl CloudApi {
    /// Submits a template. Where the outcome is unknown, list by name before submitting again.
    ///
    /// # Errors
    /// [`CallError`]; a refusal's details are Meta's words to the author.
    pub async fn create_template(
        &self,
        access: &Access,
        waba_id: &str,
        template: &CreateTemplate,
    ) -> Result<CreatedTemplate, CallError> {
        let body = serde_json::to_value(template).map_err(|_| NOT_JSON)?;
        self.post(access, &[waba_id, "message_templates"], &body).await
    }

    /// Changes a template; components are replaced as a whole.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn edit_template(
        &self,
        access: &Access,
        template_id: &str,
        edit: &EditTemplate,
    ) -> Result<(), CallError> {
        let body = serde_json::to_value(edit).map_err(|_| NOT_JSON)?;
        done(self.post::<Success>(access, &[template_id], &body).await?)
    }

    /// Deletes the template with that id. Meta wants the name beside it: with the name alone it would delete every
    /// language, which this client does not offer.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn delete_template(
        &self,
        access: &Access,
        waba_id: &str,
        template_id: &str,
        name: &str,
    ) -> Result<(), CallError> {
        if template_id.is_empty() || name.is_empty() {
            return Err(CallError::Invalid {
                field: "template",
                problem: "its id and its name are both needed",
            });
        }
        self.delete(
            access,
            &[waba_id, "message_templates"],
            &[("hsm_id", template_id), ("name", name)],
        )
        .await
    }

    /// # Errors
    /// [`CallError`]
    pub async fn template(
        &self,
        access: &Access,
        template_id: &str,
    ) -> Result<Template, CallError> {
        self.get(access, &[template_id], &[("fields", TEMPLATE_FIELDS)]).await
    }

    /// All templates of a WABA that pass the filter. Meta matches names loosely: compare again.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn templates(
        &self,
        access: &Access,
        waba_id: &str,
        filter: &TemplateFilter,
    ) -> Result<Listing<Template>, CallError> {
        let mut query = vec![("fields", TEMPLATE_FIELDS)];
        query.extend(filter.name.as_deref().map(|name| ("name", name)));
        query.extend(filter.language.as_deref().map(|language| ("language", language)));
        query.extend(filter.status.as_deref().map(|status| ("status", status)));
        self.list(access, &[waba_id, "message_templates"], &query, "template").await
    }
}

const NOT_JSON: CallError =
    CallError::Invalid { field: "template", problem: "cannot be written as JSON" };
