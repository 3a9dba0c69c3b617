//! Reports as JUnit XML: a suite for every log, a case for every rule.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::check::{Outcome, RuleOutcome};
use crate::diagnose::{Diagnosis, SHOWN_FINDINGS};
use crate::report::explain::about;
use crate::report::{Suite, visible};

/// Writes reports as JUnit XML.
///
/// Errors are failures, damage is an error, warnings are in the output of a case that passes. A
/// directory that could not be checked is an error, what was not covered is a failure.
///
/// # Errors
/// What writing gives.
pub fn write_junit(all: &Suite<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut report = Report::new("schedlog check");
    for sheet in all.sheets {
        let mut suite = TestSuite::new(sheet.report.directory.display().to_string());
        suite.add_property(("verdict", sheet.report.verdict().as_str()));
        if let Some(accepted) = &sheet.applied.accepted {
            suite.add_property(("known findings", accepted.total().to_string().as_str()));
        }
        for rule in &sheet.report.rules {
            suite.add_test_case(case(rule, &sheet.diagnosis));
        }
        for (id, name) in &sheet.applied.deselected {
            let mut status = TestCaseStatus::skipped();
            status.set_message("not run: deselected");
            suite.add_test_case(named(id, name, status));
        }
        report.add_test_suite(suite);
    }
    for unread in all.unread {
        let mut suite = TestSuite::new(unread.directory.display().to_string());
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("not checked").set_message(unread.error.as_str());
        suite.add_test_case(named("log", "can be checked", status));
        report.add_test_suite(suite);
    }
    if !all.uncovered.is_empty() {
        let mut suite = TestSuite::new("coverage");
        for text in all.uncovered {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("not covered").set_message(text.as_str());
            let kind = text.split(' ').next().unwrap_or_default();
            suite.add_test_case(named("coverage", kind, status));
        }
        report.add_test_suite(suite);
    }
    let text = report.to_string().map_err(io::Error::other)?;
    out.write_all(allowed(&text).as_bytes())
}

/// XML 1.0 without the characters that it has no way to write, escaped or not.
fn allowed(xml: &str) -> String {
    let is_allowed = |c: char| match c {
        '\t' | '\n' | '\r' => true,
        _ => c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'),
    };
    xml.chars().map(|c| if is_allowed(c) { c } else { '\u{fffd}' }).collect()
}

fn named(id: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(format!("{id} {name}"), status);
    case.set_classname("schedlog");
    case
}

fn case(rule: &RuleOutcome, diagnosis: &Diagnosis<'_>) -> TestCase {
    let (id, name) = (rule.rule.id, rule.rule.name);
    let status = match (&rule.outcome, rule.errors, rule.damages) {
        (Outcome::NotExercised { reason }, ..) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("not exercised: {reason}"));
            status
        }
        (_, 0, 0) => {
            let mut case = named(id, name, TestCaseStatus::success());
            if rule.warnings > 0 {
                case.set_system_out(findings(rule, diagnosis));
            }
            return case;
        }
        (_, errors, damages) => {
            let (kind, count, what) = match errors {
                0 => (NonSuccessKind::Error, damages, "damage"),
                _ => (NonSuccessKind::Failure, errors, "error"),
            };
            let mut status = TestCaseStatus::non_success(kind);
            let plural = if count == 1 { "" } else { "s" };
            status.set_type(what).set_message(format!("{count} {what}{plural}"));
            status.set_description(findings(rule, diagnosis));
            status
        }
    };
    named(id, name, status)
}

/// The first findings of a rule, and what is known of their cause.
fn findings(rule: &RuleOutcome, diagnosis: &Diagnosis<'_>) -> String {
    let mut lines = Vec::new();
    for finding in rule.findings.iter().take(SHOWN_FINDINGS) {
        let place = finding
            .primary
            .as_ref()
            .map(|mark| format!("{}:{}: ", mark.at.table.file_name(), mark.at.line));
        lines.push(format!("{}{}", place.unwrap_or_default(), visible(&finding.message)));
        lines.extend(about(finding).map(|about| format!("  {about}")));
    }
    if rule.findings.len() > SHOWN_FINDINGS {
        lines.push(format!("and {} more", rule.findings.len() - SHOWN_FINDINGS));
    }
    for group in &diagnosis.groups {
        if group.rule().id == rule.rule.id {
            let told = |text: &str| format!("likely cause: {}", visible(text));
            lines.extend(group.causes.iter().map(|cause| told(&cause.text)));
        } else if group.consequences.iter().any(|it| it.rule.id == rule.rule.id) {
            lines.push(format!("follows from {}", group.rule().id));
        }
    }
    lines.join("\n")
}
