//! `demo`: the main job end to end on the embedded defaults, with the built-in sandbox in WhatsApp's place. Everything it
//! does goes through the gateway's own API.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use domain::port::{AggregateType, EventFeed, StreamId};
use infrastructure::sandbox::Behaviour;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::Client;
use super::history::line;
use super::serve::{Running, key_hint, wait_for_signal};
use super::{Global, Usage, scene};
use crate::app::Managers;
use crate::application::events::shown_events;
use crate::telemetry;

const POLL: Duration = Duration::from_millis(250);
/// The demo's number may send this fast, so that there is something to watch.
const MESSAGES_PER_SECOND: u32 = 250;
const ACCOUNT: &str = "Demo shop";

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many people the sample campaign is for
    #[arg(long, default_value_t = 200)]
    recipients: u32,
    /// Ends when the campaign has ended, instead of leaving the gateway running
    #[arg(long)]
    exit: bool,
    /// The last line is one JSON object with the campaign's progress
    #[arg(long)]
    json: bool,
    /// Address to listen on (the key `listen`)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub async fn run(global: Global, args: DemoArgs) -> anyhow::Result<()> {
    if !(1..=scene::RECIPIENTS_MAX).contains(&args.recipients) {
        bail!(Usage("--recipients takes 1 to 1,000,000".to_owned()));
    }
    let more: Vec<_> = args.listen.iter().map(|listen| ("listen", listen.clone())).collect();
    let mut config = global.load(&more)?;
    if config.log.level == "info" {
        // The demo tells its own story.
        config.log.level = "warn".to_owned();
    }
    telemetry::init_logs(&config.log)?;
    let running = Running::start(config, Managers::All).await?;
    eprintln!("The gateway is at {}", running.gateway.public_url());
    let client = Client::connect(&global).await?;
    let outcome = tokio::select! {
        outcome = campaign(&running, &client, &args) => outcome,
        signal = wait_for_signal() => signal.and_then(|()| bail!("interrupted")),
    };
    let progress = match outcome {
        Ok(progress) => progress,
        Err(error) => {
            running.stop().await;
            return Err(error);
        }
    };
    eprintln!("\n{}", key_hint(&running.bootstrap));
    let url = running.gateway.public_url();
    match &running.setup_link {
        Some(link) => eprintln!("Set up the console, once: {}", link.expose()),
        None => eprintln!("The console is at {url}console/"),
    }
    eprintln!("GraphiQL is at {url}graphql");
    if args.json {
        println!("{progress}");
    }
    if !args.exit {
        eprintln!("The gateway goes on; Ctrl-C ends it.");
        wait_for_signal().await?;
    }
    running.stop().await;
    Ok(())
}

async fn campaign(running: &Running, client: &Client, args: &DemoArgs) -> anyhow::Result<Value> {
    let account_id = account(running, client).await?;
    eprintln!("1. A number in the sandbox is connected: account {account_id}");
    let imported = scene::import(client, args.recipients).await?;
    eprintln!(
        "2. Contacts are imported from CSV: {} added, {} updated, {} rejected",
        imported["added"], imported["updated"], imported["rejected"]
    );
    let template_id = scene::template(client, &account_id).await?;
    eprintln!("3. The template {} is approved", scene::TEMPLATE);
    let campaign_id = scene::launch(client, &account_id, &template_id).await?;
    eprintln!("4. The campaign {campaign_id} is launched\n");
    let progress = watch(client, &campaign_id).await?;
    println!("{}", funnel(&progress));
    show_history(running, client, &campaign_id).await?;
    Ok(progress)
}

/// The demo's number: made once, found again by the next demo on the same log.
async fn account(running: &Running, client: &Client) -> anyhow::Result<String> {
    let query = "query($search: String!) { accounts(filter: { search: $search, status: [CONNECTED] }) { nodes { id name phoneNumberId } } }";
    let data = client.graphql(query, json!({ "search": ACCOUNT })).await?;
    let known = data["accounts"]["nodes"].get(0).cloned();
    let account = match known {
        Some(account) => account,
        None => {
            let input = json!({
                "name": ACCOUNT,
                "provider": "SANDBOX",
                "timeZone": "Europe/Berlin",
                "defaultRegion": "GB",
                "messagesPerSecond": MESSAGES_PER_SECOND,
            });
            let mutation = "mutation($input: ConnectAccountInput!) { connectAccount(input: $input) { account { id phoneNumberId } } }";
            client.graphql(mutation, json!({ "input": input })).await?["connectAccount"]["account"]
                .take()
        }
    };
    let id = account["id"].as_str().context("the account has no id")?.to_owned();
    let phone_number_id = account["phoneNumberId"].as_str().context("the account has no number")?;
    let sandbox = &running.gateway.sandbox.sandbox;
    // The number is provisioned by the gateway a moment after it was connected.
    for _ in 0..200 {
        if sandbox.is_verified(phone_number_id) == Some(true) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let behaviour = Behaviour::from_json(
        br#"{"latencyMs":{"min":5,"max":40},"statusDelayMs":{"min":50,"max":900},"deliveredRate":0.97,"readRate":0.62,
            "errorRates":{"131026":0.01}}"#,
    )?;
    sandbox.set_behaviour_of(phone_number_id, Some(behaviour))?;
    Ok(id)
}

