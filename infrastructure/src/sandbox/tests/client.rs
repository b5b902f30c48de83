//! The gateway's own client against the sandbox: whatever it can call, the sandbox answers in a form that it reads.

use bytes::Bytes;
use serde_json::json;
use url::Url;

use super::*;
use crate::cloud_api::client::{
    Access, CallError, CallbackOverride, CloudApi, CloudApiConfig, Endpoint, MediaUpload, Sample,
    SendOutcome, TemplateFilter, UnknownReason,
};
use crate::cloud_api::wire::send::SendRequest;
use crate::cloud_api::wire::template::{CreateTemplate, EditTemplate};
use crate::crypto::secret::Secret;

fn client(stage: &Stage) -> (CloudApi, Access) {
    let mut config = CloudApiConfig::new(Url::parse(&stage.url()).unwrap(), "v26.0");
    config.call_timeout = Duration::from_millis(500);
    let access = Access { token: Secret::new(TOKEN), proof_secret: Some(Secret::new(APP_SECRET)) };
    (CloudApi::new(config).unwrap(), access)
}

fn request(value: Value) -> SendRequest {
    let mut value = value;
    value["messaging_product"] = json!("whatsapp");
    if value.get("to").is_none() {
        value["to"] = json!(ADA);
    }
    serde_json::from_value(value).expect("the client's form")
}

async fn send(api: &CloudApi, access: &Access, value: Value) -> SendOutcome {
    api.send(access, NUMBER, Endpoint::Messages, &request(value), || true).await
}

#[tokio::test]
async fn an_account_is_connected_with_every_call_it_takes() {
    let stage = Stage::new().await;
    let (api, access) = client(&stage);
    let probe = api.probe(&access, &[], stage.clock_now()).await.unwrap();
    assert!(probe.ok, "{:?}", probe.problems);
    assert_eq!(probe.wabas[0].numbers[0].id, NUMBER);
    assert_eq!(
        api.phone_number(&access, NUMBER).await.unwrap().status.as_deref(),
        Some("CONNECTED")
    );
    assert!(api.portfolio_of(&access, WABA).await.unwrap().is_some());
    assert_eq!(api.health(&access, NUMBER).await.unwrap().can_send_message.as_str(), "AVAILABLE");
    api.register(&access, NUMBER, &Secret::new("123456")).await.unwrap();
    let other = Receiver::start();
    let callback = CallbackOverride { uri: other.url.clone(), verify_token: Secret::new("verify") };
    api.subscribe(&access, WABA, Some(&callback)).await.unwrap();
    api.set_number_callback(&access, NUMBER, Some(&callback)).await.unwrap();
    let apps = api.subscribed_apps(&access, WABA).await.unwrap();
    assert_eq!(apps.items[0].override_callback_uri.as_deref(), Some(other.url.as_str()));
    api.set_number_callback(&access, NUMBER, None).await.unwrap();
    api.subscribe(&access, WABA, None).await.unwrap();
    api.unsubscribe(&access, WABA).await.unwrap();
    let stranger = Access::new(Secret::new("wrong"));
    let refused = api.phone_number(&stranger, NUMBER).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().code, Some(190));
}

#[tokio::test]
async fn templates_go_through_their_life() {
    let stage = Stage::new().await;
    let (api, access) = client(&stage);
    for n in 0..30 {
        let create: CreateTemplate =
            serde_json::from_value(template(&format!("t{n}"), "UTILITY")).unwrap();
        api.create_template(&access, WABA, &create).await.unwrap();
    }
    let listed = api.templates(&access, WABA, &TemplateFilter::default()).await.unwrap();
    assert_eq!((listed.items.len(), listed.unreadable.len()), (30, 0), "over several pages");
    let filter = TemplateFilter { name: Some("t7".to_owned()), ..TemplateFilter::default() };
    let found = api.templates(&access, WABA, &filter).await.unwrap().items.remove(0);
    stage.control("POST", "templates/t7/REJECTED", Value::Null).await;
    assert_eq!(api.template(&access, &found.id).await.unwrap().status.as_str(), "REJECTED");
    let edit: EditTemplate =
        serde_json::from_value(json!({"components": [{"type": "BODY", "text": "Better words"}]}))
            .unwrap();
    api.edit_template(&access, &found.id, &edit).await.unwrap();
    api.delete_template(&access, WABA, &found.id, "t7").await.unwrap();
    assert!(api.template(&access, &found.id).await.is_err());
    let wrong: CreateTemplate =
        serde_json::from_value(json!({"name":"x","language":"en","category":"UTILITY",
        "components":[{"type":"BODY","text":"{{1}} first","example":{"body_text":[["a"]]}}]}))
        .unwrap();
    let refused = api.create_template(&access, WABA, &wrong).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().code, Some(100));
}

