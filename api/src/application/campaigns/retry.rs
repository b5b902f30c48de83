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

use super::anew::Anew;
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
    /// Left out by the latest occurrence, but neither erased nor a duplicate: judged anew by what is known now.
    Skipped,
    /// Failed for whatever reason, and those of [`RetryScope::Skipped`].
    All,
}

impl RetryScope {
    /// The statuses of the messages to look at.
    fn statuses(self) -> Vec<MessageStatus> {
        let failed = [MessageStatus::Failed, MessageStatus::Expired];
        let skipped = [MessageStatus::Skipped];
        match self {
            Self::Failed => failed.to_vec(),
            Self::Skipped => skipped.to_vec(),
            Self::All => failed.into_iter().chain(skipped).collect(),
        }
    }
}

/// Queues failed recipients again and judges skipped ones anew, in as many steps as it takes; what was queued stays so where this is cut short, and
/// repeating it under the same idempotency key does the rest: nobody who has failed once more since is tried again by it.
/// Who is judged anew and would be left out for the same reason stays as they are. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; CONFLICT for a campaign that has not started or was cancelled; UNAVAILABLE where what people are
/// judged by is not known right now.
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
    check_status(&loaded.aggregate)?;
    let context = command::context(gateway, caller);
    let mut last = loaded.position;
    let head = gateway.ledger.head().await?;
    let asked_at = match &idempotency {
        Some(idempotency) => asked_at(gateway, &context, idempotency, head).await?,
        None => head,
    };
    read::wait(gateway, names::MESSAGES, Some(head)).await?;
    let anew = match scope {
        RetryScope::Failed => None,
        RetryScope::Skipped | RetryScope::All => {
            Some(Anew::of(gateway, id, &loaded.aggregate).await?)
        }
    };
    let filter = projections::MessageFilter {
        campaign_ids: Some(vec![id.0]),
        status: Some(scope.statuses()),
        ..projections::MessageFilter::default()
    };
    let mut after = None;
    loop {
        let request = projections::PageRequest::after(projections::PAGE_MAX, after);
        let everything = projections::Scope::everything();
        let page = read::queries(gateway).messages(&everything, &filter, &request).await?;
        let (end, has_next) = (page.end, page.has_next);
        let now = gateway.clock.now();
        let (mut commands, mut skipped) = (vec![], vec![]);
        for stored in page.into_items() {
            let (id, message) = (stored.id, stored.state);
            let Some(header) = message.header.as_ref().filter(|_| is_meant(&message, scope)) else {
                continue;
            };
            if message.status() == MessageStatus::Skipped {
                skipped.push((id, header.contact_id.0));
            } else {
                commands.push((id, MessageCommand::Retry { due_at: now, at: now }));
            }
        }
        if let Some(anew) = &anew {
            skipped.retain(|(message, _)| anew.is_latest(*message));
            let plans = anew.judged(&skipped, now).await?;
            let plans = plans.into_iter().map(|(id, plan)| (id, Box::new(plan)));
            commands.extend(plans.map(|(id, plan)| (id, MessageCommand::Replan(plan))));
        }
        if !commands.is_empty() {
            last = last.max(queue_again(gateway, &context, id, &commands, asked_at).await?);
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

/// Does this to each of these messages, and opens the campaign where any of them waits then, in one append.
async fn queue_again(
    gateway: &Gateway,
    context: &Context,
    id: CampaignId,
    commands: &[(Uuid, MessageCommand)],
    asked_at: Position,
) -> AppResult<Position> {
    let now = gateway.clock.now();
    let messages: Vec<Uuid> = commands.iter().map(|(message, _)| *message).collect();
    let messages = &messages;
    let (_, position) = command::transact(gateway, context, None, &|tx| {
        Box::pin(async move {
            let loaded = tx.load_many::<Message>(messages).await?;
            let mut queued = false;
            for (message, command) in commands {
                if loaded.get(message).is_none_or(|loaded| loaded.position > asked_at) {
                    continue;
                }
                match tx.execute::<Message>(*message, command.clone()).await {
                    // Who is left out once more does not open the campaign.
                    Ok(message) => queued |= message.status().is_waiting(),
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
    match (message.status(), scope) {
        (MessageStatus::Skipped, RetryScope::Skipped | RetryScope::All) => {
            message.may_be_judged_anew()
        }
        (MessageStatus::Expired, RetryScope::Failed | RetryScope::All)
        | (MessageStatus::Failed, RetryScope::All) => true,
        (MessageStatus::Failed, RetryScope::Failed) => {
            message.failure().is_some_and(|failure| failure.retryable)
        }
        _ => false,
    }
}

/// Sends the campaign's message to one number, outside its counts, its pace and its window, whatever its status. What policy
/// forbids is SKIPPED with its reason, as for any single message. Scope SEND.
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
        Content, ContentKind, Failure, MessageHeader, Plan, Priority, Recipient, SkipReason,
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
        let mut contacts = vec![];
        for n in 0..3_u32 {
            contacts.push(world.contact(&format!("+49151123456{n:02}")).await);
        }
        campaigns::launch(gateway, admin, sending::launch(&id, None)).await.unwrap();
        let context = command::context(gateway, admin);
        let mut messages = vec![];
        for contact in contacts {
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
        let now = gateway.clock.now();
        let first = (messages[0], MessageCommand::Retry { due_at: now, at: now });
        queue_again(gateway, &context, made.id, &[first], asked).await.unwrap();
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

    fn skipped(reason: SkipReason) -> Message {
        let mut plan = plan(4, Uuid::from_u128(3), false, at());
        plan.skip = Some((reason, None));
        let mut message = Message::default();
        for event in message.decide(MessageCommand::Plan(Box::new(plan))).unwrap() {
            message.fold(event);
        }
        message
    }

    #[test]
    fn skipped_leaves_out_what_failed_and_who_is_left_out_for_good() {
        assert!(!is_meant(&failed(true, false), RetryScope::Skipped));
        let consent = skipped(SkipReason::NoConsent);
        assert!(is_meant(&consent, RetryScope::Skipped) && is_meant(&consent, RetryScope::All));
        assert!(!is_meant(&consent, RetryScope::Failed));
        for reason in [SkipReason::Erased, SkipReason::Duplicate] {
            assert!(!is_meant(&skipped(reason), RetryScope::Skipped));
            assert!(!is_meant(&skipped(reason), RetryScope::All));
        }
    }

    #[test]
    fn failed_leaves_out_what_is_permanent_and_tests() {
        assert!(is_meant(&failed(true, false), RetryScope::Failed));
        assert!(!is_meant(&failed(false, false), RetryScope::Failed));
        assert!(is_meant(&failed(false, false), RetryScope::All));
        assert!(!is_meant(&failed(true, true), RetryScope::All));
    }
}
