//! A whole run: a trace and settings in, a log directory and totals out.

use std::path::Path;

use serde_json::{Value, json};

use crate::engine::replay::{ReplayError, replay};
use crate::engine::totals::ReplayTotals;
use crate::log::run_info::{Producer, RunInfo, SCHEMA_VERSION};
use crate::log::values::LogLevel;
use crate::log::writer::WriteError;
use crate::logger::{LoggerOptions, SchedulerLogger};
use crate::settings::Resolved;
use crate::trace::{Trace, TraceError};
use crate::units::Nanos;

/// What a replay writes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// How much is logged.
    pub log_level: LogLevel,
    /// The most steps between two flushes.
    pub flush_interval_iterations: u64,
    /// The longest virtual time between two flushes.
    pub flush_interval: Nanos,
    /// The absolute moment of t = 0, for `run.json`.
    pub start_time_unix_ns: u64,
    /// Whether an older log in the directory is replaced.
    pub force: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        let LoggerOptions { log_level, flush_interval_iterations, flush_interval, .. } =
            LoggerOptions::default();
        Self {
            log_level,
            flush_interval_iterations,
            flush_interval,
            start_time_unix_ns: 0,
            force: false,
        }
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The trace can no longer be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The log directory cannot be made.
    #[error(transparent)]
    Log(#[from] WriteError),
    /// The replay stopped.
    #[error(transparent)]
    Replay(#[from] ReplayError<TraceError>),
}

/// Replays `trace` and writes its log to `directory`, if one is named.
///
/// # Errors
/// Where the directory is in use or cannot be written, or the replay cannot go on.
pub fn replay_trace(
    trace: &Trace,
    settings: &Resolved,
    directory: Option<&Path>,
    options: &LogOptions,
    progress: impl FnMut(&ReplayTotals),
) -> Result<ReplayTotals, RunError> {
    let requests = trace.requests()?;
    let logger = match directory {
        None => SchedulerLogger::disabled(),
        Some(directory) => {
            let run = run_info(trace, settings, options);
            SchedulerLogger::create(directory, &run, logger_options(settings, options))?
        }
    };
    Ok(replay(requests, settings, logger, progress)?)
}

/// The logger's options for a run under `settings`.
#[must_use]
pub fn logger_options(settings: &Resolved, options: &LogOptions) -> LoggerOptions {
    LoggerOptions {
        log_level: options.log_level,
        flush_interval_iterations: options.flush_interval_iterations,
        flush_interval: options.flush_interval,
        kv_bytes_per_block: Some(settings.kv_bytes_per_block),
        weight_bytes: Some(settings.weight_bytes),
        force: options.force,
        kill_safe: true,
    }
}

fn run_info(trace: &Trace, settings: &Resolved, options: &LogOptions) -> RunInfo {
    let trace = match json!(trace.summary()) {
        Value::Object(members) => members.into_iter().collect(),
        _ => [].into(),
    };
    RunInfo { trace, ..reference_run_info(settings, options) }
}

/// `run.json` of the reference model under `settings`, without a trace.
#[must_use]
pub fn reference_run_info(settings: &Resolved, options: &LogOptions) -> RunInfo {
    let flush = json!(options.flush_interval_iterations);
    RunInfo {
        schema_version: SCHEMA_VERSION,
        producer: Producer {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        engine: "reference model of vllm 0.32".to_owned(),
        start_time_unix_ns: options.start_time_unix_ns,
        overlapping_steps: settings.scheduler.max_concurrent_batches > 1,
        log_level: options.log_level,
        config: settings
            .as_config()
            .into_iter()
            .chain([("flush_interval_iterations".to_owned(), flush)])
            .collect(),
        trace: [].into(),
    }
}