#[tokio::test]
async fn every_kind_of_content_is_taken() {
    let stage = Stage::new().await;
    let (api, access) = client(&stage);
    let wamid = stage.ada_writes();
    let bytes = Bytes::from_static(b"%PDF-1.4 bytes");
    let upload = MediaUpload {
        mime_type: "application/pdf".to_owned(),
        file_name: "a.pdf".to_owned(),
        length: bytes.len() as u64,
        body: futures::stream::iter([Ok(bytes.clone())]),
    };
    let media = api.upload_media(&access, NUMBER, upload).await.unwrap();
    let mut fetched = Vec::new();
    api.fetch_media(&access, &media, Some(NUMBER), None, &mut fetched).await.unwrap();
    assert_eq!(fetched, bytes);
    for content in [
        json!({"type":"text","text":{"body":"Hello"},"context":{"message_id":wamid}}),
        json!({"type":"document","document":{"id":media,"filename":"a.pdf"}}),
        json!({"type":"image","image":{"link":"https://example.org/a.png"}}),
        json!({"type":"location","location":{"latitude":51.5,"longitude":-0.1,"name":"Here"}}),
        json!({"type":"contacts","contacts":[{"name":{"formatted_name":"Ada","first_name":"Ada"}}]}),
        json!({"type":"reaction","reaction":{"message_id":wamid,"emoji":"👍"}}),
        json!({"type":"interactive","interactive":{"type":"button","body":{"text":"Which?"},
            "action":{"buttons":[{"type":"reply","reply":{"id":"a","title":"A"}}]}}}),
        json!({"type":"interactive","interactive":{"type":"list","body":{"text":"Pick"},"action":{"button":"Open",
            "sections":[{"title":"S","rows":[{"id":"1","title":"One"}]}]}}}),
    ] {
        let outcome = send(&api, &access, content.clone()).await;
        assert!(matches!(outcome, SendOutcome::Accepted(_)), "{content} {outcome:?}");
    }
    api.mark_read(&access, NUMBER, &wamid, true).await.unwrap();
    api.delete_media(&access, &media, Some(NUMBER)).await.unwrap();
    let probe = api.probe(&access, &[], stage.clock_now()).await.unwrap();
    let sample =
        Sample { mime_type: "image/png".to_owned(), file_name: "a.png".to_owned(), content: bytes };
    let handle = api.upload_sample(&access, &probe.app_id.unwrap(), &sample).await.unwrap();
    assert!(handle.starts_with("4::"));
}

#[tokio::test]
async fn trouble_arrives_at_the_client_as_what_it_is() {
    let stage = Stage::new().await;
    let (api, access) = client(&stage);
    stage.ada_writes();
    let text = || json!({"type":"text","text":{"body":"x"},"biz_opaque_callback_data":"wg1.x.1"});
    stage.behave(json!({"acceptedButNoAnswer": 1.0}));
    let SendOutcome::Unknown(unknown) = send(&api, &access, text()).await else {
        panic!("answered")
    };
    assert_eq!(unknown.reason, UnknownReason::Timeout);
    stage.behave(json!({"http500Refused": 0.5, "http500Accepted": 0.5}));
    for _ in 0..12 {
        let outcome = send(&api, &access, text()).await;
        assert!(
            matches!(outcome, SendOutcome::Unknown(_) | SendOutcome::Accepted(_)),
            "{outcome:?}"
        );
    }
    stage.behave(json!({"errorRates": {"131056": 1.0}}));
    let SendOutcome::Refused(error) = send(&api, &access, text()).await else {
        panic!("not refused")
    };
    assert_eq!(error.code, Some(131056));
    let mut wrong = access.clone();
    wrong.proof_secret = Some(Secret::new("another"));
    let refused = api.waba(&wrong, WABA).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(_)), "the proof is checked where it is given");
}
