//! Campaigns and their progress.

use async_graphql::{
    ComplexObject, Context, ID, InputObject, MaybeUndefined, Object, SimpleObject,
};
use chrono::{DateTime, Utc};
use domain::port::AggregateType;

use super::accounts::{Account, QuietHours, QuietHoursInput};
use super::connection::{
    CampaignConnection, Counted, EventConnection, MessageConnection, page_args,
};
use super::enums::{CampaignStatus, RetryScope, SkipReason, WhenPast};
use super::events::history;
use super::messages::{MessageFilter, MessagePayload};
use super::scalars::{Decimal, Instant, Json, LocalDateTime, PhoneNumber, Place, TimeZone};
use super::segments::SegmentPreview;
use super::session::{Answer, all, asked, change, int, load, replace, session, texts};
use super::templates::Template;
use crate::application::view::{CampaignView, Written};
use crate::application::{AppResult, accounts, campaigns, messages, templates};

/// One template to many people.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Campaign {
    #[graphql(skip)]
    view: CampaignView,
    /// The instant it is shown at, where it is not now.
    #[graphql(skip)]
    as_of: Option<DateTime<Utc>>,
    /// Its id.
    id: ID,
    /// The workspace it belongs to.
    workspace_id: ID,
    /// The integrator's own id.
    external_id: Option<String>,
    /// The integrator's own facts, at most 20 keys and 2 kB.
    metadata: Option<Json>,
    /// The account that sends it.
    account_id: ID,
    /// What people call it.
    name: String,
    /// How far it is.
    status: CampaignStatus,
    /// It was launched by one key and waits for another's approveCampaign, or it has grown by its start beyond what one key
    /// may send to alone; statusReason says why.
    awaits_approval: bool,
    /// Why it is paused or cancelled, or what it waits for.
    status_reason: Option<String>,
    /// The launch's maxRecipients, which holds for every occurrence.
    max_recipients: Option<i32>,
    /// The launch's maxCost, which holds for every occurrence.
    max_cost: Option<Decimal>,
    /// Template parameter → literal, or {{name}}, {{attributes.city}} filled per contact.
    parameters: Json,
    /// Whom it goes to.
    audience: Audience,
    /// When it starts, where it does not start at launch.
    schedule: Option<CampaignSchedule>,
    /// At most this many messages per second, where that is less than the account's.
    messages_per_second: Option<i32>,
    /// At most this many marketing messages to one person in so many hours, over all campaigns.
    frequency_cap: Option<FrequencyCap>,
    /// Seconds after which a recipient that is not accepted is given up. Null: the default of the template's category (72 h
    /// for marketing), which does not end what waits for the portfolio's reach.
    time_to_live: Option<i32>,
    /// The instant at which a scheduled one starts, or starts again.
    start_at: Option<Instant>,
    /// When it was drafted.
    created_at: Instant,
    /// When it started; where it comes back, when it last did.
    started_at: Option<Instant>,
    /// When every recipient was settled, or it was cancelled.
    completed_at: Option<Instant>,
}

impl From<CampaignView> for Campaign {
    fn from(view: CampaignView) -> Self {
        Self {
            as_of: None,
            id: view.id.0.into(),
            workspace_id: view.workspace_id.0.into(),
            external_id: view.external_id.clone(),
            metadata: view.metadata.clone().map(Json),
            account_id: view.account_id.0.into(),
            name: view.name.clone(),
            status: view.status.into(),
            awaits_approval: view.awaits_approval,
            status_reason: view.status_reason.clone(),
            max_recipients: view.max_recipients.map(int),
            max_cost: view.max_cost.map(Decimal),
            parameters: Json(view.parameters.clone()),
            audience: view.audience.clone().into(),
            schedule: view.schedule.as_ref().map(|schedule| CampaignSchedule {
                start_at: LocalDateTime(schedule.start_at),
                time_zone: TimeZone(schedule.time_zone.clone()),
                recipient_local: schedule.recipient_local,
                send_window: schedule.send_window.map(Into::into),
                when_past: schedule.when_past.into(),
                recurrence: schedule.recurrence.clone(),
            }),
            messages_per_second: view.messages_per_second.map(int),
            frequency_cap: view
                .frequency_cap
                .map(|cap| FrequencyCap { messages: int(cap.messages), hours: int(cap.hours) }),
            time_to_live: view.time_to_live_s.map(int),
            start_at: view.start_at.map(Instant),
            created_at: Instant(view.created_at),
            started_at: view.started_at.map(Instant),
            completed_at: view.completed_at.map(Instant),
            view,
        }
    }
}

