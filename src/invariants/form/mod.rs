//! The form of the files: headers, fields, values.

pub mod f001;
pub mod f002;
pub mod f003;
pub mod f004;
pub mod f005;
pub mod f006;
pub mod f007;
pub mod f008;
pub mod f009;
pub mod f010;

use crate::check::Cx;
use crate::check::Finding;
use crate::log::reader::FormProblem;

/// A finding that says what the reader found.
pub(crate) fn finding(problem: &FormProblem, cx: &Cx<'_>) -> Finding {
    let column = problem.column.map(|column| format!(" {column}:")).unwrap_or_default();
    let mut finding = Finding::new(format!("{}:{column} {}", problem.table, problem.kind));
    finding = match (problem.at, problem.column) {
        (Some(at), Some(column)) => finding.at(at, column),
        (Some(at), None) => finding.at_row(at),
        (None, _) => finding.of_file(problem.table),
    };
    if let Some(key) = problem.request {
        finding = finding.of(key, cx.ids);
    }
    finding.iteration = problem.iteration;
    finding.actual = problem.text.clone();
    finding
}

/// How many rows the log has, to say how much a rule about every row looked at.
pub(crate) fn all_rows(cx: &Cx<'_>) -> usize {
    cx.facts.tables.iter().map(|table| table.rows as usize).sum()
}
