//! The template's state and decisions.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::components::{ComponentsError, TemplateComponents};
use super::event::{Quality, TemplateCategory, TemplateEvent, TemplateStatus};
use crate::port::AggregateType;
use crate::primitives::{AccountId, WorkspaceId};
use crate::{DomainError, GatewayAggregate, Identity, aggregate};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    pub name: String,
    pub language: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<TemplateCategory>,
    pub status: TemplateStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    pub components: Value,
    pub quality: Quality,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whatsapp_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}

/// A template as it exists at WhatsApp.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatsappTemplate {
    pub whatsapp_id: String,
    pub name: String,
    pub language: String,
    pub category: TemplateCategory,
    pub status: TemplateStatus,
    pub status_reason: Option<String>,
    pub components: Value,
    pub quality: Quality,
}

#[derive(Clone, Debug)]
pub enum TemplateCommand {
    Draft {
        workspace_id: WorkspaceId,
        account_id: AccountId,
        name: String,
        language: String,
        category: TemplateCategory,
        components: Value,
        at: DateTime<Utc>,
    },
    /// Left out: unchanged.
    Update {
        category: Option<TemplateCategory>,
        components: Option<Value>,
        at: DateTime<Utc>,
    },
    /// WhatsApp has taken it for review.
    RecordSubmitted {
        whatsapp_id: Option<String>,
        at: DateTime<Utc>,
    },
    /// WhatsApp's verdict.
    RecordVerdict {
        status: TemplateStatus,
        reason: Option<String>,
        at: DateTime<Utc>,
    },
    RecordCategory {
        category: TemplateCategory,
        at: DateTime<Utc>,
    },
    RecordQuality {
        quality: Quality,
        at: DateTime<Utc>,
    },
    /// What WhatsApp lists: brings in a new one, or whatever changed.
    Sync {
        workspace_id: WorkspaceId,
        account_id: AccountId,
        template: Box<WhatsappTemplate>,
        at: DateTime<Utc>,
    },
    Delete {
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("there is no such template")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: String, problem: String },
    #[error("a template in status {} cannot be {action}", status.as_str())]
    NotAllowed { action: &'static str, status: TemplateStatus },
}

impl DomainError for TemplateError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "TEMPLATE_INVALID",
            Self::NotAllowed { .. } => "TEMPLATE_STATUS",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } => Some(field.clone()),
            Self::NotFound | Self::NotAllowed { .. } => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::NotAllowed { .. })
    }
}

impl From<ComponentsError> for TemplateError {
    fn from(error: ComponentsError) -> Self {
        Self::Invalid { field: error.field, problem: error.problem }
    }
}

aggregate!(Template, TemplateCommand, TemplateEvent, TemplateError, "template");

impl GatewayAggregate for Template {
    const AGGREGATE_TYPE: AggregateType = AggregateType::Template;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.workspace_id
    }

    fn account_id(&self) -> Option<AccountId> {
        self.account_id
    }

    fn identities(&self) -> BTreeSet<Identity> {
        match (self.workspace_id, self.account_id) {
            (Some(workspace), Some(account)) if self.status != TemplateStatus::Deleted => {
                let key = format!("{account}/{}/{}", self.name, self.language);
                BTreeSet::from([Identity::new(workspace.0, Identity::TEMPLATE, key)])
            }
            _ => BTreeSet::new(),
        }
    }

    fn decide(&self, command: TemplateCommand) -> Result<Vec<TemplateEvent>, TemplateError> {
        match command {
            TemplateCommand::Draft {
                workspace_id,
                account_id,
                name,
                language,
                category,
                components,
                at,
            } => {
                if self.workspace_id.is_some() {
                    return Ok(vec![]);
                }
                check_name(&name)?;
                check_language(&language)?;
                TemplateComponents::parse(&components)?.check(category)?;
                let whatsapp_id = None;
                Ok(vec![TemplateEvent::Drafted {
                    workspace_id,
                    account_id,
                    name,
                    language,
                    category,
                    components,
                    whatsapp_id,
                    at,
                }])
            }
            TemplateCommand::Update { category, components, at } => {
                self.update(category, components, at)
            }
            TemplateCommand::RecordSubmitted { whatsapp_id, at } => {
                self.require(
                    &[
                        TemplateStatus::Draft,
                        TemplateStatus::Rejected,
                        TemplateStatus::Approved,
                        TemplateStatus::Paused,
                    ],
                    "submitted",
                )?;
                Ok(vec![TemplateEvent::Submitted { whatsapp_id, at }])
            }
            TemplateCommand::RecordVerdict { status, reason, at } => {
                self.verdict(status, reason, at)
            }
            TemplateCommand::RecordCategory { category, at } => {
                self.require_existing()?;
                Ok(if self.category == Some(category) {
                    vec![]
                } else {
                    vec![TemplateEvent::CategoryChanged { category, at }]
                })
            }
            TemplateCommand::RecordQuality { quality, at } => {
                self.require_existing()?;
                Ok(if self.quality == quality {
                    vec![]
                } else {
                    vec![TemplateEvent::QualityChanged { quality, at }]
                })
            }
            TemplateCommand::Sync { workspace_id, account_id, template, at } => {
                self.sync(workspace_id, account_id, *template, at)
            }
            TemplateCommand::Delete { at } => {
                if self.status == TemplateStatus::Deleted {
                    return Ok(vec![]);
                }
                self.require_existing()?;
                Ok(vec![TemplateEvent::Deleted { at }])
            }
        }
    }
}

