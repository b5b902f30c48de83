//! What a forecast is made from: the campaign on paper, its audience by the query that the launch uses, what is known of
//! each person, what else waits, and the portfolio's count. Only reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Duration, Utc};
use domain::account::{Account, AccountStatus, Restriction};
use domain::campaign::{Campaign, CampaignStatus};
use domain::contact::Contact;
use domain::delivery::forecast::{
    Circumstances, Conditions, Forecast, Forecaster, Limit, Opens, Other, Person, Stage,
};
use domain::delivery::{
    Planning, Reach, SendingHours, fills, limit_of, recipient_of, zone_of_recipient,
};
use domain::message::Priority;
use domain::port::{AggregateType, Position, StreamId};
use domain::primitives::{AccountId, CampaignId, ContactId, MessageId};
use domain::template::{Template, TemplateCategory, TemplateStatus};
use domain::workspace::Workspace;
use infrastructure::phone::{country_of_recipient, zone_of};
use projections::{AudienceSurvey, DueCursor, Queries, Scope, Stored};
use uuid::Uuid;

use super::super::audience;
use super::book::Made;
use crate::app::Gateway;
use crate::application::error::{AppError, AppResult};
use crate::application::{command, read};
use crate::worker::dispatch::{reached, takes_no_marketing};
use crate::worker::{all_accounts, latest};

/// Contacts looked up together.
const PAGE: usize = 1_000;
/// What waits is planned no further ahead than this.
const HORIZON: Duration = Duration::days(3_660);
/// How long a person's word to us opens the service window.
const WINDOW: Duration = Duration::hours(24);
/// The event from which on contacts are out of the audience.
const STARTED: &str = "campaign.started";

/// What everybody of the campaign has in common.
struct Scene<'a> {
    gateway: &'a Gateway,
    queries: Queries,
    campaign_id: CampaignId,
    campaign: &'a Campaign,
    account_id: AccountId,
    account: &'a Account,
    category: TemplateCategory,
    counted: &'a AtomicU64,
}

/// Makes a campaign's forecast from what the log held at `head`.
///
/// # Errors
/// What launching the campaign would be refused for; STALE, UNAVAILABLE.
pub(super) async fn make(
    gateway: &Gateway,
    id: CampaignId,
    head: Position,
    counted: &AtomicU64,
) -> AppResult<Made> {
    read::wait_all(gateway, Some(head)).await?;
    let now = gateway.clock.now();
    let not_found = || AppError::not_found("campaign");
    let campaign = command::folded::<Campaign>(gateway, id.0, "campaign").await?;
    let workspace_id = campaign.workspace_id.ok_or_else(not_found)?;
    let account_id = campaign.account_id.ok_or_else(not_found)?;
    let workspace = command::folded::<Workspace>(gateway, workspace_id.0, "workspace").await?;
    let card = Arc::new(workspace.rate_card);
    let stage = Stage::of(&campaign, now).map_err(|error| AppError::domain(error, ""))?;
    let (paper, starts_at) = match &stage {
        Stage::ToStart { campaign, at } => (campaign, *at),
        Stage::UnderWay { campaign } => (campaign, now),
        Stage::Over => {
            let forecast = Arc::new(Forecast::default());
            return Ok(Made { forecast, card, as_of: now, warnings: vec![] });
        }
    };
    let plan = paper.plan.as_ref().ok_or_else(not_found)?;
    let account = command::folded::<Account>(gateway, account_id.0, "account").await?;
    let template = command::folded::<Template>(gateway, plan.template_id.0, "template").await?;
    let category = template.category.ok_or_else(|| AppError::not_found("template"))?;
    let components = template.parsed().map_err(AppError::internal)?;
    let planning = Planning {
        campaign_id: id,
        campaign: paper,
        account_id,
        account: &account,
        template: &template,
        components: &components,
        number_zone: zone_of,
    };
    let queries = read::queries(gateway);
    let scene = Scene {
        gateway,
        queries,
        campaign_id: id,
        campaign: paper,
        account_id,
        account: &account,
        category,
        counted,
    };
    let is_draft = campaign.status == CampaignStatus::Draft;
    let conditions = Conditions {
        opens: opens(&account, &template, is_draft, starts_at),
        category,
        template_status: template.status,
        is_draft,
        hours: SendingHours {
            window: plan.schedule.as_ref().and_then(|schedule| schedule.send_window),
            quiet: account.settings.quiet_hours,
        },
        messages_per_second: account.messages_per_second(),
        campaign_messages_per_second: plan.messages_per_second,
        reach: scene.reach(now).await?,
        has_default_time_to_live: plan.time_to_live_s.is_none()
            && category != TemplateCategory::Authentication,
        others: scene.others(now).await?,
    };
    let mut forecaster = Forecaster::new(conditions);
    let (mut after, mut added_up_to) = (None, None);
    let mut is_expanded = false;
    if let Stage::UnderWay { campaign } = &stage {
        scene.take_waiting(&mut forecaster, now).await?;
        let stream = StreamId::new(AggregateType::Campaign, id.0);
        let started = latest(gateway, stream, STARTED)
            .await
            .map_err(|error| AppError::internal(std::io::Error::other(error)))?;
        added_up_to = started.map(|event| event.position);
        (after, is_expanded) = (campaign.cursor, campaign.expanded);
    }
    let mut survey = AudienceSurvey { people: 0, unfilled: audience::paths(plan) };
    if !is_expanded {
        let audience = scene.queries.audience(workspace_id.0, &plan.audience, added_up_to).await?;
        loop {
            let page = scene.queries.audience_page(&audience, after, PAGE).await?;
            let about = scene.circumstances(page.contacts.iter(), now).await?;
            for stored in &page.contacts {
                let about = about.get(&stored.id).copied().unwrap_or_default();
                forecaster.plan(&planning, &stored.state, about, starts_at);
                if !survey.unfilled.is_empty() {
                    survey.unfilled.retain(|path| !fills(&stored.state, path));
                }
            }
            survey.people += page.contacts.len() as u64;
            counted.store(forecaster.recipients(), Ordering::Relaxed);
            if page.is_last {
                break;
            }
            after = page.cursor;
            tokio::task::yield_now().await;
        }
    }
    let mut warnings = vec![];
    if matches!(stage, Stage::ToStart { .. }) {
        let found = audience::findings(gateway, &scene.queries, workspace_id, plan, survey).await?;
        warnings = found.warnings;
        match found.refusal {
            Some(refusal) if is_draft => return Err(refusal),
            Some(refusal) => warnings.push(refusal.message),
            None => {}
        }
    }
    let forecast = tokio::task::spawn_blocking(move || forecaster.finish());
    let forecast = forecast.await.map_err(AppError::internal)?;
    Ok(Made { forecast: Arc::new(forecast), card, as_of: now, warnings })
}

