//! What a comparison of a log with the reference found, as data.

use std::path::PathBuf;

use crate::log::dialect::Habit;
use crate::log::reader::{Location, LogDirError};
use crate::log::schema::Table;
use crate::units::IterationId;

/// Divergences that are kept; all are counted.
pub(super) const KEPT: usize = 100;

/// Why a log cannot be compared: what is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// A setting that nobody gave.
    #[error(
        "{setting} is not known: give --{flag}, or config.{setting} in run.json",
        flag = setting.replace('_', "-")
    )]
    NoSetting {
        /// Its vLLM name.
        setting: &'static str,
    },
    /// A setting with a value that it cannot have.
    #[error(
        "{setting} is {value}, which it cannot be: give --{flag} with a value that `schedlog config \
         --explain` allows",
        flag = setting.replace('_', "-")
    )]
    BadSetting {
        /// Its vLLM name.
        setting: &'static str,
        /// What was given.
        value: String,
    },
    /// The log's engine had a feature that the reference has not.
    #[error(
        "{setting} asks for {what}, which the reference does not have: such a run can be checked \
         (`schedlog check`) but not compared"
    )]
    Unmodelled {
        /// Its vLLM name.
        setting: &'static str,
        /// What it is.
        what: &'static str,
    },
    /// run.json is there but unreadable.
    #[error(
        "run.json is there but was not read: {0}; repair it, or remove it and give the settings as \
         flags"
    )]
    BadRunInfo(String),
    /// The log was written without the rows of the queues.
    #[error("log level summary has no {}: log at level standard or full", .0.file_name())]
    Summary(Table),
    /// A file is missing or cannot be used.
    #[error("{} is not there: a comparison needs it, log or copy it, too", .0.file_name())]
    NoFile(Table),
    /// A file of which no row can be read.
    #[error("{} cannot be used: {why}; `schedlog check` tells more", .table.file_name())]
    BadFile {
        /// The file.
        table: Table,
        /// What is wrong with its header.
        why: String,
    },
    /// Nothing tells what admissions found in the prefix cache.
    #[error(
        "the dialect tells nowhere what admissions found in the prefix cache: computed_tokens in \
         per_iteration_requests.csv, cached_tokens in the details of events.csv or --trace with the \
         trace that the log is a replay of are needed, see docs/log-format.md"
    )]
    NoHits,
    /// Nothing tells how requests ended.
    #[error(
        "the dialect tells nowhere who gave up: finish_reason in per_request.csv, details in \
         events.csv or completed rows in per_iteration_requests.csv are needed, see \
         docs/log-format.md"
    )]
    NoReasons,
    /// Nothing tells how urgent requests are.
    #[error(
        "policy is priority and the dialect tells no priorities: priority_score in per_request.csv or \
         priority in the details of events.csv is needed, see docs/log-format.md"
    )]
    NoPriority,
    /// Nothing to compare.
    #[error(
        "the log has no iteration that could be compared: log a run whose requests are scheduled, from \
         its start"
    )]
    NoIteration,
    /// The beginning is missing.
    #[error(
        "the log begins with iteration {first}: its beginning is missing, as of files that are rotated, and \
         what the engine held then is told nowhere; compare the log with the files of its beginning put \
         before it, or one that begins with iteration 0"
    )]
    NoBeginning {
        /// The first iteration that is there.
        first: IterationId,
    },
    /// The trace cannot be read.
    #[error("the trace cannot be read: {0}")]
    BadTrace(String),
    /// The trace is another run's.
    #[error(
        "request {0} of the log is not in the trace: give the trace that the log is a replay of"
    )]
    NotInTrace(String),
    /// The trace is another run's.
    #[error(
        "request {id} has {logged} prompt tokens in the log and {traced} in the trace: give the trace \
         that the log is a replay of"
    )]
    OtherLength {
        /// The request.
        id: String,
        /// In the log.
        logged: u32,
        /// In the trace.
        traced: u32,
    },
}

impl Void {
    /// Whether nothing of the log is missing: it has nothing to compare.
    #[must_use]
    pub const fn is_of_whole_logs(&self) -> bool {
        matches!(self, Self::Summary(_) | Self::NoIteration)
    }
}

/// Why a log is not replayed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Void(#[from] Void),
    #[error(transparent)]
    Log(#[from] LogDirError),
}

