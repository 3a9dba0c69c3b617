//! F006: vocabulary.

use crate::invariants::form::{all_rows, finding};
use crate::invariants::prelude::*;

declare_invariant! {
    /// States, event types, waiting reasons, actions and finish reasons are words of the log's vocabulary.
    ///
    /// A reader that meets another word can only ignore the row, and then every count that it takes is
    /// off.
    ///
    /// Blind spot: a known word in the wrong place; the state, queue and count rules see those.
    ///
    /// Example: state `swapped` is of an older scheduler and does not occur here.
    pub static F006 = {
        name: "known-words",
        reads: [],
        also: [PerRequest, PerIteration, PerIterationRequests, Events, StateTransitions],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if matches!(problem.kind, FormKind::Field(crate::log::field::FieldError::Unknown(_))) {
            cx.found(finding(problem, cx));
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        cx.exercised(all_rows(cx));
    }
}
