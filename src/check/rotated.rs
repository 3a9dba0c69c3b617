//! Logs of which the beginning is missing, as of files that are rotated.
//!
//! What stands in the part that is gone is told nowhere, and what is left contradicts itself only where it goes
//! on from there: in the first step, and in all that is told of requests that arrived before it. That is
//! damage, and no mistake of the logger.

use crate::check::finding::{Finding, Severity};
use crate::check::report::CheckReport;
use crate::log::beginning::{Rest, rest};
use crate::log::reader::{LogDir, LogDirError};

/// Whether a finding of a rule may be of what is missing.
fn explains(rest: &Rest, rule: &str, finding: &Finding) -> bool {
    let of_old = |id: &String| rest.old.contains(id);
    // Sums over all that was taken or that has arrived so far go on from what came before.
    let sums = || {
        let column = finding.primary.as_ref().and_then(|mark| mark.column);
        rule == "C010" || rule == "Q001" && column == Some("waiting_count")
    };
    match (&finding.request, finding.iteration) {
        (Some(request), _) => of_old(request) || finding.named.iter().any(of_old),
        (None, Some(step)) => match rest.last {
            Some(last) => step <= last || sums(),
            // Nothing tells how long requests that arrived before are counted.
            None => step == rest.first || rule.starts_with(['C', 'K', 'Q']),
        },
        (None, None) => rule.starts_with('C'),
    }
}

/// Makes damage of what follows from the missing beginning, and says so.
pub(super) fn excuse(dir: &LogDir, report: &mut CheckReport) -> Result<(), LogDirError> {
    let begins_late =
        |finding: &Finding| finding.expected.as_deref() == Some("0") && finding.severity.is_none();
    let steps = report.rule("M011").filter(|rule| rule.errors > 0);
    if !steps.is_some_and(|rule| rule.findings.first().is_some_and(begins_late)) {
        return Ok(());
    }
    let Some(rest) = rest(dir)? else { return Ok(()) };
    report.begins_late = true;
    for rule in &mut report.rules {
        let id = rule.rule.id;
        let is_error =
            |finding: &Finding| finding.severity.unwrap_or(rule.rule.severity) == Severity::Error;
        let kept = rule.findings.iter().filter(|finding| is_error(finding)).count() as u64;
        let explained: Vec<usize> = (0..rule.findings.len())
            .filter(|at| is_error(&rule.findings[*at]) && explains(&rest, id, &rule.findings[*at]))
            .collect();
        let mut count = explained.len() as u64;
        if count == kept && count > 0 {
            // Those that are not kept are of the same kinds.
            count = rule.errors;
        }
        rule.errors -= count;
        rule.damages += count;
        for at in explained {
            rule.findings[at].severity = Some(Severity::Damage);
        }
    }
    report.notes.push(format!(
        "the beginning of the log is missing, as of files that are rotated: it begins with iteration {}, and {} \
         requests arrived before. What the missing part would tell is not held against the log",
        rest.first,
        rest.old.len()
    ));
    Ok(())
}
