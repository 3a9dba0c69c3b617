//! The comparison as a rule's part of a check report: V001.

use crate::check::{CheckReport, Finding, Mark, Outcome, RuleOutcome, Severity};
use crate::conform::log::verdict::{LogDivergence, LogReport, LogVerdict};
use crate::invariants::conformance::V001;
use crate::log::reader::Location;

impl LogReport {
    /// Adds V001 to a check's report.
    pub fn join(&self, report: &mut CheckReport) {
        report.notes.extend(self.nothing_to_compare());
        report.rules.push(self.as_rule());
    }

    /// Why there is nothing to compare in a log in which nothing is missing.
    fn nothing_to_compare(&self) -> Option<String> {
        match &self.verdict {
            LogVerdict::Void(reason) if reason.is_of_whole_logs() => {
                Some(format!("nothing was compared with the reference: {reason}"))
            }
            _ => None,
        }
    }

    /// What became of V001. Whoever has it judged asked for a comparison: what keeps it from being a whole
    /// one is a finding of severity damage, as `schedlog conform` ends with the same exit code. A log that has
    /// nothing to compare is not damaged for that.
    #[must_use]
    pub fn as_rule(&self) -> RuleOutcome {
        if let Some(reason) = self.nothing_to_compare() {
            return RuleOutcome {
                rule: &V001,
                outcome: Outcome::NotExercised { reason },
                exercised: 0,
                findings: Vec::new(),
                errors: 0,
                damages: 0,
                warnings: 0,
            };
        }
        let exercised = self.counts.decisions();
        let lacking = self.not_compared();
        let damages = lacking.len() as u64;
        let outcome = match self.diverged + damages {
            0 => Outcome::Holds { exercised },
            count => Outcome::Violated { count },
        };
        RuleOutcome {
            rule: &V001,
            outcome,
            exercised,
            findings: self.divergences.iter().map(finding).chain(lacking).collect(),
            errors: self.diverged,
            damages,
            warnings: 0,
        }
    }

    /// What was not compared, or not as it was written.
    fn not_compared(&self) -> Vec<Finding> {
        let mut lacking = Vec::new();
        if let LogVerdict::Void(reason) = &self.verdict {
            lacking
                .push(Finding::new(format!("nothing was compared with the reference: {reason}")));
        }
        for damage in &self.damage {
            lacking.push(Finding::new(format!(
                "what was compared with the reference may be wrong, as a file is damaged: {damage}"
            )));
        }
        if let Some(at) = self.second_run {
            let message = "a second run begins here, which was not compared with the reference: split \
                           the files";
            lacking.push(Finding::new(message).at_row(at));
        }
        lacking.into_iter().map(|finding| finding.as_severity(Severity::Damage)).collect()
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
