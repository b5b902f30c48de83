//! The Graph paths other than sends: who may call, what a number, an account and a template look like, registration,
//! subscriptions. Every call is put on record here.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ring::hmac;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::entry::{Entry, NumberFacts, Override, WabaFacts};
use super::error::GraphError;
use super::fate::hash;
use super::number::NumberSpec;
use super::record::Call;
use super::state::{Number, State};
use super::template::Template;
use crate::cloud_api::wire::response::{
    CanSend, Cursors, GranularScope, HealthEntity, HealthStatus, ObjectRef, Page, Paging,
    PhoneNumber, SubscribedApp, Success, Throughput, ThroughputLevel, TokenInfo,
    Waba as WabaAnswer, WebhookConfiguration,
};

type Checked<T> = Result<T, GraphError>;

/// Management calls of an account with a registered number, per hour.
const MANAGEMENT_CALLS_MAX: usize = 5000;
/// Registrations, and deregistrations, of a number; Meta counts over 72 h, the sandbox over one.
const REGISTRATIONS_MAX: usize = 10;
const CALLBACK_URL_CHARS_MAX: usize = 200;
const PAGE_ITEMS: usize = 25;
const PAGE_ITEMS_MAX: usize = 1000;

/// What a call is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub http: u16,
    pub content: Content,
    pub latency_ms: u64,
}

#[derive(Debug)]
pub(crate) enum Content {
    Json(Vec<u8>),
    /// A page of HTML, as proxies answer with.
    Page,
    /// No answer at all.
    Never,
    File {
        mime_type: String,
        bytes: Bytes,
    },
}

impl Content {
    pub(crate) fn of<T: Serialize>(value: &T) -> std::io::Result<Self> {
        Ok(Self::Json(super::notify::to_ascii(value)?))
    }
}

impl Answer {
    pub(crate) fn json<T: Serialize>(http: u16, value: &T) -> std::io::Result<Self> {
        Ok(Self { http, content: Content::of(value)?, latency_ms: 0 })
    }

    pub(crate) fn error(error: &GraphError, n: u64) -> Self {
        let trace = format!("A{:010X}", hash(&[b"trace", &n.to_le_bytes()]) >> 24);
        let content = Content::of(&error.body(&trace)).unwrap_or(Content::Page);
        Self { http: error.http, content, latency_ms: 0 }
    }

    pub(crate) fn after(mut self, latency_ms: u64) -> Self {
        self.latency_ms = latency_ms;
        self
    }
}

/// A call to the Graph look-alike.
pub(crate) struct Request {
    pub at: DateTime<Utc>,
    pub method: String,
    /// As it came, for the record.
    pub path: String,
    /// What comes before `/{version}/` in the address this was reached by, for links to itself.
    pub base: String,
    pub version: String,
    /// What comes after the version.
    pub segments: Vec<String>,
    pub query: BTreeMap<String, String>,
    pub bearer: Option<String>,
    pub body: Bytes,
}

impl Request {
    pub(crate) fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    pub(crate) fn body_object(&self) -> Checked<Map<String, Value>> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(GraphError::platform(100, "Invalid parameter: the body is not a JSON object")),
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.at.timestamp_millis()
    }
}

/// What the HTTP layer has to do.
pub(crate) enum Next {
    Answer(Answer),
    /// Ask the new callback URL to prove itself, then [`State::set_hook`].
    Handshake {
        hook: Override,
        of: HookOf,
    },
}

/// What an override is for.
#[derive(Clone, Debug)]
pub(crate) enum HookOf {
    Number(String),
    Waba(String),
}

/// What the token may see.
pub(crate) enum Node {
    Number(String),
    Waba(String),
    Template(u64),
    Media(String),
    App,
}

