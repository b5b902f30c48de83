//! Contacts and their consent.

use async_graphql::{
    ComplexObject, Context, ID, InputObject, MaybeUndefined, Object, SimpleObject,
};
use domain::port::AggregateType;
use domain::primitives::{ContactId, WorkspaceId};

use super::connection::{
    ContactConnection, Counted, EventConnection, MessageConnection, page_args,
};
use super::enums::{ConsentStatus, TemplateCategory};
use super::events::{Event, history};
use super::scalars::{Instant, Json, PhoneNumber, Place, TimeZone};
use super::session::{Answer, all, asked, change, int};
use crate::application::exports::noted;
use crate::application::view::{ConsentView, ContactView, IdentityView, Written};
use crate::application::{contacts, messages};

/// A person. WhatsApp may know them by number, by business-scoped user id (BSUID), or both; neither alone is the key.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Contact {
    #[graphql(skip)]
    key: ContactId,
    #[graphql(skip)]
    workspace: WorkspaceId,
    /// Its id.
    id: ID,
    /// In E.164, where known.
    phone_number: Option<PhoneNumber>,
    /// The first of `identities`; WhatsApp's user ids hold within one business portfolio.
    user_id: Option<String>,
    /// The person's user ids, one per business portfolio.
    identities: Vec<PortfolioIdentity>,
    /// Further numbers of the person, of contacts who were merged into this one. The person is found by them and written to
    /// at `phoneNumber`.
    other_phone_numbers: Vec<PhoneNumber>,
    /// Further user ids, in the same way.
    other_identities: Vec<PortfolioIdentity>,
    /// Further ids of the integrator's own, in the same way.
    other_external_ids: Vec<String>,
    /// The person's own WhatsApp user name.
    username: Option<String>,
    /// The workspace it belongs to.
    workspace_id: ID,
    /// The integrator's own id; unique in the workspace.
    external_id: Option<String>,
    /// The person's name.
    name: Option<String>,
    /// The person's language.
    language: Option<String>,
    /// Where the person's clock is.
    time_zone: Option<TimeZone>,
    /// The integrator's own facts about the person.
    attributes: Json,
    /// The integrator's own groups.
    tags: Vec<String>,
    /// What the person said about being written to.
    consent: Consent,
    /// Whether the person's data was made unreadable.
    erased: bool,
    /// The contact that this one was merged into.
    merged_into_id: Option<ID>,
    /// When the person came to be known here.
    created_at: Option<Instant>,
}

impl From<ContactView> for Contact {
    fn from(view: ContactView) -> Self {
        let identity = |identity: &IdentityView| PortfolioIdentity {
            portfolio_id: identity.portfolio_id.clone().unwrap_or_default(),
            user_id: identity.user_id.clone(),
        };
        Self {
            key: view.id,
            workspace: view.workspace_id,
            id: view.id.0.into(),
            user_id: view.user_id().map(str::to_owned),
            identities: view.identities.iter().map(identity).collect(),
            other_phone_numbers: view.other_phone_numbers.into_iter().map(PhoneNumber).collect(),
            other_identities: view.other_identities.iter().map(identity).collect(),
            other_external_ids: view.other_external_ids,
            phone_number: view.phone_number.map(PhoneNumber),
            username: view.username,
            workspace_id: view.workspace_id.0.into(),
            external_id: view.external_id,
            name: view.name,
            language: view.language,
            time_zone: view.time_zone.map(TimeZone),
            attributes: Json(view.attributes),
            tags: view.tags,
            consent: view.consent.into(),
            erased: view.erased,
            merged_into_id: view.merged_into.map(|id| id.0.into()),
            created_at: view.created_at.map(Instant),
        }
    }
}

