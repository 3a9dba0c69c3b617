//! What a rule has at hand while it judges, and where its results go.

use crate::check::facts::LogFacts;
use crate::check::finding::{Finding, Severity};
use crate::log::ids::{IdTable, Ids, RequestKey};

/// Findings of one rule that are kept; all are counted.
const KEPT_FINDINGS: usize = 1_000;

/// The results of one rule.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often the rule compared something.
    pub exercised: u64,
    /// Findings of severity error.
    pub errors: u64,
    /// Findings of severity damage.
    pub damages: u64,
    /// Findings of severity warning.
    pub warnings: u64,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// Why the rule looked at nothing, if it knows.
    pub vacuous: Option<String>,
}

impl Tally {
    /// All findings, kept or not.
    #[must_use]
    pub const fn found(&self) -> u64 {
        self.errors + self.damages + self.warnings
    }
}

/// A rule's surroundings.
#[derive(Debug)]
pub struct Cx<'a> {
    /// What is known of the log as a whole.
    pub facts: &'a LogFacts,
    /// The texts of request ids.
    pub ids: &'a IdTable,
    pub(super) tally: &'a mut Tally,
    pub(super) severity: Severity,
}

impl Cx<'_> {
    /// Counts comparisons made.
    pub fn exercised(&mut self, count: usize) {
        self.tally.exercised += count as u64;
    }

    /// Counts one comparison; records the finding unless it holds.
    #[inline]
    pub fn expect(&mut self, holds: bool, finding: impl FnOnce(&IdTable) -> Finding) {
        self.tally.exercised += 1;
        if !holds {
            self.found(finding(self.ids));
        }
    }

    /// Records a finding.
    #[cold]
    pub fn found(&mut self, finding: Finding) {
        match finding.severity.unwrap_or(self.severity) {
            Severity::Error => self.tally.errors += 1,
            Severity::Damage => self.tally.damages += 1,
            Severity::Warning => self.tally.warnings += 1,
        }
        if self.tally.findings.len() < KEPT_FINDINGS {
            self.tally.findings.push(finding);
        }
    }

    /// Says why nothing was looked at, in case nothing will be.
    pub fn vacuous(&mut self, reason: impl Into<String>) {
        self.tally.vacuous = Some(reason.into());
    }

    /// The text of a request id.
    #[must_use]
    pub fn id(&self, key: RequestKey) -> &str {
        self.ids.id(key)
    }
}
