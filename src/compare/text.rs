//! The comparison for people.

use std::fmt::Write;

use serde_json::Value as Json;

use crate::analyze::render::{Align, Table};
use crate::compare::{Comparison, Figure, Ratio, Value, Verdict};

/// The comparison as text.
#[must_use]
pub fn to_text(comparison: &Comparison) -> String {
    let mut out = String::new();
    for run in &comparison.runs {
        let told = if run.tells_settings { "" } else { ", settings not told: no run.json" };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}  {} ({} requests{told})", run.name, run.directory, run.requests);
    }
    settings(comparison, &mut out);
    figures(comparison, &mut out);
    for run in &comparison.runs {
        for line in &run.cannot_say {
            let _ = writeln!(out, "note: {} cannot say: {line}", run.name);
        }
    }
    out
}

fn settings(comparison: &Comparison, out: &mut String) {
    if comparison.settings.is_empty() {
        out.push_str("\nno setting in run.json differs\n");
        return;
    }
    out.push_str("\nsettings that differ\n");
    let mut headings = vec![""];
    headings.extend(comparison.runs.iter().map(|run| run.name.as_str()));
    let mut table = Table::new(&headings);
    for column in 1..headings.len() {
        table = table.align(column, Align::Left);
    }
    for difference in &comparison.settings {
        let values = difference.values.iter().map(|value| match value {
            Json::Null => "-".to_owned(),
            Json::String(text) => text.clone(),
            other => other.to_string(),
        });
        table.row(std::iter::once(difference.setting.clone()).chain(values));
    }
    table.write(out);
}

fn figures(comparison: &Comparison, out: &mut String) {
    let _ = writeln!(
        out,
        "\nfigures, with 95 % intervals of {} resamples (seed {})",
        comparison.resamples, comparison.seed
    );
    let base = comparison.runs.first().map_or("A", |run| run.name.as_str());
    let mut headings = vec![String::new(), "unit".to_owned()];
    for (index, run) in comparison.runs.iter().enumerate() {
        headings.extend([run.name.clone(), String::new()]);
        if index > 0 {
            headings.extend([format!("{}/{base}", run.name), String::new()]);
        }
    }
    let headings: Vec<_> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(&headings).align(1, Align::Left);
    for column in (3..headings.len()).step_by(2) {
        table = table.align(column, Align::Left);
    }
    for figure in &comparison.figures {
        table.row(cells(figure));
    }
    table.write(out);
    out.push_str(
        "  better, worse: the interval of the ratio does not have 1; same: it has; nothing: one run \
         has one such figure, or there are too few requests\n",
    );
}

fn cells(figure: &Figure) -> Vec<String> {
    let mut cells = vec![figure.figure.clone(), figure.unit.to_owned()];
    for (index, value) in figure.values.iter().enumerate() {
        cells.extend(value_cells(value, figure.is_count));
        if let Some(ratio) = index.checked_sub(1).and_then(|index| figure.ratios.get(index)) {
            cells.extend(ratio_cells(ratio));
        }
    }
    cells
}

fn value_cells(value: &Value, is_count: bool) -> [String; 2] {
    let decimals = if is_count { 0 } else { 3 };
    let number = |value: f64| format!("{value:.decimals$}");
    [
        value.value.map_or_else(|| "-".to_owned(), number),
        value.interval.map_or_else(String::new, |interval| {
            format!("({} to {})", number(interval.low), number(interval.high))
        }),
    ]
}

fn ratio_cells(ratio: &Ratio) -> [String; 2] {
    let verdict = match ratio.verdict {
        Verdict::Untold => "",
        Verdict::Same => " same",
        Verdict::Better => " better",
        Verdict::Worse => " worse",
    };
    [
        ratio.ratio.map_or_else(|| "-".to_owned(), proportion),
        ratio.interval.map_or_else(String::new, |interval| {
            format!("({} to {}){verdict}", proportion(interval.low), proportion(interval.high))
        }),
    ]
}

/// Three decimals, and more where these would say nothing.
fn proportion(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.1 { format!("{ratio:.5}") } else { format!("{ratio:.3}") }
}