/// When the number may send what the campaign has. A draft's template is judged person by person.
fn opens(
    account: &Account,
    template: &Template,
    is_draft: bool,
    starts_at: DateTime<Utc>,
) -> Opens {
    let is_held = matches!(template.status, TemplateStatus::Paused | TemplateStatus::Pending);
    // What WhatsApp forbids for a while is over at the latest of its ends.
    let allowed_from = |at: DateTime<Utc>| match account.restricted(template.category, at) {
        None => Opens::At(at),
        Some(Restriction { until: Some(until), .. }) => Opens::At(until.max(at)),
        Some(Restriction { until: None, .. }) => Opens::Unknown(Limit::Account),
    };
    match (account.status, account.paused_until) {
        _ if is_held && !is_draft => Opens::Unknown(Limit::Template),
        (AccountStatus::Connected, _) => allowed_from(starts_at),
        (AccountStatus::Paused, Some(until)) => allowed_from(until.max(starts_at)),
        (AccountStatus::Paused | AccountStatus::Disconnected, _) => Opens::Unknown(Limit::Account),
    }
}

impl Scene<'_> {
    /// The portfolio's count as its owner has it, by what the log says.
    async fn reach(&self, now: DateTime<Utc>) -> AppResult<Option<Reach<Person>>> {
        let portfolio = self.account.settings.portfolio_id.as_deref();
        let mut numbers = vec![(self.account_id, self.account.clone())];
        if portfolio.is_some() {
            let all = all_accounts(self.gateway).await?;
            numbers.extend(all.into_iter().filter(|(id, account)| {
                *id != self.account_id && account.settings.portfolio_id.as_deref() == portfolio
            }));
        }
        let Some(limit) = limit_of(numbers.iter().map(|(_, account)| account)) else {
            return Ok(None);
        };
        let numbers: Vec<AccountId> = numbers.into_iter().map(|(id, _)| id).collect();
        let reached = reached(self.gateway, numbers, now).await?;
        let reached =
            reached.into_iter().map(|(person, at)| (Person::Known(ContactId(person)), at));
        Ok(Some(Reach::rebuilt(limit, reached, now)))
    }

    /// What else waits to be sent from the number and may be: other campaigns, and single messages.
    async fn others(&self, now: DateTime<Utc>) -> AppResult<Vec<Other>> {
        let waiting = self.queries.waiting_campaigns(self.account_id.0).await?;
        let campaigns = self.gateway.bus.load_many::<Campaign>(&waiting).await?;
        let templates: Vec<Uuid> = campaigns
            .values()
            .filter_map(|loaded| Some(loaded.aggregate.plan.as_ref()?.template_id.0))
            .collect();
        let templates = self.gateway.bus.load_many::<Template>(&templates).await?;
        let mut others = vec![];
        for id in waiting.into_iter().filter(|id| *id != self.campaign_id.0) {
            let campaign = campaigns.get(&id).map(|loaded| &loaded.aggregate);
            let plan = campaign.and_then(|campaign| campaign.plan.as_ref());
            let template = plan.and_then(|plan| templates.get(&plan.template_id.0));
            let is_held = template.is_some_and(|loaded| {
                matches!(loaded.aggregate.status, TemplateStatus::Paused | TemplateStatus::Pending)
            });
            if is_held || campaign.is_some_and(|campaign| !campaign.may_send()) {
                continue;
            }
            let mut by_priority: HashMap<i64, Vec<(DateTime<Utc>, u64)>> = HashMap::new();
            for backlog in self.queries.backlog(self.account_id.0, id).await? {
                let due = by_priority.entry(backlog.priority).or_default();
                due.push((backlog.at.max(now), backlog.count));
            }
            others.extend(by_priority.into_iter().map(|(priority, due)| Other {
                priority,
                due,
                messages_per_second: plan.and_then(|plan| plan.messages_per_second),
                // Most single messages answer somebody.
                costs_reach: campaign.is_some(),
            }));
        }
        Ok(others)
    }

    /// The campaign's own messages that wait.
    async fn take_waiting(&self, forecaster: &mut Forecaster, now: DateTime<Utc>) -> AppResult<()> {
        let bulk = usize::try_from(Priority::Bulk.rank()).unwrap_or_default();
        let mut after: [Option<DueCursor>; 3] = [None; 3];
        loop {
            let (account, campaign) = (self.account_id.0, self.campaign_id.0);
            let until = now + HORIZON;
            let items = self.queries.due_in(account, campaign, until, after, PAGE).await?;
            let ids: Vec<Uuid> = items.iter().map(|item| item.contact_id).collect();
            let people = self.queries.contacts_by_id(&Scope::everything(), &ids).await?;
            let about = self.circumstances(people.values(), now).await?;
            for item in &items {
                let Some(person) = people.get(&item.contact_id) else { continue };
                let contact = &person.state;
                let zone = zone_of_recipient(self.campaign.zone(), self.account, contact, zone_of);
                let about = about.get(&item.contact_id).copied().unwrap_or_default();
                let times = (item.at.max(now), item.expires_at);
                forecaster.waiting(MessageId(item.message_id), contact, zone, times, about);
            }
            self.counted.store(forecaster.recipients(), Ordering::Relaxed);
            if items.len() < PAGE {
                return Ok(());
            }
            let last = items.last().map(|item| (item.at, item.message_id));
            after[bulk] = last.or(after[bulk]);
            tokio::task::yield_now().await;
        }
    }

    /// What is known of these people beside their contacts.
    async fn circumstances<'c>(
        &self,
        people: impl Iterator<Item = &'c Stored<Contact>> + Clone,
        now: DateTime<Utc>,
    ) -> AppResult<HashMap<Uuid, Circumstances>> {
        let ids: Vec<Uuid> = people.clone().map(|stored| stored.id).collect();
        let is_marketing = self.category == TemplateCategory::Marketing;
        let cap = self.campaign.plan.as_ref().and_then(|plan| plan.frequency_cap);
        let cap = cap.filter(|_| is_marketing);
        let (windows, blocks, unreachable, sent) = tokio::try_join!(
            self.queries.windows(self.account_id.0, &ids),
            self.queries.marketing_blocks(&ids),
            self.queries.unreachable(&ids),
            async {
                match cap {
                    Some(cap) => {
                        self.queries.marketing_sent(&ids, now - cap.span(), cap.messages).await
                    }
                    None => Ok(HashMap::new()),
                }
            },
        )?;
        let ahead = |at: Option<DateTime<Utc>>| at.filter(|at| *at > now);
        let about = people.map(|stored| {
            let contact = &stored.state;
            let to = recipient_of(contact, self.account);
            let sent = sent.get(&stored.id).into_iter().flatten().map(|(_, at)| *at);
            let about = Circumstances {
                country: to.as_ref().and_then(country_of_recipient),
                window_until: ahead(windows.get(&stored.id).map(|at| *at + WINDOW)),
                marketing_blocked_until: ahead(blocks.get(&stored.id).copied()),
                takes_no_marketing: is_marketing && takes_no_marketing(contact),
                unreachable_until: ahead(unreachable.get(&stored.id).copied()),
                capped_until: ahead(cap.and_then(|cap| cap.opens_at(sent))),
            };
            (stored.id, about)
        });
        Ok(about.collect())
    }
}
