//! Findings for people: each with the rows that contradict one another.

use std::io::{self, Write};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::check::{CheckReport, Finding, Mark, Outcome, RuleOutcome, Severity};
use crate::log::reader::LogDir;
use crate::report::excerpt::Excerpts;

/// Findings of one rule that are shown unless all are asked for.
const SHOWN_FINDINGS: usize = 3;

/// How a report is shown.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// With colours.
    pub color: bool,
    /// Every finding that was kept, not the first three of each rule.
    pub all: bool,
    /// Also what became of every rule.
    pub rules: bool,
    /// The width of the terminal.
    pub width: usize,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { color: false, all: false, rules: false, width: 140 }
    }
}

/// Writes a report as text.
///
/// # Errors
/// What writing gives.
pub fn write_text(
    report: &CheckReport,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let excerpts = load(report, options);
    let renderer = if options.color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(options.width);
    for rule in &report.rules {
        for finding in shown(rule, options) {
            write_finding(rule, finding, &excerpts, &renderer, out)?;
        }
        let total = rule.errors + rule.damages + rule.warnings;
        let left = total - shown(rule, options).len() as u64;
        if left > 0 {
            writeln!(out, "{}: {left} more of this rule (--all lists them)\n", rule.rule.id)?;
        }
    }
    write_summary(report, options, out)
}

fn shown<'a>(rule: &'a RuleOutcome, options: &TextOptions) -> &'a [Finding] {
    let limit = if options.all { rule.findings.len() } else { SHOWN_FINDINGS };
    &rule.findings[..rule.findings.len().min(limit)]
}

fn load(report: &CheckReport, options: &TextOptions) -> Excerpts {
    // The directory was read a moment ago; if it is gone the findings stand without their rows.
    let Ok(dir) = LogDir::open(&report.directory) else { return Excerpts::default() };
    let marks = report
        .rules
        .iter()
        .flat_map(|rule| shown(rule, options))
        .flat_map(|finding| finding.primary.iter().chain(&finding.related));
    Excerpts::load(&dir, marks.map(|mark| mark.at))
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Warning => Level::WARNING,
        Severity::Damage => Level::ERROR.with_name("damage"),
        Severity::Error => Level::ERROR,
    }
}

fn write_finding(
    rule: &RuleOutcome,
    finding: &Finding,
    excerpts: &Excerpts,
    renderer: &Renderer,
    out: &mut dyn Write,
) -> io::Result<()> {
    let severity = finding.severity.unwrap_or(rule.rule.severity);
    let title = level(severity).primary_title(visible(&finding.message)).id(rule.rule.id);
    let mut group = Group::with_title(title);
    let marks = finding.primary.iter().map(|mark| (mark, true));
    for (mark, primary) in marks.chain(finding.related.iter().map(|mark| (mark, false))) {
        group = match snippet(finding, mark, primary, excerpts) {
            Some(snippet) => group.element(snippet),
            None => group.element(
                annotate_snippets::Origin::path(mark.at.table.file_name())
                    .line(usize::try_from(mark.at.line).unwrap_or(usize::MAX)),
            ),
        };
    }
    if let Some(about) = about(finding) {
        group = group.element(Level::NOTE.message(about));
    }
    let help = format!("{}; see `schedlog explain {}`", rule.rule.name, rule.rule.id);
    group = group.element(Level::HELP.message(help));
    writeln!(out, "{}\n", renderer.render(&[group]))
}

fn snippet<'a>(
    finding: &Finding,
    mark: &Mark,
    primary: bool,
    excerpts: &'a Excerpts,
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let row = excerpts.row(mark.at)?;
    let span = mark.column.and_then(|column| excerpts.span(mark.at, column));
    let span = span.unwrap_or(0..row.len());
    let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    let label = match (mark.column, &finding.expected, mark.label.as_str()) {
        (Some(column), Some(expected), "") => format!("{column}: expected {expected}"),
        (Some(column), None, "") => column.to_owned(),
        (None, _, label) => label.to_owned(),
        (Some(column), _, label) => format!("{column}: {label}"),
    };
    let line = usize::try_from(mark.at.line).unwrap_or(usize::MAX);
    let annotation = kind.span(span).label(visible(&label));
    Some(
        Snippet::source(row)
            .line_start(line)
            .path(mark.at.table.file_name())
            .annotation(annotation),
    )
}

/// Which request and iteration it is about, and both values.
fn about(finding: &Finding) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(request) = &finding.request {
        parts.push(format!("request {}", visible(request)));
    }
    if let Some(iteration) = finding.iteration {
        parts.push(format!("iteration {iteration}"));
    }
    if let Some(expected) = &finding.expected {
        parts.push(format!("expected {}", visible(expected)));
    }
    if let Some(actual) = &finding.actual {
        parts.push(format!("found {}", visible(actual)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Text of the log without what could steer a terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn write_summary(
    report: &CheckReport,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    for table in &report.tables {
        match &table.file {
            Some(file) => writeln!(out, "{file:<30} {:>12} rows", table.rows)?,
            None => writeln!(out, "{:<30} not there", table.table.file_name())?,
        }
    }
    let habits: Vec<_> = report.dialect.habits().map(|habit| habit.name()).collect();
    let dialect = if habits.is_empty() { "reference".to_owned() } else { habits.join(", ") };
    let steps = if report.overlapping { ", overlapping steps" } else { "" };
    writeln!(out, "dialect: {dialect}{steps}")?;
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out)?;
    if options.rules {
        for rule in &report.rules {
            write_rule(rule, out)?;
        }
        writeln!(out)?;
    }
    let count = |wanted: fn(&Outcome) -> bool| {
        report.rules.iter().filter(|rule| wanted(&rule.outcome)).count()
    };
    let holds = count(|outcome| matches!(outcome, Outcome::Holds { .. }));
    let violated = count(|outcome| matches!(outcome, Outcome::Violated { .. }));
    let idle = count(|outcome| matches!(outcome, Outcome::NotExercised { .. }));
    writeln!(out, "rules: {holds} hold, {violated} with findings, {idle} not exercised")?;
    let (errors, damages, warnings) = report.counts();
    writeln!(
        out,
        "verdict: {} ({errors} errors, {damages} damages, {warnings} warnings)",
        report.verdict().as_str()
    )
}

fn write_rule(rule: &RuleOutcome, out: &mut dyn Write) -> io::Result<()> {
    let (id, name) = (rule.rule.id, rule.rule.name);
    match &rule.outcome {
        Outcome::Holds { exercised } => {
            writeln!(out, "{id} {name:<34} holds          {exercised} comparisons")
        }
        Outcome::Violated { count } => {
            writeln!(out, "{id} {name:<34} violated       {count} findings")
        }
        Outcome::NotExercised { reason } => {
            writeln!(out, "{id} {name:<34} not exercised  {reason}")
        }
    }
}
