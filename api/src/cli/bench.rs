//! `bench`: the main job at the machine's own speed, measured from outside. The gateway and the sandbox are processes of
//! their own, on a store made for the measurement and removed after it.

mod asked;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use gateway_sqlite::{Options, Sqlite};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, Row};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;
use uuid::Uuid;

use super::client::{Client, builder};
use super::serve::wait_for_signal;
use super::{Usage, scene};
use asked::{Asked, Paused, Planned};

const POLL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);
/// A run that takes longer than this has stopped moving.
const RUN_MAX: Duration = Duration::from_secs(3_600);
const RUNS_MAX: usize = 20;
const RATE_MAX: u32 = 1_000_000;
const PHONE_NUMBER_ID: &str = "402000000000009";
const WABA_ID: &str = "301000000000009";
const TOKEN: &str = "bench-token";
const APP_SECRET: &str = "bench-secret";
const VERIFY_TOKEN: &str = "bench-verify";

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// How many people each campaign is for
    #[arg(long, default_value_t = 5_000)]
    recipients: u32,
    /// Messages per second that the number may send
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
    /// Whole campaigns, one after the other; the medians are what counts. 0: only what is measured beside them
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Measures on PostgreSQL, in a database made for it on this server; SQLite without it
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What was measured. Sizes in bytes, times in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    store: &'static str,
    recipients: u32,
    messages_per_second_granted: u32,
    import_rows_per_second: f64,
    bytes_per_contact: u64,
    asked: Asked,
    /// None where everything had left before.
    paused: Option<Paused>,
    runs: Vec<Run>,
    /// None without runs.
    medians: Option<Medians>,
    planned: Planned,
    resident_bytes_peak: u64,
    resident_bytes: u64,
}

/// Of the runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Medians {
    planned_seconds: f64,
    accepted_seconds: f64,
    read_seconds: f64,
    messages_per_second: f64,
    /// The worst of the runs.
    projection_lag_events: u64,
    /// Over all of them.
    bytes_per_message: u64,
}

/// One campaign, from the launch on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    /// Until every message was in the log and in the read models.
    planned_seconds: f64,
    /// Until every message was accepted.
    accepted_seconds: f64,
    /// Until the last `read` was in the read models.
    read_seconds: f64,
    /// The largest distance of a projection from the log's end.
    projection_lag_events: u64,
    /// What the store grew by.
    bytes: u64,
}

/// Measures. Nothing but the arguments matters: configuration files and variables are left out.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    if !(1..=scene::RECIPIENTS_MAX).contains(&args.recipients) {
        bail!(Usage("--recipients takes 1 to 1,000,000".to_owned()));
    }
    if !(1..=RATE_MAX).contains(&args.rate) {
        bail!(Usage("--rate takes 1 to 1,000,000".to_owned()));
    }
    if args.runs > RUNS_MAX {
        bail!(Usage("--runs takes 0 to 20".to_owned()));
    }
    let bench = Bench::start(&args).await?;
    let outcome = tokio::select! {
        outcome = bench.measure(&args) => outcome,
        signal = wait_for_signal() => signal.and_then(|()| bail!("interrupted")),
    };
    let ended = bench.end().await;
    let figures = outcome?;
    ended?;
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        print!("{}", table(&figures));
    }
    Ok(())
}

/// What is running, and where its data is.
struct Bench {
    dir: PathBuf,
    database: Option<Database>,
    sandbox: Child,
    sandbox_url: Url,
    gateway: Child,
    gateway_url: Url,
    client: Client,
}

impl Medians {
    fn of(runs: &[Run], recipients: u32) -> Option<Self> {
        let median = |figure: fn(&Run) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let read_seconds = median(|run| run.read_seconds)?;
        let messages = u64::from(recipients) * runs.len() as u64;
        Some(Self {
            planned_seconds: median(|run| run.planned_seconds)?,
            accepted_seconds: median(|run| run.accepted_seconds)?,
            read_seconds,
            messages_per_second: f64::from(recipients) / read_seconds,
            projection_lag_events: runs.iter().map(|run| run.projection_lag_events).max()?,
            bytes_per_message: runs.iter().map(|run| run.bytes).sum::<u64>() / messages,
        })
    }
}

