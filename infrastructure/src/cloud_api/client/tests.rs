//! The client against a server that answers what a test tells it to.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use bytes::Bytes;
use chrono::TimeZone;
use domain::primitives::PhoneNumber;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::cloud_api::error::{MessageFate, Pause};
use crate::cloud_api::wire::response::MessageStatus;
use crate::cloud_api::wire::send::{Content, Media, SendRequest, Text};
use crate::cloud_api::wire::template::{Template, TemplateStatus};

const TOKEN: &str = "EAAG-canary-token";
const NUMBER: &str = "402000000000002";
const WABA: &str = "301000000000001";

/// One call as the server saw it.
#[derive(Clone, Debug, Default)]
struct Call {
    method: String,
    path: String,
    query: String,
    authorization: String,
    transfer_encoding: Option<String>,
    file_offset: Option<String>,
    body: Bytes,
}

type Handler = Arc<dyn Fn(&Call) -> HttpResponse + Send + Sync>;

/// A server on a port of its own, with the calls it got.
struct Meta {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Meta {
    fn start(handler: impl Fn(&Call) -> HttpResponse + Send + Sync + 'static) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let shared: (Handler, Arc<Mutex<Vec<Call>>>) = (Arc::new(handler), Arc::clone(&calls));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(shared.clone()))
                .app_data(web::PayloadConfig::new(4 * 1024 * 1024))
                .default_service(web::to(serve))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        actix_web::rt::spawn(server.run());
        Self { url, calls }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn only_call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1);
        calls.into_iter().next().unwrap()
    }
}

async fn serve(
    request: HttpRequest,
    body: web::Bytes,
    shared: web::Data<(Handler, Arc<Mutex<Vec<Call>>>)>,
) -> HttpResponse {
    let header =
        |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let call = Call {
        method: request.method().to_string(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        authorization: header("authorization").unwrap_or_default(),
        transfer_encoding: header("transfer-encoding"),
        file_offset: header("file_offset"),
        body,
    };
    shared.1.lock().unwrap().push(call.clone());
    (shared.0)(&call)
}

fn ok(json: Value) -> HttpResponse {
    HttpResponse::Ok().json(json)
}

fn refused(status: u16, code: i64) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap();
    HttpResponse::build(status)
        .json(json!({"error": {"message": "(#1) secret words", "code": code}}))
}

fn example(path: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cloud-api/");
    serde_json::from_slice(&std::fs::read(format!("{folder}{path}")).unwrap()).unwrap()
}

fn client_with(url: &str, adjust: impl FnOnce(&mut CloudApiConfig)) -> CloudApi {
    let mut config = CloudApiConfig::new(Url::parse(url).unwrap(), DEFAULT_VERSION);
    adjust(&mut config);
    CloudApi::new(config).unwrap()
}

fn client(url: &str) -> CloudApi {
    client_with(url, |_| ())
}

fn access() -> Access {
    Access::new(Secret::new(TOKEN))
}

fn text() -> SendRequest {
    let number = PhoneNumber::parse("+447700900123").unwrap();
    SendRequest::to_number(
        &number,
        Content::Text { text: Text { body: "Hello".to_owned(), preview_url: None } },
    )
}

async fn send_to(url: &str) -> SendOutcome {
    client(url).send(&access(), NUMBER, Endpoint::Messages, &text(), || true).await
}

async fn send_answered(answer: impl Fn() -> HttpResponse + Send + Sync + 'static) -> SendOutcome {
    send_to(&Meta::start(move |_| answer()).url).await
}

fn unknown(outcome: SendOutcome) -> UnknownOutcome {
    match outcome {
        SendOutcome::Unknown(unknown) => *unknown,
        other => panic!("expected an unknown outcome, not {other:?}"),
    }
}

