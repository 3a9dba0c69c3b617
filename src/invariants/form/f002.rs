//! F002: the number of fields.

use crate::invariants::form::{all_rows, finding};
use crate::invariants::prelude::*;

declare_invariant! {
    /// Every row has as many fields as the header.
    ///
    /// A row with more or fewer was written for another header, was torn by two writers or by an
    /// unquoted comma, and nothing in it can be trusted; it is not read further.
    ///
    /// Where the first row of a file, and no other, has more fields, a run was killed while it wrote that
    /// row, and the next run went on in it: that is damage.
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

/// The line of the first row.
const FIRST: u64 = 2;

#[derive(Default)]
struct Check {
    /// Per table: the first row if it has more fields than the header.
    joined: [Option<Finding>; 5],
    /// Per table: other rows of another number.
    others: [u64; 5],
}

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if !matches!(
            problem.kind,
            FormKind::FieldCount { .. } | FormKind::UnclosedQuote | FormKind::Oversized
        ) {
            return;
        }
        let more = matches!(
            problem.kind,
            FormKind::FieldCount { expected, found } if found > expected
        );
        let table = problem.table as usize;
        if more && problem.at.is_some_and(|at| at.line == FIRST) {
            self.joined[table] = Some(finding(problem, cx));
        } else {
            self.others[table] += 1;
            cx.found(finding(problem, cx));
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        cx.exercised(all_rows(cx));
        let first = std::mem::take(&mut self.joined).into_iter().zip(self.others).zip(Table::ALL);
        for ((joined, others), table) in first {
            let Some(joined) = joined else { continue };
            let torn = others == 0 && cx.facts.table(table).rows > 0;
            cx.found(if torn { joined.as_severity(Severity::Damage) } else { joined });
        }
    }
}
