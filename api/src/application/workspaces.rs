//! Workspaces: a marketer's clients, a department.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use chrono::NaiveDate;
use domain::api_key::Scope;
use domain::port::{EventFeed, EventFilter, Position};
use domain::pricing::{Amount, BillingCategory, Currency, Rate, RateCard};
use domain::primitives::{Actor, Country, WorkspaceId};
use domain::workspace::{Workspace, WorkspaceChanges, WorkspaceCommand};
use infrastructure::ledger::Context;
use infrastructure::phone;
use serde_json::json;
use uuid::Uuid;

use super::caller::Caller;
use super::command::{self, Once};
use super::error::{AppError, AppResult};
use super::read;
use super::view::{RateCardView, WorkspaceView, Written};
use crate::app::Gateway;

/// The first start makes it. The same id everywhere, so that two nodes that start at once make one.
const DEFAULT: WorkspaceId =
    WorkspaceId(Uuid::from_u128(0x0000_0000_0000_8000_8000_0000_0000_0001));
const DEFAULT_NAME: &str = "default";
/// Countries, and calling codes, that one line of a rate card may name.
const COUNTRIES_MAX: usize = 300;

/// Workspaces that this process made or saw, for the moment before the read model knows them.
#[derive(Default)]
pub(crate) struct KnownWorkspaces(Mutex<BTreeMap<WorkspaceId, Workspace>>);

impl KnownWorkspaces {
    fn note(&self, id: WorkspaceId, workspace: Workspace) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, workspace);
    }

    fn snapshot(&self) -> BTreeMap<WorkspaceId, Workspace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes a workspace. Scope ADMIN, and a key that is not limited to some workspaces.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED on `name`.
pub async fn create(
    gateway: &Gateway,
    caller: &Caller,
    name: String,
    idempotency_key: Option<String>,
) -> AppResult<Written<WorkspaceView>> {
    caller.require(Scope::Admin)?;
    if caller.is_limited() {
        return Err(AppError::forbidden(
            "this key is limited to some workspaces or accounts and cannot make new ones",
        ));
    }
    let input = json!({ "name": name });
    let key = idempotency_key.as_deref();
    let once =
        command::once::<Uuid>(gateway, caller, "createWorkspace", key, &input, "idempotencyKey")
            .await?;
    let (id, position) = match once {
        Once::Done(id, position) => (id, position),
        Once::Now(idempotency) => {
            let now = gateway.clock.now();
            let id = gateway.ids.next_id(now);
            let context = command::context(gateway, caller);
            let name = &name;
            command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                Box::pin(async move {
                    let command = WorkspaceCommand::Create {
                        workspace_id: WorkspaceId(id),
                        name: name.clone(),
                        at: now,
                    };
                    tx.execute::<Workspace>(id, command)
                        .await
                        .map_err(|error| command::refused(error, ""))?;
                    Ok(id)
                })
            })
            .await?
        }
    };
    written(gateway, WorkspaceId(id), position).await
}

async fn written(
    gateway: &Gateway,
    id: WorkspaceId,
    position: Position,
) -> AppResult<Written<WorkspaceView>> {
    let workspace = command::folded::<Workspace>(gateway, id.0, "workspace").await?;
    gateway.local.workspaces.note(id, workspace.clone());
    let value =
        WorkspaceView::new(id, &workspace).ok_or_else(|| AppError::not_found("workspace"))?;
    Ok(Written { value, position })
}

/// Changes to a workspace. `None`: left as it is; `Some(None)`: cleared.
#[derive(Clone, Debug, Default)]
pub struct UpdateWorkspace {
    pub id: String,
    pub name: Option<String>,
    pub approval_threshold: Option<Option<i32>>,
    pub expected_sequence: Option<i32>,
}

/// One line of a rate card, as it is given.
#[derive(Clone, Debug)]
pub struct RateInput {
    /// ISO 3166.
    pub countries: Vec<String>,
    /// All countries that share one of them.
    pub calling_codes: Vec<String>,
    pub category: BillingCategory,
    pub currency: String,
    pub amount: Amount,
    pub valid_from: NaiveDate,
}

/// A whole rate card, in place of the one there is.
#[derive(Clone, Debug)]
pub struct SetRateCard {
    pub workspace_id: Option<String>,
    pub rates: Vec<RateInput>,
    pub expected_sequence: Option<i32>,
}