fn refusal_of(outcome: SendOutcome) -> GraphError {
    match outcome {
        SendOutcome::Refused(error) => *error,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[actix_web::test]
async fn an_accepted_message_answers_its_ids() {
    let meta = Meta::start(|_| {
        HttpResponse::Ok()
            .insert_header((
                BUSINESS_USAGE_HEADER,
                r#"{"1":[{"type":"whatsapp","call_count":42}]}"#,
            ))
            .json(example("responses/send-held-template.json"))
    });
    let SendOutcome::Accepted(accepted) = send_to(&meta.url).await else { panic!() };
    assert_eq!(accepted.wamid, "wamid.ZXhhbXBsZS1vdXQtMw==");
    assert_eq!(accepted.message_status, Some(MessageStatus::Held));
    assert_eq!(accepted.wa_id.as_deref(), Some("447700900123"));
    assert_eq!(accepted.usage.busiest_percent(), 42);
    let call = meta.only_call();
    assert_eq!(
        (call.method.as_str(), call.path.as_str()),
        ("POST", "/v26.0/402000000000002/messages")
    );
    assert_eq!(call.authorization, format!("Bearer {TOKEN}"));
    assert_eq!((call.query.as_str(), call.transfer_encoding), ("", None));
    assert_eq!(
        serde_json::from_slice::<Value>(&call.body).unwrap(),
        serde_json::to_value(text()).unwrap()
    );
}

#[actix_web::test]
async fn a_message_to_a_user_id_is_accepted_without_a_number() {
    let outcome = send_answered(|| ok(example("responses/send-accepted-bsuid.json"))).await;
    let SendOutcome::Accepted(accepted) = outcome else { panic!() };
    assert_eq!(
        (accepted.wa_id, accepted.user_id.as_deref()),
        (None, Some("GB.7204418839015526601"))
    );
}

#[actix_web::test]
async fn refusals_of_every_form_are_read() {
    let of = async |status: u16, file: &'static str| {
        let status = actix_web::http::StatusCode::from_u16(status).unwrap();
        refusal_of(send_answered(move || HttpResponse::build(status).json(example(file))).await)
    };
    let pair = of(400, "responses/error-pair-rate.json").await;
    assert_eq!(
        (pair.code, pair.consequence.pair),
        (Some(131_056), Some(Pause { seconds: Some(1) }))
    );
    assert_eq!(pair.trace_id.as_deref(), Some("AExampleTrace01"));
    assert!(of(401, "responses/error-token.json").await.consequence.account_stop);
    let count = of(400, "responses/error-param-count.json").await;
    assert_eq!(count.consequence.message, MessageFate::Permanent);
    assert_eq!(count.details.as_deref(), Some("body: 1 value given, 2 expected"));
    let bare = of(400, "responses/error-string-error-data.json").await;
    assert_eq!(bare.details.as_deref(), Some("plain string instead of an object"));
    let template = of(400, "responses/error-template-create.json").await;
    assert_eq!(template.subcode, Some(2_388_299));
    assert!(template.details.unwrap().starts_with("Text may not begin"));
    let bare_429 = refusal_of(send_answered(|| HttpResponse::TooManyRequests().finish()).await);
    assert_eq!((bare_429.code, bare_429.consequence.is_retryable()), (None, true));
}

#[actix_web::test]
async fn answers_that_leave_it_open_are_unknown() {
    let html = || HttpResponse::BadGateway().content_type("text/html").body("<html>502</html>");
    assert_eq!(unknown(send_answered(html).await).reason, UnknownReason::ServerError(502));
    let empty = || HttpResponse::InternalServerError().finish();
    assert_eq!(unknown(send_answered(empty).await).reason, UnknownReason::ServerError(500));
    let not_graph = || HttpResponse::Forbidden().body("<html>a proxy</html>");
    assert_eq!(unknown(send_answered(not_graph).await).reason, UnknownReason::NotGraph(403));
    for body in [
        "",
        "<html/>",
        "{}",
        r#"{"messages":[]}"#,
        r#"{"messages":[{"id":""}]}"#,
        r#"{"messages":7}"#,
    ] {
        let outcome = send_answered(move || HttpResponse::Ok().body(body)).await;
        assert_eq!(unknown(outcome).reason, UnknownReason::NoMessageId, "{body}");
    }
    let transient = unknown(send_answered(|| refused(503, 2)).await);
    assert_eq!(
        (transient.reason, transient.error.unwrap().code),
        (UnknownReason::Code(2), Some(2))
    );
    let maintenance = unknown(send_answered(|| refused(500, 131_057)).await).error.unwrap();
    assert!(maintenance.consequence.number.is_some());
    let huge = || HttpResponse::Ok().body("x".repeat(300 * 1024));
    assert_eq!(unknown(send_answered(huge).await).reason, UnknownReason::TooLarge);
}

#[actix_web::test]
async fn a_definite_refusal_with_http_500_is_a_refusal() {
    let error = refusal_of(send_answered(|| refused(500, 131_045)).await);
    assert_eq!(error.consequence.message, MessageFate::AfterRemedy);
}

#[actix_web::test]
async fn a_refused_connection_is_not_sent_and_never_asks_the_deadline() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let may_write = move || counter.fetch_add(1, Ordering::SeqCst) < usize::MAX;
    let client = client(&format!("http://127.0.0.1:{port}"));
    let outcome = client.send(&access(), NUMBER, Endpoint::Messages, &text(), may_write).await;
    assert_eq!(outcome, SendOutcome::NotSent(NotSent::ConnectionRefused));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[actix_web::test]
async fn a_host_without_an_address_and_a_server_without_tls_are_not_sent_to() {
    let outcome = send_to("https://gateway.invalid").await;
    assert!(
        matches!(outcome, SendOutcome::NotSent(NotSent::Dns | NotSent::ConnectTimeout)),
        "{outcome:?}"
    );
    let meta = Meta::start(|_| ok(json!({})));
    let outcome = send_to(&meta.url.replace("http://", "https://")).await;
    assert!(matches!(outcome, SendOutcome::NotSent(NotSent::Tls)), "{outcome:?}");
    assert!(meta.calls().is_empty());
}

#[actix_web::test]
async fn a_message_whose_time_has_passed_is_not_written() {
    let meta = Meta::start(|_| ok(example("responses/send-accepted.json")));
    let client = client(&meta.url);
    // Once on a new connection, then on one from the pool.
    for _ in 0..2 {
        let outcome = client.send(&access(), NUMBER, Endpoint::Messages, &text(), || false).await;
        assert_eq!(outcome, SendOutcome::NotSent(NotSent::Expired));
        let outcome = client.send(&access(), NUMBER, Endpoint::Messages, &text(), || true).await;
        assert!(matches!(outcome, SendOutcome::Accepted(_)));
    }
    assert_eq!(meta.calls().len(), 2);
}

/// A server that reads a request to its end and then does with the connection what it is told.
async fn raw_server<F>(
    then: impl Fn(tokio::net::TcpStream) -> F + 'static,
) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = Vec::new();
            let mut chunk = [0; 4096];
            while !read.ends_with(b"}") {
                match stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => read.extend_from_slice(&chunk[..length]),
                }
            }
            if read.ends_with(b"}") {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            actix_web::rt::spawn(then(stream));
        }
    });
    (url, requests)
}

