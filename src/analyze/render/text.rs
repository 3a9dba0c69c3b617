//! The analysis for people: what stands where, and how a number is written.

use std::fmt::Write;

use crate::analyze::model::Analysis;
use crate::analyze::render::sections;

/// The analysis as text.
#[must_use]
pub fn to_text(analysis: &Analysis) -> String {
    let mut out = String::new();
    sections::head(analysis, &mut out);
    sections::latency(analysis, &mut out);
    sections::throughput(analysis, &mut out);
    if let Some(slo) = &analysis.slo {
        sections::slo(slo, &mut out);
    }
    if let Some(breakdown) = &analysis.breakdown {
        sections::breakdown(breakdown, &mut out);
    }
    sections::preemption(analysis, &mut out);
    if let Some(iterations) = &analysis.iterations {
        sections::iterations(iterations, &mut out);
        sections::gauges(iterations, &mut out);
    }
    if let Some(waiting) = &analysis.waiting {
        sections::waiting(waiting, &mut out);
    }
    sections::states(analysis, &mut out);
    if let Some(events) = &analysis.events {
        sections::events(events, &mut out);
    }
    sections::fairness(&analysis.fairness, &mut out);
    if !analysis.log.cannot_say.is_empty() {
        heading("what this log cannot say", &mut out);
        for line in &analysis.log.cannot_say {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

pub(super) fn heading(text: &str, out: &mut String) {
    let _ = writeln!(out, "\n{text}");
}

/// A line of the form `label   text`.
pub(super) fn line(label: &str, text: &str, out: &mut String) {
    let _ = writeln!(out, "{label:<15}{text}");
}

/// Nanoseconds as milliseconds, three decimals.
pub(super) fn ms(nanos: Option<f64>) -> String {
    decimals(nanos.map(|nanos| nanos / 1e6), 3)
}

pub(super) fn decimals(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

pub(super) fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
