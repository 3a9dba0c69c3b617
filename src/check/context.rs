//! What a rule has at hand while it judges, and where its results go.

use crate::check::facts::LogFacts;
use crate::check::finding::{Finding, Severity};
use crate::check::skew::Skew;
use crate::log::dialect::Compared;
use crate::log::ids::{IdTable, Ids, RequestKey};
use crate::log::reader::Location;
use crate::units::Nanos;

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
    /// What the rule tells of the log that is no finding.
    pub notes: Vec<String>,
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
    /// Small differences of moments, of all rules together.
    pub skew: &'a mut Skew,
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

    /// Whether two readings of one moment are the same, or differ by no more than the log's clock
    /// readings do. `readings` is how many of them may add up in the difference.
    #[inline]
    pub fn agree(&mut self, expected: Nanos, actual: Nanos, readings: u64, at: Location) -> bool {
        self.skew.compared += 1;
        expected == actual || self.is_skew(expected, actual, readings, at)
    }

    /// As [`agree`](Self::agree), unless what is compared is known to differ by times inside of steps:
    /// those are no readings of the clock.
    #[inline]
    pub fn agree_on(
        &mut self,
        what: Compared,
        expected: Nanos,
        actual: Nanos,
        readings: u64,
        at: Location,
    ) -> bool {
        if expected != actual && self.facts.dialect.mistaken.contains(&what) {
            self.skew.compared += 1;
            return false;
        }
        self.agree(expected, actual, readings, at)
    }

    /// Counts readings that are the same.
    pub fn agreed(&mut self, count: usize) {
        self.skew.compared += count as u64;
    }

    /// Whether a moment is not before another, but for the log's clock readings.
    #[inline]
    pub fn follows(&mut self, earlier: Nanos, later: Nanos, at: Location) -> bool {
        self.skew.compared += 1;
        earlier <= later || self.is_skew(earlier, later, 1, at)
    }

    #[cold]
    fn is_skew(&mut self, one: Nanos, other: Nanos, readings: u64, at: Location) -> bool {
        let Some(bound) = self.facts.skew else { return false };
        let difference = Nanos(one.0.abs_diff(other.0));
        let small = difference.0 <= bound.0.saturating_mul(readings.max(1));
        if small {
            self.skew.note(difference, at);
        }
        small
    }

    /// How much two readings of one moment may differ; 0 in a log that reads its clock once.
    #[must_use]
    pub fn slack(&self) -> Nanos {
        self.facts.skew.unwrap_or(Nanos::ZERO)
    }

    /// Whether requests of one arrival came at one moment: what came within the clock's readings may have come
    /// in any order.
    #[must_use]
    pub fn knows_order(&self) -> bool {
        self.slack() == Nanos::ZERO && !self.facts.dialect.is_coarse
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

    /// Tells of the log what is no finding: what it does not say, so that nobody can judge it.
    pub fn note(&mut self, note: impl Into<String>) {
        self.tally.notes.push(note.into());
    }

    /// The text of a request id.
    #[must_use]
    pub fn id(&self, key: RequestKey) -> &str {
        self.ids.id(key)
    }
}
