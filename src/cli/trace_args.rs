//! The flags that say how a trace is read.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::arguments::span;
use crate::cli::closed;
use crate::trace::{RateScale, ReadOptions, TimeUnit, Trace, TraceFormat};
use crate::units::Nanos;

/// Check an arrival trace and say what is in it.
#[derive(Clone, Debug, Args)]
pub(super) struct TraceArgs {
    /// The arrival trace; gzip is read too, and `-` is standard input
    #[arg(value_name = "TRACE")]
    pub(super) trace: PathBuf,
    /// The format of the trace; found from its content where not given
    #[arg(long, visible_alias = "trace-format", value_enum, help_heading = "Trace")]
    pub(super) format: Option<TraceFormat>,
    #[command(flatten)]
    reading: TraceReading,
}

/// How a trace is read, whatever its format.
#[derive(Clone, Debug, Args)]
pub(super) struct TraceReading {
    /// The unit of timestamps [default: that of the format]
    #[arg(long, value_enum, value_name = "UNIT", requires = "trace", help_heading = "Trace")]
    pub(super) time_unit: Option<TimeUnit>,
    /// Prompt tokens per hash id [default: that of the format]
    #[arg(long, value_name = "TOKENS", requires = "trace", help_heading = "Trace",
        value_parser = clap::value_parser!(u32).range(1..1 << 31))]
    pub(super) hash_block_size: Option<u32>,
    /// Divide arrival times and pauses between turns by this: 2 is twice the load
    #[arg(long, value_name = "FACTOR", default_value = "1", requires = "trace", help_heading = "Trace",
        value_parser = rate_scale)]
    pub(super) rate_scale: RateScale,
    /// Read only the first requests of the file
    #[arg(long, value_name = "REQUESTS", requires = "trace", help_heading = "Trace",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
    /// Leave out requests that arrive at or after this moment of the trace, such as 90s or 1.5h
    /// (before --rate-scale)
    #[arg(long, value_name = "TIME", requires = "trace", help_heading = "Trace", value_parser = span)]
    pub(super) until: Option<Nanos>,
    /// Leave out rows that cannot be read, and count them by reason
    #[arg(long, requires = "trace", help_heading = "Trace")]
    pub(super) skip_invalid: bool,
    /// Keep requests without output as requests that end in `error`
    #[arg(long, requires = "trace", help_heading = "Trace")]
    pub(super) keep_failed: bool,
    /// Read past columns that the format does not have
    #[arg(long, requires = "trace", help_heading = "Trace")]
    pub(super) ignore_unknown: bool,
    /// Count time from the first arrival
    #[arg(long, requires = "trace", help_heading = "Trace")]
    pub(super) rebase: bool,
}

impl TraceReading {
    /// The flags as the trace reader takes them.
    #[must_use]
    pub(super) fn options(&self, format: Option<TraceFormat>) -> ReadOptions {
        ReadOptions {
            format,
            time_unit: self.time_unit,
            hash_block_size: self.hash_block_size,
            rate_scale: self.rate_scale,
            limit: self.limit,
            until: self.until,
            skip_invalid: self.skip_invalid,
            keep_failed: self.keep_failed,
            ignore_unknown: self.ignore_unknown,
            rebase: self.rebase,
        }
    }
}

impl TraceArgs {
    /// Reads and checks the trace.
    ///
    /// # Errors
    /// Where it cannot be read; the message names the place and the remedy.
    pub(super) fn open(&self) -> anyhow::Result<Trace> {
        open(&self.trace, &self.reading, self.format)
    }
}

fn rate_scale(text: &str) -> Result<RateScale, String> {
    text.parse().map_err(|_| {
        "a positive decimal number of at most 12 decimals is needed, such as 2 or 0.5".to_owned()
    })
}

/// Reads and checks a trace.
///
/// # Errors
/// Where it cannot be read; the message names the place and the remedy.
pub(super) fn open(
    path: &Path,
    reading: &TraceReading,
    format: Option<TraceFormat>,
) -> anyhow::Result<Trace> {
    if path == Path::new("-") && closed::input() {
        anyhow::bail!("standard input is closed: pipe the trace in, or name its file");
    }
    Ok(Trace::open(path, &reading.options(format))?)
}
