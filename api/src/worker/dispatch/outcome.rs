//! What follows from WhatsApp's word on one attempt: the command for the message, and what else has to happen. Pure.

use chrono::{DateTime, Duration, Utc};
use domain::account::PauseCause;
use domain::delivery::{MAX_ATTEMPTS, backoff};
use domain::message::{Failure, KeepAway, Message, MessageCommand};
use domain::primitives::Wamid;
use infrastructure::cloud_api::client::{NotSent, SendOutcome};
use infrastructure::cloud_api::error::{
    Backoff, Consequence, MessageFate, Pause, SuppressionScope, TemplateStop,
};
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
    /// All accounts of the app stop: they share its budget of calls.
    PauseApp { reason: String, until: Option<DateTime<Utc>> },
    /// WhatsApp does not take the template any more.
    StopTemplate { reason: String, for_good: bool },
    /// The person wants no more marketing.
    OptOutOfMarketing { source: String },
}

/// The person stopped marketing messages from this business.
const STOPPED_MARKETING: i64 = 131_050;
/// A number told to slow down for longer than this is paused for people to see.
const SILENT_HOLD: Duration = Duration::minutes(2);
/// Nobody tells when a person can be reached again, or wants to be: tried again after this long, in seconds.
const KEEP_AWAY_WITHOUT_END: u32 = 30 * 24 * 3_600;

/// The attempt whose answer is judged.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFacts {
    pub attempt: u32,
    pub send_by: DateTime<Utc>,
    /// How long WhatsApp's word is awaited where nobody knows.
    pub grace: Duration,
    pub now: DateTime<Utc>,
    /// Any 64 bits, to spread retries.
    pub random: u64,
}

/// The command that records an outcome, and its effects. Waits grow with the refusals of the same kind that `message`
/// has had.
pub fn settle(
    outcome: SendOutcome,
    facts: AttemptFacts,
    message: &Message,
) -> (MessageCommand, Vec<Effect>) {
    let AttemptFacts { attempt, now, random, .. } = facts;
    let failures = |code| message.refusals(code, attempt).saturating_add(1);
    match outcome {
        SendOutcome::Accepted(accepted) => match Wamid::parse(&accepted.wamid) {
            Ok(wamid) => {
                let held = accepted.message_status == Some(MessageStatus::Held);
                (MessageCommand::RecordAccepted { attempt, wamid, held, at: now }, vec![])
            }
            Err(_) => (unknown(facts, "the answer held no message id"), vec![]),
        },
        SendOutcome::NotSent(reason) => not_sent(reason, facts, failures(None)),
        SendOutcome::Unknown(outcome) => {
            let consequence = outcome.error.map(|error| error.consequence);
            let effects =
                consequence.map(|c| effects(&c, failures(c.code), now, random)).unwrap_or_default();
            (unknown(facts, &outcome.reason.to_string()), effects)
        }
        SendOutcome::Refused(error) => {
            let consequence = &error.consequence;
            let failure = failure(consequence);
            let failures = failures(consequence.code);
            let retry_at = retry_at(consequence, failures, now, random);
            let effects = effects(consequence, failures, now, random);
            (MessageCommand::RecordRefused { attempt, failure, retry_at, at: now }, effects)
        }
    }
}

