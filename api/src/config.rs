//! Configuration: defaults, then a TOML file, then `WHATSAPP_GATEWAY_*` variables, then flags. One typed tree; an unknown
//! key is an error that names the nearest known one; secrets print as `***`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use infrastructure::event_store::{StoreUrl, StoreUrlError};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

/// Where a configuration file is looked for when none is named.
const DEFAULT_FILE: &str = "whatsapp-gateway.toml";
const ENVIRONMENT_PREFIX: &str = "WHATSAPP_GATEWAY_";

/// Everything that can be configured, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the gateway listens. Beyond loopback it needs TLS or a trusted proxy.
    pub listen: SocketAddr,
    /// What Meta and the console are told; from `listen` where it is not given.
    pub public_url: Option<Url>,
    /// Where files beside the store go: the sandbox's state, spooled imports, the first API key, the command line's
    /// socket. On SQLite the database's own folder where it is not given, else `data`.
    pub data_dir: Option<PathBuf>,
    pub store: StoreConfig,
    pub read_model: ReadModelConfig,
    pub secrets: SecretsConfig,
    pub admin: AdminConfig,
    pub graph: GraphConfig,
    pub tls: TlsConfig,
    /// Addresses and networks (10.0.0.0/8) of proxies in front that end TLS. Beyond loopback and without TLS nobody else
    /// is answered.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    pub journal: JournalConfig,
    pub media: MediaConfig,
    pub exports: ExportsConfig,
    pub seals: SealsConfig,
    pub sandbox: SandboxConfig,
    pub log: LogConfig,
    pub graphql: GraphqlConfig,
    pub dispatch: DispatchConfig,
    pub optout: OptOutConfig,
    pub webhooks: WebhooksConfig,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// `sqlite://path`, `postgres://…` or `kurrentdb://…`. What stands beside a KurrentDB is in the SQLite file `gateway.db`
    /// of `data_dir`.
    pub url: Sensitive,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadModelConfig {
    /// Same as `store.url` where it is not given (on SQLite: a file beside the log's; with KurrentDB: `gateway.read.db` of
    /// `data_dir`).
    pub url: Option<Sensitive>,
}

