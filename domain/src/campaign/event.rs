//! Facts about one campaign.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::aggregate::CampaignPlan;
use super::allowance::{Allowance, Hold};
use crate::pricing::Amount;
use crate::primitives::{AccountId, CampaignId, ContactId, Personal, SegmentId, WorkspaceId};

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CampaignStatus {
    #[default]
    Draft,
    Scheduled,
    Running,
    Paused,
    Completed,
    Cancelled,
}

impl CampaignStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Scheduled => "SCHEDULED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// Union of segments, contacts and tags, less `exclude`; everyone is `all`. Frozen when the campaign starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audience {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub segment_ids: BTreeSet<SegmentId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub contact_ids: BTreeSet<ContactId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Box<Audience>>,
}

impl Audience {
    /// It names nobody.
    pub fn is_empty(&self) -> bool {
        !self.all
            && self.segment_ids.is_empty()
            && self.contact_ids.is_empty()
            && self.tags.is_empty()
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// At most this many marketing messages to one person in so many hours, over all campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrequencyCap {
    pub messages: u32,
    pub hours: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum CampaignEvent {
    #[serde(rename = "campaign.drafted")]
    Drafted {
        workspace_id: WorkspaceId,
        campaign_id: CampaignId,
        account_id: AccountId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Personal<Value>>,
        #[serde(flatten)]
        plan: CampaignPlan,
        at: DateTime<Utc>,
    },
    /// The whole plan, as it is from now on.
    #[serde(rename = "campaign.updated")]
    Updated {
        #[serde(flatten)]
        plan: CampaignPlan,
        at: DateTime<Utc>,
    },
    #[serde(rename = "campaign.deleted")]
    Deleted { at: DateTime<Utc> },
    /// Somebody launched it, and it is so large that another has to say yes. It stays a draft until then; a changed plan
    /// needs a new request.
    #[serde(rename = "campaign.approval_requested")]
    ApprovalRequested {
        /// Who asked (`api_key:<id>`), and cannot be the one who says yes.
        by: String,
        /// People in the audience when they asked.
        recipients: u64,
        /// What the workspace allows one person alone.
        threshold: u32,
        /// More people than that are not to be written to, as whoever asked said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_recipients: Option<u64>,
        /// It is not to cost more than that, in the rate card's currency, as whoever asked said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_cost: Option<Amount>,
        at: DateTime<Utc>,
    },
    /// Another said yes; it starts, is scheduled, or goes on with this.
    #[serde(rename = "campaign.approved")]
    Approved {
        by: String,
        /// The yes covers occurrences of up to so many people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipients: Option<u64>,
        at: DateTime<Utc>,
    },
    /// Launched, to start later, or back from one occurrence to wait for the next: the schedule says when, `start_at`
    /// is what that means by what is known now.
    #[serde(rename = "campaign.scheduled")]
    Scheduled {
        start_at: DateTime<Utc>,
        /// The occurrence's time on the schedule's clock, or on each recipient's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<NaiveDateTime>,
        /// What the launch allows; only at the launch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowance: Option<Allowance>,
        at: DateTime<Utc>,
    },
    /// An occurrence began, the only one or one of several. Contacts added to the log after this event are out of it.
    #[serde(rename = "campaign.started")]
    Started {
        /// When it was meant to start; with the contact's id it makes the messages' ids.
        occurrence_start: DateTime<Utc>,
        /// The occurrence's time on the schedule's clock, or on each recipient's. `None`: started without a schedule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<NaiveDateTime>,
        /// Earlier occurrences that were passed over, because this one had begun before they could start.
        #[serde(default, skip_serializing_if = "is_zero")]
        missed: u32,
        /// What the launch allows; only at a launch that starts it at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowance: Option<Allowance>,
        at: DateTime<Utc>,
    },
    /// One chunk of the audience was judged, frozen and turned into messages, in the same append.
    #[serde(rename = "campaign.audience_expanded")]
    AudienceExpanded {
        /// The last contact of the chunk; the next one begins behind it. `None` where the chunk was empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<ContactId>,
        queued: u64,
        skipped: u64,
        /// This was the last chunk.
        complete: bool,
        at: DateTime<Utc>,
    },
    #[serde(rename = "campaign.paused")]
    Paused {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The occurrence that has just started is more than was allowed, and waits for somebody's yes. `None`: somebody
        /// paused it, or it cannot go on as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<Hold>,
        at: DateTime<Utc>,
    },
    /// It goes on after a pause, or runs once more for those who are tried again.
    #[serde(rename = "campaign.resumed")]
    Resumed {
        /// Somebody said yes to an occurrence that was held, with up to so many people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowed_recipients: Option<u64>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "campaign.completed")]
    Completed { at: DateTime<Utc> },
    #[serde(rename = "campaign.cancelled")]
    Cancelled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        at: DateTime<Utc>,
    },
}

crate::events!(CampaignEvent {
    Drafted => "campaign.drafted" v 1,
    Updated => "campaign.updated" v 1,
    Deleted => "campaign.deleted" v 1,
    ApprovalRequested => "campaign.approval_requested" v 1,
    Approved => "campaign.approved" v 1,
    Scheduled => "campaign.scheduled" v 1,
    Started => "campaign.started" v 1,
    AudienceExpanded => "campaign.audience_expanded" v 1,
    Paused => "campaign.paused" v 1,
    Resumed => "campaign.resumed" v 1,
    Completed => "campaign.completed" v 1,
    Cancelled => "campaign.cancelled" v 1,
});
