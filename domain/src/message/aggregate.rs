//! The message's state, its decisions and its fold.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::attempt::{Attempt, AttemptOutcome, DeliveryStatus, Failure, MessageStatus};
use super::{
    Content, Direction, Engagement, InDoubtResolution, MessageCommand, MessageError, MessageEvent,
    MessageHeader, Plan, Recipient, SkipReason, StatusReport,
};
use crate::port::AggregateType;
use crate::pricing::Bill;
use crate::primitives::{AccountId, Personal, Wamid, WorkspaceId};
use crate::{GatewayAggregate, aggregate};

/// One message. The state doubles as its read model, so everything that is shown of a message is folded here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<MessageHeader>,
    #[serde(default)]
    pub direction: Direction,
    /// The other side: to whom it goes, or who wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterpart: Option<Personal<Recipient>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Personal<Content>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<DateTime<Utc>>,
    /// The time to live counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_due_at: Option<DateTime<Utc>>,
    /// When it was left out, cancelled or given up as expired, while it is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<DateTime<Utc>>,
    /// A person chose when it is due.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_put_off: bool,
    /// What it is while no attempt says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attempts: BTreeMap<u32, Attempt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<SkipReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// Of the highest status that carried it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<(DeliveryStatus, Value)>,
    /// The wamid of a message that was not sent by an attempt of ours: received, or echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_wamid: Option<Personal<Wamid>>,
    /// Received, it opened the service window of whom it came from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opens_window: bool,
    /// What the person did about it.
    #[serde(default, skip_serializing_if = "Engagement::is_none")]
    pub engagement: Engagement,
}

/// Where a message stands while it is not with WhatsApp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    Scheduled,
    Queued,
    Skipped,
    Cancelled,
    Expired,
    Received,
    Echoed,
}

aggregate!(Message, MessageCommand, MessageEvent, MessageError, "message");

impl GatewayAggregate for Message {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Message;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.header.as_ref().map(|header| header.workspace_id)
    }

    fn account_id(&self) -> Option<AccountId> {
        self.header.as_ref().map(|header| header.account_id)
    }

    fn subject(&self) -> Option<Uuid> {
        self.header.as_ref().map(|header| header.contact_id.0)
    }

    fn decide(&self, command: MessageCommand) -> Result<Vec<MessageEvent>, MessageError> {
        match command {
            MessageCommand::Plan(plan) => self.plan(*plan),
            MessageCommand::Replan(plan) => self.replan(*plan),
            MessageCommand::Receive { header, from, wamid, content, opens_window, at } => Ok(self
                .if_new(|| MessageEvent::Received {
                    header: *header,
                    from: from.into(),
                    wamid: wamid.into(),
                    content: content.into(),
                    opens_window,
                    at,
                })),
            MessageCommand::RecordEcho { header, to, wamid, content, at } => {
                Ok(self.if_new(|| MessageEvent::Echoed {
                    header: *header,
                    to: to.into(),
                    wamid: wamid.into(),
                    content: content.into(),
                    at,
                }))
            }
            MessageCommand::Reschedule { due_at, at } => self.reschedule(due_at, at),
            MessageCommand::Retime { due_at, at } => Ok(self.retime(due_at, at)),
            MessageCommand::Cancel { reason, at } => self.cancel(reason, at),
            MessageCommand::Expire { at } => self.expire(at),
            MessageCommand::Skip { reason, detail, at } => self.leave_out(reason, detail, at),
            MessageCommand::RequestSend { attempt, send_by, at } => {
                self.request_send(attempt, send_by, at)
            }
            MessageCommand::RecordAccepted { attempt, wamid, held, at } => {
                self.accept(attempt, wamid, held, at)
            }
            MessageCommand::RecordRefused { attempt, failure, retry_at, at } => {
                self.refuse(attempt, failure, retry_at, at)
            }
            MessageCommand::RecordUnknown { attempt, reason, grace_until, at } => {
                self.doubt(attempt, reason, grace_until, at)
            }
            MessageCommand::RecordStatus(report) => self.advance(*report),
            MessageCommand::Resolve { resolution, due_at, at } => {
                self.resolve(resolution, due_at, at)
            }
            MessageCommand::RecordAnswer(answer) => {
                if self.direction == Direction::Inbound || self.header.is_none() {
                    return Err(MessageError::NotPlanned);
                }
                Ok(self.engagement.news(answer))
            }
            MessageCommand::Retry { due_at, at } => self.retry(due_at, at),
        }
    }
}

