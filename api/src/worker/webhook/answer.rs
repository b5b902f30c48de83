//! What people did about messages: which one an inbound message answers, whose button was tapped, to which somebody said
//! stop. An answer is of one message: the one it names, else what went to the person last, within 72 h. Each is found from
//! facts alone, so that the journal can be read again; what cannot be told yet is parked and looked at again.

use std::collections::HashMap;
use std::time::Duration as StdDuration;

use chrono::{DateTime, Duration, Utc};
use domain::Identity;
use domain::message::{ANSWERED_WITHIN, Answer, Direction, Message, MessageCommand, OptOutSign};
use domain::port::EventFeed;
use domain::primitives::{AccountId, Actor, ContactId, MessageId, Wamid};
use domain::template::Template;
use infrastructure::ledger::{CommandError, Context, Loaded, Refusal, TransactError};
use infrastructure::webhook::interpret::MessageItem;
use infrastructure::webhook::interpret::OptOutText;
use infrastructure::webhook::journal::{JournalId, ParkedItem};
use infrastructure::webhook::optout::OptWord;
use projections::{Scope, names};
use tracing::{debug, warn};
use uuid::Uuid;

use super::apply::received_id;
use super::error::ItemError;
use super::status::wamid_hash;
use crate::app::Gateway;
use crate::worker::people::People;

/// How long the list of messages may take to catch up before answers are parked.
const CATCH_UP: StdDuration = StdDuration::from_secs(5);
/// Messages to one person that are looked at: what was refused or failed reached nobody, and the one before it counts.
const LOOK_BACK: usize = 20;
/// WhatsApp's times have no parts of a second, and its clock is not ours.
const SECOND: Duration = Duration::milliseconds(999);
const SKEW: Duration = Duration::minutes(5);
/// The kind under which the store keeps which message an answer is of.
const ANSWER: &str = "message.answer";

/// Somebody's sign, with its place in the journal.
pub struct Sign {
    pub account_id: AccountId,
    pub journal_id: JournalId,
    pub path: String,
    pub received_at: DateTime<Utc>,
    pub at: DateTime<Utc>,
    pub what: What,
}

pub enum What {
    /// A person wrote or tapped.
    Message { id: MessageId, quoted: Option<Wamid>, tap: Option<Option<String>>, is_stop: bool },
    /// A person stopped marketing in WhatsApp itself.
    Stop { contact_id: ContactId, how: OptOutSign },
}

/// Whether an inbound item is an answer at all: reactions, edits and what is said in groups are none.
pub fn of_message(
    gateway: &Gateway,
    account_id: AccountId,
    item: &MessageItem,
    at: DateTime<Utc>,
) -> Option<What> {
    if !item.opens_window {
        return None;
    }
    let tap = match &item.opt_out {
        Some(OptOutText::Button { label, .. }) if item.context_wamid.is_some() => {
            Some(label.clone())
        }
        _ => None,
    };
    let word = item.opt_out.as_ref().and_then(|text| text.word(&gateway.config.optout.words));
    Some(What::Message {
        id: received_id(gateway, account_id, &item.wamid, at),
        quoted: item.context_wamid.clone(),
        tap,
        is_stop: word == Some(OptWord::Stop),
    })
}

/// The signs of a page.
#[derive(Default)]
pub struct Answers(Vec<Sign>);

/// What a sign is about.
enum Found {
    Message(MessageId),
    /// Nothing that we know of.
    Nothing,
    /// Not told yet: looked at again when this becomes known.
    Later(Vec<u8>),
}

/// How much is known by now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A send whose outcome is not known yet will be known in a moment.
    Early,
    /// There is nothing more to wait for: what may have reached the person has.
    Late,
}

impl Answers {
    pub fn push(&mut self, sign: Sign) {
        self.0.push(sign);
    }

    /// Records them all, and parks those that cannot be told yet.
    pub async fn apply(self, gateway: &Gateway) -> Result<(), ItemError> {
        if self.0.is_empty() {
            return Ok(());
        }
        // Whatever a person answers was asked for in the log before; the list has to know it too.
        let head = gateway.ledger.head().await?;
        let is_current = gateway.read.wait_for(names::MESSAGES, head, CATCH_UP).await.is_ok();
        let now = gateway.clock.now();
        let mut parked = vec![];
        for sign in self.0 {
            let key = match is_current {
                true => record(gateway, &sign, &HashMap::new(), Stage::Early).await?,
                false => Some(wamid_or_id_hash(gateway, &sign)),
            };
            if let Some(hash) = key {
                parked.push(ParkedItem {
                    id: 0,
                    account_id: sign.account_id,
                    wamid_hash: hash,
                    journal_id: sign.journal_id,
                    item_path: sign.path,
                    received_at: now,
                });
            }
        }
        Ok(gateway.journal.park(&parked).await?)
    }
}

