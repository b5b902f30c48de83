//! What callers are shown. A view is made from a folded aggregate, whether it comes from the read model, from streams
//! just written or from history, and is masked here for whoever lacks the scope PERSONAL: nothing above this layer sees
//! what it must not tell.

use chrono::{DateTime, NaiveDateTime, Utc};
use domain::account::{
    Account, AccountProvider, AccountStatus, InDoubtPolicy, LoopTest, LoopTestState, QuietHours,
    Restriction,
};
use domain::api_key::{ApiKey, Scope};
use domain::campaign::{Audience, Campaign, CampaignStatus, WhenPast};
use domain::contact::{Aliases, ConsentStatus, Contact, PortfolioIdentity};
use domain::conversation::{Conversation, Handling};
use domain::import::{Import, ImportRowError, ImportStatus};
use domain::message::{
    DeliveryStatus, Direction, Message, MessageStatus, ParameterValue, SkipReason,
};
use domain::port::Position;
use domain::pricing::Amount;
use domain::primitives::{
    AccountId, Actor, ApiKeyId, CampaignId, ConsoleUserId, ContactId, ConversationId, ImportId,
    MessageId, Personal, PhoneNumber, SegmentId, TemplateId, WorkspaceId,
};
use domain::segment::Segment;
use domain::template::{Quality, Template, TemplateCategory, TemplateStatus};
use domain::user::{Role, User};
use domain::workspace::Workspace;
use projections::ConversationRow;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::caller::Caller;
use super::media::{self, Announced};

/// What stands in place of what the caller may not see.
pub const MASK: &str = "•••";

/// What a command answers: the aggregate folded from the streams just written, and where in the log its last event is.
#[derive(Clone, Debug)]
pub struct Written<T> {
    pub value: T,
    pub position: Position,
}

#[derive(Clone, Debug)]
pub struct WorkspaceView {
    pub id: WorkspaceId,
    pub name: String,
    /// A campaign to more people is launched by two.
    pub approval_threshold: Option<u32>,
}

/// What messages cost a workspace.
#[derive(Clone, Debug)]
pub struct RateCardView {
    pub workspace_id: WorkspaceId,
    pub card: domain::pricing::RateCard,
}

#[derive(Clone, Debug)]
pub struct AccountView {
    pub id: AccountId,
    pub workspace_id: WorkspaceId,
    pub name: String,
    pub provider: AccountProvider,
    pub status: AccountStatus,
    pub status_reason: Option<String>,
    pub paused_until: Option<DateTime<Utc>>,
    /// What WhatsApp forbids, each until its end, which may have passed.
    pub restrictions: Vec<Restriction>,
    /// The business's own number: nobody's personal data, never masked.
    pub phone_number: Option<String>,
    pub phone_number_id: String,
    pub waba_id: String,
    pub portfolio_id: Option<String>,
    pub verified_name: Option<String>,
    pub time_zone: String,
    pub default_region: String,
    pub quiet_hours: Option<QuietHours>,
    pub messages_per_second: u32,
    pub quality_rating: Quality,
    pub in_doubt_policy: InDoubtPolicy,
    /// People in a moving 24 h; `None`: unknown or unlimited. See `accounts::reach` for what is used of it.
    pub reach_limit: Option<u32>,
    /// The URL path to enter at Meta as the callback.
    pub webhook_path: String,
    pub connected_at: DateTime<Utc>,
    /// The last one; see `accounts::loop_test` for what it has come to.
    pub loop_test: Option<LoopTest>,
    /// As it was known then; `None`: as it is now.
    pub as_of: Option<DateTime<Utc>>,
}

/// What a loop test has come to.
#[derive(Clone, Debug)]
pub struct LoopTestView {
    pub started_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub state: LoopTestState,
    pub inbound_at: Option<DateTime<Utc>>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    /// The answer that the gateway sent.
    pub message: Option<MessageView>,
}

