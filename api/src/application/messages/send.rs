//! Sending: who is meant, whether it may go, and the plan on record in one unit with a contact who was not known before.

use std::time::Duration as StdDuration;

use chrono::{DateTime, Utc};
use domain::Identity;
use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::campaign::Campaign;
use domain::contact::{Contact, ContactChanges, ContactOrigin, HALVES_MAX, PortfolioIdentity};
use domain::delivery::{
    DeliveryFacts, SendingHours, TimeToLive, Verdict, judge, personalise, recipient_of,
    zone_of_recipient,
};
use domain::message::{
    Content, Message, MessageCommand, MessageHeader, Plan, Priority, Recipient, SkipReason,
    TemplateRef,
};
use domain::port::{EventFeed, Position};
use domain::primitives::{
    AccountId, CampaignId, ContactId, MessageId, PhoneNumber, UserId, Wamid, WorkspaceId,
};
use domain::template::{Template, TemplateComponents};
use futures::StreamExt;
use infrastructure::ledger::{Context, Idempotency, Transaction};
use infrastructure::phone::{self, zone_of};
use projections::names;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::content::{self, Prepared};
use super::{BATCH_MAX, SendMessage, due_at, written};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command::{self, Once};
use crate::application::contacts::{self, Home};
use crate::application::error::{AppError, AppResult, ErrorCode};
use crate::application::view::{MessageView, Written};
use crate::application::{check, read};
use crate::worker::dispatch::takes_no_marketing;
use crate::worker::people::{Person, windows};

/// Messages of one batch that are planned at the same time: they share the log's group commit.
const AT_ONCE: usize = 32;
/// How often a send that met another one to the same new number is tried again.
const TRIES: usize = 4;
/// How long an answer within the service window waits for the read model to have seen the person's last words.
const WINDOW_PATIENCE: StdDuration = StdDuration::from_secs(2);
/// Thirty days: WhatsApp itself tries no longer.
const TIME_TO_LIVE_MAX_S: u32 = 30 * 24 * 3_600;

/// Sends one message, now or later. What policy forbids is SKIPPED, with its reason, for good. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED; CONFLICT where the account is disconnected.
pub async fn send(
    gateway: &Gateway,
    caller: &Caller,
    input: SendMessage,
) -> AppResult<Written<MessageView>> {
    caller.require(Scope::Send)?;
    let (account_id, loaded) =
        command::known::<Account>(gateway, caller, &input.account_id, "account").await?;
    let (account_id, account) = (AccountId(account_id), loaded.aggregate);
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    let once = command::once::<Uuid>(gateway, caller, "sendMessage", key, &input, field).await?;
    let idempotency = match once {
        Once::Done(id, position) => return written(gateway, caller, MessageId(id), position).await,
        Once::Now(idempotency) => idempotency,
    };
    if account.status == AccountStatus::Disconnected {
        return Err(AppError::conflict("the account is disconnected; connect it again"));
    }
    let now = gateway.clock.now();
    let due_at = due_at(input.send_at, now, "input.sendAt")?;
    let whom = whom(gateway, caller, &account, &input).await?;
    let reply_to = input.reply_to.as_deref().map(Wamid::parse).transpose();
    let reply_to =
        reply_to.map_err(|error| AppError::invalid("input.replyTo", error.to_string()))?;
    let Prepared { content, template } =
        content::prepare(gateway, caller, account_id, &input, reply_to.as_ref()).await?;
    let time_to_live_s = command::positive(input.time_to_live, "input.timeToLive")?;
    if time_to_live_s.is_some_and(|seconds| seconds > TIME_TO_LIVE_MAX_S) {
        return Err(AppError::invalid(
            "input.timeToLive",
            "use 1 to 2,592,000 seconds (thirty days)",
        ));
    }
    let draft = Draft {
        account_id,
        account,
        whom,
        campaign_id: None,
        template,
        say: Say::Fixed(content),
        external_id: check::external_id(input.external_id, "input.externalId")?,
        metadata: check::metadata(input.metadata, "input.metadata")?,
        reply_to,
        time_to_live_s,
        due_at,
        now,
    };
    let (id, position) = plan(gateway, caller, idempotency, draft).await?;
    written(gateway, caller, id, position).await
}

