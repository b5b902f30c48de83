use serde_json::json;

use super::*;
use crate::cloud_api::wire::response::{ErrorEnvelope, SendResponse};

#[tokio::test]
async fn free_text_outside_the_window_is_accepted_and_fails_later_and_inside_it_is_delivered() {
    let stage = Stage::new().await;
    assert_eq!(stage.text(ADA, "wg1.a.1").await, 0);
    stage.settled().await;
    let statuses = stage.receiver.statuses();
    assert_eq!(statuses[0].first_error().expect("an error").code, 131047);
    assert_eq!(statuses[0].biz_opaque_callback_data.as_deref(), Some("wg1.a.1"));
    assert_eq!((stage.sandbox.stats().sends, stage.sandbox.stats().counted), (1, 0));

    stage.ada_writes();
    stage.advance(6_000).await;
    assert_eq!(stage.text(ADA, "wg1.b.1").await, 0);
    stage.settled().await;
    assert_eq!(stage.receiver.kinds(), ["failed", "sent", "delivered"]);
    let sent = &stage.receiver.statuses()[1];
    assert_eq!(sent.recipient_id.as_deref(), Some("447700900123"));
    assert!(sent.recipient_user_id.as_deref().is_some_and(|id| id.starts_with("GB.")));
    let pricing = sent.pricing.as_ref().expect("priced");
    assert_eq!((pricing.category.as_deref(), pricing.billable), (Some("service"), Some(false)));
    assert_eq!(stage.sandbox.stats().counted, 1);

    stage.advance(24 * 3_600_000).await;
    assert_eq!(stage.text(ADA, "wg1.c.1").await, 0);
    stage.settled().await;
    assert_eq!(
        stage.receiver.kinds().last().map(String::as_str),
        Some("failed"),
        "24 h after she wrote"
    );
}

#[tokio::test]
async fn an_answer_has_the_clients_own_form() {
    let stage = Stage::new().await;
    stage.ada_writes();
    let body = json!({"messaging_product":"whatsapp","to":"+44 7700 900123","type":"text","text":{"body":"x"}});
    let (status, answer) = stage.graph("POST", &format!("{NUMBER}/messages"), Some(body)).await;
    let answer: SendResponse = serde_json::from_value(answer).unwrap();
    let (contact, message) = (answer.first_contact().unwrap(), answer.first_message().unwrap());
    assert_eq!(status, 200);
    assert_eq!(contact.input.as_deref(), Some("+44 7700 900123"));
    assert_eq!((contact.wa_id.as_deref(), contact.user_id), (Some("447700900123"), None));
    assert!(message.id.starts_with("wamid.") && message.message_status.is_none());

    let user = "GB.7204418839015526601";
    let body =
        json!({"messaging_product":"whatsapp","recipient":user,"type":"text","text":{"body":"x"}});
    let (_, answer) = stage.graph("POST", &format!("{NUMBER}/messages"), Some(body)).await;
    let contact = serde_json::from_value::<SendResponse>(answer).unwrap().first_contact().unwrap();
    assert_eq!((contact.wa_id, contact.user_id.as_deref()), (None, Some(user)));

    let error = stage.graph("POST", &format!("{NUMBER}/messages"), Some(json!({}))).await.1;
    let error: ErrorEnvelope = serde_json::from_value(error).unwrap();
    assert_eq!(error.error.code, 100);
    assert!(error.error.fbtrace_id.is_some());
}

#[tokio::test]
async fn templates_are_sent_once_approved_and_with_the_right_values() {
    let stage = Stage::new().await;
    let send = || from_template("parcel_on_the_way", "wg1.t.1");
    assert_eq!(stage.send(ADA, send()).await, 132001, "not submitted");
    approved_template(&stage).await;
    assert_eq!(stage.send(ADA, send()).await, 0);
    let mut short = send();
    short["template"]["components"][0]["parameters"].as_array_mut().unwrap().pop();
    assert_eq!(stage.send(ADA, short).await, 132000);
    let mut other = send();
    other["template"]["language"]["code"] = json!("en_US");
    assert_eq!(stage.send(ADA, other).await, 132001, "another language is another template");
    for (event, code) in [("PAUSED", 132015), ("DISABLED", 132016), ("PENDING_DELETION", 132001)] {
        let path = format!("templates/parcel_on_the_way/{event}");
        assert_eq!(stage.control("POST", &path, Value::Null).await.0, 200);
        assert_eq!(stage.send(ADA, send()).await, code, "{event}");
    }
    stage.settled().await;
    let pricing = stage.receiver.statuses()[0].pricing.clone().expect("priced");
    assert_eq!(
        (pricing.category.as_deref(), pricing.kind.as_deref()),
        (Some("utility"), Some("regular"))
    );
}

