//! How a trace is to be read.

use super::{RateScale, TimeUnit, TraceFormat};
use crate::units::Nanos;

/// How a trace is to be read. The default reads what the content says, as published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; found from the content where not given.
    pub format: Option<TraceFormat>,
    /// The unit of timestamps; the format's own where not given.
    pub time_unit: Option<TimeUnit>,
    /// Prompt tokens per hash id; the format's own where not given.
    pub hash_block_size: Option<u32>,
    /// Arrivals and pauses between turns are divided by this.
    pub rate_scale: RateScale,
    /// Read only this many requests from the start of the file.
    pub limit: Option<u64>,
    /// Leave out requests that arrive at or after this moment of the trace (before scaling).
    pub until: Option<Nanos>,
    /// Leave out rows that cannot be read instead of stopping at the first.
    pub skip_invalid: bool,
    /// Keep requests without output as failed ones instead of leaving them out.
    pub keep_failed: bool,
    /// Read past columns that the format does not have.
    pub ignore_unknown: bool,
    /// Count time from the first arrival.
    pub rebase: bool,
}
