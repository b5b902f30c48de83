//! The Cloud API's form, where WhatsApp does not answer in time.

use std::time::Duration;

use domain::message::{Message, MessageCommand, MessageStatus};
use domain::port::Clock;
use domain::primitives::{Personal, Wamid};
use infrastructure::clock::ManualClock;
use serde_json::Value;

use super::*;
use crate::application::cloud_api::messages::{Call, PATIENCE, call};
use crate::application::cloud_api::templates::{Listing, list};
use crate::application::cloud_api::{Refusal, Told};
use crate::worker::dispatch::wire_content;

fn order(account: &AccountView) -> Call {
    let text = json!({ "type": "text", "text": "Ana" });
    Call {
        phone_number_id: account.phone_number_id.clone(),
        body: json!({
            "messaging_product": "whatsapp", "to": "4915112345678", "type": "template",
            "template": { "name": "hello", "language": { "code": "en_US" },
                          "components": [{ "type": "body", "parameters": [text] }] },
        }),
        idempotency_key: Some("order-17".to_owned()),
        patience: PATIENCE,
    }
}

/// Records that WhatsApp took the message.
async fn taken(world: &World, told: &Told, held: bool) -> Wamid {
    let now = world.gateway.clock.now();
    let context = command::context(&world.gateway, &world.admin);
    let wamid = Wamid::parse("wamid.HBgMNDkxNTExMjM0NTY3OFUCABEYEjAA").unwrap();
    for command in [
        MessageCommand::RequestSend { attempt: 1, send_by: now, at: now },
        MessageCommand::RecordAccepted { attempt: 1, wamid: wamid.clone(), held, at: now },
    ] {
        let done = world.gateway.bus.execute::<Message>(told.message_id.0, command, &context);
        done.await.unwrap();
    }
    wamid
}

/// Nobody sends in this world, so the outcome is what the test records.
#[tokio::test]
async fn an_answer_waits_ten_seconds_and_a_repetition_gets_what_became_of_the_message() {
    let clock = Arc::new(ManualClock::new("2026-11-23T09:00:00Z".parse().unwrap()));
    let world = World::by(clock.clone()).await;
    let account = world.account("Support").await;
    world.template(&account, TemplateCategory::Utility).await;
    let (gateway, caller) = (&world.gateway, world.caller(&[Scope::Send]));
    let began = clock.now();
    let late = {
        let asked = call(gateway, &caller, order(&account));
        tokio::pin!(asked);
        loop {
            tokio::select! {
                answer = &mut asked => break answer,
                // Only once it waits may time go on.
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    if clock.next_wake().is_some() {
                        clock.advance(Duration::from_secs(1));
                    }
                }
            }
        }
    };
    assert!(clock.now() - began >= chrono::Duration::seconds(10), "{}", clock.now());
    let refusal = late.unwrap_err();
    assert_eq!((refusal.http, refusal.code), (409, 131_000));
    let told = refusal.told.unwrap();
    let id = told.message_id.to_string();
    let known = messages::get(gateway, &world.admin, &id, None, None).await.unwrap();
    assert_eq!((told.status, known.status), (known.status, MessageStatus::Queued));

    // WhatsApp takes it, and the same request is answered with that.
    let wamid = taken(&world, &told, true).await;
    for _ in 0..2 {
        let done = call(gateway, &caller, order(&account)).await.unwrap();
        assert_eq!(done.message_id, Some(told.message_id));
        assert_eq!(
            done.body,
            json!({
                "messaging_product": "whatsapp",
                "contacts": [{ "input": "4915112345678", "wa_id": "4915112345678" }],
                "messages": [{ "id": wamid.as_str(), "message_status": "held_for_quality_assessment" }],
            })
        );
    }
    let mut other = order(&account);
    other.body["to"] = json!("4915112345679");
    let reused = call(gateway, &caller, other).await.unwrap_err();
    assert_eq!((reused.http, reused.code), (409, 100));
}

#[tokio::test]
async fn numbers_of_others_and_scopes_that_are_missing_are_refused_as_whatsapp_does() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let other = workspaces::create(&world.gateway, &world.admin, "Other".to_owned(), None);
    let other = other.await.unwrap().value.id;
    let stranger = Caller {
        workspaces: Some(BTreeSet::from([other])),
        ..world.caller(&[Scope::Send, Scope::Read])
    };
    let unknown = Call { phone_number_id: "1".to_owned(), ..order(&account) };
    let foreign = call(&world.gateway, &stranger, order(&account)).await.unwrap_err();
    let nowhere = call(&world.gateway, &world.admin, unknown).await.unwrap_err();
    let text = |refusal: Refusal, id: &str| refusal.body("A").to_string().replace(id, "");
    assert_eq!(
        text(foreign, &account.phone_number_id),
        text(nowhere, "'1'").replace("ID ", "ID ''")
    );
    let reader = world.caller(&[Scope::Read]);
    assert_eq!(call(&world.gateway, &reader, order(&account)).await.unwrap_err().code, 10);
    let sender = world.caller(&[Scope::Send]);
    let mut to_user = order(&account);
    to_user.body["to"].take();
    to_user.body["recipient"] = json!("DE.1234567890123456");
    assert_eq!(call(&world.gateway, &sender, to_user).await.unwrap_err().code, 10);
    let listed = list(&world.gateway, &sender, &account.waba_id, Listing::default());
    assert_eq!(listed.await.unwrap_err().code, 10);
}