#[ComplexObject]
impl Contact {
    /// Messages to and from the person, newest first.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<MessageConnection> {
        let (gateway, caller) = asked(ctx);
        let filter = messages::MessageFilter {
            contact_ids: vec![self.key.to_string()],
            ..messages::MessageFilter::default()
        };
        let page = messages::list(
            gateway,
            caller,
            filter.clone(),
            page_args(first, after, None, None),
            None,
        )
        .await?;
        Ok(MessageConnection::new(page, Counted::Messages(filter)))
    }

    /// Exports with personal data that may hold what is known of this person: each is the fact that it was asked for, since
    /// the contact was added and until it was erased. No erasure reaches a file that was handed over. The newest first.
    async fn personal_exports(&self, ctx: &Context<'_>, first: Option<i32>) -> Answer<Vec<Event>> {
        let (gateway, caller) = asked(ctx);
        let found = noted::of_contact(gateway, caller, self.key, self.workspace, first).await?;
        Ok(found.into_iter().map(Event::from).collect())
    }

    /// Every fact about this contact, in order.
    async fn history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<EventConnection> {
        history(ctx, AggregateType::Contact, self.key.0, first, after).await
    }
}

/// Who a person is to one business portfolio.
#[derive(Clone, Debug, SimpleObject)]
pub struct PortfolioIdentity {
    /// The business portfolio; empty where it is not known.
    portfolio_id: String,
    /// WhatsApp's business-scoped user id.
    user_id: String,
}

/// The latest word; the ledger of all of them is the history.
#[derive(Clone, Debug, SimpleObject)]
pub struct Consent {
    /// What the person said in general.
    status: ConsentStatus,
    /// Where that is known from.
    source: Option<String>,
    /// When they said it.
    recorded_at: Option<Instant>,
    /// What they said about one category, which goes before the general word.
    categories: Vec<CategoryConsent>,
}

impl From<ConsentView> for Consent {
    fn from(view: ConsentView) -> Self {
        let categories = view.categories.into_iter().map(|word| CategoryConsent {
            category: word.category.into(),
            status: word.status.into(),
            source: word.source,
            evidence: word.evidence,
            recorded_at: Instant(word.recorded_at),
        });
        Self {
            status: view.status.into(),
            source: view.source,
            recorded_at: view.recorded_at.map(Instant),
            categories: categories.collect(),
        }
    }
}

/// MARKETING needs OPTED_IN; UTILITY and AUTHENTICATION need not OPTED_OUT; a category's word goes before the general one.
#[derive(Clone, Debug, SimpleObject)]
pub struct CategoryConsent {
    /// What the word is about.
    category: TemplateCategory,
    /// The word.
    status: ConsentStatus,
    /// Where it is known from.
    source: Option<String>,
    /// What proves it.
    evidence: Option<String>,
    /// When it was said.
    recorded_at: Instant,
}

/// Which contacts; what is left out does not narrow.
#[derive(Debug, Default, InputObject)]
pub struct ContactFilter {
    /// Of this workspace.
    workspace_id: Option<ID>,
    /// Part of the name, number or externalId. Scope PERSONAL.
    search: Option<String>,
    /// With all of these tags.
    tags: Option<Vec<String>>,
    /// In this segment. Scope PERSONAL where its rule asks for attributes.
    segment_id: Option<ID>,
    /// Any of these.
    consent: Option<Vec<ConsentStatus>>,
    /// Any of these. Scope PERSONAL.
    phone_numbers: Option<Vec<PhoneNumber>>,
}

impl From<ContactFilter> for contacts::ContactFilter {
    fn from(filter: ContactFilter) -> Self {
        Self {
            workspace_id: filter.workspace_id.map(|id| id.0),
            search: filter.search,
            tags: filter.tags.unwrap_or_default(),
            segment_id: filter.segment_id.map(|id| id.0),
            consent: all(filter.consent),
            phone_numbers: filter
                .phone_numbers
                .unwrap_or_default()
                .into_iter()
                .map(|number| number.0)
                .collect(),
        }
    }
}

/// A person to add: a number, a user id or both.
#[derive(Debug, InputObject)]
pub struct AddContactInput {
    /// May be left out where the key has only one.
    workspace_id: Option<ID>,
    /// In E.164, or in national form with the region of the workspace's account.
    phone_number: Option<PhoneNumber>,
    /// WhatsApp's business-scoped user id.
    user_id: Option<String>,
    /// The integrator's own id; unique in the workspace.
    external_id: Option<String>,
    /// The person's name.
    name: Option<String>,
    /// The person's language, such as de or pt_BR.
    language: Option<String>,
    /// Where the person's clock is.
    time_zone: Option<TimeZone>,
    /// An object of the integrator's own facts.
    attributes: Option<Json>,
    /// The integrator's own groups.
    tags: Option<Vec<String>>,
    /// What the person said about being written to. OPTED_IN never takes back an opt-out that is on record; recordConsent
    /// does. UNKNOWN records nothing.
    consent: Option<ConsentStatus>,
    /// Where that is known from.
    consent_source: Option<String>,
    /// The same key with the same input answers the first result again.
    idempotency_key: Option<String>,
}

