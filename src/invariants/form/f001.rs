//! F001: files and headers.

use crate::invariants::form::finding;
use crate::invariants::prelude::*;
use crate::invariants::time::m011::second_run;

declare_invariant! {
    /// Every file of the log is there and its header is the fixed one.
    ///
    /// Readers select columns by name or by place; both work only if the fixed columns stand first,
    /// in their order and spelled as they are. Columns behind the fixed ones are free. Columns that a
    /// known dialect leaves out or spells differently are accepted; the report names the dialect.
    ///
    /// A missing file is damage (the rest is checked), and so is a file that was appended to itself (its
    /// first half is checked). Two may be missing without a word of this rule: per_iteration_requests.csv
    /// at log level summary; and state_transitions.csv, unless run.json names schedlog as producer, whose
    /// logger always writes it. Some other loggers do not (dialect no-transitions; the report names it and
    /// says that the file is not there). An unknown column is a warning, and so is a log without any row,
    /// of which nothing can be checked. A file of nearly the right name, or packed with something else than
    /// gzip, is named beside the one that is missing. Where the first line has no column of the file at all, it is told
    /// what it seems to be; where fields are not separated by commas or lines end in CR alone, too.
    ///
    /// Blind spot: two columns whose names were swapped; their values contradict other rules then. A
    /// state_transitions.csv that another logger than schedlog's wrote and that was lost.
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
struct Check {
    /// Whether it was told that the file has no header of its own.
    headless: [bool; Table::ALL.len()],
}

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if let (FormKind::SecondRun { cuts }, Some(at)) = (&problem.kind, problem.at)
            // Where it can be read, its steps tell.
            && !cx.facts.has(Table::PerIteration)
        {
            cx.found(second_run(at, cuts));
            return;
        }
        let of_header = matches!(
            problem.kind,
            FormKind::UnknownColumn | FormKind::MissingColumn { .. } | FormKind::DuplicateColumn
        );
        let layout = cx.facts.table(problem.table).layout.as_ref();
        if of_header && layout.is_some_and(|layout| layout.positions.iter().all(Option::is_none)) {
            if !std::mem::replace(&mut self.headless[problem.table as usize], true) {
                cx.found(headless(problem));
            }
            return;
        }
        let severity = match problem.kind {
            FormKind::MissingFile { .. }
            | FormKind::NoFile
            | FormKind::Empty
            | FormKind::Doubled => Severity::Damage,
            FormKind::UnknownColumn | FormKind::Twice => Severity::Warning,
            FormKind::MissingColumn { .. }
            | FormKind::DuplicateColumn
            | FormKind::ColumnOrder
            | FormKind::Separator(_)
            | FormKind::LineEnds => Severity::Error,
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
        let mut tables = cx.facts.tables.iter();
        let is_read = tables.clone().any(|table| table.usable);
        if files > 0 && is_read && tables.all(|table| table.rows == 0 && !table.lost) {
            let message = "no file has a row: nothing was logged, and nothing can be checked";
            cx.found(Finding::new(message).as_severity(Severity::Warning));
        }
    }
}

/// What a file is whose first line has none of its columns, by the first name in it.
fn headless(problem: &FormProblem) -> Finding {
    let name = problem.table.file_name();
    let text = problem.text.as_deref().unwrap_or_default();
    // Bytes that are no UTF-8 come as this.
    const NO_TEXT: char = char::REPLACEMENT_CHARACTER;
    let what = if text.starts_with("\u{1f}\u{fffd}") {
        format!("the file is compressed with gzip: name it {name}.gz")
    } else if text.contains('\0') {
        "the file is in UTF-16: write it in UTF-8".to_owned()
    } else if text.contains(NO_TEXT) {
        "the file is no text in UTF-8".to_owned()
    } else {
        format!("the first line is no header of {name}: none of its columns stands there")
    };
    let mut found = Finding::new(format!("{}: {what}", problem.table)).of_file(problem.table);
    found.expected = Some(problem.table.schema().header());
    found.actual = problem.text.clone();
    found
}
