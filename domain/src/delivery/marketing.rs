//! How much marketing one person gets: the campaign's own cap over all campaigns, WhatsApp's cap after it showed itself,
//! and numbers to which WhatsApp delivers none.

use chrono::{DateTime, Duration, Utc};

use crate::campaign::FrequencyCap;
use crate::message::MessageStatus;

/// Meta, error 131049: "the message was not delivered to maintain a healthy ecosystem": the person has had enough
/// marketing, from whomever. Trying earlier than a day later fails again and may cost another day.
pub const ENOUGH_MARKETING_CODE: i64 = 131_049;
/// Meta, error 130472: the person is in an experiment and gets no marketing; trying again gives the same.
pub const EXPERIMENT_CODE: i64 = 130_472;
/// The day that Meta asks for, and a little, as the failure is told a while after it happened.
const ENOUGH_MARKETING_HOURS: i64 = 25;
/// Meta does not say how long its experiments last.
const EXPERIMENT_DAYS: i64 = 30;

/// Until when marketing to somebody is left alone after WhatsApp failed a marketing message to them at `failed_at` with
/// `code`; `None` where the code says nothing about the person.
pub fn marketing_blocked_until(code: i64, failed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match code {
        ENOUGH_MARKETING_CODE => Some(failed_at + Duration::hours(ENOUGH_MARKETING_HOURS)),
        EXPERIMENT_CODE => Some(failed_at + Duration::days(EXPERIMENT_DAYS)),
        _ => None,
    }
}

/// Whether a marketing message in this state counts as one that its recipient got: accepted, on its way, or perhaps on
/// its way. One that waits counts when it leaves, and one that failed for good reached nobody.
pub fn counts_towards_cap(status: MessageStatus) -> bool {
    use MessageStatus as S;
    match status {
        S::Sending | S::InDoubt | S::Accepted | S::Sent | S::Delivered | S::Read => true,
        S::Skipped
        | S::Scheduled
        | S::Queued
        | S::Failed
        | S::Cancelled
        | S::Expired
        | S::Received => false,
    }
}

impl FrequencyCap {
    /// How far back marketing messages count.
    pub fn span(self) -> Duration {
        Duration::hours(i64::from(self.hours))
    }

    /// Whether one more marketing message may go to a person now. `sent_at` are the times of all that count
    /// ([`counts_towards_cap`]) to this person, over all campaigns of the workspace and single messages too, in any
    /// order; for one in flight it is the time of its intent. Not allowed is SKIPPED with FREQUENCY_CAP, not a wait: who
    /// caps would rather leave a message out than send it late.
    pub fn allows(
        self,
        sent_at: impl IntoIterator<Item = DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> bool {
        let messages = usize::try_from(self.messages).unwrap_or(usize::MAX);
        let in_span = sent_at.into_iter().filter(|at| now - *at < self.span());
        in_span.take(messages).count() < messages
    }

    /// From when on one more may go, if none is sent meanwhile; `None`: at any time.
    pub fn opens_at(
        self,
        sent_at: impl IntoIterator<Item = DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let mut sent_at: Vec<_> = sent_at.into_iter().collect();
        sent_at.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        let decisive = usize::try_from(self.messages).ok()?.checked_sub(1)?;
        Some(*sent_at.get(decisive)? + self.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    fn at(hour: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_800_000_000 + hour * 3_600, 0).unwrap()
    }

    const TWO_A_WEEK: FrequencyCap = FrequencyCap { messages: 2, hours: 168 };

    #[test]
    fn as_many_as_the_cap_says_may_go_in_its_hours() {
        assert!(TWO_A_WEEK.allows([], at(0)));
        assert!(TWO_A_WEEK.allows([at(0)], at(1)));
        assert!(!TWO_A_WEEK.allows([at(0), at(1)], at(167)));
        assert!(TWO_A_WEEK.allows([at(1), at(0)], at(168)));
    }

    #[test]
    fn what_may_be_on_its_way_counts_and_what_reached_nobody_does_not() {
        let counting: Vec<_> =
            MessageStatus::ALL.into_iter().filter(|status| counts_towards_cap(*status)).collect();
        use MessageStatus as S;
        let expected = [S::Sending, S::Accepted, S::Sent, S::Delivered, S::Read, S::InDoubt];
        assert_eq!(counting, expected);
    }

    #[test]
    fn whatsapps_own_cap_is_respected_for_more_than_a_day() {
        let until = marketing_blocked_until(131_049, at(0)).unwrap();
        assert!(until > at(24));
        assert!(marketing_blocked_until(130_472, at(0)).unwrap() > at(24));
        assert_eq!(marketing_blocked_until(131_026, at(0)), None);
    }

    proptest! {
        #[test]
        fn no_span_ever_holds_more_than_the_cap(
            messages in 1u32..6, hours in 1u32..200, waits in prop::collection::vec(0i64..30, 1..200),
        ) {
            let cap = FrequencyCap { messages, hours };
            let mut sent: Vec<DateTime<Utc>> = vec![];
            let mut hour = 0;
            for wait in waits {
                hour += wait;
                if cap.allows(sent.iter().copied(), at(hour)) {
                    sent.push(at(hour));
                }
                let in_span = sent.iter().filter(|at_| at(hour) - **at_ < cap.span()).count();
                prop_assert!(in_span <= messages as usize);
            }
        }
    }
}
