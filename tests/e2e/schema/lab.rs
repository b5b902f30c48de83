//! A gateway in this process that does nothing by itself: its read models follow the log, and no process manager runs, so
//! that whatever moves the log was done by the request under test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use api::app::{Gateway, Managers, Workers};
use api::application::{api_keys, workspaces};
use api::config::Config;
use api::{http, telemetry};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::conversation::{Conversation, ConversationCommand, Inbound};
use domain::message::{
    Content, ContentKind, Message, MessageCommand, MessageHeader, Priority, Recipient,
};
use domain::port::{Clock, EventFeed};
use domain::primitives::{
    AccountId, Actor, ContactId, MessageId, PhoneNumber, Wamid, WorkspaceId, conversation_id,
};
use domain::template::{Template, TemplateCommand, TemplateStatus};
use gateway_tests::{Client, Number, SandboxProcess, Store, StoreKind};
use infrastructure::clock::{SystemClock, SystemIds};
use infrastructure::ledger::Context;
use serde_json::{Value, json};
use uuid::Uuid;

use super::samples::Kind;

/// The real clock, some time ahead: what expires is waited for by moving it.
pub struct ShiftedClock {
    clock: SystemClock,
    ahead_s: AtomicI64,
}

#[async_trait]
impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + chrono::Duration::seconds(self.ahead_s.load(Ordering::Relaxed))
    }

    fn since_boot(&self) -> Duration {
        self.clock.since_boot()
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        let ahead = chrono::Duration::seconds(self.ahead_s.load(Ordering::Relaxed));
        self.clock.sleep_until(at - ahead).await;
    }

    async fn sleep_for(&self, duration: Duration) {
        self.clock.sleep_for(duration).await;
    }
}

/// One of everything, by kind.
pub type Things = BTreeMap<Kind, String>;

pub struct Lab {
    pub gateway: Arc<Gateway>,
    clock: Arc<ShiftedClock>,
    /// With the bootstrap key.
    pub admin: Client,
    pub sandbox: SandboxProcess,
    /// In the first workspace, of its first account.
    pub own: Things,
    /// In the first workspace, of its second account: only what belongs to an account.
    pub neighbour: Things,
    /// In the second workspace.
    pub foreign: Things,
    server: http::Server,
    workers: Workers,
    _store: Store,
}

/// Marks everything personal in the lab; nothing else holds it.
pub const CANARY: &str = "canary";
/// Part of every phone number in the lab, marked likewise.
pub const CANARY_DIGITS: &str = "7700900";

impl Lab {
    pub async fn new(kind: StoreKind) -> Self {
        Self::with(kind, &[]).await
    }

