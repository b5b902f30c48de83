//! What a person did about a message: answered it, tapped a button of it, said stop to it. Each is a fact once, with its
//! earliest time, in whatever order it is told.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::{Answer, MessageEvent};

/// The first message of a person within so long counts as an answer to what was sent to them last.
pub const ANSWERED_WITHIN: Duration = Duration::hours(72);

/// Buttons whose taps are told apart, of one message.
const LABELS_MAX: usize = 50;
const LABEL_CHARS_MAX: usize = 256;

/// What is on record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engagement {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replied_at: Option<DateTime<Utc>>,
    /// By the button's label; those without one under the empty text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clicks: BTreeMap<String, DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opted_out_at: Option<DateTime<Utc>>,
}

impl Engagement {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// When a button or link was tapped first.
    pub fn clicked_at(&self) -> Option<DateTime<Utc>> {
        self.clicks.values().min().copied()
    }

    /// What an answer adds to what is on record.
    pub(super) fn news(&self, answer: Answer) -> Vec<MessageEvent> {
        let Answer { reply_id, reply, click, opt_out, at } = answer;
        let is_news = |known: Option<&DateTime<Utc>>| known.is_none_or(|known| at < *known);
        let mut events = vec![];
        if let Some((reply_id, quoted)) = reply_id.zip(reply)
            && is_news(self.replied_at.as_ref())
        {
            events.push(MessageEvent::Replied { reply_id, quoted, at });
        }
        if let Some(label) = click {
            let label = label.filter(|label| {
                !label.is_empty()
                    && label.chars().count() <= LABEL_CHARS_MAX
                    && (self.clicks.len() < LABELS_MAX || self.clicks.contains_key(label))
            });
            if is_news(self.clicks.get(label.as_deref().unwrap_or_default())) {
                events.push(MessageEvent::Clicked { label, reply_id, at });
            }
        }
        if let Some(how) = opt_out
            && is_news(self.opted_out_at.as_ref())
        {
            events.push(MessageEvent::OptedOut { how, reply_id, at });
        }
        events
    }

    /// Other events change nothing here.
    pub(super) fn fold(&mut self, event: MessageEvent) {
        let earliest = |known: Option<DateTime<Utc>>, at: DateTime<Utc>| {
            Some(known.map_or(at, |known| known.min(at)))
        };
        match event {
            MessageEvent::Replied { at, .. } => self.replied_at = earliest(self.replied_at, at),
            MessageEvent::Clicked { label, at, .. } => {
                let known = self.clicks.entry(label.unwrap_or_default()).or_insert(at);
                *known = (*known).min(at);
            }
            MessageEvent::OptedOut { at, .. } => {
                self.opted_out_at = earliest(self.opted_out_at, at);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::message::OptOutSign;
    use crate::primitives::MessageId;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn answer(minute: i64) -> Answer {
        Answer {
            reply_id: Some(MessageId(Uuid::from_u128(7))),
            reply: Some(true),
            at: at(minute),
            ..Answer::default()
        }
    }

    fn told(engagement: &mut Engagement, answer: Answer) -> usize {
        let events = engagement.news(answer);
        let count = events.len();
        events.into_iter().for_each(|event| engagement.fold(event));
        count
    }

    #[test]
    fn told_again_it_is_no_news_and_told_with_an_earlier_time_it_is() {
        let mut engagement = Engagement::default();
        assert_eq!(told(&mut engagement, answer(5)), 1);
        assert_eq!(told(&mut engagement, answer(5)), 0);
        assert_eq!(told(&mut engagement, answer(9)), 0);
        assert_eq!(told(&mut engagement, answer(3)), 1);
        assert_eq!(engagement.replied_at, Some(at(3)));
    }

    #[test]
    fn each_button_counts_for_itself_and_one_without_a_label_too() {
        let click = |label: Option<&str>, minute| Answer {
            click: Some(label.map(str::to_owned)),
            ..answer(minute)
        };
        let mut engagement = Engagement::default();
        assert_eq!(told(&mut engagement, click(Some("Yes"), 5)), 2);
        assert_eq!(told(&mut engagement, click(Some("No"), 6)), 1);
        assert_eq!(told(&mut engagement, click(Some("Yes"), 7)), 0);
        assert_eq!(told(&mut engagement, click(None, 4)), 2);
        assert_eq!(engagement.clicked_at(), Some(at(4)));
        assert_eq!(engagement.clicks.keys().collect::<Vec<_>>(), ["", "No", "Yes"]);
    }

    #[test]
    fn what_is_on_record_is_bounded() {
        let mut engagement = Engagement::default();
        for n in 0..200 {
            told(&mut engagement, Answer { click: Some(Some(format!("{n}"))), ..answer(1) });
        }
        let long = Some(Some("x".repeat(10_000)));
        told(&mut engagement, Answer { click: long, ..answer(1) });
        assert_eq!(engagement.clicks.len(), LABELS_MAX + 1);
    }

    proptest! {
        #[test]
        fn any_order_ends_in_the_same(order in Just((0..6_i64).collect::<Vec<_>>()).prop_shuffle()) {
            let one = |n: i64| Answer {
                click: (n % 2 == 0).then(|| Some(format!("{}", n % 3))),
                opt_out: (n % 3 == 0).then_some(OptOutSign::Reply),
                ..answer(n)
            };
            let (mut shuffled, mut sorted) = (Engagement::default(), Engagement::default());
            for n in order {
                told(&mut shuffled, one(n));
            }
            for n in 0..6 {
                told(&mut sorted, one(n));
            }
            prop_assert_eq!(shuffled, sorted);
        }
    }
}
