//! What a launch allows, and whether an occurrence still keeps to it when it starts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aggregate::Campaign;
use crate::pricing::Amount;

/// A yes to so many people covers a tenth more: nobody is asked again because one person has joined since.
const COVERED_MORE_ONE_IN: u64 = 10;

/// What whoever launched a campaign allowed, and what another key approved. It holds for every occurrence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allowance {
    /// Who launched it (`api_key:<id>`), and cannot be the one who approves more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// People in the audience then; `None`: nobody counted, because nothing depended on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<u64>,
    /// An occurrence is not to go to more people than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_recipients: Option<u64>,
    /// An occurrence is not to cost more than that, in the rate card's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<Amount>,
    /// Another key has approved occurrences of up to so many people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_recipients: Option<u64>,
}

/// An occurrence that was found to be more than was allowed when it started, before anybody of it was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// People in its audience.
    pub recipients: u64,
    /// Another key than the launch's has to say yes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_approval: bool,
}

/// How many people a yes to `recipients` covers.
pub fn covered(recipients: u64) -> u64 {
    recipients.saturating_add(recipients / COVERED_MORE_ONE_IN)
}

impl Campaign {
    /// What its launch allowed, as far as that was ever said.
    pub fn allowed(&self) -> Allowance {
        if let Some(allowance) = &self.allowance {
            return allowance.clone();
        }
        // Launched before launches said so: what is known of its approval.
        let asked = self.approval.as_ref().map(|asked| Allowance {
            by: Some(asked.requested_by.clone()),
            recipients: Some(asked.recipients),
            max_recipients: asked.max_recipients,
            max_cost: asked.max_cost,
            approved_recipients: asked.approved_by.as_ref().map(|_| covered(asked.recipients)),
        });
        asked.unwrap_or_default()
    }

    /// Its latest occurrence has started, and nobody of it was judged yet: now its size and cost are asked.
    pub fn is_to_be_checked(&self) -> bool {
        self.has_started() && !self.expanded && self.cursor.is_none()
    }

    /// Whether it depends on how many people there are.
    pub fn is_size_limited(&self, threshold: Option<u32>) -> bool {
        threshold.is_some() || self.allowed().max_recipients.is_some() || self.released.is_some()
    }

    /// What this occurrence may cost; `None`: anything, or somebody said yes to it as it is.
    pub fn cost_limit(&self) -> Option<Amount> {
        self.allowed().max_cost.filter(|_| self.released.is_none())
    }

    /// Why an occurrence for `recipients` people is held, in words; `threshold` is what the workspace lets one key launch
    /// alone. `None`: it keeps to what was allowed.
    pub fn held_for_size(&self, recipients: u64, threshold: Option<u32>) -> Option<(Hold, String)> {
        let allowed = self.allowed();
        let approved = allowed.approved_recipients;
        let beyond = threshold.map(u64::from).filter(|threshold| {
            recipients > *threshold && approved.is_none_or(|approved| recipients > approved)
        });
        let limit = self.released.or(allowed.max_recipients).filter(|limit| recipients > *limit);
        if beyond.is_none() && limit.is_none() {
            return None;
        }
        let mut reason = match allowed.recipients.filter(|before| *before < recipients) {
            Some(before) => format!(
                "the audience has grown from {} to {} people since the launch",
                grouped(before),
                grouped(recipients)
            ),
            None => format!("the audience is {} people", grouped(recipients)),
        };
        match (limit, self.released) {
            (Some(limit), Some(_)) => {
                reason.push_str(&format!("; the last yes covers {}", grouped(limit)));
            }
            (Some(limit), None) => {
                reason.push_str(&format!("; the limit given at launch is {}", grouped(limit)));
            }
            (None, _) => {}
        }
        match (beyond, approved) {
            (Some(_), Some(approved)) => {
                reason.push_str(&format!("; approved are up to {}", grouped(approved)));
            }
            (Some(threshold), None) => reason
                .push_str(&format!("; one key alone may send to {} at most", grouped(threshold))),
            (None, _) => {}
        }
        reason.push_str(if beyond.is_some() {
            ". Nobody of it was sent to: another key lets it go on with approveCampaign, cancelCampaign ends it"
        } else {
            ". Nobody of it was sent to: resumeCampaign lets it go on to all of them, cancelCampaign ends it"
        });
        Some((Hold { recipients, needs_approval: beyond.is_some() }, reason))
    }
}

/// `12,300`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launched(allowance: Allowance) -> Campaign {
        Campaign { allowance: Some(allowance), ..Campaign::default() }
    }

    #[test]
    fn a_limit_holds_whatever_is_more_and_says_what_it_has_grown_from() {
        let limit = Allowance {
            recipients: Some(4_100),
            max_recipients: Some(5_000),
            ..Allowance::default()
        };
        let mut campaign = launched(limit);
        assert_eq!(campaign.held_for_size(5_000, None), None);
        let (hold, reason) = campaign.held_for_size(12_300, None).unwrap();
        assert_eq!(hold, Hold { recipients: 12_300, needs_approval: false });
        let expected = "the audience has grown from 4,100 to 12,300 people since the launch; the limit given at launch is \
                        5,000. Nobody of it was sent to: resumeCampaign";
        assert!(reason.starts_with(expected), "{reason}");
        // A yes covers a tenth more and not everything.
        campaign.released = Some(covered(12_300));
        assert_eq!(campaign.held_for_size(13_530, None), None);
        let (_, reason) = campaign.held_for_size(13_531, None).unwrap();
        assert!(reason.contains("the last yes covers 13,530"), "{reason}");
    }

    #[test]
    fn more_than_one_key_may_launch_needs_another_unless_that_was_said_yes_to() {
        let mut campaign = launched(Allowance::default());
        assert_eq!(campaign.held_for_size(10, Some(10)), None);
        let (hold, reason) = campaign.held_for_size(11, Some(10)).unwrap();
        assert!(hold.needs_approval);
        assert!(reason.starts_with("the audience is 11 people; one key alone may send to 10"));
        assert!(reason.contains("approveCampaign"), "{reason}");
        campaign.allowance =
            Some(Allowance { approved_recipients: Some(covered(100)), ..Allowance::default() });
        assert_eq!(campaign.held_for_size(110, Some(10)), None);
        assert_eq!(campaign.held_for_size(111, Some(1_000)), None);
        let (_, reason) = campaign.held_for_size(111, Some(10)).unwrap();
        assert!(reason.contains("approved are up to 110"), "{reason}");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 999, 1_000, 12_300, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "12,300", "1,234,567"]);
    }
}