/// Where the read models are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadModels<'a> {
    /// A SQLite file.
    File(PathBuf),
    /// PostgreSQL at this URL.
    Server(&'a str),
    /// In the log's own PostgreSQL.
    WithTheLog,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsConfig {
    /// 32 bytes as 64 hexadecimal digits or base64. On SQLite made at the first start where neither key is given.
    pub master_key: Option<Sensitive>,
    pub master_key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// The first ADMIN key (`wgk_…`); ignored once there is another. Made up where it is not given, and written to a
    /// file whose path is printed.
    pub bootstrap_key: Option<Sensitive>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphConfig {
    /// https, unless it is loopback.
    pub base_url: Url,
    /// The newest supported version.
    pub version: String,
    /// Whether `subscribed_apps` is told our own callback; only useful where `public_url` is reachable from Meta.
    pub override_callback: bool,
    /// How long a call may take before its outcome counts as unknown, in seconds.
    pub timeout_s: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Days that the webhook journal is kept, and so how far back it can be interpreted again.
    pub retention: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaConfig {
    /// Days that media which people sent are kept.
    pub retention: u32,
    /// Mebibytes that they take at most; beyond that the oldest go first.
    pub total_mb: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportsConfig {
    /// Mebibytes that exports asked for over HTTP take at most, all together; each is kept for a day.
    pub total_mb: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SealsConfig {
    /// Seconds after which events are sealed, however few they are; 1,024 are at once.
    pub after_s: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Offers the built-in sandbox's controls under `/_sandbox` to keys with the scope ADMIN.
    pub controls: bool,
    /// Makes the built-in sandbox's decisions repeatable.
    pub seed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `pretty` or `json`; `auto`: pretty on a terminal, else json.
    pub format: LogFormat,
    /// As RUST_LOG has it: `info`, `api=debug,info`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Pretty,
    Json,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphqlConfig {
    /// Requests that one key may make per second, with as many saved up; 0: no limit.
    pub requests_per_second: u32,
    /// Subscriptions and streams of events that one key may have open at a time.
    pub subscriptions_per_key: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DispatchConfig {
    /// Calls to WhatsApp under way at once per number, at most.
    pub concurrency: usize,
    /// Seconds that an intent may wait before its call begins, 10 at most: another node takes over after 12.
    pub send_by_s: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptOutConfig {
    /// Words that count as STOP beside the built-in list, when they are the whole message.
    pub words: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Addresses and networks (10.0.0.0/8) that are not public and that webhooks out may reach all the same, by http too.
    #[serde(deserialize_with = "networks")]
    pub allowed_networks: Vec<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            data_dir: None,
            store: StoreConfig::default(),
            read_model: ReadModelConfig::default(),
            secrets: SecretsConfig::default(),
            admin: AdminConfig::default(),
            graph: GraphConfig::default(),
            tls: TlsConfig::default(),
            trusted_proxies: vec![],
            journal: JournalConfig::default(),
            media: MediaConfig::default(),
            exports: ExportsConfig::default(),
            seals: SealsConfig::default(),
            sandbox: SandboxConfig::default(),
            log: LogConfig::default(),
            graphql: GraphqlConfig::default(),
            dispatch: DispatchConfig::default(),
            optout: OptOutConfig::default(),
            webhooks: WebhooksConfig::default(),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: Sensitive::from("sqlite://data/gateway.db".to_owned()) }
    }
}

impl Default for GraphConfig {
    fn default() -> Self {
        Self {
            base_url: Url::parse("https://graph.facebook.com").expect("a literal URL"),
            version: "v26.0".to_owned(),
            override_callback: true,
            timeout_s: 30,
        }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { retention: 30 }
    }
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self { retention: 90, total_mb: 10_240 }
    }
}

impl Default for ExportsConfig {
    fn default() -> Self {
        Self { total_mb: 10_000 }
    }
}

impl Default for SealsConfig {
    fn default() -> Self {
        Self { after_s: 60 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

impl Default for GraphqlConfig {
    fn default() -> Self {
        Self { requests_per_second: 200, subscriptions_per_key: 10 }
    }
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self { concurrency: 128, send_by_s: 10 }
    }
}

/// A value that may hold a password or a key: prints and serialises as `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Sensitive(String);

impl Sensitive {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Sensitive {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl std::fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Sensitive {
    /// A SQLite path is no secret; of a URL with a password the rest is shown.
    fn masked(&self) -> String {
        if self.0.starts_with("sqlite://") {
            return self.0.clone();
        }
        match Url::parse(&self.0) {
            Ok(mut url) if url.has_host() => {
                if url.password().is_some() {
                    // A URL with a host takes a password.
                    let _ = url.set_password(Some("***"));
                }
                // PostgreSQL takes the password as a parameter too.
                if url.query().is_some() {
                    let pairs: Vec<(String, String)> = url
                        .query_pairs()
                        .map(|(name, value)| match name.to_ascii_lowercase().contains("password") {
                            true => (name.into_owned(), "***".to_owned()),
                            false => (name.into_owned(), value.into_owned()),
                        })
                        .collect();
                    url.query_pairs_mut().clear().extend_pairs(pairs);
                }
                url.to_string()
            }
            _ => "***".to_owned(),
        }
    }
}

impl Serialize for Sensitive {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

/// Why a configuration is none. The text names the key and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("could not read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin} is not valid TOML: {message}")]
    Syntax { origin: String, message: String },
    #[error("unknown key {key} in {origin}{}", hint(.nearest.as_deref()))]
    UnknownKey { key: String, origin: String, nearest: Option<String> },
    #[error("{key} in {origin} is for a part that this version does not have yet; leave it out")]
    Later { key: String, origin: String },
    #[error("{key} in {origin}: {problem}")]
    Value { key: String, origin: String, problem: String },
    #[error("{key}: {problem}")]
    Invalid { key: &'static str, problem: String },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean {key}?")).unwrap_or_default()
}

impl Config {
    /// Reads the configuration. `file`: named by the user, so it must exist. `flags` are `key = value` pairs in TOML.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut tree = toml::Table::new();
        let path = file
            .map(Path::to_owned)
            .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
        if let Some(path) = path {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            let origin = path.display().to_string();
            let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
                ConfigError::Syntax { origin: origin.clone(), message: error.message().to_owned() }
            })?;
            merge(&mut tree, table, &origin)?;
        }
        let variables: BTreeMap<_, _> = environment
            .into_iter()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(ENVIRONMENT_PREFIX)?.to_owned(), value))
            })
            .collect();
        for (name, value) in variables {
            let key = name.to_ascii_lowercase().replace("__", ".");
            set(&mut tree, &key, &value, &format!("the variable {ENVIRONMENT_PREFIX}{name}"))?;
        }
        for (key, value) in flags {
            set(&mut tree, key, value, "the command line")?;
        }
        let config =
            Self::deserialize(toml::Value::Table(tree)).map_err(|error| ConfigError::Value {
                key: "a key".to_owned(),
                origin: "the configuration".to_owned(),
                problem: error.message().to_owned(),
            })?;
        config.check()?;
        Ok(config)
    }

    /// Where files beside the store go.
    pub fn data_dir(&self) -> PathBuf {
        if let Some(dir) = &self.data_dir {
            return dir.clone();
        }
        match self.sqlite_path().map(|path| path.parent().map(Path::to_owned)) {
            // A file in the working directory.
            Some(Some(dir)) if dir.as_os_str().is_empty() => PathBuf::from("."),
            Some(Some(dir)) => dir,
            Some(None) | None => PathBuf::from("data"),
        }
    }

    fn sqlite_path(&self) -> Option<&Path> {
        self.store.url.expose().strip_prefix("sqlite://").map(Path::new)
    }

    pub fn is_kurrentdb(&self) -> bool {
        let scheme = self.store.url.expose().split("://").next().unwrap_or_default();
        ["kurrentdb", "kurrentdb+discover", "esdb", "esdb+discover"].contains(&scheme)
    }

    /// Whether one process has the store to itself.
    pub fn is_single_node(&self) -> bool {
        self.sqlite_path().is_some() || self.is_kurrentdb()
    }

    /// The store, with the file that a KurrentDB has beside it.
    ///
    /// # Errors
    /// [`StoreUrlError`] where the URL is none.
    pub fn store_url(&self) -> Result<StoreUrl, StoreUrlError> {
        Ok(StoreUrl::from_str(self.store.url.expose())?.with_beside(self.beside_path()))
    }

    fn beside_path(&self) -> PathBuf {
        self.data_dir().join("gateway.db")
    }

    /// Where the read models are: a URL, or a SQLite file.
    pub fn read_models(&self) -> ReadModels<'_> {
        let url = self.read_model.url.as_ref().map(Sensitive::expose);
        match (url, self.sqlite_path()) {
            (Some(url), _) => match url.strip_prefix("sqlite://") {
                Some(path) => ReadModels::File(PathBuf::from(path)),
                None => ReadModels::Server(url),
            },
            (None, Some(log)) => ReadModels::File(read_path(log)),
            (None, None) if self.is_kurrentdb() => ReadModels::File(read_path(&self.beside_path())),
            (None, None) => ReadModels::WithTheLog,
        }
    }

    /// Whether a peer may be answered: without TLS beyond loopback, only the proxies in front.
    pub fn admits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let is_private = self.tls.cert.is_some() || is_loopback(self.listen.ip());
        is_private
            || peer.is_loopback()
            || self.trusted_proxies.iter().any(|network| network.contains(&peer))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid =
            |key, problem: &str| Err(ConfigError::Invalid { key, problem: problem.to_owned() });
        if !is_loopback(self.listen.ip())
            && self.tls.cert.is_none()
            && self.trusted_proxies.is_empty()
        {
            return invalid(
                "listen",
                "beyond loopback the gateway needs tls.cert and tls.key, or trusted_proxies for what ends TLS in front",
            );
        }
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            return invalid("tls", "give both tls.cert and tls.key, or neither");
        }
        let base = &self.graph.base_url;
        let is_local = base.host_str().is_some_and(|host| {
            host == "localhost"
                || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(is_loopback)
        });
        if base.scheme() != "https" && !is_local {
            return invalid("graph.base_url", "use https; only a loopback address may go without");
        }
        let version = self.graph.version.strip_prefix('v').and_then(|v| v.strip_suffix(".0"));
        if version.and_then(|v| v.parse::<u32>().ok()).is_none() {
            return invalid("graph.version", "use a version such as v26.0");
        }
        if let Err(error) = self.store_url() {
            return invalid("store.url", &error.to_string());
        }
        if let Some(url) = &self.read_model.url {
            let is_sql = ["sqlite://", "postgres://", "postgresql://"]
                .iter()
                .any(|scheme| url.expose().starts_with(scheme));
            if !is_sql {
                return invalid(
                    "read_model.url",
                    "read models are in SQL: use sqlite://path or postgres://user@host/database",
                );
            }
            let file = url.expose().strip_prefix("sqlite://").map(Path::new);
            if self.is_kurrentdb() && file == Some(self.beside_path().as_path()) {
                return invalid(
                    "read_model.url",
                    "this file is KurrentDB's companion and holds keys; read models, which may be thrown away, need one of their own",
                );
            }
        }
        if !(1..=3_650).contains(&self.journal.retention) {
            return invalid("journal.retention", "use 1 to 3,650 days");
        }
        if !(1..=3_650).contains(&self.media.retention) {
            return invalid("media.retention", "use 1 to 3,650 days");
        }
        if !(100..=100_000_000).contains(&self.media.total_mb) {
            return invalid(
                "media.total_mb",
                "use 100 to 100,000,000 mebibytes: one medium may have 100",
            );
        }
        if !(1..=100_000_000).contains(&self.exports.total_mb) {
            return invalid("exports.total_mb", "use 1 to 100,000,000 mebibytes");
        }
        if !(1..=86_400).contains(&self.seals.after_s) {
            return invalid("seals.after_s", "use 1 to 86,400 seconds");
        }
        if !(1..=1_024).contains(&self.dispatch.concurrency) {
            return invalid("dispatch.concurrency", "use 1 to 1,024");
        }
        if !(1..=10).contains(&self.dispatch.send_by_s) {
            return invalid("dispatch.send_by_s", "use 1 to 10 seconds, less than a lease lasts");
        }
        if !(1..=300).contains(&self.graph.timeout_s) {
            return invalid("graph.timeout_s", "use 1 to 300 seconds");
        }
        Ok(())
    }
}

