//! The campaign's state and decisions.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::event::{Audience, CampaignEvent, CampaignStatus, FrequencyCap};
use super::schedule::{CampaignSchedule, ScheduleError};
use crate::port::AggregateType;
use crate::primitives::{AccountId, CampaignId, ContactId, Personal, TemplateId, WorkspaceId};
use crate::{DomainError, GatewayAggregate, aggregate};

const MAX_NAME_CHARS: usize = 200;
const MAX_AUDIENCE_IDS: usize = 10_000;
/// Thirty days: WhatsApp itself tries no longer.
const MAX_TIME_TO_LIVE_S: u32 = 30 * 24 * 3600;
const MAX_MESSAGES_PER_SECOND: u32 = 1_000_000;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CampaignId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Personal<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<CampaignPlan>,
    pub status: CampaignStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// What it goes back to when it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_from: Option<CampaignStatus>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When a scheduled one starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurrence_start: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<ContactId>,
    pub expanded: bool,
    pub queued: u64,
    pub skipped: u64,
}

/// What its owner decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignPlan {
    pub name: String,
    pub template_id: TemplateId,
    /// Template slot → literal or text with placeholders.
    pub parameters: Personal<serde_json::Map<String, Value>>,
    pub audience: Audience,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<CampaignSchedule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_cap: Option<FrequencyCap>,
    /// Given up on a recipient not accepted this many seconds after the message fell due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live_s: Option<u32>,
}

#[derive(Clone, Debug)]
pub enum CampaignCommand {
    Draft {
        workspace_id: WorkspaceId,
        campaign_id: CampaignId,
        account_id: AccountId,
        external_id: Option<String>,
        metadata: Option<Value>,
        plan: Box<CampaignPlan>,
        at: DateTime<Utc>,
    },
    Update {
        plan: Box<CampaignPlan>,
        at: DateTime<Utc>,
    },
    Delete {
        at: DateTime<Utc>,
    },
    /// Starts now, or is scheduled where its schedule lies ahead.
    Launch {
        at: DateTime<Utc>,
    },
    /// The scheduled time has come.
    Start {
        at: DateTime<Utc>,
    },
    /// One more chunk; `from` is the cursor it was read behind, so a chunk made twice is taken once.
    RecordExpansion {
        from: Option<ContactId>,
        cursor: Option<ContactId>,
        queued: u64,
        skipped: u64,
        complete: bool,
        at: DateTime<Utc>,
    },
    Pause {
        reason: Option<String>,
        at: DateTime<Utc>,
    },
    Resume {
        at: DateTime<Utc>,
    },
    /// Recipients are tried again: a completed campaign runs once more, so that it can be paused and cancelled.
    Reopen {
        at: DateTime<Utc>,
    },
    Cancel {
        reason: Option<String>,
        at: DateTime<Utc>,
    },
    Complete {
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CampaignError {
    #[error("there is no such campaign")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("a campaign in status {} cannot be {action}", status.as_str())]
    NotAllowed { action: &'static str, status: CampaignStatus },
    #[error("the audience was expanded from elsewhere meanwhile")]
    CursorMoved,
}

impl DomainError for CampaignError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "CAMPAIGN_INVALID",
            Self::NotAllowed { .. } => "CAMPAIGN_STATUS",
            Self::CursorMoved => "CURSOR_MOVED",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
            Self::NotFound | Self::NotAllowed { .. } | Self::CursorMoved => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::NotAllowed { .. } | Self::CursorMoved)
    }
}

aggregate!(Campaign, CampaignCommand, CampaignEvent, CampaignError, "campaign");

