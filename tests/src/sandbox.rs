//! WhatsApp's stand-in, in this process, on a port of its own: it outlives the gateways that are killed.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::port::Clock;
use infrastructure::clock::SystemClock;
use infrastructure::sandbox::{
    Behaviour, Call, NumberSpec, Options, Sandbox, Server, TemplateVerdict,
};
use serde_json::{Value, json};

use crate::client::Client;
use crate::eventually;

pub struct SandboxProcess {
    pub sandbox: Sandbox,
    pub url: String,
    server: Option<Server>,
}

impl SandboxProcess {
    /// # Panics
    /// Where it cannot start.
    pub async fn start(seed: u64) -> Self {
        Self::start_by(seed, Arc::new(SystemClock)).await
    }

    /// By a clock that the test moves.
    ///
    /// # Panics
    /// Where it cannot start.
    pub async fn start_by(seed: u64, clock: Arc<dyn Clock>) -> Self {
        // A second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sandbox = Sandbox::open(Options { seed, ..Options::new(clock) }).expect("a sandbox");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(listen, sandbox.clone()).await.expect("a listener");
        Self { url: server.url(), sandbox, server: Some(server) }
    }

    /// # Panics
    /// Where the behaviour is none.
    pub fn behave(&self, behaviour: Value) {
        let behaviour =
            Behaviour::from_json(behaviour.to_string().as_bytes()).expect("a behaviour");
        self.sandbox.set_behaviour(behaviour).expect("a behaviour");
    }

    /// [`SandboxProcess::behave`] for one number alone; `None` gives it what all have.
    ///
    /// # Panics
    /// Where the behaviour is none, or the number unknown.
    pub fn behave_of(&self, phone_number_id: &str, behaviour: Option<Value>) {
        let behaviour = behaviour.map(|behaviour| {
            Behaviour::from_json(behaviour.to_string().as_bytes()).expect("a behaviour")
        });
        self.sandbox.set_behaviour_of(phone_number_id, behaviour).expect("a behaviour");
    }

    /// Connects a CLOUD_API account of the WABA that all share, and points the number's webhooks at it. Answers its id.
    ///
    /// # Panics
    /// Where the gateway refuses.
    pub async fn connect(
        &self,
        client: &Client,
        phone_number_id: &str,
        messages_per_second: u32,
    ) -> String {
        let number = Number { messages_per_second, ..Number::new(phone_number_id) };
        self.connect_number(client, &number).await
    }

    /// Provisions a number without webhooks.
    ///
    /// # Panics
    /// Where the number is none.
    pub fn provision(&self, number: &Number) {
        self.sandbox.provision(number.spec(None)).expect("a number");
    }

    /// Provisions a number, connects a CLOUD_API account for it and points the number's webhooks there. Answers the
    /// account's id.
    ///
    /// # Panics
    /// Where the gateway refuses.
    pub async fn connect_number(&self, client: &Client, number: &Number) -> String {
        // The gateway's callback is known once it has the account.
        self.provision(number);
        let mutation = "mutation($input: ConnectAccountInput!) { connectAccount(input: $input) { account { id webhookPath } } }";
        let input = json!({
            "name": format!("Number {}", number.phone_number_id), "provider": "CLOUD_API",
            "phoneNumberId": number.phone_number_id, "wabaId": number.waba_id, "accessToken": number.token,
            "appSecret": APP_SECRET, "verifyToken": VERIFY_TOKEN, "timeZone": "Europe/Berlin",
            "defaultRegion": "GB", "messagesPerSecond": number.messages_per_second,
            "portfolioId": number.portfolio_id,
        });
        let data = client.ask(mutation, json!({ "input": input })).await;
        let account = &data["connectAccount"]["account"];
        let id = account["id"].as_str().expect("an id").to_owned();
        let path = account["webhookPath"].as_str().expect("a path");
        let webhook_url = Some(format!("{}{path}", client.base));
        self.sandbox.provision(number.spec(webhook_url)).expect("a number");
        eventually("the webhook URL is verified", || async {
            (self.sandbox.is_verified(&number.phone_number_id) == Some(true)).then_some(())
        })
        .await;
        id
    }

    /// Every call that tried to send a message through this number, in their order.
    ///
    /// # Panics
    /// Where the record cannot be read.
    pub fn sends(&self, phone_number_id: &str) -> Vec<Call> {
        let calls = self.sandbox.calls(0).expect("the record");
        calls
            .into_iter()
            .filter(|call| call.phone_number_id.as_deref() == Some(phone_number_id))
            .filter(Call::is_send)
            .collect()
    }

    /// [`SandboxProcess::sends`] to one person, whose number begins with a plus.
    ///
    /// # Panics
    /// Where the record cannot be read.
    pub fn sends_to(&self, phone_number_id: &str, to: &str) -> Vec<Call> {
        let is_theirs = |call: &Call| {
            call.to.as_deref().is_some_and(|it| it.trim_start_matches('+') == &to[1..])
        };
        self.sends(phone_number_id).into_iter().filter(is_theirs).collect()
    }

    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.stop(&self.sandbox).await;
        }
    }
}

/// A number at the sandbox, and what an account needs to use it.
#[derive(Clone, Debug)]
pub struct Number {
    pub phone_number_id: String,
    pub waba_id: String,
    pub token: String,
    pub messages_per_second: u32,
    pub portfolio_id: Option<String>,
    /// People that its portfolio may reach in 24 h, by WhatsApp's name for it.
    pub messaging_limit: String,
    /// Also used in the WhatsApp Business app.
    pub on_business_app: bool,
}

impl Number {
    /// One of the WABA that all share.
    pub fn new(phone_number_id: &str) -> Self {
        Self {
            phone_number_id: phone_number_id.to_owned(),
            waba_id: WABA.to_owned(),
            token: TOKEN.to_owned(),
            messages_per_second: 500,
            portfolio_id: None,
            messaging_limit: "TIER_UNLIMITED".to_owned(),
            on_business_app: false,
        }
    }

    /// As the sandbox has it: templates are approved at once.
    pub fn spec(&self, webhook_url: Option<String>) -> NumberSpec {
        let mut spec =
            NumberSpec::new(&self.phone_number_id, &self.waba_id, &self.token, APP_SECRET);
        spec.messages_per_second = self.messages_per_second;
        spec.messaging_limit.clone_from(&self.messaging_limit);
        spec.on_business_app = self.on_business_app;
        spec.template_verdict = TemplateVerdict::Approve;
        spec.verify_token = webhook_url.is_some().then(|| VERIFY_TOKEN.to_owned());
        spec.webhook_url = webhook_url;
        spec
    }
}

pub const WABA: &str = "301000000000001";
/// Marked, so that a leak is found.
pub const TOKEN: &str = "EAACANARYTOKEN0123456789";
pub const APP_SECRET: &str = "canaryappsecret0123456789abcdef";
pub const VERIFY_TOKEN: &str = "canaryverifytoken";