#[tokio::test]
async fn no_moving_second_takes_more_than_the_numbers_pace() {
    let stage = Stage::new().await;
    let mut spec = stage.spec(&stage.receiver.url);
    spec["messagesPerSecond"] = json!(10);
    stage.control("POST", "numbers", spec).await;
    let to = |n: u32| format!("+4477009{n:05}");
    for n in 0..10 {
        assert_eq!(stage.text(&to(n), "x").await, 0, "message {n}");
    }
    assert_eq!(stage.text(&to(10), "x").await, 130429);
    stage.advance(999).await;
    assert_eq!(stage.text(&to(11), "x").await, 130429, "the second has not passed");
    stage.advance(1).await;
    assert_eq!(stage.text(&to(12), "x").await, 0);
    let stats = stage.sandbox.stats();
    assert_eq!(stats.pace_violations[NUMBER], 2);
    assert_eq!(stats.per_second_peak[NUMBER], 12, "arrivals count, also those that were refused");
}

#[tokio::test]
async fn a_pair_may_burst_and_must_then_be_silent() {
    let stage = Stage::new().await;
    stage.ada_writes();
    for n in 0..45 {
        assert_eq!(stage.text(ADA, &format!("m{n}")).await, 0, "message {n}");
    }
    assert_eq!(stage.text(ADA, "m45").await, 131056);
    assert_eq!(stage.text("+447700900124", "other").await, 0, "nobody else is affected");
    stage.advance(44 * 6_000).await;
    assert_eq!(stage.text(ADA, "m46").await, 131056);
    stage.advance(6_000).await;
    assert_eq!(stage.text(ADA, "m47").await, 0);
    assert_eq!(stage.sandbox.stats().pair_violations[NUMBER], 2);
}

#[tokio::test]
async fn who_may_not_get_a_message_is_refused_or_fails_as_at_meta() {
    let stage = Stage::new().await;
    approved_template(&stage).await;
    let offer = template("spring_offer", "MARKETING");
    assert_eq!(stage.graph("POST", &format!("{WABA}/message_templates"), Some(offer)).await.0, 200);
    stage.control("POST", "templates/spring_offer/APPROVED", Value::Null).await;
    assert_eq!(stage.text("+1 555-010-0199", "self").await, 131021);

    stage.behave(json!({"unreachable": [ADA], "allowedRecipients": [ADA]}));
    assert_eq!(stage.text("+447700900124", "x").await, 131030);
    assert_eq!(stage.send(ADA, from_template("parcel_on_the_way", "u")).await, 0);
    stage.settled().await;
    assert_eq!(stage.receiver.statuses()[0].first_error().unwrap().code, 131026);

    stage.behave(json!({}));
    let stop =
        json!({"phoneNumberId": NUMBER, "from": ADA, "type": "user_preferences", "value": "stop"});
    stage.sandbox.inbound(&stop).unwrap();
    stage.advance(60_000).await;
    assert_eq!(stage.send(ADA, from_template("spring_offer", "m")).await, 0);
    stage.settled().await;
    assert_eq!(stage.receiver.statuses()[1].first_error().unwrap().code, 131050);
    stage.advance(60_000).await;
    assert_eq!(stage.send(ADA, from_template("parcel_on_the_way", "u2")).await, 0);
    stage.settled().await;
    assert_eq!(
        stage.receiver.kinds().last().map(String::as_str),
        Some("delivered"),
        "utility is not marketing"
    );
}

#[tokio::test]
async fn ordered_errors_come_where_meta_sends_them() {
    let stage = Stage::new().await;
    stage.ada_writes();
    stage.behave(json!({"errorRates": {"131048": 1.0}}));
    assert_eq!(stage.text(ADA, "sync").await, 131048);
    stage.behave(json!({"errorRates": {"131049": 1.0}}));
    assert_eq!(stage.text(ADA, "async").await, 0);
    stage.settled().await;
    assert_eq!(stage.receiver.statuses()[0].first_error().unwrap().code, 131049);
    assert_eq!(stage.sandbox.stats().counted, 0);
}

#[tokio::test]
async fn broken_answers_count_or_do_not_as_they_are_told() {
    let stage = Stage::new().await;
    stage.ada_writes();
    let post = |callback: &'static str| {
        let body = json!({"messaging_product":"whatsapp","to":ADA,"type":"text","text":{"body":"x"},
            "biz_opaque_callback_data":callback});
        stage
            .client
            .post(format!("{}/v26.0/{NUMBER}/messages", stage.url()))
            .bearer_auth(TOKEN)
            .json(&body)
            .send()
    };
    stage.behave(json!({"http500Refused": 1.0}));
    assert_eq!(post("refused").await.unwrap().status(), 500);
    stage.behave(json!({"http500Accepted": 1.0}));
    assert_eq!(post("accepted").await.unwrap().status(), 500);
    stage.behave(json!({"acceptedButNoAnswer": 1.0}));
    let hanging = tokio::spawn(post("silent"));
    until("the call to be on record", || stage.sandbox.stats().sends == 3).await;
    stage.settled().await;
    let calls = stage.sandbox.calls(0).unwrap();
    let told: Vec<(Option<u16>, bool)> = calls
        .iter()
        .filter(|call| call.is_send())
        .map(|call| (call.http_status, call.counted))
        .collect();
    assert_eq!(told, [(Some(500), false), (Some(500), true), (None, true)]);
    let callbacks: Vec<_> =
        stage.receiver.statuses().into_iter().filter_map(|s| s.biz_opaque_callback_data).collect();
    assert_eq!(
        callbacks,
        ["accepted", "accepted", "silent", "silent"],
        "statuses come all the same"
    );
    assert!(!hanging.is_finished(), "no answer comes");
    stage.sandbox.release_held();
    assert_eq!(hanging.await.unwrap().unwrap().status(), 504);
}

