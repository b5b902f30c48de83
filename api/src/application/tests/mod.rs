//! The use cases on a real store, without a server around them.

mod access;
mod cloud_api;
mod conversations;
mod forecast;
mod merged;
mod people;
pub(in crate::application) mod sending;
mod suppressed;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::account::AccountProvider;
use domain::api_key::Scope;
use domain::contact::ConsentStatus;
use domain::primitives::{Actor, WorkspaceId};
use domain::template::{TemplateCategory, TemplateCommand, TemplateStatus};
use infrastructure::clock::{SystemClock, SystemIds};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::accounts::ConnectAccount;
use super::contacts::AddContact;
use super::templates::CreateTemplate;
use super::view::{AccountView, ContactView, TemplateView};
use super::*;
use crate::app::Gateway;
use crate::config::Config;

/// A gateway with its read models and nothing else running.
pub(in crate::application) struct World {
    pub(in crate::application) gateway: Arc<Gateway>,
    pub(in crate::application) admin: Caller,
    workspace: WorkspaceId,
    dir: TempDir,
    _models: JoinSet<()>,
}

impl World {
    pub(in crate::application) async fn new() -> Self {
        Self::by(Arc::new(SystemClock)).await
    }

    /// By a clock that the test may move.
    async fn by(clock: Arc<dyn domain::port::Clock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("gateway.db").display());
        let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let flags = [flag("store.url", &url), flag("secrets.master_key", &"42".repeat(32))];
        let config = Config::load(None, [], &flags).unwrap();
        let ids = Arc::new(SystemIds::new());
        let gateway = Gateway::open(config, clock, ids).await.unwrap();
        let mut models = JoinSet::new();
        let read = gateway.read.clone();
        models.spawn(async move { read.run().await });
        let workspace = workspaces::ensure_default_workspace(&gateway).await.unwrap();
        let admin = Caller::everything(Actor::system("test"));
        Self { gateway, admin, workspace, dir, _models: models }
    }

    /// Somebody with these scopes in the default workspace.
    fn caller(&self, scopes: &[Scope]) -> Caller {
        Caller {
            scopes: scopes.iter().copied().collect(),
            workspaces: Some(BTreeSet::from([self.workspace])),
            ..Caller::everything(Actor::system("somebody"))
        }
    }

    pub(in crate::application) async fn account(&self, name: &str) -> AccountView {
        self.account_in(self.workspace, name).await
    }

    async fn account_in(&self, workspace: WorkspaceId, name: &str) -> AccountView {
        let input = ConnectAccount { workspace_id: Some(workspace.to_string()), ..sandbox(name) };
        accounts::connect(&self.gateway, &self.admin, input).await.unwrap().value
    }

    pub(in crate::application) async fn contact(&self, phone: &str) -> ContactView {
        let input = AddContact { phone_number: Some(phone.to_owned()), ..self.person() };
        contacts::add(&self.gateway, &self.admin, input).await.unwrap().value
    }

    fn person(&self) -> AddContact {
        AddContact { workspace_id: Some(self.workspace.to_string()), ..AddContact::default() }
    }

    /// An approved template with one variable.
    pub(in crate::application) async fn template(
        &self,
        account: &AccountView,
        category: TemplateCategory,
    ) -> TemplateView {
        let input = template(account, "hello", category);
        let template = templates::create(&self.gateway, &self.admin, input).await.unwrap().value;
        let now = self.gateway.clock.now();
        let context = command::context(&self.gateway, &self.admin);
        for command in [
            TemplateCommand::RecordSubmitted { whatsapp_id: Some("1".to_owned()), at: now },
            TemplateCommand::RecordVerdict {
                status: TemplateStatus::Approved,
                reason: None,
                at: now,
            },
        ] {
            let done = self.gateway.bus.execute::<domain::template::Template>(
                template.id.0,
                command,
                &context,
            );
            done.await.unwrap();
        }
        template
    }

    /// Whether any file of the gateway holds this text.
    fn is_on_disk(&self, text: &str) -> bool {
        fn files(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { files(&path, found) } else { found.push(path) }
            }
        }
        let mut found = vec![];
        files(self.dir.path(), &mut found);
        found.iter().any(|path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }
}

fn sandbox(name: &str) -> ConnectAccount {
    ConnectAccount {
        workspace_id: None,
        name: name.to_owned(),
        provider: AccountProvider::Sandbox,
        phone_number_id: None,
        waba_id: None,
        portfolio_id: None,
        access_token: None,
        app_secret: None,
        verify_token: None,
        pin: None,
        time_zone: "Europe/Berlin".to_owned(),
        default_region: None,
        quiet_hours: None,
        messages_per_second: None,
        idempotency_key: None,
    }
}

fn template(account: &AccountView, name: &str, category: TemplateCategory) -> CreateTemplate {
    CreateTemplate {
        account_id: account.id.to_string(),
        name: name.to_owned(),
        language: "en_US".to_owned(),
        category,
        components: json!([
            { "type": "BODY", "text": "Hello {{1}}, welcome.", "example": { "body_text": [["Ana"]] } },
        ]),
        idempotency_key: None,
    }
}

/// The code and the field of a refusal.
fn refusal<T: std::fmt::Debug>(result: AppResult<T>) -> (ErrorCode, Option<String>) {
    let error = result.unwrap_err();
    (error.code, error.field)
}

fn invalid(field: &str) -> (ErrorCode, Option<String>) {
    (ErrorCode::ValidationFailed, Some(field.to_owned()))
}

/// A field and what makes it wrong.
type Wrong<T> = (&'static str, fn(&mut T));

const NOT_FOUND: (ErrorCode, Option<String>) = (ErrorCode::NotFound, None);
const FORBIDDEN: (ErrorCode, Option<String>) = (ErrorCode::Forbidden, None);
const CONFLICT: (ErrorCode, Option<String>) = (ErrorCode::Conflict, None);

fn opted_in(mut input: AddContact) -> AddContact {
    input.consent = Some(ConsentStatus::OptedIn);
    input.consent_source = Some("form".to_owned());
    input
}

fn runs_on_any_thread<F: Future + Send>(_: F) {}

/// Compiled and never called: GraphQL runs use cases wherever there is a thread.
#[expect(dead_code, reason = "it is the compiler who answers")]
fn every_kind_of_use_case_runs_on_any_thread(gateway: &Gateway, caller: &Caller, text: String) {
    runs_on_any_thread(workspaces::create(gateway, caller, text.clone(), None));
    runs_on_any_thread(accounts::pause(gateway, caller, &text, text.clone()));
    runs_on_any_thread(accounts::update(gateway, caller, accounts::UpdateAccount::default()));
    runs_on_any_thread(templates::submit(gateway, caller, &text));
    runs_on_any_thread(templates::sync(gateway, caller, &text));
    runs_on_any_thread(contacts::upsert(gateway, caller, AddContact::default()));
    runs_on_any_thread(contacts::merge(gateway, caller, &text, &text));
    runs_on_any_thread(contacts::erase(gateway, caller, &text, text.clone()));
    runs_on_any_thread(segments::update(gateway, caller, &text, None, None));
    runs_on_any_thread(api_keys::revoke(gateway, caller, &text));
    runs_on_any_thread(events::list(
        gateway,
        caller,
        domain::port::Position(0),
        Default::default(),
        None,
    ));
    runs_on_any_thread(campaigns::retry(gateway, caller, &text, campaigns::RetryScope::All, None));
    runs_on_any_thread(messages::send_many(gateway, caller, vec![]));
}