#[actix_web::test]
async fn a_connection_lost_after_the_request_was_written_is_unknown_and_not_repeated() {
    let (url, requests) = raw_server(|stream| async move { drop(stream) }).await;
    assert_eq!(unknown(send_to(&url).await).reason, UnknownReason::ConnectionLost);
    let (cut_url, _) = raw_server(|mut stream| async move {
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"messages\":").await;
    })
    .await;
    assert_eq!(unknown(send_to(&cut_url).await).reason, UnknownReason::ConnectionLost);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[actix_web::test]
async fn an_answer_that_does_not_come_in_time_is_unknown() {
    let (url, requests) = raw_server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let client = client_with(&url, |config| config.call_timeout = Duration::from_millis(200));
    let outcome = client.send(&access(), NUMBER, Endpoint::Messages, &text(), || true).await;
    assert_eq!(unknown(outcome).reason, UnknownReason::Timeout);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    assert!(matches!(
        client.mark_read(&access(), NUMBER, "wamid.x", true).await,
        Err(CallError::Unknown(UnknownReason::Timeout))
    ));
}

#[actix_web::test]
async fn no_connection_in_time_is_not_sent() {
    // A listener that accepts nothing: TLS never begins.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let client = client_with(&url, |config| config.connect_timeout = Duration::from_millis(200));
    let outcome = client.send(&access(), NUMBER, Endpoint::Messages, &text(), || true).await;
    assert_eq!(outcome, SendOutcome::NotSent(NotSent::ConnectTimeout));
}