#[tokio::test]
async fn an_answer_comes_as_soon_as_whatsapp_has_taken_the_message() {
    // Time does not pass here, so that nothing but WhatsApp's word can end the wait.
    let clock = Arc::new(ManualClock::new("2026-11-23T09:00:00Z".parse().unwrap()));
    let world = World::by(clock).await;
    let account = world.account("Support").await;
    world.template(&account, TemplateCategory::Utility).await;
    let (gateway, caller) = (&world.gateway, world.caller(&[Scope::Send]));
    let at_once = Call { patience: Duration::ZERO, ..order(&account) };
    let told = call(gateway, &caller, at_once).await.unwrap_err().told.unwrap();
    let waits = call(gateway, &caller, order(&account));
    let (done, wamid) = tokio::join!(waits, taken(&world, &told, false));
    let sent = &done.unwrap().body["messages"][0];
    assert_eq!(sent, &json!({ "id": wamid.as_str(), "message_status": "accepted" }));
}

#[tokio::test]
async fn a_gateway_that_stops_keeps_nobody_waiting() {
    let clock = Arc::new(ManualClock::new("2026-11-23T09:00:00Z".parse().unwrap()));
    let world = World::by(clock).await;
    let account = world.account("Support").await;
    world.template(&account, TemplateCategory::Utility).await;
    world.gateway.local.streams.close();
    let caller = world.caller(&[Scope::Send]);
    let refusal = call(&world.gateway, &caller, order(&account)).await.unwrap_err();
    assert_eq!((refusal.http, refusal.told.unwrap().status), (409, MessageStatus::Queued));
}

/// What a program writes is what WhatsApp is given, apart from `false` and `null`, which say nothing.
#[tokio::test]
async fn content_of_every_kind_goes_to_whatsapp_as_it_was_written() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let folder =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../infrastructure/tests/fixtures/cloud-api/requests");
    let mut bodies = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let body: Value = serde_json::from_str(&text).unwrap();
        if body["type"].is_string() && body["type"] != "template" {
            bodies.push(body);
        }
    }
    let media = json!({ "id": "604000000000004" });
    for (kind, content) in [
        ("text", json!({ "body": "See https://example.org", "preview_url": true })),
        ("video", json!({ "link": "https://example.org/tour.mp4", "caption": "The yard" })),
        ("audio", json!({ "id": "604000000000004", "voice": true })),
        ("audio", media.clone()),
        ("sticker", media),
        ("location", json!({ "latitude": 52.52, "longitude": 13.405, "name": "Depot" })),
        (
            "contacts",
            json!([{ "name": { "formatted_name": "Ada", "first_name": "Ada" },
                     "phones": [{ "phone": "+447700900123", "type": "WORK", "wa_id": "447700900123" }] }]),
        ),
        ("reaction", json!({ "message_id": "wamid.ZXhhbXBsZS1pbi10ZXh0", "emoji": "" })),
    ] {
        bodies.push(json!({
            "messaging_product": "whatsapp", "to": "447700900123", "type": kind, kind: content,
        }));
    }
    let mut kinds = BTreeSet::new();
    for body in bodies {
        let asked = Call {
            phone_number_id: account.phone_number_id.clone(),
            body: body.clone(),
            idempotency_key: None,
            patience: Duration::ZERO,
        };
        // The window is closed, and what was to be said is on record all the same.
        let refusal = call(&world.gateway, &world.admin, asked).await.unwrap_err();
        assert_eq!(refusal.code, 131_047, "{body}");
        let id = refusal.told.unwrap().message_id;
        let message = command::folded::<Message>(&world.gateway, id.0, "message").await.unwrap();
        let content = message.content.as_ref().and_then(Personal::known).unwrap();
        let wire = serde_json::to_value(wire_content(content, None, None).unwrap()).unwrap();
        let kind = body["type"].as_str().unwrap().to_owned();
        let mut written = body[&kind].clone();
        if let Some(object) = written.as_object_mut() {
            object.retain(|_, value| !value.is_null() && *value != false);
        }
        assert_eq!((&wire["type"], &wire[&kind]), (&body["type"], &written));
        let quoted = message.header.as_ref().and_then(|it| it.reply_to.as_ref());
        let quoted = quoted.and_then(Personal::known).map(Wamid::as_str);
        assert_eq!(quoted, body["context"]["message_id"].as_str(), "{body}");
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}
