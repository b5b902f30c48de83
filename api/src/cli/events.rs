//! `events`: the log as NDJSON, one CloudEvent a line, read beside a running gateway.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use domain::port::{EventFeed, EventFilter, Position};

use super::Global;
use crate::app::Reader;
use crate::application::events::cloud_events;

/// Events read at once.
const PAGE: usize = 1_000;
/// How often a followed log is looked at; this process is not the one that appends.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Begin after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Only this type, such as message.delivered; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Go on with what is recorded from now on
    #[arg(long)]
    follow: bool,
    /// Show personal data instead of masking it
    #[arg(long)]
    personal: bool,
}

pub async fn run(global: Global, args: EventsArgs) -> anyhow::Result<()> {
    let reader = Reader::open(&global.load(&[])?).await?;
    let filter = EventFilter { event_types: args.types, ..EventFilter::default() };
    let mut after = Position(args.after);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    loop {
        let page = reader.ledger.read_after(after, &filter, PAGE).await?;
        let (ledger, url) = (&reader.ledger, &reader.public_url);
        for event in cloud_events(ledger, page.events, url, args.personal).await? {
            serde_json::to_writer(&mut out, &event)?;
            out.write_all(b"\n")?;
        }
        after = page.scanned_to.max(after);
        if page.at_head {
            out.flush()?;
            if !args.follow {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