fn wamid_or_id_hash(gateway: &Gateway, sign: &Sign) -> Vec<u8> {
    match &sign.what {
        What::Message { quoted: Some(wamid), .. } => wamid_hash(gateway, sign.account_id, wamid),
        What::Message { id, .. } => message_hash(gateway, sign.account_id, *id),
        What::Stop { contact_id, .. } => {
            message_hash(gateway, sign.account_id, MessageId(contact_id.0))
        }
    }
}

/// What a sign is parked under that waits for one message to be decided.
pub fn message_hash(gateway: &Gateway, account_id: AccountId, id: MessageId) -> Vec<u8> {
    gateway.keys.lookup_hash(account_id.0, "message", &id.to_string())
}

/// Records one sign. Answers under what to park it, where it cannot be told yet.
pub async fn record(
    gateway: &Gateway,
    sign: &Sign,
    known: &HashMap<String, MessageId>,
    stage: Stage,
) -> Result<Option<Vec<u8>>, ItemError> {
    let recorded = match &sign.what {
        What::Message { id, quoted, tap, is_stop } => {
            let Some(inbound) = gateway.bus.load::<Message>(id.0).await? else { return Ok(None) };
            let Some(header) = &inbound.aggregate.header else { return Ok(None) };
            let found = match quoted {
                Some(wamid) => named(gateway, sign.account_id, wamid, known).await?,
                None => last(gateway, &moment(sign, header.contact_id), stage).await?,
            };
            let target = match found {
                Found::Message(target) => target,
                Found::Nothing => return Ok(None),
                Found::Later(hash) => return Ok(Some(hash)),
            };
            let answer = Answer {
                reply_id: Some(*id),
                reply: Some(quoted.is_some()),
                click: tap.clone(),
                opt_out: is_stop.then_some(OptOutSign::Reply),
                at: sign.at,
            };
            attribute(gateway, target, answer, Some((*id, &inbound))).await
        }
        What::Stop { contact_id, how } => {
            let target = match last(gateway, &moment(sign, *contact_id), stage).await? {
                Found::Message(target) => target,
                Found::Nothing => return Ok(None),
                Found::Later(hash) => return Ok(Some(hash)),
            };
            let answer = Answer { opt_out: Some(*how), at: sign.at, ..Answer::default() };
            attribute(gateway, target, answer, None).await
        }
    };
    match recorded {
        Ok(()) => {}
        Err(error @ ItemError::StoreAway(_)) => return Err(error),
        // The message itself is on record; only what it answers is not.
        Err(ItemError::Refused(error)) => {
            warn!(journal.id = %sign.journal_id, path = sign.path, error = %format!("{error:#}"), "what a message answers could not be recorded");
        }
    }
    Ok(None)
}

/// The message of ours that an answer names.
async fn named(
    gateway: &Gateway,
    account_id: AccountId,
    wamid: &Wamid,
    known: &HashMap<String, MessageId>,
) -> Result<Found, ItemError> {
    let id = match known.get(wamid.as_str()) {
        Some(id) => Some(*id),
        None => {
            let found =
                gateway.read.queries().message_by_wamid(&Scope::everything(), wamid).await?;
            found.map(|stored| MessageId(stored.id))
        }
    };
    let Some(id) = id else {
        return Ok(Found::Later(wamid_hash(gateway, account_id, wamid)));
    };
    let loaded = gateway.bus.load::<Message>(id.0).await?;
    let is_ours = loaded.is_some_and(|loaded| {
        let message = loaded.aggregate;
        message.direction == Direction::Outbound
            && message.header.is_some_and(|header| header.account_id == account_id)
    });
    // People quote themselves too.
    Ok(if is_ours { Found::Message(id) } else { Found::Nothing })
}

/// When and where a person gave a sign.
struct Moment {
    account_id: AccountId,
    contact_id: ContactId,
    at: DateTime<Utc>,
    /// What left later cannot be what it is about.
    until: DateTime<Utc>,
    /// The message that the sign came with, which is not what it is about.
    except: Option<MessageId>,
}

fn moment(sign: &Sign, contact_id: ContactId) -> Moment {
    Moment {
        account_id: sign.account_id,
        contact_id,
        at: sign.at,
        // What left after the webhook came in cannot be what it answers, however WhatsApp's clock goes.
        until: (sign.at + SECOND).min(sign.received_at),
        except: None,
    }
}