/// What the comparison of blocks rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Every block is accounted for by the reference alone.
    Exact,
    /// The content of prompts is unknown: which tokens an admission found in the prefix cache is
    /// taken from the log, and blocks are compared as far as sharing leaves no choice.
    HitsFromLog,
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Iterations in the log.
    pub iterations: u64,
    /// Iterations compared.
    pub compared: u64,
    /// Of these, iterations in which the reference decided the same.
    pub same: u64,
    /// Of these, iterations in which it did not, in its decision or in what became of the output.
    pub different: u64,
    /// Entries of batches: that a request is scheduled, with how many tokens and blocks.
    pub scheduled: u64,
    /// First admissions.
    pub admitted: u64,
    /// Resumptions.
    pub resumed: u64,
    /// Preemptions.
    pub preempted: u64,
    /// Places in the waiting queues, with their reasons.
    pub waiting: u64,
    /// Requests finished by an output.
    pub finished: u64,
    /// Iterations whose evicted_blocks were compared with the one number that they can be.
    pub evictions: u64,
    /// Iterations whose evicted_blocks were held to what is possible, as contents are unknown.
    pub evictions_bounded: u64,
    /// How often the reference took over what the log decided.
    pub taken_over: u64,
    /// How often the reference was started anew.
    pub restarts: u64,
}

impl LogCounts {
    /// Iterations that were not compared.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.iterations.saturating_sub(self.compared)
    }

    /// Iterations compared in which the log does not tell how many blocks were evicted.
    #[must_use]
    pub const fn evictions_untold(&self) -> u64 {
        self.compared.saturating_sub(self.evictions + self.evictions_bounded)
    }

    /// All decisions compared.
    #[must_use]
    pub const fn decisions(&self) -> u64 {
        self.scheduled + self.preempted + self.waiting + self.finished
    }
}

/// When in an iteration a difference showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogMoment {
    /// At `D`.
    Decision,
    /// At `E`.
    Output,
}

impl LogMoment {
    /// The moment in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Output => "output",
        }
    }
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, in the log's words where it has one.
    pub field: &'static str,
    /// The request, if it is one request's value.
    pub request: Option<String>,
    /// What the log says.
    pub logged: String,
    /// What the reference says.
    pub reference: String,
    /// The row that says it, or that would.
    pub at: Location,
}

/// The state of one side at `D`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSide {
    /// The batch: ids and tokens.
    pub batch: Vec<(String, u32)>,
    /// Left of the budget of scheduled tokens.
    pub budget_left: u32,
    /// The running queue with block counts.
    pub running: Vec<(String, u32)>,
    /// The waiting queues in the order of service, with reasons.
    pub waiting: Vec<(String, &'static str)>,
    /// The fewest and the most free blocks that are possible.
    pub free: (u32, u32),
}

/// An iteration in which the reference decides otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDivergence {
    /// The iteration.
    pub iteration: IterationId,
    /// When in it.
    pub moment: LogMoment,
    /// What differs, the likely cause first.
    pub differences: Vec<Difference>,
    /// The iteration's row.
    pub iteration_row: Location,
    /// The first and the last row of the iteration's queues.
    pub rows: Option<(Location, Location)>,
    /// The log's side.
    pub logged: LogSide,
    /// The reference's side.
    pub reference: LogSide,
    /// Why the reference decided so.
    pub reasons: Vec<String>,
}

/// How the comparison came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogVerdict {
    /// The reference decides as logged wherever it was compared.
    Conforms,
    /// It does not, first in this iteration.
    Diverges(IterationId),
    /// There was nothing to compare.
    Void(Void),
}

/// The result for one log.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// The directory.
    pub directory: PathBuf,
    /// The verdict.
    pub verdict: LogVerdict,
    /// What the comparison of blocks rests on.
    pub basis: Basis,
    /// What was compared.
    pub counts: LogCounts,
    /// The first divergences.
    pub divergences: Vec<LogDivergence>,
    /// All divergences.
    pub diverged: u64,
    /// The dialect that it is written in, habit by habit.
    pub dialect: Vec<Habit>,
    /// Where a second run begins in per_iteration.csv; only the first one was compared.
    pub second_run: Option<Location>,
    /// Files that could not be read to their end, though they were not cut, and why: what was read may be
    /// wrong, too.
    pub damage: Vec<String>,
    /// Remarks: what was assumed, what could not be compared.
    pub notes: Vec<String>,
}

impl LogReport {
    /// A report on a log that cannot be compared.
    #[must_use]
    pub fn void(directory: PathBuf, reason: Void) -> Self {
        Self {
            directory,
            verdict: LogVerdict::Void(reason),
            basis: Basis::Exact,
            counts: LogCounts::default(),
            divergences: Vec::new(),
            diverged: 0,
            dialect: Vec::new(),
            second_run: None,
            damage: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The exit code: 0 conforms, 1 diverges, 2 void; or a file is damaged, or of several runs in one log
    /// only the first conforms.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self.verdict {
            LogVerdict::Conforms => {
                2 * (self.second_run.is_some() || !self.damage.is_empty()) as u8
            }
            LogVerdict::Diverges(_) => 1,
            LogVerdict::Void(_) => 2,
        }
    }
}
