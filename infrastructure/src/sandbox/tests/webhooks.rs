use serde_json::json;

use super::*;
use crate::cloud_api::wire::webhook::MessageContent;

#[tokio::test]
async fn statuses_wait_for_their_delay_and_tell_when_they_happened() {
    let stage = Stage::new().await;
    stage.ada_writes();
    stage.settled().await;
    stage.behave(json!({"statusDelayMs":{"min":1000,"max":1000},"readRate":1.0}));
    stage.text(ADA, "x").await;
    assert!(stage.receiver.statuses().is_empty());
    for (place, kind) in ["sent", "delivered", "read"].into_iter().enumerate() {
        stage.advance(1000).await;
        until(kind, || stage.receiver.statuses().len() > place).await;
        let statuses = stage.receiver.statuses();
        assert_eq!(statuses[place].status.as_str(), kind);
        let at = statuses[place].timestamp.unwrap().at() - start_of_time();
        assert_eq!(at.num_seconds(), i64::try_from(place).unwrap() + 1);
    }
}

#[tokio::test]
async fn what_is_not_answered_200_comes_again_after_1_2_and_4_seconds() {
    let stage = Stage::new().await;
    stage.receiver.answers(503);
    stage.ada_writes();
    until("the first attempt", || stage.receiver.count() == 1).await;
    for (wait, attempts) in [(1000, 2), (2000, 3), (4000, 4)] {
        let due = stage.clock_now() + chrono::TimeDelta::milliseconds(wait);
        until("the next attempt to be planned", || stage.clock.next_wake() == Some(due)).await;
        assert_eq!(stage.receiver.count(), attempts - 1);
        stage.advance(u64::try_from(wait).unwrap()).await;
        until("another attempt", || stage.receiver.count() == attempts).await;
    }
    let due = stage.clock_now() + chrono::TimeDelta::seconds(8);
    until("the next attempt to be planned", || stage.clock.next_wake() == Some(due)).await;
    stage.receiver.answers(200);
    stage.advance(8000).await;
    stage.settled().await;
    let stats = stage.sandbox.stats();
    assert_eq!((stats.webhooks_sent, stats.webhooks_acked), (5, 1));
    let messages = stage.receiver.messages();
    assert!(messages.iter().all(|message| message.id == messages[0].id));
}

#[tokio::test]
async fn an_hour_without_an_answer_is_given_up() {
    let stage = Stage::new().await;
    stage.receiver.answers(500);
    stage.ada_writes();
    until("the first attempt", || stage.receiver.count() == 1).await;
    stage.settled_in_steps_of(30_000).await;
    let stats = stage.sandbox.stats();
    assert_eq!((stats.webhooks_pending, stats.webhooks_dropped), (0, 1));
    assert!(stage.receiver.count() > 10);
}

#[tokio::test]
async fn an_outage_ends_with_everything_delivered_at_once() {
    let stage = Stage::new().await;
    stage.ada_writes();
    stage.settled().await;
    stage.behave(json!({"webhookOutage": true}));
    for n in 0..40 {
        stage.text(ADA, &n.to_string()).await;
    }
    until("another attempt to be planned", || stage.clock.next_wake().is_some()).await;
    assert!(stage.receiver.statuses().is_empty());
    stage.behave(json!({}));
    stage.settled().await;
    assert_eq!(stage.receiver.statuses().len(), 80);
}

#[tokio::test]
async fn many_statuses_travel_in_one_webhook_when_told_to() {
    let stage = Stage::new().await;
    approved_template(&stage).await;
    stage.settled().await;
    stage.behave(json!({"statusesPerWebhook": 100, "statusDelayMs": {"min": 1000, "max": 1000}}));
    let before = stage.receiver.count();
    for n in 0..50 {
        stage
            .send(&format!("+4477009{n:05}"), from_template("parcel_on_the_way", &n.to_string()))
            .await;
    }
    stage.advance(5000).await;
    stage.settled().await;
    assert_eq!(stage.receiver.statuses().len(), 100);
    assert!(stage.receiver.count() - before <= 4, "{} webhooks", stage.receiver.count() - before);
}

#[tokio::test]
async fn statuses_of_one_message_keep_their_order_unless_shuffled() {
    let orders = |kinds: Vec<Status>| {
        let mut by_message: std::collections::BTreeMap<String, Vec<String>> = Default::default();
        for status in kinds {
            by_message.entry(status.id).or_default().push(status.status.to_string());
        }
        by_message.into_values().filter(|order| *order != ["sent", "delivered", "read"]).count()
    };
    for (shuffle, disordered) in [(false, false), (true, true)] {
        let stage = Stage::new().await;
        approved_template(&stage).await;
        stage.behave(json!({"readRate": 1.0, "shuffleWebhooks": shuffle}));
        for n in 0..40 {
            stage
                .send(
                    &format!("+4477009{n:05}"),
                    from_template("parcel_on_the_way", &n.to_string()),
                )
                .await;
        }
        stage.settled().await;
        assert_eq!(stage.receiver.statuses().len(), 120);
        assert_eq!(orders(stage.receiver.statuses()) > 0, disordered, "shuffle {shuffle}");
    }
}

