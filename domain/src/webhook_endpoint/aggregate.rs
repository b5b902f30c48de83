//! The endpoint's state and decisions.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{PauseReason, Replay, WebhookEndpointEvent as Event};
use crate::port::{AggregateType, Position};
use crate::primitives::{AccountId, WorkspaceId};
use crate::{DomainError, GatewayAggregate, aggregate};

const URL_CHARS_MAX: usize = 2_000;
const TYPES_MAX: usize = 200;
const ACCOUNTS_MAX: usize = 200;
const EVENTS_PER_SECOND_MAX: u32 = 10_000;
/// How long the secret before signs beside the new one.
const SECRET_OVERLAP: Duration = Duration::hours(24);

/// Whether events are sent to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EndpointStatus {
    #[default]
    Active,
    /// Nothing is lost: it goes on where it stood.
    Paused,
    /// It answered 410 Gone. It goes on where it stood once somebody resumes it.
    Disabled,
    Deleted,
}

impl EndpointStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Disabled => "DISABLED",
            Self::Deleted => "DELETED",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WebhookEndpoint {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    pub url: String,
    /// Empty: all types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Empty: every account, and what belongs to none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub account_ids: Vec<AccountId>,
    /// Personal data leaves in the clear.
    #[serde(default)]
    pub include_personal: bool,
    /// Many events in one request.
    #[serde(default)]
    pub batch: bool,
    /// `None`: as many as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
    #[serde(default)]
    pub status: EndpointStatus,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_reason: Option<PauseReason>,
    /// Which secret signs, counted from 1.
    pub secret: u32,
    /// Until then the secret before signs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_until: Option<DateTime<Utc>>,
    /// Where it began to hear.
    pub after: Position,
    /// Under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub struct CreateWebhookEndpoint {
    pub workspace_id: WorkspaceId,
    pub url: String,
    pub types: Vec<String>,
    pub account_ids: Vec<AccountId>,
    pub include_personal: bool,
    pub batch: bool,
    pub events_per_second: Option<u32>,
    pub after: Position,
    pub at: DateTime<Utc>,
}

/// What is to be different; `None`: unchanged.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    pub url: Option<String>,
    pub types: Option<Vec<String>>,
    pub account_ids: Option<Vec<AccountId>>,
    pub batch: Option<bool>,
    pub events_per_second: Option<Option<u32>>,
}

#[derive(Clone, Debug)]
pub enum WebhookEndpointCommand {
    Create(Box<CreateWebhookEndpoint>),
    Update {
        change: EndpointChange,
        at: DateTime<Utc>,
    },
    RotateSecret {
        at: DateTime<Utc>,
    },
    Pause {
        reason: PauseReason,
        at: DateTime<Utc>,
    },
    /// Goes on where it stood, also after 410 Gone.
    Resume {
        at: DateTime<Utc>,
    },
    /// It answered 410 Gone.
    Disable {
        at: DateTime<Utc>,
    },
    /// One that is under way ends.
    Replay {
        replay: Replay,
        at: DateTime<Utc>,
    },
    CompleteReplay {
        id: Uuid,
        at: DateTime<Utc>,
    },
    Delete {
        at: DateTime<Utc>,
    },
    /// One event goes out once more, at once and beside the order of the others.
    Resend {
        position: Position,
        at: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookEndpointError {
    #[error("there is no such webhook endpoint")]
    NotFound,
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error(
        "the endpoint is sent nothing, because it is paused or answered 410 Gone; enable it with updateWebhookEndpoint"
    )]
    NotActive,
}

impl DomainError for WebhookEndpointError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Invalid { .. } => "WEBHOOK_ENDPOINT_INVALID",
            Self::NotActive => "WEBHOOK_ENDPOINT_NOT_ACTIVE",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::NotFound | Self::NotActive => None,
            Self::Invalid { field, .. } => Some((*field).to_owned()),
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::NotActive)
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> WebhookEndpointError {
    WebhookEndpointError::Invalid { field, problem: problem.into() }
}

