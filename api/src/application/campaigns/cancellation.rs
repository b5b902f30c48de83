//! What a cancellation came in time for.

use super::progress::CampaignProgress;
use crate::application::view::CampaignView;

/// Counts of recipients of a cancelled campaign, as they are now: within moments `stopping` is 0 and they stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    /// Had left for WhatsApp, those in doubt included.
    pub left: u64,
    /// Of those: nobody knows yet whether WhatsApp took them.
    pub in_doubt: u64,
    /// Will not be sent any more.
    pub stopped: u64,
    /// Still to be stopped, or with WhatsApp at this moment.
    pub stopping: u64,
    /// In words.
    pub summary: String,
}

/// What is known of a cancelled campaign. `progress`: `None` where nobody of it was judged.
pub fn cancellation(campaign: &CampaignView, progress: Option<&CampaignProgress>) -> Cancellation {
    let counts = |of: fn(&CampaignProgress) -> u64| progress.map_or(0, of);
    let in_doubt = counts(|progress| progress.in_doubt);
    let left = counts(|progress| progress.accepted) + in_doubt;
    let stopped = counts(|progress| progress.cancelled);
    let stopping = counts(|progress| progress.pending);
    let mut summary = match (left, stopped + stopping) {
        (0, 0) if campaign.started_at.is_none() => {
            "Cancelled before it started: nothing had left.".to_owned()
        }
        (0, _) => "Nothing had left for WhatsApp when it was cancelled".to_owned(),
        (1, _) => "1 message had left for WhatsApp and cannot be called back".to_owned(),
        _ => format!("{left} messages had left for WhatsApp and cannot be called back"),
    };
    if summary.ends_with('.') {
        return Cancellation { left, in_doubt, stopped, stopping, summary };
    }
    if in_doubt > 0 {
        summary.push_str(&format!(" ({in_doubt} of them in doubt)"));
    }
    summary.push_str(&match stopped {
        0 if stopping > 0 => String::new(),
        0 => "; none had to be stopped".to_owned(),
        1 => "; 1 was stopped and will not be sent".to_owned(),
        _ => format!("; {stopped} were stopped and will not be sent"),
    });
    if stopping > 0 {
        let is = if stopping == 1 { "is" } else { "are" };
        summary
            .push_str(&format!("; {stopping} {is} still being stopped or with WhatsApp right now"));
    }
    if campaign.started_at.is_some() && !campaign.expanded {
        summary.push_str("; the rest of the audience was not looked at any more");
    }
    summary.push('.');
    Cancellation { left, in_doubt, stopped, stopping, summary }
}
