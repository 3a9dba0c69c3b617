//! What was read, in numbers and in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{RateScale, TimeUnit, TraceFormat};
use crate::units::{Nanos, Tokens, counted};

/// Why a row did not become a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// A failed request: no output tokens.
    NoOutput,
    /// It arrives at or after the given end.
    Until,
    /// A turn of a session whose first turn was left out.
    AfterLeftOut,
    /// Bytes that are not text.
    NotUtf8,
    /// Not a whole JSON object.
    NotJson,
    /// More or fewer fields than the header.
    FieldCount,
    /// A column that the format lacks, or one given twice.
    UnknownColumn,
    /// A required value is missing.
    MissingValue,
    /// A value of the wrong type.
    WrongType,
    /// A number that is negative, zero or too large.
    OutOfRange,
    /// A request id that is taken.
    DuplicateId,
    /// Hash ids that do not fit the prompt.
    HashIds,
    /// A delay that follows nothing.
    Session,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOutput => "failed requests (zero output tokens)",
            Self::Until => "at or after --until",
            Self::AfterLeftOut => "turns after a first turn that was left out",
            Self::NotUtf8 => "not UTF-8",
            Self::NotJson => "not a JSON object",
            Self::FieldCount => "wrong number of fields",
            Self::UnknownColumn => "unknown or repeated column",
            Self::MissingValue => "missing value",
            Self::WrongType => "wrong type",
            Self::OutOfRange => "number out of range",
            Self::DuplicateId => "request id already taken",
            Self::HashIds => "hash ids that do not fit the prompt",
            Self::Session => "delay without an earlier turn",
        })
    }
}

/// How the order of the requests came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As in the file, which is in arrival order.
    File,
    /// Sorted by arrival; ties in file order.
    Sorted {
        /// Rows that arrive before the row above them.
        descents: u64,
    },
    /// In arrival order, but turns were moved up to the turn that they follow.
    Regrouped,
}

/// Arrivals that share a timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ties {
    /// Different timestamps.
    pub distinct: u64,
    /// The most requests on one timestamp.
    pub largest: u64,
    /// The largest step that all arrivals are multiples of, counted from the first.
    pub grid: Nanos,
    /// Whether timestamps name buckets (two requests or more on the average one) and not moments.
    pub bucketed: bool,
}

/// What was read from a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceSummary {
    /// The trace as it was named.
    pub name: String,
    /// Its format; `None` where the requests were not read but given.
    pub format: Option<TraceFormat>,
    /// The unit of its timestamps; `None` where they are dates.
    pub time_unit: Option<TimeUnit>,
    /// Prompt tokens per hash id.
    pub hash_block_size: u32,
    /// Whether time is counted from the first arrival.
    pub rebased: bool,
    /// By how much arrivals were sped up, as text.
    pub rate_scale: String,
    /// Rows read.
    pub rows: u64,
    /// Requests made of them.
    pub requests: u64,
    /// Rows left out, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Failed requests that were kept.
    pub failed: u64,
    /// Requests that follow a turn instead of arriving at a moment.
    pub turns: u64,
    /// Requests with a client that may give up.
    pub aborts: u64,
    /// Requests whose prompt content is given.
    pub hashed: u64,
    /// Requests whose times had digits below a nanosecond, which were rounded.
    pub rounded: u64,
    /// The first arrival, after scaling.
    pub first_arrival: Nanos,
    /// The last arrival at a given moment, after scaling.
    pub last_arrival: Nanos,
    /// The longest prompt.
    pub input_tokens_max: Tokens,
    /// The longest prompt with all the output that its request may have.
    pub sequence_tokens_max: u64,
    /// Prompt tokens of all requests.
    pub input_tokens: u64,
    /// Output tokens of all requests.
    pub output_tokens: u64,
    /// How the order came about.
    pub order: Order,
    /// Shared timestamps.
    pub ties: Ties,
    /// Whether the trace is held in memory.
    pub in_memory: bool,
}

impl TraceSummary {
    /// Remarks for the reader of the results: what the trace does not say, and what was done to it.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match self.order {
            Order::File => {}
            Order::Sorted { descents } => notes.push(format!(
                "arrivals are not in order ({} before the row above); the trace was loaded and \
                 sorted, ties in file order",
                counted(descents, "row arrives", "rows arrive")
            )),
            Order::Regrouped => notes.push(
                "turns do not follow their predecessor's row; the trace was loaded and turns \
                 moved up"
                    .to_owned(),
            ),
        }
        let arrivals = self.requests - self.turns;
        if self.ties.bucketed {
            notes.push(format!(
                "timestamps are bucketed: {} distinct for {arrivals} arrivals, up to {} on one; \
                 spacing inside a bucket is not recorded, file order is kept",
                self.ties.distinct, self.ties.largest
            ));
        } else if arrivals > self.ties.distinct {
            notes.push(format!(
                "{} of {} at the same time as the one before; file order is kept",
                arrivals - self.ties.distinct,
                counted(arrivals, "request arrives", "requests arrive")
            ));
        }
        if self.rounded > 0 {
            notes.push(format!(
                "{} times finer than a nanosecond; rounded to the nearest",
                counted(self.rounded, "row has", "rows have")
            ));
        }
        notes
    }
}

impl fmt::Display for TraceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.format.map_or("requests", TraceFormat::title);
        writeln!(f, "trace     {} ({format})", self.name)?;
        write!(f, "requests  {} of {}", self.requests, counted(self.rows, "row", "rows"))?;
        if self.turns > 0 {
            write!(f, ", {} of them follow-up turns", self.turns)?;
        }
        if self.failed > 0 {
            write!(f, ", {} of them failed", self.failed)?;
        }
        writeln!(f)?;
        for (reason, count) in &self.dropped {
            writeln!(f, "left out  {count}: {reason}")?;
        }
        let span = self.last_arrival.saturating_sub(self.first_arrival);
        write!(f, "arrivals  {} s, first at {} s", seconds(span), seconds(self.first_arrival))?;
        match (self.time_unit, self.rebased) {
            (None, _) => write!(f, " (dates, counted from the first)")?,
            (Some(unit), true) => write!(f, " (timestamps in {unit}, counted from the first)")?,
            (Some(unit), false) => write!(f, " (timestamps in {unit})")?,
        }
        if self.rate_scale != RateScale::ONE.to_string() {
            write!(f, ", {} times as fast as recorded", self.rate_scale)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "tokens    {} prompt (longest {}), {} output",
            self.input_tokens, self.input_tokens_max, self.output_tokens
        )?;
        match self.hashed {
            0 => writeln!(f, "prefixes  none given: no two prompts share tokens")?,
            hashed => writeln!(
                f,
                "prefixes  given for {} ({} tokens per hash id)",
                counted(hashed, "request", "requests"),
                self.hash_block_size
            )?,
        }
        for note in self.notes() {
            writeln!(f, "note      {note}")?;
        }
        Ok(())
    }
}

/// Nanoseconds as decimal seconds, exactly.
fn seconds(time: Nanos) -> String {
    let text = format!("{}.{:09}", time.0 / 1_000_000_000, time.0 % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
