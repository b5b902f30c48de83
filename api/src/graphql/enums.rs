//! The contract's enums, one to one with the domain's.

use async_graphql::Enum;

/// What kind of actor caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::primitives::ActorKind")]
pub enum ActorKind {
    /// An integrator's program, by its API key.
    ApiKey,
    /// A person at the console.
    User,
    /// One of the gateway's own process managers.
    Process,
    /// WhatsApp, by a webhook or an answer.
    Whatsapp,
    /// The assistant.
    Assistant,
    /// The gateway itself, or whoever owns its files.
    System,
}

/// Where an account's messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::account::AccountProvider")]
pub enum AccountProvider {
    /// Meta's WhatsApp Cloud API.
    CloudApi,
    /// The sandbox inside the gateway: nobody's phone rings.
    Sandbox,
}

/// How far a loop test has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::account::LoopTestState")]
pub enum LoopTestState {
    /// Nobody has written from the phone yet.
    WaitingForInbound,
    /// The message arrived; WhatsApp has not taken the answer yet.
    WaitingForAcceptance,
    /// WhatsApp has the answer; it is not on the phone yet.
    WaitingForDelivery,
    /// There and back.
    Passed,
    /// The answer cannot get there as things stand; `message`, or the account's statusReason, says why.
    Failed,
    /// Ten minutes are over.
    Expired,
}

/// Whether an account sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::account::AccountStatus")]
pub enum AccountStatus {
    /// Sends and receives.
    Connected,
    /// Receives; what is to be sent waits.
    Paused,
    /// Neither sends nor receives any more; its history stays.
    Disconnected,
}

/// How WhatsApp rates a number or a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::template::Quality")]
pub enum QualityRating {
    /// High.
    Green,
    /// Medium.
    Yellow,
    /// Low: fewer messages, or none, may follow.
    Red,
    /// WhatsApp has not said.
    Unknown,
}

/// What happens to a message in doubt after the grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::account::InDoubtAction")]
pub enum InDoubtAction {
    /// A person decides.
    Hold,
    /// It is sent again; a duplicate is possible.
    SendAgain,
}

/// WhatsApp's category of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::template::TemplateCategory")]
pub enum TemplateCategory {
    /// Offers and news: needs the person's consent.
    Marketing,
    /// About something the person asked for.
    Utility,
    /// One-time codes.
    Authentication,
}

/// Where a template is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::template::TemplateStatus")]
pub enum TemplateStatus {
    /// Only here.
    Draft,
    /// WhatsApp reviews it.
    Pending,
    /// May be sent.
    Approved,
    /// WhatsApp refused it; see the reason.
    Rejected,
    /// WhatsApp paused it for low quality.
    Paused,
    /// WhatsApp disabled it for good.
    Disabled,
    /// Deleted.
    Deleted,
}