/// Unique people reached outside a service window in the moving 24 h, over all numbers of the portfolio.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    pub limit: Option<u32>,
    pub used: u64,
    /// When the first of them leaves the window.
    pub resets_at: Option<DateTime<Utc>>,
    /// When there is room for one more: now or earlier where there is. `None`: never.
    pub room_at: Option<DateTime<Utc>>,
}

/// One look at an account's health. `remedy` says what to do where it is not ok.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    pub check: &'static str,
    pub ok: bool,
    pub at: Option<DateTime<Utc>>,
    pub detail: Option<String>,
    pub remedy: Option<String>,
}

#[derive(Clone, Debug)]
pub struct TemplateView {
    pub id: TemplateId,
    pub account_id: AccountId,
    pub name: String,
    pub language: String,
    pub category: TemplateCategory,
    pub status: TemplateStatus,
    pub status_reason: Option<String>,
    pub quality: Quality,
    /// WhatsApp's own components array.
    pub components: Value,
    /// The slots a send must fill, in order.
    pub parameters: Vec<String>,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct ContactView {
    pub id: ContactId,
    pub workspace_id: WorkspaceId,
    pub phone_number: Option<String>,
    pub identities: Vec<IdentityView>,
    /// Of contacts who were merged into this one.
    pub other_phone_numbers: Vec<String>,
    pub other_identities: Vec<IdentityView>,
    pub other_external_ids: Vec<String>,
    pub username: Option<String>,
    pub external_id: Option<String>,
    pub name: Option<String>,
    pub language: Option<String>,
    pub time_zone: Option<String>,
    /// An object; values masked key by key.
    pub attributes: Value,
    pub tags: Vec<String>,
    pub consent: ConsentView,
    pub merged_into: Option<ContactId>,
    pub erased: bool,
    pub created_at: Option<DateTime<Utc>>,
}

impl ContactView {
    /// The first of `identities`.
    pub fn user_id(&self) -> Option<&str> {
        self.identities.first().map(|identity| identity.user_id.as_str())
    }
}

#[derive(Clone, Debug)]
pub struct IdentityView {
    pub portfolio_id: Option<String>,
    pub user_id: String,
}

#[derive(Clone, Debug)]
pub struct ConsentView {
    pub status: ConsentStatus,
    pub source: Option<String>,
    /// When the person gave the word.
    pub recorded_at: Option<DateTime<Utc>>,
    pub categories: Vec<CategoryConsentView>,
}

#[derive(Clone, Debug)]
pub struct CategoryConsentView {
    pub category: TemplateCategory,
    pub status: ConsentStatus,
    pub source: Option<String>,
    pub evidence: Option<String>,
    pub recorded_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct SegmentView {
    pub id: SegmentId,
    pub workspace_id: WorkspaceId,
    pub name: String,
    pub rule: Value,
}

#[derive(Clone, Debug)]
pub struct ImportView {
    pub id: ImportId,
    pub workspace_id: WorkspaceId,
    pub status: ImportStatus,
    /// Why it failed, where it did.
    pub reason: Option<String>,
    pub dry_run: bool,
    pub rows: u64,
    pub added: u64,
    pub updated: u64,
    pub rejected: u64,
    /// The first thousand; `None`: not looked up, see `imports::errors`.
    pub errors: Option<Vec<ImportRowError>>,
    pub errors_truncated: bool,
    pub started_at: Option<DateTime<Utc>>,
    pub undone_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub struct CampaignView {
    pub id: CampaignId,
    pub workspace_id: WorkspaceId,
    pub account_id: AccountId,
    pub external_id: Option<String>,
    pub metadata: Option<Value>,
    pub name: String,
    pub status: CampaignStatus,
    pub status_reason: Option<String>,
    pub template_id: TemplateId,
    pub parameters: Value,
    pub audience: Audience,
    pub schedule: Option<ScheduleView>,
    pub messages_per_second: Option<u32>,
    pub frequency_cap: Option<domain::campaign::FrequencyCap>,
    pub time_to_live_s: Option<u32>,
    /// When a scheduled one starts.
    pub start_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    /// Set once it is COMPLETED (or CANCELLED).
    pub completed_at: Option<DateTime<Utc>>,
    pub deleted: bool,
    /// It was launched and waits for another key's yes.
    pub awaits_approval: bool,
    /// What its launch said at most, of people and in the rate card's currency.
    pub max_recipients: Option<u64>,
    pub max_cost: Option<Amount>,
    /// Everybody of the latest occurrence's audience was judged.
    pub expanded: bool,
}

#[derive(Clone, Debug)]
pub struct ScheduleView {
    pub start_at: NaiveDateTime,
    pub time_zone: String,
    pub recipient_local: bool,
    pub send_window: Option<QuietHours>,
    pub when_past: WhenPast,
    pub recurrence: Option<String>,
}

#[derive(Clone, Debug)]
pub struct MessageView {
    pub id: MessageId,
    pub workspace_id: WorkspaceId,
    pub account_id: AccountId,
    pub external_id: Option<String>,
    pub metadata: Option<Value>,
    pub campaign_id: Option<CampaignId>,
    pub is_test: bool,
    pub contact_id: ContactId,
    pub template_id: Option<TemplateId>,
    pub direction: Direction,
    /// Outbound: the person's number.
    pub to: Option<String>,
    /// Inbound: the person's number.
    pub from: Option<String>,
    pub status: MessageStatus,
    pub wamid: Option<String>,
    pub content: Value,
    pub preview: Option<String>,
    pub attempts: u32,
    pub failure: Option<domain::message::Failure>,
    pub skip_reason: Option<SkipReason>,
    /// What exactly was missing, in names of slots; or why it was cancelled.
    pub status_reason: Option<String>,
    pub pricing: Option<Value>,
    pub due_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub sent_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub read_at: Option<DateTime<Utc>>,
    pub replied_at: Option<DateTime<Utc>>,
    pub clicked_at: Option<DateTime<Utc>>,
    pub failed_at: Option<DateTime<Utc>>,
}

/// A conversation: as lists have it, with what its own stream says where that was asked too.
#[derive(Clone, Debug)]
pub struct ConversationView {
    pub(crate) row: ConversationRow,
}

impl ConversationView {
    pub(crate) fn new(mut row: ConversationRow, conversation: Option<&Conversation>) -> Self {
        if let Some(known) = conversation.filter(|known| known.opened_at.is_some()) {
            row.opened_at = known.opened_at;
            row.handling = known.handling;
            row.assigned_to = known.assigned_to.map(|id| id.0);
            row.read = known.read.map(Into::into);
        }
        Self { row }
    }