/// Addresses and networks, from text.
fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: &String| {
        let network = text.parse::<IpNet>().ok();
        network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    };
    texts
        .iter()
        .map(|text| {
            parse(text).ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "{text:?} is no address; use one such as 10.0.0.7, or a network such as 10.0.0.0/8"
                ))
            })
        })
        .collect()
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Keys of parts that this version does not have: not to be mistaken for a slip of the pen.
const LATER: [&str; 4] =
    ["assistant.api_key", "assistant.base_url", "assistant.model", "otlp.endpoint"];

/// Every key there is, as `table.key`: from the defaults, and the optional ones they do not show.
fn known_keys() -> Vec<String> {
    let defaults = toml::Table::try_from(Config::default()).expect("the defaults serialise");
    let mut keys = vec![];
    for (name, value) in &defaults {
        match value {
            toml::Value::Table(table) => {
                keys.extend(table.keys().map(|key| format!("{name}.{key}")))
            }
            _ => keys.push(name.clone()),
        }
    }
    let optional = [
        "data_dir",
        "public_url",
        "read_model.url",
        "secrets.master_key",
        "secrets.master_key_file",
        "admin.bootstrap_key",
        "tls.cert",
        "tls.key",
    ];
    keys.extend(optional.map(str::to_owned));
    keys.sort();
    keys.dedup();
    keys
}