#[actix_web::test]
async fn a_redirect_is_not_followed_and_the_bearer_stays_home() {
    let elsewhere = Meta::start(|_| ok(example("responses/send-accepted.json")));
    let target = elsewhere.url.clone();
    let redirect = move |_: &Call| {
        HttpResponse::TemporaryRedirect().insert_header(("location", target.as_str())).finish()
    };
    let meta = Meta::start(redirect);
    assert_eq!(unknown(send_to(&meta.url).await).reason, UnknownReason::Redirected(307));
    let error = client(&meta.url).phone_number(&access(), NUMBER).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown(UnknownReason::Redirected(307))));
    let url = format!("{}/media", meta.url);
    let error =
        client(&meta.url).download_media(&access(), &url, None, &mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, MediaError::ForeignHost));
    assert!(elsewhere.calls().is_empty());
}

#[actix_web::test]
async fn the_marketing_endpoint_and_the_proof_are_used_where_asked_for() {
    let meta = Meta::start(|_| refused(400, 131_009));
    let access = Access { proof_secret: Some(Secret::new("app-secret")), ..access() };
    let outcome = client(&meta.url)
        .send(&access, NUMBER, Endpoint::MarketingMessages, &text(), || true)
        .await;
    assert!(refusal_of(outcome).consequence.is_retryable());
    let call = meta.only_call();
    assert!(call.path.ends_with("/marketing_messages"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"app-secret");
    assert_eq!(
        call.query,
        format!("appsecret_proof={}", hex::encode(hmac::sign(&key, TOKEN.as_bytes())))
    );
}

#[actix_web::test]
async fn a_medium_by_link_that_meta_could_not_fetch_is_tried_again() {
    let number = PhoneNumber::parse("+447700900123").unwrap();
    let image = Content::Image { image: Media::by_link("https://img.example/1.jpg") };
    let by_link = SendRequest::to_number(&number, image);
    let meta = Meta::start(|_| refused(400, 131_053));
    let outcome =
        client(&meta.url).send(&access(), NUMBER, Endpoint::Messages, &by_link, || true).await;
    assert!(refusal_of(outcome).consequence.is_retryable());
    assert!(!refusal_of(send_to(&meta.url).await).consequence.is_retryable());
}

#[actix_web::test]
async fn a_token_that_no_header_can_carry_is_not_sent() {
    let meta = Meta::start(|_| ok(json!({})));
    for token in ["", "a\nb"] {
        let access = Access::new(Secret::new(token));
        let outcome =
            client(&meta.url).send(&access, NUMBER, Endpoint::Messages, &text(), || true).await;
        assert_eq!(outcome, SendOutcome::NotSent(NotSent::BadToken));
    }
    assert!(meta.calls().is_empty());
}

#[actix_web::test]
async fn an_id_names_one_segment_whatever_it_holds() {
    let meta = Meta::start(|_| ok(json!({"id": "1"})));
    let client = client(&meta.url);
    client.phone_number(&access(), "1/messages?x=1#y").await.unwrap();
    assert_eq!(meta.only_call().path, "/v26.0/1%2Fmessages%3Fx=1%23y");
    for id in ["", ".", ".."] {
        let error = client.phone_number(&access(), id).await.unwrap_err();
        assert!(matches!(error, CallError::Invalid { .. }), "{id}");
    }
}

#[actix_web::test]
async fn lists_are_read_to_the_end_by_cursor_and_begun_anew_when_it_goes_stale() {
    let stale = AtomicUsize::new(0);
    let meta = Meta::start(move |call| {
        if !call.query.contains("after=") {
            return ok(example("responses/templates-page-1.json"));
        }
        assert!(call.query.contains("after=QUZURVI%3D"), "{}", call.query);
        if stale.fetch_add(1, Ordering::SeqCst) == 0 {
            return refused(400, 131_059);
        }
        let mut last = example("responses/templates-page-last.json");
        last["data"].as_array_mut().unwrap().push(json!({"name": "no id"}));
        ok(last)
    });
    let listing =
        client(&meta.url).templates(&access(), WABA, &TemplateFilter::default()).await.unwrap();
    let names: Vec<_> =
        listing.items.iter().map(|template: &Template| template.name.as_str()).collect();
    assert_eq!(names, ["parcel_on_the_way", "spring_offer"]);
    assert_eq!(listing.items[1].status, TemplateStatus::Paused);
    assert_eq!(listing.unreadable.len(), 1);
    let calls = meta.calls();
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|call| call.path == format!("/v26.0/{WABA}/message_templates")));
    assert!(calls[0].query.contains("limit=100") && calls[0].query.contains("fields=id%2Cname"));
}

