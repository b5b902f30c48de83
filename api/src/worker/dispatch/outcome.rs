//! What follows from WhatsApp's word on one attempt: the command for the message, and what else has to happen. Pure.

use chrono::{DateTime, Duration, Utc};
use domain::account::{Account, PauseCause};
use domain::delivery::{MAX_ATTEMPTS, backoff};
use domain::message::{Failure, MessageCommand};
use domain::primitives::Wamid;
use infrastructure::cloud_api::client::{NotSent, SendOutcome};
use infrastructure::cloud_api::error::{Backoff, Consequence, MessageFate, TemplateStop};
use infrastructure::cloud_api::wire::response::MessageStatus;

use super::wire::WireError;

/// What WhatsApp's word means beyond the message it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The pair is silent until then.
    HoldPair { until: DateTime<Utc> },
    /// The number sends nothing until then, and goes on by itself.
    HoldNumber { until: DateTime<Utc> },
    /// The account stops: until then, or until somebody resumes it.
    PauseAccount { reason: String, until: Option<DateTime<Utc>>, cause: PauseCause },
    /// All accounts of the WABA stop.
    PauseWaba { reason: String, until: Option<DateTime<Utc>> },
    /// WhatsApp does not take the template any more.
    StopTemplate { reason: String, for_good: bool },
    /// The person wants no more marketing.
    OptOutOfMarketing { source: String },
}

/// The person stopped marketing messages from this business.
const STOPPED_MARKETING: i64 = 131_050;
/// A number told to slow down for longer than this is paused for people to see.
const SILENT_HOLD: Duration = Duration::minutes(2);

/// The attempt whose answer is judged.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFacts {
    pub attempt: u32,
    pub send_by: DateTime<Utc>,
    pub now: DateTime<Utc>,
    /// Any 64 bits, to spread retries.
    pub random: u64,
}

/// The command that records an outcome, and its effects.
pub fn settle(
    outcome: SendOutcome,
    facts: AttemptFacts,
    account: &Account,
) -> (MessageCommand, Vec<Effect>) {
    let AttemptFacts { attempt, now, random, .. } = facts;
    match outcome {
        SendOutcome::Accepted(accepted) => match Wamid::parse(&accepted.wamid) {
            Ok(wamid) => {
                let held = accepted.message_status == Some(MessageStatus::Held);
                (MessageCommand::RecordAccepted { attempt, wamid, held, at: now }, vec![])
            }
            Err(_) => (unknown(facts, account, "the answer held no message id"), vec![]),
        },
        SendOutcome::NotSent(reason) => not_sent(reason, facts),
        SendOutcome::Unknown(outcome) => {
            let consequence = outcome.error.map(|error| error.consequence);
            let effects =
                consequence.map(|c| effects(&c, attempt, now, random)).unwrap_or_default();
            (unknown(facts, account, &outcome.reason.to_string()), effects)
        }
        SendOutcome::Refused(error) => {
            let consequence = &error.consequence;
            let failure = failure(consequence);
            let retry_at = retry_at(consequence, attempt, now, random);
            let effects = effects(consequence, attempt, now, random);
            (MessageCommand::RecordRefused { attempt, failure, retry_at, at: now }, effects)
        }
    }
}

/// WhatsApp never heard of it, so the time to live alone bounds the tries.
fn not_sent(reason: NotSent, facts: AttemptFacts) -> (MessageCommand, Vec<Effect>) {
    let AttemptFacts { attempt, now, random, .. } = facts;
    let retry_at = reason.backoff().map(|wait| after(wait, attempt, now, random));
    let failure = Failure {
        code: None,
        title: "WhatsApp was not asked".to_owned(),
        details: Some(reason.to_string()),
        retryable: reason != NotSent::BadContent,
    };
    if reason == NotSent::BadToken {
        // The message is fine; the account is not.
        let effect = Effect::PauseAccount {
            reason: format!("{reason}; give the account a new one"),
            until: None,
            cause: PauseCause::Credentials,
        };
        return (
            MessageCommand::RecordRefused { attempt, failure, retry_at: Some(now), at: now },
            vec![effect],
        );
    }
    (MessageCommand::RecordRefused { attempt, failure, retry_at, at: now }, vec![])
}

/// It cannot be put into WhatsApp's words, so trying again is no use.
pub fn unsendable(error: &WireError, facts: AttemptFacts) -> MessageCommand {
    let failure = Failure { code: None, title: error.to_string(), details: None, retryable: false };
    MessageCommand::RecordRefused { attempt: facts.attempt, failure, retry_at: None, at: facts.now }
}

