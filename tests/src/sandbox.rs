//! WhatsApp's stand-in, in this process, on a port of its own: it outlives the gateways that are killed.

use std::net::SocketAddr;
use std::sync::Arc;

use infrastructure::clock::SystemClock;
use infrastructure::sandbox::{Behaviour, NumberSpec, Options, Sandbox, Server, TemplateVerdict};
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
        // A second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sandbox = Sandbox::open(Options { seed, ..Options::new(Arc::new(SystemClock)) })
            .expect("a sandbox");
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

    /// Provisions a number without webhooks yet: the gateway's callback is known once it has the account.
    ///
    /// # Panics
    /// Where the number is none.
    pub fn number(&self, phone_number_id: &str, messages_per_second: u32) {
        let mut spec = NumberSpec::new(phone_number_id, WABA, TOKEN, APP_SECRET);
        spec.messages_per_second = messages_per_second;
        spec.template_verdict = TemplateVerdict::Approve;
        self.sandbox.provision(spec).expect("a number");
    }

    /// Connects a CLOUD_API account for a provisioned number and points the number's webhooks at it. Answers its id.
    ///
    /// # Panics
    /// Where the gateway refuses.
    pub async fn connect(
        &self,
        client: &Client,
        phone_number_id: &str,
        messages_per_second: u32,
    ) -> String {
        self.number(phone_number_id, messages_per_second);
        let mutation = "mutation($input: ConnectAccountInput!) { connectAccount(input: $input) { account { id webhookPath } } }";
        let input = json!({
            "name": format!("Number {phone_number_id}"), "provider": "CLOUD_API", "phoneNumberId": phone_number_id,
            "wabaId": WABA, "accessToken": TOKEN, "appSecret": APP_SECRET, "verifyToken": VERIFY_TOKEN,
            "timeZone": "Europe/Berlin", "defaultRegion": "GB", "messagesPerSecond": messages_per_second,
        });
        let data = client.ask(mutation, json!({ "input": input })).await;
        let account = &data["connectAccount"]["account"];
        let id = account["id"].as_str().expect("an id").to_owned();
        let path = account["webhookPath"].as_str().expect("a path");
        let mut spec = NumberSpec::new(phone_number_id, WABA, TOKEN, APP_SECRET);
        spec.messages_per_second = messages_per_second;
        spec.template_verdict = TemplateVerdict::Approve;
        spec.webhook_url = Some(format!("{}{path}", client.base));
        spec.verify_token = Some(VERIFY_TOKEN.to_owned());
        self.sandbox.provision(spec).expect("a number");
        eventually("the webhook URL is verified", || async {
            (self.sandbox.is_verified(phone_number_id) == Some(true)).then_some(())
        })
        .await;
        id
    }

    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.stop(&self.sandbox).await;
        }
    }
}

pub const WABA: &str = "301000000000001";
/// Marked, so that a leak is found.
pub const TOKEN: &str = "EAACANARYTOKEN0123456789";
pub const APP_SECRET: &str = "canaryappsecret0123456789abcdef";
pub const VERIFY_TOKEN: &str = "canaryverifytoken";
