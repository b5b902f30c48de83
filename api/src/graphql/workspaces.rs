//! Workspaces, who is asking, and the read models themselves.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::enums::{ActorKind, BillingCategory, ProjectionStatus, Scope};
use super::scalars::{Decimal, LocalDate, Place};
use super::session::{Answer, asked, change, int, replace};
use crate::application::view::{ProjectionView, RateCardView, WorkspaceView, Written};
use crate::application::{projections, workspaces};

/// A marketer's client, or a department. Nothing is shared across workspaces.
#[derive(Clone, Debug, SimpleObject)]
pub struct Workspace {
    /// Its id.
    id: ID,
    /// Its name.
    name: String,
    /// A campaign to more people than this is launched by two keys; null: by one, however large it is.
    approval_threshold: Option<i32>,
}

impl From<WorkspaceView> for Workspace {
    fn from(view: WorkspaceView) -> Self {
        Self {
            id: view.id.0.into(),
            name: view.name,
            approval_threshold: view.approval_threshold.map(int),
        }
    }
}

/// Changes to a workspace: what is left out stays, null clears.
#[derive(Debug, InputObject)]
pub struct UpdateWorkspaceInput {
    /// Which workspace.
    id: ID,
    /// What people call it.
    name: MaybeUndefined<String>,
    /// A campaign to more people than this is launched by two keys: one launches, another approves. Null: by one.
    approval_threshold: MaybeUndefined<i32>,
    /// The sequence of the last event that the change is based on; CONFLICT where there is a newer one.
    expected_sequence: Option<i32>,
}

/// What messages cost. Empty until somebody fills it in: without a rate there is no amount, and never 0.
#[derive(Clone, Debug, SimpleObject)]
pub struct RateCard {
    /// Whose card it is.
    workspace_id: ID,
    /// Its lines, in the order in which they were given.
    rates: Vec<Rate>,
}

/// What one message costs.
#[derive(Clone, Debug, SimpleObject)]
pub struct Rate {
    /// The countries it is for (ISO 3166); none: every country that no line of this category names.
    countries: Vec<String>,
    /// What WhatsApp bills it as.
    category: BillingCategory,
    /// ISO 4217.
    currency: String,
    /// For one message.
    amount: Decimal,
    /// From this day on (UTC), until a younger line for the same country begins.
    valid_from: LocalDate,
}

impl From<RateCardView> for RateCard {
    fn from(view: RateCardView) -> Self {
        let rates = view.card.rates().iter().map(|rate| Rate {
            countries: rate.countries.iter().map(|country| country.to_string()).collect(),
            category: rate.category.into(),
            currency: rate.currency.as_str().to_owned(),
            amount: Decimal(rate.amount),
            valid_from: LocalDate(rate.valid_from),
        });
        Self { workspace_id: view.workspace_id.0.into(), rates: rates.collect() }
    }
}

/// What became of a rate card.
#[derive(Clone, Debug, SimpleObject)]
pub struct RateCardPayload {
    /// The card as it is now.
    rate_card: RateCard,
    /// The position of the last event of this command.
    position: Place,
}

/// A whole rate card, in place of the one there is.
#[derive(Debug, InputObject)]
pub struct SetRateCardInput {
    /// Whose card it is; may be left out where the key has one workspace only.
    workspace_id: Option<ID>,
    /// At most 2,000 lines.
    rates: Vec<RateInput>,
    /// The sequence of the last event that the change is based on; CONFLICT where there is a newer one.
    expected_sequence: Option<i32>,
}

/// What one message costs. Without countries and calling codes: in every country that no line of this category names.
#[derive(Debug, InputObject)]
pub struct RateInput {
    /// ISO 3166, like DE.
    countries: Option<Vec<String>>,
    /// Like 49: every country that has one of these.
    calling_codes: Option<Vec<String>>,
    /// What WhatsApp bills it as.
    category: BillingCategory,
    /// ISO 4217, like EUR.
    currency: String,
    /// For one message.
    amount: Decimal,
    /// From this day on (UTC).
    valid_from: LocalDate,
}

impl From<SetRateCardInput> for workspaces::SetRateCard {
    fn from(input: SetRateCardInput) -> Self {
        let rates = input.rates.into_iter().map(|rate| workspaces::RateInput {
            countries: rate.countries.unwrap_or_default(),
            calling_codes: rate.calling_codes.unwrap_or_default(),
            category: rate.category.into(),
            currency: rate.currency,
            amount: rate.amount.0,
            valid_from: rate.valid_from.0,
        });
        Self {
            workspace_id: input.workspace_id.map(|id| id.0),
            rates: rates.collect(),
            expected_sequence: input.expected_sequence,
        }
    }
}

/// What became of a workspace.
#[derive(Clone, Debug, SimpleObject)]
pub struct WorkspacePayload {
    /// The workspace as it is now.
    workspace: Workspace,
    /// The position of the last event of this command.
    position: Place,
}

/// Who is asking: the API key or console user behind a request.
#[derive(Clone, Debug, SimpleObject)]
pub struct Viewer {
    /// What kind of actor it is.
    kind: ActorKind,
    /// The key's or user's id.
    id: String,
    /// The key's or user's name.
    name: Option<String>,
    /// What it may do. ADMIN implies every other scope.
    scopes: Vec<Scope>,
    /// The workspaces it is limited to; null: every one.
    workspace_ids: Option<Vec<ID>>,
    /// The accounts it is limited to; null: every one of its workspaces.
    account_ids: Option<Vec<ID>>,
}