/// Sends many, each with its own outcome, in the order given. Scope SEND.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED on `inputs` for more than 500. Everything else is the outcome of a single one.
pub async fn send_many(
    gateway: &Gateway,
    caller: &Caller,
    inputs: Vec<SendMessage>,
) -> AppResult<Vec<AppResult<Written<MessageView>>>> {
    caller.require(Scope::Send)?;
    check::at_most(&inputs, BATCH_MAX, "inputs")?;
    let sends = inputs.into_iter().map(|input| send(gateway, caller, input));
    Ok(futures::stream::iter(sends).buffered(AT_ONCE).collect().await)
}

/// A campaign's message to one number.
pub(crate) struct TestSend {
    pub campaign_id: CampaignId,
    pub campaign: Campaign,
    pub to: String,
    pub idempotency_key: Option<String>,
}

/// Sends a campaign's message to one number, personalised for whoever has it, outside the campaign's counts.
pub(crate) async fn send_test(
    gateway: &Gateway,
    caller: &Caller,
    test: TestSend,
) -> AppResult<Written<MessageView>> {
    let TestSend { campaign_id, campaign, to, idempotency_key } = test;
    let input = json!({ "id": campaign_id, "to": to });
    let key = idempotency_key.as_deref();
    let once =
        command::once::<Uuid>(gateway, caller, "testCampaign", key, &input, "idempotencyKey")
            .await?;
    let idempotency = match once {
        Once::Done(id, position) => return written(gateway, caller, MessageId(id), position).await,
        Once::Now(idempotency) => idempotency,
    };
    let not_found = || AppError::not_found("campaign");
    let plan_of = campaign.plan.ok_or_else(not_found)?;
    let account_id = campaign.account_id.ok_or_else(not_found)?;
    let account = command::folded::<Account>(gateway, account_id.0, "account").await?;
    crate::application::campaigns::check_account(&account)?;
    let template = command::folded::<Template>(gateway, plan_of.template_id.0, "template").await?;
    let components = template.parsed().map_err(AppError::internal)?;
    let now = gateway.clock.now();
    let draft = Draft {
        whom: Whom::Number(Home::of(&account).phone(&to, "to")?),
        account_id,
        account,
        campaign_id: Some(campaign_id),
        template: Some((plan_of.template_id, template)),
        say: Say::Personalised(
            plan_of.parameters.into_known().unwrap_or_default(),
            Box::new(components),
        ),
        external_id: None,
        metadata: None,
        reply_to: None,
        time_to_live_s: plan_of.time_to_live_s,
        due_at: now,
        now,
    };
    let (id, position) = plan(gateway, caller, idempotency, draft).await?;
    written(gateway, caller, id, position).await
}

/// An answer of the gateway's own to what a person has just written.
pub(crate) struct Reply {
    /// Under which it is planned, once.
    pub message_id: MessageId,
    pub account_id: AccountId,
    pub account: Account,
    pub contact_id: ContactId,
    /// What the person wrote.
    pub reply_to: Wamid,
    pub text: String,
    /// Until when free-form messages may go to the person, as the caller knows it.
    pub window_until: Option<DateTime<Utc>>,
    /// Seconds from now.
    pub time_to_live_s: u32,
    pub now: DateTime<Utc>,
}

