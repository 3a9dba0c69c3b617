//! S001: legal changes.

use crate::invariants::prelude::*;
use crate::state_graph::{is_legal, successors};

declare_invariant! {
    /// Every change of state is an edge of the legal graph, beginning at `waiting`.
    ///
    /// A request waits from its arrival; it is scheduled, may be preempted and resumed, and ends
    /// (vLLM: `Scheduler.schedule`, `_preempt_request`, `finish_requests`, `update_from_output`).
    /// `schedlog graph` draws the graph. Where the log has `prev_state`, it must be the state of the
    /// row before.
    ///
    /// Blind spot: changes that were not written; S003 to S005 compare with the other files.
    ///
    /// Example: `preempted` as the first row of a request that was never `running`.
    pub static S001 = {
        name: "legal-changes",
        reads: [StateTransitions(request_id, timestamp, state)],
        also: [StateTransitions(prev_state)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if request.damaged {
            return;
        }
        let (mut state, mut before) = (State::Waiting, None);
        for change in &request.transitions {
            let to = change.row.state;
            // What follows the end is S002's business.
            if state == State::Completed {
                break;
            }
            cx.expect(is_legal(state, to), |ids| {
                let legal: Vec<_> = successors(state).iter().map(|state| state.as_str()).collect();
                Finding::new(format!("{state} -> {to} is not a legal change of state"))
                    .at(change.at(), "state")
                    .with_row(before, "the change before")
                    .of(request.key, ids)
                    .values(legal.join(" or "), to)
            });
            if let Some(prev) = change.row.prev_state {
                cx.expect(prev == state, |ids| {
                    Finding::new(format!("prev_state is {prev}, but the request was {state}"))
                        .at(change.at(), "prev_state")
                        .with_row(before, "the change before")
                        .of(request.key, ids)
                        .values(state, prev)
                });
            }
            state = to;
            before = Some(change.at());
        }
    }
}
