use serde_json::json;

use super::*;

#[tokio::test]
async fn the_record_is_printed_with_exactly_its_fields_and_can_be_forgotten() {
    let stage = Stage::new().await;
    stage.ada_writes();
    stage.text(ADA, "wg1.a.1").await;
    stage.text(ADA, "wg1.a.1").await;
    stage.graph("GET", NUMBER, None).await;
    let get = |after: u64| {
        let request = stage.client.get(format!("{}/_sandbox/calls?after={after}", stage.url()));
        async { request.send().await.unwrap().text().await.unwrap() }
    };
    let lines = get(0).await;
    let calls: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(calls.len(), 3);
    let keys: Vec<&str> = lines
        .lines()
        .next()
        .unwrap()
        .split('"')
        .filter(|part| {
            [
                "n",
                "at",
                "method",
                "path",
                "phoneNumberId",
                "to",
                "type",
                "callbackData",
                "httpStatus",
                "errorCode",
                "wamid",
                "counted",
            ]
            .contains(part)
        })
        .collect();
    assert_eq!(keys.len(), 12);
    assert_eq!(calls[0].as_object().unwrap().len(), 12);
    assert_eq!(
        (&calls[0]["callbackData"], &calls[0]["counted"]),
        (&json!("wg1.a.1"), &json!(true))
    );
    assert_eq!((&calls[2]["method"], &calls[2]["type"]), (&json!("GET"), &Value::Null));
    assert_eq!(get(calls[1]["n"].as_u64().unwrap()).await.lines().count(), 1);

    let (_, stats) = stage.control("GET", "stats", Value::Null).await;
    for (key, value) in
        [("sends", 2), ("counted", 2), ("distinctCallbackData", 1), ("countedTwice", 1)]
    {
        assert_eq!(stats[key], value, "{key}");
    }
    assert_eq!(stats["perSecondPeak"][NUMBER], 2);
    assert!(stats["webhooksSent"].is_u64() && stats["webhooksAcked"].is_u64());

    stage.settled().await;
    assert_eq!(stage.control("DELETE", "calls", Value::Null).await.0, 204);
    assert_eq!(get(0).await, "");
    assert_eq!(stage.sandbox.stats().sends, 0);
    stage.text(ADA, "later").await;
    let next: Value = serde_json::from_str(&get(0).await).unwrap();
    assert_eq!(next["n"], 4, "the count goes on");
}

#[tokio::test]
async fn behaviour_is_put_as_json_or_toml_for_all_or_for_one_number() {
    let stage = Stage::new().await;
    let (status, body) = stage.control("PUT", "behaviour", json!({"readRate": 0.25})).await;
    assert_eq!(
        (status, &body["readRate"], &body["deliveredRate"]),
        (200, &json!(0.25), &json!(1.0))
    );
    let (status, body) = stage.control("PUT", "behaviour", json!({"readRat": 0.25})).await;
    assert_eq!(status, 400);
    assert_eq!(body["error"]["message"], "unknown key `readRat`, did you mean `readRate`?");
    let toml = stage
        .client
        .put(format!("{}/_sandbox/behaviour?phoneNumberId={NUMBER}", stage.url()))
        .header("content-type", "application/toml")
        .body("replyRate = 0.5\n[errorRates]\n131026 = 0.01\n")
        .send()
        .await
        .unwrap();
    assert_eq!(toml.status(), 200);
    let (_, own) =
        stage.control("GET", &format!("behaviour?phoneNumberId={NUMBER}"), Value::Null).await;
    assert_eq!((&own["replyRate"], &own["readRate"]), (&json!(0.5), &json!(0.0)));
    assert_eq!(stage.control("GET", "behaviour", Value::Null).await.1["readRate"], 0.25);
    assert_eq!(stage.control("PUT", "behaviour?phoneNumberId=5", json!({})).await.0, 404);
}

#[tokio::test]
async fn wrong_bodies_are_refused_and_say_what_would_be_right() {
    let stage = Stage::new().await;
    for (path, body, part) in [
        ("numbers", json!({"phoneNumberId": "1"}), "missing field"),
        ("numbers", json!([]), "JSON object"),
        ("inbound", json!({"phoneNumberId": NUMBER, "type": "text", "text": "x"}), "from"),
        ("inbound", json!({"phoneNumberId": NUMBER, "from": ADA, "type": "text"}), "text"),
        (
            "inbound",
            json!({"phoneNumberId": NUMBER, "from": "x", "type": "text", "text": "x"}),
            "from",
        ),
        (
            "inbound",
            json!({"phoneNumberId": NUMBER, "fromm": ADA, "type": "text"}),
            "did you mean `from`",
        ),
        ("webhooks", json!({"field": "messages", "value": {}}), "exactly one"),
    ] {
        let (status, answer) = stage.control("POST", path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    let unknown = json!({"phoneNumberId": "5", "from": ADA, "type": "text", "text": "x"});
    assert_eq!(stage.control("POST", "inbound", unknown).await.0, 404);
    let (_, numbers) = stage.control("GET", "numbers", Value::Null).await;
    assert_eq!(numbers[0]["webhook"], "VERIFIED");
    assert!(!numbers.to_string().contains(TOKEN) && !numbers.to_string().contains(APP_SECRET));
}

#[tokio::test]
async fn web_pages_and_rebound_names_do_not_reach_the_controls() {
    let stage = Stage::new().await;
    let with = |name: &'static str, value: &'static str| {
        let request =
            stage.client.get(format!("{}/_sandbox/stats", stage.url())).header(name, value);
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(with("origin", "https://evil.example").await, 403);
    assert_eq!(with("origin", "null").await, 403);
    assert_eq!(with("host", "evil.example").await, 403);
    assert_eq!(with("origin", "http://localhost:3000").await, 200);
    let open = Server::start("0.0.0.0:0".parse().unwrap(), stage.sandbox.clone()).await;
    assert!(matches!(open, Err(super::super::ServerError::NotLoopback(_))));
}

#[tokio::test]
async fn a_receiver_that_is_up_later_is_verified_and_gets_what_waited() {
    let stage = Stage::new().await;
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let spec = NumberSpec {
        webhook_url: Some(format!("http://127.0.0.1:{port}/webhook")),
        verify_token: Some("verify".to_owned()),
        ..NumberSpec::new("403", "303", "other-token", APP_SECRET)
    };
    stage.sandbox.provision(spec).unwrap();
    stage
        .sandbox
        .inbound(&json!({"phoneNumberId":"403","from":ADA,"type":"text","text":"early"}))
        .unwrap();
    assert_eq!(stage.sandbox.is_verified("403"), Some(false));
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let shared = web::Data::new(Shared {
        seen: Arc::clone(&seen),
        answer: Arc::new(AtomicU16::new(200)),
        wrongly_signed: Arc::default(),
    });
    let server = HttpServer::new(move || {
        App::new().app_data(shared.clone()).default_service(web::to(receive))
    })
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", port))
    .unwrap()
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    until("the handshake", || stage.sandbox.is_verified("403") == Some(true)).await;
    until("what waited", || seen.lock().unwrap().len() == 1).await;
    handle.stop(false).await;
}
