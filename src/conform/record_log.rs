//! The log of a recorded run: what the logger beside that scheduler would have written.
//!
//! The comparison drives the engine core; the same [`Timeline`] that logs a replay watches it. A
//! record has no clock, so the log has the virtual one of a fixed step latency. A request reaches
//! the server at the moment of the iteration that takes it in, an abort happens where the record
//! has it, and an iteration in which the engine slept takes as long as a forward pass.

use std::path::{Path, PathBuf};

use crate::conform::compare::Comparison;
use crate::conform::header::Header;
use crate::engine::run::LogOptions;
use crate::engine::timeline::Timeline;
use crate::latency::{FixedLatency, LatencyModel};
use crate::log::run_info::{Producer, RunInfo, SCHEMA_VERSION};
use crate::log::writer::WriteError;
use crate::logger::{LoggerError, LoggerOptions, SchedulerLogger};
use crate::units::Nanos;

/// Why a record's log could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordLogError {
    /// Two records would share a directory.
    #[error("{first} and {second} have the same name, and so would their logs; name fewer records")]
    SameName {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The logger refused, or the directory cannot be written.
    #[error("the log of {record}: {source}")]
    Log {
        /// The record.
        record: PathBuf,
        /// Why.
        source: LoggerError,
    },
}

/// The log of one record under way.
pub(crate) struct RecordLog {
    timeline: Timeline,
    latency: FixedLatency,
    error: Option<LoggerError>,
}

impl RecordLog {
    pub(crate) fn create(
        directory: &Path,
        header: &Header,
        options: &LogOptions,
    ) -> Result<Self, WriteError> {
        let latency = FixedLatency::default();
        let logger = LoggerOptions {
            log_level: options.log_level,
            flush_interval_iterations: options.flush_interval_iterations,
            flush_interval: options.flush_interval,
            force: options.force,
            ..LoggerOptions::default()
        };
        let logger =
            SchedulerLogger::create(directory, &run_info(header, latency, options), logger)?;
        let timeline = Timeline::new(LatencyModel::Fixed(latency), logger);
        Ok(Self { timeline, latency, error: None })
    }

    /// Closes the log. Requests that the record leaves alive are unfinished.
    pub(crate) fn close(self) -> Result<(), LoggerError> {
        match self.error {
            Some(error) => Err(error),
            None => self.timeline.shutdown(),
        }
    }
}

impl Comparison<'_, '_> {
    /// Notes something in the log, if there is one and the record agrees so far.
    pub(crate) fn log(&mut self, note: impl FnOnce(&mut Timeline) -> Result<(), LoggerError>) {
        if self.log.is_none() || self.is_over() {
            return;
        }
        if let Some(log) = &mut self.log
            && log.error.is_none()
        {
            log.error = note(&mut log.timeline).err();
        }
    }

    /// Lets time pass while the engine sleeps.
    pub(crate) fn log_sleep(&mut self, iterations: u64) {
        if let Some(log) = &mut self.log {
            let slept = Nanos(log.latency.forward.0 * iterations);
            log.timeline.sleep_until(log.timeline.now() + slept);
        }
    }
}

/// `run.json` of a recorded run.
fn run_info(header: &Header, latency: FixedLatency, options: &LogOptions) -> RunInfo {
    let mut config = header.config.by_name();
    let latency = serde_json::json!(LatencyModel::Fixed(latency));
    config.insert("watermark".to_owned(), header.watermark.into());
    config.insert("latency".to_owned(), latency);
    config.insert("profile".to_owned(), header.profile.clone().into());
    config.insert("seed".to_owned(), header.seed.into());
    config.insert("flush_interval_iterations".to_owned(), options.flush_interval_iterations.into());
    RunInfo {
        schema_version: SCHEMA_VERSION,
        producer: Producer {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        engine: format!("vllm {} (decision record)", header.vllm),
        start_time_unix_ns: options.start_time_unix_ns,
        overlapping_steps: header.config.max_concurrent_batches > 1,
        log_level: options.log_level,
        config,
        trace: [].into(),
    }
}
