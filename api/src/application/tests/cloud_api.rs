//! The Cloud API's form, where WhatsApp does not answer in time.

use std::time::Duration;

use domain::message::MessageCommand;
use domain::port::Clock;
use domain::primitives::Wamid;
use infrastructure::clock::ManualClock;

use super::*;
use crate::application::cloud_api::Refusal;
use crate::application::cloud_api::messages::{Call, PATIENCE, call};
use crate::application::cloud_api::templates::{Listing, list};

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
    assert_eq!((told.status, known.status), (known.status, domain::message::MessageStatus::Queued));

    // WhatsApp takes it, and the same request is answered with that.
    let now = clock.now();
    let context = command::context(gateway, &world.admin);
    let wamid = Wamid::parse("wamid.HBgMNDkxNTExMjM0NTY3OFUCABEYEjAA").unwrap();
    for command in [
        MessageCommand::RequestSend { attempt: 1, send_by: now, at: now },
        MessageCommand::RecordAccepted { attempt: 1, wamid: wamid.clone(), held: false, at: now },
    ] {
        let done =
            gateway.bus.execute::<domain::message::Message>(told.message_id.0, command, &context);
        done.await.unwrap();
    }
    for _ in 0..2 {
        let done = call(gateway, &caller, order(&account)).await.unwrap();
        assert_eq!(done.message_id, Some(told.message_id));
        assert_eq!(done.body["messages"][0]["id"], wamid.as_str());
        assert_eq!(done.body["contacts"][0]["wa_id"], "4915112345678");
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