#[ComplexObject]
impl Campaign {
    /// The account that sends it; null with an error where the key may not read it.
    async fn account(&self, ctx: &Context<'_>) -> Answer<Option<Account>> {
        if let Some(view) = load(&session(ctx).accounts, self.view.account_id).await? {
            return Ok(Some(view.into()));
        }
        // The read model may not know a new one yet.
        let (gateway, caller) = asked(ctx);
        let id = self.view.account_id.to_string();
        Ok(Some(accounts::get(gateway, caller, &id, None, None).await?.into()))
    }

    /// What is sent.
    async fn template(&self, ctx: &Context<'_>) -> Answer<Template> {
        if let Some(view) = load(&session(ctx).templates, self.view.template_id).await? {
            return Ok(view.into());
        }
        // The read model may not know a new one yet.
        let (gateway, caller) = asked(ctx);
        let id = self.view.template_id.to_string();
        Ok(templates::get(gateway, caller, &id, None).await?.into())
    }

    /// What holds a running campaign up as a whole, and until when where that is known: its account, its template, or the
    /// people that the portfolio may reach. It goes on by itself when that is over. Null where nothing does.
    async fn waiting_for(&self, ctx: &Context<'_>) -> Answer<Option<String>> {
        let (gateway, caller) = asked(ctx);
        match self.as_of {
            Some(_) => Ok(None),
            None => Ok(campaigns::waiting_for(gateway, caller, &self.view).await?),
        }
    }

    /// What had left when it was cancelled, and what was stopped; null for one that is not cancelled.
    async fn cancellation(&self, ctx: &Context<'_>) -> Answer<Option<CampaignCancellation>> {
        if self.view.status != domain::campaign::CampaignStatus::Cancelled {
            return Ok(None);
        }
        let (gateway, caller) = asked(ctx);
        let known = match self.as_of {
            Some(at) => Some(campaigns::progress_as_of(gateway, caller, self.view.id, at).await?),
            None => load(&session(ctx).progress, self.view.id).await?,
        };
        Ok(Some(campaigns::cancellation(&self.view, known.as_ref()).into()))
    }

    /// What became of its recipients. Under `asOf` exact to the minute.
    async fn progress(&self, ctx: &Context<'_>) -> Answer<CampaignProgress> {
        let (gateway, caller) = asked(ctx);
        let known = match self.as_of {
            Some(at) => Some(campaigns::progress_as_of(gateway, caller, self.view.id, at).await?),
            None => load(&session(ctx).progress, self.view.id).await?,
        };
        Ok(known.map_or_else(|| CampaignProgress::none(&self.view), CampaignProgress::from))
    }

    /// The curve of a run, from the counters by second and minute: at most `points` moments, evenly spread, from the start to
    /// the last change. Counts as in `progress`; empty before the start.
    async fn progress_over_time(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "2 to 500.", default_with = "Some(120)")] points: Option<i32>,
    ) -> Answer<Vec<ProgressPoint>> {
        let (gateway, caller) = asked(ctx);
        let curve =
            campaigns::curve(gateway, caller, &self.view, self.as_of, points.unwrap_or(120))
                .await?;
        let point = |(at, counts): (DateTime<Utc>, projections::CampaignCounts)| ProgressPoint {
            at: Instant(at),
            queued: int(counts.pending),
            accepted: int(counts.accepted),
            delivered: int(counts.delivered),
            read: int(counts.read),
            failed: int(counts.failed),
            skipped: int(counts.skipped),
        };
        Ok(curve.into_iter().map(point).collect())
    }

    /// Its messages, one per recipient, those that were skipped included.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        filter: Option<MessageFilter>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<MessageConnection> {
        let (gateway, caller) = asked(ctx);
        let mut filter = messages::MessageFilter::from(filter.unwrap_or_default());
        filter.within = Some(self.view.id);
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

    /// Every fact about this campaign, in order; what happened to a recipient is in that message's history.
    async fn history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Answer<EventConnection> {
        history(ctx, AggregateType::Campaign, self.view.id.0, first, after).await
    }
}

/// A campaign's counts at one moment.
#[derive(Clone, Debug, SimpleObject)]
pub struct ProgressPoint {
    /// The moment.
    at: Instant,
    /// Not sent yet.
    queued: i32,
    /// WhatsApp took them.
    accepted: i32,
    /// On the phone.
    delivered: i32,
    /// Read.
    read: i32,
    /// Not delivered.
    failed: i32,
    /// Left out before sending.
    skipped: i32,
}

/// What a cancellation came in time for. Settles within moments, when stopping is 0.
#[derive(Clone, Debug, SimpleObject)]
pub struct CampaignCancellation {
    /// Had left for WhatsApp, those in doubt included; nothing can call them back.
    left: i32,
    /// Of those: nobody knows yet whether WhatsApp took them.
    in_doubt: i32,
    /// Will not be sent any more.
    stopped: i32,
    /// Still to be stopped, or with WhatsApp at this moment.
    stopping: i32,
    /// In words.
    summary: String,
}