#[actix_web::test]
async fn a_list_whose_cursor_does_not_move_or_stays_stale_is_given_up() {
    let meta = Meta::start(|_| ok(example("responses/templates-page-1.json")));
    let error =
        client(&meta.url).templates(&access(), WABA, &TemplateFilter::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreadable(_)));
    let meta = Meta::start(|_| refused(400, 131_059));
    let error =
        client(&meta.url).templates(&access(), WABA, &TemplateFilter::default()).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, Some(131_059));
    assert_eq!(meta.calls().len(), 3);
}

#[actix_web::test]
async fn templates_are_created_edited_and_deleted_one_at_a_time() {
    let meta = Meta::start(|call| match call.method.as_str() {
        "POST" if call.path.ends_with("message_templates") => {
            ok(json!({"id": 806, "status": "PENDING", "category": "MARKETING"}))
        }
        _ => ok(json!({"success": true})),
    });
    let client = client(&meta.url);
    let template = serde_json::from_value(example("requests/create-template.json")).unwrap();
    let created = client.create_template(&access(), WABA, &template).await.unwrap();
    assert_eq!((created.id.as_str(), created.status), ("806", Some(TemplateStatus::Pending)));
    client.edit_template(&access(), "806", &Default::default()).await.unwrap();
    client.delete_template(&access(), WABA, "806", "parcel_on_the_way").await.unwrap();
    assert!(client.delete_template(&access(), WABA, "", "parcel_on_the_way").await.is_err());
    let calls = meta.calls();
    assert_eq!(
        serde_json::from_slice::<Value>(&calls[0].body).unwrap(),
        example("requests/create-template.json")
    );
    assert_eq!(calls[2].query, "hsm_id=806&name=parcel_on_the_way");
    assert_eq!(calls.len(), 3);
}

#[actix_web::test]
async fn a_medium_is_downloaded_and_its_hash_compared_in_hex_and_base64() {
    let meta = Meta::start(|_| HttpResponse::Ok().content_type("image/png").body("test"));
    let client = client(&meta.url);
    let url = format!("{}/attachments/?mid=1", meta.url);
    let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let base64 = base64::engine::general_purpose::STANDARD.encode(hex::decode(hex).unwrap());
    for hash in [None, Some(hex), Some(base64.as_str())] {
        let mut content = Vec::new();
        let downloaded = client.download_media(&access(), &url, hash, &mut content).await.unwrap();
        assert_eq!((content.as_slice(), downloaded.bytes), (b"test".as_slice(), 4));
        assert_eq!(
            (hex::encode(downloaded.sha256).as_str(), downloaded.mime_type.as_deref()),
            (hex, Some("image/png"))
        );
    }
    for hash in ["nonsense", &hex.replace('9', "8")] {
        let error =
            client.download_media(&access(), &url, Some(hash), &mut Vec::new()).await.unwrap_err();
        assert!(matches!(error, MediaError::HashDiffers));
    }
    assert!(meta.calls().iter().all(|call| call.authorization == format!("Bearer {TOKEN}")));
}

