//! The findings that the page shows: with their rows and their place in time.

use std::ops::Range;

use crate::check::{CheckReport, Finding, Mark, RuleOutcome, Severity};
use crate::diagnose::Excerpts;
use crate::log::reader::LogDir;
use crate::units::Nanos;
use crate::view::Picture;
use crate::view::page::FINDINGS;

/// One row that a finding points at.
pub(super) struct RowShown {
    /// `file:line`.
    pub(super) place: String,
    /// What is to be seen there.
    pub(super) label: String,
    /// The text of the row.
    pub(super) text: String,
    /// The part of it that is meant.
    pub(super) span: Option<Range<usize>>,
}

/// One finding.
pub(super) struct FindingShown {
    pub(super) rule: &'static str,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) about: String,
    pub(super) rows: Vec<RowShown>,
    /// The index of its request among the chosen ones.
    pub(super) request: Option<usize>,
    /// When it happened, as far as that can be told.
    pub(super) at: Option<Nanos>,
}

/// All that are shown, in the order of the rules.
pub(super) struct Shown {
    pub(super) findings: Vec<FindingShown>,
}

impl Shown {
    pub(super) fn of(report: &CheckReport, dir: &LogDir, picture: &Picture) -> Self {
        let each = || {
            report.rules.iter().flat_map(|rule| {
                rule.findings.iter().take(FINDINGS).map(move |finding| (rule, finding))
            })
        };
        let marks = each().flat_map(|(_, finding)| marks(finding)).map(|mark| mark.at);
        let excerpts = Excerpts::load(dir, marks);
        let shown = |(rule, finding)| finding_shown(rule, finding, &excerpts, picture);
        Self { findings: each().map(shown).collect() }
    }
}

fn marks(finding: &Finding) -> impl Iterator<Item = &Mark> {
    finding.primary.iter().chain(&finding.related)
}

fn finding_shown(
    rule: &RuleOutcome,
    finding: &Finding,
    excerpts: &Excerpts,
    picture: &Picture,
) -> FindingShown {
    let request = finding
        .request
        .as_ref()
        .and_then(|id| picture.chosen.requests.iter().position(|request| request.id == *id));
    let step = finding.iteration.and_then(|step| picture.step_moments.get(&step).copied());
    // Without a step, the end of the request is where most contradictions show.
    let end = || {
        let request = &picture.chosen.requests[request?];
        Some(request.completion.unwrap_or(request.arrival))
    };
    FindingShown {
        rule: rule.rule.id,
        severity: finding.severity.unwrap_or(rule.rule.severity),
        message: finding.message.clone(),
        about: about(finding),
        rows: marks(finding).map(|mark| row_shown(mark, excerpts)).collect(),
        request,
        at: step.or_else(end),
    }
}

fn about(finding: &Finding) -> String {
    let parts = [
        finding.request.as_ref().map(|request| format!("request {request}")),
        finding.iteration.map(|iteration| format!("iteration {iteration}")),
        finding.expected.as_ref().map(|expected| format!("expected {expected}")),
        finding.actual.as_ref().map(|actual| format!("found {actual}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn row_shown(mark: &Mark, excerpts: &Excerpts) -> RowShown {
    let label = match (mark.column, mark.label.as_str()) {
        (Some(column), "") => column.to_owned(),
        (None, label) => label.to_owned(),
        (Some(column), label) => format!("{column}: {label}"),
    };
    RowShown {
        place: format!("{}:{}", mark.at.table.file_name(), mark.at.line),
        label,
        text: excerpts.row(mark.at).unwrap_or_default().to_owned(),
        span: mark.column.and_then(|column| excerpts.span(mark.at, column)),
    }
}