/// A database that goes with the measurement.
struct Database {
    server: String,
    name: String,
    url: Url,
}

impl Bench {
    async fn start(args: &BenchArgs) -> anyhow::Result<Self> {
        let id = Uuid::now_v7().simple().to_string();
        let dir = std::env::temp_dir().join(format!("whatsapp-gateway-bench-{id}"));
        std::fs::create_dir(&dir)
            .with_context(|| format!("could not make the directory {}", dir.display()))?;
        let database = match &args.postgres {
            Some(server) => Some(Database::create(server, &id).await?),
            None => None,
        };
        let executable = std::env::current_exe()?;
        let mut sandbox = child(&executable, &dir)
            .args(["sandbox", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let sandbox_url = match sandbox.stdout.take() {
            Some(out) => line_with(out, "", "the sandbox").await?,
            None => bail!("the sandbox says nothing"),
        };
        let store = match &database {
            Some(database) => database.url.to_string(),
            None => format!("sqlite://{}", dir.join("gateway.db").display()),
        };
        let key = format!("wgk_{id}{id}");
        let mut gateway = child(&executable, &dir)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("WHATSAPP_GATEWAY_STORE__URL", store)
            .env("WHATSAPP_GATEWAY_SECRETS__MASTER_KEY", format!("{id}{id}"))
            .env("WHATSAPP_GATEWAY_ADMIN__BOOTSTRAP_KEY", &key)
            .env("WHATSAPP_GATEWAY_GRAPH__BASE_URL", sandbox_url.as_str())
            .env("WHATSAPP_GATEWAY_LOG__LEVEL", "warn")
            .env("WHATSAPP_GATEWAY_LOG__FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let gateway_url = match gateway.stderr.take() {
            Some(out) => line_with(out, "The gateway is at ", "the gateway").await?,
            None => bail!("the gateway says nothing"),
        };
        let client = Client::to(gateway_url.clone(), key)?;
        Ok(Self { dir, database, sandbox, sandbox_url, gateway, gateway_url, client })
    }

    async fn measure(&self, args: &BenchArgs) -> anyhow::Result<Figures> {
        let client = &self.client;
        let account = self.connect(args.rate).await?;
        let template = scene::template(client, &account).await?;
        let empty = self.size().await?;
        eprintln!("importing {} people", args.recipients);
        let began = Instant::now();
        scene::import(client, args.recipients).await?;
        let import_seconds = began.elapsed().as_secs_f64();
        let imported = self.size().await?;
        let asked = asked::ask(client, &account, &template).await?;
        let calls = || self.calls();
        let paused = asked::pause(client, (&account, &template), args.recipients, calls).await?;
        let mut runs = vec![];
        for number in 1..=args.runs {
            eprintln!("campaign {number} of {}", args.runs);
            runs.push(self.run(&account, &template, args.recipients).await?);
        }
        eprintln!("planning a campaign of a paused number");
        let resident = || self.resident("VmRSS");
        let of = (account.as_str(), template.as_str());
        let planned = asked::plan(client, of, args.recipients, resident).await?;
        Ok(Figures {
            store: if self.database.is_some() { "PostgreSQL" } else { "SQLite" },
            recipients: args.recipients,
            messages_per_second_granted: args.rate,
            import_rows_per_second: f64::from(args.recipients) / import_seconds,
            bytes_per_contact: imported.saturating_sub(empty) / u64::from(args.recipients),
            asked,
            paused,
            medians: Medians::of(&runs, args.recipients),
            runs,
            planned,
            resident_bytes_peak: self.resident("VmHWM")?,
            resident_bytes: self.resident("VmRSS")?,
        })
    }

    /// What the sandbox has recorded so far.
    async fn calls(&self) -> anyhow::Result<String> {
        let url = self.sandbox_url.join("/_sandbox/calls?after=0")?;
        let answer = builder().timeout(PATIENCE).build()?.get(url).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// A number at the sandbox that delivers everything at once and whose people read it at once; its account's id.
    async fn connect(&self, rate: u32) -> anyhow::Result<String> {
        let http = builder().timeout(PATIENCE).build()?;
        let control = |path: &str| self.sandbox_url.join(path);
        let number = json!({
            "phoneNumberId": PHONE_NUMBER_ID, "wabaId": WABA_ID, "accessToken": TOKEN, "appSecret": APP_SECRET,
            "messagesPerSecond": rate, "templateVerdict": "approve",
        });
        let provision = |number: Value| {
            let request = control("/_sandbox/numbers").map(|url| http.post(url).json(&number));
            async { anyhow::Ok(request?.send().await?.error_for_status()?.json::<Value>().await?) }
        };
        provision(number.clone()).await?;
        let behaviour = json!({ "deliveredRate": 1, "readRate": 1 });
        http.put(control("/_sandbox/behaviour")?)
            .json(&behaviour)
            .send()
            .await?
            .error_for_status()?;
        let input = json!({
            "name": "Bench", "provider": "CLOUD_API", "phoneNumberId": PHONE_NUMBER_ID, "wabaId": WABA_ID,
            "accessToken": TOKEN, "appSecret": APP_SECRET, "verifyToken": VERIFY_TOKEN,
            "timeZone": "Europe/Berlin", "defaultRegion": "GB", "messagesPerSecond": rate,
        });
        let mutation = "mutation($input: ConnectAccountInput!) { connectAccount(input: $input) { account { id webhookPath } } }";
        let data = self.client.graphql(mutation, json!({ "input": input })).await?;
        let account = &data["connectAccount"]["account"];
        let path = account["webhookPath"].as_str().context("the account has no webhook path")?;
        let mut with_webhook = number;
        with_webhook["webhookUrl"] = json!(self.gateway_url.join(path)?);
        with_webhook["verifyToken"] = json!(VERIFY_TOKEN);
        let began = Instant::now();
        while provision(with_webhook.clone()).await?["webhook"] != "VERIFIED" {
            if began.elapsed() > PATIENCE {
                bail!("the webhook URL was not verified");
            }
            tokio::time::sleep(POLL).await;
        }
        account["id"].as_str().map(str::to_owned).context("the account has no id")
    }

    async fn run(&self, account: &str, template: &str, recipients: u32) -> anyhow::Result<Run> {
        const QUERY: &str = "query($id: ID!) { campaign(id: $id) { progress { recipients accepted read failed inDoubt } } \
                             projections { lag } }";
        let before = self.size().await?;
        let began = Instant::now();
        let id = scene::launch(&self.client, account, template).await?;
        let (mut planned, mut accepted) = (None, None);
        let mut lag = 0;
        loop {
            let data = self.client.graphql(QUERY, json!({ "id": id })).await?;
            let seconds = began.elapsed().as_secs_f64();
            let progress = &data["campaign"]["progress"];
            let is_all = |name: &str| progress[name] == recipients;
            for projection in data["projections"].as_array().into_iter().flatten() {
                lag = lag.max(projection["lag"].as_u64().unwrap_or_default());
            }
            if is_all("recipients") {
                planned.get_or_insert(seconds);
            }
            if is_all("accepted") {
                accepted.get_or_insert(seconds);
            }
            if let (true, Some(planned), Some(accepted)) = (is_all("read"), planned, accepted) {
                return Ok(Run {
                    planned_seconds: planned,
                    accepted_seconds: accepted,
                    read_seconds: seconds,
                    projection_lag_events: lag,
                    bytes: self.size().await?.saturating_sub(before),
                });
            }
            if began.elapsed() > RUN_MAX {
                bail!("the campaign stopped moving: {progress}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What the log, the read models and the journal take.
    async fn size(&self) -> anyhow::Result<u64> {
        let Some(database) = &self.database else {
            let mut total = 0;
            for name in ["gateway.db", "gateway.read.db"] {
                total += sqlite_size(self.dir.join(name)).await?;
            }
            return Ok(total);
        };
        let mut connection = sqlx::PgConnection::connect(database.url.as_str()).await?;
        let row = connection
            .fetch_one(
                "SELECT COALESCE(sum(pg_total_relation_size(c.oid)), 0)::int8 FROM pg_class AS c \
                 JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                 WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
            )
            .await?;
        Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
    }

    /// A line of the gateway's `/proc/…/status`, in bytes; 0 where the system has none.
    fn resident(&self, name: &str) -> anyhow::Result<u64> {
        let pid = self.gateway.id().context("the gateway has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        Ok(kilobytes.unwrap_or_default() * 1024)
    }

    /// Ends both processes and removes what they left.
    async fn end(mut self) -> anyhow::Result<()> {
        self.gateway.kill().await?;
        self.sandbox.kill().await?;
        std::fs::remove_dir_all(&self.dir)?;
        match self.database {
            Some(database) => database.drop().await,
            None => Ok(()),
        }
    }
}

impl Database {
    async fn create(server: &str, id: &str) -> anyhow::Result<Self> {
        let mut url = Url::parse(server).map_err(|_| {
            Usage("--postgres takes a URL such as postgres://user@host/postgres".to_owned())
        })?;
        let name = format!("gateway_bench_{id}");
        let mut connection = sqlx::PgConnection::connect(server).await?;
        connection.execute(format!("CREATE DATABASE {name}").as_str()).await?;
        url.set_path(&name);
        Ok(Self { server: server.to_owned(), name, url })
    }

    async fn drop(self) -> anyhow::Result<()> {
        let mut connection = sqlx::PgConnection::connect(&self.server).await?;
        connection.execute(format!("DROP DATABASE {} WITH (FORCE)", self.name).as_str()).await?;
        Ok(())
    }
}

/// A subcommand of our own that ends with us, away from configuration files and variables.
fn child(executable: &Path, dir: &Path) -> Command {
    let mut command = Command::new(executable);
    command.current_dir(dir).stdin(Stdio::null()).kill_on_drop(true).env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WHATSAPP_GATEWAY_") {
            command.env_remove(name);
        }
    }
    command
}

/// The URL behind `before`, on the first line that has that; a reader keeps the pipe empty from then on.
async fn line_with(
    out: impl tokio::io::AsyncRead + Send + Unpin + 'static,
    before: &str,
    who: &str,
) -> anyhow::Result<Url> {
    let mut lines = BufReader::new(out).lines();
    let mut last = String::new();
    let found = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_, url)) = line.split_once(before) {
                return Url::parse(url.trim()).context("no URL");
            }
            last = line;
        }
        bail!("it ended: {last}")
    })
    .await;
    let url = found
        .with_context(|| format!("{who} did not start"))?
        .with_context(|| format!("{who} did not start"))?;
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            // Warnings are worth knowing of; hints for whoever starts a gateway by hand are not.
            if line.starts_with('{') {
                eprintln!("{line}");
            }
        }
    });
    Ok(url)
}