#[actix_web::test]
async fn a_url_that_ran_out_is_resolved_again_once() {
    let gone = AtomicUsize::new(0);
    let place = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&place);
    let meta = Meta::start(move |call| {
        if call.path.ends_with("/604") {
            return ok(json!({"url": shared.lock().unwrap().clone(), "file_size": "4"}));
        }
        if gone.fetch_add(1, Ordering::SeqCst) == 0 {
            return HttpResponse::NotFound().finish();
        }
        HttpResponse::Ok().body("test")
    });
    *place.lock().unwrap() = format!("{}/attachments", meta.url);
    let mut content = Vec::new();
    client(&meta.url)
        .fetch_media(&access(), "604", Some(NUMBER), None, &mut content)
        .await
        .unwrap();
    assert_eq!(content, b"test");
    let paths: Vec<_> = meta.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, ["/v26.0/604", "/attachments", "/v26.0/604", "/attachments"]);
}

#[actix_web::test]
async fn media_that_are_too_large_or_elsewhere_are_not_fetched() {
    let meta = Meta::start(|call| {
        if call.path.ends_with("/604") {
            return ok(
                json!({"url": "https://lookaside.fbsbx.com/x", "file_size": MEDIA_BYTES_MAX + 1}),
            );
        }
        // More than announced: the cap counts what comes.
        let block = Bytes::from(vec![0; 1024 * 1024]);
        let blocks = futures::stream::repeat_with(move || Ok::<_, io::Error>(block.clone()));
        HttpResponse::Ok().streaming(blocks)
    });
    let client = client(&meta.url);
    let error =
        client.fetch_media(&access(), "604", None, None, &mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, MediaError::TooLarge));
    let url = format!("{}/endless", meta.url);
    let error =
        client.download_media(&access(), &url, None, &mut tokio::io::sink()).await.unwrap_err();
    assert!(matches!(error, MediaError::TooLarge));
    for foreign in [
        "https://evil.example/x",
        "https://evilfbsbx.com/x",
        "http://lookaside.fbsbx.com/x",
        "https://lookaside.fbsbx.com:8443/x",
        "https://lookaside.fbsbx.com.evil.example/x",
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
        "not a url",
    ] {
        let error =
            client.download_media(&access(), foreign, None, &mut Vec::new()).await.unwrap_err();
        assert!(matches!(error, MediaError::ForeignHost), "{foreign}");
    }
}

#[actix_web::test]
async fn a_medium_is_uploaded_as_a_form() {
    let meta = Meta::start(|_| ok(json!({"id": 604})));
    let chunks = [Bytes::from_static(b"te"), Bytes::from_static(b"st")].map(Ok::<_, io::Error>);
    let upload = MediaUpload {
        mime_type: "image/png".to_owned(),
        file_name: "a\"b.png".to_owned(),
        length: 4,
        body: futures::stream::iter(chunks),
    };
    assert_eq!(client(&meta.url).upload_media(&access(), NUMBER, upload).await.unwrap(), "604");
    let body = String::from_utf8(meta.only_call().body.to_vec()).unwrap();
    assert!(body.contains("name=\"messaging_product\"\r\n\r\nwhatsapp"), "{body}");
    assert!(body.contains("Content-Type: image/png\r\n\r\ntest\r\n"), "{body}");
}