#[tokio::test]
async fn duplicates_arrive_although_the_first_was_answered() {
    let stage = Stage::new().await;
    stage.ada_writes();
    stage.settled().await;
    stage.behave(json!({"duplicateWebhooks": 1.0}));
    stage.text(ADA, "x").await;
    until("four webhooks", || stage.receiver.statuses().len() == 4).await;
    stage.settled().await;
    let mut kinds = stage.receiver.kinds();
    kinds.sort();
    assert_eq!(kinds, ["delivered", "delivered", "sent", "sent"]);
}

#[tokio::test]
async fn odd_webhooks_are_sent_when_ordered() {
    let stage = Stage::new().await;
    stage.ada_writes();
    stage.settled().await;
    stage.behave(
        json!({"wrongSignatureRate": 1.0, "unknownFieldRate": 1.0, "millisecondsRate": 1.0}),
    );
    stage.text(ADA, "x").await;
    until("two refused", || stage.receiver.wrongly_signed() == 2).await;
    stage.settled_in_steps_of(1000).await;
    assert_eq!(stage.receiver.kinds().len(), 2);
    assert!(stage.receiver.values().contains(&ChangeValue::Other), "a field that nobody knows");
    let body = stage.receiver.seen.lock().unwrap().last().cloned().unwrap();
    assert!(String::from_utf8(body).unwrap().contains("\"timestamp\":\"1795305600000\""));
}

#[tokio::test]
async fn people_answer_and_that_opens_their_window() {
    let stage = Stage::new().await;
    approved_template(&stage).await;
    stage.behave(json!({"replyRate": 1.0}));
    stage.send(ADA, from_template("parcel_on_the_way", "x")).await;
    stage.settled().await;
    let messages = stage.receiver.messages();
    let answer = messages.first().expect("an answer");
    assert_eq!(answer.from.as_deref(), Some("447700900123"));
    assert_eq!(
        answer.context.as_ref().unwrap().id,
        stage.sandbox.calls(0).unwrap().pop().unwrap().wamid
    );
    stage.behave(json!({"replyRate": 1.0, "replyQuotedRate": 0.0}));
    stage.advance(6000).await;
    stage.send(ADA, from_template("parcel_on_the_way", "x")).await;
    stage.settled().await;
    assert!(stage.receiver.messages().last().unwrap().context.is_none(), "it names nothing");
    assert_eq!(stage.sandbox.stats().inbound, 2);
    stage.behave(json!({}));
    stage.advance(6000).await;
    stage.text(ADA, "free").await;
    stage.settled().await;
    assert_eq!(stage.receiver.kinds().last().map(String::as_str), Some("delivered"));
}