aggregate!(
    WebhookEndpoint,
    WebhookEndpointCommand,
    Event,
    WebhookEndpointError,
    "webhook_endpoint"
);

impl GatewayAggregate for WebhookEndpoint {
    const AGGREGATE_TYPE: AggregateType = AggregateType::WebhookEndpoint;

    fn workspace_id(&self) -> Option<WorkspaceId> {
        self.workspace_id
    }

    fn decide(&self, command: WebhookEndpointCommand) -> Result<Vec<Event>, WebhookEndpointError> {
        if let WebhookEndpointCommand::Create(create) = command {
            return self.create(*create);
        }
        if self.workspace_id.is_none() {
            return Err(WebhookEndpointError::NotFound);
        }
        if self.status == EndpointStatus::Deleted {
            return match command {
                WebhookEndpointCommand::Delete { .. } => Ok(vec![]),
                _ => Err(WebhookEndpointError::NotFound),
            };
        }
        match command {
            WebhookEndpointCommand::Create(_) => Ok(vec![]),
            WebhookEndpointCommand::Update { change, at } => self.update(change, at),
            WebhookEndpointCommand::RotateSecret { at } => Ok(vec![Event::SecretRotated {
                secret: self.secret + 1,
                previous_until: at + SECRET_OVERLAP,
                at,
            }]),
            WebhookEndpointCommand::Pause { reason, at } => {
                Ok(news(self.status == EndpointStatus::Active, Event::Paused { reason, at }))
            }
            WebhookEndpointCommand::Resume { at } => {
                Ok(news(self.status != EndpointStatus::Active, Event::Resumed { at }))
            }
            WebhookEndpointCommand::Disable { at } => {
                Ok(news(self.status == EndpointStatus::Active, Event::Disabled { at }))
            }
            WebhookEndpointCommand::Replay { replay, at } => {
                check_types(&replay.types)?;
                check_rate(replay.events_per_second)?;
                if replay.after >= replay.until {
                    return Err(invalid(
                        "after",
                        format!("nothing was recorded after {} yet", replay.after),
                    ));
                }
                let is_known = self.replay.as_ref().is_some_and(|known| known.id == replay.id);
                Ok(news(!is_known, Event::ReplayStarted { replay, at }))
            }
            WebhookEndpointCommand::CompleteReplay { id, at } => {
                let is_under_way = self.replay.as_ref().is_some_and(|replay| replay.id == id);
                Ok(news(is_under_way, Event::ReplayCompleted { id, at }))
            }
            WebhookEndpointCommand::Delete { at } => Ok(vec![Event::Deleted { at }]),
            WebhookEndpointCommand::Resend { position, at } => {
                if self.status != EndpointStatus::Active {
                    return Err(WebhookEndpointError::NotActive);
                }
                Ok(vec![Event::ResendRequested { position, at }])
            }
        }
    }
}

fn news(is_news: bool, event: Event) -> Vec<Event> {
    if is_news { vec![event] } else { vec![] }
}

impl WebhookEndpoint {
    fn create(&self, create: CreateWebhookEndpoint) -> Result<Vec<Event>, WebhookEndpointError> {
        if self.workspace_id.is_some() {
            return Ok(vec![]);
        }
        let CreateWebhookEndpoint {
            workspace_id,
            url,
            types,
            account_ids,
            include_personal,
            batch,
            events_per_second,
            after,
            at,
        } = create;
        check(&url, &types, &account_ids, events_per_second)?;
        Ok(vec![Event::Created {
            workspace_id,
            url,
            types,
            account_ids,
            include_personal,
            batch,
            events_per_second,
            after,
            at,
        }])
    }

