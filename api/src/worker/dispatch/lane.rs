//! One number's lane: takes what is due, judges it, makes the intent durable, hands it to WhatsApp within the number's
//! pace, and records what became of it. Only the holder of the number's lease runs it, and correctness does not rest on
//! that: an attempt belongs to whoever appended its intent.

mod doubts;
mod outcomes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as StdDuration;

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use domain::account::{Account, AccountCommand, AccountStatus, PauseCause, QuietHours};
use domain::campaign::{Campaign, FrequencyCap};
use domain::delivery::{
    DeliveryFacts, Pace, PairLimit, SendingHours, Verdict, judge, recipient_of, zone_of_recipient,
};
use domain::message::{Message, MessageCommand, Priority, Recipient, SkipReason};
use domain::port::{AggregateType, EventFeed, Position, StreamId};
use domain::primitives::{AccountId, CampaignId, DailyHours, MessageId};
use domain::template::{Template, TemplateCategory, TemplateComponents, TemplateStatus};
use infrastructure::cloud_api::client::SendOutcome;
use infrastructure::ledger::{CommandError, Context, Thread};
use infrastructure::phone::zone_of;
use infrastructure::webhook::journal::JournalId;
use projections::{AgendaItem, names};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::effects::Word;
use super::marketing::{InFlight, takes_no_marketing};

use super::people::{duplicates, marketing_sent};
use super::queues::{Queues, SETTLED_AFTER, interleave};
use super::reach::{Entered, PortfolioReach};
use super::steady::Steady;
use super::wire::{WireError, send_request};
use crate::app::{AccessError, Gateway, RECENT, Sender};
use crate::worker::people::{People, windows};
use crate::worker::{latest, retime};

/// How long one wait for the read model takes before the lane looks whether it should stop.
const CATCH_UP: StdDuration = StdDuration::from_secs(5);
/// Messages looked at in one turn.
const TURN_MAX: usize = 256;
/// Campaigns looked at in one turn, each turn beginning with another one.
const CAMPAIGNS_PER_TURN: usize = 16;
/// What is due and has to wait a moment (for a pair) is remembered up to here; the rest is found again where it waits.
const HELD_MAX: usize = 4_096;
/// Longer waits than this are looked at again in between: what they wait for may have changed.
const HELD_FOR: Duration = Duration::seconds(60);
/// A lane that has nothing to do looks again after this long, whatever wakes it or not.
const IDLE: Duration = Duration::seconds(1);
/// A turn in which everything waited is followed by the next after this long.
const NEXT_LOOK: Duration = Duration::milliseconds(20);
/// An intent whose node died is in doubt this long after its call must have ended.
const ORPHAN_SLACK: Duration = Duration::seconds(15);
/// A message waiting for something without a known end is looked at again after this long, or later where many are.
const RECHECK: Duration = Duration::seconds(2);
/// The store is asked again after this long.
const AGAIN: Duration = Duration::seconds(1);
/// Between the last calls of a number's last owner and the first of its next: no moving second holds both.
const HANDED_OVER: Duration = Duration::seconds(1);
/// Outcomes that the store does not take are kept this long, then the orphan rule settles their attempts.
const OUTCOME_KEPT: Duration = Duration::minutes(10);
/// An intent whose append nobody answered is looked for this long.
const UNCALLED_KEPT: Duration = Duration::minutes(2);
/// Messages in doubt that are settled at once.
const DOUBTS_MAX: usize = 500;
/// How far back attempts matter to the pair limit: a whole burst is paid back in 45 × 6 s.
const PAIR_MEMORY: Duration = Duration::seconds(45 * 6 + 10);
/// What the lane knows of a message that its read model may not know yet.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// With WhatsApp right now.
    Calling,
    /// Recorded at this position: forgotten once the read model has passed it.
    Recorded(Position),
    /// Not as the read model has it; that may know better by then.
    Changed { until: DateTime<Utc> },
}

/// A message that waits a moment; looked at again by itself.
struct Held {
    item: AgendaItem,
    until: DateTime<Utc>,
}

/// An intent whose append nobody answered: it may be in the log, and nothing was called.
#[derive(Clone, Copy)]
struct Uncalled {
    attempt: u32,
    send_by: DateTime<Utc>,
    forget_at: DateTime<Utc>,
}

/// An outcome that is to be recorded.
struct Outcome {
    word: Word,
    keep_until: DateTime<Utc>,
}

/// What lanes have in common.
#[derive(Clone)]
pub struct Shared {
    /// Among those of one lease.
    pub reach: Arc<PortfolioReach>,
    /// Among all of this process.
    pub marketing: Arc<InFlight>,
}

