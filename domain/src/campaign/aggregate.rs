//! The campaign's state and decisions.

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::allowance::{Allowance, Hold, covered};
use super::event::{Audience, CampaignEvent, CampaignStatus, FrequencyCap};
use super::schedule::{CampaignSchedule, Occurrence, ScheduleError};
use crate::port::AggregateType;
use crate::pricing::Amount;
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
    /// The local time of the occurrence that a scheduled one waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_local: Option<NaiveDateTime>,
    /// When the latest occurrence was meant to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurrence_start: Option<DateTime<Utc>>,
    /// The latest occurrence's local time; `None` where it started without a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurrence_local: Option<NaiveDateTime>,
    /// When the latest occurrence started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<ContactId>,
    /// Everybody of the latest occurrence was judged.
    pub expanded: bool,
    /// Of the latest occurrence.
    pub queued: u64,
    /// Of the latest occurrence.
    pub skipped: u64,
    /// Launched, and waiting for another to say yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What its launch allowed; see [`Campaign::allowed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<Allowance>,
    /// Why its latest occurrence waits for somebody's yes, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Somebody said yes to its latest occurrence with up to so many people, whatever the launch allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<u64>,
}

/// Who asked for a second person's yes, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub requested_by: String,
    pub recipients: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_recipients: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<Amount>,
    /// Who said yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

/// What its owner decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
        allowance: Allowance,
        at: DateTime<Utc>,
    },
    /// Launched by one who may not launch so many alone: another has to say yes.
    RequestApproval {
        by: String,
        recipients: u64,
        threshold: u32,
        max_recipients: Option<u64>,
        max_cost: Option<Amount>,
        at: DateTime<Utc>,
    },
    /// Says yes, and starts it as [`CampaignCommand::Launch`] does, or lets the occurrence go on that is held.
    Approve {
        by: String,
        /// People in the audience of one that was not launched yet, where they were counted.
        recipients: Option<u64>,
        at: DateTime<Utc>,
    },
    /// The time of an occurrence has come: the scheduled one, or the next one while an earlier one still has messages
    /// waiting. Of several whose time has come the latest starts.
    Start {
        at: DateTime<Utc>,
    },
    /// When a scheduled one starts is asked of its schedule again: a time zone's rules may have changed.
    Retime {
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
        /// The occurrence that has just started is more than was allowed.
        hold: Option<Hold>,
        at: DateTime<Utc>,
    },
    /// Goes on, also with an occurrence that is held, unless that takes another key's yes.
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
    /// Nobody of the occurrence waits any more: it waits for the next one, or is completed.
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
    #[error(
        "nobody asked for an approval; launch the campaign, and where it needs one that asks for it"
    )]
    NotRequested,
    #[error(
        "whoever launched the campaign cannot approve it too; use approveCampaign with another key"
    )]
    OwnRequest,
    #[error(
        "the campaign was approved as it is and cannot be changed any more; cancel it, clone it and launch the clone"
    )]
    ApprovedAsItIs,
    #[error(
        "the audience is larger than one key may send to alone; another key lets the campaign go on with approveCampaign"
    )]
    NeedsApproval,
    #[error(
        "the audience has grown from {asked} to {recipients} people since the approval was asked for; launch the campaign \
         again, which asks for it anew"
    )]
    GrownSince { asked: u64, recipients: u64 },
    #[error("the audience was expanded from elsewhere meanwhile")]
    CursorMoved,
}

