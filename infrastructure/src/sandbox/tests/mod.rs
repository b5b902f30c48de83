//! The sandbox as a client sees it: over HTTP on a free port, with a receiver for its webhooks and a clock moved by hand.

mod client;
mod controls;
mod graph;
mod sends;
mod survival;
mod webhooks;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Behaviour, NumberSpec, Options, Sandbox, Server, delivery, notify};
use crate::clock::ManualClock;
use crate::cloud_api::wire::webhook::{ChangeValue, Message, Status, Webhook};

pub(super) const NUMBER: &str = "402000000000002";
pub(super) const WABA: &str = "301000000000001";
pub(super) const ADA: &str = "+447700900123";
const TOKEN: &str = "token-of-the-test";
const APP_SECRET: &str = "app-secret-of-the-test";

/// Something that takes webhooks.
pub(super) struct Receiver {
    pub url: String,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    answer: Arc<AtomicU16>,
    wrongly_signed: Arc<AtomicU16>,
    handle: actix_web::dev::ServerHandle,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It ends in its own time; nobody waits for it.
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.stop(false).await });
    }
}

struct Shared {
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    answer: Arc<AtomicU16>,
    wrongly_signed: Arc<AtomicU16>,
}

async fn receive(
    request: HttpRequest,
    body: web::Bytes,
    shared: web::Data<Shared>,
) -> HttpResponse {
    if request.method() == "GET" {
        let query: std::collections::HashMap<String, String> =
            url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
        return if query.get("hub.verify_token").map(String::as_str) == Some("verify") {
            HttpResponse::Ok().body(query["hub.challenge"].clone())
        } else {
            HttpResponse::Forbidden().finish()
        };
    }
    let signature =
        request.headers().get("x-hub-signature-256").and_then(|value| value.to_str().ok());
    if signature != Some(notify::signature(APP_SECRET, &body).as_str()) {
        shared.wrongly_signed.fetch_add(1, Ordering::Relaxed);
        return HttpResponse::Unauthorized().finish();
    }
    assert!(body.is_ascii(), "webhooks are ASCII");
    let status = shared.answer.load(Ordering::Relaxed);
    shared.seen.lock().unwrap().push(body.to_vec());
    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap()).finish()
}

impl Receiver {
    pub(super) fn start() -> Self {
        let shared = web::Data::new(Shared {
            seen: Arc::default(),
            answer: Arc::new(AtomicU16::new(200)),
            wrongly_signed: Arc::default(),
        });
        let (seen, answer) = (Arc::clone(&shared.seen), Arc::clone(&shared.answer));
        let wrongly_signed = Arc::clone(&shared.wrongly_signed);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .app_data(web::PayloadConfig::new(4 * 1024 * 1024))
                .default_service(web::to(receive))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let url = format!("http://{}/webhook", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url, seen, answer, wrongly_signed, handle }
    }

