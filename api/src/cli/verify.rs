//! `verify`: whether the log is what was written, read beside a running gateway.

use std::io::IsTerminal;
use std::str::FromStr;

use anyhow::bail;
use clap::Args;
use infrastructure::audit::{Digest, Report, Verifier};
use serde_json::json;

use super::{Global, Usage};
use crate::app::Reader;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A seal that was noted before, as an earlier check printed it: it has to be there still
    #[arg(long, value_name = "NUMBER:HASH")]
    seal: Option<NotedSeal>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug)]
struct NotedSeal {
    number: u64,
    hash: Digest,
}

impl FromStr for NotedSeal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use NUMBER:HASH as verify prints it, with 64 hexadecimal digits".to_owned();
        let (number, hash) = text.split_once(':').ok_or_else(wrong)?;
        let number = number.parse().map_err(|_| wrong())?;
        Ok(Self { number, hash: Digest::parse(hash).ok_or_else(wrong)? })
    }
}

pub async fn run(global: Global, args: VerifyArgs) -> anyhow::Result<()> {
    if global.url.is_some() {
        bail!(Usage("verify reads the store itself; leave --url out".to_owned()));
    }
    let reader = Reader::open(&global.load(&[])?).await?;
    let verifier = Verifier::new(reader.ledger, reader.seals);
    let noted = args.seal.map(|noted| (noted.number, noted.hash));
    let mut shown = Shown::new();
    let report = verifier.run(noted, |position, head| shown.reached(position.0, head.0)).await?;
    shown.end();
    if args.json {
        println!("{}", json(&report));
    } else {
        print(&report);
    }
    if !report.holds() {
        bail!("the log is not what was written; findings: {}", report.findings_total);
    }
    Ok(())
}

/// How far it has come: one line that is written over on a terminal, else a line for each tenth.
struct Shown {
    is_terminal: bool,
    tenths: u64,
}

impl Shown {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), tenths: 0 }
    }

    fn reached(&mut self, position: u64, head: u64) {
        let tenths = (position.saturating_mul(10)).checked_div(head).unwrap_or(10);
        if self.is_terminal {
            eprint!("\rchecked up to position {position} of {head}   ");
        } else if tenths > self.tenths {
            eprintln!("checked up to position {position} of {head}");
        }
        self.tenths = tenths;
    }

    fn end(&self) {
        if self.is_terminal {
            eprintln!();
        }
    }
}

fn json(report: &Report) -> serde_json::Value {
    json!({
        "holds": report.holds(),
        "position": report.head.to_string(),
        "events": report.events,
        "streams": report.streams,
        "seals": report.seals,
        "sealedEvents": report.sealed,
        "unsealedEvents": report.unsealed,
        "eventsOfMonthsTakenOut": report.out,
        "monthsTakenOut": months(report),
        "shapes": report.shapes,
        "lastSeal": report.last_seal.map(|(number, hash)| format!("{number}:{hash}")),
        "findings": report.findings,
        "findingsTotal": report.findings_total,
    })
}

/// As people write them.
fn months(report: &Report) -> Vec<String> {
    report.months_out.iter().map(|month| format!("{}-{:02}", month / 100, month % 100)).collect()
}

fn print(report: &Report) {
    for finding in &report.findings {
        println!("{finding}");
    }
    let left_out = report.findings_total - report.findings.len() as u64;
    if left_out > 0 {
        println!("… and {left_out} more");
    }
    let shapes: usize = report.shapes.values().map(|versions| versions.len()).sum();
    println!(
        "checked that no sequence has a gap, that every stream folds, that each of {shapes} stored shapes of events is read, and the seals:"
    );
    println!(
        "{} events of {} streams up to position {}; {} of them under {} seals, {} not sealed yet",
        report.events, report.streams, report.head, report.sealed, report.seals, report.unsealed
    );
    if report.out > 0 {
        let months = months(report).join(", ");
        println!(
            "{} sealed events are of months that were taken out of the log: {months}",
            report.out
        );
    }
    if let Some((number, hash)) = report.last_seal {
        println!("last seal, to be noted elsewhere: {number}:{hash}");
    }
}
