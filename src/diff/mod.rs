//! Two logs compared by meaning: what was decided, then how much, then when.
//!
//! Rows are read as the log's rows, not as text: column order, line ends, compression and columns
//! that only one side has make no difference. Decisions come first because a different decision
//! explains every count and time behind it.

mod classes;
mod report;
mod stream;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

pub use classes::Class;
pub use report::render;

use crate::log::reader::{LogDir, LogDirError};
use crate::log::schema::Table;
use crate::units::Nanos;

/// What counts as different.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiffOptions {
    /// Times that are no further apart are the same.
    pub time_tolerance: Nanos,
    /// Whether times are not compared at all.
    pub ignore_times: bool,
}

/// One field in which two rows differ; a missing row differs in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDifference {
    /// The column.
    pub column: &'static str,
    /// What the golden log says.
    pub golden: String,
    /// What the new log says.
    pub new: String,
}

/// A row of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its line in the file.
    pub line: u64,
    /// Its text with all columns.
    pub text: String,
}

/// The first place at which two logs differ in one class, and how much follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What kind of columns differ.
    pub class: Class,
    /// The file.
    pub table: Table,
    /// The golden row; none if only the new log has one here.
    pub golden: Option<Side>,
    /// The new row; none if only the golden log has one here.
    pub new: Option<Side>,
    /// The fields; empty where a row is missing.
    pub fields: Vec<FieldDifference>,
    /// The rows just before, the same on both sides.
    pub before: Vec<String>,
    /// Rows of this file that differ in this class, this one included.
    pub rows: u64,
}

/// What is different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffReport {
    /// Settings that differ, `name: golden -> new`.
    pub settings: Vec<String>,
    /// For the weightiest class in which the logs differ: the first difference of each file, the one
    /// that happened first before the others.
    pub differences: Vec<Difference>,
    /// Rows compared.
    pub rows: u64,
}

impl DiffReport {
    /// Whether the logs say the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Why two logs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A side is not a log.
    #[error(transparent)]
    Log(#[from] LogDirError),
    /// A file cannot be read as what it should be.
    #[error("{path}: {problem}; `schedlog check` says more")]
    Form {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

/// Compares the log in `new` with the one in `golden`.
///
/// # Errors
/// If a side is not a log, or a file of it is damaged.
pub fn diff_dirs(golden: &Path, new: &Path, options: DiffOptions) -> Result<DiffReport, DiffError> {
    let (golden, new) = (LogDir::open(golden)?, LogDir::open(new)?);
    let mut report = DiffReport { settings: settings(&golden, &new), ..DiffReport::default() };
    for class in Class::ALL {
        if class == Class::Time && options.ignore_times {
            continue;
        }
        let walked = walk::compare(&golden, &new, class, options)?;
        report.rows = walked.rows;
        if !walked.differences.is_empty() {
            report.differences = walked.differences;
            break;
        }
    }
    Ok(report)
}

/// Settings that `run.json` tells differently.
fn settings(golden: &LogDir, new: &LogDir) -> Vec<String> {
    let (Some(golden), Some(new)) = (&golden.run_info, &new.run_info) else { return Vec::new() };
    let (mut old, mut now) = (BTreeMap::new(), BTreeMap::new());
    golden.config.iter().for_each(|(name, value)| flatten(name, value, &mut old));
    new.config.iter().for_each(|(name, value)| flatten(name, value, &mut now));
    let names: BTreeSet<_> = old.keys().chain(now.keys()).collect();
    let text = |value: Option<&String>| value.map_or("not set", String::as_str).to_owned();
    names
        .into_iter()
        .map(|name| (name, old.get(name), now.get(name)))
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("{name}: {} -> {}", text(old), text(new)))
        .collect()
}

/// The members of nested settings under names with points.
fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                flatten(&format!("{name}.{member}"), value, into);
            }
        }
        value => drop(into.insert(name.to_owned(), value.to_string())),
    }
}