/// Renames a workspace, or says how large a campaign may be before two have to launch it. Scope ADMIN, and a key that is
/// not limited to some of its accounts.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where `expectedSequence` is stale.
pub async fn update(
    gateway: &Gateway,
    caller: &Caller,
    input: UpdateWorkspace,
) -> AppResult<Written<WorkspaceView>> {
    caller.require(Scope::Admin)?;
    let (id, loaded) = command::known::<Workspace>(gateway, caller, &input.id, "workspace").await?;
    require_whole(caller)?;
    command::check_sequence(input.expected_sequence, loaded.sequence)?;
    let threshold = input.approval_threshold.map(|given| {
        let checked = given.map(|given| {
            u32::try_from(given).map_err(|_| {
                let problem = "use a number of people, 0 or more, or null for no approval";
                AppError::invalid("input.approvalThreshold", problem)
            })
        });
        checked.transpose()
    });
    let changes = WorkspaceChanges { name: input.name, approval_threshold: threshold.transpose()? };
    let command = WorkspaceCommand::Update { changes, at: gateway.clock.now() };
    let position =
        execute(gateway, caller, id, input.expected_sequence, loaded.sequence, command).await?;
    written(gateway, WorkspaceId(id), position).await
}

/// Writes down what messages cost. Scope MANAGE, and a key that is not limited to some accounts.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace; VALIDATION_FAILED with the line that is wrong; CONFLICT where
/// `expectedSequence` is stale.
pub async fn set_rate_card(
    gateway: &Gateway,
    caller: &Caller,
    input: SetRateCard,
) -> AppResult<Written<RateCardView>> {
    caller.require(Scope::Manage)?;
    let workspace_id =
        command::workspace(gateway, caller, input.workspace_id.as_deref(), "input.workspaceId")
            .await?;
    require_whole(caller)?;
    let rates = input.rates.into_iter().enumerate().map(|(n, rate)| read_rate(n, rate));
    let card = RateCard::new(rates.collect::<AppResult<Vec<_>>>()?)
        .map_err(|error| AppError::invalid(format!("input.{}", error.field), error.problem))?;
    let id = workspace_id.to_string();
    let (id, loaded) = command::known::<Workspace>(gateway, caller, &id, "workspace").await?;
    command::check_sequence(input.expected_sequence, loaded.sequence)?;
    let command = WorkspaceCommand::SetRateCard { card, at: gateway.clock.now() };
    let position =
        execute(gateway, caller, id, input.expected_sequence, loaded.sequence, command).await?;
    let workspace = command::folded::<Workspace>(gateway, id, "workspace").await?;
    Ok(Written { value: RateCardView { workspace_id, card: workspace.rate_card }, position })
}

/// What messages cost, as somebody wrote it down; empty until somebody did. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED where it is not clear which workspace is meant; STALE.
pub async fn rate_card(
    gateway: &Gateway,
    caller: &Caller,
    workspace_id: Option<String>,
    min_position: Option<Position>,
) -> AppResult<RateCardView> {
    caller.require(Scope::Read)?;
    // The card is folded from the log, which is never behind; which workspaces there are is not.
    read::wait_directory(gateway, min_position).await?;
    let workspace_id =
        command::workspace(gateway, caller, workspace_id.as_deref(), "workspaceId").await?;
    let workspace = command::folded::<Workspace>(gateway, workspace_id.0, "workspace").await?;
    Ok(RateCardView { workspace_id, card: workspace.rate_card })
}

/// The rate cards of these workspaces, as the log has them.
pub(crate) async fn rate_cards(
    gateway: &Gateway,
    ids: impl Iterator<Item = WorkspaceId>,
) -> AppResult<HashMap<WorkspaceId, RateCard>> {
    let ids: BTreeSet<Uuid> = ids.map(|id| id.0).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let loaded = gateway.bus.load_many::<Workspace>(&ids).await?;
    Ok(loaded.into_iter().map(|(id, it)| (WorkspaceId(id), it.aggregate.rate_card)).collect())
}

async fn execute(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    expected: Option<i32>,
    actual: u64,
    command: WorkspaceCommand,
) -> AppResult<Position> {
    let context = command::context(gateway, caller);
    let expected = expected.map(|_| actual);
    let done = gateway.bus.execute_expecting::<Workspace>(id, expected, command, &context).await;
    Ok(done.map_err(|error| command::refused(error, "input"))?.position)
}