impl DomainError for CampaignError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "CAMPAIGN_INVALID",
            Self::NotAllowed { .. } => "CAMPAIGN_STATUS",
            Self::NotRequested => "APPROVAL_NOT_REQUESTED",
            Self::OwnRequest => "APPROVAL_OF_ONES_OWN",
            Self::ApprovedAsItIs => "CAMPAIGN_APPROVED",
            Self::NeedsApproval => "APPROVAL_NEEDED",
            Self::GrownSince { .. } => "AUDIENCE_GROWN",
            Self::CursorMoved => "CURSOR_MOVED",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some((*field).to_owned()),
            Self::NotFound
            | Self::NotAllowed { .. }
            | Self::NotRequested
            | Self::OwnRequest
            | Self::ApprovedAsItIs
            | Self::NeedsApproval
            | Self::GrownSince { .. }
            | Self::CursorMoved => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::NotAllowed { .. }
                | Self::NotRequested
                | Self::OwnRequest
                | Self::ApprovedAsItIs
                | Self::NeedsApproval
                | Self::GrownSince { .. }
                | Self::CursorMoved
        )
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
                let is_approved = self.approval.as_ref().is_some_and(|a| a.approved_by.is_some());
                if is_approved && self.plan.as_ref() != Some(&*plan) {
                    return Err(CampaignError::ApprovedAsItIs);
                }
                self.update(*plan, at)
            }
            CampaignCommand::Delete { at } => {
                if self.deleted {
                    return Ok(vec![]);
                }
                self.require(&[CampaignStatus::Draft], "deleted")?;
                Ok(vec![CampaignEvent::Deleted { at }])
            }
            CampaignCommand::Launch { allowance, at } => self.launch(allowance, at),
            CampaignCommand::RequestApproval {
                by,
                recipients,
                threshold,
                max_recipients,
                max_cost,
                at,
            } => {
                self.require(&[CampaignStatus::Draft], "launched")?;
                // Whoever asks again for the same asks for nothing new.
                let is_known = self.approval.as_ref().is_some_and(|known| {
                    known.requested_by == by
                        && known.recipients == recipients
                        && known.max_recipients == max_recipients
                        && known.max_cost == max_cost
                });
                // What cannot be launched needs nobody's yes.
                self.launch(Allowance::default(), at)?;
                Ok(if is_known {
                    vec![]
                } else {
                    vec![CampaignEvent::ApprovalRequested {
                        by,
                        recipients,
                        threshold,
                        max_recipients,
                        max_cost,
                        at,
                    }]
                })
            }
            CampaignCommand::Approve { by, recipients, at } => self.approve(by, recipients, at),
            CampaignCommand::Start { at } => self.start(at),
            CampaignCommand::Retime { at } => self.retime(at),
            CampaignCommand::RecordExpansion { from, cursor, queued, skipped, complete, at } => {
                self.require(&[CampaignStatus::Running], "expanded")?;
                if self.expanded || from != self.cursor {
                    return Err(CampaignError::CursorMoved);
                }
                Ok(vec![CampaignEvent::AudienceExpanded { cursor, queued, skipped, complete, at }])
            }
            CampaignCommand::Pause { reason, hold, at } => {
                // A person's pause stays until a person ends it; a hold ends with the next occurrence too.
                let is_news = self.hold.is_some() && hold.is_none();
                if self.status == CampaignStatus::Paused && !is_news {
                    return Ok(vec![]);
                }
                if !is_news {
                    self.require(&[CampaignStatus::Scheduled, CampaignStatus::Running], "paused")?;
                }
                Ok(vec![CampaignEvent::Paused { reason, hold, at }])
            }
            CampaignCommand::Resume { at } => {
                if matches!(self.status, CampaignStatus::Running | CampaignStatus::Scheduled) {
                    return Ok(vec![]);
                }
                self.require(&[CampaignStatus::Paused], "resumed")?;
                if self.hold.is_some_and(|hold| hold.needs_approval) {
                    return Err(CampaignError::NeedsApproval);
                }
                let allowed_recipients = self.hold.map(|hold| covered(hold.recipients));
                Ok(vec![CampaignEvent::Resumed { allowed_recipients, at }])
            }
            CampaignCommand::Reopen { at } => {
                if matches!(self.status, CampaignStatus::Running | CampaignStatus::Paused) {
                    return Ok(vec![]);
                }
                // One that waits for its next occurrence has had one.
                let may_wait = self.status == CampaignStatus::Scheduled && self.has_started();
                if !may_wait {
                    self.require(&[CampaignStatus::Completed], "tried again")?;
                }
                Ok(vec![CampaignEvent::Resumed { allowed_recipients: None, at }])
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
            CampaignCommand::Complete { at } => self.complete(at),
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

    /// At least one occurrence has begun.
    pub fn has_started(&self) -> bool {
        self.occurrence_start.is_some()
    }

    /// Its messages may leave, as far as its status goes. Between two occurrences something of the last may be due again,
    /// by somebody's word.
    pub fn may_send(&self) -> bool {
        match self.status {
            CampaignStatus::Running | CampaignStatus::Completed => true,
            CampaignStatus::Scheduled => self.has_started(),
            CampaignStatus::Draft | CampaignStatus::Paused | CampaignStatus::Cancelled => false,
        }
    }

    /// Its schedule's zone, in which whoever has no zone of their own is taken to live. `None` without a schedule.
    pub fn zone(&self) -> Option<Tz> {
        self.plan.as_ref()?.schedule.as_ref()?.zone().ok()
    }

    /// The occurrences that are still to come after the latest, with the instants at which they begin. None for what
    /// comes once, and for what can no longer be read: that is over rather than stuck.
    pub fn following(&self) -> Vec<(Occurrence, DateTime<Utc>)> {
        let schedule = self.plan.as_ref().and_then(|plan| plan.schedule.as_ref());
        let latest = self.occurrence_local.zip(self.occurrence_start);
        match schedule.filter(|schedule| schedule.recurrence.is_some()).zip(latest) {
            Some((schedule, (local, began_at))) => {
                schedule.following(local, began_at).unwrap_or_default()
            }
            None => vec![],
        }
    }

    /// Of the occurrences whose time has come by `at` the latest, and how many earlier ones it passes over.
    fn begun(&self, at: DateTime<Utc>) -> Option<(Option<NaiveDateTime>, DateTime<Utc>, u32)> {
        let schedule = self.plan.as_ref().and_then(|plan| plan.schedule.as_ref());
        let scheduled = (self.status == CampaignStatus::Scheduled)
            .then_some(self.start_at)
            .flatten()
            .filter(|start_at| *start_at <= at)
            .map(|start_at| (self.next_local, start_at));
        let later = match scheduled {
            Some((Some(local), start_at)) => schedule
                .filter(|schedule| schedule.recurrence.is_some())
                .and_then(|schedule| schedule.following(local, start_at).ok())
                .unwrap_or_default(),
            Some((None, _)) => vec![],
            None if self.status == CampaignStatus::Running || self.is_held() => self.following(),
            None => vec![],
        };
        let later = later
            .into_iter()
            .take_while(|(_, begins_at)| *begins_at <= at)
            .map(|(occurrence, begins_at)| (Some(occurrence.local), begins_at));
        let begun: Vec<_> = scheduled.into_iter().chain(later).collect();
        let missed = u32::try_from(begun.len().saturating_sub(1)).unwrap_or(u32::MAX);
        begun.last().map(|(local, begins_at)| (*local, *begins_at, missed))
    }

    /// Its latest occurrence waits for somebody's yes. The next one does not wait for that: it is asked for itself.
    pub fn is_held(&self) -> bool {
        self.status == CampaignStatus::Paused && self.hold.is_some()
    }

    /// Whether an occurrence has to start by now.
    pub fn is_due(&self, at: DateTime<Utc>) -> bool {
        match self.status {
            CampaignStatus::Scheduled => self.start_at.is_some_and(|start_at| start_at <= at),
            // Everybody of the one before is judged first, so that nobody of it is forgotten.
            CampaignStatus::Running => {
                self.expanded && self.following().first().is_some_and(|(_, start)| *start <= at)
            }
            CampaignStatus::Paused => {
                self.is_held() && self.following().first().is_some_and(|(_, start)| *start <= at)
            }
            _ => false,
        }
    }

    fn start(&self, at: DateTime<Utc>) -> Result<Vec<CampaignEvent>, CampaignError> {
        if !self.is_held() {
            self.require(&[CampaignStatus::Scheduled, CampaignStatus::Running], "started")?;
        }
        if !self.is_due(at) {
            // Whoever was faster has started it, or it was put off.
            return Ok(vec![]);
        }
        let begun = self.begun(at);
        Ok(begun
            .map(|(local, occurrence_start, missed)| CampaignEvent::Started {
                occurrence_start,
                local,
                missed,
                allowance: None,
                at,
            })
            .into_iter()
            .collect())
    }

    fn retime(&self, at: DateTime<Utc>) -> Result<Vec<CampaignEvent>, CampaignError> {
        if self.status != CampaignStatus::Scheduled {
            return Ok(vec![]);
        }
        let schedule = self.plan.as_ref().and_then(|plan| plan.schedule.as_ref());
        let Some((schedule, local)) = schedule.zip(self.next_local) else { return Ok(vec![]) };
        let start_at = schedule
            .begins_at(Occurrence { index: 0, local })
            .map_err(|error| invalid_schedule(&error))?;
        Ok(if self.start_at == Some(start_at) {
            vec![]
        } else {
            vec![CampaignEvent::Scheduled { start_at, local: Some(local), allowance: None, at }]
        })
    }

    fn complete(&self, at: DateTime<Utc>) -> Result<Vec<CampaignEvent>, CampaignError> {
        // Done before: one that waits for its next occurrence is as done as one that has none.
        let is_waiting = self.status == CampaignStatus::Scheduled && self.has_started();
        if is_waiting || self.status == CampaignStatus::Completed {
            return Ok(vec![]);
        }
        self.require(&[CampaignStatus::Running], "completed")?;
        if !self.expanded {
            return Err(CampaignError::NotAllowed { action: "completed", status: self.status });
        }
        Ok(vec![match self.following().first() {
            Some((next, start_at)) => {
                let (start_at, local) = (*start_at, Some(next.local));
                CampaignEvent::Scheduled { start_at, local, allowance: None, at }
            }
            None => CampaignEvent::Completed { at },
        }])
    }

    fn update(
        &self,
        plan: CampaignPlan,
        at: DateTime<Utc>,
    ) -> Result<Vec<CampaignEvent>, CampaignError> {
        if self.plan.as_ref() == Some(&plan) {
            return Ok(vec![]);
        }
        let known = self.plan.as_ref().and_then(|plan| plan.schedule.as_ref());
        let changed = plan.schedule.as_ref().filter(|schedule| Some(*schedule) != known);
        // One whose schedule stays or is taken away keeps its start, also where that lies in the past: then it starts
        // at once.
        let reschedule = match changed {
            Some(schedule) if self.status == CampaignStatus::Scheduled => {
                Some(self.next_start(schedule, at)?)
            }
            _ => None,
        };
        let reschedule = reschedule.filter(|(local, start_at)| {
            Some(*start_at) != self.start_at || *local != self.next_local
        });
        let mut events = vec![CampaignEvent::Updated { plan, at }];
        events.extend(reschedule.map(|(local, start_at)| CampaignEvent::Scheduled {
            start_at,
            local,
            allowance: None,
            at,
        }));
        Ok(events)
    }

    /// The next occurrence by a schedule, as of `at`: behind those that have been, and of the others the first that is
    /// not over.
    fn next_start(
        &self,
        schedule: &CampaignSchedule,
        at: DateTime<Utc>,
    ) -> Result<(Option<NaiveDateTime>, DateTime<Utc>), CampaignError> {
        let refused = |error: ScheduleError| invalid_schedule(&error);
        let latest = self.occurrence_local.map(|local| Occurrence { index: 0, local });
        let mut next = schedule.next_occurrence(latest, at).map_err(refused)?;
        if let Some((local, began_at)) = self.occurrence_local.zip(self.occurrence_start) {
            let following = schedule.following(local, began_at).map_err(refused)?;
            next = next.and_then(|next| {
                following.into_iter().map(|(later, _)| later).find(|later| *later >= next)
            });
        }
        let Some(next) = next else {
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
        let start_at = schedule.begins_at(next).map_err(refused)?;
        Ok((Some(next.local), start_at))
    }

    /// Launched, or started and held, and waiting for another to say yes.
    pub fn awaits_approval(&self) -> bool {
        let is_open = |approval: &Approval| approval.approved_by.is_none();
        match self.status {
            CampaignStatus::Draft => self.approval.as_ref().is_some_and(is_open),
            CampaignStatus::Paused => self.hold.is_some_and(|hold| hold.needs_approval),
            _ => false,
        }
    }

    fn approve(
        &self,
        by: String,
        recipients: Option<u64>,
        at: DateTime<Utc>,
    ) -> Result<Vec<CampaignEvent>, CampaignError> {
        let is_done = self.approval.as_ref().is_some_and(|a| a.approved_by.as_ref() == Some(&by));
        if is_done && matches!(self.status, CampaignStatus::Scheduled | CampaignStatus::Running) {
            return Ok(vec![]);
        }
        self.require(&[CampaignStatus::Draft, CampaignStatus::Paused], "approved")?;
        if self.status == CampaignStatus::Paused {
            let hold = self.hold.filter(|hold| hold.needs_approval);
            let hold = hold.ok_or(CampaignError::NotRequested)?;
            if self.allowed().by.as_ref() == Some(&by) {
                return Err(CampaignError::OwnRequest);
            }
            let recipients = Some(covered(hold.recipients));
            return Ok(vec![
                CampaignEvent::Approved { by, recipients, at },
                CampaignEvent::Resumed { allowed_recipients: recipients, at },
            ]);
        }
        let request = self.approval.as_ref().ok_or(CampaignError::NotRequested)?;
        if request.requested_by == by {
            return Err(CampaignError::OwnRequest);
        }
        let approved = covered(request.recipients);
        if let Some(recipients) = recipients.filter(|recipients| *recipients > approved) {
            return Err(CampaignError::GrownSince { asked: request.recipients, recipients });
        }
        let allowance = Allowance {
            by: Some(request.requested_by.clone()),
            recipients: recipients.or(Some(request.recipients)),
            max_recipients: request.max_recipients,
            max_cost: request.max_cost,
            approved_recipients: Some(approved),
        };
        let mut events = vec![CampaignEvent::Approved { by, recipients: Some(approved), at }];
        events.extend(self.launch(allowance, at)?);
        Ok(events)
    }

    fn launch(
        &self,
        allowance: Allowance,
        at: DateTime<Utc>,
    ) -> Result<Vec<CampaignEvent>, CampaignError> {
        if matches!(self.status, CampaignStatus::Scheduled | CampaignStatus::Running) {
            return Ok(vec![]);
        }
        self.require(&[CampaignStatus::Draft], "launched")?;
        let plan = self.plan.as_ref().ok_or(CampaignError::NotFound)?;
        let allowance = Some(allowance).filter(|allowance| *allowance != Allowance::default());
        let Some(schedule) = &plan.schedule else {
            return Ok(vec![CampaignEvent::Started {
                occurrence_start: at,
                local: None,
                missed: 0,
                allowance,
                at,
            }]);
        };
        schedule.check().map_err(|error| invalid_schedule(&error))?;
        let (local, start_at) = self.next_start(schedule, at)?;
        Ok(vec![if start_at > at {
            CampaignEvent::Scheduled { start_at, local, allowance, at }
        } else {
            CampaignEvent::Started { occurrence_start: start_at, local, missed: 0, allowance, at }
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
            CampaignEvent::Updated { plan, .. } => {
                self.plan = Some(plan);
                // The yes that was asked for was to another plan.
                if self.approval.take().is_some() {
                    self.status_reason = None;
                }
            }
            CampaignEvent::ApprovalRequested {
                by,
                recipients,
                threshold,
                max_recipients,
                max_cost,
                ..
            } => {
                self.status_reason = Some(format!(
                    "waits for approval: {recipients} people are more than the {threshold} that one key may launch; another \
                     key approves it with approveCampaign"
                ));
                self.approval = Some(Approval {
                    requested_by: by,
                    recipients,
                    max_recipients,
                    max_cost,
                    approved_by: None,
                });
            }
            CampaignEvent::Approved { by, recipients, .. } => {
                self.status_reason = None;
                if let Some(allowance) = &mut self.allowance {
                    allowance.approved_recipients = recipients;
                }
                // Held at its start, and never asked about at its launch: whoever says yes again is told that it is done.
                let approval = self.approval.get_or_insert_with(|| Approval {
                    requested_by: String::new(),
                    recipients: recipients.unwrap_or_default(),
                    max_recipients: None,
                    max_cost: None,
                    approved_by: None,
                });
                approval.approved_by = Some(by);
            }
            CampaignEvent::Deleted { .. } => self.deleted = true,
            CampaignEvent::Scheduled { start_at, local, allowance, .. } => {
                self.status = CampaignStatus::Scheduled;
                self.allowance = allowance.or(self.allowance.take());
                self.start_at = Some(start_at);
                self.next_local = local;
            }
            CampaignEvent::Started { occurrence_start, local, allowance, at, .. } => {
                self.status = CampaignStatus::Running;
                self.status_reason = None;
                self.paused_from = None;
                self.allowance = allowance.or(self.allowance.take());
                // A yes is to one occurrence.
                self.hold = None;
                self.released = None;
                self.occurrence_start = Some(occurrence_start);
                self.occurrence_local = local;
                self.next_local = None;
                self.started_at = Some(at);
                // Every occurrence has an audience of its own.
                self.cursor = None;
                self.expanded = false;
                self.queued = 0;
                self.skipped = 0;
            }
            CampaignEvent::AudienceExpanded { cursor, queued, skipped, complete, .. } => {
                self.cursor = cursor.or(self.cursor);
                self.queued += queued;
                self.skipped += skipped;
                self.expanded = complete;
            }
            CampaignEvent::Paused { reason, hold, .. } => {
                if self.status != CampaignStatus::Paused {
                    self.paused_from = Some(self.status);
                }
                self.status = CampaignStatus::Paused;
                self.status_reason = reason;
                self.hold = hold;
            }
            CampaignEvent::Resumed { allowed_recipients, .. } => {
                self.hold = None;
                self.released = allowed_recipients.or(self.released);
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
                self.hold = None;
                self.status_reason = reason;
                self.ended_at = Some(at);
            }
        }
    }
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
mod tests;