impl GatewayAggregate for Campaign {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Campaign;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.workspace_id
    }

    fn account_id(&self) -> Option<AccountId> {
        self.account_id
    }

    /// Parameters and metadata belong to no single person: the workspace's key seals them.
    fn subject(&self) -> Option<Uuid> {
        self.workspace_id.map(|id| id.0)
    }

    fn decide(&self, command: CampaignCommand) -> Result<Vec<CampaignEvent>, CampaignError> {
        match command {
            CampaignCommand::Draft {
                workspace_id,
                campaign_id,
                account_id,
                external_id,
                metadata,
                plan,
                at,
            } => {
                if self.workspace_id.is_some() {
                    return Ok(vec![]);
                }
                check_plan(&plan)?;
                let metadata = metadata.map(Personal::from);
                let plan = *plan;
                Ok(vec![CampaignEvent::Drafted {
                    workspace_id,
                    campaign_id,
                    account_id,
                    external_id,
                    metadata,
                    plan,
                    at,
                }])
            }
            CampaignCommand::Update { plan, at } => {
                self.require(&[CampaignStatus::Draft, CampaignStatus::Scheduled], "changed")?;
                check_plan(&plan)?;
                Ok(self.update(*plan, at))
            }
            CampaignCommand::Delete { at } => {
                if self.deleted {
                    return Ok(vec![]);
                }
                self.require(&[CampaignStatus::Draft], "deleted")?;
                Ok(vec![CampaignEvent::Deleted { at }])
            }
            CampaignCommand::Launch { at } => self.launch(at),
            CampaignCommand::Start { at } => match self.status {
                CampaignStatus::Running => Ok(vec![]),
                _ => {
                    self.require(&[CampaignStatus::Scheduled], "started")?;
                    Ok(vec![CampaignEvent::Started {
                        occurrence_start: self.start_at.unwrap_or(at),
                        at,
                    }])
                }
            },
            CampaignCommand::RecordExpansion { from, cursor, queued, skipped, complete, at } => {
                self.require(&[CampaignStatus::Running], "expanded")?;
                if self.expanded || from != self.cursor {
                    return Err(CampaignError::CursorMoved);
                }
                Ok(vec![CampaignEvent::AudienceExpanded { cursor, queued, skipped, complete, at }])
            }
            CampaignCommand::Pause { reason, at } => {
                if self.status == CampaignStatus::Paused {
                    return Ok(vec![]);
                }
                self.require(&[CampaignStatus::Scheduled, CampaignStatus::Running], "paused")?;
                Ok(vec![CampaignEvent::Paused { reason, at }])
            }
            CampaignCommand::Resume { at } => {
                if matches!(self.status, CampaignStatus::Running | CampaignStatus::Scheduled) {
                    return Ok(vec![]);
                }
                self.require(&[CampaignStatus::Paused], "resumed")?;
                Ok(vec![CampaignEvent::Resumed { at }])
            }
            CampaignCommand::Reopen { at } => {
                if matches!(self.status, CampaignStatus::Running | CampaignStatus::Paused) {
                    return Ok(vec![]);
                }
                self.require(&[CampaignStatus::Completed], "tried again")?;
                Ok(vec![CampaignEvent::Resumed { at }])
            }
            CampaignCommand::Cancel { reason, at } => {
                if self.status == CampaignStatus::Cancelled {
                    return Ok(vec![]);
                }
                self.require(
                    &[CampaignStatus::Scheduled, CampaignStatus::Running, CampaignStatus::Paused],
                    "cancelled",
                )?;
                Ok(vec![CampaignEvent::Cancelled { reason, at }])
            }
            CampaignCommand::Complete { at } => {
                if self.status == CampaignStatus::Completed {
                    return Ok(vec![]);
                }
                self.require(&[CampaignStatus::Running], "completed")?;
                if !self.expanded {
                    return Err(CampaignError::NotAllowed {
                        action: "completed",
                        status: self.status,
                    });
                }
                Ok(vec![CampaignEvent::Completed { at }])
            }
        }
    }
}

impl Campaign {
    fn require(
        &self,
        allowed: &[CampaignStatus],
        action: &'static str,
    ) -> Result<(), CampaignError> {
        if self.workspace_id.is_none() || self.deleted {
            return Err(CampaignError::NotFound);
        }
        if allowed.contains(&self.status) {
            Ok(())
        } else {
            Err(CampaignError::NotAllowed { action, status: self.status })
        }
    }