    pub fn id(&self) -> ConversationId {
        ConversationId(self.row.id)
    }

    pub fn workspace_id(&self) -> WorkspaceId {
        WorkspaceId(self.row.workspace_id)
    }

    pub fn account_id(&self) -> AccountId {
        AccountId(self.row.account_id)
    }

    /// Who speaks for the person.
    pub fn contact_id(&self) -> ContactId {
        ContactId(self.row.contact_id)
    }

    pub fn handling(&self) -> Handling {
        self.row.handling
    }

    pub fn assigned_to(&self) -> Option<ConsoleUserId> {
        self.row.assigned_to.map(ConsoleUserId)
    }

    /// Its own stream says that it is open: there is a history of it.
    pub fn is_open(&self) -> bool {
        self.row.opened_at.is_some()
    }

    pub fn opened_at(&self) -> DateTime<Utc> {
        self.row.opened_at.unwrap_or_else(|| self.row.first.at())
    }

    pub fn last_activity_at(&self) -> DateTime<Utc> {
        self.row.last.at()
    }

    /// `None` where lists do not know it yet.
    pub fn last_message_id(&self) -> Option<MessageId> {
        Some(MessageId(self.row.last.id)).filter(|id| !id.0.is_nil())
    }
}

#[derive(Clone, Debug)]
pub struct ApiKeyView {
    pub id: ApiKeyId,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub workspace_ids: Option<Vec<WorkspaceId>>,
    pub account_ids: Option<Vec<AccountId>>,
    pub created_at: DateTime<Utc>,
    /// To the minute, as this node knows it.
    pub last_used_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Somebody who signs in to the console.
#[derive(Clone, Debug)]
pub struct UserView {
    pub id: ConsoleUserId,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub workspace_ids: Option<Vec<WorkspaceId>>,
    pub account_ids: Option<Vec<AccountId>>,
    pub has_second_factor: bool,
    pub invited_at: DateTime<Utc>,
    pub joined_at: Option<DateTime<Utc>>,
    pub signed_in_at: Option<DateTime<Utc>>,
    pub suspended_at: Option<DateTime<Utc>>,
    pub removed_at: Option<DateTime<Utc>>,
    pub sequence: u64,
}

/// One fact, masked for the caller: `data` without marks, what was erased as null.
#[derive(Clone, Debug)]
pub struct EventView {
    pub position: Position,
    pub id: Uuid,
    pub event_type: String,
    pub version: u32,
    pub aggregate_type: &'static str,
    pub aggregate_id: Uuid,
    pub sequence: u64,
    pub workspace_id: Option<WorkspaceId>,
    pub account_id: Option<AccountId>,
    /// The integrator's id of the message or campaign it is about.
    pub external_id: Option<String>,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub actor: Actor,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
    pub data: Value,
}

#[derive(Clone, Debug)]
pub struct ProjectionView {
    pub name: String,
    pub position: Position,
    /// Events between it and the log's head.
    pub lag: u64,
    pub status: ProjectionStatus,
    /// 0 to 1 while it is built anew.
    pub rebuild_progress: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionStatus {
    Live,
    Rebuilding,
    Failed,
}

impl WorkspaceView {
    pub(crate) fn new(id: WorkspaceId, workspace: &Workspace) -> Option<Self> {
        workspace.id?;
        Some(Self {
            id,
            name: workspace.name.clone(),
            approval_threshold: workspace.approval_threshold,
        })
    }
}

impl AccountView {
    /// `None` where the stream does not exist.
    pub(crate) fn new(id: AccountId, account: &Account) -> Option<Self> {
        let settings = &account.settings;
        Some(Self {
            id,
            workspace_id: account.workspace_id?,
            name: settings.name.clone(),
            provider: account.provider?,
            status: account.status,
            status_reason: account.status_reason.clone(),
            paused_until: account.paused_until,
            restrictions: account.restrictions.clone(),
            phone_number: account.display_phone_number.as_ref().map(|shown| {
                PhoneNumber::parse(shown).map_or_else(|_| shown.clone(), |n| n.as_str().to_owned())
            }),
            phone_number_id: account.phone_number_id.clone(),
            waba_id: account.waba_id.clone(),
            portfolio_id: settings.portfolio_id.clone(),
            verified_name: account.verified_name.clone(),
            time_zone: settings.time_zone.clone(),
            default_region: settings.default_region.clone(),
            quiet_hours: settings.quiet_hours,
            messages_per_second: account.messages_per_second(),
            quality_rating: account.quality,
            in_doubt_policy: settings.in_doubt_policy,
            reach_limit: account.limit.and_then(|limit| limit.people_per_day),
            webhook_path: super::accounts::callback_path(id),
            connected_at: account.connected_at?,
            loop_test: account.loop_test.clone(),
            as_of: None,
        })
    }
}

impl TemplateView {
    pub(crate) fn new(id: TemplateId, template: &Template) -> Option<Self> {
        let slots = template.parsed().map(|components| components.slots()).unwrap_or_default();
        Some(Self {
            id,
            account_id: template.account_id?,
            name: template.name.clone(),
            language: template.language.clone(),
            category: template.category?,
            status: template.status,
            status_reason: template.status_reason.clone(),
            quality: template.quality,
            components: template.components.clone(),
            parameters: slots
                .into_iter()
                .filter(|slot| slot.required)
                .map(|slot| slot.name)
                .collect(),
            created_at: template.created_at?,
        })
    }
}

impl ContactView {
    pub(crate) fn new(id: ContactId, contact: &Contact, caller: &Caller) -> Option<Self> {
        let details = &contact.details;
        let show = Show::to(caller);
        let attributes = match details.attributes.as_ref().and_then(Personal::known) {
            Some(attributes) => {
                attributes.iter().map(|(key, value)| (key.clone(), show.value(value))).collect()
            }
            None => Map::new(),
        };
        let identity = |identity: &PortfolioIdentity| IdentityView {
            portfolio_id: Some(identity.portfolio_id.clone()).filter(|id| !id.is_empty()),
            user_id: show.text(identity.user_id.as_str()),
        };
        let none = Aliases::default();
        let aliases = contact.aliases().unwrap_or(&none);
        Some(Self {
            id,
            workspace_id: contact.workspace_id?,
            phone_number: contact.phone().map(|phone| show.phone(phone)),
            identities: contact.portfolio_identities().iter().map(identity).collect(),
            other_phone_numbers: aliases.phones.iter().map(|phone| show.phone(phone)).collect(),
            other_identities: aliases.identities.iter().map(identity).collect(),
            other_external_ids: aliases.external_ids.iter().map(|id| show.text(id)).collect(),
            username: show.personal(details.username.as_ref()),
            external_id: show.personal(details.external_id.as_ref()),
            name: show.personal(details.name.as_ref()),
            language: details.language.clone(),
            time_zone: details.time_zone.clone(),
            attributes: Value::Object(attributes),
            tags: contact.tags.iter().cloned().collect(),
            consent: ConsentView::new(contact, show),
            merged_into: contact.merged_into,
            erased: contact.erased,
            created_at: contact.created_at,
        })
    }
}

impl ConsentView {
    fn new(contact: &Contact, show: Show) -> Self {
        let general = contact.consent.general.as_ref();
        let categories =
            contact.consent.by_category.iter().map(|(category, word)| CategoryConsentView {
                category: *category,
                status: word.status,
                source: Some(word.source.clone()),
                evidence: show.personal(word.evidence.as_ref()),
                recorded_at: word.given_at,
            });
        Self {
            status: contact.consent.status(),
            source: general.map(|word| word.source.clone()),
            recorded_at: general.map(|word| word.given_at),
            categories: categories.collect(),
        }
    }
}

impl SegmentView {
    pub(crate) fn new(id: SegmentId, segment: &Segment, caller: &Caller) -> Option<Self> {
        let workspace_id = segment.workspace_id?;
        let rule = Show::to(caller).rule(&segment.rule);
        Some(Self { id, workspace_id, name: segment.name.clone(), rule })
    }
}

impl ImportView {
    pub(crate) fn new(id: ImportId, import: &Import) -> Option<Self> {
        Some(Self {
            id,
            workspace_id: import.workspace_id?,
            status: import.status,
            reason: import.reason.clone(),
            dry_run: import.dry_run,
            rows: import.totals.rows,
            added: import.totals.added,
            updated: import.totals.updated,
            rejected: import.totals.rejected,
            errors: Some(import.errors.clone()),
            errors_truncated: import.errors_truncated,
            started_at: import.started_at,
            undone_at: import.undone_at,
        })
    }
}

impl CampaignView {
    pub(crate) fn new(id: CampaignId, campaign: &Campaign, caller: &Caller) -> Option<Self> {
        let show = Show::to(caller);
        let plan = campaign.plan.as_ref()?;
        let allowed = campaign.allowed();
        let parameters = plan.parameters.known().cloned().unwrap_or_default();
        let schedule = plan.schedule.as_ref().map(|schedule| ScheduleView {
            start_at: schedule.start_at,
            time_zone: schedule.time_zone.clone(),
            recipient_local: schedule.recipient_local,
            send_window: schedule.send_window,
            when_past: schedule.when_past,
            recurrence: schedule.recurrence.clone(),
        });
        Some(Self {
            id,
            workspace_id: campaign.workspace_id?,
            account_id: campaign.account_id?,
            external_id: campaign.external_id.clone(),
            metadata: campaign
                .metadata
                .as_ref()
                .and_then(Personal::known)
                .map(|metadata| show.value(metadata)),
            name: plan.name.clone(),
            status: campaign.status,
            status_reason: campaign.status_reason.clone(),
            template_id: plan.template_id,
            parameters: show.value(&Value::Object(parameters)),
            audience: plan.audience.clone(),
            schedule,
            messages_per_second: plan.messages_per_second,
            frequency_cap: plan.frequency_cap,
            time_to_live_s: plan.time_to_live_s,
            start_at: campaign.start_at,
            created_at: campaign.created_at?,
            started_at: campaign.started_at,
            completed_at: campaign.ended_at,
            deleted: campaign.deleted,
            awaits_approval: campaign.awaits_approval(),
            max_recipients: allowed.max_recipients,
            max_cost: allowed.max_cost,
            expanded: campaign.expanded,
        })
    }
}

impl MessageView {
    pub(crate) fn new(id: MessageId, message: &Message, caller: &Caller) -> Option<Self> {
        let show = Show::to(caller);
        let header = message.header.as_ref()?;
        let phone = message
            .counterpart
            .as_ref()
            .and_then(Personal::known)
            .and_then(|who| who.phone.as_ref());
        let phone = phone.map(|phone| show.phone(phone));
        let (to, from) = match message.direction {
            Direction::Outbound => (phone, None),
            Direction::Inbound => (None, phone),
        };
        let content = message.content.as_ref();
        let preview =
            content.and_then(Personal::known).map(|content| show.text(&content.preview()));
        Some(Self {
            id,
            workspace_id: header.workspace_id,
            account_id: header.account_id,
            external_id: header.external_id.as_ref().and_then(Personal::known).cloned(),
            metadata: header
                .metadata
                .as_ref()
                .and_then(Personal::known)
                .map(|metadata| show.value(metadata)),
            campaign_id: header.campaign_id,
            is_test: header.is_test,
            contact_id: header.contact_id,
            template_id: header.template.as_ref().map(|template| template.id),
            direction: message.direction,
            to,
            from,
            status: message.status(),
            wamid: message.wamid().and_then(Personal::known).map(|wamid| show.text(wamid.as_str())),
            content: content_json(id, message, show),
            preview,
            attempts: message.attempt_count(),
            failure: message.failure().cloned(),
            skip_reason: message.skip,
            status_reason: message.status_reason.clone(),
            pricing: message.pricing.as_ref().map(|(_, pricing)| pricing.clone()),
            due_at: message.due_at,
            created_at: message.created_at?,
            accepted_at: message.accepted_at(),
            sent_at: message.status_at(DeliveryStatus::Sent),
            delivered_at: message.status_at(DeliveryStatus::Delivered),
            read_at: message
                .status_at(DeliveryStatus::Read)
                .or(message.status_at(DeliveryStatus::Played)),
            replied_at: message.engagement.replied_at,
            clicked_at: message.engagement.clicked_at(),
            failed_at: message.failed_at(),
        })
    }
}

/// The content in the gateway's own form, with the template it is of. What kind it is, is nobody's personal data.
fn content_json(id: MessageId, message: &Message, show: Show) -> Value {
    let Some(header) = message.header.as_ref() else { return Value::Null };
    let mut shown = match message.content.as_ref().and_then(Personal::known) {
        Some(content) => {
            let full = serde_json::to_value(content).unwrap_or_default();
            let mut shown = show.value(&full);
            for key in ["kind", "type", "media"] {
                if let Some(value) = full.get(key) {
                    shown[key] = value.clone();
                }
            }
            if Announced::of(content).is_some() {
                shown["mediaUrl"] = media::url_of(id.0).into();
            }
            shown
        }
        None => {
            serde_json::json!({ "kind": header.content_kind, "erased": true })
        }
    };
    if let Some(template) = &header.template {
        shown["template"] = serde_json::json!({
            "id": template.id, "name": template.name, "language": template.language, "category": template.category,
        });
    }
    shown
}

impl ApiKeyView {
    pub(crate) fn new(
        id: ApiKeyId,
        key: &ApiKey,
        last_used_at: Option<DateTime<Utc>>,
    ) -> Option<Self> {
        Some(Self {
            id,
            name: key.name.clone(),
            scopes: key.scopes.iter().copied().collect(),
            workspace_ids: key.workspace_ids.clone(),
            account_ids: key.account_ids.clone(),
            created_at: key.created_at?,
            last_used_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        })
    }
}

impl UserView {
    pub(crate) fn new(id: ConsoleUserId, user: &User, sequence: u64) -> Option<Self> {
        let text = |value: &Option<Personal<String>>| {
            value.as_ref().and_then(Personal::known).cloned().unwrap_or_default()
        };
        Some(Self {
            id,
            email: text(&user.email),
            name: text(&user.name),
            role: user.role,
            workspace_ids: user.workspace_ids.clone(),
            account_ids: user.account_ids.clone(),
            has_second_factor: user.has_second_factor,
            invited_at: user.invited_at?,
            joined_at: user.joined_at,
            signed_in_at: user.signed_in_at,
            suspended_at: user.suspended_at,
            removed_at: user.removed_at,
            sequence,
        })
    }
}

/// How much of a person a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Everything,
    Masked,
}

impl Show {
    pub(crate) fn to(caller: &Caller) -> Self {
        Self::of(caller.has(Scope::Personal))
    }

