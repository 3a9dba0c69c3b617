//! X006: the order of the ends.

use crate::invariants::prelude::*;

declare_invariant! {
    /// per_request.csv has its rows in order of completion, then the unfinished ones in order of
    /// arrival; state_transitions.csv has its `completed` rows in that order.
    ///
    /// Both are appended to as requests end. Rows in another order were kept in a map, or written by
    /// several threads; a reader that goes on from where it stopped last time then misses some.
    ///
    /// Blind spot: the order of ends at one moment.
    ///
    /// Example: a completion_time of 900 behind one of 950.
    pub static X006 = {
        name: "ends-in-order",
        reads: [],
        also: [PerRequest(completion_time, arrival_time), StateTransitions(timestamp, state)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if let FormKind::OutOfOrder { at, before } = &problem.kind {
            let mut found = crate::invariants::form::finding(problem, cx);
            found.message = problem.kind.to_string();
            if let (Some(before), Some(at)) = (before, at) {
                found = found.values(format!("at least {before}"), at);
            }
            cx.found(found);
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        cx.exercised(usize::from(request.record.is_some()));
    }
}
