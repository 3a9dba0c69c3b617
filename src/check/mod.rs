//! Judging a log: one streaming pass over its five files, every rule fed from it.
//!
//! The [`driver`] reads and gathers; a rule ([`invariant::Invariant`]) judges what it is shown and
//! keeps no copy of it. Memory is proportional to the requests alive at a time. This module and the
//! rules never look at the scheduler model: a mistake there must not blind them.

mod changes;
mod context;
mod cut;
mod declare;
mod doubled;
mod driver;
mod ends;
mod facts;
mod finding;
mod gather;
mod group;
mod history;
mod invariant;
mod live;
mod living;
mod repeats;
mod report;
mod room;
mod rotated;
pub(crate) mod runs;
mod settings;
mod skew;
mod speculation;
mod view;

pub use changes::ToldChange;
pub use context::{Cx, Tally};
pub(crate) use declare::declare_invariant;
pub use declare::{Declaration, Reads};
pub use facts::{LogEnd, LogFacts, TableFacts};
pub use finding::{Finding, Mark, Severity};
pub use history::{Phase, RequestHistory, Span, Totals};
pub use invariant::Invariant;
pub use live::{LiveCheck, NewFinding, Observer};
pub use living::{Alive, Living};
pub use report::{CheckReport, Outcome, RuleOutcome, TableSummary, Verdict};
pub use room::Room;
pub use settings::{DraftMethod, LogSettings, Setting};
pub use skew::Skew;
pub use speculation::Speculation;
pub use view::{IterationView, Moments, RowView, Rows};

use std::path::Path;

use crate::log::dialect::DEFAULT_SKEW_BOUND;
use crate::log::reader::{LogDir, LogDirError};
use crate::units::Nanos;

/// What a check may be told.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Settings that the log does not tell, or tells wrongly.
    pub settings: LogSettings,
    /// Settings for a log that does not tell them; what it tells counts more.
    pub fallback: LogSettings,
    /// How much two readings of one moment may differ in a log that reads its clock more than once;
    /// 0 takes every difference for a mistake.
    pub skew_bound: Nanos,
    /// Whether every row is shown to every rule, also those about which no rule has anything to say.
    /// What comes out is the same; it takes longer.
    pub every_row: bool,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            settings: LogSettings::default(),
            fallback: LogSettings::default(),
            skew_bound: DEFAULT_SKEW_BOUND,
            every_row: false,
        }
    }
}

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The directory is not a log, or cannot be read.
    #[error(transparent)]
    Log(#[from] LogDirError),
}

/// Checks the log in a directory with every rule.
///
/// # Errors
/// If the directory is not a log or a file in it cannot be opened; whatever is wrong *in* the files
/// is part of the report.
pub fn check_dir(path: &Path, options: &CheckOptions) -> Result<CheckReport, CheckError> {
    check_dir_with(path, options, crate::invariants::ALL)
}

/// Checks the log in a directory with these rules.
///
/// # Errors
/// As [`check_dir`].
pub fn check_dir_with(
    path: &Path,
    options: &CheckOptions,
    rules: &[&'static Declaration],
) -> Result<CheckReport, CheckError> {
    let dir = LogDir::open(path)?;
    let mut report = driver::run(&dir, options, rules)?;
    rotated::excuse(&dir, &mut report)?;
    Ok(report)
}

/// Whether these rules find no error and no damage in a log. It ends with the first, so that to find one takes
/// less than a report.
///
/// # Errors
/// As [`check_dir`].
pub(crate) fn is_clean(
    dir: &LogDir,
    options: &CheckOptions,
    rules: &[&'static Declaration],
) -> Result<bool, CheckError> {
    driver::is_clean(dir, options, rules)
}
