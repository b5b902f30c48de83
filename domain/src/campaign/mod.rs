//! One campaign: a template, an audience, a time; and how far it has come. Facts about single recipients live in their
//! message streams, so that this one stays short however many there are.

mod aggregate;
mod allowance;
mod event;
mod recurrence;
mod schedule;

pub use aggregate::{Approval, Campaign, CampaignCommand, CampaignError, CampaignPlan};
pub use allowance::{Allowance, Hold, covered};
pub use event::{Audience, CampaignEvent, CampaignStatus, FrequencyCap};
pub use recurrence::{OCCURRENCES_MAX, RecurrenceError, YEARS_MAX, recur};
pub use schedule::{
    CampaignSchedule, LATE_MINUTES, Occurrence, ScheduleError, WhenPast, instant_of,
};