#[tokio::test]
async fn the_same_seed_and_calls_meet_the_same_fates() {
    let behaviour = json!({"deliveredRate":0.7,"readRate":0.5,"errorRates":{"131026":0.1,"131048":0.1},
        "http500Refused":0.1,"statusDelayMs":{"min":5,"max":500}});
    let mut runs = Vec::new();
    for _ in 0..2 {
        let stage = Stage::with(None, Behaviour::from_value(behaviour.clone()).unwrap()).await;
        approved_template(&stage).await;
        for n in 0..60 {
            stage
                .send(
                    &format!("+4477009{n:05}"),
                    from_template("parcel_on_the_way", &format!("wg1.{n}.1")),
                )
                .await;
        }
        stage.advance(2_000).await;
        stage.settled().await;
        let mut statuses: Vec<String> = stage
            .receiver
            .statuses()
            .iter()
            .map(|s| {
                format!("{:?} {} {:?} {}", s.biz_opaque_callback_data, s.status, s.timestamp, s.id)
            })
            .collect();
        statuses.sort();
        let calls: Vec<_> = stage
            .sandbox
            .calls(0)
            .unwrap()
            .into_iter()
            .map(|c| (c.callback_data, c.http_status, c.error_code, c.wamid))
            .collect();
        runs.push((statuses, calls));
    }
    assert!(
        runs[0].0.iter().any(|s| s.contains("read"))
            && runs[0].0.iter().any(|s| s.contains("failed"))
    );
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn read_receipts_and_reactions_are_for_messages_that_were_received() {
    let stage = Stage::new().await;
    let wamid = stage.ada_writes();
    let read = |id: &str| json!({"messaging_product":"whatsapp","status":"read","message_id":id,"typing_indicator":{"type":"text"}});
    let path = format!("{NUMBER}/messages");
    assert_eq!(
        stage.graph("POST", &path, Some(read(&wamid))).await,
        (200, json!({"success": true}))
    );
    assert_eq!(
        stage.graph("POST", &path, Some(read("wamid.unknown"))).await.1["error"]["code"],
        131009
    );
    let react = |id: &str| json!({"type":"reaction","reaction":{"message_id":id,"emoji":"👍"}});
    assert_eq!(stage.send(ADA, react("wamid.unknown")).await, 131009);
    assert_eq!(stage.send(ADA, react(&wamid)).await, 0);
    stage.settled().await;
    assert_eq!(stage.receiver.kinds(), ["sent"], "a reaction reports no more");
    assert_eq!(stage.sandbox.stats().sends, 2, "a read receipt is no send");
}

#[tokio::test]
async fn held_messages_go_out_or_are_dropped() {
    let stage = Stage::new().await;
    approved_template(&stage).await;
    stage.behave(json!({"heldRate": 1.0, "heldDroppedRate": 1.0}));
    let mut body = from_template("parcel_on_the_way", "h");
    (body["messaging_product"], body["to"]) = (json!("whatsapp"), json!(ADA));
    let (_, answer) = stage.graph("POST", &format!("{NUMBER}/messages"), Some(body)).await;
    assert_eq!(answer["messages"][0]["message_status"], "held_for_quality_assessment");
    stage.settled().await;
    assert_eq!(stage.receiver.statuses()[0].first_error().unwrap().code, 132015);
}

#[tokio::test]
async fn marketing_has_an_endpoint_of_its_own() {
    let stage = Stage::new().await;
    approved_template(&stage).await;
    let path = format!("{NUMBER}/marketing_messages");
    let mut body = from_template("parcel_on_the_way", "h");
    (body["messaging_product"], body["to"]) = (json!("whatsapp"), json!(ADA));
    assert_eq!(stage.graph("POST", &path, Some(body)).await.1["error"]["code"], 134100);
    let text = json!({"messaging_product":"whatsapp","to":ADA,"type":"text","text":{"body":"x"}});
    assert_eq!(stage.graph("POST", &path, Some(text)).await.1["error"]["code"], 131055);
}