impl From<campaigns::Cancellation> for CampaignCancellation {
    fn from(known: campaigns::Cancellation) -> Self {
        Self {
            left: int(known.left),
            in_doubt: int(known.in_doubt),
            stopped: int(known.stopped),
            stopping: int(known.stopping),
            summary: known.summary,
        }
    }
}

/// At most this many marketing messages to one person in so many hours, over all campaigns and single messages.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct FrequencyCap {
    /// So many messages.
    messages: i32,
    /// In so many hours up to any moment.
    hours: i32,
}

/// At most this many marketing messages to one person in so many hours, over all campaigns and single messages. Who has had
/// as many is SKIPPED with FREQUENCY_CAP.
#[derive(Clone, Copy, Debug, InputObject)]
pub struct FrequencyCapInput {
    /// 1 to 1,000.
    messages: i32,
    /// 1 to 8,784 (a year).
    hours: i32,
}

impl From<FrequencyCapInput> for campaigns::FrequencyCapInput {
    fn from(input: FrequencyCapInput) -> Self {
        Self { messages: input.messages, hours: input.hours }
    }
}

/// Union of segments, contacts and tags, less `exclude`. Frozen when the campaign starts.
#[derive(Clone, Debug, SimpleObject)]
pub struct Audience {
    /// Everyone in the workspace.
    all: bool,
    /// Whoever is in any of these segments.
    segment_ids: Vec<ID>,
    /// These contacts.
    contact_ids: Vec<ID>,
    /// Whoever has any of these tags.
    tags: Vec<String>,
    /// Less these.
    exclude: Option<Box<Audience>>,
}

impl From<domain::campaign::Audience> for Audience {
    fn from(audience: domain::campaign::Audience) -> Self {
        Self {
            all: audience.all,
            segment_ids: audience.segment_ids.iter().map(|id| id.0.into()).collect(),
            contact_ids: audience.contact_ids.iter().map(|id| id.0.into()).collect(),
            tags: audience.tags.into_iter().collect(),
            exclude: audience.exclude.map(|exclude| Box::new((*exclude).into())),
        }
    }
}

/// Union of segments, contacts and tags, less `exclude`. Empty is VALIDATION_FAILED; everyone is `all: true`.
#[derive(Debug, InputObject)]
pub struct AudienceInput {
    /// Everyone in the workspace.
    all: Option<bool>,
    /// Whoever is in any of these segments.
    segment_ids: Option<Vec<ID>>,
    /// These contacts.
    contact_ids: Option<Vec<ID>>,
    /// Whoever has any of these tags.
    tags: Option<Vec<String>>,
    /// Less these.
    exclude: Option<Box<AudienceInput>>,
}

impl From<AudienceInput> for campaigns::AudienceInput {
    fn from(input: AudienceInput) -> Self {
        Self {
            all: input.all.unwrap_or(false),
            segment_ids: texts(input.segment_ids),
            contact_ids: texts(input.contact_ids),
            tags: input.tags.unwrap_or_default(),
            exclude: input.exclude.map(|exclude| Box::new((*exclude).into())),
        }
    }
}

/// When a campaign starts. A local time in a DST gap moves forward by the gap; in an overlap the first one counts.
#[derive(Clone, Debug, SimpleObject)]
pub struct CampaignSchedule {
    /// By the wall clock.
    start_at: LocalDateTime,
    /// The zone startAt is read in, unless recipientLocal.
    time_zone: TimeZone,
    /// Each recipient at startAt in their own zone: the contact's, else the number's where its first digits lie in one,
    /// else this zone. The campaign starts, and its audience is frozen, when the first place on earth has that time.
    recipient_local: bool,
    /// Messages fall only inside this window of the recipient's day; outside it they wait for its next opening.
    send_window: Option<QuietHours>,
    /// Recipients whose local time has passed when the campaign starts.
    when_past: WhenPast,
    /// RFC 5545 RRULE, daily or slower, for campaigns that come back; each occurrence freezes its own audience.
    recurrence: Option<String>,
}

/// When a campaign starts. A local time in a DST gap moves forward by the gap; in an overlap the first one counts.
#[derive(Clone, Debug, InputObject)]
pub struct CampaignScheduleInput {
    /// By the wall clock.
    start_at: LocalDateTime,
    /// The zone startAt is read in, unless recipientLocal.
    time_zone: TimeZone,
    /// Each recipient at startAt in their own zone.
    #[graphql(default_with = "Some(false)")]
    recipient_local: Option<bool>,
    /// Messages fall only inside this window of the recipient's day; outside it they wait for its next opening.
    send_window: Option<QuietHoursInput>,
    /// Recipients whose local time has passed when the campaign starts.
    #[graphql(default_with = "Some(WhenPast::NextDay)")]
    when_past: Option<WhenPast>,
    /// RFC 5545 RRULE, daily or slower and with an end, like FREQ=MONTHLY;BYMONTHDAY=1;COUNT=12.
    recurrence: Option<String>,
}

