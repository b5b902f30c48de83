//! What a forecast is made from: the campaign on paper, its audience by the query that the launch uses, what is known of
//! each person, what else waits, and the portfolio's count. Only reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Duration, Utc};
use domain::account::{Account, AccountStatus, Restriction};
use domain::campaign::{Campaign, CampaignStatus};
use domain::contact::Contact;
use domain::delivery::forecast::{
    Circumstances, Conditions, Forecast, Forecaster, Limit, Opens, Other, Person, Stage,
};
use domain::delivery::{Planning, Reach, SendingHours, fills, limit_of, zone_of_recipient};
use domain::message::Priority;
use domain::port::{AggregateType, Position, StreamId};
use domain::primitives::{
    AccountId, CampaignId, ContactId, MessageId, message_id_of_campaign, occurrence_start_ms,
};
use domain::template::{Template, TemplateCategory, TemplateStatus};
use domain::workspace::Workspace;
use infrastructure::phone::{country_of_recipient, zone_of};
use projections::{AudienceSurvey, DueCursor, Queries, Scope};
use uuid::Uuid;

use super::super::audience;
use super::book::Made;
use crate::app::Gateway;
use crate::application::error::{AppError, AppResult};
use crate::application::{command, read};
use crate::worker::dispatch::{reached, takes_no_marketing};
use crate::worker::people::{People, there_twice, windows};
use crate::worker::{all_accounts, latest};