impl From<AddContactInput> for contacts::AddContact {
    fn from(input: AddContactInput) -> Self {
        Self {
            workspace_id: input.workspace_id.map(|id| id.0),
            phone_number: input.phone_number.map(|number| number.0),
            user_id: input.user_id,
            external_id: input.external_id,
            name: input.name,
            language: input.language,
            time_zone: input.time_zone.map(|zone| zone.0),
            attributes: input.attributes.map(|json| json.0).filter(|json| !json.is_null()),
            tags: input.tags.unwrap_or_default(),
            consent: input.consent.map(Into::into),
            consent_source: input.consent_source,
            idempotency_key: input.idempotency_key,
        }
    }
}

/// Changes to a contact: what is left out stays, null clears.
#[derive(Debug, InputObject)]
pub struct UpdateContactInput {
    /// Which contact.
    id: ID,
    /// The integrator's own id; unique in the workspace.
    external_id: MaybeUndefined<String>,
    /// The person's name.
    name: MaybeUndefined<String>,
    /// The person's language, such as de or pt_BR.
    language: MaybeUndefined<String>,
    /// Where the person's clock is.
    time_zone: MaybeUndefined<TimeZone>,
    /// An object of the integrator's own facts, in place of the old one; upsertContact and imports add to it instead.
    attributes: MaybeUndefined<Json>,
    /// Tags to add.
    add_tags: Option<Vec<String>>,
    /// Tags to take away.
    remove_tags: Option<Vec<String>>,
    /// The sequence of the last event that the change is based on; CONFLICT where there is a newer one.
    expected_sequence: Option<i32>,
}

/// What a person said.
#[derive(Debug, InputObject)]
pub struct RecordConsentInput {
    /// Who said it.
    contact_id: ID,
    /// What they said.
    status: ConsentStatus,
    /// About what; about everything where left out.
    category: Option<TemplateCategory>,
    /// Where that is known from.
    source: String,
    /// What proves it.
    evidence: Option<String>,
    /// When they said it; now where left out.
    occurred_at: Option<Instant>,
}

/// What became of a contact.
#[derive(SimpleObject)]
pub struct ContactPayload {
    /// The contact as it is now.
    contact: Contact,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<ContactView>> for ContactPayload {
    fn from(written: Written<ContactView>) -> Self {
        Self { contact: written.value.into(), position: Place(written.position) }
    }
}

/// A tag that is in use.
#[derive(Clone, Debug, SimpleObject)]
pub struct TagCount {
    /// The tag.
    tag: String,
    /// How many contacts have it.
    count: i32,
}

#[derive(Default)]
pub(super) struct ContactQuery;

#[Object]
impl ContactQuery {
    /// The tags that are in use, the most used first, of the thousand most used. Scope READ.
    async fn tags(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A part of the tag, in whatever capitals.")] search: Option<String>,
        #[graphql(desc = "May be left out where the key has only one.")] workspace_id: Option<ID>,
        #[graphql(desc = "How many, at most 500; 50 where left out.")] first: Option<i32>,
    ) -> Answer<Vec<TagCount>> {
        let (gateway, caller) = asked(ctx);
        let workspace_id = workspace_id.as_ref().map(|id| id.as_str());
        let tags = contacts::used_tags(gateway, caller, search, workspace_id, first).await?;
        let count = |tag: contacts::TagCount| TagCount { tag: tag.tag, count: int(tag.count) };
        Ok(tags.into_iter().map(count).collect())
    }

    /// One contact. Scope READ.
    async fn contact(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "As it was known at that instant.")] as_of: Option<Instant>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<Contact>> {
        let (gateway, caller) = asked(ctx);
        let (as_of, min_position) = (as_of.map(|at| at.0), min_position.map(|place| place.0));
        Ok(Some(contacts::get(gateway, caller, &id, as_of, min_position).await?.into()))
    }

