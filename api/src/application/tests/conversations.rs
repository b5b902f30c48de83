//! Conversations on a real store: of before they were written down, at the edge of the window, in a crowd, and told of once.

use ::projections::names;
use chrono::{DateTime, Duration, Utc};
use domain::conversation::{Conversation, ConversationCommand, Handling, Inbound};
use domain::message::{
    Content, ContentKind, Message, MessageCommand, MessageHeader, MessageStatus, Priority,
    Recipient, SkipReason,
};
use domain::port::{EventFeed, StreamId};
use domain::primitives::{
    AccountId, ConversationId, MessageId, PhoneNumber, Wamid, conversation_id,
};
use infrastructure::clock::ManualClock;

use super::*;
use crate::application::conversations::{self, ConversationFilter, Reply};
use crate::worker;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

impl World {
    /// The person writes, as the log of an older version has it: without a word of the conversation.
    async fn wrote_before(&self, account: AccountId, contact: &ContactView, n: u32) -> Inbound {
        let (gateway, now) = (&self.gateway, self.gateway.clock.now());
        let message_id = MessageId(gateway.ids.next_id(now));
        let heard = Inbound {
            workspace_id: self.workspace,
            account_id: account,
            contact_id: contact.id,
            message_id,
            opens_window: true,
            at: now,
        };
        let header = MessageHeader {
            workspace_id: self.workspace,
            account_id: account,
            contact_id: contact.id,
            campaign_id: None,
            is_test: false,
            content_kind: ContentKind::Inbound,
            template: None,
            priority: Priority::Reply,
            time_to_live_s: None,
            external_id: None,
            metadata: None,
            reply_to: None,
            country: None,
        };
        let phone = contact.phone_number.as_deref().map(|phone| PhoneNumber::parse(phone).unwrap());
        let receive = MessageCommand::Receive {
            header: Box::new(header),
            from: Recipient { phone, user_id: None },
            wamid: Wamid::parse(&format!("wamid.in.{n}.{message_id}")).unwrap(),
            content: Content::Text { body: "hello".to_owned(), preview_url: false },
            opens_window: true,
            at: now,
        };
        let context = command::context(gateway, &self.admin);
        gateway.bus.execute::<Message>(message_id.0, receive, &context).await.unwrap();
        heard
    }

    async fn wrote(&self, account: AccountId, contact: &ContactView) -> ConversationId {
        let heard = self.wrote_before(account, contact, 0).await;
        let context = command::context(&self.gateway, &self.admin);
        let id = conversation_id(account, contact.id);
        let note = ConversationCommand::NoteInbound(heard);
        self.gateway.bus.execute::<Conversation>(id.0, note, &context).await.unwrap();
        id
    }

    async fn settled(&self) {
        let head = self.gateway.ledger.head().await.unwrap();
        for name in names::ALL {
            self.gateway.read.wait_for(name, head, PATIENCE).await.unwrap();
        }
    }

    async fn facts(&self, id: ConversationId) -> Vec<String> {
        let stream = StreamId::new(domain::port::AggregateType::Conversation, id.0);
        let events = self.gateway.ledger.read_streams(&[stream]).await.unwrap();
        events.into_iter().map(|event| event.event_type).collect()
    }
}

#[tokio::test]
async fn conversations_of_before_are_listed_at_once_and_opened_once() {
    let world = World::new().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let account = world.account("Shop").await.id;
    let (one, other) =
        (world.contact("+4915112345671").await, world.contact("+4915112345672").await);
    for n in 0..3 {
        world.wrote_before(account, &one, n).await;
        world.wrote_before(account, &other, n).await;
    }
    world.settled().await;
    let ids = [one.id, other.id].map(|contact| conversation_id(account, contact));
    let list = conversations::list(
        gateway,
        admin,
        ConversationFilter::default(),
        PageArgs::default(),
        None,
    );
    let list = list.await.unwrap();
    assert_eq!(list.edges.len(), 2);
    assert!(list.edges.iter().all(|edge| !edge.node.is_open()));
    for edge in &list.edges {
        assert_eq!(conversations::unread(gateway, admin, &edge.node).await.unwrap(), 3);
    }
    assert!(world.facts(ids[0]).await.is_empty());
    // Whoever does something about one opens it; the worker opens the rest.
    let id = ids[0].to_string();
    let handed = conversations::set_handling(gateway, admin, &id, Handling::People);
    assert_eq!(handed.await.unwrap().value.handling(), Handling::People);
    assert_eq!(world.facts(ids[0]).await, ["conversation.opened", "conversation.handed_over"]);
    let runs = [worker::conversations::open_all(gateway), worker::conversations::open_all(gateway)];
    for done in futures::future::join_all(runs).await {
        done.unwrap();
    }
    assert_eq!(world.facts(ids[1]).await, ["conversation.opened"]);
    let head = gateway.ledger.head().await.unwrap();
    worker::conversations::open_all(gateway).await.unwrap();
    assert_eq!(gateway.ledger.head().await.unwrap(), head);
    let opened = conversations::get(gateway, admin, &ids[1].to_string(), Some(head)).await.unwrap();
    let first = opened.row.first.at();
    assert!(opened.is_open() && opened.opened_at() == first, "{opened:?}");
}