type Decision = Result<Vec<MessageEvent>, MessageError>;

/// The fact of a plan that leaves nobody out.
fn planned(plan: Plan) -> MessageEvent {
    let Plan { header, to, content, due_at, at, .. } = plan;
    let (to, content) = (Personal::from(to), Personal::from(content));
    if due_at > at {
        MessageEvent::Scheduled { header, to, content, due_at, at }
    } else {
        MessageEvent::Queued { header, to, content, due_at, at }
    }
}

impl Message {
    pub fn status(&self) -> MessageStatus {
        let waiting = match self.waiting {
            None => MessageStatus::Queued,
            Some(Waiting::Scheduled) => MessageStatus::Scheduled,
            Some(Waiting::Queued) => MessageStatus::Queued,
            Some(Waiting::Skipped) => MessageStatus::Skipped,
            Some(Waiting::Cancelled) => MessageStatus::Cancelled,
            Some(Waiting::Expired) => MessageStatus::Expired,
            Some(Waiting::Received) => MessageStatus::Received,
            Some(Waiting::Echoed) => MessageStatus::Sent,
        };
        match self.telling() {
            // What WhatsApp has is never merely waiting; what failed or was left in doubt may be due again, or have
            // been given up since.
            Some((_, attempt)) => match attempt.status() {
                MessageStatus::Failed | MessageStatus::Queued if self.waiting.is_some() => waiting,
                status => status,
            },
            None => waiting,
        }
    }

    /// The attempt that says what the message is: the latest, unless the message waits for another one although an earlier
    /// one turned out to have arrived. Then the person has it, and nothing is left to wait for.
    fn telling(&self) -> Option<(u32, &Attempt)> {
        let (number, latest) = self.latest()?;
        let is_over = matches!(latest.status(), MessageStatus::Failed | MessageStatus::Queued);
        if !is_over || self.waiting.is_none() {
            return Some((number, latest));
        }
        let reached = self.attempts.iter().filter(|(_, attempt)| attempt.has_reached_whatsapp());
        // Of two that got equally far, the later.
        let furthest = reached.max_by_key(|(number, attempt)| (attempt.status(), **number));
        Some(furthest.map_or((number, latest), |(number, attempt)| (*number, attempt)))
    }

    pub fn latest(&self) -> Option<(u32, &Attempt)> {
        self.attempts.last_key_value().map(|(number, attempt)| (*number, attempt))
    }

    /// How many attempts were made.
    pub fn attempt_count(&self) -> u32 {
        self.latest().map_or(0, |(number, _)| number)
    }

    /// WhatsApp's id of the attempt that says what the message is, else of the latest that has one.
    pub fn wamid(&self) -> Option<&Personal<Wamid>> {
        self.telling()
            .and_then(|(_, attempt)| attempt.wamid.as_ref())
            .or_else(|| self.attempts.values().rev().find_map(|attempt| attempt.wamid.as_ref()))
            .or(self.own_wamid.as_ref())
    }

    /// How often WhatsApp turned the message away for the same reason before attempt `before`, since it fell due or
    /// somebody asked for it anew. `code`: WhatsApp's; `None`: it was never asked.
    pub fn refusals(&self, code: Option<i64>, before: u32) -> u32 {
        let since = self.first_due_at.unwrap_or_default();
        let same = self.attempts.range(..before).filter(|(_, attempt)| {
            let failure = attempt.failure.as_ref().or(match &attempt.outcome {
                Some(AttemptOutcome::Refused { failure, .. }) => Some(failure),
                _ => None,
            });
            attempt.requested_at >= since && failure.is_some_and(|failure| failure.code == code)
        });
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    }