impl State {
    /// Answers a call and puts it on record.
    pub(crate) fn graph(&mut self, request: &Request) -> std::io::Result<Next> {
        let call = self.call(request);
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        let found = self.admit(request);
        if let (
            Ok(Some(Node::Number(id))),
            "POST",
            [_, edge @ ("messages" | "marketing_messages")],
        ) = (&found, request.method.as_str(), &segments[..])
        {
            let (id, marketing) = (id.clone(), *edge == "marketing_messages");
            return self.messages(call, &id, &request.body, marketing).map(Next::Answer);
        }
        let answered = found.and_then(|node| self.answer(request, node, &segments));
        let result = match answered {
            Ok(Ready::Handshake { hook, of }) => return Ok(Next::Handshake { hook, of }),
            Ok(Ready::Json(value)) => Ok(Answer::json(200, &value)?),
            Ok(Ready::File { mime_type, bytes }) => {
                Ok(Answer { http: 200, content: Content::File { mime_type, bytes }, latency_ms: 0 })
            }
            Ok(Ready::Failed(error)) => return Err(error),
            Err(error) => Err(error),
        };
        self.close(call, result).map(Next::Answer)
    }

    /// Puts a call on record with its answer.
    pub(crate) fn close(
        &mut self,
        mut call: Call,
        result: Checked<Answer>,
    ) -> std::io::Result<Answer> {
        let latency = self.latency(call.phone_number_id.as_deref().unwrap_or_default(), call.n);
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                call.error_code = Some(error.code);
                Answer::error(&error, call.n)
            }
        };
        call.http_status = Some(answer.http);
        self.record.append(&call)?;
        Ok(answer.after(latency))
    }

    /// The line that a call will have in the record.
    pub(crate) fn call(&mut self, request: &Request) -> Call {
        let first = request.segments.first().cloned();
        Call {
            n: self.take_call(),
            at: request.at,
            method: request.method.clone(),
            path: request.path.clone(),
            phone_number_id: first.filter(|id| self.numbers.contains_key(id)),
            to: None,
            kind: None,
            callback_data: None,
            http_status: None,
            error_code: None,
            wamid: None,
            counted: false,
        }
    }

    /// Checks the token and finds what the call is about. None: a path that is about no object.
    pub(crate) fn admit(&self, request: &Request) -> Checked<Option<Node>> {
        let token =
            request.bearer.as_deref().or(request.query("access_token")).ok_or_else(|| {
                GraphError::platform(104, "An access token is required to request this resource.")
            })?;
        let holders: Vec<&Number> = self
            .numbers
            .values()
            .filter(|number| same(&number.spec().access_token, token))
            .collect();
        if holders.is_empty() {
            return Err(GraphError::platform(
                190,
                "Invalid OAuth access token - Cannot parse access token",
            ));
        }
        if let Some(proof) = request.query("appsecret_proof")
            && !holders.iter().any(|number| same(&proof_of(number.spec()), proof))
        {
            return Err(GraphError::platform(
                100,
                "Invalid appsecret_proof provided in the API argument",
            ));
        }
        let Some(id) = request.segments.first() else {
            return Err(GraphError::platform(
                2500,
                "An unknown path was requested: expected /{version}/{object}",
            ));
        };
        if id == "debug_token" || id.starts_with("upload:") {
            return Ok(None);
        }
        let in_reach = |waba: &str| holders.iter().any(|number| number.spec().waba_id == waba);
        let template = id.parse::<u64>().ok().filter(|id| self.templates.contains_key(id));
        if holders.iter().any(|number| number.spec().phone_number_id == *id) {
            return Ok(Some(Node::Number(id.clone())));
        }
        if self.wabas.contains_key(id) && in_reach(id) {
            return Ok(Some(Node::Waba(id.clone())));
        }
        if let Some(template) = template
            && self.templates.get(&template).is_some_and(|template| in_reach(&template.waba_id))
        {
            return Ok(Some(Node::Template(template)));
        }
        if self.media.get(id).is_some_and(|media| in_reach(&media.waba_id)) {
            return Ok(Some(Node::Media(id.clone())));
        }
        if holders.iter().any(|number| number.spec().app_id == *id) {
            return Ok(Some(Node::App));
        }
        Err(GraphError::no_such_object(&request.method, id))
    }

    fn answer(
        &mut self,
        request: &Request,
        node: Option<Node>,
        segments: &[&str],
    ) -> Checked<Ready> {
        let method = request.method.as_str();
        let unknown = || {
            GraphError::platform(
                2500,
                format!("Unknown path components: /{}", segments[1..].join("/")),
            )
        };
        let Some(node) = node else {
            return match (method, segments) {
                ("GET", ["debug_token"]) => self.debug_token(request),
                ("POST", [session]) => self.upload_bytes(session, request),
                ("GET", [session]) => self.upload_progress(session),
                _ => Err(unknown()),
            };
        };
        self.count_call(&node, method, segments, request.now())?;
        match (node, method, &segments[1..]) {
            (Node::Number(id), "GET", []) => self.read_number(&id, request),
            (Node::Number(id), "POST", []) => self.write_number(&id, request),
            (Node::Number(id), "POST", ["register"]) => self.register(&id, request),
            (Node::Number(id), "POST", ["deregister"]) => self.deregister(&id, request),
            (Node::Waba(id), "GET", []) => self.read_waba(&id, request),
            (Node::Waba(id), "GET", ["phone_numbers"]) => self.list_numbers(&id, request),
            (Node::Waba(id), _, ["subscribed_apps"]) => self.subscribed_apps(&id, request),
            (Node::Waba(id), "GET", ["message_templates"]) => self.list_templates(&id, request),
            (Node::Waba(id), "POST", ["message_templates"]) => self.create_template(&id, request),
            (Node::Waba(id), "DELETE", ["message_templates"]) => {
                self.delete_templates(&id, request)
            }
            (Node::Template(id), "GET", []) => self.read_template(id, request),
            (Node::Template(id), "POST", []) => self.edit_template(id, request),
            (Node::Template(id), "POST", ["unpause"]) => self.unpause_template(id),
            (Node::Media(id), "GET", []) => self.read_media(&id, request),
            (Node::Media(id), "GET", ["attachment"]) => self.download(&id, request),
            (Node::Media(id), "DELETE", []) => self.delete_media(&id, request),
            (Node::App, "POST", ["uploads"]) => self.open_upload(request),
            _ => Err(unknown()),
        }
    }

    fn count_call(
        &mut self,
        node: &Node,
        method: &str,
        segments: &[&str],
        now: i64,
    ) -> Checked<()> {
        let waba = match (node, method, &segments[1..]) {
            (Node::Waba(id), ..) => id.clone(),
            (Node::Number(id), "GET", []) => {
                self.numbers.get(id).map(|number| number.spec().waba_id.clone()).unwrap_or_default()
            }
            _ => return Ok(()),
        };
        if let Some(waba) = self.wabas.get_mut(&waba)
            && !waba.calls.admit(now, MANAGEMENT_CALLS_MAX)
        {
            return Err(GraphError::new(
                80008,
                format!(
                    "more than {MANAGEMENT_CALLS_MAX} management calls in an hour, wait and try again"
                ),
            ));
        }
        Ok(())
    }

    /// Percent of the management calls that a call's account has used, for the usage headers.
    pub(crate) fn usage(&self, request: &Request) -> Option<(String, u64)> {
        let id = request.segments.first()?;
        let waba =
            self.numbers.get(id).map_or(id.as_str(), |number| number.spec().waba_id.as_str());
        let used = self.wabas.get(waba)?.calls.len();
        Some((waba.to_owned(), (used * 100 / MANAGEMENT_CALLS_MAX) as u64))
    }

    fn read_number(&self, id: &str, request: &Request) -> Checked<Ready> {
        let number = self.numbers.get(id).ok_or_else(|| GraphError::no_such_object("get", id))?;
        let fields = request.query("fields").unwrap_or(
            "id,display_phone_number,verified_name,quality_rating,code_verification_status,platform_type,throughput",
        );
        selected(self.number_answer(number), fields)
    }

    fn number_answer(&self, number: &Number) -> Value {
        let (facts, spec) = (&number.facts, number.spec());
        let waba = self.wabas.get(&spec.waba_id);
        let level = if spec.messages_per_second > 80 {
            ThroughputLevel::High
        } else {
            ThroughputLevel::Standard
        };
        let mut extra = Map::new();
        extra.insert("is_pin_enabled".into(), json!(facts.pin.is_some()));
        extra.insert("is_official_business_account".into(), json!(false));
        extra.insert(
            "country_dial_code".into(),
            json!(super::address::digits_of(&spec.display_phone_number).get(..1)),
        );
        extra.insert("messaging_limit_tier".into(), json!(spec.messaging_limit));
        extra.insert("quality_score".into(), json!({"score": facts.quality}));
        let answer = PhoneNumber {
            id: spec.phone_number_id.clone(),
            display_phone_number: Some(spec.display_phone_number.clone()),
            verified_name: Some(spec.verified_name.clone()),
            status: Some(if facts.registered { "CONNECTED" } else { "DISCONNECTED" }.to_owned()),
            quality_rating: Some(facts.quality.clone()),
            code_verification_status: Some("VERIFIED".to_owned()),
            name_status: Some("APPROVED".to_owned()),
            platform_type: Some(
                if facts.registered { "CLOUD_API" } else { "NOT_APPLICABLE" }.to_owned(),
            ),
            account_mode: Some("LIVE".to_owned()),
            throughput: Some(Throughput { level }),
            whatsapp_business_manager_messaging_limit: Some(spec.messaging_limit.clone()),
            is_on_biz_app: Some(spec.on_business_app),
            webhook_configuration: Some(WebhookConfiguration {
                phone_number: facts.hook.as_ref().map(|hook| hook.url.clone()),
                whatsapp_business_account: waba
                    .and_then(|waba| waba.facts.hook.as_ref())
                    .map(|hook| hook.url.clone()),
                application: spec.webhook_url.clone(),
            }),
            health_status: Some(self.health(&spec.waba_id, Some(number))),
            extra,
        };
        serde_json::to_value(answer).unwrap_or_default()
    }

    fn health(&self, waba_id: &str, number: Option<&Number>) -> HealthStatus {
        let mut health =
            HealthStatus { can_send_message: CanSend::Available, entities: Vec::new() };
        if let Some(number) = number {
            let solution = ("The number is not registered.", "POST to its register edge.");
            let error = (!number.facts.registered).then_some((133010, solution));
            judge(&mut health, "PHONE_NUMBER", &number.spec().phone_number_id, error);
            judge(&mut health, "APP", &number.spec().app_id, None);
        }
        judge(&mut health, "WABA", waba_id, None);
        judge(&mut health, "BUSINESS", &business_id(waba_id), None);
        health
    }

    /// Of a template: blocked unless it is approved.
    pub(crate) fn template_health(&self, template: &Template) -> HealthStatus {
        let mut health = self.health(&template.waba_id, None);
        let solution = ("The template is not approved.", "Wait for its approval, or edit it.");
        let error = (template.status != "APPROVED").then_some((141002, solution));
        judge(&mut health, "MESSAGE_TEMPLATE", &template.id.to_string(), error);
        health
    }

    fn write_number(&mut self, id: &str, request: &Request) -> Checked<Ready> {
        let body = request.body_object()?;
        if let Some(configuration) = body.get("webhook_configuration") {
            let configuration = configuration.as_object().ok_or_else(|| {
                GraphError::platform(100, "Param webhook_configuration must be an object.")
            })?;
            return match hook(configuration)? {
                Some(hook) => Ok(Ready::Handshake { hook, of: HookOf::Number(id.to_owned()) }),
                None => self.change_number(id, |facts| facts.hook = None),
            };
        }
        match body.get("pin").and_then(Value::as_str) {
            Some(pin) if is_pin(pin) => {
                let pin = pin.to_owned();
                self.change_number(id, |facts| facts.pin = Some(pin))
            }
            _ => Err(GraphError::platform(
                100,
                "One of pin (6 digits) and webhook_configuration is required.",
            )),
        }
    }

    fn register(&mut self, id: &str, request: &Request) -> Checked<Ready> {
        let body = request.body_object()?;
        if body.get("messaging_product").and_then(Value::as_str) != Some("whatsapp") {
            return Err(GraphError::platform(
                100,
                "The parameter messaging_product is required, and is \"whatsapp\".",
            ));
        }
        let pin =
            body.get("pin").and_then(Value::as_str).filter(|pin| is_pin(pin)).map(str::to_owned);
        let Some(pin) = pin else {
            return Err(GraphError::platform(
                100,
                "The parameter pin is required, and is 6 digits.",
            ));
        };
        self.admit_registration(id, request.now())?;
        let known = self.numbers.get(id).and_then(|number| number.facts.pin.clone());
        if known.is_some_and(|known| known != pin) {
            return Err(GraphError::new(133005, "the PIN is not the one that was set"));
        }
        self.change_number(id, |facts| (facts.registered, facts.pin) = (true, Some(pin)))
    }

    fn deregister(&mut self, id: &str, request: &Request) -> Checked<Ready> {
        self.admit_registration(id, request.now())?;
        self.change_number(id, |facts| facts.registered = false)
    }

    fn admit_registration(&mut self, id: &str, now: i64) -> Checked<()> {
        if let Some(number) = self.numbers.get_mut(id)
            && !number.registrations.admit(now, 2 * REGISTRATIONS_MAX)
        {
            return Err(GraphError::new(133016, "too many registrations of this number, wait"));
        }
        Ok(())
    }

    fn change_number(&mut self, id: &str, change: impl FnOnce(&mut NumberFacts)) -> Checked<Ready> {
        let mut facts = match self.numbers.get(id) {
            Some(number) => number.facts.clone(),
            None => return Err(GraphError::no_such_object("post", id)),
        };
        change(&mut facts);
        Ok(self.done_with(vec![Entry::Number { number: Box::new(facts) }]))
    }

    /// Commits and says so.
    pub(crate) fn done_with(&mut self, entries: Vec<Entry>) -> Ready {
        self.committed(entries, json!(Success { success: true }))
    }

    pub(crate) fn committed(&mut self, entries: Vec<Entry>, answer: Value) -> Ready {
        match self.commit(entries) {
            Ok(()) => Ready::Json(answer),
            Err(error) => Ready::Failed(error),
        }
    }

    fn read_waba(&self, id: &str, request: &Request) -> Checked<Ready> {
        let numbers: Vec<&Number> =
            self.numbers.values().filter(|number| number.spec().waba_id == id).collect();
        let name = numbers.first().map(|number| number.spec().verified_name.clone());
        let mut extra = Map::new();
        extra.insert("country".into(), json!("US"));
        extra.insert("business_verification_status".into(), json!("verified"));
        extra.insert("ownership_type".into(), json!("SELF"));
        extra.insert("status".into(), json!("ACTIVE"));
        extra.insert(
            "message_template_namespace".into(),
            json!(format!("{:016x}", hash(&[b"ns", id.as_bytes()]))),
        );
        let answer = WabaAnswer {
            id: id.to_owned(),
            name,
            currency: Some("USD".to_owned()),
            timezone_id: Some("1".to_owned()),
            account_review_status: Some("APPROVED".to_owned()),
            health_status: Some(self.health(id, None)),
            owner_business_info: Some(ObjectRef {
                id: business_id(id),
                name: Some("Sandbox".to_owned()),
            }),
            extra,
        };
        let fields = request
            .query("fields")
            .unwrap_or("id,name,currency,timezone_id,message_template_namespace");
        selected(serde_json::to_value(answer).unwrap_or_default(), fields)
    }

    fn list_numbers(&self, waba: &str, request: &Request) -> Checked<Ready> {
        let fields = request.query("fields").unwrap_or(
            "id,display_phone_number,verified_name,quality_rating,code_verification_status,platform_type,throughput",
        );
        let numbers = self.numbers.values().filter(|number| number.spec().waba_id == waba);
        let items: Vec<(String, Value)> = numbers
            .map(|number| (number.spec().phone_number_id.clone(), self.number_answer(number)))
            .collect();
        page(items, fields, request)
    }

    fn subscribed_apps(&mut self, waba: &str, request: &Request) -> Checked<Ready> {
        let Some(facts) = self.wabas.get(waba).map(|waba| waba.facts.clone()) else {
            return Err(GraphError::no_such_object(&request.method, waba));
        };
        match request.method.as_str() {
            "GET" => {
                let app = self.numbers.values().find(|number| number.spec().waba_id == waba);
                let apps: Vec<Value> = app
                    .filter(|_| facts.subscribed)
                    .map(|number| SubscribedApp {
                        whatsapp_business_api_data: Some(ObjectRef {
                            id: number.spec().app_id.clone(),
                            name: Some("Sandbox".to_owned()),
                        }),
                        override_callback_uri: facts.hook.as_ref().map(|hook| hook.url.clone()),
                    })
                    .and_then(|app| serde_json::to_value(app).ok())
                    .into_iter()
                    .collect();
                Ok(Ready::Json(json!({ "data": apps })))
            }
            "POST" => match hook(&request.body_object()?)? {
                Some(hook) => Ok(Ready::Handshake { hook, of: HookOf::Waba(waba.to_owned()) }),
                None => Ok(self.done_with(vec![Entry::Waba {
                    waba: WabaFacts { subscribed: true, hook: None, ..facts },
                }])),
            },
            "DELETE" => Ok(self.done_with(vec![Entry::Waba {
                waba: WabaFacts { subscribed: false, hook: None, ..facts },
            }])),
            _ => Err(GraphError::platform(2500, "Unknown path components: /subscribed_apps")),
        }
    }

    /// Ends a call that set a callback URL, now that the URL was asked to prove itself.
    pub(crate) fn set_hook(
        &mut self,
        request: &Request,
        hook: Override,
        of: &HookOf,
        proven: Result<(), String>,
    ) -> std::io::Result<Answer> {
        let call = self.call(request);
        if let Err(reason) = proven {
            let error = GraphError::platform(
                2200,
                format!("Callback verification failed with the following errors: {reason}"),
            );
            return self.close(call, Err(error));
        }
        let entry = match of {
            HookOf::Number(id) => self.numbers.get(id).map(|number| {
                let facts = NumberFacts { hook: Some(hook), ..number.facts.clone() };
                Entry::Number { number: Box::new(facts) }
            }),
            HookOf::Waba(id) => self.wabas.get(id).map(|waba| Entry::Waba {
                waba: WabaFacts { subscribed: true, hook: Some(hook), ..waba.facts.clone() },
            }),
        };
        self.commit(entry.into_iter().collect())?;
        self.close(call, Ok(Answer::json(200, &Success { success: true })?))
    }

    fn debug_token(&self, request: &Request) -> Checked<Ready> {
        let token = request
            .query("input_token")
            .ok_or_else(|| GraphError::platform(100, "The parameter input_token is required."))?;
        let holders: Vec<&Number> = self
            .numbers
            .values()
            .filter(|number| same(&number.spec().access_token, token))
            .collect();
        let Some(first) = holders.first() else {
            let error =
                crate::cloud_api::wire::response::ErrorBody::new(190, "Invalid OAuth access token");
            return Ok(Ready::Json(
                json!({"data": TokenInfo {error: Some(error), ..TokenInfo::default()}}),
            ));
        };
        let mut wabas: Vec<String> =
            holders.iter().map(|number| number.spec().waba_id.clone()).collect();
        wabas.dedup();
        let scopes = ["whatsapp_business_management", "whatsapp_business_messaging"];
        let granular = scopes
            .map(|scope| GranularScope { scope: scope.to_owned(), target_ids: wabas.clone() });
        let info = TokenInfo {
            app_id: Some(first.spec().app_id.clone()),
            application: Some("Sandbox".to_owned()),
            kind: Some("SYSTEM_USER".to_owned()),
            is_valid: true,
            expires_at: Some(0),
            data_access_expires_at: Some(0),
            scopes: scopes.map(str::to_owned).to_vec(),
            granular_scopes: granular
                .iter()
                .filter_map(|scope| serde_json::to_value(scope).ok())
                .collect(),
            error: None,
        };
        Ok(Ready::Json(json!({ "data": info })))
    }
}

