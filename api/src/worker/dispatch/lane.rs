//! One number's lane: takes what is due, judges it, makes the intent durable, hands it to WhatsApp within the number's
//! pace, and records what became of it. Only the holder of the number's lease runs it, and correctness does not rest on
//! that: an attempt belongs to whoever appended its intent.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration as StdDuration;

use chrono::{DateTime, Duration, Utc};
use domain::account::{Account, AccountCommand, AccountStatus, InDoubtAction, PauseCause};
use domain::campaign::{Campaign, CampaignStatus};
use domain::contact::Contact;
use domain::delivery::{DeliveryFacts, Pace, PairLimit, Verdict, judge, recipient_of};
use domain::message::{InDoubtResolution, Message, MessageCommand, MessageError, Recipient};
use domain::port::{AggregateType, Position, StreamId};
use domain::primitives::{AccountId, CampaignId, MessageId, Personal};
use domain::template::{Template, TemplateCategory, TemplateComponents, TemplateStatus};
use infrastructure::cloud_api::client::SendOutcome;
use infrastructure::ledger::{CommandError, Committed, Context, Thread};
use projections::{AgendaItem, names};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};
use uuid::Uuid;

use super::effects::{self, EffectTarget};
use super::outcome::{AttemptFacts, Effect, settle, unknown, unsendable};
use super::wire::{WireError, send_request};
use crate::app::{AccessError, Gateway, Sender};
use crate::worker::latest;
use crate::worker::webhook::settle_parked;

/// Messages looked at in one turn.
const TURN_MAX: usize = 256;
/// Outcomes recorded in one append.
const RECORD_MAX: usize = 512;
/// What is due and has to wait (for a pair, for quiet hours) is remembered up to here; beyond it is looked at again.
const HELD_MAX: usize = 4_096;
/// A lane that has nothing to do looks again after this long, whatever wakes it or not.
const IDLE: StdDuration = StdDuration::from_secs(1);
/// An intent whose node died is in doubt this long after its `send_by`: longer than any call may take.
const ORPHAN_MARGIN: Duration = Duration::seconds(45);
/// A message waiting for something without a known end is looked at again after this long.
const RECHECK: Duration = Duration::seconds(2);
/// How far back attempts matter to the pair limit: a whole burst is paid back in 45 × 6 s.
const PAIR_MEMORY: Duration = Duration::seconds(45 * 6 + 10);

/// What the lane knows of a message that its read model may not know yet.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// With WhatsApp right now.
    Calling,
    /// Recorded at this position: forgotten once the read model has passed it.
    Recorded(Position),
}

/// What became of one command on a message.
type Recorded = Result<Committed<Message>, CommandError<MessageError>>;

/// One call that ended.
struct Called {
    message_id: MessageId,
    due: AgendaItem,
    recipient: Recipient,
    attempt: u32,
    send_by: DateTime<Utc>,
    /// Ends in the intent, which the outcome is the answer to.
    requested: Option<Thread>,
    /// An error: it could not be put into WhatsApp's words, and was never called.
    answer: Result<SendOutcome, WireError>,
}

/// What is left to do once its outcome is on record.
struct Settled {
    message_id: MessageId,
    due: AgendaItem,
    recipient: Recipient,
    requested: Option<Thread>,
}

/// When calls of this number began within the last second, so that a stalled executor cannot bunch them.
type Starts = Arc<Mutex<VecDeque<DateTime<Utc>>>>;

pub struct Lane {
    gateway: Arc<Gateway>,
    account_id: AccountId,
    context: Context,
    pace: Pace,
    campaign_paces: HashMap<CampaignId, Pace>,
    pairs: HashMap<String, PairLimit>,
    taken: HashMap<Uuid, Taken>,
    held: HashMap<Uuid, DateTime<Utc>>,
    calling: usize,
    starts: Starts,
    results: (mpsc::Sender<Called>, mpsc::Receiver<Called>),
    stop: watch::Receiver<bool>,
}