impl From<CampaignScheduleInput> for campaigns::ScheduleInput {
    fn from(input: CampaignScheduleInput) -> Self {
        Self {
            start_at: input.start_at.0,
            time_zone: input.time_zone.0,
            recipient_local: input.recipient_local.unwrap_or(false),
            send_window: input.send_window.map(Into::into),
            when_past: input.when_past.map(Into::into).unwrap_or_default(),
            recurrence: input.recurrence,
        }
    }
}

/// Counts of recipients. recipients = pending + inDoubt + accepted + failed + cancelled + skipped (expired ones count as
/// failed); accepted ≥ sent ≥ delivered ≥ read are cumulative, and a later failure moves a recipient from accepted to failed.
#[derive(Clone, Debug, SimpleObject)]
pub struct CampaignProgress {
    /// Which campaign.
    campaign_id: ID,
    /// How far it is.
    status: CampaignStatus,
    /// Everybody who was judged.
    recipients: i32,
    /// Not sent yet.
    pending: i32,
    /// WhatsApp took them.
    accepted: i32,
    /// On their way.
    sent: i32,
    /// On the phone.
    delivered: i32,
    /// Read.
    read: i32,
    /// An inbound message that quotes it, or the first within 72 h with no later outbound between; for one message only.
    replied: i32,
    /// Taps on quick replies. WhatsApp reports followed links without saying of which message: they are not counted yet.
    clicked: i32,
    /// People by the button of the template that they tapped.
    buttons: Vec<ButtonCount>,
    /// People who said stop to it: by a word, a button, or in WhatsApp's settings.
    opted_out: i32,
    /// Not delivered.
    failed: i32,
    /// Taken back before they were sent.
    cancelled: i32,
    /// Left out before sending; each has a message in status SKIPPED that says why.
    skipped: i32,
    /// Why they were left out.
    skips: Vec<SkipCount>,
    /// WhatsApp never told what became of them.
    in_doubt: i32,
    /// How fast it goes now.
    messages_per_second: f64,
    /// When the last message leaves, by a forecast of what is left; where that is not there yet, at the pace of now.
    estimated_completion: Option<Instant>,
    /// Why they failed.
    failures: Vec<FailureCount>,
    /// What WhatsApp bills for those that it has, by the workspace's rate card; null where nothing is known of it.
    cost: Option<Cost>,
}

/// WhatsApp reports category and billability; the amount comes from a dated, editable rate card. No rate, no amount: never
/// 0.
#[derive(Clone, Debug, SimpleObject)]
pub struct Cost {
    /// Null where some of it has no rate, or the rates are of several currencies.
    amount: Option<Decimal>,
    /// ISO 4217; XXX where there are several.
    currency: String,
    /// Of some messages WhatsApp has not said yet what they are billed as; they are taken for what their template is.
    estimated: bool,
}

/// ISO 4217: no currency.
const NO_CURRENCY: &str = "XXX";

impl From<domain::pricing::Cost> for Cost {
    fn from(cost: domain::pricing::Cost) -> Self {
        let currency = cost.currency.as_ref().map_or(NO_CURRENCY, |currency| currency.as_str());
        Self {
            amount: cost.amount.map(Decimal),
            currency: currency.to_owned(),
            estimated: cost.estimated,
        }
    }
}

impl CampaignProgress {
    /// Before anything was counted.
    fn none(view: &CampaignView) -> Self {
        Self {
            campaign_id: view.id.0.into(),
            status: view.status.into(),
            recipients: 0,
            pending: 0,
            accepted: 0,
            sent: 0,
            delivered: 0,
            read: 0,
            replied: 0,
            clicked: 0,
            buttons: vec![],
            opted_out: 0,
            failed: 0,
            cancelled: 0,
            skipped: 0,
            skips: vec![],
            in_doubt: 0,
            messages_per_second: 0.0,
            estimated_completion: None,
            failures: vec![],
            cost: None,
        }
    }
}

