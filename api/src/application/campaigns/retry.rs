//! Once more for those who were not reached, and once for somebody who wants to see it first.

use domain::api_key::Scope;
use domain::campaign::{Campaign, CampaignCommand, CampaignStatus};
use domain::message::{Message, MessageCommand, MessageStatus};
use domain::port::{EventFeed, Position};
use domain::primitives::CampaignId;
use infrastructure::ledger::{CommandError, Context, Idempotency};
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
/// repeating it under the same idempotency key does the rest: nobody who has failed once more since is tried again by it.
/// Scope SEND.
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
    let asked_at = match &idempotency {
        Some(idempotency) => asked_at(gateway, &context, idempotency, head).await?,
        None => head,
    };
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
        let meant: Vec<Uuid> = page
            .into_items()
            .into_iter()
            .filter(|stored| is_meant(&stored.state, scope))
            .map(|stored| stored.id)
            .collect();
        if !meant.is_empty() {
            last = last.max(queue_again(gateway, &context, id, &meant, asked_at).await?);
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

/// Where the log ended when this was asked for first: whoever has failed since was tried again already. On record before
/// anything is queued.
async fn asked_at(
    gateway: &Gateway,
    context: &Context,
    idempotency: &Idempotency,
    head: Position,
) -> AppResult<Position> {
    let asked = Idempotency {
        // No key that somebody chose: those have been told from others by their input, too.
        key: format!("{}\u{1f}asked", idempotency.key),
        input_json_canonical: format!("asked {}", idempotency.input_json_canonical),
        ..idempotency.clone()
    };
    let (asked_at, _) =
        command::transact(gateway, context, Some(&asked), &|_| Box::pin(async move { Ok(head.0) }))
            .await?;
    Ok(Position(asked_at))
}

/// Queues these again, and opens the campaign for them, in one append.
async fn queue_again(
    gateway: &Gateway,
    context: &Context,
    id: CampaignId,
    messages: &[Uuid],
    asked_at: Position,
) -> AppResult<Position> {
    let now = gateway.clock.now();
    let (_, position) = command::transact(gateway, context, None, &|tx| {
        Box::pin(async move {
            let loaded = tx.load_many::<Message>(messages).await?;
            let mut queued = false;
            for message in messages {
                if loaded.get(message).is_none_or(|loaded| loaded.position > asked_at) {
                    continue;
                }
                let retry = MessageCommand::Retry { due_at: now, at: now };
                match tx.execute::<Message>(*message, retry).await {
                    Ok(_) => queued = true,
                    // It has changed since the read model saw it: then it is not failed any more.
                    Err(CommandError::Domain(_)) => {}
                    Err(error) => return Err(command::refused(error, "")),
                }
            }
            if queued {
                // Behind the messages in the log: whoever would complete it again has seen them by then.
                let reopen = CampaignCommand::Reopen { at: now };
                tx.execute::<Campaign>(id.0, reopen)
                    .await
                    .map_err(|error| command::refused(error, ""))?;
            }
            Ok(())
        })
    })
    .await?;
    Ok(position)
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
    use domain::template::TemplateCategory;

    use super::*;
    use crate::application::campaigns;
    use crate::application::tests::{World, sending};

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn plan(campaign: u128, contact: Uuid, is_test: bool, at: DateTime<Utc>) -> Plan {
        let id = Uuid::from_u128;
        Plan {
            header: MessageHeader {
                workspace_id: WorkspaceId(id(1)),
                account_id: AccountId(id(2)),
                contact_id: ContactId(contact),
                campaign_id: Some(CampaignId(id(campaign))),
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
            due_at: at,
            at,
        }
    }

    /// An attempt that was refused.
    fn refused(attempt: u32, retryable: bool, at: DateTime<Utc>) -> [MessageCommand; 2] {
        let failure = Failure {
            code: None,
            title: "no".to_owned(),
            details: None,
            retryable,
            keep_away: None,
        };
        [
            MessageCommand::RequestSend { attempt, send_by: at, at },
            MessageCommand::RecordRefused { attempt, failure, retry_at: None, at },
        ]
    }

    fn failed(retryable: bool, is_test: bool) -> Message {
        let mut message = Message::default();
        let plan = MessageCommand::Plan(Box::new(plan(4, Uuid::from_u128(3), is_test, at())));
        for command in std::iter::once(plan).chain(refused(1, retryable, at())) {
            for event in message.decide(command).unwrap() {
                message.fold(event);
            }
        }
        message
    }

    /// Cut short after the first step, somebody who was tried again and failed once more is not tried a third time by the
    /// repeat, and everybody else is.
    #[tokio::test]
    async fn a_repeat_does_the_rest_and_nothing_twice() {
        let world = World::new().await;
        let account = world.account("Shop").await;
        let template = world.template(&account, TemplateCategory::Utility).await;
        let (gateway, admin) = (&world.gateway, &world.admin);
        let input = sending::campaign(&account, &template);
        let made = campaigns::create(gateway, admin, input).await.unwrap().value;
        let id = made.id.to_string();
        campaigns::launch(gateway, admin, sending::launch(&id, None)).await.unwrap();
        let context = command::context(gateway, admin);
        let mut messages = vec![];
        for n in 0..3_u32 {
            let contact = world.contact(&format!("+49151123456{n:02}")).await;
            let message = gateway.ids.next_id(gateway.clock.now());
            let now = gateway.clock.now();
            let mut plan = plan(made.id.0.as_u128(), contact.id.0, false, now);
            plan.header.workspace_id = account.workspace_id;
            plan.header.account_id = account.id;
            let commands = std::iter::once(MessageCommand::Plan(Box::new(plan)));
            for command in commands.chain(refused(1, true, now)) {
                gateway.bus.execute::<Message>(message, command, &context).await.unwrap();
            }
            messages.push(message);
        }
        let attempts = async |message: Uuid| {
            let message = gateway.bus.load::<Message>(message).await.unwrap().unwrap().aggregate;
            (message.status(), message.attempt_count())
        };

        let input = json!({ "id": made.id, "scope": format!("{:?}", RetryScope::Failed) });
        let key = Some("again");
        let once =
            command::once::<Uuid>(gateway, admin, "retryCampaign", key, &input, "idempotencyKey");
        let Once::Now(Some(idempotency)) = once.await.unwrap() else { panic!("it is new") };
        let head = gateway.ledger.head().await.unwrap();
        let asked = asked_at(gateway, &context, &idempotency, head).await.unwrap();
        queue_again(gateway, &context, made.id, &messages[..1], asked).await.unwrap();
        assert_eq!(attempts(messages[0]).await, (MessageStatus::Queued, 1));
        for command in refused(2, true, gateway.clock.now()) {
            gateway.bus.execute::<Message>(messages[0], command, &context).await.unwrap();
        }

        let retried = |key: &str| {
            campaigns::retry(gateway, admin, &id, RetryScope::Failed, Some(key.to_owned()))
        };
        retried("again").await.unwrap();
        assert_eq!(attempts(messages[0]).await, (MessageStatus::Failed, 2));
        for message in &messages[1..] {
            assert_eq!(attempts(*message).await, (MessageStatus::Queued, 1));
        }
        // Done is done, and asked for anew it is new.
        let head = gateway.ledger.head().await.unwrap();
        retried("again").await.unwrap();
        assert_eq!(gateway.ledger.head().await.unwrap(), head);
        retried("anew").await.unwrap();
        assert_eq!(attempts(messages[0]).await, (MessageStatus::Queued, 2));
    }

    #[test]
    fn failed_leaves_out_what_is_permanent_and_tests() {
        assert!(is_meant(&failed(true, false), RetryScope::Failed));
        assert!(!is_meant(&failed(false, false), RetryScope::Failed));
        assert!(is_meant(&failed(false, false), RetryScope::All));
        assert!(!is_meant(&failed(true, true), RetryScope::All));
    }
}
