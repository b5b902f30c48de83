//! What a person waits for: how many are in a segment, what a campaign to everybody would do, and a pause in the middle of
//! one.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::scene;

const POLL: Duration = Duration::from_millis(20);
/// What is asked so often costs little beside the planning.
const POLL_PLANNING: Duration = Duration::from_millis(200);
/// The last calls that had begun before a pause are on the sandbox's record by then.
const SETTLED: Duration = Duration::from_secs(3);
/// A forecast, or the end of a campaign, that takes longer has stopped moving.
const PATIENCE: Duration = Duration::from_secs(600);
/// As the gateway says it (`UNAVAILABLE`).
const STILL_MADE: &str = "the forecast is still being made";

/// Seconds until the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    /// How many have a tag, with a sample.
    preview_by_tag_seconds: f64,
    /// How many have an attribute of a value.
    preview_by_attribute_seconds: f64,
    forecast_seconds: f64,
}

/// A campaign, paused while it sends.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Paused {
    /// Calls that began in the second before the answer.
    calls_in_the_second_before: usize,
    /// Calls that began after the mutation had answered.
    calls_after: usize,
    /// How long after it the last of them began; 0 where none did.
    last_after_seconds: f64,
}

/// A campaign that waits in full, because its number is paused.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Planned {
    /// From the launch until the read models show every message.
    seconds: f64,
    /// The most that was seen meanwhile.
    resident_bytes: u64,
}