/// What a handler made.
pub(crate) enum Ready {
    Json(Value),
    File {
        mime_type: String,
        bytes: Bytes,
    },
    Handshake {
        hook: Override,
        of: HookOf,
    },
    /// The state could not be written or read.
    Failed(std::io::Error),
}

/// Reads an override; none where the body has none.
fn hook(body: &Map<String, Value>) -> Checked<Option<Override>> {
    let Some(target) =
        body.get("override_callback_uri").and_then(Value::as_str).filter(|url| !url.is_empty())
    else {
        return Ok(None);
    };
    let web = url::Url::parse(target)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if !web || target.chars().count() > CALLBACK_URL_CHARS_MAX {
        return Err(GraphError::platform(
            100,
            format!(
                "Param override_callback_uri must be a URL of at most {CALLBACK_URL_CHARS_MAX} characters."
            ),
        ));
    }
    let token = body
        .get("verify_token")
        .and_then(Value::as_str)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| GraphError::platform(100, "The parameter verify_token is required."))?;
    Ok(Some(Override { url: target.to_owned(), verify_token: token.to_owned() }))
}

fn is_pin(pin: &str) -> bool {
    pin.len() == 6 && pin.bytes().all(|b| b.is_ascii_digit())
}

/// Adds an entity, blocked where it has an error (code, description and solution); the whole is as well as its worst.
fn judge(health: &mut HealthStatus, kind: &str, id: &str, error: Option<(u32, (&str, &str))>) {
    let can = if error.is_some() { CanSend::Blocked } else { CanSend::Available };
    if error.is_some() {
        health.can_send_message = CanSend::Blocked;
    }
    let errors = error.map(|(code, (description, solution))| {
        json!({"error_code": code, "error_description": description, "possible_solution": solution})
    });
    let entity = HealthEntity {
        entity_type: kind.to_owned(),
        id: Some(id.to_owned()),
        can_send_message: can,
        additional_info: Vec::new(),
        errors: errors.into_iter().collect(),
    };
    health.entities.extend(serde_json::to_value(entity));
}