/// A send was refused because the person had stopped marketing in WhatsApp: recorded with what had reached them last.
///
/// # Errors
/// Where a store is away.
pub async fn refused(
    gateway: &Gateway,
    account_id: AccountId,
    contact_id: ContactId,
    refused: Option<MessageId>,
) -> Result<(), ItemError> {
    let at = gateway.clock.now();
    let moment = Moment { account_id, contact_id, at, until: at, except: refused };
    let Found::Message(target) = last(gateway, &moment, Stage::Late).await? else { return Ok(()) };
    let answer = Answer { opt_out: Some(OptOutSign::Refusal), at, ..Answer::default() };
    attribute(gateway, target, answer, None).await
}

/// What had gone to the person last when they gave their sign.
async fn last(gateway: &Gateway, moment: &Moment, stage: Stage) -> Result<Found, ItemError> {
    let Moment { account_id, contact_id, at, until, except } = *moment;
    let people = People::load(gateway, &[contact_id.0]).await.map_err(ItemError::StoreAway)?;
    // Somebody answers what went to any of their contacts.
    let everyone = match people.get(contact_id.0) {
        Some(person) => person.everyone().collect(),
        None => vec![contact_id.0],
    };
    let within = (at - ANSWERED_WITHIN - SKEW, at + SKEW);
    let queries = gateway.read.queries();
    let candidates = queries.last_sent(account_id.0, &everyone, within, LOOK_BACK).await?;
    let mut messages = gateway.bus.load_many::<Message>(&candidates).await?;
    let candidates: Vec<(Uuid, Message)> = candidates
        .into_iter()
        .filter(|id| except.is_none_or(|except| except.0 != *id))
        .filter_map(|id| Some((id, messages.remove(&id)?.aggregate)))
        .collect();
    Ok(match answered(&candidates, at, until) {
        None => Found::Nothing,
        Some((id, message)) if message.is_undecided() && stage == Stage::Early => {
            Found::Later(message_hash(gateway, account_id, MessageId(id)))
        }
        Some((id, _)) => Found::Message(MessageId(id)),
    })
}