/// Plans an answer by the rules of every send; nothing where one is planned under its id already.
///
/// # Errors
/// UNAVAILABLE, NOT_FOUND where the contact is gone.
pub(crate) async fn reply(gateway: &Gateway, context: &Context, reply: Reply) -> AppResult<()> {
    let Reply { message_id, account_id, account, contact_id, now, .. } = reply;
    let workspace = account.workspace_id.ok_or_else(|| AppError::not_found("account"))?;
    let draft = Draft {
        account_id,
        account,
        whom: Whom::Contact(contact_id),
        campaign_id: None,
        template: None,
        say: Say::Fixed(Content::Text { body: reply.text, preview_url: false }),
        external_id: None,
        metadata: None,
        reply_to: Some(reply.reply_to),
        time_to_live_s: Some(reply.time_to_live_s),
        due_at: now,
        now,
    };
    let facts = Facts { window_until: reply.window_until, ..Facts::default() };
    let found = find(gateway, workspace, &draft.whom).await?;
    let contact_id = found.ok_or_else(|| AppError::not_found("contact"))?;
    let draft = &draft;
    command::transact(gateway, context, None, &|tx| {
        Box::pin(async move {
            let contact = command::loaded::<Contact>(tx, contact_id.0, "contact").await?.aggregate;
            let plan = planned(draft, workspace, contact_id, &contact, facts);
            let command = MessageCommand::Plan(Box::new(plan));
            let planned = tx.execute_new::<Message>(vec![(message_id.0, command)]).await;
            planned.map(drop).map_err(|error| command::refused(error, ""))
        })
    })
    .await?;
    Ok(())
}

/// The contact who has this number, by the store's own uniqueness, which is never behind.
pub(crate) async fn holder_of_number(
    gateway: &Gateway,
    workspace: WorkspaceId,
    phone: &PhoneNumber,
) -> AppResult<Option<ContactId>> {
    find(gateway, workspace, &Whom::Number(phone.clone())).await
}

/// Who is meant.
#[derive(Clone)]
enum Whom {
    Number(PhoneNumber),
    User(PortfolioIdentity),
    Contact(ContactId),
}

/// What is said.
#[derive(Clone)]
enum Say {
    Fixed(Content),
    /// A campaign's parameters, to be filled for the contact.
    Personalised(Map<String, Value>, Box<TemplateComponents>),
}

/// A message that only lacks its contact.
#[derive(Clone)]
struct Draft {
    account_id: AccountId,
    account: Account,
    whom: Whom,
    /// For tests only: a campaign's own messages are planned by its process manager.
    campaign_id: Option<CampaignId>,
    template: Option<(domain::primitives::TemplateId, Template)>,
    say: Say,
    external_id: Option<String>,
    metadata: Option<Value>,
    reply_to: Option<Wamid>,
    time_to_live_s: Option<u32>,
    due_at: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// What the read models know of a pair at the moment of judging.
#[derive(Clone, Copy, Default)]
struct Facts {
    window_until: Option<DateTime<Utc>>,
    marketing_blocked_until: Option<DateTime<Utc>>,
    unreachable_until: Option<DateTime<Utc>>,
}

async fn whom(
    gateway: &Gateway,
    caller: &Caller,
    account: &Account,
    input: &SendMessage,
) -> AppResult<Whom> {
    let problem = "give exactly one of to, userId and contactId";
    match (&input.to, &input.user_id, &input.contact_id) {
        (Some(to), None, None) => Ok(Whom::Number(Home::of(account).phone(to, "input.to")?)),
        (None, Some(user_id), None) => {
            let user_id = UserId::parse(user_id);
            let user_id =
                user_id.map_err(|error| AppError::invalid("input.userId", error.to_string()))?;
            let portfolio_id = account.settings.portfolio_id.clone().unwrap_or_default();
            Ok(Whom::User(PortfolioIdentity { portfolio_id, user_id }))
        }
        (None, None, Some(id)) => {
            let (id, loaded) = command::known::<Contact>(gateway, caller, id, "contact").await?;
            if loaded.aggregate.workspace_id != account.workspace_id {
                return Err(AppError::not_found("contact"));
            }
            Ok(Whom::Contact(ContactId(id)))
        }
        _ => Err(AppError::invalid("input.to", problem)),
    }
}

/// Puts a message on record, with a contact who was not known before in the same unit.
async fn plan(
    gateway: &Gateway,
    caller: &Caller,
    idempotency: Option<Idempotency>,
    draft: Draft,
) -> AppResult<(MessageId, Position)> {
    let workspace = draft.account.workspace_id.ok_or_else(|| AppError::not_found("account"))?;
    let context = command::context(gateway, caller);
    let message_id = MessageId(gateway.ids.next_id(draft.now));
    let new_contact_id = ContactId(gateway.ids.next_id(draft.now));
    for _ in 0..TRIES {
        // What is known of a person we have not met yet is nothing.
        let known = find(gateway, workspace, &draft.whom).await?;
        let facts = match known {
            Some(contact) if draft.due_at <= draft.now => facts(gateway, &draft, contact).await?,
            _ => Facts::default(),
        };
        let draft = &draft;
        let planned = command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
            Box::pin(async move {
                let contact_id = match known {
                    Some(id) => id,
                    None => introduce(tx, workspace, draft, new_contact_id).await?,
                };
                let contact =
                    command::loaded::<Contact>(tx, contact_id.0, "contact").await?.aggregate;
                let plan = planned(draft, workspace, contact_id, &contact, facts);
                let command = MessageCommand::Plan(Box::new(plan));
                let planned = tx.execute_new::<Message>(vec![(message_id.0, command)]).await;
                planned.map_err(|error| command::refused(error, "input"))?;
                Ok(message_id.0)
            })
        })
        .await;
        match planned {
            Ok((id, position)) => return Ok((MessageId(id), position)),
            // Somebody else introduced them just now: the next round finds them.
            Err(error) if error.code == ErrorCode::Conflict && known.is_none() => {}
            Err(error) => return Err(error),
        }
    }
    Err(AppError::new(
        ErrorCode::Unavailable,
        "too many others write to this number right now; try again in a moment",
    ))
}

