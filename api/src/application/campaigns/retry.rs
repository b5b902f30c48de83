//! Once more for those who were not reached, and once for somebody who wants to see it first.

use domain::api_key::Scope;
use domain::campaign::{Campaign, CampaignCommand, CampaignStatus};
use domain::message::{Message, MessageCommand, MessageStatus};
use domain::port::EventFeed;
use domain::primitives::CampaignId;
use infrastructure::ledger::CommandError;
use projections::names;
use serde_json::json;
use uuid::Uuid;

use super::{living, written};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command::{self, Once};
use crate::application::error::{AppError, AppResult};
use crate::application::messages::{self, TestSend};
use crate::application::read;
use crate::application::view::{CampaignView, MessageView, Written};

/// Whom to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryScope {
    /// Failed, where trying again may work; and those whose time was over before they were sent.
    Failed,
    Skipped,
    /// Failed for whatever reason.
    All,
}

/// Queues failed recipients again, in as many steps as it takes; what was queued stays so where this is cut short, and
/// repeating it does the rest. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `scope` for what cannot be tried again; CONFLICT for a campaign that has not
/// started or was cancelled.
pub async fn retry(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    scope: RetryScope,
    idempotency_key: Option<String>,
) -> AppResult<Written<CampaignView>> {
    caller.require(Scope::Send)?;
    let (id, loaded) = living(gateway, caller, id).await?;
    let input = json!({ "id": id, "scope": format!("{scope:?}") });
    let key = idempotency_key.as_deref();
    let once =
        command::once::<Uuid>(gateway, caller, "retryCampaign", key, &input, "idempotencyKey")
            .await?;
    let idempotency = match once {
        Once::Done(id, position) => {
            return written(gateway, caller, CampaignId(id), position).await;
        }
        Once::Now(idempotency) => idempotency,
    };
    if scope == RetryScope::Skipped {
        return Err(AppError::invalid(
            "scope",
            "skipping is final, so use FAILED or ALL; clone the campaign to judge everybody anew",
        ));
    }
    check_status(&loaded.aggregate)?;
    let context = command::context(gateway, caller);
    let mut last = loaded.position;
    let head = gateway.ledger.head().await?;
    read::wait(gateway, names::MESSAGES, Some(head)).await?;
    let filter = projections::MessageFilter {
        campaign_ids: Some(vec![id.0]),
        status: Some(vec![MessageStatus::Failed, MessageStatus::Expired]),
        ..projections::MessageFilter::default()
    };
    let mut after = None;
    loop {
        let request = projections::PageRequest::after(projections::PAGE_MAX, after);
        let everything = projections::Scope::everything();
        let page = read::queries(gateway).messages(&everything, &filter, &request).await?;
        let (end, has_next) = (page.end, page.has_next);
        let now = gateway.clock.now();
        let commands = page
            .into_items()
            .into_iter()
            .filter(|stored| is_meant(&stored.state, scope))
            .map(|stored| {
                (stored.id, MessageCommand::Retry { due_at: now, at: now }, context.clone())
            })
            .collect();
        let mut queued = 0;
        for result in gateway.bus.execute_many::<Message>(commands).await {
            match result {
                Ok(committed) => {
                    queued += committed.events;
                    last = last.max(committed.position);
                }
                // It has changed since the read model saw it: then it is not failed any more.
                Err(CommandError::Domain(_)) => {}
                Err(error) => return Err(command::refused(error, "")),
            }
        }
        if queued > 0 {
            // Behind the messages in the log: whoever would complete it again has seen them by then.
            let command = CampaignCommand::Reopen { at: now };
            let reopened = gateway.bus.execute::<Campaign>(id.0, command, &context).await;
            match reopened {
                Ok(committed) => last = last.max(committed.position),
                // Cancelled a moment ago: then its messages are cancelled too.
                Err(CommandError::Domain(_)) => {}
                Err(error) => return Err(command::refused(error, "")),
            }
        }
        if !has_next {
            break;
        }
        after = end;
    }
    if idempotency.is_some() {
        let (_, position) = command::transact(gateway, &context, idempotency.as_ref(), &|_| {
            Box::pin(async move { Ok(id.0) })
        })
        .await?;
        last = last.max(position);
    }
    written(gateway, caller, id, last).await
}

fn check_status(campaign: &Campaign) -> AppResult<()> {
    match campaign.status {
        CampaignStatus::Running | CampaignStatus::Paused | CampaignStatus::Completed => Ok(()),
        // Between two occurrences.
        CampaignStatus::Scheduled if campaign.has_started() => Ok(()),
        status => Err(AppError::conflict(format!(
            "a campaign in status {} has nobody to try again",
            status.as_str()
        ))),
    }
}

/// Test messages are nobody's business but the tester's. What was given up while in doubt may have arrived.
fn is_meant(message: &Message, scope: RetryScope) -> bool {
    if message.header.as_ref().is_none_or(|header| header.is_test) {
        return false;
    }
    match message.status() {
        MessageStatus::Expired => true,
        MessageStatus::Failed => {
            scope == RetryScope::All || message.failure().is_some_and(|failure| failure.retryable)
        }
        _ => false,
    }
}

/// Sends the campaign's message to one number, outside its counts. What policy forbids is SKIPPED with its reason, as for
/// anybody. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `to`; CONFLICT where the account is disconnected.
pub async fn test(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
    to: String,
    idempotency_key: Option<String>,
) -> AppResult<Written<MessageView>> {
    caller.require(Scope::Send)?;
    let (id, loaded) = living(gateway, caller, id).await?;
    messages::send_test(
        gateway,
        caller,
        TestSend { campaign_id: id, campaign: loaded.aggregate, to, idempotency_key },
    )
    .await
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use domain::GatewayAggregate;
    use domain::message::{
        Content, ContentKind, Failure, MessageHeader, Plan, Priority, Recipient,
    };
    use domain::primitives::{AccountId, ContactId, WorkspaceId};

    use super::*;

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn failed(retryable: bool, is_test: bool) -> Message {
        let id = Uuid::from_u128;
        let plan = Plan {
            header: MessageHeader {
                workspace_id: WorkspaceId(id(1)),
                account_id: AccountId(id(2)),
                contact_id: ContactId(id(3)),
                campaign_id: Some(CampaignId(id(4))),
                is_test,
                content_kind: ContentKind::Text,
                template: None,
                priority: Priority::Bulk,
                time_to_live_s: None,
                external_id: None,
                metadata: None,
                reply_to: None,
                country: None,
            },
            to: Recipient::default(),
            content: Content::Text { body: "x".to_owned(), preview_url: false },
            skip: None,
            due_at: at(),
            at: at(),
        };
        let failure = Failure {
            code: None,
            title: "no".to_owned(),
            details: None,
            retryable,
            keep_away: None,
        };
        let mut message = Message::default();
        for command in [
            MessageCommand::Plan(Box::new(plan)),
            MessageCommand::RequestSend { attempt: 1, send_by: at(), at: at() },
            MessageCommand::RecordRefused { attempt: 1, failure, retry_at: None, at: at() },
        ] {
            for event in message.decide(command).unwrap() {
                message.fold(event);
            }
        }
        message
    }

    #[test]
    fn failed_leaves_out_what_is_permanent_and_tests() {
        assert!(is_meant(&failed(true, false), RetryScope::Failed));
        assert!(!is_meant(&failed(false, false), RetryScope::Failed));
        assert!(is_meant(&failed(false, false), RetryScope::All));
        assert!(!is_meant(&failed(true, true), RetryScope::All));
    }
}
