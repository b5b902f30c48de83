//! One campaign: a template, an audience, a time; and how far it has come. Facts about single recipients live in their
//! message streams, so that this one stays short however many there are.

mod aggregate;
mod event;
mod schedule;

pub use aggregate::{Campaign, CampaignCommand, CampaignError, CampaignPlan};
pub use event::{Audience, CampaignEvent, CampaignStatus, FrequencyCap};
pub use schedule::{CampaignSchedule, ScheduleError, WhenPast, instant_of};
