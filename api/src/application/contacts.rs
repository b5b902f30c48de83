//! Contacts: people, how WhatsApp knows them, and what they agreed to.

mod change;
mod erase;
mod merge;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::contact::{ConsentStatus, Contact, ContactChanges, ContactCommand};
use domain::port::{AggregateType, EventFeed, EventFilter as LogFilter, Position};
use domain::primitives::{ContactId, PhoneNumber, WorkspaceId};
use domain::segment::Segment;
use domain::template::TemplateCategory;
use infrastructure::phone;
use projections::{WordKind, names};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::caller::Caller;
use super::command;
use super::error::{AppError, AppResult};
use super::page::{self, Page, PageArgs, Total};
use super::view::{ContactView, Written};
use super::{check, read};
use crate::app::Gateway;

pub(crate) use change::introduce;
pub use change::{add, upsert};
pub(crate) use erase::{clean_up, cleaning_task, leave_no_trace};
pub use erase::{erase, finish_erasures};
pub(crate) use merge::join;
pub use merge::merge;

/// Events that are looked through for contacts that have changed since the read model; where there are more, all that were
/// asked for are read anew.
const CHANGES_MAX: usize = 4_000;
/// Tags of one input.
const TAGS_MAX: usize = 100;
/// The longest tag, in characters.
const TAG_CHARS_MAX: usize = 64;
/// Numbers of one filter.
const FILTER_NUMBERS_MAX: usize = 1_000;
/// Bytes of attributes as JSON.
const ATTRIBUTES_BYTES_MAX: usize = 32 * 1024;
/// Where consent comes from when the API's caller does not say.
const API_SOURCE: &str = "api";

/// A tag, and how many contacts have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagCount {
    pub tag: String,
    pub count: u64,
}

/// The tags that are in use, the most used first: of the thousand most used of the workspace those that `search` is part
/// of, in whatever capitals. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED, also where it is not clear which workspace is meant.
pub async fn used_tags(
    gateway: &Gateway,
    caller: &Caller,
    search: Option<String>,
    workspace_id: Option<&str>,
    first: Option<i32>,
) -> AppResult<Vec<TagCount>> {
    caller.require(Scope::Read)?;
    check::search(search.as_ref())?;
    let first = page::limit(first, "first")?;
    let workspace = command::workspace(gateway, caller, workspace_id, "workspaceId").await?;
    let known = read::queries(gateway).vocabulary(workspace.0, WordKind::Tag).await?;
    let part = search.map(|text| text.trim().to_lowercase()).unwrap_or_default();
    let used = known
        .into_iter()
        .filter(|(tag, contacts)| *contacts > 0 && tag.to_lowercase().contains(&part));
    Ok(used.take(first).map(|(tag, count)| TagCount { tag, count }).collect())
}

/// A person to add, or to find and update.
#[derive(Clone, Default, Serialize)]
pub struct AddContact {
    pub workspace_id: Option<String>,
    /// E.164, or national in the region of the workspace's first account.
    pub phone_number: Option<String>,
    /// WhatsApp's user id; it is taken for one of the workspace's first account's portfolio.
    pub user_id: Option<String>,
    pub external_id: Option<String>,
    pub name: Option<String>,
    pub language: Option<String>,
    pub time_zone: Option<String>,
    pub attributes: Option<Value>,
    pub tags: Vec<String>,
    pub consent: Option<ConsentStatus>,
    pub consent_source: Option<String>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

impl std::fmt::Debug for AddContact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddContact").finish_non_exhaustive()
    }
}

/// Changes to a person. `None`: left as it is; `Some(None)`: cleared.
#[derive(Clone, Default)]
pub struct UpdateContact {
    pub id: String,
    pub external_id: Option<Option<String>>,
    pub name: Option<Option<String>>,
    pub language: Option<Option<String>>,
    pub time_zone: Option<Option<String>>,
    /// In place of the old ones.
    pub attributes: Option<Option<Value>>,
    pub add_tags: Vec<String>,
    pub remove_tags: Vec<String>,
    pub expected_sequence: Option<i32>,
}