    /// Why it failed, where it did.
    pub fn failure(&self) -> Option<&Failure> {
        if self.status() != MessageStatus::Failed {
            return None;
        }
        let (_, attempt) = self.telling()?;
        attempt.failure.as_ref().or(match &attempt.outcome {
            Some(AttemptOutcome::Refused { failure, .. }) => Some(failure),
            _ => None,
        })
    }

    pub fn accepted_at(&self) -> Option<DateTime<Utc>> {
        match self.telling()?.1.outcome {
            Some(AttemptOutcome::Accepted { at } | AttemptOutcome::TreatedAsSent { at }) => {
                Some(at)
            }
            _ => None,
        }
    }

    /// When the attempt that says what the message is was asked for.
    pub fn tried_at(&self) -> Option<DateTime<Utc>> {
        Some(self.telling()?.1.requested_at)
    }

    pub fn status_at(&self, status: DeliveryStatus) -> Option<DateTime<Utc>> {
        self.telling()?.1.status_at(status)
    }

    /// When WhatsApp first said anything of it, be it that it failed.
    pub fn first_status_at(&self) -> Option<DateTime<Utc>> {
        self.telling()?.1.statuses.values().min().copied()
    }

    /// When it left for WhatsApp as far as is known, where it may have reached the person: by the earliest of our own word
    /// and WhatsApp's, whose clocks may differ. An answer that is older is no answer to it.
    pub fn left_at(&self) -> Option<DateTime<Utc>> {
        if self.waiting == Some(Waiting::Echoed) {
            return self.created_at;
        }
        let may_have_reached = |attempt: &&Attempt| {
            attempt.has_reached_whatsapp()
                || matches!(attempt.status(), MessageStatus::Sending | MessageStatus::InDoubt)
        };
        let times = self.attempts.values().filter(may_have_reached).map(|attempt| {
            let told = attempt.statuses.values().copied();
            told.fold(attempt.requested_at, DateTime::min)
        });
        times.max()
    }

    /// Nobody knows yet whether WhatsApp took it.
    pub fn is_undecided(&self) -> bool {
        matches!(self.status(), MessageStatus::Sending | MessageStatus::InDoubt)
    }

    /// What it is billed as: as WhatsApp reported it, else as far as can be assumed. `None`: WhatsApp does not have it, or
    /// could not deliver it.
    pub fn bill(&self) -> Option<Bill> {
        Some(self.billed()?.1)
    }

    /// [`Self::bill`], and since when: the status that reported it, else WhatsApp's acceptance.
    pub fn billed(&self) -> Option<(DateTime<Utc>, Bill)> {
        let header = self.header.as_ref().filter(|_| self.direction == Direction::Outbound)?;
        let (_, attempt) = self.telling()?;
        if !attempt.has_reached_whatsapp() {
            return None;
        }
        let accepted = self.accepted_at().unwrap_or(attempt.requested_at);
        let reported = self.pricing.as_ref().map(|(status, pricing)| {
            let at = attempt.status_at(*status).unwrap_or(accepted);
            (at, Bill::reported(header.country, pricing, at.date_naive()))
        });
        let assumed = || Bill::assumed(header.country, header.category(), accepted.date_naive());
        Some(reported.unwrap_or_else(|| (accepted, assumed())))
    }

    pub fn failed_at(&self) -> Option<DateTime<Utc>> {
        if self.status() != MessageStatus::Failed {
            return None;
        }
        let (_, attempt) = self.telling()?;
        attempt.status_at(DeliveryStatus::Failed).or(match attempt.outcome {
            Some(AttemptOutcome::Refused { at, .. } | AttemptOutcome::GivenUp { at }) => Some(at),
            _ => None,
        })
    }