const PROGRESS: &str = "query($id: ID!) { campaign(id: $id) { status progress { campaignId status recipients pending \
                        accepted sent delivered read replied clicked failed cancelled skipped inDoubt messagesPerSecond \
                        skips { reason count } failures { code title count } } } }";

/// Shows the campaign until it has ended and the sandbox's statuses have come in.
async fn watch(client: &Client, id: &str) -> anyhow::Result<Value> {
    let terminal = std::io::stderr().is_terminal();
    let mut quiet_rounds = 0;
    let mut last = Value::Null;
    loop {
        let mut data = client.graphql(PROGRESS, json!({ "id": id })).await?;
        let mut progress = data["campaign"]["progress"].take();
        // The speed falls for a minute after the last message; only counts say whether anything still moves.
        let per_second = progress["messagesPerSecond"].take();
        let count = |name: &str| progress[name].as_u64().unwrap_or_default();
        // Nobody is known yet where nobody is counted.
        let total = count("recipients");
        let done = total.saturating_sub(count("pending"));
        let total = total.max(1);
        let bar = "█".repeat((done * 30 / total) as usize);
        let line = format!(
            "{bar:<30} {:>3} %  accepted {}  delivered {}  read {}  failed {}  {:.0}/s",
            done * 100 / total,
            count("accepted"),
            count("delivered"),
            count("read"),
            count("failed"),
            per_second.as_f64().unwrap_or_default(),
        );
        if terminal {
            eprint!("\r{line}   ");
        } else if progress != last {
            eprintln!("{line}");
        }
        let ended = data["campaign"]["status"] == "COMPLETED";
        quiet_rounds = if progress == last && ended { quiet_rounds + 1 } else { 0 };
        // The last statuses arrive a moment after the last message was accepted.
        if quiet_rounds >= 6 {
            if terminal {
                eprintln!();
            }
            progress["messagesPerSecond"] = per_second;
            return Ok(progress);
        }
        last = progress;
        tokio::time::sleep(POLL).await;
    }
}

/// The funnel for people.
fn funnel(progress: &Value) -> String {
    let count = |name: &str| progress[name].as_u64().unwrap_or_default();
    let recipients = count("recipients").max(1);
    let mut text = String::from("\nFunnel\n");
    for name in ["recipients", "accepted", "sent", "delivered", "read"] {
        let value = count(name);
        let bar = "▇".repeat((value * 40 / recipients) as usize);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<11}{value:>8}  {bar}");
    }
    let _ = writeln!(
        text,
        "  failed {}  skipped {}  in doubt {}  cancelled {}  pending {}",
        count("failed"),
        count("skipped"),
        count("inDoubt"),
        count("cancelled"),
        count("pending")
    );
    for failure in progress["failures"].as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "  failed: {} × {}",
            failure["count"],
            failure["title"].as_str().unwrap_or_default()
        );
    }
    text
}

async fn show_history(running: &Running, client: &Client, campaign_id: &str) -> anyhow::Result<()> {
    let query = "query($id: ID!) { campaign(id: $id) { messages(first: 1, filter: { status: [READ, DELIVERED] }) { nodes { id } } } }";
    let data = client.graphql(query, json!({ "id": campaign_id })).await?;
    let Some(id) = data["campaign"]["messages"]["nodes"][0]["id"].as_str() else { return Ok(()) };
    println!("The history of one message ({id})");
    let stream = StreamId::new(AggregateType::Message, Uuid::try_parse(id)?);
    let ledger = &running.gateway.ledger;
    let events = ledger.read_streams(&[stream]).await?;
    for event in shown_events(ledger, events, true).await? {
        println!("  {}", line(event));
    }
    Ok(())
}