impl From<campaigns::CampaignProgress> for CampaignProgress {
    fn from(progress: campaigns::CampaignProgress) -> Self {
        let buttons = progress
            .buttons
            .into_iter()
            .map(|(label, count)| ButtonCount { label, count: int(count) });
        let skips = progress
            .skips
            .into_iter()
            .map(|(reason, count)| SkipCount { reason: reason.into(), count: int(count) });
        let failures = progress.failures.into_iter().map(FailureCount::from);
        Self {
            campaign_id: progress.campaign_id.0.into(),
            status: progress.status.into(),
            recipients: int(progress.recipients),
            pending: int(progress.pending),
            accepted: int(progress.accepted),
            sent: int(progress.sent),
            delivered: int(progress.delivered),
            read: int(progress.read),
            replied: int(progress.replied),
            clicked: int(progress.clicked),
            buttons: buttons.collect(),
            opted_out: int(progress.opted_out),
            failed: int(progress.failed),
            cancelled: int(progress.cancelled),
            skipped: int(progress.skipped),
            skips: skips.collect(),
            in_doubt: int(progress.in_doubt),
            messages_per_second: progress.messages_per_second,
            estimated_completion: progress.estimated_completion.map(Instant),
            failures: failures.collect(),
            cost: progress.cost.map(Cost::from),
        }
    }
}

/// Clicks of one button.
#[derive(Clone, Debug, SimpleObject)]
pub struct ButtonCount {
    /// What is written on it.
    label: String,
    /// How many clicked it.
    count: i32,
}

/// Recipients left out for one reason.
#[derive(Clone, Debug, SimpleObject)]
pub struct SkipCount {
    /// The reason.
    reason: SkipReason,
    /// How many.
    count: i32,
}

/// Recipients that failed for one reason.
#[derive(Clone, Debug, SimpleObject)]
pub struct FailureCount {
    /// WhatsApp's error code.
    code: Option<i32>,
    /// What it means.
    title: String,
    /// How many.
    count: i32,
}

impl From<campaigns::FailureCount> for FailureCount {
    fn from(failure: campaigns::FailureCount) -> Self {
        Self { code: failure.code.map(int), title: failure.title, count: int(failure.count) }
    }
}

/// What a campaign would do. recipients = toSend + expired + the skipped.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct CampaignForecast {
    #[graphql(skip)]
    made: campaigns::CampaignForecast,
    /// Everybody of the audience; of a campaign that runs, everybody who has not been sent to yet.
    recipients: i32,
    /// Who will be sent to.
    to_send: i32,
    /// Who will be left out, and why.
    skipped: Vec<SkipCount>,
    /// Given up because their time to live is over before the limits let them go; they will count as failed.
    expired: i32,
    /// When the first message leaves; null where none does, or nobody knows when.
    first_send_at: Option<Instant>,
    /// When the last message leaves; null where none does, or nobody knows when.
    last_send_at: Option<Instant>,
    /// What sets the end, where the schedule alone does not: pace (of the number, with what else waits there), campaign pace,
    /// reach (of the portfolio), quiet hours, send window; template or account, where that is paused and nobody knows until
    /// when.
    limited_by: Option<String>,
    /// By the workspace's rate card; null where nothing is sent or nothing is known of its currency.
    cost: Option<Cost>,
    /// Where those live who will be sent to, the most first.
    zones: Vec<ZoneCount>,
    /// What may not be meant, in words: a tag that nobody ever had, an audience of a recurring campaign that is empty today.
    warnings: Vec<String>,
    /// What was known then: a large forecast takes a while, and is good for a while.
    as_of: Instant,
}

impl From<campaigns::CampaignForecast> for CampaignForecast {
    fn from(made: campaigns::CampaignForecast) -> Self {
        let forecast = &made.forecast;
        let skipped = forecast.skipped.iter();
        let zones = forecast.zones.iter().map(|zone| ZoneCount {
            time_zone: TimeZone(zone.zone.name().to_owned()),
            source: zone.source.as_str().to_owned(),
            count: int(zone.count),
            first_send_at: zone.first_send_at.map(Instant),
        });
        Self {
            recipients: int(forecast.recipients),
            to_send: int(forecast.to_send),
            skipped: skipped
                .map(|(reason, count)| SkipCount { reason: (*reason).into(), count: int(*count) })
                .collect(),
            expired: int(forecast.expired),
            first_send_at: forecast.first_send_at.map(Instant),
            last_send_at: forecast.last_send_at.map(Instant),
            limited_by: forecast.limited_by.map(|limit| limit.as_str().to_owned()),
            cost: made.cost.clone().map(Cost::from),
            zones: zones.collect(),
            warnings: made.warnings.clone(),
            as_of: Instant(made.as_of),
            made,
        }
    }
}

#[ComplexObject]
impl CampaignForecast {
    /// Some of the messages, spread over the audience, in the order of sending. Where the audience names a segment about
    /// attributes, scope PERSONAL too.
    async fn sample(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, at most 50.")] first: Option<i32>,
    ) -> Answer<Vec<ForecastMessage>> {
        let (gateway, caller) = asked(ctx);
        let sample = campaigns::sample(gateway, caller, &self.made, first).await?;
        Ok(sample.into_iter().map(ForecastMessage::from).collect())
    }
}