/// What is shown of the window and what a reply meets are one rule.
#[tokio::test]
async fn an_answer_goes_as_long_as_the_window_is_shown_as_open() {
    let start: DateTime<Utc> = "2026-11-27T09:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::new(start));
    let world = World::by(clock.clone()).await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let account = world.account("Shop").await.id;
    let person = world.contact("+4915112345671").await;
    let id = world.wrote(account, &person).await;
    let mut seen = vec![];
    for seconds in [0, 60, 86_400 - 91, 86_400 - 90, 86_400 - 1, 86_400, 90_000] {
        clock.set(start + Duration::seconds(seconds));
        world.settled().await;
        let shown = conversations::get(gateway, admin, &id.to_string(), None).await.unwrap();
        let until = conversations::window_expires_at(gateway, admin, &shown).await.unwrap();
        let reply = Reply {
            conversation_id: id.to_string(),
            text: Some("good day".to_owned()),
            ..Reply::default()
        };
        let sent = conversations::reply(gateway, admin, reply).await.unwrap().value;
        assert_eq!(until, (seconds < 86_400 - 90).then_some(start + Duration::hours(24)));
        let closed = (MessageStatus::Skipped, Some(SkipReason::WindowClosed));
        assert_eq!((sent.status, sent.skip_reason) == closed, until.is_none(), "{seconds} s");
        seen.push(until.is_some());
    }
    assert_eq!(seen, [true, true, true, false, false, false, false]);
    // Planning answers wrote nothing to the conversation.
    assert_eq!(world.facts(id).await, ["conversation.opened"]);
}

#[tokio::test]
async fn of_many_who_mark_it_read_at_once_one_tells_whatsapp() {
    let world = World::new().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let account = world.account("Shop").await.id;
    let person = world.contact("+4915112345671").await;
    let id = world.wrote(account, &person).await;
    world.settled().await;
    let text = id.to_string();
    let all = (0..16).map(|_| conversations::mark_read(gateway, admin, &text, None, true));
    for marked in futures::future::join_all(all).await {
        let marked = marked.unwrap().value;
        assert_eq!(conversations::unread(gateway, admin, &marked).await.unwrap(), 0);
    }
    // Nobody runs the sandbox's number here: what became of it is a failure, on record once.
    let facts = loop {
        let facts = world.facts(id).await;
        if facts.len() > 2 {
            break facts;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(facts[..2], ["conversation.opened", "conversation.read"]);
    assert!(facts[2].starts_with("conversation.receipt_"), "{facts:?}");
    conversations::mark_read(gateway, admin, &text, None, true).await.unwrap();
    assert_eq!(world.facts(id).await.len(), 3);
}

#[tokio::test]
async fn what_others_say_to_each_other_is_unknown_and_looking_is_no_answering() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let (account, other) = (world.account("Shop").await.id, world.account("Other").await.id);
    let person = world.contact("+4915112345671").await;
    let id = world.wrote(account, &person).await.to_string();
    world.settled().await;
    let limited = Caller {
        accounts: Some(BTreeSet::from([other])),
        ..world.caller(&[Scope::Read, Scope::Personal, Scope::Send])
    };
    let reply =
        Reply { conversation_id: id.clone(), text: Some("hi".to_owned()), ..Reply::default() };
    assert_eq!(refusal(conversations::get(gateway, &limited, &id, None).await), NOT_FOUND);
    assert_eq!(refusal(conversations::reply(gateway, &limited, reply.clone()).await), NOT_FOUND);
    let marked = conversations::mark_read(gateway, &limited, &id, None, true).await;
    assert_eq!(refusal(marked), NOT_FOUND);
    let reader = world.caller(&[Scope::Read]);
    assert_eq!(refusal(conversations::reply(gateway, &reader, reply).await), FORBIDDEN);
    let search =
        ConversationFilter { search: Some("49".to_owned()), ..ConversationFilter::default() };
    let found = conversations::list(gateway, &reader, search, PageArgs::default(), None).await;
    assert_eq!(refusal(found.map(drop)), FORBIDDEN);
    let both = Reply {
        conversation_id: id,
        text: Some("hi".to_owned()),
        template: Some(messages::TemplateMessage::default()),
        ..Reply::default()
    };
    assert_eq!(refusal(conversations::reply(gateway, &world.admin, both).await), invalid("input"));
}
