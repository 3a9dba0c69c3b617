//! Findings for programs: the versioned JSON report, described in docs/report-schema.md.
//!
//! `schema` names the version; members are only ever added within one version.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::check::{CheckReport, Finding, Mark, Outcome, RuleOutcome};
use crate::coverage::{Coverage, Dimension};
use crate::diagnose::{Group, Story, fingerprint, kind};
use crate::policy::{Accepted, Applied};
use crate::report::{Sheet, Suite};

/// The version of the JSON report.
pub const JSON_SCHEMA: &str = "schedlog.check/1";
/// The version of the JSON report on several logs.
pub const SUITE_SCHEMA: &str = "schedlog.check-suite/1";

#[derive(Serialize)]
struct Report<'a> {
    /// The version of this form.
    schema: &'static str,
    /// The directory as it was given.
    directory: String,
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
    /// The findings by root cause; those that follow from others are in no group of their own.
    groups: Vec<Together<'a>>,
    policy: Wanted<'a>,
    coverage: Option<BTreeMap<&'static str, Covered>>,
    /// What had to be exercised and was not, a sentence for each kind.
    uncovered: &'a [String],
}

/// What the user's policy did.
#[derive(Serialize)]
struct Wanted<'a> {
    config: Option<String>,
    /// Rules that were not run.
    not_run: Vec<&'static str>,
    /// Damage that rules of these would have found.
    ignored_damages: &'a BTreeMap<&'static str, u64>,
    severities: Vec<Level>,
    known_findings: Option<Known<'a>>,
}

#[derive(Serialize)]
struct Level {
    rule: &'static str,
    from: &'static str,
    to: &'static str,
}

/// Findings that a baseline knows; they are in no other member.
#[derive(Serialize)]
struct Known<'a> {
    baseline: String,
    r#match: &'static str,
    found: u64,
    by_rule: &'a BTreeMap<&'static str, u64>,
    /// Of these, findings beyond the first thousand of a rule, which are not told apart.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    by_number: &'a BTreeMap<&'static str, u64>,
    not_found_again: u64,
}

/// Findings of one rule that are alike.
#[derive(Serialize)]
struct Together<'a> {
    rule: &'static str,
    severity: &'static str,
    /// The message with `#` for values.
    shape: &'a str,
    /// Indexes into `findings`.
    findings: Vec<usize>,
    /// Indexes of what follows from them.
    consequences: Vec<usize>,
    causes: Vec<Why<'a>>,
    /// For the first findings, what the log says of their requests.
    timelines: Vec<Timeline>,
}

#[derive(Serialize)]
struct Why<'a> {
    id: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Timeline {
    /// The index of the finding.
    finding: usize,
    /// The moment of the finding, if it has one.
    at: Option<u64>,
    entries: Vec<Moment>,
    /// Rows that the contradicted value is made of.
    rows: Vec<Line>,
    /// How many such rows there are beyond those.
    more_rows: u64,
}

#[derive(Serialize)]
struct Moment {
    at: u64,
    what: &'static str,
    iteration: Option<u64>,
    finish_reason: Option<&'static str>,
    rows: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    file: &'static str,
    line: u64,
}

/// What was exercised of one kind.
#[derive(Serialize)]
struct Covered {
    /// How often each thing was seen.
    seen: BTreeMap<String, u64>,
    /// What was expected and not seen.
    missing: Vec<String>,
}

/// Several logs.
#[derive(Serialize)]
struct Several<'a> {
    schema: &'static str,
    /// The worst of the verdicts.
    verdict: &'static str,
    reports: Vec<Report<'a>>,
    /// Directories that could not be checked.
    unreadable: Vec<Unreadable<'a>>,
    /// What all logs together exercised.
    coverage: Option<BTreeMap<&'static str, Covered>>,
    /// What all logs together had to exercise and did not, a sentence for each kind.
    uncovered: &'a [String],
}

/// A directory that could not be checked.
#[derive(Serialize)]
struct Unreadable<'a> {
    directory: String,
    error: &'a str,
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
    file: Option<&'static str>,
    location: Option<Place<'a>>,
    related: Vec<Place<'a>>,
    /// What tells it from others where the run is recorded again.
    fingerprint: String,
    /// What it shares with those of its kind, in any run.
    kind: String,
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'static str,
    /// Counted from 1, the header.
    line: u64,
    column: Option<&'static str>,
    label: &'a str,
    /// The row.
    text: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn new(mark: &'a Mark, sheet: &'a Sheet<'_>) -> Self {
        let (file, line) = (mark.at.table.file_name(), mark.at.line);
        let text = sheet.diagnosis.excerpts.row(mark.at);
        Self { file, line, column: mark.column, label: &mark.label, text }
    }
}

/// Writes a report as JSON.
///
/// # Errors
/// What writing gives.
pub fn write_json(report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
    let applied = Applied::default();
    let sheets = [Sheet::new(report, &applied, None, true)];
    write_json_suite(&Suite { sheets: &sheets, ..Suite::default() }, out)
}

/// Writes one report as `schedlog.check/1`; several, or a directory that could not be checked, as
/// `schedlog.check-suite/1`.
///
/// # Errors
/// What writing gives.
pub fn write_json_suite(suite: &Suite<'_>, out: &mut dyn Write) -> io::Result<()> {
    match (suite.sheets, suite.unread) {
        ([sheet], []) => {
            let report = Report { uncovered: suite.uncovered, ..full(sheet) };
            serde_json::to_writer_pretty(&mut *out, &report)?;
        }
        (sheets, unread) => {
            let unreadable = unread.iter().map(|it| Unreadable {
                directory: it.directory.display().to_string(),
                error: &it.error,
            });
            let several = Several {
                schema: SUITE_SCHEMA,
                verdict: suite.verdict().as_str(),
                reports: sheets.iter().map(full).collect(),
                unreadable: unreadable.collect(),
                coverage: suite.together.map(covered),
                uncovered: suite.uncovered,
            };
            serde_json::to_writer_pretty(&mut *out, &several)?;
        }
    }
    writeln!(out)
}