/// A read model: what lists are answered from, built from the log.
#[derive(Clone, Debug, SimpleObject)]
pub struct Projection {
    /// Its name.
    name: String,
    /// How far it has read the log.
    position: Place,
    /// Events between it and the log's end.
    lag: i32,
    /// How it does.
    status: ProjectionStatus,
    /// How much of the log the new one has read, from 0 to 1, while it is built anew.
    rebuild_progress: Option<f64>,
}

impl From<ProjectionView> for Projection {
    fn from(view: ProjectionView) -> Self {
        Self {
            name: view.name,
            position: Place(view.position),
            lag: int(view.lag),
            status: view.status.into(),
            rebuild_progress: view.rebuild_progress,
        }
    }
}

/// What became of a read model.
#[derive(Clone, Debug, SimpleObject)]
pub struct ProjectionPayload {
    /// The read model as it is now.
    projection: Projection,
}

#[derive(Default)]
pub(super) struct WorkspaceQuery;

#[Object]
impl WorkspaceQuery {
    /// Who is asking: the API key or console user behind this request. Any key.
    async fn viewer(&self, ctx: &Context<'_>) -> Viewer {
        let (_, caller) = asked(ctx);
        Viewer {
            kind: caller.actor.kind.into(),
            id: caller.actor.id.clone(),
            name: caller.actor.name.clone(),
            scopes: caller.scopes.iter().map(|scope| (*scope).into()).collect(),
            workspace_ids: caller
                .workspaces
                .as_ref()
                .map(|ids| ids.iter().map(|id| id.0.into()).collect()),
            account_ids: caller
                .accounts
                .as_ref()
                .map(|ids| ids.iter().map(|id| id.0.into()).collect()),
        }
    }

    /// What messages cost, as somebody wrote it down with setRateCard. Scope READ.
    async fn rate_card(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "May be left out where the key has one workspace only.")]
        workspace_id: Option<ID>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<RateCard> {
        let (gateway, caller) = asked(ctx);
        let workspace_id = workspace_id.map(|id| id.0);
        let min_position = min_position.map(|place| place.0);
        Ok(workspaces::rate_card(gateway, caller, workspace_id, min_position).await?.into())
    }

    /// The workspaces that the key may see. Scope READ.
    async fn workspaces(&self, ctx: &Context<'_>) -> Answer<Vec<Workspace>> {
        let (gateway, caller) = asked(ctx);
        Ok(workspaces::list(gateway, caller).await?.into_iter().map(Workspace::from).collect())
    }
}

#[derive(Default)]
pub(super) struct WorkspaceMutation;

#[Object]
impl WorkspaceMutation {
    /// Makes a workspace. Scope ADMIN, with a key that is not limited to some workspaces.
    async fn create_workspace(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What people call it.")] name: String,
        #[graphql(desc = "The same key with the same input answers the first result again.")]
        idempotency_key: Option<String>,
    ) -> Answer<WorkspacePayload> {
        let (gateway, caller) = asked(ctx);
        let Written { value, position } =
            workspaces::create(gateway, caller, name, idempotency_key).await?;
        Ok(WorkspacePayload { workspace: value.into(), position: Place(position) })
    }

    /// Renames a workspace, or says how large a campaign may be before two keys have to launch it. Scope ADMIN, with a
    /// key that is not limited to some accounts.
    async fn update_workspace(
        &self,
        ctx: &Context<'_>,
        input: UpdateWorkspaceInput,
    ) -> Answer<WorkspacePayload> {
        let (gateway, caller) = asked(ctx);
        let update = workspaces::UpdateWorkspace {
            id: input.id.0,
            name: replace(input.name, "input.name")?,
            approval_threshold: change(input.approval_threshold, |threshold| threshold),
            expected_sequence: input.expected_sequence,
        };
        let Written { value, position } = workspaces::update(gateway, caller, update).await?;
        Ok(WorkspacePayload { workspace: value.into(), position: Place(position) })
    }

    /// Writes down what messages cost, in place of all that was there. Costs are counted by it at once, those of messages
    /// that were sent before too. Scope MANAGE, with a key that is not limited to some accounts.
    async fn set_rate_card(
        &self,
        ctx: &Context<'_>,
        input: SetRateCardInput,
    ) -> Answer<RateCardPayload> {
        let (gateway, caller) = asked(ctx);
        let Written { value, position } =
            workspaces::set_rate_card(gateway, caller, input.into()).await?;
        Ok(RateCardPayload { rate_card: value.into(), position: Place(position) })
    }
}

#[derive(Default)]
pub(super) struct ProjectionQuery;

#[Object]
impl ProjectionQuery {
    /// The read models, with how far behind the log they are. Scope READ.
    async fn projections(&self, ctx: &Context<'_>) -> Answer<Vec<Projection>> {
        let (gateway, caller) = asked(ctx);
        Ok(projections::list(gateway, caller).await?.into_iter().map(Projection::from).collect())
    }
}

#[derive(Default)]
pub(super) struct ProjectionMutation;

#[Object]
impl ProjectionMutation {
    /// Builds the read model anew beside the old one and swaps when it has caught up; reads go on meanwhile. Scope ADMIN.
    async fn rebuild_projection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As `projections` names it.")] name: String,
    ) -> Answer<ProjectionPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(ProjectionPayload {
            projection: projections::rebuild(gateway, caller, &name).await?.into(),
        })
    }
}