impl std::fmt::Debug for UpdateContact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdateContact").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a person agreed to.
#[derive(Clone)]
pub struct RecordConsent {
    pub contact_id: String,
    pub status: ConsentStatus,
    pub category: Option<TemplateCategory>,
    pub source: String,
    pub evidence: Option<String>,
    /// Now where it is absent.
    pub occurred_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for RecordConsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordConsent")
            .field("contact_id", &self.contact_id)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
pub struct ContactFilter {
    pub workspace_id: Option<String>,
    /// In names, numbers, external ids and user names; needs the scope PERSONAL.
    pub search: Option<String>,
    pub tags: Vec<String>,
    pub segment_id: Option<String>,
    pub consent: Vec<ConsentStatus>,
    /// Needs the scope PERSONAL.
    pub phone_numbers: Vec<String>,
}

impl std::fmt::Debug for ContactFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContactFilter").field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// The region and the portfolio that inputs of a workspace are read with: of its first account that is still connected,
/// else of its first one.
pub(crate) async fn home(gateway: &Gateway, workspace: WorkspaceId) -> AppResult<Home> {
    // Accounts come oldest first, so one that the model does not know yet changes nothing while an older one lives.
    if let (Some(home), true) = known_home(gateway, workspace).await? {
        return Ok(home);
    }
    let head = gateway.ledger.head().await?;
    read::wait_directory(gateway, Some(head)).await?;
    Ok(known_home(gateway, workspace).await?.0.unwrap_or_default())
}

/// By the workspace's oldest account that is not disconnected, and `true`; else by its oldest, and `false`. Which accounts
/// there are is the model's word; what they are is the log's, since a region changed a moment ago counts.
async fn known_home(gateway: &Gateway, workspace: WorkspaceId) -> AppResult<(Option<Home>, bool)> {
    let scope = projections::Scope::workspace(workspace.0);
    let filter = projections::AccountFilter::default();
    let mut oldest = None;
    let mut after = None;
    loop {
        let request = projections::PageRequest::after(projections::PAGE_MAX, after);
        let page = read::queries(gateway).accounts(&scope, &filter, &request).await?;
        let (has_next, end) = (page.has_next, page.end);
        for stored in page.into_items() {
            let known = Home::of(&stored.state);
            oldest.get_or_insert(known);
            if stored.state.status == AccountStatus::Disconnected {
                continue;
            }
            let Some(loaded) = gateway.bus.load::<Account>(stored.id).await? else { continue };
            if loaded.aggregate.status != AccountStatus::Disconnected {
                return Ok((Some(Home::of(&loaded.aggregate)), true));
            }
        }
        match end.filter(|_| has_next) {
            Some(end) => after = Some(end),
            None => return Ok((oldest, false)),
        }
    }
}

/// How numbers and user ids of an input are to be understood.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home {
    pub region: Option<String>,
    pub portfolio_id: Option<String>,
}

impl Home {
    pub(crate) fn of(account: &Account) -> Self {
        Self {
            region: Some(account.settings.default_region.clone()),
            portfolio_id: account.settings.portfolio_id.clone(),
        }
    }

    /// # Errors
    /// VALIDATION_FAILED on `field`, saying what would be right.
    pub(crate) fn phone(&self, text: &str, field: &str) -> AppResult<PhoneNumber> {
        phone::parse(text, self.region.as_deref())
            .map_err(|error| AppError::invalid(field, error.to_string()))
    }
}

/// An attributes object.
pub(crate) fn attributes(value: Value, field: &str) -> AppResult<BTreeMap<String, Value>> {
    check::json(&value, field, ATTRIBUTES_BYTES_MAX)?;
    match value {
        Value::Object(object) => Ok(object.into_iter().collect()),
        _ => Err(AppError::invalid(
            field,
            "use an object from name to value, like {\"city\": \"Köln\"}",
        )),
    }
}