/// Of these messages, which a person answered at `at`: the last that had left by `until`, at most 72 h before.
fn answered(
    candidates: &[(Uuid, Message)],
    at: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Option<(Uuid, &Message)> {
    let left =
        candidates.iter().filter_map(|(id, message)| Some((message.left_at()?, *id, message)));
    let (_, id, message) = left
        .filter(|(left_at, ..)| *left_at <= until && at - *left_at <= ANSWERED_WITHIN)
        .max_by_key(|(left_at, id, _)| (*left_at, *id))?;
    Some((id, message))
}

/// Records an answer with the message it is of, once for all messages there are.
async fn attribute(
    gateway: &Gateway,
    target: MessageId,
    mut answer: Answer,
    inbound: Option<(MessageId, &Loaded<Message>)>,
) -> Result<(), ItemError> {
    let Some(message) = gateway.bus.load::<Message>(target.0).await? else { return Ok(()) };
    if let Some(Some(label)) = &answer.click
        && !is_of_template(gateway, &message.aggregate, label).await?
    {
        answer.click = Some(None);
    }
    let mut context =
        Context::new(Actor::whatsapp(), gateway.ids.next_id(gateway.clock.now())).following();
    if let Some(thread) = inbound.and_then(|(_, loaded)| loaded.thread) {
        context = context.caused_by(thread.event_id);
    }
    let account = message.aggregate.header.as_ref().map(|header| header.account_id);
    let claim = account
        .zip(inbound)
        .map(|(account, (id, _))| Identity::new(account.0, ANSWER, id.to_string()));
    let (answer, claim) = (&answer, &claim);
    let recorded = gateway.bus.transact(&context, None, |tx| {
        Box::pin(async move {
            let command = MessageCommand::RecordAnswer(answer.clone());
            let before = tx.load::<Message>(target.0).await?;
            let is_news = before.is_some_and(|loaded| {
                use domain::GatewayAggregate;
                loaded.aggregate.decide(command.clone()).is_ok_and(|events| !events.is_empty())
            });
            if is_news {
                tx.execute::<Message>(target.0, command).await?;
                if let Some(claim) = claim {
                    tx.claim(claim, target.0);
                }
            }
            Ok::<_, CommandError<Refusal>>(is_news)
        })
    });
    match recorded.await {
        Ok((is_news, _)) => {
            let outcome = if is_news { "recorded" } else { "known" };
            metrics::counter!("gateway_answers_total", "outcome" => outcome).increment(1);
            Ok(())
        }
        // It is another message's answer already: what was told since does not change that.
        Err(TransactError::IdentityTaken { .. }) => {
            debug!(message.id = %target, "an answer is another message's already");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Only what stands in the template is shown by name: other labels may be anybody's words.
async fn is_of_template(
    gateway: &Gateway,
    message: &Message,
    label: &str,
) -> Result<bool, ItemError> {
    let template = message.header.as_ref().and_then(|header| header.template.as_ref());
    let Some(template) = template else { return Ok(false) };
    let loaded = gateway.bus.load::<Template>(template.id.0).await?;
    let components = loaded.and_then(|loaded| loaded.aggregate.parsed().ok());
    Ok(components.is_some_and(|components| components.has_quick_reply(label)))
}

#[cfg(test)]
mod tests {
    use domain::GatewayAggregate;
    use domain::message::{
        Content, ContentKind, DeliveryStatus, Failure, MessageHeader, Plan, Priority, Recipient,
        StatusReport,
    };
    use domain::primitives::WorkspaceId;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    /// A message that was handed to WhatsApp then, with what became of it.
    fn sent(n: u128, requested: i64, commands: Vec<MessageCommand>) -> (Uuid, Message) {
        let header = MessageHeader {
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            account_id: AccountId(Uuid::from_u128(2)),
            contact_id: ContactId(Uuid::from_u128(3)),
            campaign_id: None,
            is_test: false,
            content_kind: ContentKind::Text,
            template: None,
            priority: Priority::Single,
            time_to_live_s: None,
            external_id: None,
            metadata: None,
            reply_to: None,
            country: None,
        };
        let plan = Plan {
            header,
            to: Recipient::default(),
            content: Content::Text { body: "x".to_owned(), preview_url: false },
            skip: None,
            due_at: at(requested),
            at: at(requested),
        };
        let request = MessageCommand::RequestSend {
            attempt: 1,
            send_by: at(requested + 10),
            at: at(requested),
        };
        let mut message = Message::default();
        for command in [MessageCommand::Plan(Box::new(plan)), request].into_iter().chain(commands) {
            for event in message.decide(command).unwrap() {
                message.fold(event);
            }
        }
        (Uuid::from_u128(n), message)
    }

    fn status(status: DeliveryStatus, seconds: i64) -> MessageCommand {
        let failure = (status == DeliveryStatus::Failed).then(|| Failure {
            code: Some(131_026),
            title: "undeliverable".to_owned(),
            details: None,
            retryable: false,
            keep_away: None,
        });
        MessageCommand::RecordStatus(Box::new(StatusReport {
            attempt: Some(1),
            wamid: Wamid::parse("wamid.x").unwrap(),
            status,
            pricing: None,
            failure,
            retry_at: None,
            at: at(seconds),
        }))
    }

    fn of(candidates: &[(Uuid, Message)], seconds: i64) -> Option<u128> {
        let (at, until) = (at(seconds), at(seconds) + SECOND);
        answered(candidates, at, until).map(|(id, _)| id.as_u128())
    }

    #[test]
    fn an_answer_is_of_what_had_reached_the_person_last() {
        let messages = [
            sent(1, 0, vec![status(DeliveryStatus::Delivered, 2)]),
            sent(2, 100, vec![status(DeliveryStatus::Read, 103)]),
            sent(3, 200, vec![status(DeliveryStatus::Failed, 201)]),
            sent(4, 300, vec![]),
        ];
        assert_eq!(of(&messages, 50), Some(1));
        assert_eq!(of(&messages, 150), Some(2));
        // One that failed reached nobody; one that nobody knows of yet may have.
        assert_eq!(of(&messages, 250), Some(2));
        assert_eq!(of(&messages, 350), Some(4));
        assert_eq!(of(&messages, -5), None);
        assert!(messages[3].1.is_undecided() && !messages[1].1.is_undecided());
    }

    #[test]
    fn after_72_hours_it_is_no_answer_and_within_the_second_it_is() {
        let message = [sent(1, 0, vec![status(DeliveryStatus::Sent, 1)])];
        let limit = 72 * 3_600;
        assert_eq!(of(&message, limit), Some(1));
        assert_eq!(of(&message, limit + 1), None);
        assert_eq!(of(&message, 0), Some(1));
    }

    #[test]
    fn whatsapps_earlier_clock_counts_and_what_left_after_the_webhook_came_in_does_not() {
        // By our clock it left at 10, by WhatsApp's at 7; the answer is from 8.
        let message = [sent(1, 10, vec![status(DeliveryStatus::Sent, 7)])];
        assert_eq!(of(&message, 8), Some(1));
        assert!(answered(&message, at(8), at(6)).is_none());
    }
}