/// The contact who is meant, by the store's own uniqueness, which is never behind.
async fn find(
    gateway: &Gateway,
    workspace: WorkspaceId,
    whom: &Whom,
) -> AppResult<Option<ContactId>> {
    let identity = match whom {
        Whom::Contact(id) => {
            let mut id = *id;
            // One after the other, at worst.
            for _ in 0..=HALVES_MAX {
                let contact = command::folded::<Contact>(gateway, id.0, "contact").await?;
                match contact.merged_into {
                    Some(into) => id = into,
                    None => break,
                }
            }
            return Ok(Some(id));
        }
        Whom::Number(phone) => Identity::phone(workspace, phone),
        Whom::User(identity) => {
            let value = format!("{}/{}", identity.portfolio_id, identity.user_id.as_str());
            Identity::new(workspace.0, Identity::USER_ID, value)
        }
    };
    let holder = gateway.bus.resolve_identities(&[identity]).await?.into_iter().next().flatten();
    Ok(holder.map(ContactId))
}

async fn introduce(
    tx: &mut Transaction<'_>,
    workspace: WorkspaceId,
    draft: &Draft,
    id: ContactId,
) -> AppResult<ContactId> {
    let changes = match &draft.whom {
        Whom::Number(phone) => {
            ContactChanges { phone: Some(Some(phone.clone())), ..ContactChanges::default() }
        }
        Whom::User(identity) => {
            ContactChanges { add_identities: vec![identity.clone()], ..ContactChanges::default() }
        }
        Whom::Contact(_) => return Err(AppError::not_found("contact")),
    };
    contacts::introduce(tx, workspace, id, changes, ContactOrigin::Send, draft.now).await?;
    Ok(id)
}

