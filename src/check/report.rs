//! The result of a check, before it is rendered.

use std::path::PathBuf;

use crate::check::context::Tally;
use crate::check::declare::Declaration;
use crate::check::finding::{Finding, Severity};
use crate::check::settings::LogSettings;
use crate::log::dialect::Dialect;
use crate::log::run_info::Producer;
use crate::log::schema::Table;

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It looked at something and all of it holds.
    Holds {
        /// How often it compared something.
        exercised: u64,
    },
    /// It found contradictions.
    Violated {
        /// How many.
        count: u64,
    },
    /// It looked at nothing.
    NotExercised {
        /// Why.
        reason: String,
    },
}

/// One rule's part of a report.
#[derive(Debug)]
pub struct RuleOutcome {
    /// The rule.
    pub rule: &'static Declaration,
    /// What became of it.
    pub outcome: Outcome,
    /// How often it compared something.
    pub exercised: u64,
    /// The first findings, at most a thousand.
    pub findings: Vec<Finding>,
    /// Findings of severity error.
    pub errors: u64,
    /// Findings of severity damage.
    pub damages: u64,
    /// Findings of severity warning.
    pub warnings: u64,
}

impl RuleOutcome {
    pub(super) fn new(rule: &'static Declaration, tally: Tally) -> Self {
        let count = tally.found();
        let outcome = if count > 0 {
            Outcome::Violated { count }
        } else if tally.exercised > 0 {
            Outcome::Holds { exercised: tally.exercised }
        } else {
            let nothing = || "the log has nothing that the rule is about".to_owned();
            Outcome::NotExercised { reason: tally.vacuous.unwrap_or_else(nothing) }
        };
        Self {
            rule,
            outcome,
            exercised: tally.exercised,
            findings: tally.findings,
            errors: tally.errors,
            damages: tally.damages,
            warnings: tally.warnings,
        }
    }

    /// The number of findings of a severity.
    pub(crate) const fn count_mut(&mut self, severity: Severity) -> &mut u64 {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Damage => &mut self.damages,
            Severity::Warning => &mut self.warnings,
        }
    }

    pub(super) fn skipped(rule: &'static Declaration, reason: String) -> Self {
        Self::new(rule, Tally { vacuous: Some(reason), ..Tally::default() })
    }
}

/// The verdict on a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing was found, but for warnings.
    Clean,
    /// Parts are missing or unreadable; what is left holds.
    Damaged,
    /// The log contradicts itself or its settings.
    Violated,
}

impl Verdict {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Damaged => "damaged",
            Self::Violated => "violated",
        }
    }

    /// The exit code of `check`.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Violated => 1,
            Self::Damaged => 2,
        }
    }
}

/// One file's part of a report.
#[derive(Clone, Debug)]
pub struct TableSummary {
    /// The table.
    pub table: Table,
    /// The file's name; none if it is not there.
    pub file: Option<String>,
    /// Rows read.
    pub rows: u64,
}

/// The result of a check.
#[derive(Debug)]
pub struct CheckReport {
    /// The directory.
    pub directory: PathBuf,
    /// Who wrote the log, if it says so.
    pub producer: Option<Producer>,
    /// How it is written.
    pub dialect: Dialect,
    /// Whether steps overlap.
    pub overlapping: bool,
    /// The settings that the rules used.
    pub settings: LogSettings,
    /// Its files.
    pub tables: Vec<TableSummary>,
    /// Notes about the log that are no findings.
    pub notes: Vec<String>,
    /// Whether the beginning of the log is missing; errors that follow from it are damage.
    pub begins_late: bool,
    /// Every rule, in the order of the registry.
    pub rules: Vec<RuleOutcome>,
}

impl CheckReport {
    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.rules.iter().any(|rule| rule.errors > 0) {
            Verdict::Violated
        } else if self.rules.iter().any(|rule| rule.damages > 0) {
            Verdict::Damaged
        } else {
            Verdict::Clean
        }
    }

    /// How many findings of severity error, damage and warning there are.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        self.rules.iter().fold((0, 0, 0), |(errors, damages, warnings), rule| {
            (errors + rule.errors, damages + rule.damages, warnings + rule.warnings)
        })
    }

    /// A rule's part, by id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&RuleOutcome> {
        self.rules.iter().find(|outcome| outcome.rule.id == id)
    }
}