    /// What it answers from now on.
    pub(super) fn answers(&self, status: u16) {
        self.answer.store(status, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(super) fn wrongly_signed(&self) -> u16 {
        self.wrongly_signed.load(Ordering::Relaxed)
    }

    /// Everything received, in order, as the gateway's own types read it.
    pub(super) fn values(&self) -> Vec<ChangeValue> {
        let seen = self.seen.lock().unwrap();
        let mut values = Vec::new();
        for body in seen.iter() {
            for entry in Webhook::parse(body).expect("a webhook").entries() {
                for change in entry.expect("an entry").changes() {
                    values.push(change.expect("a change").value().expect("a value"));
                }
            }
        }
        values
    }

    pub(super) fn statuses(&self) -> Vec<Status> {
        let values = self.values();
        let messaging = values.iter().filter_map(ChangeValue::messaging);
        messaging
            .flat_map(|value| value.statuses().map(|s| s.expect("a status")).collect::<Vec<_>>())
            .collect()
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        let values = self.values();
        let messaging = values.iter().filter_map(ChangeValue::messaging);
        messaging
            .flat_map(|value| value.messages().map(|m| m.expect("a message")).collect::<Vec<_>>())
            .collect()
    }

    /// `sent`, `delivered` … of every status received.
    pub(super) fn kinds(&self) -> Vec<String> {
        self.statuses().iter().map(|status| status.status.to_string()).collect()
    }
}

/// A sandbox that is served, with one number whose webhooks go to `receiver`.
pub(super) struct Stage {
    pub sandbox: Sandbox,
    pub clock: Arc<ManualClock>,
    pub receiver: Receiver,
    pub client: reqwest::Client,
    server: Option<Server>,
}

pub(super) fn start_of_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_305_600, 0).unwrap()
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(None, Behaviour::default()).await
    }

    pub(super) async fn with(state: Option<&Path>, behaviour: Behaviour) -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let options =
            Options { behaviour, state: state.map(Path::to_owned), ..Options::new(clock.clone()) };
        let sandbox = Sandbox::open(options).expect("opens");
        let receiver = Receiver::start();
        let server = Server::start("127.0.0.1:0".parse::<SocketAddr>().unwrap(), sandbox.clone())
            .await
            .unwrap();
        let stage = Self {
            sandbox,
            clock,
            receiver,
            client: delivery::client(false).unwrap(),
            server: Some(server),
        };
        let (status, _) = stage.control("POST", "numbers", stage.spec(&stage.receiver.url)).await;
        assert_eq!(status, 201);
        stage
    }

    pub(super) fn spec(&self, webhook_url: &str) -> Value {
        json!({"phoneNumberId": NUMBER, "wabaId": WABA, "displayPhoneNumber": "+1 555-010-0199",
            "accessToken": TOKEN, "appSecret": APP_SECRET, "webhookUrl": webhook_url, "verifyToken": "verify"})
    }

    pub(super) fn url(&self) -> String {
        self.server.as_ref().expect("serving").url()
    }

    pub(super) async fn graph(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request =
            self.client.request(method, format!("{}/v26.0/{path}", self.url())).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub(super) async fn control(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}/_sandbox/{path}", self.url()));
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// Sends a message; gives back the code of the error, or 0.
    pub(super) async fn send(&self, to: &str, mut content: Value) -> u64 {
        content["messaging_product"] = json!("whatsapp");
        content["to"] = json!(to);
        let (_, answer) = self.graph("POST", &format!("{NUMBER}/messages"), Some(content)).await;
        answer["error"]["code"].as_u64().unwrap_or(0)
    }

    pub(super) async fn text(&self, to: &str, callback: &str) -> u64 {
        self.send(
            to,
            json!({"type":"text","text":{"body":"Hello"},"biz_opaque_callback_data":callback}),
        )
        .await
    }

    pub(super) fn behave(&self, behaviour: Value) {
        self.sandbox.set_behaviour(Behaviour::from_value(behaviour).expect("valid")).expect("set");
    }

    pub(super) fn clock_now(&self) -> DateTime<Utc> {
        domain::port::Clock::now(self.clock.as_ref())
    }

    /// Ada writes, so that her window is open.
    pub(super) fn ada_writes(&self) -> String {
        self.sandbox
            .inbound(&json!({"phoneNumberId": NUMBER, "from": ADA, "type": "text", "text": "Hi Grüße ☕", "name": "Ada"}))
            .expect("said")
    }

    pub(super) async fn advance(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        // Lets the delivery run; whoever waits for its effect asks for it.
        tokio::task::yield_now().await;
    }

    /// Waits until every webhook that is due has been settled.
    pub(super) async fn settled(&self) {
        until("webhooks to settle", || self.sandbox.stats().webhooks_pending == 0).await;
    }

    /// As [`Self::settled`], with the clock moved on for what waits.
    pub(super) async fn settled_in_steps_of(&self, ms: u64) {
        until("webhooks to settle as time goes by", || {
            self.clock.advance(Duration::from_millis(ms));
            self.sandbox.stats().webhooks_pending == 0
        })
        .await;
    }

    pub(super) async fn stop(mut self) -> Receiver {
        self.server.take().expect("serving").stop(&self.sandbox).await;
        self.receiver
    }
}

/// Waits for a condition, ten seconds at most.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

/// A template with two variables and two buttons, submitted and approved.
pub(super) async fn approved_template(stage: &Stage) {
    let (status, created) = stage
        .graph(
            "POST",
            &format!("{WABA}/message_templates"),
            Some(template("parcel_on_the_way", "UTILITY")),
        )
        .await;
    assert_eq!((status, created["status"].as_str()), (200, Some("PENDING")), "{created}");
    let (status, _) = stage
        .control(
            "POST",
            &format!("templates/parcel_on_the_way/APPROVED?wabaId={WABA}&language=en_GB"),
            Value::Null,
        )
        .await;
    assert_eq!(status, 200);
}

pub(super) fn template(name: &str, category: &str) -> Value {
    json!({"name": name, "language": "en_GB", "category": category, "components": [
        {"type":"BODY","text":"Hello {{1}}, parcel {{2}} leaves our depot today.","example":{"body_text":[["Ada","A-17"]]}},
        {"type":"FOOTER","text":"Harbour Parcels"},
        {"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"Stop updates"}]}]})
}

pub(super) fn from_template(name: &str, callback: &str) -> Value {
    let text = |text: &str| json!({"type": "text", "text": text});
    json!({"type":"template","biz_opaque_callback_data":callback,"template":{"name":name,"language":{"code":"en_GB"},
        "components":[{"type":"body","parameters":[text("Ada"), text("A-17")]}]}})
}
