//! F003: values.

use crate::invariants::form::{all_rows, finding};
use crate::invariants::prelude::*;

declare_invariant! {
    /// Every field is a value of its column: a whole number in range and not negative, a decimal, a
    /// JSON object; required fields are not empty.
    ///
    /// Times are whole nanoseconds since the start, counts are whole numbers; a negative or fractional
    /// one betrays seconds written as floats, a difference taken the wrong way or a clock that was set
    /// back. Words have their own rule, F006.
    ///
    /// A header that stands twice above the first row is damage: nothing of this run is lost, but the file was
    /// opened by another one before, which was killed before its first row.
    ///
    /// Blind spot: a number of the wrong unit that is still a number; the time rules see those.
    ///
    /// Example: `start_time` 1.25 is a float of seconds.
    pub static F003 = {
        name: "field-values",
        reads: [],
        also: [PerRequest, PerIteration, PerIterationRequests, Events, StateTransitions],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if matches!(problem.kind, FormKind::Field(ref error) if !is_word(error)) {
            let found = finding(problem, cx);
            cx.found(if is_header_again(problem) {
                found.as_severity(Severity::Damage)
            } else {
                found
            });
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        cx.exercised(all_rows(cx));
    }
}

/// Whether the record is the header, and no row stands before it.
fn is_header_again(problem: &FormProblem) -> bool {
    const BELOW_THE_HEADER: u64 = 2;
    problem.at.is_some_and(|at| at.line == BELOW_THE_HEADER)
        && problem.column.is_some_and(|column| problem.text.as_deref() == Some(column))
}

fn is_word(error: &crate::log::field::FieldError) -> bool {
    matches!(error, crate::log::field::FieldError::Unknown(_))
}
