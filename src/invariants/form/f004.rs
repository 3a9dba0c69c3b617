//! F004: the last row.

use crate::invariants::form::finding;
use crate::invariants::prelude::*;

declare_invariant! {
    /// Every file ends with a whole row.
    ///
    /// A logger flushes whole rows, so that a kill at any moment leaves a prefix of them. A file that
    /// ends without a line break was cut: its last row may have lost digits, so it is not read. The
    /// rest is checked, and what only the lost end could tell is not held against the log.
    ///
    /// A compressed file is one or more gzip members. What stands behind the last one and is none is
    /// damage, too: something else was written to the file. The rows before it are read. Where bytes inside
    /// a member are not those that were written, its checksum shows that and nothing shows which: no row of
    /// the file is judged then.
    ///
    /// Blind spot: a file cut exactly behind a line break; X005 compares the ends of the files.
    ///
    /// Example: `12,1200,13` at the end of per_iteration.csv.
    pub static F004 = {
        name: "whole-last-row",
        reads: [],
        also: [PerRequest, PerIteration, PerIterationRequests, Events, StateTransitions],
        severity: Damage,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if problem.kind.cuts_file() {
            cx.found(finding(problem, cx));
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        let files = cx.facts.tables.iter().filter(|table| table.rows > 0).count();
        cx.exercised(files);
    }
}