    fn update(&self, plan: CampaignPlan, at: DateTime<Utc>) -> Vec<CampaignEvent> {
        if self.plan.as_ref() == Some(&plan) {
            return vec![];
        }
        let reschedule = (self.status == CampaignStatus::Scheduled)
            .then_some(plan.schedule.as_ref())
            .flatten()
            // One that lies in the past starts at once, as it does where the gateway was stopped meanwhile.
            .and_then(|schedule| {
                next_start(schedule, at).ok().flatten().or_else(|| schedule.start_instant().ok())
            })
            .filter(|start_at| Some(*start_at) != self.start_at);
        let mut events = vec![CampaignEvent::Updated { plan, at }];
        events.extend(reschedule.map(|start_at| CampaignEvent::Scheduled { start_at, at }));
        events
    }

    fn launch(&self, at: DateTime<Utc>) -> Result<Vec<CampaignEvent>, CampaignError> {
        if matches!(self.status, CampaignStatus::Scheduled | CampaignStatus::Running) {
            return Ok(vec![]);
        }
        self.require(&[CampaignStatus::Draft], "launched")?;
        let plan = self.plan.as_ref().ok_or(CampaignError::NotFound)?;
        let Some(schedule) = &plan.schedule else {
            return Ok(vec![CampaignEvent::Started { occurrence_start: at, at }]);
        };
        let Some(start_at) = next_start(schedule, at).map_err(|error| invalid_schedule(&error))?
        else {
            return Err(match schedule.recurrence {
                Some(_) => invalid(
                    "schedule.recurrence",
                    "its last occurrence lies in the past; choose a later UNTIL or a larger COUNT",
                ),
                None => invalid(
                    "schedule.startAt",
                    "lies in the past; choose a later time, or leave the schedule out to start now",
                ),
            });
        };
        Ok(vec![if start_at > at {
            CampaignEvent::Scheduled { start_at, at }
        } else {
            CampaignEvent::Started { occurrence_start: start_at, at }
        }])
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: CampaignEvent) {
        match event {
            CampaignEvent::Drafted {
                workspace_id,
                campaign_id,
                account_id,
                external_id,
                metadata,
                plan,
                at,
            } => {
                *self = Self {
                    workspace_id: Some(workspace_id),
                    id: Some(campaign_id),
                    account_id: Some(account_id),
                    external_id,
                    metadata,
                    plan: Some(plan),
                    created_at: Some(at),
                    ..Self::default()
                };
            }
            CampaignEvent::Updated { plan, .. } => self.plan = Some(plan),
            CampaignEvent::Deleted { .. } => self.deleted = true,
            CampaignEvent::Scheduled { start_at, .. } => {
                self.status = CampaignStatus::Scheduled;
                self.start_at = Some(start_at);
            }
            CampaignEvent::Started { occurrence_start, at } => {
                self.status = CampaignStatus::Running;
                self.occurrence_start = Some(occurrence_start);
                self.started_at = Some(at);
            }
            CampaignEvent::AudienceExpanded { cursor, queued, skipped, complete, .. } => {
                self.cursor = cursor.or(self.cursor);
                self.queued += queued;
                self.skipped += skipped;
                self.expanded = complete;
            }
            CampaignEvent::Paused { reason, .. } => {
                self.paused_from = Some(self.status);
                self.status = CampaignStatus::Paused;
                self.status_reason = reason;
            }
            CampaignEvent::Resumed { .. } => {
                self.status = self.paused_from.take().unwrap_or(CampaignStatus::Running);
                self.status_reason = None;
                self.ended_at = None;
            }
            CampaignEvent::Completed { at } => {
                self.status = CampaignStatus::Completed;
                self.status_reason = None;
                self.ended_at = Some(at);
            }
            CampaignEvent::Cancelled { reason, at } => {
                self.status = CampaignStatus::Cancelled;
                self.status_reason = reason;
                self.ended_at = Some(at);
            }
        }
    }
}

