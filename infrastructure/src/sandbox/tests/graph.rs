use serde_json::json;

use super::*;
use crate::cloud_api::wire::response::{DebugToken, MediaUrl, Page, PhoneNumber};
use crate::cloud_api::wire::template::Template;

#[tokio::test]
async fn tokens_and_objects_are_checked_as_meta_checks_them() {
    let stage = Stage::new().await;
    let get = |path: &'static str, token: Option<&'static str>| {
        let mut request = stage.client.get(format!("{}/v26.0/{path}", stage.url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        async {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap();
            (status, body["error"]["code"].as_u64(), body["error"]["error_subcode"].as_u64())
        }
    };
    assert_eq!(get(NUMBER, None).await, (401, Some(104), None));
    assert_eq!(get(NUMBER, Some("wrong")).await, (401, Some(190), None));
    assert_eq!(get("123", Some(TOKEN)).await, (400, Some(100), Some(33)));
    assert_eq!(get(NUMBER, Some(TOKEN)).await, (200, None, None));
    assert_eq!(
        stage.graph("GET", &format!("{NUMBER}/nothing"), None).await.1["error"]["code"],
        2500
    );
    let (status, body) = stage.graph("GET", &format!("{NUMBER}?fields=id,colour"), None).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!(100)));
}

#[tokio::test]
async fn numbers_and_accounts_read_as_the_client_expects() {
    let stage = Stage::new().await;
    let fields = "id,display_phone_number,verified_name,status,quality_rating,throughput,platform_type,\
                  whatsapp_business_manager_messaging_limit,webhook_configuration,health_status,is_on_biz_app";
    let (status, body) = stage.graph("GET", &format!("{NUMBER}?fields={fields}"), None).await;
    let number: PhoneNumber = serde_json::from_value(body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(number.status.as_deref(), Some("CONNECTED"));
    assert_eq!(number.whatsapp_business_manager_messaging_limit.as_deref(), Some("TIER_UNLIMITED"));
    assert_eq!(number.health_status.unwrap().can_send_message.as_str(), "AVAILABLE");
    let (_, body) = stage.graph("GET", &format!("{WABA}/phone_numbers"), None).await;
    let page: Page = serde_json::from_value(body).unwrap();
    assert_eq!(page.items::<PhoneNumber>("number").next().unwrap().unwrap().id, NUMBER);
    assert_eq!(page.next_cursor(), None);
    let (_, body) =
        stage.graph("GET", &format!("{WABA}?fields=id,name,owner_business_info"), None).await;
    assert!(body["owner_business_info"]["id"].is_string(), "{body}");
    let (_, body) = stage.graph("GET", &format!("debug_token?input_token={TOKEN}"), None).await;
    let token: DebugToken = serde_json::from_value(body).unwrap();
    assert!(token.data.is_valid && token.data.scopes.len() == 2);
}

#[tokio::test]
async fn a_number_that_is_not_registered_cannot_send() {
    let stage = Stage::new().await;
    assert_eq!(stage.graph("POST", &format!("{NUMBER}/deregister"), None).await.0, 200);
    assert_eq!(stage.text(ADA, "x").await, 133010);
    let register = |pin: &str| Some(json!({"messaging_product":"whatsapp","pin":pin}));
    let path = format!("{NUMBER}/register");
    assert_eq!(stage.graph("POST", &path, register("12")).await.1["error"]["code"], 100);
    assert_eq!(stage.graph("POST", &path, register("123456")).await.0, 200);
    assert_eq!(stage.graph("POST", &path, register("654321")).await.1["error"]["code"], 133005);
    assert_eq!(stage.text(ADA, "x").await, 0);
}

#[tokio::test]
async fn templates_are_created_listed_by_pages_edited_and_deleted() {
    let stage = Stage::new().await;
    let path = format!("{WABA}/message_templates");
    for n in 0..7 {
        let created = stage.graph("POST", &path, Some(template(&format!("t{n}"), "UTILITY"))).await;
        assert_eq!(created.0, 200, "{}", created.1);
    }
    let again = stage.graph("POST", &path, Some(template("t0", "UTILITY"))).await.1;
    assert_eq!(again["error"]["error_subcode"], 2388024);
    let (mut after, mut names) = (String::new(), Vec::new());
    loop {
        let (status, body) = stage.graph("GET", &format!("{path}?limit=3{after}"), None).await;
        assert_eq!(status, 200, "{body}");
        let page: Page = serde_json::from_value(body).unwrap();
        names.extend(page.items::<Template>("template").map(|t| t.unwrap().name));
        let Some(cursor) = page.next_cursor() else { break };
        after = format!("&after={cursor}");
    }
    assert_eq!(names, ["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    assert_eq!(
        stage.graph("GET", &format!("{path}?after=stale"), None).await.1["error"]["code"],
        131059
    );
    let (_, listed) =
        stage.graph("GET", &format!("{path}?name=t3&fields=name,status,quality_score"), None).await;
    let id = listed["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed["data"][0]["status"], "PENDING");
    let edit = json!({"components":[{"type":"BODY","text":"Something else"}]});
    assert_eq!(
        stage.graph("POST", &id, Some(edit.clone())).await.1["error"]["error_subcode"],
        2388003,
        "pending"
    );
    stage.control("POST", "templates/t3/APPROVED", Value::Null).await;
    assert_eq!(stage.graph("POST", &id, Some(edit)).await.0, 200);
    assert_eq!(stage.graph("GET", &id, None).await.1["status"], "PENDING");
    assert_eq!(stage.graph("DELETE", &format!("{path}?name=t3"), None).await.0, 200);
    assert_eq!(stage.graph("GET", &id, None).await.0, 400);
    assert_eq!(stage.graph("DELETE", &format!("{path}?name=t3"), None).await.0, 400);
}

#[tokio::test]
async fn with_the_verdict_approve_a_template_is_ready_at_once() {
    let stage = Stage::new().await;
    let mut spec = stage.spec(&stage.receiver.url);
    spec["templateVerdict"] = json!("approve");
    stage.control("POST", "numbers", spec).await;
    let path = format!("{WABA}/message_templates");
    let (_, created) = stage.graph("POST", &path, Some(template("quick", "UTILITY"))).await;
    assert_eq!(created["status"], "APPROVED");
    assert_eq!(stage.send(ADA, from_template("quick", "x")).await, 0);
    stage.settled().await;
    // Webhooks about different things may overtake each other on their way.
    let told = stage.receiver.values();
    assert!(
        told.iter().any(|value| matches!(value, ChangeValue::TemplateStatus(_))),
        "and told so"
    );
}

#[tokio::test]
async fn media_are_uploaded_resolved_downloaded_sent_and_deleted() {
    let stage = Stage::new().await;
    stage.ada_writes();
    let upload = |mime: &'static str, bytes: Vec<u8>| {
        let file = reqwest::multipart::Part::bytes(bytes).file_name("a").mime_str(mime).unwrap();
        let form = reqwest::multipart::Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", mime)
            .part("file", file);
        let request =
            stage.client.post(format!("{}/v26.0/{NUMBER}/media", stage.url())).bearer_auth(TOKEN);
        async { request.multipart(form).send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let id =
        upload("image/png", b"\x89PNG bytes".to_vec()).await["id"].as_str().unwrap().to_owned();
    assert_eq!(upload("image/png", vec![0; 5 * 1024 * 1024 + 1]).await["error"]["code"], 131053);
    assert_eq!(upload("application/zip", vec![0; 5]).await["error"]["code"], 100);
    let (_, body) = stage.graph("GET", &format!("{id}?phone_number_id={NUMBER}"), None).await;
    let media: MediaUrl = serde_json::from_value(body).unwrap();
    assert_eq!(media.file_size, Some(10));
    let download = || stage.client.get(&media.url).bearer_auth(TOKEN).send();
    assert_eq!(download().await.unwrap().bytes().await.unwrap().as_ref(), b"\x89PNG bytes");
    assert_eq!(stage.client.get(&media.url).send().await.unwrap().status(), 401);
    assert_eq!(stage.send(ADA, json!({"type":"image","image":{"id":id}})).await, 0);
    assert_eq!(stage.send(ADA, json!({"type":"image","image":{"id":"5"}})).await, 131009);
    stage.advance(5 * 60_000 + 1).await;
    assert_eq!(download().await.unwrap().status(), 404, "after five minutes");
    assert_eq!(stage.graph("DELETE", &id, None).await.1, json!({"success": true}));
    assert_eq!(stage.graph("GET", &id, None).await.0, 400);
}

#[tokio::test]
async fn samples_for_headers_go_by_resumable_upload() {
    let stage = Stage::new().await;
    let (_, apps) = stage.graph("GET", &format!("{WABA}/subscribed_apps"), None).await;
    let app = apps["data"][0]["whatsapp_business_api_data"]["id"].as_str().unwrap().to_owned();
    let path = format!("{app}/uploads?file_name=a.png&file_length=6&file_type=image/png");
    let (_, session) = stage.graph("POST", &path, None).await;
    let session = session["id"].as_str().unwrap().to_owned();
    let put = |offset: &'static str, bytes: &'static [u8]| {
        let request = stage
            .client
            .post(format!("{}/v26.0/{session}", stage.url()))
            .header("file_offset", offset);
        async move {
            request
                .header("authorization", format!("OAuth {TOKEN}"))
                .body(bytes)
                .send()
                .await
                .unwrap()
                .json::<Value>()
                .await
                .unwrap()
        }
    };
    put("0", b"abc").await;
    assert_eq!(stage.graph("GET", &session, None).await.1["file_offset"], 3);
    let handle = put("3", b"def").await;
    assert!(handle["h"].as_str().unwrap().starts_with("4::"), "{handle}");
}

#[tokio::test]
async fn callback_urls_must_prove_themselves_and_take_precedence() {
    let stage = Stage::new().await;
    let (of_waba, of_number) = (Receiver::start(), Receiver::start());
    let apps = format!("{WABA}/subscribed_apps");
    let hook =
        |url: &str, token: &str| Some(json!({"override_callback_uri": url, "verify_token": token}));
    let refused = stage.graph("POST", &apps, hook(&of_waba.url, "wrong")).await;
    assert_eq!((refused.0, &refused.1["error"]["code"]), (400, &json!(2200)));
    assert_eq!(stage.graph("POST", &apps, hook(&of_waba.url, "verify")).await.0, 200);
    stage.ada_writes();
    until("a webhook at the account's URL", || of_waba.count() == 1).await;
    let configuration = json!({"webhook_configuration": {"override_callback_uri": of_number.url, "verify_token": "verify"}});
    assert_eq!(stage.graph("POST", NUMBER, Some(configuration)).await.0, 200);
    stage.ada_writes();
    until("a webhook at the number's URL", || of_number.count() == 1).await;
    let (_, number) =
        stage.graph("GET", &format!("{NUMBER}?fields=webhook_configuration"), None).await;
    assert_eq!(number["webhook_configuration"]["phone_number"], of_number.url);
    approved_template(&stage).await;
    until("account fields at the app's URL", || stage.receiver.count() == 1).await;

    assert_eq!(stage.graph("DELETE", &apps, None).await.0, 200);
    stage.ada_writes();
    stage.settled().await;
    assert_eq!(stage.sandbox.stats().webhooks_dropped, 1, "nobody subscribed");
    assert_eq!((of_waba.count(), of_number.count()), (1, 1));
}

#[tokio::test]
async fn usage_is_told_in_headers_and_links_lead_back_here() {
    let stage = Stage::new().await;
    for n in 0..2 {
        stage
            .graph(
                "POST",
                &format!("{WABA}/message_templates"),
                Some(template(&format!("t{n}"), "UTILITY")),
            )
            .await;
    }
    let response = stage
        .client
        .get(format!("{}/v26.0/{WABA}/message_templates?limit=1", stage.url()))
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap();
    assert!(response.headers().contains_key("x-business-use-case-usage"));
    assert_eq!(response.headers()["facebook-api-version"], "v26.0");
    let page: Value = response.json().await.unwrap();
    let next = page["paging"]["next"].as_str().unwrap();
    assert!(next.starts_with(&stage.url()), "{next}");
    let page: Value =
        stage.client.get(next).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["data"][0]["name"], "t1");
    assert!(page["paging"]["next"].is_null());
}