/// Each of these could be a contact's.
pub(crate) fn check_tags(tags: &[String], field: &str) -> AppResult<()> {
    tags.iter().try_for_each(|tag| check::text(tag, field, TAG_CHARS_MAX))
}

fn tags(list: Vec<String>, field: &str) -> AppResult<BTreeSet<String>> {
    check::at_most(&list, TAGS_MAX, field)?;
    check_tags(&list, field)?;
    Ok(list.into_iter().map(|tag| tag.trim().to_owned()).collect())
}

/// A time zone that a person wrote; an import keeps a bad one, an input does not.
fn time_zone(zone: Option<&str>, field: &str) -> AppResult<()> {
    match zone {
        Some(zone) if zone.parse::<chrono_tz::Tz>().is_err() => {
            Err(AppError::invalid(field, "use an IANA time zone such as Europe/Berlin"))
        }
        _ => Ok(()),
    }
}

/// Changes a person. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where they were erased or merged, another has the external id, or
/// `expectedSequence` is stale.
pub async fn update(
    gateway: &Gateway,
    caller: &Caller,
    input: UpdateContact,
) -> AppResult<Written<ContactView>> {
    caller.require(Scope::Manage)?;
    let (id, loaded) = command::known::<Contact>(gateway, caller, &input.id, "contact").await?;
    time_zone(input.time_zone.as_ref().and_then(Option::as_deref), "input.timeZone")?;
    let external_id = match input.external_id {
        Some(external_id) => Some(check::external_id(external_id, "input.externalId")?),
        None => None,
    };
    let attributes = match input.attributes {
        Some(Some(value)) => Some(Some(attributes(value, "input.attributes")?)),
        Some(None) => Some(None),
        None => None,
    };
    let changes = ContactChanges {
        external_id,
        name: input.name,
        language: input.language,
        time_zone: input.time_zone,
        attributes,
        replace_attributes: true,
        promote_aliases: true,
        add_tags: tags(input.add_tags, "input.addTags")?,
        remove_tags: tags(input.remove_tags, "input.removeTags")?,
        ..ContactChanges::default()
    };
    command::check_sequence(input.expected_sequence, loaded.sequence)?;
    let expected = input.expected_sequence.map(|_| loaded.sequence);
    let command = ContactCommand::Update {
        changes: Box::new(changes),
        origin: domain::contact::ContactOrigin::Api,
        at: gateway.clock.now(),
    };
    let context = command::context(gateway, caller);
    let committed = gateway.bus.execute_expecting::<Contact>(id, expected, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, "input"))?;
    view(caller, ContactId(id), &committed.aggregate, committed.position)
}

/// Records what a person agreed to, or that they said stop. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where they were erased or merged.
pub async fn record_consent(
    gateway: &Gateway,
    caller: &Caller,
    input: RecordConsent,
) -> AppResult<Written<ContactView>> {
    caller.require(Scope::Manage)?;
    let (id, _) = command::known::<Contact>(gateway, caller, &input.contact_id, "contact").await?;
    let now = gateway.clock.now();
    let given_at = infrastructure::clock::truncate_to_ms(input.occurred_at.unwrap_or(now));
    let command = ContactCommand::RecordConsent {
        category: input.category,
        status: input.status,
        source: input.source,
        evidence: input.evidence,
        given_at,
        at: now,
    };
    let context = command::context(gateway, caller);
    let committed = gateway.bus.execute::<Contact>(id, command, &context).await;
    let committed = committed.map_err(|error| command::refused(error, "input"))?;
    view(caller, ContactId(id), &committed.aggregate, committed.position)
}

fn view(
    caller: &Caller,
    id: ContactId,
    contact: &Contact,
    position: Position,
) -> AppResult<Written<ContactView>> {
    let value =
        ContactView::new(id, contact, caller).ok_or_else(|| AppError::not_found("contact"))?;
    Ok(Written { value, position })
}

