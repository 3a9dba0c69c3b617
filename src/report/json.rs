//! Findings for programs: the versioned JSON report.
//!
//! `schema` names the version; members are only ever added within one version.

use std::io::{self, Write};

use serde::Serialize;

use crate::check::{CheckReport, Finding, Mark, Outcome, RuleOutcome};

/// The version of the JSON report.
pub const JSON_SCHEMA: &str = "schedlog.check/1";

#[derive(Serialize)]
struct Report<'a> {
    /// The version of this form.
    schema: &'static str,
    /// `clean`, `violated` or `damaged`.
    verdict: &'static str,
    errors: u64,
    damages: u64,
    warnings: u64,
    /// Habits of the log that differ from the reference format.
    dialect: Vec<&'static str>,
    overlapping_steps: bool,
    files: Vec<File<'a>>,
    notes: &'a [String],
    rules: Vec<Rule>,
    findings: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    table: &'static str,
    /// The file's name, or null if it is not there.
    file: Option<&'a str>,
    rows: u64,
}

#[derive(Serialize)]
struct Rule {
    id: &'static str,
    name: &'static str,
    /// `holds`, `violated` or `not_exercised`.
    outcome: &'static str,
    /// How often the rule compared something.
    exercised: u64,
    /// How many findings there are; `findings` lists the first thousand of each rule.
    findings: u64,
    /// Why the rule looked at nothing.
    reason: Option<String>,
}

#[derive(Serialize)]
struct Found<'a> {
    rule: &'static str,
    severity: &'static str,
    message: &'a str,
    request: Option<&'a str>,
    iteration: Option<u64>,
    expected: Option<&'a str>,
    actual: Option<&'a str>,
    location: Option<Place<'a>>,
    related: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'static str,
    /// Counted from 1, the header.
    line: u64,
    column: Option<&'static str>,
    label: &'a str,
}

impl<'a> Place<'a> {
    fn new(mark: &'a Mark) -> Self {
        let (file, line) = (mark.at.table.file_name(), mark.at.line);
        Self { file, line, column: mark.column, label: &mark.label }
    }
}

/// Writes a report as JSON.
///
/// # Errors
/// What writing gives.
pub fn write_json(report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
    let (errors, damages, warnings) = report.counts();
    let json = Report {
        schema: JSON_SCHEMA,
        verdict: report.verdict().as_str(),
        errors,
        damages,
        warnings,
        dialect: report.dialect.habits().map(|habit| habit.name()).collect(),
        overlapping_steps: report.overlapping,
        files: report
            .tables
            .iter()
            .map(|table| File {
                table: table.table.file_name().trim_end_matches(".csv"),
                file: table.file.as_deref(),
                rows: table.rows,
            })
            .collect(),
        notes: &report.notes,
        rules: report.rules.iter().map(rule).collect(),
        findings: report
            .rules
            .iter()
            .flat_map(|rule| rule.findings.iter().map(|finding| found(rule, finding)))
            .collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &json)?;
    writeln!(out)
}

fn rule(rule: &RuleOutcome) -> Rule {
    let (outcome, reason) = match &rule.outcome {
        Outcome::Holds { .. } => ("holds", None),
        Outcome::Violated { .. } => ("violated", None),
        Outcome::NotExercised { reason } => ("not_exercised", Some(reason.clone())),
    };
    Rule {
        id: rule.rule.id,
        name: rule.rule.name,
        outcome,
        exercised: rule.exercised,
        findings: rule.errors + rule.damages + rule.warnings,
        reason,
    }
}

fn found<'a>(rule: &RuleOutcome, finding: &'a Finding) -> Found<'a> {
    Found {
        rule: rule.rule.id,
        severity: finding.severity.unwrap_or(rule.rule.severity).as_str(),
        message: &finding.message,
        request: finding.request.as_deref(),
        iteration: finding.iteration.map(|id| id.0),
        expected: finding.expected.as_deref(),
        actual: finding.actual.as_deref(),
        location: finding.primary.as_ref().map(Place::new),
        related: finding.related.iter().map(Place::new).collect(),
    }
}