    pub(crate) fn of(personal: bool) -> Self {
        if personal { Self::Everything } else { Self::Masked }
    }

    pub(crate) fn text(self, text: &str) -> String {
        match self {
            Self::Everything => text.to_owned(),
            Self::Masked => MASK.to_owned(),
        }
    }

    pub(crate) fn phone(self, phone: &PhoneNumber) -> String {
        match self {
            Self::Everything => phone.as_str().to_owned(),
            Self::Masked => phone.masked(),
        }
    }

    pub(crate) fn personal(self, value: Option<&Personal<String>>) -> Option<String> {
        value.and_then(Personal::known).map(|text| self.text(text))
    }

    /// A segment's rule. What its conditions on attributes compare with is as personal as the attributes themselves.
    pub(crate) fn rule(self, rule: &Value) -> Value {
        match (self, rule) {
            (Self::Masked, Value::Object(condition)) => {
                let is_attribute = condition.contains_key("attribute");
                let shown = condition.iter().map(|(key, value)| {
                    let value = match key.as_str() {
                        "value" if is_attribute => self.value(value),
                        _ => self.rule(value),
                    };
                    (key.clone(), value)
                });
                Value::Object(shown.collect())
            }
            (Self::Masked, Value::Array(rules)) => {
                Value::Array(rules.iter().map(|rule| self.rule(rule)).collect())
            }
            _ => rule.clone(),
        }
    }

