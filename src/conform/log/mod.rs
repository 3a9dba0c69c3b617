//! Conformance of a log: its own arrivals, lengths and moments through the reference scheduler.
//!
//! A log tells who arrived when, how long prompts and answers were, when each output was processed and
//! who gave up. That is all the input a scheduler has, but for the content of prompts; so the
//! reference can be put in the place of the log's scheduler, step by step, and every decision
//! that the log shows can be compared. The content comes from the trace where the log is a replay of
//! one; without it, what admissions found in the prefix cache is taken from the log.

mod amounts;
mod cache;
mod choices;
mod claims;
mod coarse;
mod compare;
mod config;
mod counted;
mod decisions;
mod drafts;
mod ends;
mod group;
mod inputs;
mod limits;
mod outputs;
mod prompts;
mod replay;
mod resync;
mod returned;
mod rule;
mod seats;
mod sides;
mod stream;
mod tape;
mod verdict;

use std::path::Path;

use crate::config::SchedulerConfig;
use crate::conform::log::prompts::Prompts;
use crate::conform::log::replay::Replay;
use crate::conform::log::tape::Tape;
use crate::conform::log::verdict::Trouble;
use crate::log::beginning::rest;
use crate::log::dialect::{DEFAULT_SKEW_BOUND, Dialect, Habit};
use crate::log::reader::{LogDir, LogDirError};
use crate::log::schema::Table;
use crate::log::values::LogLevel;
use crate::settings::Settings;
use crate::trace::Trace;
use crate::units::Nanos;

pub use rule::location_text;
pub use verdict::{
    Basis, Difference, LogCounts, LogDivergence, LogMoment, LogReport, LogSide, LogVerdict, Void,
};

/// What a comparison may be told.
#[derive(Debug)]
pub struct ConformOptions<'t> {
    /// Settings that the log does not tell, or tells wrongly.
    pub settings: Settings,
    /// The trace that the log is a replay of.
    pub trace: Option<&'t Trace>,
    /// Take the log's decision over at every step, as after a divergence: on a log that conforms this
    /// changes nothing, which is how it is tested.
    pub always_take_over: bool,
    /// The most by which two readings of one moment may differ, in a log that reads its clock more
    /// than once for one.
    pub skew_bound: Nanos,
}

impl Default for ConformOptions<'_> {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            trace: None,
            always_take_over: false,
            skew_bound: DEFAULT_SKEW_BOUND,
        }
    }
}

/// Compares the log in a directory with the reference.
///
/// # Errors
/// If the directory is not a log or a file in it cannot be opened; what keeps a log from being
/// compared is part of the report.
pub fn conform_log(path: &Path, options: &ConformOptions<'_>) -> Result<LogReport, LogDirError> {
    let dir = LogDir::open(path)?;
    match compare(&dir, options) {
        Ok(report) => Ok(report),
        Err(Trouble::Void(reason)) => Ok(LogReport::void(path.to_owned(), reason)),
        Err(Trouble::Log(error)) => Err(error),
    }
}

fn compare(dir: &LogDir, options: &ConformOptions<'_>) -> Result<LogReport, Trouble> {
    let info = dir.run_info.as_ref();
    if let Some(error) = &dir.run_info_error {
        return Err(Void::BadRunInfo(error.clone()).into());
    }
    let rows = Table::PerIterationRequests;
    if dir.file(rows).is_none() && info.is_some_and(|info| info.log_level == LogLevel::Summary) {
        return Err(Void::Summary(rows).into());
    }
    if let Some(rest) = rest(dir)? {
        return Err(Void::NoBeginning { first: rest.first }.into());
    }
    let tape = Tape::open(dir, options.skew_bound)?;
    let usable = tape.first_step().ok_or(Void::NoIteration)?.kv_cache_total;
    let resolved = config::resolve(info, &options.settings, Some(usable), &tape.dialect)?;
    let prompts = options.trace.map(Prompts::new).transpose()?;
    if !tape.tells_tokens {
        without_tokens(&resolved.scheduler, prompts.is_some() || tape.tells_hits())?;
    }
    let mut replay = Replay::new(resolved.scheduler, tape, prompts);
    replay.always_take_over = options.always_take_over;
    replay.run()?;
    if replay.counts.compared == 0 {
        return Err(Void::NoIteration.into());
    }
    let mut notes = resolved.assumed;
    for table in dir.twice() {
        let file = table.file_name();
        notes.push(format!(
            "{file} and {file}.gz are both there: {file} was read; remove the other"
        ));
    }
    notes.append(&mut replay.notes);
    notes.extend(uncompared(&replay.tape.dialect).map(str::to_owned));
    if !replay.tape.tells_tokens {
        notes.push(NO_TOKENS.to_owned());
    }
    Ok(LogReport {
        directory: dir.path.clone(),
        verdict: replay.first.map_or(LogVerdict::Conforms, LogVerdict::Diverges),
        basis: replay.basis,
        counts: replay.counts,
        divergences: replay.divergences,
        diverged: replay.diverged,
        dialect: replay.tape.dialect.habits().collect(),
        second_run: replay.tape.second_run,
        damage: replay.damage,
        notes,
    })
}

/// What is not compared where rows tell no tokens.
const NO_TOKENS: &str = "the dialect has no tokens per request and step: what each got is compared as \
                         far as the step's totals, blocks and outputs tell";

/// Whether all inputs of the reference are told where rows tell no tokens: but for prefix hits they
/// follow from the lengths and from the steps' sums.
fn without_tokens(config: &SchedulerConfig, hits_told: bool) -> Result<(), Void> {
    if config.enable_prefix_caching && !hits_told { Err(Void::NoHits) } else { Ok(()) }
}

/// What is not compared because a dialect has no row of it.
fn uncompared(dialect: &Dialect) -> impl Iterator<Item = &'static str> {
    let habits = [
        (
            Habit::NoInitialRows,
            "the dialect has no rows of requests that wait for their first scheduling: how many there \
             are is compared, not their order nor what kept them out",
        ),
        (
            Habit::NoPreemptedRows,
            "the dialect has no rows of preempted requests: how many wait is compared, not the order \
             of those nor what kept them out",
        ),
        (
            Habit::NoDetails,
            "the dialect has no details of events: in which order requests were preempted and admitted \
             is compared as far as rows and counts tell",
        ),
    ];
    habits.into_iter().filter(|(habit, _)| dialect.has(*habit)).map(|(_, what)| what)
}