/// When the first occurrence begins that is not over.
fn next_start(
    schedule: &CampaignSchedule,
    at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, ScheduleError> {
    let next = schedule.next_occurrence(None, at)?;
    next.map(|occurrence| schedule.begins_at(occurrence)).transpose()
}

fn invalid(field: &'static str, problem: &str) -> CampaignError {
    CampaignError::Invalid { field, problem: problem.to_owned() }
}

fn invalid_schedule(error: &ScheduleError) -> CampaignError {
    let field = match error {
        ScheduleError::TimeZone => "schedule.timeZone",
        ScheduleError::EmptyWindow => "schedule.sendWindow",
        ScheduleError::Recurrence(_) => "schedule.recurrence",
    };
    invalid(field, &error.to_string())
}

fn check_plan(plan: &CampaignPlan) -> Result<(), CampaignError> {
    if plan.name.trim().is_empty() || plan.name.chars().count() > MAX_NAME_CHARS {
        return Err(invalid("name", "use 1 to 200 characters"));
    }
    check_audience(&plan.audience, 0)?;
    if let Some(schedule) = &plan.schedule {
        schedule.check().map_err(|error| invalid_schedule(&error))?;
    }
    if plan.messages_per_second.is_some_and(|n| !(1..=MAX_MESSAGES_PER_SECOND).contains(&n)) {
        return Err(invalid("messagesPerSecond", "use 1 to 1,000,000"));
    }
    if plan.frequency_cap.is_some_and(|cap| {
        !(1..=1_000).contains(&cap.messages) || !(1..=8_784).contains(&cap.hours)
    }) {
        return Err(invalid(
            "frequencyCap",
            "use 1 to 1,000 messages in 1 to 8,784 hours (a year)",
        ));
    }
    if plan.time_to_live_s.is_some_and(|ttl| !(1..=MAX_TIME_TO_LIVE_S).contains(&ttl)) {
        return Err(invalid("timeToLive", "use 1 to 2,592,000 seconds (thirty days)"));
    }
    Ok(())
}

fn check_audience(audience: &Audience, depth: usize) -> Result<(), CampaignError> {
    if audience.is_empty() {
        return Err(invalid(
            "audience",
            "names nobody; give segments, contacts or tags, or all: true for everyone",
        ));
    }
    if audience.contact_ids.len() > MAX_AUDIENCE_IDS
        || audience.tags.len() + audience.segment_ids.len() > 1_000
    {
        return Err(invalid(
            "audience",
            "at most 10,000 contacts and 1,000 segments and tags; use a segment or a tag",
        ));
    }
    match &audience.exclude {
        Some(_) if depth >= 3 => Err(invalid("audience", "exclude may be nested three deep")),
        Some(exclude) => check_audience(exclude, depth + 1),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn at(minute: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 26, 9, minute, 0).unwrap()
    }

    fn in_status(status: CampaignStatus) -> Campaign {
        let workspace_id = Some(WorkspaceId(Uuid::from_u128(1)));
        let ended_at = (status == CampaignStatus::Completed).then(|| at(5));
        Campaign { workspace_id, status, ended_at, expanded: true, ..Campaign::default() }
    }

    #[test]
    fn a_completed_campaign_that_is_tried_again_can_be_paused_cancelled_and_completed() {
        let mut campaign = in_status(CampaignStatus::Completed);
        for event in campaign.decide(CampaignCommand::Reopen { at: at(9) }).unwrap() {
            campaign.fold(event);
        }
        assert_eq!((campaign.status, campaign.ended_at), (CampaignStatus::Running, None));
        for command in [
            CampaignCommand::Pause { reason: None, at: at(10) },
            CampaignCommand::Cancel { reason: None, at: at(10) },
            CampaignCommand::Complete { at: at(10) },
        ] {
            assert_eq!(campaign.decide(command).unwrap().len(), 1);
        }
    }

    #[test]
    fn what_runs_or_is_paused_stays_so_and_what_was_cancelled_is_not_tried_again() {
        let reopen = || CampaignCommand::Reopen { at: at(9) };
        for status in [CampaignStatus::Running, CampaignStatus::Paused] {
            assert_eq!(in_status(status).decide(reopen()), Ok(vec![]));
        }
        for status in [CampaignStatus::Draft, CampaignStatus::Scheduled, CampaignStatus::Cancelled]
        {
            let refused = CampaignError::NotAllowed { action: "tried again", status };
            assert_eq!(in_status(status).decide(reopen()), Err(refused));
        }
    }
}