/// WhatsApp never heard of it, so the time to live alone bounds the tries.
fn not_sent(reason: NotSent, facts: AttemptFacts, failures: u32) -> (MessageCommand, Vec<Effect>) {
    let AttemptFacts { attempt, now, random, .. } = facts;
    let retry_at = reason.backoff().map(|wait| after(wait, failures, now, random));
    let failure = Failure {
        code: None,
        title: "WhatsApp was not asked".to_owned(),
        details: Some(reason.to_string()),
        retryable: reason != NotSent::BadContent,
        keep_away: None,
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
    let failure = Failure {
        code: None,
        title: error.to_string(),
        details: None,
        retryable: false,
        keep_away: None,
    };
    MessageCommand::RecordRefused { attempt: facts.attempt, failure, retry_at: None, at: facts.now }
}

/// The intent was recorded although the log could not say so, and nobody acted on it: due again at once.
pub fn uncalled(attempt: u32, now: DateTime<Utc>) -> MessageCommand {
    let failure = Failure {
        code: None,
        title: "WhatsApp was not asked".to_owned(),
        details: Some("the log was away when the message was about to go".to_owned()),
        retryable: true,
        keep_away: None,
    };
    MessageCommand::RecordRefused { attempt, failure, retry_at: Some(now), at: now }
}

/// Nobody knows what became of it: the grace period starts after `send_by`.
pub fn unknown(facts: AttemptFacts, reason: &str) -> MessageCommand {
    MessageCommand::RecordUnknown {
        attempt: facts.attempt,
        reason: reason.to_owned(),
        grace_until: facts.send_by.max(facts.now) + facts.grace,
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
        keep_away: keep_away(consequence),
    }
}

/// Whom others should leave alone. A person's own word is an opt-out instead, which they can take back.
fn keep_away(consequence: &Consequence) -> Option<KeepAway> {
    if consequence.code == Some(STOPPED_MARKETING) {
        return None;
    }
    let suppression = consequence.suppress?;
    let seconds = suppression.seconds.map_or(KEEP_AWAY_WITHOUT_END, |seconds| {
        u32::try_from(seconds).unwrap_or(KEEP_AWAY_WITHOUT_END)
    });
    Some(KeepAway { marketing_only: suppression.scope == SuppressionScope::Marketing, seconds })
}

/// When the same message goes again; `None`: never. `failures`: how often it failed so by now, this time included.
pub fn retry_at(
    consequence: &Consequence,
    failures: u32,
    now: DateTime<Utc>,
    random: u64,
) -> Option<DateTime<Utc>> {
    match consequence.message {
        MessageFate::Permanent | MessageFate::NotAboutAMessage | MessageFate::Unknown => None,
        // What stands in the way is paused by the effects, and the message waits in the queue behind it.
        MessageFate::AfterRemedy => Some(now),
        MessageFate::RetryLater { backoff, retries_max } => {
            let may = failures <= retries_max.unwrap_or(MAX_ATTEMPTS - 1);
            may.then(|| after(backoff, failures, now, random))
        }
    }
}

/// Everything else that follows. `failures` as for [`retry_at`].
pub fn effects(
    consequence: &Consequence,
    failures: u32,
    now: DateTime<Utc>,
    random: u64,
) -> Vec<Effect> {
    let mut effects = vec![];
    let until = |seconds: Option<u64>| {
        seconds.map(|s| now + Duration::seconds(i64::try_from(s).unwrap_or(i64::MAX / 1_000)))
    };
    if let Some(pair) = consequence.pair {
        let backoff = match consequence.message {
            MessageFate::RetryLater { backoff, .. } => after(backoff, failures, now, random),
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
                effects.push(Effect::HoldNumber { until: after(backoff, failures, now, random) });
            }
            (until, _) => {
                let (reason, cause) = (consequence.explanation(), PauseCause::Whatsapp);
                effects.push(Effect::PauseAccount { reason, until, cause })
            }
        }
    }
    let pause_until = |pause: Pause| match (until(pause.seconds), consequence.message) {
        (None, MessageFate::RetryLater { backoff, .. }) => {
            Some(after(backoff, failures, now, random))
        }
        (until, _) => until,
    };
    let reason = || consequence.explanation();
    effects.extend(
        consequence
            .waba
            .map(|pause| Effect::PauseWaba { reason: reason(), until: pause_until(pause) }),
    );
    effects.extend(
        consequence
            .app
            .map(|pause| Effect::PauseApp { reason: reason(), until: pause_until(pause) }),
    );
    if consequence.account_stop {
        let (reason, cause) = (consequence.explanation(), PauseCause::Credentials);
        effects.push(Effect::PauseAccount { reason, until: None, cause });
    }
    if let Some(stop) = consequence.template {
        let for_good = stop == TemplateStop::ForGood;
        effects.push(Effect::StopTemplate { reason: consequence.explanation(), for_good });
    }
    // Only this code is the person's own word; whom else to leave alone is kept with the failure.
    if consequence.code == Some(STOPPED_MARKETING) {
        effects
            .push(Effect::OptOutOfMarketing { source: format!("WhatsApp: {}", consequence.title) });
    }
    effects
}

fn after(wait: Backoff, failures: u32, now: DateTime<Utc>, random: u64) -> DateTime<Utc> {
    let seconds =
        |s: u64| Duration::seconds(i64::try_from(s.min(31_536_000)).unwrap_or(31_536_000));
    backoff(
        now,
        failures,
        seconds(wait.first_seconds),
        wait.factor,
        seconds(wait.max_seconds),
        random,
    )
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use infrastructure::cloud_api::error::{ErrorContext, ErrorPath};

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_795_000_000 + second, 0).unwrap()
    }

    fn answered(code: i64) -> Consequence {
        Consequence::of_code(code, ErrorPath::Answer, ErrorContext::default())
    }

    #[test]
    fn whom_to_leave_alone_and_for_how_long_stands_in_the_failure() {
        let keep_away = |code| failure(&answered(code)).keep_away;
        let of = |marketing_only, seconds| Some(KeepAway { marketing_only, seconds });
        assert_eq!(keep_away(131_026), of(false, 86_400));
        assert_eq!(keep_away(131_049), of(true, 86_400));
        assert_eq!(keep_away(130_403), of(false, KEEP_AWAY_WITHOUT_END));
        assert_eq!(keep_away(130_472), of(true, KEEP_AWAY_WITHOUT_END));
        assert_eq!(keep_away(STOPPED_MARKETING), None);
        assert_eq!(keep_away(130_429), None);
    }

    #[test]
    fn an_apps_budget_pauses_the_app_and_a_wabas_the_waba() {
        let effects = |code| effects(&answered(code), 1, at(0), 0);
        assert!(matches!(effects(4)[..], [Effect::PauseApp { until: Some(_), .. }]));
        assert!(matches!(effects(80_007)[..], [Effect::PauseWaba { until: Some(_), .. }]));
        assert!(matches!(effects(368)[..], [Effect::PauseWaba { until: None, .. }]));
    }

    #[test]
    fn refusals_of_one_kind_use_up_the_tries_and_grow_the_waits() {
        let consequence = answered(130_429);
        let retry = |failures| retry_at(&consequence, failures, at(0), 0);
        assert!(retry(1).unwrap() < retry(3).unwrap());
        assert!(retry(MAX_ATTEMPTS - 1).is_some());
        assert_eq!(retry(MAX_ATTEMPTS), None);
    }
}