fn full<'a>(sheet: &'a Sheet<'_>) -> Report<'a> {
    let report = sheet.report;
    let (errors, damages, warnings) = report.counts();
    let mut index = BTreeMap::new();
    for finding in report.rules.iter().flat_map(|rule| &rule.findings) {
        index.insert(std::ptr::from_ref(finding), index.len());
    }
    let of = |finding: &Finding| index.get(&std::ptr::from_ref(finding)).copied();
    Report {
        schema: JSON_SCHEMA,
        directory: report.directory.display().to_string(),
        verdict: report.verdict().as_str(),
        errors,
        damages,
        warnings,
        dialect: report.dialect.habits().map(|habit| habit.name()).collect(),
        overlapping_steps: report.overlapping,
        files: files(report),
        notes: &report.notes,
        rules: report.rules.iter().map(rule).collect(),
        findings: report
            .rules
            .iter()
            .flat_map(|rule| rule.findings.iter().map(|finding| found(rule, finding, sheet)))
            .collect(),
        groups: sheet.diagnosis.groups.iter().map(|group| together(group, &of)).collect(),
        policy: wanted(sheet.applied),
        coverage: sheet.coverage.map(covered),
        uncovered: &[],
    }
}

fn files(report: &CheckReport) -> Vec<File<'_>> {
    let file = |table: &'_ crate::check::TableSummary| table.table.file_name();
    report
        .tables
        .iter()
        .map(|table| File {
            table: file(table).trim_end_matches(".csv"),
            file: table.file.as_deref(),
            rows: table.rows,
        })
        .collect()
}

fn together<'a>(group: &'a Group<'_>, index: &dyn Fn(&Finding) -> Option<usize>) -> Together<'a> {
    let stories = group.findings.iter().zip(&group.stories);
    let timelines = stories.filter_map(|(finding, story)| {
        let story = story.as_ref()?;
        Some(timeline(index(finding)?, story))
    });
    Together {
        rule: group.rule().id,
        severity: group.severity.as_str(),
        shape: &group.shape,
        findings: group.findings.iter().filter_map(|finding| index(finding)).collect(),
        consequences: group
            .consequences
            .iter()
            .flat_map(|consequence| &consequence.findings)
            .filter_map(|finding| index(finding))
            .collect(),
        causes: group.causes.iter().map(|it| Why { id: it.id, text: &it.text }).collect(),
        timelines: timelines.collect(),
    }
}

fn timeline(finding: usize, story: &Story) -> Timeline {
    let line =
        |at: &crate::log::reader::Location| Line { file: at.table.file_name(), line: at.line };
    let entries = story.timeline.iter().map(|((at, kind), entry)| Moment {
        at: at.0,
        what: kind.as_str(),
        iteration: entry.iteration.map(|id| id.0),
        finish_reason: entry.finish.map(|finish| finish.as_str()),
        rows: entry.places.iter().map(line).collect(),
    });
    Timeline {
        finding,
        at: story.focus.map(|at| at.0),
        entries: entries.collect(),
        rows: story.rows.iter().map(line).collect(),
        more_rows: story.more_rows,
    }
}

fn wanted(applied: &Applied) -> Wanted<'_> {
    Wanted {
        config: applied.config.as_ref().map(|path| path.display().to_string()),
        not_run: applied.deselected.iter().map(|(id, _)| *id).collect(),
        ignored_damages: &applied.ignored,
        severities: applied
            .severities
            .iter()
            .map(|it| Level { rule: it.rule, from: it.from.as_str(), to: it.to.as_str() })
            .collect(),
        known_findings: applied.accepted.as_ref().map(known),
    }
}

fn known(accepted: &Accepted) -> Known<'_> {
    Known {
        baseline: accepted.path.display().to_string(),
        r#match: accepted.matching.as_str(),
        found: accepted.total(),
        by_rule: &accepted.by_rule,
        by_number: &accepted.by_number,
        not_found_again: accepted.stale,
    }
}

fn covered(coverage: &Coverage) -> BTreeMap<&'static str, Covered> {
    let of = |dimension: Dimension| Covered {
        seen: coverage.seen(dimension).into_iter().collect(),
        missing: coverage.missing(dimension),
    };
    Dimension::ALL.into_iter().map(|dimension| (dimension.name(), of(dimension))).collect()
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

fn found<'a>(rule: &RuleOutcome, finding: &'a Finding, sheet: &'a Sheet<'_>) -> Found<'a> {
    Found {
        rule: rule.rule.id,
        severity: finding.severity.unwrap_or(rule.rule.severity).as_str(),
        message: &finding.message,
        request: finding.request.as_deref(),
        iteration: finding.iteration.map(|id| id.0),
        expected: finding.expected.as_deref(),
        actual: finding.actual.as_deref(),
        file: finding.file.map(|table| table.file_name()),
        location: finding.primary.as_ref().map(|mark| Place::new(mark, sheet)),
        related: finding.related.iter().map(|mark| Place::new(mark, sheet)).collect(),
        fingerprint: fingerprint(rule.rule, finding),
        kind: kind(rule.rule, finding),
    }
}