type Decision = Result<Vec<TemplateEvent>, TemplateError>;

impl Template {
    /// WhatsApp takes sends with it.
    pub fn is_sendable(&self) -> bool {
        self.status == TemplateStatus::Approved
    }

    /// # Errors
    /// [`ComponentsError`] where the components are none WhatsApp would have; cannot happen to a stored template that
    /// came through a command.
    pub fn parsed(&self) -> Result<TemplateComponents, ComponentsError> {
        TemplateComponents::parse(&self.components)
    }

    fn require_existing(&self) -> Result<(), TemplateError> {
        if self.workspace_id.is_none() || self.status == TemplateStatus::Deleted {
            return Err(TemplateError::NotFound);
        }
        Ok(())
    }

    fn require(
        &self,
        allowed: &[TemplateStatus],
        action: &'static str,
    ) -> Result<(), TemplateError> {
        self.require_existing()?;
        if allowed.contains(&self.status) {
            Ok(())
        } else {
            Err(TemplateError::NotAllowed { action, status: self.status })
        }
    }

    fn update(
        &self,
        category: Option<TemplateCategory>,
        components: Option<Value>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require(
            &[
                TemplateStatus::Draft,
                TemplateStatus::Rejected,
                TemplateStatus::Approved,
                TemplateStatus::Paused,
            ],
            "edited",
        )?;
        let current = self.category.ok_or(TemplateError::NotFound)?;
        let category = category.unwrap_or(current);
        if category != current && self.status == TemplateStatus::Approved {
            return Err(TemplateError::Invalid {
                field: "category".to_owned(),
                problem: "WhatsApp fixes the category of an approved template; make a new template instead".to_owned(),
            });
        }
        let components = components.unwrap_or_else(|| self.components.clone());
        TemplateComponents::parse(&components)?.check(category)?;
        let is_news = category != current || components != self.components;
        Ok(if is_news { vec![TemplateEvent::Updated { category, components, at }] } else { vec![] })
    }

    fn verdict(
        &self,
        status: TemplateStatus,
        reason: Option<String>,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_existing()?;
        if status == self.status && reason == self.status_reason {
            return Ok(vec![]);
        }
        let reason = reason.unwrap_or_else(|| "WhatsApp gave no reason".to_owned());
        Ok(match status {
            TemplateStatus::Approved if self.status != TemplateStatus::Approved => {
                vec![TemplateEvent::Approved { at }]
            }
            TemplateStatus::Rejected => vec![TemplateEvent::Rejected { reason, at }],
            TemplateStatus::Paused => vec![TemplateEvent::Paused { reason, at }],
            TemplateStatus::Disabled => vec![TemplateEvent::Disabled { reason, at }],
            TemplateStatus::Deleted => vec![TemplateEvent::Deleted { at }],
            TemplateStatus::Pending if self.status == TemplateStatus::Draft => {
                vec![TemplateEvent::Submitted { whatsapp_id: None, at }]
            }
            TemplateStatus::Approved | TemplateStatus::Pending | TemplateStatus::Draft => vec![],
        })
    }

