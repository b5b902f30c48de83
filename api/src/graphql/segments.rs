//! Segments.

use async_graphql::{
    ComplexObject, Context, ID, InputObject, MaybeUndefined, Object, SimpleObject,
};
use domain::port::AggregateType;
use domain::primitives::SegmentId;

use super::connection::{
    ContactConnection, Counted, EventConnection, SegmentConnection, page_args,
};
use super::contacts::Contact;
use super::events::history;
use super::scalars::{Json, Place};
use super::session::{Answer, asked, int, replace};
use crate::application::segments;
use crate::application::view::{SegmentView, Written};

/// A named rule over contacts, evaluated when used.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Segment {
    #[graphql(skip)]
    key: SegmentId,
    /// Its id.
    id: ID,
    /// The workspace it belongs to.
    workspace_id: ID,
    /// What people call it; unique in the workspace.
    name: String,
    /// The rule, as it was given. What conditions on attributes compare with is masked without the scope PERSONAL.
    rule: Json,
}

impl From<SegmentView> for Segment {
    fn from(view: SegmentView) -> Self {
        Self {
            key: view.id,
            id: view.id.0.into(),
            workspace_id: view.workspace_id.0.into(),
            name: view.name,
            rule: Json(view.rule),
        }
    }
}

#[ComplexObject]
impl Segment {
    /// How many contacts it has now. Scope PERSONAL where the rule asks for attributes.
    async fn size(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<i32> {
        let (gateway, caller) = asked(ctx);
        Ok(int(segments::size(gateway, caller, self.key, min_position.map(|place| place.0)).await?))
    }

    /// The contacts it has now. Scope PERSONAL where the rule asks for attributes.
    async fn contacts(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<ContactConnection> {
        let (gateway, caller) = asked(ctx);
        let page =
            segments::contacts(gateway, caller, self.key, page_args(first, after, None, None))
                .await?;
        Ok(ContactConnection::new(page, Counted::SegmentContacts(self.key)))
    }

    /// Every fact about this segment, in order.
    async fn history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<EventConnection> {
        history(ctx, AggregateType::Segment, self.key.0, first, after).await
    }
}

/// A rule: {all|any|not: [...]} over {tag}, {attribute, op, value}, {consent}, {language}, {timeZone},
/// {lastMessage: {status, before|after}}, {campaign: {id, status}}; depth 8, 100 nodes.
#[derive(Debug, InputObject)]
pub struct CreateSegmentInput {
    /// May be left out where the key has only one.
    workspace_id: Option<ID>,
    /// What people call it; unique in the workspace.
    name: String,
    /// The rule.
    rule: Json,
    /// The same key with the same input answers the first result again.
    idempotency_key: Option<String>,
}

/// What a rule would find.
#[derive(SimpleObject)]
pub struct SegmentPreview {
    /// How many contacts.
    count: i32,
    /// Some of them.
    sample: Vec<Contact>,
}

impl From<segments::SegmentPreview> for SegmentPreview {
    fn from(preview: segments::SegmentPreview) -> Self {
        Self {
            count: int(preview.count),
            sample: preview.sample.into_iter().map(Contact::from).collect(),
        }
    }
}

/// What became of a segment.
#[derive(SimpleObject)]
pub struct SegmentPayload {
    /// The segment as it is now.
    segment: Segment,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<SegmentView>> for SegmentPayload {
    fn from(written: Written<SegmentView>) -> Self {
        Self { segment: written.value.into(), position: Place(written.position) }
    }
}

#[derive(Default)]
pub(super) struct SegmentQuery;

#[Object]
impl SegmentQuery {
    /// One segment. Scope READ.
    async fn segment(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<Segment>> {
        let (gateway, caller) = asked(ctx);
        let min_position = min_position.map(|place| place.0);
        Ok(Some(segments::get(gateway, caller, &id, min_position).await?.into()))
    }

    /// Count and sample of a rule that is not saved yet. Scope READ; for a rule about attributes, PERSONAL too.
    async fn preview_segment(
        &self,
        ctx: &Context<'_>,
        rule: Json,
        #[graphql(desc = "May be left out where the key has only one.")] workspace_id: Option<ID>,
        #[graphql(desc = "How many contacts the sample has.")] first: Option<i32>,
    ) -> Answer<SegmentPreview> {
        let (gateway, caller) = asked(ctx);
        let workspace_id = workspace_id.as_ref().map(|id| id.as_str());
        Ok(segments::preview(gateway, caller, rule.0, workspace_id, first).await?.into())
    }

    /// Segments, oldest first. Scope READ.
    async fn segments(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<SegmentConnection> {
        let (gateway, caller) = asked(ctx);
        let page = page_args(first, after, last, before);
        let min_position = min_position.map(|place| place.0);
        let page = segments::list(gateway, caller, page, min_position).await?;
        Ok(SegmentConnection::new(page, Counted::Segments))
    }
}

#[derive(Default)]
pub(super) struct SegmentMutation;

#[Object]
impl SegmentMutation {
    /// Saves a rule. Scope MANAGE; for a rule about attributes, PERSONAL too.
    async fn create_segment(
        &self,
        ctx: &Context<'_>,
        input: CreateSegmentInput,
    ) -> Answer<SegmentPayload> {
        let (gateway, caller) = asked(ctx);
        let input = segments::CreateSegment {
            workspace_id: input.workspace_id.map(|id| id.0),
            name: input.name,
            rule: input.rule.0,
            idempotency_key: input.idempotency_key,
        };
        Ok(segments::create(gateway, caller, input).await?.into())
    }

    /// Changes a segment. Scope MANAGE; for a rule about attributes, PERSONAL too.
    async fn update_segment(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Left out: stays.")] name: MaybeUndefined<String>,
        #[graphql(desc = "Left out: stays.")] rule: MaybeUndefined<Json>,
    ) -> Answer<SegmentPayload> {
        let (gateway, caller) = asked(ctx);
        let (name, rule) = (replace(name, "name")?, replace(rule, "rule")?.map(|json| json.0));
        Ok(segments::update(gateway, caller, &id, name, rule).await?.into())
    }

    /// Deletes a segment; campaigns that have frozen their audience are not touched. Scope MANAGE.
    async fn delete_segment(&self, ctx: &Context<'_>, id: ID) -> Answer<SegmentPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(segments::delete(gateway, caller, &id).await?.into())
    }
}
