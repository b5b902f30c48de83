//! Where a campaign stands, and where it would stand if it were launched, resumed or its time had come.

use chrono::{DateTime, Utc};

use crate::GatewayAggregate;
use crate::campaign::{
    Allowance, Campaign, CampaignCommand, CampaignError, CampaignEvent, CampaignStatus,
};

/// What of a campaign lies ahead.
#[derive(Clone, Debug)]
pub enum Stage {
    /// An occurrence, of which everybody is to be judged when it starts. `campaign` is as it will be then.
    ToStart { campaign: Box<Campaign>, at: DateTime<Utc> },
    /// It runs: what waits is left, and whoever of the audience has not been judged yet.
    UnderWay { campaign: Box<Campaign> },
    /// Nothing.
    Over,
}

impl Stage {
    /// Launches a draft on paper, resumes what is paused, and moves the clock to the start that is waited for.
    ///
    /// # Errors
    /// What launching answers: [`CampaignError::Invalid`] where its schedule has passed; [`CampaignError::NotFound`].
    pub fn of(campaign: &Campaign, now: DateTime<Utc>) -> Result<Self, CampaignError> {
        if campaign.workspace_id.is_none() || campaign.deleted {
            return Err(CampaignError::NotFound);
        }
        let is_draft = campaign.status == CampaignStatus::Draft;
        let mut paper = Box::new(campaign.clone());
        match paper.status {
            CampaignStatus::Draft => {
                let allowance = Allowance::default();
                carry_out(&mut paper, CampaignCommand::Launch { allowance, at: now })?;
            }
            // On paper nobody's yes is missing.
            CampaignStatus::Paused => {
                paper.fold(CampaignEvent::Resumed { allowed_recipients: None, at: now });
            }
            _ => {}
        }
        Ok(match (paper.status, paper.start_at) {
            (CampaignStatus::Scheduled, Some(start_at)) => {
                let at = start_at.max(now);
                carry_out(&mut paper, CampaignCommand::Start { at })?;
                Self::ToStart { campaign: paper, at }
            }
            (CampaignStatus::Running, _) if is_draft => Self::ToStart { campaign: paper, at: now },
            (CampaignStatus::Running, _) => Self::UnderWay { campaign: paper },
            _ => Self::Over,
        })
    }
}

fn carry_out(campaign: &mut Campaign, command: CampaignCommand) -> Result<(), CampaignError> {
    for event in campaign.decide(command)? {
        campaign.fold(event);
    }
    Ok(())
}