#[actix_web::test]
async fn a_sample_is_uploaded_and_taken_up_again_where_it_broke_off() {
    let tries = AtomicUsize::new(0);
    let meta = Meta::start(move |call| match (call.method.as_str(), call.path.as_str()) {
        ("POST", "/v26.0/907/uploads") => ok(json!({"id": "upload:abc?sig=x%2By"})),
        ("GET", _) => ok(json!({"id": "upload:abc", "file_offset": 2})),
        _ if tries.fetch_add(1, Ordering::SeqCst) == 0 => HttpResponse::BadGateway().finish(),
        _ => ok(json!({"h": "4::handle"})),
    });
    let sample = Sample {
        mime_type: "image/png".to_owned(),
        file_name: "a.png".to_owned(),
        content: Bytes::from_static(b"test"),
    };
    assert_eq!(
        client(&meta.url).upload_sample(&access(), "907", &sample).await.unwrap(),
        "4::handle"
    );
    let calls = meta.calls();
    assert_eq!(calls[0].query, "file_name=a.png&file_length=4&file_type=image%2Fpng");
    assert_eq!(
        (calls[1].path.as_str(), calls[1].query.as_str()),
        ("/v26.0/upload:abc", "sig=x%2By")
    );
    assert_eq!((calls[1].file_offset.as_deref(), &calls[1].body[..]), (Some("0"), &b"test"[..]));
    assert_eq!((calls[3].file_offset.as_deref(), &calls[3].body[..]), (Some("2"), &b"st"[..]));
}

#[actix_web::test]
async fn a_number_is_read_without_the_fields_that_the_token_may_not_read() {
    let meta = Meta::start(|call| match call.query.as_str() {
        "" => ok(json!({"id": NUMBER, "display_phone_number": "+1 555-010-0199"})),
        _ => refused(403, 10),
    });
    let number = client(&meta.url).phone_number(&access(), NUMBER).await.unwrap();
    assert_eq!(number.display_phone_number.as_deref(), Some("+1 555-010-0199"));
    assert_eq!(client(&meta.url).portfolio_of(&access(), WABA).await.unwrap(), None);
}

#[actix_web::test]
async fn accounts_are_registered_subscribed_and_looked_at() {
    let meta = Meta::start(|call| match call.method.as_str() {
        "GET" if call.path.ends_with("subscribed_apps") => {
            let app = json!({"id": "907", "name": "ours", "link": "x"});
            ok(
                json!({"data": [{"whatsapp_business_api_data": app, "override_callback_uri": "https://g.example"}]}),
            )
        }
        "GET" => ok(example("responses/health-blocked.json")),
        _ => ok(json!({"success": true})),
    });
    let client = client(&meta.url);
    let body = |index: usize| serde_json::from_slice::<Value>(&meta.calls()[index].body).unwrap();
    client.register(&access(), NUMBER, &Secret::new("123456")).await.unwrap();
    assert_eq!(body(0), json!({"messaging_product": "whatsapp", "pin": "123456"}));
    assert!(client.register(&access(), NUMBER, &Secret::new("12345x")).await.is_err());
    let callback = CallbackOverride {
        uri: "https://g.example/hook".to_owned(),
        verify_token: Secret::new("verify"),
    };
    client.subscribe(&access(), WABA, Some(&callback)).await.unwrap();
    assert_eq!(
        body(1),
        json!({"override_callback_uri": "https://g.example/hook", "verify_token": "verify"})
    );
    client.subscribe(&access(), WABA, None).await.unwrap();
    client.set_number_callback(&access(), NUMBER, Some(&callback)).await.unwrap();
    assert_eq!(body(3)["webhook_configuration"]["verify_token"], "verify");
    client.set_number_callback(&access(), NUMBER, None).await.unwrap();
    client.unsubscribe(&access(), WABA).await.unwrap();
    let long = CallbackOverride { uri: "x".repeat(201), ..callback };
    assert!(client.subscribe(&access(), WABA, Some(&long)).await.is_err());
    let apps = client.subscribed_apps(&access(), WABA).await.unwrap();
    assert_eq!(apps.items[0].override_callback_uri.as_deref(), Some("https://g.example"));
    let health = client.health(&access(), NUMBER).await.unwrap();
    assert_eq!(health.can_send_message.as_str(), "BLOCKED");
    client.mark_read(&access(), NUMBER, "wamid.ZXhhbXBsZS1pbi10ZXh0", true).await.unwrap();
    assert_eq!(body(8), example("requests/mark-read-with-typing.json"));
}