    /// Since when nobody knows what became of it, while it is in doubt.
    pub fn doubted_at(&self) -> Option<DateTime<Utc>> {
        if self.status() != MessageStatus::InDoubt {
            return None;
        }
        match self.telling()?.1.outcome {
            Some(AttemptOutcome::InDoubt { at, .. }) => Some(at),
            _ => None,
        }
    }

    /// Until when WhatsApp's word is awaited for a message in doubt.
    pub fn grace_until(&self) -> Option<DateTime<Utc>> {
        match self.latest()?.1.outcome {
            Some(AttemptOutcome::InDoubt { grace_until, .. })
                if self.status() == MessageStatus::InDoubt =>
            {
                Some(grace_until)
            }
            _ => None,
        }
    }

    /// When the wait for WhatsApp's word on a message in doubt began, and how long it is by the policy of that time.
    pub fn grace(&self) -> Option<(DateTime<Utc>, Duration)> {
        let grace_until = self.grace_until()?;
        let (_, attempt) = self.latest()?;
        let Some(AttemptOutcome::InDoubt { at, .. }) = attempt.outcome else { return None };
        let start = attempt.send_by.max(at);
        Some((start, (grace_until - start).max(Duration::zero())))
    }

    /// When it is given up, if it has not been accepted by then.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        let seconds = self.header.as_ref()?.time_to_live_s?;
        // From when it first fell due; a retry does not start the clock again, unless a person asked for it.
        Some(self.first_due_at? + Duration::seconds(i64::from(seconds)))
    }

    fn if_new(&self, event: impl FnOnce() -> MessageEvent) -> Vec<MessageEvent> {
        if self.header.is_some() { vec![] } else { vec![event()] }
    }

    fn plan(&self, plan: Plan) -> Decision {
        if let Some(header) = &self.header {
            let is_the_same = header.campaign_id == plan.header.campaign_id
                && header.contact_id == plan.header.contact_id;
            return if is_the_same { Ok(vec![]) } else { Err(MessageError::AlreadyPlanned) };
        }
        let Some((reason, detail)) = plan.skip.clone() else { return Ok(vec![planned(plan)]) };
        let Plan { header, to, content, at, .. } = plan;
        Ok(vec![MessageEvent::Skipped {
            reason,
            detail,
            header: Some(Box::new(header)),
            to: Some(to.into()),
            content: Some(content.into()),
            at,
        }])
    }

    /// It was left out and may come back when it is asked for. Who was erased has no message to come back to, and who is
    /// another contact's duplicate has that one's.
    pub fn may_be_judged_anew(&self) -> bool {
        self.status() == MessageStatus::Skipped
            && self.skip.is_some_and(|skip| !skip.is_final())
            // An earlier attempt that arrived makes another one a duplicate.
            && !self.attempts.values().any(Attempt::has_reached_whatsapp)
    }

    fn replan(&self, plan: Plan) -> Decision {
        let Some(header) = &self.header else { return Err(MessageError::NotPlanned) };
        let is_the_same = header.campaign_id == plan.header.campaign_id
            && header.contact_id == plan.header.contact_id
            && header.is_test == plan.header.is_test;
        if !is_the_same {
            return Err(MessageError::AlreadyPlanned);
        }
        let status = self.status();
        // Asked for twice at once, it is planned once.
        if status.is_waiting() {
            return Ok(vec![]);
        }
        if !self.may_be_judged_anew() {
            return Err(MessageError::NotAllowed { action: "judged anew", status });
        }
        let Some((reason, detail)) = plan.skip else { return Ok(vec![planned(plan)]) };
        if self.skip == Some(reason) && self.status_reason == detail {
            return Ok(vec![]);
        }
        let (header, to, content) = (None, None, None);
        Ok(vec![MessageEvent::Skipped { reason, detail, header, to, content, at: plan.at }])
    }

    /// Only what is not with WhatsApp can still be changed.
    fn require_waiting(&self, action: &'static str) -> Result<(), MessageError> {
        if self.header.is_none() {
            return Err(MessageError::NotPlanned);
        }
        let status = self.status();
        if status.is_waiting() { Ok(()) } else { Err(MessageError::NotAllowed { action, status }) }
    }

    fn reschedule(&self, due_at: DateTime<Utc>, at: DateTime<Utc>) -> Decision {
        self.require_waiting("rescheduled")?;
        Ok(if self.due_at == Some(due_at) {
            vec![]
        } else {
            vec![MessageEvent::Rescheduled { due_at, retimed: false, at }]
        })
    }

    /// It waits for its first attempt, and no person chose when that is.
    pub fn may_be_retimed(&self) -> bool {
        self.header.is_some()
            && self.attempts.is_empty()
            && !self.is_put_off
            && self.status().is_waiting()
    }

    fn retime(&self, due_at: DateTime<Utc>, at: DateTime<Utc>) -> Vec<MessageEvent> {
        if self.may_be_retimed() && self.due_at != Some(due_at) {
            vec![MessageEvent::Rescheduled { due_at, retimed: true, at }]
        } else {
            vec![]
        }
    }

    fn cancel(&self, reason: Option<String>, at: DateTime<Utc>) -> Decision {
        if self.waiting == Some(Waiting::Cancelled) && self.status() == MessageStatus::Cancelled {
            return Ok(vec![]);
        }
        self.require_waiting("cancelled")?;
        Ok(vec![MessageEvent::Cancelled { reason, at }])
    }

    fn expire(&self, at: DateTime<Utc>) -> Decision {
        if self.status() == MessageStatus::Expired {
            return Ok(vec![]);
        }
        self.require_waiting("expired")?;
        Ok(vec![MessageEvent::Expired { at }])
    }

    fn leave_out(&self, reason: SkipReason, detail: Option<String>, at: DateTime<Utc>) -> Decision {
        if self.status() == MessageStatus::Skipped {
            return Ok(vec![]);
        }
        self.require_waiting("skipped")?;
        Ok(vec![MessageEvent::Skipped {
            reason,
            detail,
            header: None,
            to: None,
            content: None,
            at,
        }])
    }

    fn request_send(&self, attempt: u32, send_by: DateTime<Utc>, at: DateTime<Utc>) -> Decision {
        if attempt <= self.attempt_count() {
            return Err(MessageError::AttemptTaken { attempt });
        }
        self.require_waiting("sent")?;
        if attempt != self.attempt_count() + 1 {
            return Err(MessageError::UnknownAttempt { attempt });
        }
        // Whoever asks may have read that it is due before it was put off.
        if let Some(due_at) = self.due_at.filter(|due_at| *due_at > at) {
            return Err(MessageError::NotDue { due_at });
        }
        Ok(vec![MessageEvent::SendRequested { attempt, send_by, at }])
    }

    fn attempt(&self, attempt: u32) -> Result<&Attempt, MessageError> {
        self.attempts.get(&attempt).ok_or(MessageError::UnknownAttempt { attempt })
    }

    fn accept(&self, number: u32, wamid: Wamid, held: bool, at: DateTime<Utc>) -> Decision {
        let attempt = self.attempt(number)?;
        if let Some(Personal::Known(known)) = &attempt.wamid
            && *known != wamid
        {
            return Err(MessageError::AcceptedTwice);
        }
        if matches!(attempt.outcome, Some(AttemptOutcome::Accepted { .. })) {
            return Ok(vec![]);
        }
        Ok(vec![MessageEvent::Accepted { attempt: number, wamid: wamid.into(), held, at }])
    }

    fn refuse(
        &self,
        number: u32,
        failure: Failure,
        retry_at: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    ) -> Decision {
        let attempt = self.attempt(number)?;
        let is_known = matches!(
            attempt.outcome,
            Some(AttemptOutcome::Accepted { .. } | AttemptOutcome::Refused { .. })
        );
        if is_known || !attempt.statuses.is_empty() {
            return Ok(vec![]);
        }
        // The answer settles a doubt also when it comes late. What was decided in that doubt stays decided: only a
        // message that nobody has decided about is due again by itself.
        let is_undecided = matches!(attempt.outcome, None | Some(AttemptOutcome::InDoubt { .. }));
        let mut events = vec![MessageEvent::SendFailed { attempt: number, failure, at }];
        // Also where an earlier attempt has arrived: should that one fail after all, this is still due.
        let may_retry = is_undecided && number == self.attempt_count() && self.waiting.is_none();
        if let Some(due_at) = retry_at.filter(|_| may_retry) {
            events.push(MessageEvent::RetryScheduled { due_at, starts_anew: false, at });
        }
        Ok(events)
    }

    fn doubt(
        &self,
        number: u32,
        reason: String,
        grace_until: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Decision {
        let attempt = self.attempt(number)?;
        // A status that overtook the time-out has settled it already.
        if attempt.outcome.is_some() || !attempt.statuses.is_empty() {
            return Ok(vec![]);
        }
        Ok(vec![MessageEvent::InDoubt { attempt: number, reason, grace_until, at }])
    }

    fn advance(&self, report: StatusReport) -> Decision {
        if self.direction == Direction::Inbound || self.header.is_none() {
            return Err(MessageError::NotPlanned);
        }
        let number = match report.attempt {
            Some(number) => number,
            None => self
                .attempts
                .iter()
                .find(|(_, attempt)| {
                    attempt.wamid.as_ref().and_then(Personal::known) == Some(&report.wamid)
                })
                .map_or(self.attempt_count(), |(number, _)| *number),
        };
        let attempt = self.attempt(number)?;
        if let Some(Personal::Known(known)) = &attempt.wamid
            && *known != report.wamid
        {
            return Err(MessageError::AcceptedTwice);
        }
        // WhatsApp repeats and reorders statuses. Each is a fact worth keeping once, whatever its rank; told again
        // with an earlier time, the earlier time is news.
        if attempt.statuses.get(&report.status).is_some_and(|known| *known <= report.at) {
            return Ok(vec![]);
        }
        let is_first_of_its_kind = !attempt.statuses.contains_key(&report.status);
        let wamid = attempt.wamid.is_none().then(|| Personal::from(report.wamid));
        let event = MessageEvent::of_status(
            number,
            report.status,
            wamid,
            report.pricing,
            report.failure,
            report.at,
        );
        let mut after = self.clone();
        after.fold(event.clone());
        let mut events = vec![event];
        let is_failed = |attempt: &Attempt| attempt.status() == MessageStatus::Failed;
        let has_failed = report.status == DeliveryStatus::Failed
            && after.waiting.is_none()
            && after.attempts.get(&number).is_some_and(is_failed);
        if let Some(due_at) = report
            .retry_at
            .filter(|_| has_failed && is_first_of_its_kind && number == self.attempt_count())
        {
            events.push(MessageEvent::RetryScheduled { due_at, starts_anew: false, at: report.at });
        }
        Ok(events)
    }

    fn resolve(
        &self,
        resolution: InDoubtResolution,
        due_at: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Decision {
        let Some((attempt, state)) = self.latest() else { return Err(MessageError::NotPlanned) };
        let status = self.status();
        if status != MessageStatus::InDoubt {
            let is_done = matches!(
                (&state.outcome, resolution),
                (Some(AttemptOutcome::TreatedAsSent { .. }), InDoubtResolution::TreatAsSent)
                    | (Some(AttemptOutcome::SentAgain { .. }), InDoubtResolution::SendAgain)
                    | (Some(AttemptOutcome::GivenUp { .. }), InDoubtResolution::GiveUp)
            );
            return if is_done {
                Ok(vec![])
            } else {
                Err(MessageError::NotAllowed { action: "settled", status })
            };
        }
        let mut events = vec![MessageEvent::InDoubtResolved { attempt, resolution, at }];
        if resolution == InDoubtResolution::SendAgain {
            events.push(MessageEvent::RetryScheduled { due_at, starts_anew: false, at });
        }
        Ok(events)
    }

    fn retry(&self, due_at: DateTime<Utc>, at: DateTime<Utc>) -> Decision {
        match self.status() {
            // An earlier attempt that arrived makes another one a duplicate.
            status if self.attempts.values().any(Attempt::has_reached_whatsapp) => {
                Err(MessageError::NotAllowed { action: "queued again", status })
            }
            MessageStatus::Failed | MessageStatus::Expired => {
                Ok(vec![MessageEvent::RetryScheduled { due_at, starts_anew: true, at }])
            }
            status if status.is_waiting() => Ok(vec![]),
            status => Err(MessageError::NotAllowed { action: "queued again", status }),
        }
    }

    /// Applies a fact. Total: accepts every event ever written, in any order they can have been written in.
    pub fn fold(&mut self, event: MessageEvent) {
        match event {
            MessageEvent::Scheduled { header, to, content, due_at, at } => {
                self.begin(header, Direction::Outbound, to, content, at);
                self.start_anew(Waiting::Scheduled, due_at);
            }
            MessageEvent::Queued { header, to, content, due_at, at } => {
                self.begin(header, Direction::Outbound, to, content, at);
                self.start_anew(Waiting::Queued, due_at);
            }
            MessageEvent::Skipped { reason, detail, header, to, content, at } => {
                if let (Some(header), Some(to), Some(content)) = (header, to, content) {
                    self.begin(*header, Direction::Outbound, to, content, at);
                }
                self.settle(Waiting::Skipped, at);
                self.skip = Some(reason);
                self.status_reason = detail;
            }
            MessageEvent::Received { header, from, wamid, content, opens_window, at } => {
                self.begin(header, Direction::Inbound, from, content, at);
                self.opens_window = opens_window;
                self.waiting = Some(Waiting::Received);
                self.own_wamid = Some(wamid);
            }
            MessageEvent::Echoed { header, to, wamid, content, at } => {
                self.begin(header, Direction::Outbound, to, content, at);
                self.waiting = Some(Waiting::Echoed);
                self.own_wamid = Some(wamid);
            }
            MessageEvent::Rescheduled { due_at, retimed, .. } => {
                self.is_put_off |= !retimed;
                self.first_due_at = Some(due_at);
                self.set_waiting(Waiting::Scheduled, Some(due_at));
            }
            MessageEvent::RetryScheduled { due_at, starts_anew, .. } => {
                if starts_anew {
                    self.first_due_at = Some(due_at);
                    self.is_put_off = true;
                }
                self.set_waiting(Waiting::Queued, Some(due_at));
            }
            MessageEvent::Cancelled { reason, at } => {
                self.settle(Waiting::Cancelled, at);
                self.status_reason = reason;
            }
            MessageEvent::Expired { at } => self.settle(Waiting::Expired, at),
            MessageEvent::SendRequested { attempt, send_by, at } => {
                self.waiting = None;
                self.attempts.entry(attempt).or_insert_with(|| Attempt::new(at, send_by));
            }
            MessageEvent::Accepted { attempt, wamid, at, .. } => {
                self.on_attempt(attempt, at, |state| {
                    state.wamid.get_or_insert(wamid);
                    state.outcome = Some(AttemptOutcome::Accepted { at });
                });
            }
            MessageEvent::SendFailed { attempt, failure, at } => {
                self.on_attempt(attempt, at, |state| {
                    state.outcome = Some(AttemptOutcome::Refused { at, failure })
                });
            }
            MessageEvent::InDoubt { attempt, reason, grace_until, at } => {
                self.on_attempt(attempt, at, |state| {
                    state.outcome = Some(AttemptOutcome::InDoubt { at, grace_until, reason });
                });
            }
            MessageEvent::InDoubtResolved { attempt, resolution, at } => {
                self.on_attempt(attempt, at, |state| {
                    state.outcome = Some(match resolution {
                        InDoubtResolution::TreatAsSent => AttemptOutcome::TreatedAsSent { at },
                        InDoubtResolution::SendAgain => AttemptOutcome::SentAgain { at },
                        InDoubtResolution::GiveUp => AttemptOutcome::GivenUp { at },
                    });
                });
            }
            MessageEvent::Sent { attempt, wamid, pricing, at } => {
                self.fold_status(attempt, DeliveryStatus::Sent, wamid, pricing, None, at);
            }
            MessageEvent::Delivered { attempt, wamid, pricing, at } => {
                self.fold_status(attempt, DeliveryStatus::Delivered, wamid, pricing, None, at);
            }
            MessageEvent::Read { attempt, wamid, pricing, at } => {
                self.fold_status(attempt, DeliveryStatus::Read, wamid, pricing, None, at);
            }
            MessageEvent::Played { attempt, wamid, pricing, at } => {
                self.fold_status(attempt, DeliveryStatus::Played, wamid, pricing, None, at);
            }
            MessageEvent::Failed { attempt, wamid, failure, at } => {
                self.fold_status(attempt, DeliveryStatus::Failed, wamid, None, Some(failure), at);
            }
            MessageEvent::Replied { .. }
            | MessageEvent::Clicked { .. }
            | MessageEvent::OptedOut { .. } => self.engagement.fold(event),
        }
    }

    fn begin(
        &mut self,
        header: MessageHeader,
        direction: Direction,
        counterpart: Personal<Recipient>,
        content: Personal<Content>,
        at: DateTime<Utc>,
    ) {
        self.header = Some(header);
        self.direction = direction;
        self.counterpart = Some(counterpart);
        self.content = Some(content);
        // A message that was left out at first and is planned after all is still the same one.
        self.created_at.get_or_insert(at);
    }

    /// Planned, whatever was said of it before.
    fn start_anew(&mut self, waiting: Waiting, due_at: DateTime<Utc>) {
        (self.skip, self.status_reason) = (None, None);
        self.is_put_off = false;
        self.first_due_at = Some(due_at);
        self.set_waiting(waiting, Some(due_at));
    }

    fn settle(&mut self, waiting: Waiting, at: DateTime<Utc>) {
        self.waiting = Some(waiting);
        self.settled_at = Some(at);
    }

    fn set_waiting(&mut self, waiting: Waiting, due_at: Option<DateTime<Utc>>) {
        self.waiting = Some(waiting);
        self.settled_at = None;
        self.due_at = due_at;
        if self.first_due_at.is_none() {
            self.first_due_at = due_at;
        }
    }

    fn on_attempt(&mut self, number: u32, at: DateTime<Utc>, change: impl FnOnce(&mut Attempt)) {
        change(self.attempts.entry(number).or_insert_with(|| Attempt::new(at, at)));
    }

    fn fold_status(
        &mut self,
        number: u32,
        status: DeliveryStatus,
        wamid: Option<Personal<Wamid>>,
        pricing: Option<Value>,
        failure: Option<Failure>,
        at: DateTime<Utc>,
    ) {
        self.on_attempt(number, at, |state| {
            let earliest = state.statuses.get(&status).is_none_or(|known| at < *known);
            if earliest {
                state.statuses.insert(status, at);
                if failure.is_some() {
                    state.failure = failure;
                }
            }
            if state.wamid.is_none() {
                state.wamid = wamid;
            }
        });
        if let Some(pricing) = pricing
            && self.pricing.as_ref().is_none_or(|(known, _)| status >= *known)
        {
            self.pricing = Some((status, pricing));
        }
    }
}

#[cfg(test)]
mod tests;