    fn update(
        &self,
        change: EndpointChange,
        at: DateTime<Utc>,
    ) -> Result<Vec<Event>, WebhookEndpointError> {
        let url = change.url.unwrap_or_else(|| self.url.clone());
        let types = change.types.unwrap_or_else(|| self.types.clone());
        let account_ids = change.account_ids.unwrap_or_else(|| self.account_ids.clone());
        let batch = change.batch.unwrap_or(self.batch);
        let events_per_second = change.events_per_second.unwrap_or(self.events_per_second);
        check(&url, &types, &account_ids, events_per_second)?;
        let is_news = url != self.url
            || types != self.types
            || account_ids != self.account_ids
            || batch != self.batch
            || events_per_second != self.events_per_second;
        let event = Event::Updated { url, types, account_ids, batch, events_per_second, at };
        Ok(news(is_news, event))
    }

    /// Applies a fact.
    pub fn fold(&mut self, event: Event) {
        match event {
            Event::Created {
                workspace_id,
                url,
                types,
                account_ids,
                include_personal,
                batch,
                events_per_second,
                after,
                at,
            } => {
                *self = Self {
                    workspace_id: Some(workspace_id),
                    url,
                    types,
                    account_ids,
                    include_personal,
                    batch,
                    events_per_second,
                    after,
                    secret: 1,
                    created_at: Some(at),
                    ..Self::default()
                };
            }
            Event::Updated { url, types, account_ids, batch, events_per_second, at: _ } => {
                self.url = url;
                self.types = types;
                self.account_ids = account_ids;
                self.batch = batch;
                self.events_per_second = events_per_second;
            }
            Event::SecretRotated { secret, previous_until, at: _ } => {
                self.secret = secret;
                self.previous_secret_until = Some(previous_until);
            }
            Event::Paused { reason, at: _ } => {
                self.status = EndpointStatus::Paused;
                self.pause_reason = Some(reason);
            }
            Event::Resumed { at } => {
                self.status = EndpointStatus::Active;
                self.pause_reason = None;
                self.resumed_at = Some(at);
            }
            Event::Disabled { at: _ } => {
                self.status = EndpointStatus::Disabled;
                self.pause_reason = None;
            }
            Event::ReplayStarted { replay, at: _ } => self.replay = Some(replay),
            Event::ReplayCompleted { id, at: _ } => {
                if self.replay.as_ref().is_some_and(|replay| replay.id == id) {
                    self.replay = None;
                }
            }
            Event::Deleted { at: _ } => {
                self.status = EndpointStatus::Deleted;
                self.replay = None;
            }
            // What becomes of it is told by the attempts.
            Event::ResendRequested { .. } => {}
        }
    }

    /// The numbers of the secrets that sign at this time, the newest first.
    pub fn signing_secrets(&self, now: DateTime<Utc>) -> Vec<u32> {
        let previous = self.previous_secret_until.is_some_and(|until| now < until);
        let previous = previous.then(|| self.secret.saturating_sub(1)).filter(|number| *number > 0);
        std::iter::once(self.secret).chain(previous).collect()
    }
}

fn check(
    url: &str,
    types: &[String],
    account_ids: &[AccountId],
    events_per_second: Option<u32>,
) -> Result<(), WebhookEndpointError> {
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err(invalid("url", "use an address that begins with https://"));
    }
    if url.chars().count() > URL_CHARS_MAX {
        return Err(invalid("url", format!("use at most {URL_CHARS_MAX} characters")));
    }
    check_types(types)?;
    if account_ids.len() > ACCOUNTS_MAX {
        return Err(invalid("accountIds", format!("give at most {ACCOUNTS_MAX}")));
    }
    check_rate(events_per_second)
}

fn check_rate(events_per_second: Option<u32>) -> Result<(), WebhookEndpointError> {
    if events_per_second.is_some_and(|rate| !(1..=EVENTS_PER_SECOND_MAX).contains(&rate)) {
        return Err(invalid("eventsPerSecond", format!("use 1 to {EVENTS_PER_SECOND_MAX}")));
    }
    Ok(())
}