async fn written(
    gateway: &Gateway,
    caller: &Caller,
    id: ContactId,
    position: Position,
) -> AppResult<Written<ContactView>> {
    let contact = command::folded::<Contact>(gateway, id.0, "contact").await?;
    view(caller, id, &contact, position)
}

/// One person, now or as they were known at an instant. Who was erased reads as erased at every instant. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; STALE where the read models, which its messages are read from, do not reach `min_position`.
pub async fn get(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    as_of: Option<DateTime<Utc>>,
    min_position: Option<Position>,
) -> AppResult<ContactView> {
    caller.require(Scope::Read)?;
    read::wait_all(gateway, min_position).await?;
    // Folded from the log, which is never behind.
    let (id, loaded) = command::known::<Contact>(gateway, caller, id, "contact").await?;
    let now = loaded.aggregate;
    let contact = match as_of {
        Some(at) => {
            let id = id.to_string();
            let mut then =
                command::known_at::<Contact>(gateway, caller, &id, at, "contact").await?.1;
            // Their data is gone at every instant, and so has to be the reason.
            then.erased = now.erased;
            then
        }
        None => now,
    };
    ContactView::new(ContactId(id), &contact, caller).ok_or_else(|| AppError::not_found("contact"))
}

/// The person with the integrator's own id. Scopes READ and PERSONAL: the id is masked, and must not be found by guessing.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace; VALIDATION_FAILED where the workspace has to be named.
pub async fn by_external_id(
    gateway: &Gateway,
    caller: &Caller,
    external_id: &str,
    workspace_id: Option<&str>,
) -> AppResult<Option<ContactView>> {
    caller.require(Scope::Read)?;
    caller.require(Scope::Personal)?;
    let workspace = command::workspace(gateway, caller, workspace_id, "workspaceId").await?;
    // The store's own uniqueness, which is never behind.
    let identity =
        domain::Identity::new(workspace.0, domain::Identity::CONTACT_EXTERNAL_ID, external_id);
    let holder = gateway.bus.resolve_identities(&[identity]).await?.into_iter().next().flatten();
    let Some(id) = holder else { return Ok(None) };
    let contact = gateway.bus.load::<Contact>(id).await?;
    Ok(contact.and_then(|loaded| ContactView::new(ContactId(id), &loaded.aggregate, caller)))
}

async fn filter_of(
    gateway: &Gateway,
    caller: &Caller,
    filter: &ContactFilter,
) -> AppResult<projections::ContactFilter> {
    let searches_people = filter.search.as_ref().is_some_and(|text| !text.trim().is_empty());
    if searches_people || !filter.phone_numbers.is_empty() {
        // Otherwise a mask could be lifted by guessing.
        caller.require(Scope::Personal)?;
    }
    let workspace_id = match filter.workspace_id.as_deref() {
        Some(id) => {
            Some(command::workspace(gateway, caller, Some(id), "filter.workspaceId").await?)
        }
        None => None,
    };
    let segment_id = match filter.segment_id.as_deref() {
        Some(id) => {
            let (id, loaded) = command::known::<Segment>(gateway, caller, id, "segment").await?;
            super::segments::may_be_asked(caller, &loaded.aggregate)?;
            Some(id)
        }
        None => None,
    };
    check::at_most(&filter.tags, TAGS_MAX, "filter.tags")?;
    check::at_most(&filter.phone_numbers, FILTER_NUMBERS_MAX, "filter.phoneNumbers")?;
    check::search(filter.search.as_ref())?;
    let home = match filter.phone_numbers.is_empty() {
        true => Home::default(),
        // The only one there is says how a number in national form is meant; of several, none does.
        false => match workspace_id.or(command::only_workspace(gateway, caller).await?) {
            Some(workspace) => home(gateway, workspace).await?,
            None => Home::default(),
        },
    };
    let phones = filter.phone_numbers.iter().map(|text| home.phone(text, "filter.phoneNumbers"));
    Ok(projections::ContactFilter {
        workspace_id: workspace_id.map(|id| id.0),
        search: filter.search.clone(),
        tags: read::asked(filter.tags.clone()),
        segment_id,
        consent: read::asked(filter.consent.clone()),
        phone_numbers: read::asked(phones.collect::<AppResult<Vec<_>>>()?),
        include_erased: false,
    })
}