    /// Keys stay, values do not.
    pub(crate) fn value(self, value: &Value) -> Value {
        match (self, value) {
            (Self::Everything, _) | (_, Value::Null) => value.clone(),
            (Self::Masked, Value::Object(object)) => Value::Object(
                object.iter().map(|(key, value)| (key.clone(), self.value(value))).collect(),
            ),
            (Self::Masked, Value::Array(items)) => {
                Value::Array(items.iter().map(|item| self.value(item)).collect())
            }
            (Self::Masked, _) => Value::from(MASK),
        }
    }
}

/// A parameter's value as JSON, for input and output alike.
pub(crate) fn parameter_json(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Text(text) => Value::from(text.as_str()),
        ParameterValue::Object(object) => Value::Object(object.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::GatewayAggregate;
    use domain::contact::{ContactChanges, ContactCommand, ContactOrigin};
    use domain::message::{Content, ContentKind, MessageCommand, MessageHeader, Plan, Recipient};
    use serde_json::json;

    use super::*;

    fn caller(scopes: &[Scope]) -> Caller {
        Caller {
            scopes: scopes.iter().copied().collect(),
            ..Caller::everything(Actor::system("test"))
        }
    }

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn ana() -> Contact {
        let mut contact = Contact::default();
        let changes = ContactChanges {
            phone: Some(Some(PhoneNumber::parse("+4915112345678").unwrap())),
            name: Some(Some("Ana".to_owned())),
            attributes: Some(Some([("city".to_owned(), json!("Köln"))].into_iter().collect())),
            add_tags: BTreeSet::from(["vip".to_owned()]),
            ..ContactChanges::default()
        };
        let command = ContactCommand::Add {
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            contact_id: ContactId(Uuid::from_u128(2)),
            changes: Box::new(changes),
            origin: ContactOrigin::Api,
            at: at(),
        };
        for event in contact.decide(command).unwrap() {
            contact.fold(event);
        }
        contact
    }

    #[test]
    fn without_personal_a_contact_is_recognisable_and_no_more() {
        let view = ContactView::new(ContactId(Uuid::from_u128(2)), &ana(), &caller(&[Scope::Read]))
            .unwrap();
        assert_eq!(view.phone_number.as_deref(), Some("+49•••678"));
        assert_eq!(view.name.as_deref(), Some(MASK));
        assert_eq!(view.attributes, json!({ "city": MASK }));
        assert_eq!(view.tags, ["vip"]);
        let view =
            ContactView::new(ContactId(Uuid::from_u128(2)), &ana(), &caller(&[Scope::Personal]))
                .unwrap();
        assert_eq!(view.phone_number.as_deref(), Some("+4915112345678"));
        assert_eq!(view.attributes, json!({ "city": "Köln" }));
    }

    #[test]
    fn without_personal_a_message_shows_its_kind_and_not_its_words() {
        let plan = Plan {
            header: MessageHeader {
                workspace_id: WorkspaceId(Uuid::from_u128(1)),
                account_id: AccountId(Uuid::from_u128(3)),
                contact_id: ContactId(Uuid::from_u128(2)),
                campaign_id: None,
                is_test: false,
                content_kind: ContentKind::Text,
                template: None,
                priority: Default::default(),
                time_to_live_s: None,
                external_id: Some("order-1".to_owned().into()),
                metadata: Some(json!({ "order": 7 }).into()),
                reply_to: None,
                country: None,
            },
            to: Recipient {
                phone: Some(PhoneNumber::parse("+4915112345678").unwrap()),
                user_id: None,
            },
            content: Content::Text { body: "hello Ana".to_owned(), preview_url: false },
            skip: None,
            due_at: at(),
            at: at(),
        };
        let mut message = Message::default();
        for event in message.decide(MessageCommand::Plan(Box::new(plan))).unwrap() {
            message.fold(event);
        }
        let id = MessageId(Uuid::from_u128(4));
        let view = MessageView::new(id, &message, &caller(&[Scope::Read])).unwrap();
        assert_eq!(view.content, json!({ "kind": "text", "body": MASK }));
        assert_eq!(view.metadata, Some(json!({ "order": MASK })));
        assert_eq!(view.external_id.as_deref(), Some("order-1"));
        assert_eq!(view.to.as_deref(), Some("+49•••678"));
        let view = MessageView::new(id, &message, &caller(&[Scope::Admin])).unwrap();
        assert_eq!(view.content["body"], "hello Ana");
    }
}