/// How many recipients live in one time zone, and how that is known.
#[derive(Clone, Debug, SimpleObject)]
pub struct ZoneCount {
    /// Which zone.
    time_zone: TimeZone,
    /// contact, number (only where the prefix has one zone), default.
    source: String,
    /// How many of them will be sent to.
    count: i32,
    /// When the first of them is.
    first_send_at: Option<Instant>,
}

/// One message of a forecast.
#[derive(Clone, Debug, SimpleObject)]
pub struct ForecastMessage {
    /// Whom it goes to.
    contact_id: ID,
    /// When it leaves.
    send_at: Instant,
    /// What the recipient's clock shows then.
    local_time: LocalDateTime,
    /// The recipient's zone.
    time_zone: TimeZone,
    /// What it says; masked without scope PERSONAL.
    preview: String,
}

impl From<campaigns::ForecastMessage> for ForecastMessage {
    fn from(message: campaigns::ForecastMessage) -> Self {
        Self {
            contact_id: message.contact_id.0.into(),
            send_at: Instant(message.send_at),
            local_time: LocalDateTime(message.local_time),
            time_zone: TimeZone(message.zone.name().to_owned()),
            preview: message.preview,
        }
    }
}

/// Which campaigns; what is left out does not narrow.
#[derive(Debug, Default, InputObject)]
pub struct CampaignFilter {
    /// Of any of these accounts.
    account_ids: Option<Vec<ID>>,
    /// Any of these.
    status: Option<Vec<CampaignStatus>>,
    /// Part of the name.
    search: Option<String>,
}

impl From<CampaignFilter> for campaigns::CampaignFilter {
    fn from(filter: CampaignFilter) -> Self {
        Self {
            account_ids: texts(filter.account_ids),
            status: all(filter.status),
            search: filter.search,
        }
    }
}

/// A campaign to draft.
#[derive(Debug, InputObject)]
pub struct CreateCampaignInput {
    /// The account that sends it.
    account_id: ID,
    /// The integrator's own id.
    external_id: Option<String>,
    /// The integrator's own facts, at most 20 keys and 2 kB.
    metadata: Option<Json>,
    /// What people call it.
    name: String,
    /// What is sent.
    template_id: ID,
    /// Template parameter → literal, or {{name}}, {{attributes.city}} filled per contact, with {{x | default: y}}.
    parameters: Option<Json>,
    /// Whom it goes to.
    audience: AudienceInput,
    /// When it starts; at launch where left out.
    schedule: Option<CampaignScheduleInput>,
    /// At most this many messages per second.
    messages_per_second: Option<i32>,
    /// At most this many marketing messages to one person in so many hours, over all campaigns.
    frequency_cap: Option<FrequencyCapInput>,
    /// Give up on a recipient not accepted by then, in seconds after it fell due.
    time_to_live: Option<i32>,
    /// The same key with the same input answers the first result again.
    idempotency_key: Option<String>,
}

impl From<CreateCampaignInput> for campaigns::CreateCampaign {
    fn from(input: CreateCampaignInput) -> Self {
        Self {
            account_id: input.account_id.0,
            external_id: input.external_id,
            metadata: input.metadata.map(|json| json.0).filter(|json| !json.is_null()),
            name: input.name,
            template_id: input.template_id.0,
            parameters: input.parameters.map(|json| json.0).filter(|json| !json.is_null()),
            audience: input.audience.into(),
            schedule: input.schedule.map(Into::into),
            messages_per_second: input.messages_per_second,
            frequency_cap: input.frequency_cap.map(Into::into),
            time_to_live: input.time_to_live,
            idempotency_key: input.idempotency_key,
        }
    }
}

/// Changes to a draft: what is left out stays, null clears.
#[derive(Debug, InputObject)]
pub struct UpdateCampaignInput {
    /// Which campaign.
    id: ID,
    /// What people call it.
    name: MaybeUndefined<String>,
    /// What is sent.
    template_id: MaybeUndefined<ID>,
    /// Template parameter → value.
    parameters: MaybeUndefined<Json>,
    /// Whom it goes to.
    audience: MaybeUndefined<AudienceInput>,
    /// When it starts.
    schedule: MaybeUndefined<CampaignScheduleInput>,
    /// At most this many messages per second.
    messages_per_second: MaybeUndefined<i32>,
    /// At most this many marketing messages to one person in so many hours, over all campaigns.
    frequency_cap: MaybeUndefined<FrequencyCapInput>,
    /// Give up on a recipient not accepted by then, in seconds after it fell due.
    time_to_live: MaybeUndefined<i32>,
    /// The sequence of the last event that the change is based on; CONFLICT where there is a newer one.
    expected_sequence: Option<i32>,
}