    /// Contacts, oldest first. Scope READ.
    #[expect(clippy::too_many_arguments, reason = "a list takes these")]
    async fn contacts(
        &self,
        ctx: &Context<'_>,
        filter: Option<ContactFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<ContactConnection> {
        let (gateway, caller) = asked(ctx);
        let filter = contacts::ContactFilter::from(filter.unwrap_or_default());
        let args = page_args(first, after, last, before);
        let page = contacts::list(
            gateway,
            caller,
            filter.clone(),
            args,
            min_position.map(|place| place.0),
        )
        .await?;
        Ok(ContactConnection::new(page, Counted::Contacts(filter)))
    }

    /// The contact with the integrator's own id. Scopes READ and PERSONAL.
    async fn contact_by_external_id(
        &self,
        ctx: &Context<'_>,
        external_id: String,
        #[graphql(desc = "May be left out where the key has only one.")] workspace_id: Option<ID>,
    ) -> Answer<Option<Contact>> {
        let (gateway, caller) = asked(ctx);
        let workspace_id = workspace_id.as_ref().map(|id| id.as_str());
        Ok(contacts::by_external_id(gateway, caller, &external_id, workspace_id)
            .await?
            .map(Contact::from))
    }
}

#[derive(Default)]
pub(super) struct ContactMutation;

#[Object]
impl ContactMutation {
    /// Adds a person. Whoever opted out and was erased stays opted out, whatever `consent` says. Scope MANAGE.
    async fn add_contact(
        &self,
        ctx: &Context<'_>,
        input: AddContactInput,
    ) -> Answer<ContactPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(contacts::add(gateway, caller, input.into()).await?.into())
    }

    /// Changes a contact. Scope MANAGE.
    async fn update_contact(
        &self,
        ctx: &Context<'_>,
        input: UpdateContactInput,
    ) -> Answer<ContactPayload> {
        let (gateway, caller) = asked(ctx);
        let input = contacts::UpdateContact {
            id: input.id.0,
            external_id: change(input.external_id, |id| id),
            name: change(input.name, |name| name),
            language: change(input.language, |language| language),
            time_zone: change(input.time_zone, |zone| zone.0),
            attributes: change(input.attributes, |json| json.0),
            add_tags: input.add_tags.unwrap_or_default(),
            remove_tags: input.remove_tags.unwrap_or_default(),
            expected_sequence: input.expected_sequence,
        };
        Ok(contacts::update(gateway, caller, input).await?.into())
    }

    /// Adds, or updates the one with the same number, userId or externalId. Tags and attributes are added to those known,
    /// key by key. Never opts in again who opted out. Scope MANAGE.
    async fn upsert_contact(
        &self,
        ctx: &Context<'_>,
        input: AddContactInput,
    ) -> Answer<ContactPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(contacts::upsert(gateway, caller, input.into()).await?.into())
    }

    /// Makes one contact of two that are the same person; answers the one that is kept, who is found by the other's number
    /// and ids too from now on. What either of them opted out of, the person is opted out of. Scope MANAGE.
    async fn merge_contacts(
        &self,
        ctx: &Context<'_>,
        keep: ID,
        merge: ID,
    ) -> Answer<ContactPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(contacts::merge(gateway, caller, &keep, &merge).await?.into())
    }

    /// Records what a person said about being written to. Scope MANAGE.
    async fn record_consent(
        &self,
        ctx: &Context<'_>,
        input: RecordConsentInput,
    ) -> Answer<ContactPayload> {
        let (gateway, caller) = asked(ctx);
        let input = contacts::RecordConsent {
            contact_id: input.contact_id.0,
            status: input.status.into(),
            category: input.category.map(Into::into),
            source: input.source,
            evidence: input.evidence,
            occurred_at: input.occurred_at.map(|at| at.0),
        };
        Ok(contacts::record_consent(gateway, caller, input).await?.into())
    }

    /// Makes the person's data unreadable everywhere, the event log included, and keeps the counts. Scopes MANAGE and
    /// PERSONAL.
    async fn erase_contact(
        &self,
        ctx: &Context<'_>,
        id: ID,
        reason: String,
    ) -> Answer<ContactPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(contacts::erase(gateway, caller, &id, reason).await?.into())
    }
}
