//! F007: unique ids.

use crate::invariants::form::finding;
use crate::invariants::prelude::*;

declare_invariant! {
    /// A request has one row in per_request.csv.
    ///
    /// Two rows of one id are one request counted twice, or two requests that cannot be told apart
    /// in any other file.
    ///
    /// Blind spot: an id used again after the first request was over, in logs where the second one
    /// never got its row.
    ///
    /// Example: a logger that writes a row at the abort and one more at the end of the step.
    pub static F007 = {
        name: "one-row-per-request",
        reads: [PerRequest(request_id)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if problem.kind == FormKind::DuplicateId {
            cx.found(finding(problem, cx));
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        cx.exercised(cx.facts.table(Table::PerRequest).rows as usize);
    }
}
