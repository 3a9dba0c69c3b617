//! The comparison as a rule's part of a check report: V001.

use crate::check::{CheckReport, Finding, Mark, Outcome, RuleOutcome};
use crate::conform::log::verdict::{LogDivergence, LogReport, LogVerdict};
use crate::invariants::conformance::V001;
use crate::log::reader::Location;

impl LogReport {
    /// Adds V001 to a check's report, and a note where nothing was compared, which the user asked for.
    pub fn join(&self, report: &mut CheckReport) {
        if let LogVerdict::Void(reason) = &self.verdict {
            report.notes.push(format!("V001: nothing was compared with the reference: {reason}"));
        }
        report.rules.push(self.as_rule());
    }

    /// What became of V001.
    #[must_use]
    pub fn as_rule(&self) -> RuleOutcome {
        let exercised = self.counts.decisions();
        let outcome = match &self.verdict {
            LogVerdict::Conforms => Outcome::Holds { exercised },
            LogVerdict::Diverges(_) => Outcome::Violated { count: self.diverged },
            LogVerdict::Void(reason) => Outcome::NotExercised { reason: reason.to_string() },
        };
        RuleOutcome {
            rule: &V001,
            outcome,
            exercised,
            findings: self.divergences.iter().map(finding).collect(),
            errors: self.diverged,
            damages: 0,
            warnings: 0,
        }
    }
}

fn finding(divergence: &LogDivergence) -> Finding {
    let mut finding = Finding::new("the reference scheduler decides otherwise");
    finding.iteration = Some(divergence.iteration);
    if let Some(first) = divergence.differences.first() {
        finding.message = format!("the reference scheduler decides otherwise: {}", first.field);
        finding.request.clone_from(&first.request);
        finding = finding.at_row(first.at).values(&first.reference, &first.logged);
        if first.at != divergence.iteration_row {
            finding.related.push(Mark {
                at: divergence.iteration_row,
                column: None,
                label: "the iteration".to_owned(),
            });
        }
    }
    finding
}

/// A place in the log as a person looks it up.
#[must_use]
pub fn location_text(at: Location) -> String {
    format!("{}:{}", at.table.file_name(), at.line)
}
