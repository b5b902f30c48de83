//! How writing subcommands reach a gateway: the one that owns the store, through the Unix socket beside its database; one
//! elsewhere by `--url` and `--key`; or, where none runs, one of their own for as long as they need it, which sends nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::serve::Running;
use super::{Global, Usage};
use crate::app::Managers;
use crate::config::Config;

/// The socket beside the database, mode 0600: whoever may open it owns the data anyway.
pub fn socket_path(config: &Config) -> PathBuf {
    let url = config.store.url.expose();
    match url.strip_prefix("sqlite://") {
        Some(path) => Path::new(path).with_extension("sock"),
        None => config.data_dir().join("gateway.sock"),
    }
}

/// Whoever listens on the socket, which has no address.
const BESIDE: &str = "http://gateway";

/// A gateway that can be asked.
pub struct Client {
    http: reqwest::Client,
    base: url::Url,
    key: Option<String>,
    own: Option<Running>,
}

impl Client {
    /// Connects as the options say.
    ///
    /// # Errors
    /// Where no gateway can be reached and none can be started.
    pub async fn connect(global: &Global) -> anyhow::Result<Self> {
        Self::connect_or_run(global, Managers::None).await
    }

    /// [`Self::connect`], where a gateway of its own has to run `managers`.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_or_run(global: &Global, managers: Managers) -> anyhow::Result<Self> {
        // One provider for the whole process; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if let Some(base) = &global.url {
            let Some(key) = &global.key else {
                bail!(Usage("--url needs --key, or WHATSAPP_GATEWAY_KEY".to_owned()))
            };
            return Self::to(base.clone(), key.clone());
        }
        let config = global.load(&[])?;
        let socket = socket_path(&config);
        let own = match tokio::net::UnixStream::connect(&socket).await {
            Ok(_) => None,
            // Nobody listens: then the store is free, or its owner is named by the refusal.
            Err(_) => {
                let config = global.load(&[("listen", "127.0.0.1:0".to_owned())])?;
                Some(Running::start(config, managers).await?)
            }
        };
        let http = builder().unix_socket(socket).build()?;
        Ok(Self { http, base: url::Url::parse(BESIDE)?, key: None, own })
    }

    /// The gateway that owns the store, where one runs.
    ///
    /// # Errors
    /// Where the configuration cannot be read, or there can be no HTTP client.
    pub async fn beside(global: &Global) -> anyhow::Result<Option<Self>> {
        // One provider for the whole process; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let socket = socket_path(&global.load(&[])?);
        if tokio::net::UnixStream::connect(&socket).await.is_err() {
            return Ok(None);
        }
        let http = builder().unix_socket(socket).build()?;
        Ok(Some(Self { http, base: url::Url::parse(BESIDE)?, key: None, own: None }))
    }

    pub fn base(&self) -> &url::Url {
        &self.base
    }

    /// A gateway elsewhere.
    ///
    /// # Errors
    /// Where there can be no HTTP client.
    pub fn to(base: url::Url, key: String) -> anyhow::Result<Self> {
        // One provider for the whole process; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self { http: builder().build()?, base, key: Some(key), own: None })
    }

    /// A GraphQL request's `data`.
    ///
    /// # Errors
    /// The first error's message, as the gateway says it.
    pub async fn graphql(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        let request = self
            .http
            .post(self.base.join("/graphql")?)
            .json(&json!({ "query": query, "variables": variables }));
        let mut answer: Value = self.send(request).await?;
        if let Some(error) = answer["errors"].get(0) {
            bail!("{}", error["message"].as_str().unwrap_or("the gateway refused it"));
        }
        Ok(answer["data"].take())
    }

    /// A POST with a body, as JSON.
    ///
    /// # Errors
    /// The gateway's message.
    pub async fn post(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: reqwest::Body,
    ) -> anyhow::Result<Value> {
        let request = self
            .http
            .post(self.base.join(path)?)
            .query(query)
            .header("content-type", "text/csv")
            .body(body);
        let answer = self.send(request).await?;
        if let Some(message) = answer["error"]["message"].as_str() {
            bail!("{message}");
        }
        Ok(answer)
    }

    /// A POST of JSON, answered in JSON.
    ///
    /// # Errors
    /// The gateway's message.
    pub async fn post_json(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.send(self.http.post(self.base.join(path)?).json(body)).await?;
        if let Some(message) = answer["error"]["message"].as_str() {
            bail!("{message}");
        }
        Ok(answer)
    }

    /// A GET whose answer is read piece by piece.
    ///
    /// # Errors
    /// [`Refused`] with the gateway's message where it answers otherwise than with what was asked for; else it is away.
    pub async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
        accept: &str,
    ) -> anyhow::Result<reqwest::Response> {
        let request = self.http.get(self.base.join(path)?).query(query).header("accept", accept);
        let response = self.answer(request).await?;
        let status = response.status();
        // One that stops, or a proxy before one that is gone.
        if status.is_server_error() {
            bail!("the gateway answered {status}");
        }
        if !status.is_success() {
            let answer: Value = response.json().await.unwrap_or_default();
            let message = answer["error"]["message"].as_str().map(str::to_owned);
            bail!(Refused(message.unwrap_or_else(|| format!("the gateway answered {status}"))));
        }
        Ok(response)
    }

    async fn answer(
        &self,
        mut request: reqwest::RequestBuilder,
    ) -> anyhow::Result<reqwest::Response> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        request.send().await.context("the gateway did not answer")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let response = self.answer(request).await?;
        let status = response.status();
        response.json().await.with_context(|| format!("the gateway answered {status} without JSON"))
    }

    /// Ends a gateway of our own.
    pub async fn close(self) {
        if let Some(own) = self.own {
            own.stop().await;
        }
    }
}

/// What the gateway will not do, however often it is asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// What every client here has in common.
pub fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(std::time::Duration::from_secs(10))
}