/// The database's pages in use, those in the write-ahead log too.
async fn sqlite_size(path: PathBuf) -> anyhow::Result<u64> {
    let database = Sqlite::open(path, Options::read_only())?;
    let size = database.read(|connection| {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
    });
    Ok(size.await?.unsigned_abs())
}

fn table(figures: &Figures) -> String {
    let Figures { store, recipients, messages_per_second_granted: rate, .. } = figures;
    let megabytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let runs = figures.runs.len();
    let mut lines = vec![
        ("import, rows per second", format!("{:.0}", figures.import_rows_per_second)),
        ("bytes per contact", figures.bytes_per_contact.to_string()),
    ];
    lines.extend(figures.asked.lines());
    lines.extend(figures.paused.iter().flat_map(Paused::lines));
    if let Some(medians) = &figures.medians {
        lines.extend([
            ("launch to all planned, s", format!("{:.2}", medians.planned_seconds)),
            ("launch to all accepted, s", format!("{:.2}", medians.accepted_seconds)),
            ("launch to the last read, s", format!("{:.2}", medians.read_seconds)),
            ("messages per second, launch to read", format!("{:.0}", medians.messages_per_second)),
            ("largest projection lag, events", medians.projection_lag_events.to_string()),
            ("bytes per message, delivered and read", medians.bytes_per_message.to_string()),
        ]);
    }
    lines.extend(figures.planned.lines(*recipients));
    lines.extend([
        ("resident memory, peak, MiB", format!("{:.0}", megabytes(figures.resident_bytes_peak))),
        ("resident memory at the end, MiB", format!("{:.0}", megabytes(figures.resident_bytes))),
    ]);
    let head = format!(
        "{store}, {recipients} recipients, {rate} messages per second granted, medians of {runs}\n"
    );
    lines.into_iter().fold(head, |text, (name, value)| text + &format!("  {name:<40}{value:>12}\n"))
}