    /// With more configuration, `key=value`.
    pub async fn with(kind: StoreKind, more: &[(&str, &str)]) -> Self {
        let sandbox = SandboxProcess::start(1).await;
        sandbox.provision(&Number::new(PROBED_NUMBER));
        let store = Store::fresh(kind).await;
        let mut settings = store.settings();
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        settings.extend([
            ("listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("data_dir".to_owned(), store.dir.path().display().to_string()),
            ("graph.base_url".to_owned(), sandbox.url.clone()),
            ("graphql.requests_per_second".to_owned(), "1000000".to_owned()),
        ]);
        settings.extend(more);
        let config = Config::load(None, [], &settings).expect("a configuration");
        let clock = Arc::new(ShiftedClock { clock: SystemClock, ahead_s: AtomicI64::new(0) });
        let metrics = telemetry::init_metrics().expect("metrics");
        let gateway = Gateway::open(config, clock.clone(), Arc::new(SystemIds::new()))
            .await
            .expect("a gateway");
        workspaces::ensure_default_workspace(&gateway).await.expect("a workspace");
        let workers = Workers::project(gateway.clone());
        api_keys::ensure_bootstrap_key(&gateway).await.expect("a key");
        let server = http::Server::start(gateway.clone(), metrics).expect("a listener");
        gateway.set_listening(server.address);
        let admin = Client::new(format!("http://{}", server.address));
        let mut lab = Self {
            gateway,
            clock,
            admin,
            sandbox,
            own: Things::new(),
            neighbour: Things::new(),
            foreign: Things::new(),
            server,
            workers,
            _store: store,
        };
        lab.furnish().await;
        lab
    }

    async fn furnish(&mut self) {
        let listed = self.admin.ask("{ workspaces { id } }", json!({})).await;
        let first = text(&listed["workspaces"][0]["id"]);
        let second = self
            .make("createWorkspace(name: $input)", "String!", json!("Second"), "workspace")
            .await;
        self.own = self.people(&first, "447700900101").await;
        self.foreign = self.people(&second, "447700900201").await;
        let contact = self.own[&Kind::Contact].clone();
        let mut own = self.business(&first, "Own", &contact).await;
        let mut neighbour = self.business(&first, "Neighbour", &contact).await;
        let contact = self.foreign[&Kind::Contact].clone();
        let mut foreign = self.business(&second, "Foreign", &contact).await;
        self.own.append(&mut own);
        self.neighbour.append(&mut neighbour);
        self.foreign.append(&mut foreign);
        self.settle().await;
    }

    /// What belongs to a workspace and to no account.
    async fn people(&self, workspace: &str, digits: &str) -> Things {
        let person = json!({
            "workspaceId": workspace, "phoneNumber": format!("+{digits}"), "name": "Canary Person", "userId": format!("GB.canary{digits}"),
            "externalId": "canary-customer", "attributes": { "city": "Canary City" }, "tags": ["vip"],
            "consent": "OPTED_IN", "consentSource": "form",
        });
        let rule =
            json!({ "workspaceId": workspace, "name": "Everybody", "rule": { "tag": "vip" } });
        let import =
            json!({ "workspaceId": workspace, "csv": "phone,name\n+447700900999,Canary Row\n" });
        Things::from([
            (Kind::Workspace, workspace.to_owned()),
            (Kind::Contact, self.create("addContact", "AddContactInput", person, "contact").await),
            (
                Kind::Segment,
                self.create("createSegment", "CreateSegmentInput", rule, "segment").await,
            ),
            (
                Kind::Import,
                self.create("importContacts", "ImportContactsInput", import, "import").await,
            ),
        ])
    }

    /// What belongs to an account.
    async fn business(&self, workspace: &str, name: &str, contact: &str) -> Things {
        let account = json!({
            "workspaceId": workspace, "name": name, "provider": "SANDBOX", "timeZone": "Europe/London", "defaultRegion": "GB",
        });
        let account =
            self.create("connectAccount", "ConnectAccountInput", account, "account").await;
        let template = self.template(&account, "hello").await;
        self.approve(&template).await;
        let campaign = self.campaign(&account, &template, contact).await;
        let message = self.message(&account, contact, None).await;
        let conversation = self.wrote(workspace, &account, contact).await;
        let key = json!({ "name": name, "scopes": ["READ"], "workspaceIds": [workspace], "accountIds": [account] });
        let key = self.create("createApiKey", "CreateApiKeyInput", key, "apiKey").await;
        let user = json!({
            "email": format!("canary.{account}@shop.example"), "name": "Canary Person", "role": "VIEWER",
            "workspaceIds": [workspace], "accountIds": [account],
        });
        let user = self.create("inviteUser", "InviteUserInput", user, "user").await;
        let endpoint = json!({ "workspaceId": workspace, "url": "https://93.184.215.14/hook", "accountIds": [account] });
        let endpoint = self
            .create("createWebhookEndpoint", "CreateWebhookEndpointInput", endpoint, "endpoint")
            .await;
        Things::from([
            (Kind::WebhookEndpoint, endpoint),
            (Kind::Account, account),
            (Kind::Template, template),
            (Kind::Campaign, campaign),
            (Kind::Message, message),
            (Kind::ApiKey, key),
            (Kind::User, user),
            (Kind::Conversation, conversation),
        ])
    }

    /// A draft.
    pub async fn template(&self, account: &str, name: &str) -> String {
        let template = json!({
            "accountId": account, "name": name, "language": "en", "category": "UTILITY",
            "components": [{ "type": "BODY", "text": "Hello {{1}}, welcome to us.", "example": { "body_text": [["Ada"]] } }],
        });
        self.create("createTemplate", "CreateTemplateInput", template, "template").await
    }

    /// A draft.
    pub async fn campaign(&self, account: &str, template: &str, contact: &str) -> String {
        let campaign = json!({
            "accountId": account, "templateId": template, "name": "Campaign", "externalId": "sale-1",
            "parameters": { "body.1": "{{name | default: canary friend}}" }, "audience": { "contactIds": [contact] },
            "metadata": { "order": "canary order" },
        });
        self.create("createCampaign", "CreateCampaignInput", campaign, "campaign").await
    }

    /// A message of a template; without a time it is due at once.
    pub async fn message(&self, account: &str, contact: &str, send_at: Option<&str>) -> String {
        let message = json!({
            "accountId": account, "contactId": contact, "sendAt": send_at, "metadata": { "order": "canary order" },
            "template": { "name": "hello", "language": "en", "parameters": { "body.1": "canary parameter" } },
        });
        self.create("sendMessage", "SendMessageInput", message, "message").await
    }

    /// A new contact of the own workspace.
    pub async fn contact(&self, phone: &str) -> String {
        let person = json!({ "workspaceId": self.own[&Kind::Workspace], "phoneNumber": phone, "name": "Canary Guest" });
        self.create("addContact", "AddContactInput", person, "contact").await
    }

    async fn create(&self, mutation: &str, input_type: &str, input: Value, what: &str) -> String {
        self.make(&format!("{mutation}(input: $input)"), &format!("{input_type}!"), input, what)
            .await
    }

    async fn make(&self, call: &str, input_type: &str, input: Value, what: &str) -> String {
        let query =
            format!("mutation($input: {input_type}) {{ made: {call} {{ {what} {{ id }} }} }}");
        let data = self.admin.ask(&query, json!({ "input": input })).await;
        text(&data["made"][what]["id"])
    }

    async fn approve(&self, template: &str) {
        let at = self.gateway.clock.now();
        let verdict =
            TemplateCommand::RecordVerdict { status: TemplateStatus::Approved, reason: None, at };
        for command in [TemplateCommand::RecordSubmitted { whatsapp_id: None, at }, verdict] {
            let id = Uuid::parse_str(template).expect("an id");
            self.gateway
                .bus
                .execute::<Template>(id, command, &self.context())
                .await
                .expect("approved");
        }
    }

    /// A person writes, as a webhook would tell it: the conversation.
    pub async fn wrote(&self, workspace: &str, account: &str, contact: &str) -> String {
        let id = |text: &str| Uuid::parse_str(text).expect("an id");
        let at = self.gateway.clock.now();
        let message_id = MessageId(self.gateway.ids.next_id(at));
        let heard = Inbound {
            workspace_id: WorkspaceId(id(workspace)),
            account_id: AccountId(id(account)),
            contact_id: ContactId(id(contact)),
            message_id,
            opens_window: true,
            at,
        };
        let header = MessageHeader {
            workspace_id: heard.workspace_id,
            account_id: heard.account_id,
            contact_id: heard.contact_id,
            campaign_id: None,
            is_test: false,
            content_kind: ContentKind::Inbound,
            template: None,
            priority: Priority::Reply,
            time_to_live_s: None,
            external_id: None,
            metadata: None,
            reply_to: None,
            country: None,
        };
        let phone = PhoneNumber::parse("+447700900101").expect("a number");
        let receive = MessageCommand::Receive {
            header: Box::new(header),
            from: Recipient { phone: Some(phone), user_id: None },
            wamid: Wamid::parse(&format!("wamid.CANARY{message_id}")).expect("a wamid"),
            content: Content::Text { body: "canary question".to_owned(), preview_url: false },
            opens_window: true,
            at,
        };
        self.tell(&message_id.to_string(), receive).await;
        let conversation = conversation_id(heard.account_id, heard.contact_id);
        let note = ConversationCommand::NoteInbound(heard);
        let context = self.context();
        let told = self.gateway.bus.execute::<Conversation>(conversation.0, note, &context);
        told.await.expect("recorded");
        conversation.to_string()
    }

    /// Leads a queued message to doubt, as a dispatcher would whose call was never answered.
    pub async fn doubt(&self, message: &str) {
        let at = self.gateway.clock.now();
        let later = at + chrono::Duration::minutes(10);
        let lost = MessageCommand::RecordUnknown {
            attempt: 1,
            reason: "no answer".to_owned(),
            grace_until: later,
            at,
        };
        for command in [MessageCommand::RequestSend { attempt: 1, send_by: later, at }, lost] {
            self.tell(message, command).await;
        }
    }

    pub async fn tell(&self, message: &str, command: MessageCommand) {
        let id = Uuid::parse_str(message).expect("an id");
        self.gateway.bus.execute::<Message>(id, command, &self.context()).await.expect("recorded");
    }

    fn context(&self) -> Context {
        Context::new(Actor::system("test"), self.gateway.ids.next_id(self.gateway.clock.now()))
    }

    /// A client with a new key.
    pub async fn key(&self, input: Value) -> Client {
        let query =
            "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }";
        let mut whole = json!({ "name": "key" });
        for (name, value) in input.as_object().expect("an object") {
            whole[name] = value.clone();
        }
        let data = self.admin.ask(query, json!({ "input": whole })).await;
        self.admin.with_key(data["createApiKey"]["secret"].as_str().expect("a secret"))
    }

    /// A client whose key has these scopes everywhere.
    pub async fn scoped(&self, scopes: &[&str]) -> Client {
        self.key(json!({ "scopes": scopes })).await
    }

    /// Where the log ends.
    pub async fn head(&self) -> u64 {
        self.gateway.ledger.head().await.expect("the log answers").0
    }

    /// Waits until every read model shows all of the log.
    pub async fn settle(&self) {
        let head = self.gateway.ledger.head().await.expect("the log answers");
        for status in self.gateway.read.status().await.expect("read models") {
            let seen = self.gateway.read.wait_for(status.name, head, gateway_tests::PATIENCE).await;
            seen.expect("the read model follows");
        }
    }

    /// Starts the process managers, where the test is about them.
    pub fn manage(&mut self) {
        self.workers.manage(Managers::All);
    }

    pub fn move_clock(&self, by: chrono::Duration) {
        self.clock.ahead_s.fetch_add(by.num_seconds(), Ordering::Relaxed);
    }

    pub async fn stop(self) {
        self.server.stop().await;
        self.workers.stop().await;
        self.sandbox.stop().await;
    }
}

/// A number that a token of the sandbox opens.
const PROBED_NUMBER: &str = "109990000000001";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