/// What judging needs beside the contact itself. Skipping is for good, so a closed window is looked at again once the read
/// model has seen all there was when this was asked.
async fn facts(gateway: &Gateway, draft: &Draft, contact: ContactId) -> AppResult<Facts> {
    let known = command::folded::<Contact>(gateway, contact.0, "contact").await?;
    let person = Person::unmerged(contact.0, &known);
    let everyone: Vec<Uuid> = person.everyone().collect();
    let addressed = [(person, recipient_of(&known, &draft.account))];
    let queries = read::queries(gateway);
    let window = async || -> AppResult<Option<DateTime<Utc>>> {
        let windows = windows(&queries, draft.account_id, &addressed, draft.now).await?;
        Ok(windows.get(&contact.0).copied())
    };
    let unreachable_until = person.latest(&queries.unreachable(&everyone).await?);
    let mut window_until = window().await?;
    if draft.template.is_some() {
        let blocks = queries.marketing_blocks(&everyone).await?;
        let marketing_blocked_until = person.latest(&blocks);
        return Ok(Facts { window_until, marketing_blocked_until, unreachable_until });
    }
    if window_until.is_none_or(|until| until <= draft.now) {
        let head = gateway.ledger.head().await?;
        if gateway.read.wait_for(names::MESSAGES, head, WINDOW_PATIENCE).await.is_err() {
            return Err(AppError::new(
                ErrorCode::Unavailable,
                "it is not known yet whether the person's service window is open; try again in a moment",
            ));
        }
        window_until = window().await?;
    }
    Ok(Facts { window_until, marketing_blocked_until: None, unreachable_until })
}

/// The plan, judged at once where it is due.
fn planned(
    draft: &Draft,
    workspace: WorkspaceId,
    contact_id: ContactId,
    contact: &Contact,
    facts: Facts,
) -> Plan {
    let category = draft.template.as_ref().and_then(|(_, template)| template.category);
    let to = recipient_of(contact, &draft.account);
    let (content, problem) = match &draft.say {
        Say::Fixed(content) => (content.clone(), None),
        Say::Personalised(parameters, components) => {
            let (parameters, problem) = personalise(parameters, components, contact);
            let preview = components.preview(&parameters);
            (Content::Template { parameters, preview }, problem)
        }
    };
    let ttl = draft.time_to_live_s.unwrap_or_else(|| TimeToLive::default_seconds(category));
    let skip = match draft.due_at <= draft.now {
        true => judged(draft, contact, &content, to.as_ref(), facts)
            .map(|reason| (reason, None))
            .or(problem),
        // Judged when it falls due.
        false => problem,
    };
    let is_answer = draft.reply_to.is_some()
        || (draft.template.is_none() && facts.window_until.is_some_and(|until| until > draft.now));
    let template =
        draft.template.as_ref().zip(category).map(|((id, template), category)| TemplateRef {
            id: *id,
            name: template.name.clone(),
            language: template.language.clone(),
            category,
        });
    Plan {
        header: MessageHeader {
            workspace_id: workspace,
            account_id: draft.account_id,
            contact_id,
            campaign_id: draft.campaign_id,
            is_test: draft.campaign_id.is_some(),
            content_kind: content.kind(),
            template,
            priority: if is_answer { Priority::Reply } else { Priority::Single },
            time_to_live_s: Some(ttl),
            external_id: draft.external_id.clone().map(Into::into),
            metadata: draft.metadata.clone().map(Into::into),
            reply_to: draft.reply_to.clone().map(Into::into),
            country: to.as_ref().and_then(phone::country_of_recipient),
        },
        to: to.unwrap_or_default(),
        content,
        skip,
        due_at: draft.due_at,
        at: draft.now,
    }
}