impl Asked {
    pub fn lines(&self) -> [(&'static str, String); 3] {
        let seconds = |seconds: f64| format!("{seconds:.2}");
        [
            ("previewSegment by tag, s", seconds(self.preview_by_tag_seconds)),
            ("previewSegment by attribute, s", seconds(self.preview_by_attribute_seconds)),
            ("campaignForecast, s", seconds(self.forecast_seconds)),
        ]
    }
}

impl Paused {
    pub fn lines(&self) -> [(&'static str, String); 3] {
        [
            ("pause: calls in the second before", self.calls_in_the_second_before.to_string()),
            ("pause: calls after its answer", self.calls_after.to_string()),
            ("pause: the last of them after, ms", format!("{:.0}", self.last_after_seconds * 1e3)),
        ]
    }
}

impl Planned {
    pub fn lines(&self, recipients: u32) -> [(&'static str, String); 3] {
        let per_second = f64::from(recipients) / self.seconds;
        let resident = self.resident_bytes as f64 / 1_048_576.0;
        [
            ("planning alone, s", format!("{:.2}", self.seconds)),
            ("planning alone, messages per second", format!("{per_second:.0}")),
            ("resident memory while planning, MiB", format!("{resident:.0}")),
        ]
    }
}

/// Asks what an owner asks before a launch.
pub(super) async fn ask(client: &Client, account: &str, template: &str) -> anyhow::Result<Asked> {
    let preview = async |rule: Value| {
        let began = Instant::now();
        let query =
            "query($rule: JSON!) { previewSegment(rule: $rule, first: 5) { count sample { id } } }";
        client.graphql(query, json!({ "rule": rule })).await?;
        anyhow::Ok(began.elapsed().as_secs_f64())
    };
    let preview_by_tag_seconds = preview(json!({ "tag": scene::TAG })).await?;
    let by_attribute = json!({ "attribute": "city", "op": "eq", "value": "London" });
    let preview_by_attribute_seconds = preview(by_attribute).await?;
    let id = scene::draft(client, account, template).await?;
    let began = Instant::now();
    let query = "query($id: ID!) { campaignForecast(id: $id) { recipients toSend } }";
    loop {
        match client.graphql(query, json!({ "id": id })).await {
            Ok(_) => break,
            Err(error) if !error.to_string().starts_with(STILL_MADE) => return Err(error),
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
    let forecast_seconds = began.elapsed().as_secs_f64();
    Ok(Asked { preview_by_tag_seconds, preview_by_attribute_seconds, forecast_seconds })
}

/// Launches a campaign, pauses it once a tenth has left, and cancels it. `calls` tells what the sandbox has recorded, one JSON
/// object a line. `None`: all had left before it could be paused.
pub(super) async fn pause<F>(
    client: &Client,
    (account, template): (&str, &str),
    recipients: u32,
    calls: impl FnOnce() -> F,
) -> anyhow::Result<Option<Paused>>
where
    F: Future<Output = anyhow::Result<String>>,
{
    let id = scene::draft(client, account, template).await?;
    scene::launch_draft(client, &id).await?;
    let progress = async || {
        let query =
            "query($id: ID!) { campaign(id: $id) { status progress { pending accepted } } }";
        let mut data = client.graphql(query, json!({ "id": id })).await?;
        anyhow::Ok(data["campaign"].take())
    };
    let began = Instant::now();
    while progress().await?["progress"]["accepted"].as_u64() < Some(u64::from(recipients / 10)) {
        if began.elapsed() > PATIENCE {
            bail!("the campaign that is to be paused does not move");
        }
        tokio::time::sleep(POLL).await;
    }
    let query = "mutation($id: ID!) { pauseCampaign(id: $id) { campaign { status } } }";
    if client.graphql(query, json!({ "id": id })).await.is_err() {
        return Ok(None);
    }
    // The sandbox's clock is this machine's, as ours is.
    let answered = Utc::now();
    tokio::time::sleep(SETTLED).await;
    let began_at = |line: &str| -> anyhow::Result<Option<DateTime<Utc>>> {
        let call: Value = serde_json::from_str(line).context("a call is no JSON")?;
        if call["callbackData"].is_null() {
            return Ok(None);
        }
        let at = call["at"].as_str().context("a call has no time")?;
        Ok(Some(at.parse().context("a call's time is none")?))
    };
    let record = calls().await?;
    let sends: Vec<DateTime<Utc>> =
        record.lines().filter_map(|line| began_at(line).transpose()).collect::<Result<_, _>>()?;
    let second_before = answered - chrono::Duration::seconds(1);
    let after = sends.iter().filter(|at| **at > answered);
    let last = after.clone().max().map_or(0, |at| (*at - answered).num_milliseconds());
    let paused = Paused {
        calls_in_the_second_before: sends
            .iter()
            .filter(|at| **at > second_before && **at <= answered)
            .count(),
        calls_after: after.count(),
        last_after_seconds: last as f64 / 1e3,
    };
    let query = "mutation($id: ID!) { cancelCampaign(id: $id) { campaign { status } } }";
    client.graphql(query, json!({ "id": id })).await?;
    let began = Instant::now();
    while progress().await?["progress"]["pending"] != 0 {
        if began.elapsed() > PATIENCE {
            bail!("the cancelled campaign does not come to rest");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(Some(paused))
}

/// Launches a campaign while its number is paused. Nothing is cleared away: whatever comes after has all of it waiting.
pub(super) async fn plan(
    client: &Client,
    (account, template): (&str, &str),
    recipients: u32,
    resident: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<Planned> {
    let pause = "mutation($id: ID!) { pauseAccount(id: $id, reason: \"planning is measured\") { account { id } } }";
    client.graphql(pause, json!({ "id": account })).await?;
    let began = Instant::now();
    let id = scene::launch(client, account, template).await?;
    let mut resident_bytes = 0;
    loop {
        let query = "query($id: ID!) { campaign(id: $id) { progress { recipients } } }";
        let data = client.graphql(query, json!({ "id": id })).await?;
        let seconds = began.elapsed().as_secs_f64();
        resident_bytes = resident_bytes.max(resident()?);
        if data["campaign"]["progress"]["recipients"] == recipients {
            return Ok(Planned { seconds, resident_bytes });
        }
        if began.elapsed() > PATIENCE {
            bail!("the campaign that is only to be planned does not move");
        }
        tokio::time::sleep(POLL_PLANNING).await;
    }
}