impl UpdateCampaignInput {
    fn change(self) -> AppResult<campaigns::UpdateCampaign> {
        Ok(campaigns::UpdateCampaign {
            id: self.id.0,
            name: replace(self.name, "input.name")?,
            template_id: replace(self.template_id, "input.templateId")?.map(|id| id.0),
            parameters: change(self.parameters, |json| json.0),
            audience: replace(self.audience, "input.audience")?.map(Into::into),
            schedule: change(self.schedule, Into::into),
            messages_per_second: change(self.messages_per_second, |rate| rate),
            frequency_cap: change(self.frequency_cap, Into::into),
            time_to_live: change(self.time_to_live, |seconds| seconds),
            expected_sequence: self.expected_sequence,
        })
    }
}

/// What became of a campaign.
#[derive(SimpleObject)]
pub struct CampaignPayload {
    /// The campaign as it is now; its counters may still be zero.
    campaign: Campaign,
    /// The position of the last event of this command.
    position: Place,
}

impl From<Written<CampaignView>> for CampaignPayload {
    fn from(written: Written<CampaignView>) -> Self {
        Self { campaign: written.value.into(), position: Place(written.position) }
    }
}

#[derive(Default)]
pub(super) struct CampaignQuery;

#[Object]
impl CampaignQuery {
    /// Who an audience reaches now: the same counting as previewSegment, for segments, tags and contacts together. Scope READ;
    /// where a segment of it asks for attributes, PERSONAL too.
    async fn audience_preview(
        &self,
        ctx: &Context<'_>,
        audience: AudienceInput,
        #[graphql(desc = "May be left out where the key has only one.")] workspace_id: Option<ID>,
        #[graphql(desc = "How many contacts the sample has.")] first: Option<i32>,
    ) -> Answer<SegmentPreview> {
        let (gateway, caller) = asked(ctx);
        let workspace_id = workspace_id.as_ref().map(|id| id.as_str());
        let preview =
            campaigns::preview_audience(gateway, caller, audience.into(), workspace_id, first);
        Ok(preview.await?.into())
    }

    /// One campaign. Scope READ.
    async fn campaign(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "As it was known at that instant; its progress to the minute.")]
        as_of: Option<Instant>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<Option<Campaign>> {
        let (gateway, caller) = asked(ctx);
        let (as_of, min_position) = (as_of.map(|at| at.0), min_position.map(|place| place.0));
        let view = campaigns::get(gateway, caller, &id, as_of, min_position).await?;
        Ok(Some(Campaign { as_of, ..view.into() }))
    }

    /// Campaigns, newest first. Scope READ.
    #[expect(clippy::too_many_arguments, reason = "a list takes these")]
    async fn campaigns(
        &self,
        ctx: &Context<'_>,
        filter: Option<CampaignFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        #[graphql(desc = "Waits until this position can be seen, at most 5 s, else STALE.")]
        min_position: Option<Place>,
    ) -> Answer<CampaignConnection> {
        let (gateway, caller) = asked(ctx);
        let filter = campaigns::CampaignFilter::from(filter.unwrap_or_default());
        let args = page_args(first, after, last, before);
        let page = campaigns::list(
            gateway,
            caller,
            filter.clone(),
            args,
            min_position.map(|place| place.0),
        )
        .await?;
        Ok(CampaignConnection::new(page, Counted::Campaigns(filter)))
    }

    /// What launching now would do, without doing it: the same code as the real run on a clock that is moved forward. Of a
    /// campaign that runs or is paused: what is left. Of a draft that launching would refuse, because nobody would be sent to:
    /// VALIDATION_FAILED with the same words. Scope READ.
    async fn campaign_forecast(&self, ctx: &Context<'_>, id: ID) -> Answer<CampaignForecast> {
        let session = session(ctx);
        Ok(campaigns::forecast(&session.gateway, &session.caller, &id).await?.into())
    }
}

#[derive(Default)]
pub(super) struct CampaignMutation;