fn check_types(types: &[String]) -> Result<(), WebhookEndpointError> {
    if types.len() > TYPES_MAX {
        return Err(invalid("types", format!("give at most {TYPES_MAX}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn create(url: &str) -> WebhookEndpointCommand {
        WebhookEndpointCommand::Create(Box::new(CreateWebhookEndpoint {
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            url: url.to_owned(),
            types: vec!["message.read".to_owned()],
            account_ids: vec![],
            include_personal: false,
            batch: false,
            events_per_second: None,
            after: Position(7),
            at: at(0),
        }))
    }

    fn created() -> WebhookEndpointCommand {
        create("https://shop.example/hook")
    }

    fn replay(id: u128, after: u64) -> WebhookEndpointCommand {
        let replay = Replay {
            id: Uuid::from_u128(id),
            after: Position(after),
            until: Position(90),
            recorded_from: None,
            types: vec![],
            events_per_second: None,
        };
        WebhookEndpointCommand::Replay { replay, at: at(3) }
    }

    fn given(commands: Vec<WebhookEndpointCommand>) -> WebhookEndpoint {
        let mut endpoint = WebhookEndpoint::default();
        for command in commands {
            for event in endpoint.decide(command).unwrap() {
                endpoint.fold(event);
            }
        }
        endpoint
    }

    #[test]
    fn an_endpoint_is_created_once() {
        let endpoint = given(vec![created()]);
        assert_eq!((endpoint.secret, endpoint.after), (1, Position(7)));
        assert_eq!(endpoint.decide(created()), Ok(vec![]));
    }

    #[test]
    fn what_is_no_web_address_is_refused_by_name() {
        let refused = |command| WebhookEndpoint::default().decide(command).unwrap_err().field();
        assert_eq!(refused(create("ftp://shop.example")).as_deref(), Some("url"));
        let long = format!("https://shop.example/{}", "x".repeat(URL_CHARS_MAX));
        assert_eq!(refused(create(&long)).as_deref(), Some("url"));
        let change = |change| WebhookEndpointCommand::Update { change, at: at(1) };
        let endpoint = given(vec![created()]);
        let refused = |it| endpoint.decide(change(it)).unwrap_err().field().unwrap();
        let types = Some(vec!["message.read".to_owned(); TYPES_MAX + 1]);
        assert_eq!(refused(EndpointChange { types, ..EndpointChange::default() }), "types");
        let events_per_second = Some(Some(0));
        let rate = EndpointChange { events_per_second, ..EndpointChange::default() };
        assert_eq!(refused(rate), "eventsPerSecond");
    }

    #[test]
    fn an_update_says_all_that_can_change_and_only_news() {
        let endpoint = given(vec![created()]);
        let change = EndpointChange { batch: Some(true), ..EndpointChange::default() };
        let update = WebhookEndpointCommand::Update { change, at: at(1) };
        let events = endpoint.decide(update.clone()).unwrap();
        assert!(matches!(&events[..], [Event::Updated { url, batch: true, .. }]
            if url == "https://shop.example/hook"));
        let endpoint = given(vec![created(), update.clone()]);
        assert_eq!(endpoint.decide(update), Ok(vec![]));
    }

    #[test]
    fn the_secret_before_signs_for_a_day() {
        let endpoint = given(vec![created()]);
        assert_eq!(endpoint.signing_secrets(at(1)), [1]);
        let endpoint = given(vec![created(), WebhookEndpointCommand::RotateSecret { at: at(1) }]);
        assert_eq!(endpoint.signing_secrets(at(2)), [2, 1]);
        assert_eq!(endpoint.signing_secrets(at(1) + SECRET_OVERLAP), [2]);
    }

    #[test]
    fn paused_it_stays_so_until_it_is_resumed() {
        let pause = |reason| WebhookEndpointCommand::Pause { reason, at: at(1) };
        let endpoint = given(vec![created(), pause(PauseReason::Failing)]);
        assert_eq!(endpoint.status, EndpointStatus::Paused);
        assert_eq!(endpoint.pause_reason, Some(PauseReason::Failing));
        assert_eq!(endpoint.decide(pause(PauseReason::Requested)), Ok(vec![]));
        let resume = WebhookEndpointCommand::Resume { at: at(2) };
        let endpoint = given(vec![created(), pause(PauseReason::Failing), resume.clone()]);
        assert_eq!(endpoint.status, EndpointStatus::Active);
        assert_eq!((endpoint.pause_reason, endpoint.resumed_at), (None, Some(at(2))));
        assert_eq!(endpoint.decide(resume), Ok(vec![]));
    }

    #[test]
    fn gone_is_disabled_and_may_be_resumed() {
        let disable = WebhookEndpointCommand::Disable { at: at(1) };
        let endpoint = given(vec![created(), disable.clone()]);
        assert_eq!(endpoint.status, EndpointStatus::Disabled);
        assert_eq!(endpoint.decide(disable.clone()), Ok(vec![]));
        let resume = WebhookEndpointCommand::Resume { at: at(2) };
        assert_eq!(given(vec![created(), disable, resume]).status, EndpointStatus::Active);
    }

    #[test]
    fn a_later_replay_takes_the_place_of_one_under_way() {
        let endpoint = given(vec![created(), replay(1, 5), replay(2, 6)]);
        assert_eq!(endpoint.replay.as_ref().map(|it| it.after), Some(Position(6)));
        let complete =
            |id| WebhookEndpointCommand::CompleteReplay { id: Uuid::from_u128(id), at: at(4) };
        assert_eq!(endpoint.decide(complete(1)), Ok(vec![]));
        let endpoint = given(vec![created(), replay(2, 6), complete(2)]);
        assert_eq!(endpoint.replay, None);
        let refused = endpoint.decide(replay(3, 90)).unwrap_err();
        assert_eq!(refused.field().as_deref(), Some("after"));
    }

    #[test]
    fn an_event_goes_out_once_more_to_an_endpoint_that_is_sent_events() {
        let resend = || WebhookEndpointCommand::Resend { position: Position(9), at: at(4) };
        let asked = Event::ResendRequested { position: Position(9), at: at(4) };
        assert_eq!(given(vec![created()]).decide(resend()), Ok(vec![asked.clone()]));
        let endpoint = given(vec![created(), resend()]);
        assert_eq!(endpoint, given(vec![created()]), "nothing else changes");
        assert_eq!(endpoint.decide(resend()), Ok(vec![asked]), "as often as it is asked for");
        let pause = WebhookEndpointCommand::Pause { reason: PauseReason::Requested, at: at(1) };
        let paused = given(vec![created(), pause]);
        assert_eq!(paused.decide(resend()), Err(WebhookEndpointError::NotActive));
        let disable = WebhookEndpointCommand::Disable { at: at(1) };
        let gone = given(vec![created(), disable]);
        assert_eq!(gone.decide(resend()), Err(WebhookEndpointError::NotActive));
    }

    #[test]
    fn deleted_it_is_gone_for_good() {
        let delete = WebhookEndpointCommand::Delete { at: at(4) };
        let endpoint = given(vec![created(), replay(1, 5), delete.clone()]);
        assert_eq!(endpoint.replay, None);
        assert_eq!(endpoint.decide(delete), Ok(vec![]));
        let resume = WebhookEndpointCommand::Resume { at: at(5) };
        assert_eq!(endpoint.decide(resume), Err(WebhookEndpointError::NotFound));
        let rotate = WebhookEndpointCommand::RotateSecret { at: at(5) };
        assert_eq!(WebhookEndpoint::default().decide(rotate), Err(WebhookEndpointError::NotFound));
    }
}
