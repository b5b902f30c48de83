//! Templates over the Graph paths: submitting, listing, editing, deleting.

use serde_json::{Value, json};

use super::entry::Entry;
use super::error::GraphError;
use super::graph::{Ready, Request, page, selected};
use super::number::TemplateVerdict;
use super::state::State;
use super::template::{self, Template};
use crate::cloud_api::wire::response::Success;
use crate::cloud_api::wire::template::CreatedTemplate;

type Checked<T> = Result<T, GraphError>;

/// Templates of an account, each language counted.
const TEMPLATES_MAX: usize = 6000;
/// Templates created in an hour.
const CREATED_MAX: usize = 100;
const FIELDS: &str = "id,name,language,status,category,parameter_format,components";

impl State {
    pub(crate) fn create_template(&mut self, waba: &str, request: &Request) -> Checked<Ready> {
        let draft = template::draft(&request.body_object()?)?;
        if self.template(waba, &draft.name, &draft.language).is_some() {
            return Err(GraphError::template(
                2388024,
                format!(
                    "There is already {} content for this template, edit it or choose another name",
                    draft.language
                ),
            ));
        }
        if self.templates.values().filter(|template| template.waba_id == waba).count()
            >= TEMPLATES_MAX
        {
            return Err(GraphError::template(
                2388019,
                format!("An account has at most {TEMPLATES_MAX} templates"),
            ));
        }
        if let Some(waba) = self.wabas.get_mut(waba)
            && !waba.created.admit(request.now(), CREATED_MAX)
        {
            return Err(GraphError::new(
                80007,
                format!("more than {CREATED_MAX} templates created in an hour"),
            ));
        }
        let approve = self.verdict_of(waba) == TemplateVerdict::Approve;
        let template = Template {
            id: self.take_id(),
            waba_id: waba.to_owned(),
            name: draft.name,
            language: draft.language,
            category: draft.category,
            format: draft.format,
            components: draft.components,
            status: if approve { "APPROVED" } else { "PENDING" }.to_owned(),
            quality: "UNKNOWN".to_owned(),
            ttl_seconds: draft.ttl_seconds,
            rejected_reason: None,
            previous_category: None,
            created_ms: request.now(),
        };
        let answer = CreatedTemplate {
            id: template.id.to_string(),
            status: Some(template.status.as_str().into()),
            category: Some(template.category.as_str().into()),
        };
        Ok(self.stored(template, json!(answer), request.now()))
    }

    fn verdict_of(&self, waba: &str) -> TemplateVerdict {
        let approve = self.numbers.values().any(|number| {
            number.spec().waba_id == waba
                && number.spec().template_verdict == TemplateVerdict::Approve
        });
        if approve { TemplateVerdict::Approve } else { TemplateVerdict::Manual }
    }

    /// Keeps a template that was submitted, and tells the verdict where it is given at once.
    fn stored(&mut self, template: Template, answer: Value, now: i64) -> Ready {
        let mut entries = vec![Entry::Template { template: Box::new(template.clone()) }];
        if template.status == "APPROVED" {
            let value = json!({
                "event": "APPROVED",
                "message_template_id": template.id,
                "message_template_name": template.name,
                "message_template_language": template.language.replace('_', "-"),
                "message_template_category": template.category,
                "reason": "NONE",
            });
            entries.extend(self.account_webhook(
                &template.waba_id,
                "message_template_status_update",
                &value,
                now,
            ));
        }
        self.committed(entries, answer)
    }

    pub(crate) fn list_templates(&self, waba: &str, request: &Request) -> Checked<Ready> {
        let filter = |key: &str| {
            request.query(key).map(|list| {
                list.split(',').map(|word| word.trim().to_lowercase()).collect::<Vec<_>>()
            })
        };
        let (status, category, language, quality) =
            (filter("status"), filter("category"), filter("language"), filter("quality_score"));
        let name =
            request.query("name").or(request.query("name_or_content")).map(str::to_lowercase);
        let is_in = |wanted: &Option<Vec<String>>, found: &str| {
            wanted.as_ref().is_none_or(|words| words.contains(&found.to_lowercase()))
        };
        let items = self
            .templates
            .values()
            .filter(|template| template.waba_id == waba)
            .filter(|template| {
                is_in(&status, &template.status) && is_in(&category, &template.category)
            })
            .filter(|template| {
                is_in(&language, &template.language) && is_in(&quality, &template.quality)
            })
            .filter(|template| {
                name.as_ref().is_none_or(|part| template.name.contains(part.as_str()))
            })
            .map(|template| (format!("{:020}", template.id), template.listed()))
            .collect();
        page(items, request.query("fields").unwrap_or(FIELDS), request)
    }

