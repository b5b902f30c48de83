//! `GET /{version}/{WABA id}/message_templates`.

use domain::api_key::Scope;
use domain::primitives::AccountId;
use domain::template::{Template, TemplateCategory, TemplateStatus};
use projections::TemplateFilter;
use serde_json::{Map, Value, json};

use super::{Answered, Refusal};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::check;
use crate::application::error::AppError;
use crate::application::page::{PAGE_MAX, PageArgs};
use crate::application::read;

/// Templates of a page where nothing is said.
const PAGE_DEFAULT: i32 = 25;
/// What a template can be asked for. `quality_score` is not among them: WhatsApp tells since when, which clients rely on
/// and the gateway does not know.
const FIELDS: [&str; 8] = [
    "id",
    "name",
    "language",
    "status",
    "category",
    "parameter_format",
    "components",
    "rejected_reason",
];
/// Names in one list of a query.
const FIELDS_MAX: usize = 20;
/// Never left out.
const ID: &str = "id";

/// The query of the request, as WhatsApp names it. Where there may be several, commas stand between them.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub limit: Option<i32>,
    pub after: Option<String>,
    pub before: Option<String>,
    /// In the name, as WhatsApp compares: loosely.
    pub name: Option<String>,
    pub language: Option<String>,
    pub status: Option<String>,
    pub category: Option<String>,
    /// What the gateway does not know of a template is left out, as WhatsApp leaves out what has no value.
    pub fields: Option<String>,
    pub summary: Option<String>,
}

/// A page, and the cursors around it where there is more.
#[derive(Clone, Debug)]
pub struct Templates {
    pub data: Vec<Value>,
    /// What was asked for in `summary`; null where the gateway does not know.
    pub summary: Option<Value>,
    pub before: Option<String>,
    pub after: Option<String>,
    pub has_next: bool,
    pub has_previous: bool,
}

/// The templates of a WhatsApp business account that exist at WhatsApp, oldest first. Scope READ.
///
/// # Errors
/// [`Refusal`].
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    waba_id: &str,
    listing: Listing,
) -> Answered<Templates> {
    caller.require(Scope::Read).map_err(|error| Refusal::of(&error))?;
    let refused = |error: AppError| match error.field.as_deref() {
        Some("after" | "before") => Refusal::cursor(),
        _ => Refusal::of(&error),
    };
    let queries = read::queries(gateway);
    let accounts = queries.accounts_by_waba(waba_id).await.map_err(AppError::from);
    // Each account of a WABA keeps all of its templates.
    let account = accounts
        .map_err(refused)?
        .into_iter()
        .find(|account| caller.may_see(account.state.workspace_id, Some(AccountId(account.id))));
    let account = account.ok_or_else(|| Refusal::no_such_object("GET", waba_id))?;
    let fields = fields_of(listing.fields.as_deref());
    let limit = listing.limit.unwrap_or(PAGE_DEFAULT);
    if !usize::try_from(limit).is_ok_and(|limit| (1..=PAGE_MAX).contains(&limit)) {
        return Err(Refusal::parameter(format!("limit: use 1 to {PAGE_MAX}")));
    }
    let all = TemplateFilter {
        account_ids: Some(vec![account.id]),
        at_whatsapp: true,
        ..TemplateFilter::default()
    };
    let filter = TemplateFilter {
        status: listing.status.as_deref().map(|list| each(list, status_of)).transpose()?,
        category: listing.category.as_deref().map(|list| each(list, category_of)).transpose()?,
        languages: listing
            .language
            .as_deref()
            .map(|l| each(l, |l| Ok(l.to_owned())))
            .transpose()?,
        search: listing.name,
        ..all.clone()
    };
    check::search(filter.search.as_ref()).map_err(refused)?;
    let backwards = listing.before.is_some() && listing.after.is_none();
    let page = PageArgs {
        first: (!backwards).then_some(limit),
        last: backwards.then_some(limit),
        after: listing.after,
        before: listing.before,
    };
    let page = read::page_request(page).map_err(refused)?;
    let found = queries.templates(&read::scope(caller), &filter, &page).await;
    let found = found.map_err(|error| refused(error.into()))?;
    let page = read::page(found, |stored| Some(shown(&stored.state, &fields)));
    let mut summary = None;
    if let Some(asked) = listing.summary {
        let scope = read::scope(caller);
        let count = async |filter| {
            let total = queries.count_templates(&scope, filter).await;
            total.map(|total| total.count).map_err(|error| refused(error.into()))
        };
        let mut told = Map::new();
        for name in asked.split(',').map(str::trim).filter(|name| !name.is_empty()).take(FIELDS_MAX)
        {
            let value = match name {
                "total_count" => json!(count(&filter).await?),
                "message_template_count" => json!(count(&all).await?),
                _ => Value::Null,
            };
            told.insert(name.to_owned(), value);
        }
        summary = Some(Value::Object(told));
    }
    Ok(Templates {
        summary,
        data: page.edges.into_iter().map(|edge| edge.node).collect(),
        before: page.start_cursor,
        after: page.end_cursor,
        has_next: page.has_next_page,
        has_previous: page.has_previous_page,
    })
}

