//! One thing of any kind as the log has it, and what changed between two instants.

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject};

use super::connection::EventConnection;
use super::events::{Event, history};
use super::scalars::{Instant, Json};
use super::session::{Answer, asked};
use crate::application::trail::{self, ChangeView, TrailView};

/// One thing of any kind, as its events tell it.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Trail {
    #[graphql(skip)]
    view: TrailView,
    /// What kind of thing it is.
    aggregate_type: String,
    /// Its id.
    aggregate_id: ID,
    /// The instant that it is told of.
    as_of: Instant,
    /// What was known of it, named as in the data of its events; of a campaign also the counts of its recipients, under
    /// `progress`, exact as under `campaign(asOf)`. Personal data is masked without the scope PERSONAL, and null once erased.
    state: Json,
}

impl From<TrailView> for Trail {
    fn from(view: TrailView) -> Self {
        Self {
            aggregate_type: view.stream.aggregate_type.as_str().to_owned(),
            aggregate_id: view.stream.id.into(),
            as_of: Instant(view.as_of),
            state: Json(view.state.clone()),
            view,
        }
    }
}

#[ComplexObject]
impl Trail {
    /// Every fact about it, in order, also later ones.
    async fn history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<EventConnection> {
        let stream = self.view.stream;
        history(ctx, stream.aggregate_type, stream.id, first, after).await
    }

    /// The fields that differ between an instant and this one.
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What was recorded after this instant; everything where left out.")]
        from: Option<Instant>,
    ) -> Answer<Vec<FieldChange>> {
        let (gateway, caller) = asked(ctx);
        let changes = trail::changes(gateway, caller, &self.view, from.map(|at| at.0)).await?;
        Ok(changes.into_iter().map(FieldChange::from).collect())
    }
}

/// A field that differs between two instants.
#[derive(Clone, Debug, SimpleObject)]
pub struct FieldChange {
    /// Its name in `state`; names within names are joined by dots.
    field: String,
    /// What it was; null: nothing, or it was erased.
    before: Option<Json>,
    /// What it came to be; null: nothing, or it was erased.
    after: Option<Json>,
    /// The events that changed it, in order: at most the last 100. None for a campaign's progress, which the events of its
    /// messages change.
    events: Vec<Event>,
}

impl From<ChangeView> for FieldChange {
    fn from(view: ChangeView) -> Self {
        let told = |value: serde_json::Value| Some(value).filter(|it| !it.is_null()).map(Json);
        Self {
            field: view.field,
            before: told(view.before),
            after: told(view.after),
            events: view.events.into_iter().map(Event::from).collect(),
        }
    }
}

#[derive(Default)]
pub(super) struct TrailQuery;

#[Object]
impl TrailQuery {
    /// One thing of any kind as the log has it, with its history and what changed. Scope READ; of an API key, ADMIN.
    async fn trail(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "As in Event: workspace, account, template, contact, segment, import, campaign, message, webhook_endpoint, user, api_key."
        )]
        aggregate_type: String,
        id: ID,
        #[graphql(desc = "As it was known at that instant; now where left out.")] as_of: Option<
            Instant,
        >,
    ) -> Answer<Option<Trail>> {
        let (gateway, caller) = asked(ctx);
        let as_of = as_of.map(|at| at.0);
        Ok(Some(trail::get(gateway, caller, &aggregate_type, &id, as_of).await?.into()))
    }
}