/// Contacts looked up together.
const PAGE: usize = 1_000;
/// What waits is planned no further ahead than this.
const HORIZON: Duration = Duration::days(3_660);
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
        let stream = StreamId::new(AggregateType::Campaign, id.0);
        let started = latest(gateway, stream, STARTED)
            .await
            .map_err(|error| AppError::internal(std::io::Error::other(error)))?;
        added_up_to = started.map(|event| event.position);
        (after, is_expanded) = (campaign.cursor, campaign.expanded);
    }
    let mut survey = AudienceSurvey { people: 0, unfilled: audience::paths(plan) };
    // Those whose halves' messages, where they still wait, give way to theirs.
    let mut keepers: HashSet<Uuid> = HashSet::new();
    if !is_expanded {
        let audience = scene.queries.audience(workspace_id.0, &plan.audience, added_up_to).await?;
        loop {
            let page = scene.queries.audience_page(&audience, after, PAGE).await?;
            let contacts = page.contacts.into_iter().map(|stored| (stored.id, stored.into_state()));
            let contacts: Vec<(Uuid, Contact)> = contacts.collect();
            survey.people += contacts.len() as u64;
            for (_, contact) in &contacts {
                survey.unfilled.retain(|path| !fills(contact, path));
            }
            let ids: Vec<Uuid> = contacts.iter().map(|(id, _)| *id).collect();
            let people = scene.people(contacts.into_iter().collect()).await?;
            let about = scene.circumstances(&people, now).await?;
            let start = paper.occurrence_start.unwrap_or(starts_at);
            let messages: Vec<_> = ids
                .iter()
                .filter_map(|contact| {
                    let message = message_id_of_campaign(id, start, ContactId(*contact), 0);
                    Some((message.0, id, people.get(*contact)?))
                })
                .collect();
            let twice = there_twice(gateway, &messages).await?;
            for (message, _, person) in messages {
                let about = about.get(&person.addressee_id).copied().unwrap_or_default();
                let is_there_twice = twice.contains(&message);
                let about = Circumstances { is_there_twice, ..about };
                let passes = forecaster.plan(&planning, person.addressee, about, starts_at);
                if passes && !person.contact.halves.is_empty() {
                    keepers.insert(person.id);
                }
            }
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
    if let Stage::UnderWay { .. } = &stage {
        scene.take_waiting(&mut forecaster, &keepers, now).await?;
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
    async fn take_waiting(
        &self,
        forecaster: &mut Forecaster,
        keepers: &HashSet<Uuid>,
        now: DateTime<Utc>,
    ) -> AppResult<()> {
        // Of two who went into a third that has none, the one that is due first goes.
        let mut first: HashSet<(i64, Uuid)> = HashSet::new();
        let bulk = usize::try_from(Priority::Bulk.rank()).unwrap_or_default();
        let mut after: [Option<DueCursor>; 3] = [None; 3];
        loop {
            let (account, campaign) = (self.account_id.0, self.campaign_id.0);
            let until = now + HORIZON;
            let items = self.queries.due_in(account, campaign, until, after, PAGE).await?;
            let ids: Vec<Uuid> = items.iter().map(|item| item.contact_id).collect();
            let people = self.queries.contacts_by_id(&Scope::everything(), &ids).await?;
            let people = people.into_iter().map(|(id, stored)| (id, stored.into_state())).collect();
            let people = self.people(people).await?;
            let about = self.circumstances(&people, now).await?;
            let messages: Vec<_> = items
                .iter()
                .filter_map(|item| {
                    let person = people.get(item.contact_id)?;
                    Some((item.message_id, self.campaign_id, person))
                })
                .collect();
            let twice = there_twice(self.gateway, &messages).await?;
            for item in &items {
                let Some(person) = people.get(item.contact_id) else { continue };
                let contact = person.contact;
                let zone = zone_of_recipient(self.campaign.zone(), self.account, contact, zone_of);
                let about = about.get(&item.contact_id).copied().unwrap_or_default();
                let gives_way = person.is_merged()
                    && (keepers.contains(&person.id)
                        || !first.insert((occurrence_start_ms(item.message_id), person.id)));
                let is_there_twice = gives_way || twice.contains(&item.message_id);
                let about = Circumstances { is_there_twice, ..about };
                let times = (item.at.max(now), item.expires_at);
                let planned = (MessageId(item.message_id), ContactId(item.contact_id));
                forecaster.waiting(planned, contact, zone, times, about);
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

    async fn people(&self, contacts: HashMap<Uuid, Contact>) -> AppResult<People> {
        let people = People::of(self.gateway, contacts).await;
        people.map_err(|error| AppError::unavailable(std::io::Error::other(error)))
    }

    /// What is known of these people beside their contacts, by the contact that was asked for.
    async fn circumstances(
        &self,
        people: &People,
        now: DateTime<Utc>,
    ) -> AppResult<HashMap<Uuid, Circumstances>> {
        let everyone = people.everyone();
        let is_marketing = self.category == TemplateCategory::Marketing;
        let cap = self.campaign.plan.as_ref().and_then(|plan| plan.frequency_cap);
        let cap = cap.filter(|_| is_marketing);
        let addressed = people.addressed(self.account);
        let (windows, blocks, unreachable, sent) = tokio::try_join!(
            windows(&self.queries, self.account_id, &addressed, now),
            self.queries.marketing_blocks(&everyone),
            self.queries.unreachable(&everyone),
            async {
                match cap {
                    Some(cap) => {
                        let since = now - cap.span();
                        self.queries.marketing_sent(&everyone, since, cap.messages).await
                    }
                    None => Ok(HashMap::new()),
                }
            },
        )?;
        let ahead = |at: Option<DateTime<Utc>>| at.filter(|at| *at > now);
        let about = addressed.iter().map(|(person, to)| {
            let sent = person.all(&sent).into_iter().map(|(_, at)| at);
            let about = Circumstances {
                is_there_twice: false,
                country: to.as_ref().and_then(country_of_recipient),
                window_until: ahead(windows.get(&person.addressee_id).copied()),
                marketing_blocked_until: ahead(person.latest(&blocks)),
                takes_no_marketing: is_marketing && takes_no_marketing(person.addressee),
                unreachable_until: ahead(person.latest(&unreachable)),
                capped_until: ahead(cap.and_then(|cap| cap.opens_at(sent))),
            };
            (person.addressee_id, about)
        });
        Ok(about.collect())
    }
}
