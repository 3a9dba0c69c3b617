//! F001: files and headers.

use crate::invariants::form::finding;
use crate::invariants::prelude::*;

declare_invariant! {
    /// Every file of the log is there and its header is the fixed one.
    ///
    /// Readers select columns by name or by place; both work only if the fixed columns stand first,
    /// in their order and spelled as they are. Columns behind the fixed ones are free. Columns that a
    /// known dialect leaves out or spells differently are accepted; the report names the dialect.
    ///
    /// A missing file is damage (the rest is checked), and so is a file that was appended to itself (its
    /// first half is checked); an unknown column is a warning.
    ///
    /// Blind spot: two columns whose names were swapped; their values contradict other rules then.
    ///
    /// Example: `iteration_id,start,end_time,…` has no `start_time`, so per_iteration.csv cannot be
    /// read.
    pub static F001 = {
        name: "files-and-headers",
        reads: [],
        also: [PerRequest, PerIteration, PerIterationRequests, Events, StateTransitions],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        let severity = match problem.kind {
            FormKind::MissingFile | FormKind::Empty | FormKind::Doubled => Severity::Damage,
            FormKind::UnknownColumn | FormKind::Twice => Severity::Warning,
            FormKind::MissingColumn { .. }
            | FormKind::DuplicateColumn
            | FormKind::ColumnOrder
            | FormKind::Separator(_) => Severity::Error,
            _ => return,
        };
        let mut found = finding(problem, cx).as_severity(severity);
        if let Some(name) = problem.text.as_ref().filter(|_| problem.column.is_none()) {
            found.message = format!("{}: column {name:?}: {}", problem.table, problem.kind);
        }
        if matches!(problem.kind, FormKind::ColumnOrder) {
            found.expected = Some(problem.table.schema().header());
        }
        cx.found(found);
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        let files = cx.facts.tables.iter().filter(|table| table.layout.is_some()).count();
        cx.exercised(files);
    }
}