    fn sync(
        &self,
        workspace_id: WorkspaceId,
        account_id: AccountId,
        template: WhatsappTemplate,
        at: DateTime<Utc>,
    ) -> Decision {
        let mut state = self.clone();
        let mut events = vec![];
        let mut push = |state: &mut Self, event: TemplateEvent| {
            state.fold(event.clone());
            events.push(event);
        };
        if state.workspace_id.is_none() {
            push(
                &mut state,
                TemplateEvent::Drafted {
                    workspace_id,
                    account_id,
                    name: template.name,
                    language: template.language,
                    category: template.category,
                    components: template.components.clone(),
                    whatsapp_id: Some(template.whatsapp_id.clone()),
                    at,
                },
            );
        } else if state.components != template.components && state.status != TemplateStatus::Draft {
            push(
                &mut state,
                TemplateEvent::Updated {
                    category: template.category,
                    components: template.components.clone(),
                    at,
                },
            );
        }
        if state.whatsapp_id.as_ref() != Some(&template.whatsapp_id)
            || (state.status == TemplateStatus::Draft && template.status != TemplateStatus::Draft)
        {
            push(
                &mut state,
                TemplateEvent::Submitted { whatsapp_id: Some(template.whatsapp_id), at },
            );
        }
        if state.category != Some(template.category) {
            push(&mut state, TemplateEvent::CategoryChanged { category: template.category, at });
        }
        for event in state.verdict(template.status, template.status_reason, at)? {
            push(&mut state, event);
        }
        if state.quality != template.quality {
            push(&mut state, TemplateEvent::QualityChanged { quality: template.quality, at });
        }
        Ok(events)
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: TemplateEvent) {
        match event {
            TemplateEvent::Drafted {
                workspace_id,
                account_id,
                name,
                language,
                category,
                components,
                whatsapp_id,
                at,
            } => {
                *self = Self {
                    workspace_id: Some(workspace_id),
                    account_id: Some(account_id),
                    name,
                    language,
                    category: Some(category),
                    components,
                    whatsapp_id,
                    created_at: Some(at),
                    ..Self::default()
                };
            }
            TemplateEvent::Updated { category, components, .. } => {
                self.category = Some(category);
                self.components = components;
            }
            TemplateEvent::Submitted { whatsapp_id, .. } => {
                self.set_status(TemplateStatus::Pending, None);
                if whatsapp_id.is_some() {
                    self.whatsapp_id = whatsapp_id;
                }
            }
            TemplateEvent::Approved { .. } => self.set_status(TemplateStatus::Approved, None),
            TemplateEvent::Rejected { reason, .. } => {
                self.set_status(TemplateStatus::Rejected, Some(reason))
            }
            TemplateEvent::Paused { reason, .. } => {
                self.set_status(TemplateStatus::Paused, Some(reason))
            }
            TemplateEvent::Disabled { reason, .. } => {
                self.set_status(TemplateStatus::Disabled, Some(reason))
            }
            TemplateEvent::CategoryChanged { category, .. } => self.category = Some(category),
            TemplateEvent::QualityChanged { quality, .. } => self.quality = quality,
            TemplateEvent::Deleted { .. } => self.set_status(TemplateStatus::Deleted, None),
        }
    }

    fn set_status(&mut self, status: TemplateStatus, reason: Option<String>) {
        self.status = status;
        self.status_reason = reason;
    }
}

fn invalid(field: &str, problem: &str) -> TemplateError {
    TemplateError::Invalid { field: field.to_owned(), problem: problem.to_owned() }
}

/// Meta: at most 512 lower-case letters, digits and underscores.
fn check_name(name: &str) -> Result<(), TemplateError> {
    let is_one = (1..=512).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if is_one {
        Ok(())
    } else {
        Err(invalid("name", "use 1 to 512 lower-case letters, digits and underscores"))
    }
}

/// `ll` or `ll_CC`; WhatsApp's list grows, so only the form is checked.
fn check_language(language: &str) -> Result<(), TemplateError> {
    let (base, region) =
        language.split_once('_').map_or((language, None), |(base, region)| (base, Some(region)));
    let is_one = (2..=3).contains(&base.len())
        && base.bytes().all(|b| b.is_ascii_lowercase())
        && region.is_none_or(|region| {
            (2..=4).contains(&region.len()) && region.bytes().all(|b| b.is_ascii_alphanumeric())
        });
    if is_one {
        Ok(())
    } else {
        Err(invalid("language", "use a language code such as en, en_GB or pt_BR"))
    }
}