    pub(crate) fn read_template(&self, id: u64, request: &Request) -> Checked<Ready> {
        let found = self
            .templates
            .get(&id)
            .ok_or_else(|| GraphError::no_such_object("get", &id.to_string()))?;
        let mut listed = found.listed();
        listed["health_status"] = json!(self.template_health(found));
        selected(listed, request.query("fields").unwrap_or(FIELDS))
    }

    pub(crate) fn edit_template(&mut self, id: u64, request: &Request) -> Checked<Ready> {
        let body = request.body_object()?;
        let mut edited = self
            .templates
            .get(&id)
            .cloned()
            .ok_or_else(|| GraphError::no_such_object("post", &id.to_string()))?;
        if !["APPROVED", "REJECTED", "PAUSED"].contains(&edited.status.as_str()) {
            return Err(GraphError::template(
                2388003,
                format!(
                    "A template that is {} cannot be edited, only APPROVED, REJECTED and PAUSED ones",
                    edited.status
                ),
            ));
        }
        if let Some(word) = body.get("category").and_then(Value::as_str) {
            let category = template::category(word)?;
            if edited.status == "APPROVED" && category != edited.category {
                return Err(GraphError::template(
                    2388003,
                    "The category of an approved template cannot be changed",
                ));
            }
            edited.category = category;
        }
        let touched = ["category", "components", "message_send_ttl_seconds"]
            .iter()
            .any(|key| body.contains_key(*key));
        if !touched {
            return Err(GraphError::platform(
                100,
                "One of category, components and message_send_ttl_seconds is required.",
            ));
        }
        if body.contains_key("components") {
            edited.components =
                template::components(body.get("components"), &edited.category, &edited.format)?;
        }
        if body.contains_key("message_send_ttl_seconds") {
            edited.ttl_seconds =
                template::ttl(body.get("message_send_ttl_seconds"), &edited.category)?;
        }
        let approve = self.verdict_of(&edited.waba_id) == TemplateVerdict::Approve;
        if approve { "APPROVED" } else { "PENDING" }.clone_into(&mut edited.status);
        edited.rejected_reason = None;
        Ok(self.stored(edited, json!(Success { success: true }), request.now()))
    }

    pub(crate) fn unpause_template(&mut self, id: u64) -> Checked<Ready> {
        let mut found = self
            .templates
            .get(&id)
            .cloned()
            .ok_or_else(|| GraphError::no_such_object("post", &id.to_string()))?;
        if found.status != "PAUSED" {
            return Err(GraphError::template(
                2388003,
                format!("The template is {}, not PAUSED", found.status),
            ));
        }
        "APPROVED".clone_into(&mut found.status);
        Ok(self.done_with(vec![Entry::Template { template: Box::new(found) }]))
    }

    pub(crate) fn delete_templates(&mut self, waba: &str, request: &Request) -> Checked<Ready> {
        let name = request
            .query("name")
            .ok_or_else(|| GraphError::platform(100, "The parameter name is required."))?
            .to_owned();
        let one =
            match request.query("hsm_id") {
                None => None,
                Some(id) => Some(id.parse::<u64>().map_err(|_| {
                    GraphError::platform(100, "Param hsm_id must be a template's id.")
                })?),
            };
        let gone: Vec<(u64, String)> = self
            .templates
            .values()
            .filter(|template| template.waba_id == waba && template.name == name)
            .filter(|template| one.is_none_or(|id| id == template.id))
            .map(|template| (template.id, template.status.clone()))
            .collect();
        if gone.is_empty() {
            return Err(GraphError::template(
                2593002,
                format!("There is no template {name} in this account"),
            ));
        }
        if gone.iter().any(|(_, status)| status == "DISABLED") {
            return Err(GraphError::template(2388003, "A disabled template cannot be deleted"));
        }
        Ok(self.done_with(gone.into_iter().map(|(id, _)| Entry::TemplateGone { id }).collect()))
    }
}