#[Object]
impl CampaignMutation {
    /// Drafts a campaign; it sends nothing. Scope MANAGE.
    async fn create_campaign(
        &self,
        ctx: &Context<'_>,
        input: CreateCampaignInput,
    ) -> Answer<CampaignPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::create(gateway, caller, input.into()).await?.into())
    }

    /// Changes a draft. Scope MANAGE.
    async fn update_campaign(
        &self,
        ctx: &Context<'_>,
        input: UpdateCampaignInput,
    ) -> Answer<CampaignPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::update(gateway, caller, input.change()?).await?.into())
    }

    /// Starts now, or at the campaign's own schedule if it has one. With maxRecipients or maxCost: more than that is
    /// CONFLICT and nothing is sent. Above the workspace's approvalThreshold it stays a draft until another key approves
    /// it. All three are asked again when it starts, of every occurrence: one that is more by then sends to nobody, and the
    /// campaign is PAUSED with a statusReason until somebody resumes or approves it; the next occurrence comes all the same.
    /// VALIDATION_FAILED where nobody would be sent to: nobody is in the audience of a campaign that comes once, no matter
    /// when (of a recurring one only where it is of tags that nobody ever had), or nobody in it has what a parameter without
    /// a default asks for. Scope SEND.
    async fn launch_campaign(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "At most so many people.")] max_recipients: Option<i32>,
        #[graphql(
            desc = "At most so much, in the rate card's currency, by the forecast of this moment; where somebody has no rate it is CONFLICT."
        )]
        max_cost: Option<Decimal>,
        #[graphql(desc = "The same key with the same input answers the first result again.")]
        idempotency_key: Option<String>,
    ) -> Answer<CampaignPayload> {
        let session = session(ctx);
        let max_cost = max_cost.map(|cost| cost.0);
        let launch = campaigns::Launch { id: id.0, max_recipients, max_cost, idempotency_key };
        Ok(campaigns::launch(&session.gateway, &session.caller, launch).await?.into())
    }

    /// Launches what another key has launched and may not launch alone, or lets an occurrence go on that has grown beyond that
    /// by its start. The one who asked cannot be the one who approves. The yes covers as many people as were counted and a
    /// tenth more, in later occurrences too; an audience that has grown by more than that since it was asked for is CONFLICT.
    /// Scope SEND.
    async fn approve_campaign(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "The same key with the same input answers the first result again.")]
        idempotency_key: Option<String>,
    ) -> Answer<CampaignPayload> {
        let session = session(ctx);
        Ok(campaigns::approve(&session.gateway, &session.caller, &id, idempotency_key)
            .await?
            .into())
    }

    /// Drafts another campaign like this one, with all of its settings and metadata but without its externalId. A schedule
    /// that has no time left is left out, so that the copy starts when it is launched. Scope MANAGE.
    async fn clone_campaign(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "What people call the new one.")] name: Option<String>,
        #[graphql(desc = "The same key with the same input answers the first result again.")]
        idempotency_key: Option<String>,
    ) -> Answer<CampaignPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::clone(gateway, caller, &id, name, idempotency_key).await?.into())
    }

    /// Drafts only. Scope MANAGE.
    async fn delete_campaign(&self, ctx: &Context<'_>, id: ID) -> Answer<CampaignPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::delete(gateway, caller, &id).await?.into())
    }

    /// Stops sending until it is resumed. Scope SEND.
    async fn pause_campaign(
        &self,
        ctx: &Context<'_>,
        id: ID,
        reason: Option<String>,
    ) -> Answer<CampaignPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::pause(gateway, caller, &id, reason).await?.into())
    }

    /// Goes on where it was paused. Of an occurrence that is more than its launch allowed, it is the yes to as many people as
    /// statusReason says and a tenth more, this time only; where another key has to say so it is CONFLICT. Scope SEND.
    async fn resume_campaign(&self, ctx: &Context<'_>, id: ID) -> Answer<CampaignPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::resume(gateway, caller, &id).await?.into())
    }

    /// Ends it; what was not sent stays unsent. Its cancellation says how many had left by then, and how many were stopped.
    /// Scope SEND.
    async fn cancel_campaign(
        &self,
        ctx: &Context<'_>,
        id: ID,
        reason: Option<String>,
    ) -> Answer<CampaignPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::cancel(gateway, caller, &id, reason).await?.into())
    }

    /// Queues failed recipients again; scope FAILED leaves out those whose failure is permanent. Scope SKIPPED judges who was
    /// left out by the latest occurrence anew, by what is known now (consent, zone, attributes, template); who would be left
    /// out for the same reason stays so, and ERASED and DUPLICATE are final. Scope SEND.
    async fn retry_campaign(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "Which recipients.", default_with = "RetryScope::Failed")]
        scope: RetryScope,
        #[graphql(desc = "The same key with the same input answers the first result again.")]
        idempotency_key: Option<String>,
    ) -> Answer<CampaignPayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::retry(gateway, caller, &id, scope.into(), idempotency_key).await?.into())
    }

    /// Sends the campaign's message to one number, outside its counts, whatever its status. Consent and quiet hours count as
    /// for a single message. Scope SEND.
    async fn test_campaign(
        &self,
        ctx: &Context<'_>,
        id: ID,
        to: PhoneNumber,
        #[graphql(desc = "The same key with the same input answers the first result again.")]
        idempotency_key: Option<String>,
    ) -> Answer<MessagePayload> {
        let (gateway, caller) = asked(ctx);
        Ok(campaigns::test(gateway, caller, &id, to.0, idempotency_key).await?.into())
    }
}
