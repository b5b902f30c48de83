//! Events and messages as files.
//!
//!     cargo bench -p whatsapp-gateway --bench exports                               # SQLite, and PostgreSQL where
//!                                                                                   # TEST_DATABASE_URL names one
//!     cargo bench -p whatsapp-gateway --bench exports -- --messages 20000,200000    # of how much
//!     cargo bench -p whatsapp-gateway --bench exports -- --smoke                    # whether it still works
//!
//! Beside it, in the same run, what only reading and opening (unsealing and parsing) the same events takes. Rounds follow
//! each other, medians of three. Then the command line does the same as a process of its own: the most memory that it has
//! had, of each size beside the one before.

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use api::application::Caller;
use api::application::exports::{
    Bounds, Dataset, ExportFilter, ExportRequest, Format, Job, Place as Files, ROWS_PER_FILE,
    export,
};
use domain::port::{EventFeed, EventFilter, Position};
use domain::primitives::Actor;
use projections::BATCH_MAX;
use support::figures::{counts, is_smoke, line, median};
use support::fill::{Fill, long_ago};
use support::place::{KEY, MASTER_KEY, Place};
use tokio::process::Command;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const POLL: Duration = Duration::from_millis(5);
const DATASETS: [Dataset; 2] = [Dataset::Events, Dataset::Messages];

fn main() {
    let (default, rounds): (&[usize], _) =
        if is_smoke() { (&[100, 300], 1) } else { (&[5_000, 50_000], 3) };
    let sizes = counts("--messages", default);
    actix_web::rt::System::with_tokio_rt(support::runtime).block_on(async {
        let mut before = None;
        for messages in &sizes {
            let memory = measure(Place::sqlite().await, *messages, rounds).await;
            compare(&mut before, memory);
        }
        let mut before = None;
        for messages in &sizes {
            let Some(place) = Place::postgres().await else { return };
            let memory = measure(place, *messages, rounds).await;
            compare(&mut before, memory);
        }
    });
}

fn compare(before: &mut Option<f64>, memory: f64) {
    let beside = before.map(|before| (before, "of that of the fewest"));
    line("memory of the command line at the most", memory, "MB", beside);
    before.get_or_insert(memory);
}

/// Answers the most memory, in megabytes.
async fn measure(place: Place, messages: usize, rounds: usize) -> f64 {
    let fill = Fill::plan(&place, messages, long_ago()).await;
    fill.run(&place).await;
    let events = place.running.gateway.store.log.head().await.expect("the log answers").0 as f64;
    println!("{}, {events:.0} events of {messages} messages, medians of {rounds}", place.store);
    let mut read = vec![];
    for _ in 0..rounds {
        read.push(opened(&place).await.as_secs_f64());
    }
    let read = median(read);
    line("reading and opening all events", events / read, "events/s", None);
    for dataset in DATASETS {
        for format in Format::ALL {
            let (mut took, mut rows) = (vec![], 0);
            for _ in 0..rounds {
                let (count, seconds) = exported(&place, dataset, format).await;
                rows = count;
                took.push(seconds.as_secs_f64());
            }
            let took = median(took);
            let what = format!("{} as {}", dataset.as_str(), format.as_str());
            line(&what, rows as f64 / took, "rows/s", None);
            let whose = "of reading and opening the events behind it";
            line("  that is", events / took, "events/s", Some((events / read, whose)));
        }
    }
    let directory = tempfile::tempdir().expect("a directory can be made");
    let mut memory: f64 = 0.0;
    for dataset in DATASETS {
        for format in Format::ALL {
            memory = memory.max(by_command_line(&place, directory.path(), dataset, format).await);
        }
    }
    place.end().await;
    memory
}

async fn opened(place: &Place) -> Duration {
    let ledger = &place.running.gateway.ledger;
    let (filter, began, mut after) = (EventFilter::default(), Instant::now(), Position(0));
    loop {
        let page = ledger.read_after(after, &filter, BATCH_MAX).await.expect("the log answers");
        after = page.scanned_to;
        if page.at_head {
            return began.elapsed();
        }
    }
}

async fn exported(place: &Place, dataset: Dataset, format: Format) -> (u64, Duration) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let gateway = &place.running.gateway;
    let filter = ExportFilter::default();
    let request = ExportRequest { dataset, format, filter, personal: false, raw: false };
    let caller = Caller::everything(Actor::system("bench"));
    let began = Instant::now();
    let (public_url, files) = (gateway.public_url(), Files::of(directory.path(), &request));
    let job = Job {
        ledger: &gateway.ledger,
        public_url: &public_url,
        caller: &caller,
        request: &request,
        place: &files,
        bounds: Bounds { rows_per_file: ROWS_PER_FILE, bytes: u64::MAX },
        is_to_stop: &|| false,
        on_progress: &|_| {},
    };
    let manifest = export(&job).await.expect("it is written");
    assert!(manifest.rows > 0);
    (manifest.rows, began.elapsed())
}

/// The most memory, in megabytes, that a process has had: NaN where the system does not say.
async fn by_command_line(place: &Place, directory: &Path, dataset: Dataset, format: Format) -> f64 {
    let out = directory.join(format!("{}-{}", dataset.as_str(), format.as_str()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
        .current_dir(directory)
        .args(["export", dataset.as_str(), "--format", format.as_str(), "--out"])
        .arg(&out)
        .env("WHATSAPP_GATEWAY_STORE__URL", &place.url)
        .env("WHATSAPP_GATEWAY_SECRETS__MASTER_KEY", MASTER_KEY)
        .env("WHATSAPP_GATEWAY_ADMIN__BOOTSTRAP_KEY", KEY)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut most = f64::NAN;
    loop {
        let id = child.id().unwrap_or_default();
        most = most_memory(id).map_or(most, |now| now.max(most));
        if let Some(status) = child.try_wait().expect("it can be asked") {
            assert!(status.success(), "{status}");
            return most;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn most_memory(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