/// What is about all accounts is not for a key that is limited to some.
fn require_whole(caller: &Caller) -> AppResult<()> {
    if caller.accounts.is_some() {
        return Err(AppError::forbidden(
            "this key is limited to some accounts and cannot change what holds for the whole workspace",
        ));
    }
    Ok(())
}

fn read_rate(index: usize, input: RateInput) -> AppResult<Rate> {
    let field = |name: &str| format!("input.rates[{index}].{name}");
    super::check::at_most(&input.countries, COUNTRIES_MAX, &field("countries"))?;
    super::check::at_most(&input.calling_codes, COUNTRIES_MAX, &field("callingCodes"))?;
    let mut countries = BTreeSet::new();
    for (n, text) in input.countries.iter().enumerate() {
        let country = Country::parse(text.trim()).ok();
        let country = country.filter(|country| phone::region_is_known(country.as_str()));
        countries.insert(country.ok_or_else(|| {
            let field = format!("{}[{n}]", field("countries"));
            AppError::invalid(field, "use a country's two letters (ISO 3166), like DE")
        })?);
    }
    for (n, text) in input.calling_codes.iter().enumerate() {
        let digits = text.trim().trim_start_matches('+');
        let code = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
        let found = code.map(phone::countries_of).unwrap_or_default();
        if found.is_empty() {
            let field = format!("{}[{n}]", field("callingCodes"));
            return Err(AppError::invalid(field, "use a country's calling code, like 49"));
        }
        countries.extend(found);
    }
    let currency = Currency::parse(input.currency.trim()).ok_or_else(|| {
        AppError::invalid(field("currency"), "use a currency's three letters (ISO 4217), like EUR")
    })?;
    let (category, amount, valid_from) = (input.category, input.amount, input.valid_from);
    Ok(Rate { countries, category, currency, amount, valid_from })
}

/// The workspaces that the caller may see, oldest first. Scope READ.
///
/// # Errors
/// FORBIDDEN.
pub async fn list(gateway: &Gateway, caller: &Caller) -> AppResult<Vec<WorkspaceView>> {
    caller.require(Scope::Read)?;
    let all = all(gateway).await?;
    let visible = all.iter().filter(|(id, _)| caller.may_see_workspace(*id));
    Ok(visible.filter_map(|(id, workspace)| WorkspaceView::new(*id, workspace)).collect())
}

/// One workspace. Scope READ.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND.
pub async fn get(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<WorkspaceView> {
    caller.require(Scope::Read)?;
    let (id, loaded) = command::known::<Workspace>(gateway, caller, id, "workspace").await?;
    WorkspaceView::new(WorkspaceId(id), &loaded.aggregate)
        .ok_or_else(|| AppError::not_found("workspace"))
}

/// All of them, oldest first: also those that the read model is about to learn of.
pub(crate) async fn all(gateway: &Gateway) -> AppResult<Vec<(WorkspaceId, Workspace)>> {
    let mut known = gateway.local.workspaces.snapshot();
    for stored in read::queries(gateway).workspaces(&projections::Scope::everything()).await? {
        known.insert(WorkspaceId(stored.id), stored.into_state());
    }
    let mut all: Vec<_> = known.into_iter().collect();
    all.sort_by_key(|(id, workspace)| (workspace.created_at, *id));
    Ok(all)
}

/// Makes the workspace `default` where the log has none at all. Called at every start, before anybody is answered.
///
/// # Errors
/// UNAVAILABLE.
pub async fn ensure_default_workspace(gateway: &Gateway) -> AppResult<WorkspaceId> {
    let filter =
        EventFilter { event_types: vec!["workspace.created".to_owned()], ..EventFilter::default() };
    let first = gateway.ledger.read_after(Position(0), &filter, 1).await?;
    let id = match first.events.first() {
        Some(event) => WorkspaceId(event.stream.id),
        None => {
            let now = gateway.clock.now();
            let context = Context::new(Actor::system("start"), gateway.ids.next_id(now));
            let command = WorkspaceCommand::Create {
                workspace_id: DEFAULT,
                name: DEFAULT_NAME.to_owned(),
                at: now,
            };
            let made = gateway.bus.execute::<Workspace>(DEFAULT.0, command, &context).await;
            made.map_err(|error| command::refused(error, ""))?;
            DEFAULT
        }
    };
    let workspace = command::folded::<Workspace>(gateway, id.0, "workspace").await?;
    gateway.local.workspaces.note(id, workspace);
    Ok(id)
}