/// `gateway.db` → `gateway.read.db`: the read models can be thrown away, the log cannot.
pub fn read_path(log: &Path) -> PathBuf {
    log.with_extension("read.db")
}

fn require_known(key: &str, origin: &str) -> Result<(), ConfigError> {
    let known = known_keys();
    if known.iter().any(|candidate| candidate == key) {
        return Ok(());
    }
    if LATER.contains(&key) {
        return Err(ConfigError::Later { key: key.to_owned(), origin: origin.to_owned() });
    }
    let nearest = known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&candidate, key), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity > 0.7)
        .map(|(_, candidate)| candidate);
    Err(ConfigError::UnknownKey { key: key.to_owned(), origin: origin.to_owned(), nearest })
}

fn merge(tree: &mut toml::Table, table: toml::Table, origin: &str) -> Result<(), ConfigError> {
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => {
                for (key, value) in inner {
                    insert(tree, &format!("{name}.{key}"), value, origin)?;
                }
            }
            value => insert(tree, &name, value, origin)?,
        }
    }
    Ok(())
}

/// A value from text: what TOML reads it as where that fits the key, else a string.
fn set(tree: &mut toml::Table, key: &str, text: &str, origin: &str) -> Result<(), ConfigError> {
    require_known(key, origin)?;
    let read = format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"));
    let candidates = [read, Some(toml::Value::String(text.to_owned()))];
    let mut problem = None;
    for value in candidates.into_iter().flatten() {
        match insert(tree, key, value, origin) {
            Ok(()) => return Ok(()),
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    Err(problem.expect("a string is always tried"))
}

fn insert(
    tree: &mut toml::Table,
    key: &str,
    value: toml::Value,
    origin: &str,
) -> Result<(), ConfigError> {
    require_known(key, origin)?;
    let mut single = toml::Table::new();
    match key.split_once('.') {
        Some((table, inner)) => {
            single.insert(
                table.to_owned(),
                toml::Value::Table(toml::Table::from_iter([(inner.to_owned(), value.clone())])),
            );
        }
        None => {
            single.insert(key.to_owned(), value.clone());
        }
    }
    // Tried alone, so that an error is this key's.
    Config::deserialize(toml::Value::Table(single)).map_err(|error| ConfigError::Value {
        key: key.to_owned(),
        origin: origin.to_owned(),
        problem: error.message().trim().replace('\n', " "),
    })?;
    match key.split_once('.') {
        Some((table, inner)) => {
            let entry = tree
                .entry(table.to_owned())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(entry) = entry {
                entry.insert(inner.to_owned(), value);
            }
        }
        None => {
            tree.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        toml: &str,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.toml");
        std::fs::write(&path, toml).unwrap();
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        };
        Config::load(Some(&path), owned(environment), &owned(flags))
    }

    #[test]
    fn flags_go_before_variables_and_those_before_the_file() {
        let config = load(
            "listen = \"127.0.0.1:1\"\n[journal]\nretention = 7",
            &[
                ("WHATSAPP_GATEWAY_LISTEN", "127.0.0.1:2"),
                ("WHATSAPP_GATEWAY_GRAPH__VERSION", "v25.0"),
            ],
            &[("listen", "127.0.0.1:3")],
        )
        .unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.graph.version, "v25.0");
        assert_eq!(config.journal.retention, 7);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let error = load("[store]\nurll = \"sqlite://x\"", &[], &[]).unwrap_err().to_string();
        assert!(
            error.contains("store.urll") && error.contains("did you mean store.url"),
            "{error}"
        );
        let error =
            load("", &[("WHATSAPP_GATEWAY_LISTENN", "127.0.0.1:1")], &[]).unwrap_err().to_string();
        assert!(error.contains("did you mean listen"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_its_key_and_where_it_stands() {
        let error = load("[journal]\nretention = \"long\"", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("journal.retention"), "{error}");
    }

    #[test]
    fn a_part_that_is_not_there_yet_is_no_slip_of_the_pen() {
        let error = load("[otlp]\nendpoint = \"http://127.0.0.1:4317\"", &[], &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Later { .. }), "{error}");
    }

    #[test]
    fn kurrentdb_has_files_of_its_own_beside_it() {
        let of = |settings: &[(&str, &str)]| load("data_dir = \"/srv/a\"", &[], settings);
        let config = of(&[("store.url", "kurrentdb://127.0.0.1:2113?tls=false")]).unwrap();
        assert!(config.is_single_node());
        let ReadModels::File(path) = config.read_models() else { panic!("a file") };
        assert_eq!(path, Path::new("/srv/a/gateway.read.db"));
        let config =
            of(&[("store.url", "esdb://h"), ("read_model.url", "postgres://db/app")]).unwrap();
        assert!(matches!(config.read_models(), ReadModels::Server("postgres://db/app")));
        for (key, wrong, named) in [
            ("store.url", "kurrentdb://h?tlss=1", "tlss"),
            ("store.url", "kurrentdb://h?nodePreference=follower", "nodePreference"),
            ("read_model.url", "kurrentdb://h", "read_model.url"),
            ("read_model.url", "sqlite:///srv/a/gateway.db", "keys"),
        ] {
            let error =
                of(&[("store.url", "kurrentdb://h"), (key, wrong)]).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(named), "{error}");
        }
    }

    #[test]
    fn without_tls_only_the_proxies_in_front_are_answered() {
        let text = "listen = \"0.0.0.0:80\"\ntrusted_proxies = [\"10.0.0.0/8\", \"192.0.2.7\"]";
        let config = load(text, &[], &[]).unwrap();
        for (peer, is_admitted) in [
            ("10.1.2.3", true),
            ("192.0.2.7", true),
            ("127.0.0.1", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.8", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(config.admits(peer.parse().unwrap()), is_admitted, "{peer}");
        }
        let error = load("trusted_proxies = [\"proxy\"]", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("trusted_proxies") && error.contains("10.0.0.0/8"), "{error}");
    }

    #[test]
    fn a_password_is_masked_wherever_the_url_has_it() {
        for url in ["postgres://me:geheim@db/app", "postgres://db/app?user=me&password=geheim"] {
            let masked = Sensitive::from(url.to_owned()).masked();
            assert!(!masked.contains("geheim") && masked.contains("db/app"), "{masked}");
        }
    }

    #[test]
    fn files_lie_beside_the_database_unless_told_otherwise() {
        let dir = |url: &str| load("", &[], &[("store.url", url)]).unwrap().data_dir();
        assert_eq!(dir("sqlite://my.db"), Path::new("."));
        assert_eq!(dir("sqlite:///var/lib/gateway/g.db"), Path::new("/var/lib/gateway"));
        assert_eq!(dir("postgres://db/app"), Path::new("data"));
        let config = load("data_dir = \"/srv/a\"", &[], &[]).unwrap();
        assert_eq!(config.data_dir(), Path::new("/srv/a"));
    }

    #[test]
    fn listening_beyond_loopback_needs_tls_or_a_proxy() {
        let error = load("listen = \"0.0.0.0:80\"", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("tls.cert"), "{error}");
        assert!(
            load("listen = \"0.0.0.0:80\"\ntrusted_proxies = [\"10.0.0.0/8\"]", &[], &[]).is_ok()
        );
    }

    #[test]
    fn secrets_print_masked() {
        let config = load(
            "[store]\nurl = \"postgres://me:geheim@localhost/db\"\n[secrets]\nmaster_key = \"00112233\"",
            &[],
            &[],
        )
        .unwrap();
        let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("geheim") && !shown.contains("00112233"), "{shown}");
    }
}
