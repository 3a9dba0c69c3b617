//! F002: the number of fields.

use crate::invariants::form::{all_rows, finding};
use crate::invariants::prelude::*;

declare_invariant! {
    /// Every row has as many fields as the header.
    ///
    /// A row with more or fewer was written for another header, was torn by two writers or by an
    /// unquoted comma, and nothing in it can be trusted; it is not read further.
    ///
    /// Blind spot: a row torn so that the number happens to fit; its values break other rules.
    ///
    /// Example: an id `a,b` that was not quoted makes a row of one field too many.
    pub static F002 = {
        name: "field-count",
        reads: [],
        also: [PerRequest, PerIteration, PerIterationRequests, Events, StateTransitions],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if matches!(
            problem.kind,
            FormKind::FieldCount { .. } | FormKind::UnclosedQuote | FormKind::Oversized
        ) {
            cx.found(finding(problem, cx));
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        cx.exercised(all_rows(cx));
    }
}