/// Each of a list with commas.
fn each<T>(list: &str, read: impl Fn(&str) -> Answered<T>) -> Answered<Vec<T>> {
    list.split(',').map(str::trim).take(FIELDS_MAX).map(read).collect()
}

fn category_of(text: &str) -> Answered<TemplateCategory> {
    TemplateCategory::parse(&text.to_ascii_uppercase())
        .ok_or_else(|| Refusal::parameter("category: use MARKETING, UTILITY or AUTHENTICATION"))
}

fn status_of(text: &str) -> Answered<TemplateStatus> {
    let known = [
        TemplateStatus::Pending,
        TemplateStatus::Approved,
        TemplateStatus::Rejected,
        TemplateStatus::Paused,
        TemplateStatus::Disabled,
    ];
    let found = known.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        Refusal::parameter("status: use APPROVED, PENDING, REJECTED, PAUSED or DISABLED")
    })
}

/// `name,components{…}`: names alone, since what lies within them is shown whole.
fn fields_of(asked: Option<&str>) -> Vec<&'static str> {
    let Some(asked) = asked else { return FIELDS.to_vec() };
    let mut depth = 0_usize;
    let mut flat = String::new();
    for c in asked.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if depth == 0 => flat.push(c),
            _ => {}
        }
    }
    let is_asked = |field: &&str| *field == ID || flat.split(',').any(|name| name.trim() == *field);
    FIELDS.into_iter().filter(is_asked).collect()
}

fn shown(template: &Template, fields: &[&str]) -> Value {
    let is_named = || {
        let slots = template.parsed().map(|components| components.slots()).unwrap_or_default();
        slots.iter().any(|slot| {
            let variable = slot.name.strip_prefix("body.");
            variable.is_some_and(|name| !name.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    let mut shown = Map::new();
    for field in fields {
        let value = match *field {
            "id" => json!(template.whatsapp_id),
            "name" => json!(template.name),
            "language" => json!(template.language),
            "status" => json!(template.status.as_str()),
            "category" => json!(template.category.map(TemplateCategory::as_str)),
            "parameter_format" => json!(if is_named() { "NAMED" } else { "POSITIONAL" }),
            "components" => template.components.clone(),
            "rejected_reason" if template.status == TemplateStatus::Rejected => {
                json!(template.status_reason)
            }
            _ => continue,
        };
        shown.insert((*field).to_owned(), value);
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_whole_and_what_is_not_known_is_left_out() {
        let fields = fields_of(Some("price, components{text,buttons{url}},name"));
        assert_eq!(fields, ["id", "name", "components"]);
        assert_eq!(fields_of(None), FIELDS);
    }

    #[test]
    fn a_list_has_commas_and_names_what_it_takes() {
        let statuses = each("APPROVED,paused", status_of).unwrap();
        assert_eq!(statuses, [TemplateStatus::Approved, TemplateStatus::Paused]);
        assert_eq!(each("APPROVED,nice", status_of).unwrap_err().code, 100);
    }
}