/// What a call may carry to show that it knows the app secret, too.
fn proof_of(spec: &NumberSpec) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, spec.app_secret.as_bytes());
    hex::encode(hmac::sign(&key, spec.access_token.as_bytes()))
}

/// The portfolio that an account belongs to; the sandbox gives each account its own.
pub(crate) fn business_id(waba_id: &str) -> String {
    (hash(&[b"business", waba_id.as_bytes()]) % 900_000_000_000 + 100_000_000_000).to_string()
}

/// Compares without telling by time where the difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes().zip(b.bytes()).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// Leaves only the fields that were asked for; one that does not exist is refused, as the whole request is at Meta.
pub(crate) fn selected(object: Value, fields: &str) -> Checked<Ready> {
    pick(object, fields).map(Ready::Json)
}

fn pick(object: Value, fields: &str) -> Checked<Value> {
    let Value::Object(mut known) = object else { return Ok(object) };
    let mut chosen = Map::new();
    if let Some(id) = known.get("id") {
        chosen.insert("id".to_owned(), id.clone());
    }
    for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        // `owner_business_info{id,name}` asks for parts; they are given whole.
        let name = field.split(['{', '.']).next().unwrap_or(field).trim_end_matches('}');
        match known.remove(name) {
            Some(value) => {
                chosen.insert(name.to_owned(), value);
            }
            None if chosen.contains_key(name) || OPTIONAL.contains(&name) => {}
            None if field.ends_with('}') => {}
            None => {
                return Err(GraphError::platform(
                    100,
                    format!("Tried accessing nonexistent field ({name})"),
                ));
            }
        }
    }
    Ok(Value::Object(chosen))
}

