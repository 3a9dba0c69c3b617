//! What a log is made of, and what can therefore not be said about it.

use serde::Serialize;

use crate::log::dialect::DEFAULT_SKEW_BOUND;
use crate::log::dialect::{Dialect, Habit};
use crate::log::reader::{Input, LogDir, LogDirError, TableReader};
use crate::log::schema::{Row, Table};
use crate::log::values::LogLevel;

/// Where the figures come from.
#[derive(Clone, Debug, Serialize)]
pub struct LogDescription {
    /// The logger and its version, as run.json says.
    pub producer: Option<String>,
    /// The engine, as run.json says.
    pub engine: Option<String>,
    /// How much was logged, as run.json says.
    pub log_level: Option<LogLevel>,
    /// Whether steps overlap.
    pub overlapping_steps: bool,
    /// How the log differs from the reference format.
    pub dialect: Vec<&'static str>,
    /// The five files.
    pub files: Vec<FileDescription>,
    /// What the log does not allow to say, and why.
    pub cannot_say: Vec<String>,
}

/// One file of the log.
#[derive(Clone, Debug, Serialize)]
pub struct FileDescription {
    /// Its table.
    pub table: &'static str,
    /// Its name; `None` if it is not there.
    pub file: Option<String>,
    /// Rows that were read.
    pub rows: u64,
    /// Rows and headers that could not be read; `schedlog check` says what is wrong with them.
    pub unreadable: u64,
}

/// Which files and columns there are.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// How the log is written.
    pub dialect: Dialect,
    usable: [bool; 5],
    columns: [Vec<&'static str>; 5],
}

impl Source {
    /// Looks at the dialect of a log.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub(super) fn detect(dir: &LogDir) -> Result<Self, LogDirError> {
        Ok(Self { dialect: Dialect::detect(dir, DEFAULT_SKEW_BOUND)?, ..Self::default() })
    }

    /// Opens a file and notes its columns.
    pub(super) fn open<R: Row>(
        &mut self,
        dir: &LogDir,
    ) -> Result<Option<TableReader<R, Input>>, LogDirError> {
        let Some(reader) = dir.reader::<R>()? else { return Ok(None) };
        let (table, header) = (R::SCHEMA.table as usize, reader.header());
        self.usable[table] = header.usable;
        let columns = R::SCHEMA.columns.iter().enumerate();
        self.columns[table] = columns
            .filter(|(index, _)| header.layout.has(*index))
            .map(|(_, column)| column.name)
            .collect();
        Ok(Some(reader).filter(|reader| reader.header().usable))
    }

    /// Whether the file can be read.
    #[must_use]
    pub const fn has(&self, table: Table) -> bool {
        self.usable[table as usize]
    }

    /// Whether the file can be read and has the column.
    #[must_use]
    pub fn has_column(&self, table: Table, name: &str) -> bool {
        self.has(table) && self.columns[table as usize].contains(&name)
    }

    /// Whether the rows of steps tell where in its prompt a request was.
    #[must_use]
    pub fn tells_progress(&self) -> bool {
        let has = |name| self.has_column(Table::PerIterationRequests, name);
        has("scheduled_tokens") && has("computed_tokens")
    }

    /// Which file tells when the state of a request changed, best first.
    #[must_use]
    pub fn changes(&self) -> Option<Table> {
        let rows_tell = !self.dialect.has(Habit::NoPreemptedRows);
        [
            (Table::StateTransitions, true),
            (Table::Events, true),
            (Table::PerIterationRequests, rows_tell),
        ]
        .into_iter()
        .find(|(table, tells)| *tells && self.has(*table))
        .map(|(table, _)| table)
    }

    /// What the log does not allow to say.
    #[must_use]
    pub fn cannot_say(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut missing = |table: Table, what: &str| {
            if !self.has(table) {
                out.push(format!("{what}: {table} is not there or cannot be read"));
            }
        };
        missing(Table::PerRequest, "latencies and outcomes");
        missing(Table::PerIteration, "durations, batches, tokens and KV cache of steps");
        missing(Table::PerIterationRequests, "waiting reasons and queue positions");
        missing(Table::Events, "numbers of events; requests that no other file names");
        missing(Table::StateTransitions, "stays per state");
        self.missing_columns(&mut out);
        self.habits(&mut out);
        out
    }

    fn missing_columns(&self, out: &mut Vec<String>) {
        let cases = [
            (Table::PerRequest, "finish_reason", "aborted and failed apart from finished requests"),
            (Table::PerRequest, "recomputed_tokens", "tokens recomputed after preemptions"),
            (Table::PerRequest, "cached_tokens", "tokens found in the prefix cache"),
            (Table::PerRequest, "priority_score", "figures by priority"),
            (
                Table::PerIteration,
                "output_processing_duration",
                "the time for processing outputs apart from the rest",
            ),
            (
                Table::PerIterationRequests,
                "computed_tokens",
                "recomputation apart from prefill and decode (both include it)",
            ),
        ];
        for (table, column, what) in cases {
            if self.has(table) && !self.has_column(table, column) {
                out.push(format!("{what}: {table} has no column {column}"));
            }
        }
        if self.has(Table::PerRequest) && self.changes().is_none() {
            out.push("the parts of the latency: no file tells when states changed".to_owned());
        }
    }

    fn habits(&self, out: &mut Vec<String>) {
        let cases = [
            (
                Habit::BatchIsRunning,
                "the true batch size: batch_size is the running queue's length",
            ),
            (Habit::NoInitialRows, "why requests waited: waiting requests have no rows"),
            (Habit::NoPreemptedRows, "why preempted requests waited: they have no rows"),
            (
                Habit::EndsAtDecision,
                "the end of a step's output processing: end_time is the decision, so the end of \
                 the forward pass stands for the step's end",
            ),
        ];
        for (habit, what) in cases {
            if self.dialect.has(habit) {
                out.push(what.to_owned());
            }
        }
    }
}
