//! The segment's state and decisions.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rule::{Rule, RuleError};
use crate::port::AggregateType;
use crate::primitives::WorkspaceId;
use crate::{DomainError, GatewayAggregate, Identity, aggregate};

const MAX_NAME_CHARS: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    pub name: String,
    /// As it was given; it parsed when it came in.
    pub rule: Value,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub enum SegmentCommand {
    Create {
        workspace_id: WorkspaceId,
        name: String,
        rule: Value,
        at: DateTime<Utc>,
    },
    /// Left out: unchanged.
    Update {
        name: Option<String>,
        rule: Option<Value>,
        at: DateTime<Utc>,
    },
    Delete {
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum SegmentEvent {
    #[serde(rename = "segment.created")]
    Created { workspace_id: WorkspaceId, name: String, rule: Value, at: DateTime<Utc> },
    /// The whole of what can change, as it is from now on.
    #[serde(rename = "segment.updated")]
    Updated { name: String, rule: Value, at: DateTime<Utc> },
    #[serde(rename = "segment.deleted")]
    Deleted { at: DateTime<Utc> },
}

crate::events!(SegmentEvent {
    Created => "segment.created" v 1,
    Updated => "segment.updated" v 1,
    Deleted => "segment.deleted" v 1,
});

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("there is no such segment")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },
}

impl DomainError for SegmentError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "SEGMENT_INVALID",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some(field.clone()),
            Self::NotFound => None,
        }
    }
}

impl From<RuleError> for SegmentError {
    fn from(error: RuleError) -> Self {
        Self::Invalid { field: error.field, problem: error.problem }
    }
}

aggregate!(Segment, SegmentCommand, SegmentEvent, SegmentError, "segment");

impl GatewayAggregate for Segment {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Segment;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.workspace_id
    }

    fn identities(&self) -> BTreeSet<Identity> {
        match self.workspace_id {
            // Two names that differ in case only would be taken for each other.
            Some(workspace) if !self.deleted => BTreeSet::from([Identity::new(
                workspace.0,
                Identity::SEGMENT_NAME,
                self.name.to_lowercase(),
            )]),
            _ => BTreeSet::new(),
        }
    }

    fn decide(&self, command: SegmentCommand) -> Result<Vec<SegmentEvent>, SegmentError> {
        match command {
            SegmentCommand::Create { workspace_id, name, rule, at } => {
                if self.workspace_id.is_some() {
                    return Ok(vec![]);
                }
                let name = checked_name(&name)?;
                Rule::parse(&rule)?;
                Ok(vec![SegmentEvent::Created { workspace_id, name, rule, at }])
            }
            SegmentCommand::Update { name, rule, at } => {
                self.require_existing()?;
                let name =
                    name.map_or_else(|| Ok(self.name.clone()), |name| checked_name(&name))?;
                let rule = rule.unwrap_or_else(|| self.rule.clone());
                Rule::parse(&rule)?;
                let is_news = name != self.name || rule != self.rule;
                Ok(if is_news { vec![SegmentEvent::Updated { name, rule, at }] } else { vec![] })
            }
            SegmentCommand::Delete { at } => {
                if self.deleted {
                    return Ok(vec![]);
                }
                self.require_existing()?;
                Ok(vec![SegmentEvent::Deleted { at }])
            }
        }
    }
}

impl Segment {
    /// # Errors
    /// [`RuleError`] where the stored rule is none; cannot happen to one that came through a command.
    pub fn parsed(&self) -> Result<Rule, RuleError> {
        Rule::parse(&self.rule)
    }

    fn require_existing(&self) -> Result<(), SegmentError> {
        if self.workspace_id.is_none() || self.deleted {
            Err(SegmentError::NotFound)
        } else {
            Ok(())
        }
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: SegmentEvent) {
        match event {
            SegmentEvent::Created { workspace_id, name, rule, at } => {
                *self = Self {
                    workspace_id: Some(workspace_id),
                    name,
                    rule,
                    deleted: false,
                    created_at: Some(at),
                };
            }
            SegmentEvent::Updated { name, rule, .. } => {
                self.name = name;
                self.rule = rule;
            }
            SegmentEvent::Deleted { .. } => self.deleted = true,
        }
    }
}

fn checked_name(name: &str) -> Result<String, SegmentError> {
    let name = name.trim();
    if (1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
        return Ok(name.to_owned());
    }
    let problem = format!("use 1 to {MAX_NAME_CHARS} characters");
    Err(SegmentError::Invalid { field: "name".to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn create(rule: Value) -> SegmentCommand {
        let workspace_id = WorkspaceId(Uuid::from_u128(1));
        SegmentCommand::Create { workspace_id, name: "VIPs in Köln".to_owned(), rule, at: at(0) }
    }

    fn given(commands: Vec<SegmentCommand>) -> Segment {
        let mut segment = Segment::default();
        for command in commands {
            for event in segment.decide(command).unwrap() {
                segment.fold(event);
            }
        }
        segment
    }

    #[test]
    fn a_segment_is_created_once_and_holds_its_name() {
        let segment = given(vec![create(json!({ "tag": "vip" }))]);
        assert_eq!(segment.decide(create(json!({ "tag": "vip" }))), Ok(vec![]));
        let value = "vips in köln";
        let expected = Identity::new(Uuid::from_u128(1), Identity::SEGMENT_NAME, value);
        assert_eq!(segment.identities(), BTreeSet::from([expected]));
    }

    #[test]
    fn a_rule_that_is_none_is_refused_with_its_path() {
        let error =
            Segment::default().decide(create(json!({ "any": [{ "tga": "vip" }] }))).unwrap_err();
        assert_eq!(error.field().as_deref(), Some("rule.any[0]"));
    }

    #[test]
    fn an_update_that_changes_nothing_is_no_news() {
        let segment = given(vec![create(json!({ "tag": "vip" }))]);
        let update = |rule| SegmentCommand::Update { name: None, rule: Some(rule), at: at(1) };
        assert_eq!(segment.decide(update(json!({ "tag": "vip" }))), Ok(vec![]));
        let name = "VIPs in Köln".to_owned();
        let rule = json!({ "tag": "new" });
        assert_eq!(
            segment.decide(update(rule.clone())),
            Ok(vec![SegmentEvent::Updated { name, rule, at: at(1) }])
        );
    }

    #[test]
    fn a_deleted_segment_frees_its_name_and_takes_no_update() {
        let segment =
            given(vec![create(json!({ "tag": "vip" })), SegmentCommand::Delete { at: at(1) }]);
        assert!(segment.identities().is_empty());
        assert_eq!(segment.decide(SegmentCommand::Delete { at: at(2) }), Ok(vec![]));
        let update =
            SegmentCommand::Update { name: Some("Other".to_owned()), rule: None, at: at(2) };
        assert_eq!(segment.decide(update), Err(SegmentError::NotFound));
    }
}