/// What a person said about being written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::contact::ConsentStatus")]
pub enum ConsentStatus {
    /// Nothing is on record.
    Unknown,
    /// They agreed.
    OptedIn,
    /// They asked not to be.
    OptedOut,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::import::ImportStatus")]
pub enum ImportStatus {
    /// Rows are being read.
    Running,
    /// All rows are read, and lists show them.
    Completed,
    /// The file could not be read to its end.
    Failed,
}

/// How far a campaign is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::campaign::CampaignStatus")]
pub enum CampaignStatus {
    /// May be changed; sends nothing.
    Draft,
    /// Starts at its time.
    Scheduled,
    /// Sends.
    Running,
    /// Sends nothing until it is resumed.
    Paused,
    /// Every recipient is settled.
    Completed,
    /// Ended by a person; what was not sent stays unsent.
    Cancelled,
}

/// Which recipients a campaign tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::application::campaigns::RetryScope")]
pub enum RetryScope {
    /// Those that failed and may succeed another time.
    Failed,
    /// Those that were skipped, judged anew by what is known now.
    Skipped,
    /// Both, and those whose failure is permanent.
    All,
}

/// What becomes of recipients whose local time has passed when the campaign starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::campaign::WhenPast")]
pub enum WhenPast {
    /// They get it at once.
    SendNow,
    /// They get it at that time of the next day.
    NextDay,
    /// They are left out, with LOCAL_TIME_PAST.
    Skip,
}

/// Why a recipient was left out before sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::message::SkipReason")]
pub enum SkipReason {
    /// The person asked not to be written to.
    OptedOut,
    /// Marketing, and the person never agreed.
    NoConsent,
    /// The person was erased.
    Erased,
    /// The same person is a recipient already.
    Duplicate,
    /// Neither a number nor a WhatsApp user id is known.
    NoIdentity,
    /// The contact's time zone is none.
    BadTimeZone,
    /// A parameter of the template has no value.
    MissingParameter,
    /// A parameter is longer than WhatsApp takes.
    ParameterTooLong,
    /// The person had as many marketing messages as the cap allows.
    FrequencyCap,
    /// Free-form content, more than 24 h after the person's last message.
    WindowClosed,
    /// The template may not be sent now.
    TemplateNotApproved,
    /// WhatsApp delivers no marketing to this person.
    MarketingBlocked,
    /// The number is known not to be on WhatsApp.
    Unreachable,
    /// The recipient's local time had passed.
    LocalTimePast,
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::message::Direction")]
pub enum MessageDirection {
    /// The business.
    Outbound,
    /// The person.
    Inbound,
}

/// What a message is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::message::MessageStatus")]
pub enum MessageStatus {
    /// Left out before sending, with a reason. Final.
    Skipped,
    /// Due later.
    Scheduled,
    /// Due, and waiting for its turn.
    Queued,
    /// The call to WhatsApp is under way.
    Sending,
    /// WhatsApp took it.
    Accepted,
    /// On its way to the phone.
    Sent,
    /// On the phone.
    Delivered,
    /// Read (or played).
    Read,
    /// Not delivered; see the failure.
    Failed,
    /// Taken back before it was sent.
    Cancelled,
    /// Its time to live ran out before it was accepted.
    Expired,
    /// WhatsApp never told what became of the call.
    InDoubt,
    /// From a person.
    Received,
}

/// How a person settles a message in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::message::InDoubtResolution")]
pub enum InDoubtResolution {
    /// It counts as sent.
    TreatAsSent,
    /// It is sent again; a duplicate is possible.
    SendAgain,
    /// It counts as failed.
    GiveUp,
}

/// What kind of media a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::message::MediaKind")]
pub enum MediaKind {
    /// JPEG or PNG.
    Image,
    /// MP4 or 3GPP.
    Video,
    /// A voice note or other sound.
    Audio,
    /// A file.
    Document,
    /// WebP.
    Sticker,
}

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::api_key::Scope")]
pub enum Scope {
    /// Read, with personal data masked.
    Read,
    /// See numbers, names, attributes and contents unmasked, and search by them.
    Personal,
    /// Send messages; launch, pause and cancel campaigns.
    Send,
    /// Change accounts, templates, contacts, segments and campaigns.
    Manage,
    /// Everything, keys and workspaces included.
    Admin,
}

/// What a user of the console is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::user::Role")]
pub enum Role {
    /// Everything, users and API keys included.
    Owner,
    /// Accounts, templates, contacts, campaigns and sending.
    Manager,
    /// Sending, and steering what is being sent.
    Sender,
    /// Looks, and sees personal data masked.
    Viewer,
}

/// How a read model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::application::view::ProjectionStatus")]
pub enum ProjectionStatus {
    /// Follows the log.
    Live,
    /// Is built anew beside the one that answers.
    Rebuilding,
    /// Stopped; see the gateway's log.
    Failed,
}

/// What WhatsApp bills a message as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::pricing::BillingCategory")]
pub enum BillingCategory {
    /// Marketing templates.
    Marketing,
    /// Marketing templates sent by WhatsApp's own marketing interface.
    MarketingLite,
    /// Utility templates.
    Utility,
    /// Authentication templates.
    Authentication,
    /// Authentication templates to countries where foreign businesses pay more.
    AuthenticationInternational,
    /// Everything that is no template.
    Service,
}

/// Whether events are sent to a webhook endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::webhook_endpoint::EndpointStatus")]
pub enum WebhookEndpointStatus {
    /// They are.
    Active,
    /// Not for now; it goes on where it stood.
    Paused,
    /// It answered 410 Gone; once enabled it goes on where it stood.
    Disabled,
    /// Never again.
    Deleted,
}

/// Why a webhook endpoint is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::webhook_endpoint::PauseReason")]
pub enum WebhookPauseReason {
    /// Somebody asked for it.
    Requested,
    /// It took nothing for five days.
    Failing,
}

/// COHORT: messages by the time they were accepted, with what became of them. EVENT_TIME: facts when they happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "projections::StatsBasis")]
pub enum StatsBasis {
    /// Each message when WhatsApp accepted it, else when that was last tried, else when it was made.
    Cohort,
    /// Each fact about a message when it happened.
    EventTime,
}

/// How long a bucket of statistics is, by the clock of the zone that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::application::stats::StatsBucket")]
pub enum StatsBucket {
    /// An hour. The one that comes twice where clocks are set back is two.
    Hour,
    /// A day; of 23 or 25 hours where clocks are set.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A month.
    Month,
}

/// What statistics are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum StatsDimension {
    /// The account that they were sent with.
    Account,
    /// The campaign; null for single messages and a campaign's tests.
    Campaign,
    /// The template; null for free-form content.
    Template,
    /// The template's language; null for free-form content.
    Language,
    /// The recipient's country, two letters; null where nobody knows.
    Country,
    /// The template's category when the message was planned; SERVICE for free-form content.
    Category,
    /// WhatsApp's code of why they failed. It tells `failed` and `failures` apart; all else is where it is null.
    FailureCode,
}

impl From<StatsDimension> for crate::application::stats::StatsDimension {
    fn from(dimension: StatsDimension) -> Self {
        use projections::StatsDimension as Of;
        match dimension {
            StatsDimension::Account => Self::Of(Of::Account),
            StatsDimension::Campaign => Self::Of(Of::Campaign),
            StatsDimension::Template => Self::Of(Of::Template),
            StatsDimension::Language => Self::Of(Of::Language),
            StatsDimension::Country => Self::Of(Of::Country),
            StatsDimension::Category => Self::Of(Of::Category),
            StatsDimension::FailureCode => Self::FailureCode,
        }
    }
}

/// Who answers a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::conversation::Handling")]
pub enum ConversationHandling {
    /// The assistant.
    Assistant,
    /// People, in the inbox.
    People,
    /// Nobody in particular.
    None,
}
