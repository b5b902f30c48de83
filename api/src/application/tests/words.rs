//! WhatsApp's word on a message and what it means beyond it, as one.

use chrono::{DateTime, Utc};
use domain::account::PauseCause;
use domain::contact::{Contact, ContactCommand};
use domain::message::{DeliveryStatus, Failure, Message, MessageCommand, StatusReport};
use domain::port::{AggregateType, EventFeed, Fence, RecordedEvent, StreamId};
use domain::primitives::{AccountId, ContactId, MessageId, Wamid};
use infrastructure::ledger::{CommandError, Context};
use uuid::Uuid;

use super::sending::greeting;
use super::*;
use crate::worker::dispatch::{Effect, EffectTarget, Recorded, Word, record_words};

/// A message that WhatsApp has accepted.
struct Sent {
    id: Uuid,
    account_id: AccountId,
    contact_id: ContactId,
    wamid: Wamid,
}

async fn sent(world: &World, account: &AccountView, to: &str) -> Sent {
    let sent = messages::send(&world.gateway, &world.admin, greeting(account, to));
    let message = sent.await.unwrap().value;
    let wamid = Wamid::parse(&format!("wamid.{to}")).unwrap();
    let at = world.gateway.clock.now();
    let context = command::context(&world.gateway, &world.admin);
    for command in [
        MessageCommand::RequestSend { attempt: 1, send_by: at, at },
        MessageCommand::RecordAccepted { attempt: 1, wamid: wamid.clone(), held: false, at },
    ] {
        let done = world.gateway.bus.execute::<Message>(message.id.0, command, &context);
        done.await.unwrap();
    }
    Sent { id: message.id.0, account_id: account.id, contact_id: message.contact_id, wamid }
}

fn failed(sent: &Sent, at: DateTime<Utc>) -> MessageCommand {
    let title = "the person stopped marketing".to_owned();
    MessageCommand::RecordStatus(Box::new(StatusReport {
        attempt: Some(1),
        wamid: sent.wamid.clone(),
        status: DeliveryStatus::Failed,
        pricing: None,
        failure: Some(Failure {
            code: Some(131_050),
            title,
            details: None,
            retryable: false,
            keep_away: None,
        }),
        retry_at: None,
        at,
    }))
}

fn word(world: &World, sent: &Sent, effects: Vec<Effect>) -> Word {
    let now = world.gateway.clock.now();
    Word {
        message_id: sent.id,
        command: failed(sent, now),
        context: Context::new(Actor::whatsapp(), world.gateway.ids.next_id(now)).following(),
        effects,
        target: EffectTarget {
            account_id: sent.account_id,
            contact_id: Some(sent.contact_id),
            template_id: None,
            message_id: Some(MessageId(sent.id)),
        },
        always: false,
    }
}

fn opt_out() -> Vec<Effect> {
    vec![Effect::OptOutOfMarketing { source: "WhatsApp: stopped".to_owned() }]
}

async fn stream(world: &World, kind: AggregateType, id: Uuid) -> Vec<RecordedEvent> {
    world.gateway.ledger.read_streams(&[StreamId::new(kind, id)]).await.unwrap()
}

fn refused_by_fence(recorded: &[Recorded]) -> bool {
    recorded.iter().all(|word| matches!(word, Err(CommandError::Fenced)))
}