impl Lane {
    /// A lane that has just got its number: the bucket is empty, and the pairs are as the last minutes left them.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn take_over(
        gateway: Arc<Gateway>,
        account_id: AccountId,
        context: Context,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let now = gateway.clock.now();
        let mut pairs: HashMap<String, PairLimit> = HashMap::new();
        let attempts =
            gateway.read.queries().recent_attempts(account_id.0, now - PAIR_MEMORY).await?;
        let contacts: Vec<Uuid> =
            attempts.iter().map(|(id, _)| *id).collect::<HashSet<_>>().into_iter().collect();
        let contacts = gateway.bus.load_many::<Contact>(&contacts).await?;
        let account = gateway
            .bus
            .load::<Account>(account_id.0)
            .await?
            .map(|loaded| loaded.aggregate)
            .unwrap_or_default();
        for (contact_id, at) in attempts {
            let contact = contacts.get(&contact_id).map(|loaded| &loaded.aggregate);
            let Some(recipient) = contact.and_then(|contact| recipient_of(contact, &account))
            else {
                continue;
            };
            let pair =
                pairs.get(recipient.key()).map_or(PairLimit::first(at), |pair| pair.sent(at));
            pairs.insert(recipient.key().to_owned(), pair);
        }
        let concurrency = gateway.config.dispatch.concurrency;
        Ok(Self {
            account_id,
            context,
            pace: Pace::new(1, now),
            campaign_paces: HashMap::new(),
            pairs,
            taken: HashMap::new(),
            held: HashMap::new(),
            calling: 0,
            starts: Starts::default(),
            results: mpsc::channel(concurrency.max(1)),
            stop,
            gateway,
        })
    }

    /// Runs until it is told to stop, then waits for the calls under way and records them.
    pub async fn run(mut self) {
        let mut projected = self.gateway.read.watch(names::MESSAGES);
        loop {
            let stopping = *self.stop.borrow();
            if stopping && self.calling == 0 {
                return;
            }
            let wake_at = if stopping {
                self.gateway.clock.now() + Duration::seconds(1)
            } else {
                match self.turn().await {
                    Ok(wake_at) => wake_at,
                    Err(error) => {
                        warn!(account.id = %self.account_id, error = %format!("{error:#}"), "a dispatch turn failed; trying again");
                        self.gateway.clock.now() + Duration::seconds(1)
                    }
                }
            };
            let clock = self.gateway.clock.clone();
            tokio::select! {
                biased;
                Some(called) = self.results.1.recv() => self.record(called).await,
                () = clock.sleep_until(wake_at) => {}
                changed = projected.changed(), if !stopping && self.calling < self.slots() => {
                    if changed.is_err() { return; }
                }
                _ = self.stop.changed(), if !stopping => {}
            }
        }
    }

    fn slots(&self) -> usize {
        self.gateway.config.dispatch.concurrency
    }

    /// One look at what is due. Answers when to look again if nothing else happens.
    async fn turn(&mut self) -> anyhow::Result<DateTime<Utc>> {
        let now = self.gateway.clock.now();
        let idle = now + Duration::from_std(IDLE)?;
        self.forget(now);
        let Some(account) = self.gateway.bus.load::<Account>(self.account_id.0).await? else {
            return Ok(idle);
        };
        let account = account.aggregate;
        self.pace.set_granted(account.messages_per_second());
        self.settle_orphans(&account, now).await?;
        self.settle_doubts(&account, now).await?;
        match account.status {
            AccountStatus::Connected => {}
            AccountStatus::Paused if account.paused_until.is_some_and(|until| until <= now) => {
                self.end_pause(now).await?;
                // Whether it may send now is looked at anew: what a person stopped stays so.
                return Ok(now);
            }
            AccountStatus::Paused | AccountStatus::Disconnected => {
                return Ok(account.paused_until.map_or(idle, |u| u.min(idle)));
            }
        }
        let free = self.slots().saturating_sub(self.calling);
        if free == 0 {
            return Ok(idle);
        }
        let next_token = self.pace.next_at(now);
        if next_token > now {
            return Ok(next_token.min(idle));
        }
        let campaigns = self.campaigns().await?;
        let excluded: Vec<Uuid> =
            campaigns.iter().filter(|(_, c)| !c.may_send).map(|(id, _)| id.0).collect();
        let limit = free.min(TURN_MAX) + self.taken.len() + self.held.len();
        let queries = self.gateway.read.queries();
        let due: Vec<AgendaItem> = queries
            .due(self.account_id.0, now, limit.min(TURN_MAX + HELD_MAX), &excluded)
            .await?
            .into_iter()
            .filter(|due| {
                !self.taken.contains_key(&due.message_id)
                    && !self.held.contains_key(&due.message_id)
            })
            .take(free.min(TURN_MAX))
            .collect();
        if due.is_empty() {
            let next_due = queries.next_due_at(self.account_id.0, now, &excluded).await?;
            let next_held = self.held.values().min().copied();
            return Ok([next_due, next_held]
                .into_iter()
                .flatten()
                .fold(idle, DateTime::min)
                .max(now + Duration::milliseconds(5)));
        }
        let sender = match self.gateway.sender(&account).await {
            Ok(sender) => sender,
            Err(error) => return self.pause_without(error, now).await.map(|()| idle),
        };
        self.dispatch(&account, &campaigns, due, sender, now).await?;
        Ok(self.pace.next_at(self.gateway.clock.now()).min(idle))
    }

    /// The time of the account's pause is over.
    async fn end_pause(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let stream = StreamId::new(AggregateType::Account, self.account_id.0);
        let context = match latest(&self.gateway, stream, "account.paused").await? {
            Some(paused) => self.context.clone().answering(&paused),
            None => self.context.clone(),
        };
        let command = AccountCommand::EndPause { at: now };
        self.gateway.bus.execute::<Account>(self.account_id.0, command, &context).await?;
        Ok(())
    }

    /// Nothing can be sent without a credential, and trying burns no attempt: the account waits for a new one.
    async fn pause_without(&self, error: AccessError, now: DateTime<Utc>) -> anyhow::Result<()> {
        if !error.needs_rotation() {
            return Err(error.into());
        }
        warn!(account.id = %self.account_id, %error, "the account is paused: it has no usable credential");
        let command = AccountCommand::Pause {
            reason: format!("{error}; give the account a new one with rotateAccountCredentials"),
            until: None,
            cause: Some(PauseCause::Credentials),
            at: now,
        };
        // Nobody's answer: the lane found it by looking.
        let mut context = self.context.clone();
        context.correlation_id = self.gateway.ids.next_id(now);
        self.gateway.bus.execute::<Account>(self.account_id.0, command, &context).await?;
        Ok(())
    }

    /// What happens to a message is part of whatever the message is part of.
    fn on_message(&self) -> Context {
        self.context.clone().following()
    }

    /// Drops what need not be remembered any more.
    fn forget(&mut self, now: DateTime<Utc>) {
        let seen = Position(*self.gateway.read.watch(names::MESSAGES).borrow());
        self.taken
            .retain(|_, taken| !matches!(taken, Taken::Recorded(position) if *position <= seen));
        self.held.retain(|_, until| *until > now);
        if self.pairs.len() > 10_000 {
            self.pairs.retain(|_, pair| !pair.is_clear(now));
        }
    }

    /// The account's campaigns that are under way, and which of them may send.
    async fn campaigns(&self) -> anyhow::Result<HashMap<CampaignId, CampaignLane>> {
        let waiting = self.gateway.read.queries().waiting_campaigns(self.account_id.0).await?;
        let campaigns = self.gateway.bus.load_many::<Campaign>(&waiting).await?;
        let plans = campaigns.values().filter_map(|loaded| loaded.aggregate.plan.as_ref());
        let templates: HashSet<Uuid> = plans.map(|plan| plan.template_id.0).collect();
        let templates = self
            .gateway
            .bus
            .load_many::<Template>(&templates.into_iter().collect::<Vec<_>>())
            .await?;
        Ok(campaigns
            .into_iter()
            .map(|(id, loaded)| {
                let campaign = loaded.aggregate;
                let plan = campaign.plan.as_ref();
                let template = plan.and_then(|plan| templates.get(&plan.template_id.0));
                // A template that is paused or under review holds its campaigns; nobody is left out for it.
                let is_held = template.is_some_and(|t| {
                    matches!(t.aggregate.status, TemplateStatus::Paused | TemplateStatus::Pending)
                });
                let lane = CampaignLane {
                    may_send: matches!(
                        campaign.status,
                        CampaignStatus::Running | CampaignStatus::Completed
                    ) && !is_held,
                    messages_per_second: plan.and_then(|plan| plan.messages_per_second),
                };
                (CampaignId(id), lane)
            })
            .collect())
    }

    async fn dispatch(
        &mut self,
        account: &Account,
        campaigns: &HashMap<CampaignId, CampaignLane>,
        due: Vec<AgendaItem>,
        sender: Sender,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let contacts: Vec<Uuid> =
            due.iter().map(|due| due.contact_id).collect::<HashSet<_>>().into_iter().collect();
        let template_ids: Vec<Uuid> = due
            .iter()
            .filter_map(|due| due.template_id)
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        let queries = self.gateway.read.queries();
        let (people, templates, windows, blocks, unreachable) = tokio::try_join!(
            async {
                Ok::<_, anyhow::Error>(self.gateway.bus.load_many::<Contact>(&contacts).await?)
            },
            async { Ok(self.gateway.bus.load_many::<Template>(&template_ids).await?) },
            async { Ok(queries.windows(self.account_id.0, &contacts).await?) },
            async { Ok(queries.marketing_blocks(&contacts).await?) },
            async { Ok(queries.unreachable(self.account_id.0, &contacts).await?) },
        )?;
        let nobody = Contact::default();
        let mut ready: Vec<(AgendaItem, Recipient)> = vec![];
        let mut settled: Vec<(Uuid, MessageCommand, Context)> = vec![];
        for due in due {
            let contact = people.get(&due.contact_id).map_or(&nobody, |loaded| &loaded.aggregate);
            let template =
                due.template_id.and_then(|id| templates.get(&id)).map(|loaded| &loaded.aggregate);
            let verdict = judge(&DeliveryFacts {
                now,
                contact,
                content_kind: due.content_kind,
                category: template.and_then(|template| template.category).or(due.category),
                template_status: due
                    .template_id
                    .map(|_| template.map_or(TemplateStatus::Deleted, |t| t.status)),
                window_until: windows.get(&due.contact_id).map(|at| *at + Duration::hours(24)),
                marketing_blocked_until: blocks.get(&due.contact_id).copied(),
                unreachable_since: unreachable.get(&due.contact_id).copied(),
                quiet_hours: account
                    .settings
                    .quiet_hours
                    .zip(contact.zone().or_else(|| account.settings.time_zone.parse().ok())),
                expires_at: due.expires_at,
            });
            match verdict {
                Verdict::Skip(reason) => settled.push((
                    due.message_id,
                    MessageCommand::Skip { reason, detail: None, at: now },
                    self.on_message(),
                )),
                Verdict::Expire => {
                    settled.push((
                        due.message_id,
                        MessageCommand::Expire { at: now },
                        self.on_message(),
                    ));
                }
                Verdict::Wait { until, .. } => {
                    self.hold(due.message_id, until.unwrap_or(now + RECHECK))
                }
                Verdict::Send => {
                    let Some(recipient) = recipient_of(contact, account) else {
                        self.hold(due.message_id, now + RECHECK);
                        continue;
                    };
                    let pair_free_at =
                        self.pairs.get(recipient.key()).map_or(now, |pair| pair.next_at(now));
                    let campaign_full = due
                        .campaign_id
                        .is_some_and(|id| !self.campaign_may_send(CampaignId(id), campaigns, now));
                    if pair_free_at > now {
                        self.hold(due.message_id, pair_free_at);
                    } else if !campaign_full {
                        if self.pace.take(1, now) == 0 {
                            break;
                        }
                        let pair = self
                            .pairs
                            .get(recipient.key())
                            .map_or(PairLimit::first(now), |p| p.sent(now));
                        self.pairs.insert(recipient.key().to_owned(), pair);
                        ready.push((due, recipient));
                    }
                }
            }
        }
        self.record_settled(settled).await;
        let templates = templates.into_iter().map(|(id, t)| (id, t.aggregate)).collect();
        self.send(ready, &templates, sender).await;
        Ok(())
    }

    /// A campaign's own limit, where it has one.
    fn campaign_may_send(
        &mut self,
        id: CampaignId,
        campaigns: &HashMap<CampaignId, CampaignLane>,
        now: DateTime<Utc>,
    ) -> bool {
        let Some(limit) = campaigns.get(&id).and_then(|campaign| campaign.messages_per_second)
        else {
            return true;
        };
        let pace = self.campaign_paces.entry(id).or_insert_with(|| Pace::new(limit, now));
        pace.set_granted(limit);
        pace.take(1, now) == 1
    }

    fn hold(&mut self, message_id: Uuid, until: DateTime<Utc>) {
        if self.held.len() < HELD_MAX {
            self.held.insert(message_id, until);
        }
    }

    async fn record_settled(&mut self, settled: Vec<(Uuid, MessageCommand, Context)>) {
        if settled.is_empty() {
            return;
        }
        let ids: Vec<Uuid> = settled.iter().map(|(id, ..)| *id).collect();
        for (id, result) in
            ids.into_iter().zip(self.gateway.bus.execute_many::<Message>(settled).await)
        {
            match result {
                Ok(committed) => {
                    self.taken.insert(id, Taken::Recorded(committed.position));
                }
                // Somebody was faster: cancelled it, or took it. The read model will say so.
                Err(error) => self.look_again(id, &error),
            }
        }
    }

    fn look_again(&mut self, id: Uuid, error: &dyn std::fmt::Display) {
        debug!(message.id = %id, %error, "left to whoever has it");
        if self.held.len() < HELD_MAX {
            self.held.insert(id, self.gateway.clock.now() + RECHECK);
        }
    }

    /// Makes the intents durable in one append, then hands each over. Nothing is called that is not in the log.
    async fn send(
        &mut self,
        ready: Vec<(AgendaItem, Recipient)>,
        templates: &HashMap<Uuid, Template>,
        sender: Sender,
    ) {
        if ready.is_empty() {
            return;
        }
        let now = self.gateway.clock.now();
        let patience = i64::from(self.gateway.config.dispatch.send_by_s);
        let send_by = now + Duration::seconds(patience);
        // By a clock that counts suspension: a node that was stopped and wakes must not send late.
        let deadline =
            self.gateway.clock.since_boot() + StdDuration::from_secs(patience.unsigned_abs());
        let components: HashMap<Uuid, TemplateComponents> =
            templates.iter().filter_map(|(id, t)| Some((*id, t.parsed().ok()?))).collect();
        let commands = ready
            .iter()
            .map(|(due, _)| {
                let command =
                    MessageCommand::RequestSend { attempt: due.attempts + 1, send_by, at: now };
                (due.message_id, command, self.on_message())
            })
            .collect();
        let results = self.gateway.bus.execute_many::<Message>(commands).await;
        for ((due, recipient), result) in ready.into_iter().zip(results) {
            let (message, requested) = match result {
                Ok(committed) => (committed.aggregate, committed.thread),
                Err(error) => {
                    self.look_again(due.message_id, &error);
                    continue;
                }
            };
            let attempt = message.attempt_count();
            let components = due.template_id.and_then(|id| components.get(&id));
            let request =
                send_request(MessageId(due.message_id), attempt, &message, &recipient, components);
            self.taken.insert(due.message_id, Taken::Calling);
            self.calling += 1;
            let results = self.results.0.clone();
            let clock = self.gateway.clock.clone();
            let starts = self.starts.clone();
            let granted = self.pace.granted();
            let sender = sender.clone();
            tokio::spawn(async move {
                let answer = match request {
                    Ok(request) => {
                        wait_for_second(&starts, granted, &clock).await;
                        Ok(sender.send(&request, move || clock.since_boot() < deadline).await)
                    }
                    Err(error) => Err(error),
                };
                let message_id = MessageId(due.message_id);
                // The lane outlives its calls; where it does not, the orphan rule settles the attempt.
                let called =
                    Called { message_id, due, recipient, attempt, send_by, requested, answer };
                let _ = results.send(called).await;
            });
        }
    }

    /// Records what has come back, as much as there is, in one append.
    async fn record(&mut self, first: Called) {
        let mut called = vec![first];
        while called.len() < RECORD_MAX
            && let Ok(next) = self.results.1.try_recv()
        {
            called.push(next);
        }
        self.calling -= called.len();
        let Ok(Some(account)) = self.gateway.bus.load::<Account>(self.account_id.0).await else {
            // The store is away: the attempts stay without an outcome, and the orphan rule settles them.
            warn!(account.id = %self.account_id, count = called.len(), "outcomes could not be recorded; they are in doubt");
            for call in called {
                self.taken.remove(&call.message_id.0);
            }
            return;
        };
        let now = self.gateway.clock.now();
        let mut commands = vec![];
        let mut consequences = vec![];
        for call in called {
            let Called { message_id, due, recipient, attempt, send_by, requested, answer } = call;
            let facts = AttemptFacts { attempt, send_by, now, random: self.gateway.ids.random() };
            let (command, effects) = match answer {
                Ok(outcome) => {
                    metrics::counter!("gateway_sends_total", "outcome" => outcome_label(&outcome))
                        .increment(1);
                    settle(outcome, facts, &account.aggregate)
                }
                Err(error) => (unsendable(&error, facts), vec![]),
            };
            let context = match requested {
                Some(requested) => self.on_message().caused_by(requested.event_id),
                None => self.on_message(),
            };
            commands.push((message_id.0, command, context));
            consequences.push((Settled { message_id, due, recipient, requested }, effects));
        }
        let results = self.gateway.bus.execute_many::<Message>(commands).await;
        self.settle_parked(&results).await;
        for ((call, effects), result) in consequences.into_iter().zip(results) {
            let Settled { message_id, due, recipient, requested } = call;
            let shown_by = match result {
                Ok(committed) => {
                    self.taken.insert(message_id.0, Taken::Recorded(committed.position));
                    committed.thread
                }
                Err(error) => {
                    warn!(message.id = %message_id, %error, "an outcome could not be recorded; it is in doubt");
                    self.taken.remove(&message_id.0);
                    requested
                }
            };
            for effect in &effects {
                match effect {
                    Effect::HoldPair { until } => {
                        let pair = self
                            .pairs
                            .get(recipient.key())
                            .map_or(PairLimit::first(now), |pair| *pair);
                        self.pairs.insert(recipient.key().to_owned(), pair.held(*until));
                    }
                    Effect::HoldNumber { until } => self.pace.hold_until(*until),
                    _ => {}
                }
            }
            let target = EffectTarget {
                account_id: self.account_id,
                contact_id: Some(due.contact_id.into()),
                template_id: due.template_id.map(Into::into),
            };
            let context = match shown_by {
                Some(thread) => self.context.clone().because_of(thread),
                None => self.context.clone(),
            };
            effects::apply(&self.gateway, &effects, target, &context).await;
        }
    }

    /// Statuses that came without our callback data and before the answer that named their message.
    async fn settle_parked(&self, results: &[Recorded]) {
        let known: HashMap<String, MessageId> = results
            .iter()
            .flatten()
            .filter_map(|committed| {
                let wamid = committed.aggregate.wamid().and_then(Personal::known)?;
                Some((wamid.as_str().to_owned(), MessageId(committed.id)))
            })
            .collect();
        if let Err(error) = settle_parked(&self.gateway, self.account_id, &known).await {
            warn!(account.id = %self.account_id, error = %format!("{:#}", anyhow::Error::from(error)), "parked statuses could not be looked up");
        }
    }

    /// Attempts whose node died between the intent and the outcome: nobody knows.
    async fn settle_orphans(
        &mut self,
        account: &Account,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let overdue = self
            .gateway
            .read
            .queries()
            .sending_overdue(self.account_id.0, now - ORPHAN_MARGIN)
            .await?;
        let commands: Vec<_> = overdue
            .into_iter()
            .filter(|due| !self.taken.contains_key(&due.message_id))
            .map(|due| {
                let facts = AttemptFacts { attempt: due.attempts, send_by: due.at, now, random: 0 };
                let command = unknown(facts, account, "the gateway stopped before the answer came");
                (due.message_id, command, self.on_message())
            })
            .collect();
        self.record_settled(commands).await;
        Ok(())
    }

    /// After the grace period the account's policy decides, if webhooks do arrive for the number.
    async fn settle_doubts(&mut self, account: &Account, now: DateTime<Utc>) -> anyhow::Result<()> {
        let policy = account.settings.in_doubt_policy;
        let categories = [
            None,
            Some(TemplateCategory::Marketing),
            Some(TemplateCategory::Utility),
            Some(TemplateCategory::Authentication),
        ];
        let sent_again: Vec<_> = categories
            .into_iter()
            .filter(|category| policy.action(*category) == InDoubtAction::SendAgain)
            .collect();
        if sent_again.is_empty() {
            return Ok(());
        }
        let queries = self.gateway.read.queries();
        let doubtful = queries.in_doubt_due(self.account_id.0, now, &sent_again).await?;
        if doubtful.is_empty() {
            return Ok(());
        }
        let activity = queries.account_activity(&[self.account_id.0]).await?;
        let activity = activity.get(&self.account_id.0).copied().unwrap_or_default();
        let heard_at = activity.last_status_at.max(activity.last_inbound_at);
        let commands: Vec<_> = doubtful
            .into_iter()
            .filter(|due| !self.taken.contains_key(&due.message_id))
            // Silence from WhatsApp proves nothing while no webhook at all has come since the attempt.
            .filter(|due| {
                heard_at.is_some_and(|heard| {
                    heard > due.at - Duration::seconds(i64::from(policy.grace_seconds))
                })
            })
            .map(|due| {
                let resolution = InDoubtResolution::SendAgain;
                (
                    due.message_id,
                    MessageCommand::Resolve { resolution, due_at: now, at: now },
                    self.on_message(),
                )
            })
            .collect();
        self.record_settled(commands).await;
        Ok(())
    }
}

/// What the lane needs to know of a campaign.
#[derive(Clone, Copy, Debug)]
struct CampaignLane {
    may_send: bool,
    messages_per_second: Option<u32>,
}

fn outcome_label(outcome: &SendOutcome) -> &'static str {
    match outcome {
        SendOutcome::Accepted(_) => "accepted",
        SendOutcome::Refused(_) => "refused",
        SendOutcome::NotSent(_) => "not_sent",
        SendOutcome::Unknown(_) => "unknown",
    }
}

/// Waits until another call may begin within the last moving second.
async fn wait_for_second(starts: &Starts, granted: u32, clock: &Arc<dyn domain::port::Clock>) {
    loop {
        let now = clock.now();
        let wait_until = {
            let mut starts = starts.lock().expect("nothing panics while it holds this lock");
            while starts.front().is_some_and(|at| *at <= now - Duration::milliseconds(1_020)) {
                starts.pop_front();
            }
            if starts.len() < granted as usize {
                starts.push_back(now);
                None
            } else {
                starts.front().map(|at| *at + Duration::milliseconds(1_021))
            }
        };
        match wait_until {
            None => return,
            Some(at) => clock.sleep_until(at).await,
        }
    }
}