/// Nobody knows what became of it: the grace period starts after `send_by`.
pub fn unknown(facts: AttemptFacts, account: &Account, reason: &str) -> MessageCommand {
    let grace = Duration::seconds(i64::from(account.settings.in_doubt_policy.grace_seconds));
    MessageCommand::RecordUnknown {
        attempt: facts.attempt,
        reason: reason.to_owned(),
        grace_until: facts.send_by.max(facts.now) + grace,
        at: facts.now,
    }
}

/// What people are told of a refusal: the table's words, which hold nobody's data.
pub fn failure(consequence: &Consequence) -> Failure {
    Failure {
        code: consequence.code,
        title: consequence.title.clone(),
        details: Some(consequence.remedy.clone()),
        retryable: consequence.is_retryable(),
    }
}

/// When the same message goes again; `None`: never.
pub fn retry_at(
    consequence: &Consequence,
    attempt: u32,
    now: DateTime<Utc>,
    random: u64,
) -> Option<DateTime<Utc>> {
    match consequence.message {
        MessageFate::Permanent | MessageFate::NotAboutAMessage | MessageFate::Unknown => None,
        // What stands in the way is paused by the effects, and the message waits in the queue behind it.
        MessageFate::AfterRemedy => Some(now),
        MessageFate::RetryLater { backoff, retries_max } => {
            let may = attempt <= retries_max.unwrap_or(MAX_ATTEMPTS - 1);
            may.then(|| after(backoff, attempt, now, random))
        }
    }
}

/// Everything else that follows.
pub fn effects(
    consequence: &Consequence,
    attempt: u32,
    now: DateTime<Utc>,
    random: u64,
) -> Vec<Effect> {
    let mut effects = vec![];
    let until = |seconds: Option<u64>| {
        seconds.map(|s| now + Duration::seconds(i64::try_from(s).unwrap_or(i64::MAX / 1_000)))
    };
    if let Some(pair) = consequence.pair {
        let backoff = match consequence.message {
            MessageFate::RetryLater { backoff, .. } => after(backoff, attempt, now, random),
            _ => until(pair.seconds).unwrap_or(now + Duration::hours(1)),
        };
        effects.push(Effect::HoldPair { until: backoff });
    }
    if let Some(number) = consequence.number {
        match (until(number.seconds), consequence.message) {
            (Some(until), _) if until - now <= SILENT_HOLD => {
                effects.push(Effect::HoldNumber { until })
            }
            (None, MessageFate::RetryLater { backoff, .. }) => {
                effects.push(Effect::HoldNumber { until: after(backoff, attempt, now, random) });
            }
            (until, _) => {
                let (reason, cause) = (consequence.explanation(), PauseCause::Whatsapp);
                effects.push(Effect::PauseAccount { reason, until, cause })
            }
        }
    }
    for pause in [consequence.waba, consequence.app].into_iter().flatten() {
        let until = match (until(pause.seconds), consequence.message) {
            (None, MessageFate::RetryLater { backoff, .. }) => {
                Some(after(backoff, attempt, now, random))
            }
            (until, _) => until,
        };
        effects.push(Effect::PauseWaba { reason: consequence.explanation(), until });
    }
    if consequence.account_stop {
        let (reason, cause) = (consequence.explanation(), PauseCause::Credentials);
        effects.push(Effect::PauseAccount { reason, until: None, cause });
    }
    if let Some(stop) = consequence.template {
        let for_good = stop == TemplateStop::ForGood;
        effects.push(Effect::StopTemplate { reason: consequence.explanation(), for_good });
    }
    // Only this code is the person's own word; other blocks are kept with the failure that caused them (see the read
    // model's marketing blocks).
    if consequence.code == Some(STOPPED_MARKETING) {
        effects
            .push(Effect::OptOutOfMarketing { source: format!("WhatsApp: {}", consequence.title) });
    }
    effects
}

fn after(wait: Backoff, attempt: u32, now: DateTime<Utc>, random: u64) -> DateTime<Utc> {
    let seconds =
        |s: u64| Duration::seconds(i64::try_from(s.min(31_536_000)).unwrap_or(31_536_000));
    backoff(
        now,
        attempt,
        seconds(wait.first_seconds),
        wait.factor,
        seconds(wait.max_seconds),
        random,
    )
}
