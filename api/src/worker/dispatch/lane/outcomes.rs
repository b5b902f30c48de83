//! What calls came back with: gathered, recorded with all that follows from it, and what it means for the lane itself.

use std::collections::HashMap;
use std::time::Duration as StdDuration;

use chrono::{DateTime, Duration, Utc};
use domain::delivery::PairLimit;
use domain::message::{MessageCommand, Recipient};
use domain::primitives::{MessageId, Personal};
use infrastructure::cloud_api::client::SendOutcome;
use infrastructure::ledger::{CommandError, Context, Thread};
use tracing::warn;

use super::super::effects::{self, EffectTarget, Recorded, Word};
use super::super::outcome::{AttemptFacts, Effect, settle, unsendable};
use super::{AGAIN, Called, Lane, OUTCOME_KEPT, Outcome, Taken};
use crate::worker::webhook::settle_parked;

/// Outcomes recorded in one append.
const RECORD_MAX: usize = 512;
/// So many calls under way show a busy number …
const BUSY: usize = 32;
/// … whose answers are gathered this long, or until a quarter of them is there: an append and a turn for each alone
/// would cost more than the wait.
const GATHER: StdDuration = StdDuration::from_millis(10);
/// A number told to slow down again within this waits twice as long as before, up to the longest.
const THROTTLE_MEMORY: Duration = Duration::seconds(60);
const THROTTLE_LONGEST: Duration = Duration::seconds(60);

impl Lane {
    /// Takes in what has come back, as much as there is, and records it in one append.
    pub(super) async fn record(&mut self, first: Called) {
        let mut called = vec![first];
        let enough = if self.calling < BUSY { 0 } else { self.calling / 4 };
        let answers = &mut self.results.1;
        let gathered = tokio::time::timeout(GATHER, async {
            while called.len() < enough
                && let Some(next) = answers.recv().await
            {
                called.push(next);
            }
        });
        // Those that came in time are here either way.
        let _ = gathered.await;
        while called.len() < RECORD_MAX
            && let Ok(next) = self.results.1.try_recv()
        {
            called.push(next);
        }
        self.calling -= called.len();
        let keep_until = self.steady.now() + OUTCOME_KEPT;
        for call in called {
            let facts = AttemptFacts {
                attempt: call.attempt,
                send_by: call.send_by,
                grace: self.grace,
                now: call.answered_at,
                random: self.gateway.ids.random(),
            };
            let (command, effects) = match call.answer {
                Ok(outcome) => {
                    metrics::counter!("gateway_sends_total", "outcome" => outcome_label(&outcome))
                        .increment(1);
                    settle(outcome, facts, &call.message)
                }
                Err(error) => (unsendable(&error, facts), vec![]),
            };
            if matches!(command, MessageCommand::RecordRefused { .. }) {
                self.shared.marketing.give_back(call.person, call.message_id.0);
                if let Some(spent_at) = call.spent_at {
                    self.shared.reach.give_back(call.due.contact_id, spent_at).await;
                }
            }
            let word = Word {
                message_id: call.message_id.0,
                command,
                context: self.on_outcome(call.requested),
                effects: self.hold(effects, &call.recipient),
                target: EffectTarget {
                    account_id: self.account_id,
                    contact_id: Some(call.due.contact_id.into()),
                    template_id: call.due.template_id.map(Into::into),
                    message_id: Some(call.message_id),
                },
                always: true,
            };
            self.outcomes.push(Outcome { word, keep_until });
        }
        self.record_outcomes().await;
    }

    /// What an answer means for the lane itself; gives back what is left.
    fn hold(&mut self, effects: Vec<Effect>, recipient: &Recipient) -> Vec<Effect> {
        let now = self.steady.now();
        let mut lasting = vec![];
        for effect in effects {
            match effect {
                Effect::HoldPair { until } => {
                    let pair = self
                        .pairs
                        .get(recipient.key())
                        .map_or(PairLimit::first(now), |pair| *pair)
                        .held(self.steady.of(until));
                    self.pairs.insert(recipient.key().to_owned(), pair);
                }
                Effect::HoldNumber { until } => {
                    let until = self.throttle(self.steady.of(until), now);
                    self.pace.hold_until(until);
                }
                lasting_effect => lasting.push(lasting_effect),
            }
        }
        lasting
    }

    /// Told to slow down again soon after the last time, the number waits twice as long. Answers of calls that were under
    /// way together count once.
    fn throttle(&mut self, until: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let (times, held_until) = self.throttled;
        let times = if now < held_until {
            times
        } else if now - held_until < THROTTLE_MEMORY && times > 0 {
            (times + 1).min(16)
        } else {
            1
        };
        let wait = (until - now) * (1 << (times.max(1) - 1));
        let until = now + wait.min(THROTTLE_LONGEST.max(until - now));
        self.throttled = (times, held_until.max(until));
        until
    }

    /// Outcomes are true whoever holds the lease by now: the attempt and the stream's sequence are their lock.
    pub(super) fn on_outcome(&self, requested: Option<Thread>) -> Context {
        let mut context = self.on_message();
        context.fence = None;
        match requested {
            Some(requested) => context.caused_by(requested.event_id),
            None => context,
        }
    }

    /// Records known outcomes with all that follows from them; those that the store does not take are kept and tried again.
    pub(super) async fn record_outcomes(&mut self) {
        let now = self.steady.now();
        let batch = self.outcomes.len().min(RECORD_MAX);
        let outcomes: Vec<Outcome> = self.outcomes.drain(..batch).collect();
        let words = outcomes.iter().map(|outcome| outcome.word.clone()).collect();
        let results = effects::record(&self.gateway, words).await;
        self.settle_parked(&results).await;
        let mut kept = 0;
        for (outcome, result) in outcomes.into_iter().zip(results) {
            let id = outcome.word.message_id;
            match result {
                Ok(committed) => {
                    self.taken.insert(id, Taken::Recorded(committed.position));
                }
                Err(CommandError::Unavailable(_) | CommandError::TooBusy)
                    if outcome.keep_until > now =>
                {
                    kept += 1;
                    self.outcomes.push(outcome);
                }
                Err(error) => {
                    warn!(message.id = %id, %error, "an outcome could not be recorded; it is in doubt");
                    self.taken.remove(&id);
                }
            }
        }
        self.record_at = if kept > 0 { now + AGAIN } else { now };
        if kept > 0 {
            warn!(account.id = %self.account_id, count = kept, "outcomes could not be recorded yet; trying again");
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
}

fn outcome_label(outcome: &SendOutcome) -> &'static str {
    match outcome {
        SendOutcome::Accepted(_) => "accepted",
        SendOutcome::Refused(_) => "refused",
        SendOutcome::NotSent(_) => "not_sent",
        SendOutcome::Unknown(_) => "unknown",
    }
}