#[tokio::test]
async fn a_status_and_its_effects_are_one_append_and_it_is_their_cause() {
    let world = World::new().await;
    let account = world.account("Shop").await;
    world.template(&account, TemplateCategory::Utility).await;
    let mut sent_to = vec![];
    for number in ["+4915112345670", "+4915112345671", "+4915112345672"] {
        sent_to.push(sent(&world, &account, number).await);
    }
    let words: Vec<Word> = sent_to
        .iter()
        .enumerate()
        // The last one's means nothing to anybody else.
        .map(|(n, sent)| word(&world, sent, if n < 2 { opt_out() } else { vec![] }))
        .collect();
    // Cut short: neither the statuses with effects nor the effects are there.
    let stale = |words: &[Word]| -> Vec<Word> {
        let fence = || Fence { lease: "nobody's".to_owned(), epoch: 7 };
        let fenced =
            |word: &Word| Word { context: word.context.clone().fenced(fence()), ..word.clone() };
        words.iter().map(fenced).collect()
    };
    assert!(refused_by_fence(&record_words(&world.gateway, stale(&words[..2])).await));
    for sent in &sent_to {
        assert_eq!(stream(&world, AggregateType::Message, sent.id).await.len(), 3);
        let contact = world.gateway.bus.load::<Contact>(sent.contact_id.0).await.unwrap().unwrap();
        assert_eq!(
            contact.aggregate.consent.status_for(TemplateCategory::Marketing),
            ConsentStatus::Unknown
        );
    }

    let recorded = record_words(&world.gateway, words.clone()).await;
    assert_eq!(
        recorded.iter().map(|word| word.as_ref().unwrap().events).collect::<Vec<_>>(),
        [1, 1, 1]
    );
    for (n, sent) in sent_to.iter().enumerate() {
        let message = stream(&world, AggregateType::Message, sent.id).await;
        let status = message.last().unwrap();
        assert_eq!(status.event_type, "message.failed");
        // Itself part of what the message is part of.
        assert_eq!(status.metadata.causation_id, Some(message[2].event_id));
        let contact = stream(&world, AggregateType::Contact, sent.contact_id.0).await;
        let opted_out: Vec<_> =
            contact.iter().filter(|event| event.event_type == "contact.opted_out").collect();
        if n == 2 {
            assert!(opted_out.is_empty());
            continue;
        }
        assert_eq!(opted_out.len(), 1);
        assert_eq!(opted_out[0].metadata.causation_id, Some(status.event_id));
        assert_eq!(opted_out[0].metadata.correlation_id, message[0].metadata.correlation_id);
    }

    // They wanted it again since; told twice, it is no news, and neither is what follows from it.
    for sent in &sent_to {
        let at = world.gateway.clock.now();
        let again = ContactCommand::RecordConsent {
            category: Some(TemplateCategory::Marketing),
            status: ConsentStatus::OptedIn,
            source: "a form".to_owned(),
            evidence: None,
            given_at: at,
            at,
        };
        let context = command::context(&world.gateway, &world.admin);
        world.gateway.bus.execute::<Contact>(sent.contact_id.0, again, &context).await.unwrap();
    }
    let head = world.gateway.ledger.head().await.unwrap();
    let recorded = record_words(&world.gateway, words).await;
    assert!(recorded.iter().all(|word| word.as_ref().unwrap().events == 0));
    assert_eq!(world.gateway.ledger.head().await.unwrap(), head);
}

#[tokio::test]
async fn what_the_answer_to_a_send_means_for_the_account_is_recorded_with_it() {
    let world = World::new().await;
    let account = world.account("Shop").await;
    world.template(&account, TemplateCategory::Utility).await;
    let sent = sent(&world, &account, "+4915112345670").await;
    let pause = Effect::PauseAccount {
        reason: "WhatsApp says so".to_owned(),
        until: None,
        cause: PauseCause::Whatsapp,
    };
    // A message that refuses the word does not keep the account from hearing it, nor the other message from its own.
    let unknown = Word {
        message_id: Uuid::from_u128(9),
        always: true,
        ..word(&world, &sent, vec![pause.clone()])
    };
    let known = Word { always: true, ..word(&world, &sent, vec![pause]) };
    let recorded = record_words(&world.gateway, vec![unknown, known]).await;
    assert!(matches!(recorded[0], Err(CommandError::Domain(_))));
    assert_eq!(recorded[1].as_ref().unwrap().events, 1);
    let message = stream(&world, AggregateType::Message, sent.id).await;
    let account = stream(&world, AggregateType::Account, account.id.0).await;
    let pauses: Vec<_> =
        account.iter().filter(|event| event.event_type == "account.paused").collect();
    assert_eq!(pauses.len(), 1, "the same twice is no news");
    assert_eq!(message.last().unwrap().event_type, "message.failed");
}