/// A message that goes now.
struct Ready {
    /// Who speaks for whom it goes to.
    person: Uuid,
    due: AgendaItem,
    recipient: Recipient,
    /// When its person's place was spent; `None`: it costs no reach.
    spent_at: Option<DateTime<Utc>>,
}

/// One call that ended.
struct Called {
    message_id: MessageId,
    person: Uuid,
    due: AgendaItem,
    recipient: Recipient,
    spent_at: Option<DateTime<Utc>>,
    /// As it was when its attempt was recorded.
    message: Message,
    attempt: u32,
    send_by: DateTime<Utc>,
    /// Ends in the intent, which the outcome is the answer to.
    requested: Option<Thread>,
    answered_at: DateTime<Utc>,
    /// An error: it could not be put into WhatsApp's words, and was never called.
    answer: Result<SendOutcome, WireError>,
}

/// When calls of this number began within the last second, so that a stalled executor cannot bunch them.
type Starts = Arc<Mutex<VecDeque<DateTime<Utc>>>>;

/// Its instants are the lane's own ([`Steady`]), except where they come from the log or go there.
pub struct Lane {
    gateway: Arc<Gateway>,
    account_id: AccountId,
    context: Context,
    shared: Shared,
    steady: Steady,
    pace: Pace,
    campaign_paces: HashMap<CampaignId, Pace>,
    pairs: HashMap<String, PairLimit>,
    queues: Queues,
    taken: HashMap<Uuid, Taken>,
    held: HashMap<Uuid, Held>,
    uncalled: HashMap<Uuid, Uncalled>,
    calling: usize,
    outcomes: Vec<Outcome>,
    /// When to try again to record them.
    record_at: DateTime<Utc>,
    /// When to look again for what is in doubt and what was not called.
    settle_at: DateTime<Utc>,
    /// Doubts whose grace was over then are decided once the webhooks up to here are interpreted.
    deciding: Option<(JournalId, DateTime<Utc>)>,
    /// Campaigns looked at since anything was found.
    fruitless: usize,
    /// How often in a row WhatsApp told the number to slow down, and when it may go on.
    throttled: (u32, DateTime<Utc>),
    /// What quiet hours depend on, as of the last turn.
    quiet: Option<(Option<QuietHours>, String)>,
    grace: Duration,
    starts: Starts,
    results: (mpsc::Sender<Called>, mpsc::Receiver<Called>),
    stop: watch::Receiver<bool>,
}