#[actix_web::test]
async fn a_probe_shows_what_a_token_sees_and_what_is_wrong_with_it() {
    let now = chrono::Utc.with_ymd_and_hms(2026, 11, 23, 9, 0, 0).unwrap();
    let meta = Meta::start(|call| match call.path.as_str() {
        "/v26.0/debug_token" => {
            ok(json!({"data": {"app_id": "907", "type": "SYSTEM_USER", "is_valid": true,
            "expires_at": 0, "scopes": ["whatsapp_business_management", "whatsapp_business_messaging"],
            "granular_scopes": [
                {"scope": "whatsapp_business_management", "target_ids": [WABA, "302"]},
                {"scope": "whatsapp_business_messaging", "target_ids": [WABA]}]}}))
        }
        "/v26.0/301000000000001" => ok(json!({"id": WABA, "name": "Harbour"})),
        "/v26.0/301000000000001/phone_numbers" => {
            ok(json!({"data": [example("responses/phone-number.json")]}))
        }
        _ => refused(400, 803),
    });
    let probe = client(&meta.url).probe(&access(), &[], now).await.unwrap();
    assert_eq!((probe.expires_at, probe.permissions.len()), (None, 2));
    assert_eq!((probe.wabas.len(), probe.wabas[0].numbers[0].id.as_str()), (1, NUMBER));
    assert!(
        !probe.ok && probe.problems.len() == 1 && probe.problems[0].contains("302"),
        "{:?}",
        probe.problems
    );

    let meta = Meta::start(move |_| {
        ok(json!({"data": {"is_valid": true, "expires_at": now.timestamp() + 3600,
            "scopes": ["whatsapp_business_messaging"]}}))
    });
    let probe = client(&meta.url).probe(&access(), &[], now).await.unwrap();
    assert_eq!(probe.problems.len(), 3, "{:?}", probe.problems);

    let meta = Meta::start(|_| refused(401, 190));
    let probe = client(&meta.url).probe(&access(), &[WABA.to_owned()], now).await.unwrap();
    assert!(!probe.ok && probe.wabas.is_empty() && probe.problems.len() == 1);
    assert!(!format!("{probe:?}").contains("secret words"));

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error =
        client(&format!("http://127.0.0.1:{port}")).probe(&access(), &[], now).await.unwrap_err();
    assert!(matches!(error, CallError::NotSent(NotSent::ConnectionRefused)));
}

#[test]
fn only_https_or_loopback_is_a_base_and_only_a_version_a_version() {
    let new = |base: &str, version: &str| {
        CloudApi::new(CloudApiConfig::new(Url::parse(base).unwrap(), version))
    };
    for good in
        [DEFAULT_BASE_URL, "http://127.0.0.1:9090", "http://[::1]:9090/", "http://localhost/graph"]
    {
        assert!(new(good, DEFAULT_VERSION).is_ok(), "{good}");
    }
    for bad in [
        "http://graph.facebook.com",
        "ftp://127.0.0.1",
        "https://u:p@graph.facebook.com",
        "https://x.org/?a=b",
    ] {
        assert!(new(bad, DEFAULT_VERSION).is_err(), "{bad}");
    }
    for bad in ["", "26.0", "v26", "v26.x", "v26.0/../v1.0"] {
        assert!(matches!(new(DEFAULT_BASE_URL, bad), Err(ConfigError::BadVersion)), "{bad}");
    }
    let api = new("http://127.0.0.1:9090/graph/", "v25.0").unwrap();
    assert_eq!(
        api.url(&["1", "messages"], &[]).as_str(),
        "http://127.0.0.1:9090/graph/v25.0/1/messages"
    );
}

#[test]
fn nothing_that_is_printed_holds_a_credential() {
    let access = Access { proof_secret: Some(Secret::new("canary-secret")), ..access() };
    let callback = CallbackOverride {
        uri: "https://g.example".to_owned(),
        verify_token: Secret::new("canary-verify"),
    };
    assert!(!format!("{access:?} {callback:?}").contains("canary"));
}
