//! What is known of a log as a whole.

use crate::check::settings::LogSettings;
use crate::check::view::Moments;
use crate::log::dialect::Dialect;
use crate::log::reader::Location;
use crate::log::run_info::RunProblem;
use crate::log::schema::{Layout, Table};
use crate::log::values::LogLevel;
use crate::units::{IterationId, Nanos};

/// What is known of one file.
#[derive(Clone, Debug, Default)]
pub struct TableFacts {
    /// Whether it can be read.
    pub usable: bool,
    /// Where its columns stand.
    pub layout: Option<Layout>,
    /// Rows read so far.
    pub rows: u64,
    /// Rows lost so far that may be anybody's.
    pub blind: bool,
    /// Rows lost so far, whoever's.
    pub lost: bool,
    /// Whether its end is cut.
    pub truncated: bool,
    /// Whether its last row was read.
    pub exhausted: bool,
    /// The latest moment that it has told of so far.
    pub last_moment: Option<Nanos>,
}

/// What is known of the log while it is read.
#[derive(Clone, Debug, Default)]
pub struct LogFacts {
    /// The scheduler's settings.
    pub settings: LogSettings,
    /// How the log is written.
    pub dialect: Dialect,
    /// Whether steps overlap, or nothing tells that they do not, so that only the weaker order holds.
    pub overlapping: bool,
    /// How much two readings of one moment may differ, if the log reads its clock more than once.
    pub skew: Option<Nanos>,
    /// Whether the engine is a reference model rather than a real one.
    pub modelled: bool,
    /// Whether the log is a replay of a trace, which goes on until nothing is left.
    pub replayed: bool,
    /// How much the log says it has.
    pub log_level: Option<LogLevel>,
    /// The level that run.json names.
    pub declared_level: Option<LogLevel>,
    /// Whether the log ends without a shutdown: requests are alive, and no row says so. Known only
    /// when requests that are still alive at the end are judged.
    pub killed: bool,
    /// The latest `D` of the steps read so far.
    pub last_decided: Option<Nanos>,
    /// Whether per_iteration_requests.csv ends before per_iteration.csv, or inside a step.
    pub rows_end_early: bool,
    /// The moments of the last step read so far.
    pub last_step: Option<Moments>,
    /// What is wrong with run.json.
    pub run_problems: Vec<RunProblem>,
    /// Whether there is a run.json.
    pub has_run_info: bool,
    /// Per table.
    pub tables: [TableFacts; 5],
}

impl LogFacts {
    /// What is known of a file.
    #[must_use]
    pub const fn table(&self, table: Table) -> &TableFacts {
        &self.tables[table as usize]
    }

    /// Whether the file can be read.
    #[must_use]
    pub const fn has(&self, table: Table) -> bool {
        self.table(table).usable
    }

    /// Whether the file has the column.
    #[must_use]
    pub fn has_column(&self, table: Table, name: &str) -> bool {
        let facts = self.table(table);
        let column = table.schema().column(name);
        facts.usable
            && column.is_some_and(|c| facts.layout.as_ref().is_some_and(|layout| layout.has(c)))
    }

    /// Whether a missing row of this file means something: it can be read and no row was lost
    /// whose owner is unknown.
    #[must_use]
    pub const fn complete(&self, table: Table) -> bool {
        let facts = self.table(table);
        facts.usable && !facts.blind && !facts.truncated
    }

    /// Whether every row of this file could be read so far, so that rows can be counted.
    #[must_use]
    pub const fn whole(&self, table: Table) -> bool {
        self.complete(table) && !self.table(table).lost
    }

    /// Whether a row of this moment must be in the file: it is [complete](Self::complete) and goes
    /// on behind the moment. At its very last moment a file may have been cut between two rows.
    #[must_use]
    pub fn covers(&self, table: Table, moment: Nanos) -> bool {
        let facts = self.table(table);
        self.complete(table) && (!facts.exhausted || facts.last_moment > Some(moment))
    }

    /// The last step of the log if steps in flight at its end may have no rows: where steps overlap,
    /// once all of per_iteration.csv is read.
    #[must_use]
    pub fn last_before_the_cut(&self) -> Option<Moments> {
        self.last_step.filter(|_| self.overlapping && self.table(Table::PerIteration).exhausted)
    }

    /// Whether per_iteration_requests.csv has all rows of a request that ended at this moment, those
    /// of steps in flight then included.
    #[must_use]
    pub fn tells_all_until(&self, end: Nanos) -> bool {
        let in_flight = self.overlapping && self.last_decided < Some(end);
        self.reaches(Table::PerIterationRequests, end) && !in_flight
    }

    /// Whether the file tells of this moment, be it its last.
    #[must_use]
    pub fn reaches(&self, table: Table, moment: Nanos) -> bool {
        self.complete(table) && self.table(table).last_moment >= Some(moment)
            || self.covers(table, moment)
    }
}

/// How the log ended.
#[derive(Clone, Debug, Default)]
pub struct LogEnd {
    /// The last iteration of per_iteration.csv.
    pub last_iteration: Option<IterationId>,
    /// Where its row stands.
    pub last_iteration_at: Option<Location>,
    /// When it ended.
    pub last_end_time: Option<Nanos>,
    /// The last iteration of per_iteration_requests.csv.
    pub last_group: Option<IterationId>,
    /// Where its last row stands.
    pub last_group_at: Option<Location>,
    /// When that step ended.
    pub last_group_end: Option<Nanos>,
    /// The latest completion in per_request.csv.
    pub last_completion: Option<Nanos>,
    /// The latest event.
    pub last_event: Option<Nanos>,
    /// Rows `unfinished` in per_request.csv.
    pub unfinished: u64,
    /// The latest completion in state_transitions.csv. Its rows are grouped by request in order of
    /// completion, so the file tells of every request that was over before.
    pub last_end_change: Option<Nanos>,
    /// Requests that were alive at the end and have no row in per_request.csv.
    pub cut_off: u64,
}
