//! The sentences beside a finding's rows.

use std::fmt::Write;

use crate::check::Finding;
use crate::diagnose::{Group, Story};
use crate::report::visible;

/// Which request and iteration it is about, and both values.
pub(super) fn about(finding: &Finding) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(request) = &finding.request {
        parts.push(format!("request {}", visible(request)));
    }
    if let Some(iteration) = finding.iteration {
        parts.push(format!("iteration {iteration}"));
    }
    if let Some(expected) = finding.expected.as_ref().filter(|text| !text.is_empty()) {
        parts.push(format!("expected {}", visible(expected)));
    }
    if let Some(actual) = &finding.actual {
        parts.push(format!("found {}", visible(actual)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What happened to the request around the finding, a line each.
pub(super) fn timeline(finding: &Finding, story: &Story) -> Option<String> {
    let request = finding.request.as_deref().filter(|_| !story.timeline.is_empty())?;
    let mut text = format!("timeline of {} (ns)", visible(request));
    let moments = story.timeline.keys().map(|(at, _)| *at).chain(story.focus);
    let width = moments.map(|at| at.to_string().len()).max().unwrap_or(0);
    // The moment of the finding stands between the others unless something happened at it.
    let mut here = story.focus.filter(|at| !story.timeline.keys().any(|(other, _)| other == at));
    let mut marked = false;
    for ((at, kind), entry) in &story.timeline {
        if let Some(focus) = here.take_if(|focus| *focus < *at) {
            let _ = write!(text, "\n> {focus:>width$}  here");
        }
        let now = story.focus == Some(*at) && !marked;
        marked |= now;
        let mark = if now { '>' } else { ' ' };
        if entry.gap {
            let _ = write!(text, "\n  {:>width$}", "…");
        }
        let _ = write!(text, "\n{mark} {at:>width$}  {:<11}", kind.as_str());
        if let Some(iteration) = entry.iteration {
            let _ = write!(text, "  iteration {iteration}");
        }
        if let Some(finish) = entry.finish {
            let _ = write!(text, "  ({finish})");
        }
        let mut places: Vec<_> =
            entry.places.iter().map(|at| format!("{}:{}", at.table.file_name(), at.line)).collect();
        places.dedup();
        places.truncate(3);
        let _ = write!(text, "  {}", places.join(", "));
    }
    if let Some(focus) = here {
        let _ = write!(text, "\n> {focus:>width$}  here");
    }
    if story.cut {
        let _ = write!(text, "\n  {:>width$}", "…");
    }
    Some(text)
}

/// What else is wrong because of it.
pub(super) fn consequences(group: &Group<'_>, all: bool) -> Option<String> {
    if group.consequences.is_empty() {
        return None;
    }
    let mut text = String::new();
    for consequence in &group.consequences {
        let (id, name) = (consequence.rule.id, consequence.rule.name);
        let count = match consequence.findings.len() {
            1 => String::new(),
            count => format!(", {count} times"),
        };
        let separator = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{separator}{id} {name}{count}");
        for finding in consequence.findings.iter().filter(|_| all) {
            let place = finding
                .primary
                .as_ref()
                .map(|mark| format!("{}:{}: ", mark.at.table.file_name(), mark.at.line));
            let message = visible(&finding.message);
            let _ = write!(text, "\n  {}{message}", place.unwrap_or_default());
        }
    }
    Some(text)
}