impl Lane {
    /// A lane that has just got its number: the bucket is empty, and the pairs are as the last minutes left them; where
    /// anything was sent in these, nothing is for a second. The read model must have reached what the log held when the
    /// number was taken over.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    async fn take_over(
        gateway: Arc<Gateway>,
        account_id: AccountId,
        context: Context,
        shared: Shared,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let steady = Steady::new(gateway.clock.clone());
        let (now, wall) = (steady.now(), gateway.clock.now());
        let mut pairs: HashMap<String, PairLimit> = HashMap::new();
        let attempts =
            gateway.read.queries().recent_attempts(account_id.0, wall - PAIR_MEMORY).await?;
        let mut pace = Pace::new(1, now);
        if !attempts.is_empty() {
            // Whoever had the number may have begun its last calls just now, as many as a second allows.
            pace.hold_until(now + HANDED_OVER);
        }
        let contacts: Vec<Uuid> =
            attempts.iter().map(|(id, _)| *id).collect::<HashSet<_>>().into_iter().collect();
        let people = People::load(&gateway, &contacts).await?;
        let account = gateway
            .bus
            .load::<Account>(account_id.0)
            .await?
            .map(|loaded| loaded.aggregate)
            .unwrap_or_default();
        for (contact_id, at) in attempts {
            let person = people.get(contact_id);
            let recipient = person.and_then(|person| recipient_of(person.addressee, &account));
            let Some(recipient) = recipient else { continue };
            let at = steady.of(at);
            let pair =
                pairs.get(recipient.key()).map_or(PairLimit::first(at), |pair| pair.sent(at));
            pairs.insert(recipient.key().to_owned(), pair);
        }
        let concurrency = gateway.config.dispatch.concurrency;
        Ok(Self {
            account_id,
            context,
            shared,
            pace,
            campaign_paces: HashMap::new(),
            pairs,
            queues: Queues::default(),
            taken: HashMap::new(),
            held: HashMap::new(),
            uncalled: HashMap::new(),
            calling: 0,
            outcomes: vec![],
            record_at: now,
            settle_at: now,
            deciding: None,
            fruitless: 0,
            throttled: (0, now),
            quiet: None,
            grace: grace_of(&account),
            starts: Starts::default(),
            results: mpsc::channel(concurrency.max(1)),
            stop,
            steady,
            gateway,
        })
    }

    /// Takes the number over once the read model knows what the log held, and runs until told to stop; then waits for
    /// the calls under way and records them.
    pub async fn run(
        gateway: Arc<Gateway>,
        account_id: AccountId,
        context: Context,
        shared: Shared,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut head = None;
        while !*stop.borrow() {
            let taking_over = async {
                let head = match head {
                    Some(head) => head,
                    None => *head.insert(gateway.ledger.head().await?),
                };
                gateway.read.wait_for(names::MESSAGES, head, CATCH_UP).await?;
                let (gateway, context) = (gateway.clone(), context.clone());
                Self::take_over(gateway, account_id, context, shared.clone(), stop.clone()).await
            };
            match taking_over.await {
                Ok(lane) => return lane.work().await,
                Err(error) => {
                    info!(account.id = %account_id, error = %format!("{error:#}"), "a number cannot be taken over yet; trying again");
                }
            }
            let again = StdDuration::from_millis(AGAIN.num_milliseconds().unsigned_abs());
            tokio::select! {
                () = gateway.clock.sleep_for(again) => {}
                _ = stop.changed() => {}
            }
        }
    }

    async fn work(mut self) {
        let mut projected = self.gateway.read.watch(names::MESSAGES);
        loop {
            let stopping = *self.stop.borrow();
            if stopping && self.calling == 0 && self.outcomes.is_empty() {
                return;
            }
            if !self.outcomes.is_empty() && self.record_at <= self.steady.now() {
                self.record_outcomes().await;
            }
            let mut wake_at = if stopping {
                self.steady.now() + IDLE
            } else {
                match self.turn().await {
                    Ok(wake_at) => wake_at,
                    Err(error) => {
                        warn!(account.id = %self.account_id, error = %format!("{error:#}"), "a dispatch turn failed; trying again");
                        // What it looked at may not have been dealt with.
                        self.queues.forget();
                        self.steady.now() + AGAIN
                    }
                }
            };
            if !self.outcomes.is_empty() {
                wake_at = wake_at.min(self.record_at);
            }
            let steady = self.steady.clone();
            let is_free = self.calling + self.outcomes.len() < self.slots();
            tokio::select! {
                biased;
                Some(called) = self.results.1.recv() => self.record(called).await,
                () = steady.sleep_until(wake_at) => {}
                changed = projected.changed(), if !stopping && is_free => {
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
        let (now, wall) = (self.steady.now(), self.gateway.clock.now());
        let idle = now + IDLE;
        self.forget();
        let account = self.gateway.bus.recall::<Account>(self.account_id.0, RECENT).await?;
        let Some(account) = account else { return Ok(idle) };
        let account = account.aggregate;
        self.pace.set_granted(account.messages_per_second());
        self.grace = grace_of(&account);
        if self.settle_at <= now {
            self.settle_at = now + RECHECK;
            self.settle_uncalled().await?;
            self.settle_orphans(wall).await?;
            if account.status == AccountStatus::Connected {
                self.settle_doubts(&account, wall).await?;
            }
        }
        match account.status {
            AccountStatus::Connected => {}
            AccountStatus::Paused if account.paused_until.is_some_and(|until| until <= wall) => {
                self.end_pause(wall).await?;
                // Whether it may send now is looked at anew: what a person stopped stays so.
                return Ok(now + NEXT_LOOK);
            }
            AccountStatus::Paused | AccountStatus::Disconnected => {
                return Ok(account
                    .paused_until
                    .map_or(idle, |until| self.steady.of(until).min(idle))
                    .max(now + NEXT_LOOK));
            }
        }
        let quiet = (account.settings.quiet_hours, account.settings.time_zone.clone());
        if self.quiet.as_ref() != Some(&quiet) {
            self.queues.forget();
            self.quiet = Some(quiet);
        }
        let free = self.slots().saturating_sub(self.calling + self.outcomes.len());
        if free == 0 {
            return Ok(idle);
        }
        let next_token = self.pace.next_at(now);
        if next_token > now {
            return Ok(next_token.min(idle));
        }
        let budget = free.min(TURN_MAX).min(self.pace.available(now).max(1));
        let campaigns = self.campaigns(&account, wall).await?;
        let is_behind = self.gateway.is_behind();
        let (may_send, mut next) = if is_behind {
            (HashMap::from([(Uuid::nil(), usize::MAX)]), now + NEXT_LOOK)
        } else {
            self.eligible(&campaigns, now)
        };
        let (candidates, is_more) = self.candidates(may_send, budget, now, wall).await?;
        let mut sent = 0;
        if !candidates.is_empty() {
            let sender = match self.gateway.sender(&account).await {
                Ok(sender) => sender,
                Err(error) => {
                    self.queues.forget();
                    return self.pause_without(error, wall).await.map(|()| idle);
                }
            };
            sent = self.dispatch(&account, &campaigns, candidates, sender, budget).await?;
        }
        if sent > 0 {
            return Ok(self.pace.next_at(self.steady.now()).min(idle));
        }
        if is_behind {
            return Ok(next);
        }
        // Nothing could go, so looking again at once would find the same.
        if is_more {
            next = next.min(now + NEXT_LOOK);
        }
        let closed: Vec<Uuid> =
            campaigns.iter().filter(|(_, c)| !c.may_send).map(|(id, _)| id.0).collect();
        let queries = self.gateway.read.queries();
        let next_due = queries.next_due_at(self.account_id.0, wall, &closed).await?;
        let next_held = self.held.values().map(|held| held.until).min();
        Ok([next_due.map(|at| self.steady.of(at)), next_held, self.queues.next_rewind()]
            .into_iter()
            .flatten()
            .fold(next.min(idle), DateTime::min)
            .max(now + NEXT_LOOK))
    }

    /// The time of the account's pause is over.
    async fn end_pause(&self, wall: DateTime<Utc>) -> anyhow::Result<()> {
        let stream = StreamId::new(AggregateType::Account, self.account_id.0);
        let context = match latest(&self.gateway, stream, "account.paused").await? {
            Some(paused) => self.context.clone().answering(&paused),
            None => self.context.clone(),
        };
        let command = AccountCommand::EndPause { at: wall };
        self.gateway.bus.execute::<Account>(self.account_id.0, command, &context).await?;
        Ok(())
    }

    /// Nothing can be sent without a credential, and trying burns no attempt: the account waits for a new one.
    async fn pause_without(&self, error: AccessError, wall: DateTime<Utc>) -> anyhow::Result<()> {
        if !error.needs_rotation() {
            return Err(error.into());
        }
        warn!(account.id = %self.account_id, %error, "the account is paused: it has no usable credential");
        let command = AccountCommand::Pause {
            reason: format!("{error}; give the account a new one with rotateAccountCredentials"),
            until: None,
            cause: Some(PauseCause::Credentials),
            at: wall,
        };
        // Nobody's answer: the lane found it by looking.
        let mut context = self.context.clone();
        context.correlation_id = self.gateway.ids.next_id(wall);
        self.gateway.bus.execute::<Account>(self.account_id.0, command, &context).await?;
        Ok(())
    }

    /// What happens to a message is part of whatever the message is part of.
    fn on_message(&self) -> Context {
        self.context.clone().following()
    }

    /// The campaigns that may send now, nil for single sends among them; and when another one may by its own pace.
    fn eligible(
        &mut self,
        campaigns: &HashMap<CampaignId, CampaignLane>,
        now: DateTime<Utc>,
    ) -> (HashMap<Uuid, usize>, DateTime<Utc>) {
        let mut next = now + IDLE;
        let mut may_send = HashMap::from([(Uuid::nil(), usize::MAX)]);
        self.campaign_paces
            .retain(|id, _| campaigns.get(id).is_some_and(|c| c.messages_per_second.is_some()));
        for (id, campaign) in campaigns.iter().filter(|(_, campaign)| campaign.may_send) {
            let Some(limit) = campaign.messages_per_second else {
                may_send.insert(id.0, usize::MAX);
                continue;
            };
            let pace = self.campaign_paces.entry(*id).or_insert_with(|| Pace::new(limit, now));
            pace.set_granted(limit);
            match pace.available(now) {
                0 => next = next.min(pace.next_at(now).max(now + NEXT_LOOK)),
                tokens => drop(may_send.insert(id.0, tokens)),
            }
        }
        (may_send, next)
    }

    /// What to look at in this turn, in order; and whether more is due than that.
    async fn candidates(
        &mut self,
        may_send: HashMap<Uuid, usize>,
        budget: usize,
        now: DateTime<Utc>,
        wall: DateTime<Utc>,
    ) -> anyhow::Result<(Vec<AgendaItem>, bool)> {
        self.queues.begin(now);
        let order = self.queues.order(may_send.keys().copied().collect(), CAMPAIGNS_PER_TURN);
        // A round over many campaigns in which nothing was found is not begun again at once.
        self.fruitless = self.fruitless.saturating_add(order.len());
        let mut is_more = may_send.len() > order.len() && self.fruitless < may_send.len();
        let settled_before = wall - SETTLED_AFTER;
        let queries = self.gateway.read.queries();
        let mut lists = vec![];
        for campaign in order {
            let mut list: Vec<AgendaItem> = self
                .held
                .values()
                .filter(|held| held.until <= now)
                .filter(|held| held.item.campaign_id.unwrap_or_default() == campaign)
                .map(|held| held.item.clone())
                .collect();
            list.sort_unstable_by_key(|item| (item.priority, item.at, item.message_id));
            let mut limit = self.queues.stride(campaign, budget);
            if campaign.is_nil() {
                // Those that may be read again, because an earlier one may still show up.
                limit += self.held.len() + self.taken.len();
            }
            let after = self.queues.cursors(campaign);
            let read = queries.due_in(self.account_id.0, campaign, wall, after, limit).await?;
            is_more |= read.len() >= limit;
            for item in read {
                if self.taken.contains_key(&item.message_id) {
                    self.queues.taken(&item, settled_before, now);
                } else if self.held.contains_key(&item.message_id) {
                    self.queues.held(&item, settled_before, now);
                } else {
                    list.push(item);
                }
            }
            lists.push(list);
        }
        let mut candidates = interleave(lists);
        if !candidates.is_empty() {
            self.fruitless = 0;
        }
        is_more |= candidates.len() > TURN_MAX;
        candidates.truncate(TURN_MAX);
        Ok((candidates, is_more))
    }

    /// Drops what need not be remembered any more.
    fn forget(&mut self) {
        let now = self.steady.now();
        let seen = Position(*self.gateway.read.watch(names::MESSAGES).borrow());
        self.taken.retain(|_, taken| match taken {
            Taken::Calling => true,
            Taken::Recorded(position) => *position > seen,
            Taken::Changed { until } => *until > now,
        });
        // Whose campaign stands still is found again where it waits.
        self.held.retain(|_, held| held.until + HELD_FOR > now);
        self.shared.marketing.sweep(seen, self.gateway.clock.now());
        if self.pairs.len() > 10_000 {
            self.pairs.retain(|_, pair| !pair.is_clear(now));
        }
    }

    /// The account's campaigns that are under way, and which of them may send.
    async fn campaigns(
        &self,
        account: &Account,
        wall: DateTime<Utc>,
    ) -> anyhow::Result<HashMap<CampaignId, CampaignLane>> {
        let waiting = self.gateway.read.queries().waiting_campaigns(self.account_id.0).await?;
        let campaigns = self.gateway.bus.recall_many::<Campaign>(&waiting, RECENT).await?;
        let plans = campaigns.values().filter_map(|loaded| loaded.aggregate.plan.as_ref());
        let templates: HashSet<Uuid> = plans.map(|plan| plan.template_id.0).collect();
        let templates = self
            .gateway
            .bus
            .recall_many::<Template>(&templates.into_iter().collect::<Vec<_>>(), RECENT)
            .await?;
        Ok(campaigns
            .into_iter()
            .map(|(id, loaded)| {
                let campaign = loaded.aggregate;
                let plan = campaign.plan.as_ref();
                let template = plan.and_then(|plan| templates.get(&plan.template_id.0));
                let is_held = template.is_some_and(|template| {
                    let template = &template.aggregate;
                    is_held(template) || account.restricted(template.category, wall).is_some()
                });
                let schedule = plan.and_then(|plan| plan.schedule.as_ref());
                let lane = CampaignLane {
                    may_send: campaign.may_send() && !is_held,
                    messages_per_second: plan.and_then(|plan| plan.messages_per_second),
                    recipient_local: schedule.is_some_and(|schedule| schedule.recipient_local),
                    window: schedule.and_then(|schedule| schedule.send_window),
                    zone: schedule.and_then(|schedule| schedule.zone().ok()),
                    frequency_cap: plan.and_then(|plan| plan.frequency_cap),
                    has_time_to_live: plan.is_none_or(|plan| plan.time_to_live_s.is_some()),
                };
                (CampaignId(id), lane)
            })
            .collect())
    }

    /// Judges the candidates in their order and sends what may go, at most `budget`. Answers how much that was.
    async fn dispatch(
        &mut self,
        account: &Account,
        campaigns: &HashMap<CampaignId, CampaignLane>,
        candidates: Vec<AgendaItem>,
        sender: Sender,
        budget: usize,
    ) -> anyhow::Result<usize> {
        let (now, wall) = (self.steady.now(), self.gateway.clock.now());
        let template_ids: HashSet<Uuid> =
            candidates.iter().filter_map(|due| due.template_id).collect();
        let template_ids: Vec<Uuid> = template_ids.into_iter().collect();
        let templates: HashMap<Uuid, Template> = self
            .gateway
            .bus
            .recall_many::<Template>(&template_ids, RECENT)
            .await?
            .into_iter()
            .map(|(id, loaded)| (id, loaded.aggregate))
            .collect();
        // What waits for its template, or that WhatsApp forbids for a while, needs no further look, however much it is.
        let (waiting, due): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|due| {
            let template = due.template_id.and_then(|id| templates.get(&id));
            let category = template.map_or(due.category, |template| template.category);
            let waits =
                template.is_some_and(is_held) || account.restricted(category, wall).is_some();
            waits && due.expires_at.is_none_or(|at| at > wall)
        });
        for item in waiting {
            self.wait(item, None, now, wall);
        }
        let contacts: Vec<Uuid> =
            due.iter().map(|due| due.contact_id).collect::<HashSet<_>>().into_iter().collect();
        let queries = self.gateway.read.queries();
        let caps: HashMap<Uuid, FrequencyCap> = due
            .iter()
            .filter(|due| due.priority == Priority::Bulk.rank())
            .filter_map(|due| {
                let campaign = campaigns.get(&CampaignId(due.campaign_id?))?;
                Some((due.message_id, campaign.frequency_cap?))
            })
            .collect();
        // From here to the intents on record the count of the portfolio stands still but for what is spent.
        let portfolio = self.shared.reach.clone();
        let reach = portfolio.enter(&self.gateway, (self.account_id, account)).await?;
        let reach_was_full = reach.was_full_lately();
        let people = People::load(&self.gateway, &contacts).await?;
        let everyone = people.everyone();
        let addressed = people.addressed(account);
        let (windows, blocks, unreachable, marketing_sent, twice) = tokio::try_join!(
            async { anyhow::Ok(windows(&queries, self.account_id, &addressed, wall).await?) },
            async { Ok(queries.marketing_blocks(&everyone).await?) },
            async { Ok(queries.unreachable(&everyone).await?) },
            async { Ok(marketing_sent(&queries, &due, &caps, &people, wall).await?) },
            async { Ok(duplicates(&self.gateway, &due, &people).await?) },
        )?;
        // What is to come at the recipient's own time is asked for it once more: their zone, or its rules, may have
        // changed a moment ago, or while the gateway was stopped.
        let local: Vec<Uuid> = due
            .iter()
            .filter(|due| due.attempts == 0)
            .filter(|due| {
                let campaign = due.campaign_id.and_then(|id| campaigns.get(&CampaignId(id)));
                campaign.is_some_and(|campaign| campaign.recipient_local)
            })
            .map(|due| due.message_id)
            .collect();
        let mut moved = retime::moved(&self.gateway, &local).await?;
        let mut ready: Vec<Ready> = vec![];
        let mut settled: Vec<(AgendaItem, MessageCommand)> = vec![];
        let mut full: HashSet<Uuid> = HashSet::new();
        for due in due {
            let Some(person) = people.get(due.contact_id) else {
                // Who it is for cannot be read; the others go.
                self.wait(due, None, now, wall);
                continue;
            };
            let contact = person.contact;
            if due.campaign_id.is_some_and(|id| full.contains(&id)) {
                continue;
            }
            if let Some(command) = moved.remove(&due.message_id) {
                settled.push((due, command));
                continue;
            }
            if twice.contains(&due.message_id) {
                let reason = SkipReason::Duplicate;
                settled.push((due, MessageCommand::Skip { reason, detail: None, at: wall }));
                continue;
            }
            let template = due.template_id.and_then(|id| templates.get(&id));
            let campaign = due.campaign_id.and_then(|id| campaigns.get(&CampaignId(id)));
            let window = campaign.and_then(|campaign| campaign.window);
            let zone = zone_of_recipient(campaign.and_then(|c| c.zone), account, contact, zone_of);
            let zone = zone.zone;
            let category = template.and_then(|template| template.category).or(due.category);
            let is_marketing = category == Some(TemplateCategory::Marketing);
            let cap = caps.get(&due.message_id).copied();
            let known: Vec<(Uuid, DateTime<Utc>)> = person.all(&marketing_sent);
            let known = known.as_slice();
            let everyone: Vec<Uuid> = person.everyone().collect();
            let message_id = due.message_id;
            let in_flight = self.shared.marketing.clone();
            // Nobody asked for the default to end what could not have gone: the limit is WhatsApp's, not its owner's.
            let is_excused = reach_was_full
                && category != Some(TemplateCategory::Authentication)
                && due.priority == Priority::Bulk.rank()
                && campaign.is_some_and(|campaign| !campaign.has_time_to_live);
            let facts = DeliveryFacts {
                now: wall,
                contact,
                content_kind: due.content_kind,
                category,
                template_status: due
                    .template_id
                    .map(|_| template.map_or(TemplateStatus::Deleted, |t| t.status)),
                window_until: windows.get(&due.contact_id).copied(),
                marketing_blocked_until: person.latest(&blocks),
                // By the number that it goes to.
                takes_no_marketing: is_marketing && takes_no_marketing(person.addressee),
                is_capped: is_marketing
                    && !in_flight.allows(&everyone, message_id, cap, known, wall),
                unreachable_until: person.latest(&unreachable),
                zone,
                hours: SendingHours { window, quiet: account.settings.quiet_hours },
                expires_at: due.expires_at.filter(|_| !is_excused),
            };
            match judge(&facts) {
                Verdict::Skip(reason) => {
                    settled.push((due, MessageCommand::Skip { reason, detail: None, at: wall }));
                }
                Verdict::Expire => settled.push((due, MessageCommand::Expire { at: wall })),
                Verdict::Wait { until, .. } => {
                    let until = until.map(|until| self.steady.of(until));
                    self.wait(due, until, now, wall);
                }
                Verdict::Send => {
                    // Addressed as it was planned; who is merged may have had another number.
                    let Some(recipient) = recipient_of(person.addressee, account) else {
                        self.wait(due, None, now, wall);
                        continue;
                    };
                    let pair_free_at =
                        self.pairs.get(recipient.key()).map_or(now, |pair| pair.next_at(now));
                    if pair_free_at > now {
                        self.wait(due, Some(pair_free_at), now, wall);
                        continue;
                    }
                    let costs_reach = !facts.window_is_open();
                    if costs_reach && let Some(wait) = reach.wait_of(due.contact_id) {
                        self.wait(due, wait.map(|wait| now + wait), now, wall);
                        continue;
                    }
                    if ready.len() == budget || self.pace.available(now) == 0 {
                        break;
                    }
                    if let Some(campaign_id) = due.campaign_id
                        && !self.campaign_may_send(CampaignId(campaign_id), campaigns, now)
                    {
                        full.insert(campaign_id);
                        continue;
                    }
                    // Another lane may have taken the last place since.
                    if is_marketing && !in_flight.take(&everyone, message_id, cap, known, wall) {
                        let reason = SkipReason::FrequencyCap;
                        let skip = MessageCommand::Skip { reason, detail: None, at: wall };
                        settled.push((due, skip));
                        continue;
                    }
                    let spent_at =
                        match costs_reach.then(|| reach.spend(due.contact_id)).transpose() {
                            Ok(spent_at) => spent_at,
                            Err(wait) => {
                                in_flight.give_back(person.id, message_id);
                                self.wait(due, wait.map(|wait| now + wait), now, wall);
                                continue;
                            }
                        };
                    self.pace.take(1, now);
                    let pair = self
                        .pairs
                        .get(recipient.key())
                        .map_or(PairLimit::first(now), |p| p.sent(now));
                    self.pairs.insert(recipient.key().to_owned(), pair);
                    ready.push(Ready { person: person.id, due, recipient, spent_at });
                }
            }
        }
        for item in ready.iter().map(|ready| &ready.due).chain(settled.iter().map(|(item, _)| item))
        {
            self.held.remove(&item.message_id);
            self.queues.taken(item, wall - SETTLED_AFTER, now);
        }
        let settled = settled.into_iter().map(|(due, command)| (due.message_id, command)).collect();
        self.record_settled(settled).await;
        let sent = ready.len();
        self.send(ready, &templates, sender, &reach).await;
        Ok(sent)
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

    /// The message cannot go before `until` (`None`: nobody knows when). Short waits and single sends are remembered one
    /// by one, up to a bound; everything else is found again in its queue.
    fn wait(
        &mut self,
        item: AgendaItem,
        until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        wall: DateTime<Utc>,
    ) {
        self.held.remove(&item.message_id);
        let is_short = until.is_some_and(|until| until - now <= HELD_FOR);
        if self.held.len() >= HELD_MAX || !(is_short || item.campaign_id.is_none()) {
            self.queues.left(&item, until, now);
            return;
        }
        // Looking again costs the more, the more wait.
        let crowd = i32::try_from(self.held.len() / 128).unwrap_or(i32::MAX);
        let until = until.unwrap_or(now + RECHECK * (1 + crowd)).min(now + HELD_FOR);
        self.queues.held(&item, wall - SETTLED_AFTER, now);
        self.held.insert(item.message_id, Held { item, until });
    }

    async fn record_settled(&mut self, settled: Vec<(Uuid, MessageCommand)>) {
        if settled.is_empty() {
            return;
        }
        let ids: Vec<Uuid> = settled.iter().map(|(id, _)| *id).collect();
        let commands =
            settled.into_iter().map(|(id, command)| (id, command, self.on_message())).collect();
        for (id, result) in
            ids.into_iter().zip(self.gateway.bus.execute_many::<Message>(commands).await)
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
        self.taken.insert(id, Taken::Changed { until: self.steady.now() + RECHECK });
    }

    /// Makes the intents durable in one append, then hands each over. Nothing is called that is not in the log.
    async fn send(
        &mut self,
        ready: Vec<Ready>,
        templates: &HashMap<Uuid, Template>,
        sender: Sender,
        reach: &Entered<'_>,
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
            .map(|Ready { due, .. }| {
                let command =
                    MessageCommand::RequestSend { attempt: due.attempts + 1, send_by, at: now };
                (due.message_id, command, self.on_message())
            })
            .collect();
        let results = self.gateway.bus.execute_many::<Message>(commands).await;
        let marketing = self.shared.marketing.clone();
        for (Ready { person, due, recipient, spent_at }, result) in ready.into_iter().zip(results) {
            let message_id = due.message_id;
            let (message, requested) = match result {
                Ok(committed) => {
                    marketing.recorded(person, message_id, committed.position);
                    (committed.aggregate, committed.thread)
                }
                Err(error) => {
                    // In the log or not, nothing is called.
                    marketing.give_back(person, message_id);
                    if let Some(spent_at) = spent_at {
                        reach.give_back(due.contact_id, spent_at);
                    }
                    self.look_again(due.message_id, &error);
                    if matches!(error, CommandError::Unavailable(_)) {
                        // It may be in the log all the same, and must not look like a call.
                        let forget_at = self.steady.now() + UNCALLED_KEPT;
                        let attempt = due.attempts + 1;
                        let uncalled = Uncalled { attempt, send_by, forget_at };
                        self.uncalled.insert(due.message_id, uncalled);
                    }
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
            let steady = self.steady.clone();
            let starts = self.starts.clone();
            let granted = self.pace.granted();
            let sender = sender.clone();
            tokio::spawn(async move {
                let answer = match request {
                    Ok(request) => {
                        let watch = clock.clone();
                        let may_begin = move || watch.since_boot() < deadline;
                        wait_for_second(&starts, granted, &steady, &may_begin).await;
                        Ok(sender.send(&request, may_begin).await)
                    }
                    Err(error) => Err(error),
                };
                let called = Called {
                    message_id: MessageId(due.message_id),
                    person,
                    due,
                    recipient,
                    spent_at,
                    message,
                    attempt,
                    send_by,
                    requested,
                    answered_at: clock.now(),
                    answer,
                };
                // The lane outlives its calls; where it does not, the orphan rule settles the attempt.
                let _ = results.send(called).await;
            });
        }
    }
}

fn grace_of(account: &Account) -> Duration {
    Duration::seconds(i64::from(account.settings.in_doubt_policy.grace_seconds))
}

/// The template will go on by itself, or not: nobody is left out for it.
fn is_held(template: &Template) -> bool {
    matches!(template.status, TemplateStatus::Paused | TemplateStatus::Pending)
}

/// What the lane needs to know of a campaign.
#[derive(Clone, Copy, Debug)]
struct CampaignLane {
    may_send: bool,
    messages_per_second: Option<u32>,
    /// Its messages come at the recipients' own time.
    recipient_local: bool,
    /// Its messages leave in these hours of the recipient's day only.
    window: Option<DailyHours>,
    /// Whose zone is not known is in this one.
    zone: Option<Tz>,
    frequency_cap: Option<FrequencyCap>,
    /// Its owner gave one.
    has_time_to_live: bool,
}

/// Waits until another call may begin within the last moving second, or none may begin any more.
async fn wait_for_second(
    starts: &Starts,
    granted: u32,
    steady: &Steady,
    may_begin: impl Fn() -> bool,
) {
    while may_begin() {
        let now = steady.now();
        let wait_until = {
            let mut starts = starts.lock().unwrap_or_else(PoisonError::into_inner);
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
            Some(at) => steady.sleep_until(at).await,
        }
    }
}