#[tokio::test]
async fn people_can_send_everything_and_it_reads_as_what_it_is() {
    let stage = Stage::new().await;
    let first = stage.ada_writes();
    stage.settled().await;
    let said = [
        json!({"type":"text","text":{"body":"quoting"},"context":{"id":first}}),
        json!({"type":"button","button":{"text":"Stop","payload":"opt_out"},"context":first}),
        json!({"type":"interactive","interactive":{"type":"button_reply","button_reply":{"id":"a","title":"A"}}}),
        json!({"type":"interactive","interactive":{"type":"list_reply","list_reply":{"id":"a","title":"A"}}}),
        json!({"type":"image","image":{"caption":"look"}}),
        json!({"type":"audio","audio":{"voice":true}}),
        json!({"type":"document","document":{"filename":"a.pdf"},"data":"JVBERi0xLjQK","mimeType":"application/pdf"}),
        json!({"type":"location","location":{"latitude":51.5,"longitude":-0.1}}),
        json!({"type":"contacts","contacts":[{"name":{"formatted_name":"Bob"}}]}),
        json!({"type":"reaction","reaction":{"message_id":first,"emoji":"❤️"}}),
        json!({"type":"order","order":{"catalog_id":"1","product_items":[]}}),
        json!({"type":"system","system":{"type":"user_changed_number","body":"x","wa_id":"447700900456"}}),
        json!({"type":"edit","edit":{"original_message_id":first,"message":{"type":"text","text":{"body":"y"}}}}),
        json!({"type":"revoke","revoke":{"original_message_id":first}}),
        json!({"type":"unsupported","unsupported":{"type":"poll"}}),
        json!({"type":"hologram","hologram":{"id":"1"}}),
    ];
    for mut body in said.clone() {
        body["phoneNumberId"] = json!(NUMBER);
        body["from"] = json!(ADA);
        let (status, answer) = stage.control("POST", "inbound", body.clone()).await;
        assert_eq!(status, 201, "{body} {answer}");
    }
    stage.settled().await;
    let messages = stage.receiver.messages();
    assert_eq!(messages.len(), said.len() + 1);
    for (message, body) in messages[1..].iter().zip(&said) {
        assert_eq!(body["type"], message.kind);
        assert!(!matches!(message.content(), MessageContent::Unreadable(_)), "{}", message.kind);
        let unknown = matches!(message.content(), MessageContent::Other(_));
        assert_eq!(unknown, message.kind == "hologram", "{}", message.kind);
    }
    assert!(messages[15].errors().any(|error| error.unwrap().code == 131051));
    assert_eq!(messages[1].context.as_ref().unwrap().from.as_deref(), Some("15550100199"));

    let media = messages[5].content();
    let media = media.media().expect("an image");
    let (status, found) = stage.graph("GET", &media.id, None).await;
    assert_eq!((status, found["mime_type"].as_str()), (200, Some("image/png")));
    let bytes =
        stage.client.get(found["url"].as_str().unwrap()).bearer_auth(TOKEN).send().await.unwrap();
    assert!(bytes.bytes().await.unwrap().starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn somebody_without_a_number_is_known_by_the_user_id_alone() {
    let stage = Stage::new().await;
    let user = "GB.7204418839015526601";
    let hidden =
        json!({"phoneNumberId":NUMBER,"userId":user,"type":"text","text":"Hi","username":"@ada"});
    stage.sandbox.inbound(&hidden).unwrap();
    stage.settled().await;
    let message = &stage.receiver.messages()[0];
    assert_eq!((message.from.as_deref(), message.from_user_id.as_deref()), (None, Some(user)));
    let body =
        json!({"messaging_product":"whatsapp","recipient":user,"type":"text","text":{"body":"x"}});
    assert_eq!(stage.graph("POST", &format!("{NUMBER}/messages"), Some(body)).await.0, 200);
    stage.settled().await;
    let status = &stage.receiver.statuses()[0];
    assert_eq!(
        (status.recipient_id.as_deref(), status.recipient_user_id.as_deref()),
        (None, Some(user))
    );
    assert_eq!(status.status.as_str(), "sent", "the window is open");
}

#[tokio::test]
async fn a_verdict_on_a_template_goes_to_the_app_with_a_numeric_id() {
    let stage = Stage::new().await;
    let path = format!("templates/parcel_on_the_way/APPROVED?wabaId={WABA}&language=en_GB");
    assert_eq!(stage.control("POST", &path, Value::Null).await.0, 404, "not submitted yet");
    approved_template(&stage).await;
    stage
        .control("POST", "templates/parcel_on_the_way/REJECTED?reason=PROMOTIONAL", Value::Null)
        .await;
    stage.control("POST", "templates/parcel_on_the_way/QUALITY_RED", Value::Null).await;
    stage.settled().await;
    let values = stage.receiver.values();
    let ChangeValue::TemplateStatus(approved) = &values[0] else { panic!("no template status") };
    assert_eq!(approved.template.language().as_deref(), Some("en_GB"));
    let ChangeValue::TemplateStatus(rejected) = &values[1] else { panic!("no template status") };
    assert_eq!(rejected.reason.as_deref(), Some("PROMOTIONAL"));
    assert!(matches!(values[2], ChangeValue::TemplateQuality(_)));
    let body = String::from_utf8(stage.receiver.seen.lock().unwrap()[0].clone()).unwrap();
    assert!(
        body.contains("\"message_template_language\":\"en-GB\"")
            && body.contains("\"time\":1795305600")
    );
    assert!(!body.contains("\"message_template_id\":\""), "a number in webhooks");
}

#[tokio::test]
async fn any_other_field_can_be_sent() {
    let stage = Stage::new().await;
    let body = json!({"wabaId": WABA, "field": "phone_number_quality_update",
        "value": {"display_phone_number": "15550100199", "event": "THROUGHPUT_UPGRADE"}});
    assert_eq!(stage.control("POST", "webhooks", body).await.0, 202);
    let body = json!({"phoneNumberId": NUMBER, "field": "messages", "value": {"errors": [{"code": 130429}]}});
    assert_eq!(stage.control("POST", "webhooks", body).await.0, 202);
    stage.settled().await;
    let values = stage.receiver.values();
    assert!(values.iter().any(|value| matches!(value, ChangeValue::PhoneNumberQuality(_))));
    assert!(
        values
            .iter()
            .any(|value| value.messaging().and_then(|v| v.phone_number_id()) == Some(NUMBER))
    );
}

#[tokio::test]
async fn rewritten_numbers_are_still_the_same_person() {
    let stage = Stage::new().await;
    stage.behave(json!({"rewriteWaIds": true}));
    let said =
        json!({"phoneNumberId": NUMBER, "from": "+525555500123", "type": "text", "text": "Hola"});
    stage.sandbox.inbound(&said).unwrap();
    let body = json!({"messaging_product":"whatsapp","to":"+525555500123","type":"text","text":{"body":"x"}});
    let (_, answer) = stage.graph("POST", &format!("{NUMBER}/messages"), Some(body)).await;
    assert_eq!(answer["contacts"][0], json!({"input": "+525555500123", "wa_id": "5215555500123"}));
    stage.settled().await;
    assert_eq!(stage.receiver.messages()[0].from.as_deref(), Some("5215555500123"));
    assert_eq!(stage.receiver.statuses()[0].status.as_str(), "sent", "the window is that person's");
    assert_eq!(stage.sandbox.stats().reach_peak[WABA], 0, "inside a window nobody is counted");
}