/// People, in the order of their arrival; merged and erased ones are left out. Scope READ; searching for somebody, and a
/// segment whose rule asks for attributes, need PERSONAL too.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for a workspace or segment; VALIDATION_FAILED for a page that is none; STALE.
pub async fn list(
    gateway: &Gateway,
    caller: &Caller,
    filter: ContactFilter,
    page: PageArgs,
    min_position: Option<Position>,
) -> AppResult<Page<ContactView>> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, &filter).await?;
    let page = read::page_request(page)?;
    match filter.segment_id {
        // The segment is the directory's, and its rule may ask for messages.
        Some(_) => read::wait_all(gateway, min_position).await?,
        None => read::wait(gateway, names::CONTACTS, min_position).await?,
    }
    let found = read::queries(gateway).contacts(&read::scope(caller), &filter, &page).await?;
    Ok(read::page(found, |stored| ContactView::new(ContactId(stored.id), &stored.state, caller)))
}

/// How many [`list`] would go through. Scope READ.
///
/// # Errors
/// As [`list`].
pub async fn total(gateway: &Gateway, caller: &Caller, filter: &ContactFilter) -> AppResult<Total> {
    caller.require(Scope::Read)?;
    let filter = filter_of(gateway, caller, filter).await?;
    Ok(read::total(read::queries(gateway).count_contacts(&read::scope(caller), &filter).await?))
}

/// These contacts as the log has them, and not as their read model had them a moment ago. They were read from that when it
/// had seen all up to `seen`, so only those need another look who have changed since.
///
/// # Errors
/// UNAVAILABLE.
pub(crate) async fn as_logged(
    gateway: &Gateway,
    mut contacts: HashMap<Uuid, Contact>,
    seen: Position,
) -> AppResult<HashMap<Uuid, Contact>> {
    let filter =
        LogFilter { aggregate_types: vec![AggregateType::Contact], ..LogFilter::default() };
    let page = gateway.ledger.log().read_all(seen, &filter, CHANGES_MAX).await?;
    let changed: Vec<Uuid> = if page.at_head {
        let changed: BTreeSet<Uuid> = page.events.iter().map(|event| event.stream.id).collect();
        changed.into_iter().filter(|id| contacts.contains_key(id)).collect()
    } else {
        contacts.keys().copied().collect()
    };
    for (id, loaded) in gateway.bus.load_many::<Contact>(&changed).await? {
        contacts.insert(id, loaded.aggregate);
    }
    Ok(contacts)
}

/// Those of these people that the caller may see. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn by_ids(
    gateway: &Gateway,
    caller: &Caller,
    ids: &[ContactId],
) -> AppResult<HashMap<ContactId, ContactView>> {
    caller.require(Scope::Read)?;
    let asked: Vec<_> = ids.iter().map(|id| id.0).collect();
    let known = read::queries(gateway).contacts_by_id(&read::scope(caller), &asked).await?;
    // The read model may not know a new one yet.
    let unknown: Vec<_> = asked.into_iter().filter(|id| !known.contains_key(id)).collect();
    let logged = gateway.bus.load_many::<Contact>(&unknown).await?.into_iter();
    let logged = logged.map(|(id, loaded)| (id, Arc::new(loaded.aggregate)));
    let contacts = known.into_iter().map(|(id, stored)| (id, stored.state)).chain(logged);
    let visible = contacts.filter_map(|(id, contact)| {
        let is_visible = caller.may_see(contact.workspace_id, None);
        let view = ContactView::new(ContactId(id), &contact, caller).filter(|_| is_visible)?;
        Some((ContactId(id), view))
    });
    Ok(visible.collect())
}