fn judged(
    draft: &Draft,
    contact: &Contact,
    content: &Content,
    to: Option<&Recipient>,
    facts: Facts,
) -> Option<SkipReason> {
    let settings = &draft.account.settings;
    let zone = zone_of_recipient(None, &draft.account, contact, zone_of).zone;
    let template = draft.template.as_ref().map(|(_, template)| template);
    let verdict = judge(&DeliveryFacts {
        now: draft.now,
        contact,
        content_kind: content.kind(),
        category: template.and_then(|template| template.category),
        template_status: template.map(|template| template.status),
        window_until: facts.window_until,
        marketing_blocked_until: facts.marketing_blocked_until,
        takes_no_marketing: takes_no_marketing(contact),
        is_capped: false,
        unreachable_until: facts.unreachable_until,
        zone,
        hours: SendingHours { window: None, quiet: settings.quiet_hours },
        expires_at: None,
    });
    match verdict {
        Verdict::Skip(reason) => Some(reason),
        // WhatsApp knows them, but not from this account's portfolio.
        _ if to.is_none() => Some(SkipReason::NoIdentity),
        Verdict::Send | Verdict::Wait { .. } | Verdict::Expire => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::GatewayAggregate;
    use domain::contact::{ConsentStatus, ContactCommand};
    use domain::template::{TemplateCategory, TemplateStatus};

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-23T09:00:00Z".parse().unwrap()
    }

    fn contact(opted_in: bool) -> Contact {
        let mut contact = Contact::default();
        let changes = ContactChanges {
            phone: Some(Some(PhoneNumber::parse("+4915112345678").unwrap())),
            ..ContactChanges::default()
        };
        let mut commands = vec![ContactCommand::Add {
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            contact_id: ContactId(Uuid::from_u128(2)),
            changes: Box::new(changes),
            origin: ContactOrigin::Send,
            at: now(),
        }];
        if opted_in {
            commands.push(ContactCommand::RecordConsent {
                category: None,
                status: ConsentStatus::OptedIn,
                source: "form".to_owned(),
                evidence: None,
                given_at: now(),
                at: now(),
            });
        }
        for command in commands {
            for event in contact.decide(command).unwrap() {
                contact.fold(event);
            }
        }
        contact
    }

    fn draft(template: Option<Template>) -> Draft {
        Draft {
            account_id: AccountId(Uuid::from_u128(3)),
            account: Account::default(),
            whom: Whom::Contact(ContactId(Uuid::from_u128(2))),
            campaign_id: None,
            template: template
                .map(|template| (domain::primitives::TemplateId(Uuid::from_u128(4)), template)),
            say: Say::Fixed(Content::Text { body: "hi".to_owned(), preview_url: false }),
            external_id: None,
            metadata: None,
            reply_to: None,
            time_to_live_s: None,
            due_at: now(),
            now: now(),
        }
    }

    fn marketing() -> Template {
        Template {
            category: Some(TemplateCategory::Marketing),
            status: TemplateStatus::Approved,
            ..Template::default()
        }
    }

    fn plan_of(draft: &Draft, contact: &Contact, facts: Facts) -> Plan {
        planned(
            draft,
            WorkspaceId(Uuid::from_u128(1)),
            ContactId(Uuid::from_u128(2)),
            contact,
            facts,
        )
    }

    #[test]
    fn free_form_outside_of_the_window_is_skipped_and_inside_it_is_a_reply() {
        let closed = plan_of(&draft(None), &contact(false), Facts::default());
        assert_eq!(closed.skip, Some((SkipReason::WindowClosed, None)));
        let open =
            Facts { window_until: Some(now() + chrono::Duration::hours(5)), ..Facts::default() };
        let plan = plan_of(&draft(None), &contact(false), open);
        assert_eq!((plan.skip, plan.header.priority), (None, Priority::Reply));
    }

    #[test]
    fn marketing_needs_consent_now_and_is_judged_later_when_it_is_for_later() {
        let skipped = plan_of(&draft(Some(marketing())), &contact(false), Facts::default());
        assert_eq!(skipped.skip, Some((SkipReason::NoConsent, None)));
        let sent = plan_of(&draft(Some(marketing())), &contact(true), Facts::default());
        assert_eq!((sent.skip, sent.header.priority), (None, Priority::Single));
        assert_eq!(sent.header.time_to_live_s, Some(72 * 3_600));
        let later =
            Draft { due_at: now() + chrono::Duration::hours(1), ..draft(Some(marketing())) };
        assert_eq!(plan_of(&later, &contact(false), Facts::default()).skip, None);
    }

    #[test]
    fn nobody_can_be_addressed_without_a_number_or_this_portfolios_user_id() {
        let mut stranger = contact(true);
        stranger.details.phone = None;
        let identity = PortfolioIdentity {
            portfolio_id: "other".to_owned(),
            user_id: UserId::parse("GB.123").unwrap(),
        };
        stranger.details.identities = Some(vec![identity].into());
        let plan = plan_of(&draft(Some(marketing())), &stranger, Facts::default());
        assert_eq!(plan.skip, Some((SkipReason::NoIdentity, None)));
    }
}