/// Fields that exist and may have no value.
const OPTIONAL: &[&str] = &[
    "username",
    "certificate",
    "last_onboarded_time",
    "new_name_status",
    "country_code",
    "is_preverified_number",
    "message_send_ttl_seconds",
    "previous_category",
    "correct_category",
    "sub_category",
    "library_template_name",
    "marketing_messages_onboarding_status",
    "marketing_messages_lite_api_status",
    "webhook_configuration",
    "on_behalf_of_business_info",
    "primary_business_location",
    "purchase_order_number",
];

/// One page of `items`, which are in the order of their keys. The end is the absence of `next`.
pub(crate) fn page(items: Vec<(String, Value)>, fields: &str, request: &Request) -> Checked<Ready> {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let limit = match request.query("limit").map(str::parse::<usize>) {
        None => PAGE_ITEMS,
        Some(Ok(limit)) if (1..=PAGE_ITEMS_MAX).contains(&limit) => limit,
        Some(_) => {
            return Err(GraphError::platform(
                100,
                format!("Param limit must be 1 to {PAGE_ITEMS_MAX}."),
            ));
        }
    };
    let cursor = |key: &str| URL_SAFE_NO_PAD.encode(format!("cursor:{key}"));
    let read = |name: &str| match request.query(name) {
        None => Ok(None),
        Some(text) => URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.strip_prefix("cursor:").map(str::to_owned))
            .map(Some)
            .ok_or_else(|| {
                GraphError::new(131059, "the cursor is not one of this list, begin without cursors")
            }),
    };
    let (after, before) = (read("after")?, read("before")?);
    let start = after.map_or(0, |after| items.partition_point(|(key, _)| *key <= after));
    let end = before.map_or(items.len(), |before| items.partition_point(|(key, _)| *key < before));
    let start = if request.query("before").is_some() { end.saturating_sub(limit) } else { start };
    let chosen = &items[start.min(end)..end.min(start.saturating_add(limit)).max(start.min(end))];
    let mut data = Vec::with_capacity(chosen.len());
    for (_, item) in chosen {
        data.push(pick(item.clone(), fields)?);
    }
    let last = chosen.last().map(|(key, _)| key.clone());
    let link = |name: &str, key: &str| {
        let kept = request.query.iter().filter(|(k, _)| {
            !["after", "before", "access_token", "appsecret_proof"].contains(&k.as_str())
        });
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept).append_pair(name, &cursor(key));
        format!(
            "{}/{}/{}?{}",
            request.base,
            request.version,
            request.segments.join("/"),
            query.finish()
        )
    };
    let more = last.as_ref().is_some_and(|last| items.last().is_some_and(|(key, _)| key != last));
    let paging = chosen.first().zip(last.as_ref()).map(|((first, _), last)| Paging {
        cursors: Some(Cursors { before: Some(cursor(first)), after: Some(cursor(last)) }),
        next: more.then(|| link("after", last)),
        previous: (start > 0).then(|| link("before", first)),
    });
    Ok(Ready::Json(serde_json::to_value(Page { data, paging }).unwrap_or_default()))
}
