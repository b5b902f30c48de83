//! Logs and metrics. Log lines carry ids, counts and error classes; never a number, a text, a token or a body.

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Latencies in seconds: from a group commit on a fast disk to a call that timed out.
const LATENCY_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Installs the log's subscriber, on standard error. `level` is as RUST_LOG has it, and RUST_LOG goes before it.
///
/// # Errors
/// Where the level cannot be read.
pub fn init_logs(config: &LogConfig) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(level) => EnvFilter::try_new(level)
            .context("RUST_LOG is no level such as info or api=debug,info")?,
        Err(_) => EnvFilter::try_new(&config.level)
            .context("log.level is no level such as info or api=debug,info")?,
    };
    let pretty = match config.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (tests start several gateways in a process) keeps the first subscriber.
    let _ = if pretty { builder.try_init() } else { builder.json().flatten_event(true).try_init() };
    Ok(())
}

/// Installs the Prometheus recorder; `None` where another gateway of this process has one already.
///
/// # Errors
/// Where the buckets are refused.
pub fn init_metrics() -> anyhow::Result<Option<PrometheusHandle>> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    Ok(metrics::set_global_recorder(recorder).is_ok().then_some(handle))
}
